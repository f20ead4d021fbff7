"""Extractors on BigQuery: days, ranges, parts and migrations, and who else writes meanwhile."""

import pyarrow as pa
import pytest

pytest.importorskip("google.cloud.bigquery")

import dataclasses
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import test_extractors
from bigquery_support import PROJECT, LoadsOnBigQuery
from google.cloud import bigquery

# tests of the store, on this warehouse; the others are in test_bigquery_contract
from test_extractors import (  # noqa: F401
    test_the_example_of_the_reference,
)

from domostats.errors import DestinationError, RetryLaterError, SettingsError
from domostats.tracking.bigquery.claims import DayClaim, day_job
from domostats.tracking.bigquery.files import load_rows, write_parquet
from domostats.tracking.bigquery.ledger import LedgerRow, LedgerTable
from domostats.tracking.bigquery.structure import BigQueryStructure
from domostats.tracking.bigquery.warehouse import BigQueryWarehouse, warehouse_from
from domostats.tracking.extractors.base import BaseExtractor
from domostats.tracking.extractors.days import days_between
from domostats.tracking.extractors.extraction import Extraction
from domostats.tracking.extractors.migrations import Migrations
from domostats.tracking.extractors.schema import sq_field
from domostats.tracking.extractors.tables import ExtractorType

pytest_plugins = "bigquery_support"
pytestmark = pytest.mark.usefixtures("datasets")
FIRST, NOON = test_extractors.FIRST, test_extractors.NOON
made, done, of, rows, refusal = (
    test_extractors.made,
    test_extractors.done,
    test_extractors.of,
    test_extractors.rows,
    test_extractors.refusal,
)
UserExtractor, EmailExtractor = test_extractors.UserExtractor, test_extractors.EmailExtractor


def loads_of(box, table):
    "The load jobs of a table, by what they wrote to."
    named = [
        job.configuration["load"]["destinationTable"]
        for job in box.jobs.values()
        if job.kind == "load"
    ]
    return [one["tableId"] for one in named if one["tableId"].partition("$")[0] == table]


def inserts(box):
    "How often rows were streamed in."
    return sum("insertAll" in call.path for call in box.log)


@dataclass
class Visit:
    """A page that somebody has seen.

    What stands here is not told."""

    timestamp: datetime = dataclasses.field(metadata={"about": "when it was asked for"})
    page: str


def visits(counts, **attributes):
    "An extractor of so many visits on each day of January."

    def extract(start, end):
        for n in range(counts.get(start.day, 0)):
            yield Visit(start + timedelta(minutes=n), f"{start.day} {n}")

    return of(Visit, extract, ExtractorType.individual_rows, **attributes)


def test_a_day_is_one_load_job_into_its_partition(served):
    extraction = made(visits({1: 3}))
    done(extraction, NOON - timedelta(2))
    assert loads_of(served, "visit") == ["visit$20220101"] and inserts(served) == 0
    assert len(rows(extraction.store, "visit")) == 3


def test_a_day_goes_from_a_to_b_and_back_to_a(served):
    counts = {1: 2}
    extraction = made(visits(counts))
    for n in (2, 5, 2):
        counts[1] = n
        done(extraction, first=FIRST, last=FIRST)
        assert len(rows(extraction.store, "visit")) == n
    assert loads_of(served, "visit") == ["visit$20220101"] * 3
    [line] = LoadsOnBigQuery(extraction.store).lines("visit")
    assert line.row_count == 2


def test_an_empty_day_empties_its_partition(served):
    counts = {1: 2, 2: 4}
    extraction = made(visits(counts))
    done(extraction, NOON - timedelta(1))
    counts[2] = 0
    done(extraction, first=FIRST + timedelta(1), last=FIRST + timedelta(1))
    assert [row[0] for row in rows(extraction.store, "visit")] == [FIRST, FIRST]
    lines = LoadsOnBigQuery(extraction.store).lines("visit")
    assert [line.row_count for line in lines] == [2, 0]
    assert done(extraction, NOON - timedelta(1)) == []


