"""Texts without the passwords that URLs in them carry: what is logged, printed or published goes through here."""

import re
from typing import Final

# As drivers and libpq take them, percent-encoded or not, alone or within `options`; up to the end of a text in JSON.
_KEY: Final = re.compile(
    r"""((?:pass(?:word|wd|file|phrase)|pwd|secret|(?:client|server)_key)(?:\s|%20|\+)*(?:=|%3d)(?:\s|%20|\+)*)"""
    r"""(?:'(?:[^'"\\]|\\.)*'|(?:\\.|[^\s&"`\\])+)""",
    re.IGNORECASE,
)
_WEB: Final = re.compile(r"""(https?:/{1,3}[^\s:/@"'`]*:)[^\s/@"'`]+(?=@)""", re.IGNORECASE)
# A database's password may hold / and @.
_DATABASE: Final = re.compile(r"""(\b(?!https?:)[a-z][a-z0-9+.-]*:/{1,3}[^\s:/@"'`]*:)[^\s"'`]+(?=@)""", re.IGNORECASE)


def without_passwords(text: str) -> str:
    """The text with *** for each password: `user:password@` of a URL, and `password=` as drivers take it."""
    for pattern in (_KEY, _WEB, _DATABASE):
        text = pattern.sub(r"\1***", text)
    return text
