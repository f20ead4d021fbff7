"""Workflows under a real Airflow 3, and over Dask: what runs, what fails alone, what is told.

One process runs all DAGs (`airflow_runs.py`), with an environment and a home of its own."""

import base64
import json
import os
import subprocess

import pytest
import tomllib
from conftest import ROOT
from secret_search import leaks, leaks_in_files

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1800)]
RUNS = ROOT / "tests" / "airflow_runs.py"
SERVICES_SCRIPT = ROOT / "tests" / "airflow_services.py"
DONE = {"success": 1}
SECRETS = {"RIGHT": "planted-3f9a7c1e5b2d8f6a4c0e", "WRONG": "planted-b7d1f3a9c5e80246ae9c"}


@pytest.fixture(scope="session")
def airflow(environment):
    "The interpreter that has Airflow, the registry and the sandbox."
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = declared["optional-dependencies"]
    wanted = [*declared["dependencies"], *extras["airflow"], *extras["dask"], *extras["registry"]]
    wanted += [*extras["sandbox"], "pendulum>=3", "pytest>=8"]
    wanted += ["psycopg2-binary", "asyncpg"]  # how Airflow speaks to PostgreSQL
    return environment(*sorted({*wanted}))


SERVICES = {  # what a real Airflow is told for this test
    "AIRFLOW__API__HOST": "127.0.0.1",
    "AIRFLOW__API__WORKERS": "1",
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "AIRFLOW__CORE__PARALLELISM": "8",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "10",
}
# what every task imports is there before it starts
PRELOAD = """
import domostats.engines.airflow.dag, domostats.engines.datasets, domostats.loading.files
import domostats.loading.store, domostats.reports.activity_log, domostats.reports.fleet
import domostats.reports.groups, domostats.reports.users, domostats.tracking.registry.catch_up
import domostats.tracking.registry.database, duckdb, pandas, pyarrow.parquet
"""


def home(folder):
    "The variables of an Airflow that knows nothing but this folder."
    places = {name: folder / name for name in ("dags", "work", "state", "data", "config")}
    for place in places.values():
        place.mkdir(parents=True, exist_ok=True)
    return places["work"], {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT),
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__CORE__DAGS_FOLDER": str(places["dags"]),
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        **SECRETS,
        "XDG_STATE_HOME": str(places["state"]),
        "XDG_DATA_HOME": str(places["data"]),
        "XDG_CONFIG_HOME": str(places["config"]),
    }


@pytest.fixture(scope="session")
def runs(airflow, once):
    "Gives a function that tells what a case saw."

    def run_all(folder):
        work, variables = home(folder)
        command = [airflow, RUNS, folder / "result.json", folder]
        with (folder / "said").open("w") as said:
            subprocess.run(command, cwd=work, env=variables, stdout=said, stderr=said, timeout=1500)
        assert (folder / "result.json").exists(), (folder / "said").read_text()[-3000:]

    found = json.loads((once("airflow-runs", run_all) / "result.json").read_text())

    def tell(name):
        assert "error" not in found[name], found[name]["error"]
        return found[name]

    return tell


# --- tasks in a row -------------------------------------------------------------------------------


def test_tasks_run_in_a_row_and_each_release_is_recorded_once(runs):
    seen = runs("a_plain_row")
    days = "[datetime.date(2024, 4, 1), datetime.date(2024, 4, 2)]"
    assert seen["state"] == "success"
    assert seen["called"] == ["setup", ["load", days, True, True], ["transform", days, True, True]]
    wanted = [[name, f"s:2024-04-0{day}"] for day in (1, 2) for name in ("books", "papers")]
    assert sorted(seen["recorded"]) == sorted(wanted)
    assert seen["dag"] and seen["runs"] and seen["started"]
    assert seen["after_another_run"] == 4


def test_a_setup_task_that_says_no_skips_everything_behind_it(runs):
    seen = runs("with_nothing_to_do")
    assert seen["state"] == "success" and seen["called"] == []
    skipped = {name for name, states in seen["tasks"].items() if states == {"skipped": 1}}
    assert skipped == {"make_release", "load", "tell", "check_releases"}


def test_without_releases_a_whole_task_gets_none_as_in_a_plain_process(runs):
    seen = runs("without_releases")
    assert seen["state"] == "success" and seen["called"] == [["tell", "[]", True, True]]


def test_an_error_ends_the_row(runs):
    seen = runs("that_fails_in_a_row")
    assert seen["state"] == "failed" and [one[0] for one in seen["called"]] == ["load"]
    assert seen["tasks"]["more"] == {"upstream_failed": 1}


