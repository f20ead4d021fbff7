"""The sandbox in a process of its own: prints where it is and who may in, as one line of JSON, and
runs until its standard input is closed."""

import json
import sys

from measure import parameters

from domostats import sandbox


def plain(value):
    "A secret of the sandbox as text: other clients need it."
    return value.reveal() if hasattr(value, "reveal") else value


if __name__ == "__main__":
    asked = parameters()
    latency = asked.pop("latency", 0)
    with sandbox.start(**asked) as box:
        box.latency = latency
        names = ("url", "access_token", "client_id", "client_secret")
        print(json.dumps({name: plain(getattr(box, name)) for name in names}), flush=True)
        sys.stdin.read()
