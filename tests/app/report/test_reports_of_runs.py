"""Reports of runs of each kind of model with their figures, which other tests of runs do not draw."""

import re

import pytest

import danlu

pytestmark = pytest.mark.figures

RUNS = {
    "mlp": ({}, ["Confusion matrix", "Calibration", "Robustness", "Most confident mistakes", "Training curves"]),
    "vae": ({}, ["Samples", "Reconstructions", "Traversals", "Latent map", "Units", "Training curves"]),
    "gan": ({"data": "ring", "eval_samples": 0}, ["Samples", "Training curves"]),
    "maf": ({"data": "moons"}, ["Samples", "Latent map", "Density", "Training curves"]),
}
"""recipe: settings, and the titles of the sections with figures"""


@pytest.mark.parametrize("recipe", RUNS)
def test_every_figure_of_a_report_is_drawn(recipe, tmp_path):
    settings, titles = RUNS[recipe]
    run = danlu.train(recipe, rounds=2, out=tmp_path / "run", quiet=True, **settings)
    page = (run.path / "report.html").read_text(encoding="utf-8")
    drawn = re.findall(r'<svg role="img" aria-label="([^"]*)".*?</svg>', page, re.DOTALL)
    assert drawn == titles
