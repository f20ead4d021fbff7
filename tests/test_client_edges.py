"""What the functions of the Domo client send, word for word, and what they make of odd answers."""

import json
from datetime import datetime
from urllib.parse import parse_qsl

import pytest

from domostats import reports, sandbox
from domostats.clients.domo.accounts import (
    get_account_templates,
    get_accounts,
    get_flat_accounts,
)
from domostats.clients.domo.activity import get_activity_log
from domostats.clients.domo.auth import from_settings, get_session_token, sign_in
from domostats.clients.domo.certifications import get_certified_datasets
from domostats.clients.domo.credentials import AccessToken, SessionToken
from domostats.clients.domo.datasets import (
    get_datasets,
    get_streams,
    search_dataset_documents,
    search_datasets,
)
from domostats.clients.domo.groups import get_group_details, get_groups, get_roles
from domostats.clients.domo.pages import get_page_access, get_pages, is_access_of
from domostats.clients.domo.session import outcome
from domostats.clients.domo.users import (
    get_current_user,
    get_identity_users,
    get_my_grants,
    get_role_grants,
    get_user_by_id,
    get_users,
)
from domostats.errors import AccessError, CredentialsError, DataError, SettingsError
from domostats.secrets import Secret

SIZES = {
    "seed": 64,
    "users": 13,
    "accounts": 11,
    "groups": 4,
    "datasets": 14,
    "pages": 8,
    "events": 12,
}
ME, USERS = "/api/content/v2/users/me", "/api/content/v2/users"
SIGN_IN, GRANTS = "/api/content/v2/authentication", "/api/authorization/v1/roles"
IDENTITY, GROUPS = "/api/identity/v1/users", "/api/content/v2/groups/grouplist"
PROVIDERS, ACCOUNTS = "/api/data/v2/datasources/providers", "/api/data/v1/accounts"
TEMPLATES = "/api/data/v1/accounts/templates/user/extended"
PAGES, ACCESS = "/api/content/v1/pages/adminsummary", "/api/content/v1/share/accesslist/page"
DATACENTER, SEARCH = "/api/data/ui/v3/datasources/search", "/api/search/v1/query"
BULK, STREAMS = "/api/data/v3/datasources/bulk", "/api/data/v1/streams/bulk"
EVENTS, GRAPHQL = "/api/audit/v1/user-audits", "/api/synapse/approval/graphql"
ATTRIBUTES = (
    "id,displayName,department,userName,emailAddress,phoneNumber,deskPhoneNumber,title,timeZone,"
    "hireDate,modified,created,alternateEmail,employeeLocation,employeeNumber,employeeId,locale,"
    "roleId,reportsTo,isAnonymous,isSystemUser,isPending,isActive,invitorUserId,lastActivity,"
    "lastLogin,avatarKey"
)
OLDEST_FIRST = {"isRelevance": False, "fieldSorts": [{"field": "create_date", "sortOrder": "ASC"}]}
BY_DATE = {
    "entities": ["DATASET"],
    "filters": [],
    "combineResults": True,
    "query": "*",
    "sort": OLDEST_FIRST,
}
DOCUMENTS = {"query": "*", "entityList": [["dataset"]], "combineResults": False, "filters": []}
TITLES = {"orderBy": "pageTitle", "ascending": True}
OF_GROUPS = {"ascending": "true", "sort": "name", "includeFullMembership": "true"}
STREAM_IDS = "5,8,11,14,20,23,26,29,32,38,41,44"


class Heard:
    "A request as it arrived: `head` is method and path."

    def __init__(self, method, path, headers, body, query):
        self.head, self.headers = f"{method} {path}", dict(headers)
        self.query = dict(parse_qsl(query, keep_blank_values=True))
        self.body = json.loads(body) if body else None


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        with sandbox.start(**SIZES, today="2024-04-01") as box:
            yield box


