"""Scores of energy-based models: black and white inputs, and what is said about the normalizer."""

import itertools
import math

import numpy as np
import pytest
import torch
from PIL import Image

import danlu
from commands import call_checked
from danlu.data.images.info import ImageInfo
from danlu.models.base import Model
from danlu.models.energy.normalizer import LogNormalizer


def test_the_probabilities_of_all_rows_sum_to_one(tmp_path):
    rows = list(itertools.product((0, 1), repeat=4))
    table = "a,b,c,d\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)
    (tmp_path / "all.csv").write_text(table)
    settings = {"data": f"table:{tmp_path}/all.csv", "rounds": 30, "batch_size": 4, "lr": 0.5}
    run = danlu.train("rbm", **settings, out=tmp_path / "run", quiet=True).path
    scores = danlu.score(run, tmp_path / "all.csv")
    assert len(scores.files) == 16
    assert math.fsum(math.exp(one.nats) for one in scores.files) == pytest.approx(1, abs=1e-5)
    assert len({round(one.nats, 3) for one in scores.files}) > 1
    out, _ = call_checked("score", run, tmp_path / "all.csv")
    assert out.splitlines()[17:] == ["  the normalizer in the log-likelihoods is exact"]  # no word of densities


class Signs(Model):
    """Independent pixels with the values −1 and 1, of which 1 has the probability 0.8."""

    capabilities = frozenset({"binary_values", "normalizer"})
    binary_values = (-1.0, 1.0)

    def __init__(self, log_z: LogNormalizer) -> None:
        super().__init__()
        self.weight, self.log_z = torch.nn.Parameter(torch.zeros(1)), log_z
        self.info = ImageInfo((1, 1, 4), range=(-1.0, 1.0), levels=2)

    def log_prob(self, x):
        assert set(x.unique().tolist()) <= {-1.0, 1.0}
        return torch.where(x > 0, math.log(0.8), math.log(0.2)).flatten(1).sum(1)

    def log_normalizer(self):
        return self.log_z


EXACT = LogNormalizer(0.0, "exact", 0.0, None, 0)


@pytest.mark.parametrize(
    ("log_z", "note"),
    [
        (EXACT, "the normalizer in the log-likelihoods is exact"),
        (LogNormalizer(0.0, "estimate", 0.125, 80.0, 100), "a standard error of 0.12 nats"),
        (
            LogNormalizer(0.0, "unreliable", None, 1.4, 100),
            "unreliable: to the estimate of the normalizer contribute only 1 of",
        ),
    ],
)
def test_notes_tell_how_sure_the_normalizer_is(monkeypatch, tmp_path, log_z, note):
    monkeypatch.setattr("danlu.app.inference.load.load", lambda path: Signs(log_z))
    Image.fromarray(np.array([[0, 127, 128, 255]], dtype=np.uint8)).save(tmp_path / "x.png")
    out, _ = call_checked("score", "run", tmp_path / "x.png")
    nats = 2 * math.log(0.2) + 2 * math.log(0.8)
    assert f"{nats:.2f} nats  {-nats / (4 * math.log(2)):.4f} bits per dimension" in out
    assert note in out
    assert "images are binarized by a threshold" in out


def test_pixels_of_minus_one_and_one_are_drawn_with_the_gray_value_as_probability(monkeypatch, tmp_path):
    monkeypatch.setattr("danlu.app.inference.load.load", lambda path: Signs(EXACT))
    for number in range(2):  # the random numbers depend on the content of an image
        Image.fromarray(np.array([[0, 64, 191 + number, 255]], dtype=np.uint8)).save(tmp_path / f"{number}.png")
    white = [
        round((one.nats / math.log(2) + 4 * math.log2(5)) / 2)
        for seed in range(40)
        for one in danlu.score("run", tmp_path / "0.png", tmp_path / "1.png", binarize="static", seed=seed).files
    ]
    assert all(1 <= count <= 3 for count in white)
    mean, variance = 1 + (64 + 191.5) / 255, 2 * 0.25 * 0.75
    assert abs(np.mean(white) - mean) < 4 * math.sqrt(variance / len(white))
