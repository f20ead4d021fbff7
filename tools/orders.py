"""Run each test file alone, in another order than the one it was written in, and elsewhere.

    python tools/orders.py                            every file, in orders of today
    python tools/orders.py --seed 7                   every file, in the same orders as before
    python tools/orders.py --seed 7 --reversed budget  the files of budgets, the last test first

Each file has a process of its own, so no test finds what a test of another file has left; and an
order of its own, so none finds what an earlier one has. It is at a place of its own too, where
the clocks show another time. What is slow to import is imported once, but nothing of the package.
"""

import argparse
import importlib
import os
import random
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ["pandas", "pyarrow.parquet", "duckdb", "msgspec", "requests", "hypothesis", "pytest"]
HEAVY += ["starlette.applications", "uvicorn", "sqlalchemy.orm", "psycopg", "typer.testing"]
HEAVY += ["rich.console", "pytest_randomly", "pytest_timeout"]
ZONES = ["UTC", "America/New_York", "Asia/Kolkata", "Pacific/Kiritimati"]
NO_TESTS = 5  # what pytest ends with where every test of a file is a slow one


def order_of(seed: int, backwards: bool) -> list[str]:
    "The arguments of pytest for one order."
    return ["-p", "no:randomly", "--reversed"] if backwards else [f"--randomly-seed={seed}"]


def start(path: Path, order: list[str], zone: str, output: Path) -> int:
    "Run the tests of a file in a process of its own; gives its number."
    child = os.fork()
    if child:
        return child
    try:
        os.environ["TZ"] = zone
        time.tzset()
        with open(output, "wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        import pytest

        arguments = ["-o", "addopts=--strict-markers", "-p", "no:cacheprovider", "-q", "-x"]
        arguments += ["-m", "not slow", "--timeout=600", *order, str(path)]
        code = int(pytest.main(arguments))
        sys.stdout.flush()
    except BaseException as e:
        os.write(2, repr(e).encode())
        code = 1
    os._exit(code)


def run(paths: list[Path], seed: int, backwards: bool, at_once: int, minutes: float) -> int:
    """Run these files, so many at once, and tell what failed; gives how many did.

    None is begun when so many minutes are over; which ones are left is up to the seed."""
    for name in HEAVY:
        importlib.import_module(name)
    draws, waiting, running, failed, began = random.Random(seed), [*paths], {}, 0, {}
    draws.shuffle(waiting)
    end = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory() as folder:
        while waiting or running:
            if waiting and time.monotonic() > end:
                print(f"{len(waiting)} files were left out, for lack of time", flush=True)
                waiting.clear()
            while waiting and len(running) < at_once:
                path = waiting.pop()
                order = order_of(draws.randrange(10**6), backwards or draws.random() < 0.3)
                zone, output = draws.choice(ZONES), Path(folder) / path.name
                number = start(path, order, zone, output)
                running[number] = path, order, zone, output
                began[number] = time.monotonic()
            if not running:
                break
            number, status = os.wait()
            path, order, zone, output = running.pop(number)
            code = os.waitstatus_to_exitcode(status)
            said = output.read_text(errors="replace")
            last = (said.strip().splitlines() or [""])[-1]
            words = [path.name, order[-1], zone, f"{time.monotonic() - began[number]:.1f} s:", last]
            print(*words, flush=True)
            if code not in (0, NO_TESTS):
                failed += 1
                print(said, flush=True)
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="parts of the names of files; without, all")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--reversed", action="store_true", help="the last test first, everywhere")
    parser.add_argument("-n", type=int, default=os.cpu_count(), help="how many files at once")
    parser.add_argument("--minutes", type=float, default=60, help="begin no file after that")
    asked = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    paths = [
        path
        for path in sorted(ROOT.glob("tests/test_*.py"))
        if not asked.names or any(name in path.stem for name in asked.names)
    ]
    print(f"{len(paths)} files: python tools/orders.py --seed {asked.seed}", flush=True)
    failed = run(paths, asked.seed, asked.reversed, asked.n, asked.minutes)
    print(f"{failed} files failed" if failed else "no file failed", flush=True)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