@pytest.mark.parametrize(("days", "most"), [(12, 3), pytest.param(365, 40, marks=pytest.mark.slow)])
def test_many_days_take_few_load_jobs(served, days, most):
    def extract(start, end):
        return [Visit(start, str(start.date()))] * 2

    extraction = made(of(Visit, extract, ExtractorType.individual_rows))
    wanted = [FIRST + timedelta(n) for n in range(days)]
    now = datetime(2022, 1, 1, 12, tzinfo=timezone.utc) + timedelta(days)
    served.log.clear()
    assert [day for _, day in done(extraction, now)] == wanted
    asked = [call.body for call in served.log if "AS age" in call.body]
    whole = [body for body in asked if "release_key IN UNNEST" not in body]
    assert len(whole) == 1 and len(asked) > days / 10  # the ledger is read once, not for each range
    staged = [job for job in served.jobs.values() if job.kind == "load"]
    assert 0 < len(staged) <= most and loads_of(served, "visit") == []
    found = rows(extraction.store, "visit", "_day")
    assert [row[0] for row in found] == sorted(wanted * 2)
    assert len(LoadsOnBigQuery(extraction.store).lines("visit")) == days
    assert done(extraction, now) == [] and inserts(served) == 0
    assert not [name for one in served.datasets.values() for name in one.tables if "staged" in name]


def test_a_day_that_fails_leaves_those_before_it(served):
    def extract(start, end):
        if start.day == 3:
            raise ConnectionError("gone")
        yield Visit(start, "x")

    extraction = made(of(Visit, extract, ExtractorType.individual_rows))
    found = [*extraction.extract(NOON + timedelta(3))]
    assert [(one.day.day, one.error is None) for one in found] == [(1, True), (2, True), (3, False)]
    assert len(rows(extraction.store, "visit")) == 2


def test_tables_are_divided_clustered_and_described(datasets):
    north = visits({1: 1}, partition_field="shop", get_partition=lambda self: "north")
    extraction = made(north, UserExtractor)
    done(extraction)
    store = extraction.store
    visit = store.connection.find_table("visit")
    assert visit.description == "A page that somebody has seen."
    assert visit.time_partitioning.field == "_day" and visit.time_partitioning.type_ == "DAY"
    assert visit.clustering_fields == ["shop"]
    assert {one.name: (one.field_type, one.mode, one.description) for one in visit.schema} == {
        "_day": ("DATE", "REQUIRED", "the local day"),
        "timestamp": ("TIMESTAMP", "REQUIRED", "when it was asked for"),
        "page": ("STRING", "REQUIRED", None),
        "shop": ("STRING", "REQUIRED", "where it is from"),
    }
    assert store.connection.find_table("user").clustering_fields is None
    assert store.connection.find_table("user").description is None
    text = f"SELECT page FROM {store.connection.sql('visit')}"
    config = bigquery.QueryJobConfig(dry_run=True)
    whole = store.connection.client.query(text, config).total_bytes_processed
    one = store.connection.client.query(f"{text} WHERE _day = '2021-12-01'", config)
    assert one.total_bytes_processed == 0 < whole


def test_every_query_has_a_limit_of_bytes(served):
    done(made(UserExtractor, EmailExtractor))
    asked = [job.configuration["query"] for job in served.jobs.values() if job.kind == "query"]
    limits = {one.get("maximumBytesBilled") for one in asked}
    assert limits == {str(10_000_000_000)}


def test_a_query_that_is_too_dear_is_told(datasets):
    extraction = made(visits({1: 1}))
    done(extraction)
    settings = dataclasses.replace(extraction.store.connection.settings, max_bytes_billed=1)
    dear = Extraction(extraction.extractors, BigQueryWarehouse(settings, Path.cwd()), "UTC", FIRST)
    [result] = dear.extract(NOON, FIRST, FIRST)
    assert result.error.reason == "too_many_bytes" and "visit" in str(result.error)


@pytest.mark.slow
def test_two_installations_in_one_project_keep_apart(datasets):
    one, other = made(visits({1: 1}), place="one"), made(visits({1: 2}), place="other")
    done(one)
    done(other)
    assert len(rows(one.store, "visit")) == 1 and len(rows(other.store, "visit")) == 2


