"""Secrets are planted in whatever fails, and searched for in whatever that shows or writes; each
place of the search is shown to find one that is leaked there on purpose."""

import contextlib
import gzip
import http.server
import json
import logging
import multiprocessing
import os
import pickle
import socket
import sqlite3
import sys
import threading
import warnings
from pathlib import Path

import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import requests
from conftest import plant
from secret_search import (
    RICH,
    TRACEBACKS,
    VERBOSE,
    executed,
    forms,
    insides,
    leaks,
    leaks_in_files,
    listening,
    pickled,
    told_by,
)

from domostats import reports, sandbox
from domostats.clients.dash.auth import ApplicationAuth, UserAuth
from domostats.clients.dash.auth import sign_in as dash_sign_in
from domostats.clients.dash.browser import sign_in_with_browser
from domostats.clients.dash.kept_login import KeptLogin, login_from_token
from domostats.clients.dash.key_store import MemoryStore
from domostats.clients.dash.loads import create_load, put_file
from domostats.clients.dash.organisation import find_organisation
from domostats.clients.dash.queries import start_query
from domostats.clients.dash.results import download_result, open_result
from domostats.clients.datorama import datorama
from domostats.clients.datorama.auth import ApiToken
from domostats.clients.datorama.workspaces import get_workspaces
from domostats.clients.domo.accounts import get_accounts
from domostats.clients.domo.auth import get_session_token, sign_in
from domostats.clients.domo.credentials import AccessToken
from domostats.clients.domo.session import Session
from domostats.clients.domo.users import get_user_by_id, get_users
from domostats.credentials import find_secrets
from domostats.errors import DataError, DomostatsError, SettingsError
from domostats.instances import Instance
from domostats.loading.dash.config import DashConfig
from domostats.loading.dash.load import Load
from domostats.loading.files import write_file
from domostats.loading.store import Store
from domostats.sandbox.dash.faults import DASH_FAULTS
from domostats.sandbox.datorama.service import DATORAMA_FAULTS
from domostats.sandbox.faults import FAULTS
from domostats.secrets import Secret
from domostats.tracking.registry.api import make_observatory_api
from domostats.tracking.registry.client import RegistryClient
from domostats.tracking.registry.database import Database
from domostats.tracking.registry.service import make_service, serving
from domostats.transport.answer import Answer
from domostats.transport.connection import connect

PASSWORD = 'plänted "pass/word" 100% sure'
TOKEN = "planted+token/with=signs&more"
SESSION = "eyJwbGFudGVkIjoic2Vzc2lvbiJ9.Zx8Qp4Lm2Rt6Vb1Ny7Kd3Hs9.c0ffee5ec4e7d00d"
KEY = "5ec4e7-key-of-the-registry-0dfeed"
ALL = PASSWORD, TOKEN, SESSION, KEY


def failure(call, *kinds):
    "The error that a call ends in, and what is printed meanwhile."
    expected = kinds or (DomostatsError,)
    with listening() as heard:
        try:
            call()
        except expected as e:
            error = e
        else:
            error = None
    return error, heard()


QUICK = (
    "traceback",
    "inspect",
)  # the others take seconds for a long chain, and run in the tests that are slow


def assert_silent(call, *secrets, reason=None, kinds=(DomostatsError,), tools=QUICK):
    error, heard = failure(call, *kinds)
    assert error is not None, "it did not fail"
    if reason:
        assert getattr(error, "reason", None) == reason
    assert not leaks(told_by(error, tools), *(secrets or ALL))
    assert not leaks(heard, *(secrets or ALL))
    return error


# The search finds what is leaked on purpose, in each place.


@pytest.mark.parametrize("secret", ALL)
def test_the_search_finds_every_form_and_a_fragment(secret):
    for form in forms(secret):
        assert leaks(b"before " + form + b" after", secret)
    assert leaks(f"before {secret[:12]} after", secret)
    assert leaks(json.dumps({"a": json.dumps([secret])}), secret)
    assert not leaks("before <secret> after", secret)


LEAKS = {
    "message": "def fail(token):\n    raise ValueError(f'bad {token}')\n",
    "repr": "def fail(token):\n    raise ValueError([token])\n",
    "attribute": ("def fail(token):\n    error = ValueError()\n    error.given = {'a': token}\n"
        "    raise error\n"),
    "local": ("def fail(token):\n    held, token = {'header': token}, None\n"
        "    raise ValueError(len(held))\n"),
    "suppressed": ("def fail(token):\n    try:\n        int(token)\n    except ValueError:\n"
        "        raise KeyError() from None\n"),
    "below": ("def fail(token):\n    try:\n        inner(token)\n    except ValueError as e:\n"
        "        raise KeyError() from e\n\n\ndef inner(token):\n"
        "    raise ValueError(len(token))\n"),
    "exception object": "def fail(token):\n    (token.encode() + bytes([255])).decode()\n",
    "group": "def fail(token):\n    raise ExceptionGroup('x', [ValueError(token)])\n",
}  # fmt: skip


