"""Release keys and time: one meaning for their order, for what is missing, and for every limit."""

import calendar
import random
from datetime import date, datetime, timedelta, timezone
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from domostats.errors import DataError, DomostatsError
from domostats.loading.store import Store
from domostats.tracking.pictures import days_of
from domostats.tracking.registry import entities
from domostats.tracking.registry.api import Registry, make_observatory_api
from domostats.tracking.registry.catch_up import CatchUp
from domostats.tracking.registry.entities import (
    Dataset,
    DatasetRelease,
    DatasetType,
    TableType,
    WorkflowType,
)
from domostats.tracking.registry.release_keys import release_key
from domostats.tracking.registry.releases import missing, withdrawn
from domostats.tracking.registry.service import make_service, serving
from domostats.tracking.registry.tables import TABLES
from domostats.tracking.registry.waiting import unfinished, wait_for

UTC = timezone.utc
GRAINS = [None, "hour", "day", "week", "month", "quarter", "year"]
MONTHS = [date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)]


@pytest.fixture(params=["file", "postgresql", "http"])
def api(request, tmp_path):
    if request.param == "postgresql":
        yield make_observatory_api(request.getfixturevalue("postgres")())
        return
    here = make_observatory_api(tmp_path / "registry.sqlite")
    if request.param == "file":
        yield here
        return
    with serving(make_service(here.backend, "writers")) as address:
        yield make_observatory_api(address, "writers")


@pytest.fixture
def local(tmp_path):
    return make_observatory_api(tmp_path / "local.sqlite")


def dataset_of(api, name="books", table_type="regular", extra=None):
    "A dataset of a type of its own, which has its name."
    if not api.get_workflows():
        api.post_workflow(
            entities.Workflow(
                name="flow", workflow_type=api.post_workflow_type(WorkflowType(type_id="flow"))
            )
        )
    table = next(iter(api.get_table_types(type_id=table_type)), None)
    table = table or api.post_table_type(TableType(type_id=table_type))
    kind = api.post_dataset_type(DatasetType(type_id=name, extra=extra, table_type=table))
    return api.post_dataset(
        Dataset(
            name=name,
            service="duckdb",
            address=name,
            workflow=api.get_workflows()[0],
            dataset_type=kind,
        )
    )


def reason_of(call):
    "The reason of the error that a call ends with; None if it does not."
    try:
        call()
    except DomostatsError as e:
        return e.reason
    return None


# a plain model, which shares nothing with the code: what unit a moment is in, and when that begins


def unit_of(moment, grain):
    "The (start, end) of the unit that a moment is in."
    midnight = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    if grain is None:
        return moment, moment
    if grain == "hour":
        start = midnight + timedelta(hours=moment.hour)
        return start, start + timedelta(hours=1)
    if grain == "day":
        return midnight, midnight + timedelta(1)
    if grain == "week":
        start = midnight - timedelta(midnight.weekday())
        return start, start + timedelta(7)
    first = {"month": moment.month, "quarter": (moment.month - 1) // 3 * 3 + 1, "year": 1}[grain]
    start = end = datetime(moment.year, first, 1, tzinfo=UTC)
    for _ in range({"month": 1, "quarter": 3, "year": 12}[grain]):
        end += timedelta(calendar.monthrange(end.year, end.month)[1])
    return start, end


ZONES = ["UTC", "Pacific/Auckland", "America/New_York", "Asia/Kathmandu", "Europe/Paris"]
NEAR = st.datetimes(datetime(2019, 12, 25), datetime(2021, 1, 10))
MOMENTS = st.builds(
    lambda moment, zone, fold: moment.replace(tzinfo=ZoneInfo(zone), fold=fold),
    st.one_of(NEAR, st.datetimes(datetime(1900, 1, 3), datetime(2200, 1, 1))),
    st.sampled_from(ZONES),
    st.integers(0, 1),
)


def in_utc(moment):
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) + datetime(1970, 1, 1, tzinfo=UTC)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(GRAINS),
    st.lists(MOMENTS, max_size=12),
    st.lists(MOMENTS, max_size=6),
    st.one_of(st.none(), MOMENTS),
    st.one_of(st.none(), MOMENTS),
)
def test_what_is_missing_is_what_a_plain_model_says(grain, available, done, since, until):
    there = {}
    for moment in available:
        there.setdefault(unit_of(in_utc(moment), grain), moment)
    recorded = {unit_of(in_utc(moment), grain) for moment in done}
    since_utc, until_utc = since and in_utc(since), until and in_utc(until)
    expected = [
        moment
        for (start, end), moment in sorted(there.items(), key=lambda one: one[0])
        if (start, end) not in recorded
        and (since is None or start >= since_utc or end > since_utc)
        and (until is None or start < until_utc)
    ]
    if since is not None and until is not None and since_utc > until_utc:
        with pytest.raises(DataError) as caught:
            missing(available, done, grain, since, until)
        assert caught.value.reason == "bad_question"
        since = until = None
        expected = [
            moment
            for place, moment in sorted(there.items(), key=lambda one: one[0])
            if place not in recorded
        ]
    found = missing(available, done, grain, since, until)
    assert [id(one) for one in found] == [id(one) for one in expected]
    keys = [release_key(moment, grain) for moment in available]
    assert len({*keys}) == len(there)
    gone = withdrawn(done, available, grain)
    assert [unit_of(in_utc(one), grain) for one in gone] == sorted({*there} - recorded)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(GRAINS), st.lists(MOMENTS, min_size=2, max_size=10))
