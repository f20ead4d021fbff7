"""The edges of every kind of list: which rows come, what is asked for, and the words about what
is missing."""

import gc
import json
import threading
import warnings
from dataclasses import replace
from types import SimpleNamespace

import pytest

from domostats.errors import AccessError, DataError, SettingsError
from domostats.transport.answer import Answer
from domostats.transport.bulk import Bulk
from domostats.transport.by_parent import Each, Under, says_id, wanted
from domostats.transport.cursor import Cursor
from domostats.transport.estimate import EstimatingReader
from domostats.transport.listing import Whole, all_of
from domostats.transport.look_ahead import ahead
from domostats.transport.numbered import Numbered
from domostats.transport.offset import Offset
from domostats.transport.pages import count_in, records_at
from domostats.transport.reader import Reader, age_of, millis
from domostats.transport.recheck import KeptPage, _is_whole
from domostats.transport.retry import Request
from domostats.transport.search import Search
from domostats.transport.seen_keys import SeenKeys


class Service:
    """A service that answers by `reply(request)` (a value, or a status and a value), and what it
    was asked."""

    url, instance = "", None

    def __init__(self, reply):
        self.reply, self.asked, self.instance = reply, [], self

    def ask(self, request, debug_api=False):
        self.asked.append(request)
        value = self.reply(request)
        status, value = value if isinstance(value, tuple) else (200, value)
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        return Answer(request.method, request.path, status, content, {}, 0.0)


def answer(value, status=200):
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Answer("GET", "/list", status, content, {}, 0.0)


def rows(*ids):
    return [{"id": id} for id in ids]


def read(listing, service, in_flight=1, **how):
    "The ids that came, and what is said to be in doubt."
    reader = Reader(service, in_flight=in_flight, **how)
    found = [row for page in listing.pages(reader) for row in page.records()]
    return [row.get("id", row) for row in found], reader.doubts


# --- bookmarks ---

BOOKMARKS = Cursor(
    "/list", "rows", "id", method="POST", size=2, next="next", more="more", names=("after", "first")
)


def book(pages):
    """A service with pages by bookmark: what is on it, and the bookmark of the next one (None:
    the end)."""

    def reply(request):
        found, following = pages[request.body["after"]]
        return {"rows": found, "next": following, "more": following is not None}

    return Service(reply)


def after(service):
    return [request.body["after"] for request in service.asked]


def test_bookmarks_lead_from_page_to_page():
    service = book({None: (rows(1, 2), "b"), "b": (rows(3, 4), 5), 5: (rows(6), None)})
    assert read(BOOKMARKS, service) == ([1, 2, 3, 4, 6], [])
    assert after(service) == [None, "b", 5]
    assert [request.body["first"] for request in service.asked] == [2, 2, 2]


@pytest.mark.parametrize(
    "pages, asked",
    [
        ({None: (rows(1, 2), "b"), "b": (rows(3, 4), "b")}, [None, "b"]),
        (
            {None: (rows(1, 2), "a"), "a": (rows(3, 4), "b"), "b": (rows(5, 6), "a")},
            [None, "a", "b"],
        ),
    ],
    ids=["at once", "by a way round"],
)
def test_a_bookmark_that_repeats_ends_the_list_with_a_word(pages, asked):
    service = book(pages)
    said = f"POST /list: more follows, and its bookmark is {pages['b'][1]!r}; the list may be cut."
    assert read(BOOKMARKS, service) == ([*range(1, 2 * len(pages) + 1)], [said])
    assert after(service) == asked


def test_a_bookmark_that_is_missing_is_asked_for_once_more():
    def reply(request):
        if request.body["after"]:
            return {"rows": rows(3), "next": None, "more": False}
        return {"rows": rows(1, 2), "next": "b" if len(service.asked) > 1 else None, "more": True}

    service = Service(reply)
    assert read(BOOKMARKS, service) == ([1, 2, 3], [])
    assert after(service) == [None, None, "b"]


def test_a_bookmark_that_stays_missing_is_told():
    service = Service(lambda request: {"rows": rows(1, 2), "next": None, "more": True})
    assert read(BOOKMARKS, service) == (
        [1, 2],
        ["POST /list: more follows, and its bookmark is None; the list may be cut."],
    )
    assert after(service) == [None, None]


def test_an_empty_list_takes_one_call_and_no_word():
    service = book({None: ([], None)})
    assert read(BOOKMARKS, service) == ([], []) and len(service.asked) == 1


def test_a_service_that_gives_fewer_at_a_time_is_no_doubt():
    pages = {None: (rows(1), "b"), "b": (rows(2), "c"), "c": (rows(3), None)}
    service = book(pages)
    assert read(BOOKMARKS, service) == ([1, 2, 3], [])
    assert after(service) == [None, None, "b", "c"]