def test_a_dataset_that_is_removed_and_made_again_is_another_one(datasets):
    extraction = made(visits({1: 1}))
    done(extraction)
    store = extraction.store
    store.connection.client.delete_dataset(str(store.connection), delete_contents=True)
    again = made(visits({1: 2}))
    done(again)
    assert len(rows(again.store, "visit")) == 2


def other_program(extraction, line, counts, dies=False):
    "What another program does with a day: its job ends, and it may die before it notes that."
    [table] = extraction.tables
    connection = extraction.store.connection
    ledger = LedgerTable(connection)
    claim = DayClaim(ledger, line.dataset, [line], "day")
    generation = claim.generation(claim.take())
    name = day_job(connection, line.dataset, line.release_key, generation)
    loader = Extraction([visits(counts)], extraction.store, "UTC", FIRST).loader(visits(counts)())
    day = date.fromisoformat(line.release_key[2:])
    with open("other.parquet", "w+b") as file:
        batches = loader.batches(day)
        write_parquet(table, pa.RecordBatchReader.from_batches(table.schema, batches), file)
        target = f"{table.name}${day:%Y%m%d}"
        load_rows(connection, table, target, file, name, claim.name)
    return claim


def test_the_ledger_follows_a_job_whose_program_has_died(served):
    extraction = made(visits({1: 2}))
    [emails] = extraction.extractors
    line = extraction.loader(emails).line(FIRST, extraction.tables[0].schema.empty_table(), "dead")
    other_program(extraction, line._replace(row_count=4), {1: 4})
    assert extraction.missing(emails, NOON) == days_between(
        FIRST + timedelta(1), FIRST + timedelta(2)
    )
    [found] = LoadsOnBigQuery(extraction.store).lines("visit")
    assert (
        found.row_count == 4 and found.run == "dead" and len(rows(extraction.store, "visit")) == 4
    )
    served.log.clear()
    LoadsOnBigQuery(extraction.store).lines("visit")
    assert not [call for call in served.log if "/jobs/" in call.path]  # it is settled


def test_a_day_that_another_program_writes_meanwhile_is_there_once(served):
    extraction = made(visits({1: 2}))
    loader = extraction.loader(extraction.extractors[0])
    line = loader.line(FIRST, extraction.tables[0].schema.empty_table())
    real = DayClaim.take

    def take(claim):
        "Between the claim and the job the other one is faster."
        found = real(claim)
        if not others:
            others.append(None)
            others[0] = other_program(extraction, line._replace(row_count=7), {1: 7})
        return found

    others = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DayClaim, "take", take)
        done(extraction, first=FIRST, last=FIRST)
    assert len(rows(extraction.store, "visit")) == 2
    assert loads_of(served, "visit") == ["visit$20220101"] * 2
    [kept] = LoadsOnBigQuery(extraction.store).lines("visit")
    assert kept.row_count == 2


@pytest.mark.slow
def test_a_range_and_a_day_of_it_do_not_miss_each_other(datasets):
    extraction = made(visits({1: 1, 2: 2, 3: 3}))
    loader = extraction.loader(extraction.extractors[0])
    line = loader.line(FIRST, extraction.tables[0].schema.empty_table())
    ledger = LedgerTable(extraction.store.connection)
    claim = DayClaim(ledger, "visit", [line], "day")
    claim.take()
    [result] = extraction.extract(NOON)
    assert isinstance(result.error, RetryLaterError) and result.error.reason == "changed_meanwhile"
    assert "visit 2022-01-01 to 2022-01-03 were not written" in str(result.error)
    assert rows(extraction.store, "visit") == []
    claim.give_up()
    done(extraction)
    assert len(rows(extraction.store, "visit")) == 6