def test_keys_are_ordered_as_time_is_in_python_and_as_text(grain, moments):
    from domostats.tracking.registry.releases import order, position

    keys = {release_key(moment, grain): unit_of(in_utc(moment), grain)[0] for moment in moments}
    in_time = sorted(keys.values())
    assert [keys[key] for key in sorted(keys, key=lambda key: order(key, grain))] == in_time
    assert [keys[key] for key in sorted(keys, key=position)] == in_time


@given(st.lists(st.integers(0, 10**12 - 1), min_size=1, max_size=10, unique=True), st.data())
def test_numbers_are_ordered_as_numbers(numbers, data):
    done = data.draw(st.lists(st.sampled_from(numbers), unique=True))
    since = data.draw(st.one_of(st.none(), st.sampled_from(numbers)))
    files = [{"sequence_start": n, "sequence_end": n} for n in numbers]
    recorded = [{"sequence_start": n} for n in done]
    found = [one["sequence_end"] for one in missing(files, recorded, since=since)]
    left = sorted({*numbers} - {*done})
    assert found == [n for n in left if since is None or n >= since]


def test_a_month_is_at_or_after_its_first_day():
    assert missing(MONTHS, [], "month", since=date(2024, 2, 1), until=date(2024, 3, 1)) == [
        MONTHS[1]
    ]


def test_nine_comes_before_ten_and_a_number_is_not_compared_with_a_time():
    files = [{"sequence_start": n, "sequence_end": n} for n in (10, 9, 100)]
    assert [one["sequence_start"] for one in missing(files, [])] == [9, 10, 100]
    assert reason_of(lambda: missing(files, [], since=date(2024, 1, 1))) == "no_date"
    assert reason_of(lambda: missing(MONTHS, [], since=9)) == "no_date"
    dated = [{**one, "start_date": date(2024, n, 1)} for n, one in enumerate(files, 1)]
    assert missing(dated, [], since=date(2024, 2, 1)) == [dated[1], dated[2]]


def test_weeks_are_those_of_the_calendar_at_the_turn_of_the_year():
    days = [date(2026, 12, 31), date(2027, 1, 1), date(2027, 1, 3), date(2027, 1, 4)]
    assert [release_key(day, "week") for day in days] == ["s:2026-W53"] * 3 + ["s:2027-W01"]
    assert missing(days, [], "week", since=date(2027, 1, 4)) == days[3:]
    assert missing(days, [], "week", since=date(2027, 1, 1)) == [days[0], days[3]]


def test_the_hour_that_comes_twice_in_autumn_is_two_releases():
    paris = ZoneInfo("Europe/Paris")
    twice = [datetime(2024, 10, 27, 2, 30, tzinfo=paris, fold=fold) for fold in (0, 1)]
    assert missing([twice[1], twice[0]], [], "hour") == twice
    assert missing(twice, [twice[1]], "hour") == [twice[0]]


@pytest.mark.parametrize("text", ["v1.10.0", "s:1.10", "q:a-b", "s:2024-13", "release 7", "s:"])
def test_what_is_no_date_and_no_number_is_refused_and_not_compared_as_text(text):
    assert reason_of(lambda: missing([text], [])) in ("bad_time", "bad_key")


# the gate


