"""What users hand to the Datorama client: taken as it is meant, or refused with a reason before
the first call."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
from datorama_support import api_streams, outcome, reset, shared_sandbox

from domostats.clients.datorama import datorama


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with shared_sandbox(tmp_path_factory, streams=12) as box:
        yield box


@pytest.fixture
def box(running):
    return reset(running)


@pytest.fixture
def dr(box):
    made = datorama(box.api_token, instance=box, pause=0)
    made.get_all_streams()
    box.log.clear()
    return made


def bodies(box, ending):
    return [json.loads(call.body) for call in box.log if call.path.endswith(ending)]


# names and values


@pytest.mark.parametrize(
    "name", [None, float("nan"), np.float64("nan"), pd.NA, pd.NaT, "", "  ", 7, b"x", "\ud800"]
)
def test_a_hole_among_names_renames_nothing(box, dr, name):
    before = {id: one["name"] for id, one in box.streams.items()}
    first, second = api_streams(box, 2)
    told = outcome(dr.bulk_rename_streams, [first, second], ["Good", name], export=False)
    assert isinstance(told, str) and told == "bad_name"
    assert {id: one["name"] for id, one in box.streams.items()} == before and not box.log


@pytest.mark.parametrize(
    "params, reason",
    [
        ({"name": None}, "bad_name"),
        ({"name": ""}, "bad_name"),
        ({"customAttribute1": float("nan")}, "bad_value"),
        ({"customAttribute1": pd.NaT}, "bad_value"),
        ({"customAttribute1": {"deep": pd.NA}}, "bad_value"),
        ({"customAttribute1": object()}, "bad_value"),
        ({7: "x"}, "bad_name"),
        ({}, "bad_fields"),
        (None, "bad_fields"),
        ("name", "bad_fields"),
    ],
)
def test_what_cannot_be_a_change_is_refused_wherever_it_is_given(box, dr, params, reason):
    stream, workspace = dr.streams[20001], dr.workspaces[1001]
    told = [
        outcome(what, params)
        for what in (stream.patch, stream.update_stream, workspace.patch, workspace.create_stream)
    ]
    told.append(outcome(dr.bulk_patch_streams, [20001, 20004], [{"name": "Good"}, params]))
    assert [one if isinstance(one, str) else "done" for one in told] == [reason] * 5
    assert not box.log


def test_values_of_numpy_and_pandas_arrive_as_plain_ones(box, dr):
    given = {
        "enabled": np.bool_(False),
        "retrievalPeriodHour": np.int64(4),
        "customAttribute1": np.str_("blue"),
        "customAttribute2": pd.Timestamp("2024-02-03"),
        "customAttribute3": None,
    }
    told = outcome(dr.streams[20001].patch, given)
    assert not isinstance(told, str), told
    assert bodies(box, "/20001") == [
        {
            "enabled": False,
            "retrievalPeriodHour": 4,
            "customAttribute1": "blue",
            "customAttribute2": "2024-02-03T00:00:00",
            "customAttribute3": None,
        }
    ]


def test_a_stream_without_a_name_is_not_made(box, dr):
    told = [outcome(dr.workspaces[1001].create_stream, one) for one in ({"enabled": True}, {})]
    assert told == ["bad_name", "bad_fields"] and not box.log
    assert outcome(dr.create_workspace, {"accountId": 9001}) == "bad_name" and not box.log


# ids


@pytest.mark.parametrize(
    "given", [1001, "1001", 1001.0, np.int64(1001), {1001: "x"}, {1001}, (1001,)]
)
def test_one_id_is_a_list_of_one(box, dr, given):
    told = outcome(dr.get_all_streams, workspaces=given)
    own = {id for id, one in box.streams.items() if one["workspaceId"] == 1001}
    assert not isinstance(told, str) and told.keys() == own and len(box.log) == 1


def test_objects_and_columns_are_ids_too(box, dr):
    stream = dr.streams[20001]
    for given in (
        stream,
        [stream],
        pd.Series([20001]),
        np.array([20001]),
        iter([20001]),
        dr.stream_of(20001),
    ):
        told = outcome(dr.get_all_jobs, streams=given)
        assert not isinstance(told, str) and {job.stream.id for job in told.values()} == {20001}


@pytest.mark.parametrize(
    "given, reason",
    [
        (pd.NaT, "bad_list"),
        ([20001, float("nan")], "bad_id"),
        ([20001, None], "bad_id"),
        ([np.True_], "bad_id"),
        ([1.5], "bad_id"),
        (["²"], "bad_id"),
        ("x", "bad_id"),
        (np.array([[20001]]), "bad_list"),
    ],
)
def test_what_is_no_id_is_refused_before_the_first_call(box, dr, given, reason):
    days = ["2024-01-01"] * 2, ["2024-01-02"] * 2
    told = [
        outcome(dr.get_all_jobs, streams=given),
        outcome(dr.bulk_process_streams, given, *days),
        outcome(dr.process_stream_batch, given, "2024-01-01", "2024-01-02"),
        outcome(dr.rerun_all, given),
        outcome(dr.rerun_batch, given, [1, 2]),
        outcome(dr.rerun_batch, [1, 2], given),
        outcome(dr.bulk_rename_streams, given, ["One", "Two"]),
        outcome(dr.streams[20001].rerun_job_batch, given),
    ]
    assert [one if isinstance(one, str) else "done" for one in told] == [reason] * 8
    assert not box.log


# subsets


def test_a_subset_gives_the_subset(box, dr):
    own = {id for id, one in box.streams.items() if one["workspaceId"] == 1001}
    assert dr.get_all_streams(workspaces=[1001]).keys() == own
    frame = dr.get_all_streams(create_df=True, workspaces=[1001])
    assert set(frame["workspaceId"]) == {1001} and len(frame) == len(own)
    dr.get_all_jobs()
    assert {job.stream.id for job in dr.get_all_jobs(streams=[20001]).values()} == {20001}
    assert set(dr.get_all_jobs(create_df=True, streams=[20001])["streamId"]) == {20001}
    assert len(dr.jobs) == len(box.jobs) and len(dr.streams) == 12


# days


def test_a_hole_is_no_day(box, dr):
    stream, hole = dr.streams[20001], pd.NaT
    told = [
        outcome(stream.process, hole, "2024-01-02"),
        outcome(stream.process, "2024-01-01", np.datetime64("NaT")),
        outcome(dr.bulk_process_streams, [20001], [hole], ["2024-01-02"]),
        outcome(dr.bulk_process_streams, [20001], pd.Series([hole]), ["2024-01-02"]),
        outcome(dr.bulk_process_groups, [20001], [hole], ["2024-01-02"]),
        outcome(dr.workspaces[1001].query, ["Clicks"], ["Day"], hole),
    ]
    assert [one if isinstance(one, str) else "done" for one in told] == ["bad_date"] * 6
    assert not box.log


def test_days_of_numpy_and_pandas_are_days(box, dr):
    start, end = np.datetime64("2024-01-01"), np.datetime64("2024-01-03", "ns")
    made = outcome(dr.streams[20001].process, start, end)
    assert not isinstance(made, str), made
    assert [(one.dataStartDate, one.dataEndDate) for one in made] == [("2024-01-01", "2024-01-03")]
    days = pd.to_datetime(pd.Series(["2024-02-01", "2024-02-05"]))
    frame = outcome(dr.bulk_process_streams, pd.Series([20001, 20004]), days, days.to_numpy())
    assert not isinstance(frame, str), frame
    assert frame["start"].tolist() == ["2024-02-01", "2024-02-05"]


# the third way


def test_the_third_way_takes_its_keywords(box, dr):
    ids = api_streams(box, 3)
    told = outcome(dr.bulk_process_streams, ids, start="2024-01-01", end="2024-01-25")
    assert not isinstance(told, str), told
    assert bodies(box, "/process") == [
        {"dataStreamIds": ids, "startDate": "2024-01-01", "endDate": "2024-01-25", "create": False}
    ]
    assert len(told) == 9 and set(told["job_type"]) == {"batch_processing"}


def test_the_third_way_is_cut_only_if_somebody_says_so(box, dr):
    ids = api_streams(box, 2)
    told = outcome(dr.bulk_process_streams, ids, "2024-01-01", "2024-01-12", d_range=5)
    assert [(one["startDate"], one["endDate"]) for one in bodies(box, "/process")] == [
        ("2024-01-01", "2024-01-05"),
        ("2024-01-06", "2024-01-10"),
        ("2024-01-11", "2024-01-12"),
    ]
    assert len(told) == 6


def test_the_third_way_begins_anew_if_it_is_told_to(box, dr):
    box.fail("forbidden", "/v1/data-streams/process")
    days = {"start": "2024-01-01", "end": "2024-01-05"}
    ids, before = api_streams(box, 2), len(box.jobs)
    outcome(dr.bulk_process_streams, ids, **days)
    assert len(box.jobs) == before
    for number in (1, 2):
        told = outcome(dr.bulk_process_streams, ids, **days, fresh=True)
        assert not isinstance(told, str) and len(box.jobs) - before == 2 * number


def test_one_stream_one_range(box, dr):
    told = outcome(dr.bulk_process_streams, 20001, "2024-01-01", "2024-01-05")
    assert not isinstance(told, str) and told["stream"].tolist() == [20001]
    told = outcome(dr.bulk_process_streams, 20004, ["2024-01-01"], ["2024-01-05"])
    assert not isinstance(told, str) and told["job_type"].tolist() == ["process"]


@pytest.mark.parametrize(
    "days, reason",
    [
        ({}, "no_days"),
        ({"start": "2024-01-01"}, "no_days"),
        ({"start": "2024-01-05", "end": "2024-01-01"}, "reversed_range"),
        ({"start": "2024-01-01", "ends": ["2024-01-02"]}, "unequal_lengths"),
        ({"starts": ["2024-01-01"], "start": "2024-01-01", "end": "2024-01-02"}, "two_ways"),
        ({"start": "2024-01-01", "end": "2024-01-02", "d_range": 0}, "bad_size"),
    ],
)
def test_days_that_do_not_go_together_are_refused(box, dr, days, reason):
    told = outcome(dr.bulk_process_streams, [20001], **days)
    assert (told if isinstance(told, str) else "done") == reason and not box.log


# files


@pytest.mark.parametrize("name", ["week", "week.txt", "week.log", "week.csv"])
def test_a_log_is_added_to_whatever_its_name(box, dr, tmp_path, name):
    for day in ("2024-01-01", "2024-01-02"):
        dr.bulk_process_streams([20001], [day], [day], export=True, log_file=str(tmp_path / name))
    made = [path.name for path in tmp_path.iterdir() if path.name.startswith("week")]
    assert made == [name]
    with open(tmp_path / name, newline="") as file:
        assert [row["start"] for row in csv.DictReader(file)] == ["2024-01-01", "2024-01-02"]


# what is known afterwards


def test_a_patch_is_known_to_the_next_program(box, dr):
    dr.streams[20001].patch({"name": "New"})
    dr.streams[20004].update_stream({"name": "Newer"})
    dr.bulk_rename_streams([20007], ["Newest"], export=False)
    made = dr.workspaces[1001].create_stream({"name": "Made"})
    dr.streams[20010].delete(sure=True)
    dr.workspaces[1001].patch({"name": "A client"})
    box.log.clear()
    again = datorama(
        box.api_token, instance=box, pause=0, restore_spaces=True, restore_streams=True
    )
    names = {id: again.streams[id].name for id in (20001, 20004, 20007) if id in again.streams}
    assert names == {20001: "New", 20004: "Newer", 20007: "Newest"}
    assert made.id in again.streams and 20010 not in again.streams
    assert again.workspaces[1001].name == "A client" and not box.log


def test_a_mapping_changes_the_configuration_that_repeats_it(box, dr):
    stream = dr.streams[20001]
    stream.update_mapping({"SITE": {"source": "site"}})
    assert stream.config["mapping"] == [{"field": "SITE", "source": "site"}]


def test_dimensions_of_all_workspaces(box, dr):
    told = outcome(lambda: dr.get_all_dimensions())
    assert not isinstance(told, str), told
    assert told.keys() == box.workspaces.keys()
    assert {name for one in told.values() for name in one} == {
        "DAY",
        "CAMPAIGN_KEY",
        "CAMPAIGN_NAME",
        "SITE_NAME",
        "DATA_STREAM_NAME",
    }
    assert dr.workspaces[1001].dimensions == told[1001] and len(box.log) == 3
    assert dr.get_all_dimensions(1008).keys() == {1008}


# tokens


def test_a_list_of_tokens_works_and_counts_as_one_user(box):
    tokens = [box.tokens["ada"][0], box.tokens["bob"][0]]
    told = outcome(datorama, tokens, instance=box, pause=0)
    assert not isinstance(told, str), told
    assert told.workspaces.keys() == box.workspaces.keys()
    assert len({one.place for one in told.connection.connections}) == 1


@pytest.mark.parametrize(
    "tokens, reason",
    [
        ([], "no_tokens"),
        ({}, "no_tokens"),
        ({"ada": []}, "no_tokens"),
        ([None], "malformed_secret"),
        ({"ada": None}, "malformed_secret"),
        ([""], "malformed_secret"),
        ({"ada": ["a b"]}, "malformed_secret"),
    ],
)
def test_what_is_no_token_is_refused_without_a_call(box, tokens, reason):
    box.log.clear()
    told = outcome(datorama, tokens, instance=box)
    assert (told if isinstance(told, str) else "done") == reason and not box.log
