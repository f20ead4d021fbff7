"""What is expected of the report role_members."""

from expected import TEXT, TIME, Expected, utc

ROLES = "/api/authorization/v1/roles"
EDITOR = {"id": 3, "name": "Editor", "userCount": 2}
CUSTOM = {"id": 500000001, "name": "Night shift", "userCount": 1}

ADA = {
    "userId": 181,
    "email": "ada@mail.example",
    "displayName": "Ada Example",
    "roleId": 3,
    "department": "Research",
    "jobTitle": "Engineer",
    "hireDate": 1704067200091,
    "location": "Oslo",
}
CY = {"userId": "183", "roleId": "500000001", "displayName": "Cy Placeholder"}

EXPECTED = Expected(
    grain="one member of one role",
    rows=[
        {"member_obj": ADA, "role_obj": EDITOR},
        {"member_obj": {"userId": 182, "roleId": 3}, "role_obj": EDITOR},
        {"member_obj": CY, "role_obj": CUSTOM},
    ],
    replies={
        ROLES: [EDITOR, CUSTOM],
        f"{ROLES}/3/users": {"users": [ADA, {"userId": 182, "roleId": 3}], "totalCount": 2},
        f"{ROLES}/500000001/users": {"users": [CY], "totalCount": 1},
    },
    columns={
        "all": [
            ("role_id", TEXT, "3", "3", "500000001"),
            ("user_id", TEXT, "181", "182", "183"),
            ("display_name", TEXT, "Ada Example", None, "Cy Placeholder"),
            ("email_address", TEXT, "ada@mail.example", None, None),
            ("department", TEXT, "Research", None, None),
            ("job_title", TEXT, "Engineer", None, None),
            ("hire_date", TIME, utc("2024-01-01 00:00:00.091"), None, None),
            ("location", TEXT, "Oslo", None, None),
            ("role_name", TEXT, "Editor", "Editor", "Night shift"),
        ]
    },
    lists={
        "member_obj": [ADA, {"userId": 182, "roleId": 3}, CY],
        "role_obj": [EDITOR, CUSTOM],
    },
    neighbour={"userId": [], "roleId": 3},
    key_columns={"all": ["role_id", "user_id"]},
    joined_by={"all": {"role_name": ("role_id",)}},
    key_fields={"roleId", "userId", "id"},
    guessed=("authorization.roles",),
    # what the user may see (2), the roles, and each of the seven
    calls=dict.fromkeys(["nothing", "a lesson", "full pages"], {"all": (2 + 1 + 7, 0)}),
    calls_of_many=(3 + 1 + 7, 3 + 1 + 7),
)
