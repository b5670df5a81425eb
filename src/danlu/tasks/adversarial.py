"""Adversarial training of a generator and a critic; all GANs of danlu are this task with different terms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from danlu.data.base.batch_stream import Batch
from danlu.errors import UsageError
from danlu.losses.adversarial import TARGETED, Loss, fake_cost, generator_cost, real_cost, slope_penalty, slopes
from danlu.losses.per_example import per_example
from danlu.models.adversarial.base import Critic, Generator
from danlu.nn.norm.spectral import power_iteration_step, spectral_norm_weights
from danlu.tasks.historical_average import HistoricalAverage
from danlu.tasks.task import Descend, Task, Terms, Turn, Update

MIN_DIVERSITY, MIN_COVERAGE, MIN_MEMORIZATION, SATURATED = 0.5, 0.8, 0.5, -5.0
"""Thresholds of ``diagnose``; at scores below the last one the gradient of loss minimax vanishes."""

Matching = Literal["none", "replace", "add"]


class Techniques(NamedTuple):
    """Techniques added to plain adversarial training; ``conflict`` describes combinations that are not allowed.

    Attributes:
        critic_turns: turns of the critic per turn of the generator.
        real_target: target for real examples; 0.9 is one-sided label smoothing.
        fake_target: target for generated examples.
        weight_clip: largest absolute value of the critic's weights (Arjovsky et al., 2017).
        penalty: weight λ of the gradient penalty between real and generated examples (Gulrajani et al., 2017).
        one_sided: whether gradient norms below 1 have no penalty.
        r1: weight γ of the gradient penalty at real examples (Mescheder et al., 2018).
        feature_matching: "replace" or "add": feature matching instead of, or in addition to, the generator's loss.
        history: weight of historical averaging for both players.
        instance_noise: standard deviation of noise added to all inputs of the critic, scaled to [-1, 1] for images.
        noise_rounds: rounds over which that noise falls linearly to 0; 0 for constant noise.
    """

    critic_turns: int = 1
    real_target: float = 1.0
    fake_target: float = 0.0
    weight_clip: float | None = None
    penalty: float = 0.0
    one_sided: bool = False
    r1: float = 0.0
    feature_matching: Matching = "none"
    history: float = 0.0
    instance_noise: float = 0.0
    noise_rounds: int = 0

    def noise_at(self, round: int) -> float:
        """Standard deviation of the instance noise in a round.

        >>> Techniques(instance_noise=0.5, noise_rounds=100).noise_at(75)
        0.125
        """
        remaining = max(0.0, 1 - round / self.noise_rounds) if self.noise_rounds else 1.0
        return self.instance_noise * remaining


PLAIN = Techniques()
"""One turn for each player, and no added techniques."""


class Adversarial(Task):
    r"""Train a critic to distinguish real from generated examples, and a generator to raise the scores of its examples.

    The critic gets real and generated examples as separate batches if its output depends on the batch. Both networks
    are in training mode in all turns, as in the published code of DCGAN and WGAN-GP: the dropout of the opponent is
    active, and its batch normalization uses the statistics of the batch. The critic's
    terms are ``real``, ``fake`` and the active penalties; the generator's are ``fool`` and ``features``. Feature
    matching, historical averaging and one-sided label smoothing: Salimans et al., "Improved techniques for training
    GANs", 2016, section 3. Minibatch discrimination, virtual batch normalization and spectral normalization are
    settings of the networks; weight averaging of the generator is a setting of its optimizer.

    Args:
        generator: the generator.
        critic: the critic.
        loss: name of the loss.
        techniques: added techniques.
        inputs: name of the batch field with the examples.

    Raises:
        ValueError: if a number is out of range, generator and critic do not match, or ``conflict`` gives a reason.

    >>> from danlu.models import MLPCritic, MLPGenerator
    >>> players = MLPGenerator((2,), classes=0, range=None), MLPCritic((2,), classes=0)
    >>> task = Adversarial(*players, loss="wasserstein", techniques=Techniques(critic_turns=2, weight_clip=0.01))
    >>> [getattr(turn, "player", "clip") for turn in task.turns(0)]
    ['critic', 'clip', 'critic', 'clip', 'generator']
    """

    better: Mapping[str, str] = {}

    def __init__(
        self,
        generator: Generator,
        critic: Critic,
        loss: Loss = "non-saturating",
        techniques: Techniques = PLAIN,
        inputs: str = "image",
    ):
        super().__init__()
        _check(generator, critic, techniques)
        self.has_spectral_norm = any(True for _ in spectral_norm_weights(critic))
        has_minibatch, self.normalizes_by_batch = critic.minibatch is not None, _normalizes_by_batch(critic)
        if reason := conflict(loss, techniques, self.has_spectral_norm, has_minibatch, self.normalizes_by_batch):
            raise ValueError(reason)
        self.generator, self.critic = generator, critic
        self.loss: Loss = loss
        self.techniques, self.inputs = techniques, inputs
        self.past = nn.ModuleDict(
            {name: HistoricalAverage(player) for name, player in self.players().items()} if techniques.history else {}
        )

    @property
    def model(self) -> nn.Module:
        return self.generator

    @property
    def coupled(self) -> str | None:
        if self.critic.minibatch is not None:
            return "minibatch discrimination"
        return super().coupled or ("feature matching" if self.techniques.feature_matching != "none" else None)

    def players(self) -> dict[str, nn.Module]:
        return {"critic": self.critic, "generator": self.generator}

    def turns(self, round: int) -> list[Turn]:
        both = ("critic", "generator")
        critic_turn: list[Turn] = [
            Descend("critic", partial(self.critic_terms, round=round), in_training=("generator",))
        ]
        if self.techniques.weight_clip is not None or self.has_spectral_norm or self.past:
            critic_turn.append(Update(self.constrain_critic, in_training=both))
        # the generator reuses the critic's last batch: same size and labels
        turns = [
            *critic_turn * self.techniques.critic_turns,
            Descend("generator", partial(self.generator_terms, round=round), False, ("critic",)),
        ]
        if self.past:
            turns.append(Update(lambda batch: self._past("generator").remember(self.generator), in_training=both))
        if round == 0 and (self.generator.reference is not None or self.critic.reference is not None):
            turns.insert(0, Update(self.choose_reference, fresh=True, in_training=both))
        return turns

    def critic_terms(self, batch: Batch, round: int) -> Terms:
        """The critic's loss on real and generated examples, and its penalties."""
        techniques = self.techniques
        labels = self._labels(batch)
        real = self._with_instance_noise(self.generator.to_critic_range(batch[self.inputs]), round)
        with torch.no_grad():
            fake = self._with_instance_noise(self._generated(labels), round)
        real_scores, fake_scores = self._scores(real, fake, labels)
        terms = {
            "real": real_cost(real_scores, self.loss, techniques.real_target),
            "fake": fake_cost(fake_scores, self.loss, techniques.fake_target),
        }
        if techniques.penalty:
            between = fake + self.noise((1,) * (real.dim() - 1), uniform=True) * (real - fake)
            terms["penalty"] = techniques.penalty * slope_penalty(self._slopes(between, labels), techniques.one_sided)
        if techniques.r1:
            terms["r1"] = techniques.r1 / 2 * self._slopes(real, labels).square()
        return self._with_history(terms, "critic", len(real))

    def generator_terms(self, batch: Batch, round: int) -> Terms:
        """The generator's loss on its examples."""
        matching = self.techniques.feature_matching
        labels = self._labels(batch)
        fake = self._with_instance_noise(self._generated(labels), round)
        features = self.critic.features(fake, labels)
        terms = {}
        if matching != "replace":
            terms["fool"] = generator_cost(self.critic.score(features, labels), self.loss)
        if matching != "none":
            with torch.no_grad():
                real = self._with_instance_noise(self.generator.to_critic_range(batch[self.inputs]), round)
                target = self.critic.features(real, labels).mean(0)
            terms["features"] = per_example((features.mean(0) - target).square().sum(), len(fake))
        return self._with_history(terms, "generator", len(fake))

    def constrain_critic(self, batch: Batch) -> None:
        """Constrain the critic after each of its turns: clip weights, run the power iteration, update its average."""
        if (limit := self.techniques.weight_clip) is not None:
            for parameter in self.critic.parameters():
                parameter.clamp_(-limit, limit)
        if self.has_spectral_norm:
            power_iteration_step(self.critic)
        if self.past:
            self._past("critic").remember(self.critic)

    def choose_reference(self, batch: Batch) -> None:
        """Fill the reference batches of virtual batch normalization, once.

        Raises:
            UsageError: if the batch is too small.
        """
        for reference in (self.critic.reference, self.generator.reference):
            if reference is not None and len(reference) > len(batch):
                raise UsageError(f"reference={len(reference)} must be at most the batch size, {len(batch)}")
        if (reference := self.critic.reference) is not None:
            reference.copy_(self.generator.to_critic_range(batch[self.inputs][: len(reference)]))
            if self.critic.reference_labels is not None:
                self.critic.reference_labels.copy_(batch["label"][: len(reference)])
        if (reference := self.generator.reference) is not None:
            reference.copy_(self.noise((self.generator.latent,))[: len(reference)])

    def scores(self, batch: Batch) -> Terms:
        """The critic's scores of held-out real examples and of generated ones.

        Empty with minibatch discrimination, where scores depend on the batch size.
        """
        if self.critic.minibatch is not None:
            return {}
        labels = self._labels(batch)
        real, fake = self.generator.to_critic_range(batch[self.inputs]), self._generated(labels)
        return {"score_on_real": self.critic(real, labels), "score_on_fake": self.critic(fake, labels)}

    def diagnose(self, scores: Mapping[str, float]) -> str | None:
        """Detect mode collapse, a saturated critic, and copies of training examples."""
        return "\n".join(self._problems(scores)) or None

    def _problems(self, scores: Mapping[str, float]) -> Iterator[str]:
        diversity, memorization = scores.get("diversity", 1.0), scores.get("memorization", 1.0)
        symptoms = []
        if diversity < MIN_DIVERSITY:
            symptoms.append(f"generated examples have {diversity:.2g} times the diversity of the data")
        if (coverage := scores.get("coverage", 1.0)) < MIN_COVERAGE:
            symptoms.append(f"{1 - coverage:.0%} of the modes of the data are not generated")
        if symptoms:
            yield f"Mode collapse: {' and '.join(symptoms)}. Try {self._remedies()}."
        if self.loss == "minimax" and scores.get("score_on_fake", 0.0) < SATURATED:
            yield (
                f"Saturation: the mean score of generated examples is {scores['score_on_fake']:.1f}, where the "
                f"gradient of loss minimax vanishes. Use loss non-saturating."
            )
        if memorization < MIN_MEMORIZATION:
            yield (
                f"Memorization: the distance of generated examples to the nearest training example is "
                f"{memorization:.2g} times that of new examples of the data. Train for fewer rounds or on more "
                f"examples."
            )

    def _remedies(self) -> str:
        """Suggestions against mode collapse, without techniques that are already used or cannot be combined."""
        if self.techniques.penalty or self.techniques.r1:
            return "another seed, a larger critic, or more critic_turns"
        minibatch = "minibatch discrimination (critic.minibatch=16), " if self.critic.minibatch is None else ""
        return f"{minibatch}another seed, or loss wasserstein with a gradient penalty (penalty=10)"

    def _generated(self, labels: Tensor | None) -> Tensor:
        return self.generator(self.noise((self.generator.latent,)), labels)

    def _labels(self, batch: Batch) -> Tensor | None:
        return batch["label"] if self.generator.classes else None

    def _with_instance_noise(self, x: Tensor, round: int) -> Tensor:
        deviation = self.techniques.noise_at(round)
        return x + deviation * self.noise(tuple(x.shape[1:])) if deviation else x

    def _scores(self, real: Tensor, fake: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """Scores of both, in one faster pass if the scores, or at least the features, of examples are independent."""
        if self.normalizes_by_batch:
            return self.critic(real, labels), self.critic(fake, labels)
        x, both = torch.cat([real, fake]), None if labels is None else torch.cat([labels, labels])
        if self.critic.minibatch is None:
            first, second = self.critic(x, both).tensor_split(2)
        else:
            first, second = (self.critic.score(f, labels) for f in self.critic.features(x, both).tensor_split(2))
        return first, second

    def _slopes(self, x: Tensor, labels: Tensor | None) -> Float[Tensor, "n"]:
        x = x.detach().requires_grad_()
        return slopes(self.critic(x, labels), x)

    def _past(self, name: str) -> HistoricalAverage:
        past = self.past[name]
        assert isinstance(past, HistoricalAverage)
        return past

    def _with_history(self, terms: Terms, name: str, n: int) -> Terms:
        if not self.past:
            return terms
        distance = self._past(name).distance(self.players()[name])
        return {**terms, "history": per_example(self.techniques.history * distance, n)}


def conflict(
    loss: Loss, techniques: Techniques, spectral: bool = False, minibatch: bool = False, batch_norm: bool = False
) -> str | None:
    """The reason why a loss, techniques and a critic cannot be combined, or None if they can.

    Args:
        loss: name of the loss.
        techniques: the techniques.
        spectral: whether the critic has spectral normalization.
        minibatch: whether it has minibatch discrimination.
        batch_norm: whether it has batch normalization.

    >>> conflict("hinge", Techniques(real_target=0.9))
    'label smoothing needs a loss with targets (...), got loss hinge'
    """
    if techniques.fake_target >= techniques.real_target:
        return f"fake_target={techniques.fake_target} must be less than real_target={techniques.real_target}"
    if (techniques.real_target, techniques.fake_target) != (1.0, 0.0) and loss not in TARGETED:
        return f"label smoothing needs a loss with targets ({', '.join(TARGETED)}), got loss {loss}"
    constraints = {
        "weight_clip": techniques.weight_clip is not None,
        "penalty": techniques.penalty > 0,
        "critic.spectral": spectral,
    }
    if sum(constraints.values()) > 1:
        names = " and ".join(name for name, on in constraints.items() if on)
        return f"{names} constrain the gradient of the critic in different ways; set only one of them"
    if loss == "wasserstein" and not any(constraints.values()) and not techniques.r1:
        return (
            "loss wasserstein is unbounded without a constraint of the critic; set weight_clip, penalty, r1 or "
            "critic.spectral"
        )
    if techniques.penalty or techniques.r1:
        name = "penalty" if techniques.penalty else "r1"
        single = f"{name} needs a critic whose score of an example does not depend on other examples"
        if batch_norm:
            return f"{single}, which batch norm violates; set critic.norm to layer, virtual or None"
        if minibatch:
            return f"{single}, which minibatch discrimination violates; use one of them"
    return None


def _check(generator: Generator, critic: Critic, techniques: Techniques) -> None:
    if generator.shape != critic.shape or generator.classes != critic.classes:
        raise ValueError(
            f"generator and critic must have the same shape and classes, got {generator.shape} and "
            f"{generator.classes} for the generator, {critic.shape} and {critic.classes} for the critic"
        )
    if techniques.critic_turns < 1:
        raise ValueError(f"critic_turns={techniques.critic_turns} must be at least 1")
    for name in ("real_target", "fake_target"):
        if not 0 <= getattr(techniques, name) <= 1:
            raise ValueError(f"{name}={getattr(techniques, name)} must be from 0 to 1")
    for name in ("penalty", "r1", "history", "instance_noise", "noise_rounds"):
        if getattr(techniques, name) < 0:
            raise ValueError(f"{name}={getattr(techniques, name)} must be at least 0")
    if techniques.weight_clip is not None and techniques.weight_clip <= 0:
        raise ValueError(f"weight_clip={techniques.weight_clip} must be greater than 0")


def _normalizes_by_batch(module: nn.Module) -> bool:
    return any(isinstance(part, _BatchNorm) for part in module.modules())
