"""`--to bigquery:PROJECT.DATASET.TABLE`: every row once, or an error that names the table; what
comes back is what the store gives."""

import datetime
import itertools
import json
import random
from collections import Counter
from decimal import Decimal
from pathlib import Path

import commands
import pyarrow as pa
import pytest
from conftest import bigquery_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from platforms import started

from domostats import reports, sandbox
from domostats.clients.bigquery import uploads
from domostats.clients.bigquery.client import open_client
from domostats.clients.bigquery.jobs import JobRunner
from domostats.clients.bigquery.names import TableName
from domostats.clients.bigquery.settings import read_bigquery_settings
from domostats.errors import (
    DataError,
    DestinationError,
    DomostatsError,
    RetryLaterError,
    SettingsError,
)
from domostats.loading.bigquery import bringing, notes
from domostats.loading.bigquery.columns import column_name
from domostats.loading.bigquery.destination import (
    parse_bigquery_place,
    table_coverage,
    write_to_bigquery,
)
from domostats.loading.bigquery.staging import STAGING
from domostats.loading.coverage import Coverage, mark_rows
from domostats.loading.parts import Part
from domostats.loading.store import Store
from domostats.transport.retry import Retry

pytest.importorskip("google.cloud.bigquery")
import google.cloud.bigquery as bigquery  # noqa: E402

PROJECT = "acme-analytics"
TABLE = TableName(PROJECT, "d", "t")
TO = f"bigquery:{TABLE}"
OWN = [one for one in reports.names() if reports.find(one).platform in ("domo", "datorama")]
CALLS = "/bigquery", "/upload"


served = bigquery_of(PROJECT)


@pytest.fixture
def box(served):
    clean(served)
    yield served
    assert not served.mistakes, served.mistakes[0]


def clean(box):
    "Take away every dataset and every fault."
    box.heal()
    for name in [*box.datasets]:
        box.service.project.catalogue.delete_dataset(name, True)
    box.log.clear()


@pytest.fixture
def at(box):
    return read_bigquery_settings(PROJECT, "d", "EU", endpoint=box.url)


def domostats(box, *words):
    given = {"COLUMNS": "200", "BIGQUERY_EMULATOR_HOST": box.url}
    code, out, err = commands.run(*words, environment=given)
    return code, out + err


def counted(rows):
    "Rows in any order, as often as each is there."
    return Counter(
        json.dumps(row, default=lambda value: repr(plain(value)), sort_keys=True) for row in rows
    )


def in_bigquery(at, table=TABLE):
    "The rows of a table, as Google's client gives them."
    with open_client(at) as client:
        return [dict(row) for row in client.list_rows(str(table))]


def left_behind(box):
    return [name for one in box.datasets.values() for name in one.tables if STAGING in name]


# ---- every report


@pytest.mark.sampled(12)
@pytest.mark.parametrize("report", OWN)
def test_every_report_goes_there(box, at, report):
    platform = reports.find(report).platform
    with started(platform, {"today": "2024-04-01"}) as source:
        with reports.find(report).stream(source) as run:
            expected = run.table
            write_to_bigquery(run.reader(), TABLE, at)
    names = [column_name(name) for name in expected.column_names]
    came = in_bigquery(at)
    assert came and [*came[0]] == names
    rows = expected.rename_columns(names).to_pylist()
    assert counted(came) == counted(rows)
    with open_client(at) as client:
        table = client.get_table(str(TABLE))
        told = {one.name: one.description for one in table.schema}
    for before, after in zip(expected.column_names, names, strict=True):
        assert told[after] == (None if before == after else before)
    assert (table.expires, table.description) == (None, f"The report {report}, by domostats.")
    assert left_behind(box) == []


def test_only_the_reports_of_what_this_machine_knows_are_not_among_them():
    assert {*reports.names()} - {*OWN} == {"calls", "dash_loads", "dash_queries"}


# ---- the command line


@pytest.mark.slow
def test_all_four_methods_by_the_command_line(box, at):
    with started("domo", {"today": "2024-04-01"}) as source:
        users = "generate", "users", "--instance", source.name, "--to", TO
        counts = []
        for words in (
            ("APPEND",),
            ("UPSERT",),
            ("REPLACE",),
            ("PARTITION", "--partition", "a"),
            ("PARTITION", "--partition", "b"),
            ("PARTITION", "--partition", "a"),
        ):
            code, said = domostats(box, *users, "--method", *words)
            assert code == 0, said
            counts.append(len(in_bigquery(at)))
    assert [count / counts[0] for count in counts] == [1, 1, 1, 2, 3, 3]


