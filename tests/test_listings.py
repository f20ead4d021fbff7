"""Every way to read a list against a service that hides, shortens, repeats and miscounts:
complete, or told; never silently short, never doubled."""

import json
import threading
from collections import Counter
from dataclasses import replace
from datetime import datetime
from itertools import pairwise

import pytest
from expected import expectations
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from domostats import reports, sandbox
from domostats.clients.domo.auth import sign_in
from domostats.clients.domo.datasets import DATASET_SEARCH
from domostats.clients.domo.groups import GROUPS
from domostats.clients.domo.pages import PAGE_ACCESS, PAGES
from domostats.clients.domo.users import IDENTITY_USERS
from domostats.errors import DataError, DomostatsError, RetryLaterError
from domostats.transport.answer import Answer, mend_answer
from domostats.transport.bulk import Bulk
from domostats.transport.by_parent import Each, Under
from domostats.transport.cursor import Cursor
from domostats.transport.events import Events
from domostats.transport.listing import Whole
from domostats.transport.numbered import Numbered
from domostats.transport.offset import Offset
from domostats.transport.pages import records_at
from domostats.transport.reader import Reader
from domostats.transport.search import Search

REPORTS = {name: one for name, one in expectations().items() if one.platform == "domo"}
MANY = settings(max_examples=60, deadline=None)


