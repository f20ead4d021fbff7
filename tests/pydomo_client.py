"""What the published pydomo gets from an address: python pydomo_client.py HOST:PORT, and on its
input {"id": ..., "secret": ...}. Prints one line of JSON."""

import json
import sys

from pydomo import Domo

if __name__ == "__main__":
    asked = json.load(sys.stdin)
    domo = Domo(
        asked["id"],
        asked["secret"],
        api_host=sys.argv[1],
        use_https=False,
        request_timeout=20,
        scope=["user"],
    )
    pages = [domo.users.list(25, offset) for offset in (0, 25, 50, 75)]
    print(json.dumps({"pages": pages}))
