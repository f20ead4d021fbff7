"""What is expected of the report users."""

from expected import HERE, TEXT, TIME, TRUTH, WHOLE, Expected, utc

ADA = {
    "id": 101,
    "displayName": "Ada Example",
    "emailAddress": "ada@mail.example",
    "userName": "ada@login.example",
    "title": "Engineer",
    "department": "Research",
    "alternateEmail": "ada@home.example",
    "phoneNumber": "555-0101",
    "deskPhoneNumber": "555-0102",
    "employeeNumber": "4711",
    "employeeId": "E-17",
    "employeeLocation": "Oslo",
    "locale": "nb-NO",
    "timeZone": "Europe/Berlin",
    "roleId": 2,
    "reportsTo": "131",
    "invitorUserId": 132,
    "created": 1704067200021,
    "modified": 1704153600022,
    "lastActivity": 1704240000023,
    "lastLogin": 1704326400024,
    "hireDate": 1704412800025,
    "avatarKey": "/avatars/of/ada",
    "isActive": True,
    "isPending": False,
    "isAnonymous": True,
    "isSystemUser": False,
}

MONITOR = {  # whose id is a real one; a number that is none
    "id": 0,
    "displayName": "monitor",
    "employeeNumber": "E-18",
    "roleId": "1",
    "reportsTo": 133,
    "isActive": True,
    "isPending": True,
    "isAnonymous": False,
    "isSystemUser": False,
}

ADA_BEFORE = {
    "id": 101,
    "displayName": "Ada Before",
    "emailAddress": "before@mail.example",
    "userName": "before@login.example",
    "accepted": False,
    "userType": "USER",
    "avatarKey": "c605f478",
    "role": "Role before",
    "roleId": 1,
    "title": "Title before",
    "created": 1577836800,
    "modified": 1577836800000,
    "active": False,
    "pending": True,
    "anonymous": False,
    "systemUser": True,
}

MONITOR_BEFORE = {"id": 0, "accepted": None, "userType": "DOMO_SUPPORT"}

ADMIN = {"id": 1, "name": "Admin", "description": "may do everything"}

PRIVILEGED = {"id": 2, "name": "Privileged", "description": "may do much"}

NOBODY = {"id": 103}

USER_ROWS = [
    {"user_obj": ADA, "old_user_obj": ADA_BEFORE, "role_obj": PRIVILEGED},
    {"user_obj": MONITOR, "old_user_obj": MONITOR_BEFORE, "role_obj": ADMIN},
    {"user_obj": NOBODY, "old_user_obj": NOBODY, "role_obj": None},
]


def with_attributes(user, **beside):
    """A user as the identity service sends it; what stands `beside` the attributes is not what
    counts."""
    attributes = [{"key": key, "values": [value, "another"]} for key, value in user.items()]
    return {"attributes": attributes, "id": user["id"], **beside}


USER_REPLIES = {
    "/api/identity/v1/users": {
        "users": [
            with_attributes(ADA, displayName="Ada Beside", roleId=1, userName="beside@example.com"),
            with_attributes(MONITOR),
            NOBODY | {"attributes": [{"key": "title", "values": [None]}, {"key": "locale"}]},
        ]
    },
    "/api/content/v2/users": [NOBODY, MONITOR_BEFORE, ADA_BEFORE],
    "/api/authorization/v1/roles": [ADMIN, PRIVILEGED],
}

PEOPLE = [
    ("Department", TEXT, "Research", None, None),
    ("Display Name", TEXT, "Ada Example", "monitor", None),
    ("Role", TEXT, "Privileged", "Admin", None),
    ("Title", TEXT, "Engineer", None, None),
    ("Email", TEXT, "ada@mail.example", None, None),
    ("Alternate Email", TEXT, "ada@home.example", None, None),
    (
        "Profile Picture URL",
        TEXT,
        HERE + "/api/content/v1/avatar/USER/101",
        HERE + "/api/content/v1/avatar/USER/0",
        HERE + "/api/content/v1/avatar/USER/103",
    ),
    ("Phone Number", TEXT, "555-0101", None, None),
    ("Desk Phone Number", TEXT, "555-0102", None, None),
    ("Employee Number", WHOLE, 4711, None, None),
    ("Employee ID", TEXT, "E-17", None, None),
    ("Location", TEXT, "Oslo", None, None),
    ("Locale", TEXT, "nb-NO", None, None),
    ("Timezone", TEXT, "Europe/Berlin", None, None),
    ("Role ID", WHOLE, 2, 1, None),
    ("User ID", TEXT, "101", "0", "103"),
    ("Last Login", TIME, utc("2024-01-04 00:00:00.024"), None, None),
    ("Password Created", TIME, None, None, None),
    ("Account Locked", TEXT, None, None, None),
    ("Profile Picture", TEXT, "true", "false", "false"),
    ("Org Chart", TEXT, "true", "true", "false"),
    ("Two Factor Enabled", TEXT, None, None, None),
    ("Created Date", TIME, utc("2024-01-01 00:00:00.021"), None, None),
    ("Created By User ID", TEXT, "132", None, None),
    ("Last Updated Date", TIME, utc("2024-01-02 00:00:00.022"), None, None),
    ("Reports To", TEXT, "131", "133", None),
]

