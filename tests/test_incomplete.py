"""Whether a list is called incomplete: for which user, for which reason, and what is refused
then."""

import json
import warnings
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import pytest
from expected import expectations
from typer.testing import CliRunner

from domostats import reports, sandbox
from domostats.clients.domo.credentials import AccessToken
from domostats.clients.domo.datasets import search_datasets
from domostats.errors import AccessError, DataError, DomostatsError, RetryLaterError
from domostats.interfaces.cli import app
from domostats.loading.files import read_file, write_file
from domostats.loading.store import Store
from domostats.reports.declaration import Source
from domostats.reports.fleet import run_all
from domostats.reports.report import Report
from domostats.tracking.history.history import History
from domostats.transport.cursor import Cursor
from domostats.transport.offset import Offset

TODAY = "2024-04-01"
YEAR = {"since": datetime(2023, 1, 1), "until": datetime(2024, 4, 2)}
ME = "/api/content/v2/users/me"
ADMIN = "/api/content/v2/users/236686698"
GRANTS = "/api/authorization/v1/roles/1/authorities"
SHARES = "/api/content/v1/share/accesslist/page/"
GROUPS = "/api/content/v2/groups/grouplist"
PROVIDERS = "/api/data/v2/datasources/providers"
APPS = "/api/data/v1/accounts/templates/user/extended"
BULK = "/api/data/v3/datasources/bulk"

REPORTS = expectations()
NEEDED = {name: one.needs for name, one in REPORTS.items() if one.needs}
GUESSED = {name: one.guessed for name, one in REPORTS.items() if one.guessed}
ROWS = {name: one.all_and_own for name, one in REPORTS.items() if one.all_and_own}
DOMO = [name for name, one in REPORTS.items() if one.platform == "domo"]
ALL = [
    "account.admin",
    "account.view.all",
    "audit",
    "content.admin",
    "dataset.admin",
    "group.admin",
    "user.edit",
]
LIKE = ["account", "accounts.admin", "ACCOUNT.ADMIN", "audit.view", "content", "dataset.manage"]
ONE_OF = [(name, grant) for name, grants in NEEDED.items() for grant in grants]
GUESSED_ONE_OF = [(name, grant) for name, grants in GUESSED.items() for grant in grants]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        with sandbox.start(today=TODAY) as box:
            yield box


@pytest.fixture
def here(running):
    "A sandbox that these tests share; what was made to go wrong is mended after each."
    yield running
    running.heal()


@pytest.fixture
def fresh(own_folder):
    "A sandbox that nobody has asked before, which a terminal finds by its name."
    with sandbox.start(seed=21, today=TODAY) as box:
        yield box


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        with (
            sandbox.start(seed=11, groups=3, today=TODAY) as one,
            sandbox.start(seed=12, groups=4, today=TODAY) as two,
            sandbox.start(seed=13, groups=5, today=TODAY) as three,
        ):
            yield one, two, three


@pytest.fixture
def fleet_of(three):
    "Three instances with three, four and five groups; what was made to go wrong is mended."
    yield three
    for box in three:
        box.heal()


def run(box, name, token=None, format_fn=None, **how):
    "A run of a report from the beginning."
    how = (YEAR if "until" in REPORTS[name].narrowed_by else {}) | how
    return reports.find(name).run(box, token, format_fn, fresh=True, **how)


def told(run):
    "What a user is told of rows that may be missing."
    assert run.incomplete is bool(run.doubts) is run.partial
    assert [line for line in run.findings if line.startswith("Rows may be missing: ")] == [
        f"Rows may be missing: {doubt}" for doubt in run.doubts
    ]
    return list(run.doubts)


def none_of(*grants):
    return (
        f"this user has none of {', '.join(grants)}, and sees only what is theirs or shared with "
        "them."
    )


# --- who sees all of it -------------------------------------------------------------------------


