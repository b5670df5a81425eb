"""What a data set is: three parts of named tensors, and what the data decides about a model."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class DataInfo:
    """What the data decides about a model and about how a file becomes an input.

    Attributes:
        kind: what an example is.
        shape: shape of one example without the batch, for images (channels, height, width).
        classes: number of classes, 0 without labels.
        class_names: name of each class in the order of the labels.
        range: smallest and largest value that an input can take.
    """

    kind: Literal["images", "table", "text"]
    shape: tuple[int, ...]
    classes: int = 0
    class_names: tuple[str, ...] = ()
    range: tuple[float, float] = (0.0, 1.0)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a file."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> DataInfo:
        """The opposite of ``to_json``."""
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return cls(**{**values, **lists})


@dataclass(frozen=True)
class Part:
    """Examples in memory: tensors of one length, by name (``image``, ``label``, …).

    >>> part = Part({"image": torch.zeros(5, 1, 8, 8), "label": torch.arange(5)})
    >>> len(part), part.take(torch.tensor([3, 1]))["label"]
    (5, tensor([3, 1]))
    """

    fields: dict[str, Tensor]

    def __post_init__(self) -> None:
        if len({len(values) for values in self.fields.values()}) != 1:
            lengths = {name: len(values) for name, values in self.fields.items()}
            raise ValueError(f"the fields of a part must have one length, and these have {lengths}")

    def __len__(self) -> int:
        return len(next(iter(self.fields.values())))

    def __getitem__(self, name: str) -> Tensor:
        return self.fields[name]

    def take(self, index: Tensor) -> Part:
        """The examples with these numbers, in this order."""
        return Part({name: values[index] for name, values in self.fields.items()})

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Part:
        """The same examples on a device; fractional fields in a dtype, if one is named."""
        return Part(
            {
                name: values.to(device, dtype if values.is_floating_point() else None)
                for name, values in self.fields.items()
            }
        )


@dataclass(frozen=True)
class DataSet:
    """Three parts that share no example. Early stopping sees ``validation``; ``test`` is for the end alone."""

    name: str
    info: DataInfo
    train: Part
    validation: Part
    test: Part

    def part(self, name: Literal["train", "validation", "test"]) -> Part:
        """The part of that name."""
        return getattr(self, name)

    def fingerprint(self) -> str:
        """SHA-256 over names, shapes and bytes of all parts: equal for equal data in equal order."""
        digest = hashlib.sha256()
        for part in (self.train, self.validation, self.test):
            for name, values in sorted(part.fields.items()):
                digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
                digest.update(values.contiguous().cpu().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()
