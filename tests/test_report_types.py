"""What an editor and a type checker know of the reports, though they are loaded late."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SNIPPET = """
from domostats import reports, sandbox

box = sandbox.start()
reveal_type(reports.accounts.generate(box))
reveal_type(reports.group_members.generate(box, format_fn="all", fresh=True))
reveal_type(reports.accounts.generate(box, is_dataframe=False))
reveal_type(reports.accounts.generate(box, return_raw=True))
reveal_type(reports.find("users").run(box).findings)
reports.accounts.generate(box, sinse="2024-03-01")
"""


@pytest.mark.slow
def test_a_type_checker_knows_what_a_report_gives(tmp_path):
    pytest.importorskip("basedpyright")
    snippet = tmp_path / "snippet.py"
    snippet.write_text(SNIPPET)
    options = f"""{{
        "typeCheckingMode": "basic",
        "extraPaths": ["{ROOT}"],
        "stubPath": "{ROOT / "typings"}"
    }}"""
    (tmp_path / "pyrightconfig.json").write_text(options)
    command = [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable]
    told = subprocess.run(
        [*command, "-p", str(tmp_path)], capture_output=True, text=True, cwd=tmp_path
    ).stdout
    types = [line.split(" is ")[-1] for line in told.splitlines() if "Type of " in line]
    assert types == ['"DataFrame"', '"DataFrame"', '"list[Any]"', '"list[Any]"', '"list[str]"'], (
        told
    )
    assert told.count(" error: ") == 1 and "snippet.py:10:" in told, told  # since, misspelled
