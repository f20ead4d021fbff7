"""A zone that changes: every event on one day, and on one only."""

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from domostats.interfaces.cli import app
from domostats.loading.store import Store
from domostats.tracking.extractors.base import BaseExtractor
from domostats.tracking.extractors.extraction import Extraction
from domostats.tracking.extractors.migrations import Migrations
from domostats.tracking.extractors.schema import sq_field
from domostats.tracking.extractors.tables import ExtractorType
from domostats.tracking.loads import Loads

FIRST = date(2022, 1, 1)
ZONES = (
    "UTC",
    "America/New_York",
    "Asia/Kathmandu",
    "Pacific/Kiritimati",
    "Pacific/Midway",
    "Europe/Paris",
)


@dataclass
class Email:
    timestamp: datetime
    n: int


@dataclass
class Sent:
    emails: int = sq_field(differentiate=True)


def at(day, hour=0, minute=0):
    return datetime(2022, 1, day, hour, minute, tzinfo=timezone.utc)


def emails(moments, **attributes):
    "An extractor of these moments, as events."
    return type(
        "Emails",
        (BaseExtractor,),
        {
            "get_dataclass": lambda self: Email,
            "get_extractor_type": lambda self: ExtractorType.individual_rows,
            "extract": lambda self, start, end: (
                Email(moment, n) for n, moment in enumerate(moments) if start <= moment < end
            ),
            **attributes,
        },
    )


def sent(moments):
    "The same, counted up to the end of each day."
    return type(
        "Counted",
        (BaseExtractor,),
        {
            "get_dataclass": lambda self: Sent,
            "get_extractor_type": lambda self: ExtractorType.date_aggregated,
            "extract": lambda self, start, end: [Sent(sum(one < end for one in moments))],
        },
    )


def extraction(zone, *extractors, store="store.duckdb"):
    return Extraction(extractors, Store(Path(store)), zone, FIRST)


def migrated(*extractors, store="store.duckdb"):
    one = extraction("UTC", *extractors, store=store)
    migrations = Migrations(Path(f"migrations of {store}"), one.store)
    migrations.make(one.tables)
    migrations.apply()


def errors(found):
    return [one.error for one in found if one.error]


def held(store="store.duckdb", table="email"):
    with Store(Path(store)).open() as con:
        return con.execute(f"SELECT * FROM datasets.{table} ORDER BY ALL").fetchall()


HOURLY = [at(1) + timedelta(hours=n) for n in range(24 * 6)]


def test_two_days_of_one_zone_and_then_another_zone_lose_nothing():
    one = emails(HOURLY)
    migrated(one)
    assert errors(extraction("UTC", one).extract(at(3, 12))) == []
    before = held()
    other = extraction("America/New_York", one)
    refused = [*other.extract(at(5, 12))]
    assert held() == before
    assert [one.error.reason for one in refused if one.error] == ["changed_zone"]
    for word in ("email", "UTC", "America/New_York", "extract --rezone", "2022-01-01"):
        assert word in str(refused[0].error)
    planned = [*other.rezone(now=at(5, 12), dry_run=True)]
    assert held() == before and [one.rows for one in planned] == [None]
    assert planned[0].days == [date(2021, 12, 31), FIRST, date(2022, 1, 2)]
    done = [*other.rezone(now=at(5, 12))]
    assert errors(done) == errors(other.extract(at(5, 12))) == []
    assert Counter(row[2] for row in held()) == Counter(range(4 * 24 + 5))
    zone = ZoneInfo("America/New_York")
    assert all(day == moment.astimezone(zone).date() for day, moment, _ in held())
    assert {line.details["zone"] for line in Loads(Store("store.duckdb")).lines("email")} == {
        "America/New_York"
    }
    assert [*other.rezone(now=at(5, 12))] == []


