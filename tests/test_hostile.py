"""Services, files and neighbours that mean harm: nothing leaks, nothing goes astray, good rows
come out."""

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from test_secrets import leaks, verbose_without_this_file

from domostats.clients.domo.accounts import get_accounts, get_flat_accounts
from domostats.clients.domo.auth import get_session_token, sign_in
from domostats.clients.domo.credentials import AccessToken
from domostats.clients.domo.session import Session
from domostats.clients.domo.users import get_my_grants, get_users
from domostats.errors import (
    CredentialsError,
    DataError,
    DomostatsError,
    RetryLaterError,
    SettingsError,
)
from domostats.instances import Instance, find_instance, sandbox_note
from domostats.loading.database_file import store_path
from domostats.loading.files import write_file
from domostats.reports import accounts
from domostats.sealing import hides
from domostats.secrets import Secret

PROVIDERS = "/api/data/v2/datasources/providers"
SIGN_IN = "/api/content/v2/authentication"
SECRET = "planted-secret-17"


class Raw:
    "A server that answers every request with the same bytes, as they are."

    def __init__(self, reply):
        self.reply, self.seen = reply, []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.instance = Instance("raw", f"http://127.0.0.1:{self.socket.getsockname()[1]}")
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                caller, _ = self.socket.accept()
            except OSError:
                return
            with caller:
                caller.settimeout(10)
                self.seen.append(caller.recv(100_000))
                caller.sendall(self.reply)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def http(body, *headers, status="200 OK"):
    return (
        "\r\n".join(
            [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
        ).encode("latin-1")
        + body
    )


def outcome(call):
    try:
        return call()
    except DomostatsError as error:
        return error


# --- replies --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 302 Found\r\nLocation: /\xff\r\nContent-Length: 0\r\n\r\n",
        http(b"", "Location: http://[::1", status="302 Found"),
        http(b"", "Location: //[", status="302 Found"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabc\r\n0\r\n\r\n",
        http(b"[]", "Content-Encoding: gzip"),
        b"nonsense\r\n\r\n",
        b"",
        http(
            b"", "Retry-After: Mon, 01 Jan 2024 00:00:00 +99999999999999999999", status="429 Slow"
        ),
        http(b"[" * 100_000),
        http(b'[{"a":' * 600),
        http(b"[NaN]"),
        http(b'{"a": "\xff"}'),
        http(b"[1] [2]"),
        http(b'"\\ud800"'),
        b"HTTP/1.1 999 \r\n\r\n",
    ],
)
def test_whatever_is_answered_an_error_of_the_kit_comes_out(reply):
    with Raw(reply) as server:
        result = outcome(lambda: accounts.generate(server.instance, AccessToken(SECRET)))
        assert isinstance(result, DomostatsError) and result.reason
        assert not leaks(verbose_without_this_file(result), SECRET)


@pytest.mark.parametrize(
    "reply",
    [
        {"success": True, "sessionToken": SECRET + "\n"},
        {"success": True, "sessionToken": SECRET + "€"},
        {"success": True, "sessionToken": {"a": SECRET}},
        {"success": False, "sessionToken": SECRET},
        {"success": False, "twoFactorInfo": "x"},
        {"success": False, "reason": []},
        [],
        5,
        "text",
        None,
        {"success": True, "sessionToken": ""},
    ],
)
def test_a_strange_reply_to_the_sign_in_gives_no_session_and_shows_no_token(reply):
    with Raw(http(json.dumps(reply, ensure_ascii=False).encode())) as server:
        result = outcome(lambda: get_session_token(server.instance, "ada", "pw"))
        assert isinstance(result, CredentialsError) and result.reason == "no_token"
        assert not leaks(verbose_without_this_file(result), SECRET)


@pytest.mark.parametrize(
    "body",
    [
        b'{"success":true,"sessionToken":"planted-secret-17","userId":1',
        b"<html><title>Domo - Blocked</title>planted-secret-17",
    ],
)
def test_a_sign_in_that_breaks_off_behind_its_token_shows_no_token(body):
    with Raw(http(body)) as server:
        result = outcome(lambda: get_session_token(server.instance, "ada", "pw"))
        assert isinstance(result, DomostatsError) and not leaks(
            verbose_without_this_file(result), SECRET
        )


@pytest.mark.parametrize(
    "path, reply",
    [
        ("/api/content/v2/users/me", []),
        ("/api/content/v2/users/me", 5),
        ("/api/content/v2/users/me", {}),
        ("/api/content/v2/users/me", {"id": "x"}),
        ("/api/authorization/v1/roles/1/authorities", [{}]),
        ("/api/authorization/v1/roles/1/authorities", None),
    ],
)
def test_a_strange_answer_to_who_am_i_is_told(box, path, reply):
    box.serve(path, reply)
    result = outcome(lambda: get_my_grants(box))
    assert isinstance(result, DataError) and result.reason == "unexpected"


