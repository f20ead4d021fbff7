"""What is expected of the report datasets."""

from expected import HERE, TEXT, TIME, TRUTH, WHOLE, Expected, utc

SALES = {
    "id": "dataset-1",
    "name": "Sales",
    "description": "of all shops",
    "type": "Jupyter",
    "displayType": "display-type",
    "dataProviderType": "provider-type",
    "transportType": "TRANSPORT",
    "owner": {"id": "151", "name": "Owner of sales", "type": "USER", "group": False},
    "status": "INACTIVE_SCHEDULE",
    "state": "SUCCESS",
    "created": 1704067200031,
    "lastTouched": 1704153600032,
    "lastUpdated": 1704240000033,
    "nextUpdate": 1704326400034,
    "rowCount": 1185,
    "columnCount": 7,
    "cardCount": 3,
    "cardInfo": {"cardCount": 2, "cardViewCount": 44},
    "properties": {"formulas": {"formulas": {name: {"name": name} for name in "abcde"}}},
    "streamId": 825,
    "accountId": 152,
    "tags": '["a tag","another"]',
    "validConfiguration": True,
    "validAccount": True,
    "scheduleActive": True,
    "hidden": True,
    "masked": False,
    "currentUserFullAccess": False,
    "permissions": "READ_WRITE",
    "adc": False,
    "adcExternal": False,
    "adcSource": "DIRECT",
    "cloudId": "cloud-id",
    "cloudName": "Cloud name",
    "cloudEngine": "SNOWFLAKE",
    "cryoStatus": "ADRENALINE",
    "certification": {
        "state": "CERTIFIED",
        "lastUpdated": 1704412800035,
        "userId": 153,
        "processType": "process-type",
        "processName": "Process name",
        "approvalRequestId": "request-1",
        "adminCertified": True,
    },
}

FLAT_SALES = {
    name: value
    for name, value in SALES.items()
    if name not in ("owner", "cardInfo", "certification")
} | {
    "ownerId": "151",
    "ownerName": "Owner of sales",
    "ownerType": "USER",
    "ownerGroup": False,
    "cardInfoCardCount": 2,
    "cardInfoCardViewCount": 44,
    "beastModeCount": 5,
    "certificationState": "CERTIFIED",
    "certificationLastUpdated": 1704412800035,
    "certificationUserId": 153,
    "certificationProcessType": "process-type",
    "certificationProcessName": "Process name",
    "certificationApprovalRequestId": "request-1",
    "certificationAdminCertified": True,
}

STOCK = {
    "id": "dataset-2",
    "state": "ERROR",
    "owner": {"id": 154, "name": "Group of stock", "type": "GROUP", "group": True},
    "rowCount": 0,
    "columnCount": 0,
    "cardCount": 6,
    "streamId": 826,
    "tags": "[]",
    "validConfiguration": True,
    "validAccount": True,
    "scheduleActive": False,
    "hidden": False,
    "masked": True,
    "currentUserFullAccess": True,
    "adc": False,
    "adcExternal": False,
    "certification": {"adminCertified": None},
}

FLAT_STOCK = {
    name: value for name, value in STOCK.items() if name not in ("owner", "certification")
} | {
    "ownerId": 154,
    "ownerName": "Group of stock",
    "ownerType": "GROUP",
    "ownerGroup": True,
    "beastModeCount": 0,
    "certificationAdminCertified": None,
}

VIEW = {
    "id": "dataset-3",
    "state": "",
    "owner": {"group": None},
    "validConfiguration": True,
    "validAccount": False,
    "scheduleActive": True,
    "hidden": False,
    "masked": True,
    "currentUserFullAccess": False,
    "adc": True,
    "adcExternal": False,
}

FLAT_VIEW = {name: value for name, value in VIEW.items() if name != "owner"} | {
    "ownerGroup": None,
    "beastModeCount": 0,
}

BARE = dict.fromkeys(SALES) | {"id": "dataset-4"}  # a null in every other field

SALES_STREAM = {
    "id": 825,
    "transport": {"type": "CONNECTOR", "description": "com.example.sales", "version": "5"},
    "advancedScheduleJson": '{"type": "DAY", "at": "08:01 PM", "timezone": "UTC"}',
    "accounts": [{"accountId": 155}],
    "account": {"id": 156},
    "scheduleType": "not this one",
    "dataSource": {"id": "dataset-1"},
}

