"""β trades reconstruction against KL divergence (notes, 2.1.3.5.2).

A VAE with a normal decoder is trained on the digits with β from 1/4 to 16. It minimizes D + β R, where D is
the reconstruction, minus the expectation of log p(x | z), and R is the KL divergence of q(z | x) from the prior. At the
minimum, R falls and D rises with β, and no model trained with a neighboring β has a lower D + β R at this β. The slope
of the curve between two neighbors is then between their values of β (Alemi et al., "Fixing a broken ELBO", 2018, where
D is called the distortion and R the rate). Both terms are measured on the training digits, on which the objective is
minimized. Two seeds.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from danlu.data.base.batch_stream import Shuffled
from danlu.data.datasets.digits import digits
from danlu.experiments.harness.experiment import JudgedExperiment, Numbers, ProgressCallback, Table, Verdict
from danlu.experiments.harness.trainers import from_seed, spread
from danlu.models.latent.vae import VAE
from danlu.rng.keys import generator
from danlu.tasks.elbo import Elbo, KLWeight
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BETAS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
LATENT = 8
SPREAD = 0.1  # standard deviation of the normal decoder: a tenth of the pixel range
DRAWS = 16
ACTIVE = 0.05  # nats: a latent unit with at least this KL divergence is active
SLACK = 0.1  # nats: tolerated advantage of a neighbor, because training has not converged exactly
TRAVERSED = (1.0, 4.0)  # values of β for the latent traversals
STEPS = (-2.0, -1.0, 0.0, 1.0, 2.0)  # in standard deviations of the prior


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Both terms and active units by β and seed; traversals of the units with the largest KL divergence."""
    seeds = range(seed, seed + (1 if quick else 2))
    betas, rounds = (BETAS[::3], 150) if quick else (BETAS, 2000)
    x = digits().train["image"]
    runs: list[list[Numbers]] = []
    walks: Numbers = {}
    for run_seed in seeds:
        runs.append([])
        for index, beta in enumerate(betas):
            progress("VAEs", (run_seed - seed) * len(betas) + index, len(seeds) * len(betas))
            vae = _learn(beta, rounds, run_seed)
            runs[-1].append(_measured(vae, x, run_seed))
            if run_seed == seed and (beta in TRAVERSED or quick):
                walks[str(beta)] = _traversal(vae, x)
    return {"betas": list(betas), "runs": runs, "walks": walks}


def _vae(seed: int) -> VAE:
    make = partial(VAE, (1, 8, 8), LATENT, (128,), likelihood="gaussian", spread=SPREAD)
    return cast(VAE, from_seed(make, seed))


def _learn(beta: float, rounds: int, seed: int) -> VAE:
    vae = _vae(seed)
    settings = OptimizerSettings(lr=3e-3, schedule="cosine")
    for _ in Trainer(Elbo(vae, KLWeight(beta)), settings, Shuffled(digits().train, 128, seed), rounds, seed):
        pass
    vae.eval()
    return vae


@torch.no_grad()
def _measured(vae: VAE, x: Tensor, seed: int) -> Numbers:
    """Means over the examples and over fixed draws of the latent noise."""
    noise = torch.randn(DRAWS, len(x), LATENT, generator=generator("codes", seed))
    through = vae(x, noise)
    kl = through.posterior.kl().mean(0)
    return {
        "rate": float(kl.sum()),
        "distortion": float(vae.autoencoder.reconstruction(x, through).mean()),
        "active": int((kl > ACTIVE).sum()),
    }


@torch.no_grad()
def _traversal(vae: VAE, x: Tensor, units: int = 3) -> list[list[list[list[float]]]]:
    """Decoded images along each of the units with the largest KL divergence; all other units are 0."""
    kl = vae.posterior(x).kl()
    assert kl is not None
    best = kl.mean(0).argsort(descending=True)[:units]
    z = torch.zeros(units, len(STEPS), LATENT)
    for row, unit in enumerate(best.tolist()):
        z[row, :, unit] = torch.tensor(STEPS)
    images = vae.decode(z.flatten(0, 1))[:, 0].unflatten(0, (units, len(STEPS)))
    return [[[[round(p, 3) for p in line] for line in one] for one in row] for row in images.tolist()]