def test_an_empty_page_before_the_end_is_asked_for_once_more():
    def reply(request):
        place = request.body["after"]
        if place == "c":
            return {"rows": rows(5), "next": None, "more": False}
        if place == "b":
            found = rows(3, 4) if after(service).count("b") > 1 else []
            return {"rows": found, "next": "c", "more": True}
        return {"rows": rows(1, 2), "next": "b", "more": True}

    service = Service(reply)
    assert read(BOOKMARKS, service) == ([1, 2, 3, 4, 5], [])
    assert after(service) == [None, "b", "b", "c"]


def test_a_page_that_stays_short_before_the_end_is_told():
    service = book({None: (rows(1, 2), "b"), "b": (rows(3), "c"), "c": (rows(4, 5), None)})
    came, doubts = read(BOOKMARKS, service)
    assert came == [1, 2, 3, 4, 5] and after(service) == [None, "b", "b", "c"]
    assert doubts == [
        "POST /list: a page came short, or was one from before, and again so; the list may be cut.",
        "POST /list: there are rows behind a page that came short; rows may be hidden from this "
        "user.",
    ]


def test_a_last_page_that_overlaps_gives_each_row_once_and_is_told():
    service = book({None: (rows(1, 2), "b"), "b": (rows(3, 2), None)})
    assert read(BOOKMARKS, service) == (
        [1, 2, 3],
        [
            "POST /list: records of one page came again on another: the list changed while it was "
            "read."
        ],
    )


@pytest.mark.parametrize(
    "page, reason",
    [
        ({"rows": [], "next": None, "more": "yes"}, "bad_bookmark"),
        ({"rows": [], "next": ["b"], "more": True}, "bad_bookmark"),
        ({"rows": [], "next": {"b": 1}, "more": True}, "bad_bookmark"),
        ({"rows": [], "next": "b", "more": 1}, "bad_bookmark"),
        ({"rows": [], "more": True}, "no_list"),
        ({"rows": [], "next": "b"}, "no_list"),
        ({"errors": [{"message": "Field unknown"}], "rows": []}, "failed"),
    ],
    ids=str,
)
def test_what_is_no_bookmark_is_no_end_of_a_list(page, reason):
    with pytest.raises(DataError) as caught:
        read(BOOKMARKS, Service(lambda request: page))
    assert caught.value.reason == reason
    if reason == "failed":
        assert "Field unknown" in str(caught.value) and "Run it again" in str(caught.value)


def test_a_bookmark_alone_may_tell_the_end_and_stand_inside():
    listing = replace(BOOKMARKS, more="", next="page.next", within="variables", body={"q": "x"})
    pages = {None: (rows(1, 2), "b"), "b": (rows(3), None)}

    def reply(request):
        found, following = pages[request.body["variables"]["after"]]
        return {"rows": found, "page": {"next": following}}

    service = Service(reply)
    assert read(listing, service) == ([1, 2, 3], [])
    assert [request.body for request in service.asked] == [
        {"q": "x", "variables": {"after": None, "first": 2}},
        {"q": "x", "variables": {"after": "b", "first": 2}},
    ]
    assert listing.calls(Reader(Service(reply))) == 2


@pytest.mark.parametrize(
    "spans, is_whole",
    [
        ([(1, 2), (2, 3)], True),  # numbers of pages
        ([(1, 2), (3, 4)], False),
        ([(2, 3)], False),
        ([(0, 50), (50, 100)], True),  # rows
        ([(0, 50), (60, 100)], False),
        ([(50, 100)], False),
        ([(0, 50), (25, 75), (75, 100)], True),
    ],
)
def test_kept_pages_with_one_missing_are_no_whole_list(spans, is_whole):
    "However surely the last of them is the last of the list."
    pages = [KeptPage(*span, Request("GET", f"/{span[0]}")) for span in spans]
    listing = SimpleNamespace(ends_with=lambda last, end, first: True)
    digests = {page.request.fingerprint: None for page in pages}
    assert _is_whole(listing, pages, digests) is is_whole


# --- offsets, totals and caps ---

PAGES = Offset("/list", "rows", "id", size=2, total="total")


def shelf(*ids, total=None, most=None):
    "A service that cuts these rows by offset; `total(number of the call)` is what it says."

    def reply(request):
        first, size = request.params["offset"], request.params["limit"]
        said = len(ids) if total is None else total(len(service.asked))
        return {"rows": rows(*ids[first : first + min(size, most or size)]), "total": said}

    service = Service(reply)
    return service


def spans(service):
    "From which row to which row it was asked."
    return [
        (one.params["offset"], sum(map(one.params.get, ("offset", "limit"))))
        for one in service.asked
    ]


def test_a_total_ends_a_list_without_another_call():
    service = shelf(1, 2, 3, 4, 5)
    assert read(PAGES, service) == ([1, 2, 3, 4, 5], [])
    assert spans(service) == [(0, 2), (2, 4), (4, 6)]


