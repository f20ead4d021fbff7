"""Signing in at Comotion Dash: with the browser, with a kept token, as an application; by many at
once, and with everything that can be wrong on the way."""

import base64
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import keyring
import pytest
import requests
from keyring.backend import KeyringBackend
from keyring.backends.fail import Keyring as NoKeyring
from keyring.backends.null import Keyring as NullKeyring
from keyring.errors import PasswordSetError
from secret_search import leaks, listening, told_by

from domostats import sandbox
from domostats.clients.dash.auth import (
    ApplicationAuth,
    UserAuth,
    find_credential,
    nobody_signed_in,
    sign_in,
)
from domostats.clients.dash.browser import (
    check_identity,
    pasted_redirect,
    read_redirect,
    sign_in_with_browser,
)
from domostats.clients.dash.kept_login import KeptLogin, login_from_token
from domostats.clients.dash.key_store import (
    FileStore,
    MemoryStore,
    SystemStore,
    load_keyring,
    usual_store,
)
from domostats.clients.dash.organisation import find_organisation
from domostats.clients.dash.redirect import Listener
from domostats.clients.dash.tokens import ask_tokens, realm_connection, unlimited
from domostats.errors import (
    AccessError,
    CredentialsError,
    DomostatsError,
    RetryLaterError,
    SettingsError,
)
from domostats.instances import find_instance
from domostats.secrets import Secret
from domostats.transport.retry import Request

START = Request("POST", "/v2/query", body={"query": "select 1"}, reads=False)


@pytest.fixture(scope="module")
def served():
    with sandbox.start_dash("acme") as box:
        yield box


@pytest.fixture
def box(served):
    served.heal()
    served.clock.step(time.time() - served.clock.now())
    served.log.clear()
    return served


@pytest.fixture
def acme(box):
    return find_organisation(box)


class Dictionary(KeyringBackend):
    "A key store in memory, that takes texts of `longest` characters."

    priority = 1

    def __init__(self, longest=10**6):
        super().__init__()
        self.kept = {}
        self.longest = longest

    def get_password(self, service, account):
        return self.kept.get((service, account))

    def set_password(self, service, account, value):
        if len(value) > self.longest:
            raise PasswordSetError("too long")
        self.kept[service, account] = value


@pytest.fixture
def system():
    "Gives a function that makes a backend the key store of the system."
    before = keyring.get_keyring()
    yield keyring.set_keyring
    keyring.set_keyring(before)


def browse(address):
    requests.get(address, timeout=10)


def token_calls(box):
    return [call for call in box.log if call.path.endswith("/token")]


# Where an organisation is.


def test_an_organisation_has_an_api_and_a_realm():
    acme = find_organisation("acme")
    assert acme.api.url == "https://acme.api.comodash.io"
    assert acme.realm == "https://auth.comotion.us/auth/realms/acme"
    assert find_organisation("acme", zone="main").api.url == "https://main.acme.api.comodash.io"
    other = find_organisation("acme", issuer="https://login.example.com/")
    assert other.realm == "https://login.example.com/auth/realms/acme"


def test_settings_and_the_variable_of_the_sdk_say_other_addresses(monkeypatch):
    monkeypatch.setenv("COMOTION_ISSUER", "https://issuer.example.com")
    Path("settings.ini").write_text(
        "[instance.dash-north]\nurl = https://lake.example.com\norgname = my_org_name\n"
        "[instance.dash-south]\nissuer = https://south.example.com\n"
    )
    north = find_organisation("my_org_name")
    assert (north.name, north.api.url) == ("my_org_name", "https://lake.example.com")
    assert north.issuer == "https://issuer.example.com"
    assert find_organisation("dash-north") == north
    assert find_organisation("south").issuer == "https://south.example.com"
    with pytest.raises(SettingsError) as caught:
        find_organisation("other_org")  # no host has such a name
    assert caught.value.reason == "bad_name" and "orgname = other_org" in str(caught.value)


