"""Odd data frames: every door takes them as they are, or says which column and row is odd."""

import contextlib
import datetime as dt
import decimal
import pathlib
import uuid
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domostats import domojupyter
from domostats.errors import DataError, DestinationError, DomostatsError, SettingsError
from domostats.loading.files import read_file, write_file
from domostats.loading.store import Store
from domostats.loading.streams import to_reader
from domostats.rows.table import table_of_rows, to_dataframe

UTC = dt.timezone.utc
HALF = "\ud83d"


def objects(*values):
    return pd.DataFrame({"good": range(len(values)), "odd": pd.Series([*values], dtype=object)})


def doors(frame):
    "Every way into a file or a dataset."
    domojupyter.attach(outputs=["out"])
    yield "csv", lambda: write_file(frame, "a.csv")
    yield "parquet", lambda: write_file(frame, "a.parquet")
    yield "store", lambda: Store("a.duckdb").write("out", frame)
    yield "workspace", lambda: domojupyter.write_dataframe(frame, "out")


UNFIT = {  # the values, and the first row that does not fit
    "half a character": (["a", HALF], 2),
    "half a character inside": (["a", "x" + HALF + "y", "b"], 2),
    "half a character in a list": ([["a"], [HALF]], 2),
    "half a character as a name": ([{"a": 1}, {HALF: 1}], 2),
    "number and text": ([1, 2, "x"], 3),
    "truth and number": ([True, 1.5], 2),
    "text and bytes": (["a", b"a"], 2),
    "day and moment": ([dt.date(2024, 1, 1), dt.datetime(2024, 1, 1, 5)], 2),
    "with and without a zone": (
        [dt.datetime(2024, 1, 1), None, dt.datetime(2024, 1, 1, tzinfo=UTC)],
        3,
    ),
    "a time of day with a zone": ([dt.time(1), dt.time(1, tzinfo=UTC)], 2),
    "too large": ([1, 2**70], 2),
    "complex": ([1j], 1),
    "a path": ([None, pathlib.Path("x")], 2),
    "any object": ([object()], 1),
    "a generator": ([(n for n in [1])], 1),
    "a frame": ([pd.DataFrame({"a": [1]})], 1),
    "a column": ([pd.Series([1])], 1),
    "two dimensions": ([np.zeros((2, 2))], 1),
    "objects that differ": ([{"a": 1}, {"a": "x"}], 2),
    "lists that differ": ([[1], ["x"]], 2),
    "decimal and float": ([decimal.Decimal("1.5"), 2.5], 2),
    "a number that a float cannot hold": ([2**60 + 1, 2.5], 1),
    "keys that are no text": ([{1: 2}], 1),
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("kind", UNFIT)
def test_what_does_not_fit_is_named_with_its_row(kind):
    values, row = UNFIT[kind]
    for door, write in doors(objects(*values)):
        with pytest.raises(DestinationError, match="'odd'") as told:
            write()
        assert told.value.reason == "mixed_column", door
        assert told.value.column == "odd" and told.value.row in (row, len(values)), door
        assert f"row {told.value.row}" in str(told.value)
    assert not Path("a.csv").exists() and not Path("a.parquet").exists()


@pytest.mark.parametrize("kind", UNFIT)
def test_rows_of_a_function_are_told_the_same(kind):
    values, row = UNFIT[kind]
    with pytest.raises(DataError, match="'odd'") as told:
        table_of_rows({"good": 1, "odd": value} for value in values)
    assert told.value.reason == "mixed_column" and told.value.column == "odd"
    assert told.value.row in (row, len(values))


MOMENT = dt.datetime(2024, 5, 1, 9, 30, tzinfo=UTC)
FITS = {  # the values, and as which they are read from Parquet
    "not a time, and numbers of numpy": ([pd.NaT, np.int64(1)], [None, 1]),
    "numbers of numpy": ([np.float64(1.5), np.int8(2)], [1.5, 2.0]),
    "truths of numpy": ([np.bool_(True), False, None], [True, False, None]),
    "moments of numpy": (
        [np.datetime64("2024-05-01T09:30:00"), None],
        [dt.datetime(2024, 5, 1, 9, 30), None],
    ),
    "days of numpy": ([np.datetime64("2024-05-01"), None], [dt.date(2024, 5, 1), None]),
    "missing ones": ([pd.NA, None, float("nan"), "x"], [None, None, None, "x"]),
    "zones that differ": (
        [pd.Timestamp(MOMENT).tz_convert("Europe/Paris"), pd.Timestamp(MOMENT)],
        [MOMENT, MOMENT],
    ),
    "a set": ([{1}], [[1]]),
    "tuples": ([(1, 2), (3,)], [[1, 2], [3]]),
    "arrays": ([np.array([1, 2]), np.array([3])], [[1, 2], [3]]),
    "exact numbers": (
        [decimal.Decimal("1.5"), decimal.Decimal("2.25")],
        [decimal.Decimal("1.50"), decimal.Decimal("2.25")],
    ),
    "a nought in a text": (["a\x00b"], ["a\x00b"]),
    "the first and the last year": ([dt.date(1, 1, 1), dt.date(9999, 12, 31)],) * 2,
    "identifiers": ([uuid.UUID(int=7)], ["00000000-0000-0000-0000-000000000007"]),
    "objects": ([{"a": 1}, {}], [{"a": 1}, {"a": None}]),
    "times of day": ([dt.time(1, 2, 3)], [dt.time(1, 2, 3)]),
    "lengths": ([dt.timedelta(seconds=90)], [dt.timedelta(seconds=90)]),
    "bytes": ([b"\xff", None], [b"\xff", None]),
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("kind", FITS)
def test_what_fits_is_the_same_behind_every_door(kind):
    values, expected = FITS[kind]
    frame = objects(*values)
    for _, write in doors(frame):
        assert write() in (None, len(values))
    for back in (read_file("a.parquet"), read_file("a.csv"), Store("a.duckdb").read("out")):
        assert back["good"].to_pylist() == [*range(len(values))]
    assert read_file("a.parquet")["odd"].to_pylist() == expected
    assert read_file("a.csv")["odd"].to_pylist() == expected
    stored = Store("a.duckdb").read("out")["odd"].to_pylist()
    if any(isinstance(value, dt.datetime) and value.tzinfo for value in expected):
        stored = [value.replace(tzinfo=UTC) for value in stored]
    assert stored == expected


KINDS_OF_PANDAS = {
    "period": (pd.period_range("2024-05", periods=2, freq="M"), ["2024-05", "2024-06"]),
    "interval": (pd.interval_range(0, 2), ["(0, 1]", "(1, 2]"]),
    "cut": (pd.cut(pd.Series([1, 4]), [0, 2, 4]), ["(0, 2]", "(2, 4]"]),
    "period with none": (pd.PeriodIndex(["2024-05", None], freq="M"), ["2024-05", None]),
    "sparse": (pd.arrays.SparseArray([0, 1]), [0, 1]),
    "category": (pd.Categorical(["007", None]), ["007", None]),
    "categories of days": (
        pd.Categorical([dt.date(2024, 5, 1), None]),
        [dt.date(2024, 5, 1), None],
    ),
    "lengths": (
        pd.to_timedelta([90, None], unit="s"),
        [dt.timedelta(seconds=90), None],
    ),
    "text": (pd.array(["007", None], dtype="string"), ["007", None]),
    "whole": (pd.array([1, None], dtype="Int64"), [1, None]),
    "large": (np.array([2**63, 1], dtype="uint64"), [2**63, 1]),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("kind", KINDS_OF_PANDAS)
def test_kinds_of_pandas_are_values_or_words(kind):
    values, expected = KINDS_OF_PANDAS[kind]
    frame = pd.DataFrame({"odd": values})
    for _, write in doors(frame):
        write()
    assert read_file("a.parquet")["odd"].to_pylist() == expected
    assert read_file("a.csv")["odd"].to_pylist() == expected
    assert Store("a.duckdb").read("out")["odd"].to_pylist() == expected


@pytest.mark.parametrize(
    "values", [[{}, {}], [None, {}], [[{}]], [{"a": {}}]], ids=["all", "some", "list", "inside"]
)
def test_objects_without_a_field(values):
    "CSV has a form for them; Parquet and a dataset have none, and say in which column they are."
    for door, write in doors(objects(*values)):
        if door == "csv":
            write()
            assert read_file("a.csv")["odd"].to_pylist() == values
            continue
        with pytest.raises(DestinationError, match="'odd'") as told:
            write()
        assert told.value.reason == "column_type" and told.value.column == "odd", door
    assert not Path("a.parquet").exists()


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "array",
    [
        pa.array([{}]),
        pa.array([decimal.Decimal(10) ** 60], pa.decimal256(61, 0)),
        pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])]),
        pa.RunEndEncodedArray.from_arrays([1], [1]),
        pa.array([pa.MonthDayNano([1, 2, 3])]),
        pa.array([1.5], pa.float16()),
        pa.array(["x"], pa.string_view()),
        pa.array([b"x"], pa.binary_view()),
        pa.array([[1, 2]], pa.list_(pa.int64(), 2)),
        pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
        pa.array(["x"]).dictionary_encode(),
        pa.array([dt.datetime(9999, 12, 31)], pa.timestamp("s")),
        pa.array([1], pa.timestamp("ns", "Europe/Paris")),
        pa.array([uuid.UUID(int=7).bytes], pa.uuid()) if hasattr(pa, "uuid") else pa.array([1]),
    ],
    ids=lambda array: str(array.type)[:30],
)
def test_types_of_arrow_are_taken_or_named(array):
    table = pa.table({"good": [1], "odd": array})
    for door, write in doors(table):
        if door == "workspace":
            continue
        try:
            write()
        except DestinationError as e:
            assert e.reason == "column_type" and e.column == "odd", (door, e)
        else:
            assert {
                "csv": lambda: read_file("a.csv"),
                "parquet": lambda: read_file("a.parquet"),
            }.get(door, lambda: Store("a.duckdb").read("out"))()["good"].to_pylist() == [1]


