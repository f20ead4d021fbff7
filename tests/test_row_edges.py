"""Rows to the edge: what names become, which spellings lose nothing, what a finding says, what a
rule makes of null."""

import json
import math
import warnings
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from domostats.errors import DataError, SettingsError
from domostats.reports.declaration import Source
from domostats.reports.keys import key_columns
from domostats.reports.other_fields import other_fields
from domostats.reports.report import Report
from domostats.rows.columns import arrow_columns, plain_dicts
from domostats.rows.formatter import Formatter, every_field
from domostats.rows.naming import flatten_list_of_lists, format_keys, format_str_camel_case
from domostats.rows.record_decoder import RecordDecoder
from domostats.rows.records import Records, raws_of, read_page
from domostats.rows.rowtype import (
    JsonText,
    Millis,
    NumberId,
    Seconds,
    TextId,
    TextTime,
    columns_of,
    named,
)
from domostats.rows.rules import (
    capitalized,
    constant,
    first,
    is_there,
    link,
    nothing,
    number,
    text,
    truth_text,
    when,
    yes_no,
)
from domostats.rows.table import table_of_rows, to_dataframe
from domostats.transport.listing import Whole


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, tidy",
    [
        ("dataSourceId", "data_source_id"),
        ("DataSourceID", "data_source_id"),
        ("dataSourceIDs", "data_source_ids"),
        ("IDsOfUsers", "ids_of_users"),
        ("IDset", "i_dset"),  # no plural
        ("URL", "url"),
        ("aURL", "a_url"),
        ("URLs", "urls"),
        ("getHTTPResponseCode", "get_http_response_code"),
        ("customAttribute1", "custom_attribute1"),
        ("ISO8601Date", "iso8601_date"),
        ("is2faOn", "is2fa_on"),
        ("Row Count", "row_count"),
        ("row-count", "row_count"),
        ("row.count", "row_count"),
        ("row/count", "row_count"),
        ("row \t\n count", "row_count"),
        ("row - count", "row_count"),
        ("__rowCount__", "row_count"),
        ("row#count", "row#count"),
        ("price€", "price€"),
        ("größeDerDatei", "größe_der_datei"),
        ("X", "x"),
        ("ROW COUNT", "row_count"),
        ("_", "_"),
        (" . ", " . "),
    ],
)
def test_what_names_become(name, tidy):
    assert format_str_camel_case(name) == tidy


def test_keys_keep_their_order_and_their_values():
    value = {"innerKey": 1}
    record = {"userId": value, "b": None, "DataSourceID": 0}
    tidy = format_keys(record)
    assert [*tidy.items()] == [("user_id", {"innerKey": 1}), ("b", None), ("data_source_id", 0)]
    assert tidy["user_id"] is value and [*record] == ["userId", "b", "DataSourceID"]
    assert format_keys({}) == {}


def test_two_names_that_become_one_are_both_told():
    with pytest.raises(
        DataError, match="'userId' and 'user id' would both be called 'user_id'"
    ) as e:
        format_keys({"userId": 1, "other": 2, "user id": 3})
    assert (e.value.reason, e.value.column) == ("name_clash", "user_id")


def test_lists_are_flattened_by_one_level():
    pairs = ((n, [n]) for n in (1, 2))
    assert flatten_list_of_lists(pairs) == [1, [1], 2, [2]]
    assert flatten_list_of_lists([[[1], [2]], [], [[3]]]) == [[1], [2], [3]]


# --- spellings ------------------------------------------------------------------------------------

