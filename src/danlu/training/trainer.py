"""The training loop: a round executes every turn of the task once, and the trainer yields a report.

A turn with an optimizer step has four steps:

1. The rows of the batch for this process are drawn, in micro-batches.
2. The task computes its terms, one value per example. The sum of the terms, divided by the size of the whole batch, is
   differentiated, so gradients add up over micro-batches and processes.
3. The norm of the gradient is computed once, for the check for NaN, for clipping and for the report.
4. The player's optimizer takes a step.

The trainer is an iterator. Logging, evaluation and saving are loops over its reports; training stops when the iteration
stops.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial, reduce
from itertools import pairwise

import torch
from torch import Tensor

from danlu.data.base.batch_stream import Batch, Stream
from danlu.data.base.joined_streams import rows_of_parts
from danlu.errors import UsageError
from danlu.nn.state_dict import PrefixView, is_sharded, load_tensors, named_tensors
from danlu.rng.keys import key
from danlu.tasks.task import Descend, Place, Task, Terms, Update
from danlu.training.active_player import ActivePlayer, check_players
from danlu.training.compilation import compile_modules
from danlu.training.cuda_graphs import Outcome, Replays, check_replay, prepare
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.player import Player
from danlu.training.runtime import Runtime
from danlu.training.sharding import Shards, units
from danlu.training.step_report import FiniteCheck, PlayerStep, Report


class Trainer:
    """Trains a task, round by round.

    Args:
        task: the task; it is moved to the runtime's device.
        optimizer_settings: the settings for each player by name, or one for all players.
        stream: the stream of batches.
        rounds: total number of rounds.
        seed: random seed.
        grad_accumulation: number of micro-batches per turn.
        runtime: device, precision and processes.

    Raises:
        UsageError: if the names of players and settings differ.
        RunError: if the processes have different weights.

    Attributes:
        round: number of completed rounds.
        drawn: number of batches drawn.

    >>> from danlu.data import Part
    >>> from danlu.data import Shuffled
    >>> from danlu.tasks import Supervised
    >>> part = Part({"x": torch.randn(8, 4), "label": torch.arange(8) % 2})
    >>> task = Supervised(torch.nn.Linear(4, 2), inputs="x")
    >>> [report.round for report in Trainer(task, OptimizerSettings(), Shuffled(part, 4), rounds=3)]
    [1, 2, 3]
    """

    def __init__(
        self,
        task: Task,
        optimizer_settings: OptimizerSettings | Mapping[str, OptimizerSettings],
        stream: Stream,
        rounds: int,
        seed: int = 0,
        grad_accumulation: int = 1,
        runtime: Runtime | None = None,
    ):
        self.task, self.stream, self.rounds, self.seed = task, stream, rounds, seed
        self.runtime = runtime or Runtime()
        self.runtime.place(task)
        self.runtime.check_agreement(named_tensors(task))
        settings = _settings_of_players(task, optimizer_settings)
        modules = task.players()
        self.shards = Shards(modules, {name for name in modules if settings[name].shard}, self.runtime)
        self.players = {name: Player(name, module, settings[name], rounds) for name, module in modules.items()}
        self.active_player = ActivePlayer(task, self.players)
        self.round = self.drawn = 0
        self._row_slices = self.runtime.row_slices(stream.size, grad_accumulation)
        self._one_over_size = torch.tensor(1 / stream.size, dtype=self.runtime.dtype, device=self.runtime.device)
        self._dropout_keys = [key("dropout", seed, self.runtime.rank, micro) for micro in range(grad_accumulation)]
        self._update_key = key("update", seed)
        self._checks: list[FiniteCheck] = []
        if self.runtime.compile:
            compile_modules(modules.values())
        self._replays: Replays | None = None
        if self.runtime.cuda_graphs:
            self.use_replays(Replays(self.runtime))

    def check_processes(self, world: int) -> None:
        """Check that the task can be trained in ``world`` processes, before they are started.

        Raises:
            UsageError: if it cannot.
        """
        runtime, parts = replace(self.runtime, world=world), len(self._row_slices)
        for rank in range(world):
            for rows in replace(runtime, rank=rank).row_slices(self.stream.size, parts):
                rows_of_parts(self.stream, rows)
        if self._replays is not None:
            check_replay(self.task, self.players, runtime, parts)
        split = {name for name, player in self.players.items() if player.settings.shard}
        if world > 1 and split:
            units({name: player.module for name, player in self.players.items()}, split)

    def use_replays(self, replays: Replays) -> None:
        """Record and replay all following turns.

        Raises:
            UsageError: if the turns cannot be replayed.
        """
        check_replay(self.task, self.players, self.runtime, len(self._row_slices))
        for player in self.players.values():
            prepare(player)
        self._replays = replays

    def __iter__(self) -> Iterator[Report]:
        return self.until(self.rounds)

    def until(self, round: int) -> Iterator[Report]:
        """Execute the rounds up to this one."""
        try:
            while self.round < round:
                yield self.run_round()
            self.check_values()
        finally:
            self.shards.reshard()
            self.active_player.release()

    def run_round(self) -> Report:
        """Execute one round.

        Raises:
            Diverged: if a term or gradient is NaN or infinite; the step is not taken.
        """
        previous_checks, self._checks = self._checks, []
        steps = []
        try:
            for number, turn in enumerate(self.task.turns(self.round)):
                if number == 0 and not turn.fresh:
                    raise ValueError("the first turn of a round cannot reuse a batch; set fresh=True")
                self.drawn += turn.fresh
                if isinstance(turn, Descend):
                    steps.append(self._take_turn(turn, number))
                else:
                    self._update(turn, number)
        except BaseException:
            self.active_player.restore()
            raise
        self._restore_weights()
        for check in previous_checks:  # one round later the values are available without waiting
            check.check_values()
        self.round += 1
        return Report(self.round, self.drawn, steps)

    def check_values(self) -> None:
        """Check the values of the last round. On a GPU they are otherwise checked one round later.

        Raises:
            Diverged: if a value is not finite.
        """
        for check in self._checks:
            check.check_values()
        self._checks = []

    def _take_turn(self, turn: Descend, number: int) -> PlayerStep:
        self.shards.reshard()
        self.active_player.activate(turn.player, turn.in_training)
        player = self.players[turn.player]
        lr = player.lr(self.round)
        micro_batches = zip(self._dropout_keys, self._row_slices, strict=True)
        # lazy, because entering a micro-batch seeds its dropout: each is entered after the previous one is computed
        batches = (self._enter(number, dropout_key, rows) for dropout_key, rows in micro_batches)
        if self._replays is None:
            outcome = self._step(turn, player, batches, lr)
        else:
            outcome = self._replays.run(number, next(batches), lr, partial(self._step_once, turn, player))
        if self._skips_bad_steps(player):
            # not the check of _step: a replay does not run Python, and its tensors are overwritten
            self._checks.append(FiniteCheck(player, self.round, outcome.totals, outcome.norm, outcome.norms))
        return PlayerStep(player.name, outcome.totals, outcome.examples, outcome.norm, lr)

    def _step_once(self, turn: Descend, player: Player, batch: Batch, lr: Tensor) -> Outcome:
        return self._step(turn, player, [batch], lr)

    def _step(self, turn: Descend, player: Player, batches: Iterable[Batch], lr: float | Tensor) -> Outcome:
        """Take one optimizer step of a player, with gradients from all micro-batches."""
        player.clear()
        totals: Terms = {}
        n = 0
        for batch in batches:
            with self.runtime.autocast():
                terms = turn.terms(batch)
                examples = _examples_per_term(terms, turn.player)
                if player.penalized:
                    terms = {**terms, **player.penalties(examples)}
            sums = {name: term.sum(dtype=self.runtime.dtype) for name, term in terms.items()}
            loss = reduce(torch.add, sums.values())
            if not loss.requires_grad:
                raise ValueError(f"the terms of player {player.name!r} do not depend on any of its parameters")
            # the number of examples in all micro-batches and processes is known only after backward; the batch size
            # usually equals it and keeps gradients in the range of a mean; _sum_up corrects them if it does not
            # (a product, because backward(gradient) imports sympy, which takes half a second)
            (loss * self._one_over_size).backward()
            totals = {name: totals[name] + s.detach() if totals else s.detach() for name, s in sums.items()}
            n += examples
        gradients = player.gradients()
        all_examples = self._sum_up(player, gradients, totals, n)
        norm, norms = player.clip(gradients, self.runtime)
        check = FiniteCheck(player, self.round, totals, norm, norms)
        if self._skips_bad_steps(player):
            player.step(lr, skip=1 - check.finite().float())
        else:
            check.check_values()
            player.step(lr)
        return Outcome(totals, all_examples, norm, norms)

    def _skips_bad_steps(self, player: Player) -> bool:
        """Whether a flag on the device skips a bad step, and the host checks one round later."""
        return self.runtime.asynchronous and player.maskable

    def _sum_up(self, player: Player, gradients: list[Tensor], totals: Terms, n: int) -> int | Tensor:
        """Sum over all processes, divide gradients by the true number of examples, and return this number.

        The list of gradients is refilled: a parameter that only other processes used now has a gradient.
        """
        examples: int | Tensor = n
        if self.runtime.world > 1:
            examples = torch.tensor(float(n), dtype=self.runtime.dtype, device=self.runtime.device)
            if player.split:
                self.shards.reshard()
                self.runtime.sum([examples, *totals.values()])
            else:
                with player.all_gradients() as all_gradients:
                    self.runtime.sum([*all_gradients, examples, *totals.values()])
            gradients[:] = player.gradients()
            self.runtime.mean(self.active_player.running_statistics())
        elif n == 0:
            raise ValueError(f"the terms of player {player.name!r} have no values in round {self.round}")
        if isinstance(examples, Tensor) or examples != self.stream.size:  # the divisor before backward
            torch._foreach_mul_(gradients, self.stream.size / examples)
        return examples

    @torch.no_grad()
    def _update(self, turn: Update, number: int) -> None:
        self.shards.reshard()
        self.active_player.activate(None, turn.in_training)
        batch = self._enter(number, self._update_key, slice(0, self.stream.size))
        with self.shards.gathered(keep=True):
            turn.apply(batch)

    def _enter(self, number: int, dropout_key: int, rows: slice) -> Batch:
        """The batch of a turn; sets the random numbers of task and modules for this turn and micro-batch."""
        runtime = self.runtime
        self.task.enter(Place(self.seed, self.round, number, rows, self.stream.size, runtime.device, runtime.dtype))
        runtime.seed_default(key(dropout_key, self.round, number))
        return self.stream.batch(self.drawn - 1, rows)

    def _restore_weights(self) -> None:
        """Between rounds, all players have their current weights instead of averaged ones."""
        self.shards.reshard()
        self.active_player.restore()

    def state(self) -> dict[str, Tensor]:
        """All tensors of the task, the optimizers and the averages, by name. Every process must call this method.

        Tensors of sharded players are DTensors; this process holds a part of them.

        Raises:
            RunError: if the processes have different tensors.
        """
        self._restore_weights()
        for name, dim in self.task.row_dimensions.items():
            own_rows = slice(self._row_slices[0].start, self._row_slices[-1].stop)
            self.runtime.collect(self.task.get_buffer(name), own_rows, dim)
        state = {f"task/{name}": value for name, value in named_tensors(self.task).items()}
        for name, player in self.players.items():
            state.update({f"player/{name}/{entry}": value for entry, value in player.state().items()})
        self.runtime.check_agreement({name: value for name, value in state.items() if not is_sharded(value)})
        return state

    def load_state(self, state: Mapping[str, Tensor], round: int, drawn: int) -> None:
        """Continue from a state.

        Args:
            state: a result of ``state``.
            round: number of completed rounds.
            drawn: number of batches drawn.

        Raises:
            UsageError: if the state belongs to another task.
        """
        self._restore_weights()
        load_tensors(self.task, PrefixView(state, "task/"), "the checkpoint")
        for name, player in self.players.items():
            player.load_state(PrefixView(state, f"player/{name}/"))
        self.round, self.drawn = round, drawn
        if self._replays is not None:
            self._replays.forget()


def _settings_of_players(
    task: Task, optimizer_settings: OptimizerSettings | Mapping[str, OptimizerSettings]
) -> dict[str, OptimizerSettings]:
    """The optimizer settings of each player."""
    players = check_players(task)
    if isinstance(optimizer_settings, OptimizerSettings):
        return dict.fromkeys(players, optimizer_settings)
    if optimizer_settings.keys() != players.keys():
        raise UsageError(
            f"expected optimizer_settings for the players {sorted(players)}, got {sorted(optimizer_settings)}"
        )
    return dict(optimizer_settings)


def _examples_per_term(terms: Terms, player: str) -> int:
    """The number of values of each term, after a check that it is the same for all terms."""
    if not terms:
        raise ValueError(f"player {player!r} has no terms to minimize")
    for name, term in terms.items():
        if term.dim() != 1:
            raise ValueError(
                f"term {name!r} of player {player!r} has shape {tuple(term.shape)};expected (n,), one value per "
                f"example; use per_example(value, n) for any other value"
            )
    for a, b in pairwise(terms):
        if len(terms[a]) != len(terms[b]):
            raise ValueError(
                f"terms {a!r} and {b!r} of player {player!r} have {len(terms[a])} and {len(terms[b])} values; "
                f"all terms of a turn must have one value per example; use per_example(value, n) for any other value"
            )
    return len(next(iter(terms.values())))
