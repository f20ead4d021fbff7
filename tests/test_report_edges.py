"""The edges of a report: joins, keys, findings, contracts, pieces, starts, and several
instances."""

import json
import threading
import warnings
from dataclasses import dataclass, make_dataclass
from datetime import datetime, timezone

import pyarrow as pa
import pytest
from expected import expectations

from domostats import reports, sandbox
from domostats.errors import DataError, DestinationError, SettingsError
from domostats.loading.coverage import coverage_of
from domostats.loading.parts import Part
from domostats.loading.windows import LAST
from domostats.reports.declaration import Lookup, Source, each_record
from domostats.reports.fleet import at_the_same_time, by_name, name_of, run_all
from domostats.reports.keys import KeyCounter, join_columns, key_columns
from domostats.reports.report import Report
from domostats.rows.formatter import Formatter
from domostats.rows.rowtype import Nested, NumberId, TextId
from domostats.rows.rules import text
from domostats.transport.listing import Whole
from domostats.transport.pages import Page

TODAY = "2024-04-01"
REPORTS = expectations()
APPS = "/api/data/v1/accounts/templates/user/extended"


@dataclass
class Shelf:
    id: NumberId
    name: str | None = None
    books: Nested | None = None


@dataclass
class Book:
    id: NumberId
    title: str | None = None
    author_id: TextId | None = None
    pages: int | None = None


@dataclass
class Author:
    id: TextId
    name: str | None = None


@dataclass
class Loan:
    book_id: NumberId
    reader: str | None = None


def page(number, *records):
    return Page(number, json.dumps(records).encode(), len(records))


def books(*records, format_fn=None, pages=None, contract="report", doubts=(), **lookups):
    "A run over these books, or over these pages of them, with authors and loans beside them."
    report = Report(
        "books",
        "one book",
        "id",
        Source("book", Whole("/books"), Book),
        Lookup("author", Whole("/authors"), Author, on=("author_id", "id")),
        Lookup("loan", Whole("/loans"), Loan, on=("id", "book_id"), both=True, expected=False),
    )
    given = {"book": pages or [page(1, *records)]}
    given |= {name: [page(1, *lookups.get(name, ()))] for name in ("author", "loan")}
    formatter = format_fn or Formatter(
        report.objects, {"id": "id", "title": "title", "author": "author.name"}
    )
    return report.over(formatter, given, doubts, contract)


def loans(*records, **lookups):
    "The same, with who has which book; loans of books that are not listed are rows too."
    own = books().report.objects
    rules = {"id": "id", "lent": "loan.bookId", "reader": "loan.reader"}
    return books(*records, format_fn=Formatter(own, rules), **lookups)


# --- what belongs together ----------------------------------------------------------------------


def test_of_two_lookup_records_with_one_id_the_first_counts():
    authors = [{"id": None, "name": "Nobody"}, {"id": 7, "name": "Ada"}, {"id": "7", "name": "Eve"}]
    rows = books({"id": 1, "authorId": 7}, {"id": 2, "authorId": "7"}, author=authors).rows
    assert [row["author"] for row in rows] == ["Ada", "Ada"]


def test_an_id_with_zeros_before_it_is_the_same_number_and_another_text():
    rows = loans({"id": "007"}, {"id": 8}, loan=[{"bookId": 7, "reader": "Ben"}]).rows
    assert [row["reader"] for row in rows] == ["Ben", None]
    rows = books({"id": 1, "authorId": "007"}, author=[{"id": 7, "name": "Ada"}]).rows
    assert [row["author"] for row in rows] == [None]


def test_records_that_only_a_lookup_has_are_rows_behind_the_others_in_their_order():
    lent = [{"bookId": n, "reader": f"R{n}"} for n in (9, 2, 5, 7)]
    run = loans({"id": 2}, {"id": 1}, loan=lent)
    assert [(row["id"], row["lent"], row["reader"]) for row in run.rows] == [
        (2, 2, "R2"),
        (1, None, None),
        (None, 9, "R9"),
        (None, 5, "R5"),
        (None, 7, "R7"),
    ]
    assert run.came == 5 and not run.findings
    unasked = books({"id": 1}, author=[{"id": 7, "name": "Ada"}])  # which is no row of its own
    assert len(unasked.rows) == 1


@dataclass
class Counting:
    id: TextId
    name: str | None = None
    books: int | None = None


def test_a_lookup_that_counts_more_than_came_makes_a_run_incomplete():
    def run(format_fn, *authors, window=None):
        report = Report(
            "books",
            "one book",
            "id",
            Source("book", Whole("/books"), Book),
            Lookup("author", Whole("/authors"), Counting, on=("author_id", "id"), count="books"),
        )
        own = [page(1, {"id": 1, "authorId": 7}, {"id": 2}), page(2, {"id": 3, "authorId": "7"})]
        formatter = format_fn or Formatter(report.objects, {"id": "id"})  # which reads no author
        made = report.over(formatter, {"book": own, "author": [page(1, *authors)]})
        made.window = window
        assert [row["id"] for row in made.rows] == [1, 2, 3]
        return made.doubts

    def plain(book):
        return {"id": book["id"]}

    for format_fn in None, plain:
        assert run(format_fn) == run(format_fn, {"id": 7, "books": 2}) == []
        assert run(format_fn, {"id": 7, "books": 1}, {"id": 8}, {"id": None, "books": 5}) == []
        more = {"id": 7, "books": 4}, {"id": 8, "books": 1}, {"id": 9, "books": 0}
        assert run(format_fn, *more) == [
            "2 of author count more in books than came; 3 records are missing."
        ]
        assert run(format_fn, *more, window=(datetime(2024, 1, 1), None)) == []
    for row_type, count, reason in [
        (Author, "books", "unknown_field"),
        (Counting, "name", "unknown_type"),
    ]:
        with pytest.raises(SettingsError) as caught:
            Report(
                "books",
                "one book",
                "id",
                Source("book", Whole("/books"), Book),
                Lookup("author", Whole("/authors"), row_type, on=("author_id", "id"), count=count),
            )
        assert caught.value.reason == reason


