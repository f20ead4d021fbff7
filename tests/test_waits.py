"""Which call waits, for whom, and how long: after a refusal, under a limit, at a sign-in."""

import json
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from requests.adapters import HTTPAdapter

from domostats.clients.domo.auth import get_session_token
from domostats.clients.domo.credentials import AccessToken
from domostats.errors import (
    AccessError,
    CredentialsError,
    DataError,
    RetryLaterError,
    SettingsError,
)
from domostats.instances import Instance
from domostats.transport import sending as transport
from domostats.transport.announced import AnnouncedBudget, LimitStatus
from domostats.transport.auth import NoAuth
from domostats.transport.budget import Budget, all_budgets
from domostats.transport.clock import Clock, FakeClock
from domostats.transport.connection import Connection
from domostats.transport.retry import Request, Retry

GOOD = (200, {}, b'{"is": "good"}')
MIDNIGHT = 1_704_153_600  # 2 January 2024, 00:00 UTC, a day after a `FakeClock` begins


class Service:
    "A server that answers as it was told, and notes who asked what, and when."

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"
        self.begin()

    def begin(self, clock=None):
        "Forget what was; from now on the moments go by this clock."
        self.clock, self.heard, self.replies = clock, [], {}
        self.start = clock.now() if clock else 0

    def says(self, *replies, to="/x"):
        "Let these be the replies to this path, one after the other; the last one stays."
        self.replies[to] = [(one, {}, b"{}") if type(one) is int else one for one in replies]

    def answer(self, method, path, headers):
        when = round(self.clock.now() - self.start, 6) if self.clock else 0
        self.heard.append((when, method, path, headers.get("X-DOMO-Developer-Token", "")))
        left = self.replies.get(path, [GOOD])
        status, extra, body = left.pop(0) if len(left) > 1 else left[0]
        return status, extra() if callable(extra) else extra, body

    @property
    def moments(self):
        "The seconds at which requests came."
        return [when for when, *_ in self.heard]


def whole(status, headers, body):
    "A reply as bytes."
    head = {"Content-Length": len(body), **headers}
    lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in head.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.fixture(scope="module")
def running():
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = self.path.partition("?")[0]
            status, headers, body = services[self.server].answer(self.command, path, self.headers)
            if status == "cut":
                self.wfile.write(whole(200, {"Content-Length": 100}, b"["))
                self.close_connection = True
            elif status == "gone":
                self.close_connection = True
            else:
                self.wfile.write(whole(status, headers, body))

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, *_):
            pass

    services, servers = {}, []
    for _ in range(2):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        services[server] = Service(server.server_port)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield [*services.values()]
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def service(running, clock):
    running[0].begin(clock)
    return running[0]


@pytest.fixture
def other_service(running, clock):
    running[1].begin(clock)
    return running[1]


class Still(FakeClock):
    "A clock that stands still, and notes what would have been waited."

    def __init__(self):
        super().__init__()
        self.waits = []

    def wait(self, seconds):
        if seconds > 0:
            self.waits.append(round(seconds, 6))


@pytest.fixture
def reach():
    "A function that gives a connection to a service with the token of this user."
    made = []

    def connection(service, clock, user="ada", token=None):
        auth = AccessToken(token or f"token-of-{user}")
        made.append(Connection(Instance("acme", service.url), auth, user=user))
        made[-1].go_by(clock)
        return made[-1]

    yield connection
    for one in made:
        one.http.close()


def pauses(service):
    "The seconds between the requests that came."
    return [round(b - a, 6) for a, b in pairwise(service.moments)]


READ = Request("GET", "/x")
WRITE = Request("POST", "/x", body={"name": "new"}, reads=False)
READ_BY_POST = Request("POST", "/x", body={"count": 100}, reads=True)


# --- how long -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_without_a_word_of_the_service_the_pauses_double(service, clock, reach, status):
    service.says(status)
    with pytest.raises(RetryLaterError, match="Try again later") as told:
        reach(service, clock).ask(READ)
    waited = pauses(service)
    assert [1 <= waited[0] <= 1.25, 2 <= waited[1] <= 2.5, 4 <= waited[2] <= 5] == [True] * 3
    assert 8 <= waited[3] <= 10 and len(waited) == 4
    assert told.value.retry_after is None and "It was tried 5 times." in str(told.value)


def test_two_that_fell_together_do_not_come_back_together(service, clock, reach):
    firsts = set()
    for user in ("ada", "bob", "eve"):
        service.begin(clock)
        service.says(503, GOOD)
        reach(service, clock, user).ask(READ)
        firsts.add(pauses(service)[0])
    assert len(firsts) > 1


def test_the_pauses_grow_to_a_minute_and_no_longer(service, clock, reach):
    service.says(503)
    connection = reach(service, clock)
    connection.retry = Retry(tries=9)
    with pytest.raises(RetryLaterError, match="tried 9 times"):
        connection.ask(READ)
    waited = pauses(service)
    assert len(waited) == 8 and 32 <= waited[5] <= 40
    assert all(60 <= seconds <= 75 for seconds in waited[6:])


DATE = "Mon, 01 Apr 2024 12:00:00 GMT"
ASKED = {  # what the header says (a `Date` beside it): seconds waited
    "more than the pause": ("30", None, 30),
    "a quarter of an hour": ("900", None, 900),
    "as a date": ("Mon, 01 Apr 2024 12:00:45 GMT", DATE, 45),
    "as a date in another zone": ("Mon, 01 Apr 2024 14:00:50 +0200", DATE, 50),
    "as a date without a zone": ("Mon, 01 Apr 2024 12:00:55", DATE, 55),
    "a quarter of an hour as a date": ("Mon, 01 Apr 2024 12:15:00 GMT", DATE, 900),
    "less than the pause": ("0", None, 1),
    "a date that is over": ("Mon, 01 Apr 2024 11:00:00 GMT", DATE, 1),
    "a date that is over, without a date beside it": (DATE, None, 1),
}


