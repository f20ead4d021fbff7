"""A machine that is not in UTC: the same moments, days and texts as anywhere else, written out."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs
from zoneinfo import ZoneInfo

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from domostats import sandbox
from domostats.clients.datorama.jobs import choose_jobs
from domostats.clients.datorama.logs import JobLog
from domostats.clients.datorama.ranges import cut
from domostats.clients.domo.auth import sign_in
from domostats.errors import RetryLaterError
from domostats.interfaces.cli import app
from domostats.loading.files import read_file, write_file
from domostats.loading.store import Store
from domostats.loading.windows import unite
from domostats.reports import activity_log
from domostats.rows.columns import arrow_columns
from domostats.rows.records import Records
from domostats.rows.rowtype import Millis, Seconds, TextTime
from domostats.tracking.extractors.base import BaseExtractor
from domostats.tracking.extractors.days import bounds, last_finished
from domostats.tracking.extractors.extraction import Extraction
from domostats.tracking.extractors.migrations import Migrations
from domostats.tracking.extractors.tables import ExtractorType
from domostats.tracking.history.history import History
from domostats.tracking.history.moments import moment
from domostats.tracking.ledger import Load, note_load
from domostats.tracking.loads import Loads
from domostats.tracking.periods import utc
from domostats.tracking.registry import entities, policies
from domostats.tracking.registry.addresses import table_name, table_parts
from domostats.tracking.registry.api import make_observatory_api
from domostats.tracking.registry.release_keys import release_key
from domostats.transport.answer import retry_after
from domostats.transport.budget import Budget, all_budgets
from domostats.transport.clock import FakeClock, wait_with_reason
from domostats.transport.reader import millis
from domostats.transport.retry import Request

ZONES = ["America/New_York", "Pacific/Kiritimati", "Asia/Kolkata"]
SPRING = 1_710_054_000_000  # 10 March 2024, 07:00 UTC: the hour that New York leaves out
SEVEN = datetime(2024, 3, 10, 7, tzinfo=timezone.utc)
HALF = datetime(2024, 3, 10, 2, 30, tzinfo=timezone.utc)  # on no clock in New York


@pytest.fixture(scope="module")
def box():
    "An instance in which much has happened; its times are in UTC, as those of the service are."
    with sandbox.start(events=400, today="2024-04-01") as running:
        yield running


@pytest.fixture(autouse=True, params=ZONES)
def elsewhere(request, monkeypatch):
    "This machine stands in another zone."
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    "given, expected",
    [
        ("2024-03-10", 1_710_028_800_000),
        ("2024-03-10T02:30:00", 1_710_037_800_000),
        ("2024-03-10T02:30:00Z", 1_710_037_800_000),
        ("2024-03-10T02:30:00-05:00", 1_710_055_800_000),
        (date(2024, 3, 10), 1_710_028_800_000),
        (datetime(2024, 3, 10, 7), SPRING),
        (datetime(2024, 3, 10, 7, tzinfo=timezone.utc), SPRING),
        (datetime(2024, 3, 10, 2, tzinfo=timezone(timedelta(hours=-5))), SPRING),
        (pd.Timestamp("2024-03-10 07:00"), SPRING),
        (pd.Timestamp("2024-03-10 02:00", tz="Etc/GMT+5"), SPRING),
    ],
)
def test_a_moment_without_a_zone_is_in_utc(given, expected):
    assert millis(given) == expected


def test_the_moments_of_history_and_releases_are_in_utc():
    seven = datetime(2024, 3, 10, 7)
    assert moment("2024-03-10T07:00:00") == moment(seven) == seven
    assert moment("2024-03-10") == datetime(2024, 3, 10)
    assert utc(date(2024, 3, 10)) == datetime(2024, 3, 10, tzinfo=timezone.utc)
    assert utc("2024-03-10T07:00:00").utcoffset() == timedelta(0)
    assert utc("2024-03-10T07:00:00").replace(tzinfo=None) == seven


def test_a_retry_after_that_is_a_date_is_read_in_its_own_zone():
    ahead = datetime.now(timezone.utc) + timedelta(seconds=100)
    assert 95 < retry_after(f"{ahead:%a, %d %b %Y %H:%M:%S} GMT") <= 100


def test_a_retry_after_without_a_zone_is_in_utc():
    seven, soon = "Sun, 10 Mar 2024 07:00:00", "Sun, 10 Mar 2024 07:02:05"
    assert retry_after(f"{soon} -0000", f"{seven} GMT") == 125
    assert retry_after(f"{soon} GMT", f"{seven} -0000") == 125
    assert retry_after("Sun, 10 Mar 2024 02:02:05 -0500", f"{seven} GMT") == 125


def test_a_long_wait_says_until_when_in_utc(caplog):
    clock = FakeClock()  # 1 January 2024, 00:00 UTC
    clock.wait(7 * 3600)
    wait_with_reason(clock, 125, "it is full")
    assert caplog.messages == ["Waiting for 2 min 5 s, until 07:02:05 UTC: it is full."]


def test_the_table_of_budgets_and_the_end_of_a_day_are_in_utc():
    clock = FakeClock()
    clock.wait(23 * 3600 + 1800)
    used_up = Budget("one", label="used up", per_day=1, clock=clock)
    used_up.reserve()
    with pytest.raises(RetryLaterError, match="after midnight UTC, in 0 h 30 min") as told:
        used_up.reserve()
    assert told.value.retry_after == 1800
    asked_to_wait = Budget("two", label="asked to wait", per_minute=60, clock=clock)
    asked_to_wait.reserve()
    asked_to_wait.not_before(300)
    shown = all_budgets(clock=clock).set_index("place")
    assert shown.not_before["asked to wait"] == pd.Timestamp("2024-01-01 23:35:00", tz="UTC")
    assert shown.next_slot["used up"] == pd.Timestamp("2024-01-01 23:30:00", tz="UTC")


def test_the_days_of_a_list_of_pages_are_those_of_utc(box):
    def pages(**clause):
        asked = Request("POST", "/api/content/v1/pages/adminsummary", {"limit": 1000}, clause)
        found = sign_in(box).ask(asked).response["pageAdminSummaries"]
        return {page["pageId"]: page["lastModified"] for page in found}

    every = pages()
    days = {moment // 86_400_000 for moment in every.values()}
    assert len(days) > 5
    for day in sorted(days):
        text = (date(1970, 1, 1) + timedelta(day)).isoformat()
        found = pages(
            includeLastModifiedDateClause=True,
            lastModifiedStartDate=text,
            lastModifiedEndDate=text,
        )
        assert found == {id: at for id, at in every.items() if at // 86_400_000 == day}


def test_events_between_two_moments_are_those_of_utc(box):
    before = len(box.log)
    run = activity_log.report.run(
        box, format_fn="all", since="2024-03-25T07:00:00", until=date(2024, 3, 29)
    )
    assert run.window == (
        datetime(2024, 3, 25, 7, tzinfo=timezone.utc),
        datetime(2024, 3, 29, tzinfo=timezone.utc),
    )
    asked = [parse_qs(call.query) for call in [*box.log][before:] if "start=" in call.query]
    assert min(int(one["start"][0]) for one in asked) == 1_711_350_000_000
    assert max(int(one["end"][0]) for one in asked) == 1_711_670_400_000
    moments = [row["event_at"] for row in run.table.to_pylist()]
    assert moments and run.window[0] <= min(moments) <= max(moments) < run.window[1]


@dataclass
class Times:
    "The kinds of times that a record may have."

    millis: Millis | None = None
    seconds: Seconds | None = None
    text: TextTime | None = None


@pytest.mark.parametrize(
    "came, expected",
    [
        ({"millis": SPRING, "seconds": SPRING // 1000, "text": "2024-03-10 07:00:00"}, SEVEN),
        (dict.fromkeys(("millis", "seconds", "text"), "2024-03-10T07:00:00Z"), SEVEN),
        (dict.fromkeys(("millis", "seconds", "text"), "2024-03-10T02:00:00-05:00"), SEVEN),
        (dict.fromkeys(("millis", "seconds", "text"), "2024-03-10T07:00:00"), SEVEN),
        (dict.fromkeys(("millis", "seconds", "text"), "2024-03-10 02:30:00.0"), HALF),
    ],
)
def test_the_times_of_records_are_in_utc(came, expected):
    records = Records(Times)
    records.read([json.dumps(came).encode()])
    (row,) = pa.table(arrow_columns(records, "t", [0])).to_pylist()
    assert row == {"t.millis": expected, "t.seconds": expected, "t.text": expected}


def test_windows_of_different_spelling_are_one():
    aware = datetime(2024, 3, 10, 7, tzinfo=timezone.utc)
    later = datetime(2024, 3, 10, 3, tzinfo=timezone(timedelta(hours=-5)))
    assert unite([("2024-03-10T06:00:00", aware), (datetime(2024, 3, 10, 7), later)]) == (
        (datetime(2024, 3, 10, 6, tzinfo=timezone.utc), later),
    )


def test_jobs_since_a_day_and_their_log_are_in_utc():
    jobs = {
        n: SimpleNamespace(fields={"startExecutionTime": at})
        for n, at in enumerate((1_710_028_799_999, 1_710_028_800_000))
    }
    assert [*choose_jobs(jobs, since="2024-03-10")] == [1]
    clock = FakeClock()
    log = JobLog(clock)
    row = log.add_error(7, "update", "2024-03-01", "2024-03-10")
    assert row["exec_start"] == "2024-01-01 00:00:00.000000"
    row.update(job=3, status="running")
    log.follow({3: {"status": "SUCCESS", "endExecutionTime": SPRING + 250}})
    assert row["exec_end"] == "2024-03-10 07:00:00.250000"


def test_ranges_of_days_are_at_midnight_in_utc():
    clock = FakeClock()  # 1 January 2024, 00:00 UTC
    clock.wait(23 * 3600 + 1800)
    budget = Budget("somewhere", per_day=1, clock=clock)
    budget.reserve()
    assert budget.left == 0
    clock.wait(1801)
    assert budget.left == 1


def test_ranges_of_days_are_the_days_that_were_asked_for():
    days = cut("2024-03-08", "2024-03-12", 2)
    assert [(str(start), str(end)) for start, end in days] == [
        ("2024-03-08", "2024-03-09"),
        ("2024-03-10", "2024-03-11"),
        ("2024-03-12", "2024-03-12"),
    ]


def test_the_last_day_that_is_over_is_that_of_the_zone_asked_for():
    now = datetime(2024, 3, 10, 3, 30, tzinfo=timezone.utc)
    assert last_finished(timezone.utc, now) == date(2024, 3, 9)
    assert last_finished(ZoneInfo("America/New_York"), now) == date(2024, 3, 8)
    start, end = bounds(date(2024, 3, 10), ZoneInfo("America/New_York"))
    assert (end.astimezone(timezone.utc) - start.astimezone(timezone.utc)) == timedelta(hours=23)


def test_times_in_files_and_stores_are_what_they_were(tmp_path):
    at = datetime(2024, 3, 10, 7, 30, 0, 123456, tzinfo=timezone.utc)
    table = pa.table({"at": pa.array([at, None], pa.timestamp("us", "UTC"))})
    for name in ("x.csv", "x.parquet"):
        write_file(table, tmp_path / name)
        assert pa.table(read_file(tmp_path / name))["at"].to_pylist()[0] == at
    assert "2024-03-10" in (tmp_path / "x.csv").read_text()
    assert "07:30:00.123456" in (tmp_path / "x.csv").read_text()
    store = Store(tmp_path / "x.duckdb")
    store.write("x", table)
    assert pa.table(store.read("x"))["at"].to_pylist()[0] == at.replace(tzinfo=None)
    with duckdb.connect(str(store.path)) as con:
        (kept,) = con.execute(
            'SELECT "at"::VARCHAR FROM datasets.x WHERE "at" IS NOT NULL'
        ).fetchone()
    assert kept == "2024-03-10 07:30:00.123456"


def test_a_ledger_says_when_something_was_loaded(tmp_path):
    seven = datetime(2024, 3, 10, 7, tzinfo=timezone.utc)
    store = Store(tmp_path / "x.duckdb")
    load = Load("books", "s:2024-03-10", 3, started_at=seven, loaded_at=seven.astimezone(None))
    with store.open() as con:
        note_load(con, load)
        (kept,) = con.execute("SELECT loaded_at::VARCHAR FROM kit.loads").fetchone()
    assert kept == "2024-03-10 07:00:00"
    (line,) = Loads(store).lines()
    assert line.started_at == line.loaded_at == seven


def test_a_registry_keeps_moments_and_days(tmp_path):
    api = make_observatory_api(tmp_path / "registry.sqlite")
    flow = entities.Workflow(
        name="flow", workflow_type=api.post_workflow_type(entities.WorkflowType(type_id="flow"))
    )
    kind = entities.DatasetType(
        type_id="books", table_type=api.post_table_type(entities.TableType(type_id="sharded"))
    )
    dataset = api.post_dataset(
        entities.Dataset(
            name="books",
            service="duckdb",
            address="books",
            workflow=api.post_workflow(flow),
            dataset_type=api.post_dataset_type(kind),
        )
    )
    before = datetime.now(timezone.utc)
    for day in (8, 9, 10):
        api.register_release(
            entities.DatasetRelease(dataset=dataset, snapshot_date=date(2024, 3, day))
        )
    releases = make_observatory_api(tmp_path / "registry.sqlite").get_dataset_releases()
    assert [one.release_key for one in releases] == [
        "s:2024-03-10",
        "s:2024-03-09",
        "s:2024-03-08",
    ]
    assert releases[0].snapshot_date == datetime(2024, 3, 10, tzinfo=timezone.utc)
    assert before <= releases[0].created <= datetime.now(timezone.utc)
    api.post_retention(entities.Retention(dataset=dataset, keep_days=1))
    expiring = policies.expiring(api, dataset, today=date(2024, 3, 11))
    assert [one.release_key for one in expiring] == ["s:2024-03-08", "s:2024-03-09"]


def test_names_of_tables_are_the_days_of_utc():
    at = datetime(2024, 3, 9, 22, 30, tzinfo=timezone(timedelta(hours=-5)))
    assert table_name("books", "sharded", at) == "books20240310"
    assert table_name("books", "sharded", date(2024, 3, 10)) == "books20240310"
    assert table_parts("books20240310", "sharded") == (
        "books",
        datetime(2024, 3, 10, tzinfo=timezone.utc),
    )
    assert release_key(at, "hour") == "s:2024-03-10T03"
    assert release_key(date(2024, 3, 10), "day") == "s:2024-03-10"


@dataclass
class Seen:
    timestamp: datetime
    n: int


class Hourly(BaseExtractor[Seen]):
    "One event an hour, from midnight in UTC on."

    table = "seen"

    def get_extractor_type(self):
        return ExtractorType.individual_rows

    def extract(self, start, end):
        first = datetime(2024, 3, 9, tzinfo=timezone.utc)
        for n in range(72):
            if start <= first + timedelta(hours=n) < end:
                yield Seen(first + timedelta(hours=n), n)


@pytest.mark.sampled(3)
def test_the_days_of_an_extraction_are_those_of_its_zone(tmp_path):
    store = Store(tmp_path / "x.duckdb")
    extraction = Extraction([Hourly], store, "America/New_York", date(2024, 3, 10))
    migrations = Migrations(tmp_path / "migrations", store)
    migrations.make(extraction.tables)
    migrations.apply()
    now = datetime(2024, 3, 11, 12, tzinfo=timezone.utc)
    assert [str(one.error) for one in extraction.extract(now) if one.error] == []
    rows = pa.table(store.read("seen")).sort_by("n").to_pylist()
    assert [row["n"] for row in rows] == [*range(29, 52)]  # 23 hours, from 5 in UTC on
    assert {str(row["_day"]) for row in rows} == {"2024-03-10"}
    assert rows[0]["timestamp"].replace(tzinfo=None) == datetime(2024, 3, 10, 5)
    with store.open() as con:
        first = con.execute('SELECT min("timestamp")::VARCHAR FROM datasets.seen').fetchone()
    assert first[0].startswith("2024-03-10 05:00:00")


IN_A_STORE = """
from datetime import date, datetime, timezone
import pyarrow as pa
from domostats.loading.store import Store
store = Store("x.duckdb")
at = datetime(2024, 3, 10, 2, 30, tzinfo=timezone.utc)
store.write("x", pa.table({"at": pa.array([at], pa.timestamp("us", "UTC"))}))
asked = '''
    SELECT "at"::VARCHAR || ' ' || strftime(TIMESTAMPTZ '2024-03-10 07:00:00Z', '%H')
    FROM table WHERE "at" <= TIMESTAMPTZ '2024-03-10 03:00:00+00' ORDER BY "at"'''
