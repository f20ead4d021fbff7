"What the tests of the Datorama client share: one sandbox for a file, made new for each test."

from contextlib import contextmanager

import pytest

from domostats import sandbox


@contextmanager
def shared_sandbox(tmp_path_factory, **size):
    """A sandbox for all tests of a file, with a folder of state of its own; `size` as in
    `start_datorama`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        with sandbox.start_datorama(today="2024-04-01", **size) as box:
            yield box


def reset(box):
    "Put a sandbox back to its beginning, two minutes later; gives it."
    box.service.state.reset()
    box.heal()
    box.clock.step(120)
    return box


def outcome(what, *args, **kwargs):
    "What a call gives, or the reason (else the kind) of its error."
    try:
        return what(*args, **kwargs)
    except Exception as e:
        return getattr(e, "reason", None) or type(e).__name__


def api_streams(box, count):
    "The ids of so many streams that can be processed."
    ids = [id for id, one in box.streams.items() if one["dataSourceName"] != "TotalConnect"]
    return ids[:count]
