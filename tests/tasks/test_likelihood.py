"""Maximum likelihood, on models whose likelihood is known in closed form."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import danlu
from danlu.data import Batch, DataSet, Part, Shuffled
from danlu.data.images.info import ImageInfo
from danlu.data.tables.info import TableInfo
from danlu.evaluation import Subject, evaluate_subject
from danlu.models.base import Model
from danlu.models.flows.base import Flow
from danlu.nn import ActNorm
from danlu.tasks import Likelihood, Place
from danlu.training import OptimizerSettings, Trainer, evaluate

IMAGES, ROWS = ImageInfo((1, 2, 2), levels=3, classes=2), TableInfo((2,), shift=(1.0, 2.0), scale=(2.0, 5.0))


class Independent(Model):
    """Independent values: normal ones, or levels with probabilities of their own."""

    def __init__(self, density: bool = True, classes: int = 0, values: int = 4):
        super().__init__()
        self.capabilities_ = {"density"} if density else set()
        self.capabilities_ |= {"class_conditional"} if classes else set()
        self.classes, self.density = classes, density
        self.mean = nn.Parameter(torch.zeros(max(classes, 1), values))
        self.log_scale = nn.Parameter(torch.zeros(values))
        self.logits = nn.Parameter(torch.zeros(values, 3))

    @property
    def capabilities(self) -> frozenset[str]:
        return frozenset(self.capabilities_)

    def log_prob(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        x = x.flatten(1)
        if not self.density:
            return self.logits.log_softmax(1).expand(len(x), -1, -1).gather(2, (2 * x).long()[..., None]).sum((1, 2))
        if self.classes and labels is None:
            each = [self.log_prob(x, torch.full((len(x),), y)) for y in range(self.classes)]
            return torch.stack(each).logsumexp(0) - math.log(self.classes)
        mean = self.mean[0 if labels is None else labels]
        return torch.distributions.Normal(mean, self.log_scale.exp()).log_prob(x).sum(1)


def images(n: int = 40) -> Part:
    source = torch.Generator().manual_seed(0)
    x = torch.randint(3, (n, 1, 2, 2), generator=source) / 2
    return Part({"image": x, "label": torch.randint(2, (n,), generator=source)})


def a_batch(part: Part) -> Batch:
    return Batch(dict(part.fields), slice(0, len(part)), len(part), torch.arange(len(part)))


def entered(task: Likelihood, n: int, round: int = 0) -> Likelihood:
    task.enter(Place(0, round, 0, slice(0, n), n, torch.device("cpu"), torch.float32))
    return task


def test_rows_have_the_density_of_the_file():
    z = torch.randn(6, 2)
    task = entered(Likelihood(Independent(values=2), ROWS), 6)
    batch = a_batch(Part({"x": z}))
    y = torch.tensor(ROWS.shift) + torch.tensor(ROWS.scale) * z
    exact = torch.distributions.Normal(torch.tensor(ROWS.shift), torch.tensor(ROWS.scale)).log_prob(y).sum(1)
    torch.testing.assert_close(task.fit(batch)["negative_log_likelihood"], -exact)
    assert task.scores(batch).keys() == {"log_prob"}
    torch.testing.assert_close(task.scores(batch)["log_prob"], exact)


def test_the_mean_over_noise_is_the_integral_over_the_cells():
    """E log p(x + Δu) + d log Δ, for normal values in closed form: ∫ log N over each cell of width ½."""
    part = images(4)
    task, n = Likelihood(Independent(), IMAGES), 2000
    draws = [-entered(task, 4, k).fit(a_batch(part))["negative_log_likelihood"].detach() for k in range(n)]
    x = part["image"].flatten(1).double()
    squares = ((x + 0.5) ** 3 - x**3) / 3 / 0.5
    exact = (-0.5 * squares - 0.5 * math.log(2 * math.pi)).sum(1) + 4 * math.log(0.5)
    found = torch.stack(draws).double()
    assert ((found.mean(0) - exact).abs() < 4 * found.std(0) / n**0.5).all()
    assert (found.std(0) > 0).all()


def test_training_noise_changes_and_the_noise_of_scores_does_not():
    task, batch = Likelihood(Independent(), IMAGES), a_batch(images(4))
    first, second = (entered(task, 4, k).fit(batch)["negative_log_likelihood"] for k in (0, 1))
    assert not torch.equal(first, second)
    scores = [entered(task, 4, k).scores(batch)["dequantized_log_prob"] for k in (0, 1)]
    assert torch.equal(*scores)


def test_discrete_models_get_the_images_themselves():
    model, part = Independent(density=False), images()
    nn.init.normal_(model.logits)
    task = entered(Likelihood(model, IMAGES), 40)
    scores = task.scores(a_batch(part))
    levels = (2 * part["image"]).long().flatten(1)
    exact = sum(model.logits[k].log_softmax(0)[levels[:, k]] for k in range(4))
    torch.testing.assert_close(scores["log_prob"], exact)
    torch.testing.assert_close(scores["bits_per_dimension"], -exact / (4 * math.log(2)))
    torch.testing.assert_close(task.fit(a_batch(part))["negative_log_likelihood"], -exact)


def test_a_conditional_model_gets_the_label_in_training():
    model = Independent(classes=2)
    nn.init.normal_(model.mean)
    task = Likelihood(model, IMAGES)
    part, other = images(), images()
    other.fields["label"] = 1 - other["label"]
    mine, swapped = (entered(task, 40).scores(a_batch(p)) for p in (part, other))
    assert mine.keys() == task.better.keys() == {"dequantized_log_prob_given_label", "bits_per_dimension_given_label"}
    assert (mine["dequantized_log_prob_given_label"] != swapped["dequantized_log_prob_given_label"]).all()
    losses = [entered(task, 40).fit(a_batch(p))["negative_log_likelihood"] for p in (part, other)]
    assert (losses[0] != losses[1]).all()


@pytest.mark.parametrize(("density", "classes"), [(True, 0), (True, 2), (False, 0)])
def test_the_log_and_the_evaluation_agree(density, classes):
    model = Independent(density, classes)
    nn.init.normal_(model.mean), nn.init.normal_(model.logits)
    task, part = Likelihood(model, IMAGES), images()
    data = DataSet("made up", IMAGES, part, part, part)
    trainer = Trainer(task, OptimizerSettings(lr=0.01), Shuffled(part, 8), rounds=2)
    for _ in trainer:
        pass
    logged = evaluate(trainer, part)
    final = evaluate_subject(Subject(model.eval(), data, "test")).scores
    assert logged.keys() <= final.keys()
    assert {name: final[name] for name in logged} == pytest.approx(logged, rel=1e-6)
    assert len(final) == (4 if classes else 2)
    if classes:  # the mixture: log ½ (p(x | 0) + p(x | 1)) is at least log ½ + log p(x | y)
        name = "dequantized_log_prob"
        assert final[name] >= final[f"{name}_given_label"] - math.log(2)


def test_the_fit_is_the_maximum_likelihood():
    """Normal values: mean and standard deviation of the columns."""
    z = torch.randn(64, 2, dtype=torch.float64) * torch.tensor([0.5, 2.0]) + torch.tensor([1.0, -1.0])
    model = Independent(values=2).double()
    trainer = Trainer(
        Likelihood(model, replace(ROWS, shift=(), scale=())),
        OptimizerSettings(lr=0.05, schedule="cosine", floor=0.0),
        Shuffled(Part({"x": z}, torch.float64), 64),
        rounds=600,
    )
    for _ in trainer:
        pass
    torch.testing.assert_close(model.mean[0].detach(), z.mean(0), atol=1e-3, rtol=0)
    torch.testing.assert_close(model.log_scale.detach().exp(), z.std(0, correction=0), atol=1e-3, rtol=0)


def test_infinite_likelihoods_are_counted():
    model, part = Independent(density=False), images()
    with torch.no_grad():
        model.logits[:, 0] = -torch.inf
    data = DataSet("made up", IMAGES, part, part, part)
    scores = evaluate_subject(Subject(model.eval(), data, "test")).scores
    assert scores["not_finite"] == float((part["image"] == 0).flatten(1).any(1).sum())
    assert scores["log_prob"] == -math.inf


def test_a_model_without_log_likelihood_is_refused():
    with pytest.raises(ValueError, match=r"needs a model with the verb log_prob; MLP has: classify"):
        Likelihood(danlu.models.MLP((4,), 2), ROWS)


def test_the_first_batch_initializes_a_flow_once():
    """After round 0 with a learning rate of 0, the codes of the first batch have mean 0 and variance 1."""
    x = torch.randn(48, 2, dtype=torch.float64) * torch.tensor([0.2, 30.0]) + torch.tensor([4.0, -50.0])
    part = Part({"x": x}, torch.float64)
    flow = Flow((2,), ActNorm(2)).double()
    stream = Shuffled(part, 16)
    trainer = Trainer(Likelihood(flow, TableInfo((2,))), OptimizerSettings(optimizer="sgd", lr=1e-30), stream, rounds=3)
    for _ in trainer:
        pass
    codes = flow.encode(stream.batch(0, slice(0, 16))["x"])
    torch.testing.assert_close(codes.mean(0), torch.zeros(2).double(), atol=1e-9, rtol=0)
    torch.testing.assert_close(codes.var(0, correction=0), torch.ones(2).double(), atol=1e-9, rtol=0)


def test_images_are_dequantized_for_the_initialization():
    flow = Flow((1, 2, 2), ActNorm(4), levels=3)
    part = Part({"image": images()["image"] * 0})
    task = entered(Likelihood(flow, IMAGES), 40)
    task.initialize(a_batch(part))
    assert flow.log_prob(part["image"] + 0.25).isfinite().all()
    assert flow.encode(part["image"]).abs().max() < 1  # constant images without noise would have no variance
