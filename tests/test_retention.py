"""What is kept: any hold wins, and without a rule nothing is removed."""

from datetime import date, datetime, timedelta, timezone
from itertools import permutations

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domostats.loading.store import Store
from domostats.tracking.ledger import Load
from domostats.tracking.registry import entities, policies
from domostats.tracking.registry.api import make_observatory_api
from domostats.tracking.registry.catch_up import CatchUp
from domostats.tracking.registry.entities import (
    Dataset,
    DatasetRelease,
    DatasetType,
    Retention,
    TableType,
    WorkflowType,
)

UTC = timezone.utc
TODAY = date(2024, 3, 11)
DAYS = [TODAY - timedelta(n) for n in (0, 1, 2, 5, 9, 10, 11, 20, 40, 41)][::-1]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    "A registry with a dataset of ten releases, and another dataset of another type."
    api = make_observatory_api(tmp_path_factory.mktemp("shelf") / "registry.sqlite")
    return api, *furnish(api)


def furnish(api, extra=None, table_type="sharded"):
    flow = api.post_workflow(
        entities.Workflow(
            name="flow", workflow_type=api.post_workflow_type(WorkflowType(type_id="flow"))
        )
    )
    table = api.post_table_type(TableType(type_id=table_type))
    made = []
    for name in ("books", "other"):
        kind = api.post_dataset_type(DatasetType(type_id=name, extra=extra, table_type=table))
        made.append(
            api.post_dataset(
                Dataset(name=name, service="duckdb", address=name, workflow=flow, dataset_type=kind)
            )
        )
    api.register_releases(DatasetRelease(dataset=made[0], snapshot_date=day) for day in DAYS)
    return made


def clear(api):
    for rule in api.get_retentions():
        api.delete_retention(rule.id)


RULES = st.fixed_dictionaries(
    {
        "at": st.sampled_from(["dataset", "type", "other dataset", "other type", "nothing"]),
        "legal_hold": st.sampled_from([None, False, False, True]),
        "keep_last": st.sampled_from([None, None, 0, 1, 3, 20]),
        "keep_days": st.sampled_from([None, None, 0, 1, 10, 1000]),
        "keep_first_of_month": st.sampled_from([None, False, True]),
    }
)


def write(api, rule, dataset, other):
    target = {
        "dataset": {"dataset": dataset},
        "type": {"dataset_type": dataset.dataset_type},
        "other dataset": {"dataset": other},
        "other type": {"dataset_type": other.dataset_type},
        "nothing": {},
    }[rule["at"]]
    api.post_retention(
        Retention(**target, **{name: value for name, value in rule.items() if name != "at"})
    )


def plainly_expiring(rules):
    "Which of `DAYS` may go, by a plain model."
    about = [rule for rule in rules if rule["at"] in ("dataset", "type", "nothing")]
    if any(rule["legal_hold"] for rule in about):
        return []
    names = ("keep_last", "keep_days")
    about = [
        rule
        for rule in about
        if rule["at"] != "nothing"
        and (rule["keep_first_of_month"] or any(rule[name] is not None for name in names))
    ]
    of_dataset = [rule for rule in about if rule["at"] == "dataset"]
    counting = of_dataset or about
    if not counting:
        return []
    kept = {DAYS[-1]}
    for rule in counting:
        last = rule["keep_last"] or 0
        kept |= {*DAYS[len(DAYS) - min(last, len(DAYS)) :]}
        if rule["keep_days"]:
            kept |= {day for day in DAYS if (TODAY - day).days <= rule["keep_days"]}
        if rule["keep_first_of_month"]:
            kept |= {min(d for d in DAYS if d.month == month) for month in {d.month for d in DAYS}}
    return [day for day in DAYS if day not in kept]


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[*HealthCheck])
@given(st.lists(RULES, max_size=4))
def test_what_may_go_is_what_a_plain_model_says(shelf, rules):
    api, dataset, other = shelf
    clear(api)
    for rule in rules:
        write(api, rule, dataset, other)
    going = policies.expiring(api, dataset, today=TODAY)
    assert [one.snapshot_date.date() for one in going] == plainly_expiring(rules)


