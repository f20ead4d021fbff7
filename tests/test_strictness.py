"""Strictness in proportion: an odd value harms its own field, a key its own record, and nothing
else."""

import json
import warnings
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from expected import expectations
from hypothesis import given, settings
from hypothesis import strategies as st
from platforms import started

from domostats import reports
from domostats.clients.domo.accounts import get_accounts
from domostats.errors import DataError
from domostats.reports import accounts
from domostats.reports.declaration import Source
from domostats.reports.keys import key_columns
from domostats.reports.reading import reading
from domostats.reports.report import Report
from domostats.rows import rowtype
from domostats.rows.rowtype import Millis, NumberId, Seconds, TextId, TextTime
from domostats.transport.listing import Whole
from domostats.transport.pages import Page

PROVIDERS = "/api/data/v2/datasources/providers"
GROUPS = "/api/content/v2/groups/grouplist"
HALF = rb'"Ben \ud83d"'  # a text that ends in half an emoji
BYTE = b'"Ben \xff"'  # a text with a byte that is no UTF-8


def over(name, records, format_fn="all", **lookups):
    """A report over these records (plain, or bytes of an array), page by page where they are
    bytes in a list."""
    report = reports.find(name)
    format_fn = format_fn if format_fn in report.formatters else None
    pages = {lookup.keyword: [] for lookup in report.lookups}
    for keyword, rows in ({report.source.keyword: records} | lookups).items():
        arrays = rows if isinstance(rows, list) and rows and isinstance(rows[0], bytes) else [rows]
        arrays = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in arrays]
        pages[keyword] = [Page(number, array, 0) for number, array in enumerate(arrays, 1)]
    return report.over(report.formatter(format_fn), pages)


def provider(*accounts, **fields):
    return {"key": "k", "name": "Provider", "accounts": list(accounts), **fields}


# --- a model in plain words: what each odd value is in a field of each type -----------------------

JsonText = getattr(rowtype, "JsonText", str)


@dataclass
class Thing:
    "A record with a field of every type."

    id: NumberId
    whole: int | None = None
    size: float | None = None
    yes: bool | None = None
    name: str | None = None
    owner: TextId | None = None
    seen: Millis | None = None
    made: Seconds | None = None
    told: TextTime | None = None
    tags: JsonText | None = None
    free: Any = None


def at(seconds):
    return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=seconds)


