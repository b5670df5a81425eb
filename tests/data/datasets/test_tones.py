"""The tones: functions of their numbers, on their levels, with the spectra of their timbres."""

import pytest
import torch

from danlu.data import Split, TrainingData
from danlu.data.base.dataset import PARTS
from danlu.data.datasets.tones import HIGHEST, LOWEST, RATE, TIMBRES, draw, timbre
from danlu.data.datasets.tones import tones as load
from danlu.data.waveforms.settings import Tones
from danlu.errors import UsageError


def test_the_parts_and_classes():
    data = load(tones=Tones(examples=400))
    assert [len(data.part(name)) for name in PARTS] == [280, 40, 80]
    assert data.train["label"].bincount().tolist() == [70] * 4
    assert (data.info.rate, data.info.levels, data.info.shape) == (4000, 256, (256,))


def test_a_waveform_is_a_function_of_its_number_and_part():
    numbers = torch.tensor([7, 2, 30])
    x = draw(numbers, "train")
    assert torch.equal(x, draw(torch.arange(40), "train")[numbers])
    assert torch.equal(x, draw(numbers, "train", 300)[:, :256])
    assert not torch.equal(x, draw(numbers, "test"))
    data = load(tones=Tones(examples=100))
    assert torch.equal(data.test["waveform"], draw(torch.arange(20), "test"))


def test_values_are_on_256_levels_and_use_many_of_them():
    x = draw(torch.arange(300), "train")
    assert torch.equal((128 * x).round() / 128, x)
    assert -1 <= x.min() < -0.8
    assert 0.8 < x.max() < 1
    assert len(x.unique()) > 200
    assert len(x.unique(dim=0)) == 300


def test_all_waveforms_begin_softly_and_decay():
    """The time constant is at most 0.1 s, so after 0.5 s a tone is below one percent, and noise remains."""
    x = draw(torch.arange(200), "train", RATE)
    assert x[:, 0].abs().max() < 0.1
    early, late = x[:, 16:200].square().mean(1), x[:, RATE // 2 :].square().mean(1)
    assert (late < 0.03 * early).all()
    assert x[:, -500:].std() == pytest.approx((0.01**2 + (1 / 128) ** 2 / 12) ** 0.5, rel=0.1)


def test_the_spectrum_has_the_partials_of_the_timbre():
    """The energy near the multiples of the fundamental frequency, which is the lowest peak."""
    index = torch.arange(200)
    x = draw(index, "train", RATE).double()
    power = torch.fft.rfft(x - x.mean(1, keepdim=True)).abs().square()  # one bin is 1 Hz
    pitch = power[:, int(LOWEST) - 3 : int(HIGHEST) + 4].argmax(1) + int(LOWEST) - 3
    near = {
        ratio: torch.stack(
            [p[int(ratio * f) - 4 : int(ratio * f) + 6].sum() for p, f in zip(power, pitch, strict=True)]
        )
        for ratio in (1, 2, 3, 2.756)
    }
    for label, partials in enumerate(TIMBRES.values()):
        own = timbre(index) == label
        for ratio in (2, 3, 2.756):
            share = (near[ratio] / near[1])[own].sqrt().median()
            assert share == pytest.approx(partials.get(ratio, 0.0), abs=0.12), (label, ratio)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": "tones:3"}, "tones takes no argument"),
        ({"split": Split(seed=1)}, r"split.seed has no effect: a waveform of tones is a function of its number"),
        ({"tones": Tones(examples=2)}, "part would be empty"),
        ({"waveforms": {"window": 16}}, r"waveforms\.window has no effect on tones: it applies to your own WAV files"),
    ],
)
def test_settings_that_cannot_be_met_are_errors(settings, message):
    with pytest.raises(UsageError, match=message):
        TrainingData(**{"data": "tones", **settings}).load()


def test_too_many_samples_for_the_memory_are_refused():
    with pytest.raises(UsageError, match=r"10,000,000 waveforms of 1,000,000 samples need"):
        load(tones=Tones(examples=10_000_000, length=1_000_000))