def test_airflow_tries_again_unless_waiting_mends_nothing(runs):
    seen = runs("with_retries")
    assert seen["called"] == ["load", "load", "load", "tell"]
    assert seen["tasks"]["load"] == DONE and seen["tasks"]["tell"] == {"failed": 1}


def test_what_appears_behind_the_load_is_not_registered_in_this_run(runs):
    seen = runs("while_the_source_changes")
    assert seen["loaded"] == ["2024-04-01", "2024-04-02"]
    assert seen["recorded"] == ["s:2024-04-02"] and seen["state"] == "success"


def test_releases_are_assets_of_their_datasets(runs):
    seen = runs("with_assets")
    releases = {"releases": ["2024-04-01"]}
    assert seen["events"] == [[uri, releases] for uri in seen["uris"]] and len(seen["uris"]) == 2


# --- mapped ---------------------------------------------------------------------------------------


def test_one_that_fails_fails_alone_and_what_is_behind_gets_the_others(runs):
    seen = runs("two_mapped")
    called = {}
    for task, release in seen["called"]:
        called.setdefault(task, []).append(release)
    assert sorted(called["load"]) == ["a", "b", "c", "d"] == seen["names"]
    assert sorted(called["check"]) == ["a", "c", "d"] and called["tell"] == ["['a', 'd']"]
    assert sorted(called["more"]) == ["a", "d"]
    assert seen["tasks"]["load"] == {"success": 3, "failed": 1}
    assert seen["tasks"]["check"] == {"success": 2, "skipped": 1, "failed": 1}
    assert seen["tasks"]["check_releases"] == {"failed": 1} and seen["state"] == "failed"


def test_where_all_fail_nothing_behind_runs_and_the_run_has_failed(runs):
    seen = runs("where_all_fail")
    assert seen["tasks"]["tell"] == {"skipped": 1} and seen["state"] == "failed"
    assert sorted(seen["called"]) == [["load", "a"], ["load", "b"]]


def test_a_run_that_does_not_know_its_releases_is_no_success(runs):
    seen = runs("that_does_not_know_its_releases")
    assert seen["asked"] == 1 and seen["called"] == []
    assert seen["state"] == seen["unready"] == "failed"
    assert seen["tasks"]["check_releases"] == {"failed": 1}
    assert seen["tasks"]["tell"] == {"skipped": 1}
    assert seen["again"] == "success"


def test_more_releases_than_airflow_maps_over_share_batches(runs):
    seen = runs("in_batches")
    names = [f"r{n:02}" for n in range(23)]
    called = seen["called"]
    assert sorted(one for task, one in called if task == "load") == names
    assert [one for task, one in called if task == "tell"] == [
        str([n for n in names if n != "r07"])
    ]
    assert seen["tasks"]["load"] == {"success": 4, "failed": 1} and seen["state"] == "failed"


def test_of_twenty_instances_three_fail_and_the_others_are_loaded(runs):
    "Two hundred are below, under the processes of a real Airflow."
    seen = runs("instances_of_which_three_fail")
    names = seen["names"]
    failed = {"own-7", "two-7", "last-7"}
    assert len({*names}) == 20 and failed < {*names}
    assert seen["tasks"]["report"] == {"success": 17, "failed": 3}
    assert seen["tasks"]["load"] == DONE and seen["tasks"]["check_releases"] == {"failed": 1}
    assert seen["state"] == "failed"
    rows = dict(seen["rows"])
    assert {*rows} == {*names} - failed and len({*rows.values()}) == 1 and min(rows.values()) > 0


# --- connections, sensors, catch-up ---------------------------------------------------------------


def test_instances_sign_in_by_their_connections_and_a_wrong_token_is_not_tried_again(runs):
    seen = runs("with_secrets_from_connections")
    assert {*seen["rows"]} == {"right", "broken"} and min(seen["rows"].values()) > 0
    assert seen["tries"] == {"right": 1, "wrong": 1, "broken": 2}
    assert seen["tasks"]["report"] == {"success": 1, "failed": 2} and seen["state"] == "failed"


def test_no_secret_is_in_the_database_a_log_an_xcom_or_a_rendered_template(runs, once):
    runs("with_secrets_from_connections")
    folder = once("airflow-runs", None)
    assert (folder / "airflow.db").stat().st_size > 100_000
    assert b"ValueError" in (folder / "said").read_bytes()
    assert b"report" in (folder / "airflow.db").read_bytes()
    assert leaks_in_files(folder, *SECRETS.values()) == {}


