"""What the public client of Datorama gets wrong, provoked against ours."""

import csv
import json
import subprocess
import sys
from datetime import date

import pytest
from conftest import ROOT
from test_datorama import api_streams, calls, fill, open_agency

from domostats import sandbox
from domostats.clients.datorama import datorama
from domostats.clients.datorama.auth import REGIONS, find_region
from domostats.clients.datorama.estimates import Timer
from domostats.errors import AccessError, DomostatsError, RetryLaterError, SettingsError
from domostats.transport.clock import FakeClock


@pytest.fixture
def box():
    with sandbox.start_datorama(streams=24, today="2024-04-01") as running:
        yield running


@pytest.fixture
def dr(box):
    made = open_agency(box)
    made.get_all_streams()
    box.log.clear()
    return made


def look(dr):
    return dr.connection.get("/v1/workspaces")


def stand_still(box):
    "Stop the clock just after the begin of a minute."
    box.clock.speed = 0
    box.clock.step(60 - box.clock.now() % 60 + 1)


def waited(box, what):
    "How far the clock went on while this was done."
    before = box.clock.now()
    what()
    return box.clock.now() - before


# the connection


def test_the_region_is_a_parameter():
    assert {find_region(name).url for name in REGIONS} == {*REGIONS.values()} and len(REGIONS) == 4


def test_with_nothing_left_it_waits_until_the_reset_and_no_longer(box, dr):
    stand_still(box)
    for _ in range(60):
        look(dr)
    assert waited(box, lambda: look(dr)) == pytest.approx(59, abs=2) and {
        call.status for call in box.log
    } == {200}


def test_a_limit_that_was_used_up_is_forgotten_when_its_time_is_over(box, dr):
    stand_still(box)
    box.use_calls("ada", platform=60)
    look(dr)
    look(dr)
    assert waited(box, lambda: [look(dr) for _ in range(10)]) < 1


def test_a_day_that_is_over_keeps_nobody_waiting(box, dr):
    stand_still(box)
    box.use_calls("ada", day=20_000)
    dr.connection.budget.overnight = False  # rather fail than wait for the next day
    with pytest.raises(RetryLaterError):
        for _ in range(2):
            look(dr)
    box.clock.step(86_400)
    assert waited(box, lambda: look(dr)) < 1


def test_refusals_without_end_come_to_an_end(box, dr):
    box.fail("rate_limited", "/v1/workspaces", times=None)
    with pytest.raises(RetryLaterError) as caught:
        look(dr)
    assert caught.value.reason == "rate_limited" and len(box.log) < 20


def test_what_was_refused_first_is_sent_as_it_was_and_counts_as_done(box, dr):
    fill(box, 20001, 3)
    box.fail("rate_limited", "/v1/data-streams/api/20001/rerun-all", times=3)
    box.log.clear()
    frame = dr.rerun_all([20001])
    assert frame["status"].tolist() == ["queued"] * 3 and {
        call.body for call in calls(box, "/rerun-all")
    } == {b""}
    box.fail("rate_limited", "/v1/data-streams/api/20001/rerun", times=3)
    dr.rerun_batch([20001], [frame["job"][0]])
    assert {call.body for call in calls(box, "/rerun")} == {
        json.dumps([int(frame["job"][0])]).encode()
    } and len(calls(box, "/rerun")) == 4


def test_words_of_a_refusal_in_a_good_answer_are_words(box, dr):
    box.fail("quoted_limit", "/v1/data-streams/20001/process")
    assert (
        len(dr.streams[20001].process("2024-01-01", "2024-01-01")) == 1
        and len(calls(box, "/process")) == 1
    )


@pytest.mark.parametrize(
    "what",
    [
        "patch",
        "enable",
        "disable",
        "delete",
        "update_stream",
        "update_mapping",
        "process",
        "rerun_all_jobs",
    ],
)
def test_what_was_refused_is_told_and_no_log_calls_it_done(box, dr, what):
    stream, before = dr.streams[20001], {**box.streams[20001]}
    given = {
        "patch": [{"name": "x"}],
        "delete": [True],
        "update_stream": [{"name": "x"}],
        "update_mapping": [{}],
        "process": ["2024-01-01", "2024-01-02"],
    }.get(what, [])
    box.fail("forbidden", times=None)
    with pytest.raises(AccessError) as caught:
        getattr(stream, what)(*given)
    assert (
        caught.value.reason == "forbidden"
        and not dr.updates
        and not dr.log
        and box.streams[20001] == before
        and stream.name == before["name"]
    )