USER_ACTIVITY = [
    ("Display Name", TEXT, "Ada Example", "monitor", None),
    ("Role ID", TEXT, "2", "1", None),
    ("Timezone", TEXT, "Europe/Berlin", None, None),
    ("Location", TEXT, "Oslo", None, None),
    ("Last Activity", TIME, utc("2024-01-03 00:00:00.023"), None, None),
    ("User ID", TEXT, "101", "0", "103"),
    ("Title", TEXT, "Engineer", None, None),
    ("Department", TEXT, "Research", None, None),
    ("Locale", TEXT, "nb-NO", None, None),
    ("Email", TEXT, "ada@mail.example", None, None),
]

FIRST_OF_USERS = [
    ("display_name", TEXT, "Ada Example", "monitor", None),
    ("email_address", TEXT, "ada@mail.example", None, None),
    ("user_name", TEXT, "ada@login.example", None, None),
    ("title", TEXT, "Engineer", None, None),
    ("department", TEXT, "Research", None, None),
    ("alternate_email", TEXT, "ada@home.example", None, None),
    ("phone_number", TEXT, "555-0101", None, None),
    ("desk_phone_number", TEXT, "555-0102", None, None),
    ("employee_number", TEXT, "4711", "E-18", None),
    ("employee_id", TEXT, "E-17", None, None),
    ("employee_location", TEXT, "Oslo", None, None),
    ("locale", TEXT, "nb-NO", None, None),
    ("time_zone", TEXT, "Europe/Berlin", None, None),
    ("role_id", TEXT, "2", "1", None),
    ("reports_to", TEXT, "131", "133", None),
    ("invitor_user_id", TEXT, "132", None, None),
]

LAST_OF_USERS = [
    ("hire_date", TIME, utc("2024-01-05 00:00:00.025"), None, None),
    ("avatar_key", TEXT, "/avatars/of/ada", None, None),
    ("is_active", TRUTH, True, True, None),
    ("is_pending", TRUTH, False, True, None),
    ("is_anonymous", TRUTH, True, False, None),
    ("is_system_user", TRUTH, False, False, None),
]

ALL_OF_USERS = [
    ("user_id", TEXT, "101", "0", "103"),
    *FIRST_OF_USERS,
    ("created_at", TIME, utc("2024-01-01 00:00:00.021"), None, None),
    ("modified_at", TIME, utc("2024-01-02 00:00:00.022"), None, None),
    ("last_activity_at", TIME, utc("2024-01-03 00:00:00.023"), None, None),
    ("last_login_at", TIME, utc("2024-01-04 00:00:00.024"), None, None),
    *LAST_OF_USERS,
    ("role_name", TEXT, "Privileged", "Admin", None),
    ("accepted", TRUTH, False, None, None),
    ("user_type", TEXT, "USER", "DOMO_SUPPORT", None),
]

IDENTITY = [
    ("id", TEXT, "101", "0", "103"),
    *FIRST_OF_USERS,
    ("created", TIME, utc("2024-01-01 00:00:00.021"), None, None),
    ("modified", TIME, utc("2024-01-02 00:00:00.022"), None, None),
    ("last_activity", TIME, utc("2024-01-03 00:00:00.023"), None, None),
    ("last_login", TIME, utc("2024-01-04 00:00:00.024"), None, None),
    *LAST_OF_USERS,
]

EXPECTED = Expected(
    grain="one user, also those of Domo's support",
    rows=USER_ROWS,
    replies=USER_REPLIES,
    columns={
        "domostats": PEOPLE,
        "user_activity": USER_ACTIVITY,
        "all": ALL_OF_USERS,
        "identity": IDENTITY,
    },
    always_empty={
        ("domostats", "Password Created"): "no field is known",
        ("domostats", "Account Locked"): "no field is known",
        ("domostats", "Two Factor Enabled"): "a call for each user, whose reply nobody recorded",
    },
    lists={
        "user_obj": USER_REPLIES["/api/identity/v1/users"]["users"],
        "old_user_obj": USER_REPLIES["/api/content/v2/users"],
        "role_obj": [ADMIN, PRIVILEGED],
    },
    neighbour={
        "id": [],
        "attributes": [
            {"key": "title", "values": {}},
            {"key": "locale", "values": None},
            {"key": "department", "values": "bare"},
            {"key": 5},
            None,
        ],
    },
    key_columns={
        "domostats": ["User ID"],
        "user_activity": ["User ID"],
        "all": ["user_id"],
        "identity": ["id"],
    },
    joined_by={"all": {"role_name": ("role_id",), "accepted": ("user_id",)}},
    key_fields={"id"},
    guessed=("user.edit",),
    calls={
        "nothing": {
            "domostats": (8, 0),
            "user_activity": (6, 0),
            "all": (8, 0),
            "identity": (6, 0),
        },
        "a lesson": {
            "domostats": (8, 0),
            "user_activity": (6, 0),
            "all": (8, 0),
            "identity": (6, 0),
        },
        "full pages": {
            "domostats": (8, 0),
            "user_activity": (6, 0),
            "all": (8, 0),
            "identity": (6, 0),
        },
    },
    recorded={"/api/authorization/v1/roles": "roles"},
    # the list, the older list and the roles
    calls_of_many=(3 + 7 + 1 + 1, 3 + 7 + 1 + 1),
)
