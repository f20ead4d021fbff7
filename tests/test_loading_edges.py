"""The edges of loading: what a part, a note, a method and a type mean, case by case."""

import base64
import json
import os
import stat
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from domostats.errors import DataError, DestinationError, SettingsError
from domostats.loading.coverage import Coverage, coverage_of, mark_rows, read_coverage
from domostats.loading.file_notes import file_coverage
from domostats.loading.files import read_file, write_file
from domostats.loading.parts import Part, append_part, part_of, replace_part, upsert_part
from domostats.loading.queries import ask, spelled
from domostats.loading.store import Store
from domostats.loading.store_types import folded, quoted
from domostats.loading.streams import check_columns, to_reader
from domostats.loading.updates import Update, choose, literal
from domostats.loading.windows import contains, overlap, spell_windows, unite
from domostats.loading.write_plan import plan_write, refused_parts

UTC = timezone.utc


def day(number):
    return datetime(2024, 3, number, tzinfo=UTC)


def span(first, last):
    "A window from one day of March to another; None is an open end."
    return (
        datetime.min.replace(tzinfo=UTC) if first is None else day(first),
        datetime.max.replace(tzinfo=UTC) if last is None else day(last),
    )


def windows(*spans):
    return tuple(span(*one) for one in spans)


# --- windows --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given, united",
    [
        ([], []),
        ([(2, 3)], [(2, 3)]),
        ([(2, 3), (3, 4)], [(2, 4)]),
        ([(3, 4), (2, 3)], [(2, 4)]),
        ([(2, 9), (3, 4)], [(2, 9)]),
        ([(2, 3), (4, 5)], [(2, 3), (4, 5)]),
        ([(4, 5), (2, 3), (3, 4), (7, 8)], [(2, 5), (7, 8)]),
        ([(None, 3), (2, None)], []),
        ([(None, 3), (4, None)], [(None, 3), (4, None)]),
        ([(None, None)], []),
    ],
)
def test_windows_that_touch_become_one(given, united):
    ends = [tuple(end and day(end) for end in one) for one in given]
    assert unite(ends) == windows(*united)
    plain = [[end and day(end).replace(tzinfo=None).isoformat() for end in one] for one in given]
    assert unite(plain) == windows(*united)  # text without a zone is UTC


@pytest.mark.parametrize(
    "wide, narrow, is_inside",
    [
        ([], [], True),
        ([], [(2, 3)], True),
        ([(2, 3)], [], False),
        ([(2, 5)], [(2, 5)], True),
        ([(2, 5)], [(3, 4)], True),
        ([(2, 5)], [(1, 5)], False),
        ([(2, 5)], [(2, 6)], False),
        ([(2, 5), (7, 9)], [(3, 4), (7, 8)], True),
        ([(2, 5), (7, 9)], [(3, 4), (5, 8)], False),
        ([(None, 5)], [(1, 5)], True),
        ([(2, None)], [(2, None)], True),
    ],
)
def test_whether_windows_cover_others(wide, narrow, is_inside):
    assert contains(windows(*wide), windows(*narrow)) is is_inside


@pytest.mark.parametrize(
    "one, other, meets",
    [
        ([(2, 3)], [(3, 4)], False),
        ([(3, 4)], [(2, 3)], False),
        ([(2, 4)], [(3, 5)], True),
        ([(2, 9)], [(3, 4)], True),
        ([(2, 3), (6, 7)], [(4, 5), (6, 9)], True),
        ([(2, 3), (6, 7)], [(4, 5)], False),
        ([], [(4, 5)], True),
        ([(4, 5)], [], True),
        ([], [], True),
    ],
)
def test_whether_windows_meet(one, other, meets):
    assert overlap(windows(*one), windows(*other)) is meets


def test_windows_in_words():
    assert spell_windows(()) == "all of time"
    assert spell_windows(windows((2, 3))) == (
        "from 2024-03-02 00:00:00 until 2024-03-03 00:00:00 UTC"
    )
    assert spell_windows(windows((None, 3), (5, None))) == (
        "until 2024-03-03 00:00:00 UTC and from 2024-03-05 00:00:00 UTC"
    )


# --- what is known of some rows -------------------------------------------------------------------

WHOLE = Part()
HALF = Part(False, ("a page.",), ())
SOME = Part(True, (), windows((2, 4)))
HALF_OF_SOME = Part(False, ("a page.",), windows((2, 4)))


def reason_of(function, *arguments, **keywords):
    "What becomes of a part, or why it is refused."
    try:
        return function(*arguments, **keywords)
    except (DataError, DestinationError) as e:
        return e.reason


def test_what_a_run_brings():
    assert part_of() == Part(True, (), ())
    assert part_of(["a.", "b.", "a."]) == Part(False, ("a.", "b."), ())
    assert part_of(map(str, range(9))).missing == ("0", "1", "2", "3", "4")
    assert part_of((), (day(2), None)) == Part(True, (), windows((2, None)))


@pytest.mark.parametrize(
    "standing, arriving, becomes",
    [
        (None, HALF_OF_SOME, HALF_OF_SOME),
        (WHOLE, WHOLE, WHOLE),
        (WHOLE, HALF, "incomplete"),
        (WHOLE, SOME, "narrowed"),
        (HALF, HALF, HALF),
        (HALF, WHOLE, WHOLE),
        (HALF, SOME, "narrowed"),
        (SOME, SOME, SOME),
        (SOME, WHOLE, WHOLE),
        (SOME, HALF, "incomplete"),
        (SOME, HALF_OF_SOME, "incomplete"),
        (HALF_OF_SOME, HALF_OF_SOME, HALF_OF_SOME),
        (SOME, Part(True, (), windows((1, 4))), Part(True, (), windows((1, 4)))),
        (SOME, Part(True, (), windows((3, 4))), "narrowed"),
    ],
)
def test_what_is_known_after_a_replacement(standing, arriving, becomes):
    assert reason_of(replace_part, standing, arriving, "x") == becomes
    allowed = reason_of(replace_part, standing, arriving, "x", allowed=True)
    assert allowed == (arriving if becomes == "incomplete" else becomes)


