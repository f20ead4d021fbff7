"""A history belongs to an instance by name, is keyed by columns that hold the key, and compares
values: from outside, with the command line and in Python."""

import math
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pyarrow as pa
import pytest
from platforms import started
from typer.testing import CliRunner

from domostats import reports, sandbox
from domostats.errors import EXIT_CODES, DataError, DestinationError, SettingsError
from domostats.interfaces.cli import app
from domostats.loading.store import Store
from domostats.reports.keys import key_columns
from domostats.rows.formatter import Formatter
from domostats.rows.rules import number, text
from domostats.tracking.history.history import History

DAY = datetime(2024, 4, 1)
FORMATS = [(name, f) for name in reports.names() for f in reports.find(name).formatters]


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store.duckdb")


def run(*words):
    "What a command printed and its exit code, an error of the kit as the code that it becomes."
    result = CliRunner().invoke(app, [*map(str, words)])
    error = result.exception
    if error is not None and not isinstance(error, SystemExit):
        return EXIT_CODES.get(type(error), 1), f"{result.output} {error}"
    return result.exit_code, result.output


def here(*lines):
    Path("settings.ini").write_text("\n".join(["[domostats]", "store = here.duckdb", *lines]))


def place(box, name):
    return f"[instance.{name}]\nurl = {box.url}"


def taken(printed):
    "The numbers of the last line of a table of snapshots: rows, added, changed, removed."
    line = [line.split() for line in printed.splitlines() if ":" in line][-1]
    start = next(n for n, word in enumerate(line) if ":" in word)
    return [int(word) for word in line[start + 1 : start + 5]]


def refused(call, *args, **how):
    with pytest.raises((DataError, DestinationError, SettingsError)) as caught:
        call(*args, **how)
    return caught.value.reason


# --- keys ---


def test_no_report_is_keyed_by_a_link_or_a_label():
    users, access = reports.users.report, reports.page_access.report
    for name in ("domostats", "user_activity"):
        assert key_columns(users, users.formatter(name)) == ["User ID"]
    with pytest.raises(SettingsError) as caught:
        key_columns(access, access.formatter("domostats"))
    assert caught.value.reason == "unknown_key" and "do: all" in str(caught.value)


def test_a_one_to_one_rule_holds_the_key_and_the_plain_field_comes_first():
    users = reports.users.report
    rules = {"n": number("id"), "t": text("id"), "plain": "id", "email": "emailAddress"}
    by_rule = Formatter(users.objects, rules)
    assert key_columns(users, by_rule) == ["plain"]
    assert key_columns(users, by_rule.drop("plain")) == ["n"]
    with pytest.raises(SettingsError):
        key_columns(users, by_rule.drop("plain", "n", "t"))


@pytest.mark.sampled(8)
@pytest.mark.parametrize("name, format_name", FORMATS)
def test_the_key_of_every_format_is_unique_and_a_restart_changes_nothing(store, name, format_name):
    report = reports.find(name)
    if name in ("group_members", "page_access") and format_name == "domostats":
        assert refused(History.of, report, store, format_name, "x") == "unknown_key"
        return
    for n in range(2):
        with started(report.platform) as box:
            history = History.of(report, store, format_name, "here")
            if name == "calls":  # of this process, and every call adds one
                reports.users.generate(box)
            how = {"since": datetime(2020, 1, 1)} if name == "activity_log" else {}
            frame = report.generate(box, format_fn=format_name, **how)
            frame.attrs.clear()  # of the log the part since 2020 is all there is
            assert len(frame) and not frame.duplicated([*history.key]).any()
            assert frame[[*history.key]].notna().all().all()
            frame.attrs.clear()  # the log comes as a window, and this is about its key
            got = history.snapshot(frame, DAY + timedelta(n))
            if n and report.platform in ("domo", "datorama"):  # others are of this machine
                assert got[3:6] == (0, 0, 0), history.changes(DAY).to_pylist()[:3]