@pytest.fixture
def leaking(tmp_path):
    "Makes the `fail` of one place, in a file of its own, as a library would have it."

    def make(place):
        path = tmp_path / f"leak_{place.replace(' ', '_')}.py"
        path.write_text(LEAKS[place])
        space = {}
        exec(compile(LEAKS[place], path, "exec"), space)
        return space["fail"]

    return make


@pytest.mark.sampled(5)
@pytest.mark.parametrize("tool", TRACEBACKS)
@pytest.mark.parametrize("place", [place for place in LEAKS if place != "group"])
def test_the_search_finds_a_leak_in_a_traceback(tool, place, leaking):
    fail = leaking(place)
    for secret in (PASSWORD, TOKEN, SESSION):
        error, _ = failure(lambda: fail(secret), Exception)
        assert leaks(told_by(error, [tool]), secret)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="groups came with Python 3.11")
def test_the_search_finds_a_leak_in_a_group(leaking):
    error, _ = failure(lambda: leaking("group")(TOKEN), Exception)
    assert leaks(told_by(error, ["inspect"]), TOKEN)


class Holder:
    def __init__(self, token):
        self.token, self.fails = token, False

    def ask(self):
        raise ValueError()

    def __repr__(self):
        return "<holder>"


@pytest.mark.parametrize("tool", ["cgitb", "inspect", "ipython"])
def test_the_search_finds_a_leak_in_the_attributes_that_a_line_names(tool, tmp_path, monkeypatch):
    (tmp_path / "leaky_line.py").write_text("def fail(holder):\n    return len(holder.token) / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    leaky = __import__("leaky_line")
    error, _ = failure(lambda: leaky.fail(Holder(TOKEN)), ZeroDivisionError)
    assert leaks(TRACEBACKS[tool](error, error.__traceback__.tb_next.tb_next), TOKEN)
    del sys.modules["leaky_line"]


@pytest.mark.parametrize("thing", [Holder(TOKEN), {"a": [TOKEN]}, ValueError({"a": TOKEN})])
def test_the_search_finds_a_leak_in_a_thing_and_in_its_pickle(thing):
    assert leaks(insides(thing), TOKEN) and leaks(pickled(thing), TOKEN)


@pytest.mark.parametrize(
    "say",
    [
        lambda: logging.getLogger("urllib3.connectionpool").debug("GET /?token=%s", TOKEN),
        lambda: logging.getLogger("requests").debug({"X-DOMO-Authentication": TOKEN}),
        lambda: print(TOKEN),
        lambda: print(TOKEN, file=sys.stderr),
    ],
)
def test_the_search_finds_a_leak_in_what_is_printed(say):
    _, heard = failure(say)
    assert leaks(heard, TOKEN)


def test_the_search_finds_a_header_that_the_http_library_prints(box):
    "`debuglevel` is what people turn on; plain requests prints the header then."

    def send():
        return requests.get(
            box.url + "/api/content/v2/users", headers={"X-DOMO-Developer-Token": TOKEN}, timeout=10
        )

    _, heard = failure(send)
    assert leaks(heard, TOKEN)
    _, heard = failure(lambda: get_users(box, AccessToken(TOKEN)))
    assert not leaks(heard, TOKEN)


WRITERS = {
    "plain": lambda path: path.write_text(PASSWORD),
    "name": lambda path: (path.parent / TOKEN.replace("/", "_")[:20]).write_text(""),
    "json": lambda path: path.write_text(json.dumps({"a": PASSWORD})),
    "gzip": lambda path: path.write_bytes(gzip.compress(PASSWORD.encode() * 9)),
    "parquet": lambda path: pa.parquet.write_table(pa.table({"a": [PASSWORD] * 9}), path),
    "sqlite": lambda path: in_sqlite(path),
    "duckdb": lambda path: in_duckdb(path),
    "notebook": lambda path: path.write_bytes(msgspec.json.encode({"cells": [PASSWORD]})),
    "store": lambda path: Store().write("users", pa.table({"a": [PASSWORD]})),
    "state": lambda path: in_state("x.json"),
    "cache": lambda path: in_state("cache/y"),
}


def in_sqlite(path):
    with contextlib.closing(sqlite3.connect(path)) as con:
        con.execute("CREATE TABLE t (a)")
        con.execute("INSERT INTO t VALUES (?)", [PASSWORD.encode()])
        con.commit()


def in_duckdb(path):
    import duckdb

    with duckdb.connect(str(path)) as con:
        con.execute("CREATE TABLE t (a VARCHAR)")
        con.execute("INSERT INTO t VALUES (?)", [PASSWORD])


def in_state(name):
    path = Path(os.environ["XDG_STATE_HOME"]) / "domostats" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PASSWORD)


@pytest.mark.parametrize("writer", WRITERS)
def test_the_search_finds_a_leak_in_a_file(writer, tmp_path):
    assert not leaks_in_files(tmp_path, *ALL)
    WRITERS[writer](Path("leaked"))
    assert leaks_in_files(tmp_path, *ALL)


