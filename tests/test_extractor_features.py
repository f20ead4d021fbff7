"""What typed extractors promise, and where it is shown: on a store, and on BigQuery.

What comes before either of them, such as the mark of a field, has one line.

    01 two classes, all else is managed
        store      test_extractors: test_minimal_extractors_and_everything_else_is_managed
        BigQuery   test_bigquery_warehouse: test_from_a_terminal
    02 the classes that the settings list
        store      test_extractors: test_the_extractors_that_are_named_are_checked
        BigQuery   test_extractor_features: test_the_order_of_the_list_and_the_first_date_hold_there_too
    03 where migrations are made
        store      test_extractors: test_where_migrations_are_made
        BigQuery   test_extractor_features: test_one_migration_is_for_both_and_files_come_nowhere_else
    04 the first date
        store      test_extractors: test_the_first_date_for_what_was_never_extracted
        BigQuery   test_extractor_features: test_the_order_of_the_list_and_the_first_date_hold_there_too
    05 the dataset is made where it is missing
        store      test_extractors: test_the_view_comes_with_the_table
        BigQuery   test_extractor_features: test_the_dataset_is_made_once_in_its_place_and_shared
    06 where the dataset lies
        BigQuery   test_extractor_features: test_a_dataset_elsewhere_is_told_by_each_command
        BigQuery   test_bigquery_client: test_a_dataset_elsewhere_is_an_error_with_both_places
    07 groups that may read and write it
        BigQuery   test_extractor_features: test_the_dataset_is_made_once_in_its_place_and_shared
        BigQuery   test_bigquery_client: test_groups_follow_the_settings_and_others_stay
    08 four kinds of credentials
        BigQuery   test_bigquery_client: test_the_application_default_is_found
        BigQuery   test_bigquery_client: test_a_key_file_is_read
        BigQuery   test_bigquery_client: test_a_private_key_of_the_environment_is_read_in_every_form
        BigQuery   test_bigquery_client: test_an_emulator_is_named_by_the_variable_of_google_or_a_sandbox
        BigQuery   test_bigquery_client: test_nothing_shows_a_key_or_a_token
    09 installations beside each other
        store      test_extractors: test_two_instances_in_one_store_do_not_overwrite_each_other
        BigQuery   test_bigquery_warehouse: test_two_installations_in_one_project_keep_apart
    10 figures of a day get their day
        store      test_extractors: test_the_aggregated_kind_has_its_day_first
        BigQuery   test_bigquery_contract: test_the_aggregated_kind_has_its_day_first
    11 events need their date
        before     test_extractors: test_the_event_kind_needs_its_own_date_field
    12 the date has another name
        store      test_extractors: test_the_name_of_the_date_field_can_be_overridden
        BigQuery   test_extractor_features: test_the_name_of_the_date_field_is_another_one_there_too
    13 a date or a moment, in its zone
        store      test_extractors: test_events_a_second_either_side_of_midnight_land_on_their_day
        store      test_extractors: test_a_plain_date_will_do
        BigQuery   test_bigquery_contract: test_events_a_second_either_side_of_midnight_land_on_their_day
        BigQuery   test_bigquery_contract: test_a_plain_date_will_do
    14 columns that sound like people
        before     test_extractors: test_columns_that_sound_like_people_are_spoken_of
    15 the types
        store      test_extractors: test_the_types_of_columns
        BigQuery   test_bigquery_contract: test_the_types_of_columns
    16 no moment without a zone
        store      test_extractors: test_a_naive_datetime_is_refused_with_its_field_and_row
        BigQuery   test_bigquery_contract: test_a_naive_datetime_is_refused_with_its_field_and_row
    17 NULL where it is allowed
        store      test_extractors: test_none_in_a_column_that_takes_none_is_refused_before_anything_is_sent
        BigQuery   test_bigquery_contract: test_none_in_a_column_that_takes_none_is_refused_before_anything_is_sent
    18 fields of which the difference is told
        before     test_extractors: test_wrong_uses_of_the_mark_are_three_errors
    19 their mark is a field like any other
        before     test_extractors: test_the_mark_is_a_thin_wrapper_of_a_field
        before     test_extractors: test_the_slip_of_the_introduction_works_and_is_told
    20 the view of differences
        store      test_extractors: test_the_delta_view
        store      test_extractors: test_the_example_of_the_reference
        BigQuery   test_bigquery_contract: test_the_delta_view
        BigQuery   test_bigquery_warehouse: test_the_example_of_the_reference
        both       test_bigquery_statements: test_the_delta_view_is_the_same_in_both
    21 it comes with its table
        store      test_extractors: test_the_view_comes_with_the_table
        BigQuery   test_bigquery_contract: test_the_view_comes_with_the_table
    22 the bounds of a day
        store      test_extractors: test_the_bounds_handed_to_extract
        BigQuery   test_bigquery_contract: test_the_bounds_handed_to_extract
    23 rows stream
        store      test_extractors: test_rows_stream_from_a_generator
        BigQuery   test_bigquery_contract: test_rows_stream_from_a_generator
    24 migrations from dataclasses
        store      test_extractors: test_migrations_are_the_same_bytes_whatever_the_hash_seed
        BigQuery   test_extractor_features: test_one_migration_is_for_both_and_files_come_nowhere_else
    25 a model that has changed
        store      test_extractors: test_a_model_cannot_change_but_by_what_loses_nothing
        BigQuery   test_bigquery_contract: test_a_model_cannot_change_but_by_what_loses_nothing
    26 a second table, computed anew
        store      test_extractors: test_a_second_table_computed_from_the_first_day
        BigQuery   test_bigquery_contract: test_a_second_table_computed_from_the_first_day
    27 migrations are resumed
        store      test_extractors: test_migrations_are_ordered_recorded_and_resumable
        BigQuery   test_bigquery_warehouse: test_migrations_are_resumed_and_what_others_have_made_is_not_touched
        BigQuery   test_bigquery_warehouse: test_a_step_that_was_left_half_way_is_ended
    28 without credentials
        store      test_extractors: test_planning_and_dry_run_need_no_credentials
        BigQuery   test_extractor_features: test_what_needs_no_credentials_works_and_the_rest_says_what_is_missing
    29 a dry run
        store      test_extractors: test_the_dry_run_shows_both_ends_and_writes_nothing
        BigQuery   test_extractor_features: test_a_dry_run_writes_nothing_there
    30 the run is what the dry run showed
        store      test_extractors: test_the_table_equals_the_dry_run_row_for_row
        BigQuery   test_bigquery_contract: test_the_table_equals_the_dry_run_row_for_row
    31 each table has its own last day
        store      test_extractors: test_each_table_goes_on_from_its_own_days
        BigQuery   test_bigquery_contract: test_each_table_goes_on_from_its_own_days
    32 what was never extracted
        store      test_extractors: test_the_first_date_for_what_was_never_extracted
        BigQuery   test_extractor_features: test_the_order_of_the_list_and_the_first_date_hold_there_too
    33 never today
        store      test_extractors: test_today_is_never_extracted
        BigQuery   test_bigquery_contract: test_today_is_never_extracted
    34 again, at once, and killed
        store      test_extractors: test_again_and_again_and_days_that_are_corrected
        store      test_extractors: test_kills_leave_what_an_undisturbed_run_leaves
        store      test_extractors: test_two_programs_at_once_do_no_harm
        BigQuery   test_bigquery_contract: test_again_and_again_and_days_that_are_corrected
        BigQuery   test_bigquery_warehouse_faults: test_kills_leave_what_an_undisturbed_run_leaves
        BigQuery   test_bigquery_warehouse_faults: test_programs_at_once_do_no_harm
        BigQuery   test_bigquery_warehouse_faults: test_a_fault_at_every_request
    35 progress
        store      test_extractors: test_progress_is_told
        BigQuery   test_extractor_features: test_progress_is_told_there_too
    36 tables for other tools
        store      test_extractors: test_plain_tables_and_documented_columns
        BigQuery   test_bigquery_warehouse: test_tables_are_divided_clustered_and_described

Memory for a day of a million rows is measured in benchmarks/run.py, tracking and bigquery.
"""  # noqa: E501

