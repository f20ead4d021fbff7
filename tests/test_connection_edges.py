"""What goes out and what comes back at the edges: headers, odd bytes, the log, the one
connection."""

import http.client
import json
import threading
import warnings
from pathlib import Path

import msgspec
import pytest
import requests
import urllib3
from requests import exceptions as known
from test_diagnosis import PROXIES
from test_reply_limits import OK, served, whole

from domostats.clients.domo.credentials import AccessToken
from domostats.clients.domo.session import Session
from domostats.errors import (
    CredentialsError,
    DataError,
    DomostatsError,
    RetryLaterError,
    SettingsError,
)
from domostats.instances import Instance
from domostats.secrets import Secret
from domostats.transport import clock as clocks
from domostats.transport.answer import Answer
from domostats.transport.auth import Auth, NoAuth, safe_headers, sendable
from domostats.transport.call_log import CallLog, LoggedCall
from domostats.transport.clock import Clock, FakeClock, FastClock, spell_seconds
from domostats.transport.connection import Connection, connect
from domostats.transport.failures import TooLarge, TooSlow, failure_of
from domostats.transport.http_session import WatchedAdapter
from domostats.transport.remembered_users import remember_user, remembered_user
from domostats.transport.retry import Request, is_outcome_unknown
from domostats.transport.sending import body_bytes, send
from domostats.transport.wire import elements, json_bytes, members, mend, plain, readable, shallow

ACME = Instance("acme", "https://acme.domo.com")


def asked(url, request, auth=None):
    "The answer to one request, by a connection of its own."
    connection = Connection(Instance("acme", url), auth or NoAuth(), user="ada")
    try:
        return connection.ask(request)
    finally:
        connection.http.close()


# --- what goes out --------------------------------------------------------------------------------


@pytest.fixture
def heard():
    "A server that says nothing but `{}`; gives its address and the requests it got, as bytes."
    got = []

    def say(request):
        got.append(request)
        return whole(b"{}")

    with served(say) as url:
        yield url, got


def test_a_request_carries_its_credential_its_question_and_what_it_accepts(heard):
    url, got = heard
    asked(url, Request("GET", "/x", {"limit": 5, "name": "a b"}), AccessToken("token-of-ada"))
    first, *lines = got[0].decode().split("\r\n")
    assert first == "GET /x?limit=5&name=a+b HTTP/1.1"
    assert {
        "X-DOMO-Developer-Token: token-of-ada",
        "Accept: application/json",
        "Accept-Encoding: gzip, deflate",
    } <= set(lines)
    assert not [line for line in lines if line.lower().startswith(("content-type", "cookie"))]


def test_a_body_is_json_with_the_secrets_that_it_holds():
    body = {"password": Secret("correct-horse"), "user": "ada", "ids": [1, None, 2.5, True]}
    assert json.loads(body_bytes(body)) == {
        "password": "correct-horse",
        "user": "ada",
        "ids": [1, None, 2.5, True],
    }
    assert body_bytes(None) is None


def test_a_proxy_is_used_and_prints_nothing(heard, capsys, monkeypatch):
    url, asked_for = heard
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    auth = AccessToken("token-of-ada")
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", WatchedAdapter())
        session.proxies = {"http": url}
        for _ in range(2):
            found = send(session, "GET", "http://acme.example.com/x", None, None, auth)
    assert found.content == b"{}" and len(asked_for) == 2
    assert asked_for[0].startswith(b"GET http://acme.example.com/x HTTP/1.1\r\n")
    assert capsys.readouterr().out == ""


def test_cookies_are_not_sent_back():
    def say(request):
        got.append(request)
        return whole(b"{}", b"Set-Cookie: SID=abc; Path=/")

    got = []
    with served(say) as url:
        connection = Connection(Instance("acme", url), NoAuth())
        connection.get("/x")
        connection.get("/x")
        connection.http.close()
    assert len(got) == 2 and b"Cookie" not in got[1]


def test_debugging_shows_what_is_asked_and_not_the_credential(heard, capsys):
    url, _ = heard
    connection = Connection(Instance("acme", url), AccessToken("token-of-ada"), user="ada")
    connection.get("/x", {"limit": 5})
    assert capsys.readouterr().out == ""
    connection.get("/x", {"limit": 5}, debug_api=True)
    connection.post("/y", {"name": "new"}, debug_api=True)
    connection.http.close()
    assert capsys.readouterr().out == (
        f"GET {url}/x params={{'limit': 5}} body=None auth=<access token>\n"
        f"POST {url}/y params=None body={{'name': 'new'}} auth=<access token>\n"
    )


