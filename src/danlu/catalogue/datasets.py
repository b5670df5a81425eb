"""The data sets by name."""

from __future__ import annotations

from typing import Any

from danlu.catalogue.entry import DataEntry
from danlu.catalogue.lookup import look_up, resolve

DATA: dict[str, DataEntry] = {
    "digits": DataEntry(
        "danlu.data.datasets.digits:digits", "images", "images", "1,797 handwritten digits, 8×8, included", "UCI 1998"
    ),
    "glyphs": DataEntry(
        "danlu.data.datasets.glyphs:glyphs",
        "images",
        "images",
        "letters and digits in 21 faces, 28×28, drawn from included fonts",
        "fonts of matplotlib",
        "glyphs",
    ),
    "mnist": DataEntry(
        "danlu.data.datasets.mnist_cifar:mnist",
        "images",
        "images",
        "70,000 handwritten digits, 28×28",
        "LeCun et al. 1998",
    ),
    "fashion-mnist": DataEntry(
        "danlu.data.datasets.mnist_cifar:fashion_mnist",
        "images",
        "images",
        "70,000 images of clothing, 28×28",
        "Xiao et al. 2017",
    ),
    "cifar10": DataEntry(
        "danlu.data.datasets.mnist_cifar:cifar10", "images", "images", "60,000 color images, 32×32", "Krizhevsky 2009"
    ),
    "folder": DataEntry(
        "danlu.data.images.image_folder:read_folder", "images", "images", "your own images: folder:PATH", "", "images"
    ),
    "table": DataEntry(
        "danlu.data.tables.table:read_table",
        "tables",
        "table",
        "your own table, CSV or Parquet: table:FILE",
        "",
        "table",
    ),
    "text": DataEntry(
        "danlu.data.text.corpus:read_text", "text", "text", "your own text, a file or a folder: text:PATH", "", "text"
    ),
    "wav": DataEntry(
        "danlu.data.waveforms.wav_folder:read_waveforms",
        "waveforms",
        "waveforms",
        "your own waveforms, a folder of WAV files: wav:PATH",
        "",
        "waveforms",
    ),
    "tones": DataEntry(
        "danlu.data.datasets.tones:tones",
        "waveforms",
        "waveforms",
        "synthetic tones of four timbres, 256 samples",
        "generated",
        "tones",
    ),
    "pydoc": DataEntry(
        "danlu.data.datasets.pydoc:pydoc",
        "text",
        "text",
        "465,000 characters of Python's manual, included",
        "Python documentation",
        "text",
    ),
    "ptb": DataEntry(
        "danlu.data.datasets.ptb_shakespeare:ptb",
        "text",
        "text",
        "Penn Treebank, one million words of newspaper text",
        "Mikolov et al. 2010",
        "text",
    ),
    "tiny-shakespeare": DataEntry(
        "danlu.data.datasets.ptb_shakespeare:tiny_shakespeare",
        "text",
        "text",
        "1.1 million characters of plays",
        "Karpathy 2015",
        "text",
    ),
    "moons": DataEntry("danlu.data.datasets.toy_2d:moons", "points", "table", "two half circles", "scikit-learn"),
    "circles": DataEntry(
        "danlu.data.datasets.toy_2d:circles", "points", "table", "two concentric circles", "scikit-learn"
    ),
    "ring": DataEntry(
        "danlu.data.datasets.toy_2d:ring", "points", "table", "eight Gaussians on a ring", "Metz et al. 2017"
    ),
    "grid": DataEntry(
        "danlu.data.datasets.toy_2d:grid", "points", "table", "25 Gaussians on a grid", "Dumoulin et al. 2017"
    ),
    "spirals": DataEntry(
        "danlu.data.datasets.toy_2d:spirals", "points", "table", "two spirals", "Grathwohl et al. 2019"
    ),
    "checkerboard": DataEntry(
        "danlu.data.datasets.toy_2d:checkerboard",
        "points",
        "table",
        "squares of a checkerboard",
        "Grathwohl et al. 2019",
    ),
    "pinwheel": DataEntry(
        "danlu.data.datasets.toy_2d:pinwheel", "points", "table", "five curved arms", "Johnson et al. 2016"
    ),
    "u1": DataEntry(
        "danlu.data.datasets.energies_2d:u1",
        "points",
        "table",
        "two lobes of a ring, given by an energy",
        "Rezende and Mohamed 2015",
    ),
    "u2": DataEntry(
        "danlu.data.datasets.energies_2d:u2",
        "points",
        "table",
        "a band along a sine, given by an energy",
        "Rezende and Mohamed 2015",
    ),
    "u3": DataEntry(
        "danlu.data.datasets.energies_2d:u3",
        "points",
        "table",
        "a band that splits and joins, given by an energy",
        "Rezende and Mohamed 2015",
    ),
    "u4": DataEntry(
        "danlu.data.datasets.energies_2d:u4",
        "points",
        "table",
        "a band that splits and steps, given by an energy",
        "Rezende and Mohamed 2015",
    ),
}


def find_data_entry(name: str) -> DataEntry:
    """The entry of the data set with the given name.

    Raises:
        UsageError: if there is no data set with this name.
    """
    return look_up("data set", name, DATA)


def find_data(name: str) -> Any:
    """The function that loads the data set with the given name.

    Raises:
        UsageError: if there is no data set with this name.
    """
    return resolve(find_data_entry(name).target)