@pytest.mark.parametrize(
    "bad",
    [
        b'{"id": 2, "displayName": "\xff"}',
        b'{"id": 2, "new": ' + b"[" * 400 + b"]" * 400 + b"}",
        b'{"id": 2, "displayName": ' + b"9" * 5000 + b"}",
    ],
)
def test_one_unreadable_record_harms_no_other(box, bad):
    box.serve(PROVIDERS, b'[{"key": "k", "accounts": [{"id": 1}, ' + bad + b', {"id": 3}]}]')
    run = accounts.report.run(box, format_fn="v1")
    assert [row["account_id"] for row in run.rows if row["account_id"] != 2] == [1, 3] and len(
        run.rows
    ) + len(run.violations) == 3


def test_a_number_of_5000_digits_in_a_field_nobody_asked_for_is_only_counted(box):
    box.serve(PROVIDERS, b'[{"key": "k", "accounts": [{"id": 1, "new": ' + b"9" * 5000 + b"}]}]")
    assert accounts.report.run(box, format_fn="v1").unknown == {"new": 1}
    assert accounts.generate.__self__.run(
        box, format_fn=lambda account_obj: {"id": account_obj["id"]}
    ).rows == [{"id": 1}]


# --- secrets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda: get_accounts("acme", SECRET, debug=True),
        lambda: get_session_token("acme", "u", SECRET, "x"),
        lambda: get_session_token("u", SECRET),
        lambda: accounts.generate("acme", SECRET, formt="v1"),
        lambda: get_accounts("evil.com/", SECRET.encode()),
        lambda: get_users("evil.com/", session_token=SECRET),
        lambda: AccessToken(SECRET + "\udcff"),
        lambda: Session(Instance("acme", "https://acme.domo.com"), "u", SECRET + "\udcff"),
        lambda: AccessToken((SECRET + " ").encode()),
    ],
)
def test_a_wrong_call_shows_no_secret(call):
    with pytest.raises((TypeError, DomostatsError)) as caught:
        call()
    assert not leaks(verbose_without_this_file(caught.value), SECRET)


def test_a_secret_in_bytes_is_hidden_too():
    assert hides("b")(lambda a, b: b)(1, b"pw") == Secret("pw")


@pytest.mark.parametrize(
    "content",
    [
        "DOMO_PASSWORD=planted-secret-17ü".encode("latin-1"),
        "DOMO_PASSWORD=planted-secret-17".encode("utf-16"),
    ],
)
def test_an_env_file_of_another_encoding_is_told(content):
    Path(".env").write_bytes(content)
    result = outcome(lambda: sign_in("acme"))
    assert (
        isinstance(result, DomostatsError)
        and result.reason in ("bad_dotenv", "missing_secret")
        and not leaks(verbose_without_this_file(result), SECRET)
    )


@pytest.mark.parametrize(
    "content, reason",
    [
        ("DOMO_PASSWORD=planted-secret-17\n", "bad_settings"),
        ("[domostats]\n[instance.acme]\nurl = https://u:planted-secret-17@host\n", "bad_url"),
        ("[domostats]\n[instance.acme]\nurl =\n", "bad_url"),
        (f"[domostats]\n[instance.acme]\nurl = https://{'a' * 64}.example\n", "bad_url"),
    ],
)
def test_wrong_settings_are_told_and_not_shown(content, reason):
    Path("settings.ini").write_text(content)
    result = outcome(lambda: find_instance("acme"))
    assert (
        isinstance(result, SettingsError)
        and result.reason == reason
        and not leaks(verbose_without_this_file(result), SECRET)
    )


# --- where a secret goes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content, url",
    [
        (
            "[domostats]\n[instance.Acme]\nurl = https://data.acme.example\n",
            "https://data.acme.example",
        ),
        ("[instance.acme]\nurl = https://data.acme.example\n", "https://data.acme.example"),
        (
            "[DEFAULT]\nurl = https://evil.example\n[domostats]\n[instance.acme]\naccount = a\n",
            "https://acme.domo.com",
        ),
        ("[other]\nurl = https://evil.example\n", "https://acme.domo.com"),
    ],
)
def test_a_name_leads_where_its_section_says(content, url):
    Path("settings.ini").write_text(content)
    assert find_instance("ACME").url == url


