"""What is declared and what is there: no row is written that would be another one when it is
read."""

import dataclasses
import json
import math
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import IntEnum
from itertools import count, permutations
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domostats.errors import DomostatsError, SettingsError
from domostats.loading.store import Store
from domostats.tracking.extractors.base import BaseExtractor
from domostats.tracking.extractors.days import bounds
from domostats.tracking.extractors.extraction import Extraction
from domostats.tracking.extractors.migrations import Migrations
from domostats.tracking.extractors.rows import batches_of
from domostats.tracking.extractors.schema import sq_field
from domostats.tracking.extractors.tables import ExtractorType

FIRST, NOON = date(2022, 1, 1), datetime(2022, 1, 2, 12, tzinfo=timezone.utc)
TYPES = int, float, bool, str, bytes, date, datetime, Decimal, time
daily, events = ExtractorType.date_aggregated, ExtractorType.individual_rows


def extractor_of(fields, values=(), kind=daily, **attributes):
    "An extractor with a table `things` of these fields that yields one row of the values."
    cls = dataclasses.make_dataclass("Things", fields)
    return type(
        "Made",
        (BaseExtractor,),
        {
            "get_dataclass": lambda self: cls,
            "get_extractor_type": lambda self: kind,
            "extract": lambda self, start, end: iter([cls(*values)]),
            **attributes,
        },
    )


def migrated(extractor, place="store"):
    "An extraction with the table of the extractor, ready for rows."
    extraction = Extraction([extractor], Store(Path(f"{place}.duckdb")), "UTC", FIRST)
    migrations = Migrations(Path(f"migrations of {place}"), extraction.store)
    migrations.make(extraction.tables)
    migrations.apply()
    return extraction


def changed(extraction, extractor):
    "The same with another extractor, and no migration."
    return Extraction([extractor], extraction.store, "UTC", FIRST)


def load(extraction):
    "The error of the one day that is missing, None if it was written."
    return next(extraction.extract(NOON)).error


def held(store, table="things"):
    with store.open() as con:
        return con.execute(f'SELECT * FROM datasets."{table}"').fetchall()


def test_a_number_that_is_declared_with_a_fraction_is_not_rounded_into_the_old_column():
    extraction = migrated(extractor_of([("price", int)], [5]))
    error = load(changed(extraction, extractor_of([("price", float)], [5.7])))
    assert held(extraction.store) == []
    assert error.reason == "changed_model"
    for word in ("things", "price", "INT64", "FLOAT64", "table = 'things2'"):
        assert word in str(error)


PLAIN = [("n", int), ("label", str), ("share", float | None)]
MARKED = [("n", int, sq_field(differentiate=True)), *PLAIN[1:]]
TIMED = [("timestamp", datetime), ("sent_at", datetime), ("n", int)]
AT = datetime(2022, 1, 1, 5, tzinfo=timezone.utc)
CHANGES = {
    "a field that may be null is new": (
        extractor_of([*PLAIN, ("more", int | None)], [1, "a", 0.5, 7]),
        ["more", "INT64 or null", "make-migrations"],
    ),
    "a field is new": (
        extractor_of([*PLAIN, ("more", int)], [1, "a", 0.5, 7]),
        ["more", "INT64", "cannot be None"],
    ),
    "a field is gone": (
        extractor_of([("n", int), ("label", str)], [1, "a"]),
        ["share", "FLOAT64", "is gone"],
    ),
    "a field is called otherwise": (
        extractor_of([("n", int), ("title", str), ("share", float | None)], [1, "a", 0.5]),
        ["label", "title", "STRING"],
    ),
    "a field is spelled otherwise": (
        extractor_of([("N", int), ("label", str), ("share", float | None)], [1, "a", 0.5]),
        ["n (INT64)", "N (INT64)"],
    ),
    "fields are in another order": (
        extractor_of([PLAIN[1], PLAIN[0], PLAIN[2]], ["a", 1, 0.5]),
        ["n, label, share", "label, n, share", "make-migrations"],
    ),
    "a field may be null now": (
        extractor_of([("n", int | None), *PLAIN[1:]], [None, "a", 0.5]),
        ["n is INT64", "INT64 or null", "make-migrations"],
    ),
    "a field may not be null any more": (
        extractor_of([*PLAIN[:2], ("share", float)], [1, "a", 0.5]),
        ["share", "FLOAT64", "could be None"],
    ),
    "a field is another type": (
        extractor_of([PLAIN[0], ("label", bytes), PLAIN[2]], [1, b"a", 0.5]),
        ["label", "STRING", "BYTES"],
    ),
    "a difference is wanted": (
        extractor_of(MARKED, [1, "a", 0.5]),
        ["differences", "of n", "make-migrations"],
    ),
    "the day is called otherwise": (
        extractor_of(PLAIN, [1, "a", 0.5], date_field="on"),
        ["date_field", "date", "on"],
    ),
    "it is one of events": (
        extractor_of([("timestamp", datetime), *PLAIN], [AT, 1, "a", 0.5], events),
        ["kind", "date_aggregated", "individual_rows"],
    ),
    "it is shared": (
        extractor_of(
            PLAIN, [1, "a", 0.5], partition_field="shop", get_partition=lambda self: "north"
        ),
        ["shop", "make-migrations"],
    ),
}