def test_a_refused_replacement_says_what_stands_there_and_what_to_do():
    with pytest.raises(DataError) as caught:
        replace_part(WHOLE, HALF, "x.csv")
    assert str(caught.value) == (
        "This run is incomplete, and a complete run stands there, of which rows would be lost, so "
        "nothing was written to x.csv. Rows may be missing: a page. Mend the cause and run it "
        "again, write to another place, or say --allow-incomplete (allow_incomplete=True)."
    )
    with pytest.raises(DataError) as caught:
        replace_part(WHOLE, SOME, "x.csv")
    assert str(caught.value).startswith(
        "The window of this run is from 2024-03-02 00:00:00 until 2024-03-04 00:00:00 UTC; that of "
        "x.csv is all of time."
    )


@pytest.mark.parametrize(
    "standing, arriving, becomes",
    [
        (None, HALF_OF_SOME, HALF_OF_SOME),
        (HALF, WHOLE, WHOLE),
        (SOME, WHOLE, WHOLE),
        (WHOLE, HALF, Part(True, ("a page.",), ())),
        (WHOLE, SOME, WHOLE),
        (HALF, SOME, Part(True, ("a page.",), ())),
        (HALF, HALF, HALF),
        (HALF, Part(False, ("b.",), ()), Part(False, ("a page.", "b."), ())),
        (HALF_OF_SOME, SOME, SOME),
        (HALF_OF_SOME, Part(True, (), windows((1, 9))), Part(True, (), windows((1, 9)))),
        (
            HALF_OF_SOME,
            Part(True, (), windows((3, 5))),
            Part(True, ("a page.",), windows((2, 5))),
        ),
        (SOME, Part(True, (), windows((6, 7))), Part(True, (), windows((2, 4), (6, 7)))),
    ],
)
def test_what_is_known_after_an_update_by_key(standing, arriving, becomes):
    assert upsert_part(standing, arriving) == becomes


@pytest.mark.parametrize(
    "standing, arriving, becomes",
    [
        (None, WHOLE, WHOLE),
        (None, HALF, "incomplete"),
        (WHOLE, WHOLE, WHOLE),
        (HALF, WHOLE, Part(True, ("a page.",), ())),
        (WHOLE, SOME, "narrowed"),
        (SOME, WHOLE, "narrowed"),
        (SOME, SOME, "narrowed"),
        (SOME, Part(True, (), windows((4, 5))), Part(True, (), windows((2, 5)))),
        (SOME, Part(True, (), windows((1, 2))), Part(True, (), windows((1, 4)))),
        (SOME, Part(True, (), windows((5, 6))), "narrowed"),
        (SOME, Part(True, (), windows((3, 5))), "narrowed"),
        (HALF_OF_SOME, Part(True, (), windows((4, 5))), Part(True, ("a page.",), windows((2, 5)))),
    ],
)
def test_what_is_known_after_rows_were_appended(standing, arriving, becomes):
    assert reason_of(append_part, standing, arriving, "x") == becomes


def test_a_refused_window_says_where_to_go_on():
    for arriving, why in ((5, 6), "leave a gap"), ((3, 5), "double rows"):
        with pytest.raises(DataError) as caught:
            append_part(SOME, Part(True, (), windows(arriving)), "x")
        said = str(caught.value)
        assert f"Appended, its rows would {why}, so nothing was written. Go on with " in said
        assert said.endswith("--changed-since 2024-03-04T00:00:00, or take --method UPSERT.")
    with pytest.raises(DataError) as caught:
        append_part(WHOLE, SOME, "x")
    assert str(caught.value).endswith("Take --method UPSERT, or write to another place.")
    assert append_part(None, HALF, "x", allowed=True) == HALF
    assert append_part(SOME, Part(False, ("b.",), windows((4, 5))), "x", allowed=True) == Part(
        True, ("b.",), windows((2, 5))
    )


# --- what is written down -------------------------------------------------------------------------


def test_a_coverage_is_written_down_and_read_again():
    parts = {
        ("", "acme"): HALF_OF_SOME,
        ("p", "beta"): Part(True, (), windows((None, 3), (5, None))),
    }
    coverage = Coverage(parts, True, "users")
    told = coverage.to_dict()
    assert told == {
        "report": "users",
        "by_instance": True,
        "parts": [
            {
                "partition": "",
                "instance": "acme",
                "complete": False,
                "missing": ["a page."],
                "windows": [["2024-03-02T00:00:00+00:00", "2024-03-04T00:00:00+00:00"]],
            },
            {
                "partition": "p",
                "instance": "beta",
                "complete": True,
                "missing": [],
                "windows": [
                    [None, "2024-03-03T00:00:00+00:00"],
                    ["2024-03-05T00:00:00+00:00", None],
                ],
            },
        ],
    }
    assert json.loads(coverage.to_json()) == told
    assert read_coverage(told) == read_coverage({"coverage": told}) == coverage
    assert coverage.instances == ("acme", "beta") and not coverage.is_whole
    assert (
        Coverage().is_whole and Coverage().instances == () and Coverage().parts == {("", ""): WHOLE}
    )
    assert not Coverage({("", ""): WHOLE, ("", "b"): SOME}).is_whole


