"""The sandbox's Data Model v1, migration and daily runs, asked by plain requests."""

import gzip

import pytest
import requests

from domostats import sandbox
from domostats.sandbox.dash.faults import AFTER, BEFORE

PATH = "/v1/data-input-file"
CSV = b'"id","name"\n"001","a"\n"002",""\n'


@pytest.fixture
def box(own_folder):
    with sandbox.start_dash("old") as running:
        yield running


def send(box, body=None, **changed):
    headers = {
        "Content-Type": "application/gzip",
        "service_client_id": "0",
        "x-api-key": box.api_key.reveal(),
        "org-name": box.org,
        "table-name": "my_table",
    }
    for name, value in changed.items():
        name = name if name == "service_client_id" else name.replace("_", "-")
        headers[name] = value
    headers = {name: value for name, value in headers.items() if value is not None}
    body = gzip.compress(CSV) if body is None else body
    return requests.post(box.url + PATH, data=body, headers=headers, timeout=30)


@pytest.fixture
def ask(box):
    token = requests.post(
        f"{box.realm.signer.issuer}/protocol/openid-connect/token",
        {
            "grant_type": "client_credentials",
            "client_id": box.client_id,
            "client_secret": box.client_secret.reveal(),
        },
        timeout=30,
    ).json()["access_token"]
    bearer = {"Authorization": f"Bearer {token}"}

    def call(method, path, **more):
        return requests.request(method, box.url + path, headers=bearer, timeout=30, **more)

    return call


def test_a_file_is_appended_with_its_five_headers(box):
    reply = send(box)
    assert (reply.status_code, reply.text) == (200, "ok")
    send(box, gzip.compress(b'"id"\n"003"\n'), service_client_id="901")
    assert box.first.rows_of("my_table").to_pydict() == {
        "id": ["001", "002", "003"],
        "name": ["a", "", None],
        "service_client_id": ["0", "0", "901"],
    }
    assert [file.rows for file in box.first.files] == [2, 1]
    assert box.api_key.reveal() not in repr([*box.log])


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("status", "changed"),
    [
        (403, {"x_api_key": "guessed"}),
        (403, {"x_api_key": None}),
        (403, {"org_name": "other"}),
        (400, {"service_client_id": None}),
        (400, {"table_name": "1t"}),
        (400, {"table_name": None}),
        (400, {"Content_Type": "text/csv"}),
        (400, {"body": CSV}),
        (400, {"body": gzip.compress(CSV)[:-4]}),
        (400, {"body": gzip.compress(CSV) * 2}),
        (400, {"body": gzip.compress(b'"id"\n"1","2"\n')}),
        (400, {"body": gzip.compress(b'"id","ID"\n"1","2"\n')}),
        (400, {"body": gzip.compress(b'"id"\n"\xff"\n')}),
    ],
)
def test_what_is_no_file_of_v1_is_refused_and_leaves_no_row(box, status, changed):
    reply = send(box, **changed)
    assert reply.status_code == status and reply.json()["message"]
    assert not box.first.files and not box.first.tables()


def test_two_megabytes_is_the_most(box):
    box.rules.first_largest = len(gzip.compress(CSV))
    assert send(box).ok
    box.rules.first_largest -= 1
    assert send(box).status_code == 413
    box.heal()
    import random

    content = random.Random(1).randbytes(2_500_000)
    assert send(box, content).status_code == 413


@pytest.mark.sampled(4)
@pytest.mark.parametrize("fault", sorted({*BEFORE, *AFTER} - {"slow"}))
def test_a_fault_is_met_here_as_elsewhere(box, fault):
    box.fail(fault, PATH)
    try:
        reply = send(box)
        assert reply.status_code != 200 or fault in ("html", "truncated")
    except requests.RequestException:
        assert fault in ("refused", "drop", "refused_after", "drop_after", "cut", "reset")
    assert len(box.first.files) == (fault in AFTER)
    assert send(box).ok


def looked(ask, name, most=10):
    "The words of a status until it stays the same."
    found = []
    for _ in range(most):
        found.append(ask("GET", "/v2/migration").json()[name])
        if found[-1] in ("Completed", "Failed"):
            break
    return found


FLASH = {"migration_type": "FLASH_SCHEMA", "clear_out_new_lake": "DO_NOT_CLEAR_OUT"}
FULL = {"migration_type": "FULL_MIGRATION", "clear_out_new_lake": "DO_NOT_CLEAR_OUT"}


