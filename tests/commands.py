"""The command line in a process of its own, without the second that its imports take.

A server imports what every command needs, and nothing else; each command is a fork of it, with the
folder, the environment and the words of whoever asks. It ends as any process does: its threads
are waited for, what is to be done at the end is done, and all is written.
"""

import json
import os
import selectors
import subprocess
import sys
import tempfile
from pathlib import Path

PRELOAD = Path(__file__).resolve().parent.parent / "tools" / "preload.py"
PATIENCE = 180  # seconds for one command
# the libraries of the oldest Python end a fork that uses them in an abort
CAN_FORK = hasattr(os, "fork") and sys.version_info >= (3, 11)

SERVER = """
import atexit, json, os, runpy, sys, threading, time

runpy.run_path(sys.argv[1])["preload"]()
while asked := json.loads(sys.stdin.readline() or "null"):
    child = os.fork()
    if not child:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
if asked:
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    time.tzset()
    for number, path in enumerate((os.devnull, *asked["said"])):
        file = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    sys.path[0] = os.getcwd()
    sys.argv = ["domostats", *asked["words"]]
    try:
        runpy.run_module("domostats", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if not isinstance(end.code, int):
            raise
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code)  # to take all modules apart would take longer than most commands
"""

servers: list[subprocess.Popen] = []


def run(*words, environment: dict | None = None) -> tuple[int, str, str]:
    "Run a command here, with these variables besides; gives its exit code and what it said."
    words = [str(word) for word in words]
    environment = {**os.environ, **(environment or {})}
    if not CAN_FORK:
        command = [sys.executable, "-m", "domostats", *words]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, env=environment
        )
        return done.returncode, done.stdout, done.stderr
    if not servers:
        servers.append(
            subprocess.Popen(
                [sys.executable, "-c", SERVER, PRELOAD],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    with tempfile.TemporaryDirectory() as folder:
        said = [Path(folder) / name for name in ("out", "err")]
        asked = {"folder": str(Path.cwd()), "environment": environment, "words": words}
        line = json.dumps({**asked, "said": [str(path) for path in said]})
        server = servers[0]
        print(line, file=server.stdin, flush=True)
        with selectors.DefaultSelector() as answer:  # `select` knows the first thousand files only
            answer.register(server.stdout, selectors.EVENT_READ)
            is_there = answer.select(PATIENCE)
        if not is_there:
            servers.remove(server)
            server.kill()
            raise subprocess.TimeoutExpired(words, PATIENCE)
        code = int(server.stdout.readline())
        return code, *(path.read_text(encoding="utf-8", errors="replace") for path in said)
