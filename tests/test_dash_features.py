"""What programs for Comotion Dash may count on: loads, sign-in and queries, each shown once.

Some of it is shown where its subject is tested:

    rows are counted at the source        test_dash_loads: test_a_lost_chunk_is_found_by_the_number_of_rows
    several sources in one load           test_dash_loads: test_four_kinds_of_sources_in_one_load_are_one_table
    whose rows they are                   test_dash_loads: test_a_load_without_a_service_client_warns_and_fails
    a load that is there is gone on with  test_dash_loads: test_attaching_takes_local_options_and_refuses_the_four
    the result of a query is loaded       test_dash_loads: test_a_query_is_loaded_with_its_types_or_as_text
    a query without a result is not       test_dash_loads: test_a_failed_or_cancelled_query_is_never_loaded
    names of columns are cleaned          test_dash_loads: test_columns_that_become_one_name_are_explained
    a dry run writes and sends nothing    test_dash_loads: test_a_dry_run_makes_no_call_and_the_very_files_that_would_be_sent
    the browser signs a person in         test_dash_sign_in: test_the_browser_signs_a_person_in_and_the_entries_are_those_of_the_sdk
    a redirect with a wrong state         test_dash_sign_in: test_a_redirect_that_is_not_as_it_should_be_signs_nobody_in
    an application and its token          test_dash_sign_in: test_an_application_asks_for_a_token_once_until_it_ends
    a wrong secret                        test_dash_sign_in: test_a_wrong_secret_is_told_clearly
    a large result in little memory       test_dash_client: test_a_result_of_200_megabytes_grows_the_process_by_less_than_20
"""  # noqa: E501

import io
import json
import re
import subprocess
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path

import commands
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from dash_support import browser, let_in, new_load, refresh
from platforms import started
from pyarrow import parquet

from domostats import dash, reports, sandbox
from domostats.clients.dash.auth import UserAuth, sign_in
from domostats.clients.dash.kept_login import login_from_token
from domostats.clients.dash.organisation import find_organisation
from domostats.errors import AccessError, DataError, RetryLaterError, SettingsError
from domostats.loading.dash.load_parts import UploadItem

TESTS = Path(__file__).parent
pytest_plugins = "dash_support"


@pytest.fixture(scope="module")
def served():
    with sandbox.start_dash("features", load_polls=0, queued_polls=0, running_polls=0) as box:
        yield box


@pytest.fixture
def box(served, own_folder, monkeypatch):
    "An organisation that this folder knows, with an application that may sign in."
    let_in(served, monkeypatch)
    return refresh(served)


def column(box, table, name="id"):
    rows = box.table(table)
    return sorted(rows.column(name).to_pylist()) if rows.num_rows else []


def bodies(box, method, path):
    "The JSON bodies of the requests to a path."
    return [json.loads(one.body) for one in box.log if (one.method, one.path) == (method, path)]


def test_what_is_shown_elsewhere_is_there():
    told = re.findall(r"(test_\w+): (test_\w+)", __doc__)
    assert len(told) >= 10
    for file, name in told:
        assert f"def {name}(" in (TESTS / f"{file}.py").read_text(), name


# --- the uploader ---


def test_an_uploader_is_made_from_a_sign_in_or_from_a_configuration(box, table):
    auth = dash.Auth(orgname=box.org)
    for n, options in enumerate(
        ({"config": dash.DashConfig(auth)}, {"auth_token": auth}, {"config": auth})
    ):
        uploader = dash.DashBulkUploader(**options)
        name = f"{table}{n}"
        uploader.add_load(name, track_rows_uploaded=True, load_as_service_client_id="0")
        uploader.add_data_to_load(name, pd.DataFrame({"id": [n]}))
        assert uploader.execute_upload(name).load_status == "SUCCESS"
        assert column(box, name) == [n]


