"""The rows of the paper benchmarks train for hours, so that their settings are at least checked here."""

import json

import pytest

from benchmarks import harness
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


def test_a_file_holds_one_result_for_each_kind_of_hardware(tmp_path, monkeypatch, capsys):
    row = harness.Row("some", "a peer", "s", 2.0, 1.0, 2.0, (1.9, 2.1), -1.0, "faster", met=True)
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    for hardware, ours in (("AVX2", 1.0), ("AVX512", 0.5), ("AVX2", 0.8)):
        monkeypatch.setattr(harness, "hardware", lambda name=hardware: name)
        row.ours = ours
        assert harness.publish([row], write=True)
    results = json.loads((tmp_path / "some.json").read_text())["results"]
    assert {name: result["ours"] for name, result in results.items()} == {"AVX2": 0.8, "AVX512": 0.5}
    facts = harness.machine()
    assert all(result["machine"] == facts for result in results.values())
    assert facts["instructions"] in capsys.readouterr().out
    row.met = False
    assert not harness.publish([row])
