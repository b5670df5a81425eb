"""Data sets: three parts of named tensors, and properties that a model depends on."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from danlu.data.base.number_target import NumberTarget
from danlu.data.base.tokenizer import Tokenizer
from danlu.errors import UsageError
from danlu.limits import CLASSES, EXAMPLE_VALUES
from danlu.storage.access import Access
from danlu.storage.atomic import write_text

_ROWS = 65_536

PartName = Literal["train", "validation", "test"]
PARTS: tuple[PartName, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class DataInfo:
    """Properties of a data set that a model depends on. Each kind of data has a subclass (``data.kinds``).

    Attributes:
        kind: name of the kind of data: a key of ``data.kinds.KINDS``.
        inputs: name of the field that is the input of a model.
        shape: shape of one example without the batch dimension.
        classes: number of classes; 0 without labels.
        class_names: names of the classes in the order of the labels.
        range: smallest and largest value of an input.
        target: the number that a regression predicts; None with classes or without labels.
    """

    kind: ClassVar[str]
    inputs: ClassVar[str]

    shape: tuple[int, ...]
    classes: int = 0
    class_names: tuple[str, ...] = ()
    range: tuple[float, float] = (0.0, 1.0)
    target: NumberTarget | None = field(default=None, kw_only=True)

    def check(self) -> None:
        """Check values that come from a file that is not trusted; subclasses check theirs, too.

        Raises:
            ValueError: if a value is not possible, or a number is too large.

        >>> from danlu.data.tables.info import TableInfo
        >>> TableInfo((4,), 10**12).check()
        Traceback (most recent call last):
        ValueError: 1,000,000,000,000 classes exceed the limit of 1,000,000
        """
        if any(size < 1 for size in self.shape):
            raise ValueError(f"shape must have positive sizes, got {list(self.shape)}")
        if (values := math.prod(self.shape)) > EXAMPLE_VALUES:
            raise ValueError(f"examples of {values:,} numbers exceed the limit of {EXAMPLE_VALUES:,}")
        if self.classes > CLASSES:
            raise ValueError(f"{self.classes:,} classes exceed the limit of {CLASSES:,}")
        if self.classes < 0 or len(self.class_names) not in (0, self.classes):
            raise ValueError(f"{self.classes:,} classes have {len(self.class_names):,} names")
        if not -math.inf < self.range[0] < self.range[1] < math.inf:
            raise ValueError(f"range must be two increasing numbers, got {list(self.range)}")
        if self.target is not None:
            self.target.check()

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the classes, or their numbers if they have no names.

        >>> from danlu.data.tables.info import TableInfo
        >>> TableInfo((2,), classes=3).label_names
        ('0', '1', '2')
        """
        return self.class_names or tuple(str(number) for number in range(self.classes))

    @property
    def viewable(self) -> bool:
        """Whether an example can be shown as an image."""
        return False

    @property
    def image_size(self) -> tuple[int, int] | None:
        """Height and width of an example (channels, height, width) in pixels; None if examples are not images."""
        return None

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The interval of all possible values, as of pixels; None if new examples can have values outside ``range``."""
        return None

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the columns of a table or the channels of an image, where they have names."""
        return ()

    @property
    def format(self) -> str:
        """The format of an example for messages: its shape, or what its numbers are."""
        return "×".join(map(str, self.shape))

    @property
    def description(self) -> str:
        """A description of the examples for messages."""
        return f"{self.kind} of shape {self.format}"

    @property
    def input_description(self) -> str:
        """The input of a model in a sentence, for the model card."""
        return f"A{self._tensor_description}"

    @property
    def _tensor_description(self) -> str:
        low, high = self.range
        return f" tensor of shape ({', '.join(['n', *map(str, self.shape)])}), values from {low:g} to {high:g}."

    @property
    def units(self) -> str:
        """What the values mean, as text: names of columns and their scales. Empty if they are as in the files."""
        return ""

    @property
    def spacing(self) -> float | None:
        """The difference of neighboring values if the values are discrete and equidistant; None for continuous ones."""
        return None

    @property
    def scales(self) -> tuple[float, ...]:
        """Numbers by which the columns of the user's files were divided; empty if they were not."""
        return ()

    @property
    def density_note(self) -> str:
        """The unit of a probability density of examples, as a note on scores."""
        return f"densities of {self.description}; a density can be above 1, and its logarithm above 0"

    def to_json(self) -> dict[str, Any]:
        """The values as JSON types; ``data.kinds.info_from_json`` reads them."""
        return {"kind": self.kind, **asdict(self)}


