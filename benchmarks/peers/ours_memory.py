"""Events of a sandbox to an Arrow stream, a Parquet file or a DuckDB table, the budget off: how much memory at the most."""
import tempfile
from datetime import datetime
from pathlib import Path

from measured import measured

from domostats.loading.files import write_file
from domostats.loading.store import Store
from domostats.reports.activity_log import report

WRITERS = {"arrow": lambda reader, folder: sum(batch.num_rows for batch in reader),
           "parquet": lambda reader, folder: write_file(reader, Path(folder) / "events.parquet"),
           "duckdb": lambda reader, folder: Store(Path(folder) / "events.duckdb").write("events", reader)}


def events(asked):
    with tempfile.TemporaryDirectory() as folder, report.stream(asked["name"], fresh=True, since=datetime(2022, 1, 1), until=datetime(2024, 4, 2)) as run:
        return WRITERS[asked["to"]](run.reader(), folder)


measured(events)