@pytest.mark.parametrize(
    ("to", "words", "code", "said"),
    [
        ("bigquery:d.t", (), 2, "PROJECT.DATASET.TABLE"),
        ("bigquery:acme-analytics.my-data.t", (), 2, "dataset"),
        (f"bigquery:{PROJECT}.d.{notes.NOTES}", (), 2, "the kit itself"),
        (f"bigquery:{PROJECT}.d.kit_loads", (), 2, "the kit itself"),
        (TO, ("--method", "PARTITION"), 2, "--partition"),
        (TO, ("--partition", "x"), 2, "--partition"),
    ],
)
def test_a_wrong_destination_is_told_before_anything_is_asked(box, to, words, code, said):
    found = domostats(box, "generate", "users", "--instance", "acme", "--to", to, *words)
    assert found[0] == code and said in found[1] and not box.log
    assert "Traceback" not in found[1]


@pytest.mark.slow
def test_several_instances_share_a_table_and_each_replaces_its_own(box, at):
    with sandbox.start(today="2024-04-01") as one, sandbox.start(seed=7, today="2024-04-01") as two:
        both = "--instance", one.name, "--instance", two.name
        common = "generate", "users", "--to", TO
        assert domostats(box, *common, *both)[0] == 0
        first = counted(in_bigquery(at))
        code, said = domostats(box, *common, "--instance", one.name)
        assert code == 0 and f"keeps the rows of {two.name}" in said, said
        assert counted(in_bigquery(at)) == first
        assert {*table_coverage(TABLE, at).instances} == {one.name, two.name}


# ---- values


ZONE = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
FIRST, LAST = datetime.datetime(1, 1, 2), datetime.datetime(9999, 12, 30)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
VALUES = {
    "whole": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "small": (pa.int16(), st.integers(-(2**15), 2**15 - 1)),
    "large": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "float": (pa.float64(), st.floats(allow_nan=False)),
    "half": (pa.float32(), st.floats(width=32, allow_nan=False)),
    "exact": (pa.decimal128(20, 5), st.decimals(-(10**14), 10**14, places=5)),
    "text": (pa.string(), TEXTS),
    "words": (pa.dictionary(pa.int32(), pa.string()), st.sampled_from(["a", "é", "😀", ""])),
    "bytes": (pa.binary(), st.binary(max_size=9)),
    "truth": (pa.bool_(), st.booleans()),
    "day": (pa.date32(), st.dates()),
    "clock": (pa.time64("us"), st.times()),
    "naive": (pa.timestamp("us"), st.datetimes(FIRST, LAST)),
    "moment": (pa.timestamp("us", "UTC"), st.datetimes(FIRST, LAST, timezones=st.just(ZONE))),
    "nothing": (pa.null(), st.none()),
}
ROWS = st.lists(
    st.fixed_dictionaries({name: st.none() | values for name, (_, values) in VALUES.items()}),
    max_size=6,
)
SCHEMA = pa.schema([(name, kind) for name, (kind, _) in VALUES.items()])


def plain(value):
    "A value as all sides mean it: the store keeps moments as UTC without a zone."
    if isinstance(value, datetime.datetime) and value.tzinfo:
        return value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral() else value.normalize()
    return value


def same(rows):
    return sorted(repr([plain(value) for value in row.values()]) for row in rows)


@pytest.mark.slow
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=ROWS)
def test_values_come_back_as_from_the_store(served, rows):
    clean(served)
    at = read_bigquery_settings(PROJECT, "d", "EU", endpoint=served.url)
    table = pa.Table.from_pylist(rows, SCHEMA)
    assert write_to_bigquery(table, TABLE, at) == len(rows)
    store = Store("here.duckdb")
    store.write("t", table, "REPLACE")
    assert same(in_bigquery(at)) == same(store.read("t").to_pylist())


def test_lists_and_records_come_back(box, at):
    rows = [
        {"Tags": ["a", "é"], "Who": {"First Name": "Ada", "Age": 36}, "Days": [{"n": 1}, {"n": 2}]},
        {"Tags": [], "Who": {"First Name": None, "Age": None}, "Days": []},
        {"Tags": None, "Who": None, "Days": None},
    ]
    write_to_bigquery(pa.Table.from_pylist(rows), TABLE, at)
    came = in_bigquery(at)
    assert [row["Tags"] for row in came] == [["a", "é"], [], []]
    assert [row["Days"] for row in came] == [[{"n": 1}, {"n": 2}], [], []]
    assert came[0]["Who"] == {"First_Name": "Ada", "Age": 36}
    with pytest.raises(DataError, match="'Tags' has a list with a null") as e:
        write_to_bigquery(pa.table({"Tags": [["a", None]]}), TABLE, at)
    assert e.value.reason == "null_value" and in_bigquery(at) == came


