"""Small things of the sandbox that a client would take at face value: who owns what it finds, what
a connector is called, what a column is, what time it is."""

from email.utils import parsedate_to_datetime

import pytest
import requests

from domostats import sandbox
from domostats.sandbox.dash.queries import trino_type

SEARCH, STREAMS = "/api/search/v1/query", "/api/data/v1/streams/bulk"
USERS, GROUPS = "/api/content/v2/users", "/api/content/v2/groups/grouplist"
DATASETS, PROVIDERS = "/api/data/v3/datasources", "/api/data/v2/datasources/providers"


@pytest.fixture(scope="module")
def ask():
    "Ask a small instance as the administrator: the JSON of its reply."
    with sandbox.start(users=20, accounts=20, groups=12, datasets=60, pages=8) as box:
        headers = {"X-DOMO-Developer-Token": box.domo.admin.access_token}

        def ask(path, body=None, **query):
            how = {"headers": headers, "params": query, "json": body, "timeout": 20}
            reply = requests.request("POST" if body else "GET", box.url + path, **how)
            assert reply.status_code == 200, reply.text[:300]
            return reply.json()

        yield ask


def test_what_a_search_finds_belongs_to_its_first_owner(ask):
    found = ask(SEARCH, {"entityList": [["dataset"]], "count": 60})["searchObjects"]
    names = {("USER", str(one["id"])): one["displayName"] for one in ask(USERS)}
    names |= {
        ("GROUP", str(one["groupId"])): one["name"] for one in ask(GROUPS, limit=50, offset=0)
    }
    owned = [one for one in found if (one["ownedByType"], one["ownedById"]) in names]
    assert len(owned) > 30 and {one["ownedByType"] for one in owned} == {"USER", "GROUP"}
    for one in owned:  # others belong to users who are gone
        assert one["ownedByName"] == names[one["ownedByType"], one["ownedById"]]


def test_counts_by_date_say_so(ask):
    names = ["LAST_MODIFIED_DATE", "CREATE_DATE"]
    body = {"entityList": [["dataset"]], "count": 0, "facetValuesToInclude": names}
    for facet in ask(SEARCH, body)["facetMap"].values():
        assert [one["label"] for one in facet["facetValues"]] == [
            *("Last Day", "Last Week", "Last Month", "Last Quarter")
        ]
        for one in facet["facetValues"]:
            assert (one["filterType"], one["facetType"]) == ("dateBucket", "date")


def test_only_connectors_are_on_a_schedule_and_not_all_of_them(ask):
    "What a dataflow makes or a program sends has no next time, and a stream says the same."
    ids = [one["id"] for one in ask(DATASETS, limit=50)["dataSources"]]
    found = [ask(f"{DATASETS}/{id}", includeAllDetails="true") for id in ids]
    connectors = [one for one in found if one["type"] not in ("DataFlow", "API")]
    on_schedule = [one for one in found if one["scheduleActive"]]
    assert {one["type"] for one in found} > {"DataFlow", "API"}
    assert len(found) == 50 and len(connectors) / 2 < len(on_schedule) < len(connectors)
    assert [one for one in connectors if one["scheduleActive"]] == on_schedule
    assert [one for one in found if "nextUpdate" in one] == on_schedule
    streams = ask(STREAMS, streamId=",".join(str(one["streamId"]) for one in connectors))
    assert {one["id"] for one in streams if one["scheduleState"] == "ACTIVE"} == {
        one["streamId"] for one in on_schedule
    }
    assert {one["scheduleState"] for one in streams} == {"ACTIVE", "MANUAL"}


def test_a_connector_is_called_by_its_name(ask):
    "One that the list of connectors has, by that name; another one by its key."
    named = {one["key"]: one["name"] for one in ask(PROVIDERS)}
    ids = [one["streamId"] for one in ask(DATASETS, limit=50)["dataSources"] if one.get("streamId")]
    streams = ask(STREAMS, streamId=",".join(map(str, ids)))
    connectors = {one["dataProvider"]["key"]: one["dataProvider"] for one in streams}
    assert len(connectors.keys() & named.keys()) > 2
    for key, connector in connectors.items():
        assert connector["name"] == named.get(key, key)


@pytest.mark.parametrize(
    "kind, name",
    [
        ("INTEGER", "bigint"),
        ("BIGINT", "bigint"),
        ("HUGEINT", "bigint"),
        ("FLOAT", "double"),
        ("DOUBLE", "double"),
        ("DECIMAL(18,3)", "decimal"),
        ("DATE", "date"),
        ("BOOLEAN", "varchar"),
        ("TIMESTAMP", "timestamp"),
        ("TIMESTAMP WITH TIME ZONE", "timestamp"),
        ("VARCHAR", "varchar"),
        ("INTEGER[]", "varchar"),
    ],
)
def test_a_column_of_a_result_has_one_of_the_described_types(kind, name):
    assert trino_type(kind) == name


def test_an_agency_tells_the_time_of_its_own_clock():
    with sandbox.start_datorama(today="2024-04-01", streams=5) as box:
        box.clock.step(1000)
        reply = requests.get(f"{box.url}/v1/workspaces", timeout=20)
        told = parsedate_to_datetime(reply.headers["date"]).timestamp()
        assert abs(told - box.clock.now()) <= 60
