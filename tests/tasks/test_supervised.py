"""The supervised game: its terms and scores against formulas, and what it refuses."""

import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss
from torch import nn

from danlu.data import Part, Shuffled, in_order
from danlu.tasks import Descend, Supervised
from danlu.training import OptimizerSettings, Runtime, Trainer

N, CLASSES = 30, 3


@pytest.fixture
def batch():
    torch.manual_seed(0)
    part = Part({"x": torch.randn(N, 4, dtype=torch.float64), "label": torch.randint(CLASSES, (N,))})
    return next(in_order(part, N))


def task_with(**settings):
    return Supervised(nn.Linear(4, CLASSES), inputs="x", **settings).double()


def log_probabilities(task, batch):
    logits = batch["x"] @ task.classifier.weight.T + task.classifier.bias
    return logits - logits.exp().sum(1, keepdim=True).log()


def test_one_player_and_one_turn():
    task = task_with()
    assert task.players() == {"classifier": task.model} == {"classifier": task.classifier}
    assert task.turns(0) == [Descend("classifier", task.fit)]
    assert task.turns(0)[0].fresh


def test_the_term_is_the_weighted_smoothed_cross_entropy_of_each_example(batch):
    weights, smoothing = (0.5, 2.0, 1.5), 0.2
    task = task_with(smoothing=smoothing, class_weights=weights)
    log_p, w = log_probabilities(task, batch), torch.tensor(weights, dtype=torch.float64)
    target = (1 - smoothing) * torch.eye(CLASSES, dtype=torch.float64)[batch["label"]] + smoothing / CLASSES
    torch.testing.assert_close(task.fit(batch)["cross_entropy"], -(w * target * log_p).sum(1))


def test_the_scores_are_sklearns_and_without_smoothing_or_weights(batch):
    task = task_with(smoothing=0.3, class_weights=(1.0, 5.0, 2.0)).eval()
    with torch.no_grad():
        probabilities = log_probabilities(task, batch).exp().numpy()
        scores = {name: values.double().mean().item() for name, values in task.scores(batch).items()}
    labels = batch["label"].numpy()
    assert scores["accuracy"] == pytest.approx(accuracy_score(labels, probabilities.argmax(1)))
    assert scores["cross_entropy"] == pytest.approx(log_loss(labels, probabilities, labels=range(CLASSES)))


def test_every_score_says_which_way_is_better(batch):
    assert task_with().scores(batch).keys() == Supervised.better.keys()
    assert Supervised.better == {"accuracy": "higher", "cross_entropy": "lower"}


def test_class_weights_are_saved_with_the_task():
    assert task_with(class_weights=(1.0, 2.0, 3.0)).state_dict()["class_weights"].tolist() == [1, 2, 3]
    assert "class_weights" not in task_with().state_dict()


@pytest.mark.parametrize("precision", ["float32", "bf16", "float64"])
def test_it_learns_in_every_precision_with_smoothing_and_weights(precision):
    torch.manual_seed(0)
    runtime, x = Runtime(precision=precision), torch.randn(60, 4)
    part = Part({"x": x, "label": x[:, :CLASSES].argmax(1)}).to("cpu", runtime.dtype)
    task = Supervised(nn.Linear(4, CLASSES), smoothing=0.1, class_weights=(1.0, 2.0, 1.0), inputs="x")
    trainer = Trainer(task, OptimizerSettings(lr=0.1), Shuffled(part, "full"), rounds=30, runtime=runtime)
    losses = [report.values()["classifier/cross_entropy"] for report in trainer]
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize(
    ("net", "coupled"),
    [
        (nn.Linear(4, 2), None),
        (nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), None),
        (nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), "batch norm"),
    ],
)
def test_batch_norm_couples_the_examples(net, coupled):
    assert Supervised(net).coupled == coupled


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"smoothing": 1.0}, "smoothing=1.0 must be at least 0 and less than 1"),
        ({"smoothing": -0.1}, "smoothing=-0.1"),
        ({"class_weights": (1.0, -2.0)}, r"class_weights=\(1.0, -2.0\) must be one number per class, each at least 0"),
    ],
)
def test_bad_arguments_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Supervised(nn.Linear(4, 2), **settings)
