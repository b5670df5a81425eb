"""The parameters that Muon trains, against the graph of each loss: output layers are those nearest to a term."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from torch import Tensor, nn

from danlu.catalogue import RECIPES
from danlu.nn import output_layer, roles, spectral_norm
from danlu.tasks import Descend
from danlu.training.optimization.optimizers import NORMS, hidden_matrices, weights
from examined import tiny, trainer_of

# operations that a weight may pass before it is multiplied by features: layouts, a selection, a spectral norm, a type
LAYOUT = {
    "TBackward0",
    "TransposeBackward0",
    "PermuteBackward0",
    "ViewBackward0",
    "ReshapeAliasBackward0",
    "IndexBackward0",
    "CloneBackward0",
    "ToCopyBackward0",
    "DivBackward0",
    "DotBackward0",
    "MvBackward0",
}
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in RECIPES),
    ("vae", {"model": {"channels": (4, 4), "hidden": (8,)}}),
    ("vae", {"separate": True}),
    ("maf", {"model": {"conditioner": "wavenet", "channels": 4, "layers": 2, "blocks": 2}, "conditional": True}),
    ("vae", {"model.posterior": "planar", "model.posterior_layers": 2}),
    ("vae", {"model.posterior": "iaf", "model.posterior_layers": 2, "model.posterior_hidden": (8, 8)}),
    ("semi-vae", {"stacked": False, "model.likelihood": "bernoulli"}),
    ("gan", {"critic.spectral": True}),
    ("gan", {"critic.minibatch": 3}),
    ("sngan", {"conditional": True}),
    ("dcgan", {"conditional": True, "generator.norm": "virtual", "generator.reference": 4}),
    ("lstm-lm", {"model": {"width": 8, "layers": 2, "embedding": 8, "tied": True}}),
    ("lstm-lm", {"model": {"width": 16, "layers": 2, "cutoffs": (5, 9)}}),
    ("lstm-lm", {"model": {"width": 8, "layers": 2, "embedding": 0}}),
    ("lstm-lm", {"model": {"width": 8, "kind": "convolution", "initial": "uniform", "forget_bias": None}}),
]
ONE_PER_TOKEN_OR_CLASS = ("embedding.weight", "encoder.label.weight", "conditioner.context.weight")
"""ends of the names of the embeddings"""


def parameter_behind(node: Any) -> Tensor | None:
    """The parameter that a node of the graph is, apart from its layout and a mask; None if it depends on others."""
    if hasattr(node, "variable"):
        return node.variable
    following = [source for source, _ in node.next_functions]
    masked = node.name() == "MulBackward0" and None in following  # a constant factor has no node
    if node.name() not in LAYOUT and not masked:
        return None
    sources = {parameter_behind(source) for source in following if source is not None}
    return sources.pop() if len(sources) == 1 else None


def nearest_weights(node: Any, seen: set[Any]) -> Iterator[Tensor]:
    """The weights on the way from a loss to the features, without those behind them."""
    if node in seen:
        return
    seen.add(node)
    sources = [source for source, _ in node.next_functions if source is not None]
    multiplied = [p for p in map(parameter_behind, sources) if p is not None and p.ndim > 1]
    yield from multiplied
    for source in [] if multiplied else sources:
        yield from nearest_weights(source, seen)


def output_weights(trainer: Any) -> set[Tensor]:
    result: set[Tensor] = set()
    turns = [turn for round in (0, trainer.rounds - 1) for turn in trainer.task.turns(round)]
    for turn in turns:
        if not isinstance(turn, Descend):
            continue
        trainer.drawn = 1
        trainer.active_player.activate(turn.player, turn.in_training)
        terms = turn.terms(trainer._enter(0, 1, slice(0, trainer.stream.size)))
        own = set(trainer.players[turn.player].parameters)
        for name, term in terms.items():
            # a penalty depends on all weights directly, and a term may depend only on another player
            if name not in ("penalty", "r1", "history") and term.grad_fn is not None:
                result |= set(nearest_weights(term.grad_fn, set())) & own
    trainer.active_player.release()
    return result


@pytest.mark.parametrize(("name", "changes"), VARIANTS, ids=str)
def test_muon_trains_all_matrices_except_embeddings_and_output_layers(name, changes):
    trainer = trainer_of(tiny(name, **changes))
    task = trainer.task
    path_of = dict(map(reversed, task.named_parameters()))
    outputs = output_weights(trainer)
    for part in task.modules():
        if isinstance(part, nn.AdaptiveLogSoftmaxWithLoss):  # its clusters have two layers
            outputs |= {p for p in part.parameters() if p.ndim > 1}
    one_hot = changes.get("model", {}).get("embedding") == 0
    embeddings = (*ONE_PER_TOKEN_OR_CLASS, "weight_ih_l0") if one_hot else ONE_PER_TOKEN_OR_CLASS
    # two vectors of each planar layer; a bound of each value of a coupling
    no_maps = (".1.weight", ".direction") if name == "planar" else (".limit",)
    excluded = {path for path in path_of.values() if path.endswith((*embeddings, *no_maps)) or "peephole" in path}
    norms = {p for part in task.modules() if isinstance(part, NORMS) for p in part.parameters()}
    moved = {p for player in trainer.players.values() for p in hidden_matrices(player.module)}
    trained = {p for player in trainer.players.values() for p in player.parameters}  # a storage rule sets others
    expected = {path_of[p] for p in trained - outputs - norms if p.ndim == 2} - excluded
    assert {path_of[p] for p in moved} == expected
    declared = {p for p, role in roles(task).items() if role == "output" and p.ndim > 1}  # convolutions too
    assert {path_of[p] for p in declared} == {path_of[p] for p in outputs} - excluded


def test_one_diagonal_matrix_per_gate_is_not_decayed():
    module = trainer_of(tiny("peephole-lm")).task.model
    decayed = set(weights(module))
    assert {path for path, p in module.named_parameters() if p.ndim > 1 and p not in decayed} == {
        "layers.peephole_l0",
        "layers.peephole_l1",
    }


def test_a_role_survives_a_copy_and_a_spectral_norm():
    module = deepcopy(spectral_norm(nn.Sequential(nn.Linear(2, 3), output_layer(nn.Linear(3, 4)))))
    assert {tuple(p.shape) for p in roles(module)} == {(4, 3), (4,)}
    assert [tuple(p.shape) for p in hidden_matrices(module)] == [(3, 2)]