STOCK_STREAM = {
    "id": 826,
    "transport": {"type": "API", "description": "which is no connector", "version": "6"},
    "advancedScheduleJson": '{"type": "MANUAL"}',
    "accounts": [{"accountId": 157}, {"accountId": 158}],
}

DATASET_ROWS = [
    {
        "dataset_obj": FLAT_SALES,
        "document_obj": {"databaseId": "dataset-1", "pdpEnabled": True, "name": "found name"},
        "stream_obj": {
            "id": 825,
            "scheduleType": "DAY",
            "transportType": "CONNECTOR",
            "transportDescription": "com.example.sales",
            "firstAccountId": 155,
        },
    },
    {
        "dataset_obj": FLAT_STOCK,
        "document_obj": {"databaseId": "dataset-2", "pdpEnabled": False},
        "stream_obj": {
            "id": 826,
            "scheduleType": "MANUAL",
            "transportType": "API",
            "transportDescription": "which is no connector",
            "firstAccountId": 157,
        },
    },
    {
        "dataset_obj": FLAT_VIEW,
        "document_obj": {"databaseId": "dataset-3"},
        "stream_obj": None,
    },
    {
        "dataset_obj": {"id": "dataset-4", "beastModeCount": 0},
        "document_obj": {"databaseId": "dataset-4", "pdpEnabled": None},
        "stream_obj": None,
    },
]

DATASET_REPLIES = {
    "/api/data/ui/v3/datasources/search": {
        "dataSources": [{"id": f"dataset-{n}"} for n in (1, 2, 3, 4)],
        "_metaData": {"totalCount": 4},
    },
    "/api/data/v3/datasources/bulk": {"dataSources": [SALES, STOCK, VIEW, BARE]},
    "/api/search/v1/query": {
        "searchObjects": [row["document_obj"] for row in reversed(DATASET_ROWS)],
        "totalResultCount": 4,
    },
    "/api/data/v1/streams/bulk": [STOCK_STREAM, SALES_STREAM],
}

DATASETS_OF_DOMOSTATS = [
    ("ID", TEXT, "dataset-1", "dataset-2", "dataset-3", "dataset-4"),
    ("Name", TEXT, "Sales", None, None, None),
    (
        "Link",
        TEXT,
        HERE + "/datasources/dataset-1/details/overview",
        HERE + "/datasources/dataset-2/details/overview",
        HERE + "/datasources/dataset-3/details/overview",
        HERE + "/datasources/dataset-4/details/overview",
    ),
    ("Owner_User_ID", TEXT, "151", "154", None, None),
    ("Created_Date", TIME, utc("2024-01-01 00:00:00.031"), None, None, None),
    ("Last_Run_Date", TIME, utc("2024-01-03 00:00:00.033"), None, None, None),
    ("Status", TEXT, "Success", "Error", "", None),
    ("Schedule", TEXT, "Day", "Manual", None, None),
    ("Import_Type", TEXT, "Jupyter", None, None, None),
    ("Data_Provider", TEXT, "provider-type", None, None, None),
    ("Source_Type", TEXT, "com.example.sales", None, None, None),
    ("Cards_Powered", WHOLE, 2, 6, None, None),
    ("Row Count", WHOLE, 1185, 0, None, None),
    ("Column Count", WHOLE, 7, 0, None, None),
    ("PDP Enabled", TEXT, "Yes", "No", None, None),
    ("Shared", TEXT, None, None, None, None),
    ("Materialized", TEXT, None, None, None, None),
    ("Account_ID", TEXT, "152", "157", None, None),
    ("Data_Warehouse", TEXT, "Cloud name", None, None, None),
    ("Cloud_Engine", TEXT, "SNOWFLAKE", None, None, None),
]

