"""The history of a dataset, against a memory that keeps everything: states, changes, validity,
kills, several programs at once."""

import random
import signal
import subprocess
import sys
import time
from datetime import date, datetime, timedelta, timezone

import pandas as pd
import pyarrow as pa
import pytest
from conftest import KILLS
from hypothesis import given, settings
from hypothesis import strategies as st

from domostats import reports, sandbox
from domostats.errors import DestinationError, SettingsError
from domostats.loading.store import Store
from domostats.tracking.history.history import History
from domostats.tracking.history.moments import moment

DAY = datetime(2024, 4, 1)
ROWS = st.dictionaries(
    st.integers(0, 6),
    st.tuples(
        st.none() | st.integers(-3, 3),
        st.none() | st.sampled_from(["", "a", "b\x1f", "é'\"", "a=1"]),
    ),
    max_size=6,
)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store.duckdb")


def table(rows):
    "A table of {id: (number, word)}."
    return pa.table(
        {
            "id": pa.array([*rows], pa.int64()),
            "number": pa.array([number for number, _ in rows.values()], pa.int64()),
            "word": pa.array([word for _, word in rows.values()], pa.string()),
        }
    )


def plain(made):
    return {row["id"]: (row["number"], row["word"]) for row in made.to_pylist()}


def differences(before, after):
    "The changes between two states, as a set of (id, change, column, before, after)."

    def text(value):
        return None if value is None else str(value)

    found = {(id, "added", None, None, None) for id in after.keys() - before.keys()} | {
        (id, "removed", None, None, None) for id in before.keys() - after.keys()
    }
    return found | {
        (id, "changed", name, text(before[id][n]), text(after[id][n]))
        for id in before.keys() & after.keys()
        for n, name in enumerate(("number", "word"))
        if before[id][n] != after[id][n]
    }


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(days=st.lists(ROWS, min_size=1, max_size=6), seed=st.integers(0, 999))
def test_every_state_and_every_change_is_as_it_was(tmp_path_factory, days, seed):
    store = Store(tmp_path_factory.mktemp("h") / "s.duckdb")
    history, states = History("things", "id", store), [{}, *days]
    for n, rows in enumerate(days):
        shuffled = random.Random(seed + n).sample(sorted(rows), len(rows))
        taken = history.snapshot(table({id: rows[id] for id in shuffled}), DAY + timedelta(n))
        assert (taken.rows, taken.added, taken.removed) == (
            len(rows),
            len(rows.keys() - states[n].keys()),
            len(states[n].keys() - rows.keys()),
        )
    for n, rows in enumerate(states):
        at = DAY + timedelta(n - 1, hours=5)
        if n:
            assert plain(history.at(at)) == rows
        for m, later in enumerate(states[n:], n):
            if not m:
                continue
            got = history.changes(at, DAY + timedelta(m - 1, hours=5)).to_pylist()
            assert {tuple(row.values()) for row in got} == differences(rows, later) and len(
                got
            ) == len(differences(rows, later))
    versions = history.validity().to_pylist()
    for n, rows in enumerate(states[1:]):
        at = (DAY + timedelta(n)).replace(tzinfo=timezone.utc)
        assert {
            row["id"]: (row["number"], row["word"])
            for row in versions
            if row["valid_from"] <= at and (row["valid_to"] is None or at < row["valid_to"])
        } == rows


def test_only_what_is_new_or_different_is_kept(store):
    history, rows = History("things", "id", store), {n: (n, "x") for n in range(1000)}
    history.snapshot(table(rows), DAY)
    for day in range(1, 11):
        rows[day] = (day, f"day {day}")
        history.snapshot(table(rows), DAY + timedelta(day))
    with store.open() as con:
        assert con.execute("SELECT count(*) FROM history.things").fetchone() == (1010,)
    assert [row["changed"] for row in history.snapshots().to_pylist()] == [0] + [1] * 10


