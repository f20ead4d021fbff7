"""Every parameter that a client sends to an endpoint the sandbox serves: it changes the answer
as it should, or is refused."""

import base64
import json

import pytest
import requests

from domostats import sandbox
from domostats.sandbox.domo.instance import Domo
from domostats.sandbox.domo.routes import ROUTES
from domostats.sandbox.domo.world import World

SIZES = {
    "seed": 3,
    "users": 60,
    "accounts": 20,
    "groups": 30,
    "datasets": 120,
    "pages": 40,
    "events": 500,
}
ME, USERS, USER3 = "/api/content/v2/users/me", "/api/content/v2/users", "/api/content/v3/users"
IDENTITY, USER_SEARCH = "/api/identity/v1/users", "/api/identity/v1/users/search"
GROUPS, GROUP = "/api/content/v2/groups/grouplist", "/api/content/v2/groups"
ROLES, ACCOUNTS = "/api/authorization/v1/roles", "/api/data/v1/accounts"
PROVIDERS = "/api/data/v2/datasources/providers"
PAGES, ACCESS = "/api/content/v1/pages/adminsummary", "/api/content/v1/share/accesslist/page"
SEARCH, UI_SEARCH = "/api/search/v1/query", "/api/data/ui/v3/datasources/search"
DATASETS, BULK = "/api/data/v3/datasources", "/api/data/v3/datasources/bulk"
STREAM, STREAMS = "/api/data/v1/streams", "/api/data/v1/streams/bulk"
EVENTS, COUNT = "/api/audit/v1/user-audits", "/api/audit/v1/user-audits/count"
TYPES = "/api/audit/v1/user-audits/objectTypes"
GRAPHQL = "/api/synapse/approval/graphql"
NAMES = "name_sort wildcard"


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        with sandbox.start(**SIZES) as running:
            yield running


@pytest.fixture(scope="module")
def ask(box):
    "Ask an endpoint as the administrator: the JSON of its reply."
    session = requests.Session()
    session.trust_env = False
    headers = {"X-DOMO-Developer-Token": box.domo.admin.access_token}

    def ask(path, body=None, status=200, method=None, **query):
        reply = session.request(
            method or ("GET" if body is None else "POST"),
            box.url + path,
            params=query,
            json=body,
            headers=headers,
            timeout=20,
        )
        assert reply.status_code == status, (path, query, body, reply.text[:500])
        return reply.json() if reply.content else None

    with session:
        yield ask


@pytest.fixture(scope="module")
def known(ask):
    "Everything there is, asked for without a filter."
    documents = {"combineResults": True, "count": 1000}
    return {
        "groups": ask(GROUPS, limit=1000),
        "pages": ask(PAGES, {}, limit=1000)["pageAdminSummaries"],
        "datasets": ask(UI_SEARCH, {"count": 1000})["dataSources"],
        "events": ask(EVENTS, limit=1000),
        "users": ask(IDENTITY, limit=1000)["users"],
        "documents": ask(SEARCH, {**documents, "entities": ["DATASET"]})["searchObjects"],
    }


def ids(rows, name="id"):
    return [row[name] for row in rows]


def some(rows, everything):
    "The rows, which are some and not all."
    assert 0 < len(rows) < len(everything)
    return rows


# --- groups ---------------------------------------------------------------------------------------


def test_groups_filter_by_members(ask, known):
    "groups: those of a user"
    for user in known["users"][1:8]:
        member = {"type": "USER", "id": str(user["id"])}
        inside = [group for group in known["groups"] if member in group["groupMembers"]]
        assert ask(GROUPS, members=user["id"], limit=10_000) == inside
    assert some(ask(GROUPS, members=known["users"][1]["id"]), known["groups"])


def test_groups_filter_by_owner(ask, known):
    "groups: those that somebody owns"
    owners = {(owner["type"], owner["id"]) for g in known["groups"] for owner in g["owners"]}
    assert {type for type, _ in owners} == {"USER", "GROUP"}
    for _, id in owners:
        owned = [g for g in known["groups"] if id in ids(g["owners"])]
        assert ask(GROUPS, owner=id) == some(owned, known["groups"])
    users = [g for g in known["groups"] if g["owners"][0]["type"] == "USER"]
    assert ask(GROUPS, ownerType="USER") == some(users, known["groups"])


@pytest.mark.parametrize("more", [{}, {"sort": "name"}, {"sort": "name "}, {"ascending": "True"}])
def test_groups_search(ask, known, more):
    "groups: search by a part of the name, whatever the order"
    named = [g for g in known["groups"] if "team" in g["name"].lower()]
    assert ask(GROUPS, search="TEAM", **more) == some(named, known["groups"])


def test_groups_of_nobody(ask):
    "groups: a user who is not there is in none, and owns none"
    assert ask(GROUPS, members=12345) == ask(GROUPS, owner=12345) == ask(GROUPS, search="x?") == []


def test_groups_empty_parameters_mean_nothing(ask, known):
    "groups: the form that the recorded call has"
    reply = ask(f"{GROUPS}?ascending=true&sort=name&search=&limit=1000&offset=&owner=&members=")
    assert reply == known["groups"]


def test_groups_order_page_type_and_membership(ask, known):
    "groups: order, page, type, and members inside or not"
    assert ask(GROUPS, ascending="False") == known["groups"][::-1]
    assert ask(GROUPS, limit=7, offset=5) == known["groups"][5:12]
    open_ones = [g for g in known["groups"] if g["groupType"] == "open"]
    assert ask(GROUPS, groupType="open") == some(open_ones, known["groups"])
    for text in ("false", "False", "0"):
        assert not any("groupMembers" in g for g in ask(GROUPS, includeFullMembership=text))
    assert ask(GROUPS, includeFullMembership="True") == known["groups"]


# --- users ----------------------------------------------------------------------------------------


def test_users_identity(ask, known):
    "users of the newer list: page, attributes, parts, deleted ones"
    assert ask(IDENTITY, limit=7, offset=5)["users"] == known["users"][5:12]
    keys = {
        pair["key"]
        for user in ask(IDENTITY, attributes="title,emailAddress")["users"]
        for pair in user["attributes"]
    }
    assert keys == {"title", "emailAddress"}
    plain = {"attributes", "id", "displayName", "roleId", "userName", "emailAddress"}
    assert ask(IDENTITY, limit=1)["users"][0].keys() == plain
    one = ask(IDENTITY, limit=1, offset=1, parts="DETAILED,GROUPS,ROLE")["users"][0]
    assert one.keys() == plain | {"groups", "role"} and one["role"]["roleName"] == "Admin"
    everybody = ask(IDENTITY, includeDeleted="true", limit=1000)["users"]
    assert everybody[:60] == known["users"] and len(everybody) > 60


