"""Small data sets in the file format of MNIST."""

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np

from danlu.data.datasets.mnist_cifar import OfficialFiles
from danlu.storage import File


def idx(shape: tuple[int, ...], content: bytes) -> bytes:
    return b"\0\0\x08" + bytes([len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + content


def toy(folder: Path) -> OfficialFiles:
    """A small set in the same form, in a folder."""
    folder.mkdir(parents=True)
    files = []
    for name, shape in (
        ("train-images", (40, 2, 3)),
        ("train-labels", (40,)),
        ("t10k-images", (10, 2, 3)),
        ("t10k-labels", (10,)),
    ):
        values = np.arange(np.prod(shape)) % (10 if "labels" in name else 256)
        content = gzip.compress(idx(shape, values.astype(np.uint8).tobytes()), mtime=0)
        full = f"{name}-idx{len(shape)}-ubyte.gz"
        (folder / full).write_bytes(content)
        files.append(File(full, len(content), hashlib.sha256(content).hexdigest()))
    return OfficialFiles("toy", ("Toy/raw",), tuple(files), ())
