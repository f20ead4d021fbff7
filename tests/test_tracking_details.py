"""Small things of tracking: keys that are brought to a granularity, what a refusal is over http."""

import pytest

from domostats.errors import DataError, DestinationError, SettingsError
from domostats.tracking.registry.messages import error_reply
from domostats.tracking.registry.release_keys import release_key


@pytest.mark.parametrize(
    "key, grain, found",
    [
        ("s:2021-01-31", None, "s:2021-01-31"),
        ("s:2021-01-31T10:20:30", "day", "s:2021-01-31"),
        ("s:2021-01-31", "month", "s:2021-01"),
        ("p:2021-01", "month", "p:2021-01"),
        ("w:2021-01-01/2021-02-01", "day", "w:2021-01-01/2021-02-01"),
        ("w:2021-01-01/", "day", "w:2021-01-01/"),  # open at one end
        ("w:/2021-02-01T10:00:00", "day", "w:/2021-02-01"),
        ("w:2021-01-01T05:00:00/2021-01-01T07:00:00", "day", "s:2021-01-01"),  # of no length
        ("q:7-12", None, "q:000000000007-000000000012"),
    ],
)
def test_a_key_is_brought_to_the_granularity_of_its_dataset(key, grain, found):
    assert release_key(key, grain) == found
    assert release_key(found, grain) == found


@pytest.mark.parametrize("key", ["s:2021-01", "p:2021-01", "w:2021-01/2021-02-01"])
def test_a_key_that_is_coarser_than_its_dataset_is_refused(key):
    with pytest.raises(DataError) as caught:
        release_key(key, "day")
    assert caught.value.reason == "granularity"


@pytest.mark.parametrize(
    "error, status",
    [
        (DataError("x", "not_found"), 404),
        (DataError("x", "no_operation"), 404),
        (DataError("x", "conflict"), 409),
        (DataError("x", "in_use"), 409),
        (DataError("x", "granularity"), 409),
        (DataError("x", "not_claimed"), 409),
        (DataError("x", "bad_reference"), 422),
        (SettingsError("x", "no_key"), 401),
        (SettingsError("x", "read_only_key"), 403),
        (DataError("x", "too_large"), 413),
        (DataError("x", "bad_time"), 400),
        (DestinationError("x", "no_registry"), 503),
    ],
)
def test_a_refusal_has_the_status_that_other_programs_expect(error, status):
    found, trouble = error_reply(error)
    assert (found, trouble.reason, trouble.message) == (status, error.reason, "x")
