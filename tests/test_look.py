"""The commands that look, as a terminal, a pipe and a script meet them."""

import base64
import csv
import errno
import io
import json
import math
import os
import re
import shlex
import subprocess
import sys
from contextlib import closing
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import commands
import duckdb
import pyarrow as pa
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.main import get_command

from domostats.errors import DestinationError, SettingsError
from domostats.interfaces.answers import answer_sql
from domostats.interfaces.app import CODES
from domostats.interfaces.cli import GROUPS, app
from domostats.interfaces.formats import answer_rows, json_lines
from domostats.interfaces.output import table_lines, text_width
from domostats.interfaces.store_looks import describe_columns, describe_datasets
from domostats.loading.coverage import Coverage, mark_rows
from domostats.loading.files import read_file, write_file
from domostats.loading.parts import Part
from domostats.loading.store import Store

WIDE = "\N{CJK UNIFIED IDEOGRAPH-65E5}\N{CJK UNIFIED IDEOGRAPH-672C}"
KEY = "5f2b4c1e-8a7d-4c55-9f10-3e1f0c2b7a99"


@pytest.fixture
def store():
    Path("settings.ini").write_text("[domostats]\nstore = here.duckdb\n")
    store = Store("here.duckdb")
    names = [f"Ada {n}" for n in range(50)]
    users = pa.table({"id": range(50), "key": [KEY] * 50, "name": [WIDE, None, *names[2:]]})
    store.write("users", users)
    return store


def run(*words, columns=""):
    "Run a command in a pipe; gives its exit code, what it printed, and what it said besides."
    return commands.run(*words, environment={"COLUMNS": str(columns)})


# --- tables ---------------------------------------------------------------------------------------

words = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=30)
cells = st.lists(words, max_size=5).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 6).flatmap(
        lambda n: st.tuples(
            st.lists(words, min_size=n, max_size=n),
            st.lists(st.lists(cells, min_size=n, max_size=n), max_size=4),
        )
    ),
    st.sampled_from([None, 1, 20, 60, 80, 200]),
)
def test_no_word_is_cut_or_wrapped_and_no_line_is_longer_than_need_be(table, width):
    columns, rows = table
    lines = [*table_lines("a title", columns, rows, width)]
    found = {word for line in lines for word in line.split(" ")}
    wanted = [word for row in rows for cell in row for word in cell.split(" ")]
    shown = "".join(
        one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in "".join(columns)
    )
    assert {word for word in wanted if word} <= found
    assert all(sign in "".join(lines) for sign in shown)
    longest = max([text_width(word) for word in wanted] or [0]) + max(map(text_width, columns)) + 2
    heading = max(len(f"a title (row {n} of {len(rows)})") for n in (1, len(rows)))
    if width and rows:
        assert all(text_width(line) <= max(width, longest, heading) for line in lines)


def in_terminal(columns, *lines):
    "What commands print in a terminal of so many columns, and the exit code of the last."
    import fcntl
    import pty
    import struct
    import termios

    program = (
        "import shlex, sys\nfrom domostats.interfaces import cli\n"
        "for line in sys.argv[1:]:\n"
        "    sys.argv = ['domostats', *shlex.split(line)]\n"
        "    try: cli.main()\n    except SystemExit as e: code = e.code\nsys.exit(code)"
    )
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    command = [sys.executable, "-c", program, *lines]
    child = subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE, env=environment)
    os.close(theirs)
    said = b""
    try:
        while part := os.read(ours, 1 << 16):
            said += part
    except OSError as e:  # Linux says so at the end
        assert e.errno == errno.EIO
    os.close(ours)
    assert not child.communicate(timeout=120)[1].count(b"Traceback")
    text = re.sub(r"\x1b\[[0-9;]*m", "", said.decode())
    return text.replace("\r\n", "\n"), child.returncode


LOOKS = (
    "datasets",
    "rows users --limit 3",
    'query "SELECT *, key AS other FROM users LIMIT 2"',
    "schema users",
)


