"""Make everything that is made from notebooks: the package, the stored outputs, README.md and the
exercises."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


def run(program, *arguments):
    # neither a sandbox that runs elsewhere on this machine nor a learner's progress is seen
    own = dict.fromkeys(("XDG_STATE_HOME", "XDG_DATA_HOME"), tempfile.mkdtemp())
    subprocess.run(
        [BIN / program, *map(str, arguments)],
        cwd=ROOT,
        check=True,
        env={**os.environ, **own},
    )


def notebooks():
    try:
        run("python", "tools/run_notebooks.py", "nbs")
    finally:
        run("nbdev-clean")


if __name__ == "__main__":
    run("ruff", "format", "--quiet", "nbs")
    run("nbdev-export")
    run("ruff", "format", "--quiet", "domostats")
    notebooks()
    run("python", "tools/lessons.py", "run")
    run("python", "tools/lessons.py", "make")
    run("python", "tools/readme.py")
