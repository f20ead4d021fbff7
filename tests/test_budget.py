"""The budget under many hands, in a time that passes only where somebody waits for it."""

import gc
import multiprocessing
import os
import pickle
import random
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from domostats.errors import DestinationError, RetryLaterError, SettingsError
from domostats.transport import clock as clocks
from domostats.transport.budget import Budget, all_budgets
from domostats.transport.budget_file import budget_path, named_trouble
from domostats.transport.clock import Clock, FakeClock


@pytest.fixture(autouse=True)
def no_waits():
    "Here time is held by the tests themselves."


PLACE = "https://acme.domo.com|0123456789abcdef"
PROCESSES, THREADS = 4, 10
DAY = 86_400


def busiest(times):
    "The most calls in any one second."
    return max(
        sum(at <= other < at + 1 for other in times[i : i + 1000]) for i, at in enumerate(times)
    )


def crowd(seconds, refuse_at=None, retry_after=30, disturb=None, per_minute=600):
    """What four budgets with ten threads each do: starts and arrivals as sorted [(second,
    process)], and when a 429 came."""
    clock = FakeClock(threads=PROCESSES * THREADS)
    begin, starts, arrivals, refused, lock = clock.now(), [], [], [], threading.Lock()
    budgets = [Budget(PLACE, per_minute=per_minute, clock=clock) for _ in range(PROCESSES)]

    def thread(number):
        chance, budget = random.Random(number), budgets[number % PROCESSES]
        try:
            while clock.now() - begin < seconds:
                budget.reserve()
                starts.append((clock.now() - begin, number % PROCESSES))
                clock.wait(chance.uniform(0.01, 0.6))  # on the way
                with lock:
                    at = clock.now() - begin
                    arrivals.append((at, number % PROCESSES))
                    refuse = refuse_at is not None and at >= refuse_at and not refused
                    if refuse:
                        refused.append(at)
                if refuse:
                    budget.not_before(retry_after)
                if disturb:
                    disturb(clock, at)
                clock.wait(chance.uniform(0.01, 0.3))  # on the way back
        finally:
            clock.done()

    with ThreadPoolExecutor(PROCESSES * THREADS) as threads:
        list(threads.map(thread, range(PROCESSES * THREADS)))
    return sorted(starts), sorted(arrivals), refused


