"""A lost answer, a refusal, a kill at every request of an export: each day once, or an error that
names it."""

import os
import re
import signal
import subprocess
import sys
import time as clock
from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

import pytest

pytest.importorskip("google.cloud.bigquery")

from bigquery_support import PROJECT, LoadsOnBigQuery
from conftest import KILLS, ROOT

from domostats.errors import DomostatsError
from domostats.sandbox.bigquery.faults import BIGQUERY_FAULTS
from domostats.tracking.extractors.base import BaseExtractor
from domostats.tracking.extractors.extraction import Extraction
from domostats.tracking.extractors.migrations import Migrations
from domostats.tracking.extractors.tables import ExtractorType

pytest_plugins = "bigquery_support"
FIRST = date(2022, 1, 1)
NOW = datetime(2032, 1, 1, tzinfo=timezone.utc)
FAULTS = [fault for fault in BIGQUERY_FAULTS if fault != "slow"]
LONG = 400  # seconds: on a machine with much else to do programs take their time


@dataclass
class Event:
    timestamp: datetime
    n: int


class Events(BaseExtractor[Event]):
    def get_extractor_type(self):
        return ExtractorType.individual_rows

    def extract(self, date_start, date_end):
        for n in range(1 + date_start.day % 3):
            yield Event(date_start + timedelta(hours=n), n)


class Export:
    "An export of one day, or of three, each time of days that nobody has had."

    def __init__(self, datasets, box):
        self.box = box
        self.extraction = Extraction([Events], datasets.warehouse(), "UTC", FIRST)
        migrations = Migrations("migrations", self.extraction.store)
        migrations.make(self.extraction.tables)
        migrations.apply()
        self.next = FIRST

    def take(self, days):
        first, self.next = self.next, self.next + timedelta(days)
        return first, self.next - timedelta(1)

    def run(self, first, last):
        return [*self.extraction.extract(NOW, first, last)]

    def table(self, name):
        "The rows of a table, from the sandbox itself."
        return self.box.table(
            f"{self.extraction.store.connection.settings.dataset}.{name}"
        ).to_pylist()

    def held(self, first, last):
        rows = [(row["_day"], row["n"]) for row in self.table("event")]
        return sorted(row for row in rows if first <= row[0] <= last)

    def noted(self, first, last):
        "How many rows the ledger says there are, by the newest line of each day."
        newest = {}
        for row in self.table("kit_loads"):
            if row["state"] in ("done", "dropped"):
                generation, _ = newest.get(row["release_key"], (0, 0))
                if row["generation"] >= generation:
                    rows = row["row_count"] if row["state"] == "done" else 0
                    newest[row["release_key"]] = row["generation"], rows
        keys = [f"p:{first + timedelta(n)}" for n in range((last - first).days + 1)]
        return sum(newest[key][1] for key in keys if key in newest)

    def wanted(self, first, last):
        days = [first + timedelta(n) for n in range((last - first).days + 1)]
        return [(day, n) for day in days for n in range(1 + day.day % 3)]

    def check(self, days, fault, n):
        "Run with a fault at the n-th request, look, and run again without."
        first, last = self.take(days)
        self.box.fail(fault, after=n)
        results = self.run(first, last)
        self.box.heal()
        there, wanted = self.held(first, last), self.wanted(first, last)
        errors = [one.error for one in results if one.error]
        assert there in (wanted, []), (fault, n, there)
        if not errors:
            assert there == wanted, (fault, n)
        for one in results:
            if one.error:
                assert isinstance(one.error, DomostatsError), (fault, n, repr(one.error))
                assert (one.table, one.day) == ("event", first) and "event" in str(one.error)
                assert "Traceback" not in str(one.error)
        if errors:
            again = self.run(first, last)
            assert [one.error for one in again if one.error] == [], (fault, n)
            assert self.held(first, last) == wanted, (fault, n)
        assert self.noted(first, last) == len(wanted), (fault, n)
        return bool(errors)

    def requests(self, days):
        "How many requests an export makes that nothing disturbs, when all is made ready."
        self.box.log.clear()
        first, last = self.take(days)
        self.run(first, last)
        return len(self.box.log)


@pytest.fixture
def export(datasets, served):
    made = Export(datasets, served)
    for days in (1, 3):
        made.requests(days)
    return made


def test_faults_here_and_there(export, draws):
    counted = {days: export.requests(days) for days in (1, 3)}
    assert counted[1] > 10 and counted[3] > 15
    for fault in draws.sample(FAULTS, 3):
        days = draws.choice((1, 3))
        export.check(days, fault, draws.randrange(counted[days]))


# those that pass by themselves, and those that say something of what is there
EVERYWHERE = (
    "drop",
    "drop_after",
    "unavailable",
    "rate_limited",
    "quota_exceeded",
    "conflict",
    "not_found",
    "job_running",
    "job_failed",
)


@pytest.mark.slow
@pytest.mark.sampled(27, a_day=5)
@pytest.mark.parametrize("part", range(3))
@pytest.mark.parametrize("fault", EVERYWHERE)
def test_a_fault_at_every_request(export, fault, part):
    "Each request is in one of the three parts."
    failed = Counter()
    for days in (1, 3):
        for n in range(part, export.requests(days), 3):
            failed[export.check(days, fault, n)] += 1
    if fault in ("drop", "drop_after", "unavailable", "rate_limited", "job_running"):
        assert failed[True] == 0  # asked again, and what was done is found
    assert sum(failed.values()) > 8


