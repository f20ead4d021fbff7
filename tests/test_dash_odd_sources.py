"""What a newcomer gives to Comotion Dash by mistake, or has in a table: it is sent as it is, or is
an error with a reason before a row is committed. No value changes on its way."""

import contextlib
import csv
import datetime
import gzip
import io
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

import commands
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from dash_support import let_in, refresh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from domostats import dash, sandbox
from domostats.errors import DataError, DestinationError, DomostatsError
from domostats.loading.uploads.sources import open_sources

pytest_plugins = "dash_support"
MODELS = "v1", "v2"
quick = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def served():
    with sandbox.start_dash("odd", load_polls=0, queued_polls=0, running_polls=0) as box:
        yield box


@pytest.fixture
def box(served, own_folder, monkeypatch):
    let_in(served, monkeypatch)
    return refresh(served)


@contextlib.contextmanager
def written(data, model, **more):
    "The files that an upload would send, in a folder that vanishes."
    with tempfile.TemporaryDirectory() as folder:
        dash.read_and_upload_file_to_dash(
            data,
            "ages",
            "nobody",
            data_model_version=model,
            path_to_output_for_dryrun=folder,
            **more,
        )
        yield sorted(Path(folder).iterdir())


def values_of(data, model, name="x", **more):
    "The values of a column as they would arrive; those of v1 are texts."
    with written(data, model, **more) as files:
        if model == "v2":
            tables = [parquet.read_table(file) for file in files]
            return [value for one in tables for value in one.column(name).to_pylist()]
        found = []
        for file in files:
            text = gzip.decompress(file.read_bytes()).decode()
            header, *rows = csv.reader(io.StringIO(text, newline=""))
            found += [row[header.index(name)] for row in rows]
        return found


# --- values ---

texts = st.text(st.characters(blacklist_categories=("Cs",)), max_size=8)
LARGEST = Decimal("9" * 35 + ".999")  # the 38 digits that a lake has
edges = st.sampled_from([LARGEST, LARGEST.copy_negate()])
decimals = st.decimals(-(10**24), 10**24, places=3) | edges
COLUMNS = {
    "whole numbers": st.integers(-(2**63), 2**63 - 1),
    "numbers": st.floats(),
    "texts": texts,
    "days": st.dates(),
    "moments": st.datetimes(datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31)),
    "decimals": decimals,
    "truths": st.booleans(),
    "lists": st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5),
    "long lists": st.integers(1500, 1600).map(lambda n: [*range(n)]),
    "records": st.fixed_dictionaries({"a": st.integers(0, 2**53), "b": texts}),
}


def is_null(value):
    return value is None or isinstance(value, float) and math.isnan(value)


@pytest.mark.parametrize("kind", COLUMNS)
@quick
@given(data=st.data())
def test_a_value_arrives_in_v2_as_it_is(kind, data):
    values = data.draw(st.lists(st.none() | COLUMNS[kind], min_size=1, max_size=6))
    frame = pd.DataFrame({"x": pd.Series(values, dtype=object)})
    got = values_of(frame, "v2")
    if all(map(is_null, values)):
        assert all(map(is_null, got)) and len(got) == len(values)
        return
    for value, arrived in zip(values, got, strict=True):
        if is_null(value):
            assert is_null(arrived)
        else:
            assert arrived == value and type(arrived) is type(value), (value, arrived)


PARSED = {
    "whole numbers": int,
    "numbers": float,
    "texts": str,
    "days": datetime.date.fromisoformat,
    # an older pandas writes a year before 1000 without its zeros
    "moments": lambda text: datetime.datetime.fromisoformat(
        re.sub("^[0-9]+", lambda year: year[0].zfill(4), text)[:26]
    ),
    "decimals": Decimal,
    "truths": {"True": True, "False": False}.get,
    "lists": json.loads,
    "long lists": json.loads,
    "records": json.loads,
}


