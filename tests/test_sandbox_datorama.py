"""The sandbox that speaks Datorama, from outside: over HTTP, held against samples of the
service, with a clock of its own."""

import io
import json
import time
import zipfile
from collections import Counter
from datetime import date

import pytest
import requests
from conftest import ROOT

from domostats import sandbox
from domostats.clients.datorama import datorama
from domostats.errors import SettingsError
from domostats.sandbox.datorama.routes import ROUTES
from domostats.sandbox.datorama.service import DATORAMA_FAULTS

FIXTURES = ROOT / "tests" / "fixtures" / "datorama"
HEADERS = [*json.loads((FIXTURES / "rate_limit_headers_ok.json").read_text())]
WS, DS = "/v1/workspaces", "/v1/data-streams"
STREAM, UPLOADED = 20001, 20019  # an ordinary stream, one of uploaded files


@pytest.fixture
def box():
    with sandbox.start_datorama(today="2024-04-01") as running:
        running.clock.speed = 0
        running.limits.update(platform=10_000, query=10_000)
        yield running


HTTP = requests.Session()
HTTP.trust_env = False


def ask(box, method, path, body=None, token=None, user=0):
    secret = [*box.tokens.values()][user][0].reveal() if token is None else token
    return HTTP.request(
        method,
        box.url + path,
        headers={"Authorization": secret},
        data=None if body is None else json.dumps(body),
        timeout=20,
        allow_redirects=False,
    )


def get(box, path, **how):
    return ask(box, "GET", path, **how)


def post(box, path, body=None, **how):
    return ask(box, "POST", path, body, **how)


def process(box, stream=STREAM, first="2024-03-01", last="2024-03-31", **how):
    return post(box, f"{DS}/{stream}/process", {"startDate": first, "endDate": last}, **how)


def stats(box, stream=STREAM, size=100, page=1):
    return post(box, f"{DS}/api/{stream}/stats", {"pageSize": size, "pageNumber": page}).json()


def sample(name):
    return json.loads((FIXTURES / f"{name}.json").read_text())


# --- held against the samples ---------------------------------------------------------------------

QUERY = {
    **sample("query_request"),
    "startDate": "2024-03-01",
    "endDate": "2024-03-03",
    "groupDimensionFilters": [],
    "stringDimensionFilters": [],
    "numberMeasurementFilter": [],
}
REPORT = {**sample("report_create_request"), "compressed": False}
REPORT["config"] = {
    **REPORT["config"],
    "filter": {
        **REPORT["config"]["filter"],
        "filterDims": {},
        "date": {"dateRangeType": "CUSTOM", "startDate": "2024-03-01", "endDate": "2024-03-03"},
    },
}


def made_report(box):
    return post(box, "/v1/reports", REPORT).json()["id"]


def finished_report(box):
    job = post(box, f"/v1/reports/{made_report(box)}/process").json()[0]["id"]
    box.clock.step(60)
    return get(box, f"/v1/report-jobs/{job}")


def meets(box, fault, method, path, body=None):
    box.fail(fault)
    return ask(box, method, path, body)


def some_calculated(box):
    post(box, f"{WS}/1001/calculated-measurements", {"name": "CTR"})
    return get(box, f"{WS}/1001/calculated-measurements")


