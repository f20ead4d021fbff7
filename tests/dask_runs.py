"""A report of many instances over the workers of Dask, each into a file of its own.

    python dask_runs.py RESULT.json FOLDER INSTANCES

An interpreter that has `distributed` runs it; `test_airflow.py` judges what it saw."""

import json
import sys
import time
from pathlib import Path

import duckdb
from dask.distributed import Client, LocalCluster

from domostats import reports, sandbox
from domostats.errors import DomostatsError, RetryLaterError
from domostats.tracking.registry.workflow import Workflow

FOLDER = Path(sys.argv[2])


def report(instance, **kwargs):
    "The groups of an instance, in a file of its own; gives how many there are."
    if instance.endswith("-7"):
        raise RetryLaterError(f"{instance} does not answer", "unavailable")
    frame = reports.find("groups").run(instance).dataframe()
    frame.insert(0, "instance", instance)
    frame.to_parquet(FOLDER / f"{instance}.parquet")
    return len(frame)


def load(instances, **kwargs):
    "All files in one table of DuckDB; the one task that writes there."
    files = [str(FOLDER / f"{name}.parquet") for name in instances]
    with duckdb.connect(str(FOLDER / "groups.duckdb")) as store:
        store.execute("CREATE TABLE groups AS SELECT * FROM read_parquet(?)", [files])
        return store.execute("SELECT instance, count(*) FROM groups GROUP BY 1").fetchall()


class Reports(Workflow):
    "A report of each of these instances."

    def make_release(self, names, **kwargs):
        return names


def main():
    names = [f"shop-{n:03}" for n in range(int(sys.argv[3]) - 1)] + ["last-7"]
    flow = Reports("reports")
    flow.add_task(report, each=True)
    flow.add_task(load)
    with sandbox.start(users=3, groups=4, datasets=2, pages=1, events=5) as box:
        lines = [f"[instance.{name}]\nurl = {box.url}" for name in names]
        Path("settings.ini").write_text("\n".join(lines))
        Path(".env").write_text(f"DOMO_ACCESS_TOKEN={box.domo.admin.access_token}\n")
        Path(".env").chmod(0o600)
        cluster = LocalCluster(n_workers=2, threads_per_worker=4, dashboard_address=None)
        began = time.monotonic()
        failures = {}
        with cluster, Client(cluster) as client:
            try:
                flow.run("1", executor=client.get_executor(), names=names)
            except DomostatsError as e:
                failures = e.failures
        seconds = time.monotonic() - began
    seen = {
        "names": names,
        "results": flow.current.results["report"],
        "rows": flow.current.results["load"],
        "failures": {name: type(error).__name__ for name, error in failures.items()},
        "seconds": seconds,
    }
    Path(sys.argv[1]).write_text(json.dumps(seen))


if __name__ == "__main__":
    main()
