"""A sandbox does not contradict itself: what one endpoint counts another lists, and every id that
is named is there.

Some contradictions are the service's own; they are recorded, and stand here as `ODD`."""

from collections import Counter, defaultdict

import pytest
import requests

from domostats import sandbox

ODD = {
    "the inviter of the support user": {2},  # recorded: its id is in no list
    "pages of the system": {"-100000", "-100003"},  # recorded in events, in no list of pages
}
WORLDS = [
    {"seed": 1},
    {
        "seed": 2,
        "users": 60,
        "accounts": 40,
        "groups": 30,
        "datasets": 120,
        "pages": 40,
        "events": 400,
    },
    {"seed": 3, "users": 3, "accounts": 1, "groups": 1, "datasets": 9, "pages": 1, "events": 60},
    {
        "seed": 4,
        "users": 40,
        "accounts": 0,
        "groups": 55,
        "datasets": 70,
        "pages": 20,
        "events": 300,
    },
    {
        "seed": 5,
        "users": 25,
        "accounts": 36,
        "groups": 0,
        "datasets": 200,
        "pages": 0,
        "events": 300,
    },
    {"seed": 6, "users": 100, "accounts": 7, "groups": 9, "datasets": 0, "pages": 9, "events": 300},
    {
        "seed": 7,
        "users": 13,
        "accounts": 120,
        "groups": 12,
        "datasets": 50,
        "pages": 33,
        "events": 0,
    },
]


class Seen:
    "All that the administrator of a sandbox may read."

    def __init__(self, box):
        self.box, self.web = box, requests.Session()
        self.web.headers["X-DOMO-Developer-Token"] = box.access_token
        self.users = self.get("/api/content/v2/users")
        self.identity = self.get("/api/identity/v1/users?limit=1000&offset=0")["users"]
        self.roles = self.get("/api/authorization/v1/roles")
        self.groups = self.get(
            "/api/content/v2/groups/grouplist?ascending=true&sort=name&limit=10000&offset=0"
            "&includeFullMembership=true"
        )
        self.pages = self.post(
            "/api/content/v1/pages/adminsummary?limit=1000&skip=0",
            {"orderBy": "pageTitle", "ascending": True},
        )["pageAdminSummaries"]
        self.providers = self.get("/api/data/v2/datasources/providers")
        self.accounts = self.get("/api/data/v1/accounts")
        listed = self.get("/api/data/v3/datasources?limit=500&offset=0")
        self.dataset_total = listed["_metadata"]["totalCount"]
        self.datasets = listed["dataSources"]
        self.streams = {}
        ids = [row["streamId"] for row in self.datasets if "streamId" in row]
        for first in range(0, len(ids), 50):
            part = ",".join(map(str, ids[first : first + 50]))
            for row in self.get(f"/api/data/v1/streams/bulk?streamId={part}"):
                self.streams[row["id"]] = row
        self.events = self.get("/api/audit/v1/user-audits?limit=1000&offset=0")
        self.by_provider = {
            row["id"]: (provider, row)
            for provider in self.providers
            for row in provider["accounts"]
        }
        self.flat = {row["id"]: row for row in self.accounts}
        self.people = {row["id"] for row in self.users}
        self.gone = self.deleted()

    def deleted(self):
        "The ids (int) of users who were deleted: they own things, and no ordinary list has them."
        found = {row["userId"] for row in self.accounts}
        found |= {int(row["userId"]) for _, row in self.by_provider.values()}
        found |= {int(row["owner"]["id"]) for row in self.datasets if not row["owner"]["group"]}
        found |= {
            row["id"] for page in self.pages for row in page["owners"] if row["type"] == "USER"
        }
        return found - self.people

    def get(self, path):
        reply = self.web.get(self.box.url + path, timeout=30)
        assert reply.status_code == 200, (path, reply.text)
        return reply.json()

    def post(self, path, body):
        reply = self.web.post(self.box.url + path, json=body, timeout=30)
        assert reply.status_code == 200, (path, reply.text)
        return reply.json()


@pytest.fixture(scope="module", params=WORLDS, ids=lambda world: f"seed {world['seed']}")
def seen(request, tmp_path_factory):
    with sandbox.start(**request.param, today="2026-11-27") as box:
        yield Seen(box)


def used_by(seen):
    "For each account (id) the datasets (ids) that use it, as datasets and streams tell."
    found = defaultdict(set)
    for row in seen.datasets:
        stream = seen.streams.get(row.get("streamId"), {})
        told = {row.get("accountId"), (stream.get("account") or {}).get("id")}
        told |= {one["accountId"] for one in stream.get("accounts", [])}
        for account in told - {None}:
            found[account].add(row["id"])
    return found


