"""The slider over a history and the calendar of releases, through their Python side: what they
read, say and show, against models that are written here."""

import re
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("itables")
pytest.importorskip("anywidget")

import ipywidgets
from widget_support import close_all, part, parts, press, said, saved_state

from domostats.errors import SettingsError
from domostats.loading.store import Store
from domostats.tracking.history.history import History
from domostats.tracking.loads import Loads
from domostats.tracking.registry.api import Registry
from domostats.tracking.registry.client import RegistryClient
from domostats.tracking.registry.database import Database
from domostats.tracking.registry.entities import (
    Dataset,
    DatasetRelease,
    DatasetType,
    Organisation,
    TableType,
    Workflow,
    WorkflowType,
)
from domostats.tracking.registry.service import make_service, serving
from domostats.widgets import HistoryViewer, ReleaseCalendar
from domostats.widgets.choice_slider import ChoiceSlider
from domostats.widgets.day_grid import DayGrid
from domostats.widgets.history_tables import find_gaps
from domostats.widgets.looks import WIDGET_VIEW

DAY = datetime(2024, 4, 1, tzinfo=timezone.utc)
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(autouse=True)
def nothing_left():
    yield
    close_all()


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store.duckdb")


def at(n):
    return DAY + timedelta(days=n)


def keep(store, *states, name="things"):
    "A history with a snapshot a day: each state is a dict from an id to a name."
    history = History(name, "id", store)
    for n, state in enumerate(states):
        ids = pa.array([*state], pa.int64())
        history.snapshot(
            pa.table({"id": ids, "name": pa.array([*state.values()], "string")}), at(n)
        )
    return history


# --- a page of a state ----------------------------------------------------------------------------


STATES = st.dictionaries(st.integers(0, 6), st.none() | st.sampled_from(["", "a", "b"]))


def expected_rows(before, now):
    "The rows of a comparison, as (id, change, name shown, name before)."
    rows = []
    for id in sorted({*before, *now}):
        if id not in now:
            rows.append((id, "removed", before[id], {}))
        elif id not in before:
            rows.append((id, "added", now[id], {}))
        elif before[id] != now[id]:
            rows.append((id, "changed", now[id], {"name": before[id]}))
        else:
            rows.append((id, "", now[id], {}))
    return rows


@settings(max_examples=6, deadline=None)
@given(st.lists(STATES, min_size=2, max_size=3), st.integers(1, 4))
def test_a_page_is_what_one_would_write_down_by_hand(states, most):
    with TemporaryDirectory() as folder:
        history = keep(Store(Path(folder) / "s.duckdb"), *states)
        for since, until, only in ((0, -1, False), (-2, -1, True), (0, -2, False)):
            wanted = expected_rows(states[since], states[until])
            places = [n % len(states) for n in (until, since)]
            found = history.compare(*map(at, places), most, only)
            rows = [row for row in wanted if row[1] or not only]
            assert [
                (int(row.values[0]), row.change, row.values[1], row.before) for row in found.rows
            ] == rows[:most]
            changes = [row[1] for row in wanted]
            counts = found.added, found.removed, found.changed
            assert counts == tuple(changes.count(name) for name in ("added", "removed", "changed"))
            assert found.total == len(states[until])


def test_columns_may_be_called_as_ours_are_and_a_key_may_have_two(store):
    history = History("odd", ["change", "k0"], store)
    names = "change", "k0", "column", "before", "after", "cells", "texts"
    history.snapshot(pd.DataFrame([["a", 1, *"pqrst"], ["b", 1, *"pqrst"]], columns=names), at(0))
    history.snapshot(pd.DataFrame([["a", 1, *"Pqrst"], ["b", 2, *"pqrst"]], columns=names), at(1))
    found = history.compare(at(1), at(0))
    told = [(row.change, row.values[:2], row.before) for row in found.rows]
    assert told == [
        ("changed", ("a", "1"), {"column": "p"}),
        ("removed", ("b", "1"), {}),
        ("added", ("b", "2"), {}),
    ]
    assert "change a, k0 1: column: 'p'" in repr(HistoryViewer(history))


