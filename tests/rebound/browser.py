"""A browser for BROWSER that opens one address and follows where it leads."""

import sys
import urllib.request

urllib.request.urlopen(sys.argv[1], timeout=60).read()