PLAIN = {"legal_hold": None, "keep_last": None, "keep_days": None, "keep_first_of_month": None}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("at", ["dataset", "type", "nothing"])
def test_a_hold_wins_wherever_it_stands_and_in_whatever_order(shelf, at):
    api, dataset, other = shelf
    rules = [
        {**PLAIN, "at": "dataset", "keep_last": 3},
        {**PLAIN, "at": "type", "keep_days": 1},
        {**PLAIN, "at": at, "legal_hold": True},
    ]
    for order in permutations(rules):
        clear(api)
        for rule in order:
            write(api, rule, dataset, other)
        assert policies.expiring(api, dataset, today=TODAY) == []


def test_seven_of_ten_go_by_the_rule_of_the_dataset_and_none_under_a_hold_on_its_type(shelf):
    api, dataset, other = shelf
    clear(api)
    write(api, {**PLAIN, "at": "dataset", "keep_last": 3}, dataset, other)
    assert len(policies.expiring(api, dataset, today=TODAY)) == 7
    hold = api.post_retention(Retention(dataset_type=dataset.dataset_type, legal_hold=True))
    assert policies.expiring(api, dataset, today=TODAY) == []
    api.put_retention(Retention(id=hold.id, legal_hold=False))
    assert len(policies.expiring(api, dataset, today=TODAY)) == 7


def test_a_lifted_hold_is_no_rule_and_expires_nothing(shelf):
    api, dataset, other = shelf
    for at in ("dataset", "type"):
        for lifted in (False, None):
            clear(api)
            write(api, {**PLAIN, "at": at, "legal_hold": lifted}, dataset, other)
            assert policies.expiring(api, dataset, today=TODAY) == []
    clear(api)
    write(api, {**PLAIN, "at": "dataset", "legal_hold": False}, dataset, other)
    write(api, {**PLAIN, "at": "type", "keep_last": 3}, dataset, other)
    assert len(policies.expiring(api, dataset, today=TODAY)) == 7


def test_the_last_ones_are_so_by_number_and_a_release_in_use_stays(tmp_path):
    api = make_observatory_api(tmp_path / "registry.sqlite")
    _, numbered = furnish(api)
    for n in (100, 9, 10, 8):
        api.register_release(DatasetRelease(dataset=numbered, sequence_start=n, sequence_end=n))
    api.post_retention(Retention(dataset=numbered, keep_last=2))
    going = policies.expiring(api, numbered)
    assert [one.sequence_end for one in going] == [8, 9]
    assert [one.sequence_end for one in policies.expiring(api, numbered, in_use=[8])] == [9]


def test_a_month_is_kept_while_any_day_of_it_is(tmp_path):
    api = make_observatory_api(tmp_path / "registry.sqlite")
    monthly, _ = furnish(api, {"granularity": "month"})
    rule = api.post_retention(Retention(dataset=monthly, keep_days=11))

    def keys(day):
        return [one.release_key for one in policies.expiring(api, monthly, today=day)]

    assert keys(date(2024, 3, 11)) == ["s:2024-01"]
    assert keys(date(2024, 3, 12)) == ["s:2024-01", "s:2024-02"]
    api.put_retention(Retention(id=rule.id, keep_days=0, keep_last=2))
    assert keys(date(2024, 3, 11)) == ["s:2024-01"]


def test_what_a_later_release_has_replaced_is_not_held_and_removing_it_takes_no_rows(tmp_path):
    "Two releases of one day, as the first version loaded them into one part."
    api = make_observatory_api(tmp_path / "registry.sqlite")
    _, parted = furnish(api, table_type="partitioned")
    catching = CatchUp(parted, api, Store(tmp_path / "store.duckdb"))
    morning, evening = [datetime(2024, 3, 1, hour, tzinfo=UTC) for hour in (6, 18)]
    catching.run([evening], lambda at: pa.table({"at": [at]}))
    catching.ledger.note(Load(catching.name, "s:2024-03-01T06:00:00", 1, loaded_at=morning))
    catching.record()
    assert [one.release_key for one in policies.absent(catching)] == ["s:2024-03-01T06:00:00"]
    api.post_retention(Retention(dataset=parted, keep_last=1))
    gone = policies.expire(catching, dry_run=False)
    assert [one.release_key for one in gone] == ["s:2024-03-01T06:00:00"]
    assert catching.store.read("other").num_rows == 1
