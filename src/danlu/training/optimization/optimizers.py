"""Optimizers by name: those of torch, and Adam with epsilon inside the square root, as in the lecture notes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Muon, Optimizer, RMSprop

from danlu.nn.roles import roles
from danlu.nn.state_dict import is_sharded
from danlu.training.optimization.settings import OptimizerSettings

NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def optimizers(module: nn.Module, parameters: list[Tensor], settings: OptimizerSettings) -> list[Optimizer]:
    """The optimizers for the parameters of a module: one, or two for muon.

    Args:
        module: the module.
        parameters: its parameters that are trained.
        settings: the optimizer settings.
    """
    decayed = {id(p) for p in (parameters if settings.decay_all else weights(module))}
    if settings.optimizer != "muon":
        return [_FACTORIES[settings.optimizer](_groups(parameters, decayed, settings.weight_decay), settings)]
    matrices = {id(p) for p in hidden_matrices(module)}
    first = [p for p in parameters if id(p) in matrices]
    rest = [p for p in parameters if id(p) not in matrices]
    result = []
    if first:
        result.append(_muon(_groups(first, decayed, settings.weight_decay), settings))
    if rest:
        result.append(_adam(AdamW, _groups(rest, decayed, settings.weight_decay), settings))
    return result


def weights(module: nn.Module) -> list[Tensor]:
    """The parameters for weight decay and penalties: all except biases, vectors and normalization layers.

    >>> [tuple(p.shape) for p in weights(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))]
    [(3, 2)]
    """
    vectors = {parameter for parameter, role in roles(module).items() if role == "vectors"}
    return list(
        dict.fromkeys(  # each once, also if several modules share it
            parameter
            for owner in module.modules()
            if not isinstance(owner, NORMS)
            for name, parameter in owner.named_parameters(recurse=False)
            if "bias" not in name and parameter.ndim > 1 and parameter not in vectors
        )
    )


def hidden_matrices(module: nn.Module) -> list[Tensor]:
    """The parameters for Muon: all matrices except embeddings, output layers and normalization layers.

    The model declares its output layers, see ``danlu.nn.roles``. A matrix that an embedding or an output layer shares
    with another layer is excluded too.

    >>> from danlu.nn import output_layer
    >>> net = nn.Sequential(nn.Embedding(9, 2), nn.Linear(2, 3), output_layer(nn.Linear(3, 9)))
    >>> [tuple(p.shape) for p in hidden_matrices(net)]
    [(3, 2)]
    """
    norms = {p for part in module.modules() if isinstance(part, NORMS) for p in part.parameters(recurse=False)}
    excluded = roles(module).keys() | norms
    return [parameter for parameter in module.parameters() if parameter.ndim == 2 and parameter not in excluded]


class AdamEpsInside(Optimizer):
    r"""Adam with ε inside the square root.

    .. math:: \theta \leftarrow \theta - \eta \, \hat m / \sqrt{\hat v + \varepsilon}

    The published form (Kingma and Ba, "Adam", 2015, algorithm 1) divides by :math:`\sqrt{\hat v} + \varepsilon`.

    Args:
        params: parameters or parameter groups.
        lr: learning rate η.
        betas: decay rates of the first and second moment.
        eps: ε.
        weight_decay: coefficient of the weight decay.
        decoupled: whether the decay is decoupled as in AdamW; otherwise it is added to the gradient.

    >>> w = torch.nn.Parameter(torch.tensor(1.0))
    >>> w.grad = torch.tensor(0.5)
    >>> _ = AdamEpsInside([w], lr=0.1).step()
    >>> round(w.item(), 6)
    0.9
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled: bool = False,
    ):
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "decoupled": decoupled}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step; an optional closure computes the loss again, as in torch."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, lr, decay, (beta1, beta2) = self.state[parameter], group["lr"], group["weight_decay"], group["betas"]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        if decay and group["decoupled"]:
            parameter.mul_(1 - lr * decay)
        elif decay:
            gradient = gradient.add(parameter, alpha=decay)
        state["step"] += 1
        t = state["step"].item()
        state["exp_avg"].lerp_(gradient, 1 - beta1)
        state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        denominator = (state["exp_avg_sq"] / (1 - beta2**t) + group["eps"]).sqrt()
        parameter.addcdiv_(state["exp_avg"], denominator, value=-lr / (1 - beta1**t))


Groups = list[dict[str, Any]]


def _groups(parameters: list[Tensor], decayed: set[int], decay: float) -> Groups:
    if not decay:  # a second group would double the cost of a step
        return [{"params": parameters, "weight_decay": 0.0}]
    with_decay = [p for p in parameters if id(p) in decayed]
    without_decay = [p for p in parameters if id(p) not in decayed]
    return [
        {"params": members, "weight_decay": group_decay}
        for members, group_decay in ((with_decay, decay), (without_decay, 0.0))
        if members
    ]


def _fused(groups: Groups) -> bool:
    return all(p.is_floating_point() and p.device.type in ("cpu", "cuda", "mps") for g in groups for p in g["params"])


def _sgd(groups: Groups, settings: OptimizerSettings) -> Optimizer:
    momentum = 0.0 if settings.optimizer == "sgd" else 0.9 if settings.momentum is None else settings.momentum
    nesterov = settings.optimizer == "nesterov"
    split = any(is_sharded(p) for group in groups for p in group["params"])  # torch has no fused SGD for these
    optimizer = SGD(groups, lr=settings.lr, momentum=momentum, nesterov=nesterov, fused=_fused(groups) and not split)
    if momentum:  # torch would leave it uninitialized if a flag skips the first step
        for parameter in (p for group in groups for p in group["params"]):
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def _rmsprop(groups: Groups, settings: OptimizerSettings) -> Optimizer:
    return RMSprop(
        groups,
        lr=settings.lr,
        alpha=0.99 if settings.alpha is None else settings.alpha,
        eps=settings.eps or 1e-8,
        momentum=settings.momentum or 0.0,
        foreach=True,
    )


def _adam(kind: type[Adam], groups: Groups, settings: OptimizerSettings) -> Optimizer:
    betas, eps = settings.betas or (0.9, 0.999), settings.eps or 1e-8
    if settings.eps_inside:
        return AdamEpsInside(groups, lr=settings.lr, betas=betas, eps=eps, decoupled=kind is AdamW)
    return kind(groups, lr=settings.lr, betas=betas, eps=eps, fused=_fused(groups))


def _muon(groups: Groups, settings: OptimizerSettings) -> Optimizer:
    momentum = 0.95 if settings.momentum is None else settings.momentum
    # scaled to the root mean square of AdamW's steps, so both parts can use the same lr and weight decay
    return Muon(groups, lr=settings.lr, momentum=momentum, adjust_lr_fn="match_rms_adamw")


_FACTORIES: dict[str, Callable[[Groups, OptimizerSettings], Optimizer]] = {
    "sgd": _sgd,
    "momentum": _sgd,
    "nesterov": _sgd,
    "rmsprop": _rmsprop,
    "adam": lambda groups, settings: _adam(Adam, groups, settings),
    "adamw": lambda groups, settings: _adam(AdamW, groups, settings),
}
