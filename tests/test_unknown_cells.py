"""A value that is not known is no change, neither when it goes nor when it comes: real runs over
HTTP into a history."""

import json
import random
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pyarrow as pa
import pytest

from domostats import reports, sandbox
from domostats.errors import DataError, SettingsError
from domostats.loading.store import Store
from domostats.reports.fleet import run_all
from domostats.tracking.history.catalog import find_entry
from domostats.tracking.history.history import History
from domostats.transport.pages import Page

DAY = datetime(2024, 4, 1)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store.duckdb")


def account(id, **fields):
    return {"id": id, "name": f"a{id}", "displayName": f"A {id}", "userId": "27", "valid": True,
            "dataSourceCount": 1, "dataProviderType": "k", "type": "data", **fields}  # fmt: skip


def taken(history, n, *accounts, format_fn="owners"):
    "The snapshot of day n of these accounts, from a run over HTTP."
    Path("p.json").write_text(json.dumps([{"key": "k", "name": "K", "accounts": [*accounts]}]))
    with sandbox.start(payloads={"accounts": "p.json"}) as box:
        run = reports.find("accounts").run(box, format_fn=format_fn)
        return history.snapshot(run, DAY + timedelta(n))


def of(store, format_fn="owners"):
    return History.of(reports.find("accounts"), store, format_fn, "sandbox")


def cell(history, n, column, id=1):
    [row] = [row for row in history.at(DAY + timedelta(n)).to_pylist() if row["account_id"] == id]
    return row[column]


def all_changes(history):
    return [
        (row["change"], row["column"], row["before"], row["after"])
        for row in history.changes(DAY).to_pylist()
    ]


def test_a_field_that_was_made_null_is_no_change_and_what_comes_after_is_compared_with_before(
    store,
):
    history = of(store)
    taken(history, 0, account(1), account(2))
    odd = taken(history, 1, account(1, dataSourceCount={"odd": 1}), account(2))
    assert odd[3:6] == (0, 0, 0) and odd.kept == 1
    assert cell(history, 1, "data_source_count") == 1
    same = taken(history, 2, account(1), account(2))
    assert same[3:6] == (0, 0, 0) and same.kept == 0 and all_changes(history) == []
    taken(history, 3, account(1, dataSourceCount=[]), account(2))
    other = taken(history, 4, account(1, dataSourceCount=5), account(2))
    assert other[3:6] == (0, 1, 0)
    assert all_changes(history) == [("changed", "data_source_count", "1", "5")]


def test_a_value_that_was_not_known_when_its_row_came_is_no_change_when_it_comes(store):
    history = of(store)
    first = taken(history, 0, account(1, dataSourceCount={"odd": 1}))
    assert first[3:6] == (1, 0, 0)
    renamed = taken(history, 1, account(1, dataSourceCount={"odd": 2}, displayName="other"))
    assert renamed[3:6] == (0, 1, 0)
    known = taken(history, 2, account(1, dataSourceCount=7))
    assert known[3:6] == (0, 1, 0)  # the name, back again
    assert [row[1] for row in all_changes(history)] == []
    assert [cell(history, n, "data_source_count") for n in range(3)] == [7, 7, 7]
    assert history.validity()["data_source_count"].to_pylist() == [7, 7, 7]
    assert taken(history, 3, account(1, dataSourceCount=8))[3:6] == (0, 1, 0)
    history.take_back()
    assert history.take_back() and cell(history, 1, "data_source_count") is None
    assert taken(history, 2, account(1, dataSourceCount=9))[3:6] == (0, 1, 0)
    assert [cell(history, n, "data_source_count") for n in range(3)] == [9, 9, 9]


def test_a_lookup_record_that_is_missing_is_no_change(store):
    history = of(store)
    taken(history, 0, account(1))
    name = cell(history, 0, "owner_name")
    assert name
    people = {"27": name}
    got = with_owner(history, 2, {}, account(1))
    assert got[3:6] == (0, 0, 0) and got.kept == 1 and cell(history, 2, "owner_name") == name
    assert with_owner(history, 3, people, account(1))[3:6] == (0, 0, 0)
    assert with_owner(history, 4, {"27": "Zoe"}, account(1))[3:6] == (0, 1, 0)


def with_owner(history, n, people, *accounts):
    "A snapshot of accounts and of users by id, as the run of a report over their lists."
    report = reports.find("accounts")

    def page(rows):
        return [Page(1, json.dumps(rows).encode(), 0)]

    pages = {
        "account_obj": page([{"key": "k", "name": "K", "accounts": [*accounts]}]),
        "owner_obj": page([{"id": id, "displayName": name} for id, name in people.items()]),
        "flat_obj": page([]),
    }
    run = report.over(report.formatter("owners"), pages)
    assert run.made is not None
    return history.snapshot(run, DAY + timedelta(n))


