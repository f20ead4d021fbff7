"""The calls of Comotion Dash: loads, files, commits and queries, over a network and a service that
fail at any point."""

import decimal
import io
import json
import os
import resource
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from secret_search import leaks, leaks_in_files, listening, told_by

from domostats import sandbox
from domostats.clients import sign_in as sign_in_anywhere
from domostats.clients.dash.auth import ApplicationAuth, sign_in
from domostats.clients.dash.forms import FileForm, Form
from domostats.clients.dash.loads import (
    LinkFilter,
    LoadInfo,
    ask_place,
    check_value,
    commit_load,
    create_load,
    get_load,
    put_file,
    store_connection,
    store_file,
)
from domostats.clients.dash.organisation import find_organisation
from domostats.clients.dash.queries import (
    get_query,
    get_result_page,
    only_reads,
    parse_query_time,
    result_link,
    result_pages,
    start_query,
    stop_query,
)
from domostats.clients.dash.results import download_result, open_result
from domostats.clients.dash.tokens import refuse_pages
from domostats.errors import (
    AccessError,
    CredentialsError,
    DataError,
    DomostatsError,
    RetryLaterError,
    SettingsError,
)
from domostats.sandbox.dash import store_app
from domostats.sandbox.dash.faults import AFTER, BEFORE
from domostats.secrets import Secret
from domostats.transport.answer import Answer
from domostats.transport.auth import NoAuth
from domostats.transport.http_session import make_session
from domostats.transport.sending import send

ROWS = pa.table({"id": ["001", "002", "003"], "salary": [1.5, 2.5, 8.0]})


def parquet(rows=ROWS):
    out = io.BytesIO()
    pq.write_table(rows, out)
    return out.getvalue()


@pytest.fixture(scope="module")
def served():
    with sandbox.start_dash("calls", load_polls=0, queued_polls=0, running_polls=0) as box:
        yield box


@pytest.fixture
def box(served):
    served.heal()
    served.log.clear()
    return served


@pytest.fixture
def dash(box):
    acme = find_organisation(box)
    auth = ApplicationAuth(acme, box.client_id, box.client_secret)
    return sign_in(box, auth)


@pytest.fixture
def table(request):
    return f"t_{abs(hash(request.node.name)) % 10**12}_x"


def calls(box, place, word=""):
    return [call for call in box.log if call.place == place and word in call.path]


def finished(dash, box, sql):
    id = start_query(dash, sql)
    box.queries[id].thread.join(60)
    return id


# Loads.


def test_the_requests_are_those_of_the_samples(box, dash, table):
    load = create_load(dash, table, "0", ["day(effective_date)", "region"])
    put_file(dash, load, "policies_2026_01_1", parquet())
    commit_load(dash, load, {"count(*)": 3, "sum(salary)": 12.0})
    bodies = [json.loads(call.body or "{}") for call in box.log if call.place == "api"]
    assert bodies[0] == {
        "load_type": "APPEND_ONLY",
        "table_name": table,
        "load_as_service_client_id": "0",
        "partitions": ["day(effective_date)", "region"],
    }
    assert bodies[1] == {"file_key": "policies_2026_01_1"}
    assert bodies[2] == {"check_sum": {"count(*)": 3, "sum(salary)": 12.0}}
    assert get_load(dash, load) == LoadInfo("SUCCESS") and get_load(dash, load).is_final
    assert box.table(table).num_rows == 3


def test_what_is_not_given_is_not_sent(box, dash, table):
    create_load(dash, table)
    body = json.loads(calls(box, "api")[-1].body)
    assert body == {"load_type": "APPEND_ONLY", "table_name": table}


def test_the_place_is_used_by_a_form_and_no_token_goes_to_the_store(box, dash, table):
    load = create_load(dash, table, "0")
    place = put_file(dash, load, None, parquet())
    sent = calls(box, "store")[-1]
    assert (sent.method, sent.status, sent.bearer) == ("POST", 204, False)
    assert place.path in box.store.files and place.bucket == box.store.bucket


