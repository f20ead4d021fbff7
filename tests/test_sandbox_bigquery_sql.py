"""The SQL of the sandbox's BigQuery, asked by Google's client: what it means, what is refused, and
values there and back."""

import base64
import datetime
import hashlib
import json
import math
import re
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domostats import sandbox

bigquery = pytest.importorskip("google.cloud.bigquery")
from google.api_core import exceptions  # noqa: E402
from google.auth.credentials import AnonymousCredentials  # noqa: E402
from google.cloud.bigquery import SchemaField as Field  # noqa: E402

UTC = datetime.timezone.utc


def day(text):
    return datetime.date.fromisoformat(text)


def moment(text):
    return datetime.datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture(scope="module")
def box():
    with sandbox.start_bigquery("acme-sql", "EU") as running:
        yield running
        assert not running.mistakes, running.mistakes[0]


@pytest.fixture(scope="module")
def client(box):
    made = bigquery.Client(
        project=box.project,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": box.url},
    )
    made.create_dataset("d")
    made.query_and_wait("""
        CREATE TABLE d.sales (day DATE NOT NULL, n INT64, price NUMERIC, who STRING)
        PARTITION BY day CLUSTER BY who OPTIONS (description='What was sold')
    """)
    made.query_and_wait("""
        INSERT INTO d.sales (day, n, price, who) VALUES
          ('2022-01-01', 10, 1.5, 'Ada'),
          ('2022-01-02', 20, 2.25, NULL),
          ('2022-01-04', 35, NUMERIC '0.000000001', 'Émile')
    """)
    return made