def test_an_error_without_the_headers_is_the_error(box, dr):
    box.fail("no_rate_headers", times=None)
    assert look(dr).status == 200
    with pytest.raises(AccessError) as caught:
        dr.stream_of(7).process("2024-01-01", "2024-01-02")
    assert caught.value.answer.status == 404


def test_a_read_that_broke_off_is_read_again(box, dr):
    for fault in ("drop", "cut", "reset", "server_error", "bad_gateway"):
        box.fail(fault, "/v1/workspaces")
        assert look(dr).status == 200


def test_an_answer_without_a_body_is_good(box, dr):
    stream = dr.workspaces[1001].create_stream({"name": "Fresh"})
    stream.delete(sure=True)
    assert calls(box, f"/{stream.id}", "DELETE")[0].status == 204 and stream.id not in box.streams


def test_nothing_is_written_into_the_package_and_no_history_is_rewritten(box, dr, tmp_path):
    before = {path for path in (ROOT / "domostats").rglob("*") if "__pycache__" not in path.parts}
    for _ in range(20):
        look(dr)
    assert {
        path for path in (ROOT / "domostats").rglob("*") if "__pycache__" not in path.parts
    } == before
    written = [
        path
        for path in tmp_path.rglob("*")
        if path.is_file()
        and b"/v1/workspaces" in path.read_bytes()
        and path.stat().st_size > 100_000
    ]
    assert not written and len(dr.connection.calls) >= 20


def test_ctrl_c_ends_the_work_and_what_was_done_is_known(box, dr):
    ids, ask = api_streams(box, 6), dr.connection.ask

    def interrupted(request, *rest, **more):
        if request.path.endswith("/process") and len(calls(box, "/process")) == 3:
            raise KeyboardInterrupt
        return ask(request, *rest, **more)

    dr.connection.ask = interrupted
    with pytest.raises(KeyboardInterrupt):
        dr.bulk_process_streams(ids, ["2024-01-01"] * 6, ["2024-01-02"] * 6)
    dr.connection.ask = ask
    frame = dr.bulk_process_streams(ids, ["2024-01-01"] * 6, ["2024-01-02"] * 6)
    assert len(calls(box, "/process")) == 6 and len(frame) == 6 and frame["job"].is_unique


def test_without_a_pause_there_is_none(box, dr):
    stand_still(box)
    assert waited(box, lambda: [look(dr) for _ in range(30)]) == 0


# data streams


def test_a_mapping_is_read_and_written_and_the_log_knows_the_old_one(box, dr):
    stream = dr.streams[20001]
    old = stream.get_mapping()
    assert (
        old
        and stream.update_mapping({"SITE": {"source": "site"}})
        == {"SITE": {"source": "site"}}
        == stream.mapping
    )
    assert (dr.updates[-1]["old_params"], dr.updates[-1]["new_params"]) == (
        str({"mapping": old}),
        "{'mapping': {'SITE': {'source': 'site'}}}",
    )


def test_old_values_are_those_before_this_change(box, dr):
    stream = dr.streams[20001]
    for name in ("One", "Two", "Three"):
        stream.patch({"name": name})
    stream.update_stream({"name": "Four"})
    assert [row["old_params"] for row in dr.updates[1:]] == [
        str({"name": name}) for name in ("One", "Two", "Three")
    ] and stream.name == "Four"


def test_all_pages_or_what_was_known_before(box, dr):
    fill(box, 20001, 25)
    stream = dr.streams[20001]
    box.quirks.add("stats_cap_10")
    assert len(stream.get_stream_runs(pgSize=100)) == 25
    box.fail("forbidden", "/v1/data-streams/api/20001/stats", after=1)
    with pytest.raises(AccessError):
        stream.get_stream_runs(pgSize=10)
    assert len(stream.jobs) == 25


def test_three_failures_are_three_rows(box, dr):
    box.fail("forbidden", times=3)
    frame = dr.bulk_process_streams(
        [20001] * 3,
        ["2024-01-01", "2024-01-02", "2024-01-03"],
        ["2024-01-01", "2024-01-02", "2024-01-03"],
        export=True,
        log_file="jobs.csv",
    )
    assert (
        frame["status"].tolist() == ["error"] * 3 and len([*csv.DictReader(open("jobs.csv"))]) == 3
    )


def test_a_date_is_a_date_and_a_bad_one_stops_nothing_after_it(box, dr):
    stream = dr.streams[20001]
    assert len(stream.process(date(2024, 1, 1), date(2024, 1, 3))) == 1
    with pytest.raises(SettingsError):
        stream.process("1st of May", "2024-05-02")
    assert dr.bulk_process_streams([20001], ["2024-02-01"], ["2024-02-02"])["status"].tolist() == [
        "queued"
    ]


