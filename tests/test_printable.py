"""Which characters are escaped, compared with the categories and bidirectional classes of Unicode."""

import sys
import unicodedata

import pytest

from danlu.printable import printable, printable_lines

_CONTROL = {"Cc", "Cs", "Zl", "Zp"}
"""control characters, surrogates, line and paragraph separators"""
_EXPLICIT = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
"""classes of the characters that open and close a direction"""
_NOT_IN_XML = {"\ufffe", "\uffff"}


def test_exactly_control_characters_are_escaped():
    escaped = {one for one in map(chr, range(sys.maxunicode + 1)) if printable(one) != one}
    assert escaped - _NOT_IN_XML == {
        one
        for one in map(chr, range(sys.maxunicode + 1))
        if unicodedata.category(one) in _CONTROL or unicodedata.bidirectional(one) in _EXPLICIT
    }
    assert escaped >= _NOT_IN_XML
    for one in escaped:
        shown = printable(one)
        assert shown.isascii()
        assert shown.isprintable()
        assert shown.encode().decode("unicode_escape") == one
        assert printable_lines(one) == (one if one in "\n\t" else shown)


@pytest.mark.parametrize("name", ["", " ", "日本", "é\u00a0ö", "👩\u200d🔬", "\u200fעברית", "a\\b"], ids=ascii)
def test_other_names_are_unchanged(name):
    assert printable(name) == printable_lines(name) == name
