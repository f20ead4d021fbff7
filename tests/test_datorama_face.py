"""What people see of the Datorama client: its names, its tables, and what it does when one of
several users or workspaces is lost."""

import csv
import inspect
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from datorama_support import outcome, reset, shared_sandbox

from domostats.clients.datorama import datorama
from domostats.clients.datorama.one_stream import Job, Stream
from domostats.clients.datorama.one_workspace import Workspace
from domostats.transport.announced import AnnouncedBudget
from domostats.transport.clock import FakeClock
from domostats.transport.pool import Pool


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with shared_sandbox(tmp_path_factory, streams=24, users=3) as box:
        yield box


@pytest.fixture
def box(running):
    service, tokens = running.service, {name: [*some] for name, some in running.tokens.items()}
    seen = {name: [*some] for name, some in service.users.seen.items()}
    yield reset(running)
    running.tokens.update(tokens)
    service.users.seen.update(seen)


@pytest.fixture
def dr(box):
    made = open_agency(box)
    made.get_all_streams()
    box.log.clear()
    return made


def open_agency(box, token=None, **how):
    made = datorama(token or box.api_token, instance=box, **{"pause": 0, **how})
    made.connection.go_by(box.clock)
    box.log.clear()
    return made


def rows_of(path):
    with open(path, newline="") as file:
        return [*csv.DictReader(file)]


# names

AGENCY = [
    "workspaces",
    "streams",
    "jobs",
    "connection",
    "get_workspaces",
    "get_all_streams",
    "get_all_jobs",
    "get_all_jobs_meta",
    "get_all_dimensions",
    "bulk_process_streams",
    "process_stream_batch",
    "rerun_batch",
    "bulk_rerun_jobs",
    "rerun_all",
    "bulk_rename_streams",
    "create_stream_df",
    "create_jobs_df",
    "create_job_log_df",
    "download_stats",
    "verbose",
    "create_workspace_df",
    "workspace_table",
    "stream_table",
    "job_table",
    "stream_of",
    "bulk_process_groups",
    "bulk_patch_streams",
    "bulk_patch_from_csv",
    "refresh_log",
    "follow",
    "query_batch",
    "get_users",
    "get_permission_sets",
    "plan_changes",
    "make_changes",
    "deactivate_user",
    "create_workspace",
    "log",
    "updates",
    "plan",
    "timer",
    "failed",
    "exit_code",
    "not_restored",
    "read_at",
    "patience",
]
WORKSPACE = [
    "fields",
    "agency",
    "connection",
    "streams",
    "read_at",
    "throttle",
    "queue_max",
    "full",
    "dimensions",
    "measurements",
    "patterns",
    "harmonized_dimensions",
    "calculated_measurements",
    "get_streams",
    "get_dimensions",
    "get_measurements",
    "get_patterns",
    "get_harmonized_dimensions",
    "get_calculated_measurements",
    "query",
    "get_reports",
    "create_report",
    "export",
    "create_pattern",
    "create_calculated_measurement",
    "create_stream",
    "patch",
    "delete",
]
STREAM = [
    "fields",
    "workspace",
    "connection",
    "jobs",
    "mapping",
    "read_at",
    "is_uploaded",
    "get_stream_runs",
    "process",
    "rerun_job_batch",
    "rerun_all_jobs",
    "patch",
    "update_stream",
    "enable",
    "disable",
    "delete",
    "get_mapping",
    "update_mapping",
]
JOB = ["fields", "stream", "workspace", "is_done", "rerun", "download"]


def public(thing):
    return {name for name in {*dir(type(thing)), *vars(thing)} if not name.startswith("_")}


def test_the_names_of_an_agency_and_of_what_is_in_it(dr):
    stream = dr.streams[20001]
    job = next(iter(stream.get_stream_runs().values()))
    assert public(dr) == {*AGENCY}
    assert public(stream.workspace) == {*WORKSPACE}
    assert public(stream) == {*STREAM}
    assert public(job) == {*JOB}


