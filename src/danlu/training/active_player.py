"""The active player of a turn: only its parameters require gradients, and only its running statistics are updated.

The other players are evaluated as they are used after training: in evaluation mode, with averaged weights if there are
any. A turn names the players for which this is different.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from danlu.errors import nearest
from danlu.tasks.task import Task
from danlu.training.player import Player


class ActivePlayer:
    """Selects the active player of a task, and sets the modes of all modules.

    Modules that belong to no player, for example a frozen teacher, never have gradients and are always in evaluation
    mode.

    Args:
        task: the task.
        players: its players, by name.
    """

    def __init__(self, task: Task, players: Mapping[str, Player]):
        self.task, self.players = task, players
        self._turn: tuple[str | None, tuple[str, ...]] | None = None
        self._averaged, self._averaged_players, self._is_averaged = ExitStack(), list[Player](), False
        self._norms = [m for m in task.modules() if isinstance(m, _NormBase) and m.track_running_stats]
        self._modules = {name: {id(m) for m in player.module.modules()} for name, player in players.items()}
        self._parameters = {name: {id(p) for p in player.module.parameters()} for name, player in players.items()}
        self._modes_of: dict[frozenset[str], list[tuple[nn.Module, bool]]] = {}
        trained = {id(p) for player in players.values() for p in player.parameters}
        for parameter in task.parameters():
            parameter.requires_grad_(id(parameter) in trained)
        self._set_modes(frozenset(players))

    def activate(self, name: str | None, in_training: tuple[str, ...] = ()) -> None:
        """Make a player the only active one.

        Args:
            name: the player, or None if no player is active; all players then have their current weights.
            in_training: other players that are in training mode, with their current weights. A norm of such a player
                normalizes by the batch, and its running statistics do not change.

        Raises:
            ValueError: if there is no such player.
        """
        training = frozenset((*in_training, *(() if name is None else (name,))))
        if self._turn != (name, in_training):
            self.restore()
            self._select(name, training)
            self._turn = name, in_training
        else:
            self._set_modes(training)  # between rounds, a caller can have changed them
        if self._averaged_players and not self._is_averaged:
            self._is_averaged = True
            for player in self._averaged_players:
                self._averaged.enter_context(player.averaged())

    def restore(self) -> None:
        """Give players that have averaged weights their current weights again; the trainer does so after each round."""
        if self._is_averaged:
            self._averaged.close()
            self._is_averaged = False

    def release(self) -> None:
        """Make all players active again, as before the first turn."""
        self.restore()
        self._turn = None
        for player in self.players.values():
            for parameter in player.parameters:
                parameter.requires_grad_()
        for norm in self._norms:
            norm.track_running_stats = True

    def running_statistics(self) -> list[Tensor]:
        """The running means and variances that the turn of the active player changed."""
        return [
            statistic
            for norm in self._norms
            if norm.training and norm.track_running_stats
            for statistic in (norm.running_mean, norm.running_var)
            if statistic is not None
        ]

    def _select(self, name: str | None, training: frozenset[str]) -> None:
        if unknown := training - self.players.keys():
            raise ValueError(f"unknown player {min(unknown)!r}; {nearest(min(unknown), self.players)}")
        if name is not None:
            active_parameters = {id(p) for p in self.players[name].parameters}
            for player in self.players.values():
                for parameter in player.parameters:
                    parameter.requires_grad_(id(parameter) in active_parameters)
        self._set_modes(training)
        active_modules = set() if name is None else self._modules[name]
        for norm in self._norms:
            # without tracking, a norm in training mode normalizes by the batch and does not change its running
            # statistics; an instance norm in evaluation mode uses them only with tracking
            norm.track_running_stats = id(norm) in active_modules or not norm.training
        shared = {i for other in training for i in (*self._modules[other], *self._parameters[other])}
        self._averaged_players = [
            player
            for other, player in self.players.items()
            if name is not None
            and player.average is not None
            and other not in training
            # weights that are shared with a player in training are being trained
            and shared.isdisjoint(self._modules[other])
            and shared.isdisjoint(self._parameters[other])
        ]

    def _set_modes(self, training: frozenset[str]) -> None:
        """Set the players in training mode, and all other modules in evaluation mode.

        ``train`` and ``eval`` would write all flags, which takes a twentieth of a round of a small network.
        """
        if training not in self._modes_of:
            modules = {id(self.task)}.union(*(self._modules[name] for name in training))  # players can share modules
            self._modes_of[training] = [(module, id(module) in modules) for module in self.task.modules()]
        for module, mode in self._modes_of[training]:
            if module.training != mode:
                module.training = mode


def check_players(task: Task) -> dict[str, nn.Module]:
    """The players of a task, after a check that they are its modules.

    Raises:
        ValueError: if a player is not a module of the task; the task could not save it or move it to a device.
    """
    players = task.players()
    task_modules = {id(module) for module in task.modules()}
    for name, module in players.items():
        if id(module) not in task_modules:
            raise ValueError(f"player {name!r} is not a module of {type(task).__name__}; assign it to self in __init__")
    return players