def test_adding_a_load_opens_it_and_says_what_is_wrong(box, config, table):
    uploader = dash.DashBulkUploader(config=config)
    for options, reason in (
        ({"table_name": "Policies", "check_sum": {"count(*)": 1}}, "bad_name"),
        ({"table_name": "1t", "check_sum": {"count(*)": 1}}, "bad_name"),
        ({"table_name": table}, "bad_check_sum"),
        ({"table_name": table, "check_sum": {"count(*)": 1}, "load_type": "MERGE"}, "bad_argument"),
    ):
        with pytest.raises(SettingsError) as refused:
            uploader.add_load(**options)
        assert refused.value.reason == reason
    assert not box.log, "what is wrong is found before a call is made"
    load = uploader.add_load(table, {"count(*)": 1})
    assert box.loads[load.load_id].state == "OPEN" and box.loads[load.load_id].table == table
    with pytest.raises(SettingsError) as refused:
        uploader.add_load(table, {"count(*)": 1})
    assert refused.value.reason == "twice"


PEOPLE = pd.DataFrame(
    {
        "name": ["Ada", "Bo", "Eve"],
        "salary": [12000.5, 345.0, 0.5],
        "born": pd.to_datetime(["1990-01-02", "1991-02-03", "1992-03-04"]),
    }
)
SUMS = {
    "count(*)": 3,
    "sum(salary)": 12346.0,
    "max(name)": "Eve",
    "count(distinct name)": 3,
    "min(date(born))": date(1990, 1, 2),
    "sum(CASE WHEN name = 'Bo' THEN 1 ELSE 0 END)": 1,
}


@pytest.mark.parametrize("wrong", [None, *SUMS])
def test_check_sums_are_any_aggregates_and_a_wrong_one_is_told(box, config, table, wrong):
    load = new_load(config, table, track_rows_uploaded=False)
    load.upload_df(PEOPLE)
    if wrong is None:
        assert load.commit(SUMS).load_status == "SUCCESS"
        assert column(box, table, "name") == ["Ada", "Bo", "Eve"]
        return
    with pytest.raises(DataError) as failed:
        load.commit({**SUMS, wrong: 77})
    error = failed.value
    assert (error.reason, error.expression, error.expected) == ("check_sum_failed", wrong, 77)
    assert str(error.got) == str(SUMS[wrong]) and wrong in str(error)
    assert column(box, table) == []


def test_a_folder_gives_all_its_files_by_a_relative_path_too(box, config, table):
    folder = Path("incoming")
    folder.mkdir()
    (folder / "a.csv").write_text("id\n1\n")
    (folder / "b.json").write_text('[{"id": 2}]')
    parquet.write_table(pa.table({"id": [3]}), folder / "c.parquet")
    (folder / ".DS_Store").write_bytes(b"\0\1")
    (folder / "readme.txt").write_text("no rows, and a comma")
    (folder / "below").mkdir()
    for place in (folder, f"./{folder}", folder.resolve()):
        name = f"{table}{len(str(place))}"
        uploader = dash.DashBulkUploader(config=config)
        uploader.add_load(name, {"count(*)": 3}, load_as_service_client_id="0")
        uploader.add_data_to_load(name, place)
        assert [one["source_type"] for one in uploader.uploads[name]["data_sources"].values()] == [
            "dir"
        ]
        with pytest.warns(UserWarning, match="readme.txt"):
            uploader.execute_upload(name)
        load = uploader.uploads[name]["load"]
        assert len(box.loads[load.load_id].keys) == 3
        assert column(box, name) == [1, 2, 3]


def test_given_types_are_those_of_every_file_and_chunk(config, table, tmp_path):
    for name, text in (("a", "1,007,5"), ("b", "2,,"), ("c", "3,x,7")):
        (tmp_path / "in").mkdir(exist_ok=True)
        lines = "\n".join([text] * 5)
        (tmp_path / "in" / f"{name}.csv").write_text(f"id,code,fee\n{lines}\n")
    uploader = dash.DashBulkUploader(config=config)
    uploader.add_load(
        table,
        track_rows_uploaded=True,
        chunksize=2,
        path_to_output_for_dryrun=tmp_path / "out",
        load_as_service_client_id="0",
    )
    dtype = {"id": "int32", "code": "string", "fee": "float64"}
    uploader.add_data_to_load(table, tmp_path / "in", dtype=dtype)
    uploader.execute_upload(table)
    schemas = [parquet.read_schema(file) for file in (tmp_path / "out").iterdir()]
    wanted = pa.schema([("id", pa.int32()), ("code", pa.string()), ("fee", pa.float64())])
    assert len(schemas) == 9 and all(one.equals(wanted) for one in schemas)


