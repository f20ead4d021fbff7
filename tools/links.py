"""Check the pages of a built site: `python tools/links.py docs/_build/html`.

Each link within the site leads to a page that is there, and to a place on it that is there; no
page loads anything from another host. What is wrong is printed, one line each: exit code 1."""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {  # the attribute by which an element loads a file
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "embed": "src",
    "object": "data",
    "link": "href",
}
NOT_LOADED = {"next", "prev", "index", "search", "author", "copyright", "canonical", "alternate"}
OUTSIDE = re.compile(r"([a-z][a-z0-9+.-]*:)?//", re.I)


class Page(HTMLParser):
    "The places of a page, what it links to, and what it loads."

    def __init__(self, text: str):
        super().__init__()
        self.places: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.places |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        is_loaded = tag != "link" or not NOT_LOADED & {*found.get("rel", "").split()}
        if tag in LOADS and LOADS[tag] in found:
            (self.loaded if is_loaded else self.links).append(found[LOADS[tag]])
        if "srcset" in found:
            self.loaded += [one.split()[0] for one in found["srcset"].split(",") if one.strip()]
        self.loaded += in_styles(found.get("style", ""))

    def handle_data(self, data: str) -> None:
        if self.lasttag == "style":
            self.loaded += in_styles(data)


def in_styles(text: str) -> list[str]:
    "What a style sheet loads."
    return re.findall(r"""(?:url\(|@import)\s*["']?([^"')\s;]+)""", text)


def faults(folder: Path) -> list[str]:
    "What is wrong with the links of a site, a line each."
    found = [path for path in sorted(folder.rglob("*.html")) if path.parent.name != "_static"]
    pages = {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in found}
    found = []
    for path, page in pages.items():
        name = path.relative_to(folder.resolve())
        found += [f"{name}: {one}" for one in _faults_of(path, page, pages)]
    for path in sorted(folder.rglob("*.css")):
        for one in in_styles(path.read_text(encoding="utf-8")):
            if OUTSIDE.match(one):
                found.append(f"{path.relative_to(folder)}: loads {one}")
    return found


def _faults_of(path: Path, page: Page, pages: dict[Path, Page]) -> list[str]:
    found = [f"loads {one}" for one in page.loaded if OUTSIDE.match(one)]
    for link in dict.fromkeys([*page.links, *page.loaded]):
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        anchor = unquote(parts.fragment)
        if not target.is_file():
            found.append(f"{link} is not there")
        elif anchor and target in pages and anchor not in pages[target].places:
            found.append(f"{link}: there is no such place on that page")
    return found


if __name__ == "__main__":
    wrong = faults(Path(sys.argv[1]))
    print("\n".join(wrong) or "every link leads somewhere, and nothing is loaded from elsewhere")
    sys.exit(bool(wrong))
