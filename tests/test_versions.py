"""The core on the oldest and the newest Python at hand, with pandas 2 and 3: the built package, in environments of its own."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.versions]

LEFT_OUT = {
    "test_project.py",
    "test_lessons.py",
    "test_versions.py",
    "test_store_kills.py",
    "test_faults.py",
    "test_spool.py",
    "test_benchmarks.py",
    "test_fleet_memory.py",
    "test_listings.py",
    "test_resume.py",
    "test_three_desks.py",
}  # need the tools, or take long and ask nothing of the version
FRAMES = {
    "test_accounts.py",
    "test_domojupyter.py",
    "test_files.py",
    "test_history.py",
    "test_reports.py",
    "test_rows.py",
    "test_store.py",
}  # where data frames are made or taken
LONG = "not published and not killed and not kills and not processes and not machines and not programs and not postgresql and not http and not openapi"


def interpreters():
    "Every CPython at hand as a dict from minor version to its path: on the PATH, or kept by pyenv."
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = {}
    for minor in range(10, 30):
        for place in [
            shutil.which(f"python3.{minor}"),
            *sorted(pyenv.glob(f"3.{minor}.*/bin/python")),
        ]:
            if place and _version(place) == f"3.{minor}":
                found.setdefault(minor, str(place))
    return found


def _version(python):
    done = subprocess.run(
        [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


FOUND = interpreters()
NEWEST = max(FOUND, default=11)


@pytest.mark.parametrize("minor, pandas", [(10, 2), (NEWEST, 2), (NEWEST, 3)])
def test_the_core_passes(minor, pandas, copy):
    if minor not in FOUND:
        pytest.skip(
            f"python3.{minor} was not found on this machine; found: {', '.join(f'3.{n}' for n in FOUND)}"
        )
    environment = ROOT / f".venv-3.{minor}-pandas{pandas}"
    python = environment / "bin" / "python"
    if not python.exists():
        subprocess.run([FOUND[minor], "-m", "venv", environment], check=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [
            *install,
            f"{copy}[sandbox,registry]",
            f"pandas=={pandas}.*",
            "pytest",
            "pytest-xdist",
            "hypothesis",
            "sqlglot",
            "matplotlib",
            "pendulum",
        ],
        check=True,
        timeout=900,
    )
    subprocess.run([*install, "--force-reinstall", "--no-deps", copy], check=True, timeout=300)
    core = {path.name for path in (copy / "tests").glob("test_*.py")} - LEFT_OUT
    if minor > 10 and pandas == 2:
        core &= (
            FRAMES  # the newest Python is seen whole with pandas 3, and pandas 2 with the oldest
        )
    done = subprocess.run(
        [python, "-m", "pytest", "-n", "auto", "-q", "-rf", "-p", "no:cacheprovider"]
        + ["-m", "not slow", "-k", LONG, *sorted(core)],
        cwd=copy / "tests",
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, (
        f"Python 3.{minor}, pandas {pandas}:\n{done.stdout[-4000:]}{done.stderr[-1000:]}"
    )