KEY = r"[a-z_]+[a-z0-9_]*[a-z0-9]"


def test_a_source_has_a_key_of_its_own_that_stays_when_it_is_sent_again(box, config, table):
    load = new_load(config, table, chunksize=2)
    files = box.loads[load.load_id].keys
    box.fail("forbidden", f"/v2/load/{load.load_id}/file", times=None, after=1)
    for _ in range(2):  # sent twice, of which the first broke off
        try:
            load.upload_df(pd.DataFrame({"id": range(6)}))
        except AccessError:
            box.faults.heal()
    assert len(files) == 3 and all(re.fullmatch(KEY, key) for key in files)
    load.upload_df(pd.DataFrame({"id": [6, 7, 8]}), file_key="by_hand")
    load.upload_df(pd.DataFrame({"id": [9]}))
    assert len(files) == 6 and {"by_hand_1", "by_hand_2"} < {*files}
    assert len({key.rpartition("_")[0] for key in files}) == 3
    assert load.commit().load_status == "SUCCESS" and column(box, table) == [*range(10)]


def test_the_name_of_a_file_may_be_its_key(box, config, table):
    load = new_load(config, table)
    for name in ("rows_of_june.old.csv", "Rows-of-June.csv"):
        Path(name).write_text("id\n1\n")
    load.upload_file("rows_of_june.old.csv", use_file_name_as_key=True)
    assert [*box.loads[load.load_id].keys] == ["rows_of_june_1"]
    with pytest.raises(SettingsError) as refused:
        load.upload_file("Rows-of-June.csv", use_file_name_as_key=True)
    assert refused.value.reason == "bad_name"
    with pytest.raises(SettingsError) as refused:
        load.upload_file("rows_of_june.old.csv", file_key="other", use_file_name_as_key=True)
    assert refused.value.reason == "two_ways"


def test_what_was_added_can_be_looked_at_changed_and_removed(box, config, table):
    uploader = dash.DashBulkUploader(config=config)
    other = f"{table}2"
    for name in (table, other):
        uploader.add_load(name, track_rows_uploaded=True, load_as_service_client_id="0")
    key = uploader.add_data_to_load(table, pd.DataFrame({"id": [1]}))
    uploader.add_data_to_load(table, pd.DataFrame({"id": [2]}), file_key="kept")
    uploader.add_data_to_load(table, pd.DataFrame({"id": [3]}), file_key="kept")
    uploader.add_data_to_load(other, pd.DataFrame({"id": [4]}))
    assert [*uploader.uploads[table]["data_sources"]] == [key, "kept"]
    assert table in str(uploader.uploads)
    for wrong, reason in (((table, "none"), "unknown_field"), (("none", key), "unknown_load")):
        with pytest.raises(SettingsError) as refused:
            uploader.remove_data_from_load(*wrong)
        assert refused.value.reason == reason
    uploader.remove_data_from_load(table, key)
    uploader.remove_load(other)
    uploader.execute_all_uploads()
    assert column(box, table) == [3] and column(box, other) == []
    assert [*uploader.uploads] == [table]
    with pytest.raises(SettingsError) as refused:
        uploader.remove_data_from_load(table, "kept")
    assert refused.value.reason == "load_closed"


THREE = """
import sys
import pandas as pd
from domostats.dash import Auth, DashBulkUploader, DashConfig

uploader = DashBulkUploader(config=DashConfig(Auth(sys.argv[1])))
for n, table in enumerate(sys.argv[2:]):
    total = 99 if n == 1 else n
    uploader.add_load(table, {"sum(id)": total}, load_as_service_client_id="0")
    uploader.add_data_to_load(table, pd.DataFrame({"id": [n]}))
uploader.execute_all_uploads()
"""


