"""Short synthetic tones of four timbres; nothing is downloaded."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from danlu.data.base.dataset import PARTS, DataSet, Part, PartName
from danlu.data.base.page import no_argument
from danlu.data.base.split import check_parts, part_sizes, refuse_unused_split
from danlu.data.base.split_settings import Split, part_fractions
from danlu.data.waveforms.info import WaveformInfo, range_of_levels
from danlu.data.waveforms.settings import Tones
from danlu.errors import UsageError
from danlu.rng.counter_based import bits, normals, uniforms
from danlu.rng.keys import key
from danlu.storage.access import Access
from danlu.storage.available_memory import available_memory

RATE, BITS = 4000, 8
"""sampling rate in Hz, and bits of a sample"""
LOWEST, HIGHEST = 80.0, 200.0
"""range of the fundamental frequency in Hz"""
ATTACK, DECAYS, NOISE = 0.004, (0.02, 0.1), 0.01
"""duration of the attack and range of the time constant of the decay in seconds; standard deviation of the noise"""
TIMBRES: dict[str, dict[float, float]] = {
    "pure": {1.0: 1.0},
    "hollow": {float(k): 1 / k for k in (1, 3, 5, 7)},
    "bright": {float(k): 1 / k for k in range(1, 9)},
    "bell": {1.0: 1.0, 2.756: 0.6, 5.404: 0.4},
}
"""the classes: amplitude of each partial, by its frequency as a multiple of the fundamental frequency. The partials of
the bell are those of a bar with free ends (Fletcher and Rossing, "The physics of musical instruments", section 2.9)."""
_DRAWS = 16  # random numbers of an example: pitch, level, decay, and a phase for each partial


def tones(argument: str = "", tones: Tones = Tones(), split: Split = Split(), access: Access | None = None) -> DataSet:
    """Waveforms of short tones with 256 levels at 4,000 Hz; the label is the timbre.

    Args:
        argument: must be empty.
        tones: number and length of the waveforms.
        split: fractions of the parts; there is no seed, because a waveform is a function of its number and its part.
        access: not needed.

    Raises:
        UsageError: if the waveforms do not fit in memory.

    >>> data = tones(tones=Tones(examples=40))
    >>> len(data.train), data.info.shape, data.info.class_names
    (28, (256,), ('pure', 'hollow', 'bright', 'bell'))
    """
    no_argument("tones", argument)
    refuse_unused_split(split, "seed", "a waveform of tones is a function of its number and its part")
    fractions = part_fractions(split)
    sizes = part_sizes(tones.examples, fractions)
    check_parts("tones", sizes, fractions)
    needed, free = tones.examples * tones.length * 64, available_memory()  # some float64 values of each sample
    if needed > free:
        raise UsageError(
            f"{tones.examples:,} waveforms of {tones.length:,} samples need {needed:,} bytes of memory, and {free:,} "
            f"are available; reduce tones.examples or tones.length",
            settings=("tones.examples", "tones.length"),
        )
    parts = []
    for part, size in zip(PARTS, sizes, strict=True):
        index = torch.arange(size)
        parts.append(Part({"waveform": draw(index, part, tones.length), "label": timbre(index)}))
    low, high = range_of_levels(BITS)
    info = WaveformInfo((tones.length,), len(TIMBRES), tuple(TIMBRES), (low, high), RATE, 1 << BITS)
    return DataSet("tones", info, *parts)


def timbre(index: Int[Tensor, "n"]) -> Int[Tensor, "n"]:
    """The timbre of each example, as its position in ``TIMBRES``: the timbres take turns."""
    return index % len(TIMBRES)


def draw(index: Int[Tensor, "n"], part: PartName, length: int = 256) -> Float[Tensor, "n length"]:
    r"""Waveforms of a part, each as a function of its index.

    .. math:: x(t) = a \, e(t) \, \frac{\sum_k w_k \sin(2 \pi r_k f t + \varphi_k)}{\sum_k w_k} + \varepsilon(t)

    with the weights :math:`w_k` and ratios :math:`r_k` of the timbre, a fundamental frequency f whose logarithm is
    uniform, a level a from 0.5 to 0.95, and uniform phases. The envelope e rises linearly during the attack and then
    decays exponentially. The values are rounded down to 256 levels.

    Args:
        index: numbers of the examples.
        part: the part, whose random numbers are independent of those of other parts.
        length: number of samples.

    >>> draw(torch.tensor([5, 6]), "train")[0].equal(draw(torch.tensor([5]), "train", 400)[0, :256])
    True
    """
    u = uniforms(key("tones", part), index[:, None] * _DRAWS + torch.arange(_DRAWS), torch.float64)
    t = torch.arange(length, dtype=torch.float64) / RATE
    frequency = LOWEST * (HIGHEST / LOWEST) ** u[:, 0]
    decay = DECAYS[0] + (DECAYS[1] - DECAYS[0]) * u[:, 2]
    envelope = (t / ATTACK).clamp(max=1) * (-(t - ATTACK).clamp(min=0) / decay[:, None]).exp()
    sounds = torch.stack([_partials(partials, frequency, u[:, 3:], t) for partials in TIMBRES.values()])
    x = (0.5 + 0.45 * u[:, 1:2]) * envelope * sounds[timbre(index), torch.arange(len(index))]
    seeds = bits(key("noise of tones", part), index)[:, None]
    x = x + NOISE * normals(seeds, torch.arange(length), torch.float64)[..., 0]
    low, high = range_of_levels(BITS)
    return ((x * 2 ** (BITS - 1)).floor() / 2 ** (BITS - 1)).clamp(low, high).float()


def _partials(
    partials: dict[float, float], frequency: Float[Tensor, "n"], u: Float[Tensor, "n k"], t: Float[Tensor, "length"]
) -> Float[Tensor, "n length"]:
    """The weighted mean of sines at multiples of a frequency, with random phases."""
    total = torch.zeros(len(frequency), len(t), dtype=torch.float64)
    for k, (ratio, weight) in enumerate(partials.items()):
        total += weight * (2 * math.pi * (ratio * frequency[:, None] * t + u[:, k : k + 1])).sin()
    return total / sum(partials.values())