@pytest.mark.parametrize(
    "text, good",
    [
        ("a", True),
        ("!~", True),
        ("0123456789abcdef", True),
        ("", False),
        (" a", False),
        ("a b", False),
        ("a\n", False),
        ("a\r\nX: y", False),
        ("a\tb", False),
        ("tökén", False),
        ("a\x7f", False),
        ("\x00", False),
    ],
)
def test_which_credentials_a_header_can_hold(text, good):
    assert sendable(Secret(text)) is good
    if good:
        assert Auth(text)._secret.reveal() == text
        return
    with pytest.raises(CredentialsError, match="The credential is no text.*Copy it again") as told:
        Auth(text)
    assert told.value.reason == "malformed_secret"
    with pytest.raises(CredentialsError, match="The access token"):
        AccessToken(text)


@pytest.mark.parametrize("what", [None, ["a"]])
def test_what_is_no_text_is_no_credential(what):
    assert sendable(what) is False


def test_a_credential_names_its_user_and_place_and_never_itself():
    assert repr(Auth("correct-horse")) == "<credential>"
    assert repr(Auth("correct-horse", "ada")) == "<credential of ada>"
    assert repr(Auth("correct-horse", "ada", ACME)) == "<credential of ada at acme>"
    assert repr(AccessToken("correct-horse", instance=ACME)) == "<access token at acme>"
    assert repr(NoAuth()) == "<no credential>" and repr(NoAuth(ACME)) == "<no credential at acme>"
    assert AccessToken("correct-horse", instance=ACME).url == "https://acme.domo.com"
    assert Auth("correct-horse").url == "" and Auth("correct-horse").ready() == 0
    assert Auth("correct-horse").renew(0) is False


def test_credentials_are_told_apart_by_what_they_send():
    one, same, other = AccessToken("one"), AccessToken("one", "ada", ACME), AccessToken("other")
    assert one.fingerprint == same.fingerprint and len(one.fingerprint) == 32
    assert len({one.fingerprint, other.fingerprint, Auth("one").fingerprint}) == 3
    ada, again = (Session(ACME, "ada", Secret("horse")) for _ in range(2))
    assert ada.fingerprint == again.fingerprint
    assert ada.fingerprint != Session(ACME, "bob", Secret("horse")).fingerprint
    assert ada.fingerprint != Session(ACME, "ada", Secret("other")).fingerprint


# --- what comes back ------------------------------------------------------------------------------


def test_headers_that_may_hold_a_secret_are_masked_and_the_others_kept():
    headers = {
        "content-type": "application/json",
        "date": "Mon, 01 Apr 2024 12:00:00 GMT",
        "retry-after": "30",
        "x-platformratelimit-remaining": "3",
        "x-dailyquota-reset": "17",
        "server": "nginx",
        "x-node": "7",
        "etag": "abc",
        "set-cookie": "horse",
        "x-domo-token": "horse",
        "x-secret-thing": "horse",
        "x-session-id": "horse",
        "x-password": "horse",
        "www-authenticate": "horse",
        "x-api-key": "horse",
        "location": "/auth/index?ticket=horse",
    }
    kept = {
        "content-type": "application/json",
        "date": "Mon, 01 Apr 2024 12:00:00 GMT",
        "retry-after": "30",
        "x-platformratelimit-remaining": "3",
        "x-dailyquota-reset": "17",
        "server": "nginx",
        "x-node": "7",
        "etag": "abc",
        "set-cookie": "<secret>",
        "x-domo-token": "<secret>",
        "x-secret-thing": "<secret>",
        "x-session-id": "<secret>",
        "x-password": "<secret>",
        "www-authenticate": "<secret>",
        "x-api-key": "<secret>",
        "location": "/auth/index?...",
    }
    assert safe_headers(headers) == kept
    assert safe_headers(headers, only_known=True) == kept | {"x-node": "<secret>"}
    assert safe_headers({"location": "/plain"}) == {"location": "/plain"}


