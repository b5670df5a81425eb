"""β trades reconstruction against KL divergence (notes, 2.1.3.5.2).

A VAE with a normal decoder is trained on the digits with β = 1, 4 and 16, and with 1/4. It minimizes D + β R, where D
is the reconstruction, minus the expectation of log p(x | z), and R is the KL divergence of q(z | x) from the prior. At
the minimum R falls and D rises with β, and a model trained with a neighboring β has a higher D + β R at this β; the
slope of the curve between two neighbors is then between their values of β (Alemi et al., "Fixing a broken ELBO", 2018,
where D is called the distortion and R the rate).

With a fixed standard deviation of the decoder, D is half the squared error in units of the variance plus a constant.
The constant is left out, so that D is positive and a factor has a meaning. Both terms are measured on the training
digits, on which the objective is minimized, and on the test digits.

The clauses are about β from 1, the VAE without a weight, upward, as in Higgins et al., "β-VAE", 2017. With β = 1/4 the
eight latent units limit the reconstruction more than the KL divergence does: its D + β R is about a fiftieth below that
of its neighbor, which is within the differences between seeds. Only the two terms are compared there.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from danlu.data.base.batch_stream import Shuffled
from danlu.data.datasets.digits import digits
from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.parallel import run_each
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.trainers import from_seed
from danlu.experiments.harness.wording import mean_and_range, number
from danlu.models.latent.vae import VAE
from danlu.rng.keys import generator
from danlu.tasks.elbo import Elbo
from danlu.tasks.kl_weight import KLWeight
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BELOW, *WEIGHTED = BETAS = (0.25, 1.0, 4.0, 16.0)
LOWEST, HIGHEST = WEIGHTED[0], WEIGHTED[-1]
LATENT = 8
SPREAD = 0.1  # standard deviation of the normal decoder: a tenth of the pixel range
DRAWS = 16
ACTIVE = 0.05  # nats: a latent unit with at least this KL divergence is active
ROUNDS = 1500
TRAVERSED = (1.0, 16.0)  # values of β for the latent traversals
STEPS = (-2.0, -1.0, 0.0, 1.0, 2.0)  # in standard deviations of the prior
Traversal = list[list[list[list[float]]]]
"""images as nested lists: latent unit, step, row, pixel"""
MEAN_IMAGE, STEP, TEST_STEP = "mean image", "from one β to the next", "from one β to the next, test digits"


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Both terms and active units by β and seed; traversals of the units with the largest KL divergence."""
    run_seeds = seeds(seed, 2 if quick else 5)
    betas, rounds = ((BELOW, LOWEST, HIGHEST), 30) if quick else (BETAS, ROUNDS)
    models: Numbers = {arm(beta): {} for beta in betas}
    walks: Numbers = {}
    runs = [(run_seed, beta, rounds) for run_seed in run_seeds for beta in betas]
    for (run_seed, beta, _), (terms, walk) in zip(runs, run_each(measure_vae, runs, progress, "VAEs"), strict=True):
        for name, value in terms.items():
            models[arm(beta)].setdefault(name, []).append(value)
        if run_seed == run_seeds[0] and (beta in TRAVERSED or quick):
            walks[str(beta)] = walk
    changes = {STEP: weakest_changes(betas[1:], models), TEST_STEP: weakest_changes(betas[1:], models, ", test")}
    x = digits().train["image"]
    constant = float((x - x.mean(0)).square().sum() / len(x) / (2 * SPREAD**2))
    mean_image = {MEAN_IMAGE: {"reconstruction": [constant] * len(run_seeds)}}
    return {"arms": {**models, **changes, **mean_image}, "betas": list(betas), "walks": walks}


def measure_vae(seed: int, beta: float, rounds: int) -> tuple[dict[str, float], Traversal]:
    """Train one VAE; both terms on the training and on the test digits, and images."""
    data, vae = digits(), _learn(beta, rounds, seed)
    terms = both_terms(vae, data.train["image"], seed)
    terms |= {f"{name}, test": value for name, value in both_terms(vae, data.test["image"], seed).items()}
    return terms, _traversal(vae, data.train["image"])


def arm(beta: float) -> str:
    """The name of the models with one β.

    >>> arm(0.25)
    'β = 0.25'
    """
    return f"β = {beta:g}"


def _learn(beta: float, rounds: int, seed: int) -> VAE:
    make = partial(VAE, (1, 8, 8), LATENT, (128,), likelihood="gaussian", spread=SPREAD)
    vae = cast(VAE, from_seed(make, seed))
    settings = OptimizerSettings(lr=3e-3, schedule="cosine")
    for _ in Trainer(Elbo(vae, KLWeight(beta)), settings, Shuffled(digits().train, 128, seed), rounds, seed):
        pass
    vae.eval()
    return vae


