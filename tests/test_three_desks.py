"""The registry in a file, in a real PostgreSQL and over HTTP: one answer to everything."""

import json
import math
from contextlib import ExitStack
from datetime import date, datetime, timedelta, timezone
from urllib.parse import parse_qs

import msgspec
import pytest
import requests
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from domostats.errors import DomostatsError
from domostats.tracking.registry import entities
from domostats.tracking.registry.api import Registry, make_observatory_api
from domostats.tracking.registry.database import Database
from domostats.tracking.registry.entities import (
    Dataset,
    DatasetRelease,
    DatasetType,
    Organisation,
    Retention,
    TableType,
    WorkflowType,
)
from domostats.tracking.registry.kinds import ENTITIES, column_types
from domostats.tracking.registry.service import make_service, serving
from domostats.tracking.registry.tables import TABLES

DAY = date(2024, 3, 1)
NAMES = "file", "postgresql", "http"


class Conforming:
    """The service between its callers and its description: what the description does not allow is
    a problem. What was refused need not have been right; what was done must have been."""

    def __init__(self, app):
        self.app = app
        self.problems = []
        self.told = None
        self.seen = set()

    async def __call__(self, scope, receive, send):
        body, answer, status = bytearray(), bytearray(), 0

        async def receiving():
            message = await receive()
            body.extend(message.get("body", b""))
            return message

        async def sending(message):
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            answer.extend(message.get("body", b""))
            if message["type"] == "http.response.body" and not message.get("more_body"):
                self.note(scope, bytes(body), status, bytes(answer))  # before anybody has it
            await send(message)

        await self.app(scope, receiving, sending)

    def note(self, scope, body, status, answer):
        if scope["path"] == "/openapi.json":
            self.told = json.loads(answer)
        elif self.told and scope["path"] in self.told["paths"]:
            self.compare(scope, body, status, answer)

    def compare(self, scope, body, status, answer):
        method, path = scope["method"], scope["path"]
        operation = self.told["paths"][path].get(method.lower())
        if operation is None:
            return
        call = f"{method} {path}?{scope['query_string'].decode()} {body[:200]} -> {status}"
        self.seen.add((method, path, status))
        documented = operation["responses"].get(str(status))
        if documented is None:
            self.problems.append(f"{call}: no such status")
            return
        self.check(call, documented["content"]["application/json"]["schema"], json.loads(answer))
        if status >= 300:
            return
        known = {one["name"]: one for one in operation.get("parameters", [])}
        query = parse_qs(scope["query_string"].decode(), keep_blank_values=True)
        for name, texts in query.items():
            if name not in known:
                self.problems.append(f"{call}: nothing is said of {name}")
                continue
            kinds = json.dumps(known[name]["schema"])
            if "array" not in kinds and len(texts) > 1:
                self.problems.append(f"{call}: {name} is there twice")
            values = [json.loads(text) for text in texts] if '"string"' not in kinds else texts
            value = values if "array" in kinds else values[0]
            self.check(f"{call}, {name}", known[name]["schema"], value)
        missing = {name for name in known if known[name]["required"]} - {*query}
        if missing:
            self.problems.append(f"{call}: without {missing}")
        if "requestBody" in operation:
            wanted = operation["requestBody"]["content"]["application/json"]["schema"]
            self.check(f"{call}, body", wanted, json.loads(body))

    def check(self, what, schema, value):
        whole = {"components": self.told["components"], **schema}
        for error in Draft202012Validator(whole).iter_errors(value):
            self.problems.append(f"{what}: {error.json_path} {error.message}"[:600])


@pytest.fixture(scope="module")
def conforming():
    "Watches the service of the desks; its `problems` are what its description does not allow."
    return Conforming(None)


@pytest.fixture(scope="module")
def desks(postgres, tmp_path_factory, conforming):
    "A `Registry` for each of the three, and the databases behind them."
    folder = tmp_path_factory.mktemp("desks")
    with ExitStack() as stack:
        behind = make_observatory_api(folder / "served.sqlite")
        conforming.app = make_service(behind.backend, "writers", "readers")
        address = stack.enter_context(serving(conforming))
        requests.get(f"{address}/openapi.json", timeout=30)
        apis = [
            make_observatory_api(folder / "file.sqlite"),
            make_observatory_api(postgres()),
            make_observatory_api(address, "writers"),
        ]
        yield apis, [apis[0].backend, apis[1].backend, behind.backend], address