def test_a_credential_that_is_sent_back_is_masked_where_it_is_no_json():
    token = Auth("correct-horse-battery")
    page = b"<html>you sent correct-horse-battery and correct-horse-battery</html>"
    assert token.received(page) == b"<html>you sent <secret> and <secret></html>"
    for body in (b'{"id": "correct-horse-battery"}', b'["correct-horse-battery"]'):
        assert token.received(body) == body
    assert Auth("correct").received(b"correct") == b"correct"  # seven letters: any word
    assert Auth("correct8").received(b"correct8") == b"<secret>"
    body = NoAuth().received(b'{"sessionToken": "horse"}')
    assert repr(body) == "<secret>" and bytes(body) == b'{"sessionToken": "horse"}'


def answer(content, status=200, headers=None):
    return Answer("GET", "https://acme.domo.com/x", status, content, headers or {}, 0.1)


def test_an_answer_is_read_as_plain_python_or_as_a_type():
    found = answer(b'[{"id": 1, "name": "a"}, {"id": 2}]')
    assert found.is_success is True and found.response == [{"id": 1, "name": "a"}, {"id": 2}]
    assert found.read(list[dict])[1] == {"id": 2} and found.read()[0]["name"] == "a"
    with pytest.raises(
        DataError, match="GET https://acme.domo.com/x answered 200 with JSON of"
    ) as t:
        found.read(dict)
    assert t.value.reason == "unexpected" and t.value.answer is found
    with pytest.raises(DataError) as told:
        answer(b"hello").read()
    assert told.value.reason == "not_json"
    with pytest.raises(DataError) as told:
        answer(b"hello").response
    assert told.value.reason == "not_json"
    assert "horse" not in repr(answer(b'"horse"', headers={"x-token": "horse"}))


def test_an_answer_keeps_no_header_that_may_hold_a_secret():
    headers = {"x-token": "horse", "x-node": "7", "location": "/a?ticket=horse"}
    plain_one = answer(b"{}", headers=headers)
    assert plain_one.headers == {"x-token": "<secret>", "x-node": "7", "location": "/a?..."}
    masked = answer(NoAuth().received(b'{"sessionToken": "horse"}'), headers=headers)
    assert masked.headers == {"x-token": "<secret>", "x-node": "<secret>", "location": "/a?..."}
    assert repr(masked.response["sessionToken"]) == "<secret>"


def test_odd_characters_are_told_where_they_stand():
    with pytest.warns(UserWarning, match=r"GET https.*/x: \[0\].name holds characters") as told:
        assert answer(rb'[{"id": 1, "name": "\ud83d"}]').response == [{"id": 1, "name": r"\ud83d"}]
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert answer(b'[{"id": 1}]').response == [{"id": 1}]


def test_odd_characters_do_not_keep_a_reply_from_being_read():
    body = b'\xef\xbb\xbf[{"id": 1, "name": "Ben \\ud83d"}, {"id": 2, "name": "Cl\xffo"}]'
    with served(lambda _: whole(body)) as url:
        found = asked(url, Request("GET", "/x"), AccessToken("a-token"))
    with pytest.warns(UserWarning, match=r"\[1\].name holds bytes that are no UTF-8") as told:
        rows = found.response
    assert rows == [{"id": 1, "name": r"Ben \ud83d"}, {"id": 2, "name": None}] and len(told) == 1


def test_an_answer_says_how_large_it_was_and_what_it_cost():
    with served(lambda _: whole(b'{"id": 1}', b"X-Node: 7")) as url:
        found = asked(url, Request("GET", "/x"), AccessToken("a-token"))
    assert (found.method, found.url, found.status, found.size) == ("GET", f"{url}/x", 200, 9)
    assert found.headers["x-node"] == "7" and 0 < found.seconds < 60
    call = found.call
    assert (call.method, call.path, call.status, call.bytes, call.attempt) == (
        "GET",
        "/x",
        200,
        9,
        1,
    )
    assert call.reason == "" and call.rows is None and call.budget_left is None
    assert call.seconds == found.seconds


def test_a_file_is_emptied_before_each_attempt(tmp_path):
    replies = [whole(b"[1, 2, 3]")[0][:-4], whole(b'{"a": 1}')[0]]

    def say(request):
        yield replies.pop(0)
        if replies:
            raise OSError("the connection breaks off")

    with served(say) as url, open(tmp_path / "file", "w+b") as file:
        connection = Connection(Instance("acme", url), NoAuth())
        connection.go_by(FakeClock())
        found = connection.ask(Request("GET", "/x"), into=file)
        connection.http.close()
    assert (tmp_path / "file").read_bytes() == b'{"a": 1}' == found.content and found.size == 8