def test_a_token_of_domo_goes_to_no_organisation_that_is_called_so():
    assert find_instance("dash-acme").url == "https://dash-acme.domo.com"
    assert find_organisation("dash-acme").api.url == "https://acme.api.comodash.io"
    Path("settings.ini").write_text("[instance.dash-acme]\nplatform = dash\n")
    assert find_instance("dash-acme").url == "https://acme.api.comodash.io"


@pytest.mark.parametrize("issuer", ["http://elsewhere.example.com", "https://u:p@x.example.com"])
def test_a_token_goes_to_no_address_without_encryption_or_with_more_in_it(issuer):
    with pytest.raises(SettingsError) as caught:
        find_organisation("acme", issuer=issuer)
    assert caught.value.reason == "bad_url"


# Applications.


def test_an_application_asks_for_a_token_once_until_it_ends(box, acme):
    box.rules.access_seconds = 300
    dash = sign_in(box)
    for _ in range(5):
        dash.ask(START)
    assert len(token_calls(box)) == 1 and {
        call.user for call in box.log if call.place == "api"
    } == {"service-account-etl-app"}


def test_a_wrong_secret_is_told_clearly(box, acme):
    auth = ApplicationAuth(acme, "etl-app", "wrong secret")
    with pytest.raises(CredentialsError) as caught:
        sign_in(box, auth).ask(START)
    assert caught.value.reason == "bad_client" and "wrong secret" not in str(caught.value)
    with pytest.raises(CredentialsError):
        ApplicationAuth(acme, "", "x")


def test_the_secret_goes_in_the_form_and_in_no_header(box, acme):
    auth = ApplicationAuth(acme, box.client_id, box.client_secret)
    auth.fetch(None)
    call = token_calls(box)[-1]
    assert not call.bearer and "client_secret=***" in call.body


def test_an_unknown_organisation_is_no_sign_in(box):
    lost = find_organisation("lost", issuer=box.url)
    with pytest.raises(AccessError) as caught:
        ask_tokens(lost, {"grant_type": "refresh_token", "refresh_token": "x"})
    assert caught.value.reason == "unknown_instance"


@pytest.mark.parametrize("zone", ["UTC", "Africa/Johannesburg", "America/New_York"])
def test_a_token_is_renewed_before_its_end_in_every_time_zone(box, acme, zone, monkeypatch):
    "D3: the time zone of the machine changes nothing."
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        box.rules.access_seconds = 300
        auth = ApplicationAuth(acme, box.client_id, box.client_secret)
        dash = sign_in(box, auth)
        moment = time.monotonic()
        for later, calls in ((0, 1), (100, 1), (239, 1), (241, 2), (400, 2)):
            monkeypatch.setattr(time, "monotonic", lambda later=later: moment + later)
            dash.ask(START)
            assert len(token_calls(box)) == calls, later
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_ended_early_is_renewed_in_the_middle(box, acme, status):
    "The gateway may say 401 or 403; the user hears neither."
    box.rules.expired_status = status
    dash = sign_in(box)
    dash.ask(START)
    box.clock.step(1000)
    assert dash.ask(START).status == 202
    assert [call.status for call in box.log if call.place == "api"] == [202, status, 202]


def test_a_call_that_is_not_allowed_is_told_after_one_renewal(box, acme):
    box.rules.application_scopes = ("query:read",)
    with pytest.raises(AccessError) as caught:
        sign_in(box, ApplicationAuth(acme, box.client_id, box.client_secret)).ask(START)
    assert caught.value.reason == "forbidden"
    assert len([call for call in box.log if call.place == "api"]) == 2


@pytest.mark.parametrize(
    "fault", ["refused", "drop", "unavailable", "server_error", "drop_after", "reset", "html"]
)
def test_a_realm_that_stumbles_is_asked_again(box, acme, fault):
    box.fail(fault, "/auth/realms")
    try:
        assert sign_in(box, ApplicationAuth(acme, box.client_id, box.client_secret)).ask(START)
    except DomostatsError as e:
        assert fault in ("server_error", "html"), e
    assert sign_in(box, ApplicationAuth(acme, box.client_id, box.client_secret)).ask(START)


# People, with the browser.


