"""CSV comes back as it went, for this kit, for pandas, and from a spreadsheet."""

import base64
import datetime as dt
import io
import json
import math
import random
import shutil
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domostats.errors import DestinationError, SettingsError
from domostats.loading.csv_writing import write_csv
from domostats.loading.files import read_file, write_file

UTC = dt.timezone.utc
FIRST, LAST = dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999_999)

TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.sampled_from(
        ["", "NA", "null", "NULL", "None", "nan", "007", "7", "1.0", "1e5", "true", "false", "inf"]
        + ["-", "'", "''=1", "'=1", "=1+1", "+1", "-1", "@x", "\t", "\r", "\n", "\r\n", '"', '""']
        + [",", " a", "a ", " ", "\x00", "\ufeff", "\ufeffa", "é", "\U0001f600", "2024-05-01"]
        + ["2024-05-01T09:30:00.000000Z", "#N/A", "\u2028", "＝1", "\\", "a\x00b", ";", "a,b\nc"]
    ),
)
KINDS = {
    "text": (pa.string(), TEXTS),
    "whole": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "number": (pa.float64(), st.floats()),
    "truth": (pa.bool_(), st.booleans()),
    "day": (pa.date32(), st.dates()),
    "moment": (
        pa.timestamp("us", "UTC"),
        st.datetimes(timezones=st.just(UTC)),
    ),
    "local": (pa.timestamp("us"), st.datetimes()),
    "paris": (pa.timestamp("ms", "Europe/Paris"), st.just(dt.datetime(2024, 5, 1, tzinfo=UTC))),
    "small": (pa.int16(), st.integers(-(2**15), 2**15 - 1)),
    "large": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "single": (pa.float32(), st.floats(width=32)),
    "exact": (pa.decimal128(12, 3), st.decimals(-1000, 1000, places=3)),
    "clock": (pa.time64("us"), st.times()),
    "length": (pa.duration("us"), st.timedeltas(dt.timedelta(-10_000), dt.timedelta(10_000))),
    "bytes": (pa.binary(), st.binary(max_size=5)),
    "list": (pa.list_(pa.int64()), st.lists(st.one_of(st.none(), st.integers(-9, 9)), max_size=3)),
    "object": (
        pa.struct([("a", pa.int64()), ("b", pa.string())]),
        st.fixed_dictionaries({"a": st.integers(-9, 9), "b": TEXTS}),
    ),
    "choice": (pa.dictionary(pa.int8(), pa.string()), st.sampled_from(["x", "007", ""])),
    "nothing": (pa.null(), st.none()),
}
NAMES = TEXTS


@st.composite
def tables(draw):
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique_by=str.lower))
    rows = draw(st.integers(0, 5))
    columns = []
    for _ in names:
        type, values = KINDS[draw(st.sampled_from(sorted(KINDS)))]
        column = draw(st.lists(st.one_of(st.none(), values), min_size=rows, max_size=rows))
        columns.append(pa.array(column, type))
    return pa.table(columns, names=names)


def plain(table):
    "The values of a table, where what is no number equals itself."
    return [[_known(value) for value in column.to_pylist()] for column in table.columns]


def _known(value):
    if isinstance(value, float) and math.isnan(value):
        return "no number"
    if isinstance(value, float):
        return value, math.copysign(1, value)
    return value


def check(table, path, **how):
    assert write_file(table, path, **how) == table.num_rows
    back = read_file(path)
    assert back.column_names == table.column_names
    assert back.schema.types == table.schema.types
    assert plain(back) == plain(table)


quick = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@quick
@given(tables(), st.booleans())
def test_what_was_written_is_what_is_read(table, excel):
    check(table, Path("a.csv"), excel=excel)


@quick
@given(tables())
def test_parquet_too(table):
    check(table, Path("a.parquet"))