def test_the_search_finds_a_leak_in_an_answer_that_is_kept(box, tmp_path):
    box.domo.faults.serve(
        "/api/content/v2/users", [{"id": 1, "displayName": PASSWORD} for _ in range(50)]
    )
    reports.users.generate(box)
    assert any("spool" in name for name in leaks_in_files(tmp_path, PASSWORD))


# Every fault of the sandbox, at every door.


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    "A sandbox of Domo whose secrets are the planted ones, and its address by another name."
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name)))
        with sandbox.start() as box:
            plant(box, PASSWORD, TOKEN)
            yield box, Instance("planted", box.url)


def sessions(box):
    return list(box.domo.sign_in.sessions)


DOORS = {
    "sign-in": lambda box, at: get_session_token(at, box.username, PASSWORD),
    "access token": lambda box, at: get_accounts(at, AccessToken(TOKEN), debug_api=True),
    "text": lambda box, at: get_users(at, session_token=TOKEN, debug_api=True),
    "report": lambda box, at: reports.accounts.generate(at, AccessToken(TOKEN), debug_api=True),
    "session": lambda box, at: get_accounts(
        at, Session(at, box.username, PASSWORD), debug_api=True
    ),
    "one user": lambda box, at: get_user_by_id(at, AccessToken(TOKEN), 1),
}


TIERS = [
    pytest.param(QUICK, id="quick"),
    pytest.param([*TRACEBACKS], id="all", marks=pytest.mark.slow),
]


@pytest.mark.sampled(5)
@pytest.mark.parametrize("tools", TIERS)
@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_of_the_sandbox_shows_a_secret(planted, fault, tools):
    box, at = planted
    failed = 0
    for door, call in DOORS.items():
        for path in ("/api/content/v2/authentication", "/api/"):
            box.heal()
            box.fail(fault, path, times=None, seconds=0.01)
            error, heard = failure(lambda: call(box, at))
            failed += error is not None
            secrets = *ALL, *sessions(box)
            assert not leaks(heard, *secrets), door
            assert error is None or not leaks(told_by(error, tools), *secrets), door
    box.heal()
    assert failed or fault in (
        "slow",
        "repeated_page",
        "short_page",
        "shifted",
        "grown",
        "ignored_paging",
    )