SAMPLES = {  # name of the sample: what the sandbox answers in its place
    "workspaces_list": lambda box: get(box, WS),
    "workspace": lambda box: get(box, f"{WS}/1001"),
    "data_streams_list": lambda box: get(box, f"{WS}/1001/data-streams"),
    "data_stream": lambda box: get(box, f"{DS}/{STREAM}"),
    "data_streams_status_bulk": lambda box: get(
        box, f"{WS}/1001/data-streams/status/bulk?ids={STREAM},{UPLOADED}"
    ),
    "data_stream_create_response": lambda box: post(
        box,
        DS,
        {
            "name": "New",
            "workspaceId": 1001,
            "dataSourceId": 77,
            "config": sample("data_stream")["config"],
        },
    ),
    "data_stream_patch_response": lambda box: ask(
        box, "PATCH", f"{DS}/{STREAM}", {"name": "Other"}
    ),
    "process_response": process,
    "process_batch_response": lambda box: post(
        box,
        f"{DS}/process",
        {
            "dataStreamIds": [STREAM],
            "startDate": "2024-03-01",
            "endDate": "2024-03-02",
            "create": False,
        },
    ),
    "stats_response": lambda box: (
        process(box)
        and box.clock.step(60)
        or post(box, f"{DS}/api/{STREAM}/stats", {"pageSize": 100})
    ),
    "rerun_response": lambda box: post(box, f"{DS}/api/{STREAM}/rerun", [stats(box)[0]["id"]]),
    "rerun_all_response": lambda box: post(box, f"{DS}/api/{STREAM}/rerun-all"),
    "dimensions": lambda box: get(box, f"{WS}/1001/dimensions"),
    "measurements": lambda box: get(box, f"{WS}/1001/measurements"),
    "patterns": lambda box: get(box, f"{WS}/1001/patterns"),
    "harmonized_dimensions": lambda box: get(box, f"{WS}/1001/harmonized-dimensions"),
    "calculated_measurements": some_calculated,
    "mapping": lambda box: get(box, f"{DS}/api/{STREAM}/mapping"),
    "query_response": lambda box: post(box, "/v1/query", QUERY),
    "query_batch_response": lambda box: post(
        box, "/v1/query-batch", [QUERY, {**QUERY, "dimensions": ["Day"]}]
    ),
    "query_response_parse_error": lambda box: post(
        box, "/v1/query", {**QUERY, "dimensions": ["Nope"]}
    ),
    "query_response_runtime_error": lambda box: meets(
        box, "query_errors", "POST", "/v1/query", QUERY
    ),
    "report_create_response": lambda box: post(box, "/v1/reports", sample("report_create_request")),
    "report_process_response": lambda box: post(box, f"/v1/reports/{made_report(box)}/process"),
    "report_job": finished_report,
    "error_unauthorized": lambda box: get(box, WS, token="dato-api-guess"),
    "error_not_found": lambda box: get(box, f"{WS}/1"),
}
STATUSES = {
    "data_stream_create_response": 201,
    "report_create_response": 201,
    "query_response_parse_error": 422,
    "error_unauthorized": 401,
    "error_not_found": 404,
}
REQUESTS = {"query_request", "report_create_request"}
REFUSALS = {
    "rate_limited_response": "rate_limited",
    "daily_quota_exhausted_response": "day_limited",
}


def unlike(ours, theirs, where="$"):
    """Where our value has other fields or other JSON types than the sample; what is null in one
    of them may be anything in the other."""
    if None in (ours, theirs):
        return []
    if isinstance(theirs, list) and isinstance(ours, list):
        return (
            [found for one in ours for found in unlike(one, theirs[0], where + "[]")]
            if theirs and not where.endswith("queryResponseData.rows")
            else []
        )
    number = all(
        isinstance(one, (int, float)) and not isinstance(one, bool) for one in (ours, theirs)
    )
    if type(ours) is not type(theirs) and not number:
        return [(where, ours, theirs)]
    if not isinstance(theirs, dict):
        return []
    names = (
        [*theirs]
        if all(isinstance(value, dict) for value in theirs.values()) and where == "$"
        else None
    )  # a dict by system name: the names are data
    if names:
        return [
            found
            for value in ours.values()
            for found in unlike(value, theirs[names[0]], where + ".*")
        ]
    if ours.keys() != theirs.keys():
        return [(where, sorted(ours.keys() ^ theirs.keys()))]
    return [
        found for name in theirs for found in unlike(ours[name], theirs[name], f"{where}.{name}")
    ]


@pytest.mark.parametrize("name", SAMPLES)
def test_an_answer_is_like_its_sample(box, name):
    reply = SAMPLES[name](box)
    assert reply.status_code == STATUSES.get(name, 200) and "json" in reply.headers["content-type"]
    assert reply.json() and not unlike(reply.json(), sample(name)), unlike(
        reply.json(), sample(name)
    )


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_like_its_sample(box, name):
    reply, recorded = meets(box, REFUSALS[name], "GET", WS), sample(name)
    assert (reply.status_code, reply.reason, reply.json()) == (
        recorded["status"],
        recorded["reason"],
        recorded["body"],
    ) and "Retry-After" not in reply.headers
    assert {header for header in reply.headers if header.startswith("X-")} == {*recorded["headers"]}
    assert {header for header in recorded["headers"] if reply.headers[header] == "0"} == {
        header for header, value in recorded["headers"].items() if value == "0"
    }


def test_every_sample_is_held_against_something():
    assert {path.stem for path in FIXTURES.glob("*.json")} == {
        *SAMPLES,
        *REQUESTS,
        *REFUSALS,
        "rate_limit_headers_ok",
    }


