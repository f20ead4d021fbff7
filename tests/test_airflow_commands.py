"""`domostats airflow` where no Airflow is installed: a folder is written once, and what is missing
is told; `test_airflow.py` runs the same where it is."""

import ast
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from commands import run
from secret_search import leaks
from test_engines import handed

from domostats import reports, sandbox
from domostats.engines.airflow import checks
from domostats.engines.airflow.dags_folder import FILES, write_dags_folder
from domostats.errors import DestinationError
from domostats.loading.store import Store
from domostats.tracking import Extraction, Migrations
from domostats.tracking.registry.api import make_observatory_api
from domostats.tracking.registry.entities import TableType

SECRET = "planted-token-5c8e1f7a2b9d4036"


def airflow(*words, **variables):
    "What a command of `domostats airflow` said, on a wide terminal."
    return run("airflow", *words, environment={"COLUMNS": "250", **variables})


def test_init_writes_every_file_once(tmp_path):
    folder = tmp_path / "new" / "dags"
    code, said, _ = airflow("init", folder)
    assert code == 0 and "Airflow is not installed here" in said
    written = {str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file()}
    assert written == {*FILES}
    code, _, said = airflow("init", folder)
    assert code == 7 and "nothing was written" in said and "Traceback" not in said


@pytest.mark.parametrize("name", FILES)
def test_one_file_that_is_there_is_enough_to_write_none(tmp_path, name):
    mine = tmp_path / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    with pytest.raises(DestinationError) as refused:
        write_dags_folder(tmp_path)
    assert refused.value.reason == "file_exists" and name in str(refused.value)
    assert [one for one in tmp_path.rglob("*.py") if one != mine] == []
    assert mine.read_text() == "mine"


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    code, _, said = airflow("init", tmp_path / "file" / "dags")
    assert code == 7 and "cannot be written" in said and "Traceback" not in said


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".py")])
def test_the_files_import_only_what_is_there(name):
    """What a file takes from domostats exists under that name."""
    from importlib import import_module

    taken = [
        (node.module, one.name)
        for node in ast.walk(ast.parse(FILES[name]))
        if isinstance(node, ast.ImportFrom) and node.module.startswith("domostats")
        for one in node.names
    ]
    assert taken and all(hasattr(import_module(module), one) for module, one in taken)
    assert len(FILES[name].splitlines()) < 100


SETTINGS = """
[domostats]
[extractors]
classes = domostats.tracking.extractors.domo.UserCounts
first_date = {day}
zone = UTC
instance = sandbox
"""


@pytest.fixture
def world(own_folder):
    "A sandbox of today, and settings for it."
    day = datetime.now(timezone.utc).date() - timedelta(3)
    Path("settings.ini").write_text(SETTINGS.format(day=day))
    with sandbox.start(users=3, groups=4, datasets=2, pages=1, events=200) as box:
        yield box


def workflow_in(name):
    "The workflow of a file; without its last line, which makes a DAG of it."
    text, _, last = FILES[name].rstrip().rpartition("\n")
    names = {"__name__": name}
    exec(compile(text, name, "exec"), names)
    return eval(last.removeprefix("dag = ").removesuffix(".make_dag()"), names)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("most", [1, 1000])
def test_the_files_do_the_same_under_any_engine(world, most):
    """Each workflow runs in a plain process, then again where only names go from task to task."""
    for name in ("nightly_reports.py", "nightly_history.py", "catch_up.py"):
        workflow_in(name).run()
        workflow_in(name).make_dag(handed(most)).run()
    store = Store()
    assert store.read("users").num_rows == 3 and store.read("groups").num_rows == 4
    assert {*store.read("users")["instance"].to_pylist()} == {"sandbox"}
    with store.open() as con:
        taken = con.execute(
            "SELECT count(*) FROM kit.loads WHERE dataset = 'history.users@sandbox'"
        )
        assert taken.fetchone() == (2,)
        assert con.execute('SELECT count(*) FROM history."users@sandbox"').fetchone() == (3,)
    api = make_observatory_api()
    recorded = api.get_dataset_releases(1000)
    assert len(recorded) == len({one.release_key for one in recorded}) == 30
    today = datetime.now(timezone.utc).date()
    log = reports.find("activity_log").run(world, since=today - timedelta(30), until=today)
    assert store.read("activity_sandbox").num_rows == log.table.num_rows > 0


def test_extractors_are_run_where_there_are_some(world):
    migrations = Migrations("migrations")
    migrations.make(Extraction().tables)
    migrations.apply()
    workflow_in("daily_extract.py").make_dag(handed()).run()
    assert Store().read("user_counts").num_rows == 3
    Path("settings.ini").write_text("[domostats]\n")
    assert workflow_in("daily_extract.py").run().stopped == "has_extractors"


def test_check_says_what_is_missing_without_airflow(tmp_path):
    folder = tmp_path / "dags"
    write_dags_folder(folder)
    (folder / "broken.py").write_text("dag = (")
    (tmp_path / "work" / "settings.ini").write_text("[instance.acme]\n[instance.umbra]\n")
    code, said, errors = airflow("check", folder, DOMO_ACCESS_TOKEN__ACME=SECRET)
    assert code == 3 and "Traceback" not in errors
    lines = {line.split()[0]: line for line in said.splitlines() if line}
    assert "MISSING" in lines["Airflow"] and "pip install" in lines["Airflow"]
    assert "MISSING" in lines["broken.py"] and "ok" in lines["registry"]
    assert "instance acme   ok" in said and "instance umbra  MISSING" in said
    assert not leaks(said + errors, SECRET)


def test_a_registry_that_does_not_answer_is_a_finding(monkeypatch):
    def down():
        raise DestinationError("It is down.", "no_registry")

    monkeypatch.setattr(checks, "make_observatory_api", down)
    told = {one.what: one for one in checks.check_all()}
    assert not told["registry"].is_fine and "It is down." in told["registry"].told
    assert not told["dags folder"].is_fine and "airflow init" in told["dags folder"].told


def test_a_dataset_that_two_tell_of_at_once_is_one_for_both(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    from domostats.engines.datasets import find_or_add_dataset, get_or_post

    def find(n):
        api = make_observatory_api(tmp_path / "registry.sqlite")
        return find_or_add_dataset(api, f"activity_{n % 3}", "catch_up")

    api = make_observatory_api(tmp_path / "registry.sqlite")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(find, range(24)))
    later = [find_or_add_dataset(api, f"activity_{n}", "catch_up").id for n in range(3)]
    assert len(api.get_dataset_types()) == 3 and len(api.get_workflow_types()) == 1
    assert [find(n).id for n in range(3)] == later
    assert {one.dataset_type.type_id for one in found} == {f"activity_{n}" for n in range(3)}

    def fail():
        raise DestinationError("down", "no_registry")

    with pytest.raises(DestinationError):
        get_or_post(fail, lambda: api.post_table_type(TableType(type_id="x")))