@pytest.mark.parametrize("name", REPORTS)
def test_the_grants_of_every_report_are_those_that_are_expected(name):
    report, told = reports.find(name), REPORTS[name]
    for grants in ("needs", "guessed"):
        wrong = f"`{grants}` in tests/expected/{name}.py or in the report"
        assert getattr(told, grants) == tuple(getattr(report, grants)), wrong
    shortened = bool(told.needs) and not told.refused
    assert bool(told.all_and_own) is shortened, "all_and_own: where needs shortens the list"


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", NEEDED)
def test_without_any_of_its_grants_a_report_is_incomplete(here, name):
    here.serve(GRANTS, [grant for grant in ALL + LIKE if grant not in NEEDED[name]])
    found = run(here, name)
    assert told(found) == [none_of(*NEEDED[name])] and found.notes == []


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name, grant", ONE_OF)
def test_one_of_its_grants_is_enough(here, name, grant):
    here.serve(GRANTS, ["dataset.manage", grant])
    found = run(here, name)
    assert told(found) == [] and found.findings == [] and found.rows


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", GUESSED)
def test_a_grant_that_is_only_guessed_is_a_note(here, name):
    here.serve(GRANTS, [grant for grant in ALL + LIKE if grant not in GUESSED[name]])
    found = run(here, name)
    assert told(found) == []
    assert found.findings == [
        f"This user has none of {', '.join(GUESSED[name])}. Whether some of {name} is left out "
        "without it nobody has recorded; it is taken to be whole."
    ]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name, grant", GUESSED_ONE_OF)
def test_with_one_of_the_guessed_grants_there_is_no_note(here, name, grant):
    here.serve(GRANTS, [grant])
    found = run(here, name)
    assert told(found) == [] and found.findings == []


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", ROWS)
def test_a_user_with_few_grants_sees_her_own_and_is_told(here, name):
    ian = AccessToken(here.limited.access_token, instance=here)
    everything, own = run(here, name).rows, run(here, name, ian)
    assert (len(everything), len(own.rows)) == ROWS[name]
    assert all(row in everything for row in own.rows)
    assert told(own) == [none_of(*NEEDED[name])]


@pytest.mark.parametrize("name", [name for name, one in REPORTS.items() if one.refused])
def test_who_is_refused_learns_which_grant_is_missing(here, name):
    ian = AccessToken(here.limited.access_token, instance=here)
    with pytest.raises(AccessError) as caught:
        run(here, name, ian)
    assert caught.value.reason == "forbidden"
    sentence = f"The report {name} needs one of the grants: {', '.join(NEEDED[name])}."
    assert str(caught.value).count(sentence) == 1


@pytest.mark.parametrize("name", [name for name, one in REPORTS.items() if one.refusing])
def test_a_list_that_is_refused_names_the_grants(here, name):
    for fault, named in ("forbidden", True), ("not_found", False):
        here.fail(fault, path=REPORTS[name].refusing, times=None)
        with pytest.raises(AccessError) as caught:
            run(here, name)
        sentence = f"The report {name} needs one of the grants: {', '.join(NEEDED[name])}."
        assert caught.value.reason == fault and (sentence in str(caught.value)) is named
        here.heal()


def test_a_report_that_needs_no_grant_is_refused_without_naming_one(here):
    here.fail("forbidden", path=GROUPS, times=None)
    with pytest.raises(AccessError) as caught:
        run(here, "groups")
    assert caught.value.reason == "forbidden" and "needs one of" not in str(caught.value)


# --- grants that cannot be read -----------------------------------------------------------------


@pytest.mark.parametrize(
    "path, answer, reason",
    [
        (ADMIN, "forbidden", "forbidden"),
        (ADMIN, "not_found", "not_found"),
        (ADMIN, "server_error", "server_error"),
        (ADMIN, "empty", "empty"),
        (ADMIN, "html", "html"),
        (ADMIN, [], "unexpected"),
        (ADMIN, {"roleId": 1}, "unexpected"),
        (ADMIN, {"id": 236686698, "roleId": None}, "unexpected"),
        (ADMIN, {"id": 236686698, "roleId": "Admin"}, "unexpected"),
        (GRANTS, "forbidden", "forbidden"),
        (GRANTS, "not_found", "not_found"),
        (GRANTS, "server_error", "server_error"),
        (GRANTS, "unavailable", "unavailable"),
        (GRANTS, "moved", "redirected"),
        (GRANTS, None, "unexpected"),
        (GRANTS, "account.admin", "unexpected"),
        (GRANTS, {"account.admin": True}, "unexpected"),
        (GRANTS, [{"authority": "account.admin"}], "unexpected"),
        (GRANTS, ["account.admin", None], "unexpected"),
    ],
)
def test_grants_that_cannot_be_read_are_told(here, path, answer, reason):
    if isinstance(answer, str) and answer != "account.admin":
        here.fail(answer, path=path, times=None)
    else:
        here.serve(path, answer)
    found = run(here, "accounts")
    doubt = f"whether this user sees all of it could not be found out ({reason})."
    assert told(found) == [doubt] and len(found.rows) == 10
    supposed = run(here, "oauth_configurations")  # a guess is no use then
    assert told(supposed) == [] and supposed.findings == [] and len(supposed.rows) == 1


