"""The Datorama client against the sandbox: what users were promised, and what a
public client gets wrong."""

import csv
import importlib
import inspect
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import zipfile
from collections import Counter
from contextlib import closing
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from conftest import KILLS, ROOT
from hypothesis import given
from hypothesis import strategies as st

from domostats import sandbox
from domostats.clients.datorama import datorama
from domostats.clients.datorama.auth import ApiToken
from domostats.clients.datorama.estimates import Timer
from domostats.clients.datorama.management import Changes
from domostats.clients.datorama.one_stream import Job, Stream
from domostats.clients.datorama.one_workspace import Workspace
from domostats.clients.datorama.queries import question, read_result
from domostats.clients.datorama.ranges import cut
from domostats.clients.datorama.reporting import read_report
from domostats.clients.datorama.stored_report import StoredReport
from domostats.clients.datorama.workspaces import get_calculated_measurements
from domostats.errors import (
    AccessError,
    CredentialsError,
    DataError,
    RetryLaterError,
    SettingsError,
)
from domostats.sandbox.datorama.jobs import download_files, download_rows
from domostats.sandbox.datorama.queries import deliveries
from domostats.sandbox.datorama.requests import DatoramaRequest
from domostats.transport.clock import FakeClock
from domostats.transport.connection import Connection


@pytest.fixture
def box():
    with sandbox.start_datorama(streams=24, today="2024-04-01") as running:
        yield running


@pytest.fixture
def dr(box):
    return open_agency(box)


def open_agency(box, token=None, **how):
    "An agency whose waits pass at once, on the clock of the sandbox."
    agency = datorama(token or box.api_token, instance=box, **{"pause": 0, **how})
    box.log.clear()
    return agency


def calls(box, ending="", method=None):
    return [
        call for call in box.log if call.path.endswith(ending) and method in (None, call.method)
    ]


def api_streams(box, count):
    return [id for id, stream in box.streams.items() if stream["dataSourceName"] != "TotalConnect"][
        :count
    ]


def fill(box, stream, jobs):
    "Let a stream have so many jobs."
    day = date(2023, 1, 1)
    for id in [id for id, job in box.jobs.items() if job["dataStreamId"] == stream]:
        del box.jobs[id]
    for n in range(jobs):
        box.service.state.process(stream, day + timedelta(n), day + timedelta(n))


# installing, the class structure, what was restored


INSTALLED = """
import sys
sys.path.insert(0, sys.argv[1])
import domostats
from domostats.clients.datorama import datorama
print(domostats.__file__)
print(len(datorama(instance=sys.argv[2]).workspaces))
"""


@pytest.mark.slow
def test_the_wheel_is_installed_imported_and_used(box, tmp_path, wheel):
    place = tmp_path / "place"
    pip = [sys.executable, "-m", "pip"]
    quiet = ["--no-deps", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", *quiet, "--no-index", "--target", place, wheel], check=True)
    done = subprocess.run(
        [sys.executable, "-I", "-c", INSTALLED, place, box.name], capture_output=True, text=True
    )
    assert done.stdout.split() == [str(place / "domostats" / "__init__.py"), "3"], done.stderr


def test_one_import_gives_the_class():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from domostats.clients.datorama import datorama; print(datorama.__name__)",
        ],
        capture_output=True,
        text=True,
    )
    assert done.stdout == "datorama\n", done.stderr


def test_the_documented_start_makes_one_call(box):
    dr = datorama(
        box.api_token,
        verbose=False,
        pause=0.1,
        restore_spaces=False,
        restore_streams=False,
        restore_jobs=False,
        instance=box,
    )
    assert [(call.method, call.path) for call in box.log] == [("GET", "/v1/workspaces")] and len(
        dr.workspaces
    ) == 3
    assert inspect.signature(datorama).parameters.keys() >= {
        "api_token",
        "verbose",
        "pause",
        "restore_spaces",
        "restore_streams",
        "restore_jobs",
    }
    assert (
        datorama(instance=box).workspaces.keys() == dr.workspaces.keys()
    )  # the token of the settings
    assert (
        datorama(
            instance=box, api_token={"ada": box.tokens["ada"], "bob": box.tokens["bob"]}
        ).workspaces.keys()
        == dr.workspaces.keys()
    )
    tokens = [box.tokens["bob"][0], box.tokens["ada"][0]]
    assert datorama(tokens, instance=box).workspaces.keys() == dr.workspaces.keys()
    assert datorama({"bob": tokens[0]}, instance=box).workspaces.keys() == {1001, 1008}
    Path("settings.ini").write_text(f"[instance.our-region]\nurl = {box.url}\n")
    there = datorama(tokens[1], instance="our-region", pause=0)
    assert there.workspaces.keys() == dr.workspaces.keys()


def test_objects_lead_up_and_down(box, dr):
    stream = dr.get_all_streams()[20001]
    job = stream.process("2024-01-01", "2024-01-01")[0]
    before = len(box.log)
    assert (
        job.stream is stream
        and stream.workspace is dr.workspaces[stream.workspaceId]
        and stream.workspace.agency is dr
    )
    assert (
        dr.jobs[job.id] is job and dr.streams[20001].jobs[job.id] is job and len(box.log) == before
    )


def test_names_have_words_and_objects_show_their_fields(dr):
    stream = dr.get_all_streams()[20001]
    assert {"dataSourceName", "lastDataDate", "process", "rerun_all_jobs"} <= set(dir(stream))
    for kind in (datorama, Workspace, Stream, Job, StoredReport, Timer):
        for name, member in inspect.getmembers(kind):
            if not name.startswith("_"):
                assert inspect.getdoc(member), f"{kind.__name__}.{name}"


def test_a_workspace_that_is_hidden_is_not_there(box):
    assert open_agency(box, box.tokens["bob"][0]).workspaces.keys() == set([*box.workspaces][:2])


def test_an_unknown_field_survives(box):
    box.workspaces[1001]["brandNew"] = {"deep": 1}
    dr = open_agency(box)
    assert (
        dr.workspaces[1001].brandNew == {"deep": 1}
        and "brandNew" in dr.workspace_table().columns
        and dr.workspaces[1001].name == box.workspaces[1001]["name"]
    )
    dr.create_workspace_df(export=True, export_name="workspaces.csv")
    rows = {int(row["id"]): row for row in csv.DictReader(open("workspaces.csv"))}
    assert rows[1001]["brandNew"] == "{'deep': 1}"
    assert {id: row["name"] for id, row in rows.items()} == {
        id: one["name"] for id, one in box.workspaces.items()
    }
    again = open_agency(box, restore_spaces=True)
    assert again.workspaces[1001].fields == box.workspaces[1001]


def test_spaces_are_restored_without_a_call(box, dr):
    with pytest.raises(SettingsError) as caught:
        open_agency(box, box.tokens["bob"][0], restore_spaces=True)
    assert caught.value.reason == "nothing_to_restore"
    again = datorama(box.api_token, instance=box, restore_spaces=True)
    assert again.workspaces.keys() == dr.workspaces.keys() and not box.log
    assert {one.fields["name"] for one in again.workspaces.values()} == {
        one["name"] for one in box.workspaces.values()
    }


def test_what_cannot_be_restored_is_named_and_the_rest_is_there(box, dr):
    dr.get_all_streams(workspaces=[*dr.workspaces][:2])
    box.log.clear()
    again = datorama(box.api_token, instance=box, restore_spaces=True, restore_streams=True)
    assert (
        again.streams.keys() == dr.streams.keys()
        and len(again.not_restored) == 1
        and str([*box.workspaces][2]) in again.not_restored[0]
        and not box.log
    )


