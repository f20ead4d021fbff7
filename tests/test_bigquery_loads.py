"""The ledger is the same, whichever warehouse keeps it."""

import random
from datetime import date, datetime, timezone

import pyarrow as pa
import pytest
from conftest import bigquery_of

pytest.importorskip("google.cloud.bigquery")
from bigquery_support import PROJECT, Datasets

from domostats.loading.store import Store
from domostats.tracking.extractors.on_duckdb import DuckDBWarehouse
from domostats.tracking.ledger import Load, part_name
from domostats.tracking.loads import Loads
from domostats.tracking.pictures import calendar, days_of

box = bigquery_of(PROJECT)


@pytest.fixture
def warehouses(box, own_folder):
    made = Datasets(box)
    yield [DuckDBWarehouse(Store("store.duckdb")), made.warehouse()]
    made.remove()


AT = datetime(2024, 3, 5, 12, tzinfo=timezone.utc)


@pytest.mark.slow
def test_what_is_noted_forgotten_and_moved_is_the_same_everywhere(warehouses):
    drawn = random.Random(1)
    model = {}  # (dataset, key) -> rows
    for _ in range(25):
        dataset = drawn.choice(
            ["users", "clicks", part_name("shops", "a"), part_name("shops", "b")]
        )
        key = f"p:2024-03-0{drawn.randint(1, 4)}"
        part = dataset.partition("/")[2]
        if drawn.random() < 0.7:
            line = Load(dataset, key, drawn.randint(0, 9), "run", "sum", AT, AT)
            line = line._replace(details={"part": part} if part else {"zone": "UTC"})
            for place in warehouses:
                assert Loads(place).note(line) == line
            model[dataset, key] = line
        else:
            told = {Loads(place).forget(dataset, key) for place in warehouses}
            assert told == {model.pop((dataset, key), None) is not None}
    assert len(model) > 5
    for place in warehouses:
        ledger = Loads(place)
        assert ledger.lines() == [model[key] for key in sorted(model)]
        assert ledger.lines("users") == [model[key] for key in sorted(model) if key[0] == "users"]
        assert Loads(place).keys("nobody") == []
    both = {key for name, key in model if name == "shops/a"} & {
        key for name, key in model if name == "shops/b"
    }
    assert both and {*map(tuple, (Loads(place).keys("shops") for place in warehouses))} == {
        tuple(sorted(both))
    }
    for place in warehouses:
        with place.open() as db:
            db.ledger.move("users", "acme")
    moved = [Loads(place).lines() for place in warehouses]
    assert moved[0] == moved[1]
    assert Loads(warehouses[0]).lines("users") == Loads(warehouses[1]).lines("users") != []
    assert {line.details["part"] for line in moved[0] if line.dataset == "users/acme"} == {"acme"}


def test_a_picture_of_the_days(warehouses):
    for place in warehouses:
        ledger = Loads(place)
        for key, n in (("p:2024-03-01", 3), ("p:2024-03-02", 0), ("p:2024-03-04", 1)):
            ledger.note(Load("users", key, n))
        states = days_of(ledger.lines("users"))
        assert [*states.values()] == ["loaded", "empty", "missing", "loaded"]
        assert min(states) == date(2024, 3, 1)
        assert len(calendar("users", states).rows) == 4
        assert repr(place) in repr(ledger)


def numbers(place, table):
    """The numbers in a table, sorted; None if there is no such table."""
    if isinstance(place, DuckDBWarehouse):
        place = place.store
    return sorted(place.read(table)["n"].to_pylist()) if table in place.names() else None


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_loaded_and_removed_is_the_same_everywhere(warehouses, seed):
    drawn = random.Random(seed)
    lines, rows = {}, {}  # the model: by dataset and key, by table and partition
    places = {"users": (None, None), "clicks": ("users", "c"), "shops": (None, "all")}
    for _ in range(16):
        dataset, key = drawn.choice([*places]), f"s:2024-03-0{drawn.randint(1, 3)}"
        table, partition = places[dataset]
        place = table or dataset, partition or key
        deed = drawn.random()
        if deed < 0.6:
            given = [drawn.randint(0, 99) for _ in range(drawn.randint(0, 3))]
            lines[dataset, key], rows[place] = len(given), given
            loaded = {
                Loads(one)
                .load(
                    dataset, key, pa.table({"n": pa.array(given, "int64")}), "r", *places[dataset]
                )
                .row_count
                for one in warehouses
            }
            assert loaded == {len(given)}
        elif deed < 0.85:
            for one in warehouses:
                Loads(one).remove(dataset, key, table, partition)
            lines.pop((dataset, key), None)
            rows.pop(place, None)
        else:
            told = {Loads(one).forget(dataset, key) for one in warehouses}
            assert told == {lines.pop((dataset, key), None) is not None}
        for one in warehouses:
            kept = {(line.dataset, line.release_key): line.row_count for line in Loads(one).lines()}
            assert kept == lines
            for name in ("users", "shops"):
                there = sorted(n for (of, _), some in rows.items() if of == name for n in some)
                assert (numbers(one, name) or []) == there, (one, name)
    sums = [
        {(line.release_key, line.checksum) for line in Loads(one).lines()} for one in warehouses
    ]
    assert sums[0] == sums[1]


def test_a_table_of_which_nothing_is_left_goes(warehouses):
    for one in warehouses:
        ledger = Loads(one)
        for n in (1, 2):
            ledger.load("users", f"s:2024-03-0{n}", pa.table({"n": [n]}))
        ledger.remove("users", "s:2024-03-01")
        assert numbers(one, "users") == [2]
        ledger.remove("users", "s:2024-03-02")
        assert numbers(one, "users") is None and ledger.lines() == []
        ledger.load("users", "s:2024-03-03", pa.table({"other": ["x"], "n": [3]}))
        assert numbers(one, "users") == [3]
