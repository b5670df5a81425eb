"""The faces of the data set glyphs: the Latin fonts that matplotlib includes, their attributes, and their outlines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float64, Int
from torch import Tensor

from danlu.data.base.dataset import PartName
from danlu.data.images.glyph_settings import ALPHABET, Family, Glyphs, Slant, Weight
from danlu.errors import RunError

FLATNESS = 2e-3
"""maximum distance between a curve and its polygon, as a fraction of the height of a capital"""
_MOVE, _LINE, _CURVE, _CLOSE = 1, 2, 3, 79  # codes of matplotlib.path.Path


class Face(NamedTuple):
    """A face: its font file without the ending, the part that it belongs to, and its attributes."""

    name: str
    part: PartName
    family: Family
    weight: Weight
    slant: Slant


FACES = (
    Face("DejaVuSans", "train", "sans", "regular", "upright"),
    Face("DejaVuSans-Bold", "train", "sans", "bold", "upright"),
    Face("DejaVuSans-Oblique", "train", "sans", "regular", "italic"),
    Face("DejaVuSans-BoldOblique", "validation", "sans", "bold", "italic"),
    Face("DejaVuSerif", "train", "serif", "regular", "upright"),
    Face("DejaVuSerif-Bold", "train", "serif", "bold", "upright"),
    Face("DejaVuSerif-Italic", "train", "serif", "regular", "italic"),
    Face("DejaVuSerif-BoldItalic", "train", "serif", "bold", "italic"),
    Face("DejaVuSansMono", "train", "mono", "regular", "upright"),
    Face("DejaVuSansMono-Bold", "train", "mono", "bold", "upright"),
    Face("DejaVuSansMono-Oblique", "validation", "mono", "regular", "italic"),
    Face("DejaVuSansMono-BoldOblique", "train", "mono", "bold", "italic"),
    Face("cmr10", "validation", "serif", "regular", "upright"),
    Face("cmb10", "train", "serif", "bold", "upright"),
    Face("cmti10", "train", "serif", "regular", "italic"),
    Face("cmss10", "test", "sans", "regular", "upright"),
    Face("cmtt10", "test", "mono", "regular", "upright"),
    Face("STIXGeneral", "test", "serif", "regular", "upright"),
    Face("STIXGeneralBol", "test", "serif", "bold", "upright"),
    Face("STIXGeneralItalic", "test", "serif", "regular", "italic"),
    Face("STIXGeneralBolIta", "test", "serif", "bold", "italic"),
)
"""The faces and their parts.

