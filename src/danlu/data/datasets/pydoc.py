"""The text of Python's manual, which is part of Python."""

from __future__ import annotations

from danlu.data.base.dataset import DataSet
from danlu.data.base.page import no_argument
from danlu.data.base.split_settings import Split
from danlu.data.text.corpus import refuse_unused_encoding, split_text
from danlu.data.text.settings import Text
from danlu.data.text.text_files import document
from danlu.storage.access import Access

_ASCII = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "..."})


def pydoc(argument: str = "", text: Text = Text(), split: Split = Split(), access: Access | None = None) -> DataSet:
    """The text of Python's manual, about half a million characters, as shown by ``help("topics")``.

    Only ASCII characters are kept; typographic quotation marks and dashes are replaced by ASCII characters. The text
    depends on the version of Python; the fingerprint of the data identifies it.

    Args:
        argument: must be empty.
        text: how the text is tokenized.
        split: fractions of the parts.
        access: has the cache.

    >>> data = pydoc()
    >>> data.tokenizer.decode(data.train["token"][:20])
    'The "assert" stateme'
    """
    no_argument("pydoc", argument)
    refuse_unused_encoding("pydoc", text)
    from pydoc_data.topics import topics

    manual = "\n".join(topics[name].strip("\n") + "\n" for name in sorted(topics)).translate(_ASCII)
    plain = "".join(char for char in manual if char == "\n" or (char.isascii() and char.isprintable()))
    return split_text("pydoc", [document("pydoc", plain.encode())], text, split, access or Access())
