"""Which losses, techniques and norms go together: a combination takes finite steps, or is refused as the docs say."""

import re
from itertools import combinations
from pathlib import Path
from string import ascii_lowercase
from typing import get_args

import pytest
import torch

from danlu.data import Part, Shuffled
from danlu.losses import Loss
from danlu.models import DCGANCritic, DCGANGenerator, MLPCritic, MLPGenerator
from danlu.tasks import Adversarial, Techniques, conflict
from danlu.training import OptimizerSettings, Trainer
from examined import play

LOSSES: tuple[Loss, ...] = get_args(Loss)
SWITCHES = {
    "smoothing": {"real_target": 0.9},
    "weight_clip": {"weight_clip": 0.05},
    "penalty": {"penalty": 1.0},
    "one_sided": {"penalty": 1.0, "one_sided": True},
    "r1": {"r1": 1.0},
    "feature_matching replace": {"feature_matching": "replace"},
    "feature_matching add": {"feature_matching": "add"},
    "history": {"history": 0.1},
    "instance_noise": {"instance_noise": 0.1, "noise_rounds": 3},
    "spectral": {"spectral": True},
    "minibatch": {"minibatch": 3},
}
NORMS = (None, "batch", "layer", "virtual")
OF_CRITIC = ("spectral", "minibatch")


def expected(loss, on, norm):
    """Whether a combination is to be refused; by hand, from what each switch does."""
    bounds = {"weight_clip", "penalty", "spectral"} & {name.replace("one_sided", "penalty") for name in on}
    slope = {"penalty", "one_sided", "r1"} & set(on)
    return (
        ("smoothing" in on and loss in ("hinge", "wasserstein"))
        or len(bounds) > 1
        or (loss == "wasserstein" and not bounds and "r1" not in on)
        or bool(slope and (norm == "batch" or "minibatch" in on))
    )


def players_of(kind, norm, **switches):
    virtual = {"norm": norm, "reference": 4}
    if kind == "mlp":
        generator = MLPGenerator((1, 2, 2), 3, (0.0, 1.0), latent=2, hidden=(5,), **virtual)
        return generator, MLPCritic((1, 2, 2), 3, hidden=(5,), **virtual, **switches)
    generator = DCGANGenerator((1, 8, 8), 3, (0.0, 1.0), latent=2, width=2, **virtual)
    return generator, DCGANCritic((1, 8, 8), 3, width=2, **virtual, **switches)


def pictures(*shape, n=12):
    random = torch.Generator().manual_seed(1)
    return Part({"image": torch.rand(n, *shape, generator=random), "label": torch.arange(n) % 3})


PICTURES = {"mlp": pictures(1, 2, 2), "dcgan": pictures(1, 8, 8)}


def flat(player):
    return torch.cat([p.detach().clone().flatten() for p in player.parameters()])


def check(kind, loss, on, norm):
    """It is refused with the line that ``conflict`` has for it, or both players take finite steps."""
    values = {key: value for name in on for key, value in SWITCHES[name].items()}
    of_critic = {key: values.pop(key) for key in OF_CRITIC if key in values}
    how, here = Techniques(**values), (loss, on, norm)
    line = conflict(loss, how, "spectral" in of_critic, "minibatch" in of_critic, norm == "batch")
    assert (line is not None) == expected(loss, on, norm), here
    torch.manual_seed(0)
    players = players_of(kind, norm, **of_critic)
    if line is not None:
        with pytest.raises(ValueError, match=f"^{re.escape(line)}$"):
            Adversarial(*players, loss, how)
        return
    descent = OptimizerSettings(optimizer="adam", lr=0.01, ema=0.5)
    trainer = Trainer(Adversarial(*players, loss, how), descent, Shuffled(PICTURES[kind], 6), 2)
    before = {name: flat(player) for name, player in trainer.task.players().items()}
    state = play(trainer)
    assert all(value.isfinite().all() for value in state.values()), here
    assert all(not torch.equal(flat(player), before[name]) for name, player in trainer.task.players().items()), here


