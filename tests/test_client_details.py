"""Small things of the clients that people rely on: whose a job is, when a limit ends, what a log
calls its columns."""

import csv
import importlib
import inspect
import pkgutil
import threading
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest
from datorama_support import api_streams, outcome, shared_sandbox

from domostats import clients
from domostats.clients.dash import results
from domostats.clients.dash.loads import store_connection
from domostats.clients.datorama import datorama
from domostats.clients.datorama.arguments import is_missing
from domostats.clients.datorama.auth import read_limits
from domostats.clients.datorama.jobs import is_new
from domostats.clients.datorama.logs import JobLog
from domostats.clients.datorama.matching import Mark, find_new_jobs
from domostats.clients.datorama.ranges import Days
from domostats.clients.domo.credentials import DomoAuth
from domostats.errors import AccessError, DomostatsError
from domostats.secrets import Secret
from domostats.transport.answer import Answer
from domostats.transport.clock import FakeClock

# whose a job is

MARCH = Days(date(2024, 3, 1), date(2024, 3, 31))


def job(id, began):
    "A job of March that began so many seconds after 1970, by the service's clock."
    days = {"dataStartDate": "2024-03-01", "dataEndDate": "2024-03-31"}
    return {"id": id, "startExecutionTime": began * 1000, **days}


@pytest.mark.parametrize(
    "told_then, told_now, ahead",
    [(600, 0, 600), (600, None, 600), (None, 600, 600), (0, 600, 0)],
)
def test_the_clocks_are_compared_as_they_stood_when_the_call_was_sent(told_then, told_now, ahead):
    mark = Mark(sent=10_000, ahead=told_then)
    ours, older = job(2, 10_000 + ahead + 5), job(1, 10_000 + ahead - 5)
    assert find_new_jobs([older, ours], [MARCH], mark, told_now) == [ours]
    assert find_new_jobs([older], [MARCH], mark, told_now) is None


def test_a_job_is_new_by_its_number_else_by_its_time():
    assert is_new(job(8, 100), after=7, since=10_000)
    assert not is_new(job(7, 10_000), after=7) and not is_new(job(6, 10_000), after=7)
    assert is_new(job(7, 10_000), since=10_000) and not is_new(job(7, 9_000), since=10_000)
    assert is_new({"id": 7, "startExecutionTime": None}, since=10_000)  # it waits


def test_what_one_has_done_another_may_do_again(tmp_path_factory):
    "Nobody's night is held up by the record of somebody else."
    with shared_sandbox(tmp_path_factory, streams=24, users=3) as box:
        told = []
        for user in ("ada", "bob", "ada"):
            agency = datorama({user: box.tokens[user]}, instance=box, pause=0)
            agency.connection.go_by(box.clock)
            agency.get_all_streams()
            ids = [id for id in api_streams(box, 24) if id in agency.streams][:1]
            days = ["2024-01-01"], ["2024-01-02"]
            told.append(outcome(agency.bulk_process_streams, ids, *days, create_df=False))
    assert told == [None, None, "already_done"]


# what is no value


@pytest.mark.parametrize(
    "value", [None, pd.NaT, pd.NA, np.datetime64("NaT"), np.timedelta64("NaT"), float("nan")]
)
def test_a_hole_of_any_library_is_a_hole(value):
    assert is_missing(value)


@pytest.mark.parametrize("value", ["NaT", "", 0, np.datetime64("2024-01-01"), np.float64(0)])
def test_what_only_looks_like_a_hole_is_a_value(value):
    assert not is_missing(value)


# limits


def test_a_limit_ends_at_the_moment_that_the_service_tells():
    names = ("x-platformratelimit", "x-queryratelimit", "x-dailyquota")
    headers = {}
    for place, name in enumerate(names):
        headers |= {f"{name}-limit": "50", f"{name}-remaining": f"{place}"}
        headers[f"{name}-reset"] = f"{1_711_929_600_500 + place * 1000}"
    found = read_limits(Answer("GET", "https://x.example/v1/jobs", 200, b"", headers, 0.1))
    assert {name: (one.limit, one.left, one.reset) for name, one in found.items()} == {
        "platform": (50, 0, 1_711_929_600.5),
        "query": (50, 1, 1_711_929_601.5),
        "day": (50, 2, 1_711_929_602.5),
    }


