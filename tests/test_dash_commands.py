"""`domostats dash ...` as a script uses it: what it reads on standard output, and the exit code."""

import base64
import json
import subprocess
import sys
from pathlib import Path

import commands
import pandas as pd
import pytest
from dash_support import browser, let_in, refresh

from domostats import sandbox
from domostats.loading.dash.v1_upload import upload_v1


@pytest.fixture(scope="module")
def served():
    with sandbox.start_dash("cmds", load_polls=0, queued_polls=0, running_polls=0) as box:
        yield box


@pytest.fixture
def box(served, own_folder, monkeypatch):
    "An organisation that this folder knows, with an application that may sign in."
    let_in(served, monkeypatch)
    monkeypatch.setenv("COMOTION_ORGNAME", served.org)
    move = served.migration
    move.flash, move.full, move.ahead, served.first.closed = "Not Run", "Not Run", [], False
    served.daily.executions.clear()
    return refresh(served)


def run(*words, code=0):
    "What a command prints on standard output; the code has to be that."
    found, said, errors = commands.run("dash", *words)
    assert found == code, (said, errors)
    assert "Traceback" not in said + errors
    return said.strip() if not code else errors


def test_who_i_am_and_where(box):
    assert run("get-current-user") == box.client_id
    assert run("get-issuer") == box.url
    token = run("get-access-token")
    claims = token.split(".")[1]
    found = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    assert found["azp"] == box.client_id and "\n" not in token


@pytest.mark.parametrize("words", [("dash", "authenticate"), ("dash-sign-in",)])
def test_authenticate_signs_in_or_ends_with_an_error(box, monkeypatch, words):
    monkeypatch.delenv("DOMOSTATS_DASH_CLIENT_ID")
    monkeypatch.delenv("DOMOSTATS_DASH_CLIENT_SECRET")
    kept = Path("tokens.json").resolve()
    given = (*words, "--token-file", kept, "--timeout")
    code, said, errors = commands.run(*given, 60, environment=browser())
    assert code == 0 and "ada is signed in" in said, errors
    known = {"DOMOSTATS_DASH_TOKEN_FILE": str(kept)}
    assert commands.run("dash", "get-current-user", environment=known)[1] == "ada\n"
    before = kept.read_bytes()
    box.realm.denies = True
    code, _, errors = commands.run(*given, 60, environment=browser())
    assert code == 4 and "denied" in errors, errors
    box.realm.denies = False
    code, _, errors = commands.run(*given, 1, environment=browser("state=", "state=other"))
    assert code == 75 and "Traceback" not in errors, errors
    assert kept.read_bytes() == before, "who has not signed in keeps what there was"


def test_a_query_is_started_looked_at_stopped_and_downloaded(box):
    id = run("start-query", "select 1 as one")
    assert id in box.queries
    box.queries[id].thread.join(30)
    assert run("query-state", "-q", id) == "SUCCEEDED"
    assert run("query-info", "-q", id) == "SUCCEEDED"
    assert run("download", "-q", id, "-f", "a.csv") == ""
    assert run("download", "-f", "b.csv", "select 1 as one") == ""
    assert Path("a.csv").read_text() == Path("b.csv").read_text() == '"one"\n"1"\n'
    bad = run("start-query", "select * from nothing_here")
    box.queries[bad].thread.join(30)
    assert run("query-info", "-q", bad).startswith("FAILED - TABLE_NOT_FOUND")
    assert "TABLE_NOT_FOUND" in run("download", "-q", bad, "-f", "c.csv", code=6)
    assert not Path("c.csv").exists()
    assert run("stop-query", "-q", id) == "Query stopped"
    run("query-state", "-q", "no-such-query", code=5)
    run("download", "-f", "d.csv", code=2)
    run("start-query", "drop table x", code=6)


def test_a_load_is_created_sent_committed_and_looked_at(box):
    pd.DataFrame({"id": ["001", "002"], "salary": [1.5, 2.0]}).to_parquet("part.parquet")
    id = run("create-load", "-s", "0", "-p", "day(x)", "-p", "id", "people")
    assert box.loads[id].partitions == ["day(x)", "id"] and box.loads[id].client == "0"
    assert run("get-load-info", "-l", id) == "OPEN"
    run("upload-file", "-l", id, "-k", "part_1", "part.parquet")
    run("commit-load", "-l", id, "count(*)", "2", "count(*)", "2", code=2)
    run("commit-load", "-l", id, "-c", "count(*)", code=2)
    said = run("commit-load", "-l", id, "-c", "count(*)", "2", "-c", "sum(salary)", "3.5")
    assert said == "Load committed"
    assert run("get-load-info", "-l", id) == "SUCCESS"
    assert box.table("people").column("id").to_pylist() == ["001", "002"]