def test_users_that_are_not_there(ask, known):
    "users: an unknown id is empty in the older list, 404 in the newer one, absent from a search"
    there = {user["id"] for user in known["users"]}
    for id in (1, 7, 12345, 10**9, 2**31 - 1, 2**63):
        assert id not in there
        assert ask(f"{USERS}/{id}", includeDetails="true") is None
        ask(f"{USER3}/{id}", includeDetails="true", status=404)
        one = {"filterType": "value", "field": "id", "values": [id], "operator": "EQ"}
        assert ask(USER_SEARCH, {"filters": [one]})["users"] == []
    one = known["users"][5]
    assert ask(f"{USERS}/{one['id']}", includeDetails="True")["id"] == one["id"]
    names = {"includeDetails": "true", "attributes": ["id", "displayName"]}
    assert ask(f"{USERS}/{one['id']}", **names)["displayName"] == one["displayName"]
    shown = ask(f"{USER3}/{one['id']}", **names)
    assert shown["roleId"] == one["roleId"] and shown["detail"]["email"] == one["emailAddress"]
    assert "detail" not in ask(f"{USER3}/{one['id']}")


def test_users_search_by_what_is_true_or_not_set(ask, known):
    "users: a value filter takes true in any spelling, and what is not set equals nothing"
    people = known["users"][1:]

    def found(field, *values):
        one = {"filterType": "value", "field": field, "values": [*values]}
        return ids(ask(USER_SEARCH, {"filters": [one], "limit": 1000})["users"])

    def has(user, field):
        return next((one["values"][0] for one in user["attributes"] if one["key"] == field), None)

    pending = [user["id"] for user in people if has(user, "isPending")]
    for value in ("true", "True", True):
        assert found("isPending", value) == some(pending, people), value
    assert found("department", "None") == []
    assert found("department", "Sales") == [
        user["id"] for user in people if has(user, "department") == "Sales"
    ]


def test_users_search(ask, known):
    "users: search by text and by value, sorted, counted, in pages"
    people = known["users"][1:]
    text = {"filterType": "text", "field": "displayName", "text": "moss birch"}
    named = [u for u in people if {"Moss", "Birch"} & {*u["displayName"].split()}]
    found = ask(USER_SEARCH, {"filters": [text], "showCount": True, "limit": 1000})
    assert ids(found["users"]) == ids(some(named, people)) and found["count"] == len(named)
    wanted = ids(people)[3:9]
    value = {"filterType": "value", "field": "id", "values": wanted, "operator": "EQ"}
    assert ids(ask(USER_SEARCH, {"filters": [value]}, explain="false")["users"]) == wanted
    assert ids(ask(USER_SEARCH, {"ids": wanted[:2]})["users"]) == wanted[:2]
    page = {"limit": 4, "offset": 2, "sort": {"field": "displayName", "order": "DESC"}}
    names = sorted(ids(people, "displayName"), reverse=True)
    assert ids(ask(USER_SEARCH, page)["users"], "displayName") == names[2:6]
    assert "count" not in ask(USER_SEARCH, page) and "count" in ask(USER_SEARCH, {"count": True})
    body = {
        "attributes": ["title"],
        "parts": ["GROUPS", "ROLE"],
        "limit": 1,
        "includeSupport": True,
    }
    support = ask(USER_SEARCH, body)["users"][0]
    assert support["id"] == 0 and {"groups", "role"} <= support.keys()
    assert {pair["key"] for pair in support["attributes"]} <= {"title"}
    gone = ask(USER_SEARCH, {"onlyDeleted": True})["users"]
    all_of_them = ask(USER_SEARCH, {"includeDeleted": True, "limit": 1000})["users"]
    assert gone and len(all_of_them) == 59 + len(gone)
    assert not {*ids(gone)} & {*ids(known["users"])}


def test_roles_members(ask):
    "members of a role: page, and the total of it"
    largest = max(ask(ROLES), key=lambda role: role["userCount"])
    path = f"{ROLES}/{largest['id']}/users"
    everybody = ask(path, limit=500)["users"]
    assert len(everybody) == largest["userCount"] > 12
    page = ask(path, limit=7, offset=5)
    assert page["users"] == everybody[5:12]
    assert page["totalCount"] == page["totalFilteredCount"] == len(everybody)
    assert ask(path, offset=len(everybody))["users"] == []


# --- pages ----------------------------------------------------------------------------------------


def test_pages_title(ask, known):
    "pages: those with a text in the title"
    named = [p for p in known["pages"] if "budget" in p["pageTitle"].lower()]
    body = {"includePageTitleClause": True, "pageTitleSearchText": "Budget"}
    assert ask(PAGES, body, limit=100)["pageAdminSummaries"] == some(named, known["pages"])
    body["includePageTitleClause"] = False
    assert ask(PAGES, body, limit=100)["pageAdminSummaries"] == known["pages"]


def test_pages_parents(ask, known):
    "pages: those below some parents; more than ten parents find nothing, without an error"
    parents = list(dict.fromkeys(p["parentPageId"] for p in known["pages"] if p["parentPageId"]))
    body = {"includeParentPageIdsClause": True, "parentPageIds": parents[:3]}
    below = [p for p in known["pages"] if p["parentPageId"] in parents[:3]]
    assert ask(PAGES, body, limit=100)["pageAdminSummaries"] == some(below, known["pages"])
    assert len(parents) > 10
    many = {**body, "parentPageIds": parents[:11]}
    assert ask(PAGES, many, limit=100)["pageAdminSummaries"] == []


def test_pages_owners(ask, known):
    "pages: those of some people, of some groups, of nobody"
    for type, name in (("USER", "ownerIds"), ("GROUP", "groupOwnerIds")):
        id = next(o["id"] for p in known["pages"] for o in p["owners"] if o["type"] == type)
        owned = [p for p in known["pages"] if id in ids(p["owners"])]
        body = {"includePageOwnerClause": True, name: [id]}
        assert ask(PAGES, body, limit=100)["pageAdminSummaries"] == some(owned, known["pages"])
        body["addPageWithNoOwner"] = True  # there is none without an owner
        assert ask(PAGES, body, limit=100)["pageAdminSummaries"] == owned
    body = {"includePageOwnerClause": True, "addPageWithNoOwner": True, "ownerIds": []}
    assert ask(PAGES, body)["pageAdminSummaries"] == []