def test_days_of_two_zones_that_a_first_version_has_mixed_are_put_right():
    one = emails(HOURLY)
    migrated(one)
    for zone, first, last in [("America/New_York", 1, 2), ("Asia/Kathmandu", 3, 4)]:
        place = f"{zone[:4]}.duckdb"
        migrated(one, store=place)
        days = date(2022, 1, first), date(2022, 1, last)
        assert errors(extraction(zone, one, store=place).extract(at(6), *days)) == []
        rows, lines = held(place), Loads(Store(Path(place))).lines("email")
        with Store(Path("store.duckdb")).open() as con:
            con.executemany("INSERT INTO datasets.email VALUES (?, ?, ?)", rows)
            for line in lines:
                con.execute(
                    """CREATE TABLE IF NOT EXISTS kit.loads (dataset VARCHAR, release_key VARCHAR,
                       row_count BIGINT, run VARCHAR, checksum VARCHAR, started_at TIMESTAMP,
                       loaded_at TIMESTAMP, details VARCHAR)"""
                )
                con.execute(
                    "INSERT INTO kit.loads VALUES (?, ?, ?, 'r', 'c', now(), now(), ?)",
                    [*line[:3], f'{{"zone": "{zone}"}}'],
                )
    assert max(Counter(row[2] for row in held()).values()) == 2
    other = extraction("Asia/Kathmandu", one)
    assert [one.error.reason for one in other.extract(at(6)) if one.error] == ["changed_zone"]
    assert errors(other.rezone(now=at(6))) == []
    assert max(Counter(row[2] for row in held()).values()) == 1
    assert errors(other.extract(at(6))) == []
    assert {row[2] for row in held()} >= set(range(5 * 24 - 5))


def test_the_same_days_under_another_name_are_no_change():
    one = emails(HOURLY)
    migrated(one)
    for zone, now in [("Europe/Paris", 3), ("Europe/Berlin", 4), ("Europe/Brussels", 5)]:
        assert errors(extraction(zone, one).extract(at(now, 12))) == []
    assert Counter(row[2] for row in held()) == Counter(range(4 * 24 - 1))


def test_a_day_that_is_not_over_in_the_new_zone_comes_back_when_it_is():
    one = emails(HOURLY)
    migrated(one)
    assert errors(extraction("UTC", one).extract(at(3, 2))) == []
    other = extraction("Pacific/Midway", one)
    assert [one.error.reason for one in other.extract(at(3, 2)) if one.error] == ["changed_zone"]
    [done] = other.rezone(now=at(3, 2))
    assert done.error is None and [str(day) for day in done.left] == ["2022-01-02"]
    assert errors(other.extract(at(5, 12))) == []
    assert Counter(row[2] for row in held()) == Counter(range(4 * 24 + 11))


def test_an_error_of_the_source_leaves_all_days_as_they_were():
    one = emails(HOURLY)
    migrated(one)
    assert errors(extraction("UTC", one).extract(at(4, 12))) == []
    before, lines = held(), Loads(Store("store.duckdb")).lines()

    def broken(self, start, end):
        if start.day == 2:
            raise ConnectionError("gone")
        yield Email(start, 1)

    other = extraction("America/New_York", emails(HOURLY, extract=broken))
    assert [one.error.reason for one in other.extract(at(4, 12))] == ["changed_zone"]
    failed = [one.error for one in other.rezone(now=at(5))]
    assert [(one.reason, type(one.__cause__)) for one in failed] == [
        ("code_failed", ConnectionError)
    ]
    assert held() == before and Loads(Store("store.duckdb")).lines() == lines


def test_a_source_that_keeps_its_rows_for_less_long_takes_none_away():
    migrated(emails(HOURLY))
    assert errors(extraction("UTC", emails(HOURLY)).extract(at(4, 12))) == []
    before = held()
    other = extraction("America/New_York", emails(HOURLY[30:]))
    assert [one.error.reason for one in other.extract(at(4, 12))] == ["changed_zone"]
    assert [one.error.reason for one in other.rezone(now=at(5))] == ["incomplete"]
    assert held() == before
    assert errors(other.rezone(now=at(5), allow_incomplete=True)) == []
    assert len(held()) < len(before)


def test_daily_figures_are_counted_again_in_the_new_zone():
    one = sent(HOURLY)
    migrated(one)
    assert errors(extraction("UTC", one).extract(at(4, 12))) == []
    assert [row[1] for row in held(table="sent")] == [24, 48, 72]
    other = extraction("America/New_York", one)
    assert [one.error.reason for one in other.extract(at(4, 12))] == ["changed_zone"]
    assert errors(other.rezone(now=at(4, 12))) == []
    assert [(row[0].day, row[1]) for row in held(table="sent")] == [(1, 29), (2, 53), (3, 77)]


def nameless(table="email"):
    "Take the zone out of the ledger."
    with Store("store.duckdb").open() as con:
        con.execute("UPDATE kit.loads SET details = '{}' WHERE dataset = ?", [table])


def test_a_line_without_a_zone_is_decided_by_its_rows():
    one = emails(HOURLY)
    migrated(one)
    assert errors(extraction("UTC", one).extract(at(3, 12))) == []
    nameless()
    before = held()
    found = [*extraction("America/New_York", one).extract(at(4, 12))]
    assert [one.error and one.error.reason for one in found] == ["changed_zone"]
    assert held() == before
    assert errors(extraction("UTC", one).extract(at(4, 12))) == []
    zones = [line.details.get("zone") for line in Loads(Store("store.duckdb")).lines("email")]
    assert zones == ["UTC"] * 3


