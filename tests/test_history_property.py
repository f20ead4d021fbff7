"""The history against a model of plain dicts: whatever the days bring, counts, changes, validity
and states are one answer, by value."""

import math
import re
from collections import Counter
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from types import SimpleNamespace

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domostats.errors import DomostatsError
from domostats.loading.store import Store
from domostats.tracking.history.history import History
from domostats.tracking.pictures import timeline

DAY = datetime(2024, 4, 1)
COLUMNS = "name", "score", "seen"
KINDS = {  # what a column may hold on some day
    "whole": (pa.int64(), [0, 1, 5, -3]),
    "float": (pa.float64(), [0.0, -0.0, 1.0, 5.0, 2.5, math.nan]),
    "decimal": (pa.decimal128(10, 2), [Decimal("0.00"), Decimal("5.00"), Decimal("2.50")]),
    "text": (pa.string(), ["", "a", "5", "x=1", "é'\"", "b\x1f"]),
    "day": (pa.date32(), [date(2024, 1, 1), date(2024, 2, 29)]),
    "time": (pa.timestamp("us"), [datetime(2024, 1, 1), datetime(2024, 1, 1, 6, 30)]),
    "empty": (pa.null(), [None]),
}
KEYS = {"whole": (pa.int64(), int), "float": (pa.float64(), float), "text": (pa.string(), str)}


def plain(value):
    "A value as text that does not depend on its type: the model's own idea of what is the same."
    if value is None:
        return None
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        return "nan" if math.isnan(value) else format(float(value) + 0.0, "g")
    if isinstance(value, datetime):
        value = value.replace(tzinfo=None)
        return str(value.date()) if value.time() == datetime.min.time() else str(value)
    return str(value)


def plain_text(text):
    "The same for a value that was made text by somebody else."
    try:
        return plain(float(text))
    except (TypeError, ValueError):
        return text and text.removesuffix(" 00:00:00")


@st.composite
def days(draw):
    "One day: its columns as they come, and what it is in plain dicts."
    chosen = draw(st.permutations(COLUMNS))[: draw(st.integers(0, 3))]
    kinds = {name: draw(st.sampled_from([*KINDS])) for name in chosen}
    ids = draw(st.lists(st.integers(0, 5), unique=True, max_size=6))
    rows = {
        id: {name: draw(st.none() | st.sampled_from(KINDS[kinds[name]][1])) for name in chosen}
        for id in ids
    }
    key_type, key_of = KEYS[draw(st.sampled_from([*KEYS]))]
    columns = {"id": pa.array([key_of(id) for id in ids], key_type)}
    for name in chosen:
        columns[name] = pa.array([rows[id][name] for id in ids], KINDS[kinds[name]][0])
    spell = draw(st.sampled_from([str.lower, str.upper, str.title]))
    order = draw(st.permutations([*columns]))
    blank = [(id, name) for id in ids for name in chosen if rows[id][name] is None]
    unknown = draw(st.lists(st.sampled_from(blank), unique=True)) if blank else []
    return SimpleNamespace(
        table=pa.table({spell(name): columns[name] for name in order}),
        incomplete=draw(st.integers(0, 4)) == 0,
        uncertain=pa.table(
            {
                "k0": pa.array([key_of(id) for id, _ in unknown], key_type),
                "column": pa.array([spell(name) for _, name in unknown], pa.string()),
            }
        ),
        unknown={(plain(id), name) for id, name in unknown},
        rows={
            plain(id): {name: plain(row.get(name)) for name in COLUMNS} for id, row in rows.items()
        },
        then=draw(st.sampled_from(["", "", "", "take back", "erase"])),
        who=draw(st.integers(0, 5)),
    )


def forget_unknown_of_new(day, before):
    """Let only cells of rows that were there before be unknown; tests/test_unknown_cells.py has
    the others."""
    there = [plain_text(plain(key)) in before for key in day.uncertain["k0"].to_pylist()]
    day.uncertain = day.uncertain.filter(pa.array(there, pa.bool_()))
    day.unknown = {(id, name) for id, name in day.unknown if id in before}


def next_state(before, day, ignored):
    "The state after a day, by the model."
    after = dict(before) if day.incomplete else {}
    for id, row in day.rows.items():
        known = before.get(id)
        if known is not None:
            row = {
                name: known[name] if (id, name) in day.unknown else value
                for name, value in row.items()
            }
            if all(row[name] == known[name] for name in COLUMNS if name not in ignored):
                row = known
        after[id] = row
    return after


def differences(before, after, ignored):
    "What is different between two states, as a Counter of (id, change, column, before, after)."
    found = [(id, "added", None, None, None) for id in after.keys() - before.keys()]
    found += [(id, "removed", None, None, None) for id in before.keys() - after.keys()]
    for id in before.keys() & after.keys():
        for name in COLUMNS:
            if name not in ignored and before[id][name] != after[id][name]:
                found.append((id, "changed", name, before[id][name], after[id][name]))
    return Counter(found)


def counts(before, after, ignored):
    "How many rows there are, and how many were added, changed, removed."
    rows = Counter({(id, change) for id, change, *_ in differences(before, after, ignored)})
    kinds = Counter(change for _, change in rows)
    return len(after), kinds["added"], kinds["changed"], kinds["removed"]