def test_pages_modified_order_and_page(ask, known):
    "pages: those that were changed between two days; order and page"
    times = sorted(ids(known["pages"], "lastModified"))
    body = {
        "includeLastModifiedDateClause": True,
        "lastModifiedDateOperand": "BETWEEN",
        "lastModifiedStartDate": "2000-01-01",
        "lastModifiedEndDate": "2100-01-01",
        "orderBy": "lastModified",
        "ascending": True,
    }
    assert ids(ask(PAGES, body, limit=99)["pageAdminSummaries"], "lastModified") == times
    body |= {"lastModifiedEndDate": "2000-01-02"}
    assert ask(PAGES, body, limit=99)["pageAdminSummaries"] == []
    titles = ids(known["pages"], "pageTitle")
    down = {"orderBy": "pageTitle", "ascending": False}
    shown = ask(PAGES, down, limit=5, skip=2)["pageAdminSummaries"]
    assert ids(shown, "pageTitle") == titles[::-1][2:7]
    by_id = ask(PAGES, {"orderBy": "pageId"}, limit=99)["pageAdminSummaries"]
    assert ids(by_id, "pageId") == sorted(ids(known["pages"], "pageId"))


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "1"])
def test_page_access_with_people(ask, known, text):
    "pages: who may open one, with the people of its groups, however a client writes true"
    page = known["pages"][0]["pageId"]
    whole = ask(f"{ACCESS}/{page}", expandUsers="true")
    assert ask(f"{ACCESS}/{page}", expandUsers=text) == whole
    lists = [
        ask(f"{ACCESS}/{one['pageId']}", expandUsers=text)["groups"] for one in known["pages"][:9]
    ]
    assert any(group["users"] for groups in lists for group in groups)
    for word in ("false", "False", "0"):
        shown = ask(f"{ACCESS}/{page}", expandUsers=word)
        assert not any(group["users"] for group in shown["groups"])


# --- datasets -------------------------------------------------------------------------------------


def test_datasets_of_a_provider(ask, known):
    "datasets of the plain list: those of one connector"
    provider = known["datasets"][0]["dataProviderType"]
    of_it = [d["id"] for d in known["datasets"] if d["dataProviderType"] == provider]
    reply = ask(DATASETS, dataProviderType=provider, limit=500)
    assert ids(reply["dataSources"]) == some(of_it, known["datasets"])
    assert reply["_metadata"]["totalCount"] == len(of_it)
    assert ask(DATASETS, dataProviderType="no such thing")["dataSources"] == []


@pytest.mark.parametrize(
    "name, of", [("displayType", "displayType"), ("type", "type"), ("nameLike", "name")]
)
def test_datasets_of_a_sort(ask, known, name, of):
    "datasets of the plain list: those of a type, or with a text in the name"
    value = known["datasets"][4][of]
    same = [d["id"] for d in known["datasets"] if value.lower() in d[of].lower()]
    if of == "name":
        assert len(same) == 1
    assert ids(ask(DATASETS, **{name: value}, limit=500)["dataSources"]) == same


def test_datasets_of_an_owner_in_order(ask, known):
    "datasets of the plain list: those of a user, by creation, in pages"
    owner = next(d["owner"] for d in known["datasets"] if d["owner"]["type"] == "USER")
    owned = [d["id"] for d in known["datasets"] if d["owner"] == owner]
    reply = ask(DATASETS, ownerId=owner["id"], orderBy="createdAt", limit=500)
    assert ids(reply["dataSources"]) == some(owned, known["datasets"])
    assert ids(ask(DATASETS, limit=7, offset=5)["dataSources"]) == ids(known["datasets"])[5:12]


def test_datasets_parts(ask, known):
    "datasets: the parts of one, of a hundred, and of the plain list"
    sealed = [d for d in known["datasets"] if "certification" in d]
    id = sealed[0]["id"]
    parts = {
        "core": set(),
        "core,functions": {"properties"},
        "core,certification": {"certification"},
        "core,cryo": {"cryoStatus"},
        "core,permission,status,rowcolcount,dataprovider": set(),
    }
    for part, extra in parts.items():
        for one in (
            ask(f"{DATASETS}/{id}", part=part),
            ask(BULK, [id], part=part, includePrivate="true")["dataSources"][0],
            next(d for d in ask(DATASETS, part=part, limit=500)["dataSources"] if d["id"] == id),
        ):
            assert {"properties", "certification", "cryoStatus"} & one.keys() == extra, part
    assert ask(f"{DATASETS}/{id}", includeAllDetails="True") == sealed[0]
    assert "properties" not in ask(f"{DATASETS}/{id}", includeFormulas="false")
    formulas = ask(BULK, [id], includeAllDetails="true", includeFormulas="false")
    assert "properties" not in formulas["dataSources"][0]


def test_streams(ask):
    "streams: by ids, and with all their fields"
    both = ask(STREAMS, streamId="5,8,17,6")
    assert ids(both) == [5, 8] and ask(STREAMS, streamId="5,8", fields="all") == both
    assert ask(f"{STREAM}/5", fields="all") == ask(f"{STREAM}/5") == both[0]


# --- the searches ---------------------------------------------------------------------------------

SEARCHED = {
    SEARCH: ({"entityList": [["dataset"]], "count": 1000}, "databaseId", "searchObjects"),
    UI_SEARCH: ({"entities": ["DATASET"], "count": 1000}, "id", "dataSources"),
}


@pytest.fixture(params=SEARCHED, ids=["search", "dataset search"])
def found(request, ask):
    "The ids of the datasets that one of the searches finds with a body."
    body, id, at = SEARCHED[request.param]

    def found(**more):
        return ids(ask(request.param, {**body, **more})[at], id)

    return found


def term(field, value, **more):
    return {"filterType": "term", "field": field, "value": value, **more}


