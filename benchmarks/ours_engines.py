"""The groups of many instances, a file for each, then all of them in one table of DuckDB: by
threads (`pool`), over the workers of Dask (`dask`), and by `dag.test()` of Airflow (`airflow`)."""

import json
import os
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
from measure import Clock, parameters

THREADS = 8  # of the pool, and of the workers of Dask together


class Memory:
    "The most memory (bytes) that this process and all it has started hold within a `with` block."

    def __enter__(self):
        self.most = 0
        self.ended = threading.Event()
        self.watch = threading.Thread(target=self.look, daemon=True)
        self.watch.start()
        return self

    def look(self):
        here = psutil.Process()
        while not self.ended.wait(0.1):
            held = [resident(one) for one in [here, *here.children(recursive=True)]]
            self.most = max(self.most, sum(held))

    def __exit__(self, *_):
        self.ended.set()
        self.watch.join()


def resident(process):
    "What a process holds of its own, in bytes; 0 if it has ended."
    try:
        return process.memory_full_info().uss
    except psutil.Error:
        return 0


def report(instance, folder, **kwargs):
    "The groups of an instance, in a file of its own; gives how many."
    from domostats import reports
    from domostats.loading.files import write_file
    from domostats.reports.fleet import run_all

    rows = run_all(reports.find("groups"), [instance])
    return write_file(rows, Path(folder) / f"{instance}.parquet")


def load(instances, folder, **kwargs):
    "All files in one table."
    import duckdb

    files = [str(Path(folder) / f"{name}.parquet") for name in instances]
    with duckdb.connect(str(Path(folder) / "groups.duckdb")) as store:
        store.execute("CREATE TABLE groups AS SELECT * FROM read_parquet(?)", [files])


def plain(names, folder):
    "The workflow without an engine."
    from domostats.tracking.registry.workflow import Workflow

    class Reports(Workflow):
        def make_release(self, **kwargs):
            return names

    flow = Reports("reports")
    flow.add_task(report, each=True)
    flow.add_task(load)
    return lambda executor: flow.run("1", executor=executor, folder=folder)


def by_pool(names, folder):
    run = plain(names, folder)
    with Clock() as clock, Memory() as memory, ThreadPoolExecutor(THREADS) as pool:
        run(pool)
    return clock, memory


def by_dask(names, folder):
    from dask.distributed import Client, LocalCluster

    run = plain(names, folder)
    how = {"n_workers": 2, "threads_per_worker": THREADS // 2, "dashboard_address": None}
    # with the start and the end of the workers: only then are their CPU seconds known
    with (
        Clock() as clock,
        Memory() as memory,
        LocalCluster(**how) as cluster,
        Client(cluster) as one,
    ):
        run(one.get_executor())
    return clock, memory


def by_airflow(names, folder):
    os.environ |= {
        "AIRFLOW_HOME": folder,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.collection import update_dag_parsing_results_in_db
    from airflow.serialization.serialized_objects import LazyDeserializedDAG
    from airflow.settings import Session
    from airflow.utils.db import initdb

    from domostats.engines.airflow import Workflow

    class Reports(Workflow):
        def make_release(self, **kwargs):
            return names

        def report(self, instance, **kwargs):
            report(instance, folder)

        def load(self, instances, **kwargs):
            load(instances, folder)

    initdb()
    DagBundlesManager().sync_bundles_to_db()
    flow = Reports("reports")
    flow.add_task(flow.report, each=True)
    flow.add_task(flow.load)
    dag = flow.make_dag()
    with Session() as session:
        written = [LazyDeserializedDAG.from_dag(dag)]
        update_dag_parsing_results_in_db(
            "dags-folder", None, written, {}, None, set(), session=session
        )
        session.commit()
    with Clock() as clock, Memory() as memory:
        run = dag.test()
    if str(run.state) != "success":
        raise SystemExit(f"The run has {run.state}.")
    return clock, memory


WAYS = {"pool": by_pool, "dask": by_dask, "airflow": by_airflow}


def main(way, count, url, access_token):
    from domostats import reports
    from domostats.reports.plan import estimate

    names = [f"shop-{n:03}" for n in range(count)]
    lines = [f"[instance.{name}]\nurl = {url}" for name in names]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["DOMO_ACCESS_TOKEN"] = access_token
        os.environ["DOMOSTATS_SETTINGS"] = f"{folder}/settings.ini"
        for place in ("STATE", "DATA", "CONFIG"):
            os.environ[f"XDG_{place}_HOME"] = f"{folder}/{place}"
        Path("settings.ini").write_text("\n".join(lines))
        calls = estimate(reports.find("groups"), names[0]).total
        clock, memory = WAYS[way](names, folder)
        import duckdb

        with duckdb.connect(f"{folder}/groups.duckdb") as store:
            counted = store.execute(
                "SELECT count(*), count(DISTINCT instance) FROM groups"
            ).fetchone()
        os.chdir("/")
    seen = {"rows": counted[0], "instances": counted[1], "calls": calls * count}
    print(json.dumps({**seen, "seconds": clock.seconds, "cpu": clock.cpu, "rss": memory.most}))


if __name__ == "__main__":
    main(**parameters())
