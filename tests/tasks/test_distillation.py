"""A student learns the density of a teacher: closed forms, gradients, a known teacher, and what does not change."""

import math
from functools import partial

import pytest
import torch
from torch import Tensor, distributions

from danlu.data import Batch, Part, Shuffled
from danlu.data.images.info import ImageInfo
from danlu.data.tables.info import TableInfo
from danlu.models import IAF, MAF, Flow
from danlu.tasks import Distillation, Likelihood, Place
from danlu.training import OptimizerSettings, Runtime, Trainer

F64 = torch.float64
NO_DATA = Part({"x": torch.zeros(1, 2)})


def flow(kind, size, seed, scale=1.0, **more) -> Flow:
    """A flow in float64 whose weights are random numbers of a given scale."""
    source = torch.Generator().manual_seed(seed)
    model = kind((size,), **{"blocks": 1, "hidden": (16,), "batch_norm": False, **more}).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=source, dtype=F64) / math.sqrt(16))
    return model


def normal_flow(kind, size, seed) -> Flow:
    """A flow with a normal distribution: each mean is a linear function of the values before, each scale a number."""
    model = flow(kind, size, seed, hidden=())
    block = model.transform.transforms[0]
    output = (block.transform if kind is IAF else block).conditioner.output
    with torch.no_grad():
        output.weight.view(size, 2, size)[:, 1] = 0.0
    return model


def normal_of(model: Flow) -> distributions.MultivariateNormal:
    """Its distribution: the codes are an affine function of the examples."""
    origin = torch.zeros(1, model.latent, dtype=F64)
    mean = model.transform.inverse(origin)[0][0].detach()
    slope = torch.autograd.functional.jacobian(lambda x: model.transform(x[None])[0][0], origin[0])
    return distributions.MultivariateNormal(mean, precision_matrix=slope.T @ slope)


def batch_of(n, **fields) -> Batch:
    return Batch({"x": torch.zeros(n, 2), **fields}, rows=slice(0, n), size=n, numbers=torch.arange(n))


def entered(task, n) -> Distillation:
    task.enter(Place(0, 0, 0, slice(0, n), n, torch.device("cpu"), F64))
    return task


def test_the_estimate_is_unbiased():
    """Normal distributions with correlated values: the closed form, within three standard errors."""
    teacher, student = normal_flow(MAF, 4, 0), normal_flow(IAF, 4, 1)
    exact = distributions.kl_divergence(normal_of(student), normal_of(teacher)).item()
    assert exact > 0.5
    task = Distillation(teacher, student, TableInfo((4,)))
    found = task.divergence(NO_DATA, draws=200_000)
    assert 0 < found.standard_error < 0.02
    assert abs(found.mean - exact) < 3 * found.standard_error
    with torch.no_grad():
        terms = entered(task, 200_000).fit(batch_of(200_000))
    total = terms["negative_entropy"] + terms["cross_entropy"]
    assert abs(total.mean().item() - exact) < 3 * total.std().item() / 200_000**0.5
    entropy = normal_of(student).entropy().item()
    assert -terms["negative_entropy"].mean().item() == pytest.approx(entropy, abs=0.02)


def test_the_standard_error_is_that_of_independent_estimates():
    teacher, student = flow(MAF, 3, 0), flow(IAF, 3, 1)
    task = Distillation(teacher, student, TableInfo((3,)))
    found = [task.divergence(NO_DATA, draws=400 + k) for k in range(200)]
    spread = torch.tensor([one.mean for one in found]).std().item()
    assert spread == pytest.approx(sum(one.standard_error for one in found) / len(found), rel=0.2)


def test_the_estimate_is_0_for_equal_densities():
    """A MAF and the IAF of the inverse block: 0 for each sample, so the variance is 0, too."""
    teacher = normal_flow(MAF, 3, 0)

    class Same(Flow):
        pass

    student = Same((3,), teacher.transform).double()
    found = Distillation(teacher, student, TableInfo((3,))).divergence(NO_DATA)
    assert found.mean == pytest.approx(0, abs=1e-12)
    assert found.standard_error < 1e-12


