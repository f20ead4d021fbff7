"""Every outcome of a sign-in and of a call, over real HTTP."""

import pytest

from domostats.clients.domo.accounts import get_accounts, get_flat_accounts
from domostats.clients.domo.auth import get_session_token, sign_in
from domostats.clients.domo.credentials import AccessToken
from domostats.clients.domo.session import Session
from domostats.clients.domo.users import get_current_user, get_my_grants, get_user_by_id, get_users
from domostats.errors import (
    AccessError,
    CredentialsError,
    DataError,
    DomostatsError,
    RetryLaterError,
    SettingsError,
)
from domostats.instances import find_instance

SIGN_IN = "/api/content/v2/authentication"
ME = "/api/content/v2/users/me"
PROVIDERS = "/api/data/v2/datasources/providers"


@pytest.mark.parametrize(
    "fault, kind, reason",
    [
        ("wrong_password", CredentialsError, "wrong_password"),
        ("locked", CredentialsError, "locked"),
        ("second_factor", CredentialsError, "second_factor"),
        ("no_token", CredentialsError, "no_token"),
        ("empty", CredentialsError, "no_token"),
        ("unknown_instance", AccessError, "unknown_instance"),
        ("blocked", AccessError, "blocked"),
        ("blocked_redirect", AccessError, "blocked"),
        ("redirect", AccessError, "redirected"),
        ("server_error", RetryLaterError, "server_error"),
        ("truncated", DataError, "truncated"),
        ("html", DataError, "html"),
    ],
)
def test_each_outcome_of_a_sign_in_has_its_own_reason(box, fault, kind, reason):
    box.fail(fault, SIGN_IN)
    with pytest.raises(kind) as caught:
        get_session_token(box, box.username, box.password)
    assert type(caught.value) is kind and caught.value.reason == reason
    assert get_session_token(box, box.username, box.password).signed_in


def test_a_really_wrong_password_is_told_though_the_status_is_200(box):
    with pytest.raises(CredentialsError) as caught:
        get_session_token(box, box.username, box.password + "x")
    assert caught.value.reason == "wrong_password" and box.calls[-1][2] == 200


@pytest.mark.parametrize(
    "fault, kind, reason",
    [
        ("forbidden", AccessError, "forbidden"),
        ("not_found", AccessError, "not_found"),
        ("rate_limited", RetryLaterError, "rate_limited"),
        ("rate_limited_bare", RetryLaterError, "rate_limited"),
        ("server_error", RetryLaterError, "server_error"),
        ("unavailable", RetryLaterError, "unavailable"),
        ("html", DataError, "html"),
        ("empty", DataError, "empty"),
        ("truncated", DataError, "truncated"),
        ("not_json", DataError, "not_json"),
        ("cut", RetryLaterError, "cut"),
        ("blocked", AccessError, "blocked"),
        ("blocked_redirect", AccessError, "blocked"),
        ("redirect", AccessError, "redirected"),
    ],
)
def test_each_outcome_of_a_call_has_its_own_reason(box, fault, kind, reason):
    box.fail(fault, PROVIDERS, times=None)
    with pytest.raises(kind) as caught:
        get_accounts(box)
    box.heal()
    assert type(caught.value) is kind and caught.value.reason == reason
    assert get_accounts(box).is_success


def test_the_service_may_name_the_time_to_wait(box):
    box.fail("rate_limited", PROVIDERS, times=5)
    with pytest.raises(RetryLaterError) as told:
        get_accounts(box)
    box.fail("rate_limited_bare", PROVIDERS, times=5)
    with pytest.raises(RetryLaterError) as untold:
        get_accounts(box)
    assert told.value.retry_after > 0 and untold.value.retry_after is None


def test_an_expired_session_signs_in_again_by_itself_once(box):
    session = get_session_token(box, box.username, box.password)
    assert get_accounts(box, session).is_success
    box.expire()
    before = sum(path == SIGN_IN for _, path, _ in box.calls)
    assert get_flat_accounts(box, session).is_success
    assert sum(path == SIGN_IN for _, path, _ in box.calls) == before + 1