NOON = datetime(2025, 1, 1, 12, tzinfo=timezone.utc)
S, GOOD = "spelling", ""
# the value as it comes; by field what it becomes and how that counts; in every other field it is
# null, and counts
ODD = {
    b"null": dict.fromkeys(
        ["whole", "size", "yes", "name", "owner", "seen", "made", "told", "tags", "free"],
        (None, GOOD),
    ),
    b"2": {
        "id": (2, GOOD),
        "whole": (2, GOOD),
        "size": (2.0, GOOD),
        "name": ("2", S),
        "owner": ("2", GOOD),
        "seen": (at(0.002), GOOD),
        "made": (at(2), GOOD),
        "tags": ("2", S),
        "free": ("2", GOOD),
    },
    b"2.0": {
        "id": (2, S),
        "whole": (2, S),
        "size": (2.0, GOOD),
        "name": ("2.0", S),
        "owner": ("2", S),
        "seen": (at(0.002), S),
        "made": (at(2), S),
        "tags": ("2.0", S),
        "free": ("2.0", GOOD),
    },
    b"2.5": {
        "size": (2.5, GOOD),
        "name": ("2.5", S),
        "seen": (at(0.0025), S),
        "made": (at(2.5), S),
        "tags": ("2.5", S),
        "free": ("2.5", GOOD),
    },
    b'"2"': {
        "id": (2, GOOD),
        "whole": (2, S),
        "size": (2.0, S),
        "name": ("2", GOOD),
        "owner": ("2", GOOD),
        "tags": ("2", GOOD),
        "free": ("2", GOOD),
    },
    b'"1e3"': {
        "size": (1000.0, S),
        "name": ("1e3", GOOD),
        "owner": ("1e3", GOOD),
        "tags": ("1e3", GOOD),
        "free": ("1e3", GOOD),
    },
    b'" 2 "': dict.fromkeys(("name", "owner", "tags", "free"), (" 2 ", GOOD)),
    '"٣"'.encode(): dict.fromkeys(("name", "owner", "tags", "free"), ("٣", GOOD)),
    b'""': dict.fromkeys(("name", "owner", "tags", "free"), ("", GOOD)),
    b'"NaN"': dict.fromkeys(("name", "owner", "tags", "free"), ("NaN", GOOD)),
    b"1e400": {"name": ("1e400", S), "tags": ("1e400", S), "free": ("1e400", S)},
    str(2**70).encode(): {
        "size": (float(2**70), GOOD),
        "name": (str(2**70), S),
        "owner": (str(2**70), S),
        "tags": (str(2**70), S),
        "free": (str(2**70), GOOD),
    },
    b"true": {
        "yes": (True, GOOD),
        "name": ("true", S),
        "tags": ("true", S),
        "free": ("true", GOOD),
    },
    b'"true"': {"yes": (True, S)}
    | dict.fromkeys(("name", "owner", "tags", "free"), ("true", GOOD)),
    b"[null]": {"tags": ("[null]", S), "free": ("[null]", GOOD)},
    b'{"a": [1]}': {"tags": ('{"a":[1]}', S), "free": ('{"a":[1]}', GOOD)},
    HALF: dict.fromkeys(("name", "owner", "tags", "free"), ("Ben \\ud83d", S)),
    BYTE: {},
    b'"2025-01-01T12:00:00"': dict.fromkeys(("seen", "made", "told"), (NOON, S))
    | dict.fromkeys(("name", "owner", "tags", "free"), ("2025-01-01T12:00:00", GOOD)),
    b'"2025-01-01 12:00:00"': dict.fromkeys(("seen", "made"), (NOON, S))
    | {"told": (NOON, GOOD)}
    | dict.fromkeys(("name", "owner", "tags", "free"), ("2025-01-01 12:00:00", GOOD)),
    b'"2025-01-01T13:00:00.25+01:00"': dict.fromkeys(
        ("seen", "made", "told"), (NOON + timedelta(milliseconds=250), S)
    )
    | dict.fromkeys(("name", "owner", "tags", "free"), ("2025-01-01T13:00:00.25+01:00", GOOD)),
    b'"2025-01-01T12:00:00.000001Z"': dict.fromkeys(
        ("seen", "made", "told"), (NOON + timedelta(microseconds=1), S)
    )
    | dict.fromkeys(("name", "owner", "tags", "free"), ("2025-01-01T12:00:00.000001Z", GOOD)),
    b'"2025-02-30 12:00:00"': dict.fromkeys(
        ("name", "owner", "tags", "free"), ("2025-02-30 12:00:00", GOOD)
    ),
    b'"1735732800000"': {
        "whole": (1735732800000, S),
        "size": (1735732800000.0, S),
        "id": (1735732800000, GOOD),
    }
    | dict.fromkeys(("seen", "made", "told"), (NOON, S))
    | dict.fromkeys(("name", "owner", "tags", "free"), ("1735732800000", GOOD)),
}
FIELDS = ["whole", "size", "yes", "name", "owner", "seen", "made", "told", "tags", "free"]
records_of_things = st.lists(
    st.tuples(
        st.sampled_from([b"7", b'"7"', b"7.0", b'"x"', b"null", b"7.5", b"[]", BYTE, HALF]),
        st.dictionaries(st.sampled_from(FIELDS), st.sampled_from([*ODD]), max_size=4),
    ),
    max_size=8,
)
IDS = {b"7": GOOD, b'"7"': GOOD, b"7.0": S}  # how an id counts; any other rejects


def raw_record(id, fields):
    pairs = [(b"id", id), *((name.encode(), value) for name, value in fields.items())]
    return b"{%s}" % b", ".join(b'"%s": %s' % pair for pair in pairs)