def test_log_q_is_the_density_of_the_student_in_its_other_direction():
    teacher, student = flow(MAF, 5, 0, blocks=2), flow(IAF, 5, 1, blocks=2)
    z = torch.randn(20, 5, dtype=F64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        log_q, log_p = Distillation(teacher, student, TableInfo((5,))).log_probs(z)
        x = student.decode(z)
        torch.testing.assert_close(log_q, student.log_prob(x))
        torch.testing.assert_close(log_p, teacher.log_prob(x))


def test_in_images_the_ratio_of_the_densities_is_that_of_pixels():
    images = {"levels": 5, "range": (-1.0, 1.0), "alpha": 0.05}
    info = ImageInfo((1, 2, 2), levels=5, range=(-1.0, 1.0))
    teacher, student = (
        kind((1, 2, 2), blocks=2, hidden=(16,), batch_norm=False, **images).double() for kind in (MAF, IAF)
    )
    z = torch.randn(20, 4, dtype=F64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        log_q, log_p = Distillation(teacher, student, info).log_probs(z)
        pixels, of_student = student.decode_with_log_prob(z)
        of_teacher = teacher.log_prob(pixels)
    assert not torch.allclose(of_teacher, log_p)  # densities of pixels and of logits
    torch.testing.assert_close(log_q - log_p, of_student - of_teacher)


def test_the_gradient_is_that_of_finite_differences():
    teacher, student = flow(MAF, 3, 0, blocks=2), flow(IAF, 3, 1, blocks=2, activation="tanh")
    task, n = Distillation(teacher, student, TableInfo((3,))), 7

    def loss() -> Tensor:
        terms = entered(task, n).fit(batch_of(n))
        return torch.stack(list(terms.values())).sum(0).mean()

    parameters = list(student.parameters())
    gradients = torch.autograd.grad(loss(), parameters)
    source, step = torch.Generator().manual_seed(3), 1e-6
    for _ in range(5):
        directions = [torch.randn(p.shape, generator=source, dtype=F64) for p in parameters]
        values = []
        with torch.no_grad():
            for sign in (1, -2, 1):  # step forward, two back, and return
                torch._foreach_add_(parameters, directions, alpha=sign * step)
                values.append(loss().item())
        slope = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True))
        assert (values[0] - values[1]) / (2 * step) == pytest.approx(slope, rel=1e-5, abs=1e-7)


def test_a_class_conditional_student_gets_the_labels():
    make = {"blocks": 1, "hidden": (8,), "batch_norm": False, "classes": 3}
    teacher, student = MAF((2,), **make).double(), IAF((2,), **make).double()
    with torch.no_grad():  # the classes have different densities
        teacher.transform.transforms[0].conditioner.context.weight.mul_(20)
    task, labels = Distillation(teacher, student, TableInfo((2,), 3)), torch.tensor([2, 0, 0, 1, 2])
    with torch.no_grad():
        terms = entered(task, 5).fit(batch_of(5, label=labels))
        entered(task, 5)
        log_q, log_p = task.log_probs(task.noise((2,)), labels)
        torch.testing.assert_close(terms["negative_entropy"], log_q)
        torch.testing.assert_close(terms["cross_entropy"], -log_p)
    part = Part({"x": torch.zeros(2, 2, dtype=F64), "label": torch.tensor([1, 2])}, F64)
    of_class = [task.divergence(part.take(torch.tensor([k]))).mean for k in range(2)]
    both = task.divergence(part).mean
    assert min(of_class) < both < max(of_class)


def test_the_labels_are_those_of_the_whole_part():
    """More labels than samples: with sorted labels each class has its share, as with alternating ones."""
    make = {"blocks": 1, "hidden": (8,), "batch_norm": False, "classes": 4}
    teacher, student = MAF((2,), **make).double(), IAF((2,), **make).double()
    task, seen = Distillation(teacher, student, TableInfo((2,), 4)), []
    log_probs = task.log_probs

    def counted(z, labels):
        seen.append(labels)
        return log_probs(z, labels)

    task.log_probs = counted
    alternating = torch.arange(4).repeat(125)
    for labels in (alternating.sort().values, alternating):
        seen.clear()
        task.divergence(Part({"x": torch.zeros(500, 2), "label": labels}), draws=60)
        assert len(torch.cat(seen)) == 60
        counts = torch.cat(seen).bincount(minlength=4)
        assert (counts.min(), counts.max()) == (15, 15)
    seen.clear()
    task.divergence(Part({"x": torch.zeros(3, 2), "label": torch.tensor([2, 0, 3])}), draws=5)
    assert torch.cat(seen).tolist() == [2, 0, 3, 2, 0]


