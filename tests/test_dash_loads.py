"""Rows go to Comotion Dash once, whatever happens on the way, and come back as they were."""

import contextlib
import io
import shlex
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from decimal import Decimal
from pathlib import Path

import commands
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import KILLS, ROOT, TODAY
from dash_support import guide_of, new_load
from pyarrow import parquet
from secret_search import leaks

from domostats import dash, sandbox
from domostats.clients.dash.auth import sign_in
from domostats.errors import (
    AccessError,
    DataError,
    DomostatsError,
    RetryLaterError,
    SettingsError,
)
from domostats.loading.dash.load_parts import UploadItem
from domostats.loading.uploads.record import kept_loads, left_open
from domostats.sandbox.dash.faults import DASH_FAULTS
from domostats.transport import connection
from domostats.user_files import user_folder

pytest_plugins = "dash_support"


@pytest.fixture(scope="module")
def one_box():
    with sandbox.start_dash() as running:
        yield running


@pytest.fixture
def box(one_box, own_folder):
    "A sandbox of Comotion Dash that every test finds healthy and with an empty table."
    one_box.heal()
    one_box.rules.load_polls = 1
    con = one_box.service.world.loads.lake.cursor()
    con.execute(f'DROP TABLE IF EXISTS "{one_box.org}-lake".ages')
    con.close()
    one_box.log.clear()
    yield one_box
    one_box.heal()


def rows_of(box, column="id"):
    table = box.table("ages")
    return sorted(table.column(column).to_pylist()) if table.num_rows else []


# --- faults in each phase: every row once, or an error and no row ---

PHASES = "token", "create", "place", "store", "commit", "poll"
BEFORE_IT_IS_HEARD = "token", "create", "place", "store"  # no row can be there after an error


def fail(box, phase, fault, times, load_id=None, after=0):
    "Let a phase of a load meet a fault."
    path = {
        "token": f"/auth/realms/{box.org}/protocol/openid-connect/token",
        "create": "/v2/load",
        "place": f"/v2/load/{load_id}/file",
        "store": f"/{box.store.bucket}",
        "commit": f"/v2/load/{load_id}/commit",
        "poll": f"/v2/load/{load_id}",
    }[phase]
    box.fail(fault, path, times=times, seconds=0.01, after=after)


def attempt(box, phase, fault, times, after):
    "One load of 25 rows in three files, with a fault in one phase."
    if phase in ("token", "create"):
        fail(box, phase, fault, times)
    load = new_load(dash.DashConfig(sign_in(box)), chunksize=10)
    if phase in ("place", "store"):
        fail(box, phase, fault, times, load.load_id, after)
    load.upload_df(pd.DataFrame({"id": range(25)}))
    if phase in ("commit", "poll"):
        fail(box, phase, fault, times, load.load_id)
    return load.commit()


@pytest.mark.sampled(24)
@pytest.mark.parametrize("times", [1, 2, None])
@pytest.mark.parametrize("fault", [*DASH_FAULTS])
@pytest.mark.parametrize("phase", PHASES)
def test_a_fault_in_any_phase_leaves_every_row_once_or_an_error_and_no_row(
    box, monkeypatch, phase, fault, times
):
    monkeypatch.setattr(connection, "_connections", {})  # so that a token is asked for
    met = box.fired[fault]
    try:
        state = attempt(box, phase, fault, times, after=1 if times == 2 else 0)
        assert state.load_status == "SUCCESS"
        assert rows_of(box) == [*range(25)]
        return
    except DomostatsError:
        found = rows_of(box)
        assert found == [] or found == [*range(25)] and phase not in BEFORE_IT_IS_HEARD
    finally:
        assert box.fired[fault] > met
    box.faults.heal()  # the same program is run again, and goes on
    load = new_load(dash.DashConfig(sign_in(box)), chunksize=10)
    load.upload_df(pd.DataFrame({"id": range(25)}))
    assert load.commit().load_status == "SUCCESS"
    assert rows_of(box) == [*range(25)]


def test_forms_that_are_too_old_on_arrival_are_an_error_and_no_row(box, config):
    load = new_load(config, chunksize=10)
    box.rules.form_seconds = 0
    with pytest.raises(DomostatsError) as refused:
        load.upload_df(pd.DataFrame({"id": range(25)}))
    assert refused.value.reason == "forbidden" and rows_of(box) == []
    box.rules.form_seconds = 3600
    load.upload_df(pd.DataFrame({"id": range(25)}))
    assert load.commit().load_status == "SUCCESS" and rows_of(box) == [*range(25)]


# --- types that are learned while rows are sent ---