class Service:
    """The service's side of every list, as a function from a request to a status and a value.

    `ids` are the records, those in `hidden` are taken out of a page after it was cut. `claim` makes
    of a true count what the service says. `faults` is a dict from a place (offset, page number,
    bookmark, parent ...) to what goes wrong there: once, or always with `lasting`.
    """

    def __init__(self, ids, hidden=(), claim=None, faults=None, lasting=False, most=None):
        self.ids = [*ids]
        self.hidden = set(hidden)
        self.claim = claim or (lambda true: true)
        self.faults = faults or {}
        self.lasting = lasting
        self.most = most
        self.met = set()
        self.asked = 0
        self.lock = threading.Lock()

    def ask(self, request, debug_api=False):
        with self.lock:
            self.asked += 1
            assert self.asked < 3_000, "the reading has no end"
        kind = request.path.split("/")[1]
        position = {**(request.params or {}), **(request.body or {})} if kind != "bulk" else {}
        status, value = getattr(self, kind)(request, position)
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        return Answer(request.method, request.path, status, content, {}, 0.0)

    def page(self, rows, place, first, size, key=lambda row: row["id"]):
        """The rows of a page that begins at number `first`, as they are sent; None for a reply
        that is no page."""
        size = min(size, self.most or size)
        found = [row for row in rows[first : first + size] if key(row) not in self.hidden]
        with self.lock:
            fault = self.faults.get(place)
            if fault and not self.lasting and place in self.met:
                fault = None
            self.met.add(place)
        if fault == "failed":
            raise RetryLaterError("The service is not there. Try again.", "unavailable")
        if fault == "null":
            return None
        if fault == "empty":
            return []
        if fault == "half":
            return found[: (len(found) + 1) // 2]
        if fault == "headless":
            return found[1:]
        if fault == "repeated":
            return [row for row in rows[:size] if key(row) not in self.hidden]
        return found

    def records(self):
        return [{"id": id} for id in self.ids]

    def visible(self):
        return [id for id in self.ids if id not in self.hidden]

    def whole(self, request, position):
        return 200, self.page(self.records(), 0, 0, len(self.ids))

    def offset(self, request, position):
        rows = self.page(self.records(), position["offset"], position["offset"], position["limit"])
        return 200, {"rows": rows, "about": {"count": self.claim(len(self.visible()))}}

    def numbered(self, request, position):
        number, size = position["pageNumber"], min(position["pageSize"], self.most or 1000)
        return 200, self.page(self.records(), number, (number - 1) * size, size)

    def cursor(self, request, position):
        first, size = position["after"] or 0, position["first"]
        rows = self.page(self.records(), first, first, size)
        end = first + min(size, self.most or size)
        return 200, {
            "rows": rows,
            "more": end < len(self.ids),
            "after": end if end < len(self.ids) else None,
        }

    def one(self, request, position):
        "What hangs below a record: it says whose it is, and how much."
        id = int(request.path.split("/")[2])
        if id in self.hidden:
            return 200, {"id": id, "count": 0, "rows": []}
        rows = [{"id": id * 1000 + n} for n in range(id % 4)]
        fault = self.faults.get(("one", id))
        if fault in ("empty", "half", "headless"):
            return 200, {"id": id, "count": len(rows), "rows": self.page(rows, ("one", id), 0, 9)}
        if fault and (self.lasting or ("one", id) not in self.met):
            self.met.add(("one", id))
            if fault == "failed":
                raise RetryLaterError("The service is not there. Try again.", "unavailable")
            return {
                "null": (200, None),
                "repeated": (200, {"id": id + 1, "count": len(rows), "rows": rows}),
                "pending": (202, {"state": "pending"}),
                "told": (200, {"status": 500, "message": "it failed"}),
            }[fault]
        return 200, {"id": id, "count": len(rows), "rows": rows}

    def below(self, request, position):
        id = int(request.path.split("/")[2])
        rows = [{"id": id * 1000 + n} for n in range(id % 4)]
        place = ("below", id, position["offset"])
        return 200, {"rows": self.page(rows, place, position["offset"], position["limit"])}

    def bulk(self, request, position):
        found = [{"id": id} for id in request.body if id in self.ids]
        return 200, self.page(found, ("bulk", request.body[0]), 0, 1000)

    def events(self, request, position):
        found = [id for id in self.ids if position["start"] <= id // 10 < position["end"]]
        if request.path.endswith("/count"):
            return 200, {"count": self.claim(sum(id not in self.hidden for id in found))}
        rows = [{"at": id // 10, "what": id} for id in sorted(found, reverse=True)]
        place = position["start"], position["offset"]
        first, size = position["offset"], position["limit"]
        return 200, self.page(rows, place, first, size, lambda row: row["what"])

    def search(self, request, position):
        first, size, span = position["offset"], position["count"], (0, 10**15)
        if first + size > 8:
            raise AssertionError("beyond the cap")
        for one in position.get("filters", ()):
            span = one["from"], one["to"]
        rows = [
            {"id": id} for id in self.ids if span[0] <= 1_300_000_000_000 + id * 10**8 < span[1]
        ]
        total = sum(row["id"] not in self.hidden for row in rows)
        place = first if span == (0, 10**15) else (span, first)
        return 200, {"rows": self.page(rows, place, first, size), "total": self.claim(total)}


def says_count(id, reply):
    rows = reply.get("rows")
    if reply.get("id") != id or not isinstance(rows, list) or reply.get("count") != len(rows):
        return "it is another one's"
    return None


OFFSET = Offset("/offset", at="rows", key="id")
LISTS = {
    "whole": Whole("/whole", key="id"),
    "offset": OFFSET,
    "total": replace(OFFSET, total="about.count"),
    "body": replace(OFFSET, method="POST", in_body=True, body={"query": "*"}, total="about.count"),
    "cursor": Cursor(
        "/cursor", at="rows", key="id", method="POST", body={}, next="after", more="more"
    ),
    "numbered": Numbered("/numbered", key="id", method="POST"),
    "each": Each("/one/{}", parents=replace(OFFSET, total="about.count")),
    "under": Under(
        "/below/{}",
        key="id",
        parents=replace(OFFSET, total="about.count"),
        below=lambda id: Offset(f"/below/{id}", at="rows", key="id", size=2),
    ),
    "bulk": Bulk("/bulk", key="id", method="POST", ids=replace(OFFSET, total="about.count")),
    "events": Events("/events", count_path="/events/count", most=4),
    "search": Search(
        "/search",
        at="rows",
        key="id",
        method="POST",
        in_body=True,
        names=("offset", "count"),
        total="total",
        cap=8,
        body={},
    ),
}


def listing(style, size):
    one = replace(LISTS[style], proof=says_count) if style == "each" else LISTS[style]
    if style in ("each", "under", "bulk"):
        name = "ids" if style == "bulk" else "parents"
        return replace(one, **{name: replace(getattr(one, name), size=size)})
    return one if style == "whole" else replace(one, size=size)


def wanted(style, service):
    "What an undisturbed reading of all that this user may see gives."
    if style in ("each", "under"):
        ids = service.visible()
        return Counter(id * 1000 + n for id in ids for n in range(id % 4))
    return Counter(service.visible())


def read(style, size, service, in_flight=1):
    "What came (how often each record), and what is in doubt."
    reader = Reader(service, in_flight=in_flight, since=1, until=300)
    rows = [row for page in listing(style, size).pages(reader) for row in page.records()]
    if style == "each":
        rows = [inner for row in rows for inner in row["reply"]["rows"]]
    return Counter(row["what" if style == "events" else "id"] for row in rows), reader.doubts


IN_PAGES = "brings nothing new", "there are rows behind a page", "its rest is what came before"
IN_TOTALS = "records came, where the service counts", "records are counted, and"
LOSSES = {  # what has to be said where something is missing
    "offset": IN_PAGES,
    "total": IN_TOTALS,
    "body": IN_TOTALS,
    "search": IN_TOTALS,
    "events": (*IN_TOTALS, "the counts are not to be relied on", "brings nothing new"),
    "cursor": ("the list may be cut", "rows may be hidden from this user"),
    "numbered": IN_PAGES,
    "bulk": (*IN_TOTALS, "ids brought no record"),
    "each": (*IN_TOTALS, "replies are not what was asked for and were left out"),
    "under": (*IN_TOTALS, *IN_PAGES),
}


def check(style, size, service, in_flight=1):
    try:
        came, doubts = read(style, size, service, in_flight)
    except DomostatsError as e:
        assert e.reason and not (
            not service.faults and service.claim(3) == 3 and not service.hidden
        )
        return "failed"
    whole = wanted(style, service)
    assert not set(came) - set(whole)
    if came != whole:
        assert any(words in doubt for words in LOSSES[style] for doubt in doubts), doubts
    elif {*service.faults.values()} & {*SHORT} and not service.lasting and style not in BELOW:
        assert not doubts, "nothing is missing"
    assert style == "events" or max(came.values(), default=1) == 1 or doubts
    return "told" if doubts else "complete"


STYLES = [*LISTS]
BELOW = "each", "under"  # where a parent may have nothing that could be missing
SHORT = "empty", "half", "headless"
ids = st.lists(st.integers(10, 2_999), max_size=24, unique=True).map(sorted)
sizes = st.integers(1, 7)
in_flight = st.sampled_from([1, 3])
CLAIMS = {
    "none": lambda true: 0,
    "half": lambda true: true // 2,
    "double": lambda true: 2 * true,
    "one less": lambda true: max(0, true - 1),
    "one more": lambda true: true + 1,
    "huge": lambda true: 1e30,
    "text": lambda true: str(true),
    "null": lambda true: None,
    "words": lambda true: "many",
    "object": lambda true: {},
    "list": lambda true: [true],
    "negative": lambda true: -1,
}
COUNTED = "total", "body", "each", "under", "bulk", "events", "search"


def few(style, ids):
    "Fewer records where each of them means a list of its own."
    return ids[:7] if style == "under" else ids


def pages_of(service, size):
    "How many visible records stand on each page, as the service cuts the list."
    pages = [service.ids[n : n + size] for n in range(0, len(service.ids), size)]
    return [sum(id not in service.hidden for id in page) for page in pages]


def is_provable(pages):
    """Whether no two pages in a row are empty before the last record: nothing could tell them
    from the end."""
    while pages and not pages[-1]:
        pages = pages[:-1]
    return all(one or two for one, two in pairwise(pages))


@pytest.mark.sampled(4)
@pytest.mark.parametrize("style", STYLES)
@given(ids=ids, size=sizes, in_flight=in_flight, most=st.sampled_from([None, None, 2]))
@MANY
def test_an_undisturbed_list_is_complete_and_never_marked(style, ids, size, in_flight, most):
    ids = few(style, ids)
    service = Service(ids, most=most if style in ("offset", "total", "body", "cursor") else None)
    assert check(style, size, service, in_flight) == "complete"


@pytest.mark.sampled(4)
@pytest.mark.parametrize("style", STYLES)
@given(data=st.data(), ids=ids, size=sizes, in_flight=in_flight)
@MANY
def test_hidden_records_hide_no_others(style, data, ids, size, in_flight):
    ids = few(style, ids)
    hidden = data.draw(st.sets(st.sampled_from(ids), max_size=12)) if ids else ()
    service = Service(ids, hidden)
    assume(is_provable(pages_of(service, size)))
    assert check(style, size, service, in_flight) != "failed"


@pytest.mark.sampled(3)
@pytest.mark.parametrize("style", COUNTED)
@given(data=st.data(), claim=st.sampled_from([*CLAIMS]), ids=ids, size=sizes, in_flight=in_flight)
@MANY
def test_a_total_is_a_claim(style, data, claim, ids, size, in_flight):
    ids = few(style, ids)
    hidden = data.draw(st.sets(st.sampled_from(ids), max_size=4)) if ids else ()
    service = Service(ids, hidden, CLAIMS[claim])
    assume(not (hidden and may_agree_by_chance(style, service, size)))
    check(style, size, service, in_flight)


def may_agree_by_chance(style, service, size):
    """Whether a wrong total is the number of rows up to a page that hidden rows made short: then
    nothing contradicts it."""
    if style in ("events", "search"):
        return True
    pages, said = pages_of(service, size), service.claim(len(service.visible()))
    came = 0
    for rows in pages:
        came += rows
        if rows < size and str(came) == str(said).removesuffix(".0"):
            return True
    return not is_provable(pages)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
@given(data=st.data(), ids=ids, size=sizes, in_flight=in_flight)
@MANY
def test_a_fault_is_made_good_or_told(style, lasting, data, ids, size, in_flight):
    ids = few(style, ids)
    place = data.draw(st.integers(0, len(ids) + size))
    fault = data.draw(st.sampled_from([*SHORT, "repeated", "failed", "null"]))
    where = place
    if style == "events":
        where = (data.draw(st.sampled_from([1, 150])), place)
    if style in ("each", "under", "bulk") and ids and data.draw(st.booleans()):
        id = ids[place % len(ids)]
        where = {"each": ("one", id), "under": ("below", id, 0), "bulk": ("bulk", ids[0])}[style]
        if style == "each":
            fault = data.draw(st.sampled_from([fault, "pending", "told"]))
    service = Service(ids, faults={where: fault}, lasting=lasting)
    assume(is_noticeable(style, service, size, where, fault, lasting))
    check(style, size, service, in_flight)


def is_noticeable(style, service, size, place, fault, lasting):
    "Whether anybody could notice this fault."
    last = max(0, len(service.ids) - 1)
    if fault not in SHORT:
        return True
    if style == "whole":
        return False  # a list that comes in one piece is what it is
    if style == "cursor":
        if lasting and fault != "empty":
            return place + size <= last and 2 * size <= last  # else no page is wider
        return place + size <= last  # the last page says that nothing follows
    if style == "numbered":
        return place * size <= last  # a page number has no rest to be asked for
    if style == "offset" and lasting:
        return place + size <= last  # an end that stays one
    # each list under a parent is one page
    return not (style == "under" and lasting and type(place) is tuple)


# --- the same over HTTP, from the report to the service -------------------------------------------


YEAR = {"since": datetime(2023, 1, 1), "until": datetime(2024, 4, 2)}
GROUP_LIST = "/api/content/v2/groups/grouplist"
USER_LIST = "/api/identity/v1/users"
PAGE_LIST = "/api/content/v1/pages/adminsummary"
SEARCH = "/api/data/ui/v3/datasources/search"
SHARES = "/api/content/v1/share/accesslist/page/"
COUNT = "/api/audit/v1/user-audits/count"


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    "An instance with lists of several pages."
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        with sandbox.start(
            users=350,
            groups=420,
            pages=312,
            datasets=430,
            events=3_500,
            accounts=3,
            today="2024-04-01",
        ) as running:
            yield running


@pytest.fixture
def changes(many, monkeypatch):
    """A function that lets `change(value, number)` have the last word about the replies of a
    path; `number` counts them from 0."""
    answer, counts = many.domo.answer, Counter()

    def put(path, change):
        def changed(method, asked, headers, body, query):
            reply = answer(method, asked, headers, body, query)
            if not asked.startswith(path) or reply.status != 200:
                return reply
            counts[path] += 1
            value = change(json.loads(reply.body), counts[path] - 1)
            status, value = value if isinstance(value, tuple) else (200, value)
            return reply._replace(status=status, body=json.dumps(value).encode())

        monkeypatch.setattr(many.domo, "answer", changed)
        monkeypatch.setattr(many.domo, "ready", lambda *_: False)

    return put


def run_of(box, name, **how):
    report = reports.find(name)
    return report.run(box, format_fn="all", fresh=True, **how)


def without(ids, name, at=None):
    "A change that takes the records with these ids out of a page."

    def change(value, number):
        rows = value[at] if at else value
        rows = [row for row in rows if row[name] not in ids]
        return {**value, at: rows} if at else rows

    return change


def asked_of(box, listing):
    return [
        row for page in listing.pages(Reader(sign_in(box), in_flight=1)) for row in page.records()
    ]


@pytest.mark.parametrize(
    "report, path, at, key, field, listing, last",
    [
        ("groups", GROUP_LIST, None, "groupId", "group_id", GROUPS, 199),
        ("users", USER_LIST, "users", "id", "user_id", IDENTITY_USERS, 299),
    ],
)
@pytest.mark.parametrize("missing", ["the last of a page", "a page"])
def test_what_a_page_hides_hides_nothing_behind_it(
    many, changes, report, path, at, key, field, listing, last, missing
):
    everything = [row[key] for row in asked_of(many, listing)]
    hidden = {everything[last]} if missing == "the last of a page" else {*everything[100:200]}
    changes(path, without(hidden, key, at))
    run = run_of(many, report)
    came = {row[field] for row in run.rows}
    assert came >= {str(id) for id in everything if id not in hidden} and run.partial


def test_who_may_open_the_pages_behind_a_hidden_one(many, changes):
    everything = run_of(many, "page_access")
    assert not everything.partial
    hidden = asked_of(many, PAGES)[199]["pageId"]
    changes(PAGE_LIST, without({hidden}, "pageId", "pageAdminSummaries"))
    run = run_of(many, "page_access")
    wanted = [row for row in everything.rows if row["page_id"] != str(hidden)]
    assert len(run.rows) == len(wanted) and run.partial


@pytest.mark.parametrize("said", [0, 215, 860, 1e30])
def test_all_datasets_come_whatever_the_first_page_counts(many, changes, said):
    changes(
        SEARCH,
        lambda value, number: (
            {**value, "_metaData": {"totalCount": said}} if number == 1 else value
        ),
    )
    run = run_of(many, "datasets")
    assert len(run.rows) == 430 and run.partial  # the totals contradict each other


@pytest.mark.parametrize("said", [0, 215, 860, 1e30])
def test_all_datasets_come_whatever_is_counted(many, changes, said):
    changes(SEARCH, lambda value, _: {**value, "_metaData": {"totalCount": said}})
    before = len(many.log)
    run = run_of(many, "datasets")
    assert len(many.log) - before < 100
    assert run.partial or said < 430
    assert len(run.rows) == 430


@pytest.mark.parametrize(
    "said",
    [
        lambda true: 0,
        lambda true: true // 2,
        lambda true: 2 * true,
        lambda true: 1e30,
        lambda true: str(true),
    ],
    ids=["none", "halved", "doubled", "huge", "text"],
)
def test_all_events_come_whatever_is_counted(many, changes, said):
    true = len(run_of(many, "activity_log", **YEAR).rows)
    changes(COUNT, lambda value, _: {"count": said(value["count"])})
    before = len(many.log)
    run = run_of(many, "activity_log", **YEAR)
    assert len(run.rows) == true > 3_000 and run.partial == (said(8) != "8")
    assert len(many.log) - before < 150


UNREADABLE = [None, {}, [], "many", [430], True]


@pytest.mark.parametrize("value", UNREADABLE, ids=map(str, UNREADABLE))
@pytest.mark.parametrize(
    "report, path", [("datasets", SEARCH), ("activity_log", COUNT)], ids=["total", "count"]
)
def test_a_count_that_cannot_be_read_is_an_error_of_the_kit(many, changes, report, path, value):
    changes(
        path,
        lambda page, _: (
            {**page, "_metaData": {"totalCount": value}} if path == SEARCH else {"count": value}
        ),
    )
    with pytest.raises(Exception) as caught:
        run_of(many, report, **(YEAR if report == "activity_log" else {}))
    assert isinstance(caught.value, DataError) and caught.value.reason == "bad_total"


@pytest.mark.parametrize("bookmark", [b'"\xff"', b'"\\ud83d"', b"1e999"])
def test_a_bookmark_that_cannot_be_read_is_an_error_of_the_kit(bookmark):
    body = b'{"rows": [], "page": {"more": true, "next": %s}}' % bookmark
    answer = mend_answer(Answer("GET", "/list", 200, body, {}, 0.0))
    listing = Cursor("/list", "rows", "id", next="page.next", more="page.more")
    with pytest.raises(DataError, match="page.next") as caught:
        listing.bookmark(answer)
    assert caught.value.reason == "bad_bookmark"


def test_a_map_of_lists_may_have_a_name_that_cannot_be_read():
    answer = Answer("GET", "/list", 200, b'{"all": {"\xff": [1], "b": [2]}}', {}, 0.0)
    assert bytes(records_at(answer, ("all.*",))) == b"[1,2]"


UNTRUE = {
    "nothing": lambda reply: {},
    "pending": lambda reply: (202, {"state": "pending"}),
    "empty and pending": lambda reply: (202, {**reply, "users": [], "groups": []}),
    "an error": lambda reply: {"status": 500, "statusReason": "Internal Server Error"},
    "no lists": lambda reply: {**reply, "users": None, "groups": None},
    "another page": lambda reply: {**reply, "resource": {"id": "1", "type": "page"}},
    "fewer people": lambda reply: {**reply, "users": [], "groups": []},
    "a list": lambda reply: [reply],
}


@pytest.mark.sampled(8, a_day=5)
@pytest.mark.parametrize("untrue", UNTRUE)
@pytest.mark.parametrize("times", [1, None], ids=["once", "always"])
def test_a_reply_proves_that_it_is_the_one_that_was_asked_for(many, changes, untrue, times):
    everything = run_of(many, "page_access").rows
    page = next(row["page_id"] for row in everything if row["entity_type"] == "USER")
    changes(
        SHARES + page, lambda reply, n: reply if times and n >= times else UNTRUE[untrue](reply)
    )
    run = run_of(many, "page_access")
    others = [row for row in everything if row["page_id"] != page]
    assert (
        (run.rows == everything and not run.partial)
        if times
        else (run.rows == others and run.partial)
    )


def test_the_lists_of_two_pages_are_not_swapped(many, changes):
    everything = run_of(many, "page_access").rows
    replies = [record["reply"] for record in asked_of(many, PAGE_ACCESS)]
    one = replies[0]
    other = next(reply for reply in replies if reply["totalUserCount"] != one["totalUserCount"])
    lists = {
        reply["resource"]["id"]: {name: its[name] for name in ("users", "groups")}
        for reply, its in ((one, other), (other, one))
    }
    changes(SHARES, lambda reply, _: {**reply, **lists.get(reply["resource"]["id"], {})})
    run = run_of(many, "page_access")
    assert run.rows == [row for row in everything if row["page_id"] not in lists]
    assert run.partial


def test_a_group_is_not_described_by_another_one(many, changes):
    groups = asked_of(many, GROUPS)
    first = groups[0]["groupId"]
    changes(
        f"/api/content/v2/groups/{first}",
        lambda value, _: {**value, "id": groups[1]["groupId"], "creatorId": 1},
    )
    run = reports.find("groups").run(many, format_fn="with_creator", fresh=True)
    creator = {row["Group Id"]: row["Creator Id"] for row in run.rows}[str(first)]
    assert creator is None and run.partial


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", REPORTS)
def test_an_undisturbed_report_is_complete(many, name):
    how = YEAR if "until" in REPORTS[name].narrowed_by else {}
    run = reports.find(name).run(many, fresh=True, **how)
    assert run.rows and not run.partial and not run.findings


def test_the_end_of_a_list_costs_a_few_calls_at_most(many):
    for listing, calls in ((GROUPS, 5 + 10), (IDENTITY_USERS, 4 + 10), (PAGES, 4 + 10)):
        before = len(many.log)
        assert [*listing.pages(Reader(sign_in(many)))]
        assert len(many.log) - before <= calls
    before = len(many.log)
    assert [*replace(DATASET_SEARCH, size=100).pages(Reader(sign_in(many)))]
    assert len(many.log) - before == 1 + 5
    before = len(many.log)
    assert [*replace(DATASET_SEARCH, size=43).pages(Reader(sign_in(many)))]
    assert len(many.log) - before == 1 + 10 + 1  # only a full last page asks for one more


# after how many calls, what the page lacks, the row that does not come by any other
SHORT_PAGES = [
    *[(after, "all", None) for after in range(6)],
    *[(after, (-1,), None) for after in range(6)],
    *[(after, (0,), 100 * after) for after in range(5)],
    *[(after, (50,), 100 * after + 50) for after in range(4)],
]


def test_a_short_page_of_the_sandbox_may_be_empty_and_stand_anywhere(many):
    everything = [row["groupId"] for row in asked_of(many, GROUPS)]
    try:
        for after, missing, lost in SHORT_PAGES:
            many.fail("short_page", GROUP_LIST, after=after, missing=missing)
            reader = Reader(sign_in(many), in_flight=1)
            came = [row["groupId"] for page in GROUPS.pages(reader) for row in page.records()]
            assert came == [id for place, id in enumerate(everything) if place != lost]
            rest = f"the page before row {100 * after + 100} is short, and its rest is what came"
            said = [rest, "there are rows behind a page that came short or empty"]
            said = said[: 0 if lost is None else 1 if after == 4 else 2]
            assert len(reader.doubts) == len(said)
            assert all(words in doubt for words, doubt in zip(said, reader.doubts, strict=True))
            many.heal()
        many.hide(*everything[150:260])
        reader = Reader(sign_in(many))
        came = [row["groupId"] for page in GROUPS.pages(reader) for row in page.records()]
        assert came == everything[:150] + everything[260:]
        hole = "there are rows behind a page that came short or empty"
        assert any(hole in doubt for doubt in reader.doubts)
    finally:
        many.heal()


def test_an_estimate_is_right_where_records_are_hidden(many, changes):
    everything = [row["groupId"] for row in asked_of(many, GROUPS)]
    changes(GROUP_LIST, without({everything[n] for n in (100, 200, 400)}, "groupId"))
    assert 415 <= GROUPS.rows(Reader(sign_in(many))) <= 420