@pytest.mark.skipif(sys.platform == "win32", reason="only where there are terminals of this kind")
@pytest.mark.parametrize("columns", [60, 80, 200])
def test_in_a_terminal_every_line_fits_and_every_id_is_whole(columns, store):
    printed, code = in_terminal(columns, *LOOKS)
    assert code == 0 and printed.count(KEY) == 3 + 2 * 2, printed
    assert WIDE in printed and "BIGINT" in printed and "users" in printed
    assert max(map(text_width, printed.splitlines())) <= columns


@pytest.mark.parametrize("columns", ["", 60, 80, 200])
def test_in_a_pipe_a_row_is_a_line_unless_somebody_sets_columns(columns, store):
    for line in LOOKS:
        code, printed, _ = run(*shlex.split(line), columns=columns)
        lines = printed.splitlines()
        assert code == 0 and max(map(text_width, lines)) <= (columns or 1000)
        if "key" in line:
            assert printed.count(KEY) == 4
            is_one_line = sum(one.count(KEY) == 2 for one in lines) == 2
            assert is_one_line == (columns in ("", 200))


def test_a_number_stands_to_the_right_and_a_sign_commands_no_terminal(store):
    store.write("odd", pa.table({"n": [5, 12], "t": ["\x1b[2J", "\x9b2J"]}))
    code, printed, _ = run("rows", "odd")
    assert code == 0 and "\x1b" not in printed and "\x9b" not in printed
    assert [line[:2] for line in printed.splitlines()[3:5]] == [" 5", "12"]


# --- JSON and CSV ---------------------------------------------------------------------------------

KINDS = {
    "whole": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "real": (pa.float64(), st.floats()),
    "sum": (pa.decimal128(38, 4), st.decimals(-(10**20), 10**20, places=4)),
    "text": (pa.string(), st.text()),
    "raw": (pa.binary(), st.binary(max_size=20)),
    "is": (pa.bool_(), st.booleans()),
    "day": (pa.date32(), st.dates()),
    "at": (pa.timestamp("us"), st.datetimes()),
    "time": (pa.time64("us"), st.times()),
    "some": (pa.list_(pa.float64()), st.lists(st.floats(), max_size=3)),
    "inner": (
        pa.struct([("day", pa.date32()), ("sum", pa.decimal128(9, 2)), ("raw", pa.binary())]),
        st.fixed_dictionaries(
            {
                "day": st.none() | st.dates(),
                "sum": st.decimals(-1000, 1000, places=2),
                "raw": st.binary(max_size=3),
            }
        ),
    ),
    "pairs": (
        pa.map_(pa.string(), pa.timestamp("us")),
        st.dictionaries(st.text(max_size=3), st.datetimes(), max_size=2),
    ),
}
rows = st.lists(
    st.fixed_dictionaries({name: st.none() | values for name, (_, values) in KINDS.items()}),
    max_size=4,
)


