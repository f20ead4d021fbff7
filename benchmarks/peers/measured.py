"""What every client script does: read its parameters, run, and print one line of JSON with rows, a hash of their ids, seconds and memory."""
import hashlib
import json
import resource
import sys
import time


def measured(work, ids=None):
    "Run work(parameters) and print what it took; `ids` gives the ids of what it made, and without it `work` gives a number of rows."
    asked = json.loads(sys.argv[1])
    wall, cpu = time.perf_counter(), time.process_time()
    made = work(asked)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    told = sorted(map(str, ids(made))) if ids else []
    print(json.dumps({"rows": len(told) if ids else made, "hash": hashlib.sha256("\n".join(told).encode()).hexdigest(), "wall": wall, "cpu": cpu, "peak": peak}))
