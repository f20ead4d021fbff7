"""Histories under odd names and with odd columns."""

from datetime import datetime, timedelta
from types import SimpleNamespace

import pandas as pd
import pyarrow as pa
import pytest

from domostats import reports, sandbox
from domostats.errors import DataError, SettingsError
from domostats.loading.store import Store
from domostats.tracking.history.history import History

DAY = datetime(2024, 4, 1)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store.duckdb")


def test_a_history_is_no_part_of_another_because_of_a_slash_in_its_name(store):
    rows = pa.table({"id": [1, 2]})
    History("a/b", "id", store).snapshot(rows, DAY)
    assert History("a", "id", store).snapshot(rows, DAY - timedelta(5))[2:6] == (2, 2, 0, 0)
    assert History("a/b", "id", store).take_back() == [DAY]
    assert History("a", "id", store).snapshots().num_rows == 1


@pytest.mark.parametrize("name", ["", " ", "a\nb", "a\0", None, 5])
def test_a_history_has_a_name_that_can_be_printed(store, name):
    with pytest.raises(SettingsError) as caught:
        History(name, "id", store)
    assert caught.value.reason == "bad_name"


NAMES = [
    "k0",
    "k1",
    "column",
    "joins",
    "since",
    "until",
    "learned",
    "filled",
    "conformed",
    "latest",
    "cells",
    "upserts",
    "deletes",
    "version",
    "found",
    "value",
    "other",
    "cell",
]


def run_of(table, **cells):
    "A run with these rows, of which these cells (keys by column) are not known."
    keys = [(key, column) for column, some in cells.items() for key in some]
    doubts = pa.table({"k0": [key for key, _ in keys], "column": [name for _, name in keys]})
    return SimpleNamespace(table=table, incomplete=False, uncertain=doubts)


@pytest.mark.sampled(8)
@pytest.mark.parametrize("name", NAMES)
def test_a_column_of_any_name_may_be_not_known(store, name):
    history = History("x", "id", store)
    some = pa.table({"id": [1, 2], name: pa.array([None, "b"])})
    assert history.snapshot(run_of(some, **{name: [1]}), DAY)[3:6] == (2, 0, 0)
    later = pa.table({"id": [1, 2], name: ["a", "c"]})
    assert history.snapshot(later, DAY + timedelta(1))[3:6] == (0, 1, 0)
    assert history.changes(DAY).num_rows == 1
    assert history.at(DAY)[name].to_pylist() == ["a", "b"]
    history.take_back()
    assert history.at()[name].to_pylist() == [None, "b"]


@pytest.mark.sampled(8)
@pytest.mark.parametrize("name", NAMES)
def test_a_key_of_any_name_may_have_cells_that_are_not_known(store, name):
    history = History("x", name, store)
    some = pa.table({name: ["p", "q"], "v": pa.array([None, 1], pa.int64())})
    history.snapshot(run_of(some, v=["p"]), DAY)
    assert history.snapshot(pa.table({name: ["p", "q"], "v": [7, 1]}), DAY + timedelta(1))[3:6] == (
        0,
        0,
        0,
    )
    history.take_back()
    assert history.at()["v"].to_pylist() == [None, 1]
    assert history.erase("p") == 1


def test_a_frame_of_a_narrowed_run_is_written_by_pandas_and_still_refused(store):
    log = reports.find("activity_log")
    with sandbox.start() as box:
        frame = log.generate(box, since=datetime(2024, 1, 1), until=datetime(2024, 4, 1))
    frame.to_parquet("log.parquet")
    for rows in (frame, pd.read_parquet("log.parquet")):
        with pytest.raises(DataError) as caught:
            History.of(log, store, instance="a").snapshot(rows, DAY)
        assert caught.value.reason == "narrowed"
