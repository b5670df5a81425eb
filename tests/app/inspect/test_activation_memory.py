"""The memory that is foretold for a language model beside what a step allocates."""

import warnings

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from danlu.app.inspect.model_summary import summarize
from danlu.app.runs.session import Session
from danlu.catalogue.recipes import find_recipe


def allocated(step):
    """The most bytes that are there at once while something runs, beside those that were there before."""
    with warnings.catch_warnings(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        warnings.simplefilter("ignore")
        step()
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = torch.tensor([event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())])
    return int(changes.cumsum(0).max())


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("lstm-lm", {}),
        ("lstm-lm", {"text": {"tokens": "words"}, "bptt": 20}),
        ("peephole-lm", {}),
    ],
)
def test_what_is_foretold_is_about_what_a_step_takes(name, changes):
    session = Session.start(find_recipe(name).model_validate({"rounds": 3, **changes}))
    trainer = session.trainer
    rounds = iter(trainer)
    next(rounds).values()  # the optimizer has its state now
    summary = summarize(trainer.task.model, session.data.info.shape)
    foretold = summary.memory(trainer.stream.size * trainer.stream.length, "adamw")
    before = 3 * 4 * summary.parameters  # weights and two moments
    assert 0.6 < foretold / (before + allocated(lambda: next(rounds).values())) < 1.7