@pytest.mark.sampled(10)
@pytest.mark.parametrize("noted", [True, False], ids=["noted", "of a first version"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_declaration_is_never_written_silently(change, noted):
    extraction = migrated(extractor_of(PLAIN, [1, "a", 0.5]))
    assert load(extraction) is None
    before = held(extraction.store)
    with extraction.store.open() as con:
        con.execute("DELETE FROM kit.loads")
        if not noted:
            con.execute("DROP TABLE IF EXISTS kit.declared")
    extractor, words = CHANGES[change]
    error = load(changed(extraction, extractor))
    assert isinstance(error, DomostatsError) and held(extraction.store) == before
    assert [word for word in ("things", *words) if word not in str(error)] == []


@pytest.mark.parametrize("noted", [True, False], ids=["noted", "of a first version"])
def test_the_field_that_days_are_cut_by_is_not_changed_silently(noted):
    row = [AT, AT + timedelta(1), 1]
    extraction = migrated(extractor_of(TIMED, row, events))
    assert load(extraction) is None
    with extraction.store.open() as con:
        con.execute("DELETE FROM kit.loads")
        if not noted:
            con.execute("DROP TABLE IF EXISTS kit.declared")
    other = extractor_of(TIMED, [AT, AT, 1], events, date_field="sent_at")
    error = load(changed(extraction, other))
    assert error is not None and error.reason == "changed_model" and "sent_at" in str(error)
    assert len(held(extraction.store)) == 1


@pytest.mark.parametrize(
    "first, then",
    [(MARKED, PLAIN), (PLAIN, MARKED)],
    ids=["the mark is gone", "the mark is new"],
)
def test_a_first_version_does_not_say_what_is_differentiated_but_its_view_does(first, then):
    extraction = migrated(extractor_of(first, [1, "a", 0.5]))
    with extraction.store.open() as con:
        con.execute("DROP TABLE IF EXISTS kit.declared")
    error = load(changed(extraction, extractor_of(then, [1, "a", 0.5])))
    assert error is not None and "things_delta" in str(error)
    assert load(extraction) is None


def test_the_way_that_is_offered_leads_on():
    extraction = migrated(extractor_of(MARKED, [1, "a", 0.5]))
    assert load(extraction) is None
    wider = extractor_of(
        [("label", str | None), ("new", int | None), *[one for one in MARKED if one[0] != "label"]],
        [None, 7, 2, 0.25],
    )
    again = changed(extraction, wider)
    migrations = Migrations(Path("migrations of store"), extraction.store)
    migrations.make(again.tables)
    assert [type(step).__name__ for _, _, step in migrations.apply()] == [
        "AddColumn",
        "Relax",
        "Reorder",
    ]
    assert migrations.make(again.tables) is None and migrations.findings() == []
    found = [*again.extract(NOON + timedelta(1))]
    assert [one.error for one in found] == [None]
    assert held(extraction.store) == [
        (FIRST, "a", None, 1, 0.5),
        (FIRST + timedelta(1), None, 7, 2, 0.25),
    ]
    assert held(extraction.store, "things_delta")[1][3] == 1


def test_a_table_that_was_changed_by_hand_takes_no_row():
    extraction = migrated(extractor_of(PLAIN, [1, "a", 0.5]))
    with extraction.store.open() as con:
        con.execute("ALTER TABLE datasets.things ALTER n TYPE INTEGER")
    error = load(extraction)
    assert error is not None and "things.n should be INT64 and is DuckDB's INTEGER" in str(error)


# values


class Number(IntEnum):
    one = 1


zones = st.sampled_from(
    [None, timezone.utc, ZoneInfo("America/New_York"), ZoneInfo("Asia/Kathmandu")]
) | st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23)))
moments = st.datetimes(timezones=zones) | st.builds(
    lambda moment, fold: moment.replace(fold=fold),
    st.datetimes(datetime(2022, 10, 29), datetime(2022, 11, 8), timezones=zones),
    st.integers(0, 1),
)
numbers = st.integers() | st.integers(-(2**65), 2**65) | st.integers(-(10**40), 10**40)
values = st.one_of(
    numbers,
    st.floats(),
    st.booleans(),
    st.text(),
    st.sampled_from(["\ud83d", "a\x00b", "1", "2022-01-01", "true", "NaN", "", Number.one]),
    st.binary(),
    st.dates(),
    moments,
    st.decimals(),
    st.times() | st.times(timezones=st.just(timezone.utc)),
    st.none(),
    st.datetimes(datetime(1701, 1, 1), datetime(2199, 12, 31), timezones=zones).map(
        lambda one: pd.Timestamp(one) + pd.Timedelta(nanoseconds=1)
    ),
    st.just(pd.NaT),
    st.just(10**5000),
)


