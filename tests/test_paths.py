"""Declared paths: a value deep inside a record is read as if it had come in a field of its own."""

import json
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domostats.errors import SettingsError
from domostats.reports.datasets import DatasetRecord, DatasetStream
from domostats.reports.other_fields import other_fields
from domostats.reports.page_access import Share
from domostats.reports.page_people import Person
from domostats.reports.users import User
from domostats.rows.columns import arrow_columns, plain_dicts
from domostats.rows.layouts import layout_of
from domostats.rows.paths import parse_path
from domostats.rows.records import Records, read_page
from domostats.rows.rowtype import Constant, Millis, NumberId, TextId, at, columns_of
from domostats.rows.shapes import PairShape, RowShape, flat_page, shape_of
from domostats.transport.wire import elements, members


@dataclass
class Flat:
    "A record with a field for each path of `Deep`."

    id: NumberId
    owner_id: TextId | None = None
    owner_made: Millis | None = None
    schedule: str | None = None
    account: TextId | None = None
    title: str | None = None
    active: bool | None = None


@dataclass
class Deep:
    "The same fields, each at a path."

    id: NumberId
    owner_id: TextId | None = at("owner.id")
    owner_made: Millis | None = at("owner.made.at")
    schedule: str | None = at("plan.json().type")
    account: TextId | None = at("accounts[0].id")
    title: str | None = at("pairs[key={}].values[0]")
    active: bool | None = at("pairs[key={}].values[0]")


ABSENT = object()
VALUES = [ABSENT, None, 0, 7, 7.0, 7.5, 2**70, "", "7", "true", "2025-01-01T12:00:00Z", True]
values = st.fixed_dictionaries(
    {name: st.sampled_from(VALUES) for name in columns_of(Flat) if name != "id"}
)
ids = st.sampled_from([7, "7", 7.0, "x", None, ABSENT])


def without_absent(record):
    return {name: value for name, value in record.items() if value is not ABSENT}


def deep(id, fields, pairs_beside):
    "A record in which the same values lie at their paths."
    made = without_absent({"at": fields["ownerMade"]})
    owner = without_absent({"id": fields["ownerId"], "made": made})
    account = without_absent({"id": fields["account"]})
    pairs = [
        {"key": name, "values": [fields[name], "another"]}
        for name in ("title", "active")
        if fields[name] is not ABSENT
    ]
    return without_absent({"id": id}) | {
        "owner": owner,
        "plan": json.dumps(without_absent({"type": fields["schedule"]})),
        "accounts": [account, {"id": "another"}],
        "pairs": [*pairs, *pairs_beside],
    }


def read(row_type, *pages):
    records = Records(row_type)
    for number, page in enumerate(pages, 1):
        read_page(records, page if isinstance(page, bytes) else json.dumps(page).encode(), number)
    return records


def told(records):
    "Everything that was found, and every cell."
    return (
        {name: column.to_pylist() for name, column in arrow_columns(records, "x").items()},
        records.nulls,
        records.spellings,
        records.lost,
        [(one.page, one.row, one.field, one.met, one.expected) for one in records.violations],
        [(one.kind, one.page, one.row, one.field, one.met) for one in records.deviations],
        plain_dicts(records),
    )


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.tuples(ids, values), max_size=6),
    beside=st.sampled_from([[], [{"key": "title"}], [{"key": "active", "values": None}]]),
)
def test_a_value_at_a_path_is_read_as_one_in_a_field_of_its_own(rows, beside):
    flat = read(Flat, [without_absent({"id": id} | fields) for id, fields in rows])
    assert told(read(Deep, [deep(id, fields, beside) for id, fields in rows])) == told(flat)


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.tuples(ids, values), min_size=1, max_size=4),
    odd=st.sampled_from([b"null", b"5", b'"\xff"', b'{"pairs": 5}', b"[1e400]"]),
)
def test_a_page_with_a_stranger_in_it_gives_the_same_of_all_others(rows, odd):
    raws = [json.dumps(deep(id, fields, [])).encode() for id, fields in rows]
    whole = told(read(Deep, b"[%s]" % b",".join(raws)))
    beside = told(read(Deep, b"[%s]" % b",".join([*raws, odd])))
    count = len([*whole[0].values()][0])
    assert {name: cells[:count] for name, cells in beside[0].items()} == whole[0]
    assert beside[4][: len(whole[4])] == whole[4]


PARTS = st.sampled_from([None, 5, 7.5, "text", "[1]", "{}", True, [], [None], [5], {}, {"a": 1}])


