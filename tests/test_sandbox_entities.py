"""The lists of the sandbox from outside: against recorded replies, at their caps, on bad days,
and under load."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from email.utils import parsedate_to_datetime
from itertools import pairwise
from pathlib import Path

import pytest
import requests
from expected import expectations

from domostats import sandbox
from domostats.errors import SettingsError
from domostats.instances import sandbox_note
from domostats.sandbox import running
from domostats.sandbox.days import TODAY
from domostats.sandbox.domo.dataset_sources import stream_id
from domostats.sandbox.domo.datasets import dataset_created, dataset_uuid
from domostats.sandbox.domo.owners import group_id_of, owner_of
from domostats.sandbox.domo.pages import page_id
from domostats.sandbox.domo.routes import ROUTES
from domostats.sandbox.domo.users import GRANTS
from domostats.sandbox.domo.world import World
from domostats.sandbox.faults import PAGE_FAULTS

FIXTURES = Path(__file__).parent / "fixtures" / "domo"
IDENTITY, GROUPS, GROUP, ROLES = (
    "/api/identity/v1/users",
    "/api/content/v2/groups/grouplist",
    "/api/content/v2/groups",
    "/api/authorization/v1/roles",
)
PAGES, ACCESS = "/api/content/v1/pages/adminsummary", "/api/content/v1/share/accesslist/page"
SEARCH, UI_SEARCH, DATASETS, BULK = (
    "/api/search/v1/query",
    "/api/data/ui/v3/datasources/search",
    "/api/data/v3/datasources",
    "/api/data/v3/datasources/bulk",
)
STREAMS, STREAM, EVENTS, COUNT = (
    "/api/data/v1/streams/bulk",
    "/api/data/v1/streams",
    "/api/audit/v1/user-audits",
    "/api/audit/v1/user-audits/count",
)
ORDER = {"orderBy": "pageTitle", "ascending": True}


@pytest.fixture(autouse=True, scope="module")
def own_folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("state")
        patch.setattr(running, "_running", {})
        patch.setenv("XDG_STATE_HOME", str(folder))
        patch.chdir(folder)
        if not str(sandbox_note("x")).startswith(str(folder)):
            pytest.skip("the folder of the notes cannot be set on this system")
        yield
        running._stop_all()


@pytest.fixture
def box():
    "A world large enough that every quirk is in it."
    box = sandbox.start(
        seed=3,
        users=60,
        accounts=20,
        groups=30,
        datasets=120,
        pages=40,
        events=500,
        today="2024-04-01",
    )
    box.calls.clear()
    box.fired.clear()
    yield box
    box.heal()
    box.latency = 0


@pytest.fixture
def http():
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture
def ask(http, box):
    "Ask an endpoint as the administrator, or as somebody else; the JSON of its reply."

    def ask(path, body=None, login=None, status=200, where=None, **query):
        where = where or box
        reply = http.request(
            "GET" if body is None else "POST",
            where.url + path,
            params=query,
            json=body,
            timeout=20,
            allow_redirects=False,
            headers={"X-DOMO-Developer-Token": (login or where).access_token},
        )
        assert reply.status_code == status, reply.text
        return reply.json()

    return ask


def sample(name):
    return json.loads((FIXTURES / f"{name}.json").read_text())


def fits(value, recorded, path="", optional=()):
    """Where a value has a key or a JSON type that was not recorded, or lacks a key that was;
    `recorded` is a list of examples."""
    kinds = {type(one) for one in recorded}
    if type(value) not in kinds:
        return [
            f"{path}: {type(value).__name__} is none of {sorted(kind.__name__ for kind in kinds)}"
        ]
    same = [one for one in recorded if type(one) is type(value)]
    if isinstance(value, list):
        examples = [item for one in same for item in one]
        return (
            [line for item in value for line in fits(item, examples, f"{path}[]", optional)]
            if examples
            else []
        )
    if not isinstance(value, dict) or not any(same):
        return []
    always, ever = set.intersection(*map(set, same)), set.union(*map(set, same))
    wrong = [
        f"{path}.{key}: is missing" for key in always - value.keys() if key not in optional
    ] + [f"{path}.{key}: is new" for key in value.keys() - ever if key not in optional]
    return wrong + [
        line
        for key in value.keys() & ever
        for line in fits(
            value[key], [one[key] for one in same if key in one], f"{path}.{key}", optional
        )
    ]


def test_the_comparison_notices():
    assert (
        not fits({"a": [1]}, [{"a": [2, 3]}])
        and fits({"a": ["1"]}, [{"a": [2]}])
        and fits({}, [{"a": 1}])
        and fits({"b": 1}, [{}, {"a": 1}])
    )
    assert fits({"a": None}, [{"a": 1}]) and not fits({"a": None}, [{"a": 1}, {"a": None}])


# --- held against what was recorded ---------------------------------------------------------------


@pytest.mark.parametrize(
    "path, name", [one for told in expectations().values() for one in told.recorded.items()]
)
def test_what_a_report_reads_has_the_recorded_shape(ask, path, name):
    reply = ask(path)
    assert reply and not fits(reply, [sample(name)])


def test_identity_users_as_recorded(ask, box):
    reply, recorded = (
        ask(IDENTITY, limit=500),
        [*sample("users_identity_v1_list")["users"], sample("user_identity_v1_attributes")],
    )
    assert reply.keys() == {"users"} and len(reply["users"]) == 60
    kinds = {}
    for user in recorded:
        for entry in user["attributes"]:
            kinds.setdefault(entry["key"], type(entry["values"][0]))
    kinds |= {"employeeLocation": str, "locale": str, "lastLogin": int}  # the last is described
    older = {user["id"]: user for user in ask("/api/content/v2/users")}
    for user in reply["users"]:
        assert user.keys() == recorded[0].keys() and all(
            type(user[key]) is type(recorded[0][key]) for key in user
        )
        got = {entry["key"]: entry for entry in user["attributes"]}
        assert (
            len(got) == len(user["attributes"])
            and {key: type(entry["values"][0]) for key, entry in got.items()}.items()
            <= kinds.items()
        )
        assert all(
            entry.keys()
            == ({"key", "values", "source"} if key == "lastActivity" else {"key", "values"})
            and len(entry["values"]) == 1
            for key, entry in got.items()
        )
        assert (
            got["created"]["values"][0] == 1000 * older[user["id"]]["created"]
            and user["displayName"] == older[user["id"]]["displayName"]
        )
    avatars = [
        entry["values"][0]
        for user in reply["users"]
        for entry in user["attributes"]
        if entry["key"] == "avatarKey"
    ]
    assert avatars and all(avatar.startswith("/api/content/v1/avatar/USER/") for avatar in avatars)
    assert (
        0
        < sum(
            "lastActivity" in {entry["key"] for entry in user["attributes"]}
            for user in reply["users"]
        )
        < 60
    )
    some = ask(IDENTITY, limit=3, attributes="displayName,lastActivity")["users"]
    assert {entry["key"] for user in some for entry in user["attributes"]} <= {
        "displayName",
        "lastActivity",
    } and some[1]["emailAddress"]


def test_groups_as_recorded(ask, box):
    groups, recorded = (
        ask(GROUPS, ascending="true", sort="name", search="", limit=100, offset=0),
        sample("groups_list"),
    )
    assert isinstance(groups, list) and len(groups) == 30 and not fits(groups, [recorded])
    assert [group["name"] for group in groups] == sorted(group["name"] for group in groups) and len(
        {group["groupId"] for group in groups}
    ) == 30
    assert all(
        group["memberCount"] == len(group["groupMembers"]) and group["groupType"] != "system"
        for group in groups
    )
    assert {member["type"] for group in groups for member in group["groupMembers"]} == {
        "USER",
        "GROUP",
    }
    users = {str(user["id"]) for user in ask("/api/content/v2/users")}
    assert {
        member["id"]
        for group in groups
        for member in group["groupMembers"]
        if member["type"] == "USER"
    } <= users
    box.quirks.add("system_groups")
    assert sum(
        group["name"].startswith("Grant: ") and group["groupType"] == "system"
        for group in ask(GROUPS, limit=1000)
    ) == len(GRANTS)


def test_group_by_id_as_recorded(ask, box):
    deleted = group_id_of(3, 30 + len(GRANTS))
    one = ask(f"{GROUP}/{deleted}")
    assert (
        not fits(one, [sample("group_by_id_deleted")])
        and one["active"] is False
        and "_deleted_" in one["name"]
    )
    for group in ask(GROUPS, limit=100)[:5]:
        one = ask(f"{GROUP}/{group['groupId']}")
        assert (
            one["active"]
            and one["name"] == group["name"]
            and one["userIds"]
            == [int(member["id"]) for member in group["groupMembers"] if member["type"] == "USER"]
        )
    assert ask(f"{GROUP}/12345", status=404)


def test_roles_as_recorded(ask, box):
    roles = ask(ROLES)
    assert (
        not fits(roles, [sample("roles")])
        and [role["id"] for role in roles][:5] == [1, 2, 3, 4, 5]
        and sum(role["userCount"] for role in roles) == 60
    )
    assert all(
        len(ask(f"{ROLES}/{role['id']}/authorities")) == role["authorityCount"] for role in roles
    )


def test_pages_as_recorded(ask, box):
    pages, recorded = ask(PAGES, ORDER, limit=100, skip=0), sample("pages_adminsummary")
    nullable = {"cardCount": (int, type(None)), "ownerId": (int, type(None))}
    assert not fits(pages, [recorded]) and all(
        isinstance(page[key], kinds)
        for page in pages["pageAdminSummaries"]
        for key, kinds in nullable.items()
    )
    pages = pages["pageAdminSummaries"]
    by_id = {page["pageId"]: page for page in pages}
    assert len(by_id) == 40 and [page["pageTitle"].lower() for page in pages] == sorted(
        page["pageTitle"].lower() for page in pages
    )
    assert any(page["cardCount"] is None for page in pages) and not any(
        page["cardCount"] == 0 for page in pages
    )
    for page in pages:
        parent = by_id.get(page["parentPageId"])
        assert (page["topPageId"] is not None) == bool(parent and parent["parentPageId"]) and (
            parent is None or parent["pageTitle"] == page["parentPageTitle"]
        )
    nobody = [page for page in pages if page["ownerId"] is None]
    assert (
        nobody
        and all(page["owners"] for page in nobody)
        and {owner["type"] for page in pages for owner in page["owners"]} == {"USER", "GROUP"}
    )
    assert any(page["ownerId"] and page["owners"][0]["id"] != page["ownerId"] for page in pages)


def test_page_access_as_recorded(ask, box):
    recorded = sample("page_access_list")
    users = [
        *recorded["users"],
        *[user for group in recorded["groups"] for user in group["users"]],
        *sample("users_v2"),
    ]
    recorded = {
        **recorded,
        "users": users,
        "groups": [{**group, "users": users} for group in recorded["groups"]],
    }
    replies = [ask(f"{ACCESS}/{page_id(3, n)}", expandUsers="true") for n in range(12)]
    assert not [
        line
        for reply in replies
        for line in fits(
            reply,
            [recorded],
            optional=(
                "timeZone",
                "avatarKey",
                "phoneNumber",
                "hireDate",
                "title",
                "employeeNumber",
            ),
        )
    ]
    assert any(reply["users"] for reply in replies) and any(
        group["users"] for reply in replies for group in reply["groups"]
    )
    for reply in replies:
        assert reply["totalUserCount"] == len(
            {
                user["id"]
                for user in [
                    *reply["users"],
                    *[user for group in reply["groups"] for user in group["users"]],
                ]
            }
        )
    assert ask(f"{ACCESS}/1", status=404)


def test_datasets_as_recorded(ask, box):
    core = ("streamId", "accountId", "nextUpdate", "description", "certification")
    detail = {
        **sample("dataset_v3_detail"),
        "certification": sample("dataset_certification_object"),
        "accountId": 1,
        "nextUpdate": 1,
        "description": "",
    }
    ids = [dataset_uuid(3, n) for n in range(60)]
    reply = ask(BULK, ids, includePrivate="true", includeAllDetails="true")
    assert reply.keys() == {"dataSources"} and [one["id"] for one in reply["dataSources"]] == ids
    for one in reply["dataSources"]:
        flat = {**one, "properties": list(one["properties"]["formulas"]["formulas"].values())}
        assert not fits(
            flat,
            [{**detail, "properties": list(detail["properties"]["formulas"]["formulas"].values())}],
            optional=core,
        )
        assert (
            isinstance(json.loads(one["tags"]), list)
            and one["created"] <= one["lastUpdated"] <= one["lastTouched"]
        )
        assert ("streamId" in one) == (one["type"] != "DataFlow")
    assert {one["owner"]["type"] for one in reply["dataSources"]} == {"USER", "GROUP"} and any(
        "certification" in one for one in reply["dataSources"]
    )
    assert ask(f"{DATASETS}/{ids[7]}", includeAllDetails="true") == reply["dataSources"][7] and ask(
        f"{DATASETS}/{uuid.uuid4()}", status=404
    )
    part = ask(DATASETS, limit=50, offset=100, part="core")
    assert part["_metadata"] == {"totalCount": 120} and len(part["dataSources"]) == 20


def test_search_as_recorded(ask, box):
    reply = ask(
        SEARCH,
        {
            "query": "*",
            "count": 100,
            "offset": 0,
            "entityList": [["dataset"]],
            "combineResults": False,
        },
    )
    envelope, document = sample("search_v1_envelope"), sample("search_doc_dataflow")
    assert (
        reply.keys() == envelope.keys()
        and all(type(reply[key]) is type(envelope[key]) for key in reply)
        and reply["searchResultsMap"].keys() == {"dataset"}
    )
    common = [
        "entityType",
        "databaseId",
        "searchId",
        "createDate",
        "lastModified",
        "lastIndexed",
        "highlightedFields",
        "language",
        "requestAccess",
        "score",
        "name",
        "description",
        "ownedById",
        "ownedByName",
        "tags",
        "owners",
        "ownersLocalized",
        "winnerText",
        "ownedByType",
        "customer",
    ]
    for found in reply["searchResultsMap"]["dataset"]:
        assert not fits(
            {key: found[key] for key in common}, [{key: document[key] for key in common}]
        )
        assert (
            type(found["pdpEnabled"]) is bool
            and str(uuid.UUID(found["databaseId"])) == found["databaseId"]
            and found["entityType"] == "dataset"
        )
    assert (
        reply["totalResultCount"] == 120
        and reply["searchObjects"] == reply["searchResultsMap"]["dataset"]
        and {found["pdpEnabled"] for found in reply["searchResultsMap"]["dataset"]} == {True, False}
    )
    older = ask(SEARCH, {"entities": ["DATASET"], "count": 5})
    assert (
        len(older["searchObjects"]) == len(older["searchResultsMap"]["dataset"]) == 5
        and "card" in ask(SEARCH, {"entityList": [["card"]]}, status=400)["message"]
    )
    hidden = ask(SEARCH, {"entityList": [["dataset"]], "hideSearchObjects": True})
    assert hidden["searchObjects"] == [] and len(hidden["searchResultsMap"]["dataset"]) == 10


def test_streams_as_recorded(ask, box):
    ids = [stream_id(n) for n in range(50)]
    streams, recorded = ask(STREAMS, streamId=",".join(map(str, ids))), sample("stream_detail")
    recorded = {
        **recorded,
        "dataProvider": {**recorded["dataProvider"], "authenticationSchemeConfiguration": []},
        "advancedScheduleJson": "",
        "scheduleState": "",
    }
    examples = [
        recorded,
        {**recorded, "account": None, "lastExecution": recorded["lastSuccessfulExecution"]},
    ]
    assert 30 < len(streams) < 50 and not [
        line
        for one in streams
        for line in fits(
            one, examples, optional=("accounts", "accountId", "nextUpdate", "description")
        )
    ]
    assert {one["lastExecution"]["currentState"] for one in streams} == {"SUCCESS", "ERROR"}
    assert all(json.loads(one["advancedScheduleJson"])["timezone"] for one in streams) and any(
        "accounts" in one for one in streams
    )
    assert any(
        one["account"] and not one["account"]["valid"] and one["dataSource"]["validAccount"]
        for one in streams
    )
    assert ask(f"{STREAM}/{streams[3]['id']}") == streams[3] and ask(f"{STREAM}/6", status=404)


def test_events_as_recorded(ask, box):
    events, recorded = ask(EVENTS, limit=1000), sample("activity_log_events")
    assert len(events) == 500 and not fits(events, [recorded], optional=("objectId", "objectName"))
    times = [event["time"] for event in events]
    assert (
        times == sorted(times, reverse=True)
        and times[-1] >= (TODAY - 365 * 86_400) * 1000
        and times[0] < TODAY * 1000
    )
    assert any(
        event["objectId"].startswith("-") for event in events if "objectId" in event
    ) and any("objectId" not in event for event in events)
    assert sum(a == b for a, b in pairwise(events)) == 10, "exact duplicates"


# --- pages, windows, caps -------------------------------------------------------------------------

LISTED = {  # name: all rows of a list, read page by page
    "users": (lambda ask, n, size: ask(IDENTITY, limit=size, offset=n)["users"], 60),
    "groups": (lambda ask, n, size: ask(GROUPS, limit=size, offset=n), 30),
    "pages": (lambda ask, n, size: ask(PAGES, ORDER, limit=size, skip=n)["pageAdminSummaries"], 40),
    "datasets": (
        lambda ask, n, size: ask(UI_SEARCH, {"count": size, "offset": n})["dataSources"],
        120,
    ),
    "search": (
        lambda ask, n, size: ask(SEARCH, {"count": size, "offset": n, "entityList": [["dataset"]]})[
            "searchResultsMap"
        ]["dataset"],
        120,
    ),
    "core": (lambda ask, n, size: ask(DATASETS, limit=size, offset=n)["dataSources"], 120),
    "events": (lambda ask, n, size: ask(EVENTS, limit=size, offset=n), 500),
}


@pytest.mark.parametrize("name", LISTED)
def test_pages_make_up_the_list(ask, name):
    page, total = LISTED[name]
    rows = [row for n in range(0, total + 1, 17) for row in page(ask, n, 17)]
    assert (
        rows == page(ask, 0, total)
        and len(rows) == total
        and page(ask, total, 17)
        == []
        == page(ask, 10**6 if name not in ("search", "datasets") else 9000, 5)
    )


def test_default_and_largest_pages(ask, box):
    assert (
        len(ask(EVENTS)) == 300
        and len(ask(EVENTS, limit=1000)) == 500
        and len(ask(SEARCH, {"entityList": [["dataset"]]})["searchObjects"]) == 10
    )
    large = sandbox.start(seed=3, events=3000, today="2024-04-01")
    assert len(ask(EVENTS, limit=1000, where=large)) == 1000 and ask(COUNT, where=large) == {
        "count": 3000
    }
    assert "1000 is the most" in ask(EVENTS, limit=1001, where=large, status=400)["message"]


def test_more_than_ten_thousand_of_one_moment(ask, box):
    large = sandbox.start(seed=3, datasets=30_000, same_day=12_000, today="2024-04-01")
    at = dataset_created(large.domo.data.world, 15_000)

    def total(*filters, count=0, offset=0, **more):
        return ask(
            SEARCH,
            {"entityList": [["dataset"]], "count": count, "offset": offset, "filters": filters},
            where=large,
            **more,
        )

    crowd, before, after = (
        {"filterType": "dateRange", "field": "create_date", "from": first, "to": last}
        for first, last in ((at, at + 1), (0, at), (at + 1, 2 * at))
    )
    assert [total(one)["totalResultCount"] for one in (crowd, before, after)] == [
        12_000,
        9_000,
        9_000,
    ] and total()["searchObjects"] == []
    owners = {owner_of(large.domo.data.world, n) for n in range(100)}
    counts = [
        total(
            crowd, {"filterType": "term", "field": "owned_by_id", "value": f"{owner.id}{suffix}"}
        )["totalResultCount"]
        for owner in owners
        for suffix in ("", f":{owner.type}")
    ]
    assert sum(counts) == 24_000 and min(counts) > 0 and max(counts) < 10_000
    assert len(total(count=50, offset=9_950)["searchResultsMap"]["dataset"]) == 50
    for path in (SEARCH, UI_SEARCH):
        assert ask(
            path,
            {"entityList": [["dataset"]], "count": 50, "offset": 9_951},
            where=large,
            status=400,
        )
    large.quirks.add("ignores_date_filter")
    assert total(crowd)["totalResultCount"] == 30_000
    large.heal()
    assert total(crowd)["totalResultCount"] == 12_000


def test_sorted_by_creation(ask, box):
    def created(order):
        return [
            one["created"]
            for one in ask(
                UI_SEARCH,
                {
                    "count": 120,
                    "sort": {
                        "isRelevance": False,
                        "fieldSorts": [{"field": "create_date", "sortOrder": order}],
                    },
                },
            )["dataSources"]
        ]

    assert (
        created("ASC") == sorted(created("ASC")) == created("DESC")[::-1]
        and len({*created("ASC")}) > 100
    )


def test_a_window_of_events(ask, box):
    times = [event["time"] for event in ask(EVENTS, limit=1000)]
    start, end = times[400], times[100]
    inside = ask(EVENTS, start=start, end=end, limit=1000)
    assert [event["time"] for event in inside] == [
        time for time in times if start <= time < end
    ] and ask(COUNT, start=start, end=end) == {"count": len(inside)}
    assert ask(EVENTS, start=end, end=start) == [] and ask(COUNT, objectType="PAGE")[
        "count"
    ] == sum(event["objectType"] == "PAGE" for event in ask(EVENTS, limit=1000))


def test_a_hundred_ids_and_fifty_streams(ask, box):
    known = [dataset_uuid(3, n) for n in range(99)]
    assert [one["id"] for one in ask(BULK, [*known, str(uuid.uuid4())])["dataSources"]] == known
    assert ask(BULK, [*known, *known[:2]], status=400) and ask(BULK, {"ids": known}, status=400)
    assert (
        ask(STREAMS, streamId=",".join(map(str, range(51))), status=400)
        and ask(STREAMS, streamId="7") == []
        and ask(STREAMS, streamId="x", status=400)
    )


def test_the_limited_user_sees_fewer_and_no_error(ask, box):
    mine = {str(box.domo.limited.user["id"])}
    pages = ask(PAGES, ORDER, login=box.limited, limit=100)["pageAdminSummaries"]
    assert 0 < len(pages) < 40 and all(
        mine & {str(owner["id"]) for owner in page["owners"]} for page in pages
    )
    datasets = ask(UI_SEARCH, {"count": 100}, login=box.limited)
    assert (
        0 < datasets["_metaData"]["totalCount"] < 20
        and {one["owner"]["id"] for one in datasets["dataSources"]} == mine
    )
    assert {
        one["ownedById"]
        for one in ask(SEARCH, {"entityList": [["dataset"]]}, login=box.limited)["searchObjects"]
    } == mine
    ids = [dataset_uuid(3, n) for n in range(100)]
    assert {one["owner"]["id"] for one in ask(BULK, ids, login=box.limited)["dataSources"]} == mine
    hidden = next(id for id in ids if id not in {one["id"] for one in datasets["dataSources"]})
    assert (
        ask(f"{DATASETS}/{hidden}", login=box.limited, status=404)
        and ask(EVENTS, login=box.limited, status=403)
        and ask(COUNT, login=box.limited, status=403)
    )
    assert (
        len(
            ask(STREAMS, login=box.limited, streamId=",".join(str(stream_id(n)) for n in range(50)))
        )
        < 5
    )


@pytest.mark.parametrize(
    "path, body, query",
    [
        (IDENTITY, None, {"limit": "many"}),
        (IDENTITY, None, {"offset": -1}),
        (EVENTS, None, {"start": "yesterday"}),
        (UI_SEARCH, {"count": "x"}, {}),
        (UI_SEARCH, {"offset": [1]}, {}),
        (SEARCH, {"filters": [{"filterType": "term", "field": "owned_by_id", "value": "ada"}]}, {}),
        (PAGES, ORDER, {"skip": "1.5"}),
        (UI_SEARCH, {"count": True}, {}),
    ],
    ids=str,
)
def test_requests_without_sense(ask, path, body, query):
    assert ask(path, body, status=400, **query)["status"] == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b'{"filters": 5, "sort": [], "entityList": 7}',
        b'{"filters": [null, {}], "sort": {"fieldSorts": [3]}}',
        b"[" * 100_000,
    ],
    ids=repr,
)
def test_odd_bodies_do_not_break_it(http, box, body):
    for method, path in ROUTES:
        if method != "POST":
            continue
        reply = http.post(
            box.url + path,
            data=body,
            headers={"X-DOMO-Developer-Token": box.access_token},
            timeout=20,
        )
        assert reply.status_code in (200, 400) and reply.json()


def test_without_anybody(http, box):
    for method, path in ROUTES:
        assert (
            http.request(
                method,
                box.url + path.replace("([0-9]{1,19})", "1").replace("([0-9a-zA-Z-]{1,64})", "a"),
                timeout=10,
            ).status_code
            == 401
        )


# --- the same seed, the same bytes ----------------------------------------------------------------

PRINT = """
import hashlib, json
from domostats.sandbox.domo.instance import Domo
from domostats.sandbox.domo.world import World
domo = Domo(World(SEED, 40, 20, 15, 60, 20, 300))
token = {"x-domo-developer-token": domo.admin.access_token}
asked = [
    ("GET", "/api/identity/v1/users"),
    ("GET", "/api/content/v2/groups/grouplist"),
    ("GET", "/api/authorization/v1/roles"),
    ("POST", "/api/content/v1/pages/adminsummary"),
    ("POST", "/api/data/ui/v3/datasources/search"),
    ("POST", "/api/search/v1/query"),
    ("GET", "/api/data/v3/datasources"),
    ("GET", "/api/audit/v1/user-audits"),
]
bodies = {
    "/api/data/ui/v3/datasources/search": {"count": 60},
    "/api/search/v1/query": {"count": 60, "entityList": [["dataset"]]},
}
for method, path in asked:
    reply = domo.reply(method, path, token, json.dumps(bodies.get(path)).encode())
    assert reply.status == 200, reply
    print(hashlib.sha256(reply.body).hexdigest())