@pytest.mark.parametrize(
    "columns, reason",
    [
        (pd.MultiIndex.from_tuples([("a", "b"), ("a", "c")]), "bad_column"),
        (pd.Index([HALF, "b"], dtype=object), "bad_column"),
        (["a", "a"], "duplicate_column"),
        (["a", "A"], "duplicate_column"),
        ([1, "1"], "duplicate_column"),
    ],
    ids=["levels", "half a character", "twice", "but for case", "number and text"],
)
def test_names_that_no_destination_can_hold(columns, reason):
    frame = pd.DataFrame([[1, 2]])
    frame.columns = columns
    for door, write in doors(frame):
        with pytest.raises(DestinationError) as told:
            write()
        assert told.value.reason == reason, door


def test_a_column_without_a_name():
    frame = pd.DataFrame({"": [1], "b": [2]})
    write_file(frame, "a.csv")
    write_file(frame, "a.parquet")
    assert read_file("a.csv").column_names == read_file("a.parquet").column_names == ["", "b"]
    with pytest.raises(DestinationError) as told:
        Store("a.duckdb").write("out", frame)
    assert told.value.reason == "bad_column"


def test_names_of_rows_that_become_one():
    with pytest.raises(DataError) as told:
        table_of_rows([{1: "a", "1": "b"}])
    assert told.value.reason == "bad_column"
    with pytest.raises(DataError) as told:
        table_of_rows([{HALF: 1}])
    assert told.value.reason == "bad_column"
    with pytest.raises(DataError) as told:
        table_of_rows(iter([{"a": 1}, ["a"]]))
    assert told.value.reason == "not_a_row" and told.value.row == 2


