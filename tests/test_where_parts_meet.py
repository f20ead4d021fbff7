"""Where two parts meet: odd replies and kept pages, formatters and destinations, runs and
histories."""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from domostats import sandbox
from domostats.clients.domo.activity import get_activity_log
from domostats.clients.domo.certifications import CERTIFIED_DATASETS, get_certified_datasets
from domostats.errors import DataError, DestinationError, SettingsError
from domostats.interfaces.cli import app
from domostats.loading.files import read_file, write_file
from domostats.loading.store import Store
from domostats.reports.activity_log import report as log
from domostats.reports.declaration import Source
from domostats.reports.fleet import run_all
from domostats.reports.groups import report as groups
from domostats.reports.plan import estimate
from domostats.reports.report import Report
from domostats.reports.users import report as users
from domostats.tracking.history.history import History
from domostats.transport.answer import Answer
from domostats.transport.numbered import Numbered
from domostats.transport.reader import Reader


@pytest.fixture
def changed(box, monkeypatch):
    """Changes (functions of the bytes of a reply) by the path whose replies they have the last
    word about."""
    changes, answer = {}, box.domo.answer

    def changed_answer(method, path, headers, body, query):
        reply = answer(method, path, headers, body, query)
        for start, change in changes.items():
            if path.startswith(start) and reply.status == 200:
                reply = reply._replace(body=change(bytes(reply.body)))
        return reply

    monkeypatch.setattr(box.domo, "answer", changed_answer)
    monkeypatch.setattr(box.domo, "ready", lambda *_: False)
    return changes


CERTIFIED = "/api/synapse/approval/graphql"


@dataclass
class Certified:
    "One certified dataset."

    node: Any
    cursor: str | None = None


certified = Report(
    "certified", "one dataset", "node", Source("node_obj", CERTIFIED_DATASETS, Certified)
)


def with_bookmark(value):
    "A change that puts this (bytes) in place of each bookmark."
    return lambda content: re.sub(
        rb'("hasNextPage": ?)(?:true|false)(.*?"endCursor": ?)(?:"[^"]*"|null)|'
        rb'("endCursor": ?)(?:"[^"]*"|null)(.*?"hasNextPage": ?)(?:true|false)',
        lambda found: (
            found[1] + b"true" + found[2] + value
            if found[1]
            else found[3] + value + found[4] + b"true"
        ),
        content,
    )


@pytest.mark.parametrize("value", [b'"\xff"', b'"\\ud83d"', b"1e400", b"[]", b"{}"])
def test_a_bookmark_that_cannot_be_read_is_an_error_of_the_kit(box, changed, value):
    changed[CERTIFIED] = with_bookmark(value)
    with pytest.raises(DataError) as e:
        get_certified_datasets(box)
    assert e.value.reason == "bad_bookmark"


@pytest.mark.parametrize("reply", [b'{"errors":[{"message":"odd"}]}', b"{}"])
def test_a_kept_page_without_a_bookmark_is_asked_for_again(box, changed, reply):
    changed[CERTIFIED] = lambda content: reply
    with pytest.raises(DataError):
        certified.run(box)
    changed.clear()
    assert certified.run(box, reuse=True).came == len(get_certified_datasets(box).response)


@pytest.mark.parametrize("row", [None, ["a"], "text"])
@pytest.mark.parametrize("contract", ["report", "extend"])
def test_a_function_that_makes_no_row_is_told_under_every_contract(box, row, contract):
    with pytest.raises(DataError) as e:
        groups.generate(box, format_fn=lambda group_obj: row, contract=contract)
    assert e.value.reason == "not_a_row"


def test_a_column_of_the_formatter_is_not_replaced_by_the_fields_that_are_kept_out(box):
    own = groups.fields.add(other_fields="group_obj.name")
    for format_fn in (own, lambda group_obj: {"other_fields": group_obj["name"]}):
        assert len(groups.generate(box, format_fn=format_fn))
        with pytest.raises(DataError) as e:
            groups.generate(box, format_fn=format_fn, contract="extend")
        assert e.value.reason == "name_clash"


@pytest.mark.parametrize("name", ["instance", "Instance"])
def test_a_column_called_instance_is_refused_for_several_instances(box, tmp_path, name):
    with sandbox.start(seed=2, today="2024-04-01") as other:
        fleet = run_all(groups, [box, other], lambda group_obj: {"id": 1, name: "mine"})
        for use in (
            fleet.dataframe,
            lambda: write_file(fleet, tmp_path / "groups.parquet"),
            lambda: Store().write("groups", fleet),
        ):
            with pytest.raises(DestinationError) as e:
                use()
            assert e.value.reason == "reserved_column"


def test_half_a_character_in_the_name_of_a_column_is_told(box):
    with pytest.raises(DataError) as e:
        groups.generate(box, format_fn=lambda group_obj: {"\ud83d": 1})
    assert e.value.reason == "bad_column"


def test_a_history_with_a_key_of_its_own_takes_the_run_of_a_function(box):
    history = History("names", key=["name"])

    def names(group_obj):
        return {"name": group_obj["name"], "members": group_obj["memberCount"]}

    history.snapshot(groups.run(box, format_fn=names))
    taken = history.snapshot(groups.run(box, format_fn=names))
    assert taken.rows and taken[3:6] == (0, 0, 0)


def test_what_is_not_known_is_no_change_for_a_history_with_a_key_of_its_own(box, changed):
    history = History("people", key=["Email"])
    history.snapshot(users.run(box))
    changed["/api/authorization/v1/roles"] = lambda content: b"[]"
    run = users.run(box)
    taken = history.snapshot(run, allow_incomplete=True)
    assert run.uncertain_key == ("User ID",) and run.uncertain.num_rows
    assert taken.kept and taken.changed == 0