@quick
@given(st.lists(st.one_of(st.none(), TEXTS), min_size=1, max_size=5), st.booleans())
def test_a_text_needs_no_note(texts, excel):
    "The file alone says which values are text, nothing, or empty."
    table = pa.table({"n": pa.array(range(len(texts))), "t": pa.array(texts, pa.string())})
    write_file(table, "a.csv", excel=excel)
    assert Path("a.csv.domostats.json").exists() == (table["t"].null_count == len(texts))
    Path("a.csv.domostats.json").unlink(missing_ok=True)
    back = read_file("a.csv")
    assert back["t"].to_pylist() == texts and back["t"].type == pa.string()
    assert back["n"].to_pylist() == list(range(len(texts)))


@pytest.mark.parametrize(
    "values",
    [
        ["007", "1"],
        ["7", "8"],
        ["NA", "", None],
        ["null", "NULL", "nan", None],
        ["true", "false"],
        ["2024-05-01"],
        ["2024-05-01T09:30:00.000000Z"],
        ["1e5", "inf"],
        [None, None, "5"],
        [2**63 - 1, -(2**63)],
        [dt.date(1, 1, 1), dt.date(9999, 12, 31), None],
        [FIRST.replace(tzinfo=UTC), LAST.replace(tzinfo=UTC)],
        [True, None, False],
        [0.1, 1e-7, 1e300, float("inf")],
    ],
    ids=str,
)
def test_types_are_told_by_the_file_alone(values):
    table = pa.table({"a": values})
    write_file(table, "a.csv")
    assert [path.name for path in Path().iterdir()] == ["a.csv"]
    shutil.move("a.csv", "b.csv")
    assert read_file("b.csv").equals(table)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([None, None], pa.int64()),
        pa.array([None, None], pa.string()),
        pa.array([], pa.timestamp("us", "UTC")),
        pa.array([1.0, 2.0]),
        pa.array([FIRST, LAST]),
        pa.array([1, 2], pa.int8()),
        pa.array([None, None]),
    ],
    ids=lambda column: f"{column.type} {len(column)}",
)
def test_what_the_file_cannot_say_is_in_the_note(column):
    table = pa.table({"a": column})
    check(table, Path("a.csv"))
    note = json.loads(Path("a.csv.domostats.json").read_text())
    assert note["types"] == {"a": str(column.type)} and "coverage" not in note
    check(pa.table({"a": [1]}), Path("a.csv"))
    assert not Path("a.csv.domostats.json").exists()


def test_a_note_about_another_file_means_nothing():
    write_file(pa.table({"a": pa.array([1, 2], pa.int8())}), "a.csv")
    Path("a.csv").write_text('"a"\n"007"\n')
    assert read_file("a.csv").to_pydict() == {"a": ["007"]}


@pytest.mark.parametrize("schema", ["", "no base 64", base64.b64encode(b"no schema").decode(), 7])
def test_a_note_that_is_damaged_means_nothing(schema):
    write_file(pa.table({"a": pa.array([1, 2], pa.int8())}), "a.csv")
    path = Path("a.csv.domostats.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": schema}))
    assert read_file("a.csv").to_pydict() == {"a": [1, 2]}


def test_a_note_that_is_nested_too_deep_means_nothing():
    write_file(pa.table({"a": [1, 2]}), "a.csv")
    Path("a.csv.domostats.json").write_text("[" * 100_000)
    assert read_file("a.csv").to_pydict() == {"a": [1, 2]}
    write_file(pa.table({"a": [3]}), "a.csv")
    assert read_file("a.csv").to_pydict() == {"a": [3]}


def test_rows_of_nothing_in_one_column_are_counted():
    check(pa.table({"a": pa.array([None, "x", None, "", None])}), Path("a.csv"))
    assert Path("a.csv").read_bytes() == b'"a"\n\n"x"\n\n""\n\n'


@pytest.mark.parametrize("size", [2_000_000, 5_000_000])
def test_a_long_text_is_a_text(size):
    check(pa.table({"a": ["x" * size, "y"], "b": [1, 2]}), Path("a.csv"))