@pytest.mark.sampled(4)
@pytest.mark.parametrize("files", [None, 3, 9], ids=["whole", "early", "when_sent_again"])
@pytest.mark.parametrize(
    ("late", "type"),
    [("007", "string"), ("2.5", "double"), ("x", "string"), ("9" * 30, "string")],
)
def test_a_late_row_that_changes_a_type_has_everything_sent_again_once(
    box, config, tmp_path, late, type, files
):
    "Every file of the load has the type of the whole column, and every row is there once."
    texts = [*map(str, range(10, 40)), late, "50"]
    path = tmp_path / "rows.csv"
    path.write_text("n,id\n" + "".join(f"{n},{text}\n" for n, text in enumerate(texts)))
    load = new_load(config, chunksize=4)
    if files:
        box.fail("forbidden", f"/v2/load/{load.load_id}/file", times=None, after=files)
        with pytest.raises(DomostatsError):
            load.upload_file(path)
        load.close()
        box.faults.heal()
        load = new_load(config, chunksize=4)
    load.upload_file(path)
    assert load.commit().load_status == "SUCCESS"
    table = box.table("ages").sort_by("n")
    assert table.column("n").to_pylist() == [*range(len(texts))]
    assert str(table.schema.field("id").type) == type
    values = [float(text) if type == "double" else text for text in texts]
    assert table.column("id").to_pylist() == values


