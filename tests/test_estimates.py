"""An estimate is never below the calls that a run makes, and hardly above: 5 %, or a dozen."""

import warnings
from datetime import datetime, timezone

import pytest

from domostats import reports, sandbox
from domostats.clients.domo.auth import AccessToken
from domostats.errors import AccessError
from domostats.reports.report import estimate


DAY = "2024-04-01"
NAMES = [name for name in reports.names("domo") if name != "calls"]
SIZES = {
    "a lesson": {},
    "nothing": dict(users=3, accounts=0, groups=0, datasets=0, pages=0, events=0),
    "full pages": dict(users=100, accounts=40, groups=100, datasets=100, pages=100, events=1000),
    "a row more": dict(users=101, groups=101, datasets=101, pages=201, events=1001),
    "a company": dict(users=450, groups=340, datasets=1250, pages=450, events=25_000),
}


@pytest.fixture(scope="module", params=SIZES)
def box(request):
    with sandbox.start(today=DAY, **SIZES[request.param]) as running:
        yield running


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


@pytest.mark.parametrize("since", [None, datetime(2024, 3, 1, tzinfo=timezone.utc)])
@pytest.mark.parametrize("login", ["administrator", "limited"])
@pytest.mark.parametrize("name", NAMES)
def test_an_estimate_holds(box, name, login, since):
    report = reports.find(name)
    token = AccessToken(box.limited.access_token, instance=box) if login == "limited" else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for format_fn in report.formatters:
            found = compare(report, box, token, format_fn, since=since)
            if found:
                told, made = found
                assert made <= told <= max(made * 1.05, made + 12), (format_fn, found)


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


@pytest.mark.parametrize("sizes", [dict(), dict(workspaces=5, streams=230), dict(streams=0)])
@pytest.mark.parametrize("name", ["datorama_workspaces", "datorama_streams", "datorama_jobs"])
def test_an_estimate_holds_of_datorama(name, sizes):
    report = reports.find(name)
    with sandbox.start_datorama(today=DAY, **sizes) as box:
        box.limits["platform"] = 100_000
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for format_fn in report.formatters:
                told, made = compare(report, box, None, format_fn)
                assert made <= told <= max(made * 1.05, made + 12), (format_fn, told, made)
