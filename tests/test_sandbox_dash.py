"""The sandbox's Comotion Dash, asked by plain requests: what it takes, what it refuses, and what
goes wrong on request."""

import asyncio
import base64
import hashlib
import io
import json
import re
import secrets
import threading
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests

from domostats import sandbox
from domostats.errors import SettingsError
from domostats.instances import find_instance
from domostats.sandbox.dash.faults import AFTER, BEFORE, api_error
from domostats.sandbox.dash.form_reader import FormReader, load_multipart
from domostats.sandbox.dash.load_checks import LoadFailure, common_schema
from domostats.sandbox.dash.routes import answer_request, describe_routes
from domostats.sandbox.dash.sql import make_lake, use_lake
from domostats.sandbox.dash.store import store_error
from domostats.sandbox.replies import Reply
from domostats.sandbox.server import break_off, send_reply
from domostats.sandbox.tokens import load_joserfc

REDIRECT = "http://localhost:45135"


@pytest.fixture(scope="module")
def served():
    with sandbox.start_dash("face") as box:
        yield box


@pytest.fixture
def box(served):
    served.heal()
    served.log.clear()
    return served


class Caller:
    "Plain requests with a token of the application."

    def __init__(self, box):
        self.box = box
        self.tokens = f"{box.realm.signer.issuer}/protocol/openid-connect/token"
        self.bearer = {"Authorization": f"Bearer {self.token()}"}

    def form(self, **fields):
        return requests.post(self.tokens, fields, timeout=10)

    def token(self):
        return self.form(
            grant_type="client_credentials",
            client_id=self.box.client_id,
            client_secret=self.box.client_secret.reveal(),
        ).json()["access_token"]

    def ask(self, method, path, **more):
        more.setdefault("headers", self.bearer)
        more.setdefault("allow_redirects", False)
        return requests.request(method, f"{self.box.url}/v2{path}", timeout=30, **more)

    def load(self, table, **fields):
        body = {"load_type": "APPEND_ONLY", "table_name": table, **fields}
        return self.ask("POST", "/load", json=body).json()["loadId"]

    def place(self, load, **fields):
        return self.ask("POST", f"/load/{load}/file", json=fields).json()

    def put(self, load, key, rows):
        place = self.place(load, file_key=key)["presigned_url"]
        content = io.BytesIO()
        pq.write_table(rows, content)
        return requests.post(
            place["url"], place["fields"], files={"file": content.getvalue()}, timeout=30
        )

    def commit(self, load, **sums):
        return self.ask("POST", f"/load/{load}/commit", json={"check_sum": sums})

    def outcome(self, load):
        for _ in range(50):
            found = self.ask("GET", f"/load/{load}").json()
            if found["LoadStatus"] != "PROCESSING":
                return found
        raise AssertionError("it never ended")

    def query(self, sql):
        return self.ask("POST", "/query", json={"query": sql})

    def finished(self, sql):
        id = self.query(sql).json()["queryId"]
        self.box.queries[id].thread.join(30)
        for _ in range(50):
            found = self.ask("GET", f"/query/{id}").json()
            if found["status"]["state"] not in ("QUEUED", "RUNNING"):
                return id, found
        raise AssertionError("it never ended")


@pytest.fixture
def caller(box):
    return Caller(box)


def name(what="t"):
    return f"{what}_{secrets.token_hex(4)}x"


ROWS = pa.table({"id": ["001", "002", "003"], "salary": [1.5, 2.5, 8.0]})

# The realm.


def authorize(box, verifier, **changed):
    digest = hashlib.sha256(verifier.encode()).digest()
    asked = {
        "response_type": "code",
        "client_id": "comotion_cli",
        "redirect_uri": REDIRECT,
        "scope": "openid",
        "state": "s-1",
        "nonce": "n-1",
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
        **changed,
    }
    reply = requests.get(
        f"{box.realm.signer.issuer}/protocol/openid-connect/auth",
        params={key: value for key, value in asked.items() if value is not None},
        allow_redirects=False,
        timeout=10,
    )
    back = parse_qs(urlsplit(reply.headers.get("location", "")).query)
    return reply, {key: values[0] for key, values in back.items()}


VERIFIER = "v" * 52


def exchange(caller, given, **changed):
    return caller.form(
        **{
            "grant_type": "authorization_code",
            "code": given,
            "redirect_uri": REDIRECT,
            "client_id": "comotion_cli",
            "code_verifier": VERIFIER,
            **changed,
        }
    )


def test_a_code_becomes_tokens_that_the_published_keys_have_signed(box, caller):
    reply, back = authorize(box, VERIFIER)
    assert reply.status_code == 302 and back["state"] == "s-1"
    tokens = exchange(caller, back["code"]).json()
    jwk, jwt = load_joserfc()
    certs = f"{box.realm.signer.issuer}/protocol/openid-connect/certs"
    keys = jwk.KeySet.import_key_set(requests.get(certs, timeout=10).json())
    claims = jwt.decode(tokens["id_token"], keys, algorithms=["RS256"]).claims
    assert claims["nonce"] == "n-1" and claims["preferred_username"] == "ada"
    assert claims["iss"] == box.realm.signer.issuer and claims["aud"] == "comotion_cli"
    access = jwt.decode(tokens["access_token"], keys, algorithms=["RS256"]).claims
    assert access["aud"] == ["dash_api"] and "load:write" in access["scope"]
    assert exchange(caller, back["code"]).json()["error"] == "invalid_grant", "a code works once"