@pytest.mark.parametrize("asked", ASKED)
def test_what_the_service_asks_for_is_waited_and_never_less_than_the_pause(
    service, clock, reach, asked
):
    header, date, seconds = ASKED[asked]
    headers = {"Retry-After": header} | ({"Date": date} if date else {})
    for status in (503, 429):
        service.begin(clock)
        service.says((status, headers, b"{}"), GOOD)
        connection = reach(service, clock)
        assert connection.ask(READ).response == {"is": "good"}
        assert service.moments == [0, seconds]
        assert [(call.status, call.attempt) for call in connection.calls] == [(status, 1), (200, 2)]


def test_a_pause_that_is_asked_for_counts_only_where_it_is_the_longer_one(service, clock, reach):
    service.says(*[(503, {"Retry-After": "3"}, b"{}")] * 4, GOOD)
    reach(service, clock).ask(READ)
    assert pauses(service) == [3, 3, 4, 8]


NONSENSE = ["soon", "", "-5", "1.5", "30 seconds", "1e3", "9999999", "0x10", "Mon, 99 Foo 2024"]


def test_a_retry_after_that_means_nothing_is_as_good_as_none(service, clock, reach):
    for header in NONSENSE:
        service.begin(clock)
        service.says((429, {"Retry-After": header}, b"{}"), GOOD)
        assert reach(service, clock).ask(READ).is_success
        assert 1 <= pauses(service)[0] <= 1.25, header


def test_a_retry_after_whose_date_beside_it_means_nothing_goes_by_this_clock(service, clock, reach):
    service.says((429, {"Retry-After": DATE, "Date": "now"}, b"{}"), GOOD)
    reach(service, clock).ask(READ)
    assert service.moments == [0, 1]


TOO_LONG = {
    "a second more than a quarter of an hour": ("901", None, 901),
    "a day": ("86400", None, 86_400),
    "eleven days": ("999999", None, 999_999),
    "a day as a date": ("Tue, 02 Apr 2024 12:00:00 GMT", DATE, 86_400),
}


@pytest.mark.parametrize("asked", TOO_LONG)
@pytest.mark.parametrize("status, reason", [(429, "rate_limited"), (503, "unavailable")])
def test_who_is_asked_to_come_back_much_later_is_told_at_once(
    service, clock, reach, asked, status, reason
):
    header, date, seconds = TOO_LONG[asked]
    headers = {"Retry-After": header} | ({"Date": date} if date else {})
    service.says((status, headers, b'{"why": "busy"}'))
    with pytest.raises(RetryLaterError, match=f"Try again in {seconds} seconds") as told:
        reach(service, clock).ask(READ)
    assert service.moments == [0] and clock.passed == 0
    error = told.value
    assert (error.reason, error.retry_after) == (reason, seconds)
    assert error.answer.status == status and error.answer.content == b'{"why": "busy"}'
    assert "It was tried" not in str(error)


def test_the_last_refusal_says_what_it_asked_for(service, clock, reach):
    service.says(*[(429, {"Retry-After": str(n)}, b"{}") for n in (21, 22, 23, 24, 25)])
    with pytest.raises(RetryLaterError, match="GET http.*/x answered 429.*in 25 seconds") as told:
        reach(service, clock).ask(READ)
    assert service.moments == [0, 21, 43, 66, 90]
    error = told.value
    assert (error.retry_after, error.reason, error.answer.status) == (25, "rate_limited", 429)
    assert error.answer.headers["retry-after"] == "25"
    assert str(error).endswith("It was tried 5 times.")


# --- what is tried again --------------------------------------------------------------------------

TRIES = {  # status: class, reason, how often a read is sent, how often a write
    300: (AccessError, "redirected", 1, 1),
    301: (AccessError, "redirected", 1, 1),
    302: (AccessError, "redirected", 1, 1),
    303: (AccessError, "redirected", 1, 1),
    307: (AccessError, "redirected", 1, 1),
    308: (AccessError, "redirected", 1, 1),
    399: (AccessError, "redirected", 1, 1),
    400: (DataError, "bad_request", 1, 1),
    401: (CredentialsError, "bad_token", 1, 1),
    402: (DataError, "bad_request", 1, 1),
    403: (AccessError, "forbidden", 1, 1),
    404: (AccessError, "not_found", 1, 1),
    405: (DataError, "bad_request", 1, 1),
    409: (DataError, "bad_request", 1, 1),
    422: (DataError, "bad_request", 1, 1),
    428: (DataError, "bad_request", 1, 1),
    429: (RetryLaterError, "rate_limited", 5, 5),
    430: (DataError, "bad_request", 1, 1),
    499: (DataError, "bad_request", 1, 1),
    500: (RetryLaterError, "server_error", 1, 1),
    501: (RetryLaterError, "server_error", 1, 1),
    502: (RetryLaterError, "unavailable", 5, 1),
    503: (RetryLaterError, "unavailable", 5, 1),
    504: (RetryLaterError, "unavailable", 5, 1),
    505: (RetryLaterError, "server_error", 1, 1),
    599: (RetryLaterError, "server_error", 1, 1),
    "cut": (RetryLaterError, "cut", 5, 1),
    "gone": (RetryLaterError, "cut", 5, 1),
}
SAID = {
    "redirected": "a redirect, most likely to a login page. It was not followed. Check the name",
    "bad_request": "did not understand the call",
    "bad_token": "Sign in again or make a new token",
    "forbidden": "may not do that. Ask an administrator for the grant",
    "not_found": "it is not there, or not shared with this user",
    "rate_limited": "Try again later",
    "unavailable": "Try again later",
    "server_error": "Try again later",
    "cut": "broke off",
}


