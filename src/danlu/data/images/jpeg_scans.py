"""The scans of a progressive JPEG file: a scan of few bytes can take as long as one of the whole image."""

from __future__ import annotations

import re

_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")  # one that begins a segment, or the end of the image
_SEQUENTIAL = {0xC0, 0xC1}  # with Huffman codes
_SCAN, _END = 0xDA, 0xD9


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
    scans, at = 0, 2
    while found := _MARKER.search(content, at):
        marker, at = content[found.end() - 1], found.end()
        if marker in _SEQUENTIAL:
            return 1
        if marker == _END:
            break
        scans += marker == _SCAN
        at += int.from_bytes(content[at : at + 2], "big")  # a segment begins with its length
    return scans
