"""The estimated memory of a training compared with what a step allocates; measuring changes nothing."""

import warnings

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from danlu.catalogue import find_recipe
from danlu.data import Part, Shuffled, join_streams
from danlu.recipes import build, estimate_memory
from danlu.tasks import Descend, Task
from danlu.training import OptimizerSettings, Trainer, measure_step
from danlu.training.step_memory import _measured_batches


def allocated(step):
    """The most bytes that are allocated at once by a function, without those allocated before."""
    with warnings.catch_warnings(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        warnings.simplefilter("ignore")
        step()
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = torch.tensor([event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())])
    return int(changes.cumsum(0).max())


def built(name, changes):
    return build(find_recipe(name).model_validate({"rounds": 3, **changes}))


def estimate(made):
    return estimate_memory(made.recipe, made.data.info, made.trainer.stream, made.trainer.runtime)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("lstm-lm", {}),
        ("lstm-lm", {"text": {"tokens": "words"}, "bptt": 20}),
        ("peephole-lm", {}),
        pytest.param("nce-lm", {}, marks=pytest.mark.long),
        ("mlp", {"batch_size": 512}),
        ("cnn", {}),
        pytest.param("conditional-vae", {}, marks=pytest.mark.long),
        ("semi-vae", {}),
        pytest.param("sngan", {}, marks=pytest.mark.long),
        ("wgan-gp", {}),
    ],
)
def test_the_estimate_is_about_what_a_step_takes(name, changes):
    made = built(name, changes)
    rounds = iter(made.trainer)
    next(rounds).values()  # the optimizer has its state now
    memory = estimate(made)
    players = made.trainer.players.values()
    states = sum(x.nbytes for player in players for x in player.state().values())
    before = memory.weights + states
    true = before + max(allocated(lambda: next(rounds).values()) for _ in range(2))
    assert 0.6 < memory.total(made.trainer.stream.size) / true < 1.7


def test_weights_gradients_and_states_are_counted_exactly():
    made = built("gan", {})
    numbers = sum(p.numel() for p in made.task.parameters())
    next(iter(made.trainer)).values()
    states = sum(x.nbytes for player in made.trainer.players.values() for x in player.state().values())
    memory = estimate(made)
    assert memory.weights == 4 * numbers
    assert memory.training == 4 * numbers + states


@pytest.mark.parametrize("rows", [1, 3, 8])
def test_saved_tensors_are_counted_once_and_parameters_are_not(rows):
    class Squares(Task):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Linear(5, 1, bias=False)

        def players(self):
            return {"weight": self.weight}

        def turns(self, round):
            return [Descend("weight", self.fit)]

        def fit(self, batch):
            scores = self.weight(batch["x"])[:, 0]
            return {"square": scores.square() + scores.square()}

    stream = Shuffled(Part({"x": torch.randn(8, 5)}), batch_size=rows)
    memory = measure_step(Trainer(Squares(), OptimizerSettings(optimizer="sgd", schedule="constant"), stream, rounds=1))
    assert (memory.weights, memory.training) == (20, 20)
    assert (memory.fixed, memory.per_row, memory.examples_per_row) == (0, 4 * (5 + 1), 1)


def test_a_row_of_text_has_as_many_examples_as_tokens():
    made = built("rnn-lm", {"bptt": 7})
    memory = estimate(made)
    assert memory.examples_per_row == 7
    assert memory.per_example == round(memory.per_row / 7)


def test_joined_streams_are_cut_where_each_has_whole_rows():
    parts = {name: Part({"x": torch.randn(30, 4)}) for name in ("many", "few")}
    stream = join_streams(many=Shuffled(parts["many"], 15), few=Shuffled(parts["few"], 5))

    class Both(Task):
        def __init__(self):
            super().__init__()
            self.net = torch.nn.Linear(4, 1)

        def players(self):
            return {"net": self.net}

        def turns(self, round):
            return [Descend("net", lambda batch: {"mean": self.net(batch.part("many")["x"])[:, 0].square()})]

    memory = measure_step(Trainer(Both(), OptimizerSettings(schedule="constant"), stream, rounds=1))
    assert memory.per_row == 4 * (4 + 1)


@pytest.mark.parametrize("name", ["cnn", "lstm-lm", "wgan", "semi-vae"])
def test_estimating_changes_nothing_of_a_training(name):
    plain, estimated = built(name, {}), built(name, {})
    before = torch.get_rng_state()
    estimate(estimated)
    assert torch.equal(torch.get_rng_state(), before)
    for a, b in zip(plain.trainer, estimated.trainer, strict=True):
        assert a.values() == b.values()
        estimate(estimated)
    states = plain.trainer.state(), estimated.trainer.state()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize(
    ("sizes", "rows"), [((8, 8), (1, 2)), ((8, 4), (4, 8)), ((12, 4), (6, 12)), ((4, 2), (None, 4))]
)
def test_the_smallest_rows_that_all_joined_streams_can_share_are_measured(sizes, rows):
    """Where one row cannot be shared, two rows of the smallest stream, and twice as many; else the whole batch."""
    many, few = (Shuffled(Part({"x": torch.zeros(20, 1)}), size) for size in sizes)
    small, large = _measured_batches(join_streams(many=many, few=few), 1)
    assert (None if small is None else len(small), len(large)) == rows