def test_only_a_good_answer_goes_into_a_file(tmp_path):
    page = b"HTTP/1.1 404 Gone\r\nContent-Length: 5\r\n\r\nno no"
    with served(lambda _: [page]) as url, open(tmp_path / "file", "w+b") as file:
        connection = Connection(Instance("acme", url), NoAuth())
        with pytest.raises(DomostatsError) as told:
            connection.ask(Request("GET", "/x", plain=True), into=file)
        connection.http.close()
    assert told.value.answer.content == b"no no"
    assert (tmp_path / "file").read_bytes() == b""


def test_of_a_large_file_the_answer_holds_the_beginning(tmp_path):
    body = b"id,name\n" + b"1,abcdefg\n" * 300_000
    with served(lambda _: whole(body)) as url, open(tmp_path / "file", "w+b") as file:
        connection = Connection(Instance("acme", url), NoAuth())
        found = connection.ask(Request("GET", "/x", plain=True), into=file)
        connection.http.close()
    assert found.content == body[:1000] and found.size == 3_000_008
    assert (tmp_path / "file").read_bytes() == body


# --- the log --------------------------------------------------------------------------------------


def test_the_log_keeps_the_last_ten_thousand_calls_and_counts_them_all():
    log = CallLog()
    for number in range(10_005):
        log.note(LoggedCall(number, "GET", "/x", 200, bytes=1000, attempt=1 + (number % 5 == 0)))
    assert len(log) == 10_000 and log[0].at == 5
    assert (log.total, log.repeated, log.received) == (10_005, 2001, 10_005_000)
    assert repr(log) == "10005 calls, 2001 of them again, 10.0 MB"
    assert len(log.name) == 8 and log.name != CallLog().name


def test_the_log_as_a_table():
    log = CallLog()
    log.note(LoggedCall(1_711_972_800, "GET", "/x", 429, "rate_limited"))
    log.note(LoggedCall(1_711_972_801.5, "POST", "/y", 200, "", 0.25, 71, 3, 2, 99))
    frame = log.frame()
    assert list(frame.columns) == [
        "at",
        "method",
        "path",
        "status",
        "reason",
        "seconds",
        "bytes",
        "rows",
        "attempt",
        "budget_left",
    ]
    assert [str(moment) for moment in frame["at"]] == [
        "2024-04-01 12:00:00+00:00",
        "2024-04-01 12:00:01.500000+00:00",
    ]
    assert frame["reason"].tolist() == ["rate_limited", ""]
    assert frame["seconds"].tolist() == [0, 0.25] and frame["attempt"].tolist() == [1, 2]
    assert frame["rows"].isna().tolist() == [True, False] and frame["rows"][1] == 3
    assert frame["budget_left"][1] == 99 and str(frame["budget_left"].dtype) == "Int64"
    assert list(CallLog().frame().columns) == list(frame.columns)


# --- the one connection ---------------------------------------------------------------------------


def test_the_same_address_and_credential_are_one_connection():
    one = connect(ACME, AccessToken("one"))
    assert connect(ACME, AccessToken("one")) is one
    assert connect(ACME, AccessToken("other")) is not one
    other = Instance("other", "https://other.domo.com")
    assert connect(other, AccessToken("one")) is not one
    assert repr(one) == f"<connection to {ACME} with <access token>: {one.calls!r}>"


def test_a_credential_of_another_instance_is_not_sent():
    other = Instance("other", "https://other.domo.com")
    auth = AccessToken("one", instance=other)
    with pytest.raises(
        SettingsError, match="access token at other.*made for another.*acme"
    ) as told:
        connect(ACME, auth)
    assert told.value.reason == "wrong_instance"
    assert connect(other, auth).auth is auth


@pytest.mark.parametrize("what", ["a-token", None, 5])
def test_a_connection_takes_a_credential_and_no_text(what):
    for make in (connect, Connection):
        with pytest.raises(CredentialsError, match="takes a credential as an object") as told:
            make(ACME, what)
        assert told.value.reason == "malformed_secret" and "a-token" not in str(told.value)


def test_a_newer_session_of_the_same_user_takes_the_place_of_the_older_one():
    class Signed(AccessToken):
        signed_in = True

    class NotYet(AccessToken):
        signed_in = False

    first, second, third = Signed("same"), Signed("same"), NotYet("same")
    connection = connect(ACME, first)
    assert connect(ACME, second).auth is second and connection.auth is second
    assert connect(ACME, third).auth is second  # one that has not signed in is no better


