"""What a run may do to what stands at a destination: nothing lost, nothing doubled, nothing
mixed."""

import json
import threading
import warnings
from datetime import datetime, timedelta, timezone
from pathlib import Path

import commands
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domostats import reports, sandbox
from domostats.errors import DataError, DestinationError, DomostatsError, SettingsError
from domostats.loading.files import read_file, write_file
from domostats.loading.store import Store

PROVIDERS = "/api/data/v2/datasources/providers"
GOOD, BAD = {"id": 1, "displayName": "one"}, {"id": "x", "displayName": "two"}
ACCOUNTS = "generate", "accounts", "--format", "v1"
FILES = ["x.parquet", "x.csv", "x.CSV"]
KINDS = [*FILES, "store"]


def domostats(*arguments, **environment):
    "Run the command; gives its exit code and all it printed."
    code, out, err = commands.run(*arguments, environment={"COLUMNS": "200", **environment})
    return code, out + err


def serve(box, *accounts):
    "From now on these are all the accounts there are."
    box.serve(PROVIDERS, [{"key": "k", "name": "n", "accounts": [*accounts]}])


@pytest.fixture(autouse=True)
def own_store(own_folder):
    "Datasets go into a store of this test."
    Path("settings.ini").write_text("[domostats]\nstore = here.duckdb\n")


def day(number):
    return datetime(2024, 3, number, tzinfo=timezone.utc)


# ---- data that say what they cover, without a service


def rows(*ids, instance=None, said="old", missing=False, window=None, named="acme", report="users"):
    """A table with these ids, as a run would hand it on.

    `instance`: the names of the instances, each with all ids, in the column `instance`; of those
    in `missing` something is missing. Without it the rows are of the instance `named`."""
    names = instance or [named]
    lost = {*names} if missing is True else {*(missing or ())}
    columns = {"id": [*ids] * len(names), "said": [said] * len(ids) * len(names)}
    if instance:
        columns = {"instance": [name for name in names for _ in ids], **columns}
    schema = pa.schema([(name, pa.int64() if name == "id" else pa.string()) for name in columns])
    return marked(pa.table(columns, schema=schema), names, lost, window, bool(instance), report)


def marked(table, names, lost, window, by_instance, report="users"):
    "A table with the mark that says what it covers, as the kit writes it down."
    spans = [[end and end.isoformat() for end in window]] if window else []
    parts = [
        {
            "partition": "",
            "instance": name,
            "complete": name not in lost,
            "missing": ["a page is missing."] if name in lost else [],
            "windows": spans,
        }
        for name in names
    ]
    mark = {"report": report, "by_instance": by_instance, "parts": parts}
    return table.replace_schema_metadata({"domostats": json.dumps(mark)})


def unmarked(table):
    return table.replace_schema_metadata(None)


def put(kind, data, method="REPLACE", **how):
    "Write data to the one destination of a test; gives what a user was told."
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        if kind == "store":
            Store().write("x", data, method, **how)
        else:
            write_file(data, kind, **how)
    return [str(one.message) for one in told if one.category is UserWarning]


def content(kind):
    "The rows that stand there, sorted."
    table = Store().read("x") if kind == "store" else read_file(kind)
    return sorted(map(tuple, (row.values() for row in table.to_pylist())), key=str)


def columns_of(kind):
    return (Store().read("x") if kind == "store" else read_file(kind)).column_names


def stands(kind):
    return "x" in Store().names() if kind == "store" else Path(kind).exists()


def bytes_of(kind):
    "What stands there, byte for byte; of a dataset its rows."
    if kind == "store":
        return content(kind)
    return {path.name: path.read_bytes() for path in Path().iterdir() if path.name[:1] == "x"}


def outcome(function, *arguments, **keywords):
    "The reason of the error, or `written`."
    try:
        function(*arguments, **keywords)
    except DomostatsError as e:
        return e.reason
    return "written"


STANDING = {
    "nothing": None,
    "of others": lambda: unmarked(rows(1, 2, 3)),
    "complete": lambda: rows(1, 2, 3),
    "incomplete": lambda: rows(1, missing=True),
    "narrowed": lambda: rows(2, window=(day(2), day(3))),
    "two instances": lambda: rows(1, 2, instance=["acme", "beta"]),
    "two, beta incomplete": lambda: rows(1, instance=["acme", "beta"], missing=["beta"]),
}
ARRIVING = {
    "complete": lambda: rows(1, 2, 3, said="new"),
    "incomplete": lambda: rows(1, said="new", missing=True),
    "same window": lambda: rows(2, said="new", window=(day(2), day(3))),
    "wider window": lambda: rows(2, 3, said="new", window=(day(2), None)),
    "next window": lambda: rows(3, said="new", window=(day(3), day(4))),
    "both": lambda: rows(1, 2, said="new", instance=["acme", "beta"]),
    "both, beta incomplete": lambda: rows(
        1, said="new", instance=["acme", "beta"], missing=["beta"]
    ),
    "beta is down": lambda: rows(1, 2, said="new", instance=["acme"]),
}