def test_jobs_are_restored_and_half_a_list_never(box, dr):
    dr.get_all_streams()
    for id in (20001, 20004):
        dr.streams[id].get_stream_runs()
    fill(box, 20007, 25)
    box.fail("server_error", "/v1/data-streams/api/20007/stats", after=1, times=None)
    with pytest.raises(RetryLaterError):
        dr.streams[20007].get_stream_runs(10)
    box.log.clear()
    again = datorama(
        box.api_token, instance=box, restore_spaces=True, restore_streams=True, restore_jobs=True
    )
    assert (
        {id for id, stream in again.streams.items() if stream.jobs}
        == {id for id in (20001, 20004) if dr.streams[id].jobs}
        and not again.streams[20007].jobs
        and not box.log
    )


# reading


def test_streams_of_all_workspaces_or_of_some(box, dr):
    assert dr.get_all_streams().keys() == box.streams.keys() and len(box.log) == 3
    some = dr.get_all_streams(workspaces=[1001])
    assert len(box.log) == 4 and {stream.workspaceId for stream in some.values()} == {1001}
    gone = next(id for id, stream in box.streams.items() if stream["workspaceId"] == 1001)
    del box.streams[gone]
    frame = dr.get_all_streams(create_df=True)
    assert (
        gone not in dr.streams
        and len(frame) == 23
        and str(frame["createTime"].dtype) == "datetime64[us, UTC]"
    )
    with pytest.raises(SettingsError) as caught:
        dr.get_all_streams(workspaces=[5])
    assert caught.value.reason == "unknown_workspace"


def test_streams_of_a_workspace(box, dr):
    workspace = dr.workspaces[1001]
    first = workspace.get_streams()
    kept = workspace.streams[20001]
    assert (
        workspace.get_streams().keys() == first.keys()
        and workspace.streams[20001] is kept
        and len(box.log) == 2
    )


def test_all_jobs_of_a_hundred_and_twenty_streams_in_two_minutes(capsys):
    with sandbox.start_datorama(streams=120, jobs=3, today="2024-04-01") as box:
        fill(box, 20001, 30)  # one stream has run for longer than the others
        dr = open_agency(box, verbose=True)
        dr.get_all_streams()
        dr.get_all_jobs(streams=[20001])  # how long a page can be is kept at this address
        dr = open_agency(box, verbose=True)
        dr.get_all_streams()
        fill(box, 20001, 3)
        box.clock.speed = 0
        box.clock.step(60 - box.clock.now() % 60 + 0.5)
        box.log.clear()
        capsys.readouterr()
        dr._state.reader.in_flight = 1
        told, tell = [], dr._state.messages.tell
        dr._state.messages.tell = lambda text: told.append((len(box.log), text)) or tell(text)
        begun = box.clock.now()
        jobs = dr.get_all_jobs()
        assert told[0] == (0, "jobs of 120 streams: at least 120 calls, 1 min")  # before the first
        assert len(calls(box, "/stats")) == len(box.log) == 120
        assert {call.status for call in box.log} == {200} and not dr.failed
        assert box.clock.now() - begun <= 120 and jobs.keys() == box.jobs.keys()


@pytest.mark.parametrize("size", [100, 10, 5])
@pytest.mark.parametrize("cap", [False, True])
def test_all_pages_of_jobs(box, dr, size, cap):
    dr.get_all_streams()
    fill(box, 20001, 25)
    if cap:
        box.quirks.add("stats_cap_10")
    assert len(dr.streams[20001].get_stream_runs(pgSize=size)) == 25
    box.fail("server_error", "/v1/data-streams/api/20001/stats", after=1, times=None)
    if size < 25:
        with pytest.raises(RetryLaterError, match="partial"):
            dr.streams[20001].get_stream_runs(pgSize=size)
        assert len(dr.streams[20001].jobs) == 25  # what was known stays
    box.heal()
    assert (
        len(dr.streams[20001].get_stream_runs(pgSize=5, pgNum=4)) == 25
        and len(calls(box, "/stats")) > 3
    )


def test_the_table_of_jobs_has_a_row_for_each_job(box, dr):
    dr.get_all_streams()
    for job in box.jobs.values():
        del job["processLog"]
    frame = dr.get_all_jobs_meta(create_df=True)
    assert (
        len(frame) == len(box.jobs)
        and frame["id"].is_unique
        and str(frame["startExecutionTime"].dtype) == "datetime64[us, UTC]"
        and str(frame["id"].dtype) == "Int64"
    )
    assert {"workspaceId", "streamId", "dataSourceName"} <= {*frame.columns}
    dr.create_jobs_df(export=True, export_name="jobs.csv")
    assert {int(row["id"]) for row in csv.DictReader(open("jobs.csv"))} == box.jobs.keys()


def test_a_table_in_a_file_is_without_the_logs(box, dr):
    dr.get_all_streams()
    dr.get_all_jobs()
    assert "processLog" in dr.create_jobs_df(export=True).columns
    rows = [*csv.DictReader(open("Datorama Job Run Data.csv"))]
    assert len(rows) == len(box.jobs) and "processLog" not in rows[0]


def test_raw_data_is_whole_or_not_there(box, dr, tmp_path):
    tmp_path = tmp_path / "raw"
    dr.get_all_streams()
    dr.get_all_jobs()
    good = next(
        job for job in dr.jobs.values() if job.status == "SUCCESS" and not job.stream.is_uploaded
    )
    path = good.download(tmp_path)
    assert (
        path.name == f"{good.stream.workspaceId}_{good.stream.id}_{good.id}_data.zip"
        and zipfile.ZipFile(path).namelist() == [f"{good.id}.csv"]
    )
    served = [
        download_rows(
            box.service.state, DatoramaRequest("GET", "", seen=frozenset(box.workspaces)), good.id
        )
    ]
    assert path.read_bytes() == served[0].body
    path.unlink()
    box.fail("truncated", f"/v1/data-stream-stats/{good.id}/download")
    with pytest.raises(DataError) as caught:
        good.download(tmp_path)
    assert caught.value.reason == "bad_zip" and not [*tmp_path.iterdir()]
    box.fail("cut", f"/v1/data-stream-stats/{good.id}/download")
    assert zipfile.ZipFile(good.download(tmp_path)).testzip() is None
    uploaded = next(
        job for job in dr.jobs.values() if job.status == "SUCCESS" and job.stream.is_uploaded
    )
    sent = download_files(
        box.service.state, DatoramaRequest("GET", "", seen=frozenset(box.workspaces)), uploaded.id
    )
    came = uploaded.download(tmp_path)
    assert came.suffix == ".csv" and came.read_bytes() == sent.body
    came.unlink()
    box.fail("truncated", f"/v1/data-stream-stats/dynamic/{uploaded.id}/download")
    with pytest.raises(DataError) as caught:
        uploaded.download(tmp_path)
    assert caught.value.reason == "bad_csv" and not came.exists()
    with pytest.raises(AccessError):
        next(job for job in dr.jobs.values() if job.status == "FAILURE").download(tmp_path)


