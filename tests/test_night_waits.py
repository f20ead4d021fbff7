"""A hopeless night stops, and a hopeful one waits: no network, a service out of order, a revoked
token, a day that is used up."""

from collections import Counter

import pytest
import requests

from domostats import sandbox
from domostats.clients.datorama import datorama
from domostats.errors import AccessError, CredentialsError, RetryLaterError, SettingsError
from domostats.secrets import Secret


@pytest.fixture(scope="module")
def running():
    with sandbox.start_datorama(streams=30, seed=8, users=3) as box:
        yield box, box.service.state.snapshot(), {**box.service.users.tokens}


@pytest.fixture
def box(running):
    "A sandbox as it was in the beginning."
    box, snapshot, tokens = running
    box.heal()
    box.quirks.clear()
    box.service.state.reset(snapshot)
    box.service.users.tokens.update({user: [*some] for user, some in tokens.items()})
    box.service.limits.counts.clear()
    box.service.limits.limits.update(platform=100_000, day=10_000_000)
    box.clock.step(60)
    return box


@pytest.fixture
def dr(box):
    return agency(box)


def agency(box, token=None, **how):
    made = session(box, token, **how)
    made.get_all_streams()
    box.log.clear()
    return made


def session(box, token=None, **how):
    made = datorama(token or box.api_token, instance=box, pause=0, **how)
    made.connection.go_by(box.clock)
    return made


def api_streams(box, count):
    api = [id for id, one in box.streams.items() if one["dataSourceName"] != "TotalConnect"]
    return api[:count]


def night(box, count=20):
    ids = api_streams(box, count)
    return ids, ["2024-01-01"] * len(ids), ["2024-01-05"] * len(ids)


def made(box):
    return Counter(job["dataStreamId"] for job in box.jobs.values() if job["id"] >= 700_001)


def posts(box, ending="/process"):
    return [call for call in box.log if call.path.endswith(ending)]


class Line:
    """The way to the service, which is cut from `begin` to `end` (by the service's clock);
    `tries` counts what met the cut."""

    def __init__(self, connection, clock, begin, end):
        self.clock, self.begin, self.end, self.tries = clock, begin, end, 0
        self.connection, self.request = connection, connection.http.request
        connection.http.request = self

    def __call__(self, *args, **how):
        if self.begin <= self.clock.now() < self.end:
            self.tries += 1
            raise requests.ConnectionError("Name or service not known")
        return self.request(*args, **how)

    def mend(self):
        del self.connection.http.request


def after(box, count, do):
    "Do this when so many jobs have been asked for."
    process, seen = box.service.state.process, []

    def counted(*args):
        seen.append(args)
        done = process(*args)
        if len(seen) == count:
            do()
        return done

    box.service.state.process = counted


@pytest.fixture(autouse=True)
def unwrapped(running):
    yield
    vars(running[0].service.state).pop("process", None)


# no network


def test_an_hour_without_network_is_waited_for(box, dr, caplog):
    line = Line(dr.connection, box.clock, 0, 0)

    def cut():
        line.begin, line.end = box.clock.now(), box.clock.now() + 3600

    after(box, 5, cut)
    begun = box.clock.now()
    frame = dr.bulk_process_streams(*night(box))
    line.mend()
    assert set(frame["status"]) == {"queued"} and [*made(box).values()] == [1] * 20
    assert not dr.failed and line.tries < 150
    assert 3600 <= box.clock.now() - begun < 3600 + 400
    words = [one.getMessage() for one in caplog.records if "No answer since" in one.getMessage()]
    assert 12 <= len(words) <= 30  # one every few minutes


def test_a_network_that_does_not_come_back_ends_the_night(box, dr):
    line = Line(dr.connection, box.clock, 0, 0)

    def cut():
        line.begin, line.end = box.clock.now(), 1e12

    after(box, 5, cut)
    begun, error = box.clock.now(), None
    try:
        dr.bulk_process_streams(*night(box))
    except RetryLaterError as e:
        error = e
    line.mend()
    assert error is not None and error.reason == "unreachable" and "5 of 20 are done" in str(error)
    assert 5 * 3600 <= box.clock.now() - begun <= 7 * 3600 and line.tries < 600
    agency(box).bulk_process_streams(*night(box))
    assert [*made(box).values()] == [1] * 20