@torch.no_grad()
def both_terms(vae: VAE, x: Tensor, seed: int) -> dict[str, float]:
    """Means over the examples and over fixed draws of the latent noise; the reconstruction without its constant."""
    noise = torch.randn(DRAWS, len(x), LATENT, generator=generator("codes", seed))
    through = vae(x, noise)
    kl = through.posterior.kl().mean(0)
    constant = x[0].numel() * math.log(SPREAD * math.sqrt(2 * math.pi))
    return {
        "KL": float(kl.sum()),
        "reconstruction": float(vae.autoencoder.reconstruction(x, through).mean()) - constant,
        "active": float((kl > ACTIVE).sum()),
    }


def weakest_changes(betas: tuple[float, ...], models: Numbers, part: str = "") -> dict[str, list[float]]:
    """For each seed the weakest of all changes from one β to the next.

    Returns:
        ``KL`` and ``reconstruction``: the factor by which the term falls or rises. ``own``: the fraction by
        which D + β R of a model is below that of a neighbor at the β of the model.
    """
    runs = zip(*(zip(models[arm(b)]["KL" + part], models[arm(b)]["reconstruction" + part], strict=True)
                 for b in betas), strict=True)  # fmt: skip
    found: dict[str, list[float]] = {"KL": [], "reconstruction": [], "own": []}
    for run in runs:
        steps = list(pairwise(zip(betas, run, strict=True)))
        found["KL"].append(min(one[0] / other[0] for (_, one), (_, other) in steps))
        found["reconstruction"].append(min(other[1] / one[1] for (_, one), (_, other) in steps))
        found["own"].append(
            min(min(advantage(a, one, other), advantage(b, other, one)) for (a, one), (b, other) in steps)
        )
    return found


def advantage(beta: float, own: tuple[float, float], neighbor: tuple[float, float]) -> float:
    """The fraction by which D + β R of a model is below that of a neighbor.

    >>> advantage(1.0, (2.0, 4.0), (1.0, 7.0))
    0.25
    """
    mine, other = (reconstruction + beta * kl for kl, reconstruction in (own, neighbor))
    return 1 - mine / other


@torch.no_grad()
def _traversal(vae: VAE, x: Tensor, units: int = 3) -> Traversal:
    """Decoded images along each of the units with the largest KL divergence; all other units are 0."""
    kl = vae.posterior(x).kl()
    assert kl is not None
    best = kl.mean(0).argsort(descending=True)[:units]
    z = torch.zeros(units, len(STEPS), LATENT)
    for row, unit in enumerate(best.tolist()):
        z[row, :, unit] = torch.tensor(STEPS)
    images = vae.decode(z.flatten(0, 1))[:, 0].unflatten(0, (units, len(STEPS)))
    return [[[[round(p, 3) for p in line] for line in one] for one in row] for row in images.tolist()]


# a hundredth: less would not be visible in the images
_LEAST = 1.01


def _falls(step: str, words: str) -> Comparison:
    return Comparison(f"{words} the KL divergence falls", step, 1.0, "KL", _LEAST, ratio=True)


def _rises(step: str, words: str) -> Comparison:
    return Comparison(f"{words} the reconstruction term rises", step, 1.0, "reconstruction", _LEAST, ratio=True)