@pytest.mark.parametrize(
    "answer, reason",
    [("forbidden", "forbidden"), ("not_json", "not_json"), ({}, "unexpected"), ([7], "unexpected")],
)
def test_who_does_not_learn_who_he_is_is_told(fresh, answer, reason):
    if isinstance(answer, str):
        fresh.fail(answer, path=ME, times=None)
    else:
        fresh.serve(ME, answer)
    found = run(fresh, "accounts", format_fn="v2")
    doubt = f"whether this user sees all of it could not be found out ({reason})."
    assert told(found) == [doubt] and len(found.rows) == 9


def test_a_role_of_which_nobody_knows_has_no_grant(here):
    here.serve(ADMIN, {"id": 236686698, "roleId": 99})  # an unknown role has an empty list
    assert told(run(here, "accounts")) == [none_of("account.admin", "account.view.all")]
    here.serve(ADMIN, {"id": 236686698})
    assert told(run(here, "accounts")) == [none_of("account.admin", "account.view.all")]


# --- what is refused among what is seen ---------------------------------------------------------


@pytest.mark.parametrize(
    "name, rows, fault", [("page_access", 17, "forbidden"), ("page_people", 81, "not_found")]
)
def test_pages_whose_shares_are_refused_are_counted(here, name, rows, fault):
    whole = run(here, name, format_fn="all")
    assert len(whole.rows) == rows and told(whole) == []
    pages = sorted({row["page_id"] for row in whole.rows})
    here.fail(fault, path=SHARES + pages[3], times=None)
    found = run(here, name, format_fn="all")
    assert told(found) == [
        "GET /api/content/v1/share/accesslist/page/{}: 1 of them are gone or hidden from this "
        f"user, the first is {pages[3]}."
    ]
    assert found.rows == [row for row in whole.rows if row["page_id"] != pages[3]]
    here.fail(fault, path=SHARES, times=None)
    nothing = run(here, name, format_fn="all")
    assert nothing.rows == [] and "8 of them are gone or hidden" in told(nothing)[0]


@pytest.mark.parametrize(
    "fault, kind, reason",
    [
        ("server_error", RetryLaterError, "server_error"),
        ("rate_limited", RetryLaterError, "rate_limited"),
        ("not_json", DataError, "not_json"),
        ("html", DomostatsError, "html"),
    ],
)
def test_a_page_that_fails_in_another_way_ends_the_run(here, fault, kind, reason):
    here.fail(fault, path=SHARES, times=None, after=3)
    with pytest.raises(kind) as caught:
        run(here, "page_access")
    assert caught.value.reason == reason


def test_ids_that_bring_no_dataset_are_counted(here):
    whole = run(here, "datasets", format_fn="all")
    ids = [row["dataset_id"] for row in whole.rows]
    here.serve(BULK, {"dataSources": [{"id": id} for id in ids[2:]]})
    found = run(here, "datasets", format_fn="all")
    assert [row["dataset_id"] for row in found.rows] == ids[2:]
    assert told(found) == [
        "POST /api/data/v3/datasources/bulk: 2 of 15 ids brought no record; this user may not see "
        "them, or they are gone."
    ]
    here.serve(BULK, {"dataSources": []})
    nothing = run(here, "datasets", format_fn="all")
    assert nothing.rows == [] and "15 of 15 ids" in told(nothing)[0]


