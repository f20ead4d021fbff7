"""What the command line promises: one message, the exit code of the table, and never a
traceback."""

import importlib
import os
import re
import resource
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
import typer
from conftest import EXTRACTOR, ROOT

from domostats import instances, sandbox
from domostats.clients import sign_in
from domostats.errors import CredentialsError, DomostatsError
from domostats.instances import find_instance
from domostats.interfaces import cli, exit_codes, output
from domostats.interfaces.app import CODES
from domostats.interfaces.destinations import Destination

WAYS = {  # every command, in a way that needs the disk, the network or the settings
    "demo": "demo",
    "lab": "lab --no-browser",
    "sandbox": "sandbox",
    "datorama-sandbox": "datorama-sandbox",
    "dash-sandbox": "dash-sandbox",
    "bigquery-sandbox": "bigquery-sandbox",
    "dash-sign-in": "dash-sign-in acme --no-browser",
    "check": "check acme",
    "reports": "reports",
    "datasets": "datasets",
    "rows": "rows users",
    "query": 'query FROM"users"',
    "schema": "schema users",
    "generate": "generate accounts --instance acme --to accounts.csv",
    "run": "run --instance acme --to out",
    "estimate": "estimate --instance acme",
    "budget": "budget",
    "snapshot": "snapshot users --instance acme",
    "history": "history users",
    "changes": "changes users --since 2024-01-01",
    "take-back": "take-back users",
    "erase": "erase users 27",
    "upgrade": "upgrade",
    "make-migrations": "make-migrations",
    "migrate": "migrate",
    "print-extract": "print-extract",
    "extract": "extract",
    "releases": "releases",
    "registry": "registry serve",
    "airflow": "airflow check",
    "token": "token list --instance acme",
    "dash": "dash -o acme authenticate --no-browser",
}


@pytest.fixture
def run(monkeypatch, capfd):
    "A function that runs a command in this process; gives its exit code and all it printed."

    def command(line):
        monkeypatch.setattr(sys, "argv", ["domostats", *line.split()])
        monkeypatch.setattr(cli, "os", _KeepAlive(), raising=False)
        code = main()
        said = capfd.readouterr()
        return code, said.out + said.err

    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("DOMO_ACCESS_TOKEN", "t" * 20)
    monkeypatch.setenv("DOMOSTATS_REGISTRY_KEY", "k" * 40)
    Path("settings.ini").write_text(
        "[instance.acme]\nurl = http://127.0.0.1:9\n"
        "[extractors]\nclasses = mine.Mine\nfirst_date = 2024-01-01\n"
    )
    Path("mine.py").write_text(EXTRACTOR)
    sys.modules.pop("mine", None)
    importlib.invalidate_caches()
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return command


def main():
    """Run the command; gives its exit code, and prints what Python would print of an error that
    escapes."""
    try:
        cli.main()
    except SystemExit as ended:
        return ended.code
    except Exception:
        traceback.print_exc()
        return 1
    finally:
        output.verbosity.traceback = False


class _KeepAlive:
    "The module `os`, which does not end the tests."

    def __getattr__(self, name):
        return getattr(os, name)

    def _exit(self, code):
        raise SystemExit(code)


def test_no_command_is_missing_here():
    assert {*typer.main.get_command(cli.app).commands} == {*WAYS}


def test_the_codes_of_the_help_are_those_of_the_table():
    assert {kind.__name__: code for kind, code in exit_codes.EXIT_CODES.items()} == {
        "SettingsError": 3,
        "CredentialsError": 4,
        "AccessError": 5,
        "RetryLaterError": 75,
        "DataError": 6,
        "DestinationError": 7,
        "CodeError": 8,
    }
    meanings = exit_codes.MEANINGS
    assert {0, 1, 2, 130, *exit_codes.EXIT_CODES.values()} == {*meanings}
    promised = dict(re.findall(r"(\d+) ([^·.]+?)(?= ·|\.)", CODES))
    assert promised == {str(code): words for code, words in meanings.items()}
    assert [*meanings] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 75, 130]
    guide = (ROOT / "docs" / "guides" / "nightly_job.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| ([\d, ]+) \|", guide, re.M)
    assert {int(code) for codes in told for code in codes.split(", ")} == {*meanings}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", WAYS)
