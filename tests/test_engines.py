"""What any engine does with a workflow, and what Airflow's connections say; without Airflow."""

import json
import subprocess
import sys
from datetime import date, datetime, timezone
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from secret_search import leaks

from domostats.engines.airflow import Workflow as AirflowWorkflow
from domostats.engines.airflow import connections, organisations
from domostats.engines.steps import (
    Engine,
    fitting,
    listed,
    make_batches,
    make_named,
    name_releases,
    plain_kind,
    run_batch,
)
from domostats.errors import DataError, DestinationError, DomostatsError
from domostats.tracking.registry.api import make_observatory_api
from domostats.tracking.registry.entities import Organisation
from domostats.tracking.registry.task_runs import Task, release_name
from domostats.tracking.registry.workflow import Workflow

SECRET = "planted-key-9f8e7d6c5b4a"


class Handed:
    "A run of a workflow in which only JSON goes from one task to the next."

    def __init__(self, workflow, most):
        self.workflow = workflow
        self.most = most
        self.failed = {}

    def run(self):
        flow = self.workflow
        keywords = {"dag_id": flow.dag_id, "run_id": "1", "workflow": flow}
        if any(task.function(**keywords) is False for task in flow.tasks if task.setup):
            return self
        made = flow.make_release(**keywords)
        names = json.loads(json.dumps(name_releases(flow, made)))
        kind = json.loads(json.dumps(plain_kind(made)))
        for task in [task for task in flow.tasks if not task.setup]:
            if not task.each:
                task.function(make_named(flow, names, keywords, kind), **keywords)
                continue
            done = []
            for batch in make_batches(names, self.most):
                found = run_batch(task, make_named(flow, batch, keywords, kind), keywords)
                done += found.results
                self.failed |= {f"{task.name} {one}": 0 for one in found.failures}
            names = [name for name in names if name in done]
            if self.failed and not names:
                break
        return self


def handed(most=3):
    "An engine that runs batches of at most so many releases."
    engine: Engine = lambda workflow: Handed(workflow, most)  # noqa: E731
    return engine


class Told(Workflow):
    "Keeps what its tasks were called with."

    def __init__(self, releases, kinds, failing):
        super().__init__("told")
        self.releases = releases
        self.told = []
        for n, each in enumerate(kinds):
            self.add_task(self.task(n, {*failing} if each else set()), task_id=f"t{n}", each=each)

    def task(self, n, failing):
        def call(releases, **kwargs):
            names = [release_name(one) for one in listed(releases)]
            self.told.append((n, names, [type(one) for one in listed(releases)]))
            if failing & {(n, name) for name in names}:
                raise ValueError(n)

        return call

    def make_release(self, **kwargs):
        return self.releases


DAYS = st.dates(date(2024, 1, 1), date(2024, 12, 31))
RELEASES = st.one_of(
    st.lists(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=5), max_size=8, unique=True
    ),
    st.lists(st.integers(0, 99), max_size=8, unique=True),
    st.lists(DAYS, max_size=8, unique=True),
    st.lists(DAYS, max_size=8, unique=True).map(
        lambda days: [SimpleNamespace(release_date=day) for day in days]
    ),
    DAYS.map(lambda day: SimpleNamespace(release_date=day)),
)


@settings(deadline=None, max_examples=150)
@given(RELEASES, st.lists(st.booleans(), max_size=4), st.integers(1, 4), st.data())
def test_an_engine_calls_what_a_plain_run_calls(releases, kinds, most, data):
    names = [release_name(one) for one in listed(releases)]
    failing = (
        data.draw(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(names)), max_size=4))
        if names
        else []
    )
    plain = Told(releases, kinds, failing)
    failures = {}
    try:
        plain.run("1")
    except Exception as e:
        failures = e.failures
    engine = Told(releases, kinds, failing)
    run = engine.make_dag(handed(most)).run()
    assert engine.told == plain.told and {*run.failed} == {*failures}


def test_an_engine_whose_releases_cannot_be_made_calls_nothing():
    flow = Told([], [True, False], [])

    def make_release(**kwargs):
        raise DestinationError("It is down.", "no_registry")

    flow.make_release = make_release
    for run in (flow.run, flow.make_dag(handed()).run):
        with pytest.raises(DestinationError):
            run()
    assert flow.told == []


@given(st.lists(st.integers(), max_size=60), st.integers(1, 12))
def test_batches_hold_each_name_once_and_in_order(names, most):
    batches = make_batches(names, most)
    assert [one for batch in batches for one in batch] == names
    assert len(batches) <= most and all(batches)


def test_several_without_a_name_are_refused_and_one_is_not():
    flow = Workflow("flow")
    assert name_releases(flow, object()) == [None] and name_releases(flow, None) == []
    with pytest.raises(DataError) as refused:
        name_releases(flow, [object(), object()])
    assert refused.value.reason == "no_date"
    flow.add_task(print, each=True)
    with pytest.raises(DataError) as refused:
        name_releases(flow, ["a", "a"])
    assert refused.value.reason == "twice"


def test_a_release_that_appears_in_the_meantime_waits_and_one_that_went_is_told(caplog):
    days = [SimpleNamespace(release_date=date(2024, 4, n)) for n in (1, 2, 3)]
    flow = Told(days[:2], [], [])
    names = name_releases(flow, flow.releases)
    flow.releases = days[1:]
    assert make_named(flow, names, {}) == [days[1]] and "2024-04-01" in caplog.text


def test_days_and_moments_come_back_as_they_were():
    flow = Workflow("flow")
    for one in (date(2024, 4, 1), datetime(2024, 4, 1, 2, 3, tzinfo=timezone.utc), 7, "a"):
        assert make_named(flow, name_releases(flow, [one]), {}, plain_kind([one])) == [one]


