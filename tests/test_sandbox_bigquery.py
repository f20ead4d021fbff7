"""The sandbox's BigQuery, asked by Google's client as it is: every operation, every error, every
fault."""

import contextlib
import datetime
import io
import json
import re
import threading
from decimal import Decimal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from conftest import bigquery_of

from domostats import sandbox
from domostats.errors import SettingsError
from domostats.instances import find_instance
from domostats.sandbox.bigquery.faults import BIGQUERY_FAULTS, REFUSING

bigquery = pytest.importorskip("google.cloud.bigquery")
from google.api_core import exceptions, retry  # noqa: E402
from google.auth.credentials import AnonymousCredentials  # noqa: E402
from google.auth.exceptions import InvalidOperation  # noqa: E402
from google.cloud.bigquery import SchemaField as Field  # noqa: E402

PROJECT = "acme-analytics"
PATH = f"/bigquery/v2/projects/{PROJECT}"
UPLOAD = f"/upload{PATH}/jobs"
FIELDS = [
    Field("day", "DATE", "REQUIRED"),
    Field("n", "INTEGER"),
    Field("tags", "STRING", "REPEATED"),
]
IN_T = {"tableReference": {"tableId": "t"}}
SIXTH = {"day": "2022-01-06", "n": 1, "tags": ["x"]}
SOON = retry.Retry(
    predicate=lambda e: isinstance(e, (exceptions.ServiceUnavailable, ConnectionError)),
    initial=0.001,
    maximum=0.002,
    timeout=5,
)


served = bigquery_of(PROJECT)


def new_client(box, **more):
    return bigquery.Client(
        project=box.project,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": box.url},
        **more,
    )


@pytest.fixture
def box(served):
    served.heal()
    for name in [*served.datasets]:
        served.service.project.catalogue.delete_dataset(name, True)
    served.log.clear()
    yield served
    assert not served.mistakes, served.mistakes[0]


@pytest.fixture
def client(box):
    made = new_client(box)
    made.create_dataset("d")
    box.log.clear()
    return made


def calls(box, *without):
    "What was asked since the last time, as `GET /datasets/d`, ids of jobs as `*`."
    found = []
    for call in [*box.log]:
        path = call.path.replace(PATH, "")
        path = re.sub(r"/(jobs|queries)/[^/]+", r"/\1/*", path)
        kind = re.search(r"uploadType=\w+", call.query) if "/upload" in path else None
        found.append(f"{call.method} {path}" + (f"?{kind.group()}" if kind else ""))
    box.log.clear()
    return found


def make_table(client, name="t", **settings):
    table = bigquery.Table(f"{PROJECT}.d.{name}", schema=FIELDS)
    table.time_partitioning = bigquery.TimePartitioning(field="day")
    table.clustering_fields = ["n"]
    for setting, value in settings.items():
        setattr(table, setting, value)
    return client.create_table(table)


def load(client, rows, to="d.t", how="WRITE_TRUNCATE", job_id=None, wait=True, **settings):
    config = bigquery.LoadJobConfig(schema=FIELDS, write_disposition=how, **settings)
    job = client.load_table_from_json(rows, to, job_config=config, job_id=job_id)
    return job.result(retry=SOON) if wait else job


def rows_of(client, text, **config):
    job = client.query(text, job_config=bigquery.QueryJobConfig(**config), job_retry=None)
    return [tuple(row) for row in job.result()]


# what each operation asks, and what comes of it: the sheet's first table


def test_a_dataset_is_made_found_listed_changed_and_removed(box):
    client = new_client(box)
    made = bigquery.Dataset(f"{PROJECT}.sales")
    made.location = "US"
    made.access_entries = [bigquery.AccessEntry("WRITER", "groupByEmail", "a@example.com")]
    client.create_dataset(made)
    assert calls(box) == ["POST /datasets"]
    assert client.create_dataset("sales", exists_ok=True).location == "US"
    assert calls(box) == ["POST /datasets", "GET /datasets/sales"]
    with pytest.raises(exceptions.Conflict, match="Already Exists: Dataset acme-analytics:sales"):
        client.create_dataset("sales")
    box.log.clear()
    found = client.get_dataset("sales")
    assert [entry.entity_id for entry in found.access_entries] == ["a@example.com"]
    found.description, found.labels = "What was sold", {"team": "data"}
    changed = client.update_dataset(found, ["description", "labels"])
    assert (changed.description, changed.labels) == ("What was sold", {"team": "data"})
    assert calls(box) == ["GET /datasets/sales", "PATCH /datasets/sales"]
    assert [one.dataset_id for one in client.list_datasets()] == ["sales"]
    assert client.create_dataset("other").location == "EU"
    assert calls(box) == ["GET /datasets", "POST /datasets"]
    client.delete_dataset("sales")
    client.delete_dataset("sales", not_found_ok=True)
    assert calls(box) == ["DELETE /datasets/sales"] * 2
    with pytest.raises(exceptions.NotFound, match="Not found: Dataset acme-analytics:sales"):
        client.get_dataset("sales")


def test_default_owners_are_there_and_an_old_state_is_not_written_back(client):
    first, second = client.get_dataset("d"), client.get_dataset("d")
    owners = {entry.entity_id for entry in first.access_entries if entry.role == "OWNER"}
    assert "projectOwners" in owners and len(owners) == 2
    group = bigquery.AccessEntry("WRITER", "groupByEmail", "analysts@example.com")
    first.access_entries = [*first.access_entries, group]
    client.update_dataset(first, ["access_entries"])
    second.access_entries = second.access_entries[:1]
    with pytest.raises(exceptions.PreconditionFailed):
        client.update_dataset(second, ["access_entries"])
    found = client.get_dataset("d").access_entries
    assert group in found and len(found) == 5


