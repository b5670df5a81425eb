"""Descriptions of text from a file are checked."""

import pytest

from danlu.data.text.info import TextInfo


@pytest.mark.parametrize(("vocabulary", "tokens"), [(-1, "words"), (5, "sentences"), (-1, "sentences")])
def test_what_is_no_text_is_refused(vocabulary, tokens):
    TextInfo((), vocabulary=5, tokens="words").check()
    with pytest.raises(ValueError, match="text"):
        TextInfo((), vocabulary=vocabulary, tokens=tokens).check()