def test_the_sandbox_moves_and_its_users_stay():
    with sandbox.start(today="2024-04-01") as box:
        here(place(box, "lab"))
        first = box.url
        assert taken(run("snapshot", "users", "--instance", "sandbox")[1]) == [12, 12, 0, 0]
        assert run("snapshot", "page_access", "--instance", "sandbox")[0] == 0
        for words in (["--method", "REPLACE"], ["--method", "UPSERT"]):
            assert run("generate", "users", "--instance", "sandbox", "--to", "us", *words)[0] == 0
    with sandbox.start(today="2024-04-01") as box:
        assert box.url != first
        assert taken(run("snapshot", "users", "--instance", "sandbox")[1]) == [12, 0, 0, 0]
        code, _ = run(
            "generate", "users", "--instance", "sandbox", "--to", "us", "--method", "UPSERT"
        )
        assert code == 0
        code, printed = run("snapshot", "page_access", "--instance", "sandbox", "--format", "all")
        assert code == 0 and taken(printed)[1:] == [0, 0, 0]
        code, printed = run(
            "snapshot", "page_access", "--instance", "sandbox", "--format", "domostats"
        )
        assert code == 3 and "do: all" in printed
    assert Store(Path("here.duckdb")).read("us").num_rows == 12


# --- instances ---


def test_each_instance_has_a_history_of_its_own():
    with (
        sandbox.start(today="2024-04-01") as a,
        sandbox.start(seed=2, users=9, today="2024-04-01") as b,
    ):
        here()
        for _ in range(2):
            for box in (a, b):
                code, printed = run("snapshot", "users", "--instance", box.name, "--format", "all")
                assert code == 0, printed
        assert taken(printed) == [9, 0, 0, 0]
        for words in (["history"], ["changes", "--since", "2024-01-01"]):
            command, *rest = words
            code, printed = run(command, "users", "--format", "all", *rest)
            assert code == 3 and a.name in printed and b.name in printed
            code, printed = run(command, "users", "--format", "all", "--instance", b.name, *rest)
            assert code == 0, printed
        assert printed.count("added") == 9
        picture = ["--picture", "users.html"]
        assert run("history", "users", "--format", "all", *picture)[0] == 3
        assert run("history", "users", "--format", "all", "--instance", a.name, *picture)[0] == 0
        assert f"users_all of {a.name}" in Path("users.html").read_text()
        assert run("history", "users", "--format", "all", "--instance", "nobody")[0] == 3
        assert run("changes", "users", "--instance", "nobody", "--since", "2024-01-01")[0] == 3


def test_where_there_is_one_instance_its_name_may_be_left_out_for_reading(store):
    rows = pa.table({"id": [1]})
    History("things", "id", store, "Acme").snapshot(rows, DAY)
    nameless = History("THINGS", "id", store)
    assert nameless.at().num_rows == 1 and nameless.snapshots()["instance"].to_pylist() == ["acme"]
    assert refused(nameless.snapshot, rows) == "several_instances"
    History("things", "id", store, "other").snapshot(rows, DAY)
    assert refused(nameless.at) == refused(nameless.snapshots) == "several_instances"
    History("things", "id", store, "").snapshot(rows, DAY)
    assert History("things", "id", store, "").at().num_rows == 1


def test_a_name_that_looks_like_a_history_of_an_instance_does_not_meet_it(store):
    History("things", "id", store, "acme").snapshot(pa.table({"id": [1]}), DAY)
    other = History("things@acme", "id", store, "")
    assert refused(other.snapshot, pa.table({"id": [2]}), DAY) == "name_taken"


# --- incomplete runs, and what is not known ---


def half(rows, **about):
    return SimpleNamespace(table=rows, incomplete=True, findings=["A page failed."], **about)


def test_an_incomplete_run_is_refused_or_removes_nothing(store):
    history = History("things", "id", store, "acme")
    whole = pa.table({"id": [1, 2, 3], "name": ["a", "b", "c"]})
    history.snapshot(whole, DAY)
    part = half(pa.table({"id": [1, 4], "name": ["A", "d"]}))
    with pytest.raises(DataError) as caught:
        history.snapshot(part, DAY + timedelta(1))
    assert caught.value.reason == "incomplete" and "A page failed." in str(caught.value)
    got = history.snapshot(part, DAY + timedelta(1), allow_incomplete=True)
    assert got[2:6] == (4, 1, 1, 0) and got.missing == 2
    assert sorted(history.at()["id"].to_pylist()) == [1, 2, 3, 4]
    frame = whole.to_pandas()
    frame.attrs["domostats"] = {"incomplete": True, "doubts": ["A list is short."]}
    assert refused(history.snapshot, frame) == "incomplete"


