"""A catch-up into BigQuery: it does what one into a store does, whatever is lost on the way."""

import os
import signal
import subprocess
import sys
import time as clock
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

pytest.importorskip("google.cloud.bigquery")

import test_registry
import test_release_order
import test_retention
from bigquery_support import PROJECT
from conftest import KILLS, ROOT
from test_incomplete_releases import (  # noqa: F401
    runs,
    test_a_day_that_was_extracted_incomplete_is_told_to_the_registry_when_it_is_whole,
    test_an_incomplete_run_does_not_replace_a_complete_release,
    test_nobody_builds_on_an_incomplete_release,
    test_where_nothing_complete_stands_an_incomplete_release_is_written_and_noted,
)
from test_registry import (  # noqa: F401
    dataset_of,
    test_a_failure_is_no_longer_spoken_of_when_the_release_is_loaded,
    test_a_run_of_another_user_of_this_machine_is_alive,
    test_a_run_that_died_here_holds_nothing_up,
    test_a_run_that_was_too_slow_leaves_its_release_to_the_one_that_took_it_over,
    test_an_interrupted_run_leaves_its_release_to_the_next,
    test_use_case_5b_a_release_is_recorded_after_its_load,
    test_use_case_8_the_engine_was_off_for_five_days,
    test_use_case_9_several_releases_in_one_run,
    test_use_case_10_table_names_from_table_types,
    test_use_case_12_how_far_a_source_drifted_while_it_was_read,
)
from test_release_order import (  # noqa: F401
    test_a_granularity_that_was_changed_before_is_found_and_nothing_is_loaded_again,
    test_a_store_that_was_filled_by_another_granularity_is_not_filled_again,
    test_of_two_releases_of_one_part_the_second_is_refused,
    test_releases_of_different_parts_all_stay,
)
from test_retention import (  # noqa: F401
    test_what_a_later_release_has_replaced_is_not_held_and_removing_it_takes_no_rows,
)

from domostats.errors import DestinationError, DomostatsError
from domostats.loading.bigquery import removing
from domostats.sandbox.bigquery.faults import BIGQUERY_FAULTS
from domostats.tracking.ledger import Load
from domostats.tracking.loads import Loads
from domostats.tracking.registry import policies
from domostats.tracking.registry.api import make_observatory_api
from domostats.tracking.registry.catch_up import CatchUp

pytest_plugins = "bigquery_support"
FIRST = date(2022, 1, 1)
LONG = 400  # seconds: on a machine with much else to do programs take their time
FAULTS = [fault for fault in BIGQUERY_FAULTS if fault != "slow"]


@pytest.fixture(autouse=True)
def on_bigquery(datasets, monkeypatch):
    "Where one of these tests opens a store it gets a dataset."
    for module in (test_registry, test_release_order, test_retention):
        monkeypatch.setattr(module, "Store", datasets.warehouse)
    return datasets


@pytest.fixture
def local(tmp_path):
    return make_observatory_api(tmp_path / "local.sqlite")


@pytest.fixture
def api(local):
    return local


@pytest.fixture
def store(datasets):
    made = datasets.warehouse()
    made.path = Path.cwd() / "store"  # where the tests put the registry
    return made


@pytest.fixture
def ledger(store):
    return Loads(store)


def ns(store, table="sales"):
    "The numbers in a table, sorted."
    return sorted(store.read(table)["n"].to_pylist())


# where the rows go


@pytest.mark.parametrize("kind", ["regular", "sharded", "partitioned"])
def test_the_tables_of_a_dataset_that_lies_here(local, store, kind):
    address = f"{store.connection}.sales"
    dataset = dataset_of(local, "s", table_type=kind, service="bigquery", address=address)
    catching = CatchUp(dataset, local, store)
    days = [FIRST, FIRST + timedelta(1)]
    assert len(catching.run(days, lambda day: pa.table({"n": [day.day]})).loaded) == 2
    names = ["sales20220101", "sales20220102"] if kind == "sharded" else ["sales"]
    assert store.names() == names
    assert sorted(n for name in names for n in ns(store, name)) == [1, 2]
    if kind != "sharded":
        parts = {row["n"]: row["__partition__"] for row in store.read("sales").to_pylist()}
        expected = {"regular": "s:2022-01-01", "partitioned": "20220101"}
        assert parts[1] == expected[kind]
    assert {line.dataset for line in catching.ledger.lines()} == {f"bigquery:{address}"}