def test_a_group_whose_details_are_refused_stays_and_what_is_not_known_is_told(here):
    whole = run(here, "groups", format_fn="with_creator")
    gone = whole.rows[2]["Group Id"]
    here.fail("forbidden", path=f"/api/content/v2/groups/{gone}", times=None)
    found = run(here, "groups", format_fn="with_creator")
    assert told(found) == [
        "GET /api/content/v2/groups/{}: 1 of them are gone or hidden from this user, the first is "
        f"{gone}."
    ]
    expected = [dict(row) for row in whole.rows]
    expected[2] |= {"Creator Id": None, "Is Default": None}
    assert found.rows == expected
    assert found.uncertain.to_pylist() == [
        {"k0": gone, "column": "Creator Id"},
        {"k0": gone, "column": "Is Default"},
    ]
    assert told(run(here, "groups")) == []  # whose columns need no details


@pytest.mark.parametrize(
    "name, format_fn, path, others",
    [
        ("accounts", "domostats", "/api/data/v1/accounts", ["v1"]),
        ("accounts", "owners", "/api/content/v2/users", ["v2"]),
        ("users", "domostats", "/api/authorization/v1/roles", ["identity"]),
        ("users", "all", "/api/content/v2/users", ["identity"]),
        ("datasets", "domostats", "/api/data/v1/streams/bulk", ["all"]),
        ("datasets", "domostats", "/api/search/v1/query", ["all"]),
    ],
)
@pytest.mark.parametrize(
    "fault, kind", [("forbidden", AccessError), ("server_error", RetryLaterError)]
)
def test_a_lookup_that_fails_ends_the_run_of_those_that_read_it(
    here, name, format_fn, path, others, fault, kind
):
    here.fail(fault, path=path, times=None)
    with pytest.raises(kind) as caught:
        run(here, name, format_fn=format_fn)
    assert caught.value.reason == fault and path in str(caught.value)
    for other in others:
        assert run(here, name, format_fn=other).rows


# --- lists that move while they are read, as a report tells of them -----------------------------


@dataclass
class Approval:
    id: int


def over(listing):
    "A report of one source, which is this list."
    return Report("approvals", "one approval", "id", Source("approval_obj", listing, Approval))


@pytest.fixture
def scripted(here, monkeypatch):
    """A function that lets the sandbox answer a path with these values, one after the other; the
    last one stays."""
    answer = here.domo.answer

    def put(path, *values):
        left = [json.dumps(value).encode() for value in values]

        def scripted_answer(method, asked, headers, body, query):
            reply = answer(method, asked, headers, body, query)
            if asked != path:
                return reply
            headers = {"content-type": "application/json"}
            return reply._replace(
                status=200, body=left.pop(0) if left[1:] else left[0], headers=headers
            )

        monkeypatch.setattr(here.domo, "answer", scripted_answer)
        monkeypatch.setattr(here.domo, "ready", lambda *_: False)

    return put


def page_of(*ids, after=None, total=None):
    page = {"nodes": [{"id": id} for id in ids], "page": {"after": after}}
    return page if total is None else {**page, "total": total}


BOOKMARKS = Cursor(
    "/api/synapse/approval",
    at="nodes",
    key="id",
    next="page.after",
    size=2,
    body={"query": "*"},
    method="GET",
)
TOTALS = Offset("/api/synapse/approval", at="nodes", key="id", size=2, total="total")


@pytest.mark.parametrize(
    "pages, ids, doubt",
    [
        ([page_of(1, 2, after="x"), page_of(3)], [1, 2, 3], None),
        ([page_of(1, 2, after="x"), page_of(3, 4, after="x")], [1, 2, 3, 4], "its bookmark is 'x'"),
        ([page_of(1, 2, after="x"), page_of(1, 2)], [1, 2], "a page brings nothing new"),
        ([page_of(1, 2, after="x"), page_of(2, 3)], [1, 2, 3], "came again on another"),
    ],
)
def test_a_bookmark_that_repeats_makes_a_run_incomplete(scripted, here, pages, ids, doubt):
    scripted("/api/synapse/approval", *pages)
    found = over(BOOKMARKS).run(here, fresh=True)
    assert [row["id"] for row in found.rows] == ids
    said = told(found)
    assert bool(said) is bool(doubt)
    if doubt:
        assert any(doubt in one for one in said)
        assert all(one.startswith("GET /api/synapse/approval: ") for one in said)