@pytest.mark.parametrize(
    "path, header, name, limit",
    [
        ("/v1/jobs", "x-ratelimit-reset", "platform", 60),
        ("/v1/query", "x-ratelimit-reset", "query", 200),
        ("/v1/jobs", "x-dailyquota-rest", "day", 20_000),
        ("/v1/query", "x-dailyquota-rest", "day", 20_000),
    ],
)
def test_a_refusal_names_the_limit_that_is_documented(path, header, name, limit):
    headers = {header: "1711929600500"}
    found = read_limits(Answer("GET", f"https://x.example{path}", 429, b"", headers, 0.1))
    assert {name: (one.limit, one.left, one.reset) for name, one in found.items()} == {
        name: (limit, 0, 1_711_929_600.5)
    }


# logs


def test_a_log_of_jobs_says_why_one_was_not_made(tmp_path):
    log = JobLog(FakeClock())
    log.add(job(8, 10_000), "process", 20001, 1001)
    why = {"reason": "forbidden", "http": 403, "error": "The token may not."}
    log.add_error(20002, "process", "2024-03-01", "2024-03-31", 1001, **why)
    with log.export(tmp_path / "log.csv").open(newline="") as file:
        header, made, failed = [*csv.reader(file)]
    assert header == [
        *("workspace", "stream", "job", "job_type", "start", "end"),
        *("status", "exec_start", "exec_end", "reason", "http", "error"),
    ]
    days = ["2024-03-01", "2024-03-31"]
    assert made[:7] == ["1001", "20001", "8", "process", *days, "queued"]
    assert failed[:7] == ["1001", "20002", "", "process", *days, "error"]
    assert made[9:] == ["", "", ""] and failed[9:] == ["forbidden", "403", "The token may not."]


# results


def test_a_result_is_not_taken_from_where_the_store_redirects_to(monkeypatch):
    "Whatever stands there was never asked for."
    asked = []

    class Moved(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            is_moved = self.path.startswith("/results/")
            self.send_response(302 if is_moved else 200)
            if is_moved:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"n\n7\n")

        def log_message(self, *said):
            "Nothing."

    with ThreadingHTTPServer(("127.0.0.1", 0), Moved) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/results/7.csv"
        connection, _ = store_connection(address)
        monkeypatch.setattr(results, "result_link", lambda *asked: Secret(f"{address}?Signature=x"))
        with pytest.raises(DomostatsError):
            results.open_result(connection, "7").read()
        server.shutdown()
    assert asked == ["/results/7.csv?Signature=x"]


def test_no_call_prints_itself_unless_it_is_asked_to():
    found = {}
    for module in pkgutil.walk_packages(clients.__path__, f"{clients.__name__}."):
        for name, one in vars(importlib.import_module(module.name)).items():
            if inspect.isfunction(one) and one.__module__ == module.name:
                asked = inspect.signature(one).parameters.get("debug_api")
                if asked is not None and not name.startswith("_"):
                    found[name] = asked.default
    assert len(found) > 20 and {*found.values()} == {False}


@pytest.mark.parametrize(
    "status, place, is_blocked",
    [
        (300, "location", True),
        (302, "location", True),
        (399, "content", True),
        (400, "location", False),  # that is no way to another page
        (299, "content", False),
    ],
)
def test_only_a_way_to_the_page_of_the_blocked_says_that_the_network_is(status, place, is_blocked):
    page = "https://acme.domo.com/whitelist/blocked"
    headers = {"location": page} if place == "location" else {}
    content = page.encode() if place == "content" else b""
    answer = Answer("GET", "/x", status, content, headers, 0.0)
    if not is_blocked:
        assert DomoAuth.judge(None, answer) is None
        return
    with pytest.raises(AccessError) as caught:
        DomoAuth.judge(None, answer)
    assert caught.value.reason == "blocked"
