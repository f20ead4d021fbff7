"""Install this project into the environment whose Python runs this, and say how far it is.

    python tools/install.py EXTRA      such as sandbox, notebook, docs or dev

pip is silent for minutes when its output is no terminal, and a wall of text when it is one. Here it
is a line for each step; in a terminal the last line moves, in a log there is one every ten seconds.
Needs nothing but Python and pip. What pip says is shown where it fails."""

import queue
import re
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).resolve().parent.parent
FETCHING = "Collecting|Downloading|Using cached|Processing"
EVERY = 10  # seconds between two lines about the same step where lines stay


class Progress:
    """One line for each step, to a terminal or to a log.

    `tell` says how far a step is: in a terminal the line is written over, in a log it is written
    again after `every` seconds. `finish` ends the step with a line that stays."""

    def __init__(
        self,
        out: TextIO,
        every: float = EVERY,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.out, self.every, self.clock = out, every, clock
        self.moves = out.isatty()
        self.told = clock()

    def tell(self, text: str) -> None:
        "Say how far it is."
        if self.moves:
            self.out.write(f"\r\033[K{text[:78]}")
            self.out.flush()
        elif self.clock() - self.told >= self.every:
            self.finish(text)

    def finish(self, text: str) -> None:
        "A line that stays."
        start = "\r\033[K" if self.moves else ""
        self.out.write(f"{start}{text}\n")
        self.out.flush()
        self.told = self.clock()


class Pip:
    "What pip has said so far, and how far it is by that."

    def __init__(self, site_packages: Path):
        self.site_packages = site_packages
        self.lines: list[str] = []
        self.found: set[str] = set()
        self.now = ""
        self.wanted = 0
        self.before = self.installed()

    def hear(self, line: str) -> None:
        "Take in a line of pip."
        self.lines.append(line)
        if match := re.match(rf"\s*(?:{FETCHING}) ([^\s;<>=!~\[(]+)", line):
            name = match[1].rpartition("/")[2]
            name = name.partition("-")[0] if name.endswith((".whl", ".gz")) else name
            self.now = name.lower().replace("_", "-")
            self.found.add(self.now)
        if line.startswith("Installing collected packages:"):
            self.wanted = line.count(",") + 1

    def installed(self) -> int:
        "How many packages are in the environment."
        return sum(1 for _ in self.site_packages.glob("*.dist-info"))

    @property
    def step(self) -> str:
        "How far it is, in words."
        if self.wanted:
            done = min(max(self.installed() - self.before, 0), self.wanted)
            return f"  unpacking: {done} of {self.wanted} packages"
        if self.found:
            return f"  fetching: {len(self.found)} packages so far, now {self.now}"
        return "  looking at what is needed"


def lines_of(stream: Iterable[str], pause: float) -> Iterable[str | None]:
    "The lines of a stream as they come; None where nothing came for a while."
    waiting: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in stream:
            waiting.put(line)
        waiting.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = waiting.get(timeout=pause)
        except queue.Empty:
            yield None
            continue
        if line is None:
            return
        yield line


def follow(command: list[str], pip: Pip, progress: Progress) -> int:
    "Run pip and say how far it is; gives its exit code."
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    assert process.stdout
    is_unpacking = False
    for line in lines_of(process.stdout, 0.5):
        if line is not None:
            pip.hear(line.rstrip())
        if pip.wanted and not is_unpacking:
            progress.finish(f"  fetched {pip.wanted} packages")
            is_unpacking = True
        progress.tell(pip.step)
    return process.wait()


def install(extra: str, out: TextIO) -> int:
    "Install the project with an extra; gives pip's exit code."
    version = ".".join(map(str, sys.version_info[:3]))
    progress, start = Progress(out), time.monotonic()
    progress.finish(f"setting up domostats[{extra}] in {Path(sys.prefix).name}, Python {version}")
    pip = Pip(Path(sysconfig.get_path("purelib")))
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
    command += ["--no-input", "--progress-bar", "off", "-e", f"{ROOT}[{extra}]"]
    code = follow(command, pip, progress)
    if code:
        progress.finish("pip could not install it. It said:")
        out.write("\n".join(pip.lines[-30:]) + "\n")
        out.write("Nothing is broken: mend what it names, and run the same command again.\n")
        return code
    progress.finish(f"  ready after {time.monotonic() - start:.0f} seconds")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        sys.exit(install(sys.argv[1], sys.stdout))
    except KeyboardInterrupt:
        print("\nstopped by Ctrl-C; the same command goes on")
        sys.exit(130)