@pytest.fixture
def three(desks, conforming):
    empty(desks[1])
    for database in desks[1]:
        furnish(Registry(database))
    yield desks[0]
    problems = [*conforming.problems]
    conforming.problems.clear()
    assert problems == []


def empty(databases):
    "Remove everything, so that ids begin at 1 again."
    for database in databases:
        if isinstance(database, Database):
            database.granularities.clear()
        with database.writing() as con:
            if con.dialect.name == "postgresql":
                con.execute(sa.text(f"TRUNCATE {', '.join(TABLES)} RESTART IDENTITY CASCADE"))
                continue
            for name in reversed(list(TABLES)):
                con.execute(sa.text(f"DELETE FROM {name}"))
            con.execute(sa.text("DELETE FROM sqlite_sequence"))


def close_gaps(databases):
    "PostgreSQL leaves out an id where an insert was refused, SQLite does not: go on with the same."
    with databases[0].reading() as con:
        last = dict(con.execute(sa.text("SELECT name, seq FROM sqlite_sequence")).fetchall())
    with databases[1].writing() as con:
        for name in TABLES:
            n = last.get(name, 0)
            con.execute(sa.text(f"SELECT setval('{name}_id_seq', {max(1, n)}, {n > 0})"))


def furnish(api):
    "Two datasets, one told apart exactly and one by month."
    flow = api.post_workflow(
        entities.Workflow(
            name="flow", workflow_type=api.post_workflow_type(WorkflowType(type_id="flow"))
        )
    )
    table = api.post_table_type(TableType(type_id="regular"))
    for name, extra in (("exact", None), ("monthly", {"granularity": "month"})):
        kind = api.post_dataset_type(DatasetType(type_id=name, extra=extra, table_type=table))
        api.post_dataset(
            Dataset(name=name, service="duckdb", address=name, workflow=flow, dataset_type=kind)
        )


BY_THE_CLOCK = {"created", "modified", "claimed_until", "ingestion_start"}


def plain(value):
    "A result as JSON values, without what the clock has written."
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items() if name not in BY_THE_CLOCK}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, msgspec.Struct):
        return plain(msgspec.to_builtins(value))
    return repr(value) if isinstance(value, float) else value


def answer(api, call):
    "What an operation gives: its result, or the kind and the reason of its error."
    try:
        return "done", plain(call(api))
    except DomostatsError as e:
        return type(e).__name__, e.reason
    except Exception as e:
        return "no error of the kit", type(e).__name__, str(e)[:200]


def one_answer(apis, call):
    "The answer of all three, which is one."
    answers = dict(zip(NAMES, (answer(api, call) for api in apis), strict=True))
    first = answers["file"]
    assert all(other == first for other in answers.values()), answers
    assert first[0] != "no error of the kit", answers
    return first


# what is asked and written, good and bad