# what stands there × what comes, with REPLACE: what happens
REPLACE = """
                     | complete | incomplete | same window | wider window | next window | both           | both, beta incomplete | beta is down
nothing              | written  | written    | written     | written      | written     | written        | written               | written
of others            | written  | incomplete | narrowed    | narrowed     | narrowed    | other_instance | other_instance        | other_instance
complete             | written  | incomplete | narrowed    | narrowed     | narrowed    | written        | written               | written
incomplete           | written  | written    | narrowed    | narrowed     | narrowed    | written        | written               | written
narrowed             | written  | incomplete | written     | written      | narrowed    | written        | written               | written
two instances        | written  | incomplete | narrowed    | narrowed     | narrowed    | written        | incomplete            | written
two, beta incomplete | written  | incomplete | narrowed    | narrowed     | narrowed    | written        | written               | written
"""  # noqa: E501
# a CSV file of one instance does not say of which, so it is like one of others; if it has a note,
# it says more
IN_CSV = {
    ("complete", "both"): "other_instance",
    ("complete", "both, beta incomplete"): "other_instance",
    ("complete", "beta is down"): "other_instance",
}
APPEND = """
                     | complete | incomplete | same window    | wider window   | next window    | both           | both, beta incomplete | beta is down
nothing              | written  | incomplete | written        | written        | written        | written        | incomplete            | written
of others            | written  | incomplete | narrowed       | narrowed       | narrowed       | other_instance | other_instance        | other_instance
complete             | written  | incomplete | narrowed       | narrowed       | narrowed       | other_instance | other_instance        | other_instance
incomplete           | written  | incomplete | narrowed       | narrowed       | narrowed       | other_instance | other_instance        | other_instance
narrowed             | narrowed | incomplete | narrowed       | narrowed       | written        | other_instance | other_instance        | other_instance
two instances        | written  | incomplete | narrowed       | narrowed       | narrowed       | written        | incomplete            | written
"""  # noqa: E501
UPSERT = """
                     | complete | incomplete | same window    | wider window   | next window    | both           | both, beta incomplete | beta is down
nothing              | written  | written    | written        | written        | written        | written        | written               | written
of others            | written  | written    | written        | written        | written        | other_instance | other_instance        | other_instance
complete             | written  | written    | written        | written        | written        | other_instance | other_instance        | other_instance
incomplete           | written  | written    | written        | written        | written        | other_instance | other_instance        | other_instance
narrowed             | written  | written    | written        | written        | written        | other_instance | other_instance        | other_instance
two instances        | written  | written    | written        | written        | written        | written        | written               | written
"""  # noqa: E501


def cases(text):
    "(what stands, what comes, what happens) of a table."
    first, *lines = [
        [word.strip() for word in line.split("|")] for line in text.strip("\n").splitlines()
    ]
    return [
        (line[0], comes, happens)
        for line in lines
        for comes, happens in zip(first[1:], line[1:], strict=True)
    ]


def check(kind, method, stood, comes, happens, **how):
    if STANDING[stood]:
        put(kind, STANDING[stood]())
    before = bytes_of(kind) if STANDING[stood] else None
    assert outcome(put, kind, ARRIVING[comes](), method, **how) == happens
    if happens != "written":
        assert stands(kind) == (before is not None)
        assert before is None or bytes_of(kind) == before
    assert not [*Path().glob("*.part")] and not [*Path().glob(".*.part")]


@pytest.mark.sampled(14)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stood, comes, happens", cases(REPLACE))
def test_what_may_replace_what(kind, stood, comes, happens):
    if kind.lower().endswith(".csv"):
        happens = IN_CSV.get((stood, comes), happens)
    check(kind, "REPLACE", stood, comes, happens)


@pytest.mark.sampled(10)
@pytest.mark.parametrize("stood, comes, happens", cases(APPEND))
def test_what_may_be_appended_to_what(stood, comes, happens):
    check("store", "APPEND", stood, comes, happens)


@pytest.mark.sampled(10)
@pytest.mark.parametrize("stood, comes, happens", cases(UPSERT))
def test_what_may_be_upserted_into_what(stood, comes, happens):
    check("store", "UPSERT", stood, comes, happens, update_key="id")