def rows(client, text, *parameters):
    config = bigquery.QueryJobConfig(query_parameters=parameters)
    return [tuple(row) for row in client.query_and_wait(text, job_config=config)]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 1", 2),
        ("(SELECT COUNTIF(n > 15) FROM d.sales)", 2),
        ("(SELECT COUNTIF(n > 15) FROM d.sales WHERE FALSE)", 0),
        ("2000000000 * 2", 4_000_000_000),
        ("2000000000 + 2000000000", 4_000_000_000),
        ("DATE '2022-01-01' - 1", day("2021-12-31")),
        ("1 + DATE '2022-01-01'", day("2022-01-02")),
        ("(SELECT MAX(day - 1) FROM d.sales)", day("2022-01-03")),
        ("(SELECT MAX(n + 2000000000) + 2000000000 FROM d.sales)", 4_000_000_035),
        ("7 / 2", 3.5),
        ("DIV(7, 2)", 3),
        ("MOD(7, 2)", 1),
        ("1.5", 1.5),
        ("NUMERIC '1.5' + 1", Decimal("2.5")),
        ("CAST('0.1234567891' AS NUMERIC)", Decimal("0.123456789")),
        ("NULL", None),
        ("TRUE", True),
        ("b'ab'", b"ab"),
        ("'it''s'", None),
        ("CAST(2.5 AS INT64)", 3),
        ("CAST(-2.5 AS INT64)", -3),
        ("CAST(3.0 AS STRING)", "3"),
        ("CAST(NUMERIC '1.50' AS STRING)", "1.5"),
        ("CAST(TRUE AS STRING)", "true"),
        ("CAST('12' AS INT64)", 12),
        ("SAFE_CAST('12.5' AS INT64)", None),
        ("SAFE_CAST('2022-01-06T00:00:00' AS DATE)", None),
        ("SAFE_DIVIDE(1, 0)", None),
        ("IFNULL(NULL, 5)", 5),
        ("COALESCE(NULL, 'x')", "x"),
        ("IF(1 > 2, 'a', 'b')", "b"),
        ("[1, 2, NULL][OFFSET(1)]", 2),
        ("ARRAY_LENGTH([1, 2])", 2),
        ("STRUCT(1 AS a, 'x' AS b)", {"a": 1, "b": "x"}),
        ("(SELECT ARRAY_AGG(x ORDER BY x DESC) FROM UNNEST([1, 3, 2]) AS x)", [3, 2, 1]),
        ("DATE '2022-01-06'", day("2022-01-06")),
        ("DATE_ADD(DATE '2022-01-31', INTERVAL 1 MONTH)", day("2022-02-28")),
        ("DATE_SUB(DATE '2022-01-01', INTERVAL 1 DAY)", day("2021-12-31")),
        ("DATE_DIFF(DATE '2022-01-06', DATE '2021-12-31', DAY)", 6),
        ("DATE_TRUNC(DATE '2022-01-06', MONTH)", day("2022-01-01")),
        ("EXTRACT(DAYOFWEEK FROM DATE '2022-01-06')", 5),
        ("EXTRACT(YEAR FROM DATE '2022-01-06')", 2022),
        ("EXTRACT(DATE FROM TIMESTAMP '2022-01-06 23:00:00+00')", day("2022-01-06")),
        ("LAST_DAY(DATE '2022-02-03')", day("2022-02-28")),
        ("PARSE_DATE('%Y%m%d', '20220106')", day("2022-01-06")),
        ("FORMAT_DATE('%Y%m', DATE '2022-01-06')", "202201"),
        ("TIMESTAMP '2022-01-06 12:00:00+01:00'", moment("2022-01-06T11:00:00")),
        ("DATE(TIMESTAMP '2022-01-06 23:30:00+00', 'Europe/Paris')", day("2022-01-07")),
        ("DATE(TIMESTAMP '2022-01-06 02:30:00+00', 'America/New_York')", day("2022-01-05")),
        ("TIMESTAMP('2022-07-01', 'Europe/Paris')", moment("2022-06-30T22:00:00")),
        ("DATETIME '2022-01-06 12:00:00.5'", datetime.datetime(2022, 1, 6, 12, 0, 0, 500_000)),
        ("TIME '12:00:01'", datetime.time(12, 0, 1)),
        (
            "GENERATE_DATE_ARRAY(DATE '2022-01-01', DATE '2022-01-02')",
            [day("2022-01-01"), day("2022-01-02")],
        ),
        ("CONCAT('a', 'b')", "ab"),
        ("UPPER('é')", "É"),
        ("LENGTH('é')", 1),
        ("SUBSTR('abc', 2, 1)", "b"),
        ("SPLIT('a,b', ',')", ["a", "b"]),
        ("REGEXP_CONTAINS('abc', r'^a.c$')", True),
        ("REGEXP_EXTRACT('a-12', r'[0-9]+')", "12"),
        ("STARTS_WITH('abc', 'ab')", True),
        ("TO_HEX(MD5('é'))", hashlib.md5("é".encode()).hexdigest()),
        ("TO_HEX(SHA256('a'))", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
        ("JSON_VALUE('{\"a\": 7}', '$.a')", "7"),
        ("'x' IN UNNEST(['x', 'y'])", True),
        ("(SELECT COUNTIF(x > 1) FROM UNNEST([1, 2, 3]) AS x)", 2),
        ("(SELECT STRING_AGG(x, '-' ORDER BY x) FROM UNNEST(['b', 'a']) AS x)", "a-b"),
        ("(SELECT AVG(x) FROM UNNEST([1, 2]) AS x)", 1.5),
        ("(SELECT SUM(x) FROM UNNEST([1, 2]) AS x)", 3),
        ("(SELECT LOGICAL_OR(x) FROM UNNEST([TRUE, FALSE]) AS x)", True),
        ("(SELECT MAX(x) FROM UNNEST(CAST([] AS ARRAY<INT64>)) AS x)", None),
    ],
)
def test_what_an_expression_is(client, expression, value):
    if expression == "'it''s'":  # quotes are escaped in another way in this SQL
        expression, value = r"'it\'s'", "it's"
    found = rows(client, f"SELECT {expression}")[0][0]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("SELECT n FROM d.sales WHERE day = '2022-01-02'", [(20,)]),
        ("SELECT n FROM `acme-sql.d.sales` AS s WHERE s.who = 'Ada'", [(10,)]),
        ("SELECT `acme-sql`.d.sales.n FROM d.sales LIMIT 0", None),
        ("SELECT COUNT(*), SUM(n), SUM(price) FROM d.sales", [(3, 65, Decimal("3.750000001"))]),
        ("SELECT who FROM d.sales ORDER BY who", [(None,), ("Ada",), ("Émile",)]),
        ("SELECT who FROM d.sales ORDER BY who DESC", [("Émile",), ("Ada",), (None,)]),
        ("WITH a AS (SELECT n FROM d.sales) SELECT MAX(n) AS m FROM a", [(35,)]),
        ("SELECT * EXCEPT (day, price, who) FROM d.sales WHERE n = 10", [(10,)]),
        ("SELECT * REPLACE (n + 1 AS n) FROM d.sales WHERE n = 10 AND who IS NOT NULL", None),
        (
            "SELECT n - COALESCE(LAG(n) OVER (ORDER BY day), 0) FROM d.sales ORDER BY day",
            [(10,), (10,), (15,)],
        ),
        (
            "SELECT n FROM d.sales WHERE TRUE QUALIFY ROW_NUMBER() OVER (ORDER BY day DESC) = 1",
            [(35,)],
        ),
        (
            """
            SELECT x AS day, s.n FROM UNNEST(GENERATE_DATE_ARRAY('2022-01-02', '2022-01-03')) AS x
            LEFT JOIN d.sales AS s ON s.day = x ORDER BY x
            """,
            [(day("2022-01-02"), 20), (day("2022-01-03"), None)],
        ),
        (
            "SELECT a.n, b.n AS before FROM d.sales a JOIN d.sales b "
            "ON b.day = DATE_SUB(a.day, INTERVAL 1 DAY)",
            [(20, 10)],
        ),
        ("SELECT EXTRACT(MONTH FROM day) AS m, COUNT(*) FROM d.sales GROUP BY ALL", [(1, 3)]),
        ("SELECT 1 AS a UNION ALL SELECT 2 ORDER BY a", [(1,), (2,)]),
        ("FROM d.sales |> WHERE n > 10 |> AGGREGATE SUM(n) AS total", [(55,)]),
    ],
)
def test_what_a_query_selects(client, text, wanted):
    if wanted is None:
        wanted = {
            "SELECT `acme": exceptions.BadRequest,
            "SELECT * REP": [(day("2022-01-01"), 11, Decimal("1.5"), "Ada")],
        }[text[:12]]
    if isinstance(wanted, type):
        with pytest.raises(wanted):
            rows(client, text)
    else:
        assert rows(client, text) == wanted