def test_sensors_wait_for_releases_and_for_runs_and_hold_no_worker(runs):
    seen = runs("with_sensors")
    for name in ("there", "late", "ran", "passed", "load"):
        assert seen["tasks"][name] == DONE, name
    assert seen["tasks"]["vain"] == seen["tasks"]["absent"] == {"failed": 1}
    assert seen["looks"] == 3 and seen["called"] == 1


def test_after_five_missed_days_each_release_is_recorded_once(runs):
    seen = runs("after_five_missed_days")
    keys = [f"s:2024-04-0{day}" for day in range(1, 7)]
    without_the_fourth = [key for key in keys if key != keys[3]]
    assert seen["steps"] == [
        ["success", keys[:1]],
        ["failed", without_the_fourth],
        ["success", keys],
        ["success", keys],
    ]
    assert seen["loaded"] == [f"2024-04-0{day}" for day in range(1, 7)]


# --- the reference --------------------------------------------------------------------------------


def test_the_blocks_of_the_reference_run_with_only_their_imports_changed(runs):
    seen = runs("the_blocks_of_the_reference")
    assert seen["first"]["state"] == seen["second"]["state"] == "success"
    assert seen["partners"][0] == {
        "dataset_name": "books",
        "sales_field": "sales",
        "db_service": "bigquery",
        "table_address": "project.sales.books",
        "table_type": "sharded",
    }
    assert seen["sums"] == ["books", "papers"] and seen["monitored"] == ["books_dag", "papers_dag"]
    made = {"aggregate_sales_workflow", "aggregation_workflow", "snapshots"}
    each = {"dag_id_prefix_the_press", "dag_id_prefix_o_reilly_sons"}
    assert seen["dags"] == dict.fromkeys(made | each, "DAG")
    assert seen["address"] == ["project", "sales", "books"] and seen["changed"] == "new address"
    assert seen["releases"] == [0, 2] and seen["type"] == "sharded"


# --- the folder that `domostats airflow init` writes ----------------------------------------------


def write_folder(airflow, folder):
    "The files that `init` writes, in the dags folder of this home."
    work, variables = home(folder)
    command = [airflow, "-m", "domostats", "airflow", "init", folder / "dags"]
    subprocess.run(command, cwd=work, env=variables, check=True, capture_output=True)
    return work, variables


def test_the_tests_that_init_writes_pass(airflow, tmp_path):
    work, variables = write_folder(airflow, tmp_path)
    command = [airflow, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path / "dags" / "tests"]
    done = subprocess.run(command, cwd=work, env=variables, capture_output=True, text=True)
    assert done.returncode == 0 and "5 passed" in done.stdout, done.stdout[-3000:]


def test_check_reads_the_dags_the_pools_and_the_connections(airflow, tmp_path):
    work, variables = write_folder(airflow, tmp_path)
    variables["COLUMNS"] = "250"
    (work / "settings.ini").write_text("[instance.acme]\n[instance.umbra]\n")
    dags = tmp_path / "dags"
    pooled = (
        (dags / "nightly_history.py").read_text().replace("each=True", "each=True, pool='domo'")
    )
    (dags / "nightly_history.py").write_text(pooled)
    (dags / "broken.py").write_text("from airflow.sdk import dag, nothing_of_this_name")
    keep = """
import sys
from airflow.models import Connection
from airflow.settings import Session
from airflow.utils.db import initdb
initdb()
session = Session()
session.add(Connection(conn_id="domo_acme", conn_type="http", password=sys.argv[1]))
session.commit()
"""
    subprocess.run(
        [airflow, "-c", keep, SECRETS["RIGHT"]],
        cwd=work,
        env=variables,
        check=True,
        capture_output=True,
    )
    command = [airflow, "-m", "domostats", "airflow", "check"]
    done = subprocess.run(command, cwd=work, env=variables, capture_output=True, text=True)
    assert done.returncode == 3, done.stderr[-3000:]
    told = [line for line in done.stdout.splitlines() if " ok " in line or "MISSING" in line]
    state = {line.split("  ")[0].strip(): line for line in told}
    for name in ("Airflow", "Fernet key", "dags folder", "DAGs", "instance acme", "registry"):
        assert " ok " in state[name], state[name]
    for name in ("broken.py", "pool domo", "instance umbra"):
        assert "MISSING" in state[name], state[name]
    assert "nothing_of_this_name" in state["broken.py"]
    assert "airflow pools set domo" in state["pool domo"]
    assert "catch_up, daily_extract, nightly_history, nightly_reports" in state["DAGs"]
    assert "Traceback" not in done.stderr
    assert not leaks(done.stdout + done.stderr, SECRETS["RIGHT"])


