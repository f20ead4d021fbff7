"""The published pydomo, told nothing but the address, gets from the sandbox what its world
holds."""

import json
import subprocess
from pathlib import Path

import pytest

from domostats import sandbox

pytestmark = pytest.mark.slow
CLIENT = Path(__file__).parent / "pydomo_client.py"


def test_the_users_of_the_world(peer, own_folder):
    with sandbox.start(seed=3, users=60) as box:
        told = subprocess.run(
            [peer("pydomo"), CLIENT, box.url.removeprefix("http://")],
            input=json.dumps(
                {"id": box.domo.client.client_id, "secret": box.domo.client.client_secret}
            ),
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert told.returncode == 0, told.stderr
        pages = json.loads(told.stdout.splitlines()[-1])["pages"]
        assert [len(page) for page in pages] == [25, 25, 9, 0]
        users = [user for page in pages for user in page]
        world = box.domo.data.world
        assert [(user["id"], user["email"]) for user in users] == [
            (world.user(n)["id"], world.user(n)["emailAddress"]) for n in range(1, 60)
        ]
        assert {call.status for call in box.log} == {200}
