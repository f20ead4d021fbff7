"""Every fault against every way to read a list, one request at a time and ten: complete, or
told; never silently short, never doubled."""

import http.server
import json
import re
import threading
from collections import Counter
from dataclasses import replace
from datetime import datetime

import pytest

from domostats import sandbox
from domostats.clients.domo.activity import ACTIVITY_LOG
from domostats.clients.domo.certifications import CERTIFIED_DATASETS
from domostats.clients.domo.credentials import AccessToken
from domostats.clients.domo.datasets import DATASET_SEARCH, DATASETS
from domostats.clients.domo.groups import GROUPS
from domostats.clients.domo.pages import PAGE_ACCESS, PAGES
from domostats.clients.domo.session import Session
from domostats.clients.domo.users import IDENTITY_USERS, USERS
from domostats.errors import AccessError, DataError, DomostatsError, RetryLaterError
from domostats.transport.connection import Connection
from domostats.transport.reader import Reader, millis

STYLES = {
    "whole": USERS,
    "offset": replace(GROUPS, size=3),  # a bare array, no total
    "wrapped": replace(IDENTITY_USERS, size=3),  # an array inside of an object, no total
    "skip": replace(PAGES, size=3),  # position in the query, and a body beside it
    "total": replace(DATASET_SEARCH, size=30),  # position in the body, and a total
    "cursor": replace(CERTIFIED_DATASETS, size=3),  # a bookmark from page to page
    "bulk": replace(DATASETS, size=30, ids=replace(DATASET_SEARCH, size=200)),
    "each": replace(PAGE_ACCESS, parents=replace(PAGES, size=20)),
    "windows": replace(ACTIVITY_LOG, size=3, most=30),
}
KEYS = {"each": None, "windows": None, "cursor": None}
SPAN = {"since": millis(datetime(2000, 1, 1)), "until": millis(datetime(2100, 1, 1))}

