"""Migrations that are taken back on BigQuery, where a step and its note are no transaction."""

import pytest

pytest.importorskip("google.cloud.bigquery")

from dataclasses import field
from datetime import timedelta

from bigquery_support import LoadsOnBigQuery
from test_going_back import DAYS, MAYBE, NOON, WHOLE, back, extractor, lost, migrated, refused

from domostats.errors import DestinationError
from domostats.tracking.bigquery.structure import BigQueryStructure
from domostats.tracking.bigquery.warehouse import BigQueryLedger
from domostats.tracking.extractors.extraction import Extraction
from domostats.tracking.extractors.going_back import find_way_back, go_back

pytest_plugins = "bigquery_support"
FIRST = DAYS[0]
SMALL = extractor("user", [WHOLE])
WIDE = extractor("user", [WHOLE, MAYBE])
EMAIL = extractor("email", [("sent", int, field())])


@pytest.fixture
def store(datasets):
    return datasets.warehouse()


def state(store):
    "All that a dataset has of the extractors: tables, rows, days, declarations, and steps."
    names = store.names()
    with store.open() as db:
        lines = db.ledger.every_line()
        return {
            "columns": {name: db.structure.live_columns(name) for name in names},
            "declared": {name: db.structure.declared(name) for name in names},
            "applied": db.structure.applied(),
            "rows": {
                name: sorted(str(row) for row in store.read(name).to_pylist()) for name in names
            },
            "days": sorted((line.dataset, line.release_key) for line in lines),
        }


@pytest.mark.slow
def test_a_table_goes_and_comes_again_with_its_days(store):
    migrations = migrated(store, SMALL)
    migrated(store, SMALL, EMAIL)
    before = state(store)
    assert [str(loss) for loss in lost(migrations, "1")] == [
        "table email with 3 rows of 3 days (2022-01-01 to 2022-01-03)"
    ]
    assert refused(lambda: go_back(migrations, "1")) == "not_agreed"
    back(migrations, "1")
    after = state(store)
    for kind in ("columns", "declared", "rows"):
        assert after[kind] == {name: v for name, v in before[kind].items() if name != "email"}
    assert {name for name, _ in after["days"]} == {"user"}
    assert {name for name, _ in after["applied"]} == {"0001_user.json"}
    assert len(migrations.apply()) == 1 and migrations.findings() == []
    again = Extraction([SMALL, EMAIL], store, "UTC", FIRST)
    assert {one.error for one in again.extract(NOON)} == {None}  # jobs of new names
    assert state(store) == before


@pytest.mark.slow
def test_columns_order_views_and_nulls_are_what_they_were(store):
    migrations = migrated(store, extractor("user", [("n", int, field())]))
    before = state(store)
    marked = ("n", int | None, WHOLE[2])
    extra = ("mood", str | None, field(default=None))

    def value(start, name):
        return "x" if name == "mood" else start.day

    migrated(store, extractor("user", [extra, marked], value))
    middle = state(store)
    assert [*middle["columns"]["user"]] == ["date", "mood", "n"]
    assert [str(loss) for loss in lost(migrations, "1")] == [
        "column mood of table user in 3 rows of 3 days (2022-01-01 to 2022-01-03), and view "
        "user_delta"
    ]
    back(migrations, "1")
    assert state(store) == before and migrations.findings() == []
    migrations.apply()
    assert state(store)["columns"] == middle["columns"]
    empty_marked = extractor("user", [extra, marked], lambda *_: None)
    empty = Extraction([empty_marked], store, "UTC", FIRST)
    assert {one.error for one in empty.extract(NOON, DAYS[1], DAYS[1])} == {None}
    filled = state(store)
    with pytest.raises(DestinationError, match="Table user cannot be taken back"):
        back(migrations, "1")
    assert state(store)["rows"]["user"] == filled["rows"]["user"]
    assert state(store)["applied"] == filled["applied"]


@pytest.mark.slow
def test_the_days_of_every_part_leave_the_ledger(store):
    made = [
        extractor("user", [WHOLE], partition_field="instance", get_partition=lambda self, n=n: n)
        for n in ("acme", "umbra")
    ]
    migrations = migrated(store, *made)
    assert {name for name, _ in state(store)["days"]} == {"user/acme", "user/umbra"}
    back(migrations, "zero")
    assert state(store)["days"] == [] and store.names() == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("owner", "method"),
    [
        (BigQueryLedger, "erase"),
        (BigQueryStructure, "drop"),
        (BigQueryStructure, "restore"),
        (BigQueryStructure, "note_undone"),
    ],
)
@pytest.mark.sampled(8, a_day=3)
@pytest.mark.parametrize("is_done", [False, True])
def test_one_that_breaks_off_is_finished_by_the_next(store, monkeypatch, owner, method, is_done):
    "Before or after each of the changes: what is left is a way back, and it ends as it should."
    migrations = migrated(store, SMALL)
    before = state(store)
    migrated(store, WIDE, EMAIL)
    losses = lost(migrations, "1")
    real = getattr(owner, method)

    def breaking(self, *given_values):
        if is_done:
            real(self, *given_values)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(owner, method, breaking)
        with pytest.raises(KeyboardInterrupt):
            go_back(migrations, "1", losses)
    back(migrations, "1")
    assert state(store) == before and find_way_back(migrations, "1") == []
    migrations.apply()
    again = Extraction([WIDE, EMAIL], store, "UTC", FIRST)
    assert {one.error for one in again.extract(NOON + timedelta(1))} == {None}
    assert len(LoadsOnBigQuery(store).lines("email")) == 4
