"""Where two parts meet: odd replies and kept pages, formatters and destinations, runs and histories."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from typer.testing import CliRunner

from domostats import sandbox
from domostats.clients.domo.activity import get_activity_log
from domostats.clients.domo.certifications import CERTIFIED_DATASETS, get_certified_datasets
from domostats.errors import DataError, DestinationError, SettingsError
from domostats.interfaces.cli import app
from domostats.loading.files import write_file
from domostats.loading.store import Store
from domostats.reports.activity_log import report as log
from domostats.reports.groups import report as groups
from domostats.reports.report import Report, Source, estimate, run_all
from domostats.reports.users import report as users
from domostats.tracking.history import History


@pytest.fixture
def changed(box, monkeypatch):
    "Changes (functions of the bytes of a reply) by the path whose replies they have the last word about."
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
    with sandbox.start(seed=2) as other:
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
    assert run.uncertain.num_rows and taken.kept and taken.changed == 0


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
