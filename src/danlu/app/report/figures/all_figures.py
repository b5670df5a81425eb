"""The list of figures: the function that draws each, imported when it is needed because matplotlib loads slowly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from danlu.app.report.section import FigureData
from danlu.catalogue.lookup import resolve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES: dict[str, str] = {
    "curves": "danlu.app.report.figures.training_curves:curves",
    "confusion": "danlu.app.report.figures.classifier:confusion",
    "reliability": "danlu.app.report.figures.classifier:reliability",
    "robustness": "danlu.app.report.figures.classifier:robustness",
    "most_wrong": "danlu.app.report.figures.classifier:most_wrong",
    "residuals": "danlu.app.report.figures.regression:residuals",
    "gallery": "danlu.app.report.figures.latent:gallery",
    "latent_map": "danlu.app.report.figures.latent:latent_map",
    "units": "danlu.app.report.figures.latent:units",
    "density_map": "danlu.app.report.figures.density:density_map",
    "energy_descent": "danlu.app.report.figures.energy:energy_descent",
    "filters": "danlu.app.report.figures.energy:filters",
    "waveforms": "danlu.app.report.figures.waveforms:waveforms",
    "points": "danlu.app.report.figures.latent:points",
}


def draw(data: FigureData) -> Figure:
    """Draw a figure from its data."""
    return resolve(FIGURES[data.name])(**data.values)
