"""An estimate is never below the calls that a run makes, and hardly above: by one, for long
lists by five."""

import warnings
from datetime import datetime, timezone
from pathlib import Path

import pytest

from domostats import reports, sandbox
from domostats.clients.domo.auth import AccessToken
from domostats.errors import AccessError
from domostats.reports.plan import estimate

DAY = "2024-04-01"
NAMES = [name for name in reports.names("domo") if name != "calls"]
SIZES = {
    "a lesson": {},
    "nothing": {"users": 3, "accounts": 0, "groups": 0, "datasets": 0, "pages": 0, "events": 0},
    "full pages": {
        "users": 100,
        "accounts": 40,
        "groups": 100,
        "datasets": 100,
        "pages": 100,
        "events": 1000,
    },
    "a row more": {"users": 101, "groups": 101, "datasets": 101, "pages": 201, "events": 1001},
    "a company": {"users": 450, "groups": 340, "datasets": 1250, "pages": 450, "events": 25_000},
}


SPARE = {"a company": 5}  # of a long list a few pages more or less are asked for ahead

# Written out by hand: two calls tell what the user may see, and a list without a total ends behind
# two pages that bring nothing. A provider list is one call, and one call each is a share or a
# detail.
EXPECTED = {  # by report and format: the calls of a run, and how many more are estimated
    "nothing": {
        ("accounts", "domostats"): (4, 0),
        ("accounts", "v1"): (3, 0),
        ("accounts", "v2"): (3, 0),
        ("accounts", "owners"): (4, 0),
        ("activity_log", "domostats"): (4, 0),
        ("activity_log", "all"): (4, 0),
        ("datasets", "domostats"): (6, 0),
        ("datasets", "all"): (4, 0),
        ("groups", "domostats"): (5, 1),
        ("groups", "with_creator"): (6, 1),
        ("groups", "all"): (5, 1),
        ("group_members", "all"): (5, 1),
        ("group_members", "domostats"): (5, 1),
        ("oauth_configurations", "domostats"): (3, 0),
        ("oauth_configurations", "all"): (3, 0),
        ("page_access", "domostats"): (6, 1),
        ("page_access", "all"): (6, 1),
        ("page_people", "all"): (5, 1),
        ("users", "domostats"): (8, 0),
        ("users", "user_activity"): (6, 0),
        ("users", "all"): (8, 0),
        ("users", "identity"): (6, 0),
    },
    "a lesson": {
        ("accounts", "domostats"): (4, 0),
        ("accounts", "v1"): (3, 0),
        ("accounts", "v2"): (3, 0),
        ("accounts", "owners"): (4, 0),
        ("activity_log", "domostats"): (4, 0),
        ("activity_log", "all"): (4, 0),
        ("datasets", "domostats"): (8, 0),
        ("datasets", "all"): (5, 0),
        ("groups", "domostats"): (6, 0),
        ("groups", "with_creator"): (14, 1),
        ("groups", "all"): (6, 0),
        ("group_members", "all"): (6, 0),
        ("group_members", "domostats"): (6, 0),
        ("oauth_configurations", "domostats"): (3, 0),
        ("oauth_configurations", "all"): (3, 0),
        ("page_access", "domostats"): (14, 1),
        ("page_access", "all"): (14, 1),
        ("page_people", "all"): (14, 0),
        ("users", "domostats"): (8, 0),
        ("users", "user_activity"): (6, 0),
        ("users", "all"): (8, 0),
        ("users", "identity"): (6, 0),
    },
    "full pages": {
        ("accounts", "domostats"): (4, 0),
        ("accounts", "v1"): (3, 0),
        ("accounts", "v2"): (3, 0),
        ("accounts", "owners"): (4, 0),
        ("activity_log", "domostats"): (5, 0),
        ("activity_log", "all"): (5, 0),
        ("datasets", "domostats"): (11, 0),
        ("datasets", "all"): (6, 0),
        ("groups", "domostats"): (6, 0),
        ("groups", "with_creator"): (107, 0),
        ("groups", "all"): (6, 0),
        ("group_members", "all"): (6, 0),
        ("group_members", "domostats"): (6, 0),
        ("oauth_configurations", "domostats"): (3, 0),
        ("oauth_configurations", "all"): (3, 0),
        ("page_access", "domostats"): (107, 0),
        ("page_access", "all"): (107, 0),
        ("page_people", "all"): (106, 0),
        ("users", "domostats"): (8, 0),
        ("users", "user_activity"): (6, 0),
        ("users", "all"): (8, 0),
        ("users", "identity"): (6, 0),
    },
}