def test_a_full_last_page_is_followed_by_one_more_call():
    service = shelf(1, 2, 3, 4)
    assert read(PAGES, service) == ([1, 2, 3, 4], [])
    assert spans(service) == [(0, 2), (2, 4), (4, 6)]


@pytest.mark.parametrize("then", [6, 4])
def test_a_total_that_changes_is_told_with_both_numbers(then):
    service = shelf(1, 2, 3, 4, 5, total=lambda call: 5 if call == 1 else then)
    came, doubts = read(PAGES, service)
    changed = f"GET /list: the list had 5 records, then {then}: it changed while it was read."
    few = "GET /list: 5 records came, where the service counts 6."
    assert came == [1, 2, 3, 4, 5]
    assert doubts == ([changed, few] if then == 6 else [changed])


def test_a_total_that_promises_more_than_comes_is_told_after_some_patience():
    service = shelf(1, 2, 3, total=lambda call: 100)
    assert read(PAGES, service) == (
        [1, 2, 3],
        ["GET /list: 3 records came, where the service counts 100."],
    )
    assert len({offset for offset, _ in spans(service)}) <= 3 + 10


def test_a_total_that_promises_less_than_comes_takes_no_row_away():
    assert read(PAGES, shelf(1, 2, 3, 4, 5, total=lambda call: 3))[0] == [1, 2, 3, 4, 5]
    without_key = replace(PAGES, key="")
    assert read(without_key, shelf(1, 2, 3, 4, 5, total=lambda call: 3)) == (
        [1, 2, 3, 4, 5],
        ["GET /list: 5 records came, where the service counts 3."],
    )


@pytest.mark.parametrize("said", [None, "many", -1, 2.5, [5], True, {}])
def test_a_total_that_is_no_number_is_told(said):
    with pytest.raises(DataError) as caught:
        read(PAGES, shelf(1, 2, 3, total=lambda call: said))
    assert caught.value.reason == "bad_total" and "counts its records" in str(caught.value)


@pytest.mark.parametrize("said", [5, 5.0, "5", "05"])
def test_a_total_may_be_spelled_in_some_ways(said):
    service = shelf(1, 2, 3, 4, 5, total=lambda call: said)
    assert read(PAGES, service) == ([1, 2, 3, 4, 5], []) and len(service.asked) == 3
    assert count_in(answer({"a": {"b": said}}), ("x", "a.b", "a")) == 5


@pytest.mark.parametrize(
    "has, said",
    [
        (5, []),
        (6, ["GET /list: the service goes no further than row 6; more may follow."]),
        (8, ["GET /list: 6 records came, where the service counts 8."]),
    ],
)
def test_a_list_that_stops_at_its_cap_is_told_if_more_are_counted(has, said):
    service = shelf(*range(has))
    assert read(replace(PAGES, cap=6), service) == ([*range(min(has, 6))], said)
    assert max(end for _, end in spans(service)) <= 6


@pytest.mark.parametrize(
    "has, said",
    [
        (6, ["GET /list: the service goes no further than row 6; more may follow."]),
        (7, ["GET /list: the service goes no further than row 6; more may follow."]),
        (2, []),
    ],
)
def test_a_list_without_a_total_that_stops_at_its_cap_is_told(has, said):
    service = shelf(*range(has))
    assert read(replace(PAGES, cap=6, total=""), service) == ([*range(min(has, 6))], said)
    assert max(end for _, end in spans(service)) <= 6


def test_the_last_page_before_an_odd_cap_is_smaller():
    service = shelf(*range(9))
    assert read(replace(PAGES, cap=5), service)[0] == [0, 1, 2, 3, 4]
    assert spans(service) == [(0, 2), (2, 4), (4, 5)]


def test_the_rest_of_a_short_page_is_asked_for():
    service = shelf(1, 2, 3, 4, 5, 6, 7, most=2)
    assert read(replace(PAGES, size=3), service) == ([1, 2, 3, 4, 5, 6, 7], [])
    assert spans(service)[:2] == [(0, 3), (2, 3)]
    assert spans(service)[2:] == [(3, 5), (5, 7), (7, 9)]  # from now on two at a time


def hiding(hidden, *ids, total=None, size=2):
    "A service that cuts its list before it leaves out what this user may not see."

    def reply(request):
        first, limit = request.params["offset"], request.params["limit"]
        found = [id for id in ids[first : first + limit] if id not in hidden]
        return {"rows": rows(*found), "total": total}

    return Service(reply)


@pytest.mark.parametrize(
    "hidden, came",
    [({2}, [1, 3, 4, 5]), ({3, 4}, [1, 2, 5]), ({1, 2}, [3, 4, 5])],
    ids=["in a page", "a whole page", "the first page"],
)
def test_rows_behind_a_gap_come_and_the_gap_is_told(hidden, came):
    service = hiding(hidden, 1, 2, 3, 4, 5)
    assert read(replace(PAGES, total=""), service) == (
        came,
        [
            "GET /list: there are rows behind a page that came short or empty; rows may be hidden "
            "from this user."
        ],
    )


