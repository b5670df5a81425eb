"""The style of the figures of a report, and their conversion to SVG and PNG; no state outlives a call.

Text in an SVG is text and not outlines, so a page can show it in its own font.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec
from xml.etree import ElementTree

import matplotlib
from matplotlib.figure import Figure

from danlu.errors import UsageError
from danlu.printable import printable
from danlu.storage.atomic import write_bytes

INK, QUIET, RULE, BLANK = "#262626", "#6a6a6a", "#deddd8", "#f1f0ec"
BLUE, VERMILION = "#0072b2", "#d55e00"  # from Okabe and Ito's palette, as the others
PLAYERS = (BLUE, "#cc79a7", "#009e73", "#56b4e9", "#e69f00")
WIDTH = 6.0
"""width of a figure in inches; on a page, the letters of the figure are then as large as the text"""
STYLE: dict[Any, Any] = {
    "font.family": ["sans-serif"],
    "font.size": 8,
    "text.color": INK,
    "text.usetex": False,  # a name of a class could be a command of LaTeX
    "text.parse_math": False,  # a class may be named $5
    "figure.facecolor": "none",
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.wspace": 0.04,
    "axes.facecolor": "none",
    "axes.edgecolor": QUIET,
    "axes.labelcolor": QUIET,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "legend.columnspacing": 1.8,
    "lines.linewidth": 1.2,
    "lines.solid_capstyle": "round",
}

P = ParamSpec("P")


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """A function that draws a figure in this style, from the same arguments with control characters escaped in names.

    An SVG cannot contain control characters, and matplotlib cannot draw unpaired surrogates.
    """

    @wraps(draw)
    def styled_draw(*args: P.args, **values: P.kwargs) -> Figure:
        with matplotlib.rc_context(STYLE):
            return draw(*map(_printable, args), **{name: _printable(value) for name, value in values.items()})  # type: ignore[arg-type]

    return styled_draw


def _printable(value: Any) -> Any:
    """A name, or names in tuples, lists and keys, with control characters escaped; other values unchanged."""
    if isinstance(value, str):
        return printable(value)
    if type(value) is dict:
        return {_printable(name): _printable(one) for name, one in value.items()}
    return type(value)(map(_printable, value)) if type(value) in (tuple, list) else value


def tick(value: float, place: int | None = None) -> str:
    """The label of a number at an axis: 0.25, 12k, 3·10⁻⁵.

    >>> [tick(value) for value in (0, 0.25, 12000, 3e-5, 1e7)]
    ['0', '0.25', '12k', '3·10⁻⁵', '10⁷']
    """
    size = abs(value)
    if size == 0 or 1e-3 <= size < 1e4:
        return f"{value:.4g}".replace("-", "\N{MINUS SIGN}")
    if 1e4 <= size < 1e6:
        return f"{value / 1000:.4g}k".replace("-", "\N{MINUS SIGN}")
    mantissa, exponent = f"{value:.2e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".").replace("-", "\N{MINUS SIGN}")
    power = "10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return power if mantissa == "1" else f"{mantissa}·{power}"


def to_svg(figure: Figure, name: str, label: str) -> str:
    """A figure as an SVG element of a page.

    It has no references to other files, the same figure gives the same text, and all ids start with the name: otherwise
    two figures of a page could use each other's clip paths.

    Args:
        figure: the figure.
        name: a name that is unique in the page.
        label: description of the figure for screen readers.

    >>> to_svg(Figure(), "empty", "nothing").startswith('<svg role="img" aria-label="nothing"')
    True
    """
    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with warnings.catch_warnings(), matplotlib.rc_context({**STYLE, "svg.fonttype": "none", "svg.hashsalt": "danlu"}):
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # the fonts of the browser have it
        figure.savefig(file, format="svg", metadata=nothing)
    root = ElementTree.fromstring(file.getvalue())
    for parent in list(root.iter()):
        for child in [child for child in parent if child.tag.endswith(("}style", "}metadata"))]:
            parent.remove(child)  # a style sheet would apply to the whole page
    drawn = ElementTree.Element(
        "svg", {"role": "img", "aria-label": printable(label), "viewBox": root.attrib["viewBox"]}
    )
    drawn.set("style", f"--width: {root.attrib['viewBox'].split()[2]}")
    drawn.extend(root)
    _make_self_contained(drawn, name)
    return ElementTree.tostring(drawn, encoding="unicode")


def to_png(figure: Figure, path: str | Path) -> None:
    """Write a figure to a file, on white.

    Raises:
        UsageError: if matplotlib does not support the file type.
    """
    content = io.BytesIO()
    with warnings.catch_warnings(), matplotlib.rc_context(STYLE):
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        try:
            figure.savefig(content, format=Path(path).suffix[1:] or "png", dpi=150, facecolor="white")
        except ValueError as error:
            raise UsageError(f"{path} cannot be drawn: {error}") from error
    write_bytes(Path(path), content.getvalue())


_REFERENCE = re.compile(r"(?<=url\(#)[^)]+(?=\))|(?<=^#).+")


def _make_self_contained(root: ElementTree.Element, name: str) -> None:
    """Remove namespaces and unused ids; the other ids start with the name."""
    for element in root.iter():
        element.tag = _local(element.tag)
        for key, value in list(element.attrib.items()):
            del element.attrib[key]
            element.set(_local(key), value)
    values = [value for element in root.iter() for key, value in element.attrib.items() if key != "aria-label"]
    wanted = {reference for value in values for reference in _REFERENCE.findall(value)}
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            if key == "id":
                if value in wanted:
                    element.set(key, f"{name}-{value}")
                else:
                    del element.attrib[key]
            elif key in ("href", "clip-path", "style", "fill", "filter", "mask"):
                element.set(key, _REFERENCE.sub(lambda found: f"{name}-{found[0]}", value))


def _local(name: str) -> str:
    return name.rpartition("}")[2]