def test_one_download_that_fails_is_one(box, dr, tmp_path):
    tmp_path = tmp_path / "raw"
    dr.get_all_streams()
    dr.get_all_jobs()
    jobs = [job.id for job in dr.jobs.values() if job.status == "SUCCESS"][:4] + [
        next(job.id for job in dr.jobs.values() if job.status == "FAILURE")
    ]
    came = dr.download_stats(jobs, tmp_path)
    assert (
        [isinstance(came[id], Path) for id in jobs] == [True] * 4 + [False]
        and came[jobs[4]].reason == "not_found"
        and len([*tmp_path.iterdir()]) == 4
    )
    assert [*dr.failed] == [jobs[4]] and dr.exit_code == 5
    assert dr.download_stats([5], tmp_path)[5].reason == "unknown_job"


def test_the_mapping_of_a_stream_is_what_its_configuration_says(box, dr):
    stream = dr.get_all_streams()[20001]
    assert (
        stream.get_mapping()
        == stream.mapping
        == {one["field"]: {"source": one["source"]} for one in stream.config["mapping"]}
    )
    assert (
        stream.update_mapping({"SITE": {"source": "site"}})
        == {"SITE": {"source": "site"}}
        == stream.mapping
    )


def test_dimensions_by_system_name(box, dr):
    workspace = dr.workspaces[1001]
    assert (
        workspace.get_dimensions() is workspace.dimensions
        and workspace.dimensions
        and all(name == one["systemName"] for name, one in workspace.dimensions.items())
    )


def test_the_patterns_of_a_workspace_are_read(box, dr):
    workspace = dr.workspaces[1001]
    assert workspace.get_patterns() is workspace.patterns and [
        one["id"] for one in workspace.patterns
    ] == [6001]


def test_the_harmonized_dimensions_of_a_workspace_are_read(box, dr):
    workspace = dr.workspaces[1001]
    assert workspace.get_harmonized_dimensions() is workspace.harmonized_dimensions and [
        one["id"] for one in workspace.harmonized_dimensions
    ] == [8001]


# processing


def test_three_streams_of_a_month(box, dr, tmp_path):
    dr.get_all_streams()
    ids, log = api_streams(box, 3), tmp_path / "week.csv"
    frame = dr.bulk_process_streams(
        ids,
        ["2024-01-01"] * 3,
        ["2024-01-31"] * 3,
        d_range=10,
        create_df=True,
        export=True,
        log_file=str(log),
    )
    made = [job for job in box.jobs.values() if job["id"] >= 700_001]
    lengths = [
        (date.fromisoformat(job["dataEndDate"]) - date.fromisoformat(job["dataStartDate"])).days + 1
        for job in made
    ]
    assert lengths == [10, 10, 10, 1] * 3 and len(frame) == 12 and len(calls(box, "/process")) == 12
    dr.bulk_process_streams(ids[:1], ["2024-02-01"], ["2024-02-01"], export=True, log_file=str(log))
    rows = [*csv.DictReader(open(log))]
    assert len(rows) == 13 and [*rows[0]] == [
        "workspace",
        "stream",
        "job",
        "job_type",
        "start",
        "end",
        "status",
        "exec_start",
        "exec_end",
        "reason",
        "http",
        "error",
    ]
    before = len(box.log)
    for wrong, reason in (
        (([1, 2], ["2024-01-01"], ["2024-01-02"]), "unequal_lengths"),
        ((["x"], ["2024-01-01"], ["2024-01-02"]), "bad_id"),
        (([1], ["01/02/2021"], ["2024-01-02"]), "bad_date"),
        (([1], ["2024-01-03"], ["2024-01-02"]), "reversed_range"),
    ):
        with pytest.raises(SettingsError) as caught:
            dr.bulk_process_streams(*wrong)
        assert caught.value.reason == reason
    assert len(box.log) == before


@given(st.dates(date(2000, 1, 1), date(2040, 1, 1)), st.integers(0, 800), st.integers(1, 10))
def test_parts_cover_a_range_once(start, length, days):
    end = start + timedelta(length)
    parts = cut(start, end, days)
    assert [start + timedelta(n) for n in range(length + 1)] == [
        part.start + timedelta(n) for part in parts for n in range(part.days)
    ]
    assert all(1 <= part.days <= days for part in parts) and parts == cut(
        str(start), datetime(end.year, end.month, end.day), days
    )


def test_a_run_that_was_stopped_goes_on(box, dr):
    ids = api_streams(box, 3)
    work = (ids, ["2024-01-01"] * 3, ["2024-01-31"] * 3)
    seen, step = [], type(dr.log).add

    def stop(*args):
        if len(seen) == 5:
            raise KeyboardInterrupt
        seen.append(args)
        return step(*args)

    dr.log.add = lambda *args: stop(dr.log, *args)
    with pytest.raises(KeyboardInterrupt):
        dr.bulk_process_streams(*work)
    done = len(calls(box, "/process"))
    assert done in (5, 6)
    again = open_agency(box)
    frame = again.bulk_process_streams(*work)
    assert len(calls(box, "/process")) == 12 - done and len(frame) == 12 and frame["job"].is_unique
    assert sum(job["id"] >= 700_001 for job in box.jobs.values()) == 12


def test_one_call_for_forty_days(box, dr):
    stream = dr.get_all_streams()[20001]
    assert (
        len(stream.process(date(2024, 1, 1), "2024-02-09")) == 4
        and len(calls(box, "/process")) == 1
    )
    for wrong in ("01/02/2021", "2021-13-01"):
        with pytest.raises(SettingsError):
            stream.process(wrong, "2024-02-09")
    assert len(calls(box, "/process")) == 1
    box.quirks.add("rerun_new_id")
    assert all(
        job.status == "PENDING"
        for job in stream.process(datetime(2024, 3, 1), pd.Timestamp("2024-03-02"))
    )


def test_many_streams_in_one_call():
    with sandbox.start_datorama(streams=240, today="2024-04-01") as box:
        dr = open_agency(box)
        ids = api_streams(box, 200)
        frame = dr.process_stream_batch(ids, "2024-01-01", "2024-01-05")
        assert (
            len(calls(box, "/process")) == 1
            and len(frame) == 200
            and set(frame["job_type"]) == {"batch_processing"}
            and frame["job"].is_unique
        )
        assert len(dr.bulk_process_streams(ids[:2], "2024-01-01", "2024-01-05", fresh=True)) == 2
        box.fail("drop_after", "/v1/data-streams/process")
        assert (
            len(dr.process_stream_batch(ids[:3], "2024-02-01", "2024-02-05")) == 3
            and len(calls(box, "/process")) == 3
        )


def test_streams_that_share_their_days_share_a_call(box, dr):
    ids = api_streams(box, 6)
    dr.get_all_streams()
    box.log.clear()
    frame = dr.bulk_process_groups(
        ids, ["2024-01-01"] * 4 + ["2024-02-01"] * 2, ["2024-01-15"] * 4 + ["2024-02-03"] * 2
    )
    assert [json.loads(call.body)["dataStreamIds"] for call in box.log] == [
        ids[:4],
        ids[4:],
    ] and len(calls(box, "/v1/data-streams/process")) == 2
    assert (
        len(frame) == 4 * 2 + 2
        and set(frame["workspace"]) == {box.streams[id]["workspaceId"] for id in ids}
        and {*frame["stream"]} == {*ids}
    )
    with pytest.raises(SettingsError) as caught:
        dr.bulk_process_groups(ids, ["2024-01-01"], ["2024-01-02"])
    assert caught.value.reason == "unequal_lengths"


