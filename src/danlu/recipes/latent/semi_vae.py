"""Semi-supervised variational autoencoder: few labels, many examples. Kingma et al., 2014.

danlu train semi-vae                                       digits, 50 of them labeled
danlu train semi-vae --data mnist --labels 100
danlu train semi-vae --data mnist --labels 100 --no-stacked --model.likelihood bernoulli --binarize dynamic

Kingma, Rezende, Mohamed and Welling, "Semi-supervised learning with deep generative models": M2 alone, or M1 + M2,
where M1 is an autoencoder trained without labels and M2 is trained on its latents. ``labels`` training examples keep
their labels, the same number per class, chosen by the seed; the other labels are not used. Labels of the validation
part are only used for the logged scores: the last weights are saved.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

import torch
from jaxtyping import Int
from pydantic import Field, model_validator
from torch import Tensor

from danlu.data.base.batch_stream import PartStream, Shuffled
from danlu.data.base.dataset import DataInfo
from danlu.data.base.effects import Needs, changed_settings
from danlu.data.base.joined_streams import JoinedStreams, join_streams
from danlu.data.base.page import Fraction
from danlu.data.images.image_data import ImageData
from danlu.data.tables.table_data import TableData
from danlu.errors import UsageError
from danlu.models.latent.semi_supervised import SemiSupervisedVAE
from danlu.models.latent.stacked import StackedVAE
from danlu.models.latent.vae import VAE
from danlu.recipes.class_labels import check_classes
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.recipes.config.generative_recipe import GenerativeRecipe
from danlu.recipes.config.recipe import Count
from danlu.recipes.latent.base import check_likelihood, data_arguments
from danlu.rng.keys import generator
from danlu.tasks.semi_supervised import Codes, Relaxation, SemiSupervised
from danlu.training.optimization.settings import NonNegative, OptimizerSettings, Positive


class SemiVAERecipe(OptimizerSettings, GenerativeRecipe, TableData, ImageData):
    """M1 + M2 in one run: half of the rounds for each."""

    help_section: ClassVar[str] = "loss"
    needs: ClassVar[tuple[Needs, ...]] = (
        Needs("temperature", ("relaxation",), ("gumbel",)),
        Needs("codes", ("stacked",)),
    )
    tiny: ClassVar[dict[str, Any]] = {
        "model": {"hidden": (8,), "classifier_hidden": (8,), "latent": 2},
        "first": {"hidden": (16,), "latent": 3},
        "batch_size": 16,
        "labels": 20,
        "labeled_batch_size": 8,
        "first_rounds": 3,
    }
    two_rounds: ClassVar[dict[str, Any]] = {**GenerativeRecipe.two_rounds, "first_rounds": 1}
    overfits_to: ClassVar[float | None] = 0.8  # a loss in nats does not approach 0

    labels: Count = 50
    """training examples that keep their labels"""
    labeled_batch_size: Count = 16
    """labeled examples per step"""
    labeled_weight: Fraction = 0.1
    """weight of the bound of labeled examples; the paper uses their fraction of the data"""
    classification: NonNegative = 1.0
    """weight of the cross-entropy of labeled examples; the paper uses 0.1"""
    relaxation: Relaxation = "enumerate"
    """label of an unlabeled example; enumerate: sum over all labels, or sample from the Gumbel-softmax distribution"""
    temperature: Positive = 0.5
    """temperature of the Gumbel-softmax distribution"""
    stacked: bool = True
    """train M1 + M2; otherwise M2 alone, on the examples themselves"""
    first: Settings[VAE] = settings(VAE, latent=16, hidden=(256, 256))
    """M1, which encodes examples"""
    first_rounds: Annotated[int, Field(ge=0)] | None = None
    """rounds of M1 before M2; half of all if not given"""
    codes: Codes = "draw"
    """input of M2: mean latent code of an example, or a sample of it as in the paper"""
    model: Settings[SemiSupervisedVAE] = settings(
        SemiSupervisedVAE, latent=8, hidden=(256,), classifier_hidden=(256,), likelihood="gaussian"
    )
    """M2"""
    rounds: Count | None = 6000
    lr: Positive = 1e-3
    monitor: str | None = "none"

    def task(self, info: DataInfo) -> SemiSupervised:
        """The task with both models.

        Raises:
            UsageError: if the data has no classes, or there are fewer labels than classes.
        """
        check_classes(info, self.data, "semi-vae")
        if self.labels < info.classes:
            raise UsageError(
                f"labels={self.labels} must be at least {info.classes}, one for each class of {self.data}",
                settings=("labels",),
            )
        return SemiSupervised(
            self._network(info),
            self.labeled_weight,
            self.classification,
            self.relaxation,
            self.temperature,
            self._first_rounds() if self.stacked else 0,
            self.codes,
            info.inputs,
        )

    def unused_on(self, info: DataInfo) -> list[str]:
        """The changed settings of M1, if M2 is trained alone."""
        usual: Any = self.usual()
        if self.stacked:
            return []
        return [*(["first_rounds"] if self.first_rounds else []), *changed_settings(self.first, usual.first, "first.")]

    def _network(self, info: DataInfo) -> Any:
        if not self.stacked:
            return check_likelihood(self.model.build(**data_arguments(info), classes=info.classes), info, self.data)
        first = check_likelihood(self.first.build(**data_arguments(info)), info, self.data, "first")
        return StackedVAE(first, self.model.build(shape=(first.latent,), classes=info.classes))

    def _first_rounds(self) -> int:
        if self.first_rounds is not None:
            return self.first_rounds
        if self.rounds is None:
            raise UsageError(
                "first_rounds is needed if the length is given in epochs: the rounds of M1 before M2",
                settings=("first_rounds",),
            )
        return self.rounds // 2

    @model_validator(mode="after")
    def _rounds_for_both(self) -> Self:
        if self.rounds is not None and (reason := self._without_second(self.rounds)):
            raise ValueError(reason)
        return self

    def length(self, epoch_rounds: float) -> int:
        """The length of the training in rounds.

        Args:
            epoch_rounds: rounds per epoch.

        Raises:
            UsageError: if no rounds are left for M2.
        """
        rounds = super().length(epoch_rounds)
        if reason := self._without_second(rounds):
            raise UsageError(reason)
        return rounds

    def _without_second(self, rounds: int) -> str | None:
        """The error message if no rounds are left for M2, else None."""
        if not self.stacked or (self.first_rounds or 0) < rounds:
            return None
        return f"first_rounds={self.first_rounds} must be less than rounds={rounds}, which include those of M2"

    def optimizer_settings(self) -> dict[str, OptimizerSettings]:
        """The settings of the recipe for both models."""
        return dict.fromkeys(("first", "second") if self.stacked else ("model",), self)

    def transform(self, stream: PartStream, seed: int) -> JoinedStreams:  # type: ignore[override]
        """Two streams: all training examples without labels, and the labeled ones."""
        if self.labeled_batch_size > self.labels:
            raise UsageError(
                f"labeled_batch_size={self.labeled_batch_size} must be at most the number of labels, {self.labels}",
                settings=("labeled_batch_size", "labels"),
            )
        labeled = stream.part.take(balanced_subset(stream.part["label"], self.labels, seed))
        batches = Shuffled(labeled, self.labeled_batch_size, seed)
        return join_streams(unlabeled=super().transform(stream, seed), labeled=super().transform(batches, seed))


def balanced_subset(labels: Int[Tensor, "n"], count: int, seed: int) -> Int[Tensor, "count"]:
    """Indices of ``count`` examples, with class counts as equal as possible, chosen by the seed.

    Raises:
        UsageError: if there are fewer examples.

    >>> balanced_subset(torch.tensor([0, 0, 0, 1, 1]), 4, seed=0).shape
    torch.Size([4])
    """
    order = torch.randperm(len(labels), generator=generator("labelled", seed)).to(labels.device)
    shuffled = labels[order]
    rank = torch.zeros_like(shuffled)  # rank of an example within its class
    for label in shuffled.unique():
        members = shuffled == label
        rank[members] = torch.arange(int(members.sum()), device=shuffled.device)
    if count > len(labels):
        raise UsageError(f"labels={count} must be at most the number of training examples, {len(labels)}")
    return order[rank.argsort(stable=True)[:count]].sort().values