def test_the_client_reads_every_sample(box):
    dr = datorama(box.api_token, instance=box, pause=0)

    def serve(path, name):
        return box.faults.serve(path, sample(name))

    serve(WS, "workspaces_list")
    assert [*dr.get_workspaces()] == [row["id"] for row in sample("workspaces_list")]
    workspace = dr.workspaces[1001]
    serve(f"{WS}/1001/data-streams", "data_streams_list")
    assert [*workspace.get_streams()] == [row["id"] for row in sample("data_streams_list")]
    stream = workspace.streams[STREAM]
    serve(f"{DS}/{STREAM}/process", "process_response")
    assert [job.id for job in stream.process("2024-05-01", "2024-05-31")] == [
        job["id"] for job in sample("process_response")
    ]
    serve(f"{DS}/api/{STREAM}/rerun", "rerun_response")
    assert [job.id for job in stream.rerun_job_batch(690001)] == [
        job["id"] for job in sample("rerun_response")
    ]
    serve(f"{DS}/api/{STREAM}/rerun-all", "rerun_all_response")
    assert len(stream.rerun_all_jobs()) == len(sample("rerun_all_response"))
    for part in (
        "dimensions",
        "measurements",
        "patterns",
        "harmonized_dimensions",
        "calculated_measurements",
    ):
        serve(f"{WS}/1001/{part.replace('_', '-')}", part)
        assert getattr(workspace, f"get_{part}")() == sample(part)
    serve(f"{DS}/api/{STREAM}/mapping", "mapping")
    assert stream.get_mapping() == sample("mapping")
    serve("/v1/query", "query_response")
    assert len(workspace.query(["Clicks"], ["Day"], "2024-05-01")) == len(
        sample("query_response")["queryResponseData"]["rows"]
    )
    assert dr.stream_table()["lastUpdate"].notna().all()


# --- 1, 2: headers on every answer, the status of each kind of call -------------------------------


def test_nine_headers_on_every_answer_and_no_route_is_broken(box):
    for method, path in ROUTES:
        for verb in method.split("|"):
            url = (
                path.replace(r"(\d{1,18})", "1")
                .replace("stats?", "stats")
                .replace("(?:api/)?", "")
                .replace("([a-z-]+)", "currencies")
            )
            for body in (None, {}, [], "text", {"workspaceId": [1], "name": {}}, [{}]):
                reply = ask(box, verb, url, body)
                assert reply.status_code in (200, 201, 400, 404, 422), (verb, url, body, reply.text)
                assert all(reply.headers[header].isdigit() for header in HEADERS), (verb, url)
    for path in ("/v1/nothing", "/nowhere"):
        assert all(header in get(box, path).headers for header in HEADERS)
    assert all(header in get(box, WS, token="guess").headers for header in HEADERS)


def test_both_spellings_give_the_same(box):
    job = stats(box)[0]
    assert (
        post(box, f"{DS}/{STREAM}/stats", {"pageSize": 100}).json()
        == stats(box)
        == post(box, f"{DS}/api/{STREAM}/stats", {}).json()
    )
    assert (
        get(box, f"/v1/data-stream-stats/{job['id']}").json()
        == get(box, f"/v1/data-stream-stat/{job['id']}").json()
        == job
    )


def test_deletes_answer_204_or_200(box):
    reply = ask(box, "DELETE", f"{DS}/{STREAM}")
    assert (reply.status_code, reply.content) == (204, b"") and get(
        box, f"{DS}/{STREAM}"
    ).status_code == 404
    box.quirks.add("delete_200")
    assert ask(box, "DELETE", f"{DS}/{UPLOADED}").status_code == 200


def test_rows_of_every_other_kind(box):
    made = post(box, WS, {"name": "New"})
    assert (
        made.status_code == 201
        and made.json() in get(box, WS).json()
        and made.json()["id"] not in [row["id"] for row in get(box, WS, user=1).json()]
    )
    user = post(box, "/v1/users", {"name": "New Person", "email": "new@example.com"}).json()
    assert (
        user in get(box, "/v1/users").json()
        and ask(box, "PATCH", f"/v1/users/{user['id']}", {"enabled": False}).json()["enabled"]
        is False
    )
    assert (
        ask(box, "DELETE", f"/v1/users/{user['id']}").status_code == 204
        and get(box, "/v1/permission-sets").json()
    )
    assert (
        post(box, "/v1/harmonization/patterns", {"workspaceId": 1001, "name": "P"}).status_code
        == 201
        and len(get(box, f"{WS}/1001/patterns").json()) == 2
    )
    assert all(
        {"id", "name"} <= {*row}
        for kind in (
            "time-zones",
            "currencies",
            "cultures",
            "verticals",
            "data-sources",
            "languages",
        )
        for row in get(box, f"/v1/reference/{kind}").json()
    )
    assert (
        get(box, f"{WS}/1001/dashboards/hierarchy").json()["widgets"][0].keys()
        == {"id", "pageId", "dashboardId"}
        and get(box, "/v1/connectors/77").json()["id"] == 77
        and get(box, "/v1/accounts").json()
    )


# --- 3: who sees what; the same for the same seed; snapshots --------------------------------------


