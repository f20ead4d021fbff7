"""The benchmarks' own promises: nobody's time is compared who gave other rows, a target missed
is told, a child's memory is its own."""

import importlib
import sys

import pytest
from conftest import ROOT


@pytest.fixture
def bench(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    run = importlib.import_module("run")
    yield run
    for name in ("run", "measure", "pages", "venvs"):
        sys.modules.pop(name, None)


def test_rows_are_compared_in_any_order(bench):
    import measure

    rows = [(1, "a"), (2, "b"), (2, "b")]
    assert measure.fingerprint(rows) == measure.fingerprint(reversed(rows))
    assert measure.fingerprint(rows) != measure.fingerprint(rows[:2])
    assert (
        measure.fingerprint(rows)["hash"]
        != measure.fingerprint([(1, "a"), (2, "b"), (2, "c")])["hash"]
    )


def test_other_rows_end_the_run(bench):
    same = {"rows": 2, "hash": "x", "seconds": 1, "cpu": 1}
    assert bench.agree({"one": same, "other": {**same, "seconds": 9}}) == same
    with pytest.raises(SystemExit, match="differ"):
        bench.agree({"one": same, "other": {**same, "hash": "y"}})
    with pytest.raises(SystemExit, match="differ"):
        bench.medians("turns", {"one": lambda: {**same, "rows": 3}}, 1, {"one": same})


def test_a_target_is_met_missed_or_not_measured(bench):
    at_least, at_most = (
        (lambda value: bench.Target("x", value, 5).met),
        (lambda value: bench.Target("x", value, 5, at_most=True).met),
    )
    assert (at_least(5), at_least(4.9), at_least(None)) == (True, False, False)
    assert (at_most(5), at_most(5.1), at_most(None)) == (True, False, False)


def test_a_child_s_peak_is_its_own_and_grows_with_what_it_holds(bench, tmp_path):
    import measure

    (tmp_path / "holder.py").write_text("def hold(size): return len(bytearray(b'x') * size)\n")
    ballast = bytearray(b"x") * 300_000_000  # of this process, and no business of the child
    small, large = measure.peak("holder:hold", 10), measure.peak("holder:hold", 100_000_000)
    assert small["value"] == 10 and len(ballast) == 300_000_000
    assert small["rss"] < 200_000_000
    assert 80_000_000 < large["rss"] - small["rss"] < 150_000_000


def test_page_files_hold_what_was_asked_for(bench, tmp_path):
    import json

    import measure
    import pages

    for kind, keys in pages.KEYS.items():
        found = [
            json.loads(page) for page in measure.read_pages(pages.make_pages(tmp_path, kind, 1_500))
        ]
        assert [len(page) for page in found] == [1_000, 500]
        assert all(record[key] is not None for page in found for record in page for key in keys)


def test_the_sandbox_of_a_benchmark_runs_elsewhere_and_ends(bench):
    import requests

    with bench.serving(users=4) as box:
        reply = requests.get(
            f"{box['url']}/api/identity/v1/users",
            headers={"x-domo-developer-token": box["access_token"]},
            timeout=10,
        )
        assert len(reply.json()["users"]) == 4
    with pytest.raises(requests.ConnectionError):
        requests.get(box["url"], timeout=10)
