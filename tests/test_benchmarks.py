"""The rows of the paper benchmarks train for hours, so that their settings are at least checked here."""

import pytest

from benchmarks.papers import cifar_gans, gans, images, inpainting, modes, ptb, semi, vae
from danlu.recipes import as_recipe

ROWS = {
    **{f"cifar {row.name}": (row.recipe, row.changes) for row in cifar_gans.ROWS},
    **{f"gans {n}": (row.recipe, {"data": row.data, **row.changes}) for n, row in enumerate(gans.PROMISES)},
    **{f"images {n}": (row.recipe, {"data": row.data, **row.changes}) for n, row in enumerate(images.PROMISES)},
    **{f"modes {n}": (row.recipe, row.changes) for n, row in enumerate(modes.PROMISES)},
    **{f"inpainting {name}": ("inpainting-vae", changes) for name, changes in inpainting.NETWORKS.items()},
    **{f"vae {row.name} {n}": ("vae", {**vae.NETWORK, **row.changes}) for n, row in enumerate(vae.CPU + vae.GPU)},
    **{row.name: ("lstm-lm", ptb.settings(row)) for row in (ptb.SMALL, ptb.MEDIUM)},
    "m2": ("semi-vae", {**semi.COMMON, **semi.ALONE}),
    "m1+m2": ("semi-vae", {**semi.COMMON, **semi.STACKED}),
}


@pytest.mark.parametrize("row", ROWS)
def test_each_row_is_a_valid_recipe(row):
    recipe, changes = ROWS[row]
    as_recipe(recipe, changes)