@pytest.mark.parametrize("objects", [False, True])
def test_a_load_that_failed_names_expression_expected_and_got(box, dash, table, objects):
    box.rules.message_objects = objects
    load = create_load(dash, table, "0")
    put_file(dash, load, "part_1", parquet())
    commit_load(dash, load, {"count(*)": 4})
    found = get_load(dash, load)
    assert found.state == "FAIL" and found.messages == (
        "Check sum failed: count(*) expected 4, got 3",
    )


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ({"LoadStatus": "ARCHIVED"}, LoadInfo("ARCHIVED")),
        ({"LoadStatus": "FAIL", "ErrorMessages": "x"}, LoadInfo("FAIL", None, ("x",))),
        (
            {"LoadStatus": "FAIL", "ErrorMessages": [1, {"a": 2}]},
            LoadInfo("FAIL", None, ("1", "{'a': 2}")),
        ),
    ],
)
def test_a_state_and_messages_that_nobody_knew_are_shown(box, dash, table, answer, found):
    "D21: no value of the service breaks the reading of a state."
    load = create_load(dash, table, "0")
    box.serve(f"/v2/load/{load}", answer)
    assert get_load(dash, load) == found


@pytest.mark.parametrize("name", ["a", "t_", "1t", "t-1", "T1", "", "tä", None, 7])
def test_a_name_that_the_service_refuses_costs_no_call(box, dash, name):
    with pytest.raises(SettingsError):
        create_load(dash, name)
    if name is not None:
        with pytest.raises(SettingsError):
            ask_place(dash, "20260115093012_x", name)
    assert not box.log


@pytest.mark.parametrize("id", ["../query/x", "a/b", "", None, "a b", "x?y"])
def test_an_id_is_no_path(box, dash, id):
    for call in (get_load, get_query, stop_query, result_link):
        with pytest.raises(SettingsError) as caught:
            call(dash, id)
        assert caught.value.reason == "bad_id"
    assert not box.log


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (np.int64(3), 3),
        (np.float32(1.5), 1.5),
        (decimal.Decimal("3.00"), 3),
        (decimal.Decimal("12345678901234567890.12"), "12345678901234567890.12"),
        (3, 3),
        (2.5, 2.5),
        ("53", "53"),
        (np.str_("x"), "x"),
    ],
)
def test_a_check_sum_takes_numbers_of_any_kind(value, sent):
    "D32."
    made = check_value("count(*)", value)
    assert made == sent and type(made) in (int, float, str)
    json.dumps(made)


@pytest.mark.parametrize(
    "value", [None, True, np.bool_(True), float("nan"), float("inf"), [1], decimal.Decimal("NaN")]
)
def test_a_check_sum_that_is_no_number_is_refused_before_the_call(box, dash, value):
    with pytest.raises(SettingsError) as caught:
        commit_load(dash, "20260115093012_x", {"count(*)": value})
    assert caught.value.reason == "bad_value" and not box.log
    with pytest.raises(SettingsError):
        commit_load(dash, "20260115093012_x", {})


def test_the_callers_dict_stays_as_it_is(box, dash, table):
    sums = {"count(*)": np.int64(3)}
    load = create_load(dash, table, "0")
    put_file(dash, load, "part_1", parquet())
    commit_load(dash, load, sums)
    assert type(sums["count(*)"]) is np.int64


# Every row once, or an error and no row.

PHASES = {
    "token": "/auth/realms",
    "create": "/v2/load",
    "place": "/file",
    "store": "store",
    "commit": "/commit",
    "poll": "/v2/load/",
}


def upload(dash, table):
    load = create_load(dash, table, "0")
    for part in range(2):
        put_file(dash, load, f"part_{part}", parquet(ROWS.slice(2 * part, 2 - part)))
    commit_load(dash, load, {"count(*)": 3})
    return get_load(dash, load)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("fault", [*BEFORE, *AFTER])