import importlib
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

pytest.importorskip("google.cloud.bigquery")

import test_extractors
from bigquery_support import PROJECT
from test_extractors import FIRST, UserExtractor, done, made, of, rows, rows_of_events, run

from domostats.errors import CredentialsError, SettingsError
from domostats.loading.store import Store
from domostats.tracking.extractors.days import last_finished, zone_of

pytest_plugins = "bigquery_support"
PLACE = f"bigquery:{PROJECT}.shop"
READERS, WRITERS = "readers@acme.example", "writers@acme.example"


@pytest.fixture
def at_hand(datasets, served, monkeypatch):
    "The sandbox, where the commands find it."
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", served.url)
    return served


def under_bigquery(**lines):
    "Write these lines below `[bigquery]` in the settings, in place of those before."
    text = Path("settings.ini").read_text().partition("[bigquery]")[0]
    said = "\n".join(f"{key} = {value}" for key, value in lines.items())
    Path("settings.ini").write_text(f"{text.rstrip()}\n[bigquery]\n{said}\n")


def test_what_is_shown_is_there():
    features = re.split(r"^    (\d\d) .+$", __doc__, flags=re.MULTILINE)[1:]
    assert [int(number) for number in features[::2]] == [*range(1, 37)]
    # no store has a place, groups or credentials
    of_bigquery_alone = {"06", "07", "08"}
    for number, lines in zip(features[::2], features[1::2], strict=True):
        told = re.findall(r"^        (\w+) +(test_\w+): (test_\w+)$", lines, re.MULTILINE)
        sides = {side for side, _, _ in told} - {"both"}
        assert sides in ({"before"}, {"store", "BigQuery"}) or (
            number in of_bigquery_alone and sides == {"BigQuery"}
        ), number
        for side, file, name in told:
            assert callable(getattr(importlib.import_module(file), name)), name
            on_bigquery = file.startswith("test_bigquery") or file == "test_extractor_features"
            assert on_bigquery == (side in ("BigQuery", "both")), name