@pytest.mark.parametrize(
    "changed",
    [{"code_verifier": "w" * 52}, {"redirect_uri": "http://localhost:1"}, {"code": "other"}],
)
def test_a_code_is_worth_nothing_without_what_belongs_to_it(box, caller, changed):
    _, back = authorize(box, VERIFIER)
    assert exchange(caller, back["code"], **changed).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "changed",
    [{"client_id": "x"}, {"redirect_uri": "https://elsewhere.example.com"}],
)
def test_nobody_is_sent_to_a_stranger(box, changed):
    reply, back = authorize(box, VERIFIER, **changed)
    assert reply.status_code == 400 and not back


@pytest.mark.parametrize(
    "changed",
    [
        {"response_type": "token"},
        {"scope": "email"},
        {"code_challenge": None},
        {"code_challenge_method": "plain"},
    ],
)
def test_a_login_without_pkce_or_openid_brings_an_error_and_no_code(box, changed):
    _, back = authorize(box, VERIFIER, **changed)
    assert "error" in back and "code" not in back and back["state"] == "s-1"


def refresh(caller, token):
    return caller.form(grant_type="refresh_token", client_id="comotion_cli", refresh_token=token)


def test_a_refresh_token_works_once_where_they_rotate(box, caller):
    first = str(box.realm.log_in().reveal())
    second = refresh(caller, first).json()["refresh_token"]
    assert refresh(caller, first).json()["error"] == "invalid_grant"
    assert second != first and refresh(caller, second).status_code == 200
    box.rules.rotate = False
    kept = str(box.realm.log_in().reveal())
    assert [refresh(caller, kept).status_code for _ in range(2)] == [200, 200]


def test_a_second_use_may_end_the_session(box, caller):
    box.rules.reuse_ends_session = True
    first = str(box.realm.log_in().reveal())
    second = refresh(caller, first).json()["refresh_token"]
    assert refresh(caller, first).status_code == 400
    assert refresh(caller, second).json()["error_description"] == "Token is not active"


@pytest.mark.parametrize("waited, status", [(99, 200), (102, 400)])
def test_a_refresh_token_lasts_as_long_as_the_rule_says(box, caller, waited, status):
    box.rules.refresh_seconds = 100
    token = str(box.realm.log_in().reveal())
    box.clock.step(waited)
    reply = refresh(caller, token)
    assert reply.status_code == status
    if status == 200:
        assert reply.json()["refresh_expires_in"] == 100


def test_people_may_do_what_the_rule_says_and_no_more(box, caller):
    box.rules.user_scopes = ("load:write",)
    token = refresh(caller, str(box.realm.log_in().reveal())).json()["access_token"]
    bearer = {"Authorization": f"Bearer {token}"}
    body = {"load_type": "APPEND_ONLY", "table_name": name()}
    assert caller.ask("POST", "/load", json=body, headers=bearer).status_code == 202
    refused = caller.ask("POST", "/query", json={"query": "SELECT 1"}, headers=bearer)
    assert refused.status_code == 403


@pytest.mark.parametrize(
    "looks, audience, status",
    [(False, "other_api", 202), (True, "other_api", 403), (True, "dash_api", 202)],
)
def test_a_token_for_another_api_is_refused_where_the_rule_looks(
    box, caller, looks, audience, status
):
    box.rules.audience = looks
    token = box.realm.signer.issue(60, aud=[audience], scope="load:write").reveal()
    body = {"load_type": "APPEND_ONLY", "table_name": name()}
    reply = caller.ask("POST", "/load", json=body, headers={"Authorization": f"Bearer {token}"})
    assert reply.status_code == status


def test_what_the_realm_refuses_it_says_in_the_words_of_keycloak(box, caller):
    bad = caller.form(grant_type="client_credentials", client_id="etl-app", client_secret="x")
    assert (bad.status_code, bad.json()["error"]) == (401, "unauthorized_client")
    lost = requests.post(caller.tokens.replace("/face/", "/other/"), {}, timeout=10)
    assert lost.status_code == 404 and lost.json() == {"error": "Realm does not exist"}
    assert caller.form(grant_type="password").json()["error"] == "unsupported_grant_type"


# Loads.


def test_files_become_rows_at_once(box, caller):
    table = name()
    load = caller.load(table, load_as_service_client_id="0", partitions=["day(effective_date)"])
    assert re.fullmatch(r"\d{14}_[0-9a-f]{8}(_[0-9a-f]{4}){3}_[0-9a-f]{12}", load)
    assert caller.put(load, "part_1", ROWS).status_code == 204
    assert caller.put(load, "part_2", ROWS.slice(0, 1)).status_code == 204
    assert box.table(table).num_rows == 0
    reply = caller.commit(load, **{"count(*)": 4, "sum(salary)": "13.5"})
    assert reply.status_code == 202
    assert caller.ask("GET", f"/load/{load}").json() == {"LoadStatus": "PROCESSING"}
    assert caller.outcome(load) == {"LoadStatus": "SUCCESS"}
    rows = box.table(table).to_pylist()
    assert sorted(row["id"] for row in rows) == ["001", "001", "002", "003"]
    assert {row["service_client_id"] for row in rows} == {"0"}