TEXTS = st.sampled_from(
    ["a", "Ünï ✓", "x" * 250, "x" * 251, "", "a\0b", "\ud83d", "a b&c=d", 7, None, True, 1.5, b"x"]
)
IDS = st.sampled_from(
    [1, 1, 1, 2, 2, 3, 9, 0, -1, 2**31, 2**62, 2**63, 2**70, "1", True, None, 1.0]
)
TIMES = st.sampled_from(
    [
        DAY,
        "2024-03-05",
        "2024-03-05T06:00:00+13:00",
        datetime(2024, 3, 9, 12, 30, 1, 5, tzinfo=timezone(timedelta(hours=-7))),
        datetime(2024, 3, 9),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=13))),
        datetime(1, 1, 1, tzinfo=timezone.utc),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone.utc),
        "last week",
        "",
        7,
        None,
        True,
    ]
)
COUNTS = st.sampled_from([0, 1, 9, 10, 2**31, 2**62, 2**63, 2**70, -1, 1.0, 1.5, True, "1", None])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.text(st.characters(exclude_categories=[]), max_size=4),
    st.sampled_from([0, -1, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**70]),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([-0.0, 1e16, 1e-7, 1.0, "2024-03-01"]),
    st.sampled_from([b"x", DAY, datetime(2024, 3, 1), datetime(2024, 3, 1, tzinfo=timezone.utc)]),
)
EXTRAS = st.one_of(
    st.none(),
    st.dictionaries(
        st.one_of(st.text(max_size=3), st.sampled_from(["a", "\0", "\ud800", 1, None])),
        st.recursive(
            SCALARS,
            lambda inner: (
                st.lists(inner, max_size=2)
                | st.dictionaries(st.text(max_size=2), inner, max_size=2)
                | st.tuples(inner)
            ),
            max_leaves=4,
        ),
        max_size=3,
    ),
    st.sampled_from([[], "x", {"granularity": "moon"}, {1, 2}]),
)
DATES = st.fixed_dictionaries(
    {},
    optional={
        "snapshot_date": TIMES,
        "start_date": TIMES,
        "end_date": TIMES,
        "sequence_start": COUNTS,
        "sequence_end": COUNTS,
    },
)
FACTS = st.fixed_dictionaries(
    {},
    optional={
        "row_count": COUNTS,
        "dag_run_id": TEXTS,
        "extra": EXTRAS,
        "warning": TEXTS,
        "ingestion_end": TIMES,
        "id": IDS,
        "state": st.sampled_from(["loaded", "failed", "claimed", "expired", "odd", None]),
    },
)
USUAL = st.fixed_dictionaries({"snapshot_date": st.dates(DAY, date(2024, 5, 1))})
LIMITS = st.sampled_from([1, 2, 1000, 10_000, 10**9, 0, -1, True, None, "5", 2.0])
CURSORS = st.sampled_from(
    [None, "", "1", "x", "2024-03-05 1", "0000 0", "2024 99999999999999999999", 1, "9" * 30, "a 1"]
)
KINDS = st.sampled_from([*ENTITIES])
FITTING = {
    int: st.integers(0, 3),
    bool: st.booleans(),
    str: st.sampled_from(["loaded", "failed", "one", "exact", "s:2024-03-01", "Ünï ✓&="]),
    datetime: st.sampled_from([DAY, "2024-03-05", datetime(2024, 3, 2, tzinfo=timezone.utc)]),
}


@st.composite
def filters(draw, kind):
    names = [*TABLES[kind].c.keys(), "colour"]
    values = st.one_of(TEXTS, IDS, TIMES, COUNTS, EXTRAS)
    chosen = draw(st.lists(st.sampled_from(names), max_size=2, unique=True))
    if draw(st.booleans()):
        fitting = [name for name in chosen if column_types(ENTITIES[kind]).get(name) in FITTING]
        one = {name: FITTING[column_types(ENTITIES[kind])[name]] for name in fitting}
        return {
            name: draw(st.one_of(some, st.lists(some, max_size=3))) for name, some in one.items()
        }
    return {
        name: draw(st.one_of(values, st.lists(values, max_size=3), st.tuples(values)))
        for name in chosen
    }


def post_release(dates, facts, dataset):
    def call(api):
        release = DatasetRelease(dataset=Dataset(id=dataset), **dates)
        for name, value in facts.items():
            setattr(release, name, value)
        return api.post_dataset_release(release)

    return call


def register(dates, facts, dataset):
    def call(api):
        release = DatasetRelease(dataset=Dataset(id=dataset), **dates)
        return api.register_release(release, **facts)

    return call


def claim(dates, run, seconds, dataset):
    def call(api):
        return api.backend.claim(DatasetRelease(dataset=Dataset(id=dataset), **dates), run, seconds)

    return call


def settle(id, facts, run):
    return lambda api: api.backend.settle(DatasetRelease(**{"id": id, **facts}), run)


def put_release(id, dates, facts):
    return lambda api: api.put_dataset_release(DatasetRelease(**{**dates, **facts, "id": id}))


def organisation(method, fields):
    return lambda api: getattr(api, f"{method}_organisation")(Organisation(**fields))


