"""What is expected of the report datorama_workspaces."""

from expected import TEXT, TIME, TRUTH, WHOLE, Expected, utc

SWITCHES = {  # in four workspaces
    "costCenterEnabled": (True, True, True, True),
    "executiveWorkspace": (True, True, True, False),
    "customCalendarEnabled": (True, True, False, True),
    "customLocationEnabled": (True, True, False, False),
    "applyBlindPeriods": (True, False, True, True),
    "archivingEnabled": (True, False, True, False),
    "liteConnectEnabled": (True, False, False, True),
    "workflowsEnabled": (True, False, False, False),
    "actionCenterEnabled": (False, True, True, True),
    "balanceBudgetToolEnabled": (False, True, True, False),
    "hourlyProcessingAllowed": (False, True, False, True),
}
WORKSPACES = [
    {
        "id": 1001,
        "name": "Workspace name",
        "accountId": 181,
        "verticalId": 182,
        "colorSchemeId": 183,
        "currencyId": 184,
        "accountCurrencyId": 185,
        "cultureId": 186,
        "timezoneId": 187,
        "dashboardThemeId": 188,
        "subWorkspaces": [],
        "visibleBuckets": ["ADS", "SOCIAL"],
        "createUserId": 189,
        "createUser": "Who made it",
        "createTime": 1704067200071,
        "updateUserId": 190,
        "updateUser": "Who changed it",
        "updateTime": 1704153600072,
    },
    {"id": 1002, "subWorkspaces": [1001], "visibleBuckets": None},
    {"id": 1003},
    {"id": 1004},
]

for place, workspace in enumerate(WORKSPACES):
    workspace |= {name: values[place] for name, values in SWITCHES.items()}
WORKSPACES.append({"id": 1005})

ALL_OF_WORKSPACES = [
    ("id", WHOLE, 1001, 1002, 1003, 1004, 1005),
    ("name", TEXT, "Workspace name", None, None, None, None),
    ("account_id", WHOLE, 181, None, None, None, None),
    ("vertical_id", WHOLE, 182, None, None, None, None),
    ("color_scheme_id", WHOLE, 183, None, None, None, None),
    ("currency_id", WHOLE, 184, None, None, None, None),
    ("account_currency_id", WHOLE, 185, None, None, None, None),
    ("culture_id", WHOLE, 186, None, None, None, None),
    ("timezone_id", WHOLE, 187, None, None, None, None),
    ("dashboard_theme_id", WHOLE, 188, None, None, None, None),
    ("sub_workspaces", TEXT, "[]", "[1001]", None, None, None),
    ("visible_buckets", TEXT, '["ADS","SOCIAL"]', None, None, None, None),
    ("cost_center_enabled", TRUTH, True, True, True, True, None),
    ("executive_workspace", TRUTH, True, True, True, False, None),
    ("custom_calendar_enabled", TRUTH, True, True, False, True, None),
    ("custom_location_enabled", TRUTH, True, True, False, False, None),
    ("apply_blind_periods", TRUTH, True, False, True, True, None),
    ("archiving_enabled", TRUTH, True, False, True, False, None),
    ("lite_connect_enabled", TRUTH, True, False, False, True, None),
    ("workflows_enabled", TRUTH, True, False, False, False, None),
    ("action_center_enabled", TRUTH, False, True, True, True, None),
    ("balance_budget_tool_enabled", TRUTH, False, True, True, False, None),
    ("hourly_processing_allowed", TRUTH, False, True, False, True, None),
    ("create_user_id", WHOLE, 189, None, None, None, None),
    ("create_user", TEXT, "Who made it", None, None, None, None),
    ("create_time", TIME, utc("2024-01-01 00:00:00.071"), None, None, None, None),
    ("update_user_id", WHOLE, 190, None, None, None, None),
    ("update_user", TEXT, "Who changed it", None, None, None, None),
    ("update_time", TIME, utc("2024-01-02 00:00:00.072"), None, None, None, None),
]

EXPECTED = Expected(
    grain="one workspace",
    platform="datorama",
    rows=[{"workspace_obj": workspace} for workspace in WORKSPACES],
    replies={"/v1/workspaces": WORKSPACES},
    columns={"all": ALL_OF_WORKSPACES},
    lists={"workspace_obj": WORKSPACES},
    neighbour={"id": "x"},
    key_columns={"all": ["id"]},
    key_fields={"id"},
    calls_of_many=(1, 1),
)