def test_the_name_of_the_old_owner_never_stands_beside_the_id_of_the_new_one(store):
    history = of(store)
    with_owner(history, 0, {"27": "Ann"}, account(1))
    moved = with_owner(history, 1, {"27": "Ann"}, account(1, userId="28"))
    assert moved[3:6] == (0, 1, 0)
    assert cell(history, 1, "owner_name") is None and cell(history, 1, "user_id") == "28"
    known = with_owner(history, 2, {"27": "Ann", "28": "Ben"}, account(1, userId="28"))
    assert known[3:6] == (0, 0, 0)
    assert [cell(history, n, "owner_name") for n in range(3)] == ["Ann", "Ben", "Ben"]
    assert sorted(all_changes(history)) == [
        ("changed", "owner_name", "Ann", "Ben"),
        ("changed", "user_id", "27", "28"),
    ]


def test_an_owner_who_was_never_known_is_not_told_by_the_next_owner(store):
    history = of(store)
    with_owner(history, 0, {}, account(1))
    with_owner(history, 1, {"28": "Ben"}, account(1, userId="28"))
    assert [cell(history, n, "owner_name") for n in range(2)] == [None, "Ben"]
    with_owner(history, 2, {"28": "Ben"}, account(1, userId="29"))
    with_owner(history, 3, {"29": "Cy"}, account(1, userId="29"))
    assert [cell(history, n, "owner_name") for n in range(4)] == [None, "Ben", "Cy", "Cy"]


def test_rows_that_go_and_come_back_are_erased_or_retyped_keep_their_unknown_cells_apart(store):
    history = of(store)
    odd = {"dataSourceCount": {"odd": 1}}
    taken(history, 0, account(1, **odd), account(2))
    taken(history, 1, account(2))
    assert taken(history, 2, account(1), account(2))[3:6] == (1, 0, 0)
    assert [cell(history, n, "data_source_count") for n in (0, 2)] == [None, 1]
    taken(history, 3, account(1), account(2), account(3, **odd))
    assert history.erase(3) == 1
    assert taken(history, 4, account(1), account(2), account(3))[3:6] == (1, 0, 0)
    assert cell(history, 4, "data_source_count", 3) == 1
    with store.open() as con:
        assert con.execute(f"SELECT count(*) FROM {place(con)} WHERE k0 = 3").fetchone() == (0,)


def test_who_is_erased_leaves_no_key_among_cells_that_became_known_since(store):
    history = of(store)
    taken(history, 0, account(1, dataSourceCount={"odd": 1}), account(2))
    taken(history, 1, account(1, dataSourceCount=7), account(2))
    with store.open() as con:
        assert con.execute(f"SELECT k0 FROM {place(con)}").fetchall() == [(1,)]
    assert history.erase(1) == 1
    with store.open() as con:
        assert con.execute(f"SELECT k0 FROM {place(con)}").fetchall() == []


def place(con):
    return find_entry(con, "accounts_owners", "sandbox").unknown


# --- what rows say of themselves, in whatever they come ---


def test_a_table_and_a_reader_of_an_incomplete_or_narrowed_run_are_refused_like_the_run(store):
    report = reports.find("accounts")
    history, bad = of(store), account({"no": "id"})
    taken(history, 0, account(1), account(2))
    Path("p.json").write_text(
        json.dumps([{"key": "k", "name": "K", "accounts": [account(1), bad]}])
    )
    with sandbox.start(payloads={"accounts": "p.json"}) as box:
        table = report.run(box, format_fn="owners").table
        frame = report.generate(box, format_fn="owners")
        for rows in (table, frame, table.to_reader()):
            with pytest.raises(DataError) as caught:
                history.snapshot(rows, DAY + timedelta(1))
            assert caught.value.reason == "incomplete"
        with report.stream(box, format_fn="owners") as run:
            with pytest.raises(DataError) as caught:
                history.snapshot(run.reader(), DAY + timedelta(1))
            assert caught.value.reason == "incomplete"
        events = reports.find("activity_log").run(
            box, format_fn="all", since=datetime(2024, 3, 1), until=datetime(2024, 3, 2)
        )
        log = History.of(reports.find("activity_log"), store, "all", "sandbox")
        for rows in (events, events.table, events.dataframe()):
            with pytest.raises(DataError) as caught:
                log.snapshot(rows, DAY)
            assert caught.value.reason == "narrowed"


def test_rows_of_several_instances_are_refused_in_whatever_they_come(store):
    users = reports.find("users")
    with sandbox.start() as one, sandbox.start(seed=2) as other:
        fleet = run_all(users, [one, other], "all")
        for rows in (fleet, fleet.table, fleet.dataframe()):
            with pytest.raises(SettingsError) as caught:
                History("people", "id", store).snapshot(rows, DAY)
            assert caught.value.reason == "several_instances"


