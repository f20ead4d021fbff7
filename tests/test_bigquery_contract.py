"""One protocol, two warehouses: the tests of extractors and of histories on a store, word for word,
on BigQuery."""

import pytest

pytest.importorskip("google.cloud.bigquery")


# the tests of the store that say nothing of DuckDB
from test_extractors import (  # noqa: F401
    test_a_model_cannot_change_but_by_what_loses_nothing,
    test_a_naive_datetime_is_refused_with_its_field_and_row,
    test_a_plain_date_will_do,
    test_a_second_table_computed_from_the_first_day,
    test_a_zone_that_changes_is_told_and_mended_for_each_source,
    test_again_and_again_and_days_that_are_corrected,
    test_each_table_goes_on_from_its_own_days,
    test_enums_of_text_are_text_and_what_is_unmappable_is_named,
    test_events_a_second_either_side_of_midnight_land_on_their_day,
    test_none_in_a_column_that_takes_none_is_refused_before_anything_is_sent,
    test_one_that_fails_does_not_stop_the_others,
    test_rows_stream_from_a_generator,
    test_the_aggregated_kind_has_its_day_first,
    test_the_bounds_handed_to_extract,
    test_the_delta_view,
    test_the_table_equals_the_dry_run_row_for_row,
    test_the_types_of_columns,
    test_the_view_comes_with_the_table,
    test_today_is_never_extracted,
    test_two_sources_in_one_table_keep_their_days_and_their_differences_apart,
    test_without_a_migration_the_way_out_is_named,
)
from test_odd_histories import (  # noqa: F401
    test_a_history_is_no_part_of_another_because_of_a_slash_in_its_name,
)
from test_unknown_cells import (  # noqa: F401
    test_a_value_that_was_not_known_when_its_row_came_is_no_change_when_it_comes,
)
from test_zones import (  # noqa: F401
    test_a_day_that_is_not_over_in_the_new_zone_comes_back_when_it_is,
    test_a_source_that_keeps_its_rows_for_less_long_takes_none_away,
    test_daily_figures_are_counted_again_in_the_new_zone,
    test_the_same_days_under_another_name_are_no_change,
    test_two_days_of_one_zone_and_then_another_zone_lose_nothing,
)

from domostats.tracking.history.on_bigquery import BigQueryHistories

pytest_plugins = "bigquery_support"
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("datasets")]


@pytest.fixture
def store(datasets):
    "What tests of histories call the store."
    return BigQueryHistories(datasets.warehouse())