@settings(max_examples=300, deadline=None)
@given(records=records_of_things)
def test_every_row_with_a_readable_key_is_there_and_every_value_is_the_models(records):
    report = Report("things", "one thing", "id", Source("thing_obj", Whole("/x"), Thing))
    array = b"[%s]" % b",".join(raw_record(id, fields) for id, fields in records)
    pages = {"thing_obj": [Page(1, b'[{"id": 1}]', 1), Page(2, array, len(records))]}
    run = report.over(report.fields, pages)
    rows = run.rows
    kept = [(row, id, fields) for row, (id, fields) in enumerate(records, 1) if id in IDS]
    assert [row["id"] for row in rows] == [1] + [7] * len(kept)
    nulls, spellings, cells = Counter(), Counter(), Counter()
    for made, (_, id, fields) in zip(rows[1:], kept, strict=True):
        spellings["thing_obj.id"] += IDS[id] == S
        for name in FIELDS:
            value, counts = ODD[fields.get(name, b"null")].get(name, (None, "null"))
            assert made[name] == value and type(made[name]) is type(value), (name, fields)
            nulls[f"thing_obj.{name}"] += counts == "null"
            spellings[f"thing_obj.{name}"] += counts == S
            cells[name] += counts == "null"
    assert run.nulls == +nulls and run.spellings == +spellings
    assert len(run.violations) == len(records) - len(kept) and run.incomplete is bool(
        run.violations
    )
    assert Counter(run.uncertain["column"].to_pylist()) == +cells
    found = {(one.kind, one.page, one.row, one.field) for _, one in run.deviations("null")}
    assert all(page == 2 and records[row - 1][0] in IDS for _, page, row, _ in found)


@settings(max_examples=50, deadline=None)
@given(records=records_of_things)
def test_a_function_gets_what_the_table_holds(records):
    "A plain function is given the records as they should have come; it meets no odd value."
    report = Report("things", "one thing", "id", Source("thing_obj", Whole("/x"), Thing))
    array = b'[{"id": 1},%s]' % b",".join([raw_record(*one) for one in records] or [b'{"id": 2}'])
    made = report.over(lambda thing_obj: thing_obj, {"thing_obj": [Page(1, array, 0)]}).rows
    table = report.over(report.fields, {"thing_obj": [Page(1, array, 0)]}).rows
    for row, record in zip(table, made, strict=True):
        for name in ("id", "whole", "size", "yes", "name", "owner", "tags"):
            assert record.get(name) == row[name]
        if isinstance(record.get("seen"), (int, float)):
            assert at(0) + timedelta(microseconds=round(record["seen"] * 1000)) == row["seen"]


# --- every field of every report ------------------------------------------------------------------

VALUES = [b"null", b"2.5", b"1e400", b"[null]", b'{"a": [null]}', HALF, BYTE]
LISTS = "accounts", "users", "groups", "groupMembers"  # where null says that there are none
MARK = "the odd value stands here"
REPORTS = {name: one for name, one in expectations().items() if one.platform}  # of a service


@cache
def fetched(name):
    "The pages of every source of a report, from a sandbox: by keyword the two longest records."
    report = reports.find(name)
    how = {"since": datetime(2024, 1, 1)} if "until" in REPORTS[name].narrowed_by else {}
    with (
        started(report.platform, domo={"accounts": 40}) as box,
        reading(report.sign_in(box), name, **how) as reader,
    ):
        sources = [report.source, *report.lookups]
        found = {}
        for source in sources:
            rows = [
                row
                for page in source.listing.pages(reader)
                for row in json.loads(bytes(page.array))
            ]
            found[source.keyword] = sorted(rows, key=lambda row: -len(json.dumps(row)))[:2]
        return found


def places_in(value, place=()):
    "Every name in a record and in the records inside it."
    if isinstance(value, dict):
        for name, inner in value.items():
            yield (*place, name)
            yield from places_in(inner, (*place, name))
    elif isinstance(value, list) and value:
        yield from places_in(value[0], (*place, 0))


def changed(records, place, value):
    "The records with this value (bytes) at a place of the first one."
    copy = json.loads(json.dumps(records))
    inner = copy[0]
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = MARK
    return json.dumps(copy).encode().replace(b'"%s"' % MARK.encode(), value)


@pytest.mark.sampled(7, a_day=4)
@pytest.mark.parametrize("name", REPORTS)
def test_no_odd_value_in_any_field_costs_a_row_but_in_the_key(own_folder, name):
    records, report = fetched(name), reports.find(name)
    formatter = next(iter(report.formatters))
    before = over(name, records[report.source.keyword], formatter, **records).rows
    can_lose = {report.source.keyword, *(one.keyword for one in report.lookups if one.both)}
    assert before
    for keyword in records:
        for place in places_in(records[keyword][0]):
            for value in VALUES:
                odd = records | {keyword: changed(records[keyword], place, value)}
                run = over(name, odd.pop(report.source.keyword), formatter, **odd)
                rows = run.rows
                where = (keyword, place, value)
                if len(rows) >= len(before) or value == b"null" and place[-1] in LISTS:
                    continue
                assert keyword in can_lose and place[-1] in REPORTS[name].key_fields, (
                    f"{where} costs a row: no field of `key_fields` in tests/expected/{name}.py"
                )
                if value[:1] != b"{" or place[-1] != "reply":  # which may be a reply of no shares
                    assert run.incomplete and run.violations, where