@pytest.mark.parametrize("status", TRIES)
def test_how_often_a_request_is_sent(service, clock, reach, status):
    kind, reason, of_a_read, of_a_write = TRIES[status]
    for request, sent in ((READ, of_a_read), (READ_BY_POST, of_a_read), (WRITE, of_a_write)):
        service.begin(clock)
        service.says((status, {"Location": "/elsewhere?token=abc"}, b'{"said": 1}'))
        check_refusal(service, reach(service, clock), request, status, kind, reason, sent)


def check_refusal(service, connection, request, status, kind, reason, sent):
    before = connection.clock.passed
    with pytest.raises(kind) as told:
        connection.ask(request)
    error = told.value
    assert type(error) is kind and error.reason == reason and SAID[reason] in str(error)
    assert [one[1:3] for one in service.heard] == [(request.method, "/x")] * sent
    assert [call.attempt for call in connection.calls] == [*range(1, sent + 1)]
    assert (f"It was tried {sent} times." in str(error)) == (sent > 1)
    if type(status) is int:
        assert error.answer.status == status and error.answer.content == b'{"said": 1}'
        assert f"{request.method} {service.url}/x answered {status}" in str(error)
        assert [(call.status, call.reason) for call in connection.calls] == [(status, "")] * sent
    else:
        assert error.answer is None
        assert [(call.status, call.reason) for call in connection.calls] == [(0, "cut")] * sent
    assert (connection.clock.passed == before) == (sent == 1)


BODIES = {
    "truncated": (b'[{"id": 1}, {"id"', 5, 1),
    "empty": (b" \n", 1, 1),
    "html": (b"\n<html>Please sign in</html>", 1, 1),
    "not_json": (b"upstream says hello", 1, 1),
}


@pytest.mark.parametrize("reason", BODIES)
def test_a_good_status_with_a_bad_body(service, clock, reach, reason):
    body, of_a_read, of_a_write = BODIES[reason]
    for request, sent in ((READ, of_a_read), (READ_BY_POST, of_a_read), (WRITE, of_a_write)):
        service.begin(clock)
        service.says((200, {}, body))
        with pytest.raises(DataError, match="answered 200 with .*look at the address") as told:
            reach(service, clock).ask(request)
        assert told.value.reason == reason and told.value.answer.content == body
        assert len(service.heard) == sent


def test_who_wants_no_json_gets_whatever_came(service, clock, reach):
    service.says((200, {}, b"id,name\n1,a\n"))
    answer = reach(service, clock).ask(Request("GET", "/x", plain=True))
    assert answer.content == b"id,name\n1,a\n" and (answer.status, answer.size) == (200, 12)


@pytest.mark.parametrize("request_", [READ, WRITE], ids=["read", "write"])
def test_where_nothing_answers_everything_may_be_sent_again(clock, reach, request_):
    connection = reach(Service(9), clock)  # nobody listens on the port of `discard`
    with pytest.raises(RetryLaterError, match="nothing answers there.*network.*5 times") as told:
        connection.ask(request_)
    assert told.value.reason == "unreachable" and len(connection.calls) == 5
    assert 15 <= clock.passed <= 18.75


@pytest.mark.parametrize("request_, sent", [(READ, 3), (WRITE, 1)], ids=["read", "write"])
def test_a_reply_that_does_not_come_is_waited_for_in_vain(
    service, clock, reach, request_, sent, monkeypatch
):
    silent = threading.Event()
    monkeypatch.setattr(transport, "TIMEOUT", (5, 0.1))
    service.says((200, lambda: silent.wait(5) and {}, b"{}"))
    connection = reach(service, clock)
    connection.retry = Retry(tries=3)
    with pytest.raises(RetryLaterError, match="no reply came in time. Try again") as told:
        connection.ask(request_)
    silent.set()
    assert told.value.reason == "timeout" and len(connection.calls) == sent


def test_what_passes_is_told_by_the_log_alone(service, clock, reach):
    service.says(503, "cut", (200, {}, b"[1"), (429, {"Retry-After": "9"}, b""), GOOD)
    connection = reach(service, clock)
    answer = connection.ask(READ)
    assert answer.response == {"is": "good"} and answer.call is connection.calls[-1]
    assert [(call.attempt, call.status, call.reason) for call in connection.calls] == [
        (1, 503, ""),
        (2, 0, "cut"),
        (3, 200, ""),
        (4, 429, ""),
        (5, 200, ""),
    ]
    assert [round(call.at - 1_704_067_200, 6) for call in connection.calls] == service.moments
    assert repr(connection.calls) == "5 calls, 4 of them again, 0.0 MB"
    assert connection.calls.frame()["attempt"].tolist() == [1, 2, 3, 4, 5]


def test_a_policy_may_say_that_a_server_error_passes(service, clock, reach):
    service.says(500, 500, GOOD)
    connection = reach(service, clock)
    connection.retry = Retry(first=10, passing=("server_error",))
    assert connection.ask(READ).is_success
    waited = pauses(service)
    assert 10 <= waited[0] <= 12.5 and 20 <= waited[1] <= 25
    service.says(503, GOOD)
    with pytest.raises(RetryLaterError):
        connection.ask(READ)


@pytest.mark.parametrize("where", ["/y", "http://127.0.0.1:9/y", "//127.0.0.1:9/y"])
def test_a_redirect_is_followed_nowhere(service, clock, reach, where):
    service.says((302, {"Location": f"{where}?token=secret"}, b""))
    with pytest.raises(AccessError) as told:
        reach(service, clock).ask(READ)
    assert [one[2] for one in service.heard] == ["/x"]
    assert told.value.answer.headers["location"] == f"{where}?..."


# --- for whom -------------------------------------------------------------------------------------


def refuse(service, seconds=300):
    service.says((429, {"Retry-After": str(seconds)}, b"{}"), GOOD)