def test_a_file_that_is_written_to_while_it_is_sent_is_not_committed(box, config, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("id\n" + "".join(f"{n}\n" for n in range(30)))
    load = new_load(config, chunksize=5)
    put = load._put

    def put_and_write(part, stopped):
        put(part, stopped)
        with path.open("a") as file:
            file.write("99\n")

    load._put = put_and_write
    with pytest.raises(DataError) as changed:
        load.upload_file(path)
    assert changed.value.reason == "changed_meanwhile"
    with pytest.raises(DataError) as refused:
        load.commit()
    assert refused.value.reason == "incomplete" and rows_of(box) == []


def test_what_arrived_is_not_sent_again(box, config):
    load = new_load(config, chunksize=5)
    box.fail("forbidden", f"/v2/load/{load.load_id}/file", times=None, after=6)
    frame = pd.DataFrame({"id": range(100)})
    with pytest.raises(DomostatsError):
        load.upload_df(frame)
    assert rows_of(box) == [] and load.get_load_info().load_status == "OPEN"
    arrived = len(kept_loads(box.url)[-1].facts.sources["source 1"].parts)
    assert arrived >= 1
    box.faults.heal()
    box.log.clear()
    again = new_load(config, chunksize=5)
    assert again.load_id == load.load_id
    again.upload_df(frame)
    assert sum(call.path.endswith("/file") for call in box.log) == 20 - arrived
    assert again.commit().load_status == "SUCCESS"
    assert rows_of(box) == [*range(100)]


def test_the_same_call_on_the_same_object_goes_on_too_and_modifies_once(box, config):
    seen = []

    def stamp(frame):
        seen.append(len(frame))
        frame.insert(0, "batch", "b")

    load = new_load(config, chunksize=10, modify_lambda=stamp)
    box.fail("forbidden", f"/v2/load/{load.load_id}/file", times=None, after=1)
    frame = pd.DataFrame({"id": range(30)})
    with pytest.raises(DomostatsError):
        load.upload_df(frame, file_key="rows")
    box.faults.heal()
    load.upload_df(frame, file_key="rows")
    assert load.commit().load_status == "SUCCESS" and rows_of(box) == [*range(30)]
    assert [*frame.columns] == ["id"]


def test_a_load_with_a_source_that_did_not_arrive_is_not_committed(box, config):
    load = new_load(config)
    load.upload_df(pd.DataFrame({"id": [1]}))
    box.fail("forbidden", f"/v2/load/{load.load_id}/file", times=None)
    with pytest.raises(DomostatsError):
        load.upload_df(pd.DataFrame({"id": [2]}))
    box.faults.heal()
    with pytest.raises(DataError) as refused:
        load.commit()
    assert refused.value.reason == "incomplete" and rows_of(box) == []


def test_other_rows_or_options_under_the_same_name_stop(box, config):
    load = new_load(config)
    load.upload_df(pd.DataFrame({"id": [1]}))
    load.close()
    with pytest.raises(SettingsError) as other:
        new_load(config).upload_df(pd.DataFrame({"id": [2]}))
    assert other.value.reason == "other_source"
    with pytest.raises(SettingsError) as options:
        new_load(config, chunksize=7)
    assert options.value.reason == "other_source"
    two = new_load(config, name="another")
    assert two.load_id != load.load_id
    fresh = new_load(config, fresh=True)
    fresh.upload_df(pd.DataFrame({"id": [2]}))
    assert fresh.commit().load_status == "SUCCESS" and rows_of(box) == [2]


def test_after_a_commit_whose_end_was_not_seen_the_rows_are_not_sent_again(box, config):
    frame = pd.DataFrame({"id": [1, 2]})
    load = new_load(config)
    load.upload_df(frame)
    load.commit(wait=False)
    load.close()
    again = new_load(config)
    again.upload_df(frame)
    assert again.commit().load_status == "SUCCESS" and rows_of(box) == [1, 2]
    tomorrow = new_load(config)
    tomorrow.upload_df(pd.DataFrame({"id": [3]}))
    assert tomorrow.commit().load_status == "SUCCESS" and rows_of(box) == [1, 2, 3]


def test_new_rows_after_such_a_commit_are_a_new_load(box, config):
    load = new_load(config)
    load.upload_df(pd.DataFrame({"id": [1]}))
    load.commit(wait=False)
    load.close()
    other = new_load(config)
    other.upload_df(pd.DataFrame({"id": [2]}))
    assert other.load_id != load.load_id
    assert other.commit().load_status == "SUCCESS" and rows_of(box) == [1, 2]


def test_ctrl_c_commits_nothing_and_says_how_to_go_on(box, config, caplog, monkeypatch):
    key = "0f9e8d7c6b5a49382716051423324150"
    words = ["python", "load ages.py", "--key", key]
    monkeypatch.setattr(sys, "orig_argv", words, raising=False)

    def frames():
        yield pd.DataFrame({"id": range(10)})
        raise KeyboardInterrupt

    load = new_load(config, chunksize=5)
    with pytest.raises(KeyboardInterrupt):
        load.upload([UploadItem(frames())])
    assert "Nothing was committed" in caplog.text
    assert "python 'load ages.py' --key" in caplog.text and key not in caplog.text
    assert load.get_load_info().load_status == "OPEN" and rows_of(box) == []


def test_loads_left_open_are_listed_with_what_goes_on(box, config):
    new_load(config).close()
    (left,) = left_open(box.url)
    assert left.name == "ages" and left.facts.command
    (row,) = dash.list_loads(config).to_pylist()
    assert (row["state"], row["record"]) == ("OPEN", "open") and row["resume_with"]


# --- kills ---

PROGRAM = """
import itertools, sys, time
from pathlib import Path
from domostats import dash
from domostats.loading.uploads.record import Record

seen, count, mark = Record.arrived, itertools.count(1), Path(sys.argv[1])

def slower(self, source, part):
    seen(self, source, part)
    mark.write_text(str(next(count)))
    time.sleep(0.01)

Record.arrived = slower
load = dash.Load(dash.DashConfig(dash.Auth("dash")), table_name="ages",
    load_as_service_client_id="0", track_rows_uploaded=True, chunksize=100)
load.upload_file("rows.csv")
mark.write_text("committing")
print(load.commit().load_status)
"""
SENT = 28  # files of the program: a late row changes a type after 13 of them, then all 15 are sent


@pytest.mark.kills
@pytest.mark.slow
def test_killed_and_run_again_every_row_is_there_once(own_folder, draws, tmp_path):
    late = ["x" if n == 1350 else str(n) for n in range(1500)]
    lines = [f"{n},{n:04},{text}\n" for n, text in enumerate(late)]
    Path("rows.csv").write_text("id,code,late\n" + "".join(lines))
    between = 0  # kills after the first file had arrived, before the commit
    with sandbox.start_dash(org="killed") as box:
        Path("program.py").write_text(PROGRAM.replace('Auth("dash")', f'Auth("{box.name}")'))
        turn = -1
        while turn + 1 < KILLS or between < 3 * KILLS // 4:
            turn += 1
            assert turn < 3 * KILLS
            mark = tmp_path / f"mark{turn}"
            stop_at = draws.randrange(1, SENT) if turn % 5 < 4 else None
            child = subprocess.Popen(
                [sys.executable, "program.py", mark], stdout=subprocess.PIPE, text=True
            )
            for _ in range(12_000):
                said = mark.read_text() if mark.exists() else ""
                arrived = int(said) if said.isdecimal() else 0
                if said == "committing" or stop_at and arrived >= stop_at:
                    break
                if child.poll() is not None:
                    break
                time.sleep(0.005)
            time.sleep(draws.uniform(0, 0.03))
            child.kill()
            child.communicate()
            between += mark.read_text().isdecimal()
            done = subprocess.run(
                [sys.executable, "program.py", mark], capture_output=True, text=True, timeout=120
            )
            assert done.stdout.strip().endswith("SUCCESS"), done.stderr[-2000:]
            table = box.table("ages")
            for name, values in (("id", [*range(1500)]), ("late", late)):
                found = sorted(table.column(name).to_pylist())
                assert found == sorted(value for value in values for _ in range(turn + 1))
            assert set(table.column("code").to_pylist()) == {f"{n:04}" for n in range(1500)}
    print(f"{turn + 1} kills, {between} of them between the first file and the commit")


# --- several programs, and what a run leaves ---


def hear_ctrl_c():
    "What a shell has started in the background does not hear it, and neither do its children."
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def program(own_folder, tmp_path):
    """A sandbox, and a program in another process that sends 15 files to it.

    From the second on it waits three seconds after each, or until there is a file `go` beside its
    mark."""
    lines = [f"{n},{n:04}\n" for n in range(1500)]
    Path("rows.csv").write_text("id,code\n" + "".join(lines))
    mark = tmp_path / "mark"
    with contextlib.ExitStack() as stack:
        box = stack.enter_context(sandbox.start_dash(org="program"))
        code = PROGRAM.replace('Auth("dash")', f'Auth("{box.name}")').replace(
            "    time.sleep(0.01)\n",
            "    for _ in range(300):\n"
            "        if mark.read_text() == '1' or mark.with_name('go').exists():\n"
            "            break\n"
            "        time.sleep(0.01)\n",
        )
        Path("program.py").write_text(code)
        child = subprocess.Popen(
            [sys.executable, "program.py", mark],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=hear_ctrl_c,
        )
        stack.callback(child.kill)
        for _ in range(12_000):
            if child.poll() is not None or mark.exists() and mark.read_text() not in ("", "1"):
                break
            time.sleep(0.005)
        assert child.poll() is None, child.communicate()
        yield box, child, mark.with_name("go")


def ids_of(box):
    "The ids of the rows of the table, in order."
    table = box.table("ages")
    return sorted(table.column("id").to_pylist()) if table.num_rows else []


def test_ctrl_c_at_a_program_commits_nothing_and_its_command_goes_on(program):
    box, child, go = program
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode != 0 and ids_of(box) == []
    assert [load.state for load in box.loads.values()] == ["OPEN"]
    assert "Nothing was committed" in said
    command = said.split("To go on where this stopped: ")[1].splitlines()[0]
    (left,) = left_open(box.url)
    assert left.facts.command == command
    arrived = {*left.facts.sources["source 1"].parts}
    assert 2 <= len(arrived) < 15
    box.log.clear()
    go.touch()
    done = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=120)
    assert done.stdout.strip().endswith("SUCCESS"), done.stderr[-2000:]
    assert sum(call.path.endswith("/file") for call in box.log) == 15 - len(arrived)
    assert ids_of(box) == [*range(1500)] and not [*left_open(box.url)]


