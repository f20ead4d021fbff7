"""Who sees what: each endpoint of the sandbox, for each role and for each grant alone.

Domo refuses the activity log to who may not read it. Everything else that a grant is missing for
is only shorter: one's own accounts, pages and datasets, and no word about the others.
"""

import pytest
import requests

from domostats import reports, sandbox
from domostats.clients.domo.credentials import SessionToken
from domostats.clients.domo.pages import get_page_access, get_pages
from domostats.sandbox.domo.users import RoleFacts

SIZES = {
    "seed": 64,
    "users": 13,
    "accounts": 11,
    "groups": 4,
    "datasets": 14,
    "pages": 8,
    "events": 12,
}
ACCOUNTS = [1, 4, 9, 10, 14, 18, 19, 23, 27, 29, 33]
SOME = [1, 9, 19, 27]
PAGES = {
    "Overview": 135040931,
    "Quality": 753074920,
    "Forecast": 1371108909,
    "Inventory": 1989142898,
    "Budget": 607176887,
    "Pipeline": 1225210876,
    "Retention": 1843244865,
    "Campaigns": 461278854,
}
DATASETS = {  # its number: its id
    0: "47e4c181-fe0c-47cb-b74a-c30e9a303ff3",
    1: "1431866b-58c1-4cfa-b0e5-c314791d2660",
    2: "824e8a45-fc40-403c-8519-c31a580a0ccd",
    3: "2e24116e-4e43-49a4-9953-c32036f6f33a",
    4: "c6ec0332-9b35-4eb4-a3e8-c32615e3d9a7",
    9: "c5540658-2ca5-4338-acf7-c343708459c8",
    13: "c50c3436-9ca9-4cb7-ac0d-c35aec37f37c",
}
STREAMS = [5, 8, 11, 14, 20, 23, 26, 29, 32, 38, 41, 44]
PEOPLE = {
    "Pia Sage": 1862305787,
    "Wren Bramble": 480339776,
    "Dina Glen": 1098373765,
    "Kofi Marsh": 1716407754,
    "Gus Vale": 334441743,
    "Ned Clover": 952475732,
    "Uma Heath": 1570509721,
    "Bea Oak": 188543710,
    "Iris Alder": 806577699,
    "Eli Elm": 1424611688,
    "Leo Juniper": 2042645677,
    "Sam River": 660679666,
}
OWN = {  # name: accounts, pages and datasets (the number in their name) that are this person's own
    "Pia Sage": ([], ["Overview"], [0]),
    "Wren Bramble": ([4, 19], ["Quality"], [1]),
    "Dina Glen": ([], ["Budget", "Forecast"], [4]),
    "Kofi Marsh": ([1], ["Pipeline"], [5]),
    "Gus Vale": ([], ["Retention"], [6]),
    "Ned Clover": ([9, 23, 27, 33], ["Campaigns"], [7]),
    "Uma Heath": ([], [], [8]),
    "Bea Oak": ([10, 18], ["Campaigns"], [9]),
    "Iris Alder": ([29], [], [10]),
    "Eli Elm": ([], [], [11]),
    "Leo Juniper": ([], [], [12]),
    "Sam River": ([], [], [13]),
}
EVERYTHING = (ACCOUNTS, sorted(PAGES), [*range(14)])
NOT_IN_PROVIDERS, NOT_IN_FLAT = 27, 19  # recorded: each list of accounts lacks some
STREAM_OF = {n: 3 * n + 5 for n in range(14) if n not in (4, 10)}  # a dataflow has none
CERTIFIED = {3, 13}


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        with sandbox.start(**SIZES, today="2024-04-01") as running:
            yield running


