"""The sandbox's BigQuery in a process of its own: prints where it is, as one line of JSON, and runs
until its standard input is closed."""

import json
import sys

from domostats import sandbox

if __name__ == "__main__":
    with sandbox.start_bigquery("bench-project") as box:
        print(json.dumps({"project": box.project, "url": box.url}), flush=True)
        sys.stdin.read()
