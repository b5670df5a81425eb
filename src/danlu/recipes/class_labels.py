"""The check that a data set has the class labels that a recipe needs."""

from __future__ import annotations

from danlu.data.base.dataset import DataInfo
from danlu.data.kinds import find_kind
from danlu.errors import UsageError


def check_classes(info: DataInfo, data: str, what: str) -> None:
    """Check that the examples have labels of at least two classes.

    Args:
        info: the examples.
        data: name of the data set.
        what: what needs the labels, for the message.

    Raises:
        UsageError: if there are fewer classes.
    """
    if info.classes >= 2:
        return
    if info.target is not None:
        raise UsageError(
            f"{what} needs classes, and the target {info.target.name!r} of {data} is a number; "
            f"table.target_kind=classes takes its values as classes",
            settings=("table.target_kind=classes",),
        )
    kind = find_kind(info.kind)
    own_files = data.startswith(f"{kind.dataset}:") and kind.labels
    raise UsageError(
        f"{what} needs labels of at least two classes, {data} has {info.classes}"
        + (f"; {kind.labels}" if own_files else ""),
        settings=(kind.label_setting,) if own_files and kind.label_setting else (),
    )
