"""The store: the rules of the update methods, types, queries, and several processes at once."""

import datetime as dt
import decimal
import os
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from domostats.errors import DestinationError, DomostatsError, SettingsError
from domostats.loading.queries import ask, spelled
from domostats.loading.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "data" / "store.duckdb", wait=20)


def rows(store, name="a"):
    return sorted(store.read(name).to_pylist(), key=str)


def refused(call, *args, **kwargs):
    with pytest.raises(DomostatsError) as told:
        call(*args, **kwargs)
    return told.value


def frame(**columns):
    return pd.DataFrame(columns)


# ---- where it is


def test_the_users_own_place_by_default(tmp_path):
    assert (
        Store().path == (tmp_path / "XDG_DATA_HOME" / "domostats" / "store.duckdb").resolve()
        or sys.platform != "linux"
    )


def test_settings_name_the_place(tmp_path, monkeypatch):
    (tmp_path / "settings.ini").write_text("[domostats]\nstore = kept/here.duckdb\n")
    (tmp_path / "work" / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "work" / "deep")
    Store().write("a", frame(id=[1]))
    assert (tmp_path / "kept" / "here.duckdb").exists()


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_only_the_user_can_read_it(store):
    store.write("a", frame(id=[1]))
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700
    assert [p.name for p in store.path.parent.iterdir()] == [store.path.name]


def test_what_is_no_store_is_not_overwritten(tmp_path):
    path = tmp_path / "notes.duckdb"
    path.write_text("my notes " * 1000)
    told = refused(Store(path).names)
    assert (
        told.reason == "not_a_store"
        and str(path) in str(told)
        and path.read_text().startswith("my notes")
    )


def test_a_place_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    assert refused(Store(tmp_path / "file" / "store.duckdb").names).reason == "no_store"


# ---- names


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "with blanks",
        'q"uo"te',
        "it's",
        "Ünïcode 数据",
        "select",
        "a.b",
        "a;b",
        "x" * 200,
        "%s ?",
        "__partition__",
    ],
)
def test_any_name_a_user_types(store, name):
    store.write(name, frame(id=[1]))
    store.write(name, frame(id=[2]), "APPEND")
    assert store.names() == [name] and store.read(name)["id"].to_pylist() == [1, 2]
    store.drop(name)
    assert store.names() == []


@pytest.mark.parametrize("name", ["", "   ", "a\nb", "a\x00b", "a\x7fb", "x" * 201, None, 7])
@pytest.mark.parametrize("verb", ["write", "read", "drop"])
def test_names_that_are_refused(store, name, verb):
    told = refused(getattr(store, verb), name, *([frame(id=[1])] if verb == "write" else []))
    assert isinstance(told, SettingsError) and told.reason == "bad_dataset_name"


def test_capitals_make_no_difference(store):
    store.write("Accounts", frame(id=[1]), "UPSERT", "id")
    store.write("accounts", frame(id=[2]))
    assert store.names() == ["Accounts"] and store.read("ACCOUNTS")["id"].to_pylist() == [1, 2]


def test_letters_duckdb_does_not_fold(store):
    store.write("Ä", frame(É=[1]), "APPEND")
    store.write("ä", frame(É=[2]))
    store.write("ä", frame(É=[3]))
    store.write("Ä", frame(é=[4]))
    assert rows(store, "ä") == [{"É": 3}] and rows(store, "Ä") == [
        {"É": 1, "é": None},
        {"É": None, "é": 4},
    ]


def test_a_long_query_prints_no_bar_into_what_a_program_prints(store):
    bar = "SELECT current_setting('enable_progress_bar') AS bar"
    with store.open() as con:
        assert con.execute(bar).fetchone() == (False,)
    assert ask(pa.table({"a": [1]}), f"{bar} FROM 'table'").to_pylist() == [{"bar": False}]


def test_an_unknown_dataset_names_the_known(store):
    store.write("accounts", frame(id=[1]))
    told = refused(store.read, "acounts")
    assert (
        isinstance(told, DestinationError)
        and told.reason == "no_dataset"
        and "'accounts'" in str(told)
    )
    assert refused(store.drop, "acounts").reason == "no_dataset"


# ---- update methods


def test_replace_is_the_first_method_and_whole(store):
    assert store.write("a", frame(id=[1, 2], x=["p", "q"])) == 2
    assert store.write("a", frame(id=[3])) == 1
    assert rows(store) == [{"id": 3}]


