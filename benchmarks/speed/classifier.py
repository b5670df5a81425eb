"""One epoch of a CNN on MNIST through everything: data, training, validation, saving and test.

danlu trains its recipe into a run folder, with report and model card. Lightning trains the same module, with a
``DataLoader``, its logger, its checkpoint, validation and test. Keras, with torch as backend, trains the same layers
from arrays, with validation, saving and evaluation. Imports and reading of the data are not included.
"""

from __future__ import annotations

import logging
import math
import os
import statistics
import tempfile
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import danlu
from benchmarks.harness import Row, alternate, compared, cpu_seconds
from danlu.data import DataSettings
from danlu.data.base.dataset import DataSet
from danlu.models import CNN

BATCH, LR, DECAY, DROPOUT, PAIRS, TARGET = 64, 1e-3, 0.01, 0.3, 5, 1.3
SCORES = 500
"""examples per batch of validation and test"""


def run() -> Iterator[Row]:
    """A row for each peer, in seconds of processor time on one thread."""
    torch.set_num_threads(1)
    data = DataSettings(data="mnist").load()
    yield _row("lightning", _by_lightning(data))
    yield _row("keras", _by_keras(data))


def _row(peer: str, theirs: Callable[[str], float]) -> Row:
    accuracies: dict[str, list[float]] = {"theirs": [], "ours": []}

    def timed(side: str, epoch: Callable[[str], float]) -> Callable[[], float]:
        def measure() -> float:
            with tempfile.TemporaryDirectory() as scratch:
                return cpu_seconds(lambda: accuracies[side].append(epoch(scratch)))

        return measure

    found = compared(alternate(timed("theirs", theirs), timed("ours", _by_danlu), PAIRS))
    scores = {side: statistics.mean(values) for side, values in accuracies.items()}
    return Row(
        name=f"classifier-{peer}",
        peer=f"{peer} {version(peer)}",
        unit="s",
        **found,
        target=f"at least {TARGET} times as fast",
        met=found["ratio"] >= TARGET,
        notes=f"54,000 images in batches of {BATCH}; test accuracy, mean over the epochs: {scores['theirs']:.4f} "
        f"theirs, {scores['ours']:.4f} ours; ours includes report and model card",
    )


def _by_danlu(scratch: str) -> float:
    run = danlu.train(
        "cnn",
        data="mnist",
        out=Path(scratch) / "run",
        quiet=True,
        threads=1,
        epochs=1,
        batch_size=BATCH,
        lr=LR,
        weight_decay=DECAY,
        schedule="constant",
        evaluate_every=10**6,
        model={"dropout": DROPOUT},
    )
    return run.scores["test"]["accuracy"]


def _network() -> CNN:
    return CNN((1, 28, 28), 10, dropout=DROPOUT)


def _by_lightning(data: DataSet) -> Callable[[str], float]:
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = _network()

        def training_step(self, batch: list[Tensor], _: int) -> Tensor:
            loss = F.cross_entropy(self.network(batch[0]), batch[1])
            self.log("loss", loss)
            return loss

        def validation_step(self, batch: list[Tensor], _: int) -> None:
            self._score("validation", *batch)

        def test_step(self, batch: list[Tensor], number: int) -> None:
            self._score("test", *batch)

        def _score(self, part: str, x: Tensor, y: Tensor) -> None:
            logits = self.network(x)
            self.log(f"{part}/cross_entropy", F.cross_entropy(logits, y))
            self.log(f"{part}/accuracy", (logits.argmax(1) == y).float().mean())

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=LR, weight_decay=DECAY)

    warnings.filterwarnings("ignore", module="lightning")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    parts = {
        name: TensorDataset(data.part(name)["image"], data.part(name)["label"])
        for name in ("train", "validation", "test")
    }
    _same_size(_network())

    def epoch(scratch: str) -> float:
        trainer = lightning.Trainer(
            accelerator="cpu",
            max_epochs=1,
            logger=lightning.pytorch.loggers.CSVLogger(scratch),
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        module = Module()
        trainer.fit(module, DataLoader(parts["train"], BATCH, shuffle=True), DataLoader(parts["validation"], SCORES))
        (scores,) = trainer.test(module, DataLoader(parts["test"], SCORES), verbose=False)
        return scores["test/accuracy"]

    return epoch


def _by_keras(data: DataSet) -> Callable[[str], float]:
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    arrays = {
        name: (data.part(name)["image"].movedim(1, 3).contiguous().numpy(), data.part(name)["label"].numpy())
        for name in ("train", "validation", "test")
    }

    def network() -> Any:
        layers = keras.layers
        return keras.Sequential(
            [
                keras.Input((28, 28, 1)),
                layers.Conv2D(32, 3, padding="same", activation="relu"),
                layers.MaxPooling2D(),
                layers.Conv2D(64, 3, padding="same", activation="relu"),
                layers.MaxPooling2D(),
                layers.Flatten(),
                layers.Dropout(DROPOUT),
                layers.Dense(128, activation="relu"),
                layers.Dropout(DROPOUT),
                layers.Dense(10),
            ]
        )

    _same_size(network())

    def epoch(scratch: str) -> float:
        net = network()
        net.compile(
            keras.optimizers.AdamW(LR, weight_decay=DECAY),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        net.fit(*arrays["train"], batch_size=BATCH, epochs=1, validation_data=arrays["validation"], verbose=0)
        net.save(Path(scratch) / "model.keras")
        return float(net.evaluate(*arrays["test"], batch_size=SCORES, verbose=0)[1])

    return epoch


def _same_size(network: Any) -> None:
    """Check that a network has as many parameters as that of danlu."""
    ours = sum(parameter.numel() for parameter in _network().parameters())
    # with torch as backend a network of Keras is a module too, and the states of its dropout are parameters
    weights = network.trainable_weights if hasattr(network, "trainable_weights") else network.parameters()
    theirs = sum(math.prod(weight.shape) for weight in weights)
    assert theirs == ours, (theirs, ours)