def test_what_a_data_frame_says_of_itself():
    said = {"report": "users", "incomplete": True, "doubts": ["a."], "violations": ["b"]}
    assert read_coverage(said) == Coverage({("", ""): Part(False, ("a.", "b"), ())}, False, "users")
    assert read_coverage({"partial": True}).parts["", ""].missing == (
        "it is marked as incomplete.",
    )
    assert read_coverage({"incomplete": False, "doubts": ["a."]}) == Coverage()
    narrowed = {"window": ["2024-03-02T00:00:00+00:00", None], "instance": "acme"}
    assert read_coverage(narrowed).parts == {("", "acme"): Part(True, (), windows((2, None)))}


def test_rows_carry_what_they_cover():
    table, coverage = pa.table({"id": [1, 2]}), Coverage({("", "acme"): HALF}, False, "users")
    assert coverage_of(table) is None and mark_rows(table, None) is table
    marked = mark_rows(table, coverage)
    assert marked.to_pydict() == table.to_pydict() and coverage_of(marked) == coverage
    reader = mark_rows(table.to_reader(), coverage)
    assert coverage_of(reader) == coverage and reader.read_all().to_pydict() == table.to_pydict()
    frame = pd.DataFrame({"id": [1]})
    assert coverage_of(frame) is None
    frame.attrs["domostats"] = coverage.to_dict()
    assert coverage_of(frame) == coverage
    for odd in (None, 5, "text", [1]):
        assert coverage_of(odd) is None


# --- a plan ---------------------------------------------------------------------------------------


def covers(*names, by_instance=False, report="users", **parts):
    "A coverage of these instances, whole but for those that are given."
    return Coverage({("", name): parts.get(name, WHOLE) for name in names}, by_instance, report)


def test_the_notes_of_a_plan():
    place = "x.csv"
    plan = plan_write(None, covers("acme", acme=HALF), place)
    assert plan.notes == ("x.csv: incomplete, rows may be missing: a page.",)
    plan = plan_write(covers("acme"), covers("acme", acme=HALF), place, allow_incomplete=True)
    assert plan.notes == ("x.csv: incomplete from now on, in place of a complete run: a page.",)
    plan = plan_write(covers("acme"), covers("acme", acme=HALF), place, "UPSERT")
    assert plan.notes == (
        "x.csv: updated from an incomplete run, nothing was removed, new rows may be missing: "
        "a page.",
    )
    plan = plan_write(covers("acme"), covers("acme"), place)
    assert plan.notes == () and plan.kept == () and plan.replaced == () and plan.adopted == ""


def test_a_plan_for_one_of_several_instances():
    standing = covers("acme", "beta", "gamma", by_instance=True, gamma=HALF)
    plan = plan_write(standing, covers("beta", beta=SOME), "x", "UPSERT")
    assert plan.adopted == "beta" and plan.kept == () and plan.replaced == ()
    assert plan.coverage.parts == {("", "acme"): WHOLE, ("", "gamma"): HALF, ("", "beta"): WHOLE}
    plan = plan_write(standing, covers("gamma"), "x")
    assert plan.adopted == "gamma" and plan.replaced == ("gamma",)
    assert plan.kept == ("acme", "beta") and plan.coverage.by_instance
    assert plan.notes == ("x keeps the rows of acme, beta as they were.",)
    assert plan.coverage.parts == {("", "acme"): WHOLE, ("", "beta"): WHOLE, ("", "gamma"): WHOLE}
    both = covers("beta", "gamma", by_instance=True, gamma=HALF)
    plan = plan_write(standing, both, "x")
    assert plan.adopted == "" and plan.replaced == ("beta", "gamma") and plan.kept == ("acme",)
    assert plan.notes == (
        "the rows of gamma in x: incomplete, rows may be missing: a page.",
        "x keeps the rows of acme as they were.",
    )


@pytest.mark.parametrize(
    "standing, arriving, method, words",
    [
        (
            covers("acme"),
            covers("beta"),
            "REPLACE",
            "holds the rows of acme, and this run is of beta",
        ),
        (covers("acme", acme=HALF), covers("beta"), "UPSERT", "holds the rows of acme, and"),
        (covers("a", "b", by_instance=True), covers(""), "REPLACE", "do not say whose they are"),
        (
            covers("a"),
            covers("b", by_instance=True),
            "REPLACE",
            "holds the rows of a, without a col",
        ),
        (
            covers(""),
            covers("b", by_instance=True),
            "REPLACE",
            "holds the rows of an instance that is not written down, without a column",
        ),
        (covers("a"), covers("a", by_instance=True), "APPEND", "without a column 'instance'"),
    ],
)
def test_rows_of_several_instances_are_not_mixed(standing, arriving, method, words):
    with pytest.raises(DestinationError) as caught:
        plan_write(standing, arriving, "x", method)
    assert caught.value.reason == "other_instance" and words in str(caught.value)


def test_other_reports_do_not_come_among_rows_that_stay():
    standing = covers("acme", "beta", by_instance=True)
    with pytest.raises(DestinationError) as caught:
        plan_write(standing, covers("acme", report="groups"), "x")
    assert caught.value.reason == "other_report"
    assert "x holds the report users of beta, and these are rows of groups." in str(caught.value)
    assert plan_write(standing, covers("acme", report=""), "x").kept == ("beta",)
    alone = covers("acme", by_instance=True)
    assert plan_write(alone, covers("acme", report="groups"), "x").kept == ()


def test_rows_that_say_nothing_count_as_complete():
    standing = Coverage({("p", ""): HALF, ("q", ""): SOME}, False, "users")
    assert plan_write(None, None, "x") == plan_write(standing, None, "x")
    assert plan_write(standing, None, "x").coverage is None
    left = plan_write(standing, None, "x", "PARTITION", "p").coverage
    assert left.parts == {("q", ""): SOME} and left.report == "users"
    only = Coverage({("p", ""): HALF})
    assert plan_write(only, None, "x", "PARTITION", "p").coverage is None
    assert plan_write(standing, None, "x", "APPEND").coverage == standing


