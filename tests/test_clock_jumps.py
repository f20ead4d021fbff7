"""Who waits, waits as long as was meant, whatever somebody does to the clock of the machine."""

import sqlite3
import subprocess
import sys
import time

import pytest

from domostats.errors import RetryLaterError
from domostats.instances import Instance
from domostats.transport.announced import HEARD_MINUTE, AnnouncedBudget, LimitStatus, record_limit
from domostats.transport.answer import Answer, check_available
from domostats.transport.auth import NoAuth
from domostats.transport.budget import Budget, all_budgets
from domostats.transport.budget_file import budget_path
from domostats.transport.clock import Clock, FakeClock
from domostats.transport.connection import Connection
from domostats.transport.minute_budget import MinuteBudget
from domostats.transport.retry import Request
from domostats.transport.writes import wait_until

PLACE = "https://acme.domo.com|0123456789abcdef"
DAY = 86_400
JUMPS = {
    "back by half an hour": -1800,
    "back by a minute": -60,
    "back by a day": -DAY,
    "back by years": -1000 * DAY,
    "forward by two hours": 7200,
    "forward by years": 1000 * DAY,
}
jumps = pytest.mark.parametrize("jump", JUMPS.values(), ids=JUMPS)


@jumps
def test_the_next_slot_is_one_step_away(jump):
    clock = FakeClock()
    budget = Budget(PLACE, per_minute=6, clock=clock)
    budget.reserve()
    clock.time += jump
    assert budget.reserve() == pytest.approx(10.2)
    assert budget.reserve() == pytest.approx(10.2)


@jumps
def test_a_queue_stays_as_long_as_it_was(jump):
    "Twenty calls have their slots already when the clock is set."
    clock = FakeClock()
    Budget(PLACE, per_minute=6, clock=clock).reserve()
    with sqlite3.connect(budget_path()) as con:
        con.execute("UPDATE budgets SET next = next + 20 * 10.2")
    clock.time += jump
    assert Budget(PLACE, per_minute=6, clock=clock).ahead() == pytest.approx(21 * 10.2)


@jumps
@pytest.mark.parametrize("per_minute", [None, 600])
def test_a_pause_of_thirty_seconds_is_one_of_thirty_seconds(jump, per_minute):
    clock = FakeClock()
    Budget(PLACE, per_minute=per_minute, clock=clock).not_before(30)
    clock.wait(10)
    clock.time += jump
    other = Budget(PLACE, per_minute=per_minute, clock=clock)  # another process
    assert other.reserve() == pytest.approx(20)
    assert other.reserve() < 1


@jumps
def test_a_jump_while_somebody_waits_changes_nothing(jump):
    class Set(FakeClock):
        def wait(self, seconds):
            super().wait(seconds)
            if seconds > 0 and todo:
                self.time += todo.pop()

    todo = []
    clock = Set()
    budget = Budget(PLACE, per_minute=6, clock=clock)
    budget.reserve()
    todo.append(jump)
    assert budget.reserve() == pytest.approx(10.2)
    assert budget.reserve() == pytest.approx(10.2)


@jumps
def test_a_jump_leaves_the_minutes_of_a_service_near(jump):
    clock = FakeClock()
    minutes = MinuteBudget(PLACE, 60, clock=clock)
    for _ in range(61):
        minutes.reserve()
    clock.time += jump
    assert MinuteBudget(PLACE, 60, clock=clock).reserve() <= 61


def test_what_the_service_announced_is_for_that_minute_only():
    clock = FakeClock()
    budget = AnnouncedBudget(
        PLACE, {"any": 60}, 1000, lambda _: "any", lambda _: {}, clock=clock, label="example"
    )
    record_limit(budget.kinds["any"], HEARD_MINUTE, LimitStatus(60, 0, clock.now() + 60), 60)
    clock.time -= 7200
    assert budget.reserve(Request("GET", "/x")) <= 121


def restart(clock, boot):
    "The machine is started again: its count begins at nought."
    clock.passed = 0.0
    clock.boot = lambda: boot


@pytest.mark.parametrize("boot", ["another", ""], ids=["known", "not known"])
@pytest.mark.parametrize("jump", [0, -7200, 7200])
def test_after_a_restart_nothing_is_believed_beyond_what_was_announced(boot, jump):
    clock = FakeClock()
    clock.boot = lambda: "one" if boot else ""
    clock.passed = 50_000.0
    budget = Budget(PLACE, per_minute=600, clock=clock)
    budget.not_before(30)
    budget.reserve()
    budget.not_before(30)
    restart(clock, boot)
    clock.time += jump
    assert Budget(PLACE, per_minute=600, clock=clock).reserve() <= 60.1


