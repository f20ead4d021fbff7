"""A sandbox of Comotion Dash at the vendor's own addresses, over TLS, for programs that know no
others: nothing of the program changes, only what surrounds it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme

from domostats.sandbox.server import Server, make_app
from domostats.secrets import Secret

REBOUND = Path(__file__).parent / "rebound"
IDENTITY = "https://auth.comotion.us"


def vendor_hosts(org):
    "The hosts at which an organisation finds the service."
    api = f"{org}.api.comodash.io"
    daily = [f"api.{org}.{suffix}" for suffix in ("comodash.io", "comodash.com")]
    return ["auth.comotion.us", "api.comodash.io", api, f"main.{api}", *daily]


def make_front(box):
    "The web application of a sandbox that is called by the names of the vendor's hosts."
    app, hosts = make_app(box.service, Secret("front")), vendor_hosts(box.org)

    async def front(scope, receive, send):
        headers = dict(scope["headers"])
        assert headers.pop(b"host").decode() in hosts
        here = {**headers, b"host": b"127.0.0.1"}
        await app({**scope, "headers": [*here.items()]}, receive, send)

    return front


@contextmanager
def vendor_addresses(box, folder: Path) -> Iterator[dict[str, str]]:
    """Let this sandbox answer at the vendor's addresses; gives the whole environment for a program
    that is to find it there. Authority, key store and home of the program are in `folder`."""
    authority = trustme.CA()
    certificate = authority.issue_cert(*vendor_hosts(box.org))
    trusted, held = folder / "authority.pem", folder / "certificate.pem"
    authority.cert_pem.write_to_path(trusted)
    certificate.private_key_and_cert_chain_pem.write_to_path(held)
    server = Server(make_front(box), certificate=held)
    box.service.answer_at(IDENTITY, box.store.url)
    try:
        yield {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "TZ": "UTC",
            "PYTHONPATH": str(REBOUND),
            "STAND_IN": server.url.rpartition(":")[2],
            "SSL_CERT_FILE": str(trusted),
            "REQUESTS_CA_BUNDLE": str(trusted),
            "AWS_ENDPOINT_URL_S3": box.store.url,
            "AWS_DEFAULT_REGION": "eu-west-1",
            "PYTHON_KEYRING_BACKEND": "key_file.KeyFile",
            "KEY_FILE": str(folder / "keys.json"),
            "BROWSER": f"{sys.executable} {REBOUND / 'browser.py'} %s &",
        }
    finally:
        server.stop()
        box.service.answer_at(box.url, box.store.url)
