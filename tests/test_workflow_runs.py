"""Runs of workflows: tried again, ended in time, on any executor, and taken up where they were."""

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import KILLS

from domostats.errors import (
    AccessError,
    CodeError,
    CredentialsError,
    DataError,
    RetryLaterError,
    SettingsError,
)
from domostats.tracking.registry.api import make_observatory_api
from domostats.tracking.registry.entities import (
    Dataset,
    DatasetType,
    Organisation,
    TableType,
    WorkflowType,
)
from domostats.tracking.registry.entities import Workflow as Flow
from domostats.tracking.registry.run_records import run_record
from domostats.tracking.registry.task_runs import Task, failed_releases, run_each, run_task
from domostats.tracking.registry.time_limits import time_limit
from domostats.tracking.registry.workflow import Workflow

NAMES = [f"instance{n}" for n in range(12)]


class Night(Workflow):
    "A workflow about these releases."

    def __init__(self, releases, *tasks, api=None, **options):
        super().__init__("night", api=api)
        self.releases = releases
        for task in tasks:
            self.add_task(task, **options)

    def make_release(self, **kwargs):
        return self.releases


def failing(errors, result=None):
    "A function that raises these errors, one at each call, and then gives the result."
    left = [*errors]

    def function(*_, **kwargs):
        if left:
            raise left.pop(0)
        return result

    return function


# --- once more ------------------------------------------------------------------------------------


def test_an_error_is_tried_again_as_often_as_it_may_be_and_not_more(no_waits):
    errors = [ConnectionError(str(n)) for n in range(3)]
    assert run_task(Task("t", failing(errors, 27), retries=3, retry_wait=5), [], {}) == 27
    assert no_waits == [5, 5, 5]
    with pytest.raises(ConnectionError, match="2"):
        run_task(Task("t", failing(errors), retries=2), [], {})


def test_a_pause_that_the_service_asks_for_is_kept(no_waits):
    asked = RetryLaterError("a pause", "rate_limited", retry_after=300)
    assert run_task(Task("t", failing([asked], 1), retries=1, retry_wait=5), [], {}) == 1
    assert no_waits == [300]


@pytest.mark.parametrize("kind", [SettingsError, CredentialsError, AccessError])
def test_what_waiting_does_not_mend_is_not_tried_again(kind, no_waits):
    with pytest.raises(kind):
        run_task(Task("t", failing([kind("no")], 1), retries=5), [], {})
    assert not no_waits


def test_ctrl_c_is_no_error_to_be_tried_again():
    with pytest.raises(KeyboardInterrupt):
        run_task(Task("t", failing([KeyboardInterrupt()], 1), retries=5), [], {})


def test_the_options_of_a_task_reach_it(no_waits):
    night = Night(["a"], failing([ConnectionError()], 5), task_id="load", retries=1, pool="x")
    [task] = night.tasks
    assert (task.name, task.retries, task.options) == ("load", 1, {"pool": "x"})
    assert night.run().results == {"load": 5} and no_waits == [60]


@pytest.mark.parametrize(
    "options", [{"retries": -1}, {"retries": 1.5}, {"retry_wait": -1}, {"timeout": 0}]
)
def test_numbers_that_say_nothing_are_refused(options):
    with pytest.raises(SettingsError) as refused:
        Night(["a"], failing([]), task_id="load", **options)
    assert refused.value.reason == "bad_argument"


# --- in time --------------------------------------------------------------------------------------


def hang(*_, **kwargs):
    while True:
        try:
            time.sleep(0.001)
        except Exception:  # a task that holds everything up
            continue


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no alarms on this system")
def test_a_task_that_hangs_is_ended_and_tried_again(no_waits):
    with pytest.raises(RetryLaterError) as late:
        run_task(Task("load", hang, retries=1, timeout=0.02), [], {})
    assert late.value.reason == "not_in_time" and "Task load" in str(late.value)
    assert no_waits == [60]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no alarms on this system")
def test_an_alarm_that_was_set_before_still_rings():
    rung = []
    handler = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    before = signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with time_limit(30, "nothing"):
            pass
        with pytest.raises(RetryLaterError), time_limit(0.01, "hanging"):
            hang()
        for _ in range(1000):
            if rung:
                break
            time.sleep(0.01)
    finally:
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *before)
    assert rung


def test_another_thread_is_told_afterwards():
    told = []

    def work():
        try:
            with time_limit(0.001, "Task load"):
                time.sleep(0.01)
        except RetryLaterError as late:
            told.append(late.reason)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert told == ["not_in_time"]


