"""In a workspace: every name of the real module, and no import that an older one breaks."""

import os
import subprocess
import sys

import pytest

REAL = (
    "read_dataframe",
    "write_dataframe",
    "get_account_property_keys",
    "get_account_property_value",
)
DOCUMENTS = (
    "get_documents",
    "get_document",
    "create_document",
    "create_documents",
    "update_document",
    "update_documents",
    "delete_document",
    "delete_documents",
)
AI = ("generate_text", "summarize", "text_to_sql", "PromptTemplate", "SummarizationOutputStyle")


def functions(names):
    return "".join(f"def {name}(*args, **kwargs): return 'the real {name}'\n" for name in names)


@pytest.fixture
def workspace(tmp_path):
    "A folder with a domojupyter of 1.1.40 that has more than anybody has told us of."
    package = tmp_path / "real" / "domojupyter"
    (package / "ai").mkdir(parents=True)
    files = {
        "__init__.py": functions((*REAL, "list_aliases")) + "__version__ = '1.1.40'\nLIMIT = 7\n",
        "app_db.py": functions((*DOCUMENTS, "count_documents")),
        "execution.py": functions(("get_payload", "write_response", "get_run_id")),
        "ai/__init__.py": functions((*AI, "a_name_of_tomorrow")),
        "ai/model.py": functions(("create_model",)),
    }
    for name, text in files.items():
        (package / name).write_text(text)
    return package


def python(code, *path):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([*map(str, path), *filter(None, sys.path)]),
        },
        capture_output=True,
        text=True,
        timeout=120,
    )


def answer(code, *path):
    done = python(code, *path)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_name_of_the_real_module_is_here(workspace):
    code = """
import importlib
for module in ("", ".app_db", ".execution", ".ai", ".ai.model"):
    real = importlib.import_module("domojupyter" + module)
    ours = importlib.import_module("domostats.domojupyter" + module)
    names = [name for name in dir(real) if not name.startswith("_")]
    lacking = [name for name in names if name not in ("ai", "app_db", "execution", "model")
               and getattr(ours, name, None) is not getattr(real, name)]
    print(module or "top", lacking)
"""
    assert answer(code, workspace.parent).splitlines() == [
        "top []",
        ".app_db []",
        ".execution []",
        ".ai []",
        ".ai.model []",
    ]


def test_ai_is_the_real_one_however_it_is_imported(workspace):
    code = """
import domostats.domojupyter.ai as first
from domostats.domojupyter import ai as second
from domostats import domojupyter as dj
import domostats.domojupyter.ai.model as ml
from domostats.domojupyter.ai import generate_text, a_name_of_tomorrow
import domojupyter.ai, domojupyter.ai.model
print(first is second is dj.ai is domojupyter.ai, ml is domojupyter.ai.model, end=' ')
print(generate_text(), dj.__version__)
"""
    assert answer(code, workspace.parent) == "True True the real generate_text 1.1.40"


def test_a_star_brings_what_the_real_module_has(workspace):
    code = "from domostats.domojupyter import *; print(list_aliases(), LIMIT)"
    assert answer(code, workspace.parent) == "the real list_aliases 7"


def test_ai_may_be_asked_for_without_a_word_of_import(workspace):
    code = (
        "from domostats import domojupyter as dj; "
        "print(dj.ai.summarize(), dj.app_db.get_document(), dj.execution.get_run_id())"
    )
    assert answer(code, workspace.parent) == (
        "the real summarize the real get_document the real get_run_id"
    )


def test_an_older_one_without_a_version_is_imported(workspace):
    (workspace / "__init__.py").write_text(functions(REAL))
    code = (
        "from domostats import domojupyter as dj; "
        "print(dj.read_dataframe(), dj.__version__, dj.IN_WORKSPACE)"
    )
    assert answer(code, workspace.parent) == "the real read_dataframe unknown True"


@pytest.mark.parametrize("lacking", REAL)
def test_a_name_that_an_older_one_lacks_is_said_and_no_stand_in_takes_its_place(workspace, lacking):
    (workspace / "__init__.py").write_text(
        functions([name for name in REAL if name != lacking]) + "__version__ = '1.0.9'\n"
    )
    code = f"""
from domostats.domojupyter import {lacking}
from domostats.errors import SettingsError
try:
    {lacking}("a", "b")
except SettingsError as e:
    print(e.reason, "1.0.9" in str(e), "{lacking}" in str(e))
"""
    assert answer(code, workspace.parent) == "old_module True True"