@pytest.fixture(scope="module")
def agency(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        with sandbox.start_datorama() as box:
            yield box


@pytest.mark.parametrize("tools", TIERS)
@pytest.mark.parametrize("fault", DATORAMA_FAULTS)
def test_no_fault_of_the_other_sandbox_shows_one_either(agency, fault, tools):
    secrets = [token.reveal() for tokens in agency.tokens.values() for token in tokens]
    both = {user: str(tokens[0].reveal()) for user, tokens in agency.tokens.items()}
    for call in (
        lambda: datorama(both, instance=agency, verbose=True),
        lambda: datorama(str(agency.api_token.reveal()), instance=agency),
        lambda: get_workspaces(agency, str(agency.api_token.reveal()), debug_api=True),
    ):
        agency.heal()
        agency.fail(fault, times=None, seconds=0.01)
        error, heard = failure(call)
        assert not leaks(heard, *secrets)
        assert error is None or not leaks(told_by(error, tools), *secrets)
    agency.heal()


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        with sandbox.start_dash("planted", load_polls=0, queued_polls=0, running_polls=0) as box:
            yield box


def _redirect_of(address):
    "Where a browser ends that opens this address; nowhere if it cannot."
    try:
        reply = requests.get(address, allow_redirects=False, timeout=10)
    except requests.RequestException:
        return ""
    return reply.headers.get("location", "")


def _dash_doors(box, org, refresh):
    "What is asked of Comotion Dash, each as a function that is called."
    application = ApplicationAuth(org, box.client_id, str(box.client_secret.reveal()))
    person = UserAuth(org, login_from_token(org, Secret(refresh)))
    dash = dash_sign_in(box, application)

    def read_result():
        id = start_query(dash, "select 1")
        box.queries[id].thread.join(30)
        return open_result(dash, id).read() + download_result(dash, id, "x.csv").read_bytes()

    def load_rows():
        "Through the whole way of a load, whose record stays on disk."
        options = {"table_name": "ages", "load_as_service_client_id": "0", "fresh": True}
        load = Load(DashConfig(dash), track_rows_uploaded=True, show_progress=False, **options)
        load.upload_df(pd.DataFrame({"id": [1, 2]}))
        return load.commit()

    return (
        load_rows,
        lambda: create_load(dash_sign_in(box, person), "ab", "0"),
        lambda: application.fetch(None),
        lambda: put_file(dash, create_load(dash, "ab", "0"), "part_1", b"PAR1"),
        lambda: dash.post("/v2/query", {"query": "select 1"}, debug_api=True),
        read_result,
        lambda: sign_in_with_browser(org, KeptLogin(org, MemoryStore()), paste=_redirect_of),
    )


def _dash_secrets(box):
    "All that proves something at this sandbox by now."
    keys = [one for kept in box.store.keys.values() for one in (kept.secret, kept.token)]
    links = [signature for _, signature, _ in box.store.links.values()]
    tokens = [token for login in box.realm.logins for token in (*login.fresh, *login.spent)]
    given = [box.client_secret, *keys]
    return [*(str(one.reveal()) for one in given), *links, *tokens, *box.realm.grants]


@pytest.mark.sampled(12, a_day=6)
@pytest.mark.parametrize("tools", TIERS)
@pytest.mark.parametrize("fault", DASH_FAULTS)
def test_no_fault_of_the_lake_shows_a_secret_or_writes_one(lake, fault, tools, tmp_path):
    org = find_organisation(lake)
    for place in (None, "/auth/realms", f"/{lake.store.bucket}", "/results"):
        lake.heal()
        for call in _dash_doors(lake, org, str(lake.realm.log_in().reveal())):
            lake.faults.heal()
            lake.fail(fault, place, times=None if place else 1, seconds=0.01)
            error, heard = failure(call)
            secrets = _dash_secrets(lake)
            assert not leaks(heard, *secrets)
            assert error is None or not leaks(told_by(error, tools), *secrets)
    lake.heal()
    assert not leaks_in_files(tmp_path, *_dash_secrets(lake))


# Replies to a sign-in that no sandbox gives: a server of the test's own answers.


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.do_GET()

    def do_GET(self):
        status, headers, body, length = self.server.reply(self)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length or len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def answering(status=200, body=b"", headers=None, length=None, reply=None):
    """A `with` block in which a server answers every request like this; gives its `Instance`. A
    GET is refused where a POST is not."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    said = {"Content-Type": "application/json", **(headers or {})}
    whole = (status, said, body, length) if status >= 400 else (403, said, b"{}", None)
    server.reply = reply or (
        lambda request: (status, said, body, length) if request.command == "POST" else whole
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Instance("planted", f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()


GOOD = json.dumps({"success": True, "sessionToken": SESSION, "userId": 7}).encode()
COOKIE = {"Set-Cookie": f"DA-SID={SESSION}; HttpOnly", "X-Domo-Session-Ticket": SESSION}
REPLIES = {
    "a byte that is not UTF-8": ({"body": GOOD.replace(b"}", b', "name": "\xff"}')}, None),
    "such a byte in the token": (
        {"body": GOOD.replace(SESSION.encode(), SESSION.encode() + b"\xff")},
        "no_token",
    ),
    "such a byte in a key": ({"body": GOOD.replace(b"userId", b"user\xffId")}, None),
    "cut off": ({"body": GOOD[:-9]}, "truncated"),
    "cut off in the token": ({"body": GOOD[:60]}, "truncated"),
    "shorter than it says": ({"body": GOOD, "length": 900}, "cut"),
    "not JSON": ({"body": b"token=" + SESSION.encode()}, "not_json"),
    "a web page": ({"body": b"<html>" + GOOD}, "html"),
    "refused": ({"status": 401, "body": GOOD, "headers": COOKIE}, "bad_token"),
    "forbidden": ({"status": 403, "body": GOOD, "headers": COOKIE}, "unknown_instance"),
    "gone": ({"status": 404, "body": GOOD, "headers": COOKIE}, "not_found"),
    "misunderstood": ({"status": 400, "body": GOOD, "headers": COOKIE}, "bad_request"),
    "down": ({"status": 500, "body": GOOD, "headers": COOKIE}, "server_error"),
    "too many": ({"status": 429, "body": GOOD, "headers": COOKIE}, "rate_limited"),
    "elsewhere": (
        {"status": 302, "body": GOOD, "headers": {**COOKIE, "Location": f"/auth?ticket={SESSION}"}},
        "redirected",
    ),
    "two factors": (
        {
            "body": json.dumps(
                {
                    "success": True,
                    "sessionToken": None,
                    "twoFactorInfo": {"token": SESSION, "status": "REQUIRED"},
                }
            ).encode(),
            "headers": COOKIE,
        },
        "second_factor",
    ),
    "no success": ({"body": GOOD.replace(b"true", b"false"), "headers": COOKIE}, "no_token"),
    "half a character": ({"body": GOOD.replace(b'", "userId', b'\\ud800", "userId')}, "no_token"),
    "a line break": ({"body": GOOD.replace(b'", "userId', b'\\n", "userId')}, "no_token"),
    "not Latin": ({"body": GOOD.replace(b'", "userId', '\u0142", "userId'.encode())}, "no_token"),
    "a number nobody can hold": ({"body": GOOD.replace(b"7", b"1e999")}, None),
    "very deep": ({"body": GOOD.replace(b"7", b"[" * 3000 + b"]" * 3000)}, None),
    "a list": ({"body": b"[" + GOOD + b"]"}, "no_token"),
    "another shape": ({"body": json.dumps({"sessionToken": [SESSION]}).encode()}, "no_token"),
    "wrongly packed": ({"body": GOOD, "headers": {"Content-Encoding": "gzip"}}, "cut"),
}


@pytest.mark.sampled(5)
@pytest.mark.parametrize("tools", TIERS)
@pytest.mark.parametrize("reply", REPLIES)
def test_no_reply_to_a_sign_in_is_shown(reply, tools, tmp_path):
    how, reason = REPLIES[reply]
    with answering(**how) as at, warnings.catch_warnings():
        warnings.simplefilter("error")  # what warns fails here, with the reply around it
        session = Session(at, "ada@example.com", PASSWORD)
        error, heard = failure(session.ready, Exception)
        shown = heard + insides(session) + insides(connect(at, session))
        if error is None:
            error, heard = failure(lambda: get_accounts(at, session), Exception)
            shown += heard
        elif reason:
            assert error.reason == reason
    assert not leaks(shown, SESSION, PASSWORD)
    assert error is None or not leaks(told_by(error, tools), SESSION, PASSWORD)
    assert not leaks_in_files(tmp_path, SESSION, PASSWORD)


@pytest.mark.sampled(5)
@pytest.mark.parametrize("reply", REPLIES)
def test_the_answer_of_such_an_error_shows_nothing_either(reply):
    how, _ = REPLIES[reply]
    with answering(**how) as at:
        error, _ = failure(Session(at, "ada@example.com", PASSWORD).ready)
    answer = getattr(error, "answer", None)
    if answer is None:
        return
    held = {name: getattr(answer, name) for name in ("content", "headers", "url", "status")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(DataError):
            held["response"] = answer.response
    assert not leaks(repr(held) + repr(answer), SESSION)
    assert not leaks(pickled(answer) + pickled(error), SESSION)


def test_a_reply_that_sends_the_credential_back_is_kept_without_it():
    def echo(request):
        sent = request.headers["X-DOMO-Developer-Token"]
        return 403, {"Content-Type": "text/html", "X-Token": sent}, f"<p>{sent}".encode(), None

    with answering(reply=echo) as at:
        error = assert_silent(lambda: get_accounts(at, AccessToken(TOKEN)), reason="forbidden")
    assert error.answer.content == b"<p><secret>" and not leaks(repr(error.answer.headers), TOKEN)


@pytest.mark.parametrize(
    "name", ["Set-Cookie", "X-DOMO-Authentication", "Authorization", "X-Api-Key"]
)
def test_headers_that_hold_secrets_are_masked_and_others_stay(name):
    with answering(403, b"{}", {name: SESSION, "X-Node": "7"}) as at:
        error = assert_silent(lambda: get_accounts(at, AccessToken(TOKEN)), reason="forbidden")
    assert error.answer.headers[name.lower()] == "<secret>"
    assert error.answer.headers["x-node"] == "7"


def test_the_wire_carries_the_secrets_themselves():
    seen = {}

    def reply(request):
        seen.update({name.lower(): value for name, value in request.headers.items()})
        return 200, {"Content-Type": "application/json"}, b"[]", None

    with answering(reply=reply) as at:
        get_accounts(at, AccessToken(TOKEN))
        get_users(at, SESSION)
    assert seen["x-domo-developer-token"] == TOKEN and seen["x-domo-authentication"] == SESSION


# Nothing answers, or somebody interrupts.


@pytest.fixture
def closed():
    "The address of a port at which nothing listens."
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return Instance("closed", f"http://127.0.0.1:{port}")


BOTH = {"ada": TOKEN, "bob": SESSION}
UNANSWERED = {
    "datorama of two": lambda at: datorama(BOTH, instance=at),
    "of lists": lambda at: datorama({"ada": [TOKEN, SESSION]}, instance=at),
    "of tuples": lambda at: datorama({"ada": (TOKEN,), "bob": (SESSION,)}, instance=at),
    "of bytes": lambda at: datorama({"ada": TOKEN.encode()}, instance=at),
    "of one": lambda at: datorama(TOKEN, instance=at),
    "of objects": lambda at: datorama(ApiToken(TOKEN, "ada"), instance=at),
    "of secrets": lambda at: datorama({"ada": Secret(TOKEN)}, instance=at),
    "workspaces": lambda at: get_workspaces(at, BOTH),
    "sign-in": lambda at: get_session_token(at, "ada@example.com", PASSWORD),
    "accounts": lambda at: get_accounts(at, TOKEN),
    "report": lambda at: reports.accounts.generate(at, TOKEN),
    "registry": lambda at: RegistryClient(at.url, KEY).get("dataset", id=1),
}


@pytest.mark.parametrize("tools", TIERS)
@pytest.mark.parametrize("call", UNANSWERED)
def test_what_nothing_answers_shows_no_secret(call, closed, tools):
    assert_silent(lambda: UNANSWERED[call](closed), reason="unreachable", tools=tools)


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError])
@pytest.mark.parametrize("call", ["accounts", "sign-in", "datorama of two"])
def test_nor_does_what_interrupts_the_library(call, raised, closed, monkeypatch):
    def interrupted(self, request, **more):
        held = dict(request.headers), request.body  # as the library's own frames hold them
        raise raised(len(held))

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", interrupted)
    assert_silent(lambda: UNANSWERED[call](closed), kinds=(BaseException,))


# What is malformed.


class Pydantic:
    def __init__(self, value):
        self.value = value

    def get_secret_value(self):
        return self.value

    def __repr__(self):
        return "SecretStr('**********')"


BAD = {
    "line break": TOKEN + "\n",
    "blank": TOKEN + " x",
    "not Latin": TOKEN + "\u0142",
    "Latin": TOKEN + "ß",
    "half a character": TOKEN + "\ud800",
    "not UTF-8": TOKEN.encode() + b"\xff",
    "NUL": TOKEN + "\0",
    "an object": Pydantic(TOKEN + "\n"),
}
TAKERS = {
    "AccessToken": lambda bad: AccessToken(bad),
    "ApiToken": lambda bad: ApiToken(bad, "ada"),
    "get_accounts": lambda bad: get_accounts("acme", bad),
    "sign_in": lambda bad: sign_in("acme", bad),
    "datorama": lambda bad: datorama({"ada": bad, "bob": TOKEN}),
    "workspaces": lambda bad: get_workspaces("eu", [bad, TOKEN]),
    "registry": lambda bad: make_observatory_api("https://registry.example.com", bad).get_dataset(
        1
    ),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("taker", TAKERS)
def test_a_malformed_secret_is_named_and_not_shown(taker, bad):
    error = assert_silent(lambda: TAKERS[taker](BAD[bad]), TOKEN)
    assert error.reason == "malformed_secret" or taker == "workspaces"


@pytest.mark.parametrize("bad", [b"\xff" + TOKEN.encode(), TOKEN + "\ud800"])
@pytest.mark.parametrize("name", ["DOMO_ACCESS_TOKEN", "DOMO_PASSWORD"])
def test_a_malformed_variable_shows_neither_itself_nor_the_environment(bad, name, monkeypatch):
    monkeypatch.setenv("DOMO_USERNAME", "ada@example.com")
    monkeypatch.setenv("DOMO_PASSWORD", PASSWORD)
    monkeypatch.setenv("DATORAMA_API_TOKEN", SESSION)
    value = bad if isinstance(bad, bytes) else bad.encode("utf-8", "surrogatepass")
    os.environb[name.encode()] = value
    try:
        assert_silent(lambda: get_accounts("acme"), reason="malformed_secret")
    finally:
        del os.environb[name.encode()]


def test_a_missing_secret_is_reported_without_the_others(monkeypatch):
    monkeypatch.setenv("DOMO_PASSWORD", PASSWORD)
    Path(".env").write_text(f"DOMO_PASSWORD__ACME={SESSION}\n")
    assert_silent(lambda: get_accounts("acme"), reason="missing_secret")
    assert_silent(lambda: find_secrets(Instance("acme", "https://acme.domo.com"), ("X",)))


def test_an_address_in_the_settings_keeps_its_password():
    Path("settings.ini").write_text(
        f"[domostats]\n[instance.acme]\nurl = https://ada:{TOKEN}@acme.domo.com\n"
    )
    assert_silent(lambda: get_accounts("acme", SESSION), reason="bad_url")


# The registry.

ADDRESSES = {
    "user and password": (f"https://ada:{KEY}@registry.example.com", "bad_registry_url"),
    "plain http": (f"http://ada:{KEY}@registry.example.com", "bad_registry_url"),
    "key in the query": (f"https://registry.example.com/?key={KEY}", "bad_registry_url"),
    "key behind #": (f"https://registry.example.com/#{KEY}", "bad_registry_url"),
    "a bad port": (f"https://registry.example.com:{KEY}", "bad_registry_url"),
    "another database": (f"mysql://ada:{KEY}@127.0.0.1/x", "bad_registry_url"),
    "no database": (f"postgresql://ada:{KEY}@127.0.0.1", "bad_registry_url"),
    "a port that is none": (f"postgresql://ada:{KEY}@127.0.0.1:x{KEY}/x", "bad_registry_url"),
    "@ in the password": (f"postgresql://ada:a@{KEY}@127.0.0.1:1/x", "bad_registry_url"),
    "nothing there": (f"postgresql://ada:{KEY}@127.0.0.1:1/x", "no_registry"),
    "nothing there, in the query": (f"postgresql://127.0.0.1:1/x?password={KEY}", "no_registry"),
    "no such option": (f"postgresql://ada@127.0.0.1:1/x?token={KEY}", None),
}


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("door", [make_observatory_api, Database, "settings"])
def test_no_address_of_a_registry_shows_its_password(address, door):
    url, reason = ADDRESSES[address]
    if door is Database and url.startswith("http"):
        reason = "bad_registry_url"
    if door == "settings":
        Path("settings.ini").write_text(f"[domostats]\nregistry = {url}\n")

        def door(url):
            return make_observatory_api()

    assert_silent(lambda: door(url), KEY, reason=reason)


@pytest.mark.parametrize(
    "url",
    [
        f"registry.example.com/{KEY}@",
        f"ftp://{KEY}@x/y",
        f"https://{KEY}:{KEY}",
        "://" + KEY,
        KEY * 9,
    ],
)
def test_nor_does_a_bad_one_its_key(url):
    with contextlib.suppress(OSError):
        assert_silent(lambda: RegistryClient(url, SESSION), KEY, SESSION, reason="bad_registry_url")


@pytest.mark.parametrize(
    "status, body",
    [
        (401, {"reason": "no_key", "message": f"{KEY} is no key"}),
        (200, KEY),
        (500, "oops"),
        (200, [KEY]),
        (302, ""),
    ],
)
def test_a_registry_that_sends_the_key_back_is_not_quoted(status, body):
    said = {"Content-Type": "application/json"}
    with answering(reply=lambda request: (status, said, json.dumps(body).encode(), None)) as at:
        assert_silent(lambda: make_observatory_api(at.url, KEY).get_dataset(1), KEY)


def test_a_registry_in_use_shows_no_key(tmp_path):
    with serving(make_service(Database("r.sqlite"), KEY, SESSION)) as url:
        api = make_observatory_api(url, KEY)
        with listening() as heard:
            assert api.get_organisations() == []
        for wrong in (TOKEN, SESSION):
            other = make_observatory_api(url, wrong)
            assert_silent(lambda: other.delete_organisation(1))
        assert not leaks(
            heard() + insides(api) + insides(api.backend) + insides(api.backend.caller.http), *ALL
        )
    with pytest.raises(SettingsError) as caught:
        make_service(Database("r.sqlite"), "", SESSION)
    assert not leaks(told_by(caught.value), *ALL) and not leaks_in_files(tmp_path, *ALL)


@pytest.mark.slow
def test_a_wrong_password_of_postgresql_is_not_shown(postgres):
    address = postgres()
    first = Database(address)
    with first.writing() as con:
        con.exec_driver_sql(f"CREATE ROLE planted LOGIN PASSWORD '{KEY}'")
    import sqlalchemy as sa

    url = sa.make_url(address).set(username="nobody-here", password=KEY)
    assert_silent(lambda: Database(url.render_as_string(hide_password=False)), KEY)
    second = sa.make_url(address).set(password=KEY).render_as_string(hide_password=False)
    with contextlib.suppress(DomostatsError):
        assert not leaks(insides(Database(second)) + insides(Database(second).engine), KEY)


# Every class of error, and what is pickled.


def classes_of(base):
    return [base, *(below for one in base.__subclasses__() for below in classes_of(one))]


@pytest.mark.parametrize("kind", classes_of(DomostatsError))
def test_no_class_of_error_shows_the_answer_to_a_sign_in(kind):
    with answering(401, GOOD, COOKIE) as at:
        given, _ = failure(Session(at, "ada@example.com", PASSWORD).ready)
    assert isinstance(given.answer, Answer)

    def fail():
        raise kind("It failed.", "failed", given.answer, secret=Secret(TOKEN))

    error = assert_silent(fail, reason="failed")
    with pytest.raises(TypeError):
        pickle.dumps(error)  # it holds a `Secret`
    del error.secret
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind and again.answer.status == 401
    assert b"secret" in bytes(again.answer.content) and not leaks(insides(again), *ALL)


def fail_in_a_child(url, token):
    try:
        get_accounts(Instance("planted", url), token)
    except DomostatsError as e:
        return e


@pytest.mark.slow
def test_errors_come_back_from_other_processes(closed):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        error = pool.apply(fail_in_a_child, (closed.url, TOKEN))
    assert error.reason == "unreachable" and not leaks(told_by(error), *ALL)


def test_nothing_that_holds_a_secret_shows_or_pickles_it(planted):
    box, at = planted
    session = get_session_token(at, box.username, PASSWORD)
    things = [
        Secret(PASSWORD),
        AccessToken(TOKEN),
        ApiToken(TOKEN, "ada"),
        session,
        connect(at, session),
        connect(at, session).http,
        sign_in(at, TOKEN),
        at,
        get_accounts(at, session),
        {"a": [Secret(PASSWORD)]},
        [AccessToken(TOKEN)],
    ]
    secrets = *ALL, *sessions(box)
    for thing in things:
        assert not leaks(insides(thing), *secrets), thing
    for thing in (Secret(PASSWORD), AccessToken(TOKEN), session, connect(at, session)):
        with pytest.raises(TypeError):
            pickle.dumps(thing)


# Files and notebooks.


def test_nothing_written_anywhere_holds_a_secret(planted, monkeypatch, tmp_path):
    box, at = planted
    Path("settings.ini").write_text(
        f"[domostats]\nstore = store.duckdb\n[instance.planted]\nurl = {box.url}\n"
    )
    monkeypatch.setenv("DOMO_ACCESS_TOKEN", TOKEN)
    monkeypatch.setenv("DOMO_PASSWORD", PASSWORD)
    session = get_session_token("planted", box.username, PASSWORD)
    run = reports.accounts.report.run("planted", session)
    for name in ("accounts.parquet", "accounts.csv"):
        write_file(run.table, name)
    Store().write("accounts", run.table)
    reports.users.generate("planted")
    for fault in ("truncated", "html", "server_error", "cut"):
        box.fail(fault, "/api/", times=None)
        assert_silent(lambda: reports.users.generate("planted", fresh=True))
        box.heal()
    written = [one for one in tmp_path.rglob("*") if one.is_file()]
    assert {path.suffix for path in written} >= {".parquet", ".csv", ".duckdb", ".ini"}
    assert any("spool" in str(path) for path in written)
    assert not leaks_in_files(tmp_path, *ALL, *sessions(box))


CELLS = [
    (
        "import os\nfrom domostats import reports\n"
        "from domostats.clients.datorama import datorama\n"
        "from domostats.clients.domo.auth import *\n"
        "from domostats.clients.domo.accounts import get_accounts\n"
        "from domostats.clients.domo.users import get_user_by_id\n"
        "from domostats.settings import *\n"
        "from domostats.tracking.registry.api import make_observatory_api"
    ),
    (
        "import http.client, logging\nlogging.basicConfig(level=0)\n"
        "http.client.HTTPConnection.debuglevel = 1"
    ),
    (
        "session = get_session_token('planted', os.environ['DOMO_USERNAME'], "
        "os.environ['DOMO_PASSWORD'])\nsession"
    ),
    (
        "sign_in('planted'), sign_in('planted', session), vars(session), "
        "Secret(os.environ['DOMO_PASSWORD']).reveal()"
    ),
    "get_accounts('planted', session, debug_api=True)",
    "get_session_token('planted', 'nobody@example.com', os.environ['DOMO_PASSWORD'])",
    "get_session_token(os.environ['DOMO_PASSWORD'], 'nobody', 'planted')",
    "get_session_token('planted', os.environ['DOMO_PASSWORD'], 'ada@example.com')",
    "get_accounts('planted', AccessToken(os.environ['DOMO_TOKEN'] + '!'))",
    "get_accounts('planted', os.environ['DOMO_TOKEN'] + chr(10))",
    "get_accounts(os.environ['DOMO_TOKEN'], 'planted')",
    "get_user_by_id('planted', session, os.environ['DOMO_TOKEN'])",
    "reports.accounts.generate('planted', os.environ['DOMO_TOKEN'])",
    (
        "datorama({'ada': os.environ['DOMO_TOKEN'], 'bob': os.environ['DOMO_PASSWORD']}, "
        "instance=Instance('nobody', 'http://127.0.0.1:9'), restore_spaces=True)"
    ),
    (
        "datorama({os.environ['DOMO_KEY']: 'ada'}, instance=Instance('nobody', "
        "'http://127.0.0.1:9'), restore_spaces=True)"
    ),
    "make_observatory_api('postgresql://ada:' + os.environ['DOMO_KEY'] + '@127.0.0.1:1/x')",
    "make_observatory_api('https://ada:' + os.environ['DOMO_KEY'] + '@127.0.0.1:1/x')",
]


@pytest.mark.slow
@pytest.mark.parametrize("tool", [VERBOSE, RICH])
def test_a_saved_notebook_holds_no_secret(planted, tool):
    pytest.importorskip("nbclient")
    box, at = planted
    Path("settings.ini").write_text(f"[domostats]\n[instance.planted]\nurl = {box.url}\n")
    environment = {
        **os.environ,
        "DOMO_USERNAME": box.username,
        "DOMO_PASSWORD": PASSWORD,
        "DOMO_TOKEN": TOKEN,
        "DOMO_KEY": KEY,
    }
    saved = executed(CELLS, tool, environment)
    assert (
        b"session of" in saved
        and saved.count(b'"output_type": "error"') + saved.count(b"Traceback") >= 10
    )
    assert not leaks(saved, *ALL, *sessions(box))


@pytest.mark.slow
@pytest.mark.parametrize("tool", [VERBOSE, RICH])
@pytest.mark.parametrize(
    "leak",
    [
        "os.environ['DOMO_TOKEN']",
        "print(os.environ['DOMO_TOKEN'])",
        "raise ValueError(os.environ['DOMO_TOKEN'])",
        "def inner(token):\n    raise ValueError(len(token))\ninner(os.environ['DOMO_TOKEN'])",
    ],
)
def test_the_search_finds_a_leak_in_a_saved_notebook(tool, leak):
    pytest.importorskip("nbclient")
    environment = {**os.environ, "DOMO_TOKEN": TOKEN}
    assert leaks(executed(["import os", leak], tool, environment), TOKEN)
