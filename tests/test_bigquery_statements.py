"""The statements of BigQuery that DuckDB is told too: both make the same of them."""

import itertools
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import msgspec
import pytest

from domostats import sandbox
from domostats.loading.store import Store
from domostats.tracking.extractors.on_duckdb import DuckDBWarehouse, OpenDuckDB
from domostats.tracking.extractors.schema import Column, sq_field
from domostats.tracking.extractors.statements import (
    MAX_COLUMN_ABOUT,
    count_by_bounds_sql,
    count_by_day_sql,
    days_outside_sql,
    delta_select,
    statements,
)
from domostats.tracking.extractors.steps import (
    AddColumn,
    AddPartition,
    CreateTable,
    MakeView,
    Relax,
    Reorder,
    apply_step,
)
from domostats.tracking.extractors.tables import ExtractorType, Table, table_from
from domostats.tracking.extractors.warehouse import day_bounds_table

bigquery = pytest.importorskip("google.cloud.bigquery")
from google.auth.credentials import AnonymousCredentials  # noqa: E402

DAILY, EVENTS = ExtractorType.date_aggregated, ExtractorType.individual_rows
DATASETS = (f"d{n}" for n in itertools.count())


@dataclass
class Total:
    """What the "shop" has
    sold; it's all.

    A row for each day.
    """

    n: int | None = sq_field(differentiate=True, metadata={"about": "since the\nbeginning"})
    price: Decimal | None = sq_field(differentiate=True)
    order: str | None = None


@dataclass
class Plain:
    n: int = sq_field(differentiate=True)


@dataclass
class Click:
    timestamp: datetime
    page: str | None = None


@dataclass
class Visit:
    timestamp: date
    page: str | None = None


@pytest.fixture(scope="module")
def client():
    with sandbox.start_bigquery("acme-text", "EU") as running:
        yield bigquery.Client(
            project=running.project,
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": running.url},
        )
        assert not running.mistakes, running.mistakes[0]


@pytest.fixture
def dataset(client):
    return f"acme-text.{client.create_dataset(next(DATASETS)).dataset_id}"


def ask(client, text, **texts):
    "The rows of a query with texts as parameters."
    listed = [bigquery.ScalarQueryParameter(name, "STRING", texts[name]) for name in texts]
    config = bigquery.QueryJobConfig(query_parameters=listed)
    return [tuple(row) for row in client.query_and_wait(text, job_config=config)]


def literal(value):
    "A value of Python as BigQuery's SQL."
    if value is None:
        return "NULL"
    if isinstance(value, datetime):
        return f"TIMESTAMP '{value.isoformat()}'"
    if isinstance(value, date):
        return f"DATE '{value}'"
    return f"NUMERIC '{value}'" if isinstance(value, Decimal) else repr(value)


def insert(client, dataset, table, rows):
    names = ", ".join(f"`{column.name}`" for column in table.all_columns)
    values = ", ".join(f"({', '.join(map(literal, row))})" for row in rows)
    ask(client, f"INSERT INTO `{dataset}.{table.name}` ({names}) VALUES {values}")


def both(client, dataset, store, table, rows):
    "Make a table in both, with rows."
    for text in statements(CreateTable(table), {table.name: table}, dataset=dataset):
        ask(client, text)
    insert(client, dataset, table, rows)
    marks = ", ".join("?" * len(table.all_columns))
    with store.open() as con:
        db = OpenDuckDB(con)
        db.structure.apply(CreateTable(table), {table.name: table}, None)
        con.executemany(f'INSERT INTO datasets."{table.name}" VALUES ({marks})', rows)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store.duckdb")


def test_a_table_has_its_days_its_clusters_and_its_descriptions(client, dataset):
    table = table_from(Total, DAILY, partition="shop")
    for text in statements(CreateTable(table), {"total": table}, dataset=dataset):
        ask(client, text)
    made = client.get_table(f"{dataset}.total")
    assert made.description == 'What the "shop" has sold; it\'s all.'
    assert (made.time_partitioning.field, made.clustering_fields) == ("date", ["shop"])
    assert [(one.name, one.field_type, one.mode, one.description) for one in made.schema] == [
        ("date", "DATE", "REQUIRED", "the local day"),
        ("n", "INTEGER", "NULLABLE", "since the\nbeginning"),
        ("price", "NUMERIC", "NULLABLE", None),
        ("order", "STRING", "NULLABLE", None),
        ("shop", "STRING", "REQUIRED", "where it is from"),
    ]
    assert client.get_table(f"{dataset}.total_delta").table_type == "VIEW"