@pytest.mark.parametrize(
    "grain, release, opens, closed",
    [
        ("month", "2024-03-05", ["2024-03-01", "2024-03-15"], ["2024-04-01"]),
        ("week", "2024-03-05", ["2024-03-04", "2024-03-06"], ["2024-03-11"]),
        ("quarter", "2024-03-05", ["2024-01-01", "2024-03-31"], ["2024-04-01"]),
        ("year", "2024-03-05", ["2024-01-01", "2024-12-31"], ["2025-01-01"]),
        ("hour", "2024-03-05T10:30Z", ["2024-03-05T10:00Z"], ["2024-03-05T11:00Z"]),
        ("day", "2024-03-05T10:30Z", ["2024-03-05", "2024-03-05T12:00Z"], ["2024-03-06"]),
        (None, "2024-03-05T10:30Z", ["2024-03-05T10:30Z"], ["2024-03-05T10:31Z"]),
    ],
)
def test_the_gate_opens_for_every_granularity(local, grain, release, opens, closed):
    dataset = dataset_of(local, extra={"granularity": grain} if grain else None)
    local.register_release(DatasetRelease(dataset=dataset, snapshot_date=release))
    for since in opens:
        assert unfinished(local, ["books"], since) == [], since
    for since in closed:
        assert unfinished(local, ["books"], since) == ["books"], since


def test_the_gate_over_numbered_releases_goes_by_number_or_by_when_they_were_loaded(api):
    dataset = dataset_of(api)
    for n in (10, 9):
        api.register_release(DatasetRelease(dataset=dataset, sequence_start=n, sequence_end=n))
    today = datetime.now(UTC)
    assert unfinished(api, ["books"], date(2024, 3, 1)) == []
    assert unfinished(api, ["books"], today + timedelta(1)) == ["books"]
    assert unfinished(api, ["books"], 10) == []
    assert unfinished(api, ["books"], 11) == ["books"]
    assert wait_for(api, ["books"], date(2024, 3, 1)) is None


# the newest, and lists


@pytest.mark.sampled(3)
def test_the_newest_of_several_kinds_is_so_by_time(api):
    dataset = dataset_of(api)

    def ago(days):
        return datetime.now(UTC) - timedelta(days)

    registered = [
        {"snapshot_date": ago(30)},
        {"sequence_start": 9, "sequence_end": 9, "ingestion_end": ago(20)},
        {"start_date": ago(40), "end_date": ago(10)},
        {"sequence_start": 10, "sequence_end": 10, "ingestion_end": ago(5)},
        {"partition_date": ago(1)},
    ]
    made = []
    for fields in registered:
        made.append(api.register_release(DatasetRelease(dataset=dataset, **fields))[0])
        assert api.get_latest_release(dataset).id == made[-1].id, fields
    for limit in (1, 2, 1000):
        listed = api.get_dataset_releases(limit, dataset.id)
        assert [one.id for one in listed] == [one.id for one in reversed(made)]


@pytest.mark.sampled(3)
def test_nine_is_listed_before_ten_and_a_hundred(api):
    dataset = dataset_of(api)
    for n in (100, 9, 10, 1):
        api.register_release(DatasetRelease(dataset=dataset, sequence_start=n, sequence_end=n))
    for limit in (1, 3, 1000):
        listed = api.get_dataset_releases(limit, dataset.id)
        assert [one.sequence_end for one in listed] == [100, 10, 9, 1]
    assert api.get_latest_release(dataset).sequence_end == 100


@pytest.mark.sampled(6)
@pytest.mark.parametrize("grain", GRAINS[1:])
def test_every_desk_lists_every_granularity_by_time(api, grain):
    dataset = dataset_of(api, extra={"granularity": grain})
    draws = random.Random(grain)
    moments = [
        datetime(2023, 12, 20, tzinfo=UTC) + timedelta(hours=draws.randrange(10_000))
        for _ in range(30)
    ]
    made = api.register_releases(
        DatasetRelease(dataset=dataset, snapshot_date=moment) for moment in moments
    )
    units = sorted({unit_of(moment, grain)[0] for moment in moments}, reverse=True)
    assert sum(new for _, new in made) == len(units)
    for limit in (4, 1000):
        listed = api.get_dataset_releases(limit, dataset.id)
        assert [unit_of(one.snapshot_date, grain)[0] for one in listed] == units
    assert api.missing_releases(dataset, moments) == []


def test_a_picture_shows_the_days_of_a_month():
    shown = days_of([SimpleNamespace(release_key="s:2024-02", row_count=3)])
    assert len(shown) == 29 and {*shown.values()} == {"loaded"}
    assert days_of([SimpleNamespace(release_key="q:000000000001-000000000001", row_count=3)]) == {}


