"""A whole activity log on the way of a report, batch by batch, to each destination: `load`, for a
process whose memory is measured."""

import tempfile
from datetime import datetime
from pathlib import Path

from domostats.clients.domo.credentials import AccessToken
from domostats.instances import Instance
from domostats.loading.files import write_file
from domostats.loading.store import Store
from domostats.reports.activity_log import report

WRITERS = {
    "arrow": lambda reader, folder: sum(batch.num_rows for batch in reader),
    "parquet": lambda reader, folder: write_file(reader, folder / "events.parquet"),
    "duckdb": lambda reader, folder: Store(folder / "events.duckdb").write("events", reader),
}


def load(url, access_token, to):
    """How many events went to `to`: an Arrow stream that is read and dropped, a Parquet file, a
    DuckDB table."""
    since, until = datetime(2022, 1, 1), datetime(2024, 4, 2)  # more than the world's year
    with (
        tempfile.TemporaryDirectory() as folder,
        report.stream(
            Instance("benchmark", url),
            AccessToken(access_token),
            fresh=True,
            since=since,
            until=until,
        ) as run,
    ):
        return WRITERS[to](run.reader(), Path(folder))