def test_settings_that_are_named_must_be_there(monkeypatch):
    monkeypatch.setenv("DOMOSTATS_SETTINGS", "missing.ini")
    assert outcome(lambda: find_instance("acme")).reason == "no_settings"


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no owner here")
def test_a_file_of_a_stranger_above_me_is_not_obeyed(give_away):
    Path("settings.ini").write_text("[domostats]\n[instance.acme]\nurl = https://evil.example\n")
    Path(".env").write_text("DOMO_ACCESS_TOKEN=x\n")
    give_away("settings.ini", ".env")
    Path("mine").mkdir()
    os.chdir("mine")
    with pytest.warns(UserWarning, match="settings.ini belongs to another user"):
        assert find_instance("acme").url == "https://acme.domo.com"
    with pytest.warns(UserWarning, match=".env belongs to another user"):
        assert outcome(lambda: sign_in("acme")).reason == "missing_secret"


def note(**changes):
    path = sandbox_note("sandbox")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(json.dumps({"url": "http://127.0.0.1:1", "key": "k", "secrets": {}} | changes))
    path.chmod(0o600)
    return path


def test_an_impostor_on_the_port_of_a_dead_sandbox_is_not_believed(monkeypatch):
    monkeypatch.setenv("DOMO_ACCESS_TOKEN", SECRET)
    with Raw(http(b'{"proof": "k", "mark": "k"}')) as server:
        note(url=server.instance.url)
        assert outcome(lambda: get_flat_accounts("sandbox")).reason == "no_sandbox"
        assert server.seen and not any(SECRET.encode() in request for request in server.seen)


@pytest.mark.parametrize(
    "changes",
    [
        {"url": 5},
        {"url": "http://127.0.0.2:9\\@127.0.0.1"},
        {"url": "https://evil.example"},
        {"secrets": [1]},
        {"key": None},
        {"secrets": None},
    ],
)
def test_a_strange_note_is_no_sandbox(changes):
    note(**changes)
    assert outcome(lambda: find_instance("sandbox")).reason == "no_sandbox"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFO on this system")
def test_a_note_that_is_no_file_is_no_sandbox():
    path = note()
    path.unlink()
    os.mkfifo(path, 0o600)
    assert outcome(lambda: find_instance("sandbox")).reason == "no_sandbox"


def test_only_a_sandbox_is_found_by_a_note(box):
    sandbox_note("sandbox").rename(sandbox_note("acme"))
    assert find_instance("acme").url == "https://acme.domo.com"


def test_a_sandbox_is_never_given_the_secrets_of_the_environment(box, monkeypatch):
    monkeypatch.setenv("DOMO_ACCESS_TOKEN", SECRET)
    bare = Instance("sandbox", box.url, {"DOMO_USERNAME": Secret("ada")})
    assert outcome(lambda: sign_in(bare)).reason == "missing_secret"


# --- what is printed and written ------------------------------------------------------------------


def test_no_sign_of_a_service_commands_the_terminal(box):
    box.serve(
        "/api/content/v2/users/me",
        {
            "id": 0,
            "displayName": "\x1b[2J\x1b]0;owned\x07 \x9b1m[red]x[/red]",
            "emailAddress": "a\r\nb",
        },
    )
    done = subprocess.run(
        [sys.executable, "-m", "domostats", "check", box.name], capture_output=True, timeout=60
    )
    printed = done.stdout.decode() + done.stderr.decode()
    assert (
        done.returncode == 0
        and "[red]x[/red]" in printed
        and not {"\x1b", "\x07", "\x9b", "\r"} & set(printed)
    )


@pytest.mark.sampled(3)
@pytest.mark.parametrize("to", [".csv", "folder/accounts", "/dev/null"])
def test_what_looks_like_a_path_never_becomes_a_dataset(box, to):
    command = ["generate", "accounts", "--instance", box.name, "--to", to]
    done = subprocess.run(
        [sys.executable, "-m", "domostats", *command], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "SettingsError bad_destination" in done.stderr
    assert f"{Path(to).name} is neither .parquet nor .csv" in done.stderr
    assert [*Path.cwd().rglob("*")] == [] and not store_path().exists()
    assert Path("/dev/null").is_char_device()


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links on this system")
def test_a_write_that_happened_is_not_called_a_failure():
    import pyarrow as pa

    Path(".v.csv.zz.part").symlink_to("nowhere")
    assert write_file(pa.table({"a": [1]}), "v.csv") == 1 and Path("v.csv").read_text().split() == [
        '"a"',
        "1",
    ]


def test_an_endless_time_to_wait_is_no_time():
    with Raw(http(b"", "Retry-After: soon", status="429 Slow")) as server:
        result = outcome(lambda: get_accounts(server.instance, AccessToken("t")))
        assert isinstance(result, RetryLaterError) and result.retry_after is None