def test_the_browser_signs_a_person_in_and_the_entries_are_those_of_the_sdk(box, acme, system):
    kept = Dictionary()
    system(kept)
    assert sign_in_with_browser(acme, KeptLogin(acme, SystemStore()), browse) == "ada"
    assert kept.kept[f"comotion auth api latest username ({box.url})", "acme"] == "ada"
    token = kept.kept[f"comotion auth api offline token ({box.url}/auth/realms/acme)", "ada"]
    assert any(token in login.fresh for login in box.realm.logins)
    assert UserAuth(acme).user == "ada"
    assert sign_in(box, UserAuth(acme)).ask(START).status == 202
    calls = [call for call in box.log if call.path.endswith("/auth")]
    assert "code_challenge_method=S256" in calls[0].query and "scope=openid" in calls[0].query


def test_who_has_signed_in_with_the_sdk_need_not_sign_in_again(box, acme, system):
    kept = Dictionary()
    system(kept)
    token = str(box.realm.log_in("eve").reveal())
    kept.kept[f"comotion auth api latest username ({box.url})", "acme"] = "eve"
    kept.kept[f"comotion auth api offline token ({box.url}/auth/realms/acme)", "eve"] = token
    sign_in(box, UserAuth(acme)).ask(START)
    assert box.log[-1].user == "eve"
    renewed = kept.kept[f"comotion auth api offline token ({box.url}/auth/realms/acme)", "eve"]
    assert renewed != token, "a rotated token is kept where the SDK finds it"


def test_favicons_probes_and_strangers_do_not_use_up_the_sign_in(box, acme):
    "D26, D28: only a redirect with the state counts, and others are 404."
    seen = []

    def busy(address):
        redirect = parse_qs(urlsplit(address).query)["redirect_uri"][0]
        port = urlsplit(redirect).port
        with socket.create_connection(("127.0.0.1", port), timeout=5) as probe:
            probe.sendall(b"\x16\x03\x01nonsense\r\n\r\n")
        silent = socket.create_connection(("127.0.0.1", port), timeout=5)
        for path in ("/favicon.ico", "/", "/?code=x&state=wrong", "/?error=access_denied&state=y"):
            seen.append(requests.get(redirect + path, timeout=10).status_code)
        seen.append(requests.head(redirect, timeout=10).status_code)
        browse(address)
        silent.close()

    assert sign_in_with_browser(acme, KeptLogin(acme, MemoryStore()), busy) == "ada"
    assert seen[:4] == [404] * 4 and seen[4] in (404, 501)


def test_the_listener_is_on_loopback_alone_on_both_addresses():
    with Listener(Secret("s-1")) as listener:
        places = [server.server_address[0] for server in listener.servers]
        port = listener.servers[0].server_address[1]
        assert places in (["127.0.0.1", "::1"], ["127.0.0.1"])
        assert {server.server_address[1] for server in listener.servers} == {port}
        for host in ["127.0.0.1"] + (["[::1]"] if len(places) == 2 else []):
            assert requests.get(f"http://{host}:{port}/", timeout=10).status_code == 404
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_a_browser_that_blocks_does_not_hold_up_the_sign_in(box, acme):
    "D28: a text browser returns when it is closed."
    closed = threading.Event()

    def text_browser(address):
        browse(address)
        closed.wait(30)

    assert sign_in_with_browser(acme, KeptLogin(acme, MemoryStore()), text_browser) == "ada"
    closed.set()


def test_a_denial_is_told_and_nothing_is_exchanged_or_kept(box, acme):
    "D27, and the trap: a redirect with an error asks for no token of any kind."
    box.realm.denies = True
    login = KeptLogin(acme, MemoryStore())
    with pytest.raises(CredentialsError) as caught:
        sign_in_with_browser(acme, login, browse)
    assert caught.value.reason == "sign_in_denied"
    assert not login.store.kept and not token_calls(box)


def test_nobody_at_the_browser_is_a_timeout(box, acme):
    login = KeptLogin(acme, MemoryStore())
    with pytest.raises(RetryLaterError) as caught:
        sign_in_with_browser(acme, login, lambda address: None, timeout=0.05)
    assert caught.value.reason == "not_in_time" and not login.store.kept


