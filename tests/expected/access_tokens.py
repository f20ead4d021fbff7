"""What is expected of the report access_tokens."""

from expected import TEXT, TIME, WHOLE, Expected, utc

TOKEN = {
    "id": 401,
    "name": "nightly job",
    "ownerId": 402,
    "ownerName": "Name in the list",
    "ownerEmail": "list@mail.example",
    "expires": 1704067200081,
}
OF_NOBODY = {"id": 403, "name": "of somebody who is gone", "ownerId": "404"}
ADA = {"id": 402, "displayName": "Ada Example", "emailAddress": "ada@mail.example"}

EXPECTED = Expected(
    grain="one access token, also an expired one",
    rows=[
        {"token_obj": TOKEN, "owner_obj": ADA},
        {"token_obj": OF_NOBODY, "owner_obj": None},
        {"token_obj": {"id": 405}, "owner_obj": None},
    ],
    replies={
        "/api/data/v1/accesstokens": [TOKEN, OF_NOBODY, {"id": 405}],
        "/api/content/v2/users": [ADA],
    },
    columns={
        "all": [
            ("token_id", WHOLE, 401, 403, 405),
            ("name", TEXT, "nightly job", "of somebody who is gone", None),
            ("owner_id", TEXT, "402", "404", None),
            ("expires_at", TIME, utc("2024-01-01 00:00:00.081"), None, None),
            ("owner_name", TEXT, "Ada Example", None, None),
            ("owner_email", TEXT, "ada@mail.example", None, None),
        ]
    },
    lists={"token_obj": [TOKEN, OF_NOBODY, {"id": 405}], "owner_obj": [ADA]},
    neighbour={"id": "x", "ownerId": []},
    key_columns={"all": ["token_id"]},
    joined_by={"all": {"owner_name": ("owner_id",), "owner_email": ("owner_id",)}},
    key_fields={"id"},
    left_out={"ownerName", "ownerEmail"},
    recorded={"/api/data/v1/accesstokens": "access_tokens_list"},
    needs=("developer.token.manage",),
    all_and_own=(11, 4),  # nine of the world, of which three are Ian's, and one of each sign-in
    # what the user may see (2), the tokens and the users
    calls=dict.fromkeys(["nothing", "a lesson", "full pages"], {"all": (2 + 2, 0)}),
    calls_of_many=(3 + 2, 3 + 2),
)