def test_records_inside_others_have_their_parent_on_every_page_and_their_own_place():
    source = Source("shelf", Whole("/shelves"), Shelf).unfold("books", "book", Book)
    report = Report("books", "one book", "id", source)
    rules = {"shelf": "shelf.name", "id": "book.id"}
    pages = [
        page(1, {"id": 1, "name": "A", "books": [{"id": 1}, {"id": 2}]}, {"id": 2, "name": "B"}),
        page(2, {"id": 3, "name": "C", "books": [{"id": 3}]}),
        page(
            3, {"name": "D", "books": [{"id": 4}, {"id": 5}]}, {"books": [{"id": "x"}, {"id": 6}]}
        ),
    ]
    run = report.over(Formatter(report.objects, rules), {"book": pages})
    assert [(row["shelf"], row["id"]) for row in run.rows] == [
        ("A", 1),
        ("A", 2),
        ("C", 3),
        ("D", 4),
        ("D", 5),
        (None, 6),
    ]
    assert [(bad.page, bad.row, bad.field) for bad in run.violations] == [(3, 3, "id")]


@dataclass
class Library:
    id: NumberId
    name: str | None = None
    shelf_count: int | None = None
    shelves: Nested | None = None


@dataclass
class Row:
    no: NumberId
    name: str | None = None
    books: Nested | None = None


def deep(*pages, key=("library.id", "row.no", "id"), format_fn=None):
    "A run over libraries, the rows of shelves in them, and the books in these."
    report = Report(
        "books",
        "one book",
        key,
        Source("library", Whole("/libraries"), Library)
        .unfold("shelves", "row", Row, count="shelf_count")
        .unfold("books", "book", Book, partial=True),
        Lookup("author", Whole("/authors"), Author, on=("author_id", "id")),
    )
    if isinstance(format_fn, dict):
        format_fn = Formatter(report.objects, format_fn)
    lists = {"book": pages, "author": [page(1, {"id": 7, "name": "Ada"})]}
    run = report.over(report.formatter(format_fn), lists)
    assert run.rows is not None  # all is read
    return run


def shelves(*rows, **more):
    return {"shelfCount": len(rows), "shelves": [*rows], **more}


def test_records_inside_records_inside_records_have_all_that_stands_around_them():
    one = shelves(
        {"no": 1, "books": [{"id": 1, "authorId": 7}, {"id": 2}]}, {"no": 2}, id=5, name="A"
    )
    two = shelves({"no": 1, "name": "top", "books": [{"id": 1}]}, id=6)
    rules = {"library": "library.name", "shelf": "row.no", "id": "book.id", "by": "author.name"}
    run = deep(page(1, one), page(2, two, {"id": 7}), format_fn=rules)
    assert [tuple(row.values()) for row in run.rows] == [
        ("A", 1, 1, "Ada"),
        ("A", 1, 2, None),
        (None, 1, 1, None),
    ]
    assert run.repeated == 0 and not run.incomplete
    usual = deep(page(1, one), page(2, two))
    assert [[*row.values()][:3] for row in usual.rows] == [[5, 1, 1], [5, 1, 2], [6, 1, 1]]
    assert [*usual.rows[0]][:3] == ["library_id", "no", "id"]  # two fields are called id
    assert key_columns(usual.report, usual.formatter) == ["library_id", "no", "id"]
    plain = deep(
        page(1, one),
        format_fn=lambda **all: {name: one["id"] for name, one in all.items() if "id" in one},
    )
    assert plain.rows == [{"book": 1, "library": 5}, {"book": 2, "library": 5}]
    assert plain.maker.keys.rows == 2 and plain.repeated == 0


def test_one_id_below_two_parents_is_no_key_that_comes_twice_unless_the_key_says_so():
    one, two = (shelves({"no": 1, "books": [{"id": 1}]}, id=n) for n in (5, 6))
    assert deep(page(1, one, two)).repeated == 0
    assert deep(page(1, one, two), key="id").repeated == 1
    again = deep(page(1, one, one), format_fn=lambda book: book)
    assert again.repeated == 1
    with pytest.raises(SettingsError) as caught:
        deep(page(1, one), key=("library.no", "id"))
    assert caught.value.reason == "unknown_key"


