"""Workflows that run under a real Airflow, each in `dag.test()`, all in this process.

    python airflow_runs.py RESULT.json FOLDER [CASE ...]

An interpreter that has Airflow runs it, with AIRFLOW_HOME in a folder of its own. Each case is a
function that gives what it saw, as plain values; `test_airflow.py` judges it."""

import json
import os
import re
import sys
import traceback
from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, timezone
from pathlib import Path
from types import SimpleNamespace

from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.collection import update_dag_parsing_results_in_db
from airflow.models import Connection
from airflow.serialization.serialized_objects import LazyDeserializedDAG
from airflow.settings import Session
from airflow.utils.db import initdb

from domostats import reports, sandbox
from domostats.engines.airflow import (
    DagRunSensor,
    Dataset,
    DatasetRelease,
    DatasetType,
    Organisation,
    ReleaseSensor,
    TableType,
    Workflow,
    WorkflowType,
    address_to_gcp_fields,
    connected_instance,
    dataset_asset,
    make_dag_id,
)
from domostats.errors import CredentialsError, RetryLaterError
from domostats.tracking.registry.api import make_observatory_api as registry_at
from domostats.tracking.registry.entities import Workflow as Flow

FOLDER = Path(sys.argv[2])


def tested(dag):
    "A run of a DAG that stands in no file: written down first, as the dag processor does."
    session = Session()
    written = [LazyDeserializedDAG.from_dag(dag)]
    update_dag_parsing_results_in_db("dags-folder", None, written, {}, None, set(), session=session)
    session.commit()
    return dag.test()


def states(run):
    "The state of each task of a run: of one that is mapped, how many are in which."
    found = {}
    for ti in run.get_task_instances():
        found.setdefault(ti.task_id, Counter())[str(ti.state)] += 1
    return found


def seen(run):
    return {"state": str(run.state.value), "tasks": states(run)}


def filled(name):
    "A registry with an organisation, a workflow and two datasets of it."
    api = registry_at(FOLDER / f"{name}.sqlite")
    press = api.post_organisation(Organisation(name="The Press"))
    api.post_organisation(Organisation(name="O'Reilly & Sons"))
    flow = api.post_workflow(
        Flow(
            name="sales",
            tags='["sales_partner", "aggregation_input"]',
            organisation=press,
            workflow_type=api.post_workflow_type(WorkflowType(type_id="onix")),
        )
    )
    table = api.post_table_type(TableType(type_id="sharded"))
    for name in ("books", "papers"):
        kind = DatasetType(type_id=f"{name}_dag", extra={"sales_field": "sales"}, table_type=table)
        api.post_dataset(
            Dataset(
                name=name,
                service="bigquery",
                address=f"project.sales.{name}",
                workflow=flow,
                dataset_type=api.post_dataset_type(kind),
            )
        )
    return api, press, flow


# --- the tasks of a workflow ----------------------------------------------------------------------


class Days(Workflow):
    "Loads days, and keeps what was called with what."

    def __init__(self, dag_id, days, tasks=(), **options):
        self.failing = options.pop("failing", {})
        super().__init__(dag_id, **options)
        self.days = days
        self.called = []
        for name, how in tasks:
            self.add_task(self.task(name), task_id=name, **how)

    def task(self, name):
        def call(releases, dag_id, run_id, **kwargs):
            self.called.append([name, str(releases), kwargs["workflow"] is self, "ti" in kwargs])
            errors = self.failing.get((name, str(releases)), self.failing.get(name, []))
            if errors:
                raise errors.pop(0)

        return call

    def make_release(self, **kwargs):
        return self.days


