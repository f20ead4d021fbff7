"""What the tests share: a sandbox of their own, and no trace of the user's own settings."""
import os

import pytest

from domostats import sandbox


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    "Every test works in an empty folder, without credentials, with a home of its own."
    for name in [name for name in os.environ if name.startswith("DOMO")]:
        monkeypatch.delenv(name)
    for name in ("XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)


@pytest.fixture
def box(own_folder):
    "A running sandbox, stopped after the test."
    with sandbox.start() as running:
        yield running