def test_a_partition_is_replaced_for_itself():
    standing = Coverage({("p", "acme"): WHOLE, ("q", "acme"): HALF}, False, "users")
    plan = plan_write(standing, covers("acme"), "x", "PARTITION", "q")
    assert plan.coverage.parts == {("p", "acme"): WHOLE, ("q", "acme"): WHOLE}
    with pytest.raises(DataError) as caught:
        plan_write(standing, covers("acme", acme=HALF), "x", "PARTITION", "p")
    assert caught.value.reason == "incomplete"
    fresh = plan_write(standing, covers("acme", acme=HALF), "x", "PARTITION", "r").coverage
    assert fresh.parts["r", "acme"] == HALF and len(fresh.parts) == 3


def test_the_instances_that_are_refused_are_told_with_their_errors():
    standing = covers("acme", "beta", "gamma", by_instance=True, gamma=HALF)
    arriving = covers("acme", "beta", "gamma", by_instance=True, beta=HALF, gamma=HALF, acme=SOME)
    refused = refused_parts(standing, arriving, "x")
    assert {name: error.reason for name, error in refused.items()} == {
        "acme": "narrowed",
        "beta": "incomplete",
    }
    assert [*refused_parts(standing, arriving, "x", allow_incomplete=True)] == ["acme"]
    assert refused_parts(None, arriving, "x") == {}
    assert refused_parts(covers("delta"), arriving, "x") == {}  # is told of all of them


# --- files ----------------------------------------------------------------------------------------

NOTE = "x.csv.domostats.json"


def test_columns_that_no_destination_can_hold():
    for names, reason, words in (
        ([], "no_columns", "there is nothing to write"),
        (["a", "\ud83d"], "bad_column", "half a character"),
        (["\udfff"], "bad_column", "half a character"),
        (["a", "b", "A"], "duplicate_column", "'a' and 'A'"),
    ):
        with pytest.raises(DestinationError) as caught:
            check_columns(names)
        assert caught.value.reason == reason and words in str(caught.value)
    assert check_columns(["a", "b", "\ud7ff", "\ue000"]) is None


@pytest.mark.parametrize("name", ["x.csv", "x.parquet"])
def test_a_file_keeps_the_permissions_it_has_and_a_new_one_takes_those_of_the_user(name):
    before = os.umask(0o027)
    try:
        write_file(pa.table({"a": [1]}), name)
    finally:
        os.umask(before)

    def mode():
        return stat.S_IMODE(Path(name).stat().st_mode)

    assert mode() == 0o640
    Path(name).chmod(0o604)
    assert write_file(pa.table({"a": [1, 2]}), name) == 2
    assert mode() == 0o604 and [path.name for path in Path().iterdir()] == [name]


def test_what_csv_cannot_say_stands_in_a_note_that_goes_when_it_is_not_needed():
    table = pa.table({"n": pa.array([1, 2], pa.int8()), "t": ["a", "b"]})
    write_file(table, "x.csv")
    note = json.loads(Path(NOTE).read_text())
    assert note["types"] == {"n": "int8", "t": "string"} and {*note} == {
        "types",
        "schema",
        "sha256",
    }
    assert read_file("x.csv").schema == table.schema
    Path(NOTE).unlink()
    assert read_file("x.csv")["n"].type == pa.int64()
    write_file(table, "x.csv")
    write_file(pa.table({"n": [1], "t": ["a"]}), "x.csv")
    assert not Path(NOTE).exists() and Path("x.csv").read_text() == '"n","t"\n1,"a"\n'


def test_a_note_about_other_bytes_or_columns_means_nothing():
    write_file(pa.table({"n": pa.array([1, 2], pa.int8())}), "x.csv")
    whole, note = Path("x.csv").read_text(), json.loads(Path(NOTE).read_text())
    Path("x.csv").write_text(whole + "3\n")
    assert read_file("x.csv").to_pydict() == {"n": [1, 2, 3]}
    assert read_file("x.csv")["n"].type == pa.int64()
    Path("x.csv").write_text(whole)
    assert read_file("x.csv")["n"].type == pa.int8()
    for odd in ({**note, "schema": "no"}, {**note, "schema": 5}, [], "text", {"sha256": None}):
        Path(NOTE).write_text(json.dumps(odd))
        assert read_file("x.csv")["n"].type == pa.int64()
    other = pa.schema([("m", pa.int8())]).serialize().to_pybytes()
    Path(NOTE).write_text(json.dumps({**note, "schema": base64.b64encode(other).decode()}))
    assert read_file("x.csv")["n"].type == pa.int64()


@pytest.mark.parametrize(
    "text, type, values",
    [
        ("true\nfalse\n", pa.bool_(), [True, False]),
        ("0\n-12\n", pa.int64(), [0, -12]),
        ("007\n1\n", pa.string(), ["007", "1"]),
        ("1\n2.5\n", pa.float64(), [1.0, 2.5]),
        ("1.5\n2\n", pa.float64(), [1.5, 2.0]),
        ("1e3\n-inf\n", pa.float64(), [1000.0, float("-inf")]),
        ("2024-03-01\n\n2024-03-02\n", pa.date32(), [date(2024, 3, 1), None, date(2024, 3, 2)]),
        ("2024-02-31\n", pa.string(), ["2024-02-31"]),
        ("2024-03-01T10:00:00Z\n", pa.timestamp("us", "UTC"), [day(1) + timedelta(hours=10)]),
        ("2024-03-01 10:00:00\n", pa.timestamp("us"), [datetime(2024, 3, 1, 10)]),
        ('"1"\n2\n', pa.string(), ["1", "2"]),
        ("99999999999999999999\n", pa.string(), ["99999999999999999999"]),
        ("True\n", pa.string(), ["True"]),
    ],
)
def test_what_a_column_of_csv_looks_like(text, type, values):
    Path("x.csv").write_text('"a","b"\n' + "".join(f"{line},1\n" for line in text.splitlines()))
    found = read_file("x.csv")
    assert found["a"].type == type and found["a"].to_pylist() == values
    assert found["b"].type == pa.int64()