def test_search_words(found, known):
    "search: a query text"
    for query, fits in {
        "*": lambda name: True,
        "orders": lambda name: "orders" in name,
        "*rders": lambda name: "rders" in name,
        "ORDERS sales": lambda name: "orders" in name and "sales" in name,
        "nothing": lambda name: False,
    }.items():
        there = [d["id"] for d in known["datasets"] if fits(d["name"].lower())]
        assert found(query=query) == there, query
    assert some(found(query="orders"), known["datasets"])


def test_search_wildcard(found, known):
    "search: a wildcard in the name"
    wild = {"filterType": "wildcard", "field": "name_sort", "query": "*Orders*"}
    named = [d["id"] for d in known["datasets"] if "orders" in d["name"]]
    assert found(filters=[wild]) == some(named, known["datasets"])
    wild["query"] = "orders"  # no name is that and nothing else
    assert found(filters=[wild]) == []


def test_search_provider_and_not(found, known):
    "search: by a connector's name or key, and by any other"
    key = "mysql"
    of_it = [d["id"] for d in known["datasets"] if d["dataProviderType"] == key]
    assert found(filters=[term("dataprovidername_facet", "MySQL")]) == of_it
    assert found(filters=[term("dataproviderkey_facet", key)]) == some(of_it, known["datasets"])
    others = [id for id in ids(known["datasets"]) if id not in of_it]
    is_not = {**term("dataprovidername_facet", "MySQL"), "not": True}
    assert found(filters=[is_not]) == others
    assert found(filters=[{**is_not, "not": False, "name": "MySQL"}]) == of_it


def test_search_certification(found, known):
    "search: by the state of a certification"
    for state in ("CERTIFIED", "PENDING", "EXPIRED"):
        there = [
            d["id"] for d in known["datasets"] if d.get("certification", {}).get("state") == state
        ]
        assert found(filters=[term("certification.state", state)]) == there


def test_search_owner_id_and_dates(found, known):
    "search: by owner in both spellings, by id, by a window of creation"
    owner = known["datasets"][0]["owner"]
    owned = [d["id"] for d in known["datasets"] if d["owner"] == owner]
    for value in (owner["id"], f"{owner['id']}:{owner['type']}"):
        assert found(filters=[term("owned_by_id", value)]) == some(owned, known["datasets"])
        others = found(filters=[term("owned_by_id", value, **{"not": True})])
        assert sorted(others + owned) == sorted(ids(known["datasets"]))
    assert found(filters=[term("owned_by_id", "12345")]) == []
    one = known["datasets"][7]["id"]
    assert found(filters=[term("databaseId", one)]) == [one]
    times = ids(known["datasets"], "created")
    window = {"filterType": "dateRange", "field": "create_date", "from": times[10], "to": times[50]}
    assert found(filters=[window]) == ids(known["datasets"])[10:50]


def test_search_order_and_page(found, known):
    "search: sorts and pages"

    def by(field, order):
        return {"isRelevance": False, "fieldSorts": [{"field": field, "sortOrder": order}]}

    everything = known["datasets"]
    assert found(sort=by("create_date", "DESC")) == ids(everything)[::-1]
    changed = sorted(everything, key=lambda one: one["lastUpdated"])
    assert found(sort=by("last_modified", "ASC")) == ids(changed) != ids(everything)
    named = sorted(everything, key=lambda one: one["name"].lower(), reverse=True)
    assert found(sort=by("display_name_sort", "DESC")) == ids(named)
    assert found(count=7, offset=5, combineResults=False) == ids(everything)[5:12]


def test_search_or_and_none_of(ask, known):
    "search over everything: any of some filters, none of others"
    body = {"entityList": [["dataset"]], "count": 1000}
    sealed = [term("certification.state", state) for state in ("CERTIFIED", "PENDING")]
    either = ask(SEARCH, {**body, "orFilters": sealed})["totalResultCount"]
    neither = ask(SEARCH, {**body, "notFilters": sealed})["totalResultCount"]
    assert 0 < either < 120 and either + neither == 120


def test_search_entities(ask, known):
    "search over everything: each entity that the world has, by names in either form"
    sizes = {"account": 20, "dataset": 120, "group": 30, "page": 40, "user": 59}
    for name, size in sizes.items():
        for asked in ({"entityList": [[name]]}, {"entities": [name.upper()]}):
            reply = ask(SEARCH, {**asked, "count": 1000, "query": "*"})
            assert reply["totalResultCount"] == size
            assert {one["entityType"] for one in reply["searchObjects"]} == {name}
            assert len({one["databaseId"] for one in reply["searchObjects"]}) == size
    both = ask(SEARCH, {"entityList": [["account", "group"]], "count": 15, "offset": 10})
    assert both["totalResultCount"] == 50
    assert {name: len(rows) for name, rows in both["searchResultsMap"].items()} == {
        "account": 10,
        "group": 5,
    }


def test_search_entities_in_one_order(ask):
    "search over everything: a sort counts for all entities together, on every page"
    body = {"entityList": [["account", "dataset", "group"]], "count": 1000}
    for order in ("ASC", "DESC"):
        sort = {"fieldSorts": [{"field": "create_date", "sortOrder": order}]}
        shown = ask(SEARCH, {**body, "sort": sort})
        days = ids(shown["searchObjects"], "createDate")
        assert days == sorted(days, reverse=order == "DESC") and len(days) == 170
        page = ask(SEARCH, {**body, "sort": sort, "count": 25, "offset": 20})
        assert page["searchObjects"] == shown["searchObjects"][20:45]
        assert len({one["entityType"] for one in page["searchObjects"]}) > 1
        for name, rows in page["searchResultsMap"].items():
            assert rows == [one for one in page["searchObjects"] if one["entityType"] == name]


def test_search_filters_have_no_keys_of_others(found, known):
    "search: a filter with the key of another type is refused, and true is true in any spelling"
    times = {"from": 1, "to": 2}
    for one in (
        term("used", "true", query="x*"),
        term("used", "true", **{"from": 5}),
        {"filterType": "wildcard", "field": "name_sort", "query": "*1*", "value": "zz"},
        {"filterType": "dateRange", "field": "create_date", "value": "zz", **times},
        {"filterType": "dateBucket", "field": "create_date", "value": "LAST_WEEK", "from": 5},
        term("used", "yes"),
    ):
        for body in ({"filters": [one]}, {"filters": [{**one, "not": True}]}):
            with pytest.raises(AssertionError, match="The sandbox does not answer this"):
                found(**body)
    used = found(filters=[term("used", "true")])
    assert found(filters=[term("used", "True")]) == some(used, known["datasets"])