def test_append_checks_nothing(store):
    store.write("a", frame(id=[1]))
    store.write("a", frame(id=[1, 2]), "APPEND")
    store.write("a", frame(id=[1]))  # the method sticks
    assert store.read("a")["id"].to_pylist() == [1, 1, 2, 1]
    store.write("a", frame(id=[9]), "REPLACE")
    store.write("a", frame(id=[8]))
    assert rows(store) == [{"id": 8}]


def test_the_method_sticks_to_the_dataset_not_to_the_store(store):
    store.write("a", frame(id=[1]), "APPEND")
    store.write("b", frame(id=[1]))
    store.write("b", frame(id=[2]))
    assert rows(store, "b") == [{"id": 2}]


def test_a_dropped_dataset_forgets_its_method(store):
    store.write("a", frame(id=[1]), "APPEND")
    store.drop("a")
    store.write("a", frame(id=[1]))
    store.write("a", frame(id=[2]))
    assert rows(store) == [{"id": 2}]


def test_upsert_replaces_rows_whole(store):
    store.write("a", frame(id=[1, 2], x=["p", "q"]))
    store.write("a", frame(id=[2, 3], y=[1, 2]), "UPSERT", "id")
    assert rows(store) == [
        {"id": 1, "x": "p", "y": None},
        {"id": 2, "x": None, "y": 1},
        {"id": 3, "x": None, "y": 2},
    ]
    store.write("a", frame(id=[1], x=["z"]))  # method and key stick
    assert {"id": 1, "x": "z", "y": None} in rows(store) and len(rows(store)) == 3


def test_upsert_by_several_columns(store):
    store.write(
        "a", frame(user=["u", "u"], group=["g", "h"], n=[1, 2]), "UPSERT", ["user", "group"]
    )
    store.write("a", frame(user=["u", "v"], group=["h", "g"], n=[3, 4]))
    assert [row["n"] for row in store.read("a").to_pylist()] == [1, 3, 4]


def test_upsert_removes_old_duplicates_of_its_key(store):
    store.write("a", frame(id=[1, 1, 2]), "APPEND")
    store.write("a", frame(id=[1]), "UPSERT", "id")
    assert store.read("a")["id"].to_pylist() == [2, 1]


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "data, key, kind, reason, words",
    [
        (frame(id=[1, 1, 2]), "id", DestinationError, "duplicate_key", "1 comes more than once"),
        (
            frame(id=["x", "x"], n=[1, 1]),
            ["id", "n"],
            DestinationError,
            "duplicate_key",
            "(id, n) is not unique in the new rows: x, 1",
        ),
        (frame(id=["x", None]), "id", DestinationError, "null_key", "id"),
        (frame(id=[1], n=[None]), ["id", "n"], DestinationError, "null_key", "n"),
        (frame(id=[1]), "ID number", SettingsError, "bad_update_key", "'ID number'"),
    ],
)
@pytest.mark.parametrize("exists", [False, True])
def test_keys_that_are_none(store, data, key, kind, reason, words, exists):
    if exists:
        store.write("a", frame(id=[5]))
    told = refused(store.write, "a", data, "UPSERT", key)
    assert type(told) is kind and told.reason == reason and words in str(told)
    assert store.names() == (["a"] if exists else [])
    if exists:
        assert rows(store) == [{"id": 5}]
        store.write("a", frame(id=[6]))  # the failed method does not stick
        assert rows(store) == [{"id": 6}]


def test_a_partition_is_replaced_as_a_whole(store):
    store.write("a", frame(id=[1, 2]), "PARTITION", partition_name="it's may")
    store.write("a", frame(id=[3]), partition_name="june")
    store.write("a", frame(id=[4]), partition_name="it's may")
    assert rows(store) == [{"id": 3}, {"id": 4}]
    assert store.read("a", "SELECT * FROM table").column_names == ["id"]
    assert refused(store.write, "a", frame(id=[5])).reason == "missing_partition_name"


def test_partitions_among_other_methods(store):
    store.write("a", frame(id=[1]))
    store.write("a", frame(id=[2]), "PARTITION", partition_name="may")
    store.write("a", frame(id=[3]), "APPEND")
    store.write("a", frame(id=[9]), "PARTITION", partition_name="may")
    assert rows(store) == [{"id": 1}, {"id": 3}, {"id": 9}]
    store.write("a", frame(id=[7]), "REPLACE")
    store.write("a", frame(id=[8]), "PARTITION", partition_name="may")
    assert rows(store) == [{"id": 7}, {"id": 8}]


