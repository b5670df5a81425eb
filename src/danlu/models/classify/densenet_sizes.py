"""Published sizes of the densely connected network, and the checks of a custom one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any, Literal, NamedTuple, get_args

from danlu.nn.dense import check_width, check_widths

Size = Literal[40, 100, 190, 250, 121, 161, 169, 201, "notes"]
Stem = Literal["7x7", "3x3"]
Layer = Literal["bottleneck", "basic", "notes"]


class Form(NamedTuple):
    """Configuration of a published network."""

    layer: Layer
    blocks: tuple[int, ...]
    growth: int
    width: int
    stem: Stem
    compression: float | None
    bottleneck: int = 4
    pool: bool = True


SIZES: dict[Size, Form] = {
    40: Form("basic", (12, 12, 12), 12, 16, "3x3", 1.0),
    100: Form("bottleneck", (16, 16, 16), 12, 24, "3x3", 0.5),
    190: Form("bottleneck", (31, 31, 31), 40, 80, "3x3", 0.5),
    250: Form("bottleneck", (41, 41, 41), 24, 48, "3x3", 0.5),
    121: Form("bottleneck", (6, 12, 24, 16), 32, 64, "7x7", 0.5),
    161: Form("bottleneck", (6, 12, 36, 24), 48, 96, "7x7", 0.5),
    169: Form("bottleneck", (6, 12, 32, 32), 32, 64, "7x7", 0.5),
    201: Form("bottleneck", (6, 12, 48, 32), 32, 64, "7x7", 0.5),
    "notes": Form("notes", (2, 2), 32, 32, "3x3", None, pool=False),
}


def channels_kept(form: Form, depth: int) -> int:
    """Channels after a transition."""
    return 2 * form.growth if form.compression is None else int(depth * form.compression)


def make_form(size: Size | None, parts: Mapping[str, Any]) -> Form:
    """The configuration of a size, with the given parts replaced."""
    if size is None:
        size = 100
    if size not in SIZES:
        raise ValueError(
            f"size={size!r} must be one of {', '.join(map(str, SIZES))}; for other networks give blocks and growth"
        )
    return SIZES[size]._replace(**{name: value for name, value in parts.items() if value is not None})


def check_form(form: Form) -> None:
    check_widths("blocks", form.blocks)
    for name in ("growth", "width", "bottleneck"):
        check_width(name, getattr(form, name))
    for name, value, known in (("layer", form.layer, get_args(Layer)), ("stem", form.stem, get_args(Stem))):
        if value not in known:
            raise ValueError(f"{name}={value!r} is unknown; choose one of {', '.join(known)}")
    if form.compression is not None and not 0 < form.compression <= 1:
        raise ValueError(f"compression={form.compression} must be greater than 0 and at most 1")
    if form.compression is not None and not channels_kept(form, form.width + form.blocks[0] * form.growth):
        raise ValueError(f"compression={form.compression} leaves no channels; use a larger compression or growth")


def output_sides(form: Form, shape: Sequence[int]) -> tuple[int, int]:
    """Height and width after the last block."""
    if len(shape) != 3:
        raise ValueError(f"shape={tuple(shape)} must be (channels, height, width): a DenseNet takes images")
    check_widths("shape", shape)
    height, width = (_output_side(form, n) for n in shape[1:])
    if not height or not width:
        least = next(n for n in count(1) if _output_side(form, n))
        hint = "stem='3x3' or fewer blocks" if form.stem == "7x7" else "fewer blocks"
        raise ValueError(
            f"an image of {shape[1]}×{shape[2]} is too small: "
            f"this network needs at least {least}×{least}; resize the images, or use {hint}"
        )
    return height, width


def _output_side(form: Form, n: int) -> int:
    """Height or width after the last block. The stem halves twice, rounding up; transitions halve, rounding down."""
    transitions = len(form.blocks) - (form.layer != "notes")
    return (-(-n // 4) if form.stem == "7x7" else n) // 2**transitions
