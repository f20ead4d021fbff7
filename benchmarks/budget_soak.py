"""Four processes of ten threads share 600 calls a minute, in real time; one of them meets a 429.

python benchmarks/budget_soak.py --minutes 3

The server runs here, on a loopback port, and writes down when each call arrives. Exit code 1 if a
bound is passed."""

import argparse
import http.client
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from domostats.transport.budget import Budget

PER_MINUTE, PROCESSES, THREADS, RETRY_AFTER, GRACE = 600, 4, 10, 15, 0.5


def work(name, port, folder, start, end):
    """One process: ten threads that call as fast as the budget lets them; prints the worst waits
    before and after the 429."""
    budget = Budget("soak", per_minute=PER_MINUTE, folder=folder)

    def thread(_):
        con, worst, met = http.client.HTTPConnection("127.0.0.1", port, timeout=60), 0.0, 0
        time.sleep(max(0.0, start - time.time()))
        while time.time() < end:
            worst = max(worst, budget.reserve())
            con.request("GET", "/", headers={"X-Process": name})
            reply = con.getresponse()
            reply.read()
            if reply.status == 429:
                met += 1
                budget.not_before(float(reply.headers["Retry-After"]))
        con.close()
        return worst, met

    with ThreadPoolExecutor(THREADS) as threads:
        found = list(threads.map(thread, range(THREADS)))
    print(
        json.dumps({"worst": max(worst for worst, _ in found), "met": sum(met for _, met in found)})
    )


def serve(stop_at):
    """A server that answers 429 once, to the first call after `stop_at`; (server, arrivals as
    (time, process), times of a 429)."""
    arrivals, refused, lock = [], [], threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            at = time.time()
            with lock:
                arrivals.append((at, self.headers["X-Process"]))
                refuse = at >= stop_at and not refused
                if refuse:
                    refused.append(at)
            if not refuse:
                time.sleep(random.uniform(0, 0.2))
            self.send_response(429 if refuse else 200)
            if refuse:
                self.send_header("Retry-After", str(RETRY_AFTER))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, arrivals, refused


def busiest(times):
    "The most calls in any one second."
    most = first = 0
    for last, time_ in enumerate(times):
        while times[first] <= time_ - 1:
            first += 1
        most = max(most, last - first + 1)
    return most


def judge(arrivals, refused, start, minutes):
    "Print what happened; the bounds that were passed."
    arrivals = sorted(arrival for arrival in arrivals if start <= arrival[0] < start + 60 * minutes)
    times, failed, touched = [at for at, _ in arrivals], [], set()
    if refused:
        touched = {int((at - start) // 60) for at in (refused[0], refused[0] + RETRY_AFTER)}
        early = sum(refused[0] + GRACE < at < refused[0] + RETRY_AFTER for at in times)
        after = [at - refused[0] - RETRY_AFTER for at in times if at >= refused[0] + RETRY_AFTER]
        failed += [f"{early} calls while the 429 held"] * bool(early) + [
            "no call after the 429"
        ] * (not after)
    per_minute = Counter(int((at - start) // 60) for at in times)
    print("minute   calls   of the budget   busiest second")
    for minute in range(minutes):
        calls = per_minute[minute]
        seconds = busiest([at for at in times if int((at - start) // 60) == minute])
        print(
            f"{minute + 1:>6}   {calls:>5}   {calls / PER_MINUTE:>13.1%}   {seconds:>14}"
            + ("   429" if minute in touched else "")
        )
        failed += [f"minute {minute + 1}: {calls} calls"] * (calls > PER_MINUTE)
        failed += [f"minute {minute + 1}: only {calls} calls"] * (
            minute not in touched and calls < 0.95 * PER_MINUTE
        )
    shares = Counter(name for _, name in arrivals)
    print(
        f"busiest second {busiest(times)}; per process {min(shares.values())} to "
        f"{max(shares.values())} calls"
    )
    if refused:
        print(
            f"429 at second {refused[0] - start:.1f}: {early} calls while it held, "
            f"the next {min(after, default=float('nan')):.2f} s after it, "
            f"{sum(at < 1 for at in after)} in its first second"
        )
    failed += [f"a second with {busiest(times)} calls"] * (busiest(times) > 2 * PER_MINUTE / 60)
    failed += ["a process starved"] * (
        len(shares) < PROCESSES or min(shares.values()) < 0.6 * len(times) / PROCESSES
    )
    return failed + ["no 429 was met"] * (not refused)


def main(minutes):
    start = (time.time() + 5) // 60 * 60 + 60
    end = start + 60 * minutes
    server, arrivals, refused = serve(start + 30 * minutes)
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            __file__,
            "--port",
            str(server.server_port),
            "--folder",
            folder,
            "--start",
            str(start),
            "--end",
            str(end),
            "--process",
        ]
        workers = [
            subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, text=True)
            for number in range(PROCESSES)
        ]
        try:
            told = [
                json.loads(worker.communicate(timeout=60 * minutes + 180)[0]) for worker in workers
            ]
        finally:
            for worker in workers:
                worker.kill()
    server.shutdown()
    failed = judge(arrivals, refused, start, minutes)
    print(
        f"worst wait {max(one['worst'] for one in told):.1f} s, the 429 of {RETRY_AFTER} s "
        f"included; met by {sum(one['met'] for one in told)} thread"
    )
    print("\n".join(f"FAILED: {one}" for one in failed) or "all bounds kept")
    return bool(failed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=int, default=3)
    for name, kind in {
        "process": str,
        "port": int,
        "folder": str,
        "start": float,
        "end": float,
    }.items():
        parser.add_argument(f"--{name}", type=kind, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.process is None:
        sys.exit(main(given.minutes))
    work(given.process, given.port, given.folder, given.start, given.end)