def test_an_account_counts_the_datasets_that_use_it(seen):
    used = used_by(seen)
    wrong = {
        id: (row["dataSourceCount"], len(used[id]))
        for id, (_, row) in seen.by_provider.items()
        if row["dataSourceCount"] != len(used[id])
    }
    assert wrong == {}
    assert set(used) <= set(seen.by_provider) | set(seen.flat)
    for id, datasets in used.items():  # each list lacks a few accounts; recorded
        assert id in seen.flat or id in seen.by_provider, datasets


def test_a_provider_counts_its_datasets_without_an_account(seen):
    using = {id for ids in used_by(seen).values() for id in ids}
    alone = Counter(row["dataProviderType"] for row in seen.datasets if row["id"] not in using)
    for provider in seen.providers:
        assert provider["unassociatedDataSourceCount"] == alone[provider["key"]], provider["key"]


def test_accounts_agree_in_both_lists(seen):
    for id in seen.flat.keys() & seen.by_provider.keys():
        flat, (provider, listed) = seen.flat[id], seen.by_provider[id]
        assert (flat["valid"], flat["type"], flat["name"]) == (
            listed["valid"],
            listed["type"],
            listed["name"],
        )
        assert provider["key"] == flat["dataProviderType"] == listed["dataProviderType"]
        assert str(flat["userId"]) == listed["userId"]
    for row in seen.accounts:
        assert {row["userId"], row["createdBy"], row["modifiedBy"]} <= seen.people | seen.gone
    for row in seen.datasets:
        if "accountId" in row and row["accountId"] in seen.flat:
            assert row["validAccount"] <= seen.flat[row["accountId"]]["valid"]
            assert row["dataProviderType"] == seen.flat[row["accountId"]]["dataProviderType"]


def test_the_lists_of_users_have_the_same_people(seen):
    assert [row["id"] for row in seen.users] == [row["id"] for row in seen.identity]
    for old, new in zip(seen.users, seen.identity, strict=True):
        told = {one["key"]: one["values"][0] for one in new["attributes"]}
        assert told["roleId"] == old["roleId"] == new["roleId"]
        assert told["modified"] == old["modified"] and told["isPending"] == old["pending"]
        inviters = seen.people | (
            ODD["the inviter of the support user"] if old["id"] == 0 else set()
        )
        assert {old["invitorUserId"], told["invitorUserId"]} <= inviters
        assert int(told.get("reportsTo", 0)) in seen.people
        if not old["accepted"]:
            assert "lastActivity" not in told and "lastLogin" not in told
        if "lastLogin" in told:
            assert old["created"] * 1000 <= told["lastLogin"] <= told["lastActivity"]
    for row in seen.users:
        assert seen.get(f"/api/content/v2/users/{row['id']}") == row


def test_a_role_counts_its_users_and_its_grants(seen):
    users = Counter(row["roleId"] for row in seen.users)
    assert set(users) <= {role["id"] for role in seen.roles}
    for role in seen.roles:
        grants = seen.get(f"/api/authorization/v1/roles/{role['id']}/authorities")
        assert role["userCount"] == users[role["id"]] and role["authorityCount"] == len(grants)
        found = seen.get(f"/api/authorization/v1/roles/{role['id']}/users?limit=500")
        members = [row["id"] for row in seen.users if row["roleId"] == role["id"]]
        assert [row["userId"] for row in found["users"]] == members
    names = {role["id"]: role["name"] for role in seen.roles}
    for row in seen.users:
        if "role" in row and row["id"] != 0:  # the support user has a wrong one; recorded
            assert row["role"] == names[row["roleId"]]


def test_a_group_counts_its_members_and_they_are_there(seen):
    groups = {row["groupId"]: row for row in seen.groups}
    for id, row in groups.items():
        assert row["memberCount"] == len(row["groupMembers"])
        detail = seen.get(f"/api/content/v2/groups/{id}")
        assert (detail["name"], detail["memberCount"]) == (row["name"], row["memberCount"])
        people = [int(one["id"]) for one in row["groupMembers"] if one["type"] == "USER"]
        assert people == detail["userIds"] and set(people) <= seen.people
        inside = {int(one["id"]) for one in row["groupMembers"] if one["type"] == "GROUP"}
        assert inside <= groups.keys() and detail["creatorId"] in seen.people
        for owner in row["owners"]:
            assert int(owner["id"]) in (groups if owner["type"] == "GROUP" else seen.people)