def test_an_empty_partition_empties_it(store):
    store.write("a", frame(id=[1]), "PARTITION", partition_name="may")
    store.write("a", frame(id=pd.Series([], dtype="int64")), partition_name="may")
    assert rows(store) == []


@pytest.mark.parametrize(
    "call, reason",
    [
        ({"update_method": "replace"}, "bad_update_method"),
        ({"update_method": "MERGE"}, "bad_update_method"),
        ({"update_method": "APPEND", "update_key": "id"}, "bad_update_argument"),
        ({"update_key": "id"}, "bad_update_argument"),
        (
            {"update_method": "UPSERT", "update_key": "id", "partition_name": "x"},
            "bad_update_argument",
        ),
        ({"update_method": "REPLACE", "partition_name": "x"}, "bad_update_argument"),
        ({"update_method": "UPSERT"}, "missing_update_key"),
        ({"update_method": "UPSERT", "update_key": []}, "missing_update_key"),
        ({"update_method": "PARTITION"}, "missing_partition_name"),
        ({"update_method": "PARTITION", "partition_name": ""}, "missing_partition_name"),
        ({"update_method": "PARTITION", "partition_name": 2024}, "missing_partition_name"),
    ],
)
def test_arguments_are_judged_before_the_rows(store, call, reason):
    def rows_asked_for():
        raise AssertionError("the rows were asked for")
        yield

    data = pa.RecordBatchReader.from_batches(pa.schema({"id": pa.int64()}), rows_asked_for())
    told = refused(store.write, "a", data, **call)
    assert isinstance(told, SettingsError) and told.reason == reason
    if reason == "bad_update_method":
        assert all(method in str(told) for method in ("REPLACE", "APPEND", "UPSERT", "PARTITION"))


# ---- columns


def test_columns_come_and_go(store):
    store.write("a", frame(id=[1], x=["p"]))
    store.write("a", frame(id=[2], y=[1.5]), "APPEND")
    store.write("a", frame(y=[2.5], ID=[3]))  # another order, another case
    assert rows(store) == [
        {"id": 1, "x": "p", "y": None},
        {"id": 2, "x": None, "y": 1.5},
        {"id": 3, "x": None, "y": 2.5},
    ]


BIG = 2**53 + 1


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "old, new, type",
    [
        (pa.array([1]), pa.array([1.5]), "double"),
        (pa.array([1.5]), pa.array([1]), "double"),
        (pa.array([BIG]), pa.array([71.0, None]), "int64"),
        (pa.array([1], pa.int8()), pa.array([300]), "int64"),
        (pa.array([1]), pa.array([300], pa.int16()), "int64"),
        (pa.array([1]), pa.array([decimal.Decimal("1.5")]), "decimal128(20, 1)"),
        (pa.array([dt.date(2024, 5, 1)]), pa.array([dt.datetime(2024, 5, 1, 3)]), "timestamp[us]"),
        (pa.nulls(1), pa.array([1]), "int64"),
        (pa.nulls(1), pa.array([[1]]), "list<l: int64>"),
        (pa.array([1]), pa.nulls(1), "int64"),
        (pa.array([True]), pa.nulls(1), "bool"),
        (pa.array([{"a": 1}]), pa.nulls(1), "struct<a: int64>"),
        (pa.array([], pa.string()), pa.array([1]), "int64"),
        (pa.array([1]), pa.array([], pa.string()), "int64"),
    ],
    ids=str,
)
def test_types_that_agree(store, old, new, type):
    store.write("a", pa.table({"v": old}))
    store.write("a", pa.table({"v": new}), "APPEND")
    back = store.read("a")["v"]
    assert str(back.type).replace("item:", "l:").replace("element:", "l:") == type
    assert back.to_pylist() == [
        *map(same, old.to_pylist(), [back.type] * len(old)),
        *map(same, new.to_pylist(), [back.type] * len(new)),
    ]


def same(value, type):
    if (
        pa.types.is_timestamp(type)
        and isinstance(value, dt.date)
        and not isinstance(value, dt.datetime)
    ):
        return dt.datetime(value.year, value.month, value.day)
    return value


