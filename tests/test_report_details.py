"Small things of reports: how calls are numbered."

from types import SimpleNamespace

from domostats.reports.calls import calls_of
from domostats.transport.call_log import CallLog, LoggedCall


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