def test_every_name_of_an_agency_stands_in_its_page():
    page = (Path(__file__).parent.parent / "nbs/03_clients/datorama/28_client.ipynb").read_text()
    assert [name for name in AGENCY if f"`{name}`" not in page] == []


def test_every_public_name_has_words():
    bare = [
        f"{kind.__name__}.{name}"
        for kind in (datorama, Workspace, Stream, Job)
        for name, one in inspect.getmembers(kind)
        if not name.startswith("_") and not inspect.getdoc(one)
    ]
    assert bare == []


def test_a_class_is_whole():
    "Nothing but the fields of the service stands above them."
    assert [len(kind.__mro__) for kind in (datorama, Workspace, Stream, Job)] == [2, 3, 3, 3]


def test_the_constructor_is_that_of_the_document():
    given = inspect.signature(datorama).parameters
    assert [*given][:6] == [
        "api_token",
        "verbose",
        "pause",
        "restore_spaces",
        "restore_streams",
        "restore_jobs",
    ]
    assert {name: one.default for name, one in given.items()} == {
        "api_token": None,
        "verbose": False,
        "pause": 0.1,
        "restore_spaces": False,
        "restore_streams": False,
        "restore_jobs": False,
        "instance": "datorama-us",
        "overnight": True,
    }


def test_a_sandbox_brings_its_clock(box):
    made = datorama(box.api_token, instance=box, pause=0)
    assert made.connection.clock is box.clock


def test_the_pause_is_the_one_that_was_given_last(box):
    for pause in (3, 0, 2):
        made = datorama(box.api_token, instance=box, pause=pause)
        assert {one.gap for one in made.connection.budget.kinds.values()} == {pause}


# tables


