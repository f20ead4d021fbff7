"""`--warehouse`: what stands in a dataset of BigQuery is shown as what stands in the store."""

import json
from datetime import date
from pathlib import Path

import commands
import pyarrow as pa
import pytest
from conftest import bigquery_of

pytest.importorskip("google.cloud.bigquery")

from platforms import started

from domostats.clients.bigquery.names import TableName
from domostats.clients.bigquery.settings import read_bigquery_settings
from domostats.errors import DestinationError
from domostats.loading.bigquery.destination import write_to_bigquery
from domostats.loading.store import Store
from domostats.tracking.bigquery.warehouse import BigQueryWarehouse
from domostats.tracking.ledger import Load
from domostats.tracking.loads import Loads

PROJECT = "acme-analytics"
THERE = "--warehouse", f"bigquery:{PROJECT}.looks"
PEOPLE = pa.table(
    {"id": [27, 71, 5], "name": ["Grace", None, "Bo"], "born": [date(1906, 12, 9), None, None]}
)


box = bigquery_of(PROJECT)


@pytest.fixture
def domostats(box, own_folder):
    def run(*words, wanted=0):
        given = {"COLUMNS": "200", "BIGQUERY_EMULATOR_HOST": box.url}
        code, out, err = commands.run(*words, environment=given)
        assert code == wanted, out + err
        assert "Traceback" not in out + err
        return out if wanted == 0 else out + err

    yield run
    for name in [*box.datasets]:
        box.service.project.catalogue.delete_dataset(name, True)


@pytest.fixture
def people(box, domostats):
    "The same people in the store and in a dataset, each with a line in the ledger."
    settings = read_bigquery_settings(PROJECT, "looks", endpoint=box.url)
    warehouse = BigQueryWarehouse(settings, Path.cwd())
    write_to_bigquery(PEOPLE, TableName(PROJECT, "looks", "people"), settings)
    Store().write("people", PEOPLE)
    for place in (Store(), warehouse):
        for n in (1, 2):
            Loads(place).note(Load("people", f"p:2024-01-0{n}", 3, "me"))
    return warehouse


@pytest.mark.sampled(8, a_day=3)
@pytest.mark.parametrize(
    "words",
    [
        ("rows", "people", "--json"),
        ("rows", "people", "--columns", "NAME,id", "--csv"),
        ("rows", "people", "--where", "id > 20", "--csv"),
        ("rows", "people", "--limit", "0", "--json"),
        ("query", "SELECT COUNT(*) AS n, MAX(born) AS last FROM people", "--json"),
        ("query", "SELECT name FROM people WHERE id = 5"),
        ("releases", "people"),
        ("releases",),
    ],
)
def test_a_warehouse_answers_as_the_store_does(domostats, people, words):
    here, there = domostats(*words), domostats(*words, *THERE)
    if words[0] == "rows" and "--where" not in words and "--json" in words:
        here, there = (sorted(json.loads(one), key=str) for one in (here, there))
    if words[0] == "rows" and "--csv" in words:
        here, there = sorted(here.splitlines()), sorted(there.splitlines())
    assert here == there


def test_datasets_and_columns_are_listed(domostats, people):
    def listed(*words):
        found = json.loads(domostats("datasets", "--json", *words))
        return [(one["dataset"], one["rows"], one["columns"], one["complete"]) for one in found]

    assert listed() == listed(*THERE) == [("people", 3, 3, True)]
    people.connection.select(
        f"CREATE VIEW `{people.connection}.one` AS SELECT id FROM `{people.connection}.people`", []
    )
    assert [one[:2] for one in listed(*THERE)] == [("one", None), ("people", 3)]
    found = json.loads(domostats("schema", "people", "--json", *THERE))
    assert [(one["column"], one["type"], one["nulls"]) for one in found] == [
        ("id", "INT64", 0),
        ("name", "STRING", 1),
        ("born", "DATE", 2),
    ]
    assert "people" in domostats("datasets", *THERE)