def run_a_plain_row():
    "A setup task, tasks in a row, and the registration of what they have loaded."
    api, _, flow = filled("row")
    days = [date(2024, 4, 1), date(2024, 4, 2)]
    night = Days("row", days, [("load", {}), ("transform", {})], workflow_id=flow.id, api=api)
    night.add_setup_task(lambda **kwargs: night.called.append("setup"), task_id="ready")
    night.add_task(night.add_new_dataset_releases)
    run = tested(night.make_dag())
    recorded = api.get_dataset_releases(1000)
    again = Days("row", days, workflow_id=flow.id, api=api)
    again.add_task(again.add_new_dataset_releases)
    tested(again.make_dag())
    return {
        **seen(run),
        "called": night.called,
        "recorded": [[one.dataset.name, one.release_key] for one in recorded],
        "dag": {one.dag_id for one in recorded} == {"row"},
        "runs": {one.dag_run_id for one in recorded} == {run.run_id},
        "started": all(one.ingestion_start <= one.ingestion_end for one in recorded),
        "after_another_run": len(api.get_dataset_releases(1000)),
    }


def run_with_nothing_to_do():
    "A setup task that gives False: everything behind it is skipped."
    night = Days("nothing", ["a", "b"], [("load", {"each": True}), ("tell", {})])
    night.add_setup_task(lambda **kwargs: False, task_id="ready")
    return {**seen(tested(night.make_dag())), "called": night.called}


def run_without_releases():
    "No releases: what is called for each is not, the others get an empty list, as elsewhere."
    night = Days("empty", [], [("load", {"each": True}), ("tell", {})])
    return {**seen(tested(night.make_dag())), "called": night.called}


def run_that_fails_in_a_row():
    "An error ends the row; what is behind it does not run."
    failing = {"load": [ValueError("broken")]}
    night = Days("broken", ["a"], [("load", {}), ("tell", {}), ("more", {})], failing=failing)
    return {**seen(tested(night.make_dag())), "called": night.called}


def run_with_retries():
    "One error is tried again, one that waiting does not mend is not."
    tasks = [("load", {"retries": 2, "retry_wait": 0}), ("tell", {"retries": 5, "retry_wait": 0})]
    failing = {
        "load": [RetryLaterError("later", "unavailable")] * 2,
        "tell": [CredentialsError("wrong", "wrong_password")],
    }
    night = Days("retries", ["a"], tasks, failing=failing)
    return {**seen(tested(night.make_dag())), "called": [one[0] for one in night.called]}


def run_two_mapped():
    "Two mapped tasks behind each other: the second is called for what the first has done."
    failing = {("load", "b"): [ValueError("b")], ("check", "c"): [ValueError("c")]}
    tasks = [
        ("load", {"each": True}),
        ("check", {"each": True}),
        ("tell", {}),
        ("more", {"each": True}),
    ]
    night = Days("mapped", ["a", "b", "c", "d"], tasks, failing=failing)
    run = tested(night.make_dag())
    names = [ti.rendered_map_index for ti in run.get_task_instances() if ti.task_id == "load"]
    return {**seen(run), "called": [one[:2] for one in night.called], "names": sorted(names)}


def run_where_all_fail():
    "Nothing is done: what is behind is skipped, and the run has failed."
    failing = {"load": [ValueError("b")] * 2}
    night = Days("all_fail", ["a", "b"], [("load", {"each": True}), ("tell", {})], failing=failing)
    return {**seen(tested(night.make_dag())), "called": [one[:2] for one in night.called]}


def run_that_does_not_know_its_releases():
    "Where `make_release` fails nothing runs, and no run of that kind counts as a success."
    night = Days("unknown", [], [("load", {"each": True}), ("tell", {})])
    asked = []

    def make_release(**kwargs):
        asked.append(1)
        raise ValueError("no")

    night.make_release = make_release
    first = seen(tested(night.make_dag()))
    again = Days("unsure", ["a"], [("load", {"each": True, "retries": 2, "retry_wait": 0})])
    made = [ValueError("1"), ValueError("2")]

    def make_release_at_last(**kwargs):
        if made:
            raise made.pop()
        return ["a"]

    again.make_release = make_release_at_last
    before = Days("unready", ["a"], [("load", {"each": True}), ("tell", {})])
    before.add_setup_task(fail_to_set_up, task_id="ready")
    return {
        **first,
        "asked": len(asked),
        "called": night.called + before.called,
        "again": str(tested(again.make_dag()).state.value),
        "unready": str(tested(before.make_dag()).state.value),
    }


