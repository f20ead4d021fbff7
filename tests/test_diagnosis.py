"""What is wrong is named as what it is: the network, the store, the zones, the keywords."""

import struct
import subprocess
import sys
import threading
from contextlib import closing
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer

import duckdb
import pytest
import requests
import urllib3

from domostats import reports, sandbox
from domostats.errors import (
    AccessError,
    CredentialsError,
    DataError,
    DestinationError,
    DomostatsError,
    SettingsError,
)
from domostats.loading.store import Store
from domostats.reports.fleet import run_all
from domostats.tracking.extractors import zone_of
from domostats.tracking.registry.catch_up import CatchUp
from domostats.transport.failures import failure_of
from domostats.transport.sending import send

PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE")


@pytest.fixture
def ask(monkeypatch):
    "A function that asks an address outside of this machine; gives the error that comes of it."
    for name in (*PROXIES, "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)

    def asked(url="https://acme.invalid/api", **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with requests.Session() as http, pytest.raises(DomostatsError) as caught:
            send(http, "GET", url, None, None, None)
        return caught.value

    return asked


# --- the network ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_missing_file_of_certificates_is_named_with_its_variable(name, ask):
    error = ask(**{name: "/nowhere/company.pem"})
    assert isinstance(error, SettingsError) and error.reason == "no_certificates"
    assert name in str(error) and "HTTP" not in str(error).replace("https://", "")


@pytest.mark.parametrize(
    "raised, reason, said",
    [
        ("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate", "bad_certificate", "verified"),
        ("[X509: NO_CERTIFICATE_OR_CRL_FOUND] no certificate", "no_certificates", "REQUESTS_CA"),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", "no_tls", "does not speak https"),
        ("[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred", "cut", "broke off"),
    ],
)
def test_troubles_of_the_encryption_are_told_apart(raised, reason, said):
    cls, found, words = failure_of(requests.exceptions.SSLError(raised))
    assert found == reason and said in words


def test_a_server_that_does_not_speak_https_is_told(ask):
    class Plain(BaseHTTPRequestHandler):
        def handle(self):
            self.request.recv(1000)
            self.request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with HTTPServer(("127.0.0.1", 0), Plain) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        error = ask(f"https://127.0.0.1:{server.server_port}/api")
    assert isinstance(error, SettingsError) and error.reason == "no_tls"


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks4"])
def test_a_socks_proxy_without_its_package_names_the_package(scheme, ask, monkeypatch):
    monkeypatch.setitem(sys.modules, "socks", None)  # as if PySocks were not installed
    monkeypatch.delitem(sys.modules, "urllib3.contrib.socks", raising=False)

    def missing(*arguments, **how):
        raise requests.exceptions.InvalidSchema("Missing dependencies for SOCKS support.")

    monkeypatch.setattr(requests.adapters, "SOCKSProxyManager", missing)
    error = ask(HTTPS_PROXY=f"{scheme}://ada:hunter22@127.0.0.1:9")
    assert isinstance(error, SettingsError) and error.reason == "no_socks"
    assert "pip install pysocks" in str(error) and "HTTPS_PROXY" in str(error)
    assert "settings.ini" not in str(error) and "hunter22" not in str(error)


@pytest.mark.parametrize(
    "proxy", ["http://", "http://host:port", "http://host:99999", "foo://host:1", "http://a b:1"]
)
def test_a_proxy_whose_address_is_none_is_told(proxy, ask):
    error = ask(HTTPS_PROXY=proxy)
    assert isinstance(error, SettingsError) and error.reason == "bad_proxy"
    assert "HTTPS_PROXY" in str(error) and "settings.ini" not in str(error)


def test_a_proxy_that_does_not_answer_is_still_the_proxy(ask):
    error = ask(HTTPS_PROXY="http://127.0.0.1:9")
    assert (type(error), error.reason) == (SettingsError, "proxy")


def test_what_is_no_http_stays_what_it_is():
    assert failure_of(urllib3.exceptions.HTTPError("x"))[1] == "bad_reply"
    assert failure_of(requests.exceptions.InvalidHeader("x"))[0] is CredentialsError


def test_a_registry_behind_a_missing_bundle_is_no_traceback_either(monkeypatch):
    from domostats.tracking.registry.api import make_observatory_api

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    with pytest.raises(SettingsError) as caught:
        make_observatory_api("https://registry.invalid", "k" * 40).get_datasets()
    assert caught.value.reason == "no_certificates"


# --- the store ------------------------------------------------------------------------------------


def check_sum(block):
    "The check sum that DuckDB puts in front of a block."
    found = 5381
    for (word,) in struct.iter_unpack("<Q", block):
        found ^= (word * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    return found


def changed(path, version=None, writer=None):
    "Let a file of DuckDB say that it was written by another version."
    content = bytearray(path.read_bytes())
    content[12:20] = struct.pack("<Q", version)
    content[52:64] = writer.encode().ljust(12, b"\0")
    content[:8] = struct.pack("<Q", check_sum(content[8:4096]))
    path.write_bytes(content)


def refused(path):
    with pytest.raises(DestinationError) as caught:
        Store(path, wait=0).names()
    assert "move the file away" not in str(caught.value).lower()
    assert "delete" not in str(caught.value).lower()
    return caught.value


@pytest.fixture
def path(tmp_path):
    with closing(duckdb.connect(str(tmp_path / "store.duckdb"))) as con:
        con.execute("CREATE TABLE x AS SELECT 1 AS a")
    return tmp_path / "store.duckdb"


def test_a_store_of_a_newer_duckdb_is_kept_and_the_way_out_is_to_upgrade(path):
    changed(path, 5000, "v9.8.7")
    before = path.read_bytes()
    error = refused(path)
    assert error.reason == "newer_store"
    for said in ("v9.8.7", duckdb.__version__, "pip install --upgrade duckdb", "history"):
        assert said in str(error)
    assert path.read_bytes() == before


@pytest.mark.parametrize("how", [{"read_only": True}, {"config": {"threads": 1}}])
def test_a_store_that_this_notebook_has_open_otherwise_is_busy(path, how):
    with closing(duckdb.connect(str(path), **how)):
        error = refused(path)
    assert error.reason == "busy"
    assert "this very program" in str(error) and "con.close()" in str(error)
    assert Store(path).names() == []


def test_a_store_that_is_attached_elsewhere_in_this_program_is_busy(path):
    with closing(duckdb.connect()) as con:
        con.execute(f"ATTACH '{path}' AS other")
        assert refused(path).reason == "busy"


def test_a_damaged_store_is_told_from_a_file_of_another_kind(path, tmp_path):
    content = bytearray(path.read_bytes())
    content[200] ^= 255
    path.write_bytes(content)
    error = refused(path)
    assert error.reason == "damaged_store" and "keep it" in str(error)
    text = tmp_path / "text.duckdb"
    text.write_text("hello " * 1000)
    assert refused(text).reason == "not_a_store"
    folder = tmp_path / "folder.duckdb"
    folder.mkdir()
    assert "is a folder" in str(refused(folder))


# --- time zones -----------------------------------------------------------------------------------

NO_ZONES = """
import sys
sys.modules["tzdata"] = None
from domostats.errors import SettingsError
from domostats.tracking.extractors import bounds, zone_of
from datetime import date
print(zone_of(), bounds(date(2024, 1, 1), zone_of("UTC"))[0].isoformat())
try:
    zone_of("Europe/Paris")
except SettingsError as e:
    print(e.reason, e)
"""


def test_a_machine_without_zones_is_told_and_utc_works_there(monkeypatch):
    monkeypatch.setenv("PYTHONTZPATH", "")
    done = subprocess.run(
        [sys.executable, "-c", NO_ZONES], capture_output=True, text=True, timeout=60
    )
    utc, paris = done.stdout.splitlines()
    assert utc == "UTC 2024-01-01T00:00:00+00:00", done.stderr
    assert paris.startswith("no_zones") and "pip install tzdata" in paris
    assert "Write it as" not in paris


def test_a_zone_that_is_none_offers_the_near_one():
    with pytest.raises(SettingsError) as caught:
        zone_of("Europe/Pari")
    assert caught.value.reason == "bad_zone" and "Did you mean 'Europe/Paris'?" in str(caught.value)
    noon = datetime(2024, 7, 1, 12, tzinfo=timezone.utc)
    assert noon.astimezone(zone_of("Europe/Paris")).hour == 14


# --- keywords -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "called, call",
    [
        ("accounts.generate", lambda: reports.accounts.generate("acme", formt_fn="v1")),
        ("accounts.run", lambda: reports.accounts.report.run("acme", formt_fn="v1")),
        (
            "accounts.stream",
            lambda: reports.accounts.report.stream("acme", formt_fn="v1").__enter__(),
        ),
        ("accounts.format", lambda: reports.accounts.report.format([], formt_fn="v1")),
        ("run_all", lambda: run_all(reports.accounts.report, ["acme"], formt_fn="v1")),
    ],
)
def test_an_unknown_keyword_names_the_function_that_was_called(called, call):
    with pytest.raises(TypeError) as caught:
        call()
    said = str(caught.value)
    assert said.startswith(f"{called}() got an unexpected keyword argument 'formt_fn'.")
    assert ("Did you mean 'format_fn'?" in said) == (called != "accounts.stream")
    assert "reading" not in said


def test_each_report_names_itself_and_nothing_is_asked_for():
    with sandbox.start() as box:
        before = len(box.calls)
        for name in reports.names():
            with pytest.raises(TypeError, match=rf"^{name}\.generate\(\) got an unexpected"):
                reports.find(name).generate(box, sinse="2024-01-01")
        assert len(box.calls) == before


def test_a_catch_up_and_a_registry_name_themselves(tmp_path):
    from domostats.tracking.registry.api import make_observatory_api
    from domostats.tracking.registry.policies import expire

    api = make_observatory_api(f"sqlite:///{tmp_path / 'registry.sqlite'}")
    for called, call in [
        ("CatchUp.missing", lambda: CatchUp.missing(None, [], sinse=1)),
        ("missing_releases", lambda: api.missing_releases(1, [], sinse=1)),
        ("expire", lambda: expire(None, tody=1)),
    ]:
        with pytest.raises(TypeError, match=rf"^{called}\(\) got an unexpected .*Did you mean"):
            call()


# --- who may do what ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["accounts", "users", "datasets"])
def test_a_refusal_names_the_grants_that_the_report_needs(name):
    report = reports.find(name)
    with sandbox.start() as box:
        box.fail("forbidden", times=None)
        with pytest.raises(AccessError) as caught:
            report.run(box)
    assert caught.value.reason == "forbidden"
    assert all(need in str(caught.value) for need in report.needs)


# --- ranges ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "since, until",
    [
        ("2024-02-01", "2024-01-01"),
        (5, 3),
        (datetime(2024, 2, 1, tzinfo=timezone.utc), "2024-01-01"),
    ],
)
def test_a_range_that_is_turned_round_is_a_wrong_question(since, until):
    from domostats.tracking.registry.releases import missing

    for available in ([], ["2024-01-15"], [4]):
        with pytest.raises(DataError) as caught:
            missing(available, [], since=since, until=until)
        assert caught.value.reason == "bad_question" and "later than until" in str(caught.value)
