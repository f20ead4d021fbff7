"""A history that a dataset of BigQuery keeps is the one that a store keeps."""

import json
import re
from datetime import datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from conftest import bigquery_of

pytest.importorskip("google.cloud.bigquery")
from bigquery_support import PROJECT, Datasets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_history_property import days, exactly, forget_unknown_of_new, next_state

from domostats.errors import DestinationError, DomostatsError, RetryLaterError, SettingsError
from domostats.loading.store import Store
from domostats.tracking.history.history import History
from domostats.tracking.history.mirrors import view_name
from domostats.tracking.history.on_bigquery import BigQueryHistories
from domostats.tracking.loads import Loads
from domostats.tracking.pictures import timeline

DAY = datetime(2024, 4, 1)


box = bigquery_of(PROJECT)


@pytest.fixture
def datasets(box, own_folder):
    made = Datasets(box)
    yield made
    box.heal()
    made.remove()


@pytest.fixture
def store(datasets):
    "What tests of histories call the store: here it is a dataset."
    return BigQueryHistories(datasets.warehouse())


def names(place, kind):
    "The tables of this kind in the dataset."
    connection = place.warehouse.connection
    found = connection.client.list_tables(str(connection))
    return sorted(one.table_id for one in found if one.table_id.startswith(kind))


def test_a_view_says_when_each_version_held(store):
    history = History("Users & friends", ["User ID", "at"], store, "acme")
    rows = {"User ID": [1, 2], "at": [1.5, 2.5], "Größe": [Decimal("1.5"), None]}
    history.snapshot(pa.table(rows), DAY)
    history.snapshot(
        pa.table({**rows, "Größe": [Decimal("1.5"), Decimal("2.5")]}), DAY + timedelta(1)
    )
    connection = store.warehouse.connection
    view = connection.client.get_table(f"{connection}.{view_name('Users & friends@acme')}")
    assert (
        re.fullmatch(r"history_\w+", view.table_id) and "Users & friends@acme" in view.description
    )
    found = connection.select(f"SELECT * FROM `{view.reference}` ORDER BY 1, 4", [])
    assert [(row[0], row[2], row[4] is None) for row in found] == [
        (1, Decimal("1.5"), True),
        (2, None, False),
        (2, Decimal("2.5"), True),
    ]
    [table] = names(store, "kit_history")
    made = connection.client.get_table(f"{connection}.{table}")
    assert (made.time_partitioning.field, made.clustering_fields) == ("__since__", ["User_ID"])
    assert made.schema[0].description == "User ID"


@pytest.mark.slow
def test_a_snapshot_sends_what_has_changed_and_nothing_else(store, box):
    history = History("users", "id", store)
    rows = {"id": [*range(500)], "name": ["x" * 50] * 500}
    history.snapshot(pa.table(rows), DAY)
    [table] = names(store, "kit_history")
    rows["name"] = ["y", *rows["name"][1:]]
    history.snapshot(pa.table(rows), DAY + timedelta(1))
    assert names(store, "kit_history") == [table]
    connection = store.warehouse.connection
    assert connection.client.get_table(f"{connection}.{table}").num_rows == 501
    history.snapshot(pa.table({**rows, "more": [None, *range(499)]}), DAY + timedelta(2))
    [other] = names(store, "kit_history")
    assert other != table and names(store, "kit_staged") == []
    assert history.at(DAY).num_rows == history.at().num_rows == 500


@pytest.mark.slow
@pytest.mark.parametrize("key", ["id", "half"])
def test_a_question_brings_what_it_is_about_and_no_more(store, box, monkeypatch, key):
    rows = {"id": [*range(40)], "half": [n + 0.5 for n in range(40)], "name": ["x" * 50] * 40}
    places = store, Store("calm.duckdb")
    both = [History("users", key, place) for place in places]
    for n in range(6):
        rows["name"] = [f"day {n}" if id == n else one for id, one in enumerate(rows["name"])]
        for history in both:
            history.snapshot(pa.table(rows), DAY + timedelta(n))
    usual = BigQueryHistories._rows
    brought = []

    def counted(place, table, select=None, parameters=()):
        found = usual(place, table, select, parameters)
        brought.append((found.num_rows, found.num_columns))
        return found

    monkeypatch.setattr(BigQueryHistories, "_rows", counted)
    box.log.clear()
    for ask in (
        lambda history: history.at(),
        lambda history: history.at(DAY + timedelta(2)),
        lambda history: history.changes(DAY + timedelta(3), DAY + timedelta(4)),
        lambda history: history.snapshots(),
        lambda history: history.validity(),
    ):
        ours, theirs = (ask(history) for history in both)
        assert exactly(ours) == exactly(theirs)
    known = {"id": [(40, 5), (40, 5), (2, 5)], "half": [(45, 5), (42, 5), (44, 5)]}
    assert brought == [*known[key], (45, 3), (45, 5)]
    sent = [json.loads(call.body) for call in box.log if call.method == "POST"]
    limits = {one["configuration"]["query"]["maximumBytesBilled"] for one in sent}
    assert limits == {str(store.warehouse.connection.settings.max_bytes_billed)}
    later = [one for one in sent if "__since__ <=" in one["configuration"]["query"]["query"]]
    assert len(later) == 3