def test_search_accounts(ask):
    "search over everything: accounts by their display name, with facets"
    listed = {one["id"] for provider in ask(PROVIDERS) for one in provider["accounts"]}
    listed |= {*ids(ask(ACCOUNTS))}
    body = {
        "combineResults": False,
        "query": "*MySQL*",
        "filters": [],
        "facetValuesToInclude": ["DATAPROVIDERNAME", "OWNED_BY_ID", "VALID", "USED"],
        "queryProfile": "GLOBAL",
        "entityList": [["account"]],
        "sort": {"fieldSorts": [{"field": "display_name_sort", "sortOrder": "ASC"}]},
        "count": 1000,
        "offset": 0,
    }
    reply = ask(SEARCH, body)
    names = ids(reply["searchObjects"], "displayName")
    assert names == sorted(names, key=str.lower) and all("MySQL" in name for name in names)
    everything = ask(SEARCH, {**body, "query": "*"})
    assert {int(one["databaseId"]) for one in everything["searchObjects"]} == listed
    assert 0 < len(names) < everything["totalResultCount"] == len(listed) == 20
    facets = everything["facetMap"]
    assert {
        name: sum(ids(facets[name]["facetValues"], "count")) for name in facets
    } == dict.fromkeys(("DATAPROVIDERNAME", "OWNED_BY_ID", "VALID", "USED"), 20)
    valid = {one["value"]: one["count"] for one in facets["VALID"]["facetValues"]}
    assert valid["true"] == sum(one["valid"] for one in everything["searchObjects"])
    mysql = ask(SEARCH, {**body, "query": "*", "filters": [term("dataproviderkey_facet", "mysql")]})
    assert {one["dataProviderType"] for one in mysql["searchObjects"]} == {"mysql"}


def test_search_facets(ask, known):
    "search over everything: facets counted over all that is found, without documents"
    body = {"entityList": [["dataset"]], "count": 0}
    names = ["TAG", "USED", "OWNED_BY_ID", "DATAPROVIDERNAME", "CREATE_DATE", "LAST_MODIFIED_DATE"]
    reply = ask(SEARCH, {**body, "facetValuesToInclude": names})
    assert [*reply["facetMap"]] == names and reply["searchObjects"] == []
    providers = reply["facetMap"]["DATAPROVIDERNAME"]["facetValues"]
    assert sum(ids(providers, "count")) == 120
    short = {"facetValuesToInclude": names, "facetValueLimit": 2, "facetValueOffset": 1}
    shown = ask(SEARCH, {**body, **short})["facetMap"]["DATAPROVIDERNAME"]["facetValues"]
    assert shown == providers[1:3]
    buckets = reply["facetMap"]["LAST_MODIFIED_DATE"]["facetValues"]
    assert ids(buckets, "value") == ["LAST_DAY", "LAST_WEEK", "LAST_MONTH", "LAST_QUARTER"]
    for one in buckets:
        bucket = {"filterType": "dateBucket", "field": "last_modified", "value": one["value"]}
        assert ask(SEARCH, {**body, "filters": [bucket]})["totalResultCount"] == one["count"]


@pytest.mark.parametrize("together", [True, False, "false"])
def test_search_objects(ask, together):
    "search over everything: the documents of all entities together, unless they are hidden"
    body = {"entityList": [["dataset"]], "count": 5, "combineResults": together}
    reply = ask(SEARCH, body)
    assert reply["searchObjects"] == reply["searchResultsMap"]["dataset"]
    assert len(reply["searchObjects"]) == 5 and reply["hideSearchObjects"] is False
    hidden = ask(SEARCH, {**body, "hideSearchObjects": True})
    assert hidden["searchObjects"] == [] and len(hidden["searchResultsMap"]["dataset"]) == 5
    few = {**body, "fieldsToReturn": ["databaseId", "name"], "includePhonetic": False}
    assert ask(SEARCH, few)["searchObjects"][0].keys() == {"databaseId", "name"}


# --- the log, and certifications ------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, field", [("objectType", "objectType"), ("eventType", "actionType"), ("user", "userId")]
)
def test_events_filters(ask, known, name, field):
    "activity log: events and their count by object type, action, user"
    value = known["events"][3][field]
    there = [event for event in known["events"] if event[field] == value]
    assert ask(EVENTS, **{name: value}, limit=1000) == some(there, known["events"])
    assert ask(COUNT, **{name: value}) == {"count": len(there)}


def test_events_objects_windows_and_pages(ask, known):
    "activity log: by an object, by several types, in a window, in pages"
    id = next(event["objectId"] for event in known["events"] if "objectId" in event)
    about = [event for event in known["events"] if event.get("objectId") == id]
    assert ask(EVENTS, objectId=id, limit=1000) == about and ask(COUNT, objectId=id)["count"]
    types = ("PAGE", "CARD")
    either = [event for event in known["events"] if event["objectType"] in types]
    assert ask(COUNT, objectType="PAGE,CARD") == {"count": len(either)}
    times = ids(known["events"], "time")
    window = {"start": times[400], "end": times[100]}
    inside = [event for event in known["events"] if times[400] <= event["time"] < times[100]]
    assert ask(EVENTS, **window, limit=1000) == inside
    assert ask(COUNT, **window, limit=10, offset=5) == {"count": len(inside)}
    assert ask(EVENTS, limit=7, offset=5) == known["events"][5:12]
    for path in (EVENTS, COUNT):
        assert "'page'" in ask(path, status=400, objectType="CARD,page")["message"]


def test_events_go_back_a_year(ask, known):
    "activity log: what is older than about a year is not kept"
    times = ids(known["events"], "time")
    year = 365 * 86_400_000
    assert times[0] - times[-1] < 1.02 * year
    assert ask(COUNT, start=1_199_145_600_000) == ask(COUNT) == {"count": 500}
    assert ask(EVENTS, start=1_199_145_600_000, end=times[0] - round(1.02 * year)) == []