WELL, OTHER, NULL = "as declared", "another spelling", "null"  # how a value counts
DAY = utc("2024-01-01")
ISO = [  # what a moment may be written as, in a field of times in whatever unit
    (b'"2024-01-01T00:00:00"', DAY),
    (b'"2024-01-01t00:00:00z"', DAY),
    (b'"2024-01-01 00:00:00Z"', DAY),
    (b'"2024-01-01 00:00:00 Z"', DAY),
    (b'"2024-01-01T01:00:00+01:00"', DAY),
    (b'"2024-01-01T01:00:00+0100"', DAY),
    (b'"2024-01-01T01:00:00+01"', DAY),
    (b'"2024-01-01T01:00:00 +01:00"', DAY),
    (b'"2023-12-31T18:30:00-05:30"', DAY),
    (b'"2024-01-01T23:59:00+23:59"', DAY),
    (b'"2024-01-01T00:00:00.5"', DAY + timedelta(milliseconds=500)),
    (b'"2024-01-01T00:00:00,25Z"', DAY + timedelta(milliseconds=250)),
    (b'"2024-01-01T00:00:00.000001Z"', DAY + timedelta(microseconds=1)),
    (b'"2024-01-01T00:00:00.1234560000Z"', DAY + timedelta(microseconds=123_456)),
    (b'"1969-12-31T23:59:59.75Z"', utc("1969-12-31 23:59:59.750")),
    (b'"0001-01-01T00:00:00Z"', utc("0001-01-01")),
    (b'"9999-12-31T23:59:59.999999Z"', utc("9999-12-31 23:59:59.999999")),
    (b'"2024-02-29T00:00:00Z"', utc("2024-02-29")),
    (b'"1704067200000"', DAY),
]
NO_TIMES = [
    b'"2024-01-01T24:00:00"',
    b'"2024-01-01T00:60:00"',
    b'"2024-01-01T00:00:60"',
    b'"2024-01-01T00:00"',
    b'"2024-01-01"',
    b'"2024-1-1T00:00:00"',
    b'"2023-02-29T00:00:00"',
    b'"2100-02-29 00:00:00"',
    b'"2024-13-01 00:00:00"',
    b'"2024-04-31 00:00:00"',
    b'"2024-00-10 00:00:00"',
    b'"2024-01-00 00:00:00"',
    b'"0000-01-01 00:00:00"',
    b'"0001-01-01T00:00:00+00:01"',
    b'"9999-12-31T23:59:59-00:01"',
    b'"2024-01-01T00:00:00+24:00"',
    b'"2024-01-01T00:00:00+01:60"',
    b'"2024-01-01T00:00:00.0000001Z"',
    b'"2024-01-01T00:00:00 UTC"',
    b'"x2024-01-01T00:00:00"',
    b'"2024-01-01T00:00:00x"',
    b'"170406720000"',
    b'"17040672000000"',
    b'"soon"',
    b'""',
    b"true",
    b"[]",
    b"{}",
]
NOT_WHOLE = [
    b"2.5",
    b"15e-1",
    b'"007"',
    b'"2.5"',
    b'"1e3"',
    b'" 7"',
    b'"7 "',
    b'"+7"',
    b'"7\\n"',
    '"٧"'.encode(),
    b'"x"',
    b'""',
    b"true",
    b"false",
    b"[7]",
    b'{"a":7}',
]
TOO_LARGE = [
    b"9223372036854775808",
    b"-9223372036854775809",
    b"1e19",
    b"1e400",
    b"1e99999999999999999999",
    b'"9223372036854775808"',
]
WHOLE = [
    (b"7", 7, WELL),
    (b"-7", -7, WELL),
    (b"0", 0, WELL),
    (b"9223372036854775807", 2**63 - 1, WELL),
    (b"-9223372036854775808", -(2**63), WELL),
    (b"7.0", 7, OTHER),
    (b"-7.000", -7, OTHER),
    (b"1e3", 1000, OTHER),
    (b"1E+3", 1000, OTHER),
    (b"1500e-2", 15, OTHER),
    (b"9007199254740993.0", 9007199254740993, OTHER),  # more digits than a float has
    (b"9223372036854775807.0", 2**63 - 1, OTHER),
    (b"9.223372036854775807e18", 2**63 - 1, OTHER),
    (b"-9223372036854775808.0", -(2**63), OTHER),
]
TIMES = [(raw, moment, OTHER) for raw, moment in ISO]
# by field, what comes, what it becomes, and how that counts; `null` counts as nothing anywhere
VALUES = {
    "whole": [
        *WHOLE,
        (b'"7"', 7, OTHER),
        (b'"-7"', -7, OTHER),
        (b'"7.0"', 7, OTHER),
        (b'"9223372036854775807"', 2**63 - 1, OTHER),
        *((raw, None, NULL) for raw in [*NOT_WHOLE, *TOO_LARGE]),
    ],
    "number": [
        *WHOLE,
        (b'"7"', 7, WELL),
        (b'"-7"', -7, WELL),
        (b'"007"', 7, WELL),
        (b'"9223372036854775807"', 2**63 - 1, WELL),
        (b'"7.0"', 7, OTHER),
        *((raw, None, NULL) for raw in [*NOT_WHOLE, *TOO_LARGE] if raw != b'"007"'),
    ],
    "owner": [
        (b"7", "7", WELL),
        (b"-7", "-7", WELL),
        (b"0", "0", WELL),
        (b'"007"', "007", WELL),
        (b'""', "", WELL),
        (b'" 7 "', " 7 ", WELL),
        (b"7.0", "7", OTHER),
        (b"1e3", "1000", OTHER),
        (b"9223372036854775808", "9223372036854775808", OTHER),
        (b"1e40", "1" + 40 * "0", OTHER),
        (b"1" + 60 * b"0", "1" + 60 * "0", OTHER),
        (b"7.5", None, NULL),
        (b"1e41", None, NULL),
        (b"true", None, NULL),
        (b"[]", None, NULL),
        (b"{}", None, NULL),
    ],
    "size": [
        (b"2.5", 2.5, WELL),
        (b"2", 2.0, WELL),
        (b"-0.5e1", -5.0, WELL),
        (b'"2.5"', 2.5, OTHER),
        (b'"-2"', -2.0, OTHER),
        (b'"1e3"', 1000.0, OTHER),
        (b'"1E-3"', 0.001, OTHER),
        (b'"1e400"', None, NULL),
        (b"1e400", None, NULL),
        (b'"NaN"', None, NULL),
        (b'"Infinity"', None, NULL),
        (b'" 2"', None, NULL),
        (b'"2."', None, NULL),
        (b'".5"', None, NULL),
        (b'"2,5"', None, NULL),
        (b'""', None, NULL),
        (b"true", None, NULL),
        (b"[2]", None, NULL),
    ],
    "yes": [
        (b"true", True, WELL),
        (b"false", False, WELL),
        (b'"true"', True, OTHER),
        (b'"TRUE"', True, OTHER),
        (b'"False"', False, OTHER),
        (b"1", True, OTHER),
        (b"0", False, OTHER),
        (b"2", None, NULL),
        (b"1.0", None, NULL),
        (b'"1"', None, NULL),
        (b'"yes"', None, NULL),
        (b'""', None, NULL),
        (b"[true]", None, NULL),
    ],
    "name": [
        (b'"x"', "x", WELL),
        (b'""', "", WELL),
        ('"\\u00e9 é"'.encode(), "é é", WELL),
        (b"5", "5", OTHER),
        (b"5.50", "5.50", OTHER),
        (b"1e3", "1e3", OTHER),
        (b"true", "true", OTHER),
        (b"false", "false", OTHER),
        (b'["x"]', None, NULL),
        (b'{"x":1}', None, NULL),
    ],
    "seen": [
        (b"1704067200001", utc("2024-01-01 00:00:00.001"), WELL),
        (b"0", utc("1970-01-01"), WELL),
        (b"-1", utc("1969-12-31 23:59:59.999"), WELL),
        (b"-62135596800000", utc("0001-01-01"), WELL),
        (b"253402300799999", utc("9999-12-31 23:59:59.999"), WELL),
        (b"1704067200001.0", utc("2024-01-01 00:00:00.001"), OTHER),
        (b"1.704067200001e12", utc("2024-01-01 00:00:00.001"), OTHER),
        (b"1704067200000.125", utc("2024-01-01 00:00:00.000125"), OTHER),
        (b"253402300799999.999", utc("9999-12-31 23:59:59.999999"), OTHER),
        (b"-62135596800001", None, NULL),
        (b"253402300800000", None, NULL),
        (b"1704067200000.0001", None, NULL),
        (b"1e50", None, NULL),
        (b'"1704067200"', None, NULL),  # seconds, perhaps
        *TIMES,
        (b'"2024-01-01 00:00:00"', DAY, OTHER),
        *((raw, None, NULL) for raw in NO_TIMES),
    ],
    "made": [
        (b"1704067200", DAY, WELL),
        (b"-1", utc("1969-12-31 23:59:59"), WELL),
        (b"-62135596800", utc("0001-01-01"), WELL),
        (b"253402300799", utc("9999-12-31 23:59:59"), WELL),
        (b"1704067200.0", DAY, OTHER),
        (b"1704067200.000001", DAY + timedelta(microseconds=1), OTHER),
        (b"1704067200001", utc("2024-01-01 00:00:00.001"), OTHER),  # milliseconds, clearly
        (b"1000000000000", utc("2001-09-09 01:46:40"), OTHER),
        (b'"1704067200"', DAY, OTHER),
        (b"-62135596801", None, NULL),
        (b"253402300800", None, NULL),
        (b"999999999999", None, NULL),
        (b"1704067200.0000001", None, NULL),
        (b"253402300800000", None, NULL),
        *TIMES,
        (b'"2024-01-01 00:00:00"', DAY, OTHER),
        *((raw, None, NULL) for raw in NO_TIMES),
    ],
    "told": [
        (b'"2024-01-01 00:00:00"', DAY, WELL),
        (b'"2024-01-01 00:00:00.0"', DAY, WELL),
        (b'"2024-01-01 00:00:00.25"', DAY + timedelta(milliseconds=250), WELL),
        (b'"2024-01-01 00:00:00.000001"', DAY + timedelta(microseconds=1), WELL),
        (b'"2000-02-29 23:59:59"', utc("2000-02-29 23:59:59"), WELL),
        (b'"2024-02-29 00:00:00"', utc("2024-02-29"), WELL),
        (b'"0001-01-01 00:00:00"', utc("0001-01-01"), WELL),
        (b'"9999-12-31 23:59:59"', utc("9999-12-31 23:59:59"), WELL),
        (b'"2024-01-01 00:00:00.1234560"', DAY + timedelta(microseconds=123_456), OTHER),
        (b"1704067200", DAY, OTHER),
        (b"1704067200000", DAY, OTHER),
        (b"1704067200.5", DAY + timedelta(milliseconds=500), OTHER),
        (b"100000000", utc("1973-03-03 09:46:40"), OTHER),  # the least that is taken as seconds
        (b"99999999999", utc("5138-11-16 09:46:39"), OTHER),  # and the most
        (b"100000000000", utc("1973-03-03 09:46:40"), OTHER),
        (b"99999999", None, NULL),
        (b"-1", None, NULL),
        (b"253402300800000", None, NULL),
        (b'"1704067200"', None, NULL),
        *TIMES,
        *((raw, None, NULL) for raw in NO_TIMES),
    ],
    "tags": [
        (b'"[1, 2]"', "[1, 2]", WELL),
        (b'""', "", WELL),
        (b"[1, 2]", "[1,2]", OTHER),
        (b'{"a": [null, "b c"]}', '{"a":[null,"b c"]}', OTHER),
        (b"5", "5", OTHER),
        (b"true", "true", OTHER),
    ],
    "free": [
        (b'"text"', "text", WELL),
        (b'""', "", WELL),
        (b"[1, 2]", "[1,2]", WELL),
        (b'{"a": null}', '{"a":null}', WELL),
        (b"5", "5", WELL),
        (b"false", "false", WELL),
        (b"1e400", "1e400", OTHER),
    ],
}