@pytest.mark.parametrize("kind", KINDS)
def test_an_incomplete_run_is_let_in_if_somebody_says_so(kind):
    put(kind, rows(1, 2, 3))
    told = put(kind, rows(1, missing=True, said="new"), allow_incomplete=True)
    assert content(kind) == [(1, "new")] and "a page is missing" in " ".join(told)
    put(kind, rows(2, missing=True))  # what stands there is incomplete itself now
    assert content(kind) == [(2, "old")]
    assert outcome(put, kind, rows(1, window=(day(1), day(2))), allow_incomplete=True) == "narrowed"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_incomplete_is_noted_and_remembered(kind):
    told = put(kind, rows(1, missing=True))
    assert len(told) == 1 and "incomplete" in told[0] and "a page is missing" in told[0]
    put(kind, rows(1, 2, missing=True))
    assert put(kind, rows(1, 2, 3)) == []
    assert outcome(put, kind, rows(1, missing=True)) == "incomplete"
    left = {path.name for path in Path().iterdir() if path.name[:1] in "x."}
    assert left == (set() if kind == "store" else {kind})


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_an_instance_that_is_down_stay(kind):
    put(kind, rows(1, 2, instance=["acme", "beta"]))
    told = put(kind, rows(1, 3, instance=["acme"], said="new"))
    kept = [("beta", 1, "old"), ("beta", 2, "old")]
    assert content(kind) == [("acme", 1, "new"), ("acme", 3, "new"), *kept]
    assert any("keeps the rows of beta" in sentence for sentence in told)
    put(kind, rows(4, named="acme", said="alone"))
    assert content(kind) == [("acme", 4, "alone"), *kept]
    put(kind, rows(5, instance=["gamma"]))
    assert content(kind) == [("acme", 4, "alone"), *kept, ("gamma", 5, "old")]
    put(kind, rows(instance=["beta"]))  # it has no rows any more, and was read completely
    assert content(kind) == [("acme", 4, "alone"), ("gamma", 5, "old")]


@pytest.mark.parametrize("kind", KINDS)
def test_each_instance_is_incomplete_for_itself(kind):
    put(kind, rows(1, 2, instance=["acme", "beta"], missing=["beta"]))
    assert outcome(put, kind, rows(1, named="acme", missing=True)) == "incomplete"
    put(kind, rows(7, named="beta", missing=True))
    put(kind, rows(1, 2, 3, named="beta"))
    assert outcome(put, kind, rows(1, named="beta", missing=True)) == "incomplete"
    names = [name for name, *_ in content(kind)]
    assert names == ["acme", "acme", "beta", "beta", "beta"]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_do_not_say_whose_they_are_are_not_mixed_with_those_that_do(kind):
    put(kind, rows(1, instance=["acme", "beta"]))
    frame = pd.DataFrame({"id": [1], "said": ["new"]})
    frame.attrs["domostats"] = {"report": "users", "incomplete": False}
    assert outcome(put, kind, frame) == "other_instance"
    assert outcome(put, kind, rows(1, named="acme", report="groups")) == (
        "written" if kind.lower().endswith(".csv") else "other_report"
    )


def test_another_report_does_not_come_among_rows_that_stay_in_a_csv_file():
    put("x.csv", rows(1, instance=["acme", "beta"]))
    before = bytes_of("x.csv")
    other = rows(1, named="acme").rename_columns(["id", "color"])
    other = other.replace_schema_metadata(rows(1, named="acme").schema.metadata)
    assert outcome(put, "x.csv", other) == "other_columns" and bytes_of("x.csv") == before


@pytest.mark.parametrize("kind", ["x.parquet", "store"])
def test_one_instance_does_not_take_the_place_of_another(kind):
    put(kind, rows(1, named="acme"))
    assert outcome(put, kind, rows(2, named="beta")) == "other_instance"
    assert content(kind) == [(1, "old")]
    put(kind, rows(1, 2, instance=["acme", "beta"]))
    assert len(content(kind)) == 4


@pytest.mark.parametrize("method, key", [("APPEND", None), ("UPSERT", "id")])
def test_rows_of_another_instance_are_not_mixed_into_a_dataset(method, key):
    put("store", rows(1, named="acme"))
    assert outcome(put, "store", rows(1, named="beta"), method, update_key=key) == "other_instance"


def test_a_key_of_several_instances_has_the_instance_in_it():
    put("store", rows(1, 2, instance=["acme", "beta"]))
    put("store", rows(1, 3, named="acme", said="new"), "UPSERT", update_key="id")
    put("store", rows(4, instance=["beta"], said="new"), None)
    assert content("store") == [
        ("acme", 1, "new"),
        ("acme", 2, "old"),
        ("acme", 3, "new"),
        ("beta", 1, "old"),
        ("beta", 2, "old"),
        ("beta", 4, "new"),
    ]


def test_after_an_incomplete_upsert_the_rows_of_the_complete_run_stay_protected():
    put("store", rows(1, 2))
    told = put("store", rows(1, said="new", missing=True), "UPSERT", update_key="id")
    assert content("store") == [(1, "new"), (2, "old")] and "new rows may be missing" in told[0]
    assert outcome(put, "store", rows(1, missing=True)) == "incomplete"
    part = Store().coverage("x").parts["", "acme"]
    assert part.complete and part.missing == ("a page is missing.",)
    put("store", rows(1, 2, 3), "UPSERT", update_key="id")
    assert Store().coverage("x").is_whole


def test_a_narrowed_upsert_leaves_a_whole_dataset_whole():
    put("store", rows(1, 2, 3))
    put("store", rows(2, said="new", window=(day(2), day(3))), "UPSERT", update_key="id")
    assert Store().coverage("x").is_whole and len(content("store")) == 3
    assert outcome(put, "store", rows(2, window=(day(2), day(3)))) == "narrowed"