def test_events_types(ask, known):
    "activity log: the types of object, what happens to them, and the objects of a type"
    types = ask(TYPES)
    assert all(row.keys() == {"type", "translation"} for row in types)
    assert {"type": "ACCESS_TOKEN", "translation": "Access token"} in types
    assert {event["objectType"] for event in known["events"]} <= {*ids(types, "type")}
    pages = [event for event in known["events"] if event["objectType"] == "PAGE"]
    assert {event["actionType"] for event in pages} == {
        *ids(ask(f"{TYPES}/PAGE/eventTypes"), "type")
    }
    objects = ask(f"{TYPES}/PAGE", start=0, end=9_000_000_000_000)
    named = {(e["objectId"], e["objectName"]) for e in pages if "objectId" in e}
    assert {(row["objectId"], row["objectName"]) for row in objects} == named
    assert all(row.keys() == {"objectId", "objectName"} for row in objects)
    assert ask(f"{TYPES}/PAGE", limit=3, offset=2) == objects[2:5]
    ask(f"{TYPES}/PGAE", status=404)
    ask(f"{TYPES}/PGAE/eventTypes", status=404)


def test_certifications(ask):
    "certifications: state, words, bookmarks; a variable that is not known is passed over"

    def certified(**variables):
        body = {
            "operationName": "getCertifiedEntities",
            "query": "query",
            "variables": {"type": "CC:DSET", **variables},
        }
        reply = ask(GRAPHQL, body)
        assert ask(GRAPHQL, [body]) == [reply]
        found = reply["data"]["certifyEntitiesConnection"]
        return [edge["node"] for edge in found["edges"]], found["pageInfo"]

    everything, _ = certified()
    pending, _ = certified(stateFilter="PENDING")
    assert pending == [one for one in everything if one["certifyState"] == "PENDING"]
    assert 0 < len(pending) < len(everything) == 12
    named, _ = certified(searchTerm=everything[2]["title"].upper())
    assert named == [everything[2]]
    first, mark = certified(first=5, unheard="of")
    rest, end = certified(first=500, after=mark["endCursor"], stateFilter=None)
    assert first + rest == everything and not end["hasNextPage"] and len(first) == 5


@pytest.mark.parametrize("first, there_is_more", [(10, True), (11, True), (12, False), (13, False)])
def test_a_page_of_certifications_says_whether_it_is_the_last(ask, first, there_is_more):
    "certifications: of twelve, where a single one is left, too"
    body = {"operationName": "getCertifiedEntities", "variables": {"type": "CC:DSET"}}
    body["variables"]["first"] = first
    found = ask(GRAPHQL, body)["data"]["certifyEntitiesConnection"]
    assert found["pageInfo"] == {"hasNextPage": there_is_more, "endCursor": str(min(first, 12))}


def test_one_account(ask):
    "accounts: one, masked or not; no secret stands in it either way"
    one = ask(ACCOUNTS)[3]
    for text in ("true", "False", "false"):
        assert ask(f"{ACCOUNTS}/{one['id']}", unmask=text) == one
    ask(f"{ACCOUNTS}/999999999", status=404)


# --- what is not known ----------------------------------------------------------------------------