def test_the_same_key_twice_is_the_later_file(box, caller):
    table = name()
    load = caller.load(table, load_as_service_client_id="0")
    caller.put(load, "part_1", ROWS)
    caller.put(load, "part_1", ROWS.slice(0, 1))
    caller.commit(load, **{"count(*)": 1})
    assert caller.outcome(load)["LoadStatus"] == "SUCCESS" and box.table(table).num_rows == 1


@pytest.mark.parametrize("objects", [False, True])
def test_a_wrong_check_sum_fails_later_and_leaves_no_row(box, caller, objects):
    box.rules.message_objects = objects
    table = name()
    load = caller.load(table, load_as_service_client_id="0")
    caller.put(load, "part_1", ROWS)
    assert caller.commit(load, **{"count(*)": 4}).status_code == 202
    found = caller.outcome(load)
    said = "Check sum failed: count(*) expected 4, got 3"
    message = found["ErrorMessages"][0]
    assert (message["ErrorMessage"] if objects else message) == said
    assert found["LoadStatus"] == "FAIL" and box.table(table).num_rows == 0
    assert caller.commit(load, **{"count(*)": 3}).status_code == 400, "a closed load stays closed"
    assert caller.ask("POST", f"/load/{load}/file", json={}).status_code == 400


@pytest.mark.parametrize(
    "partition, outcome",
    [
        ("id", "SUCCESS"),
        ("bucket(4, salary)", "SUCCESS"),
        ("day(effective_date)", "PartitionError"),
        ("salaries", "PartitionError"),
    ],
)
def test_partitions_name_columns_where_the_rule_looks(box, caller, partition, outcome):
    box.rules.check_partitions = True
    table = name()
    load = caller.load(table, load_as_service_client_id="0", partitions=["id", partition])
    caller.put(load, "part_1", ROWS)
    caller.commit(load, **{"count(*)": 3})
    found = caller.outcome(load)
    if outcome == "SUCCESS":
        assert found == {"LoadStatus": "SUCCESS"}
    else:
        assert found["ErrorType"] == outcome and partition in found["ErrorMessages"][0]
    assert box.table(table).num_rows == (3 if outcome == "SUCCESS" else 0)


@pytest.mark.parametrize(
    "may_be_empty, rows, outcome", [(False, 0, "FAIL"), (True, 0, "SUCCESS"), (True, 1, "FAIL")]
)
def test_a_load_without_a_file_succeeds_only_where_the_rule_says_so(
    box, caller, may_be_empty, rows, outcome
):
    box.rules.empty_succeeds = may_be_empty
    load = caller.load(name(), load_as_service_client_id="0")
    caller.commit(load, **{"count(*)": rows})
    assert caller.outcome(load)["LoadStatus"] == outcome


@pytest.mark.parametrize(
    "tolerance, said, outcome",
    [(None, 12.01, "FAIL"), (0.01, 12.1, "SUCCESS"), (0.01, 12.2, "FAIL"), (0.01, 11.8, "FAIL")],
)
def test_a_sum_may_be_off_by_the_tolerance_of_the_rule(box, caller, tolerance, said, outcome):
    "A part of the sum, which is 12: a hundredth of it is 0.12."
    if tolerance is not None:
        box.rules.tolerance = tolerance
    load = caller.load(name(), load_as_service_client_id="0")
    caller.put(load, "part_1", ROWS)
    caller.commit(load, **{"count(*)": 3, "sum(salary)": said})
    assert caller.outcome(load)["LoadStatus"] == outcome


def test_what_is_said_of_a_load_that_is_closed_or_not_there_follows_the_rules(box, caller):
    load = caller.load(name(), load_as_service_client_id="0")
    caller.put(load, "part_1", ROWS)
    caller.commit(load, **{"count(*)": 3})
    caller.outcome(load)
    elsewhere = load[:-4] + "0000"
    said = []
    for closed, unknown in ((400, 400), (409, 404)):
        box.rules.closed_status, box.rules.unknown_load_status = closed, unknown
        said.append(caller.commit(load, **{"count(*)": 3}).status_code)
        said.append(caller.ask("GET", f"/load/{elsewhere}").status_code)
    assert said == [400, 400, 409, 404]


def test_whose_rows_they_are_must_be_said(box, caller):
    table = name()
    load = caller.load(table)
    caller.put(load, "part_1", ROWS)
    caller.commit(load, **{"count(*)": 3})
    assert "service_client_id" in caller.outcome(load)["ErrorMessages"][0]
    with_column = ROWS.append_column("service_client_id", pa.array(["901"] * 3))
    again = caller.load(table)
    caller.put(again, "part_1", with_column)
    caller.commit(again, **{"count(*)": 3})
    assert caller.outcome(again)["LoadStatus"] == "SUCCESS"