# --- the processes of a real Airflow, which are killed --------------------------------------------


@pytest.mark.parametrize(("database", "count"), [("sqlite", 200), ("postgresql", 40)])
def test_after_kills_every_release_is_recorded_once_and_every_dataset_is_whole(
    airflow, tmp_path, request, database, count
):
    """The scheduler has been off for five days. While it catches up, and a DAG is at its 200
    instances of which three fail, a task, the scheduler, and then all of its workers are killed."""
    work, variables = write_folder(airflow, tmp_path)
    for name in ("nightly_history.py", "daily_extract.py"):
        (tmp_path / "dags" / name).unlink()
    for file in (tmp_path / "dags").glob("*.py"):
        text = file.read_text().replace("retry_wait=300", "retry_wait=1")
        text = text.replace("retry_wait=60", "retry_wait=1").replace("DAYS = 30", "DAYS = 5")
        few = 'in instance_names("domo")[:2]\n'
        file.write_text(text.replace('in instance_names("domo")\n', few))
    (tmp_path / "config" / "airflow_local_settings.py").write_text(PRELOAD)
    registry = tmp_path / "registry.sqlite"
    variables |= SERVICES | {
        "AIRFLOW__API_AUTH__JWT_SECRET": base64.b64encode(os.urandom(48)).decode(),
        "DOMOSTATS_SETTINGS": str(work / "settings.ini"),
        "REGISTRY": json.dumps({"conn_type": "sqlite", "host": str(registry)}),
        "REGISTRY_ADDRESS": f"sqlite:///{registry}",
    }
    if database == "postgresql":
        address = request.getfixturevalue("postgres")()
        address = address.replace("postgresql://", "postgresql+psycopg2://")
        variables["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = address
    command = [airflow, SERVICES_SCRIPT, tmp_path / "result.json", tmp_path, str(count)]
    with (tmp_path / "started").open("w") as said:
        subprocess.run(command, cwd=work, env=variables, stdout=said, stderr=said, timeout=1500)
    seen = json.loads((tmp_path / "result.json").read_text())
    assert "error" not in seen, seen["error"]
    assert [*seen["killed"]] == ["a task", "the scheduler", "the scheduler and all workers"]
    assert seen["tries_before"] > 0  # what was killed was tried again
    assert seen["runs"] == {"catch_up": "success", "nightly_reports": "failed"}
    assert seen["tasks"]["nightly_reports.fetch"] == {"success": count - 3, "failed": 3}
    assert seen["tasks"]["nightly_reports.check_releases"] == {"failed": 1}
    assert seen["tasks"]["catch_up.fetch"] == {"success": 10}
    right = [name for name in seen["names"] if not name.endswith("-bad")]
    wanted = seen["wanted"]
    assert len(right) == count - 3 and min(wanted.values()) > 0
    for report in ("users", "groups"):
        assert seen["counts"][report] == [[name, wanted[report]] for name in sorted(right)]
    keys = [f"s:{day}" for day in seen["days"]]
    assert sorted(seen["recorded"]) == sorted(
        [f"activity_{name}", key, "loaded"] for name in right[:2] for key in keys
    )
    assert len(keys) == 5 and sorted(seen["datasets"]) == [f"activity_{one}" for one in right[:2]]
    assert seen["events"] == {f"activity_{one}": wanted["events"] for one in right[:2]}
    assert seen["written"] > 10_000  # what Airflow keeps, as text, is searched too
    assert leaks_in_files(tmp_path, *SECRETS.values()) == {}


def test_the_workflow_of_the_guide_is_a_dag(runs):
    seen = runs("the_guide")
    assert seen["state"] == "success" and seen["rows"] == 21
    assert seen["tasks"]["fetch"] == {"success": 2}


# --- Dask -----------------------------------------------------------------------------------------


def test_a_report_of_three_hundred_instances_over_a_cluster_of_dask(airflow, tmp_path):
    work, variables = home(tmp_path)
    command = [airflow, ROOT / "tests" / "dask_runs.py", tmp_path / "result.json", tmp_path, "300"]
    done = subprocess.run(
        command, cwd=work, env=variables, capture_output=True, text=True, timeout=1500
    )
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads((tmp_path / "result.json").read_text())
    names = seen["names"]
    assert len({*names}) == 300 and seen["failures"] == {"report last-7": "RetryLaterError"}
    assert [*seen["results"]] == names[:-1]
    assert dict(seen["rows"]) == seen["results"] and min(seen["results"].values()) > 0
    assert len([*tmp_path.glob("shop-*.parquet")]) == 299
