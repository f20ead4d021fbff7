"""A release of which rows may be missing never takes the place of a complete one, and nobody
builds on it."""

import json
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from domostats import reports, sandbox
from domostats.errors import DataError
from domostats.interfaces.cli import app
from domostats.loading.store import Store
from domostats.tracking.ledger import move_lines
from domostats.tracking.loads import Loads
from domostats.tracking.registry.api import make_observatory_api
from domostats.tracking.registry.catch_up import CatchUp
from domostats.tracking.registry.entities import (
    Dataset,
    DatasetType,
    TableType,
    Workflow,
    WorkflowType,
)

KEY, DAY = "p:2024-03-05", date(2024, 3, 5)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store.duckdb")


@pytest.fixture
def runs():
    """Three accounts, and the same list with two of them unreadable: a way to run the report for
    each."""

    def run(ids):
        rows = [{"id": id, "name": "n", "displayName": "N", "userId": "27"} for id in ids]
        Path("p.json").write_text(json.dumps([{"key": "k", "name": "K", "accounts": rows}]))
        with sandbox.start(payloads={"accounts": "p.json"}) as box:
            return reports.find("accounts").run(box, format_fn="v2")

    return [lambda: run((1, 2, 3)), lambda: run((1, [], {}))]


def forms(run):
    "The rows of a run in every form that says what they cover."
    return [run(), run().table, run().dataframe(), run().table.to_reader(), run().reader()]


def dataset_of(api):
    flow = api.post_workflow(
        Workflow(name="flow", workflow_type=api.post_workflow_type(WorkflowType(type_id="flow")))
    )
    table = api.post_table_type(TableType(type_id="partitioned"))
    kind = api.post_dataset_type(DatasetType(type_id="accounts", table_type=table))
    return api.post_dataset(
        Dataset(
            name="accounts", service="duckdb", address="accounts", workflow=flow, dataset_type=kind
        )
    )


def test_an_incomplete_run_does_not_replace_a_complete_release(store, runs):
    whole, half = runs
    ledger = Loads(store)
    ledger.load("accounts", KEY, whole())
    for rows in forms(half):
        with pytest.raises(DataError) as caught:
            ledger.load("accounts", KEY, rows)
        assert caught.value.reason == "incomplete"
    assert store.read("accounts").num_rows == 3
    [line] = ledger.lines("accounts")
    assert line.row_count == 3 and "incomplete" not in line.details
    with pytest.warns(UserWarning, match="incomplete"):
        line = ledger.load("accounts", KEY, half(), allow_incomplete=True)
    assert line.row_count == store.read("accounts").num_rows == 1 and line.details["incomplete"]
    assert ledger.load("accounts", KEY, whole()).details == {}


def test_where_nothing_complete_stands_an_incomplete_release_is_written_and_noted(store, runs):
    whole, half = runs
    ledger = Loads(store)
    ledger.load("accounts", "p:2024-03-04", whole())
    for rows in forms(half):
        with pytest.warns(UserWarning, match="incomplete"):
            assert ledger.load("accounts", KEY, rows).details["incomplete"]
    assert store.read("accounts").num_rows == 4
    assert ledger.load("accounts", KEY, whole()).row_count == 3


def test_nobody_builds_on_an_incomplete_release(store, runs):
    whole, half = runs
    api = make_observatory_api(store.path.parent / "registry.sqlite")
    catching = CatchUp(dataset_of(api), api, store)
    for rows in forms(half):
        done = catching.run([DAY], lambda one: rows)
        assert not done.loaded and [e.reason for e in done.failures.values()] == ["incomplete"]
    assert (
        api.get_dataset_releases(10, catching.dataset.id) == [] and "accounts" not in store.names()
    )
    done = catching.run([DAY], lambda one: half(), allow_incomplete=True)
    assert "missing" in done.loaded[0].warning
    assert [one.state for one in api.get_dataset_releases(10, catching.dataset.id)] == ["loaded"]


def test_a_day_that_was_extracted_incomplete_is_told_to_the_registry_when_it_is_whole(store, runs):
    whole, half = runs
    api = make_observatory_api(store.path.parent / "registry.sqlite")
    catching = CatchUp(dataset_of(api), api, store)
    with pytest.warns(UserWarning, match="incomplete"):
        Loads(store).load("accounts", KEY, half())
    assert catching.record() == [] and catching.missing([DAY])
    Loads(store).load("accounts", KEY, whole())
    assert [one.release_key for one in catching.record()] == [KEY]


def test_a_day_is_incomplete_when_that_of_one_instance_is(store, runs):
    ledger = Loads(store)
    ledger.load("accounts", KEY, pa.table({"id": [1]}), table="a")
    with store.open() as con:
        move_lines(con, "accounts", "a")
    with pytest.warns(UserWarning):
        ledger.load("accounts", KEY, runs[1](), table="b")
    with store.open() as con:
        move_lines(con, "accounts", "b")
    assert [line.details.get("incomplete") is not None for line in ledger.lines("accounts")] == [
        True
    ]


def test_what_a_run_found_is_a_note_of_the_snapshot_and_of_the_extraction(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    lines = [
        "[domostats]",
        "store = here.duckdb",
        "[extractors]",
        "classes = domostats.tracking.domo_extractors.AccountCounts",
        "first_date = 2024-03-01",
        "migrations = migrations",
        "instance = sandbox",
    ]
    Path("settings.ini").write_text("\n".join(lines))
    rows = [{"id": n, "name": "n", "userId": "27", "valid": "true", "type": []} for n in (1, 2)]
    Path("p.json").write_text(json.dumps([{"key": "k", "name": "K", "accounts": rows}]))
    with sandbox.start(payloads={"accounts": "p.json"}):
        for words in (
            ["snapshot", "accounts", "--instance", "sandbox", "--format", "v2"],
            ["make-migrations"],
            ["migrate"],
            ["extract", "-f", "2024-03-01", "-l", "2024-03-02"],
            ["print-extract", "-f", "2024-03-01", "-l", "2024-03-02"],
        ):
            result = CliRunner().invoke(app, words)
            assert result.exit_code == 0, result.output
            if "migrat" not in words[0]:
                notes = [line for line in result.output.splitlines() if line.startswith("note: ")]
                assert any("type" in line for line in notes), (words, result.output)
                assert len(notes) == len({*notes})
