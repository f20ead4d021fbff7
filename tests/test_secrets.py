"""Planted secrets are searched for in everything the kit shows or writes, in every spelling, and
one leak is planted to prove the search."""

import base64
import json
import logging
import os
import pickle
import sqlite3
import subprocess
import sys
import traceback
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from conftest import plant

from domostats import domojupyter as dj
from domostats.clients.domo.accounts import get_accounts
from domostats.clients.domo.auth import get_session_token, sign_in
from domostats.clients.domo.credentials import AccessToken
from domostats.clients.domo.session import Session
from domostats.clients.domo.users import get_users
from domostats.errors import DomostatsError
from domostats.instances import Instance, find_instance
from domostats.loading.files import write_file
from domostats.loading.store import Store
from domostats.reports import accounts
from domostats.secrets import Secret

PASSWORD = 'plänted "pass/word" 100%'
TOKEN = "planted+token/with=signs&more"


def spellings(secret):
    """The ways in which a secret might stand somewhere: plain, in a URL, in JSON, in base64 at
    any offset."""
    raw = secret.encode()
    encoded = [
        base64.b64encode(b"\0" * shift + raw)[(0, 2, 3)[shift] :].rstrip(b"=")[:-1]
        for shift in range(3)
    ]
    return {
        raw,
        repr(secret)[1:-1].encode(),
        quote(secret).encode(),
        quote(secret, safe="").encode(),
        quote_plus(secret).encode(),
        json.dumps(secret)[1:-1].encode(),
        json.dumps(secret, ensure_ascii=False)[1:-1].encode(),
        *encoded,
        *(part.replace(b"+", b"-").replace(b"/", b"_") for part in encoded),
    }


def leaks(shown, *secrets):
    shown = shown if isinstance(shown, bytes) else str(shown).encode("utf-8", "backslashreplace")
    return [spelling for secret in secrets for spelling in spellings(secret) if spelling in shown]


@pytest.mark.parametrize(
    "leak",
    [
        lambda s: s,
        lambda s: json.dumps({"password": s}),
        lambda s: f"http://u:{quote(s, safe='')}@x",
        lambda s: base64.b64encode(s.encode()).decode(),
        lambda s: base64.b64encode(f"ada:{s}".encode()).decode(),
        lambda s: repr([s]),
    ],
)
@pytest.mark.parametrize("secret", [PASSWORD, TOKEN])
def test_the_search_finds_a_leak(leak, secret):
    assert leaks(f"before {leak(secret)} after", secret) and not leaks(
        "before <secret> after", secret
    )


@pytest.fixture
def planted(box, monkeypatch):
    "A sandbox whose secrets are the planted ones."
    plant(box, PASSWORD, TOKEN)
    address = Instance("planted", box.url)
    Path("settings.ini").write_text(
        f"[domostats]\nstore = store.duckdb\n[instance.planted]\nurl = {box.url}\n"
    )
    monkeypatch.setenv("DOMO_USERNAME", box.username)
    return box, address