def test_a_dataset_with_tables_is_in_use(client):
    make_table(client)
    with pytest.raises(exceptions.BadRequest, match="still in use"):
        client.delete_dataset("d")
    client.delete_dataset("d", delete_contents=True)
    assert not [*client.list_datasets()]


def test_a_table_is_made_found_listed_changed_and_removed(box, client):
    table = make_table(client, description="Days", labels={"team": "data"})
    assert calls(box) == ["POST /datasets/d/tables"]
    make = bigquery.Table(f"{PROJECT}.d.t", schema=FIELDS)
    client.create_table(make, exists_ok=True)
    assert calls(box) == ["POST /datasets/d/tables", "GET /datasets/d/tables/t"]
    with pytest.raises(exceptions.Conflict, match="Already Exists: Table acme-analytics:d.t"):
        client.create_table(make)
    found = client.get_table("d.t")
    assert found.schema == FIELDS and found.clustering_fields == ["n"]
    assert (found.time_partitioning.type_, found.time_partitioning.field) == ("DAY", "day")
    assert (found.description, found.labels, found.num_rows) == ("Days", {"team": "data"}, 0)
    box.log.clear()
    found.schema = [*FIELDS, Field("x", "NUMERIC", description="more")]
    changed = client.update_table(found, ["schema"])
    assert changed.schema[-1].field_type == "NUMERIC" and changed.etag != table.etag
    assert calls(box) == ["PATCH /datasets/d/tables/t"]
    table.description = "late"
    with pytest.raises(exceptions.PreconditionFailed):
        client.update_table(table, ["description"])
    assert [one.table_id for one in client.list_tables("d")] == ["t"]
    with pytest.raises(exceptions.NotFound):
        client.get_table("d.nope")
    box.log.clear()
    client.delete_table("d.t")
    client.delete_table("d.t", not_found_ok=True)
    assert calls(box) == ["DELETE /datasets/d/tables/t"] * 2


def test_lists_come_in_pages(box, client):
    for number in range(5):
        make_table(client, f"t{number}")
    box.log.clear()
    found = [one.table_id for one in client.list_tables("d", page_size=2)]
    assert found == ["t0", "t1", "t2", "t3", "t4"]
    assert calls(box) == ["GET /datasets/d/tables"] * 3


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        (FIELDS[1:], "Field day is missing"),
        ([Field("day", "STRING", "REQUIRED"), *FIELDS[1:]], "changed type from DATE to STRING"),
        ([*FIELDS, Field("x", "INT64", "REQUIRED")], "Cannot add required fields"),
        ([*FIELDS, Field("N", "INT64")], "Duplicate field name"),
        ([*FIELDS, Field("a b", "INT64")], "Invalid field name"),
    ],
)
def test_a_schema_may_grow_and_do_nothing_else(client, fields, word):
    table = make_table(client)
    table.schema = fields
    with pytest.raises(exceptions.BadRequest, match=word):
        client.update_table(table, ["schema"])
    assert client.get_table("d.t").schema == FIELDS


def test_what_was_required_may_be_left_out_later(client):
    table = make_table(client)
    table.schema = [Field("day", "DATE"), *FIELDS[1:]]
    client.update_table(table, ["schema"])
    with pytest.raises(exceptions.BadRequest, match="mode from NULLABLE to REQUIRED"):
        load(client, [SIXTH], "d.t$20220106")
    rows_of(client, "INSERT INTO d.t (n) VALUES (7)")
    assert rows_of(client, "SELECT day FROM d.t WHERE n = 7") == [(None,)]


def test_a_view_is_made_changed_and_asked(box, client):
    make_table(client)
    load(client, [SIXTH], "d.t$20220106")
    view = bigquery.Table(f"{PROJECT}.d.v")
    view.view_query = "SELECT day, n * 2 AS twice FROM d.t"
    view = client.create_table(view)
    assert [field.name for field in view.schema] == ["day", "twice"]
    assert rows_of(client, "SELECT twice FROM d.v") == [(2,)]
    view.view_query = f"SELECT n + 1 AS more FROM `{PROJECT}.d.t`"
    view = client.update_table(view, ["view_query"])
    assert rows_of(client, "SELECT * FROM d.v") == [(2,)]
    assert [(one.table_id, one.table_type) for one in client.list_tables("d")] == [
        ("t", "TABLE"),
        ("v", "VIEW"),
    ]
    view.view_query = "SELECT nope FROM d.t"
    with pytest.raises(exceptions.BadRequest, match="Unrecognized name: nope"):
        client.update_table(view, ["view_query"])
    with pytest.raises(exceptions.BadRequest, match="view"):
        load(client, [SIXTH], "d.v")
    client.delete_table("d.t")
    with pytest.raises(exceptions.NotFound, match="Not found: Table acme-analytics:d.t"):
        rows_of(client, "SELECT * FROM d.v")


def test_rows_of_json_come_in_one_request(box, client):
    make_table(client)
    box.log.clear()
    job = load(client, [SIXTH, {"day": "2022-01-07"}])
    assert calls(box) == ["POST /upload/jobs?uploadType=multipart"]
    assert (job.output_rows, job.state, job.location) == (2, "DONE", "EU")
    assert box.table("d.t").to_pylist() == [
        {"day": datetime.date(2022, 1, 6), "n": 1, "tags": ["x"]},
        {"day": datetime.date(2022, 1, 7), "n": None, "tags": []},
    ]


