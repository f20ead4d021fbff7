"""Every report: on the recorded samples, on the sandbox, with doubts, with surprises, again
without a call, and on many instances."""

import json
import warnings
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from conftest import ROOT
from expected import MANY, expectations
from platforms import started

from domostats import reports, sandbox
from domostats.errors import AccessError, DataError, SettingsError
from domostats.reports.fleet import run_all
from domostats.reports.keys import KeyCounter
from domostats.reports.plan import estimate
from domostats.reports.reading import reading
from domostats.rows.rowtype import columns_of
from domostats.transport.pages import Page, join_array, split_array
from domostats.transport.reader import Reader

FIXTURES = ROOT / "tests" / "fixtures" / "domo"
SMALL = {"streams": 5, "today": "2024-04-01"}
YEAR = {"since": datetime(2023, 1, 1), "until": datetime(2024, 4, 2)}
REPORTS = expectations()
NAMES = [*REPORTS]


@pytest.fixture
def place(name, box):
    "A sandbox of the platform of a report."
    if reports.find(name).platform in ("domo", None):
        yield box
    else:
        with started(reports.find(name).platform, datorama=SMALL) as running:
            yield running


def sample(name):
    return json.loads((FIXTURES / f"{name}.json").read_text())


def made(name, records, **lookups):
    "A report over records that were fetched before."
    report = reports.find(name)
    pages = {
        keyword: [Page(1, join_array(split_array(json.dumps(rows).encode())), len(rows))]
        for keyword, rows in {report.source.keyword: records, **lookups}.items()
    }
    run = report.over(
        report.formatter("all"), {lookup.keyword: [] for lookup in report.lookups} | pages
    )
    return run, run.rows


def how(name):
    return YEAR if "until" in REPORTS[name].narrowed_by else {}


# --- recorded replies -----------------------------------------------------------------------------


def test_groups_of_the_recording():
    run, rows = made("groups", sample("groups_list"))
    assert [
        (row["group_id"], row["group_type"], row["member_count"], row["created_at"].isoformat())
        for row in rows
    ] == [
        ("200000001", "open", 2, "2023-06-08T20:59:05+00:00"),
        ("200000002", "system", 1, "2022-01-15T10:11:12+00:00"),
    ]
    assert not run.findings


def test_a_dataset_of_the_recording():
    run, [row] = made("datasets", [sample("dataset_v3_detail")])
    assert (
        row["dataset_id"] == "00000000-0000-4000-8000-000000000031"
        and row["owner_id"] == "100000001"
        and row["card_info_card_count"] == 2
    )
    assert (
        row["stream_id"] == "825"
        and row["created_at"].isoformat() == "2022-11-13T22:48:00+00:00"
        and not run.findings
    )


def test_the_access_list_of_the_recording():
    run, rows = made("page_access", [{"parent": 300000001, "reply": sample("page_access_list")}])
    assert [(row["entity_type"], row["entity_id"], row["entity_name"]) for row in rows] == [
        ("USER", "100000002", "Ben Sample"),
        ("GROUP", "200000001", "Example Group"),
        ("GROUP", "200000002", "Example Group Two"),
    ]
    _, people = made("page_people", [{"parent": 300000001, "reply": sample("page_access_list")}])
    assert len({row["user_id"] for row in people}) == sample("page_access_list")[
        "totalUserCount"
    ] and [row["via_group_id"] for row in people] == ["", "200000001", "200000002"]


def test_events_of_the_recording():
    run, rows = made("activity_log", sample("activity_log_events"))
    assert [row["action_type"] for row in rows] == ["EXECUTED", "DELETED"] and rows[0][
        "event_at"
    ].isoformat() == "2024-03-23T18:20:47.106000+00:00"
    assert len({row["event_key"] for row in rows}) == 2 and not run.findings


def test_a_user_of_the_documentation():
    run, [row] = made("users", sample("users_identity_v1_list")["users"])
    assert (
        row["user_id"] == "100000001"
        and row["reports_to"] == "100000002"
        and row["is_active"] is True
        and row["last_activity_at"].isoformat() == "2025-01-01T00:00:00+00:00"
    )
    assert not run.violations and not run.unknown


