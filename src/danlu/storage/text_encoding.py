"""Names of text encodings."""

from __future__ import annotations

import codecs
from encodings.aliases import aliases

from danlu.errors import UsageError, nearest

COMMON = "common encodings: utf-8, latin-1, cp1252"
_ASCII = bytes(range(32, 127)).replace(b"\\", b"") + b"\t\r\n\\u0041\x1b$B"
"""bytes that an encoding must decode as ASCII does, because files are split into lines before they are decoded; the
last ones are an escape sequence in some encodings"""


def encoding_of(name: str) -> str:
    """The standard name of an encoding that contains ASCII.

    >>> encoding_of("UTF8"), encoding_of("latin1")
    ('utf-8', 'iso8859-1')
    >>> encoding_of("utf-9")
    Traceback (most recent call last):
    danlu.errors.UsageError: unknown encoding 'utf-9'; did you mean 'utf-8'?

    Raises:
        UsageError: if there is no encoding of this name, or it does not contain ASCII.
    """
    try:
        codec = codecs.lookup(name).name
    except (LookupError, ValueError):
        hint = nearest(name.lower(), _NAMES)
        raise UsageError(f"unknown encoding {name!r}; {hint if hint.endswith('?') else COMMON}") from None
    try:
        contains_ascii = _ASCII.decode(codec) == _ASCII.decode("ascii")
    except (LookupError, ValueError):  # some codecs are not text encodings, such as base64
        contains_ascii = False
    if not contains_ascii:
        raise UsageError(f"encoding {name!r} does not contain ASCII; save the file in UTF-8; {COMMON}")
    return codec.removesuffix("-sig")  # the readers remove a byte-order mark


_NAMES = {name.replace("_", "-") for name in (*aliases, *aliases.values())} | {"latin-1"}