@pytest.mark.parametrize("polls", [3])
def test_jobs_that_take_their_time_are_waited_for(export, polls):
    export.box.rules.running_polls = polls
    for days in (1, 3):
        first, last = export.take(days)
        assert [one.error for one in export.run(first, last)] == [None] * days
        export.box.rules.running_polls = 0
        assert export.held(first, last) == export.wanted(first, last)
        export.box.rules.running_polls = polls
    export.box.heal()


@pytest.mark.sampled(12)
@pytest.mark.parametrize("days", [1, 3])
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("unavailable", "unavailable"),
        ("rate_limited", "rate_limited"),
        ("quota_exceeded", "rate_limited"),
        ("forbidden", "forbidden"),
        ("unauthorized", "bad_token"),
        ("drop_after", "cut"),
    ],
)
def test_what_does_not_pass_is_told_with_table_and_day(export, days, fault, reason):
    first, last = export.take(days)
    export.box.fail(fault, f"/upload/bigquery/v2/projects/{PROJECT}/jobs", None)
    [result] = export.run(first, last)
    export.box.heal()
    assert result.error.reason == reason and str(result.error).startswith(f"event {first} ")
    assert [one.error for one in export.run(first, last)] == [None] * days
    assert export.held(first, last) == export.wanted(first, last)


def test_the_limit_of_loads_of_a_table_is_told(export):
    export.box.service.project.jobs.loads.clear()
    export.box.rules.loads_per_table = 1
    (one, _), (other, _) = export.take(1), export.take(1)
    assert export.run(one, one)[0].error is None
    [result] = export.run(other, other)
    assert result.error.reason == "rate_limited" and f"event {other}" in str(result.error)
    export.box.heal()
    assert export.run(other, other)[0].error is None


def test_only_a_job_that_has_failed_counts_up_the_attempt(export):
    for fault, attempts in (("job_failed", [0, 1]), ("drop_after", [0])):
        first, last = export.take(1)
        export.box.fail(fault, f"/upload/bigquery/v2/projects/{PROJECT}/jobs", after=1)
        assert export.run(first, last)[0].error is None
        digits = f"{first:%Y%m%d}"
        ids = [id for id in export.box.jobs if re.match(rf"domostats_day_event_\w+_{digits}_", id)]
        assert [int(id.rpartition("_")[2]) for id in ids] == attempts


# killed


WORKER = """
import sys
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from domostats.clients.bigquery.settings import read_bigquery_settings
from domostats.tracking import BaseExtractor, Extraction, ExtractorType, Migrations
from domostats.tracking.bigquery.warehouse import BigQueryWarehouse

@dataclass
class Event:
    timestamp: datetime
    n: int

class Events(BaseExtractor[Event]):
    def get_extractor_type(self): return ExtractorType.individual_rows
    def extract(self, date_start, date_end):
        print("day", flush=True)
        for n in range(50): yield Event(date_start + timedelta(seconds=n), n)

url, dataset, project, at_once = sys.argv[1:]
warehouse = BigQueryWarehouse(read_bigquery_settings(project, dataset, endpoint=url), ".")
warehouse.days_at_once = int(at_once)
extraction = Extraction([Events], warehouse, "UTC", date(2024, 1, 1))
migrations = Migrations(f"{dataset} migrations", warehouse)
migrations.make(extraction.tables)
migrations.apply()
done = extraction.extract(datetime(2024, 1, 13, tzinfo=timezone.utc))
wrong = [str(one.error) for one in done if one.error]
assert not wrong, wrong
print("done", flush=True)
"""


def worker(box, dataset, at_once):
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, box.url, dataset, PROJECT, str(at_once)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def told(datasets, path):
    "Every row and every line of the ledger, and what was left behind."
    store = datasets.warehouse(path)
    lines = [
        (line.release_key, line.row_count, line.checksum)
        for line in LoadsOnBigQuery(store).lines("event")
    ]
    rows = sorted(tuple(row.values()) for row in store.read("event").to_pylist())
    tables = datasets.box.datasets[store.connection.settings.dataset].tables
    left = [table for name, table in tables.items() if "staged" in name]
    assert all(table.expires for table in left)
    return lines, rows


@pytest.mark.slow
@pytest.mark.kills
@pytest.mark.parametrize("at_once", [1, 5])
def test_kills_leave_what_an_undisturbed_run_leaves(served, datasets, draws, at_once):
    def name(path):
        return datasets.warehouse(path).connection.settings.dataset

    inside, places = 0, ["killed"]
    for attempt in range(100):
        if inside == KILLS:
            break
        running = worker(served, name(places[-1]), at_once)
        if running.stdout.readline().strip() == "done":
            running.communicate(timeout=LONG)
            places.append(f"killed {attempt}")
            continue
        clock.sleep(draws.random() * 0.6)
        running.send_signal(signal.SIGKILL)
        inside += running.wait() == -signal.SIGKILL and running.stdout.read().splitlines()[-1:] != [
            "done"
        ]
        running.stdout.close()
    assert inside == KILLS
    for place in (places[-1], "whole"):
        assert worker(served, name(place), at_once).communicate(timeout=LONG)[0].endswith("done\n")
    whole = told(datasets, "whole")
    assert len(whole[0]) == 12 and len(whole[1]) == 600
    for place in places:
        assert told(datasets, place) == whole


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [1, 5])
def test_programs_at_once_do_no_harm(served, datasets, at_once):
    dataset = datasets.warehouse("shared").connection.settings.dataset
    workers = [worker(served, dataset, at_once) for _ in range(3)]
    assert [one.communicate(timeout=LONG)[0].splitlines()[-1] for one in workers] == ["done"] * 3
    lines, rows = told(datasets, "shared")
    assert len(lines) == 12 and len(rows) == len({*rows}) == 600