class Eyes:
    "What somebody who is signed in sees at each endpoint."

    def __init__(self, box, user):
        self.token = box.domo.sign_in.open(user)["sessionToken"]
        self.url, self.web = box.url, requests.Session()
        self.web.trust_env = False
        self.web.headers["X-DOMO-Authentication"] = self.token

    def status(self, path):
        return self.web.get(self.url + path, timeout=20).status_code

    def get(self, path):
        reply = self.web.get(self.url + path, timeout=20)
        assert reply.status_code == 200, (path, reply.text)
        return reply.json()

    def post(self, path, body):
        reply = self.web.post(self.url + path, json=body, timeout=20)
        assert reply.status_code == 200, (path, reply.text)
        return reply.json()

    def search(self, entity, **more):
        body = {"entityList": [[entity]], "count": 100, **more}
        return self.post("/api/search/v1/query", body)

    def accounts(self):
        providers = self.get("/api/data/v2/datasources/providers")
        found = self.search("account", facetValuesToInclude=["VALID"])
        facet = found["facetMap"]["VALID"]["facetValues"]
        return {
            "providers": sorted(one["id"] for two in providers for one in two["accounts"]),
            "all the providers": len(providers),
            "flat": [one["id"] for one in self.get("/api/data/v1/accounts")],
            "by id": [id for id in SOME if self.status(f"/api/data/v1/accounts/{id}") == 200],
            "search": [int(one["databaseId"]) for one in found["searchObjects"]],
            "total": found["totalResultCount"],
            "in the facet": sum(value["count"] for value in facet),
        }

    def pages(self):
        shares = "/api/content/v1/share/accesslist/page"
        listed = self.post("/api/content/v1/pages/adminsummary", {"orderBy": "pageTitle"})
        found = self.search("page")
        return {
            "listed": [one["pageTitle"].split()[0] for one in listed["pageAdminSummaries"]],
            "shares": sorted(
                name for name, id in PAGES.items() if self.status(f"{shares}/{id}") == 200
            ),
            "search": sorted(one["name"].split()[0] for one in found["searchObjects"]),
            "total": found["totalResultCount"],
        }

    def datasets(self):
        one_page = "/api/data/v3/datasources?limit=500"
        listed, found = self.get(one_page), self.search("dataset")
        datacenter = self.post("/api/data/ui/v3/datasources/search", {"count": 100})
        asked = {"operationName": "getCertifiedEntities", "variables": {"type": "CC:DSET"}}
        certified = self.post("/api/synapse/approval/graphql", asked)["data"]
        edges = certified["certifyEntitiesConnection"]["edges"]
        of_group = self.search(
            "dataset",
            filters=[{"filterType": "term", "field": "owned_by_id", "value": "148914359:GROUP"}],
        )
        of_admin = self.get(f"{one_page}&ownerId={PEOPLE['Pia Sage']}")
        bulk = self.post("/api/data/v3/datasources/bulk", [*DATASETS.values()])["dataSources"]
        streams = self.get(f"/api/data/v1/streams/bulk?streamId={','.join(map(str, STREAMS))}")
        return {
            "listed": numbers(listed["dataSources"]),
            "listed in all": listed["_metadata"]["totalCount"],
            "datacenter": numbers(datacenter["dataSources"]),
            "datacenter in all": datacenter["_metaData"]["totalCount"],
            "search": numbers(found["searchObjects"]),
            "search in all": found["totalResultCount"],
            "bulk": numbers(bulk),
            "by id": [
                n
                for n, id in DATASETS.items()
                if self.status(f"/api/data/v3/datasources/{id}") == 200
            ],
            "of a group": of_group["totalResultCount"],
            "of the administrator": of_admin["_metadata"]["totalCount"],
            "certified": sorted(int(edge["node"]["title"].split()[-1]) for edge in edges),
            "streams": [one["id"] for one in streams],
            "stream by id": [
                id for id in (5, 8, 20, 44) if self.status(f"/api/data/v1/streams/{id}") == 200
            ],
        }

    def log(self):
        events = "/api/audit/v1/user-audits"
        return [self.status(events + more) for more in ("", "/count", "/objectTypes/PAGE")]

    def for_everybody(self):
        "What needs no grant: the statuses of these, and how many rows there are."
        lists = ["/api/content/v2/users", "/api/authorization/v1/roles"]
        lists += ["/api/content/v2/groups/grouplist", "/api/audit/v1/user-audits/objectTypes"]
        lists += ["/api/data/v1/accounts/templates/user/extended"]
        lists += ["/api/authorization/v1/roles/1/authorities"]
        found = [len(self.get(path)) for path in lists]
        found.append(len(self.get("/api/identity/v1/users")["users"]))
        return found + [self.search(entity)["totalResultCount"] for entity in ("user", "group")]


