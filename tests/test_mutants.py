"""The tests notice faults: a few of each kind, planted in a copy of the project.

`make mutants` plants more of them, in every room.
"""

import importlib
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


@pytest.mark.long
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
def mutants(monkeypatch):
    "The tool itself."
    pytest.importorskip("tomllib", reason="the tool needs Python 3.11 on")
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("mutants")


PASSED, FAILED, UNREADABLE, NO_END = 0, 1, 2, 124
TEST, FILE = "tests/test_add.py::test_add", "tests/test_add.py"


@pytest.mark.parametrize(
    "attempts, outcome",
    [
        ([(NO_END, []), (NO_END, [])], "no end"),
        ([(NO_END, []), (PASSED, [])], "survived"),  # the machine was busy
        ([(NO_END, []), (FAILED, [TEST]), (FAILED, [TEST])], "killed"),
        ([(NO_END, [TEST]), (FAILED, [TEST])], "killed"),  # it failed before that
        ([(FAILED, [TEST]), (FAILED, [TEST])], "killed"),
        ([(FAILED, [TEST]), (PASSED, [])], "survived"),  # it fails now and then
        ([(UNREADABLE, [FILE]), (UNREADABLE, [FILE])], "killed"),
        ([(-9, []), (PASSED, [])], "survived"),  # the machine had no memory left
        ([(PASSED, [])], "survived"),
    ],
)
def test_what_looks_like_a_noticed_fault_has_to_look_so_twice(
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
    monkeypatch.setattr(mutants, "can_import", lambda folder, module: True)
    coverage = mutants.Coverage()
    coverage.times = {TEST: 0.1}
    coverage.tests = {"domostats/add.py": {2: [TEST]}}
    judge = mutants.Judge(tmp_path / "copies", 1, 10, coverage)
    [fault] = mutants.faults_of("domostats/add.py", text)

    [(judged, failed)] = judge.judge_all([fault])

    assert judged == outcome and not left
    without_end = attempts[0] == (NO_END, [])  # then again, for longer
    assert limits == [30.3, 6 * 30.3 if without_end else 30.3, 6 * 30.3][: len(attempts)]
    assert (tmp_path / "copies" / "0" / "domostats" / "add.py").read_text() == text


def test_a_fault_that_cannot_be_imported_counts_neither_way(mutants, tmp_path, monkeypatch):
    text = 'SIZES = {"small": 1}\nLIMIT = SIZES["small"]\n'
    (tmp_path / "project" / "domostats").mkdir(parents=True)
    (tmp_path / "project" / "domostats" / "sizes.py").write_text(text)
    (tmp_path / "project" / "domostats" / "__init__.py").touch()
    (tmp_path / "project" / "tests").mkdir()
    (tmp_path / "project" / FILE).write_text("from domostats import sizes\n")
    monkeypatch.setattr(mutants, "ROOT", tmp_path / "project")
    monkeypatch.setattr(mutants, "run_pytest", lambda *arguments: (UNREADABLE, [FILE]))
    coverage = mutants.Coverage()
    coverage.times = {TEST: 0.1}
    judge = mutants.Judge(tmp_path / "copies", 1, 10, coverage)
    faults = {fault.after: fault for fault in mutants.faults_of("domostats/sizes.py", text)}

    misspelt, larger = judge.judge_all([faults["'smallx'"], faults["(1 + 1)"]])

    assert misspelt == ("no import", [])
    assert larger == ("killed", [FILE])


def test_what_only_type_checkers_and_the_exporter_read_is_no_fault(mutants):
    text = """
_all_ = ["f"]
@overload
def f(a: int = 1) -> int: ...
def f(a=2): pass
"""
    found = [fault.before for fault in mutants.faults_of("module.py", text)]
    assert found == ["2"]


@pytest.mark.parametrize(
    "call, exchanged",
    [
        ("less(a, b)", ["b, a"]),
        ("min(a, b)", []),  # which says the same in either order
        ("max(a, b)", []),
        ("max(a, b, key=len)", ["b, a"]),  # of two that are as long, the first
    ],
)
def test_what_means_the_same_is_no_fault(mutants, call, exchanged):
    faults = mutants.faults_of("module.py", f"def f(a, b):\n    return {call}\n")
    assert [fault.after for fault in faults if fault.kind == "exchanged"] == exchanged


def test_each_explained_fault_can_be_planted(mutants):
    "An explanation of what is no longer there would excuse what comes to look like it."
    there = set()
    for module in {fault.partition(": ")[0] for fault in mutants.EXPLAINED}:
        there.update(map(str, mutants.faults_of(module, (ROOT / module).read_text())))
    assert not {*mutants.EXPLAINED} - there


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
