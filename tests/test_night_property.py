"""Whatever happens in a night, and whatever is called next: each block is made once, or its
outcome is open and nothing is sent."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domostats import sandbox
from domostats.clients.datorama import datorama
from domostats.errors import DomostatsError, SettingsError
from domostats.secrets import Secret

FAULTS = [
    "drop",
    "drop_after",
    "cut",
    "reset",
    "truncated",
    "server_error",
    "bad_gateway",
    "unavailable",
    "html",
    "forbidden",
    "rate_limited",
]


@pytest.fixture(scope="module")
def running():
    with sandbox.start_datorama(streams=15, seed=9, jobs=2) as box:
        yield box, box.service.state.snapshot()


class Killed(BaseException):
    "The end of the program, wherever it is."


class Wrong:
    "The sandbox's clock, wrong by so many seconds."

    def __init__(self, box, by):
        self.box, self.by = box, by

    def now(self):
        return self.box.clock.now() + self.by

    def wait(self, seconds):
        self.box.clock.wait(seconds)


class Night:
    "One example: what is wanted, what has happened, and what the service has made of it."

    def __init__(self, box, snapshot, seed, folder):
        self.box, self.chance = box, random.Random(seed)
        box.heal()
        box.quirks.clear()
        box.service.state.reset(snapshot)
        box.service.limits.limits.update(platform=100_000, day=10_000_000)
        os.environ["XDG_STATE_HOME"] = str(folder)
        self.form = self.chance.choice(["bulk", "bulk", "groups"])
        self.universe, self.asked, self.open = self.items(), [], {}
        self.others, self.is_damaged = Counter(), False
        self.somebody_else()

    def items(self):
        "Ranges of some streams that do not overlap: (stream, first day, last day)."
        api = [
            id for id, one in self.box.streams.items() if one["dataSourceName"] != "TotalConnect"
        ]
        found = []
        for stream in self.chance.sample(api, 4):
            day = date(2023, 1, 1)
            for _ in range(self.chance.randint(1, 3)):
                day += timedelta(self.chance.randint(1, 5))
                last = day + timedelta(self.chance.randint(0, 24))
                found.append((stream, day, last))
                day = last
        self.chance.shuffle(found)
        return found

    def blocks(self, items):
        "The jobs of these ranges, as the service cuts them."
        found = []
        for stream, first, last in items:
            while first <= last:
                end = min(first + timedelta(9), last)
                found.append((stream, str(first), str(end)))
                first = end + timedelta(1)
        return found

    def made(self):
        "How often each block was made by this work."
        all_of_them = Counter(
            (job["dataStreamId"], job["dataStartDate"], job["dataEndDate"])
            for job in self.box.jobs.values()
            if job["id"] >= 700_001
        )
        return all_of_them - self.others

    def somebody_else(self):
        "The same days were processed by hand before, some of them."
        if self.chance.random() < 0.3:
            self.box.quirks.add("stuck_jobs")  # then most of these still wait
        for stream, first, last in self.universe:
            if self.chance.random() < 0.3:
                self.box.service.state.process(stream, first, last)
                self.others.update(self.blocks([(stream, first, last)]))
        self.box.clock.step(self.chance.choice([5, 45, 3000]))

    def session(self):
        dr = datorama(self.box.api_token, instance=self.box, pause=0)
        dr.connection.go_by(Wrong(self.box, self.chance.choice([0, 0, 120, -120, 3600, -7200])))
        vars(dr.connection).pop("ask", None)
        if self.chance.random() < 0.5:
            dr.get_all_streams()
        if self.chance.random() < 0.3:
            dr.get_all_streams()
            for stream in {stream for stream, _, _ in self.universe}:
                dr.streams[stream].get_stream_runs()
        return dr

    def trouble(self, dr):
        "What goes wrong in this session."
        for _ in range(self.chance.randint(0, 3)):
            stream = self.chance.choice(self.universe)[0]
            path = self.chance.choice(
                [
                    f"/v1/data-streams/{stream}/process",
                    "/v1/data-streams/process",
                    f"/v1/data-streams/api/{stream}/stats",
                    "/v1/data-streams",
                ]
            )
            times = self.chance.choice([1, 1, 2, 8, 40])
            self.box.fail(
                self.chance.choice(FAULTS), path, times=times, after=self.chance.randint(0, 4)
            )
        if self.chance.random() < 0.5:
            self.kill_in(dr, self.chance.randint(1, 8), self.chance.random() < 0.5)

    def kill_in(self, dr, calls, is_heard):
        ask, seen = dr.connection.ask, []

        def counted(request, *rest, **more):
            seen.append(request)
            if len(seen) == calls:
                if is_heard:
                    ask(request, *rest, **more)
                raise Killed
            return ask(request, *rest, **more)

        dr.connection.ask = counted

    def damage(self):
        "Half of the record is gone."
        self.is_damaged = True
        work = Path(os.environ["XDG_STATE_HOME"]) / "domostats" / "work"
        for path in [*work.rglob("record.sqlite"), *work.rglob("open.jsonl")]:
            content = path.read_bytes()
            path.write_bytes(content[: int(len(content) * self.chance.random())])

    def call(self, dr, items):
        "The call, and what it says of each range that is not known to be done."
        self.asked += [item for item in items if item not in self.asked]
        streams, starts, ends = (list(one) for one in zip(*items, strict=True))
        before = len(self.box.log)
        try:
            if self.form == "bulk":
                frame = dr.bulk_process_streams(streams, starts, ends)
            else:
                frame = dr.bulk_process_groups(streams, starts, ends)
        except SettingsError as e:
            posts = [call for call in [*self.box.log][before:] if call.path.endswith("/process")]
            assert e.reason == "already_done" and not posts
            return {}
        finally:
            vars(dr.connection).pop("ask", None)
        errors = frame[frame["status"] == "error"]
        return {(row.stream, row.start, row.end): row.reason for row in errors.itertuples()}

    def list_of_this_time(self):
        some = self.chance.sample(self.universe, self.chance.randint(1, len(self.universe)))
        return self.chance.choice([self.universe, self.universe[::-1], some, self.asked or some])

    def go_through(self):
        for _ in range(self.chance.randint(1, 4)):
            if self.chance.random() < 0.15:
                self.damage()
            dr = self.session()
            self.trouble(dr)
            with contextlib.suppress(Killed, DomostatsError):
                self.call(dr, self.list_of_this_time())
            self.box.heal()
            self.box.clock.step(self.chance.choice([0, 1, 60, 3600]))
            assert max(self.made().values(), default=0) <= 1
        self.end_well()

    def end_well(self):
        "Everything that was ever asked for, one range at a time, with nothing in the way."
        items, left = [*self.asked], {}
        dr = self.session()
        for item in items:
            left |= self.call(dr, [item])
        made = self.made()
        assert max(made.values(), default=0) <= 1
        assert set(left.values()) <= {"unknown_outcome"}
        self.open = left
        for item in items:
            for block in self.blocks([item]):
                key = block if self.form == "bulk" else (item[0], str(item[1]), str(item[2]))
                assert made[block] == 1 or key in left, (block, made[block])


@given(st.integers(0, 10**9))
@settings(
    max_examples=int(os.environ.get("NIGHTS", 5)),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_each_block_is_made_once_or_its_outcome_is_open(running, tmp_path_factory, seed):
    Night(*running, seed, tmp_path_factory.mktemp("state")).go_through()


@pytest.mark.slow
def test_fifty_nights_make_each_block_once(running, tmp_path_factory):
    plain, left = 0, 0
    for seed in range(50):
        night = Night(*running, seed, tmp_path_factory.mktemp("state"))
        night.go_through()
        if not (night.is_damaged or night.others):
            plain, left = plain + len(night.asked), left + len(night.open)
    assert plain > 20 and left < plain / 50  # where nothing is ambiguous, the outcome is known


# the long night: processes that are killed, no network for a while, a token that is revoked


NIGHT = """
import os, pathlib, sys, time
import requests
from domostats.clients.datorama import datorama
from domostats.transport.clock import FastClock