def test_columns_without_a_name_are_numbered(client):
    found = client.query_and_wait("SELECT n, COUNT(*), MAX(day) FROM d.sales GROUP BY n")
    assert [field.name for field in found.schema] == ["n", "f0_", "f1_"]
    assert [field.field_type for field in found.schema] == ["INTEGER", "INTEGER", "DATE"]


REFUSED = {
    "SELEC 1": "Syntax error",
    "SELECT nope FROM d.sales": "Unrecognized name: nope",
    "SELECT n FROM sales": 'Table "sales" must be qualified with a dataset',
    "SELECT 1 / 0": "division by zero",
    "SELECT n / (n - 10) FROM d.sales": "division by zero",
    "SELECT CAST('x' AS INT64)": "Invalid int64: x",
    "SELECT CAST(who AS INT64) FROM d.sales": "Invalid int64",
    "SELECT DATE '2022-02-30'": "Could not cast literal",
    "SELECT CAST('2022-01-06T12:00:00+01:00' AS DATE)": "Could not cast literal",
    "SELECT CAST(CONCAT('2022-01-06', 'T00:00:00') AS DATE)": "Invalid date",
    "SELECT 9223372036854775807 + 1": "verflow",
    "SELECT SUM(x) FROM UNNEST([9223372036854775807, 1]) AS x": "HUGEINT|INT64|range|cast",
    "SELECT n AS a, n AS A FROM d.sales": "Duplicate column names",
    "SELECT * FROM d.sales a, d.sales b": "Duplicate column names",
    "SELECT FARM_FINGERPRINT('x')": "Function not found|not found",
    "SELECT list_sum([1])": "Function not found",
    "SELECT d.f(1)": "Function not found",
    "SELECT SAFE.SUBSTR('x', 1)": "SAFE",
    "SELECT * FROM d.sale_*": "wildcard",
    "SELECT * FROM d.sales FOR SYSTEM_TIME AS OF CURRENT_TIMESTAMP()": "past",
    "SELECT * FROM read_csv('x')": "",
    "SELECT * FROM duckdb_tables()": "",
    "SELECT @missing": "Query parameter '@missing' not found",
    "SELECT @@project_id": "",
    "SELECT FORMAT_TIMESTAMP('%H', CURRENT_TIMESTAMP(), 'Europe/Paris')": "time zone",
    "SELECT CAST(1 AS BIGNUMERIC)": "BIGNUMERIC",
    "DECLARE x INT64 DEFAULT 1; SELECT x": "DECLARE",
    "ASSERT TRUE": "",
    "CREATE TEMP TABLE x AS SELECT 1 AS a": "",
    "CREATE TABLE d.x COPY d.sales": "",
    "CREATE TABLE d.sales (a INT64)": "Already Exists",
    "CREATE TABLE d.x (a INT64 DEFAULT 1)": "does not know",
    "INSERT INTO d.sales (day, n) VALUES ('2022-01-06', 'x')": "cannot be inserted into column n",
    "INSERT INTO d.sales (day) VALUES ('2022-01-06T00:00:00+01:00')": "Invalid date",
    "INSERT INTO d.sales (n) VALUES (1)": "Required field day cannot be null",
    "INSERT INTO d.sales (day, m) VALUES ('2022-01-06', 1)": "Column m is not present",
    "INSERT INTO d.sales (day, n) VALUES ('2022-01-06')": "wrong column count",
    "UPDATE d.sales SET n = 1": "UPDATE must have a WHERE clause",
    "UPDATE d.sales SET day = '2022-02-30' WHERE TRUE": "Could not convert value to date",
    "UPDATE d.sales SET n = 'x' WHERE TRUE": "cannot be assigned",
    "DELETE FROM d.sales": "DELETE must have a WHERE clause",
    "MERGE d.sales USING UNNEST([1, 2]) AS x ON TRUE WHEN MATCHED THEN DELETE": "at most one",
    "UPDATE d.sales s SET n = x FROM UNNEST([1, 2]) AS x WHERE TRUE": "at most one",
    "ALTER TABLE d.sales ADD COLUMN x INT64 NOT NULL": "required column",
    "ALTER TABLE d.sales DROP COLUMN day": "cannot be dropped",
    "DROP VIEW d.sales": "Not found: View",
    "DROP TABLE d.nope": "Not found: Table",
    "BEGIN TRANSACTION; DELETE FROM d.sales WHERE TRUE; SELECT 1 / 0; COMMIT TRANSACTION": "zero",
    "BEGIN TRANSACTION; DELETE FROM d.sales WHERE TRUE": None,
    "BEGIN TRANSACTION; DROP TABLE d.sales; COMMIT TRANSACTION": "Transaction",
    "COMMIT TRANSACTION": "COMMIT",
    "SELECT * FROM d.INFORMATION_SCHEMA.NOPE": "INFORMATION_SCHEMA.NOPE",
    "GRANT `roles/x` ON SCHEMA d TO 'user:a@example.com'": "GRANT",
    "COPY d.sales TO 'x.csv'": "",
    "ATTACH 'x.db'": "",
    "PRAGMA version": "",
}  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_refused_is_refused_by_name_and_changes_nothing(client, text):
    words = REFUSED[text]
    if words is None:  # a transaction that is left open ends with a rollback
        client.query_and_wait(text, job_retry=None)
    else:
        refusals = exceptions.ClientError, exceptions.MethodNotImplemented
        with pytest.raises(refusals, match=words or ".") as caught:
            client.query_and_wait(text, job_retry=None)
        is_missing = "The sandbox does not know" in caught.value.message
        assert caught.value.code in ((501,) if is_missing else (400, 404, 409))
        assert not re.search(r"\bt_\d", str(caught.value.message))
    assert rows(client, "SELECT SUM(n) FROM d.sales") == [(65,)]