def test_the_order_of_the_list_and_the_first_date_hold_there_too(datasets):
    def extract(start, end):
        return [test_extractors.Email(start, "x")]

    emails = of(test_extractors.Email, extract, rows_of_events)
    extraction = made(UserExtractor, emails, first=FIRST + timedelta(1))
    days = [FIRST + timedelta(n) for n in (1, 2)]
    assert done(extraction) == [(name, day) for name in ("user", "email") for day in days]
    assert [row[0] for row in rows(extraction.store, "user")] == days


def test_the_name_of_the_date_field_is_another_one_there_too(datasets):
    @dataclass
    class Mail:
        sent_at: datetime
        type: str

    extraction = made(
        of(Mail, lambda start, end: [Mail(start, "x")], rows_of_events, date_field="sent_at"),
        of(
            test_extractors.User,
            lambda start, end: [test_extractors.User(1, 1, 1)],
            date_field="on",
        ),
    )
    done(extraction)
    store = extraction.store
    assert [row[:2] for row in rows(store, "mail")] == [
        (day, datetime(day.year, day.month, day.day))
        for day in (FIRST + timedelta(n) for n in range(3))
    ]
    assert store.read("user").column_names[0] == "on"
    assert store.read("user_delta").column_names[0] == "on"
    assert store.connection.find_table("user").time_partitioning.field == "on"
    assert done(extraction) == []


def test_one_migration_is_for_both_and_files_come_nowhere_else(shop, at_hand):
    run("make-migrations")
    [file] = Path("kept/migrations").iterdir()
    before = file.read_bytes()
    for words in ([], ["--to", PLACE]):
        assert "applied step 1" in run("migrate", *words)
        assert "nothing new" in run("migrate", *words)
    assert file.read_bytes() == before and [*Path("kept/migrations").iterdir()] == [file]
    there = {name for name in at_hand.datasets["shop"].tables if not name.startswith("kit_")}
    assert there == {*Store().names()} == {"email", "users", "users_delta"}


def groups(box, name="shop"):
    "Who may do what with a dataset, of the groups."
    return {
        (one["role"], one["groupByEmail"])
        for one in box.datasets[name].access
        if "groupByEmail" in one
    }