name, begun, speed, made, cut, streams = sys.argv[1:7]
clock = FastClock(float(begun) + (time.monotonic() - float(made)) * float(speed), float(speed))
dr = datorama({"ada": os.environ["TOKEN"]}, instance=name, pause=0)
dr.connection.go_by(clock)
[way] = dr.connection.connections
send = way.http.request

def request(*args, **how):
    if pathlib.Path(cut).exists() and clock.now() < float(pathlib.Path(cut).read_text()):
        raise requests.ConnectionError("Name or service not known")
    return send(*args, **how)

way.http.request = request
ids = [int(one) for one in streams.split(",")]
lists = [id for _ in range(25) for id in ids]
days = [f"2024-{1 + n // 28:02}-{1 + n % 28:02}" for n in range(25) for _ in ids]
if os.environ.get("TURNED"):
    lists, days = lists[::-1], days[::-1]
print("begun", flush=True)
frame = dr.bulk_process_streams(lists, days, days)
print(len(frame), frame["job"].nunique(), sorted(set(frame["status"])), flush=True)
"""

CROWD = """
import os, sys, time
from domostats.clients.datorama import datorama
from domostats.transport.clock import FastClock

name, begun, speed, made = sys.argv[1:5]
dr = datorama({"ada": os.environ["TOKEN"]}, instance=name, pause=0)
now = float(begun) + (time.monotonic() - float(made)) * float(speed)
dr.connection.go_by(FastClock(now, float(speed)))
for _ in range(60):
    dr.connection.get("/v1/workspaces")
