"""One text of SQL for BigQuery and DuckDB."""

import subprocess
import sys

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domostats.errors import SettingsError
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

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@given(TEXTS)
def test_a_text_is_the_same_text_in_both(value):
    [query] = translate_bigquery(f"SELECT {bigquery_text(value)}")
    assert duckdb.sql(query).fetchall() == [(value,)]


@given(TEXTS.filter(bool))
def test_a_name_is_the_same_name_in_both(name):
    [query] = translate_bigquery(f"SELECT 1 AS {bigquery_name(name)}")
    assert duckdb.sql(query).columns == [name]


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