KINDS = {
    "an enum": pa.array(["a", None, "b", "a"]).dictionary_encode(),
    "bytes": pa.array([b"\x00\xff", None, b"", b"a"], pa.binary()),
    "fixed": pa.array([b"ab", None, b"cd", b"ef"], pa.binary(2)),
    "a list": pa.array([[1, None], None, [], [2]], pa.list_(pa.int64())),
    "a struct": pa.array([{"a": 1}, None, {"a": None}, {"a": 3}], pa.struct([("a", pa.int64())])),
    "nothing": pa.nulls(4),
    "days": pa.array([date(2024, 3, 1), None] * 2, pa.date64()),
    "seconds": pa.array([timedelta(seconds=3), None] * 2, pa.duration("s")),
    "nanoseconds": pa.array([1_700_000_000_000_000_001, None] * 2, pa.timestamp("ns", "UTC")),
    "elsewhere": pa.array([datetime(2024, 3, 1), None] * 2, pa.timestamp("ms", "Europe/Berlin")),
    "of no zone": pa.array([datetime(2024, 3, 1, 5), None] * 2, pa.timestamp("s")),
    "a time": pa.array([3_600_000, None] * 2, pa.time32("ms")),
    "a decimal": pa.array([Decimal("1.50"), None] * 2, pa.decimal128(9, 2)),
    "small": pa.array([1.5, None] * 2, pa.float32()),
    "half": pa.array([1.5, None, 2.0, 0.0], pa.float32()).cast(pa.float16()),
    "whole floats": pa.array([1.0, None, 2.0, 3.0], pa.float64()),
    "a view": pa.array(["", None, 'a "b", c\n', "x"], pa.large_string()),
    "truths": pa.array([True, None, False, True]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_of_every_kind_comes_back_from_csv(kind):
    table = pa.table({"id": [1, 2, 3, 4], "x": KINDS[kind]})
    write_file(table, "x.csv")
    found = read_file("x.csv")
    assert found.schema == table.schema and found.to_pydict() == table.to_pydict()


@pytest.mark.parametrize(
    "values, found",
    [
        (["007", "012"], ["007", "012"]),
        (["12", "007", ""], ["12", "007", None]),
        (["-07", "5"], ["-07", "5"]),
        (["00"], ["00"]),
        (["0", "12", "-7", "100", ""], [0, 12, -7, 100, None]),
    ],
)
def test_ids_that_begin_with_a_zero_stay_text_in_a_file_of_another_program(values, found):
    lines = "".join(f"{value},x\n" for value in values)
    Path("x.csv").write_text(f"id,name\n{lines}")
    read = read_file("x.csv")["id"].to_pylist()
    assert read == found and [*map(type, read)] == [*map(type, found)]


def test_a_file_for_a_spreadsheet_holds_no_formula_and_comes_back():
    texts = ["=1+1", "+49", "-x", "@a", "'=quoted", "'plain", "a=b", "\t=", "＝1", "", None]
    table = pa.table({"=name": texts, "n": [-1] * len(texts)})
    write_file(table, "x.csv", excel=True)
    raw = Path("x.csv").read_bytes()
    assert raw[:3] == b"\xef\xbb\xbf" and raw[3:].startswith(b'"\'=name","n"\n"\'=1+1",-1\n')
    assert read_file("x.csv").to_pydict() == table.to_pydict()
    write_file(table, "x.csv")
    assert Path("x.csv").read_bytes()[:20] == b'"=name","n"\n"=1+1",-'
    with pytest.raises(SettingsError) as caught:
        write_file(table, "x.parquet", excel=True)
    assert caught.value.reason == "bad_destination" and not Path("x.parquet").exists()


def test_what_files_cover_that_were_written_elsewhere():
    assert file_coverage("nothing.csv") is None
    Path("x.csv").write_text('"instance","id"\n"acme",1\n"beta",2\n"acme",3\n,4\n')
    assert file_coverage("x.csv").parts == {
        ("", "acme"): WHOLE,
        ("", "beta"): WHOLE,
        ("", ""): WHOLE,
    }
    assert file_coverage("x.csv").by_instance
    Path("y.csv").write_text('"id","instance"\n1,"acme"\n')
    Path("z.csv").write_bytes(b"")
    Path("z.parquet").write_bytes(b"no table")
    for name in ("y.csv", "z.csv", "z.parquet"):
        assert file_coverage(name) == Coverage()
    parquet.write_table(pa.table({"instance": ["acme", None], "id": [1, 2]}), "x.parquet")
    assert file_coverage("x.parquet").parts == {("", "acme"): WHOLE, ("", ""): WHOLE}
    parquet.write_table(pa.table({"instance": [1, 2]}), "y.parquet")
    assert file_coverage("y.parquet") == Coverage()


def test_files_that_cannot_be_read_are_told():
    for name, content, reason in (
        ("a.parquet", b"no table", "not_read"),
        ("a.csv", b'"a"\n"1","2"\n', "not_read"),
        ("b.csv", None, "no_file"),
    ):
        if content is not None:
            Path(name).write_bytes(content)
        with pytest.raises(DestinationError) as caught:
            read_file(name)
        assert caught.value.reason == reason and name in str(caught.value)
    for use in (lambda: read_file("x.txt"), lambda: write_file(pa.table({"a": [1]}), "x.txt")):
        with pytest.raises(SettingsError) as caught:
            use()
        assert caught.value.reason == "bad_destination"
    with pytest.raises(SettingsError) as caught:
        to_reader([1, 2])
    assert caught.value.reason == "not_a_table" and "A list is not a table." in str(caught.value)


def test_a_frame_whose_column_mixes_values_names_the_row():
    with pytest.raises(DestinationError) as caught:
        write_file(pd.DataFrame({"a": [1, 2, "x"]}), "x.csv")
    assert (caught.value.reason, caught.value.column, caught.value.row) == ("mixed_column", "a", 3)
    levels = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "b"), ("a", "c")]))
    with pytest.raises(DestinationError) as caught:
        write_file(levels, "x.csv")
    assert caught.value.reason == "bad_column" and "have 2 levels" in str(caught.value)
    assert not Path("x.csv").exists()