# --- as it was seen from outside ------------------------------------------------------------------


def test_an_account_with_another_spelling_is_kept_and_counted(box):
    box.serve(PROVIDERS, [provider({"id": 1}, {"id": 2, "valid": "true", "dataSourceCount": 2.0})])
    run = accounts.report.run(box, format_fn="v2")
    assert [row["account_id"] for row in run.rows] == [1, 2] and not run.incomplete
    assert run.rows[1]["data_source_count"] == 2
    assert run.spellings == {"account_obj.valid": 1, "account_obj.dataSourceCount": 1}
    assert any("account_obj, page 1, row 2, field 'dataSourceCount'" in one for one in run.findings)
    kinds = {(line.field, line.kind, line.times) for line in run.contract().itertuples()}
    assert {("valid", "spelling", 1), ("dataSourceCount", "spelling", 1)} <= kinds


def test_a_field_that_nobody_reads_is_no_finding_but_breaks_the_contract(box):
    box.serve(PROVIDERS, [provider({"id": 1, "valid": "perhaps"})])
    run = accounts.report.run(box, format_fn="v2")
    assert [row["account_id"] for row in run.rows] == [1] and not run.findings
    assert run.nulls == {"account_obj.valid": 1} and len(run.uncertain) == 0
    with pytest.raises(DataError) as caught:
        run.check_strict()
    assert (caught.value.reason, caught.value.column) == ("violations", "valid")
    with pytest.raises(DataError) as caught:
        accounts.report.run(box, format_fn="v2", contract="freeze")
    assert (caught.value.reason, caught.value.column) == ("contract", "valid")


@pytest.mark.parametrize(
    "change", [{"valid": "true"}, {"dataSourceCount": "many"}, {"id": "x"}, {"displayName": 5}]
)
def test_freeze_and_strict_fail_on_every_deviation(box, change):
    box.serve(PROVIDERS, [provider({"id": 1}, {"id": 2} | change)])
    with pytest.raises(DataError) as caught:
        accounts.report.run(box, format_fn="v2", contract="freeze")
    assert (caught.value.reason, caught.value.row, caught.value.column) == ("contract", 2, *change)
    run = accounts.report.run(box, format_fn="v2", fresh=True)
    with pytest.raises(DataError) as caught:
        run.check_strict()
    assert (caught.value.reason, caught.value.row, caught.value.column) == (
        "violations",
        2,
        *change,
    )
    assert f"field {[*change][0]!r}" in str(caught.value)


def test_freeze_fails_on_a_new_field_whatever_it_is_called(box):
    for name in ("new", 'quote " and \\', "new\ud83d", "\n"):
        box.serve(PROVIDERS, json.dumps([provider({"id": 1, name: 5})]).encode())
        with pytest.raises(DataError) as caught:
            accounts.report.run(box, format_fn="v2", contract="freeze", fresh=True)
        assert caught.value.reason == "contract"
    accounts.report.over(
        accounts.format_account_v2, {"account_obj": [Page(1, b'[{"accounts": [{"id": 1}]}]', 1)]}
    ).check_strict()


def test_a_group_whose_time_is_written_otherwise_is_there():
    spellings = "2025-01-01T12:00:00", "2025-01-01T12:00:00Z", "2025-01-01 12:00:00.0"
    groups = [{"groupId": n, "created": text} for n, text in enumerate(spellings)]
    run = over("groups", groups)
    assert [row["created_at"] for row in run.rows] == [NOON] * 3
    assert run.spellings == {"group_obj.created": 2} and not run.incomplete


