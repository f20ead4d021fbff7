"""What is expected of the report groups."""

from expected import TEXT, TIME, WHOLE, Expected, utc

GROUP = {
    "groupId": 201,
    "name": "Night shift",
    "groupType": "closed",
    "description": "those of the night",
    "memberCount": 12,
    "created": "2023-06-08 20:59:05.0",
    "owners": [{"type": "USER", "id": "141", "displayName": "An owner"}],
    "groupMembers": [{"type": "USER", "id": "142"}],
}

OTHER_GROUP = {
    "groupId": "202",
    "name": "",
    "memberCount": 0,
    "created": "2022-01-15 10:11:12",
    "owners": [],
    "groupMembers": [],
}

GROUP_DETAIL = {
    "id": 201,
    "name": "Name of the detail",
    "type": "type of the detail",
    "userIds": [],
    "creatorId": 143,
    "memberCount": 13,
    "guid": "guid-of-201",
    "description": "described in the detail",
    "hidden": False,
    "default": True,
    "active": False,
}

OTHER_DETAIL = {"id": 202, "creatorId": 0, "default": False, "active": True, "hidden": True}

GROUP_ROWS = [
    {"group_obj": GROUP, "detail_obj": GROUP_DETAIL},
    {"group_obj": OTHER_GROUP, "detail_obj": OTHER_DETAIL},
    {"group_obj": {"groupId": 203}, "detail_obj": {"id": 203}},
]

GROUP_REPLIES = {
    "/api/content/v2/groups/grouplist": [GROUP, OTHER_GROUP, {"groupId": 203}],
    "/api/content/v2/groups/201": GROUP_DETAIL,
    "/api/content/v2/groups/202": OTHER_DETAIL,
    "/api/content/v2/groups/203": {"id": 203},
}

LISTED_OF_GROUPS = [
    ("Group Id", TEXT, "201", "202", "203"),
    ("Group Name", TEXT, "Night shift", "", None),
    ("LDAP Group Name", TEXT, None, None, None),
    ("Avatar Id", TEXT, None, None, None),
    ("Group Type", TEXT, "closed", None, None),
    ("Created", TIME, utc("2023-06-08 20:59:05"), utc("2022-01-15 10:11:12"), None),
]

GROUPS_OF_DOMOSTATS = [
    *LISTED_OF_GROUPS,
    ("Creator Id", TEXT, None, None, None),
    ("Is Default", TEXT, None, None, None),
]

GROUPS_WITH_CREATOR = [
    *LISTED_OF_GROUPS,
    ("Creator Id", TEXT, "143", "0", None),
    ("Is Default", TEXT, "true", "false", None),
]

ALL_OF_GROUPS = [
    ("group_id", TEXT, "201", "202", "203"),
    ("name", TEXT, "Night shift", "", None),
    ("group_type", TEXT, "closed", None, None),
    ("description", TEXT, "those of the night", None, None),
    ("member_count", WHOLE, 12, 0, None),
    ("created_at", TIME, utc("2023-06-08 20:59:05"), utc("2022-01-15 10:11:12"), None),
]

EXPECTED = Expected(
    grain="one group",
    rows=GROUP_ROWS,
    replies=GROUP_REPLIES,
    columns={
        "domostats": GROUPS_OF_DOMOSTATS,
        "with_creator": GROUPS_WITH_CREATOR,
        "all": ALL_OF_GROUPS,
    },
    always_empty={
        ("domostats", "LDAP Group Name"): "no field is known",
        ("domostats", "Avatar Id"): "no field is known",
        ("domostats", "Creator Id"): "a call for each group, see with_creator",
        ("domostats", "Is Default"): "a call for each group, see with_creator",
        ("with_creator", "LDAP Group Name"): "no field is known",
        ("with_creator", "Avatar Id"): "no field is known",
    },
    lists={
        "group_obj": [GROUP, OTHER_GROUP, {"groupId": 203}],
        "detail_obj": [
            {"parent": detail["id"], "reply": detail}
            for detail in ({"id": 203}, OTHER_DETAIL, GROUP_DETAIL)
        ],
    },
    neighbour={"groupId": {}, "memberCount": "many"},
    key_columns={"domostats": ["Group Id"], "with_creator": ["Group Id"], "all": ["group_id"]},
    joined_by={"with_creator": {"Creator Id": ("Group Id",), "Is Default": ("Group Id",)}},
    left_out={"owners", "groupMembers"},
    key_fields={"groupId"},
    guessed=("group.admin",),
    calls={
        "nothing": {"domostats": (5, 1), "with_creator": (6, 1), "all": (5, 1)},
        "a lesson": {"domostats": (6, 0), "with_creator": (14, 1), "all": (6, 0)},
        "full pages": {"domostats": (6, 0), "with_creator": (107, 0), "all": (6, 0)},
    },
    recorded={"/api/content/v2/groups/grouplist": "groups_list"},
    calls_of_many=(3 + 5, 3 + 5),
)
