"""Signing in at the sandbox's BigQuery with a key file, by Google's client as it is."""

import datetime
import json
import os
import re
import signal
import subprocess
import sys
import threading

import pytest
import requests
from commands import run

from domostats import sandbox
from domostats.errors import CredentialsError, DestinationError, SettingsError

bigquery = pytest.importorskip("google.cloud.bigquery")
from google.auth import _helpers, jwt  # noqa: E402
from google.auth.credentials import AnonymousCredentials  # noqa: E402
from google.auth.exceptions import InvalidOperation, RefreshError  # noqa: E402
from google.oauth2 import service_account  # noqa: E402

PROJECT = "key-files"
AUDIENCE = "https://oauth2.googleapis.com/token"
SCOPE = "https://www.googleapis.com/auth/bigquery"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@pytest.fixture(scope="module")
def served():
    with sandbox.start_bigquery(PROJECT, "EU", needs_token=True) as running:
        yield running


@pytest.fixture
def box(served):
    served.heal()
    for name in [*served.datasets]:
        served.service.project.catalogue.delete_dataset(name, True)
    served.service.account.tokens.clear()
    served.log.clear()
    yield served
    assert not served.mistakes, served.mistakes[0]


def credentials_of(box, **changed):
    info = json.loads(box.key_file.reveal()) | changed
    return service_account.Credentials.from_service_account_info(info, scopes=[SCOPE])


def new_client(box, credentials):
    return bigquery.Client(
        project=box.project, credentials=credentials, client_options={"api_endpoint": box.url}
    )


def domostats(*words):
    "Run the command; gives its exit code and all it printed."
    code, out, err = run(*words, environment={"COLUMNS": "200"})
    return code, out + err


def asked(box):
    return [(call.method, call.path.rpartition("/")[2], call.status) for call in box.log]


def test_a_client_with_the_key_file_does_its_work(box):
    with new_client(box, credentials_of(box)) as client:
        client.create_dataset("d")
        client.load_table_from_json([{"n": 1}], f"{PROJECT}.d.t").result()
        assert [row.n for row in client.query_and_wait("SELECT n + 1 AS n FROM d.t")] == [2]
    assert asked(box)[0] == ("POST", "token", 200) and all(call.bearer for call in [*box.log][1:])
    assert [call.path for call in box.log].count("/token") == 1  # one token serves for all of it


def test_the_variable_of_google_names_the_file(box, tmp_path, monkeypatch):
    path = box.write_key_file(tmp_path / "key.json")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", box.url)
    with bigquery.Client() as client:  # the project stands in the key file
        assert client.project == PROJECT and [*client.list_datasets()] == []


def test_a_large_file_signs_in_for_each_of_its_pieces(box, tmp_path):
    with new_client(box, credentials_of(box)) as client:
        client.create_dataset("d")
        source = tmp_path / "rows.json"
        source.write_text('{"n": 1}\n')
        with source.open("rb") as file:
            config = bigquery.LoadJobConfig(source_format="NEWLINE_DELIMITED_JSON", autodetect=True)
            client.load_table_from_file(file, f"{PROJECT}.d.t", job_config=config).result()
    assert box.table("d.t").to_pylist() == [{"n": 1}]


def test_without_a_token_nobody_comes_in(box):
    with new_client(box, AnonymousCredentials()) as client, pytest.raises(InvalidOperation):
        client.create_dataset("d")
    reply = requests.get(f"{box.url}/bigquery/v2/projects/{PROJECT}/datasets", timeout=10)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["status"]) == (401, 401, "UNAUTHENTICATED")
    assert error["errors"][0]["location"] == "Authorization"
    assert reply.headers["www-authenticate"] == 'Bearer realm="https://accounts.google.com/"'
    assert not box.datasets


@pytest.mark.parametrize("header", ["Bearer nonsense", "Basic YTpi", "Bearer", "Bearer a.b.c", "x"])
def test_a_token_of_nobody_is_refused(box, header):
    url = f"{box.url}/upload/bigquery/v2/projects/{PROJECT}/jobs?uploadType=multipart"
    reply = requests.post(url, headers={"Authorization": header}, timeout=10)
    assert reply.status_code == 401 and 'error="invalid_token"' in reply.headers["www-authenticate"]
    assert reply.json()["error"]["errors"][0]["reason"] == "authError"


def test_a_token_that_has_expired_here_is_renewed_by_the_client(box):
    with new_client(box, credentials_of(box)) as client:
        client.create_dataset("d")
        box.clock.step(3_601)
        client.create_dataset("e")
    assert [*box.datasets] == ["d", "e"]
    assert asked(box) == [
        ("POST", "token", 200),
        ("POST", "datasets", 200),
        ("POST", "datasets", 401),
        ("POST", "token", 200),
        ("POST", "datasets", 200),
    ]


def test_a_token_that_lives_shortly_is_renewed_before_it_ends(box):
    box.service.set_rules(token_seconds=10)
    with new_client(box, credentials_of(box)) as client:
        client.create_dataset("d")
        client.create_dataset("e")
    assert [status for *_, status in asked(box)] == [200] * 4  # no call was tried with an old one