def test_a_frame_comes_in_one_request_and_asks_for_the_schema(box, client):
    make_table(client)
    frame = pd.DataFrame({"day": [datetime.date(2022, 1, 6)], "n": [1], "tags": [["x"]]})
    box.log.clear()
    client.load_table_from_dataframe(frame, "d.t").result()
    asked = ["GET /datasets/d/tables/t", "POST /upload/jobs?uploadType=multipart"]
    assert calls(box) == asked
    assert box.table("d.t").to_pylist()[0]["tags"] == ["x"]


@pytest.mark.parametrize("kind", ["NEWLINE_DELIMITED_JSON", "PARQUET"])
def test_a_file_without_a_size_comes_in_pieces(box, client, kind):
    make_table(client)
    text = io.BytesIO(json.dumps(SIXTH).encode())
    if kind == "PARQUET":
        text = io.BytesIO()
        table = pa.table({"day": [datetime.date(2022, 1, 6)], "n": [1]})
        pq.write_table(table, text)
        text.seek(0)
    box.log.clear()
    config = bigquery.LoadJobConfig(source_format=kind, schema=FIELDS)
    client.load_table_from_file(text, "d.t", job_config=config).result()
    begun = "POST /upload/jobs?uploadType=resumable"
    assert calls(box) == [begun, "PUT /upload/jobs?uploadType=resumable"]
    assert box.table("d.t")["n"].to_pylist() == [1]


def test_a_large_file_comes_in_several_pieces_and_a_lost_one_again(box, client):
    make_table(client)
    lines = b"".join(
        json.dumps({"day": "2022-01-06", "n": n, "tags": ["x" * 100]}).encode() + b"\n"
        for n in range(5_000)
    )
    config = bigquery.LoadJobConfig(source_format="NEWLINE_DELIMITED_JSON", schema=FIELDS)
    body = {"configuration": {"load": config._properties["load"]}}
    body["configuration"]["load"]["destinationTable"] = {
        "projectId": PROJECT,
        "datasetId": "d",
        "tableId": "t",
    }
    begun = requests.post(f"{box.url}{UPLOAD}?uploadType=resumable", json=body, timeout=10)
    place, size, sent = begun.headers["location"], 262_144, 0
    box.fail("drop_after", UPLOAD, after=2)
    statuses = []
    while sent < len(lines):
        piece = lines[sent : sent + size]
        span = f"bytes {sent}-{sent + len(piece) - 1}/{len(lines)}"
        with contextlib.suppress(requests.ConnectionError):
            requests.put(place, piece, headers={"Content-Range": span}, timeout=10)
        asked = requests.put(place, b"", headers={"Content-Range": "bytes */*"}, timeout=10)
        statuses.append(asked.status_code)
        if asked.status_code != 308:
            break
        sent = int(asked.headers["range"].rpartition("-")[2]) + 1
    assert statuses == [308, 308, 200] and asked.json()["status"]["state"] == "DONE"
    assert box.table("d.t").num_rows == 5_000
    again = requests.put(place, b"", headers={"Content-Range": "bytes */*"}, timeout=10)
    assert again.json() == asked.json() and box.table("d.t").num_rows == 5_000


def test_a_query_is_a_job_and_its_rows_come_page_by_page(box, client):
    make_table(client)
    load(client, [{"day": "2022-01-06", "n": n} for n in range(5)])
    box.log.clear()
    asked = ["POST /jobs", "GET /queries/*", "GET /queries/*"]
    job = client.query("SELECT n FROM d.t ORDER BY n")
    assert [row.n for row in job.result()] == [0, 1, 2, 3, 4]
    assert calls(box) == asked
    assert [row.n for row in job.result(page_size=2)] == [0, 1, 2, 3, 4]
    found = client.query("SELECT n FROM d.t ORDER BY n").result(page_size=2)
    assert found.total_rows == 5 and [row.n for row in found] == [0, 1, 2, 3, 4]
    box.log.clear()
    assert [row.n for row in client.query_and_wait("SELECT n FROM d.t ORDER BY n")] == [*range(5)]
    assert calls(box) == ["POST /queries"]
    found = client.query_and_wait("SELECT n FROM d.t ORDER BY n", page_size=2)
    assert [row.n for row in found] == [*range(5)]
    box.rules.page_rows = 2
    assert [row.n for row in client.query_and_wait("SELECT n FROM d.t ORDER BY n")] == [*range(5)]
    assert [row.n for row in client.list_rows("d.t")] == [*range(5)]


def test_statements_that_change_rows_say_how_many(box, client):
    make_table(client)
    for text, changed in (
        ("INSERT INTO d.t (day, n) VALUES ('2022-01-06', 1), ('2022-01-07', 2)", 2),
        ("UPDATE d.t SET n = n + 1 WHERE n = 2", 1),
        ("DELETE FROM d.t WHERE day = '2022-01-09'", 0),
    ):
        box.log.clear()
        job = client.query(text)
        job.result()
        assert job.num_dml_affected_rows == changed
        assert calls(box) == ["POST /jobs", "GET /queries/*"]
        assert list(job.result()) == []
    job = client.query("CREATE TABLE d.made (a INT64)")
    job.result()
    assert job.ddl_operation_performed == "CREATE" and job.ddl_target_table.table_id == "made"
    merge = """
        MERGE d.t T USING (SELECT DATE '2022-01-06' AS day, 9 AS n) S ON T.day = S.day
        WHEN MATCHED THEN UPDATE SET n = S.n
        WHEN NOT MATCHED BY SOURCE THEN DELETE
    """
    job = client.query(merge)
    job.result()
    assert (job.dml_stats.updated_row_count, job.dml_stats.deleted_row_count) == (1, 1)
    assert rows_of(client, "SELECT day, n FROM d.t") == [(datetime.date(2022, 1, 6), 9)]