def test_a_docstring_that_python_makes_is_no_description():
    assert table_from(Plain, DAILY).about == ""


def test_descriptions_are_as_long_as_the_service_takes():
    table = table_from(Plain, DAILY)
    long = msgspec.structs.replace(table.columns[0], about="x" * 2000)
    table = msgspec.structs.replace(table, columns=(long,))
    [create, _] = statements(CreateTable(table), {})
    assert "x" * MAX_COLUMN_ABOUT in create and "x" * (MAX_COLUMN_ABOUT + 1) not in create


DAYS = [date(2022, 1, n) for n in (1, 2, 4, 5, 6)]
FIGURES = [None, 10, 25, None, 20]


DELTAS = {  # told by hand
    "previous_row": [None, 10, 15, None, -5],
    "previous_day": [None, 10, 25, None, 20],
}


@pytest.mark.parametrize("gap", ["previous_row", "previous_day"])
@pytest.mark.parametrize("partition", [None, "shop"])
def test_the_delta_view_is_the_same_in_both(client, dataset, store, gap, partition):
    table = table_from(Total, DAILY, gap=gap, shows_previous=True, partition=partition)
    rows = [
        (day, n, n and Decimal(n) / 1000, "x", *([shop] if partition else []))
        for shop in (["a", "b"] if partition else [None])
        for day, n in zip(DAYS, FIGURES, strict=True)
    ]
    both(client, dataset, store, table, rows)
    names = f"date, n, price{', shop' if partition else ''}"
    order = f"ORDER BY {'shop, ' if partition else ''}date"
    theirs = ask(client, f"SELECT {names} FROM `{dataset}.total_delta` {order}")
    with store.open() as con:
        ours = con.sql(f"SELECT {names} FROM datasets.total_delta {order}").fetchall()
    assert ours == theirs
    told = DELTAS[gap]
    assert [row[1] for row in theirs] == told * (2 if partition else 1)
    assert [row[2] for row in theirs][:5] == [n and Decimal(n) / 1000 for n in told]


def test_the_example_of_the_reference_on_both(client, dataset, store):
    table = table_from(Plain, DAILY, name="users")
    both(
        client,
        dataset,
        store,
        table,
        [(date(2022, 1, 1), 10), (date(2022, 1, 2), 20), (date(2022, 1, 3), 35)],
    )
    text = "SELECT n FROM {}users_delta ORDER BY date"
    with store.open() as con:
        assert con.sql(text.format("datasets.")).fetchall() == [(10,), (10,), (15,)]
    assert ask(client, text.format(f"{dataset.split('.')[1]}.")) == [(10,), (10,), (15,)]


STEPS = [
    AddColumn("total", Column("mood", "STRING", nullable=True, about="how it was")),
    Relax("total", "must"),
    MakeView("total", ("price",), "previous_day", True),
    Reorder("total", ("price", "must", "n")),
    AddPartition("total", "shop"),
    MakeView("total", (), "previous_row", False),
]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)
def test_each_step_makes_the_same_of_both(client, dataset, store, step):
    columns = (
        Column("n", "INT64", about="how many"),
        Column("must", "STRING"),
        Column("price", "NUMERIC", nullable=True),
    )
    table = Table("total", DAILY, "date", columns, deltas=("n",), about="What was sold")
    rows = [(DAYS[0], 10, "x", Decimal("1.123456789")), (DAYS[1], 20, "y", None)]
    both(client, dataset, store, table, rows)
    after = apply_step({"total": table}, step)
    for text in statements(step, after, "main shop", dataset):
        ask(client, text)
    with DuckDBWarehouse(store).open() as db:
        db.structure.apply(step, after, "main shop")
        ours = db.structure.live_columns("total")
        view = db.structure.live_columns("total_delta")
        assert db.structure.has_expected_view(after["total"])
    found = client.get_table(f"{dataset}.total")
    names = {"INTEGER": "INT64", "FLOAT": "FLOAT64"}
    theirs = {
        one.name: (names.get(one.field_type, one.field_type), one.mode == "NULLABLE")
        for one in found.schema
    }
    assert ours == theirs and [*ours] == [*theirs]
    assert (found.description, found.time_partitioning.field) == ("What was sold", "date")
    assert {one.name: one.description for one in found.schema}["n"] == "how many"
    with store.open() as con:
        kept = con.sql("SELECT * FROM datasets.total ORDER BY 1").fetchall()
        comments = con.sql(
            "SELECT comment FROM duckdb_columns() WHERE table_name = 'total' AND column_name = 'n'"
        ).fetchall()
    assert kept == ask(client, f"SELECT * FROM `{dataset}.total` ORDER BY date")
    assert comments == [("how many",)]
    views = [one.table_id for one in client.list_tables(dataset) if one.table_type == "VIEW"]
    assert bool(views) == bool(view) == bool(after["total"].deltas)
    if view:
        text = "SELECT * FROM {} ORDER BY date"
        with store.open() as con:
            shown = con.sql(text.format("datasets.total_delta")).fetchall()
        assert shown == ask(client, text.format(f"`{dataset}.total_delta`"))