def test_a_key_of_another_sandbox_is_told_from_this_one(box):
    with sandbox.start_bigquery(PROJECT, "US") as other:
        strange = json.loads(other.key_file.reveal())
    mine = json.loads(box.key_file.reveal())
    assert strange["private_key"] != mine["private_key"]
    wrong = credentials_of(box, private_key=strange["private_key"])
    with new_client(box, wrong) as client, pytest.raises(RefreshError) as refusal:
        client.create_dataset("d")
    assert refusal.value.args[1]["error"] == "invalid_grant"
    assert "Invalid JWT Signature." in str(refusal.value)
    stranger = credentials_of(box, client_email="nobody@key-files.iam.gserviceaccount.com")
    with (
        new_client(box, stranger) as client,
        pytest.raises(RefreshError, match="account not found"),
    ):
        client.create_dataset("d")
    assert {path for _, path, _ in asked(box)} == {"token"} and not box.datasets


@pytest.mark.parametrize("minutes", [-120, 120])
def test_a_wrong_clock_is_told(box, monkeypatch, minutes):
    now = _helpers.utcnow() + datetime.timedelta(minutes=minutes)
    monkeypatch.setattr(_helpers, "utcnow", lambda: now)
    with new_client(box, credentials_of(box)) as client, pytest.raises(RefreshError) as refusal:
        client.create_dataset("d")
    assert "Check your iat and exp values" in str(refusal.value)


def ask_for_token(box, signer=None, **claims):
    now = _helpers.datetime_to_secs(_helpers.utcnow())
    made = credentials_of(box)
    body = {"iat": now, "exp": now + 3_600, "iss": made.service_account_email, "aud": AUDIENCE}
    body |= {"scope": SCOPE} | claims
    text = jwt.encode(signer or made.signer, {k: v for k, v in body.items() if v is not None})
    form = {"grant_type": GRANT, "assertion": text}
    return requests.post(f"{box.url}/token", data=form, timeout=10)


@pytest.mark.parametrize(
    ("claims", "error"),
    [
        ({"aud": "https://example.com/token"}, "invalid_grant"),
        ({"aud": None}, "invalid_grant"),
        ({"aud": ["https://oauth2.googleapis.com/token"]}, "invalid_grant"),
        ({"exp": None}, "invalid_grant"),
        ({"iat": None}, "invalid_grant"),
        ({"exp": "soon"}, "invalid_grant"),
        ({"exp": 9_999_999_999}, "invalid_grant"),
        ({"iss": None}, "invalid_grant"),
        ({"scope": None}, "invalid_scope"),
        ({"scope": " "}, "invalid_scope"),
        ({"sub": "boss@example.com"}, "unauthorized_client"),
    ],
)
def test_what_a_signed_text_may_not_claim(box, claims, error):
    reply = ask_for_token(box, **claims)
    assert reply.status_code in (400, 401) and reply.json()["error"] == error, reply.text
    assert "access_token" not in reply.text and not box.service.account.tokens


def test_forms_that_are_none(box):
    url = f"{box.url}/token"
    assert requests.get(url, timeout=10).status_code == 405
    for form, error in (
        ({}, "unsupported_grant_type"),
        ({"grant_type": "refresh_token"}, "unsupported_grant_type"),
        ({"grant_type": GRANT}, "invalid_grant"),
        ({"grant_type": GRANT, "assertion": "a.b.c"}, "invalid_grant"),
        ({"grant_type": GRANT, "assertion": "é" * 10}, "invalid_grant"),
        ({"grant_type": GRANT, "assertion": "bnVsbA.bnVsbA.bnVsbA"}, "invalid_grant"),
    ):
        reply = requests.post(url, data=form, timeout=10)
        assert (reply.status_code, reply.json()["error"]) == (400, error), form
    assert requests.post(url, data=b"\xff\xfe", timeout=10).status_code == 400


def test_a_signature_without_a_key_is_none(box):
    def part(value):
        return _helpers.unpadded_urlsafe_b64encode(json.dumps(value).encode()).decode()

    now = _helpers.datetime_to_secs(_helpers.utcnow())
    email = credentials_of(box).service_account_email
    claims = {"iat": now, "exp": now + 60, "iss": email, "aud": AUDIENCE, "scope": SCOPE}
    text = f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims)}."
    reply = requests.post(
        f"{box.url}/token", data={"grant_type": GRANT, "assertion": text}, timeout=10
    )
    assert reply.json() == {
        "error": "invalid_grant",
        "error_description": "Invalid JWT Signature.",
    }


def test_a_scope_of_something_else_opens_nothing(box):
    token = ask_for_token(box, scope="https://www.googleapis.com/auth/drive").json()["access_token"]
    reply = requests.get(
        f"{box.url}/bigquery/v2/projects/{PROJECT}/datasets",
        headers={"Authorization": f"Bearer {token}"},
        timeout=10,
    )
    assert reply.status_code == 403
    assert reply.json()["error"]["errors"][0]["reason"] == "insufficientPermissions"