@pytest.mark.parametrize(
    "pages, ids, doubt",
    [
        ([page_of(1, 2, total=3), page_of(3, total=3)], [1, 2, 3], None),
        (
            [page_of(1, 2, total=3), page_of(3, total=4), page_of(total=4)],
            [1, 2, 3],
            "the list had 3 records, then 4: it changed while it was read.",
        ),
        (
            [page_of(1, 2, total=4), page_of(3, total=4), page_of(total=4)],
            [1, 2, 3],
            "3 records came, where the service counts 4.",
        ),
    ],
)
def test_a_total_that_changes_or_is_not_reached_makes_a_run_incomplete(
    scripted, here, pages, ids, doubt
):
    scripted("/api/synapse/approval", *pages)
    found = over(TOTALS).run(here, fresh=True)
    assert [row["id"] for row in found.rows] == ids
    said = told(found)
    assert (f"GET /api/synapse/approval: {doubt}" in said) is bool(doubt) is bool(said)


def test_a_dataset_that_the_search_counts_and_does_not_show_is_told(here):
    whole = run(here, "datasets", format_fn="all").rows
    here.hide(whole[4]["dataset_id"])
    found = run(here, "datasets", format_fn="all")
    assert found.rows == [row for row in whole if row is not whole[4]]
    counted = (
        "POST /api/data/ui/v3/datasources/search: 14 records came, where the service counts 15."
    )
    assert counted in told(found)


# --- records that are rejected ------------------------------------------------------------------


def provider(*accounts):
    return [{"key": "k", "name": "K", "accounts": list(accounts)}]


def test_a_rejected_record_makes_a_run_incomplete_and_names_its_place(here):
    here.serve(PROVIDERS, provider({"id": 1}, {"id": "x"}, {"displayName": "none"}))
    found = run(here, "accounts", format_fn="v2")
    assert [row["account_id"] for row in found.rows] == [1]
    assert found.incomplete and found.partial and found.doubts == []
    first, second = found.findings
    assert first.startswith("A record was set aside: account_obj, page 1, row 2, field 'id'")
    assert second.startswith("A record was set aside: account_obj, page 1, row 3, field 'id'")
    ((_, part),) = found.coverage.parts.items()
    assert (
        not part.complete and [one[:24] for one in part.missing] == ["A record was set aside: "] * 2
    )


def test_of_many_rejected_records_five_are_told_and_the_others_counted(here):
    here.serve(APPS, [{"id": 1}, *({"name": str(n)} for n in range(7))])
    found = run(here, "oauth_configurations")
    assert len(found.rows) == 1 and len(found.violations) == 7
    assert sum(line.startswith("A record was set aside: ") for line in found.findings) == 5
    assert found.findings[5] == "2 more records were set aside."
    assert found.dataframe().attrs["domostats"]["incomplete"] is True


def test_a_list_of_which_nothing_can_be_read_is_an_error_and_an_empty_one_is_none(here):
    here.serve(APPS, [{"id": None}, {"id": []}])
    with pytest.raises(DataError) as caught:
        run(here, "oauth_configurations")
    assert caught.value.reason == "all_set_aside"
    said = "Every record of oauth_configurations had to be set aside, the first because of page 1"
    assert said in str(caught.value)
    here.serve(APPS, [])
    found = run(here, "oauth_configurations")
    assert found.rows == [] and not found.incomplete


def test_a_rejected_record_of_a_lookup_makes_a_run_incomplete(here):
    whole = run(here, "accounts", format_fn="owners")
    assert not whole.incomplete
    here.serve(PROVIDERS, provider({"id": 1, "userId": "27"}, {"id": 2, "userId": "28"}))
    here.serve("/api/content/v2/users", [{"id": 27, "displayName": "Ada"}, {"id": []}])
    here.serve(ADMIN, {"id": 236686698, "roleId": 1})
    found = run(here, "accounts", format_fn="owners")
    assert [row["owner_name"] for row in found.rows] == ["Ada", None]
    assert found.incomplete and found.findings[0].startswith(
        "A record was set aside: owner_obj, page 1, row 2, field 'id'"
    )
    assert found.uncertain.to_pylist() == [{"k0": 2, "column": "owner_name"}]