def test_without_a_home_each_command_says_which_variable_to_set(name, run, monkeypatch):
    import pwd

    def nobody(*arguments):
        raise KeyError(arguments)

    for variable in ("HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    code, printed = run(WAYS[name])
    assert (code, "Traceback" in printed) == (0 if name == "reports" else 3, False), printed
    if code:
        assert "no_home" in printed and "HOME" in printed
    assert not Path("~").exists()


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", WAYS)
def test_where_a_home_cannot_be_written_each_command_says_so(name, run, monkeypatch):
    Path("file").touch()
    for variable in ("HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(variable, str(Path("file").resolve()))
    code, printed = run(WAYS[name])
    silent = ("reports", "datasets", "budget", "make-migrations", "print-extract")
    looks = ("rows", "query", "schema")  # where there is no store there is no dataset
    sandboxes = ("sandbox", "datorama-sandbox", "dash-sandbox", "bigquery-sandbox")
    state = ("demo", *sandboxes, "dash-sign-in", "dash", "airflow")
    wanted = 0 if name in silent else 2 if name in looks else 3 if name in state else 7
    assert code == wanted, printed
    assert "Traceback" not in printed
    assert code == 0 or re.search(r"(Settings|Destination)Error", printed)


def test_without_a_home_the_variables_of_the_system_are_enough(run, monkeypatch, tmp_path):
    import pwd

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", lambda *_: {}["nobody"])
    code, printed = run("history users")
    assert code == 3 and "no_history" in printed


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only where there is a full disk")
def test_what_cannot_be_printed_is_a_failure():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "domostats", "reports"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
        )
    assert done.returncode == 7 and "no space left" in done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


@pytest.mark.parametrize("line", ["history users", "make-migrations", "lab --no-browser"])
def test_a_full_disk_is_the_destinations_fault(line, run):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        # what pytest itself captures goes into files
        with open(os.devnull, "w") as nothing, pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdout", nothing)
            patch.setattr(sys, "stderr", nothing)
            code, _ = run(line)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == 7


@pytest.mark.parametrize(
    "line, code, said",
    [
        ("run --instance acme --to file", 7, "no_folder"),
        ("run --instance acme --to /proc/x", 7, "no_folder"),
        ("run --instance acme --to out.parquet", 2, "a file by its name"),
        ("lab file", 7, "no_folder"),
        ("lab /proc/x", 7, "no_folder"),
        ("history users --picture file/x.html", 3, "no_history"),
        ("generate acounts --instance acme --to a.csv", 2, "Did you mean 'accounts'?"),
        ("generate accounts --instance acme --to a.csv --format v3", 2, "Did you mean 'v"),
        ("generate accounts --instance acme --to a.xlsx", 2, "bad_destination"),
        ("generate accounts --instance no/name --to a.csv", 2, "bad_name"),
        ("snapshot user --instance acme", 2, "Did you mean 'users'?"),
        ("history user", 2, "Did you mean 'users'?"),
        ("changes users --since 2024-01-01", 3, "no_history"),
        ("print-extract -f 2024-01-05 -l 2024-01-01", 2, "bad_days"),
        ("extract -f 2024-01-05 -l 2024-01-01", 2, "bad_days"),
        ("generat", 2, "generat"),
        ("check", 2, "INSTANCE"),
    ],
)
def test_a_wrong_word_and_a_wrong_place_have_codes_of_their_own(line, code, said, run):
    Path("file").touch()
    got, printed = run(line)
    assert (got, said in printed, "Traceback" in printed) == (code, True, False), printed


def test_missing_credentials_are_an_error_of_credentials(run, monkeypatch):
    monkeypatch.delenv("DOMO_ACCESS_TOKEN")
    code, printed = run("check acme")
    assert code == 4 and "CredentialsError missing_secret" in printed
    with pytest.raises(CredentialsError):
        sign_in(find_instance("acme"))
    Path("settings.ini").write_text(
        "[instance.lab]\nplatform = datorama\nurl = http://127.0.0.1:9\n"
    )
    code, printed = run("check lab")
    assert code == 4 and "DATORAMA_API_TOKEN" in printed


MISTAKES = {
    "import nowhere\n": ("line 1", "ModuleNotFoundError: No module named 'nowhere'"),
    "\nfrom json import nothing\n": ("line 2", "ImportError"),
    "x = 1\ndef broken(:\n": ("line 2", "SyntaxError"),
    "x = 1\nx.nothing\n": ("line 2", "AttributeError"),
    "import sys\nsys.exit(5)\n": ("line 2", "SystemExit"),
    EXTRACTOR.replace("yield Total(1)", "yield Total(1 // 0)"): ("line 19", "ZeroDivisionError"),
    EXTRACTOR.replace("yield Total(1)", "return None"): ("line 18", "NoneType"),
    EXTRACTOR.replace("yield Total(1)", "open('nowhere')"): ("line 19", "FileNotFoundError"),
    EXTRACTOR + "\n    def __init__(self):\n        raise RuntimeError('no')\n": ("line 22", "no"),
}


@pytest.mark.sampled(8)
@pytest.mark.parametrize("command", ["extract", "print-extract", "make-migrations", "migrate"])
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda text: MISTAKES[text][1])
def test_a_mistake_in_an_extractor_is_one_line_with_its_place(mistake, command, run):
    line, said = MISTAKES[mistake]
    is_late = "ef extract" in mistake and "__init__" not in mistake
    if is_late and command in ("make-migrations", "migrate"):
        pytest.skip("nothing is extracted")
    if is_late:
        assert run("make-migrations")[0] == 0 and run("migrate")[0] == 0
    Path("mine.py").write_text(mistake)
    importlib.invalidate_caches()
    sys.modules.pop("mine", None)
    code, printed = run(command)
    assert code == 8 and "Traceback" not in printed, printed
    told = [one for one in printed.splitlines() if "mine.py" in one]
    assert len(told) == 1 and line in told[0] and said in told[0], printed
    sys.modules.pop("mine", None)
    code, printed = run(f"{command} -v")
    assert code == 8 and "Traceback" in printed and "mine.py" in printed


