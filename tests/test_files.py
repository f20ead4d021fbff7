"""Files: whole or not at all, and the same data for every reader."""

import datetime as dt
import decimal
import os
import stat
import subprocess
import sys

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from domostats.errors import DestinationError, SettingsError
from domostats.loading import csv_writing, drafts, files, row_groups
from domostats.loading.files import read_file, write_file
from domostats.loading.streams import to_reader

ACCOUNTS = pa.table(
    {
        "id": [1, None, 3],
        "text": ['a,"b"\nc', "", None],
        "valid": [True, None, False],
        "ratio": [1.5, None, 1e-7],
        "at": pa.array(
            [dt.datetime(2024, 5, 1, 11, 30), None, None], pa.timestamp("ms", "Europe/Berlin")
        ),
    }
)


def stream(fail_after=None, rows=30_000):
    schema = pa.schema({"n": pa.int64()})

    def batches():
        for i in range(0, rows, 1000):
            if fail_after is not None and i >= fail_after:
                raise ConnectionResetError("the source broke off")
            yield pa.record_batch([list(range(i, i + 1000))], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def of_rows(monkeypatch, size):
    "Files are written in groups of so many rows."
    for module in (row_groups, csv_writing):
        monkeypatch.setattr(module, "GROUP", size)


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.CSV"])
@pytest.mark.parametrize("fail_after", [0, 10_000])
@pytest.mark.parametrize("group", [100, 100_000], ids=["rows were written", "rows were held"])
def test_a_source_that_breaks_off_leaves_the_old_file(
    tmp_path, monkeypatch, recwarn, name, fail_after, group
):
    of_rows(monkeypatch, group)
    path = tmp_path / name
    write_file(pa.table({"n": [1]}), path)
    old = path.read_bytes()
    with pytest.raises(ConnectionResetError):
        write_file(stream(fail_after), path)
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == [name]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_stream_is_written_in_order(tmp_path, monkeypatch, suffix):
    of_rows(monkeypatch, 7000)
    path = tmp_path / f"a{suffix}"
    assert write_file(stream(), path) == 30_000
    assert read_file(path)["n"].to_pylist() == list(range(30_000))


def test_nothing_and_the_empty_text_stay_apart(tmp_path):
    path = tmp_path / "a.csv"
    write_file(ACCOUNTS, path)
    assert read_file(path)["text"].to_pylist() == ['a,"b"\nc', "", None]
    assert path.read_text().splitlines()[3:] == [',"",,,', "3,,false,1e-7,"]
    in_duckdb = duckdb.read_csv(str(path)).fetchall()
    assert [row[1] for row in in_duckdb] in (['a,"b"\nc', "", None], ['a,"b"\nc', None, None])
    in_pandas = pd.read_csv(path, keep_default_na=False, dtype=str)
    assert in_pandas["text"].tolist() == ['a,"b"\nc', "", ""]


def test_csv_is_plain_for_every_reader(tmp_path):
    path = tmp_path / "a.csv"
    write_file(ACCOUNTS, path)
    frame = pd.read_csv(path, parse_dates=["at"], dtype={"id": "Int64", "valid": "boolean"})
    assert frame["at"][0] == pd.Timestamp("2024-05-01T11:30Z")
    assert frame["id"].tolist() == [1, pd.NA, 3] and frame["valid"].tolist() == [True, pd.NA, False]
    assert "2024-05-01T11:30:00.000000Z" in path.read_text()


def test_data_stays_data(tmp_path):
    path = tmp_path / "a.csv"
    write_file(pa.table({"name": ["=1+1", "@x", "-2", "é"]}), path)
    assert path.read_bytes() == '"name"\n"=1+1"\n"@x"\n"-2"\n"é"\n'.encode()


def test_kinds_of_columns_csv_has_no_word_for(tmp_path):
    path = tmp_path / "a.csv"
    write_file(
        pd.DataFrame(
            {
                "c": pd.Categorical(["x", None]),
                "l": [[1, None], None],
                "s": [{"a": dt.date(2024, 5, 1)}, None],
                "d": [decimal.Decimal("1.50"), None],
                "n": [None, None],
            }
        ),
        path,
    )
    assert path.read_text().splitlines()[1:] == [
        '"x","[1, null]","{""a"": ""2024-05-01""}",1.50,',
        ",,,,",
    ]


def test_parquet_for_every_reader(tmp_path):
    path = tmp_path / "a.parquet"
    assert write_file(ACCOUNTS, path) == 3
    assert read_file(path).equals(ACCOUNTS)
    assert pd.read_parquet(path)["text"].tolist()[:2] == ['a,"b"\nc', ""]
    assert duckdb.sql(f"SELECT id, text FROM '{path}'").fetchall() == [
        (1, 'a,"b"\nc'),
        (None, ""),
        (3, None),
    ]


def test_the_index_is_not_data(tmp_path):
    write_file(pd.DataFrame({"id": [1]}, index=pd.Index(["x"], name="key")), tmp_path / "a.parquet")
    assert read_file(tmp_path / "a.parquet").column_names == ["id"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_no_rows_is_a_file_with_columns(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    assert (
        write_file(
            pd.DataFrame({"id": pd.Series([], dtype="Int64"), "c": pd.Categorical([])}), path
        )
        == 0
    )
    assert read_file(path).column_names == ["id", "c"] and read_file(path).num_rows == 0


@pytest.mark.parametrize(
    "data, kind, reason",
    [
        (pd.DataFrame({"a": [1, "x"]}), DestinationError, "mixed_column"),
        (pd.DataFrame({"a": [1, True]}, dtype=object), DestinationError, "mixed_column"),
        (
            pd.DataFrame({"a": [dt.date(2024, 1, 1), dt.datetime(2024, 1, 1, 5)]}, dtype=object),
            DestinationError,
            "mixed_column",
        ),
        (pd.DataFrame({"a": [2**70]}, dtype=object), DestinationError, "mixed_column"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), DestinationError, "duplicate_column"),
        (pa.table({"a": [1], "A": [1]}), DestinationError, "duplicate_column"),
        (pd.DataFrame(index=[1, 2]), DestinationError, "no_columns"),
        ([{"a": 1}], SettingsError, "not_a_table"),
        ("text", SettingsError, "not_a_table"),
    ],
    ids=[
        "int and text",
        "int and bool",
        "date and time",
        "too large",
        "twice",
        "twice but for case",
        "no columns",
        "list",
        "text",
    ],
)
def test_data_that_no_file_can_hold(tmp_path, data, kind, reason):
    with pytest.raises(kind) as told:
        write_file(data, tmp_path / "a.csv")
    assert told.value.reason == reason
    assert not [p for p in tmp_path.iterdir() if p.is_file()]


def test_duplicate_columns_are_named_in_pairs():
    with pytest.raises(DestinationError, match="'a' and 'A'"):
        to_reader(pa.table({"a": [1], "b": [1], "A": [1], "B": [1]}))


@pytest.mark.parametrize("name", ["a.xlsx", "a", "a.csv.gz"])
def test_the_suffix_is_judged_before_the_rows(tmp_path, name):
    with pytest.raises(SettingsError) as told:
        write_file(stream(fail_after=0), tmp_path / name)
    assert (
        told.value.reason == "bad_destination"
        and ".parquet" in str(told.value)
        and ".csv" in str(told.value)
    )


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(DestinationError) as told:
        write_file(ACCOUNTS, tmp_path / "no" / "a.csv")
    assert told.value.reason == "no_folder" and str(tmp_path / "no") in str(told.value)


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(DestinationError) as told:
        write_file(ACCOUNTS, tmp_path / "a.csv")
    assert told.value.reason == "not_written" and [p.name for p in tmp_path.glob(".*")] == []


def test_a_full_disk(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    write_file(pa.table({"n": [1]}), tmp_path / "a.parquet")
    monkeypatch.setattr(drafts.os, "fsync", full)
    with pytest.raises(DestinationError, match="No space left") as told:
        write_file(ACCOUNTS, tmp_path / "a.parquet")
    assert told.value.reason == "not_written"
    assert read_file(tmp_path / "a.parquet")["n"].to_pylist() == [1] and not [*tmp_path.glob(".*")]


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_permissions_are_those_of_any_file(tmp_path):
    (tmp_path / "plain").write_text("")
    path = tmp_path / "a.csv"
    write_file(ACCOUNTS, path)
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    path.chmod(0o600)
    write_file(ACCOUNTS, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_leftovers_of_others_stay_for_a_day(tmp_path):
    young, old, stranger = (
        tmp_path / ".a.csv.1.part",
        tmp_path / ".a.csv.2.part",
        tmp_path / ".b.csv.3.part",
    )
    for part in (young, old, stranger):
        part.write_text("x")
    os.utime(old, (0, 0))
    os.utime(stranger, (0, 0))
    write_file(ACCOUNTS, tmp_path / "a.csv")
    assert young.exists() and stranger.exists() and not old.exists()


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DestinationError) as told:
        read_file(tmp_path / "a.csv")
    assert told.value.reason == "no_file"


def test_pandas_is_not_loaded_by_the_import():
    shown = subprocess.run(
        [
            sys.executable,
            "-c",
            (
                "import sys; from domostats.loading import files, store; "
                "print('pandas' in sys.modules)"
            ),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.strip() == "False"


def test_a_file_gets_its_name_when_all_of_it_is_on_the_disk(tmp_path, monkeypatch):
    path, seen = tmp_path / "a.csv", []

    def look(handle):
        seen.append(os.fstat(handle).st_size)

    monkeypatch.setattr(drafts.os, "fsync", look)
    with drafts.replacing(path) as file:
        file.write(b"id\r\n1\r\n")
        assert not path.exists()
    assert seen == [7] and path.read_bytes() == b"id\r\n1\r\n"


@pytest.mark.skipif(os.name == "nt", reason="there are no such locks")
def test_who_writes_into_a_folder_waits_for_another_writer(tmp_path, monkeypatch):
    import fcntl
    import threading
    from types import SimpleNamespace

    waits, release, path = threading.Event(), threading.Event(), tmp_path / "a.parquet"
    another = os.open(tmp_path, os.O_RDONLY)  # what another program would hold

    def told(handle, how):
        waits.set()
        assert release.wait(30)
        assert not path.exists()
        fcntl.flock(another, fcntl.LOCK_UN)
        fcntl.flock(handle, how)

    fcntl.flock(another, fcntl.LOCK_EX)
    monkeypatch.setattr(files, "fcntl", SimpleNamespace(flock=told, **{"LOCK_EX": fcntl.LOCK_EX}))
    writer = threading.Thread(target=write_file, args=(ACCOUNTS, path))
    writer.start()
    try:
        assert waits.wait(30) and not path.exists()
    finally:
        release.set()
        writer.join(30)
        os.close(another)
    assert path.exists()
