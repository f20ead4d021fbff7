"""Run notebooks, and keep what they print: `python tools/run_notebooks.py nbs/01_core [...]`.

Each has a process of its own. Most of what a notebook takes are its imports; so they are made once,
and the process of a notebook is a fork of the one that made them.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

from preload import preload

ROOT = Path(__file__).resolve().parent.parent
OF_NOTEBOOKS = "nbdev.test", "matplotlib"  # what they import besides the package


def run_here(path):
    "Run a notebook and store its outputs; gives the exit code of the process."
    from nbdev.config import get_config
    from nbdev.test import test_nb

    # neither a sandbox that runs elsewhere on this machine nor a learner's progress is seen
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(dict.fromkeys(("XDG_STATE_HOME", "XDG_DATA_HOME"), home))
        os.environ.pop("COLUMNS", None)  # tables are as wide as they are, in every terminal
        flags = get_config(path.parent).tst_flags.split()
        passed, _ = test_nb(path, skip_flags=flags, basepath=ROOT, save=True)
        return 0 if passed else 1


def run_all(paths):
    "Run notebooks in forks of this process; gives the paths of those that failed."
    at_once = os.cpu_count() or 1
    waiting, running, failed = [*reversed(paths)], {}, []
    while waiting or running:
        while waiting and len(running) < at_once:
            path = waiting.pop()
            child = os.fork()
            if not child:
                code = 1
                try:
                    code = run_here(path)
                finally:
                    sys.stdout.flush()
                    sys.stderr.flush()
                    os._exit(code)
            running[child] = path, time.monotonic()
        child, status = os.wait()
        path, begun = running.pop(child)
        if status:
            failed.append(path)
        print(
            f"{time.monotonic() - begun:6.1f} s  {'FAILED  ' if status else ''}{path}", flush=True
        )
    return failed


def find(places):
    "The notebooks that these paths name or hold."
    for place in map(Path, places):
        yield from sorted(place.rglob("*.ipynb")) if place.is_dir() else [place]


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    preload(OF_NOTEBOOKS)
    if wrong := run_all([path.resolve() for path in find(sys.argv[1:] or [ROOT / "nbs"])]):
        sys.exit(f"{len(wrong)} failed: {', '.join(map(str, wrong))}")