def test_ten_threads_that_meet_an_expired_session_sign_in_once(box):
    from concurrent.futures import ThreadPoolExecutor

    session = get_session_token(box, box.username, box.password)
    box.expire()
    before = sum(path == SIGN_IN for _, path, _ in box.calls)
    with ThreadPoolExecutor(10) as pool:
        assert all(
            answer.is_success
            for answer in pool.map(lambda _: get_accounts(box, session), range(20))
        )
    assert sum(path == SIGN_IN for _, path, _ in box.calls) == before + 1


def test_a_session_without_its_password_says_that_it_has_expired(box):
    token = get_session_token(box, box.username, box.password)._secret.reveal()
    assert get_accounts(box, token).is_success
    box.expire()
    with pytest.raises(CredentialsError) as caught:
        get_accounts(box, token)
    assert caught.value.reason == "expired_session"


def test_a_refused_renewal_is_not_tried_again(box):
    session = get_session_token(box, box.username, box.password)
    box.expire()
    box.fail("wrong_password", SIGN_IN, times=None)
    for _ in range(3):
        with pytest.raises(CredentialsError) as caught:
            get_accounts(box, session)
        assert caught.value.reason == "wrong_password"
    assert sum(path == SIGN_IN for _, path, _ in box.calls) == 2


def test_a_new_sign_in_heals_what_a_refusal_broke(box):
    session = get_session_token(box, box.username, box.password)
    box.expire()
    box.fail("locked", SIGN_IN)
    with pytest.raises(CredentialsError):
        get_accounts(box, session)
    assert get_accounts(box, get_session_token(box, box.username, box.password)).is_success


def test_a_wrong_token_is_told(box):
    with pytest.raises(CredentialsError) as caught:
        get_accounts(box, AccessToken("0123456789abcdef"))
    assert caught.value.reason == "bad_token"


@pytest.mark.parametrize(
    "name",
    [
        "evil.com/",
        "a.b@c",
        "https://acme.domo.com",
        "acme.domo.com",
        "acme\r\nHost: evil",
        "",
        " ",
        "127.0.0.1:80",
        "-acme",
        "äcme",
    ],
)
def test_what_is_no_name_is_refused_before_anything_is_sent(box, name, monkeypatch):
    import requests

    monkeypatch.setattr(
        requests.Session, "send", lambda *_, **__: pytest.fail("something was sent")
    )
    for call in (
        lambda: get_session_token(name, box.username, box.password),
        lambda: get_accounts(name, "token"),
        lambda: get_users(name),
    ):
        with pytest.raises(SettingsError) as caught:
            call()
        assert caught.value.reason == "bad_name"


def test_a_credential_goes_only_where_it_was_made(box):
    from domostats import sandbox

    with sandbox.start(seed=2) as other:
        session = get_session_token(box, box.username, box.password)
        with pytest.raises(SettingsError) as caught:
            get_accounts(other, session)
        assert caught.value.reason == "wrong_instance" and not other.calls


def test_a_name_an_instance_and_the_settings_lead_to_the_same_connection(box):
    assert sign_in(box) is sign_in(box.name) is sign_in(find_instance(box.name))
    assert isinstance(sign_in(box).auth, AccessToken)


def test_credentials_come_from_the_environment(box, monkeypatch):
    from pathlib import Path

    Path("settings.ini").write_text(f"[domostats]\n[instance.lab]\nurl = {box.url}\n")
    with pytest.raises(CredentialsError) as caught:
        get_accounts("lab")
    assert (
        caught.value.reason == "missing_secret"
        and "DOMO_ACCESS_TOKEN__LAB in the environment" in str(caught.value)
    )
    monkeypatch.setenv("DOMO_USERNAME", box.username)
    monkeypatch.setenv("DOMO_PASSWORD", box.password)
    assert isinstance(sign_in("lab").auth, Session) and get_accounts("lab").is_success
    monkeypatch.setenv("DOMO_ACCESS_TOKEN__LAB", box.access_token)
    assert isinstance(sign_in("lab").auth, AccessToken) and get_accounts("lab").is_success


def test_a_user_that_nobody_has_is_not_found_though_the_status_is_200(box):
    with pytest.raises(AccessError) as caught:
        get_user_by_id(box, user_id=1)
    assert caught.value.reason == "not_found" and caught.value.answer.status == 200


@pytest.mark.parametrize("user_id", [None, "me", "27/../28", "", -1, 2.5])
def test_an_id_is_a_number(box, user_id):
    with pytest.raises(SettingsError) as caught:
        get_user_by_id(box, user_id=user_id)
    assert caught.value.reason == "bad_id"