def test_a_dry_run_asks_once_and_does_nothing(box, client):
    make_table(client)
    load(client, [SIXTH, {"day": "2022-01-07", "n": 2}])
    box.log.clear()
    dry = bigquery.QueryJobConfig(dry_run=True)
    job = client.query("SELECT n FROM d.t", job_config=dry)
    assert (job.total_bytes_processed, calls(box)) == (16, ["POST /jobs"])
    assert [field.name for field in job.schema] == ["n"]
    only = client.query("SELECT n FROM d.t WHERE day = '2022-01-07'", job_config=dry)
    assert only.total_bytes_processed == 16  # the day of one row, and its number
    assert client.query("DELETE FROM d.t WHERE n = 1", job_config=dry).state == "DONE"
    assert box.table("d.t").num_rows == 2
    with pytest.raises(exceptions.BadRequest, match="Unrecognized name: m"):
        client.query("SELECT m FROM d.t", job_config=dry)


def test_a_query_that_would_cost_too_much_is_not_run(client):
    make_table(client)
    load(client, [SIXTH])
    # the client knows no status for this reason
    with pytest.raises(exceptions.InternalServerError, match="10485760 or higher required"):
        rows_of(client, "SELECT n FROM d.t", maximum_bytes_billed=1000)
    assert rows_of(client, "SELECT n FROM d.t", maximum_bytes_billed=10**8) == [(1,)]


def test_a_query_writes_to_a_table_and_to_a_day_of_it(box, client):
    make_table(client)
    load(client, [SIXTH, {"day": "2022-01-07", "n": 2}])
    box.log.clear()
    text, to = "SELECT day, n FROM d.t", f"{PROJECT}.d.copied"
    divided = bigquery.TimePartitioning(field="day")
    rows_of(client, text, destination=to, time_partitioning=divided)
    assert calls(box)[:2] == ["POST /jobs", "GET /queries/*"]
    with pytest.raises(exceptions.Conflict):
        rows_of(client, text, destination=to)
    day = "SELECT day, n + 10 AS n FROM d.t WHERE day = '2022-01-07'"
    rows_of(client, day, destination=f"{to}$20220107", write_disposition="WRITE_TRUNCATE")
    assert sorted(box.table("d.copied")["n"].to_pylist()) == [1, 12]
    with pytest.raises(exceptions.BadRequest, match="different partitions"):
        rows_of(client, text, destination=f"{to}$20220107", write_disposition="WRITE_TRUNCATE")


def test_a_table_is_copied_whole_and_by_the_day(box, client):
    make_table(client)
    load(client, [SIXTH, {"day": "2022-01-07", "n": 2}])
    box.log.clear()
    client.copy_table("d.t", "d.u").result()
    assert calls(box) == ["POST /jobs"] and box.table("d.u").num_rows == 2
    assert client.get_table("d.u").time_partitioning.field == "day"
    with pytest.raises(exceptions.Conflict, match="Already Exists: Table"):
        client.copy_table("d.t", "d.u").result()
    replace = bigquery.CopyJobConfig(write_disposition="WRITE_TRUNCATE")
    client.copy_table("d.t$20220107", "d.w").result()
    client.copy_table("d.w", "d.u$20220107", job_config=replace).result()
    assert box.table("d.u").num_rows == 2
    with pytest.raises(exceptions.NotFound):
        client.copy_table("d.nope", "d.u").result()


def test_rows_are_listed_and_one_day_of_them(box, client):
    table = make_table(client)
    load(client, [SIXTH, {"day": "2022-01-07", "n": 2}])
    box.log.clear()
    assert [row.n for row in client.list_rows("d.t")] == [1, 2]
    assert calls(box) == ["GET /datasets/d/tables/t", "GET /datasets/d/tables/t/data"]
    assert [row.n for row in client.list_rows(table, page_size=1)] == [1, 2]
    assert calls(box) == ["GET /datasets/d/tables/t/data"] * 2
    assert [row.n for row in client.list_rows(table, max_results=1, start_index=1)] == [2]
    assert client.get_table("d.t$20220107").num_rows == 1
    assert [row.n for row in client.list_rows("d.t$20220107", selected_fields=FIELDS[:2])] == [2]
    client.delete_table("d.t$20220106")
    assert [row.n for row in client.list_rows(table)] == [2]


def test_rows_are_streamed_and_cannot_be_changed_for_a_while(box, client):
    table = make_table(client)
    box.log.clear()
    assert client.insert_rows_json("d.t", [SIXTH]) == []
    assert client.insert_rows(table, ({"day": "2022-01-07", "n": n} for n in (2, 3))) == []
    assert calls(box) == ["POST /datasets/d/tables/t/insertAll"] * 2
    errors = client.insert_rows_json("d.t", [SIXTH, {"n": 1}, {**SIXTH, "m": 1}])
    reasons = [error["errors"][0]["reason"] for error in errors]
    assert reasons == ["stopped", "invalid", "invalid"]
    assert client.get_table("d.t").num_rows == 0 and box.table("d.t").num_rows == 3
    with pytest.raises(exceptions.BadRequest, match="streaming buffer"):
        rows_of(client, "DELETE FROM d.t WHERE true")
    box.clock.step(1801)
    rows_of(client, "DELETE FROM d.t WHERE true")
    assert box.table("d.t").num_rows == 0
    with pytest.raises(exceptions.BadRequest, match="No rows present"):
        client.insert_rows_json("d.t", [])


