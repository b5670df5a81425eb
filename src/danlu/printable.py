r"""Text that is safe to print, to draw, and to write into pages: control characters are replaced by escapes.

Names of files, classes, columns and settings, and the tokens of a model, can contain any character. A terminal executes
escape sequences, a bidirectional override reverses the text after it, and neither XML nor UTF-8 can contain some of the
other characters.
"""

from __future__ import annotations

import re

# C0, DEL and C1; line and paragraph separator, bidirectional embeddings, overrides and isolates; unpaired surrogates
# (UTF-8 has none); two noncharacters (XML has none)
HIDDEN = re.compile("[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
"""the characters that are escaped"""


def printable(name: str) -> str:
    r"""A name in one line: control characters, also tabs and line breaks, are replaced by escapes as in Python.

    >>> print(printable("日本.png"), printable("two\nlines"), printable("\x1b[31mred"), printable("\u202egnp.exe"))
    日本.png two\nlines \x1b[31mred \u202egnp.exe
    """
    return HIDDEN.sub(_escape, name)


def printable_lines(text: str) -> str:
    r"""A text with all control characters except tabs and line breaks replaced by escapes.

    >>> print(printable_lines("one\n\x07two\rthree"))
    one
    \x07two\rthree
    """
    return HIDDEN.sub(lambda found: found[0] if found[0] in "\t\n" else _escape(found), text)


def _escape(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]
