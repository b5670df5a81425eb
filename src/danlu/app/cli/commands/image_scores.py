"""The verb of the command line that scores images, whatever has made them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from danlu.app.cli.command_output import as_json, parsed
from danlu.errors import UsageError


def score_images(words: list[str]) -> int:
    """``danlu.score_images(images, reference)``"""

    def command(
        images: tuple[str, ...],
        /,
        feature_extractor: Literal["auto", "inception", "pixels"] = "auto",
        count: int | None = None,
        invert: bool = False,
        data_dir: Path | None = None,
        device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
        json: bool = False,
    ) -> int:
        """Score images against the training part of a data set: danlu score-images IMAGES… REFERENCE

        Args:
            images: a folder of images, or files; and last the reference: the name of a data set, or another folder
            feature_extractor: auto is a classifier of the data set, where it has classes, and else pixels
            count: how many images are scored; all, at most 10000, if not given
            invert: turn dark on light into light on dark first
            data_dir: where files of data sets, and Inception's weights, lie already; else the environment's DANLU_DATA
            device: where to compute
            json: print one JSON object and nothing else
        """
        from danlu.app.console.formatting import score_value
        from danlu.app.scoring.image_quality import score_images

        if len(images) < 2:
            raise UsageError("name a folder of images and a reference: danlu score-images pictures/ digits")
        found = score_images(images[:-1], images[-1], feature_extractor=feature_extractor, count=count, invert=invert,
                             data_dir=data_dir, device=device, quiet=json)  # fmt: skip
        for error in found.errors:
            print(f"danlu: {error}", file=sys.stderr)
        if json:
            as_json(found._asdict())
            return int(bool(found.errors))
        print(f"{found.images:,} images beside {found.examples:,} of {found.reference}, train part")
        width = max(map(len, found.scores))
        for name, value in found.scores.items():
            print(f"  {name.replace('_', ' '):<{width}}  {score_value(name, value)}")
        print("\n".join(f"  {note}" for note in found.notes), end="\n" if found.notes else "")
        return int(bool(found.errors))

    return parsed("score-images", command, words)
