"""Inside a workspace: a lesson uses the stand-in for `domojupyter`, and nothing reaches what is
real there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
REAL = '''
"""A module that behaves as DomoJupyter's does: it writes to the outputs that are attached."""
from pathlib import Path

import pandas as pd

OUTPUTS = "accounts_v1", "accounts_v2", "accounts_history", "accounts", "monit_accounts"
WRITTEN = Path(__file__).with_name("written.txt")
ACCOUNTS = {"domo": {"username": "ada", "password": "of the real workspace"}}
__version__ = "1.1.40"


def write_dataframe(df, alias, update_method="REPLACE", update_key=None, partition_name=None):
    assert isinstance(df, pd.DataFrame) and alias in OUTPUTS, alias
    with WRITTEN.open("a") as file:
        print(alias, len(df), file=file)


def read_dataframe(alias, query=None, **kwargs):
    assert alias in OUTPUTS, alias
    return pd.DataFrame({"real": [1]})


def get_account_property_keys(account_alias):
    if account_alias not in ACCOUNTS:
        raise Exception(f"Failed to obtain workspace account properties for {account_alias}")
    return list(ACCOUNTS[account_alias])


def get_account_property_value(account_alias, property_name):
    get_account_property_keys(account_alias)
    return ACCOUNTS[account_alias][property_name]
'''
PARTS = {
    "app_db": "def create_document(collection, document): return 'theirs'\n",
    "execution": "def get_payload(): return 'theirs'\ndef write_response(obj): pass\n",
}


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    "The folder of a module `domojupyter` that processes started from here find."
    package = tmp_path / "real" / "domojupyter"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(REAL)
    for name, text in PARTS.items():
        (package / f"{name}.py").write_text(text)
    paths = [str(package.parent), os.environ.get("PYTHONPATH")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    return package


def python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


FRAME = "import pandas as pd\nframe = pd.DataFrame({'id': [1, 2]})\n"


def test_without_practice_the_real_one_is_used(workspace):
    code = (
        FRAME + "from domostats import domojupyter as dj\ndj.write_dataframe(frame, 'accounts')\n"
    )
    python(code)
    assert (workspace / "written.txt").read_text() == "accounts 2\n"


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "before", ["", "from domostats.domojupyter import ai, app_db, execution\n"]
)
def test_practice_writes_to_a_store_of_its_own_and_so_do_its_programs(workspace, before):
    if before:
        (workspace / "ai.py").write_text("def generate_text(prompt): return 'theirs'\n")
    code = (
        FRAME
        + before
        + """
import subprocess, sys
from domostats import domojupyter as dj, lessons
assert dj.IN_WORKSPACE
lessons.practice()
assert not dj.IN_WORKSPACE
import domojupyter, domojupyter.app_db
assert domojupyter is dj and domojupyter.app_db is dj.app_db
dj.attach(outputs=['accounts'], inputs=['accounts'], collections=['notes'])
dj.app_db.create_document('notes', {'a': 1})
domojupyter.write_dataframe(frame, 'accounts')
program = '''
import domojupyter as dj, pandas as pd, domojupyter.execution as steps
from domostats import domojupyter
assert dj is domojupyter and steps.get_payload() == {}
dj.attach(outputs=['accounts'])
dj.write_dataframe(pd.DataFrame({'id': [1, 2, 3]}), 'accounts')
'''
subprocess.run([sys.executable, '-c', program], check=True)
print(len(dj.read_dataframe('accounts')))
"""
    )
    assert python(code) == ["3"]
    assert not (workspace / "written.txt").exists()


def test_after_the_block_the_real_one_is_back(workspace):
    code = (
        FRAME
        + """
import os
import domojupyter as theirs, domojupyter.app_db
from domostats import domojupyter as dj
from domostats.domojupyter import app_db
from domostats.lessons.store import temporary_store
paths = os.environ['PYTHONPATH']
for _ in range(2):
    with temporary_store():
        with temporary_store():
            dj.attach(outputs=['accounts'])
            dj.write_dataframe(frame, 'accounts')
        assert dj.write_dataframe is not theirs.write_dataframe
        assert app_db.create_document is not theirs.app_db.create_document
    assert dj.write_dataframe is theirs.write_dataframe and dj.IN_WORKSPACE
    assert app_db.create_document is theirs.app_db.create_document
    import domojupyter as again
    assert again is theirs and os.environ['PYTHONPATH'] == paths
    assert 'DOMOSTATS_PRACTICE' not in os.environ
dj.write_dataframe(frame, 'accounts_v1')
"""
    )
    python(code)
    assert (workspace / "written.txt").read_text() == "accounts_v1 2\n"


PROBE = "from domostats import domojupyter\nassert domojupyter.IN_WORKSPACE\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["1_accounts", "3_pages", "4_module", "6_streams"])
def test_every_lesson_runs_in_a_workspace_and_writes_to_nothing_real(name, workspace, tmp_path):
    nbformat = pytest.importorskip("nbformat", reason="lessons need the notebook tools")
    from nbclient import NotebookClient

    folder = tmp_path / "lessons"
    folder.mkdir()
    notebook = nbformat.read(ROOT / "tutorials" / "solutions" / f"{name}.ipynb", as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(PROBE))
    NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=300,
        resources={"metadata": {"path": str(folder)}},
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    said = "".join(
        output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs
    )
    assert said.count("passed (task ") == said.count("(task ") > 3
    assert not (workspace / "written.txt").exists()
