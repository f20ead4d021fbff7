"""What a small sandbox answers, endpoint by endpoint, to the last letter.

The replies stand in `fixtures/sandbox`. They were read through, with the recorded replies beside
them, before they became what is expected here: who owns what, which account a dataset uses, which
kinds of ids are text, where a time is in seconds, and that each count is the length of its list.
"""

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
import requests

from domostats import sandbox

FIXTURES = Path(__file__).parent / "fixtures" / "sandbox"
SIZES = {
    "seed": 64,
    "users": 13,
    "accounts": 11,
    "groups": 4,
    "datasets": 14,
    "pages": 8,
    "events": 12,
}
KNOWN = {path.stem: json.loads(path.read_text()) for path in sorted(FIXTURES.glob("*.json"))}
GROUPS = "GET /api/content/v2/groups/grouplist"
PAGES = "POST /api/content/v1/pages/adminsummary"
IDENTITY = "GET /api/identity/v1/users"
PEOPLE = "POST /api/identity/v1/users/search"
DATASETS = "GET /api/data/v3/datasources"
DATACENTER = "POST /api/data/ui/v3/datasources/search"
SEARCH = "POST /api/search/v1/query"
EVENTS = "GET /api/audit/v1/user-audits"
OBJECTS = "GET /api/audit/v1/user-audits/objectTypes/CARD"
CERTIFIED = "POST /api/synapse/approval/graphql"


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="module")
def box(state):
    with sandbox.start(**SIZES, today="2024-04-01") as running:
        yield running


@pytest.fixture(scope="module")
def later(state):
    with sandbox.start(**SIZES, today="2025-03-05") as running:
        yield running


@pytest.fixture(scope="module")
def large(state):
    sizes = {"users": 40, "accounts": 60, "groups": 130, "datasets": 40, "pages": 12, "events": 120}
    with sandbox.start(seed=5, **sizes, today="2024-04-01") as running:
        yield running


@pytest.fixture(scope="module")
def web():
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture(scope="module")
def send(web):
    "Send `METHOD PATH` with a body, as the administrator or as the analyst; the reply."

    def send(box, line, body=None, login="administrator", **query):
        method, path = line.split(" ")
        token = box.limited.access_token if login == "analyst" else box.access_token
        return web.request(
            method,
            box.url + path,
            params=query,
            json=body,
            headers={"X-DOMO-Developer-Token": token},
            timeout=20,
            allow_redirects=False,
        )

    return send


@pytest.fixture(scope="module")
def ask(send):
    "The JSON of a good reply."

    def ask(box, line, body=None, **query):
        reply = send(box, line, body, **query)
        assert reply.status_code == 200, reply.text
        return reply.json()

    return ask


def as_text(value):
    "JSON in one spelling: 1, 1.0, true and the text 1 are four things."
    return json.dumps(value, sort_keys=True, indent=1)


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "known",
    [pytest.param(one, id=f"{topic} {n}") for topic in KNOWN for n, one in enumerate(KNOWN[topic])],
)
def test_a_reply_is_the_known_one(send, box, known):
    reply = send(box, known["ask"], known.get("body"), known.get("as"))
    assert reply.status_code == known["status"]
    assert reply.headers["content-type"] == "application/json;charset=UTF-8"
    assert int(reply.headers["content-length"]) == len(reply.content)
    assert "date" in reply.headers and "server" not in reply.headers
    if known["reply"] is None:
        assert reply.content == b""
        return
    value = reply.json()
    if known["status"] >= 400:
        assert re.fullmatch(r"[A-Z0-9]{10}-[A-Z0-9]{5}-[A-Z0-9]{5}", value["toe"])
        value["toe"] = "?"
    assert as_text(value) == as_text(known["reply"])
    if isinstance(value, dict):
        assert [*value] == [*known["reply"]]


def test_every_topic_is_known():
    assert [*KNOWN] == (
        ["accounts", "datasets", "events", "groups", "pages", "roles", "search", "streams", "users"]
    )
    assert sum(map(len, KNOWN.values())) == 69


# --- pages of a list ------------------------------------------------------------------------------

PERSON = ["Pia Sage", "Wren Bramble", "Dina Glen", "Kofi Marsh", "Gus Vale", "Ned Clover"]
PERSON += ["Uma Heath", "Bea Oak", "Iris Alder", "Eli Elm", "Leo Juniper", "Sam River"]
TITLES = ["Budget Data 4", "Campaigns Data 7", "Forecast Data 2", "Inventory Data 3"]
TITLES += ["Overview Data 0", "Pipeline Data 5", "Quality Data 1", "Retention Data 6"]
NAMES = ["Data orders 0", "Finance orders 1", "Marketing orders 2", "Operations orders 3"]
NAMES += ["Sales orders 4", "Support orders 5", "Data visits 6", "Finance visits 7"]
NAMES += ["Marketing visits 8", "Operations visits 9", "Sales visits 10", "Support visits 11"]
NAMES += ["Data ledger 12", "Finance ledger 13"]
TEAMS = ["Data Team", "Finance Team", "Marketing Team", "Operations Team"]
TIMES = [1709357151895, 1706773811725, 1706186635387, 1703031303792, 1700727041217, 1697026404531]
TIMES += [1694547530769, 1691538008546, 1689732870146, 1687536619808, 1684011969340, 1682310114868]


def in_query(line, start, size, body=None):
    return lambda ask, box, first, rows: ask(box, line, body, **{start: first, size: rows})


def in_body(line, start, size, more):
    return lambda ask, box, first, rows: ask(box, line, {**more, start: first, size: rows})


def certified(ask, box, first, rows):
    variables = {"type": "CC:DSET", "after": str(first) if first else None, "first": rows}
    return ask(box, CERTIFIED, {"operationName": "getCertifiedEntities", "variables": variables})


def edges(reply):
    return reply["data"]["certifyEntitiesConnection"]["edges"]


LISTS = {  # what is asked: how, what is told of each row, and all of it in order
    "groups": (
        in_query(GROUPS, "offset", "limit"),
        lambda reply: [row["name"] for row in reply],
        TEAMS,
    ),
    "pages": (
        in_query(PAGES, "skip", "limit", {"orderBy": "pageTitle", "ascending": True}),
        lambda reply: [row["pageTitle"] for row in reply["pageAdminSummaries"]],
        TITLES,
    ),
    "users": (
        in_query(IDENTITY, "offset", "limit"),
        lambda reply: [row["displayName"] for row in reply["users"]],
        ["monitor", *PERSON],
    ),
    "found users": (
        in_body(PEOPLE, "offset", "limit", {}),
        lambda reply: [row["displayName"] for row in reply["users"]],
        PERSON,
    ),
    "datasets": (
        in_query(DATASETS, "offset", "limit"),
        lambda reply: [row["name"] for row in reply["dataSources"]],
        NAMES,
    ),
    "datacenter": (
        in_body(DATACENTER, "offset", "count", {"query": "*"}),
        lambda reply: [row["name"] for row in reply["dataSources"]],
        NAMES,
    ),
    "search": (
        in_body(SEARCH, "offset", "count", {"entityList": [["user"]]}),
        lambda reply: [row["name"] for row in reply["searchObjects"]],
        PERSON,
    ),
    "events": (
        in_query(EVENTS, "offset", "limit"),
        lambda reply: [row["time"] for row in reply],
        TIMES,
    ),
    "objects": (
        in_query(OBJECTS, "offset", "limit"),
        lambda reply: [row["objectName"] for row in reply],
        ["Card 865", "Card 939", "Card 430"],
    ),
    "certifications": (
        certified,
        lambda reply: [edge["node"]["title"] for edge in edges(reply)],
        ["Operations orders 3", "Finance ledger 13"],
    ),
}


