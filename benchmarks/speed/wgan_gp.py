"""A round of convolutional WGAN-GP, batch 128, on a GPU: five turns of the critic and one of the generator.

Public code for CIFAR-10 takes hours for 100,000 rounds; there is no peer to run in turn, so the time is absolute.
"""

from __future__ import annotations

import statistics
import time

import torch

from benchmarks.harness import Row, quartiles
from danlu.data import Part, Shuffled
from danlu.models import DCGANCritic, DCGANGenerator
from danlu.tasks import Adversarial, Techniques
from danlu.training import OptimizerSettings, Runtime, Trainer

SHAPE, BATCH, ROUNDS, WARM, CHUNK, TARGET = (3, 32, 32), 128, 5000, 100, 500, 6.0


def run() -> list[Row]:
    """One row, in milliseconds a round; none where there is no GPU."""
    if not torch.cuda.is_available():
        print("wgan-gp: there is no GPU here")
        return []
    return [_row(Runtime.start("cuda", precision="bf16", tf32=True, channels_last="on"))]


def _row(runtime: Runtime) -> Row:
    torch.manual_seed(0)
    players = DCGANGenerator(SHAPE, 0, (0.0, 1.0), latent=128), DCGANCritic(SHAPE, 0, norm=None)
    task = Adversarial(*players, "wasserstein", Techniques(critic_turns=5, penalty=10.0))
    part = Part({"image": torch.rand(10_000, *SHAPE)}).to(runtime.device)
    descent = OptimizerSettings(optimizer="adam", lr=1e-4, betas=(0.0, 0.9))
    trainer = Trainer(task, descent, Shuffled(part, BATCH), WARM + ROUNDS, runtime=runtime)
    rounds = iter(trainer)
    for _ in range(WARM):
        next(rounds)
    times = [_chunk(rounds) for _ in range(ROUNDS // CHUNK)]
    return Row(
        name="wgan-gp",
        peer="none",
        unit="ms a round",
        theirs=0.0,
        ours=statistics.median(times),
        ratio=None,
        spread=quartiles(times),
        difference=statistics.median(times),
        target=f"at most {TARGET} ms over {ROUNDS} rounds",
        met=statistics.mean(times) <= TARGET,
        notes=f"batch {BATCH}, 3×32×32, width 64, bf16, channels last; a round is five turns of the critic and one of "
        "the generator",
    )


def _chunk(rounds: object) -> float:
    """Milliseconds of a round, over some of them."""
    torch.cuda.synchronize()
    begun = time.perf_counter()
    for _ in range(CHUNK):
        next(rounds)  # type: ignore[call-overload]
    torch.cuda.synchronize()
    return (time.perf_counter() - begun) / CHUNK * 1000