@pytest.mark.parametrize("kind", COLUMNS)
@quick
@given(data=st.data())
def test_a_value_arrives_in_v1_as_a_text_that_says_it(kind, data):
    values = data.draw(st.lists(st.none() | COLUMNS[kind], min_size=1, max_size=6))
    frame = pd.DataFrame({"n": range(len(values)), "x": pd.Series(values, dtype=object)})
    if sys.version_info < (3, 11) and any(
        "\0" in value for value in values if kind == "texts" and value
    ):
        with pytest.raises(DataError, match="a NUL character"):
            values_of(frame, "v1")
        return
    got = values_of(frame, "v1")
    for value, arrived in zip(values, got, strict=True):
        if is_null(value) or value == "":
            assert arrived == ""
        else:
            assert PARSED[kind](arrived) == value, (value, arrived)


@quick
@given(
    st.lists(
        st.builds(lambda n, e: Decimal(n).scaleb(e), st.integers(0, 10**34), st.integers(-20, 20)),
        min_size=1,
        max_size=4,
    )
)
def test_a_decimal_arrives_as_it_is_or_is_too_long(values):
    frame = pd.DataFrame({"x": pd.Series(values, dtype=object)})
    try:
        assert values_of(frame, "v2") == values
    except (DataError, DestinationError) as e:
        halves = [format(abs(value), "f").partition(".")[::2] for value in values]
        before, after = (max(map(len, half)) for half in zip(*halves, strict=True))
        assert e.reason in ("unknown_type", "mixed_column") and before + after > 38


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([Decimal("1" * 40)], "unknown_type"),
        ([Decimal("1" * 38), Decimal("0.5")], "unknown_type"),
        (pd.to_timedelta(["1 day", None]), "unknown_type"),
        ([10**30], "mixed_column"),
        ([1, "a"], "mixed_column"),
        ([1 + 2j], "mixed_column"),
        ([object()], "mixed_column"),
    ],
)
def test_what_no_column_can_hold_is_told_and_goes_as_text(values, reason):
    frame = pd.DataFrame({"x": values})
    with pytest.raises(DomostatsError) as refused:
        values_of(frame, "v2")
    assert refused.value.reason == reason and "string" in str(refused.value)
    assert values_of(frame.astype("string"), "v2")[0] == str(frame["x"].astype("string")[0])


def test_a_type_that_not_every_reader_knows_becomes_one_that_does():
    narrow = pa.table({"x": pa.array([np.float16(0.1)], pa.float16())})
    assert values_of(narrow, "v2") == [float(np.float16(0.1))]
    views = pa.table({"x": pa.array(["a"], pa.string_view())})
    try:
        views["x"].cast(pa.string())
    except pa.ArrowNotImplementedError:  # an older pyarrow has views and cannot read them
        with pytest.raises(DataError, match="string_view"):
            values_of(views, "v2")
    else:
        assert values_of(views, "v2") == ["a"]


@pytest.mark.parametrize("value", [b"\x00\xff", [b"a"]])
def test_bytes_are_no_text_of_v1(value):
    with pytest.raises(DataError) as refused:
        values_of(pd.DataFrame({"x": [value]}), "v1")
    assert refused.value.reason == "bad_value"
    with pytest.raises(DataError):
        dash.create_gzipped_csv_stream_from_df(pd.DataFrame({"x": [value]}))


# --- files ---

ENCODINGS = "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"