def dataset_type(id, extra):
    return lambda api: api.put_dataset_type(DatasetType(id=id, extra=extra))


def retention(fields):
    return lambda api: api.post_retention(Retention(**fields))


RUNS = st.sampled_from(["one", "one", "two", "", "x" * 250, "x" * 251, "a\0", "\udc00", None, 7])
SECONDS = st.sampled_from([3600, -1, 0.5, 1e9, 1e12, math.nan, math.inf, "5", None, True])
SETTLED = st.fixed_dictionaries(
    {"state": st.sampled_from(["loaded", "failed"])}, optional={"row_count": COUNTS}
)
DATASETS = st.one_of(st.sampled_from([1, 2]), IDS)
ORGANISATION = st.fixed_dictionaries(
    {}, optional={"name": TEXTS, "project_id": TEXTS, "id": IDS, "created": TIMES}
)


def listed(kind, limit, given):
    return lambda api: getattr(api, f"get_{kind}s")(limit, **given)


def paged(kind, limit, after, given):
    return lambda api: api.backend.page(kind, limit, after, **given)


def asked(kind, id, type_id):
    return lambda api: api.backend.get(kind, id=id, type_id=type_id)


def deleted(kind, id):
    return lambda api: api.backend.delete(kind, id)


def lacking(dataset, keys):
    return lambda api: api.backend.missing(dataset, keys)


def latest(dataset):
    return lambda api: api.get_latest_release(dataset)


OPERATIONS = st.one_of(
    st.builds(register, USUAL, st.just({}), st.sampled_from([1, 2])),
    st.builds(claim, USUAL, st.sampled_from(["one", "two"]), st.just(60), st.just(1)),
    st.builds(settle, st.integers(1, 5), SETTLED, st.sampled_from(["one", "two"])),
    st.builds(post_release, DATES, FACTS, DATASETS),
    st.builds(register, DATES, FACTS, DATASETS),
    st.builds(claim, DATES, RUNS, SECONDS, DATASETS),
    st.builds(settle, IDS, FACTS, RUNS),
    st.builds(put_release, IDS, DATES, FACTS),
    st.builds(organisation, st.sampled_from(["post", "put"]), ORGANISATION),
    st.builds(dataset_type, st.sampled_from([1, 2, 9]), EXTRAS),
    st.builds(
        retention,
        st.fixed_dictionaries(
            {}, optional={"keep_last": COUNTS, "legal_hold": st.sampled_from([True, 1, "yes"])}
        ),
    ),
    KINDS.flatmap(lambda kind: st.builds(listed, st.just(kind), LIMITS, filters(kind))),
    KINDS.flatmap(lambda kind: st.builds(paged, st.just(kind), LIMITS, CURSORS, filters(kind))),
    st.builds(paged, st.just("dataset_release"), LIMITS, CURSORS, st.just({})),
    st.builds(asked, st.one_of(KINDS, st.just("odd")), IDS, st.one_of(st.none(), TEXTS)),
    st.builds(deleted, st.one_of(KINDS, st.just("odd")), IDS),
    st.builds(lacking, IDS, st.lists(st.one_of(TEXTS, st.just("s:2024-03-01")), max_size=3)),
    st.builds(latest, IDS),
    st.builds(asked, KINDS, st.integers(1, 3), st.none()),
    st.builds(deleted, KINDS, st.integers(1, 4)),
    st.builds(put_release, st.integers(1, 4), USUAL, st.just({})),
    st.builds(lacking, st.integers(1, 2), st.just(["s:2024-03", "s:2024-03-01", "x"])),
)