@pytest.mark.parametrize("draws", [1, 0])
def test_a_divergence_without_a_standard_error_is_refused(draws):
    task = Distillation(flow(MAF, 2, 0), flow(IAF, 2, 1), TableInfo((2,)))
    with pytest.raises(ValueError, match=f"draws={draws} must be at least 2"):
        task.divergence(NO_DATA, draws)


def test_the_divergence_neither_uses_nor_changes_the_statistics_of_a_batch():
    teacher, student = MAF((2,), blocks=2, hidden=(8,)).double(), flow(IAF, 2, 1)
    with torch.no_grad():
        for _ in range(3):  # running averages that differ from the initial ones
            teacher.log_prob(3 + 2 * torch.randn(50, 2, dtype=F64, generator=torch.Generator().manual_seed(0)))
    task = Distillation(teacher, student, TableInfo((2,)))
    task.eval()
    expected = task.divergence(NO_DATA)
    task.train()
    student.eval()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    assert task.divergence(NO_DATA) == expected
    assert_equal(teacher.state_dict(), before)
    assert all(part.training for part in teacher.modules())
    assert not any(part.training for part in student.modules())


def trained(teacher, student, rounds, lr=1e-2, batch_size=128, **more) -> Trainer:
    info = TableInfo(teacher.shape)
    stream = Shuffled(Part({"x": torch.zeros(batch_size, *teacher.shape, dtype=F64)}, F64), batch_size)
    settings = OptimizerSettings(lr=lr, schedule="cosine")
    trainer = Trainer(
        Distillation(teacher, student, info, **more), settings, stream, rounds, runtime=Runtime(precision="float64")
    )
    for _ in trainer:
        pass
    trainer.task.eval()
    return trainer


@pytest.mark.parametrize(
    ("size", "scale"),
    [(2, 1.5), pytest.param(4, 1.5, marks=pytest.mark.long), pytest.param(8, 1.0, marks=pytest.mark.long)],
)
def test_the_divergence_from_a_known_teacher_falls_below_a_twentieth_of_a_nat(size, scale):
    """The weights of the teacher are random, and its density is exact."""
    teacher = flow(MAF, size, 0, scale)
    torch.manual_seed(0)
    student = IAF((size,), blocks=1, hidden=(64,), batch_norm=False).double()
    before = Distillation(teacher, student, TableInfo((size,))).divergence(NO_DATA).mean
    weights = {name: value.clone() for name, value in teacher.state_dict().items()}
    task = trained(teacher, student, rounds=800).task
    found = task.divergence(NO_DATA, draws=20_000)
    assert before > 0.25
    assert 0 <= found.mean + 3 * found.standard_error < 0.05
    assert all(torch.equal(value, weights[name]) for name, value in teacher.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())


def test_the_trained_student_is_the_known_normal_distribution():
    teacher = normal_flow(MAF, 3, 4)
    student = IAF((3,), blocks=1, hidden=(), batch_norm=False).double()
    trained(teacher, student, rounds=600, lr=2e-2)
    p, x = normal_of(teacher), student.sample(50_000, generator=torch.Generator().manual_seed(0)).detach()
    torch.testing.assert_close(x.mean(0), p.mean, atol=0.03 * p.variance.max().sqrt().item(), rtol=0)
    torch.testing.assert_close(x.T.cov(), p.covariance_matrix, atol=0.05 * p.variance.max().item(), rtol=0)