FALLS, RISES = _falls(STEP, "with every larger β"), _rises(STEP, "with every larger β")
# half: less over a 16-fold range would be of no use for an adjustment
HALVED = Comparison(
    f"from β = {LOWEST:g} to {HIGHEST:g} the KL divergence is at least halved",
    arm(HIGHEST), arm(LOWEST), "KL", 2.0, lower=True, ratio=True,
)  # fmt: skip
DOUBLED = Comparison(
    f"from β = {LOWEST:g} to {HIGHEST:g} the reconstruction term is at least doubled",
    arm(HIGHEST), arm(LOWEST), "reconstruction", 2.0, ratio=True,
)  # fmt: skip
OWN = Comparison("every model is better at its own β than its neighbors", STEP, 0.0, "own", 0.001)
ON_TEST = (_falls(TEST_STEP, "on the test digits, too,"), _rises(TEST_STEP, "on the test digits, too,"))
BELOW_1 = (
    Comparison("from β = 0.25 to 1 the KL divergence falls, too", arm(BELOW), arm(LOWEST), "KL", _LEAST, ratio=True),
    Comparison(
        "from β = 0.25 to 1 the reconstruction term rises, too",
        arm(BELOW), arm(LOWEST), "reconstruction", _LEAST, lower=True, ratio=True,
    ),
)  # fmt: skip
CRITERIA = Criteria(
    clauses=(FALLS, RISES, HALVED, DOUBLED, OWN),
    gates=(
        Comparison(
            "with β = 1 the reconstruction is better than the mean image", arm(LOWEST), MEAN_IMAGE, "reconstruction",
            2.0, lower=True, ratio=True,
        ),
    ),
    limits=(*ON_TEST, *BELOW_1),
)  # fmt: skip


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """Factors of both terms over the range of β; what is not shown; active units."""
    low, high = (numbers["arms"][arm(beta)] for beta in (LOWEST, HIGHEST))
    factors = [
        number(fmean(a / b for a, b in zip(one, other, strict=True)), 2)
        for one, other in ((low["KL"], high["KL"]), (high["reconstruction"], low["reconstruction"]))
    ]
    text = (
        f"From β = {LOWEST:g} to {HIGHEST:g} the KL divergence falls by a factor of {factors[0]} and the squared "
        f"error of the reconstruction rises by a factor of {factors[1]}."
    )
    units = [number(fmean(one["active"]), 2) for one in (low, high)]
    text += judgment.not_shown(FALLS, RISES, HALVED, DOUBLED, OWN, *ON_TEST, *BELOW_1)
    return (
        text
        + f" {units[0]} of {LATENT} latent units are active with β = {LOWEST:g} and {units[1]} with β = {HIGHEST:g}."
    )


def table(numbers: Numbers) -> Table:
    """KL divergence, reconstruction and active units by β, on training and test digits."""
    rows: Table = [("β", *(f"{name}, nats" for name in TERMS[:-1]), TERMS[-1])]
    for beta in numbers["betas"]:
        measures = numbers["arms"][arm(beta)]
        names = ("KL", "KL, test", "reconstruction", "reconstruction, test", "active")
        rows.append((f"{beta:g}", *(mean_and_range(measures[name]) for name in names)))
    return rows


TERMS = ("KL divergence", "KL divergence, test", "reconstruction", "reconstruction, test", "active units")


def plot(numbers: Numbers) -> Figure:
    """Reconstruction against KL divergence, and traversals of the units with the largest KL divergence."""
    from danlu.experiments.harness.plots import colors, panels, secondary_color

    figure, (left, *walks) = panels(1 + len(numbers["walks"]), height=2.5)
    for index, (part, label) in enumerate((("", "training digits"), (", test", "test digits"))):
        points = [[fmean(numbers["arms"][arm(beta)][name + part]) for name in ("KL", "reconstruction")]
                  for beta in numbers["betas"]]  # fmt: skip
        left.plot(*zip(*points, strict=True), "os"[index] + "-", color=colors()[index], markersize=3, label=label)
        for beta, (kl, term) in zip(numbers["betas"] if index else (), points, strict=False):
            left.annotate(f"β = {beta:g}", (kl, term), (4, 3), textcoords="offset points", ha="left", va="bottom",
                          fontsize=7, color=secondary_color())  # fmt: skip
    left.set(title="both terms by β", xlabel="KL divergence, nats", ylabel="reconstruction, nats")
    most = max(numbers["arms"][arm(beta)]["KL"][0] for beta in numbers["betas"])
    left.set(xlim=(0, 1.4 * most), ylim=(0, 1.15 * left.get_ylim()[1]))
    left.grid(True)
    left.legend(loc="upper right", fontsize=7)
    for axes, (beta, rows) in zip(walks, numbers["walks"].items(), strict=True):
        grid = torch.tensor(rows)
        lines = [torch.cat([torch.nn.functional.pad(one, (1, 1, 1, 1), value=1.0) for one in row], 1) for row in grid]
        axes.imshow(torch.cat(lines).numpy(), cmap="gray", vmin=0, vmax=1)
        axes.set(title=f"images with β = {float(beta):g}", xticks=[], yticks=[], xlabel="one latent unit, −2 to 2")
        axes.spines[:].set_visible(False)
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        f"A VAE is trained on the digits with {len(BETAS)} values of β, and both terms of its loss are measured: the "
        "KL divergence and the reconstruction, which is half the squared error in units of the decoder's variance. "
        "Each model is compared with its neighbors at its own β."
    ),
    caption=(
        "Left: reconstruction against KL divergence for each β; means over seeds. A knob that trades one for the other "
        "gives a falling curve. Right: decoded images along the three latent units with the largest KL divergence, one "
        "unit per row; with a large β the units carry less information."
    ),
)