def test_a_total_that_bears_out_what_came_leaves_no_doubt():
    assert read(PAGES, hiding({2}, 1, 2, 3, 4, 5, total=4)) == ([1, 3, 4, 5], [])


def test_an_end_without_a_total_is_two_empty_pages_long():
    service = shelf(1, 2, 3)
    assert read(replace(PAGES, total=""), service) == ([1, 2, 3], [])
    assert {offset for offset, _ in spans(service)} == {0, 2, 3, 4, 6}


def test_records_without_a_key_that_can_be_read_are_compared_as_they_are():
    given = [{"id": None, "n": 1}, {"id": None, "n": 2}, {"n": 3}, "text", {"id": "a"}]

    def reply(request):
        first = request.params["offset"]
        return {"rows": given[first : first + 2], "total": 5}

    reader = Reader(Service(reply), in_flight=1)
    came = [row for page in PAGES.pages(reader) for row in page.records()]
    assert came == given and not reader.doubts


def test_keys_as_text_and_as_number_are_the_same_record():
    known = SeenKeys("id", 2)
    assert known.new(b'[{"id":1},{"id":"2"}]')[1:] == (2, 2)
    assert known.new(b'[{"id":"1"},{"id":3}]') == (b"[]", 2, 0)  # it begins like the first page
    assert known.new(b'[{"id":4},{"id":2}]') == (b'[{"id":4}]', 2, 1)


@pytest.mark.parametrize(
    "has, listing, calls",
    [
        (0, PAGES, 1),
        (1, PAGES, 1),
        (4, PAGES, 3),
        (5, PAGES, 3),
        (5, replace(PAGES, total=""), 6),
        (4, replace(PAGES, total=""), 5),
        (8, replace(PAGES, total=""), 7),
    ],
)
def test_an_estimate_of_a_list_in_pages(has, listing, calls):
    service = shelf(*range(has))
    reader = Reader(service, in_flight=1)
    assert listing.rows(reader) == has and listing.calls(reader) == calls
    service.asked.clear()
    read(listing, service)
    assert len(service.asked) <= calls


def test_an_estimate_does_not_believe_a_total_that_the_last_page_denies():
    assert PAGES.rows(Reader(shelf(1, 2, 3, total=lambda call: 100))) == 3
    assert PAGES.rows(Reader(shelf(*range(21), total=lambda call: 3))) == 21
    assert replace(PAGES, cap=6).rows(Reader(shelf(*range(9)))) == 9


# --- numbers of pages ---

NUMBERED = Numbered("/list", key="id", method="POST", size=2)


def sheets(*pages, again=None):
    "A service with numbered pages; `again` are the numbers of those that are empty the first time."
    again, met = {*(again or ())}, []

    def reply(request):
        number = request.body["pageNumber"]
        met.append(number)
        if number in again and met.count(number) == 1:
            return []
        return rows(*pages[number - 1]) if number <= len(pages) else []

    return Service(reply)


def numbers(service):
    return [request.body["pageNumber"] for request in service.asked]


def test_numbered_pages_end_with_two_empty_ones():
    service = sheets((1, 2), (3,))
    assert read(NUMBERED, service) == ([1, 2, 3], [])
    assert numbers(service) == [1, 2, 3, 4] and service.asked[0].body["pageSize"] == 2


def test_a_numbered_page_that_is_empty_once_is_asked_for_again():
    service = sheets((1, 2), (3, 4), (5,), again=[2])
    assert read(NUMBERED, service) == ([1, 2, 3, 4, 5], [])
    assert numbers(service) == [1, 2, 2, 3, 4, 5]


def test_a_service_that_ignores_the_number_of_a_page_is_told():
    service = Service(lambda request: rows(1, 2))
    came, doubts = read(NUMBERED, service)
    assert came == [1, 2]
    assert doubts == [
        "POST /list: page 2 brings nothing new; the list may be cut.",
        "POST /list: page 3 brings nothing new; the list may be cut.",
    ]
    assert numbers(service) == [1, 2, 2, 3, 3]


def test_numbered_pages_that_overlap_give_each_row_once_and_are_told():
    assert read(NUMBERED, sheets((1, 2), (3, 2), (4,))) == (
        [1, 2, 3, 4],
        ["POST /list: records of one page came again on another."],
    )


@pytest.mark.parametrize("pages", [((1,), (2, 3)), ((1, 2), (), (3, 4))], ids=["short", "empty"])
def test_rows_behind_a_numbered_page_that_lacks_some_are_told(pages):
    assert read(NUMBERED, sheets(*pages)) == (
        [row for page in pages for row in page],
        ["POST /list: there are rows behind a page that came short or empty."],
    )