def test_windows_are_appended_one_behind_the_other():
    def window(first, last):
        return rows(*range(first, last), window=(day(first), day(last)))

    put("store", window(3, 5), "APPEND")
    put("store", window(5, 6), "APPEND")
    put("store", window(1, 3), "APPEND")
    assert [id for id, _ in content("store")] == [1, 2, 3, 4, 5]
    for first, last in ((5, 6), (4, 7), (1, 9), (7, 8), (2, 3)):
        assert outcome(put, "store", window(first, last), "APPEND") == "narrowed"
    assert outcome(put, "store", window(2, 5)) == "narrowed"
    put("store", window(1, 7))
    assert [id for id, _ in content("store")] == [1, 2, 3, 4, 5, 6]


def test_the_message_says_where_to_go_on():
    put("store", rows(1, window=(day(1), day(3))))
    with pytest.raises(DataError, match="gap.*--changed-since 2024-03-03T00:00:00"):
        put("store", rows(5, window=(day(5), day(6))), "APPEND")
    with pytest.raises(DataError, match="double.*--changed-since 2024-03-03T00:00:00"):
        put("store", rows(2, window=(day(2), day(4))), "APPEND")


def test_a_partition_is_a_place_of_its_own():
    def part(name, data):
        return outcome(put, "store", data, "PARTITION", partition_name=name)

    assert part("may", rows(1, 2)) == "written"
    assert part("june", rows(3, missing=True)) == "written"
    assert part("may", rows(1, missing=True)) == "incomplete"
    assert part("june", rows(4, missing=True)) == "written"
    assert part("may", rows(1, window=(day(1), day(2)))) == "narrowed"
    assert outcome(put, "store", rows(1, missing=True)) == "incomplete"
    assert [id for id, _ in content("store")] == [1, 2, 4]


def test_in_a_partition_too_the_rows_of_an_instance_that_is_down_stay():
    both = rows(1, instance=["acme", "beta"])
    put("store", both, "PARTITION", partition_name="may")
    put("store", both, "PARTITION", partition_name="june")
    put("store", rows(2, instance=["acme"]), "PARTITION", partition_name="may")
    assert sorted(content("store")) == [
        ("acme", 1, "old"),
        ("acme", 2, "old"),
        ("beta", 1, "old"),
        ("beta", 1, "old"),
    ]


def test_a_dataset_with_partitions_of_an_older_version_counts_as_complete():
    plain = unmarked(rows(1, 2))
    put("store", plain, "PARTITION", partition_name="may")
    may = {"partition_name": "may"}
    assert outcome(put, "store", rows(1, missing=True), "PARTITION", **may) == "incomplete"
    june = {"partition_name": "june"}
    assert outcome(put, "store", rows(3, missing=True), "PARTITION", **june) == "written"
    put("store", plain, "PARTITION", partition_name="june")  # by somebody who does not say
    assert outcome(put, "store", rows(3, missing=True), "PARTITION", **june) == "incomplete"


# ---- where the mark travels


@pytest.mark.sampled(4)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["a frame", "a table", "a stream", "a table read from a file"])
def test_data_that_are_marked_keep_to_the_rule(kind, way):
    put(kind, rows(1, 2))
    before = bytes_of(kind)
    if way == "a frame":
        data = pd.DataFrame({"id": [1], "said": ["new"]})
        data.attrs["domostats"] = {"report": "users", "incomplete": True, "doubts": ["why."]}
    else:
        data = rows(1, missing=True)
        if way == "a stream":
            data = data.to_reader()
        elif way == "a table read from a file":
            write_file(data, "other.csv")
            data = read_file("other.csv")
    assert outcome(put, kind, data) == "incomplete" and bytes_of(kind) == before


def test_in_python_a_note_is_a_warning(recwarn):
    with pytest.warns(UserWarning, match="a page is missing"):
        write_file(rows(1, missing=True), "x.csv")
    with pytest.warns(UserWarning, match="a page is missing"):
        Store().write("x", rows(1, missing=True))


def test_a_frame_that_is_marked_warns_in_write_dataframe():
    from domostats import domojupyter

    domojupyter.attach(outputs=["x"])
    frame = pd.DataFrame({"id": [1]})
    frame.attrs["domostats"] = {"incomplete": True, "doubts": ["a page is missing."]}
    with pytest.warns(UserWarning, match="a page is missing"):
        domojupyter.write_dataframe(frame, "x")
    domojupyter.write_dataframe(pd.DataFrame({"id": [1, 2]}), "x")
    with pytest.raises(DataError) as told:
        domojupyter.write_dataframe(frame, "x")
    assert told.value.reason == "incomplete" and Store().read("x").num_rows == 2


# ---- CSV: the note beside it


def test_a_csv_file_of_a_complete_run_has_nothing_beside_it():
    put("x.csv", rows(1, missing=True))
    assert [path.name for path in Path().glob("x.*")] != ["x.csv"]
    put("x.csv", rows(1, 2))
    assert [path.name for path in Path().glob("x.*")] == ["x.csv"]