@dataclass
class Thing:
    "A record with a field of every type."

    id: NumberId
    whole: int | None = None
    number: NumberId | None = None
    owner: TextId | None = None
    size: float | None = None
    yes: bool | None = None
    name: str | None = None
    seen: Millis | None = None
    made: Seconds | None = None
    told: TextTime | None = None
    tags: JsonText | None = None
    free: Any = None


EXPECTED = {
    "whole": "a whole number of 64 bits",
    "number": "a whole number of 64 bits",
    "owner": "text",
    "size": "a number",
    "yes": "true or false",
    "name": "text",
    "seen": "a time between the years 1 and 9999",
    "made": "a time between the years 1 and 9999",
    "told": "a time between the years 1 and 9999",
    "tags": "text",
    "free": "text",
}
MET = {
    b'"': "text",
    b"[": "array",
    b"{": "object",
    b"t": "true or false",
    b"f": "true or false",
}


def thing(field, raw):
    return b'{"id": 1, "%s": %s}' % (field.encode(), raw)


def read_by_one(raws, row_type=Thing):
    records = Records(row_type)
    records.read(raws)
    return records


def read_as_page(raws, row_type=Thing):
    records = Records(row_type)
    read_page(records, b"[%s]" % b",".join(raws))
    return records


def cells(records, field):
    return arrow_columns(records, "thing")[f"thing.{field}"].to_pylist()


def same(found, wanted):
    "Whether two values are the same in value, type and sign."
    return found == wanted and type(found) is type(wanted) and repr(found) == repr(wanted)


@pytest.mark.parametrize("field", VALUES)
def test_a_value_is_taken_where_nothing_of_it_is_lost_and_null_where_something_would_be(field):
    for raw, value, counts in [(b"null", None, WELL), *VALUES[field]]:
        records = read_by_one([thing(field, raw)])
        (cell,) = cells(records, field)
        assert cell == value and (value is None) == (cell is None), raw
        assert isinstance(cell, bool) == isinstance(value, bool), raw
        assert records.spellings == ({field: 1} if counts == OTHER else {}), raw
        assert records.nulls == ({field: 1} if counts == NULL else {}), raw
        assert records.lost == ({field: [0]} if counts == NULL else {}), raw
        assert not records.violations and len(records) == 1
        found = [(one.kind, one.field, one.met, one.expected) for one in records.deviations]
        kind = {OTHER: "spelling", NULL: "null"}.get(counts)
        met = MET.get(raw[:1], "number")
        assert found == ([(kind, field, met, EXPECTED[field])] if kind else []), raw


@pytest.mark.parametrize("field", VALUES)
def test_a_column_of_all_of_them_holds_what_each_alone_would_be(field):
    raws = [thing(field, raw) for raw, _, _ in VALUES[field]]
    values = [value for _, value, _ in VALUES[field]]
    for records in (read_by_one(raws), read_as_page(raws)):
        assert cells(records, field) == values
        counted = [counts for _, _, counts in VALUES[field]]
        assert records.spellings[field] == counted.count(OTHER)
        assert records.nulls[field] == counted.count(NULL)
        assert records.lost.get(field, []) == [
            n for n, counts in enumerate(counted) if counts == NULL
        ]
    good = [(raw, value) for raw, value, counts in VALUES[field] if counts == WELL]
    whole = read_as_page([thing(field, raw) for raw, _ in good])
    assert cells(whole, field) == [value for _, value in good] and not whole.deviations