# --- each by itself -------------------------------------------------------------------------------


def measure(release, **kwargs):
    "A function of a module, which can be sent to another process."
    if release.endswith("3"):
        raise RetryLaterError("out of order", "unavailable", retry_after=7)
    if release.endswith("5"):
        raise ValueError(release)
    return {"rows": len(release), "run": kwargs["run_id"]}


@pytest.mark.parametrize("pool", [None, ThreadPoolExecutor, ProcessPoolExecutor])
def test_one_that_fails_fails_alone_in_every_executor(pool):
    night = Night(NAMES, measure, each=True)
    night.add_task(lambda releases, **kwargs: [*releases], task_id="load")
    with pytest.raises(RetryLaterError) as told:
        if pool is None:
            night.run("r")
        else:
            with pool(3) as executor:
                night.run("r", executor=executor)
    whole = [name for name in NAMES if name not in ("instance3", "instance5")]
    run = night.current
    assert run.results["measure"] == {n: {"rows": len(n), "run": "r"} for n in whole}
    assert [*run.results["measure"]] == whole == run.results["load"] == run.releases
    failures = told.value.failures
    assert [*failures] == ["measure instance3", "measure instance5"]
    first, second = failures.values()
    assert (first.reason, first.retry_after, type(second)) == ("unavailable", 7, ValueError)
    assert told.value.reason == "some_failed" and "instance5: ValueError" in str(told.value)
    assert run.ended is not None


def test_where_all_fail_nothing_is_done_with_none():
    night = Night(NAMES, failing([ValueError(name) for name in NAMES]), task_id="ask", each=True)
    night.add_task(lambda releases, **kwargs: 1 / 0, task_id="load")
    with pytest.raises(CodeError, match="failed for 12"):
        night.run()
    assert "load" not in night.current.results


def test_one_release_that_is_no_list_is_handed_on_as_it_is():
    night = Night("acme", lambda release, **kwargs: release, task_id="ask", each=True)
    night.add_task(lambda release, **kwargs: release, task_id="load")
    assert night.run().results == {"ask": {"acme": "acme"}, "load": "acme"}


@pytest.mark.parametrize(
    "releases, reason", [(["a", "b", "a"], "twice"), ([object()], "no_date"), ([1, "1"], "twice")]
)
def test_releases_that_cannot_be_told_apart_are_refused_before_any_is_begun(releases, reason):
    night = Night(releases, lambda release, **kwargs: 1 / 0, task_id="ask", each=True)
    with pytest.raises(DataError) as refused:
        night.run()
    assert refused.value.reason == reason


def test_the_kind_of_the_first_that_failed_says_how_a_program_ends():
    failures = {"a": AccessError("no", "forbidden"), "b": ValueError("x")}
    assert type(failed_releases(failures, "Task t")) is AccessError
    assert type(failed_releases({"b": ValueError("x")}, "Task t")) is CodeError


def test_ctrl_c_begins_no_more(tmp_path):
    begun = []

    def stop(release, **kwargs):
        begun.append(release)
        raise KeyboardInterrupt

    with ThreadPoolExecutor(1) as pool, pytest.raises(KeyboardInterrupt):
        run_each(Task("t", stop), {name: name for name in NAMES}, {}, pool)
    assert len(begun) < len(NAMES)


@pytest.fixture
def registered(tmp_path):
    "A registry with one dataset of one workflow."
    api = make_observatory_api(tmp_path / "registry.sqlite")
    flow = api.post_workflow(
        Flow(
            name="night",
            organisation=api.post_organisation(Organisation(name="Acme")),
            workflow_type=api.post_workflow_type(WorkflowType(type_id="night")),
        )
    )
    kind = DatasetType(
        type_id="k", table_type=api.post_table_type(TableType(type_id="partitioned"))
    )
    api.post_dataset(
        Dataset(
            name="d",
            service="bigquery",
            address="a.b.c",
            workflow=flow,
            dataset_type=api.post_dataset_type(kind),
        )
    )
    return api, flow.id


def test_only_what_was_loaded_is_written_down(registered):
    api, flow = registered
    days = [SimpleNamespace(snapshot_date=date(2024, 4, n)) for n in (1, 2, 3)]

    def load(release, **kwargs):
        if release.snapshot_date.day == 2:
            raise ConnectionError("out of order")

    night = Night(days, load, api=api, each=True)
    night.workflow_id = flow
    night.add_task(night.add_new_dataset_releases)
    with pytest.raises(CodeError):
        night.run()
    found = {str(one.snapshot_date)[:10] for one in api.get_dataset_releases()}
    assert found == {"2024-04-01", "2024-04-03"}