@pytest.fixture(scope="module", params=SIZES)
def sized(request):
    "A sandbox and the name of its size; the kit knows already who its users are."
    with sandbox.start(today=DAY, **SIZES[request.param]) as running:
        for token in None, AccessToken(running.limited.access_token, instance=running):
            reports.find("users").sign_in(running, token).meet()
        yield running, request.param


def told_and_made(report, box, token, format_fn, **how):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return compare(report, box, token, format_fn, **how)


def compare(report, box, token, format_fn, **how):
    "The calls that were estimated, and those that were made."
    try:
        told = estimate(report, box, token, format_fn, **how).total
    except AccessError as e:
        assert e.reason == "forbidden"
        with pytest.raises(AccessError):  # then the run has no more to tell
            report.run(box, token, format_fn, fresh=True, **how)
        return None
    before = len(box.log)
    report.run(box, token, format_fn, fresh=True, **how)
    return told, len(box.log) - before


@pytest.mark.sampled(8)
@pytest.mark.parametrize("since", [None, datetime(2024, 3, 1, tzinfo=timezone.utc)])
@pytest.mark.parametrize("login", ["administrator", "limited"])
@pytest.mark.parametrize("name", NAMES)
def test_an_estimate_holds(sized, name, login, since):
    (box, size), report = sized, reports.find(name)
    token = AccessToken(box.limited.access_token, instance=box) if login == "limited" else None
    for format_fn in report.formatters:
        found = told_and_made(report, box, token, format_fn, since=since)
        if found is None:
            assert (name, login) == ("activity_log", "limited")
            continue
        told, made = found
        assert made <= told <= made + SPARE.get(size, 1), (format_fn, found)
        if size in EXPECTED and login == "administrator" and since is None:
            calls, more = EXPECTED[size][name, format_fn]
            assert (made, told) == (calls, calls + more), format_fn


def test_every_format_of_every_report_is_written_out_here():
    shapes = {(name, shape) for name in NAMES for shape in reports.find(name).formatters}
    assert all({*table} == shapes for table in EXPECTED.values())


def test_an_estimate_says_which_list_takes_how_many_calls():
    with sandbox.start(seed=2, today=DAY) as box:
        found = estimate(reports.find("page_access"), box)
        assert found.calls == {
            "GET /api/content/v1/share/accesslist/page/{}": 8,
            "POST /api/content/v1/pages/adminsummary": 5,
            "who am I, and what may I see": 3,  # who it is was never asked for
        }
        assert found.total == 16 and repr(found) == "<about 16 calls, 0 min under the budget>"
        reports.find("users").run(box)
        assert estimate(reports.find("page_access"), box).total == 15
        assert estimate(reports.find("users"), box, format_fn="identity").calls == {
            "GET /api/identity/v1/users": 4,
            "who am I, and what may I see": 2,
        }
        assert estimate(reports.find("calls"), box).calls == {"the calls of this process": 0}


def test_the_minutes_of_an_estimate_are_those_of_the_budget():
    settings = "[instance.slow]\nurl = {}\ncalls_per_minute = 60\n"
    with sandbox.start(seed=2, datasets=0, groups=150, today=DAY) as box:
        Path("settings.ini").write_text(settings.format(box.url))
        token = AccessToken(box.access_token)
        found = estimate(reports.find("groups"), "slow", token, "with_creator")
        assert found.total == 3 + 5 + 150 and 155 < found.seconds < 170
        assert repr(found) == "<about 158 calls, 3 min under the budget>"


@pytest.mark.slow
def test_an_estimate_holds_beyond_the_wall_of_the_search():
    with sandbox.start(users=30, groups=20, datasets=12_000, today=DAY) as box:
        told, made = compare(reports.find("datasets"), box, None, "domostats")
        assert made <= told <= made * 1.05
        assert 550 < made < 600


def test_an_estimate_costs_little():
    with sandbox.start(users=30, groups=20, datasets=12_000, today=DAY) as box:
        estimate(reports.find("datasets"), box)
        assert len(box.log) < 40


@pytest.mark.sampled(3)
@pytest.mark.parametrize("sizes", [{}, {"workspaces": 5, "streams": 230}, {"streams": 0}])
@pytest.mark.parametrize("name", ["datorama_workspaces", "datorama_streams", "datorama_jobs"])
def test_an_estimate_holds_of_datorama(name, sizes):
    report = reports.find(name)
    with sandbox.start_datorama(today=DAY, **sizes) as box:
        box.limits["platform"] = 100_000
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for format_fn in report.formatters:
                told, made = compare(report, box, None, format_fn)
                assert made <= told <= made * 1.05, (format_fn, told, made)
