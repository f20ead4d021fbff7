"""Plant faults in the package, one at a time, and see whether a test notices.

    python tools/mutants.py                            40 faults a room
    python tools/mutants.py transport rows --sample 0  every fault of two rooms

The kinds of faults are those that harm a user: a condition turned round, an edge moved by one, a
text changed, a call or one of its arguments left out, two arguments exchanged, a value that is not
returned. General tools for mutation testing know the first two only, so the kinds are our own.

Each fault is planted in a copy of the project, and the tests that run its line are started there,
the quickest first. Which tests those are is measured once, with coverage, and kept in
`.mutants/`. What nothing notices is printed; where that is as it should be,
`explained_faults.toml` says why. Where the tests do not come to an end, they are tried again
alone and for longer: without an end then either, the fault is noticed.

A rate that is too good is worse than none. So a test that failed has to fail a second time: on a
busy machine tests fail without a fault. And a module that cannot be imported any more, which
whatever is started notices, counts neither way.
"""

import argparse
import ast
import compileall
import hashlib
import importlib
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path
from py_compile import PycInvalidationMode
from queue import Queue
from typing import NamedTuple

import tomllib

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / ".mutants"
ROOMS = {
    "transport": ["transport"],
    "clients": ["clients"],
    "rows": ["rows"],
    "reports": ["reports"],
    "loading": ["loading"],
    "settings": [
        *("settings.py", "user_files.py", "secrets.py", "sealing.py", "instances.py"),
        *("env_file.py", "credentials.py", "private.py", "notices.py", "times.py", "errors.py"),
    ],
    "domojupyter": ["domojupyter"],
    "tracking": ["tracking"],
    "sandbox": ["sandbox"],
}
FORKS = multiprocessing.get_context("forkserver")  # what is slow to import is imported once
HEAVY = ["pytest", "hypothesis", "pandas", "pyarrow.parquet", "duckdb", "msgspec", "requests"]
HEAVY += ["starlette.routing", "uvicorn", "sqlalchemy.orm", "typer", "rich.console"]
EXPLAINED = tomllib.loads((ROOT / "tools" / "explained_faults.toml").read_text())  # fault: why
TWINS = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
}


class Fault(NamedTuple):
    "A piece of a module (`start` to `end`, offsets into its text) and what stands there instead."

    module: str
    line: int
    kind: str
    before: str
    after: str
    start: int
    end: int
    text: str  # of the line

    def __str__(self) -> str:
        short = " ".join(self.before.split())[:60]
        after = " ".join(self.after.split())[:60]
        return f"{self.module}: {self.kind}: {short} -> {after} in `{self.text.strip()[:100]}`"


class Finder(ast.NodeVisitor):
    "Find the faults that can be planted in a module."

    def __init__(self, module: str, text: str):
        self.module, self.text, self.found = module, text, []
        self.lines = text.splitlines(keepends=True)
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line.encode()))
        self.bytes = text.encode()

    def place(self, node: ast.AST) -> tuple[int, int]:
        start = self.starts[node.lineno - 1] + node.col_offset
        return start, self.starts[node.end_lineno - 1] + node.end_col_offset

    def source(self, node: ast.AST) -> str:
        start, end = self.place(node)
        return self.bytes[start:end].decode()

    def plant(self, node: ast.AST, kind: str, after: str) -> None:
        start, end = self.place(node)
        self.add(node.lineno, kind, self.source(node), after, start, end)

    def add(self, line: int, kind: str, before: str, after: str, start: int, end: int) -> None:
        text = self.lines[line - 1]
        self.found.append(Fault(self.module, line, kind, before, after, start, end, text))

    def negate(self, test: ast.AST) -> None:
        self.plant(test, "condition", f"(not ({self.source(test)}))")

    def visit_If(self, node: ast.If) -> None:
        if self.source(node.test) == "TYPE_CHECKING":
            return  # for type checkers only
        self.negate(node.test)
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        if not isinstance(node.test, ast.Constant):
            self.negate(node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.negate(node.test)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self.negate(test)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        if len(node.ops) == 1:
            left, right = self.source(node.left), self.source(node.comparators[0])
            self.plant(node, "comparison", f"({left} {TWINS[type(node.ops[0])]} {right})")
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        word = " or " if isinstance(node.op, ast.And) else " and "
        values = [f"({self.source(value)})" for value in node.values]
        self.plant(node, "and/or", f"({word.join(values)})")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self.plant(node, "switch", str(not node.value))
        elif isinstance(node.value, (int, float)):
            self.plant(node, "number", f"({self.source(node)} + 1)")
        elif isinstance(node.value, str) and node.value:
            self.plant(node, "text", repr(node.value + "x"))

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        "Texts that are put together are messages and SQL: left alone."

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant):
            return  # a docstring
        if isinstance(node.value, ast.Call):
            self.plant(node, "call left out", "None")
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None and self.source(node.value) != "None":
            self.plant(node.value, "nothing returned", "None")
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        if node.exc is not None:
            self.plant(node, "error left out", "pass")

    def visit_Call(self, node: ast.Call) -> None:
        plain = [arg for arg in node.args if not isinstance(arg, ast.Starred)]
        if self.source(node.func) in ("min", "max") and not node.keywords:
            plain = []  # the same in either order
        if len(plain) == len(node.args) >= 2 and self.source(plain[0]) != self.source(plain[1]):
            first, second = self.source(plain[0]), self.source(plain[1])
            start, end = self.place(plain[0])[0], self.place(plain[1])[1]
            between = self.bytes[self.place(plain[0])[1] : self.place(plain[1])[0]].decode()
            before = self.bytes[start:end].decode()
            after = second + between + first
            self.add(plain[0].lineno, "exchanged", before, after, start, end)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if "overload" in map(self.source, node.decorator_list):
            return  # for type checkers only
        for part in (*node.decorator_list, node.args, *node.body):
            self.visit(part)

    def visit_arg(self, node: ast.arg) -> None:
        "An annotation does nothing."

    def visit_Assign(self, node: ast.Assign) -> None:
        "What a module names as its public things, `_all_` for the exporter, does nothing."
        if {"__all__", "_all_"}.isdisjoint(map(self.source, node.targets)):
            self.generic_visit(node)