def test_one_bad_table_stops_no_other_and_is_told_at_the_end(box, table):
    names = [f"{table}{n}" for n in range(3)]
    done = subprocess.run(
        [sys.executable, "-c", THREE, box.org, *names], capture_output=True, text=True, timeout=120
    )
    assert done.returncode != 0
    told = done.stderr.strip().splitlines()[-1]
    assert "1 of 3 loads failed" in told and "sum(id): expected 99, got 1" in told
    assert names[1] in told and names[0] not in told and names[2] not in told
    assert [column(box, name) for name in names] == [[0], [], [2]]


def test_a_table_is_sent_while_the_service_decides_on_the_one_before(box, config, table):
    box.rules.load_polls = 2
    names = [f"{table}{n}" for n in range(3)]
    uploader = dash.DashBulkUploader(config=config)
    for name in names:
        uploader.add_load(name, track_rows_uploaded=True, load_as_service_client_id="0")
        uploader.add_data_to_load(name, pd.DataFrame({"id": [1]}))
    box.log.clear()
    states = uploader.execute_all_uploads()
    assert {name: state.load_status for name, state in states.items()} == dict.fromkeys(
        names, "SUCCESS"
    )
    ids = [uploader.uploads[name]["load"].load_id for name in names]
    commits = [f"/v2/load/{id}/commit" for id in ids]
    sent = [call.path for call in box.log if call.path in commits]
    assert sent == commits, "each is committed once, in order"
    paths = [call.path for call in box.log]
    looks = [n for n, path in enumerate(paths) if path == f"/v2/load/{ids[0]}"]
    assert looks[-1] > paths.index(commits[-1]), "the last is sent before the first is decided"
    assert [column(box, name) for name in names] == [[1], [1], [1]]


def test_a_function_that_breaks_on_one_table_stops_no_other(box, config, table):
    names = [f"{table}{n}" for n in range(3)]

    def divide(frame):
        frame["share"] = 1 // frame["id"].iloc[0].item()

    uploader = dash.DashBulkUploader(config=config)
    for n, name in enumerate(names):
        uploader.add_load(
            name, modify_lambda=divide, track_rows_uploaded=True, load_as_service_client_id="0"
        )
        uploader.add_data_to_load(name, pd.DataFrame({"id": [n - 1]}), file_key="only")
    with pytest.raises(DataError) as failed:
        uploader.execute_multiple_uploads(names)
    assert failed.value.reason == "some_failed" and [*failed.value.done] == [names[0], names[2]]
    assert isinstance(failed.value.failures[names[1]], ZeroDivisionError)
    assert f"{names[1]}: ZeroDivisionError" in str(failed.value)
    assert [column(box, name) for name in names] == [[-1], [], [1]]


def test_an_interruption_commits_nothing_more_and_forgets_nothing(box, config, table):
    names = [f"{table}{n}" for n in range(3)]
    box.rules.load_polls = 10**6

    def interrupt(frame):
        if frame["id"].iloc[0] == 1:
            raise KeyboardInterrupt

    uploader = dash.DashBulkUploader(config=config)
    for n, name in enumerate(names):
        uploader.add_load(
            name, modify_lambda=interrupt, track_rows_uploaded=True, load_as_service_client_id="0"
        )
        uploader.add_data_to_load(name, pd.DataFrame({"id": [n]}), file_key="only")
    with pytest.raises(KeyboardInterrupt):
        uploader.execute_all_uploads()
    states = [state.load_status for state in uploader.get_load_info().values()]
    assert states == ["PROCESSING", "OPEN", "OPEN"]
    box.rules.load_polls = 0
    states = [state.load_status for state in uploader.get_load_info().values()]
    assert states == ["SUCCESS", "OPEN", "OPEN"]
    assert [column(box, name) for name in names] == [[0], [], []]


