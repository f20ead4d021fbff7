"""A day of events into a table of BigQuery, as the rows of a report and as those of an extractor:
what a process does whose memory is measured as a whole."""

import json
import tempfile
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
from extractor import Events
from measure import Clock, parameters, peak_rss

from domostats.clients.bigquery.client import open_client
from domostats.clients.bigquery.names import TableName
from domostats.clients.bigquery.settings import read_bigquery_settings
from domostats.loading.bigquery.destination import write_to_bigquery
from domostats.tracking import Extraction, Migrations
from domostats.tracking.bigquery.warehouse import BigQueryWarehouse

MIDNIGHT = datetime(2026, 1, 31, tzinfo=timezone.utc)
AT_ONCE = 1000  # rows, as a report hands them on


def batch(start, stop):
    "The events with these numbers."
    numbers = range(start, stop)
    return pa.RecordBatch.from_pydict(
        {
            "Event Id": pa.array([f"event {number * 7919 % 1_000_003:07}" for number in numbers]),
            "Time": pa.array(
                [MIDNIGHT + timedelta(milliseconds=number * 80) for number in numbers],
                pa.timestamp("us", "UTC"),
            ),
            "User Id": pa.array([number * 31 % 5000 for number in numbers]),
            "User Name": pa.array([f"user number {number * 31 % 5000}" for number in numbers]),
            "Action": pa.array([f"ACTION_{number % 40}" for number in numbers]),
            "Text": pa.array([f"did {number % 40} with object {number}" for number in numbers]),
        }
    )


def events(count):
    "So many events of a day, as a stream."
    first = batch(0, 1)
    batches = (batch(start, min(start + AT_ONCE, count)) for start in range(0, count, AT_ONCE))
    return pa.RecordBatchReader.from_batches(first.schema, batches)


def load(url, project, count):
    "Write the events to a table, and count them there."
    settings = read_bigquery_settings(project, "bench", endpoint=url)
    name = TableName(project, "bench", f"events_{count}")
    with Clock() as clock:
        write_to_bigquery(events(count), name, settings)
    rss = peak_rss()
    with open_client(settings) as client:
        rows = client.get_table(str(name)).num_rows
        client.delete_table(str(name))
    return {"rows": rows, "seconds": clock.seconds, "cpu": clock.cpu, "rss": rss}


def export(url, project, count):
    "Export a day of so many events from an extractor, and count them there."
    settings = read_bigquery_settings(project, f"bench_{count}", endpoint=url)
    with tempfile.TemporaryDirectory() as folder:
        warehouse = BigQueryWarehouse(settings, folder)
        extraction = Extraction([Events(count)], warehouse, "UTC", date(2026, 1, 30))
        migrations = Migrations(Path(folder) / "migrations", warehouse)
        migrations.make(extraction.tables)
        migrations.apply()
        with Clock() as clock:
            [done] = extraction.extract(MIDNIGHT)
    if done.error:
        raise done.error
    rss = peak_rss()
    with open_client(settings) as client:
        rows = client.get_table(f"{project}.bench_{count}.event").num_rows
        client.delete_dataset(f"{project}.bench_{count}", delete_contents=True)
    return {"rows": rows, "seconds": clock.seconds, "cpu": clock.cpu, "rss": rss}


if __name__ == "__main__":
    asked = parameters()
    ways = {"load": load, "export": export}
    print(json.dumps(ways[asked.pop("way")](**asked)))
