"""A key store for the library `keyring`, named in PYTHON_KEYRING_BACKEND: a file of JSON."""

import json
import os
from pathlib import Path

from keyring.backend import KeyringBackend


class KeyFile(KeyringBackend):
    priority = 1

    def _held(self):
        path = Path(os.environ["KEY_FILE"])
        return json.loads(path.read_text()) if path.exists() else {}

    def get_password(self, service, username):
        return self._held().get(f"{service}|{username}")

    def set_password(self, service, username, password):
        held = {**self._held(), f"{service}|{username}": password}
        Path(os.environ["KEY_FILE"]).write_text(json.dumps(held))