def test_the_commands_list_by_time_and_say_what_is_loaded(monkeypatch, tmp_path):
    from domostats.interfaces.cli import app

    monkeypatch.setenv("COLUMNS", "200")
    open("settings.ini", "w").write(
        "[domostats]\nstore = store.duckdb\nregistry = sqlite:///registry.sqlite\n"
    )
    api = make_observatory_api()
    dataset = dataset_of(api)
    catching = CatchUp(dataset, api)
    week = date(2024, 3, 1)
    catching.run([100, 9, 10], lambda n: pa.table({"n": [n]}))
    catching.run([week], lambda n: pa.table({"n": [1]}))
    api.backend.claim(DatasetRelease(dataset=dataset, snapshot_date="2024-05-01"), "elsewhere")

    def keys(*words):
        result = CliRunner().invoke(app, [*words])
        assert result.exit_code == 0, (result.output, result.exception)
        return [
            word
            for line in result.output.splitlines()
            for word in line.replace("│", " ").split()
            if word[1:2] == ":" and word[2:3].isdigit()
        ]

    numbers = [f"q:{n:012}-{n:012}" for n in (9, 10, 100)]
    assert keys("releases", catching.name) == [f"s:{week}", *numbers]
    shown = keys("releases", "books", "--registry")
    assert {*shown} == {f"s:{week}", *numbers, "s:2024-05-01"}
    assert [key for key in shown if key in numbers] == numbers
    assert keys("releases", "--registry") == [numbers[-1]]
    unknown = CliRunner().invoke(app, ["releases", "99", "--registry"])
    assert unknown.exception.reason == "unknown_dataset"


# a granularity that is changed later


def test_a_granularity_is_not_changed_under_recorded_releases(api):
    dataset = dataset_of(api)
    kind = dataset.dataset_type
    for day in (5, 6):
        api.register_release(DatasetRelease(dataset=dataset, snapshot_date=date(2024, 3, day)))

    def change(extra):
        return api.put_dataset_type(DatasetType(id=kind.id, extra=extra))

    for grain in ("month", "hour", "week"):
        assert reason_of(lambda: change({"granularity": grain})) == "granularity"
    assert api.missing_releases(dataset, [date(2024, 3, 5), date(2024, 3, 6)]) == []
    change({"granularity": "day"})  # which gives them the same keys
    change({"granularity": "day", "sales_field": "sold"})
    with pytest.raises(DomostatsError, match="back .none or day.*forget these releases"):
        change({"granularity": "year"})
    monthly = dataset_of(api, "monthly", extra={"granularity": "month"})

    def move():
        return api.put_dataset(Dataset(id=dataset.id, dataset_type=monthly.dataset_type))

    assert reason_of(move) == "granularity"
    for release in api.get_dataset_releases(1000, dataset.id):
        api.delete_dataset_release(release.id)
    change({"granularity": "month"})
    api.register_release(DatasetRelease(dataset=dataset, snapshot_date=date(2024, 3, 5)))
    assert api.missing_releases(dataset, [date(2024, 3, 9)]) == []


def test_a_granularity_that_was_changed_before_is_found_and_nothing_is_loaded_again(tmp_path):
    path = tmp_path / "registry.sqlite"
    first = make_observatory_api(path)
    dataset = dataset_of(first)
    day = date(2024, 3, 5)
    store = Store(tmp_path / "store.duckdb")
    catching = CatchUp(dataset, first, store)
    catching.run([day], lambda one: pa.table({"day": [one]}))
    with first.backend.writing() as con:  # as the first version let it be done
        con.execute(sa.update(TABLES["dataset_type"]).values(extra={"granularity": "month"}))
    api = make_observatory_api(path)
    again = CatchUp(dataset.id, api, store)

    def load(one):
        return pa.table({"day": [one]})

    calls = [
        lambda: api.missing_releases(dataset.id, [day]),
        lambda: api.register_release(DatasetRelease(dataset=dataset, snapshot_date=day)),
        lambda: api.backend.claim(DatasetRelease(dataset=dataset, snapshot_date=day), "one"),
        lambda: again.run([day], load),
    ]
    for call in calls:
        assert reason_of(call) == "granularity"
    assert store.read("books").num_rows == 1
    assert len(api.get_dataset_releases(1000, dataset.id)) == 1  # lists go on
    api.put_dataset_type(DatasetType(id=dataset.dataset_type.id, extra={"granularity": "day"}))
    assert CatchUp(dataset.id, api, store).run([day], load).loaded == []