def test_many_rows_are_the_same_rows():
    chance = random.Random(7)
    n = 250_000
    table = pa.table(
        {
            "id": pa.array(range(n)),
            "code": [f"{chance.randrange(1000):03}" for _ in range(n)],
            "ratio": [chance.random() if n % 7 else None for n in range(n)],
            "late": pa.array([None] * (n - 1) + ["5"], pa.string()),
        }
    )
    write_file(table, "a.csv")
    assert read_file("a.csv").combine_chunks().equals(table)


FOREIGN = {
    "id,code,name,on\n1,007,a b,2024-05-01\n2,12,,2024-05-02\n": {
        "id": [1, 2],
        "code": ["007", "12"],
        "name": ["a b", None],
        "on": [dt.date(2024, 5, 1), dt.date(2024, 5, 2)],
    },
    "a,b\r\n1.50,TRUE\r\n2,x\r\n": {"a": [1.5, 2.0], "b": ["TRUE", "x"]},
    'a,b\n"1","x,\ny"\n"2",\n': {"a": ["1", "2"], "b": ["x,\ny", None]},
    "a\n9999999999999999999999\n": {"a": ["9999999999999999999999"]},
    "a,b\n2024-02-31,2024-05-01 09:30:00\n": {
        "a": ["2024-02-31"],
        "b": [dt.datetime(2024, 5, 1, 9, 30)],
    },
    "a,b\n\n1,2\n": {"a": [1], "b": [2]},
    "\ufeffa,b\n1,2\n": {"a": [1], "b": [2]},
    "a,b\n-0,+1\n": {"a": [-0.0], "b": ["+1"]},
}


@pytest.mark.parametrize("text", FOREIGN)
def test_files_of_others(text):
    Path("a.csv").write_bytes(text.encode())
    assert read_file("a.csv").to_pydict() == FOREIGN[text]


@pytest.mark.parametrize("content", [b"", b'"a"\n"x\n', b"a,b\n1\n", b'"a"\n"\xff"\n'])
def test_what_is_no_csv_is_an_error_of_ours(content):
    Path("a.csv").write_bytes(content)
    try:
        read_file("a.csv")
    except DestinationError as e:
        assert e.reason == "not_read" and "a.csv" in str(e)


def test_a_folder_is_no_file():
    Path("a.csv").mkdir()
    with pytest.raises(DestinationError) as told:
        read_file("a.csv")
    assert told.value.reason == "not_read"


def test_a_folder_that_looks_like_a_partition_makes_no_column():
    Path("year=2024").mkdir()
    check(pa.table({"a": [1]}), Path("year=2024/a.parquet"))


def test_other_programs_read_the_same():
    table = pa.table(
        {
            "id": [1, None, 3],
            "code": ["007", "", None],
            "at": pa.array(
                [FIRST.replace(year=2024, tzinfo=UTC), None, None], pa.timestamp("us", "UTC")
            ),
            "on": [dt.date(2024, 5, 1), None, dt.date(2024, 5, 3)],
        }
    )
    write_file(table, "a.csv")
    rows = duckdb.sql("SELECT id, code FROM read_csv('a.csv', all_varchar = true)").fetchall()
    assert [row[0] for row in rows] == ["1", None, "3"] and rows[0][1] == "007"
    frame = pd.read_csv(
        "a.csv",
        dtype={"id": "Int64", "code": "string"},
        parse_dates=["at", "on"],
        keep_default_na=False,
        na_values={"id": "", "at": "", "on": ""},
    )
    assert frame["code"].tolist() == ["007", "", ""] and frame["id"].tolist() == [1, pd.NA, 3]
    assert frame["at"][0] == pd.Timestamp("2024-01-01", tz="UTC")
    assert frame["on"][2] == pd.Timestamp("2024-05-03")


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'=1", "''=1", "＝1"]
HARMLESS = ["a=1", "'a", "1", "", " =1", None]