def test_a_second_program_at_the_same_load_is_sent_away(program):
    box, child, go = program
    config = dash.DashConfig(sign_in(box))
    with pytest.raises(SettingsError) as busy:
        new_load(config, chunksize=100)
    assert busy.value.reason == "already_running"
    (running,) = kept_loads(box.url)
    assert running.state == "running" and not [*left_open(box.url)]
    go.touch()
    said, error = child.communicate(timeout=120)
    assert said.strip().endswith("SUCCESS"), error[-2000:]
    assert ids_of(box) == [*range(1500)] and len(box.loads) == 1


@pytest.mark.parametrize("cut", [0.3, 0.9, "facts", "empty"])
def test_a_record_that_is_half_there_is_an_error_or_a_new_load(box, config, cut):
    load = new_load(config, chunksize=10)
    box.fail("forbidden", f"/v2/load/{load.load_id}/file", times=None, after=1)
    frame = pd.DataFrame({"id": range(40)})
    with pytest.raises(DomostatsError):
        load.upload_df(frame)
    load.close()
    box.faults.heal()
    (record,) = user_folder("state").rglob("record.sqlite")
    for beside in record.parent.glob("record.sqlite-*"):
        beside.unlink()
    if cut == "facts":
        with contextlib.closing(sqlite3.connect(record)) as con, con:
            con.execute("UPDATE items SET facts = substr(facts, 1, length(facts) / 2)")
    else:
        content = record.read_bytes()
        record.write_bytes(b"" if cut == "empty" else content[: int(len(content) * cut)])
    try:
        again = new_load(config, chunksize=10)
        again.upload_df(frame)
        assert again.commit().load_status == "SUCCESS"
    except DomostatsError:
        assert rows_of(box) == []
        again = new_load(config, chunksize=10, fresh=True)
        again.upload_df(frame)
        assert again.commit().load_status == "SUCCESS"
    assert rows_of(box) == [*range(40)]


# --- the guide ---


@pytest.fixture
def guide(monkeypatch):
    "Runs the blocks about Data Model v2."
    with guide_of("dash", monkeypatch) as blocks:
        yield blocks


def test_the_bulk_uploader_of_the_guide_runs_as_it_stands(guide):
    folder = Path("data/inforce_policies")
    folder.mkdir(parents=True)
    (folder / "a.csv").write_text("id,name,age,salary\n1,Ada,35,12000\n")
    (folder / "b.csv").write_text("id,name,age,salary\n2,007,40,345\n")
    (folder / ".DS_Store").write_bytes(b"\0")
    names = {}
    for name in ("uploader", "add_load", "add_data", "execute", "look"):
        guide.run(name, names)
    assert names["uploader"].get_load_info()["v1_policies"].load_status == "SUCCESS"
    table = guide.boxes["my_org_name"].table("v1_policies").sort_by("id")
    assert table.column("name").to_pylist() == ["Ada", "007"]
    assert table.schema.field("id").type == table.schema.field("age").type == pa.int32()