def test_a_row_that_is_streamed_twice_under_one_id_is_there_once(box, client):
    make_table(client)
    for _ in range(2):
        client.insert_rows_json("d.t", [SIXTH], row_ids=["a"])
    client.insert_rows_json("d.t", [SIXTH, SIXTH], row_ids=[None, None])
    assert box.table("d.t").num_rows == 3


def test_who_may_see_a_table_is_read_and_written_back(client):
    make_table(client)
    policy = client.get_iam_policy("d.t")
    policy.bindings.append({"role": "roles/bigquery.dataViewer", "members": {"user:a@b.example"}})
    client.set_iam_policy("d.t", policy)
    assert client.get_iam_policy("d.t").bindings[0]["role"] == "roles/bigquery.dataViewer"
    with pytest.raises(exceptions.PreconditionFailed):
        client.set_iam_policy("d.t", policy)


def test_jobs_are_found_and_listed(box, client):
    make_table(client)
    job = load(client, [SIXTH], job_id="load_1")
    found = client.get_job("load_1", location="EU")
    assert (found.state, found.output_rows, found.job_type) == ("DONE", 1, "load")
    assert found.destination.table_id == "t" and found.write_disposition == "WRITE_TRUNCATE"
    assert [one.job_id for one in client.list_jobs(max_results=1)] == [job.job_id]
    for id, where in (("load_1", "US"), ("nope", None)):
        with pytest.raises(exceptions.NotFound, match="Not found: Job"):
            client.get_job(id, location=where)


def test_the_client_finds_it_in_the_environment(box, monkeypatch):
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", box.url)
    client = bigquery.Client(project=PROJECT, credentials=AnonymousCredentials())
    assert [*client.query_and_wait("SELECT 1 AS one")][0].one == 1
    assert not any(call.bearer for call in box.log)


# what is refused, in the service's words


def errors_of(job):
    with pytest.raises(exceptions.GoogleAPICallError):
        job.result(retry=SOON)
    return " ".join(error["message"] for error in job.errors)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"day": "2022-01-06T12:00:00+01:00"}, "Could not convert value to date. Field: day"),
        ({"day": "2022-02-30"}, "Could not convert value to date"),
        ({"day": 5}, "Could not convert value to date"),
        ({"n": 1}, "Missing required field: day"),
        ({**SIXTH, "n": "x"}, "Could not convert value to integer. Field: n; Value: x"),
        ({**SIXTH, "n": 1.5}, "Could not convert value to integer"),
        ({**SIXTH, "n": 2**63}, "Could not convert value to integer"),
        ({**SIXTH, "n": True}, "Could not convert value to integer"),
        ({**SIXTH, "n": [1]}, "Array specified for non-repeated field: n"),
        ({**SIXTH, "tags": "x"}, "Repeated field must be imported as a JSON array"),
        ({**SIXTH, "tags": [None]}, "Only optional fields can be set to NULL"),
        ({**SIXTH, "m": 1}, "No such field: m"),
    ],
)
def test_a_row_that_does_not_fit_stops_its_job_and_changes_nothing(box, client, row, words):
    make_table(client)
    load(client, [SIXTH], "d.t$20220106")
    job = load(client, [SIXTH, row], "d.t$20220106", wait=False)
    found = errors_of(job)
    assert words in found and "row starting at position" in found
    assert job.error_result["reason"] == "invalid"
    assert box.table("d.t").num_rows == 1


def test_some_rows_may_be_bad_and_some_fields_unknown(box, client):
    make_table(client)
    job = load(client, [SIXTH, {"n": 1}], max_bad_records=1)
    assert (job.output_rows, box.table("d.t").num_rows) == (1, 1)
    load(client, [{**SIXTH, "m": 1}], ignore_unknown_values=True)
    assert box.table("d.t").num_rows == 1


def test_rows_of_another_day_do_not_go_into_a_day(box, client):
    make_table(client)
    load(client, [SIXTH], "d.t$20220106")
    for to, words in (
        ("d.t$20220107", "different partitions"),
        ("d.t$2022010", "Invalid partition id"),
        ("d.t$20220231", "Invalid partition id"),
    ):
        assert words in errors_of(load(client, [SIXTH], to, wait=False))
    assert box.table("d.t").num_rows == 1


def test_dispositions_and_schemas(box, client):
    make_table(client)
    load(client, [SIXTH])
    with pytest.raises(exceptions.Conflict, match="Already Exists: Table"):
        load(client, [SIXTH], how="WRITE_EMPTY")
    with pytest.raises(exceptions.NotFound):
        load(client, [SIXTH], "d.new", create_disposition="CREATE_NEVER")
    with pytest.raises(exceptions.NotFound, match="Not found: Dataset"):
        load(client, [SIXTH], "nope.t")
    more = bigquery.LoadJobConfig(schema=[*FIELDS, Field("x", "INT64")])
    job = client.load_table_from_json([{**SIXTH, "x": 1}], "d.t", job_config=more)
    assert "Cannot add fields (field: x)" in errors_of(job)
    more.schema_update_options = ["ALLOW_FIELD_ADDITION"]
    client.load_table_from_json([{**SIXTH, "x": 1}], "d.t", job_config=more).result()
    assert box.table("d.t")["x"].to_pylist() == [None, 1]
    config = bigquery.LoadJobConfig(source_format="CSV", schema=FIELDS)
    job = client.load_table_from_file(io.BytesIO(b"a"), "d.t", job_config=config, size=1)
    assert "The sandbox does not know load.sourceFormat = 'CSV'" in errors_of(job)


