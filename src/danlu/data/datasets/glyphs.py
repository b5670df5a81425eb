"""Letters and digits, 28×28, drawn in the faces that matplotlib includes; nothing is downloaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, get_args

import torch
from jaxtyping import Float64, Int, UInt8
from torch import Tensor

from danlu.data.base.dataset import PARTS, DataSet, Part, PartName
from danlu.data.base.page import no_argument
from danlu.data.base.split import check_parts, part_sizes, refuse_unused_split
from danlu.data.base.split_settings import Split, part_fractions
from danlu.data.datasets.glyph_faces import FACES, Face, extremes, read_outlines, select_faces
from danlu.data.images.glyph_settings import ALPHABET, Family, Glyphs, Slant, Weight
from danlu.data.images.info import ImageInfo
from danlu.data.images.polygons import fill_polygons
from danlu.errors import UsageError
from danlu.rng.counter_based import bits, uniforms
from danlu.rng.keys import key
from danlu.storage.access import Access
from danlu.storage.available_memory import available_memory

SIDE = 28
"""height and width of an image in pixels"""
CAPITAL = 16.0
"""height of a capital in pixels, at scale 1"""
MARGIN = 1.0
"""width of the border that is always empty, in pixels"""
MIDDLE = 0.37
"""height above the baseline that is in the middle of an image, as a fraction of the height of a capital"""
CLASSES: dict[str, tuple[str, ...]] = {
    "character": tuple(ALPHABET),
    "case": ("digit", "upper", "lower"),
    "family": get_args(Family),
    "weight": get_args(Weight),
    "slant": get_args(Slant),
}
"""the values of each attribute, in the order of the classes"""
_BYTES = 2 * (SIDE**2 + 3 * 8)  # an example with its three numbers; chunks and the whole part exist at once
_CHUNK = 1024  # number of images that are drawn at once
_DRAWS = 8  # random numbers of an example, of which five are used


class Drawn(NamedTuple):
    """Drawn examples.

    Attributes:
        image: the images, as bytes.
        character: the character of each image, as its position in ``ALPHABET``.
        face: the face of each image, as its position in ``FACES``.
    """

    image: UInt8[Tensor, "n 1 28 28"]
    character: Int[Tensor, "n"]
    face: Int[Tensor, "n"]


def glyphs(
    argument: str = "", glyphs: Glyphs = Glyphs(), split: Split = Split(), access: Access | None = None
) -> DataSet:
    """Gray images of letters and digits, 28×28, with ink 1 on background 0, in 21 faces.

    Each part has its own faces, so that the faces of the validation part and of the test part are unseen (``FACES``).
    Besides ``image`` and ``label``, a part has the fields ``character`` and ``face``: positions in ``ALPHABET`` and in
    ``FACES``, from which ``attribute`` computes all attributes.

    Args:
        argument: must be empty.
        glyphs: the characters and faces, how they are drawn, and the label.
        split: fractions of the parts; there is no seed, because the faces of the parts are given.
        access: receives the progress.

    Raises:
        UsageError: if a part has no face that the settings select, or the images do not fit in memory.
        RunError: if matplotlib does not have a font file.

    >>> data = glyphs(glyphs=Glyphs(examples=100))
    >>> len(data.train), len(data.validation), len(data.test), data.info.shape, data.info.classes
    (70, 10, 20, (1, 28, 28), 62)
    """
    no_argument("glyphs", argument)
    refuse_unused_split(split, "seed", "the parts of glyphs have given faces")
    fractions = part_fractions(split)
    sizes = part_sizes(glyphs.examples, fractions)
    check_parts("glyphs", sizes, fractions)
    needed, free = glyphs.examples * _BYTES, available_memory()
    if needed > free:
        raise UsageError(
            f"{glyphs.examples:,} images need {needed:,} bytes of memory, and {free:,} are available; reduce "
            f"glyphs.examples",
            settings=("glyphs.examples",),
        )
    report = (access or Access()).progress
    drawn: list[Drawn] = []
    for part, size in zip(PARTS, sizes, strict=True):
        chunks: list[Drawn] = []
        for first in range(0, max(size, 1), _CHUNK):
            chunks.append(draw(torch.arange(first, min(first + _CHUNK, size)), part, glyphs))
            report("drawing glyphs", sum(len(other.face) for other in [*drawn, *chunks]), sum(sizes))
        drawn.append(Drawn(*map(torch.cat, zip(*chunks, strict=True))))
    return _data_set(drawn, glyphs)


def _data_set(drawn: Sequence[Drawn], glyphs: Glyphs) -> DataSet:
    """The data set of the examples of the three parts, with labels."""
    values = [attribute(glyphs.label, part.character, part.face) for part in drawn]
    names = _class_names(glyphs, [part for part, one in zip(PARTS, drawn, strict=True) if len(one.face)])
    classes = torch.tensor([CLASSES[glyphs.label].index(name) for name in names])
    parts = [
        Part(
            {
                "image": part.image,
                "label": torch.searchsorted(classes, value),
                "character": part.character,
                "face": part.face,
            }
        )
        for part, value in zip(drawn, values, strict=True)
    ]
    info = ImageInfo((1, SIDE, SIDE), classes=len(names), class_names=names)
    counts = ", ".join(f"{len(part.face.unique())} {name}" for name, part in zip(PARTS, drawn, strict=True))
    return DataSet("glyphs", info, *parts, notes=(f"faces: {counts}; no face is in two parts",))


def _class_names(glyphs: Glyphs, parts: Sequence[PartName]) -> tuple[str, ...]:
    """The values of the label that the selected characters and faces of the training part have.

    Raises:
        UsageError: if a face of another part has a value that none of the training part has.
    """
    label = glyphs.label
    if label == "character":
        return tuple(glyphs.alphabet)
    if label == "case":
        characters = torch.tensor([ALPHABET.index(one) for one in glyphs.alphabet])
        cases = attribute("case", characters, torch.zeros_like(characters))
        return tuple(CLASSES["case"][number] for number in cases.unique().tolist())
    known, *others = [{getattr(face, label) for face in select_faces(glyphs, part)} for part in parts]
    if unseen := set[str]().union(*others) - known:
        raise UsageError(
            f"glyphs.label={label}: the training part has only {' and '.join(sorted(known))} faces, and another part "
            f"has {' and '.join(sorted(unseen))} ones; choose other faces",
            settings=("glyphs.label",),
        )
    return tuple(name for name in CLASSES[label] if name in known)


def attribute(name: str, character: Int[Tensor, "n"], face: Int[Tensor, "n"]) -> Int[Tensor, "n"]:
    """An attribute of each example: its position in ``CLASSES[name]``.

    Args:
        name: character, case, family, weight or slant.
        character: the characters, as positions in ``ALPHABET``.
        face: the faces, as positions in ``FACES``.

    >>> attribute("case", torch.tensor([0, 10, 36]), torch.tensor([0, 0, 0]))
    tensor([0, 1, 2])
    """
    if name == "character":
        return character
    if name == "case":
        values = [0 if c.isdigit() else 1 if c.isupper() else 2 for c in ALPHABET]
        return torch.tensor(values)[character]
    return torch.tensor([CLASSES[name].index(getattr(one, name)) for one in FACES])[face]


def draw(
    index: Int[Tensor, "n"], part: PartName, glyphs: Glyphs = Glyphs(), faces: Sequence[Face] | None = None
) -> Drawn:
    r"""Draw examples of a part, each as a function of its index and of the settings.

    Consecutive indices, as many as there are characters, have each character once. Face, rotation, scale and shift are
    independent and uniform. A point (x, y) of an outline, in units of the height of a capital, is drawn at

    .. math:: \tfrac{28}{2} + t + 16 \, s R_\theta \, (x, \; 0.37 - y)

    with x from the center of the character and y above the baseline. The scale s is reduced where the character would
    not fit inside of the border of one pixel, and the shift t is limited so that it stays there. A pixel is the
    fraction of its area that the character covers, in 256 levels.

    Character, rotation, scale and shift do not depend on the face, except for these limits: the same index with other
    faces is the same character in another style.

    Args:
        index: numbers of the examples.
        part: the part, whose random numbers are independent of those of other parts.
        glyphs: the characters and faces, and how they are drawn.
        faces: the faces to choose from; by default those of the part that the settings select.

    Raises:
        UsageError: if the part has no such face.
        RunError: if matplotlib does not have a font file.

    >>> bold, regular = (draw(torch.arange(9), "train", Glyphs(weight=weight)) for weight in ("bold", "regular"))
    >>> bold.character.equal(regular.character), bold.image.equal(regular.image)
    (True, False)
    """
    if not len(index):  # a part without examples may have no face
        faces = FACES[:1]
    elif faces is None:
        faces = _faces_of(glyphs, part)
    elif not faces:
        raise UsageError("faces is empty; give at least one face, or leave it out")
    character = _characters(index, part, glyphs.alphabet)
    u = uniforms(key("glyphs", part), index[:, None] * _DRAWS + torch.arange(5), torch.float64)
    chosen = (u[:, 0] * len(faces)).long()
    edges, owner = _outlines(faces, chosen, character)
    image = fill_polygons(_placed(edges, owner, u[:, 1:], glyphs), owner, len(index), (SIDE, SIDE))
    numbers = torch.tensor([FACES.index(face) for face in faces])
    return Drawn((image * 255).round_().to(torch.uint8).unsqueeze(1), character, numbers[chosen])


def _faces_of(glyphs: Glyphs, part: PartName) -> tuple[Face, ...]:
    if faces := select_faces(glyphs, part):
        return faces
    names = [name for name in ("family", "weight", "slant") if getattr(glyphs, name) != "all"]
    wanted = " and ".join(f"{name} {getattr(glyphs, name)}" for name in names)
    remedy = f"set split.{part} to 0, or " if part != "train" else ""
    settings = tuple(f"glyphs.{name}" for name in names)
    raise UsageError(
        f"glyphs: the {part} part has no face of {wanted}; {remedy}choose other faces",
        settings=(*settings, f"split.{part}=0") if part != "train" else settings,
    )


def _characters(index: Int[Tensor, "n"], part: PartName, alphabet: str) -> Int[Tensor, "n"]:
    """The characters: a random permutation of the alphabet in each block of indices."""
    size = len(alphabet)
    blocks, block = (index // size).unique(return_inverse=True)
    order = bits(key("glyph characters", part), blocks[:, None] * size + torch.arange(size)).argsort(1)
    return torch.tensor([ALPHABET.index(character) for character in alphabet])[order[block, index % size]]


def _outlines(
    faces: Sequence[Face], chosen: Int[Tensor, "n"], character: Int[Tensor, "n"]
) -> tuple[Float64[Tensor, "edges 2 2"], Int[Tensor, "edges"]]:
    """The edges of the characters, and the example that each edge belongs to."""
    outlines = [read_outlines(face.name) for face in faces]
    sizes = torch.tensor([len(outline.edges) for outline in outlines])
    first = torch.stack([outline.first for outline in outlines]) + (sizes.cumsum(0) - sizes)[:, None]
    count = torch.stack([outline.counts for outline in outlines])[chosen, character]
    owner = torch.arange(len(chosen)).repeat_interleave(count)
    within = torch.arange(len(owner)) - (count.cumsum(0) - count)[owner]
    return torch.cat([outline.edges for outline in outlines])[first[chosen, character][owner] + within], owner


def _placed(
    edges: Float64[Tensor, "edges 2 2"], owner: Int[Tensor, "edges"], u: Float64[Tensor, "n 4"], glyphs: Glyphs
) -> Float64[Tensor, "edges 2 2"]:
    """The edges in pixels: rotated, scaled and shifted by the random numbers of each example, inside of the margin."""
    angle = math.radians(glyphs.rotate) * (2 * u[:, 0] - 1)
    cos, sin = (CAPITAL * angle.cos())[owner, None], (CAPITAL * angle.sin())[owner, None]
    x, y = edges[..., 0], MIDDLE - edges[..., 1]
    turned = torch.stack([cos * x + sin * y, cos * y - sin * x], dim=-1)
    low, high = (extremes(turned[:, 0], owner, len(u), which) for which in ("amin", "amax"))
    smallest, largest = glyphs.scale
    room = SIDE - 2 * MARGIN
    scale = torch.minimum(smallest + (largest - smallest) * u[:, 1:2], room / (high - low).amax(1, keepdim=True))
    shift = SIDE * glyphs.translate * (2 * u[:, 2:] - 1)
    shift = shift.clamp(-room / 2 - low * scale, room / 2 - high * scale)
    return (turned * scale[owner, None]) + (SIDE / 2 + shift)[owner, None]