def test_without_a_browser_the_redirect_is_pasted(box, acme):
    def elsewhere(address):
        reply = requests.get(address, allow_redirects=False, timeout=10)
        return f"  {reply.headers['location']}\n"

    assert sign_in_with_browser(acme, KeptLogin(acme, MemoryStore()), paste=elsewhere) == "ada"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"state": "wrong"}, "bad_identity"),
        ({"state": None}, "bad_identity"),
        ({"iss": "https://elsewhere.example.com/auth/realms/acme"}, "bad_identity"),
        ({"code": None}, "bad_identity"),
        ({"code": "wrong"}, "expired_session"),
        ({"error": "access_denied"}, "sign_in_denied"),
        ({"error": "server_error"}, "sign_in_refused"),
    ],
)
def test_a_redirect_that_is_not_as_it_should_be_signs_nobody_in(box, acme, change, reason):
    def forged(address):
        location = requests.get(address, allow_redirects=False, timeout=10).headers["location"]
        parts = urlsplit(location)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        query = {name: value for name, value in {**query, **change}.items() if value is not None}
        return f"http://localhost:{parts.port}?{urlencode(query)}"

    login = KeptLogin(acme, MemoryStore())
    with pytest.raises(CredentialsError) as caught:
        sign_in_with_browser(acme, login, paste=forged)
    assert caught.value.reason == reason and not login.store.kept


@pytest.mark.parametrize("text", ["", "hello", "http://localhost:1/", "\x00", "http://[", "?state"])
def test_nonsense_that_is_pasted_is_an_error_with_a_reason(acme, text):
    login = KeptLogin(acme, MemoryStore())
    with pytest.raises(DomostatsError) as caught:
        sign_in_with_browser(acme, login, paste=lambda address: text)
    assert caught.value.reason in ("bad_identity", "bad_argument")


def test_the_error_is_looked_at_before_the_code(acme):
    state = Secret("s-1")
    came = pasted_redirect("http://localhost:1?state=s-1&code=c&error=access_denied")
    with pytest.raises(CredentialsError) as caught:
        read_redirect(came, state, acme)
    assert caught.value.reason == "sign_in_denied"


# Who it is.


def part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def good_claims(box, **changed):
    claims = {
        "aud": "comotion_cli",
        "azp": "comotion_cli",
        "nonce": "n-1",
        "preferred_username": "ada",
        "sub": "ada",
        **changed,
    }
    return {name: value for name, value in claims.items() if value is not None}


def test_an_identity_that_is_good_names_the_user(box, acme):
    token = box.realm.signer.issue(300, **good_claims(box))
    assert check_identity(token, acme, Secret("n-1")) == "ada"
    several = box.realm.signer.issue(300, **good_claims(box, aud=["x", "comotion_cli"]))
    assert check_identity(several, acme, Secret("n-1")) == "ada"


@pytest.mark.parametrize(
    ("seconds", "changed"),
    [
        (300, {"iss": "https://elsewhere.example.com/auth/realms/acme"}),
        (300, {"aud": "other"}),
        (300, {"aud": None}),
        (300, {"azp": "other"}),
        (300, {"nonce": "n-2"}),
        (300, {"nonce": None}),
        (-60, {}),
        (300, {"exp": None}),
        (300, {"preferred_username": None, "sub": None}),
        (300, {"preferred_username": 7}),
    ],
)
def test_an_identity_for_somebody_else_is_not_believed(box, acme, seconds, changed):
    claims = good_claims(box, **changed)
    if changed.get("exp", "") is None:
        signer = box.realm.signer
        header = {"alg": "RS256", "kid": signer.key_id}
        token = Secret(signer.jwt.encode(header, {"iss": acme.realm, **claims}, signer.key))
    else:
        token = box.realm.signer.issue(seconds, **claims)
    with pytest.raises(CredentialsError) as caught:
        check_identity(token, acme, Secret("n-1"))
    assert caught.value.reason == "bad_identity"