def test_a_dataset_keeps_its_row_whatever_stands_in_it():
    odd = {"tags": ["a", "b"], "name": 123, "rowCount": "2", "hidden": "true", "owner": "Ada"}
    run = over("datasets", [{"id": "x", "owner": {"id": 27}}, {"id": "y"} | odd])
    first, second = run.rows
    assert first["owner_id"] == "27" and second["dataset_id"] == "y"
    assert (second["tags"], second["name"], second["row_count"]) == ('["a","b"]', "123", 2)
    assert second["hidden"] is True and second["owner_id"] is None
    assert set(run.nulls) == {
        f"dataset_obj.owner{part}" for part in ("Id", "Name", "Type", "Group")
    }
    cells = run.uncertain.to_pylist()
    assert {"k0": "y", "column": "owner_id"} in cells and len(cells) == 4


@pytest.mark.parametrize(
    "change, lost",
    [
        ({"advancedScheduleJson": {"type": "DAY"}}, []),
        ({"transport": None}, ["Source_Type"]),
        ({"transport": []}, ["Source_Type"]),
        ({"accounts": [None]}, ["Account_ID"]),
        ({"accounts": {"accountId": 9}}, ["Account_ID"]),
        ({"advancedScheduleJson": "no JSON"}, ["Schedule"]),
        ({"advancedScheduleJson": "[1]"}, ["Schedule"]),
        ({"advancedScheduleJson": None, "accounts": None}, None),
    ],
)
def test_an_odd_part_of_a_stream_is_null_in_its_own_column(change, lost):
    stream = {
        "id": 5,
        "transport": {"type": "CONNECTOR", "description": "Sheets"},
        "advancedScheduleJson": '{"type": "DAY"}',
        "accounts": [{"accountId": 9}],
    }
    whole = {"Schedule": "Day", "Source_Type": "Sheets", "Account_ID": "9"}
    run = over(
        "datasets",
        [{"id": "x", "streamId": 5}],
        "domostats",
        stream_obj=[stream | change],
        document_obj=[{"databaseId": "x", "pdpEnabled": True}],
    )
    (row,) = run.rows
    if lost is None:
        assert (row["Schedule"], row["Source_Type"], row["Account_ID"]) == (None, "Sheets", None)
        assert not run.findings and len(run.uncertain) == 0
        return
    expected = whole | dict.fromkeys(lost)
    assert {name: row[name] for name in whole} == expected
    assert {cell["column"] for cell in run.uncertain.to_pylist()} == {*lost}
    assert run.findings and bool(run.spellings) is not bool(lost)


def test_of_several_values_the_first_counts_beside_an_odd_attribute_too():
    pairs = [
        {"key": "displayName", "values": ["Ada", "Ada Before"]},
        {"key": "roleId", "values": [2, 1]},
        {"key": "title", "values": []},
        {"key": "locale", "values": {}},
    ]
    [row] = over("users", [{"id": 27, "attributes": pairs}], "identity").rows
    assert (row["display_name"], row["role_id"], row["title"]) == ("Ada", "2", None)


def test_an_odd_attribute_of_a_user_harms_no_other():
    pairs = [
        {"key": "displayName", "values": ["Ada"]},
        {"key": "title", "values": "CEO"},
        {"key": "locale", "values": {}},
        {"key": "department", "values": None},
        {"key": "roleId", "values": [1.0]},
    ]
    run = over(
        "users", [{"id": 27, "attributes": pairs}, {"id": 28, "attributes": None}], "identity"
    )
    ada, nobody = run.rows
    assert (ada["id"], ada["display_name"], ada["title"], ada["locale"]) == (
        "27",
        "Ada",
        "CEO",
        None,
    )
    assert ada["department"] is None and ada["role_id"] == "1" and nobody["display_name"] is None
    assert run.nulls["user_obj.locale"] == 2 and run.nulls["user_obj.title"] == 1
    assert run.spellings == {"user_obj.title": 1, "user_obj.roleId": 1}


def test_a_share_that_is_none_is_rejected_and_no_other():
    reply = {"users": [{"id": 1, "displayName": {}}, None], "groups": [{"id": 2, "active": "true"}]}
    run = over("page_access", [{"parent": 3, "reply": reply}])
    assert [row["entity_id"] for row in run.rows] == ["1", "2"]
    assert len(run.violations) == 1 and run.incomplete
    assert run.nulls["share_obj.entityName"] == 1 and run.rows[1]["is_active"] is True
    people = {"users": [], "groups": [{"id": 2.0, "users": [{"id": 1}, 5]}, {"id": 4, "users": 5}]}
    run = over("page_people", [{"parent": 3, "reply": people}])
    assert [(row["user_id"], row["via_group_id"]) for row in run.rows] == [("1", "2")]
    assert len(run.violations) == 2