# --- taken up -------------------------------------------------------------------------------------


def test_a_run_that_failed_goes_on_where_it_was():
    asked = []

    def ask(release, **kwargs):
        asked.append(release)
        if len(asked) == 2:
            raise ConnectionError("the network went down")
        return len(asked)

    def night():
        made = Night(["a", "b", "c"], ask, each=True)
        made.add_task(lambda releases, **kwargs: [*releases], task_id="load")
        return made

    with pytest.raises(CodeError):
        night().run("r", resume=True)
    assert asked == ["a", "b", "c"]
    again = night().run("r", resume=True)
    assert asked == ["a", "b", "c", "b"]
    assert again.results == {"ask": {"a": 1, "b": 4, "c": 3}, "load": ["a", "b", "c"]}
    assert night().run("r", resume=True).results["ask"] == {"a": 5, "b": 6, "c": 7}, "it had ended"


def test_a_task_that_was_done_for_fewer_releases_is_done_again():
    seen = []

    def load(releases, **kwargs):
        seen.append([*releases])

    def run(releases):
        night = Night(releases, load)
        night.add_task(failing([ConnectionError()]), task_id="send")
        with pytest.raises(ConnectionError):
            night.run("r", resume=True)

    for releases in (["a", "b"], ["b"], ["b", "c"], ["a", "b", "c"], ["c"]):
        run(releases)
    assert seen == [["a", "b"], ["b", "c"], ["a", "b", "c"]]


@pytest.mark.parametrize("result", [object(), {1: 2}, (1, 2), {"a": {3}}, float("nan"), b"x"])
def test_a_result_that_does_not_come_back_as_it_was_is_made_again(result):
    with run_record("w", "r") as record:
        record.note("t", ["a"], result)
        assert not record.find("t", ["a"])


@pytest.mark.parametrize("result", [None, 0, "", [1, "a", None], {"rows": 2.5, "ok": True}])
def test_a_plain_result_comes_back(result):
    with run_record("w", "r") as record:
        record.note("t", ["a"], result)
    with run_record("w", "r") as record:
        assert record.find("t", ["a"]) == [result]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"t": 5}', b'{"t": [{}]}'])
def test_a_record_that_cannot_be_read_makes_the_run_begin_anew(content, recwarn):
    with run_record("w", "r") as record:
        record.note("t", ["a"], 1)
        path = record.folder / "done.json"
    path.write_bytes(content)
    with run_record("w", "r") as record:
        assert not record.find("t", ["a"])
    assert len(recwarn) == 1


def test_two_programs_do_not_run_the_same_run():
    night = Night(["a"], failing([]), task_id="ask")
    with run_record("night", "r"), pytest.raises(RetryLaterError) as refused:
        night.run("r", resume=True)
    assert refused.value.reason == "already_running"
    assert night.run("r2", resume=True).ended and night.run("r", resume=True).ended


PROGRAM = """
import sys, time
from domostats.tracking.registry.workflow import Workflow

def load(release, **kwargs):
    with open("log", "a") as log:
        log.write(f"{release}\\n")
    time.sleep(0.02)
    return len(release)

class Night(Workflow):
    def __init__(self):
        super().__init__("night")
        self.add_task(load, each=True)
        self.add_task(self.total)

    def make_release(self, **kwargs):
        return [f"release{n}" for n in range(20)]

    def total(self, releases, **kwargs):
        return sum(self.current.results["load"].values())

print("ready", flush=True)
print(Night().run("r", resume=True).results["total"])
"""


@pytest.mark.slow
@pytest.mark.kills
def test_a_run_that_is_killed_goes_on_where_it_was(tmp_path, draws):
    command = [sys.executable, "-c", PROGRAM]
    killed = 0
    while True:
        program = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert program.stdout.readline() == "ready\n"
        if killed < KILLS:
            time.sleep(draws.uniform(0, 0.6 / KILLS))
            program.kill()
            killed += 1
        told, _ = program.communicate(timeout=60)
        if program.returncode == 0:
            break
    assert told == f"{sum(len(f'release{n}') for n in range(20))}\n"
    with open("log") as log:
        times = Counter(log.read().split())
    assert len(times) == 20 and sum(times.values()) <= 20 + killed
    assert [path.name for path in Path().iterdir()] == ["log"]