# --- several instances --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place, fault, kind, reason",
    [
        (0, "forbidden", AccessError, "forbidden"),
        (1, "not_json", DataError, "not_json"),
        (2, "server_error", RetryLaterError, "server_error"),
    ],
)
def test_an_instance_that_fails_is_named_and_the_rows_of_the_others_are_there(
    fleet_of, place, fault, kind, reason
):
    down = fleet_of[place]
    down.fail(fault, path=GROUPS, times=None)
    fleet = run_all(reports.find("groups"), fleet_of, "all")
    sizes = {fleet_of[0].name: 3, fleet_of[1].name: 4, fleet_of[2].name: 5}
    there = {name: size for name, size in sizes.items() if name != down.name}
    assert list(fleet.runs) == list(there) and fleet.incomplete
    assert {name: type(error) for name, error in fleet.failures.items()} == {down.name: kind}
    assert fleet.failures[down.name].reason == reason
    assert repr(fleet) == "<groups of 2 instances, 1 failed>"
    names = fleet.table["instance"].to_pylist()
    assert names == [name for name, size in there.items() for _ in range(size)]
    assert list(fleet.coverage.parts) == [("", name) for name in there]
    assert all(part.complete for part in fleet.coverage.parts.values())
    with pytest.warns(UserWarning, match="Not in this table: ") as warned:
        frame = fleet.dataframe()
    assert str(warned[0].message) == f"Not in this table: {down.name} ({fleet.failures[down.name]})"
    said = frame.attrs["domostats"]
    assert said["failures"] == {down.name: reason} and said["incomplete"] is said["partial"] is True


def test_where_none_fails_several_instances_are_complete(fleet_of):
    fleet = run_all(reports.find("groups"), fleet_of)
    assert not fleet.incomplete and fleet.failures == {} and fleet.table.num_rows == 12
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = fleet.dataframe().attrs["domostats"]
    assert said["failures"] == {} and said["incomplete"] is said["partial"] is False


def test_several_instances_are_incomplete_when_one_of_them_is(fleet_of):
    fleet_of[1].serve(GRANTS, ["audit"])
    fleet = run_all(reports.find("accounts"), fleet_of, "v2")
    assert fleet.incomplete and fleet.failures == {} and len(fleet.runs) == 3
    told_of = {name: part.missing for (_, name), part in fleet.coverage.parts.items()}
    assert told_of == {
        fleet_of[0].name: (),
        fleet_of[1].name: (none_of("account.admin", "account.view.all"),),
        fleet_of[2].name: (),
    }


def test_an_instance_that_breaks_off_in_the_middle_leaves_no_row(fleet_of):
    fleet_of[2].fail("server_error", path=SHARES, times=None, after=4)
    fleet = run_all(reports.find("page_access"), fleet_of, "all")
    assert list(fleet.failures) == [fleet_of[2].name]
    assert set(fleet.table["instance"].to_pylist()) == {fleet_of[0].name, fleet_of[1].name}


def test_where_all_fail_the_first_error_is_raised(fleet_of):
    for box, fault in zip(fleet_of, ("not_found", "forbidden", "forbidden"), strict=True):
        box.fail(fault, path=GROUPS, times=None)
    with pytest.raises(AccessError) as caught:
        run_all(reports.find("groups"), fleet_of)
    assert caught.value.reason == "not_found" and fleet_of[0].url in str(caught.value)


def test_what_stands_of_an_instance_that_fails_is_not_replaced(fleet_of):
    apps, path, store = reports.find("oauth_configurations"), Path("apps.parquet"), Store("x.db")
    whole = run_all(apps, fleet_of, "all")
    write_file(whole, path)
    store.write("apps", whole)
    before = read_file(path).to_pylist(), store.read("apps").to_pylist()
    down = fleet_of[1]
    down.fail("forbidden", path=APPS, times=None)
    fleet_of[0].serve(APPS, [{"id": 7, "name": "new"}])
    fleet = run_all(apps, fleet_of, "all")
    notes = []
    write_file(fleet, path, note=notes.append)
    store.write("apps", fleet, note=notes.append)
    assert notes == [
        f"apps.parquet keeps the rows of {down.name} as they were.",
        f"dataset apps keeps the rows of {down.name} as they were.",
    ]
    for rows, old in zip(
        (read_file(path).to_pylist(), store.read("apps").to_pylist()), before, strict=True
    ):
        others = [row for row in rows if row["instance"] != fleet_of[0].name]

        def by_name(row):
            return row["instance"]

        kept = [row for row in old if row["instance"] != fleet_of[0].name]
        assert sorted(others, key=by_name) == sorted(kept, key=by_name) != []
        assert [row["name"] for row in rows if row not in others] == ["new"]


