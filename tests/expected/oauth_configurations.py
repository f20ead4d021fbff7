"""What is expected of the report oauth_configurations."""

from expected import TEXT, TIME, TRUTH, WHOLE, Expected, utc

APP = {
    "id": 81,
    "name": "app name",
    "displayName": "app display name",
    "type": "app type",
    "userId": 121,
    "owner": 122,
    "dataProviderKey": "app-key",
    "dataProviderType": "app-connector",
    "credentialsType": "oauth",
    "valid": True,
    "createdAt": 1704067200011,
    "createdBy": 123,
    "modifiedAt": 1704153600012,
    "modifiedBy": 124,
    "configurations": {"a": 1},
    "configurationsList": [2],
    "configurationAsList": [3],
    "presetFields": {"b": 4},
    "presetFieldsList": [5],
}

OTHER_APP = {
    "id": 82,
    "owner": "125",
    "dataProviderType": "other-connector",
    "valid": False,
    "createdBy": "126",
}

APP_ROWS = [{"template_obj": APP}, {"template_obj": OTHER_APP}, {"template_obj": {"id": 83}}]

APP_REPLIES = {"/api/data/v1/accounts/templates/user/extended": [APP, OTHER_APP, {"id": 83}]}

APPS_OF_DOMOSTATS = [
    ("Account_Id", WHOLE, 81, 82, 83),
    ("Owner_Id", WHOLE, 121, 125, None),
    ("Name", TEXT, "app name", None, None),
    ("Display_Name", TEXT, "app display name", None, None),
    ("Type", TEXT, "app type", None, None),
    ("Valid", TEXT, "true", "false", None),
    ("Data_Provider", TEXT, "app-key", "other-connector", None),
    ("Credentials_Type", TEXT, "oauth", None, None),
    ("Created_Date", TIME, utc("2024-01-01 00:00:00.011"), None, None),
    ("Modified_Date", TIME, utc("2024-01-02 00:00:00.012"), None, None),
    ("Account_Id_text", TEXT, "81", "82", "83"),
    ("Owner_Id_text", TEXT, "121", "125", None),
    (
        "Account_Type",
        TEXT,
        "OAUTH_CONFIGURATION",
        "OAUTH_CONFIGURATION",
        "OAUTH_CONFIGURATION",
    ),
]

ALL_OF_APPS = [
    ("id", WHOLE, 81, 82, 83),
    ("name", TEXT, "app name", None, None),
    ("display_name", TEXT, "app display name", None, None),
    ("type", TEXT, "app type", None, None),
    ("user_id", TEXT, "121", None, None),
    ("owner", TEXT, "122", "125", None),
    ("data_provider_key", TEXT, "app-key", None, None),
    ("data_provider_type", TEXT, "app-connector", "other-connector", None),
    ("credentials_type", TEXT, "oauth", None, None),
    ("valid", TRUTH, True, False, None),
    ("created_at", TIME, utc("2024-01-01 00:00:00.011"), None, None),
    ("created_by", TEXT, "123", "126", None),
    ("modified_at", TIME, utc("2024-01-02 00:00:00.012"), None, None),
    ("modified_by", TEXT, "124", None, None),
]

EXPECTED = Expected(
    grain="one OAuth configuration: the app through which accounts sign in",
    rows=APP_ROWS,
    replies=APP_REPLIES,
    columns={"domostats": APPS_OF_DOMOSTATS, "all": ALL_OF_APPS},
    lists={"template_obj": [APP, OTHER_APP, {"id": 83}]},
    neighbour={"id": "x"},
    key_columns={"domostats": ["Account_Id"], "all": ["id"]},
    key_fields={"id"},
    guessed=("account.admin", "account.view.all"),
    calls={
        "nothing": {"domostats": (3, 0), "all": (3, 0)},
        "a lesson": {"domostats": (3, 0), "all": (3, 0)},
        "full pages": {"domostats": (3, 0), "all": (3, 0)},
    },
    calls_of_many=(3 + 1, 3 + 1),
    left_out={  # maps of what was entered for an app
        "configurations",
        "configurationsList",
        "configurationAsList",
        "presetFields",
        "presetFieldsList",
    },
)
