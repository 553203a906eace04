"""Texts without the passwords that URLs in them carry: what is logged, printed or published goes through here."""

import re
from typing import Final

__all__ = ["without_passwords"]

_KEY: Final = re.compile(r"""(\b(?:ssl)?(?:password|passwd|pwd)\s?=\s?)[^\s&"'`;,]+""", re.IGNORECASE)
_WEB: Final = re.compile(r"""(https?:/{1,3}[^\s:/@"'`]*:)[^\s/@"'`]+(?=@)""", re.IGNORECASE)
# A database's password may hold / and @.
_DATABASE: Final = re.compile(r"""(\b(?!https?:)[a-z][a-z0-9+.-]*:/{1,3}[^\s:/@"'`]*:)[^\s"'`]+(?=@)""", re.IGNORECASE)


def without_passwords(text: str) -> str:
    """The text with *** for each password: `user:password@` of a URL, and `password=` as drivers take it."""
    for pattern in (_KEY, _WEB, _DATABASE):
        text = pattern.sub(r"\1***", text)
    return text