def test_a_frame_says_which_of_its_values_are_not_known(store):
    history = of(store)

    def frame_of(*accounts):
        Path("p.json").write_text(json.dumps([{"key": "k", "name": "K", "accounts": [*accounts]}]))
        with sandbox.start(payloads={"accounts": "p.json"}) as box:
            return reports.find("accounts").generate(box, format_fn="owners")

    history.snapshot(frame_of(account(1)), DAY)
    with pytest.warns(UserWarning):
        odd = frame_of(account(1, dataSourceCount={"odd": 1}))
    odd.to_parquet("odd.parquet")
    for n, frame in enumerate([odd, odd.copy(), pd.read_parquet("odd.parquet")], 1):
        got = history.snapshot(frame, DAY + timedelta(n))
        assert got[3:6] == (0, 0, 0) and got.kept == 1
    assert cell(history, 3, "data_source_count") == 1


# --- random days, with a model of plain dicts ---


COLUMNS = "oid", "v", "name"  # the name is that of the record with the id oid


def model(days):
    """What is known of each day: the last known value goes on, and one that comes first goes
    back, as long as the row is there (and, of a name, the id is the same)."""
    states = [{id: {} for id in rows} for rows, _ in days]
    for id in {id for rows, _ in days for id in rows}:
        for column in COLUMNS:
            stretch = []  # the days on which the cell is one and the same
            for n, (rows, unknown) in enumerate(days):
                before = days[n - 1][0].get(id) if n else None
                if (
                    id not in rows
                    or before is None
                    or column == "name"
                    and before["oid"] != rows[id]["oid"]
                ):
                    stretch = []
                if id not in rows:
                    continue
                stretch.append(n)
                if (id, column) not in unknown:
                    states[n][id][column] = rows[id][column]
                    if not any((id, column) not in days[day][1] for day in stretch[:-1]):
                        for day in stretch:
                            states[day][id][column] = rows[id][column]
                else:
                    earlier = states[n - 1][id].get(column) if stretch[:-1] else None
                    states[n][id][column] = earlier
    return states


def random_day(chosen):
    rows = {
        id: {"oid": chosen.choice([1, 1, 1, 2]), "v": chosen.choice([1, 1, 2, None])}
        for id in range(4)
        if chosen.random() < 0.8
    }
    for row in rows.values():
        row["name"] = f"n{row['oid']}" if chosen.random() < 0.9 else "q"
    unknown = {(id, column) for id in rows for column in ("v", "name") if chosen.random() < 0.3}
    return rows, unknown


def as_run(rows, unknown):
    def values(column):
        return [None if (id, column) in unknown else row[column] for id, row in rows.items()]

    table = pa.table(
        {
            "id": pa.array([*rows], pa.int64()),
            "oid": pa.array(values("oid"), pa.int64()),
            "v": pa.array(values("v"), pa.int64()),
            "name": pa.array(values("name"), pa.string()),
        }
    )
    doubts = {"k0": pa.array([id for id, _ in unknown], pa.int64())}
    doubts["column"] = pa.array([column for _, column in unknown], pa.string())
    return SimpleNamespace(
        table=table, incomplete=False, uncertain=pa.table(doubts), join_columns={"name": ("oid",)}
    )


@pytest.mark.sampled(4)
@pytest.mark.parametrize("seed", range(4))
def test_counts_changes_and_states_are_those_of_a_model(store, seed):
    chosen, history, days = random.Random(seed), History("x", "id", store), []
    for n in range(8):
        if days and chosen.random() < 0.2:
            history.take_back()
            days.pop()
        else:
            days.append((DAY + timedelta(n), *random_day(chosen)))
            history.snapshot(as_run(*days[-1][1:]), days[-1][0])
    states = model([day[1:] for day in days])
    for n, taken in enumerate(history.snapshots().to_pylist()):
        at, now, before = days[n][0], states[n], states[n - 1] if n else {}
        there = {row.pop("id"): row for row in history.at(at).to_pylist()}
        assert there == now
        changed = {id for id in now.keys() & before.keys() if now[id] != before[id]}
        added, removed = now.keys() - before.keys(), before.keys() - now.keys()
        counts = taken["added"], taken["changed"], taken["removed"]
        assert counts == (len(added), len(changed), len(removed))
        if n:
            told = history.changes(days[n - 1][0], at).to_pylist()
            assert {row["id"] for row in told if row["change"] == "changed"} == changed


@pytest.mark.slow
def test_a_column_that_is_not_compared_keeps_what_is_known_of_it_too(store):
    report = reports.find("accounts")
    history = History.of(report, store, "owners", "sandbox", ignore=("data_source_count",))
    taken(history, 0, account(1))
    renamed = taken(history, 1, account(1, dataSourceCount={"odd": 1}, displayName="other"))
    assert renamed[3:6] == (0, 1, 0) and renamed.kept == 0
    assert cell(history, 1, "data_source_count") == 1