def test_not_a_number_and_infinity(box, at):
    rows = [float("nan"), float("inf"), -float("inf"), 0.1, None]
    write_to_bigquery(pa.table({"f": rows}), TABLE, at)
    assert [repr(row["f"]) for row in in_bigquery(at)] == [repr(one) for one in rows]


def test_required_columns_are_required(box, at):
    schema = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("n", pa.int64())])
    write_to_bigquery(pa.table({"id": [1], "n": [None]}, schema=schema), TABLE, at)
    with open_client(at) as client:
        assert [one.mode for one in client.get_table(str(TABLE)).schema] == ["REQUIRED", "NULLABLE"]
    for wrong in (pa.table({"id": pa.array([None], pa.int64())}), pa.table({"n": [1]})):
        with pytest.raises(DataError, match="'id' of bigquery:.* takes no null") as e:
            write_to_bigquery(wrong, TABLE, at, "APPEND")
        assert e.value.reason == "null_value"
    write_to_bigquery(wrong.slice(0, 0), TABLE, at, "APPEND")
    assert [row["id"] for row in in_bigquery(at)] == [1]
    write_to_bigquery(wrong, TABLE, at, "REPLACE")
    assert in_bigquery(at) == [{"n": 1}]


# ---- names


@pytest.mark.parametrize(
    "names", [("a b", "a_b"), ("A", "a"), ("é", "e"), ("x" * 300 + "1", "x" * 300 + "2"), ("", "b")]
)
def test_names_that_clash_are_told_before_anything_is_sent(box, at, names):
    table = pa.table([pa.array([1]), pa.array([2])], names=[*names])
    with pytest.raises(DomostatsError) as e:
        write_to_bigquery(table, TABLE, at)
    assert e.value.reason in ("name_clash", "bad_column", "duplicate_column") and not box.log


NAMES = st.lists(st.text(max_size=320).filter(lambda one: "\0" not in one), min_size=1, max_size=4)


@pytest.mark.slow
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(names=NAMES)
def test_any_names_are_taken_or_refused_at_once(served, names):
    clean(served)
    at = read_bigquery_settings(PROJECT, "d", "EU", endpoint=served.url)
    table = pa.table([pa.array([n]) for n in range(len(names))], names=names)
    try:
        write_to_bigquery(table, TABLE, at)
    except (DataError, DestinationError) as e:
        assert e.reason in ("name_clash", "bad_column", "duplicate_column") and not served.log
        return
    with open_client(at) as client:
        fields = client.get_table(str(TABLE)).schema
    assert [one.description or one.name for one in fields] == names
    assert [*in_bigquery(at)[0].values()] == [*range(len(names))]


# ---- what may be written over what


def rows(*ids, instance=None, missing=False, said="x"):
    "Rows that say what they cover."
    names = instance or [""]
    columns = {"id": [*ids] * len(names), "said": [said] * len(ids) * len(names)}
    if instance:
        columns = {"instance": [name for name in names for _ in ids], **columns}
    part = Part(not missing, ("A page was lost.",) if missing else ())
    coverage = Coverage({("", name): part for name in names}, bool(instance), "users")
    types = {"id": pa.int64()}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in columns])
    return mark_rows(pa.table(columns, schema=schema), coverage)


STEPS = st.tuples(
    st.sampled_from(["REPLACE", "APPEND", "UPSERT", "PARTITION"]),
    st.lists(st.integers(1, 4), unique=True, max_size=3),
    st.sampled_from([None, None, ["acme"], ["acme", "bolt"], ["bolt"]]),
    st.booleans(),
    st.sampled_from(["p", "q"]),
)