@pytest.mark.sampled(5)
@pytest.mark.parametrize(
    "old, new",
    [
        (pa.array([1]), pa.array(["x"])),
        (pa.array(["x"]), pa.array([1])),
        (pa.array([True]), pa.array([1])),
        (pa.array([1]), pa.array([True])),
        (pa.array([BIG]), pa.array([1.5])),
        (pa.array([1.5]), pa.array([BIG])),
        (pa.array([-1]), pa.array([2**64 - 1], pa.uint64())),
        (pa.array([dt.date(2024, 5, 1)]), pa.array(["2024-05-01"])),
        (pa.array([[1]]), pa.array([["x"]])),
        (pa.array([1]), pa.array([dt.date(2024, 5, 1)])),
    ],
    ids=str,
)
@pytest.mark.parametrize("call", [("APPEND",), ("UPSERT", "id"), ("PARTITION", None, "p")])
def test_types_that_do_not_agree_change_nothing(store, old, new, call):
    store.write("a", pa.table({"id": ["1"], "v": old}))
    told = refused(store.write, "a", pa.table({"id": ["1"], "v": new, "more": [1]}), *call)
    assert isinstance(told, DestinationError) and told.reason == "column_type"
    assert told.column == "v" and told.stored in str(told) and told.type in str(told)
    assert store.read("a").to_pylist() == [{"id": "1", "v": old.to_pylist()[0]}]
    store.write("a", pa.table({"v": new}), "REPLACE")
    assert store.read("a")["v"].to_pylist() == new.to_pylist()


def test_every_kind_of_column_comes_back(store):
    table = pa.table(
        {
            "int": pa.array([1, None], pa.int32()),
            "double": [1.5, None],
            "bool": [True, None],
            "text": ["", None],
            "date": [dt.date(2024, 5, 1), None],
            "decimal": [decimal.Decimal("1.50"), None],
            "span": [dt.timedelta(days=40, microseconds=5), None],
            "list": [[1, None], None],
            "struct": [{"a": "x", "b": [1]}, None],
            "bytes": [b"\x00x", None],
            "time": [dt.time(1, 2, 3), None],
            "uint": pa.array([2**64 - 1, None], pa.uint64()),
        }
    )
    store.write("a", table)
    assert store.read("a").to_pylist() == table.to_pylist()


def test_moments_are_kept_in_utc(store):
    moment = dt.datetime(2024, 5, 1, 9, 30, tzinfo=dt.timezone.utc)
    aware = pd.Series([pd.Timestamp(moment), None])
    store.write(
        "a",
        pd.DataFrame(
            {
                "utc": aware,
                "berlin": aware.dt.tz_convert("Europe/Berlin"),
                "ns": aware.dt.as_unit("ns"),
                "s": aware.dt.tz_localize(None).dt.as_unit("s"),
            }
        ),
    )
    back = store.read("a")
    assert {str(type) for type in back.schema.types} == {"timestamp[us]"}
    assert set(back.to_pylist()[0].values()) == {dt.datetime(2024, 5, 1, 9, 30)} and set(
        back.to_pylist()[1].values()
    ) == {None}


def test_what_pandas_brings(store):
    store.write(
        "a",
        pd.DataFrame(
            {"c": pd.Categorical(["x", None]), "n": pd.array([1, None], dtype="Int64"), 7: [1, 2]},
            index=["i", "j"],
        ),
    )
    assert store.read("a").to_pylist() == [
        {"c": "x", "n": 1, "7": 1},
        {"c": None, "n": None, "7": 2},
    ]


@pytest.mark.parametrize(
    "data, reason",
    [
        (frame(a=[1, "x"]), "mixed_column"),
        (pd.DataFrame([[1, 2]], columns=["a", "A"]), "duplicate_column"),
        (pd.DataFrame(index=[1]), "no_columns"),
        (pa.table({"id": [1], "__PARTITION__": ["x"]}), "reserved_column"),
    ],
)
def test_frames_that_are_refused(store, data, reason):
    store.write("a", frame(id=[1]))
    assert refused(store.write, "a", data).reason == reason
    assert rows(store) == [{"id": 1}]


def test_no_rows_is_a_dataset_with_columns(store):
    assert (
        store.write("a", frame(id=pd.Series([], dtype="Int64"), x=pd.Series([], dtype="string")))
        == 0
    )
    assert store.read("a").column_names == ["id", "x"] and store.read(
        "a", "SELECT count(*) AS n FROM table"
    ).to_pylist() == [{"n": 0}]


