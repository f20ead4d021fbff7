"""One text of SQL for BigQuery and DuckDB."""

import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal

import duckdb
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domostats.errors import SettingsError
from domostats.loading.store import Store
from domostats.sql_dialects import (
    SyntaxMistake,
    UnusableSql,
    bigquery_name,
    bigquery_table,
    bigquery_text,
    load_sqlglot,
    parse_statements,
    translate_bigquery,
)
from domostats.tracking.extractors.on_duckdb import OpenDuckDB
from domostats.tracking.extractors.schema import sq_field
from domostats.tracking.extractors.steps import CreateTable
from domostats.tracking.extractors.tables import ExtractorType, table_from

DAILY = ExtractorType.date_aggregated
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@settings(max_examples=30, deadline=None)
@given(TEXTS)
def test_a_text_is_the_same_text_in_both(value):
    [query] = translate_bigquery(f"SELECT {bigquery_text(value)}")
    assert duckdb.sql(query).fetchall() == [(value,)]


@settings(max_examples=30, deadline=None)
@given(TEXTS.filter(bool))
def test_a_name_is_the_same_name_in_both(name):
    [query] = translate_bigquery(f"SELECT 1 AS {bigquery_name(name)}")
    assert duckdb.sql(query).columns == [name]


@settings(max_examples=30, deadline=None)
@given(TEXTS)
def test_a_description_is_a_comment(about):
    made = translate_bigquery(
        f"CREATE TABLE `d`.`t` (`n` INT64 OPTIONS (description = {bigquery_text(about)})) "
        f"OPTIONS (description = {bigquery_text(about)})"
    )
    with duckdb.connect() as con:
        con.execute("CREATE SCHEMA d")
        for statement in made:
            con.execute(statement)
        kept = con.sql("SELECT comment FROM duckdb_columns() WHERE table_name = 't'").fetchall()
        kept += con.sql("SELECT comment FROM duckdb_tables()").fetchall()
    assert kept == [(about or None,)] * 2


def test_a_project_of_the_old_kind_has_a_dot():
    assert bigquery_table("example.com:sales.shop", "order") == "`example.com:sales`.`shop`.`order`"
    assert bigquery_table("shop", "order") == "`shop`.`order`"


@pytest.mark.parametrize(
    "text",
    [
        "CREATE TABLE t (n INT64) OPTIONS (expiration_timestamp = TIMESTAMP '2030-01-01')",
        "CREATE TABLE t (n INT64 OPTIONS (rounding_mode = 'ROUND_HALF_EVEN'))",
    ],
)
def test_what_duckdb_has_no_words_for_is_refused(text):
    with pytest.raises(UnusableSql):
        translate_bigquery(text)


def test_a_table_that_is_replaced_keeps_what_the_new_one_says():
    with duckdb.connect() as con:
        con.execute("CREATE SCHEMA d")
        for text in (
            "CREATE TABLE d.t (`a` INT64, `b` NUMERIC OPTIONS (description = 'before'))",
            "INSERT INTO d.t (`a`, `b`) VALUES (1, 0.123456789)",
            """
            CREATE OR REPLACE TABLE d.t (`b` NUMERIC NOT NULL OPTIONS (description = 'after'),
                                         `a` INT64, `c` STRING NOT NULL)
            PARTITION BY `a` CLUSTER BY `c` OPTIONS (description = 'anew')
            AS SELECT `b`, `a`, 'x' AS `c` FROM d.t""",
        ):
            for statement in translate_bigquery(text):
                con.execute(statement)
        assert con.sql("SELECT b::VARCHAR, a, c FROM d.t").fetchall() == [("0.123456789", 1, "x")]
        columns = con.sql(
            "SELECT column_name, is_nullable, comment FROM duckdb_columns() WHERE schema_name = 'd'"
        )
        assert columns.fetchall() == [("b", False, "after"), ("a", True, None), ("c", False, None)]
        assert con.sql("SELECT table_name, comment FROM duckdb_tables()").fetchall() == [
            ("t", "anew")
        ]


def test_sqlglot_is_loaded_when_it_is_needed():
    code = (
        "import sys, domostats, domostats.sql_dialects, domostats.tracking.extractors.on_duckdb\n"
        "assert 'sqlglot' not in sys.modules\n"
        "domostats.sql_dialects.translate_bigquery('SELECT 1')\n"
        "assert 'sqlglot' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_not_installed_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "sqlglot", None)
    with pytest.raises(SettingsError, match="pip install sqlglot") as caught:
        load_sqlglot()
    assert caught.value.reason == "not_installed"


def test_a_mistake_says_where_it_is():
    with pytest.raises(SyntaxMistake) as caught:
        parse_statements("SELECT 1\nFROM (", "bigquery")
    assert (caught.value.line, caught.value.found) == (2, "(")


@dataclass
class Total:
    n: int | None = sq_field(differentiate=True)
    price: Decimal | None = sq_field(differentiate=True)
    order: str | None = None


EARLIER = {  # the views as versions before this one made them
    ("previous_row", False, None): """
        SELECT "date", "n" - coalesce(last_value("n" IGNORE NULLS) OVER (ORDER BY "date" ROWS
        BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS "n", "price" - coalesce(last_value(
        "price" IGNORE NULLS) OVER (ORDER BY "date" ROWS BETWEEN UNBOUNDED PRECEDING AND 1
        PRECEDING), 0) AS "price", "order" FROM datasets."total\"""",
    ("previous_day", True, "shop"): """
        SELECT "date", "n" - coalesce(CASE WHEN lag("date") OVER (PARTITION BY "shop" ORDER BY
        "date") = "date" - 1 THEN lag("n") OVER (PARTITION BY "shop" ORDER BY "date") END, 0) AS
        "n", "price" - coalesce(CASE WHEN lag("date") OVER (PARTITION BY "shop" ORDER BY "date") =
        "date" - 1 THEN lag("price") OVER (PARTITION BY "shop" ORDER BY "date") END, 0) AS "price",
        "order", "shop", CASE WHEN lag("date") OVER (PARTITION BY "shop" ORDER BY "date") = "date"
        - 1 THEN lag("n") OVER (PARTITION BY "shop" ORDER BY "date") END AS "n_before", CASE WHEN
        lag("date") OVER (PARTITION BY "shop" ORDER BY "date") = "date" - 1 THEN lag("price") OVER
        (PARTITION BY "shop" ORDER BY "date") END AS "price_before" FROM datasets."total\"""",
}


@pytest.mark.parametrize("gap, shows, partition", EARLIER)
def test_views_of_earlier_versions_are_no_drift(tmp_path, gap, shows, partition):
    store = Store(tmp_path / "store.duckdb")
    table = table_from(Total, DAILY, gap=gap, shows_previous=shows, partition=partition)
    with store.open() as con:
        db = OpenDuckDB(con)
        db.structure.apply(CreateTable(table), {"total": table}, None)
        select = EARLIER[gap, shows, partition]
        con.execute(f"CREATE OR REPLACE VIEW datasets.total_delta AS {select}")
        assert db.structure.has_expected_view(table)
        other = msgspec.structs.replace(table, deltas=("n",))
        assert not db.structure.has_expected_view(other)