def test_an_identity_with_another_signature_is_not_believed(box, acme):
    from joserfc import jwk, jwt

    now = int(time.time())
    claims = {"iss": acme.realm, "iat": now, "exp": now + 300, **good_claims(box)}
    signer = box.realm.signer
    stranger = jwk.RSAKey.generate_key(2048)
    public = json.dumps(signer.jwks()["keys"][0])
    shared = jwk.OctKey.import_key(public.encode())
    good = str(signer.issue(300, **good_claims(box)).reveal())
    head, body, signature = good.split(".")
    forged = [
        jwt.encode({"alg": "RS256", "kid": signer.key_id}, claims, stranger),
        jwt.encode({"alg": "RS256", "kid": "unknown"}, claims, stranger),
        jwt.encode({"alg": "HS256", "kid": signer.key_id}, claims, shared, algorithms=["HS256"]),
        f"{part({'alg': 'none'})}.{part(claims)}.",
        f"{head}.{part(claims)}.{signature}",
        f"{head}.{body}.",
        "nonsense",
        "a.b.c",
        "",
    ]
    for token in forged:
        with pytest.raises(CredentialsError) as caught:
            check_identity(Secret(token), acme, Secret("n-1"))
        assert caught.value.reason == "bad_identity"
    with pytest.raises(CredentialsError):
        check_identity(None, acme, Secret("n-1"))


# Renewing: many at once.


def renewed(box, acme, login):
    "Let a program use a login; gives whether the call came through."
    return sign_in(box, UserAuth(acme, login)).ask(START).status


def test_threads_share_one_renewal(box, acme):
    login = login_from_token(acme, box.realm.log_in())
    auth = UserAuth(acme, login)
    dash = sign_in(box, auth)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(dash.ask(START).status)) for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [202] * 12 and len(token_calls(box)) == 1


def work(path, url, org, calls, out):
    "What another program does: ask, and ask again when the token has ended."
    from domostats.instances import Instance

    place = find_organisation(Instance("dash-other", url, {"DOMOSTATS_DASH_ORGNAME": Secret(org)}))
    auth = UserAuth(place, KeptLogin(place, FileStore(path)))
    dash = sign_in(place, auth)
    try:
        statuses = []
        for _ in range(calls):
            auth._until = 0  # it is time to renew
            statuses.append(dash.ask(START).status)
        out.put(statuses)
    except BaseException as e:
        out.put(repr(e))


@pytest.mark.slow
def test_programs_share_a_token_and_nobody_loses_by_rotation(box, acme, tmp_path):
    "Four programs with two threads' worth of renewals each: one refresh token, used in turn."
    box.rules.reuse_ends_session = True
    box.rules.access_seconds = 2
    path = tmp_path / "tokens.json"
    KeptLogin(acme, FileStore(path)).keep("ada", box.realm.log_in())
    context = multiprocessing.get_context("spawn")
    out = context.Queue()
    programs = [
        context.Process(target=work, args=(path, box.url, "acme", 6, out)) for _ in range(4)
    ]
    for program in programs:
        program.start()
    found = [out.get(timeout=120) for _ in programs]
    for program in programs:
        program.join(60)
    assert found == [[202] * 6] * 4
    assert {call.status for call in token_calls(box)} == {200}
    assert len(token_calls(box)) < 24, "most of them found the token that another had got"
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_access_token_that_was_refused_is_not_taken_from_the_store_again(box, acme):
    login = login_from_token(acme, box.realm.log_in())
    auth = UserAuth(acme, login)
    dash = sign_in(box, auth)
    dash.ask(START)
    box.realm.signer.rotate()  # the realm knows its own token no more
    assert dash.ask(START).status == 202 and len(token_calls(box)) == 2


def test_a_sign_in_that_is_over_says_how_to_sign_in_again(box, acme):
    login = login_from_token(acme, box.realm.log_in())
    box.realm.logins[-1].ended = True
    with pytest.raises(CredentialsError) as caught:
        renewed(box, acme, login)
    assert caught.value.reason == "expired_session" and "dash-sign-in acme" in str(caught.value)


