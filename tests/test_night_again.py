"""The same call again: known by item whatever the list, judged by the service's clock, exported
from the record, and as planned."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import pytest

from domostats import sandbox
from domostats.clients.datorama import datorama
from domostats.errors import DestinationError, DomostatsError, RetryLaterError, SettingsError
from domostats.interfaces import exit_codes


@pytest.fixture(scope="module")
def running():
    with sandbox.start_datorama(streams=24, seed=7, users=4) as box:
        yield box, box.service.state.snapshot()


@pytest.fixture
def box(running):
    "A sandbox as it was in the beginning."
    box, snapshot = running
    box.heal()
    box.quirks.clear()
    box.service.state.reset(snapshot)
    box.service.limits.counts.clear()
    box.log.clear()
    return box


class Wrong:
    "The sandbox's clock, wrong by so many seconds."

    def __init__(self, box, by):
        self.box, self.by = box, by

    def now(self):
        return self.box.clock.now() + self.by

    def wait(self, seconds):
        self.box.clock.wait(seconds)


def agency(box, by=0, **how):
    "A new session, as after a restart."
    box.service.limits.limits.update(platform=100_000, day=10_000_000)
    return session(box, box.api_token, by, **how)


def session(box, token, by=0, **how):
    made = datorama(token, instance=box, pause=0, **how)
    made.connection.go_by(Wrong(box, by))
    box.log.clear()
    return made


def api_streams(box, count):
    api = [id for id, one in box.streams.items() if one["dataSourceName"] != "TotalConnect"]
    return api[:count]


def made(box):
    "How often each range was made, by stream and days."
    return Counter(
        (job["dataStreamId"], job["dataStartDate"], job["dataEndDate"])
        for job in box.jobs.values()
        if job["id"] >= 700_001
    )


def posts(box, ending="/process"):
    return [call for call in box.log if call.path.endswith(ending)]


def month(streams):
    "The arguments for a month of each: four blocks a stream."
    return [*streams], ["2024-01-01"] * len(streams), ["2024-01-31"] * len(streams)


def state_files(*names):
    work = Path(os.environ["XDG_STATE_HOME"]) / "domostats" / "work"
    return [path for path in work.rglob("*") if path.is_file() and path.name in names]


# 1: by item, whatever the list


def failed_night(box, ids, bad):
    "A night in which one stream was refused."
    box.fail("forbidden", f"/v1/data-streams/{bad}/process", times=None)
    agency(box).bulk_process_streams(*month(ids))
    box.heal()


@pytest.mark.sampled(2)
@pytest.mark.parametrize("kind", ["left_out", "order", "more", "order_and_more"])
def test_1_a_changed_list_makes_nothing_twice_after_an_error(box, kind):
    ids = api_streams(box, 6)
    failed_night(box, ids[:5], ids[2])
    assert len(made(box)) == 16
    again = {
        "left_out": [id for id in ids[:5] if id != ids[2]],
        "order": [*reversed(ids[:5])],
        "more": ids,
        "order_and_more": [*reversed(ids)],
    }[kind]
    frame = agency(box).bulk_process_streams(*month(again))
    assert set(made(box).values()) == {1}
    assert {stream for stream, _, _ in made(box)} >= {*again}
    assert len(frame) == 4 * len(again) and set(frame["status"]) == {"queued"}
    assert [*dict.fromkeys(frame["stream"])] == again


def test_1_a_list_that_grew_after_a_kill_makes_nothing_twice(box):
    ids = api_streams(box, 4)
    dr = agency(box)
    ask = dr.connection.ask

    def killed(request, *rest, **more):
        if request.path.endswith("/process") and len(posts(box)) == 7:
            raise KeyboardInterrupt
        return ask(request, *rest, **more)

    dr.connection.ask = killed
    with pytest.raises(KeyboardInterrupt):
        dr.bulk_process_streams(*month(ids[:3]))
    del dr.connection.ask
    agency(box).bulk_process_streams(*month([ids[3], ids[1], ids[0], ids[2]]))
    assert len(made(box)) == 16 and set(made(box).values()) == {1}


def test_1_groups_know_their_streams_by_item(box):
    ids = api_streams(box, 5)
    days = ["2024-01-01"] * 5, ["2024-01-05"] * 3 + ["2024-01-06"] * 2
    box.fail("forbidden", "/v1/data-streams/process", after=1, times=None)
    agency(box).bulk_process_groups(ids, *days)
    assert len(made(box)) == 3
    box.heal()
    again = ids[1:]  # another group, for one stream is left out of it
    frame = agency(box).bulk_process_groups(again, days[0][1:], days[1][1:])
    assert len(made(box)) == 5 and set(made(box).values()) == {1}
    assert frame["stream"].tolist() == again
    assert json.loads(posts(box)[-1].body)["dataStreamIds"] == ids[3:]


def test_1_what_a_batch_has_made_is_known_to_the_calls_for_single_streams(box):
    ids = api_streams(box, 3)
    box.fail("forbidden", f"/v1/data-streams/{ids[2]}/process")
    agency(box).bulk_process_streams(ids, ["2024-01-01"] * 3, ["2024-01-05"] * 3)
    agency(box).process_stream_batch(ids, "2024-01-01", "2024-01-05")
    assert len(made(box)) == 3 and set(made(box).values()) == {1}


def test_1_jobs_that_ran_again_are_known_by_item(box):
    ids = api_streams(box, 3)
    frame = agency(box).bulk_process_streams(*month(ids))
    box.fail("forbidden", f"/v1/data-streams/api/{ids[1]}/rerun")
    pairs = frame["stream"].tolist(), frame["job"].tolist()
    dr = agency(box)
    dr.rerun_batch(*pairs)
    assert len(posts(box, "/rerun")) == 3
    kept = [(stream, job) for stream, job in zip(*pairs, strict=True) if stream != ids[1]][::-1]
    dr = agency(box)
    dr.rerun_batch([stream for stream, _ in kept], [job for _, job in kept])
    assert not posts(box, "/rerun")
    dr.rerun_batch(*pairs)
    assert [call.path.split("/")[4] for call in posts(box, "/rerun")] == [str(ids[1])]


def test_1_a_later_name_supersedes_an_earlier_one(box):
    dr, ids = agency(box), api_streams(box, 2)
    dr.bulk_rename_streams(
        [ids[0], 7], ["One", "x"], export=False
    )  # 7 is not there: this is left open
    dr.bulk_rename_streams([ids[0]], ["Two"], export=False)
    dr.bulk_rename_streams([ids[0], ids[1]], ["One", "y"], export=False)
    assert box.streams[ids[0]]["name"] == "One"


def test_1_a_name_that_was_given_is_given_again_when_that_is_asked_for(box):
    dr, [id] = agency(box), api_streams(box, 1)
    names = [id, 7], ["One", "x"]
    dr.bulk_rename_streams(*names, export=False)  # 7 is not there: this is left open
    box.streams[id]["name"] = "Of somebody else"
    dr.bulk_rename_streams(*names, export=False)
    assert box.streams[id]["name"] == "Of somebody else"
    dr.bulk_rename_streams(*names, export=False, fresh=True)
    assert box.streams[id]["name"] == "One"


def test_1_a_finished_call_asks_before_it_does_all_again(box):
    ids = api_streams(box, 3)
    agency(box).bulk_process_streams(*month(ids))
    reason = None
    dr = agency(box)
    try:
        dr.bulk_process_streams(*month(ids[::-1]))
    except SettingsError as e:
        reason = e
    assert len(made(box)) == 12 and set(made(box).values()) == {1} and not box.log
    assert reason.reason == "already_done" and "fresh=True" in str(reason)
    dr.bulk_process_streams(*month(ids), fresh=True)
    assert set(made(box).values()) == {2}


def test_1_a_day_later_it_is_new_work_and_a_rerun_always_is(box):
    ids = api_streams(box, 2)
    frame = agency(box).bulk_process_streams(*month(ids))
    box.clock.step(23 * 3600)
    sent = 0
    with pytest.raises(SettingsError):
        agency(box).bulk_process_streams(*month(ids))
        sent = 1
    assert not sent
    box.clock.step(2 * 3600)
    agency(box).bulk_process_streams(*month(ids))
    assert set(made(box).values()) == {2}
    for _ in range(2):
        agency(box).rerun_batch(frame["stream"].tolist(), frame["job"].tolist())
        assert len(posts(box, "/rerun")) == 2


def test_1_another_user_has_wishes_of_his_own(box):
    ids = api_streams(box, 24)[::3][:2]
    for user in ("bob", "eve"):
        dr = session(box, {user: box.tokens[user]})
        dr.bulk_process_streams(*month(ids))
    assert set(made(box).values()) == {2}


def test_1_a_new_token_of_the_same_user_goes_on(box):
    ids = api_streams(box, 3)
    failed_night(box, ids, ids[0])
    box.service.limits.limits.update(platform=100_000, day=10_000_000)
    dr = session(box, box.tokens["ada"][1])
    dr.bulk_process_streams(*month(ids))
    assert len(made(box)) == 12 and set(made(box).values()) == {1}


def test_1_jobs_of_a_batch_that_wait_are_found_when_the_reply_is_lost(box):
    ids = first_workspace(box, 4)
    full_queue(box, ids[3])
    box.quirks.clear()
    del box.jobs[max(box.jobs)]
    box.service.state.queues[1001].running.pop()  # room for one of three
    box.fail("drop_after", "/v1/data-streams/process")
    frame = agency(box).process_stream_batch(ids[:3], "2024-01-01", "2024-01-05")
    assert frame["status"].tolist() == ["queued"] * 3
    assert [box.jobs[id]["status"] for id in frame["job"]].count("PENDING") == 2
    assert all(made(box)[id, "2024-01-01", "2024-01-05"] == 1 for id in ids[:3])


@pytest.mark.sampled(2)
@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9])
def test_1_half_a_record_is_compared_with_the_service(box, share):
    ids = api_streams(box, 4)
    failed_night(box, ids, ids[3])
    for path in state_files("record.sqlite", "open.jsonl"):
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    dr = agency(box)
    frame = dr.bulk_process_streams(*month(ids))
    assert set(made(box).values()) == {1} and len(made(box)) == 16
    sent = [call.path.rsplit("/", 1)[1] for call in box.log if call.method == "POST"]
    assert sent[:4] == ["stats"] * 4  # before anything was sent
    unknown = frame[frame["status"] == "error"]
    assert set(unknown["reason"]) <= {"unknown_outcome"}
    assert {*unknown["stream"]} <= {*ids[:3]}


def first_workspace(box, count):
    "Streams that every user sees."
    return [id for id in api_streams(box, 24) if box.streams[id]["workspaceId"] == 1001][:count]


def test_1_half_a_record_of_reruns_leaves_the_outcome_open(box):
    ids = api_streams(box, 2)
    frame = agency(box).bulk_process_streams(ids, ["2024-01-01"] * 2, ["2024-01-02"] * 2)
    box.fail("forbidden", f"/v1/data-streams/api/{ids[1]}/rerun")
    agency(box).rerun_batch(frame["stream"].tolist(), frame["job"].tolist())
    for path in state_files("record.sqlite", "open.jsonl"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.warns(UserWarning, match="damaged"):
        again = agency(box).rerun_batch(frame["stream"].tolist(), frame["job"].tolist())
    assert set(again["reason"]) == {"unknown_outcome"} and not posts(box, "/rerun")


def old_record(box, lines, user="joe"):
    "A record as version 0.1.0 wrote it; gives its path."
    from domostats.transport.state_folder import folder_of, make_folder

    folder = make_folder(folder_of("work", f"{box.url}|{user}", "process 0123456789ab"))
    path = folder / "open.jsonl"
    path.write_text("".join(f"\n{line}\n" for line in lines))
    return path


def test_1_a_record_of_the_first_version_is_taken_over(box):
    ids = first_workspace(box, 3)
    days = date(2024, 1, 1), date(2024, 1, 5)
    since = box.clock.now()
    [done] = box.service.state.process(ids[0], *days)
    box.service.state.process(ids[1], *days)  # sent, and then it died
    jobs = [{name: done[name] for name in ("id", "dataStreamId", "dataStartDate", "dataEndDate")}]
    lines = [
        json.dumps([f"{ids[0]} {days[0]} {days[1]}", "ok", {"jobs": jobs}]),
        json.dumps([f"{ids[1]} {days[0]} {days[1]}", "begun", {"after": 700_001, "since": since}]),
    ]
    path = old_record(box, lines)
    dr = session(box, {"joe": box.tokens["joe"]})
    frame = dr.bulk_process_streams(ids, [days[0]] * 3, [days[1]] * 3)
    assert len(made(box)) == 3 and set(made(box).values()) == {1}
    assert not path.exists() and set(frame["status"]) == {"queued"}


def test_1_a_record_of_the_first_version_without_its_end_is_compared(box):
    ids = first_workspace(box, 3)
    days = date(2024, 1, 1), date(2024, 1, 5)
    since = box.clock.now()
    for id in ids[:2]:
        box.service.state.process(id, *days)
    first = json.dumps(
        [f"{ids[0]} {days[0]} {days[1]}", "begun", {"after": 700_000, "since": since}]
    )
    old_record(box, [first, f'["{ids[1]} {days[0]}'])
    dr = session(box, {"joe": box.tokens["joe"]})
    dr.bulk_process_streams(ids, [days[0]] * 3, [days[1]] * 3)
    assert len(made(box)) == 3 and set(made(box).values()) == {1}


def test_1_two_programs_do_not_do_the_same_item_and_may_do_others(box):
    ids, seen = api_streams(box, 4), []
    dr = agency(box)
    other = agency(box)
    way, sent = dr.connection.ask, []

    def ask(request, *rest, **more):
        if request.path.endswith("/process") and not sent:
            sent.append(1)
            meanwhile_reason(other, ids, seen)
        return way(request, *rest, **more)

    dr.connection.ask = ask
    dr.bulk_process_streams(*month(ids[:2]))
    del dr.connection.ask
    assert seen == ["already_running", 4] and set(made(box).values()) == {1}


def meanwhile_reason(other, ids, seen):
    try:
        other.bulk_process_streams(*month([ids[1], ids[2]]))
    except SettingsError as e:
        seen.append(e.reason)
    seen.append(len(other.bulk_process_streams(*month([ids[3]]))))


# 2: the export is not the work


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "file", ["nowhere/x", "nowhere/x.csv", "other.csv", "folder.csv", "binary.csv"]
)
@pytest.mark.parametrize("how", ["bulk", "groups", "rename"])
def test_2_a_destination_is_checked_before_the_first_call(box, file, how):
    Path("other.csv").write_text("a,b\n1,2\n")
    Path("binary.csv").write_bytes(b"\xff\xfe\x00\x01")
    Path("folder.csv").mkdir()
    ids = api_streams(box, 3)

    def call(name):
        dr = agency(box)
        if how == "bulk":
            return dr.bulk_process_streams(*month(ids), export=True, file_name=name)
        if how == "groups":
            return dr.bulk_process_groups(*month(ids), export=True, file_name=name)
        return dr.bulk_rename_streams(ids, ["One", "Two", "Three"], update_file=name)

    caught = None
    try:
        call(file)
    except DestinationError as e:
        caught = e
    sent = [call for call in box.log if call.method in ("POST", "PATCH")]
    assert not sent and caught.reason in ("cannot_write", "other_columns")
    call("good.csv")
    assert how == "rename" or len(made(box)) == 12 and set(made(box).values()) == {1}
    assert len([*csv.DictReader(open("good.csv"))]) == (3 if how == "rename" else 12)


def test_2_an_export_that_fails_later_is_made_again_from_the_record(box):
    ids, folder, process = api_streams(box, 3), Path("logs"), box.service.state.process
    folder.mkdir()

    def vanishing(*args):
        shutil.rmtree(folder, ignore_errors=True)
        return process(*args)

    box.service.state.process = vanishing
    try:
        with pytest.raises(DestinationError):
            agency(box).bulk_process_streams(*month(ids), export=True, log_file="logs/x.csv")
    finally:
        del box.service.state.process
    folder.mkdir()
    frame = agency(box).bulk_process_streams(*month(ids), export=True, log_file="logs/x.csv")
    assert len(made(box)) == 12 and set(made(box).values()) == {1}
    rows = [*csv.DictReader(open("logs/x.csv"))]
    assert [int(row["job"]) for row in rows] == frame["job"].tolist() and len(rows) == 12
    with pytest.raises(SettingsError):  # now it is finished
        agency(box).bulk_process_streams(*month(ids))


def test_2_a_table_of_the_first_version_is_added_to(box):
    names = "workspace,stream,job,job_type,start,end,status,exec_start,exec_end"
    Path("week.csv").write_text(f"{names}\n1001,7,5,process,2023-01-01,2023-01-02,success,x,y\n")
    agency(box).bulk_process_streams(*month(api_streams(box, 1)), export=True, log_file="week.csv")
    rows = [*csv.DictReader(open("week.csv"))]
    assert len(rows) == 5 and rows[0]["status"] == "success" and rows[0]["reason"] == ""


# 3: a lost reply is judged by the server's clock


@pytest.mark.sampled(3)
@pytest.mark.parametrize("by", [120, -120, 3600, -86_400])
@pytest.mark.parametrize("heard", [True, False])
@pytest.mark.parametrize("fault", ["drop_after", "drop"])
def test_3_a_lost_reply_is_judged_by_the_clock_of_the_service(box, by, heard, fault):
    [id] = api_streams(box, 1)
    dr = agency(box, by)
    stream = dr.get_all_streams()[id]
    if heard:
        stream.get_stream_runs()
    box.fail(fault, f"/v1/data-streams/{id}/process")
    jobs = stream.process("2024-01-01", "2024-01-10")
    assert len(made(box)) == 1 and set(made(box).values()) == {1}
    assert jobs[0].id in box.jobs and jobs[0].id >= 700_001


@pytest.mark.sampled(3)
@pytest.mark.parametrize("ago", [3, 30, 59])
@pytest.mark.parametrize("by", [0, 120, -120])
@pytest.mark.parametrize("way", ["stream", "bulk"])
def test_3_one_that_began_under_a_minute_ago_is_another(box, ago, by, way):
    [id] = api_streams(box, 1)
    dr = agency(box, by)
    stream = dr.get_all_streams()[id]
    box.service.state.process(id, date(2024, 1, 1), date(2024, 1, 10))  # somebody else
    box.clock.step(ago)
    box.fail("drop", f"/v1/data-streams/{id}/process")
    if way == "stream":
        [job] = stream.process("2024-01-01", "2024-01-10")
        assert job.id == 700_002
    else:
        dr.bulk_process_streams([id], ["2024-01-01"], ["2024-01-10"])
    assert sum(made(box).values()) == 2


def full_queue(box, id):
    "Let the workspace of a stream be busy, so that the next job waits."
    other = next(
        one["id"]
        for one in box.streams.values()
        if one["workspaceId"] == box.streams[id]["workspaceId"]
        and one["id"] != id
        and one["dataSourceName"] != "TotalConnect"
    )
    box.quirks.add("stuck_jobs")
    for n in range(4):
        box.service.state.process(other, date(2023, 1, 1 + n), date(2023, 1, 1 + n))


@pytest.mark.parametrize("by", [0, 120, -120])
def test_3_an_older_one_that_waits_is_another(box, by):
    [id] = api_streams(box, 1)
    full_queue(box, id)
    box.service.state.process(id, date(2024, 1, 1), date(2024, 1, 10))
    box.clock.step(7 * 86_400)
    dr = agency(box, by)
    stream = dr.get_all_streams()[id]
    stream.get_stream_runs()  # it has been seen
    box.fail("drop", f"/v1/data-streams/{id}/process")
    [job] = stream.process("2024-01-01", "2024-01-10")
    assert job.id == max(box.jobs) and sum(made(box).values()) == 4 + 2


def test_3_one_that_waits_and_was_never_seen_leaves_the_outcome_open(box):
    [id] = api_streams(box, 1)
    full_queue(box, id)
    box.service.state.process(id, date(2024, 1, 1), date(2024, 1, 10))
    box.clock.step(3600)
    dr = agency(box)
    box.fail("drop", f"/v1/data-streams/{id}/process")
    frame = dr.bulk_process_streams([id], ["2024-01-01"], ["2024-01-10"])
    assert frame["status"].tolist() == ["error"]
    assert frame["reason"].tolist() == ["unknown_outcome"] and "fresh=True" in frame["error"][0]
    assert len(posts(box)) == 1


# 5: each failed item has its reason


def test_5_each_failed_item_says_why(box, caplog):
    ids = api_streams(box, 4)
    box.fail("forbidden", f"/v1/data-streams/{ids[1]}/process", times=None)
    box.fail("server_error", f"/v1/data-streams/{ids[2]}/process", times=None)
    dr = agency(box)
    frame = dr.bulk_process_streams(
        [*ids, 7], ["2024-01-01"] * 5, ["2024-01-02"] * 5, export=True, log_file="log.csv"
    )
    assert {"reason", "http", "error"} <= {*frame.columns}
    why = [*zip(frame["reason"], frame["http"].fillna(0), strict=True)]
    assert why == [("", 0), ("forbidden", 403), ("server_error", 500), ("", 0), ("not_found", 404)]
    assert "Forbidden" in frame["error"][1] and "administrator" in frame["error"][1]
    rows = [*csv.DictReader(open("log.csv"))]
    assert [row["reason"] for row in rows] == [reason for reason, _ in why]
    assert [row["http"] for row in rows] == ["", "403", "500", "", "404"]
    assert [error.reason for error in dr.failed.values()] == [
        "forbidden",
        "server_error",
        "not_found",
    ]
    assert f"{ids[1]} 2024-01-01 2024-01-02" in dr.failed
    assert dr.exit_code == 5 and "3 of 5" in caplog.text
    box.heal()
    assert dr.bulk_process_streams(ids, ["2024-01-01"] * 4, ["2024-01-02"] * 4) is not None
    assert dr.exit_code == 0 and not dr.failed


def test_5_the_exit_codes_are_those_of_the_command_line():
    from domostats.clients.datorama import state

    assert state.EXIT_CODES is exit_codes.EXIT_CODES
    assert {*state.EXIT_CODES} == {*DomostatsError.__subclasses__()}


def test_5_a_rename_that_fails_says_why(box, caplog):
    ids = api_streams(box, 2)
    dr = agency(box)
    frame = dr.bulk_rename_streams([ids[0], 7], ["One", "Two"], update_file="up.csv")
    assert frame["reason"].tolist() == ["", "not_found"]
    assert [row["http"] for row in csv.DictReader(open("up.csv"))] == ["", "404"]
    assert dr.exit_code == 5 and "1 of 2" in caplog.text


def test_5_what_the_service_says_is_on_one_line_and_no_web_page(box):
    from types import SimpleNamespace

    from domostats.transport.carry_out import said_in

    assert (
        said_in(SimpleNamespace(content=b'{"errors":\n "No\x1b[31m way"}'))
        == '{"errors": "No [31m way"}'
    )
    assert said_in(SimpleNamespace(content=b"<html>no</html>")) == ""
    assert len(said_in(SimpleNamespace(content=b"x" * 10_000))) == 200
    token = b"no: dato-api-0123abcd-0123-4567-89ab-0123456789ab!"
    assert said_in(SimpleNamespace(content=token)) == "no: <hidden>!"


# 7: planned = made


def five_each(box):
    "Let every stream have five jobs."
    box.jobs.clear()
    for id in box.streams:
        for n in range(5):
            box.service.state.process(
                id, date(2023, 1, 1) + timedelta(n), date(2023, 1, 1) + timedelta(n)
            )


def test_7_the_longest_page_is_kept_between_runs(box, capsys):
    five_each(box)
    dr = agency(box, verbose=True)
    dr.get_all_streams()
    dr.get_all_jobs()
    assert (
        "24 calls, up to 48" in capsys.readouterr().out
    )  # a page as long as the longest may go on
    for n in range(30):
        box.service.state.process(
            20001, date(2022, 1, 1) + timedelta(n), date(2022, 1, 1) + timedelta(n)
        )
    dr.get_all_jobs(streams=[20001])
    capsys.readouterr()
    again = agency(box, verbose=True)
    again.get_all_streams()
    box.log.clear()
    again.get_all_jobs(streams=[id for id in box.streams if id != 20001])
    assert len(posts(box, "/stats")) == 23 == again.plan.calls
    assert "up to" not in capsys.readouterr().out
    assert all(len(again.streams[id].jobs) == 5 for id in box.streams if id != 20001)


def test_7_a_look_at_many_streams_is_a_call_for_a_hundred(box):
    ids = api_streams(box, 16)
    box.quirks.add("stuck_jobs")
    dr = agency(box)
    dr.get_all_streams()
    dr.bulk_process_streams(ids, ["2024-01-01"] * 16, ["2024-01-02"] * 16)
    box.log.clear()
    assert dr.refresh_log() == 16
    assert len(box.log) <= 3 and {call.status for call in box.log} == {200}  # three workspaces


def test_7_following_ends_with_the_status_of_every_job(box):
    ids = api_streams(box, 8)
    dr = agency(box)
    dr.get_all_streams()
    dr.bulk_process_streams(ids, ["2024-01-01"] * 8, ["2024-01-31"] * 8)
    box.log.clear()
    frame = dr.follow()
    states = {id: job["status"].lower() for id, job in box.jobs.items()}
    assert frame["status"].tolist() == [states[id] for id in frame["job"]]
    assert len(posts(box, "/stats")) <= 2 * 8


def test_7_a_plan_counts_what_is_left(box):
    ids = api_streams(box, 5)
    failed_night(box, ids, ids[2])
    dr = agency(box)
    dr.bulk_process_streams(*month(ids))
    assert dr.plan.calls + dr.plan.looks == len(box.log) == 4
    assert re.match(r"<plan: 4 calls in", repr(dr.plan))


def test_7_a_plan_counts_the_looks_at_what_is_open(box):
    ids = api_streams(box, 3)
    box.fail("drop_after", f"/v1/data-streams/{ids[0]}/process")
    box.fail("forbidden", f"/v1/data-streams/api/{ids[0]}/stats", times=None)
    agency(box).bulk_process_streams(ids, ["2024-01-01"] * 3, ["2024-01-02"] * 3)
    box.heal()
    dr = agency(box)
    dr.bulk_process_streams(ids, ["2024-01-01"] * 3, ["2024-01-02"] * 3)
    assert (dr.plan.calls, dr.plan.looks) == (0, 1) and set(made(box).values()) == {1}


# 1: the same jobs in another form


FORMS = {
    "twenty days": lambda dr, ids: dr.bulk_process_streams(*month(ids), 20),
    "one range": lambda dr, ids: dr.bulk_process_streams(ids, start="2024-01-01", end="2024-01-31"),
    "groups": lambda dr, ids: dr.bulk_process_groups(*month(ids)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("is_bad", [False, True])
def test_1_the_same_jobs_in_another_form_are_not_made_again(box, form, is_bad):
    ids = api_streams(box, 3)
    if is_bad:
        failed_night(box, ids, ids[1])
    else:
        agency(box).bulk_process_streams(*month(ids))
    before = len(made(box))
    dr = agency(box)
    with pytest.raises(SettingsError) as e:
        FORMS[form](dr, ids)
    assert e.value.reason == "already_done" and "fresh=True" in str(e.value)
    assert not posts(box) and len(made(box)) == before == (8 if is_bad else 12)
    agency(box).bulk_process_streams(*month(ids), fresh=not is_bad)  # what it says to do
    assert set(made(box).values()) == ({1} if is_bad else {2})


def test_1_a_range_that_was_one_call_is_not_made_again_in_parts(box):
    ids = api_streams(box, 2)
    agency(box).process_stream_batch(ids, "2024-01-01", "2024-01-31")
    with pytest.raises(SettingsError) as e:
        agency(box).bulk_process_streams(*month(ids))
    assert e.value.reason == "already_done"
    assert len(made(box)) == 8 and set(made(box).values()) == {1}


def test_1_another_form_that_was_begun_with_fresh_goes_on(box):
    ids = api_streams(box, 3)
    agency(box).bulk_process_streams(*month(ids))
    box.fail("forbidden", f"/v1/data-streams/{ids[1]}/process", times=None)
    agency(box).bulk_process_streams(*month(ids), 20, fresh=True)
    box.heal()
    agency(box).bulk_process_streams(*month(ids), 20)
    assert {count for (stream, _, _), count in made(box).items() if stream != ids[1]} == {2}
    assert {count for (stream, _, _), count in made(box).items() if stream == ids[1]} == {2}


def test_1_a_range_that_grew_since_it_was_finished_is_new_work(box):
    ids = api_streams(box, 1)
    agency(box).process_stream_batch(ids, "2024-01-01", "2024-01-11")
    agency(box).process_stream_batch(ids, "2024-01-01", "2024-01-12")
    assert made(box)[ids[0], "2024-01-11", "2024-01-12"] == 1


def test_2_a_destination_that_is_no_ordinary_file_is_refused_before_the_first_call(box):
    ids = api_streams(box, 1)
    os.mkfifo("pipe.csv")
    dr = agency(box)
    for name in ("pipe.csv", Path.cwd()):
        with pytest.raises(DestinationError) as e:
            dr.bulk_process_streams(*month(ids), export=True, log_file=name)
        assert e.value.reason == "cannot_write"
    for name in ("a\0b.csv", "a\ud800.csv"):
        with pytest.raises(SettingsError) as e:
            dr.bulk_process_streams(*month(ids), export=True, log_file=name)
        assert e.value.reason == "bad_name"
        with pytest.raises(SettingsError) as e:
            dr.create_workspace_df(export=True, export_name=name)
        assert e.value.reason == "bad_name"
    assert not box.log


def test_6_the_last_days_of_the_calendar_can_be_processed(box):
    id = api_streams(box, 1)[0]
    agency(box).bulk_process_streams(id, "9999-12-20", "9999-12-31")
    assert {key[1:] for key in made(box)} == {
        ("9999-12-20", "9999-12-29"),
        ("9999-12-30", "9999-12-31"),
    }


def test_6_files_that_are_none_are_typed_errors(box):
    dr = agency(box)
    Path("latin.csv").write_bytes("id,field,value\n1,name,caf\u00e9\n".encode("latin-1"))
    for name in ("nowhere.csv", "latin.csv", "."):
        with pytest.raises(SettingsError) as e:
            dr.bulk_patch_from_csv(name)
        assert e.value.reason == "bad_table" and name in str(e.value)
    for folder in ("latin.csv", None, "a\0b"):
        with pytest.raises(DestinationError) as e:
            dr.download_stats([], folder)
        assert e.value.reason == "cannot_write"
    assert not box.log


def test_6_two_names_for_one_stream_are_refused_before_the_first_call(box):
    one, other = api_streams(box, 2)
    dr = agency(box)
    for names in (["a", "b", "a"], ["a", "a", "b"]):
        with pytest.raises(SettingsError) as e:
            dr.bulk_rename_streams([one, one, one], names)
        assert e.value.reason == "twice" and str(one) in str(e.value)
    assert not box.log
    frame = dr.bulk_rename_streams([one, other, one], ["a", "b", "a"], export=False)
    assert len(frame) == 2 and box.streams[one]["name"] == "a"


def test_1_two_ranges_of_one_call_with_the_same_job_are_refused(box):
    id = api_streams(box, 1)[0]
    dr = agency(box)
    with pytest.raises(SettingsError) as e:
        dr.bulk_process_groups([id, id], ["2024-01-01", "2024-01-11"], ["2024-01-31"] * 2)
    assert e.value.reason == "twice" and not box.log
    dr.bulk_process_streams([id, id], ["2024-01-01", "2024-01-11"], ["2024-01-31"] * 2)
    assert len(made(box)) == 4 and set(made(box).values()) == {1}


HEADER = "workspace,stream,job,job_type,start,end,status,exec_start,exec_end,reason,http,error\n"


def test_2_what_export_would_stumble_over_is_seen_before_the_first_call(box):
    ids, dr = api_streams(box, 1), agency(box)
    Path("long row.csv").write_text(HEADER + ",".join("1234567890abcd") + "\n")
    for name, reason in (("long row.csv", "other_columns"), ("x" * 247 + ".csv", "cannot_write")):
        with pytest.raises(DestinationError) as e:
            dr.bulk_process_streams(*month(ids), export=True, log_file=name)
        assert e.value.reason == reason
    assert not box.log


def test_2_a_log_that_excel_has_saved_is_added_to(box):
    ids = api_streams(box, 1)
    Path("log.csv").write_text(HEADER, encoding="utf-8-sig")
    agency(box).bulk_process_streams(*month(ids), export=True, log_file="log.csv")
    with open("log.csv", newline="") as file:
        assert [row["stream"] for row in csv.DictReader(file)] == [str(ids[0])] * 4


def test_9_an_agency_says_what_it_has_read(box):
    dr = agency(box)
    assert "3 workspaces, 0 streams" in repr(dr)
    dr.get_all_streams()
    assert "3 workspaces, 24 streams" in repr(dr)
    assert repr(datorama.__new__(datorama)) == "<datorama that was not read yet>"


def test_1_what_is_new_is_not_made_a_second_time(box):
    dr = agency(box)
    changes = dr.plan_changes("workspaces", [{"name": "Only One"}])
    made = dr.make_changes(changes)
    assert made["state"].tolist() == ["ok"]
    for again in (dr, agency(box)):
        with pytest.raises(SettingsError) as e:
            again.make_changes(changes)
        assert e.value.reason == "already_done"
    found = [one.id for one in agency(box).workspaces.values() if one.fields["name"] == "Only One"]
    assert len(found) == 1 and made["id"].tolist() == found


# the next run after an outcome that nobody knows


CALLS = {
    "bulk": lambda dr, ids: dr.bulk_process_streams(ids, ["2024-01-01"] * 2, ["2024-01-10"] * 2),
    "groups": lambda dr, ids: dr.bulk_process_groups(ids, ["2024-01-01"] * 2, ["2024-01-10"] * 2),
    "batch": lambda dr, ids: dr.process_stream_batch(ids, "2024-01-01", "2024-01-10"),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("fault, is_made", [("drop_after", True), ("drop", False)])
@pytest.mark.parametrize("form", CALLS)
def test_the_next_run_finds_out_what_became_of_it(box, form, fault, is_made):
    "As long as nobody can look, nothing is sent; when somebody can, what is missing is sent once."
    ids = first_workspace(box, 2)
    box.fail(fault, "/v1/data-streams/process")
    box.fail(fault, f"/v1/data-streams/{ids[0]}/process")
    for id in ids:
        box.fail("forbidden", f"/v1/data-streams/api/{id}/stats", times=None)
    first = CALLS[form](agency(box), ids)
    unknown = first[first["status"] == "error"]
    assert {*unknown["reason"]} == {"unknown_outcome"} and ids[0] in [*unknown["stream"]]
    jobs = {job["id"] for job in box.jobs.values() if job["dataStreamId"] == ids[0]}
    assert made(box)[ids[0], "2024-01-01", "2024-01-10"] == is_made
    blind = CALLS[form](agency(box), ids)
    assert [*blind["status"]].count("error") == len(unknown)  # who may not look is told why
    assert not posts(box)
    box.heal()
    last = CALLS[form](agency(box), ids)
    assert last["status"].tolist() == ["queued", "queued"]
    assert {(id, "2024-01-01", "2024-01-10"): 1 for id in ids} == made(box)
    assert bool(posts(box)) != is_made
    found = last["job"][last["stream"] == ids[0]].tolist()
    assert found == [max(job["id"] for job in box.jobs.values() if job["dataStreamId"] == ids[0])]
    assert (found[0] in jobs) == is_made


def test_what_nobody_knows_yet_is_something_to_look_at_later(box):
    "A run that ends before it can look says 75, and not that the data is wrong."
    ids = first_workspace(box, 2)
    for id in ids:
        box.fail("drop", f"/v1/data-streams/{id}/process")
        box.fail("forbidden", f"/v1/data-streams/api/{id}/stats", times=None)
    first = CALLS["bulk"](agency(box), ids)
    assert first["reason"].tolist() == ["unknown_outcome"] * 2
    box.heal()
    dr = agency(box, overnight=False)
    box.fail("day_limited", times=None)
    with pytest.raises(RetryLaterError) as caught:
        CALLS["bulk"](dr, ids)
    assert caught.value.reason == "day_used_up"
    assert [type(error) for error in dr.failed.values()] == [RetryLaterError] * 2
    assert dr.exit_code == 75


OTHER_PROGRAM = """
import os, sys
from domostats.clients.datorama import datorama
from domostats.instances import Instance
url, *ids = sys.argv[1:]
dr = datorama(os.environ["TOKEN"], instance=Instance("datorama", url), pause=0)
dr.bulk_process_streams([*map(int, ids)], ["2024-01-01"] * len(ids), ["2024-01-10"] * len(ids))
"""


def test_a_program_that_is_killed_leaves_its_work_to_the_next_one(box):
    "While it runs, no other program does the same; when it is dead, the next does what is left."
    ids = first_workspace(box, 3)
    path = f"/v1/data-streams/{ids[1]}/process"
    box.fail("slow", path, seconds=300)  # it is done at once, and nobody hears of it
    child = subprocess.Popen(
        [sys.executable, "-c", OTHER_PROGRAM, box.url, *map(str, ids)],
        env={**os.environ, "TOKEN": box.api_token.reveal()},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for _ in range(1200):
            if any(call.path == path for call in [*box.log]) or child.poll() is not None:
                break
            time.sleep(0.05)
        assert child.poll() is None, child.stderr.read()
        dr = agency(box)
        with pytest.raises(SettingsError) as refused:
            CALLS["bulk"](dr, ids[1:])
        assert refused.value.reason == "already_running" and not box.log
        assert len(made(box)) == 2
    finally:
        child.kill()
        child.communicate()
    box.heal()
    frame = CALLS["bulk"](agency(box), ids[1:])
    assert frame["status"].tolist() == ["queued", "queued"]
    assert [call.path.split("/")[3] for call in posts(box)] == [str(ids[2])]
    assert {(id, "2024-01-01", "2024-01-10"): 1 for id in ids} == made(box)


@pytest.mark.parametrize("left", [1, 20, 60])
def test_the_last_line_of_an_old_record_may_be_cut_anywhere(box, left):
    "Wherever the program died in writing that something was sent, it is not sent again."
    ids = first_workspace(box, 2)
    days = date(2024, 1, 1), date(2024, 1, 5)
    since = box.clock.now()
    for id in ids:
        box.service.state.process(id, *days)
    lines = [
        json.dumps([f"{id} {days[0]} {days[1]}", "begun", {"after": 700_000, "since": since}])
        for id in ids
    ]
    old_record(box, [lines[0], lines[1][:left]])
    dr = session(box, {"joe": box.tokens["joe"]})
    frame = dr.bulk_process_streams(ids, [days[0]] * 2, [days[1]] * 2)
    assert len(made(box)) == 2 and set(made(box).values()) == {1}
    assert not posts(box) and set(frame["status"]) == {"queued"}


def test_what_is_restored_is_looked_at_without_a_call(box):
    "A restored agency answers from its files: lists, tables, and that a call is finished."
    dr = agency(box)
    ids = first_workspace(box, 2)
    dr.get_all_streams()
    for id in ids:
        dr.streams[id].get_stream_runs()
    CALLS["bulk"](dr, ids)
    names = {id: stream.fields["name"] for id, stream in dr.streams.items()}
    box.log.clear()
    again = session(
        box, box.api_token, restore_spaces=True, restore_streams=True, restore_jobs=True
    )
    assert {id: stream.fields["name"] for id, stream in again.streams.items()} == names
    assert again.streams[ids[0]].jobs and len(again.workspaces) == len(box.workspaces)
    with pytest.raises(SettingsError) as refused:
        CALLS["bulk"](again, ids)
    assert refused.value.reason == "already_done"
    assert not box.log
