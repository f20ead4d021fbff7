"""An estimate is never below the calls that a run makes, and hardly above: by one, for long
lists by five."""

import warnings
from datetime import datetime, timezone
from pathlib import Path

import expected
import pytest
from expected import expectations

from domostats import reports, sandbox
from domostats.clients.domo.credentials import AccessToken
from domostats.errors import AccessError
from domostats.reports.plan import estimate

DAY = "2024-04-01"
REPORTS = {name: one for name, one in expectations().items() if one.platform == "domo"}
SIZES = expected.SIZES | {
    "a row more": {"users": 101, "groups": 101, "datasets": 101, "pages": 201, "events": 1001},
    "a company": {"users": 450, "groups": 340, "datasets": 1250, "pages": 450, "events": 25_000},
}
SPARE = {"a company": 5}  # of a long list a few pages more or less are asked for ahead


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
        before = len(box.log)
        report.run(box, token, format_fn, fresh=True, **how)
    except AccessError as e:  # where the estimate is refused, the run has no more to tell
        assert e.reason == "forbidden"
        with pytest.raises(AccessError):
            report.run(box, token, format_fn, fresh=True, **how)
        return None
    return told, len(box.log) - before


@pytest.mark.sampled(20)
@pytest.mark.parametrize("since", [None, datetime(2024, 3, 1, tzinfo=timezone.utc)])
@pytest.mark.parametrize("login", ["administrator", "limited"])
@pytest.mark.parametrize("name", REPORTS)
def test_an_estimate_holds(sized, name, login, since):
    (box, size), report = sized, reports.find(name)
    token = AccessToken(box.limited.access_token, instance=box) if login == "limited" else None
    for format_fn in report.formatters:
        found = told_and_made(report, box, token, format_fn, since=since)
        if found is None:
            assert REPORTS[name].refused and login == "limited"
            continue
        told, made = found
        assert made <= told <= made + SPARE.get(size, 1), (format_fn, found)
        if size in expected.SIZES and login == "administrator" and since is None:
            calls, more = REPORTS[name].calls[size][format_fn]
            assert (made, told) == (calls, calls + more), (
                f"`calls` in tests/expected/{name}.py, for {size!r} and {format_fn!r}: calls made, "
                "and estimated"
            )


@pytest.mark.parametrize("name", REPORTS)
def test_the_calls_of_every_format_are_written_out(name):
    formats = [*reports.find(name).formatters]
    told = {size: [*calls] for size, calls in REPORTS[name].calls.items()}
    wrong = f"`calls` in tests/expected/{name}.py: each of SIZES with each format"
    assert told == dict.fromkeys(expected.SIZES, formats), wrong


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