def test_all_streams_run_again(box, dr):
    for id in (20001, 20004):
        fill(box, id, 2)
    assert len(dr.rerun_all([20001, 20004])) == 4


def test_no_field_of_the_service_hides_a_method(box, dr):
    box.streams[20001] |= {"process": "a field", "jobs": "another", "fields": "a third"}
    stream = dr.workspaces[box.streams[20001]["workspaceId"]].get_streams()[20001]
    assert (
        callable(stream.process)
        and stream.jobs == {}
        and stream.fields["process"] == "a field"
        and stream.fields["fields"] == "a third"
    )


def test_one_id_is_enough_even_if_it_is_wrong(box, dr):
    with pytest.raises(DomostatsError):
        dr.streams[20001].rerun_job_batch(1)
    assert not dr.log


# jobs


def test_a_job_runs_again_with_one_call_when_there_is_room(box, dr):
    stream = dr.streams[20001]
    [job] = stream.process("2024-01-01", "2024-01-03")
    box.clock.step(3600)
    box.log.clear()
    assert job.rerun().id == job.id and len(calls(box)) == 1
    stream.workspace.throttle, stream.workspace.queue_max = True, 1
    began = box.clock.now()
    job.rerun()
    assert len(calls(box, "/rerun")) == 2 and box.clock.now() - began >= 10 and calls(box, "/stats")


def test_a_file_is_whole_or_not_there(box, dr, tmp_path):
    stream = dr.streams[20001]
    stream.get_stream_runs()
    job = next(job for job in stream.jobs.values() if job.status == "SUCCESS")
    for fault in ("drop", "truncated", "cut"):
        box.fail(fault, f"/v1/data-stream-stats/{job.id}", times=None)
        with pytest.raises(DomostatsError):
            job.download(tmp_path / "files")
        box.faults.heal()
    assert (
        not [*(tmp_path / "files").iterdir()]
        and job.download(tmp_path / "files").stat().st_size > 0
    )


# bulk work


def test_a_first_start_needs_no_files_and_one_missing_file_stops_nothing(box):
    fresh = datorama(box.api_token, instance=box, pause=0)
    assert len(fresh.workspaces) == 3 and not fresh.not_restored
    fresh.workspaces[1001].get_streams()
    again = datorama(
        box.api_token,
        instance=box,
        pause=0,
        restore_spaces=True,
        restore_streams=True,
    )
    assert len(again.workspaces[1001].streams) == 8 and len(again.not_restored) == 2


def test_bulk_work_ends_by_itself_and_at_once(box, dr):
    stand_still(box)
    assert (
        waited(
            box,
            lambda: dr.bulk_process_streams(
                api_streams(box, 5), ["2024-01-01"] * 5, ["2024-01-03"] * 5
            ),
        )
        < 1
    )


def test_a_stream_that_nobody_knows_is_one_failure(box, dr):
    frame = dr.bulk_process_streams([20001, 7, "20004"], ["2024-01-01"] * 3, ["2024-01-03"] * 3)
    assert sorted(frame["status"]) == ["error", "queued", "queued"]
    fresh = open_agency(box)
    assert len(fresh.process_stream_batch([20001], "2024-02-01", "2024-02-02")) == 1


def test_a_batch_that_was_refused_is_an_error_and_the_next_one_is_sent(box, dr):
    dr.workspaces[1001].throttle = True
    box.fail("forbidden", "/v1/data-streams/process")
    assert dr.process_stream_batch([20001, 20007], "2024-01-01", "2024-01-15")[
        "status"
    ].tolist() == ["error", "error"]
    frame = dr.process_stream_batch([20001, 20007], "2024-02-01", "2024-02-15")
    assert (
        frame["status"].tolist() == ["queued"] * 4
        and frame["job"].is_unique
        and frame["job"].notna().all()
    )


def test_ranges_are_blocks_of_ten_days_and_no_other(box, dr):
    frame = dr.bulk_process_streams([20001], ["2024-01-01"], ["2024-01-25"])
    assert frame[["start", "end"]].values.tolist() == [
        ["2024-01-01", "2024-01-10"],
        ["2024-01-11", "2024-01-20"],
        ["2024-01-21", "2024-01-25"],
    ]
    for start, end in (("2024-02-05", "2024-02-01"), ("today", "2024-02-01")):
        with pytest.raises(SettingsError):
            dr.bulk_process_streams([20001], [start], [end])
    assert len(calls(box, "/process")) == 3


