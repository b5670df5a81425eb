"""The English of Python's manual, embedded in Python."""

from __future__ import annotations

from danlu.data.base.dataset import DataSet
from danlu.data.base.page import no_argument
from danlu.data.base.split import Split
from danlu.data.text.corpus import refuse_unused_encoding, split_text
from danlu.data.text.settings import Text
from danlu.data.text.text_files import document
from danlu.storage.access import Access

_PLAIN = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "..."})


def pydoc(argument: str = "", text: Text = Text(), split: Split = Split(), access: Access | None = None) -> DataSet:
    """The English of Python's own manual, about half a million characters, as ``help("topics")`` shows it: embedded.

    The signs of ASCII alone are kept, quotation marks and dashes as their plain forms. It is another text in another
    version of Python; the fingerprint of the data says which it is.

    Args:
        argument: must be empty.
        text: how to tokenize it.
        split: shares of the parts.
        access: has the cache.

    >>> data = pydoc()
    >>> data.tokenizer.decode(data.train["token"][:20])
    'The "assert" stateme'
    """
    no_argument("pydoc", argument)
    refuse_unused_encoding("pydoc", text)
    from pydoc_data.topics import topics

    manual = "\n".join(topics[name].strip("\n") + "\n" for name in sorted(topics)).translate(_PLAIN)
    plain = "".join(sign for sign in manual if sign == "\n" or (sign.isascii() and sign.isprintable()))
    return split_text("pydoc", [document("pydoc", plain.encode())], text, split, access or Access())