@pytest.mark.parametrize("field", VALUES)
def test_a_record_as_it_should_have_come_is_read_without_a_finding(field):
    far = utc("9999-12-31 23:59:59.999999")  # for which a number with a fraction is too short
    kept = [one for one in VALUES[field] if one[1] is not None and one[1] != far]
    records = read_by_one([thing(field, raw) for raw, _, _ in kept])
    again = read_by_one([json.dumps(one).encode() for one in plain_dicts(records)])
    assert cells(again, field) == [value for _, value, _ in kept]
    assert not again.nulls


def test_the_first_five_of_a_field_are_told_and_all_are_counted():
    records = Records(Thing)
    many = [thing("whole", b'"x"')] * 4 + [thing("yes", b"1")] + [thing("whole", b"[]")] * 4
    records.read(many, page=3, first_row=11)
    assert records.nulls == {"whole": 8} and records.spellings == {"yes": 1}
    assert [(one.kind, one.page, one.row, one.field, one.met) for one in records.deviations] == [
        ("null", 3, 11, "whole", "text"),
        ("null", 3, 12, "whole", "text"),
        ("null", 3, 13, "whole", "text"),
        ("null", 3, 14, "whole", "text"),
        ("spelling", 3, 15, "yes", "number"),
        ("null", 3, 16, "whole", "array"),
    ]
    assert str(records.deviations[4]) == (
        "page 3, row 15, field 'yes': number where true or false was expected"
    )
    assert records.lost == {"whole": [0, 1, 2, 3, 5, 6, 7, 8]}


def test_a_value_made_null_is_found_by_the_number_of_its_record_behind_whole_pages():
    records = Records(Thing)
    read_page(records, b'[{"id": 1, "whole": 5}, {"id": 2}, {"id": 3, "whole": 6}]', page=1)
    read_page(records, b'[{"id": 4, "whole": 7}, {"id": 5, "whole": "x"}]', page=2)
    read_page(records, b'[{"id": 6}, {"id": 7, "yes": true}]', page=3)
    read_page(records, b'[{"id": 8, "yes": "maybe"}, {"id": 9, "whole": []}]', page=4)
    assert records.lost == {"whole": [4, 8], "yes": [7]}
    assert cells(records, "id") == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert cells(records, "whole") == [5, None, 6, 7, None, None, None, None, None]
    assert cells(records, "yes") == [None, None, None, None, None, None, True, None, None]


# --- rejected records -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw, field, met, expected",
    [
        (b'{"id": "x", "whole": 5}', "id", "text", "a whole number of 64 bits"),
        (b'{"id": null}', "id", "null", "a whole number of 64 bits"),
        (b'{"whole": 5}', "id", "nothing", "a whole number of 64 bits"),
        (b'{"id": 7.5}', "id", "number", "a whole number of 64 bits"),
        (b'{"id": false}', "id", "true or false", "a whole number of 64 bits"),
        (b'{"id": {}}', "id", "object", "a whole number of 64 bits"),
        (b'{"id": "\xff"}', "id", "bytes that are no UTF-8", "a whole number of 64 bits"),
        (b"[]", "", "array", "an object"),
        (b'"text"', "", "text", "an object"),
        (b"5", "", "number", "an object"),
        (b"null", "", "null", "an object"),
        (b"true", "", "true or false", "an object"),
    ],
)
@pytest.mark.parametrize("paged", [False, True])
def test_a_rejected_record_is_told_with_page_row_and_field(raw, field, met, expected, paged):
    records, good = Records(Thing), [b'{"id": 1}', raw, b'{"id": 3, "whole": "x"}', raw]
    if paged:
        read_page(records, b"[%s]" % b",".join(good), page=6)
    else:
        assert records.read(good, page=6) == [0, 2]
    assert cells(records, "id") == [1, 3] and records.lost == {"whole": [1]}
    assert [
        (one.page, one.row, one.field, one.met, one.expected, one.raw) for one in records.violations
    ] == [(6, 2, field, met, expected, raw), (6, 4, field, met, expected, raw)]
    assert str(records.violations[0]) == (
        f"page 6, row 2, field {field!r}: {met} where {expected} was expected"
    )
    assert "raw" not in repr(records.violations[0])


def test_what_is_no_list_is_a_rejected_record():
    records = Records(Thing)
    read_page(records, b'{"id": 1}', page=2)
    assert len(records) == 1 and not records.violations
    read_page(records, b'"maintenance"', page=3)
    assert [(one.page, one.row, one.met) for one in records.violations] == [(3, 1, "text")]


def test_only_a_field_of_the_key_rejects_and_the_keys_can_be_chosen():
    raws = [b'{"id": "x", "owner": [], "name": "n"}', b'{"id": 2, "owner": "o"}']
    by_owner = Records(Thing, keys=["owner"])
    assert by_owner.read(raws) == [1]
    assert [one.field for one in by_owner.violations] == ["owner"]
    nobody = Records(Thing, keys=[])
    assert nobody.read(raws) == [0, 1]
    assert cells(nobody, "id") == [None, 2] and nobody.nulls == {"id": 1, "owner": 1}


# --- fields that nobody declared ------------------------------------------------------------------


def test_fields_that_are_new_are_counted_whether_records_come_alone_or_in_a_page():
    raws = [
        b'{"id": 1}',
        b'{"id": 2, "color": "red", "shape": {"a": [1, 2]}}',
        b'{"id": 3, "color": null}',
        b'{"id": 4, "color": 5, "whole": "x"}',
    ]
    for records in (read_by_one(raws), read_as_page(raws)):
        read_page(records, b'[{"id": 5, "color": 6}, {"id": 6}]', page=2)
        assert records.unknown == {"color": 4, "shape": 1}
        assert cells(records, "id") == [1, 2, 3, 4, 5, 6]
        assert other_fields(records) == [
            None,
            '{"color":"red","shape":{"a": [1, 2]}}',
            '{"color":null}',
            '{"color":5}',
            '{"color":6}',
            None,
        ]
        assert plain_dicts(records)[1] == {"id": 2, "color": "red", "shape": {"a": [1, 2]}}