def test_a_429_holds_up_every_connection_of_the_same_user_at_this_address(
    service, other_service, reach
):
    refuse(service)
    clocks = {name: Still() for name in ("refused", "same", "token", "bob", "elsewhere")}
    reach(service, clocks["refused"]).get("/x")
    assert clocks["refused"].waits == [300]
    reach(service, clocks["same"]).get("/y")
    reach(service, clocks["token"], token="another-token-of-ada").get("/y")
    reach(service, clocks["bob"], user="bob").get("/y")
    reach(other_service, clocks["elsewhere"]).get("/y")
    assert clocks["same"].waits == [300.05] and clocks["token"].waits == [300.1]
    assert clocks["bob"].waits == clocks["elsewhere"].waits == []


def test_a_429_holds_up_other_threads(service, reach):
    refuse(service)
    clock = Still()
    connection = reach(service, clock)
    connection.get("/x")
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(connection.get, ["/y"] * 4))
    assert sorted(clock.waits) == [300, 300.05, 300.1, 300.15, 300.2]


def test_a_503_holds_up_nobody_else(service, reach):
    service.says((503, {"Retry-After": "300"}, b"{}"), GOOD)
    clock, other = Still(), Still()
    reach(service, clock).get("/x")
    reach(service, other).get("/y")
    assert clock.waits == [300] and other.waits == []


def test_when_the_pause_is_over_nobody_waits_any_more(service, clock, reach):
    refuse(service, 30)
    connection, other = reach(service, clock), reach(service, clock)
    connection.get("/x")
    other.get("/y")
    clock.wait(3)
    other.get("/y")
    connection.get("/y")
    assert service.moments[:2] == [0, 30] and 30 <= service.moments[2] <= 30.1
    assert service.moments[3:] == [service.moments[2] + 3] * 2


def test_a_429_without_a_time_holds_the_others_up_for_a_second_or_so(service, reach):
    service.says(429, GOOD)
    clock, other = Still(), Still()
    reach(service, clock).get("/x")
    reach(service, other).get("/y")
    assert 1 <= clock.waits[0] <= 1.25 and other.waits == [pytest.approx(clock.waits[0] + 0.05)]


CHILD = """
import json, sys
from domostats.clients.domo.credentials import AccessToken
from domostats.instances import Instance
from domostats.transport.clock import without_waits
from domostats.transport.connection import Connection
for url, user in json.loads(sys.argv[1]):
    with without_waits() as waited:
        waited.clear()
        Connection(Instance("acme", url), AccessToken("a-token"), user=user).get("/y")
        print(json.dumps(waited))
"""


def test_a_429_holds_up_other_processes(service, other_service, reach, no_waits):
    refuse(service, 600)
    connection = reach(service, Clock())
    connection.get("/x")
    assert no_waits == [pytest.approx(600, abs=5)]
    asked = [(service.url, "ada"), (service.url, "bob"), (other_service.url, "ada")]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(asked)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    ada, bob, elsewhere = map(json.loads, done.stdout.splitlines())
    assert len(ada) == 1 and 500 < ada[0] <= 600.1 and bob == elsewhere == []


def test_who_waits_says_for_what(service, clock, reach, caplog):
    refuse(service, 200)
    reach(service, clock).get("/x")
    service.says((503, {"Retry-After": "90"}, b"{}"), GOOD)
    reach(service, clock).get("/x")
    service.says((503, {"Retry-After": "60"}, b"{}"), GOOD)
    reach(service, clock).get("/x")
    assert [record.getMessage() for record in caplog.records] == [
        "Waiting for 3 min 20 s, until 00:03:20 UTC: acme asked for a pause.",
        "Waiting for 1 min 30 s, until 00:04:50 UTC: acme did not answer well (unavailable).",
    ]


@pytest.fixture
def slept(no_waits, monkeypatch):
    "What the process would have slept, with waits as they are for a user."
    from domostats.transport import clock as clocks

    seconds = []
    monkeypatch.setattr(clocks, "_off", False)
    monkeypatch.setattr(clocks.time, "sleep", seconds.append)
    return seconds


def test_a_user_is_told_once_why_nothing_seems_to_happen(service, reach, slept, caplog):
    service.says(503)
    with pytest.raises(RetryLaterError):
        reach(service, Clock()).get("/x")
    assert len(slept) == 4 and len(caplog.records) == 1
    said = caplog.records[0].getMessage()
    assert f"GET {service.url}/x answered 503. Try again later." in said
    assert said.endswith("Waiting 2 s before attempt 3 of 5.")


def test_a_short_pause_is_no_news(service, reach, slept, caplog):
    service.says(503, GOOD)
    reach(service, Clock()).get("/x")
    assert len(slept) == 1 and 1 <= slept[0] <= 1.25 and not caplog.records


def test_the_first_pause_is_told_where_it_is_a_long_one(service, reach, slept, caplog):
    service.says((503, {"Retry-After": "7"}, b"{}"), GOOD)
    reach(service, Clock()).get("/x")
    said = [record.getMessage() for record in caplog.records]
    assert (
        slept == [7] and len(said) == 1 and said[0].endswith("Waiting 7 s before attempt 2 of 5.")
    )


# --- the limit of calls ---------------------------------------------------------------------------


class ToHere(HTTPAdapter):
    "A way to a server on this machine, wherever a request is meant to go."

    def __init__(self, url):
        super().__init__()
        self.url = url

    def send(self, request, **how):
        request.url = self.url + urlsplit(request.url).path
        return super().send(request, **how)


@pytest.fixture
def real(service, clock, monkeypatch):
    "A function that gives a connection to an instance which is not on this machine."
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    made = []

    def connection(user="ada", name="acme"):
        instance = Instance(name, f"https://{name}.domo.com")
        made.append(Connection(instance, AccessToken(f"token-of-{user}"), user=user))
        made[-1].http.mount("https://", ToHere(service.url))
        made[-1].go_by(clock)
        return made[-1]

    yield connection
    for one in made:
        one.http.close()


def settings(text):
    Path("settings.ini").write_text(text)


