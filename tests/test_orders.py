"""No test relies on another, nor on where it runs: files pass alone, shuffled or backwards.

In half a minute, as many of them as there is time for; `python tools/orders.py` runs them all.
"""

import os
import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="files are run in forks")
@pytest.mark.timeout(1800)
def test_files_pass_alone_in_an_order_and_a_zone_of_today():
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "orders.py", "-n", "2", "--minutes", "0.5"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-20_000:]
    assert " passed" in done.stdout and "no file failed" in done.stdout
