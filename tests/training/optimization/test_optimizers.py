"""Ten steps of every optimizer against its published formula, written out; penalties against finite differences.

A step is a few operations in float64 on numbers of order 1, so that ten of them differ by some 1e-14; where a step
divides by the root of a running square, a small gradient loses as many digits as that root is small. 1e-10 leaves room
for both and for nothing else: a wrong order of decay and step, or a missing bias correction, shows at 1e-3.
"""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from danlu.data import Part, Shuffled
from danlu.nn import output_layer
from danlu.tasks import Descend, Task
from danlu.training import OptimizerSettings, Runtime, Trainer

LR, ROUNDS = 0.05, 10


class Fit(Task):
    """Half the squared error of a module, example by example."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def players(self):
        return {"player": self.module}

    def turns(self, round):
        return [Descend("player", self.fit)]

    def fit(self, batch):
        return {"loss": (self.module(batch["x"]) - batch["y"]).square().sum(1) / 2}


def linear():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)).double()
    part = Part({"x": torch.randn(20, 3, dtype=torch.float64), "y": torch.randn(20, 2, dtype=torch.float64) * 3})
    return module, part


def loss_of(module, values, part):
    return (functional_call(module, values, part["x"]) - part["y"]).square().sum(1).mean() / 2


def by_danlu(module, part, descent, rounds=ROUNDS):
    for _ in Trainer(Fit(module), descent, Shuffled(part, "full"), rounds, runtime=Runtime(precision="float64")):
        pass
    return {name: p.detach() for name, p in module.named_parameters()}


def by_hand(module, part, rule):
    """``rule(name, weight, gradient, memory, t)`` gives the next weight; t counts from 1."""
    values = {name: p.detach().clone() for name, p in module.named_parameters()}
    memory = {name: {} for name in values}
    for t in range(1, ROUNDS + 1):
        leaves = {name: value.clone().requires_grad_() for name, value in values.items()}
        gradients = torch.autograd.grad(loss_of(module, leaves, part), list(leaves.values()))
        for name, g in zip(leaves, gradients, strict=True):
            values[name] = rule(name, values[name], g, memory[name], t)
    return values


def sgd(w, g, m, t, decay):
    return w - LR * (g + decay * w)


def momentum(w, g, m, t, decay, mu=0.9):
    m["v"] = mu * m.get("v", 0) + g + decay * w
    return w - LR * m["v"]


def nesterov(w, g, m, t, decay, mu=0.9):
    g = g + decay * w
    m["v"] = mu * m.get("v", 0) + g
    return w - LR * (g + mu * m["v"])


def rmsprop(w, g, m, t, decay, alpha=0.99, eps=1e-8, mu=0.0):
    g = g + decay * w
    m["s"] = alpha * m.get("s", 0) + (1 - alpha) * g**2
    m["v"] = mu * m.get("v", 0) + g / (m["s"].sqrt() + eps)
    return w - LR * m["v"]


def adam(w, g, m, t, decay, b1=0.9, b2=0.999, eps=1e-8, inside=False, decoupled=False):
    if not decoupled:
        g = g + decay * w
    m["m"] = b1 * m.get("m", 0) + (1 - b1) * g
    m["v"] = b2 * m.get("v", 0) + (1 - b2) * g**2
    mean, square = m["m"] / (1 - b1**t), m["v"] / (1 - b2**t)
    root = (square + eps).sqrt() if inside else square.sqrt() + eps
    return w - LR * (mean / root + (decay * w if decoupled else 0))


def adamw(*args, **settings):
    return adam(*args, **settings, decoupled=True)


CASES = [
    (sgd, {"optimizer": "sgd"}, {}),
    (momentum, {"optimizer": "momentum"}, {}),
    (momentum, {"optimizer": "momentum", "momentum": 0.5}, {"mu": 0.5}),
    (nesterov, {"optimizer": "nesterov"}, {}),
    (nesterov, {"optimizer": "nesterov", "momentum": 0.3}, {"mu": 0.3}),
    (rmsprop, {"optimizer": "rmsprop"}, {}),
    (rmsprop, {"optimizer": "rmsprop", "alpha": 0.8, "eps": 1e-3, "momentum": 0.9},
     {"alpha": 0.8, "eps": 1e-3, "mu": 0.9}),
    (adam, {"optimizer": "adam"}, {}),
    (adam, {"optimizer": "adam", "betas": (0.5, 0.9), "eps": 1e-2}, {"b1": 0.5, "b2": 0.9, "eps": 1e-2}),
    (adam, {"optimizer": "adam", "eps_inside": True, "eps": 1e-2}, {"eps": 1e-2, "inside": True}),
    (adam, {"optimizer": "adam", "eps_inside": True}, {"inside": True}),
    (adamw, {"optimizer": "adamw"}, {}),
    (adamw, {"optimizer": "adamw", "betas": (0.8, 0.95), "eps": 1e-4}, {"b1": 0.8, "b2": 0.95, "eps": 1e-4}),
    (adamw, {"optimizer": "adamw", "eps_inside": True, "eps": 1e-2}, {"eps": 1e-2, "inside": True}),
]  # fmt: skip


@pytest.mark.parametrize("decay", [{}, {"weight_decay": 0.3}, {"weight_decay": 0.3, "decay_all": True}])
@pytest.mark.parametrize(("rule", "settings", "arguments"), CASES)
def test_ten_steps_equal_the_formula(rule, settings, arguments, decay):
    """Matrices decay, and norms and biases only if all is to decay."""
    module, part = linear()
    matrices = {"0.weight", "2.weight"}

    def step(name, w, g, m, t):
        decays = decay.get("decay_all") or name in matrices
        return rule(w, g, m, t, decay=decay.get("weight_decay", 0.0) if decays else 0.0, **arguments)

    expected = by_hand(module, part, step)
    ours = by_danlu(module, part, OptimizerSettings(lr=LR, **settings, **decay))
    torch.testing.assert_close(ours, expected, atol=1e-10, rtol=0)


class Words(nn.Module):
    """A tall and a wide matrix between an embedding and a head; the input counts words."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 6)
        self.tall, self.wide, self.square = nn.Linear(6, 9), nn.Linear(9, 4), nn.Linear(4, 4, bias=False)
        self.last = output_layer(nn.Linear(4, 2))

    def forward(self, counts):
        h = torch.tanh(self.tall(counts @ self.embedding.weight))
        return self.last(torch.tanh(self.square(torch.tanh(self.wide(h)))))


