"""The tests notice faults: a few of each kind, planted in a copy of the project.

`make mutants` plants more of them, in every room.
"""

import os
import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="faults are judged in forks")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "room, near",
    [
        ("rows", ["rows", "row_edges", "columns"]),
        ("settings", ["settings_edges", "settings_files", "whose_settings", "private_files"]),
        ("domojupyter", ["domojupyter", "domojupyter_edges", "domojupyter_names"]),
    ],
)
def test_of_six_faults_some_are_noticed_at_least(room, near):
    command = [sys.executable, ROOT / "tools" / "mutants.py", room, "--sample", "6"]
    done = subprocess.run(
        [*command, "--least", "30", "--near", *near],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-20_000:]
    assert f"{room}: " in done.stdout