def test_of_more_than_a_hundred_new_fields_the_first_hundred_are_counted():
    raws = [b'{"id": %d, "field %d": 1}' % (n, n) for n in range(150)]
    records = read_by_one([*raws, *raws[::-1]])
    assert len(records) == 300
    assert len(records.unknown) == 100
    assert records.unknown["field 0"] == records.unknown["field 99"] == 2
    assert records.unknown["field 100"] == 0


def test_a_row_type_that_names_only_what_it_needs_counts_no_other():
    records = Records(Thing, strict=False)
    records.read([b'{"id": 1, "color": 1}', b'{"id": "2", "color": 1, "whole": "5"}'])
    read_page(records, b'[{"id": 3, "shape": 2}]')
    assert cells(records, "id") == [1, 2, 3] and cells(records, "whole") == [None, 5, None]
    assert not records.unknown and other_fields(records) == [None, None, None]


def test_a_field_that_no_record_has_is_unseen():
    records = Records(Thing)
    records.read([b'{"id": 1, "whole": null}', b'{"id": "x", "name": "of a rejected record"}'])
    read_page(records, b'[{"id": 2, "size": 2.5}]')
    assert records.unseen == {
        "number",
        "owner",
        "yes",
        "name",
        "seen",
        "made",
        "told",
        "tags",
        "free",
    }


def test_a_field_that_first_comes_after_twenty_pages_is_seen_where_it_has_a_value():
    records = Records(Thing)
    for page in range(1, 21):
        read_page(records, b'[{"id": %d, "whole": null}]' % page, page)
    assert "whole" not in records.unseen and {"size", "owner"} <= records.unseen
    read_page(records, b'[{"id": 21, "size": null, "owner": "", "yes": false}]', 21)
    assert {"size", "owner", "yes"} <= records.unseen
    read_page(records, b'[{"id": 22, "size": 2.5}, {"id": 23, "yes": true}]', 22)
    assert "owner" in records.unseen and not {"size", "yes"} & records.unseen


def test_a_plain_record_has_every_field_that_came_and_lacks_what_cannot_be_read():
    raws = [
        b'{"id": "7", "owner": 5, "whole": "6", "yes": 1, "size": [], "new": {"a": [1, null]}}',
        b'{"id": 8, "odd": "\xff", "half": "\\ud83d", "far": 1e400, "name": null}',
    ]
    assert plain_dicts(read_by_one(raws)) == [
        {
            "id": 7,
            "owner": "5",
            "whole": 6,
            "yes": True,
            "size": None,
            "new": {"a": [1, None]},
        },
        {"id": 8, "half": "\\ud83d", "name": None},
    ]
    page = read_as_page([b'{"id": "7", "owner": 5}', b'{"id": 8}'])
    assert plain_dicts(page) == [{"id": 7, "owner": "5"}, {"id": 8}]
    assert [json.loads(bytes(raw)) for raw in raws_of(page)] == [{"id": "7", "owner": 5}, {"id": 8}]


def test_records_are_forgotten_and_what_was_found_is_not():
    records = read_by_one([thing("whole", b'"x"'), b'{"id": 2, "new": 1}', b"5"])
    records.reset()
    assert len(records) == 0 and raws_of(records) == [] and records.lost == {}
    assert records.nulls == {"whole": 1} and records.unknown == {"new": 1}
    assert len(records.violations) == 1 and len(records.deviations) == 1
    records.read([b'{"id": 4}', thing("whole", b"[]")])
    assert records.lost == {"whole": [1]} and cells(records, "whole") == [None, None]


# --- row types ------------------------------------------------------------------------------------


@dataclass
class Named:
    "Fields whose names in the service are camelCase, but for two."

    user_id: TextId
    custom_attribute_1: int | None = None
    data_source_count: int | None = None
    domo_url: str | None = named("domoURL")
    budget_left: int | None = named("budget_left")


def test_a_field_is_called_in_camel_case_by_the_service_unless_it_is_named():
    columns = columns_of(Named)
    assert [(service, column.name, column.required) for service, column in columns.items()] == [
        ("userId", "user_id", True),
        ("customAttribute1", "custom_attribute_1", False),
        ("dataSourceCount", "data_source_count", False),
        ("domoURL", "domo_url", False),
        ("budget_left", "budget_left", False),
    ]
    records = read_by_one([b'{"userId": 1, "domoURL": "u", "budget_left": 3}'], Named)
    assert pa.table(arrow_columns(records, "n")).to_pylist() == [
        {
            "n.userId": "1",
            "n.customAttribute1": None,
            "n.dataSourceCount": None,
            "n.domoURL": "u",
            "n.budget_left": 3,
        }
    ]
    assert not records.unknown


def test_the_types_of_the_columns():
    moment = pa.timestamp("us", tz="UTC")
    for records in (read_by_one([b'{"id": 1}']), Records(Thing)):
        schema = pa.table(arrow_columns(records, "t")).schema
        assert dict(zip(schema.names, schema.types, strict=True)) == {
            "t.id": pa.int64(),
            "t.whole": pa.int64(),
            "t.number": pa.int64(),
            "t.owner": pa.string(),
            "t.size": pa.float64(),
            "t.yes": pa.bool_(),
            "t.name": pa.string(),
            "t.seen": moment,
            "t.made": moment,
            "t.told": moment,
            "t.tags": pa.string(),
            "t.free": pa.string(),
        }


def test_a_type_that_no_row_type_knows_is_told_with_those_it_knows():
    @dataclass
    class Odd:
        "A record with a field of an unknown type."

        id: int
        when: datetime | None = None

    with pytest.raises(SettingsError, match="'when'.*datetime.*int, float, bool, str, TextId") as e:
        columns_of(Odd)
    assert e.value.reason == "unknown_type"


def test_rows_can_be_chosen_and_left_empty():
    records = read_by_one([b'{"id": %d, "name": "n%d"}' % (n, n) for n in range(3)])
    columns = arrow_columns(records, "t", [2, None, 0, 2])
    assert columns["t.id"].to_pylist() == [2, None, 0, 2]
    assert columns["t.name"].to_pylist() == ["n2", None, "n0", "n2"]
    many = read_by_one([b'{"id": %d}' % n for n in range(1203)])
    assert cells(many, "id") == [*range(1203)]


# --- rules ----------------------------------------------------------------------------------------