def test_a_note_about_another_csv_file_means_nothing():
    put("x.csv", rows(1, missing=True))
    with open("x.csv", "a") as file:
        file.write('2,"by hand"\n')
    assert outcome(put, "x.csv", rows(1, missing=True)) == "incomplete"
    for text in ("", "[]", "{}", '{"sha256": 1}', "\x00"):
        Path("x.csv.domostats.json").write_text(text)
        assert outcome(put, "x.csv", rows(1, missing=True)) == "incomplete"


def test_rows_that_stay_in_a_csv_file_stay_byte_for_byte():
    text = (
        '"instance","id","said"\n"beta",007,"a ""quoted""\nline, é"\n"acme",1,"x"\n'
        '"beta",1.50,\n"beta",8,""'
    )
    Path("x.csv").write_text(text)
    put("x.csv", rows(2, named="acme", said="new"))
    new, header = '"acme",2,"new"\n', '"instance","id","said"\n'
    kept = '"beta",007,"a ""quoted""\nline, é"\n"beta",1.50,\n"beta",8,""\n'
    assert Path("x.csv").read_text() == header + new + kept


# ---- what fails leaves what stood there


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stood", ["complete", "two instances", "two, beta incomplete"])
def test_a_source_that_breaks_off_changes_nothing(kind, stood):
    put(kind, STANDING[stood]())
    before, data = bytes_of(kind), rows(1, named="acme")

    def broken():
        yield from data.to_batches()
        raise ConnectionError("the connection was reset")

    with pytest.raises(ConnectionError):
        put(kind, pa.RecordBatchReader.from_batches(data.schema, broken()))
    assert bytes_of(kind) == before and not [*Path().glob(".x*")]


@pytest.mark.parametrize("kind", FILES)
def test_a_full_disk_changes_nothing(kind, monkeypatch):
    from domostats.loading import drafts

    put(kind, rows(1, instance=["acme", "beta"]))
    before = bytes_of(kind)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(drafts.os, "fsync", full)
    with pytest.raises(DestinationError):
        put(kind, rows(2, named="acme"))
    assert bytes_of(kind) == before and not [*Path().glob(".x*")]


def test_columns_that_do_not_fit_change_nothing():
    put("x.parquet", rows(1, instance=["acme", "beta"]))
    before = bytes_of("x.parquet")
    other = rows(1, named="acme")
    meta = other.schema.metadata
    text = other.set_column(0, "id", pa.array(["one"])).replace_schema_metadata(meta)
    assert outcome(put, "x.parquet", text) == "other_columns" and bytes_of("x.parquet") == before


def test_a_file_that_is_no_table_counts_as_complete():
    for name in ("x.parquet", "x.csv"):
        Path(name).write_bytes(b"\xff\x00 nothing to read")
        assert outcome(put, name, rows(1, missing=True)) == "incomplete"
        assert outcome(put, name, rows(1)) == "written"


