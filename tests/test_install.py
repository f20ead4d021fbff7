"""`make demo` on a new machine: while pip works, somebody sees how far it is."""

import importlib.util
import io
import subprocess
import sys

import pytest
from conftest import ROOT

spec = importlib.util.spec_from_file_location("install_tool", ROOT / "tools" / "install.py")
install = importlib.util.module_from_spec(spec)
spec.loader.exec_module(install)


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Ticking:
    "A clock that goes on by a second whenever it is looked at."

    def __init__(self):
        self.now = 0

    def __call__(self):
        self.now += 1
        return self.now


def test_a_log_gets_a_line_every_so_often_and_no_sign_that_moves_a_cursor():
    out = io.StringIO()
    progress = install.Progress(out, every=10, clock=Ticking())
    for number in range(30):
        progress.tell(f"step {number}")
    progress.finish("ready")
    lines = out.getvalue().splitlines()
    assert lines[-1] == "ready" and 2 <= len(lines) - 1 <= 3
    assert "\r" not in out.getvalue() and "\033" not in out.getvalue()


def test_a_terminal_sees_each_step_in_one_line_that_moves():
    out = Terminal()
    progress = install.Progress(out, clock=Ticking())
    progress.tell("one")
    progress.tell("x" * 200)
    progress.finish("ready")
    assert out.getvalue().count("\n") == 1 and out.getvalue().endswith("\033[Kready\n")
    assert max(map(len, out.getvalue().split("\r\033[K"))) <= 80


def test_how_far_pip_is_follows_from_what_it_says(tmp_path):
    pip = install.Pip(tmp_path)
    assert pip.step == "  looking at what is needed"
    pip.hear("Collecting requests>=2.31 (from domostats==0.2.0)")
    pip.hear("  Downloading requests-2.34.2-py3-none-any.whl (64 kB)")
    pip.hear("Collecting pyarrow>=17")
    assert pip.step == "  fetching: 2 packages so far, now pyarrow"
    pip.hear("  Using cached python_dotenv-1.2.4-py3-none-any.whl")
    assert pip.step == "  fetching: 3 packages so far, now python-dotenv"
    pip.hear("Processing ./wheels/tqdm-4.67-py3-none-any.whl (from domostats)")
    assert pip.step == "  fetching: 4 packages so far, now tqdm"
    pip.hear("Installing collected packages: pyarrow, python-dotenv, requests, domostats")
    assert pip.step == "  unpacking: 0 of 4 packages"
    (tmp_path / "requests-2.34.2.dist-info").mkdir()
    assert pip.step == "  unpacking: 1 of 4 packages"


def run_with_pip(monkeypatch, program):
    "What is printed, and the exit code, where pip is this program."
    real = install.follow

    def follow(command, pip, progress):
        return real([sys.executable, "-c", program], pip, progress)

    monkeypatch.setattr(install, "follow", follow)
    out = io.StringIO()
    return install.install("sandbox", out), out.getvalue()


def test_where_pip_fails_it_is_told_what_it_said(monkeypatch):
    program = "print('Collecting nothing'); print('ERROR: the disk is full'); raise SystemExit(2)"
    code, printed = run_with_pip(monkeypatch, program)
    assert code == 2 and "ERROR: the disk is full" in printed
    assert "run the same command again" in printed and "ready" not in printed


def test_where_pip_works_nothing_of_its_noise_is_shown(monkeypatch):
    said = ["Collecting a", "WARNING: noise", "Installing collected packages: a, b"]
    program = f"print(*{said}, sep=chr(10))"
    code, printed = run_with_pip(monkeypatch, program)
    first, *steps, last = printed.splitlines()
    assert code == 0 and first.startswith("setting up domostats[sandbox]")
    assert steps == ["  fetched 2 packages"] and last.startswith("  ready after")


@pytest.mark.parametrize("arguments", [[], ["a", "b"]])
def test_without_one_extra_it_says_how_it_is_called(arguments):
    command = [sys.executable, ROOT / "tools" / "install.py", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "tools/install.py EXTRA" in done.stderr