@pytest.mark.slow
def test_columns_that_are_not_compared_today_are_seen_as_on_a_store(store):
    places = store, Store("calm.duckdb")
    for place in places:
        for n in range(4):
            rows = pa.table({"id": [1, 2], "seen": [n, 0], "name": ["a", "b" if n < 2 else "c"]})
            History("users", "id", place).snapshot(rows, DAY + timedelta(n))
    both = [History("users", "id", place, ignore="seen") for place in places]
    for ask in (
        lambda history: history.at(DAY + timedelta(3)),
        lambda history: history.changes(DAY, DAY + timedelta(3)),
        lambda history: history.snapshots(),
    ):
        ours, theirs = (exactly(ask(history)) for history in both)
        assert ours == theirs
    assert [row["seen"] for row in both[0].at().to_pylist()] == [0, 2 - 2]


@pytest.mark.slow
def test_what_is_asked_changes_nothing_and_what_fails_neither(store):
    history = History("users", "id", store)
    history.snapshot(pa.table({"id": [1, 2]}), DAY)
    before = store.list_kept()
    history.snapshot(pa.table({"id": [1]}), DAY + timedelta(1), dry_run=True)
    history.take_back(dry_run=True)
    history.erase(1, dry_run=True)
    history.changes(DAY, DAY)
    with pytest.raises(DestinationError):
        history.snapshot(pa.table({"id": [1, 1]}), DAY + timedelta(1))
    assert store.list_kept() == before and history.at().num_rows == 2
    with pytest.raises(SettingsError) as caught:
        history.sql()
    assert caught.value.reason == "needs_store"


@pytest.mark.slow
def test_the_last_one_taken_back_leaves_nothing(store):
    history = History("users", "id", store)
    history.snapshot(pa.table({"id": [1, 2]}), DAY)
    history.take_back()
    assert [names(store, kind) for kind in ("kit_history", "history_", "kit_staged")] == [[]] * 3
    assert history.snapshots().num_rows == 0
    with pytest.raises(SettingsError):
        history.at()
    assert Loads(store.warehouse).lines("history.users") == []
    history.snapshot(pa.table({"id": [3]}), DAY)
    assert history.at().to_pylist() == [{"id": 3}]
    assert [line.row_count for line in Loads(store.warehouse).lines("history.users")] == [1]


@pytest.mark.slow
def test_two_programs_at_once_one_is_told_and_nothing_is_lost(store):
    History("users", "id", store).snapshot(pa.table({"id": [1, 2]}), DAY)
    with pytest.raises(RetryLaterError) as caught, store.open_histories("users", None) as con:
        con.execute("UPDATE history.users SET id = 9 WHERE id = 1")
        con.execute('INSERT INTO kit."users now" VALUES (9)')
        History("users", "id", store).snapshot(pa.table({"id": [1, 2, 3]}), DAY + timedelta(1))
    assert caught.value.reason == "changed_meanwhile"
    history = History("users", "id", store)
    assert sorted(row["id"] for row in history.at().to_pylist()) == [1, 2, 3]
    assert history.snapshots().num_rows == 2 and len(names(store, "kit_history")) == 1


@pytest.mark.slow
def test_histories_of_two_instances_stand_beside_each_other(store):
    for instance, ids in (("acme", [1]), ("umbra", [1, 2])):
        History("users", "id", store, instance).snapshot(pa.table({"id": ids}), DAY)
    assert History("users", "id", store, "umbra").at().num_rows == 2
    assert len(timeline(History("users", "id", store, "acme")).rows) == 1
    with pytest.raises(SettingsError) as caught:
        History("users", "id", store).at()
    assert caught.value.reason == "several_instances"


ODD = {
    "tags": pa.array([["a, b", None], None, []], pa.list_(pa.string())),
    "part": pa.array([{"n": 1}, None, {"n": None}], pa.struct({"n": pa.int32()})),
    "big": pa.array([2**64 - 1, None, 0], pa.uint64()),
    "tiny": pa.array([1, None, -1], pa.int8()),
    "exact": pa.array([Decimal("1e-12"), None, Decimal(3)], pa.decimal128(38, 12)),
    "raw": pa.array([b"\0\xff", None, b""], pa.binary()),
    "at": pa.array([datetime(2024, 1, 1, 1, 2, 3, 4), None, DAY], pa.timestamp("us", "UTC")),
    "is": pa.array([True, None, False], pa.bool_()),
}


