"""Stored patterns are minima of the energy of a Hopfield network, and descent finds them (notes, 2.1.1.1).

Line 421: with W = x xᵀ, the energy of x is the unique minimum; for several x, W is built so that each is a local
minimum, and a stored x is found by descent. The sentence is tested in its parts.

* One pattern: the energies of all states of a small network. ``lowest states`` counts those with the lowest energy.
* Several random patterns with Hebb's rule, W = (1/N) ∑ x xᵀ with zero diagonal: the fraction that are local minima,
  where no change of one unit lowers the energy; the fraction that is found from a state in which each unit has the
  other sign with probability 0.2; and the changes of single units that raise the energy, among all changes.

The control is a network that stores as many other patterns. A random state is no minimum of it.

Random patterns are the best case. Limits of the claim are images: six random capital letters, which are similar to each
other, with Hebb's rule. The table also has the pseudo-inverse rule for the same letters.
"""

from __future__ import annotations

from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.data.base.sign_flips import flip_signs
from danlu.data.datasets.glyphs import draw
from danlu.data.images.glyph_settings import Glyphs
from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.wording import mean_and_range, percent
from danlu.metrics.recall import recalled
from danlu.models.energy.hopfield import Hopfield
from danlu.models.energy.storage_rules import StorageName
from danlu.rng.keys import generator, key

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE = 28
PATTERNS, COPIES, NOISE = 6, 10, 0.2
SMALL = 12  # units of the network whose states are all enumerated
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ONE, RANDOM, OTHER = "one pattern", "random patterns", "other network"
LETTERS, PROJECTED = "letters", "letters, pseudo-inverse"
STORED = {RANDOM: "stored", OTHER: "other"}
"""the patterns that a network stores; those that are recalled are the stored ones of the first"""


def random_patterns(count: int, units: int, *parts: int | str) -> Float[Tensor, "count units"]:
    """Independent random signs."""
    return torch.randint(0, 2, (count, units), generator=generator("patterns", *parts)).float() * 2 - 1


def letter_patterns(seed: int) -> Float[Tensor, "count units"]:
    """Different capital letters, bold and upright, black and white."""
    chosen = torch.randperm(len(ALPHABET), generator=generator("letters", seed))[:PATTERNS].tolist()
    face: dict[str, Any] = {"family": "sans", "weight": "bold", "slant": "upright"}
    place: dict[str, Any] = {"rotate": 0, "scale": (1.6, 1.6), "translate": 0}
    page = Glyphs(characters=tuple(ALPHABET[k] for k in chosen), examples=PATTERNS, **face, **place)
    images = draw(torch.arange(PATTERNS), "train", page).image.flatten(1)
    return torch.where(images >= 128, 1.0, -1.0)


def network(patterns: Float[Tensor, "count units"], storage: StorageName = "hebbian") -> Hopfield:
    """The network that stores the patterns."""
    model = cast(Hopfield, Hopfield(patterns.shape[1:], len(patterns), storage=storage))
    model.store(patterns)
    return model


def lowest_states(seed: int) -> dict[str, float]:
    """One pattern in a small network: whether it has the lowest energy of all states, and how many states have it."""
    pattern = random_patterns(1, SMALL, "small", seed)
    model = network(pattern)
    bits = torch.arange(2**SMALL)[:, None] >> torch.arange(SMALL) & 1
    energies = model.energy(bits.float() * 2 - 1)
    lowest = energies.min()
    return {
        "lowest": float(model.energy(pattern)[0] == lowest),
        "lowest states": float((energies == lowest).sum()),
    }


def recall(model: Hopfield, patterns: Float[Tensor, "count units"], seed: int) -> dict[str, float]:
    """How many patterns are minima of a network, and how many are found from damaged ones."""
    damaged = flip_signs(patterns.repeat(COPIES, 1), NOISE, "experiment", seed)
    originals = patterns.repeat(COPIES, 1)
    trace = model.recall_trace(damaged, seed=seed)
    assert trace.flips is not None, "the classic form is updated unit by unit"
    return {
        "minimum": fmean(float(is_minimum(model, one)) for one in patterns),
        "found": float(recalled(trace.states[-1], originals).double().mean()),
        "raised": float((trace.flips.change > 0).double().mean()) if len(trace.flips.change) else 0.0,
        "changes": float(len(trace.flips.change)),
        "damage": float((damaged != originals).double().mean()),
    }


def is_minimum(model: Hopfield, state: Float[Tensor, "units"]) -> bool:
    """Whether no change of one unit lowers the energy; all neighbors are computed."""
    neighbors = state.expand(len(state), -1) * (1 - 2 * torch.eye(len(state)))
    return bool((model.energy(neighbors) >= model.energy(state[None])).all())


def measure_seed(seed: int) -> dict[str, dict[str, float]]:
    """The measures of all arms for one set of patterns."""
    patterns, letters = random_patterns(PATTERNS, SIDE**2, "stored", seed), letter_patterns(seed)
    networks = {arm: network(random_patterns(PATTERNS, SIDE**2, name, seed)) for arm, name in STORED.items()}
    return {
        ONE: lowest_states(seed),
        **{arm: recall(model, patterns, seed) for arm, model in networks.items()},
        LETTERS: recall(network(letters), letters, seed),
        PROJECTED: recall(network(letters, "pseudo-inverse"), letters, seed),
    }


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """All measures for each seed; energies and images of one recall."""
    run_seeds = seeds(seed, 3 if quick else 8)
    arms: dict[str, dict[str, list[float]]] = {}
    for done, run_seed in enumerate(run_seeds):
        progress("sets of patterns", done, len(run_seeds))
        for arm, values in measure_seed(run_seed).items():
            for name, value in values.items():
                arms.setdefault(arm, {}).setdefault(name, []).append(value)
    return {"arms": arms, "shown": shown(run_seeds[0])}