UTC = timezone.utc


def bounds(day):
    "Days of a zone that is five hours behind."
    begins = datetime(day.year, day.month, day.day, 5, tzinfo=UTC)
    return begins, begins + timedelta(1)


CUT = """
    WITH cut AS (
        SELECT * FROM UNNEST([
            STRUCT(DATE '2022-01-01' AS cut_day,
                   TIMESTAMP '2022-01-01 05:00:00+00' AS begins,
                   TIMESTAMP '2022-01-02 05:00:00+00' AS ends),
            STRUCT(DATE '2022-01-02',
                   TIMESTAMP '2022-01-02 05:00:00+00',
                   TIMESTAMP '2022-01-03 05:00:00+00')
        ]))
    """


def test_questions_about_events_have_one_answer(client, dataset, store):
    table = table_from(Click, EVENTS, partition="shop")
    one, two = date(2022, 1, 1), date(2022, 1, 2)
    rows = [
        (one, datetime(2022, 1, 1, 9, tzinfo=UTC), "a", "main"),
        (one, datetime(2022, 1, 1, 9, tzinfo=UTC), "a", "main"),
        (one, datetime(2022, 1, 2, 4, 59, 59, tzinfo=UTC), "a", "main"),
        (two, datetime(2022, 1, 2, 4, 59, 59, tzinfo=UTC), None, "main"),
        (two, datetime(2022, 1, 2, 5, tzinfo=UTC), "b", "main"),
        (one, datetime(2022, 1, 2, 5, tzinfo=UTC), "b", "other"),
    ]
    both(client, dataset, store, table, rows)
    cut = day_bounds_table([one, two], bounds)
    for part, by_day, by_bounds, outside in (
        ("main", {one: 3, two: 2}, {one: 3, two: 1}, [two]),
        ("other", {one: 1}, {two: 1}, [one]),
        (None, {one: 4, two: 2}, {one: 3, two: 1}, [one, two]),
    ):
        with DuckDBWarehouse(store).open() as db:
            assert db.rows.count_by_day(table, part) == by_day
            assert db.rows.count_by_bounds(table, part, cut) == by_bounds
            assert db.rows.days_outside(table, bounds, part=part) == outside
        given = {"part": part} if part else {}
        text = count_by_day_sql(table, dataset, bool(part))
        assert dict(ask(client, text, **given)) == by_day
        text = CUT + count_by_bounds_sql(table, dataset, bool(part))
        assert dict(ask(client, text, **given)) == by_bounds
        text = CUT + days_outside_sql(table, dataset, bool(part))
        assert sorted(row[0] for row in ask(client, text, **given)) == outside


def test_a_date_is_its_day_in_every_zone(client, dataset, store):
    table = table_from(Visit, EVENTS)
    one, two = date(2022, 1, 1), date(2022, 1, 2)
    both(client, dataset, store, table, [(one, one, "a"), (one, two, "b"), (two, two, "c")])
    with DuckDBWarehouse(store).open() as db:
        found = db.rows.count_by_bounds(table, None, day_bounds_table([one, two], bounds))
        assert found == {one: 1, two: 2}
        assert db.rows.days_outside(table, bounds) == [one]
    assert dict(ask(client, CUT + count_by_bounds_sql(table, dataset))) == {one: 1, two: 2}
    assert ask(client, CUT + days_outside_sql(table, dataset)) == [(one,)]


def test_the_select_is_for_any_dataset():
    table = table_from(Plain, DAILY)
    assert delta_select(table, "my-project.sales").endswith("FROM `my-project`.`sales`.`plain`")


def test_a_step_that_was_begun_can_be_done_again(client, dataset):
    columns = (Column("n", "INT64"),)
    table = Table("total", DAILY, "date", columns, deltas=("n",))
    column = Column("mood", "STRING", nullable=True)
    for step in (CreateTable(table), AddColumn("total", column)):
        after = apply_step({} if isinstance(step, CreateTable) else {"total": table}, step)
        for text in statements(step, after, None, dataset, resumes=True) * 2:
            ask(client, text)
    assert [one.name for one in client.get_table(f"{dataset}.total").schema] == [
        "date",
        "n",
        "mood",
    ]