def same(written, read):
    "Whether what is read is what was written, to the last digit."
    if isinstance(written, IntEnum):
        written = written.value
    if written is None or read is None:
        return written is read
    if isinstance(written, bool) != isinstance(read, bool):
        return False
    if isinstance(written, datetime):
        return written.utcoffset() is not None and written - read == timedelta(0)
    if isinstance(written, float) and math.isnan(written):
        return False
    return written == read


number = count()


@pytest.mark.slow
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    python=st.sampled_from(TYPES),
    nullable=st.booleans(),
    some=st.lists(values, min_size=20, max_size=60),
)
def test_a_value_is_read_as_it_was_written_or_there_is_an_error(own_folder, python, nullable, some):
    """Every value alone is taken or refused; those that are taken come back from the store as
    they were."""
    fields = [("timestamp", datetime), ("n", int), ("value", python | None if nullable else python)]
    cls = dataclasses.make_dataclass("Things", fields)
    one = extractor_of(fields, (), events, table=f"t{next(number)}")
    table, (start, end) = one().get_table(), bounds(FIRST, timezone.utc)
    taken = []
    for n, value in enumerate(some):
        row = cls(AT, n, value)
        try:
            assert len([*batches_of(table, cls, [row], FIRST, start, end)]) == 1
            taken.append(row)
        except DomostatsError as e:
            assert e.column == "value", (python, value, e)
    one.get_dataclass = lambda self: cls
    one.extract = lambda self, start, end: iter(taken)
    extraction = migrated(one, table.name)
    assert load(extraction) is None
    read = {n: value for _, _, n, value in held(extraction.store, table.name)}
    assert len(read) == len(taken)
    for row in taken:
        assert same(row.value, read[row.n]), (python, row.value, read[row.n])


GOOD = {
    int: 7,
    float: 5.7,
    bool: True,
    str: "x",
    bytes: b"x",
    date: FIRST,
    datetime: AT,
    Decimal: Decimal("5.7"),
    time: time(5),
}


@pytest.mark.sampled(9)
@pytest.mark.parametrize("stored", TYPES)
def test_of_two_types_one_is_not_written_as_the_other(stored):
    extraction = migrated(extractor_of([("value", stored)], [GOOD[stored]]))
    assert load(extraction) is None
    before = held(extraction.store)
    for declared in (one for one in TYPES if one is not stored):
        with extraction.store.open() as con:
            con.execute("DELETE FROM kit.loads")
        error = load(changed(extraction, extractor_of([("value", declared)], [GOOD[declared]])))
        assert held(extraction.store) == before, (stored, declared)
        assert error is not None and error.reason == "changed_model" and "value" in str(error)


# migrations that somebody has edited

CREATE = {
    "do": "create_table",
    "table": {
        "name": "things",
        "kind": "date_aggregated",
        "date_field": "date",
        "columns": [{"name": "n", "type": "INT64"}, {"name": "label", "type": "STRING"}],
        "deltas": ["n"],
    },
}
OTHER = {**CREATE, "table": {**CREATE["table"], "name": "others"}}
ADD = {
    "do": "add_column",
    "table": "things",
    "column": {"name": "more", "type": "INT64", "nullable": True},
}


def of_table(**changed):
    return {**CREATE, "table": {**CREATE["table"], **changed}}


def column(**changed):
    return {**ADD, "column": {**ADD["column"], **changed}}


