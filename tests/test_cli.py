"""The command line as a scheduler and a person meet it: in processes of its own."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
import requests
from commands import run
from expected import expectations

from domostats import sandbox
from domostats.interfaces.demo import WORKSHOP, workshop_providers
from domostats.loading.files import read_file
from domostats.loading.store import Store

PROVIDERS = "/api/data/v2/datasources/providers"


def domostats(*arguments, **environment):
    "Run the command; gives its exit code and all it printed."
    code, out, err = run(*arguments, environment={"COLUMNS": "200", **environment})
    return code, out + err


@pytest.mark.slow
def test_two_demos_give_the_same_datasets_behind_a_proxy_or_not(monkeypatch):
    seen = []
    for proxy in (
        {},
        {
            "HTTP_PROXY": "http://127.0.0.1:9",
            "http_proxy": "http://127.0.0.1:9",
            "ALL_PROXY": "http://127.0.0.1:9",
        },
    ):
        Path("settings.ini").write_text("[domostats]\nstore = demo.duckdb\n")
        code, printed = domostats("demo", **proxy)
        assert code == 0, printed
        store = Store("demo.duckdb")
        seen.append({name: store.read(name).to_pylist() for name in store.names()})
    assert seen[0] == seen[1] and set(seen[0]) == {
        "accounts_v1",
        "accounts_v2",
        "accounts_domostats",
    }
    assert [row["account_name"] for row in seen[0]["accounts_v1"]] == [
        display_name for *_, display_name in WORKSHOP
    ]
    assert [row["Account_Id"] for row in seen[0]["accounts_domostats"]] == [71, 87, 88, 92, 94]


def test_the_demo_shows_where_it_is_what_it_found_and_what_is_next():
    Path("settings.ini").write_text("[domostats]\nstore = demo.duckdb\n")
    code, printed = domostats("demo", COLUMNS="80")
    lines = printed.splitlines()
    steps = [line.split(":")[0] for line in lines[: lines.index("")]]
    assert code == 0 and steps[0] == "domostats"
    assert steps[1:] == ["started", "signed in", "written", "written", "written", "read"]
    bars = [re.fullmatch(r"  ([A-Z].*?) +(\u2588+) (\d+)", line) for line in lines]
    shown = [(len(bar[2]), int(bar[3])) for bar in bars if bar]
    rest = int(re.search(r"and \d+ more, with (\d+) together", printed)[1])
    assert len(shown) == 8 and sum(number for _, number in shown) + rest == 1000
    assert shown == sorted(shown, reverse=True) and shown[0][0] == 40
    assert lines[-4] == f"3 datasets are in the store {Path('demo.duckdb').resolve()}"
    assert lines[-3].startswith("Next: make lab")
    assert max(len(line) for line in lines if "are in the store" not in line) <= 80


@pytest.mark.slow
def test_the_demo_speaks_to_a_terminal_that_knows_only_ascii():
    done = subprocess.run(
        [sys.executable, "-m", "domostats", "demo"],
        env={**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "#" * 40 in done.stdout and "?" not in done.stdout


def test_check_says_who_and_what_is_missing(box):
    code, printed = domostats("check", box.name)
    assert code == 0 and box.username in printed and "all of it" in printed
    code, printed = domostats(
        "check",
        "lab",
        DOMO_USERNAME=box.limited.username,
        DOMO_PASSWORD=box.limited.password,
        DOMOSTATS_SETTINGS=str(lab(box)),
    )
    assert (
        code == 0
        and box.limited.username in printed
        and "a part" in printed
        and "account.admin" in printed
    )


def test_generate_says_when_the_list_may_be_shorter(box):
    login = {
        "DOMO_USERNAME": box.limited.username,
        "DOMO_PASSWORD": box.limited.password,
        "DOMOSTATS_SETTINGS": str(lab(box)),
    }
    code, printed = domostats("generate", "accounts", "--instance", "lab", "--to", "a.csv", **login)
    assert code == 0 and "this user has none of account.admin" in printed
    assert (
        "none of"
        not in domostats("generate", "accounts", "--instance", box.name, "--to", "a.csv")[1]
    )


def test_a_written_dataset_is_no_failure_when_the_grants_cannot_be_read(box):
    box.fail("forbidden", "/api/authorization", times=None)
    code, printed = domostats("generate", "accounts", "--instance", box.name, "--to", "a.csv")
    assert code == 0 and "could not be found out" in printed and Path("a.csv").exists()


def lab(box):
    path = Path("lab.ini").resolve()
    path.write_text(f"[domostats]\nstore = lab.duckdb\n[instance.lab]\nurl = {box.url}\n")
    return path


@pytest.mark.parametrize(
    "to, read",
    [
        ("accounts.parquet", lambda: pq.read_table("accounts.parquet")),
        ("accounts.csv", lambda: read_file("accounts.csv")),
        ("accounts", lambda: Store("lab.duckdb").read("accounts")),
    ],
)
def test_generate_writes_where_it_is_told(box, to, read):
    code, printed = domostats(
        "generate",
        "accounts",
        "--instance",
        box.name,
        "--format",
        "v1",
        "--to",
        to,
        DOMOSTATS_SETTINGS=str(lab(box)),
    )
    assert code == 0 and "done" in printed and to in printed
    assert read().num_rows > 5 and read().column_names[-1] == "account_name"


@pytest.mark.sampled(5)
@pytest.mark.parametrize(
    "fault, code",
    [
        ("expired", 4),
        ("forbidden", 5),
        ("truncated", 6),
        ("rate_limited", 75),
        ("server_error", 75),
    ],
)
def test_an_error_has_its_code_and_leaves_the_old_file(box, fault, code):
    token = {
        "DOMO_USERNAME": box.username,
        "DOMO_PASSWORD": box.password,
        "DOMOSTATS_SETTINGS": str(lab(box)),
    }
    command = "generate", "accounts", "--instance", "lab", "--to", "accounts.parquet"
    assert domostats(*command, **token)[0] == 0
    before = hashlib.sha256(Path("accounts.parquet").read_bytes()).hexdigest()
    if fault == "expired":
        box.fail("wrong_password", "/api/content/v2/authentication")
    else:
        box.fail(fault, PROVIDERS, times=None)
    got, printed = domostats(*command, **token)
    assert got == code and "Error" in printed and "Traceback" not in printed
    assert hashlib.sha256(Path("accounts.parquet").read_bytes()).hexdigest() == before


@pytest.mark.parametrize(
    "command, code, said",
    [
        (["generate", "acounts", "--instance", "acme", "--to", "a.csv"], 2, "accounts"),
        (["generate", "accounts", "--instance", "evil.com/", "--to", "a.csv"], 2, "bad_name"),
        (
            ["generate", "accounts", "--instance", "nobody-here", "--to", "a.csv"],
            4,
            "DOMO_ACCESS_TOKEN in the environment",
        ),
        (["generate", "accounts"], 2, "--instance"),
        (
            ["generate", "accounts", "--instance", "acme", "--to", "a.csv", "--format", "v9"],
            2,
            "v1",
        ),
        (["sandbox", "--payload", "x"], 2, "NAME=FILE"),
        (["sandbox", "--payload", "accounts=missing.json"], 3, "missing.json"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_a_wrong_call_says_what_would_be_right(command, code, said):
    got, printed = domostats(*command)
    assert got == code and said in printed and "Traceback" not in printed


def test_a_folder_that_is_not_there_is_the_destinations_fault(box):
    code, printed = domostats(
        "generate", "accounts", "--instance", box.name, "--to", "nowhere/accounts.parquet"
    )
    assert code == 7 and "nowhere" in printed


def test_strict_writes_nothing_when_a_record_was_set_aside(box):
    box.serve(
        PROVIDERS, [{"key": "k", "name": "n", "accounts": [{"id": "x"}, {"id": 1, "color": 5}]}]
    )
    command = (
        "generate",
        "accounts",
        "--instance",
        box.name,
        "--format",
        "v1",
        "--to",
        "accounts.csv",
    )
    code, printed = domostats(*command, "--strict")
    assert code == 6 and "set aside" in printed and not Path("accounts.csv").exists()
    code, printed = domostats(*command)
    assert (
        code == 0
        and "set aside" in printed
        and "color" in printed
        and read_file("accounts.csv").num_rows == 1
    )


def test_upsert_goes_by_the_column_of_the_key(box):
    command = (
        "generate",
        "accounts",
        "--instance",
        box.name,
        "--format",
        "v1",
        "--to",
        "accounts",
        "--method",
    )
    settings = {"DOMOSTATS_SETTINGS": str(lab(box))}
    assert domostats(*command, "UPSERT", **settings)[0] == 0
    rows = Store("lab.duckdb").read("accounts").num_rows
    assert (
        domostats(*command, "UPSERT", **settings)[0] == 0
        and Store("lab.duckdb").read("accounts").num_rows == rows
    )
    assert (
        domostats(*command, "APPEND", **settings)[0] == 0
        and Store("lab.duckdb").read("accounts").num_rows == 2 * rows
    )
    code, printed = domostats(*command, "REPLACE", **settings)
    assert (
        code == 0
        and "lab.duckdb" in printed.replace("\n", "")
        and Store("lab.duckdb").read("accounts").num_rows == rows
    )


@pytest.mark.parametrize("method", ["UPSERT", "APPEND", "BOGUS"])
def test_a_method_that_means_nothing_here_is_refused_before_anything_is_fetched(box, method):
    code, printed = domostats(
        "generate", "accounts", "--instance", box.name, "--to", "a.csv", "--method", method
    )
    assert code == 2 and "--method" in printed and not box.calls and not Path("a.csv").exists()


def test_a_good_file_is_not_replaced_by_nothing(box):
    command = (
        "generate",
        "accounts",
        "--instance",
        box.name,
        "--format",
        "v1",
        "--to",
        "accounts.parquet",
    )
    assert domostats(*command)[0] == 0
    before = Path("accounts.parquet").read_bytes()
    box.serve(PROVIDERS, [{"key": "k", "accounts": [{"id": "x"}, {"id": "y"}]}])
    code, printed = domostats(*command)
    assert (
        code == 6 and "Every record" in printed and Path("accounts.parquet").read_bytes() == before
    )


def test_a_report_can_be_read_about():
    code, printed = domostats("reports")
    assert code == 0 and {*expectations()} <= {*printed.split()}
    assert len(printed.splitlines()) == len(expectations()) + 5, "one line a report"
    code, printed = domostats("reports", "accounts")
    assert (
        code == 0
        and "v1" in printed
        and "/api/data/v1/accounts" in "".join(printed.split())
        and "Created_Date" in printed
        and "timestamp[us, tz=UTC]" in printed
        and "flat_obj.createdAt" in printed
    )


@pytest.mark.slow
def test_every_command_explains_itself():
    code, printed = domostats("--help")
    assert code == 0 and "Exit codes" in printed
    for command in (
        "demo",
        "lab",
        "check",
        "sandbox",
        "datorama-sandbox",
        "dash-sandbox",
        "bigquery-sandbox",
        "dash-sign-in",
        "reports",
        "generate",
        "run",
        "estimate",
        "budget",
        "snapshot",
        "history",
        "changes",
        "take-back",
        "erase",
        "upgrade",
    ):
        assert command in printed
        code, own = domostats(command, "--help")
        assert code == 0 and len(own.splitlines()) > 5


def test_a_sandbox_in_one_terminal_is_found_from_another(tmp_path):
    payload = tmp_path / "accounts.json"
    payload.write_text(json.dumps(workshop_providers()))
    server = subprocess.Popen(
        [sys.executable, "-m", "domostats", "sandbox", "--payload", f"accounts={payload}"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert "domostats check sandbox" in server.stdout.readline()
        code, printed = domostats(
            "generate",
            "accounts",
            "--instance",
            "sandbox",
            "--format",
            "v2",
            "--to",
            "accounts.parquet",
        )
        assert code == 0, printed
        assert pq.read_table("accounts.parquet")["account_id"].to_pylist() == [71, 87, 88, 92, 94]
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0
    assert domostats("check", "sandbox")[0] == 3


@pytest.mark.slow
def test_a_datorama_in_one_terminal_is_run_from_another():
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "domostats",
            "datorama-sandbox",
            "--streams",
            "5",
            "--workspaces",
            "2",
            "--show-token",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert (
            "domostats check datorama" in server.stdout.readline()
            and server.stdout.readline().startswith("DATORAMA_API_TOKEN=dato-api-")
        )
        code, printed = domostats("check", "datorama")
        assert (
            code == 0
            and "2 workspaces" in printed
            and "datorama_jobs" in printed
            and "page_access" not in printed
        )
        code, printed = domostats("estimate", "--instance", "datorama")
        assert code == 0 and "datorama_jobs" in printed
        code, printed = domostats("run", "--instance", "datorama", "--to", "out")
        assert code == 0, printed
        platforms = {name: one.platform for name, one in expectations().items()}
        assert {path.stem for path in Path("out").iterdir()} == {
            name for name, platform in platforms.items() if platform not in ("domo", "dash")
        }
        assert (
            pq.read_table("out/datorama_streams.parquet").num_rows == 5
            and pq.read_table("out/calls.parquet").num_rows >= 8
        )
        code, printed = domostats(
            "run", "--instance", "datorama", "--only", "users,datorama_workspaces", "--to", "other"
        )
        assert (
            code == 3
            and "wrong_platform" in printed
            and [path.stem for path in Path("other").iterdir()] == ["datorama_workspaces"]
        )
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0


@pytest.mark.slow
def test_a_report_is_kept_and_compared(box):
    Path("settings.ini").write_text("[domostats]\nstore = here.duckdb\n")
    assert domostats("changes", "users", "--since", "2024-01-01")[0] == 3
    code, printed = domostats("snapshot", "users", "--instance", box.name, "--dry-run")
    assert (
        code == 0
        and "would be kept" in printed
        and domostats("history", "users", "--at", "2030-01-01")[0] == 3
    )
    code, printed = domostats("snapshot", "users", "--instance", box.name)
    assert code == 0, printed
    code, printed = domostats("snapshot", "users", "--instance", box.name)
    assert code == 0 and domostats("history", "users")[1].count("users") == 2
    code, printed = domostats("changes", "users", "--since", "2024-01-01", "--to", "changes.csv")
    assert code == 0 and Path("changes.csv").read_text().count("added") == 12
    code, printed = domostats("history", "users", "--at", "2030-01-01", "--to", "users.parquet")
    assert code == 0 and pq.read_table("users.parquet").num_rows == 12
    assert domostats("snapshot", "accounts", "--instance", box.name)[0] == 0
    code, printed = domostats(
        "snapshot",
        "accounts",
        "--instance",
        "lab",
        DOMO_USERNAME=box.limited.username,
        DOMO_PASSWORD=box.limited.password,
        DOMOSTATS_SETTINGS=str(lab(box)),
    )
    assert code == 6 and "as if it were gone" in printed


def test_the_sizes_of_a_sandbox():
    sizes = [
        "--seed",
        "5",
        "--users",
        "40",
        "--accounts",
        "9",
        "--groups",
        "3",
        "--datasets",
        "20",
        "--pages",
        "5",
        "--events",
        "7",
        "--same-day",
        "2",
        "--latency",
        "1",
        "--show-password",
    ]
    server = subprocess.Popen(
        [sys.executable, "-m", "domostats", "sandbox", *sizes], stdout=subprocess.PIPE, text=True
    )
    try:
        url = server.stdout.readline().split(" answers at ")[1].split()[0]
        shown = dict(server.stdout.readline().strip().split("=", 1) for _ in range(5))
        assert shown.keys() == {
            "DOMO_USERNAME",
            "DOMO_PASSWORD",
            "DOMO_ACCESS_TOKEN",
            "DOMO_CLIENT_ID",
            "DOMO_CLIENT_SECRET",
        }

        def ask(path):
            return requests.get(
                url + path,
                headers={"X-DOMO-Developer-Token": shown["DOMO_ACCESS_TOKEN"]},
                timeout=10,
            ).json()

        datasets = ask("/api/data/v3/datasources?limit=50")["dataSources"]
        assert (
            len(ask("/api/identity/v1/users")["users"]) == 40
            and len(ask("/api/content/v2/groups/grouplist")) == 3
            and ask("/api/audit/v1/user-audits/count") == {"count": 7}
        )
        assert len(datasets) == 20 and len({dataset["created"] for dataset in datasets}) == 19
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0
    assert domostats("sandbox", "--datasets", "3", "--same-day", "4")[0] == 2


def test_an_installed_command_is_the_same(box):
    command = Path(sys.executable).parent / "domostats"
    done = subprocess.run([command, "check", box.name], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and box.username in done.stdout


def test_the_store_is_readable_by_plain_duckdb():
    Path("settings.ini").write_text("[domostats]\nstore = demo.duckdb\n")
    assert domostats("demo")[0] == 0
    with duckdb.connect("demo.duckdb", read_only=True) as database:
        names = {
            name
            for (name,) in database.execute(
                "select table_name from information_schema.tables"
            ).fetchall()
        }
    assert {"accounts_v1", "accounts_v2", "accounts_domostats"} <= names


def test_the_lab_copies_every_lesson_and_never_twice(tmp_path):
    from domostats.interfaces.lab import copy_lessons

    copied = copy_lessons(tmp_path / "mine")
    assert "1_accounts.ipynb" in copied
    (tmp_path / "mine" / copied[0]).write_text("my own work")
    assert (
        copy_lessons(tmp_path / "mine") == []
        and (tmp_path / "mine" / copied[0]).read_text() == "my own work"
    )


# --- many reports, many instances -----------------------------------------------------------------


def test_several_instances_go_into_one_table_and_one_that_fails_shows_in_the_exit_code(box):
    with sandbox.start(seed=2) as other:
        code, printed = domostats(
            "generate",
            "groups",
            "--instance",
            box.name,
            "--instance",
            other.name,
            "--to",
            "groups.parquet",
        )
        assert code == 0 and set(read_file("groups.parquet")["instance"].to_pylist()) == {
            box.name,
            other.name,
        }
        other.fail("forbidden", times=None)
        code, printed = domostats(
            "generate",
            "groups",
            "--instance",
            box.name,
            "--instance",
            other.name,
            "--to",
            "groups.parquet",
        )
        assert (
            code == 5
            and f"failed: {other.name}" in printed
            and set(read_file("groups.parquet")["instance"].to_pylist()) == {box.name, other.name}
        )


def test_a_run_of_many_reports_writes_each_and_keeps_its_pages_when_one_fails(box):
    box.fail("html", "/api/content/v2/groups", times=None)
    code, printed = domostats(
        "run", "--instance", box.name, "--only", "users,groups", "--to", "out"
    )
    assert (
        code == 6
        and "failed: groups" in printed
        and read_file("out/users.parquet").num_rows == 12
        and not Path("out/groups.parquet").exists()
    )
    box.heal()
    before = len(box.calls)
    code, printed = domostats(
        "run", "--instance", box.name, "--only", "users,groups", "--to", "out"
    )
    assert code == 0 and read_file("out/groups.parquet").num_rows == 8
    first, again = (
        sum("/identity/" in path for _, path, _ in calls)
        for calls in ([*box.calls][:before], [*box.calls][before:])
    )
    assert again < first and "kept by an earlier start of this run" in printed


def test_a_run_of_several_instances_goes_on_without_the_one_that_fails(box):
    with sandbox.start(users=5) as second:
        Path("settings.ini").write_text(f"[domostats]\n[instance.closed]\nurl = {box.url}\n")
        code, printed = domostats(
            "run",
            "--instance",
            box.name,
            "--instance",
            "closed",
            "--instance",
            second.name,
            "--only",
            "users,groups",
            "--to",
            "out",
            DOMO_ACCESS_TOKEN__CLOSED="x" * 20,
        )
        assert code == 4 and "failed: " in printed and "closed" in printed
    assert {path.name for path in Path("out").iterdir()} == {
        f"{report}_{name}.parquet"
        for report in ("users", "groups")
        for name in (box.name, second.name)
    }
    assert pq.read_table(f"out/users_{second.name}.parquet").num_rows == 5


def test_what_a_run_costs_is_told_before_it(box):
    code, printed = domostats("estimate", "--instance", box.name, "--only", "users,page_access")
    assert code == 0 and "together, each list once" in printed and "page_access" in printed
    code, printed = domostats("budget")
    assert code == 0 and box.name in printed


def test_a_run_can_be_played_again_and_a_contract_frozen(box):
    command = "generate", "groups", "--instance", box.name, "--to", "groups.csv"
    assert domostats(*command)[0] == 0
    before, kept = len(box.calls), Path("groups.csv").read_bytes()
    assert (
        domostats(*command, "--restore")[0] == 0
        and len(box.calls) == before
        and Path("groups.csv").read_bytes() == kept
    )
    box.serve("/api/content/v2/groups/grouplist", [{"groupId": 1, "color": "red"}])
    code, printed = domostats(*command, "--contract", "freeze")
    assert code == 6 and "color" in printed and Path("groups.csv").read_bytes() == kept
    assert (
        domostats(*command, "--contract", "extend", "--fresh", "--allow-incomplete")[0] == 0
        and "other_fields" in read_file("groups.csv").column_names
    )