def test_rows_may_come_from_a_generator():
    table = table_of_rows(
        {"at": at, "n": n} for at, n in [(pd.NaT, np.int64(1)), (pd.Timestamp(MOMENT), pd.NA)]
    )
    assert table.to_pylist() == [{"at": None, "n": 1}, {"at": MOMENT, "n": None}]


class NoTable:
    def __arrow_c_stream__(self, requested_schema=None):
        raise ValueError("no stream today")


def test_what_says_that_it_is_a_table_and_is_none():
    with pytest.raises(SettingsError) as told:
        to_reader(NoTable())
    assert told.value.reason == "not_a_table"


def test_a_frame_of_what_pandas_cannot_hold():
    table = pa.table({"good": [1], "odd": pa.RunEndEncodedArray.from_arrays([1], [1])})
    try:
        assert to_dataframe(table)["good"].tolist() == [1]
    except DataError as e:
        assert e.reason == "bad_column" and e.column == "odd"
    assert to_dataframe(pa.table({"a": [dt.datetime(9999, 1, 1)]}))["a"][0].year == 9999


@pytest.fixture
def dataset():
    domojupyter.attach(inputs=["in"], outputs=["in"])
    frame = pd.DataFrame({"id": [1, 2], "at": pd.to_datetime(["2024-05-01", None]), "t": ["", "x"]})
    domojupyter.write_dataframe(frame, "in")


@pytest.mark.parametrize("options", [{"chunksize": 1}, {"iterator": True}], ids=str)
def test_a_workspace_gives_one_frame(dataset, options):
    with pytest.raises(SettingsError, match=[*options][0]) as told:
        domojupyter.read_dataframe("in", **options)
    assert told.value.reason == "bad_argument"


