"""A round of DCGAN on 28×28 images, width 64, batch 64, beside a plain loop on networks with the same weights.

The round is Algorithm 1 of Goodfellow et al., "Generative adversarial nets", 2014: one step of the critic on real and
generated images, then one step of the generator on new codes, with the non-saturating loss and Adam. The same weights
after a few rounds are checked first, with the codes that danlu drew.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.harness import Row, alternate, compared, cpu_seconds
from danlu.data import Part, Shuffled
from danlu.models import DCGANCritic, DCGANGenerator
from danlu.tasks import Adversarial
from danlu.training import OptimizerSettings, Runtime, Trainer
from danlu.training.runtime import Precision

SHAPE, LATENT, WIDTH, BATCH, ROUNDS, PAIRS, TARGET = (1, 28, 28), 100, 64, 64, 10, 15, 1.1
LR, BETAS = 2e-4, (0.5, 0.999)


def run() -> list[Row]:
    """One row, in milliseconds a round of processor time on one thread."""
    torch.set_num_threads(1)
    part = Part({"image": torch.rand(50 * BATCH, *SHAPE, generator=torch.Generator().manual_seed(0))})
    apart = _apart(part)
    trainer = _trainer(part, 2 * ROUNDS * (PAIRS + 1))
    rounds, theirs = iter(trainer), _plain(_copy(trainer.task), part)
    found = compared(alternate(lambda: _timed(theirs), lambda: _timed(rounds), PAIRS))
    row = Row(
        name="dcgan",
        peer=f"plain torch {torch.__version__}",
        unit="ms a round",
        **found,
        target=f"at least {TARGET} times as fast",
        met=found["ratio"] >= TARGET and apart <= 1e-8,
        notes=f"28×28, width {WIDTH}, batch {BATCH}; weights after three rounds in float64 from the same codes are "
        f"{apart:.0e} apart, relative to the largest; ours with the setting "
        "channels_last; danlu's round includes gradient norms and the check for NaN",
    )
    return [row]


def _trainer(part: Part, rounds: int, precision: Precision = "float32") -> Trainer:
    torch.manual_seed(0)
    players = DCGANGenerator(SHAPE, 0, (0.0, 1.0), latent=LATENT, width=WIDTH), DCGANCritic(SHAPE, 0, width=WIDTH)
    settings = OptimizerSettings(optimizer="adam", lr=LR, betas=BETAS)
    stream, runtime = Shuffled(part, BATCH), Runtime(precision=precision, channels_last=True)
    return Trainer(Adversarial(*players), settings, stream, rounds, runtime=runtime)


def _plain(task: Adversarial, part: Part, codes: Iterator[Tensor] | None = None) -> Iterator[None]:
    """Rounds as one writes them by hand."""
    generator, critic = task.generator, task.critic
    optimizers = [torch.optim.Adam(net.parameters(), lr=LR, betas=BETAS) for net in (critic, generator)]
    stream, position = Shuffled(part, BATCH), 0

    def draw() -> Tensor:
        return torch.randn(BATCH, LATENT) if codes is None else next(codes)

    while True:
        real = stream.batch(position, slice(0, BATCH))["image"] * 2 - 1
        position += 1
        with torch.no_grad():
            fake = generator(draw())
        optimizers[0].zero_grad()
        (F.softplus(-critic(real)).mean() + F.softplus(critic(fake)).mean()).backward()
        optimizers[0].step()
        optimizers[1].zero_grad()
        F.softplus(-critic(generator(draw()))).mean().backward()
        optimizers[1].step()
        yield


def _timed(rounds: Iterator[object]) -> float:
    def several() -> None:
        for _ in range(ROUNDS):
            next(rounds)

    return cpu_seconds(several) / ROUNDS * 1e3


def _apart(part: Part) -> float:
    """The largest difference of the weights after three rounds from the same codes, in float64.

    In float32, Adam's first steps depend on the sign of gradients that are rounding errors.
    """
    part = part.to("cpu", torch.float64)
    trainer = _trainer(part, 3, "float64")
    task, codes = _copy(trainer.task), []
    handle = trainer.task.generator.first.register_forward_pre_hook(lambda _, inputs: codes.append(inputs[0].detach()))
    for _ in trainer:
        pass
    handle.remove()
    by_hand = _plain(task, part, iter(codes))
    for _ in range(3):
        next(by_hand)
    ours, theirs = (torch.cat([p.detach().flatten() for p in net.parameters()]) for net in (trainer.task, task))
    return float((ours - theirs).abs().max() / theirs.abs().max())


def _copy(task: Adversarial) -> Adversarial:
    """The same networks in torch's default memory format."""
    return copy.deepcopy(task).to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