def test_a_narrowed_run_and_a_fleet_are_no_snapshot(store):
    history, rows = History("things", "id", store), pa.table({"id": [1]})
    narrowed = SimpleNamespace(table=rows, incomplete=False, window=(DAY, None))
    assert refused(history.snapshot, narrowed) == "narrowed"
    fleet = SimpleNamespace(table=rows, incomplete=False, runs={}, failures={})
    assert refused(history.snapshot, fleet) == "several_instances"


def test_a_rejected_record_is_not_a_removed_one(box):
    here()
    assert run("snapshot", "groups", "--instance", box.name, "--format", "all")[0] == 0
    reply = reports.groups.report.run(box, format_fn="all")
    history = History.of(reports.groups.report, Store(Path("here.duckdb")), "all")
    reply.violations.append("broken")
    lost = SimpleNamespace(table=reply.table.slice(1), incomplete=True, findings=[])
    assert refused(history.snapshot, lost) == "incomplete"


def test_a_cell_that_is_not_known_is_no_change(store):
    history = History("things", ["id", "kind"], store)
    schema = pa.schema({"id": pa.int64(), "kind": pa.string(), "Name": pa.string()})

    def rows(*names):
        return pa.table([[1, 2, 3], ["a", "a", "b"], names], schema=schema)

    history.snapshot(rows("x", "y", "z"), DAY)
    doubt = pa.table({"k0": [1, 3], "k1": ["a", "b"], "column": ["NAME", "NAME"]})
    run = SimpleNamespace(table=rows(None, None, None), incomplete=False, uncertain=doubt)
    got = history.snapshot(run, DAY + timedelta(1))
    assert (got.changed, got.kept) == (1, 2)
    assert history.at()["Name"].to_pylist() == ["x", None, "z"]
    assert history.snapshots()["kept"].to_pylist() == [0, 2]


# --- by value ---


@pytest.mark.sampled(6)
@pytest.mark.parametrize(
    "old, new",
    [
        (pa.array([5, 7], pa.int64()), pa.array([5.0, 7.0])),
        (pa.array([5.0, 7.5]), pa.array([Decimal("5.00"), Decimal("7.50")])),
        (pa.array([Decimal("5.0")] * 2), pa.array([Decimal("5.000")] * 2)),
        (pa.array([date(2024, 1, 1)] * 2), pa.array([datetime(2024, 1, 1)] * 2)),
        (pa.array([0.0, math.nan]), pa.array([-0.0, math.nan])),
        (pa.array([5, 7], pa.int64()), pa.array(["5", "7"])),
        (pa.array([5.0, 7.5]), pa.array(["5", "7.5"])),
        (pa.array([date(2024, 1, 1)] * 2), pa.array(["2024-01-01"] * 2)),
        (pa.array([Decimal(100), Decimal(0)], pa.decimal128(9, 0)), pa.array(["100", "0"])),
        (pa.array(["5", "7"]), pa.array([5, 7], pa.int8())),
        (pa.array([1, 2**62], pa.int64()), pa.array([1, 2**62], pa.uint64())),
        (pa.array([[1, 2], [3]]), pa.array([[1.0, 2.0], [3.0]])),
        (pa.array([None, None], pa.int64()), pa.array([None, None])),
    ],
)
def test_another_type_of_the_same_value_is_no_change(store, old, new):
    history = History("things", "id", store)
    for n, column in enumerate((old, new, old)):
        ids = pa.array([1, 2], [pa.int64(), pa.float64(), pa.int32()][n])
        got = history.snapshot(pa.table({"id": ids, "value": column}), DAY + timedelta(n))
    assert history.snapshots()["changed"].to_pylist() == [0, 0, 0] and got.rows == 2
    assert history.changes(DAY).num_rows == 0 and history.validity().num_rows == 2


def test_order_and_spelling_of_columns_are_no_change_and_values_are_not_run_together(store):
    history = History("things", "id", store)
    history.snapshot(pa.table({"id": [1], "a": ["x\x1fb=y"], "b": [None], "c": ["z"]}), DAY)
    same = pa.table({"C": ["z"], "B": [None], "ID": [1], "A": ["x\x1fb=y"]})
    assert history.snapshot(same, DAY + timedelta(1))[3:6] == (0, 0, 0)
    other = pa.table({"id": [1], "a": ["x"], "b": ["y"], "c": ["z"]})
    assert history.snapshot(other, DAY + timedelta(2)).changed == 1
    assert history.changes(DAY).num_rows == 2