# --- what holds for each --------------------------------------------------------------------------


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", NAMES)
def test_keys_are_unique_types_are_declared_and_nothing_is_found(place, name):
    report = reports.find(name)
    for shape, formatter in report.formatters.items():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            frame = report.generate(place, format_fn=shape, **how(name))
        assert (
            (len(frame) or name == "calls")
            and frame.attrs["domostats"]["repeated"] == 0
            and not frame.attrs["domostats"]["partial"]
        )
        assert list(frame.columns) == formatter.schema.names
    run = report.run(place, **how(name))
    assert run.table.schema == report.formatter().schema and run.came == run.table.num_rows


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", NAMES)
def test_the_last_run_can_be_played_again_without_a_call(place, name):
    report = reports.find(name)
    before = report.run(place, **how(name)).rows
    calls = len(place.log)
    assert report.run(place, restore=True, **how(name)).rows == before and len(place.log) == calls


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", NAMES)
def test_the_stream_gives_what_the_table_gives(place, name):
    report = reports.find(name)
    with report.stream(place, **how(name)) as run:
        assert run.reader().read_all().to_pylist() == report.run(place, **how(name)).rows


@pytest.mark.parametrize("name", [name for name in NAMES if REPORTS[name].needs])
def test_a_user_without_the_grant_is_told(box, name):
    from domostats.clients.domo.auth import get_session_token

    session = get_session_token(box, box.limited.username, box.limited.password)
    if REPORTS[name].refused:
        with pytest.raises(AccessError) as caught:
            reports.find(name).run(box, session, **how(name))
        assert caught.value.reason == "forbidden"
        return
    with pytest.warns(UserWarning, match="Rows may be missing"):
        frame = reports.find(name).generate(box, session)
    assert (
        frame.attrs["domostats"]["partial"]
        and "has none of" in frame.attrs["domostats"]["doubts"][0]
    )


# --- beyond the caps ------------------------------------------------------------------------------


@pytest.mark.slow
def test_ten_thousand_in_one_millisecond():
    from domostats.clients.domo.auth import sign_in
    from domostats.clients.domo.datasets import DATASET_SEARCH

    with sandbox.start(users=40, datasets=12_100, same_day=10_200, today="2024-04-01") as box:
        reader = Reader(sign_in(box))
        listing = replace(DATASET_SEARCH, size=1000)
        ids = [record["id"] for page in listing.pages(reader) for record in page.records()]
        assert len(ids) == len(set(ids)) and listing.rows(reader) == 12_100
        assert len(ids) == 11_862 and reader.doubts == [
            "POST /api/data/ui/v3/datasources/search: 12100 records are counted, and 11862 of them "
            "came in pieces below the cap of 10000; 238 are missing."
        ]


def test_what_cannot_be_reached_is_counted(box):
    from domostats.clients.domo.auth import sign_in
    from domostats.clients.domo.datasets import DATASET_SEARCH

    box.quirks.add("ignores_date_filter")
    reader = Reader(sign_in(box))
    listing = replace(DATASET_SEARCH, cap=4, size=2, owners=())
    assert not [*listing.pages(reader)] and reader.doubts == [
        "POST /api/data/ui/v3/datasources/search: 15 records are counted, and 0 of them came in "
        "pieces below the cap of 4; 15 are missing."
    ]


def test_a_bookmark_ends_a_list_and_one_that_never_changes_is_told(box):
    from domostats.clients.domo.auth import sign_in
    from domostats.transport.cursor import Cursor

    listing = Cursor(
        "/api/synapse/approval",
        at="nodes",
        key="id",
        next="page.after",
        body={"query": "*"},
        method="GET",
    )
    reader = Reader(sign_in(box))
    box.serve(listing.path, {"nodes": [{"id": 1}, {"id": 2}], "page": {"after": None}})
    assert [page.rows for page in listing.pages(reader)] == [2] and not reader.doubts
    box.serve(listing.path, {"nodes": [{"id": 1}, {"id": 2}], "page": {"after": "x"}})
    assert (
        [page.rows for page in listing.pages(reader)] == [2]
        and all("the list may be cut" in doubt for doubt in reader.doubts)
        and reader.doubts
    )


