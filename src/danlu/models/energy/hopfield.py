"""Hopfield network. Hopfield, "Neural networks and physical systems with emergent collective ...", 1982; modern form:
Ramsauer et al., "Hopfield networks is all you need", 2021.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from danlu.data.base.effects import Needs
from danlu.models.base import Model
from danlu.models.energy.asynchronous import FlipLog
from danlu.models.energy.couplings import Couplings
from danlu.models.energy.pattern_attention import PatternAttention
from danlu.models.energy.recall_trace import RecallTrace, Step
from danlu.models.energy.signs import check_signs
from danlu.models.energy.storage_rules import StorageName, exact_couplings
from danlu.models.energy.unit_values import check_example_shape, check_shape
from danlu.nn.dense import check_width

STEPS = 100
"""default of the largest number of steps of a recall"""


class Hopfield(Model):
    r"""Associative memory: patterns of −1 and 1 are minima of an energy, and a damaged pattern descends to one of them.

    ``form="classic"`` is a network of N binary units with symmetric couplings W, which a storage rule computes from the
    patterns:

    .. math:: E(s) = -\tfrac 1 2 s^\top W s, \qquad s_i \leftarrow \operatorname{sign} \sum_j W_{ij} s_j

    Asynchronous updates never raise the energy. ``form="modern"`` has an exponential energy of continuous states, and
    its update is attention with the patterns as keys and values (``PatternAttention``). States are (n, \*shape).

    Args:
        shape: shape of a pattern.
        patterns: largest number of stored patterns.
        form: classic, or modern (exponential energy, continuous states).
        storage: for the classic form: hebbian, which is the sum of outer products, or pseudo-inverse, with which every
            pattern is a fixed point.
        beta: for the modern form: inverse temperature; 1/√N if not given, the scale of attention.

    Raises:
        ValueError: if a number is out of range.

    >>> model = Hopfield((2, 4), patterns=1)
    >>> pattern = torch.tensor([[[1.0, 1.0, 1.0, 1.0], [-1.0, -1.0, -1.0, -1.0]]])
    >>> model.store(pattern)
    >>> damaged = pattern.clone()
    >>> damaged[0, 0, :2] = -1
    >>> model.energy(damaged), model.energy(pattern)
    (tensor([-0.5000], dtype=torch.float64), tensor([-3.5000], dtype=torch.float64))
    >>> torch.equal(model.recall(damaged), pattern)
    True
    """

    needs: ClassVar[tuple[Needs, ...]] = (
        Needs("storage", ("form",), ("classic",)),
        Needs("beta", ("form",), ("modern",)),
    )

    def __init__(
        self,
        shape: Sequence[int],
        patterns: int,
        form: Literal["classic", "modern"] = "classic",
        storage: StorageName = "hebbian",
        beta: float | None = None,
    ):
        super().__init__()
        check_example_shape(shape)
        self.shape = tuple(shape)
        check_width("patterns", patterns)
        units = math.prod(self.shape)
        if form not in ("classic", "modern"):
            raise ValueError(f"form={form!r} must be 'classic' or 'modern'")
        if storage not in ("hebbian", "pseudo-inverse"):
            raise ValueError(f"storage={storage!r} must be 'hebbian' or 'pseudo-inverse'")
        if beta is not None and not 0 < beta < math.inf:
            raise ValueError(f"beta={beta} must be a finite number greater than 0")
        self.memory: Couplings | PatternAttention
        if form == "classic":
            self.memory = Couplings(patterns, units, storage)
        else:
            self.memory = PatternAttention(patterns, units, units**-0.5 if beta is None else beta)

    @property
    def capabilities(self) -> frozenset[str]:
        classic = {"binary_values"} if isinstance(self.memory, Couplings) else set()
        return frozenset({"recall_trace"} | classic)

    @property
    def binary_values(self) -> tuple[float, float]:
        """The two values of a unit of the classic form.

        Raises:
            ValueError: for the modern form.
        """
        self._classic("binary_values")
        return -1.0, 1.0

    @property
    def patterns(self) -> Float[Tensor, "stored *shape"]:
        """The stored patterns."""
        return self.memory.stored.unflatten(1, self.shape)

    @property
    def couplings(self) -> Float64[Tensor, "units units"]:
        """The couplings W of the classic form.

        Raises:
            ValueError: for the modern form.
        """
        memory = self._classic("couplings")
        return memory.weights.double() * memory.unit

    def set_couplings(self, couplings: Float[Tensor, "units units"]) -> None:
        """Use given couplings in the classic form, in place of those of the patterns.

        They are rounded to multiples of a unit of at most 2⁻⁵¹ times the sum of their absolute values. The patterns
        are removed.

        Args:
            couplings: W, symmetric, with zero diagonal.

        Raises:
            ValueError: if they are not such a matrix of the right size, or the form is modern.
        """
        memory = self._classic("set_couplings")
        if couplings.shape != memory.weights.shape:
            raise ValueError(
                f"couplings must have the shape {tuple(memory.weights.shape)}, got {tuple(couplings.shape)}"
            )
        memory.set_couplings(exact_couplings(couplings))
        memory.patterns.zero_()

    @torch.no_grad()
    def store(self, x: Float[Tensor, "n *shape"], places: Int[Tensor, "n"] | None = None) -> None:
        """Store patterns.

        Args:
            x: the patterns, values −1 and 1.
            places: number of the place of each pattern, from 0; patterns in other places are kept. Without it, the
                patterns replace all stored ones.

        Raises:
            ValueError: if a value is not −1 or 1, there are more patterns than places, or the rule of storage cannot
                store them.
        """
        flat = self._flat(x, "pattern")
        every = torch.zeros_like(self.memory.patterns) if places is None else self.memory.patterns.clone()
        if len(flat) > len(every):
            raise ValueError(f"the network has places for {len(every)} patterns, got {len(flat)}")
        every[torch.arange(len(flat), device=flat.device) if places is None else places] = flat.to(every.dtype)
        self.memory.store(every)

    def forward(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        """The fields of the units (classic, in multiples of the unit of the couplings), or the next states (modern)."""
        return self.memory(x.flatten(1)).to(x.dtype).view_as(x)

    def energy(self, x: Float[Tensor, "n *shape"]) -> Float64[Tensor, "n"]:
        """The energy of each state.

        Args:
            x: the states; −1 and 1 in the classic form.

        Raises:
            ValueError: if a value is not possible.
        """
        self._need_patterns()
        return self.memory.energy(self._flat(x, "example"))

    @torch.no_grad()
    def recall(
        self, x: Float[Tensor, "n *shape"], steps: int = STEPS, synchronous: bool = False, seed: int = 0
    ) -> Float[Tensor, "n *shape"]:
        """The state to which each x converges.

        Args:
            x: the states at the beginning, as for ``energy``.
            steps: largest number of steps: sweeps over all units, or updates of all units at once.
            synchronous: for the classic form, update all units at once. States can then end in a cycle of length 2, of
                which one state is returned. The modern form always updates all values.
            seed: seed of the random order of the units in each sweep.

        Raises:
            ValueError: if a value is not possible, ``steps`` is not positive, or ``synchronous`` is given for the
                modern form.
        """
        states = self._flat(x, "example")
        for step in self._steps(states, steps, synchronous, seed, None):
            states = step.states
        return states.to(x.dtype).view_as(x)

    def denoise(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        """The stored pattern without noise, the same as ``recall``."""
        return self.recall(x)

    @torch.no_grad()
    def recall_trace(
        self, x: Float[Tensor, "n *shape"], steps: int = STEPS, synchronous: bool = False, seed: int = 0
    ) -> RecallTrace:
        """The states and energies during a recall, with every change of a unit if updates are asynchronous.

        Args:
            x: as for ``recall``, and so are the other arguments.
            steps: largest number of steps.
            synchronous: update all units at once.
            seed: seed of the random orders.

        Raises:
            ValueError: as ``recall``.
        """
        states = self._flat(x, "example").to(self.memory.patterns.dtype)
        log = FlipLog() if isinstance(self.memory, Couplings) and not synchronous else None
        every, period = [states], torch.zeros(len(x), dtype=torch.long, device=x.device)
        for step in self._steps(states, steps, synchronous, seed, log):
            every.append(step.states.clone())
            period = step.period
        flips = None
        if log is not None:
            assert isinstance(self.memory, Couplings)
            flips = log.flips(self.memory.unit)
        energies = torch.stack([self.memory.energy(one) for one in every])
        return RecallTrace(torch.stack(every).to(x.dtype).view(len(every), *x.shape), energies, period, flips)

    def _steps(self, states: Tensor, steps: int, synchronous: bool, seed: int, log: FlipLog | None) -> Iterator[Step]:
        check_width("steps", steps)
        self._need_patterns()
        if not len(states):
            return iter(())
        if isinstance(self.memory, PatternAttention):
            if synchronous:
                raise ValueError("synchronous has no effect: the modern form always updates all values; leave it out")
            return self.memory.steps(states, steps)
        if synchronous:
            return self.memory.synchronous(states, steps)
        return self.memory.asynchronous(states, steps, seed, log)

    def _flat(self, x: Tensor, what: str) -> Float[Tensor, "n units"]:
        """The values of each example in a row, after a check."""
        check_shape(x, self.shape, what)
        if what == "pattern" or isinstance(self.memory, Couplings):
            check_signs(x, what)
        elif not x.isfinite().all():
            raise ValueError(f"{what}s must have finite values")
        return x.flatten(1)

    def _need_patterns(self) -> None:
        if isinstance(self.memory, PatternAttention) and not self.memory.patterns.any():
            raise ValueError("no patterns are stored; call store(x) first")

    def _classic(self, what: str) -> Couplings:
        if not isinstance(self.memory, Couplings):
            raise ValueError(f"{what}: the modern form has no couplings; use form='classic'")
        return self.memory