def test_tables_go_into_files(dr, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dr.get_all_jobs()
    dr.streams[20001].process("2024-01-01", "2024-01-02")
    told = outcome(lambda: [make(export=True) for make in (
        dr.create_workspace_df, dr.create_stream_df, dr.create_jobs_df, dr.create_job_log_df
    )])  # fmt: skip
    assert not isinstance(told, str), told
    names = [
        "Datorama Workspace Meta Data.csv",
        "Datorama Stream Meta Data.csv",
        "Datorama Job Run Data.csv",
        "job_log.csv",
    ]
    assert sorted(path.name for path in tmp_path.glob("*.csv")) == sorted(names)
    assert [len(rows_of(name)) for name in names] == [len(frame) for frame in told]
    assert [len(frame) for frame in told] == [3, 24, len(dr.jobs), 1]
    assert "processLog" in told[2].columns and "processLog" not in rows_of(names[2])[0]
    assert {"workspaceId", "streamId", "dataSourceName"} <= {*rows_of(names[2])[0]}


def test_a_table_has_the_fields_that_were_asked_for(dr, tmp_path):
    path = tmp_path / "some.csv"
    told = outcome(lambda: dr.create_stream_df(True, str(path), fields=["name", "id"]))
    assert not isinstance(told, str), told
    assert [*told.columns] == ["name", "id"] == [*rows_of(path)[0]]
    assert outcome(dr.create_stream_df, fields=["nothing"]) == "unknown_field"
    assert outcome(dr.create_stream_df, True, str(tmp_path / "nowhere" / "x.csv")) == "cannot_write"


# jobs


def test_the_newest_jobs_and_those_since_a_day(box, dr):
    for id in [id for id, job in box.jobs.items() if job["dataStreamId"] == 20001]:
        del box.jobs[id]
    noon = datetime(2024, 3, 1, 12, tzinfo=timezone.utc)
    for n in range(5):
        made = {"id": 650_000 + n, "dataStreamId": 20001, "status": "SUCCESS"}
        days = {"dataStartDate": "2024-01-01", "dataEndDate": "2024-01-02"}
        begun = round((noon + timedelta(n)).timestamp() * 1000)
        box.jobs[made["id"]] = {**made, **days, "startExecutionTime": begun}
    box.jobs[650_009] = {**box.jobs[650_000], "id": 650_009, "startExecutionTime": None}
    stream = dr.streams[20001]
    told = [
        outcome(stream.get_stream_runs, newest=2),
        outcome(stream.get_stream_runs, since="2024-03-04"),
        outcome(stream.get_stream_runs, since="2024-03-02", newest=3),
        outcome(dr.get_all_jobs, streams=20001, newest=1),
    ]
    assert [one if isinstance(one, str) else [*one] for one in told] == [
        [650_004, 650_009],
        [650_003, 650_004, 650_009],
        [650_003, 650_004, 650_009],
        [650_009],
    ]
    assert len(stream.jobs) == 6
    assert [
        outcome(stream.get_stream_runs, **how) for how in ({"newest": -1}, {"since": "May"})
    ] == [
        "bad_size",
        "bad_date",
    ]


@pytest.mark.parametrize("how", [{"pgSize": 0}, {"pgSize": "ten"}, {"pgNum": 0}, {"pgNum": None}])
def test_pages_are_counted_from_one(box, dr, how):
    assert outcome(dr.streams[20001].get_stream_runs, **how) == "bad_size" and not box.log


def test_part_of_a_list_says_that_it_is_one(box, dr):
    stream = dr.streams[20001]
    for _n in range(12):
        box.service.state.process(20001, datetime(2024, 1, 1).date(), datetime(2024, 1, 1).date())
    before = {*stream.get_stream_runs()}
    box.fail("server_error", "/v1/data-streams/api/20001/stats", after=1, times=None)
    with pytest.raises(Exception) as caught:
        stream.get_stream_runs(pgSize=5)
    assert "partial" in str(caught.value) and {*stream.jobs} == before


def test_what_is_there_is_not_brought_again(box, dr, tmp_path):
    dr.get_all_jobs()
    jobs = [job.id for job in dr.jobs.values() if job.status == "SUCCESS"][:3]
    dr.download_stats(jobs, tmp_path)
    box.log.clear()
    told = outcome(dr.download_stats, jobs, tmp_path, skip_existing=True)
    assert not isinstance(told, str), told
    assert all(told[id].is_file() for id in jobs) and not box.log
    told[jobs[0]].unlink()
    dr.download_stats(jobs, tmp_path, skip_existing=True)
    assert len(box.log) == 1 and told[jobs[0]].is_file()
    dr.download_stats(jobs, tmp_path)
    assert len(box.log) == 4


def test_what_was_restored_has_an_age(box, dr, capsys):
    dr.streams[20001].get_stream_runs()
    again = open_agency(
        box, restore_spaces=True, restore_streams=True, restore_jobs=True, verbose=True
    )
    moments = [
        getattr(one, "read_at", None)
        for one in (again, again.workspaces[1001], again.streams[20001])
    ]
    now = datetime.now(timezone.utc)
    assert [
        one is not None and timedelta() <= now - one < timedelta(hours=1) for one in moments
    ] == [
        True,
        True,
        True,
    ]
    assert again.streams[20004].read_at is None
    assert "ago" in capsys.readouterr().out


# several users


def test_a_dead_token_is_left_out_at_the_start(box):
    box.tokens["ada"].pop(0)
    dead = "dato-api-00000000000000000000000000000000"
    told = outcome(open_agency, box, {"ada": dead, "bob": box.tokens["bob"][0]})
    assert not isinstance(told, str), told
    assert told.workspaces.keys() == {1001, 1008}
    told.get_all_streams()
    assert {call.user for call in box.log} == {"bob"}
    assert [one.auth.user for one in told.connection.dropped] == ["ada"]


def test_the_next_token_of_a_user_takes_the_place_of_a_dead_one(box):
    dead = "dato-api-11111111111111111111111111111111"
    told = outcome(open_agency, box, {"ada": [dead, box.tokens["ada"][1]]})
    assert not isinstance(told, str), told
    assert told.workspaces.keys() == box.workspaces.keys()


def test_without_any_token_left_the_refusal_is_the_error(box):
    tokens = {"ada": f"dato-api-{'2' * 32}", "bob": f"dato-api-{'3' * 32}"}
    assert outcome(open_agency, box, tokens) == "bad_token"


def test_a_token_that_dies_on_the_way_is_dropped(box):
    dr = open_agency(box, {"ada": box.tokens["ada"], "bob": box.tokens["bob"]})
    dr.get_all_streams()
    hidden = max(box.workspaces)
    box.tokens["ada"].clear()
    box.log.clear()
    ids = [id for id, one in box.streams.items() if one["workspaceId"] != hidden][:6]
    api = [id for id in ids if box.streams[id]["dataSourceName"] != "TotalConnect"]
    frame = outcome(
        dr.bulk_process_streams, api, ["2024-01-01"] * len(api), ["2024-01-02"] * len(api)
    )
    assert not isinstance(frame, str), frame
    assert set(frame["status"]) == {"queued"} and len(frame) == len(api)
    made = [job for job in box.jobs.values() if job["id"] >= 700_001]
    assert len(made) == len(api) and all(job["userId"] == 502 for job in made)
    assert sum(call.status == 401 for call in box.log) <= 2  # one for each of her tokens
    assert outcome(dr.workspaces[hidden].get_streams) == "no_user_left"
    box.tokens["bob"].clear()
    assert outcome(dr.workspaces[1001].get_streams) == "bad_token"


def test_a_workspace_that_is_refused_does_not_end_the_others(box, dr):
    box.fail("forbidden", "/v1/workspaces/1008/", times=None)
    told = outcome(dr.get_all_streams)
    assert not isinstance(told, str), told
    assert {dr.streams[id].workspaceId for id in told} == {1001, 1008, 1015}
    assert [*dr.failed] == [1008] and dr.failed[1008].reason == "forbidden"
    told = outcome(lambda: dr.get_all_dimensions())
    assert {*told} == {1001, 1015} and [*dr.failed] == [1008]
    assert dr.exit_code == 5


def test_what_failed_before_is_no_failure_of_the_next_call(box, dr):
    box.fail("forbidden", "/v1/workspaces/1008/", times=None)
    dr.get_all_streams()
    assert [*dr.failed] == [1008] and dr.exit_code == 5
    box.heal()
    dr.get_all_streams()
    assert dr.failed == {} and dr.exit_code == 0


def test_a_refused_token_ends_a_reading_at_once(box, dr):
    box.tokens["ada"].clear()
    told = outcome(dr.get_all_jobs)
    assert told == "bad_token" and len(box.log) <= 20
    box.log.clear()
    assert outcome(dr.get_all_streams) == "bad_token" and len(box.log) == 1


def test_two_users_need_half_the_time(tmp_path):
    "30 000 calls: 120 a minute, and neither of the two days is used up."

    class Way:
        instance, auth = "example", type("Auth", (), {"retry": lambda self: None})()

        def __init__(self, user):
            self.place = user
            kinds = {"platform": 60}
            self.budget = AnnouncedBudget(
                user,
                kinds,
                20_000,
                lambda request: "platform",
                dict,
                folder=tmp_path,
                clock=FakeClock(),
            )

    ada, bob = Way("ada"), Way("bob")
    budget = Pool([ada, bob]).budget
    assert round(ada.budget.estimate(30_000) / 60) == 1607
    assert 248 <= budget.estimate(30_000) / 60 <= 250
    assert (budget.per_day, budget.left) == (40_000, 40_000)
    assert Pool([ada, Way("ada")]).budget.per_day == 20_000  # two tokens of one user


def test_late_in_the_day_what_is_left_cannot_all_be_used(tmp_path):
    """At 20:00 there are 20 000 calls left, and time for 14 400 of them; 25 000 take 417 minutes
    whatever the day."""
    clock = FakeClock(1_704_067_200 + 20 * 3600)
    budget = AnnouncedBudget(
        "ada",
        {"platform": 60},
        20_000,
        lambda request: "platform",
        dict,
        folder=tmp_path,
        clock=clock,
    )
    assert 415 <= budget.estimate(25_000) / 60 <= 418
