"""What many instances cost in memory: as much as a few."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json, sys
from contextlib import contextmanager
from dataclasses import dataclass
from domostats.reports.fleet import run_all
from domostats.reports.report import Report
from domostats.reports.declaration import Source
from domostats.transport.pages import Page
from domostats.transport.listing import Whole
from domostats.reports.report import Report
from domostats.reports.declaration import Source
from domostats.reports.fleet import run_all
from domostats.transport.listing import Whole
from domostats.transport.pages import Page

@dataclass
class Record:
    id: int
    text: str | None = None
    count: int | None = None

def page(number):
    records = [
        {"id": 100 * number + n, "text": f"{n} of {number} " * 20, "count": n} for n in range(100)
    ]
    return Page(number, json.dumps(records).encode(), 100)

class Prepared(Report):
    def stream(self, instance, session_token=None, format_fn=None, **how):
        @contextmanager
        def block():
            run = self.over(self.formatter(format_fn), {"record": map(page, range(1, 41))})
            run.instance = instance
            yield run
        return block()

    def run(self, instance, session_token=None, format_fn=None, **how):
        with self.stream(instance, session_token, format_fn) as run:
            run.made
        return run

report = Prepared("records", "one record", "id", Source("record", Whole("/records"), Record))
fleet = run_all(report, [f"instance-{n}" for n in range(int(sys.argv[1]))])
rows = sum(batch.num_rows for batch in fleet.reader())
lines = open("/proc/self/status").read().splitlines()
peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
print(rows, peak)
"""


def peak_of(instances):
    """The most memory (MB) of a process that takes 4000 rows of each of so many instances, about
    1 MB each."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(instances)], capture_output=True, text=True, check=True
    )
    rows, peak = map(int, done.stdout.split())
    assert rows == 4_000 * instances
    return peak / 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs the peak of a process")
def test_memory_does_not_grow_with_the_number_of_instances(own_folder):
    few, many = peak_of(10), peak_of(70)
    assert many < few + 30
