"""The registry of releases: in a file, in a real PostgreSQL and over HTTP, with one client for
all; each use case under its number."""

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
import requests
from conftest import KILLS, ROOT

from domostats import sandbox
from domostats.errors import (
    AccessError,
    CredentialsError,
    DataError,
    DestinationError,
    DomostatsError,
    RetryLaterError,
)
from domostats.loading.store import Store
from domostats.tracking.loads import Loads
from domostats.tracking.periods import utc
from domostats.tracking.registry import changes, entities, policies
from domostats.tracking.registry.addresses import (
    address_parts,
    address_to_gcp_fields,
    table_name,
    table_parts,
)
from domostats.tracking.registry.api import make_observatory_api
from domostats.tracking.registry.caller import read_answer
from domostats.tracking.registry.catch_up import CatchUp
from domostats.tracking.registry.database import Database
from domostats.tracking.registry.drift import Measured
from domostats.tracking.registry.entities import (
    Dataset,
    DatasetRelease,
    DatasetType,
    Licence,
    Organisation,
    Retention,
    TableType,
    WorkflowType,
)
from domostats.tracking.registry.kinds import ENTITIES
from domostats.tracking.registry.partners import (
    extra_of,
    make_dag_id,
    one_per_organisation,
    tagged_datasets,
)
from domostats.tracking.registry.release_keys import release_fields, release_key
from domostats.tracking.registry.releases import missing, release_time, withdrawn
from domostats.tracking.registry.service import make_service, serving
from domostats.tracking.registry.waiting import unfinished, wait_for
from domostats.tracking.registry.workflow import Workflow
from domostats.tracking.run_names import run_name

DAY = date(2024, 3, 1)


def day(n):
    return DAY + timedelta(n)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    return (
        f"sqlite:///{tmp_path / 'registry.sqlite'}"
        if request.param == "sqlite"
        else request.getfixturevalue("postgres")()
    )


@pytest.fixture(params=["file", "postgresql", "http"])
def address(request, tmp_path):
    if request.param == "postgresql":
        yield request.getfixturevalue("postgres")()
        return
    file = str(tmp_path / "registry.sqlite")
    if request.param == "file":
        yield file
        return
    here = make_observatory_api(file)
    with serving(make_service(here.backend, "writers", "readers")) as url:
        yield url


@pytest.fixture
def api(address):
    return make_observatory_api(address, "writers")


@pytest.fixture
def local(tmp_path):
    return make_observatory_api(tmp_path / "local.sqlite")


def flow(api, name="onix", tags=None, organisation=None, kind="onix"):
    try:
        of_kind = api.get_workflow_type(type_id=kind)
    except DataError:
        of_kind = api.post_workflow_type(WorkflowType(type_id=kind))
    return api.post_workflow(
        entities.Workflow(name=name, tags=tags, organisation=organisation, workflow_type=of_kind)
    )


def dataset_of(
    api,
    name="books",
    of=None,
    table_type="regular",
    service="duckdb",
    kind=None,
    extra=None,
    **more,
):
    try:
        table = api.get_table_type(type_id=table_type)
    except DataError:
        table = api.post_table_type(TableType(type_id=table_type))
    of_kind = api.post_dataset_type(
        DatasetType(type_id=kind or f"{name}_{table_type}_{service}", extra=extra, table_type=table)
    )
    return api.post_dataset(
        Dataset(
            name=name,
            service=service,
            address=more.pop("address", f"{service}_{name}"),
            workflow=of or flow(api, f"flow of {name} {service}"),
            dataset_type=of_kind,
            **more,
        )
    )


def refusal(call):
    with pytest.raises(DomostatsError) as caught:
        call()
    return caught.value.reason


# the registry itself


@pytest.mark.sampled(3)
def test_every_kind_of_thing_can_be_made_read_changed_listed_and_removed(api):
    dataset = dataset_of(api)
    release = api.post_dataset_release(DatasetRelease(dataset=dataset, snapshot_date=DAY))
    made = {
        "organisation": api.post_organisation(Organisation(name="The Press", project_id="press-1")),
        "workflow_type": dataset.workflow.workflow_type,
        "workflow": dataset.workflow,
        "table_type": dataset.dataset_type.table_type,
        "dataset_type": dataset.dataset_type,
        "dataset": dataset,
        "dataset_release": release,
        "licence": api.post_licence(
            Licence(dataset=dataset, licence_id="CC0", purposes=["analysis"])
        ),
        "retention": api.post_retention(Retention(dataset=dataset, keep_last=3)),
        "dataset_place": api.post_dataset_place(
            entities.DatasetPlace(dataset=dataset, service="s", address="a")
        ),
        "export_decision": api.post_export_decision(
            entities.ExportDecision(
                dataset_release=release, purpose="analysis", allowed=True, why="because"
            )
        ),
    }
    assert made.keys() == ENTITIES.keys()
    for kind, thing in made.items():

        def one(method):
            return getattr(api, f"{method}_{kind}")

        assert (
            [found.id for found in getattr(api, f"get_{kind}s")(limit=1)]
            == [thing.id]
            == [one("get")(id=thing.id).id]
        )
        changed = one("put")(
            type(thing)(
                id=thing.id, **({"name": "New"} if "name" in thing.__struct_fields__ else {})
            )
        )
        assert (
            changed.created == thing.created <= changed.modified
            and changed.created.tzinfo is timezone.utc
        )
        if "name" in thing.__struct_fields__:
            assert (
                changed.name == "New"
                and one("put")(type(thing)(id=thing.id, name=None)).name is None
            )
    for kind in [
        "export_decision",
        "dataset_release",
        "dataset",
        "dataset_type",
        "table_type",
        "workflow",
        "workflow_type",
        "organisation",
    ]:
        assert getattr(api, f"delete_{kind}")(made[kind].id).id == made[kind].id
        assert (
            refusal(lambda: getattr(api, f"get_{kind}")(made[kind].id))
            == refusal(lambda: getattr(api, f"delete_{kind}")(made[kind].id))
            == "not_found"
        )
    assert api.get_licences() == api.get_retentions() == api.get_dataset_places() == []