@pytest.mark.parametrize("name", LISTS)
def test_the_edges_of_a_page(ask, box, name):
    page, told, everything = LISTS[name]
    total = len(everything)

    def rows(first, size):
        return told(page(ask, box, first, size))

    assert rows(0, total) == everything
    assert rows(0, total - 1) == everything[:-1]
    assert rows(0, total + 1) == everything
    assert rows(0, 1) == everything[:1]
    assert rows(1, 1) == everything[1:2]
    assert rows(total - 1, 1) == everything[-1:]
    assert rows(total - 1, 5) == everything[-1:]
    assert rows(total, 5) == []
    assert rows(total + 1, 5) == []
    assert rows(0, 0) == []


@pytest.mark.parametrize(
    "name, count",
    [
        ("found users", lambda ask, box, first: people(ask, box, offset=first)["count"]),
        ("datasets", lambda ask, box, first: datasets(ask, box, offset=first, limit=1)),
        ("datacenter", lambda ask, box, first: datacenter(ask, box, {"offset": first, "count": 1})),
        ("search", lambda ask, box, first: found(ask, box, "user", offset=first, count=1)),
        ("events", lambda ask, box, first: ask(box, f"{EVENTS}/count", offset=first)["count"]),
    ],
)
def test_a_total_is_that_of_the_whole_list_on_every_page(ask, box, name, count):
    total = len(LISTS[name][2])
    assert [count(ask, box, first) for first in (0, 1, total - 1, total, total + 9)] == [total] * 5


def people(ask, box, **body):
    return ask(box, PEOPLE, {"showCount": True, **body})


def datasets(ask, box, **query):
    return ask(box, DATASETS, **query)["_metadata"]["totalCount"]


def datacenter(ask, box, body):
    return ask(box, DATACENTER, body)["_metaData"]["totalCount"]


def found(ask, box, entity, **body):
    return ask(box, SEARCH, {"entityList": [[entity]], **body})["totalResultCount"]


def test_the_bookmark_of_a_page_of_certifications(ask, box):
    def about(first, rows):
        reply = certified(ask, box, first, rows)
        return reply["data"]["certifyEntitiesConnection"]["pageInfo"]

    assert about(0, 1) == {"hasNextPage": True, "endCursor": "1"}
    assert about(1, 1) == {"hasNextPage": False, "endCursor": "2"}
    assert about(0, 2) == {"hasNextPage": False, "endCursor": "2"}
    assert about(2, 2) == {"hasNextPage": False, "endCursor": None}
    assert about(0, 0) == {"hasNextPage": True, "endCursor": None}


# --- narrowed and sorted --------------------------------------------------------------------------


def narrowed(name, body=None, **query):
    "One of `LISTS`, asked for with more words; each row as the list tells it."
    lines = {"groups": GROUPS, "pages": PAGES, "users": IDENTITY, "found users": PEOPLE}
    lines |= {"datasets": DATASETS, "datacenter": DATACENTER, "search": SEARCH, "events": EVENTS}
    if name == "pages":
        body = body or {}
    told = LISTS[name][1]
    return lambda ask, box: told(ask(box, lines[name], body, **query))


def searched(entity, *filters, sort=None, told="name", **more):
    body = {"entityList": [[entity]], "count": 50, "filters": [*filters], **more}
    if sort:
        field, order = sort.split()
        body["sort"] = {"fieldSorts": [{"field": field, "sortOrder": order}]}
    return lambda ask, box: [row[told] for row in ask(box, SEARCH, body)["searchObjects"]]


def in_datacenter(*filters, **more):
    body = {"count": 50, "filters": [*filters], **more}
    return lambda ask, box: LISTS["datacenter"][1](ask(box, DATACENTER, body))


def term(field, value, **more):
    return {"filterType": "term", "field": field, "value": value, **more}


def wildcard(field, query, **more):
    return {"filterType": "wildcard", "field": field, "query": query, **more}


def between(start, end):
    return {"filterType": "dateRange", "field": "create_date", "from": start, "to": end}


def lately(field, bucket):
    return {"filterType": "dateBucket", "field": field, "value": bucket}


def modified(first, last):
    return {
        "includeLastModifiedDateClause": True,
        "lastModifiedDateOperand": "BETWEEN",
        "lastModifiedStartDate": first,
        "lastModifiedEndDate": last,
    }


def told_by(field, **more):
    return {"filters": [{"field": field, **more}]}


def certificates(**variables):
    body = {"operationName": "getCertifiedEntities", "variables": {"type": "CC:DSET", **variables}}
    return lambda ask, box: [edge["node"]["title"] for edge in edges(ask(box, CERTIFIED, body))]