@pytest.mark.parametrize("kind", FILES)
def test_two_that_write_at_once_lose_no_instance(kind):
    names = ["acme", "beta", "gamma"]
    put(kind, rows(0, instance=names))
    errors = []

    def often(name):
        for number in range(1, 16):
            try:
                write_file(rows(number, named=name), kind)
            except Exception as e:
                errors.append(e)

    threads = [threading.Thread(target=often, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and content(kind) == [(name, 15, "old") for name in names]
    assert not [*Path().glob(".x*")]


# ---- no sequence of runs loses or doubles a row

DAYS = 5
RUN = st.fixed_dictionaries(
    {
        "instances": st.sampled_from([("acme",), ("beta",), ("acme", "beta"), ("acme", "gamma")]),
        "lost": st.sets(
            st.tuples(st.sampled_from(["acme", "beta", "gamma"]), st.integers(1, DAYS))
        ),
        "window": st.one_of(
            st.none(), st.tuples(st.integers(1, DAYS), st.integers(1, DAYS)).map(sorted)
        ),
        "method": st.sampled_from(["REPLACE", "REPLACE", "APPEND", "UPSERT"]),
        "as_one": st.booleans(),
    }
)


def arriving(run, version):
    """The table of a run, and its rows as {(instance, id): version}; of each instance there are
    events 1 … 5, one a day."""
    start, end = run["window"] or (1, DAYS + 1)
    window = (day(start), day(end)) if run["window"] else None
    came = {
        (name, id): version
        for name in run["instances"]
        for id in range(start, end)
        if (name, id) not in run["lost"]
    }
    lost = {name for name, id in run["lost"] if start <= id < end and name in run["instances"]}
    by_instance = len(run["instances"]) > 1 or not run["as_one"]
    columns = {
        "instance": pa.array([name for name, _ in came], pa.string()),
        "id": pa.array([id for _, id in came], pa.int64()),
        "version": pa.array([*came.values()], pa.int64()),
    }
    if not by_instance:
        del columns["instance"]
    table = marked(pa.table(columns), run["instances"], lost, window, by_instance, "log")
    return table, came, lost


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["store", "x.parquet", "x.csv"])
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(runs=st.lists(RUN, min_size=1, max_size=6))
def test_no_sequence_of_runs_loses_or_doubles_a_row(kind, runs):
    for path in Path().glob("x.*"):
        path.unlink()
    if "x" in Store().names():
        Store().drop("x")
    model, protected = {}, set()
    for version, run in enumerate(runs):
        if kind != "store":
            run = run | {"method": "REPLACE"}
        if kind == "x.csv":  # a file that does not say whose rows it holds is replaced as a whole
            run = run | {"as_one": False}
        if run["method"] == "APPEND" and run["window"] is None:
            continue  # to append a whole list twice doubles it, as it says
        table, came, lost = arriving(run, version)
        key = "id" if run["method"] == "UPSERT" else None
        how = {"update_key": key} if kind == "store" else {}
        of_one = stands(kind) and "instance" not in columns_of(kind)
        if outcome(put, kind, table, run["method"], **how) == "written":
            if run["method"] == "REPLACE":  # a table of one instance is replaced as a whole
                stays = {} if of_one else model
                model = {key: n for key, n in stays.items() if key[0] not in run["instances"]}
            model = model | came
            protected |= {key for key in came if key[0] not in lost}
        assert protected <= model.keys(), "rows of a complete run are lost"
        if not stands(kind):
            assert not model
            continue
        found = content(kind)
        if "instance" not in columns_of(kind):
            assert len({name for name, _ in model}) <= 1
            found = [(name, *row) for row in found for name in {name for name, _ in model}]
        assert len(found) == len({row[:2] for row in found}), "rows are doubled"
        assert {(name, id): n for name, id, n in found} == model


# ---- the runs themselves


def test_a_run_knows_its_window(box):
    since, until = datetime(2024, 3, 25), datetime(2024, 3, 26)
    windows = {
        name: reports.find(name).run(box, since=since, until=until).window
        for name in ("users", "page_access", "datasets", "activity_log")
    }
    assert windows == {
        "users": None,
        "page_access": (day(25), None),
        "datasets": (day(25), None),
        "activity_log": (day(25), day(26)),
    }
    log = reports.find("activity_log")
    assert (
        log.run(box).window is None
        and reports.find("datasets").run(box, until=until).window is None
    )
    later = datetime.now(timezone.utc) + timedelta(days=1)
    assert log.run(box, since=since, until=later).window == (day(25), None)


@pytest.mark.parametrize("kind", ["x.parquet", "x.csv"])
def test_a_run_can_be_written_itself(box, kind):
    groups = reports.find("groups")
    run = groups.run(box)
    assert write_file(run, kind) == Store().write("x", run) == 8
    assert write_file(run.table, kind) == write_file(run.reader(), kind) == 8
    with groups.stream(box) as run:
        assert write_file(run.reader(), kind) == 8
    with groups.stream(box) as run:
        assert write_file(run, kind) == 8
        with pytest.raises(SettingsError) as told:
            run.reader()
        assert told.value.reason == "already_read"


@pytest.mark.sampled(4)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["run", "stream", "reader", "table", "frame"])
def test_an_incomplete_run_does_not_replace_a_complete_one_in_python(box, kind, way):
    accounts = reports.find("accounts")
    put(kind, accounts.run(box, format_fn="v1"))
    before = bytes_of(kind)
    serve(box, GOOD, BAD)
    with accounts.stream(box, format_fn="v1") as run:
        if way == "stream":
            assert outcome(put, kind, run) == "incomplete"
        elif way == "reader":
            assert outcome(put, kind, run.reader()) == "incomplete"
        else:
            run.made
            data = {"run": run, "table": run.table, "frame": run.dataframe()}[way]
            assert run.incomplete and outcome(put, kind, data) == "incomplete"
    assert bytes_of(kind) == before


def test_many_instances_agree_although_their_columns_differ(box):
    from domostats.reports.fleet import run_all

    accounts = reports.find("accounts")
    with sandbox.start(seed=2, today="2024-04-01") as other:
        serve(box, GOOD | {"color": "red"})
        serve(other, GOOD, GOOD | {"id": 2})
        fleet = run_all(accounts, [box, other], "v1", contract="extend")
        fields = fleet.table.select(["instance", "other_fields"]).to_pylist()
        assert [row["instance"] for row in fields] == [box.name, other.name, other.name]
        assert "red" in fields[0]["other_fields"] and fields[1]["other_fields"] is None
        put("x.parquet", fleet)
        put("x.parquet", run_all(accounts, [box, other], "v1").runs[box.name])
        assert len(content("x.parquet")) == 3
        assert "other_fields" in read_file("x.parquet").column_names

        def shape(account_obj):
            return {"id": account_obj["id"], "size": sizes[account_obj["id"]]}

        sizes = {1: 1, 2: 2.5}
        serve(other, GOOD | {"id": 2})
        fleet = run_all(accounts, [box, other], shape)
        assert fleet.table["size"].to_pylist() == [1.0, 2.5]
        assert fleet.runs[other.name].table["id"].to_pylist() == [2]
        sizes[2] = "large"
        with pytest.raises(DataError) as told:
            run_all(accounts, [box, other], shape).table
        assert told.value.reason == "column_type"


# ---- the command line