def test_for_a_spreadsheet():
    table = pa.table({"=name": pa.array(FORMULAS + HARMLESS), "n": pa.array(range(-8, 8))})
    write_file(table, "a.csv", excel=True)
    content = Path("a.csv").read_bytes()
    assert content.startswith(b'\xef\xbb\xbf"\'=name","n"\n')
    frame = pd.read_csv("a.csv", encoding="utf-8-sig", keep_default_na=False)
    assert frame["'=name"].tolist()[: len(FORMULAS)] == ["'" + text for text in FORMULAS]
    assert frame["'=name"].tolist()[len(FORMULAS) :] == ["a=1", "'a", "1", "", " =1", ""]
    assert frame["n"].tolist() == list(range(-8, 8))
    assert read_file("a.csv").equals(table)


def test_by_default_data_stays_data():
    table = pa.table({"name": pa.array(FORMULAS + HARMLESS), "n": pa.array(range(16))})
    write_file(table, "a.csv")
    content = Path("a.csv").read_bytes()
    assert not content.startswith(b"\xef\xbb\xbf") and b'"=1+1",0\n' in content
    assert read_file("a.csv").equals(table)


def test_a_stream_for_a_spreadsheet():
    file = io.BytesIO()
    assert write_csv(pa.table({"a": ["=1", "é"]}), file, excel=True) == 2
    assert file.getvalue() == '\ufeff"a"\n"\'=1"\n"é"\n'.encode()


def test_excel_is_for_csv():
    with pytest.raises(SettingsError) as told:
        write_file(pa.table({"a": [1]}), "a.parquet", excel=True)
    assert told.value.reason == "bad_destination" and not Path("a.parquet").exists()


@pytest.mark.parametrize("excel", [True, False])
def test_rows_of_other_instances_stay_as_they_are(excel):
    from domostats.loading.coverage import Coverage
    from domostats.loading.parts import Part

    def rows(instance, texts, numbers):
        table = pa.table({"instance": [instance] * len(texts), "=t": texts, "n": numbers})
        return table.replace_schema_metadata(
            {"domostats": Coverage({("", instance): Part()}, True, "accounts").to_json()}
        )

    write_file(rows("acme", ["=1", "007"], [1, 2]), "a.csv", excel=excel)
    write_file(rows("beta", ["'=2", ""], [3, None]), "a.csv", excel=excel)
    back = read_file("a.csv").to_pydict()
    assert sorted(zip(back["instance"], back["=t"], strict=True)) == [
        ("acme", "007"),
        ("acme", "=1"),
        ("beta", ""),
        ("beta", "'=2"),
    ]
    before = Path("a.csv").read_bytes()
    with pytest.raises(DestinationError, match="Excel") as told:
        write_file(rows("beta", ["x"], [4]), "a.csv", excel=not excel)
    assert told.value.reason == "other_columns" and Path("a.csv").read_bytes() == before


def command(*args):
    "The exit code of a command, and what it prints."
    from typer.testing import CliRunner

    from domostats.interfaces.cli import app

    done = CliRunner().invoke(app, [*args])
    return done.exit_code, done.output


def test_commands_write_for_a_spreadsheet(box):
    asked = "generate", "accounts", "--instance", box.name
    assert command(*asked, "--to", "a.csv", "--excel")[0] == 0
    assert command(*asked, "--to", "b.csv")[0] == 0
    assert Path("a.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    assert not Path("b.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    assert read_file("a.csv").to_pylist() == read_file("b.csv").to_pylist() != []
    calls = len(box.calls)
    for place in ("a.parquet", "accounts"):
        code, said = command(*asked, "--to", place, "--excel")
        assert code == 2 and "--excel" in said
    assert len(box.calls) == calls


def test_what_is_nested_too_deep_for_a_cell_is_told():
    deep = 1
    for _ in range(2000):
        deep = [deep]
    try:
        write_file(pa.table({"a": pa.array([deep])}), "a.csv")
    except DestinationError as error:
        assert error.reason == "column_type" and not Path("a.csv").exists()
    else:  # the newest Python can write it
        assert "[" * 2000 in Path("a.csv").read_text()
