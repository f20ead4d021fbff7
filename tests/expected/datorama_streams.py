"""What is expected of the report datorama_streams."""

from expected import TEXT, TIME, TRUTH, WHOLE, Expected, utc
from expected.datorama_workspaces import WORKSPACES

STREAM = {
    "id": 20001,
    "name": "Stream name",
    "workspaceId": 1001,
    "enabled": True,
    "hasData": True,
    "runOnlyAsPartOfWorkflow": False,
    "dataSourceId": 77,
    "dataSourceName": "Source name",
    "sourceDisplayName": "Source display name",
    "dataSourceAuthenticationId": 301,
    "dataLoadMode": "UPDATE",
    "retrievalPeriodType": "DAILY",
    "retrievalPeriodHour": 6,
    "config": {"account_id": "000-1", "mapping": []},
    "lastRunStatus": False,
    "lastRowsRetrieved": 240,
    "processedRows": 241,
    "lastDataDate": "2024-05-31",
    "lastUpdate": 1704067200081,
    "processStatsCounts": {"a": 1},
    "channelId": 311,
    "templateId": 312,
    "originalId": 313,
    "originalDataStreamId": 314,
    "parentInstanceId": 315,
    "dataPreviewPageId": 316,
    "customAttribute1": "first of our own",
    "customAttribute2": "second of our own",
    "customAttribute3": "third of our own",
    "createUserId": 317,
    "createUser": "Who made the stream",
    "createTime": 1704153600082,
    "updateUserId": 318,
    "updateUser": "Who changed the stream",
    "updateTime": 1704240000083,
}

OTHER_STREAM = {
    "id": 20002,
    "workspaceId": 1002,
    "enabled": True,
    "hasData": False,
    "runOnlyAsPartOfWorkflow": True,
    "lastRunStatus": "FAILED",
    "lastRowsRetrieved": 0,
    "processStatsCounts": 0,
    "customAttribute1": "",
}

STREAM_ROWS = [
    {"stream_obj": STREAM, "workspace_obj": WORKSPACES[0]},
    {"stream_obj": OTHER_STREAM, "workspace_obj": {"id": 1002, "name": "Other workspace"}},
    {"stream_obj": {"id": 20003}, "workspace_obj": None},
]

DATORAMA_REPLIES = {
    "/v1/workspaces": WORKSPACES[:1] + [WORKSPACES[1] | {"name": "Other workspace"}],
    "/v1/workspaces/1001/data-streams": [STREAM],
    "/v1/workspaces/1002/data-streams": [OTHER_STREAM, {"id": 20003}],
    "/v1/data-streams/api/20001/stats": [],
    "/v1/data-streams/api/20002/stats": [],
    "/v1/data-streams/api/20003/stats": [],
}

TABLE_OF_STREAMS = [
    ("id", WHOLE, 20001, 20002, 20003),
    ("name", TEXT, "Stream name", None, None),
    ("dataSourceId", WHOLE, 77, None, None),
    ("sourceDisplayName", TEXT, "Source display name", None, None),
    ("workspaceId", WHOLE, 1001, 1002, None),
    ("enabled", TRUTH, True, True, None),
    ("hasData", TRUTH, True, False, None),
    ("dataSourceAuthenticationId", WHOLE, 301, None, None),
    ("createTime", TIME, utc("2024-01-02 00:00:00.082"), None, None),
    ("lastUpdate", TIME, utc("2024-01-01 00:00:00.081"), None, None),
    ("lastRunStatus", TEXT, "false", "FAILED", None),
    ("lastRowsRetrieved", WHOLE, 240, 0, None),
    ("processedRows", WHOLE, 241, None, None),
    ("lastDataDate", TEXT, "2024-05-31", None, None),
]

STREAMS_WITH_WORKSPACES = [
    ("workspace_name", TEXT, "Workspace name", "Other workspace", None),
    *TABLE_OF_STREAMS,
]

ALL_OF_STREAMS = [
    ("id", WHOLE, 20001, 20002, 20003),
    ("name", TEXT, "Stream name", None, None),
    ("workspace_id", WHOLE, 1001, 1002, None),
    ("enabled", TRUTH, True, True, None),
    ("has_data", TRUTH, True, False, None),
    ("run_only_as_part_of_workflow", TRUTH, False, True, None),
    ("data_source_id", WHOLE, 77, None, None),
    ("data_source_name", TEXT, "Source name", None, None),
    ("source_display_name", TEXT, "Source display name", None, None),
    ("data_source_authentication_id", WHOLE, 301, None, None),
    ("data_load_mode", TEXT, "UPDATE", None, None),
    ("retrieval_period_type", TEXT, "DAILY", None, None),
    ("retrieval_period_hour", WHOLE, 6, None, None),
    ("config", TEXT, '{"account_id":"000-1","mapping":[]}', None, None),
    ("last_run_status", TEXT, "false", "FAILED", None),
    ("last_rows_retrieved", WHOLE, 240, 0, None),
    ("processed_rows", WHOLE, 241, None, None),
    ("last_data_date", TEXT, "2024-05-31", None, None),
    ("last_update", TIME, utc("2024-01-01 00:00:00.081"), None, None),
    ("process_stats_counts", TEXT, '{"a":1}', "0", None),
    ("channel_id", WHOLE, 311, None, None),
    ("template_id", WHOLE, 312, None, None),
    ("original_id", WHOLE, 313, None, None),
    ("original_data_stream_id", WHOLE, 314, None, None),
    ("parent_instance_id", WHOLE, 315, None, None),
    ("data_preview_page_id", WHOLE, 316, None, None),
    ("custom_attribute_1", TEXT, "first of our own", "", None),
    ("custom_attribute_2", TEXT, "second of our own", None, None),
    ("custom_attribute_3", TEXT, "third of our own", None, None),
    ("create_user_id", WHOLE, 317, None, None),
    ("create_user", TEXT, "Who made the stream", None, None),
    ("create_time", TIME, utc("2024-01-02 00:00:00.082"), None, None),
    ("update_user_id", WHOLE, 318, None, None),
    ("update_user", TEXT, "Who changed the stream", None, None),
    ("update_time", TIME, utc("2024-01-03 00:00:00.083"), None, None),
]

EXPECTED = Expected(
    grain="one data stream",
    platform="datorama",
    rows=STREAM_ROWS,
    replies=DATORAMA_REPLIES,
    columns={
        "table": TABLE_OF_STREAMS,
        "with_workspace": STREAMS_WITH_WORKSPACES,
        "all": ALL_OF_STREAMS,
    },
    lists={
        "stream_obj": [STREAM, OTHER_STREAM, {"id": 20003}],
        "workspace_obj": DATORAMA_REPLIES["/v1/workspaces"],
    },
    neighbour={"id": "x", "workspaceId": "x"},
    key_columns={"table": ["id"], "with_workspace": ["id"], "all": ["id"]},
    key_fields={"id"},
    calls_of_many=(1 + 3, 1 + 3),
)