def test_an_extractor_that_is_not_there_stays_a_wrong_setting(run):
    settings = Path("settings.ini").read_text()
    for path, said in [
        ("nowhere.Mine", "there is no module nowhere"),
        ("mine.Min", "Did you mean 'Mine'?"),
        ("mine.sub.Mine", "there is no module mine.sub"),
        ("Mine", "that is no path"),
    ]:
        Path("settings.ini").write_text(settings.replace("mine.Mine", path))
        code, printed = run("extract")
        assert code == 3 and said in printed, printed


def test_in_a_notebook_the_error_has_the_file_the_line_and_its_cause(run):
    from domostats.tracking.extractors.base import load

    Path("mine.py").write_text("x = {}\nx['a']\n")
    importlib.invalidate_caches()
    with pytest.raises(DomostatsError) as caught:
        load("mine.Mine")
    error = caught.value
    assert (type(error).__name__, error.reason) == ("CodeError", "code_failed")
    assert (Path(error.file).name, error.line) == ("mine.py", 2)
    assert isinstance(error.__cause__, KeyError)


def test_a_fault_of_the_kit_itself_is_one_line_and_code_1(run, monkeypatch):
    from domostats import reports

    monkeypatch.setattr(reports, "names", lambda *_: 1 // 0)
    code, printed = run("reports")
    assert code == 1 and "Traceback" not in printed
    assert "ZeroDivisionError" in printed and "-v" in printed
    code, printed = run("reports -v")
    assert code == 1 and "Traceback" in printed


def test_ctrl_c_says_what_is_kept_and_how_to_go_on(run, monkeypatch):
    with sandbox.start() as box:

        def stopped(*arguments, **how):
            raise KeyboardInterrupt

        monkeypatch.setattr(Destination, "write", stopped)
        code, printed = run(f"generate groups --instance {box.name} --to a.csv")
        assert code == 130 and "stopped by Ctrl-C" in printed
        assert "pages that came are kept" in printed and "--fresh" in printed
        code, printed = run(f"run --instance {box.name} --only groups --to out")
        assert code == 130 and "pages that came are kept" in printed
        monkeypatch.setattr(instances, "find_instance", stopped)
        code, printed = run(f"check {box.name}")
        assert code == 130 and "stopped by Ctrl-C" in printed and "kept" not in printed


def test_ctrl_c_does_not_wait_for_those_that_are_under_way():
    import threading

    from domostats.reports.fleet import at_the_same_time

    go_on, stopped, begun = threading.Event(), threading.Event(), []

    def work(name):
        begun.append(name)
        if name == "first":
            raise KeyboardInterrupt
        if name == "slow":
            go_on.wait(60)
        return name

    with pytest.raises(KeyboardInterrupt):
        at_the_same_time(work, ["first", "slow", "never", "never", "never"], 2, stopped)
    assert stopped.is_set() and not go_on.is_set() and len(begun) < 5
    go_on.set()


def test_what_is_said_after_ctrl_c_names_no_option_that_the_command_lacks():
    commands = typer.main.get_command(cli.app).commands
    named = {name: re.findall(r"--[a-z-]+", sentence) for name, sentence in cli.KEPT.items()}
    assert named == {
        "generate": ["--fresh"],
        "run": ["--fresh"],
        "snapshot": [],
        "extract": [],
        "migrate": [],
        "rotate": [],
    }
    for name in ("generate", "run"):
        assert "--fresh" in {option for one in commands[name].params for option in one.opts}
    for name, sentence in cli.KEPT.items():
        assert "the same command again" in sentence, name


@pytest.mark.parametrize("raised", ["GeneratorExit", "asyncio.CancelledError"])
def test_what_is_no_exception_is_one_line_too(raised, run):
    Path("mine.py").write_text(
        "import asyncio\n" + EXTRACTOR.replace("yield Total(1)", f"raise {raised}")
    )
    code, printed = run("print-extract -f 2024-01-01 -l 2024-01-01")
    assert code == 1 and "Traceback" not in printed and raised.split(".")[-1] in printed