def as_json_has_it(value):
    "A value as this page promises it in JSON."
    if isinstance(value, bool) or value is None or isinstance(value, (int, Decimal)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else f"{'-' if value < 0 else ''}Infinity"
    if isinstance(value, bytes):
        return {"$base64": True, "encoded": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        return value
    if isinstance(value, (date, time)):
        return value
    if isinstance(value, list):
        return [as_json_has_it(one) for one in value]
    if isinstance(value, dict):
        return {name: as_json_has_it(one) for name, one in value.items()}
    return value


def is_same(told, value):
    "Whether a value of JSON tells this value, all of it."
    if isinstance(value, dict) and "$base64" not in value:
        return told.keys() == value.keys() and all(is_same(told[k], value[k]) for k in value)
    if isinstance(value, list):
        return len(told) == len(value) and all(map(is_same, told, value))
    if isinstance(value, (date, time)):
        # Python 3.10 reads three or six digits of a second, and no other number of them
        whole = re.sub(r"(?<=\.)\d+", lambda digits: digits[0].ljust(6, "0"), told)
        return type(value).fromisoformat(whole) == value
    if isinstance(value, float):
        return float(told) == value
    if isinstance(value, Decimal):
        return Decimal(told) == value
    return told == value and type(told) is type(value)


@pytest.fixture(scope="module")
def scratch_store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("json") / "store.duckdb")


@settings(max_examples=20, deadline=None)
@given(rows)
def test_json_has_the_values_that_the_store_has(scratch_store, made):
    schema = pa.schema([(name, kind) for name, (kind, _) in KINDS.items()])
    listed = [row | {"pairs": row["pairs"] and [*row["pairs"].items()]} for row in made]
    listed = [row | {"pairs": [] if row["pairs"] == {} else row["pairs"]} for row in listed]
    scratch_store.write("odd", pa.Table.from_pylist(listed, schema))
    with answer_sql("SELECT * FROM odd", store=scratch_store) as answer:
        printed = b"".join(json_lines(answer_rows(answer))).decode()
    told = json.loads(printed, parse_float=Decimal, parse_constant=lambda word: 1 / 0)
    assert len(told) == len(made) and printed.count("\n") == max(len(made), 1)
    for row, wanted in zip(told, made, strict=True):
        for name in KINDS:
            assert is_same(row[name], as_json_has_it(wanted[name])), (name, row[name], wanted[name])


def test_what_arrow_cannot_hold_is_told_in_full():
    query = """
        SELECT
            (2::HUGEINT ** 64)::HUGEINT * 3 AS large,
            340282366920938463463374607431768211455::UHUGEINT AS largest,
            'infinity'::TIMESTAMP AS late, '-infinity'::TIMESTAMPTZ AS early,
            'infinity'::DATE AS never,
            TIMESTAMP_NS '2020-01-01 00:00:00.123456789' AS fine, '101'::BIT AS bits,
            '10:00:00+02'::TIMETZ AS zoned, INTERVAL 3 DAYS AS span, 1 AS a, 2 AS a,
            TIMESTAMPTZ '2020-01-01 10:00:00+02' AS utc
    """
    with answer_sql(query) as answer:
        (row,) = json.loads(b"".join(json_lines(answer_rows(answer))))
    assert row == {
        "large": 3 * 2**64,
        "largest": 2**128 - 1,
        "late": "infinity",
        "early": "-infinity",
        "never": "infinity",
        "fine": "2020-01-01T00:00:00.123456789",
        "bits": "101",
        "zoned": "10:00:00+02",
        "span": "3 days",
        "a": 1,
        "a_2": 2,
        "utc": "2020-01-01T08:00:00+00:00",
    }
    for wrong in ("'infinity'::TIMESTAMP", "340282366920938463463374607431768211455::UHUGEINT"):
        with pytest.raises(SettingsError, match="infinite|cast"):
            with answer_sql(f"SELECT {wrong} AS x", as_values=True):
                pass


def test_the_three_formats_and_the_order_of_a_query(store):
    query = "SELECT id, name FROM users ORDER BY id DESC;  -- all of them"
    code, printed, said = run("query", query, "--json")
    told = json.loads(printed)
    assert code == 0 and said == "" and [row["id"] for row in told] == [*range(49, -1, -1)]
    assert told[-2:] == [{"id": 1, "name": None}, {"id": 0, "name": WIDE}]
    code, printed, _ = run("query", query, "--csv")
    assert code == 0 and [*csv.reader(io.StringIO(printed))][-1] == ["0", WIDE]
    Path("back.csv").write_text(printed)
    assert read_file("back.csv").to_pylist() == told
    code, printed, said = run("rows", "users")
    assert (
        code == 0 and printed.count(KEY) == 20 and "first 20 rows" in printed and "--limit" in said
    )
    assert run("rows", "users", "--quiet")[2] == ""
    assert run("rows", "users", "--json", "--csv")[0] == 2
    code, printed, said = run("rows", "users", "--where", "id > 1000", "--json")
    assert (code, printed) == (0, "[]\n")


def test_files_are_read_as_everywhere_in_the_kit(store):
    odd = Path("a [1]*.parquet")
    write_file(pa.table({"id": [1, 2], "code": ["007", "8"]}), odd)
    write_file(pa.table({"code": ["007"], "visits": [3]}), "visits.csv")
    query = f"SELECT * FROM '{odd}' JOIN 'visits.csv' USING (code) JOIN users USING (id)"
    code, printed, said = run("query", query, "--json")
    assert code == 0 and said == "", said
    assert json.loads(printed) == [{"id": 1, "code": "007", "visits": 3, "key": KEY, "name": None}]
    spans = pa.table({"span": pa.array([timedelta(seconds=90)], pa.duration("us"))})
    write_file(spans, "spans.parquet")
    assert json.loads(run("rows", "spans.parquet", "--json")[1]) == [{"span": "00:01:30"}]
    folder = Path("a=1")
    folder.mkdir()
    write_file(pa.table({"b": [2]}), folder / "x.parquet")
    assert json.loads(run("rows", "a=1/x.parquet", "--json")[1]) == [{"b": 2}]


def test_files_of_json_are_tables_too(store, monkeypatch):
    rows = [{"id": 1, "name": WIDE, "tags": ["a"]}, {"id": 2, "name": None, "extra": 1.5}]
    Path("some.json").write_text(json.dumps(rows))
    Path("lines.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    whole = [{"id": 1, "name": WIDE, "tags": ["a"], "extra": None}]
    whole += [{"id": 2, "name": None, "tags": None, "extra": 1.5}]
    for name in ("some.json", "lines.jsonl"):
        code, printed, said = run("rows", name, "--json")
        assert (code, said) == (0, "") and json.loads(printed) == whole
        assert [one["column"] for one in json.loads(run("schema", name, "--json")[1])] == [
            *whole[0]
        ]
    query = "SELECT users.key FROM 'some.json' JOIN users USING (id)"
    assert json.loads(run("query", query, "--json")[1]) == [{"key": KEY}] * 2
    Path("many.json").write_text(json.dumps([{"id": n} for n in range(30_000)] + [{"id": "x"}]))
    Path("cut.json").write_text('[{"id": 1}, {"id"')
    for name in ("many.json", "cut.json", "nothing.json"):
        code, printed, said = run("rows", name)
        assert code in (2, 6) and printed == "" and name in said and "Traceback" not in said, said


# --- what is there --------------------------------------------------------------------------------


def test_datasets_says_what_is_missing_and_since_when(store):
    part = Part(False, ("A page did not come.",))
    rows_of = pa.table({"instance": ["acme"], "id": [1]})
    coverage = Coverage({("", "acme"): part}, True, "users")
    store.write("half", mark_rows(rows_of, coverage))
    before = datetime.fromisoformat(describe_datasets(store)[0]["written at (UTC)"])
    code, printed, _ = run("datasets", "--json")
    half, users = json.loads(printed)
    assert code == 0 and (users["rows"], users["columns"], users["complete"]) == (50, 3, True)
    assert half["instance"] == ["acme"] and half["missing"] == ["A page did not come."]
    assert not half["complete"] and datetime.fromisoformat(half["written at (UTC)"]) == before
    code, printed, said = run("datasets")
    assert code == 0 and "half: A page did not come." in said
    assert [line.split()[-1] for line in printed.splitlines() if line[:4] == "half"] == ["no"]
    code, printed, _ = run("datasets", "--csv")
    assert [line[0] for line in csv.reader(io.StringIO(printed))] == ["dataset", "half", "users"]


def test_to_look_makes_no_store():
    Path("settings.ini").write_text("[domostats]\nstore = none.duckdb\n")
    assert run("datasets") == (0, f"no dataset yet in {Path('none.duckdb').resolve()}\n", "")
    assert json.loads(run("datasets", "--json")[1]) == []
    code, _, said = run("rows", "users")
    assert code == 2 and "none yet" in said and not Path("none.duckdb").exists()


def test_a_column_knows_what_it_is_made_from(store, box):
    assert run("generate", "users", "--instance", box.name, "--to", "people")[0] == 0
    assert run("generate", "users", "--instance", box.name, "--to", "people.parquet")[0] == 0
    for name in ("people", "people.parquet"):
        described = {row["column"]: row for row in describe_columns(name, store)}
        assert described["Email"]["description"] and described["Email"]["nulls"] == 0, name
    with store.open() as con:
        con.execute("COMMENT ON COLUMN datasets.users.name IS 'as she is called'")
    code, printed, _ = run("schema", "users", "--json")
    assert code == 0 and json.loads(printed)[2] == {
        "column": "name",
        "type": "VARCHAR",
        "nulls": 1,
        "description": "as she is called",
    }


# --- what is refused ------------------------------------------------------------------------------

SECRET = "nobody may read this"
REFUSED = [
    "SELECT * FROM read_text('secret.txt')",
    "SELECT * FROM read_blob('secret.txt')",
    "SELECT * FROM read_csv('secret.csv')",
    "SELECT * FROM read_parquet('*.parquet')",
    "SELECT * FROM read_json('secret.txt')",
    "SELECT * FROM glob('*')",
    "SELECT * FROM sniff_csv('secret.csv')",
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM query_table('users')",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM (SELECT 1), LATERAL (SELECT * FROM read_text('secret.txt'))",
    "SELECT (SELECT content FROM read_text('secret.txt'))",
    "WITH x AS (FROM read_text('secret.txt')) FROM x",
    "SELECT * FROM 'secret.txt'",
    "SELECT * FROM 'https://example.invalid/x.parquet'",
    "SELECT * FROM 's3://bucket/x.parquet'",
    "SELECT * FROM '*.parquet'",
    "COPY users TO 'stolen.csv'",
    "COPY (SELECT 1) TO 'stolen.csv'",
    "EXPORT DATABASE 'stolen'",
    "ATTACH 'stolen.duckdb'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "PRAGMA database_list",
    "CALL enable_logging()",
    "CREATE TABLE stolen AS SELECT 1",
    "DROP TABLE users",
    "DELETE FROM users",
    "INSERT INTO users SELECT * FROM users",
    "UPDATE users SET id = 1",
    "EXPLAIN ANALYZE DELETE FROM users",
    "SELECT 1; DROP TABLE users",
    "SELECT * FROM datasets.users",
    "SELECT * FROM kit.loads",
    "SELECT * FROM information_schema.tables",
    "SHOW TABLES",
    "SELEC 1",
    "",
    "SELECT nothing FROM users",
    "SELECT error('no')",
]


@pytest.mark.parametrize("sql", REFUSED)
def test_a_query_reads_what_it_names_and_nothing_else(sql, store):
    for name in ("secret.txt", "secret.csv"):
        Path(name).write_text(SECRET)
    before = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    with pytest.raises(SettingsError) as caught:
        with answer_sql(sql, store=store) as answer:
            print([*answer.batches()])
    assert caught.value.reason in ("bad_query", "no_file", "no_dataset", "bad_destination")
    assert SECRET not in str(caught.value)
    after = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    assert after.keys() == before.keys() and store.read("users").num_rows == 50


def test_a_condition_is_no_way_round(store):
    Path("secret.txt").write_text(SECRET)
    way = "1 = 1) UNION ALL SELECT 1, content, '' FROM read_text('secret.txt') --"
    code, printed, said = run("rows", "users", "--where", way)
    assert code == 2 and SECRET not in printed + said


@pytest.mark.parametrize(
    "line, said",
    [
        ("rows userz", "Did you mean 'users'?"),
        ("schema userz", "Did you mean 'users'?"),
        ("rows users --columns id,nam", "Did you mean 'name'?"),
        ("rows visit.csv", "Did you mean 'visits.csv'?"),
        ("rows ./users.txt", "neither .parquet nor .csv"),
        ('query "SELECT nam FROM users"', 'Candidate bindings: "name"'),
        ('query "SELECT * FROM userz"', "Did you mean 'users'?"),
        ('rows users --where "id = "', "syntax error"),
        ("rows users --limit -1", "--limit"),
    ],
)
def test_a_wrong_word_is_wrong_usage_with_near_names(line, said, store):
    Path("visits.csv").write_text("id\n1\n")
    code, printed, told = run(*shlex.split(line))
    assert code == 2 and printed == "" and said in told and "Traceback" not in told, told


def test_a_store_that_another_program_writes_is_busy_and_files_are_not(store):
    write_file(pa.table({"id": [1]}), "one.parquet")
    program = (
        "import duckdb, sys; con = duckdb.connect('here.duckdb'); print(1, flush=True); input()"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        impatient = Store("here.duckdb", wait=0.1)
        with pytest.raises(DestinationError, match=f"process {other.pid}") as caught:
            with answer_sql("FROM users", store=impatient):
                pass
        assert caught.value.reason == "busy"
        with answer_sql("FROM 'one.parquet'", store=impatient) as answer:
            assert answer.count == 1
        other.communicate(b"\n", timeout=60)


def test_whoever_reads_slowly_keeps_nobody_from_the_store(store):
    with answer_sql("FROM users", store=store) as answer:
        store.write("users", pa.table({"id": [1]}))
        with closing(duckdb.connect("here.duckdb", read_only=True)):
            assert sum(batch.num_rows for batch in answer.batches()) == 50


def test_lines_of_json_are_a_row_each_and_nothing_else(store):
    code, printed, _ = run("rows", "users", "-c", "id,name", "--nl")
    told = [json.loads(line) for line in printed.splitlines()]
    assert code == 0 and told == json.loads(run("rows", "users", "-c", "id,name", "--json")[1])
    assert [*told[0]] == ["id", "name"] and len(told) == 50
    assert run("rows", "users", "--nl", "--json")[1] == run("rows", "users", "--nl")[1]
    assert run("rows", "users", "--where", "id > 1000", "--nl")[:2] == (0, "")
    assert run("rows", "users", "--nl", "--csv")[0] == 2


ODD_VALUES = "O'Neil", "'; DROP TABLE users; --", "$least", "ä\U0001f600", "", "a=b", "-1"


@pytest.mark.parametrize("value", ODD_VALUES)
def test_a_value_of_a_query_is_a_value_whatever_it_looks_like(store, value):
    query = "SELECT $name AS name, '$name' AS kept, 1 AS \"$name\" -- $other"
    code, printed, said = run("query", query, "-p", f"name={value}", "--json")
    assert (code, said) == (0, "")
    assert json.loads(printed) == [{"name": value, "kept": "$name", "$name": 1}]
    assert store.names() == ["users"]


def test_a_value_is_read_as_what_it_is_compared_with(store):
    query = "SELECT id FROM users WHERE id >= $least AND id <= $most"
    code, printed, _ = run("query", query, "-p", "least=47", "--param", "most=48", "--nl")
    assert (code, printed) == (0, '{"id":47}\n{"id":48}\n')
    for wrong, words in (
        (["-p", "least=47"], "no value was given for it: --param most=..."),
        (["-p", "least=4", "-p", "most=5", "-p", "mst=6"], "Did you mean 'most'?"),
        (["-p", "least"], "has no value"),
        (["-p", "least=1", "-p", "least=2"], "is given twice"),
        (["-p", "least=x", "-p", "most=5"], "'x'"),
    ):
        code, printed, said = run("query", query, *wrong)
        assert (code, printed) == (2, "") and words in said, said


@pytest.mark.parametrize("form", ["--csv", "--json", "--table"])
def test_a_pipe_that_is_closed_is_no_error(form, store):
    store.write("many", pa.table({"id": range(200_000), "key": [KEY] * 200_000}))
    more = ["--limit", "20000"] if form == "--table" else []
    command = [sys.executable, "-m", "domostats", "rows", "many", form, *more]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    child.stdout.readline()
    child.stdout.close()
    said = child.stderr.read().decode()
    child.stderr.close()
    assert child.wait(120) == 0 and said == "", said


@pytest.mark.slow
@pytest.mark.parametrize("form", ["--csv", "--json"])
def test_many_rows_take_no_more_memory_than_few(form, store):
    peaks = []
    for n in (200_000, 2_000_000):
        store.write(
            "many", pa.table({"id": range(n), "key": pa.array([KEY]).take(pa.array([0] * n))})
        )
        program = (
            "import resource, sys, os\nfrom domostats.interfaces import cli\n"
            f"sys.argv = ['domostats', 'rows', 'many', '{form}']\n"
            "try: cli.main()\nexcept SystemExit: pass\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        peaks.append(int(done.stderr.split()[-1]) / 1024)
    assert peaks[1] - peaks[0] < 150, peaks  # MB; the rows themselves are ten times as many


# --- help -----------------------------------------------------------------------------------------


COMMANDS = get_command(app)


def each_command(command=COMMANDS, words=()):
    "Every command with the words that call it."
    for name, inner in getattr(command, "commands", {}).items():
        if hasattr(inner, "commands"):
            yield from each_command(inner, (*words, name))
        else:
            yield (*words, name), inner


def parse(line):
    "The command that a line calls, once all its words are understood."
    command, rest = COMMANDS, shlex.split(line)[1:]
    rest = rest[: rest.index("|")] if "|" in rest else rest
    context = None
    while hasattr(command, "commands"):
        context = command.make_context(None, [*rest], parent=context, resilient_parsing=True)
        name, *rest = [*context._protected_args, *context.args]
        command = command.commands[name]
    command.make_context(name, rest, parent=context)
    return command


EVERY = {" ".join(words): command for words, command in each_command()}


@pytest.mark.parametrize("name", EVERY)
def test_every_command_has_an_example_that_it_understands(name, monkeypatch):
    from typer.testing import CliRunner

    examples = EVERY[name].epilog.split("\n")
    assert all(parse(line) is EVERY[name] for line in examples)
    printed = CliRunner().invoke(app, [*name.split(), "--help"]).output
    assert all(line in printed for line in examples), "no example is wrapped"
    assert CODES.split() == printed.split()[-len(CODES.split()) :]
    assert "%Y" not in printed and not re.search(r"<(str|int|float|bool|list)\b", printed)


def test_each_part_of_a_help_can_be_written_by_itself():
    group = get_command(app)
    for command in (group, EVERY["rows"]):
        context = command.make_context("x", [], resilient_parsing=True)
        writer = context.make_formatter()
        with writer.section("first"):
            writer.write_dl([("a", "b")])
        writer.write_paragraph()
        command.format_options(context, writer)
        command.format_epilog(context, writer)
        assert re.match("first:\n  a  b\n+Options", writer.getvalue()) or (
            "Arguments" in writer.getvalue() and "NAME" in command.collect_usage_pieces(context)
        )
    context = group.make_context("x", [], resilient_parsing=True)
    writer = context.make_formatter()
    group.format_commands(context, writer)
    assert writer.getvalue().startswith("Try it:\n") and "More" not in writer.getvalue()


def test_what_is_closed_takes_what_is_printed_and_says_nothing(monkeypatch, tmp_path):
    from domostats.interfaces.output import close_output

    with open(tmp_path / "out", "w") as file:
        monkeypatch.setattr(sys, "stdout", file)
        close_output()
        print("nobody reads this", flush=True)
        monkeypatch.undo()
    assert (tmp_path / "out").read_text() == ""


def test_every_command_stands_in_one_group():
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(get_command(app).commands)


def test_help_the_readme_and_the_site_name_the_same_commands():
    pytest.importorskip("sphinx")
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import reference
    finally:
        sys.path.pop(0)
    page = reference.command_list()
    for name, command in EVERY.items():
        assert f"## {name}\n" in page and command.epilog in page, name
    texts = [ROOT / "README.md", *(ROOT / "docs" / "guides").glob("*.md")]
    for path in texts:
        for block in re.findall(r"```(?:sh|bash|console)\n(.*?)```", path.read_text(), re.S):
            for line in re.split(r"\n|&&", block.replace("\\\n", " ")):
                if line.strip().startswith("domostats "):
                    assert parse(line.strip().split(" #")[0]), (path, line)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_hyphen_is_what_comes_through_a_pipe(kind, tmp_path):
    table = pa.table({"id": [1, 2, 3], "name": ["Ada", None, WIDE]})
    write_file(table, tmp_path / f"in.{kind}")
    piped = (tmp_path / f"in.{kind}").read_bytes()

    def look(*words):
        program = [sys.executable, "-m", "domostats", *words]
        done = subprocess.run(program, input=piped, capture_output=True, timeout=120)
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    assert [row["id"] for row in look("rows", "-", "--json", "--where", "id > 1")] == [2, 3]
    assert look("query", "SELECT max(name) AS last, count(*) AS n FROM '-'", "--json") == [
        {"last": WIDE, "n": 3}
    ]
    assert [row["column"] for row in look("schema", "-", "--json")] == ["id", "name"]


def test_a_hyphen_without_a_pipe_waits_for_nobody(monkeypatch):
    from domostats.interfaces import sources

    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    with pytest.raises(SettingsError, match="through a pipe") as caught:
        sources.read_input()
    assert caught.value.reason == "no_file" and sources.is_path("-")
