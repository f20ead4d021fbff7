"""The day on which a sandbox stands: what happened is fixed by the seed, and the day decides how
much of it."""

import json
import os
import signal
import subprocess
import sys
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest
import requests

from domostats import sandbox
from domostats.clients.domo.activity import get_activity_log
from domostats.errors import SettingsError
from domostats.reports import accounts, activity_log, datasets, page_access, users
from domostats.sandbox.datorama.agency import Agency
from domostats.sandbox.datorama.queries import deliveries
from domostats.sandbox.datorama.service import Datorama
from domostats.sandbox.domo import events, owners
from domostats.sandbox.domo.events import event_numbers, event_time
from domostats.sandbox.domo.world import World

DAY = 86_400_000  # milliseconds
FIRST = "2024-04-01"
LISTS = {  # what a client may read, as (method, path, body)
    "users": ("GET", "/api/content/v2/users", None),
    "attributes": ("GET", "/api/identity/v1/users?limit=1000", None),
    "groups": ("GET", "/api/content/v2/groups/grouplist?ascending=true&sort=name", None),
    "accounts": ("GET", "/api/data/v1/accounts", None),
    "providers": ("GET", "/api/data/v2/datasources/providers", None),
    "pages": (
        "POST",
        "/api/content/v1/pages/adminsummary?limit=1000&skip=0",
        {"orderBy": "pageTitle", "ascending": True},
    ),
    "datasets": ("GET", "/api/data/v3/datasources?limit=500&offset=0", None),
    "events": ("GET", "/api/audit/v1/user-audits?limit=1000&offset=0", None),
}


def asked(box, name):
    "The rows of a list of a sandbox: a list of dicts."
    method, path, body = LISTS[name]
    headers = {"X-DOMO-Developer-Token": box.access_token}
    reply = requests.request(method, box.url + path, headers=headers, json=body, timeout=30)
    assert reply.status_code == 200, (name, reply.text)
    found = reply.json()
    if isinstance(found, dict):
        found = next(rows for rows in found.values() if isinstance(rows, list))
    return found


def without_countdown(providers):
    "Providers without the days that are left of credentials: these are fewer every day."
    for provider in providers:
        for account in provider["accounts"]:
            del account["daysToExpiry"]
    return providers


def all_of(box):
    found = {name: asked(box, name) for name in LISTS}
    without_countdown(found["providers"])
    return found


def key(row):
    "What names a row: its id, and of an event all it says."
    for name in ("id", "groupId", "pageId", "key"):
        if name in row:
            return row[name]
    return json.dumps(row, sort_keys=True)


@pytest.fixture(scope="module")
def days():
    "What one world shows on five days, by day."
    found = {}
    for day in (FIRST, "2025-02-28", "2026-11-27", "2026-11-28", "2027-05-01"):
        with sandbox.start(users=60, accounts=40, datasets=120, pages=40, today=day) as box:
            found[day] = all_of(box)
    return found


def at(day, days=0):
    return int(
        (datetime.fromisoformat(day).replace(tzinfo=timezone.utc) + timedelta(days)).timestamp()
        * 1000
    )


def test_the_last_week_has_events_whatever_the_day_is():
    with sandbox.start() as box:
        week = datetime.now(timezone.utc) - timedelta(7)
        log = activity_log.generate(box, since=week)
        assert 0 < len(log) < 20 and len(activity_log.generate(box)) > 150
    for day in (FIRST, "2024-12-31", "2026-11-27", "2031-01-01"):
        with sandbox.start(today=day) as box:
            events = asked(box, "events")
            assert len(events) == 200
            assert all(at(day, -368) <= event["time"] < at(day) for event in events)
            assert sum(event["time"] >= at(day, -7) for event in events) in (3, 4, 5)


def test_a_day_of_the_world_as_it_ever_was():
    "The first day shows what the sandbox has always shown."
    with sandbox.start(today=FIRST) as box:
        events = asked(box, "events")
        assert [event["time"] for event in (events[-37], events[-38])] == [1_686_162_341_322] * 2
        assert asked(box, "users")[2]["modified"] == 1_651_709_494_525
        assert asked(box, "datasets")[3]["created"] == 1_615_093_279_106


def test_what_has_happened_stays_as_it_was(days):
    today, tomorrow = days["2026-11-27"], days["2026-11-28"]
    gone = {key(event) for event in today["events"]} - {key(event) for event in tomorrow["events"]}
    assert len(gone) <= 1  # the log is a year long
    for name in LISTS:
        before, after = ({key(row): row for row in found[name]} for found in (today, tomorrow))
        if name != "events":
            assert list(before) == list(after), name
        same = [row for row in before if row in after and before[row] == after[row]]
        assert len(same) >= 0.9 * len(before), name