def test_how_loads_stand_is_told_without_waiting(box, config, table):
    box.rules.load_polls = 10**6
    uploader = dash.DashBulkUploader(config=config)
    load = uploader.add_load(table, track_rows_uploaded=True, load_as_service_client_id="0")
    uploader.add_data_to_load(table, pd.DataFrame({"id": [1]}))
    assert uploader.get_load_info()[table].load_status == "OPEN"
    load.upload_df(pd.DataFrame({"id": [1]}))
    load.commit(wait=False)
    box.log.clear()
    assert uploader.get_load_info()[table].load_status == "PROCESSING"
    assert [call.path for call in box.log] == [f"/v2/load/{load.load_id}"], "one look"


# --- a load ---


def test_a_load_is_created_as_it_was_recorded(box, config):
    load = dash.Load(
        config=config,
        load_type="APPEND_ONLY",
        table_name="v1_inforce_policies",
        load_as_service_client_id="0",
        partitions=["day(effective_date)", "region"],
        track_rows_uploaded=True,
        chunksize=2,
    )
    assert bodies(box, "POST", "/v2/load") == [
        {
            "load_type": "APPEND_ONLY",
            "table_name": "v1_inforce_policies",
            "load_as_service_client_id": "0",
            "partitions": ["day(effective_date)", "region"],
        }
    ]
    load.upload_df(pd.DataFrame({"region": ["n"] * 5}))
    assert len(box.loads[load.load_id].keys) == 3
    load.commit()
    assert bodies(box, "POST", f"/v2/load/{load.load_id}/commit") == [
        {"check_sum": {"count(*)": 5}}
    ]


def test_the_frame_of_the_caller_stays_as_it_is(box, config, table):
    frame = pd.DataFrame({"B b": [3, 1, 2], "A": ["x", None, "007"]}).sort_values("B b")
    before = frame.copy(deep=True)

    def change(some):
        some["stamp"] = "now"
        del some["A"]

    load = new_load(config, table, modify_lambda=change, chunksize=2)
    load.upload_df(df=frame)
    load.commit()
    pd.testing.assert_frame_equal(frame, before)
    assert box.table(table).column_names == ["b_b", "stamp", "service_client_id"]
    assert column(box, table, "b_b") == [1, 2, 3]


ROWS = [
    {"code": "007", "n": 1, "x": 0.5},
    {"code": "8", "n": 2, "x": None},
    {"code": 'M\u00fcller, "A"', "n": 3, "x": 2.5},
]


def write_rows(path):
    "The rows in a file of the kind that its name says."
    frame = pd.DataFrame(ROWS)
    kind = path.suffix
    if kind in (".csv", ".gz"):
        frame.to_csv(path, index=False)
    elif kind == ".parquet":
        parquet.write_table(pa.Table.from_pylist(ROWS), path)
    elif kind == ".json":
        path.write_text(json.dumps(ROWS))
    elif kind == ".jsonl":
        path.write_text("\n".join(map(json.dumps, ROWS)))
    else:
        pytest.importorskip("python_calamine")
        pytest.importorskip("openpyxl")
        frame.to_excel(path, index=False)


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet", "json", "jsonl", "xlsx"])
def test_a_file_of_each_kind_is_sent_by_path_and_as_a_stream(box, config, table, kind):
    path = Path(f"rows.{kind}")
    write_rows(path)
    load = new_load(config, table)
    load.upload_file(data=str(path))
    with path.open("rb") as file:
        load.upload_file(data=file)
    load.upload_file(data=io.BytesIO(path.read_bytes()))
    assert load.commit().load_status == "SUCCESS"
    there = box.table(table).select(["code", "n", "x"])
    assert [str(one) for one in there.schema.types] == ["string", "int64", "double"]
    assert sorted(there.to_pylist(), key=str) == sorted(3 * ROWS, key=str)


def test_a_folder_is_no_file(config, table):
    Path("folder").mkdir()
    with pytest.raises(SettingsError) as refused:
        new_load(config, table).upload_file("folder")
    assert refused.value.reason == "bad_argument" and "add_data_to_load" in str(refused.value)