@pytest.mark.parametrize("name", ["taken", "taken/below"])
def test_a_file_in_the_place_of_the_folder_is_told(box, tmp_path, name):
    (tmp_path / "taken").write_text("a file")
    done = CliRunner().invoke(
        app, ["run", "--instance", box.name, "--only", "groups", "--to", str(tmp_path / name)]
    )
    assert isinstance(done.exception, DestinationError) and done.exception.reason == "no_folder"
    assert (tmp_path / "taken").read_text() == "a file"


def test_a_window_that_ends_before_it_begins_is_refused(box, tmp_path):
    late, early = datetime(2024, 4, 1), datetime(2024, 3, 1)
    for use in (
        lambda: log.generate(box, since=late, until=early),
        lambda: write_file(log.run(box, since=late, until=early), tmp_path / "log.parquet"),
        lambda: get_activity_log(box, since=late, until=early),
        lambda: estimate(log, box, since=late, until=early),
    ):
        with pytest.raises(SettingsError) as e:
            use()
        assert e.value.reason == "bad_range"
    assert not (tmp_path / "log.parquet").exists()


class Pages:
    "A connection to lists of numbered pages, of which the service gives `most` rows at a time."

    instance = SimpleNamespace(url="http://lists")

    def __init__(self, lists, most, hidden=(), empty_once=()):
        self.lists, self.most, self.hidden, self.empty = lists, most, hidden, {*empty_once}
        self.asked = []

    def ask(self, request, debug_api=False):
        self.asked.append((request.path, request.body["pageNumber"]))
        start = (request.body["pageNumber"] - 1) * self.most
        rows = self.lists[request.path][start : start + self.most]
        if self.asked[-1] in self.empty:
            self.empty.discard(self.asked[-1])
            rows = []
        shown = [{"id": id} for id in rows if id not in self.hidden]
        return Answer("POST", request.path, 200, json.dumps(shown).encode(), {}, 0.0)


def read_lists(connection):
    "The ids of all lists, and the reader."
    reader, ids = Reader(connection), []
    for path in connection.lists:
        listing = Numbered(path, key="id", method="POST", size=100, cuts_alike=True)
        ids += [row["id"] for page in listing.pages(reader) for row in page.records()]
    return ids, reader


def lists_of(*sizes):
    return {f"/{n}": [*range(1000 * n, 1000 * n + size)] for n, size in enumerate(sizes)}


@pytest.mark.parametrize("page", [("/1", 2), ("/1", 3), ("/2", 2), ("/2", 4)])
def test_a_numbered_page_behind_others_that_came_empty_once_hides_nothing(page):
    lists = lists_of(40, 25, 40, 3)
    ids, reader = read_lists(Pages(lists, 10, empty_once=[page]))
    assert ids == sum(lists.values(), []) and reader.doubts == []


BEHIND = "there are rows behind a page that came short or empty."


@pytest.mark.parametrize("hidden", [[1009], [1008, 1009], [2019], [2000], [3007]])
def test_a_hidden_row_of_a_numbered_page_ends_no_list_without_a_word(hidden):
    lists = lists_of(40, 25, 40, 3)
    ids, reader = read_lists(Pages(lists, 10, hidden=hidden))
    assert ids == [id for id in sum(lists.values(), []) if id not in hidden]
    told = [] if hidden == [3007] else [f"POST /{hidden[0] // 1000}: {BEHIND}"]
    assert reader.doubts == told


def test_undisturbed_numbered_lists_cost_little_and_are_never_marked():
    lists = lists_of(40, 25, 40, 3, 0, 8)
    connection = Pages(lists, 10)
    ids, reader = read_lists(connection)
    assert ids == sum(lists.values(), []) and not reader.doubts
    pages = sum(-(-len(rows) // 10) or 1 for rows in lists.values())
    assert len(connection.asked) <= pages + 6


def without_a_key(content):
    "Groups of which the first has no id."
    records = json.loads(content)
    if isinstance(records, list) and len(records) > 1:
        records[0]["groupId"] = None
    return json.dumps(records).encode()


@pytest.mark.sampled(2)
@pytest.mark.parametrize("form", ["table", "reader", "file", "csv"])
def test_what_an_incomplete_run_gave_removes_nothing_in_whatever_form_it_comes(
    box, changed, tmp_path, form
):
    history = History.of(groups, instance=box.name)
    history.snapshot(groups.run(box))
    changed["/api/content/v2/groups/grouplist"] = without_a_key
    with groups.stream(box, fresh=True) as run:
        path = tmp_path / ("groups.csv" if form == "csv" else "groups.parquet")
        if form in ("file", "csv"):
            write_file(run, path, note=str)
        data = {"table": lambda: run.table, "reader": run.reader}.get(form, lambda: read_file(path))
        with pytest.raises(DataError) as e:
            history.snapshot(data())
    assert e.value.reason == "incomplete" and len(history.snapshots()) == 1


def test_the_table_of_a_narrowed_run_and_of_several_instances_is_no_snapshot(box):
    with pytest.raises(DataError) as e:
        History.of(log, instance="here").snapshot(log.run(box, since=datetime(2024, 3, 1)).table)
    assert e.value.reason == "narrowed"
    with sandbox.start(seed=2, today="2024-04-01") as other:
        fleet = run_all(groups, [box, other])
        for data in (fleet, fleet.table, fleet.reader(), fleet.dataframe()):
            with pytest.raises(SettingsError) as e:
                History.of(groups, instance="here").snapshot(data)
            assert e.value.reason == "several_instances"