def test_a_parent_whose_part_of_the_key_cannot_be_read_takes_its_rows_along_and_says_so():
    good = shelves({"no": 1, "books": [{"id": 1}]}, id=5)
    bad = shelves({"no": "x", "books": [{"id": 2}]}, {"no": 2, "books": [{"id": 3}]}, id=6)
    run = deep(page(1, good, bad, shelves({"no": 1, "books": [{"id": 4}]}, id="y")))
    assert [row["id"] for row in run.rows] == [1, 3] and run.incomplete
    assert [(one.row, one.field) for one in run.violations] == [(2, "no"), (3, "id")]
    other = deep(page(1, good, shelves({"no": "x", "books": [{"id": 2}]}, id="y")), key="id")
    assert [row["id"] for row in other.rows] == [1, 2] and not other.incomplete


def test_a_parent_that_counts_more_than_came_makes_a_run_incomplete():
    full = shelves({"no": 1, "books": [{"id": 1}]}, id=5)
    for short, missing in (
        ({"id": 6, "shelfCount": 2}, 2),
        ({"id": 6, "shelfCount": 2, "shelves": None}, 2),
        (shelves({"no": 1}, id=6, shelfCount="3"), 2),
    ):
        run = deep(page(1, full), page(2, short, full, short))
        assert run.rows and run.doubts == [
            "2 of library count more in shelf_count than came in shelves; "
            f"{2 * missing} of row are missing."
        ]
        assert run.incomplete and f"{2 * missing} of row are missing" in run.findings[0]
        assert not run.part.complete
    more = shelves({"no": 1, "books": [{"id": 1}]}, id=6, shelfCount=0)
    assert not deep(page(1, full, more, shelves(id=7, shelfCount=None))).doubts


def test_a_parents_value_that_was_made_null_is_not_known_in_all_its_rows():
    one = shelves({"no": 1, "books": [{"id": 1}, {"id": 2}]}, id=5, name=[])
    rules = {"l": "library.id", "s": "row.no", "id": "id", "name": "library.name"}
    run = deep(page(1, one), format_fn=rules)
    assert run.rows and run.uncertain.to_pylist() == [
        {"k0": 5, "k1": 1, "k2": n, "column": "name"} for n in (1, 2)
    ]


def test_a_record_can_be_made_into_several():
    twice = each_record(lambda raw: [raw, bytes(raw).replace(b'"id": 1', b'"id": 10')])
    report = Report("books", "one book", "id", Source("book", Whole("/x"), Book, reshape=twice))
    run = report.over(report.fields, {"book": [page(1, {"id": 1, "title": "a"})]})
    assert [(row["id"], row["title"]) for row in run.rows] == [(1, "a"), (10, "a")]


def test_a_lookup_that_the_format_does_not_read_is_not_asked_for():
    own = books().report
    asked = iter(())  # which gives nothing, and would fail as the pages of a lookup
    only = Formatter(own.objects, {"id": "id"})
    assert own.over(only, {"book": [page(1, {"id": 1})], "author": asked}).rows == [{"id": 1}]
    assert [one.keyword for one in own.needed(only)] == []
    assert [one.keyword for one in own.needed(lambda book, loan: {})] == ["loan"]


# --- what is not known ---------------------------------------------------------------------------


def test_cells_that_are_not_known_are_named_by_key_and_column():
    run = books(
        {"id": 1, "authorId": 7, "title": []},
        {"id": 2, "authorId": 8, "title": "two"},
        {"id": 3, "authorId": None, "title": "three"},
        {"id": 4, "authorId": {}, "title": "four"},
        author=[{"id": 7, "name": "Ada"}],
    )
    assert len(run.rows) == 4
    assert sorted(run.uncertain.to_pylist(), key=str) == [
        {"k0": 1, "column": "title"},
        {"k0": 2, "column": "author"},  # whose record is missing
        {"k0": 4, "column": "author"},  # of whom the id cannot be read
    ]


def test_what_need_not_be_there_is_not_known_only_where_the_list_is_in_doubt():
    lent = [{"bookId": 1, "reader": "Ben"}]
    assert loans({"id": 1}, {"id": 2}, loan=lent).rows
    for doubts, broken, unknown in (((), [], 0), (["a page"], [], 2), ((), [{"bookId": "x"}], 2)):
        run = loans({"id": 1}, {"id": 2}, loan=lent + broken, doubts=doubts)
        run.made
        assert [row["k0"] for row in run.uncertain.to_pylist()] == [2] * unknown
        assert run.incomplete is bool(unknown)


def test_without_a_key_no_cell_can_be_named():
    own = books().report.objects
    format_fn = Formatter(own, {"title": "title", "label": text("pages")})
    run = books({"id": 1, "title": []}, format_fn=format_fn)
    assert run.rows == [{"title": None, "label": None}] and run.uncertain.num_rows == 0
    assert run.nulls == {"book.title": 1} and len(run.findings) == 1


# --- keys -----------------------------------------------------------------------------------------


def test_keys_that_come_again_are_counted_once_each():
    run = books({"id": 1}, {"id": 2}, {"id": 1}, {"id": 1}, {"id": 2}, {"id": 3})
    assert len(run.rows) == 6 and run.repeated == 2
    assert run.findings == ["2 keys came more than once."] and not run.incomplete
    assert books({"id": 1}, {"id": 2}).rows and books().rows == []
    once = books({"id": 1}, {"id": 2})
    assert once.rows and once.repeated == 0 and once.findings == []