FAULTS = [
    "wrong_password",
    "locked",
    "second_factor",
    "no_token",
    "empty",
    "unknown_instance",
    "blocked",
    "blocked_redirect",
    "redirect",
    "server_error",
    "truncated",
    "html",
    "cut",
    "rate_limited",
    "not_json",
    "forbidden",
    "not_found",
]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("fault", FAULTS)
def test_no_error_and_no_verbose_traceback_shows_a_secret(planted, fault, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    box, address = planted
    for path, call in (
        (
            "/api/content/v2/authentication",
            lambda: get_session_token(address, box.username, PASSWORD),
        ),
        ("/api/data", lambda: accounts.generate(address, AccessToken(TOKEN), debug_api=True)),
        ("/api/data", lambda: accounts.generate(address, TOKEN, debug_api=True)),
        ("/api/content", lambda: get_users(address, session_token=TOKEN)),
        (
            "/api/data",
            lambda: accounts.generate(
                address, get_session_token(address, box.username, PASSWORD), debug_api=True
            ),
        ),
    ):
        box.heal()
        box.fail(fault, path, times=None)
        try:
            call()
        except DomostatsError as error:
            assert not leaks(
                verbose_without_this_file(error)
                + repr(error)
                + str(vars(error))
                + repr(getattr(error.answer, "headers", "")),
                PASSWORD,
                TOKEN,
                *sessions(box),
            )
    assert not leaks(caplog.text + "".join(capfd.readouterr()), PASSWORD, TOKEN, *sessions(box))


def sessions(box):
    return list(box.domo.sign_in.sessions)


def verbose_without_this_file(error):
    "Every frame but those of this file, which holds the planted secrets itself."
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    chain, texts = shown, []
    while chain:
        texts += [
            f"{frame.name} {frame.line} {frame.locals}"
            for frame in chain.stack
            if frame.filename != __file__
        ]
        texts += chain.format_exception_only()
        chain = chain.__cause__ or chain.__context__
    return "\n".join(texts)


@pytest.mark.parametrize("failing", ["connect", "interrupt", "malformed"])
def test_nor_does_what_goes_wrong_below_the_library(planted, failing, monkeypatch):
    import requests

    box, address = planted

    def call():
        return get_accounts(address, AccessToken(TOKEN))

    if failing == "connect":
        box.stop()
    if failing == "interrupt":

        def interrupted(self, request, **more):
            headers = dict(
                request.headers
            )  # a frame that holds the secret, as the library's own do
            raise KeyboardInterrupt(len(headers))

        monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", interrupted)
    if failing == "malformed":

        def call():
            return AccessToken(TOKEN + "\n")

    with pytest.raises((DomostatsError, KeyboardInterrupt)) as caught:
        call()
    assert not leaks(verbose_without_this_file(caught.value), TOKEN)


def test_no_repr_shows_a_secret(planted):
    box, address = planted
    session = get_session_token(address, box.username, PASSWORD)
    things = [
        Secret(PASSWORD),
        AccessToken(TOKEN),
        session,
        sign_in(address, session),
        find_instance(box.name),
        box,
        address,
        get_accounts(address, session),
        Session(address, box.username, PASSWORD),
        {"a": [Secret(PASSWORD)]},
    ]
    shown = "".join(f"{thing!r} {thing!s} {thing}" for thing in things)
    assert not leaks(shown, PASSWORD, TOKEN, *sessions(box))
    for thing in (Secret(PASSWORD), session):
        with pytest.raises(TypeError):
            pickle.dumps(thing)


def test_a_missing_secret_is_reported_without_the_others(planted, monkeypatch):
    box, address = planted
    monkeypatch.delenv("DOMO_USERNAME")
    monkeypatch.setenv("DOMO_PASSWORD", PASSWORD)
    Path(".env").write_text("DOMO_PASSWORD__PLANTED=" + repr(TOKEN) + "\n")
    with pytest.raises(DomostatsError) as caught:
        accounts.generate("planted")
    assert caught.value.reason == "missing_secret" and not leaks(
        verbose_without_this_file(caught.value), PASSWORD, TOKEN
    )


def test_nothing_written_holds_a_secret(planted, monkeypatch, tmp_path):
    box, address = planted
    monkeypatch.setenv("DOMO_ACCESS_TOKEN", TOKEN)
    monkeypatch.setenv("DOMO_PASSWORD", PASSWORD)
    dj.attach(
        accounts={"credentials": {"password": PASSWORD, "token": Secret(TOKEN)}},
        outputs=["accounts"],
    )
    session = get_session_token(address, box.username, PASSWORD)
    frame = accounts.generate("planted", session)
    dj.write_dataframe(frame, "accounts")
    run = accounts.report.run("planted")
    for name in ("accounts.parquet", "accounts.csv"):
        write_file(run.table, name)
    Store().write("users", run.table)
    with sqlite3.connect("accounts.sqlite") as database:
        frame.drop(columns=["Created_Date", "Modified_Date"]).to_sql("accounts", database)
    written = [path for path in Path.cwd().rglob("*") if path.is_file()]
    assert {path.suffix for path in written} >= {".parquet", ".csv", ".duckdb", ".sqlite"}
    for path in written:
        assert not leaks(path.read_bytes(), PASSWORD, TOKEN, *sessions(box)), path.name
    Path("leaked.txt").write_text(PASSWORD)
    assert leaks(Path("leaked.txt").read_bytes(), PASSWORD)


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "command",
    [
        ["check", "planted"],
        ["generate", "accounts", "--instance", "planted", "--to", "a.parquet"],
        ["reports"],
        ["check", "nobody-here"],
    ],
)
def test_no_command_prints_a_secret(planted, command):
    environment = {**os.environ, "DOMO_ACCESS_TOKEN__PLANTED": TOKEN, "DOMO_PASSWORD": PASSWORD}
    done = subprocess.run(
        [sys.executable, "-m", "domostats", *command],
        capture_output=True,
        env=environment,
        timeout=120,
    )
    assert done.stdout + done.stderr and not leaks(done.stdout + done.stderr, TOKEN, PASSWORD)


@pytest.mark.slow
def test_a_saved_notebook_holds_no_secret(planted):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    box, address = planted
    cells = [
        "%xmode Verbose",
        (
            "import os\nfrom domostats.clients.domo.auth import *\n"
            "from domostats.clients.domo.accounts import get_accounts\n"
            "from domostats.settings import *"
        ),
        (
            "session = get_session_token('planted', os.environ['DOMO_USERNAME'], "
            "os.environ['DOMO_PASSWORD'])\nsession"
        ),
        "sign_in('planted'), sign_in('planted', session)",
        "get_accounts('planted', session, debug_api=True)",
        "get_session_token('planted', 'nobody', os.environ['DOMO_PASSWORD'])",
        "get_accounts('planted', AccessToken(os.environ['DOMO_TOKEN'] + '!'))",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    os.environ.update(DOMO_PASSWORD=PASSWORD, DOMO_TOKEN=TOKEN)
    try:
        nbclient.NotebookClient(
            notebook, kernel_name="python3", timeout=120, allow_errors=True
        ).execute()
    finally:
        del os.environ["DOMO_PASSWORD"], os.environ["DOMO_TOKEN"]
    saved = nbformat.writes(notebook)
    assert "wrong_password" in saved or "Domo does not know this user" in saved
    assert "session of" in saved and not leaks(saved, PASSWORD, TOKEN, *sessions(box))