def require_images(info: DataInfo, **options: object) -> None:
    """Check that the inputs of a model are images, for options that apply to images only.

    Args:
        info: the inputs of the model.
        options: value of each option; None and False are allowed for every kind of data.

    Raises:
        UsageError: if the inputs are not images; the message names the first option with another value.

    >>> from danlu.data.tables.info import TableInfo
    >>> require_images(TableInfo((2,)), invert=False, flip=True)
    Traceback (most recent call last):
    danlu.errors.UsageError: flip applies to images only, and this model takes rows with 2 columns; remove flip
    """
    for option, value in options.items():
        if value is not None and value is not False and info.image_size is None:
            raise UsageError(
                f"{option} applies to images only, and this model takes {info.description}; remove {option}",
                settings=(option,),
            )


@dataclass(frozen=True)
class Part:
    """Examples: tensors of one length, by name (``image``, ``label``, …), in memory or mapped from a file.

    A field of dtype uint8 holds fractions in steps of 1/255, as image files do. It is stored as bytes, and is returned
    as numbers from 0 to 1.

    Args:
        fields: the tensors.
        dtype: dtype of fractional numbers.
        sources: for each field that is mapped from a file, the identity of the file (``storage.file_identity``).

    >>> part = Part({"image": torch.zeros(5, 1, 8, 8), "label": torch.arange(5)})
    >>> len(part), part.take(torch.tensor([3, 1]))["label"]
    (5, tensor([3, 1]))
    >>> Part({"image": torch.tensor([0, 51, 255], dtype=torch.uint8)})["image"]
    tensor([0.0000, 0.2000, 1.0000])
    """

    fields: dict[str, Tensor]
    dtype: torch.dtype = torch.float32
    sources: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len({len(values) for values in self.fields.values()}) != 1:
            lengths = {name: len(values) for name, values in self.fields.items()}
            raise ValueError(f"the fields of a part must have the same length, got {lengths}")

    def __len__(self) -> int:
        return len(next(iter(self.fields.values())))

    def __getitem__(self, name: str) -> Tensor:
        return self._numbers(self.fields[name])

    def rows(self, index: Tensor | slice) -> dict[str, Tensor]:
        """The fields of these examples, with bytes converted to numbers."""
        if isinstance(index, slice):
            return {name: self._numbers(values[index]) for name, values in self.fields.items()}
        return {name: self._numbers(values.index_select(0, index)) for name, values in self.fields.items()}

    def take(self, index: Tensor | slice) -> Part:
        """The examples with these numbers, in this order."""
        return Part({name: values[index] for name, values in self.fields.items()}, self.dtype)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Part:
        """The same examples on a device, with fractional fields in ``dtype`` if it is given."""
        fields = {
            name: values.to(device, dtype if values.is_floating_point() else None)
            for name, values in self.fields.items()
        }
        sources = {name: source for name, source in self.sources.items() if fields[name] is self.fields[name]}
        return Part(fields, dtype or self.dtype, sources)

    def unmapped(self) -> Part:
        """The same examples in memory; fields that are mapped from a file are copied."""
        return Part({name: v.clone() if name in self.sources else v for name, v in self.fields.items()}, self.dtype)

    @property
    def nbytes(self) -> int:
        """Size of the fields in bytes."""
        return self.nbytes_as(None)

    def nbytes_as(self, dtype: torch.dtype | None) -> int:
        """Size of the fields in bytes, with fractional fields in ``dtype`` if it is given."""
        sizes = (
            values.itemsize if dtype is None or not values.is_floating_point() else dtype.itemsize
            for values in self.fields.values()
        )
        return sum(values.numel() * size for values, size in zip(self.fields.values(), sizes, strict=True))

    @property
    def device(self) -> torch.device:
        """Device of the fields."""
        return next(iter(self.fields.values())).device

    def _numbers(self, values: Tensor) -> Tensor:
        return values.to(self.dtype).div_(255) if values.dtype == torch.uint8 else values