def test_a_real_instance_is_asked_120_times_a_minute_and_no_more(real, service, clock):
    connection, again = real(), real()
    assert repr(connection.budget) == "<budget: 120 a minute>"
    for _ in range(3):
        connection.get("/x")
        again.get("/x")
    assert service.moments == [0, 0.51, 1.02, 1.53, 2.04, 2.55]
    waited = [connection.budget.reserve() for _ in range(115)]
    assert waited == [pytest.approx(0.51)] * 115
    assert clock.passed == pytest.approx(61.2)  # the 121st call


def test_other_users_and_other_instances_have_calls_of_their_own(real, service):
    real().get("/x")
    real("bob").get("/x")
    real(name="other").get("/x")
    assert service.moments == [0, 0, 0]


@pytest.mark.parametrize(
    "text, step",
    [
        ("[domostats]\ncalls_per_minute = 60\n", 1.02),
        ("[domostats]\ncalls_per_minute = 60\n[instance.acme]\ncalls_per_minute = 30\n", 2.04),
        ("[domostats]\n[instance.other]\ncalls_per_minute = 30\n", 0.51),
    ],
)
def test_the_settings_may_say_how_many_calls_a_minute(real, service, text, step):
    settings(text)
    connection = real()
    for _ in range(3):
        connection.get("/x")
    assert service.moments == pytest.approx([0, step, 2 * step])


def test_on_this_machine_there_is_no_limit_unless_the_settings_say_so(service, clock, reach):
    for _ in range(3):
        reach(service, clock).get("/x")
    settings("[domostats]\ncalls_per_minute = 60\n")
    for _ in range(3):
        reach(service, clock).get("/x")
    assert service.moments == [0, 0, 0, 0, 1.02, 2.04]


@pytest.mark.parametrize("name", ["calls_per_minute", "calls_per_day"])
def test_a_limit_that_is_no_number_is_told(service, clock, reach, name):
    for value in ("0", "-1", "many", "1.5", "1234567890", "007"):
        settings(f"[domostats]\n{name} = {value}\n")
        with pytest.raises(SettingsError, match=f"{name} = {value} in settings.ini.*Mend") as told:
            reach(service, clock)
        assert told.value.reason == "bad_limit"


def test_a_day_has_so_many_calls_and_each_attempt_is_one(service, clock, reach):
    settings("[instance.acme]\ncalls_per_day = 5\n")
    clock.wait(86_400 - 7200)
    service.says(503, GOOD)
    connection, other = reach(service, clock), reach(service, clock, token="another-token")
    connection.get("/x")
    for _ in range(3):
        other.get("/x")
    assert [call.budget_left for call in connection.calls] == [4, 3]
    assert [call.budget_left for call in other.calls] == [2, 1, 0]
    before = clock.passed
    for one in (connection, other):
        with pytest.raises(RetryLaterError, match="All 5 calls of today are used.*per_day") as told:
            one.get("/x")
        assert told.value.reason == "day_used_up" and "after midnight UTC, in 1 h 59 min" in str(
            told.value
        )
        assert told.value.retry_after == pytest.approx(86_400 - before)
    assert clock.passed == before and len(service.heard) == 5
    reach(service, clock, "bob").get("/x")
    clock.wait(told.value.retry_after)
    connection.get("/x")
    assert connection.calls[-1].budget_left == 4 and len(service.heard) == 7


def test_the_first_call_asks_who_it_is_and_counts_with_the_others_of_that_user(
    service, clock, reach
):
    "Two tokens of one user share the calls of that user, in this run and in the next."
    settings("[instance.acme]\ncalls_per_minute = 60\n")
    service.says((200, {}, b'{"id": 27}'), to="/api/content/v2/users/me")
    asked = []
    for token in ("first-token", "second-token", "first-token"):
        connection = Connection(Instance("acme", service.url), AccessToken(token))
        connection.go_by(clock)
        connection.get("/x")
        connection.get("/x")
        assert connection.user == "27" and connection.place == f"{service.url}|27"
        asked.append([call.path for call in connection.calls])
        connection.http.close()
    me = "/api/content/v2/users/me"
    assert asked == [[me, "/x", "/x"], [me, "/x", "/x"], ["/x", "/x"]]
    moments = [when for when, _, path, _ in service.heard if path == "/x"]
    assert moments == pytest.approx([1.02 * n for n in range(6)])


def test_who_cannot_be_asked_now_is_asked_at_the_next_call(service, clock):
    settings("[instance.acme]\ncalls_per_minute = 600\n")
    me = "/api/content/v2/users/me"
    service.says(500, (200, {}, b'{"id": 27}'), to=me)
    connection = Connection(Instance("acme", service.url), AccessToken("a-token"))
    connection.go_by(clock)
    with pytest.raises(RetryLaterError):
        connection.get("/x")
    connection.get("/x")
    connection.get("/x")
    assert [one[2] for one in service.heard] == [me, me, "/x", "/x"] and connection.user == "27"
    connection.http.close()


def test_a_user_whom_the_service_does_not_tell_is_asked_for_once(service, clock):
    settings("[instance.acme]\ncalls_per_minute = 600\n")
    me = "/api/content/v2/users/me"
    service.says(403, to=me)
    connection = Connection(Instance("acme", service.url), AccessToken("a-token"))
    connection.go_by(clock)
    connection.get("/x")
    connection.get("/x")
    assert [one[2] for one in service.heard] == [me, "/x", "/x"] and connection.user == ""
    connection.http.close()


def test_a_limit_and_a_refusal_together(service, clock, reach):
    "Who was refused waits as long as asked; behind that the calls go on one by one."
    settings("[instance.acme]\ncalls_per_minute = 60\n")
    connection, other = reach(service, clock), reach(service, clock)
    refuse(service, 30)
    connection.get("/x")
    other.get("/y")
    connection.get("/y")
    assert service.moments == pytest.approx([0, 30, 31.02, 32.04])