def newton_schulz(m):
    """Five steps X ← aX + (bA + cA²)X with A = XXᵀ, each product rounded to bf16 once, as the algorithm runs."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = m.bfloat16()
    x = x.T if x.shape[0] > x.shape[1] else x
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if m.shape[0] > m.shape[1] else x


def muon(w, g, m, t, decay, mu=0.95):
    m["v"] = m["v"].lerp(g, 1 - mu) if m else (1 - mu) * g
    direction = newton_schulz(g.lerp(m["v"], mu)).double()
    return w - LR * decay * w - LR * 0.2 * max(w.shape) ** 0.5 * direction


@pytest.mark.parametrize(("decay", "mu"), [(0.0, None), (0.3, None), (0.3, 0.5)])
def test_ten_steps_of_muon_equal_its_own_algorithm(decay, mu):
    """1e-10 although the direction is computed in bf16: the same roundings are made here, and a direction that is
    rounded otherwise would show at LR · 2⁻⁹, about 1e-4."""
    torch.manual_seed(0)
    module = Words().double()
    counts = torch.randint(3, (30, 5)).double()
    part = Part({"x": counts, "y": torch.randn(30, 2, dtype=torch.float64)})

    def step(name, w, g, m, t):
        amount = decay if name.endswith("weight") else 0.0
        if name in ("tall.weight", "wide.weight", "square.weight"):
            return muon(w, g, m, t, amount, 0.95 if mu is None else mu)
        return adamw(w, g, m, t, amount)

    expected = by_hand(module, part, step)
    ours = by_danlu(module, part, OptimizerSettings(optimizer="muon", lr=LR, weight_decay=decay, momentum=mu))
    torch.testing.assert_close(ours, expected, atol=1e-10, rtol=0)


def test_muon_leaves_an_embedding_to_adamw_also_when_another_layer_shares_it():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.hidden, self.out = nn.Embedding(5, 4), nn.Linear(4, 4), nn.Linear(4, 5)
            self.out.weight = self.embedding.weight

        def forward(self, x):
            return self.out(self.hidden(x @ self.embedding.weight))

    module = Tied().double()
    part = Part({"x": torch.randn(8, 5, dtype=torch.float64), "y": torch.randn(8, 5, dtype=torch.float64)})
    trainer = Trainer(Fit(module), OptimizerSettings(optimizer="muon"), Shuffled(part, "full"), rounds=1)
    list(trainer)
    kinds = {name.split("/")[3]: name.split("/")[4] for name in trainer.state() if name.startswith("player/")}
    assert kinds["hidden.weight"] == "momentum_buffer"
    assert kinds["embedding.weight"] in ("step", "exp_avg", "exp_avg_sq")


@pytest.mark.parametrize("decay_all", [False, True])
@pytest.mark.parametrize("penalty", [{"l1": 0.3}, {"l2": 0.7}, {"l1": 0.3, "l2": 0.7}])
def test_the_gradient_of_a_penalized_loss_equals_its_finite_difference(penalty, decay_all):
    """One step of descent with rate 1 is the gradient; the other is a central difference of the loss written out."""
    module, part = linear()
    values = {name: p.detach().clone() for name, p in module.named_parameters()}
    penalized = list(values) if decay_all else ["0.weight", "2.weight"]

    def loss():
        l1 = sum(values[name].abs().sum() for name in penalized)
        l2 = sum(values[name].square().sum() / 2 for name in penalized)
        return (loss_of(module, values, part) + penalty.get("l1", 0) * l1 + penalty.get("l2", 0) * l2).item()

    after = by_danlu(module, part, OptimizerSettings(optimizer="sgd", lr=1.0, decay_all=decay_all, **penalty), rounds=1)
    h = 1e-6  # errors: h² ≈ 1e-12 of the formula and 1e-16 / h ≈ 1e-10 of rounding, times numbers of order 10
    for name, value in values.items():
        before = value.clone()
        for i in range(value.numel()):
            value.view(-1)[i] = before.view(-1)[i] + h
            up = loss()
            value.view(-1)[i] = before.view(-1)[i] - h
            difference = (up - loss()) / (2 * h)
            value.view(-1)[i] = before.view(-1)[i]
            step = (before.view(-1)[i] - after[name].view(-1)[i]).item()
            # L1 has a corner at 0, where norms' biases start: torch takes the middle, 0, as a central difference does
            assert step == pytest.approx(difference, abs=1e-7)


def test_a_shared_matrix_is_penalized_once():
    module = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)).double()
    module[1].weight = module[0].weight
    zeros = Part({"x": torch.zeros(4, 3, dtype=torch.float64), "y": torch.zeros(4, 3, dtype=torch.float64)})
    before = module[0].weight.detach().clone()
    after = by_danlu(module, zeros, OptimizerSettings(optimizer="sgd", lr=0.1, l2=1.0), rounds=1)
    torch.testing.assert_close(after["0.weight"], 0.9 * before)