def test_an_empty_log_spoils_no_later_one(box, dr):
    dr.log.export("jobs.csv")
    dr.bulk_process_streams(
        [20001], ["2024-01-01"], ["2024-01-02"], export=True, log_file="jobs.csv"
    )
    dr.bulk_process_streams(
        [20001], ["2024-01-03"], ["2024-01-04"], export=True, log_file="jobs.csv"
    )
    assert len([*csv.DictReader(open("jobs.csv"))]) == 2


def test_a_rename_that_fails_midway_is_in_the_log_with_the_others(box, dr):
    for _ in range(2):
        dr.bulk_rename_streams([20001, 7, 20004], ["One", "None", "Two"])
    rows = [*csv.DictReader(open("update_log.csv"))]
    assert {row["status"] for row in rows if row["stream"] == "7"} == {"failed"} and len(
        {(row["stream"], row["timestamp"]) for row in rows}
    ) == len(rows)


def test_names_and_streams_are_lists_of_one_length(box, dr):
    for names in ("One", ["One"]):
        with pytest.raises(SettingsError) as caught:
            dr.bulk_rename_streams([20001, 20004], names)
        assert caught.value.reason in ("bad_list", "unequal_lengths") and not box.log


def test_jobs_without_a_log_are_a_table(box, dr):
    for job in box.jobs.values():
        job.pop("processLog", None)
    assert "processLog" not in dr.get_all_jobs(create_df=True, streams=[20001]).columns


def test_one_download_that_fails_is_one(box, dr, tmp_path):
    dr.get_all_jobs(streams=[20001])
    ids = [job.id for job in dr.jobs.values() if job.status == "SUCCESS"][:2]
    done = dr.download_stats([ids[0], 7, ids[1]], tmp_path)
    assert [isinstance(one, DomostatsError) for one in done.values()] == [False, True, False]


# workspaces, the timer, the package


def test_the_throttle_is_set_from_outside_and_counts_the_jobs_of_everybody(box, dr):
    workspace = dr.workspaces[1001]
    workspace.throttle, workspace.queue_max = True, 3
    ids = [*workspace.streams][:2]
    for n in range(3):
        box.service.state.process(
            ids[1], date(2024, 1, 1 + n), date(2024, 1, 1 + n)
        )  # by somebody else
    assert workspace.full() >= 10
    stuck = next(
        id
        for id, job in box.jobs.items()
        if job["dataStreamId"] == ids[1] and job["status"] != "SUCCESS"
    )
    began = box.clock.now()
    dr.bulk_process_streams(ids[:1], ["2024-02-01"], ["2024-02-25"])
    assert (
        box.clock.now() - began >= 10
        and box.jobs[stuck]["status"] in ("SUCCESS", "FAILURE")
        and len(calls(box, "/process")) == 3
    )


def test_a_stream_that_is_gone_is_gone(box, dr):
    del box.streams[20001]
    assert 20001 not in dr.get_all_streams()


def test_what_is_made_has_what_was_given_and_can_be_worked_with(box, dr):
    workspace, given = dr.workspaces[1001], {"name": "Cost per click"}
    workspace.create_calculated_measurement(given)
    assert json.loads(calls(box, "/calculated-measurements", "POST")[0].body)[
        "name"
    ] == "Cost per click" and given == {"name": "Cost per click"}
    stream = workspace.create_stream({"name": "Fresh"})
    assert dr.bulk_process_streams([stream.id], ["2024-01-01"], ["2024-01-02"])[
        "workspace"
    ].tolist() == [1001]


def test_what_is_left_is_what_is_left():
    clock = FakeClock()
    timer = Timer(100, clock)
    for _ in range(50):
        clock.wait(1)
        timer.step()
    assert timer.remaining == pytest.approx(50)
    for _ in range(50):
        clock.wait(1)
        timer.step()
    assert timer.remaining == 0


def test_the_documented_names_are_there():
    text = (
        "from domostats.clients.datorama import datorama as d; "
        "print(all(hasattr(d, n) for n in ('bulk_process_streams', 'bulk_rerun_jobs', "
        "'rerun_batch', 'get_all_jobs_meta', 'get_all_jobs', 'process_stream_batch', "
        "'rerun_all', 'bulk_rename_streams')))"
    )
    assert (
        subprocess.run([sys.executable, "-c", text], capture_output=True, text=True).stdout
        == "True\n"
    )