def test_other_names_are_those_of_pandas(dataset):
    "As the real module does: pandas takes the header for a row, unless it is told otherwise."
    frame = domojupyter.read_dataframe("in", names=["a", "b", "c"], header=0)
    assert frame.columns.tolist() == ["a", "b", "c"] and frame["a"].tolist() == [1, 2]
    frame = domojupyter.read_dataframe("in", names=["a", "b", "c"])
    assert frame["a"].tolist() == ["id", "1", "2"]


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "options",
    [
        {"usecols": ["nobody"]},
        {"index_col": "nobody"},
        {"parse_dates": ["nobody"]},
        {"dtype": {"t": "int64"}},
        {"dtype": "no type"},
        {"sep": None, "engine": "c"},
        {"encoding": "no encoding"},
        {"names": ["a", "a"]},
        {"skiprows": 100},
        {"header": 50},
        {"converters": {"id": "no function"}},
    ],
    ids=str,
)
def test_arguments_that_pandas_refuses_are_an_error_of_ours(dataset, options):
    with pytest.raises(SettingsError) as told:
        domojupyter.read_dataframe("in", **options)
    assert told.value.reason == "bad_argument"


def test_an_unknown_argument_names_the_function_that_was_called(dataset):
    with pytest.raises(TypeError, match=r"read_dataframe\(\) .* 'no_such_option'"):
        domojupyter.read_dataframe("in", no_such_option=1)


@pytest.mark.parametrize("options", [{"nrows": 1}, {"usecols": ["id"]}, {"index_col": "id"}])
def test_arguments_that_pandas_takes_still_work(dataset, options):
    assert len(domojupyter.read_dataframe("in", **options)) in (1, 2)


ANYTHING = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(st.characters(), max_size=4),
        st.binary(max_size=3),
        st.dates(),
        st.datetimes(),
        st.datetimes(timezones=st.just(UTC)),
        st.times(),
        st.timedeltas(),
        st.decimals(),
        st.complex_numbers(),
        st.uuids(),
        st.just(pd.NaT),
        st.just(pd.NA),
        st.builds(np.int64, st.integers(-9, 9)),
        st.builds(np.float32, st.floats(width=32)),
        st.frozensets(st.integers(0, 3)),
    ),
    lambda inside: st.one_of(
        st.lists(inside, max_size=2),
        st.tuples(inside),
        st.dictionaries(st.text(st.characters(), max_size=2), inside, max_size=2),
    ),
    max_leaves=4,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(ANYTHING, min_size=1, max_size=4))
def test_whatever_stands_in_a_column_nothing_raw_comes_out(values):
    frame = pd.DataFrame({"odd": pd.Series(values, dtype=object)})
    for write in (
        lambda: write_file(frame, "a.csv"),
        lambda: read_file("a.csv"),
        lambda: write_file(frame, "a.parquet"),
        lambda: read_file("a.parquet"),
        lambda: table_of_rows({"odd": value} for value in values),
        lambda: to_dataframe(table_of_rows([{"odd": value} for value in values])),
    ):
        with contextlib.suppress(DomostatsError):
            write()


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(ANYTHING, min_size=1, max_size=3))
def test_nor_out_of_a_dataset(values):
    frame = pd.DataFrame({"odd": pd.Series(values, dtype=object)})
    store = Store("a.duckdb")
    try:
        store.write("out", frame, "REPLACE")
    except DomostatsError:
        return
    assert store.read("out").num_rows == len(values)


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"a,b\n1,2\n",
        b"title\n\n",
        b'title\n\na,b\n1,2,3\n4,5,6,7\n"',
        b"t\n\n\xff\xfe\n",
    ],
    ids=["no file", "empty", "no title", "no table", "torn", "no text"],
)
def test_what_is_no_report_of_a_service(content):
    from domostats.clients.datorama.reporting import read_report

    if content is not None:
        Path("report.csv").write_bytes(content)
    with pytest.raises(DataError, match="report.csv") as told:
        read_report("report.csv")
    assert told.value.reason == "no_table"


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "query",
    [
        "SELECT",
        "SELECT no_such FROM table",
        "SELECT 1 / 0::DECIMAL FROM table WHERE nothing()",
        "SELECT INTERVAL 1000000000 YEAR",
        "SELECT 2::HUGEINT ** 126 AS n",
        "SELECT {'a': NULL} AS o, [] AS l, MAP {} AS m",
        "SELECT 'infinity'::TIMESTAMP AS t",
        "DROP TABLE table",
        HALF,
        None,
        7,
    ],
    ids=str,
)
def test_a_query_is_answered_or_refused(dataset, query):
    try:
        assert len(Store().read("in", query) if query is not None else [1]) == 1
    except SettingsError as e:
        assert e.reason == "bad_query"