def test_a_dataset_that_lies_elsewhere_is_not_written_here(local, store):
    dataset = dataset_of(local, "s", service="bigquery", address=f"{PROJECT}.elsewhere.sales")
    done = CatchUp(dataset, local, store).run([FIRST], lambda day: pa.table({"n": [1]}))
    [error] = done.failures.values()
    assert error.reason == "bad_destination" and "elsewhere" in str(error)
    assert store.names() == []


def test_tables_of_the_kit_are_no_tables_for_releases(ledger):
    for name in ("kit_loads", "domostats_notes"):
        with pytest.raises(DomostatsError) as caught:
            ledger.load(name, "s:2022-01-01", pa.table({"n": [1]}))
        assert caught.value.reason == "bad_name"


# two programs


def test_of_two_that_write_a_table_at_once_one_is_refused_with_its_line(store, ledger):
    def overtaken(lines):
        Loads(store).load("sales", "s:2022-01-01", pa.table({"n": [1, 2]}), run="quick")

    for n, overtaking in enumerate((True, False)):
        line = Load("sales", f"s:2022-01-0{n + 1}", 0, "slow")
        rows = pa.table({"n": [7]})
        arguments = line, rows, "sales", line.release_key, False
        if overtaking:
            with pytest.raises(DestinationError) as caught:
                ledger.write_release(*arguments, check=overtaken)
            assert caught.value.reason == "changed_meanwhile"
            assert ns(store) == [1, 2]
            assert [(one.run, one.row_count) for one in ledger.lines()] == [("quick", 2)]
        else:
            ledger.write_release(*arguments)
    assert ns(store) == [1, 2, 7]


def test_what_is_removed_while_it_is_written_is_not_half_there(store, ledger):
    def removed(lines):
        Loads(store).remove("sales", "s:2022-01-01")

    line = Load("sales", "s:2022-01-01", 0, "slow")
    rows = pa.table({"n": [7]})
    ledger.load("sales", "s:2022-01-01", rows)
    with pytest.raises(DestinationError) as caught:
        ledger.write_release(line, rows, "sales", line.release_key, check=removed)
    assert caught.value.reason == "changed_meanwhile"
    assert ledger.lines() == []
    ledger.write_release(line, rows, "sales", line.release_key)
    assert ns(store) == [7]


def test_what_is_loaded_while_it_is_removed_stays_with_its_line(store, ledger, monkeypatch):
    usual = removing.run_noted

    def late(*arguments):
        monkeypatch.setattr(removing, "run_noted", usual)
        Loads(store).load("sales", "s:2022-01-01", pa.table({"n": [7]}))
        usual(*arguments)

    ledger.load("sales", "s:2022-01-02", pa.table({"n": [2]}))
    monkeypatch.setattr(removing, "run_noted", late)
    with pytest.raises(DestinationError) as caught:
        ledger.remove("sales", "s:2022-01-01")
    assert caught.value.reason == "changed_meanwhile"
    assert ns(store) == [2, 7] and ledger.keys("sales") == ["s:2022-01-01", "s:2022-01-02"]


@pytest.mark.parametrize("by", ["the kit", "another program"])
def test_rows_that_come_before_an_empty_table_is_dropped_keep_it(store, ledger, monkeypatch, by):
    ledger.load("sales", "s:2022-01-01", pa.table({"n": [1]}))

    def come(client, settings, table):
        if by == "the kit":
            Loads(store).load("sales", "s:2022-01-02", pa.table({"n": [2]}))
        else:
            client.query(f"INSERT INTO {table.sql()} (n) VALUES (2)").result()
        return False  # it was empty a moment ago

    monkeypatch.setattr(removing, "_has_rows", come)
    ledger.remove("sales", "s:2022-01-01")
    assert ns(store) == [2]
    ledger.load("sales", "s:2022-01-03", pa.table({"n": [3]}))
    assert ns(store) == [2, 3]