def test_a_crowd_uses_the_minute_and_no_more():
    _, arrivals, _ = crowd(180)
    minutes = Counter(int(at // 60) for at, _ in arrivals)
    for minute in range(3):
        assert 0.95 * 600 <= minutes[minute] <= 600, minutes
    assert busiest([at for at, _ in arrivals]) <= 20
    shares = Counter(process for _, process in arrivals)
    assert len(shares) == PROCESSES and min(shares.values()) >= 0.6 * len(arrivals) / PROCESSES, (
        shares
    )


def test_after_a_429_everybody_waits_what_it_asks_and_no_more():
    starts, arrivals, (refused,) = crowd(150, refuse_at=20, retry_after=30)
    over = refused + 30
    assert not [at for at, _ in starts if refused < at < over - 1e-3]
    after = [at for at, _ in starts if at >= over - 1e-3]
    assert after[0] - over < 0.11
    assert (
        max(b - a for a, b in pairwise(after[:40])) < 0.11
        and min(b - a for a, b in pairwise(after[:40])) > 0.1
    )
    minutes = Counter(int(at // 60) for at, _ in arrivals)
    assert minutes[1] >= 0.95 * 600 and max(minutes.values()) <= 600


def test_a_machine_that_was_asleep_makes_no_stampede():
    def asleep(clock, at):
        if at >= 20 and not done:
            done.append(at)
            clock.passed += 100  # forty threads wait, and all their slots pass
            clock.time += 100

    done = []
    starts, _, _ = crowd(180, disturb=asleep)
    awake = [at for at, _ in starts if at >= done[0] + 100]
    assert len(awake) > 400 and busiest(awake) <= 20


def test_without_a_minute_limit_a_429_still_ends_smoothly():
    starts, _, (refused,) = crowd(40, refuse_at=5, retry_after=20, per_minute=None)
    assert not [at for at, _ in starts if refused < at < refused + 20 - 1e-3]
    assert busiest([at for at, _ in starts if refused + 20 - 1e-3 <= at < refused + 21]) <= 21
    assert sum(refused + 23 <= at for at, _ in starts) > 40 * 12, "it goes at full speed again"


def test_nothing_is_saved_up_in_a_pause():
    clock = FakeClock()
    budget = Budget(PLACE, per_minute=60, clock=clock)
    budget.reserve()
    clock.wait(3600)
    assert budget.reserve() == 0
    assert [round(budget.reserve(), 2) for _ in range(5)] == [1.02] * 5


def test_the_day_ends_with_an_error_and_at_midnight():
    clock = FakeClock()
    clock.wait(23 * 3600)
    one, other = (Budget(PLACE, per_day=5, clock=clock) for _ in range(2))
    for budget in (one, one, one, other, other):
        assert budget.reserve() == 0
    for budget in (one, other):
        with pytest.raises(RetryLaterError, match="midnight UTC, in 1 h 0 min") as error:
            budget.reserve()
        assert (
            error.value.reason == "day_used_up"
            and error.value.retry_after == 3600
            and budget.left == 0
        )
    clock.wait(3600)
    assert one.left == 5 and one.reserve() == 0 and other.left == 4


def test_a_call_that_is_put_off_counts_once():
    class Meanwhile(FakeClock):
        def wait(self, seconds):
            super().wait(seconds)
            if asked and seconds > 0:
                Budget(PLACE, 60, 10, clock=self).not_before(asked.pop())

    asked, clock = [], Meanwhile()
    budget = Budget(PLACE, per_minute=60, per_day=10, clock=clock)
    budget.reserve()
    asked += [30, 20]
    assert budget.reserve() == pytest.approx(1.02 + 20 + 30)
    assert budget.left == 8


def test_a_call_that_is_put_off_for_ever_ends():
    class Refusing(FakeClock):
        def wait(self, seconds):
            super().wait(seconds)
            budget.not_before(10)

    budget = Budget(PLACE, per_minute=60, clock=Refusing())
    with pytest.raises(RetryLaterError) as error:
        budget.reserve()
    assert error.value.reason == "no_slot"


def test_not_before_is_never_shortened_and_never_longer_than_a_day():
    clock = FakeClock()
    budget = Budget(PLACE, clock=clock)
    budget.not_before(50)
    budget.not_before(5)
    assert budget.reserve() == pytest.approx(50)
    budget.not_before(10**9)
    assert budget.reserve() == pytest.approx(DAY)


@pytest.mark.parametrize("back", [3 * 3600, 40 * DAY], ids=["hours", "weeks"])
def test_a_clock_that_is_set_back_stops_nobody(back):
    clock = FakeClock()
    budget = Budget(PLACE, per_minute=60, per_day=100, clock=clock)
    budget.reserve()
    clock.time -= back
    assert budget.reserve() <= 1.02 + 1e-6


def test_a_clock_that_is_set_back_leaves_a_429_as_long_as_it_was():
    clock = FakeClock()
    budget = Budget(PLACE, clock=clock)
    budget.not_before(600)
    clock.wait(100)
    clock.time -= 40 * DAY
    shown = all_budgets(clock=clock).not_before[0].timestamp() - clock.now()
    assert shown == pytest.approx(500) and budget.estimate(1) == pytest.approx(500)
    assert budget.reserve() == pytest.approx(500)
    assert budget.reserve() <= 0.05 + 1e-6


def test_other_places_are_other_budgets():
    clock = FakeClock()
    for user in ("ada", "bob"):
        assert Budget(f"https://acme.domo.com|{user}", per_minute=1, clock=clock).reserve() == 0


CHILD = """
import sys
from domostats.transport.budget import Budget
from domostats.transport.clock import without_waits
budget = Budget(sys.argv[1], per_minute=600)
with without_waits() as waited:
    for _ in range(int(sys.argv[2])): budget.reserve()
print(waited[0] if waited else 0)
"""


def child(calls):
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, PLACE, str(calls)], stdout=subprocess.PIPE, text=True
    )


def test_another_process_heeds_what_this_one_was_told():
    Budget(PLACE).not_before(5000)
    said = float(child(1).communicate(timeout=60)[0])
    assert 4000 < said <= 5000


def test_processes_that_start_together_count_together():
    children = [child(50) for _ in range(PROCESSES)]  # no file yet: all make it
    assert all(one.wait(timeout=60) == 0 for one in children)
    for one in children:
        one.stdout.close()
    assert all_budgets().used_today.sum() == 50 * PROCESSES
    assert Budget(PLACE, per_minute=600).estimate(1) > 0.102 * 50 * PROCESSES - 60


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_and_a_copy_go_on():
    budget = Budget(PLACE, per_day=10)
    budget.reserve()
    gc.collect()  # a child crashes that collects what other tests have left of DuckDB
    forked = multiprocessing.get_context("fork").Process(target=budget.reserve)
    (shared,) = budget._row._shared.values()
    with shared.lock:  # as if another thread were just at the file
        forked.start()
        forked.join(20)
    forked.kill()
    assert forked.exitcode == 0
    pickle.loads(pickle.dumps(budget)).reserve()
    assert budget.left == 7


def test_the_file_is_nobody_elses_and_names_nobody():
    budget = Budget(PLACE, per_day=10, label="acme")
    budget.reserve()
    path = budget_path()
    assert str(path).startswith(os.environ["XDG_STATE_HOME"])
    assert path.parent.stat().st_mode & 0o777 == 0o700
    for file in path.parent.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600, file
        assert (
            b"acme.domo" not in file.read_bytes() and b"0123456789abcdef" not in file.read_bytes()
        )


def test_the_table_of_all_budgets():
    assert all_budgets().empty and not budget_path().exists()
    clock = FakeClock()
    Budget("a", per_minute=600, per_day=10_000, clock=clock, label="acme, ada").reserve()
    Budget("b", clock=clock, label="acme, bob").not_before(60)
    frame = all_budgets(clock=clock)
    assert frame.place.tolist() == ["acme, ada", "acme, bob"] and frame.per_minute.fillna(
        0
    ).tolist() == [600, 0]
    assert frame.used_today.tolist() == [1, 0] and frame.left_today.fillna(-1).tolist() == [
        9999,
        -1,
    ]
    assert (frame.not_before[1] - frame.next_slot[0]).total_seconds() == pytest.approx(
        60 - 0.102, abs=1e-3
    ) and frame.not_before.isna()[0]
    assert frame.next_slot[1] == frame.not_before[1]


def test_the_table_of_all_budgets_goes_by_their_names():
    labels = [f"acme, {name}" for name in ("eve", "bob", "dan", "ada", "fay", "cid")]
    for number, label in enumerate(labels):
        Budget(f"place {number}", per_minute=60, label=label).reserve()
    shown = [f"acme, {name}" for name in ("ada", "bob", "cid", "dan", "eve", "fay")]
    assert all_budgets().place.tolist() == shown


def test_words():
    clock = FakeClock()
    assert repr(Budget("a", clock=clock)) == "<budget: no limit>"
    assert (
        repr(Budget("b", per_minute=1200, per_day=20_000, clock=clock))
        == "<budget: 1 200 a minute; 20 000 of 20 000 left today>"
    )
    budget_path().write_bytes(b"no database" * 1000)
    assert repr(Budget("c", per_day=20_000, clock=clock)) == "<budget: 20 000 a day>"


@pytest.mark.parametrize("limit", [0, -1, 1.5, "600", True])
def test_a_limit_is_a_whole_number(limit):
    for name in ("per_minute", "per_day"):
        with pytest.raises(SettingsError) as error:
            Budget(PLACE, **{name: limit})
        assert error.value.reason == "bad_budget" and name in str(error.value)


def test_a_locked_file_is_named():
    budget = Budget(PLACE)
    budget.reserve()
    budget = Budget(PLACE)
    budget._row.patience = 0.1
    holder = sqlite3.connect(budget_path(), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(DestinationError) as error:
            budget.reserve()
    finally:
        holder.close()
    assert error.value.reason == "budget_busy" and str(budget_path()) in str(error.value)
    assert budget.reserve() >= 0


@pytest.mark.parametrize("content", [b"", b"no database" * 1000], ids=["empty", "other"])
def test_a_broken_file_is_named_and_may_be_deleted(content):
    budget_path().parent.mkdir(parents=True)
    budget_path().write_bytes(content)
    budget = Budget(PLACE, per_day=3)
    for use in (budget.reserve, lambda: budget.left, all_budgets):
        with pytest.raises(DestinationError, match="delete it") as error:
            use()
        assert error.value.reason == "budget_broken" and str(budget_path()) in str(error.value)
    for file in list(budget_path().parent.iterdir()):
        file.unlink()
    budget.reserve()
    assert budget.left == 2


@pytest.mark.parametrize(
    "error, reason",
    [
        (sqlite3.OperationalError("database is locked"), "busy"),
        (sqlite3.OperationalError("unable to open database file"), "no_budget"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "no_budget"),
        (sqlite3.OperationalError("disk I/O error"), "no_budget"),
        (sqlite3.OperationalError("database or disk is full"), "no_budget"),
        (sqlite3.OperationalError("locking protocol"), "no_budget"),
        (PermissionError(13, "Permission denied"), "no_budget"),
        (sqlite3.DatabaseError("database disk image is malformed"), "budget_broken"),
        (sqlite3.DatabaseError("file is not a database"), "budget_broken"),
    ],
    ids=str,
)
def test_what_sqlite_says_is_trouble_of_its_own_kind(tmp_path, error, reason):
    with pytest.raises(DestinationError) as told, named_trouble(tmp_path / "budgets"):
        raise error
    assert told.value.reason == reason and str(tmp_path / "budgets") in str(told.value)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DestinationError) as error:
        Budget(PLACE, folder=tmp_path / "file").reserve()
    assert error.value.reason == "no_budget" and str(tmp_path / "file") in str(error.value)


def test_waits_go_off_and_on_again():
    with clocks.without_waits() as waited:
        Clock().wait(1000)
        with clocks.without_waits():
            clocks.wait(2000)
        clocks.wait(-1)
    assert waited == [1000, 2000] and not clocks._off
    clocks.set_waits(False)
    try:
        clocks.wait(3000)
        assert clocks.waited == [3000]
    finally:
        clocks.set_waits(True)


def test_the_limits_that_were_set_last_count_for_everybody():
    clock = FakeClock()
    older = Budget(PLACE, per_day=2, clock=clock)
    older.reserve()
    newer = Budget(PLACE, per_day=5, clock=clock)
    newer.reserve()
    for budget in (older, newer, older):
        assert budget.reserve() == 0
    assert (older.left, newer.left) == (0, 0)
    for budget in (older, newer):
        with pytest.raises(RetryLaterError, match="All 5 calls of today are used"):
            budget.reserve()


def test_a_pause_of_less_than_nothing_is_none():
    clock = FakeClock()
    budget = Budget(PLACE, clock=clock)
    budget.not_before(-50)
    assert budget.reserve() == 0 and clock.passed == 0
    budget.not_before(30)
    budget.not_before(-50)
    assert budget.reserve() == pytest.approx(30)


def test_a_python_with_an_old_sqlite_is_told(monkeypatch):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.34.1")
    with pytest.raises(SettingsError, match="SQLite 3.35 or newer.*3.34.1. Use a newer") as told:
        Budget(PLACE).reserve()
    assert told.value.reason == "old_sqlite"
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 35, 0))
    assert Budget(PLACE).reserve() == 0


@pytest.mark.parametrize("seconds", [0, 59, 3599])
def test_a_call_may_start_a_second_after_its_slot_and_no_later(seconds):
    "What is left of a queue when the machine slept is given out anew, one step after the other."

    class Sleepy(FakeClock):
        def wait(self, seconds):
            super().wait(seconds + (late.pop() if late and seconds > 0 else 0))

    clock, late = Sleepy(), []
    budget = Budget(PLACE, per_minute=60, clock=clock)
    clock.wait(seconds)
    start = clock.passed
    budget.reserve()
    late.append(0.9)
    assert budget.reserve() == pytest.approx(1.92)
    late.append(1.5)
    assert budget.reserve() == pytest.approx(0.12 + 1.5)
    assert clock.passed - start == pytest.approx(1.92 + 1.62)
    assert budget.reserve() == pytest.approx(1.02)