def test_a_column_has_one_type_in_all_files_and_in_the_table(box, caller, tmp_path):
    table = name()
    load = caller.load(table, load_as_service_client_id="0")
    caller.put(load, "part_1", ROWS)
    caller.put(load, "part_2", pa.table({"id": [1]}))
    caller.commit(load, **{"count(*)": 4})
    assert caller.outcome(load)["ErrorType"] == "SchemaError"
    for rows, state in ((ROWS, "SUCCESS"), (pa.table({"id": [1]}), "FAIL")):
        other = caller.load(table, load_as_service_client_id="0")
        caller.put(other, "part_1", rows)
        caller.commit(other, **{"count(*)": rows.num_rows})
        assert caller.outcome(other)["LoadStatus"] == state
    assert box.table(table).num_rows == 3
    (tmp_path / "x").write_bytes(b"no parquet")
    with pytest.raises(LoadFailure):
        common_schema({"x": tmp_path / "x"})


def test_a_new_column_is_added_and_is_empty_before(box, caller):
    table = name()
    for rows in (ROWS, pa.table({"id": ["009"], "extra": ["e"]})):
        load = caller.load(table, load_as_service_client_id="0")
        caller.put(load, "part_1", rows)
        caller.commit(load, **{"count(*)": rows.num_rows})
        assert caller.outcome(load)["LoadStatus"] == "SUCCESS"
    rows = {row["id"]: row for row in box.table(table).to_pylist()}
    assert rows["001"]["extra"] is None and rows["009"] == {
        "id": "009",
        "salary": None,
        "service_client_id": "0",
        "extra": "e",
    }


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/load", {"load_type": "APPEND_ONLY", "table_name": "V1-Policies"}),
        ("/load", {"load_type": "REPLACE", "table_name": "v1_policies"}),
        ("/load", {"table_name": "v1_policies"}),
        ("/load", {"load_type": "APPEND_ONLY", "table_name": "v1_policies", "mode": "x"}),
        ("/load", {"load_type": "APPEND_ONLY", "table_name": "v1_policies", "partitions": "a"}),
        ("/load/{load}/file", {"file_key": "a.parquet"}),
        ("/load/{load}/file", {"key": "a1"}),
        ("/load/{load}/commit", {}),
        ("/load/{load}/commit", {"check_sum": {}}),
        ("/load/{load}/commit", {"check_sum": {"count(*)": None}}),
        ("/load/{load}/commit", {"check_sum": {"salary": 1}}),
        ("/load/{load}/commit", {"check_sum": {"count(*) from x": 1}}),
        ("/load/none/commit", {"check_sum": {"count(*)": 1}}),
        ("/load/none/file", {}),
        ("/query", {"query": "selec 1"}),
        ("/query", {"query": "drop table v1_policies"}),
        ("/query", {"query": "select 1; select 2"}),
        ("/query", {}),
    ],
)
def test_a_body_that_the_api_file_does_not_know_is_refused(caller, path, body):
    if "{load}" in path:
        path = path.replace("{load}", caller.load("v1_policies"))
    reply = caller.ask("POST", path, json=body)
    assert reply.status_code == 400 and list(reply.json()) == ["message"]


# Who may ask.


def test_a_call_needs_a_token_that_lives_and_may_do_that(box, caller):
    assert caller.ask("GET", "/load/x", headers={}).status_code == 401
    forged = caller.bearer["Authorization"][:-4] + "AAAA"
    assert caller.ask("GET", "/load/x", headers={"Authorization": forged}).status_code == 401
    box.rules.application_scopes = ("query:read",)
    poor = {"Authorization": f"Bearer {caller.token()}"}
    body = {"load_type": "APPEND_ONLY", "table_name": "ab"}
    assert caller.ask("POST", "/load", headers=poor, json=body).status_code == 403
    box.clock.step(300)
    assert caller.ask("GET", "/load/x").status_code == 401
    box.rules.expired_status = 403
    assert caller.ask("GET", "/load/x").status_code == 403


def test_every_route_says_how_it_is_known(box):
    routes = describe_routes()
    assert {one["basis"] for one in routes} <= {"recorded", "measured", "documented", "guessed"}
    assert {"method": "POST", "path": "/v2/load", "scope": "load:write", "basis": "documented"} in (
        routes
    )
    from domostats.sandbox.dash.routes import DashRequest

    nobody = answer_request(box.service.world, DashRequest("GET", "/v2/load/x"), None)
    assert nobody == api_error(401, "Unauthorized")


# The store.