def test_users_have_tokens_and_see_what_is_theirs(box):
    assert all(len(tokens) >= 2 for tokens in box.tokens.values())
    assert [
        len(get(box, WS, token=token.reveal()).json()) for token in [*box.tokens.values()][1]
    ] == [2, 2] and len(get(box, WS).json()) == 3
    hidden = max(box.workspaces)
    stream = next(row["id"] for row in box.streams.values() if row["workspaceId"] == hidden)
    paths = [f"{WS}/{hidden}", f"{WS}/{hidden}/data-streams", f"{DS}/{stream}"]
    assert [get(box, path, user=1).status_code for path in paths] == [404] * 3 and process(
        box, stream, user=1
    ).status_code == 404
    box.quirks.add("hidden_403")
    assert [get(box, path, user=1).status_code for path in paths] == [403] * 3 and get(
        box, f"{WS}/1", user=1
    ).status_code == 404


def test_a_report_of_a_workspace_that_a_user_does_not_see_gives_out_nothing(box):
    "Neither itself nor its jobs, nor the file that came of one."
    hidden = max(box.workspaces)
    report = post(box, "/v1/reports", {**REPORT, "workspaceId": hidden}).json()["id"]
    job = post(box, f"/v1/reports/{report}/process").json()[0]["id"]
    box.clock.step(60)
    of_report = [f"/v1/reports/{report}", f"/v1/reports/{report}/report-jobs"]
    of_job = [f"/v1/report-jobs/{job}", f"/v1/report-jobs/{job}/download"]
    for path in [*of_report, *of_job]:
        assert (get(box, path).status_code, get(box, path, user=1).status_code) == (200, 404), path


def test_the_same_seed_is_the_same_agency_and_a_snapshot_brings_it_back(box):
    with sandbox.start_datorama(seed=2) as other, sandbox.start_datorama(streams=25) as larger:
        assert other.streams != box.streams and [*larger.workspaces] == [*box.workspaces]
    before = get(box, WS).json(), stats(box)
    kept = box.snapshot()
    process(box)
    ask(box, "PATCH", f"{WS}/1001", {"name": "Changed"})
    assert (get(box, WS).json(), stats(box)) != before
    box.reset(kept)
    assert (get(box, WS).json(), stats(box)) == before
    process(box)
    box.reset()
    assert (get(box, WS).json(), stats(box)) == before


# --- 4: the clock and the windows -----------------------------------------------------------------