# --- narrowed runs ------------------------------------------------------------------------------

MARCH = datetime(2024, 3, 1, tzinfo=timezone.utc)


def test_a_run_knows_to_what_it_was_narrowed(here):
    log = run(here, "activity_log", since=MARCH, until=None)
    assert log.window == (MARCH, None) and not log.incomplete and 0 < len(log.rows) < 200
    assert {row["Event_Time"] >= MARCH for row in log.rows} == {True}
    log = run(here, "activity_log", since=None, until=MARCH)
    assert log.window == (None, MARCH) and 0 < len(log.rows) < 200
    log = run(here, "activity_log", since=MARCH, until=datetime(2024, 3, 8))
    assert log.window == (MARCH, datetime(2024, 3, 8, tzinfo=timezone.utc))
    assert log.dataframe().attrs["domostats"]["window"] == [
        "2024-03-01T00:00:00+00:00",
        "2024-03-08T00:00:00+00:00",
    ]
    for name in ("page_access", "page_people", "datasets"):
        found = run(here, name, since=MARCH)
        assert found.window == (MARCH, None) and found.findings == []
        assert len(found.rows) < ROWS[name][0]
        assert run(here, name).window is None


def test_an_old_dataset_that_changed_lately_is_in_a_narrowed_run(here):
    march = 1_709_251_200_000  # 1 March 2024, in milliseconds
    listed = search_datasets(here).response
    lately = {one["id"] for one in listed if one["lastTouched"] >= march}
    new = {one["id"] for one in listed if one["created"] >= march}
    assert new < lately < {one["id"] for one in listed}
    rows = run(here, "datasets", since=MARCH).rows
    assert {row["ID"] for row in rows} == lately


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", [name for name in DOMO if not REPORTS[name].narrowed_by])
def test_what_cannot_be_narrowed_is_read_whole_and_says_so(here, name):
    found = run(here, name, since=MARCH, until=datetime(2024, 3, 8))
    assert found.window is None and not found.incomplete
    assert found.findings == [
        f"{word} has no effect on {name}: it is read whole, since the service cannot narrow it by "
        "time."
        for word in ("since", "until")
    ]
    assert found.rows == run(here, name).rows


def test_until_alone_narrows_events_only(here):
    found = run(here, "page_access", until=MARCH)
    assert found.window is None and len(found.rows) == 17
    assert [line[:34] for line in found.findings] == ["until has no effect on page_access"]
    assert run(here, "activity_log", until=MARCH).findings == []


@pytest.mark.parametrize("name", ["activity_log", "page_access"])
def test_a_narrowed_run_is_no_snapshot_and_replaces_no_whole_one(here, name):
    report = reports.find(name)
    whole, some = run(here, name, since=None, until=None), run(here, name, since=MARCH, until=None)
    history = History.of(report, Store("here.duckdb"))
    write_file(whole, "x.csv")
    before = Path("x.csv").read_bytes()
    for use in (
        lambda: history.snapshot(some),
        lambda: history.snapshot(some.table, allow_incomplete=True),
        lambda: write_file(some, "x.csv"),
        lambda: write_file(some, "x.csv", allow_incomplete=True),
    ):
        with pytest.raises(DataError) as caught:
            use()
        assert caught.value.reason == "narrowed"
    assert Path("x.csv").read_bytes() == before and history.snapshots().num_rows == 0


# --- what is refused on the ground of it ---------------------------------------------------------


@pytest.fixture
def domostats(fresh, monkeypatch, capfd):
    "A function that runs a command on the sandbox; gives its exit code and all it printed."
    from domostats.interfaces import cli

    monkeypatch.setenv("COLUMNS", "300")
    Path("settings.ini").write_text(
        "[domostats]\nstore = here.duckdb\n[extractors]\n"
        "classes = domostats.tracking.domo_extractors.AccountCounts\n"
        f"first_date = 2024-03-01\nmigrations = migrations\ninstance = {fresh.name}\n"
    )

    def command(line):
        result = CliRunner().invoke(app, line.format(box=fresh.name).split())
        error = result.exception
        if error is None or isinstance(error, SystemExit):
            return result.exit_code, result.output
        assert isinstance(error, DomostatsError), error
        return cli.exit_code(error), result.output + str(error)

    return command