# --- surprises ------------------------------------------------------------------------------------

GROUPS = "/api/content/v2/groups/grouplist"


def served(box, *records):
    box.serve(GROUPS, list(records))


def test_the_three_contracts(box):
    good, new, bad = (
        {"groupId": 1, "name": "one"},
        {"groupId": 2, "color": "red"},
        {"groupId": 3, "memberCount": "many"},
    )

    def run(**how):
        return reports.find("groups").run(box, format_fn="all", fresh=True, **how)

    served(box, good, new, bad)
    told = run()
    assert [row["group_id"] for row in told.rows] == ["1", "2", "3"]
    assert "color" not in told.table.column_names and not told.violations
    contract = told.contract()
    assert {(line.field, line.kind) for line in contract.itertuples()} >= {
        ("color", "new"),
        ("memberCount", "null"),
        ("description", "missing"),
    }
    assert "page 1, row 3" in contract.loc[contract["kind"] == "null", "example"].item()
    assert [row["other_fields"] for row in run(contract="extend").rows] == [
        None,
        '{"color":"red"}',
        None,
    ]
    with pytest.raises(DataError) as caught:
        run(contract="freeze")
    assert (caught.value.reason, caught.value.page, caught.value.row, caught.value.column) == (
        "contract",
        1,
        3,
        "memberCount",
    )
    served(box, good, new)
    with pytest.raises(DataError) as caught:
        run(contract="freeze")
    assert caught.value.reason == "contract" and "color" in str(caught.value)
    served(box, good)
    assert len(run(contract="freeze").rows) == 1
    with pytest.raises(SettingsError) as caught:
        run(contract="melt")
    assert caught.value.reason == "bad_contract"


def test_a_key_that_comes_again_far_away_is_found():
    keys = KeyCounter()
    keys.LARGE = 10
    for start in (0, 20, 40, 5):
        keys.add(pa.array([str(n) for n in range(start, start + 15)]), pa.array(["USER"] * 15))
    assert keys.file and keys.repeated() == 10


# --- before the run, and together -----------------------------------------------------------------


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", NAMES)
def test_an_estimate_is_what_a_run_takes(name):
    platform = reports.find(name).platform
    with started(platform, domo={"today": "2024-04-01", **MANY}) as box:
        report = reports.find(name)
        if report.platform == "datorama":
            box.limits["platform"] = 1000  # an estimate looks through the lists below the streams
        told = estimate(report, box, **how(name))
        before = len(box.log)
        report.run(box, **how(name))
        assert (len(box.log) - before, told.total) == REPORTS[name].calls_of_many, (
            f"`calls_of_many` in tests/expected/{name}.py: calls made, and estimated"
        )


def test_reports_that_share_a_list_ask_for_it_once(box):
    from domostats.clients.domo.auth import sign_in

    with reading(sign_in(box), "both") as reader:
        for name in ("page_access", "page_people"):
            assert reports.find(name).read(reader.again(), "all").rows
    asked = [call for call in box.log if "/share/accesslist/" in call.path]
    assert len(asked) == 8 and len({call.path for call in asked}) == 8


def test_only_what_changed_is_asked_for(box):
    from domostats.clients.domo.pages import get_pages

    moments = sorted(page["lastModified"] for page in get_pages(box).response)
    since = datetime(1970, 1, 1) + timedelta(milliseconds=moments[4])  # no zone: UTC
    newer = [moment for moment in moments if moment >= moments[4]]
    before = len(box.calls)
    reports.find("page_access").run(box, format_fn="all", since=since)
    assert (
        sum("/share/accesslist/" in path for _, path, _ in box.calls[before:])
        == len(newer)
        < len(moments)
    )


