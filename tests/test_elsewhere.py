"""A machine that is not in UTC: the same moments, days and texts as anywhere else, written out."""

import subprocess
import sys
import time
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from domostats import sandbox
from domostats.clients.datorama.ranges import cut
from domostats.loading.files import read_file, write_file
from domostats.loading.store import Store
from domostats.tracking.extractors import bounds, last_finished
from domostats.tracking.history import History, moment
from domostats.tracking.releases import utc
from domostats.transport.budget import Budget
from domostats.transport.clock import FakeClock
from domostats.transport.connection import retry_after
from domostats.transport.paging import millis

ZONES = ["America/New_York", "Pacific/Kiritimati", "Asia/Kolkata"]
SPRING = 1_710_054_000_000  # 10 March 2024, 07:00 UTC: the hour that New York leaves out


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


def test_the_day_of_a_budget_ends_at_midnight_in_utc():
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


def test_what_the_terminal_writes_is_in_utc(tmp_path):
    with sandbox.start(events=400, today="2024-04-01") as box:
        written = []
        for since in ("2024-03-25", "2024-03-25T00:00:00Z", "2024-03-24T19:00:00-05:00"):
            path = tmp_path / f"{len(written)}.csv"
            subprocess.run(
                [sys.executable, "-m", "domostats", "generate", "activity_log"]
                + ["--instance", box.name, "--changed-since", since, "--to", str(path)],
                check=True,
                capture_output=True,
                timeout=60,
            )
            written.append(path.read_text())
        assert written[0] == written[1] == written[2]
        assert len(written[0].splitlines()) > 2 and "2024-03-2" in written[0]
