"""The tree itself: what is made from notebooks is current, the rooms keep their order, nothing
private is in it."""

import importlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from conftest import ROOT, files

BIN = Path(sys.executable).parent


def run(folder, program, *arguments):
    # neither a sandbox that runs elsewhere on this machine nor a learner's progress is seen
    own = dict.fromkeys(("XDG_STATE_HOME", "XDG_DATA_HOME"), tempfile.mkdtemp())
    done = subprocess.run(
        [BIN / program, *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, **own},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def differing(folder, under):
    "The files under a folder that differ between the project and the copy, or are in one only."
    names = {
        path.relative_to(top / under)
        for top in (ROOT, folder)
        for path in (top / under).rglob("*")
        if path.is_file()
        and path.name != "_modidx.py"  # of nbdev, and not kept
        and path.name != "py.typed"  # written by hand, as are the steps that Alembic runs
        and "revisions" not in path.parts
        and "__pycache__" not in path.parts
        and ".ipynb_checkpoints" not in path.parts
    }
    return sorted(
        str(name)
        for name in names
        if not all((top / under / name).exists() for top in (ROOT, folder))
        or (ROOT / under / name).read_bytes() != (folder / under / name).read_bytes()
    )


def test_the_package_is_what_the_notebooks_say(copy):
    for path in (copy / "domostats").rglob("*.py"):
        if "revisions" not in path.parts:
            path.unlink()
    run(copy, "nbdev-export")
    run(copy, "ruff", "format", "--quiet", "domostats")
    found = differing(copy, "domostats")
    assert not found, f"{', '.join(found)}: not what the notebooks say; run `make export`"


@pytest.mark.long
@pytest.mark.slow
def test_every_notebook_runs_and_its_stored_outputs_are_real(copy):
    done = run(copy, "python", "tools/run_notebooks.py", "nbs")
    assert done.count(".ipynb\n") == len([*(copy / "nbs").rglob("*.ipynb")])
    run(copy, "nbdev-clean")
    found = differing(copy, "nbs")
    assert not found, f"{', '.join(found)}: other outputs than those stored; run `make notebooks`"


def test_the_readme_is_what_its_notebook_says():
    run(ROOT, "python", "tools/readme.py", "--check")


def test_the_rooms_keep_their_order():
    run(ROOT, "lint-imports")


def test_no_name_is_unknown_or_unused():
    run(ROOT, "ruff", "check", ".")


def test_code_is_formatted():
    run(ROOT, "ruff", "format", "--check", ".")


def test_a_test_that_hangs_is_stopped(pytestconfig):
    assert pytestconfig.pluginmanager.hasplugin("timeout")
    assert 0 < float(pytestconfig.getini("timeout")) <= 600


def modules_after(program, **variables):
    "The names of the modules that a fresh interpreter holds when it has run a program."
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys\nprint(*sys.modules, file=sys.stderr)"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **variables},
    )
    return {*done.stderr.split()}


NOTEBOOK_TOOLS = {"nbdev", "fastcore", "IPython", "ipywidgets", "matplotlib"}
WEB_FRAMEWORKS = {"starlette", "uvicorn", "sqlalchemy"}
ENGINES = {"pandas", "numpy", "pyarrow", "duckdb", "sqlite3"}
CLIENTS = {"requests", "urllib3", "asyncio", "tqdm", "msgspec"}
HEAVY = NOTEBOOK_TOOLS | WEB_FRAMEWORKS | ENGINES | CLIENTS
EVERY_HELP = """
import sys
from typer.main import get_command
from domostats.interfaces.cli import app

def ask_help(command, words):
    sys.argv = [*words, "--help"]
    try:
        app()
    except SystemExit as e:
        assert not e.code, words
    for name, one in getattr(command, "commands", {}).items():
        ask_help(one, [*words, name])

ask_help(get_command(app), ["domostats"])
"""
COMPLETION = """
import contextlib
import io
import sys
from typer.completion import completion_init
from domostats.interfaces.cli import app
completion_init()
sys.argv = ["domostats"]
with contextlib.redirect_stdout(io.StringIO()) as printed:
    try:
        app(prog_name="domostats")
    except SystemExit as e:
        assert not e.code
assert printed.getvalue().split() == ["generate"], printed.getvalue()
"""


def test_the_package_needs_no_notebook_tools():
    loaded = modules_after("from domostats import reports, sandbox, loading, rows, domojupyter")
    assert "domostats.reports" in loaded
    assert not loaded & (NOTEBOOK_TOOLS | WEB_FRAMEWORKS | {"pandas", "duckdb", "pyarrow", "tqdm"})


def test_the_package_itself_and_its_reports_load_next_to_nothing():
    loaded = modules_after("import domostats\nfrom domostats import reports\nreports.names()")
    assert "domostats.reports" in loaded and not loaded & (HEAVY | {"rich", "typer"})