def test_groups_go_on_where_they_stopped(box, dr):
    ids, before = api_streams(box, 6), len(box.jobs)
    box.fail("forbidden", "/v1/data-streams/process", after=1)
    days = [f"2024-01-{n:02}" for n in range(1, 7)]
    frame = dr.bulk_process_groups(ids, days, days)
    assert frame["status"].tolist().count("error") == 1 and len(box.jobs) - before == 5
    frame = dr.bulk_process_groups(ids, days, days, fresh=True)
    assert len(box.jobs) - before == 11 and "error" not in set(frame["status"])


# running again


def test_jobs_are_grouped_by_stream(box, dr):
    ids = api_streams(box, 3)
    made = dr.bulk_process_streams(ids, ["2024-01-01"] * 3, ["2024-01-31"] * 3)[:10]
    box.log.clear()
    frame = dr.rerun_batch(made["stream"].tolist(), made["job"].tolist())
    sent = {int(call.path.split("/")[4]): json.loads(call.body) for call in calls(box, "/rerun")}
    assert (
        len(calls(box, "/rerun")) == 3
        and sent == {stream: some["job"].tolist() for stream, some in made.groupby("stream")}
        and len(frame) == 10
    )
    assert dr.bulk_rerun_jobs.__func__ is dr.rerun_batch.__func__


def test_all_jobs_run_again(box, dr):
    ids = api_streams(box, 3)
    for id in ids:
        fill(box, id, 4)
    frame = dr.rerun_all(ids)
    assert (
        len(calls(box, "/rerun-all")) == 3
        and len(frame) == 12
        and all(not call.body for call in calls(box, "/rerun-all"))
    )
    assert (
        len(dr.get_all_streams()[ids[0]].rerun_all_jobs()) == 4
        and len(calls(box, "/rerun-all")) == 4
    )


def test_one_job_or_some_run_again(box, dr):
    stream = dr.get_all_streams()[20001]
    fill(box, 20001, 3)
    job = [*stream.get_stream_runs().values()][0]
    box.log.clear()
    assert [one.id for one in stream.rerun_job_batch(job.id)] == [job.id] and [
        one.id for one in stream.rerun_job_batch([job.id])
    ] == [job.id]
    assert [json.loads(call.body) for call in calls(box, "/rerun")] == [[job.id]] * 2
    again = job.rerun()
    assert (
        again.id == job.id and len(calls(box, "/rerun")) == 3 and len(dr.log) == 1
    )  # one job, and the last that is known of it


# changing


def test_renaming_goes_on_after_one_that_is_not_there(box, dr, tmp_path):
    dr.get_all_streams()
    file = tmp_path / "updates.csv"
    frame = dr.bulk_rename_streams(
        [20001, 7, 20004], ["One", "None", "Two"], export=True, update_file=str(file)
    )
    assert (
        frame["status"].tolist() == ["success", "failed", "success"]
        and len(calls(box, method="PATCH")) == 3
    )
    assert (box.streams[20001]["name"], box.streams[20004]["name"]) == (
        "One",
        "Two",
    ) and dr.streams[20001].name == "One"
    assert len([*csv.DictReader(open(file))]) == 3
    for _ in range(2):  # the same call tries the one that failed, and nothing else
        dr.bulk_rename_streams([20001, 7, 20004], ["One", "None", "Two"], update_file=str(file))
        rows = [*csv.DictReader(open(file))]
        assert [(row["stream"], row["status"]) for row in rows] == [
            ("20001", "success"),
            ("7", "failed"),
            ("20004", "success"),
        ]
    assert len(calls(box, method="PATCH")) == 5
    dr.bulk_rename_streams([20001], ["Three"], update_file=str(file))
    rows = [*csv.DictReader(open(file))]
    assert (
        len(rows) == 4
        and rows[-1]["old_params"] == "{'name': 'One'}"
        and [*rows[0]]
        == [
            "stream",
            "new_params",
            "old_params",
            "status",
            "timestamp",
            "reason",
            "http",
            "error",
        ]
    )


def test_a_whole_update_clears_nothing_and_overwrites_nobody(box, dr):
    stream, before = dr.get_all_streams()[20001], dict(box.streams[20001])
    stream.update_stream({"name": "New"})
    after = box.streams[20001]
    assert {name for name in before if before[name] != after[name]} <= {
        "name",
        "updateTime",
        "lastUpdate",
        "updateUserId",
    }
    box.streams[20001]["customAttribute1"] = "somebody else"
    with pytest.raises(DataError) as caught:
        stream.update_stream({"name": "Newer"})
    assert caught.value.reason == "changed_meanwhile" and box.streams[20001]["name"] == "New"


def test_a_patch_sends_what_changes(box, dr):
    stream = dr.get_all_streams()[20001]
    stream.patch({"enabled": False, "customAttribute1": "x"})
    assert json.loads(calls(box, method="PATCH")[0].body) == {
        "enabled": False,
        "customAttribute1": "x",
    }
    assert (
        stream.enabled is False
        and stream.fields["updateTime"] == box.streams[20001]["updateTime"]
        and stream.enable().enabled
    )
    box.streams[20001]["customAttribute2"] = "somebody else"
    assert stream.patch({"name": "New"}).customAttribute2 == "somebody else"
    again = open_agency(box, restore_spaces=True, restore_streams=True)
    assert again.streams[20001].fields == box.streams[20001] and not box.log


def test_the_log_follows_the_service_to_the_end(box, dr, tmp_path):
    dr.bulk_process_streams(api_streams(box, 2), ["2024-01-01"] * 2, ["2024-01-31"] * 2)
    frame = dr.follow()
    states = {job["id"]: job["status"].lower() for job in box.jobs.values()}
    assert (
        frame["status"].tolist() == [states[id] for id in frame["job"]]
        and (frame["exec_end"] != "nat").all()
    )
    path = dr.log.export(tmp_path / "log.csv")
    assert [row["status"] for row in csv.DictReader(open(path))] == frame["status"].tolist()
    box.quirks.add("stuck_jobs")
    dr.bulk_process_streams(api_streams(box, 1), ["2024-03-01"], ["2024-03-01"])
    with pytest.raises(RetryLaterError) as caught:
        dr.follow(deadline=600)
    assert caught.value.reason == "not_in_time"


def test_a_throttled_workspace_never_has_more_than_it_may(box, dr):
    dr.get_all_streams()
    ids = [id for id in api_streams(box, 20) if box.streams[id]["workspaceId"] == 1001]
    dr.workspaces[1001].throttle, dr.workspaces[1001].queue_max = True, 3
    most, process = [], box.service.state.process

    def counted(*args):
        made = process(*args)
        most.append(sum(job["status"] in ("PENDING", "IN_PROGRESS") for job in box.jobs.values()))
        return made

    box.service.state.process = counted
    dr.bulk_process_streams(
        [ids[n % len(ids)] for n in range(10)],
        [f"2024-01-{n + 1:02}" for n in range(10)],
        [f"2024-01-{n + 1:02}" for n in range(10)],
    )
    assert len(most) == 10 and max(most) <= 3 and len(calls(box, "/stats")) < 100
    dr.workspaces[1001].throttle = False
    box.log.clear()
    dr.bulk_process_streams(ids[:1], ["2024-02-01"], ["2024-02-05"])
    assert not calls(box, "/stats")


def test_the_time_that_is_left_is_estimated():
    clock = FakeClock()
    timer = Timer(100, clock)
    for _ in range(50):
        clock.wait(3)
        timer.step()
    assert abs(timer.remaining - 150) <= 7.5 and timer.share == 0.5