@pytest.mark.sampled(6)
def test_every_row_arrives_once_or_none_does(box, dash, table, fault, phase):
    path = PHASES[phase]
    if phase == "store":
        path = f"/{box.store.bucket}"
    elif phase in ("place", "commit"):
        word, path = path, None
        take = box.faults.take

        def only(asked):
            return take(asked) if asked.endswith(word) else None

        box.faults.take = only
    try:
        box.fail(fault, path, seconds=0)
        try:
            outcome = upload(dash, table)
        except DomostatsError as e:
            assert e.reason, e
            outcome = None
    finally:
        vars(box.faults).pop("take", None)
    assert box.fired[fault]
    box.faults.heal()
    rows = sorted(box.table(table).to_pylist(), key=lambda row: row["id"])
    if outcome == LoadInfo("SUCCESS"):
        assert [row["id"] for row in rows] == ["001", "002", "003"]
        return
    assert fault not in (
        "refused",
        "drop",
        "unavailable",
        "rate_limited",
        "slow",
        "drop_after",
        "reset",
    )
    states = {load.state for load in box.loads.values() if load.table == table}
    assert (
        not rows or states == {"SUCCESS"} and [row["id"] for row in rows] == ["001", "002", "003"]
    )


@pytest.mark.parametrize(
    "fault", ["drop_after", "refused_after", "reset", "cut", "unavailable_after"]
)
def test_a_commit_that_was_heard_is_not_sent_again(box, dash, table, fault):
    load = create_load(dash, table, "0")
    put_file(dash, load, "part_1", parquet())
    box.fail(fault, f"/v2/load/{load}/commit")
    commit_load(dash, load, {"count(*)": 3})
    assert len(calls(box, "api", "/commit")) == 1 and box.table(table).num_rows == 3


def test_a_commit_that_was_not_heard_is_sent_again(box, dash, table):
    load = create_load(dash, table, "0")
    put_file(dash, load, "part_1", parquet())
    box.fail("drop", f"/v2/load/{load}/commit")
    commit_load(dash, load, {"count(*)": 3})
    assert len(calls(box, "api", "/commit")) == 2 and box.table(table).num_rows == 3


def test_a_commit_of_which_nobody_knows_says_so(box, dash, table):
    load = create_load(dash, table, "0")
    put_file(dash, load, "part_1", parquet())
    box.fail("drop_after", f"/v2/load/{load}/commit")
    box.fail("forbidden", f"/v2/load/{load}", after=1, times=None)
    with pytest.raises(RetryLaterError) as caught:
        commit_load(dash, load, {"count(*)": 3})
    assert caught.value.reason == "unknown_outcome"
    assert len(calls(box, "api", "/commit")) == 1


def test_a_second_commit_is_an_error(box, dash, table):
    load = create_load(dash, table, "0")
    put_file(dash, load, "part_1", parquet())
    commit_load(dash, load, {"count(*)": 3})
    with pytest.raises(DataError) as caught:
        commit_load(dash, load, {"count(*)": 3})
    assert caught.value.reason == "bad_request" and box.table(table).num_rows == 3


def test_keys_that_expired_on_the_way_are_replaced_once(box, dash, table):
    "D22: a retry after the hour asks for a new place, and the file is there once."
    load = create_load(dash, table, "0")
    place = ask_place(dash, load, "part_1")
    box.clock.step(3601)
    with pytest.raises(AccessError):
        store_file(place, parquet())
    box.fail("expired_keys", f"/{box.store.bucket}")
    put_file(dash, load, "part_1", parquet())
    assert len([key for key in box.store.files if load in key]) == 1
    box.fail("expired_keys", f"/{box.store.bucket}", times=None)
    with pytest.raises(DataError):
        put_file(dash, load, "part_1", parquet())


# Bodies.