def fail_to_set_up(**kwargs):
    raise ValueError("not ready")


def run_in_batches():
    "More releases than Airflow maps over: several share a batch, and fail alone all the same."
    from airflow.sdk.configuration import conf

    names = [f"r{n:02}" for n in range(23)]
    failing = {("load", "r07"): [ValueError("7")]}
    night = Days("batches", names, [("load", {"each": True}), ("tell", {})], failing=failing)
    dag = night.make_dag()
    before = conf.get("core", "max_map_length")
    conf.set("core", "max_map_length", "5")
    try:
        run = tested(dag)
    finally:
        conf.set("core", "max_map_length", before)
    return {**seen(run), "called": [one[:2] for one in night.called]}


def run_while_the_source_changes():
    "A day that appears behind `load` waits for the next run, one that goes is left out."
    api, _, flow = filled("changes")
    days = [SimpleNamespace(release_date=date(2024, 4, day)) for day in (1, 2, 3)]
    night = Days("changes", days[:2], [], workflow_id=flow.id, api=api)
    loaded = []

    def load(releases, **kwargs):
        loaded.extend(str(release.release_date) for release in releases)
        night.days = days[1:]

    night.add_task(load)
    night.add_task(night.add_new_dataset_releases)
    run = tested(night.make_dag())
    keys = sorted({one.release_key for one in api.get_dataset_releases(1000)})
    return {**seen(run), "loaded": loaded, "recorded": keys}


def run_with_assets():
    "The datasets of a workflow are assets, with the releases that came."
    from airflow.models.asset import AssetEvent

    api, _, flow = filled("assets")
    night = Days("assets", [date(2024, 4, 1)], workflow_id=flow.id, api=api)
    night.add_task(night.add_new_dataset_releases)
    run = tested(night.make_dag())
    session = Session()
    events = session.query(AssetEvent).filter(AssetEvent.source_dag_id == "assets").all()
    uris = [dataset_asset(dataset).uri for dataset in api.get_datasets(workflow_id=flow.id)]
    found = [[event.asset.uri, event.extra] for event in events]
    return {**seen(run), "events": sorted(found, key=str), "uris": sorted(uris)}


# --- many instances -------------------------------------------------------------------------------


class Reports(Workflow):
    "A report of each instance, into a file of its own; then all of them in one table."

    def __init__(self, names, folder, **options):
        super().__init__("reports", **options)
        self.names = names
        self.folder = folder
        self.add_task(self.report, each=True)
        self.add_task(self.load)

    def make_release(self, **kwargs):
        return self.names

    def report(self, instance, **kwargs):
        if instance.endswith("7"):
            raise RetryLaterError(f"{instance} does not answer", "unavailable")
        frame = reports.find("groups").run(instance).dataframe()
        frame.insert(0, "instance", instance)
        frame.to_parquet(self.folder / f"{instance}.parquet")

    def load(self, instances, **kwargs):
        import duckdb

        files = [str(self.folder / f"{name}.parquet") for name in instances]
        with duckdb.connect(self.folder / "groups.duckdb") as store:
            store.execute("CREATE TABLE groups AS SELECT * FROM read_parquet(?)", [files])


