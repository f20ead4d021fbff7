"""Plant faults in the package, one at a time, and see whether a test notices.

    python tools/mutants.py                            40 faults a room
    python tools/mutants.py transport rows --sample 0  every fault of two rooms

The kinds of faults are those that harm a user: a condition turned round, an edge moved by one, a
text changed, a call or one of its arguments left out, two arguments exchanged, a value that is not
returned. General tools for mutation testing know the first two only, so the kinds are our own.

Each fault is planted in a copy of the project, and the tests that run its line are started there,
the quickest first. Which tests those are is measured once, with coverage, and kept in
`.mutants/`. What nothing notices is printed; where that is as it should be, `EXPLAINED` says why.
"""

import argparse
import ast
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import Iterator, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / ".mutants"
ROOMS = {
    "transport": ["transport"],
    "clients": ["clients"],
    "rows": ["rows"],
    "reports": ["reports"],
    "loading": ["loading"],
    "settings": ["settings.py", "credentials.py"],
    "domojupyter": ["domojupyter"],
    "tracking": ["tracking"],
    "sandbox": ["sandbox"],
}
EXPLAINED: dict[str, str] = {}  # what a fault prints as: why no test has to notice it
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

    def __str__(self) -> str:
        short = " ".join(self.before.split())[:60]
        return f"{self.module}: {self.kind}: {short} -> {' '.join(self.after.split())[:60]}"


class Finder(ast.NodeVisitor):
    "Find the faults that can be planted in a module."

    def __init__(self, module: str, text: str):
        self.module, self.text, self.found = module, text, []
        lines = text.splitlines(keepends=True)
        self.starts = [0]
        for line in lines:
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
        fault = Fault(self.module, node.lineno, kind, self.source(node), after, start, end)
        self.found.append(fault)

    def negate(self, test: ast.AST) -> None:
        self.plant(test, "condition", f"(not ({self.source(test)}))")

    def visit_If(self, node: ast.If) -> None:
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
        if node.value is not None:
            self.plant(node.value, "nothing returned", "None")
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        if node.exc is not None:
            self.plant(node, "error left out", "pass")

    def visit_Call(self, node: ast.Call) -> None:
        plain = [arg for arg in node.args if not isinstance(arg, ast.Starred)]
        if len(plain) == len(node.args) >= 2 and self.source(plain[0]) != self.source(plain[1]):
            first, second = self.source(plain[0]), self.source(plain[1])
            start, end = self.place(plain[0])[0], self.place(plain[1])[1]
            between = self.bytes[self.place(plain[0])[1] : self.place(plain[1])[0]].decode()
            before = self.bytes[start:end].decode()
            after = second + between + first
            line = plain[0].lineno
            fault = Fault(self.module, line, "exchanged", before, after, start, end)
            self.found.append(fault)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_arg(self, node: ast.arg) -> None:
        "An annotation does nothing."

    def visit_Assign(self, node: ast.Assign) -> None:
        if not any(
            isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets
        ):
            self.generic_visit(node)


def faults_of(module: str, text: str) -> list[Fault]:
    "Every fault that can be planted in a module and still compiles."
    finder = Finder(module, text)
    finder.visit(ast.parse(text))
    return [fault for fault in finder.found if compiles(planted(text, fault))]


def planted(text: str, fault: Fault) -> str:
    "The text of a module with the fault in it."
    data = text.encode()
    return (data[: fault.start] + fault.after.encode() + data[fault.end :]).decode()


def compiles(text: str) -> bool:
    try:
        compile(text, "planted", "exec")
    except SyntaxError:
        return False
    return True


def modules_of(room: str) -> Iterator[Path]:
    "The modules of a room, as paths within the project."
    for name in ROOMS[room]:
        place = ROOT / "domostats" / name
        yield from ([place] if place.is_file() else sorted(place.rglob("*.py")))


def copy_project(folder: Path) -> Path:
    "The project somewhere else, to be harmed there."
    left_out = shutil.ignore_patterns(".git", ".venv*", "__pycache__", ".mutants", "*.egg-info")
    shutil.copytree(ROOT, folder, ignore=left_out)
    return folder


def run_pytest(folder: Path, *arguments: str, seconds: int | None = None) -> int:
    "Pytest's exit code in a copy of the project; 124 if it did not come to an end."
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    try:
        return subprocess.run(
            command, cwd=folder, env=environment, timeout=seconds, capture_output=True
        ).returncode
    except subprocess.TimeoutExpired:
        return 124


