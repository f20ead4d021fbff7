"""What a source holds is what is read of it: every row once, in order, in types that keep it."""

import csv
import gzip
import io
import json
import re
from decimal import Decimal
from unittest import mock

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from domostats.errors import DataError, SettingsError
from domostats.loading.uploads import csv_texts
from domostats.loading.uploads.chunks import chunks_of
from domostats.loading.uploads.csv_texts import read_csv
from domostats.loading.uploads.declaring import ColumnTypes, fit_table
from domostats.loading.uploads.load_types import LoadTypes
from domostats.loading.uploads.parts import PartWriter
from domostats.loading.uploads.record import Record
from domostats.loading.uploads.row_sources import RowSource
from domostats.loading.uploads.sources import open_sources
from domostats.loading.uploads.text_types import TextType, first_odd, from_texts
from domostats.loading.uploads.transfers import Transfer

QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
NUMBERLIKE = st.one_of(
    st.integers().map(str),
    st.integers(-(2**70), 2**70).map(str),
    st.floats().map(repr),
    st.decimals(allow_nan=False, allow_infinity=False, places=2).map(str),
    st.from_regex(r"[-+]?0{0,2}[0-9]{1,18}(\.[0-9]{0,20})?([eE][-+]?[0-9]{1,3})?", fullmatch=True),
    st.sampled_from(["true", "false", "True", "NA", "nan", "inf", "", " 7", "0x1f", "1_0", "-0"]),
)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=6)
COLUMN = st.lists(st.one_of(st.none(), NUMBERLIKE, TEXT), max_size=8)


def spelled(value, text):
    "Whether a value is written like its text, as far as its column tells."
    if isinstance(value, bool):
        return text.lower() == str(value).lower()
    if isinstance(value, int):
        return text == str(value)
    return Decimal(text) == Decimal(repr(value))


@QUICK
@given(st.lists(st.lists(st.one_of(st.none(), NUMBERLIKE), max_size=4), max_size=3))
def test_numbers_that_were_converted_on_the_way_are_all_of_the_texts(batches):
    found = TextType()
    numbers = found.look(pa.chunked_array(batches, pa.string()))
    if numbers is not None:
        texts = [text for batch in batches for text in batch]
        assert [str(number) for number in numbers.to_pylist()] == texts


@pytest.mark.parametrize("block", [8, 16, 4096])
@QUICK
@given(
    rows=st.lists(st.tuples(TEXT, st.integers().map(str)), max_size=30),
    ends=st.booleans(),
    quotes=st.booleans(),
)
def test_a_file_is_read_alike_whatever_its_blocks_are(block, rows, ends, quotes):
    file = io.StringIO(newline="")
    file.write("name,n\n")
    plain = {} if quotes else {"quoting": csv.QUOTE_NONE}
    rows = rows if quotes else [(re.sub(r'[",\n]', "_", name), n) for name, n in rows]
    csv.writer(file, lineterminator="\n", **plain).writerows(rows)
    content = file.getvalue()
    content = (content if ends else content.removesuffix("\n")).encode()

    class Reading:  # no `readinto`
        def __init__(self):
            self.read = io.BytesIO(content).read

    with mock.patch.multiple(csv_texts, BLOCK=block, LINES=block):
        for opened in (io.BytesIO(content), Reading()):
            read = [tuple(row.values()) for t in read_csv(opened) for row in t.to_pylist()]
            assert [(name or "", n) for name, n in read] == rows


@QUICK
@given(st.lists(COLUMN, min_size=1, max_size=3))
def test_whatever_texts_become_they_can_be_told_from_it(batches):
    found = TextType()
    for batch in batches:
        found.look(batch)
    values, texts = [], []
    for batch in batches:
        values += from_texts(pa.chunked_array([batch], pa.string()), found.type).to_pylist()
        texts += batch
    meant = {}
    for value, text in zip(values, texts, strict=True):
        if found.type == pa.string():
            assert value == text
        elif text in (None, ""):
            assert value is None
            assert meant.setdefault(None, text) == text
        else:
            assert spelled(value, text)
            assert meant.setdefault(repr(value), text) == text  # no two texts are one value


def csv_of(rows, names):
    def field(value):
        return "" if value is None else '"' + value.replace('"', '""') + '"'

    lines = [",".join(map(field, row)) for row in [names, *rows]]
    return ("\n".join(lines) + "\n").encode()


CELL = st.one_of(st.none(), NUMBERLIKE, TEXT)
ROWS = st.lists(st.tuples(CELL, CELL), max_size=30)


