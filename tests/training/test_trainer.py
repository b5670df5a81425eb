"""The loop: exact descent, clip, accumulation, terms of any length, exact resume, precision."""

import pytest
import torch
from torch import nn

from danlu.data import Part, Shuffled
from danlu.errors import UsageError
from danlu.losses import per_example
from danlu.tasks import Descend, Supervised, Task
from danlu.training import OptimizerSettings, Runtime, Trainer

DOUBLE = Runtime(precision="float64")
OPTIMIZERS = ["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"]


def part(n=120, inputs=4, seed=0):
    source = torch.Generator().manual_seed(seed)
    x = torch.randn(n, inputs, generator=source, dtype=torch.float64)
    return Part({"x": x, "y": torch.randn(n, 2, generator=source, dtype=torch.float64), "label": (x[:, 0] > 0).long()})


class Walk(Task):
    """One player called walker, whose terms are a function of this task and the batch."""

    def __init__(self, terms, net=None):
        super().__init__()
        torch.manual_seed(0)
        self.net, self.terms = net or nn.Linear(4, 2), terms

    def players(self):
        return {"walker": self.net}

    def turns(self, round):
        return [Descend("walker", lambda batch: self.terms(self, batch))]


def square(task, batch):
    return {"square": (task.net(batch["x"]) - batch["y"]).square().sum(1) / 2}


def trainer_of(task, rounds=5, batch_size=64, grad_accumulation=1, runtime=DOUBLE, data=None, **descent):
    data = (data or part()).to("cpu", runtime.dtype)
    descent = OptimizerSettings(**{"optimizer": "sgd", "lr": 0.1, **descent})
    return Trainer(
        task, descent, Shuffled(data, batch_size), rounds, grad_accumulation=grad_accumulation, runtime=runtime
    )


def play(task, **settings):
    """The reports, and the weights in the end."""
    trainer = trainer_of(task, **settings)
    return list(trainer), {name: p.detach().clone() for name, p in task.named_parameters()}


def snapshot(trainer):
    return {name: value.clone() for name, value in trainer.state().items()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_full_batch_gradient_descent_equals_its_closed_form():
    """On ½‖Xw - y‖²/n descent from w₀ is after t rounds at w* + (I - ηA)ᵗ(w₀ - w*), with A = XᵀX/n and Aw* = Xᵀy/n."""
    task, data, rounds = Walk(square, nn.Linear(4, 2, bias=False)), part(), 30
    x, y, first = data["x"], data["y"], task.net.weight.detach().double().T
    curvature = x.T @ x / len(x)
    best = torch.linalg.solve(curvature, x.T @ y / len(x))
    shrink = torch.linalg.matrix_power(torch.eye(4, dtype=torch.float64) - 0.1 * curvature, rounds)
    _, weights = play(task, rounds=rounds, batch_size="full", data=data)
    torch.testing.assert_close(weights["net.weight"].T, best + shrink @ (first - best), atol=1e-12, rtol=0)


@pytest.mark.parametrize("clip", [1e-3, 0.5, 1e6])
def test_clipping_shortens_the_step_and_reports_the_norm_before(clip):
    """A step of plain descent with rate 1 is the gradient; without a clip it is the whole one."""
    start = {name: p.detach().double() for name, p in Walk(square).named_parameters()}
    steps, norms = {}, {}
    for name, limit in (("whole", None), ("clipped", clip)):
        reports, weights = play(Walk(square), rounds=1, lr=1.0, grad_clip=limit)
        steps[name] = torch.cat([(start[key] - weights[key]).flatten() for key in start])
        norms[name] = reports[0].steps[0].norm.item()
    length = steps["whole"].norm().item()
    assert norms == pytest.approx({"whole": length, "clipped": length}, rel=1e-12)
    torch.testing.assert_close(steps["clipped"], steps["whole"] * min(1.0, clip / length), rtol=1e-5, atol=0)
    assert steps["clipped"].norm() <= clip * (1 + 1e-12)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("batch_size", "grad_accumulation"), [(64, 4), (10, 3), (7, 7)])
def test_micro_batches_give_the_update_of_the_whole_batch(optimizer, batch_size, grad_accumulation):
    """Sums in another order differ by 1e-16; no mean is taken of unequal micro-batches (3, 3 and 4 of 10)."""
    settings = {"optimizer": optimizer, "lr": 0.01, "batch_size": batch_size, "l2": 0.1, "grad_clip": 1.0, "rounds": 8}

    def net():
        return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.LayerNorm(6), nn.Linear(6, 2))

    torch.manual_seed(0)
    whole_net = net()
    pieces_net = net()
    pieces_net.load_state_dict(whole_net.state_dict())
    whole, weights = play(Walk(square, whole_net), **settings)
    pieces, others = play(Walk(square, pieces_net), grad_accumulation=grad_accumulation, **settings)
    torch.testing.assert_close(others, weights, atol=1e-10, rtol=0)
    for a, b in zip(whole, pieces, strict=True):
        assert a.values() == pytest.approx(b.values(), abs=1e-10)
        assert a.steps[0].examples == b.steps[0].examples == batch_size


@pytest.mark.parametrize("grad_accumulation", [1, 3, 40])
def test_terms_over_valid_tokens_are_divided_once_by_how_many_there_are(grad_accumulation):
    """Rows with a positive first entry are valid; of 40 micro-batches of 3 rows some have none that is."""

    def valid(task, batch):
        return {"square": square(task, batch)["square"][batch["x"][:, 0] > 0]}

    data, task = part(), Walk(valid)
    w = task.net.weight.detach().double().requires_grad_()
    keep = data["x"][:, 0] > 0
    loss = ((data["x"] @ w.T + task.net.bias.detach() - data["y"])[keep].square().sum(1) / 2).mean()
    (gradient,) = torch.autograd.grad(loss, w)
    reports, weights = play(task, rounds=1, batch_size="full", lr=1.0, grad_accumulation=grad_accumulation, data=data)
    torch.testing.assert_close(weights["net.weight"], w.detach() - gradient, atol=1e-12, rtol=0)
    assert reports[0].steps[0].examples == int(keep.sum()) != len(data)
    assert reports[0].values()["walker/square"] == pytest.approx(loss.item(), abs=1e-12)