def test_who_is_behind_a_credential_is_remembered_by_address_and_credential():
    assert remembered_user("https://acme.domo.com", "f1") is None
    remember_user("https://acme.domo.com", "f1", "27")
    remember_user("https://acme.domo.com", "f2", "28")
    remember_user("https://other.domo.com", "f1", "29")
    assert remembered_user("https://acme.domo.com", "f1") == "27"
    assert remembered_user("https://acme.domo.com", "f2") == "28"
    assert remembered_user("https://other.domo.com", "f1") == "29"
    remember_user("https://acme.domo.com", "f1", "30")
    assert remembered_user("https://acme.domo.com", "f1") == "30"


def test_a_connection_goes_by_what_is_remembered():
    auth = AccessToken("a-token")
    unknown = Connection(ACME, auth)
    assert unknown.user is None
    assert unknown.place == f"https://acme.domo.com|{auth.fingerprint}"
    remember_user(ACME.url, auth.fingerprint, "27")
    known = Connection(ACME, auth)
    assert known.user == "27" and known.place == "https://acme.domo.com|27"
    assert Connection(ACME, auth, user="28").place == "https://acme.domo.com|28"


def test_a_note_that_is_no_text_is_asked_for_again():
    remember_user(ACME.url, "f1", "27")
    (note,) = [path for path in Path().resolve().parent.rglob("people/*") if path.is_file()]
    note.write_bytes(b"\xff\xfe")
    assert remembered_user(ACME.url, "f1") is None
    note.write_bytes(b"")
    assert remembered_user(ACME.url, "f1") is None


def test_a_clock_is_the_clock_of_the_limit_too():
    connection, clock = Connection(ACME, AccessToken("a-token"), user="27"), FakeClock()
    connection.go_by(clock)
    assert connection.clock is clock and connection.budget.clock is clock
    connection.settle("28")
    assert connection.budget.clock is clock and connection.user == "28"


# --- what became of a write -----------------------------------------------------------------------

OPEN = {
    "cut": True,
    "timeout": True,
    "truncated": True,
    "unavailable": True,
    "server_error": True,
    "too_slow": True,
    "too_large": True,
    "html": True,
    "empty": True,
    "not_json": True,
    "bad_reply": True,
    "rate_limited": False,
    "unreachable": False,
    "bad_request": False,
    "forbidden": False,
    "not_found": False,
    "bad_token": False,
    "blocked": False,
    "redirected": False,
    "day_used_up": False,
    "no_slot": False,
    "not_sent": False,
    "bad_certificate": False,
    "no_certificates": False,
    "no_tls": False,
    "no_socks": False,
    "bad_proxy": False,
    "proxy": False,
}


def test_after_which_errors_it_is_not_known_whether_a_write_was_done():
    assert {reason: is_outcome_unknown(DataError("", reason)) for reason in OPEN} == OPEN


def test_two_requests_are_the_same_when_they_ask_the_same():
    one = Request("GET", "/x", {"a": 1, "b": 2})
    assert one.fingerprint == Request("GET", "/x", {"b": 2, "a": 1}, reads=False).fingerprint
    assert Request("GET", "/x").fingerprint == Request("GET", "/x", {}).fingerprint
    others = [
        Request("POST", "/x", {"a": 1, "b": 2}),
        Request("GET", "/y", {"a": 1, "b": 2}),
        Request("GET", "/x", {"a": 1, "b": 3}),
        Request("GET", "/x", {"a": 1}),
        Request("GET", "/x", {"a": 1, "b": 2}, {"c": 1}),
    ]
    assert len({one.fingerprint, *(other.fingerprint for other in others)}) == 6
    assert len(one.fingerprint) == 32 and Request("GET", "/x").reads is True
    assert Request("GET", "/x").plain is False