@pytest.mark.slow
def test_a_run_that_was_narrowed_does_not_replace_the_whole(box):
    only = "run", "--instance", box.name, "--only", "users,datasets,page_access"
    for place in (["--to", "out"], []):
        assert domostats(*only, *place)[0] == 0

        def count():
            return {
                name: (read_file(f"out/{name}.parquet") if place else Store().read(name)).num_rows
                for name in ("users", "datasets", "page_access")
            }

        before = count()
        code, printed = domostats(*only, *place, "--changed-since", "2024-03-25")
        assert count() == before and before["datasets"] == 15
        assert code == 6 and "narrowed" in printed and "2024-03-25" in printed
        code, printed = domostats(
            *only, *place, "--changed-since", "2024-03-25", "--allow-incomplete"
        )
        assert count() == before and code == 6


@pytest.mark.sampled(3)
@pytest.mark.parametrize("to", ["log.parquet", "log.csv", "log"])
def test_a_narrowed_file_is_replaced_by_the_same_window_or_a_wider_one(box, to):
    command = "generate", "datasets", "--instance", box.name, "--to", to, "--changed-since"

    def count():
        return (read_file(to) if "." in to else Store().read(to)).num_rows

    assert domostats(*command, "2024-02-01")[0] == 0
    first = count()
    assert domostats(*command, "2024-02-01")[0] == 0 and count() == first
    code, printed = domostats(*command, "2024-03-25")
    assert code == 6 and "2024-02-01" in printed and count() == first
    assert domostats(*command, "2024-01-01")[0] == 0 and count() >= first
    assert domostats(*command[:-1])[0] == 0 and count() == 15
    assert domostats(*command, "2024-01-01")[0] == 6 and count() == 15