def test_the_load_of_the_guide_runs_as_it_stands(guide):
    openpyxl = pytest.importorskip("openpyxl")
    pytest.importorskip("python_calamine")
    box = guide.boxes["my_org_name"]
    dtype = {"id": "int32", "name": "string", "age": "int32", "salary": "float64"}
    frame = pd.DataFrame({"id": [1], "name": ["Ada"], "age": [35], "salary": [12000.0]})
    Path("more.csv").write_text("id,name,age,salary\n2,007,40,300\n")
    book = openpyxl.Workbook()
    book.active.title = "inforce_book"
    for row in (["a title"], [], ["id", "name", "age", "salary"], [3, "Eve", 50, 40.5]):
        book.active.append(row)
    book.save("book.xlsx")
    names = guide.run("load", {}, before="from domostats.dash import DashConfig\n")
    box.put_table("source", pa.table({"id": [4], "name": ["Bo"], "age": [60], "salary": [4.5]}))
    query = dash.Query(names["dashconfig"], query_text="select * from source")
    names |= {
        "df_for_upload": frame.astype(dtype),
        "path_to_upload_file": "more.csv",
        "dash_query_object": query,
    }
    guide.run("send", names)
    names["path_to_upload_file"] = "book.xlsx"
    guide.run("send_excel", names)
    guide.run("commit", names)
    guide.run("load_info", names)
    assert names["load_info"].load_status == "SUCCESS"
    table = box.table("v1_inforce_policies").sort_by("id")
    assert table.column("name").to_pylist() == ["Ada", "007", "Eve", "Bo"]
    id = dash.Load(
        names["dashconfig"],
        table_name="v1_inforce_policies",
        load_as_service_client_id="0",
        name="open",
    ).load_id
    box.loads["load_id"] = box.loads[id]
    guide.run("attach", names)
    names["load"].upload_df(frame.astype(dtype))
    assert names["load"].commit({"count(*)": 1}).load_status == "SUCCESS"
    assert box.table("v1_inforce_policies").num_rows == 5


def test_the_queries_of_the_guide_run_as_they_stand(guide):
    box = guide.boxes["myorgname"]
    names = guide.run("query", {})
    assert "1" in Path("myfile.csv").read_text()
    box.realm.applications["test"] = type(box.client_secret)("2shjkdfbjsdhfg2893847")
    Path("myfile.csv").unlink()
    names = guide.run("application", {})
    assert names["final_query_info"].status.state == "SUCCEEDED"
    assert "1" in Path("myfile.csv").read_text()
    guide.run("frame", names, before="import io\nimport pandas as pd\n")
    assert names["df"].iloc[0, 0] == 1


# --- one by one ---


def test_create_and_commit_send_what_was_recorded(box, config):
    load = dash.Load(
        config,
        load_type="APPEND_ONLY",
        table_name="ages",
        load_as_service_client_id="0",
        partitions=["day(effective_date)", "region"],
    )
    made = box.loads[load.load_id]
    assert (made.table, made.client) == ("ages", "0")
    assert made.partitions == ["day(effective_date)", "region"]
    load.upload_df(pd.DataFrame({"salary": [12000.0, 345.5]}))
    kinds = {
        "sum(salary)": np.float64(12345.5),
        "count(*)": np.int64(2),
        "max(salary)": Decimal("12000.0"),
        "min(salary)": "345.5",
        "count(distinct salary)": 2,
    }
    given = dict(kinds)
    assert load.commit(given).load_status == "SUCCESS" and given == kinds


def test_a_lost_chunk_is_found_by_the_number_of_rows(box, config, monkeypatch):
    from domostats.loading.dash import load as module

    put = module.put_file

    def loses(connection, load_id, key, path):
        if not key.endswith("_2"):
            put(connection, load_id, key, path)

    monkeypatch.setattr(module, "put_file", loses)
    load = new_load(config, chunksize=10)
    load.upload_df(pd.DataFrame({"id": range(25)}))
    with pytest.raises(DataError) as failed:
        load.commit()
    assert (failed.value.reason, failed.value.expression) == ("check_sum_failed", "count(*)")
    assert failed.value.expected == 25 and failed.value.got == "15"
    assert rows_of(box) == []


def test_rows_that_a_function_adds_or_drops_are_counted(box, config):
    for keep, total in ((lambda f: f[f.id % 2 == 0], 13), (lambda f: pd.concat([f, f]), 50)):
        load = new_load(config, chunksize=10, modify_lambda=keep, fresh=True)
        load.upload_df(pd.DataFrame({"id": range(25)}))
        assert load.rows_uploaded == total
        assert load.commit().load_status == "SUCCESS"
    assert len(rows_of(box)) == 63


