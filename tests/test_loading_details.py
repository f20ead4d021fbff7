"""Small things of loading: what a file is, whole numbers among fractions, rows that stay."""

import pyarrow as pa
import pytest

from domostats.errors import DestinationError
from domostats.loading.coverage import Coverage, mark_rows
from domostats.loading.parts import Part
from domostats.loading.store import Store
from domostats.loading.uploads.file_sources import file_kind
from domostats.loading.uploads.text_types import TextType


@pytest.mark.parametrize(
    "name, head, kind",
    [
        ("a.csv", b"id\n", "csv"),
        ("A.CSV.GZ", b"id\n", "csv"),
        ("a.tsv", b"id\n", "tsv"),
        ("a.tsv.gz", b"id\n", "tsv"),
        ("a.jsonl.gz", b"{}", "json lines"),
        ("a.ndjson", b"{}", "json lines"),
        ("a.json.gz", b"[]", "json"),
        ("a.ods", b"PK\x03\x04", "excel"),
        ("a.csv", b"PAR1", "parquet"),  # the bytes are believed before the name
        ("a.gz", b"id\n", "csv"),
        ("a.gz", b"\xef\xbb\xbf \n{}", "json"),
        ("a", b"[]", "json"),
        ("a.v2", b"id\n", "csv"),
    ],
)
def test_a_file_is_known_by_its_first_bytes_then_by_its_name(name, head, kind):
    assert file_kind(name, head) == kind


@pytest.mark.parametrize(
    "batches, type",
    [
        ([["9007199254740992"], ["0.5"]], pa.float64()),
        ([["-9007199254740992"], ["0.5"]], pa.float64()),
        ([["9007199254740993"], ["0.5"]], pa.string()),
        ([["-9007199254740993"], ["0.5"]], pa.string()),
        ([["18014398509481983"], ["0.5"]], pa.string()),
        ([["-18014398509481983"], ["0.5"]], pa.string()),
        ([["9007199254740993", "0.5"]], pa.string()),
        ([["-9007199254740993", "0.5"]], pa.string()),
        ([["7", "0.5"]], pa.float64()),
        ([["9007199254740993"], ["8"]], pa.int64()),
    ],
)
def test_a_whole_number_among_fractions_keeps_all_of_its_digits(batches, type):
    "A fraction has 53 bits for them."
    found = TextType()
    for batch in batches:
        found.look(batch)
    assert found.type == type


def of(*names, **columns):
    "The whole rows of some instances, as a run over them brings them."
    parts = {("", name): Part() for name in names}
    return mark_rows(pa.table({"instance": [*names], **columns}), Coverage(parts, True, "users"))


def test_a_dataset_that_keeps_rows_takes_no_others_with_other_columns():
    store = Store()
    store.write("people", of("acme", "beta", id=[1, 2], name=["Ann", "Bob"]))
    with pytest.raises(DestinationError) as caught:
        store.write("people", of("beta", id=[3], color=["red"]))
    assert caught.value.reason == "other_columns" and "the rows of acme" in str(caught.value)
    with pytest.warns(UserWarning, match="keeps the rows of acme as they were"):
        store.write("people", of("beta", id=[4], name=["Eve"]))
    assert sorted(store.read("people").to_pylist(), key=lambda row: row["id"]) == [
        {"instance": "acme", "id": 1, "name": "Ann"},
        {"instance": "beta", "id": 4, "name": "Eve"},
    ]