@QUICK
@given(ROWS, st.integers(1, 9), st.integers(40, 2000))
def test_every_row_of_a_csv_file_is_sent_once_in_its_order(rows, most, size):
    (source,) = open_sources(io.BytesIO(csv_of(rows, ["a", "b"])))
    (planned,) = LoadTypes().plan([(source, str)])
    writer = PartWriter(source, planned.declaration)
    chunks = [*chunks_of(source.tables(), most, size)]
    sent = [tuple(row.values()) for chunk in chunks for row in writer.rows_of(chunk).to_pylist()]
    assert sent == rows
    assert [chunk.row for chunk in chunks] == [
        sum(c.table.num_rows for c in chunks[:n]) for n in range(len(chunks))
    ]
    assert all(chunk.table.num_rows <= most for chunk in chunks)
    assert all(chunk.table.nbytes <= size or chunk.table.num_rows == 1 for chunk in chunks)


@QUICK
@given(ROWS, st.integers(1, 9))
def test_all_chunks_of_a_file_have_one_schema_and_lose_nothing(rows, most):
    (source,) = open_sources(io.BytesIO(csv_of(rows, ["a", "b"])))
    (planned,) = LoadTypes().plan([(source, None)])
    writer = PartWriter(source, planned.declaration)
    tables = [writer.rows_of(chunk) for chunk in chunks_of(source.tables(), most)]
    assert len({table.schema for table in tables}) == 1
    for n, name in enumerate(("a", "b")):
        values = [value for table in tables for value in table.column(name).to_pylist()]
        for value, row in zip(values, rows, strict=True):
            text = row[n]
            assert value == text or value is None and text == "" or spelled(value, text)


@QUICK
@given(ROWS, st.integers(1, 5))
def test_what_is_read_once_is_right_or_an_error_that_names_the_place(rows, most):
    tables = [
        pa.table({"a": pa.array([row[0] for row in rows[n : n + most]], pa.string())})
        for n in range(0, len(rows), most)
    ]
    source = RowSource("stream", lambda: iter(tables), again=False, is_text=True)
    (planned,) = LoadTypes().plan([(source, None)])
    writer = PartWriter(planned.source, planned.declaration)
    try:
        sent = [
            value
            for chunk in chunks_of(planned.source.tables(), most)
            for value in writer.rows_of(chunk).column("a").to_pylist()
        ]
    except DataError as e:
        assert (e.reason, e.column) == ("mixed_column", "a") and 1 <= e.row <= len(rows)
        return
    assert len(sent) == len(rows)
    for value, (text, _) in zip(sent, rows, strict=True):
        assert value == text or value is None and text == "" or spelled(value, text)


class Dribble:
    "A file that gives few bytes at a time."

    def __init__(self, content, most):
        self.content = io.BytesIO(content)
        self.most = most

    def read(self, size):
        return self.content.read(min(size, self.most))


PLAIN = st.text(st.sampled_from("a7.-\u00e9\ufeff \t;"), max_size=4)
ODD = st.one_of(PLAIN, st.sampled_from(['a"b', "x,y", "two\nlines", '"', "\n"]))


@QUICK
@given(
    st.lists(st.tuples(PLAIN, PLAIN), max_size=25),
    st.lists(st.tuples(ODD, ODD), max_size=9),
    st.integers(1, 40),
    st.booleans(),
)
def test_a_csv_file_is_the_same_wherever_its_blocks_end(plain, odd, most, ends):
    "Blocks of whole lines are read until the first quote, and what follows in another way."
    rows = [row for row in [*plain, *odd] if any(row)]
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows([("a", "b"), *rows])
    content = written.getvalue().encode()
    tables = [*read_csv(Dribble(content if ends else content.rstrip(b"\n"), most))]
    found = [tuple(row.values()) for table in tables for row in table.to_pylist()]
    assert found == [(one or None, other or None) for one, other in rows]


KINDS = ("csv", "csv.gz", "parquet", "json", "jsonl", "xlsx")