def test_a_rotated_token_that_cannot_be_kept_is_used_and_told(box, acme, recwarn):
    class Full(MemoryStore):
        def set(self, service, account, value):
            if "offline" in service and (service, account) in self.kept:
                raise CredentialsError("The key store is full.", "no_key_store")
            super().set(service, account, value)

    login = KeptLogin(acme, Full())
    login.keep("ada", box.realm.log_in())
    auth = UserAuth(acme, login)
    dash = sign_in(box, auth)
    for _ in range(3):
        auth._until = 0
        login.store.kept = {
            key: one for key, one in login.store.kept.items() if "access" not in key[0]
        }
        assert dash.ask(START).status == 202
    login.keep_refresh(Secret("r-9"))
    assert login.refresh() == Secret("r-9")
    assert any("key store is full" in str(one.message) for one in recwarn.list)


# Where it is kept.


def test_a_long_token_is_cut_where_the_store_needs_it(box, acme, system):
    kept = Dictionary(longest=1280)
    system(kept)
    long = Secret("t" * 5000)
    SystemStore().set("s", "ada", long)
    assert SystemStore().get("s", "ada") == long and len(kept.kept) == 6
    SystemStore().set("s", "ada", Secret("short"))
    assert SystemStore().get("s", "ada") == Secret("short")


@pytest.mark.parametrize("backend", [NoKeyring, NullKeyring])
def test_a_machine_without_a_key_store_is_told_what_to_do(box, acme, system, backend):
    "The null store keeps nothing and says nothing: it is read back."
    system(backend())
    login = KeptLogin(acme, SystemStore())
    with pytest.raises(CredentialsError) as caught:
        sign_in_with_browser(acme, login, browse)
    assert caught.value.reason == "no_key_store"
    assert "DOMOSTATS_DASH_TOKEN_FILE" in str(caught.value)


def test_a_file_is_for_its_owner_alone(tmp_path):
    store = FileStore(tmp_path / "deep" / "tokens.json")
    store.set("s", "ada", Secret("t-1"))
    assert store.path.stat().st_mode & 0o777 == 0o600
    store.path.chmod(0o640)
    for call in (lambda: store.get("s", "ada"), lambda: store.set("s", "ada", Secret("t-2"))):
        with pytest.raises(CredentialsError) as caught:
            call()
        assert caught.value.reason == "no_key_store"
    (tmp_path / "link.json").symlink_to(store.path)
    store.path.chmod(0o600)
    with pytest.raises(CredentialsError):
        FileStore(tmp_path / "link.json").get("s", "ada")


def test_nobody_keeps_a_file_who_did_not_ask_for_one(box, acme, system, monkeypatch, tmp_path):
    system(Dictionary())
    assert isinstance(usual_store(), SystemStore)
    sign_in_with_browser(acme, KeptLogin(acme, usual_store()), browse)
    token = box.realm.logins[-1]
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert not any(one.encode() in path.read_bytes() for one in token.fresh), path
    monkeypatch.setenv("DOMOSTATS_DASH_TOKEN_FILE", str(tmp_path / "tokens.json"))
    assert isinstance(usual_store(), FileStore)


def test_the_settings_are_looked_through_in_their_order(box, system, monkeypatch, tmp_path):
    kept = Dictionary()
    system(kept)
    Path("settings.ini").write_text(f"[instance.dash-acme]\nurl = {box.url}\nissuer = {box.url}\n")
    acme = find_organisation("acme")
    with pytest.raises(CredentialsError) as caught:
        find_credential(acme)
    assert caught.value.reason == "missing_secret" and "dash-sign-in acme" in str(caught.value)
    assert str(nobody_signed_in(acme)) in str(caught.value)
    sign_in_with_browser(acme, KeptLogin(acme, SystemStore()), browse)
    assert find_credential(acme).user == "ada"
    monkeypatch.setenv("DOMOSTATS_DASH_REFRESH_TOKEN", str(box.realm.log_in("kim").reveal()))
    sign_in(acme).ask(START)
    assert box.log[-1].user == "kim"
    monkeypatch.setenv("DOMOSTATS_DASH_TOKEN_FILE", str(tmp_path / "tokens.json"))
    monkeypatch.setenv("DOMOSTATS_DASH_REFRESH_TOKEN", str(box.realm.log_in("joe").reveal()))
    sign_in(acme).ask(START)
    assert box.log[-1].user == "joe"
    sign_in(acme, find_credential(acme)).ask(
        START
    )  # the first token is used up; the file has the next
    assert box.log[-1].user == "joe" and box.log[-1].status == 202
    monkeypatch.setenv("DOMOSTATS_DASH_CLIENT_ID", "etl-app")
    monkeypatch.setenv("DOMOSTATS_DASH_CLIENT_SECRET", str(box.client_secret.reveal()))
    assert isinstance(find_credential(acme), ApplicationAuth)