REFUSED = [  # what a client sends, endpoint, query, body, what the refusal names
    ("groups: made after a day", GROUPS, {"createdAfter": "2024-01-01"}, None, "createdAfter"),
    ("groups: made before a day", GROUPS, {"createdBefore": 1}, None, "createdBefore"),
    ("groups: those I may manage", GROUPS, {"isManageable": "true"}, None, "isManageable"),
    ("groups: a name that is not known, without a value", GROUPS, {"shoeSize": ""}, None, "shoe"),
    ("groups: another order", GROUPS, {"sort": "memberCount"}, None, "memberCount"),
    ("groups: an unknown type", GROUPS, {"groupType": "secret"}, None, "secret"),
    ("groups: neither true nor false", GROUPS, {"ascending": "up"}, None, "ascending"),
    ("groups: a negative page", GROUPS, {"offset": -1}, None, "offset"),
    ("groups: too large a page", GROUPS, {"limit": 10_001}, None, "10000 is the most"),
    ("groups: a member who is no id", GROUPS, {"members": "ada"}, None, "members"),
    ("users: too large a page", IDENTITY, {"limit": 1001}, None, "1000 is the most"),
    ("users: parts of unknown content", IDENTITY, {"parts": "MINIMAL"}, None, "MINIMAL"),
    ("users: parts of unknown content", IDENTITY, {"parts": "SIMPLE"}, None, "SIMPLE"),
    ("users: an unknown attribute", IDENTITY, {"attributes": "id,shoeSize"}, None, "shoeSize"),
    ("users: the older list has no pages", USERS, {"limit": 5}, None, "limit"),
    ("users: without details", f"{USERS}/0", {"includeDetails": "false"}, None, "includeDetails"),
    ("users: me, with parameters", ME, {"includeDetails": "true"}, None, "includeDetails"),
    ("users: an explanation", USER_SEARCH, {"explain": "true"}, {}, "explain"),
    ("users: another operator", USER_SEARCH, {}, {"filters": [{"operator": "LIKE"}]}, "LIKE"),
    ("users: a filter of nothing", USER_SEARCH, {}, {"filters": [{"field": "id"}]}, "filter"),
    ("users: another sort", USER_SEARCH, {}, {"sort": {"field": "shoeSize"}}, "shoeSize"),
    ("users: a page of too many", USER_SEARCH, {}, {"limit": 1001}, "1000 is the most"),
    ("accounts: pages of the flat list", ACCOUNTS, {"limit": 5}, None, "limit"),
    ("accounts: a filter of providers", PROVIDERS, {"filter": "withAccounts"}, None, "filter"),
    ("roles: pages", ROLES, {"offset": 5}, None, "offset"),
    ("grants of a role: pages", f"{ROLES}/1/authorities", {"limit": 5}, None, "limit"),
    ("members of a role: a filter", f"{ROLES}/1/users", {"filter": "ada"}, None, "filter"),
    ("members of a role: too many", f"{ROLES}/1/users", {"limit": 501}, None, "500 is the most"),
    ("pages: by creation", PAGES, {}, {"orderBy": "createdTime"}, "createdTime"),
    ("pages: details", PAGES, {}, {"includeDetails": True}, "includeDetails"),
    ("pages: rights", PAGES, {}, {"includePermissionsList": True}, "includePermissionsList"),
    ("pages: another comparison", PAGES, {}, {"lastModifiedDateOperand": "AFTER"}, "AFTER"),
    (
        "pages: changed since a day that is none",
        PAGES,
        {},
        {"includeLastModifiedDateClause": True, "lastModifiedStartDate": "yesterday"},
        "yesterday",
    ),
    ("pages: offset is called skip", PAGES, {"offset": 3}, {}, "offset"),
    ("pages: too large a page", PAGES, {"limit": 1001}, {}, "1000 is the most"),
    ("page access: neither true nor false", f"{ACCESS}/1", {"expandUsers": "yes"}, None, "expand"),
    ("datasets: made since", DATASETS, {"createdSince": 1}, None, "createdSince"),
    ("datasets: hidden ones too", DATASETS, {"includeHidden": "true"}, None, "includeHidden"),
    ("datasets: another order", DATASETS, {"orderBy": "name"}, None, "orderBy"),
    ("datasets: too large a page", DATASETS, {"limit": 501}, None, "500 is the most"),
    *(
        ("datasets: parts that the world has not", DATASETS, {"part": f"core,{part}"}, None, part)
        for part in [
            "pdp",
            "impactcounts",
            "sharecount",
            "alertcount",
            "features",
            "warnings",
            "pharos",
        ]
    ),
    ("datasets in bulk: public ones only", BULK, {"includePrivate": "false"}, [], "includePrivate"),
    ("datasets in bulk: no list", BULK, {}, {"ids": []}, "list"),
    ("datasets in bulk: too many", BULK, {}, ["a"] * 101, "100 is the most"),
    ("streams: too many", STREAMS, {"streamId": ",".join(["5"] * 51)}, None, "50 is the most"),
    ("streams: some fields", f"{STREAM}/5", {"fields": "id,name"}, None, "fields"),
    ("activity log: too large a page", EVENTS, {"limit": 1001}, None, "1000 is the most"),
    ("activity log: words for a time", EVENTS, {"start": "yesterday"}, None, "start"),
    ("activity log: an order", EVENTS, {"sort": "time"}, None, "sort"),
    ("activity log: types, filtered", TYPES, {"objectType": "PAGE"}, None, "objectType"),
    ("certifications: another operation", GRAPHQL, {}, {"operationName": "listTemplates"}, "list"),
    ("certifications: none", GRAPHQL, {}, {}, "getCertifiedEntities"),
    (
        "certifications: of cards",
        GRAPHQL,
        {},
        {"operationName": "getCertifiedEntities", "variables": {"type": "CC:CARD"}},
        "CC:CARD",
    ),
    (
        "certifications: in an unknown state",
        GRAPHQL,
        {},
        {"operationName": "getCertifiedEntities", "variables": {"stateFilter": "LOST"}},
        "LOST",
    ),
    *(
        ("search: what the world has not", SEARCH, {}, {"entityList": [[name]]}, name)
        for name in [
            "card",
            "dataflow",
            "alert",
            "data_app",
            "package",
            "connector",
            "workflow_model",
        ]
    ),
    *(
        (
            "search: a query with an operator",
            SEARCH,
            {},
            {"entities": ["PAGE"], "query": q},
            "query",
        )
        for q in ('"budget 4"', "name:budget", "budget OR sales", "budget -sales", "(budget)")
    ),
    ("activity log: a user by name", EVENTS, {"user": "ada"}, None, "user"),
    ("search: of nothing", SEARCH, {}, {"query": "*"}, "entityList"),
    ("search: beyond the wall", SEARCH, {}, {"entities": ["PAGE"], "offset": 9_991}, "10000"),
    *(
        ("search: a key that is not known", SEARCH, {}, {"entities": ["DATASET"], **more}, name)
        for more, name in (
            ({"includePhonetic": True}, "includePhonetic"),
            ({"queryProfile": "ADMIN"}, "ADMIN"),
            ({"fieldsToReturn": ["shoeSize"]}, "shoeSize"),
            ({"facetValuesToInclude": ["ACTIVE"]}, "ACTIVE"),
            ({"facetValuesToInclude": ["TYPE"]}, "TYPE"),
            ({"facetValuesToInclude": ["VALID"]}, "VALID"),
            ({"excludeFields": []}, "excludeFields"),
        )
    ),
    ("dataset search: of other things", UI_SEARCH, {}, {"entities": ["CARD"]}, "CARD"),
    (
        "dataset search: facets, whose place in the reply nobody recorded",
        UI_SEARCH,
        {},
        {"facetValuesToInclude": ["USED"]},
        "facetValuesToInclude",
    ),
    *(
        ("search: a filter that is not known", UI_SEARCH, {}, {"filters": [one]}, name)
        for one, name in (
            (term("data_flow_type", "MAGIC"), "data_flow_type"),
            (term("owned_by_id", "ada"), "owned_by_id"),
            ({"filterType": "queryString", "field": "name_sort"}, "queryString"),
            ({"filterType": "numeric", "field": "rows"}, "numeric"),
            ({"filterType": "missing", "field": "tags"}, "missing"),
            ({"filterType": "boolean", "field": "used"}, "boolean"),
            ({"filterType": "dateBucket", "field": "create_date", "value": "LAST_CENTURY"}, "one"),
            ({"filterType": "dateRange", "field": "createDate"}, "createDate"),
            (term("used", "true", gte=3), "gte"),
        )
    ),
    (
        "search: a sort that is not known",
        UI_SEARCH,
        {},
        {"sort": {"fieldSorts": [{"field": "card_count", "sortOrder": "ASC"}]}},
        "card_count",
    ),
    (
        "search: a direction that is not known",
        UI_SEARCH,
        {},
        {"sort": {"fieldSorts": [{"field": "create_date", "sortOrder": "UP"}]}},
        "UP",
    ),
]


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "path, query, body, named",
    [pytest.param(*case[1:], id=f"{case[0]} {n}") for n, case in enumerate(REFUSED)],
)
def test_refused(ask, path, query, body, named):
    message = ask(path, body, status=400, **query)["message"]
    assert named in message, message


@pytest.fixture(scope="module")
def domo():
    return Domo(World(**SIZES))


def addresses():
    "Every endpoint as (method, an address of it)."
    numbers = {"([0-9]{1,19})": "0", "([0-9a-zA-Z-]{1,64})": "a", "([A-Za-z_]{1,64})": "PAGE"}
    for method, path in ROUTES:
        for pattern, id in numbers.items():
            path = path.replace(pattern, id)
        yield method, path