def test_a_form_is_for_one_file_and_for_a_while(box, caller):
    load = caller.load(name(), load_as_service_client_id="0")
    place = caller.place(load)
    form = place["presigned_url"]
    assert re.fullmatch(
        rf"[0-9a-f-]{{36}}/{load}/\w+/upload/[0-9a-f-]{{36}}\.parquet", place["path"]
    )
    assert set(place) == {"presigned_url", "sts_credentials", "path", "bucket"}
    for changed in ({"key": "x"}, {"acl": "public"}, {"signature": "x"}, {"AWSAccessKeyId": "x"}):
        reply = requests.post(
            form["url"], {**form["fields"], **changed}, files={"file": b"x"}, timeout=10
        )
        assert reply.status_code == 403 and b"<Code>" in reply.content
    no_file = requests.post(form["url"], files={"x": (None, "y")}, timeout=10)
    assert no_file.status_code == 400
    box.clock.step(3601)
    late = requests.post(form["url"], form["fields"], files={"file": b"x"}, timeout=10)
    assert late.status_code == 403 and b"Policy expired" in late.content
    assert not [key for key in box.store.files if load in key]


def test_a_body_without_a_length_or_cut_short_is_no_file(box, caller):
    load = caller.load(name(), load_as_service_client_id="0")
    form = caller.place(load, file_key="part_1")["presigned_url"]
    assert requests.post(form["url"], data=iter([b"x"]), timeout=10).status_code == 411
    body, kind = requests.models.RequestEncodingMixin._encode_files(
        {"file": b"x" * 1000}, form["fields"]
    )
    import socket

    host = urlsplit(form["url"])
    with socket.create_connection((host.hostname, host.port), timeout=10) as sock:
        head = f"POST {host.path} HTTP/1.1\r\nHost: {host.netloc}\r\nContent-Type: {kind}\r\n"
        sock.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:-600])
    whole = caller.put(load, "part_2", ROWS)  # comes in after the one that was cut
    assert whole.status_code == 204
    assert [key.rpartition("/")[2] for key in box.store.files if load in key] == ["part_2.parquet"]


def test_a_file_may_be_too_large(box, caller):
    box.rules.largest_file = 100
    load = caller.load(name(), load_as_service_client_id="0")
    reply = caller.put(load, "part_1", ROWS)
    assert reply.status_code == 400 and b"EntityTooLarge" in reply.content


def test_a_form_in_any_pieces_gives_the_same_file(tmp_path):
    content = secrets.token_bytes(3000) + b"\r\n--boundary\r\n\r\n--bound"
    body, kind = requests.models.RequestEncodingMixin._encode_files(
        {"file": content}, {"key": "k", "policy": "p=="}
    )
    boundary = kind.partition("boundary=")[2].encode()
    for size in (1, 7, 64, 1000, len(body)):
        reader = FormReader(boundary, tmp_path / "draft", dict)
        for start in range(0, len(body), size):
            reader.write(body[start : start + size])
        assert reader.draft.read_bytes() == content and reader.whole
        assert reader.fields == {"key": "k", "policy": "p=="}
        reader.give_up()
        assert not reader.draft.exists()


def test_a_library_of_s3_puts_files_whole_and_in_parts(box, caller):
    load = caller.load(name(), load_as_service_client_id="0")
    place = caller.place(load, file_key="part_1")
    keys = place["sts_credentials"]
    url = f"{box.store.url}/{place['bucket']}/{place['path']}"
    signed = {
        "Authorization": f"AWS4-HMAC-SHA256 Credential={keys['AccessKeyId']}/20260101/x/s3/aws4",
        "x-amz-security-token": keys["SessionToken"],
    }
    content = io.BytesIO()
    pq.write_table(ROWS, content)
    whole = content.getvalue()
    assert requests.put(url, whole, timeout=10).status_code == 403
    assert requests.put(url, whole, headers=signed, timeout=10).headers["etag"]
    begun = requests.post(f"{url}?uploads", headers=signed, timeout=10).text
    upload = re.search("<UploadId>(.*)</UploadId>", begun)[1]
    for number, part in ((2, whole[100:]), (1, whole[:100])):
        params = {"partNumber": number, "uploadId": upload}
        requests.put(url, part, params=params, headers=signed, timeout=10)
    done = requests.post(url, b"<x/>", params={"uploadId": upload}, headers=signed, timeout=10)
    assert done.status_code == 200
    assert box.store.files[place["path"]].path.read_bytes() == whole
    box.store.expire_keys()
    assert b"ExpiredToken" in requests.put(url, whole, headers=signed, timeout=10).content


# Queries.


def test_a_query_waits_runs_and_ends(box, caller):
    table = name()
    box.put_table(table, pa.table({"id": ["001", "002", "003"], "name": ['a,"b', "", None]}))
    id = caller.query(f'select id, name from "face-lake".{table} order by id').json()["queryId"]
    box.queries[id].thread.join(30)
    states = [caller.ask("GET", f"/query/{id}").json()["status"] for _ in range(3)]
    assert [one["state"] for one in states] == ["QUEUED", "RUNNING", "SUCCEEDED"]
    assert re.fullmatch(r"\d\d-\d\d-\d{4} \d\d:\d\d:\d\d", states[2]["completionDateTime"])
    redirect = caller.ask("GET", f"/query/{id}/csv")
    assert redirect.status_code == 302 and urlsplit(redirect.headers["location"]).netloc != (
        urlsplit(box.url).netloc
    )
    result = requests.get(redirect.headers["location"], timeout=10)
    expected = '"id","name"\n"001","a,""b"\n"002",""\n"003",\n'
    assert result.text == expected and result.headers["content-length"] == str(len(expected))
    assert result.headers["content-type"] == "binary/octet-stream"
    box.clock.step(box.rules.link_seconds)
    assert requests.get(redirect.headers["location"], timeout=10).status_code == 403