def test_the_settings_may_name_the_warehouse(domostats, people, box):
    Path("settings.ini").write_text(
        f"[domostats]\n[extractors]\nwarehouse = bigquery:{PROJECT}.looks\n"
    )
    words = "query", "SELECT id FROM people ORDER BY id", "--csv", "--warehouse", "settings"
    assert domostats(*words).split() == ['"id"', "5", "27", "71"]
    Path("settings.ini").write_text(
        f"[domostats]\n[bigquery]\nproject = {PROJECT}\ndataset = looks\nmax_bytes_billed = 1\n"
    )
    assert "max_bytes_billed" in domostats(*words, wanted=3)


@pytest.mark.sampled(7, a_day=2)
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("rows", "poeple"), 2, "Did you mean 'people'?"),
        (("rows", "people", "--columns", "nmae"), 2, "Did you mean 'name'?"),
        (("query", "DELETE FROM people WHERE TRUE"), 2, "one SELECT"),
        (("query", "SELECT 1; DROP TABLE people"), 2, "one SELECT"),
        (("query", "SELECT nothing FROM people"), None, "Unrecognized name"),
        (("schema", "kit_nothing"), 2, "people"),
        (("releases", "poeple"), 3, "Did you mean 'people'?"),
    ],
)
def test_what_cannot_be_shown_is_told(domostats, people, words, code, said):
    here, out, err = commands.run(
        *words, *THERE, environment={"BIGQUERY_EMULATOR_HOST": people.connection.settings.url}
    )
    assert here != 0 and code in (None, here) and said in out + err
    assert domostats("datasets", *THERE).count("people") == 1


def test_looking_makes_nothing(domostats, box):
    place = "--warehouse", f"bigquery:{PROJECT}.nowhere"
    for words in (("datasets",), ("rows", "t"), ("schema", "t"), ("query", "SELECT 1 AS n")):
        domostats(*words, *place, wanted=5)
    assert "nowhere" not in box.datasets
    assert "is no warehouse" in domostats("datasets", "--warehouse", "duckdb", wanted=2)


@pytest.mark.slow
def test_a_history_is_kept_and_seen_there(domostats, box):
    with started("domo", {"today": "2024-04-01"}) as source:
        words = "--instance", source.name, *THERE
        said = domostats("snapshot", "groups", *words)
        assert said.startswith(f"kept of {source.name}")
        assert "snapshots of" in domostats("history", "groups", *words)
        now = domostats("history", "groups", "--to", "-", *words)
        assert len(now.splitlines()) > 1
        assert domostats("history", "groups", "--instance", source.name, wanted=3)
        key = now.splitlines()[1].split(",")[0].strip('"')
        assert "would be erased" in domostats("erase", "groups", key, "--dry-run", *words)
        domostats("changes", "groups", "--since", "2020-01-01", "--to", "-", *words)
        assert "history.groups" in domostats("releases", *THERE)
        domostats("take-back", "groups", *words)
        assert "no history" in domostats("history", "groups", *words, wanted=3)


def test_rows_do_not_come_past_an_extractor(people, box):
    "Its table is declared; once it was dropped, the name is free."
    there = people.connection
    settings = there.settings
    write_to_bigquery(PEOPLE, TableName(PROJECT, "looks", "mine"), settings)
    for declaration, is_refused in (("{}", True), ("gone", False)):
        there.select(
            f"INSERT INTO `{there}.kit_declared` (name, declaration, noted_at) "
            f"SELECT 'mine', '{declaration}', CURRENT_TIMESTAMP()",
            [],
        )
        try:
            write_to_bigquery(PEOPLE, TableName(PROJECT, "looks", "mine"), settings, "APPEND")
        except DestinationError as e:
            assert is_refused and e.reason == "bad_destination" and "domostats extract" in str(e)
        else:
            assert not is_refused
    assert box.table("looks.mine").num_rows == 6