def read(table):
    "A state as the history gives it, in plain dicts."
    found = {}
    for row in table.to_pylist():
        row = {name.lower(): plain(value) for name, value in row.items()}
        id = row.pop("id")
        found[plain_text(id)] = {name: row.get(name) for name in COLUMNS}
    assert len(found) == table.num_rows
    return found


def as_changes(table):
    rows = [[*row.values()] for row in table.to_pylist()]
    return Counter(
        (plain_text(plain(id)), change, column and column.lower(), plain_text(old), plain_text(new))
        for id, change, column, old, new in rows
    )


def differs_from(history, states, moments, ignored):
    "Hold every answer of a history against the states of the model."
    known = [{}, *states]
    taken = history.snapshots().to_pylist()
    assert [row["at"].replace(tzinfo=None) for row in taken] == moments
    told = [tuple(row[name] for name in ("rows", "added", "changed", "removed")) for row in taken]
    expected = [counts(known[n], known[n + 1], ignored) for n in range(len(states))]
    assert told == expected
    assert [tuple(row.values())[1:] for row in timeline(history).rows] == expected
    versions = history.validity().to_pylist()
    assert len(versions) == sum(added + changed for _, added, changed, _ in expected)
    for n, at in enumerate(moments):
        later = at + timedelta(hours=1)
        assert read(history.at(later)) == states[n]
        whole = later.replace(tzinfo=timezone.utc)
        there = [
            row
            for row in versions
            if row["valid_from"] <= whole and (row["valid_to"] is None or row["valid_to"] > whole)
        ]
        for row in there:
            del row["valid_from"], row["valid_to"]
        assert len(there) == len(states[n])
        versions = history.validity().to_pylist()
    for n in range(len(known)):
        for m in range(max(n, 1), len(known)):
            since = moments[n - 1] if n else moments[0] - timedelta(1)
            got = as_changes(history.changes(since, moments[m - 1]))
            assert got == differences(known[n], known[m], ignored)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("part", range(3))
@settings(max_examples=3, deadline=None)
@given(
    days=st.lists(days(), min_size=1, max_size=5),
    ignored=st.sampled_from([(), (), (), ("Seen",), ("name", "SCORE")]),
)
def test_counts_changes_validity_and_states_are_one_answer(tmp_path_factory, part, days, ignored):
    store = Store(tmp_path_factory.mktemp("h") / "s.duckdb")
    history, states, moments = History("things", "ID", store, "acme", ignore=ignored), [], []
    ignored = {name.lower() for name in ignored}
    for n, day in enumerate(days):
        before = states[-1] if states else {}
        at = DAY + timedelta(n)
        forget_unknown_of_new(day, before)
        taken = history.snapshot(day, at, allow_incomplete=True)
        after = next_state(before, day, ignored)
        assert taken[2:6] == counts(before, after, ignored)
        states.append(after)
        moments.append(at)
        if day.then == "take back":
            assert history.take_back(at) == [at]
            states.pop()
            moments.pop()
        if day.then == "erase" and states:
            history.erase(day.who)
            states = [
                {id: row for id, row in state.items() if id != plain(day.who)} for state in states
            ]
    if states:
        differs_from(history, states, moments, ignored)


def exactly(table):
    """The columns, types and rows of a table, so that NaN is itself.

    The sign of zero is left out: a column that was of text for a day does not keep it."""
    return table.schema, re.sub(r"-0\.0\b", "0.0", repr(table.to_pylist()))


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(days=st.lists(days(), min_size=2, max_size=4))
def test_a_snapshot_that_was_taken_back_never_was(tmp_path_factory, days):
    folder = tmp_path_factory.mktemp("h")
    taken, never = (History("things", "id", Store(folder / name)) for name in ("a.db", "b.db"))
    for n, day in enumerate(days[:-1]):
        for history in (taken, never):
            history.snapshot(day, DAY + timedelta(n), allow_incomplete=True)
    taken.snapshot(days[-1], DAY + timedelta(365), allow_incomplete=True)
    taken.take_back()
    assert exactly(taken.at()) == exactly(never.at())
    assert exactly(taken.validity()) == exactly(never.validity())
    assert taken.snapshots().equals(never.snapshots())
    for history in (taken, never):
        history.snapshot(days[0], DAY + timedelta(30), allow_incomplete=True)
    assert exactly(taken.validity()) == exactly(never.validity())


def test_the_model_can_tell_a_difference():
    before, after = {"1": dict.fromkeys(COLUMNS, "a")}, {"1": dict.fromkeys(COLUMNS, "b")}
    assert counts(before, after, set()) == (1, 0, 1, 0)
    assert counts(before, after, {*COLUMNS}) == (1, 0, 0, 0)


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(days=st.lists(days(), min_size=1, max_size=4))
def test_tables_alone_give_one_answer_too(tmp_path_factory, days):
    """Whole days, whatever their columns are called, of what type they are and in which order
    they come."""
    history = History("things", "id", Store(tmp_path_factory.mktemp("h") / "s.duckdb"))
    states, moments = [], []
    for n, day in enumerate(days):
        day.unknown, day.incomplete = set(), False
        after = next_state(states[-1] if states else {}, day, set())
        try:
            taken = history.snapshot(day.table, DAY + timedelta(n))
        except DomostatsError as e:
            pytest.fail(f"day {n} was refused: {e}")
        assert taken[2:6] == counts(states[-1] if states else {}, after, set())
        states.append(after)
        moments.append(DAY + timedelta(n))
    differs_from(history, states, moments, set())