def test_a_service_that_cuts_all_pages_alike_ends_with_a_shorter_one():
    listing = replace(NUMBERED, cuts_alike=True, size=100)
    service = sheets((1, 2, 3, 4), (5, 6, 7, 8), (9,))
    assert read(listing, service) == ([1, 2, 3, 4, 5, 6, 7, 8, 9], [])
    assert numbers(service) == [1, 2, 3]
    assert listing.calls(Reader(sheets((1, 2), (3,)))) == 2


@pytest.mark.parametrize(
    "third, asked",
    [((9, 10, 11), [1, 2, 3, 4, 5, 5]), ((9, 10), [1, 2, 3])],
    ids=["over half", "half"],
)
def test_a_page_that_lacks_some_of_what_all_others_had_may_not_be_the_last(third, asked):
    "The pages before prove how many rows the service gives: half of them and less is the end."
    listing = replace(NUMBERED, cuts_alike=True, size=100)
    service = sheets((1, 2, 3, 4), (5, 6, 7, 8), third, (12, 13, 14, 15))
    came, doubts = read(listing, service)
    assert numbers(service) == asked
    if 4 in asked:
        assert came == [*range(1, 16)]
        assert doubts == ["POST /list: there are rows behind a page that came short or empty."]
    else:
        assert (came, doubts) == ([*range(1, 11)], [])


# --- one for each of others ---

PARENTS = Whole("/parents", key="id")


def family(reply, *ids, **more):
    "A service with these parents; what belongs to one comes from `reply(id, request)`."

    def answer_to(request):
        if request.path == "/parents":
            return [{"id": id} | more for id in ids]
        return reply(request.path.rsplit("/", 1)[1], request)

    return Service(answer_to)


EACH = Each("/one/{}", parents=PARENTS, proof=says_id("id"), params={"all": "yes"})


def test_one_call_for_each_says_whose_it_is():
    service = family(lambda id, request: {"id": int(id)}, 7, 8)
    assert read(EACH, service) == (
        [{"parent": 7, "reply": {"id": 7}}, {"parent": 8, "reply": {"id": 8}}],
        [],
    )
    assert [request.path for request in service.asked] == ["/parents", "/one/7", "/one/8"]
    assert service.asked[1].params == {"all": "yes"}


def test_an_id_is_quoted_in_a_path():
    service = family(lambda id, request: {"id": "a/b c"}, "a/b c")
    assert len(read(EACH, service)[0]) == 1 and service.asked[1].path == "/one/a%2Fb%20c"


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"id": 9}, "it says id 9"),
        ({"id": True}, "it says id True"),
        ({"other": 1}, "it says id None"),
        ([{"id": 8}], "it is no object with fields"),
        ({}, "it is no object with fields"),
        (None, "it is no object with fields"),
        ((202, {"id": 8}), "it came with status 202"),
    ],
    ids=str,
)
def test_a_reply_for_another_is_asked_for_again_and_left_out(wrong, said):
    def reply(id, request):
        return {"id": "7"} if id == "7" else wrong

    service = family(reply, 7, 8)
    assert read(EACH, service) == (
        [{"parent": 7, "reply": {"id": "7"}}],
        [
            "GET /one/{}: 1 replies are not what was asked for and were left out, the first is "
            f"that of 8: {said}."
        ],
    )
    assert [request.path for request in service.asked].count("/one/8") == 2


def test_a_reply_that_is_right_the_second_time_leaves_no_doubt():
    def reply(id, request):
        return {"id": 7} if len(service.asked) > 2 else {"id": 9}

    service = family(reply, 7)
    assert read(EACH, service) == ([{"parent": 7, "reply": {"id": 7}}], [])


def refusing(reason):
    def reply(id, request):
        if id != "7":
            raise AccessError("no", reason)
        return {"id": 7, "rows": rows(70)}

    return family(reply, 5, 7, 8)


UNDER = Under(
    "/below/{}", key="id", parents=PARENTS, below=lambda id: Whole(f"/below/{id}", "rows", "id")
)


@pytest.mark.parametrize("reason", ["not_found", "forbidden"])
@pytest.mark.parametrize(
    "listing, has", [(EACH, {"parent": 7}), (UNDER, 70)], ids=["each", "under"]
)
def test_those_that_are_gone_are_counted_and_the_others_come(listing, has, reason):
    reader = Reader(refusing(reason), in_flight=1)
    (page,) = listing.pages(reader)
    (row,) = page.records()
    assert page.number == 1 and (row["id"] == 70 if has == 70 else row["parent"] == 7)
    assert reader.doubts == [
        f"{listing}: 2 of them are gone or hidden from this user, the first is 5."
    ]


@pytest.mark.parametrize("listing", [EACH, UNDER], ids=["each", "under"])
def test_any_other_refusal_is_raised(listing):
    with pytest.raises(AccessError) as caught:
        read(listing, refusing("blocked"))
    assert caught.value.reason == "blocked"