def test_a_task_gets_of_the_keywords_what_it_takes():
    def load(task, ds, run_id): ...

    keywords = {"task": 1, "ds": 2, "run_id": 3, "dag_id": 4, "ti": 5}
    assert fitting(load, keywords) == {"ds": 2, "run_id": 3, "dag_id": 4}
    assert fitting(lambda one, **kwargs: 0, keywords) == keywords


def test_a_batch_is_tried_once_and_each_release_in_time(no_waits):
    calls = []

    def load(release, **kwargs):
        calls.append(release)
        if release == "b":
            raise ValueError(release)

    done = run_batch(Task("load", load, retries=3), ["a", "b", "c"], {"run_id": "1"})
    assert [*done.results] == ["a", "c"] and [*done.failures] == ["b"]
    assert calls == ["a", "b", "c"] and not no_waits


# --- without Airflow ------------------------------------------------------------------------------


def test_importing_the_engines_imports_no_engine():
    code = (
        "import sys, domostats.engines.airflow as found\n"
        "found.Workflow('night').add_task(print)\n"
        "assert not {'airflow', 'distributed'} & {*sys.modules}\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_workflow_of_airflow_runs_in_a_plain_process_too(tmp_path):
    api = make_observatory_api(tmp_path / "registry.sqlite")
    night = AirflowWorkflow("night", api=api, schedule="@daily")
    night.make_release = lambda **kwargs: ["a"]
    night.add_task(lambda releases, **kwargs: len(releases), task_id="count")
    assert night.run().results == {"count": 1} and night.api is api
    assert night.dag_options == {"catchup": False, "max_active_runs": 1, "schedule": "@daily"}


# --- connections ----------------------------------------------------------------------------------


def connection(conn_type="http", extra=None, **given):
    fields = dict.fromkeys(("host", "schema", "login", "password", "port"))
    return SimpleNamespace(conn_type=conn_type, extra_dejson=extra or {}, **{**fields, **given})


@pytest.mark.parametrize(
    ("given", "url"),
    [
        (connection(host="registry.example"), "http://registry.example"),
        (connection(host="registry.example", schema="https", port=1), "https://registry.example:1"),
        (connection("https", host="https://registry.example/"), "https://registry.example"),
        (connection("sqlite", host="/data/r.sqlite"), "sqlite:////data/r.sqlite"),
        (
            connection("postgres", host="db", schema="r", login="a@b", password="p/q", port=5),
            "postgresql://a%40b:p%2Fq@db:5/r",
        ),
    ],
)
def test_a_connection_says_where_the_registry_is(given, url):
    assert connections.registry_address(given)[0].reveal() == url


def test_a_connection_of_another_type_is_refused_without_its_password():
    with pytest.raises(DomostatsError) as refused:
        connections.registry_address(connection("ftp", password=SECRET))
    assert refused.value.reason == "bad_registry_url" and not leaks(str(refused.value), SECRET)


def test_an_instance_brings_the_secrets_of_its_connection(monkeypatch):
    known = {
        "domo_my_shop": connection(password=SECRET),
        "domo_acme": connection(login="ada", password=SECRET, host="127.0.0.1", schema="http"),
        "datorama_us": connection(password=SECRET),
        "domo_other": connection(extra={"domo_access_token": SECRET}),
    }
    monkeypatch.setattr(connections, "find_connection", known.get)
    found = {
        name: connections.connected_instance(name)
        for name in ("my-shop", "acme", "datorama-us", "other", "none")
    }
    assert {name: [*one.secrets] for name, one in found.items()} == {
        "my-shop": ["DOMO_ACCESS_TOKEN"],
        "acme": ["DOMO_USERNAME", "DOMO_PASSWORD"],
        "datorama-us": ["DATORAMA_API_TOKEN"],
        "other": ["DOMO_ACCESS_TOKEN"],
        "none": [],
    }
    assert found["acme"].url == "http://127.0.0.1" and not leaks(found, SECRET)
    assert found["acme"].secrets["DOMO_PASSWORD"].reveal() == SECRET


# --- organisations --------------------------------------------------------------------------------


def test_a_registry_that_is_down_or_hangs_makes_no_dag_vanish(tmp_path, caplog):
    api = make_observatory_api(tmp_path / "registry.sqlite")
    api.post_organisation(Organisation(name="The Press"))

    def make(organisation, dag_id):
        return organisation.id

    with pytest.raises(AttributeError):  # nothing was kept yet
        organisations.organisation_dags("onix", make, SimpleNamespace())
    before = organisations.organisation_dags("onix", make, api)
    assert before == {"onix_the_press": 1} and not caplog.text

    def down():
        raise DestinationError("It is down.", "no_registry")

    kept = organisations.remembered("organisations", down, Organisation)
    assert [one.name for one in kept] == ["The Press"] and "last good copy" in caplog.text
    assert organisations.organisation_dags("onix", make, SimpleNamespace()) == before


def test_one_organisation_that_cannot_be_made_is_told_and_the_others_are_there(tmp_path, caplog):
    api = make_observatory_api(tmp_path / "registry.sqlite")
    for name in ("A", "B", "!"):
        api.post_organisation(Organisation(name=name))

    def make(organisation, dag_id):
        if organisation.name == "B":
            raise ValueError("broken")
        return dag_id

    assert organisations.organisation_dags("x", make, api) == {"x_a": "x_a"}
    assert "no DAG for B" in caplog.text and "no DAG for !" in caplog.text
