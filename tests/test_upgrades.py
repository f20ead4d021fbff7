"""Stores that domostats 0.1.0 made are refused with the way out, and upgraded so that no row
shows as changed by it."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from domostats import reports, sandbox
from domostats.errors import EXIT_CODES, DataError, DestinationError, SettingsError
from domostats.interfaces.cli import app
from domostats.loading.merging import settled
from domostats.loading.store import Store
from domostats.loading.store_types import quoted
from domostats.tracking.history import History
from domostats.tracking.pictures import timeline
from domostats.tracking.upgrades import needed, upgrade

DAY = datetime(2024, 4, 1)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store.duckdb")


def old_hash(columns):
    "The row hash of domostats 0.1.0."
    parts = [
        (
            f"CASE WHEN {quoted(name)} IS NULL THEN '' ELSE concat('{name}=', "
            f"CAST({quoted(name)} AS VARCHAR), chr(31)) END"
        )
        for name in columns
    ]
    return f"md5(concat({', '.join(parts)}))"


def old_snapshot(store, name, key, arriving, at):
    "A snapshot with the statements of domostats 0.1.0."
    table, now, columns = (
        f"history.{quoted(name)}",
        f"kit.{quoted(name + ' now')}",
        arriving.column_names,
    )
    keys = ", ".join(map(quoted, key))
    same = " AND ".join(f"came.{quoted(k)} = now.{quoted(k)}" for k in key)
    moment = f"TIMESTAMP '{at}'"
    with settled(arriving, store.path.parent) as rows, store.open() as con:
        con.register("arriving", rows())
        con.execute(
            f"CREATE TEMP TABLE came AS SELECT *, {old_hash(columns)} AS _hash FROM arriving"
        )
        con.execute(
            f"CREATE TABLE IF NOT EXISTS {table} AS SELECT * EXCLUDE (_hash), "
            "NULL::TIMESTAMP AS _at, false AS _gone FROM came LIMIT 0"
        )
        con.execute(f"CREATE TABLE IF NOT EXISTS {now} AS SELECT {keys}, _hash FROM came LIMIT 0")
        counts = con.execute(
            "SELECT count(*) FILTER (now._hash IS NULL), "
            "count(*) FILTER (now._hash <> came._hash), "
            f"count(*) FROM came LEFT JOIN {now} AS now USING ({keys})"
        ).fetchone()
        listed = ", ".join(map(quoted, columns))
        con.execute(
            f"INSERT INTO {table} ({listed}, _at, "
            f"_gone) SELECT {', '.join(f'came.{quoted(c)}' for c in columns)}, {moment}, "
            f"false FROM came LEFT JOIN {now} AS now USING ({keys}) WHERE now._hash IS "
            "DISTINCT FROM came._hash"
        )
        gone = con.execute(
            f"INSERT INTO {table} ({keys}, _at, _gone) SELECT {keys}, {moment}, "
            f"true FROM {now} AS now WHERE NOT EXISTS (SELECT 1 FROM came WHERE {same})"
        ).fetchone()[0]
        con.execute(f"CREATE OR REPLACE TABLE {now} AS SELECT {keys}, _hash FROM came")
        con.execute(
            "CREATE TABLE IF NOT EXISTS kit.loads (dataset VARCHAR, release_key VARCHAR, "
            "row_count BIGINT, run VARCHAR, checksum VARCHAR, started_at TIMESTAMP, "
            "loaded_at TIMESTAMP, details VARCHAR)"
        )
        details = json.dumps({"added": counts[0], "changed": counts[1], "removed": gone})
        release = f"s:{at.isoformat().removesuffix('T00:00:00')}"
        con.execute(
            "INSERT INTO kit.loads VALUES (?, ?, ?, NULL, NULL, NULL, ?, ?)",
            [f"history.{name}", release, counts[2], at, details],
        )


def table_of(box, name="users", format_name=None):
    return reports.find(name).run(box, format_fn=format_name).table


def people(box):
    return table_of(box)


def refusal(call):
    with pytest.raises((DataError, DestinationError, SettingsError)) as caught:
        call()
    return caught.value


def tables(store):
    with store.open() as con:
        return con.execute(
            "SELECT table_name FROM duckdb_tables() WHERE schema_name IN ('history', "
            "'kit') ORDER BY ALL"
        ).fetchall()


def test_a_move_of_the_instance_shows_no_change_after_the_upgrade(store):
    with sandbox.start() as box:
        first = people(box)
    with sandbox.start() as box:
        second = people(box)
        assert first["Profile Picture URL"] != second["Profile Picture URL"]
        for n, rows in enumerate((first, second)):
            old_snapshot(store, "users", ["Profile Picture URL"], rows, DAY + timedelta(n))
        line = upgrade(store, "Acme")
        assert line == [
            "The history users becomes users of acme, by User ID: 2 snapshots, 12 rows in the last."
        ]
        history = History.of(reports.users.report, store, instance="acme")
        assert history.snapshots()["added"].to_pylist() == [12, 0]
        assert history.snapshots()["removed"].to_pylist() == [0, 0]
        assert history.changes(DAY).num_rows == 0 and history.validity().num_rows == 12
        assert timeline(history).rows[1]["removed"] == 0
        assert history.snapshot(second, DAY + timedelta(2))[2:6] == (12, 0, 0, 0)
        assert history.at(DAY).num_rows == 12


def test_every_other_command_refuses_an_old_store_and_names_the_way_out(store):
    with sandbox.start() as box:
        old_snapshot(store, "users_all", ["user_id"], table_of(box, format_name="all"), DAY)
    before = tables(store)
    history = History.of(reports.users.report, store, "all", "acme")
    other = History("things", "id", store)
    for call in (
        history.at,
        history.validity,
        history.snapshots,
        history.take_back,
        other.sql,
        lambda: timeline(history),
        lambda: history.changes(DAY),
        lambda: history.erase("1"),
        lambda: other.snapshot(table_of_one()),
    ):
        error = refusal(call)
        assert error.reason == "old_store" and "domostats upgrade" in str(error)
    assert tables(store) == before


def table_of_one():
    import pyarrow as pa

    return pa.table({"id": [1]})


def test_who_the_histories_belong_to_has_to_be_said_and_a_dry_run_changes_nothing(store):
    with sandbox.start() as box:
        for n in range(2):
            rows = table_of(box, "groups", "all").slice(n)
            old_snapshot(store, "groups_all", ["group_id"], rows, DAY + timedelta(n))
    old_snapshot(store, "things", ["id"], table_of_one(), DAY)
    assert refusal(lambda: upgrade(store)).reason == "no_instance"
    before = tables(store)
    planned = upgrade(store, "acme", dry_run=True)
    assert tables(store) == before and len(needed(store)) == len(planned) == 2
    assert upgrade(store, "acme") == planned and needed(store) == [] == upgrade(store)
    assert History("things", "id", store).at().num_rows == 1
    groups = History.of(reports.groups.report, store, "all")
    assert groups.snapshots()["removed"].to_pylist() == [0, 1]
    assert [row["change"] for row in groups.changes(DAY).to_pylist()] == ["removed"]


def test_versions_without_a_difference_in_value_are_dropped(store):
    import pyarrow as pa

    whole = pa.table({"id": [1, 2], "n": [5, 7]})
    floats = pa.table({"n": [5.0, 7.0], "id": [1, 2]})
    for n, rows in enumerate((whole, floats, whole)):
        arriving = rows if n == 0 else rows.select(["n", "id"])
        old_snapshot(store, "things", ["id"], arriving, DAY + timedelta(n))
    upgrade(store)
    history = History("things", "id", store)
    assert history.snapshots()["changed"].to_pylist() == [0, 0, 0]
    assert history.validity().num_rows == 2
    assert history.snapshot(whole, DAY + timedelta(3)).changed == 0


def test_a_mixed_history_is_reported_and_divided(store):
    with sandbox.start() as a, sandbox.start(seed=2, users=9) as b:
        both = [people(a), people(b)]
    for n in range(4):
        old_snapshot(store, "users", ["Profile Picture URL"], both[n % 2], DAY + timedelta(n))
    error = refusal(lambda: upgrade(store, "a"))
    assert error.reason == "mixed" and "2024-04-02" in str(error) and "2024-04-04" in str(error)
    assert needed(store)
    days = {DAY + timedelta(n): "b" for n in (1, 3)}
    assert refusal(lambda: upgrade(store, "a", {**days, "2024-05-01": "b"})).reason == "no_snapshot"
    upgrade(store, "a", days)
    for name, rows, first in (("a", 12, 0), ("b", 9, 1)):
        history = History.of(reports.users.report, store, instance=name)
        assert history.snapshots()["at"].to_pylist()[0].day == 1 + first
        assert [tuple(row.values())[2:6] for row in history.snapshots().to_pylist()] == [
            (rows, rows, 0, 0),
            (rows, 0, 0, 0),
        ]
        assert history.mixed() == []


def run(*words):
    result = CliRunner().invoke(app, [*map(str, words)])
    error = result.exception
    if error is not None and not isinstance(error, SystemExit):
        return EXIT_CODES.get(type(error), 1), f"{result.output} {error}"
    return result.exit_code, result.output


def test_the_command(box):
    Path("settings.ini").write_text("[domostats]\nstore = here.duckdb\n")
    store = Store(Path("here.duckdb"))
    for n in range(2):
        old_snapshot(store, "users", ["Profile Picture URL"], people(box), DAY + timedelta(n))
    for words in (
        ["history", "users"],
        ["changes", "users", "--since", "2024-01-01"],
        ["snapshot", "users", "--instance", box.name],
        ["take-back", "users"],
        ["erase", "users", "1"],
    ):
        code, printed = run(*words)
        assert code == 7 and "domostats upgrade" in printed
    code, printed = run("upgrade")
    assert code == 3 and "--instance" in printed
    code, printed = run("upgrade", "--instance", box.name, "--dry-run")
    assert code == 0 and "would be done: The history users" in printed
    assert run("history", "users")[0] == 7
    assert run("upgrade", "--instance", box.name)[0] == 0
    code, printed = run("snapshot", "users", "--instance", box.name)
    assert code == 0
    taken = History.of(reports.users.report, store).snapshots().to_pylist()
    assert [tuple(row.values())[2:6] for row in taken] == [(12, 12, 0, 0)] + [(12, 0, 0, 0)] * 2
    assert "nothing to do" in run("upgrade")[1]
    assert run("upgrade", "--snapshot", "2024-04-01")[0] == 2
