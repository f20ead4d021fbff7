"""The tests notice faults: a few of each kind, planted in a copy of the project.

`make mutants` plants more of them, in every room.
"""

import importlib.util
import os
import subprocess
import sys

import pytest
from conftest import ROOT

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="faults are judged in forks")


ROOMS = {  # and the test files that are near enough to notice
    "rows": ["rows", "row_edges", "columns"],
    "settings": ["settings_edges", "settings_files", "whose_settings", "private_files"],
    "domojupyter": ["domojupyter", "domojupyter_edges", "domojupyter_names"],
}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_of_six_faults_of_each_room_some_are_noticed_at_least():
    "One run for all rooms: which lines the tests run is measured once, and copied is once."
    command = [sys.executable, ROOT / "tools" / "mutants.py", *ROOMS, "--sample", "6"]
    near = [name for names in ROOMS.values() for name in names]
    done = subprocess.run(
        [*command, "--least", "30", "--near", *near],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-20_000:]
    for room in ROOMS:
        assert f"{room}: " in done.stdout


@pytest.fixture
def mutants():
    "The tool itself."
    pytest.importorskip("tomllib", reason="the tool needs Python 3.11 on")
    spec = importlib.util.spec_from_file_location("mutants_tool", ROOT / "tools" / "mutants.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


PASSED, FAILED, NO_END = 0, 1, 124


@pytest.mark.parametrize(
    "attempts, outcome",
    [
        ([(NO_END, []), (NO_END, [])], "no end"),
        ([(NO_END, []), (PASSED, [])], "survived"),  # the machine was busy
        ([(NO_END, []), (FAILED, ["tests/test_add.py::test_add"])], "killed"),
        ([(NO_END, ["tests/test_add.py::test_add"])], "killed"),  # it failed before that
        ([(FAILED, ["tests/test_add.py::test_add"])], "killed"),
        ([(PASSED, [])], "survived"),
    ],
)
def test_a_fault_without_an_end_is_tried_again_for_longer(
    mutants, tmp_path, monkeypatch, attempts, outcome
):
    text = "def add(a, b):\n    return a + b\n"
    (tmp_path / "project" / "domostats").mkdir(parents=True)
    (tmp_path / "project" / "domostats" / "add.py").write_text(text)
    left, limits = [*attempts], []

    def run(folder, options, tests, seconds):
        assert (folder / "domostats" / "add.py").read_text().endswith("return None\n")
        limits.append(seconds)
        return left.pop(0)

    monkeypatch.setattr(mutants, "ROOT", tmp_path / "project")
    monkeypatch.setattr(mutants, "run_pytest", run)
    coverage = mutants.Coverage()
    coverage.times = {"tests/test_add.py::test_add": 0.1}
    coverage.tests = {"domostats/add.py": {2: ["tests/test_add.py::test_add"]}}
    judge = mutants.Judge(tmp_path / "copies", 1, 10, coverage)
    [fault] = mutants.faults_of("domostats/add.py", text)

    [(judged, failed)] = judge.judge_all([fault])

    assert judged == outcome and not left
    assert limits == [30.3, 6 * 30.3][: len(attempts)]
    assert (tmp_path / "copies" / "0" / "domostats" / "add.py").read_text() == text


MODULE = """LIMIT = 5


class Loader:
    size = 7

    def load(
        self,
        sure=False,
    ):
        "Load."
        if sure:
            return 1
        return 2


def other(n=1): return n
"""


def test_a_fault_in_a_signature_meets_the_tests_of_its_function(mutants, tmp_path, monkeypatch):
    "What a call need not give runs at the import, and yet it is the function that it changes."
    (tmp_path / "loader.py").write_text(MODULE)
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    coverage = mutants.Coverage()
    tests = {name: f"tests/test_x.py::test_{name}" for name in ("sure", "unsure", "other")}
    coverage.times = dict.fromkeys(tests.values(), 0.1)
    coverage.tests = {
        "loader.py": {
            12: [tests["sure"], tests["unsure"]],
            13: [tests["sure"]],
            14: [tests["unsure"]],
            17: [tests["other"]],
        }
    }
    met = {
        fault.line: {*coverage.tests_of(fault, 10)}
        for fault in mutants.faults_of("loader.py", MODULE)
    }
    of_load = {tests["sure"], tests["unsure"]}
    assert met == {
        1: {*tests.values()},  # outside of functions: the tests of all of them
        5: {*tests.values()},
        9: of_load,
        12: of_load,
        13: {tests["sure"]},
        14: {tests["unsure"]},
        17: {tests["other"]},
    }