@pytest.mark.parametrize("method, path", [*addresses()], ids=lambda value: value)
def test_what_is_made_up_is_refused_everywhere(domo, method, path):
    token = {"x-domo-developer-token": domo.admin.access_token}

    def status(method=method, query="", body=b""):
        return domo.reply(method, path, token, body, query).status

    assert status(query="made_up=1") == 400
    assert status(body=b'{"made_up": 1}') == 400
    assert status(body=b"{") == 400
    others = {verb for verb, other in addresses() if other == path}
    for verb in {"GET", "POST", "PUT", "PATCH", "DELETE"} - others:
        assert status(verb) in (404, 405)


def test_the_refusal_of_a_secret_does_not_repeat_it(domo):
    token = {"x-domo-developer-token": domo.admin.access_token}
    reply = domo.reply("GET", USERS, token, query="token=hunter2")
    assert reply.status == 400 and b"hunter2" not in reply.body
    for body in (b'{"method": "password", "emailAddress": "a", "password": ["hunter2"]}', b"[1]"):
        reply = domo.reply("POST", "/api/content/v2/authentication", {}, body)
        assert reply.status == 400 and b"hunter2" not in reply.body
    signed = b'{"method": "password", "emailAddress": "a", "password": "b", "captcha": "c"}'
    assert domo.reply("POST", "/api/content/v2/authentication", {}, signed).status == 400


def test_the_public_face_refuses_too(domo):
    pair = f"{domo.client.client_id}:{domo.client.client_secret}".encode()
    basic = {"authorization": "Basic " + base64.b64encode(pair).decode()}

    def token(query):
        return domo.reply("GET", "/oauth/token", basic, query=query)

    assert token("grant_type=client_credentials&made_up=1").status == 400
    assert token("grant_type=client_credentials&scope=user%20cards").status == 400
    granted = json.loads(token("grant_type=client_credentials").body)
    bearer = {"authorization": f"bearer {granted['access_token']}"}
    for query in ("limit=501", "limit=-1", "limit=x", "offset=-1", "sort=name", "email=a"):
        assert domo.reply("GET", "/v1/users", bearer, query=query).status == 400, query
    assert domo.reply("GET", "/v1/users", bearer, query="limit=500&offset=3").status == 200


def test_what_is_served_can_be_listed(domo):
    served = {(one["method"], one["path"]): one for one in domo.serves()}
    assert len(served) >= len(ROUTES)
    assert served["GET", GROUPS]["query"]["members"] == "whole number"
    assert served["GET", EVENTS]["query"]["limit"] == "whole number up to 1000"
    assert "pageTitleSearchText" in served["POST", PAGES]["body"]


def test_what_is_written_is_what_is_read():
    "Each key of a body that changes something shows in a list afterwards."
    domo = Domo(World(**SIZES))
    token = {"x-domo-developer-token": domo.admin.access_token}

    def call(method, path, body=None, raw=None):
        sent = json.dumps(body).encode() if raw is None and body is not None else raw or b""
        reply = domo.reply(method, f"/api/data/{path}", token, sent)
        return json.loads(reply.body) if reply.body else reply.status

    me, other = domo.admin.user["id"], domo.limited.user["id"]
    ends = domo.data.tokens.now + 1000
    issued = call("POST", "v1/accesstokens", {"name": "n", "ownerId": other, "expires": ends})
    listed = call("GET", "v1/accesstokens")[-1]
    assert listed == {key: issued[key] for key in ("id", "name", "ownerId")} | {
        "ownerName": None,
        "ownerEmail": None,
        "expires": ends,
    }
    assert (listed["name"], listed["ownerId"]) == ("n", other)
    mine = {"x-domo-developer-token": issued["token"]}
    who = json.loads(domo.reply("GET", "/api/content/v2/users/me", mine).body)
    assert who["id"] == other
    assert call("DELETE", f"v1/accesstokens/{issued['id']}") == 200
    assert listed not in call("GET", "v1/accesstokens")
    assert domo.reply("GET", "/api/content/v2/users/me", mine).status == 401

    before = call("GET", "v1/accounts")
    made = call(
        "POST",
        "v1/accounts",
        {
            "name": "a",
            "displayName": "b",
            "dataProviderType": "mysql",
            "configurations": {"password": "hunter2"},
        },
    )
    place = f"v1/providers/mysql/account/{made['id']}"
    assert call("GET", "v1/accounts") == [*before, made]
    assert (made["name"], made["displayName"], made["userId"]) == ("a", "b", me)
    assert call("GET", place).keys() == {"password"} and "hunter2" not in str(call("GET", place))
    assert call("PUT", place, {"password": "other", "user": "ada"}) == 200
    assert call("GET", place).keys() == {"password", "user"}
    assert domo.data.configurations[made["id"]]["password"] == "other"
    refused = domo.reply("GET", f"/api/data/{place}", token, query="unmask=true")
    assert refused.status == 400
    assert call("PUT", f"v1/accounts/{made['id']}/name", raw=b"c") == 200
    renamed = call("GET", f"v1/accounts/{made['id']}")
    assert renamed["displayName"] == "c" and renamed["modifiedAt"] > made["modifiedAt"]
    listed = call("GET", "v2/datasources/providers")
    inside = [one for provider in listed for one in provider["accounts"] if one["name"] == "a"]
    assert [(one["displayName"], one["dataProviderType"]) for one in inside] == [("c", "mysql")]
    share = {"type": "USER", "id": str(other), "accessLevel": "CAN_EDIT"}
    assert call("PUT", f"v2/accounts/share/{made['id']}", share) == 200
    shared = call("GET", f"v2/accounts/share/{made['id']}")
    assert {(one["type"], one["id"], one["accessLevel"]) for one in shared["list"]} == {
        ("USER", str(other), "CAN_EDIT"),
        ("USER", str(me), "OWNER"),
    }
    theirs = {"x-domo-developer-token": domo.limited.access_token}
    seen = domo.reply("GET", f"/api/data/v1/accounts/{made['id']}", theirs)
    assert seen.status == 200


def test_what_a_page_sends_against_old_copies_changes_nothing(domo):
    token = {"x-domo-developer-token": domo.admin.access_token}
    bodies = {domo.reply("GET", PROVIDERS, token, query=query).body for query in ("", "cb=17")}
    assert len(bodies) == 1 and json.loads(bodies.pop())


def test_every_declared_parameter_is_walked(request):
    "A parameter that is added to an endpoint is added here."
    text = request.path.read_text()
    for endpoint in ROUTES.values():
        names = [*endpoint.query, *getattr(endpoint.body, "kinds", {})]
        assert [name for name in names if name not in text] == [], endpoint.path