# --- odd bytes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent, value, flaws",
    [
        (rb'{"a": "\ud83d\ude00"}', {"a": "😀"}, []),
        (rb'{"a": "\ud83d"}', {"a": r"\ud83d"}, ["a holds characters"]),
        (rb'{"a": "\ude00\ud83d"}', {"a": r"\ude00\ud83d"}, ["a holds characters"]),
        (rb'{"a": "x\\ud83d"}', {"a": r"x\ud83d"}, []),
        (b'{"a": "x\ny\t\x00"}', {"a": "x\ny\t\x00"}, ["a holds characters"]),
        (b'{"a": "\x1fz"}', {"a": "\x1fz"}, ["a holds characters"]),
        (rb'{"a": "b\qc"}', {"a": None}, ["a holds bytes"]),
        (
            b'{"a": "b\xff", "c": [1, "\xff"]}',
            {"a": None, "c": [1, None]},
            ["a holds bytes", "c[1] h"],
        ),
        (b'{"a": NaN, "b": -Infinity}', {"a": "NaN", "b": "-Infinity"}, []),
        (b'{"a": "NaN"}', {"a": "NaN"}, []),
        (b'{"a": 1e999, "b": 2}', {"a": None, "b": 2}, ["a is a number that nothing can hold"]),
        (b'{"na\xffme": "\xc3\xa9"}', {r"na\xffme": "é"}, []),
        (b"\xef\xbb\xbf[1]", [1], []),
        (
            rb'[{"deep": {"x": ["\ud83d"]}}]',
            [{"deep": {"x": [r"\ud83d"]}}],
            ["[0].deep.x[0] holds"],
        ),
        (rb'"\ud83d"', r"\ud83d", ["the reply holds characters"]),
    ],
)
def test_an_odd_value_harms_its_own_place_and_nothing_beside_it(sent, value, flaws):
    found, told = plain(mend(sent))
    assert found == value
    assert len(told) == len(flaws)
    assert all(said.startswith(flaw) for said, flaw in zip(told, flaws, strict=True))


@pytest.mark.parametrize("sent", [b"[1,", b'{"a": ', b"hello", b"", b'{"a" 1}'])
def test_what_is_no_json_stays_as_it_is(sent):
    assert mend(sent) == sent


@pytest.mark.parametrize("levels, is_kept", [(99, True), (100, False), (5000, False)])
def test_below_a_hundred_levels_a_value_is_unreadable_and_its_neighbours_are_kept(levels, is_kept):
    inside = b"[" * (levels - 2) + b"]" * (levels - 2)
    body = b'[{"a": %s, "b": "]}"}, {"a": 2}]' % inside
    cut = shallow(body)
    assert (cut == body) is is_kept
    first, second = [members(one) for one in elements(cut)]
    assert bytes(first["b"]) == b'"]}"' and bytes(second["a"]) == b"2"
    if not is_kept:
        assert b'"\xff"' in bytes(first["a"]) and bytes(first["a"]).count(b"[") == 97
    assert shallow(b"[[1]") == b"[[1]"


def test_two_deep_values_are_both_cut():
    deep = b"[" * 3000 + b"]" * 3000
    rows = elements(mend(b'[{"a": %s, "b": 1}, {"a": %s, "b": 2}]' % (deep, deep)))
    assert [bytes(members(row)["b"]) for row in rows] == [b"1", b"2"]


def test_bytes_are_made_readable_or_are_none():
    assert readable(b'"abc"') == b'"abc"' and readable("é".encode()) == "é".encode()
    assert readable(b'"a\xc0\x8ab"') == rb'"a\u000ab"' and readable(b'"a\xc0\x9f"') == rb'"a\u001f"'
    assert readable(b'"\xed\xa0\xbd"') == rb'"\\ud83d"'
    assert readable(b'"\xed\xa0\xbd\xed\xb8\x80"') == '"😀"'.encode()
    assert readable(b'"\xff"') is None and readable(b'"\xc0\xa0"') is None


def test_the_parts_of_an_object_and_of_an_array():
    assert {k: bytes(v) for k, v in members(b'{"a": 1, "b": [2]}').items()} == {
        "a": b"1",
        "b": b"[2]",
    }
    assert [bytes(v) for v in elements(b'[1, {"a": 2}]')] == [b"1", b'{"a": 2}']
    assert members(b"[]") is None and elements(b"{}") is None and members(b"5") is None
    assert members(b"hello") is None and elements(b"hello") is None
    assert [bytes(v) for v in elements(rb'["\udc00", 1]')][1] == b"1"
    assert bytes(members(rb'{"a": "\udc00", "b": 1}')["b"]) == b"1"


class Row(msgspec.Struct):
    id: int