@pytest.mark.sampled(3)
def test_what_belongs_to_nothing_is_refused_and_so_is_a_second_of_the_same(api):
    dataset = dataset_of(api)
    press, other = [
        api.post_organisation(Organisation(name=name)) for name in ("The Press", "Other")
    ]
    flows = [flow(api, "sales", organisation=one) for one in (press, other, None, None)]
    assert len({one.id for one in flows}) == 4
    assert (
        refusal(lambda: flow(api, "sales", organisation=press))
        == refusal(lambda: api.post_organisation(Organisation(name="The Press")))
        == refusal(lambda: api.put_organisation(Organisation(id=other.id, name="The Press")))
        == "conflict"
    )
    assert (
        refusal(
            lambda: api.post_dataset(
                Dataset(
                    name="more",
                    service="duckdb",
                    address=dataset.address,
                    workflow=dataset.workflow,
                    dataset_type=dataset.dataset_type,
                )
            )
        )
        == "conflict"
    )
    assert refusal(lambda: api.post_table_type(TableType(type_id="regular"))) == "conflict"
    for record in (
        DatasetRelease(dataset=Dataset(id=99), snapshot_date=DAY),
        DatasetRelease(dataset=Dataset(), snapshot_date=DAY),
    ):
        assert (
            refusal(lambda: api.post_dataset_release(record))
            == refusal(lambda: api.register_release(record))
            == "bad_reference"
        )
    assert (
        refusal(
            lambda: api.put_workflow(
                entities.Workflow(id=flows[0].id, workflow_type=WorkflowType(id=99))
            )
        )
        == "bad_reference"
    )
    assert (
        refusal(lambda: api.delete_workflow(dataset.workflow.id))
        == refusal(lambda: api.delete_table_type(dataset.dataset_type.table_type.id))
        == "in_use"
    )
    api.register_release(DatasetRelease(dataset=dataset, snapshot_date=DAY))
    assert (
        refusal(lambda: api.delete_dataset(dataset.id)) == "in_use"
        and refusal(
            lambda: api.post_dataset_release(DatasetRelease(dataset=dataset, snapshot_date=DAY))
        )
        == "conflict"
    )
    assert (
        refusal(lambda: api.post_organisation(Organisation(name="x" * 251)))
        == refusal(
            lambda: api.post_workflow(
                entities.Workflow(tags="oaebu", workflow_type=WorkflowType(id=1))
            )
        )
        == "bad_field"
    )
    assert (
        refusal(lambda: api.post_dataset(Dataset(name="no service"))) == "missing_field"
        and refusal(lambda: api.get_datasets(colour="red")) == "bad_question"
    )


def test_times_are_utc_and_zone_aware_whatever_comes_in(api):
    pendulum = pytest.importorskip("pendulum")
    dataset = dataset_of(api)
    auckland = timezone(timedelta(hours=13))
    same = [
        datetime(2021, 1, 1, 10, tzinfo=auckland),
        datetime(2020, 12, 31, 21, tzinfo=timezone.utc),
        "2021-01-01T10:00:00+13:00",
        pendulum.datetime(2021, 1, 1, 10, tz="Pacific/Auckland"),
    ]
    done = [
        api.register_release(
            DatasetRelease(dataset=dataset, start_date=time, end_date="2021-02-01")
        )
        for time in same
    ]
    assert [new for _, new in done] == [True, False, False, False] and done[0][
        0
    ].release_key == "w:2020-12-31T21:00:00/2021-02-01"
    back = api.get_dataset_releases(1000, dataset.id)[0]
    assert (
        back.start_date == same[1]
        and back.start_date.utcoffset() == timedelta(0)
        and back.created.utcoffset() == timedelta(0)
    )
    assert (
        refusal(lambda: DatasetRelease(dataset=dataset, start_date=datetime(2021, 1, 1)))
        == "naive_time"
    )


@pytest.mark.sampled(3)
def test_a_release_is_told_by_its_kind_and_as_finely_as_its_dataset_wants(api):
    monthly = dataset_of(api, "monthly", extra={"granularity": "month"})
    exact = dataset_of(api, "exact")
    for dataset, keys in [
        (monthly, {"s:2024-03"}),
        (exact, {"s:2024-03-05", "s:2024-03-05T06:00:00"}),
    ]:
        for time in ("2024-03-05", "2024-03-05T06:00:00Z"):
            api.register_release(DatasetRelease(dataset=dataset, snapshot_date=time))
        assert {
            release.release_key for release in api.get_dataset_releases(1000, dataset.id)
        } == keys
        assert api.missing_releases(dataset, ["2024-03-05T06:00:00Z"]) == []
    for fields in (
        {"partition_date": DAY},
        {"changefile_start_date": DAY, "changefile_end_date": day(1)},
        {"sequence_start": 3, "sequence_end": 9},
        {"start_date": DAY},
        {"end_date": DAY},
    ):
        assert (
            api.register_release(DatasetRelease(dataset=exact, **fields))[1]
            and not api.register_release(DatasetRelease(dataset=exact, **fields))[1]
        )
    assert refusal(lambda: api.register_release(DatasetRelease(dataset=exact))) == "no_date"
    moved = api.put_dataset_release(DatasetRelease(id=1, snapshot_date="2024-04-01"))
    assert moved.release_key == "s:2024-04" and moved.position == "2024-04"


@pytest.mark.sampled(3)
def test_a_list_is_ordered_and_walked_to_its_end(api):
    dataset = dataset_of(api)
    days = [day(n) for n in range(25)]
    api.register_releases(
        DatasetRelease(dataset=dataset, snapshot_date=one) for one in reversed(days)
    )
    newest_first = [f"s:{one}" for one in reversed(days)]
    for limit in (1, 7, 25, 1000):
        assert [
            release.release_key for release in api.get_dataset_releases(limit, dataset.id)
        ] == newest_first
    first, cursor = api.backend.page("dataset_release", 10, dataset_id=dataset.id)
    api.register_release(
        DatasetRelease(dataset=dataset, snapshot_date=day(99))
    )  # what is added meanwhile shifts nothing
    second, cursor = api.backend.page("dataset_release", 10, cursor, dataset_id=dataset.id)
    assert [release.release_key for release in first + second] == newest_first[:20]
    made = [api.post_organisation(Organisation(name=f"o{n}")) for n in range(12)]
    assert api.get_organisations(limit=5) == made


@pytest.mark.slow
def test_eleven_hundred_releases_recorded_and_none_reported_missing(api):
    dataset = dataset_of(api)
    days = [day(n) for n in range(1100)]
    made = api.register_releases(DatasetRelease(dataset=dataset, snapshot_date=one) for one in days)
    assert len(made) == 1100 and all(new for _, new in made)
    assert missing(days, api.get_dataset_releases(1000, dataset.id)) == api.missing_releases(
        dataset, days
    ) == [] and api.missing_releases(dataset, [*days, day(1100)]) == [day(1100)]


WRITER = """
import sys
from datetime import date, timedelta
from domostats.tracking.registry.entities import Dataset, DatasetRelease
from domostats.tracking.loads import Loads
from domostats.tracking.registry.api import make_observatory_api
sys.stdin.readline()
api = make_observatory_api(sys.argv[1], "writers")
def release(n):
    day = date(2024, 1, 1) + timedelta(n)
    return DatasetRelease(dataset=Dataset(id=1), snapshot_date=day)

print(sum(api.register_release(release(n))[1] for n in range(int(sys.argv[2]))))
"""


def race(address, releases=500):
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, address, str(releases)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(8)
    ]
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    done = [worker.communicate(timeout=240) for worker in workers]
    assert [(worker.returncode, err) for worker, (_, err) in zip(workers, done, strict=True)] == [
        (0, "")
    ] * 8
    return sum(int(out) for out, _ in done)


@pytest.mark.slow
def test_eight_processes_register_the_same_five_hundred_releases(url):
    api = make_observatory_api(url)
    dataset = dataset_of(api)
    assert race(url) == 500 and len(api.get_dataset_releases(1000, dataset.id)) == 500


@pytest.mark.slow
def test_eight_processes_make_the_registry_at_the_same_time(tmp_path, postgres):
    for url in (f"sqlite:///{tmp_path / 'new.sqlite'}", postgres()):
        code = (
            "import sys; from domostats.tracking.registry.api import make_observatory_api as m; "
            "print(len(m(sys.argv[1]).get_organisations()))"
        )
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", code, url],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(8)
        ]
        assert [(worker.communicate(timeout=120), worker.returncode) for worker in workers] == [
            (("0\n", ""), 0)
        ] * 8