def test_what_is_different_changed_on_that_day(days):
    times = {
        "users": "modified",
        "accounts": "modifiedAt",
        "pages": "lastModified",
        "datasets": "lastUpdated",
    }
    different = 0
    for before, after in (("2026-11-27", "2026-11-28"), ("2026-11-27", "2027-05-01")):
        for name, field in times.items():
            old = {key(row): row for row in days[before][name]}
            for row in days[after][name]:
                if row != old[key(row)]:
                    if row.get("state") == "ERROR":  # it is only tried again
                        assert {**row, "nextUpdate": 0} == {**old[key(row)], "nextUpdate": 0}
                        continue
                    different += 1
                    assert at(before) <= row[field] < at(after), (name, row)
    assert different > 50


def test_every_kind_of_row_has_some_that_changed_lately(days):
    for day in ("2025-02-28", "2026-11-27", "2027-05-01"):
        found = days[day]
        since, now = at(day, -60), at(day)
        for name, field in (
            ("users", "modified"),
            ("accounts", "modifiedAt"),
            ("pages", "lastModified"),
            ("datasets", "lastUpdated"),
        ):
            assert any(since <= row[field] < now for row in found[name]), (day, name)
            assert all(row[field] < now for row in found[name]), (day, name)
        seen = [
            one["values"][0]
            for row in found["attributes"]
            for one in row["attributes"]
            if one["key"] in ("lastActivity", "lastLogin")
        ]
        assert max(seen) < now and any(time >= at(day, -7) for time in seen)
        coming = [row["nextUpdate"] for row in found["datasets"] if "nextUpdate" in row]
        assert coming and min(coming) >= now


def test_the_same_seed_and_day_give_the_same_bytes():
    found = []
    for _ in range(2):
        with sandbox.start(seed=5, today="2026-11-27") as box:
            found.append({name: json.dumps(asked(box, name)) for name in LISTS})
    assert found[0] == found[1]
    with sandbox.start(seed=6, today="2026-11-27") as box:
        assert json.dumps(asked(box, "users")) != found[0]["users"]


def test_the_last_run_of_a_stream_is_the_last_load_of_its_dataset():
    with sandbox.start(datasets=60, today="2026-11-27") as box:
        ids = {row["streamId"]: row for row in asked(box, "datasets") if "streamId" in row}
        headers = {"X-DOMO-Developer-Token": box.access_token}
        for id, dataset in ids.items():
            reply = requests.get(f"{box.url}/api/data/v1/streams/{id}", headers=headers, timeout=30)
            stream = reply.json()
            good, last = stream["lastSuccessfulExecution"], stream["lastExecution"]
            assert good["startedAt"] + 900 == dataset["lastUpdated"] // 1000
            assert good["executionId"] <= last["executionId"] and last["startedAt"] * 1000 < at(
                "2026-11-27"
            )


@pytest.mark.parametrize(
    "today",
    [
        date(2026, 11, 27),
        datetime(2026, 11, 27, 15, 30),
        datetime(2026, 11, 27, 23, tzinfo=timezone(timedelta(hours=1))),
        "2026-11-27",
        "2026-11-27T08:00:00",
        "2026-11-28T00:30:00+01:00",
        "2026-11-27T23:59:59Z",
    ],
)
def test_a_day_may_be_written_in_several_ways(today):
    with sandbox.start(today="2026-11-27") as box:
        assert sandbox.start(today=today) is box


@pytest.mark.parametrize("today", ["2024-03-31", "2200-01-01", "soon", 1.5, True, "", "2024-02-30"])
def test_what_is_no_day_is_refused(today):
    for start in (sandbox.start, sandbox.start_datorama):
        with pytest.raises(SettingsError) as caught:
            start(today=today)
        assert caught.value.reason == "bad_day" and repr(today) in str(caught.value)


def test_without_a_day_it_is_today_and_stays():
    before = datetime.now(timezone.utc).date()
    with sandbox.start() as box:
        assert sandbox.start() is box
        assert before <= box.domo.data.world.today <= datetime.now(timezone.utc).date()


def test_a_million_events_cost_nothing_until_they_are_asked_for(monkeypatch):
    with sandbox.start(events=400_000_000, today="2026-11-27") as box:
        made, real = [], events.Draws

        class Counted(real):
            def __init__(self, seed, kind, n):
                made.append(n)
                super().__init__(seed, kind, n)

        monkeypatch.setattr(events, "Draws", Counted)
        monkeypatch.setattr(owners, "Draws", Counted)
        headers = {"X-DOMO-Developer-Token": box.access_token}
        hour = f"start={at('2026-11-26')}&end={at('2026-11-26') + 3_600_000}"
        reply = requests.get(
            f"{box.url}/api/audit/v1/user-audits?{hour}&limit=10&offset=0",
            headers=headers,
            timeout=30,
        )
        count = requests.get(
            f"{box.url}/api/audit/v1/user-audits/count?{hour}", headers=headers, timeout=30
        )
        assert len(reply.json()) == 10 and count.json()["count"] == pytest.approx(45_662, abs=2)
        assert len(made) < 500