def test_options_of_the_readers_of_pandas_are_passed_on_but_for_six(box, config, table):
    openpyxl = pytest.importorskip("openpyxl")
    pytest.importorskip("python_calamine")
    book = openpyxl.Workbook()
    book.active.append(["not this one"])
    sheet = book.create_sheet("inforce_book")
    for row in (["a title"], [], ["id", "name"], [1, "Ada"], [2, "Bo"]):
        sheet.append(row)
    book.save("book.xlsx")
    Path("rows.csv").write_bytes("# a remark\nid;name\n3;M\u00fcller\n".encode("latin-1"))
    load = new_load(config, table)
    load.upload_file(data="book.xlsx", sheet_name="inforce_book", skiprows=2)
    load.upload_file(data="rows.csv", sep=";", encoding="latin-1", comment="#")
    for name in ("filepath_or_buffer", "chunksize", "nrows", "path", "path_or_buf", "io"):
        with pytest.raises(SettingsError) as refused:
            load.upload_file("rows.csv", **{name: 1})
        assert refused.value.reason == "bad_argument" and repr(name)[1:-1] in str(refused.value)
    load.commit()
    assert column(box, table) == [1, 2, 3]
    assert column(box, table, "name") == ["Ada", "Bo", "M\u00fcller"]


def test_a_commit_takes_numbers_of_any_kind_and_needs_one_unless_rows_are_counted(
    box, config, table
):
    load = new_load(config, table, track_rows_uploaded=False)
    load.upload_df(pd.DataFrame({"salary": [12000.0, 345.5], "n": [1, 2]}))
    with pytest.raises(SettingsError) as refused:
        load.commit()
    assert refused.value.reason == "bad_check_sum"
    sums = {
        "sum(salary)": np.float64(12345.5),
        "count(*)": np.int64(2),
        "max(salary)": Decimal("12000.0"),
        "min(salary)": "345.5",
        "sum(n)": 3,
        "avg(n)": 1.5,
        "min(n)": np.float32(1),
    }
    given = dict(sums)
    assert load.commit(given).load_status == "SUCCESS" and given == sums
    counted = new_load(config, f"{table}2")
    counted.upload_df(pd.DataFrame({"n": [1, 2]}))
    assert counted.commit(given := {"sum(n)": 3}).load_status == "SUCCESS"
    assert given == {"sum(n)": 3}, "the number of rows is not written into the dict of the caller"


def test_a_load_tells_how_it_stands_at_any_time(box, config, table):
    box.rules.load_polls = 1
    load = new_load(config, table)
    seen = [load.get_load_info().load_status]
    load.upload_df(pd.DataFrame({"id": [1]}))
    seen.append(load.commit(wait=False).load_status)
    seen.append(load.get_load_info().load_status)
    assert seen == ["OPEN", "PROCESSING", "SUCCESS"]
    bad = new_load(config, table)
    bad.upload_df(pd.DataFrame({"id": [1]}))
    bad.commit({"sum(id)": 2}, wait=False)
    failed = bad.get_load_info()
    assert failed.load_status == "FAIL" and failed.error_type
    assert "sum(id) expected 2, got 1" in failed.error_messages[0]
    box.serve(f"/v2/load/{load.load_id}", {"LoadStatus": "THAWING", "ErrorMessages": [{"a": 1}]})
    odd = load.get_load_info()
    assert odd.load_status == "THAWING" and "a" in odd.error_messages[0]