FORKING = """
import multiprocessing
import sys
from datetime import date, timedelta
from domostats.tracking.registry.api import make_observatory_api
from domostats.tracking.registry.entities import Dataset, DatasetRelease
api = make_observatory_api(sys.argv[1], "writers")
dataset = api.get_dataset(id=1)
def one(n):
    release = DatasetRelease(dataset=dataset, snapshot_date=date(2024, 1, 1) + timedelta(n))
    assert api.register_release(release)[1]

forked = [multiprocessing.get_context("fork").Process(target=one, args=(n,)) for n in range(6)]
for process in forked:
    process.start()
for process in forked:
    process.join(60)
print([process.exitcode for process in forked])
"""


@pytest.mark.sampled(3)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_forked_processes_go_on_with_the_registry_they_were_given(api, address):
    "Its parent is a process without the threads and databases of other tests."
    dataset = dataset_of(api)
    command = [sys.executable, "-W", "error::UserWarning", "-c", FORKING, address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.returncode) == (f"{[0] * 6}\n", 0), done.stderr
    assert len(api.get_dataset_releases(1000, dataset.id)) == 6


# over HTTP


@pytest.mark.slow
def test_eight_machines_share_one_registry(tmp_path):
    api = make_observatory_api(tmp_path / "registry.sqlite")
    dataset_of(api)
    with serving(make_service(api.backend, "writers")) as address:
        assert race(address, 100) == 100


def test_the_command_serves_it_and_stops(tmp_path):
    environment = {
        **os.environ,
        "DOMOSTATS_REGISTRY_KEY": "writers",
        "DOMOSTATS_REGISTRY_READ_KEY": "readers",
        "PYTHONPATH": str(ROOT),
    }
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "domostats",
            "registry",
            "serve",
            "--registry",
            str(tmp_path / "r.sqlite"),
        ],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=tmp_path,
    )
    try:
        address = server.stdout.readline().split(" at ")[1].split(",")[0]
        writer, reader = (
            make_observatory_api(address, "writers"),
            make_observatory_api(address, "readers"),
        )
        press = writer.post_organisation(Organisation(name="The Press"))
        assert reader.get_organisation(press.id) == press
        with pytest.raises(AccessError):
            reader.delete_organisation(press.id)
        with pytest.raises(CredentialsError):
            make_observatory_api(address, "guessed").get_organisations()
    finally:
        server.terminate()
        assert "stopped" in server.communicate(timeout=20)[0]


def test_over_http_nothing_is_taken_that_is_not_right(tmp_path, monkeypatch):
    api = make_observatory_api(tmp_path / "registry.sqlite")
    dataset_of(api)
    with serving(make_service(api.backend, "writers", "readers")) as address:

        def ask(method, path, body=None, **headers):
            return requests.request(
                method,
                address + path,
                data=body,
                headers={"X-API-Key": "writers", **headers},
                timeout=10,
            )

        for body, status in [
            (b"{", 400),
            (b"[]", 400),
            (b"\xff", 400),
            (b'{"created": "2024-01-01T00:00:00Z"}', 400),
            (b'{"name": 7}', 400),
            (b'{"id": 1e30}', 400),
            (b'{"name": "a", "odd": 1}', 400),
            (b"[" * 100_000, 400),
            (b'"' + b"x" * 21_000_000 + b'"', 413),
        ]:
            reply = ask("POST", "/v1/organisation", body)
            assert (reply.status_code, {*reply.json()}) == (status, {"reason", "message"}), body[
                :40
            ]
        for path in (
            "/v1/dataset?id=x",
            "/v1/datasets?limit=0",
            "/v1/datasets?limit=99999",
            "/v1/datasets?after=x",
            "/v1/datasets?odd=1",
            "/v1/dataset",
            "/v1/dataset?id=1&type_id=x",
            "/v1/dataset?id=" + "9" * 30,
        ):
            assert ask("GET", path).status_code == 400, path
        assert (
            ask("GET", "/v1/organisations", **{"X-API-Key": "é"}).status_code == 401
            and requests.get(f"{address}/v1/organisations?key=readers", timeout=10).json() == []
        )
        assert (
            ask("GET", "/../etc/passwd").status_code == 404
            and ask("GET", "/v1/organisations/").status_code == 404
        )
        for method, path, body in [
            ("PUT", "/v1/dataset", {"id": 2**70}),
            (
                "POST",
                "/v1/dataset_release",
                {"dataset": {"id": 2**70}, "snapshot_date": "2024-01-01T00:00:00Z"},
            ),
            ("POST", "/v1/dataset_releases/missing", {"dataset_id": 2**70, "keys": []}),
            ("POST", "/v1/dataset_release", {"dataset": {"id": 1}, "sequence_start": -1}),
            (
                "POST",
                "/v1/dataset_release",
                {"dataset": {"id": 1}, "snapshot_date": "2024-01-01T00:00:00"},
            ),
            ("POST", "/v1/retention", {"keep_days": 10**9}),
        ]:
            assert ask(method, path, json.dumps(body).encode()).status_code == 400, body
        assert api.get_organisations() == []
    assert refusal(lambda: make_service(api.backend, "")) == "no_key"
    with pytest.raises(RetryLaterError):
        make_observatory_api(address, "writers").get_organisation(1)
    for bad in (
        "http://registry.example",
        "https://user:pw@registry.example",
        "mysql://x/y",
        "sqlite://",
        "sqlite:///:memory:",
    ):
        assert refusal(lambda: make_observatory_api(bad)) == "bad_registry_url", bad


def test_without_a_key_nothing_is_read_where_there_is_none_for_readers(tmp_path):
    api = make_observatory_api(tmp_path / "registry.sqlite")
    for read_key in (None, ""):
        with serving(make_service(api.backend, "writers", read_key)) as address:
            for headers in ({}, {"X-API-Key": ""}, {"X-API-Key": "None"}):
                reply = requests.get(f"{address}/v1/organisations", headers=headers, timeout=10)
                assert reply.status_code == 401 and reply.json()["reason"] == "no_key"
            reply = requests.get(f"{address}/v1/organisations?key=", timeout=10)
            assert reply.status_code == 401 and reply.json()["reason"] == "no_key"
            assert make_observatory_api(address, "writers").get_organisations() == []


def test_no_secret_stands_in_a_representation_or_an_error(tmp_path):
    api = make_observatory_api("https://registry.example", "hush-hush")
    assert "hush" not in repr(api) + repr(vars(api.backend.caller)) and "secret" in repr(
        api.backend.caller.key
    )
    with pytest.raises(DestinationError) as caught:
        make_observatory_api("postgresql://somebody:hush-hush@127.0.0.1:1/none")
    assert "hush" not in str(caught.value) and caught.value.reason == "no_registry"


def test_a_registry_of_a_newer_version_is_not_touched(tmp_path):
    db = Database(tmp_path / "registry.sqlite")
    with db.writing() as con:
        con.exec_driver_sql("UPDATE registry_schema SET version = 99")
    assert refusal(lambda: Database(tmp_path / "registry.sqlite")) == "newer_registry"