# --- the store ------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store.duckdb", wait=0.2)


def test_names_and_texts_as_duckdb_takes_them():
    assert quoted('a"b') == '"a""b"' and literal("it's") == "'it''s'"
    assert folded("ÄBC ß") == "Äbc ß"
    with duckdb.connect() as con:
        assert con.execute(f"SELECT {literal(chr(39) * 3)} AS {quoted('x')}").fetchall() == [
            ("'''",)
        ]


@pytest.mark.parametrize(
    "last, call, update",
    [
        (Update(), (), Update("REPLACE", (), None)),
        (Update("APPEND"), (), Update("APPEND")),
        (Update("APPEND"), ("REPLACE",), Update("REPLACE")),
        (Update(), ("UPSERT", "id"), Update("UPSERT", ("id",))),
        (Update(), ("UPSERT", ["a", "b", "a"]), Update("UPSERT", ("a", "b"))),
        (Update("UPSERT", ("id",)), (), Update("UPSERT", ("id",))),
        (Update("UPSERT", ("id",)), ("UPSERT",), Update("UPSERT", ("id",))),
        (Update("UPSERT", ("id",)), (None, "other"), Update("UPSERT", ("other",))),
        (Update(), ("PARTITION", None, "p"), Update("PARTITION", (), "p")),
        (Update("PARTITION", (), "p"), (None, None, "q"), Update("PARTITION", (), "q")),
    ],
)
def test_which_update_a_call_means(last, call, update):
    assert choose(last, *call) == update


@pytest.mark.parametrize(
    "last, call, reason, words",
    [
        (Update(), ("MERGE",), "bad_update_method", "REPLACE, APPEND, UPSERT, PARTITION"),
        (Update(), ("UPSERT",), "missing_update_key", "that make a row unique"),
        (Update(), ("UPSERT", []), "missing_update_key", "UPSERT needs update_key"),
        (Update(), ("UPSERT", 5), "bad_update_argument", "not 5"),
        (Update(), ("UPSERT", ["a", 5]), "bad_update_argument", "a list of names"),
        (Update(), ("PARTITION",), "missing_partition_name", "a text, the part to replace"),
        (Update("PARTITION", (), "p"), (), "missing_partition_name", "PARTITION needs"),
        (Update(), ("PARTITION", None, ""), "missing_partition_name", "PARTITION needs"),
        (Update(), ("APPEND", "id"), "bad_update_argument", "which is asked for"),
        (Update("APPEND"), (None, "id"), "bad_update_argument", "the last method of this dataset"),
        (Update(), ("UPSERT", "id", "p"), "bad_update_argument", "partition_name means nothing"),
    ],
)
def test_calls_that_mean_no_update(last, call, reason, words):
    with pytest.raises(SettingsError) as caught:
        choose(last, *call)
    assert caught.value.reason == reason and words in str(caught.value)


def test_the_words_of_a_query():
    assert spelled("SELECT `a``b` FROM table") == 'SELECT "a`b" FROM "table"'
    for same in (
        "'table'",
        '"table"',
        "-- table\n1",
        "/* table */ 1",
        "$$ table $$",
        "tables",
        "e'\\' table'",
    ):
        assert spelled(f"SELECT {same} FROM TABLE") == f'SELECT {same} FROM "table"'


def test_answers_have_the_types_of_the_store():
    table = pa.table({"n": [1, 2, 3], "day": [datetime(2024, 3, 1)] * 3})
    query = (
        "SELECT sum(n) AS total, max(day) - min(day) + INTERVAL 2 DAY AS span, count(*)::HUGEINT * "
        "100000000000000000000 AS large, NULL AS nothing FROM table"
    )
    found = ask(table, query)
    assert found.to_pydict() == {
        "total": [6],
        "span": [timedelta(days=2)],
        "large": [Decimal("300000000000000000000")],
        "nothing": [None],
    }
    assert [str(type) for type in found.schema.types[:2]] == ["int64", "duration[us]"]
    months = ask(table, "SELECT INTERVAL 1 MONTH + INTERVAL 3 DAY AS span FROM table LIMIT 1")
    assert months["span"].to_pylist() == [timedelta(days=33)]


@pytest.mark.parametrize(
    "query", ["SELECT 1; SELECT 2", "DROP TABLE table", "", "SELECT \ud83d", 5]
)
def test_a_query_is_one_select(query):
    with pytest.raises(SettingsError) as caught:
        ask(pa.table({"n": [1]}), query)
    assert caught.value.reason == "bad_query"


def test_what_a_dataset_covers_is_kept_by_partition_and_instance(store):
    assert store.coverage("x") is None
    rows = pa.table({"id": [1]})
    store.write("x", rows)
    assert store.coverage("x") == Coverage()
    for name, part in ("p", HALF), ("q", WHOLE):
        coverage = Coverage({("", "acme"): part}, False, "users")
        store.write("y", mark_rows(rows, coverage), "PARTITION", None, name, note=str)
    assert store.coverage("y").parts == {("p", "acme"): HALF, ("q", "acme"): WHOLE}
    assert coverage_of(store.read("y")) == Coverage(
        {("p", "acme"): HALF, ("q", "acme"): WHOLE}, False, "users"
    )
    assert store.read("y").column_names == ["id"] and store.read("y").num_rows == 2
    assert coverage_of(store.read("y", "SELECT id FROM table")) is None
    with store.open() as con:  # as somebody else would do it
        con.execute("DELETE FROM datasets.y WHERE __partition__ = 'p'")
        con.execute("INSERT INTO datasets.y BY NAME SELECT 7 AS id, 'r' AS __partition__")
    assert store.coverage("y").parts == {("q", "acme"): WHOLE, ("r", ""): WHOLE}
    store.drop("y")
    assert store.names() == ["x"] and store.coverage("y") is None