# ---- streams


def batches(store=None, fail=False):
    schema = pa.schema({"n": pa.int64(), "kind": pa.dictionary(pa.int8(), pa.string())})

    def pages():
        for i in range(20):
            if store:
                store.write("progress", pa.table({"page": [i]}))
            if fail and i == 10:
                raise ConnectionResetError("the source broke off")
            yield pa.RecordBatch.from_arrays(
                [pa.array([i]), pa.array([f"k{i % 3}"]).dictionary_encode().cast(schema.types[1])],
                schema=schema,
            )

    return pa.RecordBatchReader.from_batches(schema, pages())


def test_retrieval_holds_no_transaction(store):
    "A source may use the store itself while its rows are asked for."
    store.wait = 1
    assert store.write("a", batches(store), "UPSERT", "n") == 20
    assert store.read("a")["n"].to_pylist() == list(range(20)) and rows(store, "progress") == [
        {"page": 19}
    ]


def test_a_source_that_breaks_off_changes_nothing(store):
    store.write("a", frame(n=[7]))
    with pytest.raises(ConnectionResetError):
        store.write("a", batches(fail=True), "APPEND")
    assert rows(store) == [{"n": 7}] and [p.name for p in store.path.parent.iterdir()] == [
        store.path.name
    ]


def test_a_failing_block_is_rolled_back(store):
    store.write("a", frame(n=[7]))
    with pytest.raises(ZeroDivisionError), store.open() as con:
        con.execute("DELETE FROM datasets.a")
        1 / 0
    with pytest.raises(DestinationError) as told, store.open() as con:
        con.execute("DELETE FROM datasets.a")
        con.execute("SELECT nonsense")
    assert told.value.reason == "not_written"
    assert rows(store) == [{"n": 7}]


# ---- queries


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "query, answer",
    [
        ("SELECT id FROM table WHERE id > 1", [{"id": 2}]),
        ("select t.id from TABLE t order by 1 desc limit 1", [{"id": 2}]),
        (
            "SELECT `account type` AS x FROM `table` WHERE `account type` = 'a table'",
            [{"x": "a table"}],
        ),
        ('SELECT "table".id FROM "table" -- table\nWHERE id = 1 /* FROM table */', [{"id": 1}]),
        ("WITH t AS (SELECT * FROM table) SELECT count(*) AS n FROM t;", [{"n": 2}]),
        ("SELECT 'it''s a `table`' AS x FROM table LIMIT 1", [{"x": "it's a `table`"}]),
        (
            "SELECT E'it\\'s table' AS x, $$a table$$ AS y FROM table LIMIT 1",
            [{"x": "it's table", "y": "a table"}],
        ),
        (
            "SELECT sum(id) AS s, max(seen) - min(seen) AS span FROM table",
            [{"s": 3, "span": dt.timedelta(days=31)}],
        ),
        ("SELECT a.id AS id FROM table a JOIN table b ON a.id = b.id + 1", [{"id": 2}]),
        ("SELECT id AS table_name FROM table WHERE id = 1", [{"table_name": 1}]),
    ],
)
def test_queries(store, query, answer):
    store.write(
        "a",
        pa.table(
            {
                "id": [1, 2],
                "account type": ["a table", None],
                "seen": [dt.datetime(2024, 5, 1), dt.datetime(2024, 6, 1)],
            }
        ),
    )
    assert store.read("a", query).to_pylist() == answer