@pytest.mark.sampled(4)
@pytest.mark.parametrize("rows", [20, 21, 60, 130])
def test_a_key_is_found_again_in_memory_and_on_disk(monkeypatch, rows):
    monkeypatch.setattr(KeyCounter, "LARGE", 20)
    for step in (1, 7, 20, 25):
        keys = KeyCounter()
        ids = [str(n) for n in range(rows)] + ["0", "1", "1", None, None]
        kinds = ["a"] * rows + ["a", "b", "b", "c", "c"]
        for start in range(0, len(ids), step):
            keys.add(
                pa.array(ids[start : start + step], pa.string()),
                pa.array(kinds[start : start + step], pa.string()),
            )
        assert keys.repeated() == 3  # (0, a), (1, b) and (null, c)


@pytest.mark.parametrize("name", REPORTS)
def test_the_key_columns_of_every_format(name):
    report, told = reports.find(name), REPORTS[name].key_columns
    assert [*told] == [*report.formatters]
    for shape, columns in told.items():
        if columns is None:
            assert refused(key_columns, report, report.formatter(shape))[0] == "unknown_key"
        else:
            assert key_columns(report, report.formatter(shape)) == columns, shape


def test_the_columns_by_which_others_are_joined():
    for name, one in REPORTS.items():
        for shape, columns in one.joined_by.items():
            report = reports.find(name)
            found = join_columns(report, report.formatter(shape))
            assert columns.items() <= found.items(), (name, shape, found)


def test_a_format_without_the_key_is_refused_with_the_formats_that_have_it():
    access = reports.find("page_access")
    with pytest.raises(SettingsError) as caught:
        key_columns(access, access.formatter("domostats"))
    assert caught.value.reason == "unknown_key"
    assert str(caught.value) == (
        "No column of this format of page_access holds entity_type, entity_id, and its key is "
        "page_id, entity_type, entity_id: rows cannot be told apart by it. Take one of its formats "
        "that do: all."
    )
    with pytest.raises(SettingsError) as caught:
        Report("books", "one book", "isbn", Source("book", Whole("/books"), Book))
    assert caught.value.reason == "unknown_key" and "no such field" in str(caught.value)


def test_a_label_made_from_the_id_does_not_hold_the_key():
    from domostats.rows.rules import first, link

    own = books().report
    for rule, holds in (("id", True), (text("id"), True), (link("/x/", "id"), False)):
        formatter = Formatter(own.objects, {"title": "title", "key": rule})
        if holds:
            assert key_columns(own, formatter) == ["key"]
        else:
            with pytest.raises(SettingsError):
                key_columns(own, formatter)
    both = Formatter(
        own.objects, {"text": text("id"), "id": "id", "more": first("title", text("id"))}
    )
    assert key_columns(own, both) == ["id"]  # the one nearest to the field itself
    lent = first("loan.bookId", "id")  # rows that only the loans have are found by it
    assert key_columns(own, Formatter(own.objects, {"id": "id", "any": lent})) == ["any"]


# --- what was found -------------------------------------------------------------------------------


def test_of_values_that_were_made_null_five_are_told_and_the_others_counted():
    odd = [{"id": n, "title": [], "pages": "many"} for n in range(1, 5)]
    run = books(*odd, format_fn=books().report.fields)
    assert run.rows and not run.incomplete
    assert run.nulls == {"book.title": 4, "book.pages": 4}
    lines = run.findings
    assert sum(line.startswith("A value was made null: book, page 1, row ") for line in lines) == 5
    assert "3 more values were made null." in lines and len(lines) == 6
    few = books({"id": 1, "title": []}, format_fn=books().report.fields)
    assert few.rows and len(few.findings) == 1


def test_other_spellings_are_counted_by_field():
    odd = [{"id": 1.0, "pages": "12"}, {"id": 2, "pages": 3.0}, {"id": 3, "pages": 4}]
    run = books(*odd, format_fn=books().report.fields)
    assert [row["pages"] for row in run.rows] == [12, 3, 4]
    assert run.spellings == {"book.id": 1, "book.pages": 2}
    assert [line.split(":")[0] for line in sorted(run.findings)] == [
        "Another spelling was taken (1 times, first",
        "Another spelling was taken (2 times, first",
    ]
    assert "book, page 1, row 1, field 'pages'" in max(run.findings)


def test_of_many_fields_in_another_spelling_five_are_told_and_the_others_counted():
    names = "abcdefg"
    kind = make_dataclass("Kind", [("id", int), *((name, int | None, None) for name in names)])
    report = Report("kinds", "one", "id", Source("kind", Whole("/kinds"), kind))
    record = {"id": 1, **dict.fromkeys(names, "5")}
    run = report.over(report.fields, {"kind": [page(1, record)]})
    assert run.rows == [{"id": 1} | dict.fromkeys(names, 5)]
    assert sum(line.startswith("Another spelling was taken (1 ") for line in run.findings) == 5
    assert run.findings[5:] == ["2 more fields came in another spelling."]