def test_days_are_replaced_in_one_transaction_with_their_ledger(client):
    client.query_and_wait("CREATE OR REPLACE TABLE d.days (day DATE NOT NULL, n INT64)")
    client.query_and_wait("CREATE OR REPLACE TABLE d.ledger (day DATE, rows_written INT64)")
    client.query_and_wait("INSERT INTO d.days (day, n) SELECT day, n FROM d.sales")
    client.query_and_wait("CREATE OR REPLACE TABLE d.staged AS SELECT day, n + 1 AS n FROM d.days")
    script = """
        BEGIN TRANSACTION;
        DELETE FROM d.days WHERE day BETWEEN @first AND @last;
        INSERT INTO d.days (day, n) SELECT day, n FROM d.staged WHERE day BETWEEN @first AND @last;
        INSERT INTO d.ledger (day, rows_written) SELECT day, COUNT(*) FROM d.days GROUP BY day;
        COMMIT TRANSACTION;
    """
    first = bigquery.ScalarQueryParameter("first", "DATE", day("2022-01-01"))
    last = bigquery.ScalarQueryParameter("last", "DATE", day("2022-01-02"))
    rows(client, script, first, last)
    assert rows(client, "SELECT n FROM d.days ORDER BY day") == [(11,), (21,), (35,)]
    assert rows(client, "SELECT SUM(rows_written) FROM d.ledger") == [(3,)]
    merge = """
        MERGE d.days T USING d.staged S ON FALSE
        WHEN NOT MATCHED BY SOURCE AND T.day = '2022-01-04' THEN DELETE
        WHEN NOT MATCHED BY TARGET AND S.day = '2022-01-04' THEN INSERT ROW
    """
    rows(client, merge)
    assert rows(client, "SELECT n FROM d.days ORDER BY day") == [(11,), (21,), (36,)]


