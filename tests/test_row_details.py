"""Small things of rows: where a record stands if nobody says, days that there are, fields that
nobody declared in a list of odd form."""

import calendar
import json
import re
from dataclasses import dataclass

import pytest

from domostats.errors import SettingsError
from domostats.reports.other_fields import other_fields
from domostats.rows.layouts import RowList
from domostats.rows.records import Records, read_page
from domostats.rows.rowtype import TIME, Millis, NumberId, TextId, at


@dataclass
class Book:
    id: TextId
    title: str
    pages: int | None = None


def test_records_without_a_page_are_counted_from_the_first_row_of_the_first_page():
    records = Records(Book)
    good = b'{"id": "a", "title": "Emma", "pages": 7}'
    assert records.read([good, b'{"id": "b", "title": null}', good, b"5"]) == [0, 2]
    assert [*map(str, records.violations)] == [
        "page 1, row 2, field 'title': null where text was expected",
        "page 1, row 4, field '': number where an object was expected",
    ]


@dataclass
class Copy:
    id: NumberId
    title: str | None = None
    pages: int | None = None
    price: float | None = None
    sold: bool | None = None
    printed: Millis | None = None


@pytest.mark.parametrize(
    "field, value, words",
    [
        ("title", "[1]", "array where text was expected"),
        ("pages", '"many"', "text where a whole number of 64 bits was expected"),
        ("price", "{}", "object where a number was expected"),
        ("sold", "7", "number where true or false was expected"),
        ("printed", '"never"', "text where a time between the years 1 and 9999 was expected"),
    ],
)
def test_what_was_expected_of_a_field_is_said_in_words(field, value, words):
    records = Records(Copy)
    assert records.read([f'{{"id": 1, "{field}": {value}}}'.encode()]) == [0]
    assert [*map(str, records.deviations)] == [f"page 1, row 1, field {field!r}: {words}"]
    assert records.violations == []


@pytest.mark.parametrize("path", ["books[*].title", "books", "", "shelves[*].books"])
def test_a_list_of_rows_ends_with_its_mark(path):
    with pytest.raises(SettingsError) as caught:
        RowList(path, [])
    assert caught.value.reason == "bad_path"


@pytest.mark.parametrize("path", ["books[*]", "shelves[*].books[*]"])
def test_a_list_may_lie_in_another(path):
    assert len(RowList(path, []).levels) == path.count("[*]")


@dataclass
class Labelled:
    id: NumberId
    title: str | None = at("pairs[key={}].values[0]")


@pytest.mark.parametrize(
    "odd", [None, {"key": "size", "values": "large"}, {"key": 7, "values": ["x"]}, 7]
)
def test_a_label_that_nobody_declared_is_told_whatever_stands_beside_it(odd):
    pairs = [{"key": "title", "values": ["Emma"]}, {"key": "color", "values": ["blue", "red"]}]
    records = Records(Labelled)
    read_page(records, json.dumps([{"id": 1, "pairs": [odd, *pairs]}]).encode())
    [record] = records.records
    assert record.title == "Emma" and records.unknown["color"] == 1
    assert json.loads(other_fields(records)[0])["color"] == "blue"


def test_the_29th_of_february_is_a_day_of_leap_years_alone():
    for year in range(1, 10_000):
        is_day = re.match(TIME, f"{year:04}-02-29 12:00:00") is not None
        assert is_day is calendar.isleap(year), year


def test_a_time_is_one_of_a_day_that_there_is():
    for month in range(1, 13):
        last = calendar.monthrange(2023, month)[1]
        assert re.match(TIME, f"2023-{month:02}-{last} 23:59:59.999999")
        assert not re.match(TIME, f"2023-{month:02}-{last + 1} 00:00:00")
        assert not re.match(TIME, f"2023-{month:02}-00 00:00:00")
    for text in ("0000-01-01 00:00:00", "2023-13-01 00:00:00", "2023-01-01 24:00:00", "2023-01-01"):
        assert not re.match(TIME, text)
    for text in ("2023-01-01 00:60:00", "2023-01-01 00:00:60", "2023-01-01 00:00:00\n"):
        assert not re.match(TIME, text)
