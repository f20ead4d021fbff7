"""A process killed while it writes leaves the old data or the new, and nothing between."""

import json
import os
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pytest
from conftest import KILLS

from domostats.loading.files import read_file, write_file
from domostats.loading.store import Store

ROWS = 400_000

WRITER = """
import sys
import pyarrow as pa
from domostats.loading.files import write_file
from domostats.loading.store import Store

place, kind, generation, rows = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
schema = pa.schema({"generation": pa.int64(), "n": pa.int64(), "text": pa.string()})

def batches():
    for start in range(0, rows, 50_000):
        n = range(start, min(start + 50_000, rows))
        texts = [f"{i * 7919 % 1000003} of {generation}" for i in n]
        yield pa.record_batch([[generation] * len(n), list(n), texts], schema=schema)

data = pa.RecordBatchReader.from_batches(schema, batches())
if kind == "store": Store(place).write("accounts", data, "REPLACE")
else: write_file(data, place)
"""

READER = """
import json, sys
from domostats.loading.store import Store
query = '''
    SELECT min(generation) AS lo, max(generation) AS hi, count(*) AS n,
           sum(n) AS total, count(DISTINCT text) AS texts
    FROM table'''
print(json.dumps(Store(sys.argv[1]).read("accounts", query).to_pylist()[0]))
"""


def start(place, kind, generation, rows=ROWS):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(place), kind, str(generation), str(rows)],
        stderr=subprocess.PIPE,
        text=True,
    )


def written(place):
    "What the bytes on the disk look like from outside: size and time of the store and of its log."
    found = []
    for path in (place, place.with_name(place.name + ".wal")):
        try:
            found.append((path.stat().st_size, path.stat().st_mtime_ns))
        except FileNotFoundError:
            found.append(None)
    return found


def read_in_a_fresh_process(place):
    shown = subprocess.run(
        [sys.executable, "-c", READER, str(place)], capture_output=True, text=True, timeout=60
    )
    assert shown.returncode == 0, shown.stderr
    return json.loads(shown.stdout)


def whole(generation):
    return {
        "lo": generation,
        "hi": generation,
        "n": ROWS,
        "total": ROWS * (ROWS - 1) // 2,
        "texts": ROWS,
    }


def wait_for(change, child):
    "Wait until something has changed or the child has ended; whether it has changed."
    for _ in range(60_000):
        if change():
            return True
        if child.poll() is not None:
            return change()
        time.sleep(0.0005)
    raise AssertionError("the child neither wrote nor ended")


@pytest.fixture
def place(tmp_path):
    return tmp_path / "data" / "store.duckdb"


@pytest.mark.slow
@pytest.mark.kills
def test_kills_leave_one_whole_generation(place, draws):
    child = start(place, "store", 0)
    assert child.wait(60) == 0, child.stderr.read()
    Store(place).names()
    before = written(place)
    child = start(place, "store", 1)
    wait_for(lambda: written(place) != before, child)
    first_byte = time.monotonic()
    assert child.wait(60) == 0
    window = time.monotonic() - first_byte  # from the first byte to the end of the process

    current, between, log = 1, 0, []
    for attempt in range(2 * KILLS):  # more where too many came after the commit
        if attempt >= KILLS and between >= 3 * KILLS // 4:
            break
        before = written(place)
        child = start(place, "store", current + 1)
        assert wait_for(lambda: written(place) != before, child)
        time.sleep(draws.random() * window * 0.3)
        child.kill()
        assert child.wait(60) in (-signal.SIGKILL, 0)
        found = read_in_a_fresh_process(place)
        assert found in (whole(current), whole(current + 1)), (attempt, found)
        log.append(found["lo"] - current)  # 0: bytes were written, and the commit was not reached
        between += found == whole(current)
        current = found["lo"]
    assert between >= 3 * KILLS // 4, log

    Store(place).write("small", pa.table({"id": [1]}))
    assert [path.name for path in place.parent.iterdir()] == [place.name]
    assert read_in_a_fresh_process(place) == whole(current)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_killed_file_is_the_old_file(tmp_path, suffix):
    path = tmp_path / f"accounts{suffix}"
    write_file(pa.table({"generation": [0]}), path)
    for _attempt in range(3):
        child = start(path, "file", 1, rows=2_000_000)

        def parts():
            return [part for part in tmp_path.glob(".*.part") if part.stat().st_size]

        assert wait_for(parts, child)
        child.kill()
        child.wait(60)
        assert read_file(path)["generation"].to_pylist() == [0]
        for part in parts():
            os.utime(part, (0, 0))  # as if a day had gone by
    write_file(pa.table({"generation": [1]}), path)
    assert [other.name for other in tmp_path.iterdir() if other.is_file()] == [path.name]