def test_how_long_more_calls_take_can_be_said_before(clock):
    budget = Budget("https://acme.domo.com|ada", per_minute=60, per_day=100, clock=clock)
    assert budget.estimate(0) == 0 and budget.estimate(1) == 0
    assert budget.estimate(11) == pytest.approx(10.2)
    budget.reserve()
    assert budget.ahead() == pytest.approx(1.02)
    assert budget.estimate(1) == pytest.approx(1.02)
    assert budget.estimate(11) == pytest.approx(11.22)
    assert budget.estimate(99) == pytest.approx(1.02 + 98 * 1.02)
    clock.wait(3600)
    assert budget.estimate(100) == 23 * 3600  # one more than today has: at midnight
    assert budget.estimate(101) == pytest.approx(23 * 3600 + 1.02)
    assert budget.estimate(199) == pytest.approx(23 * 3600 + 99 * 1.02)
    assert budget.estimate(200) == 47 * 3600
    free = Budget("https://acme.domo.com|bob", clock=clock)
    assert free.estimate(10_000) == 0 and free.left is None


# --- at a sign-in ---------------------------------------------------------------------------------

SIGN_IN = "/api/content/v2/authentication"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    from domostats import sandbox

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        with sandbox.start(today="2024-04-01", users=5, accounts=3) as running:
            yield running


@pytest.fixture
def box(lab):
    lab.heal()
    lab.calls.clear()
    return lab


def test_a_sign_in_that_is_refused_waits_as_long_as_asked(box, no_waits):
    box.fail("rate_limited", SIGN_IN, seconds=120)
    assert get_session_token(box, box.username, box.password).signed_in
    assert no_waits == [pytest.approx(120, abs=2)]
    assert [call[1:] for call in box.calls] == [(SIGN_IN, 429), (SIGN_IN, 200)]


@pytest.mark.parametrize(
    "fault, reason, sent",
    [("unavailable", "unavailable", 1), ("server_error", "server_error", 1), ("cut", "cut", 1)],
)
def test_a_sign_in_that_fails_otherwise_is_not_sent_again(box, no_waits, fault, reason, sent):
    box.fail(fault, SIGN_IN, times=None)
    with pytest.raises(RetryLaterError) as told:
        get_session_token(box, box.username, box.password)
    assert told.value.reason == reason and len(box.calls) == sent and no_waits == []


def test_a_sign_in_that_is_asked_to_wait_a_day_ends(box, no_waits):
    box.fail("rate_limited", SIGN_IN, seconds=86_399)
    with pytest.raises(RetryLaterError, match="in 86399 seconds") as told:
        get_session_token(box, box.username, box.password)
    assert told.value.retry_after == 86_399 and len(box.calls) == 1 and no_waits == []


def test_a_session_that_ends_in_the_middle_signs_in_and_waits_for_nothing(box, no_waits):
    session = get_session_token(box, box.username, box.password)
    connection = Connection(box, session)
    connection.get("/api/content/v2/users/me")
    box.expire()
    box.calls.clear()
    assert connection.get("/api/content/v2/users/me").is_success
    me = "/api/content/v2/users/me"
    assert [call[1:] for call in box.calls] == [(me, 401), (SIGN_IN, 200), (me, 200)]
    assert [call.attempt for call in connection.calls] == [1, 1, 1] and no_waits == []
    connection.http.close()


def test_a_sign_in_that_has_to_wait_holds_up_the_call_that_needs_it(box, no_waits):
    session = get_session_token(box, box.username, box.password)
    connection = Connection(box, session)
    box.expire()
    box.calls.clear()
    box.fail("rate_limited", SIGN_IN, seconds=50)
    me = "/api/content/v2/users/me"
    assert connection.get(me).is_success
    assert [call[1:] for call in box.calls] == [
        (me, 401),
        (SIGN_IN, 429),
        (SIGN_IN, 200),
        (me, 200),
    ]
    assert no_waits == [pytest.approx(50, abs=2)] * 2  # the sign-in, and the call behind it
    connection.http.close()


# --- a service that announces its limits ----------------------------------------------------------


class Announcing(NoAuth):
    "Three calls a minute of one kind, five of the other, twenty a day, as the headers say."

    replies_hold_secrets = False
    overnight = True
    gap = 0.0

    def who(self, connection):
        return "ada"

    def budget(self, place, label):
        kinds = {"platform": 3, "query": 5}
        return AnnouncedBudget(
            place, kinds, 20, kind_of, read, self.gap, self.overnight, label="example ada"
        )


def kind_of(request):
    return "query" if request.path.startswith("/query") else "platform"


def read(answer):
    told = {}
    for name in ("platform", "query", "day"):
        if f"x-rate-{name}" in answer.headers:
            limit, left, reset = answer.headers[f"x-rate-{name}"].split()
            told[name] = LimitStatus(int(limit), int(left), float(reset))
    return told


@pytest.fixture
def announced(service, clock):
    "A function that gives another connection of the same user; the clock is 20 s into a minute."
    clock.wait(20)
    service.start = clock.now() - 20
    made = []

    def connection(overnight=True, gap=0.0):
        auth = Announcing()
        auth.overnight, auth.gap = overnight, gap
        made.append(Connection(Instance("example", service.url), auth, user="ada"))
        made[-1].go_by(clock)
        return made[-1]

    yield connection
    for one in made:
        one.http.close()


def minute_of(clock, number):
    "When this minute of the service begins, from 0 on, as a header says it."
    return 1_704_067_200 + 60 * number


def test_the_calls_of_a_minute_may_start_at_once_and_the_next_one_waits(announced, service):
    one, two = announced(), announced()
    for connection in (one, two, one, two, one, two, one):
        connection.get("/x")
    assert service.moments == [20, 20, 20, 60.25, 60.25, 60.25, 120.25]


def test_each_kind_of_call_has_minutes_of_its_own(announced, service):
    connection = announced()
    for path in ("/x", "/x", "/x", *["/query"] * 5, "/query", "/x"):
        connection.get(path)
    assert service.moments == [20] * 8 + [60.25, 60.25]


