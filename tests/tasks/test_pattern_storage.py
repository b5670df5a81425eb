"""Storage of patterns in the trainer: one turn, no optimizer, scores of damaged patterns."""

import pytest
import torch

from danlu.data import Part, Shuffled
from danlu.data.base.sign_flips import flip_signs
from danlu.models import Hopfield
from danlu.tasks import PatternStorage, Update
from danlu.training import Trainer, evaluate


def part(count=6, units=80):
    source = torch.Generator().manual_seed(0)
    x = torch.where(torch.rand(count, units, generator=source) < 0.5, -1.0, 1.0)
    return Part({"x": x, "pattern": x})


def trained(examples, batch_size, rounds, **options):
    memory = Hopfield(examples["x"].shape[1:], len(examples), **options)
    trainer = Trainer(PatternStorage(memory, "x"), {}, Shuffled(examples, batch_size), rounds)
    reports = [report.values() for report in trainer]
    assert reports == [{}] * rounds
    return trainer


@pytest.mark.parametrize("form", ["classic", "modern"])
@pytest.mark.parametrize("batch_size", [6, 2, 4])
def test_after_an_epoch_every_example_is_stored_in_its_place(form, batch_size):
    """In one round, in batches, and in batches that do not divide the number of examples."""
    examples = part()
    memory = trained(examples, batch_size, -(-6 // batch_size), form=form).task.model
    assert torch.equal(memory.patterns.float(), examples["x"])
    whole = Hopfield((80,), 6, form=form)
    whole.store(examples["x"])
    assert all(map(torch.equal, memory.state_dict().values(), whole.state_dict().values()))
    assert [type(turn) for turn in PatternStorage(memory, "x").turns(0)] == [Update]


def test_scores_are_those_of_each_damaged_pattern():
    examples = part(5, 60)
    trainer = trained(examples, 5, 1)
    copies = Part({name: values.repeat(8, 1) for name, values in examples.fields.items()})
    damaged = Part({"x": flip_signs(copies["x"], 0.35, "t"), "pattern": copies["pattern"]})
    scores, model = evaluate(trainer, damaged, batch_size=7), trainer.task.model
    ends = [model.recall(one[None])[0] for one in damaged["x"]]
    overlap = [float((a * b).mean()) for a, b in zip(ends, damaged["pattern"], strict=True)]
    exact = [torch.equal(a, b) for a, b in zip(ends, damaged["pattern"], strict=True)]
    assert scores["overlap"] == pytest.approx(sum(overlap) / 40, rel=1e-6)
    assert scores["recalled"] == sum(exact) / 40
    assert 0 < scores["recalled"] < 1
    assert scores["stable_patterns"] == sum(torch.equal(model.recall(x[None])[0], x) for x in examples["x"]) / 5


def test_patterns_that_are_not_stable_are_diagnosed():
    crowded = part(40, 60)
    task = trained(crowded, 40, 1).task
    stable = task.scores_of_part(crowded)["stable_patterns"]
    lost = round(40 * (1 - stable))
    assert lost > 0
    message = task.diagnose({"stable_patterns": stable})
    assert message.startswith(f"{lost} of 40 stored patterns are not stable")
    assert message.endswith("use fewer patterns, model.storage=pseudo-inverse or model.form=modern")
    assert trained(crowded, 40, 1, storage="pseudo-inverse").task.diagnose({"stable_patterns": 1.0}) is None
    modern = trained(crowded, 40, 1, form="modern", beta=1e-3).task
    found = modern.diagnose(modern.scores_of_part(crowded))
    assert found.endswith("use fewer patterns or a larger model.beta")