def suboptimality(betas: list[float], run: list[Numbers]) -> float:
    """The largest advantage, in nats, of a neighboring model over a model at its own β; 0 if there is none."""
    results = [0.0]
    for (a, one), (b, other) in pairwise(zip(betas, run, strict=True)):
        results.append(one["distortion"] + a * one["rate"] - other["distortion"] - a * other["rate"])
        results.append(other["distortion"] + b * other["rate"] - one["distortion"] - b * one["rate"])
    return max(results)


def _traded(run: list[Numbers]) -> bool:
    """Whether the KL divergence falls and the reconstruction rises with β, until the KL divergence is almost 0."""
    pairs = [(a, b) for a, b in pairwise(run) if a["rate"] > SLACK]
    return bool(pairs) and all(a["rate"] > b["rate"] and a["distortion"] < b["distortion"] for a, b in pairs)


def verdict(numbers: Numbers) -> Verdict:
    """Holds if, in every seed, the two terms change in opposite directions and each model is best at its own β."""
    betas, runs = numbers["betas"], numbers["runs"]
    ends = [(run[0], run[-1]) for run in runs]
    worst = max(suboptimality(betas, run) for run in runs)
    (low, high), one = ends[0], runs[0][min(range(len(betas)), key=lambda index: abs(betas[index] - 1))]
    reason = (
        f"From β = {betas[0]:g} to {betas[-1]:g} the KL divergence changes from {low['rate']:.1f} to "
        f"{high['rate']:.1f} nats, the reconstruction from {low['distortion']:.1f} to {high['distortion']:.1f} nats, "
        f"and the number of active units from {low['active']} to {high['active']} of {LATENT}. At its own β, a model "
        f"is at most {worst:.2f} nats worse than a neighbor. The ELBO is highest near β = 1, where it is "
        f"{-one['rate'] - one['distortion']:.2f} nats."
    )
    if any(low["rate"] <= high["rate"] or low["distortion"] >= high["distortion"] for low, high in ends):
        return Verdict("does not hold", reason)
    if not all(_traded(run) for run in runs) or worst > SLACK:
        return Verdict(
            "holds with limits", f"{reason} The trade-off does not hold between all neighboring values of β."
        )
    return Verdict("holds", reason)


def table(numbers: Numbers) -> Table:
    """KL divergence, reconstruction, ELBO and active units by β."""
    rows: Table = [("β", "KL divergence, nats", "reconstruction, nats", "ELBO", "active units")]
    for index, beta in enumerate(numbers["betas"]):
        results = [run[index] for run in numbers["runs"]]
        elbos = [-one["rate"] - one["distortion"] for one in results]
        active = sorted({one["active"] for one in results})
        columns = (spread([one[key] for one in results], ".2f") for key in ("rate", "distortion"))
        rows.append((f"{beta:g}", *columns, spread(elbos, ".2f"), "–".join(map(str, active))))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Reconstruction against KL divergence, and traversals of the units with the largest KL divergence."""
    from danlu.experiments.harness.plots import colors, panels, secondary_color

    figure, (left, *walks) = panels(1 + len(numbers["walks"]), height=2.5)
    for number, run in enumerate(numbers["runs"]):
        kls, reconstructions = ([one[key] for one in run] for key in ("rate", "distortion"))
        left.plot(kls, reconstructions, "o-"[number > 0 :], color=colors()[number], markersize=3)
        if number == 0:
            for beta, kl, reconstruction in zip(numbers["betas"], kls, reconstructions, strict=True):
                offset = {"xytext": (4, 3), "textcoords": "offset points", "fontsize": 7, "color": secondary_color()}
                left.annotate(f"{beta:g}", (kl, reconstruction), **offset)
    left.set(title="both terms by β", xlabel="KL divergence, nats", ylabel="reconstruction, nats")
    left.grid(True)
    left.margins(x=0.14)
    for axes, (beta, rows) in zip(walks, numbers["walks"].items(), strict=True):
        grid = torch.tensor(rows)
        lines = [torch.cat([torch.nn.functional.pad(one, (1, 1, 1, 1), value=1.0) for one in row], 1) for row in grid]
        axes.imshow(torch.cat(lines).numpy(), cmap="gray", vmin=0, vmax=1)
        axes.set(title=f"β = {float(beta):g}", xticks=[], yticks=[], xlabel="one latent unit, −2 to 2")
        axes.spines[:].set_visible(False)
    return figure


EXPERIMENT = JudgedExperiment(measure, verdict, table, plot)
