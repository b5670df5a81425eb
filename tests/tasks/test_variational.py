"""Variational inference on densities whose normalization is known."""

import math

import pytest
import torch
from torch import distributions, nn

from danlu.data import ENERGIES, Batch, Part, Shuffled
from danlu.models import Flow
from danlu.nn import ActNorm
from danlu.tasks import Place, Variational
from danlu.training import OptimizerSettings, Trainer, evaluate

MEAN, DEVIATION = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0])
LOG_Z = torch.log(2 * math.pi * DEVIATION.prod()).item()


def energy(x):
    """Of a normal distribution, without its normalization."""
    return 0.5 * ((x - MEAN) / DEVIATION).square().sum(1)


def task_of(log_z=LOG_Z, **more) -> Variational:
    """q is normal, too: x = z e^{-s} + m."""
    return Variational(Flow((2,), ActNorm(2)), energy, log_z, **more)


def batch_of(n):
    return Batch({"x": torch.zeros(n, 2)}, rows=slice(0, n), size=n, numbers=torch.arange(n))


def entered(task, n):
    task.enter(Place(0, 0, 0, slice(0, n), n, torch.device("cpu"), torch.float32))
    return task


def test_the_divergence_is_that_of_the_two_distributions():
    n = 100_000
    task = entered(task_of(), n)
    with torch.no_grad():
        task.model.transform.shift.copy_(torch.tensor([0.5, 0.0]))
        task.model.transform.log_scale.copy_(torch.tensor([0.3, -0.7]))
        scores = task.scores(batch_of(n))
    q = distributions.Normal(task.model.transform.shift, (-task.model.transform.log_scale).exp())
    exact = distributions.kl_divergence(q, distributions.Normal(MEAN, DEVIATION)).sum().item()
    kl = scores["kl"]
    assert kl.mean().item() == pytest.approx(exact, abs=5 * kl.std().item() / n**0.5)
    torch.testing.assert_close(scores["log_prob"], q.log_prob(torch.zeros(n, 2)).sum(1))


def test_without_log_z_the_score_is_the_free_energy():
    with torch.no_grad():
        known, unknown = (entered(task_of(log_z), 5).scores(batch_of(5)) for log_z in (LOG_Z, None))
    torch.testing.assert_close(unknown["free_energy"] + LOG_Z, known["kl"])
    assert task_of(None).better == {"free_energy": "lower", "log_prob": "higher"}
    assert task_of(inputs=None).better == {"kl": "lower"}


def test_the_terms_are_the_free_energy_with_the_weight_of_the_round():
    task = entered(task_of(annealing=10), 6)
    early = task.fit(batch_of(6), round=0)
    late = entered(task, 6).fit(batch_of(6), round=10)
    torch.testing.assert_close(early["energy"], 0.01 * late["energy"])
    torch.testing.assert_close(early["log_q"], late["log_q"])
    assert [task.weight_at(round) for round in (0, 5, 10, 99)] == pytest.approx([0.01, 0.505, 1, 1])
    assert [turn.player for turn in task.turns(3)] == ["model"]


def test_training_finds_the_target():
    task = task_of(annealing=50)
    stream = Shuffled(Part({"x": torch.zeros(64, 2)}), 64)
    trainer = Trainer(task, OptimizerSettings(optimizer="adam", lr=0.05, schedule="cosine"), stream, rounds=400)
    for _ in trainer:
        pass
    q = task.model.transform
    torch.testing.assert_close(q.shift, nn.Parameter(MEAN), atol=0.02, rtol=0)
    torch.testing.assert_close(-q.log_scale, DEVIATION.log(), atol=0.02, rtol=0)
    assert evaluate(trainer, Part({"x": torch.zeros(500, 2)}))["kl"] == pytest.approx(0, abs=1e-3)


def test_the_density_of_samples_of_the_target_is_a_score():
    """For q = p it is minus the entropy of p."""
    u1 = ENERGIES["u1"]
    x = u1.sample(20_000, torch.Generator().manual_seed(0))
    task = entered(Variational(Flow((2,), ActNorm(2)), u1.energy, u1.log_z), len(x))
    batch = Batch({"x": x}, rows=slice(0, len(x)), size=len(x), numbers=torch.arange(len(x)))
    with torch.no_grad():
        score = task.scores(batch)["log_prob"].mean()
    assert score < u1.log_prob(x).mean()


@pytest.mark.parametrize(
    ("model", "changes", "message"),
    [
        (nn.Linear(2, 2), {}, "needs a model with decode_with_log_prob, such as a flow; got Linear"),
        (Flow((2,), ActNorm(2)), {"annealing": -1}, "annealing=-1 must be at least 0"),
    ],
)
def test_impossible_tasks_are_refused(model, changes, message):
    with pytest.raises(ValueError, match=message):
        Variational(model, energy, **changes)


def test_a_model_with_classes_is_refused():
    with pytest.raises(ValueError, match="an energy has no classes"):
        Variational(Flow((2,), ActNorm(2), classes=3), ENERGIES["u1"].energy)