EDITED = {
    "an unknown table": [{**ADD, "table": "nobody"}],
    "an unknown type": [of_table(columns=[{"name": "n", "type": "INTEGER"}])],
    "an unknown type of a new column": [CREATE, column(type="NUMBER")],
    "an unknown step": [CREATE, {"do": "drop_column", "table": "things", "column": "n"}],
    "no step at all": [CREATE, "add a column"],
    "a step without its table": [{"do": "add_column", "column": ADD["column"]}],
    "a column twice": [CREATE, ADD, ADD],
    "a column twice in other capitals": [CREATE, ADD, column(name="MORE")],
    "a column twice in a table": [of_table(columns=[*CREATE["table"]["columns"]] * 2)],
    "a column that cannot be null": [CREATE, column(nullable=False)],
    "a column that is not there": [CREATE, {"do": "relax", "table": "things", "column": "nobody"}],
    "a difference of what is not there": [
        CREATE,
        {
            "do": "make_view",
            "table": "things",
            "deltas": ["nobody"],
            "gap": "previous_row",
            "shows_previous": False,
        },
    ],
    "a difference of a text": [of_table(deltas=["label"])],
    "a difference from nowhere": [of_table(gap="yesterday")],
    "a table twice": [CREATE, CREATE],
    "a table twice in other capitals": [CREATE, of_table(name="THINGS")],
    "a table that is a view": [CREATE, of_table(name="things_delta")],
    "a name that no table has": [of_table(name="a b")],
    "a column that is the day": [CREATE, column(name="DATE")],
    "a field that is the day": [of_table(columns=[{"name": "Date", "type": "INT64"}], deltas=[])],
    "a name that no column has": [CREATE, column(name="a b")],
    "events without a time": [of_table(kind="individual_rows", date_field="at", deltas=[])],
    "a kind that there is not": [of_table(kind="weekly")],
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("what", EDITED)
def test_a_migration_edited_by_hand_is_told_with_its_file_and_step_and_nothing_is_applied(what):
    folder, store = Path("migrations"), Store(Path("store.duckdb"))
    folder.mkdir()
    (folder / "0001_others.json").write_text(json.dumps([OTHER]))
    (folder / "0002_things.json").write_text(json.dumps(EDITED[what]))
    migrations = Migrations(folder, store)
    for call in (migrations.apply, migrations.sql, lambda: migrations.make([])):
        try:
            call()
            error = None
        except Exception as e:
            error = e
        assert isinstance(error, SettingsError), (what, error)
        assert f"Step {len(EDITED[what])} of 0002_things.json" in str(error), error
    assert store.names() == []


@pytest.mark.parametrize("text", ["", "[", "{}", "[]", "null", b"\xff\xfe[", '[{"do": "create'])
def test_a_file_that_is_no_list_of_steps_is_told_by_name(text):
    folder, store = Path("migrations"), Store(Path("store.duckdb"))
    folder.mkdir()
    (folder / "0001_others.json").write_text(json.dumps([OTHER]))
    (folder / "0002_things.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SettingsError, match="0002_things.json"):
        Migrations(folder, store).apply()
    assert store.names() == []


def applied(*files):
    "A folder of migrations (lists of steps) that were applied."
    folder, store = Path("migrations"), Store(Path("store.duckdb"))
    folder.mkdir()
    for n, steps in enumerate(files, 1):
        (folder / f"{n:04}_file{n}.json").write_text(json.dumps(steps))
    migrations = Migrations(folder, store)
    migrations.apply()
    return migrations


def refused(migrations):
    for call in (migrations.apply, migrations.pending, migrations.sql):
        try:
            call()
            error = None
        except Exception as e:
            error = e
        assert isinstance(error, SettingsError), error
    return str(error)


def test_a_file_that_was_applied_and_is_gone_is_missed():
    migrations = applied([CREATE], [OTHER])
    (migrations.folder / "0002_file2.json").unlink()
    assert "0002_file2.json" in refused(migrations)


def test_a_file_with_another_name_is_told_with_both():
    migrations = applied([CREATE], [OTHER])
    (migrations.folder / "0002_file2.json").rename(migrations.folder / "0002_new.json")
    told = refused(migrations)
    assert "0002_file2.json" in told and "0002_new.json" in told


@pytest.mark.parametrize("order", [*permutations((1, 2, 3))][1:])
def test_files_in_another_order_are_refused(order):
    migrations = applied([CREATE], [OTHER], [ADD])
    texts = [path.read_text() for path in migrations.files]
    for path, n in zip(migrations.files, order, strict=True):
        path.write_text(texts[n - 1])
    assert "file" in refused(migrations)


def test_a_file_twice_is_told_with_its_step():
    migrations = applied([CREATE], [ADD])
    (migrations.folder / "0003_again.json").write_text(json.dumps([ADD]))
    assert "Step 1 of 0003_again.json" in refused(migrations)


def test_a_step_that_was_taken_out_of_an_applied_file_is_missed():
    migrations = applied([CREATE, OTHER])
    (migrations.folder / "0001_file1.json").write_text(json.dumps([CREATE]))
    assert "Step 2 of 0001_file1.json" in refused(migrations)


def test_two_branches_with_one_column_are_told_with_file_and_step():
    migrations = applied([CREATE], [ADD])
    other = migrations.folder / "0002_branch.json"
    other.write_text(json.dumps([column(type="STRING")]))
    assert "0002_file2.json" in refused(migrations) or "0002_branch.json" in refused(migrations)
    other.rename(migrations.folder / "0003_branch.json")
    assert "Step 1 of 0003_branch.json" in refused(migrations)


def test_two_branches_with_a_column_each_are_put_in_order():
    migrations = applied([CREATE], [ADD])
    early = migrations.folder / "0002_branch.json"
    early.write_text(json.dumps([column(name="other")]))
    assert "Step 1 of 0002_branch.json" in refused(migrations)
    early.rename(migrations.folder / "0003_branch.json")
    assert [path.name for path, _, _ in migrations.apply()] == ["0003_branch.json"]
    assert migrations.findings() == []


def test_two_branches_with_a_table_each_go_together():
    migrations = applied([CREATE], [ADD])
    (migrations.folder / "0002_branch.json").write_text(json.dumps([OTHER]))
    assert [path.name for path, _, _ in migrations.apply()] == ["0002_branch.json"]


def test_a_new_migration_never_takes_the_name_of_one_that_is_there():
    migrations = applied([CREATE], [OTHER], [ADD])
    before = {path.name: path.read_text() for path in migrations.files}
    Path("migrations/0001_file1.json").rename("0001_file1.json")
    Path("migrations/0002_file2.json").rename("migrations/0004_things.json")
    Path("0001_file1.json").rename("migrations/0001_file1.json")
    more = extractor_of([("n", int)], [1], table="third")().get_table()
    path = migrations.make([more], dry_run=True)
    assert path.name == "0005_third.json" and before


@pytest.mark.parametrize("name", ["DATE", "Date", "dAtE"])
def test_a_field_that_is_the_day_in_other_capitals_is_refused(name):
    with pytest.raises(SettingsError) as told:
        extractor_of([(name, int)])().get_table()
    assert told.value.reason == "date_is_ours"


@pytest.mark.parametrize(
    "fields, attributes, reason",
    [
        ([("_Day", int), ("timestamp", datetime)], {}, "bad_column_name"),
        ([("Shop", str), ("n", int)], {"partition_field": "shop"}, "partition_is_ours"),
        ([("n", int)], {"partition_field": "DATE"}, "partition_is_ours"),
        ([("n", int)], {"date_field": "a b"}, "bad_column_name"),
        (
            [("n", int, sq_field(differentiate=True)), ("N_before", int)],
            {"shows_previous": True},
            "bad_column_name",
        ),
        ([], {}, "no_columns"),
    ],
)
def test_a_column_that_is_ours_cannot_be_declared(fields, attributes, reason):
    kind = events if "timestamp" in [one[0] for one in fields] else daily
    with pytest.raises(SettingsError) as told:
        extractor_of(fields, (), kind, **attributes)().get_table()
    assert told.value.reason == reason


@pytest.mark.parametrize(
    "fields, name, reason",
    [
        ([("timestamp", datetime)], "at", "no_date_field"),
        ([("timestamp", str)], "timestamp", "bad_date_field"),
        ([("timestamp", datetime | None)], "timestamp", "bad_date_field"),
        ([("timestamp", date), ("at", time)], "at", "bad_date_field"),
        ([("timestamp", date)], "timestamp", None),
        ([("timestamp", datetime), ("at", datetime | None)], "timestamp", None),
    ],
)
def test_when_an_event_happened_is_a_date_or_a_moment_and_never_none(fields, name, reason):
    extractor = extractor_of(fields, (), events, date_field=name)()
    if reason is None:
        assert extractor.get_table().date_field == name
        return
    with pytest.raises(SettingsError) as told:
        extractor.get_table()
    assert told.value.reason == reason


def test_two_tables_that_differ_by_capitals_are_one():
    tables = [extractor_of([("n", int)], table=name)().get_table() for name in ("things", "Things")]
    try:
        Migrations(Path("migrations"), Store(Path("store.duckdb"))).make(tables)
        reason = None
    except SettingsError as e:
        reason = e.reason
    assert reason == "same_table"