@quick
@given(
    rows=st.lists(st.tuples(texts, texts), max_size=6),
    encoding=st.sampled_from(ENCODINGS),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_a_csv_file_of_any_encoding_holds_what_was_written(rows, encoding, quoting, end):
    bare = "\0\r" if quoting == csv.QUOTE_MINIMAL else "\0"  # it would be the end of a line
    rows = [tuple(re.sub(f"[{bare}]", "", cell) for cell in row) for row in rows]
    text = io.StringIO(newline="")
    csv.writer(text, quoting=quoting, lineterminator=end).writerows([("a", "b"), *rows])
    (source,) = open_sources(io.BytesIO(text.getvalue().encode(encoding)), encoding=encoding)
    found = [
        tuple(cell or "" for cell in row.values())
        for table in source.tables()
        for row in table.to_pylist()
    ]
    assert found == rows


@quick
@given(
    rows=st.lists(st.tuples(texts, texts), min_size=1, max_size=6),
    cut=st.integers(1, 1000),
)
def test_a_csv_file_that_is_cut_within_quotes_is_no_shorter_file(rows, cut):
    rows = [tuple(cell.replace("\0", "").replace('"', "'") for cell in row) for row in rows]
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([("a", "b"), *rows])
    whole = text.getvalue()
    part = whole[: 8 + cut % (len(whole) - 8)]
    (source,) = open_sources(io.BytesIO(part.encode()))
    if part.count('"') % 2:
        with pytest.raises(DataError) as refused:
            [*source.tables()]
        assert refused.value.reason == "not_read"


ODD_FILES = {
    "nothing.csv": (None, "no_file"),
    "empty.csv": (b"", "empty"),
    "blank.csv": (b"\n\n", "empty"),
    "latin.csv": ("id\nMüller\n".encode("latin-1"), "not_read"),
    "wide.csv": ("id,name\n1,a\n".encode("utf-16"), "not_read"),
    "short.csv": (b"id,name\n1\n", "not_read"),
    "long.csv": (b"id,name\n1,2,3\n", "not_read"),
    "open.csv": (b'id,name\n1,"2\n3,4\n', "not_read"),
    "twice.csv": (b"id,id\n1,2\n", "duplicate_column"),
    "case.csv": (b"id,ID\n1,2\n", "duplicate_column"),
    "nameless.csv": (b"id,\n1,2\n", "bad_column"),
    "nul.csv": (b"id,a\0b\n1,2\n", "bad_column"),
    "cut.csv.gz": (b"\x1f\x8b\x08cut", "not_read"),
    "broken.parquet": (b"PAR1 but no more", "not_read"),
    "text.parquet": (b"id\n1\n", "not_read"),
    "broken.xlsx": (b"PK\x03\x04 but no more", "not_read"),
    "broken.json": (b'[{"a": 1},', "not_read"),
    "numbers.json": (b"[1, 2]", "not_a_row"),
    "mixed.json": (b'[{"a": 1}, {"a": "x"}]', "mixed_column"),
    "huge.json": (b'[{"a": 123456789012345678901234567890}]', "mixed_column"),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", ODD_FILES)
def test_an_odd_file_is_an_error_that_names_it_and_sends_nothing(box, name, model):
    content, reason = ODD_FILES[name]
    if content is not None:
        Path(name).write_bytes(content)
    if name.endswith("xlsx"):
        pytest.importorskip("python_calamine")
    with pytest.raises((DataError, DestinationError)) as refused:
        dash.read_and_upload_file_to_dash(
            name, "ages", box, dash_api_key=box.api_key, data_model_version=model
        )
    error = refused.value
    assert error.reason == reason and str(error).rstrip().endswith((".", "..."))
    assert name in str(error) or reason == "bad_column"
    assert not box.first.files and all(load.state == "OPEN" for load in box.loads.values())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "not_a_table"),
        (3, "not_a_table"),
        ({"id": [1]}, "not_a_table"),
        (pd.Series([1]), "not_a_table"),
        ([1, 2], "not_a_table"),
        ("", "no_file"),
        ("http://example.com/ages.csv", "no_file"),
        (pd.DataFrame({None: [1]}), "bad_column"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "duplicate_column"),
        (pd.DataFrame(index=[1, 2]), "no_columns"),
        ([pd.DataFrame({"a": [1]}), pd.DataFrame({"b": [1]})], "other_columns"),
        ([pd.DataFrame({"a": [1]}), pd.DataFrame({"a": ["x"]})], "mixed_column"),
    ],
    ids=str,
)
@pytest.mark.parametrize("model", MODELS)
def test_what_is_no_table_is_told(data, reason, model):
    Path("other.csv").write_text("id\n1\n")  # an empty path is not the folder that has it
    with pytest.raises(DomostatsError) as refused, written(data, model):
        pass
    assert refused.value.reason == reason


@pytest.mark.parametrize("options", [{"encoding": 3}, {"encoding": "no-such"}, {"sep": 3}])
@pytest.mark.parametrize("model", MODELS)
def test_an_option_of_a_wrong_kind_is_told(options, model):
    Path("ages.csv").write_text("id,name\n1,a\n")
    with pytest.raises(DataError) as refused, written("ages.csv", model, **options):
        pass
    assert refused.value.reason == "not_read"


