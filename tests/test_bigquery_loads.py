"""The ledger is the same, whichever warehouse keeps it."""

import random
from datetime import date, datetime, timezone

import pytest

pytest.importorskip("google.cloud.bigquery")
from bigquery_support import PROJECT, Datasets

from domostats import sandbox
from domostats.errors import SettingsError
from domostats.loading.store import Store
from domostats.tracking.extractors.on_duckdb import DuckDBWarehouse
from domostats.tracking.loads import Load, Loads, part_name
from domostats.tracking.pictures import calendar, days_of


@pytest.fixture(scope="module")
def box():
    with sandbox.start_bigquery(PROJECT, "EU") as running:
        yield running
        assert not running.mistakes, running.mistakes[0]


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


def test_what_brings_rows_says_that_it_is_for_a_store(warehouses):
    ledger = Loads(warehouses[1])
    for call in (
        lambda: ledger.load("users", "p:2024-03-01", []),
        lambda: ledger.remove("users", "p"),
    ):
        with pytest.raises(SettingsError) as caught:
            call()
        assert caught.value.reason == "needs_store"