def test_the_example_of_every_introduction(client):
    users = [Field("date", "DATE", "REQUIRED"), Field("registered", "INTEGER")]
    table = bigquery.Table("acme-sql.d.user", schema=users)
    table.time_partitioning = bigquery.TimePartitioning(field="date")
    client.create_table(table)
    config = bigquery.LoadJobConfig(schema=users, write_disposition="WRITE_TRUNCATE")
    for text, n in (("2022-01-01", 10), ("2022-01-02", 99), ("2022-01-02", 20), ("2022-01-03", 35)):
        to = f"d.user${text.replace('-', '')}"
        client.load_table_from_json(
            [{"date": text, "registered": n}], to, job_config=config
        ).result()
    view = bigquery.Table("acme-sql.d.user_delta")
    view.view_query = """
        SELECT date, registered - COALESCE(LAG(registered) OVER (ORDER BY date), 0) AS registered
        FROM `acme-sql.d.user`
    """
    client.create_table(view)
    found = rows(client, "SELECT registered FROM d.user_delta ORDER BY date")
    assert found == [(10,), (10,), (15,)]


def test_the_catalogue_is_asked_in_sql(client):
    found = rows(
        client,
        """
        SELECT column_name, data_type, is_nullable, is_partitioning_column,
          clustering_ordinal_position
        FROM d.INFORMATION_SCHEMA.COLUMNS WHERE table_name = 'sales' ORDER BY ordinal_position
        """,
    )
    assert found == [
        ("day", "DATE", "NO", "YES", None),
        ("n", "INT64", "YES", "NO", None),
        ("price", "NUMERIC", "YES", "NO", None),
        ("who", "STRING", "YES", "NO", 1),
    ]
    parts = """
        SELECT partition_id, total_rows FROM `acme-sql.d.INFORMATION_SCHEMA.PARTITIONS`
        WHERE table_name = 'sales' ORDER BY partition_id
    """
    assert rows(client, parts) == [("20220101", 1), ("20220102", 1), ("20220104", 1)]
    option = """
        SELECT option_value FROM d.INFORMATION_SCHEMA.TABLE_OPTIONS WHERE table_name = 'sales'
    """
    assert rows(client, option) == [('"What was sold"',)]
    for scope in ("`region-eu`.INFORMATION_SCHEMA.SCHEMATA", "INFORMATION_SCHEMA.SCHEMATA"):
        assert ("d", "EU") in rows(client, f"SELECT schema_name, location FROM {scope}")