def test_errors_are_typed_and_carry_what_happened(box, dr):
    with pytest.raises(CredentialsError) as caught:
        datorama("dato-api-nobody", instance=box)
    assert (
        caught.value.reason == "bad_token"
        and caught.value.answer.status == 401
        and "nobody" not in str(caught.value)
    )
    with pytest.raises(AccessError) as caught:
        dr.stream_of(7).process("2024-01-01", "2024-01-02")
    assert caught.value.answer.status == 404
    before = len(box.log)
    for reason, what, *asked in (
        ("unequal_lengths", dr.bulk_rename_streams, [20001, 20004], ["One"]),
        ("unequal_lengths", dr.bulk_process_streams, [20001], ["2024-01-01"] * 2, ["2024-01-02"]),
        ("unequal_lengths", dr.rerun_batch, [20001], [1, 2]),
        ("bad_date", dr.bulk_process_streams, [20001], ["01/02/2021"], ["2024-01-02"]),
        ("bad_date", dr.stream_of(20001).process, "2024-02-30", "2024-03-01"),
        ("bad_name", dr.bulk_rename_streams, [20001], [""]),
        ("bad_name", dr.bulk_rename_streams, [20001, 20004], ["One", None]),
        ("bad_name", dr.workspaces[1001].create_stream, {"enabled": True}),
    ):
        with pytest.raises(SettingsError) as caught:
            what(*asked)
        assert caught.value.reason == reason and str(caught.value).count(".") >= 1
    assert len(box.log) == before
    box.fail("html", "/v1/workspaces/1001/data-streams")
    with pytest.raises(DataError) as caught:
        dr.workspaces[1001].get_streams()
    assert caught.value.reason == "html" and caught.value.answer.content.startswith(b"<!DOCTYPE")


def test_nothing_else_opens_a_connection():
    for path in (ROOT / "domostats" / "clients" / "datorama").glob("*.py"):
        text = path.read_text()
        assert not re.search(
            (
                r"^import requests|time\.sleep|urllib3|http\.client|while "
                r"True|lru_cache|range\(\d+\):.*retry"
            ),
            text,
            re.M,
        ), path.name


# limits


def test_somebody_else_with_the_same_user_slows_us_down(box, dr):
    box.clock.speed = 0
    box.clock.step(60 - box.clock.now() % 60 + 1)
    dr.get_all_streams()
    box.use_calls("ada", platform=50)
    for _ in range(20):
        get_workspaces_of(dr)
    assert {call.status for call in box.log} == {200} and len(box.log) == 23


def get_workspaces_of(dr):
    return dr.connection.get("/v1/workspaces")


def test_every_call_is_in_the_history_without_the_token(box, dr):
    dr.get_all_streams()
    box.fail("server_error", "/v1/workspaces")
    get_workspaces_of(dr)
    frame = dr.connection.calls.frame()
    assert [*zip(frame["method"], frame["path"], frame["status"], strict=True)][
        -len(box.log) :
    ] == [(call.method, call.path, call.status) for call in box.log]
    assert box.api_token.reveal() not in frame.to_csv() + repr(dr.connection) + repr(dr)


def test_a_day_is_twenty_thousand_calls_and_then_it_is_midnight(box, dr):
    box.clock.speed = 0
    get_workspaces_of(dr)
    box.use_calls(
        "ada",
        platform=0,
        query=20_000
        - box.service.limits.counts["ada", "day", box.service.limits.window("day")]
        - 2,
    )
    for _ in range(4):
        get_workspaces_of(dr)
    assert [call.status for call in box.log] == [200] * 5 and box.log[-1].at % 86_400 < 120
    strict = Connection(
        box, ApiToken(box.tokens["ada"][1], user="strict", instance=box, overnight=False)
    )
    strict.go_by(box.clock)
    strict.get("/v1/workspaces")
    box.use_calls("ada", query=20_000)
    with pytest.raises(RetryLaterError) as caught:
        for _ in range(3):
            strict.get("/v1/workspaces")
    assert caught.value.reason == "day_used_up" and caught.value.retry_after > 60


def test_a_pause_is_a_pause_and_talk_only_on_request(box, capsys):
    box.clock.speed = 0
    dr = open_agency(box, pause=1, verbose=True)
    dr.get_all_streams()
    dr.get_all_jobs(streams=[20001])
    gaps = [b.at - a.at for a, b in pairwise([*box.log])]
    assert min(gaps) >= 1 and "at least 1 calls" in capsys.readouterr().out
    open_agency(box).get_all_streams()
    assert capsys.readouterr().out == ""


