"""How far something is, and what it waits for: in a terminal, a log, a pipe and a notebook."""

import errno
import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
from datetime import date
from pathlib import Path

import commands
import pytest
from conftest import EXTRACTOR, plant
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from domostats import progress, reports
from domostats.clients import sign_in
from domostats.errors import DomostatsError
from domostats.interfaces import output
from domostats.interfaces.app import command_display
from domostats.interfaces.cli import app
from domostats.interfaces.output import text_width
from domostats.interfaces.progress_display import (
    LogLines,
    TerminalLine,
    cut_text,
    progress_line,
    terminal_width,
)
from domostats.loading.store import Store
from domostats.progress import (
    RunStopped,
    UnderWay,
    Wait,
    find_display,
    tracked,
    under_way,
    usual_display,
)
from domostats.transport import clock
from domostats.work import Work, spell_count

WIDE = "\N{CJK UNIFIED IDEOGRAPH-65E5}\N{CJK UNIFIED IDEOGRAPH-672C}"
PTY = pytest.mark.skipif(sys.platform == "win32", reason="only where there are such terminals")


DAYS = [date(2024, 1, day) for day in (1, 2, 3)]


class Time:
    "A clock that is set by hand."

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Kept:
    "A display that keeps what it is asked to do."

    every = 0.001

    def __init__(self):
        self.asked = []
        self.seen = threading.Event()

    def show(self, shown):
        self.asked.append([one.sentence() for one in shown.works.values()])
        self.seen.set()

    def hide(self):
        self.asked.append("hide")

    def close(self):
        self.asked.append("close")


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def shown(time):
    "What is under way by a clock that is set by hand; nothing looks at it by itself."
    return UnderWay(time, lambda: None)


@pytest.fixture
def watched(monkeypatch):
    "A display that the process shows its work on, as soon as something begins."
    display = Kept()
    monkeypatch.setattr(progress, "AFTER", 0.0)
    with under_way.shown_by(lambda: display):
        yield display


# --- what is counted ------------------------------------------------------------------------------