def numbers(rows):
    return [int(row["name"].split()[-1]) for row in rows]


def sees_accounts(ids):
    return {
        "providers": [id for id in ids if id != NOT_IN_PROVIDERS],
        "all the providers": 16,
        "flat": [id for id in ids if id != NOT_IN_FLAT],
        "by id": [id for id in SOME if id in ids],
        "search": ids,
        "total": len(ids),
        "in the facet": len(ids),
    }


def sees_pages(names):
    return {"listed": names, "shares": names, "search": names, "total": len(names)}


def sees_datasets(rows):
    streams = [STREAM_OF[n] for n in rows if n in STREAM_OF]
    return {
        "listed": rows,
        "listed in all": len(rows),
        "datacenter": rows,
        "datacenter in all": len(rows),
        "search": rows,
        "search in all": len(rows),
        "bulk": [n for n in DATASETS if n in rows],
        "by id": [n for n in DATASETS if n in rows],
        "of a group": 1 if 2 in rows else 0,
        "of the administrator": 1 if 0 in rows else 0,
        "certified": [n for n in rows if n in CERTIFIED],
        "streams": streams,
        "stream by id": [id for id in (5, 8, 20, 44) if id in streams],
    }


def check(eyes, name, accounts=False, pages=False, datasets=False, log=False):
    "Somebody sees all of what is named, and only what is their own of the rest."
    own = OWN[name]
    assert eyes.accounts() == sees_accounts(EVERYTHING[0] if accounts else own[0])
    assert eyes.pages() == sees_pages(EVERYTHING[1] if pages else own[1])
    assert eyes.datasets() == sees_datasets(EVERYTHING[2] if datasets else own[2])
    assert eyes.log() == ([200] * 3 if log else [403] * 3)
    assert eyes.for_everybody() == [13, 7, 4, 66, 1, 27, 13, 12, 4]


@pytest.mark.parametrize(
    "name, grants",
    [
        ("Pia Sage", ["accounts", "pages", "datasets", "log"]),  # Admin
        ("Kofi Marsh", []),  # Privileged
        ("Dina Glen", []),  # Editor
        ("Gus Vale", []),  # Participant
        ("Bea Oak", []),  # Social
        ("Wren Bramble", []),  # Analyst
        ("Ned Clover", ["accounts", "log"]),  # Collector
    ],
)
def test_a_role_sees_what_its_grants_allow(box, name, grants):
    eyes = Eyes(box, box.domo.data.user(PEOPLE[name]))
    check(eyes, name, **dict.fromkeys(grants, True))


@pytest.fixture
def another_role(box, monkeypatch):
    "A function that puts a role in the place of number 7; what was kept of it is forgotten."

    def forget():
        box.domo.pages.cache.kept.clear()
        box.domo.data.memo.clear()

    def put(role):
        monkeypatch.setitem(box.domo.data.world.roles, 7, role)
        forget()

    yield put
    forget()


@pytest.mark.parametrize(
    "name, grant, all_of_it",
    [
        ("Wren Bramble", "account.admin", ["accounts"]),
        ("Bea Oak", "account.view.all", ["accounts"]),
        ("Dina Glen", "content.admin", ["pages"]),
        ("Sam River", "dataset.admin", ["datasets"]),
        ("Eli Elm", "audit", ["log"]),
        ("Kofi Marsh", "dataset.manage", []),
        ("Ned Clover", "dataflow.admin", []),
        ("Gus Vale", "ui.admin", []),
        ("Iris Alder", "search.allentities.query", []),
        ("Leo Juniper", "user.edit", []),
        ("Uma Heath", "certifiedcontent.admin", []),
    ],
)
def test_one_grant_opens_its_own_lists_and_no_other(box, another_role, name, grant, all_of_it):
    another_role(RoleFacts(7, "One grant", None, (grant,)))
    user = {**box.domo.data.user(PEOPLE[name]), "roleId": 7}
    eyes = Eyes(box, user)
    own = OWN[name]
    whole = dict.fromkeys(all_of_it, True)
    assert eyes.accounts() == sees_accounts(EVERYTHING[0] if "accounts" in whole else own[0])
    assert eyes.pages() == sees_pages(EVERYTHING[1] if "pages" in whole else own[1])
    assert eyes.datasets() == sees_datasets(EVERYTHING[2] if "datasets" in whole else own[2])
    assert eyes.log() == ([200] * 3 if "log" in whole else [403] * 3)