def test_the_id_that_a_reply_says_may_stand_deeper():
    proof = says_id("page", "id")
    assert proof(5, {"page": {"id": "5"}}) is None and proof("5", {"page": {"id": 5}}) is None
    assert proof(5, {"page": [5]}) == "it says page.id None"
    assert proof(5, {"page": {"id": 5.0}}) == "it says page.id 5.0"


# --- ids, and what belongs to them ---

ODD = [{"id": 5.0}, {"id": "x"}, {"id": ""}, {"id": None}, {"id": 2.5}, {"id": [1]}, {"n": 1}]


def test_ids_that_cannot_be_read_are_counted():
    reader = Reader(Service(lambda request: ODD))
    assert [*wanted(PARENTS, "id", reader)] == [5, "x"]
    assert reader.doubts == [
        "GET /parents: 5 records have no id that can be read; what belongs to them was not asked "
        "for."
    ]


def test_a_field_that_a_record_need_not_have_is_no_doubt():
    reader = Reader(Service(lambda request: [{"id": 1, "of": 7}, {"id": 2}, {"id": 3, "of": None}]))
    assert [*wanted(PARENTS, "of", reader)] == [7] and reader.doubts == []


def test_only_what_changed_since_is_wanted():
    listing = replace(PARENTS, changed="at")
    given = [("early", 999), ("edge", 1000), ("late", 1001), ("text", "1000"), ("odd", "x")]
    made = [{"id": id, "at": at} for id, at in given] + [{"id": "unknown"}]
    service = Service(lambda request: made)
    late = ["edge", "late", "text", "odd", "unknown"]
    assert [*wanted(listing, "id", Reader(service, since=1000))] == late
    assert [*wanted(listing, "id", Reader(service))] == ["early", *late]
    assert [*wanted(PARENTS, "id", Reader(service, since=1000))] == ["early", *late]


BULK = Bulk("/bulk", key="id", method="POST", ids=PARENTS, size=2)


def test_ids_are_asked_for_some_at_a_time_and_each_once():
    service = family(lambda _, request: rows(*request.body), 1, 2, 2, 3, 1)
    assert read(BULK, service) == ([1, 2, 3], [])
    assert [request.body for request in service.asked[1:]] == [[1, 2], [3]]
    assert BULK.calls(Reader(service)) == 1 + 3  # five rows, two at a time


def test_ids_may_stand_in_the_query():
    listing = replace(BULK, param="ids", method="GET")
    service = family(lambda _, request: rows(*request.params["ids"].split(",")), 1, 2, 3)
    assert read(listing, service) == (["1", "2", "3"], [])
    assert [request.params for request in service.asked[1:]] == [{"ids": "1,2"}, {"ids": "3"}]


def test_ids_that_bring_no_record_are_counted():
    service = family(lambda _, request: rows(*(id for id in request.body if id > 2)), 1, 2, 3)
    assert read(BULK, service) == (
        [3],
        ["POST /bulk: 2 of 3 ids brought no record; this user may not see them, or they are gone."],
    )


def test_records_that_nobody_asked_for_are_left_out_after_a_second_look():
    def reply(_, request):
        return [*rows(*request.body), {"id": 99}, {"id": request.body[0]}, {"n": 1}]

    service = family(reply, 1, 2)
    assert read(BULK, service) == ([1, 2, {"n": 1}], [])
    assert [request.body for request in service.asked[1:]] == [[1, 2], [1, 2]]


def test_an_estimate_counts_the_pages_below_each_record():
    service = family(lambda id, request: paged(int(id), request.params), 0, 1, 3, 4)

    def paged(count, position):
        first = position["offset"]
        return {"rows": rows(*range(count))[first : first + position["limit"]], "total": count}

    below = replace(
        UNDER,
        below=lambda id: Offset(f"/below/{id}", "rows", "id", size=2, total="total"),
    )
    assert below.own_calls(Reader(service, in_flight=1)) == 1 + 1 + 2 + 3
    assert below.calls(Reader(service, in_flight=1)) == 1 + 7


# --- where a list stands in a reply ---


@pytest.mark.parametrize(
    "value, places, found",
    [
        ({"a": {"b": [1]}}, "a.b", [1]),
        ([1, 2], "", [1, 2]),
        ({"a": [], "b": [2]}, ("a", "b"), [2]),
        ({"a": None, "b": []}, ("a", "b"), []),
        ({"a": [1], "b": [2]}, ("a", "b"), [1]),
        ({"b": [2]}, ("a", "b"), [2]),
        ({"m": {"x": [1], "y": [2, 3]}}, ("m.*",), [1, 2, 3]),
        ({"m": [4]}, ("m.*",), [4]),
    ],
)
def test_a_list_may_stand_in_several_places(value, places, found):
    assert json.loads(bytes(records_at(answer(value), places))) == found


