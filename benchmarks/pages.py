"""Pages of an activity log, as bytes: the same for every client, and made outside of what is timed."""
import json

ACTIONS, TYPES = ("VIEWED", "CREATED", "EXECUTED", "DELETED"), ("PAGE", "CARD", "DATA_SOURCE", "DATAFLOW_TYPE")


def event(n):
    return {"userName": f"Ada Example {n % 50}", "userId": str(100_000_000 + n % 900), "userType": "USER", "actorName": "", "actorId": 0, "actionType": ACTIONS[n % 4],
            "objectName": f"example object {n % 5000}", "objectId": str(300_000_000 + n % 5000), "objectType": TYPES[n % 3],
            "additionalComment": f"Ada Example {n % 50} viewed example object {n % 5000}.", "time": 1_711_218_047_106 + n, "eventText": "Viewed page",
            "clientId": None, "authenticationMethod": "DEV_TOKEN"}


def pages(rows, size=1000):
    "So many events in pages of `size`, as a list of bytes."
    return [json.dumps([event(n) for n in range(start, start + size)]).encode() for start in range(0, rows, size)]