def test_a_column_that_becomes_text_does_not_end_the_history(store):
    history = History("things", "id", store)
    for n, value in enumerate((5, "five", 6, 6.5, date(2024, 1, 1), True, None)):
        got = history.snapshot(pa.table({"id": [1], "value": [value]}), DAY + timedelta(n))
        assert got.changed == (n > 0)
    assert history.validity()["value"].to_pylist() == [
        "5", "five", "6", "6.5", "2024-01-01", "true", None,
    ]  # fmt: skip


MACHINE = [
    "_hash",
    "_at",
    "_gone",
    "valid_from",
    "valid_to",
    "change",
    "column",
    "before",
    "after",
    "now",
    "came",
    "news",
    "lost",
    "state",
    "rows",
    "earlier",
    "later",
    "touched",
    "arriving",
    "k0",
]


@pytest.mark.sampled(16, a_day=6)
@pytest.mark.parametrize("name", [*MACHINE, *map(str.upper, MACHINE)])
def test_a_column_may_be_called_as_the_machinery_calls_its_own(store, name):
    history, two = History("things", "id", store), History("twos", [name, "id"], store)
    for n, value in enumerate(("x", "y", "y")):
        history.snapshot(pa.table({"id": [1, 2], name: [value, "z"]}), DAY + timedelta(n))
        two.snapshot(pa.table({"id": [1, 2], name: [value, "z"], "n": [n, 0]}), DAY + timedelta(n))
    assert history.snapshots()["changed"].to_pylist() == [0, 1, 0]
    assert [[*row.values()] for row in history.changes(DAY).to_pylist()] == [
        [1, "changed", name, "x", "y"]
    ]
    assert history.validity()[name].to_pylist() == ["x", "y", "z"]
    assert len({*map(str.lower, two.changes(DAY).column_names)}) == 6
    assert two.snapshots()["added"].to_pylist() == [2, 1, 0]
    assert history.take_back() and history.erase(1) == 2


@pytest.mark.parametrize(
    "names, reason",
    [(["id", "__GONE__"], "reserved_column"), (["id", "a", "A"], "duplicate_column")],
)
def test_columns_that_cannot_be_kept_are_refused(store, names, reason):
    rows = pa.table([[1]] * len(names), names=names)
    assert refused(History("things", "id", store).snapshot, rows) == reason


def test_before_the_first_snapshot_nothing_is_known_and_changes_go_forward(store):
    history = History("things", "id", store)
    history.snapshot(pa.table({"id": [1]}), DAY)
    assert refused(history.at, DAY - timedelta(1)) == "before_first"
    assert refused(history.sql, DAY - timedelta(1)) == "before_first"
    assert refused(history.changes, DAY, DAY - timedelta(1)) == "bad_range"
    assert refused(history.changes, DAY - timedelta(2), DAY - timedelta(1)) == "before_first"
    assert history.changes(DAY, DAY).num_rows == 0
    assert history.changes(DAY - timedelta(1)).num_rows == 1


def test_the_commands_say_that_nothing_is_known_before_the_first_snapshot(box):
    here()
    run("snapshot", "users", "--instance", box.name)
    code, printed = run("history", "users", "--at", "2020-01-01")
    assert code == 3 and "Nothing is known" in printed
    code, printed = run("changes", "users", "--since", "2026-01-02", "--until", "2026-01-01")
    assert code == 3 and "earlier moment to a later" in printed


def test_columns_can_be_left_out_of_the_comparison(store):
    history = History("things", "id", store, ignore="Seen")

    def rows(name, seen):
        return pa.table({"id": [1], "name": [name], "seen": [seen]})

    for n, (name, seen) in enumerate((("a", 1), ("a", 2), ("b", 3))):
        history.snapshot(rows(name, seen), DAY + timedelta(n))
    again = History("things", "id", store)
    assert again.snapshots()["changed"].to_pylist() == [0, 0, 1]
    assert [row["column"] for row in again.changes(DAY).to_pylist()] == ["name"]
    all_of_it = History("things", "id", store, ignore=())
    assert [row["column"] for row in all_of_it.changes(DAY).to_pylist()] == ["name", "seen"]


def test_a_column_that_is_left_out_later_counts_no_more(store):
    history = History("things", "id", store)
    for n in range(3):
        history.snapshot(pa.table({"id": [1], "seen": [n], "name": ["a"]}), DAY + timedelta(n))
    assert history.snapshots()["changed"].to_pylist() == [0, 1, 1]
    less = History("things", "id", store, ignore=["SEEN"])
    assert less.snapshots()["changed"].to_pylist() == [0, 0, 0]
    assert less.changes(DAY).num_rows == 0 and less.validity().num_rows == 1