def test_an_event_keeps_its_row_without_its_time():
    run = over("activity_log", [{"time": "soon", "userId": 5}, {"userId": 6}, {}])
    assert [row["user_id"] for row in run.rows] == ["5", "6", None]
    assert run.nulls["event_obj.time"] == 3 and not run.incomplete


def test_a_list_inside_a_record_that_is_none_is_told_as_missing_rows():
    run = over(
        "accounts", [provider({"id": 1}), provider(accounts=[]) | {"accounts": {"a": 1}}], "v2"
    )
    assert [row["account_id"] for row in run.rows] == [1]
    assert run.incomplete and [bad.field for bad in run.violations] == ["accounts"]


def test_a_lookup_record_with_an_unreadable_id_is_rejected_and_no_row_of_ours():
    run = over("accounts", [provider({"id": 1, "userId": 5})], "owners", owner_obj=[{"id": []}])
    assert [row["account_id"] for row in run.rows] == [1] and run.incomplete
    assert run.uncertain.to_pylist() == [{"k0": 1, "column": "owner_name"}]
    assert over("accounts", [], "owners", owner_obj=[{"id": []}]).rows == []


def test_nothing_is_joined_by_an_id_that_is_null():
    @dataclass
    class Person:
        "Somebody without an id."

        id: TextId | None = None
        display_name: str | None = None

    from domostats.clients.domo.users import USERS
    from domostats.reports.declaration import Lookup

    source = accounts.report.source
    owner = Lookup("owner_obj", USERS, Person, partial=True, on=("user_id", "id"))
    report = Report("accounts", "one account", "id", source, owner)
    shape = report.fields.add(owner="owner_obj.displayName")
    pages = {
        "account_obj": [Page(1, json.dumps([provider({"id": 1})]).encode(), 1)],
        "owner_obj": [Page(1, b'[{"displayName": "Nobody"}]', 1)],
    }
    assert report.over(shape, pages).rows[0]["owner"] is None


# --- cells that are not known ---------------------------------------------------------------------


def test_a_missing_lookup_record_makes_its_cells_uncertain_and_an_absent_id_does_not():
    datasets = [
        {"id": "a", "streamId": 5},
        {"id": "b", "streamId": None},
        {"id": "c", "streamId": []},
    ]
    documents = [{"databaseId": name} for name in "abc"]
    run = over("datasets", datasets, "domostats", document_obj=documents)
    assert len(run.rows) == 3
    cells = {(cell["k0"], cell["column"]) for cell in run.uncertain.to_pylist()}
    reads = {"Schedule", "Source_Type", "Account_ID"}
    assert cells == {(key, column) for key in "ac" for column in reads}


def test_uncertain_has_the_key_as_the_output_has_it():
    share = {"parent": 3, "reply": {"users": [{"id": 1, "displayName": []}], "groups": []}}
    run = over("page_access", [share], page_obj=[{"pageId": 3, "pageTitle": "t"}])
    assert run.rows
    columns = key_columns(run.report, run.formatter)
    table = run.uncertain
    assert table.column_names == [*(f"k{n}" for n in range(len(columns))), "column"]
    types = [run.table.schema.field(name).type for name in columns]
    assert table.schema.types == [*types, pa.string()]
    assert table.to_pylist() == [{"k0": "3", "k1": "USER", "k2": "1", "column": "entity_name"}]


def test_an_undisturbed_run_has_no_uncertain_cell_but_where_a_lookup_has_none(box):
    for name in ("groups", "datasets", "page_access", "page_people", "calls"):
        for shape in reports.find(name).formatters:
            run = reports.find(name).run(box, format_fn=shape)
            assert len(run.uncertain) == 0 and not run.nulls and not run.spellings
            run.check_strict()


def test_a_stream_of_pages_gives_the_same_uncertain_cells():
    rows = [
        json.dumps([{"groupId": n, "memberCount": "many"} for n in range(900 * k, 900 * (k + 1))])
        for k in range(3)
    ]
    run = over("groups", [row.encode() for row in rows])
    assert run.reader().read_all().num_rows == 2700
    assert run.uncertain["k0"].to_pylist() == [str(n) for n in range(2700)]
    assert run.nulls == {"group_obj.memberCount": 2700} and len(run.findings) == 6