@pytest.mark.slow
@settings(max_examples=30, deadline=None, suppress_health_check=[*HealthCheck])
@given(st.lists(OPERATIONS, min_size=1, max_size=12))
def test_any_row_of_operations_has_one_answer_on_all_three(desks, conforming, operations):
    apis, databases, _ = desks
    conforming.problems.clear()
    empty(databases)
    for database in databases:
        furnish(Registry(database))
    for operation in operations:
        one_answer(apis, operation)
        close_gaps(databases)
    for kind in ENTITIES:
        one_answer(apis, listed(kind, 1000, {}))
    state = ["loaded", "failed", "claimed", "expired"]
    one_answer(apis, listed("dataset_release", 1000, {"state": state}))
    assert conforming.problems == []


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=[*HealthCheck])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["register", "claim", "load", "fail", "delete"]),
            st.integers(0, 5),
            st.sampled_from(["one", "two"]),
        ),
        max_size=15,
    )
)
def test_who_may_load_a_release_is_what_a_plain_book_says(desks, conforming, steps):
    apis, databases, _ = desks
    conforming.problems.clear()
    empty(databases)
    for database in databases:
        furnish(Registry(database))
    book = {}  # day: (state, run)
    ids = {}

    def step(what, day, run):
        key = DAY + timedelta(day)
        state, holder = book.get(key, (None, None))

        def release():
            return DatasetRelease(dataset=Dataset(id=1), snapshot_date=key)

        if what == "register":
            expected = state != "loaded"
            if expected:
                book[key] = ("loaded", holder)
            return lambda api: api.register_release(release())[1], expected
        if what == "claim":
            free = state in (None, "failed") or (state, holder) == ("claimed", run)
            if free:
                book[key] = ("claimed", run)
            return lambda api: api.backend.claim(release(), run) is not None, free
        if state is None:
            return None, None
        if what == "delete":
            del book[key]
            return lambda api: bool(api.delete_dataset_release(ids[key, NAMES[apis.index(api)]])), 1
        told = "loaded" if what == "load" else "failed"
        held = holder == run
        if held:
            book[key] = (told, run)

        def settled(api):
            id = ids[key, NAMES[apis.index(api)]]
            try:
                return api.backend.settle(DatasetRelease(id=id, state=told), run).state == told
            except DomostatsError as e:
                assert e.reason == "not_claimed"
                return False

        return settled, held

    for one in steps:
        call, expected = step(*one)
        if call is None:
            continue
        for name, api in zip(NAMES, apis, strict=True):
            assert call(api) == expected, (name, one)
            for release in api.get_dataset_releases(state=["claimed", "loaded", "failed"]):
                ids[release.snapshot_date.date(), name] = release.id
    for api in apis:
        loaded = {key for key, (state, _) in book.items() if state == "loaded"}
        found = [release.snapshot_date.date() for release in api.get_dataset_releases()]
        assert found == sorted(loaded, reverse=True)
        days = [DAY + timedelta(n) for n in range(6)]
        assert api.missing_releases(1, days) == sorted({*days} - loaded)
    assert conforming.problems == []


# the faults that were seen, one by one


def test_a_filter_with_several_values_keeps_all_of_them(three):
    for n, state in enumerate(["loaded", "failed", "claimed"]):

        def call(api):
            return api.post_dataset_release(
                DatasetRelease(dataset=Dataset(id=1), snapshot_date=DAY + timedelta(n), state=state)
            )

        one_answer(three, call)
    for states in (["loaded", "failed"], ("failed", "loaded"), {"claimed"}, []):
        for api in three:
            found = api.get_dataset_releases(1000, 1, state=states)
            assert sorted(release.state for release in found) == sorted(states)


@pytest.mark.parametrize(
    "fields, column",
    [
        ({"name": "a\0b"}, "name"),
        ({"name": "\ud83d"}, "name"),
        ({"name": "x" * 251}, None),
        ({"name": 7}, None),
    ],
)
def test_a_bad_value_of_a_client_is_a_fault_of_the_data_everywhere(three, fields, column):
    found = one_answer(three, organisation("post", fields))
    assert found == ("DataError", "bad_field")


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "odd",
    [math.nan, math.inf, -math.inf, 2**63, "\0", "\ud83d", b"x", DAY, datetime(2024, 3, 1)]
    + [datetime(2024, 3, 1, tzinfo=timezone.utc), {1: 2}, {"\0": 1}, {1, 2}],
)
def test_what_json_or_postgresql_cannot_hold_is_refused_with_one_reason(three, odd):
    for extra in ({"x": odd}, {"x": [{"y": odd}]}):
        found = one_answer(three, register({"snapshot_date": DAY}, {"extra": extra}, 1))
        assert found == ("DataError", "bad_field")
    assert all(api.get_dataset_releases() == [] for api in three)