# --- reports ---


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", [name for name in reports.names() if name != "calls"])
def test_every_report_is_added_to_a_table_with_a_mark_of_its_run(box, table, name):
    since = ["--changed-since", "2024-03-01"] if name == "activity_log" else []
    options = {"users": 5, "accounts": 4, "groups": 3, "datasets": 3, "pages": 3, "events": 300}
    with started(reports.find(name).platform, domo=options, datorama={"streams": 2}) as place:
        words = ("generate", name, "--instance", place.name, *since, "--to", f"dash:lake/{table}")
        counts = []
        for _ in range(2):
            code, _, said = commands.run(*words)
            assert code == 0, said
            counts.append(box.table(table).num_rows)
        rows = box.table(table)
        runs = rows.column("domostats_run").to_pylist()
        assert counts[0] > 0 and runs.count(runs[0]) == counts[0] and len({*runs}) == 2
        assert counts[1] >= 2 * counts[0]  # the record of this machine has grown
        code, _, said = commands.run(*words, "--method", "REPLACE")
        assert code != 0 and "replaces none" in " ".join(said.split())
        assert box.table(table).num_rows == counts[1]


def test_a_report_without_a_row_adds_none(box, table):
    with sandbox.start(accounts=0, users=3, groups=0, datasets=0, pages=0, events=0) as place:
        for name in ("accounts", "calls"):  # the calls of a new process
            to = f"dash:lake/{table}_{name}"
            code, _, said = commands.run("generate", name, "--instance", place.name, "--to", to)
            assert code == 0, said
            assert box.table(f"{table}_{name}").num_rows == 0


def test_loads_and_queries_of_this_machine_are_reports(box, config, table):
    new_load(config, table).close()
    left = new_load(config, f"{table}2")
    left.upload_df(pd.DataFrame({"id": [1, 2]}))
    done = new_load(config, f"{table}3")
    done.upload_df(pd.DataFrame({"id": range(5)}))
    done.commit()
    query = dash.Query(config, query_text="select * from nowhere")
    loads = reports.dash_loads.generate("dash-lake").set_index("name")
    assert loads["state"].to_dict() == {table: "OPEN", f"{table}2": "OPEN", f"{table}3": "SUCCESS"}
    assert loads["record"].to_dict() == {
        table: "open",
        f"{table}2": "running",
        f"{table}3": "ended",
    }
    assert loads["rows"].to_list() == [0, 2, 5] and loads["files"].to_list() == [0, 1, 1]
    assert loads["resume_with"].notna().to_list() == [True, False, False]
    left.commit()
    del box.loads[loads.loc[table, "load_id"]]
    again = reports.dash_loads.generate("dash-lake").set_index("name")
    assert again["state"].fillna("unknown").to_list() == ["unknown", "SUCCESS", "SUCCESS"]
    (asked,) = reports.dash_queries.generate("dash-lake", is_dataframe=False)
    assert (asked["query_id"], asked["state"]) == (query.query_id, "FAILED")
    assert "nowhere" in asked["reason"] and asked["completed_at"] >= asked["submitted_at"]
    assert [str(one) for one in again.dtypes[["rows", "state", "changed_at"]]] == [
        "Int64",
        "string",
        "datetime64[us, UTC]",
    ]
    code, said, _ = commands.run("reports")
    assert code == 0 and "dash_loads" in said and "dash_queries" in said


# --- signing in ---


