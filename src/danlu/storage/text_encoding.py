"""How the text of a file is written as bytes, by the names that Python has for it."""

from __future__ import annotations

import codecs
from encodings.aliases import aliases

from danlu.errors import UsageError, nearest

USUAL = "utf-8, latin-1 and cp1252 are the usual ones"
_ALIKE = bytes(range(32, 127)).replace(b"\\", b"") + b"\t\r\n\\u0041\x1b$B"
"""what must be itself, for files are cut into lines before their text is known; the end is an escape to some"""


def encoding_of(name: str) -> str:
    """The one name of an encoding in which the signs of ASCII are bytes of their own.

    >>> encoding_of("UTF8"), encoding_of("latin1")
    ('utf-8', 'iso8859-1')
    >>> encoding_of("utf-9")
    Traceback (most recent call last):
    danlu.errors.UsageError: there is no encoding 'utf-9'; did you mean 'utf-8'?

    Raises:
        UsageError: if there is none of this name, or it writes ASCII in another way.
    """
    try:
        found = codecs.lookup(name).name
    except (LookupError, ValueError):
        hint = nearest(name.lower(), _NAMES)
        raise UsageError(f"there is no encoding {name!r}; {hint if hint.endswith('?') else USUAL}") from None
    try:
        alike = _ALIKE.decode(found) == _ALIKE.decode("ascii")
    except (LookupError, ValueError):  # some are no text at all, base64 for instance
        alike = False
    if not alike:
        raise UsageError(f"{name!r} does not write commas and digits as ASCII does; save the file in UTF-8; {USUAL}")
    return found.removesuffix("-sig")  # a byte-order mark is looked for anyway


_NAMES = {name.replace("_", "-") for name in (*aliases, *aliases.values())} | {"latin-1"}