@settings(max_examples=200, deadline=None)
@given(place=st.sampled_from(["owner", "plan", "accounts", "pairs"]), part=PARTS)
def test_whatever_stands_in_the_way_costs_its_own_fields_and_is_told(place, part):
    whole = deep(1, dict.fromkeys(columns_of(Flat), 7) | {"active": True}, [])
    records = read(Deep, [whole | {place: part}])
    (record,) = records.records
    below = {
        "owner": ["owner_id", "owner_made"],
        "plan": ["schedule"],
        "accounts": ["account"],
        "pairs": ["title", "active"],
    }
    (before,) = read(Deep, [whole]).records
    for name in (name for other in below if other != place for name in below[other]):
        assert getattr(record, name) == getattr(before, name)
    assert all(getattr(record, name) is None for name in below[place])
    nothing = {"owner": [None, {}, {"a": 1}], "accounts": [None, []], "pairs": [None, []]}
    is_told = bool(records.nulls) or "pairs" in records.unknown
    if place in nothing:
        assert is_told is (part not in nothing[place])
    else:
        assert is_told is (part not in (None, {}, {"a": 1}, "{}"))


@pytest.mark.parametrize(
    "path",
    ["", "owner..id", ".owner", "a[", "a[b", "a[-1]", "a]", "a[x y=1]", "a()", "a.json(", "a[0"],
)
def test_a_path_that_cannot_be_read_is_told(path):
    if not path:
        assert parse_path(path) == ()
        return
    with pytest.raises(SettingsError) as caught:
        parse_path(path)
    assert caught.value.reason == "bad_path"


def test_rows_must_end_with_a_list():
    @dataclass
    class Bad:
        "Rows that are none."

        ROWS: ClassVar = ("reply.users",)

        id: TextId = at("reply.users.id", required=True)

    with pytest.raises(SettingsError, match="must end with"):
        layout_of(Bad)


def test_fields_that_nobody_declared_are_told_by_their_path():
    records = read(
        Deep,
        [
            {"id": 1, "owner": {"id": 2, "team": "red"}, "new": [1], "title": "beside"},
            {"id": 2, "pairs": [{"key": "color", "values": ["blue", "red"]}]},
        ],
    )
    assert records.unknown == {"owner.team": 1, "new": 1, "color": 1}
    assert other_fields(records) == ['{"owner.team":"red","new":[1]}', '{"color":"blue"}']
    assert {"ownerMade", "schedule", "account", "title"} <= records.unseen
    assert "ownerId" not in records.unseen
    partial = Records(Deep, strict=False)
    read_page(partial, b'[{"id": 1, "owner": {"id": 2, "team": "red"}, "new": 1}]')
    assert not partial.unknown and plain_dicts(partial) == [{"id": 1, "ownerId": "2"}]


def test_what_is_expected_is_told_where_it_is_not_there():
    @dataclass
    class Strict:
        "Whoever has no owner is told."

        id: NumberId
        owner_id: TextId | None = at("owner.id", expected=True)

    records = read(Strict, [{"id": 1}, {"id": 2, "owner": None}, {"id": 3, "owner": {}}])
    assert [one.met for one in records.deviations] == ["nothing", "null"]
    assert records.lost == {"ownerId": [0, 1]}


@pytest.mark.parametrize("row_type", [User, DatasetRecord, DatasetStream, Share, Person])
def test_the_row_types_of_the_reports_declare_paths_that_can_be_read(row_type):
    assert layout_of(row_type, True) is not None
    assert layout_of(row_type, True) is layout_of(row_type, True)
    paths = [path for column in columns_of(row_type).values() for path in column.paths]
    assert paths and all(isinstance(path, Constant) or parse_path(path) for path in paths)


def test_a_row_type_without_a_path_is_decoded_as_it_comes():
    assert layout_of(Flat) is None and Records(Flat).layout is None
    page = b'[{"id": 1, "title":   "spaced"}]'
    assert read(Flat, page).raws[0].array is page


def test_rows_of_two_lists_share_what_they_lie_in():
    @dataclass
    class Member:
        "Somebody in a house."

        ROWS: ClassVar = ("guests[*]", "floors[*].rooms[*].people[*]")

        house: TextId = at("id", required=True)
        room: TextId = at(Constant("guests[*]", ""), "floors[*].rooms[*].id", required=True)
        floor: NumberId | None = at("floors[*].number")
        name: str | None = None
        free: Any = None

    room = {"id": 7, "people": [{"name": "Ada"}, {"name": "Cy", "other": 1}]}
    house = {
        "id": 1,
        "guests": [{"name": "Ben"}],
        "floors": [{"number": 2, "rooms": [room, {"id": 8}]}, {"number": 3, "rooms": None}],
    }
    records = read(Member, [house])
    cells = [(one.house, one.floor, one.room, one.name) for one in records.records]
    assert cells == [(1, None, "", "Ben"), (1, 2, 7, "Ada"), (1, 2, 7, "Cy")]
    assert not records.unknown and not records.violations
    odd = read(
        Member, [{"id": 1, "guests": [5], "floors": [{"rooms": 5}]}, {"id": 2, "guests": []}]
    )
    assert [one.field for one in odd.violations] == ["", "", "house"]


# --- whole pages ----------------------------------------------------------------------------------