# --- one character --------------------------------------------------------------------------------


def served_accounts(box, name):
    "Three accounts, the second called like this (JSON as bytes)."
    box.serve(
        PROVIDERS,
        b'[{"key": "k", "name": "P", "accounts": [{"id": 1, "displayName": "one"}, '
        b'{"id": 2, "displayName": %s}, {"id": 3, "displayName": "three"}]}]' % name,
    )


@pytest.mark.parametrize(
    "name, kept",
    [
        (HALF, "Ben \\ud83d"),
        (rb'"\udc00\ud83d and \ud83d\ude00"', "\\udc00\\ud83d and 😀"),
        (b'"tab\tand\nline"', "tab\tand\nline"),
        (BYTE, None),
        (rb'"\x41"', None),
        (b"NaN", "NaN"),
        (b"[" * 50_000 + b"]" * 50_000, None),
    ],
)
def test_one_odd_character_harms_its_own_field(box, name, kept):
    served_accounts(box, name)
    run = accounts.report.run(box, format_fn="v2")
    assert [row["account_name"] for row in run.rows] == ["one", kept, "three"]
    assert not run.incomplete and [row["account_id"] for row in run.rows] == [1, 2, 3]
    if kept != "NaN":
        assert any("row 2, field 'displayName'" in finding for finding in run.findings)
        assert len(run.nulls) == (kept is None)
    assert accounts.report.run(box, format_fn="v2", restore=True).rows == run.rows
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        (found,) = get_accounts(box).response
    assert [account["id"] for account in found["accounts"]] == [1, 2, 3]
    if name[:1] != b"[":
        assert found["accounts"][1]["displayName"] == kept


def test_a_reply_as_plain_lists_names_the_place(box):
    served_accounts(box, BYTE)
    with pytest.warns(UserWarning, match=r"\[0\]\.accounts\[1\]\.displayName"):
        get_accounts(box).response


def test_a_byte_order_mark_is_passed_over(box):
    box.serve(PROVIDERS, b'\xef\xbb\xbf[{"accounts": [{"id": 1}]}]')
    assert [row["account_id"] for row in accounts.report.run(box, format_fn="v2").rows] == [1]


@pytest.mark.parametrize("name", [rb"half \ud83d", b"byte \xff"])
def test_an_odd_name_of_a_field_is_a_new_field(box, name):
    box.serve(
        PROVIDERS, b'[{"accounts": [{"id": 1, "displayName": "one", "%s": 5}, {"id": 2}]}]' % name
    )
    run = accounts.report.run(box, format_fn="v2")
    assert [row["account_name"] for row in run.rows] == ["one", None] and not run.incomplete
    assert len(run.unknown) == 1 and [*run.unknown][0].isprintable()


def test_an_odd_character_in_a_key_or_in_a_lookup():
    run = over("datasets", b'[{"id": "a"}, {"id": %s}, {"id": %s}]' % (HALF, BYTE))
    assert [row["dataset_id"] for row in run.rows] == ["a", "Ben \\ud83d"]
    assert [(bad.row, bad.field) for bad in run.violations] == [(3, "id")]
    people = b'[{"id": 5, "displayName": %s}, {"id": 6, "displayName": %s}]' % (HALF, BYTE)
    own = [provider({"id": 1, "userId": 5}, {"id": 2, "userId": 6})]
    run = over("accounts", own, "owners", owner_obj=people)
    assert [row["owner_name"] for row in run.rows] == ["Ben \\ud83d", None]
    assert run.uncertain.to_pylist() == [{"k0": 2, "column": "owner_name"}]


def test_half_an_emoji_can_be_stored(box, tmp_path):
    served_accounts(box, HALF)
    table = accounts.report.run(box, format_fn="v2").table
    pq.write_table(table, tmp_path / "accounts.parquet")
    assert pq.read_table(tmp_path / "accounts.parquet")["account_name"][1].as_py() == "Ben \\ud83d"
    with duckdb.connect() as con:
        con.register("accounts", table)
        found = con.execute("SELECT account_name FROM accounts WHERE account_id = 2").fetchall()
    assert found == [("Ben \\ud83d",)]
    assert len(accounts.generate(box, format_fn="v2")) == 3