def shown(seed: int) -> dict[str, Any]:
    """Letters before and after a recall with both rules, and the energy of one recall after every change of a unit."""
    letters = letter_patterns(seed)
    damaged = flip_signs(letters, NOISE, "shown", key("shown", seed))
    rules: tuple[StorageName, ...] = ("hebbian", "pseudo-inverse")
    rows = [letters, damaged, *(network(letters, rule).recall(damaged, seed=seed) for rule in rules)]
    patterns = random_patterns(PATTERNS, SIDE**2, "stored", seed)
    model = network(patterns)
    curves = []
    for noise in (0.1, NOISE, 0.3):
        trace = model.recall_trace(flip_signs(patterns[:1], noise, "curve", seed), seed=seed)
        updates, energies = trace.energy_curve(0)
        curves.append({"noise": noise, "updates": updates.tolist(), "energies": energies.tolist()})
    images = [[[int(value > 0) for value in image.tolist()] for image in row] for row in rows]
    return {"images": images, "curves": curves, "level": float(model.energy(patterns[:1])[0])}


# Half of the patterns is the smallest fraction of which "the patterns are" can be said; the control is near 0.
_most = partial(Comparison, margin=0.5)
LOWEST = _most("a single stored pattern has the lowest energy of all states", ONE, 0.0, "lowest")
UNIQUE = Comparison(  # x and another state would be 2
    "no other state has the energy of a single stored pattern", ONE, 2.0, "lowest states", 1.0, lower=True
)
MINIMUM = _most("stored random patterns are minima of the energy", RANDOM, OTHER, "minimum")
FOUND = _most("descent finds stored random patterns from 20 % noise", RANDOM, OTHER, "found")
DESCENT = Comparison("no change of a unit raises the energy", RANDOM, 0.01, "raised", 0.01, lower=True)
SIMILAR = _most("stored letters are minima of the energy with Hebb's rule", LETTERS, OTHER, "minimum")
CRITERIA = Criteria(
    clauses=(LOWEST, MINIMUM, FOUND, DESCENT),
    gates=(
        Comparison("noise changes at least a tenth of the units", RANDOM, 0.0, "damage", 0.1),
        Comparison("units change during the recall", RANDOM, 0.0, "changes", 100.0),
    ),
    limits=(UNIQUE, SIMILAR),
)


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """What is found; then the two limits."""
    arms = numbers["arms"]
    found, other = (percent(fmean(arms[arm]["found"])) for arm in (RANDOM, OTHER))
    text = f"Descent from 20 % noise ends at {found} of the stored random patterns"
    text += f", and at {other} of patterns that are not stored."
    text += judgment.not_shown(*CRITERIA.clauses)
    if judgment.refuted(UNIQUE.clause):
        text += " A single pattern x is not the unique minimum: −x has the same energy."
    elif not judgment.supported(UNIQUE.clause):
        text += judgment.not_shown(UNIQUE)
    if judgment.refuted(SIMILAR.clause):
        text += " Similar images are not minima with Hebb's rule; with the pseudo-inverse rule they are."
    elif not judgment.supported(SIMILAR.clause):
        text += judgment.not_shown(SIMILAR)
    return text


def table(numbers: Numbers) -> Table:
    """Fractions of minima and of found patterns, by arm."""
    rows: Table = [("network", "patterns that are minima", "found from 20 % noise", "changes that raise the energy")]
    for arm in (RANDOM, OTHER, LETTERS, PROJECTED):
        values = numbers["arms"][arm]
        rows.append((arm, *(mean_and_range(values[name]) for name in ("minimum", "found", "raised"))))
    one = numbers["arms"][ONE]
    rows.append(("one pattern: lowest energy, states with it", mean_and_range(one["lowest"]),
                 mean_and_range(one["lowest states"]), ""))  # fmt: skip
    return rows


def plot(numbers: Numbers) -> Figure:
    """Letters before and after the recall with both rules; energies of three recalls."""
    from danlu.experiments.harness.plots import colors, image_grid, panels, secondary_color

    figure, (left, right) = panels(2, height=2.7, width_ratios=(1.25, 1))
    images = torch.tensor(numbers["shown"]["images"], dtype=torch.float32)
    image_grid(left, images.flatten(0, 1).view(-1, SIDE, SIDE), images.shape[1])
    middles = [SIDE / 2 + (SIDE + 2) * row for row in range(len(images))]
    left.set_yticks(middles, ["stored", "damaged", "Hebb", "pseudo-inverse"])
    left.tick_params(length=0)
    left.set(title="recall of letters")
    right.axhline(numbers["shown"]["level"], color=secondary_color(), linewidth=0.8, linestyle=(0, (4, 3)))
    for k, curve in enumerate(numbers["shown"]["curves"]):
        right.plot(curve["updates"], curve["energies"], color=colors()[k], linewidth=1, label=percent(curve["noise"]))
    right.set(title="energy, random patterns", xlabel="updates of single units")
    right.legend(title="noise")
    right.grid(True, axis="y")
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        f"Hebb's rule stores one pattern in {SMALL} units, whose states are all enumerated, and {PATTERNS} random "
        f"patterns or letters in {SIDE**2} units. Damaged patterns are recalled by asynchronous updates, and by a "
        f"network that stores other patterns."
    ),
    caption=(
        "Left: six letters, the same with 20 % noise, and what is recalled with Hebb's rule and with the "
        "pseudo-inverse rule. Right: the energy after every change of a unit, by the amount of noise; the dashed line "
        "is the energy of the stored pattern."
    ),
)
