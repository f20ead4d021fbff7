"""What is expected of the report page_people."""

from expected import TEXT, Expected
from expected.page_access import ACCESS, PAGE_REPLIES

PEOPLE_ROWS = [
    {
        "person_obj": {
            "pageId": 301,
            "userId": 163,
            "viaGroupId": "",
            "userName": "Ben Sample",
            "emailAddress": "ben@mail.example",
        }
    },
    {
        "person_obj": {
            "pageId": 301,
            "userId": "165",
            "viaGroupId": "205",
            "userName": "Cy Placeholder",
            "emailAddress": "cy@mail.example",
        }
    },
    {
        "person_obj": {
            "pageId": 301,
            "userId": 163,
            "viaGroupId": "205",
            "userName": "Ben Sample",
            "emailAddress": "ben@mail.example",
        }
    },
    {"person_obj": {"pageId": 305, "userId": 167, "viaGroupId": "206"}},
]

ALL_OF_PEOPLE = [
    ("page_id", TEXT, "301", "301", "301", "305"),
    ("user_id", TEXT, "163", "165", "163", "167"),
    ("via_group_id", TEXT, "", "205", "205", "206"),
    ("user_name", TEXT, "Ben Sample", "Cy Placeholder", "Ben Sample", None),
    ("email_address", TEXT, "ben@mail.example", "cy@mail.example", "ben@mail.example", None),
]

EXPECTED = Expected(
    grain="one person who may open a page, and the way",
    rows=PEOPLE_ROWS,
    replies=PAGE_REPLIES,
    columns={"all": ALL_OF_PEOPLE},
    lists={
        "person_obj": [{"parent": n, "reply": PAGE_REPLIES[f"{ACCESS}{n}"]} for n in (301, 305)],
    },
    neighbour={"parent": 306, "reply": {"users": [5], "groups": [{"users": [{"id": 1}]}]}},
    key_columns={"all": ["page_id", "user_id", "via_group_id"]},
    key_fields={"parent", "reply", "users", "groups", "id"},
    needs=("content.admin",),
    all_and_own=(81, 18),
    refusing="/api/content/v1/pages/adminsummary",
    narrowed_by={"since"},
    calls={
        "nothing": {"all": (5, 1)},
        "a lesson": {"all": (14, 0)},
        "full pages": {"all": (106, 0)},
    },
    calls_of_many=(3 + 5 + 130, 3 + 5 + 130),
)