def test_new_fields_are_told_the_most_frequent_first():
    many = [{"id": n, **{f"new{k}": 1 for k in range(n)}} for n in range(1, 8)]
    run = books(*many)
    assert run.rows and run.findings == [
        f"A new field was kept out: new{k} ({7 - k} times)." for k in range(5)
    ]
    assert run.unknown == {f"new{k}": 7 - k for k in range(7)}


def test_the_contract_lists_every_kind_with_an_example():
    run = books(
        {"id": 1, "title": 5, "pages": "many", "color": "red"},
        {"id": "x"},
        {"id": None},
        {"id": 2, "title": 6, "color": "blue"},
        author=[{"id": 7, "name": "Ada"}],
        format_fn=books().report.fields.add(author="author.name"),
    )
    assert len(run.rows) == 2
    told = run.contract()
    assert list(told.columns) == ["source", "field", "kind", "times", "example"]
    lines = {(line.source, line.field, line.kind): line for line in told.itertuples()}
    assert {place: line.times for place, line in lines.items() if line.kind != "missing"} == {
        ("book", "color", "new"): 2,
        ("book", "id", "rejected"): 2,
        ("book", "pages", "null"): 1,
        ("book", "title", "spelling"): 2,
    }
    assert [place for place in lines if place[2] == "missing"] == [("book", "authorId", "missing")]
    assert lines["book", "color", "new"].example == ""
    assert "page 1, row 2" in lines["book", "id", "rejected"].example
    assert "page 1, row 1" in lines["book", "pages", "null"].example
    assert "page 1, row 1" in lines["book", "title", "spelling"].example
    assert books().rows == [] and books().contract().empty  # no record, so nothing is missing


@pytest.mark.parametrize(
    "records, column, row",
    [
        ([{"id": 1}, {"id": "x"}], "id", 2),
        ([{"id": 1, "pages": "many"}], "pages", 1),
        ([{"id": 1, "pages": "12"}], "pages", 1),
        ([{"id": 1, "pages": "12"}, {"id": 2, "title": []}, {"id": None}], "id", 3),
        ([{"id": 1, "pages": "12"}, {"id": 2, "title": []}], "title", 2),
    ],
)
def test_a_frozen_contract_and_strict_name_the_first_deviation(records, column, row):
    with pytest.raises(DataError) as caught:
        books(*records, contract="freeze").rows
    frozen = caught.value
    assert str(frozen).startswith("The contract is frozen, and a record does not keep to it: book,")
    run = books(*records)
    run.made
    run.report.name, run.instance = "books", "acme"
    with pytest.raises(DataError) as caught:
        run.check_strict()
    strict = caught.value
    assert str(strict).startswith("books of acme: ") and str(strict).endswith(
        "Nothing was written."
    )
    for error, reason in ((frozen, "contract"), (strict, "violations")):
        assert (error.reason, error.page, error.row, error.column) == (reason, 1, row, column)
        assert "Nothing was written" in str(error) and f"page 1, row {row}" in str(error)


def test_a_frozen_contract_names_new_fields_and_lets_pass_what_is_declared():
    with pytest.raises(DataError) as caught:
        books({"id": 1, **{f"new{n}": 1 for n in (5, 3, 1, 2, 6, 4)}}, contract="freeze").rows
    assert caught.value.reason == "contract" and caught.value.column == "new1"
    assert "the service sends new fields: new1, new2, new3, new4, new5. Nothing" in str(
        caught.value
    )
    assert books({"id": 1, "pages": 2}, contract="freeze").rows
    good = books({"id": 1, "color": "red"})
    good.made
    assert good.check_strict() is None  # a new field harms no value


def test_extend_keeps_what_is_new_in_a_column_of_its_own():
    run = loans({"id": 1, "color": "red"}, loan=[{"bookId": 9}], contract="extend")
    assert [row["other_fields"] for row in run.rows] == ['{"color":"red"}', None]
    assert run.table.schema.field("other_fields").type == pa.string()

    def own(book):
        return {"id": book["id"]}

    rows = books({"id": 1, "color": "red"}, {"id": 2}, format_fn=own, contract="extend").rows
    assert rows == [{"id": 1, "other_fields": '{"color":"red"}'}, {"id": 2, "other_fields": None}]


# --- functions as formatters ----------------------------------------------------------------------


def test_a_function_gets_the_records_that_it_names():
    lookups = {"author": [{"id": 7, "name": "Ada"}]}
    named = books({"id": 1, "authorId": 7}, format_fn=lambda book, author: author, **lookups)
    assert named.rows == [{"id": "7", "name": "Ada"}]
    everything = books({"id": 1}, format_fn=lambda **records: records)
    assert [*everything.rows[0]] == ["book"]
    more = books({"id": 1}, format_fn=lambda author, **records: {"keywords": sorted(records)})
    assert more.rows == [{"keywords": ["book"]}]
    with pytest.raises(SettingsError) as caught:
        books({"id": 1}, format_fn=lambda row: row).rows
    assert caught.value.reason == "bad_formatter"
    assert "name at least one of book, author, loan." in str(caught.value)


def test_a_function_that_fails_is_told_with_the_row():
    pages = [page(n, *({"id": 1000 * n + k} for k in range(1000))) for n in (1, 2)]

    def fails(book):
        return {"share": 1 / (book["id"] - 2003)}

    with pytest.raises(DataError) as caught:
        books(format_fn=fails, pages=pages).rows
    assert (caught.value.reason, caught.value.row) == ("formatter_failed", 1004)
    assert str(caught.value) == (
        "The formatter failed on row 1004 with ZeroDivisionError: division by zero. "
        "Try it on that row alone."
    )