@pytest.fixture
def box(running):
    yield running
    running.heal()


@pytest.fixture
def heard(box, monkeypatch):
    "Every request that arrives at the sandbox from here on."
    found, answer = [], box.domo.reply

    def reply(method, path, headers, body=b"", query=""):
        found.append(Heard(method, path, headers, body, query))
        return answer(method, path, headers, body, query)

    monkeypatch.setattr(box.domo, "reply", reply)
    return found


@pytest.mark.parametrize(
    "get, head, query, body, count",
    [
        (get_accounts, f"GET {PROVIDERS}", {}, None, 16),
        (get_flat_accounts, f"GET {ACCOUNTS}", {}, None, 10),
        (get_account_templates, f"GET {TEMPLATES}", {}, None, 1),
        (get_users, f"GET {USERS}", {}, None, 13),
        (get_roles, "GET /api/authorization/v1/roles", {}, None, 7),
        (get_current_user, f"GET {ME}", {}, None, 15),
    ],
)
def test_a_list_that_comes_whole_is_one_call(box, heard, get, head, query, body, count):
    reply = get(box)
    assert len(reply.response) == count and reply.is_success and reply.status == 200
    assert [(one.head, one.query, one.body) for one in heard] == [(head, query, body)]
    assert heard[0].headers["accept"] == "application/json"
    assert heard[0].headers["x-domo-developer-token"] == box.access_token
    assert "x-domo-authentication" not in heard[0].headers and "cookie" not in heard[0].headers


@pytest.mark.parametrize(
    "get, how, head, query, body, names, count",
    [
        (get_identity_users, {}, f"GET {IDENTITY}", {"attributes": ATTRIBUTES}, None, 0, 13),
        (
            get_identity_users,
            {"include_deleted": True},
            f"GET {IDENTITY}",
            {"attributes": ATTRIBUTES, "includeDeleted": "true"},
            None,
            0,
            15,
        ),
        (get_groups, {}, f"GET {GROUPS}", OF_GROUPS, None, 0, 4),
        (get_pages, {}, f"POST {PAGES}", {}, TITLES, 1, 8),
    ],
    ids=["users", "deleted users", "groups", "pages"],
)
def test_a_list_in_pages(box, heard, get, how, head, query, body, names, count):
    "The same words in every call, and a hundred rows from the first one on."
    start, size = (("offset", "limit"), ("skip", "limit"))[names]
    assert len(get(box, **how).response) == count
    assert heard[0].query == {**query, start: "0", size: "100"}
    for one in heard:
        asked = {name: one.query[name] for name in one.query if name not in (start, size)}
        assert (one.head, asked, one.body) == (head, query, body)
    assert [int(one.query[start]) for one in heard] == sorted(int(h.query[start]) for h in heard)


@pytest.mark.parametrize(
    "get, path, body, id",
    [
        (search_datasets, DATACENTER, BY_DATE, "id"),
        (search_dataset_documents, SEARCH, DOCUMENTS, "databaseId"),
    ],
)
def test_a_search_counts_and_then_reads_a_hundred_at_a_time(box, heard, get, path, body, id):
    found = get(box).response
    assert len(found) == 14 and found[0][id] == "47e4c181-fe0c-47cb-b74a-c30e9a303ff3"
    assert [(one.head, one.query, one.body) for one in heard] == [
        (f"POST {path}", {}, {**body, "offset": 0, "count": 1}),
        (f"POST {path}", {}, {**body, "offset": 0, "count": 100}),
    ]


def test_datasets_come_in_bulk_and_their_streams_by_number(box, heard):
    everything = get_datasets(box).response
    ids = [one["id"] for one in everything]
    assert len({*ids}) == 14
    assert {one.head: one.query for one in heard} == {
        f"POST {DATACENTER}": {},
        f"POST {BULK}": {"includePrivate": "true", "includeAllDetails": "true"},
    }
    assert heard[-1].body == ids
    heard.clear()
    streams = get_streams(box).response
    assert ",".join(str(one["id"]) for one in streams) == STREAM_IDS
    assert (heard[-1].head, heard[-1].query) == (f"GET {STREAMS}", {"streamId": STREAM_IDS})
    assert len(heard) == 4 and heard[-1].body is None