@pytest.mark.parametrize("name", [None, *SWITCHES])
@pytest.mark.parametrize(
    ("kind", "loss"),
    [("mlp", loss) for loss in LOSSES]
    + [("dcgan", "non-saturating"), ("dcgan", "wasserstein")]
    + [
        pytest.param("dcgan", loss, marks=pytest.mark.long)
        for loss in LOSSES
        if loss not in ("non-saturating", "wasserstein")
    ],
)
def test_every_loss_technique_and_norm(kind, loss, name):
    bound = ["r1"] if loss == "wasserstein" and name == "feature_matching add" else []
    for norm in NORMS:
        check(kind, loss, [*([name] if name else []), *bound], norm)


@pytest.mark.parametrize("pair", list(combinations(SWITCHES, 2)), ids=" and ".join)
def test_every_pair_of_techniques(pair):
    """With each loss; of the Wasserstein distance also with the bound that it needs, if the pair has none."""
    for loss in LOSSES:
        check("mlp", loss, pair, None)
    if not {"weight_clip", "penalty", "one_sided", "r1", "spectral"} & set(pair):
        check("mlp", "wasserstein", [*pair, "weight_clip"], None)


def test_everything_that_goes_together_at_once():
    check("mlp", "non-saturating", ["smoothing", "one_sided", "r1", "feature_matching add", "history"], "virtual")
    check("dcgan", "least-squares", ["weight_clip", "instance_noise", "history", "minibatch"], "batch")


# the page that says so

PAGE = Path(__file__).parents[2] / "docs" / "models" / "gan-techniques.md"
COLUMNS = {
    "smoothing": {"real_target": 0.9},
    "clip": {"weight_clip": 0.01},
    "penalty": {"penalty": 1.0},
    "R1": {"r1": 1.0},
    "spectral": {"spectral": True},
    "minibatch": {"minibatch": True},
    "matching": {"feature_matching": "add"},
    "history": {"history": 1.0},
    "noise": {"instance_noise": 0.1},
    "batch": {"batch_norm": True},
    "layer": {},
    "virtual": {},
}
ONE_NORM = {"batch", "layer", "virtual"}
OF_NETWORK = ("spectral", "minibatch", "batch_norm")


def why(loss, *names):
    """The line that refuses a pair; of the Wasserstein distance one that lacks a bound has clipped weights as well."""
    values = {key: value for name in names for key, value in COLUMNS[name].items()}
    if loss == "wasserstein" and not {"clip", "penalty", "R1", "spectral"} & set(names):
        values["weight_clip"] = 0.01
    network = {key: values.pop(key, False) for key in OF_NETWORK}
    return conflict(loss, Techniques(**values), **network)


def table_of_pairs():
    """The table and the lines behind its letters, as they must stand on the page."""
    letters = {}

    def cell(loss, *names):
        if len(names) == 2 and (names[0] == names[1] or set(names) <= ONE_NORM):
            return "–"
        line = why(loss, *names)
        return "✓" if line is None else letters.setdefault(line, ascii_lowercase[len(letters)])

    rows = [[f"`{loss}`", *(cell(loss, name) for name in COLUMNS)] for loss in LOSSES]
    rows += [[name, *(cell("non-saturating", name, other) for other in COLUMNS)] for name in COLUMNS]
    lines = ["| | " + " | ".join(COLUMNS) + " |", "|---|" + ":-:|" * len(COLUMNS)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines), "\n".join(f"- **{letter}**: {line}" for line, letter in letters.items())


def test_the_page_has_the_table_of_pairs():
    table, lines = table_of_pairs()
    page = PAGE.read_text(encoding="utf-8")
    assert table in page, f"the page should have\n{table}"
    assert lines in page, f"the page should have\n{lines}"
    assert f"- {conflict('wasserstein', Techniques())}\n" in page