def test_messages_that_are_objects_are_read_too(box, config):
    box.rules.message_objects = True
    load = new_load(config)
    load.upload_df(pd.DataFrame({"id": [1]}))
    with pytest.raises(DataError) as failed:
        load.commit({"sum(id)": 7})
    assert (failed.value.expression, failed.value.expected) == ("sum(id)", 7)


def test_a_check_sum_that_no_sql_is_leaves_the_load_open(box, config):
    load = new_load(config)
    load.upload_df(pd.DataFrame({"id": [1]}))
    with pytest.raises(DataError) as refused:
        load.commit({"not sql (": 7})
    assert refused.value.reason == "bad_request"
    assert load.commit().load_status == "SUCCESS" and rows_of(box) == [1]


def test_a_load_without_a_service_client_warns_and_fails(box, config, recwarn):
    load = new_load(config, load_as_service_client_id=None)
    load.upload_df(pd.DataFrame({"id": [1]}))
    assert "service_client_id" in str(recwarn.pop(UserWarning).message)
    with pytest.raises(DataError) as failed:
        load.commit()
    assert failed.value.reason == "load_failed"
    load = new_load(config, load_as_service_client_id=None, fresh=True)
    load.upload_df(pd.DataFrame({"id": [1], "Service_Client_ID": ["0"]}))
    assert not recwarn.list
    assert load.commit().load_status == "SUCCESS"


def test_attaching_takes_local_options_and_refuses_the_four(box, config):
    first = dash.Load(config, table_name="ages", load_as_service_client_id="0")
    for name, value in (
        ("load_type", "APPEND_ONLY"),
        ("table_name", "ages"),
        ("load_as_service_client_id", "0"),
        ("partitions", []),
    ):
        with pytest.raises(SettingsError) as refused:
            dash.Load(config, load_id=first.load_id, **{name: value})
        assert refused.value.reason == "two_ways" and name in str(refused.value)
    attached = dash.Load(
        config,
        load_id=first.load_id,
        chunksize=2,
        track_rows_uploaded=True,
        modify_lambda=lambda f: f.assign(x=1),
    )
    attached.upload_df(pd.DataFrame({"id": range(5)}))
    assert attached.commit().load_status == "SUCCESS" and rows_of(box) == [*range(5)]


def test_columns_that_become_one_name_are_explained(box, config):
    load = new_load(config)
    with pytest.raises(DataError) as clash:
        load.upload_df(pd.DataFrame({"Policy Number": [1], "policy  number": [2]}))
    assert clash.value.reason == "name_clash"
    load.upload_df(pd.DataFrame({" A  b ": [1], "C\tD": [2], 7: [3]}))
    load.commit()
    assert {"_a_b_", "c_d", "7"} <= {*box.table("ages").column_names}


def test_a_dry_run_makes_no_call_and_the_very_files_that_would_be_sent(box, config, tmp_path):
    sent = {}
    real = new_load(config, chunksize=10)
    put = real._put

    def keeps(part, stopped):
        sent[part.key] = part.content
        put(part, stopped)

    real._put = keeps
    frame = pd.DataFrame({"ID": range(25), "Name": [f"n{n}" for n in range(25)]})
    real.upload_df(frame, file_key="rows")
    box.log.clear()
    dry = new_load(config, chunksize=10, path_to_output_for_dryrun=tmp_path / "out")
    dry.upload_df(frame, file_key="rows")
    dry.commit()
    assert not box.log
    assert {f.name: f.read_bytes() for f in (tmp_path / "out").iterdir()} == {
        f"{key}.parquet": content for key, content in sent.items()
    }


def test_a_dry_run_needs_no_sign_in(own_folder, tmp_path):
    config = dash.DashConfig(dash.Auth("nobody"))
    load = dash.Load(
        config,
        table_name="ages",
        path_to_output_for_dryrun=tmp_path / "out",
        load_as_service_client_id="0",
        track_rows_uploaded=True,
    )
    load.upload_df(pd.DataFrame({"id": [1]}))
    load.commit()
    assert [parquet.read_table(f).num_rows for f in (tmp_path / "out").iterdir()] == [1]


def test_a_failed_or_cancelled_query_is_never_loaded(box, config):
    load = new_load(config)
    broken = dash.Query(config, query_text="select * from nowhere")
    stopped = dash.Query(config, query_text="select 1")
    stopped.stop()
    for query in (broken, stopped):
        with pytest.raises(DataError) as failed:
            load.upload_dash_query(query)
        assert failed.value.reason == "query_failed"
    assert rows_of(box) == []


LARGE = """
import sys
from domostats import dash
sys.path.insert(0, sys.argv[3])
from measure import peak_rss, resident

config = dash.DashConfig(dash.Auth(sys.argv[1]))
sql = "select n, rpad(cast(n as varchar), 990, 'x') as t from unnest(sequence(1, {})) as t(n)"
query = dash.Query(config, query_text=sql.format(sys.argv[2]))
query.wait_to_complete()
load = dash.Load(
    config,
    table_name="ages",
    load_as_service_client_id="0",
    track_rows_uploaded=True,
    fresh=True,
    show_progress=False,
)
before = resident()
load.upload_dash_query(query)
growth = peak_rss() - before
print(load.commit().load_status, growth)
"""


