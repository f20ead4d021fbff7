"""The published domolibrary, unmodified but for the address, gets from the sandbox what its
world holds."""

import json
import subprocess
from pathlib import Path

import pytest

from domostats import sandbox
from domostats.sandbox.domo.dataset_sources import stream_id
from domostats.sandbox.domo.datasets import dataset_uuid
from domostats.sandbox.domo.owners import group_id_of
from domostats.sandbox.domo.pages import page_id, page_title

pytestmark = pytest.mark.slow
CLIENT = Path(__file__).parent / "domolibrary_client.py"


@pytest.fixture(scope="module")
def world(got):
    return got["world"]


@pytest.fixture(scope="module")
def got(peer, tmp_path_factory):
    "What every call of the client gave, by its name; `world` is what they were asked of."
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("state")
        patch.setenv("XDG_STATE_HOME", str(folder))
        box = sandbox.start(
            seed=3, users=60, accounts=20, groups=30, datasets=120, pages=40, events=500
        )
        with box:
            world = box.domo.data.world
            asked = {
                "token": box.domo.admin.access_token,
                "username": box.domo.admin.username,
                "password": box.domo.admin.password,
                "user": world.user(5)["id"],
                "account": world.account(3).id,
                "group": group_id_of(3, 4),
                "group_text": "team",
                "role": 2,
                "title": "budget",
                "parent": page_id(3, 0),
                "page": page_id(3, 2),
                "dataset": dataset_uuid(3, 7),
                "dataset_text": "*orders*",
                "stream": stream_id(7),
                "provider": "MySQL",
                "account_text": "MySQL",
                "start": 1_000_000_000_000,
                "end": 9_000_000_000_000,
            }
            told = subprocess.run(
                [peer("domolibrary"), CLIENT, box.url],
                input=json.dumps(asked),
                capture_output=True,
                text=True,
                timeout=300,
            )
            assert told.returncode == 0, told.stderr
            refused = {(call.path, call.status) for call in box.log if call.status >= 400}
        found = json.loads(told.stdout.splitlines()[-1])
        yield {**found, "world": world, "refused": refused}


def ids(rows, name="id"):
    return [row[name] for row in rows]


def test_who_comes_in(got, world):
    assert got["full_auth"]["userId"] == world.user(1)["id"] and got["full_auth"]["sessionToken"]
    assert "InvalidCredentialsError" in got["wrong_password"]
    assert got["who_am_i"]["emailAddress"] == world.user(1)["emailAddress"]


def test_users(got, world):
    assert len(got["users"]) == 60
    assert ids(got["users"]) == [world.user(n)["id"] for n in range(60)]
    one = world.user(5)
    for name in ("user", "user_by_address"):
        shown = got[name]
        assert (shown["id"], shown["displayName"], shown["roleId"]) == (
            one["id"],
            one["displayName"],
            one["roleId"],
        )
    assert got["user"]["role"]["roleName"] == world.roles[one["roleId"]].name
    assert "SearchUser_NoResults" in got["nobody"]
    assert "SearchUser_NoResults" in got["nobody_by_address"]


def test_accounts(got, world):
    known = [world.account(n) for n in range(20)]
    assert ids(got["accounts"]) == [one.id for one in known if one.in_flat_list]
    assert len(got["accounts"]) == 18
    assert (got["account"]["id"], got["account"]["userId"]) == (known[3].id, known[3].owner)
    assert "Account_NoMatch" in got["no_account"]


def test_groups(got):
    assert len(got["groups"]) == 30 and {*ids(got["groups"], "groupId")} == {
        group_id_of(3, n) for n in range(30)
    }
    named = [name for name in ids(got["groups"], "name") if "team" in name.lower()]
    assert ids(got["groups_named"], "name") == named and 0 < len(named) < 30
    assert got["group"]["id"] == group_id_of(3, 4)


def test_roles(got, world):
    assert ids(got["roles"]) == [*world.roles]
    assert sum(ids(got["roles"], "userCount")) == 60
    assert got["role_grants"] == [*world.roles[2].grants]
    assert "Role_NotRetrieved" in got["no_role"]


def test_pages(got):
    titles = sorted((page_title(n) for n in range(40)), key=str.lower)
    assert ids(got["pages"], "pageTitle") == titles
    budget = [title for title in titles if "budget" in title.lower()]
    assert ids(got["pages_titled"], "pageTitle") == budget and 0 < len(budget) < 40
    below = [page["pageId"] for page in got["pages"] if page["parentPageId"] == page_id(3, 0)]
    assert ids(got["pages_below"], "pageId") == below and 0 < len(below) < 40


def test_who_may_open_a_page(got):
    everybody, direct = got["page_access"], got["page_access_alone"]
    assert everybody["resource"] == {"id": str(page_id(3, 2)), "type": "page"}
    # the client adds the people of each group to those who have the page themselves
    assert len({*ids(everybody["users"])}) == everybody["totalUserCount"]
    assert len(direct["users"]) == direct["explicitSharedUserCount"] < len(everybody["users"])
    assert {len(group["users"]) for group in direct["groups"]} == {0}


def test_datasets_and_streams(got):
    assert got["dataset"]["id"] == dataset_uuid(3, 7)
    assert "DatasetNotFoundError" in got["no_dataset"]
    assert got["stream"]["id"] == stream_id(7)
    assert got["stream"]["dataSource"]["id"] == dataset_uuid(3, 7)


def test_the_search(got, world):
    everything = [dataset_uuid(3, n) for n in range(120)]
    assert ids(got["search_datasets"], "databaseId") == everything
    orders = [one["databaseId"] for one in got["search_datasets"] if "orders" in one["name"]]
    assert ids(got["search_named"], "databaseId") == orders and 0 < len(orders) < 120
    only, others = ids(got["search_provider"], "databaseId"), got["search_other_providers"]
    assert only and sorted(only + ids(others, "databaseId")) == sorted(everything)
    accounts = [world.account(n) for n in range(20)]
    assert ids(got["search_accounts"], "databaseId") == [str(one.id) for one in accounts]
    mysql = sorted(one.display_name for one in accounts if "MySQL" in one.display_name)
    assert sorted(ids(got["search_account_named"], "displayName")) == mysql and mysql
    assert len(got["search_users"]) == 59 and len(got["search_groups"]) == 30
    assert ids(got["search_pages"], "databaseId") == [str(page_id(3, n)) for n in range(40)]
    assert "SearchDatacenter_GET_Error" in got["search_cards"]


def test_the_log(got):
    assert {"type": "ACCESS_TOKEN", "translation": "Access token"} in got["object_types"]
    assert len(got["events"]) == 500
    times = ids(got["events"], "time")
    assert times == sorted(times, reverse=True)
    about = [event for event in got["events"] if event["objectType"] == "PAGE"]
    seen = {event["objectId"] for event in about if "objectId" in event}
    assert {*ids(got["event_objects"], "objectId")} == seen and len(seen) > 10


def test_nothing_else_was_refused(got):
    nobody = {"/api/content/v3/users/12345", "/api/data/v1/accounts/999999999"}
    missing = f"/api/data/v3/datasources/{'00000000-0000-4000-8000-000000000000'}"
    assert got["refused"] == {(path, 404) for path in {*nobody, missing}} | {
        ("/api/search/v1/query", 400)
    }