@pytest.mark.parametrize("grad_accumulation", [1, 4])
def test_a_spread_value_counts_once(grad_accumulation):
    """Weight · value of the parameters has that gradient whatever the number of examples and micro-batches."""

    def terms(task, batch):
        return {
            "zero": 0 * square(task, batch)["square"],
            "own": per_example(task.net.weight.square().sum(), len(batch)),
        }

    task = Walk(terms)
    before = task.net.weight.detach().double()
    _, weights = play(task, rounds=1, grad_accumulation=grad_accumulation)
    torch.testing.assert_close(weights["net.weight"], before - 0.1 * 2 * before, atol=1e-12, rtol=0)


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("terms", "message"),
    [
        (lambda task, batch: {}, "player 'walker' has no terms to minimize"),
        (
            lambda task, batch: {**square(task, batch), "short": square(task, batch)["square"][:3]},
            r"terms 'square' and 'short' of player 'walker' have 64 and 3 values; .*per_example",
        ),
        (lambda task, batch: {"data": batch["x"].sum(1)}, "player 'walker' do not depend on any of its parameters"),
        (lambda task, batch: {"none": square(task, batch)["square"][:0]}, "walker"),
        (lambda task, batch: {"mean": square(task, batch)["square"].mean()}, "walker.*per_example"),
    ],
)
def test_terms_that_cannot_be_descended_on_are_refused(terms, message):
    with pytest.raises(ValueError, match=message):
        play(Walk(terms))


def test_players_and_descents_belong_together():
    with pytest.raises(UsageError, match=r"for the players \['walker'\], got \['runner'\]"):
        Trainer(Walk(square), {"runner": OptimizerSettings()}, Shuffled(part(), 4), rounds=1)


def rich(optimizer, grad_accumulation, seed):
    """Everything that has a memory: dropout, batch norm, an average, an optimizer, a schedule."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 2))
    settings = {"optimizer": optimizer, "lr": 0.01, "ema": 0.9, "schedule": "one_cycle", "weight_decay": 0.1}
    task = Supervised(net, inputs="x")
    return trainer_of(task, 12, 50, grad_accumulation, Runtime(), eps_inside=optimizer == "adam", **settings)


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, "muon"])
@pytest.mark.parametrize(("stop", "grad_accumulation"), [(1, 1), (7, 3)])
def test_a_trainer_that_is_rebuilt_from_its_state_goes_on_bit_for_bit(optimizer, stop, grad_accumulation):
    """Stopped in the middle of an epoch, and rebuilt from other first weights, so that the state must bring all."""
    first, again = rich(optimizer, grad_accumulation, seed=1), rich(optimizer, grad_accumulation, seed=2)
    for _ in range(stop):
        first.run_round()
    again.load_state(snapshot(first), first.round, first.drawn)
    for a, b in zip(first, again, strict=True):
        assert a.values() == b.values()
    assert first.round == again.round == 12
    assert equal(first.state(), again.state())


@pytest.mark.unchecked
@pytest.mark.parametrize(
    "change", [lambda state: state.pop("task/net.bias"), lambda state: state.update({"task/net.bias": torch.ones(9)})]
)
def test_a_state_of_another_game_is_refused(change):
    trainer = trainer_of(Walk(square))
    state = snapshot(trainer)
    change(state)
    with pytest.raises(UsageError, match=r"the checkpoint is of another model.*net\.bias"):
        trainer.load_state(state, round=1, drawn=1)


@pytest.mark.parametrize(
    ("precision", "inside", "outside"),
    [
        ("float32", torch.float32, torch.float32),
        ("bf16", torch.bfloat16, torch.float32),
        ("float64", torch.float64, torch.float64),
    ],
)
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_precision_has_the_types_that_it_promises(precision, inside, outside, optimizer):
    """Under bf16 products are in half precision; weights, gradients, memories, sums and noise are not."""
    seen = {}

    def terms(task, batch):
        outputs = task.net(batch["x"])
        seen.update(product=outputs.dtype, data=batch["x"].dtype, noise=task.noise((2,)).dtype)
        return {"square": (outputs - batch["y"]).square().sum(1) / 2}

    net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    trainer = trainer_of(Walk(terms, net), runtime=Runtime(precision=precision), optimizer=optimizer, ema=0.9)
    reports = list(trainer)
    assert seen == {"product": inside, "data": outside, "noise": outside}
    state = {n: v.dtype for n, v in trainer.state().items() if v.is_floating_point() and not n.endswith("/step")}
    assert set(state.values()) == {outside}
    assert {p.grad.dtype for p in net.parameters()} == {outside}
    assert reports[-1].steps[0].totals["square"].dtype == reports[-1].steps[0].norm.dtype == outside
    assert reports[-1].values()["walker/square"] < reports[0].values()["walker/square"]


@pytest.mark.unchecked
def test_a_state_of_a_parameter_that_the_optimizer_does_not_train_is_refused():
    trainer = trainer_of(Walk(square), optimizer="adam")
    trainer.run_round()
    state = snapshot(trainer)
    state.update({name.replace("/bias/", "/other/"): value for name, value in state.items() if "/Adam/" in name})
    with pytest.raises(UsageError, match=r"a state of Adam for 'other' of player 'walker'"):
        trainer.load_state(state, round=1, drawn=1)