def test_a_report_has_a_history(store):
    with (
        sandbox.start(today="2024-04-01") as box,
        sandbox.start(users=13, today="2024-04-01") as larger,
    ):
        history = History.of(reports.users.report, store, "all")
        history.snapshot(reports.users.generate(box, format_fn="all"), DAY)
        history.snapshot(reports.users.generate(larger, format_fn="all"), DAY + timedelta(1))
    changes = history.changes(DAY).to_pylist()
    assert (
        {row["change"] for row in changes} >= {"added"}
        and history.key == ("user_id",)
        and history.frame(DAY)["user_id"].is_unique
    )
    with sandbox.start_datorama(today="2024-04-01") as agency:
        jobs = History.of(reports.datorama_jobs.report, store)
        assert jobs.snapshot(reports.datorama_jobs.generate(agency)).added == len(agency.jobs)


def test_keys_of_two_columns_and_names_of_every_kind(store):
    history = History('odd "name" of things', ["a b", 'c"d'], store)
    frame = pd.DataFrame({"a b": [1, 1, 2], 'c"d': ["x", "y", "x"], "select": [1.5, 2.5, None]})
    history.snapshot(frame, DAY)
    history.snapshot(frame.assign(select=[1.5, 3.5, None]), DAY + timedelta(1))
    assert [tuple(row.values()) for row in history.changes(DAY).to_pylist()] == [
        (1, "y", "changed", "select", "2.5", "3.5")
    ]


def test_columns_come_and_go(store):
    history, rows = History("things", "id", store), table({1: (1, "a"), 2: (2, None)})
    history.snapshot(rows, DAY)
    assert (
        history.snapshot(
            rows.append_column("more", pa.array([None, None], pa.string())), DAY + timedelta(1)
        ).changed
        == 0
    )
    assert (
        history.snapshot(
            rows.append_column("more", pa.array(["x", None], pa.string())), DAY + timedelta(2)
        ).changed
        == 1
    )
    assert history.snapshot(rows.drop_columns(["word"]), DAY + timedelta(3)).changed == 1
    assert [
        (row["column"], row["before"], row["after"])
        for row in history.changes(DAY + timedelta(2)).to_pylist()
    ] == [("more", "x", None), ("word", "a", None)]
    assert plain(history.at(DAY)) == {1: (1, "a"), 2: (2, None)}
    words = pa.table({"id": [1, 2], "number": ["1", "two"], "word": [None, None]})
    assert history.snapshot(words, DAY + timedelta(4)).changed == 1
    assert [tuple(row.values())[1:] for row in history.changes(DAY + timedelta(3)).to_pylist()] == [
        ("changed", "number", "2", "two")
    ]


@pytest.mark.parametrize(
    "rows, reason",
    [
        (pa.table({"id": [1, 1]}), "duplicate_key"),
        (pa.table({"id": pa.array([1, None], pa.int64())}), "null_key"),
    ],
)
def test_a_key_is_there_and_unique(store, rows, reason):
    history = History("things", "id", store)
    with pytest.raises(DestinationError) as caught:
        history.snapshot(rows, DAY)
    assert caught.value.reason == reason and history.snapshots().num_rows == 0


def test_what_cannot_be(store):
    history = History("things", "id", store)
    for call in (lambda: history.at(), lambda: history.changes(DAY), history.validity):
        with pytest.raises(SettingsError) as caught:
            call()
        assert caught.value.reason == "no_history"
    history.snapshot(table({1: (1, "a")}), DAY)
    for at, reason in (
        (DAY - timedelta(1), "not_later"),
        (DAY, "not_later"),
        ("tomorrow", "bad_moment"),
    ):
        with pytest.raises(SettingsError) as caught:
            history.snapshot(table({1: (2, "a")}), at)
        assert caught.value.reason == reason
    assert history.snapshot(table({1: (1, "a")}), DAY).changed == 0 and plain(history.at()) == {
        1: (1, "a")
    }
    assert history.snapshot(table({}), DAY + timedelta(1), dry_run=True).removed == 1 and plain(
        history.at()
    ) == {1: (1, "a")}


def test_the_ledger_keeps_what_a_snapshot_brought_when_it_is_taken_again(store):
    history = History("things", "id", store)
    for rows in ({1: (1, "a")}, {1: (2, "a"), 2: (2, "b")}):
        for _ in range(2):
            history.snapshot(table(rows), DAY + timedelta(len(rows)))
    assert [
        (row["rows"], row["added"], row["changed"]) for row in history.snapshots().to_pylist()
    ] == [(1, 1, 0), (2, 1, 1)]