@pytest.mark.slow
def test_a_result_four_times_as_large_is_loaded_in_the_same_memory(own_folder):
    grown = []
    with sandbox.start_dash(org="large") as box:
        for rows in (50_000, 200_000):
            done = subprocess.run(
                [sys.executable, "-c", LARGE, box.name, str(rows), str(ROOT / "benchmarks")],
                capture_output=True,
                text=True,
                timeout=300,
            )
            assert done.returncode == 0, done.stderr[-2000:]
            state, growth = done.stdout.split()
            assert state == "SUCCESS"
            grown.append(int(growth))
        assert box.table("ages").num_rows == 250_000
    assert grown[1] < grown[0] + 75_000_000, "150 MB more went through it"


def test_a_query_is_loaded_with_its_types_or_as_text(box, config):
    box.put_table("source", pa.table({"id": ["007"], "n": [1], "fee": [1.5]}))
    query = dash.Query(config, query_text="select id, n, fee from source")
    load = new_load(config)
    load.upload_dash_query(query)
    load.commit()
    assert [str(t) for t in box.table("ages").select(["id", "n", "fee"]).schema.types] == [
        "string",
        "int64",
        "double",
    ]
    texts = new_load(config, path_to_output_for_dryrun="out")
    texts.upload_dash_query(query, dtype=str)
    (file,) = texts.dry_run.files
    assert parquet.read_table(file).to_pylist() == [{"id": "007", "n": "1", "fee": "1.5"}]


def test_errors_of_a_result_are_raised_and_never_data(box, config):
    query = dash.Query(config, query_text="select 1")
    query.wait_to_complete()
    box.fail("forbidden", f"/v2/query/{query.query_id}/csv", times=None)
    with pytest.raises(AccessError):
        query.get_csv_for_streaming()
    with pytest.raises(AccessError):
        query.download_csv("x.csv")
    assert not Path("x.csv").exists()
    box.faults.heal()
    with pytest.raises(AccessError) as unknown:
        dash.Query(config, query_id="unknown").get_query_info()
    assert unknown.value.reason == "not_found"


def test_waiting_has_a_limit_and_looking_does_not_wait(box, config):
    box.rules.load_polls = 10**6
    load = new_load(config)
    load.upload_df(pd.DataFrame({"id": [1]}))
    with pytest.raises(RetryLaterError) as late:
        load.commit(timeout=2)
    assert late.value.reason == "not_in_time"
    began = time.monotonic()
    assert load.get_load_info().load_status == "PROCESSING" and time.monotonic() - began < 30
    box.rules.load_polls = 0
    assert load.wait_to_complete().load_status == "SUCCESS"
    box.rules.running_polls = 10**6
    with pytest.raises(RetryLaterError):
        dash.Query(config, query_text="select 1").wait_to_complete(timeout=2)


def test_a_state_that_nobody_knew_is_shown(box, config):
    load = new_load(config)
    box.serve(f"/v2/load/{load.load_id}", {"LoadStatus": "THAWING", "ErrorMessages": [{"a": 1}]})
    state = load.get_load_info()
    assert state.load_status == "THAWING" and "a" in state.error_messages[0]


def test_four_kinds_of_sources_in_one_load_are_one_table(box, config, tmp_path):
    uploader = dash.DashBulkUploader(config=config)
    uploader.add_load("ages", {"count(*)": 5}, load_as_service_client_id="0")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.csv").write_text("id\n1\n")
    (folder / "b.csv").write_text("id\n2\n")
    (folder / "note.txt").write_text("no data")
    (tmp_path / "c.jsonl").write_text('{"id": 3}\n')
    box.put_table("source", pa.table({"id": [5]}))
    uploader.add_data_to_load("ages", folder)
    uploader.add_data_to_load("ages", str(tmp_path / "c.jsonl"))
    uploader.add_data_to_load("ages", pd.DataFrame({"id": [4]}))
    uploader.add_data_to_load("ages", dash.Query(config, query_text="select id from source"))
    with pytest.warns(UserWarning, match="note.txt"):
        assert uploader.execute_upload("ages").load_status == "SUCCESS"
    assert rows_of(box) == [1, 2, 3, 4, 5]


def test_one_file_with_leading_zeros_makes_the_column_text_in_all(box, config, tmp_path):
    (tmp_path / "a.csv").write_text("id\n8\n")
    (tmp_path / "b.csv").write_text("id\n007\n")
    uploader = dash.DashBulkUploader(config=config)
    uploader.add_load("ages", {"count(*)": 2}, load_as_service_client_id="0")
    uploader.add_data_to_load("ages", tmp_path / "a.csv")
    uploader.add_data_to_load("ages", tmp_path / "b.csv")
    uploader.execute_all_uploads()
    assert rows_of(box) == ["007", "8"]


