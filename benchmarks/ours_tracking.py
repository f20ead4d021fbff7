"""History, an extract and a delta view: what a process does whose time or memory is measured."""

import json
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from extractor import Events

from domostats.loading.store import Store
from domostats.tracking import (
    Extraction,
    ExtractorType,
    History,
    Migrations,
    sq_field,
)
from domostats.tracking.extractors.statements import delta_select
from domostats.tracking.extractors.tables import table_from

FIRST = datetime(2024, 1, 1)


def users(count, days):
    "A table of so many users for each day; on each but the first, one in a hundred has changed."
    chance, ids = np.random.default_rng(1), np.arange(count)
    kept = {
        "id": pa.array(ids),
        "name": pa.array([f"user number {id}" for id in ids]),
        "email": pa.array([f"user{id}@example.com" for id in ids]),
        "department": pa.array([f"department {id % 50}" for id in ids]),
    }
    score, modified = chance.integers(0, 1000, count), np.full(count, np.datetime64(FIRST, "us"))
    for day in range(days):
        if day:
            changed = chance.choice(count, count // 100, replace=False)
            score[changed] += 1
            modified[changed] = np.datetime64(FIRST + timedelta(day), "us")
        yield pa.table(
            {**kept, "score": pa.array(score.copy()), "modified": pa.array(modified.copy())}
        )


def history(count, days):
    """Seconds of each daily snapshot, and the size of the store after the first and after so many
    days."""
    seconds, sizes = [], []
    with tempfile.TemporaryDirectory() as folder:
        kept = History("users", "id", Store(Path(folder) / "store.duckdb"))
        for day, table in enumerate(users(count, days)):
            begun = time.perf_counter()
            kept.snapshot(table, FIRST + timedelta(day))
            seconds.append(time.perf_counter() - begun)
            if day + 1 in (1, 2, 100):
                sizes.append(kept.store.path.stat().st_size)
    return {"rows": count, "seconds": seconds, "sizes": sizes}


@dataclass
class Figures:
    users: int = sq_field(differentiate=True)
    rows: int = sq_field(differentiate=True)
    share: float = 0.5


def prepared(extraction, folder):
    migrations = Migrations(Path(folder) / "migrations", extraction.store)
    migrations.make(extraction.tables)
    migrations.apply()
    return extraction


def extract(count):
    "How many rows of one day came to the store."
    with tempfile.TemporaryDirectory() as folder:
        extraction = prepared(
            Extraction(
                [Events(count)], Store(Path(folder) / "store.duckdb"), "UTC", date(2024, 1, 1)
            ),
            folder,
        )
        return sum(
            done.load.row_count
            for done in extraction.extract(datetime.fromisoformat("2024-01-02T12:00:00+00:00"))
        )


def delta(days, times):
    "Seconds of a scan of a table of so many days and of its delta view, medians of so many turns."
    table = table_from(Figures, ExtractorType.date_aggregated)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store.duckdb")
        migrations = Migrations(Path(folder) / "migrations", store)
        migrations.make([table])
        migrations.apply()
        with store.open() as con:
            con.execute(
                f"""
                INSERT INTO datasets.figures
                SELECT DATE '2016-01-01' + n::INTEGER, n * 10, n * n, 0.5
                FROM range({days}) AS r(n)
                """
            )
        with store.open() as con:
            seen = {"scan": [], "view": []}
            for _turn in range(times):
                for what, place in (("scan", "figures"), ("view", "figures_delta")):
                    begun = time.perf_counter()
                    got = con.execute(f"SELECT * FROM datasets.{place}").fetchall()
                    seen[what].append(time.perf_counter() - begun)
                    if len(got) != days:
                        raise SystemExit(f"{place} has {len(got)} rows.")
    return {
        "rows": days,
        **{what: sorted(times)[len(times) // 2] for what, times in seen.items()},
        "sql": delta_select(table),
    }


if __name__ == "__main__":
    print(json.dumps({"history": history, "delta": delta}[sys.argv[1]](*map(int, sys.argv[2:]))))