@pytest.mark.slow
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(STEPS, min_size=1, max_size=4))
def test_a_table_is_written_as_a_dataset_of_the_store(served, tmp_path_factory, steps):
    "The same rows, the same coverage, the same refusals."
    clean(served)
    at = read_bigquery_settings(PROJECT, "d", "EU", endpoint=served.url)
    store = Store(tmp_path_factory.mktemp("store") / "here.duckdb")
    for number, (method, ids, whose, missing, part) in enumerate(steps):
        data = rows(*ids, instance=whose, missing=missing, said=str(number))
        how = {
            "update_method": method,
            "update_key": "id" if method == "UPSERT" else None,
            "partition_name": part if method == "PARTITION" else None,
            "note": lambda sentence: None,
        }
        outcomes = []
        for write in (
            lambda: store.write("t", data, **how),  # noqa: B023
            lambda: write_to_bigquery(data, TABLE, at, **how),  # noqa: B023
        ):
            try:
                outcomes.append(write())
            except DomostatsError as e:
                outcomes.append((type(e), e.reason))
        assert outcomes[0] == outcomes[1]
        if "t" not in store.names():
            assert "t" not in served.datasets["d"].tables
            continue
        came = [
            {name: value for name, value in row.items() if name != "__partition__"}
            for row in in_bigquery(at)
        ]
        assert counted(came) == counted(store.read("t").to_pylist())
        assert table_coverage(TABLE, at) == store.coverage("t")
    assert left_behind(served) == []


def test_a_key_that_is_null_or_comes_twice_is_refused(box, at):
    for ids, reason in (([1, 1], "duplicate_key"), ([1, None], "null_key")):
        with pytest.raises(DestinationError) as e:
            write_to_bigquery(pa.table({"id": ids}), TABLE, at, "UPSERT", "id")
        assert e.value.reason == reason and str(TABLE) in str(e.value)
    with pytest.raises(DestinationError, match="not a number") as e:
        write_to_bigquery(pa.table({"id": [float("nan")]}), TABLE, at, "UPSERT", "id")
    assert e.value.reason == "null_key"
    with pytest.raises(SettingsError, match="lists or records") as e:
        write_to_bigquery(pa.table({"id": [[1]]}), TABLE, at, "UPSERT", "id")
    with pytest.raises(SettingsError) as e:
        write_to_bigquery(pa.table({"id": [1]}), TABLE, at, "UPSERT", "nothing")
    assert e.value.reason == "bad_update_key" and left_behind(box) == []


def test_a_type_that_does_not_fit_is_refused(box, at):
    write_to_bigquery(pa.table({"id": [1], "n": [2]}), TABLE, at)
    with pytest.raises(DestinationError, match="'n' is INT64") as e:
        write_to_bigquery(pa.table({"id": [2], "n": ["x"]}), TABLE, at, "APPEND")
    assert e.value.reason == "column_type"
    write_to_bigquery(
        pa.table({"id": [3], "n": pa.array([None], pa.string())}), TABLE, at, "APPEND"
    )
    assert counted(in_bigquery(at)) == counted([{"id": 1, "n": 2}, {"id": 3, "n": None}])


def test_a_view_is_no_place_to_write_to(box, at):
    write_to_bigquery(pa.table({"id": [1]}), TABLE.beside("real"), at)
    with open_client(at) as client:
        view = bigquery.Table(str(TABLE))
        view.view_query = f"SELECT id FROM {TABLE.beside('real').sql()}"
        client.create_table(view)
    with pytest.raises(DestinationError) as e:
        write_to_bigquery(pa.table({"id": [1]}), TABLE, at)
    assert e.value.reason == "bad_destination"


# ---- groups of the settings


def test_a_dataset_that_the_settings_do_not_mean_is_shared_with_nobody(box, monkeypatch):
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", box.url)
    Path("settings.ini").write_text(
        f"[domostats]\n[bigquery]\nproject = {PROJECT}\ndataset = own\nlocation = EU\n"
        "readers = analysts@acme.example\n"
    )
    for dataset, expected in (("own", 1), ("other", 0)):
        write_to_bigquery(pa.table({"id": [1]}), TableName(PROJECT, dataset, "t"))
        with open_client(read_bigquery_settings()) as client:
            entries = client.get_dataset(dataset).access_entries
        assert [one.entity_type for one in entries].count("groupByEmail") == expected


# ---- faults


OLD, NEW = pa.table({"id": [1, 2], "s": ["a", "b"]}), pa.table({"id": [2, 3], "s": ["c", "d"]})
AFTER = {
    "REPLACE": [(2, "c"), (3, "d")],
    "APPEND": [(1, "a"), (2, "b"), (2, "c"), (3, "d")],
    "UPSERT": [(1, "a"), (2, "c"), (3, "d")],
    "PARTITION": [(1, "a"), (2, "b"), (2, "c"), (3, "d")],
}
PASSING = [
    *("drop", "drop_after", "unavailable", "unavailable_after", "rate_limited", "job_running"),
    *("cut", "truncated", "reset", "bad_gateway"),
]
HARD = ["conflict", "job_failed", "forbidden", "quota_exceeded", "html", "unauthorized"]