"""


def test_same_seed_same_bytes_in_every_process():
    def digests(seed, hash_seed):
        return subprocess.run(
            [sys.executable, "-c", PRINT.replace("SEED", str(seed))],
            capture_output=True,
            text=True,
            check=True,
            env={
                **os.environ,
                "PYTHONHASHSEED": hash_seed,
                "TZ": "Asia/Tokyo" if hash_seed == "2" else "UTC",
            },
        ).stdout.split()

    first, again, other = digests(1, "1"), digests(1, "2"), digests(2, "1")
    assert first == again and len({*first}) == 8 and not {*first} & {*other}


def test_a_million_events_cost_nothing(ask, box):
    huge = sandbox.start(
        seed=3,
        users=400_000_000,
        groups=3,
        datasets=400_000_000,
        events=400_000_000,
        today="2024-04-01",
    )
    assert (
        ask(COUNT, where=huge) == {"count": 400_000_000}
        and len(ask(EVENTS, where=huge, offset=399_999_990)) == 10
    )
    assert (
        ask(SEARCH, {"entityList": [["dataset"]], "count": 1}, where=huge)["totalResultCount"]
        == 400_000_000
    )
    assert len(ask(IDENTITY, where=huge, offset=399_999_998)["users"]) == 2


@pytest.mark.parametrize(
    "size",
    [{"groups": -1}, {"events": "9"}, {"same_day": 16}, {"datasets": None}, {"pages": 1.5}],
    ids=str,
)
def test_impossible_sizes(size):
    with pytest.raises(SettingsError) as refusal:
        World(**size)
    assert refusal.value.reason == "bad_size"


def test_nothing_at_all(ask, box):
    bare = sandbox.start(
        seed=3, users=3, accounts=0, groups=0, datasets=0, pages=0, events=0, today="2024-04-01"
    )
    assert ask(GROUPS, where=bare) == ask(EVENTS, where=bare) == [] and ask(
        UI_SEARCH, {}, where=bare
    ) == {"dataSources": [], "_metaData": {"totalCount": 0}}
    assert (
        ask(PAGES, ORDER, where=bare, login=bare.limited) == {"pageAdminSummaries": []}
        and len(ask(IDENTITY, where=bare)["users"]) == 3
    )
    assert ask(UI_SEARCH, {}, where=bare, login=bare.limited)["dataSources"] == []


# --- bad days -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LISTED)
@pytest.mark.parametrize("fault", PAGE_FAULTS)
def test_faults_in_pages(ask, box, name, fault):
    page, total = LISTED[name]
    rows = page(ask, 0, total)
    before = page(ask, 0, 6)
    box.fail(fault)
    got = page(ask, 6, 6)
    if fault == "ignored_paging":
        assert got == rows[: len(got)] and len(got) >= 10
    else:
        assert (
            got
            == {
                "repeated_page": before,
                "short_page": rows[6:9],
                "shifted": rows[7:13],
                "grown": rows[5:11],
            }[fault]
        )
    assert box.fired == {fault: 1} and page(ask, 6, 6) == rows[6:12]


def test_after_and_times(ask, box):
    box.fail("bad_gateway", IDENTITY, times=2, after=2)
    box.fail("gateway_timeout", EVENTS)
    for status in (200, 200, 502, 502, 200):
        ask(IDENTITY, status=status)
    ask(EVENTS, status=504)
    assert box.fired == {"bad_gateway": 2, "gateway_timeout": 1}
    box.heal()
    assert box.fired["bad_gateway"] == 2


@pytest.mark.parametrize(
    "bad",
    [{"after": -1}, {"after": None}, {"seconds": -1}, {"seconds": "2"}, {"seconds": True}],
    ids=str,
)
def test_faults_that_do_not_exist(box, bad):
    with pytest.raises(SettingsError) as refusal:
        box.fail("empty", **bad)
    assert refusal.value.reason == "bad_fault" and box.faults.waiting == []


def get(http, box, path=IDENTITY, **more):
    return http.get(
        box.url + path,
        headers={"X-DOMO-Developer-Token": box.access_token},
        timeout=10,
        allow_redirects=False,
        **more,
    )


def test_when_to_come_back(http, box):
    box.fail("rate_limited_date", seconds=90)
    box.fail("rate_limited", seconds=3)
    box.fail("rate_limited_bare")
    late, soon, bare = (get(http, box) for _ in range(3))
    assert (
        {reply.status_code for reply in (late, soon, bare)} == {429}
        and soon.headers["retry-after"] == "3"
        and "retry-after" not in bare.headers
    )
    assert 60 < parsedate_to_datetime(late.headers["retry-after"]).timestamp() - time.time() <= 91


def test_moved_to_another_host(http, box):
    box.faults.location = "http://127.0.0.2:9/elsewhere"
    box.fail("moved")
    reply = get(http, box)
    assert (reply.status_code, reply.headers["location"], reply.content) == (
        302,
        "http://127.0.0.2:9/elsewhere",
        b"",
    )


def raw(box, path=IDENTITY):
    "What a plain socket receives, and how it ends: `end`, or `reset`."
    host, port = box.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as wire:
        wire.sendall(
            (
                f"GET {path} HTTP/1.1\r\nHost: {host}\r\n"
                f"X-DOMO-Developer-Token: {box.access_token}\r\nConnection: close\r\n\r\n"
            ).encode()
        )
        got = b""
        try:
            while chunk := wire.recv(65536):
                got += chunk
        except ConnectionResetError:
            return got, "reset"
    return got, "end"


def test_connections_that_end_too_soon(http, box):
    whole, how = raw(box)
    assert how == "end" and whole.startswith(b"HTTP/1.1 200")
    box.fail("drop")
    assert raw(box) == (b"", "end") and box.calls[-1][2] == 0
    box.fail("cut")
    got, how = raw(box)
    assert how == "end" and b" 200 " in got and len(got) < 0.7 * len(whole)
    box.fail("reset")
    got, how = raw(box)
    assert how == "reset" and len(got) < 0.7 * len(whole) and box.calls[-1][2] == 200
    for fault in ("drop", "reset"):
        box.fail(fault)
        with pytest.raises(requests.RequestException):
            get(http, box)
    assert get(http, box).status_code == 200 and box.fired == {"drop": 2, "cut": 1, "reset": 2}


# --- load -----------------------------------------------------------------------------------------


def test_a_limit_in_a_calendar_minute(http, box, monkeypatch):
    now = [1_000_000_020.0]
    monkeypatch.setattr("domostats.sandbox.domo.instance.time.time", lambda: now[0])
    box.limit(per_minute=3)
    replies = [get(http, box) for _ in range(5)]
    assert [reply.status_code for reply in replies] == [200, 200, 200, 429, 429] and replies[
        -1
    ].headers["retry-after"] == str(int(60 - now[0] % 60) + 1)
    now[0] += 60
    assert get(http, box).status_code == 200
    box.limit()
    assert {get(http, box).status_code for _ in range(5)} == {200}


def test_the_log(http, box):
    box.log.clear()
    began = time.time()
    get(http, box, params={"limit": 2, "attributes": "id,title"})
    http.post(box.url + PAGES, json={}, headers={"User-Agent": "a test"})
    first, second = box.log
    assert (first.method, first.path, first.query, first.status) == (
        "GET",
        IDENTITY,
        "limit=2&attributes=id%2Ctitle",
        200,
    ) and began <= first.at <= second.at <= time.time()
    assert (second.method, second.path, second.query, second.status, second.client) == (
        "POST",
        PAGES,
        "",
        401,
        "a test",
    ) and first.client.startswith("python-requests")
    assert (
        box.access_token not in repr(box.log)
        and box.log.maxlen == 100_000
        and box.calls == [("GET", IDENTITY, 200), ("POST", PAGES, 401)]
    )


def together(work, count):
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)


def test_requests_in_flight_overlap(box):
    box.log.clear()
    box.latency, ended = 0.5, []

    def one():
        with requests.Session() as http:
            http.trust_env = False
            assert get(http, box).status_code == 200
            ended.append(time.time())

    together(one, 10)
    assert len(ended) == 10 and max(call.at for call in box.log) < min(ended), (
        "the tenth was heard before the first was answered"
    )


def test_a_page_that_takes_long_keeps_nobody_waiting(http, box, monkeypatch):
    started, go_on, real, done = threading.Event(), threading.Event(), box.domo.genuine, []

    def genuine(method, path, *rest):
        if path == GROUPS:
            started.set()
            assert go_on.wait(timeout=20)
        return real(method, path, *rest)

    monkeypatch.setattr(box.domo, "genuine", genuine)

    def slow():
        with requests.Session() as other:
            other.trust_env = False
            done.append(get(other, box, GROUPS, params={"limit": 7}).status_code)

    thread = threading.Thread(target=slow)
    thread.start()
    assert started.wait(timeout=20) and get(http, box, ROLES).status_code == 200 and not done
    go_on.set()
    thread.join(timeout=20)
    assert done == [200]


def test_a_page_is_made_once(http, box, monkeypatch):
    made = []
    real = ROUTES["GET", IDENTITY]
    monkeypatch.setitem(ROUTES, ("GET", IDENTITY), lambda *asked: (made.append(1), real(*asked))[1])
    bodies = {
        get(http, box, params={"limit": 9, "offset": offset}).content for offset in (1, 2, 1, 2, 1)
    }
    assert len(made) == len(bodies) == 2


# --- the public face ------------------------------------------------------------------------------


def public(http, box, method="POST", secret=None, **more):
    return http.request(
        method,
        box.url + "/oauth/token",
        auth=(box.client_id, secret or box.client_secret),
        timeout=10,
        **more,
    )


def test_the_public_api(http, box):
    for reply in (
        public(http, box, data={"grant_type": "client_credentials"}),
        public(http, box, "GET", params={"grant_type": "client_credentials", "scope": "data user"}),
    ):
        token = reply.json()
        assert (
            token["token_type"] == "bearer"
            and "user" in token["scope"].split()
            and len(token["access_token"].split(".")) == 3
        )
    headers = {"Authorization": f"bearer {token['access_token']}"}
    pages = [
        http.get(
            box.url + path, params={"limit": 25, "offset": offset}, headers=headers, timeout=10
        ).json()
        for path, offset in (
            ("/v1/users", 0),
            ("/v1/users/", 25),
            ("/v1/users/", 50),
            ("/v1/users/", 75),
        )
    ]
    users = [user for page in pages for user in page]
    assert [len(page) for page in pages] == [25, 25, 9, 0] and {user["id"] for user in users} == {
        user["id"] for user in get(http, box, params={"limit": 60}).json()["users"]
    } - {0}
    assert all(
        {"id", "name", "email", "role", "roleId", "createdAt"} <= user.keys()
        and isinstance(user["roleId"], str)
        for user in users
    )
    assert len(http.get(box.url + "/v1/users", headers=headers, timeout=10).json()) == 50


def test_strangers_at_the_public_api(http, box):
    assert (
        public(http, box, secret="guess", data={"grant_type": "client_credentials"}).status_code
        == 401
        and public(http, box, data={}).status_code == 400
    )
    narrow = public(http, box, data={"grant_type": "client_credentials", "scope": "data"}).json()[
        "access_token"
    ]

    def status(value):
        return http.get(
            box.url + "/v1/users", headers={"Authorization": value} if value else {}, timeout=10
        ).status_code

    assert [
        status(value) for value in (f"bearer {narrow}", "bearer x", f"Basic {narrow}", None)
    ] == [403, 401, 401, 401]
    assert (
        get(http, box, "/v1/users").status_code == 401
        and http.post(box.url + "/v1/users", timeout=10).status_code == 405
    )
    shown = f"{box!r} {vars(box)} {vars(box.domo)}"
    assert box.client_secret not in shown