def test_a_file_of_an_older_version_is_read_and_not_believed_too_far():
    budget_path().parent.mkdir(parents=True)
    clock = FakeClock()
    place = Budget(PLACE)._row.place
    with sqlite3.connect(budget_path()) as con:
        con.execute(
            """CREATE TABLE budgets (place TEXT PRIMARY KEY, label TEXT,
               per_minute INT, per_day INT,
               slot REAL NOT NULL DEFAULT 0, next REAL NOT NULL DEFAULT 0,
               not_before REAL NOT NULL DEFAULT 0, day INT NOT NULL DEFAULT 0,
               used INT NOT NULL DEFAULT 0)"""
        )
        con.execute(
            "INSERT INTO budgets (place, label, next, not_before) VALUES (?, 'acme', ?, ?)",
            (place, clock.now() + 1800, clock.now() + 7200),
        )
    con.close()
    assert len(all_budgets(clock=clock)) == 1
    assert Budget(PLACE, per_minute=60, clock=clock).reserve() <= 900


CHILD = """
import sys, time
away, real = float(sys.argv[2]), time.time
time.time = lambda: real() + away
from domostats.transport.budget import Budget
from domostats.transport.clock import without_waits
budget = Budget(sys.argv[1], per_minute=600)
with without_waits() as waited:
    budget.reserve()
print(max(waited, default=0))
"""


@pytest.mark.parametrize("away", [-1800, -7200, 7200])
def test_processes_with_clocks_that_differ_agree_on_the_count(away):
    "The clock of the machine itself, in processes of their own."
    Budget(PLACE, per_minute=600).not_before(30)

    def other(by):
        done = subprocess.run(
            [sys.executable, "-c", CHILD, PLACE, str(by)],
            capture_output=True,
            text=True,
            check=True,
        )
        return float(done.stdout)

    assert 10 < other(away) <= 31
    assert 10 < other(0) <= 31


def test_a_date_in_retry_after_is_read_by_the_clock_of_the_service():
    headers = {"date": "Mon, 01 Apr 2024 12:00:00 GMT"}
    headers["retry-after"] = "Mon, 01 Apr 2024 12:00:30 GMT"
    with pytest.raises(RetryLaterError, match="in 30 seconds") as told:
        check_available(Answer("GET", "https://acme.domo.com/x", 429, b"", headers, 0.1))
    assert told.value.retry_after == 30


def test_a_date_in_retry_after_without_a_date_beside_it():
    headers = {"retry-after": "Mon, 01 Apr 2024 12:00:30 GMT"}
    with pytest.raises(RetryLaterError) as told:
        check_available(Answer("GET", "https://acme.domo.com/x", 429, b"", headers, 0.1))
    assert told.value.retry_after == 0


def test_a_deadline_is_not_moved_by_the_clock():
    clock, looks = FakeClock(), []
    connection = Connection(Instance("acme", "http://127.0.0.1:1"), NoAuth())
    connection.go_by(clock)

    def look():
        looks.append(clock.steady())
        clock.time -= 1800
        return 30

    with pytest.raises(RetryLaterError) as told:
        wait_until(connection, look, deadline=300)
    assert told.value.reason == "not_in_time" and looks == [30.0 * n for n in range(11)]


def test_the_count_goes_on_and_is_no_time_of_day(monkeypatch):
    clock = Clock()
    before = clock.steady()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    after = clock.steady()
    assert 0 <= after - before < 60 and clock.now() == 0


def test_a_wait_of_more_than_a_minute_says_why(caplog):
    clock = FakeClock()
    budget = Budget(PLACE, per_minute=600, clock=clock, label="acme, ada")
    budget.reserve()
    budget.reserve()
    assert not caplog.records
    budget.not_before(200)
    budget.reserve()
    assert [record.getMessage() for record in caplog.records] == [
        "Waiting for 3 min 20 s, until 00:03:20 UTC: acme, ada asked for a pause."
    ]
    assert caplog.records[0].levelname == "WARNING"


def test_a_long_queue_says_so_once(caplog):
    clock = FakeClock()
    budget = Budget(PLACE, per_minute=6, clock=clock, label="acme")
    budget.reserve()
    with sqlite3.connect(budget_path()) as con:
        con.execute("UPDATE budgets SET next = next + 20 * 10.2")
    waited = [budget.reserve() for _ in range(3)]
    assert waited[0] == pytest.approx(214.2) and len(caplog.records) == 1
    said = caplog.records[0].getMessage()
    assert "acme may be asked every 10.2 s" in said and "3 min 34 s" in said


def test_a_minute_of_a_service_that_is_full_says_so(caplog):
    clock = FakeClock()
    minutes = MinuteBudget(PLACE, 60, clock=clock, label="example")
    minutes.not_before(300)
    minutes.reserve()
    assert len(caplog.records) == 1 and "example" in caplog.records[0].getMessage()


def test_what_is_said_is_seen_without_any_setting():
    code = """
from domostats.transport.clock import Clock, wait_with_reason, without_waits
with without_waits():
    wait_with_reason(Clock(), 61, "the service asked for a pause")
    wait_with_reason(Clock(), 60, "nothing to speak of")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "" and done.stderr.startswith("Waiting for 1 min 1 s, until ")
    assert done.stderr.endswith("UTC: the service asked for a pause.\n")