def test_at_the_end_of_a_minute_nobody_starts(announced, service, clock):
    connection = announced()
    clock.wait(37.9)
    connection.get("/x")
    clock.wait(0.2)  # 58.1: the call could be counted in the next minute
    connection.get("/x")
    assert service.moments == [57.9, 60.25]


def test_at_the_begin_of_a_minute_nobody_starts_either(announced, service, clock):
    connection = announced()
    clock.wait(40)
    connection.get("/x")
    clock.wait(60)
    assert connection.budget.ahead(READ) == 0
    connection.get("/x")
    assert service.moments == [60.25, 120.25]


def test_two_calls_are_as_far_apart_as_is_asked_for(announced, service):
    connection = announced(gap=7)
    for _ in range(4):
        connection.get("/x")
    assert service.moments == [20, 27, 34, 60.25]


@pytest.mark.parametrize(
    "woken, starts", [(60.25, 60.25), (118.5, 118.5), (119.5, 120.25), (150, 150), (179.5, 180.25)]
)
def test_a_machine_that_slept_takes_no_slot_of_a_minute_that_is_over(
    announced, service, clock, monkeypatch, woken, starts
):
    connection, wait = announced(), clock.wait
    for _ in range(3):
        connection.get("/x")
    sleeps = [woken - 60.25]
    monkeypatch.setattr(clock, "wait", lambda s: wait(s + sleeps.pop() if sleeps and s > 0 else s))
    connection.get("/x")
    assert service.moments == [20, 20, 20, starts]
    for _ in range(5):
        connection.get("/x")
    assert max(Counter(moment // 60 for moment in service.moments).values()) == 3


def refused(headers=None):
    return (429, headers or {}, b"{}")


def test_a_429_without_headers_uses_up_the_minute(announced, service):
    service.says(refused(), GOOD)
    connection, other = announced(), announced()
    connection.get("/x")
    assert service.moments == [20, 60.25]
    service.says(refused(), GOOD)
    other.get("/x")
    assert service.moments == [20, 60.25, 60.25, 120.25]


def test_a_429_without_headers_leaves_the_other_kind_alone(announced, service, clock):
    service.says(refused())
    connection, other = announced(), announced()
    connection.retry = Retry(tries=1)
    with pytest.raises(RetryLaterError):
        connection.get("/x")
    assert other.budget.ahead(Request("GET", "/query")) == 0
    assert other.budget.ahead(READ) == pytest.approx(40.25)
    other.get("/query")
    assert service.moments == [20, 20]


def test_a_pause_that_the_service_asks_for_holds_up_every_kind_of_call(
    announced, service, clock, monkeypatch
):
    service.says(refused({"retry-after": "300"}), GOOD)
    connection, other, wait, held = announced(), announced(), clock.wait, []

    def look_and_wait(seconds):
        held.append(other.budget.ahead(Request("GET", "/query")))
        wait(seconds)

    monkeypatch.setattr(clock, "wait", look_and_wait)
    connection.get("/x")
    assert service.moments == [20, 320]
    assert 300 in held  # while the first one waits, a call of the other kind would do so too


IMPOSSIBLE = {
    "long ago": 0,
    "an hour ago": 1_704_067_220 - 3600,
    "in an hour": 1_704_067_220 + 3600,
    "in a thousand years": 1_704_067_220 + 3e10,
    "now in milliseconds": 1_704_067_220_000,
}


@pytest.mark.parametrize("reset", IMPOSSIBLE)
def test_a_429_with_an_impossible_time_uses_up_the_minute_and_no_more(announced, service, reset):
    service.says(refused({"X-Rate-Platform": f"3 0 {IMPOSSIBLE[reset]}"}), GOOD)
    announced().get("/x")
    assert service.moments == [20, 60.25]


@pytest.mark.parametrize("reset", IMPOSSIBLE)
def test_a_good_answer_with_an_impossible_time_says_nothing(announced, service, reset):
    service.says((200, {"X-Rate-Platform": f"3 0 {IMPOSSIBLE[reset]}"}, b"{}"))
    connection = announced()
    connection.get("/x")
    connection.get("/x")
    connection.get("/x")
    assert service.moments == [20, 20, 20]
    assert connection.budget.ahead(READ) == pytest.approx(40.25)


def test_nothing_left_means_to_wait_for_the_next_minute(announced, service, clock):
    service.says((200, {"X-Rate-Platform": f"3 0 {minute_of(clock, 1)}"}, b"{}"), GOOD)
    connection, other = announced(), announced()
    connection.get("/x")
    other.get("/x")
    connection.get("/query")
    assert service.moments == [20, 60.25, 60.25]


def test_what_others_have_used_counts_and_what_was_counted_stays(announced, service, clock):
    connection = announced()
    service.says((200, {"X-Rate-Platform": f"3 1 {minute_of(clock, 1)}"}, b"{}"))
    connection.get("/x")  # one call of ours, two of theirs in all: one is left
    service.says((200, {"X-Rate-Platform": f"3 2 {minute_of(clock, 1)}"}, b"{}"))
    connection.get("/x")  # an answer that was on its way for longer: it takes nothing back
    connection.get("/x")
    assert service.moments == [20, 20, 60.25]


def test_another_limit_than_the_documented_one_is_believed(announced, service, clock):
    service.says((200, {"X-Rate-Platform": f"2 1 {minute_of(clock, 1)}"}, b"{}"))
    connection = announced()
    for _ in range(3):
        connection.get("/x")
    assert service.moments == [20, 20, 60.25] and "2 platform calls" in repr(connection.budget)
    service.says((200, {"X-Rate-Platform": f"6 5 {minute_of(clock, 2)}"}, b"{}"))
    for _ in range(6):
        connection.get("/x")
    assert service.moments[3:] == [60.25] * 5 + [120.25]


def test_an_answer_that_comes_late_says_nothing_of_the_minute_that_is(announced, service, clock):
    "Asked for in one minute, answered for that one, and read in the next."
    connection = announced()

    def late():
        clock.wait(45)
        return {"X-Rate-Platform": f"3 0 {minute_of(clock, 1)}"}

    service.says((200, late, b"{}"), GOOD)
    connection.get("/x")
    for _ in range(4):
        connection.get("/x")
    assert service.moments == [20, 65, 65, 65, 120.25]


def test_an_answer_of_the_last_minute_takes_nothing_from_this_one(announced, service, clock):
    connection = announced()
    connection.get("/x")
    clock.wait(42)
    connection.get("/x")
    service.says((200, {"X-Rate-Platform": f"3 0 {minute_of(clock, 1)}"}, b"{}"), GOOD)
    connection.get("/x")
    connection.get("/x")
    connection.get("/x")
    assert service.moments == [20, 62, 62, 62, 120.25]


def test_a_service_whose_clock_is_ahead_is_believed_for_its_next_minute(announced, service, clock):
    service.says((200, {"X-Rate-Platform": f"3 0 {minute_of(clock, 2)}"}, b"{}"), GOOD)
    connection = announced()
    connection.get("/x")
    connection.get("/x")
    assert service.moments == [20, 120.25]


@pytest.mark.parametrize(
    "headers, ahead",
    [
        ({"Date": "Mon, 01 Jan 2024 00:00:50 GMT"}, 30),
        ({"Date": "Mon, 01 Jan 2024 00:00:10 GMT", "X-Rate-Platform": "3 2 1704067260"}, -10),
        ({"Date": "nonsense", "X-Rate-Platform": "3 2 1704067320"}, 40),
        ({"X-Rate-Platform": "3 2 1704067260", "X-Rate-Query": "5 5 1704067320"}, 40),
        ({"X-Rate-Day": "20 19 1704153600"}, None),
        ({}, None),
    ],
)
def test_by_how_much_the_clock_of_the_service_is_ahead(announced, service, headers, ahead):
    service.says((200, headers, b"{}"))
    connection = announced()
    assert connection.budget.ahead_by is None
    connection.get("/x")
    assert connection.budget.ahead_by == ahead


def test_a_429_holds_up_both_kinds_for_as_long_as_it_asks(announced, service, clock):
    service.says(refused({"Retry-After": "200"}), GOOD)
    connection, other = announced(), announced()
    connection.get("/x")
    other.get("/query")
    assert service.moments == [20, 220, 220]


def test_the_day_that_is_used_up_is_waited_for(announced, service, clock, caplog):
    connection = announced()
    for _ in range(20):
        connection.get("/query")
    assert connection.budget.left == 0
    assert connection.budget.ahead(READ) == pytest.approx(86_400 - service.moments[-1])
    connection.get("/query")
    assert service.moments[-1] == 86_400.25 and connection.budget.left == 19
    said = [record.getMessage() for record in caplog.records]
    assert said == ["All 20 calls of today are used; it goes on after midnight UTC, in 23.9 hours."]


def test_the_day_that_is_used_up_ends_a_run_that_may_not_wait(announced, service, clock):
    day = (200, {"X-Rate-Day": f"20 0 {MIDNIGHT}"}, b"{}")
    service.says(day)
    connection = announced(overnight=False)
    connection.get("/x")
    for path in ("/x", "/query"):
        with pytest.raises(RetryLaterError, match="All 20 calls of today") as told:
            connection.get(path)
        assert told.value.reason == "day_used_up" and told.value.retry_after == 86_380
    assert service.moments == [20] and clock.passed == 20
    clock.wait(86_380)
    connection.get("/x")
    assert service.moments == [20, 86_400.25]


@pytest.mark.parametrize(
    "reset", [0, MIDNIGHT - 3 * 86_400, MIDNIGHT + 3 * 86_400, MIDNIGHT * 1000]
)
def test_a_day_with_an_impossible_end_is_not_believed(announced, service, reset):
    service.says((200, {"X-Rate-Day": f"20 0 {reset}"}, b"{}"))
    connection = announced(overnight=False)
    connection.get("/x")
    connection.get("/x")
    assert service.moments == [20, 20] and connection.budget.left == 18


def test_what_others_have_used_of_the_day_counts(announced, service):
    service.says((200, {"X-Rate-Day": f"100 7 {MIDNIGHT}"}, b"{}"), GOOD)
    connection, other = announced(), announced()
    connection.get("/x")
    assert (connection.budget.left, other.budget.left) == (7, 7)
    other.get("/x")
    assert connection.budget.left == 6
    assert all_budgets(clock=connection.clock)["used_today"].max() == 94


def test_how_long_announced_calls_take_can_be_said_before(announced, service, clock):
    budget = announced().budget
    assert [budget.estimate(n) for n in (0, 1, 3)] == [0, 0, 0]
    assert budget.estimate(4) == pytest.approx(40.25)
    assert budget.estimate(6) == pytest.approx(40.25)
    assert budget.estimate(7) == pytest.approx(100.25)
    assert budget.estimate(5, "query") == 0 and budget.estimate(6, "query") == 40.25
    budget.reserve(READ)
    assert budget.estimate(2) == 0 and budget.estimate(3) == pytest.approx(40.25)
    assert budget.estimate(20, "query") == 86_380  # nineteen are left today
    assert budget.estimate(22, "query") == 86_380 + 24
    assert repr(budget) == (
        "<budget: 3 platform calls, 5 query calls a minute; 19 of 20 left today>"
    )


def test_a_user_is_told_why_a_minute_of_the_service_is_waited_for(announced, caplog):
    connection = announced()
    connection.budget.not_before(300)
    connection.get("/x")
    assert [record.getMessage() for record in caplog.records] == [
        "Waiting for 5 min 0 s, until 00:05:20 UTC: example ada platform asked for a pause, "
        "or its next minutes are taken."
    ]