print(pa.table(store.read("x", asked)).columns[0][0])
"""


@pytest.mark.parametrize("elsewhere", ["America/New_York"], indirect=True)
def test_a_store_in_a_process_that_began_elsewhere(elsewhere):
    said = subprocess.run([sys.executable, "-c", IN_A_STORE], capture_output=True, text=True)
    assert said.stdout == "2024-03-10 02:30:00 07\n", said


def test_a_history_is_asked_for_in_utc(tmp_path):
    history = History("things", key="id", store=Store(tmp_path / "x.duckdb"))
    for day, name in ((9, "old"), (10, "new")):
        history.snapshot(pa.table({"id": [1], "name": [name]}), at=f"2024-03-{day:02}T23:00:00")
    assert [
        history.at(f"2024-03-10T{hour}")["name"][0].as_py() for hour in ("22:59:59", "23:00:00")
    ] == [
        "old",
        "new",
    ]


@pytest.mark.sampled(3)
def test_what_the_terminal_writes_is_in_utc(box, tmp_path, monkeypatch):
    Path("settings.ini").write_text(f"[instance.there]\nurl = {box.url}\n")
    monkeypatch.setenv("DOMO_ACCESS_TOKEN", box.access_token)
    written = []
    for since in ("2024-03-25", "2024-03-25T00:00:00Z", "2024-03-24T19:00:00-05:00"):
        path = tmp_path / f"{len(written)}.csv"
        asked = ["generate", "activity_log", "--instance", "there", "--changed-since", since]
        done = CliRunner().invoke(app, [*asked, "--to", str(path)])
        assert done.exit_code == 0, done.output
        written.append(path.read_text())
    assert written[0] == written[1] == written[2]
    assert len(written[0].splitlines()) > 2 and "2024-03-2" in written[0]