@pytest.mark.slow
def test_a_ledger_that_changes_within_the_transaction_stops_it(datasets):
    extraction = made(visits({1: 1, 2: 2, 3: 3}))
    loader = extraction.loader(extraction.extractors[0])
    line = loader.line(FIRST, extraction.tables[0].schema.empty_table())
    ledger = LedgerTable(extraction.store.connection)
    real, others = DayClaim.take, []

    def take(claim):
        found = real(claim)
        if claim.kind == "range" and len(others) < 2:
            others.append(DayClaim(ledger, "visit", [line], "day"))
            others[-1].name = f"elsewhere:1:{len(others)}"
            ledger.claim([LedgerRow(line, 0, "day", others[-1].name)])
            ledger.add([LedgerRow(line, 0, "void", others[-1].name)])
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DayClaim, "take", take)
        done(extraction)
    assert len(others) == 2 and len(rows(extraction.store, "visit")) == 6


@pytest.mark.slow
def test_a_part_of_a_table_is_replaced_and_no_other(served):
    counts = {1: 2, 2: 2}

    def shop(name):
        return visits(counts, partition_field="shop", get_partition=lambda self: name)

    extraction = made(shop("north"), shop("south"))
    done(extraction, NOON - timedelta(1))
    counts[1] = 1
    again = Extraction([shop("north")], extraction.store, "UTC", FIRST)
    done(again, first=FIRST, last=FIRST)
    found = [(row[0].day, row[3]) for row in rows(extraction.store, "visit", "shop, _day")]
    assert found == [(1, "north"), *[(2, "north")] * 2, *[(1, "south")] * 2, *[(2, "south")] * 2]
    assert loads_of(served, "visit") == []


# migrations


def test_migrations_are_resumed_and_what_others_have_made_is_not_touched(datasets):
    extraction = Extraction([UserExtractor, EmailExtractor], datasets.warehouse(), "UTC", FIRST)
    migrations = Migrations("migrations", extraction.store)
    migrations.make(extraction.tables)
    connection = extraction.store.connection
    connection.prepare()
    connection.select(f"CREATE TABLE {connection.sql('user')} (odd INT64)", [])
    assert refusal(migrations.apply) == "not_written"
    assert extraction.store.names() == ["email", "user"]
    extraction.store.drop("user")
    assert [(file.name, n) for file, n, _ in migrations.apply()] == [("0001_email_user.json", 2)]
    assert migrations.apply() == [] and extraction.store.names() == ["email", "user", "user_delta"]
    assert migrations.findings() == []


def test_a_step_that_was_left_half_way_is_ended(datasets):
    "A column is there already, and nothing says so: the statement and its line are two things."
    extraction = made(UserExtractor)
    done(extraction)
    wider = test_extractors.changed(
        ("users", int), ("prospects", int | None), ("clients", int), ("mood", str | None)
    )
    table = test_extractors.table_from(wider, ExtractorType.date_aggregated)
    migrations = Migrations("migrations of store", extraction.store)
    migrations.make([table])
    for broken in ("note_applied", "declare"):
        with pytest.MonkeyPatch.context() as patch:

            def dies(self, *values):
                raise KeyboardInterrupt

            patch.setattr(BigQueryStructure, broken, dies)
            with pytest.raises(KeyboardInterrupt):
                migrations.apply()
    assert len(migrations.apply()) == 2 and migrations.findings() == []
    assert migrations.apply() == [] and len(rows(extraction.store, "user")) == 3


def test_a_table_that_was_changed_by_hand_is_told_of(datasets):
    extraction = made(UserExtractor)
    migrations = Migrations("migrations of store", extraction.store)
    connection = extraction.store.connection
    connection.select(f"ALTER TABLE {connection.sql('user')} ADD COLUMN odd INT64", [])
    assert "user.odd" in migrations.findings()[0] and refusal(migrations.apply) == "drift"
    [result] = extraction.extract(NOON)
    assert result.error.reason == "drift"
    connection.client.delete_table(str(connection.name("user_delta")))
    extraction.store.drop("user")
    assert migrations.findings() == ["table user is not there"]
    [result] = extraction.extract(NOON)
    assert result.error.reason == "not_migrated"