def test_what_json_can_hold_comes_back_as_it_was(three):
    extra = {
        "": [None, True, -0.0, 1e300, 5e-324, 2**63 - 1, -(2**63), 1.0, "Ü✓😀", {"a": {"b": []}}],
        "deep": json.loads("[" * 40 + "]" * 40),
    }
    one_answer(three, register({"snapshot_date": DAY}, {"extra": extra}, 1))
    for api in three:
        assert repr(api.get_latest_release(1).extra) == repr(extra)


def test_a_new_thing_with_an_id_of_its_own_is_refused_and_the_sequence_goes_on(three):
    assert one_answer(three, organisation("post", {"id": 2, "name": "mine"})) == (
        "DataError",
        "read_only",
    )
    for n in range(3):
        done, made = one_answer(three, organisation("post", {"name": f"o{n}"}))
        assert done == "done" and made["id"] == n + 1


@pytest.mark.parametrize("run", ["", "x" * 251, "a\0", "\ud83d", None, 7])
def test_a_claim_without_a_run_that_can_be_stored_is_refused_and_stops_no_list(three, run):
    found = one_answer(three, claim({"snapshot_date": DAY}, run, 60, 1))
    assert found == ("DataError", "bad_field")
    assert one_answer(three, listed("dataset_release", 1000, {"state": "claimed"})) == ("done", [])


def test_times_without_a_zone_are_refused_wherever_they_come_in(three):
    naive = datetime(2024, 3, 1, 12)
    calls = [
        lambda api: DatasetRelease(dataset=Dataset(id=1), snapshot_date=naive),
        register({"snapshot_date": DAY}, {"ingestion_end": naive}, 1),
        listed("dataset_release", 10, {"snapshot_date": naive}),
        settle(1, {"ingestion_end": naive}, "one"),
    ]
    for call in calls:
        assert one_answer(three, call) == ("DataError", "naive_time")


def test_a_question_about_a_time_means_the_moment(three):
    one_answer(three, register({"snapshot_date": "2024-03-01T10:00:00+13:00"}, {}, 1))
    for time in ("2024-02-29T21:00:00Z", datetime.fromisoformat("2024-02-29T16:00:00-05:00")):
        for api in three:
            assert len(api.get_dataset_releases(10, 1, snapshot_date=time)) == 1


def test_empty_bodies_and_unknown_things_have_one_answer(three):
    calls = {
        lambda api: api.post_organisation(Organisation()): "done",
        lambda api: api.put_organisation(Organisation(id=1)): "done",
        lambda api: api.put_organisation(Organisation(id=99, name="x")): "not_found",
        lambda api: api.delete_organisation(99): "not_found",
        lambda api: api.get_organisation(99): "not_found",
        lambda api: api.get_organisation(): "bad_question",
        lambda api: api.post_organisation(WorkflowType(name="x")): "bad_field",
        lambda api: api.post_organisation(None): "bad_field",
        lambda api: api.backend.register([]): "done",
        lambda api: api.backend.settle(DatasetRelease(state="loaded"), "one"): "bad_field",
        lambda api: api.backend.page("colour"): "unknown_kind",
        lambda api: api.get_datasets(colour="red"): "bad_question",
        lambda api: api.get_datasets(None): "bad_question",
        lambda api: api.get_datasets(name="x" * 100_000): "bad_question",
        lambda api: api.delete_dataset(1): "done",
        lambda api: api.delete_table_type(1): "in_use",
    }
    for call, expected in calls.items():
        found = one_answer(three, call)
        assert expected in (found[0], found[1]), found


# what the first version has stored already


