"""The sandbox from outside: over real HTTP, against recorded replies, in other processes, and
with bad manners."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
import requests

from domostats import sandbox
from domostats.errors import SettingsError
from domostats.instances import Instance, find_instance, read_note, sandbox_note
from domostats.sandbox import running
from domostats.sandbox.domo.users import ADMIN, ANALYST, GRANTS
from domostats.sandbox.domo.world import World
from domostats.sandbox.faults import CALL_FAULTS, FAULTS, SIGN_IN, SIGN_IN_FAULTS
from domostats.sandbox.server import Server

FIXTURES = Path(__file__).parent / "fixtures" / "domo"
ME, USERS, PROVIDERS, ACCOUNTS = (
    "/api/content/v2/users/me",
    "/api/content/v2/users",
    "/api/data/v2/datasources/providers",
    "/api/data/v1/accounts",
)
SEEDS = 1, 2, 77


def notes_in(patch, folder):
    "Notes in this folder from now on, and no sandbox that runs already."
    patch.setattr(running, "_running", {})
    patch.setenv("XDG_STATE_HOME", str(folder))
    folder.mkdir(exist_ok=True)
    patch.chdir(folder)
    if not str(sandbox_note("x")).startswith(str(folder)):
        pytest.skip("the folder of the notes cannot be set on this system")


@pytest.fixture(autouse=True, scope="module")
def own_folder(tmp_path_factory):
    """Most tests share their sandboxes, and leave them healed: one folder for all of them in
    place of one for each."""
    with pytest.MonkeyPatch.context() as patch:
        notes_in(patch, tmp_path_factory.mktemp("state"))
        yield
        running._stop_all()


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    "A user who has no sandbox yet."
    notes_in(monkeypatch, tmp_path / "state")
    yield
    running._stop_all()


@pytest.fixture
def http():
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture
def box():
    box = sandbox.start()
    box.calls.clear()
    yield box
    box.heal()


def sample(name):
    return json.loads((FIXTURES / f"{name}.json").read_text())


def token(login):
    return {"X-DOMO-Developer-Token": login.access_token}


def get(http, box, path, headers=None, **more):
    return http.get(
        box.url + path,
        headers=token(box) if headers is None else headers,
        timeout=10,
        allow_redirects=False,
        **more,
    )


def sign_in(http, box, login=None, **change):
    login = login or box
    body = {
        "method": "password",
        "emailAddress": login.username,
        "password": login.password,
        **change,
    }
    return http.post(box.url + SIGN_IN, json=body, timeout=10, allow_redirects=False)


# --- held against what was recorded ---------------------------------------------------------------

ACCOUNT_KEYS = set(sample("account_providers")[0]["accounts"][0])
FLAT_KEYS = set(sample("accounts_v1")[0])
USER_KEYS = set().union(*sample("users_v2"), sample("user_v2_by_id_custom_role")) - {
    "role",
    "rights",
    "title",
    "employeeNumber",
    "timeZone",
}
USER_OPTIONAL = {
    "timeZone",
    "role",
    "rights",
    "title",
    "department",
    "employeeNumber",
    "avatarKey",
    "phoneNumber",
    "deskPhoneNumber",
    "alternateEmail",
    "employeeLocation",
    "location",
    "hireDate",
}


def types_of(records):
    "The JSON types met under each key of these records."
    found = {}
    for record in records:
        for key, value in record.items():
            found.setdefault(key, set()).add(type(value))
    return found


def same_types(records, recorded):
    ours, theirs = types_of(records), types_of(recorded)
    return {
        key: (ours[key], theirs[key])
        for key in ours.keys() & theirs.keys()
        if not ours[key] <= theirs[key]
    }


@pytest.fixture(params=SEEDS, ids=lambda seed: f"seed {seed}")
def any_box(request):
    return sandbox.start(seed=request.param, users=60, accounts=50)


def test_sign_in_as_recorded(http, any_box):
    reply = sign_in(http, any_box).json()
    recorded = sample("auth_success")
    assert reply.keys() == recorded.keys() and not same_types([reply], [recorded])
    assert reply["twoFactorInfo"] == recorded["twoFactorInfo"] and reply["success"] is True


def test_refusal_as_recorded(http, any_box):
    reply = get(http, any_box, PROVIDERS, headers={})
    recorded = sample("error_401")
    assert reply.status_code == 401 and reply.headers["content-type"].startswith("application/json")
    assert {**reply.json(), "toe": ""} == {**recorded, "toe": ""}
    assert [len(part) for part in reply.json()["toe"].split("-")] == [
        len(part) for part in recorded["toe"].split("-")
    ]


def test_whoami_as_recorded(http, any_box):
    reply, recorded = get(http, any_box, ME).json(), sample("whoami")
    assert reply.keys() == recorded.keys() and not same_types([reply], [recorded])


def test_providers_as_recorded(http, any_box):
    reply, recorded = get(http, any_box, PROVIDERS).json(), sample("account_providers")
    for provider in reply:
        assert (
            {"key", "name", "unassociatedDataSourceCount", "accounts"}
            <= provider.keys()
            <= set(recorded[0])
        )
        assert all(
            account.keys() == ACCOUNT_KEYS and account["dataProviderType"] == provider["key"]
            for account in provider["accounts"]
        )
    accounts = [account for provider in reply for account in provider["accounts"]]
    assert not same_types(reply, recorded)
    ends = {"dateOfExpiration": int, "daysToExpiry": int, "expired": bool}  # null in the recording
    for account in accounts:
        assert all(account[name] is None or type(account[name]) is ends[name] for name in ends)
    differing = same_types(
        accounts, [account for provider in recorded for account in provider["accounts"]]
    )
    assert set(differing) == set(ends)
    without = [provider for provider in reply if "authenticationScheme" not in provider]
    assert {
        "api",
        "file-upload",
        "webform",
        "dataset-view",
        "sample-data",
        "domo-jupyterdata",
        "large-file-upload",
        "workbench-csv",
    } <= {p["key"] for p in without}
    assert all(provider["accounts"] == [] for provider in without)
    assert {provider.get("authenticationScheme") for provider in reply} == {None, "fields", "oauth"}


def test_flat_list_as_recorded(http, any_box):
    reply, recorded = get(http, any_box, ACCOUNTS).json(), sample("accounts_v1")
    assert all(account.keys() == FLAT_KEYS for account in reply) and not same_types(reply, recorded)
    assert all(
        account["accountId"] == account["id"] and account["createdAt"] <= account["modifiedAt"]
        for account in reply
    )
    assert {account["valid"] for account in reply} == {True, False} and "data" in {
        account["type"] for account in reply
    } != {"data"}


def test_users_as_recorded(http, any_box):
    reply = get(http, any_box, USERS).json()
    recorded = [*sample("users_v2"), sample("user_v2_by_id_custom_role")]
    assert all(
        USER_KEYS <= user.keys() <= USER_KEYS | USER_OPTIONAL for user in reply
    ) and not same_types(reply, recorded)
    assert all(value is not None for user in reply for value in user.values())
    assert all(("role" in user) == ("rights" in user) == (user["roleId"] <= 5) for user in reply)
    assert all(user["modified"] > 100 * user["created"] for user in reply)
    assert sum("role" not in user for user in reply) > 2 and any(
        user["userName"] != user["emailAddress"] for user in reply
    )
    assert {
        key: reply[0][key]
        for key in ("id", "displayName", "userType", "role", "roleId", "rights", "systemUser")
    } == {
        key: recorded[0][key]
        for key in ("id", "displayName", "userType", "role", "roleId", "rights", "systemUser")
    }
    assert (
        len({user["id"] for user in reply})
        == len({user["emailAddress"] for user in reply})
        == len(reply)
        == 60
    )


def test_user_by_id_as_recorded(http, any_box):
    users = get(http, any_box, USERS).json()
    custom = next(user for user in users if "role" not in user)
    reply = get(http, any_box, f"{USERS}/{custom['id']}", params={"includeDetails": "true"}).json()
    recorded = sample("user_v2_by_id_custom_role")
    assert (
        reply == custom and recorded.keys() <= reply.keys() and not same_types([reply], [recorded])
    )
    unknown = get(http, any_box, f"{USERS}/12345")
    assert (unknown.status_code, unknown.content) == (200, b"")
    assert get(http, any_box, f"{USERS}/0").json() == users[0]


def test_grants_as_recorded(http, any_box):
    me = get(http, any_box, f"{USERS}/{get(http, any_box, ME).json()['id']}").json()
    path = "/api/authorization/v1/roles/{}/authorities"
    grants = get(http, any_box, path.format(me["roleId"])).json()
    assert me["role"] == "Admin" and set(sample("role_authorities")) <= set(grants) == set(GRANTS)
    assert {
        "account.admin",
        "account.view.all",
        *(item["authority"] for item in sample("authorities")),
    } <= set(grants)
    assert get(http, any_box, path.format(987654321)).json() == []


def test_built_in_roles_have_the_recorded_names():
    roles = World().roles
    assert all(
        roles[role["id"]].name == role["name"] for role in sample("roles") if role["id"] <= 5
    )


def test_the_two_lists_do_not_quite_agree(http, any_box):
    inside = {
        account["id"]: account
        for provider in get(http, any_box, PROVIDERS).json()
        for account in provider["accounts"]
    }
    flat = {account["id"]: account for account in get(http, any_box, ACCOUNTS).json()}
    users = {user["id"]: user for user in get(http, any_box, USERS).json()}
    assert inside.keys() - flat.keys() and flat.keys() - inside.keys()
    both = inside.keys() & flat.keys()
    assert all(inside[id]["userId"] == str(flat[id]["userId"]) for id in both)
    assert any(inside[id]["displayName"] != flat[id]["displayName"] for id in both)
    assert any(account["userId"] not in users for account in flat.values())
    known = [
        account
        for account in flat.values()
        if account["credentialsType"] == "oauth" and account["userId"] in users
    ]
    assert known and all(
        account["name"] == users[account["userId"]]["userName"] for account in known
    )
    assert sorted(flat) != [*range(min(flat), max(flat) + 1)]


# --- the same seed, the same bytes ----------------------------------------------------------------

PRINT = (
    "from domostats.sandbox.domo.account_lists import show_accounts, show_providers; "
    "from domostats.sandbox.domo.data import Data; "
    "from domostats.sandbox.domo.users_and_roles import show_users; "
    "from domostats.sandbox.domo.world import World; "
    "d = Data(World({seed}, 40, 40)); u = d.world.user(1); "
    "import hashlib; print(*[hashlib.sha256(f(d, u).body).hexdigest() "
    "for f in (show_users, show_accounts, show_providers)])"
)


def digests(seed, **env):
    code = PRINT.format(seed=seed)
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **env},
    ).stdout.split()


def test_same_seed_same_bytes_in_every_process():
    first, second, other = (
        digests(1, PYTHONHASHSEED="1"),
        digests(1, PYTHONHASHSEED="2", TZ="Asia/Tokyo"),
        digests(2),
    )
    assert first == second and len(first) == 3
    assert not set(first) & set(other)


def test_the_world_of_seed_1_has_not_changed():
    world = World()
    assert (
        world.user(ADMIN)["id"],
        world.user(ADMIN)["displayName"],
        world.user(ANALYST)["id"],
    ) == (236686698, "Ben Vale", 854720687)
    assert [world.account(n).id for n in range(10)] == [1, 6, 9, 12, 13, 16, 19, 24, 25, 29]


def test_a_row_needs_no_rows_before_it():
    assert World(1, 12, 10).account(7) == World(1, 12, 1_000_000).account(7)
    assert World(1, 12).user(7) == World(1, 100_000_000).user(7)
    far = World(1, 100_000_000, 100_000_000)
    assert (
        far.user_by_id(far.user(99_999_999)["id"]) == far.user(99_999_999)
        and far.account(99_999_999).id > 299_999_990
    )


@pytest.mark.parametrize(
    "size",
    [
        {"users": 2},
        {"users": "12"},
        {"accounts": -1},
        {"accounts": 1.0},
        {"seed": True},
        {"seed": None},
        {"users": 10**12},
    ],
    ids=str,
)
def test_impossible_sizes(fresh, size):
    with pytest.raises(SettingsError) as refusal:
        sandbox.start(**size)
    assert refusal.value.reason == "bad_size" and not running._running


def test_smallest_and_large(http):
    small = sandbox.start(users=3, accounts=0)
    assert len(get(http, small, USERS).json()) == 3 and get(http, small, ACCOUNTS).json() == []
    large = sandbox.start(users=3, accounts=10_000)
    assert (
        len(get(http, large, ACCOUNTS).json()) == 9_000
        and get(http, large, ACCOUNTS).content == get(http, large, ACCOUNTS).content
    )


# --- signing in -----------------------------------------------------------------------------------


def test_session_and_access_token_open_the_same_door(http, box):
    session = {"X-DOMO-Authentication": sign_in(http, box).json()["sessionToken"]}
    again = {"X-DOMO-Authentication": sign_in(http, box).json()["sessionToken"]}
    assert session != again
    assert (
        get(http, box, ME, session).json()
        == get(http, box, ME, again).json()
        == get(http, box, ME).json()
    )
    assert get(http, box, ME).json()["emailAddress"] == box.username
    box.expire()
    assert [
        get(http, box, ME, headers).status_code for headers in (session, again, token(box))
    ] == [401, 401, 200]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-DOMO-Authentication": "x"},
        {"X-DOMO-Developer-Token": "x"},
        {"X-DOMO-Developer-Token": ""},
        {"Authorization": "Bearer x"},
        {"X-DOMO-Developer-Token": "\xe9"},
    ],
    ids=str,
)
def test_anybody_else_stays_outside(http, box, headers):
    assert {
        get(http, box, path, headers).status_code
        for path in (ME, USERS, ACCOUNTS, PROVIDERS, f"{USERS}/0", "/api/no/such")
    } == {401}


def test_tokens_are_no_sessions(http, box):
    assert get(http, box, ME, {"X-DOMO-Authentication": box.access_token}).status_code == 401
    assert (
        get(
            http, box, ME, {"X-DOMO-Developer-Token": sign_in(http, box).json()["sessionToken"]}
        ).status_code
        == 401
    )


@pytest.mark.parametrize(
    "change",
    [{"password": "guess"}, {"emailAddress": "nobody@example.com"}, {"password": ""}],
    ids=str,
)
def test_wrong_password_is_a_200(http, box, change):
    for _ in range(7):
        reply = sign_in(http, box, **change)
    assert (reply.status_code, reply.json()) == (
        200,
        {"success": False, "reason": "INVALID_CREDENTIALS"},
    )
    assert sign_in(http, box).json()["success"], "seven wrong passwords do not lock"


def test_credentials_are_new_every_time(fresh, box):
    before = box.password, box.access_token
    box.stop()
    assert not set(before) & {(again := sandbox.start()).password, again.access_token}


def test_a_limited_login_sees_fewer_accounts_and_no_error(http, box):
    mine, my_id = (
        get(http, box, ACCOUNTS, token(box.limited)),
        get(http, box, ME, token(box.limited)).json()["id"],
    )
    assert mine.status_code == 200 and 0 < len(mine.json()) < len(get(http, box, ACCOUNTS).json())
    assert {account["userId"] for account in mine.json()} == {my_id}
    providers = get(http, box, PROVIDERS, token(box.limited)).json()
    assert {account["userId"] for provider in providers for account in provider["accounts"]} == {
        str(my_id)
    } and len(providers) == len(get(http, box, PROVIDERS).json())
    role = get(http, box, f"{USERS}/{my_id}", token(box.limited)).json()
    grants = get(http, box, f"/api/authorization/v1/roles/{role['roleId']}/authorities").json()
    assert (
        "role" not in role and grants and not any(grant.startswith("account") for grant in grants)
    )
    assert sign_in(http, box, box.limited).json()["userId"] == my_id


# --- faults ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault, status, text",
    [
        ("wrong_password", 200, '"INVALID_CREDENTIALS"'),
        ("locked", 200, '"ACCOUNT_LOCKED"'),
        ("no_token", 200, "{}"),
        ("second_factor", 200, '"REQUIRED"'),
        ("unknown_instance", 403, ""),
        ("blocked", 200, "<title>Domo - Blocked</title>"),
        ("blocked_redirect", 303, "whitelist/blocked"),
        ("redirect", 302, ""),
    ],
)
def test_sign_in_faults(http, box, fault, status, text):
    box.fail(fault)
    assert get(http, box, ME).status_code == 200, "waits for the sign-in"
    reply = sign_in(http, box)
    assert reply.status_code == status and text in reply.text and "sessionToken" not in reply.text
    if status in (302, 303):
        assert reply.headers["location"].startswith("/")
    assert sign_in(http, box).json()["success"], "is met once"


@pytest.mark.parametrize(
    "fault, status, text",
    [
        ("forbidden", 403, "Forbidden"),
        ("not_found", 404, "Not Found"),
        ("rate_limited", 429, ""),
        ("rate_limited_bare", 429, ""),
        ("server_error", 500, "Internal Server Error"),
        ("bad_gateway", 502, "Bad Gateway"),
        ("unavailable", 503, "Service Unavailable"),
        ("gateway_timeout", 504, "Gateway Time"),
        ("html", 200, "<html>"),
        ("not_json", 200, "hello"),
        ("empty", 200, ""),
        ("expired", 401, "Full authentication"),
    ],
)
def test_call_faults(http, box, fault, status, text):
    box.fail(fault)
    assert sign_in(http, box).json()["success"], "waits for a call"
    reply = get(http, box, ACCOUNTS)
    assert reply.status_code == status and text in reply.text
    assert reply.headers.get("retry-after") == ("1" if fault == "rate_limited" else None)
    if fault == "empty":
        assert reply.content == b""
    assert reply.headers["content-type"].startswith(
        "text/html" if fault == "html" else "application/json"
    )
    assert len(get(http, box, ACCOUNTS).json()) > 1, "is met once"


def test_a_call_that_is_sent_elsewhere(http, box):
    box.fail("moved", ACCOUNTS)
    reply = get(http, box, ACCOUNTS)
    assert reply.status_code == 302
    assert reply.headers["location"] == "https://elsewhere.example.com/"
    assert len(get(http, box, ACCOUNTS).json()) > 1, "is met once"


def test_a_date_may_say_when_to_call_again(http, box):
    box.fail("rate_limited_date", ACCOUNTS, seconds=90)
    before = time.time()
    reply = get(http, box, ACCOUNTS)
    date = parsedate_to_datetime(reply.headers["retry-after"]).timestamp()
    assert reply.status_code == 429 and 89 <= date - before <= 90 + 2 + time.time() - before
    assert len(get(http, box, ACCOUNTS).json()) > 1, "is met once"


@pytest.mark.parametrize("fault", ["reset", "drop"])
def test_a_line_that_breaks(http, box, fault):
    box.fail(fault, ACCOUNTS)
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        get(http, box, ACCOUNTS)
    assert [call[1] for call in box.calls].count(ACCOUNTS) == 1, "it was heard"
    assert len(get(http, box, ACCOUNTS).json()) > 1, "is met once"


def test_these_are_all_faults():
    "Each of them has a test of its own, here or where pages are cut."
    signing_in = "wrong_password locked no_token second_factor unknown_instance blocked"
    assert {*SIGN_IN_FAULTS} == {*signing_in.split(), "blocked_redirect", "redirect"}
    answers = "expired forbidden not_found rate_limited rate_limited_bare rate_limited_date"
    answers += " server_error bad_gateway unavailable gateway_timeout moved html not_json empty"
    lines = "truncated cut reset drop slow"
    pages = "repeated_page short_page shifted grown ignored_paging"
    assert {*CALL_FAULTS} == {*f"{answers} {lines} {pages}".split()}


def test_truncated_and_cut(http, box):
    whole = get(http, box, ACCOUNTS).content
    box.fail("truncated")
    short = get(http, box, ACCOUNTS)
    assert short.content == whole[: len(whole) // 2] and int(
        short.headers["content-length"]
    ) == len(short.content)
    with pytest.raises(ValueError):
        short.json()
    for path in (ACCOUNTS, f"{USERS}/12345"):
        box.fail("cut")
        with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
            get(http, box, path)
    assert get(http, box, ACCOUNTS).content == whole


def test_slow_keeps_nobody_else_waiting(http, box):
    box.fail("slow", ACCOUNTS)
    with pytest.raises(requests.ReadTimeout):
        http.get(box.url + ACCOUNTS, headers=token(box), timeout=0.3)
    assert get(http, box, ACCOUNTS).status_code == 200


def test_an_expired_session_is_gone_for_good(http, box):
    session = {"X-DOMO-Authentication": sign_in(http, box).json()["sessionToken"]}
    box.fail("expired", ME)
    assert [get(http, box, path, session).status_code for path in (USERS, ME, ME, USERS)] == [
        200,
        401,
        401,
        401,
    ]
    assert (
        get(
            http, box, ME, {"X-DOMO-Authentication": sign_in(http, box).json()["sessionToken"]}
        ).status_code
        == 200
    )


def test_faults_wait_in_line_for_their_path(http, box):
    box.fail("rate_limited", USERS, times=2)
    box.fail("server_error", USERS)
    box.fail("unavailable", SIGN_IN)
    statuses = [get(http, box, path).status_code for path in (ACCOUNTS, USERS, ME, USERS, USERS)]
    assert statuses == [200, 429, 429, 500, 200] and [
        sign_in(http, box).status_code for _ in range(2)
    ] == [503, 200]


def test_a_fault_that_stays_until_healed(http, box):
    box.fail("server_error", times=None)
    box.serve(ACCOUNTS, [])
    assert {get(http, box, ACCOUNTS).status_code for _ in range(5)} == {500}
    box.heal()
    assert len(get(http, box, ACCOUNTS).json()) > 0


@pytest.mark.parametrize(
    "bad",
    [
        {"fault": "earthquake"},
        {"fault": "empty", "times": 0},
        {"fault": "empty", "times": "2"},
        {"fault": "empty", "path": 5},
    ],
    ids=str,
)
def test_faults_that_do_not_exist(box, bad):
    with pytest.raises(SettingsError) as refusal:
        box.fail(**bad)
    assert refusal.value.reason == "bad_fault" and all(
        fault in str(refusal.value) for fault in FAULTS
    )


def test_serve_values_and_bytes(http, box):
    box.serve(PROVIDERS, [{"key": "api", "name": "API"}, {"key": "webform", "accounts": None}])
    box.serve(ACCOUNTS, b"[1, 2")
    box.serve(SIGN_IN, "")
    assert (
        get(http, box, PROVIDERS).json()[1]["accounts"] is None
        and get(http, box, ACCOUNTS).content == b"[1, 2"
        and sign_in(http, box).json() == ""
    )
    assert get(http, box, PROVIDERS, headers={}).status_code == 401


def test_calls_are_counted_and_hold_no_secret(http, box):
    sign_in(http, box)
    get(http, box, ME, params={"token": box.access_token})
    get(http, box, "/api/none")
    assert read_note(box.name)
    assert box.calls == [("POST", SIGN_IN, 200), ("GET", ME, 400), ("GET", "/api/none", 404)]
    box.calls.clear()
    assert box.calls == []


# --- bad manners ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe\x00",
        b'{"method":"password"}',
        b'{"method":"sso","emailAddress":"a","password":"b"}',
        b'{"method":"password","emailAddress":["a"],"password":{}}',
        b"[" * 200_000,
        b" " * 3_000_000,
    ],
    ids=lambda body: f"{body[:20]!r} {len(body)}",
)
def test_bodies_that_are_no_sign_in(http, box, body):
    assert http.post(box.url + SIGN_IN, data=body, timeout=10).status_code == 400
    assert sign_in(http, box).json()["success"]


def test_strange_texts_in_a_sign_in(http, box):
    body = json.dumps({"method": "password", "emailAddress": box.username, "password": "\ud800\0"})
    assert (
        http.post(box.url + SIGN_IN, data=body, timeout=10).json()["reason"]
        == "INVALID_CREDENTIALS"
    )


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", SIGN_IN, 405),
        ("POST", USERS, 405),
        ("DELETE", f"{USERS}/0", 405),
        ("GET", "/api/content/v2/users/me/", 404),
        ("GET", "/", 404),
        ("GET", "/index.html", 404),
        ("GET", f"{USERS}/-1", 404),
        ("GET", f"{USERS}/{'9' * 20}", 404),
        ("GET", f"{USERS}/1.0", 404),
        ("GET", "/api/%00%ff", 404),
        ("PUT", "/sandbox", 405),
        ("GET", "/sandbox/faults", 405),
    ],
)
def test_addresses_that_are_not_there(http, box, method, path, status):
    reply = http.request(method, box.url + path, headers=token(box), timeout=10)
    assert (
        reply.status_code == status
        and reply.json()["status"] == status
        and ("allow" in reply.headers) == (status == 405)
    )


@pytest.mark.parametrize("host", ["evil.example.com", "127.0.0.1.evil.example.com", "", "0.0.0.0"])
def test_other_names_for_this_machine_are_refused(http, box, host):
    for path in ("/sandbox", ME):
        reply = get(http, box, path, {**token(box), "Host": host})
        assert reply.status_code == 400 and "proof" not in reply.text
    assert get(http, box, ME, {**token(box), "Host": "localhost"}).status_code == 200


def test_only_the_owner_asks_for_faults_from_outside(http, box):
    def ask(secret, **asked):
        return http.post(
            box.url + "/sandbox/faults",
            json=asked,
            headers={"X-DOMO-Developer-Token": secret} if secret else {},
            timeout=10,
        ).status_code

    proof = get(http, box, "/sandbox", headers={}).json()["proof"]
    assert [
        ask(secret, do="fail", fault="server_error")
        for secret in (None, "", proof, box.limited.access_token)
    ] == [403] * 4
    assert get(http, box, ME).status_code == 200
    note = read_note(box.name).secrets["DOMO_ACCESS_TOKEN"].reveal()
    assert [
        ask(note, do="fail", fault="server_error"),
        ask(note, do="serve", path=ACCOUNTS, value=[]),
    ] == [200, 200]
    assert [get(http, box, path).status_code for path in (ME, ME)] == [500, 200] and get(
        http, box, ACCOUNTS
    ).json() == []
    assert [
        ask(note),
        ask(note, do="stop"),
        ask(note, do="fail", fault=[]),
        ask(note, do="fail", fault="cut", path=5),
        ask(note, do=[]),
    ] == [400] * 5
    assert ask(note, do="heal") == 200 and get(http, box, ACCOUNTS).json() != []


def test_a_proxy_of_the_company_is_not_asked(fresh, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with sandbox.start() as box:
        assert find_instance(box.name) == box


def test_only_this_machine_can_reach_it(box):
    assert box.server.socket.getsockname()[0] == "127.0.0.1"


# --- names and notes ------------------------------------------------------------------------------


def test_names(fresh, http):
    box = sandbox.start()
    assert sandbox.start() is sandbox.start(1, 12, accounts=10) is box and box.name == "sandbox"
    other = sandbox.start(seed=2)
    assert other.name == "sandbox-2" and other != box and other.url != box.url
    box.stop()
    box.stop()
    with pytest.raises(requests.ConnectionError):
        get(http, box, ME)
    assert find_instance("sandbox-2") == other
    with pytest.raises(SettingsError) as caught:
        find_instance("sandbox")
    assert caught.value.reason == "no_sandbox"
    third = sandbox.start(seed=3)
    assert third.name == "sandbox" and third != box
    assert get(http, third, ME).status_code == get(http, other, ME).status_code == 200


def test_it_is_an_instance(fresh, box):
    plain = Instance(box.name, box.url)
    assert isinstance(box, Instance) and find_instance(box) is box and str(box) == box.name
    assert (
        box == plain
        and plain == box
        and hash(box) == hash(plain)
        and box != Instance(box.name, "http://127.0.0.1:1")
        and box != "sandbox"
    )
    assert {name: secret.reveal() for name, secret in box.secrets.items()} == {
        "DOMO_USERNAME": box.username,
        "DOMO_PASSWORD": box.password,
        "DOMO_ACCESS_TOKEN": box.access_token,
    }
    shown = f"{box!r} {box} {vars(box)} {box.limited!r} {vars(box.domo)}"
    assert repr(box) == "<sandbox: 12 users, 10 accounts>" and not any(
        secret in shown for secret in (box.password, box.access_token, box.limited.password)
    )


def test_the_note(fresh, box):
    path = sandbox_note(box.name)
    assert json.loads(path.read_text()).keys() == {"url", "key", "secrets"}
    assert (
        stat.S_IMODE(path.stat().st_mode) == 0o600
        and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    )
    assert not [*path.parent.glob("*.draft")]
    box.stop()
    assert not path.exists()


@pytest.mark.parametrize(
    "stale", ["", "{}", "[]", '{"url": "http://127.0.0.1:1", "key": "x", "secrets": {}}']
)
def test_a_stale_note_is_replaced(fresh, stale):
    path = sandbox_note("sandbox")
    path.parent.mkdir(parents=True)
    path.write_text(stale)
    path.chmod(0o644)
    box = sandbox.start()
    assert (
        box.name == "sandbox"
        and find_instance("sandbox") == box
        and stat.S_IMODE(path.stat().st_mode) == 0o600
    )


def test_a_note_of_somebody_else_is_left_alone(fresh, box):
    path = sandbox_note(box.name)
    path.write_text('{"url": "http://127.0.0.1:1", "key": "theirs", "secrets": {}}')
    box.stop()
    assert "theirs" in path.read_text()


OTHER = (
    "from domostats import sandbox; import sys; box = sandbox.start(); "
    "print(box.name, box.url, flush=True); sys.stdin.read()"
)


def other_process():
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return process, process.stdout.readline().split()


def end(process):
    process.stdin.close()
    process.stdout.close()
    assert process.wait(timeout=20) is not None


def test_processes_have_names_of_their_own(fresh, http, box):
    process, (name, url) = other_process()
    try:
        assert name == "sandbox-2" and find_instance(name).url == url
        secrets = find_instance(name).secrets
        assert (
            http.get(
                url + ME,
                headers={"X-DOMO-Developer-Token": secrets["DOMO_ACCESS_TOKEN"].reveal()},
                timeout=10,
            ).status_code
            == 200
        )
        assert secrets != box.secrets
    finally:
        end(process)
    assert not sandbox_note("sandbox-2").exists() and sandbox_note("sandbox").exists()


@pytest.mark.slow
def test_processes_that_start_at_the_same_moment(fresh):
    sandbox_note("sandbox").parent.mkdir(parents=True)
    sandbox_note("sandbox").write_text(
        '{"url": "http://127.0.0.1:1", "key": "stale", "secrets": {}}'
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    try:
        names = sorted(process.stdout.readline().split()[0] for process in processes)
    finally:
        for process in processes:
            end(process)
    assert names == ["sandbox", "sandbox-2", "sandbox-3"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_process_that_was_killed_gives_its_name_back(fresh):
    process, (name, _) = other_process()
    process.kill()
    end(process)
    assert name == "sandbox" and sandbox_note("sandbox").exists() and read_note("sandbox") is None
    assert sandbox.start().name == "sandbox"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_takes_nothing_away(fresh):
    code = (
        "import os, sys; from domostats import sandbox; "
        "from domostats.settings import read_note\nbox = sandbox.start(); "
        "child = os.fork()\n"
        "if child == 0: sys.exit(0)\nos.waitpid(child, 0); "
        "print(read_note(box.name) is not None, sandbox.start() is box)"
    )
    assert run(code) == "True True"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("name", ["start_dash", "start_bigquery"])
@pytest.mark.parametrize("stopped", [False, True])
def test_a_forked_child_survives_the_databases_of_its_parent(fresh, name, stopped):
    code = (
        "import gc, os; from domostats import sandbox\n"
        f"box = sandbox.{name}(); box.itself = box\n"
        f"if {stopped}: box.stop()\n"
        "del box\n"
        "child = os.fork()\n"
        "if child == 0: gc.collect(); os._exit(0)\n"
        "print(os.waitpid(child, 0)[1])"
    )
    assert run(code) == "0"


def test_a_folder_that_cannot_be_written(fresh, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(SettingsError) as refusal:
        sandbox.start()
    assert refusal.value.reason == "no_state_folder" and not running._running


# --- a list of one's own --------------------------------------------------------------------------

ODD = b"""[ {"key": "mysql", "name": "MySQL", "authenticationScheme": "oauth-metadata",
  "accounts": [
  {"id": "71", "userId": "1893952720", "displayName": "text id"},
  {"id": 72, "userId": 1893952720, "valid": false, "type": "data", "name": "n"},
  {"id": true, "userId": "x"}, {"id": 73, "userId": "nobody", "name": 5}, {"id": 74},
  {"name": "no id"}, {"id": 1e3}, {"id": ""}, null, 5, []]},
  {"key": "api", "accounts": null}, {"key": "webform"}, {}, {"accounts": {}}, 7, null,
  {"accounts": [{"id": 75, "userId": 0}]} ]