def run_instances_of_which_three_fail():
    "Twenty instances on one sandbox, of which three fail."
    import duckdb

    names = [f"shop-{n}-of-20" for n in range(17)] + ["own-7", "two-7", "last-7"]
    folder = FOLDER / "reports"
    folder.mkdir()
    with sandbox.start(users=3, groups=4, datasets=2, pages=1, events=5) as box:
        lines = [f"[instance.{name}]\nurl = {box.url}" for name in names]
        Path("settings.ini").write_text("\n".join(lines))
        token = box.domo.admin.access_token
        Path(".env").write_text(f"DOMO_ACCESS_TOKEN={token}\n")
        Path(".env").chmod(0o600)
        began = datetime.now(timezone.utc)
        run = tested(Reports(names, folder).make_dag())
        seconds = (datetime.now(timezone.utc) - began).total_seconds()
    with duckdb.connect(folder / "groups.duckdb") as store:
        rows = store.execute(
            "SELECT instance, count(*) FROM groups GROUP BY 1 ORDER BY 1"
        ).fetchall()
    return {**seen(run), "names": names, "rows": rows, "seconds": seconds}


# --- connections, sensors, catch-up ---------------------------------------------------------------


def keep(conn_id, **fields):
    "Store a connection as an administrator of Airflow does."
    session = Session()
    session.add(Connection(conn_id=conn_id, **fields))
    session.commit()


def run_with_secrets_from_connections():
    "Two instances whose secrets are in connections; one of them is wrong."
    right, wrong = os.environ["RIGHT"], os.environ["WRONG"]
    filled("connected")
    keep("observatory_api", conn_type="sqlite", host=str(FOLDER / "connected.sqlite"))
    rows = {}

    class Connected(Workflow):
        def make_release(self, **kwargs):
            assert len(self.api.get_datasets()) == 2
            return ["right", "wrong", "broken"]

        def report(self, name, **kwargs):
            instance = connected_instance(name)
            rows[name] = len(reports.find("groups").run(instance).dataframe())
            if name == "broken":
                here = instance.secrets
                raise ValueError(f"{here}")

    with sandbox.start(users=3, groups=4, datasets=2, pages=1, events=5) as box:
        admin, tokens = box.domo.admin, box.domo.data.tokens
        tokens.issue("planted", admin.user["id"], tokens.now + 86_400_000, right)
        host, port = box.url.removeprefix("http://").split(":")
        for name, token in (("right", right), ("wrong", wrong), ("broken", right)):
            fields = {"schema": "http", "host": host, "port": int(port), "password": token}
            keep(f"domo_{name}", conn_type="http", **fields)
        flow = Connected("connected")
        flow.add_task(flow.report, each=True, retries=1, retry_wait=0)
        run = tested(flow.make_dag())
    tries = {
        ti.rendered_map_index: ti.try_number
        for ti in run.get_task_instances()
        if ti.task_id == "report"
    }
    return {**seen(run), "rows": rows, "tries": tries}


def moment(day):
    return datetime(2024, 4, day, tzinfo=timezone.utc)


def run_with_sensors():
    "One waits for a release that is there, one for a run that ended well, one in vain."
    api, _, flow = filled("sensors")
    os.environ["AIRFLOW_CONN_OBSERVATORY_API"] = json.dumps(
        {"conn_type": "sqlite", "host": str(FOLDER / "sensors.sqlite")}
    )
    books, papers = api.get_datasets(workflow_id=flow.id)
    api.post_dataset_release(DatasetRelease(dataset=books, snapshot_date=moment(1)))
    tested(Days("before", ["a"], [("load", {})]).make_dag())
    looks = []

    class Counting(ReleaseSensor):
        def left(self, context):
            looks.append(self.task_id)
            if len(looks) == 3:
                late = DatasetRelease(dataset=papers, snapshot_date=moment(2))
                api.post_dataset_release(late)
            return super().left(context)

    night = Days("sensing", ["a"], [("load", {})])
    with night.make_dag() as dag:
        behind = dag.get_task("make_release")
        today = str(datetime.now(timezone.utc).date())
        quick = {"poke_interval": 0.01, "timeout": 600}
        ReleaseSensor(task_id="there", monitored=["books_dag"], since="2024-04-01") >> behind
        Counting(task_id="late", monitored=["papers_dag"], since="2024-04-02", **quick) >> behind
        DagRunSensor(task_id="ran", monitored_dag_ids=["before"], since=today) >> behind
        vain = {"poke_interval": 60, "timeout": 1}
        DagRunSensor(task_id="vain", monitored_dag_ids=["never"], since=today, **vain)
        DagRunSensor(task_id="passed", monitored_dag_ids=["never"], since=today, never_ran="pass")
        ReleaseSensor(task_id="absent", monitored=["books_dag"], since="2024-04-09", **vain)
    run = tested(dag)
    del os.environ["AIRFLOW_CONN_OBSERVATORY_API"]
    return {**seen(run), "looks": len(looks), "called": len(night.called)}