def test_how_long_it_waits_can_be_said(box, dr):
    line = Line(dr.connection, box.clock, 0, 1e12)
    dr.patience = 600
    begun, error = box.clock.now(), None
    try:
        dr.bulk_process_streams(*night(box))
    except RetryLaterError as e:
        error = e
    line.mend()
    assert error is not None and box.clock.now() - begun < 1500


def test_reading_waits_for_the_network_too(box, dr):
    line = Line(dr.connection, box.clock, box.clock.now(), box.clock.now() + 1800)
    jobs = dr.get_all_jobs()
    line.mend()
    assert not dr.failed and len(jobs) == len(box.jobs) and line.tries < 400


# a service that is out of order


@pytest.mark.sampled(2)
@pytest.mark.parametrize("fault", ["unavailable", "drop", "bad_gateway", "html"])
def test_a_service_that_is_out_of_order_for_a_while_is_waited_for(box, dr, fault):
    def break_down():
        box.fail(fault, "/v1", times=None)
        wait = box.clock.wait
        mended = box.clock.now() + 3600

        def waiting(seconds):
            wait(seconds)
            if box.clock.now() >= mended:
                box.heal()
                vars(box.clock).pop("wait", None)

        box.clock.wait = waiting

    after(box, 6, break_down)
    frame = dr.bulk_process_streams(*night(box))
    assert [*made(box).values()] == [1] * 20
    assert frame["status"].tolist() == ["queued"] * 20 and not dr.failed


def test_streams_that_are_out_of_order_for_ever_stop_no_others(box, dr):
    ids = api_streams(box, 20)
    for id in ids[3:11]:
        box.fail("server_error", f"/v1/data-streams/{id}/process", times=None)
    begun = box.clock.now()
    frame = dr.bulk_process_streams(*night(box))
    assert made(box).keys() == {*ids[:3], *ids[11:]}
    assert frame["status"].tolist() == ["queued"] * 3 + ["error"] * 8 + ["queued"] * 9
    assert set(frame["reason"][3:11]) == {"server_error"} and len(dr.failed) == 8
    assert box.clock.now() - begun < 6 * 3600


def test_one_that_fails_keeps_nobody_waiting(box, dr):
    ids = api_streams(box, 6)
    box.fail("server_error", f"/v1/data-streams/{ids[2]}/process", times=None)
    begun = box.clock.now()
    dr.bulk_process_streams(*night(box, 6))
    assert len(made(box)) == 5 and box.clock.now() - begun < 300


# a token that is refused


def revoke(box, user="ada"):
    box.service.users.tokens[user] = [Secret("dato-api-another")]


def test_a_revoked_token_ends_the_night_at_once(box, dr):
    after(box, 5, lambda: revoke(box))
    error = None
    try:
        dr.bulk_process_streams(*night(box))
    except CredentialsError as e:
        error = e
    assert sum(call.status == 401 for call in box.log) <= 2
    assert error is not None and error.reason == "bad_token" and "5 of 20 are done" in str(error)
    agency(box, "dato-api-another").bulk_process_streams(*night(box))
    assert [*made(box).values()] == [1] * 20


def test_a_revoked_token_ends_it_with_what_was_done_in_the_file(box, dr):
    after(box, 5, lambda: revoke(box))
    with pytest.raises(CredentialsError):
        dr.bulk_process_streams(*night(box), export=True, log_file="log.csv")
    assert len(open("log.csv").read().splitlines()) == 1 + 5


@pytest.mark.parametrize("what", ["groups", "rerun_all", "rename", "jobs"])
def test_a_revoked_token_ends_other_work_too(box, dr, what):
    revoke(box)
    ids = api_streams(box, 20)
    days = [f"2024-01-{n:02}" for n in range(1, 21)]
    error = None
    try:
        {
            "groups": lambda: dr.bulk_process_groups(ids, days, days),
            "rerun_all": lambda: dr.rerun_all(ids),
            "rename": lambda: dr.bulk_rename_streams(ids, days, export=False),
            "jobs": lambda: dr.get_all_jobs(),
        }[what]()
    except CredentialsError as e:
        error = e
    assert sum(call.status == 401 for call in box.log) <= 11  # ten reads are under way at once
    assert error is not None and error.reason == "bad_token"


def test_settings_that_keep_every_call_from_going_out_end_the_night(box, dr):
    tries = []

    def refused(*args, **how):
        tries.append(args)
        raise requests.exceptions.SSLError("certificate verify failed")

    dr.connection.http.request = refused
    error = None
    try:
        dr.bulk_process_streams(*night(box))
    except SettingsError as e:
        error = e
    del dr.connection.http.request
    assert len(tries) <= 2 and error is not None and error.reason == "bad_certificate"
    dr.bulk_process_streams(*night(box))
    assert [*made(box).values()] == [1] * 20