"""


@pytest.fixture
def odd(tmp_path):
    file = tmp_path / "providers.json"
    file.write_bytes(ODD)
    return file


def test_a_payload_is_served_as_it_is(fresh, http, odd):
    box = sandbox.start(payloads={"accounts": odd})
    assert get(http, box, PROVIDERS).content == ODD
    odd.write_text("[]")
    assert (
        get(http, box, PROVIDERS).content == ODD
        and sandbox.start(payloads={"accounts": str(odd)}) is box
    )
    assert repr(box) == "<sandbox: 13 users, 5 accounts>" and box != sandbox.start()
    assert get(http, box, PROVIDERS, token(box.limited)).json()[0]["accounts"] == []
    assert get(http, box, ACCOUNTS, token(box.limited)).json() == []


def test_what_is_derived_from_a_payload(fresh, http, odd):
    box = sandbox.start(payloads={"accounts": str(odd)})
    flat = {account["id"]: account for account in get(http, box, ACCOUNTS).json()}
    assert [*flat] == [71, 72, 73, 74, 75] and all(
        account.keys() <= FLAT_KEYS for account in flat.values()
    )
    assert (
        flat[71]["userId"] == flat[72]["createdBy"] == 1893952720
        and flat[71]["credentialsType"] == "oauth-metadata"
        and flat[75]["credentialsType"] == "fields"
    )
    assert (
        flat[71]["dataProviderType"] == "mysql"
        and flat[72]["valid"] is False
        and flat[75]["userId"] == 0
    )
    assert not {"name", "userId", "valid"} & flat[73].keys() and "userId" not in flat[74]
    assert not same_types(flat.values(), sample("accounts_v1"))
    users = {user["id"]: user for user in get(http, box, USERS).json()}
    owner = get(http, box, f"{USERS}/1893952720").json()
    assert (
        len(users) == 13
        and owner == users[1893952720]
        and owner["id"] == 1893952720
        and owner["displayName"]
    )
    assert len({user["emailAddress"] for user in users.values()}) == 13


def test_an_empty_payload(fresh, http, tmp_path):
    (tmp_path / "none.json").write_text("[]")
    box = sandbox.start(payloads={"accounts": tmp_path / "none.json"})
    assert (
        get(http, box, PROVIDERS).content == b"[]"
        and get(http, box, ACCOUNTS).json() == []
        and repr(box) == "<sandbox: 12 users, 0 accounts>"
    )


@pytest.mark.parametrize(
    "content",
    ["", "{}", "[1,", "5", "not json", "[" * 100_000],
    ids=lambda content: content[:10] or "empty",
)
def test_files_that_are_no_list(fresh, tmp_path, content):
    file = tmp_path / "providers.json"
    file.write_text(content)
    with pytest.raises(SettingsError) as refusal:
        sandbox.start(payloads={"accounts": file})
    assert (
        refusal.value.reason == "bad_payload"
        and str(file) in str(refusal.value)
        and not running._running
    )


@pytest.mark.parametrize(
    "payloads",
    [
        {"users": "x"},
        {"accounts": "/no/such/file"},
        {"accounts": "/"},
        {"accounts": None},
        "providers.json",
        ["x"],
    ],
    ids=str,
)
def test_payloads_that_are_none(fresh, payloads):
    with pytest.raises(SettingsError) as refusal:
        sandbox.start(payloads=payloads)
    assert refusal.value.reason == "bad_payload" and "'accounts'" in str(refusal.value)


# --- what it loads --------------------------------------------------------------------------------


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_nothing_heavy_on_import():
    heavy = "starlette", "uvicorn", "pandas", "duckdb", "pyarrow", "nbdev", "fastcore", "IPython"
    assert (
        run(
            "from domostats import sandbox; import sys; "
            f"print([m for m in {heavy} if m in sys.modules])"
        )
        == "[]"
    )


@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_without_the_extra(missing):
    code = (
        f"import sys; sys.modules[{missing!r}] = None\nfrom domostats import sandbox\n"
        "try: sandbox.start()\nexcept sandbox.SettingsError as e: print(e.reason, e)"
    )
    assert run(code).startswith("not_installed") and "pip install 'domostats[sandbox]'" in run(code)


def test_the_logging_of_the_program_is_left_alone():
    code = (
        "import logging; from domostats import sandbox; "
        "before = logging.root.handlers[:], logging.root.level\n"
        "with sandbox.start(): print((logging.root.handlers, logging.root.level) == before)"
    )
    assert run(code) == "True"


def test_a_server_with_a_certificate_speaks_tls(tmp_path):
    import trustme

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["scheme"].encode()})

    authority = trustme.CA()
    trusted, held = tmp_path / "authority.pem", tmp_path / "certificate.pem"
    authority.cert_pem.write_to_path(trusted)
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(held)
    server = Server(app, certificate=held)
    try:
        assert server.url.startswith("https://127.0.0.1:")
        assert requests.get(server.url, verify=str(trusted), timeout=30).text == "https"
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(server.url, timeout=30)
    finally:
        server.stop()
