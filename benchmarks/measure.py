"""What every measured script shares: its parameters, its clock, its one line of JSON. Standard
library only, it runs in the peers' environments too."""

import hashlib
import importlib
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path


def parameters():
    "The parameters of this script: the JSON object on its command line."
    return json.loads(sys.argv[1])


def read_pages(path, count=None):
    "Pages of a file, one JSON array a line: bytes, one after another, at most `count`."
    with open(path, "rb") as file:
        for n, page in enumerate(file):
            if n == count:
                return
            yield page


def cpu_seconds():
    "CPU seconds of this process, all its threads, and of its children that have ended."
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


class Clock:
    "Wall and CPU seconds of a `with` block: `seconds`, `cpu`."

    def __enter__(self):
        self.seconds, self.cpu = time.perf_counter(), cpu_seconds()
        return self

    def __exit__(self, *_):
        self.seconds, self.cpu = time.perf_counter() - self.seconds, cpu_seconds() - self.cpu


def fingerprint(rows):
    """How many rows there are and a hash of their key columns, in whatever order they come:
    `{rows, hash}`."""
    lines = sorted("\t".join(map(str, row)) for row in rows)
    return {"rows": len(lines), "hash": hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]}


def timed(work, pages):
    """What `work` makes of the pages, and the clock of that; the first page once before, so that
    what a library imports late is not counted."""
    work(pages[:1])
    with Clock() as clock:
        made = work(pages)
    return made, clock


def tell(rows, clock):
    "The one line that a script prints: rows, hash, seconds, cpu."
    print(json.dumps({**fingerprint(rows), "seconds": clock.seconds, "cpu": clock.cpu}))


def environment():
    """The environment of a measured script: this folder can be imported from, and loopback goes
    through no proxy."""
    path = os.pathsep.join(
        filter(None, [str(Path(__file__).resolve().parent), os.environ.get("PYTHONPATH")])
    )
    return {
        **os.environ,
        "PYTHONPATH": path,
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "RUNTIME__DLTHUB_TELEMETRY": "false",
    }


def run(python, script, **asked):
    "Run a script in a fresh process; gives the object on the last line it prints."
    done = subprocess.run(
        [python, script, json.dumps(asked)], capture_output=True, text=True, env=environment()
    )
    if done.returncode:
        raise RuntimeError(f"{Path(script).name} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def peak_rss():
    """The most memory this process has held, in bytes. Linux keeps it in /proc: `ru_maxrss` there
    begins with the peak of the parent (seen: 990 MB for a child that held 13). Elsewhere
    `ru_maxrss`, which macOS gives in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(
            int(line.split()[1]) * 1024
            for line in status.read_text().splitlines()
            if line.startswith("VmHWM:")
        )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def resident():
    "The memory that this process holds now, in bytes; the most it has held, where that is unknown."
    status = Path("/proc/self/status")
    if not status.exists():
        return peak_rss()
    lines = status.read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def peak(function_name, *args):
    """Run `MODULE:FUNCTION` with these arguments in a fresh child; gives `{value, rss, seconds,
    cpu}`, rss in bytes. Arguments and value are JSON."""
    return run(sys.executable, __file__, function=function_name, args=args)


if __name__ == "__main__":
    asked = parameters()
    module, name = asked["function"].split(":")
    function = getattr(importlib.import_module(module), name)
    with Clock() as clock:
        value = function(*asked["args"])
    print(
        json.dumps({"value": value, "rss": peak_rss(), "seconds": clock.seconds, "cpu": clock.cpu})
    )