def test_the_reports_are_declared_without_pandas_an_engine_or_a_progress_bar():
    loaded = modules_after(
        "from domostats import reports\nfor name in reports.names(): reports.find(name).formatters"
    )
    assert "domostats.reports.users" in loaded
    assert not loaded & (NOTEBOOK_TOOLS | WEB_FRAMEWORKS | {"pandas", "duckdb", "asyncio", "tqdm"})


def test_help_of_any_command_waits_for_nothing_that_only_a_run_needs():
    loaded = modules_after(EVERY_HELP)
    assert "domostats.interfaces.release_commands" in loaded and not loaded & HEAVY


def test_completion_waits_for_nothing_that_only_a_run_needs():
    asked = {
        "_DOMOSTATS_COMPLETE": "complete_bash",
        "COMP_WORDS": "domostats gen",
        "COMP_CWORD": "1",
    }
    loaded = modules_after(COMPLETION, **asked)
    assert "domostats.interfaces.cli" in loaded and not loaded & (HEAVY | {"rich"})


def test_nothing_in_the_tree_is_big_private_or_foreign():
    slash, dot = "/", r"\."
    private = re.compile(
        "|".join(
            [
                slash + "tmp/[A-Za-z0-9]",
                slash + "root/",
                slash + "home/[a-z]",
                "py" + "pi" + dot + "org",
                "python" + "hosted" + dot,
                r"BEGIN [A-Z ]*PRIVATE KEY",
            ]
        )
    )
    for path in files():
        content = (ROOT / path).read_bytes()
        assert len(content) < 1_000_000, path
        assert not private.search(content.decode("utf-8", "replace")), path
        assert path.suffix != ".env" and path.name != "uv.lock", path


def test_what_is_needed_is_declared_and_no_leftovers_are_shipped():
    assert re.search(
        r'^dependencies = \[[^\]]*"requests\b', (ROOT / "pyproject.toml").read_text(), re.M
    )
    assert not [
        path
        for path in files()
        if path.suffix == ".pyc" or {"__pycache__", "build", "dist"} & {*path.parts}
    ]


def test_every_public_function_says_what_it_does():
    import ast

    for path in files():
        if path.parts[0] != "domostats" or path.name == "_modidx.py":
            continue
        for node in ast.parse((ROOT / path).read_text()).body:
            told = any(
                ast.unparse(getattr(by, "func", by)) == "checks.task"
                for by in getattr(node, "decorator_list", [])
            )  # a check of a lesson says it by itself
            if (
                isinstance(node, (ast.FunctionDef, ast.ClassDef))
                and not node.name.startswith("_")
                and not told
                and node.end_lineno - node.lineno > 5
            ):
                assert ast.get_docstring(node), f"{path}: {node.name}"


def test_each_name_of_the_reference_is_in_the_module_beside_it():
    def has(module, name):
        try:
            found = importlib.import_module(module)
            if module.endswith(f".{name.split('.')[0]}"):  # a module is called by its own name
                name = name.partition(".")[2]
            for part in filter(None, name.split(".")):
                submodule = f"{found.__name__}.{part}" if hasattr(found, "__path__") else ""
                if not hasattr(found, part) and submodule:
                    importlib.import_module(submodule)
                found = getattr(found, part)
        except ModuleNotFoundError as missed:  # Airflow has an environment of its own
            return missed.name == "airflow" and name in dir(found)
        except (ImportError, AttributeError):
            return False
        return True

    table = (ROOT / "docs" / "reference" / "index.md").read_text(encoding="utf-8")
    rows = [row.split(" | ") for row in re.findall(r"^\| (`.*) \|$", table, re.M)]
    assert len(rows) > 20
    for names, modules, _ in rows:
        places = re.findall(r"`([\w.]+)`", modules)
        package = places[0].rpartition(".")[0]
        places = [package + place if place.startswith(".") else place for place in places]
        for name in re.findall(r"`([\w.]+)`", names):
            assert any(has(place, name) for place in places), (name, places)


def test_the_name_of_a_test_says_what_it_shows():
    for path in sorted((ROOT / "tests").glob("test_*.py")):
        assert not re.findall(r"def test_\w*?[A-Z]\w*", path.read_text(encoding="utf-8")), path


@pytest.mark.slow
def test_the_code_does_not_become_harder_to_read():
    command = [sys.executable, "tools/house.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bases: " in done.stdout and "names: " in done.stdout


@pytest.mark.long
@pytest.mark.slow
def test_types_hold():
    done = subprocess.run([BIN / "basedpyright"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]
    assert "0 errors" in done.stdout


@pytest.mark.long
@pytest.mark.slow
def test_each_public_name_has_a_type():
    command = [BIN / "basedpyright", "--verifytypes", "domostats", "--ignoreexternal"]
    environment = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",  # the libraries are those of this Python
        # or it sees no mark of a typed package, and of what is not installed no description
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'typings'}",
    }
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout[-5000:]
    assert "completeness score: 100%" in done.stdout
