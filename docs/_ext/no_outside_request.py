"""Whoever opens a page asks nobody else: what a page loads lies beside it, or the build fails (warnings are errors)."""

import re
from html.parser import HTMLParser
from pathlib import Path

from sphinx.util import logging

_LOADS = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "object": "data",
}
_OUTSIDE = re.compile(r"\s*(https?:)?//", re.IGNORECASE)


class _Loads(HTMLParser):
    """What a page has loaded when it is shown; not where its links lead."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag in _LOADS:
            self.found += [values.get(_LOADS[tag])]
        elif (
            tag == "link"
            and "canonical" not in (values.get("rel") or "")
            and "alternate" not in (values.get("rel") or "")
        ):
            self.found += [values.get("href")]
        self.found += re.findall(r"url\(['\"]?([^'\")]+)", values.get("style") or "")


def outside_requests(folder):
    """(file, address) of everything that a page or a style sheet of a built site loads from elsewhere."""
    found = []
    for page in sorted(Path(folder).rglob("*.html")):
        parser = _Loads()
        parser.feed(page.read_text(encoding="utf-8"))
        found += [(page, address) for address in parser.found if address and _OUTSIDE.match(address)]
    for style in sorted(Path(folder).rglob("*.css")):
        text = style.read_text(encoding="utf-8", errors="replace")
        addresses = re.findall(r"(?:url\(\s*|@import\s+)['\"]?([^'\")\s;]+)", text)
        found += [(style, address) for address in addresses if _OUTSIDE.match(address)]
    return found


def setup(app):
    app.connect("build-finished", _check)
    return {"parallel_read_safe": True}


def _check(app, exception):
    if exception is None and app.builder.format == "html":
        for file, address in outside_requests(app.outdir):
            logging.getLogger(__name__).warning("%s loads %s from elsewhere", file.relative_to(app.outdir), address)
