"""A sandbox in a process of its own, for all clients: python benchmarks/server.py '{"users": 200000, "latency": 50}' prints where it is, and ends with its standard input."""
import json
import sys

from domostats import sandbox

asked = json.loads(sys.argv[1])
latency = asked.pop("latency", 0) / 1000
box = sandbox.start(**asked)
box.latency = latency
print(json.dumps({"url": box.url, "name": box.name, "token": box.access_token, "client_id": box.client_id, "client_secret": box.client_secret}), flush=True)
sys.stdin.read()