def test_what_is_kept_out_can_be_had_with_its_odd_characters(box):
    box.serve(PROVIDERS, b'[{"accounts": [{"id": 1, "a": %s, "b": %s, "c": 1}]}]' % (HALF, BYTE))
    (row,) = accounts.report.run(box, format_fn="v2", contract="extend").rows
    assert json.loads(row["other_fields"]) == {"a": "Ben \\ud83d", "b": None, "c": 1}


def test_a_reply_that_is_broken_off_is_still_an_error(box):
    for body in (rb'[{"accounts": [{"id": 1, "displayName": "\ud83d', b'[{"id": NaN', b"[1, 2"):
        box.serve(PROVIDERS, body)
        with pytest.raises(DataError) as caught:
            accounts.report.run(box, format_fn="v2", fresh=True)
        assert caught.value.reason in ("truncated", "not_json")


# --- by hand --------------------------------------------------------------------------------------


def test_plain_lists_may_hold_whatever_python_holds():
    listed = [
        provider({"id": 1, "displayName": "Ben \ud83d", "dataSourceCount": 2**70}, {"id": "2"})
    ]
    with pytest.warns(UserWarning, match="dataSourceCount"):
        rows = accounts.format_domostats_accounts(listed, "v2", is_dataframe=False)
    assert [row["account_id"] for row in rows] == [1, 2]
    assert rows[0]["account_name"] == "Ben \\ud83d" and rows[0]["data_source_count"] is None
    with pytest.raises(DataError) as caught:
        accounts.format_domostats_accounts([object()], "v2")
    assert caught.value.reason == "not_json"


def test_a_formatter_on_one_record_takes_what_the_report_takes():
    record = {"id": "1", "dataSourceCount": "2", "displayName": "Ben \ud83d", "valid": "perhaps"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # `valid` is no column of it
        row = accounts.format_account_v2(record, {"name": 5})
    assert (row["account_id"], row["data_source_count"]) == (1, 2)
    assert row["account_name"] == "Ben \\ud83d" and row["data_provider_name"] == "5"
    with pytest.warns(UserWarning, match="dataSourceCount"):
        assert accounts.format_account_v2({"id": 1, "dataSourceCount": []}, {})["account_id"] == 1
    with pytest.raises(DataError) as caught:
        accounts.format_account_v2({"id": "x"}, {})
    assert caught.value.reason == "bad_record"


def test_odd_ids_are_asked_for_as_what_they_are(box):
    box.serve(GROUPS, b'[{"groupId": 5.0, "name": "five"}]')
    box.serve("/api/content/v2/groups/5", {"id": 5, "creatorId": 7, "default": "true"})
    run = reports.find("groups").run(box, format_fn="with_creator")
    (row,) = run.rows
    assert (row["Group Id"], row["Creator Id"], row["Is Default"]) == ("5", "7", "true")


# --- types as the connector has them --------------------------------------------------------------


def test_people_and_accounts_have_the_types_of_the_connector():
    schema = reports.find("users").formatters["domostats"].schema
    kinds = {name: str(schema.field(name).type) for name in schema.names}
    times = {"Last Login", "Password Created", "Created Date", "Last Updated Date"}
    assert {name for name in kinds if kinds[name] == "timestamp[us, tz=UTC]"} == times
    assert {name for name in kinds if kinds[name] == "int64"} == {"Role ID", "Employee Number"}
    assert {*kinds.values()} == {"timestamp[us, tz=UTC]", "int64", "string"}
    run = over("accounts", [provider({"id": 1, "valid": True})], "domostats", flat_obj=[{"id": 1}])
    assert (run.rows[0]["Valid"], run.rows[0]["Account_Type"]) == ("true", "AUTHORIZATION")
    flat = [{"id": 1, "origin": "OAUTH_CONFIGURATION"}]
    run = over("accounts", [provider({"id": 1})], "domostats", flat_obj=flat)
    assert run.rows[0]["Account_Type"] == "OAUTH_CONFIGURATION"


def test_the_last_login_is_its_own_attribute():
    pairs = [
        {"key": "lastLogin", "values": [1735732800000]},
        {"key": "lastActivity", "values": [5]},
    ]
    run = over(
        "users", [{"id": 27, "attributes": pairs}, {"id": 28, "attributes": []}], "domostats"
    )
    assert [row["Last Login"] for row in run.rows] == [NOON, None]
    cells = {cell["column"] for cell in run.uncertain.to_pylist()}
    assert cells == {"Profile Picture"}  # the older list was empty here