def test_more_than_a_page_of_ids_are_asked_for_in_parts(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with sandbox.start(seed=2, users=3, datasets=130, today="2024-04-01") as box:
        assert len(get_streams(box).response) == 109
        paths = [call.path for call in box.log]
        assert paths.count(BULK) == 2 and paths.count(STREAMS) == 3
        parts = [call.query.count("%2C") + 1 for call in box.log if call.path == STREAMS]
        assert sorted(parts) == [9, 50, 50]


def test_one_call_for_each_group_and_each_page(box, heard):
    details = get_group_details(box).response
    assert {one["parent"] for one in details} == {148914359, 766948348, 1384982337, 2003016326}
    assert all(one["reply"]["id"] == one["parent"] for one in details)
    ones = sorted(one.head for one in heard if one.head != f"GET {GROUPS}")
    assert ones == sorted(f"GET /api/content/v2/groups/{one['parent']}" for one in details)
    heard.clear()
    access = get_page_access(box).response
    assert len(access) == 8
    assert all(one["reply"]["resource"]["id"] == str(one["parent"]) for one in access)
    ones = [one for one in heard if one.head.startswith(f"GET {ACCESS}/")]
    assert len(ones) == 8 and {one.query["expandUsers"] for one in ones} == {"true"}


def test_certified_datasets_are_an_operation_with_variables(box, heard):
    found = get_certified_datasets(box).response
    assert [one["node"]["title"] for one in found] == ["Operations orders 3", "Finance ledger 13"]
    assert [one.head for one in heard] == [f"POST {GRAPHQL}"]
    body = heard[0].body
    words = body.pop("query").split()
    assert body == {
        "operationName": "getCertifiedEntities",
        "variables": {"type": "CC:DSET", "stateFilter": None, "after": None, "first": 100},
    }
    assert words[:2] == ["query", "getCertifiedEntities($type:"]
    fields = "id title entityType processType owners lastUpdated views dateCertified certifyState"
    assert words[words.index("node") + 2 :][:11] == [
        *fields.split(),
        "certifyApprovalId",
        "provider",
    ]
    assert {"hasNextPage", "endCursor"} <= {*words} and words.count("}") == words.count("{")


def test_the_log_between_two_moments(box, heard):
    found = get_activity_log(box, since=datetime(2023, 9, 1), until=datetime(2024, 2, 1))
    assert [event["time"] for event in found] == [
        *(1706186635387, 1703031303792, 1700727041217, 1697026404531, 1694547530769),
    ]
    window = {"start": "1693526400000", "end": "1706745600000"}
    assert [(one.head, one.query) for one in heard] == [
        (f"GET {EVENTS}/count", window),
        (f"GET {EVENTS}", {**window, "offset": "0", "limit": "1000"}),
    ]


def test_one_user_one_role_and_what_i_may_do(box, heard):
    assert get_user_by_id(box, user_id="480339776").response["displayName"] == "Wren Bramble"
    assert get_role_grants(box, role_id=3).response == ["dataset.manage", "dataflow.admin"]
    assert get_role_grants(box, role_id=12345).response == []
    heard_first, heard[:] = [*heard], []
    assert [(one.head, one.query) for one in heard_first] == [
        (f"GET {USERS}/480339776", {"includeDetails": "true"}),
        (f"GET {GRANTS}/3/authorities", {}),
        (f"GET {GRANTS}/12345/authorities", {}),
    ]
    grants = get_my_grants(box)
    assert len(grants) == 27 and {"account.admin", "audit", "content.admin"} <= grants
    assert [(one.head, one.query) for one in heard] == [
        (f"GET {ME}", {}),
        (f"GET {USERS}/1862305787", {"includeDetails": "true"}),
        (f"GET {GRANTS}/1/authorities", {}),
    ]
    with pytest.raises(AccessError, match="There is no user 5 at sandbox") as nobody:
        get_user_by_id(box, user_id=5)
    assert nobody.value.reason == "not_found" and nobody.value.answer.status == 200


@pytest.mark.parametrize(
    "id", [-1, "-1", 1.0, "1.0", "", None, True, "1 ", "1\n", "12a", "1" * 20], ids=repr
)
def test_what_is_no_id_is_refused_before_a_call(box, heard, id):
    for get, name in ((get_user_by_id, "user_id"), (get_role_grants, "role_id")):
        with pytest.raises(SettingsError, match=rf"\b{name}\b") as refused:
            get(box, **{name: id})
        assert refused.value.reason == "bad_id"
    assert heard == []


# --- who comes in ---------------------------------------------------------------------------------


def test_a_sign_in_sends_the_password_once_and_the_session_after_that(box, heard):
    session = get_session_token(box, box.username, box.password)
    assert repr(session) == f"<session of {box.username} at {box.name}>"
    assert [(one.head, one.query, one.body) for one in heard] == [
        (
            f"POST {SIGN_IN}",
            {},
            {"method": "password", "emailAddress": box.username, "password": box.password},
        )
    ]
    assert not {"x-domo-authentication", "x-domo-developer-token"} & heard[0].headers.keys()
    get_roles(box, session)
    get_users(box, session)
    assert len(heard) == 3
    tokens = {one.headers["x-domo-authentication"] for one in heard[1:]}
    assert len(tokens) == 1 and tokens <= box.domo.sign_in.sessions.keys()
    assert "x-domo-developer-token" not in heard[1].headers


def test_a_session_that_has_expired_is_made_again_once(box, heard):
    session = get_session_token(box, box.username, box.password)
    box.expire()
    heard.clear()
    assert len(get_roles(box, session).response) == 7
    assert [one.head for one in heard] == [
        f"GET {GRANTS}",
        f"POST {SIGN_IN}",
        f"GET {GRANTS}",
    ]
    first, again = (one.headers["x-domo-authentication"] for one in (heard[0], heard[2]))
    assert first != again


def test_a_session_token_without_the_password_cannot_be_made_again(box, heard):
    token = box.domo.sign_in.open(box.domo.admin.user)["sessionToken"]
    assert len(get_roles(box, token).response) == 7
    box.expire()
    with pytest.raises(CredentialsError, match="has expired or was ended. Sign in again") as gone:
        get_roles(box, token)
    assert gone.value.reason == "expired_session" and gone.value.answer.status == 401
    assert token not in str(gone.value)
    assert [one.head for one in heard] == [f"GET {GRANTS}"] * 2


@pytest.mark.parametrize(
    "reply, reason",
    [
        ({"sessionToken": "abc", "success": True}, None),
        ({"sessionToken": "abc"}, None),
        ({"sessionToken": "abc", "success": None, "reason": "ACCOUNT_LOCKED"}, None),
        ({"sessionToken": "abc", "twoFactorInfo": {"status": "VALID"}}, None),
        ({"sessionToken": "abc", "success": False}, "NO_TOKEN"),
        ({"sessionToken": "abc", "success": False, "reason": "ACCOUNT_LOCKED"}, "ACCOUNT_LOCKED"),
        ({"success": False, "reason": "INVALID_CREDENTIALS"}, "INVALID_CREDENTIALS"),
        ({"success": False, "reason": "SECOND_FACTOR"}, "SECOND_FACTOR"),
        ({"success": False, "reason": "ANYTHING"}, "NO_TOKEN"),
        ({"success": False, "reason": ["INVALID_CREDENTIALS"]}, "NO_TOKEN"),
        ({"success": True, "twoFactorInfo": {"status": "REQUIRED"}}, "SECOND_FACTOR"),
        ({"success": True, "twoFactorInfo": {"status": None}}, "SECOND_FACTOR"),
        ({"success": True, "twoFactorInfo": {"status": "VALID"}}, "NO_TOKEN"),
        ({"success": True, "twoFactorInfo": {}}, "NO_TOKEN"),
        ({"success": True, "twoFactorInfo": "REQUIRED"}, "NO_TOKEN"),
        ({"sessionToken": ""}, "NO_TOKEN"),
        ({"sessionToken": None}, "NO_TOKEN"),
        ({"sessionToken": 17}, "NO_TOKEN"),
        ({"sessionToken": ["abc"]}, "NO_TOKEN"),
        ({"sessionToken": "ab\u00e9"}, "NO_TOKEN"),
        ({"sessionToken": "ab\ncd"}, "NO_TOKEN"),
        ({}, "NO_TOKEN"),
        ([], "NO_TOKEN"),
        ("abc", "NO_TOKEN"),
        (None, "NO_TOKEN"),
    ],
    ids=repr,
)
def test_what_the_reply_to_a_sign_in_comes_to(reply, reason):
    token, why = outcome(reply)
    assert why == reason
    if reason is None:
        assert isinstance(token, Secret) and token.reveal() == "abc"
    else:
        assert token is None


@pytest.mark.parametrize(
    "fault, reason, words",
    [
        ("wrong_password", "wrong_password", "SSO have no password here and need an access token"),
        ("locked", "locked", "Wait, or ask an administrator to unlock it"),
        ("second_factor", "second_factor", "Use an access token .DOMO_ACCESS_TOKEN."),
        ("no_token", "no_token", "use an access token .DOMO_ACCESS_TOKEN."),
        ("empty", "no_token", "Domo answered without a session"),
        ("unknown_instance", "unknown_instance", "what stands before .domo.com in the browser"),
        ("blocked", "blocked", "Admin > Security.*your company's VPN"),
        ("blocked_redirect", "blocked", "closed to the network this runs in"),
    ],
)
def test_a_refused_sign_in_says_what_to_do(box, heard, fault, reason, words):
    box.fail(fault, SIGN_IN)
    kind = AccessError if reason in ("unknown_instance", "blocked") else CredentialsError
    with pytest.raises(kind, match=words) as refused:
        get_session_token(box, box.username, box.password)
    assert refused.value.reason == reason
    assert box.password not in str(refused.value) and len(heard) == 1
    if kind is AccessError:
        assert box.url in str(refused.value)


def test_a_refusal_is_not_asked_for_twice(box, heard):
    "A wrong password that is tried again and again locks a user."
    connection = sign_in(box, from_settings(box))
    assert isinstance(connection.auth, AccessToken)
    with pytest.raises(CredentialsError) as refused:
        get_session_token(box, box.username, "not it")
    assert refused.value.reason == "wrong_password" and len(heard) == 1


@pytest.mark.parametrize("status", [200, 303, 403])
def test_a_block_page_is_told_apart_whatever_its_status(box, monkeypatch, status):
    "With a session, too, and wherever the words stand in the first part of the page."
    from domostats.sandbox.replies import HTML, Reply

    text = b"<html>" + b" " * 4000
    text += b"/whitelist/blocked" if status == 303 else b"<title>Domo - Blocked</title>"
    monkeypatch.setattr(box.domo, "reply", lambda *asked: Reply(status, text, HTML))
    with pytest.raises(AccessError, match="allow-list") as refused:
        get_roles(box)
    assert refused.value.reason == "blocked"


def test_words_deep_in_a_page_are_no_block(box):
    roles = [{"id": 9, "name": "x" * 6000 + "Domo - Blocked"}]
    box.serve(GRANTS, roles)
    assert get_roles(box).response == roles
    box.serve(GRANTS, [{"id": 9, "name": "/whitelist/blocked"}])
    assert get_roles(box).response == [{"id": 9, "name": "/whitelist/blocked"}]


@pytest.mark.parametrize("id", [1862305787, "1862305787"])
def test_ids_as_text_find_the_grants_too(box, id):
    box.serve(ME, {"id": id})
    box.serve(f"{USERS}/1862305787", {"id": id, "roleId": "3"})
    assert get_my_grants(box) == {"dataset.manage", "dataflow.admin"}


@pytest.mark.parametrize("id", ["12a", "1" * 20, "", None, "-5", [1], "1\n"])
def test_a_user_without_an_id_is_an_error_and_nobody(box, id):
    box.serve(ME, {"id": id})
    with pytest.raises(DataError) as refused:
        get_my_grants(box)
    assert refused.value.reason == "unexpected"
    assert sign_in(box).auth.who(sign_in(box)) is None


def test_who_is_behind_a_credential(box):
    connection = sign_in(box)
    assert connection.auth.who(connection) == "1862305787"
    limited = sign_in(box, AccessToken(box.limited.access_token, instance=box))
    assert limited.auth.who(limited) == "480339776"
    for fault in ("forbidden", "html", "not_json", "not_found"):
        box.fail(fault, ME)
        assert connection.auth.who(connection) is None
    gone = sign_in(box, SessionToken("gone"))
    assert gone.auth.who(gone) is None


# --- odd answers ----------------------------------------------------------------------------------


def user(id):
    return {"id": id, "displayName": f"User {id}"}


ACCESS_OF_7 = {
    "resource": {"id": "7", "type": "page"},
    "users": [user(1), user(2)],
    "groups": [{"id": 5, "users": [user(2), user(3)]}],
    "totalUserCount": 3,
}


@pytest.mark.parametrize(
    "change, words",
    [
        ({}, None),
        ({"resource": {"id": 7}}, None),
        ({"resource": {"id": "8"}}, "8"),
        ({"resource": {}}, ""),
        ({"users": None}, "it has no lists of users and groups"),
        ({"groups": None}, "it has no lists of users and groups"),
        ({"users": {}}, "it has no lists of users and groups"),
        ({"users": [1]}, "it has no lists of users and groups"),
        ({"groups": ["x"]}, "it has no lists of users and groups"),
        ({"groups": [{"id": 5, "users": {}}]}, "the users of a group are no list"),
        ({"groups": [{"id": 5, "users": [5]}]}, "the users of a group are no list"),
        ({"totalUserCount": 2}, "it counts 2 people and has 3"),
        ({"totalUserCount": 4}, "it counts 4 people and has 3"),
        ({"totalUserCount": None}, "it counts None people and has 3"),
        ({"groups": [], "totalUserCount": 2}, None),
        ({"users": [], "groups": [], "totalUserCount": 0}, None),
        ({"users": [user(1), user("1")], "groups": [], "totalUserCount": 1}, None),
        # the people of a group are left out: nobody can count them
        ({"groups": [{"id": 5}], "totalUserCount": 99}, None),
        ({"groups": [{"id": 5, "users": None}], "totalUserCount": 0}, None),
        ({"groups": [{"id": 5}, {"id": 6, "users": [7]}]}, "the users of a group are no list"),
    ],
    ids=str,
)
def test_whether_a_reply_is_the_access_list_of_its_page(change, words):
    wrong = is_access_of(7, {**ACCESS_OF_7, **change})
    assert (wrong is None) == (words is None)
    assert words is None or words in wrong


@pytest.mark.parametrize(
    "members, count, missing",
    [
        ([{"type": "USER", "id": "1"}], 1, False),
        ([], 0, False),
        ([], 2, True),
        (None, 2, True),
        ([], None, False),
        (None, None, False),
        ([{"type": "USER", "id": "1"}], 5, False),
    ],
)
def test_groups_that_count_members_and_bring_none_are_told(box, recwarn, members, count, missing):
    group = {"groupId": 5, "name": "Team", "groupMembers": members, "memberCount": count}
    full = {**group, "groupId": 6, "groupMembers": [{"type": "USER", "id": "1"}], "memberCount": 1}
    box.serve(GROUPS, [group, full])
    assert [one["groupId"] for one in get_groups(box).response] == [5, 6]
    told = [str(one.message) for one in recwarn if "members" in str(one.message)]
    assert told == (["1 groups count members, and none came with them."] if missing else [])


@pytest.mark.parametrize("status, reason", [("forbidden", "unknown_instance")])
def test_who_am_i_at_an_instance_that_is_none(box, status, reason):
    box.fail(status, ME)
    with pytest.raises(AccessError, match="there is no instance of this name") as refused:
        get_current_user(box)
    assert refused.value.reason == reason and refused.value.answer.status == 403
    box.fail("not_found", ME)
    with pytest.raises(AccessError) as refused:
        get_current_user(box)
    assert refused.value.reason == "not_found"


# --- two records with one id ----------------------------------------------------------------------


def test_of_two_accounts_with_one_id_in_the_flat_list_the_first_is_joined(box):
    accounts = get_flat_accounts(box).response
    first = {**accounts[1], "displayName": "the first"}
    second = {**accounts[1], "displayName": "the second"}
    box.serve(ACCOUNTS, [accounts[0], first, second, *accounts[2:]])
    frame = reports.accounts.generate(box, format_fn="domostats")
    shown = frame[frame["Account_Id"].astype(str) == "4"]
    assert shown["Display_Name"].tolist() == ["the first"]
    assert len(frame) == 11


def test_of_two_accounts_that_only_the_flat_list_has_the_first_is_a_row(box):
    [account] = [one for one in get_flat_accounts(box).response if one["id"] == 27]
    both = [{**account, "displayName": "the first"}, {**account, "displayName": "the second"}]
    box.serve(ACCOUNTS, both)
    frame = reports.accounts.generate(box, format_fn="domostats")
    shown = frame[frame["Account_Id"].astype(str) == "27"]
    assert shown["Display_Name"].tolist() == ["the first"]


def test_of_two_users_with_one_id_the_first_is_the_owner(box):
    users = get_users(box).response
    twice = {**users[4], "id": str(users[4]["id"]), "displayName": "the second"}
    box.serve(USERS, [*users, twice])
    names = reports.accounts.report.fields.add(owner="owner_obj.displayName")
    frame = reports.accounts.generate(box, format_fn=names)
    owners = dict(zip(frame["id"].astype(str), frame["owner"], strict=True))
    assert owners["1"] == "Kofi Marsh" and owners["4"] == "Wren Bramble"
    box.serve(USERS, [twice, *users])
    frame = reports.accounts.generate(box, format_fn=names)
    assert dict(zip(frame["id"].astype(str), frame["owner"], strict=True))["1"] == "the second"


def test_of_two_documents_of_a_dataset_the_first_is_joined(box):
    documents = search_dataset_documents(box).response
    again = {**documents[0], "pdpEnabled": not documents[0]["pdpEnabled"]}
    rows = [*documents, again]
    box.serve(SEARCH, {"totalResultCount": 15, "searchResultsMap": {"dataset": rows}})
    wanted = reports.datasets.report.fields.add(is_guarded="document_obj.pdpEnabled")
    frame = reports.datasets.generate(box, format_fn=wanted)
    guarded = dict(zip(frame["id"], frame["is_guarded"], strict=True))
    assert len(frame) == 14 and not guarded["47e4c181-fe0c-47cb-b74a-c30e9a303ff3"]
    assert guarded["824e8a45-fc40-403c-8519-c31a580a0ccd"]