def test_pages_name_pages_owners_and_people_that_are_there(seen):
    titles = {row["pageId"]: row["pageTitle"] for row in seen.pages}
    groups = {row["groupId"]: row for row in seen.groups}
    for row in seen.pages:
        for kind in ("parentPage", "topPage"):
            if row[f"{kind}Id"] is not None:
                assert titles[row[f"{kind}Id"]] == row[f"{kind}Title"]
        owners = {(one["type"], one["id"]) for one in row["owners"]}
        assert owners <= {("USER", id) for id in seen.people | seen.gone} | {
            ("GROUP", id) for id in groups
        }
        assert row["ownerId"] is None or ("USER", row["ownerId"]) in owners
        path = f"/api/content/v1/share/accesslist/page/{row['pageId']}"
        access = seen.get(f"{path}?expandUsers=true")
        people = {user["id"] for user in access["users"]}
        for group in access["groups"]:
            inside = {user["id"] for user in group["users"]}
            listed = groups[group["id"]]["groupMembers"]
            assert inside == {int(one["id"]) for one in listed if one["type"] == "USER"}
            people |= inside
        assert access["totalUserCount"] == len(people) and people <= seen.people
        assert seen.get(path)["totalUserCount"] == len(people)


def test_datasets_and_streams_name_each_other(seen):
    groups = {row["groupId"] for row in seen.groups}
    assert seen.dataset_total == len(seen.datasets) == len({row["id"] for row in seen.datasets})
    for row in seen.datasets:
        known = groups if row["owner"]["type"] == "GROUP" else seen.people | seen.gone
        assert int(row["owner"]["id"]) in known
        assert row["cardCount"] == row["cardInfo"]["cardCount"]
        if "streamId" not in row:
            assert row["type"] == "DataFlow"
            continue
        stream = seen.streams[row["streamId"]]
        assert stream["dataSource"]["id"] == row["id"]
        assert {stream["createdBy"], stream["modifiedBy"]} <= seen.people | seen.gone
        assert int(stream["lastExecution"]["startedBy"]) in seen.people | seen.gone
        assert stream["lastExecution"]["streamId"] == stream["id"]
        assert stream["currentExecutionState"] == stream["lastExecution"]["currentState"]
        assert (stream["currentExecutionState"] == "ERROR") == (row["state"] == "ERROR")


def test_every_list_of_datasets_has_all_of_them(seen):
    body = {"entities": ["DATASET"], "filters": [], "query": "*", "count": 500, "offset": 0}
    body |= {"combineResults": True}
    ids = {row["id"] for row in seen.datasets}
    found = seen.post("/api/data/ui/v3/datasources/search", body)
    assert {row["id"] for row in found["dataSources"]} == ids
    assert found["_metaData"]["totalCount"] == len(ids)
    wish = {"query": "*", "entityList": [["dataset"]], "count": 500, "offset": 0, "filters": []}
    found = seen.post("/api/search/v1/query", wish)
    documents = found["searchResultsMap"]["dataset"]
    assert {row["databaseId"] for row in documents} == ids and found["totalResultCount"] == len(ids)
    names = {row["id"]: (row["name"], row["created"], row["lastUpdated"]) for row in seen.datasets}
    for row in documents:
        assert (row["name"], row["createDate"], row["lastModified"]) == names[row["databaseId"]]


def test_certified_datasets_are_those_that_say_so(seen):
    details = []
    ids = [row["id"] for row in seen.datasets]
    for first in range(0, len(ids), 100):
        details += seen.post("/api/data/v3/datasources/bulk", ids[first : first + 100])[
            "dataSources"
        ]
    states = {row["id"]: row["certification"]["state"] for row in details if "certification" in row}
    assert {
        int(row["certification"]["userId"]) for row in details if "certification" in row
    } <= seen.people
    body = {
        "operationName": "getCertifiedEntities",
        "variables": {"type": "CC:DSET", "first": 500, "after": None, "stateFilter": None},
        "query": "",
    }
    found = seen.post("/api/synapse/approval/graphql", body)["data"]["certifyEntitiesConnection"]
    nodes = {edge["node"]["id"]: edge["node"]["certifyState"] for edge in found["edges"]}
    assert nodes == states