def test_plain_python_as_json():
    assert json_bytes({"a": [1, None, True, 1.5, "é"]}) == '{"a":[1,null,true,1.5,"é"]}'.encode()
    assert json.loads(json_bytes({"id": 2**70})) == {"id": 1_180_591_620_717_411_303_424}
    assert plain(json_bytes({"a": "\ud83d"}))[0] == {"a": r"\ud83d"}
    assert json_bytes([Row(5)]) == b'[{"id":5}]'
    assert json.loads(json_bytes([Row(5), 2**70])) == [{"id": 5}, 2**70]
    circle = []
    circle.append(circle)
    for wrong in ({"a": object()}, circle):
        with pytest.raises(DataError, match="cannot be written as JSON.*Give plain lists") as told:
            json_bytes(wrong)
        assert told.value.reason == "not_json"


# --- clocks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "seconds, words",
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (60, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (7530, "2 h 5 min"),
        (86_400, "24 h 0 min"),
    ],
)
def test_a_length_of_time_in_words(seconds, words):
    assert spell_seconds(seconds) == words


def test_a_clock_whose_time_passes_by_waiting():
    clock = FakeClock()
    assert (clock.now(), clock.steady(), clock.boot()) == (1_704_067_200, 0, "fake")
    for seconds in (5, 0, -3, 2.5):
        clock.wait(seconds)
    assert (clock.now(), clock.steady()) == (1_704_067_207.5, 7.5)
    clock.time -= 3600
    clock.wait(1)
    assert (clock.now(), clock.steady()) == (1_704_063_608.5, 8.5)
    assert FakeClock(100.0).now() == 100