def test_the_teacher_is_trained_first_and_then_frozen():
    teacher, student = flow(MAF, 2, 0), flow(IAF, 2, 1)
    task = Distillation(teacher, student, TableInfo((2,)), teacher_rounds=3)
    assert [turn.player for round in range(5) for turn in task.turns(round) if hasattr(turn, "player")] == [
        *["teacher"] * 3,
        *["student"] * 2,
    ]
    assert [task.draws(round) for round in (0, 1, 3)] == [1, 1, 1]
    states = []
    for rounds in (3, 5):
        pair = [flow(MAF, 2, 0), flow(IAF, 2, 1)]
        part = Part({"x": torch.randn(64, 2, dtype=F64, generator=torch.Generator().manual_seed(0))}, F64)
        trainer = Trainer(
            Distillation(*pair, TableInfo((2,)), teacher_rounds=3), OptimizerSettings(), Shuffled(part, 16), rounds,
            runtime=Runtime(precision="float64"),
        )  # fmt: skip
        for _ in trainer:
            pass
        states.append([model.state_dict() for model in pair])
    assert_equal(states[0][0], states[1][0])
    assert_equal(states[0][1], flow(IAF, 2, 1).state_dict())
    for before, after in ((flow(MAF, 2, 0).state_dict(), states[0][0]), (states[0][1], states[1][1])):
        assert not all(torch.equal(before[name], after[name]) for name in before)


def assert_equal(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_first_rounds_are_those_of_maximum_likelihood():
    """The same weights as with the task of maximum likelihood, dequantization included."""
    info = ImageInfo((1, 2, 2), levels=5)
    images = Part({"image": torch.randint(0, 5, (64, 1, 2, 2), generator=torch.Generator().manual_seed(0)) / 4.0})
    make = partial(MAF, (1, 2, 2), blocks=2, hidden=(8,), levels=5)
    states = []
    for task_of in (
        partial(Likelihood, info=info),
        lambda teacher: Distillation(teacher, IAF((1, 2, 2), 1, (8,), False, levels=5), info, teacher_rounds=4),
    ):
        torch.manual_seed(0)
        teacher = make()
        for _ in Trainer(task_of(teacher), OptimizerSettings(), Shuffled(images, 16), rounds=4):
            pass
        states.append(teacher.state_dict())
    assert_equal(*states)


def test_batch_normalization_couples_only_a_teacher_that_is_trained():
    teacher, student = MAF((2,), blocks=1, hidden=(8,)), IAF((2,), blocks=1, hidden=(8,), batch_norm=False)
    assert Distillation(teacher, student, TableInfo((2,))).coupled is None
    assert Distillation(teacher, student, TableInfo((2,)), teacher_rounds=1).coupled == "batch norm"


def test_the_scores_are_those_of_both_models():
    teacher, student = flow(MAF, 2, 0), flow(IAF, 2, 1)
    task, part = Distillation(teacher, student, TableInfo((2,))), Part({"x": torch.randn(9, 2, dtype=F64)}, F64)
    x = part["x"]
    with torch.no_grad():
        scores = task.scores(Batch({"x": x}, rows=slice(0, 9), size=9, numbers=torch.arange(9)))
        torch.testing.assert_close(scores, {"log_prob": student.log_prob(x), "teacher_log_prob": teacher.log_prob(x)})
    assert task.better == {"kl": "lower", "log_prob": "higher", "teacher_log_prob": "higher"}
    assert task.scores_of_part(part) == task.scores_of_part(part)
    assert task.scores_of_part(part).keys() == {"kl", "kl_standard_error"}


@pytest.mark.parametrize(
    ("of_teacher", "of_student", "message"),
    [
        ({}, {"shape": (1, 3, 2)}, r"the same shape, got \(1, 2, 2\) and \(1, 3, 2\)"),
        ({"classes": 2}, {}, "the same classes, got 2 and 0"),
        ({"levels": 9}, {}, "the same levels, got 9 and 5"),
        ({}, {"range": (-1.0, 1.0)}, r"the same range, got \(0.0, 1.0\) and \(-1.0, 1.0\)"),
        ({"alpha": 0.05}, {}, "the same alpha, got 0.05 and 1e-06"),
    ],
)
def test_models_of_other_examples_are_refused(of_teacher, of_student, message):
    common = {"shape": (1, 2, 2), "levels": 5, "blocks": 1, "hidden": (8,)}
    with pytest.raises(ValueError, match=message):
        Distillation(MAF(**{**common, **of_teacher}), IAF(**{**common, **of_student}), ImageInfo((1, 2, 2), levels=5))


def test_a_negative_number_of_rounds_is_refused():
    with pytest.raises(ValueError, match="teacher_rounds=-1 must be at least 0"):
        Distillation(flow(MAF, 2, 0), flow(IAF, 2, 1), TableInfo((2,)), teacher_rounds=-1)