def test_a_schema_is_guessed_from_the_rows(box, client):
    rows = [{"a": 1, "b": "2022-01-06", "c": {"d": 1.5}}, {"a": None, "e": [True]}]
    client.load_table_from_json(rows, "d.guessed").result()
    found = {field.name: field.field_type for field in client.get_table("d.guessed").schema}
    assert found == {"a": "INTEGER", "b": "DATE", "c": "RECORD", "e": "BOOLEAN"}
    rows = [{"a": 2}]
    client.load_table_from_json(rows, "d.guessed").result()
    assert box.table("d.guessed")["a"].to_pylist() == [1, None, 2]


def test_parquet_does_not_go_into_fields_of_another_type(client):
    make_table(client)
    for column in (["2022-01-06"], [datetime.datetime(2022, 1, 6)]):
        body = io.BytesIO()
        pq.write_table(pa.table({"day": column}), body)
        config = bigquery.LoadJobConfig(source_format="PARQUET", schema=FIELDS)
        body.seek(0)
        job = client.load_table_from_file(body, "d.t", job_config=config)
        assert "does not match the target type DATE" in errors_of(job)
    config = bigquery.LoadJobConfig(source_format="PARQUET")
    job = client.load_table_from_file(io.BytesIO(b"x"), "d.t", job_config=config)
    assert "not in Parquet format" in errors_of(job)


def test_an_empty_file_empties_its_day(box, client):
    make_table(client)
    load(client, [SIXTH, {"day": "2022-01-07", "n": 2}])
    load(client, [], "d.t$20220106")
    assert box.table("d.t")["n"].to_pylist() == [2]


def test_a_second_job_of_one_id_is_a_conflict_and_the_first_is_found(box, client):
    make_table(client)
    load(client, [SIXTH], how="WRITE_APPEND", job_id="day_1")
    with pytest.raises(exceptions.Conflict, match="Already Exists: Job acme-analytics:EU.day_1"):
        load(client, [SIXTH], how="WRITE_APPEND", job_id="day_1")
    assert client.get_job("day_1").output_rows == 1 and box.table("d.t").num_rows == 1


def test_a_dataset_lies_where_it_lies(client):
    there = bigquery.Dataset(f"{PROJECT}.far")
    there.location = "US"
    client.create_dataset(there)
    client.query("CREATE TABLE far.t AS SELECT 1 AS n").result()
    assert rows_of(client, "SELECT n FROM far.t") == [(1,)]
    with pytest.raises(exceptions.NotFound, match="was not found in location EU"):
        client.query("SELECT n FROM far.t", location="EU").result()
    with pytest.raises(exceptions.NotFound, match="Dataset .*:d was not found in location US"):
        client.query("SELECT n FROM far.t, (SELECT 1 FROM d.INFORMATION_SCHEMA.TABLES)").result()
    there.location = "EU"
    with pytest.raises(exceptions.BadRequest, match="cannot be changed"):
        client.update_dataset(there, ["location"])


def test_the_loads_of_a_table_in_a_day_are_counted(box, client):
    make_table(client)
    box.rules.loads_per_table = len(box.service.project.jobs.loads) and 3
    box.service.project.jobs.loads.clear()
    for _ in range(3):
        load(client, [SIXTH])
    with pytest.raises(exceptions.Forbidden, match="exceeded quota for imports"):
        load(client, [SIXTH])
    load(client, [SIXTH], "d.u")
    box.clock.step(86_400)
    load(client, [SIXTH])


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/datasets", {"datasetReference": {"datasetId": "a-b"}}, 400),
        (
            "POST",
            "/datasets",
            {"datasetReference": {"datasetId": "x"}, "isCaseInsensitive": True},
            400,
        ),
        (
            "POST",
            "/datasets",
            {"datasetReference": {"datasetId": "x"}, "access": [{"role": "X"}]},
            400,
        ),
        ("POST", "/datasets/d/tables", {"tableReference": {"tableId": "a/b"}}, 400),
        ("POST", "/datasets/d/tables", {**IN_T, "expirationTime": "1"}, 400),
        ("POST", "/datasets/d/tables", {**IN_T, "timePartitioning": {"type": "DAY"}}, 400),
        ("POST", "/datasets/d/tables", {**IN_T, "view": {"query": "SELECT 1"}}, 400),
        ("POST", "/jobs", {}, 400),
        ("POST", "/jobs", {"configuration": {"extract": {}}}, 400),
        ("POST", "/jobs", {"configuration": {"load": {"sourceUris": ["gs://a"]}}}, 400),
        ("POST", "/queries", {"query": "SELECT 1"}, 400),
        (
            "POST",
            "/queries",
            {"query": "SELECT 1", "useLegacySql": False, "createSession": True},
            400,
        ),
        ("GET", "/datasets/d/tables?view=FULL", None, 400),
        ("GET", "/queries/nope", None, 404),
        ("PUT", "/datasets/d", {}, 404),
        ("GET", "/nowhere", None, 404),
    ],
)
def test_what_the_sandbox_does_not_know_is_refused(box, client, method, path, body, status):
    found = requests.request(method, f"{box.url}{PATH}{path}", json=body, timeout=10)
    is_missing = "The sandbox does not know" in found.text
    assert found.status_code == (501 if is_missing else status), found.text
    assert found.json()["error"]["errors"][0]["reason"]