BY_AGE = ["Iris Alder", "Ned Clover", "Gus Vale", "Sam River", "Uma Heath", "Kofi Marsh"]
BY_AGE += ["Pia Sage", "Wren Bramble", "Bea Oak", "Eli Elm", "Dina Glen", "Leo Juniper"]
LATEST = ["Eli Elm", "Uma Heath", "Pia Sage", "Dina Glen", "Leo Juniper", "Kofi Marsh"]
LATEST += ["Sam River", "Wren Bramble", "Bea Oak", "Iris Alder", "Ned Clover", "Gus Vale"]
VISITS = NAMES[6:12]
CREATED = {3: 1616772674693, 5: 1634333064277}  # datasets
OWN = ["Campaigns Data 7", "Budget Data 4", "Forecast Data 2"]


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "found, rows",
    [
        # groups
        (narrowed("groups", search="ING t"), ["Marketing Team"]),
        (narrowed("groups", search="nobody"), []),
        (narrowed("groups", members=480339776), ["Data Team", "Operations Team"]),
        (narrowed("groups", members=480339776, search="data"), ["Data Team"]),
        (narrowed("groups", owner=1862305787), ["Finance Team"]),
        (narrowed("groups", owner=148914359), ["Data Team"]),
        (narrowed("groups", ownerType="USER"), ["Finance Team"]),
        (narrowed("groups", ownerType="GROUP"), ["Data Team", "Marketing Team", "Operations Team"]),
        (narrowed("groups", groupType="directory"), ["Marketing Team", "Operations Team"]),
        (narrowed("groups", groupType="system"), []),
        (narrowed("groups", ascending="false"), TEAMS[::-1]),
        (narrowed("groups", ascending="false", offset=1, limit=2), TEAMS[2:0:-1]),
        # pages
        (narrowed("pages", {"ascending": False}), TITLES[::-1]),
        (
            narrowed("pages", {"orderBy": "pageId"}),
            [TITLES[n] for n in (4, 1, 0, 6, 5, 2, 7, 3)],
        ),
        (
            narrowed("pages", {"orderBy": "lastModified"}),
            [TITLES[n] for n in (4, 7, 5, 3, 6, 2, 0, 1)],
        ),
        (
            narrowed("pages", {"includePageTitleClause": True, "pageTitleSearchText": "TA 4"}),
            ["Budget Data 4"],
        ),
        (narrowed("pages", {"pageTitleSearchText": "TA 4"}), TITLES),
        (
            narrowed("pages", {"includeParentPageIdsClause": True, "parentPageIds": [607176887]}),
            ["Pipeline Data 5", "Retention Data 6"],
        ),
        (
            narrowed("pages", {"includeParentPageIdsClause": True, "parentPageIds": [1225210876]}),
            ["Campaigns Data 7"],
        ),
        (narrowed("pages", {"parentPageIds": [1225210876]}), TITLES),
        (
            narrowed("pages", {"includePageOwnerClause": True, "ownerIds": [1098373765]}),
            ["Budget Data 4", "Forecast Data 2"],
        ),
        (
            narrowed("pages", {"includePageOwnerClause": True, "groupOwnerIds": [148914359]}),
            ["Forecast Data 2"],
        ),
        (narrowed("pages", {"includePageOwnerClause": True, "ownerIds": [148914359]}), []),
        (narrowed("pages", modified("2020-03-31", "2020-03-31")), ["Overview Data 0"]),
        (narrowed("pages", modified("2020-04-01", "2020-04-13")), []),
        (
            narrowed("pages", modified("2020-03-31", "2020-04-14")),
            ["Overview Data 0", "Retention Data 6"],
        ),
        # users
        (narrowed("found users", {"includeSupport": True, "limit": 2}), ["monitor", "Pia Sage"]),
        (narrowed("found users", {"includeDeleted": True, "offset": 12}), ["Pia Ivy", "Emre Dale"]),
        (narrowed("found users", {"onlyDeleted": True}), ["Pia Ivy", "Emre Dale"]),
        (
            narrowed("found users", told_by("displayName", filterType="text", text="pia OAK")),
            ["Pia Sage", "Bea Oak"],
        ),
        (
            narrowed("found users", told_by("department", filterType="text", text="sal")),
            ["Pia Sage", "Kofi Marsh"],
        ),
        (
            narrowed("found users", told_by("emailAddress", filterType="text", text="alt@")),
            ["Gus Vale", "Leo Juniper"],
        ),
        (
            narrowed("found users", told_by("roleId", filterType="value", values=[3, "4"])),
            ["Dina Glen", "Gus Vale", "Iris Alder", "Leo Juniper"],
        ),
        (
            narrowed("found users", told_by("isPending", filterType="value", values=["true"])),
            ["Uma Heath", "Leo Juniper"],
        ),
        (
            narrowed("found users", told_by("isPending", filterType="text", text="TRUE")),
            ["Uma Heath", "Leo Juniper"],
        ),
        (
            narrowed("found users", {"ids": [480339776, "952475732", 5]}),
            ["Wren Bramble", "Ned Clover"],
        ),
        (narrowed("found users", {"sort": {"field": "created", "order": "ASC"}}), BY_AGE),
        (narrowed("found users", {"sort": {"field": "created"}}), BY_AGE),
        (narrowed("found users", {"sort": {"field": "modified", "order": "DESC"}}), LATEST),
        (
            narrowed("found users", {"sort": {"field": "displayName", "order": "DESC"}}),
            sorted(PERSON)[::-1],
        ),
        # datasets
        (narrowed("datasets", dataProviderType="webform"), ["Marketing visits 8"]),
        (narrowed("datasets", type="API"), ["Support orders 5", "Support visits 11"]),
        (narrowed("datasets", type="DataFlow"), ["Sales orders 4", "Sales visits 10"]),
        (narrowed("datasets", displayType="snowflake"), ["Operations visits 9"]),
        (narrowed("datasets", nameLike="LEDGER"), NAMES[12:]),
        (narrowed("datasets", nameLike="orders", type="DataFlow"), ["Sales orders 4"]),
        (narrowed("datasets", ownerId=1424611688), ["Support visits 11"]),
        (narrowed("datasets", ownerId=148914359), []),
        # the two searches
        (in_datacenter(between(CREATED[3], CREATED[5])), NAMES[3:5]),
        (in_datacenter(between(CREATED[3] + 1, CREATED[5])), NAMES[4:5]),
        (in_datacenter(between(CREATED[3], CREATED[5] + 1)), NAMES[3:6]),
        (in_datacenter(between(CREATED[5], CREATED[3])), []),
        (in_datacenter(between(CREATED[3], CREATED[3])), []),
        (in_datacenter(between(CREATED[5], None), term("owned_by_id", "1424611688")), NAMES[11:12]),
        (in_datacenter(term("owned_by_id", "148914359")), ["Marketing orders 2"]),
        (in_datacenter(term("owned_by_id", "148914359:GROUP")), ["Marketing orders 2"]),
        (in_datacenter(term("owned_by_id", "148914359:USER")), []),
        (in_datacenter(term("owned_by_id", "244271798:USER")), ["Operations orders 3"]),
        (
            in_datacenter(term("owned_by_id", "244271798"), term("owned_by_id", "1424611688")),
            [],
        ),
        (in_datacenter(query="VISITS *ales"), ["Sales visits 10"]),
        (searched("dataset", between(CREATED[3], CREATED[5])), NAMES[3:5]),
        (
            searched("dataset", {**between(CREATED[3], CREATED[5]), "not": True}),
            NAMES[:3] + NAMES[5:],
        ),
        (searched("dataset", term("certification.state", "CERTIFIED")), ["Operations orders 3"]),
        (searched("dataset", term("certification.state", "EXPIRED")), ["Finance ledger 13"]),
        (searched("dataset", term("certification.state", "PENDING")), []),
        (searched("dataset", lately("last_modified", "LAST_MONTH")), ["Finance ledger 13"]),
        (searched("dataset", lately("last_modified", "LAST_WEEK")), []),
        (searched("dataset", lately("create_date", "LAST_QUARTER")), ["Finance ledger 13"]),
        (searched("dataset", wildcard("name_sort", "*visits*")), VISITS),
        (searched("dataset", wildcard("name_sort", "data ??????*6")), ["Data visits 6"]),
        (searched("dataset", term("dataprovidername_facet", "domo-dataflow")), NAMES[4:11:6]),
        (
            searched(
                "dataset",
                orFilters=[
                    term("databaseId", "824e8a45-fc40-403c-8519-c31a580a0ccd"),
                    term("dataproviderkey_facet", "api"),
                ],
            ),
            ["Marketing orders 2", "Support orders 5"],
        ),
        (
            searched(
                "dataset",
                wildcard("name_sort", "*visits*"),
                notFilters=[wildcard("name_sort", "m*"), wildcard("name_sort", "s*")],
            ),
            ["Data visits 6", "Finance visits 7", "Operations visits 9"],
        ),
        (searched("dataset", sort="name_sort ASC"), sorted(NAMES)),
        (searched("dataset", sort="create_date DESC"), NAMES[::-1]),
        (
            searched("dataset", sort="last_modified DESC", count=2),
            ["Finance ledger 13", "Operations visits 9"],
        ),
        (searched("account", term("valid", "false"), told="databaseId"), ["23"]),
        (searched("account", term("used", "0"), told="databaseId"), ["14", "18", "27", "33"]),
        (
            searched("account", term("owned_by_id", "952475732"), told="databaseId"),
            ["9", "23", "27", "33"],
        ),
        (
            searched("account", term("dataproviderkey_facet", "domostats"), told="databaseId"),
            ["9", "27"],
        ),
        (searched("account", query="sheets", told="databaseId"), ["18"]),
        (searched("account", sort="last_modified DESC", count=2, told="databaseId"), ["14", "10"]),
        (
            searched("page", term("owned_by_id", "1098373765:USER")),
            ["Forecast Data 2", "Budget Data 4"],
        ),
        (searched("page", sort="lastModified DESC", count=3), OWN),
        (searched("group", query="team finance"), ["Finance Team"]),
        (
            searched("user", wildcard("name_sort", "*a?e"), sort="createDate DESC"),
            ["Pia Sage", "Gus Vale"],
        ),
        # the log
        (narrowed("events", start=TIMES[7], end=TIMES[5]), TIMES[6:8]),
        (narrowed("events", start=TIMES[7] + 1, end=TIMES[5] + 1), TIMES[5:7]),
        (narrowed("events", start=TIMES[7], end=TIMES[7]), []),
        (narrowed("events", start=TIMES[5], end=TIMES[7]), []),
        (narrowed("events", end=TIMES[10]), TIMES[11:]),
        (narrowed("events", start=TIMES[1]), TIMES[:2]),
        (narrowed("events", objectType="CARD"), [TIMES[1], TIMES[6], TIMES[11]]),
        (narrowed("events", objectType="CARD,GROUP"), [TIMES[1], TIMES[3], TIMES[6], TIMES[11]]),
        (narrowed("events", eventType="EXPORTED"), [TIMES[5]]),
        (narrowed("events", objectId="19"), [TIMES[0]]),
        (narrowed("events", user="1424611688"), TIMES[10:]),
        (narrowed("events", user="1424611688", objectType="CARD"), TIMES[11:]),
        # certifications
        (certificates(stateFilter="EXPIRED"), ["Finance ledger 13"]),
        (certificates(stateFilter="PENDING"), []),
        (certificates(searchTerm="ORDERS"), ["Operations orders 3"]),
    ],
)
def test_narrowed_and_sorted(ask, box, found, rows):
    assert found(ask, box) == rows