@pytest.mark.parametrize("options", [{"sep": None}, {"encoding": None}, {"sep": r"\s*;\s*"}])
def test_an_option_that_pandas_knows_is_left_to_it(options):
    sign = "," if options.get("encoding", 0) is None else ";"
    Path("ages.csv").write_text(f"id{sign}name\n001{sign}a\n")
    assert values_of("ages.csv", "v1", "id", engine="python", **options) == ["001"]


@pytest.mark.parametrize("state", ["closed", "for writing"])
def test_a_handle_that_cannot_be_read_is_told(state):
    with open("ages.csv", "wb") as file:
        if state == "closed":
            file.close()
        with pytest.raises(DataError) as refused:
            open_sources(file)
    assert refused.value.reason == "not_read"


def test_what_only_the_service_can_refuse_is_its_failure_and_no_fault(box):
    "The sandbox answers with a failed load, and not with an error of its own."
    parquet.write_table(
        pa.table({"x": pa.array([Decimal("1" * 60)], pa.decimal256(60, 0))}), "odd.parquet"
    )
    code, said, errors = commands.run("dash", "-o", box.org, "create-load", "-s", "0", "odd_ones")
    id = said.strip()
    commands.run("dash", "-o", box.org, "upload-file", "-l", id, "odd.parquet")
    code, said, errors = commands.run(
        "dash", "-o", box.org, "commit-load", "-l", id, "--wait", "count(*)", "1"
    )
    assert code == 6 and "FAIL" in said and "Traceback" not in errors


# --- the terminal ---

WORDS = {
    ("get-load-info", "-l", "no-such-load"): (6, "The service says"),
    ("get-load-info", "-l", "../../query"): (3, "no id of a load"),
    ("query-state", "-q", "no-such-query"): (5, "not there"),
    ("query-state", "-q", "a b"): (3, "no id of a query"),
    ("stop-query", "-q", "no-such-query"): (5, "not there"),
    ("start-query", ""): (2, "text of SQL"),
    ("start-query", "selec 1"): (6, "refused"),
    ("create-load", 'a"b'): (2, "no table name"),
    ("create-load", "T"): (2, "no table name"),
    ("create-load", "-t", "MERGE", "people"): (3, "APPEND_ONLY"),
    ("commit-load", "-l", "no-such-load", "count(*)", "1"): (6, "The service says"),
    ("upload-file", "-l", "no-such-load", "none.parquet"): (6, "no file"),
    ("download", "-f", ".", "select 1 as one"): (7, "cannot be written"),
    ("download", "-f", "", "select 1 as one"): (7, "cannot be written"),
    ("download", "-f", "file/below", "select 1 as one"): (7, "cannot be written"),
    ("daily-run-execution-info", "--limit", "0"): (2, "limit"),
    ("-i", "ftp://example.com", "get-issuer"): (3, "issuer"),
    ("-o", "a/b", "get-issuer"): (2, "name of an organisation"),
}


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_odd_words_in_the_terminal_end_with_what_to_do(box, words):
    Path("file").write_text("")
    code, told = WORDS[words]
    found, said, errors = commands.run("dash", *words, environment={"COMOTION_ORGNAME": box.org})
    assert (found, said) == (code, ""), errors
    assert told in " ".join(errors.split()) and "Traceback" not in errors


SLOW_UPLOAD = """
import sys
import pandas as pd
from domostats import dash

frame = pd.DataFrame({"id": [f"{n:03}" for n in range(40)]})
dash.read_and_upload_file_to_dash(
    frame, "ages", sys.argv[1], data_model_version="v1", chunksize=1
)
"""


