"""What the tests of Comotion Dash share: the way to a sandbox, a table of one's own, a load, the
browser of a person, and the blocks of the guide of the published SDK."""

import contextlib
import secrets
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT

from domostats import dash, sandbox
from domostats.clients.dash.auth import sign_in
from domostats.loading.dash import config as configs


@pytest.fixture
def config(box):
    "The way to the sandbox of a test, signed in."
    return dash.DashConfig(sign_in(box))


@pytest.fixture
def table():
    "The name of a table that no other test has."
    return f"t_{secrets.token_hex(6)}x"


def refresh(box):
    "A sandbox that serves a whole file as it was at its beginning, but for its tables; gives it."
    box.heal()
    box.clock.step(time.time() - box.clock.now())  # a test has let tokens end
    box.latency = 0
    box.log.clear()
    return box


def let_in(box, monkeypatch):
    "Let this folder know the organisation of a sandbox, with an application that may sign in."
    section = f"[instance.dash-lake]\nurl = {box.url}\norgname = {box.org}\n"
    Path("settings.ini").write_text(f"[domostats]\n{section}issuer = {box.url}\n")
    monkeypatch.setenv("DOMOSTATS_DASH_CLIENT_ID", box.client_id)
    monkeypatch.setenv("DOMOSTATS_DASH_CLIENT_SECRET", str(box.client_secret.reveal()))


def new_load(config, table="ages", **options):
    "A load of a table whose rows are counted."
    chosen = {"load_as_service_client_id": "0", "track_rows_uploaded": True}
    return dash.Load(config, **{"table_name": table, **chosen, **options})


BROWSER = """
import sys
import requests

address = sys.argv[1]
for before, after in zip(sys.argv[2::2], sys.argv[3::2]):
    address = address.replace(before, after)
requests.get(address, timeout=30)
"""


def browser(*changes):
    "Settings under which a script is the browser of the system; it changes the address first."
    Path("browser.py").write_text(BROWSER)
    words = " ".join([sys.executable, str(Path("browser.py").resolve()), "%s", *changes])
    return {"BROWSER": words, "DISPLAY": ":1"}


# --- the guide of the published SDK ---

BLOCKS = {one: ROOT / "tests" / "fixtures" / one for one in ("dash", "dash_v1")}
ORGANISATIONS = "my_org_name", "my_dash_orgname", "myorgname"  # of its examples


def block(folder, name):
    "A block of the guide, word for word."
    (path,) = BLOCKS[folder].glob(f"[0-9][0-9]_{name}.txt")
    return path.read_text(encoding="utf-8")


class Guide:
    "The blocks of a folder, and a sandbox for each organisation of the examples (`boxes`)."

    def __init__(self, folder, boxes):
        self.folder = folder
        self.boxes = boxes

    def run(self, name, names, edits=(), before=""):
        """Run a block, after the edits that a user has to make: the imports, and `edits` of what is
        no Python or an address of the example; `before` stands in front of it. Gives its names."""
        code = block(self.folder, name).replace("from comotion import", "from domostats import")
        code = code.replace("comotion.dash", "domostats.dash")
        code = code.replace("comotion.auth", "domostats.dash")
        for old, new in edits:
            assert code.count(old) == 1
            code = code.replace(old, new)
        exec(compile(before + code, f"block {name}", "exec"), names)
        return names


@contextlib.contextmanager
def guide_of(folder, monkeypatch):
    "The guide, in a folder that knows its organisations and has the application that signs in."
    monkeypatch.setattr(configs, "_configs", [])
    with contextlib.ExitStack() as stack:
        boxes = {org: stack.enter_context(sandbox.start_dash(org=org)) for org in ORGANISATIONS}
        lines = ["[domostats]"]
        for n, (org, box) in enumerate(boxes.items()):
            lines += [f"[instance.dash-{n}]", f"url = {box.url}", f"orgname = {org}"]
            lines += [f"issuer = {box.url}"]
        Path("settings.ini").write_text("\n".join(lines))
        one = boxes["my_org_name"]
        for box in boxes.values():
            box.realm.applications[one.client_id] = one.client_secret
        monkeypatch.setenv("DOMOSTATS_DASH_CLIENT_ID", one.client_id)
        monkeypatch.setenv("DOMOSTATS_DASH_CLIENT_SECRET", str(one.client_secret.reveal()))
        monkeypatch.setattr("getpass.getpass", lambda prompt: str(one.api_key.reveal()))
        yield Guide(folder, boxes)
