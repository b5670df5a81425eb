"""Split examples into disjoint parts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from danlu.data.base.dataset import PARTS
from danlu.data.base.split_settings import Split
from danlu.errors import UsageError
from danlu.rng.keys import generator

_ROUNDING = 1e-9  # tolerance for a fraction times a number of examples that should be a whole number


def stratified_split(
    labels: Int[Tensor, "n"], fractions: tuple[float, ...], seed: int = 0
) -> tuple[Int[Tensor, "..."], ...]:
    """A stratified random split: each class is split in the same proportions, up to one example.

    The sizes of the parts are the fractions of all examples, rounded by largest remainders. So a small part is not
    empty even if it gets less than one example of every class. Every class has an example in the first part if there is
    such a split.

    Args:
        labels: class of each example.
        fractions: size of each part as a fraction of all examples; they sum to 1.
        seed: random seed of the split.

    Returns:
        For each part the numbers of its examples, in ascending order.

    Raises:
        ValueError: if the fractions do not sum to 1.

    >>> a, b = stratified_split(torch.tensor([0, 0, 0, 0, 1, 1]), (0.5, 0.5))
    >>> len(a), len(b)
    (3, 3)
    >>> [len(part) for part in stratified_split(torch.arange(30) // 3, (0.7, 0.1, 0.2))]  # ten classes of three
    [21, 3, 6]
    """
    if abs(sum(fractions) - 1) > 1e-9 or min(fractions) < 0:
        raise ValueError(f"fractions must be at least 0 and sum to 1, got {fractions} with sum {sum(fractions)}")
    classes, sizes = labels.unique(return_counts=True)
    parts: list[list[Tensor]] = [[labels.new_empty(0)] for _ in fractions]
    for label, counts in zip(classes.tolist(), _counts(sizes, fractions).tolist(), strict=True):
        members = (labels == label).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=generator("split", seed, label))]
        for part, numbers in zip(parts, members.split(counts), strict=True):
            part.append(numbers)
    return tuple(torch.cat(part).sort().values for part in parts)


def part_sizes(examples: int, fractions: tuple[float, ...]) -> tuple[int, ...]:
    """The number of examples of each part: the fractions of all examples, rounded by largest remainders.

    >>> part_sizes(12, (0.5, 0.3, 0.2))
    (6, 4, 2)
    """
    return tuple(_largest_remainders(examples * torch.tensor(fractions, dtype=torch.float64)).tolist())


def check_parts(what: str, sizes: Iterable[int], fractions: Iterable[float]) -> None:
    """Check that every part with a positive fraction has an example.

    Args:
        what: the data that was split, for the message.
        sizes: number of examples of each part, in the order of ``PARTS``.
        fractions: fraction of each part.

    Raises:
        UsageError: if a part is empty.

    >>> check_parts("t.csv", (2, 0, 0), (0.9, 0.1, 0.0))
    Traceback (most recent call last):
    danlu.errors.UsageError: t.csv: the validation part would be empty (a fraction of 0.1 of 2 examples); add examples,
    or change split.validation
    """
    sizes = tuple(sizes)
    for name, size, fraction in zip(PARTS, sizes, fractions, strict=False):
        if fraction and not size:
            settings = ("split.validation", "split.test") if name == "train" else (f"split.{name}",)
            raise UsageError(
                f"{what}: the {name} part would be empty (a fraction of {fraction:g} of {sum(sizes):,} examples); "
                f"add examples, or change {' and '.join(settings)}",
                settings=settings,
            )


def _counts(sizes: Int[Tensor, "classes"], fractions: tuple[float, ...]) -> Int[Tensor, "classes parts"]:
    """Number of examples of each class in each part; each differs by less than 1 from the exact fraction.

    Every entry is rounded down first. The remaining examples of a class go to different parts. A part takes its missing
    examples from the classes with the most remaining examples, and among these from those with the largest remainders.
    This order finds a table of zeros and ones with given row and column sums whenever one exists (Ryser,
    "Combinatorial properties of matrices of zeros and ones", 1957). If it leaves a class out of the first part, or adds
    to an entry without a remainder, ``_rearranged`` searches for a table that does not.
    """
    exact = sizes[:, None].double() * torch.tensor(fractions, dtype=torch.float64)
    whole = (exact + _ROUNDING).floor().long()
    lacking = _largest_remainders(exact.sum(0)) - whole.sum(0)
    left = sizes - whole.sum(1)
    added = torch.zeros_like(whole, dtype=torch.bool)
    for part in lacking.argsort(stable=True).tolist():
        by_remainder = (exact - whole)[:, part].argsort(descending=True, stable=True)
        taken = by_remainder[left[by_remainder].argsort(descending=True, stable=True)][: lacking[part]]
        added[taken, part] = True
        left[taken] -= 1
    allowed = exact - whole > _ROUNDING
    required = (whole[:, 0] == 0) & allowed[:, 0]
    for rows in (required, torch.zeros_like(required)):
        if (table := _rearranged(added, allowed, rows)) is not None:
            return whole + table.long()
    return whole + added.long()


def _rearranged(
    added: Bool[Tensor, "classes parts"], allowed: Bool[Tensor, "classes parts"], required: Bool[Tensor, "classes"]
) -> Bool[Tensor, "classes parts"] | None:
    """A table of zeros and ones with the same row and column sums, ones only where they are allowed and required.

    It is a maximum flow from the classes to the parts, found by augmenting paths that begin at the given table (Ford
    and Fulkerson, "Maximal flow through a network", 1956).

    Args:
        added: the given table.
        allowed: where ones are allowed.
        required: the classes that must have a one in the first part.

    Returns:
        The table, or None if there is none.
    """
    if not (added & ~allowed).any() and not (required & ~added[:, 0]).any():
        return added
    rows, columns = added.sum(1), added.sum(0)
    table, free = added & allowed, allowed.clone()
    free[required, 0] = False  # these ones stay
    for row in (required & ~table[:, 0]).nonzero().flatten().tolist():
        table[row, 0] = True
        if table[row].sum() > rows[row]:
            table[row, 1 + int(table[row, 1:].nonzero()[0])] = False
    movable = (table & free)[:, 0].nonzero().flatten()
    surplus = int(table[:, 0].sum() - columns[0])
    if surplus > len(movable):
        return None
    table[movable[: max(0, surplus)], 0] = False
    for row in range(len(table)):
        while table[row].sum() < rows[row]:
            if not _augment(table, free, columns, row):
                return None
    return table


def _augment(table: Tensor, free: Tensor, columns: Tensor, row: int) -> bool:
    """Add a one to a row; ones of other rows move to other columns if necessary. False if this is impossible."""
    reached = dict.fromkeys((free[row] & ~table[row]).nonzero().flatten().tolist(), (row, -1))
    queue = list(reached)
    for column in queue:
        if table[:, column].sum() < columns[column]:
            while column >= 0:
                mover, previous = reached[column]
                table[mover, column] = True
                if previous >= 0:
                    table[mover, previous] = False
                column = previous
            return True
        for mover in (table & free)[:, column].nonzero().flatten().tolist():
            for other in (free[mover] & ~table[mover]).nonzero().flatten().tolist():
                if other not in reached:
                    reached[other] = (mover, column)
                    queue.append(other)
    return False


def _largest_remainders(exact: Float64[Tensor, "parts"]) -> Int[Tensor, "parts"]:
    """Whole numbers with the same sum: all rounded down, except those with the largest remainders.

    >>> _largest_remainders(torch.tensor([2.1, 0.3, 0.6], dtype=torch.float64))
    tensor([2, 0, 1])
    """
    whole = (exact + _ROUNDING).floor().long()
    missing = int(exact.sum().round()) - int(whole.sum())
    whole[(exact - whole).argsort(descending=True, stable=True)[:missing]] += 1
    return whole


def refuse_unused_split(split: Split, part: Literal["validation", "test", "seed"], reason: str) -> None:
    """Check that the fraction of a part that is not split off has its default value; or the seed, if it is not used.

    Args:
        split: settings of the split.
        part: the part that is not split off, or seed.
        reason: why the setting has no effect, for the message.

    Raises:
        UsageError: if the value is not the default.

    >>> refuse_unused_split(Split(test=0.5), "test", "mnist has an official test part")
    Traceback (most recent call last):
    danlu.errors.UsageError: split.test has no effect: mnist has an official test part; leave it out
    """
    if getattr(split, part) != getattr(Split(), part):
        raise UsageError(f"split.{part} has no effect: {reason}; leave it out", settings=(f"split.{part}",))


def refuse_seed_without_split(split: Split, fractions: Iterable[float]) -> None:
    """Check that the seed has its default value if no part is split off at random.

    Args:
        split: settings of the split.
        fractions: sizes of the parts that are split off.

    Raises:
        UsageError: if the seed is not the default, and all fractions are 0.

    >>> refuse_seed_without_split(Split(seed=7, test=0), (0.1, 0))
    >>> refuse_seed_without_split(Split(seed=7, validation=0, test=0), (0, 0))
    Traceback (most recent call last):
    danlu.errors.UsageError: split.seed has no effect: no part is split off at random; leave it out
    """
    if split.seed != Split().seed and not any(fractions):
        raise UsageError(
            "split.seed has no effect: no part is split off at random; leave it out", settings=("split.seed",)
        )
