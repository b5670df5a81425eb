"""Probability density distillation: a student learns the density of a teacher from the student's own samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from danlu.data.base.batch_stream import Batch
from danlu.data.base.dataset import DataInfo, Part
from danlu.models.flows.base import Flow
from danlu.rng.keys import generator
from danlu.tasks.likelihood import Likelihood
from danlu.tasks.task import Descend, Place, Task, Terms, Turn
from danlu.verbs import has

DRAWS, BATCH = 2000, 500
"""samples of the student for the score, and how many of them are computed at a time"""
TEACHER = "teacher_"
"""prefix of the scores of the teacher"""


class Divergence(NamedTuple):
    """A Monte Carlo estimate of a KL divergence, in nats per example.

    Attributes:
        mean: the estimate.
        standard_error: its standard error.
    """

    mean: float
    standard_error: float


class Distillation(Task):
    r"""Trains a student q to have the density of a frozen teacher p.

    .. math:: \mathrm{KL}(q \,\|\, p) = \underbrace{-\mathbb E_q[\log p(x)]}_{\text{cross-entropy}}
        - \underbrace{(-\mathbb E_q[\log q(x)])}_{\text{entropy}}

    in nats per example. van den Oord et al., "Parallel WaveNet: fast high-fidelity speech synthesis", 2018, section 4.
    The expectation is over samples of the student, one for each row of the batch. The student computes log q(x) in the
    pass that generates x, and the teacher computes log p(x) in one pass. For ``IAF`` and ``MAF`` these are the fast
    directions, so no step of training is sequential. The gradient follows x through both densities.

    Both terms use the same samples: the estimate is unbiased, and its variance is 0 for q = p. With the entropy in
    closed form, as in the paper, the gradient is the same, because the density of the noise has no parameters, but the
    variance of the estimate is not 0. The examples of a batch are not used, only their number; a class-conditional
    student gets their labels.

    In images, both densities are of the logits of the pixels. The KL divergence is that of the pixels, because both
    models have the same logit.

    With ``teacher_rounds``, the teacher is trained first, by maximum likelihood (``Likelihood``). Afterwards it is
    frozen. Without, it is no player, and never changes.

    The scores are ``kl``, from fixed noise, with its ``kl_standard_error``; those of ``Likelihood`` for the student, on
    held-out examples; and the same for the teacher, with the prefix ``teacher_``.

    Args:
        teacher: the teacher; its ``log_prob`` should take one pass.
        student: the student; its ``sample`` should take one pass.
        info: the description of the examples.
        teacher_rounds: number of rounds in which the teacher is trained; 0 for a trained teacher.

    Raises:
        ValueError: if both models do not take the same examples, or ``teacher_rounds`` is negative.

    >>> from danlu.data.tables.info import TableInfo
    >>> from danlu.models import IAF, MAF
    >>> teacher, student = MAF((2,), blocks=1, hidden=(8,)), IAF((2,), blocks=1, hidden=(8,), batch_norm=False)
    >>> task = Distillation(teacher, student, TableInfo((2,)), teacher_rounds=1)
    >>> [turn.player for turn in task.turns(1)], sorted(Distillation(teacher, student, TableInfo((2,))).players())
    (['student'], ['student'])
    """

    def __init__(self, teacher: Flow, student: Flow, info: DataInfo, teacher_rounds: int = 0):
        super().__init__()
        if teacher_rounds < 0:
            raise ValueError(f"teacher_rounds={teacher_rounds} must be at least 0")
        _check_same_examples(teacher, student)
        self.teacher, self.student, self.teacher_rounds = teacher, student, teacher_rounds
        self.teacher_likelihood, self.student_likelihood = Likelihood(teacher, info), Likelihood(student, info)
        of_teacher = {TEACHER + name: direction for name, direction in self.teacher_likelihood.better.items()}
        self.better: Mapping[str, str] = {"kl": "lower", **self.student_likelihood.better, **of_teacher}

    @property
    def model(self) -> nn.Module:
        return self.student

    @property
    def frozen(self) -> dict[str, nn.Module]:
        """A trained teacher, which never changes."""
        return {} if self.teacher_rounds else {"teacher": self.teacher}

    @property
    def coupled(self) -> str | None:
        """As in ``Task``; batch normalization of a frozen teacher does not use the batch."""
        layers = (layer for player in self.players().values() for layer in player.modules())
        return "batch norm" if any(isinstance(layer, _BatchNorm) for layer in layers) else None

    def players(self) -> dict[str, nn.Module]:
        student: dict[str, nn.Module] = {"student": self.student}
        return {"teacher": self.teacher, **student} if self.teacher_rounds else student

    def turns(self, round: int) -> list[Turn]:
        if round >= self.teacher_rounds:
            return [Descend("student", self.fit)]
        turns = self.teacher_likelihood.turns(round)
        return [turn._replace(player="teacher") if isinstance(turn, Descend) else turn for turn in turns]

    def enter(self, place: Place) -> None:
        """Also set the source of the noise with which images are dequantized for the teacher."""
        super().enter(place)
        self.teacher_likelihood.enter(place)

    def fit(self, batch: Batch) -> Terms:
        """log q and −log p of samples of the student; their sum is an estimate of the KL divergence."""
        log_q, log_p = self.log_probs(self.noise((self.student.latent,)), self._labels(batch.fields))
        return {"negative_entropy": log_q, "cross_entropy": -log_p}

    def log_probs(
        self, z: Float[Tensor, "n latent"], labels: Int[Tensor, "n"] | None = None
    ) -> tuple[Float[Tensor, "n"], Float[Tensor, "n"]]:
        """log q(x) and log p(x) of the samples x that the student makes of standard normal noise.

        In images, they are densities of the logits.

        Args:
            z: the noise.
            labels: the class of each sample, if the models are class-conditional.
        """
        x, log_q = self.student.decode_unbounded(z, labels)
        return log_q, self.teacher.log_prob_unbounded(x, labels)

    def scores(self, batch: Batch) -> Terms:
        """The log-likelihoods of held-out examples under the student and under the teacher."""
        of_teacher = {TEACHER + name: value for name, value in self.teacher_likelihood.scores(batch).items()}
        return {**self.student_likelihood.scores(batch), **of_teacher}

    def scores_of_part(self, part: Part) -> dict[str, float]:
        """The KL divergence and its standard error, from noise that is the same in each call."""
        found = self.divergence(part)
        return {"kl": found.mean, "kl_standard_error": found.standard_error}

    @torch.no_grad()
    def divergence(self, part: Part, draws: int = DRAWS) -> Divergence:
        """The KL divergence of the student from the teacher, from samples with fixed noise.

        Both models are in evaluation mode meanwhile, so batch normalization uses its running averages.

        Args:
            part: examples; only the labels are used, and only by class-conditional models: in turn, or, if there are
                more than samples, evenly spaced over the part.
            draws: number of samples, at least 2.

        Raises:
            ValueError: if ``draws`` is less than 2, for which there is no standard error.
        """
        if draws < 2:
            raise ValueError(f"draws={draws} must be at least 2")
        weight = next(self.student.parameters())
        source = generator("distillation", draws, device=weight.device)
        z = torch.randn(draws, self.student.latent, generator=source, device=weight.device, dtype=weight.dtype)
        labels = self._labels(part.fields)
        if labels is not None:
            labels = labels[_spread(draws, len(labels)).to(labels.device)].to(weight.device)
        parts = zip(z.split(BATCH), (None,) * draws if labels is None else labels.split(BATCH), strict=False)
        with _evaluation_mode(self):
            log_ratio = torch.cat([log_q - log_p for log_q, log_p in (self.log_probs(*one) for one in parts)]).double()
        return Divergence(float(log_ratio.mean()), float(log_ratio.std()) / draws**0.5)

    def _labels(self, fields: Mapping[str, Tensor]) -> Tensor | None:
        return fields["label"] if has(self.student, "class_conditional") else None


def _spread(draws: int, n: int) -> Int[Tensor, "draws"]:
    """Numbers of examples for a number of draws: all in turn, or, of more examples, evenly spaced ones.

    >>> _spread(5, 2).tolist(), _spread(3, 12).tolist()
    ([0, 1, 0, 1, 0], [0, 4, 8])
    """
    numbers = torch.arange(draws)
    return numbers * n // draws if n > draws else numbers % n


@contextmanager
def _evaluation_mode(module: nn.Module) -> Iterator[None]:
    """A context in which all parts of a module are in evaluation mode; each one then gets its own mode back."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def _check_same_examples(teacher: Flow, student: Flow) -> None:
    """Check that the densities of two flows can be compared: both have the same examples and the same logit.

    Raises:
        ValueError: if they differ.
    """
    for name in ("shape", "classes", "levels", "range"):
        of_teacher, of_student = getattr(teacher, name), getattr(student, name)
        if of_teacher != of_student:
            raise ValueError(f"teacher and student need the same {name}, got {of_teacher} and {of_student}")
    if teacher.logit is not None and student.logit is not None and teacher.logit.alpha != student.logit.alpha:
        raise ValueError(
            f"teacher and student need the same alpha, got {teacher.logit.alpha:g} and {student.logit.alpha:g}"
        )