def run_after_five_missed_days():
    "Five days are missing, one of them fails at first: each is recorded once."
    api, _, flow = filled("catch_up")
    available = [date(2024, 4, day) for day in range(1, 7)]
    dataset = api.get_datasets(workflow_id=flow.id)[0]

    class Nightly(Workflow):
        failing = [ValueError("no")]
        loaded = []

        def make_release(self, **kwargs):
            return self.api.missing_releases(dataset, self.available)

        def load(self, day, **kwargs):
            if day == date(2024, 4, 4) and self.failing:
                raise self.failing.pop()
            self.loaded.append(str(day))

    flow_ = Nightly("catch_up", workflow_id=flow.id, api=api)
    flow_.add_task(flow_.load, each=True)
    flow_.add_task(flow_.add_new_dataset_releases)
    dag = flow_.make_dag()
    steps = []
    for days in (1, 6, 6, 6):
        flow_.available = available[:days]
        run = tested(dag)
        keys = [one.release_key for one in api.get_dataset_releases(1000, dataset.id)]
        steps.append([str(run.state.value), sorted(keys)])
    return {"steps": steps, "loaded": sorted(Nightly.loaded)}


# --- the reference --------------------------------------------------------------------------------


def run_the_blocks_of_the_reference():
    "What the document on use cases shows, with only its imports changed."
    api, press, flow = filled("reference")
    organisation_id = press.id

    @dataclass
    class SalesPartner:
        dataset_name: str  # e.g., "book_sales"
        sales_field: float  # e.g., "sales"
        db_service: str  # e.g., bigquery
        table_address: str  # e.g., project.dataset.table
        table_type: str  # e.g., sharded

    class AggregateSalesWorkflow(Workflow):
        def __init__(self, partners):
            super().__init__()
            self.partners = partners
            self.sums = []
            self.add_task(self.aggregate)

        def make_release(self, **kwargs):
            return [partner.dataset_name for partner in self.partners]

        def aggregate(self, releases, **kwargs):
            self.sums += [*releases]

    class AggregationWorkflow(Workflow):
        def __init__(self, monitored_dag_ids):
            super().__init__()
            self.monitored_dag_ids = monitored_dag_ids

    class MyWorkflow(Workflow):
        pass

    made = {}
    # Get all datasets and filter by datasets in the "sales_partner" group
    workflows = api.get_workflows(organisation_id=organisation_id, limit=1000)
    partners = []
    for workflow in workflows:
        tags = json.loads(workflow.tags)
        if "sales_partner" not in tags:
            continue

        datasets = api.get_datasets(workflow_id=workflow.id, limit=1000)
        for dataset in datasets:
            partners.append(
                SalesPartner(
                    dataset_name=dataset.name,
                    sales_field=dataset.dataset_type.extras.get("sales_field"),
                    db_service=dataset.service,
                    table_address=dataset.address,
                    table_type=dataset.dataset_type.table_type.type_id,
                )
            )

    workflow = AggregateSalesWorkflow(partners=partners)
    made[workflow.dag_id] = workflow.make_dag()
    first = tested(made[workflow.dag_id])
    sums = workflow.sums

    workflows = api.get_workflows(organisation_id=organisation_id, limit=1000)

    monitored_dag_ids = []
    for workflow in workflows:
        tags = json.loads(workflow.tags)
        if "aggregation_input" not in tags:
            continue

        datasets = api.get_datasets(workflow_id=workflow.id, limit=1000)
        for dataset in datasets:
            monitored_dag_ids.append(dataset.dataset_type.type_id)

    workflow = AggregationWorkflow(monitored_dag_ids=monitored_dag_ids)
    made[workflow.dag_id] = workflow.make_dag()

    organisations = api.get_organisations(limit=1000)
    for org in organisations:
        dag_id_prefix = "dag_id_prefix"
        dag_id = make_dag_id(dag_id_prefix, org.name)
        workflow = MyWorkflow(dag_id=dag_id)
        made[workflow.dag_id] = workflow.make_dag()

    [dataset_id, target_dataset_id] = [one.id for one in api.get_datasets(workflow_id=flow.id)]
    dataset = api.get_dataset(id=dataset_id)
    if dataset.service == "bigquery":
        gcp_project_id, gcp_dataset_id, gcp_table_id = address_to_gcp_fields(dataset.address)

    dataset = Dataset(
        id=target_dataset_id,
        service="new service",
        address="new address",
    )
    api.put_dataset(dataset)

    limit = 100
    before = api.get_dataset_releases(limit, dataset_id)

    import pendulum

    class Snapshots(Workflow):
        def __init__(self):
            super().__init__(api=api, workflow_id=flow.id)
            self.dataset = api.get_dataset(id=dataset_id)
            self.add_task(self.add_dataset_release)
            self.add_task(self.add_new_dataset_releases)

        def make_release(self, **kwargs):
            return [date(2024, 4, 1)]

        def add_dataset_release(self, release, **kwargs):
            obj = DatasetRelease(
                dataset=self.dataset,  # API Dataset object
                start_date=pendulum.datetime(2021, 1, 1),
                end_date=pendulum.datetime(2021, 2, 1),
            )
            result = self.api.post_dataset_release(obj)  # noqa: F841  as it stands there

    workflow = Snapshots()
    made[workflow.dag_id] = workflow.make_dag()
    second = tested(made[workflow.dag_id])
    releases = api.get_dataset_releases(limit, dataset_id)
    return {
        "first": seen(first),
        "second": seen(second),
        "partners": [vars(one) for one in partners],
        "sums": sums,
        "monitored": monitored_dag_ids,
        "dags": {name: type(dag).__name__ for name, dag in made.items()},
        "address": [gcp_project_id, gcp_dataset_id, gcp_table_id],
        "changed": api.get_dataset(id=target_dataset_id).address,
        "releases": [len(before), len(releases)],
        "type": api.get_dataset(id=dataset_id).dataset_type.table_type.type_id,
    }


# --- the guide ------------------------------------------------------------------------------------


def run_the_guide():
    "The workflow of the guide, with the line that makes a DAG of it."
    page = (Path(__file__).resolve().parents[1] / "docs" / "guides" / "schedule.md").read_text()
    names = {"__name__": "guide"}
    [workflow] = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    [dag] = re.findall(r"^```py\n(dag = .*?)^```", page, re.M | re.S)
    exec(workflow, names)
    names["Store"](names["FOLDER"] / "store.duckdb").drop("users")
    exec(dag, names)
    run = tested(names["dag"])
    rows = names["Store"](names["FOLDER"] / "store.duckdb").read("users").num_rows
    names["east"].stop()
    names["west"].stop()
    return {**seen(run), "rows": rows}


CASES = {
    name.removeprefix("run_"): case for name, case in [*globals().items()] if name[:4] == "run_"
}


def main():
    initdb()
    DagBundlesManager().sync_bundles_to_db()
    result = {}
    for name in sys.argv[3:] or CASES:
        try:
            result[name] = CASES[name]()
        except Exception:
            result[name] = {"error": traceback.format_exc()}
    Path(sys.argv[1]).write_text(json.dumps(result, default=str, indent=1))


if __name__ == "__main__":
    main()