def test_a_query_that_fails_or_is_stopped_says_so(box, caller):
    _, lost = caller.finished("select * from v1_missing")
    assert lost["status"]["state"] == "FAILED"
    assert lost["status"]["stateChangeReason"].startswith("TABLE_NOT_FOUND")
    id = caller.query("select 1").json()["queryId"]
    assert caller.ask("DELETE", f"/query/{id}").status_code == 200
    found = caller.ask("GET", f"/query/{id}").json()["status"]
    assert found["state"] == "CANCELLED" and "cancelled" in found["stateChangeReason"]
    assert caller.ask("GET", f"/query/{id}/csv").status_code == 400
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/csv"), ("GET", "/result")):
        assert caller.ask(method, f"/query/unknown{path}").status_code == 404


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_csv('/etc/passwd')",
        "select * from read_text('/etc/hostname')",
        "select * from glob('/*')",
        "select * from '/etc/passwd'",
        "select * from parquet_scan('x.parquet')",
    ],
)
def test_a_query_sees_nothing_of_this_machine(caller, sql):
    reply = caller.query(sql)
    if reply.status_code == 202:
        _, found = caller.finished(sql)
        assert found["status"]["state"] == "FAILED"
    else:
        assert reply.status_code == 400


@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        ("select approx_distinct(x) from (values 1, 2, 2) as t(x)", "2"),
        ("select date_format(date '2026-01-15', '%Y-%m')", "2026-01"),
        ("select element_at(array['a', 'b'], 2)", "b"),
        ("select cast('12' as bigint) + 1", "13"),
        ("select sum(x) from (values 9000000000000000000, 1) as t(x)", "9000000000000000001"),
        ("select timestamp '2026-01-15 09:30:12'", "2026-01-15 09:30:12.000"),
        ("select json_extract_scalar('{\"a\": \"b\"}', '$.a')", "b"),
        ("select try_cast('x' as integer) is null", "true"),
    ],
)
def test_the_sql_of_trino_is_understood(caller, sql, shown):
    id, found = caller.finished(sql)
    assert found["status"]["state"] == "SUCCEEDED", found["status"]
    rows = caller.ask("GET", f"/query/{id}/result").json()["resultSet"]["Rows"]
    assert rows[1]["Data"] == [{"VarCharValue": shown}]


def test_a_result_comes_in_pages_with_types(box, caller):
    box.rules.page_rows = 3
    box.rules.next_token = "nextToken"
    table = name()
    box.put_table(table, pa.table({"n": range(7), "d": [0.5] * 7}))
    id, _ = caller.finished(f"select n, d from {table} order by n")
    token, rows, pages = None, [], 0
    while pages == 0 or token:
        params = {"next_token": token} if token else {}
        page = caller.ask("GET", f"/query/{id}/result", params=params).json()
        rows += page["resultSet"]["Rows"]
        token, pages = page.get("nextToken"), pages + 1
    assert [row["Data"][0]["VarCharValue"] for row in rows] == ["n", *map(str, range(7))]
    kinds = [one["Type"] for one in page["ResultSetMetaData"]["ColumnInfo"]]
    assert kinds == ["bigint", "double"] and pages == 3


def test_more_calls_than_a_minute_has_room_for_come_too_early(box, caller):
    box.rules.calls_per_minute = 2
    box.clock.step(60)
    found = [caller.ask("GET", "/load/none") for _ in range(4)]
    assert [reply.status_code for reply in found] == [400, 400, 429, 429]
    assert 1 <= int(found[-1].headers["retry-after"]) <= 60
    assert caller.form(grant_type="password").status_code == 400, "the realm has no limit"
    box.clock.step(60)
    assert caller.ask("GET", "/load/none").status_code == 400


def test_words_and_paths_that_nobody_knows_are_rules(box, caller):
    box.rules.error_type, box.rules.message_form, box.rules.load_polls = "OTHER", "<<{}>>", 0
    load = caller.load(name(), load_as_service_client_id="0")
    caller.put(load, "part_1", ROWS)
    caller.commit(load, **{"count(*)": 9})
    assert caller.outcome(load) == {
        "LoadStatus": "FAIL",
        "ErrorType": "OTHER",
        "ErrorMessages": ["<<Check sum failed: count(*) expected 9, got 3>>"],
    }
    for per_load, count in ((True, 2), (False, 1)):
        box.rules.root_per_load = per_load
        loads = [caller.load(name()) for _ in range(2)]
        paths = [caller.place(load)["path"] for load in loads]
        assert len({path.partition("/")[0] for path in paths}) == count
        assert all(load in path for load, path in zip(loads, paths, strict=True))
    box.rules.stop_status = 202
    id = caller.query("select 1").json()["queryId"]
    assert caller.ask("DELETE", f"/query/{id}").status_code == 202