SHAPE = {"a": Thing, "b": Named}
ONE = {"id": 1, "yes": True, "name": "SUCCESS ALL", "owner": 5, "size": 2.5, "number": 17}
FALSE = {"id": 2, "yes": False, "name": "", "owner": "x", "seen": 1704067200000}
EMPTY = {"id": 3}


@pytest.mark.parametrize(
    "rule, one, false, empty",
    [
        ("name", "SUCCESS ALL", "", None),
        ("a.name", "SUCCESS ALL", "", None),
        ("b.domoURL", "u", "u", "u"),
        (yes_no("yes"), "Yes", "No", None),
        (truth_text("yes"), "true", "false", None),
        (capitalized("name"), "Success all", "", None),
        (is_there("name"), True, True, False),
        (is_there("yes"), True, True, False),
        (yes_no(is_there("size")), "Yes", "No", "No"),
        (text("id"), "1", "2", "3"),
        (text("size"), "2.5", None, None),
        (number("owner"), 5, None, None),
        (number("id"), 1, 2, 3),
        (first("name", "b.domoURL"), "SUCCESS ALL", "", "u"),
        (first("number", "id"), 17, 2, 3),
        (first("whole", "number"), 17, None, None),
        (when("name", "SUCCESS ALL", "owner"), "5", None, None),
        (when("owner", "x", "name"), None, "", None),
        (when("id", 3, "b.domoURL"), None, None, "u"),
        (link("/a/", "id", "/b"), "/a/1/b", "/a/2/b", "/a/3/b"),
        (link("/a/", "owner"), "/a/5", "/a/x", None),
        (link("https://x.example/", "name", "?q"), "https://x.example/SUCCESS ALL?q",
         "https://x.example/?q", None),
        (constant("c"), "c", "c", "c"),
        (constant(5), 5, 5, 5),
        (nothing("why"), None, None, None),
        (nothing("why", pa.int64()), None, None, None),
    ],
)  # fmt: skip
def test_what_a_rule_makes_of_one_record_and_of_a_table(rule, one, false, empty):
    formatter = Formatter(SHAPE, {"cell": rule})
    other = {"userId": 9, "domoURL": "u"}
    rows = [formatter(a=record, b=other)["cell"] for record in (ONE, FALSE, EMPTY)]
    records = read_by_one([json.dumps(record).encode() for record in (ONE, FALSE, EMPTY)])
    others = read_by_one([json.dumps(other).encode()], Named)
    table = pa.table(arrow_columns(records, "a") | arrow_columns(others, "b", [0, 0, 0]))
    for made in (rows, formatter.format(table)["cell"].to_pylist()):
        assert all(map(same, made, [one, false, empty])), made
    assert formatter.format(table.slice(0, 0))["cell"].type == formatter.schema.field("cell").type


@pytest.mark.parametrize(
    "text, value",
    [
        ("17", 17),
        ("-17", -17),
        ("007", 7),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775807", -(2**63) + 1),
        ("9223372036854775808", None),
        ("17 ", None),
        ("17\n", None),
        ("1.0", None),
        ("+1", None),
        ("", None),
        ("E-17", None),
    ],
)
def test_digits_in_a_text_are_a_number_and_nothing_else_is(text, value):
    assert Formatter(SHAPE, {"n": number("name")})(a={"id": 1, "name": text}) == {"n": value}


def test_a_link_leads_to_its_instance_and_one_elsewhere_stays():
    formatter = Formatter(
        SHAPE,
        {
            "Link": link("/datasources/", "id", "/details"),
            "Elsewhere": link("https://docs.example/", "id"),
            "Id": "id",
        },
    )
    there = formatter.at("https://acme.example")
    assert there(a={"id": 7}) == {
        "Link": "https://acme.example/datasources/7/details",
        "Elsewhere": "https://docs.example/7",
        "Id": 7,
    }
    assert there.at("https://other.example")(a={"id": 7}) == there(a={"id": 7})
    assert formatter(a={"id": 7})["Link"] == "/datasources/7/details"


def test_columns_are_added_at_the_end_renamed_and_dropped_and_the_formatter_stays_as_it_was():
    formatter = Formatter(SHAPE, {"x": "id", "y": "name", "z": "owner"})
    assert [*formatter.add({"v": "yes"}, u=constant(1)).rules] == ["x", "y", "z", "v", "u"]
    assert [*formatter.add(u="b.domoURL").keywords] == ["a", "b"]
    assert [*formatter.rename(z="owner", x="id").rules.items()] == [
        ("id", "id"),
        ("y", "name"),
        ("owner", "owner"),
    ]
    assert formatter.rename(x="y", y="x").rules == {"y": "id", "x": "name", "z": "owner"}
    assert [*formatter.drop("y", "x").rules] == ["z"]
    assert [*formatter.rules] == ["x", "y", "z"] and formatter.keywords == ("a",)
    assert [*every_field(SHAPE).rules] == [
        *("id", "whole", "number", "owner", "size", "yes", "name", "seen", "made", "told"),
        *("tags", "free"),
    ]


@pytest.mark.parametrize(
    "change, reason, words",
    [
        (lambda f: f.add(x="yes"), "column_exists", "'x'.*Rename or drop"),
        (lambda f: f.rename(x="y"), "column_exists", "'y'"),
        (lambda f: f.rename(x="v", y="v"), "column_exists", "'v'"),
        (lambda f: f.drop("q"), "unknown_column", "no column 'q'; there are x, y"),
        (lambda f: f.rename(q="r"), "unknown_column", "no column 'q'"),
        (lambda f: f.add(q="nam"), "unknown_field", "a has no field 'nam'.*'?name"),
        (lambda f: f.add(q="b.nothing"), "unknown_field", "b has no field 'nothing'.*userId"),
        (lambda f: f.add(q="c.name"), "unknown_field", "a has no field 'c.name'"),
        (lambda f: f.add(q=text("nothing")), "unknown_field", "a has no field 'nothing'"),
        (lambda f: f.add(q="user_id"), "unknown_field", "a has no field 'user_id'"),
    ],
)
def test_a_slip_in_a_formatter_is_told_where_it_is_made(change, reason, words):
    with pytest.raises(SettingsError, match=words) as caught:
        change(Formatter(SHAPE, {"x": "id", "y": "name"}))
    assert caught.value.reason == reason