@given(
    st.binary(max_size=3000),
    st.dictionaries(st.sampled_from("abcd"), st.text("xyz=+/", max_size=9)),
)
def test_a_form_has_the_length_that_it_says(content, fields):
    body = FileForm({name: Secret(value) for name, value in fields.items()}, content)
    stream = body.open()
    said = len(stream)
    sent = b"".join(iter(stream.read, b""))
    assert len(sent) == said and content in sent
    assert b"".join(iter(body.open().read, b"")) == sent, "it can be sent again"


def test_a_file_is_sent_piece_by_piece_and_is_the_same_there(box, dash, table, tmp_path):
    path = tmp_path / "large.parquet"
    path.write_bytes(os.urandom(5_000_001))
    load = create_load(dash, table, "0")
    place = put_file(dash, load, "part_1", path)
    assert box.store.files[place.path].path.read_bytes() == path.read_bytes()
    assert repr(Form({"a": "b"})) == "<form: a>"


def test_a_file_that_became_shorter_is_no_file(box, dash, table, tmp_path):
    path = tmp_path / "shrinking.parquet"
    path.write_bytes(b"x" * 3_000_000)
    load = create_load(dash, table, "0")
    place = ask_place(dash, load, "part_1")
    body = FileForm(place.fields, path)
    stream = body.open()
    os.truncate(path, 1_000_000)
    with pytest.raises(OSError):
        b"".join(iter(stream.read, b""))