def test_the_dataset_is_made_once_in_its_place_and_shared(shop, at_hand):
    shop(warehouse=PLACE)
    under_bigquery(location="EU", readers=READERS)
    run("make-migrations")
    run("migrate")
    assert at_hand.datasets["shop"].location == "EU"
    assert groups(at_hand) == {("READER", READERS)}
    owners = [one for one in at_hand.datasets["shop"].access if "specialGroup" in one]
    under_bigquery(location="EU", writers=WRITERS)
    run("extract", "-f", "2022-01-01", "-l", "2022-01-01", "--only", "email")
    assert groups(at_hand) == {("WRITER", WRITERS)}
    assert owners
    assert [one for one in at_hand.datasets["shop"].access if "specialGroup" in one] == owners
    at_hand.log.clear()
    run("extract", "-f", "2022-01-01", "-l", "2022-01-01", "--only", "email")
    of_datasets = [call for call in at_hand.log if re.search(r"/datasets(/shop)?$", call.path)]
    assert {call.method for call in of_datasets} == {"GET"}  # nothing differs


def test_a_dataset_elsewhere_is_told_by_each_command(shop, at_hand):
    shop(warehouse=PLACE)
    under_bigquery(location="EU")
    run("make-migrations")
    run("migrate")
    under_bigquery(location="US")
    for words, code in ((["migrate"], SettingsError), (["extract", "-l", "2022-01-01"], 3)):
        assert "lies in EU, and the settings say US" in run(*words, code=code), words
    assert at_hand.table("shop.email").num_rows == 0


def test_what_needs_no_credentials_works_and_the_rest_says_what_is_missing(
    shop, monkeypatch, tmp_path
):
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("BIGQUERY_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    shop(warehouse=PLACE)
    assert "users" in run("make-migrations")
    assert "welcome" in run("print-extract", "-f", "2022-01-01", "-l", "2022-01-01")
    for words, code in (
        (["migrate"], CredentialsError),
        (["migrate", "--dry-run"], CredentialsError),  # what is there already has to be asked
        (["extract", "--dry-run", "-l", "2022-01-01"], CredentialsError),
        (["extract", "-l", "2022-01-01"], 4),
    ):
        told = run(*words, code=code)
        assert "DOMOSTATS_BIGQUERY_PRIVATE_KEY" in told and "key_file" in told, words


def test_a_dry_run_writes_nothing_there(shop, at_hand):
    shop(warehouse=PLACE)
    run("make-migrations")
    run("migrate")
    at_hand.log.clear()
    at_hand.jobs.clear()
    output = run("print-extract", "-f", "2022-01-01", "-l", "2022-01-05")
    assert [f"2022-01-0{n}" in output for n in range(1, 7)] == [True] * 5 + [False]
    assert "20 rows, and nothing was written" in output
    run("extract", "--dry-run", "-f", "2022-01-01", "-l", "2022-01-03")
    posted = [call.path for call in at_hand.log if call.method != "GET"]
    assert {path.rpartition("/")[2] for path in posted} <= {"queries", "jobs"}
    assert [job for job in at_hand.jobs.values() if job.kind != "query"] == []
    asked = [job.configuration["query"]["query"] for job in at_hand.jobs.values()]
    assert all(sql.lstrip().startswith(("SELECT", "WITH")) for sql in asked), asked
    for words in (["-f", "01.02.2022"], ["-l", "soon"]):
        run("print-extract", *words, code=2)


def test_progress_is_told_there_too(shop, at_hand):
    shop(warehouse=PLACE)
    run("make-migrations")
    run("migrate")
    words = ["extract", "-f", "2022-01-01", "-l", "2022-01-02", "--only", "email"]
    assert run(*words).splitlines() == ["email 2022-01-01 3 rows", "email 2022-01-02 3 rows"]
    last = last_finished(zone_of("Europe/Paris"))
    shop(warehouse=PLACE, first_date=str(last))
    run("extract")
    assert run("extract").splitlines() == ["nothing new: every day is extracted"]
    days = {date(2022, 1, 1), date(2022, 1, 2), last}
    assert {*at_hand.table("shop.email").column("_day").to_pylist()} == days
