"""No test relies on another: each file passes alone, shuffled or backwards."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="files are run in forks")
@pytest.mark.timeout(1800)
def test_each_file_passes_alone_and_in_an_order_of_today():
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "orders.py", "-n", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-20_000:]
    assert "every file passed" in done.stdout