@pytest.mark.skipif(sys.platform == "win32", reason="memory is measured in another way there")
def test_a_large_file_takes_no_memory(box, dash, table, tmp_path):
    path = tmp_path / "large.parquet"
    with path.open("wb") as file:
        file.truncate(60_000_000)
    load = create_load(dash, table, "0")
    place = ask_place(dash, load, "part_1")
    script = (
        "import json, resource, sys\n"
        "from pathlib import Path\n"
        "from domostats.clients.dash.loads import FilePlace, store_file\n"
        "from domostats.secrets import Secret\n"
        "url, fields, small, large = json.load(sys.stdin)\n"
        "fields = {name: Secret(value) for name, value in fields.items()}\n"
        "place = FilePlace(url, fields, '', '')\n"
        "store_file(place, Path(small))\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "store_file(place, Path(large))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    small = tmp_path / "small.parquet"
    small.write_bytes(b"x" * 3_000_000)
    given = [place.url, {name: str(one.reveal()) for name, one in place.fields.items()}]
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps([*given, str(small), str(path)]),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert int(done.stdout) < 20_000  # kilobytes
    assert resource.getrusage  # the module is there


# Queries.


def test_a_query_is_started_asked_after_and_read(box, dash, tmp_path):
    id = finished(dash, box, "select * from (values ('a', ''), ('b', null)) as t(x, y) order by x")
    found = get_query(dash, id)
    assert (found.state, found.is_final, found.reason) == ("SUCCEEDED", True, None)
    assert found.submitted.utcoffset().total_seconds() == 0 and found.completed >= found.submitted
    expected = b'"x","y"\n"a",""\n"b",\n'
    assert download_result(dash, id, tmp_path / "x.csv").read_bytes() == expected
    with open_result(dash, id) as result:
        assert result.length == len(expected) and result.data == expected
    assert get_result_page(dash, id).rows == [["x", "y"], ["a", ""], ["b", None]]


def test_failed_and_cancelled_are_told_with_their_reason(box, dash):
    lost = finished(dash, box, "select * from v1_missing")
    assert get_query(dash, lost).state == "FAILED"
    assert get_query(dash, lost).reason.startswith("TABLE_NOT_FOUND")
    for call in (result_link, open_result):
        with pytest.raises(DataError):
            call(dash, lost)
    box.rules.queued_polls = 5
    waiting = start_query(dash, "select 1")
    stop_query(dash, waiting)
    assert get_query(dash, waiting).state == "CANCELLED"


@pytest.mark.parametrize("status", [200, 202, 400, 409])
def test_stopping_what_has_ended_is_no_error(box, dash, status):
    "Nobody knows what the service answers to that."
    box.rules.stop_finished_status = status
    id = finished(dash, box, "select 1")
    assert get_query(dash, id).is_final
    stop_query(dash, id)


def test_sql_that_the_service_refuses_is_an_error_with_its_words(box, dash):
    with pytest.raises(DataError) as caught:
        start_query(dash, "selec 1")
    assert caught.value.reason == "bad_query" and "mismatched input" in str(caught.value)
    for nothing in ("", "  ", None, 7):
        with pytest.raises(SettingsError):
            start_query(dash, nothing)


@pytest.mark.parametrize("fault", ["drop_after", "cut", "unavailable_after"])
def test_what_only_reads_is_started_again_and_what_may_write_is_not(box, dash, fault):
    box.fail(fault, "/v2/query")
    assert start_query(dash, "select 1")
    assert len(calls(box, "api", "/v2/query")) == 2
    box.log.clear()
    box.fail(fault, "/v2/query")
    with pytest.raises(DomostatsError):
        start_query(dash, "insert into t select 1")
    assert len(calls(box, "api", "/v2/query")) == 1


@pytest.mark.parametrize(
    ("sql", "reads"),
    [
        ("select 1", True),
        (" \n-- x\n/* y */ ( WITH a as (select 1) select * from a)", True),
        ("values 1", True),
        ("insert into t select 1", False),
        ("explain analyze insert into t select 1", False),
        ("/* select */ create table t as select 1", False),
        ("-- select", False),
        ("selection", False),
        ("", False),
    ],
)
def test_whether_a_query_reads_is_seen_by_its_first_word(sql, reads):
    assert only_reads(sql) is reads


def test_times_are_those_of_greenwich():
    assert parse_query_time("01-15-2026 09:30:12").isoformat() == "2026-01-15T09:30:12+00:00"
    assert parse_query_time(None) is None and parse_query_time("2026-01-15") is None


@pytest.mark.parametrize("name", ["NextToken", "nextToken", "next_token"])
def test_the_next_page_is_found_under_whatever_name(box, dash, name):
    box.rules.next_token = name
    box.rules.page_rows = 2
    id = finished(dash, box, "select n from unnest(sequence(1, 5)) as t(n) order by n")
    pages = [*result_pages(dash, id)]
    assert [row[0] for page in pages for row in page.rows] == ["n", "1", "2", "3", "4", "5"]
    assert pages[0].columns == [("n", "bigint")] and len(pages) == 3


def test_pages_that_lead_in_a_circle_are_an_error(box, dash):
    id = finished(dash, box, "select 1")
    page = {
        "resultSet": {"Rows": []},
        "ResultSetMetaData": {"ColumnInfo": []},
        "NextToken": "again",
    }
    box.serve(f"/v2/query/{id}/result", page)
    with pytest.raises(DataError):
        [*result_pages(dash, id)]
    box.serve(f"/v2/query/{id}/result", {"rows": []})
    with pytest.raises(DataError) as caught:
        get_result_page(dash, id)
    assert caught.value.reason == "unexpected"


@pytest.mark.parametrize(
    "fault", ["reset", "cut", "drop_after", "refused", "unavailable", "server_error"]
)
@pytest.mark.parametrize("times", [1, 3])
def test_a_stream_that_breaks_off_is_whole_in_the_end(box, dash, fault, times):
    id = finished(dash, box, "select n, n * 7 as m from unnest(sequence(1, 30000)) as t(n)")
    with open_result(dash, id) as whole:
        expected = whole.data
    box.fail(fault, "/results", times=times)
    with open_result(dash, id) as result:
        assert b"".join(result.stream(10_000)) == expected
    assert box.fired[fault] >= 1


@pytest.mark.sampled(3)
@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no_ranges"])
@pytest.mark.parametrize("times", [1, 3, None])
@pytest.mark.parametrize(
    "fault", ["reset", "cut", "drop_after", "refused", "unavailable", "server_error", "forbidden"]
)
def test_a_file_of_a_result_is_whole_or_not_there(
    box, dash, tmp_path, monkeypatch, fault, times, ranges
):
    "Cut in the middle it goes on by a range, or begins anew where the store knows none."
    id = finished(dash, box, "select n, n * 7 as m from unnest(sequence(1, 30000)) as t(n)")
    expected = box.queries[id].path.read_bytes()
    if not ranges:
        reply_of = store_app._file_reply
        monkeypatch.setattr(store_app, "_file_reply", lambda path, asked: reply_of(path, ""))
    box.fail(fault, "/results", times=times)
    box.log.clear()
    path = tmp_path / "results" / "result.csv"
    path.parent.mkdir()
    path.write_text("of yesterday")
    try:
        download_result(dash, id, path)
    except DomostatsError:
        assert path.read_text() == "of yesterday" and (times is None or fault == "forbidden")
    else:
        assert path.read_bytes() == expected
    assert [*path.parent.iterdir()] == [path] and box.fired[fault] >= 1
    if fault == "cut" and times == 1:
        statuses = [call.status for call in calls(box, "store")]
        assert statuses == ([200, 206] if ranges else [200, 200])


def test_a_stream_that_never_gets_on_is_an_error_and_no_short_result(box, dash):
    id = finished(dash, box, "select n from unnest(sequence(1, 30000)) as t(n)")
    result = open_result(dash, id)
    first = result.read(10)
    box.fail("drop", "/results", times=None)
    result.close()
    with pytest.raises(DomostatsError) as caught:
        result._connect()
    assert len(first) == 10 and caught.value.reason in ("cut", "unreachable")


@pytest.mark.parametrize("fault", ["forbidden", "expired_keys", "html"])
def test_an_error_of_the_store_never_becomes_data(box, dash, fault, tmp_path):
    "D11."
    id = finished(dash, box, "select 1")
    box.fail(fault, "/results", times=None)
    with pytest.raises(DomostatsError):
        open_result(dash, id).read()
    with pytest.raises(DomostatsError):
        download_result(dash, id, tmp_path / "x.csv")
    assert not [*tmp_path.glob("*.csv")]
    box.fail(fault, f"/{box.store.bucket}", times=None)
    with pytest.raises(DomostatsError):
        store_file(ask_place(dash, create_load(dash, "ab", "0"), "part_1"), parquet())


def test_a_result_that_changes_on_the_way_is_not_put_together(box, dash):
    id = finished(dash, box, "select n from unnest(sequence(1, 30000)) as t(n)")
    result = open_result(dash, id)
    result.read(1000)
    with box.queries[id].path.open("ab") as file:
        file.write(b'"more"\n')
    with pytest.raises(DataError) as caught:
        result._connect()
    assert caught.value.reason == "changed_meanwhile"


def test_no_token_goes_along_to_the_store(box, dash, tmp_path):
    id = finished(dash, box, "select 1")
    download_result(dash, id, tmp_path / "x.csv")
    open_result(dash, id).read()
    assert calls(box, "store") and not any(call.bearer for call in calls(box, "store"))


@pytest.mark.slow
def test_a_result_of_200_megabytes_grows_the_process_by_less_than_20(box, dash):
    text = "x" * 990
    sql = f"select n, '{text}' as t from unnest(sequence(1, 200000)) as t(n)"
    id = finished(dash, box, sql)
    given = [box.url, box.client_id, str(box.client_secret.reveal()), id]
    script = (
        "import json, resource, sys\n"
        "from domostats.clients.dash.auth import ApplicationAuth, sign_in\n"
        "from domostats.clients.dash.organisation import find_organisation\n"
        "from domostats.clients.dash.results import open_result\n"
        "from domostats.instances import Instance\n"
        "from domostats.secrets import Secret\n"
        "url, client, secret, id = json.load(sys.stdin)\n"
        "place = Instance('dash', url, {'DOMOSTATS_DASH_ORGNAME': Secret('calls')})\n"
        "org = find_organisation(place)\n"
        "dash = sign_in(place, ApplicationAuth(org, client, Secret(secret)))\n"
        "result = open_result(dash, id)\n"
        "result.read(1_000_000)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "size = sum(len(piece) for piece in result.stream(524288))\n"
        "print(size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    size, growth = map(int, done.stdout.split())
    assert size > 190_000_000 and growth < 20_000


# Secrets.


def test_nothing_of_a_place_or_a_link_is_shown_or_written(box, dash, table, tmp_path):
    load = create_load(dash, table, "0")
    place = ask_place(dash, load, "part_1")
    id = finished(dash, box, "select 1")
    link = result_link(dash, id)
    signature = str(link.reveal()).partition("Signature=")[2]
    secrets = [str(one.reveal()) for name, one in place.fields.items() if name not in ("key",)]
    secrets = [one for one in secrets if not one.startswith("ASIA")] + [signature]
    shown = [repr(place), repr(link), repr(dash.calls), repr([*dash.calls])]
    with listening() as heard:
        store_file(place, parquet())
        open_result(dash, id).read()
        download_result(dash, id, tmp_path / "x.csv")
        box.fail("forbidden", f"/{box.store.bucket}")
        with pytest.raises(AccessError) as refused:
            store_file(place, parquet())
        box.fail("drop", "/results", times=None)
        with pytest.raises(DomostatsError) as cut:
            open_result(dash, id).read()
        with pytest.raises(DomostatsError) as lost:
            download_result(dash, id, tmp_path / "y.csv")
        box.fail("truncated", f"/v2/load/{load}/file", times=None)
        with pytest.raises(DomostatsError) as broken:
            ask_place(dash, load, "part_1")
    for caught in (refused, cut, lost, broken):
        shown.append(told_by(caught.value, ("traceback", "inspect")))
    shown += [heard(), repr([*store_connection(place.url)[0].calls])]
    for text in shown:
        assert not leaks(text, *secrets)
    assert not leaks_in_files(tmp_path, *secrets)


def test_a_web_page_is_no_answer():
    page = Answer(
        "GET", "https://x.example.com/a", 200, b"<html>", {"content-type": "text/html"}, 0
    )
    with pytest.raises(DataError) as caught:
        refuse_pages(page)
    assert caught.value.reason == "html"
    assert refuse_pages(replace(page, headers={"content-type": "text/csv"})) is None


def test_a_signed_link_is_left_out_of_a_log():
    import logging

    record = logging.LogRecord("x", 10, "x", 1, "%s %s", ("GET", "/a?X-Amz-Signature=s-1"), None)
    assert LinkFilter().filter(record) and record.getMessage() == "GET /a?..."


def test_a_body_that_is_no_json_goes_as_it_is(box):
    place = find_organisation(box).provider
    answer = send(
        make_session(place),
        "POST",
        f"{place.url}{find_organisation(box).endpoint('token')}",
        Form({"grant_type": "password"}),
        None,
        NoAuth(place),
    )
    assert answer.status == 400 and "grant_type=password" in box.log[-1].body


# Beside the others.


def test_the_client_is_found_by_the_instance(box):
    assert sign_in_anywhere(box, platform="dash").ask is not None
    with pytest.raises(SettingsError) as caught:
        sign_in_anywhere(box, platform="domo")
    assert caught.value.reason == "wrong_platform"
    with pytest.raises(CredentialsError):
        sign_in(box, "a token")


def test_many_threads_share_one_connection(box, dash, table):
    load = create_load(dash, table, "0")
    errors = []

    def work(n):
        try:
            put_file(dash, load, f"part_{n}", parquet(pa.table({"id": [f"{n:03}"]})))
        except BaseException as e:
            errors.append(e)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    commit_load(dash, load, {"count(*)": 16})
    assert not errors and sorted(box.table(table)["id"].to_pylist()) == [
        f"{n:03}" for n in range(16)
    ]
    assert Path(box.folder).exists()