@pytest.mark.parametrize(
    "lacking, url",
    [("sqlalchemy", "registry.sqlite"), ("psycopg", "postgresql://127.0.0.1:1/none")],
)
def test_what_is_not_installed_is_named(lacking, url):
    code = (
        f"import sys; sys.modules[{lacking!r}] = None; "
        "from domostats.tracking import make_observatory_api; "
        f"make_observatory_api('http://127.0.0.1:1'); make_observatory_api({url!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert "pip install 'domostats[registry]'" in done.stderr.splitlines()[-1]


# the use cases, by their numbers


@pytest.mark.sampled(3)
def test_use_case_1_a_workflow_is_parameterised_with_dataset_metadata(api):
    press = api.post_organisation(Organisation(name="The Press"))
    for n, tags in enumerate([["sales_partner"], ["other"], None]):
        of = flow(api, f"flow {n}", tags, press)
        for name in ("books", "papers"):
            dataset_of(
                api,
                f"{name}{n}",
                of,
                "sharded",
                "bigquery",
                extra={"sales_field": f"sold_{name}"},
                address=f"press.sales.{name}{n}",
            )

    @dataclass
    class SalesPartner:
        dataset_name: str
        sales_field: str
        db_service: str
        table_address: str
        table_type: str

    def partners():
        found = []
        for one in api.get_workflows(organisation_id=press.id, limit=1000):
            if "sales_partner" not in json.loads(one.tags):
                continue
            for dataset in api.get_datasets(workflow_id=one.id, limit=1000):
                found.append(
                    SalesPartner(
                        dataset.name,
                        dataset.dataset_type.extras.get("sales_field"),
                        dataset.service,
                        dataset.address,
                        dataset.dataset_type.table_type.type_id,
                    )
                )
        return found

    assert partners() == [
        SalesPartner(f"{name}0", f"sold_{name}", "bigquery", f"press.sales.{name}0", "sharded")
        for name in ("books", "papers")
    ]
    assert [one.name for one in tagged_datasets(api, "sales_partner", press.id)] == [
        "books0",
        "papers0",
    ]
    added = dataset_of(
        api, "new", api.get_workflows(organisation_id=press.id)[0], "sharded", extra={}
    )
    assert [one.dataset_name for one in partners()] == ["books0", "papers0", "new"]
    with pytest.raises(DataError, match="'new'.*'sales_field'"):
        extra_of(added, "sales_field")


@pytest.mark.sampled(3)
def test_use_case_2_sources_are_monitored_and_waited_for(api, no_waits):
    inputs = [dataset_of(api, name, kind=f"dag_{name}") for name in ("a", "b", "c")]
    names = ["dag_c", "dag_a", "dag_b", "dag_a"]
    for dataset in inputs[:2]:
        api.register_release(DatasetRelease(dataset=dataset, snapshot_date=DAY))
    assert (
        unfinished(api, names, DAY) == ["dag_c"]
        and unfinished(api, names, DAY, never_loaded="pass") == []
    )
    assert unfinished(api, names, day(1)) == ["dag_a", "dag_b", "dag_c"]
    with pytest.raises(RetryLaterError, match="dag_c") as caught:
        wait_for(api, names, DAY, timeout=300, every=60)
    assert caught.value.names == ["dag_c"] and sum(no_waits) == 300
    api.register_release(DatasetRelease(dataset=inputs[2], snapshot_date=DAY))
    assert wait_for(api, names, DAY) is None
    assert (
        refusal(lambda: unfinished(api, ["nobody"], DAY)) == "not_found"
        and refusal(lambda: unfinished(api, names, DAY, never_loaded="maybe")) == "bad_argument"
    )


@pytest.mark.parametrize("late", [0, 1])
def test_a_type_is_waited_for_until_each_of_its_datasets_has_arrived(local, late):
    books = dataset_of(local, "north", kind="books"), dataset_of(local, "south")
    kind = local.get_dataset_type(type_id="books")
    local.put_dataset(Dataset(id=books[1].id, dataset_type=kind))
    for n in range(2):
        local.register_release(DatasetRelease(dataset=books[n], snapshot_date=day(n != late)))
    assert unfinished(local, ["books"], DAY) == []
    assert unfinished(local, ["books"], day(1)) == ["books"]
    local.register_release(DatasetRelease(dataset=books[late], snapshot_date=day(1)))
    assert unfinished(local, ["books"], day(1)) == []


def test_use_case_3_one_workflow_for_each_organisation(local):
    kept = [local.post_organisation(Organisation(name=f"Press Nr. {n}")) for n in range(300)]
    dataset = dataset_of(local, of=flow(local, organisation=kept[7]))
    local.register_release(DatasetRelease(dataset=dataset, snapshot_date=DAY))

    def make(organisation, dag_id):
        return Workflow(dag_id)

    made, failures = one_per_organisation(local.get_organisations(limit=100), "onix", make)
    assert (
        len(made) == 300
        and not failures
        and [*made] == [*one_per_organisation(reversed(local.get_organisations()), "onix", make)[0]]
        and made["onix_press_nr._0"].dag_id == "onix_press_nr._0"
    )
    local.put_organisation(Organisation(id=kept[9].id, name=None))
    made, failures = one_per_organisation(local.get_organisations(), "onix", make)
    local.put_organisation(Organisation(id=kept[9].id, name="Press Nr. 9"))
    local.delete_organisation(kept[7].id)
    assert (
        len(one_per_organisation(local.get_organisations(), "onix", make)[0]) == 299
        and len(local.get_dataset_releases(1000, dataset.id)) == 1
        and local.get_workflow(dataset.workflow.id).organisation is None
    )

    def broken(organisation, dag_id):
        return Workflow(dag_id) if organisation.id != kept[3].id else 1 / 0

    made, failures = one_per_organisation(local.get_organisations(), "onix", broken)
    assert len(made) == 298 and [*failures] == ["Press Nr. 3"]
    local.post_organisation(Organisation(name="press  nr. 5 "))
    with pytest.raises(DataError, match="'Press Nr. 5'.*'press  nr. 5 '") as caught:
        one_per_organisation(local.get_organisations(), "onix", make)
    assert caught.value.reason == "same_dag_id"
    assert (
        make_dag_id("p", "O'Reilly & Sons") == "p_o_reilly_sons"
        and refusal(lambda: make_dag_id("p", "!!"))
        == refusal(lambda: make_dag_id("p", "x" * 250))
        == "bad_dag_id"
    )


def test_use_case_4a_where_a_dataset_is_stored(api):
    dataset = dataset_of(api, service="bigquery", address="project.dataset.table")
    assert address_to_gcp_fields(api.get_dataset(id=dataset.id).address) == (
        "project",
        "dataset",
        "table",
    )
    for bad in ("a.b", "a.b.c.d", "a..c", ""):
        assert refusal(lambda: address_to_gcp_fields(bad)) == "bad_address"
    with pytest.raises(DataError, match="bigquery.*elasticsearch"):
        address_parts("floppy", "a")


def test_use_case_4b_a_dataset_is_moved(api):
    before = dataset_of(api, credential="vault/press")
    after = api.put_dataset(Dataset(id=before.id, service="new service", address="new address"))
    assert (
        (after.service, after.address) == ("new service", "new address")
        and after.modified > before.modified
        and after.created == before.created
    )
    assert (after.name, after.credential, after.workflow, after.dataset_type) == (
        before.name,
        before.credential,
        before.workflow,
        before.dataset_type,
    )
    api.put_dataset(Dataset(id=before.id, name="renamed"))
    assert [
        (place.service, place.address) for place in api.get_dataset_places(dataset_id=before.id)
    ] == [(before.service, before.address)]
    assert refusal(lambda: api.put_dataset(Dataset(id=99, service="s", address="a"))) == "not_found"


def test_use_case_4c_access_apart_from_the_engine_and_no_secret_kept(tmp_path):
    api = make_observatory_api(tmp_path / "registry.sqlite")
    dataset = dataset_of(api, credential="vault/press")
    assert (
        refusal(lambda: api.put_dataset(Dataset(id=dataset.id, address="user:hush@host")))
        == "secret_in_address"
    )
    with serving(make_service(api.backend, "writers-hush", "readers-hush")) as address:
        reader = make_observatory_api(address, "readers-hush")
        assert (
            reader.get_dataset(dataset.id) == dataset
            and refusal(lambda: reader.put_dataset(Dataset(id=dataset.id, name="x")))
            == "read_only_key"
        )
        assert refusal(
            lambda: reader.register_release(DatasetRelease(dataset=dataset, snapshot_date=DAY))
        ) == "read_only_key" and reader.missing_releases(dataset, [DAY]) == [DAY]
    assert (
        all(b"hush" not in path.read_bytes() for path in tmp_path.glob("registry.sqlite*"))
        and (tmp_path / "registry.sqlite").stat().st_mode & 0o077 == 0
    )
    assert make_observatory_api(tmp_path / "registry.sqlite").get_dataset(dataset.id) == dataset


RECORDED = [day(n) for n in range(5)]


@pytest.mark.parametrize(
    "available, recorded, expected",
    [
        (RECORDED, [], RECORDED),
        (RECORDED, RECORDED, []),
        (RECORDED, [day(1), day(3)], [day(0), day(2), day(4)]),
        (RECORDED[::-1], [day(1)], [day(0), day(2), day(3), day(4)]),
        ([day(0), day(0), day(1)], [day(1)], [day(0)]),
        (["2024-03-01T10:00:00+13:00"], ["2024-02-29T21:00:00Z"], []),
        ([day(1)], RECORDED, []),
        ([{"start_date": day(0), "end_date": day(0)}], [day(0)], []),
    ],
)
def test_use_case_5a_which_releases_to_process(available, recorded, expected):
    assert missing(available, recorded) == expected
    assert [release_key(one) for one in withdrawn(available, recorded)] == sorted(
        {release_key(one) for one in recorded} - {release_key(one) for one in available}
    )


def test_use_case_5b_a_release_is_recorded_after_its_load(local):
    catching = CatchUp(dataset_of(local), local, Store("store.duckdb"))

    def broken(release):
        raise ConnectionError("source down")

    failed = catching.run([DAY], broken)
    assert (
        [*failed.failures] == [f"s:{DAY}"]
        and local.get_dataset_releases(1000, catching.dataset.id) == []
        and catching.missing([DAY]) == [DAY]
    )
    done = catching.run([DAY], lambda release: pa.table({"day": [release]}), run="the run")
    release = local.get_latest_release(catching.dataset)
    assert (
        (release.snapshot_date.date(), release.dag_run_id, release.row_count, release.state)
        == (DAY, "the run", 1, "loaded")
        == (done.loaded[0].snapshot_date.date(), done.run, 1, "loaded")
    )


@pytest.mark.parametrize(
    "release, told",
    [
        (SimpleNamespace(snapshot_date=DAY), {"snapshot_date": DAY}),
        (
            SimpleNamespace(release_date=DAY),
            {"start_date": DAY, "end_date": DAY, "snapshot_date": DAY},
        ),
        (SimpleNamespace(partition_date=DAY), {"partition_date": DAY}),
        (
            SimpleNamespace(start_date=DAY, end_date=day(30)),
            {"start_date": DAY, "end_date": day(30)},
        ),
        (
            SimpleNamespace(release_id="20240301"),
            {"start_date": DAY, "end_date": DAY, "snapshot_date": DAY},
        ),
        (
            SimpleNamespace(
                changefile_start_date=DAY,
                changefile_end_date=day(1),
                sequence_start=1,
                sequence_end=2,
            ),
            {
                "changefile_start_date": DAY,
                "changefile_end_date": day(1),
                "sequence_start": 1,
                "sequence_end": 2,
            },
        ),
    ],
)
def test_use_case_5c_every_kind_of_release_gives_its_dates(release, told):
    assert release_fields(release) == {
        name: value if isinstance(value, int) else utc(value) for name, value in told.items()
    }


@pytest.mark.sampled(3)
def test_use_case_5c_add_new_dataset_releases(api, monkeypatch):
    of = flow(api)
    for name in ("a", "b", "c"):
        dataset_of(api, name, of)

    class Loads(Workflow):
        def make_release(self, **kwargs):
            return [SimpleNamespace(release_date=one) for one in (DAY, day(1))]

    loads = Loads("loads", of.id, api)
    loads.add_task(loads.add_new_dataset_releases)
    assert (
        len(loads.run().results["add_new_dataset_releases"]) == 6
        and loads.run().results["add_new_dataset_releases"] == []
        and len(api.get_dataset_releases()) == 6
    )
    assert (
        loads.add_new_dataset_releases([]) == loads.add_new_dataset_releases(None) == []
        and len(loads.add_new_dataset_releases(SimpleNamespace(release_date=day(5)))) == 3
    )
    assert (
        refusal(
            lambda: Workflow("w", None, api).add_new_dataset_releases(
                [SimpleNamespace(release_date=DAY)]
            )
        )
        == "no_workflow_id"
    )
    assert (
        refusal(
            lambda: Workflow("w", 99, api).add_new_dataset_releases(
                [SimpleNamespace(release_date=DAY)]
            )
        )
        == "no_dataset"
    )
    assert (
        refusal(lambda: loads.add_new_dataset_releases(SimpleNamespace(release_id="latest")))
        == "bad_time"
    )


def test_use_case_5c_a_crash_in_the_middle_leaves_nothing(url, monkeypatch):
    api = make_observatory_api(url)
    of = flow(api)
    for name in ("a", "b", "c"):
        dataset_of(api, name, of)
    task, calls = Workflow("w", of.id, api).add_new_dataset_releases, []
    real = changes.register_release

    def fourth_fails(con, values):
        calls.append(values)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return real(con, values)

    monkeypatch.setattr(changes, "register_release", fourth_fails)
    two = [SimpleNamespace(release_date=DAY), SimpleNamespace(release_date=day(1))]
    with pytest.raises(KeyboardInterrupt):
        task(two)
    assert api.get_dataset_releases() == []
    monkeypatch.setattr(changes, "register_release", real)
    assert len(task(two)) == 6


@pytest.mark.sampled(3)
def test_use_case_5d_releases_are_looked_up_without_engine_or_storage(api):
    dataset = dataset_of(api, service="a service that is gone", address="nowhere")
    assert (
        api.is_first_release(dataset)
        and api.is_first_release(dataset.id)
        and api.get_latest_release(dataset) is None
    )
    for n in (2, 0, 1):
        api.register_release(DatasetRelease(dataset=dataset, snapshot_date=day(n)))
    assert (
        not api.is_first_release(dataset)
        and api.get_latest_release(dataset.id).release_key == f"s:{day(2)}"
    )
    page, cursor = api.backend.page("dataset_release", 2, dataset_id=dataset.id)
    assert [one.release_key for one in page] == [f"s:{day(2)}", f"s:{day(1)}"] and [
        one.release_key
        for one in api.backend.page("dataset_release", 2, cursor, dataset_id=dataset.id)[0]
    ] == [f"s:{day(0)}"]
    engines = "airflow", "google", "sandbox"
    code = (
        "import sys; from domostats.tracking import make_observatory_api, Workflow; "
        f"print([name for name in sys.modules if name.split('.')[0] in {engines!r}])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        ).stdout
        == "[]\n"
    )


@pytest.mark.sampled(3)
def test_use_case_6_one_dataset_in_two_services(api):
    of = flow(api)
    there = {
        service: dataset_of(api, "works", of, service=service)
        for service in ("bigquery", "elasticsearch")
    }
    for service, last in (("bigquery", 9), ("elasticsearch", 7)):
        for n in range(last):
            api.register_release(DatasetRelease(dataset=there[service], snapshot_date=day(n)))
    newest = {
        one.service: release_time(api.get_latest_release(one))
        for one in api.get_datasets(name="works")
    }
    assert newest["bigquery"] - newest["elasticsearch"] == timedelta(2)


def test_use_case_7_runs_are_found_from_releases_and_releases_from_runs(local):
    dataset = dataset_of(local)

    class Updates(Workflow):
        def load(self, releases, n, **kwargs):
            if n in (1, 3):
                raise ConnectionError

        def make_release(self, n, **kwargs):
            return SimpleNamespace(start_date=day(n), end_date=day(n + 1))

    updates = Updates("updates", dataset.workflow.id, local)
    updates.add_task(updates.load)
    updates.add_task(updates.add_new_dataset_releases)
    for n in range(5):
        with contextlib.suppress(ConnectionError):
            updates.run(run_id=f"run {n}", n=n)
    kept = local.get_dataset_releases(1000, dataset.id)
    assert [one.dag_run_id for one in kept] == ["run 4", "run 2", "run 0"] and all(
        one.ingestion_start <= one.ingestion_end and one.dag_id == "updates" for one in kept
    )
    assert [one.start_date.date() for one in local.get_dataset_releases(dag_run_id="run 2")] == [
        day(2)
    ]


@pytest.mark.sampled(3)
def test_use_case_8_the_engine_was_off_for_five_days(api):
    catching, order = CatchUp(dataset_of(api), api, Store("store.duckdb")), []

    def ingest(release):
        order.append(release)
        if release == day(2) and len(order) < 4:
            raise ConnectionError
        return pa.table({"day": [release]})

    first = catching.run([*reversed(RECORDED)], ingest, chained=True)
    assert order == RECORDED[:3] and len(first.loaded) == 2 and [*first.failures] == [f"s:{day(2)}"]
    second = catching.run(RECORDED, ingest)
    assert order == [*RECORDED[:3], *RECORDED[2:]] and len(second.loaded) == 3
    third = catching.run(RECORDED, ingest)
    assert (
        not third.loaded
        and len(order) == 6
        and sorted(catching.store.read("duckdb_books")["day"].to_pylist()) == RECORDED
    )
    for one in api.get_dataset_releases(1000, catching.dataset.id):
        api.delete_dataset_release(one.id)  # its history is wiped
    assert (
        not catching.run(RECORDED, ingest).loaded
        and len(order) == 6
        and len(api.get_dataset_releases(1000, catching.dataset.id)) == 5
    )


@pytest.mark.sampled(3)
def test_use_case_9_several_releases_in_one_run(api):
    catching = CatchUp(dataset_of(api), api, Store("store.duckdb"))

    def ingest(release):
        if release == day(1):
            raise ConnectionError
        return pa.table({"day": [release]})

    done = catching.run(RECORDED, ingest)
    kept = api.get_dataset_releases(dag_run_id=done.run)
    assert (
        len(kept) == 4
        and {one.snapshot_date.date() for one in kept} == {*RECORDED} - {day(1)}
        and len({one.created for one in kept}) > 1
    )


def test_use_case_10_table_names_from_table_types(local):
    assert (
        table_name("mytable", "sharded", date(2021, 1, 2)) == "mytable20210102"
        and table_name("mytable", "partitioned", date(2021, 1, 2), "month") == "mytable$202101"
        and table_name("mytable", "regular") == "mytable"
    )
    leap = datetime(2024, 2, 29, 23, tzinfo=timezone.utc)
    for base in ("books", "top10", "t20200101"):
        for precision, back in (
            ("hour", leap),
            ("day", leap.replace(hour=0)),
            ("month", leap.replace(day=1, hour=0)),
            ("year", leap.replace(month=1, day=1, hour=0)),
        ):
            assert table_parts(table_name(base, "partitioned", leap, precision), "partitioned") == (
                base,
                back,
            )
        assert table_parts(table_name(base, "sharded", leap), "sharded") == (
            base,
            leap.replace(hour=0),
        ) and table_parts(base, "regular") == (base, None)
    assert (
        table_name("t", "sharded", datetime(2021, 1, 1, 5, tzinfo=timezone(timedelta(hours=13))))
        == "t20201231"
    )
    assert [
        refusal(call)
        for call in (
            lambda: table_name("t", "sharded"),
            lambda: table_name("t", "odd"),
            lambda: table_name("t", "partitioned", DAY, "week"),
            lambda: table_parts("t20241399", "sharded"),
        )
    ] == ["no_date", "unknown_table_type", "bad_precision", "bad_date"]
    for kind, expected in (
        ("regular", {"duckdb_regular": 2}),
        ("sharded", {"duckdb_sharded20240301": 1, "duckdb_sharded20240302": 1}),
        ("partitioned", {"duckdb_partitioned": 2}),
    ):
        catching = CatchUp(dataset_of(local, kind, table_type=kind), local, Store(f"{kind}.duckdb"))
        catching.run([DAY, day(1)], lambda release: pa.table({"day": [release]}))
        assert {
            name: catching.store.read(name).num_rows for name in catching.store.names()
        } == expected


@pytest.mark.sampled(3)
def test_use_case_11_licences(api):
    open_data, closed, unknown = [dataset_of(api, name) for name in ("open", "closed", "unknown")]
    mixed, blend = (
        dataset_of(api, "mixed", derived_from=[open_data.id, closed.id]),
        dataset_of(api, "blend", derived_from=[open_data.id]),
    )
    api.post_licence(
        Licence(
            dataset=open_data,
            licence_id="CC-BY",
            terms="name the source",
            purposes=["analysis", "redistribution"],
            share_alike=False,
        )
    )
    api.post_licence(
        Licence(dataset=closed, licence_id="house", purposes=["analysis"], valid_to="2024-03-02")
    )
    api.post_licence(
        Licence(dataset=closed, licence_id="none", purposes=[], valid_from="2024-03-02")
    )
    releases = {
        (one.name, n): api.register_release(DatasetRelease(dataset=one, snapshot_date=day(n)))[0]
        for one in (open_data, closed, unknown, mixed, blend)
        for n in (0, 1)
    }
    allowed = {
        key: policies.decide(api, release, "analysis").allowed for key, release in releases.items()
    }
    assert allowed == {
        ("open", 0): True,
        ("open", 1): True,
        ("closed", 0): True,
        ("closed", 1): False,
        ("unknown", 0): False,
        ("unknown", 1): False,
        ("mixed", 0): True,
        ("mixed", 1): False,
        ("blend", 0): True,
        ("blend", 1): True,
    }
    refused = policies.decide(api, releases["mixed", 0], "redistribution")
    assert (
        "closed is under house, which does not allow redistribution" in refused.why
        and len(api.get_export_decisions(dataset_release_id=releases["mixed", 0].id)) == 2
    )


def test_a_licence_has_ended_at_the_moment_at_which_it_ends(local):
    books = dataset_of(local)
    local.post_licence(
        Licence(dataset=books, licence_id="house", purposes=["analysis"], valid_to=day(1))
    )
    last, first = (
        local.register_release(DatasetRelease(dataset=books, snapshot_date=day(n)))[0]
        for n in (0, 1)
    )
    assert policies.decide(local, last, "analysis").allowed
    refused = policies.decide(local, first, "analysis")
    assert not refused.allowed and refused.why == "books has no licence"


@pytest.mark.sampled(3)
def test_use_case_12_how_far_a_source_drifted_while_it_was_read(api):
    noon = datetime(2024, 3, 1, 12, tzinfo=timezone.utc)

    def reading(moved):
        return Measured(
            pa.table(
                {
                    "id": [*range(100 - moved), *range(moved)],
                    "at": [noon - timedelta(1)] * (100 - moved) + [noon + timedelta(1)] * moved,
                }
            ),
            noon,
            noon + timedelta(seconds=90),
            "id",
            "at",
            totals=(100, 100),
        )

    catching = CatchUp(dataset_of(api), api, Store("store.duckdb"))
    still, drifting = catching.run(
        [DAY, day(1)], lambda release: reading(0 if release == DAY else 5)
    ).loaded
    assert (
        reading(5).drift == (90, 5, 5, 5)
        and still.warning is None
        and "5 rows changed, 5 came twice, 5 did not come, in 90 s" in drifting.warning
    )
    assert (
        drifting.total_first,
        drifting.total_last,
        drifting.row_count,
        drifting.source_modified_max,
        drifting.extra["drift"]["seconds"],
    ) == (100, 100, 100, noon + timedelta(1), 90) and drifting.checksum != still.checksum
    assert drifting.ingestion_start < drifting.ingestion_end
    assert refusal(lambda: Measured(pa.table({"id": [1]}), noon, noon, "key")) == "no_column"


@pytest.mark.slow
def test_use_case_13_retention(local):
    catching = CatchUp(dataset_of(local, table_type="sharded"), local, Store("store.duckdb"))
    days = [date(2024, 2, 20) + timedelta(n) for n in range(20)]
    catching.run(days, lambda release: pa.table({"day": [release]}))

    def keys(releases):
        return [one.release_key[2:] for one in releases]

    assert policies.expiring(local, catching.dataset) == []
    policy = local.post_retention(
        Retention(dataset_type=catching.dataset.dataset_type, keep_last=3)
    )
    assert keys(policies.expiring(local, catching.dataset)) == [str(one) for one in days[:-3]]
    local.put_retention(Retention(id=policy.id, keep_first_of_month=True))
    assert keys(policies.expiring(local, catching.dataset)) == [
        str(one) for one in days[:-3] if one not in (days[0], date(2024, 3, 1))
    ]
    local.put_retention(
        Retention(id=policy.id, keep_last=0, keep_first_of_month=False, keep_days=5)
    )
    assert keys(
        policies.expiring(local, catching.dataset, today=date(2024, 3, 9), in_use=["s:2024-02-20"])
    ) == [str(one) for one in days[1:] if one < date(2024, 3, 4)]
    assert str(days[-1]) not in keys(
        policies.expiring(local, catching.dataset, today=date(2030, 1, 1))
    )
    assert (
        keys(policies.expire(catching, today=date(2024, 3, 9)))
        and len(catching.store.names()) == 20
    )
    gone = policies.expire(catching, dry_run=False, today=date(2024, 3, 9))
    assert (
        {one.state for one in gone} == {"expired"}
        and all(one.expired_at for one in gone)
        and len(catching.store.names()) == 20 - len(gone)
        and catching.missing(days) == []
    )
    catching.store.drop("duckdb_books20240310")
    catching.ledger.forget(catching.name, "s:2024-03-10")
    assert keys(policies.absent(catching)) == ["2024-03-10"]
    local.put_retention(Retention(id=policy.id, legal_hold=True))
    assert policies.expiring(local, catching.dataset, today=date(2030, 1, 1)) == []


def test_a_claim_is_held_runs_out_and_is_taken_over(api):
    dataset = dataset_of(api)
    release = DatasetRelease(dataset=dataset, snapshot_date=DAY)
    first = api.backend.claim(release, "one")
    assert (
        api.backend.claim(release, "two") is None
        and api.backend.claim(release, "one", -1).id == first.id
        and api.get_dataset_releases(1000, dataset.id) == []
    )
    assert (
        api.backend.claim(release, "two").dag_run_id == "two"
        and refusal(lambda: api.backend.settle(DatasetRelease(id=first.id, state="loaded"), "one"))
        == "not_claimed"
    )
    assert (
        api.backend.settle(DatasetRelease(id=first.id, state="loaded", row_count=1), "two").state
        == "loaded"
        and api.backend.claim(release, "two") is None
    )


def test_an_interrupted_run_leaves_its_release_to_the_next(local):
    catching = CatchUp(dataset_of(local), local, Store("store.duckdb"))

    def interrupted(release):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        catching.run([DAY], interrupted)
    assert len(catching.run([DAY], lambda release: pa.table({"day": [release]})).loaded) == 1


def test_a_run_that_was_too_slow_leaves_its_release_to_the_one_that_took_it_over(local):
    slow, quick = [
        CatchUp(dataset_of(local) if not n else 1, local, Store("store.duckdb")) for n in range(2)
    ]

    def load(release):
        return pa.table({"day": [release]})

    def overtaken(release):
        if release == DAY:
            assert len(quick.run([DAY], load).loaded) == 1
        return load(release)

    done = slow.run([DAY, day(1)], overtaken, claim_seconds=-1)
    assert (done.claimed_elsewhere, [one.release_key for one in done.loaded]) == (
        [f"s:{DAY}"],
        [f"s:{day(1)}"],
    ) and slow.store.read("duckdb_books").num_rows == 2


def test_a_failure_is_no_longer_spoken_of_when_the_release_is_loaded(local):
    catching = CatchUp(dataset_of(local), local, Store("store.duckdb"))

    def broken(release):
        raise ConnectionError("source down")

    catching.run([DAY], broken)
    assert [one.warning for one in local.get_dataset_releases(state="failed")] == [
        "ConnectionError: source down"
    ]
    assert catching.run([DAY], lambda release: None).loaded[0].warning is None


def test_a_run_that_died_here_holds_nothing_up(local):
    catching = CatchUp(dataset_of(local), local, Store("store.duckdb"))
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            "from domostats.tracking.run_names import run_name; print(run_name())",
        ],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ).stdout.strip()
    local.backend.claim(DatasetRelease(dataset=catching.dataset, snapshot_date=DAY), ended)
    local.backend.claim(DatasetRelease(dataset=catching.dataset, snapshot_date=day(1)), run_name())
    done = catching.run([DAY, day(1)], lambda release: pa.table({"day": [release]}))
    assert [one.release_key for one in done.loaded] == [f"s:{DAY}"] and done.claimed_elsewhere == [
        f"s:{day(1)}"
    ]


