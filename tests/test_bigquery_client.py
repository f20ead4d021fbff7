"""How the kit comes to a project of BigQuery: settings, credentials, patience, queries,
datasets."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from conftest import bigquery_of
from secret_search import insides, leaks, listening, told_by

from domostats import sandbox
from domostats.clients.bigquery.client import open_client
from domostats.clients.bigquery.credentials import Bearer, find_credentials, find_key_entries
from domostats.clients.bigquery.datasets import group_label, prepare_dataset
from domostats.clients.bigquery.jobs import JobRunner
from domostats.clients.bigquery.queries import run_query, run_query_job
from domostats.clients.bigquery.session import BigQuerySession
from domostats.clients.bigquery.settings import ENDPOINT, read_bigquery_settings
from domostats.errors import (
    AccessError,
    CredentialsError,
    DataError,
    DestinationError,
    DomostatsError,
    RetryLaterError,
    SettingsError,
)
from domostats.instances import Instance
from domostats.transport.retry import Retry

pytest.importorskip("google.cloud.bigquery")
from google.auth import crypt  # noqa: E402
from google.cloud.bigquery import AccessEntry  # noqa: E402

PROJECT = "acme-analytics"
ANALYSTS, MANAGERS = "analysts@acme.example", "managers@acme.example"
INI = f"""
[bigquery]
project = {PROJECT}
dataset = domostats
location = EU
"""


served = bigquery_of(PROJECT)


@pytest.fixture
def box(served):
    served.heal()
    for name in [*served.datasets]:
        served.service.project.catalogue.delete_dataset(name, True)
    served.log.clear()
    yield served
    assert not served.mistakes, served.mistakes[0]


@pytest.fixture(autouse=True)
def no_machine_account(monkeypatch, tmp_path):
    "Nothing of the machine signs in."
    for name in (
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_CLOUD_PROJECT",
        "BIGQUERY_EMULATOR_HOST",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))


def at(box, **more):
    return read_bigquery_settings(PROJECT, more.pop("dataset", "d"), endpoint=box.url, **more)


# ---- settings


def test_settings_come_from_the_call_the_environment_and_the_file(monkeypatch):
    Path("settings.ini").write_text(f"[domostats]\n{INI}writers = {ANALYSTS}\n")
    assert read_bigquery_settings().project == PROJECT
    monkeypatch.setenv("DOMOSTATS_BIGQUERY_PROJECT", "from-environment")
    monkeypatch.setenv("DOMOSTATS_BIGQUERY_OWNERS", f"{MANAGERS}; BOSS@acme.example")
    found = read_bigquery_settings(location="US")
    assert (found.project, found.dataset, found.location) == ("from-environment", "domostats", "US")
    assert found.groups == {
        ANALYSTS: "WRITER",
        MANAGERS: "OWNER",
        "boss@acme.example": "OWNER",
    }
    assert read_bigquery_settings("from-the-call").project == "from-the-call"


def test_the_project_is_not_overruled_by_the_variable_of_google(monkeypatch, box):
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "somebody-elses")
    Path("settings.ini").write_text(f"[domostats]\n{INI}")
    with open_client(replace(read_bigquery_settings(), endpoint=box.url)) as client:
        assert client.project == PROJECT
        client.create_dataset("d")
    assert {call.path.split("/")[4] for call in box.log} == {PROJECT}
    Path("settings.ini").unlink()
    assert read_bigquery_settings(dataset="d").project == "somebody-elses"  # nothing else is said


@pytest.mark.parametrize(
    ("line", "reason", "names"),
    [
        ("project = Acme", "bad_name", "project under [bigquery]"),
        ("dataset = my-data", "bad_name", "dataset under [bigquery]"),
        ("location = E U", "bad_name", "location under [bigquery]"),
        ("readers = analysts", "bad_name", "readers under [bigquery]"),
        ("max_bytes_billed = many", "bad_limit", "max_bytes_billed under [bigquery]"),
        ("max_bytes_billed = 0", "bad_limit", "max_bytes_billed under [bigquery]"),
        ("endpoint = ftp://x", "bad_url", "endpoint under [bigquery]"),
        ("endpoint = bigquery-77", "no_sandbox", "bigquery-77"),
        ("projekt = x", "unknown_setting", "project"),
        (f"readers = {ANALYSTS}\nwriters = {ANALYSTS}", "twice", ANALYSTS),
    ],
)
def test_a_wrong_setting_is_named(line, reason, names):
    kept = [one for one in INI.splitlines() if one.split(" =")[0] != line.split(" =")[0]]
    Path("settings.ini").write_text("[domostats]\n" + "\n".join([*kept, line]) + "\n")
    with pytest.raises(SettingsError) as e:
        read_bigquery_settings()
    assert e.value.reason == reason and names in str(e.value)


def test_what_is_missing_is_named():
    with pytest.raises(SettingsError, match="which project .*DOMOSTATS_BIGQUERY_PROJECT") as e:
        read_bigquery_settings()
    assert e.value.reason == "missing_field"
    with pytest.raises(SettingsError, match="which dataset"):
        read_bigquery_settings(PROJECT)


def test_an_emulator_is_named_by_the_variable_of_google_or_a_sandbox(monkeypatch):
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", "emulator:9050")
    found = read_bigquery_settings(PROJECT, "d")
    assert (found.url, found.is_emulator) == ("http://emulator:9050", True)
    assert find_credentials(found) is None
    with sandbox.start_bigquery("another-project") as own:
        assert read_bigquery_settings(PROJECT, "d", endpoint=own.name).url == own.url


# ---- credentials


@pytest.fixture(scope="session")
def private_key():
    "The text of a private key that nobody uses."
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048)
    form = serialization.PrivateFormat.PKCS8
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, plain).decode()


def entries(private_key, **more):
    return {
        "type": "service_account",
        "project_id": PROJECT,
        "private_key_id": "k1",
        "private_key": private_key,
        "client_email": f"robot@{PROJECT}.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": "https://oauth2.googleapis.com/token",
        **more,
    }


def set_entries(monkeypatch, key):
    for name, value in key.items():
        monkeypatch.setenv(f"DOMOSTATS_BIGQUERY_{name.upper()}", value)


FORMS = {
    "line breaks": lambda text: text,
    "escaped": lambda text: text.replace("\n", "\\n"),
    "escaped, in quotes": lambda text: '"' + text.replace("\n", "\\n") + '"',
    "Windows": lambda text: text.replace("\n", "\r\n"),
    "no end": lambda text: text.strip(),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_private_key_of_the_environment_is_read_in_every_form(monkeypatch, private_key, form):
    set_entries(monkeypatch, entries(FORMS[form](private_key)))
    found = find_credentials(read_bigquery_settings(PROJECT, "d"))
    assert found.service_account_email.startswith("robot@")
    assert crypt.RSASigner.from_string(private_key).sign(b"x") == found.sign_bytes(b"x")


def test_a_private_key_stands_in_dotenv(private_key):
    escaped = private_key.replace("\n", "\\n")
    Path(".env").write_text(
        f"DOMOSTATS_BIGQUERY_PRIVATE_KEY='{escaped}'\n"
        "DOMOSTATS_BIGQUERY_CLIENT_EMAIL=robot@acme.example\n"
    )
    assert {*find_key_entries()} == {"private_key", "client_email"}
    assert (
        find_credentials(read_bigquery_settings(PROJECT, "d")).signer_email == "robot@acme.example"
    )


def test_a_key_file_is_read(private_key, tmp_path):
    file = tmp_path / "key.json"
    file.write_text(json.dumps(entries(private_key)))
    found = read_bigquery_settings(PROJECT, "d", key_file=file)
    assert find_credentials(found).service_account_email.startswith("robot@")
    Path("settings.ini").write_text(f"[domostats]\n{INI}key_file = key.json\n")
    Path("key.json").write_text(file.read_text())
    assert find_credentials(read_bigquery_settings()) is not None


def test_the_application_default_is_found(monkeypatch, private_key, tmp_path):
    file = tmp_path / "key.json"
    file.write_text(json.dumps(entries(private_key)))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    assert find_credentials(read_bigquery_settings(PROJECT, "d")) is not None


def test_missing_credentials_are_told_with_every_place():
    with pytest.raises(CredentialsError) as e:
        open_client(read_bigquery_settings(PROJECT, "d"))
    assert e.value.reason == "missing_secret"
    for place in ("key_file", "DOMOSTATS_BIGQUERY_PRIVATE_KEY", "GOOGLE_APPLICATION_CREDENTIALS",
                  "gcloud auth", ".env", "BIGQUERY_EMULATOR_HOST"):  # fmt: skip
        assert place in str(e.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "missing_secret"),
        ("{", "malformed_secret"),
        ("[1]", "malformed_secret"),
        ('{"client_email": "a@b.example"}', "malformed_secret"),
        (
            '{"client_email": "a@b.example", "private_key": "planted-secret-key"}',
            "malformed_secret",
        ),
    ],
)
def test_a_bad_key_file_is_told_and_not_shown(tmp_path, content, reason):
    file = tmp_path / "key.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(CredentialsError) as e:
        find_credentials(read_bigquery_settings(PROJECT, "d", key_file=file))
    assert e.value.reason == reason
    assert leaks(told_by(e.value), "planted-secret-key") == []


def test_half_a_key_is_an_error_that_names_the_other_half(monkeypatch, private_key):
    monkeypatch.setenv("DOMOSTATS_BIGQUERY_PRIVATE_KEY", private_key)
    with pytest.raises(CredentialsError, match="DOMOSTATS_BIGQUERY_CLIENT_EMAIL is missing"):
        find_credentials(read_bigquery_settings(PROJECT, "d"))


def test_two_keys_are_one_too_many(monkeypatch, private_key, tmp_path):
    set_entries(monkeypatch, entries(private_key))
    with pytest.raises(SettingsError) as e:
        find_credentials(read_bigquery_settings(PROJECT, "d", key_file=tmp_path / "key.json"))
    assert e.value.reason == "two_ways"


def test_a_real_key_is_not_for_an_emulator(monkeypatch, private_key, box):
    set_entries(monkeypatch, entries(private_key))
    with open_client(at(box)) as client:
        client.create_dataset("d")
    assert [call.bearer for call in box.log] == [False]
    own = f"{box.url}/token"
    set_entries(monkeypatch, entries(private_key, token_uri=own))
    assert find_credentials(at(box)) is not None


@pytest.mark.slow
def test_nothing_shows_a_key_or_a_token(monkeypatch, private_key, box):
    "What is printed, logged, raised, or held by the client: neither the key nor its token."
    middle = private_key.splitlines()[5]
    set_entries(monkeypatch, entries(private_key, token_uri=f"{box.url}/token"))

    class Token:
        valid = False
        token = "planted-token-0123456789"

        def refresh(self, request):
            self.valid = True

        def before_request(self, request, method, url, headers):
            headers["authorization"] = f"Bearer {self.token}"

    shown = []
    with listening() as heard:
        found = at(box)
        shown.append(insides(found))
        client = open_client(found, Retry(tries=2, first=0.001))
        client._http.bearer = Bearer(Token(), box.url)
        shown += [insides(client), insides(client._http), insides(client._http.bearer)]
        client.create_dataset("d")
        assert box.log[-1].bearer
        for fault, kind in (
            ("drop", RetryLaterError),
            ("unavailable", RetryLaterError),
            ("unauthorized", CredentialsError),
            ("forbidden", AccessError),
            ("html", DataError),
            ("cut", RetryLaterError),
        ):
            box.fail(fault, "/bigquery", times=5)
            with pytest.raises(kind) as e:
                prepare_dataset(client, found)
            box.heal()
            shown.append(told_by(e.value))
    shown.append(heard())
    for text in shown:
        assert leaks(text, middle, Token.token) == []
    with pytest.raises(TypeError):
        client._http.bearer.__reduce__()


def test_a_refused_key_is_told(monkeypatch, private_key, box):
    "The sandbox without a token endpoint, or with one that knows another key."
    set_entries(monkeypatch, entries(private_key, token_uri=f"{box.url}/nothing/here"))
    with open_client(at(box), Retry(tries=2, first=0.001)) as client, pytest.raises(DomostatsError):
        prepare_dataset(client, at(box))


# ---- patience


def test_a_request_is_tried_a_few_times_and_no_longer(box):
    with open_client(at(box)) as client:
        client.create_dataset("d")
        for fault in ("unavailable", "rate_limited", "server_error", "bad_gateway", "drop", "cut",
                      "truncated", "reset"):  # fmt: skip
            box.fail(fault, "/bigquery", times=5)
            assert client.get_dataset("d").dataset_id == "d"  # the sixth answers
            box.log.clear()
            box.fail(fault, "/bigquery", times=99)
            with pytest.raises(RetryLaterError, match="It was tried 6 times"):
                client.get_dataset("d")
            assert len(box.log) <= 6
            box.heal()


def test_what_does_not_pass_is_not_tried_again(box):
    from google.api_core.exceptions import Forbidden, NotFound

    with open_client(at(box)) as client:
        for fault, kind in (("quota_exceeded", Forbidden), ("not_found", NotFound)):
            box.log.clear()
            box.fail(fault, "/bigquery", times=9)
            with pytest.raises(kind):
                client.get_dataset("d")
            assert len(box.log) == 1
            box.heal()


def test_each_request_has_a_time_limit(box):
    session = BigQuerySession(at(box))
    given = []
    session.session.request = lambda *a, **more: given.append(more) or requests.Response()
    session._asked("GET", box.url, None, None, None)
    assert given[0]["timeout"] == (30, 120) and given[0]["allow_redirects"] is False


# ---- queries


def test_every_query_has_a_limit_and_its_refusal_names_the_setting(box):
    settings = at(box, max_bytes_billed=20_000_000)
    with open_client(settings) as client:
        client.create_dataset("d")
        run_query(client, settings, "CREATE TABLE d.t AS SELECT 1 AS n")
        sent = [json.loads(call.body) for call in box.log if call.path.endswith("/jobs")]
        limits = [one["configuration"]["query"]["maximumBytesBilled"] for one in sent]
        assert limits == ["20000000"]
        with pytest.raises(SettingsError, match="Raise max_bytes_billed") as e:
            run_query(client, replace(settings, max_bytes_billed=5), "SELECT n FROM d.t")
    assert e.value.reason == "too_many_bytes"


@pytest.mark.parametrize(
    ("sql", "kind", "reason"),
    [
        ("SELECT nothing", DestinationError, "query_failed"),
        ("SELECT 1 FROM nowhere.t", AccessError, "not_found"),
        ("SELECT ERROR('boo')", DestinationError, "query_failed"),
    ],
)
def test_a_failed_query_is_told_with_its_words(box, sql, kind, reason):
    with open_client(at(box)) as client, pytest.raises(kind) as e:
        run_query(client, at(box), sql)
    assert e.value.reason == reason and sql in str(e.value)


@pytest.mark.parametrize(
    "fault",
    ["drop_after", "unavailable_after", "cut", "truncated", "drop", "rate_limited", "job_running"],
)
def test_a_query_runs_once_whatever_is_lost(box, fault):
    settings = at(box)
    with open_client(settings) as client:
        client.create_dataset("d")
        run_query(client, settings, "CREATE TABLE d.t (n INT64)")
        for after in range(3):
            box.fail(fault, "/bigquery", after=after)
            id = f"insert_{fault}_{after}"
            run_query(client, settings, "INSERT INTO d.t VALUES (1)", name=id)
            run_query(client, settings, "INSERT INTO d.t VALUES (1)", name=id)
            box.heal()
        assert box.table("d.t").num_rows == 3


def test_a_job_that_the_service_failed_is_asked_for_again(box):
    settings = at(box)
    with open_client(settings) as client:
        client.create_dataset("d")
        run_query(client, settings, "CREATE TABLE d.t (n INT64)")
        runner = JobRunner(client, settings)
        insert = "INSERT INTO d.t VALUES (1)"
        box.fail("job_failed", f"/bigquery/v2/projects/{PROJECT}/jobs", times=3)
        assert run_query_job(runner, insert, name="j").job_id == "j_3"
        assert box.table("d.t").num_rows == 1
        box.fail("job_failed", "/bigquery", times=99)
        with pytest.raises(RetryLaterError, match="the insert"):
            run_query_job(runner, insert, name="k", doing="the insert")
        assert box.table("d.t").num_rows == 1


# ---- datasets


def groups_of(client):
    found = client.get_dataset("d").access_entries
    return {(one.role, one.entity_id) for one in found if one.entity_type == "groupByEmail"}


def test_groups_follow_the_settings_and_others_stay(box):
    with open_client(at(box)) as client:
        prepare_dataset(client, at(box, location="EU", groups={ANALYSTS: "READER"}))
        before = client.get_dataset("d")
        owners = [one for one in before.access_entries if one.entity_type == "specialGroup"]
        assert owners and groups_of(client) == {("READER", ANALYSTS)}
        theirs = AccessEntry("READER", "groupByEmail", "auditors@acme.example")
        before.access_entries = [*before.access_entries, theirs]
        before.labels = {**before.labels, "team": "data"}
        client.update_dataset(before, ["access_entries", "labels"])
        both = {MANAGERS: "WRITER", "auditors@acme.example": "READER"}
        prepare_dataset(client, at(box, groups=both))
        assert groups_of(client) == {("WRITER", MANAGERS), ("READER", "auditors@acme.example")}
        prepare_dataset(client, at(box))  # nothing is said of groups
        assert len(groups_of(client)) == 2
        prepare_dataset(client, at(box, groups={}))  # what was there before us stays
        assert groups_of(client) == {("READER", "auditors@acme.example")}
        after = client.get_dataset("d")
        left = [one for one in after.access_entries if one.entity_type == "specialGroup"]
        assert left == owners and after.labels == {"team": "data"}


def test_groups_are_for_the_dataset_that_the_settings_name(monkeypatch):
    groups = {ANALYSTS: "READER"}

    def found(text, *names, **variables):
        Path("settings.ini").write_text(f"[domostats]\n{text}\n")
        with monkeypatch.context() as patched:
            for name, value in variables.items():
                patched.setenv(name, value)
            return read_bigquery_settings(*names).groups

    own = f"[bigquery]\nreaders = {ANALYSTS}\nproject = {PROJECT}\ndataset = d"
    assert found(own) == found(own, PROJECT, "d") == found(own, PROJECT) == groups
    assert found(own, PROJECT, "other") is found(own, "acme-other", "d") is None
    assert found(own, DOMOSTATS_BIGQUERY_DATASET="other") == groups
    assert found(own, PROJECT, "d", DOMOSTATS_BIGQUERY_DATASET="other") is None
    no_groups = own.replace("readers", "# readers")
    assert found(no_groups) == {}  # and those that were there go
    named = f"[bigquery]\nreaders = {ANALYSTS}\n[extractors]\nwarehouse = bigquery:{PROJECT}.d"
    assert found(named, PROJECT, "d") == groups and found(named, PROJECT, "other") is None
    half = f"[bigquery]\nreaders = {ANALYSTS}\ndataset = d"
    assert found(half, PROJECT, "d", GOOGLE_CLOUD_PROJECT=PROJECT) == groups
    with pytest.warns(UserWarning, match=f"{ANALYSTS} may see a dataset.*not said which"):
        assert found(half, PROJECT, "d") is None


def test_nothing_is_written_where_nothing_differs(box):
    settings = at(box, groups={ANALYSTS: "READER", MANAGERS: "OWNER"})
    with open_client(settings) as client:
        prepare_dataset(client, settings)
        box.log.clear()
        prepare_dataset(client, settings)
        assert [call.method for call in box.log] == ["GET"]


def test_more_groups_than_a_dataset_can_remember_are_refused(box):
    many = {f"group{n}@acme.example": "READER" for n in range(65)}
    with open_client(at(box)) as client, pytest.raises(SettingsError) as e:
        prepare_dataset(client, at(box, groups=many))
    assert e.value.reason == "too_many_groups"


def test_somebody_who_comes_in_between_is_heeded(box, monkeypatch):
    settings = at(box, groups={ANALYSTS: "READER"})
    with open_client(settings) as client:
        client.create_dataset("d")
        usual, came = client.update_dataset, []

        def late(dataset, fields):
            if len(came) < 3:
                came.append(1)
                other = client.get_dataset("d")
                guest = AccessEntry("READER", "groupByEmail", f"g{len(came)}@acme.example")
                other.access_entries = [*other.access_entries, guest]
                usual(other, ["access_entries"])
            return usual(dataset, fields)

        monkeypatch.setattr(client, "update_dataset", late)
        prepare_dataset(client, settings)
        guests = {("READER", f"g{n}@acme.example") for n in (1, 2, 3)}
        assert groups_of(client) == guests | {("READER", ANALYSTS)}


@pytest.mark.parametrize("fault", ["drop_after", "unavailable_after", "drop", "conflict"])
def test_a_dataset_is_made_and_shared_whatever_is_lost(box, fault):
    settings = at(box, groups={ANALYSTS: "READER"})
    with open_client(settings) as client:
        for after in range(4):
            box.fail(fault, "/bigquery", after=after)
            try:
                prepare_dataset(client, settings)
            except DomostatsError as e:
                assert "dataset" in str(e)
            box.heal()
            prepare_dataset(client, settings)
            assert groups_of(client) == {("READER", ANALYSTS)}
            assert group_label("READER", ANALYSTS) in client.get_dataset("d").labels
            client.delete_dataset("d")


def test_a_dataset_elsewhere_is_an_error_with_both_places(box):
    with open_client(at(box)) as client:
        prepare_dataset(client, at(box, location="EU"))
        with pytest.raises(SettingsError, match="lies in EU, and the settings say US") as e:
            prepare_dataset(client, at(box, location="US"))
    assert e.value.reason == "other_location"


def test_the_address_of_google_is_the_usual_one():
    assert read_bigquery_settings(PROJECT, "d").url == ENDPOINT
    assert repr(Bearer(None, ENDPOINT)) == "<credential for BigQuery>"
    assert Instance("bigquery", ENDPOINT).secrets == {}