@pytest.mark.slow
def test_columns_are_put_into_another_order_and_a_table_gets_its_parts(datasets):
    extraction = made(UserExtractor)
    done(extraction)
    turned = dataclasses.make_dataclass(
        "User",
        [(name, int, sq_field(differentiate=True)) for name in ("clients", "users", "prospects")],
    )
    table = test_extractors.table_from(turned, ExtractorType.date_aggregated, partition="shop")
    migrations = Migrations("migrations of store", extraction.store)
    migrations.make([table])
    assert refusal(migrations.apply) == "unknown_part"
    migrations.apply({"user": "north"})
    assert migrations.findings() == []
    assert rows(extraction.store, "user")[0] == (FIRST, 30, 10, 20, "north")
    assert rows(extraction.store, "user_delta")[1] == (FIRST + timedelta(1), 30, 10, 20, "north")
    found = extraction.store.connection.find_table("user")
    assert found.clustering_fields == ["shop"] and found.time_partitioning.field == "date"
    assert {one.mode for one in found.schema} == {"REQUIRED"}
    assert len(LoadsOnBigQuery(extraction.store).lines("user/north")) == 3
    assert LoadsOnBigQuery(extraction.store).lines("user") == []


def test_what_a_step_would_run_is_shown_and_nothing_is_made(served, datasets):
    extraction = Extraction([UserExtractor], datasets.warehouse(), "UTC", FIRST)
    migrations = Migrations("migrations", extraction.store)
    migrations.make(extraction.tables)
    shown = " ".join(migrations.sql())
    assert re.search(r"CREATE TABLE `acme-analytics`\.`\w+`\.`user`", shown)
    assert "PARTITION BY `date`" in shown and "CREATE OR REPLACE VIEW" in shown
    assert not served.datasets and len(migrations.pending()) == 1


def test_a_warehouse_is_named_in_words():
    assert repr(warehouse_from("bigquery:acme-analytics.stats")) == (
        "<warehouse bigquery:acme-analytics.stats>"
    )
    for wrong in ("bigquery:stats", "duckdb:a.b", "bigquery:"):
        with pytest.raises(SettingsError, match="bigquery:PROJECT.DATASET"):
            warehouse_from(wrong)


def test_rows_that_are_not_as_many_as_was_counted_change_nothing(datasets):
    extraction = made(visits({1: 2}))
    done(extraction)
    [table] = extraction.tables
    loader = extraction.loader(extraction.extractors[0])
    arriving = pa.Table.from_batches(loader.batches(FIRST))
    for days in (1, 2):
        lines = [loader.line(FIRST + timedelta(n), arriving) for n in range(days)]
        lines[0] = lines[0]._replace(row_count=5)
        with extraction.store.open() as db, pytest.raises(DestinationError) as caught:
            db.replace(table, None, arriving.to_reader(), lines)
        assert caught.value.reason == "not_written"
        assert str(caught.value).startswith("visit 2022-01-01 ")
    assert len(rows(extraction.store, "visit")) == 2


def test_an_extractor_of_any_class_with_an_extract_works(datasets):
    class Plain(BaseExtractor[Visit]):
        def get_extractor_type(self):
            return ExtractorType.individual_rows

        def extract(self, date_start, date_end):
            return [Visit(date_start, "x")]

    assert len(done(made(Plain))) == 3


@pytest.mark.slow
def test_from_a_terminal(shop, served, monkeypatch):
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", served.url)
    run, place = test_extractors.run, f"bigquery:{PROJECT}.shop"
    run("make-migrations")
    assert "PARTITION BY" in run("migrate", "--dry-run", "--to", place) and not served.datasets
    assert "There is no table users yet" in run(
        "extract", "-l", "2022-01-01", "--to", place, code=7
    )
    assert "applied step 2" in run("migrate", "--to", place)
    told = run("extract", "-l", "2022-01-05", "--to", place)
    assert told.count("1 row\n") == 5 and "email 2022-01-05 3 rows" in told
    shop(warehouse=place)
    assert "nothing new" in run("migrate")
    run("extract", "-f", "2022-01-06", "-l", "2022-01-06", "--only", "email")
    assert served.table("shop.users").num_rows == 5 and served.table("shop.email").num_rows == 18
    assert not Path("shop.duckdb").exists()
    assert "nothing to do" in run("extract", "--rezone")
    for wrong in ("nowhere", "bigquery:nowhere"):
        assert "bigquery:PROJECT.DATASET" in run("extract", "--to", wrong, code=SettingsError)