def test_what_one_has_seen_another_does_not_see(box):
    "The replies that are kept are kept for whom they were made."
    everything, own = Eyes(box, box.domo.admin.user), Eyes(box, box.domo.limited.user)
    for _ in range(2):
        assert len(everything.pages()["shares"]) == 8
        assert own.pages() == sees_pages(["Quality"])
        assert own.datasets()["listed"] == [1]


def test_a_search_that_somebody_has_made_finds_another_only_what_is_theirs(box):
    "With words, for which each document is looked at."
    everything, own = Eyes(box, box.domo.admin.user), Eyes(box, box.domo.limited.user)
    for _ in range(2):
        found = everything.search("dataset", query="1*")
        assert numbers(found["searchObjects"]) == [1, 10, 11, 12, 13]
        found = own.search("dataset", query="1*")
        assert numbers(found["searchObjects"]) == [1] and found["totalResultCount"] == 1


def test_the_reports_of_somebody_without_the_grant_have_no_shares_of_others(box):
    me = SessionToken(box.domo.sign_in.open(box.domo.limited.user)["sessionToken"])
    pages = get_pages(box, me).response
    assert [page["pageTitle"] for page in pages] == ["Quality Data 1"]
    [one] = get_page_access(box, me).response
    assert one["parent"] == 753074920
    with pytest.warns(UserWarning, match="has none of content.admin"):
        frame = reports.page_access.generate(box, me)
    assert {*frame["Page ID"]} == {"753074920"}
    assert frame["User Name"].tolist()[:2] == ["Dina Glen", "Kofi Marsh"]
    assert frame["Group Name"].tolist()[2:] == ["Marketing Team"]
    whole = reports.page_access.generate(box)
    assert len({*whole["Page ID"]}) == 8 and len(whole) == 20


def test_a_recorded_list_of_accounts_shows_only_ones_own(tmp_path_factory):
    "With a list that was brought along, too: every provider, and of the accounts one's own."
    import json

    analyst = PEOPLE["Wren Bramble"]
    entries = [
        {"key": "mysql", "name": "MySQL", "accounts": []},
        {"key": "api", "name": "API", "accounts": None},
        {"key": "snowflake", "name": "Snowflake", "accounts": [], "unassociated": 3},
    ]
    entries[0]["accounts"] = [
        {"id": 5, "userId": str(analyst), "displayName": "mine as text"},
        {"id": 6, "userId": analyst, "displayName": "mine as a number"},
        {"id": 7, "userId": "1862305787", "displayName": "of the administrator"},
        {"id": 8, "displayName": "of nobody"},
    ]
    entries[2]["accounts"] = [{"id": 9, "userId": "12", "displayName": "of a stranger"}]
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("payload")
        patch.setenv("XDG_STATE_HOME", str(folder))
        file = folder / "accounts.json"
        file.write_text(json.dumps(entries))
        with sandbox.start(**SIZES, payloads={"accounts": file}, today="2024-04-01") as box:
            own = Eyes(box, box.domo.limited.user)
            shown = own.get("/api/data/v2/datasources/providers")
            assert shown == [
                {**entries[0], "accounts": entries[0]["accounts"][:2]},
                entries[1],
                {**entries[2], "accounts": []},
            ]
            assert [one["id"] for one in own.get("/api/data/v1/accounts")] == [5, 6]
            everything = Eyes(box, box.domo.admin.user)
            assert everything.get("/api/data/v2/datasources/providers") == entries
            assert [one["id"] for one in everything.get("/api/data/v1/accounts")] == [5, 6, 7, 8, 9]
            assert everything.search("account")["totalResultCount"] == 5
            assert own.search("account")["totalResultCount"] == 2