def test_a_value_that_is_not_known_is_told_and_so_are_rows_that_did_not_come(store):
    history = History("late", "id", store)
    table = pa.table({"id": [1, 2], "name": pa.array([None, "Bob"], "string")})
    doubt = pa.table({"k0": [1], "column": ["name"]})
    history.snapshot(SimpleNamespace(table=table, incomplete=False, uncertain=doubt), at(0))
    viewer = HistoryViewer(history)
    assert viewer.comparison.rows[0].unknown == {"name"}
    assert "<em>? not known</em>" in said(viewer.widget)
    half = SimpleNamespace(table=table.slice(1), incomplete=True)
    history.snapshot(half, at(1), allow_incomplete=True)
    press(viewer.widget, "Read again")
    assert "1 row did not come in an incomplete run" in said(viewer.widget)
    assert "1 row did not come in an incomplete run" in repr(viewer)
    assert viewer.comparison.total == 2 and viewer.comparison.removed == 0
    names = pa.table({"id": [1, 2], "name": ["Ann", "Bob"]})
    history.snapshot(names, at(2))
    assert history.compare(at(0)).rows[0].values == ("1", "Ann")  # known now, and so it was
    assert history.compare(at(0)).rows[0].unknown == frozenset()


# --- the slider -----------------------------------------------------------------------------------


def shown_table(viewer):
    "The cells of the rows that are shown, as texts without tags."
    rows = re.findall(r"<tr>(.*?)</tr>", viewer._rows.value)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]
    return [[re.sub(r"<[^>]+>", "", cell).strip() for cell in row] for row in cells]


def test_the_slider_shows_the_rows_of_a_day_and_what_became_different(store):
    history = keep(store, {1: "Ann", 2: "Bob"}, {1: "Ann", 2: "Bo", 3: "Cy"}, {2: "Bo", 3: "Cy"})
    viewer = HistoryViewer(history)
    assert viewer.slider.options == ["2024-04-01", "2024-04-02", "2024-04-03"]
    assert viewer.snapshot.at == at(2) and viewer.since.at == at(1)
    assert "things as of 2024-04-03 UTC: 2 rows. Since 2024-04-02: \u2212 1 removed." in said(
        viewer.widget
    )
    viewer.slider.index = 1
    assert shown_table(viewer) == [
        ["change", "id", "name"],
        ["", "1", "Ann"],
        ["\u2260 changed", "2", "Bob \u2192 Bo"],
        ["+ added", "3", "Cy"],
    ]
    part(viewer.widget, "Only rows that are different").value = True
    assert [row[1] for row in shown_table(viewer)[1:]] == ["2", "3"]
    assert "2 rows with differences" in said(viewer.widget)


def test_any_earlier_snapshot_can_be_compared_with_and_none_that_is_later(store):
    viewer = HistoryViewer(keep(store, {1: "a"}, {1: "b"}, {1: "c"}, {1: "d"}))
    offered = part(viewer.widget, "Compared with")
    names = [name for name, _ in offered.options]
    assert names == ["the snapshot before", "nothing", "2024-04-03", "2024-04-02", "2024-04-01"]
    offered.value = 1
    assert "b \u2192 d" in shown_table(viewer)[1][2]
    viewer.slider.index = 2
    assert "b \u2192 c" in shown_table(viewer)[1][2] and viewer.since.at == at(1)
    viewer.slider.index = 1  # it cannot be compared with itself: back to the one before
    assert "a \u2192 b" in shown_table(viewer)[1][2]
    offered.value = None
    assert shown_table(viewer)[1] == ["", "1", "b"] and "Since" not in said(viewer.widget)
    viewer.slider.index = 3
    assert shown_table(viewer)[1] == ["", "1", "d"]


def test_of_many_rows_only_a_page_is_read_and_it_says_so(store, monkeypatch):
    viewer = HistoryViewer(
        keep(store, dict.fromkeys(range(3000), "a"), dict.fromkeys(range(2990), "b")), most=50
    )
    assert len(viewer.comparison.rows) == 50 and len(shown_table(viewer)) == 51
    assert "2\u202f990 rows, and 10 removed; only the first 50 are shown" in said(viewer.widget)
    assert "2\u202f990 changed" in said(viewer.widget)
    assert "... and 2\u202f980 more" in repr(viewer)
    assert len(viewer._repr_mimebundle_()["text/html"]) < 60_000
    for name in ("at", "frame", "changes", "validity"):  # those that read everything
        monkeypatch.setattr(History, name, None)
    viewer.slider.index = 0
    assert viewer.comparison.total == 3_000