def test_the_default_dataset_and_parameters_by_place(client):
    config = bigquery.QueryJobConfig(
        default_dataset="acme-sql.d",
        query_parameters=[
            bigquery.ScalarQueryParameter(None, "INT64", 10),
            bigquery.ArrayQueryParameter(None, "STRING", ["Ada", "Émile"]),
        ],
    )
    text = "SELECT n FROM sales WHERE n > ? AND who IN UNNEST(?)"
    assert [row.n for row in client.query_and_wait(text, job_config=config)] == [35]


# values there and back

EDGES = {
    "INTEGER": [0, -1, 2**63 - 1, -(2**63), 2**53 + 1],
    "FLOAT": [0.0, -0.5, 1e300, 5e-324, math.inf, -math.inf, math.nan, 0.1],
    "NUMERIC": [Decimal(text) for text in ("0", "-1.1", "0.000000001", "9" * 29 + "." + "9" * 9)],
    "BOOLEAN": [True, False],
    "STRING": ["", " ", "it's", 'a"b', "é\u0000"[:1], "\U0001f600", "null", "a\nb", "\\"],
    "BYTES": [b"", b"\x00\xff", b"abc"],
    "DATE": [datetime.date.min, datetime.date.max, day("1970-01-01"), day("2024-02-29")],
    "DATETIME": [
        datetime.datetime.min,
        datetime.datetime(9999, 12, 31, 23, 59, 59, 999_999),
        datetime.datetime(2022, 3, 27, 2, 30),
    ],
    "TIMESTAMP": [
        datetime.datetime.min.replace(tzinfo=UTC),
        datetime.datetime.max.replace(tzinfo=UTC),
        moment("1969-12-31T23:59:59.999999"),
    ],
    "TIME": [datetime.time.min, datetime.time.max, datetime.time(12, 0, 1)],
}
ANY = {
    "INTEGER": st.integers(-(2**63), 2**63 - 1),
    "FLOAT": st.floats(),
    "NUMERIC": st.decimals(-(10**20), 10**20, places=9),
    "BOOLEAN": st.booleans(),
    "STRING": st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9
    ),
    "BYTES": st.binary(max_size=5),
    "DATE": st.dates(),
    "DATETIME": st.datetimes(),
    "TIMESTAMP": st.datetimes(timezones=st.just(UTC)),
    "TIME": st.times(),
}
COLUMNS = [Field(kind.lower(), kind) for kind in ANY]
LISTS = [Field(f"{kind.lower()}_list", kind, "REPEATED") for kind in ANY]
RECORD = Field("record", "RECORD", fields=COLUMNS)
SCHEMA = [Field("number", "INTEGER", "REQUIRED"), *COLUMNS, *LISTS, RECORD]


