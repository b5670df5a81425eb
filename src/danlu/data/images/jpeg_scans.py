"""The scans of a progressive JPEG file: a scan of few bytes can take as long as one of the whole image."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import BinaryIO

_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")  # one that begins a segment, or the end of the image
_SEQUENTIAL = {0xC0, 0xC1}  # with Huffman codes
_SCAN, _END = 0xDA, 0xD9
_START = 1 << 16
"""bytes of a file that are read first: they usually have the kind of coding"""
_MOST = 1 << 28
"""bytes of a file in which scans are counted: a larger one is not small"""


def count_scans(content: bytes) -> int:
    """The number of scans of the first image in a JPEG file.

    In a sequential file with Huffman codes the time of a scan is in proportion to its bytes, so its scans are not
    counted and the result is 1. In other files a few bytes can code zeros for the whole image.

    Args:
        content: the file, which may be damaged.

    Source: ITU-T T.81, Annex B (markers) and G.1.2.2 (the length of a band of zero blocks).

    >>> from io import BytesIO
    >>> from PIL import Image
    >>> file = BytesIO()
    >>> Image.new("RGB", (8, 8)).save(file, "JPEG", progressive=True)
    >>> count_scans(file.getvalue())
    10
    """
    scans = 0
    for marker in _markers(content):
        if marker in _SEQUENTIAL and scans == 0:  # a second kind is an error, but only after the scans before it
            return 1
        if marker == _END:
            break
        scans += marker == _SCAN
    return scans


def count_file_scans(file: BinaryIO) -> int:
    """The number of scans in a JPEG file, as ``count_scans``; of a large sequential file only the start is read.

    Args:
        file: the file; its position is changed.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(_START)
    kinds = {*_SEQUENTIAL, _SCAN, _END}
    if next((marker for marker in _markers(start) if marker in kinds), None) in _SEQUENTIAL:
        return 1
    return count_scans(start + file.read(max(0, min(size, _MOST) - len(start))))


def _markers(content: bytes) -> Iterator[int]:
    at = 2
    while found := _MARKER.search(content, at):
        marker, at = content[found.end() - 1], found.end()
        yield marker
        at += int.from_bytes(content[at : at + 2], "big")  # a segment begins with its length