def test_minutes_and_days_are_those_of_the_clock(box):
    box.limits.update(platform=60, query=200)
    box.clock.step(60 - box.clock.now() % 60)
    assert [get(box, WS).headers["X-PlatformRateLimit-Remaining"] for _ in range(60)] == [
        str(n) for n in range(59, -1, -1)
    ]
    refused = get(box, WS)
    assert refused.status_code == 429 and int(
        refused.headers["X-PlatformRateLimit-Reset"]
    ) == round((box.clock.now() // 60 + 1) * 60_000)
    assert (
        post(box, "/v1/query", QUERY).status_code == 200 and get(box, WS, user=1).status_code == 200
    )
    box.clock.step(60)
    assert get(box, WS).status_code == 200 and int(
        get(box, WS).headers["X-DailyQuota-Reset"]
    ) == round((box.clock.now() // 86_400 + 1) * 86_400_000)
    box.use_calls("ada", day=20_000)
    assert (get(box, WS).status_code, get(box, WS).headers["X-DailyQuota-Remaining"]) == (429, "0")
    box.clock.step(86_400)
    assert get(box, WS).status_code == 200


def test_two_tokens_of_a_user_share_and_quirks_change_what_counts(box):
    def left(reply):
        return int(reply.headers["X-PlatformRateLimit-Remaining"])

    first = left(get(box, WS))
    assert left(get(box, WS, token=[*box.tokens.values()][0][1].reveal())) == first - 1

    def asked():
        return 10_000 - int(
            post(box, "/v1/query-batch", [QUERY, QUERY]).headers["X-QueryRateLimit-Remaining"]
        )

    assert asked() == 1
    box.quirks.add("batch_counts_each")
    assert asked() == 3
    box.quirks.add("wall_clock_resets")
    assert abs(int(get(box, WS).headers["X-PlatformRateLimit-Reset"]) / 1000 - time.time()) <= 61


def test_the_clock_has_a_speed(box):
    outside, before = time.monotonic(), box.clock.now()
    box.clock.speed, inside = 1000, time.monotonic()
    for _ in range(10_000):
        box.clock.now()
    least, passed = time.monotonic() - inside, box.clock.now() - before
    assert 990 * least <= passed <= 1010 * (time.monotonic() - outside)


# --- 5: jobs --------------------------------------------------------------------------------------


def test_blocks_of_ten_days_with_ids_in_a_row(box):
    for last, days in (
        ("2024-03-10", [10]),
        ("2024-03-11", [10, 1]),
        ("2024-03-25", [10, 10, 5]),
        ("2024-03-31", [10, 10, 10, 1]),
    ):
        jobs = process(box, last=last).json()
        assert [
            (date.fromisoformat(job["dataEndDate"]) - date.fromisoformat(job["dataStartDate"])).days
            + 1
            for job in jobs
        ] == days
        assert [job["id"] for job in jobs] == [
            *range(jobs[0]["id"], jobs[0]["id"] + len(jobs))
        ] and {job["status"] for job in jobs} <= {"PENDING", "IN_PROGRESS"}


def test_a_queue_in_each_workspace(box):
    for _ in range(3):
        process(box)
    assert Counter(job["status"] for job in stats(box) if job["id"] >= 700_001) == {
        "IN_PROGRESS": 4,
        "PENDING": 8,
    }
    box.clock.step(3600)
    done = [job for job in stats(box) if job["id"] >= 700_001]
    assert {job["status"] for job in done} <= {"SUCCESS", "FAILURE"} and all(
        job["startExecutionTime"] < job["endExecutionTime"] and job["processLog"].endswith(".]")
        for job in done
    )
    box.quirks.add("stuck_jobs")
    process(box)
    box.clock.step(30 * 86_400)
    assert {job["status"] for job in stats(box)[-4:]} == {"IN_PROGRESS"}


def test_running_again_keeps_the_id_or_makes_a_new_one(box):
    old = stats(box)[0]["id"]
    assert [job["id"] for job in post(box, f"{DS}/api/{STREAM}/rerun", [old]).json()] == [old]
    box.quirks.add("rerun_new_id")
    assert post(box, f"{DS}/api/{STREAM}/rerun", [old]).json()[0]["id"] >= 700_001


# --- 6, 7: what a change leaves; pages ------------------------------------------------------------


def test_a_put_clears_and_a_patch_does_not(box):
    before = get(box, f"{DS}/{STREAM}").json()
    patched = ask(
        box, "PATCH", f"{DS}/{STREAM}", {"name": "Other", "createUser": "Somebody"}
    ).json()
    assert {name for name in before if before[name] != patched[name]} == {
        "name",
        "updateTime",
        "lastUpdate",
        *(["updateUserId"] if before["updateUserId"] != patched["updateUserId"] else []),
    }
    cleared = ask(box, "PUT", f"{DS}/{STREAM}", {"name": "Whole"}).json()
    assert (
        cleared["enabled"] is cleared["config"] is cleared["dataSourceId"] is None
        and cleared["createUser"] == before["createUser"]
        and cleared["workspaceId"] == 1001
    )


def test_pages_of_jobs(box):
    for job in [job for job in box.jobs.values() if job["dataStreamId"] == STREAM]:
        del box.jobs[job["id"]]
    for n in range(25):
        process(box, first=f"2024-03-{n + 1:02}", last=f"2024-03-{n + 1:02}")
    ids = [job["id"] for job in stats(box)]
    assert (
        len(ids) == 25
        and ids == sorted(ids)
        and [job["id"] for page in (1, 2, 3) for job in stats(box, size=10, page=page)] == ids
        and stats(box, size=10, page=4) == []
    )
    box.quirks.add("stats_cap_10")
    assert (
        len(stats(box)) == 10
        and [job["id"] for page in (1, 2, 3) for job in stats(box, page=page)] == ids
    )


# --- 8: downloads ---------------------------------------------------------------------------------


def test_downloads(box):
    good = next(job for job in stats(box) if job["status"] == "SUCCESS")
    reply = get(box, f"/v1/data-stream-stats/api/{good['id']}/download")
    with zipfile.ZipFile(io.BytesIO(reply.content)) as packed:
        lines = packed.read(packed.namelist()[0]).decode().splitlines()
    assert (
        reply.headers["content-type"] == "application/zip"
        and len(packed.namelist()) == 1
        and len(lines) > 1
    )
    uploaded = next(job for job in stats(box, UPLOADED) if job["status"] == "SUCCESS")
    assert (
        get(box, f"/v1/data-stream-stats/dynamic/{uploaded['id']}/download")
        .headers["content-type"]
        .startswith("text/csv")
    )
    pending = process(box).json()[-1]
    assert [
        get(box, f"/v1/data-stream-stats/{path}/download").status_code
        for path in (pending["id"], f"dynamic/{good['id']}", 1)
    ] == [404] * 3


# --- 9: queries and reports -----------------------------------------------------------------------


def rows(box, **change):
    return post(box, "/v1/query", {**QUERY, "sortBy": None, **change}).json()["queryResponseData"][
        "rows"
    ]


def test_queries(box):
    whole = rows(box, dimensions=["Day", "Campaign Name"], measurements=[{"name": "Clicks"}])
    assert len(whole) == 9 and whole == rows(
        box, dimensions=["DAY", "CAMPAIGN_NAME"], measurements=[{"name": "DELIVERY_CLICKS"}]
    )
    named = post(box, "/v1/query?useSystemNames=true", {**QUERY, "dimensions": ["Day"]}).json()[
        "queryResponseData"
    ]["headers"]
    assert named == ["DAY", "DELIVERY_CLICKS", "IMPRESSIONS"] and rows(
        box, dimensions=[], measurements=[{"name": "Clicks"}]
    ) == [[sum(row[2] for row in whole)]]
    top = rows(
        box,
        dimensions=["Day", "Campaign Name"],
        measurements=[{"name": "Clicks"}],
        sortBy="Clicks",
        sortOrder="DESC",
        topResults="2",
    )
    assert [row[2] for row in top] == sorted((row[2] for row in whole), reverse=True)[:2]
    narrow = {"dimensions": ["Day", "Campaign Name"], "measurements": [{"name": "Clicks"}]}
    assert {
        row[1]
        for row in rows(
            box,
            **narrow,
            groupDimensionFilters=[
                {"dimension": "Campaign Name", "operator": "NOT IN", "vals": ["Campaign 0"]}
            ],
        )
    } == {"Campaign 1", "Campaign 2"}
    assert {
        row[1]
        for row in rows(
            box,
            **narrow,
            stringDimensionFilters=[
                {"dimension": "Campaign Name", "operator": "ENDS_WITH", "val": "2"}
            ],
        )
    } == {"Campaign 2"}
    assert rows(
        box,
        **narrow,
        numberMeasurementFilter=[{"fieldName": "Clicks", "operator": "GREATER", "val": 40}],
    ) == [row for row in whole if row[2] > 40]
    assert [
        post(box, "/v1/query", {**QUERY, **change}).status_code
        for change in (
            {"dimensions": ["Nope"]},
            {"sortBy": "Nope"},
            {"measurements": []},
            {"workspaceId": "1"},
        )
    ] == [422, 422, 400, 404]


def test_reports_in_a_file_or_a_zip(box):
    for packed in (False, True):
        report = post(box, "/v1/reports", {**REPORT, "compressed": packed}).json()["id"]
        job = post(box, f"/v1/reports/{report}/process").json()[0]
        assert get(box, f"/v1/report-jobs/{job['id']}/download").status_code == 404
        box.clock.step(60)
        reply = get(box, f"/v1/report-jobs/{job['id']}/download")
        content = (
            zipfile.ZipFile(io.BytesIO(reply.content)).read("example_report.csv")
            if packed
            else reply.content
        )
        about, table = content.decode().replace("\r\n", "\n").split("\n\n")
        assert (
            table.splitlines()[0] == "Day,Site Name,Clicks"
            and len(table.splitlines()) == 7
            and f'filename="example_report.{"zip" if packed else "csv"}"'
            in reply.headers["Content-Disposition"]
        )
        assert get(box, f"/v1/reports/{report}/report-jobs").json()[0]["id"] == job["id"]
    assert (
        len(get(box, f"{WS}/1001/reports").json()) == 2
        and ask(box, "PATCH", f"/v1/reports/{report}", {"name": "Other"}).json()["name"] == "Other"
    )
    scheduler = post(box, "/v1/report-schedulers", {"reportId": report}).json()
    assert (
        get(box, f"/v1/report-schedulers/{scheduler['id']}").json() == scheduler
        and scheduler in get(box, f"/v1/reports/{report}/report-schedulers").json()
    )
    assert (
        ask(box, "DELETE", f"/v1/reports/{report}").status_code == 204
        and len(get(box, f"{WS}/1001/reports").json()) == 1
    )


def test_only_so_many_reports_are_kept(box):
    box.quirks.add("five_reports")
    assert [post(box, "/v1/reports", REPORT).status_code for _ in range(6)] == [201] * 5 + [400]


# --- 10: faults -----------------------------------------------------------------------------------


def met(box, fault, method="GET", path=WS, body=None, **how):
    box.fail(fault, path, **how)
    try:
        return ask(box, method, path, body)
    except requests.RequestException as e:
        return type(e).__name__


def test_every_fault_is_met_once_and_has_its_headers(box):
    for fault in DATORAMA_FAULTS:
        reply = met(
            box,
            fault,
            *(("POST", "/v1/query", QUERY) if fault == "query_errors" else ()),
            seconds=0.01,
        )
        if isinstance(reply, requests.Response):
            assert all(header in reply.headers for header in HEADERS) == (
                fault != "no_rate_headers"
            ), fault
    assert {*box.fired} == {*DATORAMA_FAULTS} and get(box, WS).status_code == 200
    assert {
        fault: met(box, fault).status_code
        for fault in (
            "rate_limited",
            "day_limited",
            "forbidden",
            "server_error",
            "bad_gateway",
            "unavailable",
            "html",
        )
    } == {
        "rate_limited": 429,
        "day_limited": 429,
        "forbidden": 403,
        "server_error": 500,
        "bad_gateway": 502,
        "unavailable": 503,
        "html": 200,
    }
    assert (
        "html" in met(box, "html").headers["content-type"]
        and "Too Many Requests" in met(box, "quoted_limit").text
    )
    with pytest.raises(ValueError):
        met(box, "truncated").json()
    with pytest.raises(SettingsError) as caught:
        box.fail("locked")
    assert caught.value.reason == "bad_fault"


@pytest.mark.parametrize(
    "fault, happened",
    [
        ("drop", 0),
        ("drop_after", 1),
        ("cut", 1),
        ("reset", 1),
        ("truncated", 1),
        ("server_error", 0),
        ("bad_gateway", 0),
        ("rate_limited", 0),
    ],
)
def test_what_a_write_that_went_wrong_has_done(box, fault, happened):
    before = len(box.jobs)
    met(
        box,
        fault,
        "POST",
        f"{DS}/{STREAM}/process",
        {"startDate": "2024-03-01", "endDate": "2024-03-01"},
    )
    assert len(box.jobs) - before == happened and len(box.log) == 1


def test_faults_by_path_and_count(box):
    box.fail("server_error", f"{DS}/{STREAM}/process", times=2, after=1)
    assert [process(box).status_code for _ in range(4)] == [200, 500, 500, 200] and get(
        box, WS
    ).status_code == 200
    box.fail("server_error", times=None)
    assert [get(box, path).status_code for path in (WS, "/v1/accounts")] == [500, 500]
    box.heal()
    assert get(box, WS).status_code == 200


# --- 11: the record -------------------------------------------------------------------------------


def test_every_request_is_remembered_without_its_token(box):
    process(box, user=1)
    get(box, "/v1/accounts?x=1", token="dato-api-guess")
    call, stranger = box.log
    assert (call.method, call.path, call.status, call.user, call.at) == (
        "POST",
        f"{DS}/{STREAM}/process",
        200,
        "bob",
        box.clock.now(),
    ) and json.loads(call.body)["startDate"] == "2024-03-01"
    assert (stranger.user, stranger.status, stranger.query) == ("", 401, "x=1")
    secrets = [
        "dato-api-guess",
        *(token.reveal() for tokens in box.tokens.values() for token in tokens),
    ]
    log = get(box, "/sandbox/log")
    assert len(log.json()) == 2 == len(box.log) and not [
        secret for secret in secrets if secret in f"{box.log} {box!r} {vars(box)} {log.text}"
    ]


def test_the_desk_of_the_sandbox_costs_nothing_and_wants_a_token(box):
    at = get(box, "/sandbox/clock").json()["now"]
    assert (
        post(box, "/sandbox/clock", {"step": 90}).json()["now"] == at + 90 == box.clock.now()
        and not box.log
    )
    assert post(box, "/sandbox/quirks", {"quirks": ["delete_200"]}).json() == [
        "delete_200"
    ] and box.quirks == {"delete_200"}
    assert (
        post(
            box, "/sandbox/faults", {"do": "fail", "fault": "server_error", "path": WS}
        ).status_code
        == 200
        and get(box, WS).status_code == 500
    )
    assert (
        get(box, "/sandbox/clock", token="guess").status_code == 403
        and post(box, "/sandbox/faults", {"do": "nonsense"}).status_code == 400
    )


# --- 12: strictness -------------------------------------------------------------------------------


def test_bodies_of_the_wrong_kind_are_refused_with_words(box):
    wrong = [
        ("POST", f"{DS}/{STREAM}/process", body)
        for body in (
            "text",
            [],
            None,
            {},
            {"startDate": "01/02/2024", "endDate": "2024-01-01"},
            {"startDate": "2024-03-02", "endDate": "2024-03-01"},
        )
    ]
    wrong += [
        ("PATCH", f"{DS}/{STREAM}", "text"),
        ("PATCH", f"{DS}/{STREAM}", [1]),
        ("POST", f"{DS}/api/{STREAM}/stats", "text"),
        ("POST", DS, {"name": "x"}),
        ("POST", f"{DS}/api/{STREAM}/rerun", {"id": 1}),
    ]
    for method, path, body in wrong:
        reply = ask(box, method, path, body)
        assert reply.status_code == 400 and len(reply.json()["errors"]) > 8, (
            path,
            body,
            reply.text,
        )
    assert process(box, UPLOADED).status_code == 400


def test_unknown_paths_and_tokens(box):
    assert [get(box, path).status_code for path in ("/v1/nothing", "/nothing")] == [404, 404]
    box.quirks.add("unknown_html")
    assert (
        all(
            "html" in get(box, path).headers["content-type"] and get(box, path).status_code == 200
            for path in ("/v1/nothing", "/nothing")
        )
        and get(box, f"{WS}/1").status_code == 404
    )
    assert [
        get(box, WS, token=token).status_code
        for token in ("dato-api-x", f"Bearer {box.api_token.reveal()}")
    ] == [401, 401]


# --- a day, reply by reply ------------------------------------------------------------------------

AGENCY = ROOT / "tests" / "fixtures" / "agency" / "day.json"


def test_a_day_at_a_small_agency():
    """Every endpoint, asked in an order in which it matters what was done before.

    `step` moves the clock on before a request (seconds), `as` is another user, `zip` names the
    file in the reply. The replies were read through, beside the samples, before they became what
    is expected."""
    wrong = []
    sizes = {"seed": 5, "workspaces": 2, "streams": 7, "users": 2, "jobs": 2, "parallel": 2}
    with sandbox.start_datorama(**sizes, today="2024-04-01") as box:
        box.clock.speed = 0
        box.clock.step(1_711_929_600 - box.clock.now())  # 1 April 2024, midnight
        for known in json.loads(AGENCY.read_text()):
            box.clock.step(known.get("step", 0))
            method, path = known["ask"].split(" ")
            who = [*box.tokens, "nobody"].index(known.get("as", "ada"))
            token = "dato-api-guess" if who == 2 else None
            reply = ask(box, method, path, known.get("body"), token, who % 2)
            kind, value = reply.headers.get("content-type", ""), reply.text
            if "zip" in known:
                packed = zipfile.ZipFile(io.BytesIO(reply.content))
                kind = kind.removeprefix("application/zip")
                value = packed.read(known["zip"]).decode()
            elif not isinstance(known["reply"], str):
                assert kind == "application/json;charset=UTF-8", known["ask"]
                value = reply.json()
            told, expected = (json.dumps(one, sort_keys=True) for one in (value, known["reply"]))
            if (reply.status_code, told) != (known["status"], expected):
                wrong.append((known["ask"], known.get("as"), reply.status_code, told, expected))
    assert wrong == []


@pytest.mark.parametrize("count, shown", [(1, 1), (2, 1), (3, 2), (5, 4)])
def test_all_but_the_first_user_see_all_workspaces_but_one(count, shown):
    with sandbox.start_datorama(workspaces=count, streams=0, users=3, today="2024-04-01") as box:
        assert len(get(box, WS).json()) == count
        assert [len(get(box, WS, user=user).json()) for user in (1, 2)] == [shown, shown]
        made = post(box, WS, {"name": "Of bob"}, user=1).json()["id"]
        assert get(box, f"{WS}/{made}", user=1).status_code == 200
        assert get(box, f"{WS}/{made}", user=2).status_code == 404


def test_what_is_left_of_a_minute_and_of_a_day(box):
    "The nine headers, call by call; resets are at the ends of the minute and of the day."
    box.clock.step(1_711_929_610 - box.clock.now())
    box.limits.update(platform=3, query=2, day=5)
    names = [
        f"X-{kind}-{what}"
        for kind in ("PlatformRateLimit", "QueryRateLimit", "DailyQuota")
        for what in ("Limit", "Remaining", "Reset")
    ]

    def headers(reply):
        return [reply.headers.get(name) for name in names]

    minute, midnight = "1711929660000", "1712016000000"
    query = {"workspaceId": 1001, "dateRange": "CUSTOM", "measurements": [{"name": "Clicks"}]}
    assert headers(get(box, WS)) == ["3", "2", minute, "2", "2", minute, "5", "4", midnight]
    told = post(box, "/v1/query", query)
    assert headers(told) == ["3", "2", minute, "2", "1", minute, "5", "3", midnight]
    get(box, WS)
    assert headers(get(box, WS)) == ["3", "0", minute, "2", "1", minute, "5", "1", midnight]
    over = get(box, WS)
    assert over.status_code == 429 and headers(over)[1] == "0" and headers(over)[7] == "1"
    assert over.headers["X-RateLimit-Reset"] == minute
    assert over.headers["X-DailyQuota-Rest"] == midnight
    assert over.json() == {"status": 429, "message": "Too Many Requests"}
    box.clock.step(49)
    assert get(box, WS).status_code == 429
    box.clock.step(1)
    assert get(box, WS).status_code == 200  # the fifth of the day
    last = get(box, WS)
    assert last.status_code == 429 and headers(last)[7] == "0"
    assert "X-RateLimit-Reset" not in last.headers
    assert get(box, WS, user=1).status_code == 200  # somebody else has a day of her own
    box.clock.step(86_400 - 60)
    assert headers(get(box, WS))[6:8] == ["5", "4"]