def sent(value):
    "A value as a program writes it into a line of JSON."
    if isinstance(value, dict):
        return {name: sent(one) for name, one in value.items()}
    if isinstance(value, list):
        return [sent(one) for one in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    return str(value) if isinstance(value, Decimal) else value


def same(found, wanted):
    "Whether two values are one, NaN too."
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(same(found[n], wanted[n]) for n in wanted)
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    if isinstance(wanted, float) and math.isnan(wanted):
        return isinstance(found, float) and math.isnan(found)
    return found == wanted and type(found) is type(wanted)


def known(kind):
    return st.one_of(st.sampled_from(EDGES[kind]), ANY[kind])


def drawn(kind):
    return st.one_of(st.none(), known(kind))


def some_row():
    "A row with a value or NULL of each type, a list of each, and a record of the same values."
    plain = st.fixed_dictionaries({kind.lower(): drawn(kind) for kind in ANY})
    lists = st.fixed_dictionaries(
        {f"{kind.lower()}_list": st.lists(known(kind), max_size=2) for kind in ANY}
    )
    parts = st.tuples(plain, lists, st.booleans())
    return parts.map(
        lambda found: {**found[0], **found[1], "record": found[0] if found[2] else None}
    )


def check_there_and_back(client, values):
    values = [{"number": number, **row} for number, row in enumerate(values)]
    config = bigquery.LoadJobConfig(schema=SCHEMA, write_disposition="WRITE_TRUNCATE")
    lines = [sent(row) for row in values]
    client.load_table_from_json(lines, "d.values", job_config=config).result()
    listed = [dict(row) for row in client.list_rows("d.values")]
    asked = [dict(row) for row in client.query_and_wait("SELECT * FROM d.values ORDER BY number")]
    for found in (listed, asked):
        for one, wanted in zip(found, values, strict=True):
            for name in wanted:
                assert same(one[name], wanted[name]), (name, one[name], wanted[name])


def test_the_edges_of_every_type_come_back(client):
    longest = max(map(len, EDGES.values()))
    empty = {f"{kind.lower()}_list": [] for kind in ANY}
    values = [{**dict.fromkeys(field.name for field in COLUMNS), **empty, "record": None}]
    for number in range(longest):
        plain = {kind.lower(): found[number % len(found)] for kind, found in EDGES.items()}
        lists = {f"{kind.lower()}_list": found for kind, found in EDGES.items()}
        values.append({**plain, **lists, "record": plain})
    check_there_and_back(client, values)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(some_row(), min_size=1, max_size=2))
def test_any_values_come_back(client, values):
    check_there_and_back(client, values)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.fixed_dictionaries({kind: drawn(kind) for kind in ANY}))
def test_any_parameters_come_back(client, values):
    written = values["DATETIME"]
    if written and written.year < 1000:  # the client writes such a year without its zeros
        values = {**values, "DATETIME": written.replace(year=2024)}
    parameters = [
        bigquery.ScalarQueryParameter(kind.lower(), kind, value) for kind, value in values.items()
    ]
    parameters += [
        bigquery.ArrayQueryParameter(f"{kind.lower()}_list", kind, [] if value is None else [value])
        for kind, value in values.items()
    ]
    text = ", ".join(f"@{one.name} AS {one.name}" for one in parameters)
    config = bigquery.QueryJobConfig(query_parameters=parameters)
    [found] = client.query_and_wait(f"SELECT {text}", job_config=config)
    for kind, value in values.items():
        assert same(found[kind.lower()], value), (kind, found[kind.lower()], value)
        assert same(found[f"{kind.lower()}_list"], [] if value is None else [value])


def test_values_that_sql_writes_are_those_that_are_loaded(client):
    rows(client, "CREATE OR REPLACE TABLE d.copied AS SELECT * FROM d.values")
    rows(client, "INSERT INTO d.copied SELECT * FROM d.values")
    shown = [
        json.dumps([sent(value) for value in row.values()])
        for table in ("values", "copied")
        for row in client.list_rows(f"d.{table}")
    ]
    assert len(shown) % 3 == 0 and len({*shown}) <= len(shown) // 3
