"""What is expected of the report page_access."""

from expected import TEXT, TRUTH, WHOLE, Expected

ACCESS = "/api/content/v1/share/accesslist/page/"

PAGE = {
    "pageId": 301,
    "pageTitle": "Page title",
    "pageType": "page-type",
    "subType": "sub-type",
    "parentPageId": 302,
    "parentPageTitle": "Title of the parent",
    "topPageId": 303,
    "topPageTitle": "Title of the top",
    "ownerId": 161,
    "ownerName": "Owner of the page",
    "owners": [{"id": 162, "type": "USER", "displayName": "Another owner"}],
    "locked": False,
    "lastModified": 1704067200041,
    "cardCount": 20,
    "dataAppId": 304,
    "dataAppTitle": "Title of the app",
}

BEN = {
    "id": 163,
    "displayName": "Ben Sample",
    "userName": "ben@login.example",
    "emailAddress": "ben@mail.example",
    "active": False,
    "invitorUserId": 164,
    "roleId": 4,
}

CY = {
    "id": "165",
    "displayName": "Cy Placeholder",
    "userName": "cy@login.example",
    "emailAddress": "cy@mail.example",
}

TEAM = {
    "id": 205,
    "name": "Team name",
    "type": "team-type",
    "active": True,
    "default": False,
    "creatorId": 166,
    "description": "team description",
    "users": [CY, BEN],
}

FORMER_TEAM = {"id": "206", "active": False, "users": [{"id": 167}]}

SHARE_ROWS = [
    {
        "share_obj": {
            "pageId": 301,
            "entityType": "USER",
            "entityId": 163,
            "entityName": "Ben Sample",
        },
        "page_obj": PAGE,
    },
    {
        "share_obj": {
            "pageId": 301,
            "entityType": "GROUP",
            "entityId": 205,
            "entityName": "Team name",
            "groupType": "team-type",
            "isActive": True,
        },
        "page_obj": PAGE,
    },
    {
        "share_obj": {
            "pageId": 305,
            "entityType": "GROUP",
            "entityId": "206",
            "isActive": False,
        },
        "page_obj": {"pageId": 305},
    },
]

PAGE_REPLIES = {
    "/api/content/v1/pages/adminsummary": {"pageAdminSummaries": [PAGE, {"pageId": 305}]},
    "/api/content/v1/share/accesslist/page/301": {
        "resource": {"id": "301", "type": "page"},
        "users": [BEN],
        "groups": [TEAM],
        "totalUserCount": 2,
    },
    "/api/content/v1/share/accesslist/page/305": {
        "resource": {"id": "305", "type": "page"},
        "users": [],
        "groups": [FORMER_TEAM],
        "totalUserCount": 1,
    },
}

PAGES_AND_USERS = [
    ("Page ID", TEXT, "301", "301", "305"),
    ("Title", TEXT, "Page title", "Page title", None),
    ("Type", TEXT, "page-type", "page-type", None),
    ("Owner User ID", TEXT, "161", "161", None),
    ("Owner Name", TEXT, "Owner of the page", "Owner of the page", None),
    ("Card Count", WHOLE, 20, 20, None),
    ("Parent ID", TEXT, "302", "302", None),
    ("Parent Title", TEXT, "Title of the parent", "Title of the parent", None),
    ("Parent Type", TEXT, None, None, None),
    ("Subpage Count", TEXT, None, None, None),
    ("User ID", TEXT, "163", None, None),
    ("User Name", TEXT, "Ben Sample", None, None),
    ("Group ID", TEXT, None, "205", "206"),
    ("Group Name", TEXT, None, "Team name", None),
]

ALL_OF_SHARES = [
    ("page_id", TEXT, "301", "301", "305"),
    ("entity_type", TEXT, "USER", "GROUP", "GROUP"),
    ("entity_id", TEXT, "163", "205", "206"),
    ("entity_name", TEXT, "Ben Sample", "Team name", None),
    ("group_type", TEXT, None, "team-type", None),
    ("is_active", TRUTH, None, True, False),
    ("page_title", TEXT, "Page title", "Page title", None),
]

EXPECTED = Expected(
    grain="one share of a page, with a user or with a group",
    rows=SHARE_ROWS,
    replies=PAGE_REPLIES,
    columns={"domostats": PAGES_AND_USERS, "all": ALL_OF_SHARES},
    always_empty={
        ("domostats", "Parent Type"): "stands in the row of the parent",
        ("domostats", "Subpage Count"): "counted in a report of pages",
    },
    lists={
        "share_obj": [{"parent": n, "reply": PAGE_REPLIES[f"{ACCESS}{n}"]} for n in (301, 305)],
        "page_obj": [PAGE, {"pageId": 305}],
    },
    neighbour={"parent": 306, "reply": {"users": [{"id": None}], "groups": 5}},
    key_columns={"domostats": None, "all": ["page_id", "entity_type", "entity_id"]},
    joined_by={"all": {"page_title": ("page_id",)}},
    key_fields={"parent", "reply", "users", "groups", "id"},
    needs=("content.admin",),
    all_and_own=(17, 2),
    refusing="/api/content/v1/pages/adminsummary",
    narrowed_by={"since"},
    calls={
        "nothing": {"domostats": (6, 1), "all": (6, 1)},
        "a lesson": {"domostats": (14, 1), "all": (14, 1)},
        "full pages": {"domostats": (107, 0), "all": (107, 0)},
    },
    calls_of_many=(3 + 5 + 130, 3 + 6 + 130),
)