def test_words_that_are_not_the_table():
    for query in (
        "SELECT my_table, table2, 'table', \"table\" FROM x",
        "-- table",
        "/* table */",
        "$t$table$t$",
        "SELECT 'unfinished table",
    ):
        assert spelled(query).replace('"table"', "table") == query.replace('"table"', "table")
    assert spelled('SELECT `a"b``c`') == 'SELECT "a""b`c"'


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "query",
    [
        "",
        "-- nothing",
        "nonsense",
        "SELECT idd FROM table",
        "SELECT 1; SELECT 2",
        "DROP TABLE table",
        "CREATE TABLE x AS SELECT 1",
        "INSERT INTO table SELECT 1",
        "DELETE FROM table",
        "UPDATE table SET id = 2",
        "ATTACH '{path}' AS s",
        "COPY (SELECT 1) TO '{path}.csv'",
        "SET memory_limit = '5GB'",
        "SELECT * FROM datasets.b",
        "SELECT * FROM b",
        "INSTALL httpfs",
        "WITH x AS (SELECT 1) INSERT INTO table SELECT * FROM x",
    ],
)
def test_queries_that_are_refused(store, query):
    store.write("a", frame(id=[1]))
    store.write("b", frame(password=["horse"]))
    told = refused(store.read, "a", query.format(path=store.path))
    assert (
        isinstance(told, SettingsError) and told.reason == "bad_query" and "horse" not in str(told)
    )
    assert rows(store) == [{"id": 1}] and len([*store.path.parent.iterdir()]) == 1


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_text('{csv}')",
        "SELECT * FROM read_blob('{csv}')",
        "SELECT * FROM read_csv('{csv}')",
        "SELECT * FROM '{csv}'",
        "SELECT * FROM read_parquet('{parquet}')",
        "SELECT * FROM '{parquet}'",
        "SELECT * FROM glob('{folder}/*horse*')",
        "SELECT * FROM secret_frame",
        "SELECT * FROM query_table(['secret_frame'])",
    ],
)
def test_a_query_sees_no_file_and_no_variable(query, tmp_path, monkeypatch):
    csv, parquet = tmp_path / "horse.csv", tmp_path / "horse.parquet"
    secret_frame = frame(password=["horse"])
    secret_frame.to_csv(csv, index=False)
    secret_frame.to_parquet(parquet)
    monkeypatch.setitem(ask.__globals__, "secret_frame", secret_frame)
    query = query.format(csv=csv, parquet=parquet, folder=tmp_path)
    with duckdb.connect() as open_to_all:  # there it is, for who may look
        assert "horse" in str(open_to_all.sql(query).fetchall())
    told = refused(ask, pa.table({"id": [1]}), query)
    assert isinstance(told, SettingsError) and told.reason == "bad_query"
    assert "disabled" in str(told) or "secret_frame" in query


def test_duckdbs_own_words_are_passed_on():
    assert "idd" in str(refused(ask, pa.table({"id": [1]}), "SELECT idd FROM table"))


def test_times_are_asked_for_in_utc(monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    answer = ask(
        pa.table({"seen": [dt.datetime(2024, 5, 1)]}),
        "SELECT seen::TIMESTAMPTZ::VARCHAR AS x, seen::TIMESTAMPTZ AS y FROM table",
    ).to_pylist()
    assert answer == [{"x": "2024-05-01 00:00:00+00", "y": dt.datetime(2024, 5, 1)}]


# ---- several at once

WORKER = """
import sys
import pyarrow as pa
from domostats.loading.store import Store
path, me = sys.argv[1], sys.argv[2]
for i in range(20):
    store = Store(path)
    store.write("shared", pa.table({"who": [me], "i": [i]}), "APPEND")
    store.write(me, pa.table({"i": list(range(i + 1))}), "REPLACE")
    assert store.read(me)["i"].to_pylist() == list(range(i + 1))
    count = f"SELECT count(*) AS n FROM table WHERE who = '{me}'"
    assert store.read("shared", count).to_pylist() == [{"n": i + 1}]
print("done")
"""


@pytest.mark.slow
def test_a_notebook_and_a_terminal_at_the_same_time(store):
    both = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(store.path), me],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for me in ("notebook", "terminal")
    ]
    for child in both:
        out, err = child.communicate(timeout=120)
        assert (child.returncode, out.strip()) == (0, "done"), err
    found = store.read("shared").to_pylist()
    assert sorted((row["who"], row["i"]) for row in found) == [
        (me, i) for me in ("notebook", "terminal") for i in range(20)
    ]