@dataclass(frozen=True)
class DataSet:
    """Three disjoint parts. Early stopping uses ``validation``; ``test`` is used only once, after the training.

    Attributes:
        name: name of the data set.
        info: properties that a model depends on.
        train: examples for training.
        validation: examples for choosing weights and settings.
        test: examples for the final evaluation.
        notes: remarks for the user on how the data was read, for example on files that were left out.
        tokenizer: for text, the tokenizer of its tokens.
        identifiers: for a table that was read from a file, the columns whose numbers in the file are different for each
            row, of those whose numbers have more digits than float32; None if the numbers of the file are not known.
        problems: those of the notes that a survey lists as possible problems.
    """

    name: str
    info: DataInfo
    train: Part
    validation: Part
    test: Part
    notes: tuple[str, ...] = ()
    tokenizer: Tokenizer | None = None
    identifiers: tuple[str, ...] | None = None
    problems: tuple[str, ...] = ()

    def part(self, name: PartName) -> Part:
        """The part of that name."""
        return getattr(self, name)

    def fingerprint(self) -> str:
        """SHA-256 of the names, shapes and values of all fields in order, of their units, and of the tokenizer.

        Fields that are mapped from a file can be larger than memory. Their fingerprint is computed once and cached
        under the identity of the file, so that not every start reads the whole file.
        """
        if not any(part.sources for part in (self.train, self.validation, self.test)):
            return self._digest(_update_with_values)
        try:
            path = Access().cache_folder("fingerprints") / self._digest(_update_with_source)
        except (OSError, RuntimeError):  # it cannot be written
            return self._digest(_update_with_values)
        with suppress(OSError, ValueError):
            cached = path.read_text(encoding="ascii")
            if len(bytes.fromhex(cached)) == hashlib.sha256().digest_size:
                return cached
        computed = self._digest(_update_with_values)
        with suppress(OSError):
            write_text(path, computed)
        return computed

    def _digest(self, update: Callable[[hashlib._Hash, Part, str], None]) -> str:
        digest = hashlib.sha256()
        for part in (self.train, self.validation, self.test):
            for name, values in sorted(part.fields.items()):
                digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
                update(digest, part, name)
        digest.update(self.info.units.encode())
        if self.info.target is not None:
            digest.update(repr(self.info.target).encode())
        if self.tokenizer is not None:
            digest.update(self.tokenizer.to_json().encode())
        return digest.hexdigest()


def _update_with_values(digest: hashlib._Hash, part: Part, name: str) -> None:
    for block in part.fields[name].split(_ROWS):  # a mapped field may be larger than memory
        digest.update(block.contiguous().cpu().numpy().tobytes())


def _update_with_source(digest: hashlib._Hash, part: Part, name: str) -> None:
    """Like ``_update_with_values``, with the identity of the file and the position in it for mapped fields."""
    if name in part.sources:
        values = part.fields[name]
        digest.update(
            f"{part.sources[name]} {values.storage_offset()} {values.stride()}".encode(errors="surrogateescape")
        )
    else:
        _update_with_values(digest, part, name)


def spread_over(part: Part, most: int) -> Part:
    """At most ``most`` examples of a part, evenly spaced over it."""
    return part if len(part) <= most else part.take(torch.arange(most) * len(part) // max(1, most))