def test_a_formatter_says_in_words_what_stands_where():
    formatter = Formatter(
        SHAPE,
        {
            "ID": "id",
            "Owner": number(first("owner", "b.userId")),
            "Link": link("/x/", "id", "/y"),
            "Yes": yes_no("yes"),
            "State": capitalized("name"),
            "There": is_there("size"),
            "User": when("name", "USER", "owner"),
            "Truth": truth_text("yes"),
            "Text": text("id"),
            "Kind": constant("K"),
            "None": nothing("nobody knows"),
        },
    )
    assert repr(formatter).splitlines() == [
        "ID ← id",
        "Owner ← (owner, else b.userId) as a number",
        "Link ← /x/(id)/y",
        "Yes ← (yes) as Yes or No",
        "State ← (name) with one capital",
        "There ← whether there is (size)",
        "User ← (owner) where name is USER",
        "Truth ← (yes) as text (true or false: a guess)",
        "Text ← (id) as text",
        "Kind ← 'K'",
        "None ← nothing: nobody knows",
    ]


def test_a_formatter_takes_its_records_by_keyword_or_in_order_and_only_those_it_reads():
    formatter = Formatter(SHAPE, {"n": "name", "u": "b.domoURL"})
    row = {"n": "SUCCESS ALL", "u": "v"}
    other = {"userId": 9, "domoURL": "v"}
    assert formatter(ONE, other) == formatter(ONE, b=other) == formatter(b=other, a=ONE) == row
    assert formatter(None, other) == {"n": None, "u": "v"}
    assert formatter(ONE, None) == {"n": "SUCCESS ALL", "u": None}
    with pytest.raises(TypeError, match="needs b"):
        formatter(ONE)
    assert Formatter(SHAPE, {"u": "b.domoURL"})(b=other) == {"u": "v"}
    assert Formatter(SHAPE, {"c": constant(1)})(a=None) == {"c": 1}


def test_records_in_order_are_those_of_all_objects_also_where_one_is_not_read():
    shape = {"user": Thing, "boss": Thing, "team": Thing}
    user, boss, team = ({"id": n, "name": name} for n, name in enumerate(("Ann", "Bob", "Red")))
    of_team = Formatter(shape, {"Team": "team.name"})
    assert of_team(user, boss, team) == {"Team": "Red"}
    ends = Formatter(shape, {"User": "name", "Team": "team.name"})
    assert ends(user, boss, team) == {"User": "Ann", "Team": "Red"}
    assert ends(user, None, team) == {"User": "Ann", "Team": "Red"}
    assert ends(user, boss, team=team) == {"User": "Ann", "Team": "Red"}
    with pytest.raises(TypeError, match="needs team"):
        ends(user, boss)