def test_null_may_look_like_an_empty_text_in_a_result(box, caller):
    sql = """select '' as a, cast(null as varchar) as b, cast(null as bigint) as c,
        timestamp '2024-01-02 03:04:05' as d"""
    for quotes, line in ((False, '"",,,'), (True, '"","","",')):
        box.rules.quotes_nulls = quotes
        id, _ = caller.finished(sql)
        link = caller.ask("GET", f"/query/{id}/csv").headers["location"]
        assert requests.get(link, timeout=30).text.splitlines()[1] == (
            f'{line}"2024-01-02 03:04:05.000"'
        )


def test_the_store_gives_a_file_to_whoever_has_its_keys(box, caller):
    load = caller.load(name())
    caller.put(load, "part_1", ROWS)
    place = caller.place(load, file_key="part_1")
    keys = place["sts_credentials"]
    headers = {
        "Authorization": f"AWS4-HMAC-SHA256 Credential={keys['AccessKeyId']}/20240101/x",
        "x-amz-security-token": keys["SessionToken"],
    }
    address = f"{box.store.url}/{place['bucket']}/{place['path']}"
    found = requests.get(address, headers=headers, timeout=30)
    assert pq.read_table(io.BytesIO(found.content)).equals(ROWS)
    part = requests.get(address, headers={**headers, "Range": "bytes=0-3"}, timeout=30)
    assert (part.status_code, part.content) == (206, b"PAR1")
    assert requests.get(address, timeout=30).status_code == 403
    assert requests.get(f"{address}x", headers=headers, timeout=30).status_code == 404


def test_an_answer_in_another_form_than_was_asked_for_is_no_error(box, caller):
    "The published SDK asks for JSON, and gets CSV."
    id, _ = caller.finished("select 1 as n")
    asked = {**caller.bearer, "Accept": "application/json"}
    reply = caller.ask("GET", f"/query/{id}/csv", headers=asked)
    link = reply.headers["location"]
    assert reply.status_code == 302 and urlsplit(link).port != urlsplit(box.url).port
    found = requests.get(link, headers={"Accept": "application/json"}, timeout=30)
    assert found.status_code == 200 and found.headers["content-length"] == "8"


def test_many_at_once_are_kept_apart(box, caller):
    tables = [name(f"t{n}") for n in range(8)]

    def work(table):
        load = caller.load(table, load_as_service_client_id="0")
        caller.put(load, "part_1", pa.table({"id": [table] * 50}))
        caller.commit(load, **{"count(*)": 50})
        assert caller.outcome(load)["LoadStatus"] == "SUCCESS"

    threads = [threading.Thread(target=work, args=(table,)) for table in tables]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for table in tables:
        assert box.table(table)["id"].to_pylist() == [table] * 50


# What goes wrong.


@pytest.mark.parametrize("fault", [*BEFORE])
def test_a_fault_before_the_work_leaves_it_undone(box, caller, fault):
    before = len(box.loads)
    box.fail(fault, "/v2/load", seconds=7)
    body = {"load_type": "APPEND_ONLY", "table_name": "ab"}
    try:
        reply = caller.ask("POST", "/load", json=body)
        assert reply.status_code != 202
        if fault in ("rate_limited", "unavailable_later", "slow_down"):
            assert reply.headers["retry-after"] == "7"
    except requests.ConnectionError:
        assert fault in ("refused", "drop")
    assert len(box.loads) == before and box.fired[fault]
    assert caller.ask("POST", "/load", json=body).status_code == 202


@pytest.mark.parametrize("fault", [*AFTER])
def test_a_fault_after_the_work_leaves_it_done(box, caller, fault):
    before = len(box.loads)
    box.fail(fault, "/v2/load", seconds=0)
    body = {"load_type": "APPEND_ONLY", "table_name": "ab"}
    try:
        reply = caller.ask("POST", "/load", json=body)
        assert fault in ("truncated", "slow") or reply.status_code >= 500
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
        assert fault in ("refused_after", "drop_after", "cut", "reset")
    assert len(box.loads) == before + 1


@pytest.mark.parametrize("fault", ["drop_after", "unavailable_after", "refused", "expired_keys"])
def test_the_store_has_faults_too(box, caller, fault):
    load = caller.load(name(), load_as_service_client_id="0")
    box.fail(fault, f"/{box.store.bucket}")
    try:
        assert caller.put(load, "part_1", ROWS).status_code >= 400
    except requests.ConnectionError:
        assert fault in ("drop_after", "refused")
    kept = [key for key in box.store.files if load in key]
    assert len(kept) == fault.endswith("_after")
    assert caller.put(load, "part_1", ROWS).status_code == 204