@pytest.mark.parametrize(
    "value, status, places, reason",
    [
        ({"a": [1]}, 202, "a", "pending"),
        ({"b": [1]}, 200, "a", "no_list"),
        ({"a": None}, 200, ("a", "b"), "no_list"),
        ({"a": None}, 200, ("a",), "no_list"),
        ({"a": {"x": 1}}, 200, ("a",), "not_a_list"),
    ],
)
def test_where_no_list_stands_is_told(value, status, places, reason):
    with pytest.raises(DataError) as caught:
        records_at(answer(value, status), places)
    assert caught.value.reason == reason


# --- how a run reads ---


def test_times_that_are_turned_round_are_refused():
    with pytest.raises(SettingsError) as caught:
        Reader(None, since=2, until=1)
    assert caught.value.reason == "bad_range" and "Turn the two round" in str(caught.value)
    assert Reader(None, since=1, until=1).since == 1


@pytest.mark.parametrize(
    "seconds, said",
    [
        (0, "1 second"),
        (1.4, "1 second"),
        (2, "2 seconds"),
        (89, "89 seconds"),
        (91, "2 minutes"),
        (7100, "118 minutes"),
        (7200, "2 hours 0 minutes"),
        (90_000, "25 hours 0 minutes"),
    ],
)
def test_how_old_something_is_said_as_exactly_as_it_matters(seconds, said):
    assert age_of(seconds) == said


@pytest.mark.parametrize(
    "moment", ["soon", 5, "2024-13-01", object()], ids=["word", "number", "month 13", "object"]
)
def test_what_is_no_moment_is_refused(moment):
    with pytest.raises(SettingsError) as caught:
        millis(moment)
    assert caught.value.reason == "bad_moment" and "2024-04-01T06:00:00Z" in str(caught.value)


def test_things_come_in_their_order_and_not_too_many_are_under_way():
    begun = []
    for number, (item, made) in enumerate(ahead(range(20), lambda n: begun.append(n) or n * n, 4)):
        assert item == number and made == number * number
        assert len(begun) <= number + 4
    assert [*ahead([], str, 4)] == []


def test_the_first_page_is_asked_for_alone():
    begun = []
    pages = ahead(range(20), begun.append, 10)
    next(pages)
    assert begun == [0]
    pages.close()


def test_the_first_goes_alone_then_two_then_four_up_to_ten_at_once():
    taken, counts = [], []

    def items():
        for number in range(40):
            taken.append(number)
            yield number

    for _ in ahead(items(), str, 10):
        counts.append(len(taken))
    assert counts[:7] == [1, 3, 6, 11, 14, 15, 16] and counts[-1] == 40


@pytest.mark.parametrize("how, done_then", [("closed", [0, 1, 2]), ("collected", [0, 1])])
def test_who_leaves_early_waits_for_what_is_under_way_unless_python_collects_it(how, done_then):
    """In a collection, which may come in the middle of the start of a thread, a wait can last
    for ever."""
    go_on, done = threading.Event(), []

    def work(number):
        if number == 2:
            go_on.wait(20)
        done.append(number)

    pages = ahead(range(3), work, 4)
    assert [next(pages)[0], next(pages)[0]] == [0, 1]  # and 2 is under way
    if how == "closed":
        threading.Timer(0.1, go_on.set).start()
        pages.close()
    else:
        ring = [pages]
        ring.append(ring)
        del pages, ring
        gc.collect()
    assert done == done_then
    go_on.set()


def test_an_error_in_one_ends_all():
    with pytest.raises(ZeroDivisionError):
        [*ahead([1, 0, 1], lambda n: 1 / n, 2)]


def test_a_whole_list_for_a_cell_says_what_is_missing_as_a_warning():
    listing = replace(PAGES, cap=6)
    with pytest.warns(UserWarning, match="6 records came, where the service counts 8"):
        made = all_of(shelf(*range(8)), listing)
    assert made.response == rows(*range(6)) and made.is_success
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all_of(shelf(1, 2, 3), PAGES).response == rows(1, 2, 3)
        assert all_of(Service(lambda request: rows(1)), PARENTS).response == rows(1)


def test_a_whole_list_that_is_none_is_told():
    with pytest.raises(DataError) as caught:
        all_of(Service(lambda request: {"error": "no"}), PARENTS)
    assert caught.value.reason == "not_a_list"


def test_a_look_ahead_asks_for_nothing_twice():
    service = family(lambda id, request: {"id": int(id)}, 7, 8, 9)
    scout = EstimatingReader(service)
    assert scout.costs([EACH, BULK]) == {EACH: 3, BULK: 2, PARENTS: 1}
    assert len(service.asked) == 1


def test_a_list_that_does_not_tell_its_end_is_asked_once_more_by_each_reader():
    above = replace(PAGES, total="")
    listing = replace(EACH, parents=above)

    def reply(request):
        first, size = request.params["offset"], request.params["limit"]
        return {"rows": rows(1, 2, 3)[first : first + size]}

    alone = EstimatingReader(Service(reply)).costs([listing])[above]
    assert EstimatingReader(Service(reply)).costs([listing, replace(listing)])[above] == alone + 1