def test_a_failed_load_is_no_success(box):
    pd.DataFrame({"n": [1]}).to_parquet("part.parquet")
    id = run("create-load", "-s", "0", "failing")
    run("upload-file", "-l", id, "part.parquet")
    run("commit-load", "-l", id, "sum(n)", "-1")
    code, said, errors = commands.run("dash", "get-load-info", "-l", id)
    assert (code, said.strip()) == (6, "FAIL") and "expected -1, got 1" in errors
    other = run("create-load", "-s", "0", "failing")
    run("upload-file", "-l", other, "part.parquet")
    assert "expected 5" in run("commit-load", "-l", other, "--wait", "sum(n)", "5", code=6)


def test_what_is_no_parquet_is_not_sent(box):
    id = run("create-load", "-s", "0", "people")
    Path("part.csv").write_text("id\n1\n")
    Path("part.parquet").write_text("id\n1\n")
    run("upload-file", "-l", id, "part.csv", code=2)
    run("upload-file", "-l", id, "part.parquet", code=6)
    run("upload-file", "-l", id, "none.parquet", code=6)
    run("create-load", "1table", code=2)
    assert not box.loads[id].keys


def test_a_migration_asks_before_it_is_started(box):
    upload_v1(pd.DataFrame({"id": ["1"]}), "old_ages", box, box.api_key)
    assert "flash schema: Not Run" in run("migration-status")
    for words in (["--full-migration"], ["-c", "--flash-schema"], []):
        assert "Nothing was done" in run("start-migration", *words, code=2)
    assert box.migration.full == "Not Run"
    assert run("start-migration", "--flash-schema") == "Successfully Started Migration"
    assert "one runs" in run("start-migration", "--flash-schema", code=6)
    run("migration-status")
    assert "Completed" in run("migration-status")
    assert run("start-migration", "-c", "--yes") == "Successfully Started Migration"
    for _ in range(3):
        run("migration-status")
    assert "full migration: Completed" in run("migration-status")
    assert "done once" in run("start-migration", "--yes", code=6)


def answer(*words, typed, **environment):
    return subprocess.run(
        [sys.executable, "-m", "domostats", "dash", *words],
        input=typed,
        env={**commands.os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_somebody_may_say_yes_or_no(box):
    no = answer("start-migration", typed="n\n")
    assert no.returncode == 2 and no.stdout == "" and box.migration.full == "Not Run"
    yes = answer("start-migration", "-c", typed="y\n")
    assert yes.stdout == "Successfully Started Migration\n" and "delete all rows" in yes.stderr


@pytest.mark.slow
def test_the_organisation_is_an_option_or_in_the_environment_or_asked_for(box):
    named = answer("-o", box.org, "get-issuer", typed="", COMOTION_ORGNAME="another")
    assert named.stdout.strip() == box.url
    assert answer("get-issuer", typed="", COMOTION_ORGNAME=box.org).stdout.strip() == box.url
    asked = answer("get-issuer", typed=f"{box.org}\n", COMOTION_ORGNAME="")
    assert asked.stdout.strip() == box.url and "Organisation" in asked.stderr
    nobody = answer("get-issuer", typed="", COMOTION_ORGNAME="")
    assert nobody.returncode == 3 and "COMOTION_ORGNAME" in nobody.stderr
    assert "Traceback" not in nobody.stderr
    other = answer("get-issuer", typed="", COMOTION_ISSUER="https://login.example.com")
    assert other.stdout.strip() == "https://login.example.com"


def test_daily_runs_are_printed_as_json(box):
    assert json.loads(run("daily-run-enabled")) == {"dailyRun": True}
    assert json.loads(run("update-daily-run-enabled", "--disabled")) == {"dailyRun": False}
    assert json.loads(run("update-daily-run-enabled", "--enabled")) == {"dailyRun": True}
    assert json.loads(run("daily-run-execution-info", "--mode", "latest")) == []
    first = json.loads(run("start-daily-run-execution"))
    assert first["started"] and first["run"]["status"] == "RUNNING"
    assert not json.loads(run("start-daily-run-execution"))["started"]
    (one,) = json.loads(run("daily-run-execution-info", "--limit", "5"))
    assert one["name"] == first["run"]["name"]
    run("daily-run-execution-info", "--mode", "all", code=3)


NOT_ASKED_AGAIN = "html", "forbidden"
ASKED_AGAIN = "drop", "server_error", "refused"  # five times, for a quarter of a minute


@pytest.mark.parametrize(
    "fault, most",
    [(fault, 4) for fault in NOT_ASKED_AGAIN]
    + [pytest.param(fault, 1, marks=pytest.mark.slow) for fault in ASKED_AGAIN],
)
def test_no_fault_ends_in_a_traceback_or_in_success(box, fault, most):
    for words, path in (
        (("migration-status",), "/v2/migration"),
        (("start-query", "select 1"), "/v2/query"),
        (("create-load", "people"), "/v2/load"),
        (("daily-run-enabled",), "/superset/dailyRun/dailyRun_enabled"),
    )[:most]:
        box.fail(fault, path, times=None)
        code, said, errors = commands.run("dash", *words)
        box.heal()
        assert code not in (0, 1) and said == "" and "Traceback" not in errors, (words, errors)