@pytest.mark.parametrize("events", [0, 1, 2, 7, 49, 50, 51, 1000])
def test_so_many_events_a_year(events):
    for day in range(0, 400, 9):
        today = date(2026, 1, 1) + timedelta(day)
        world = World(events=events, today=today)
        numbers = event_numbers(world)
        assert len(numbers) == events
        times = [event_time(world, n) for n in sorted({*numbers[:3], *numbers[-3:]})]
        assert times == sorted(times) and all(time < world.now * 1000 for time in times)
        if events:
            assert event_time(world, numbers.stop) >= world.now * 1000


def test_a_narrowed_run_finds_what_changed_in_the_last_month():
    with sandbox.start(users=60, accounts=40, datasets=120, pages=60) as box:
        since = datetime.now(timezone.utc) - timedelta(30)
        narrowed = page_access.report.run(box, since=since)
        whole = page_access.report.run(box)
        assert 0 < narrowed.table.num_rows < whole.table.num_rows
        for report, column in (
            (users, "Last Updated Date"),
            (accounts, "Modified_Date"),
            (datasets, "Last_Run_Date"),
        ):
            frame = report.generate(box)
            assert (frame[column] >= since).any(), report.__name__


@pytest.mark.slow
def test_a_terminal_finds_the_last_week(box):
    command = [
        sys.executable,
        "-m",
        "domostats",
        "generate",
        "activity_log",
        "--to",
        "log.csv",
        "--instance",
    ]
    with sandbox.start() as real:
        done = subprocess.run([*command, real.name], capture_output=True, text=True, env=os.environ)
        assert done.returncode == 0, done.stderr
        assert len(Path("log.csv").read_text().splitlines()) > 150


def test_the_command_says_on_which_day():
    day = "2025-03-01"
    child = subprocess.Popen(
        [sys.executable, "-m", "domostats", "sandbox", "--today", day, "--events", "50"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    try:
        assert "answers at" in child.stdout.readline()
        times = [event["time"] for event in get_activity_log("sandbox")]
        assert len(times) == 50 and at(day, -15) < max(times) < at(day)
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(20)
    refused = subprocess.run(
        [sys.executable, "-m", "domostats", "sandbox", "--today", "2020-01-01"],
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert refused.returncode not in (0, 1) and "2024-04-01" in refused.stderr + refused.stdout


def test_jobs_of_datorama_go_on_and_stay_as_they_were():
    found = {}
    for day in (FIRST, "2026-11-27", "2026-11-28"):
        agency = Agency(streams=24, jobs=4, now=at(day) // 1000)
        found[day] = Datorama(agency).state.jobs
    week = [
        job for job in found["2026-11-27"].values() if job["startExecutionTime"] >= at("2026-11-20")
    ]
    assert len(week) > 24
    assert all(job["endExecutionTime"] < at("2026-11-27") for job in found["2026-11-27"].values())
    for id in found["2026-11-27"].keys() & found["2026-11-28"].keys():
        assert found["2026-11-27"][id] == found["2026-11-28"][id]
    gone = found["2026-11-27"].keys() - found["2026-11-28"].keys()
    assert all(found["2026-11-27"][id]["startExecutionTime"] < at("2026-11-27", -8) for id in gone)
    new = found["2026-11-28"].keys() - found["2026-11-27"].keys()
    assert new and all(
        found["2026-11-28"][id]["startExecutionTime"] >= at("2026-11-27") for id in new
    )
    assert min(new) > max(found["2026-11-27"])


def test_datorama_stands_on_its_day():
    with sandbox.start_datorama(today="2026-11-27", streams=12) as box:
        assert sandbox.start_datorama(today=date(2026, 11, 27), streams=12) is box
        assert at("2026-11-27") <= box.clock.now() * 1000 < at("2026-11-28")
        streams = [row["lastUpdate"] for row in box.streams.values()]
        assert max(streams) >= at("2026-11-26") and max(streams) < at("2026-11-27")
        new = box.service.state.process(
            next(iter(box.streams)), date(2026, 11, 1), date(2026, 11, 5)
        )
        assert new[0]["id"] not in {*box.jobs} - {new[0]["id"]} and new[0]["id"] > max(
            {*box.jobs} - {new[0]["id"]}
        )
    with sandbox.start_datorama(streams=3) as box:
        assert abs(box.clock.now() - datetime.now(timezone.utc).timestamp()) < 60
    early, late = (
        Datorama(Agency(now=at(day) // 1000)).state for day in ("2026-11-27", "2026-12-07")
    )
    rows = [
        {(row["DAY"], row["CAMPAIGN_KEY"]): row for row in deliveries(s, 1001)}
        for s in (early, late)
    ]
    shared = rows[0].keys() & rows[1].keys()
    assert len(shared) == 390 * 3 and all(rows[0][one] == rows[1][one] for one in shared)
    assert ("2026-11-26", "c0") in rows[0]