def test_bodies_that_are_none_and_projects_of_others(box):
    for body in (b"{", b"[1]", b"\xff"):
        assert requests.post(f"{box.url}{PATH}/jobs", body, timeout=10).status_code == 400
    other = requests.get(f"{box.url}/bigquery/v2/projects/other/datasets", timeout=10)
    assert other.status_code == 403
    for words in ("uploadType=media", "uploadType=multipart"):
        found = requests.post(f"{box.url}{UPLOAD}?{words}", b"x", timeout=10)
        assert found.status_code == 400
    lost = requests.put(f"{box.url}{UPLOAD}?upload_id=x", b"x", timeout=10)
    assert lost.status_code == 404


def test_a_mistake_of_the_sandbox_is_501_and_not_asked_again(served):
    client = new_client(served)
    served.log.clear()
    served.datasets["broken"] = None
    try:
        with pytest.raises(exceptions.MethodNotImplemented):
            client.get_dataset("broken")
    finally:
        del served.datasets["broken"]
    assert len(served.log) == 1 and "AttributeError" in served.mistakes.pop()


# what goes wrong on request


def patient(box):
    "A client that asks again soon, and not for ten minutes."
    client = new_client(box)
    return client, SOON


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("server_error", exceptions.InternalServerError),
        ("bad_gateway", exceptions.BadGateway),
        ("unavailable", exceptions.ServiceUnavailable),
        ("unavailable_after", exceptions.ServiceUnavailable),
        ("server_error_after", exceptions.InternalServerError),
        ("rate_limited", exceptions.Forbidden),
        ("quota_exceeded", exceptions.Forbidden),
        ("forbidden", exceptions.Forbidden),
        ("unauthorized", InvalidOperation),
        ("not_found", exceptions.NotFound),
        ("conflict", exceptions.Conflict),
        ("drop", ConnectionError),
        ("drop_after", ConnectionError),
        ("refused", ConnectionError),
        ("refused_after", ConnectionError),
        ("cut", (ConnectionError, requests.RequestException, ValueError)),
        ("reset", (ConnectionError, requests.RequestException, ValueError)),
        ("truncated", ValueError),
        ("html", (ValueError, exceptions.GoogleAPICallError)),
    ],
)
def test_each_fault_is_met_once(box, client, fault, error):
    make_table(client)
    box.fail(fault, f"{PATH}/datasets/d")
    with pytest.raises((error, requests.ConnectionError) if error is ConnectionError else error):
        client.get_table("d.t", retry=None)
    assert client.get_table("d.t", retry=None).table_id == "t"
    assert box.fired[fault] >= 1


def test_every_fault_has_a_test():
    marks = test_each_fault_is_met_once.pytestmark[0].args[1]
    rest = {"slow", "job_running", "job_failed"}
    assert {fault for fault, _ in marks} | rest == {*BIGQUERY_FAULTS} and len(REFUSING) == 12
    with sandbox.start_bigquery("other-project") as other, pytest.raises(SettingsError):
        other.fail("locked")


def test_a_slow_answer_comes_late(box, client):
    box.fail("slow", PATH, seconds=0.05)
    answer = requests.get(f"{box.url}{PATH}/datasets", timeout=10)
    assert answer.elapsed.total_seconds() >= 0.05


@pytest.mark.parametrize(
    ("fault", "done"),
    [
        ("drop", False),
        ("drop_after", True),
        ("unavailable", False),
        ("unavailable_after", True),
        ("rate_limited", False),
    ],
)
def test_a_lost_answer_of_a_load_is_found_by_its_id(box, client, fault, done):
    make_table(client)
    box.fail(fault, UPLOAD)
    config = bigquery.LoadJobConfig(
        schema=FIELDS, write_disposition="WRITE_APPEND", source_format="NEWLINE_DELIMITED_JSON"
    )
    text = json.dumps(SIXTH).encode()

    def send():
        return client.load_table_from_file(
            io.BytesIO(text), "d.t", size=len(text), job_id=f"j_{fault}", job_config=config,
            num_retries=0,
        )  # fmt: skip

    with pytest.raises((exceptions.GoogleAPICallError, requests.ConnectionError, ConnectionError)):
        send()
    if done:
        with pytest.raises(exceptions.Conflict):
            send()
        job = client.get_job(f"j_{fault}", location="EU")
    else:
        with pytest.raises(exceptions.NotFound):
            client.get_job(f"j_{fault}", location="EU")
        job = send()
    assert job.result(retry=SOON).output_rows == 1
    assert box.table("d.t").num_rows == 1


def test_a_query_whose_answer_was_lost_is_taken_up_by_the_client(box, client):
    make_table(client)
    box.fail("unavailable_after", f"{PATH}/jobs")
    client.query("INSERT INTO d.t (day, n) VALUES ('2022-01-06', 1)", retry=SOON).result()
    assert box.table("d.t").num_rows == 1
    box.fail("unavailable_after", f"{PATH}/queries")
    text = "INSERT INTO d.t (day, n) VALUES ('2022-01-06', 2)"
    client.query_and_wait(text, retry=SOON, job_retry=None)
    assert box.table("d.t")["n"].to_pylist() == [1, 2]


def test_a_job_is_running_for_as_long_as_it_is_told_to(box, client):
    make_table(client)
    box.rules.running_polls = 2
    job = load(client, [SIXTH], wait=False)
    assert job.state == "RUNNING" and box.table("d.t").num_rows == 0
    assert [job.done(retry=None) for _ in range(3)] == [False, False, True]
    assert job.output_rows == 1 and box.table("d.t").num_rows == 1
    box.rules.running_polls = 0
    box.fail("job_running", times=2)
    job = client.query("SELECT n FROM d.t")
    assert job.state == "RUNNING"
    job.reload()
    assert job.state == "RUNNING"
    job.reload()
    assert job.state == "DONE" and [row.n for row in job.result()] == [1]