# what is lost


class Caught:
    "A catch-up of one release at a time, each of a day that nobody has had."

    def __init__(self, api, store, box):
        self.box = box
        self.store = store
        self.api = api
        self.dataset = dataset_of(api, "sales", address="sales")
        self.next = FIRST

    def take(self):
        day, self.next = self.next, self.next + timedelta(1)
        return day

    def run(self, day):
        return CatchUp(self.dataset, self.api, self.store).run(
            [day], lambda one: pa.table({"day": [one] * 3, "n": [1, 2, 3]})
        )

    def rows(self, day):
        "The rows of a day, from the sandbox itself."
        dataset = self.store.connection.settings.dataset
        tables = self.box.datasets[dataset].tables
        found = self.box.table(f"{dataset}.sales").to_pylist() if "sales" in tables else []
        return sorted(row["n"] for row in found if row["day"] == day)

    def check(self, fault, n):
        "Run with a fault at the n-th request, look, and run again without."
        day = self.take()
        self.box.fail(fault, after=n)
        try:
            done = self.run(day)
            failed = [*done.failures.values()]
        except DomostatsError as e:  # the ledger could not be read: nothing was begun
            failed = [e]
            assert self.rows(day) == [], (fault, n)
        self.box.heal()
        assert self.rows(day) in ([1, 2, 3], []), (fault, n)
        assert all(isinstance(one, DomostatsError) for one in failed), (fault, n, failed)
        if not failed:
            assert self.rows(day) == [1, 2, 3], (fault, n)
        again = self.run(day)
        assert again.failures == {} and again.claimed_elsewhere == [], (fault, n)
        self.look(day, (fault, n))
        return bool(failed)

    def look(self, day, what):
        key = f"s:{day}"
        assert self.rows(day) == [1, 2, 3], what
        [line] = [one for one in Loads(self.store).lines("duckdb:sales") if one.release_key == key]
        assert line.row_count == 3, what
        [release] = self.api.get_dataset_releases(10, self.dataset.id, release_key=key)
        assert (release.state, release.row_count) == ("loaded", 3), what

    def requests(self):
        self.run(self.take())
        self.box.log.clear()
        self.run(self.take())
        return len(self.box.log)


@pytest.fixture
def caught(local, store, served):
    return Caught(local, store, served)


@pytest.mark.slow
def test_faults_here_and_there_in_a_catch_up(caught, draws):
    n = caught.requests()
    assert n > 15
    for fault in FAULTS:
        caught.check(fault, draws.randrange(n))


# of each kind one: an answer that is lost, what says something of what is there, and a job
EVERYWHERE = "drop_after", "conflict", "not_found", "job_failed"


@pytest.mark.slow
@pytest.mark.parametrize("fault", EVERYWHERE)
def test_a_fault_at_every_request_of_a_catch_up(caught, fault):
    failed = Counter(caught.check(fault, n) for n in range(caught.requests()))
    if fault == "drop_after":
        assert failed[True] == 0  # asked again, and what was done is found
    assert sum(failed.values()) > 15


@pytest.mark.slow
@pytest.mark.parametrize("fault", EVERYWHERE)
def test_a_fault_at_every_request_of_a_removal(store, ledger, served, fault):
    def begin():
        ledger.load("sales", "s:2022-01-01", pa.table({"n": [1]}))

    begin()
    served.log.clear()
    ledger.remove("sales", "s:2022-01-01")
    requests = len(served.log)
    for n in range(requests):
        begin()
        served.fail(fault, after=n)
        try:
            ledger.remove("sales", "s:2022-01-01")
            told = None
        except DomostatsError as e:
            told = e
        served.heal()
        there = ns(store) if "sales" in store.names() else []
        if fault != "not_found":  # which may say that the table is not there
            assert (there == [1]) == bool(ledger.lines()), (fault, n)
            assert told or there == [], (fault, n)
        ledger.remove("sales", "s:2022-01-01")
        assert ledger.lines() == [] and "sales" not in store.names(), (fault, n)
    assert requests > 8