def test_threads_that_count_lose_nothing():
    work = Work("users")
    threads = [
        threading.Thread(target=lambda: [work.add(1, 2, 0, 1, 10) for _ in range(500)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (work.done, work.pages, work.files, work.size) == (2000, 4000, 2000, 20_000)


@given(st.integers(0, 10**12))
def test_a_number_is_read_back_from_its_groups(number):
    spelled = spell_count(number)
    assert int(spelled.replace(" ", "")) == number
    assert all(len(group) == 3 for group in spelled.split(" ")[1:])


def test_how_long_it_takes_goes_by_what_is_slower_the_service_or_its_limit(time):
    work = Work("users", total=1000, clock=time, under_limit=lambda calls: calls * 6.0)
    assert work.seconds_left() is None  # nothing has come yet
    time.now = 10.0
    work.add(done=100, pages=1)
    assert work.seconds_left() == (90.0, False)  # a page in ten seconds, nine are left
    work.under_limit = lambda calls: calls * 60.0
    assert work.seconds_left() == (540.0, True)
    work.add(done=900, pages=9)
    assert work.seconds_left() is None


def test_a_budget_that_cannot_be_read_is_no_reason_to_say_nothing(time):
    from domostats.errors import DestinationError

    def broken(calls):
        raise DestinationError("The file is damaged.", "budget_broken")

    work = Work("users", total=1000, clock=time, under_limit=broken)
    time.now = 10.0
    work.add(done=500, pages=5)
    assert work.seconds_left() == (10.0, False)


def test_more_rows_than_were_told_are_no_share_of_them():
    work = Work("users", total=10)
    work.add(done=12)
    assert work.sentence() == "users: 12 rows" and work.seconds_left() is None


# --- what is waited for ---------------------------------------------------------------------------


def test_a_wait_is_told_when_nothing_has_moved_for_two_seconds(shown, time):
    work = Work("users", clock=time)
    shown.begin(work)
    shown.begin(Wait("acme has not answered yet", 0.0))
    seen = []
    for seconds in (0.0, 1.9, 2.0, 5.0):
        time.now = seconds
        seen.append(shown.wait() is not None)
    assert seen == [False, False, True, True]
    work.add(pages=1)
    assert shown.wait() is None  # a page came


def test_without_work_a_wait_is_told_by_its_own_age(shown, time):
    time.now = 100.0
    number = shown.begin(Wait("process 4711 has the store open", 100.0))
    assert shown.wait() is None
    time.now = 102.0
    assert shown.wait().sentence(time.now) == "waiting for 2 s: process 4711 has the store open"
    shown.end(number)
    assert shown.wait() is None and shown.is_idle


def reasons_while(monkeypatch, patched, name, do):
    "Why the process waits, each time that this function is called."
    found = []
    real = getattr(patched, name)

    def looking(*arguments, **more):
        found.extend(one.why for one in under_way.waits.values())
        return real(*arguments, **more)

    monkeypatch.setattr(patched, name, looking)
    do()
    return found


def test_a_call_says_whom_it_waits_for(box, monkeypatch):
    connection = sign_in(box)
    connection.meet()
    found = reasons_while(
        monkeypatch, connection.http, "request", lambda: connection.get("/api/content/v2/users/me")
    )
    assert found == [f"{box.name} has not answered yet"] and under_way.is_idle


def test_the_rate_limit_says_so_and_how_long(monkeypatch):
    from domostats.transport.budget import Budget

    still = clock.FakeClock()
    budget = Budget("http://127.0.0.1:9", per_minute=10, label="acme", clock=still)
    for _ in range(2):
        budget.reserve()
    waits = []
    real = still.wait

    def wait(seconds):
        waits.extend(under_way.waits.values())
        real(seconds)

    monkeypatch.setattr(still, "wait", wait)
    for _ in range(2):
        budget.reserve()
    budget.not_before(30)
    budget.reserve()
    reasons = [one.why for one in waits]
    assert reasons[0].startswith("acme may be asked every 6.12 s")
    assert reasons[-1] == "acme asked for a pause"
    assert 5 < waits[0].until - waits[0].began < 7 and 24 < waits[-1].until - waits[-1].began < 31


def test_a_store_that_others_have_says_who_has_it(tmp_path, monkeypatch):
    import duckdb

    from domostats.loading import database_file

    path = tmp_path / "store.duckdb"
    Store(path).names()
    real, tries = duckdb.connect, []

    def busy(*arguments):
        tries.append([one.why for one in under_way.waits.values()])
        if len(tries) < 4:
            raise duckdb.IOException("Conflicting lock is held in python (PID 4711)")
        return real(*arguments)

    def no_short_way(*arguments):
        raise duckdb.IOException("Conflicting lock is held in python (PID 4711)")

    monkeypatch.setattr(database_file, "_attach", no_short_way)
    monkeypatch.setattr(database_file.duckdb, "connect", busy)
    monkeypatch.setattr(database_file.time, "sleep", lambda seconds: None)
    assert Store(path).names() == [] and under_way.is_idle
    assert tries[0] == [] and tries[1] == tries[3] == [f"process 4711 has the store {path} open"]


# --- who looks on ---------------------------------------------------------------------------------


def test_what_is_quick_is_not_shown_and_what_ends_is_closed(shown, time):
    display = Kept()
    number = shown.begin(Work("users", clock=time))
    shown.make = lambda: display
    for seconds in (0.0, 0.9, 1.0):
        time.now = seconds
        shown.look()
    with shown.hidden():
        display.asked.append("somebody prints")
    shown.end(number)
    shown.look()
    assert display.asked == [["users: 0 rows"], "hide", "somebody prints", "close"]


def test_a_display_that_breaks_stops_no_work(shown, time):
    class Broken(Kept):
        def show(self, shown):
            raise OSError(errno.EIO, "the terminal is gone")

    number = shown.begin(Work("users", clock=time))
    shown.make = Broken
    time.now = 5.0
    shown.look()
    shown.look()
    shown.end(number)
    assert shown.display is None and shown.is_idle


def test_a_thread_shows_it_while_there_is_something_and_no_longer(watched):
    with tracked("users", "acme") as work:
        work.add(done=7)
        assert watched.seen.wait(30)
    assert watched.asked[-1] == "close" and ["users of acme: 7 rows"] in watched.asked
    count = len(watched.asked)
    under_way.look()
    assert len(watched.asked) == count


def test_a_child_of_this_process_has_nothing_under_way(watched):
    if not hasattr(os, "fork"):
        pytest.skip("only where processes fork")
    with tracked("users"):
        assert watched.seen.wait(30)
        child = os.fork()
        if not child:
            is_new = under_way.is_idle and under_way.display is None
            os._exit(0 if is_new else 1)
        assert os.waitpid(child, 0)[1] == 0


def test_nobody_is_shown_anything_who_has_not_asked_for_it(monkeypatch):
    monkeypatch.delenv("DOMOSTATS_SHOW_PROGRESS")
    assert usual_display() is None  # a pipe
    monkeypatch.setattr(sys, "stderr", Screen())
    assert isinstance(usual_display()(), TerminalLine)
    monkeypatch.setenv("DOMOSTATS_SHOW_PROGRESS", "off")
    assert usual_display() is None
    monkeypatch.setattr(sys, "stderr", None)  # a program of Windows without a console
    monkeypatch.delenv("DOMOSTATS_SHOW_PROGRESS")
    assert usual_display() is None


@pytest.mark.parametrize("name", ["terminal", "log", "notebook"])
def test_every_display_is_found_by_its_name(name):
    if name == "notebook":
        pytest.importorskip("IPython")
    display = find_display(name)()
    assert display.every > 0
    display.hide()
    display.close()


def test_a_command_shows_a_line_or_a_line_a_minute_or_nothing(monkeypatch):
    assert isinstance(command_display()(), LogLines)
    monkeypatch.setattr(sys, "stderr", Screen())
    monkeypatch.setenv("TERM", "xterm")
    display = command_display()()
    assert isinstance(display, TerminalLine)
    display.close()
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(command_display()(), LogLines)
    monkeypatch.setattr(output.verbosity, "quiet", True)
    assert command_display() is None


class Screen(io.StringIO):
    "A terminal that keeps what is written to it."

    def isatty(self):
        return True


# --- one line -------------------------------------------------------------------------------------

names = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=60)


@settings(deadline=None)
@given(st.lists(names, max_size=4), names, st.sampled_from([1, 20, 60, 80, 200]), st.booleans())
def test_a_line_is_never_wider_than_the_terminal(works, why, width, waits):
    time = Time()
    shown = UnderWay(time, lambda: None)
    for name in works:
        shown.begin(Work(name, "acme", total=10**6, clock=time))
    if waits:
        shown.begin(Wait(why, 0.0, 500.0))
    time.now = 3.0
    line = progress_line(shown, width)
    assert text_width(line) <= width and line.isprintable()


def test_what_is_waited_for_is_said_first_where_there_is_no_room(shown, time):
    shown.begin(Work("run", unit="reports", total=11, clock=time))
    shown.begin(Work(f"{WIDE} users", "acme", total=5000, clock=time))
    shown.begin(Wait("acme asked for a pause", 0.0, 65.0))
    time.now = 3.0
    lines = {width: progress_line(shown, width) for width in (60, 80, 200)}
    wait = "waiting 1 min 2 s: acme asked for a pause"
    assert lines[200] == f"run: 0 of 11 reports; {WIDE} users of acme: 0 of 5 000 rows; {wait}"
    assert lines[80] == f"{WIDE} users of acme: 0 of 5 000 rows; {wait}"
    assert text_width(lines[60]) <= 60 and lines[60].endswith("...") and "waiting" in lines[60]


def test_a_text_is_cut_between_its_signs():
    assert cut_text(WIDE * 3, 12) == WIDE * 3
    assert cut_text(WIDE * 3, 10) == f"{WIDE}{WIDE[0]}..."
    assert [cut_text("abcdef", width) for width in range(7)] == [
        "", ".", "..", "...", "a...", "ab...", "abcdef",
    ]  # fmt: skip


def test_a_sign_in_a_name_commands_no_terminal(shown, time):
    shown.begin(Work("users\x1b[2J", "acme\r", clock=time))
    assert "\x1b" not in progress_line(shown) and "\r" not in progress_line(shown)


# --- a terminal -----------------------------------------------------------------------------------


def screen_of(text):
    "The lines of a terminal after a text was written to it, as far as a line is concerned."
    lines = [""]
    at = 0
    for piece in re.findall(r"\x1b\[K|\r|\n|[^\x1b\r\n]+", text):
        if piece == "\n":
            lines.append("")
            at = 0
        elif piece == "\r":
            at = 0
        elif piece == "\x1b[K":
            lines[-1] = lines[-1][:at]
        else:
            lines[-1] = lines[-1][:at] + piece + lines[-1][at + len(piece) :]
            at += len(piece)
    return lines


def test_what_others_print_stands_above_the_line(shown, time, monkeypatch):
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(output, "under_way", shown)
    log = logging.getLogger("domostats")
    monkeypatch.setattr(log, "propagate", False)
    number = shown.begin(Work("users", "acme", clock=time))
    shown.make = TerminalLine
    time.now = 2.0
    shown.look()
    assert screen_of(screen.getvalue()) == ["users of acme: 0 rows"]
    output.note("something to know")
    log.warning("Waiting for the store.")
    shown.look()
    assert screen_of(screen.getvalue()) == [
        "note: something to know",
        "Waiting for the store.",
        "users of acme: 0 rows",
    ]
    shown.end(number)
    assert screen_of(screen.getvalue())[2:] == [""] and not log.handlers


def test_a_log_has_a_line_a_minute(shown, time, capsys):
    shown.begin(Work("users", "acme", clock=time))
    shown.make = LogLines
    for seconds in range(0, 600, 5):
        time.now = float(seconds)
        shown.look()
    said = capsys.readouterr()
    assert said.out == "" and said.err.splitlines() == ["progress: users of acme: 0 rows"] * 9


def test_a_stream_without_a_terminal_has_eighty_columns():
    assert terminal_width(io.StringIO()) == 80


PROGRAM = """
import os, signal, sys, threading
from domostats import progress
from domostats.interfaces import cli
from domostats.reports import run as runs

signal.signal(signal.SIGINT, signal.default_int_handler)  # what began in the background has none
progress.AFTER, mode = 0.0, sys.argv.pop()
held, take = threading.Event(), runs.JoinedRecords.take

def held_up(joined, page):
    "Stay on the first page until the line was written, then go on, or be stopped."
    take(joined, page)
    if not held.is_set():
        held.set()
        for _ in range(3000):
            if getattr(progress.under_way.display, "text", "") or mode == "quiet":
                break
            held_up.pause.wait(0.01)
        if mode == "stop":
            os.kill(os.getpid(), signal.SIGINT)
            held_up.pause.wait(5)

held_up.pause = threading.Event()
runs.JoinedRecords.take = held_up
cli.main()
"""


def at_terminal(program, *words, columns=80, stdout=None):
    "Run a program with its error stream at a terminal; its exit code, what it printed and said."
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    child = subprocess.Popen(
        [sys.executable, "-c", program, *words],
        stdout=subprocess.PIPE if stdout is None else stdout,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(theirs)
    said = []

    def listen():
        try:
            while part := os.read(ours, 1 << 16):
                said.append(part)
        except OSError as e:  # Linux says so at the end
            assert e.errno == errno.EIO

    listener = threading.Thread(target=listen)
    listener.start()
    printed = child.communicate(timeout=120)[0]
    listener.join(30)
    os.close(ours)
    return child.returncode, printed, b"".join(said).decode().replace("\r\n", "\n")


@PTY
@pytest.mark.parametrize("columns", [60, 80, 200])
def test_in_a_terminal_a_line_comes_and_goes_and_the_data_are_clean(columns, box):
    words = "generate", "users", "--instance", box.name, "--to", "-", "go on"
    code, printed, said = at_terminal(PROGRAM, *words, columns=columns)
    assert code == 0, said
    assert printed.count(b"\n") == 1 + 12 and b"\x1b" not in printed
    lines = re.findall(r"\x1b\[K([^\r\x1b\n]+)\r", said)
    assert any(line.startswith(f"users of {box.name}: ") for line in lines), said
    assert max(map(text_width, lines)) < columns
    assert screen_of(said)[-1] == "" and "Traceback" not in said


@PTY
def test_ctrl_c_leaves_a_clean_line(box):
    words = "generate", "users", "--instance", box.name, "--to", "users.csv", "stop"
    code, _, said = at_terminal(PROGRAM, *words)
    assert code == 130, said
    left = [line for line in screen_of(said) if line]
    assert len(left) == 1 and left[0].startswith("stopped by Ctrl-C. Nothing unfinished"), said


@PTY
def test_quiet_is_quiet_in_a_terminal_too(box):
    words = "generate", "users", "--instance", box.name, "--to", "u.csv", "--quiet", "quiet"
    code, _, said = at_terminal(PROGRAM, *words)
    assert code == 0 and said == ""


@pytest.mark.parametrize("words", ["query --json", "datasets --json", "rows users --json"])
def test_json_has_nothing_of_it(words, watched):
    Path("settings.ini").write_text("[domostats]\nstore = here.duckdb\n")
    import pyarrow as pa

    Store("here.duckdb").write("users", pa.table({"id": [1, 2]}))
    first, *rest = words.split()
    more = ["SELECT 1 AS one"] if first == "query" else []
    code, printed, said = commands.run(first, *more, *rest)
    assert code == 0 and json.loads(printed) and "progress" not in said


# --- what is tracked ------------------------------------------------------------------------------


def works_while(monkeypatch, do):
    "What is under way each time that a page of a report is taken: the sentences, page by page."
    from domostats.reports import run as runs

    found = []
    real = runs.JoinedRecords.take

    def looking(joined, page):
        found.append([one.sentence() for one in under_way.works.values()])
        return real(joined, page)

    monkeypatch.setattr(runs.JoinedRecords, "take", looking)
    do()
    assert under_way.is_idle
    return found


def test_a_report_counts_its_rows_and_pages_and_knows_how_many_there_are(box, monkeypatch):
    def do():
        frames.append(reports.activity_log.generate(box))

    frames = []
    found = works_while(monkeypatch, do)
    total = len(frames[0])
    last = found[-1][0]
    assert total > 100 and last.startswith(f"activity_log of {box.name}: ")
    assert f" of {spell_count(total)} rows, " in last and "pages" in last
    counts = [int(re.search(r": ([\d ]+) of", one[0])[1].replace(" ", "")) for one in found]
    assert counts == sorted(counts) and counts[0] == 0


def test_one_call_for_each_record_of_another_list_is_a_page(box, monkeypatch):
    frames = []
    found = works_while(monkeypatch, lambda: frames.append(reports.page_access.generate(box)))
    rows, pages = re.search(r": (\d+) rows, (\d+) pages$", found[-1][0]).groups()
    assert int(rows) == len(found) - 1 < int(pages)


def test_a_total_is_that_of_the_rows_that_are_counted(box):
    from domostats.clients.domo.pages import PAGE_ACCESS, PAGES
    from domostats.transport.by_parent import Under
    from domostats.transport.reader import Reader

    reader = Reader(sign_in(box))
    for counted, told, total in (
        (PAGES, PAGES, 8),
        (PAGE_ACCESS, PAGE_ACCESS.above, 8),  # a row for each record above
        (PAGE_ACCESS, PAGE_ACCESS, None),
        (Under("", parents=PAGES), PAGES, None),  # any number of rows for each
        (PAGES, PAGE_ACCESS, None),
    ):
        reader.begin("pages", counted)
        reader.expect(told, 8)
        assert reader.work.total == total
        assert (counted.sized_by(reader) is told) == (total is not None)


def test_several_instances_count_instances_and_each_its_rows(box, monkeypatch):
    from domostats import sandbox
    from domostats.reports.fleet import run_all

    with sandbox.start(today="2024-04-01", seed=5) as other:
        found = works_while(
            monkeypatch, lambda: run_all(reports.groups.report, [box, other], at_once=1)
        )
    assert [len(one) for one in found] == [2, 2]
    assert [one[0] for one in found] == [f"groups: {n} of 2 instances" for n in (0, 1)]
    assert {one[1].split(":")[0] for one in found} == {
        f"groups of {box.name}",
        f"groups of {other.name}",
    }


def test_a_run_of_many_reports_counts_them(box, monkeypatch):
    words = "run", "--instance", box.name, "--only", "groups,users", "--to", "out"
    done = []
    found = works_while(monkeypatch, lambda: done.append(CliRunner().invoke(app, words)))
    assert done[0].exit_code == 0
    assert [one[0] for one in found] == ["run: 0 of 2 reports", "run: 1 of 2 reports"]
    assert [one[1].split(" of ")[0] for one in found] == ["groups", "users"]


def test_an_estimate_counts_its_calls(box, monkeypatch):
    from domostats.reports.plan import estimate
    from domostats.transport.connection import Connection

    found, real = [], Connection._send

    def send(*arguments):
        found.extend(one.sentence() for one in under_way.works.values())
        return real(*arguments)

    monkeypatch.setattr(Connection, "_send", send)
    estimate(reports.users.report, box)
    assert found[0] == f"estimate of users of {box.name}: 0 rows" and under_way.is_idle
    assert re.fullmatch(r"estimate of users of .*: \d+ pages?", found[-1])


def test_releases_are_counted(tmp_path):
    from datetime import date

    import pyarrow as pa

    from domostats.tracking.registry.api import make_observatory_api
    from domostats.tracking.registry.catch_up import CatchUp
    from domostats.tracking.registry.entities import (
        Dataset,
        DatasetType,
        TableType,
        Workflow,
        WorkflowType,
    )

    api = make_observatory_api(tmp_path / "registry.sqlite")
    kind = api.post_workflow_type(WorkflowType(type_id="onix"))
    regular = api.post_table_type(TableType(type_id="regular"))
    books = api.post_dataset_type(DatasetType(type_id="books", table_type=regular))
    onix = api.post_workflow(Workflow(name="onix", workflow_type=kind))
    dataset = api.post_dataset(
        Dataset(name="books", service="duckdb", address="books", workflow=onix, dataset_type=books)
    )
    days = [date(2024, 3, day) for day in (1, 2, 3)]
    found = []

    def ingest(day):
        found.extend(one.sentence() for one in under_way.works.values())
        if day == days[1]:
            under_way.stop()
        return pa.table({"day": [day]})

    catching = CatchUp(dataset, api, Store(tmp_path / "store.duckdb"))
    with pytest.raises(RunStopped, match="2 of 3 releases. The releases that are loaded stay"):
        catching.run(days, ingest)
    assert found == [f"books: {n} of 3 releases" for n in (0, 1)]
    assert catching.missing(days) == days[2:]
    assert len(catching.run(days, ingest).loaded) == 1 and under_way.is_idle


def test_days_are_counted_and_a_stop_keeps_those_that_are_done(tmp_path):
    Path("days_of_mine.py").write_text(EXTRACTOR)
    sys.path.insert(0, str(Path.cwd()))
    from domostats.tracking.extractors.extraction import Extraction
    from domostats.tracking.extractors.migrations import Migrations

    store = Store(tmp_path / "store.duckdb")
    extraction = Extraction(["days_of_mine.Mine"], store, "UTC", "2024-01-01")
    migrations = Migrations(tmp_path / "migrations", store)
    migrations.make(extraction.tables)
    migrations.apply()
    found = []
    with pytest.raises(RunStopped, match="total: 2 of 3 days. The days that are done are written"):
        for done in extraction.extract(first=DAYS[0], last=DAYS[2]):
            found.append(next(iter(under_way.works.values())).sentence())
            assert done.error is None
            if len(found) == 2:
                under_way.stop()
    assert found == [f"total: {n} of 3 days" for n in (1, 2)] and under_way.is_idle
    seen = [day for _, day, _ in extraction.preview(DAYS[0], DAYS[2])]
    assert seen == DAYS and under_way.is_idle


def test_files_of_an_upload_are_counted_and_a_stopped_one_goes_on():
    import pyarrow as pa

    from domostats.loading.uploads.load_types import LoadTypes
    from domostats.loading.uploads.record import Record
    from domostats.loading.uploads.sources import open_sources
    from domostats.loading.uploads.transfers import Transfer

    arrived, found = [], []

    def send(part, stopped):
        found.extend(one.sentence() for one in under_way.works.values())
        arrived.append(part.number)
        if arrived == [1, 2]:
            under_way.stop()

    def transfer(shown=None):
        (source,) = open_sources(pa.table({"id": range(25)}))
        (planned,) = LoadTypes().plan([(source, None)])
        record = Record("https://acme.example", "ada", "ids", {"rows": 10})
        return Transfer(record, send, rows=10, at_once=1, shown=shown).run(planned, "ages", "x_1")

    with pytest.raises(RunStopped, match="Stopped: upload of ages: 20 of 25 rows, 2 files"):
        transfer()
    assert [one.split(",")[0] for one in found] == [
        f"upload of ages: {n} of 25 rows" for n in (0, 10)
    ]
    found.clear()
    assert transfer(shown=False).rows == 25 and arrived == [1, 2, 3]
    assert found == [] and under_way.is_idle  # it was not to be shown


def test_no_secret_is_in_what_is_shown(box, monkeypatch):
    from domostats.clients.domo.credentials import AccessToken
    from domostats.transport.connection import Connection

    token = "planted+token/with=signs&more"
    plant(box, "planted pass/word 100% sure", token)
    found, real = [], Connection._send

    def send(*arguments):
        found.append(progress_line(under_way))
        found.extend(one.why for one in under_way.waits.values())
        return real(*arguments)

    monkeypatch.setattr(Connection, "_send", send)
    monkeypatch.setattr(progress, "QUIET", 0.0)
    frame = reports.users.generate(box, AccessToken(token))
    with pytest.raises(DomostatsError) as caught:
        reports.users.generate(box, AccessToken("planted-and-refused"), fresh=True)
    found += [str(caught.value), repr(under_way.works)]
    assert len(frame) and len(found) > 4 and not [line for line in found if "planted" in line]


# --- stopped by a button --------------------------------------------------------------------------


def test_a_stopped_report_keeps_its_pages_and_goes_on_without_asking_twice(monkeypatch):
    from domostats import sandbox
    from domostats.reports import run as runs
    from domostats.transport.connection import Connection

    asked = []
    real_send, real_take = Connection._send, runs.JoinedRecords.take
    taken = []

    def send(connection, request, *more):
        answer = real_send(connection, request, *more)
        if request.params and "offset" in request.params:
            asked.append(request.fingerprint)
        return answer

    def take(joined, page):
        real_take(joined, page)
        taken.append(page.number)
        if len(taken) == 3:
            under_way.stop()

    monkeypatch.setattr(Connection, "_send", send)
    monkeypatch.setattr(runs.JoinedRecords, "take", take)
    with sandbox.start(today="2024-04-01", events=12_000) as box:
        with pytest.raises(RunStopped) as caught:
            reports.activity_log.generate(box)
        said = str(caught.value)
        assert said.startswith(f"Stopped: activity_log of {box.name}: 3 000 of 12 000 rows, ")
        assert "kept for six hours" in said and "fresh=True" in said
        before = len(asked)
        assert 3 <= before < 13 and under_way.is_idle
        frame = reports.activity_log.generate(box)
        assert len(asked) == len({*asked}) > before  # no page was asked for twice
        whole = reports.activity_log.generate(box, fresh=True)
    assert frame.equals(whole) and len(frame) == 12_000
    assert any("kept by an earlier start" in note for note in frame.attrs["domostats"]["notes"])


def test_a_stop_ends_a_long_wait(watched, monkeypatch):
    monkeypatch.setattr(clock, "_off", False)
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            under_way.stop()

    monkeypatch.setattr(progress.time, "sleep", sleep)
    with pytest.raises(RunStopped), tracked("users", kept="The pages are kept."):
        clock.wait_with_reason(clock.Clock(), 50, "acme asked for a pause")
    assert len(slept) == 3 and max(slept) <= 0.25 and under_way.is_idle


def test_what_begins_after_a_stop_is_not_stopped():
    with tracked("users"):
        under_way.stop()
    with tracked("groups") as work:
        work.add(done=1)


def test_ctrl_c_says_that_it_was_stopped_and_an_error_that_it_broke_off():
    with pytest.raises(KeyboardInterrupt), tracked("users") as work:
        raise KeyboardInterrupt
    assert work.is_stopped and not work.is_broken
    with pytest.raises(ValueError), tracked("users") as work:
        raise ValueError("bad")
    assert work.is_broken and not work.is_stopped


# --- a notebook -----------------------------------------------------------------------------------


class Handle:
    "What a notebook shows at one place, one bundle after another."

    made = []

    def __init__(self):
        self.bundles = []
        self.made.append(self)

    def display(self, bundle, raw):
        assert raw
        self.bundles.append(bundle)

    update = display


@pytest.fixture
def notebook(monkeypatch):
    "The display of a notebook, and the places that it writes to."
    module = pytest.importorskip("domostats.widgets.progress")
    monkeypatch.setattr(Handle, "made", [])
    monkeypatch.setattr(module, "DisplayHandle", Handle)
    return module, Handle.made


def test_a_notebook_shows_what_takes_two_seconds_and_how_it_ended(shown, time, notebook):
    module, places = notebook
    work = Work("<b>users</b>", "acme", total=100, clock=time)
    number = shown.begin(work)
    shown.make = module.NotebookProgress
    for seconds in (1.5, 2.0, 2.5):
        time.now = seconds
        shown.look()
    work.add(done=100, pages=2)
    shown.end(number)
    texts = [bundle["text/plain"] for bundle in places[0].bundles]
    assert texts == [
        "<b>users</b> of acme: 0 of 100 rows",
        "<b>users</b> of acme: 100 of 100 rows, 2 pages.",
    ]
    assert len(places) == 1  # no button is heard here
    assert module.TO_STOP in places[0].bundles[0]["text/html"]
    assert module.TO_STOP not in places[0].bundles[-1]["text/html"]
    assert all("<b>" not in bundle["text/html"] for bundle in places[0].bundles)


@pytest.mark.parametrize("end", ["stopped", "broken"])
def test_a_notebook_says_that_it_was_stopped_or_broke_off(end, shown, time, notebook):
    module, places = notebook
    work = Work("users", "acme", kept="The pages are kept.", clock=time)
    number = shown.begin(work)
    shown.make = module.NotebookProgress
    time.now = 3.0
    shown.look()
    vars(work)[f"is_{end}"] = True
    shown.end(number)
    last = places[0].bundles[-1]["text/plain"]
    assert (
        last
        == {
            "stopped": "Stopped: users of acme: 0 rows. The pages are kept.",
            "broken": "users of acme: 0 rows. It ended with an error.",
        }[end]
    )


def test_the_button_stops_what_is_under_way_and_leaves(notebook, monkeypatch):
    pytest.importorskip("anywidget")
    from ipywidgets import Widget

    module, places = notebook
    monkeypatch.setattr(module, "hears_buttons", lambda: True)
    monkeypatch.setattr(progress, "AFTER", 0.0)
    monkeypatch.setattr(module, "SHOWN_AFTER", 0.0)
    with under_way.shown_by(None):
        with pytest.raises(RunStopped, match="The pages are kept"):
            with tracked("users", "acme", kept="The pages are kept.") as work:
                under_way.make = module.NotebookProgress
                under_way.look()
                display = under_way.display
                display.button.click()
                assert display.button.disabled
                work.add(done=1)
    widget, after = places[1].bundles
    assert {*widget} == {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"}
    assert after == {"text/plain": ""} and display.button.comm is None
    assert places[0].bundles[-1]["text/plain"].startswith("Stopped: users of acme: 1 row.")
    Widget.close_all()


IN_A_KERNEL = """
from domostats import progress, reports, sandbox
from domostats.reports import run as runs
from domostats.widgets import progress as shown

progress.AFTER = shown.SHOWN_AFTER = 0.0
real, pages = runs.JoinedRecords.take, []


def take(joined, page):
    "Stay on the third page until the button was pressed."
    real(joined, page)
    pages.append(page)
    for _ in range(3000):
        if len(pages) != 3 or progress.under_way.stops:
            break
        progress.threading.Event().wait(0.01)


runs.JoinedRecords.take = take
box = sandbox.start(today="2024-04-01", events=12_000)
reports.activity_log.generate(box)
"""


@pytest.mark.slow
def test_the_button_is_heard_while_the_cell_runs(monkeypatch):
    "As JupyterLab sends it: through a second thread of the kernel."
    monkeypatch.delenv("DOMOSTATS_SHOW_PROGRESS")
    manager = pytest.importorskip("jupyter_client.manager")
    kernels, client = manager.start_new_kernel(kernel_name="python3")
    try:
        client.control_channel.send(client.session.msg("create_subshell_request", {}))
        subshell = client.get_control_msg(timeout=60)["content"]["subshell_id"]
        asked = client.execute(IN_A_KERNEL)
        comm, is_pressed, texts, errors = None, False, [], []
        for _ in range(1000):
            message = client.get_iopub_msg(timeout=120)
            kind, content = message["msg_type"], message["content"]
            state = content.get("data", {}).get("state", {}) if kind == "comm_open" else {}
            if state.get("_model_name") == "ButtonModel":
                comm = content["comm_id"]
            if kind in ("display_data", "update_display_data"):
                texts.append(content["data"]["text/plain"])
            if kind == "error":
                errors.append((content["ename"], content["evalue"]))
            is_held = any(": 2 000 of 12 000 rows" in text for text in texts)
            if comm and is_held and not is_pressed:
                is_pressed = True
                click = {"method": "custom", "content": {"event": "click"}}
                press = client.session.msg("comm_msg", {"comm_id": comm, "data": click})
                press["header"]["subshell_id"] = subshell
                client.shell_channel.send(press)
            is_ours = message["parent_header"].get("msg_id") == asked
            if is_ours and kind == "status" and content["execution_state"] == "idle":
                break
    finally:
        client.stop_channels()
        kernels.shutdown_kernel(now=True)
    assert is_pressed and [name for name, _ in errors] == ["RunStopped"], (texts, errors)
    assert "kept for six hours" in errors[0][1] and texts[-1] == ""
    assert texts[-2].startswith("Stopped: activity_log of sandbox: ")