# --- piece by piece -------------------------------------------------------------------------------


def test_rows_come_in_pieces_of_a_thousand_or_more():
    pages = [page(n, *({"id": 400 * n + k} for k in range(400))) for n in range(6)]
    run = loans(pages=pages, loan=[{"bookId": 1}, {"bookId": -1}])
    assert [batch.num_rows for batch in run.reader() if batch.num_rows] == [1200, 1200, 1]
    assert run.came == 2401 and run.repeated == 0


def test_rows_that_were_handed_on_are_not_there_again():
    run = books({"id": 1}, {"id": 2})
    assert run.reader().read_all().num_rows == 2
    with pytest.raises(SettingsError) as caught:
        run.reader()
    assert caught.value.reason == "already_read" and "Take run.table" in str(caught.value)
    kept = books({"id": 1}, {"id": 2})
    assert kept.table.num_rows == 2  # all are held then
    assert kept.reader().read_all().num_rows == kept.reader().read_all().num_rows == 2
    own = books({"id": 1}, format_fn=lambda book: {"id": book["id"]})
    assert own.reader().read_all().num_rows == own.reader().read_all().num_rows == 1


def test_a_frame_says_what_was_found():
    run = books(
        {"id": 1, "title": 5, "authorId": 8, "color": 1}, {"id": 1, "title": []}, doubts=["a page."]
    )
    run.instance = "acme"
    run.notes = ["a note."]
    run.window = (datetime(2024, 3, 1, tzinfo=timezone.utc), None)
    assert run.label == "books of acme: " and books().label == ""
    assert run.dataframe().attrs["domostats"] == {
        "report": "books",
        "violations": [],
        "unknown": {"color": 1},
        "nulls": {"book.title": 1},
        "spellings": {"book.title": 1},
        "repeated": 1,
        "incomplete": True,
        "partial": True,
        "doubts": ["a page."],
        "notes": ["a note."],
        "window": ["2024-03-01T00:00:00+00:00", None],
        "uncertain": {"k0": [1, 1], "column": ["title", "author"]},
        "join_columns": {},
    }
    part = Part(False, ("a page.",), ((run.window[0], LAST),))
    assert run.coverage.parts == {("", "acme"): part} and run.coverage.report == "books"
    assert coverage_of(run.table).parts == {("", ""): part}
    assert "uncertain" not in books({"id": 1}).dataframe().attrs["domostats"]
    with pytest.warns(UserWarning) as warned:
        books({"id": 1}, {"id": 1}, doubts=["a page."]).result()
    told = [one for one in warned if one.category is UserWarning]  # not of what others left open
    assert [str(one.message) for one in told] == [
        "books: Rows may be missing: a page. 1 keys came more than once."
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert books({"id": 1}).result(is_dataframe=False) == [
            {"id": 1, "title": None, "author": None}
        ]


# --- before a run ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        with sandbox.start(seed=31, today=TODAY) as box:
            yield box


@pytest.fixture
def here(running):
    yield running
    running.heal()


def refused(function, *arguments, **keywords):
    "What a function says when it refuses settings: the reason and the sentence."
    with pytest.raises(SettingsError) as caught:
        function(*arguments, **keywords)
    return caught.value.reason, str(caught.value)


def test_words_that_mean_nothing_are_refused_before_any_call(here):
    groups, calls = reports.find("groups"), len(here.log)
    reason, said = refused(groups.run, here, restore=True, fresh=True)
    assert reason == "bad_start" and "restore and fresh" in said
    assert refused(groups.run, here, fresh=True, reuse=True)[0] == "bad_start"
    reason, said = refused(groups.run, here, contract="melt")
    assert reason == "bad_contract" and "Take one of report, extend, freeze." in said
    reason, said = refused(groups.run, here, format_fn="domostat")
    assert reason == "unknown_formatter" and "It has domostats, with_creator, all." in said
    assert "'domostat'" in said and "Did you mean 'domostats'?" in said
    for use in groups.generate, groups.run, groups.format:
        with pytest.raises(TypeError, match=r"^groups\.\w+\(\) got an .*'frush'"):
            use(here, frush=True)
    with (
        pytest.raises(TypeError, match=r"^groups\.stream\(\) got"),
        groups.stream(here, frush=True),
    ):
        pass
    with pytest.raises(TypeError, match=r"^run_all\(\) got .*'frush'. Did you mean 'fresh'"):
        run_all(groups, [here], frush=True)
    assert refused(groups.run, here, restore=True)[0] == "nothing_to_restore"
    assert len(here.log) == calls


def test_the_first_format_is_taken_where_none_is_named(here, capsys):
    groups = reports.find("groups")
    assert groups.formatter() is groups.formatter("domostats") is groups.formatters["domostats"]

    def own(group_obj):
        return {"id": 1}

    assert groups.formatter(own) is own
    assert repr(groups) == "<report groups: one group>"
    assert list(groups.generate(here).columns) == list(groups.formatters["domostats"].rules)
    raw = groups.generate(here, return_raw=True)
    assert isinstance(raw, list) and len(raw) == 8 and "groupId" in raw[0]
    assert capsys.readouterr().out == ""  # calls are printed with debug_api only
    rows = groups.generate(here, is_dataframe=False)
    assert isinstance(rows, list) and len(rows) == 8 and "Group Id" in rows[0]


def test_a_list_from_before_is_formatted_with_the_lists_that_the_format_reads():
    accounts = reports.find("accounts")
    given = [{"key": "k", "accounts": [{"id": 1, "userId": "27", "displayName": "one"}]}]
    reason, said = refused(accounts.format, given, "owners")
    assert reason == "missing_source" and "give the list as owner_obj=..." in said
    users = [{"id": 27, "displayName": "Ada"}]
    [row] = accounts.format(given, "owners", is_dataframe=False, owner_obj=users)
    assert (row["account_id"], row["account_name"], row["owner_name"]) == (1, "one", "Ada")
    assert accounts.format(given, "v1")["account_id"].tolist() == [1]


@pytest.mark.parametrize("name", REPORTS)
def test_what_narrows_each_report(name):
    assert reports.find(name).narrowed_by() == REPORTS[name].narrowed_by


def test_a_lookup_is_not_narrowed():
    assert reports.find("groups").narrowed_by("with_creator") == set()


def test_an_end_that_has_not_yet_come_is_open(here):
    log, first = reports.find("activity_log"), datetime(2024, 3, 1, tzinfo=timezone.utc)
    run = log.run(here, since=first, until=datetime(2199, 1, 1))
    assert run.window == (first, None)


def test_there_is_no_report_of_that_name():
    reason, said = refused(reports.find, "acounts")
    assert reason == "unknown_report" and "There is no report 'acounts'." in said
    assert "accounts" in said.split("There are")[0] and "users" in said.split("There are")[1]
    with pytest.raises(
        AttributeError, match="there is no report 'acounts'; there are .*accounts, "
    ):
        reports.acounts
    assert reports.accounts.report is reports.find("accounts")
    assert {"accounts", "users", "find", "names"} <= {*dir(reports)}


# --- several instances ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        with (
            sandbox.start(seed=32, today=TODAY) as one,
            sandbox.start(seed=33, today=TODAY) as two,
        ):
            yield one, two


