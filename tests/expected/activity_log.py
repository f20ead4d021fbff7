"""What is expected of the report activity_log."""

from expected import TEXT, TIME, Expected, utc

EVENT = {
    "userName": "User name",
    "userId": "171",
    "userType": "user-type",
    "actorName": "Actor name",
    "actorId": 172,
    "actionType": "ACTION",
    "objectName": "Object name",
    "objectId": "object-id",
    "objectType": "OBJECT",
    "additionalComment": "A comment.",
    "time": 1704240000051,
    "eventText": "Text of the event",
    "clientId": "client-id",
    "authenticationMethod": "DEV_TOKEN",
}

OTHER_EVENT = {"time": 1704153600052, "userId": 0, "objectId": "", "clientId": None}

EVENT_REPLIES = {
    "/api/audit/v1/user-audits/count": {"count": 3},
    "/api/audit/v1/user-audits": [EVENT, OTHER_EVENT, {"time": 1704067200053}],
}

EVENT_KEYS = (  # made of time, user, action and object, and the same in every version
    "43d8d9aac337c2c885db35c3-1",
    "a33b989d6c5650bc012b29af-1",
    "f03e29b8d4bf6dc40afd0420-1",
)

EVENT_ROWS = [
    {"event_obj": event | {"eventKey": key}}
    for event, key in zip((EVENT, OTHER_EVENT, {"time": 1704067200053}), EVENT_KEYS, strict=True)
]

MOMENTS = (
    utc("2024-01-03 00:00:00.051"),
    utc("2024-01-02 00:00:00.052"),
    utc("2024-01-01 00:00:00.053"),
)

EVENTS_OF_DOMOSTATS = [
    ("Object_Name", TEXT, "Object name", None, None),
    ("User_ID", TEXT, "171", "0", None),
    ("Source_ID", TEXT, "171", "0", None),
    ("Name", TEXT, "User name", None, None),
    ("Action", TEXT, "ACTION", None, None),
    ("Object_Type", TEXT, "OBJECT", None, None),
    ("Object_ID", TEXT, "object-id", "", None),
    ("Type", TEXT, "user-type", None, None),
    ("Event_Time", TIME, *MOMENTS),
    ("Authentication_Method", TEXT, "DEV_TOKEN", None, None),
    ("IP_Address", TEXT, None, None, None),
    ("Device", TEXT, None, None, None),
    ("Browser_Details", TEXT, None, None, None),
    ("Event_ID", TEXT, *EVENT_KEYS),
    ("Client_ID", TEXT, "client-id", None, None),
    ("_BATCH_ID_", TEXT, None, None, None),
    ("_BATCH_LAST_RUN_", TIME, None, None, None),
]

ALL_OF_EVENTS = [
    ("event_key", TEXT, *EVENT_KEYS),
    ("event_at", TIME, *MOMENTS),
    ("user_id", TEXT, "171", "0", None),
    ("user_name", TEXT, "User name", None, None),
    ("user_type", TEXT, "user-type", None, None),
    ("actor_id", TEXT, "172", None, None),
    ("actor_name", TEXT, "Actor name", None, None),
    ("action_type", TEXT, "ACTION", None, None),
    ("object_type", TEXT, "OBJECT", None, None),
    ("object_id", TEXT, "object-id", "", None),
    ("object_name", TEXT, "Object name", None, None),
    ("event_text", TEXT, "Text of the event", None, None),
    ("additional_comment", TEXT, "A comment.", None, None),
    ("authentication_method", TEXT, "DEV_TOKEN", None, None),
    ("client_id", TEXT, "client-id", None, None),
]

EXPECTED = Expected(
    grain="one event",
    rows=EVENT_ROWS,
    replies=EVENT_REPLIES,
    columns={"domostats": EVENTS_OF_DOMOSTATS, "all": ALL_OF_EVENTS},
    always_empty={
        ("domostats", "IP_Address"): "another API",
        ("domostats", "Device"): "another API",
        ("domostats", "Browser_Details"): "another API",
        ("domostats", "_BATCH_ID_"): "of the connector",
        ("domostats", "_BATCH_LAST_RUN_"): "of the connector",
    },
    lists={"event_obj": [EVENT, OTHER_EVENT, {"time": 1704067200053}]},
    neighbour=5,
    key_columns={"domostats": ["Event_ID"], "all": ["event_key"]},
    alike={"Source_ID"},  # the same field twice
    needs=("audit",),
    refused=True,
    narrowed_by={"since", "until"},
    calls={
        "nothing": {"domostats": (4, 0), "all": (4, 0)},
        "a lesson": {"domostats": (4, 0), "all": (4, 0)},
        "full pages": {"domostats": (5, 0), "all": (5, 0)},
    },
    calls_of_many=(3 + 1 + 3, 3 + 1 + 3),  # a count, and 2,500 events in pages of 1,000
)
