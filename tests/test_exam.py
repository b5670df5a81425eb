"""The exam that every recipe of the catalogue sits, at a tiny size: listing a recipe is all it takes."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from danlu import verbs
from danlu.catalogue import RECIPES, find_recipe
from danlu.data import DataSet, Part
from danlu.evaluation import Subject, evaluate_subject, only_generates
from danlu.metrics import perplexity
from danlu.models import load_model, save_model
from danlu.nn.memory_format import place
from danlu.recipes import Recipe, build, from_text, to_yaml
from danlu.training import Runtime, Trainer, evaluate
from danlu.training.validation import evaluation_mode
from examined import finished, go_on, play, tiny, trainer_of, without_dropout
from outcomes import assert_same_tensors
from rank_jobs import play_without_dropout

pytestmark = pytest.mark.parametrize("name", RECIPES)


def test_every_parameter_gets_a_gradient(name):
    trainer = trainer_of(tiny(name))
    seen = {player: set() for player in trainer.players}
    for _ in trainer:
        for player in trainer.players.values():
            seen[player.name] |= {
                n for n, p in zip(player.names_with_gradient(), player.gradients(), strict=True) if p.any()
            }
    for player in trainer.players.values():
        known = {f"{player.name}.{n}" for n, _ in player.module.named_parameters()}
        assert {f"{player.name}.{n}" for n in seen[player.name]} == known - find_recipe(name).without_gradient


def test_a_recipe_survives_its_file(name):
    recipe = tiny(name)
    assert from_text(to_yaml(recipe)) == recipe


@pytest.mark.xdist_group("finished recipes")
def test_a_model_survives_its_folder(name, tmp_path):
    data = tiny(name).load()
    model = finished(name).trainer.task.model.eval()
    save_model(model, tmp_path, data.info)
    back = place(load_model(tmp_path), torch.device("cpu"))
    assert back.info == data.info
    assert verbs.verbs_of(back), "a model without verbs is of no use to anybody"
    for key, value in model.state_dict().items():
        assert torch.equal(back.state_dict()[key], value)
    for values, again in zip(answers(model, data), answers(back, data), strict=True):
        assert torch.equal(values, again)


@torch.no_grad()
def answers(model: object, data) -> list[Tensor]:
    """What the model says of some examples, verb by verb, where the answer is not random."""
    known = ("classify", "log_prob", "energy", "encode", "recall")
    if data.info.kind == "text":
        some = data.test["token"][:40].long().view(5, 8)
    else:
        some = data.test.rows(slice(0, 5))[data.info.inputs]
    said = [getattr(model, verb)(some) for verb in known if verb in verbs.verbs_of(model)]
    if verbs.can(model, "prior"):
        said.append(model.sample(5, generator=torch.Generator().manual_seed(0)))
    return said


@pytest.mark.xdist_group("finished recipes")  # they share what `finished` keeps
@pytest.mark.parametrize(
    "average",
    [None, pytest.param(0.9, marks=pytest.mark.long)],  # averages are resumed in training/test_trainer.py
)
def test_stopped_and_resumed_it_ends_bit_for_bit_the_same(name, average, tmp_path):
    """After the first round and after the fourth; with one player also with an average of its weights."""
    changes = {} if average is None else {"ema": average}
    if changes and "ema" not in find_recipe(name).model_fields:
        pytest.skip("the recipe decides which players have an average")
    whole = finished(name, **changes).state
    first, validation = trainer_of(tiny(name, **changes)), short(tiny(name).load(), tokens=100)
    for report in first:
        evaluate(first, validation)  # looking does not change anything
        if report.round in (1, 4):
            fresh = trainer_of(tiny(name, **changes))
            assert_same_tensors(whole, play(go_on(first, fresh, tmp_path / str(report.round))))
        if report.round == 4:
            break


@pytest.mark.xdist_group("finished recipes")
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_score_has_the_same_value_during_and_after_training(name, precision, monkeypatch):
    """A name means one quantity: with the same weights, the validation log and the final scores agree."""
    monkeypatch.setattr(perplexity, "LANE", 1000)
    if precision == "bf16" and name not in ("mlp", "vae", "lstm-lm"):
        pytest.skip("one recipe of each kind of score")
    trainer, data = finished(name).trainer, tiny(name).load()
    if precision == "bf16":
        trainer.runtime = replace(trainer.runtime, precision="bf16")
    data = replace(data, validation=short(data, tokens=3000))  # several lanes
    logged = evaluate(trainer, data.validation)
    with evaluation_mode(trainer):
        final = evaluate_subject(Subject(trainer.task.model.eval(), data, "validation")).scores
    both = logged.keys() & final.keys()
    for score in both:
        assert final[score] == pytest.approx(logged[score], rel=1e-5), score
    only_in_log = only_generates(trainer.task.model) or name == "conditional-vae"  # which logs scores given the label
    assert bool(both) != only_in_log, f"{sorted(both)} were compared"


def short(data: DataSet, tokens: int) -> Part:
    """The validation part; of a text, so many tokens of it."""
    return data.validation.take(torch.arange(tokens)) if data.info.kind == "text" else data.validation


def test_one_batch_overfits(name):
    """On eight examples, or as many as must have labels, the terms fall far below where they began."""
    if find_recipe(name).overfits_to is None:
        pytest.skip("a game whose players work against each other has no loss that falls")
    text = "text" in find_recipe(name)().kinds
    size = {"batch_size": 2} if text else {"batch_size": "full"}
    recipe = tiny(name, rounds=400, **size, **overfitting(find_recipe(name)()))
    data = recipe.load()
    count = 2 * recipe.bptt + 1 if text else getattr(recipe, "labels", 8)
    few = replace(data, train=data.train.take(torch.arange(count)))
    trainer = without_dropout(build(recipe, data=few).trainer)
    last_turn = [frozenset(report.values()) for report in trainer_of(tiny(name))][-1]
    assert falls(trainer, last_turn, type(recipe).overfits_to)


def falls(trainer: Trainer, turn: frozenset[str], fraction: float) -> bool:
    """Whether the terms of a turn stay below a fraction of their first sum for five reports in a row."""
    first, below = None, 0
    for report in trainer:
        values = report.values()
        if values.keys() == turn:
            total = sum(value for name, value in values.items() if not name.endswith(("/lr", "norm")))
            first = total if first is None else first
            below = below + 1 if total < fraction * first else 0
            if below == 5:
                return True
    return False


def overfitting(recipe: Recipe) -> dict[str, object]:
    """A brisk descent without regularization, where the recipe has just one."""
    if "lr" in type(recipe).model_fields:
        return {"lr": 0.01, "schedule": "constant", "weight_decay": 0.0}
    return {}


def test_micro_batches_make_no_difference(name):
    """1×16 equals 4×4 in float64, or the task says why not."""
    double = Runtime(precision="float64")
    whole, parts = (without_dropout(trainer_of(tiny(name, grad_accumulation=k), double)) for k in (1, 4))
    if whole.task.coupled:
        pytest.skip(f"coupled: {whole.task.coupled}")
    for (key, a), b in zip(play(whole).items(), play(parts).values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.xdist_group("two ranks")
def test_two_ranks_equal_one(name, two_ranks):
    """In float64 two processes end where one ends; of a coupled game they end the same, each time."""
    (first, coupled), (second, _) = two_ranks.run(play_without_dropout, name)
    for key, value in first.items():
        assert torch.equal(value, second[key]), f"the ranks disagree on {key}"
    if coupled:
        (again, _), _ = two_ranks.run(play_without_dropout, name)
        assert all(torch.equal(value, again[key]) for key, value in first.items())
    else:
        alone = play(without_dropout(trainer_of(tiny(name), Runtime(precision="float64"))))
        for key, value in alone.items():
            torch.testing.assert_close(first[key], value, rtol=1e-10, atol=1e-10, msg=lambda m, key=key: f"{key}: {m}")