@pytest.fixture
def pair(both):
    "Two instances, each with apps of its own."
    one, two = both
    one.serve(APPS, [{"id": 1, "name": "a"}, {"id": 2, "name": "b", "color": "red"}])
    two.serve(APPS, [{"id": 1, "name": "c"}])
    yield one, two
    for box in both:
        box.heal()


APP = reports.find("oauth_configurations")


def fleet_of(pair, format_fn):
    return run_all(APP, pair, format_fn, fresh=True)


def test_rows_of_several_instances_say_whose_they_are(pair):
    one, two = pair
    fleet = fleet_of(pair, "domostats")
    columns = fleet.table.to_pydict()
    assert [*columns][:2] == ["instance", "Account_Id"]
    assert columns["instance"] == [one.name, one.name, two.name]
    assert columns["Account_Id"] == [1, 2, 1] and columns["Name"] == ["a", "b", "c"]
    assert fleet.table.schema.remove_metadata() == fleet.schema
    assert fleet.reader().read_all().num_rows == 3  # and again
    assert repr(fleet) == "<oauth_configurations of 2 instances, 0 failed>"
    for name, found, rows in ((one.name, ["color"], 2), (two.name, [], 1)):
        run = fleet.runs[name]
        assert run.came == rows and [*run.unknown] == found
        assert run.table.num_rows == rows == run.reader().read_all().num_rows
    less = fleet.without({one.name: DataError("said", "incomplete")})
    assert less.table["instance"].to_pylist() == [two.name] and less.incomplete
    assert [*less.failures] == [one.name] and fleet.failures == {} and len(fleet.runs) == 2


def test_columns_that_one_instance_lacks_are_null_and_wider_types_are_taken(pair):
    def format_fn(template_obj):
        if template_obj["name"] == "c":
            return {"id": 1.5, "only": "here"}
        return {"id": template_obj["id"]}

    assert fleet_of(pair, format_fn).table.to_pydict() == {
        "instance": [pair[0].name, pair[0].name, pair[1].name],
        "id": [1.0, 2.0, 1.5],
        "only": [None, None, "here"],
    }


def test_columns_of_kinds_that_do_not_go_together_are_told(pair):
    fleet = fleet_of(pair, lambda template_obj: {"id": "x" if template_obj["name"] == "c" else 1})
    with pytest.raises(DataError) as caught:
        fleet.table
    assert caught.value.reason == "column_type"
    assert "The instances do not agree on the type of a column: " in str(caught.value)
    with pytest.raises(DestinationError) as caught:
        fleet_of(pair, lambda template_obj: {"INSTANCE": 1}).table
    assert caught.value.reason == "reserved_column"


def test_an_instance_that_is_named_twice_is_read_once(pair):
    one, two = pair
    before = len(one.log)
    fleet = run_all(APP, [one, two, one], fresh=True)
    assert [*fleet.runs] == [one.name, two.name] and len(one.log) - before <= 4
    assert [*by_name([two, one, two]).items()] == [(two.name, two), (one.name, one)]
    assert name_of(one) == one.name and name_of("acme") == "acme"
    assert name_of("https://acme.domo.com/") == "https://acme.domo.com/"