@dataclass
class Titled:
    "Some fields in pairs, one beside them."

    id: TextId
    title: str | None = at("pairs[key={}].values[0]", expected=True)
    made: Millis | None = at("pairs[key={}].values[0]", expected=True)


@dataclass
class Guest:
    "Somebody in a house, and the room."

    ROWS: ClassVar = ("guests[*]", "floors[*].rooms[*].people[*]")

    house: TextId = at("id", required=True)
    room: TextId = at(Constant("guests[*]", ""), "floors[*].rooms[*].id", required=True)
    floor: NumberId | None = at("floors[*].number")
    name: str | None = None


def objects(**fields):
    "Objects with some of these fields; now and then something else stands in the place of one."
    as_declared = st.fixed_dictionaries({}, optional=fields)
    return st.one_of(*[as_declared] * 9, st.sampled_from([None, 5, "text", [], [1]]))


def fields_of(page):
    "The records of a flat page: by field the bytes of its value, for whatever is an object."
    found = [(raw, members(raw)) for raw in elements(page)]
    return [
        bytes(raw) if fields is None else {name: bytes(value) for name, value in fields.items()}
        for raw, fields in found
    ]


def several(element):
    return st.one_of(*[st.lists(element, max_size=3)] * 9, st.sampled_from([None, 5, {}, [None]]))


cells = st.sampled_from([None, 0, "a", True, [1], {"a": 1}])
names = st.sampled_from(["title", "made", "color", "id", "pairs", ""])
titled = objects(
    id=cells,
    pairs=several(objects(key=names, values=several(cells), source=cells)),
    title=cells,
    color=cells,
)
person = objects(name=cells, other=cells)
house = objects(
    id=cells,
    guests=several(person),
    floors=several(objects(number=cells, rooms=several(objects(id=cells, people=several(person))))),
)


@settings(max_examples=400, deadline=None)
@given(records=st.lists(titled, max_size=3))
def test_pairs_of_a_whole_page_are_those_read_one_by_one(records):
    page = json.dumps(records).encode()
    layout = layout_of(Titled)
    assert fields_of(flat_page(layout, page)) == fields_of(layout.flat_page(page))


@settings(max_examples=400, deadline=None)
@given(records=st.lists(house, max_size=3))
def test_rows_of_a_whole_page_are_those_read_one_by_one(records):
    page = json.dumps(records).encode()
    layout = layout_of(Guest)
    assert fields_of(flat_page(layout, page)) == fields_of(layout.flat_page(page))


def test_a_page_as_declared_is_read_whole(monkeypatch):
    pairs = [{"key": "title", "values": ["CEO", "old"]}, {"key": "color", "values": [1]}]
    pairs += [{"key": "color", "values": [2]}, {"key": "id", "values": [9]}, {"key": "made"}]
    floor = {"number": 2, "rooms": [{"id": 7, "people": [{"name": "Ada", "other": 1}]}]}
    pages = {
        Titled: [{"id": 1, "pairs": pairs, "title": "beside"}],
        Guest: [{"id": 1, "guests": [{"name": "Ben"}, {}], "floors": [floor], "other": 2}],
    }
    whole = {
        Titled: [{"id": 1, "title": "CEO", "color": 1}],
        Guest: [
            {"house": 1, "room": "", "name": "Ben"},
            {"house": 1, "room": ""},
            {"house": 1, "room": 7, "floor": 2, "name": "Ada"},
        ],
    }
    for row_type, page in pages.items():
        layout = layout_of(row_type)
        read = json.dumps(page).encode()
        assert json.loads(layout.flat_page(read)) == whole[row_type]
        with monkeypatch.context() as patch:
            patch.setattr(type(layout), "flat_page", None)
            assert json.loads(flat_page(layout, read)) == whole[row_type]


def test_which_reports_are_read_by_whole_pages():
    shapes = {
        row_type: type(shape_of(layout_of(row_type)))
        for row_type in (User, Share, Person, DatasetRecord)
    }
    assert shapes == {
        User: PairShape,
        Share: RowShape,
        Person: RowShape,
        DatasetRecord: type(None),
    }
    assert shape_of(layout_of(User, False)) is None  # without what nobody declared: one by one


def test_a_name_that_is_read_in_two_ways_has_no_shape():
    @dataclass
    class Both:
        "The list itself, beside its rows."

        ROWS: ClassVar = ("box.things[*]",)

        things: Any = at("box.things", required=True)
        id: TextId | None = None

    @dataclass
    class Odd:
        "A name that no attribute can have."

        ROWS: ClassVar = ("things[*]",)

        id: TextId = at("things[*].the id", required=True)

    page = b'[{"box": {"things": [{"id": 5}]}, "things": [{"the id": 6}]}]'
    for row_type in (Both, Odd):
        layout = layout_of(row_type)
        assert shape_of(layout) is None
        assert flat_page(layout, page) == layout.flat_page(page)
