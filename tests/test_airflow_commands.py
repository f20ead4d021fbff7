"""`domostats airflow` where no Airflow is installed: a folder is written once, and what is missing
is told; `test_airflow.py` runs the same where it is."""

import ast

import pytest
from commands import run
from secret_search import leaks

from domostats.engines.airflow import checks
from domostats.engines.airflow.dags_folder import FILES, write_dags_folder
from domostats.errors import DestinationError
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