def send(at, method, client=None):
    return write_to_bigquery(
        NEW,
        TABLE,
        at,
        method,
        update_key="id" if method == "UPSERT" else None,
        partition_name="p" if method == "PARTITION" else None,
        client=client,
    )


def standing(at):
    return sorted((row["id"], row["s"]) for row in in_bigquery(at))


def prepared(box, at):
    clean(box)
    write_to_bigquery(OLD, TABLE, at)
    box.log.clear()


def number_of_calls(box, at, method):
    prepared(box, at)
    send(at, method)
    return len(box.log)


@pytest.mark.sampled(40, a_day=7)
@pytest.mark.parametrize("method", AFTER)
@pytest.mark.parametrize("fault", PASSING)
def test_whatever_is_lost_every_row_is_there_once(box, at, method, fault):
    "The fault meets each request in turn, and passes."
    for after in range(0, number_of_calls(box, at, method), 1 if method == "APPEND" else 4):
        prepared(box, at)
        box.fail(fault, None, after=after)
        assert send(at, method) == 2
        box.heal()
        assert standing(at) == AFTER[method], after
        assert left_behind(box) == []


@pytest.mark.slow
@pytest.mark.sampled(18, a_day=3)
@pytest.mark.parametrize("method", ["REPLACE", "APPEND"])
@pytest.mark.parametrize("fault", [*HARD, "drop", "drop_after", "unavailable_after"])
def test_a_fault_that_stays_leaves_all_or_nothing_and_names_the_table(box, at, method, fault):
    "From some request on nothing works any more; then it does, and the run is repeated."
    for after in range(0, number_of_calls(box, at, method), 2):
        prepared(box, at)
        box.fail(fault, None, after=after, times=None if fault != "conflict" else 2)
        told = None
        with open_client(at, Retry(tries=2, first=0.001)) as client:
            try:
                send(at, method, client)
            except DomostatsError as e:
                told = e
        box.heal()
        found = standing(at)
        assert found in ([(1, "a"), (2, "b")], AFTER[method]), after
        if told is None:
            assert found == AFTER[method]
            continue
        assert str(TABLE) in str(told) or "table d.t" in str(told), (after, told)
        if found == AFTER[method]:  # it was done, and nobody could say so
            assert told.reason in ("unknown_outcome", "unavailable", "unreachable", "cut") or (
                method == "REPLACE"
            ), (after, told)
        with open_client(at) as client:
            note = notes.find_note(client, TABLE)
        if note.pending is None:
            send(at, "REPLACE")
            assert standing(at) == AFTER["REPLACE"]


def test_a_run_that_died_behind_its_copy_is_settled_by_the_next(box, at, monkeypatch):
    "The copy is done, and its note was never written: the job says what the table covers."
    write_to_bigquery(rows(1, 2), TABLE, at)
    usual = bringing._noted

    def dies(write, step, before, after):
        if step == "note":
            raise KeyboardInterrupt
        usual(write, step, before, after)

    monkeypatch.setattr(bringing, "_noted", dies)
    with pytest.raises(KeyboardInterrupt):
        write_to_bigquery(rows(3, missing=True), TABLE, at, "REPLACE", allow_incomplete=True)
    monkeypatch.setattr(bringing, "_noted", usual)
    assert [row["id"] for row in in_bigquery(at)] == [3]
    assert table_coverage(TABLE, at).parts["", ""].missing == ("A page was lost.",)
    assert left_behind(box) == []
    write_to_bigquery(rows(4), TABLE, at, "REPLACE")
    assert table_coverage(TABLE, at).is_whole and [row["id"] for row in in_bigquery(at)] == [4]


@pytest.mark.parametrize("method", ["REPLACE", "APPEND"])
def test_rows_that_are_there_are_not_called_lost(box, at, monkeypatch, method):
    "Behind the copy nothing works any more: the rows count, and nobody is told to send them again."
    usual = bringing._noted

    def lost(write, step, before, after):
        if step == "note":
            raise RetryLaterError("nothing answers", "unreachable")
        usual(write, step, before, after)

    monkeypatch.setattr(bringing, "_noted", lost)
    with pytest.warns(UserWarning, match="noted by the next run"):
        assert write_to_bigquery(rows(1, 2), TABLE, at, method) == 2
    monkeypatch.setattr(bringing, "_noted", usual)
    assert table_coverage(TABLE, at).report == "users"

    def forgets(write):
        raise RetryLaterError("nothing answers", "unreachable")

    monkeypatch.setattr(bringing, "_keep_for_good", forgets)
    other = TABLE.beside("other")
    with pytest.raises(DestinationError, match="The rows are in .*d.other, whole") as e:
        write_to_bigquery(rows(1, 2), other, at, method)
    assert e.value.reason == "rows_written" and len(in_bigquery(at, other)) == 2


