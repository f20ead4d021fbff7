"Extractors' tests on BigQuery: a sandbox that several tests share, a dataset for each store."

import itertools
import re
from pathlib import Path

import pyarrow as pa
import pytest
import test_extractors
import test_zones
from conftest import bigquery_of
from test_extractors import shop  # noqa: F401  a fixture of these tests too

from domostats.clients.bigquery.queries import run_query_job
from domostats.clients.bigquery.settings import read_bigquery_settings
from domostats.tracking.bigquery.warehouse import BigQueryWarehouse

PROJECT = "acme-analytics"
OWN = "kit_", "domostats_"


class Datasets:
    "The datasets that stand for the stores of one test: the same path, the same dataset."

    numbers = itertools.count()

    def __init__(self, box):
        self.box = box
        self.prefix = f"test_{next(self.numbers)}_"

    def warehouse(self, path="store.duckdb"):
        name = self.prefix + re.sub(r"\W", "_", Path(path).name)
        settings = read_bigquery_settings(PROJECT, name, endpoint=self.box.url)
        return StoreOnBigQuery(settings, Path.cwd())

    def remove(self):
        catalogue = self.box.service.project.catalogue
        for name in [*self.box.datasets]:
            catalogue.delete_dataset(name, True)


class StoreOnBigQuery(BigQueryWarehouse):
    "A warehouse that is asked as the tests ask a store."

    def read(self, name, sql="SELECT * FROM table"):
        sql = re.sub(r"\btable\b", self.connection.sql(name), sql)
        self.connection.prepare()
        found = (
            run_query_job(self.connection.runner, sql)
            .result()
            .to_arrow(create_bqstorage_client=False)
        )
        naive = [
            pa.field(one.name, pa.timestamp("us"))
            if pa.types.is_timestamp(one.type)
            else pa.field(one.name, pa.decimal128(38, 9))
            if pa.types.is_decimal(one.type)
            else one
            for one in found.schema
        ]
        return found.cast(pa.schema(naive))

    def names(self):
        self.connection.prepare()
        found = self.connection.client.list_tables(str(self.connection))
        return sorted(one.table_id for one in found if not one.table_id.startswith(OWN))

    def drop(self, name):
        self.connection.client.delete_table(str(self.connection.name(name)))


class LoadsOnBigQuery:
    "The ledger of such a store, asked as the tests ask the one of a store."

    def __init__(self, store):
        self.store = store

    def lines(self, dataset):
        with self.store.open() as db:
            return db.ledger.lines(dataset)

    def keys(self, dataset):
        own = [line.release_key for line in self.lines(dataset)]
        found = self.store.connection.select(
            f"SELECT DISTINCT dataset FROM {self.store.connection.sql('kit_loads')}", []
        )
        parts = [name for (name,) in found if name.startswith(f"{dataset}/")]
        in_each = [{line.release_key for line in self.lines(part)} for part in parts]
        return sorted(set.intersection(*in_each)) if in_each else own

    def forget(self, dataset, key):
        with self.store.open() as db:
            db.ledger.drop(dataset, key)


served = bigquery_of(PROJECT)


@pytest.fixture
def datasets(served, own_folder, monkeypatch):
    "Where a test opens a store it gets a dataset, the same one for the same path."
    served.heal()
    served.log.clear()
    served.jobs.clear()
    made = Datasets(served)

    def held(store="store.duckdb", table="email"):
        return sorted(tuple(row.values()) for row in made.warehouse(store).read(table).to_pylist())

    for module in (test_extractors, test_zones):
        monkeypatch.setattr(module, "Store", made.warehouse)
        monkeypatch.setattr(module, "Loads", LoadsOnBigQuery)
    monkeypatch.setattr(test_zones, "held", held)
    yield made
    made.remove()
    assert not served.mistakes, served.mistakes[0]
