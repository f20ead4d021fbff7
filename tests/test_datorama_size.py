"""Thousands of lists in one file: it stays small in number, private, and stops nobody when it
cannot be written."""

import os
import stat
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from datorama_support import outcome, reset, shared_sandbox

from domostats import sandbox
from domostats.clients.datorama import datorama

STREAMS = 60


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with shared_sandbox(tmp_path_factory, streams=STREAMS, jobs=3) as box:
        yield box


@pytest.fixture
def box(running):
    return reset(running)


def open_agency(box, **how):
    agency = datorama(box.api_token, instance=box, pause=0, **how)
    agency.connection.go_by(box.clock)
    return agency


def state_files():
    return [path for path in Path(os.environ["XDG_STATE_HOME"]).rglob("*") if path.is_file()]


def lists_file():
    found = [path for path in state_files() if path.parent.name == "datorama"]
    found = [path for path in found if path.suffix == ".sqlite"]
    assert len(found) == 1
    return found[0]


def read_all(agency):
    agency.get_all_streams()
    agency.get_all_jobs()
    return agency


# one file


def test_as_many_files_for_sixty_streams_as_for_one(box):
    agency = open_agency(box)
    agency.get_all_streams(workspaces=[1001])
    agency.get_all_jobs(streams=[20001])
    few = len(state_files())
    read_all(agency)
    assert len(agency.jobs) == len(box.jobs) > STREAMS
    assert len(state_files()) <= few <= 12


def test_what_is_in_the_file_is_what_was_read(box):
    first = read_all(open_agency(box))
    box.log.clear()
    again = open_agency(box, restore_spaces=True, restore_streams=True, restore_jobs=True)
    assert not box.log and not again.not_restored
    assert {id: job.fields for id, job in again.jobs.items()} == {
        id: job.fields for id, job in first.jobs.items()
    }
    assert {id: one.fields for id, one in again.streams.items()} == {
        id: one.fields for id, one in first.streams.items()
    }


def test_half_a_list_takes_the_place_of_none(box):
    agency = read_all(open_agency(box))
    known = {id for id, job in box.jobs.items() if job["dataStreamId"] == 20001}
    for _ in range(20):
        box.service.state.process(20001, date(2024, 1, 1), date(2024, 1, 1))
    box.fail("server_error", "/v1/data-streams/api/20001/stats", after=1, times=None)
    assert outcome(agency.streams[20001].get_stream_runs, 5) == "server_error"
    again = open_agency(box, restore_spaces=True, restore_streams=True, restore_jobs=True)
    assert again.streams[20001].jobs.keys() == agency.streams[20001].jobs.keys() == known