def stored_before(database):
    "Rows that the first version took: odd runs, numbers and texts in extra, an id of its own."
    odd = [
        {"dag_run_id": "", "state": "claimed"},
        {"warning": "", "state": "loaded"},
        {"row_count": -5, "state": "loaded"},
        {"extra": {"x": 2**70}, "state": "loaded"},
        {"extra": {"x": "\ud83d"}, "state": "loaded"},
    ]
    if database.engine.dialect.name == "sqlite":
        odd += [
            {"dag_run_id": "x" * 300, "state": "claimed"},
            {"extra": {"x": math.nan}, "state": "loaded"},
            {"checksum": "a\0b", "state": "loaded"},
        ]
    now = datetime.now(timezone.utc)
    with database.writing() as con:
        for n, values in enumerate(odd):
            day = DAY + timedelta(n)
            values |= {"dataset_id": 1, "release_key": f"s:{day}", "position": str(day)}
            values |= {"created": now, "modified": now, "id": 50 + n}
            values["snapshot_date"] = datetime(day.year, day.month, day.day, tzinfo=timezone.utc)
            con.execute(sa.insert(TABLES["dataset_release"]).values(values))
    return [f"s:{DAY + timedelta(n)}" for n in range(len(odd))][::-1]


def test_what_was_stored_badly_stops_no_list(desks, conforming):
    apis, databases, _ = desks
    empty(databases)
    for database in databases:
        furnish(Registry(database))
    for api, database in zip(apis, databases, strict=True):
        keys = stored_before(database)
        found = api.get_dataset_releases(1000, 1, state=["loaded", "claimed"])
        assert [release.release_key for release in found] == keys
        assert [api.get_dataset_release(release.id).id for release in found] == [
            release.id for release in found
        ]
        assert api.missing_releases(1, [DAY + timedelta(1), DAY + timedelta(30)]) == [
            DAY + timedelta(30)
        ]
    assert conforming.problems  # such rows break what is promised of rows, and no list
    conforming.problems.clear()


def test_ids_that_a_client_chose_once_do_not_stop_a_postgresql(postgres):
    url = postgres()
    first = make_observatory_api(url)
    now = datetime.now(timezone.utc)
    with first.backend.writing() as con:
        for id in (1, 2):
            con.execute(
                sa.insert(TABLES["organisation"]).values(
                    id=id, name=f"chosen {id}", created=now, modified=now
                )
            )
    later = make_observatory_api(url)
    made = [answer(later, organisation("post", {"name": name})) for name in ("a", "b")]
    assert [(done, said["id"] if done == "done" else said) for done, said in made] == [
        ("done", 3),
        ("done", 4),
    ]


# raw questions to the service


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/v1/dataset_releases?limit=1&limit=2", 400),
        ("GET", "/v1/dataset?id=1&id=2", 400),
        ("GET", "/v1/dataset?id=0", 400),
        ("GET", "/v1/dataset?id=1&colour=red", 400),
        ("DELETE", "/v1/organisation", 400),
        ("DELETE", "/v1/organisation?id=1&colour=red", 400),
        ("GET", "/v1/dataset_releases?row_count=x", 400),
        ("GET", "/v1/dataset_releases?snapshot_date=soon", 400),
        ("GET", "/v1/retentions?legal_hold=perhaps", 400),
        ("GET", "/v1/retentions?legal_hold=true", 200),
        ("GET", "/v1/dataset_releases?state=loaded&state=failed&row_count=5", 200),
    ],
)
def test_a_raw_question_is_understood_or_refused(desks, three, method, path, status):
    reply = requests.request(method, desks[2] + path, headers={"X-API-Key": "writers"}, timeout=10)
    assert reply.status_code == status, reply.text


@pytest.mark.parametrize(
    "path, body",
    [
        ("/v1/organisation", b'{"id": 5, "name": "mine"}'),
        ("/v1/organisation", b'{"name": "a\\u0000b"}'),
        ("/v1/organisation", b'{"name": "\\ud83d"}'),
        ("/v1/organisation", b""),
        ("/v1/workflow", b'{"workflow_type": {"id": 1}, "extra": {"x": NaN}}'),
        ("/v1/workflow", b'{"workflow_type": {"id": 1}, "extra": {"x": 1180591620717411303424}}'),
        ("/v1/dataset_releases/register", b'[{"dataset": {"id": 1}, "odd": 1}]'),
        (
            "/v1/dataset_releases/claim",
            (
                b'{"release": {"dataset": {"id": 1}, '
                b'"snapshot_date": "2024-03-01T00:00:00Z"}, "run": ""}'
            ),
        ),
    ],
)
def test_a_raw_body_is_refused_as_the_other_desks_refuse_it(desks, three, path, body):
    reply = requests.post(desks[2] + path, data=body, headers={"X-API-Key": "writers"}, timeout=10)
    assert reply.status_code == 400 and reply.json()["reason"] in ("bad_field", "read_only")