def test_a_single_record_warns_of_a_value_it_cannot_read_and_only_where_it_is_read():
    formatter = Formatter(SHAPE, {"n": "whole", "u": "b.domoURL"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = formatter({"id": "x", "whole": "5", "yes": []}, {"userId": [], "domoURL": 7})
    assert made == {"n": 5, "u": "7"}
    with pytest.warns(UserWarning, match="This a has text in field 'whole' where a whole number"):
        assert formatter({"id": 1, "whole": "x"}, None) == {"n": None, "u": None}
    keyed = Formatter(SHAPE, {"n": "whole", "i": "id"})
    with pytest.raises(DataError, match="no Thing: text in field 'id' where a whole number") as e:
        keyed({"id": "x"})
    assert (e.value.reason, e.value.column, e.value.type) == ("bad_record", "id", "text")
    with pytest.raises(DataError, match="no Thing: array") as e:
        keyed([1])
    assert (e.value.reason, e.value.column) == ("bad_record", "")


# --- tables ---------------------------------------------------------------------------------------


def test_columns_come_in_the_order_in_which_they_first_appear():
    table = table_of_rows([{"b": 1, "a": "x"}, {}, {"c": True, "a": None, "b": 2.5}])
    assert table.column_names == ["b", "a", "c"]
    assert table.to_pylist() == [
        {"b": 1.0, "a": "x", "c": None},
        {"b": None, "a": None, "c": None},
        {"b": 2.5, "a": None, "c": True},
    ]
    assert table.schema.types == [pa.float64(), pa.string(), pa.bool_()]
    assert table_of_rows([{1: "x", "y": None}]).column_names == ["1", "y"]
    assert table_of_rows([{"y": None}]).schema.types == [pa.string()]


@pytest.mark.parametrize(
    "values, kind, made",
    [
        ([np.int64(1), None, 2], pa.int64(), [1, None, 2]),
        ([np.bool_(True), False], pa.bool_(), [True, False]),
        ([np.str_("x"), "y"], pa.string(), ["x", "y"]),
        ([np.array(5), 6], pa.int64(), [5, 6]),
        ([math.nan, 1.5], pa.float64(), [None, 1.5]),
        ([math.nan, pd.NA, None, "x"], pa.string(), [None, None, None, "x"]),
        ([np.array(5), pd.NaT, pd.NA, math.nan], pa.int64(), [5, None, None, None]),
        ([np.datetime64("2024-01-02"), None], pa.date32(), [date(2024, 1, 2), None]),
        (
            [np.datetime64("2024-01-02"), date(2024, 1, 3)],
            pa.date32(),
            [date(2024, 1, 2), date(2024, 1, 3)],
        ),
        ([pd.NaT, date(2024, 1, 3), None], pa.date32(), [None, date(2024, 1, 3), None]),
        (
            [np.datetime64("2024-01-02T03:04:05"), datetime(2024, 1, 1), pd.NaT],
            pa.timestamp("us"),
            [datetime(2024, 1, 2, 3, 4, 5), datetime(2024, 1, 1), None],
        ),
        (
            [np.array(np.datetime64("2024-01-02T03")), datetime(2024, 1, 1)],
            pa.timestamp("us"),
            [datetime(2024, 1, 2, 3), datetime(2024, 1, 1)],
        ),
        (
            [np.timedelta64(5, "s"), timedelta(1), np.timedelta64("NaT")],
            pa.duration("us"),
            [timedelta(seconds=5), timedelta(1), None],
        ),
        ([b"x", None, b"y"], pa.binary(), [b"x", None, b"y"]),
        ([time(1, 2), None], pa.time64("us"), [time(1, 2), None]),
    ],
)
def test_values_of_numpy_and_pandas_are_taken_for_what_they_are(values, kind, made):
    table = table_of_rows([{"a": value} for value in values])
    assert table["a"].type == kind and table["a"].to_pylist() == made


def test_times_of_numpy_among_plain_ones_keep_their_microseconds():
    moments = [np.datetime64("2024-01-02T03:04:05.123456"), datetime(2024, 1, 1, 0, 0, 0, 7), None]
    spans = [np.timedelta64(5_000_001, "us"), timedelta(microseconds=3), pd.NaT]
    table = table_of_rows(
        [{"at": at, "took": took} for at, took in zip(moments, spans, strict=True)]
    )
    assert table.schema.types == [pa.timestamp("us"), pa.duration("us")]
    assert table.to_pylist() == [
        {
            "at": datetime(2024, 1, 2, 3, 4, 5, 123_456),
            "took": timedelta(seconds=5, microseconds=1),
        },
        {"at": datetime(2024, 1, 1, 0, 0, 0, 7), "took": timedelta(microseconds=3)},
        {"at": None, "took": None},
    ]


@pytest.mark.parametrize(
    "rows, reason, column, row, words",
    [
        ([{"a": 1}, {"a": 2}, {"a": "x"}], "mixed_column", "a", 3, "int, str.*row 3"),
        ([{"a": None}, {"a": 2**63}], "mixed_column", "a", 2, "int.*row 2"),
        ([{"a": True}, {"a": 1}], "mixed_column", "a", 2, "bool, int.*row 2"),
        (
            [{"a": date(2024, 1, 1)}, {"a": datetime(2024, 1, 1)}],
            "mixed_column",
            "a",
            2,
            "datetime",
        ),
        ([{"a": "x"}, {"a": "\ud83d"}], "mixed_column", "a", 2, "half a character"),
        ([{"a": b"x"}, {"a": "x"}], "mixed_column", "a", 2, "bytes, str"),
        ([{"a": 1}, ("a", 1)], "not_a_row", None, 2, "Row 2 is a tuple"),
        ([5], "not_a_row", None, 1, "Row 1 is a int"),
        ([{"1": 1}, {1: 1}], "bad_column", "1", None, "one name"),
        ([{"\ud83d": 1}], "bad_column", "\ud83d", None, "half a character"),
    ],
)
def test_rows_that_are_no_table_are_told_with_column_and_row(rows, reason, column, row, words):
    with pytest.raises(DataError, match=words) as caught:
        table_of_rows(rows)
    assert (caught.value.reason, caught.value.column, caught.value.row) == (reason, column, row)


def test_a_data_frame_has_types_that_know_null():
    rows = [
        {
            "whole": 2**62 + 1,
            "number": 1.5,
            "truth": True,
            "text": "x",
            "moment": datetime(2024, 1, 1, 12, tzinfo=timezone.utc),
            "day": date(2024, 1, 2),
        },
        dict.fromkeys(("whole", "number", "truth", "text", "moment", "day")),
    ]
    frame = to_dataframe(table_of_rows(rows))
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == {
        "whole": "Int64",
        "number": "float64",
        "truth": "boolean",
        "text": "string",
        "moment": "datetime64[us, UTC]",
        "day": "object",
    }
    assert frame.iloc[0].tolist() == [*rows[0].values()]
    assert frame.iloc[1].isna().all()
    assert frame["whole"][0] == 2**62 + 1 and frame["truth"][1] is pd.NA
    assert math.isnan(frame["number"][1])
    empty = to_dataframe(table_of_rows(rows).slice(0, 0))
    assert list(empty.dtypes) == list(frame.dtypes) and len(empty) == 0


@pytest.mark.parametrize(
    "odd",
    [
        pa.array([1], pa.timestamp("us", tz="Mars/Phobos")),
        pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])]),
    ],
)
def test_a_column_that_pandas_has_no_type_for_is_told_by_name(odd):
    with pytest.raises(
        DataError, match="Column 'odd' .* cannot become one of pandas.*Cast it"
    ) as e:
        to_dataframe(pa.table({"fine": [1], "odd": odd, "fine too": ["x"]}))
    assert (e.value.reason, e.value.column, e.value.type) == ("bad_column", "odd", str(odd.type))


# --- keys -----------------------------------------------------------------------------------------


@dataclass
class Word:
    "A record whose key is a text."

    word: str
    other: str | None = None
    is_good: bool | None = None


@pytest.mark.parametrize(
    "rules, column",
    [
        ({"other": "other", "key": "word"}, "key"),
        ({"as_text": text("word")}, "as_text"),
        ({"as_text": text("word"), "itself": "word"}, "itself"),
        ({"of text": text(first("word")), "as_text": text("word")}, "as_text"),
        ({"either": first("word", "other")}, None),
        ({"either": first("other", "word")}, None),
        ({"capitalized": capitalized("word")}, None),
        ({"there": is_there("word")}, None),
        ({"link": link("/x/", "word")}, None),
        ({"when": when("other", "x", "word")}, None),
        ({"kind": constant("word")}, None),
        ({"other": "other"}, None),
    ],
)
def test_a_key_is_found_in_a_column_that_keeps_apart_what_differs(rules, column):
    report = Report("words", "one word", "word", Source("a", Whole("/x"), Word))
    formatter = Formatter({"a": Word}, rules)
    if column:
        assert key_columns(report, formatter) == [column]
        return
    with pytest.raises(SettingsError, match="of words holds word.*: all") as caught:
        key_columns(report, formatter)
    assert caught.value.reason == "unknown_key"


def test_a_field_whose_name_cannot_be_learned_is_read_all_the_same():
    "A name with a quote, a backslash or what cannot be printed; each is said to be unknown."

    @dataclass
    class Row:
        id: int

    learner = RecordDecoder(Row)
    odd = ['with "quotes"', "with \\ backslash", "with \n break"]
    assert learner.learn({"id": 1, "plain": 2, **dict.fromkeys(odd, 3)}) == odd
    assert learner.unknown == ("plain",)


def test_a_table_that_pandas_refuses_as_a_whole_only_is_an_error_too():
    class Odd:
        column_names, columns = ["a"], [pa.chunked_array([[1]])]

        def to_pandas(self, types_mapper):
            raise ValueError("no two of a kind")

    with pytest.raises(DataError, match="no two of a kind") as caught:
        to_dataframe(Odd())
    assert caught.value.reason == "bad_column"