@pytest.mark.parametrize("whole, half", [("p", "q"), ("q", "p")], ids=["first", "last"])
def test_one_complete_partition_keeps_all_from_an_incomplete_replacement(store, whole, half):
    def rows(part, *ids):
        coverage = Coverage({("", "acme"): part}, False, "users")
        return mark_rows(pa.table({"id": [*ids]}), coverage)

    for name in "p", "q":
        given = {whole: rows(WHOLE, 1, 2), half: rows(HALF, 3)}[name]
        store.write("x", given, "PARTITION", None, name, note=str)
    with pytest.raises(DataError) as caught:
        store.write("x", rows(HALF, 4), "REPLACE")
    assert caught.value.reason == "incomplete"
    assert "a complete run stands there, of which rows would be lost" in str(caught.value)
    assert sorted(store.read("x")["id"].to_pylist()) == [1, 2, 3]
    store.write("x", rows(HALF, 4), "PARTITION", None, half, note=str)
    assert sorted(store.read("x")["id"].to_pylist()) == [1, 2, 4]
    store.write("x", rows(WHOLE, 5), "REPLACE")
    assert store.read("x")["id"].to_pylist() == [5]


def test_rows_of_others_in_a_dataset_count_as_complete(store):
    store.write("x", pa.table({"instance": ["acme", None, "beta"], "id": [1, 2, 3]}))
    found = store.coverage("x")
    assert found.by_instance
    assert found.parts == {("", "acme"): WHOLE, ("", ""): WHOLE, ("", "beta"): WHOLE}
    with store.open() as con:
        con.execute("COMMENT ON TABLE datasets.x IS 'no JSON'")
    assert store.coverage("x").parts == found.parts
    store.write("y", pa.table({"id": [1], "instance": ["acme"]}))
    assert store.coverage("y") == Coverage()


def test_a_key_that_the_stored_rows_lack_is_refused(store):
    store.write("x", pa.table({"Name": ["a"]}))
    with pytest.raises(DestinationError) as caught:
        store.write("x", pa.table({"id": [1], "name": ["a"]}), "UPSERT", "id")
    assert caught.value.reason == "other_columns"
    assert "has no column 'id'" in str(caught.value) and "it has 'Name'" in str(caught.value)
    store.write("x", pa.table({"name": ["a", "b"], "n": [1, 2]}), "UPSERT", "name")
    assert store.read("x").to_pydict() == {"Name": ["a", "b"], "n": [1, 2]}


def test_what_is_done_with_a_write_is_done_with_it_or_not_at_all(store):
    store.write("x", pa.table({"id": [1]}))
    with pytest.raises(ZeroDivisionError):
        with store.writing("x", pa.table({"id": [2, 3]})) as (con, n):
            assert n == 2 and con.execute("SELECT count(*) FROM datasets.x").fetchone() == (2,)
            1 / 0
    assert store.read("x").to_pydict() == {"id": [1]}
    with store.writing("x", pa.table({"id": [4]}).to_reader(), "APPEND") as (con, n):
        con.execute("DELETE FROM datasets.x WHERE id = 1")
    assert store.read("x").to_pydict() == {"id": [4]}


@pytest.mark.parametrize("kind", ["table", "reader", "frame"])
def test_a_reserved_column_and_other_columns_change_nothing(store, kind):
    give = {
        "table": lambda table: table,
        "reader": lambda table: table.to_reader(),
        "frame": lambda table: table.to_pandas(),
    }[kind]
    store.write("x", pa.table({"id": [1]}))
    for name in "__partition__", "__PARTITION__":
        with pytest.raises(DestinationError) as caught:
            store.write("x", give(pa.table({"id": [2], name: ["p"]})))
        assert caught.value.reason == "reserved_column"
    with pytest.raises(DestinationError) as caught:
        store.write("x", give(pa.table({"id": ["two"]})), "APPEND")
    assert (caught.value.reason, caught.value.column) == ("column_type", "id")
    assert store.read("x").to_pydict() == {"id": [1]}


def test_a_store_that_is_none_is_told_and_stays_as_it_is(tmp_path):
    (tmp_path / "folder.db").mkdir()
    (tmp_path / "text.db").write_text("hello " * 1000)
    with duckdb.connect(str(tmp_path / "whole.db")) as con:
        con.execute("CREATE TABLE t AS SELECT range AS n FROM range(100000)")
    content = bytearray((tmp_path / "whole.db").read_bytes())
    (tmp_path / "damaged.db").write_bytes(content[:5000] + bytes(b ^ 255 for b in content[5000:]))
    for name, reason, words in (
        ("folder.db", "not_a_store", "is a folder"),
        ("text.db", "not_a_store", "is not a file of DuckDB"),
        ("damaged.db", "damaged_store", "put a copy from before in its place"),
    ):
        path = tmp_path / name
        before = None if path.is_dir() else path.read_bytes()
        with pytest.raises(DestinationError) as caught:
            Store(path).names()
        assert caught.value.reason == reason and words in str(caught.value), name
        assert path.is_dir() or path.read_bytes() == before