@pytest.fixture
def same_rows(tmp_path):
    "A file of each kind with the same three rows."
    rows = [
        {"code": "007", "n": 1, "x": 0.5},
        {"code": "8", "n": 2, "x": None},
        {"code": 'M\u00fcller, "A"', "n": 3, "x": 2.5},
    ]
    frame = pd.DataFrame(rows)
    csv = frame.to_csv(index=False).encode()
    (tmp_path / "f.csv").write_bytes(csv)
    (tmp_path / "f.csv.gz").write_bytes(gzip.compress(csv[:9]) + gzip.compress(csv[9:]))
    parquet.write_table(
        pa.table({name: [row[name] for row in rows] for name in rows[0]}), tmp_path / "f.parquet"
    )
    (tmp_path / "f.json").write_text(json.dumps(rows))
    (tmp_path / "f.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pytest.importorskip("python_calamine")
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in [list(rows[0]), *(list(row.values()) for row in rows)]:
        book.active.append(row)
    book.save(tmp_path / "f.xlsx")
    return rows, tmp_path


class Pipe(io.RawIOBase):
    "A stream that cannot go back."

    def __init__(self, content):
        self.content = io.BytesIO(content)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self.content.readinto(buffer)


@pytest.mark.parametrize("how", ["path", "handle", "pipe"])
@pytest.mark.parametrize("kind", KINDS)
def test_five_kinds_of_files_by_path_by_handle_and_by_pipe_give_the_same(same_rows, kind, how):
    rows, folder = same_rows
    path = folder / f"f.{kind}"
    data = {
        "path": lambda: path,
        "handle": lambda: path.open("rb"),
        "pipe": lambda: io.BufferedReader(Pipe(path.read_bytes())),
    }[how]()
    (source,) = open_sources(data)
    (planned,) = LoadTypes().plan([(source, None)])
    writer = PartWriter(planned.source, planned.declaration)
    tables = [writer.rows_of(chunk) for chunk in chunks_of(planned.source.tables(), 2)]
    got = [row for table in tables for row in table.to_pylist()]
    assert got == rows
    assert [str(type) for type in tables[0].schema.types] == ["string", "int64", "double"]


def test_a_handle_of_200000_rows_loses_none_of_them():
    content = b"id,code\n" + b"".join(b"%d,%06d\n" % (n, n) for n in range(200_000))
    handle = io.BytesIO(content)
    (source,) = open_sources(handle)
    (planned,) = LoadTypes().plan([(source, None)])
    writer = PartWriter(source, planned.declaration)
    sent = pa.concat_tables(writer.rows_of(c) for c in chunks_of(source.tables(), 30_000))
    assert sent.column("id").to_pylist() == [*range(200_000)]
    assert sent.column("code")[199_999].as_py() == "199999"
    assert sent.column("code")[7].as_py() == "000007"


@pytest.mark.sampled(2)
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("mode", ["rb", "r"])
def test_readers_of_one_handle_do_not_disturb_each_other(tmp_path, kind, mode):
    "Arrow reads ahead in threads, which may be at it when the next reader begins."
    path = tmp_path / f"f.{kind}"
    line = '{{"id": {0}}}' if kind == "jsonl" else "{0}"
    lines = ([] if kind == "jsonl" else ["id"]) + [line.format(n) for n in range(300_000)]
    path.write_text("\n".join(lines) + "\n")
    with path.open(mode) as handle:
        (source,) = open_sources(handle)
        readers = [source.tables() for _ in range(2)]
        seen = [0, 0]
        for tables in zip(*readers, strict=True):
            for n, table in enumerate(tables):
                seen[n] += table.num_rows
        digests = {source.digest() for _ in range(2)}
    assert seen == [300_000, 300_000] and len(digests) == 1


def test_the_index_of_a_sorted_frame_is_no_column():
    frame = pd.DataFrame({"a": [3, 1, 2]}).sort_values("a")
    (source,) = open_sources(frame)
    assert [t.to_pydict() for t in source.tables()] == [{"a": [1, 2, 3]}]


def test_options_of_pandas_are_honoured_and_the_six_are_refused(same_rows):
    _, folder = same_rows
    (source,) = open_sources(folder / "f.xlsx", sheet_name=0, skiprows=2, header=None)
    assert [t.num_rows for t in source.tables()] == [2]
    (source,) = open_sources(folder / "f.csv", usecols=["code"], keep_default_na=True)
    assert [t.column_names for t in source.tables()] == [["code"]]
    for name in ("filepath_or_buffer", "chunksize", "nrows", "path", "path_or_buf", "io"):
        with pytest.raises(SettingsError) as refused:
            open_sources(folder / "f.csv", **{name: 1})
        assert refused.value.reason == "bad_argument" and name in str(refused.value)


def test_a_late_conflict_is_told_by_column_and_row_with_a_given_type_too():
    (source,) = open_sources(io.BytesIO(b"n\n1\n2\nx\n"))
    (planned,) = LoadTypes().plan([(source, {"n": "int32"})])
    with pytest.raises(DataError) as told:
        [
            fit_table(c.table, planned.declaration, True, c.row, "n.csv")
            for c in chunks_of(source.tables(), 2)
        ]
    assert (told.value.column, told.value.row) == ("n", 3)


def test_a_given_type_holds_in_every_chunk():
    (source,) = open_sources(io.BytesIO(b"n,m\n1,\n2,5\n"))
    (planned,) = LoadTypes().plan([(source, {"n": "int32", "m": "float64"})])
    writer = PartWriter(source, planned.declaration)
    for chunk in chunks_of(source.tables(), 1):
        assert writer.rows_of(chunk).schema == pa.schema([("n", pa.int32()), ("m", pa.float64())])


def test_frames_of_a_query_in_chunks_are_one_source_of_one_type(tmp_path):
    import sqlite3

    with sqlite3.connect(tmp_path / "d.sqlite") as con:
        con.execute("CREATE TABLE t (id INTEGER, name TEXT)")
        con.executemany("INSERT INTO t VALUES (?, ?)", [(n, f"n{n}") for n in range(95)])
        (source,) = open_sources(pd.read_sql("SELECT * FROM t", con, chunksize=10))
        (planned,) = LoadTypes().plan([(source, None)])
        writer = PartWriter(planned.source, planned.declaration)
        sent = [writer.rows_of(c) for c in chunks_of(planned.source.tables(), 30)]
    assert [t.num_rows for t in sent] == [30, 30, 30, 5]
    assert pa.concat_tables(sent).column("id").to_pylist() == [*range(95)]


def test_numbers_and_words_of_one_json_column_are_an_error():
    declaration = ColumnTypes()
    declaration.learn(pa.table({"a": [1]}), False)
    with pytest.raises(DataError) as told:
        declaration.learn(pa.table({"a": ["x"]}), False, 1, "f.json")
    assert (told.value.reason, told.value.column, told.value.row) == ("mixed_column", "a", 2)


@pytest.mark.parametrize("place", range(7))
def test_the_first_text_that_does_not_fit_is_found_wherever_it_is(place):
    texts = pa.chunked_array([["1"] * place + ["x"] + ["1"] * (6 - place)])
    assert first_odd(texts, lambda some: "x" not in some.to_pylist()) == place


@pytest.mark.parametrize("again", [True, False])
def test_a_stream_of_arrow_is_read_again_only_where_it_says_so(again):
    class Stream:
        def __arrow_c_stream__(self, requested_schema=None):
            return pa.table({"a": [1, 2]}).__arrow_c_stream__(requested_schema)

    stream = Stream()
    if again:
        stream.reads_again = True
    [source] = open_sources(stream, "numbers")
    assert source.again is again
    assert [row for table in source.read() for row in table.to_pylist()] == [{"a": 1}, {"a": 2}]


def test_a_chunk_is_let_go_of_before_the_next_one_is_read():
    held = []

    def tables():
        for n in range(12):
            if n and n % 4 == 0:  # a chunk was written, and the next one begins
                held.append(pa.total_allocated_bytes())
            yield pa.table({"n": pa.array(range(100_000 * n, 100_000 * (n + 1)))})

    source = RowSource("the source", tables, again=False)
    planned = LoadTypes().start(source, None)
    arrived = []
    transfer = Transfer(
        Record("", "", "ids", {}),
        lambda part, _: arrived.append(part.rows),
        rows=400_000,
        at_once=1,
        shown=False,
    )
    before = pa.total_allocated_bytes()
    transfer.run(planned, "ids", "ids")
    chunk = 8 * 400_000
    assert arrived == [400_000] * 3
    assert all(one - before < chunk / 2 for one in held) and len(held) == 2


@pytest.mark.parametrize("after", [0, 200_000])
def test_a_row_longer_than_a_block_is_read_wherever_it_stands(after):
    rows = [(str(n), "abc") for n in range(after)]
    for quote, size in (("", 5_000_000), ('"', 1_500_000)):
        long = [("1", "x" * size), ("2", "y")]
        lines = [f"{a},{quote}{b}{quote}\n" for a, b in long]
        content = "".join(["a,b\n", *(f"{a},{b}\n" for a, b in rows), *lines])
        read = [
            tuple(r.values()) for t in read_csv(io.BytesIO(content.encode())) for r in t.to_pylist()
        ]
        assert read == [*rows, *long]