def faults_of(module: str, text: str) -> list[Fault]:
    "Every fault that can be planted in a module."
    finder = Finder(module, text)
    finder.visit(ast.parse(text))
    return finder.found


def planted(text: str, fault: Fault) -> str:
    "The text of a module with the fault in it."
    data = text.encode()
    return (data[: fault.start] + fault.after.encode() + data[fault.end :]).decode()


def compiles(fault: Fault) -> bool:
    "Whether a module with this fault is Python still: said of those only that are drawn."
    try:
        compile(planted((ROOT / fault.module).read_text(), fault), fault.module, "exec")
    except SyntaxError:
        return False
    return True


def modules_of(room: str) -> Iterator[Path]:
    "The modules of a room, as paths within the project."
    for name in ROOMS[room]:
        place = ROOT / "domostats" / name
        yield from ([place] if place.is_file() else sorted(place.rglob("*.py")))


def copy_project(folder: Path) -> Path:
    "The project somewhere else, to be harmed there, compiled so that only what changes is again."
    left_out = shutil.ignore_patterns(".git", ".venv*", "__pycache__", ".mutants", "*.egg-info")
    shutil.copytree(ROOT, folder, ignore=left_out)
    compileall.compile_dir(
        folder / "domostats", quiet=1, invalidation_mode=PycInvalidationMode.CHECKED_HASH
    )
    return folder


class Watcher:
    """A plugin of pytest that runs certain tests, in their order, and writes down which failed,
    and which files of tests could not be read."""

    def __init__(self, file: Path, wanted: list[str]):
        self.file = file
        self.places = {test: place for place, test in enumerate(wanted)}

    def pytest_collection_modifyitems(self, items: list) -> None:
        "A test that is not there, because a fault took its case away, notices nothing."
        kept = [item for item in items if item.nodeid in self.places]
        items[:] = sorted(kept, key=lambda item: self.places[item.nodeid])

    def pytest_collectreport(self, report) -> None:
        self.pytest_runtest_logreport(report)

    def pytest_runtest_logreport(self, report) -> None:
        if report.failed:
            with self.file.open("a") as out:
                print(report.nodeid, file=out)


def run_pytest_here(folder: Path, options: list[str], tests: list[str], failures: Path) -> None:
    "Run pytest in this process, which is a fresh one, and end it with pytest's exit code."
    os.setsid()
    os.chdir(folder)
    os.environ["PYTHONPATH"] = str(folder)
    sys.dont_write_bytecode = False  # the next run need not rewrite the asserts of the tests again
    sys.path.insert(0, str(folder))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nowhere, number)
    import pytest

    files = [*dict.fromkeys(test.partition("::")[0] for test in tests)]
    arguments = ["-q", "-p", "no:cacheprovider", *options, *files]
    code = pytest.main(arguments, plugins=[Watcher(failures, tests)])
    os._exit(int(code))


NO_TESTS = 5  # pytest's exit code
FLAWS = 3  # tests that fail once and not again, before a fault counts as noticed by none
NO_END = 124  # what stands for it where pytest did not come to an end
PATIENCE = 6  # times as long for the second attempt, which is made alone