def test_expired_releases_go_from_the_warehouse(local, store):
    dataset = dataset_of(local, "sales", table_type="sharded", address="sales")
    catching = CatchUp(dataset, local, store)
    days = [FIRST + timedelta(n) for n in range(3)]
    catching.run(days, lambda day: pa.table({"n": [day.day]}))
    local.post_retention(test_registry.Retention(dataset=dataset, keep_last=1))
    gone = policies.expire(catching, dry_run=False)
    assert sorted(one.release_key for one in gone) == ["s:2022-01-01", "s:2022-01-02"]
    assert store.names() == ["sales20220103"]
    assert catching.ledger.keys(catching.name) == ["s:2022-01-03"]
    assert catching.run(days, lambda day: pa.table({"n": [0]})).loaded == []


# killed


WORKER = """
import sys
from datetime import date, timedelta
import pyarrow as pa
from domostats.clients.bigquery.settings import read_bigquery_settings
from domostats.tracking.bigquery.warehouse import BigQueryWarehouse
from domostats.tracking.registry.api import make_observatory_api
from domostats.tracking.registry.catch_up import CatchUp

url, project, dataset, registry = sys.argv[1:]
warehouse = BigQueryWarehouse(read_bigquery_settings(project, dataset, endpoint=url), ".")
days = [date(2024, 1, 1) + timedelta(n) for n in range(12)]

def ingest(day):
    print(day, flush=True)
    return pa.table({"day": [day] * 20, "n": [*range(20)]})

done = CatchUp(1, make_observatory_api(registry), warehouse).run(days, ingest)
assert not done.failures, done.failures
print("done", flush=True)
"""


@pytest.mark.slow
@pytest.mark.kills
def test_kills_in_a_catch_up_into_bigquery(served, datasets, tmp_path, draws):
    def registry(place):
        return str(tmp_path / f"{place}.sqlite")

    def worker(place):
        dataset = datasets.warehouse(place).connection.settings.dataset
        return subprocess.Popen(
            [sys.executable, "-c", WORKER, served.url, PROJECT, dataset, registry(place)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    inside, places = 0, ["killed"]
    for place in ("killed", "whole"):
        dataset_of(make_observatory_api(registry(place)), "sales", address="sales")
    for attempt in range(100):
        if inside == KILLS:
            break
        running = worker(places[-1])
        if running.stdout.readline().strip() == "done":
            running.communicate(timeout=LONG)
            places.append(f"killed {attempt}")
            dataset_of(make_observatory_api(registry(places[-1])), "sales", address="sales")
            continue
        clock.sleep(draws.random() * 0.6)
        running.send_signal(signal.SIGKILL)
        inside += running.wait() == -signal.SIGKILL
        running.stdout.close()
    assert inside == KILLS
    for place in (places[-1], "whole"):
        assert worker(place).communicate(timeout=LONG)[0].endswith("done\n")
    told = {}
    for place in (*places, "whole"):
        api, store = make_observatory_api(registry(place)), datasets.warehouse(place)
        told[place] = (
            sorted((row["day"], row["n"]) for row in store.read("sales").to_pylist()),
            [
                (one.release_key, one.row_count, one.checksum, one.state)
                for one in api.get_dataset_releases(1000, 1)
            ],
            [(*one[:3], one.checksum) for one in Loads(store).lines()],
        )
        assert api.get_dataset_releases(state=["claimed", "failed"]) == []
    assert len(told["whole"][0]) == 240 and len(told["whole"][1]) == 12
    for place in places:
        assert told[place] == told["whole"]