def test_events_are_appended_day_after_day_and_never_twice():
    with sandbox.start(events=300, today="2024-04-01") as box:
        from domostats.clients.domo.activity import get_activity_log

        moments = sorted(
            event["time"] for event in get_activity_log(box, since=datetime(2024, 1, 1))
        )
        first, middle, last = (
            datetime.fromtimestamp(moments[n] // 1000, timezone.utc).replace(tzinfo=None)
            for n in (0, len(moments) // 2, -1)
        )
        last += timedelta(seconds=1)
        command = (
            "generate",
            "activity_log",
            "--instance",
            box.name,
            "--to",
            "log",
            "--method",
            "APPEND",
        )

        def window(start, end):
            return (
                f"--changed-since={start:%Y-%m-%dT%H:%M:%S}",
                f"--until={end:%Y-%m-%dT%H:%M:%S}",
            )

        assert domostats(*command, *window(first, middle))[0] == 0
        code, printed = domostats(*command, *window(first, middle))
        assert code == 6 and "double" in printed
        assert domostats(*command, *window(middle, last))[0] == 0
        assert Store().read("log").num_rows == len(moments) > 50


@pytest.mark.slow
@pytest.mark.parametrize("to", ["x.parquet", "x.csv", "x.CSV", "x"])
def test_an_incomplete_list_does_not_replace_a_complete_one(box, to):
    command = *ACCOUNTS, "--instance", box.name, "--to", to

    def read():
        return Path(to).read_bytes() if "." in to else Store().read(to).to_pylist()

    assert domostats(*command)[0] == 0
    before = read()
    serve(box, GOOD, BAD)
    code, printed = domostats(*command, "--fresh")
    assert read() == before and code == 6 and "incomplete" in printed
    assert "set aside" in printed and "--allow-incomplete" in printed
    assert not [*Path().glob(".x*")]
    code, printed = domostats(*command, "--fresh", "--allow-incomplete")
    assert code == 0 and "note:" in printed and read() != before


@pytest.mark.slow
@pytest.mark.parametrize("place", [["--to", "out"], []])
def test_a_run_of_many_reports_refuses_the_incomplete_one_and_writes_the_others(box, place):
    command = "run", "--instance", box.name, "--only", "users,accounts", *place

    def read(name):
        return (read_file(f"out/{name}.parquet") if place else Store().read(name)).num_rows

    assert domostats(*command)[0] == 0
    before = read("accounts")
    serve(box, GOOD, BAD)
    code, printed = domostats(*command, "--fresh")
    assert read("accounts") == before and read("users") == 12
    assert code == 6 and "failed: accounts" in printed and "incomplete" in printed
    code, printed = domostats(*command, "--fresh", "--allow-incomplete")
    assert code == 0 and read("accounts") != before
    before = read("accounts")
    code, printed = domostats(*command, "--fresh", "--strict")
    assert code == 6 and "violations" in printed and read("accounts") == before


def test_where_nothing_stands_an_incomplete_run_is_written_and_noted(box):
    serve(box, GOOD, BAD)
    for to in ("x.csv", "x"):
        command = *ACCOUNTS, "--instance", box.name, "--to", to
        for _ in range(2):
            code, printed = domostats(*command)
            assert code == 0 and "incomplete" in printed and "set aside" in printed
    code, printed = domostats(*command, "--method", "APPEND")
    assert code == 6 and "incomplete" in printed and Store().read("x").num_rows == 1
    code, printed = domostats(*command, "--method", "UPSERT")
    assert code == 0 and "incomplete" in printed and Store().read("x").num_rows == 1


@pytest.mark.sampled(3)
@pytest.mark.parametrize("to", ["users.parquet", "users.csv", "users"])
def test_the_rows_of_an_instance_that_is_down_stay(box, to):
    with sandbox.start(users=5, today="2024-04-01") as other:
        command = "generate", "users", "--to", to, "--instance", box.name
        both = *command, "--instance", other.name

        def count():
            return (read_file(to) if "." in to else Store().read(to))["instance"].to_pylist()

        assert domostats(*both)[0] == 0
        other.fail("forbidden", times=None)
        code, printed = domostats(*both)
        assert sorted(count()) == [box.name] * 12 + [other.name] * 5
        assert code == 5 and f"failed: {other.name}" in printed
        assert f"keeps the rows of {other.name}" in printed
        assert domostats(*command)[0] == 0
        assert sorted(count()) == [box.name] * 12 + [other.name] * 5


def test_an_instance_that_is_incomplete_does_not_stop_the_others(box):
    with sandbox.start(seed=2, today="2024-04-01") as other:
        command = *ACCOUNTS, "--to", "g.parquet", "--instance", box.name
        both = *command, "--instance", other.name
        assert domostats(*both)[0] == 0
        before = read_file("g.parquet")["instance"].to_pylist().count(other.name)
        serve(box, GOOD)
        serve(other, GOOD, BAD)
        code, printed = domostats(*both, "--fresh")
        found = read_file("g.parquet")["instance"].to_pylist()
        assert found.count(other.name) == before > 1 == found.count(box.name)
        assert code == 6 and f"failed: {other.name}" in printed
        code, printed = domostats(*both, "--fresh", "--allow-incomplete")
        assert code == 0 and read_file("g.parquet").num_rows == 2


def test_an_instance_that_is_named_twice_is_read_once(box):
    command = "generate", "groups", "--to", "g.parquet", "--instance", box.name
    assert domostats(*command, "--instance", box.name.upper())[0] == 0
    assert read_file("g.parquet").num_rows == 8


def test_a_run_of_one_instance_does_not_replace_the_folder_of_another(box):
    with sandbox.start(users=5, today="2024-04-01") as other:
        command = "run", "--only", "users", "--to", "out", "--instance"
        assert domostats(*command, box.name)[0] == 0
        code, printed = domostats(*command, other.name)
        assert code == 7 and box.name in printed
        assert read_file("out/users.parquet").num_rows == 12


def test_an_instance_means_its_name_and_not_its_address(box):
    Path("settings.ini").write_text(f"[instance.lab]\nurl = {box.url}\n")
    login = {"DOMO_USERNAME": box.username, "DOMO_PASSWORD": box.password}
    command = "generate", "groups", "--to", "g.parquet", "--instance", "lab"
    assert domostats(*command, **login)[0] == 0
    with sandbox.start(today="2024-04-01") as moved:
        Path("settings.ini").write_text(f"[instance.lab]\nurl = {moved.url}\n")
        login = {"DOMO_USERNAME": moved.username, "DOMO_PASSWORD": moved.password}
        assert domostats(*command, **login)[0] == 0


def test_instances_that_were_read_hold_no_rows_and_no_lookups(box):
    from domostats.reports.fleet import run_all

    with sandbox.start(seed=2, today="2024-04-01") as other:
        fleet = run_all(reports.find("datasets"), [box, other])
        for run in fleet.runs.values():
            assert "made" not in vars(run), "the rows of a run are held"
            assert not any(len(lookup.records) for lookup in run.joined.lookups.values())
            assert len(run.maker.keys.held) == 0 and run.came == 15
        assert fleet.table.num_rows == 30
        assert [len(run.table) for run in fleet.runs.values()] == [15, 15]


def test_events_without_a_window_are_all_that_there_are(box):
    command = ["generate", "activity_log", "--instance", box.name, "--to", "events.parquet"]
    assert domostats(*command, "--changed-since", "2020-01-01")[0] == 0
    before = read_file("events.parquet").num_rows
    code, printed = domostats(*command)
    assert before == 200 and code == 0, printed
    assert read_file("events.parquet").num_rows == before


def test_rows_of_another_format_are_no_update_of_a_dataset(box):
    command = ["generate", "users", "--instance", box.name, "--to", "people"]
    assert domostats(*command)[0] == 0
    code, printed = domostats(*command, "--format", "all", "--method", "UPSERT")
    assert code == 7 and "other_columns" in printed and Store().read("people").num_rows == 12


def test_a_failed_instance_is_named_beside_what_strict_refuses(box):
    with sandbox.start(accounts=4, seed=2, today="2024-04-01") as other:
        other.fail("forbidden", times=None)
        box.serve("/api/content/v2/groups/grouplist", [{"groupId": {}}, {"groupId": 5}])
        command = ["generate", "groups", "--strict", "--to", "groups.parquet"]
        code, printed = domostats(*command, "--instance", box.name, "--instance", other.name)
    assert code == 6 and f"failed: {other.name}" in printed
