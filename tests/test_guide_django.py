"""The page about Django: its project, made as it stands there, with Django itself and SQLite; the
days go to DuckDB, and to BigQuery's sandbox."""

import os
import re
import subprocess
import sys
import sysconfig
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from conftest import ROOT

from domostats import sandbox
from domostats.loading.store import Store

PAGE = ROOT / "docs" / "guides" / "django.md"
FILES = dict(
    re.findall(
        r"^```\{code-block\} \w+\n:caption: ([\w./]+)[^\n]*\n\n(.*?)^```",
        PAGE.read_text(encoding="utf-8"),
        re.M | re.S,
    )
)
ZONE = ZoneInfo("Europe/Paris")
FILL = """
import datetime, sys
from zoneinfo import ZoneInfo
from shop.models import Customer
zone = ZoneInfo("Europe/Paris")
first = datetime.date.fromisoformat("{first}")
for n, came in enumerate([10, 10, 15]):
    day = datetime.datetime.combine(first + datetime.timedelta(n), datetime.time(12), zone)
    Customer.objects.bulk_create(
        Customer(joined=day, is_paying=number % 2 == 0) for number in range(came)
    )
# half past eleven in the evening in Greenwich is the next day in Paris
late = datetime.datetime.combine(first + datetime.timedelta(2), datetime.time(23, 30))
Customer.objects.create(joined=late.replace(tzinfo=datetime.timezone.utc))
"""


@pytest.fixture(scope="module")
def python(environment):
    "The interpreter of an environment that has Django, and domostats from here."
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return environment("django>=4.2,<7", pythons=(version,))


@pytest.fixture
def project(python, own_folder, monkeypatch):
    "The project of the page, with customers; gives a function that runs a program in it."
    places = [str(ROOT), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(places))

    def call(*words, code=0, **environment):
        done = subprocess.run(
            [python, *words],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    call("-m", "django", "startproject", "mysite", ".")
    call("manage.py", "startapp", "shop")
    for name, text in FILES.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_text() if name == "mysite/settings.py" else ""
        path.write_text(before + text)
    for folder in ("shop/management", "shop/management/commands"):
        (Path(folder) / "__init__.py").touch()
    call("manage.py", "makemigrations", "shop")
    call("manage.py", "migrate")
    return call


@pytest.mark.slow
def test_the_project_of_the_page_does_what_the_page_says(project):
    assert set(FILES) == {
        "shop/models.py",
        "shop/stats.py",
        "mysite/settings.py",
        "shop/management/commands/stats.py",
        "shop_stats.py",
        "settings.ini",
    }
    first = datetime.now(ZONE).date() - timedelta(3)
    settings = Path("mysite/settings.py")
    there = settings.read_text()
    assert "date(2022, 1, 1)" in there
    settings.write_text(there.replace("date(2022, 1, 1)", f'date.fromisoformat("{first}")'))
    project("manage.py", "shell", "-c", FILL.replace("{first}", str(first)))
    command = "manage.py", "stats"
    assert "wrote 0001_customers_signup.json" in project(*command, "make-migrations")
    assert "nothing new" in project(*command, "make-migrations")
    assert "Run: domostats make-migrations" in project(*command, "extract", code=1)
    assert "2 steps applied" in project(*command, "migrate")
    assert "'customers': 35" in project(*command, "preview")
    said = project(*command, "extract")
    assert said.count("done") == 6 and f"customers {first + timedelta(2)} done" in said
    assert project(*command, "extract") == ""

    store = Store("stats.duckdb")
    rows = store.read("customers_delta", "SELECT * FROM table ORDER BY date").to_pylist()
    assert [(row["customers"], row["paying"]) for row in rows] == [(10, 5), (10, 5), (15, 8)]
    days = store.read("signup", "SELECT _day, count(*) AS n FROM table GROUP BY 1 ORDER BY 1")
    assert days["n"].to_pylist() == [10, 10, 15]  # the late one is of the day after

    printed = project("-m", "domostats", "migrate", "--back-to", "zero", "--dry-run")
    assert f"table signup with 35 rows of 3 days ({first} to {first + timedelta(2)})" in printed

    pytest.importorskip("google.cloud.bigquery")
    with sandbox.start_bigquery("acme-analytics", "EU") as box:
        there = {
            "STATS_WAREHOUSE": "bigquery:acme-analytics.stats",
            "BIGQUERY_EMULATOR_HOST": box.url,
        }
        assert "2 steps applied" in project(*command, "migrate", **there)
        assert project(*command, "extract", **there).count("done") == 6
        found = sorted(box.table("stats.customers").to_pylist(), key=lambda row: row["date"])
        assert [row["customers"] for row in found] == [10, 20, 35] and not box.mistakes
        assert box.table("stats.signup").num_rows == 35