# --- taking back, erasing ---


def test_only_the_last_snapshot_is_taken_back_or_all_that_came_after_too(store):
    history = History("things", "id", store)
    for n in range(3):
        history.snapshot(pa.table({"id": [1], "n": [n]}), DAY + timedelta(n))
    assert refused(history.take_back, DAY) == "not_last"
    assert refused(history.take_back, "2030-01-01") == "no_snapshot"
    assert history.take_back(DAY, and_later=True, dry_run=True)[::-1] == [
        DAY + timedelta(n) for n in range(3)
    ]
    assert history.snapshots().num_rows == 3
    history.take_back(DAY + timedelta(1), and_later=True)
    assert history.at()["n"].to_pylist() == [0]
    history.take_back()
    assert refused(history.at) == "no_history"
    assert history.snapshot(pa.table({"id": ["x"]}), DAY).added == 1


def test_a_clock_that_is_years_ahead_does_not_end_the_history(box):
    here()
    store = Store(Path("here.duckdb"))
    run("snapshot", "users", "--instance", box.name)
    history = History.of(reports.users.report, store, instance=box.name)
    history.snapshot(history.at().slice(0, 3), "2062-01-01")
    code, printed = run("snapshot", "groups", "--instance", box.name)
    assert code == 0
    code, printed = run("snapshot", "users", "--instance", box.name)
    assert code == 3 and "take-back" in printed
    code, printed = run("take-back", "users", "--dry-run")
    assert code == 0 and "2062" in printed and history.snapshots().num_rows == 2
    assert run("take-back", "users")[0] == 0
    assert run("snapshot", "users", "--instance", box.name)[0] == 0


def test_a_person_is_erased_from_all_versions_and_all_formats(box):
    here()
    for format_name in ("all", "domostats"):
        run("snapshot", "users", "--instance", box.name, "--format", format_name)
    store = Store(Path("here.duckdb"))
    history = History.of(reports.users.report, store, "all", box.name)
    frame = history.frame()
    frame["title"] = "another"
    history.snapshot(frame)
    who, email = frame["user_id"][0], frame["email_address"][0]
    code, printed = run("erase", "users", who, "--dry-run")
    assert code == 0 and history.at().num_rows == 12
    code, printed = run("erase", "users", who, "--instance", box.name)
    assert code == 0 and "domostats" in printed and history.at().num_rows == 11
    with store.open() as con:
        for table in con.execute(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE schema_name IN "
            "('history', 'kit')"
        ).fetchall():
            rows = con.execute(f'SELECT * FROM {table[0]}."{table[1]}"').fetchall()
            assert who not in str(rows).replace("'", " ").split() and email not in str(rows)
    assert history.snapshots()["rows"].to_pylist() == [11, 11]
    assert run("erase", "users", "nobody")[0] == 6


def test_two_instances_in_one_history_are_seen(store):
    mixed, whole = History("mixed", "id", store), History("whole", "id", store)
    for n in range(4):
        a = pd.DataFrame({"id": range(10), "name": f"of {n % 2}"})
        mixed.snapshot(a, DAY + timedelta(n))
        b = pd.DataFrame({"id": range(n, n + 10), "name": f"day {n}"})
        whole.snapshot(b, DAY + timedelta(n))
    assert mixed.mixed() == [DAY + timedelta(n) for n in (2, 3)] and whole.mixed() == []
    others = History("others", "id", store)
    for n in range(3):
        ids = range(12) if n % 2 == 0 else range(100, 109)
        others.snapshot(pd.DataFrame({"id": ids}), DAY + timedelta(n))
    assert others.mixed() == [DAY + timedelta(1), DAY + timedelta(2)]


def test_a_run_knows_whose_it_is(store):
    with (
        sandbox.start(today="2024-04-01") as a,
        sandbox.start(seed=2, users=9, today="2024-04-01") as b,
    ):
        report = reports.users.report
        runs = [report.run(box, format_fn="all") for box in (a, b)]
        history = History.of(report, store, "all")
        for run in runs:
            assert history.snapshot(run, DAY)[3:6] == (run.came, 0, 0)
        one = History.of(report, store, "all", a)
        assert refused(one.snapshot, runs[1], DAY + timedelta(1)) == "other_instance"
        assert one.at().num_rows == 12 and refused(history.at) == "several_instances"