@pytest.mark.slow
def test_values_of_every_type_come_back_as_they_are(store):
    rows = pa.table({"id": [1, 2, 3], **ODD})
    places = store, Store("store.duckdb")
    found = []
    for place in places:
        history = History("odd", "id", place)
        history.snapshot(rows, DAY)
        taken = history.snapshot(rows, DAY + timedelta(1))
        assert (taken.added, taken.changed, taken.removed) == (0, 0, 0)
        found.append(history.at())
    assert found[0].schema == found[1].schema
    assert found[0].to_pylist() == found[1].to_pylist()


def outcome(call):
    "What a call gives, or the reason why it was refused."
    try:
        return call()
    except (DestinationError, SettingsError) as e:
        return e.reason


@pytest.mark.slow
@pytest.mark.sampled(6, a_day=1)
@pytest.mark.parametrize("part", range(6))
@settings(
    max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    days=st.lists(days(), min_size=2, max_size=4),
    ignored=st.sampled_from([(), (), ("Seen",), ("name", "SCORE")]),
    asked=st.integers(0, 3),
)
def test_random_days_leave_the_same_history(datasets, tmp_path_factory, part, days, ignored, asked):
    folder = tmp_path_factory.mktemp("h")
    places = Store(folder / "s.duckdb"), BigQueryHistories(datasets.warehouse(folder.name))
    both = [History("things", "ID", place, "acme", ignore=ignored) for place in places]
    states = [{}]
    for n, day in enumerate(days):
        forget_unknown_of_new(day, states[-1])
        at = DAY + timedelta(n)
        taken = [history.snapshot(day, at, allow_incomplete=True) for history in both]
        assert taken[0] == taken[1]
        states.append(next_state(states[-1], day, {name.lower() for name in ignored}))
        if day.then == "take back":
            assert len({tuple(history.take_back(at)) for history in both}) == 1
            states.pop()
        if day.then == "erase" and states[1:]:
            assert len({history.erase(day.who) for history in both}) == 1
    then = DAY + timedelta(asked)
    for question in (
        lambda history: exactly(history.snapshots()),
        lambda history: exactly(history.at()),
        lambda history: exactly(history.validity()),
        lambda history: exactly(history.changes(DAY, DAY + timedelta(9))),
        lambda history: exactly(history.at(then)),
        lambda history: exactly(history.changes(then - timedelta(1), then)),
    ):
        ours, theirs = (outcome(lambda one=one: question(one)) for one in both)
        assert ours == theirs


FAULTS = (
    "drop",
    "drop_after",
    "unavailable_after",
    "server_error",
    "forbidden",
    "job_failed",
    "job_running",
)


def day_rows(n):
    "Rows that change from day to day, and now and then a column more."
    rows = {"id": [1, 2, n + 10], "name": [f"day {n}", "same", None]}
    return pa.table({**rows, **{f"more {k}": [k, None, n] for k in range(n // 5)}})


class Disturbed:
    "A history whose snapshots meet faults, and one in a store that meets none."

    def __init__(self, box, place):
        self.box = box
        self.disturbed = History("users", "id", place)
        self.calm = History("users", "id", Store("calm.duckdb"))
        self.n = 0

    def take(self, fault=None, after=0):
        "Take the next snapshot, again if it was refused; whether it was."
        at = DAY + timedelta(self.n)
        rows = day_rows(self.n)
        self.n += 1
        wanted = self.calm.snapshot(rows, at)
        if fault:
            self.box.fail(fault, after=after)
        failed = None
        try:
            taken = self.disturbed.snapshot(rows, at)
        except DomostatsError as e:
            failed = e
        self.box.heal()
        if failed:
            assert "Traceback" not in str(failed), (fault, after)
            there = self.disturbed.snapshots().num_rows
            assert there in (self.n - 1, self.n), (fault, after)
            taken = self.disturbed.snapshot(rows, at)
        else:
            assert taken == wanted, (fault, after)
        return bool(failed)

    def check(self):
        assert exactly(self.disturbed.at()) == exactly(self.calm.at())
        assert exactly(self.disturbed.validity()) == exactly(self.calm.validity())
        assert exactly(self.disturbed.snapshots()) == exactly(self.calm.snapshots())
        lines = [
            [(line.release_key, line.row_count, line.details) for line in Loads(one).lines()]
            for one in (self.disturbed.store.warehouse, self.calm.store)
        ]
        assert lines[0] == lines[1]

    def requests(self):
        "How many requests a snapshot makes that nothing disturbs."
        self.take()
        self.box.log.clear()
        self.take()
        return len(self.box.log)


@pytest.mark.slow
@pytest.mark.parametrize("everywhere", [False, True])
def test_a_fault_at_a_request_loses_no_snapshot_and_doubles_none(store, box, everywhere):
    disturbed = Disturbed(box, store)
    count = disturbed.requests()
    places = range(0, count, 2) if everywhere else range(1, count, count // 4)
    failed = [disturbed.take(FAULTS[n % 7], n) for n in places]
    disturbed.check()
    assert count > 15 and (any(failed) or not everywhere)