"""


@pytest.mark.long
@pytest.mark.slow
def test_the_long_night_makes_each_block_once(tmp_path):
    speed, chance, cut = 60, random.Random(11), tmp_path / "cut"
    with sandbox.start_datorama(streams=24, seed=10) as box:
        api = [id for id, one in box.streams.items() if one["dataSourceName"] != "TotalConnect"]
        streams = ",".join(map(str, api[:12]))
        box.clock.speed = speed
        begun, made, old = box.clock.now(), time.monotonic(), box.tokens["ada"][0]
        token, killed = old.reveal(), 0

        def child(script=NIGHT):
            argv = [sys.executable, "-c", script, box.name, str(begun), str(speed), str(made)]
            return subprocess.Popen(
                [*argv, str(cut), streams],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "TOKEN": token, "TURNED": "1" * (killed % 2)},
            )

        def posts():
            return sum(call.path.endswith("/process") for call in [*box.log])

        def killed_after(some):
            night, first = child(), posts()
            assert night.stdout.readline() == "begun\n", night.stderr.read()
            while posts() < first + some and night.poll() is None:
                time.sleep(0.001)
            night.send_signal(signal.SIGKILL)
            night.wait()

        crowd = child(CROWD)
        while killed < 8:
            killed_after(chance.randint(2, 12))
            killed += 1
        box.service.users.tokens["ada"] = [Secret("dato-api-the-second")]
        out, err = child().communicate(timeout=120)
        assert "CredentialsError" in err and sum(call.status == 401 for call in [*box.log]) <= 3
        token = "dato-api-the-second"
        while killed < 14:
            killed_after(chance.randint(2, 12))
            killed += 1
        cut.write_text(str(box.clock.now() + 1200))
        killed_after(3)  # it waited for twenty minutes first
        assert box.clock.now() >= float(cut.read_text())
        killed += 1
        while killed < 20:
            killed_after(chance.randint(2, 12))
            killed += 1
        out, err = child().communicate(timeout=300)
        assert "300 300 ['queued']" in out, out + err
        crowd.kill()
        done = Counter(
            (job["dataStreamId"], job["dataStartDate"])
            for job in box.jobs.values()
            if job["id"] >= 700_001
        )
        assert len(done) == 300 and set(done.values()) == {1}
        assert {call.status for call in box.log} <= {
            200,
            401,
        }  # nobody was refused for too many calls
        minutes = Counter(call.at // 60 for call in box.log if call.user == "ada")
        assert max(minutes.values()) <= 60
