"""What is expected of the report group_members."""

from expected import TEXT, Expected
from expected.groups import OTHER_GROUP

MEMBERS = [{"type": "USER", "id": "142"}, {"type": "GROUP", "id": 202}]

CREW = {"groupId": 201, "name": "Night shift", "memberCount": 2, "groupMembers": MEMBERS}

CREWS = [CREW, {"groupId": "204", "groupMembers": [{"type": "USER", "id": "142"}]}, OTHER_GROUP]

MEMBER_ROWS = [
    {"group_obj": CREW, "member_obj": MEMBERS[0]},
    {"group_obj": CREW, "member_obj": MEMBERS[1]},
    {"group_obj": CREWS[1], "member_obj": MEMBERS[0]},
]

ALL_OF_MEMBERS = [
    ("group_id", TEXT, "201", "201", "204"),
    ("member_type", TEXT, "USER", "GROUP", "USER"),
    ("member_id", TEXT, "142", "202", "142"),
    ("group_name", TEXT, "Night shift", "Night shift", None),
]

MEMBERS_OF_DOMOSTATS = [
    ("Group Id", TEXT, "201", "201", "204"),
    ("Group Name", TEXT, "Night shift", "Night shift", None),
    ("User Id", TEXT, "142", None, "142"),
]

EXPECTED = Expected(
    grain="one member of one group",
    rows=MEMBER_ROWS,
    replies={"/api/content/v2/groups/grouplist": CREWS},
    columns={"all": ALL_OF_MEMBERS, "domostats": MEMBERS_OF_DOMOSTATS},
    lists={"group_obj": CREWS},
    neighbour={"groupId": {}, "groupMembers": MEMBERS},
    key_columns={"all": ["group_id", "member_type", "member_id"], "domostats": None},
    key_fields={"groupId", "groupMembers", "type", "id"},
    guessed=("group.admin",),
    calls={
        "nothing": {"all": (5, 1), "domostats": (5, 1)},
        "a lesson": {"all": (6, 0), "domostats": (6, 0)},
        "full pages": {"all": (6, 0), "domostats": (6, 0)},
    },
    calls_of_many=(3 + 5, 3 + 5),
)
