"""Encode and decode files with a trained model."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from danlu.app.console.progress import Screen
from danlu.app.files.image_files import say_resized
from danlu.app.files.inputs import inputs_of
from danlu.app.files.outputs import ImageGrid, find_destination, write
from danlu.app.files.standard_input import with_standard_input
from danlu.app.inference.apply import Generated, apply_verb, collect_inputs, grid_columns, require_files
from danlu.app.inference.load import load_with_verb
from danlu.app.inference.two_values import suited
from danlu.rng.keys import seeded
from danlu.training.runtime import DeviceName


def reconstruct(
    run: str | Path,
    *files: str | Path,
    out: str | Path | None = None,
    invert: bool = False,
    encoding: str = "utf-8",
    seed: int = 0,
    overwrite: bool = False,
    device: DeviceName = "auto",
    quiet: bool = False,
) -> Generated:
    """Encode and decode images or rows with a model, and write the reconstructions.

    An image grid shows each image, followed by its reconstruction; the other forms have the reconstructions. For a
    model of two values, images become black and white at the middle of the gray values.

    Args:
        run: a run folder, or a model folder.
        files: images, or folders of images; CSV or Parquet files for a model of rows; "-" is standard input.
        out: as for ``sample``; by default reconstructions.png or reconstructions.csv.
        invert: for images, invert dark on light to light on dark.
        encoding: text encoding of CSV files.
        seed: random seed, for models that use random numbers.
        overwrite: replace existing files.
        device: the device.
        quiet: do not report columns that are not used, and images that are resized.

    Raises:
        UsageError: if the model cannot reconstruct, no file is given, a file does not exist, or the output exists.
        RunError: if no file can be used.
    """
    model = load_with_verb(run, "reconstruct", device)
    info, screen = model.info, Screen(quiet, sys.stderr)
    destination = find_destination(out, run, "reconstructions", info, overwrite)
    with with_standard_input(require_files(files)) as (paths, display):
        say_resized(paths, info, screen, display)
        inputs = collect_inputs(inputs_of(paths, info, invert, encoding, screen, display), destination, 2)
        inputs = [suited(one, model, display) for one in inputs]
    with torch.no_grad(), seeded("reconstruct", seed, device=next(model.parameters()).device):
        x, y, results = apply_verb(model, inputs, display, lambda batch, _: model.reconstruct(batch))
    pairs = torch.stack([x, y], 1).flatten(0, 1)
    return Generated(y, write(destination, y, info, ImageGrid(pairs, grid_columns(len(x)))), results)
