"""The data sets by name."""

from __future__ import annotations

from typing import Any

from danlu.catalogue.entry import Entry
from danlu.catalogue.lookup import look_up, resolve

DATA: dict[str, Entry] = {
    "digits": Entry(
        "danlu.data.datasets.digits:digits", "images", "1797 handwritten digits, 8×8, included", "UCI 1998"
    ),
    "mnist": Entry(
        "danlu.data.datasets.mnist_cifar:mnist", "images", "70 000 handwritten digits, 28×28", "LeCun et al. 1998"
    ),
    "fashion-mnist": Entry(
        "danlu.data.datasets.mnist_cifar:fashion_mnist",
        "images",
        "70 000 images of clothing, 28×28",
        "Xiao et al. 2017",
    ),
    "cifar10": Entry(
        "danlu.data.datasets.mnist_cifar:cifar10", "images", "60 000 color images, 32×32", "Krizhevsky 2009"
    ),
    "folder": Entry("danlu.data.images.image_folder:folder", "images", "your own images: folder:PATH", "user"),
    "table": Entry("danlu.data.tables.table:table", "tables", "your own table, CSV or Parquet: table:FILE", "user"),
    "text": Entry("danlu.data.text.corpus:text", "text", "your own text, a file or a folder: text:PATH", "user"),
    "pydoc": Entry(
        "danlu.data.datasets.pydoc:pydoc", "text", "465 000 characters of Python's manual, included", "Python"
    ),
    "ptb": Entry(
        "danlu.data.datasets.ptb_shakespeare:ptb",
        "text",
        "Penn Treebank, one million words of newspaper text",
        "Mikolov et al. 2010",
    ),
    "tiny-shakespeare": Entry(
        "danlu.data.datasets.ptb_shakespeare:tiny_shakespeare",
        "text",
        "1.1 million characters of plays",
        "Karpathy 2015",
    ),
    "moons": Entry("danlu.data.datasets.toy_2d:moons", "points", "two half circles", "scikit-learn"),
    "circles": Entry("danlu.data.datasets.toy_2d:circles", "points", "two concentric circles", "scikit-learn"),
    "ring": Entry("danlu.data.datasets.toy_2d:ring", "points", "eight Gaussians on a ring", "Metz et al. 2017"),
    "grid": Entry("danlu.data.datasets.toy_2d:grid", "points", "25 Gaussians on a grid", "Dumoulin et al. 2017"),
    "spirals": Entry("danlu.data.datasets.toy_2d:spirals", "points", "two spirals", "Grathwohl et al. 2019"),
    "checkerboard": Entry(
        "danlu.data.datasets.toy_2d:checkerboard", "points", "squares of a checkerboard", "Grathwohl et al. 2019"
    ),
    "pinwheel": Entry("danlu.data.datasets.toy_2d:pinwheel", "points", "five curved arms", "Johnson et al. 2016"),
}


def find_data(name: str) -> Any:
    """The function that loads the data set with the given name.

    Raises:
        UsageError: if there is no data set with this name.
    """
    return resolve(look_up("data set", name, DATA).target)
