"""Where a secret may go: to the address that was asked for, over https or within this machine,
and nowhere else."""

import http.server
import json
import threading
from pathlib import Path

import pytest

from domostats import reports, sandbox
from domostats.clients.domo.credentials import AccessToken
from domostats.credentials import find_secrets
from domostats.errors import SettingsError
from domostats.instances import Instance, check_url, find_instance, is_loopback
from domostats.settings import setting
from domostats.transport.connection import Connection

SECRET = "planted-4711-secret"

ELSEWHERE = [
    "http://acme.domo.com",
    "http://localhost.acme.com",
    "http://evil-localhost",
    "http://notlocalhost",
    "http://acme.localhost.com",
    "http://127.0.0.1.acme.com",
    "http://1270.0.0.1",
    "http://128.0.0.1",
    "http://[::2]",
    "http://10.0.0.1",
    "http://0.0.0.0",
    "https://user:password@acme.domo.com",
    "https://acme.domo.com/path",
    "https://acme.domo.com?query=1",
    "https://acme.domo.com#part",
    "https://acme.domo.com:99999",
    "https://",
    "ftp://localhost",
    "//localhost",
    "https://acme domo.com",
    "https://acme.domo.com\n.evil.com",
]
FINE = [
    "https://acme.domo.com",
    "https://acme.domo.com:8443",
    "https://[2001:db8::1]",
    "http://localhost:8000",
    "http://127.0.0.1:8000",
    "http://127.9.9.9",
    "http://[::1]:8000",
]


@pytest.mark.parametrize("url", ELSEWHERE)
def test_an_address_that_is_neither_https_nor_this_machine_is_refused(url):
    with pytest.raises(SettingsError) as caught:
        check_url(url, "acme")
    assert caught.value.reason == "bad_url" and "password" not in str(caught.value)
    with pytest.raises(SettingsError):
        Instance("acme", url)


@pytest.mark.parametrize("url", FINE)
def test_an_address_with_https_or_of_this_machine_is_taken(url):
    assert check_url(url + "/", "acme") == url
    assert is_loopback(url) == url.startswith("http:")


def test_an_address_from_the_settings_is_held_to_the_same_rule():
    Path("settings.ini").write_text(
        "[domostats]\n[instance.acme]\nurl = http://acme.localhost.com\n"
    )
    with pytest.raises(SettingsError, match="https") as caught:
        find_instance("acme")
    assert caught.value.reason == "bad_url"


@pytest.fixture
def ears():
    """A server of this machine that sets a cookie with every answer; gives its address and what
    it heard."""
    heard = []

    class Ear(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            heard.append(dict(self.headers))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Set-Cookie", f"session={SECRET}; Path=/")
            self.send_header("Set-Cookie", f"wide={SECRET}; Domain=127.0.0.1; Path=/")
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ear) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", heard
        server.shutdown()
        thread.join()


def test_a_cookie_of_an_answer_is_never_sent_along(ears):
    url, heard = ears
    instance = Instance("acme", url)
    connection = Connection(instance, AccessToken("token-of-the-user", instance=instance))
    for _ in range(2):
        connection.get("/api/data/v1/accounts")
    assert len(heard) == 2 and not any("Cookie" in headers for headers in heard)
    assert not connection.http.cookies
    assert SECRET not in json.dumps(heard)


def test_the_token_goes_with_every_call_and_only_in_its_header(ears):
    url, heard = ears
    instance = Instance("acme", url)
    connection = Connection(instance, AccessToken("token-of-the-user", instance=instance))
    connection.get("/api/data/v1/accounts", {"limit": 1})
    (headers,) = heard
    holding = [name for name, value in headers.items() if "token-of-the-user" in value]
    assert holding == ["X-DOMO-Developer-Token"]


def test_a_dollar_in_an_env_file_and_a_percent_in_the_settings_are_characters(monkeypatch):
    monkeypatch.setenv("HOME_OF_SECRETS", SECRET)
    Path(".env").write_text("DOMO_ACCESS_TOKEN='a${HOME_OF_SECRETS}b'\n")
    Path("settings.ini").write_text(
        "[domostats]\nstore = a%(here)s%%b\n[instance.acme]\nurl = https://acme.domo.com\n"
    )
    found = find_secrets(find_instance("acme"), ("DOMO_ACCESS_TOKEN",))
    assert found["DOMO_ACCESS_TOKEN"].reveal() == "a${HOME_OF_SECRETS}b"
    assert setting("domostats", "store") == "a%(here)s%%b"


def test_a_record_that_was_set_aside_never_prints_itself():
    record = {"id": "?", "displayName": SECRET, "more": [SECRET], "valid": True}
    with sandbox.start() as box:
        box.serve(
            "/api/data/v2/datasources/providers",
            [{"key": "k", "name": "Old", "accounts": [record, {"id": 1, "displayName": "one"}]}],
        )
        run = reports.accounts.report.run(box)
        said = " ".join([repr(run), *map(str, run.findings), *map(str, run.doubts)])
        said += f"{run.violations} {run.violations[0]} {run.violations[0]!r}"
        with pytest.warns(UserWarning) as warned:
            frame = reports.accounts.generate(box)
        said += " ".join(str(one.message) for one in warned) + str(frame.attrs)
    assert run.incomplete and len(run.violations) == 1
    assert SECRET in run.violations[0].raw.decode()  # who asks for the record gets it
    assert SECRET not in said and "'id'" in said
