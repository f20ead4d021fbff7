"""What is expected of the report accounts."""

from expected import TEXT, TIME, TRUTH, WHOLE, Expected, utc

ACCOUNT = {
    "id": 71,
    "name": "listed name",
    "userId": "101",
    "displayName": "listed display name",
    "type": "listed type",
    "dataProviderType": "listed-connector",
    "valid": True,
    "dateOfExpiration": 1893456000000,
    "dataSourceCount": 3,
    "daysToExpiry": 30,
    "expired": False,
}

ONLY_LISTED = {
    "id": 72,
    "name": "second name",
    "userId": "105",
    "displayName": "second display name",
    "type": "second type",
    "dataProviderType": "second-connector",
    "valid": False,
    "dateOfExpiration": 1577836800001,
    "dataSourceCount": 0,
    "daysToExpiry": -5,
    "expired": True,
}

CONNECTOR = {
    "key": "connector-key",
    "name": "Connector name",
    "authenticationScheme": "scheme",
    "unassociatedDataSourceCount": 8,
}

FLAT_ACCOUNT = {
    "id": 71,
    "userId": 111,
    "name": "flat name",
    "displayName": "flat display name",
    "type": "flat type",
    "valid": False,
    "dataProviderType": "flat-connector",
    "credentialsType": "oauth",
    "createdAt": 1704067200001,
    "createdBy": 112,
    "modifiedAt": 1704153600002,
    "modifiedBy": 113,
    "configurations": {},
    "accountId": 171,
    "accountTemplateId": 172,
    "accountTemplateAuthorizationId": 173,
}

ONLY_FLAT = {
    "id": 74,
    "userId": 114,
    "name": "fourth name",
    "displayName": "fourth display name",
    "type": "fourth type",
    "valid": True,
    "dataProviderType": "fourth-connector",
    "credentialsType": "fields",
    "createdAt": 1704240000003,
    "modifiedAt": 1704326400004,
    "origin": "OAUTH_CONFIGURATION",
}

ADA_OWNS = {"id": 101, "displayName": "Ada Example", "userName": "ada@example.com"}

SOMEBODY = {"id": 111, "displayName": "Somebody else", "userName": "somebody@example.com"}

ACCOUNT_ROWS = [  # the records of each row; the last one is in the flat list only
    {
        "account_obj": ACCOUNT,
        "dataprovider_obj": CONNECTOR,
        "flat_obj": FLAT_ACCOUNT,
        "owner_obj": ADA_OWNS,
    },
    {
        "account_obj": ONLY_LISTED,
        "dataprovider_obj": CONNECTOR,
        "flat_obj": None,
        "owner_obj": None,
    },
    {"account_obj": {"id": 73}, "dataprovider_obj": {}, "flat_obj": None, "owner_obj": None},
    {"account_obj": None, "dataprovider_obj": None, "flat_obj": ONLY_FLAT, "owner_obj": None},
]

ACCOUNT_REPLIES = {
    "/api/data/v2/datasources/providers": [
        CONNECTOR | {"accounts": [ACCOUNT, ONLY_LISTED]},
        {"accounts": [{"id": 73}]},
    ],
    "/api/data/v1/accounts": [ONLY_FLAT, FLAT_ACCOUNT],
    "/api/content/v2/users": [SOMEBODY, ADA_OWNS],
}