def test_a_sandbox_is_never_given_the_users_own_token(box, monkeypatch, system):
    system(Dictionary())
    monkeypatch.setenv("DOMOSTATS_DASH_REFRESH_TOKEN", "r-own")
    assert isinstance(find_credential(find_organisation(box)), ApplicationAuth)


def test_a_lock_of_a_program_that_hangs_is_waited_for_only_so_long(acme, tmp_path):
    first, second = (KeptLogin(acme, FileStore(tmp_path / "tokens.json")) for _ in range(2))
    with first.alone(), pytest.raises(RetryLaterError) as caught:
        with second.alone(patience=0.1):
            raise AssertionError("two are in here")
    assert caught.value.reason == "busy"
    with second.alone(patience=0.1):
        pass


def test_a_program_that_was_killed_leaves_no_lock(acme, tmp_path):
    script = (
        "import sys, time\n"
        "from domostats.clients.dash.kept_login import KeptLogin\n"
        "from domostats.clients.dash.key_store import FileStore\n"
        "from domostats.clients.dash.organisation import find_organisation\n"
        "from domostats.instances import Instance\n"
        "from domostats.secrets import Secret\n"
        "place = Instance('dash', sys.argv[2], {'DOMOSTATS_DASH_ORGNAME': Secret('acme')})\n"
        "login = KeptLogin(find_organisation(place), FileStore(sys.argv[1]))\n"
        "with login.alone():\n"
        "    print('in', flush=True)\n"
        "    time.sleep(600)\n"
    )
    path = tmp_path / "tokens.json"
    program = subprocess.Popen(
        [sys.executable, "-c", script, str(path), acme.api.url],
        stdout=subprocess.PIPE,
        env=os.environ,
    )
    assert program.stdout.readline() == b"in\n"
    login = KeptLogin(acme, FileStore(path))
    with pytest.raises(RetryLaterError):
        with login.alone(patience=0.1):
            pass
    program.kill()
    program.wait()
    with login.alone(patience=10):
        pass


def test_an_installation_without_keyring_says_what_to_install(monkeypatch):
    import domostats.clients.dash.key_store as key_store

    monkeypatch.setattr(key_store, "find_spec", lambda name: None)
    with pytest.raises(SettingsError) as caught:
        load_keyring()
    assert caught.value.reason == "not_installed"


# Nothing is given away.


@pytest.mark.parametrize(
    "fault", ["", "unavailable", "drop_after", "truncated", "html", "server_error"]
)
def test_an_error_of_a_sign_in_shows_no_secret(box, acme, fault):
    token = f"dash-refresh-{'Zx8Qp4Lm2Rt6' * 4}"
    secret = "Lm2Rt6Vb1Ny7Kd3HsPlanted"
    if fault:
        box.fail(fault, "/auth/realms", times=None)
    auths = [
        UserAuth(acme, login_from_token(acme, Secret(token))),
        ApplicationAuth(acme, "etl-app", Secret(secret)),
    ]
    for auth in auths:
        with listening() as heard:
            with pytest.raises(DomostatsError) as caught:
                sign_in(box, auth).ask(START)
        shown = told_by(caught.value, ("traceback", "inspect")) + heard() + repr(auth)
        assert not leaks(shown, token, secret)


def test_the_realm_is_asked_without_a_limit_of_calls(acme):
    assert not realm_connection(acme).budget.is_limited
    assert not unlimited("a place", "x").is_limited
