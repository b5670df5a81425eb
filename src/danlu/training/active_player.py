"""The active player: only its parameters require gradients, and only its running statistics are updated."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from danlu.tasks.task import Task
from danlu.training.player import Player


class ActivePlayer:
    """Selects the active player of a task.

    Modules that belong to no player, for example a frozen teacher, never have gradients and are always in evaluation
    mode.

    Args:
        task: the task.
        players: its players, by name.
    """

    def __init__(self, task: Task, players: Mapping[str, Player]):
        self.task, self.players = task, players
        self._active: Player | None = None
        self._norms = [m for m in task.modules() if isinstance(m, _NormBase) and m.track_running_stats]
        player_modules = {id(m) for player in players.values() for m in player.module.modules()}
        self._frozen_modules = [m for m in task.modules() if id(m) not in player_modules and m is not task]
        trained = {id(p) for player in players.values() for p in player.parameters}
        for parameter in task.parameters():
            parameter.requires_grad_(id(parameter) in trained)
        task.eval()
        self.train_mode()

    def train_mode(self) -> None:
        """Set all modules to training mode, except those that belong to no player."""
        if not (self.task.training and all(player.module.training for player in self.players.values())):
            self.task.train()
            for module in self._frozen_modules:
                module.training = False

    def activate(self, player: Player) -> None:
        """Make this player the only active one."""
        if player is self._active:
            return
        self._active = player
        active_parameters = {id(p) for p in player.parameters}
        for other in self.players.values():
            for parameter in other.parameters:
                parameter.requires_grad_(id(parameter) in active_parameters)
        modules = {id(m) for m in player.module.modules()}
        # without tracking, a norm in training mode normalizes by the batch, as an opponent must, and does not change
        # its running statistics; in evaluation mode it would normalize by them
        for norm in self._norms:
            norm.track_running_stats = id(norm) in modules

    def release(self) -> None:
        """Make all players active again, as before the first turn."""
        self._active = None
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
            if norm.track_running_stats
            for statistic in (norm.running_mean, norm.running_var)
            if statistic is not None
        ]


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