def test_a_clock_of_two_threads_wakes_the_earlier_first():
    clock, woken = FakeClock(threads=2), []

    def sleep(name, *lengths):
        for seconds in lengths:
            clock.wait(seconds)
            woken.append((name, clock.steady()))
        clock.done()

    threads = [
        threading.Thread(target=sleep, args=("long", 5, 5)),
        threading.Thread(target=sleep, args=("short", 2, 2, 2)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert woken == [("short", 2), ("short", 4), ("long", 5), ("short", 6), ("long", 10)]


def test_a_clock_that_runs_fast(no_waits):
    clock = FastClock(1000.0, 3600)
    first = clock.now()
    assert 1000 <= first <= clock.now() and clock.steady() >= first and clock.boot() == ""
    clock.wait(7200)
    assert no_waits == [2]
    slow = FastClock(1000.0, 0)
    assert slow.now() == slow.now() == 1000


def test_waits_that_are_off_are_noted_and_emptied_when_switched_off_again(no_waits):
    clocks.wait(5)
    Clock().wait(0)
    Clock().wait(-1)
    assert no_waits == [5]
    clocks.set_waits(False)  # they are off already
    assert no_waits == [5]
    assert abs(clocks.now() - Clock().now()) < 60


def test_a_clock_without_a_steady_count_is_taken_as_it_is():
    class Simple:
        def now(self):
            return 17.0

    assert clocks.steady_of(Simple()) == 17.0 and clocks.boot_of(Simple()) == ""
    assert clocks.steady_of(FakeClock()) == 0.0 and clocks.boot_of(FakeClock()) == "fake"


def test_the_same_wait_is_told_once_and_another_one_again(caplog):
    clock = FakeClock()
    for seconds, why in ((300, "a"), (300, "a"), (300, "b"), (60, "c"), (61, "d")):
        clocks.wait_with_reason(clock, seconds, why)
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "Waiting for 5 min 0 s, until 00:05:00 UTC: a.",
        "Waiting for 5 min 0 s, until 00:10:00 UTC: a.",
        "Waiting for 5 min 0 s, until 00:15:00 UTC: b.",
        "Waiting for 1 min 1 s, until 00:17:01 UTC: d.",
    ]

    class Still(FakeClock):
        def wait(self, seconds):
            pass

    caplog.clear()
    still = Still()
    for seconds in (300, 300, 310, 360, 361):  # many threads, one after the other
        clocks.wait_with_reason(still, seconds, "a")
    assert [record.getMessage()[:23] for record in caplog.records] == [
        "Waiting for 5 min 0 s, ",
        "Waiting for 6 min 1 s, ",
    ]


def test_a_status_line_and_a_body_are_all_that_is_needed():
    with served(lambda _: [OK + b"Content-Length: 2\r\n\r\n[]"]) as url:
        assert asked(url, Request("GET", "/x")).response == []


# --- what goes wrong on the way -------------------------------------------------------------------

BUNDLE = (
    "the file of certificates that REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE names is missing or holds "
    "none. Mend the path or unset the variable; nothing was sent"
)
PROXY = "HTTPS_PROXY or HTTP_PROXY or ALL_PROXY"
WRONG = [
    (known.ReadTimeout("x"), RetryLaterError, "timeout", "no reply came in time. Try again"),
    (known.ConnectTimeout("x"), RetryLaterError, "timeout", "no reply came in time. Try again"),
    (
        known.ChunkedEncodingError("x"),
        RetryLaterError,
        "cut",
        "the reply broke off in the middle. Try again",
    ),
    (
        known.ConnectionError(urllib3.exceptions.ProtocolError("x")),
        RetryLaterError,
        "cut",
        "the reply broke off before it began. Try again",
    ),
    (
        known.SSLError("[SSL] connection reset"),
        RetryLaterError,
        "cut",
        "the reply broke off before it began. Try again",
    ),
    (
        known.ContentDecodingError("x"),
        RetryLaterError,
        "cut",
        "the reply could not be unpacked. Try again",
    ),
    (
        known.ConnectionError("x"),
        RetryLaterError,
        "unreachable",
        "nothing answers there. Check the name of the instance and your network",
    ),
    (
        known.InvalidHeader("x"),
        CredentialsError,
        "malformed_secret",
        "the credential holds a character that no header can carry. Copy it again from where it "
        "was made",
    ),
    (
        known.SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] EOF"),
        SettingsError,
        "bad_certificate",
        "its certificate could not be verified. If your company inspects traffic, set "
        "REQUESTS_CA_BUNDLE to its certificate",
    ),
    (known.SSLError("[SSL] PEM lib"), SettingsError, "no_certificates", BUNDLE),
    (known.SSLError("No such file"), SettingsError, "no_certificates", BUNDLE),
    (OSError("Could not find a suitable TLS CA certificate bundle"), SettingsError, None, BUNDLE),
    (OSError("Could not find the TLS key file"), SettingsError, "no_certificates", BUNDLE),
    (
        known.SSLError("[SSL: UNKNOWN_PROTOCOL]"),
        SettingsError,
        "no_tls",
        "what answers there does not speak https. Check the address and its port, and the proxy if "
        "there is one",
    ),
    (
        known.SSLError("[SSL: HTTP_REQUEST]"),
        SettingsError,
        "no_tls",
        "what answers there does not speak https. Check the address and its port, and the proxy if "
        "there is one",
    ),
    (
        known.InvalidSchema("Missing dependencies for SOCKS support."),
        SettingsError,
        "no_socks",
        f"{PROXY} names a SOCKS proxy, and the package for these is not installed. Install it: "
        "pip install pysocks",
    ),
    (
        known.ProxyError("x"),
        SettingsError,
        "proxy",
        f"the proxy refused, or nothing answers at its address. Check {PROXY} and NO_PROXY",
    ),
    (
        known.InvalidURL("x"),
        SettingsError,
        "not_sent",
        "the request could not be sent. Check the address in settings.ini",
    ),
    (
        known.InvalidSchema("x"),
        SettingsError,
        "not_sent",
        "the request could not be sent. Check the address in settings.ini",
    ),
    (
        ValueError("x"),
        DataError,
        "bad_reply",
        "the reply is not HTTP as it should be. Look at the address in a browser",
    ),
]


def test_each_failure_on_the_way_has_a_kind_a_reason_and_a_way_out(monkeypatch):
    for name in (*PROXIES, "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for error, *expected in WRONG:
        expected[1] = expected[1] or "no_certificates"
        assert list(failure_of(error)) == expected, repr(error)
    monkeypatch.setenv("HTTP_PROXY", "http://host:port")
    assert failure_of(known.InvalidURL("x")) == (
        SettingsError,
        "bad_proxy",
        "HTTP_PROXY names a proxy by an address that is none. Write it as http://HOST:PORT",
    )
    monkeypatch.setenv("CURL_CA_BUNDLE", "/nowhere.pem")
    assert "that CURL_CA_BUNDLE names" in failure_of(known.SSLError("PEM"))[2]


def test_what_is_too_much_says_which_setting_is_meant():
    assert failure_of(TooLarge()) == (
        DataError,
        "too_large",
        "the reply is larger than a reply may be, and was given up. If it is as it should be, "
        "raise largest_reply in settings.ini",
    )
    assert failure_of(TooSlow()) == (
        RetryLaterError,
        "too_slow",
        "the reply was not whole when its time was over, and was given up. Try again later, or "
        "raise longest_call in settings.ini",
    )