def test_user_zero_is_a_user(box):
    assert get_user_by_id(box, user_id=0).response["systemUser"] is True


def test_a_user_without_the_grant_sees_less_and_can_know_it(box):
    limited = get_session_token(box, box.limited.username, box.limited.password)
    assert len(get_flat_accounts(box, limited).response) < len(get_flat_accounts(box).response)
    assert "account.admin" in get_my_grants(box) and not {
        "account.admin",
        "account.view.all",
    } & get_my_grants(box, limited)


def test_403_to_who_am_i_means_that_there_is_no_such_instance(box):
    box.fail("forbidden", ME)
    with pytest.raises(AccessError) as caught:
        get_current_user(box)
    assert caught.value.reason == "unknown_instance"


def test_debug_api_shows_the_request_without_its_secret(box, capsys):
    get_accounts(box, get_session_token(box, box.username, box.password), debug_api=True)
    shown = capsys.readouterr().out
    assert PROVIDERS in shown and "session of" in shown and box.password not in shown


def test_loopback_is_never_reached_through_a_proxy(box, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert (
        get_session_token(box, box.username, box.password).signed_in
        and get_accounts(box.name).is_success
    )


def test_nobody_there_is_something_to_try_again_later(box):
    address = find_instance(box.name)
    box.stop()
    with pytest.raises(RetryLaterError) as caught:
        get_accounts(address)
    assert caught.value.reason == "unreachable"


def test_a_netrc_file_is_not_asked(box, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password planted-netrc-secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    seen = []
    import requests

    send = requests.Session.send
    monkeypatch.setattr(
        requests.Session,
        "send",
        lambda self, request, **more: (
            seen.append(dict(request.headers)),
            send(self, request, **more),
        )[1],
    )
    get_session_token(box, box.username, box.password)
    assert seen and not any("Authorization" in headers for headers in seen)


@pytest.fixture
def workspace(monkeypatch):
    "A module like DomoJupyter's own, with three accounts attached."
    import json
    import sys
    import types

    attached = {
        "plain": {"username": "ada@example.com", "password": "pw"},
        "store": {"credentials": json.dumps({"DOMO_ACCESS_TOKEN": "token-in-json"})},
        "empty": {},
    }
    module = types.ModuleType("domojupyter")
    module.get_account_property_keys = lambda alias: list(attached[alias])
    module.get_account_property_value = lambda alias, name: attached[alias][name]
    monkeypatch.setitem(sys.modules, "domojupyter", module)


@pytest.mark.parametrize(
    "alias, kind, user", [("plain", Session, "ada@example.com"), ("store", AccessToken, "")]
)
def test_inside_a_workspace_an_attached_account_holds_the_credentials(workspace, alias, kind, user):
    from pathlib import Path

    Path("settings.ini").write_text(
        f"[domostats]\naccount = nothing\n[instance.acme]\naccount = {alias}\n"
    )
    auth = sign_in("acme").auth
    assert type(auth) is kind and auth.user == user and auth.url == "https://acme.domo.com"


@pytest.mark.parametrize(
    "alias, reason", [("empty", "missing_secret"), ("not-attached", "account_not_attached")]
)
def test_an_account_that_does_not_help_is_told(workspace, alias, reason):
    from pathlib import Path

    Path("settings.ini").write_text(f"[domostats]\naccount = {alias}\n")
    with pytest.raises(DomostatsError) as caught:
        sign_in("acme")
    assert caught.value.reason == reason and alias in str(caught.value)


def test_the_environment_comes_before_env_file_and_account(workspace, monkeypatch):
    from pathlib import Path

    Path("settings.ini").write_text("[domostats]\naccount = store\n")
    assert sign_in("acme").auth._secret.reveal() == "token-in-json"
    Path(".env").write_text("DOMO_ACCESS_TOKEN=token-in-file\n")
    assert sign_in("acme").auth._secret.reveal() == "token-in-file"
    monkeypatch.setenv("DOMO_ACCESS_TOKEN", "token-in-environment")
    assert sign_in("acme").auth._secret.reveal() == "token-in-environment"
    Path(".env").write_text("DOMO_ACCESS_TOKEN__ACME=token-of-acme\n")
    assert sign_in("acme").auth._secret.reveal() == "token-of-acme"