def measure() -> tuple[dict, dict]:
    "Which tests run which line of which module, and how long each test takes (seconds)."
    import coverage

    digest = hashlib.sha256()
    for path in sorted([*(ROOT / "domostats").rglob("*.py"), *(ROOT / "tests").glob("*.py")]):
        digest.update(path.read_bytes())
    file = KEPT / f"{digest.hexdigest()[:16]}.json"
    if not file.exists():
        print("Measuring which tests run which lines: once, about ten minutes.", flush=True)
        with tempfile.TemporaryDirectory() as temporary:
            folder = copy_project(Path(temporary) / "project")
            run_pytest(
                folder,
                *("-n", "auto", "-m", "not slow", "--junitxml=times.xml"),
                *("--cov=domostats", "--cov-context=test", "--cov-report="),
            )
            data = coverage.CoverageData(str(folder / ".coverage"))
            data.read()
            lines = {
                str(Path(name).relative_to(folder)): {
                    line: sorted({context.split("|")[0] for context in contexts if context})
                    for line, contexts in data.contexts_by_lineno(name).items()
                }
                for name in data.measured_files()
            }
            times = read_times(folder / "times.xml")
        KEPT.mkdir(exist_ok=True)
        file.write_text(json.dumps({"lines": lines, "times": times}))
    kept = json.loads(file.read_text())
    return kept["lines"], kept["times"]


def read_times(path: Path) -> dict[str, float]:
    "How long each test took, by what pytest calls it."
    from xml.etree import ElementTree

    return {
        f"{case.get('classname').replace('.', '/')}.py::{case.get('name')}": float(case.get("time"))
        for case in ElementTree.parse(path).iter("testcase")
    }


class Judge:
    "Plants faults in copies of the project, and says of each what became of it."

    def __init__(self, folder: Path, workers: int):
        self.lines, self.times = measure()
        self.free: Queue[Path] = Queue()
        for number in range(workers):
            self.free.put(copy_project(folder / str(number)))

    def tests_of(self, fault: Fault, most: int = 60) -> list[str]:
        "The tests that run the line of a fault, the quickest first."
        tests = self.lines.get(fault.module, {}).get(str(fault.line), [])
        return sorted(tests, key=lambda test: self.times.get(test, 1.0))[:most]

    def judge(self, fault: Fault) -> str:
        "`killed`, `survived`, or `not run` where no test runs the line."
        tests = self.tests_of(fault)
        if not tests:
            return "not run"
        folder = self.free.get()
        module = folder / fault.module
        text = module.read_text()
        try:
            module.write_text(planted(text, fault))
            seconds = 60 + 10 * sum(self.times.get(test, 1.0) for test in tests)
            code = run_pytest(folder, "-x", *tests, seconds=int(seconds))
        finally:
            module.write_text(text)
            self.free.put(folder)
        return "survived" if code == 0 else "killed"


def sampled(room: str, count: int, seed: int) -> list[Fault]:
    "So many faults of a room (0: all), drawn evenly from their kinds."
    kinds = defaultdict(list)
    for path in modules_of(room):
        for fault in faults_of(str(path.relative_to(ROOT)), path.read_text()):
            kinds[fault.kind].append(fault)
    draw = random.Random(f"{seed} {room}")
    for found in kinds.values():
        draw.shuffle(found)
    if not count:
        return [fault for found in kinds.values() for fault in found]
    chosen: list[Fault] = []
    while len(chosen) < count and any(kinds.values()):
        for found in kinds.values():
            if found and len(chosen) < count:
                chosen.append(found.pop())
    return chosen


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rooms", nargs="*", help=", ".join(ROOMS))
    parser.add_argument("--sample", type=int, default=40, help="faults a room; 0: all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--least", type=float, default=0, help="fail below this rate, in percent")
    asked = parser.parse_args()
    rooms, low = asked.rooms or [*ROOMS], []
    with tempfile.TemporaryDirectory() as folder:
        judge = Judge(Path(folder), os.cpu_count() or 1)
        for room in rooms:
            faults = sampled(room, asked.sample, asked.seed)
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                outcomes = [*zip(faults, pool.map(judge.judge, faults))]
            counts = Counter("killed" if str(f) in EXPLAINED else o for f, o in outcomes)
            rate = 100 * counts["killed"] / max(len(outcomes), 1)
            print(
                f"{room}: {counts['killed']} of {len(outcomes)} noticed, {rate:.0f} %", flush=True
            )
            for fault, outcome in outcomes:
                if outcome != "killed":
                    print(f"  {outcome}, line {fault.line}: {fault}", EXPLAINED.get(str(fault), ""))
            if rate < asked.least:
                low.append(room)
    if low:
        print(f"Below {asked.least:g} %: {', '.join(low)}")
    return bool(low)


if __name__ == "__main__":
    sys.exit(main())