def test_events_name_people_and_things_that_are_there(seen):
    assert seen.get("/api/audit/v1/user-audits/count")["count"] == len(seen.events)
    known = {
        "USER": {str(id) for id in seen.people},
        "PAGE": {str(row["pageId"]) for row in seen.pages} | ODD["pages of the system"],
        "GROUP": {str(row["groupId"]) for row in seen.groups},
        "DATA_SOURCE": {row["id"] for row in seen.datasets},
        "ACCOUNT": {str(id) for id in seen.flat} | {str(id) for id in seen.by_provider},
    }
    not_listed = {"CARD", "EXECUTOR_JOB", "ACCESS_TOKEN"}  # no endpoint of the sandbox has a list
    active = {str(row["id"]) for row in seen.users if row["accepted"]}
    names = {str(row["id"]): row["displayName"] for row in seen.users}
    for event in seen.events:
        assert event["userId"] in active and names[event["userId"]] == event["userName"]
        if "objectId" in event and event["objectType"] not in not_listed:
            assert event["objectId"] in known[event["objectType"]], event


@pytest.mark.parametrize("datasets", [0, 1, 5, 6, 7, 36, 61, 500])
@pytest.mark.parametrize("accounts", [1, 2, 3, 6, 10, 36, 97])
def test_counts_of_a_world_need_no_list(accounts, datasets):
    "The count by arithmetic is the count by looking at each."
    from domostats.sandbox.domo.dataset_sources import (
        dataset_account,
        dataset_kind,
        without_account,
    )
    from domostats.sandbox.domo.world import World

    world = World(accounts=accounts, datasets=datasets)
    used = Counter(n % accounts for n in range(datasets) if dataset_kind(n) == "connector")
    assert [world.account(n).datasets for n in range(accounts)] == [
        used[n] for n in range(accounts)
    ]
    kinds = Counter(dataset_kind(n) for n in range(datasets))
    free = without_account(world)
    assert free["file-upload"] + free["webform"] == kinds["upload"]
    assert free["api"] + free["domo-jupyterdata"] == kinds["api"]
    bare = without_account(World(accounts=0, datasets=datasets))
    assert sum(bare.values()) == datasets - kinds["dataflow"]
    assert dataset_account(World(accounts=0, datasets=9), 0) is None


def test_people_of_a_recorded_list_are_counted_in_their_roles(tmp_path):
    import json

    payload = tmp_path / "accounts.json"
    account = {"id": 1, "name": "x", "userId": "123456", "displayName": "x", "type": "data"}
    payload.write_text(json.dumps([{"key": "mysql", "name": "MySQL", "accounts": [account]}]))
    with sandbox.start(payloads={"accounts": payload}, today="2024-04-01") as box:
        web = requests.Session()
        web.headers["X-DOMO-Developer-Token"] = box.access_token
        users = web.get(f"{box.url}/api/content/v2/users", timeout=30).json()
        roles = web.get(f"{box.url}/api/authorization/v1/roles", timeout=30).json()
        counted = Counter(row["roleId"] for row in users)
        assert len(users) == 13
        assert {role["id"]: role["userCount"] for role in roles if role["userCount"]} == counted


def test_nothing_refers_to_an_account_that_a_recorded_list_has_not(tmp_path):
    import json

    payload = tmp_path / "accounts.json"
    accounts = [
        {"id": 77, "name": "x", "userId": "1", "displayName": "x", "dataSourceCount": 3},
        {"id": "78", "name": "y", "userId": "1", "displayName": "y", "dataSourceCount": 0},
    ]
    payload.write_text(json.dumps([{"key": "mysql", "name": "MySQL", "accounts": accounts}]))
    with sandbox.start(
        payloads={"accounts": payload}, datasets=60, events=400, today="2024-04-01"
    ) as box:
        web = requests.Session()
        web.headers["X-DOMO-Developer-Token"] = box.access_token

        def ask(path, **query):
            return web.get(f"{box.url}{path}", params=query, timeout=30).json()

        datasets = ask("/api/data/v3/datasources", limit=500)["dataSources"]
        assert len(datasets) == 60 and {one.get("accountId") for one in datasets} == {None}
        assert ask("/api/audit/v1/user-audits", objectType="ACCOUNT", limit=1000) == []
        assert len(ask("/api/audit/v1/user-audits", limit=1000)) == 400
        body = {"entityList": [["account"]], "facetValuesToInclude": ["USED"]}
        found = web.post(f"{box.url}/api/search/v1/query", json=body, timeout=30).json()
        counts = {one["databaseId"]: one["datasetCount"] for one in found["searchObjects"]}
        assert counts == {"77": 3, "78": 0}
        used = found["facetMap"]["USED"]["facetValues"]
        assert {one["value"]: one["count"] for one in used} == {"true": 1, "false": 1}