def test_a_document_function_that_an_older_one_lacks_is_said(workspace):
    (workspace / "app_db.py").write_text(functions(DOCUMENTS[:4]))
    code = """
from domostats.domojupyter import app_db
from domostats.errors import SettingsError
try:
    app_db.delete_documents("letters", ["1"])
except SettingsError as e:
    print(app_db.get_document(), e.reason, "app_db.delete_documents" in str(e))
"""
    assert answer(code, workspace.parent) == "the real get_document old_module True"


def test_an_older_one_without_execution_says_when_it_came(workspace):
    (workspace / "execution.py").unlink()
    code = """
from domostats import domojupyter as dj
print(hasattr(dj, "execution"), dj.read_dataframe())
from domostats.domojupyter import execution
"""
    done = python(code, workspace.parent)
    assert done.stdout.strip() == "False the real read_dataframe"
    last = done.stderr.strip().splitlines()[-1]
    assert "No module named 'domojupyter.execution'" in last
    assert "1.1.32" in last and "1.1.40" in last


def test_an_older_one_without_ai_breaks_nothing_else(workspace):
    for file in ("__init__.py", "model.py"):
        (workspace / "ai" / file).unlink()
    for folder in (workspace / "ai" / "__pycache__", workspace / "ai"):
        if folder.exists():
            folder.rmdir()
    code = (
        "from domostats import domojupyter as dj; "
        "print(hasattr(dj, 'ai'), dj.app_db.get_document())"
    )
    assert answer(code, workspace.parent) == "False the real get_document"


def test_a_module_of_theirs_that_cannot_load_is_seen(workspace):
    (workspace / "ai" / "__init__.py").write_text("import a_library_that_is_missing\n")
    done = python("from domostats.domojupyter import ai", workspace.parent)
    assert done.returncode and "No module named 'a_library_that_is_missing'" in done.stderr


def test_at_ones_own_desk_ai_can_be_imported_and_says_where_it_works():
    from domostats import domojupyter as dj
    from domostats.domojupyter.ai import PromptTemplate, generate_text
    from domostats.errors import SettingsError

    for use in (
        lambda: generate_text("How many?"),
        lambda: PromptTemplate("${input}"),
        lambda: dj.ai.SummarizationOutputStyle.BULLETED,
        lambda: dj.ai.model.create_model("churn"),
    ):
        with pytest.raises(SettingsError) as told:
            use()
        assert told.value.reason == "only_in_workspace"
    assert not hasattr(dj.ai, "a_name_that_nobody_has_told_us_of")


def test_for_practice_the_stand_ins_take_the_place_of_what_was_loaded_and_give_it_back(
    workspace, tmp_path
):
    "Also of the parts of the package that somebody has used before."
    code = f"""
from pathlib import Path
import domojupyter as theirs, domojupyter.app_db, domojupyter.execution
from domostats.domojupyter import app_db, execution
from domostats.domojupyter.real import stand_ins
real = app_db.get_document
assert real is theirs.app_db.get_document
with stand_ins(Path({str(tmp_path)!r})):
    from domostats import domojupyter as ours
    from domostats.domojupyter import app_db, execution
    import domojupyter
    assert domojupyter is ours and domojupyter.app_db is app_db
    for part in (app_db.get_document, execution.get_payload, ours.read_dataframe):
        assert part.__module__.startswith('domostats.'), part.__module__
from domostats.domojupyter import app_db
import domojupyter
assert app_db.get_document is real and domojupyter is theirs
print('given back')
"""
    assert answer(code, workspace.parent) == "given back"


def test_what_an_older_workspace_has_not_is_gone_again_after_practice(workspace, tmp_path):
    (workspace / "execution.py").unlink()
    code = f"""
from pathlib import Path
from domostats.domojupyter.real import stand_ins
def payload():
    try:
        from domostats.domojupyter import execution
        return execution.get_payload.__module__
    except ImportError:
        return 'none'
said = [payload()]
with stand_ins(Path({str(tmp_path)!r})):
    said.append(payload())
said.append(payload())
print(*said)
"""
    assert answer(code, workspace.parent) == "none domostats.domojupyter.execution none"
