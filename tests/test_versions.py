"""The core on the oldest Python with the lowest version of everything declared, and on the
newest with pandas 2 and 3: the built package, in environments of its own."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import QUICKLY, ROOT, missing

LEFT_OUT = {
    "test_airflow.py",
    "test_airflow_commands.py",
    "test_benchmarks.py",
    "test_bigquery_catch_up.py",
    "test_bigquery_history.py",
    "test_bigquery_kills.py",
    "test_bigquery_loads.py",
    "test_bigquery_property.py",
    "test_bigquery_contract.py",
    "test_extractor_features.py",
    "test_bigquery_statements.py",
    "test_bigquery_warehouse.py",
    "test_bigquery_warehouse_faults.py",
    "test_bigquery_going_back.py",
    "test_bigquery_client.py",
    "test_bigquery_commands.py",
    "test_bigquery_destination.py",
    "test_client_edges.py",
    "test_connection_edges.py",
    "test_contributing.py",
    "test_dash_client.py",
    "test_dash_defects.py",
    "test_dash_features.py",
    "test_dash_loads.py",
    "test_dash_sign_in.py",
    "test_datorama.py",
    "test_datorama_face.py",
    "test_datorama_lapses.py",
    "test_datorama_size.py",
    "test_elsewhere.py",
    "test_estimates.py",
    "test_exit_codes.py",
    "test_faults.py",
    "test_fleet_memory.py",
    "test_going_back.py",
    "test_guide_django.py",
    "test_guides.py",
    "test_history_instances.py",
    "test_hostile.py",
    "test_incomplete.py",
    "test_install.py",
    "test_lesson_slips.py",
    "test_lessons.py",
    "test_listings.py",
    "test_mutants.py",
    "test_night_again.py",
    "test_night_property.py",
    "test_night_waits.py",
    "test_orders.py",
    "test_page_edges.py",
    "test_planted_secrets.py",
    "test_private_files.py",
    "test_project.py",
    "test_published_comotion.py",
    "test_published_description.py",
    "test_published_domolibrary.py",
    "test_published_pydomo.py",
    "test_reasons.py",
    "test_reply_limits.py",
    "test_report_types.py",
    "test_resume.py",
    "test_retention.py",
    "test_sandbox.py",
    "test_sandbox_agrees.py",
    "test_sandbox_bigquery.py",
    "test_sandbox_bigquery_functions.py",
    "test_sandbox_bigquery_sign_in.py",
    "test_sandbox_bigquery_sql.py",
    "test_sandbox_dash.py",
    "test_sandbox_dash_v1.py",
    "test_sandbox_datorama.py",
    "test_sandbox_day.py",
    "test_sandbox_entities.py",
    "test_sandbox_parameters.py",
    "test_sandbox_replies.py",
    "test_sandbox_rights.py",
    "test_secret_doors.py",
    "test_secrets.py",
    "test_silence.py",
    "test_site.py",
    "test_spool.py",
    "test_spool_edges.py",
    "test_store_kills.py",
    "test_three_desks.py",
    "test_token_rotation.py",
    "test_upgrades.py",
    "test_versions.py",
    "test_waits.py",
    "test_wheel.py",
}  # need the tools, or take long and ask nothing of the version
LONG_ONES = {
    "test_dash_commands.py",
    "test_dash_odd_sources.py",
    "test_dash_v1.py",
    "test_datorama_arguments.py",
    "test_declarations.py",
    "test_destinations.py",
    "test_extractors.py",
    "test_history_property.py",
    "test_incomplete_releases.py",
    "test_look.py",
    "test_odd_histories.py",
    "test_progress.py",
    "test_registry.py",
    "test_registry_service.py",
    "test_registry_upgrade.py",
    "test_release_order.py",
    "test_strictness.py",
    "test_unknown_cells.py",
}  # seen on the oldest Python, where most goes wrong
FRAMES = {
    "test_accounts.py",
    "test_columns.py",
    "test_domojupyter.py",
    "test_files.py",
    "test_history.py",
    "test_reports.py",
    "test_row_edges.py",
    "test_rows.py",
    "test_store.py",
    "test_widgets.py",
    "test_widgets_history.py",
}  # where data frames are made or taken
NEW_TYPES = {"test_csv.py", "test_odd_frames.py"}  # types that only a newer pyarrow holds
LONG = (
    "not published and not killed and not kills and not processes and not machines and not "
    "programs and not postgresql and not http and not openapi"
)


def interpreters():
    "Every CPython at hand as a dict from minor version to its path: on the PATH, or kept by pyenv."
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = {}
    for minor in range(10, 30):
        for place in [
            shutil.which(f"python3.{minor}"),
            *sorted(pyenv.glob(f"3.{minor}.*/bin/python")),
        ]:
            if place and _version(place) == f"3.{minor}":
                found.setdefault(minor, str(place))
    return found


def _version(python):
    done = subprocess.run(
        [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


FOUND = interpreters()
NEWEST = max(FOUND, default=11)


OLDEST = 10
EXTRAS = "sandbox", "registry", "dash", "excel", "widgets"
OLD_ONES = {"test_dash_defects.py"}  # on the oldest Python too
TESTING = (
    "pytest",
    "pytest-xdist",
    "pytest-timeout",
    "hypothesis",
    "openapi-spec-validator",
    "sqlglot",
    "matplotlib",
    "pendulum",
)


def declared(extras=EXTRAS):
    "Every requirement of the package and of these extras, as it stands in pyproject.toml."
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [line for extra in extras for line in project["optional-dependencies"][extra]]
    return [*project["dependencies"], *wanted]


def lowest(requirement):
    "A requirement as a constraint to the lowest version that it allows."
    name, version = re.match(r"([A-Za-z0-9_.-]+)(?:\[[a-z]+\])?>=([0-9.]+)", requirement).groups()
    return f"{name}=={version}"


def test_the_lowest_versions_are_those_that_are_declared():
    assert [lowest(one) for one in ("requests>=2.31", "a-b>=2,<4", "psycopg[binary]>=3.1")] == [
        "requests==2.31",
        "a-b==2",
        "psycopg==3.1",
    ]
    found = [lowest(requirement) for requirement in declared()]
    assert len(found) == len(declared()) >= 14
    assert {
        "python-dotenv==1.2.4",
        "pandas==2.2.2",
        "typer==0.16",
        "msgspec==0.21",
        "duckdb==1.5.6",
    } <= {*found}


def test_time_zones_come_with_the_package():
    "Windows has none of its own, and neither have slim images: there pandas 3 brings none either."
    assert [line for line in declared() if line.startswith("tzdata>=") and ";" not in line]
    code = "import zoneinfo; print(zoneinfo.TZPATH, zoneinfo.ZoneInfo('Europe/Paris').key)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONTZPATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "() Europe/Paris", done.stderr


def test_the_lists_name_files_that_are_there():
    "A file that was renamed would run, or be left out, where nobody meant it to."
    named = [LEFT_OUT, LONG_ONES, FRAMES, OLD_ONES, NEW_TYPES]
    there = {path.name for path in (ROOT / "tests").glob("test_*.py")}
    gone = sorted(set().union(*named) - there)
    assert not gone, f"named at the head of this file, and not there: {', '.join(gone)}"
    assert not LEFT_OUT & (LONG_ONES | FRAMES | NEW_TYPES), "left out, and asked for as well"
    assert OLD_ONES <= LEFT_OUT, "asked for where nothing leaves it out"


LEGS = [(OLDEST, "lowest"), (NEWEST, "pandas3"), (NEWEST, "pandas2")]
CODE = ("--force-reinstall", "--no-deps")  # the package as it is now, whatever was there before


def environment_of(minor, what, wheel, tmp_path):
    "The interpreter of the environment of a leg, which is made, or brought to what the leg needs."
    if minor not in FOUND:
        missing(
            f"python3.{minor} was not found on this machine; "
            f"found: {', '.join(f'3.{n}' for n in FOUND)}"
        )
    environment = ROOT / f".venv-3.{minor}"  # the two of the newest share theirs
    python, made_from = environment / "bin" / "python", environment / "made-from"
    if not python.exists():
        subprocess.run([FOUND[minor], "-m", "venv", environment], check=True)
    install = [python, "-m", "pip", "install", *QUICKLY]
    if what == "lowest":
        chosen = [lowest(requirement) for requirement in declared()]
    else:
        chosen = [f"pandas=={what.removeprefix('pandas')}.*"]
    wanted = "\n".join([*declared(), *TESTING, *chosen])
    if not made_from.exists() or made_from.read_text() != wanted:
        made_from.unlink(missing_ok=True)
        constraints = tmp_path / "constraints.txt"
        constraints.write_text("\n".join(chosen))
        packages = [f"{wheel}[{','.join(EXTRAS)}]", *TESTING]
        subprocess.run([*install, "-c", constraints, *packages], check=True, timeout=900)
        made_from.write_text(wanted)
    subprocess.run([*install, *CODE, wheel], check=True, timeout=300)
    return python


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("minor, what", LEGS[:2])
def test_the_environment_of_a_leg_can_be_made(minor, what, wheel, tmp_path):
    "While other tests run: to fetch and to unpack is to wait. The legs find it ready."
    python = environment_of(minor, what, wheel, tmp_path)
    told = subprocess.run(
        [python, "-c", "import sys, pandas, domostats; print(pandas.__version__, sys.version)"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
    ).stdout.split()
    floor = dict(lowest(one).split("==") for one in declared())["pandas"]
    assert told[0].startswith(floor if what == "lowest" else what.removeprefix("pandas") + ".")
    assert told[1].startswith(f"3.{minor}.")


@pytest.mark.slow
@pytest.mark.versions
@pytest.mark.timeout(2700)
@pytest.mark.parametrize("minor, what", LEGS)
def test_the_core_passes(minor, what, wheel, copy, tmp_path, pytestconfig):
    "All of it, or with --few three cases of each test."
    few = ["--few"] if pytestconfig.getoption("--few") else []
    # a worker imports and collects all before its first test: of a few tests no more than cores
    workers = str(os.cpu_count() or 1) if few else "auto"
    python = environment_of(minor, what, wheel, tmp_path)
    core = {path.name for path in (copy / "tests").glob("test_*.py")} - LEFT_OUT
    if what == "lowest":
        core -= NEW_TYPES
        core |= OLD_ONES
    if minor == NEWEST:
        core -= LONG_ONES
    if what == "pandas2":
        core &= FRAMES  # the newest Python is seen whole with pandas 3
    done = subprocess.run(
        [python, "-m", "pytest", "-n", workers, "-q", "-rfE", "-p", "no:cacheprovider"]
        + ["-m", "not slow", "-k", LONG, *few, *sorted(core)],
        cwd=copy / "tests",
        capture_output=True,
        text=True,
        timeout=2400,
    )
    assert done.returncode == 0, (
        f"Python 3.{minor}, {what}:\n{done.stdout[-4000:]}{done.stderr[-1000:]}"
    )