def test_a_result_that_breaks_off_can_be_taken_up(box, caller):
    table = name()
    box.put_table(table, pa.table({"n": range(50_000)}))
    id, _ = caller.finished(f"select n from {table} order by n")
    whole = requests.get(caller.ask("GET", f"/query/{id}/csv").headers["location"], timeout=10)
    box.fail("reset", "/results")
    link = caller.ask("GET", f"/query/{id}/csv").headers["location"]
    got = b""
    with pytest.raises(requests.RequestException):
        for piece in requests.get(link, stream=True, timeout=10).iter_content(1000):
            got += piece
    rest = requests.get(link, headers={"Range": f"bytes={len(got)}-"}, timeout=10)
    assert rest.status_code == 206 and got + rest.content == whole.content and got


def test_the_record_has_every_call_and_no_secret(box, caller):
    token = str(box.realm.log_in().reveal())
    refresh(caller, token)
    load = caller.load(name(), load_as_service_client_id="0")
    form = caller.place(load, file_key="part_1")
    caller.put(load, "part_1", ROWS)
    id, _ = caller.finished("select 1")
    link = caller.ask("GET", f"/query/{id}/csv").headers["location"]
    requests.get(link, timeout=10)
    shown = repr([*box.log])
    assert {call.place for call in box.log} == {"realm", "api", "store"}
    hidden = [token, box.client_secret.reveal(), link.partition("=")[2]]
    hidden += [*form["presigned_url"]["fields"].values()][1:]
    hidden += [caller.bearer["Authorization"], form["sts_credentials"]["SecretAccessKey"]]
    hidden.remove(form["presigned_url"]["fields"]["AWSAccessKeyId"])
    for secret in hidden:
        assert str(secret) not in shown
    assert "grant_type=refresh_token" in shown and load in shown


def test_the_sandbox_is_steered_from_outside_by_who_knows_the_secret(box):
    assert requests.post(f"{box.url}/sandbox/log", timeout=10).status_code == 403
    secret = {"Authorization": str(box.client_secret.reveal())}
    ask = {"do": "fail", "fault": "unavailable", "path": "/v2"}
    assert requests.post(f"{box.url}/sandbox/faults", json=ask, headers=secret, timeout=10).ok
    rules = requests.post(
        f"{box.url}/sandbox/rules", json={"load_polls": 3}, headers=secret, timeout=10
    ).json()
    assert rules["load_polls"] == 3 and box.rules.load_polls == 3
    now = requests.post(f"{box.url}/sandbox/clock", json={"step": 5}, headers=secret, timeout=10)
    assert now.json()["now"] == pytest.approx(box.clock.now(), abs=2)
    bad = requests.post(f"{box.url}/sandbox/rules", json={"no": 1}, headers=secret, timeout=10)
    assert bad.status_code == 400


def test_it_is_found_by_its_name_and_ends_with_everything_it_has():
    with sandbox.start_dash("brief") as box:
        assert find_instance("dash").url == box.url and sandbox.start_dash("brief") is box
        folder, store = box.folder, box.store.url
        assert requests.get(store, timeout=10).status_code == 405
    assert not Path(folder).exists()
    with pytest.raises(requests.ConnectionError):
        requests.get(store, timeout=10)


def test_what_cannot_be_started_is_refused():
    for org in ("", "a b", "../x", None):
        with pytest.raises(SettingsError) as caught:
            sandbox.start_dash(org)
        assert caught.value.reason == "bad_name"
    with pytest.raises(SettingsError) as caught:
        sandbox.start_dash(no_such_rule=1)
    assert caught.value.reason == "bad_argument"


def test_an_installation_without_the_extra_says_what_to_install(monkeypatch):
    import sys

    for module in ("joserfc", "python_multipart"):
        monkeypatch.setitem(sys.modules, module, None)
    for load in (load_joserfc, load_multipart):
        with pytest.raises(SettingsError) as caught:
            load()
        assert caught.value.reason == "not_installed" and "domostats[" in str(caught.value)
    for call in (lambda: load_multipart(),):
        with pytest.raises(SettingsError):
            call()


def test_names_without_a_schema_are_those_of_the_lake():
    con = make_lake("north")
    con.execute('CREATE TABLE "north-lake".t AS SELECT 1 AS n')
    cursor = con.cursor()
    use_lake(cursor, "north")
    assert cursor.execute("SELECT n FROM t").fetchall() == [(1,)]


def test_a_reply_may_end_before_its_first_byte():
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.disconnect"}

    asyncio.run(send_reply(Reply(0, b"", end="refuse"), receive, send))
    asyncio.run(break_off(receive, send, True))
    assert not sent, "where there is no connection nothing is sent, and nothing fails"


def test_an_error_of_the_store_is_xml():
    assert b"<Code>SlowDown</Code>" in store_error(503, "SlowDown", "x").body
    assert json.loads(api_error(503, "x").body) == {"message": "x"}


def test_a_frame_reads_the_result_as_it_is(box, caller):
    table = name()
    box.put_table(table, pa.table({"id": ["001"], "n": [12], "d": [1.25]}))
    id, _ = caller.finished(f"select id, n, d from {table}")
    link = caller.ask("GET", f"/query/{id}/csv").headers["location"]
    frame = pd.read_csv(io.BytesIO(requests.get(link, timeout=10).content), dtype={"id": str})
    assert frame.to_dict("records") == [{"id": "001", "n": 12, "d": 1.25}]