def test_the_tables_of_v1_are_found_by_a_query_and_copied_by_migrations(box, ask):
    send(box)
    id = ask("POST", "/v2/query", json={"query": "select count(*) from my_table"}).json()["queryId"]
    box.queries[id].thread.join(30)
    for _ in range(5):
        ask("GET", f"/v2/query/{id}")
    assert '"2"' in box.service.world.queries.result(id).read_text()
    reply = ask("POST", "/v2/migration", json=FLASH)
    assert (reply.status_code, reply.text) == (202, "Successfully Started Migration")
    assert ask("POST", "/v2/migration", json=FULL).status_code == 409
    assert looked(ask, "flash_schema_status") == ["Started", "Completed"]
    assert box.table("my_table").num_rows == 1 and send(box).ok
    ask("POST", "/v2/migration", json=FULL)
    assert looked(ask, "full_migration_status")[-1] == "Failed" and send(box).ok
    ask("POST", "/v2/migration", json={**FULL, "clear_out_new_lake": "CLEAR_OUT"})
    assert send(box).status_code == 400
    words = ["Cleaning Up", "Started", "Completed"]
    assert looked(ask, "full_migration_status") == words
    assert box.table("my_table").column("id").to_pylist() == ["001", "002"] * 3
    assert send(box).status_code == 400
    for body in (FLASH, FULL):
        reply = ask("POST", "/v2/migration", json=body)
        assert reply.status_code == 409 and "cannot be started" in reply.json()["message"]


def test_how_much_a_flash_migration_brings_and_what_v1_says_when_closed(box, ask):
    box.rules.flash_rows, box.rules.first_closed_status = 2, 410
    send(box)
    send(box)
    ask("POST", "/v2/migration", json=FLASH)
    assert looked(ask, "flash_schema_status")[-1] == "Completed"
    assert box.table("my_table").num_rows == 2 and send(box).ok
    ask("POST", "/v2/migration", json={**FULL, "clear_out_new_lake": "CLEAR_OUT"})
    assert looked(ask, "full_migration_status")[-1] == "Completed"
    assert box.table("my_table").num_rows == 6 and send(box).status_code == 410


def test_a_daily_run_runs_for_as_many_looks_as_the_rule_says(box, ask):
    box.rules.daily_run_polls = 3
    ask("POST", "/superset/dailyRun/start_execution")
    path = "/superset/dailyRun/execution_status?mode=latest"
    shown = [ask("GET", path).json()["status"] for _ in range(4)]
    assert shown == ["RUNNING", "RUNNING", "RUNNING", "SUCCEEDED"]


@pytest.mark.parametrize(
    "body", [{}, {**FLASH, "migration_type": "ALL"}, {"migration_type": "FLASH_SCHEMA"}]
)
def test_a_migration_that_the_api_file_does_not_know_is_refused(box, ask, body):
    assert ask("POST", "/v2/migration", json=body).status_code == 400


def test_daily_runs_are_started_once_at_a_time_and_looked_at(box, ask):
    path = "/superset/dailyRun"
    assert ask("GET", f"{path}/dailyRun_enabled").json() == {"dailyRun": True}
    ask("POST", f"{path}/dailyRun_enabled", json={"dailyRun": False})
    assert ask("GET", f"{path}/dailyRun_enabled").json() == {"dailyRun": False}
    assert ask("GET", f"{path}/execution_status?mode=latest").json() is None
    last = ask("GET", f"{path}/execution_status?mode=last_successful").json()
    assert {*last} == {"message"}
    started = ask("POST", f"{path}/start_execution")
    assert started.status_code == 200 and started.json()["started"]
    busy = ask("POST", f"{path}/start_execution")
    assert busy.status_code == 409 and not busy.json()["started"]
    assert busy.json()["runningExecution"]["name"] == started.json()["executionName"]
    shown = [
        ask("GET", f"{path}/execution_status?mode=list").json()["executions"][0] for _ in range(2)
    ]
    assert [one["status"] for one in shown] == ["RUNNING", "SUCCEEDED"]
    for limit in (
        -1,
        0,
        201,
    ):  # described: the nearest limit that may be is taken, and none refused
        assert len(ask("GET", f"{path}/execution_status?limit={limit}").json()["executions"]) == 1
    assert ask("GET", f"{path}/execution_status?mode=all").status_code == 400
    box.rules.application_scopes = ("dailyrun:execution:write",)
    token = requests.post(
        f"{box.realm.signer.issuer}/protocol/openid-connect/token",
        {
            "grant_type": "client_credentials",
            "client_id": box.client_id,
            "client_secret": box.client_secret.reveal(),
        },
        timeout=30,
    ).json()["access_token"]
    poor = {"Authorization": f"Bearer {token}"}
    reply = requests.get(f"{box.url}{path}/execution_status", headers=poor, timeout=30)
    assert reply.status_code == 403