# every operation, as its description has it


def test_every_operation_does_what_its_description_says(three, conforming):
    """Each of them is called on all desks alike, rightly; `Conforming` compares the calls and the
    answers over HTTP with the description."""
    dataset = Dataset(id=1)
    made = {
        "organisation": Organisation(name="The Press", project_id="press-1"),
        "workflow_type": WorkflowType(type_id="another"),
        "workflow": entities.Workflow(
            name="n", tags=["a"], extra={"x": [1, None]}, workflow_type=WorkflowType(id=1)
        ),
        "table_type": TableType(type_id="sharded", name="Sharded"),
        "dataset_type": DatasetType(type_id="another", table_type=TableType(id=1)),
        "dataset": Dataset(
            name="more",
            service="s",
            address="a",
            derived_from=[1, 2],
            workflow=entities.Workflow(id=1),
            dataset_type=DatasetType(id=1),
        ),
        "dataset_release": DatasetRelease(dataset=dataset, snapshot_date=DAY, row_count=5),
        "dataset_place": entities.DatasetPlace(dataset=dataset, service="s", address="b"),
        "licence": entities.Licence(
            dataset=dataset, licence_id="CC0", purposes=["analysis"], valid_from=DAY
        ),
        "retention": Retention(dataset=dataset, keep_last=3, legal_hold=True),
        "export_decision": entities.ExportDecision(
            dataset_release=DatasetRelease(id=1), purpose="p", allowed=True, why="because"
        ),
    }
    assert made.keys() == ENTITIES.keys()
    for kind, record in made.items():

        def change(api):
            things = getattr(api, f"get_{kind}s")(1000)
            return api.backend.put(kind, type(record)(id=things[-1].id))

        def replaced(api):
            "A thing that is made by put, without an id."
            if kind in ("licence", "retention", "dataset_place", "export_decision"):
                return api.backend.put(kind, record)
            return None

        for call in (lambda api: api.backend.post(kind, record), change, replaced):
            assert one_answer(three, call)[0] == "done", kind
        columns = column_types(ENTITIES[kind])
        given = {
            name: [*fitting]
            for name, fitting in {
                "id": (1, 2),
                "name": ("n", "a&b=c"),
                "created": (DAY, "2024-03-01T10:00:00+13:00"),
                "legal_hold": (True,),
            }.items()
            if name in columns
        }
        for call in (
            listed(kind, 1, {}),
            listed(kind, 1000, given),
            lambda api: api.backend.get(kind, id=1),
        ):
            assert one_answer(three, call)[0] == "done", kind
    for kind in ("workflow_type", "table_type"):
        assert one_answer(three, asked(kind, None, "another"))[0] in ("done", "DataError")
    later = {"snapshot_date": DAY + timedelta(1)}
    for call in (
        register({"snapshot_date": DAY + timedelta(2)}, {"extra": {"a": 1}}, 1),
        claim(later, "run", 60, 1),
        lambda api: api.backend.claim(DatasetRelease(dataset=dataset, **later), "other") is None,
        lambda api: api.backend.settle(
            DatasetRelease(
                id=api.get_dataset_releases(10, 1, state="claimed")[0].id, state="loaded"
            ),
            "run",
        ),
        lacking(1, ["s:2024-03-01", "s:2030-01-01"]),
        *(deleted(kind, 1) for kind in ("export_decision", "licence", "retention")),
    ):
        assert one_answer(three, call)[0] == "done"
    called = {(method, path) for method, path, status in conforming.seen if status < 300}
    wanted = {
        (method.upper(), path)
        for path, methods in conforming.told["paths"].items()
        for method in methods
        if path != "/health" and not (method == "delete" and path[4:] not in DELETED)
    }
    assert wanted <= called


DELETED = ("export_decision", "licence", "retention")  # the others are, in other tests