def test_what_was_gone_when_a_list_was_read_again_is_not_restored(box):
    "Somebody else has taken a stream away; what is kept is the list that was read last."
    assert 20004 in open_agency(box).get_all_streams()
    del box.streams[20004]
    open_agency(box).get_all_streams()
    again = open_agency(box, restore_spaces=True, restore_streams=True)
    assert again.streams.keys() == box.streams.keys() and len(again.streams) == STREAMS - 1


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
def test_the_file_is_for_its_user_only(box):
    mask = os.umask(0)
    try:
        read_all(open_agency(box))
    finally:
        os.umask(mask)
    folder = Path(os.environ["XDG_STATE_HOME"]) / "domostats" / "datorama"
    modes = (
        {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
        if folder.is_dir()
        else set()
    )
    assert modes == {0o600} and stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_two_users_have_two_files(box):
    for user in ("ada", "bob"):
        datorama({user: box.tokens[user][0]}, instance=box, pause=0)
    folder = Path(os.environ["XDG_STATE_HOME"]) / "domostats" / "datorama"
    assert len([*folder.glob("*.sqlite")]) == 2
    assert not any("dato-api" in path.name for path in state_files())


def test_a_damaged_file_is_a_file_without_lists(box):
    read_all(open_agency(box))
    path = lists_file()
    path.with_name(f"{path.name}-wal").unlink(missing_ok=True)
    path.write_bytes(b"this was a database" * 1000)
    assert outcome(open_agency, box, restore_spaces=True) == "nothing_to_restore"
    read_all(open_agency(box))
    assert len(open_agency(box, restore_spaces=True, restore_streams=True).streams) == STREAMS


# what cannot be kept


def test_where_nothing_can_be_kept_everything_is_read(box, caplog):
    folder = Path(os.environ["XDG_STATE_HOME"]) / "domostats"
    folder.mkdir(parents=True)
    for name in ("datorama", "spool"):
        (folder / name).touch()
    told = outcome(open_agency, box)
    assert not isinstance(told, str), told
    read_all(told)
    assert len(told.jobs) == len(box.jobs) and not told.failed
    assert [record.message for record in caplog.records if "goes on without" in record.message]


FULL = """
import resource, signal, sys
from domostats.clients.datorama import datorama
from domostats.transport.clock import FastClock
dr = datorama(instance=sys.argv[1], pause=0)
dr.connection.go_by(FastClock(float(sys.argv[2]), 1000))
dr.get_all_streams()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
dr.get_all_jobs()
print(len(dr.jobs), len(dr.failed))
"""


def test_a_full_disk_loses_nothing_that_was_read():
    "The files of a child process cannot grow any more; the lists of jobs would need far more room."
    with sandbox.start_datorama(seed=2, streams=30, today="2024-04-01") as box:
        for job in box.jobs.values():
            job["processLog"] = "a long log " * 20_000
        done = subprocess.run(
            [sys.executable, "-c", FULL, box.name, str(box.clock.now()), "6000000"],
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.stdout.split() == [str(len(box.jobs)), "0"], done.stderr
        assert "goes on without" in done.stderr


# what came only in part


def uploaded_job(box, agency):
    read_all(agency)
    return next(
        job for job in agency.jobs.values() if job.stream.is_uploaded and job.status == "SUCCESS"
    )


def test_a_csv_that_came_in_part_is_noticed(box, tmp_path):
    job = uploaded_job(box, open_agency(box))
    box.fail("truncated", f"/v1/data-stream-stats/dynamic/{job.id}/download")
    told = outcome(job.download, tmp_path / "raw")
    assert (told if isinstance(told, str) else "taken") == "bad_csv"
    assert not [*(tmp_path / "raw").iterdir()]
    whole = job.download(tmp_path / "raw")
    assert whole.read_bytes().endswith(b"\n")
    box.fail("truncated", f"/v1/data-stream-stats/dynamic/{job.id}/download")
    part = outcome(job.download, tmp_path / "asked", check=False)
    assert 0 < len(part.read_bytes()) < len(whole.read_bytes())


@pytest.mark.sampled(2)
@pytest.mark.parametrize("content", [b"", b"a,b\n1,", b'a,b\n1,"x\n', b"a,b"])
def test_what_ends_in_the_middle_of_a_line_is_no_csv(box, tmp_path, content):
    agency = open_agency(box)
    job = uploaded_job(box, agency)
    box.service.faults.served[f"/v1/data-stream-stats/dynamic/{job.id}/download"] = content
    told = outcome(job.download, tmp_path / "raw")
    assert (told if isinstance(told, str) else "taken") == "bad_csv"
    assert not [*(tmp_path / "raw").iterdir()]


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "content",
    [b'a,b\n1,"x\ny"\n', b'a,b\n1,5" pipe\n', b"a;b\r\n1;2\r\n", "a,b\n1,é\n".encode("utf-16")],
)
def test_what_is_whole_is_taken(box, tmp_path, content):
    job = uploaded_job(box, open_agency(box))
    box.service.faults.served[f"/v1/data-stream-stats/dynamic/{job.id}/download"] = content
    assert outcome(job.download, tmp_path / "raw").read_bytes() == content


def test_a_report_that_came_in_part_is_noticed(box, tmp_path):
    workspace = open_agency(box).workspaces[1001]
    report = workspace.create_report(
        "half", ["IMPRESSIONS"], ["DAY"], "2024-01-01", "2024-01-31", compressed=False
    )
    box.fail("truncated", "/v1/report-jobs/", after=2, times=None)
    told = outcome(report.export, tmp_path / "raw")
    assert (told if isinstance(told, str) else "taken") in ("bad_csv", "truncated")
    assert not [*(tmp_path / "raw").iterdir()]