def test_a_run_of_another_user_of_this_machine_is_alive(local, monkeypatch):
    catching = CatchUp(dataset_of(local), local, Store("store.duckdb"))
    local.backend.claim(DatasetRelease(dataset=catching.dataset, snapshot_date=DAY), run_name())

    def not_yours(process, signal):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "kill", not_yours)
    done = catching.run([DAY], lambda release: pa.table({"day": [release]}))
    assert done.claimed_elsewhere == [f"s:{DAY}"] and done.loaded == []
    assert catching.store.names() == []


WORKER = """
import sys, time
from datetime import date, timedelta
import pyarrow as pa
from domostats.loading.store import Store
from domostats.tracking.registry.catch_up import CatchUp
from domostats.tracking.loads import Loads
from domostats.tracking.registry.api import make_observatory_api
catching = CatchUp(1, make_observatory_api(sys.argv[1]), Store(sys.argv[2]))
days = [date(2024, 1, 1) + timedelta(n) for n in range(40)]
def ingest(day):
    print(day, flush=True)
    return pa.table({"day": [day] * 100, "n": [*range(100)]})
catching.run(days, ingest)
print("done", flush=True)
"""


@pytest.mark.slow
@pytest.mark.kills
def test_kills_in_a_catch_up_neither_lose_nor_double_a_release(tmp_path, draws):
    import signal
    import time

    inside, environment = 0, {**os.environ, "PYTHONPATH": str(ROOT)}

    def worker(place):
        return subprocess.Popen(
            [
                sys.executable,
                "-c",
                WORKER,
                str(tmp_path / f"{place}.sqlite"),
                str(tmp_path / f"{place}.duckdb"),
            ],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    places = ["killed"]
    for place in ("killed", "whole"):
        dataset_of(make_observatory_api(tmp_path / f"{place}.sqlite"))
    for attempt in range(100):  # however fast this machine is, so many kills come in between
        if inside == KILLS:
            break
        running = worker(places[-1])
        if running.stdout.readline().strip() == "done":
            running.communicate(timeout=120)
            places.append(f"killed {attempt}")
            dataset_of(make_observatory_api(tmp_path / f"{places[-1]}.sqlite"))
            continue
        if draws.random() < 0.5:
            running.stdout.readline()
        time.sleep(draws.random() * 0.04)
        running.send_signal(signal.SIGKILL)
        inside += running.wait() == -signal.SIGKILL
        running.stdout.close()
    assert inside == KILLS
    for place in (places[-1], "whole"):
        assert worker(place).communicate(timeout=120)[0].endswith("done\n")
    told = {}
    for place in (*places, "whole"):
        api, store = (
            make_observatory_api(tmp_path / f"{place}.sqlite"),
            Store(tmp_path / f"{place}.duckdb"),
        )
        told[place] = (
            store.read("duckdb_books", "SELECT * FROM table ORDER BY day, n").to_pylist(),
            [
                (one.release_key, one.row_count, one.checksum, one.state)
                for one in api.get_dataset_releases(1000, 1)
            ],
            [one[:3] for one in CatchUp(1, api, store).ledger.lines()],
        )
        assert api.get_dataset_releases(state=["claimed", "failed"]) == []
    assert len(told["whole"][0]) == 4000 and len(told["whole"][1]) == 40
    for place in places:
        assert told[place] == told["whole"]


def test_releases_from_a_terminal(monkeypatch):
    from typer.testing import CliRunner

    from domostats.interfaces import release_commands
    from domostats.interfaces.cli import app

    monkeypatch.setenv("COLUMNS", "200")
    open("settings.ini", "w").write(
        "[domostats]\nstore = store.duckdb\nregistry = sqlite:///registry.sqlite\n"
    )

    def run(*words):
        result = CliRunner().invoke(app, [*words])
        assert result.exit_code == 0, (result.output, result.exception)
        return result.output

    api = make_observatory_api()
    catching = CatchUp(dataset_of(api), api)
    catching.run(RECORDED, lambda release: None if release == DAY else pa.table({"day": [release]}))
    name, latest = catching.name, f"s:{RECORDED[-1]}"
    assert (
        name in run("releases")
        and latest in run("releases", name)
        and latest in run("releases", "--registry")
        and latest in run("releases", "books", "--registry")
    )
    api.delete_dataset_release(api.get_latest_release(1).id)
    assert (
        "1 releases would be recorded" in run("releases", "books", "--record", "--dry-run")
        and api.get_latest_release(1).release_key != latest
    )
    assert (
        "1 releases were recorded" in run("releases", "1", "--record")
        and api.get_latest_release(1).release_key == latest
    )
    assert (
        "would be forgotten"
        in run("releases", "books", "--registry", "--forget", latest, "--dry-run")
        and catching.missing(RECORDED) == []
    )
    run("releases", "books", "--registry", "--forget", latest)
    assert catching.missing(RECORDED) == [RECORDED[-1]] and latest not in catching.ledger.keys(name)
    run("releases", "books", "--registry", "--picture", "books.html")
    page = open("books.html").read()
    assert (
        page.count("<tr>") == 5
        and "empty" in page
        and "<svg" not in page
        and "data:image/svg+xml" in page
    )
    assert refusal(lambda: release_commands._find_books("nobody")) == "unknown_dataset"
    with sandbox.start():
        run("snapshot", "users", "--instance", "sandbox", "--format", "all")
        assert "history.users_all@sandbox" in run("releases")
        run("history", "users", "--format", "all", "--picture", "users.html")
        assert "what changed" in open("users.html").read()
        assert (
            CliRunner()
            .invoke(
                app,
                [
                    "releases",
                    "history.users_all@sandbox",
                    "--forget",
                    Loads().keys("history.users_all@sandbox")[0],
                ],
            )
            .exception.reason
            == "not_a_release"
        )
    for words in (["releases", "--forget", "x"], ["releases", "--picture", "x.html"]):
        assert CliRunner().invoke(app, words).exit_code == 2


def test_a_registry_may_lie_in_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    Database("sqlite:///~/registry.sqlite")
    assert (tmp_path / "home" / "registry.sqlite").is_file() and not Path("~").exists()


def test_an_answer_that_is_nested_too_deep_is_none_of_a_registry():
    for content in (b"[" * 100_000, b'{"id":' * 100_000):
        with pytest.raises(ValueError):
            read_answer(content, list[Dataset])