def test_no_secret_is_in_the_record_or_in_what_is_shown(box, config, capsys):
    load = new_load(config)
    load.upload_df(pd.DataFrame({"id": [1]}))
    box.fail("forbidden", f"/v2/load/{load.load_id}/file", times=None)
    with pytest.raises(DomostatsError) as failed:
        load.upload_df(pd.DataFrame({"id": [2]}))
    shown = [
        repr(load),
        repr(config),
        str(failed.value),
        str(vars(failed.value)),
        capsys.readouterr().err,
    ]
    kept = [path.read_bytes() for path in user_folder("state").rglob("*") if path.is_file()]
    keys = [str(value) for value in getattr(box.store, "secrets", [])]
    for one in [*shown, *kept]:
        assert not leaks(one, box.client_secret.reveal(), *keys)


def test_four_files_are_on_their_way_at_most(box, config, monkeypatch):
    from domostats.loading.dash import load as module

    lock, now, most = threading.Lock(), [0], [0]
    put = module.put_file

    def counts(*arguments):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        try:
            put(*arguments)
        finally:
            with lock:
                now[0] -= 1

    monkeypatch.setattr(module, "put_file", counts)
    load = new_load(config, chunksize=1)
    load.upload_file(io.StringIO("id\n" + "".join(f"{n}\n" for n in range(40))))
    assert 1 <= most[0] <= 4
    load.commit()
    assert rows_of(box) == [*range(40)]


# --- a report into the lake ---


def test_a_report_is_added_to_a_table_of_the_lake_with_a_mark_of_its_run(own_folder):
    with sandbox.start(today=TODAY) as domo, sandbox.start_dash(org="lake") as box:
        to = ("--to", f"dash:{box.name}/ages")
        for _ in range(2):
            code, _, said = commands.run("generate", "accounts", "--instance", domo.name, *to)
            assert code == 0, said
        table = box.table("ages")
        runs = table.column("domostats_run").to_pylist()
        assert len({*runs}) == 2 and runs.count(runs[0]) * 2 == table.num_rows > 0
        code, _, said = commands.run(
            "generate", "accounts", "--instance", domo.name, *to, "--method", "REPLACE"
        )
        assert code != 0 and "replaces none" in " ".join(said.split())
        assert box.table("ages").num_rows == table.num_rows


def frames(*starts):
    "An iterator of frames, which can be read once."
    return iter([pd.DataFrame({"id": range(start, start + 10)}) for start in starts])


def test_what_is_read_once_is_not_doubled_after_a_commit_whose_end_was_not_seen(box, config):
    load = new_load(config, chunksize=5)
    load.upload([UploadItem(frames(0, 10))])
    load.commit(wait=False)
    load.close()
    again = new_load(config, chunksize=5)
    again.upload([UploadItem(frames(0, 10))])
    assert again.commit().load_status == "SUCCESS" and rows_of(box) == [*range(20)]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("starts", [(0, 20), (0, 10, 20), (0,)])
def test_other_rows_of_what_is_read_once_stop_too(box, config, starts):
    for commits in (False, True):
        load = new_load(config, chunksize=5, fresh=True)
        load.upload([UploadItem(frames(0, 10))])
        if commits:
            load.commit(wait=False)
        load.close()
        with pytest.raises(SettingsError) as other:
            new_load(config, chunksize=5).upload([UploadItem(frames(*starts))])
        assert other.value.reason == "other_source"
    assert rows_of(box) == [*range(20)]


def test_what_broke_off_is_sent_again_under_the_same_name(box, config):
    load = new_load(config, chunksize=5)
    box.fail("forbidden", f"/v2/load/{load.load_id}/file", times=None, after=1)
    frame = pd.DataFrame({"id": range(20)})
    with pytest.raises(DomostatsError):
        load.upload_df(frame)
    box.faults.heal()
    load.upload_df(frame)
    assert load.commit().load_status == "SUCCESS" and rows_of(box) == [*range(20)]


def test_a_load_that_is_too_old_for_more_files_is_begun_anew(box, config):
    load = new_load(config, chunksize=5)
    box.fail("forbidden", f"/v2/load/{load.load_id}/file", times=None, after=1)
    frame = pd.DataFrame({"id": range(20)})
    with pytest.raises(DomostatsError):
        load.upload_df(frame)
    box.faults.heal()
    load.record.facts.id = "20240401060000" + load.load_id[14:]
    box.loads[load.record.facts.id] = box.loads[load.load_id]
    load.record.save()
    load.close()
    anew = new_load(config, chunksize=5)
    assert anew.load_id not in (load.load_id, load.record.facts.id)
    anew.upload_df(frame)
    assert anew.commit().load_status == "SUCCESS" and rows_of(box) == [*range(20)]