def test_a_run_that_died_before_its_copy_is_in_nobodys_way(box, at, monkeypatch):
    "Its job was announced and never began: it is closed, and comes no more."
    write_to_bigquery(rows(1, 2), TABLE, at)
    usual = JobRunner.run
    left = []

    def dies(runner, name, start, *rest):
        if "_copy_" in name:
            left.append((runner, name, start, *rest))
            raise KeyboardInterrupt
        return usual(runner, name, start, *rest)

    monkeypatch.setattr(JobRunner, "run", dies)
    with pytest.raises(KeyboardInterrupt):
        write_to_bigquery(rows(3), TABLE, at, "REPLACE")
    monkeypatch.setattr(JobRunner, "run", usual)
    assert table_coverage(TABLE, at).report == "users"
    assert len(in_bigquery(at)) == 2
    with open_client(at) as client:
        write_to_bigquery(rows(4), TABLE, at, "APPEND", client=client)
        [(_, *late)] = left
        with pytest.raises(DestinationError) as e:  # it had not died, and comes now
            JobRunner(client, at).run(*late)
    assert e.value.reason == "changed_meanwhile"
    assert sorted(row["id"] for row in in_bigquery(at)) == [1, 2, 4]


@pytest.mark.parametrize("method", ["REPLACE", "APPEND", "UPSERT"])
def test_two_runs_at_the_same_time_do_not_mix(box, at, monkeypatch, method):
    "The second comes between the decision of the first and its writing."
    write_to_bigquery(OLD, TABLE, at)
    usual = bringing._ask
    came = itertools.count()

    def late(write, step, sql, before, after):
        if next(came) == 0:
            write_to_bigquery(pa.table({"id": [9], "s": ["z"]}), TABLE, at, "APPEND")
        usual(write, step, sql, before, after)

    monkeypatch.setattr(bringing, "_ask", late)
    with pytest.raises(DestinationError) as e:
        send(at, method)
    assert e.value.reason == "changed_meanwhile"
    assert standing(at) == [(1, "a"), (2, "b"), (9, "z")] and left_behind(box) == []


def test_what_arrives_otherwise_is_not_brought_in(box, at, monkeypatch):
    "A service that counts other rows than were sent: nothing of them is in the table."
    write_to_bigquery(OLD, TABLE, at)
    usual = bigquery.Client.query

    def lossy(client, query, *args, **more):
        if "COUNT(*)" in query and STAGING in query:
            query = f"{query} WHERE id > 2"
        return usual(client, query, *args, **more)

    monkeypatch.setattr(bigquery.Client, "query", lossy)
    with pytest.raises(DestinationError) as e:
        send(at, "APPEND")
    assert e.value.reason == "check_sum_failed" and (e.value.expected, e.value.got) == (2, 1)
    assert str(TABLE) in str(e.value) and standing(at) == [(1, "a"), (2, "b")]
    assert left_behind(box) == []


def test_what_the_source_raises_comes_through(box, at):
    def batches():
        yield from OLD.to_batches()
        raise DataError("the source is broken", "unexpected")

    reader = pa.RecordBatchReader.from_batches(OLD.schema, batches())
    with pytest.raises(DataError, match="^the source is broken$"):
        write_to_bigquery(reader, TABLE, at)
    assert "t" not in box.datasets["d"].tables and left_behind(box) == []


def test_a_large_file_goes_in_pieces(box, at, monkeypatch):
    monkeypatch.setattr(uploads.upload_load_job, "__defaults__", (256 * 1024, None))
    draw = random.Random(1)
    table = pa.table({"s": [draw.randbytes(40).hex() for _ in range(40_000)]})
    box.fail("drop_after", "/upload", after=2)
    write_to_bigquery(table, TABLE, at)
    puts = [call for call in box.log if call.method == "PUT"]
    assert len(puts) > 3 and max(call.size for call in puts) <= 256 * 1024
    assert counted(in_bigquery(at)) == counted(table.to_pylist())


def test_the_place_is_read(box):
    assert parse_bigquery_place(TO) == TABLE