def test_two_users_have_twice_the_calls(box):
    box.clock.speed = 0
    box.clock.step(60 - box.clock.now() % 60 + 1)
    dr = open_agency(box, {"ada": box.tokens["ada"], "bob": box.tokens["bob"]})
    begun = box.clock.now()
    for _ in range(118):
        get_workspaces_of(dr)  # one call of each was needed to begin
    minute = Counter((call.user, call.at // 60) for call in box.log)
    assert (
        {call.status for call in box.log} == {200}
        and minute["ada", begun // 60] == minute["bob", begun // 60]
        and len(box.log) == 118
        and get_workspaces_of(dr)
        and box.log[-1].at // 60 > begun // 60
    )
    hidden = [*box.workspaces][2]
    box.log.clear()
    dr.workspaces[hidden].get_streams()
    assert {call.user for call in box.log} == {"ada"}  # only ada sees it
    box.fail("rate_limited", "/v1/data-streams/20001/process")
    dr.workspaces[1001].get_streams()
    dr.streams[20001].process("2024-01-01", "2024-01-01")
    assert [call.status for call in calls(box, "/process")] == [429, 200] and sum(
        job["id"] >= 700_001 for job in box.jobs.values()
    ) == 1


def test_two_tokens_of_a_user_have_what_one_has(box):
    box.clock.speed = 0
    box.clock.step(60 - box.clock.now() % 60 + 1)
    first, second = (
        Connection(box, ApiToken(token, user="ada", instance=box)) for token in box.tokens["ada"]
    )
    for n in range(70):
        one = (first, second)[n % 2]
        one.go_by(box.clock)
        one.get("/v1/workspaces")
    assert {call.status for call in box.log} == {200} and max(
        Counter(call.at // 60 for call in box.log).values()
    ) <= 60


def test_a_stream_is_made(box, dr):
    stream = dr.workspaces[1001].create_stream({"name": "Fresh"})
    assert (
        box.streams[stream.id]["name"] == "Fresh" and box.streams[stream.id]["workspaceId"] == 1001
    )
    assert dr.streams[stream.id] is stream
    assert stream.process("2024-01-01", "2024-01-01")[0].stream is stream


def test_a_stream_is_deleted_if_that_is_meant(box, dr):
    stream = dr.get_all_streams()[20001]
    with pytest.raises(SettingsError) as caught:
        stream.delete()
    assert caught.value.reason == "not_sure" and stream.id in box.streams
    stream.delete(sure=True)
    assert 20001 not in box.streams and 20001 not in dr.streams


def test_a_stream_is_switched_off_and_on(box, dr):
    stream = dr.get_all_streams()[20001]
    assert stream.disable() is stream and box.streams[20001]["enabled"] is False is stream.enabled
    assert stream.enable() is stream and box.streams[20001]["enabled"] is True is stream.enabled
    assert [json.loads(call.body) for call in calls(box, method="PATCH")] == [
        {"enabled": False},
        {"enabled": True},
    ]


def test_a_pattern_is_made(box, dr):
    workspace = dr.workspaces[1001]
    made = workspace.create_pattern({"harmonizedDimensionId": 8001})
    assert box.service.state.patterns[made["id"]]["harmonizedDimensionId"] == 8001
    assert made["id"] in [one["id"] for one in workspace.get_patterns()]


def test_a_mapping_is_changed(box, dr):
    stream = dr.get_all_streams()[20001]
    assert stream.update_mapping({"SITE": {"source": "site"}}) == {"SITE": {"source": "site"}}
    assert box.streams[20001]["config"]["mapping"] == [{"field": "SITE", "source": "site"}]
    assert stream.config == box.streams[20001]["config"]  # it repeats the mapping
    assert dr.updates[-1]["new_params"] == "{'mapping': {'SITE': {'source': 'site'}}}"


def test_calculated_measurements_are_listed_and_made(box, dr):
    workspace, given = dr.workspaces[1001], {"name": "Cost per click"}
    assert workspace.get_calculated_measurements() == []
    made = workspace.create_calculated_measurement(given)
    assert made["name"] == "Cost per click" and given == {"name": "Cost per click"}
    assert [one["id"] for one in workspace.get_calculated_measurements()] == [made["id"]]
    reply = get_calculated_measurements(box, workspace_id=workspace.id)
    assert [one["id"] for one in reply.response] == [made["id"]]
    assert box.service.state.calculated[made["id"]]["workspaceId"] == 1001


def test_the_dimensions_of_all_workspaces(box, dr):
    found = dr.get_all_dimensions()
    assert found.keys() == box.workspaces.keys() and len(box.log) == 3
    assert all(one["DAY"]["displayName"] == "Day" for one in found.values())
    assert dr.workspaces[1015].dimensions is found[1015]


def test_a_stream_is_processed_again_from_the_object(box, dr):
    stream = dr.get_all_streams()[20001]
    box.log.clear()
    first, again = (
        stream.process("2024-01-01", "2024-01-25"),
        stream.process("2024-01-01", "2024-01-25"),
    )
    assert (
        [job.dataStartDate for job in first]
        == [job.dataStartDate for job in again]
        == ["2024-01-01", "2024-01-11", "2024-01-21"]
    )
    assert (
        {job.id for job in first}.isdisjoint(job.id for job in again)
        and len(calls(box)) == 2
        and len(dr.log) == 6
    )


def test_changes_from_a_table(box, dr, tmp_path):
    dr.get_all_streams()
    table = tmp_path / "changes.csv"
    table.write_text(
        'id,field,value\n20001,name,One\n20001,enabled,false\n20004,customAttribute1,"""17"""\n7,name,Nobody\n'
    )
    box.log.clear()
    frame = dr.bulk_patch_from_csv(table, update_file="log.csv")
    assert [json.loads(call.body) for call in box.log if call.method == "PATCH"] == [
        {"name": "One", "enabled": False},
        {"customAttribute1": "17"},
        {"name": "Nobody"},
    ]
    assert (
        frame["status"].tolist() == ["success", "success", "failed"]
        and box.streams[20001]["enabled"] is False
        and box.streams[20004]["customAttribute1"] == "17"
    )
    table.write_text("stream,name\n1,x\n")
    with pytest.raises(SettingsError) as caught:
        dr.bulk_patch_from_csv(table)
    assert caught.value.reason == "bad_table" and len([*csv.DictReader(open("log.csv"))]) == 3


def test_the_update_log_grows_and_keeps_its_columns(box, dr):
    dr.get_all_streams()
    for name in ("One", "Two", "Two"):
        dr.bulk_rename_streams([20001], [name])
    rows = [*csv.DictReader(open("update_log.csv"))]
    assert [*rows[0]] == [
        "stream",
        "new_params",
        "old_params",
        "status",
        "timestamp",
        "reason",
        "http",
        "error",
    ]
    assert [row["old_params"] for row in rows] == [
        str({"name": name}) for name in ("Example Ads Alder Foods 0", "One", "Two")
    ]
    assert rows == [*csv.DictReader(dr.updates.export("update_log.csv").open())]


# queries and reports


def test_an_export_of_a_thousand_rows_is_the_table_of_the_service(box, dr):
    workspace, days = dr.workspaces[1001], ("2023-03-01", "2024-01-31")
    made = {
        packed: workspace.export(
            ["DELIVERY_CLICKS", "MEDIA_COST"], ["DAY", "CAMPAIGN_KEY"], *days, compressed=packed
        )
        for packed in (False, True)
    }
    there = [
        (row["DAY"], row["CAMPAIGN_KEY"], row["DELIVERY_CLICKS"], row["MEDIA_COST"])
        for row in deliveries(box.service.state, 1001)
        if days[0] <= row["DAY"] <= days[1]
    ]
    assert len(there) > 1000
    for frame in made.values():
        assert sorted(map(tuple, frame.values.tolist())) == there
    assert not box.reports
    asked = workspace.query(
        ["DELIVERY_CLICKS", "MEDIA_COST"], ["DAY", "CAMPAIGN_KEY"], *days, system_names=True
    )
    assert sorted(
        (str(day.date()), *rest) for day, *rest in asked.values.tolist()
    ) == there and str(asked["DAY"].dtype).startswith("datetime64")


def test_what_goes_wrong_with_a_query(box, dr):
    workspace = dr.workspaces[1001]
    box.fail("query_errors", "/v1/query")
    with pytest.raises(DataError) as caught:
        workspace.query(["Clicks"], ["Day"], "2024-01-01")
    assert caught.value.reason == "query_failed" and "60 seconds" in str(caught.value)
    with pytest.raises(DataError) as caught:
        workspace.query(["Sorrow"], ["Day"], "2024-01-01")
    assert caught.value.reason == "bad_query" and "Sorrow" in str(caught.value)
    for wrong, reason in (
        ({"measurements": []}, "no_measurement"),
        ({"measurements": ["Clicks"]}, "no_days"),
        ({"measurements": ["Clicks"], "start": "1/2/2024"}, "bad_date"),
    ):
        with pytest.raises(SettingsError) as caught:
            workspace.query(**wrong)
        assert caught.value.reason == reason
    two = dr.query_batch(
        [
            question(id, ["Clicks"], ["Campaign Name"], "2024-01-01", "2024-01-31")
            for id in (1001, 1008)
        ]
    )
    assert (
        [len(frame) for frame in two] == [3, 3]
        and not two[0].equals(two[1])
        and len(calls(box, "/v1/query-batch")) == 1
    )


def test_a_report_that_fails_says_why_and_one_that_is_lost_is_made_once(box, dr):
    workspace = dr.workspaces[1001]
    report = workspace.create_report("nothing", [], ["DAY"], "2024-01-01", "2024-01-31")
    with pytest.raises(DataError) as caught:
        report.export()
    assert caught.value.reason == "report_failed" and "no metrics" in str(caught.value)
    report.delete(sure=True)
    box.fail("drop_after", "/v1/reports")
    report = workspace.create_report(
        "once", ["IMPRESSIONS"], ["DAY"], "2024-01-01", "2024-01-31", compressed=False
    )
    assert [*box.reports] == [report.id] == [*workspace.get_reports()]
    box.fail("drop_after", f"/v1/reports/{report.id}/process")
    path = report.export("files")
    assert (
        len(box.service.state.report_jobs) == 2
        and path.suffix == ".csv"
        and len(read_report(path)) == 31
    )
    box.fail("truncated", "/v1/report-jobs/", after=2)
    with pytest.raises(DataError):
        workspace.create_report(
            "packed", ["IMPRESSIONS"], ["DAY"], "2024-01-01", "2024-01-31"
        ).export("files")
    assert [*Path("files").iterdir()] == [path]


# users and workspaces


def test_users_are_planned_before_they_are_changed(box, dr):
    ada, bob = dr.get_users().values()
    wanted = [
        {"email": ada.email, "name": "Ada L."},
        {"email": bob.email, "name": bob.name},
        {
            "email": "new@example.com",
            "name": "New",
            "permissionSetId": [*dr.get_permission_sets()][0],
        },
    ]
    box.log.clear()
    plan = dr.plan_changes("users", wanted)
    assert {call.method for call in box.log} == {"GET"} and repr(
        plan
    ) == "<1 to create, 1 to change>"
    assert plan.frame()[["action", "field", "after"]].values.tolist() == [
        ["change", "name", "Ada L."],
        ["create", "email", "new@example.com"],
        ["create", "name", "New"],
        ["create", "permissionSetId", 7001],
    ]
    box.fail("drop_after", "/v1/users", after=1)
    done = dr.make_changes(plan)
    assert (
        done["state"].tolist() == ["ok", "ok"]
        and len(dr.get_users()) == 3
        and dr.plan_changes("users", wanted) == []
        and dr.get_users()[ada.id].name == "Ada L."
    )
    assert (
        dr.deactivate_user(bob.id).enabled is False
        and box.service.state.users[bob.id]["enabled"] is False
    )


def test_the_guessed_address_is_a_line_of_the_settings(box, dr):
    Path("settings.ini").write_text(
        f"[instance.{box.name}]\nusers_path = /v1/accounts/9001/users\n"
    )
    box.log.clear()
    assert len(dr.get_users()) == 2 and [call.path for call in box.log] == [
        "/v1/accounts/9001/users"
    ]
    Path("settings.ini").write_text(
        f"[instance.{box.name}]\nusers_path = https://elsewhere.example.com\n"
    )
    with pytest.raises(SettingsError) as caught:
        dr.get_users()
    assert caught.value.reason == "bad_path"
    with pytest.raises(SettingsError) as caught:
        dr.plan_changes("dogs", [])
    assert caught.value.reason == "unknown_kind"


def test_workspaces_come_and_go(box, dr):
    box.fail("drop_after", "/v1/workspaces")
    made = dr.create_workspace({"name": "Fresh", "accountId": 9001})
    assert [id for id, one in box.workspaces.items() if one["name"] == "Fresh"] == [
        made.id
    ] and dr.workspaces[made.id] is made
    assert made.patch({"name": "Fresher"}).name == "Fresher" == box.workspaces[made.id]["name"]
    with pytest.raises(SettingsError) as caught:
        made.delete()
    assert caught.value.reason == "not_sure" and made.id in box.workspaces
    made.delete(sure=True)
    assert made.id not in box.workspaces and made.id not in dr.workspaces
    [change] = dr.plan_changes(
        "workspaces", [{"name": dr.workspaces[1001].name, "archivingEnabled": None}]
    )
    assert (
        change.action == "change"
        and dr.make_changes([change])["state"].tolist() == ["ok"]
        and box.workspaces[1001]["archivingEnabled"] is None
    )


# documentation


def test_every_function_is_described_and_shown_at_work():
    shown, missing = shown_cells(ROOT / "nbs" / "03_clients" / "datorama"), []
    for path in sorted((ROOT / "domostats" / "clients" / "datorama").glob("*.py")):
        module = importlib.import_module(
            "domostats.clients.datorama" + ("" if path.stem == "__init__" else f".{path.stem}")
        )
        asked = [
            name
            for name, one in vars(module).items()
            if inspect.isfunction(one)
            and one.__module__ == module.__name__
            and {"instance", "connection", "start"} & {*inspect.signature(one).parameters}
        ]
        missing += [
            (path.stem, name)
            for name in asked
            if not name.startswith("_")
            and not (inspect.getdoc(getattr(module, name)) and re.search(rf"\b{name}\(", shown))
        ]
    for kind in (datorama, Workspace, Stream, Job, StoredReport, Timer, Changes):
        for name, one in inspect.getmembers(kind, inspect.isfunction):
            if name.startswith("_"):
                continue
            if not (inspect.getdoc(one) and re.search(rf"\.{name}\(", shown)):
                missing.append((kind.__name__, name))
    assert not missing, "\n".join(map(str, missing))


def shown_cells(folder):
    """The code of the notebooks that shows something: neither exported nor hidden, and run
    whenever the notebooks are."""
    cells = [
        ("".join(cell["source"]), cell["cell_type"])
        for path in folder.glob("*.ipynb")
        for cell in json.loads(path.read_text())["cells"]
    ]
    return "\n".join(text for text, kind in cells if kind == "code" and not text.startswith("#| "))


# what a public client gets wrong


def test_a_refused_body_is_sent_again_as_it_was(box, dr):
    box.fail("rate_limited", "/v1/data-streams/20001/process", times=3)
    dr.stream_of(20001).process("2024-01-01", "2024-01-02")
    assert len({call.body for call in calls(box, "/process")}) == 1 and [
        call.status for call in calls(box, "/process")
    ] == [429, 429, 429, 200]


def test_words_in_a_good_answer_do_not_make_it_a_refusal(box, dr):
    dr.get_all_streams()
    box.fail("quoted_limit", "/v1/data-streams/20001/process")
    assert (
        len(dr.streams[20001].process("2024-01-01", "2024-01-01")) == 1
        and len(calls(box, "/process")) == 1
    )


def test_an_answer_without_the_headers_is_an_answer(box, dr):
    box.fail("no_rate_headers", times=5)
    assert len(dr.get_all_streams()) == 24


def test_a_web_page_is_no_answer(box, dr):
    box.fail("html", "/v1/workspaces")
    with pytest.raises(DataError) as caught:
        get_workspaces_of(dr)
    assert caught.value.reason == "html"
    box.fail("bad_gateway", "/v1/workspaces")
    assert get_workspaces_of(dr).status == 200


@pytest.mark.parametrize(
    "fault",
    [
        "drop",
        "drop_after",
        "cut",
        "reset",
        "truncated",
        "server_error",
        "bad_gateway",
        "html",
        "unavailable",
    ],
)
def test_whatever_breaks_a_job_is_made_once(box, dr, fault):
    box.fail(fault, "/v1/data-streams/20001/process")
    frame = dr.bulk_process_streams([20001], ["2024-01-01"], ["2024-01-10"])
    assert (
        frame["status"].tolist() == ["queued"]
        and sum(job["id"] >= 700_001 for job in box.jobs.values()) == 1
    )


def test_an_outcome_that_cannot_be_looked_up_stays_open_until_it_can(box, dr):
    box.fail("drop_after", "/v1/data-streams/20001/process")
    box.fail("forbidden", "/v1/data-streams/api/20001/stats", times=None)
    work = ([20001, 20004], ["2024-01-01"] * 2, ["2024-01-10"] * 2)
    frame = dr.bulk_process_streams(*work)
    assert frame["status"].tolist() == ["error", "queued"]


# somebody else's client


@pytest.fixture(scope="module")
def published(environment):
    "The Python of an environment with the published client, which needs an old pandas."
    return environment(
        "pydatorama==0.11",
        "pandas<2",
        "numpy<2",
        "requests",
        pythons=("python3.11", "python3.10", "python3.12"),
    )


@pytest.mark.slow
def test_the_published_client_gets_what_it_can(box, published, tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    fill(box, 20001, 3)
    box.clock.step(3600)
    done = subprocess.run(
        [
            published,
            ROOT / "tests" / "pydatorama_client.py",
            box.url,
            box.api_token.reveal(),
            folder,
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout.splitlines()[-1])
    assert got["workspaces"] == sorted(box.workspaces) and got["streams"] == len(box.streams)
    assert (
        got["jobs"] == 3 + 4 + 1
        and got["dimensions"] == 5
        and got["patterns"] == 1
        and len(got["files"]) == 1
        and got["files"][0].endswith("_data.zip")
    )
    stream = box.streams[20001]
    assert (stream["name"], stream["customAttribute1"]) == ("Updated", "patched") and stream[
        "config"
    ]
    # its own Job.rerun and rerun_all fail after the fact, or before it: what the service was asked
    # and answered is on record
    accepted = Counter(
        re.sub(r"/\d+", "/N", call.path)
        for call in box.log
        if call.status == 200 and call.method == "POST"
    )
    assert (
        accepted["/v1/data-streams/api/N/rerun"] == 2
        and accepted["/v1/data-streams/N/process"] == 1
        and accepted["/v1/data-streams/process"] == 1
    )
    assert {call.status for call in box.log} == {200}


# a night of it

KILLED = """
import sys
from domostats.clients.datorama import datorama
from domostats.transport.clock import FastClock
name, start, speed = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
dr = datorama(instance=name, pause=0)
dr.connection.go_by(FastClock(start, speed))
days = [f"2024-{1 + n // 28:02}-{1 + n % 28:02}" for n in range(300)]
print("begun", flush=True)
frame = dr.bulk_process_streams([int(sys.argv[4])] * 300, days, days)
print(len(frame), frame["job"].nunique(), sorted(set(frame["status"])), flush=True)
"""


def recorded():
    "The keys of the record, those that were sent and those with a last word."
    [path] = (Path(os.environ["XDG_STATE_HOME"]) / "domostats" / "work").rglob("record.sqlite")
    with closing(sqlite3.connect(path)) as con:
        rows = con.execute("SELECT key, state FROM items").fetchall()
    return {key for key, state in rows if state != "intended"}, {
        key for key, state in rows if state == "ok"
    }


@pytest.mark.slow
@pytest.mark.kills
def test_a_night_that_is_killed_makes_each_block_once(box, draws):
    box.service.limits.limits.update(platform=100_000, day=10_000_000)
    stream, killed, between, box.latency = api_streams(box, 1)[0], 0, 0, 0.02

    def night():
        return subprocess.Popen(
            [sys.executable, "-c", KILLED, box.name, str(box.clock.now()), "1", str(stream)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    while killed < KILLS or between < 3 * KILLS // 4:
        child = night()
        assert child.stdout.readline() == "begun\n", child.stderr.read()
        target = len(calls(box, "/process")) + draws.randint(2, 10)
        while len(calls(box, "/process")) < target and child.poll() is None:
            time.sleep(0.0005)
        child.send_signal(signal.SIGKILL)
        child.wait()
        begun, ended = recorded()
        made = {
            f"{job['dataStreamId']} {job['dataStartDate']} {job['dataEndDate']}"
            for job in box.jobs.values()
            if job["id"] >= 700_001
        }
        killed, between = (
            killed + 1,
            between + bool(made & begun - ended),
        )  # the service has done what the record does not know
        assert killed < 60
    out, err = night().communicate(timeout=120)
    assert "300 300 ['queued']" in out, out + err
    made = Counter(
        (job["dataStartDate"], job["dataEndDate"])
        for job in box.jobs.values()
        if job["id"] >= 700_001
    )
    print(f"{killed} kills, {between} of them between submission and record")
    assert len(made) == 300 and set(made.values()) == {1}


CROWD = """
import sys
from domostats.clients.datorama.auth import sign_in
from domostats.transport.clock import FastClock
connection = sign_in(sys.argv[1], pause=0)
connection.go_by(FastClock(float(sys.argv[2]), float(sys.argv[3])))
for _ in range(100): connection.get("/v1/workspaces")
"""


@pytest.mark.slow
def test_four_processes_keep_to_the_minute_together(box):
    speed = 12
    box.clock.step(60 - box.clock.now() % 60)
    box.clock.speed = speed
    made = time.monotonic()
    begun = box.clock.now()
    children = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                CROWD.replace(
                    "float(sys.argv[2])",
                    f"{begun} + (__import__('time').monotonic() - {made}) * {speed}",
                ),
                box.name,
                "0",
                str(speed),
            ]
        )
        for _ in range(4)
    ]
    assert [child.wait(timeout=120) for child in children] == [0] * 4
    assert Counter(call.status for call in box.log) == {200: 400}
    assert max(call.at for call in box.log) - min(call.at for call in box.log) <= 440


def test_what_was_done_is_not_done_again_because_something_else_failed(box, dr):
    "A night that ends with open and refused pieces: the same call does those and nothing else."
    ids, before = api_streams(box, 12), len(box.jobs)
    days = ["2024-01-01"] * 12, ["2024-01-05"] * 12
    box.fail("forbidden", f"/v1/data-streams/{ids[3]}/process")
    box.fail("drop", "/v1/data-streams", times=None, after=8)
    first = dr.bulk_process_streams(ids, *days)
    assert first["status"].tolist().count("error") == 5 and len(box.jobs) - before == 7
    box.heal()
    box.log.clear()
    second = dr.bulk_process_streams(ids, *days)
    assert (
        second["status"].tolist() == ["queued"] * 12
        and len(box.jobs) - before == 12
        and len(calls(box, "/process")) == 5
    )
    assert len(dr.log) == 12 and {row["status"] for row in dr.log} == {"queued"}
    with pytest.raises(SettingsError, match="fresh=True"):
        dr.bulk_process_streams(ids, *days)
    assert len(dr.bulk_process_streams(ids, *days, fresh=True)) == 12
    assert len(box.jobs) - before == 24


def test_work_that_was_forgotten_is_not_taken_up_in_silence(box, dr, capsys):
    ids = api_streams(box, 2)
    box.fail("forbidden", f"/v1/data-streams/{ids[1]}/process")
    dr.bulk_process_streams(ids, ["2024-01-01"] * 2, ["2024-01-05"] * 2)
    dr.verbose = True
    box.fail("forbidden", f"/v1/data-streams/{ids[1]}/process")
    dr.bulk_process_streams(ids, ["2024-01-01"] * 2, ["2024-01-05"] * 2)
    assert "1 of 2 are done already" in capsys.readouterr().out
    box.clock.step(2 * 86_400)
    with pytest.warns(UserWarning, match="fresh=True"):
        dr.bulk_process_streams(ids, ["2024-01-01"] * 2, ["2024-01-05"] * 2)
    assert sum(job["id"] >= 700_001 for job in box.jobs.values()) == 2


def test_a_column_of_a_query_in_which_nothing_stands_is_not_one_of_days():
    rows = [["2024-03-30 00:00:00.0", None, 1], ["2024-03-31 00:00:00.0", None, 2]]
    answer = {"queryResponseData": {"headers": ["Day", "Campaign", "Clicks"], "rows": rows}}
    frame = read_result(answer)
    assert frame["Day"].tolist() == [pd.Timestamp("2024-03-30"), pd.Timestamp("2024-03-31")]
    assert frame["Campaign"].isna().all() and "datetime" not in str(frame["Campaign"].dtype)
    assert frame["Clicks"].tolist() == [1, 2]