def test_what_was_read_in_between_two_moments_is_counted_the_same(ask, box):
    for more, count in [
        ({"start": TIMES[7], "end": TIMES[5]}, 2),
        ({"objectType": "CARD"}, 3),
        ({"user": "1424611688"}, 2),
        ({"start": TIMES[0] + 1}, 0),
    ]:
        assert ask(box, f"{EVENTS}/count", **more) == {"count": count}
    assert ask(box, OBJECTS, start=TIMES[6], end=TIMES[1]) == [
        {"objectId": "829029", "objectName": "Card 939"}
    ]


def test_several_kinds_in_one_search(ask, box):
    body = {"entityList": [["group"], ["page"]], "count": 3, "offset": 3}
    reply = ask(box, SEARCH, body)
    names = [row["name"] for row in reply["searchObjects"]]
    assert names == ["Operations Team", "Overview Data 0", "Quality Data 1"]
    assert {kind: len(rows) for kind, rows in reply["searchResultsMap"].items()} == {
        "group": 1,
        "page": 2,
    }
    assert reply["totalResultCount"] == 12
    body["sort"] = {"fieldSorts": [{"field": "name_sort", "sortOrder": "DESC"}]}
    reply = ask(box, SEARCH, body)
    names = [row["name"] for row in reply["searchObjects"]]
    assert names == ["Overview Data 0", "Operations Team", "Marketing Team"]
    assert reply["sort"] == {
        "fieldSorts": [{"field": "name_sort", "sortOrder": "DESC"}],
        "activity": None,
        "activitySortType": None,
        "metricAction": None,
        "isHotness": False,
        "isRelevance": False,
    }
    shown = ask(box, SEARCH, {"entities": ["GROUP"], "count": 1, "fieldsToReturn": ["name"]})
    assert shown["searchObjects"] == [{"name": "Data Team"}]
    assert len(ask(box, SEARCH, {"entityList": [["user"]]})["searchObjects"]) == 10


def test_groups_without_their_members(ask, box):
    for group in ask(box, GROUPS, includeFullMembership="false"):
        assert "groupMembers" not in group and group["memberCount"] in (3, 1, 2, 10)


