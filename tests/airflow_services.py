"""The DAGs that `domostats airflow init` writes, under the processes of a real Airflow.

    python airflow_services.py RESULT.json FOLDER INSTANCES

An interpreter that has Airflow runs it, with AIRFLOW_HOME in FOLDER, the DAGs in FOLDER/dags and
the database that AIRFLOW__DATABASE__SQL_ALCHEMY_CONN names. One after the other the process of a
task, the scheduler alone, and the scheduler with all its workers are killed, and the scheduler is
started again; `test_airflow.py` judges what is there at the end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections import Counter
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path

import psutil
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.models import Connection, DagRun, TaskInstance
from airflow.models.taskinstancehistory import TaskInstanceHistory
from airflow.settings import Session
from airflow.utils.db import initdb
from sqlalchemy import inspect, text

from domostats import reports, sandbox
from domostats.loading.store import Store
from domostats.tracking.registry.api import make_observatory_api

FOLDER = Path(sys.argv[2])
DAGS = ("nightly_reports", "catch_up")
ENDED = ("success", "failed")
PATIENCE = 900  # seconds; so long a run may take before it is told that it hangs


def free_ports(count):
    "Ports of this machine that nobody listens at now."
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in taken]
    for one in taken:
        one.close()
    return ports


def answers(port):
    "Whether somebody listens at this port of the machine."
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


class Services:
    "The processes of Airflow, each in a group of its own."

    def __init__(self):
        self.started = []
        self.schedulers = []

    def start(self, name, *words):
        command = [sys.executable, "-m", "airflow", name, *words]
        with (FOLDER / "said").open("a") as said:
            service = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)
        self.started.append(service)
        return service

    def start_scheduler(self):
        self.schedulers.append(self.start("scheduler", "--skip-serve-logs"))
        return self.schedulers[-1]

    def tasks(self):
        "The processes in which tasks run now, also those whose scheduler was killed."
        return [one for service in self.started for one in family(service) if is_task(one)]

    def stop_workers(self):
        "Kill every scheduler with its workers, and what a killed one has left."
        for service in self.schedulers:
            kill(service)

    def stop(self):
        for service in self.started:
            kill(service)


def kill(service, with_workers=True):
    "Kill a service, as the machine does when its memory is at an end."
    if with_workers:
        for one in family(service):
            end(one)
    service.kill()
    service.wait()


def family(service):
    "The processes of the session of a service; its workers stay in it when it is killed."
    return [one for one in psutil.process_iter() if group_of(one) == service.pid]


def group_of(process):
    try:
        return os.getsid(process.pid)
    except OSError:
        return None


def is_task(process):
    try:
        return "airflow worker -- " in " ".join(process.cmdline())
    except psutil.Error:
        return False


def end(process):
    with suppress(psutil.Error):  # it has ended by itself
        process.send_signal(signal.SIGKILL)


def wait_until(what, seconds=PATIENCE):
    "What `what()` gives as soon as it is something; an error after so many seconds."
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = what()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"{what.__name__} has waited in vain")


def set_up(box, names):
    "The settings of the instances, what Airflow knows of the dags folder, and its connections."
    lines = [f"[instance.{name}]\nurl = {box.url}" for name in names]
    Path("settings.ini").write_text("\n".join(lines))
    initdb()
    DagBundlesManager().sync_bundles_to_db()
    session = Session()
    registry = json.loads(os.environ["REGISTRY"])
    session.add(Connection(conn_id="observatory_api", **registry))
    for name in names:
        token = os.environ["WRONG" if name.endswith("-bad") else "RIGHT"]
        conn_id = f"domo_{name.replace('-', '_')}"
        session.add(Connection(conn_id=conn_id, conn_type="http", password=token))
    session.commit()
    subprocess.run([sys.executable, "-m", "airflow", "dags", "reserialize"], check=True)


def done_files(dag_id):
    return len([*(FOLDER / "data" / "domostats" / dag_id).glob("*.parquet")])


def states():
    "The state of each run."
    with Session() as session:
        return {run.dag_id: str(run.state) for run in session.query(DagRun)}


def run_with_kills(services, names, told):
    "Kill what runs at three moments, and wait for the end of both runs."
    files = 2 * len(names)  # two reports of each

    def after(part):
        return wait_until(lambda: done_files("nightly_reports") >= part * files)

    def all_ended():
        return {*DAGS} == {*states()} and all(state in ENDED for state in states().values())

    scheduler = services.start_scheduler()
    after(0.1)
    end(wait_until(services.tasks)[0])
    told["a task"] = done_files("nightly_reports")
    after(0.3)
    kill(scheduler, with_workers=False)
    told["the scheduler"] = done_files("nightly_reports")
    scheduler = services.start_scheduler()
    after(0.6)
    services.stop_workers()
    told["the scheduler and all workers"] = done_files("nightly_reports")
    services.start_scheduler()
    wait_until(all_ended)


def look(names):
    "What is there at the end."
    with Session() as session:
        tasks = {}
        for one in session.query(TaskInstance):
            tasks.setdefault(f"{one.dag_id}.{one.task_id}", Counter())[str(one.state)] += 1
        tries = session.query(TaskInstanceHistory).count()
    store = Store()
    api = make_observatory_api(os.environ["REGISTRY_ADDRESS"])
    with store.open() as con:
        counts = {
            name: con.execute(
                f"SELECT instance, count(*) FROM datasets.{name} GROUP BY 1 ORDER BY 1"
            ).fetchall()
            for name in ("users", "groups")
        }
        events = {
            name: con.execute(f'SELECT count(*) FROM datasets."{name}"').fetchone()[0]
            for name in store_names(con)
            if name.startswith("activity_")
        }
    today = datetime.now(timezone.utc).date()
    days = [str(today - timedelta(n)) for n in range(1, 6)]
    since = {"since": today - timedelta(5), "until": today}
    right = [name for name in names if not name.endswith("-bad")]
    os.environ["DOMO_ACCESS_TOKEN"] = os.environ["RIGHT"]
    wanted = {
        "users": reports.find("users").run(right[0]).table.num_rows,
        "groups": reports.find("groups").run(right[0]).table.num_rows,
        "events": reports.find("activity_log").run(right[0], **since).table.num_rows,
    }
    return {
        "runs": states(),
        "tasks": tasks,
        "tries_before": tries,
        "counts": counts,
        "events": events,
        "wanted": wanted,
        "recorded": [
            [one.dataset.name, one.release_key, one.state]
            for one in api.get_dataset_releases(10_000)
        ],
        "days": days,
        "names": names,
        "written": write_down(),
        "datasets": [one.name for one in api.get_datasets()],
    }


def write_down():
    "Write every table of Airflow's database to a file, as text; the number of characters."
    with Session() as session:
        found = inspect(session.get_bind())
        rows = [
            f"{name}: {dict(row)}"
            for name in found.get_table_names()
            for row in session.execute(text(f'SELECT * FROM "{name}"')).mappings()
        ]
    return (FOLDER / "database.txt").write_text("\n".join(rows))


def store_names(con):
    query = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'datasets'"
    return [name for (name,) in con.execute(query).fetchall()]


def main():
    names = [f"shop-{n:03}" for n in range(int(sys.argv[3]) - 3)]
    names = [*names, "one-bad", "two-bad", "three-bad"]
    state = os.environ["XDG_STATE_HOME"]
    os.environ["XDG_STATE_HOME"] = str(FOLDER / "own")  # the tasks are not to find this sandbox
    port, log_port, trigger_port = free_ports(3)
    os.environ |= {
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(log_port),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_port),
    }
    services = Services()
    result = {"killed": {}}
    with sandbox.start(users=3, groups=4, datasets=2, pages=1, events=400) as box:
        tokens = box.domo.data.tokens
        owner = box.domo.admin.user["id"]
        tokens.issue("planted", owner, tokens.now + 86_400_000, os.environ["RIGHT"])
        os.environ["XDG_STATE_HOME"] = state
        set_up(box, names)
        began = time.monotonic()
        try:
            services.start("api-server")
            services.start("dag-processor")
            wait_until(lambda: answers(port))
            run_with_kills(services, names, result["killed"])
        except Exception:
            result["error"] = traceback.format_exc()
        finally:
            services.stop()
        result["seconds"] = time.monotonic() - began
        try:
            result |= look(names)
        except Exception:
            result.setdefault("error", traceback.format_exc())
    Path(sys.argv[1]).write_text(json.dumps(result, default=str, indent=1))


if __name__ == "__main__":
    main()