def test_nothing_in_a_cell_a_head_or_a_name_is_html(store):
    history = History(HOSTILE, "id", store)
    history.snapshot(pd.DataFrame({"id": [1], HOSTILE: [HOSTILE]}), at(0))
    history.snapshot(pd.DataFrame({"id": [1], HOSTILE: [HOSTILE * 2]}), at(1))
    viewer = HistoryViewer(history)
    bundle = viewer._repr_mimebundle_()
    assert "<img" not in said(viewer.widget) and "<img" not in bundle["text/html"]
    assert "&lt;img" in bundle["text/html"]


def test_the_timeline_tells_counts_and_gaps(store):
    history = History("things", "id", store)
    for day, ids in ((0, [1]), (1, [1, 2]), (2, [2]), (6, [2, 3])):
        history.snapshot(pa.table({"id": ids}), at(day))
    viewer = HistoryViewer(history)
    viewer.slider.index = 1
    told = re.sub(r"<[^>]+>", " ", viewer._timeline.value)
    assert re.search(r"\u25b6 2024-04-02\s+2\s+\+ 1", told) and "\u2212 1" in told
    assert "no snapshot for 4 days" in told and "4 snapshots" in told
    assert viewer._timeline.value.count("aria-current") == 1


@given(st.lists(st.integers(1, 3), min_size=2, max_size=12))
def test_a_gap_is_an_interval_of_twice_the_usual_or_more(steps):
    moments = [DAY]
    for days in steps:
        moments.append(moments[-1] + timedelta(days=days))
    ordered = sorted(steps)
    usual = (ordered[(len(steps) - 1) // 2] + ordered[len(steps) // 2]) / 2
    wanted = {n for n, days in enumerate(steps, 1) if days >= 2 * usual}
    assert {*find_gaps(moments)} == wanted


def test_snapshots_of_one_second_keep_apart_on_the_slider(store):
    history = History("things", "id", store)
    for seconds in (0, 1, 1.5):
        history.snapshot(pa.table({"id": [1]}), DAY + timedelta(seconds=seconds))
    options = HistoryViewer(history).slider.options
    assert len({*options}) == 3 and options[-1] == "2024-04-01 00:00:01.500000"


def test_without_a_history_it_says_what_to_do(store):
    with pytest.raises(SettingsError, match="Take a snapshot first") as caught:
        HistoryViewer(History("none", "id", store))
    assert caught.value.reason == "no_history"


def test_what_goes_wrong_later_is_a_sentence_above_no_rows(store):
    history = keep(store, {1: "a"}, {1: "b"})
    viewer = HistoryViewer(history)
    history.take_back(at(0), and_later=True)
    viewer.slider.index = 0
    assert 'role="alert"' in said(viewer.widget) and viewer._rows.value == ""
    assert "Traceback" not in said(viewer.widget)


def test_the_code_that_is_told_gives_the_same(store):
    history = keep(store, {1: "a", 2: "b"}, {2: "c"})
    frame, changes = (
        eval(line, {"history": history}) for line in HistoryViewer(history).code.split("\n")
    )
    assert frame.to_dict("list") == {"id": [2], "name": ["c"]}
    assert sorted(changes["change"]) == ["changed", "removed"]


# --- the calendar ---------------------------------------------------------------------------------


APRIL = [date(2024, 4, n) for n in range(1, 31)]


@pytest.fixture
def ledger(store):
    "A ledger with days of events: loaded, empty, and one of which rows may be missing."
    ledger = Loads(store)
    for day in (1, 2, 4):
        ledger.load("events", f"s:2024-04-0{day}", pd.DataFrame({"id": range(day)}), run="night")
    ledger.load("events", "s:2024-04-05", pd.DataFrame({"id": pd.Series([], dtype="int64")}))
    half = pd.DataFrame({"id": [1]})
    half.attrs["domostats"] = {"incomplete": True, "doubts": ["Page 3 did not come."]}
    ledger.load("events", "s:2024-04-07", half, allow_incomplete=True)
    return ledger


def states_of(calendar):
    "The states of the days that are shown, by their day."
    days = [day for month in calendar.grid.months for week in month["weeks"] for day in week if day]
    return {day["day"]: day["state"] for day in days}


def test_a_day_is_missing_only_where_the_source_has_it(ledger):
    alone = states_of(ReleaseCalendar("events", ledger))
    assert alone == {
        "2024-04-01": "loaded",
        "2024-04-02": "loaded",
        "2024-04-03": "none",
        "2024-04-04": "loaded",
        "2024-04-05": "empty",
        "2024-04-06": "none",
        "2024-04-07": "incomplete",
    }
    with_source = states_of(ReleaseCalendar("events", ledger.place, APRIL[:9]))
    assert with_source == alone | dict.fromkeys(
        ("2024-04-03", "2024-04-06", "2024-04-08", "2024-04-09"), "missing"
    )


def test_a_day_tells_when_it_was_loaded_how_many_rows_and_from_where(ledger):
    calendar = ReleaseCalendar("events", ledger, APRIL[:8])
    calendar.grid.chosen = "2024-04-04"
    line = next(line for line in ledger.lines("events") if line.release_key == "s:2024-04-04")
    for word in (line.checksum, "night", f"{line.loaded_at:%Y-%m-%d %H:%M}", "Thursday, 4 April"):
        assert word in said(calendar.widget)
    calendar.choose(date(2024, 4, 7))
    assert "Page 3 did not come." in said(calendar.widget)
    calendar.choose("2024-04-06")
    assert "Missing, though the source has them: s:2024-04-06" in said(calendar.widget)
    assert "What the source has is not known" not in said(calendar.widget)


def test_it_reads_again_and_keeps_the_day_and_the_year(ledger):
    ledger.load("events", "s:2023-12-31", pd.DataFrame({"id": [1]}))
    calendar = ReleaseCalendar("events", ledger, APRIL[:3])
    assert calendar.year_box.options == (2023, 2024) and calendar.year_box.value == 2024
    calendar.choose("2024-04-03")
    assert "1 missing" in said(calendar.widget)
    ledger.load("events", "s:2024-04-03", pd.DataFrame({"id": range(33)}))
    press(calendar.widget, "Read again")
    assert states_of(calendar)["2024-04-03"] == "loaded" and ">33<" in said(calendar.widget)
    calendar.year_box.value = 2023
    assert states_of(calendar) == {"2023-12-31": "loaded"}


def test_the_bounds_are_the_days_that_are_shown(ledger):
    shown = states_of(ReleaseCalendar("events", ledger, first=APRIL[2], last=APRIL[29]))
    assert [*shown] == [str(day) for day in APRIL[2:]]
    with pytest.raises(SettingsError) as caught:
        ReleaseCalendar("events", ledger, first=APRIL[2], last=APRIL[1])
    assert caught.value.reason == "bad_range"


def test_numbered_releases_are_chosen_from_a_list(store):
    ledger = Loads(store)
    for n in (1, 2, 4):
        ledger.load("files", f"q:{n:012}-{n:012}", pd.DataFrame({"id": range(n)}))
    calendar = ReleaseCalendar("files", ledger, [1, 2, 3, 4])
    assert calendar.grid.layout.display == "none" and "1 missing" in said(calendar.widget)
    names = [name for name, _ in calendar.number_box.options]
    assert names[0] == "none chosen" and len(names) == 5
    calendar.number_box.value = f"q:{4:012}-{4:012}"
    assert ">4<" in said(calendar.widget)
    calendar.number_box.value = f"q:{3:012}-{3:012}"
    assert "though the source has them" in said(calendar.widget)


def test_a_slip_in_the_name_is_told_with_what_there_is(ledger):
    with pytest.raises(SettingsError, match="Did you mean 'events'") as caught:
        ReleaseCalendar("event", ledger)
    assert caught.value.reason == "unknown_dataset"


@pytest.fixture(scope="module")
def registered(tmp_path_factory):
    "A registry that is served, as its client and as its database, with a dataset in all states."
    database = Database(tmp_path_factory.mktemp("registry") / "registry.sqlite")
    here = Registry(database)
    kind = here.post_dataset_type(
        DatasetType(
            type_id="t",
            name="t",
            extra={"granularity": "day"},
            table_type=here.post_table_type(TableType(type_id="regular", name="regular")),
        )
    )
    organisation = here.post_organisation(Organisation(name="acme"))
    type_of_it = here.post_workflow_type(WorkflowType(type_id="w", name="w"))
    workflow = here.post_workflow(
        Workflow(name="w", tags="[]", extra={}, organisation=organisation, workflow_type=type_of_it)
    )
    dataset = here.post_dataset(
        Dataset(name="events", service="duckdb", address="e", workflow=workflow, dataset_type=kind)
    )
    for day, fields in enumerate(
        ({"row_count": 5, "dag_id": "nightly", "dag_run_id": "scheduled__1", "checksum": "f00d"},
         {"row_count": 0}, {"row_count": 2, "warning": "Page 3 did not come."}), 1
    ):  # fmt: skip
        release = DatasetRelease(dataset=dataset, snapshot_date=date(2024, 4, day))
        here.register_release(release, **fields)
    for day, state in ((4, "failed"), (5, None)):
        release = DatasetRelease(dataset=dataset, snapshot_date=date(2024, 4, day))
        claim = database.claim(release, "run")
        if state:
            done = DatasetRelease(id=claim.id, state=state, warning=HOSTILE)
            database.settle(done, "run")
    with serving(make_service(database, "writers-key", "readers-key")) as address:
        yield {"file": here, "client": Registry(RegistryClient(address, "readers-key"))}


@pytest.mark.parametrize("way", ["file", "client"])
def test_the_registry_is_read_in_the_same_way_from_a_file_and_a_service(registered, way):
    calendar = ReleaseCalendar("events", registered[way], APRIL[:6])
    assert [*states_of(calendar).values()] == [
        *("loaded", "empty", "incomplete", "failed", "claimed", "missing")
    ]
    calendar.choose("2024-04-01")
    for word in ("f00d", "nightly", "scheduled__1", "duckdb:e", ">5<"):
        assert word in said(calendar.widget)
    calendar.choose("2024-04-04")
    assert "&lt;img" in said(calendar.widget) and "<img" not in said(calendar.widget)
    assert "readers-key" not in saved_state(calendar.widget) + repr(calendar)
    assert "failed" in repr(calendar) and "1 missing" in repr(calendar)


# --- what both have -------------------------------------------------------------------------------


def test_each_has_three_forms_and_the_text_tells_the_same(store, ledger):
    history = keep(store, {1: "Ann"}, {1: "Ada"})
    for view, words in (
        (HistoryViewer(history), ["1 row", "1 changed", "Ann", "Ada"]),
        (ReleaseCalendar("events", ledger), ["3 loaded", "2024-04-05", "no day is called missing"]),
    ):
        bundle = view._repr_mimebundle_()
        assert {*bundle} == {WIDGET_VIEW, "text/html", "text/plain"}
        for word in words:
            assert word in bundle["text/html"] and word in bundle["text/plain"], word
        assert bundle["text/plain"] == repr(view) and "<script" not in bundle["text/html"]


def test_every_part_that_one_can_use_has_a_name(store, ledger):
    usable = ipywidgets.ValueWidget, ipywidgets.Button, ChoiceSlider, DayGrid
    views = HistoryViewer(keep(store, {1: "a"})), ReleaseCalendar("events", ledger)
    for view in views:
        for one in parts(view.widget):
            if isinstance(one, usable) and not isinstance(one, ipywidgets.HTML):
                assert getattr(one, "name", "") or one.description, one
    days = [day for month in views[1].grid.months for week in month["weeks"] for day in week if day]
    assert days and all(re.match(r"\w+day, \d+ \w+ \d{4}: .", day["words"]) for day in days)
    signs = {day["state"]: day["sign"] for day in days}
    assert len({*signs.values()}) == len(signs)  # no two states differ by their colour alone


def test_what_is_saved_with_a_notebook_does_not_grow_with_the_rows(store):
    sizes = []
    for name, count in (("few", 30), ("many", 3_000)):
        history = keep(store, *(dict.fromkeys(range(count - n), "a") for n in range(2)), name=name)
        sizes.append(len(saved_state(HistoryViewer(history, most=20).widget)))
    assert abs(sizes[1] - sizes[0]) < 2_000