PASSING = {
    "cut": "cut",
    "reset": "cut",
    "drop": "cut",
    "truncated": "truncated",
    "rate_limited": "rate_limited",
    "rate_limited_bare": "rate_limited",
    "rate_limited_date": "rate_limited",
    "bad_gateway": "unavailable",
    "unavailable": "unavailable",
    "gateway_timeout": "unavailable",
}
LASTING = {
    "blocked": "blocked",
    "html": "html",
    "empty": "empty",
    "not_json": "not_json",
    "server_error": "server_error",
    "forbidden": "forbidden",
    "not_found": "not_found",
    "moved": "redirected",
}


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """One instance for all of these tests, with lists of some forty rows (of datasets ten times
    as many, one in ten of them certified)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        with sandbox.start(
            users=42, accounts=3, groups=44, datasets=430, pages=43, events=50, today="2024-04-01"
        ) as running:
            yield running


LENGTHS = {"whole": 42, "offset": 44, "wrapped": 42, "skip": 43, "total": 430, "cursor": 43}
LENGTHS |= {"bulk": 430, "each": 43, "windows": 50}


@pytest.fixture(scope="module")
def rows(big):
    "The rows of an undisturbed read by style, in their order."
    read = {}
    for style, listing in STYLES.items():
        reader = reader_of(big, 1)
        read[style] = rows_of(style, listing.pages(reader))
        assert len(read[style]) == LENGTHS[style] and not reader.doubts
        assert max(Counter(read[style]).values()) == (2 if style == "windows" else 1)
    return read


@pytest.fixture(scope="module")
def whole(rows):
    "What an undisturbed read gives, by style: how often each row came."
    return {style: Counter(read) for style, read in rows.items()}


@pytest.fixture
def box(big):
    big.calls.clear()
    big.fired.clear()
    big.domo.last.clear()  # what another test asked for is nothing to repeat
    yield big
    big.heal()


def reader_of(box, in_flight, auth=None):
    return Reader(
        Connection(box, auth or AccessToken(box.access_token, instance=box)),
        in_flight=in_flight,
        **SPAN,
    )


def rows_of(style, pages):
    "The keys of the records in their order (the record itself where it has none)."
    name = KEYS.get(style, STYLES[style].key)
    return [
        json.dumps(record, sort_keys=True) if name is None else record[name]
        for page in pages
        for record in page.records()
    ]


def keys_of(style, pages):
    "How often each record came, by its key."
    return Counter(rows_of(style, pages))


def path_of(style):
    return STYLES[style].path.split("{")[0]


def calls_of(box, path):
    return sum(called.startswith(path) for _, called, _ in box.calls)


CASES = [
    pytest.param(
        style,
        in_flight,
        after,
        id=f"{style}-{'one' if in_flight == 1 else 'ten'}-{'middle' if after else 'first'}",
    )
    for style in STYLES
    for in_flight, after in (((1, 0),) if style == "whole" else ((1, 0), (1, 6), (10, 0), (10, 4)))
]


def put(box, fault, style, after, **how):
    box.fail(fault, path_of(style), after=after, **how)


@pytest.mark.sampled(16)
@pytest.mark.parametrize("fault", [*PASSING, "slow"])
@pytest.mark.parametrize("style, in_flight, after", CASES)
def test_what_passes_leaves_no_trace(box, whole, style, in_flight, after, fault):
    put(box, fault, style, after, seconds=0.02 if fault == "slow" else None)
    reader = reader_of(box, in_flight)
    assert keys_of(style, STYLES[style].pages(reader)) == whole[style] and not reader.doubts
    assert box.fired == {fault: 1} and reader.connection.calls.repeated == (fault != "slow")


@pytest.mark.sampled(5)
@pytest.mark.parametrize("style, in_flight, after", CASES)
def test_an_expired_session_leaves_no_trace(box, whole, style, in_flight, after):
    put(box, "expired", style, after)
    reader = reader_of(box, in_flight, Session(box, box.username, box.password))
    assert (
        keys_of(style, STYLES[style].pages(reader)) == whole[style]
        and not reader.doubts
        and box.fired == {"expired": 1}
    )


@pytest.mark.sampled(12)
@pytest.mark.parametrize("fault", LASTING)
@pytest.mark.parametrize("style, in_flight, after", CASES)
def test_what_lasts_is_told_and_asked_once(box, rows, whole, style, in_flight, after, fault):
    put(box, fault, style, after)
    reader = reader_of(box, in_flight)
    if style == "each" and fault in (
        "forbidden",
        "not_found",
    ):  # one page that is gone is no reason to give up the others
        came = keys_of(style, STYLES[style].pages(reader))
        (lost,) = lost_rows(rows[style], whole[style], came)
        assert in_flight == 10 or lost == after
        page = json.loads(rows[style][lost])["parent"]
        assert said(style, reader) == [
            f"1 of them are gone or hidden from this user, the first is {page}."
        ]
    else:
        with pytest.raises(DomostatsError) as caught:
            keys_of(style, STYLES[style].pages(reader))
        assert caught.value.reason == LASTING[fault] and isinstance(
            caught.value, (AccessError, DataError, RetryLaterError)
        )
    assert box.fired == {fault: 1} and reader.connection.calls.repeated == 0


# Some things cannot be noticed by anybody, and are left out: a list without a total whose rows move
# up while it is read (`shifted`); a list that comes in one piece and is short; in the log, whose
# events have no key and some of which are alike, a page that has moved by a row while the count
# stayed the same (`grown`); and who has a page by himself, where he has it by a group too. What
# changes nothing is left out as well: the first page has none before it to be repeated, nothing
# grows in front of it, and a list that has no pages ignores none.

IGNORES = "the page from row {} on brings nothing new; the service seems to ignore {!r}."
TWICE = "records of one page came again on another: the list changed while it was read."
COUNTS = "{} records came, where the service counts {}."
ABSENT = "{} of 430 ids brought no record; this user may not see them, or they are gone."
AGAIN = "a page came short, or was one from before, and again so; the list may be cut."
BEHIND = "there are rows behind a page that came short; rows may be hidden from this user."
NOTHING = "a page brings nothing new; the list may be cut."
BOOKMARK = "more follows, and its bookmark is {!r}; the list may be cut."
UNRELIABLE = (
    "a window counts 50 events and has 0; the counts are not to be relied on, and the rest was "
    "read without them."
)
NONE = range(0)
REPEATED, SHORT, IGNORED = "repeated_page", "short_page", "ignored_paging"

# How many calls go well before, what goes wrong once, which rows are missing then, what is said.
ONCE = {
    **dict.fromkeys(
        ("offset", "wrapped"),
        [
            *[(after, REPEATED, NONE, []) for after in (1, 4)],
            *[(after, SHORT, NONE, []) for after in (0, 1, 4)],
            *[(after, IGNORED, NONE, []) for after in (1, 4)],
            (0, IGNORED, NONE, [IGNORES.format(3, "offset")]),  # all of it came at once
            (1, "grown", [5], [TWICE]),
            (4, "grown", [14], [TWICE]),
        ],
    ),
    "skip": [
        *[(after, REPEATED, NONE, []) for after in (1, 4)],
        *[(after, SHORT, NONE, []) for after in (0, 1, 4)],
        *[(after, IGNORED, NONE, []) for after in (1, 4)],
        (0, IGNORED, range(35, 43), [IGNORES.format(3, "skip")]),  # it gives 35 at a time
        (1, "grown", [5], [TWICE]),
        (4, "grown", [14], [TWICE]),
    ],
    "total": [  # the first call asks for the total only
        *[(after, REPEATED, NONE, []) for after in (1, 2, 4)],
        *[(after, SHORT, NONE, []) for after in (1, 4)],
        *[(after, IGNORED, NONE, []) for after in (0, 1, 4)],
        (1, "shifted", [0], [TWICE, COUNTS.format(429, 430)]),
        (4, "shifted", [90], [TWICE, COUNTS.format(429, 430)]),
        (2, "grown", [59], [TWICE, COUNTS.format(429, 430)]),
        (4, "grown", [119], [TWICE, COUNTS.format(429, 430)]),
    ],
    "cursor": [
        *[(after, REPEATED, NONE, []) for after in (1, 4)],
        *[(after, SHORT, NONE, []) for after in (0, 1, 4)],
        *[(after, IGNORED, NONE, []) for after in (1, 4)],
        (0, IGNORED, NONE, [AGAIN, BEHIND]),
        *[(after, "grown", NONE, [TWICE]) for after in (1, 4)],
    ],
    "bulk": [
        *[(after, REPEATED, NONE, []) for after in (1, 4)],
        (0, SHORT, range(15, 30), [ABSENT.format(15)]),
        (1, SHORT, range(45, 60), [ABSENT.format(15)]),
        (4, SHORT, range(135, 150), [ABSENT.format(15)]),
    ],
    "each": [(after, SHORT, NONE, []) for after in (1, 8)],
    "windows": [  # calls 6 and 8 are pages of one window, calls 1 and 5 are counts
        *[(after, fault, NONE, []) for after in (6, 8) for fault in (REPEATED, SHORT, IGNORED)],
        (1, REPEATED, NONE, [COUNTS.format(0, 50), UNRELIABLE]),
        (5, REPEATED, NONE, [COUNTS.format(15, 0), COUNTS.format(0, 15)]),
    ],
}

# The same where it goes on like that from some call on.
EVER = {
    **dict.fromkeys(
        ("offset", "wrapped"),
        [
            (4, REPEATED, range(12, 44), [IGNORES.format(12, "offset")]),
            (4, IGNORED, range(12, 44), [IGNORES.format(12, "offset")]),
            (4, SHORT, NONE, []),
        ],
    ),
    "skip": [
        (4, REPEATED, range(12, 43), [IGNORES.format(12, "skip")]),
        (4, IGNORED, range(12, 43), [IGNORES.format(12, "skip")]),
        (4, SHORT, NONE, []),
    ],
    "total": [
        (4, REPEATED, range(90, 430), [IGNORES.format(90, "offset"), COUNTS.format(90, 430)]),
        (4, IGNORED, range(90, 430), [IGNORES.format(90, "offset"), COUNTS.format(90, 430)]),
        (4, SHORT, NONE, []),
        (4, "shifted", [90], [COUNTS.format(429, 430)]),
    ],
    "cursor": [
        (4, REPEATED, range(12, 43), [AGAIN, NOTHING, BOOKMARK.format("12")]),
        (4, IGNORED, range(12, 43), [AGAIN, NOTHING, BEHIND, BOOKMARK.format("25")]),
        (4, SHORT, range(14, 43, 3), [AGAIN, BEHIND]),
    ],
    "bulk": [
        (4, REPEATED, range(120, 430), [ABSENT.format(310)]),
        (
            4,
            SHORT,
            [row for row in range(120, 420) if row % 30 >= 15] + [*range(425, 430)],
            [ABSENT.format(155)],
        ),
    ],
    "windows": [(8, IGNORED, range(6, 15), [IGNORES.format(6, "offset"), COUNTS.format(6, 15)])],
}


def cases(table):
    return [
        pytest.param(style, *case, id=f"{style}-after{case[0]}-{case[1]}")
        for style, them in table.items()
        for case in them
    ]


def said(style, reader):
    "What a reader says is in doubt, each without the name of the list."
    name = f"{STYLES[style].method} {STYLES[style].path}: "
    assert all(doubt.startswith(name) for doubt in reader.doubts)
    return [doubt.removeprefix(name) for doubt in reader.doubts]


def lost_rows(rows, whole, came):
    "The places of the rows that did not come; that nothing came which is not there."
    assert not came - whole
    missing = whole - came
    return [place for place, row in enumerate(rows) if row in missing]


@pytest.mark.sampled(6)
@pytest.mark.parametrize("style, after, fault, lost, doubts", cases(ONCE))
def test_a_page_that_is_not_what_was_asked_for_is_made_good_or_told(
    box, rows, whole, style, after, fault, lost, doubts
):
    put(box, fault, style, after)
    reader = reader_of(box, 1)
    came = keys_of(style, STYLES[style].pages(reader))
    assert box.fired == {fault: 1}
    assert lost_rows(rows[style], whole[style], came) == [*lost]
    assert said(style, reader) == doubts


@pytest.mark.sampled(6)
@pytest.mark.parametrize("style, after, fault, lost, doubts", cases(ONCE))
def test_of_ten_pages_under_way_any_may_be_another_than_was_asked_for(
    box, rows, whole, style, after, fault, lost, doubts
):
    put(box, fault, style, after)
    reader = reader_of(box, 10)
    came = keys_of(style, STYLES[style].pages(reader))
    assert box.fired == {fault: 1}
    assert len(lost_rows(rows[style], whole[style], came)) == len(lost)
    assert said(style, reader) == doubts


@pytest.mark.sampled(4)
@pytest.mark.parametrize("style, after, fault, lost, doubts", cases(EVER))
def test_a_service_that_goes_on_like_that_is_told(
    box, rows, whole, style, after, fault, lost, doubts
):
    put(box, fault, style, after, times=None)
    reader = reader_of(box, 1)
    came = keys_of(style, STYLES[style].pages(reader))
    assert box.fired[fault] and reader.connection.calls.total < 200
    lost = [place for place in lost if place < len(rows[style])]
    assert lost_rows(rows[style], whole[style], came) == lost
    assert said(style, reader) == doubts


@pytest.mark.sampled(4)
@pytest.mark.parametrize("style, after, fault, lost, doubts", cases(EVER))
def test_a_service_that_goes_on_like_that_is_told_by_ten_pages_under_way(
    box, rows, whole, style, after, fault, lost, doubts
):
    put(box, fault, style, after, times=None)
    reader = reader_of(box, 10)
    came = keys_of(style, STYLES[style].pages(reader))
    assert box.fired[fault] and reader.connection.calls.total < 200
    assert bool(lost_rows(rows[style], whole[style], came)) == bool([*lost])
    known = [IGNORES, TWICE, COUNTS, ABSENT, AGAIN, BEHIND, NOTHING, BOOKMARK]
    kinds = [without_numbers(kind) for kind in known]
    expected = {kind for kind in kinds for doubt in doubts if kind in without_numbers(doubt)}
    found = {
        kind for kind in kinds for doubt in said(style, reader) if kind in without_numbers(doubt)
    }
    assert expected <= found and bool(reader.doubts) == bool(doubts)


def test_whose_reply_counts_more_people_than_it_has_is_left_out_and_told(box, rows, whole):
    put(box, SHORT, "each", 4, times=None)
    reader = reader_of(box, 1)
    came = [record["parent"] for page in STYLES["each"].pages(reader) for record in page.records()]
    pages = [json.loads(row)["parent"] for row in rows["each"]]
    lost = [place for place, page in enumerate(pages) if page not in came]
    assert lost == [8, 10, 13, 18, 19, 23, 24, 26, 27, 28, 30, 34, 41, 42]
    assert said("each", reader) == [
        "14 replies are not what was asked for and were left out, the first is that of "
        "1022651224: it counts 15 people and has 14."
    ]


def without_numbers(sentence):
    "A sentence up to its second number, without numbers: what kind of doubt it is."
    return re.sub(r"\{[^}]*\}|'?\d+'?", "#", sentence)


@pytest.mark.sampled(6)
@pytest.mark.parametrize("fault", PASSING)
@pytest.mark.parametrize("style", STYLES)
def test_what_does_not_pass_ends_after_five_attempts(box, whole, style, fault):
    put(box, fault, style, 0, times=None)
    reader = reader_of(box, 1)
    with pytest.raises(DomostatsError) as caught:
        keys_of(style, STYLES[style].pages(reader))
    assert (
        caught.value.reason == PASSING[fault]
        and "tried 5 times" in str(caught.value)
        and box.fired == {fault: 5}
    )


@pytest.mark.parametrize("in_flight", [1, 10], ids=["one", "ten"])
def test_a_closed_network_is_not_knocked_at_twice(box, whole, in_flight):
    put(box, "blocked", "offset", 0, times=None)
    with pytest.raises(AccessError) as caught:
        keys_of("offset", STYLES["offset"].pages(reader_of(box, in_flight)))
    assert caught.value.reason == "blocked" and len(box.calls) == 1


@pytest.mark.parametrize(
    "fault, sent",
    [
        ("cut", 1),
        ("reset", 1),
        ("drop", 1),
        ("truncated", 1),
        ("unavailable", 1),
        ("bad_gateway", 1),
        ("gateway_timeout", 1),
        ("rate_limited", 2),
        ("rate_limited_bare", 2),
        ("rate_limited_date", 2),
    ],
)
def test_what_writes_is_sent_again_only_when_it_was_not_heard(box, fault, sent):
    path = "/api/content/v1/pages/adminsummary"
    box.fail(fault, path)
    connection = reader_of(box, 1).connection
    if sent == 1:
        with pytest.raises(DomostatsError) as caught:
            connection.post(path, {"orderBy": "pageTitle"})
        assert caught.value.reason == PASSING[fault]
    else:
        assert connection.post(path, {"orderBy": "pageTitle"}).is_success
    assert calls_of(box, path) == sent and box.fired == {fault: 1}


@pytest.fixture
def elsewhere():
    "Another server on this machine; gives its address and what it heard."
    heard = []

    class Ear(http.server.BaseHTTPRequestHandler):
        def hear(self):
            heard.append((self.command, self.path, dict(self.headers)))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"[]")

        do_GET = do_POST = do_PUT = do_HEAD = hear

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ear) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", heard
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("kind", ["token", "session", "sign_in"])
@pytest.mark.parametrize("style", ["whole", "offset", "total", "each"])
def test_a_redirect_to_another_host_is_not_followed(box, elsewhere, kind, style):
    box.faults.location, heard = elsewhere
    box.fail(
        "moved",
        "/api/content/v2/authentication" if kind == "sign_in" else path_of(style),
        times=None,
    )
    reader = reader_of(
        box, 10, None if kind == "token" else Session(box, box.username, box.password)
    )
    with pytest.raises(AccessError) as caught:
        keys_of(style, STYLES[style].pages(reader))
    assert caught.value.reason == "redirected" and box.fired["moved"] and not heard