ALL_OF_DATASETS = [
    ("dataset_id", TEXT, "dataset-1", "dataset-2", "dataset-3", "dataset-4"),
    ("name", TEXT, "Sales", None, None, None),
    ("description", TEXT, "of all shops", None, None, None),
    ("type", TEXT, "Jupyter", None, None, None),
    ("display_type", TEXT, "display-type", None, None, None),
    ("data_provider_type", TEXT, "provider-type", None, None, None),
    ("transport_type", TEXT, "TRANSPORT", None, None, None),
    ("owner_id", TEXT, "151", "154", None, None),
    ("owner_name", TEXT, "Owner of sales", "Group of stock", None, None),
    ("owner_type", TEXT, "USER", "GROUP", None, None),
    ("owner_group", TRUTH, False, True, None, None),
    ("status", TEXT, "INACTIVE_SCHEDULE", None, None, None),
    ("state", TEXT, "SUCCESS", "ERROR", "", None),
    ("created_at", TIME, utc("2024-01-01 00:00:00.031"), None, None, None),
    ("last_touched_at", TIME, utc("2024-01-02 00:00:00.032"), None, None, None),
    ("last_updated_at", TIME, utc("2024-01-03 00:00:00.033"), None, None, None),
    ("next_update_at", TIME, utc("2024-01-04 00:00:00.034"), None, None, None),
    ("row_count", WHOLE, 1185, 0, None, None),
    ("column_count", WHOLE, 7, 0, None, None),
    ("card_count", WHOLE, 3, 6, None, None),
    ("card_info_card_count", WHOLE, 2, None, None, None),
    ("card_info_card_view_count", WHOLE, 44, None, None, None),
    ("beast_mode_count", WHOLE, 5, 0, 0, 0),
    ("stream_id", TEXT, "825", "826", None, None),
    ("account_id", TEXT, "152", None, None, None),
    ("tags", TEXT, '["a tag","another"]', "[]", None, None),
    ("valid_configuration", TRUTH, True, True, True, None),
    ("valid_account", TRUTH, True, True, False, None),
    ("schedule_active", TRUTH, True, False, True, None),
    ("hidden", TRUTH, True, False, False, None),
    ("masked", TRUTH, False, True, True, None),
    ("current_user_full_access", TRUTH, False, True, False, None),
    ("permissions", TEXT, "READ_WRITE", None, None, None),
    ("adc", TRUTH, False, False, True, None),
    ("adc_external", TRUTH, False, False, False, None),
    ("adc_source", TEXT, "DIRECT", None, None, None),
    ("cloud_id", TEXT, "cloud-id", None, None, None),
    ("cloud_name", TEXT, "Cloud name", None, None, None),
    ("cloud_engine", TEXT, "SNOWFLAKE", None, None, None),
    ("cryo_status", TEXT, "ADRENALINE", None, None, None),
    ("certification_state", TEXT, "CERTIFIED", None, None, None),
    ("certification_last_updated", TIME, utc("2024-01-05 00:00:00.035"), None, None, None),
    ("certification_user_id", TEXT, "153", None, None, None),
    ("certification_process_type", TEXT, "process-type", None, None, None),
    ("certification_process_name", TEXT, "Process name", None, None, None),
    ("certification_approval_request_id", TEXT, "request-1", None, None, None),
    ("certification_admin_certified", TRUTH, True, None, None, None),
]

EXPECTED = Expected(
    grain="one dataset",
    rows=DATASET_ROWS,
    replies=DATASET_REPLIES,
    columns={"domostats": DATASETS_OF_DOMOSTATS, "all": ALL_OF_DATASETS},
    always_empty={
        ("domostats", "Shared"): "stands in a report of its own, a call for each dataset",
        ("domostats", "Materialized"): "no field is known",
    },
    lists={
        "dataset_obj": [SALES, STOCK, VIEW, BARE],
        "document_obj": DATASET_REPLIES["/api/search/v1/query"]["searchObjects"],
        "stream_obj": [STOCK_STREAM, SALES_STREAM],
    },
    neighbour={"id": None, "owner": {"": 5}, "cardInfo": 5, "properties": 5, "tags": 5},
    key_columns={"domostats": ["ID"], "all": ["dataset_id"]},
    left_out={"properties"},
    key_fields={"id"},
    needs=("dataset.admin",),
    all_and_own=(15, 2),
    refusing="/api/data/ui/v3/datasources/search",
    narrowed_by={"since"},
    calls={
        "nothing": {"domostats": (6, 0), "all": (4, 0)},
        "a lesson": {"domostats": (8, 0), "all": (5, 0)},
        "full pages": {"domostats": (11, 0), "all": (6, 0)},
    },
    # the search, the details, the documents, the streams
    calls_of_many=(3 + 3 + 2 + 3 + 3, 3 + 3 + 2 + 3 + 3),
)