def test_a_store_is_private_with_all_that_is_beside_it(store):
    with store.open() as con:
        con.execute("CREATE TABLE datasets.x AS SELECT 1 AS id")
        modes = {
            path.name: stat.S_IMODE(path.stat().st_mode) for path in store.path.parent.iterdir()
        }
        files = {name: mode for name, mode in modes.items() if "store.duckdb" in name}
        assert files["store.duckdb"] == files["store.duckdb.wal"] == 0o600
        assert all(mode & 0o077 == 0 for mode in files.values())
    assert [path.name for path in store.path.parent.iterdir() if "duckdb" in path.name] == [
        "store.duckdb"
    ]
    assert repr(store) == "<store store.duckdb>"


# --- rows of several instances in one file --------------------------------------------------------


def of(name, by_instance=False, part=WHOLE, **columns):
    "Rows of one instance, with or without its name in them."
    table = pa.table({"instance": [name] * len([*columns.values()][0]), **columns})
    table = table if by_instance else table.drop_columns("instance")
    return mark_rows(table, Coverage({("", name): part}, by_instance, "users"))


def write_both(path, **how):
    "A file with two rows of acme and one of beta."
    rows = {"instance": ["acme", "beta", "acme"], "id": [1, 2, 3], "said": ["a", "b\nb", "=c"]}
    both = Coverage({("", "acme"): WHOLE, ("", "beta"): WHOLE}, True, "users")
    write_file(mark_rows(pa.table(rows), both), path, **how)


def refused_by_file(rows, path, **how):
    "Why rows are not written; the file is as it was."
    before = Path(path).read_bytes()
    with pytest.raises(DestinationError) as caught:
        write_file(rows, path, note=str, **how)
    assert Path(path).read_bytes() == before
    assert [*Path().glob("*.part")] == [] == [*Path().glob(".*.part")]
    return caught.value.reason, str(caught.value)


@pytest.mark.parametrize("path", ["x.csv", "x.parquet"])
def test_the_rows_of_the_others_stay_behind_the_new_ones(path):
    write_both(path)
    notes = []
    assert write_file(of("beta", id=[9], said=["new"]), path, note=notes.append) == 1
    assert read_file(path).to_pydict() == {
        "instance": ["beta", "acme", "acme"],
        "id": [9, 1, 3],
        "said": ["new", "a", "=c"],
    }
    assert notes == [f"{path} keeps the rows of acme as they were."]


@pytest.mark.parametrize("path", ["x.csv", "x.parquet"])
def test_rows_of_no_named_instance_stay_behind_the_new_ones(path):
    if path == "x.csv":
        Path(path).write_text('"instance","id"\n"acme",1\n,2\n"acme",3\n,4\n"beta",5\n')
    else:
        rows = {"instance": ["acme", None, "acme", None, "beta"], "id": [1, 2, 3, 4, 5]}
        parquet.write_table(pa.table(rows), path)
    assert write_file(of("acme", id=[9]), path, note=str) == 1
    assert read_file(path).to_pydict() == {
        "instance": ["acme", None, None, "beta"],
        "id": [9, 2, 4, 5],
    }


@pytest.mark.parametrize("path", ["x.csv", "x.parquet"])
def test_other_columns_do_not_come_among_rows_that_stay(path):
    write_both(path)
    reason, said = refused_by_file(of("beta", id=[9], color=["red"]), path)
    assert reason == "other_columns" and "it keeps the rows of acme" in said
    assert "the columns of the new rows are others" in said
    if path == "x.csv":
        reason, said = refused_by_file(of("beta", id=[9], said=["x"]), path, excel=True)
        assert reason == "other_columns" and "one of the two is for Excel" in said
        assert refused_by_file(of("beta", said=["x"], id=[9]), path)[0] == "other_columns"
        write_both(path, excel=True)
        write_file(of("beta", id=[9], said=["=x"]), path, excel=True, note=str)
        assert read_file(path)["said"].to_pylist() == ["=x", "a", "=c"]
    else:
        write_file(of("beta", id=[2.5], said=["x"]), path, note=str)
        assert read_file(path)["id"].to_pylist() == [2.5, 1.0, 3.0]
        write_file(of("beta", id=[4]), path, note=str)  # what it lacks is null
        assert read_file(path)["said"].to_pylist() == [None, "a", "=c"]
        reason, said = refused_by_file(of("beta", id=["x"], said=["x"]), path)
        assert reason == "other_columns" and "a column has another type there" in said


@pytest.mark.parametrize("path", ["x.csv", "x.parquet"])
def test_a_file_that_became_another_one_meanwhile_is_untouched(path):
    write_both(path)
    rows = of("beta", id=[9], said=["new"])

    def batches():
        write_file(pa.table({"id": [7], "said": ["of somebody else"]}), path)
        yield from rows.to_batches()

    with pytest.raises(DestinationError) as caught:
        write_file(pa.RecordBatchReader.from_batches(rows.schema, batches()), path)
    assert caught.value.reason == "not_written"
    assert "was written by somebody else meanwhile, and is untouched" in str(caught.value)
    assert read_file(path).to_pydict() == {"id": [7], "said": ["of somebody else"]}


def test_a_source_that_has_no_column_for_the_key_or_none_at_all(store):
    with pytest.raises(SettingsError) as caught:
        store.write("x", pa.table({"a": [1], "b": [2]}), "UPSERT", ["a", "c", "d"])
    assert caught.value.reason == "bad_update_key"
    assert "update_key names 'c', 'd', which the rows do not have. Their columns are 'a', 'b'." in (
        str(caught.value)
    )
    for rows, reason, words in (
        (
            {"a": [1, 1], "b": [2, 2]},
            "duplicate_key",
            "The key (a, b) is not unique in the new rows",
        ),
        ({"a": [1, None], "b": [2, 2]}, "null_key", "have nothing in the key (a, b)"),
    ):
        with pytest.raises(DestinationError) as caught:
            store.write("x", pa.table(rows), "UPSERT", ["a", "b"])
        assert caught.value.reason == reason and words in str(caught.value)
    assert store.names() == []