def test_the_command_signs_in_or_ends_with_an_error(box):
    kept = Path("tokens.json").resolve()
    words = ("dash-sign-in", box.org, "--token-file", kept, "--timeout")
    code, said, _ = commands.run(*words, 60, environment=browser())
    assert code == 0 and "ada is signed in" in said, said
    before = kept.read_bytes()
    box.realm.denies = True
    code, _, said = commands.run(*words, 60, environment=browser())
    assert code != 0 and "denied" in said, said
    box.realm.denies = False
    code, _, said = commands.run(*words, 1, environment=browser("state=", "state=other"))
    assert code != 0 and "1 second" in " ".join(said.split()), said
    assert kept.read_bytes() == before, "who has not signed in keeps what there was"


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("words", "variable", "typed"),
    [("{}", "another-org", ""), ("", "{}", ""), ("", "", "{}\n")],
    ids=["named", "variable", "asked"],
)
def test_the_organisation_is_named_or_set_or_asked_for(box, words, variable, typed):
    names = [*filter(None, [words.format(box.org)])]
    command = [sys.executable, "-m", "domostats", "dash-sign-in", *names]
    environment = commands.os.environ | browser()
    environment["COMOTION_ORGNAME"] = variable.format(box.org)
    done = subprocess.run(
        [*command, "--token-file", "tokens.json"],
        input=typed.format(box.org),
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert ("Organisation" in done.stdout) == bool(typed)
    assert f"{box.realm.user} is signed in" in done.stdout


def test_a_token_that_ends_in_the_middle_of_a_load_is_renewed_unseen(box, table):
    place = find_organisation(box)
    person = UserAuth(place, login_from_token(place, box.realm.log_in("eve")))
    load = new_load(dash.DashConfig(sign_in(box, person)), table, chunksize=1)
    load.at_once = 1

    def frames():
        for n in range(12):
            if n % 3 == 2:
                box.clock.step(box.rules.access_seconds + 1)  # no token works any more
            yield pd.DataFrame({"id": [n]})

    load.upload([UploadItem(frames())])
    assert load.commit().load_status == "SUCCESS" and column(box, table) == [*range(12)]
    assert len([call for call in box.log if call.path.endswith("/token")]) == 5
    assert {call.user for call in box.log if call.place == "api" and call.status < 400} == {"eve"}


# --- queries ---


def test_a_query_is_waited_for_and_tells_why_it_has_no_result(box, config):
    query = dash.Query(config=config, query_text="select 1 as n")
    info = query.wait_to_complete()
    assert info.status.state == "SUCCEEDED" and query.is_complete()
    failed = dash.Query(config, query_text="select * from nowhere").wait_to_complete()
    assert failed.status.state == "FAILED"
    assert "nowhere" in failed.status.state_change_reason
    box.rules.running_polls = 10**6
    stopped = dash.Query(config, query_text="select 1")
    assert stopped.state() == "RUNNING" and not stopped.is_complete()
    with pytest.raises(RetryLaterError) as late:
        stopped.wait_to_complete(timeout=1)
    assert late.value.reason == "not_in_time"
    stopped.stop()
    cancelled = stopped.wait_to_complete().status
    assert cancelled.state == "CANCELLED" and "cancelled" in cancelled.state_change_reason.lower()
    attached = dash.Query(config, query_id=query.query_id)
    assert attached.get_query_info().query == "select 1 as n"


def test_a_result_is_streamed_read_and_made_a_frame(box, config, table):
    box.put_table(table, pa.table({"n": range(30_000), "t": ["x"] * 29_999 + ["\u00fc, \n"]}))
    query = dash.Query(config, query_text=f"select n, t from {table} order by n")
    with query.get_csv_for_streaming() as response:
        pieces = [*response.stream(1000)]
    assert len(pieces) > 100 and all(len(piece) == 1000 for piece in pieces[:-1])
    response = query.get_csv_for_streaming()
    assert response.data == b"".join(pieces)
    frame = pd.read_csv(io.StringIO(response.data.decode("utf-8")))
    assert frame.n.tolist() == [*range(30_000)] and frame.t.iloc[-1] == "\u00fc, \n"
    box.fail("forbidden", f"/v2/query/{query.query_id}/csv", times=None)
    again = dash.Query(config, query_id=query.query_id)
    with pytest.raises(AccessError):
        again.get_csv_for_streaming()


@pytest.mark.parametrize("quotes_nulls", [False, True])
def test_null_is_told_from_an_empty_text_where_the_service_does(box, config, table, quotes_nulls):
    box.rules.quotes_nulls = quotes_nulls
    rows = pa.table(
        {
            "t": ["", None, "x"],
            "n": pa.array([None, None, 7]),
            "d": pa.array([None, Decimal("1.50"), None], pa.decimal128(9, 2)),
        }
    )
    box.put_table(table, rows)
    query = dash.Query(config, query_text=f"select t, n, d from {table}")
    found = query.reader().read_all()
    assert found.column("n").to_pylist() == [None, None, 7]
    assert found.column("d").to_pylist() == [None, Decimal("1.50"), None]
    assert found.column("t").to_pylist() == ["", "" if quotes_nulls else None, "x"]