FEW = none_of("account.admin", "account.view.all")
GENERATE = "generate accounts --instance {box} --format v1 --to "


@pytest.mark.parametrize("to", ["a.csv", "dataset"])
def test_an_incomplete_run_does_not_replace_a_complete_one_and_says_what_to_do(
    fresh, domostats, to
):
    def content():
        return (Store().read(to) if to == "dataset" else read_file(to)).num_rows

    assert domostats(GENERATE + to)[0] == 0
    before = content()
    fresh.serve(GRANTS, ["audit"])
    accounts = provider({"id": 1}, {"id": 2})
    fresh.serve(PROVIDERS, accounts)
    code, said = domostats(GENERATE + to)
    assert code == 6 and content() == before > 2
    assert "incomplete" in said and FEW in said and "--allow-incomplete" in said
    code, said = domostats(GENERATE + to + " --allow-incomplete")
    assert code == 0 and content() == 2
    assert "incomplete from now on, in place of a complete run" in said
    assert f"note: Rows may be missing: {FEW}" in said


def test_where_nothing_stands_an_incomplete_run_is_written_with_a_note(fresh, domostats):
    fresh.serve(GRANTS, [])
    code, said = domostats(GENERATE + "a.parquet")
    assert code == 0 and f"a.parquet: incomplete, rows may be missing: {FEW}" in said
    fresh.heal()
    code, said = domostats(GENERATE + "a.parquet")
    assert code == 0 and "note" not in said and "missing" not in said


def test_of_many_reports_the_incomplete_one_is_refused_with_its_code(fresh, domostats):
    line = "run --instance {box} --only accounts,groups --to out"
    assert domostats(line)[0] == 0
    fresh.serve(GRANTS, ["group.admin"])
    code, said = domostats(line)
    assert code == 6 and "done: 1, failed: 1" in said
    assert f"failed: accounts of {fresh.name}: DataError incomplete: " in said
    assert read_file("out/accounts.parquet").num_rows > 2
    assert read_file("out/groups.parquet").num_rows == 8


def test_one_of_two_instances_that_fails_gives_its_code(fresh, domostats):
    with sandbox.start(seed=22, today=TODAY) as down:
        line = "generate groups --instance {box} --instance " + down.name + " --to g.parquet"
        assert domostats(line)[0] == 0
        before = read_file("g.parquet").to_pylist()
        for fault, code in ("forbidden", 5), ("not_json", 6), ("server_error", 75):
            down.heal()
            down.fail(fault, path=GROUPS, times=None)
            found, said = domostats(line)
            assert found == code and "done: 1, failed: 1" in said
            assert f"failed: {down.name}: " in said and fault in said
            assert read_file("g.parquet").to_pylist() == before


def test_a_snapshot_of_an_incomplete_run_is_refused(fresh, domostats):
    fresh.serve(PROVIDERS, provider({"id": 1}, {"id": 2}))
    line = "snapshot accounts --instance {box} --format v2"
    assert domostats(line)[0] == 0
    fresh.serve(GRANTS, ["audit"])
    fresh.serve(PROVIDERS, provider({"id": 1, "type": "new"}))
    code, said = domostats(line)
    assert code == 6 and FEW in said and "What is missing would look as if it were gone" in said
    history = History.of(reports.find("accounts"), format_fn="v2", instance=fresh.name)
    assert history.at().num_rows == 2 and history.snapshots().num_rows == 1
    assert domostats(line + " --allow-incomplete")[0] == 0
    assert history.at()["type"].to_pylist() == ["new", None]  # the second one is not gone
    assert history.snapshots()["missing"].to_pylist() == [0, 1]


def test_a_day_that_is_extracted_incomplete_is_refused(fresh, domostats):
    assert domostats("make-migrations")[0] == 0 and domostats("migrate")[0] == 0
    fresh.serve(GRANTS, ["audit"])
    line = "extract -f 2024-03-01 -l 2024-03-01"
    code, said = domostats(line)
    assert code == 6 and FEW in said and "the day was not written" in said
    code, said = domostats(line + " --allow-incomplete")
    assert code == 0 and FEW in said
    fresh.heal()
    code, said = domostats(line)  # what was incomplete is done again, and only once
    assert code == 0 and FEW not in said