def run_pytest(
    folder: Path, options: list[str], tests: list[str], seconds: float
) -> tuple[int, list[str]]:
    "Pytest's exit code in a copy of the project (or NO_END), and which tests failed."
    failures = folder / "failures.txt"
    failures.unlink(missing_ok=True)
    process = FORKS.Process(target=run_pytest_here, args=(folder, options, tests, failures))
    process.start()
    process.join(seconds)
    code = process.exitcode
    if code is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
        code = NO_END
    failed = failures.read_text().splitlines() if failures.exists() else []
    return 0 if code == NO_TESTS else code, failed


def can_import(folder: Path, module: str) -> bool:
    "Whether a module of a copy of the project can be imported."
    name = module.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    process = FORKS.Process(target=import_here, args=(folder, name))
    process.start()
    process.join(PATIENCE * 30)
    return process.exitcode == 0


def import_here(folder: Path, name: str) -> None:
    sys.path.insert(0, str(folder))
    try:
        importlib.import_module(name)
    except Exception:
        os._exit(1)
    os._exit(0)


class Coverage:
    """Which tests run which line, measured once a test file and kept in `.mutants/`.

    A test file that changed is measured again. A module that changed is not: its lines are
    found again by their text, so that one correction does not cost ten minutes."""

    def __init__(self) -> None:
        self.tests: dict[str, dict[str, dict[int, list[str]]]] = {}
        self.times: dict[str, float] = {}

    def load(self, names: list[str]) -> "Coverage":
        "Measure what is not known yet of these test files (none: of all), and read it."
        files = [ROOT / "tests" / f"test_{name}.py" for name in names]
        files = files or sorted((ROOT / "tests").glob("test_*.py"))
        if left := [path for path in files if not self.place(path).exists()]:
            self.measure(left)
        for path in files:
            if self.place(path).exists():
                self.read(json.loads(self.place(path).read_text()))
        return self

    def place(self, path: Path) -> Path:
        shared = (ROOT / "tests" / "conftest.py").read_bytes()
        digest = hashlib.sha256(shared + path.read_bytes()).hexdigest()[:16]
        return KEPT / f"{path.stem}-{digest}.json"

    def measure(self, files: list[Path]) -> None:
        import coverage

        print(f"Measuring which lines {len(files)} test files run, once.", flush=True)
        KEPT.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory() as temporary:
            folder = copy_project(Path(temporary) / "project")
            command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
            command += ["-n", "auto", "-m", "not slow", "--junitxml=times.xml"]
            command += ["--cov=domostats", "--cov-context=test", "--cov-report="]
            command += [f"tests/{path.name}" for path in files]
            environment = {**os.environ, "PYTHONPATH": str(folder)}
            with (KEPT / "last-run.txt").open("w") as out:
                subprocess.run(command, cwd=folder, env=environment, stdout=out)
            data = coverage.CoverageData(str(folder / ".coverage"))
            data.read()
            times = read_times(folder / "times.xml")
            lines: dict[str, dict] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
            for name in data.measured_files():
                module = str(Path(name).relative_to(folder))
                for line, contexts in data.contexts_by_lineno(name).items():
                    for test in {context.split("|")[0] for context in contexts}:
                        if test in times:
                            lines[test.split("::")[0]][module][line].append(test)
        for module in {module for known in lines.values() for module in known}:
            text = (ROOT / module).read_text()
            (KEPT / f"{digest_of(text)}.txt").write_text(text)
        for path in files:
            name = f"tests/{path.name}"
            known = {
                module: {"text": digest_of((ROOT / module).read_text()), "lines": found}
                for module, found in lines[name].items()
            }
            own = {test: seconds for test, seconds in times.items() if test.startswith(name + "::")}
            self.place(path).write_text(json.dumps({"modules": known, "times": own}))

    def read(self, kept: dict) -> None:
        self.times |= kept["times"]
        for module, known in kept["modules"].items():
            if not (ROOT / module).exists():
                continue
            moved = moved_lines(known["text"], module)
            lines = self.tests.setdefault(module, {})
            for line, tests in known["lines"].items():
                if int(line) in moved:
                    lines.setdefault(moved[int(line)], []).extend(tests)

    def tests_of(self, fault: Fault, most: int) -> list[str]:
        """The tests that run the line of a fault: of each test file the quickest first, in turns.

        A line outside of functions runs at the import, which belongs to no test. Its tests are
        those of the functions of its module and those of each file that names the module; first
        come those that have the name of the module in theirs, or in that of their file."""
        lines, within = self.tests.get(fault.module, {}), lines_that_run(fault.module)
        path = Path(fault.module)
        name = path.parent.name if path.stem == "__init__" else path.stem
        places = within.get(fault.line, ())
        running = {test for line in places for test in lines.get(line, ())}
        is_declared = not running
        if is_declared:
            running = {test for line in within for test in lines.get(line, ())}
            running.update(self.tests_that_name(name))
        files = defaultdict(list)
        for test in running:
            files[test.split("::")[0]].append(test)
        turns = []
        for tests in files.values():
            tests.sort(key=lambda test: (self.times[test], test))
            for turn, test in enumerate(tests):
                is_other = is_declared and name not in test
                turns.append((is_other, turn, self.times[test], test))
        return [test for *_, test in sorted(turns)][:most]

    def nearest_first(self, fault: Fault, most: int) -> Iterator[list[str]]:
        """The tests of a fault in parts: of the three files that have most to do with it, and of
        all files; to collect the tests of many files takes longer than to run some."""
        tests = self.tests_of(fault, len(self.times))
        own = Counter(test.partition("::")[0] for test in tests)
        all_tests = Counter(test.partition("::")[0] for test in self.times)
        near = sorted(own, key=lambda name: own[name] ** 2 / all_tests[name])[-3:]
        first = [test for test in tests if test.partition("::")[0] in near][: most // 3]
        yield first
        if others := [test for test in tests if test not in first][: most - len(first)]:
            yield others

    def tests_that_name(self, word: str) -> list[str]:
        "The tests of each file in which this word stands."
        naming = {
            f"tests/{path.name}"
            for path in (ROOT / "tests").glob("test_*.py")
            if re.search(rf"\b{word}\b", path.read_text())
        }
        return [test for test in self.times if test.split("::")[0] in naming]


@cache
def lines_that_run(module: str) -> dict[int, set[int]]:
    """By each line of the functions of a module the lines whose tests come upon a fault in it.

    A line of a body stands for itself, and one of the signature, which holds what a call need not
    give, for the whole body. Other lines run when the module is imported."""
    found: dict[int, set[int]] = {}
    for node in ast.walk(ast.parse((ROOT / module).read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = {*range(node.body[0].lineno, (node.end_lineno or 0) + 1)}
            found |= {line: {line} for line in body}
            found |= dict.fromkeys(range(node.lineno, node.body[0].lineno), body)
    return found


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def moved_lines(digest: str, module: str) -> dict[int, int]:
    "Where the lines of a module as it was stand in the module as it is."
    before = (KEPT / f"{digest}.txt").read_text().splitlines()
    after = (ROOT / module).read_text().splitlines()
    moved = {}
    for block in SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks():
        for offset in range(block.size):
            moved[block.a + offset + 1] = block.b + offset + 1
    return moved


def read_times(path: Path) -> dict[str, float]:
    "How long each test that passed took (seconds), by what pytest calls it."
    from xml.etree import ElementTree

    return {
        f"{case.get('classname').replace('.', '/')}.py::{case.get('name')}": float(case.get("time"))
        for case in ElementTree.parse(path).iter("testcase")
        if len(case) == 0
    }


class Judge:
    "Plants faults in copies of the project, and says of each what became of it."

    def __init__(self, folder: Path, workers: int, most: int, coverage: Coverage):
        self.coverage = coverage
        self.most = most
        self.free: Queue[Path] = Queue()
        for number in range(workers):
            self.free.put(copy_project(folder / str(number)))

    def judge(self, fault: Fault, patience: int = 1) -> tuple[str, list[str]]:
        """`killed` (and by which tests), `survived`, `not run` where no test runs the line,
        `no import` where the module cannot be imported any more, or `no end`, which a fault can
        bring about and a busy machine as well."""
        tests = self.coverage.tests_of(fault, self.most)
        if not tests:
            return "not run", []
        folder = self.free.get()
        module = folder / fault.module
        text = module.read_text()
        try:
            module.write_text(planted(text, fault))
            for some in self.coverage.nearest_first(fault, self.most):
                outcome, failed = self.run_twice(folder, some, patience)
                if outcome == "killed" and not can_import(folder, fault.module):
                    return "no import", []
                if outcome != "survived":
                    return outcome, failed
        finally:
            module.write_text(text)
            self.free.put(folder)
        return "survived", []

    def run_twice(self, folder: Path, tests: list[str], patience: int) -> tuple[str, list[str]]:
        """Run these tests until one fails, and that one again; where it passes then, the others
        go on without it."""
        seconds = patience * min(600, 30 + 3 * sum(self.coverage.times[test] for test in tests))
        for _ in range(FLAWS):
            code, failed = run_pytest(folder, ["-x"], tests, seconds)
            if code == 0:
                return "survived", []
            if code == NO_END and not failed:
                return "no end", []
            again = failed or tests
            code, failed_again = run_pytest(folder, ["-x"], again, seconds)
            if code == NO_END and not failed_again:
                return "no end", []
            if code:
                return "killed", failed_again
            tests = [test for test in tests if test not in again]
            if not tests:
                break
        return "survived", []

    def judge_all(self, faults: list[Fault]) -> list[tuple[str, list[str]]]:
        "Judge several faults at a time, and those without an end once more, each alone."
        with ThreadPoolExecutor(self.free.qsize()) as pool:
            outcomes = []
            for number, outcome in enumerate(pool.map(self.judge, faults), 1):
                outcomes.append(outcome)
                if outcome[0] != "killed":
                    said = f"{number} of {len(faults)}, {outcome[0]}: {faults[number - 1]}"
                    print(said, file=sys.stderr, flush=True)
        for place, (outcome, _) in enumerate(outcomes):
            if outcome == "no end":
                outcomes[place] = self.judge(faults[place], PATIENCE)
        return outcomes

    def unreliable(self, tests: set[str]) -> set[str]:
        "The tests among these that fail without a fault as well: what they noticed does not count."
        if not tests:
            return set()
        folder = self.free.get()
        code, failed = run_pytest(folder, [], sorted(tests), 3600)
        self.free.put(folder)
        return set(failed)


def sampled(room: str, count: int, seed: int, only: str) -> list[Fault]:
    "So many faults of a room (0: all), drawn evenly from their kinds."
    kinds = defaultdict(list)
    for path in modules_of(room):
        name = str(path.relative_to(ROOT))
        if only in name:
            for fault in faults_of(name, path.read_text()):
                kinds[fault.kind].append(fault)
    draw = random.Random(f"{seed} {room}")
    for found in kinds.values():
        draw.shuffle(found)
    if not count:
        return [fault for found in kinds.values() for fault in found if compiles(fault)]
    chosen: list[Fault] = []
    while len(chosen) < count and any(kinds.values()):
        for found in kinds.values():
            if found and len(chosen) < count and compiles(fault := found.pop()):
                chosen.append(fault)
    return chosen


def judge_room(judge: Judge, faults: list[Fault]) -> list[tuple[Fault, str]]:
    "What became of each fault of a room."
    known = [fault for fault in faults if str(fault) not in EXPLAINED]
    outcomes = [*zip(known, judge.judge_all(known), strict=True)]
    bad = judge.unreliable({test for fault, (outcome, failed) in outcomes for test in failed})
    for test in sorted(bad):
        print(f"  fails without a fault: {test}")
    judged = [(fault, "explained") for fault in faults if str(fault) in EXPLAINED]
    for fault, (outcome, failed) in outcomes:
        judged.append((fault, "survived" if failed and bad.issuperset(failed) else outcome))
    return judged


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rooms", nargs="*", help=", ".join(ROOMS))
    parser.add_argument("--sample", type=int, default=40, help="faults a room; 0: all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="modules with this in their path")
    parser.add_argument("--tests", type=int, default=120, help="tests a fault, at most")
    parser.add_argument("--near", nargs="*", default=[], help="these test files only: rows csv")
    parser.add_argument("--least", type=float, default=0, help="fail below this rate, in percent")
    asked = parser.parse_args()
    rooms, low = asked.rooms or [*ROOMS], []
    FORKS.set_forkserver_preload(HEAVY)
    with tempfile.TemporaryDirectory() as folder:
        coverage = Coverage().load(asked.near)
        judge = Judge(Path(folder), os.cpu_count() or 1, asked.tests, coverage)
        for room in rooms:
            judged = judge_room(judge, sampled(room, asked.sample, asked.seed, asked.only))
            counts = Counter(outcome for fault, outcome in judged)
            known = len(judged) - counts["explained"] - counts["no import"]
            noticed = counts["killed"] + counts["no end"]
            rate = 100 * noticed / max(known, 1)
            print(f"{room}: {noticed} of {known} noticed, {rate:.0f} %", flush=True)
            for fault, outcome in judged:
                if outcome != "killed":
                    why = EXPLAINED.get(str(fault), "")
                    print(f"  {outcome}, line {fault.line}: {fault} {why}".rstrip(), flush=True)
            if rate < asked.least:
                low.append(room)
    if low:
        print(f"Below {asked.least:g} %: {', '.join(low)}")
    return bool(low)


if __name__ == "__main__":
    sys.exit(main())
