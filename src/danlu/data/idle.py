"""Settings that do nothing with the data set that was chosen: who gives one expects that it does something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from danlu.errors import UsageError

if TYPE_CHECKING:
    from danlu.data.source import Source

_PAGES = {
    "images": (("folder",), "folder:PATH, images of your own"),
    "table": (("table",), "table:FILE, rows of your own"),
    "text": (("text", "pydoc", "ptb", "tiny-shakespeare"), "running text"),
}
"""pages of settings, the data sets that read each, and these in words"""


def refuse_idle_pages(source: Source) -> None:
    """Settings of a page that is for another kind of data set must be the usual ones.

    Raises:
        UsageError: if one is not.

    >>> from danlu.data.source import Images, Source
    >>> refuse_idle_pages(Source(data="digits", images=Images(size=(3,))))
    Traceback (most recent call last):
    danlu.errors.UsageError: --images.size does nothing with digits: it is for folder:PATH, images of your own; leave it
    out
    """
    for name, (kinds, words) in _PAGES.items():
        page, usual = getattr(source, name), type(source).model_fields[name].default
        idle = [f"--{name}.{setting.replace('_', '-')}" for setting, value in usual if getattr(page, setting) != value]
        if idle and source.data.partition(":")[0] not in kinds:
            does, it_is, it = ("does", "it is", "it") if len(idle) == 1 else ("do", "they are", "them")
            raise UsageError(
                f"{', '.join(idle)} {does} nothing with {source.data}: {it_is} for {words}; leave {it} out"
            )


def refuse_idle_share(source: Source, part: Literal["validation", "test"], why: str) -> None:
    """The share of a part that nothing is split off for must be the usual one.

    Args:
        source: has the share.
        part: which is given.
        why: by whom, in words.

    Raises:
        UsageError: if it is not.

    >>> from danlu.data.source import Source, Split
    >>> refuse_idle_share(Source(split=Split(test=0.5)), "test", "mnist has an official one")
    Traceback (most recent call last):
    danlu.errors.UsageError: --split.test does nothing, for no test part is split off: mnist has an official one; leave
    it out
    """
    if getattr(source.split, part) != getattr(type(source).model_fields["split"].default, part):
        raise UsageError(f"--split.{part} does nothing, for no {part} part is split off: {why}; leave it out")
