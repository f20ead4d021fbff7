"""A history on BigQuery, and `--to bigquery:`, killed anywhere: what goes on afterwards leaves what
an undisturbed run leaves."""

import os
import signal
import subprocess
import sys
import time as clock

import pytest

pytest.importorskip("google.cloud.bigquery")

from bigquery_support import PROJECT
from conftest import KILLS, ROOT
from test_history_property import exactly

from domostats.clients.bigquery.client import open_client
from domostats.clients.bigquery.names import TableName
from domostats.loading.bigquery.notes import find_note
from domostats.tracking.history.history import History
from domostats.tracking.history.on_bigquery import BigQueryHistories
from domostats.tracking.loads import Loads

pytest_plugins = "bigquery_support"
pytestmark = [pytest.mark.slow, pytest.mark.kills]
LONG = 400  # seconds: on a machine with much else to do programs take their time

BEGIN = """
import sys
from datetime import datetime, timedelta
import pyarrow as pa
from domostats.clients.bigquery.settings import read_bigquery_settings
from domostats.transport.clock import set_waits

url, project, dataset, first = sys.argv[1:]
settings = read_bigquery_settings(project, dataset, "EU", endpoint=url)
set_waits(False)

def say(word):
    print(word, flush=True)
"""

HISTORY = """
from domostats.errors import RetryLaterError
from domostats.tracking.bigquery.warehouse import BigQueryWarehouse
from domostats.tracking.history.history import History
from domostats.tracking.history.on_bigquery import BigQueryHistories

history = History("users", "id", BigQueryHistories(BigQueryWarehouse(settings, ".")))

def take_next():
    n = history.snapshots().num_rows
    if n == 5:
        return False
    rows = {"id": [1, 2, n + 10], "name": [f"day {n}", "same", None]}
    rows |= {f"more {k}": [k, None, n] for k in range(n // 2)}
    say("begun")
    history.snapshot(pa.table(rows), datetime(2024, 1, 1) + timedelta(n))
    return True

for _ in range(20):
    try:
        if not take_next():
            break
    except RetryLaterError as e:
        assert e.reason == "changed_meanwhile", e  # that of the one that died came meanwhile
say("done")
"""

DESTINATION = """
from domostats.clients.bigquery.names import TableName
from domostats.loading.bigquery.destination import write_to_bigquery

STEPS = [
    ("REPLACE", [1, 2]), ("APPEND", [3]), ("UPSERT", [2, 4]), ("PARTITION", [5]),
    ("PARTITION", [6, 7]), ("REPLACE", [1]), ("APPEND", [2]), ("REPLACE", [8, 9]),
]
for n, (method, ids) in enumerate(STEPS[int(first):], int(first)):
    say("begun")
    write_to_bigquery(
        pa.table({"id": ids, "n": [n] * len(ids)}),
        TableName(project, dataset, "t"),
        settings,
        method,
        update_key="id" if method == "UPSERT" else None,
        partition_name="p" if method == "PARTITION" else None,
    )
    say("step")
say("done")
"""
# What stands there after so many steps, as (id, number of the step).
STATES = [
    None,
    [(1, 0), (2, 0)],
    [(1, 0), (2, 0), (3, 1)],
    [(1, 0), (2, 2), (3, 1), (4, 2)],
    [(1, 0), (2, 2), (3, 1), (4, 2), (5, 3)],
    [(1, 0), (2, 2), (3, 1), (4, 2), (6, 4), (7, 4)],
    [(1, 5)],
    [(1, 5), (2, 6)],
    [(8, 7), (9, 7)],
]


def worker(box, program, dataset, first=0):
    return subprocess.Popen(
        [sys.executable, "-c", BEGIN + program, box.url, PROJECT, dataset, str(first)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def killed(running, draws):
    "Kill a program a moment after it has begun; what it has said, and whether that was in time."
    said = [running.stdout.readline().strip()]
    if said == ["begun"]:
        clock.sleep(draws.random())
        running.send_signal(signal.SIGKILL)
    rest, _ = running.communicate(timeout=LONG)
    said += rest.split()
    return said, said[-1] != "done"


def ended(running):
    assert running.communicate(timeout=LONG)[0].endswith("done\n")
    assert running.returncode == 0


def left_over(datasets, dataset):
    "The tables of rows on their way; each of them goes by itself."
    tables = datasets.box.datasets[dataset].tables
    found = [table for name, table in tables.items() if "stag" in name]
    assert all(table.expires for table in found)
    return found


def history_of(datasets, path):
    store = datasets.warehouse(path)
    history = History("users", "id", BigQueryHistories(store))
    view = store.connection.select(
        f"SELECT id, name, valid_from FROM {store.connection.sql('history_users')} ORDER BY 3, 1",
        [],
    )
    left_over(datasets, store.connection.settings.dataset)
    return (
        exactly(history.at()),
        exactly(history.validity()),
        exactly(history.snapshots()),
        [(line.release_key, line.row_count, line.details) for line in Loads(store).lines()],
        view,
    )


def test_kills_leave_the_history_of_an_undisturbed_run(served, datasets, draws):
    places, inside = ["killed"], 0
    for attempt in range(10 * KILLS):
        if inside == KILLS:
            break
        dataset = datasets.warehouse(places[-1]).connection.settings.dataset
        _, was_inside = killed(worker(served, HISTORY, dataset), draws)
        inside += was_inside
        if not was_inside:
            places.append(f"killed {attempt}")
    assert inside == KILLS
    for path in (places[-1], "whole"):
        ended(worker(served, HISTORY, datasets.warehouse(path).connection.settings.dataset))
    whole = history_of(datasets, "whole")
    assert len(whole[3]) == 5
    for path in places:
        assert history_of(datasets, path) == whole


def test_kills_of_a_write_leave_all_of_it_or_nothing(served, datasets, draws):
    def dataset_of(path):
        return datasets.warehouse(path).connection.settings.dataset

    def standing(dataset):
        there = served.datasets.get(dataset)
        if there is None or "t" not in there.tables:
            return None
        return sorted((row["id"], row["n"]) for row in served.table(f"{dataset}.t").to_pylist())

    dataset, inside, done = dataset_of("killed"), 0, 0
    for attempt in range(10 * KILLS):
        if inside == KILLS:
            break
        said, was_inside = killed(worker(served, DESTINATION, dataset, done), draws)
        inside += was_inside
        done += said.count("step")
        found = standing(dataset)
        assert found in STATES[done : done + 2], (done, found)
        done += found != STATES[done]  # it was done, and the program could not say so any more
        if done == len(STATES) - 1:
            ended(worker(served, DESTINATION, dataset, done))
            dataset, done = dataset_of(f"killed {attempt}"), 0
    assert inside == KILLS
    ended(worker(served, DESTINATION, dataset, done))
    ended(worker(served, DESTINATION, dataset_of("whole")))
    assert standing(dataset) == standing(dataset_of("whole")) == STATES[-1]
    for one in (dataset, dataset_of("whole")):
        left_over(datasets, one)
    with open_client(datasets.warehouse("whole").connection.settings) as client:
        notes = [
            find_note(client, TableName(PROJECT, one, "t")).to_json()
            for one in (dataset, dataset_of("whole"))
        ]
    assert notes[0] == notes[1]
