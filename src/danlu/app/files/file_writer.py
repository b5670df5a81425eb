"""How generated examples of a kind of data are written to files."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from torch import Tensor

from danlu.data.base.dataset import DataInfo

Form = Literal["grid", "folder", "table", "array", "sound"]


class ImageGrid(NamedTuple):
    """The images of an image grid, and the number of its columns.

    Attributes:
        images: (n, c, height, width) in the range of the data.
        columns: images in a row; None makes the grid nearly square.
        heads: text above each image; empty for none.
    """

    images: Tensor
    columns: int | None = None
    heads: Sequence[str] = ()


class FileWriter(NamedTuple):
    """The forms in which examples of a kind of data are written. ``data.kinds`` names one for each kind.

    Attributes:
        examples: the examples, for messages.
        forms: form for each ending of a file name; "/" is a folder. The first one is the default.
        endings: the endings, for messages.
        writable: whether examples of this shape can be written.
        content: bytes of a file, from form, examples (n, *shape), info, the image grid, and known numbers.
        files: bytes of the files of a folder, from examples and info; None if there is no such form.
        suffix: ending of the files of a folder.
        sampled_values: whether generated examples are drawn from the distribution of each value, not given by its mean.
    """

    examples: str
    forms: dict[str, Form]
    endings: str
    writable: Callable[[DataInfo], bool]
    content: Callable[[Form, Tensor, DataInfo, ImageGrid | None, np.ndarray | None], bytes]
    files: Callable[[Tensor, DataInfo], list[bytes]] | None = None
    suffix: str = ".png"
    sampled_values: bool = False

    @property
    def default(self) -> str:
        """The ending of the default form."""
        return next(iter(self.forms))


def npy(values: np.ndarray) -> bytes:
    """An array as the bytes of a .npy file."""
    content = io.BytesIO()
    np.save(content, values)
    return content.getvalue()
