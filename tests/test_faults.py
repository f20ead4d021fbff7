"""Every fault against every way to read a list, one request at a time and ten: complete, or told; never silently short, never doubled."""

import http.server
import json
import threading
from collections import Counter
from dataclasses import replace
from datetime import datetime

import pytest

from domostats import sandbox
from domostats.clients.domo.activity import ACTIVITY_LOG
from domostats.clients.domo.auth import AccessToken, Session
from domostats.clients.domo.certifications import CERTIFIED_DATASETS
from domostats.clients.domo.datasets import DATASET_SEARCH, DATASETS
from domostats.clients.domo.groups import GROUPS
from domostats.clients.domo.pages import PAGE_ACCESS, PAGES
from domostats.clients.domo.users import IDENTITY_USERS, USERS
from domostats.errors import AccessError, DataError, DomostatsError, RetryLaterError
from domostats.transport.connection import Connection
from domostats.transport.paging import Reader, millis

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
KEYS = {"each": "parent", "windows": None, "cursor": None}
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
MOVING = "repeated_page", "short_page", "ignored_paging", "shifted", "grown"


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    "One instance for all of these tests, with lists of some forty rows (of datasets ten times as many, one in ten of them certified)."
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        with sandbox.start(
            users=42, accounts=3, groups=44, datasets=430, pages=43, events=50, today="2024-04-01"
        ) as running:
            yield running


@pytest.fixture(scope="module")
def whole(big):
    "What an undisturbed read gives, by style."
    read = {}
    for style, listing in STYLES.items():
        reader = reader_of(big, 1)
        read[style] = keys_of(style, listing.pages(reader))
        assert len(read[style]) > 40 and not reader.doubts and max(read[style].values()) <= 2
    return read


@pytest.fixture
def box(big):
    big.calls.clear()
    yield big
    big.heal()
    big.fired.clear()
    big.domo.last.clear()


def reader_of(box, in_flight, auth=None):
    return Reader(
        Connection(box, auth or AccessToken(box.access_token, instance=box)),
        in_flight=in_flight,
        **SPAN,
    )


def keys_of(style, pages):
    "How often each record came, by its key (the record itself where it has none)."
    name = KEYS.get(style, STYLES[style].key)
    return Counter(
        json.dumps(record, sort_keys=True) if name is None else record[name]
        for page in pages
        for record in page.records()
    )


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


@pytest.mark.parametrize("fault", [*PASSING, "slow"])
@pytest.mark.parametrize("style, in_flight, after", CASES)
def test_what_passes_leaves_no_trace(box, whole, style, in_flight, after, fault):
    put(box, fault, style, after, seconds=0.02 if fault == "slow" else None)
    reader = reader_of(box, in_flight)
    assert keys_of(style, STYLES[style].pages(reader)) == whole[style] and not reader.doubts
    assert box.fired == {fault: 1} and reader.connection.calls.repeated == (fault != "slow")


@pytest.mark.parametrize("style, in_flight, after", CASES)
def test_an_expired_session_leaves_no_trace(box, whole, style, in_flight, after):
    put(box, "expired", style, after)
    reader = reader_of(box, in_flight, Session(box, box.username, box.password))
    assert (
        keys_of(style, STYLES[style].pages(reader)) == whole[style]
        and not reader.doubts
        and box.fired == {"expired": 1}
    )


@pytest.mark.parametrize("fault", LASTING)
@pytest.mark.parametrize("style, in_flight, after", CASES)
def test_what_lasts_is_told_and_asked_once(box, whole, style, in_flight, after, fault):
    put(box, fault, style, after)
    reader = reader_of(box, in_flight)
    if style == "each" and fault in (
        "forbidden",
        "not_found",
    ):  # one page that is gone is no reason to give up the others
        came = keys_of(style, STYLES[style].pages(reader))
        assert (
            sum((whole[style] - came).values()) == 1
            and not came - whole[style]
            and len(reader.doubts) == 1
        )
    else:
        with pytest.raises(DomostatsError) as caught:
            keys_of(style, STYLES[style].pages(reader))
        assert caught.value.reason == LASTING[fault] and isinstance(
            caught.value, (AccessError, DataError, RetryLaterError)
        )
    assert box.fired == {fault: 1} and reader.connection.calls.repeated == 0


# Three things cannot be noticed by anybody, and are left out: a list without a total whose rows move up while it is read (`shifted`); a list that comes in one
# piece and is short; and in the log, whose events have no key and some of which are alike, a page that has moved by a row while the count stayed the same.
def unnoticeable(style, fault):
    return (
        fault == "shifted"
        and style in ("offset", "wrapped", "skip", "cursor", "windows")
        or fault == "short_page"
        and style == "whole"
        or fault == "grown"
        and style == "windows"
    )


MOVED = [
    pytest.param(
        style,
        in_flight,
        after,
        fault,
        id=f"{style}-{'one' if in_flight == 1 else 'ten'}-after{after}-{fault}",
    )
    for style in STYLES
    for in_flight in (1, 10)
    for after in ((0,) if style == "whole" else (0, 1, 4))
    for fault in MOVING
    if not unnoticeable(style, fault)
]


@pytest.mark.parametrize("style, in_flight, after, fault", MOVED)
def test_a_page_that_is_not_what_was_asked_for_is_made_good_or_told(
    box, whole, style, in_flight, after, fault
):
    put(box, fault, style, after)
    reader = reader_of(box, in_flight)
    came = keys_of(style, STYLES[style].pages(reader))
    assert box.fired == {fault: 1} and not came - whole[style]
    assert came == whole[style] or reader.doubts
    if (
        fault == "repeated_page"
        and style != "windows"
        or fault == "short_page"
        and style not in ("bulk", "windows")
    ):
        assert came == whole[style] and not reader.doubts


@pytest.mark.parametrize(
    "style, in_flight, after, fault",
    [case for case in MOVED if case.values[2] == 4 and case.values[3] != "grown"],
)
def test_a_service_that_goes_on_like_that_is_told(box, whole, style, in_flight, after, fault):
    put(box, fault, style, after, times=None)
    reader = reader_of(box, in_flight)
    came = keys_of(style, STYLES[style].pages(reader))
    assert box.fired[fault] and reader.connection.calls.total < 200
    assert came == whole[style] or reader.doubts


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