def test_a_store_that_was_filled_by_another_granularity_is_not_filled_again(tmp_path):
    store = Store(tmp_path / "store.duckdb")
    daily = make_observatory_api(tmp_path / "first.sqlite")

    def load(one):
        return pa.table({"day": [one]})

    CatchUp(dataset_of(daily), daily, store).run([date(2024, 3, 5)], load)
    new = make_observatory_api(tmp_path / "second.sqlite")  # the first registry is lost
    catching = CatchUp(dataset_of(new, extra={"granularity": "month"}), new, store)
    assert reason_of(lambda: catching.run([date(2024, 3, 5)], load)) == "granularity"
    assert store.read("books").num_rows == 1


@pytest.mark.parametrize("extra", [{"granularity": "moon"}, {"partition": "week"}])
def test_a_granularity_or_partition_that_is_none_is_refused_at_once(api, extra):
    assert reason_of(lambda: dataset_of(api, extra=extra)) in ("bad_grain", "bad_precision")


# two releases of one part


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "extra, pair",
    [
        (None, ["2024-03-01T06:00:00Z", "2024-03-01T18:00:00Z"]),
        (None, [date(2024, 3, 1), {"start_date": "2024-02-01", "end_date": "2024-03-01"}]),
        ({"partition": "month", "granularity": "day"}, [date(2024, 3, 1), date(2024, 3, 2)]),
        ({"partition": "month", "granularity": "week"}, [date(2024, 3, 5), date(2024, 3, 12)]),
    ],
)
def test_of_two_releases_of_one_part_the_second_is_refused(local, tmp_path, extra, pair):
    dataset = dataset_of(local, table_type="partitioned", extra=extra)
    catching = CatchUp(dataset, local, Store(tmp_path / "store.duckdb"))

    def ingest(release):
        return pa.table({"release": [str(release)] * 3})

    done = catching.run(pair, ingest)
    rows = catching.store.read(dataset.address).num_rows
    assert rows == sum(release.row_count for release in done.loaded) == 3
    assert [error.reason for error in done.failures.values()] == ["same_partition"]
    states = {one.release_key: one.state for one in local.get_dataset_releases(state="failed")}
    assert [*states] == [*done.failures]
    again = catching.run(pair, ingest)
    assert again.loaded == [] and catching.store.read(dataset.address).num_rows == 3


def test_releases_of_different_parts_all_stay(local, tmp_path):
    hourly = {"partition": "hour"}
    dataset = dataset_of(local, table_type="partitioned", extra=hourly)
    catching = CatchUp(dataset, local, Store(tmp_path / "store.duckdb"))
    pair = ["2024-03-01T06:00:00Z", "2024-03-01T18:00:00Z"]
    done = catching.run(pair, lambda one: pa.table({"at": [one]}))
    assert len(done.loaded) == 2
    assert sorted(catching.store.read(dataset.address)["at"].to_pylist()) == pair
    nothing = catching.run(["2024-03-01T06:30:00Z"], lambda one: None)
    assert len(nothing.loaded) == 1 and catching.store.read(dataset.address).num_rows == 2


def test_a_registry_of_the_first_version_is_read_as_before(tmp_path):
    "Positions and keys as the first version wrote them."
    api = make_observatory_api(tmp_path / "registry.sqlite")
    assert isinstance(api, Registry)
    dataset = dataset_of(api)
    now = datetime.now(UTC)
    rows = [
        ("s:2024-03-01", "2024-03-01", {"snapshot_date": datetime(2024, 3, 1, tzinfo=UTC)}),
        (
            "w:2024-01-01/2024-02-01",
            "2024-02-01",
            {
                "start_date": datetime(2024, 1, 1, tzinfo=UTC),
                "end_date": datetime(2024, 2, 1, tzinfo=UTC),
            },
        ),
        (
            "q:000000000007-000000000012",
            "000000000012",
            {"sequence_start": 7, "sequence_end": 12},
        ),
    ]
    with api.backend.writing() as con:
        for key, position, fields in rows:
            values = {"release_key": key, "position": position, "dataset_id": dataset.id, **fields}
            values |= {"created": now, "modified": now, "state": "loaded"}
            con.execute(sa.insert(TABLES["dataset_release"]).values(values))
    listed = [one.release_key for one in api.get_dataset_releases(1, dataset.id)]
    assert listed == ["q:000000000007-000000000012", "s:2024-03-01", "w:2024-01-01/2024-02-01"]
    again = [{"sequence_start": 7, "sequence_end": 12}, date(2024, 3, 1)]
    again += [{"start_date": "2024-01-01", "end_date": "2024-02-01"}]
    assert api.missing_releases(dataset, again) == []