def test_moments_are_in_utc():
    assert (
        moment("2024-04-01T08:00:00+02:00")
        == moment("2024-04-01T06:00:00Z")
        == moment(datetime(2024, 4, 1, 6))
        and moment(date(2024, 4, 1)) == DAY
    )
    assert abs(moment() - datetime.now(timezone.utc).replace(tzinfo=None)) < timedelta(minutes=1)


def test_the_sql_of_a_state_is_one_that_others_can_ask(store):
    history = History("things", "id", store)
    history.snapshot(table({1: (1, "a"), 2: (5, "b")}), DAY)
    history.snapshot(table({1: (7, "a")}), DAY + timedelta(1))
    sql = history.sql(DAY)
    with store.open() as con:
        assert con.execute(f"SELECT sum(number) FROM ({sql})").fetchone() == (6,)


WORKER = """
import sys
from datetime import datetime, timedelta
import pyarrow as pa
from domostats.loading.store import Store
from domostats.tracking.history.history import History
history = History("things", "id", Store(sys.argv[1]))
taken = history.snapshots().num_rows
for day in range(taken, 40):
    rows = [(n, n if n % 7 else n + day) for n in range(day, 4000 + day)]
    print(day, flush=True)
    table = pa.table({"id": [n for n, _ in rows], "value": [value for _, value in rows]})
    history.snapshot(table, datetime(2024, 1, 1) + timedelta(day))
print("done", flush=True)
"""


@pytest.mark.slow
@pytest.mark.kills
def test_kills_leave_what_an_undisturbed_run_leaves(tmp_path, draws):
    """Killed at any moment: a snapshot is there whole or not at all, and the next run goes on
    behind it."""
    inside, places = 0, [tmp_path / "killed.duckdb"]
    for attempt in range(100):  # however fast this machine is, so many kills come in between
        if inside == KILLS:
            break
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER, places[-1]], stdout=subprocess.PIPE, text=True
        )
        first = worker.stdout.readline().strip()
        if first == "done":
            worker.communicate(timeout=120)
            places.append(tmp_path / f"killed {attempt}.duckdb")
            continue
        for _ in range(draws.randrange(2)):
            worker.stdout.readline()
        time.sleep(draws.random() * 0.04)
        worker.send_signal(signal.SIGKILL)
        inside += worker.wait() == -signal.SIGKILL
        worker.stdout.close()
    assert inside == KILLS
    whole = tmp_path / "whole.duckdb"
    for place in (places[-1], whole):
        subprocess.run([sys.executable, "-c", WORKER, place], check=True, stdout=subprocess.DEVNULL)
    whole = History("things", "id", Store(whole))
    assert whole.snapshots().num_rows == 40
    for place in places:
        killed = History("things", "id", Store(place))
        assert killed.snapshots().equals(whole.snapshots())
        assert killed.validity().equals(whole.validity())


@pytest.mark.slow
def test_two_programs_at_once_do_no_harm(tmp_path):
    place = tmp_path / "shared.duckdb"
    script = (
        WORKER.replace("taken = history.snapshots().num_rows", "taken = 0")
        .replace(
            "    history.snapshot(",
            "    from domostats.errors import SettingsError\n    try: history.snapshot(",
        )
        .replace(
            "timedelta(day))\n",
            "timedelta(day))\n    except SettingsError as e: assert e.reason == 'not_later'\n",
            1,
        )
        .replace("range(taken, 40)", "range(taken, 12)")
    )
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", script, place],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for worker in workers:
        _, error = worker.communicate(timeout=120)
        assert worker.returncode == 0, error
    history = History("things", "id", Store(place))
    assert (
        history.snapshots()["at"].to_pylist() == sorted({*history.snapshots()["at"].to_pylist()})
        and history.at().num_rows == 4000
    )


def test_changes_stand_by_key_whatever_became_of_it(store):
    history = History("people", "id", store)
    before = [{"id": n, "name": "old", "title": "old"} for n in (1, 2, 3)]
    after = [{"id": n, "name": "new", "title": "new"} for n in (3, 1, 4, 0)]
    history.snapshot(pa.Table.from_pylist(before), DAY)
    history.snapshot(pa.Table.from_pylist(after), DAY + timedelta(1))
    ids = history.changes(DAY)["id"].to_pylist()
    assert ids == sorted(ids) and {*ids} == {0, 1, 2, 3, 4}