# --- a search that shows only so many ---

BORN = 1_600_000_000_000
SEARCH = Search(
    "/search",
    "rows",
    "id",
    method="POST",
    in_body=True,
    body={"q": "*"},
    size=2,
    names=("offset", "count"),
    total="total",
    cap=4,
    owner="of",
    owners=((Whole("/owners", key="id"), "id"),),
)


def library(*records, heeds=("create_date", "of"), refuses=None, owners=(1, 2, 3)):
    """A service with records (id, moment, owner) that heeds these filters, and never shows more
    than four of them."""

    def reply(request):
        if request.path == "/owners":
            return rows(*owners)
        found = records
        for one in request.body.get("filters", ()):
            if refuses and one["field"] == refuses[0]:
                raise DataError("no such field", refuses[1])
            if one["field"] not in heeds:
                continue
            if one["filterType"] == "term":
                found = [record for record in found if str(record[2]) == one["value"]]
            else:
                found = [record for record in found if one["from"] <= record[1] < one["to"]]
        first, size = request.body["offset"], request.body["count"]
        assert first + size <= 4, "beyond the cap"
        return {
            "rows": rows(*(id for id, _, _ in found[first : first + size])),
            "total": len(found),
        }

    return Service(reply)


def filters(service):
    return [
        request.body["filters"]
        for request in service.asked
        if request.body and "filters" in request.body
    ]


def test_a_search_with_few_results_is_read_as_it_is():
    service = library((1, BORN, 1), (2, BORN, 1), (3, BORN, 2))
    assert read(SEARCH, service) == ([1, 2, 3], []) and not filters(service)
    assert [(one.body["offset"], one.body["count"]) for one in service.asked] == [
        (0, 1),
        (0, 2),
        (2, 2),
    ]
    assert SEARCH.calls(Reader(service)) == 3


@pytest.mark.parametrize("many", [4, 6])
def test_a_search_that_reaches_its_cap_is_cut_by_date(many):
    service = library(*[(id, BORN + 1000 * id, 1) for id in range(many)])
    came, doubts = read(SEARCH, service)
    assert sorted(came) == [*range(many)] and doubts == []
    assert {one[0]["field"] for one in filters(service)} == {"create_date"}


def test_another_spelling_of_the_date_is_tried_where_the_first_is_refused_or_not_heeded():
    records = [(id, BORN + 1000 * id, 1) for id in range(6)]
    refusing = library(*records, heeds=["createDate"], refuses=("create_date", "bad_request"))
    for service in (refusing, library(*records, heeds=["createDate"])):
        came, doubts = read(SEARCH, service)
        assert sorted(came) == [*range(6)] and doubts == []
    with pytest.raises(DataError) as caught:
        read(SEARCH, library(*records, refuses=("create_date", "html")))
    assert caught.value.reason == "html"


def test_a_search_that_heeds_no_date_is_cut_by_owner():
    service = library(*[(id, BORN, 1 + id % 3) for id in range(6)], heeds=["of"])
    came, doubts = read(SEARCH, service)
    assert sorted(came) == [*range(6)] and doubts == []
    pieces = [one[0]["value"] for one in filters(service) if one[0]["filterType"] == "term"]
    assert [*dict.fromkeys(pieces)] == ["1", "2", "3"]


def test_too_many_of_one_millisecond_are_cut_by_owner():
    service = library(*[(id, BORN, 1 + id % 3) for id in range(6)])
    came, doubts = read(SEARCH, service)
    assert sorted(came) == [*range(6)] and doubts == []
    assert any([two["field"] for two in one] == ["create_date", "of"] for one in filters(service))


def test_a_search_that_cannot_be_cut_says_how_many_are_missing():
    came, doubts = read(SEARCH, library(*[(id, BORN, 1) for id in range(6)], heeds=[]))
    assert came == [0, 1, 2, 3]
    assert doubts == [
        "POST /search: 4 records came, where the service counts 6.",
        "POST /search: 6 records are counted, and 4 of them came in pieces below the cap of 4; 2 "
        "are missing.",
    ]


def test_records_of_owners_that_nobody_knows_are_missing_and_told():
    service = library(*[(id, BORN, 1 + id % 3) for id in range(6)], heeds=["of"], owners=(1, 2))
    came, doubts = read(SEARCH, service)
    assert sorted(came) == [0, 1, 3, 4]
    assert doubts == [
        "POST /search: 6 records are counted, and 4 of them came in pieces below the cap of 4; 2 "
        "are missing."
    ]


def test_records_that_come_in_two_pieces_are_told():
    service = library(
        *[(id, BORN, 1 + id % 3) for id in range(6)], heeds=["of"], owners=(1, 2, 3, 1)
    )
    assert len(read(SEARCH, service)[0]) == 8
    assert read(SEARCH, service)[1] == [
        "POST /search: 6 records are counted, and 8 came in pieces; some may have come more than "
        "once."
    ]