@pytest.mark.parametrize(
    "line, body, query, status, words",
    [
        ("POST /api/content/v2/users", {}, {}, 405, ""),
        ("GET /api/content/v1/pages/adminsummary", None, {}, 405, ""),
        ("GET /api/content/v9/users", None, {}, 404, "serves nothing at /api/content/v9/users"),
        ("GET /elsewhere", None, {}, 404, ""),
        (GROUPS, None, {"sort": "created"}, 400, "sort is 'created'"),
        (GROUPS, None, {"limit": 10001}, 400, "limit is 10001, and 10000 is the most"),
        (IDENTITY, None, {"limit": 1001}, 400, "1000 is the most"),
        (IDENTITY, None, {"offset": -1}, 400, "offset is -1, and 0 is the least"),
        (IDENTITY, None, {"attributes": "id,shoeSize"}, 400, "shoeSize"),
        (PAGES, {}, {"limit": 1001}, 400, "1000 is the most"),
        (PAGES, modified("2020-02-30", "2020-03-01"), {}, 400, "'2020-02-30' is no day"),
        (DATASETS, None, {"limit": 501}, 400, "500 is the most"),
        (DATACENTER, {"count": 1, "offset": 10_000}, {}, 400, "may not pass 10000"),
        (SEARCH, {}, {}, 400, "entityList says what to search"),
        (SEARCH, {"entityList": [["card"]]}, {}, 400, "the entity 'card' is not in"),
        (EVENTS, None, {"limit": 1001}, 400, "1000 is the most"),
        (EVENTS, None, {"objectType": "NONE"}, 400, "the objectType 'NONE' is not known"),
        (EVENTS, None, {"sort": "time"}, 400, "the parameter 'sort' is not known here"),
        (CERTIFIED, {}, {}, 400, "a variable type, CC:DSET"),
        ("GET /api/data/v1/streams/bulk", None, {"streamId": "5," * 50 + "5"}, 400, "51 values"),
        ("POST /api/data/v3/datasources/bulk", ["x"] * 101, {}, 400, "101 values"),
    ],
)
def test_a_refusal_says_what_is_wrong(send, box, line, body, query, status, words):
    reply = send(box, line, body, **query)
    path = line.split()[1]
    assert reply.status_code == status
    told = reply.json()
    assert list(told) == ["status", "statusReason", "path", "message", "toe"]
    phrase = {400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed"}[status]
    assert (told["status"], told["statusReason"], told["path"]) == (status, phrase, path)
    assert words in told["message"] if words else told["message"] == phrase
    allowed = {"POST /api/content/v2/users": "GET"}.get(line, "POST") if status == 405 else None
    assert reply.headers.get("allow") == allowed


def test_the_largest_page_is_allowed(send, box):
    for line, body, query in [
        (GROUPS, None, {"limit": 10000}),
        (IDENTITY, None, {"limit": 1000}),
        (PAGES, {}, {"limit": 1000}),
        (DATASETS, None, {"limit": 500}),
        (DATACENTER, {"count": 1, "offset": 9_999}, {}),
        (EVENTS, None, {"limit": 1000}),
        ("GET /api/data/v1/streams/bulk", None, {"streamId": "5," * 49 + "5"}),
        ("POST /api/data/v3/datasources/bulk", ["x"] * 100, {}),
    ]:
        assert send(box, line, body, **query).status_code == 200, line


def test_who_is_not_signed_in_is_told_as_recorded(web, box):
    reply = web.get(box.url + "/api/content/v2/users", timeout=20)
    assert reply.status_code == 401
    told = reply.json()
    assert told.pop("toe") and told == {
        "status": 401,
        "statusReason": "Unauthorized",
        "path": "/api/content/v2/users",
        "message": "Full authentication is required to access this resource",
    }


# --- another day, and a larger world --------------------------------------------------------------


def test_eleven_months_later(ask, later):
    "What is changed, loaded and done by then; nothing lies on the day itself or after it."

    def changed(entity):
        body = {"entityList": [[entity]], "count": 50, "fieldsToReturn": ["lastModified"]}
        return [row["lastModified"] for row in ask(later, SEARCH, body)["searchObjects"]]

    assert changed("dataset") == [
        *(1588246443981, 1738332254258, 1740549916263, 1739992867138, 1740693412410),
        *(1738125268282, 1740069718291, 1738973960888, 1739942574892, 1736065459728),
        *(1737057989135, 1739006049172, 1740900347628, 1734752141315),
    ]
    assert changed("account") == [
        *(1737111429000, 1726845918000, 1736807342000, 1725700159000, 1730660116000),
        *(1687956754000, 1715834546000, 1724198469000, 1723966985000, 1731519633000),
        1680938151000,
    ]
    assert changed("page") == [
        *(1739558521369, 1738778498542, 1740178636024, 1738450600007, 1737223242110),
        *(1738972168314, 1739471842611, 1725276637197),
    ]
    assert changed("user") == [
        *(1733562162222, 1738805069458, 1736563574704, 1678585806482, 1740627578467),
        *(1634612904254, 1728033439542, 1732834353653, 1644956463066, 1734939060612),
        *(1730144919934, 1738945567831),
    ]
    users = ask(later, IDENTITY, attributes="lastActivity,lastLogin")["users"]
    assert [[pair["values"][0] for pair in user["attributes"]] for user in users] == [
        [],
        [1740667743346, 1740667743346],
        [1740391151525, 1740316752882],
        [1737095684291, 1736561722893],
        [1733037291428],
        [1738087464134, 1737988312594],
        [1741085025618, 1735709428332],
        [],
        [1740447208499, 1740350866238],
        [1736161755820, 1736000596276],
        [1733256600032, 1733193364348],
        [],
        [1737816938054, 1737285185771],
    ]
    assert [
        (event["time"], event["userName"], event["actionType"], event["objectType"])
        for event in ask(later, EVENTS)
    ] == [
        (1740667743346, "Pia Sage", "LOGGEDIN", "USER"),
        (1735709428332, "Ned Clover", "LOGGEDIN", "USER"),
        (1733037291428, "Kofi Marsh", "VIEWED", "PAGE"),
        (1731558754932, "Pia Sage", "VIEWED", "PAGE"),
        (1729423261856, "Dina Glen", "SHARED", "ACCOUNT"),
        (1725128043525, "Ned Clover", "EXPORTED", "DATA_SOURCE"),
        (1724802215612, "Pia Sage", "EXPORTED", "DATA_SOURCE"),
        (1721758925647, "Pia Sage", "SHARED", "ACCOUNT"),
        (1719042764501, "Wren Bramble", "EXPORTED", "DATA_SOURCE"),
        (1715336405324, "Pia Sage", "EXPORTED", "DATA_SOURCE"),
        (1714233055853, "Pia Sage", "EXPORTED", "DATA_SOURCE"),
        (1709357151895, "Ned Clover", "SHARED", "ACCOUNT"),
    ]
    runs = {}
    for id in (5, 8):  # the first fails each time, the second is loaded each time
        stream = ask(later, f"GET /api/data/v1/streams/{id}")
        last, good = stream["lastExecution"], stream["lastSuccessfulExecution"]
        runs[id] = last["executionId"], last["startedAt"], good["executionId"], good["startedAt"]
        runs[id] += stream["currentExecutionState"], stream["dataSource"]["nextUpdate"]
    assert runs == {
        5: (345, 1739365991.0, 334, 1588245543.0, "ERROR", 1742405294048),
        8: (83, 1738331354.0, 83, 1738331354.0, "SUCCESS", 1743598256258),
    }


def test_what_only_a_larger_world_has(ask, large):
    "Credentials that end, groups of everybody, names that come again, events that are told twice."
    providers = ask(large, "GET /api/data/v2/datasources/providers")
    accounts = [account for provider in providers for account in provider["accounts"]]
    ends = "dateOfExpiration", "daysToExpiry", "expired"
    assert {
        account["id"]: [account[name] for name in ends]
        for account in accounts
        if [account[name] for name in ends] != [None, None, None]
    } == {160: [1714039095085, 24, False], 71: [1721404743324, 109, False]}
    invalid = {account["id"] for account in accounts if not account["valid"]}
    assert invalid == {24, 122, 124, 84, 65, 54, 143, 112, 173}
    assert {
        account["id"]: account["type"] for account in accounts if account["type"] != "data"
    } == {
        **{30: "messaging", 60: "messaging", 120: "messaging", 178: "profile"},
        **{88: "sftp", 149: "sftp"},
    }
    groups = ask(large, GROUPS, limit=1000)
    assert {g["name"]: g["memberCount"] for g in groups if g["memberCount"] > 26} == {
        "Finance Leads": 39,
        "Operations Reviewers 2": 39,
        "Support Guests 3": 39,
    }
    names = [group["name"] for group in groups]
    assert len(names) == len({*names}) == 130
    assert [name for name in names if name.startswith("Data")] == [
        *("Data Guests", "Data Guests 2", "Data Guests 3"),
        *("Data Leads", "Data Leads 2", "Data Leads 3", "Data Leads 4"),
        *("Data Partners", "Data Partners 2", "Data Partners 3"),
        *("Data Readers", "Data Readers 2", "Data Readers 3", "Data Readers 4"),
        *("Data Reviewers", "Data Reviewers 2", "Data Reviewers 3", "Data Reviewers 4"),
        *("Data Team", "Data Team 2", "Data Team 3", "Data Team 4"),
    ]
    events = ask(large, EVENTS)
    twice = [n for n, (one, next) in enumerate(pairwise(events)) if one == next]
    assert len(events) == 120 and twice == [32, 82]
    of_the_system = [e["objectName"] for e in events if e.get("objectId", "").startswith("-")]
    assert of_the_system == ["Overview", "Favorites"]
    owned = ask(large, DATASETS, limit=500)["dataSources"]
    assert [(one["name"], one["owner"]["name"]) for one in owned if one["owner"]["group"]] == [
        ("Marketing orders 2", "Data Team"),
        ("Operations orders 3", "Finance Team"),
        ("Sales orders 4", "Marketing Team"),
    ]


def test_the_groups_of_grants_are_there_when_they_are_wanted(ask, large):
    large.quirks = {"system_groups"}
    groups = ask(large, GROUPS, limit=1000)
    of_grants = ask(large, GROUPS, limit=1000, groupType="system")
    large.heal()
    assert len(groups) == 157 and len(of_grants) == 27
    assert of_grants[0] == {
        "name": "Grant: account.admin",
        "groupId": 1229703306,
        "owners": [{"type": "GROUP", "id": "1229703306", "displayName": "Grant: account.admin"}],
        "groupType": "system",
        "groupMembers": [{"type": "USER", "id": "280611393"}],
        "memberCount": 1,
        "created": "2023-06-24 21:45:01.553",
        "description": "",
    }
    assert len(ask(large, GROUPS, limit=1000)) == 130


# --- bad days -------------------------------------------------------------------------------------


@pytest.fixture
def sound(box):
    "The sandbox, healed after the test."
    box.fired.clear()
    yield box
    box.heal()
    box.latency = 0


JSON, HTML = "application/json;charset=UTF-8", "text/html;charset=UTF-8"
ROLES = "GET /api/authorization/v1/roles"


def page(title, text):
    head = f"<!DOCTYPE html><html><head><title>{title}</title></head>"
    return f"{head}<body><p>{text}</p></body></html>"


@pytest.mark.parametrize(
    "fault, status, kind, body, headers",
    [
        ("html", 200, HTML, page("Domo", "Please sign in."), {}),
        ("not_json", 200, JSON, "upstream says hello", {}),
        ("empty", 200, JSON, "", {}),
        ("moved", 302, None, "", {"location": "https://elsewhere.example.com/"}),
        (
            "blocked",
            200,
            HTML,
            page("Domo - Blocked", "Access from 192.0.2.7 is not allowed."),
            {},
        ),
        (
            "blocked_redirect",
            303,
            HTML,
            page("See Other", "Continue at /whitelist/blocked"),
            {"location": "/whitelist/blocked"},
        ),
        ("redirect", 302, None, "", {"location": "/auth/index?domoManualLogin=true"}),
        ("unknown_instance", 403, None, "", {}),
        ("wrong_password", 200, JSON, '{"success":false,"reason":"INVALID_CREDENTIALS"}', {}),
        ("locked", 200, JSON, '{"success":false,"reason":"ACCOUNT_LOCKED"}', {}),
        ("no_token", 200, JSON, "{}", {}),
        (
            "second_factor",
            200,
            JSON,
            '{"success":true,"twoFactorInfo":{"token":null,"key":null,"status":"REQUIRED",'
            '"phoneMask":null}}',
            {},
        ),
    ],
)
def test_a_fault_word_for_word(send, sound, fault, status, kind, body, headers):
    sound.fail(fault, "/api/authorization")
    reply = send(sound, ROLES)
    assert (reply.status_code, reply.headers.get("content-type"), reply.text) == (
        status,
        kind,
        body,
    )
    assert {name: reply.headers[name] for name in headers} == headers
    assert sound.fired == {fault: 1} and send(sound, ROLES).status_code == 200


@pytest.mark.parametrize(
    "fault, status, phrase, wait",
    [
        ("forbidden", 403, "Forbidden", None),
        ("not_found", 404, "Not Found", None),
        ("rate_limited", 429, "Too Many Requests", "1"),
        ("rate_limited_bare", 429, "Too Many Requests", None),
        ("server_error", 500, "Internal Server Error", None),
        ("bad_gateway", 502, "Bad Gateway", None),
        ("unavailable", 503, "Service Unavailable", None),
        ("gateway_timeout", 504, "Gateway Timeout", None),
    ],
)
def test_a_fault_that_is_an_error_of_domo(send, sound, fault, status, phrase, wait):
    sound.fail(fault)
    reply = send(sound, ROLES)
    told = reply.json()
    assert told.pop("toe") and told == {
        "status": status,
        "statusReason": phrase,
        "path": "/api/authorization/v1/roles",
        "message": phrase,
    }
    assert reply.status_code == status and reply.headers.get("retry-after") == wait


@pytest.mark.parametrize("seconds, told", [(0, "0"), (0.2, "1"), (1.5, "2"), (90, "90")])
def test_when_to_come_back_is_rounded_up(send, sound, seconds, told):
    sound.fail("rate_limited", seconds=seconds)
    assert send(sound, ROLES).headers["retry-after"] == told


def straight(box, line):
    "The reply that would be sent, before it is: with its delay and its end."
    method, path = line.split(" ")
    token = {"x-domo-developer-token": box.access_token}
    return box.domo.reply(method, path, token)


def test_how_a_reply_is_slow_or_ends_too_soon(sound):
    whole = straight(sound, ROLES)
    assert (whole.status, whole.delay, whole.end) == (200, 0, "")
    for fault, seconds, delay, end in [
        ("slow", None, 2, ""),
        ("slow", 0, 0, ""),
        ("slow", 7, 7, ""),
        ("cut", None, 0, "cut"),
        ("reset", None, 0, "reset"),
    ]:
        sound.fail(fault, seconds=seconds)
        reply = straight(sound, ROLES)
        assert (reply.status, reply.body, reply.delay, reply.end) == (200, whole.body, delay, end)
    sound.fail("drop")
    assert straight(sound, ROLES)[:2] == (0, b"") and sound.calls[-1][2] == 0
    sound.fail("truncated")
    half = straight(sound, ROLES)
    assert half.body == whole.body[: len(whole.body) // 2] and half.end == ""
    sound.fail("slow", seconds=5)
    straight(sound, ROLES)
    sound.fail("repeated_page")
    again = straight(sound, ROLES)
    assert again.body == whole.body and again.delay == 0  # what was slow once is not slow again


def test_a_repeated_page_is_the_last_good_one_of_its_address(ask, send, sound):
    first = ask(sound, GROUPS, offset=0, limit=1)
    sound.fail("server_error")
    assert send(sound, GROUPS, offset=1, limit=1).status_code == 500
    ask(sound, ROLES)
    sound.fail("repeated_page", "/api/content/v2/groups/grouplist")
    assert ask(sound, GROUPS, offset=2, limit=1) == first
    assert [row["name"] for row in ask(sound, GROUPS, offset=2, limit=1)] == ["Marketing Team"]


def test_faults_are_met_by_their_own_calls_and_so_often(send, sound):
    "A fault counts only the calls that fit its path, and the first that waits is the first met."
    me, users = "GET /api/content/v2/users/me", "GET /api/content/v2/users"
    sound.fail("not_found", "/api/content/v2/users/me", after=1)
    sound.fail("server_error", "/api/content/v2/users", times=2, after=2)
    sound.fail("unavailable", "/api/authorization", times=None, after=1)
    calls = [me, ROLES, me, users, users, users, me, ROLES, ROLES, GROUPS, ROLES]
    assert [send(sound, call).status_code for call in calls] == [
        *(200, 200, 404, 500, 500, 200, 200, 503, 503, 200, 503),
    ]
    assert sound.fired == {"not_found": 1, "server_error": 2, "unavailable": 3}
    sound.heal()
    assert send(sound, ROLES).status_code == 200


def test_a_fault_without_a_path_waits_for_a_call_and_not_for_a_sign_in(send, sound):
    sound.fail("server_error")
    token = {"grant_type": "client_credentials"}
    assert send(sound, "GET /oauth/token", **token).status_code == 401
    assert send(sound, "POST /api/content/v2/authentication", {}).status_code == 400
    assert send(sound, ROLES).status_code == 500
    sound.fail("locked")
    assert send(sound, ROLES).status_code == 200
    assert send(sound, "POST /api/content/v2/authentication", {}).json()["reason"] == (
        "ACCOUNT_LOCKED"
    )


@pytest.mark.parametrize(
    "missing, left",
    [
        (None, [0, 1]),
        ("all", []),
        ((), [0, 1, 2, 3]),
        ((0,), [1, 2, 3]),
        ((-1,), [0, 1, 2]),
        ((1, 3), [0, 2]),
        ((4, -5, 99), [0, 1, 2, 3]),
        ((-4,), [1, 2, 3]),
    ],
)
def test_which_rows_a_short_page_lacks(ask, sound, missing, left):
    sound.fail("short_page", missing=missing)
    assert [row["name"] for row in ask(sound, GROUPS)] == [TEAMS[n] for n in left]


def test_a_short_page_is_short_wherever_its_rows_stand(ask, sound):
    "Half of the rows are left, the first one always; what the reply counts stays as it was."
    sound.fail("short_page", times=None)
    assert [row["name"] for row in ask(sound, GROUPS, limit=3)] == TEAMS[:2]
    assert [row["name"] for row in ask(sound, GROUPS, limit=1)] == TEAMS[:1]
    users = ask(sound, PEOPLE, {"showCount": True})
    assert len(users["users"]) == 6 and users["count"] == 12
    assert len(ask(sound, PAGES, {})["pageAdminSummaries"]) == 4
    listed = ask(sound, DATASETS)
    assert len(listed["dataSources"]) == 7 and listed["_metadata"] == {"totalCount": 14}
    found = ask(sound, SEARCH, {"entityList": [["group"], ["page"]], "count": 12})
    assert len(found["searchObjects"]) == 6 and found["totalResultCount"] == 12
    assert {kind: len(rows) for kind, rows in found["searchResultsMap"].items()} == {
        "group": 2,
        "page": 4,
    }
    body = {"operationName": "getCertifiedEntities", "variables": {"type": "CC:DSET"}}
    connection = ask(sound, CERTIFIED, body)["data"]["certifyEntitiesConnection"]
    assert len(connection["edges"]) == 1 and connection["pageInfo"]["endCursor"] == "2"


def test_what_is_hidden_leaves_a_gap_in_its_page(ask, send, sound):
    finance, pipeline, wren = 766948348, 1225210876, 480339776
    sealed = "2e24116e-4e43-49a4-9953-c32036f6f33a"
    sound.hide(finance, pipeline, wren, sealed)
    assert [row["name"] for row in ask(sound, GROUPS, limit=2)] == ["Data Team"]
    assert [row["name"] for row in ask(sound, GROUPS, offset=2)] == TEAMS[2:]
    titles = [row["pageTitle"] for row in ask(sound, PAGES, {})["pageAdminSummaries"]]
    assert titles == TITLES[:5] + TITLES[6:]
    assert [row["displayName"] for row in ask(sound, IDENTITY, limit=3)["users"]] == [
        "monitor",
        "Pia Sage",
    ]
    listed = ask(sound, DATASETS)
    assert len(listed["dataSources"]) == 13 and listed["_metadata"] == {"totalCount": 14}
    found = ask(sound, SEARCH, {"entityList": [["dataset"]], "count": 50})
    assert len(found["searchObjects"]) == 13 and found["totalResultCount"] == 14
    body = {"operationName": "getCertifiedEntities", "variables": {"type": "CC:DSET"}}
    assert [edge["node"]["title"] for edge in edges(ask(sound, CERTIFIED, body))] == [
        "Finance ledger 13"
    ]
    sound.hide()
    assert [row["name"] for row in ask(sound, GROUPS, limit=2)] == TEAMS[:2]


def test_healing_takes_everything_back_but_the_latency(ask, send, sound):
    sound.latency = 0.001
    sound.fail("server_error", times=None)
    sound.serve("/api/authorization/v1/roles", [])
    sound.faults.location = "http://127.0.0.1:9/"
    sound.quirks = {"system_groups"}
    sound.hide(766948348)
    sound.limit(per_minute=1)
    sound.heal()
    assert [len(ask(sound, ROLES)) for _ in range(3)] == [7, 7, 7]
    assert [row["name"] for row in ask(sound, GROUPS)] == TEAMS
    sound.fail("moved")
    assert send(sound, ROLES).headers["location"] == "https://elsewhere.example.com/"
    assert sound.latency == 0.001


def test_what_is_served_has_no_other_address(ask, send, sound):
    sound.serve("/api/content/v2/users", [{"id": 1}])
    assert ask(sound, "GET /api/content/v2/users") == [{"id": 1}]
    assert ask(sound, "GET /api/content/v2/users", anything="at all") == [{"id": 1}]
    assert len(ask(sound, "GET /api/content/v2/users/me")) == 15


# --- who comes in ---------------------------------------------------------------------------------


class Clock:
    "A time that stands still, for one module."

    def __init__(self, now):
        self.now = now

    def time(self):
        return self.now

    def monotonic(self):
        return self.now


def decoded(part):
    import base64

    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def test_a_session_lasts_for_eight_hours(send, sound, monkeypatch):
    from urllib.parse import unquote

    clock = Clock(1_711_929_600.25)
    monkeypatch.setattr("domostats.sandbox.domo.sign_in.time", clock)
    wish = {
        "method": "password",
        "emailAddress": sound.username.upper(),
        "password": sound.password,
    }
    reply = send(sound, "POST /api/content/v2/authentication", wish).json()
    token = reply.pop("sessionToken")
    assert reply == {
        "userId": 1862305787,
        "success": True,
        "twoFactorInfo": {"token": None, "key": None, "status": "VALID", "phoneMask": None},
    }
    told = decoded(unquote(token))
    assert len(told.pop("hmacSignature")) == 64 and len(told.pop("sid")) == 32
    assert told == {
        "customerId": "mmmm-0000-0000",
        "expiration": 1_711_958_400_250,
        "timestamp": 1_711_929_600_250,
        "toes": "",
        "userId": "1862305787",
    }
    door, mine = sound.domo.sign_in, {"x-domo-authentication": token}
    clock.now += 8 * 3600 - 1
    assert door.who(mine)["displayName"] == "Pia Sage"
    clock.now += 1
    assert door.who(mine) is None
    assert door.who({**mine, "x-domo-developer-token": sound.access_token})["id"] == 1862305787


@pytest.mark.parametrize(
    "change",
    [
        {"method": "exptoken"},
        {"method": None},
        {"password": None},
        {"password": 5},
        {"emailAddress": ["x"]},
        {"more": 1},
    ],
    ids=str,
)
def test_what_is_no_sign_in(send, sound, change):
    wish = {"method": "password", "emailAddress": sound.username, "password": sound.password}
    reply = send(sound, "POST /api/content/v2/authentication", {**wish, **change})
    assert reply.status_code == 400 and reply.json()["message"] == "Bad Request"
    assert send(sound, "POST /api/content/v2/authentication", wish).json()["success"] is True
    with_query = send(sound, "POST /api/content/v2/authentication", wish, a=1)
    assert with_query.status_code == 400 and "parameters" in with_query.json()["message"]


def test_a_token_of_the_public_api(web, sound, monkeypatch):
    clock = Clock(1_711_929_600)
    monkeypatch.setattr("domostats.sandbox.domo.public.time", clock)
    basic = sound.client_id, sound.client_secret
    wish = {"grant_type": "client_credentials", "scope": "user data"}
    reply = web.get(sound.url + "/oauth/token", params=wish, auth=basic, timeout=20)
    told = reply.json()
    token, number = told.pop("access_token"), told.pop("jti")
    assert len(number) == 32 and told == {
        "token_type": "bearer",
        "expires_in": 3599,
        "scope": "data user",
        "customer": "sandbox",
        "role": "Admin",
        "userId": 1862305787,
    }
    head, inside, _ = token.split(".")
    assert decoded(head) == {"alg": "none", "typ": "JWT"}
    claims = decoded(inside)
    assert len(claims.pop("jti")) == 32
    assert claims == {"exp": 1_711_933_199, "scope": ["data", "user"], "userId": 1862305787}
    allows = sound.domo.client.allows
    bearer = {"authorization": f"Bearer {token}"}
    assert [allows(bearer, scope) for scope in ("user", "data", "audit")] == [200, 200, 403]
    clock.now += 3598
    assert allows(bearer, "user") == 200
    clock.now += 1
    assert allows(bearer, "user") == 401
    everything = {"grant_type": "client_credentials"}
    reply = web.post(sound.url + "/oauth/token", data=everything, auth=basic, timeout=20)
    assert reply.json()["scope"] == "account audit buzz dashboard data user workflow"


@pytest.mark.parametrize(
    "wish, secret, status",
    [
        ({"grant_type": "client_credentials"}, "guess", 401),
        ({"grant_type": "password"}, None, 400),
        ({}, None, 400),
        ({"grant_type": "client_credentials", "scope": "user shoes"}, None, 400),
        ({"grant_type": "client_credentials", "scope": " "}, None, 400),
        ({"grant_type": "client_credentials", "state": "x"}, None, 400),
    ],
    ids=str,
)
def test_what_gets_no_token(web, sound, wish, secret, status):
    basic = sound.client_id, secret or sound.client_secret
    reply = web.get(sound.url + "/oauth/token", params=wish, auth=basic, timeout=20)
    assert reply.status_code == status and "access_token" not in reply.text


@pytest.mark.parametrize("value", ["Basic", "Basic ???", "Bearer eA==", "Basic eA==", ""])
def test_what_is_no_client(web, sound, value):
    headers = {"Authorization": value}
    wish = {"grant_type": "client_credentials"}
    reply = web.get(sound.url + "/oauth/token", params=wish, headers=headers, timeout=20)
    assert reply.status_code == 401


def test_users_of_the_public_api(web, sound):
    basic = sound.client_id, sound.client_secret
    wish = {"grant_type": "client_credentials", "scope": "user"}
    told = web.get(sound.url + "/oauth/token", params=wish, auth=basic, timeout=20).json()
    headers = {"Authorization": f"bearer {told['access_token']}"}

    def users(**query):
        reply = web.get(sound.url + "/v1/users", params=query, headers=headers, timeout=20)
        return reply.json() if reply.status_code == 200 else reply.status_code

    assert users(limit=1) == [
        {
            "id": 1862305787,
            "name": "Pia Sage",
            "email": "pia.sage@example.com",
            "role": "Admin",
            "roleId": "1",
            "title": "Controller",
            "phone": "555-0106",
            "location": "Berlin",
            "employeeNumber": 8395,
            "createdAt": "2022-01-08T11:03:10Z",
            "updatedAt": "2023-11-03T23:07:26Z",
            "deleted": False,
            "image": "https://api.domo.com/v1/users/1862305787/image",
        }
    ]
    assert users(offset=1, limit=1)[0] == {
        "id": 480339776,
        "name": "Wren Bramble",
        "email": "wren.bramble@example.com",
        "role": "Analyst",
        "roleId": "393491103",
        "createdAt": "2022-04-05T15:51:56Z",
        "updatedAt": "2022-10-22T20:46:33Z",
        "deleted": False,
        "image": "https://api.domo.com/v1/users/480339776/image",
    }
    assert [user["name"] for user in users()] == PERSON
    assert [user["name"] for user in users(offset=11, limit=500)] == PERSON[11:]
    assert users(offset=12) == [] and users(limit=501) == 400 and users(limit=0) == []
    assert web.post(sound.url + "/v1/users", headers=headers, timeout=20).status_code == 405
    assert web.get(sound.url + "/v1/groups", headers=headers, timeout=20).status_code == 404


# --- what a value may look like -------------------------------------------------------------------


@pytest.mark.parametrize(
    "value, rows",
    [
        *(("2", 2), (" 2 ", 2), ("002", 2), ("", 4), ("0", 0), ("+2", None), ("2.0", None)),
        *(("1e1", None), ("two", None), ("-1", None), ("1" * 20, None)),
    ],
)
def test_whole_numbers_in_an_address(send, box, value, rows):
    reply = send(box, GROUPS, limit=value)
    assert (len(reply.json()) if reply.status_code == 200 else None) == rows


@pytest.mark.parametrize(
    "value, rows",
    [(2, 2), ("2", 2), (None, 10), ("", 10), (0, 0), (True, None), (2.0, None), ([2], None)],
    ids=repr,
)
def test_whole_numbers_in_a_body(send, box, value, rows):
    reply = send(box, SEARCH, {"entityList": [["user"]], "count": value})
    found = reply.json()
    assert (len(found["searchObjects"]) if reply.status_code == 200 else None) == rows


@pytest.mark.parametrize(
    "value, down",
    [
        *(("true", False), ("True", False), ("1", False), ("", False)),
        *(("false", True), ("FALSE", True), ("0", True), ("no", None), ("2", None)),
    ],
)
def test_true_and_false_in_an_address(send, box, value, down):
    reply = send(box, GROUPS, ascending=value)
    if down is None:
        assert reply.status_code == 400 and "neither true nor false" in reply.json()["message"]
    else:
        names = [row["name"] for row in reply.json()]
        assert names == (TEAMS[::-1] if down else TEAMS)


def test_lists_in_an_address(send, ask, box):
    def told(query):
        line = f"{IDENTITY}?limit=2&{query}"
        return [pair["key"] for pair in ask(box, line)["users"][1]["attributes"]]

    assert told("attributes=id,title") == ["id", "title"]
    assert told("attributes=id&attributes=title") == ["id", "title"]
    assert told("attributes=id%2C%20title") == ["id", "title"]
    assert told("attributes=id,,title,") == ["id", "title"]
    assert len(told("attributes=")) == 24


def test_a_body_where_none_is_known_and_one_that_is_no_json(web, box):
    headers = {"X-DOMO-Developer-Token": box.access_token}

    def told(method, path, body):
        reply = web.request(method, box.url + path, data=body, headers=headers, timeout=20)
        return reply.status_code, reply.json()["message"] if reply.status_code != 200 else ""

    groups, pages = GROUPS.split()[1], PAGES.split()[1]
    assert told("GET", groups, b"{}") == (200, "")
    assert told("GET", groups, b'{"limit": 1}')[0] == 400
    assert "a body is not known here" in told("GET", groups, b'{"limit": 1}')[1]
    assert "the body is no JSON" in told("POST", pages, b"{")[1]
    assert told("POST", pages, b"") == (200, "") and told("POST", pages, b"null") == (200, "")
    assert "is no JSON object" in told("POST", pages, b"[1]")[1]
    assert told("POST", pages, b" " * 1_000_001)[0] == 400
    assert "longer than 1000000 bytes" in told("POST", pages, b" " * 1_000_001)[1]
    assert "no JSON" in told("POST", pages, b" " * 1_000_000)[1]


def test_a_shelf_keeps_what_was_asked_for_last():
    from domostats.sandbox.replies import Reply, ReplyCache

    def reply(size):
        return Reply(200, b"x" * size)

    shelf = ReplyCache(room=10)
    for key, size in (("a", 4), ("b", 4)):
        shelf.put(key, reply(size))
    assert shelf.get("a") == reply(4) and shelf.get("c") is None and "b" in shelf
    shelf.put("c", reply(4))  # b was asked for longest ago
    assert "b" not in shelf and "a" in shelf and "c" in shelf
    shelf.put("d", reply(11))  # more than there is room for
    assert "d" not in shelf and "a" in shelf
    shelf.put("a", reply(9))  # it is there already
    assert shelf.get("a") == reply(4) and "c" in shelf
    shelf.put("e", reply(10))
    assert shelf.get("e") == reply(10) and "a" not in shelf and "c" not in shelf
    shelf.put("f", reply(0))
    assert "e" in shelf and "f" in shelf