def test_what_is_not_done_yet_is_asked_for_again(box, client, monkeypatch):
    "A load, a query and one in a single call, none of which is done when it is answered."
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    make_table(client)
    box.rules.running_polls = 3
    box.log.clear()
    assert load(client, [SIXTH]).output_rows == 1
    asked = [f"{call.method} {call.query}" for call in [*box.log][1:]]
    assert len(asked) >= 3 and all(one.startswith("GET projection=full&") for one in asked)
    for ask in (lambda text: client.query(text).result(), client.query_and_wait):
        box.log.clear()
        assert [row.n for row in ask("SELECT n FROM d.t")] == [1]
        first, *then = calls(box)
        assert first.startswith("POST /") and {"GET /jobs/*", "GET /queries/*"} == {*then}


def test_what_a_statement_costs_in_requests(box, client):
    make_table(client)
    load(client, [SIXTH])
    box.log.clear()
    found = client.query("UPDATE d.t SET n = 2 WHERE TRUE", job_retry=None).result()
    assert found.num_dml_affected_rows == 1
    assert calls(box) == ["POST /jobs", "GET /queries/*"]
    assert [*found] == [] and calls(box) in ([], ["GET /queries/*"])
    kept = bigquery.QueryJobConfig(destination=f"{PROJECT}.d.kept")
    client.query("SELECT n FROM d.t", job_config=kept, job_retry=None).result()
    assert calls(box) == ["POST /jobs", "GET /queries/*"]
    assert box.table("d.kept").to_pylist() == [{"n": 2}]


def test_a_running_job_is_stopped(box, client):
    make_table(client)
    box.rules.running_polls = 9
    job = load(client, [SIXTH], wait=False)
    assert job.cancel(retry=None)
    box.rules.running_polls = 0
    with pytest.raises(exceptions.GoogleAPICallError, match="cancelled"):
        job.result(retry=SOON)
    assert box.table("d.t").num_rows == 0


def test_a_job_that_fails_has_done_nothing_and_a_query_is_sent_again(box, client):
    make_table(client)
    box.fail("job_failed", UPLOAD)
    with pytest.raises(exceptions.InternalServerError, match="backendError"):
        load(client, [SIXTH])
    assert box.table("d.t").num_rows == 0
    load(client, [SIXTH])
    box.fail("job_failed", f"{PATH}/jobs")
    again = retry.Retry(
        predicate=lambda e: isinstance(e, exceptions.GoogleAPICallError), initial=0.001, timeout=5
    )
    job = client.query("SELECT n FROM d.t", job_retry=again)
    assert [row.n for row in job.result()] == [1]
    assert calls(box).count("POST /jobs") == 2


def test_faults_are_asked_for_from_outside_too(box):
    key = box.secrets["DOMOSTATS_BIGQUERY_SANDBOX_KEY"].reveal()
    headers = {"Authorization": key}
    asked = {"do": "fail", "fault": "unavailable", "path": PATH}
    for path, body, status in (
        ("faults", asked, 200),
        ("rules", {"running_polls": 1}, 200),
        ("rules", {"nope": 1}, 400),
        ("clock", {"step": 5}, 200),
        ("log", {}, 200),
    ):
        found = requests.post(f"{box.url}/sandbox/{path}", json=body, headers=headers, timeout=10)
        assert found.status_code == status, found.text
    assert requests.get(f"{box.url}{PATH}/datasets", timeout=10).status_code == 503
    assert requests.post(f"{box.url}/sandbox/log", timeout=10).status_code == 403
    assert box.rules.running_polls == 1


# the sandbox itself


def test_it_is_one_for_the_same_words_and_found_by_its_name():
    with sandbox.start_bigquery("some-project", "EU") as one:
        assert sandbox.start_bigquery("some-project", "EU") is one
        assert find_instance(one.name).url == one.url and re.match("bigquery", one.name)
        with sandbox.start_bigquery("some-project", "US") as two:
            assert two is not one and two.url != one.url
    for words in ({"project": "A"}, {"location": "E U"}, {"running_polls": -1}, {"nope": 1}):
        with pytest.raises(SettingsError):
            sandbox.start_bigquery(**words)


def test_it_does_not_import_the_client():
    import subprocess
    import sys

    code = (
        "import sys; from domostats import sandbox; box = sandbox.start_bigquery(); box.stop(); "
        "assert not [name for name in sys.modules if name.startswith('google.cloud')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_ten_clients_at_once(box, client):
    make_table(client)
    errors = []

    def work(number):
        try:
            own = new_client(box)
            load(own, [{"day": "2022-01-06", "n": number}], how="WRITE_APPEND")
            assert (number,) in rows_of(own, "SELECT n FROM d.t")
        except Exception as e:
            errors.append(e)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors and sorted(box.table("d.t")["n"].to_pylist()) == [*range(10)]


def test_numbers_are_exact_through_everything(client):
    client.query("CREATE TABLE d.exact (x NUMERIC)").result()
    values = ["0.000000001", "99999999999999999999999999999.999999999", "-1.10"]
    config = bigquery.LoadJobConfig(schema=[Field("x", "NUMERIC")])
    rows = [{"x": value} for value in values]
    client.load_table_from_json(rows, "d.exact", job_config=config).result()
    wanted = sorted(map(Decimal, values))
    assert [row for (row,) in rows_of(client, "SELECT x FROM d.exact ORDER BY x")] == wanted
    assert rows_of(client, "SELECT SUM(x) FROM d.exact WHERE x < 1") == [(Decimal("-1.099999999"),)]
