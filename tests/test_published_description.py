"""The vendor's published description of its API finds nothing wrong with what domostats asks, nor
with what the sandbox answers, but for the slips of the description itself."""

import copy
import json
from contextlib import contextmanager, suppress
from decimal import Decimal
from urllib.parse import parse_qsl, urlencode

import pandas as pd
import pytest
import requests
from api_description import (
    DOCUMENTS,
    SLIPS,
    ApiDescription,
    Exchange,
    download_documents,
    mend,
)
from conftest import peers
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from domostats import dash, sandbox
from domostats.clients.dash.auth import sign_in
from domostats.clients.dash.daily_runs import get_daily_runs
from domostats.clients.dash.loads import ask_place, commit_load, create_load
from domostats.clients.dash.migration import start_migration
from domostats.clients.dash.queries import result_link, result_pages, start_query
from domostats.errors import DomostatsError, SettingsError

pytestmark = pytest.mark.slow
EXAMPLES = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    return download_documents(peers()["comotion-sdk"][0], tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def description(documents):
    return ApiDescription(mend(documents))


@pytest.fixture(scope="module")
def box():
    with sandbox.start_dash("judged", load_polls=1, queued_polls=1, page_rows=2) as running:
        yield running


@contextmanager
def watched(box):
    "What goes over the wire to and from the API of a sandbox, as a list that grows."
    seen, genuine = [], box.service.reply

    def reply(method, path, headers, body=b"", query=""):
        given = genuine(method, path, headers, body, query)
        if path.startswith(("/v2/", "/superset/")):
            pairs = dict(parse_qsl(query, keep_blank_values=True))
            seen.append(
                Exchange(
                    method,
                    path,
                    pairs,
                    {**headers},
                    body,
                    given.status,
                    {**given.headers},
                    given.body,
                )
            )
        return given

    box.service.reply = reply
    try:
        yield seen
    finally:
        box.service.reply = genuine


FRAME = pd.DataFrame({"id": [1, 2, 3], "name": ["Ada", "Bo", None], "old": [True, False, True]})


def refused(call, *given, **more):
    "The error of a call that the service has to refuse."
    with pytest.raises(DomostatsError) as error:
        call(*given, **more)
    return error.value


def use_loads(config):
    options = {"load_as_service_client_id": "0", "partitions": ["id"]}
    load = dash.Load(config, table_name="people", track_rows_uploaded=True, **options)
    load.upload_df(FRAME, file_key="part_1")
    load.upload_df(FRAME)
    load.get_load_info()
    load.commit({"sum(id)": 12, "max(name)": "Bo", "avg(id)": 2.0, "min(id)": Decimal("1")})
    assert load.wait_to_complete().load_status == "SUCCESS"
    wrong = dash.Load(config, table_name="wrong", load_as_service_client_id="0")
    wrong.upload_df(FRAME)
    with suppress(DomostatsError):
        wrong.commit({"count(*)": 7})
        wrong.wait_to_complete()
    connection = config.connection
    refused(commit_load, connection, wrong.load_id, {"count(*)": 3})
    refused(ask_place, connection, wrong.load_id)
    refused(commit_load, connection, create_load(connection, "other"), {"drop table x": 1})
    refused(dash.Load(config, load_id="nobodys").get_load_info)


def use_queries(config):
    query = dash.Query(config, query_text="select * from people order by id, name, old")
    query.wait_to_complete()
    assert query.to_df().shape == (6, 4)
    assert sum(len(page.rows) for page in result_pages(config.connection, query.query_id)) == 7
    dash.Query(config, query_text="select 1").stop()
    failed = dash.Query(config, query_text="select nothing from people")
    assert failed.wait_to_complete().status.state == "FAILED"
    refused(result_link, config.connection, failed.query_id)
    refused(start_query, config.connection, "drop table people")
    refused(dash.Query(config, query_id="nobodys").get_query_info)


def use_daily_runs(config):
    runs = dash.DailyRun(config)
    modes = "list", "latest", "last_successful"
    none = [runs.get_execution_info(mode) for mode in modes]
    assert none == [[], [], []]
    assert runs.update_daily_run_enabled(not runs.get_daily_run_enabled()) is False
    assert [runs.start_execution().started, runs.start_execution().started] == [True, False]
    assert [len(runs.get_execution_info(mode, 7)) for mode in (*modes, *modes)][-3:] == [1, 1, 1]


def use_migrations(config):
    move = dash.Migration(config)
    move.status()
    move.start()
    refused(start_migration, config.connection)
    move.wait_to_complete()
    move.start("FULL_MIGRATION")
    assert refused(move.wait_to_complete).reason == "migration_failed", "there are rows"
    move.start("FULL_MIGRATION", clear_out_new_lake=True)
    assert move.wait_to_complete().full_migration_status == "Completed"
    refused(start_migration, config.connection, "FULL_MIGRATION")


@pytest.fixture(scope="module")
def exchanges(box, tmp_path_factory):
    "Everything that domostats asks of the API, and every answer."
    with pytest.MonkeyPatch.context() as patch, watched(box) as seen:
        patch.chdir(tmp_path_factory.mktemp("work"))
        config = dash.DashConfig(sign_in(box))
        for use in (use_loads, use_queries, use_daily_runs, use_migrations):
            use(config)
    return seen


def test_the_description_has_the_slips_that_are_known_and_no_other(documents):
    from openapi_spec_validator import OpenAPIV30SpecValidator

    assert {*documents} == {*DOCUMENTS}
    mended = mend(documents)
    for name, document in documents.items():
        slips = [*OpenAPIV30SpecValidator(document).iter_errors()]
        places = {"/".join(map(str, one.absolute_path)) for one in slips}
        assert all("LoadCommit" in one or "check_sum" in one for one in places), places
        assert bool(places) == (name == "comodash_api_swagger.yaml")
        assert not [*OpenAPIV30SpecValidator(mended[name]).iter_errors()]
    with pytest.raises(KeyError, match="MigrationStatus"):
        mend(mended)
    assert all(reason for _, _, reason in SLIPS.values())


def test_nothing_that_is_asked_or_answered_violates_the_description(description, exchanges):
    found = {violation for one in exchanges for violation in description.judge(one)}
    assert not found


def test_every_operation_is_asked_and_answered_well_and_badly(description, exchanges):
    statuses = {}
    for one in exchanges:
        statuses.setdefault(description.find(one.method, one.path), set()).add(one.status)
    assert {*statuses} == description.operations() and len(statuses) == 15
    assert all(min(seen) < 400 for seen in statuses.values()), statuses
    assert {operation for operation, seen in statuses.items() if max(seen) >= 400} == {
        "POST /load/{load_id}/file",
        "POST /load/{load_id}/commit",
        "GET /load/{load_id}",
        "POST /query",
        "GET /query/{query_id}",
        "GET /query/{query_id}/csv",
        "POST /migration",
        "POST /dailyRun/start_execution",
    }


CHANGES = [
    ("POST", "/v2/load", {"body": b"{}"}),
    ("POST", "/v2/load", {"body": b'{"load_type":"APPEND_ONLY","table_name":"1t"}'}),
    ("POST", "/v2/load", {"body": b'{"load_type":"APPEND_ONLY","table_name":"ab","more":1}'}),
    ("POST", "/v2/load", {"headers": {"content-type": "application/json"}}),
    ("POST", "/v2/load", {"status": 200}),
    ("POST", "/v2/load", {"answer": b'{"load_id":"1"}'}),
    ("POST", "/v2/load", {"answer_headers": {"content-type": "text/html"}}),
    ("GET", "/v2/migration", {"answer": b'{"full_migration_status":"Completed"}'}),
    ("GET", "/v2/migration", {"query": {"page": "1"}}),
    ("POST", "/superset/dailyRun/start_execution", {"body": b"{}"}),
    ("POST", "/superset/dailyRun/start_execution", {"answer": b'{"started":"yes"}'}),
    ("GET", "/superset/dailyRun/execution_status", {"query": {"mode": "all"}}),
    ("GET", "/v2/migration", {"path": "/v2/migrations"}),
]


@pytest.mark.parametrize(("method", "path", "change"), CHANGES)
def test_the_judge_sees_what_is_wrong(description, exchanges, method, path, change):
    good = next(one for one in exchanges if (one.method, one.path) == (method, path))
    assert not description.judge(good)
    assert description.judge(good._replace(**copy.copy(change)))


# --- whatever is asked of domostats ---

names = st.one_of(
    st.from_regex(r"[a-z_]+[a-z0-9_]*[a-z0-9]", fullmatch=True),
    st.text(max_size=12),
    st.sampled_from(["_t", "ab", "a", "t_", "1t", "T1", "", "a.parquet"]),
)
values = st.one_of(
    st.integers(),
    st.floats(),
    st.decimals(),
    st.text(max_size=9),
    st.booleans(),
    st.none(),
    st.dates(),
)
words = st.text(max_size=20)


def asked_of(box, config, call):
    "What goes over the wire in this call, which may be refused by either side."
    with watched(box) as seen, suppress(DomostatsError):
        call(config.connection)
    return seen


@pytest.fixture
def config(box, own_folder):
    return dash.DashConfig(sign_in(box))


@EXAMPLES
@given(names, st.none() | words, st.none() | st.lists(words, max_size=3))
@example("ab", None, [])
def test_a_load_is_asked_for_as_described_or_not_at_all(
    description, box, config, table, client, partitions
):
    seen = asked_of(box, config, lambda dash: create_load(dash, table, client, partitions))
    assert not [wrong for one in seen for wrong in description.judge(one)]


@EXAMPLES
@given(st.none() | names, st.dictionaries(words, values, max_size=3))
@example("part_1", {"count(*)": 3})
def test_a_file_and_a_commit_are_as_described_or_not_sent(description, box, config, key, sums):
    id = create_load(config.connection, "ab", "0")
    seen = asked_of(box, config, lambda dash: ask_place(dash, id, key))
    seen += asked_of(box, config, lambda dash: commit_load(dash, id, sums))
    assert not [wrong for one in seen for wrong in description.judge(one)]


@EXAMPLES
@given(words | st.sampled_from(["select 1", "select 'é'"]), words, st.integers(-1, 300))
def test_questions_are_as_described_or_not_sent(description, box, config, text, mode, limit):
    seen = asked_of(box, config, lambda dash: start_query(dash, text))
    seen += asked_of(box, config, lambda dash: start_migration(dash, mode))
    modes = ["list", "latest", "last_successful", mode]
    for one in modes:
        with suppress(SettingsError):
            seen += asked_of(box, config, lambda dash, one=one: get_runs(config, one, limit))
    assert not [wrong for one in seen for wrong in description.judge(one)]


def get_runs(config, mode, limit):
    return get_daily_runs(dash.DailyRun(config).connection, mode, limit)


# --- whatever is asked of the sandbox ---

anything = st.recursive(
    values.filter(lambda one: one is None or isinstance(one, (int, float, str))),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
members = st.sampled_from(
    [
        "load_type",
        "table_name",
        "load_as_service_client_id",
        "partitions",
        "file_key",
        "check_sum",
        "query",
        "migration_type",
        "clear_out_new_lake",
        "dailyRun",
    ]
)
telling = st.sampled_from(
    ["APPEND_ONLY", "FULL_MIGRATION", "FLASH_SCHEMA", "CLEAR_OUT", "ab", "select 1", True]
)
bodies = st.one_of(
    st.dictionaries(members, anything | telling | names, max_size=5).map(json.dumps),
    anything.map(json.dumps),
    words,
).map(str.encode)


@pytest.fixture(scope="module")
def bearer(box):
    form = {
        "grant_type": "client_credentials",
        "client_id": box.client_id,
        "client_secret": box.client_secret.reveal(),
    }
    asked = requests.post(f"{box.realm.signer.issuer}/protocol/openid-connect/token", form)
    return {"authorization": f"Bearer {asked.json()['access_token']}"}


@settings(EXAMPLES, max_examples=300)
@given(st.data(), bodies, st.dictionaries(st.sampled_from(["mode", "limit", "next_token"]), words))
def test_whatever_comes_in_is_answered_as_described(
    description, box, bearer, exchanges, data, body, query
):
    operation = data.draw(st.sampled_from(sorted(description.operations())))
    method, _, pattern = operation.partition(" ")
    known = {*box.loads, *box.queries, "nobodys"}
    id = data.draw(st.sampled_from(sorted(known)))
    prefix = "/superset" if "daily" in pattern else "/v2"
    path = prefix + pattern.replace("{load_id}", id).replace("{query_id}", id)
    asked = {**bearer, "content-type": "application/json"} if method == "POST" else bearer
    with watched(box) as seen:
        sent = body if method == "POST" else b""
        box.service.reply(method, path, asked, sent, urlencode(query))
    (one,) = seen
    assert one.status < 500
    assert not [wrong for wrong in description.judge(one) if wrong.side == "answer"]
