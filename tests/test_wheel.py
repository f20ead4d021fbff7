"""The wheel is all that a user gets: installed where nothing else is, on the oldest and on the
newest Python, it runs the demo and opens the lessons, far from the repository."""

import json
import os
import socket
import subprocess
import sys
import sysconfig
import time
import zipfile
from pathlib import Path

import pytest
import requests
from conftest import QUICKLY, ROOT, missing
from test_versions import FOUND, NEWEST, OLDEST

import domostats

LESSONS = sorted(path.name for path in (ROOT / "tutorials" / "exercises").glob("*.ipynb"))


@pytest.fixture
def outside(tmp_path):
    "A folder far from the repository, and the environment of somebody who has just come."
    hidden = "PYTHONPATH", "VIRTUAL_ENV", "DOMO", "DATORAMA", "JUPYTER", "XDG_"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(hidden)}
    place = tmp_path / "outside"
    place.mkdir()
    return place, environment | {"HOME": str(tmp_path), "COLUMNS": "200"}


def installed(wheel, extra, minor, folder):
    "The programs of a new environment with the wheel and one extra."
    if minor not in FOUND:
        missing(f"python3.{minor} was not found on this machine")
    subprocess.run([FOUND[minor], "-m", "venv", folder], check=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", *QUICKLY, f"{wheel}[{extra}]"]
    subprocess.run(pip, check=True, timeout=900)
    return folder / "bin"


def beside_the_tools(wheel, folder):
    "The programs of a new environment with the wheel, which finds JupyterLab where it is already."
    pytest.importorskip("jupyterlab")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    pip = [sys.executable, "-m", "pip", "--python", folder, "install", *QUICKLY, "--no-deps", wheel]
    subprocess.run(pip, check=True, timeout=300)
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "tools.pth").write_text(sysconfig.get_path("purelib"))  # behind the wheel's own
    return folder / "bin"


@pytest.mark.slow
def test_the_wheel_has_the_package_the_lessons_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    about = f"domostats-{domostats.__version__}"
    assert wheel.name == f"{about}-py3-none-any.whl"
    assert {name.split("/")[0] for name in names} == {
        "domostats",
        f"{about}.dist-info",
        f"{about}.data",
    }
    brought = [Path(name) for name in names if ".data/" in name]
    for kind in ("exercises", "clean", "solutions"):
        assert sorted(path.name for path in brought if path.parent.name == kind) == LESSONS
    assert len(brought) == 3 * len(LESSONS)
    steps = (ROOT / "domostats/tracking/registry/revisions").rglob("*.py")
    assert {path.relative_to(ROOT).as_posix() for path in steps} <= {*names}
    assert "domostats/py.typed" in names and f"{about}.dist-info/licenses/LICENSE" in names


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("minor", [OLDEST, NEWEST])
def test_the_wheel_runs_the_demo_outside_of_the_repository(wheel, outside, minor, tmp_path):
    place, environment = outside
    programs = installed(wheel, "sandbox", minor, tmp_path / "environment")

    def run(program, *arguments, code=0):
        done = subprocess.run(
            [programs / program, *arguments],
            cwd=place,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    assert run("domostats", "--version").strip() == domostats.__version__
    where = run("python", "-c", "import domostats; print(domostats.__file__)")
    assert str(tmp_path) in where and str(ROOT) not in where
    told = run("domostats", "demo")
    assert "Traceback" not in told and "accounts_domostats" in told, told
    rows = "from domostats.loading.store import Store; s = Store(); " + (
        "print(*[s.read(name).num_rows for name in s.names()])"
    )
    assert run("python", "-c", rows).split() == ["5", "5", "5"]
    assert "page_people" in run("domostats", "reports")
    told = run("domostats", "lab", "mine", code=3)
    assert "JupyterLab is not installed" in told and "[notebook]" in told
    copied = "from domostats.interfaces.lab import copy_lessons; print(*copy_lessons('mine'))"
    assert run("python", "-c", copied).split() == LESSONS


@pytest.mark.slow
def test_the_wheel_opens_the_lessons(wheel, outside, tmp_path):
    place, environment = outside
    programs = beside_the_tools(wheel, tmp_path / "environment")
    notes = tmp_path / "runtime"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = [programs / "python", "-c", "import domostats; print(domostats.__file__)"]
    told = subprocess.run(where, cwd=place, env=environment, capture_output=True, text=True).stdout
    assert told.startswith(str(tmp_path))
    environment |= {"JUPYTER_RUNTIME_DIR": str(notes), "JUPYTER_PORT": str(port)}
    command = [programs / "domostats", "lab", "mine", "--no-browser"]
    with (tmp_path / "log").open("w") as log:
        lab = subprocess.Popen(command, cwd=place, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(1200):
            found = [*notes.glob("jpserver-*.json")] if notes.exists() else []
            if found or lab.poll() is not None:
                break
            time.sleep(0.1)
        assert found, (tmp_path / "log").read_text()
        note = json.loads(found[0].read_text())
        with requests.Session() as web:
            web.trust_env = False
            web.headers["Authorization"] = f"token {note['token']}"
            for _ in range(600):  # the note may be there before the door is open
                try:
                    listed = web.get(f"{note['url']}api/contents", timeout=60).json()["content"]
                    break
                except requests.ConnectionError:
                    assert lab.poll() is None, (tmp_path / "log").read_text()
                    time.sleep(0.1)
            names = [*LESSONS, "clean", "index.ipynb"]
            assert sorted(one["name"] for one in listed) == sorted(names)
            assert web.get(f"{note['url']}lab", timeout=60).status_code == 200
            web.post(f"{note['url']}api/shutdown", timeout=60)
        assert lab.wait(60) == 0
    finally:
        lab.kill()