@pytest.mark.slow
def test_ctrl_c_in_the_middle_of_v1_says_how_to_go_on(box, monkeypatch):
    monkeypatch.setenv("DOMOSTATS_DASH_API_KEY", str(box.api_key.reveal()))
    Path("upload.py").write_text(SLOW_UPLOAD)
    box.latency = 0.05
    child = subprocess.Popen(
        [sys.executable, "upload.py", box.org], stderr=subprocess.PIPE, text=True, env=os.environ
    )
    until = time.monotonic() + 60
    while len(box.first.files) < 5 and time.monotonic() < until:
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    said = child.communicate(timeout=60)[1]
    assert child.returncode != 0
    (left,) = dash.list_v1_uploads(box.org).to_pylist()
    assert left["record"] == "open" and left["rows"] + left["unknown_parts"] >= 5
    assert "upload.py" in left["resume_with"]
    if left["unknown_parts"]:
        assert "It is not known whether part" in said
    assert len(box.first.files) in (left["rows"], left["rows"] + left["unknown_parts"])
    assert len({*column_of(box)}) == len(column_of(box))


def column_of(box):
    return box.first.rows_of("ages").column("id").to_pylist()


# --- arguments ---

FRAME = pd.DataFrame({"a": [1]})


def load_with(config, **options):
    return dash.Load(config, table_name="ages", path_to_output_for_dryrun="out", **options)


ARGUMENTS = {
    "no organisation": (lambda config: dash.Auth(None), "bad_name"),
    "a number for an organisation": (lambda config: dash.Auth(3), "bad_name"),
    "an address for an organisation": (lambda config: dash.Auth("https://a.b"), "bad_name"),
    "a name for a configuration": (lambda config: dash.DashConfig("acme"), "bad_argument"),
    "SQL before the configuration": (lambda config: dash.Query("select 1", config), "bad_argument"),
    "one text for partitions": (lambda config: load_with(config, partitions="day"), "bad_argument"),
    "a number for partitions": (lambda config: load_with(config, partitions=3), "bad_argument"),
    "a text for a function": (lambda config: load_with(config, modify_lambda="f"), "bad_argument"),
    "a text for a chunk": (lambda config: load_with(config, chunksize="5"), "bad_size"),
    "a check sum without values": (
        lambda config: load_with(config).commit(["count(*)"]),
        "bad_check_sum",
    ),
    "a check sum of one text": (lambda config: load_with(config).commit("count"), "bad_check_sum"),
    "a check sum of nothing": (lambda config: load_with(config).commit({}), "bad_check_sum"),
    "one table for several": (
        lambda config: dash.DashBulkUploader(config).execute_multiple_uploads("ages"),
        "bad_argument",
    ),
    "a word for clearing out": (
        lambda config: dash.Migration(config).start("FULL_MIGRATION", clear_out_new_lake="no"),
        "bad_argument",
    ),
    "a word for a switch": (
        lambda config: dash.DailyRun(config).update_daily_run_enabled("no"),
        "bad_argument",
    ),
    "a word for a number": (
        lambda config: dash.DailyRun(config).get_execution_info("list", "5"),
        "bad_argument",
    ),
    "a path for a stream": (
        lambda config: dash.upload_csv_to_dash("acme", "a-key-of-ours", "ages", "ages.csv.gz"),
        "bad_argument",
    ),
    "a column for a frame": (
        lambda config: dash.create_gzipped_csv_stream_from_df(FRAME["a"]),
        "not_a_table",
    ),
    "no file for a result": (
        lambda config: dash.Query(config, query_id="one").download_csv(None),
        "bad_argument",
    ),
}


@pytest.mark.parametrize("what", ARGUMENTS)
def test_an_argument_of_a_wrong_kind_is_told_before_a_call_is_made(box, config, what):
    call, reason = ARGUMENTS[what]
    with pytest.raises(DomostatsError) as refused:
        call(config)
    assert refused.value.reason == reason
    made = [call for call in box.log if not call.path.endswith("/token")]
    assert not made, "what is wrong is found without the service"


def test_a_number_of_numpy_is_a_number_of_rows(config):
    options = {"track_rows_uploaded": True, "load_as_service_client_id": "0"}
    load = load_with(config, chunksize=np.int64(2), **options)
    load.upload_df(pd.DataFrame({"a": range(5)}))
    assert len([*Path("out").iterdir()]) == 3 and load.rows_uploaded == 5
