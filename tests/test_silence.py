"""Silence is an answer only when there is nothing to say."""

import importlib
import logging
import re
import sys
from contextlib import closing
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from test_exit_codes import EXTRACTOR, main

from domostats import reports, sandbox
from domostats.errors import DestinationError, did_you_mean
from domostats.interfaces import output
from domostats.loading.files import read_file
from domostats.loading.store import Store
from domostats.transport import clock
from domostats.transport.retry import Retry


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    "One sandbox for all of these tests."
    folder = str(tmp_path_factory.mktemp("state"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", folder)
        with sandbox.start(users=5, events=40) as box:
            box.folder = folder
            yield box


@pytest.fixture
def box(running, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", running.folder)
    yield running
    running.heal()


@pytest.fixture
def run(monkeypatch, capfd):
    "A function that runs a command in this process; gives its exit code and all it printed."

    def command(*words, columns=200):
        words = words[0].split() if len(words) == 1 else words
        monkeypatch.setattr(sys, "argv", ["domostats", *map(str, words)])
        monkeypatch.setenv("COLUMNS", str(columns))
        code = main()
        said = capfd.readouterr()
        return code, said.out + said.err

    return command


@pytest.fixture
def heard():
    "What the kit says while it works."
    said, log = [], logging.getLogger("domostats")

    class Listener(logging.Handler):
        def emit(self, record):
            said.append(record.getMessage())

    listener = Listener()
    log.addHandler(listener)
    yield said
    log.removeHandler(listener)


# --- a name that is nearly right ------------------------------------------------------------------


def test_a_slip_in_the_name_of_a_sandbox_offers_it_and_says_what_runs(box, run):
    code, printed = run("check sandbx")
    assert code == 4 and f"Did you mean '{box.name}'?" in printed
    assert f"Sandboxes that run: {box.name}" in printed
    code, printed = run("check sandbox-77")
    assert code == 3 and f"what runs: {box.name}" in printed


def test_a_slip_is_told_too_where_there_are_credentials(box, run, monkeypatch):
    monkeypatch.setenv("DOMO_ACCESS_TOKEN", "t" * 20)
    Path("settings.ini").write_text("[instance.acme-lab]\nurl = http://127.0.0.1:9\n")
    monkeypatch.setattr("domostats.reports.access.introduce", lambda place: ("nobody", set()))
    code, printed = run("check acme-lap")
    assert code == 0 and "acme-lap is not in settings.ini" in printed
    assert "Did you mean 'acme-lab'?" in printed
    assert "Did you mean" not in run("check acme-lab")[1]


def test_what_is_near_is_found_in_any_spelling():
    assert did_you_mean("GROUPS", ["groups", "users"]) == " Did you mean 'groups'?"
    assert did_you_mean("v3", ["v1", "owners"]) == " Did you mean 'v1'?"
    assert did_you_mean("zebra", ["groups", "users"]) == ""


# --- nothing that looks like something ------------------------------------------------------------


def test_a_dataset_of_which_nothing_was_loaded_is_said_with_those_there_are(box, run):
    code, printed = run("releases")
    assert code == 0 and "nothing was loaded yet" in printed
    code, printed = run("releases nothing")
    assert code == 3 and "unknown_dataset" in printed and "none yet" in printed
    assert run(f"snapshot groups --instance {box.name}")[0] == 0
    code, printed = run("releases history.group")
    assert code == 3 and "Did you mean 'history.groups" in printed, printed
    assert "history.groups" in printed.split("Did you mean")[1]


def test_a_report_without_a_snapshot_has_no_table(run):
    for command in ("history groups", "history groups --picture a.html", "erase groups 5"):
        code, printed = run(command)
        assert code == 3 and "domostats snapshot groups" in printed, printed
        assert "added" not in printed and "versions" not in printed


def test_a_key_that_is_not_there_prints_no_table(box, run):
    assert run(f"snapshot groups --instance {box.name}")[0] == 0
    code, printed = run(f"erase groups 999999 --instance {box.name}")
    assert code == 6 and "not_found" in printed and "versions" not in printed
    assert "erased" not in printed


def test_a_column_to_ignore_that_is_none_is_refused_before_anything_is_asked(box, run):
    before = len(box.calls)
    code, printed = run(f"snapshot groups --instance {box.name} --ignore grup_name")
    assert code == 2 and "unknown_column" in printed and "Did you mean" in printed
    assert len(box.calls) == before and not Store().path.exists()


def test_days_that_are_turned_round_are_refused(run):
    Path("mine.py").write_text(EXTRACTOR)
    importlib.invalidate_caches()
    sys.modules.pop("mine", None)
    Path("settings.ini").write_text(
        "[extractors]\nclasses = mine.Mine\nfirst_date = 2024-01-01\n[domostats]\n"
        "store = s.duckdb\n"
    )
    code, printed = run("print-extract -f 2022-01-05 -l 2022-01-01")
    assert code == 2 and "2022-01-05" in printed and "rows" not in printed


def test_a_budget_that_nobody_has_is_said(run):
    code, printed = run("budget")
    assert code == 0 and "no budget yet" in printed


# --- what has no effect ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "report, option, has_effect",
    [
        ("groups", "--changed-since", False),
        ("groups", "--until", False),
        ("users", "--changed-since", False),
        ("datasets", "--until", False),
        ("activity_log", "--until", True),
        ("activity_log", "--changed-since", True),
    ],
)
def test_a_time_that_narrows_nothing_is_said(report, option, has_effect, box, run):
    keyword = "since" if option == "--changed-since" else "until"
    said, typed = f"{keyword} has no effect on {report}", f"{option} has no effect on {report}"
    code, printed = run(
        "generate", report, "--instance", box.name, "--to", "a.parquet", option, "2024-03-01"
    )
    assert code == 0 and (typed in printed) != has_effect, printed
    frame = reports.find(report).run(box, **{keyword: "2024-03-01"})
    assert any(said in finding for finding in frame.findings) != has_effect


def test_a_run_and_an_estimate_say_for_each_report_what_has_no_effect(box, run):
    words = "--instance", box.name, "--only", "groups,activity_log", "--changed-since", "2024-03-01"
    for command in (("run", *words, "--to", "out"), ("estimate", *words)):
        code, printed = run(*command)
        assert code == 0 and printed.count("has no effect on groups") == 1
        assert "no effect on activity_log" not in printed


@pytest.mark.parametrize("command", ["generate activity_log --to a.csv", "run --only activity_log"])
def test_how_far_back_events_are_asked_for_is_said(command, box, run):
    code, printed = run(f"{command} --instance {box.name}")
    assert code == 0 and "all events are asked for" in printed and "one year" in printed
    code, printed = run(f"{command} --instance {box.name} --changed-since 2024-01-01 --fresh")
    assert "all events are asked for" not in printed


# --- what was done --------------------------------------------------------------------------------


def test_no_table_says_done_where_everything_failed(box, run):
    box.fail("html", "/api/content/v2/groups", times=None)
    code, printed = run(f"run --instance {box.name} --only groups --to out")
    assert code == 6 and "failed: groups" in printed and "done" not in printed
    code, printed = run(f"run --instance {box.name} --only groups,users --to out")
    assert code == 6 and "done: 1, failed: 1" in printed
    assert read_file("out/users.parquet").num_rows == 5


def test_a_folder_is_not_called_like_a_file(box, run):
    code, printed = run(f"run --instance {box.name} --only groups --to x.parquet")
    assert code == 2 and "name a folder" in printed and not Path("x.parquet").exists()


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", ["x.gif", "x.png", "x"])
def test_a_picture_is_a_page_or_is_refused(name, box, run):
    assert run(f"snapshot groups --instance {box.name}")[0] == 0
    code, printed = run(f"history groups --picture {name}")
    assert code == 2 and ".html" in printed and not Path(name).exists()
    code, printed = run(f"history groups --picture {name.split('.')[0]}.html")
    assert code == 0 and Path(f"{name.split('.')[0]}.html").read_text().startswith(
        "<!doctype html>"
    )


@pytest.mark.parametrize("option", ["--to x.csv", "--at 2030-01-01"])
def test_a_picture_and_a_file_are_two_commands(option, box, run):
    assert run(f"snapshot groups --instance {box.name}")[0] == 0
    code, printed = run(f"history groups --picture x.html {option}")
    assert code == 2 and "--picture" in printed and not Path("x.html").exists()


@pytest.mark.parametrize(
    "options", ["--record --forget 1", "--forget 1 --picture x.html", "--record --picture x.html"]
)
def test_of_a_dataset_one_thing_is_asked_at_a_time(options, run):
    code, printed = run(f"releases activity {options}")
    assert code == 2 and "one at a time" in printed and options.split()[0] in printed


def test_the_demo_says_where_its_store_lies(run, tmp_path):
    code, printed = run("demo")
    assert code == 0 and str(Store().path) in printed.replace("\n", "")


# --- a narrow terminal ----------------------------------------------------------------------------


def test_what_is_too_wide_is_shown_below_one_another(box, run):
    assert run(f"snapshot users --instance {box.name}")[0] == 0
    code, printed = run("history", "users", "--at", "2100-01-01", columns=80)
    lines = printed.splitlines()
    assert code == 0 and max(map(len, lines)) <= 80
    assert lines[0] == "5 rows (row 1 of 5)".ljust(len(lines[0])), printed
    assert sum(line.startswith("Email ") for line in lines) == 5
    assert sum("@" in line and line.startswith("Email ") for line in lines) == 5
    code, printed = run("budget", columns=80)
    assert code == 0 and "left today" in printed and box.name in printed


def test_budgets_that_look_the_same_are_one_line_of_words(box, run):
    from domostats.transport.budget import Budget

    for address in ("http://127.0.0.1:1", "http://127.0.0.1:2"):
        Budget(address, label="box", per_minute=None, per_day=None).reserve()
    Budget("acme", label="acme", per_minute=120, per_day=20000).reserve()
    code, printed = run("budget", columns=80)
    rows = [line.split("  ") for line in printed.splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert code == 0 and max(map(len, printed.splitlines())) <= 80
    assert [row for row in cells if row[:1] == ["box"]] == [["box", *["no limit"] * 3, "at once"]]
    assert ["acme", "120", "20000", "1", "19999", "at once"] in cells


def test_help_and_lists_are_readable_in_eighty_columns(run):
    for command in ("generate", "run", "changes", "history", "print-extract"):
        printed = run(command, "--help", columns=80)[1]
        assert "%Y" not in printed and "…" not in printed, printed
    printed = run("reports", columns=80)[1]
    assert "datorama_workspaces" in printed and max(map(len, printed.splitlines())) <= 80
    assert "with_workspace" in run("reports", "datorama_streams", columns=80)[1]


@pytest.mark.parametrize(
    "command", ["generate users --instance box --to u.csv --changed-since", "print-extract -f"]
)
def test_what_is_no_time_is_told_how_to_write_one(run, command):
    code, printed = run(*command.split(), "yesterday")
    assert code == 2 and "'yesterday' is no" in printed and "2026-01-31" in printed
    assert "%Y" not in printed


def test_a_snapshot_is_listed_under_the_time_that_was_told(box, run):
    told = run(f"snapshot users --instance {box.name}")[1]
    listed = run("history", "users", columns=80)[1]
    at = re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+", told)[0]
    assert at in listed and "+00:00" not in listed


def test_the_minutes_of_all_reports_together_are_estimated(box, run, monkeypatch):
    from domostats.transport.budget import Budget

    monkeypatch.setattr(Budget, "estimate", lambda budget, calls: calls * 60.0)
    lines = run(f"estimate --instance {box.name} --only users,groups")[1].splitlines()
    together = next(line for line in lines if "together" in line).split()
    assert together[-1] == f"{together[-2]}.0"


def test_one_row_below_one_another_is_not_called_a_part(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    output.show_rows("done", ["report", "rows", "to"], [("accounts", 5, "a" * 60)])
    assert capsys.readouterr().out.split("\n")[0].strip() == "done"


def test_a_picture_of_nothing_that_changed_says_so_and_has_whole_rows(tmp_path):
    from domostats.tracking import History
    from domostats.tracking.pictures import timeline

    history = History("users", "id", Store(tmp_path / "h.duckdb"))
    rows = pa.table({"id": [1], "name": ["Ada"]})
    history.snapshot(rows, "2026-01-01")
    assert "Nothing to compare yet" in timeline(history).svg
    history.snapshot(rows, "2026-01-02")
    same = timeline(history).svg
    assert "Nothing to compare" not in same and not re.search(r">\W?0\.\d+<", same)


def test_calls_alone_are_none_and_this_is_said(box, run):
    code, printed = run(f"generate calls --instance {box.name} --to calls.csv")
    assert code == 0 and "note: calls: " in printed and "--only users,calls" in printed
    assert "note: calls" not in run(f"generate users --instance {box.name} --to users.csv")[1]


def test_a_hyphen_is_no_dataset_but_standard_output(box, run):
    code, printed = run(f"generate users --instance {box.name} --to - --quiet")
    assert code == 0 and Store().names() == [] and not Path("-").exists()
    assert run(f"generate users --instance {box.name} --to users.csv")[0] == 0
    assert printed == Path("users.csv").read_text()
    assert run(f"snapshot users --instance {box.name}")[0] == 0
    code, printed = run("changes users --since 2024-01-01 --to -")
    assert code == 0 and len(printed.splitlines()) == 1 + 5
    code, printed = run(f"generate users --instance {box.name} --to - --method UPSERT")
    assert code == 2 and "--method" in printed
    code, printed = run(f"run --instance {box.name} --to -")
    assert code == 2 and "bad_destination" in printed and not Path("-").exists()


def test_one_row_is_not_rows():
    assert [output.in_words(n, "row") for n in (0, 1, 2)] == ["0 rows", "1 row", "2 rows"]


def test_what_is_narrow_stays_a_table(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    output.show_rows("small", ["report", "rows"], [("accounts", 5), ("users", 7)])
    printed = capsys.readouterr().out.splitlines()
    assert [line.split() for line in printed if "accounts" in line] == [["accounts", "5"]]


# --- waits ----------------------------------------------------------------------------------------


def test_a_wait_of_two_seconds_is_said_once(heard):
    from domostats.notices import LongWait

    moments = iter([0.0, 0.5, 1.9, 2.0, 3.0])
    wait = LongWait(clock=lambda: next(moments))
    for _ in range(4):
        wait.at("Waiting for the store.")
    assert heard == ["Waiting for the store."]


def test_who_waits_for_the_store_hears_who_has_it(heard, tmp_path, monkeypatch):
    from domostats.loading import store_connections as module

    path, tries = tmp_path / "store.duckdb", []
    Store(path).names()
    real = duckdb.connect

    def busy(*arguments):
        if not arguments:  # one that runs without a file
            return real()
        tries.append(arguments)
        if len(tries) < 4:
            raise duckdb.IOException("Conflicting lock is held in python (PID 4711)")
        return real(*arguments)

    def refuse(*arguments):
        raise duckdb.IOException("Conflicting lock is held in python (PID 4711)")

    monkeypatch.setattr(module, "_attach", refuse)
    monkeypatch.setattr(module.duckdb, "connect", busy)
    patient = module.LongWait
    monkeypatch.setattr(module, "LongWait", lambda: patient(after=0))
    assert Store(path).names() == [] and len(tries) == 4
    assert len(heard) == 1 and "process 4711" in heard[0] and "30 s" in heard[0]


def test_a_thread_that_waits_for_another_says_so(heard, tmp_path, monkeypatch):
    from domostats.loading import database_file as module

    path = (tmp_path / "store.duckdb").resolve()

    class Taken:
        asked = []

        def acquire(self, timeout):
            self.asked.append(timeout)
            return len(self.asked) == 2

        def release(self):
            pass

    monkeypatch.setitem(module._LOCKS, path, Taken())
    assert Store(path).names() == []
    assert Taken.asked == [2, 28] and "another thread of this process" in heard[0]


def test_waits_for_the_network_are_said_before_they_are_long(heard, box, monkeypatch):
    from domostats.clients import sign_in

    connection = sign_in(box)
    connection.meet()
    monkeypatch.setattr(connection, "retry", Retry(tries=5))
    monkeypatch.setattr(clock, "_off", False)
    slept = []
    monkeypatch.setattr(clock.time, "sleep", slept.append)
    box.fail("reset", "/api/content/v2/users/me", times=4)
    assert connection.get("/api/content/v2/users/me").status == 200
    assert len(slept) >= 4 and len(heard) == 1
    assert "Waiting 2 s before attempt 3 of 5" in heard[0] and "/users/me" in heard[0]


def test_a_busy_store_is_still_refused_in_the_end(tmp_path):
    path = tmp_path / "store.duckdb"
    Store(path).names()
    with closing(duckdb.connect(str(path), read_only=True)):
        with pytest.raises(DestinationError) as caught:
            Store(path, wait=0).names()
    assert caught.value.reason == "busy"
