"""A kind of data that danlu does not have: signals, sequences of numbers. Only its entries in tables are added."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from danlu.app.files.inputs import Input
from danlu.catalogue.datasets import DATA
from danlu.catalogue.entry import DataEntry, Entry
from danlu.catalogue.recipes import _recipes
from danlu.data.base.dataset import DataInfo, DataSet, Part
from danlu.data.base.page import Page
from danlu.data.kinds import KINDS, Kind
from danlu.data.settings import DataSettings
from danlu.data.survey.arrays import survey_arrays
from danlu.data.survey.result import Survey
from danlu.recipes.classify.mlp import MLPRecipe
from danlu.recipes.latent.vae import VAERecipe


@dataclass(frozen=True)
class SignalInfo(DataInfo):
    """Signals of shape (length,)."""

    kind: ClassVar[str] = "signals"
    inputs: ClassVar[str] = "signal"


class Signals(Page):
    """How signals are read."""

    scale: float = 1.0
    """factor of all values"""


class SignalData(DataSettings):
    """Signals."""

    kind: ClassVar[str] = "signals"

    signals: Signals = Signals()
    """how signals are read"""


class SignalMLP(MLPRecipe, SignalData):
    """The recipe mlp, also for signals."""


class SignalVAE(VAERecipe, SignalData):
    """The recipe vae, also for signals."""


def arrays(path: str | Path) -> tuple[torch.Tensor, torch.Tensor]:
    with np.load(path) as file:
        return torch.from_numpy(file["signal"]).float(), torch.from_numpy(file["label"])


def read_signals(argument: str = "", *, signals: Signals, split=None, access=None) -> DataSet:
    x, labels = arrays(argument)
    x = x * signals.scale
    parts = [Part({"signal": x[rest::3], "label": labels[rest::3]}) for rest in range(3)]
    info = SignalInfo(tuple(x.shape[1:]), int(labels.max()) + 1, range=(float(x.min()), float(x.max())))
    return DataSet(f"signals:{Path(argument).name}", info, *parts)


def survey_signals(data: DataSet) -> Survey:
    return survey_arrays(data, lambda data, constant: [])


def read_files(files, info, invert, encoding, screen, display) -> Iterator[Input]:
    for path in files:
        x, _ = arrays(path)
        yield Input([f"{path}:{number}" for number in range(len(x))], x)


def register(patch: pytest.MonkeyPatch) -> None:
    """Add the kind to the tables until the end of the test."""
    kind = Kind(
        info="signals_kind:SignalInfo",
        settings="signals_kind:SignalData",
        page="signals",
        dataset="signals",
        usage="signals:FILE",
        endings=(".npz",),
        files="your own signals (signals:FILE)",
        survey="signals_kind:survey_signals",
        read_files="signals_kind:read_files",
    )
    patch.setitem(KINDS, "signals", kind)
    entry = DataEntry("signals_kind:read_signals", "signals", "signals", "signals", "", page="signals")
    patch.setitem(DATA, "signals", entry)
    for name, recipe in (("signal-mlp", "SignalMLP"), ("signal-vae", "SignalVAE")):
        patch.setitem(_recipes(), name, Entry(f"signals_kind:{recipe}", "signals", "signals", ""))