No face of the test part has the design of a face of another part, as far as the weights and families allow it: the test
part has the Times of STIX, and the sans-serif and the monospaced face of Computer Modern. The validation part has a
Roman, and two oblique faces, which are sheared versions of faces of the training part. So each part has each family,
weight and slant, and the training part has each family in both weights.
"""


def select_faces(glyphs: Glyphs, part: PartName) -> tuple[Face, ...]:
    """The faces of a part that the settings select, in the order of ``FACES``.

    >>> [face.name for face in select_faces(Glyphs(family="sans"), "train")]
    ['DejaVuSans', 'DejaVuSans-Bold', 'DejaVuSans-Oblique']
    """
    selected = {name: getattr(glyphs, name) for name in ("family", "weight", "slant")}
    return tuple(
        face
        for face in FACES
        if face.part == part and all(value in ("all", getattr(face, name)) for name, value in selected.items())
    )


class Outlines(NamedTuple):
    """Outlines of characters as polygons; capitals have the height 1, and the baseline is at y = 0, upwards.

    The characters are centered horizontally at x = 0.

    Attributes:
        edges: start and end of each edge as (x, y), of all characters one after the other.
        first: the first edge of each character of ``ALPHABET``.
        counts: number of edges of each character.
    """

    edges: Float64[Tensor, "edges 2 2"]
    first: Int[Tensor, "characters"]
    counts: Int[Tensor, "characters"]


@lru_cache(maxsize=len(FACES))
def read_outlines(name: str) -> Outlines:
    """The outlines of a face for each character of ``ALPHABET``.

    They are read in the units of the font file, where coordinates are integers, so they do not depend on the version of
    the library that reads them.

    Args:
        name: name of the face.

    Raises:
        RunError: if matplotlib does not have the font file.
    """
    from matplotlib import ft2font, get_data_path

    path = Path(get_data_path(), "fonts", "ttf", f"{name}.ttf")
    if not path.is_file():
        raise RunError(f"glyphs needs the font file {path}, which matplotlib includes; install matplotlib again")
    constants: Any = getattr(ft2font, "LoadFlags", None)  # up to matplotlib 3.9 the flags are constants
    if constants is None:
        flags: Any = ft2font.LOAD_NO_SCALE | ft2font.LOAD_IGNORE_TRANSFORM  # type: ignore[attr-defined]
    else:
        flags = constants.NO_SCALE | constants.IGNORE_TRANSFORM
    font = ft2font.FT2Font(str(path))
    paths = []
    for character in ALPHABET:
        font.load_char(ord(character), flags=flags)
        paths.append(font.get_path())
    capital = float(paths[ALPHABET.index("H")][0][:, 1].max())
    vertices = torch.cat([torch.from_numpy(points) for points, _ in paths]) / capital
    edges, vertex = _polygons(vertices, [code for _, codes in paths for code in codes.tolist()])
    last = torch.tensor([len(points) for points, _ in paths]).cumsum(0)
    owner = torch.searchsorted(last, vertex, right=True)
    low, high = (extremes(edges[:, 0, 0], owner, len(paths), which) for which in ("amin", "amax"))
    edges[..., 0] -= ((low + high) / 2)[owner, None]
    count = owner.bincount(minlength=len(paths))
    return Outlines(edges, count.cumsum(0) - count, count)


def extremes(
    values: Float64[Tensor, "values ..."], owner: Int[Tensor, "values"], owners: int, which: Literal["amin", "amax"]
) -> Float64[Tensor, "owners ..."]:
    """The smallest or the largest of the values of each owner.

    >>> extremes(torch.tensor([3.0, 1.0, 2.0]).double(), torch.tensor([0, 0, 1]), 2, "amin").tolist()
    [1.0, 2.0]
    """
    index = owner.view(-1, *[1] * (values.dim() - 1)).expand_as(values)
    empty = values.new_zeros(owners, *values.shape[1:])
    return empty.scatter_reduce(0, index, values, which, include_self=False)


def _polygons(
    vertices: Float64[Tensor, "vertices 2"], codes: Sequence[int]
) -> tuple[Float64[Tensor, "edges 2 2"], Int[Tensor, "edges"]]:
    r"""The edges of outlines, with curves as polygons.

    A quadratic Bézier curve is divided evenly in its parameter. The distance of the curve from n edges is at most
    :math:`|p_0 - 2 p_1 + p_2| / (4 n^2)`.

    Args:
        vertices: the points of paths of matplotlib, one path after the other.
        codes: the kind of each point: start of a contour, end of a line, control point and end of a curve, or end of a
            contour.

    Returns:
        The edges, and for each edge the number of a vertex of its outline.
    """
    start, control, end = vertices[torch.tensor(list(_segments(codes)))].unbind(1)
    straight = (control == start).all(1, keepdim=True)
    control = torch.where(straight, (start + end) / 2, control)
    bend = (start - 2 * control + end).norm(dim=1)
    count = (bend / (4 * FLATNESS)).sqrt().ceil().clamp(min=1).long()
    segment = torch.arange(len(count)).repeat_interleave(count)
    step = torch.arange(len(segment)) - (count.cumsum(0) - count)[segment]
    t = (torch.stack([step, step + 1], 1) / count[segment, None].double())[:, :, None]
    start, control, end = (points[segment, None] for points in (start, control, end))
    edges = (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end
    return edges, torch.tensor([first for first, _, _ in _segments(codes)])[segment]


def _segments(codes: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """The numbers of start, control point and end of each segment; a line has its start as control point."""
    begin = here = number = 0
    while number < len(codes):
        code = codes[number]
        if code not in (_MOVE, _LINE, _CURVE, _CLOSE):
            raise RunError(f"glyphs: an outline has a segment of the unknown kind {code}")
        control, number = number, number + (code == _CURVE)
        end = begin if code == _CLOSE else number
        if code == _MOVE:
            begin = number
        else:
            yield here, control if code == _CURVE else here, end
        here = end
        number += 1
