"""Which cases of a table are quick, which are slow, and which wait for another day."""

from datetime import date, timedelta
from types import SimpleNamespace

import pytest
from conftest import Tiers, begin_with_long_ones, leave_a_few

DAYS = [str(date(2024, 3, 1) + timedelta(n)) for n in range(100)]


class Case:
    "What pytest says of a case, as far as it is asked for here."

    def __init__(self, table, number, mark):
        self.nodeid = f"tests/test_{table}.py::{table}[{number}]"
        self.mark = mark
        self.marks = set()

    def get_closest_marker(self, name):
        return self.mark

    def add_marker(self, name):
        self.marks.add(name)


def table(name, count, *arguments, **more):
    mark = getattr(pytest.mark.sampled(*arguments, **more), "mark", None) if arguments else None
    return [Case(name, number, mark) for number in range(count)]


def on(day, monkeypatch, *tables):
    "The numbers of the quick cases of each table, of the slow ones and of those of another day."
    monkeypatch.setenv("SAMPLE", day)
    Tiers().pytest_collection_modifyitems([case for cases in tables for case in cases])
    kinds = [set(), {"slow"}, {"slow", "another_day"}]
    return [
        [[n for n, case in enumerate(cases) if case.marks == kind] for kind in kinds]
        for cases in tables
    ]


def test_of_a_long_table_a_sample_is_quick_and_twelve_more_are_run_a_day(monkeypatch):
    [[quick, slow, left]] = on(DAYS[0], monkeypatch, table("long", 100, 8))
    assert quick == [*range(0, 100, 8)]
    assert len(slow) == 12 and sorted([*quick, *slow, *left]) == [*range(100)]


def test_a_short_table_is_run_whole_every_day(monkeypatch):
    short = table("short", 16, 4)
    one = table("one", 1, 4)
    told = on(DAYS[0], monkeypatch, short, one, table("without", 3))
    assert told == [
        [[0, 4, 8, 12], [n for n in range(16) if n % 4], []],
        [[0], [], []],
        [[0, 1, 2], [], []],
    ]


def test_fewer_a_day_where_a_case_takes_long(monkeypatch):
    [[quick, slow, left]] = on(DAYS[0], monkeypatch, table("long", 40, 10, a_day=6))
    assert (len(quick), len(slow), len(left)) == (4, 6, 30)


def test_a_day_draws_the_same_again_whatever_else_is_run(monkeypatch):
    alone = on(DAYS[0], monkeypatch, table("long", 100, 8))
    beside = on(DAYS[0], monkeypatch, table("before", 70, 3), table("long", 100, 8))
    assert alone[0] == beside[1]


def test_in_a_hundred_days_every_case_has_its_turn(monkeypatch):
    slow = set()
    for day in DAYS:
        [[quick, drawn, _]] = on(day, monkeypatch, table("long", 100, 8))
        slow.update(drawn)
    assert sorted([*quick, *slow]) == [*range(100)]


def test_the_day_is_said():
    assert Tiers().pytest_report_header().startswith("cases of the day: SAMPLE=2")


def left_a_few(day, monkeypatch, *tables):
    "The cases that are kept and those that are told as left out."
    monkeypatch.setenv("SAMPLE", day)
    items, told = [case for cases in tables for case in cases], []
    hook = SimpleNamespace(pytest_deselected=lambda items: told.extend(items))
    leave_a_few(SimpleNamespace(hook=hook), items)
    return items, told


def test_a_few_are_the_first_and_two_of_the_day_of_each_test_in_their_order(monkeypatch):
    long, short, one = table("long", 50), table("short", 3), table("one", 1)
    kept, left = left_a_few(DAYS[0], monkeypatch, long, short, one)
    assert len(kept) == 3 + 3 + 1 and kept[0] is long[0] and kept[3:] == [*short, *one]
    assert sorted([*kept, *left], key=id) == sorted([*long, *short, *one], key=id)
    assert kept == [case for case in [*long, *short, *one] if case in kept]
    seen = {case for day in DAYS for case in left_a_few(day, monkeypatch, long)[0]}
    assert len(seen) > 40


def test_each_worker_begins_with_a_long_one():
    short = [Case("short", number, None) for number in range(37)]
    long = [Case(f"long{number}", number, pytest.mark.long) for number in range(3)]
    ordered = begin_with_long_ones([*short, *long], 4)
    assert [ordered.index(case) for case in long] == [0, 10, 20]
    assert [case for case in ordered if case not in long] == short
    assert begin_with_long_ones(short, 4) == short
    assert {*begin_with_long_ones([*short, *long], 1)[:3]} == {*long}


def test_long_ones_of_one_file_go_to_one_worker():
    "They share what takes long: of four workers that begin with them three would wait."
    short = [Case("short", number, None) for number in range(20)]
    airflow = [Case("airflow", number, pytest.mark.long) for number in range(3)]
    others = [Case(f"long{number}", number, pytest.mark.long) for number in range(4)]
    mixed = [others[0], *short[:7], *airflow, *short[7:], *others[1:]]
    ordered = begin_with_long_ones(mixed, 4)
    assert sorted(ordered, key=id) == sorted(mixed, key=id)
    assert [ordered.index(case) for case in airflow] == [6, 7, 8]  # 27 tests: 0, 6, 13 and 20
    assert [ordered.index(case) for case in others] == [0, 13, 20, 1]
    assert [case for case in ordered if case in short] == short


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 7, 64])
@pytest.mark.parametrize("longs", [0, 1, 5, 40])
def test_every_test_is_there_once_however_many_workers(workers, longs):
    tests = [
        Case("t", number, pytest.mark.long if number < longs else None) for number in range(40)
    ]
    ordered = begin_with_long_ones(tests, workers)
    assert len(ordered) == 40 and {*ordered} == {*tests}