def test_threads_take_turns(store):
    faults = []

    def work(me):
        try:
            for i in range(5):
                store.write("shared", pa.table({"who": [me], "i": [i]}), "APPEND")
        except Exception as e:
            faults.append(e)

    threads = [threading.Thread(target=work, args=(me,)) for me in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not faults and store.read("shared").num_rows == 30


HOLDER = (
    "import duckdb, sys; con = duckdb.connect(sys.argv[1]); print('held', flush=True); "
    "sys.stdin.read()"
)


def test_a_store_that_is_held_for_good(store):
    store.write("a", frame(id=[1]))
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(store.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout.readline() == "held\n"
        store.wait = 0.2
        for call in (lambda: store.read("a"), lambda: store.write("a", frame(id=[2])), store.names):
            told = refused(call)
            assert isinstance(told, DestinationError) and told.reason == "busy"
            assert f"process {holder.pid}," in str(told) and str(store.path) in str(told)
    finally:
        holder.communicate("", timeout=30)
    assert rows(store) == [{"id": 1}]


def test_a_thread_that_keeps_the_store(store):
    other = Store(store.path, wait=0.1)
    with store.open():
        assert refused(other.names).reason == "busy"
    assert other.names() == []


def test_a_connection_of_the_same_process_does_no_harm(store):
    store.write("a", frame(id=[1]))
    with duckdb.connect(str(store.path)) as own:
        store.write("a", frame(id=[2]))
        assert own.execute("SELECT id FROM datasets.a").fetchall() == [(2,)]


@pytest.mark.parametrize(
    "name",
    ["memory.duckdb", "main.db", "new.duckdb", "it's.duckdb", 'a "b".duckdb', "a.b.c", "2024.db"],
)
def test_a_file_of_any_name_is_opened_again_and_again(tmp_path, name):
    for n in range(3):
        store = Store(tmp_path / name)
        store.write("a", frame(id=[n]))
        assert rows(store) == [{"id": n}]
    with duckdb.connect(str(store.path)) as own:
        assert own.execute("SELECT id FROM datasets.a").fetchall() == [(2,)]


def test_what_failed_leaves_nothing_to_the_next(store, tmp_path):
    store.write("a", frame(id=[1]))
    for words in ("ATTACH ':memory:' AS other", "CREATE TEMP TABLE a AS SELECT 7 AS id"):
        with store.open() as con:
            con.execute(words)
        with pytest.raises(KeyError), store.open() as con:
            con.execute("DELETE FROM datasets.a")
            raise KeyError
        with store.open() as con:
            assert con.execute("SELECT id FROM datasets.a").fetchall() == [(1,)]
            there = con.execute("SELECT database_name FROM duckdb_databases()").fetchall()
            assert ("other",) not in there
            with pytest.raises(duckdb.Error):
                con.execute("SELECT id FROM temp.a")
    assert rows(store) == [{"id": 1}]
    with duckdb.connect(str(store.path)):  # nobody has the file
        pass


def test_rows_that_did_not_fit_into_memory_leave_nothing_on_the_disk(store):
    for _ in range(2):
        with store.open() as con:
            con.execute("SET memory_limit = '20MB'")
            con.execute("SET threads = 1")
            spilled = con.execute(
                "SELECT count(*) FROM (SELECT range, hash(range) AS h FROM range(2_000_000) "
                "ORDER BY h OFFSET 1)"
            )
            assert spilled.fetchall() == [(1_999_999,)]
        assert [path.name for path in store.path.parent.iterdir()] == [store.path.name]


FORKING = """
import os, sys
import pyarrow as pa
from domostats.loading.store import Store

store = Store(sys.argv[1])
for n in range(3):
    store.write("a", pa.table({"id": [n]}))
    child = os.fork()
    if not child:
        code = 1
        try:
            [row] = store.read("a").to_pylist()
            store.write("a", pa.table({"id": [row["id"] + 10]}))
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    print(store.read("a").to_pylist())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a fork is made")
def test_a_fork_opens_the_store_and_so_does_its_parent(store):
    "In a process without the threads of other tests. What runs already has none in a fork."
    command = [sys.executable, "-c", FORKING, store.path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == [f"[{{'id': {n + 10}}}]" for n in range(3)], done.stderr


def test_threads_with_a_store_each_do_not_meet(tmp_path):
    def work(number):
        store = Store(tmp_path / f"{number}.duckdb")
        for n in range(5):
            store.write("a", frame(id=[number, n]))
            assert {row["id"] for row in rows(store)} == {number, n}
            assert store.names() == ["a"]
        return number

    with ThreadPoolExecutor(6) as pool:
        assert [*pool.map(work, range(6))] == [*range(6)]


@pytest.mark.parametrize("name", ["datasets.duckdb", "KIT.db", "history"])
def test_a_file_with_a_name_that_the_store_needs_is_refused(tmp_path, name):
    with pytest.raises(SettingsError) as caught:
        Store(tmp_path / name)
    assert caught.value.reason == "bad_store_name"