ACCOUNTS_OF_DOMOSTATS = [
    # column, type, and its value in each row
    ("Account_Id", WHOLE, 71, 72, 73, 74),
    ("Owner_Id", WHOLE, 111, 105, None, 114),
    ("Name", TEXT, "flat name", "second name", None, "fourth name"),
    ("Display_Name", TEXT, "flat display name", "second display name", None, "fourth display name"),
    ("Type", TEXT, "flat type", "second type", None, "fourth type"),
    ("Valid", TEXT, "false", "false", None, "true"),
    ("Data_Provider", TEXT, "flat-connector", "second-connector", None, "fourth-connector"),
    ("Credentials_Type", TEXT, "oauth", None, None, "fields"),
    (
        "Created_Date",
        TIME,
        utc("2024-01-01 00:00:00.001"),
        None,
        None,
        utc("2024-01-03 00:00:00.003"),
    ),
    (
        "Modified_Date",
        TIME,
        utc("2024-01-02 00:00:00.002"),
        None,
        None,
        utc("2024-01-04 00:00:00.004"),
    ),
    ("Account_Id_text", TEXT, "71", "72", "73", "74"),
    ("Owner_Id_text", TEXT, "111", "105", None, "114"),
    (
        "Account_Type",
        TEXT,
        "AUTHORIZATION",
        "AUTHORIZATION",
        "AUTHORIZATION",
        "OAUTH_CONFIGURATION",
    ),
]

ACCOUNTS_V1 = [
    ("user_id", TEXT, "101", "105", None),
    ("data_provider_type", TEXT, "listed-connector", "second-connector", None),
    ("date_of_expiration", TIME, utc("2030-01-01"), utc("2020-01-01 00:00:00.001"), None),
    ("data_source_count", WHOLE, 3, 0, None),
    ("data_provider_name", TEXT, "Connector name", "Connector name", None),
    ("account_id", WHOLE, 71, 72, 73),
    ("account_name", TEXT, "listed display name", "second display name", None),
]

ACCOUNTS_V2 = [
    ("user_id", TEXT, "101", "105", None),
    ("type", TEXT, "listed type", "second type", None),
    ("data_provider_type", TEXT, "listed-connector", "second-connector", None),
    ("date_of_expiration", TIME, utc("2030-01-01"), utc("2020-01-01 00:00:00.001"), None),
    ("data_source_count", WHOLE, 3, 0, None),
    ("days_to_expiry", WHOLE, 30, -5, None),
    ("expired", TRUTH, False, True, None),
    ("data_provider_name", TEXT, "Connector name", "Connector name", None),
    ("account_id", WHOLE, 71, 72, 73),
    ("account_name", TEXT, "listed display name", "second display name", None),
]

ACCOUNTS_WITH_OWNERS = [*ACCOUNTS_V2, ("owner_name", TEXT, "Ada Example", None, None)]

EXPECTED = Expected(
    grain="one account: the credential that a connector signs in with",
    rows=ACCOUNT_ROWS,
    replies=ACCOUNT_REPLIES,
    columns={
        "domostats": ACCOUNTS_OF_DOMOSTATS,
        "v1": ACCOUNTS_V1,
        "v2": ACCOUNTS_V2,
        "owners": ACCOUNTS_WITH_OWNERS,
    },
    lists={
        "dataprovider_obj": ACCOUNT_REPLIES["/api/data/v2/datasources/providers"],
        "flat_obj": ACCOUNT_REPLIES["/api/data/v1/accounts"],
        "owner_obj": ACCOUNT_REPLIES["/api/content/v2/users"],
    },
    neighbour={"name": 5, "accounts": [{"id": "x"}]},
    key_columns={
        "domostats": ["Account_Id"],
        "v1": ["account_id"],
        "v2": ["account_id"],
        "owners": ["account_id"],
    },
    joined_by={"owners": {"owner_name": ("user_id",)}},
    key_fields={"id", "accounts"},
    needs=("account.admin", "account.view.all"),
    all_and_own=(10, 2),
    refusing="/api/data/v2/datasources/providers",
    calls={
        "nothing": {"domostats": (4, 0), "v1": (3, 0), "v2": (3, 0), "owners": (4, 0)},
        "a lesson": {"domostats": (4, 0), "v1": (3, 0), "v2": (3, 0), "owners": (4, 0)},
        "full pages": {"domostats": (4, 0), "v1": (3, 0), "v2": (3, 0), "owners": (4, 0)},
    },
    recorded={
        "/api/data/v2/datasources/providers": "account_providers",
        "/api/data/v1/accounts": "accounts_v1",
    },
    calls_of_many=(3 + 1 + 1, 3 + 1 + 1),
)