def test_after_ctrl_c_nothing_is_begun_and_what_is_under_way_learns_of_it():
    begun, stopped, released = [], threading.Event(), []

    def work(n):
        begun.append(n)
        if n == 0:
            raise KeyboardInterrupt
        released.append(stopped.wait(30))

    with pytest.raises(KeyboardInterrupt):
        at_the_same_time(work, range(9), 1, stopped)
    assert stopped.is_set() and begun in ([0], [0, 1]) and released in ([], [True])


def test_work_is_done_for_each_in_their_order_and_its_error_comes_through():
    assert at_the_same_time(lambda n: n * n, range(5), 2) == [0, 1, 4, 9, 16]
    assert at_the_same_time(str, [], 2) == []
    with pytest.raises(ZeroDivisionError):
        at_the_same_time(lambda n: 1 / n, [1, 0], 2)


def test_a_list_below_a_list_that_is_narrowed_is_narrowed_too():
    from types import SimpleNamespace

    from domostats.reports.plan import narrowing_ends, window_of
    from domostats.transport.by_parent import Under
    from domostats.transport.listing import Whole

    top = Whole("/pages", key="id", changed="lastUpdated")
    middle = Under("/pages/{}/cards", key="id", parents=top)
    below = Under("/cards/{}/people", key="id", parents=middle)
    asked = SimpleNamespace(since=1_704_067_200_000, until=None)
    since = datetime(2024, 1, 1, tzinfo=timezone.utc)
    for listing in (middle, below):
        assert narrowing_ends(listing) == {"since"}
        assert window_of([listing], asked) == (since, None)
        assert window_of([Whole("/users", key="id"), listing], asked) == (since, None)
        assert window_of([listing], SimpleNamespace(since=None, until=None)) is None
    assert window_of([Whole("/users", key="id")], asked) is None
    assert narrowing_ends(Whole("/users", key="id")) == set()


def test_after_ctrl_c_no_instance_goes_on(monkeypatch):
    "Those that are under way stop at their next page, and none is begun any more."
    import threading

    from domostats.reports import fleet

    def new_threads():
        "The threads of pools that were not there before."
        return [
            one
            for one in threading.enumerate()
            if one not in before and one.name.startswith("ThreadPool")
        ]

    before = threading.enumerate()
    begun, seen = [], []

    def work(name):
        begun.append(name)
        if name == "a":
            raise KeyboardInterrupt
        seen.append(stopped.wait(20))

    stopped = threading.Event()
    with pytest.raises(KeyboardInterrupt):
        fleet.at_the_same_time(work, ["a", "b", "c", "d"], 2, stopped)
    assert stopped.is_set()
    assert {*begun} <= {"a", "b", "c", "d"} and False not in seen
    for one in new_threads():
        one.join(20)
    assert new_threads() == []
    assert fleet.at_the_same_time(len, ["one", "two"], 2) == [3, 3]
    assert new_threads() == []


def test_after_ctrl_c_an_instance_that_is_under_way_reads_no_further():
    from contextlib import contextmanager
    from types import SimpleNamespace

    schema = pa.schema([("id", pa.int64())])
    batch = pa.record_batch([[1]], schema=schema)
    has_begun, is_over, given, most = threading.Event(), threading.Event(), [], 500

    class Rows:
        def __init__(self, batches):
            self.schema, self.batches = schema, batches

        def __iter__(self):
            return self.batches

    def interrupted():
        assert has_begun.wait(30)
        yield batch
        raise KeyboardInterrupt

    def endless():
        for _ in range(most):
            given.append(1)
            yield batch
            has_begun.set()
            is_over.wait(0.01)

    @contextmanager
    def stream(instance, *how):
        rows = Rows(interrupted() if instance == "first" else endless())
        try:
            yield SimpleNamespace(reader=lambda: rows)
        finally:
            if instance == "second":
                is_over.set()

    with pytest.raises(KeyboardInterrupt):
        run_all(SimpleNamespace(name="slow", stream=stream), ["first", "second"])
    assert is_over.wait(30) and len(given) < most


@pytest.mark.parametrize("seconds_a_page, rows, pages_asked", [(0, 20, [1, 2]), (1, 10, [1])])
def test_rows_are_handed_on_while_the_list_is_still_read(
    monkeypatch, seconds_a_page, rows, pages_asked
):
    "When there are enough of them, or when a second has gone by."
    from types import SimpleNamespace

    from domostats.reports import run

    asked = []
    clock = SimpleNamespace(monotonic=lambda: float(seconds_a_page * len(asked)))
    monkeypatch.setattr(run, "BATCH_ROWS", 20)
    monkeypatch.setattr(run, "time", clock)

    def pages():
        for number in range(1, 11):
            asked.append(number)
            yield page(number, *({"id": 10 * number + n} for n in range(10)))

    batches = books(pages=pages()).reader()
    assert asked == []
    assert len(batches.read_next_batch()) == rows and asked == pages_asked
    assert sum(map(len, batches)) == 100 - rows and asked[-1] == 10