def test_a_text_that_the_client_signs_for_the_service_itself_is_a_token(box):
    with new_client(box, credentials_of(box).with_always_use_jwt_access(True)) as client:
        client.create_dataset("d")
    assert asked(box) == [("POST", "datasets", 200)]


def test_a_token_endpoint_that_fails_for_a_moment_is_asked_again(box, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    box.fail("unavailable", path="/token", times=2)
    with new_client(box, credentials_of(box)) as client:
        client.create_dataset("d")
    assert [status for *_, status in asked(box)] == [503, 503, 200, 200]


def test_the_log_holds_nothing_that_signs_in(box):
    with new_client(box, credentials_of(box)) as client:
        client.create_dataset("d")
    [token] = box.service.account.tokens
    noted = repr([*box.log])
    assert "assertion=***" in noted and token not in noted and "eyJ" not in noted
    assert "PRIVATE KEY" not in repr(box) + repr(vars(box)) + str(box.key_file)


def test_ten_programs_sign_in_at_once(box):
    def work(number):
        with new_client(box, credentials_of(box)) as client:
            client.create_dataset(f"d{number}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(box.datasets) == 10 and len(box.service.account.tokens) == 10


def test_our_client_signs_in_with_the_key_file_too(box, tmp_path):
    from domostats.clients.bigquery.client import open_client
    from domostats.clients.bigquery.settings import read_bigquery_settings

    path = box.write_key_file(tmp_path / "key.json")
    settings = read_bigquery_settings(PROJECT, "d", endpoint=box.url, key_file=path)
    with open_client(settings) as client:
        client.create_dataset("d")
        box.clock.step(3_601)
        client.create_dataset("e")
    assert [*box.datasets] == ["d", "e"]
    with open_client(read_bigquery_settings(PROJECT, "d", endpoint=box.url)) as client:
        with pytest.raises(CredentialsError) as refusal:
            client.create_dataset("f")
    assert refusal.value.reason == "bad_token"


def test_where_nothing_is_asked_for_everybody_comes_in():
    with sandbox.start_bigquery("open-house") as box:
        for credentials in (AnonymousCredentials(), credentials_of(box)):
            with new_client(box, credentials) as client:
                client.create_dataset("d", exists_ok=True)
        assert not box.mistakes


def test_rules_are_of_their_kind(box):
    for rule in ({"needs_token": 1}, {"token_seconds": True}, {"token_seconds": -1}, {"no": True}):
        with pytest.raises(SettingsError) as refusal:
            box.service.set_rules(**rule)
        assert refusal.value.reason == "bad_argument"


def test_a_key_file_is_private_and_writes_over_nothing(box, tmp_path):
    path = box.write_key_file(tmp_path / "key.json")
    assert path.stat().st_mode & 0o777 == 0o600
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for taken in (path, tmp_path / "link", tmp_path, tmp_path / "no" / "folder"):
        with pytest.raises(DestinationError) as refusal:
            box.write_key_file(taken)
        assert refusal.value.reason == "not_written"
    assert json.loads(path.read_text())["type"] == "service_account"


def test_a_command_writes_a_key_file_and_takes_it_away(tmp_path):
    path = tmp_path / "key.json"
    words = "bigquery-sandbox", "--project", PROJECT, "--needs-token", "--key-file", path
    command = [sys.executable, "-m", "domostats", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            process.stdout.readline()
            lines = [process.stdout.readline().strip() for _ in range(3)]
            found = dict(line.split("=", 1) for line in lines)
            assert found["GOOGLE_APPLICATION_CREDENTIALS"] == str(path)
            code = (
                "from google.cloud import bigquery; client = bigquery.Client(); "
                "client.create_dataset('d'); print([d.dataset_id for d in client.list_datasets()])"
            )
            done = subprocess.run(
                [sys.executable, "-c", code],
                env=os.environ | found,
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert done.stdout.strip() == "['d']", done.stderr[-2000:]
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert not path.exists()


@pytest.mark.parametrize("is_there", [False, True])
def test_a_command_that_lets_nobody_in_is_refused(is_there, tmp_path):
    path = tmp_path / "key.json"
    path.write_text("mine")
    words = ["--key-file", str(path)] if is_there else ["--needs-token"]
    code, printed = domostats("bigquery-sandbox", *words)
    assert code == (7 if is_there else 2) and "Traceback" not in printed
    assert re.search("is there already" if is_there else "without --key-file", printed)
    assert path.read_text() == "mine"


def test_what_is_checked_before_a_warehouse_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("DOMOSTATS_BIGQUERY_DATASET", "d")
    with sandbox.start_bigquery("checked-one") as box:
        with new_client(box, AnonymousCredentials()) as client:
            client.create_dataset("sales")
        monkeypatch.setenv("DOMOSTATS_BIGQUERY_PROJECT", "checked-one")
        code, printed = domostats("check", box.name)
        assert code == 0 and "1 datasets are seen: sales" in printed, printed
        code, printed = domostats("generate", "accounts", "--instance", box.name, "--to", "a.csv")
        assert code == 3 and "wrong_platform" in printed and "Traceback" not in printed
