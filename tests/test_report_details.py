"Small things of reports: how calls are numbered."

from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from domostats import reports
from domostats.clients.domo.groups import GROUPS
from domostats.reports.calls import calls_of
from domostats.reports.declaration import Source
from domostats.reports.join import JoinedRecords
from domostats.transport.call_log import CallLog, LoggedCall
from domostats.transport.pages import Page


@dataclass
class Row:
    id: int


def log_of(count):
    log = CallLog()
    for number in range(1, count + 1):
        log.note(LoggedCall(1_711_929_600 + number, "GET", f"/{number}"))
    return log


def test_calls_are_numbered_from_one_and_keep_their_numbers():
    "A store that has the calls of yesterday gets none of them again under another number."
    log = log_of(3)
    rows = calls_of(SimpleNamespace(calls=log))
    assert [row["id"] for row in rows] == [f"{log.name}-{n}" for n in (1, 2, 3)]
    assert [row["at"] for row in rows] == [1_711_929_600_000 + n * 1000 for n in (1, 2, 3)]
    longer = log_of(10_005)  # of which the first five are forgotten
    rows = calls_of(SimpleNamespace(calls=longer))
    assert len(rows) == 10_000
    assert all(row["id"] == longer.name + row["path"].replace("/", "-") for row in rows)


def test_the_calls_of_a_pool_are_those_of_all_its_connections():
    ones = [SimpleNamespace(calls=log_of(2)), SimpleNamespace(calls=log_of(1))]
    rows = calls_of(SimpleNamespace(connections=ones))
    first, second = (one.calls.name for one in ones)
    assert [row["id"] for row in rows] == [f"{first}-1", f"{first}-2", f"{second}-1"]


def test_each_report_says_its_name_and_what_one_of_its_rows_is():
    assert {name: repr(reports.find(name)) for name in reports.names()} == {
        name: f"<report {name}: {row}>"
        for name, row in {
            "access_tokens": "one access token, also an expired one",
            "accounts": "one account: the credential that a connector signs in with",
            "activity_log": "one event",
            "calls": "one attempt of this process",
            "dash_loads": "one load that this machine knows",
            "dash_queries": "one query that was started on this machine",
            "datasets": "one dataset",
            "datorama_jobs": "one job of a data stream",
            "datorama_streams": "one data stream",
            "datorama_workspaces": "one workspace",
            "group_members": "one member of one group",
            "groups": "one group",
            "oauth_configurations": "one OAuth configuration: the app through which accounts "
            "sign in",
            "page_access": "one share of a page, with a user or with a group",
            "page_people": "one person who may open a page, and the way",
            "role_members": "one member of one role",
            "users": "one user, also those of Domo's support",
        }.items()
    }


@pytest.mark.parametrize("keys, set_aside", [(None, 1), ({"group_obj": ()}, 0)])
def test_without_keys_a_record_that_lacks_a_required_field_is_set_aside(keys, set_aside):
    joined = JoinedRecords(Source("group_obj", GROUPS, Row), keys)
    joined.take(Page(1, b'[{"id": 5}, {"name": "x"}]', 2))
    assert joined.align() == 2 - set_aside
