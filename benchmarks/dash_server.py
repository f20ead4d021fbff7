"""The sandbox's Comotion Dash in a process of its own: prints where it is and who may in, as one
line of JSON, and runs until its standard input is closed."""

import json
import sys

from domostats import sandbox

if __name__ == "__main__":
    with sandbox.start_dash(org="bench", access_seconds=7200) as box:
        names = {
            "name": box.name,
            "org": box.org,
            "url": box.url,
            "store": box.store.url,
            "client_id": box.client_id,
            "client_secret": box.client_secret.reveal(),
        }
        print(json.dumps(names), flush=True)
        sys.stdin.read()