def test_a_dead_token_of_a_pool_is_left_out(box):
    users = {user: box.tokens[user] for user in ("bob", "eve")}
    revoke(box, "bob")
    dr = agency(box, users)
    shared = [id for id in api_streams(box, 30) if box.streams[id]["workspaceId"] == 1001]
    dr.bulk_process_streams(shared, ["2024-01-01"] * len(shared), ["2024-01-02"] * len(shared))
    assert made(box) == dict.fromkeys(shared, 1) and not dr.failed
    assert sum(call.status == 401 for call in box.log) <= 2


def test_a_token_of_a_pool_that_dies_in_the_middle_stops_nobody(box):
    dr = agency(box, {user: box.tokens[user] for user in ("bob", "eve")})
    after(box, 3, lambda: revoke(box, "eve"))
    shared = [id for id in api_streams(box, 30) if box.streams[id]["workspaceId"] == 1001]
    dr.bulk_process_streams(shared, ["2024-01-01"] * len(shared), ["2024-01-02"] * len(shared))
    assert made(box) == dict.fromkeys(shared, 1) and not dr.failed
    assert sum(call.status == 401 for call in box.log) <= 2


def test_a_plan_counts_the_calls_of_all_users(box):
    box.service.limits.limits.update(platform=60, day=20_000)
    dr = agency(box, {user: box.tokens[user] for user in ("bob", "eve")})
    assert 248 <= dr.connection.budget.estimate(30_000) / 60 <= 252


# a day that is used up


def test_a_day_that_is_used_up_is_waited_for_or_ends_the_night(box):
    box.service.limits.limits.update(platform=100_000, day=20_000)
    dr = agency(box, overnight=False)
    after(box, 5, lambda: box.use_calls("ada", day=20_000))
    error = None
    try:
        dr.bulk_process_streams(*night(box))
    except RetryLaterError as e:
        error = e
    assert len(posts(box)) <= 7 and error is not None and error.reason == "day_used_up"
    before = box.clock.now()
    agency(box, overnight=True).bulk_process_streams(*night(box))
    assert [*made(box).values()] == [1] * 20 and int(box.clock.now() // 86_400) > int(
        before // 86_400
    )


def test_a_day_that_several_users_have_used_up_is_not_waited_for_either(box):
    box.service.limits.limits.update(platform=100_000, day=20_000)
    users = "ada", "bob"
    dr = session(box, {user: box.tokens[user] for user in users}, overnight=False)
    for user in users:
        box.use_calls(user, day=20_000)
    before = box.clock.now()
    with pytest.raises(RetryLaterError) as caught:
        dr.get_all_streams()
    assert caught.value.reason == "day_used_up" and box.clock.now() - before < 60


# one workspace that is refused


def test_a_workspace_that_is_refused_ends_no_others(box, caplog):
    dr = session(box)
    bad = [*box.workspaces][1]
    box.fail("forbidden", f"/v1/workspaces/{bad}/data-streams", times=None)
    refused = None
    try:
        dr.get_all_streams()
    except AccessError as e:
        refused = e
    assert refused is None
    assert {*dr.streams} == {id for id, one in box.streams.items() if one["workspaceId"] != bad}
    assert dr.failed[bad].reason == "forbidden" and dr.exit_code == 5 and str(bad) in caplog.text
    with pytest.raises(AccessError):
        dr.get_all_streams(workspaces=[bad])


def test_streams_of_a_workspace_that_is_refused_end_no_others(box, dr):
    ids, bad = api_streams(box, 20), [*box.workspaces][1]
    for id in ids:
        if box.streams[id]["workspaceId"] == bad:
            box.fail("forbidden", f"/v1/data-streams/{id}/process", times=None)
    frame = dr.bulk_process_streams(*night(box))
    for id, status in zip(frame["stream"], frame["status"], strict=True):
        assert status == ("error" if box.streams[id]["workspaceId"] == bad else "queued")


def test_words_are_on_the_screen_when_that_is_wanted(box, capsys):
    dr = agency(box, verbose=True)
    line = Line(dr.connection, box.clock, box.clock.now(), box.clock.now() + 120)
    dr.bulk_process_streams(*night(box, 2))
    line.mend()
    out = capsys.readouterr().out
    assert "No answer since 0 min (unreachable)" in out and "ends after 6.0 h" in out