moments = st.datetimes(datetime(2022, 1, 1), datetime(2022, 1, 6), timezones=st.just(timezone.utc))
PLACES = iter(range(10**6))


@pytest.mark.slow
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    some=st.lists(moments, max_size=30, unique=True),
    stages=st.lists(
        st.tuples(st.sampled_from(ZONES), st.timedeltas(timedelta(hours=6), timedelta(days=2))),
        min_size=2,
        max_size=3,
    ),
)
def test_whatever_the_zones_every_event_is_there_once(own_folder, some, stages):
    one, place, now, seen = emails(some), f"store{next(PLACES)}.duckdb", at(2, 12), set()
    migrated(one, store=place)
    for name, later in stages:
        now += later
        current, zone = extraction(name, one, store=place), ZoneInfo(name)
        found = errors(current.extract(now))
        if found:
            assert [error.reason for error in found] == ["changed_zone"]
            assert errors(current.rezone(now=now)) == []
            assert errors(current.extract(now)) == []
        rows = held(place)
        local = {n: moment.astimezone(zone).date() for n, moment in enumerate(some)}
        assert max(Counter(row[2] for row in rows).values(), default=1) == 1
        assert all(day == local[n] for day, _, n in rows)
        over = now.astimezone(zone).date()
        there = {row[2] for row in rows}
        assert there >= {
            n for n, day in local.items() if (day >= FIRST or n in seen) and day < over
        }
        assert there <= {n for n, day in local.items() if day < over}
        seen |= there


MODULE = """
from dataclasses import dataclass
from datetime import datetime, timedelta
from domostats.tracking import BaseExtractor, ExtractorType

@dataclass
class Email:
    timestamp: datetime
    n: int

class EmailExtractor(BaseExtractor[Email]):
    def get_extractor_type(self): return ExtractorType.individual_rows
    def extract(self, date_start, date_end):
        moment = date_start
        while moment < date_end:
            yield Email(moment, moment.hour)
            moment += timedelta(hours=1)
"""


def test_from_a_terminal(own_folder, monkeypatch):
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    name = f"mails_{abs(hash(str(own_folder)))}"
    Path(f"{name}.py").write_text(MODULE)

    def run(*words, zone, code=0):
        Path("settings.ini").write_text(
            "[domostats]\nstore = store.duckdb\n[extractors]\n"
            f"classes = {name}.EmailExtractor\nfirst_date = 2022-01-01\nzone = {zone}\n"
        )
        result = CliRunner().invoke(app, [*words])
        assert result.exit_code == code, (result.output, result.exception)
        return result.output + (result.stderr or "")

    for words in (["make-migrations"], ["migrate"], ["extract", "-l", "2022-01-02"]):
        run(*words, zone="UTC")
    before = held()
    told = run("extract", "-l", "2022-01-03", zone="America/New_York", code=3)
    assert "extract --rezone" in told and held() == before
    told = run("extract", "--rezone", "--dry-run", zone="America/New_York")
    assert "3 days (2021-12-31 to 2022-01-02) would be extracted again" in told
    assert held() == before
    assert "72 rows" in run("extract", "--rezone", zone="America/New_York")
    run("extract", "-l", "2022-01-03", zone="America/New_York")
    assert Counter(row[1] for row in held()).most_common(1)[0][1] == 1 and len(held()) == 96
    assert "nothing to do" in run("extract", "--rezone", zone="America/New_York")


@pytest.mark.slow
@pytest.mark.parametrize("change", [datetime(2022, 3, 27), datetime(2022, 10, 30)])
def test_days_of_23_and_25_hours_are_replaced_whole(change):
    start = change.replace(tzinfo=timezone.utc) - timedelta(1)
    hours = [start + timedelta(hours=n) for n in range(96)]
    one = emails(hours)
    migrated(one)
    first = Extraction([one], Store("store.duckdb"), "Europe/Paris", start.date())
    assert errors(first.extract(start + timedelta(3))) == []
    other = Extraction([one], Store("store.duckdb"), "America/New_York", start.date())
    refused = [one.error.reason for one in other.extract(start + timedelta(5)) if one.error]
    assert refused == ["changed_zone"]
    assert errors(other.rezone(now=start + timedelta(5))) == []
    assert errors(other.extract(start + timedelta(5))) == []
    assert Counter(row[2] for row in held()) == Counter(range(96))