def test_one_instance_that_fails_does_not_take_the_others_along(box):
    with (
        sandbox.start(seed=2, today="2024-04-01") as other,
        sandbox.start(seed=3, today="2024-04-01") as broken,
    ):
        broken.fail("forbidden", times=None)
        fleet = run_all(reports.find("groups"), [box, other, broken])
        with pytest.warns(UserWarning, match=broken.name):
            frame = fleet.dataframe()
        assert set(frame["instance"]) == {box.name, other.name} and frame.attrs["domostats"][
            "failures"
        ] == {broken.name: "forbidden"}
        assert list(frame.columns)[0] == "instance"
        with pytest.raises(AccessError):
            run_all(reports.find("groups"), [broken])


@pytest.mark.parametrize("name", NAMES)
def test_every_field_of_every_row_type_is_in_a_formatter_or_dropped_by_name(name):
    report = reports.find(name)
    fields = {
        column.service_name
        for column in columns_of(report.source.row_type).values()
        if column.arrow is not None
    }
    read = {
        place.split(".", 1)[1]
        for formatter in report.formatters.values()
        for places in formatter.places.values()
        for place in places
        if place.startswith(report.source.keyword + ".")
    }
    assert fields - read == REPORTS[name].left_out, f"`left_out` in tests/expected/{name}.py"


# --- of which platform ----------------------------------------------------------------------------


def test_a_report_is_refused_by_an_instance_of_another_platform(box):
    with sandbox.start_datorama(today="2024-04-01") as agency:
        for name, place in ("datorama_streams", box), ("users", agency):
            with pytest.raises(SettingsError) as caught:
                reports.find(name).run(place)
            assert caught.value.reason == "wrong_platform" and place.name in str(caught.value)
    for platform in "domo", "datorama", "dash":
        assert reports.names(platform) == [
            name for name, one in REPORTS.items() if one.platform in (platform, None)
        ]


def test_settings_say_which_platform_an_address_has():
    with sandbox.start_datorama(today="2024-04-01") as agency:
        Path("settings.ini").write_text(
            f"[instance.agency]\nurl = {agency.url}\nplatform = datorama\n"
            "[instance.other]\nplatform = nothing\n"
        )
        assert len(reports.find("datorama_workspaces").run("agency", agency.api_token).rows) == 3
        with pytest.raises(SettingsError) as caught:
            reports.find("users").run("other")
        assert caught.value.reason == "unknown_platform"


def test_the_calls_of_a_run(box):
    reports.find("groups").run(box)
    rows = reports.find("calls").run(box).rows
    assert [row["path"] for row in rows] == [call.path for call in box.log] and {
        row["status"] for row in rows
    } == {200}
    assert (
        len({row["id"] for row in rows}) == len(rows)
        and reports.find("calls").run(box).rows == rows
        and reports.find("calls").run(box, restore=True).rows == rows
    )


def test_a_call_keeps_its_id_when_the_log_has_dropped_older_ones(box):
    from domostats.clients.domo.auth import sign_in
    from domostats.transport.call_log import LoggedCall

    log, calls = sign_in(box).calls, reports.find("calls")
    calls.run(box)

    def ids_after(*numbers):
        for number in numbers:
            log.note(LoggedCall(number, "GET", f"/{number}", 200))
        rows = calls.run(box, fresh=True).rows
        assert len({row["id"] for row in rows}) == len(rows)
        return {row["path"]: row["id"] for row in rows}

    before, after = ids_after(*range(1, 11)), ids_after(*range(11, 10_006))
    assert [*after] == [f"/{number}" for number in range(6, 10_006)]
    assert [after[f"/{n}"] for n in range(6, 11)] == [before[f"/{n}"] for n in range(6, 11)]


def test_the_calls_of_a_pool_are_those_of_each_user():
    from domostats.clients.datorama.auth import sign_in

    with sandbox.start_datorama(users=2, today="2024-04-01") as agency:
        pool = {user: tokens[0] for user, tokens in agency.tokens.items()}
        reports.find("datorama_streams").run(agency, pool)
        rows = reports.find("calls").run(agency, pool).rows
        assert len(rows) == len(agency.log) == sum(
            len(one.calls) for one in sign_in(agency, pool).connections
        ) and len({row["id"] for row in rows}) == len(rows)
