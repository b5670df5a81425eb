"""MNIST, Fashion-MNIST and CIFAR-10 from their official files, which are looked for, checked, fetched if missing."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from danlu.data.base.dataset import DataSet, Part
from danlu.data.base.page import no_argument
from danlu.data.base.split import Split, check_parts, refuse_unused_fraction, stratified_split
from danlu.data.images.info import ImageInfo
from danlu.errors import RunError
from danlu.storage.access import Access
from danlu.storage.archive import unpack
from danlu.storage.download import File, fetch, mismatch


@dataclass(frozen=True)
class Official:
    """A data set of official files.

    Attributes:
        name: what it is called, also as a folder.
        folders: what other folders that people keep it in are called.
        files: all that it needs.
        mirrors: addresses of folders that have them, or have the archive.
        archive: a file that holds them, and the folder inside it, or None if they are fetched one by one.
    """

    name: str
    folders: tuple[str, ...]
    files: tuple[File, ...]
    mirrors: tuple[str, ...]
    archive: tuple[File, str] | None = None


def _idx_files(*sizes_and_digests: tuple[int, str]) -> tuple[File, ...]:
    """Images and labels of the training part and of the test part, as MNIST and what took its place name them."""
    names = [f"{part}-{what}-ubyte.gz" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")]
    return tuple(File(name, *facts) for name, facts in zip(names, sizes_and_digests, strict=True))


MNIST = Official(
    "mnist",
    ("MNIST/raw",),
    _idx_files(
        (9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        (28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        (1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        (4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ),
    (
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        "https://storage.googleapis.com/cvdf-datasets/mnist",
    ),
)

FASHION_MNIST = Official(
    "fashion-mnist",
    ("FashionMNIST/raw",),
    _idx_files(
        (26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        (29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        (4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        (5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    ),
    (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
    ),
)

_BATCH = 10_000 * (1 + 3 * 32 * 32)

CIFAR10 = Official(
    "cifar10",
    ("cifar-10-batches-bin", "cifar10/cifar-10-batches-bin", "cifar-10"),
    (
        File("data_batch_1.bin", _BATCH, "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"),
        File("data_batch_2.bin", _BATCH, "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"),
        File("data_batch_3.bin", _BATCH, "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"),
        File("data_batch_4.bin", _BATCH, "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"),
        File("data_batch_5.bin", _BATCH, "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"),
        File("test_batch.bin", _BATCH, "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"),
    ),
    ("https://www.cs.toronto.edu/~kriz",),
    (
        File("cifar-10-binary.tar.gz", 170052171, "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9dddda3db29a59bca1dd"),
        "cifar-10-batches-bin",
    ),
)

_CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def mnist(argument: str = "", split: Split = Split(), access: Access | None = None) -> DataSet:
    """70 000 gray images of handwritten digits, 28×28, ink 1 on paper 0; the 10 000 official test images are the test.

    LeCun et al., "Gradient-based learning applied to document recognition", 1998.

    Args:
        argument: must be empty.
        split: ``split.validation`` is the share of the 60 000 training images that are for validation.
        access: where the files may lie.

    Raises:
        RunError: if they cannot be had, or are damaged.
    """
    return _idx(MNIST, tuple("0123456789"), argument, split, access)


def fashion_mnist(argument: str = "", split: Split = Split(), access: Access | None = None) -> DataSet:
    """70 000 gray images of clothes, 28×28; the 10 000 official test images are the test.

    Xiao, Rasul and Vollgraf, "Fashion-MNIST", 2017, https://arxiv.org/abs/1708.07747.

    Args:
        argument: must be empty.
        split: ``split.validation`` is the share of the 60 000 training images that are for validation.
        access: where the files may lie.

    Raises:
        RunError: if they cannot be had, or are damaged.
    """
    return _idx(FASHION_MNIST, _CLOTHES, argument, split, access)


def cifar10(argument: str = "", split: Split = Split(), access: Access | None = None) -> DataSet:
    """60 000 color images of animals and vehicles, 32×32; the 10 000 official test images are the test.

    Krizhevsky, "Learning multiple layers of features from tiny images", 2009; the binary version of the files.

    Args:
        argument: must be empty.
        split: ``split.validation`` is the share of the 50 000 training images that are for validation.
        access: where the files may lie.

    Raises:
        RunError: if they cannot be had, or are damaged.
    """
    no_argument("cifar10", argument)
    *train, test = (read_cifar(path) for path in files_of(CIFAR10, access or Access()))
    images, labels = (torch.cat(parts) for parts in zip(*train, strict=True))
    everything = Part({"image": images, "label": labels})
    return _parted("cifar10", everything, Part(dict(zip(("image", "label"), test, strict=True))), _THINGS, split)


def _idx(official: Official, names: tuple[str, ...], argument: str, split: Split, access: Access | None) -> DataSet:
    no_argument(official.name, argument)
    images, labels, test_images, test_labels = (read_idx(path) for path in files_of(official, access or Access()))
    train = Part({"image": images.unsqueeze(1), "label": labels.long()})
    test = Part({"image": test_images.unsqueeze(1), "label": test_labels.long()})
    return _parted(official.name, train, test, names, split)


def _parted(name: str, train: Part, test: Part, names: tuple[str, ...], split: Split) -> DataSet:
    refuse_unused_fraction(split, "test", f"{name} has an official one")
    shares = 1 - split.validation, split.validation
    kept, validation = stratified_split(train["label"], shares, split.seed)
    check_parts(name, map(len, (kept, validation)), shares)
    info = ImageInfo(tuple(train.fields["image"].shape[1:]), classes=len(names), class_names=names)
    return DataSet(name, info, train.take(kept), train.take(validation), test)


def files_of(official: Official, access: Access) -> list[Path]:
    """Where the files lie; they are fetched into the cache if they lie nowhere.

    They are looked for in the folder that the user has named, there under the usual names of folders, and in the cache,
    with or without ``.gz``.

    Raises:
        RunError: if one is not what it should be, or cannot be fetched.
    """
    cache = access.cache / official.name
    *looked, _ = folders = folders_of(official, access)
    for folder in folders:
        found = [_in(folder, file) for file in official.files]
        if all(found):
            return [_checked(path, file) for path, file in zip(found, official.files, strict=True) if path]
    if not access.download:
        where = ", ".join(map(str, [*looked[:1], cache]))
        raise RunError(f"the files of {official.name} are not there (looked in {where} and below)")
    if official.archive is not None:
        _fetch_archive(official, looked, cache, access)
        return [_checked(cache / file.name, file) for file in official.files]
    return [
        found if (found := _in(cache, file)) and not mismatch(found, file) else _fetched(file, official, cache, access)
        for file in official.files
    ]


def folders_of(official: Official, access: Access) -> list[Path]:
    """Where files are looked for: below the folder that the user has named, and last in the cache."""
    return [*(_looked(official, access.user_folder) if access.user_folder else []), access.cache / official.name]


def _fetched(file: File, official: Official, cache: Path, access: Access) -> Path:
    return fetch(file, official.mirrors, cache, access.progress)


def _fetch_archive(official: Official, looked: list[Path], cache: Path, access: Access) -> None:
    assert official.archive is not None
    archive, inside = official.archive
    there = next((path for folder in looked if (path := folder / archive.name).is_file()), None)
    path = _checked(there, archive) if there else fetch(archive, official.mirrors, cache, access.progress)
    cache.mkdir(parents=True, exist_ok=True)
    unpack(path, {f"{inside}/{file.name}": file.size for file in official.files}, cache)
    if there is None:
        path.unlink()


def _looked(official: Official, given: Path) -> list[Path]:
    return [given / official.name, *(given / folder for folder in official.folders), given]


def _in(folder: Path, file: File) -> Path | None:
    candidates = [folder / file.name, folder / file.name.removesuffix(".gz")]
    return next((path for path in candidates if path.is_file()), None)


def _checked(path: Path, file: File) -> Path:
    if path.name == file.name and (problem := mismatch(path, file)):
        raise RunError(f"{path} is not the official file: {problem}; remove it, and it will be fetched")
    return path


def read_idx(path: Path) -> Tensor:
    """The bytes of an idx file, as a tensor of uint8 of the shape that the file says.

    The header is big-endian: two zeros, 8 for bytes, the number of dimensions, and each dimension in four bytes.

    Raises:
        RunError: if it is no such file, or has another length than it says.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise RunError(f"{path} cannot be read: {error}") from error
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise RunError(f"{path} is no idx file of bytes: it begins with {content[:4].hex(' ')}")
    dimensions = content[3]
    shape = tuple(np.frombuffer(content, ">u4", dimensions, offset=4).tolist())
    start, needed = 4 + 4 * dimensions, int(np.prod(shape))
    if len(content) - start != needed:
        raise RunError(f"{path} says that it holds {shape}, {needed:,} bytes, and holds {len(content) - start:,}")
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy())


def read_cifar(path: Path) -> tuple[Tensor, Tensor]:
    """Images (n, 3, 32, 32) as bytes and labels (n,) of a batch of CIFAR-10's binary version.

    Raises:
        RunError: if it has no whole number of records, or a label above 9.
    """
    content = np.fromfile(path, np.uint8)
    if len(content) == 0 or len(content) % 3073:
        raise RunError(f"{path} has {len(content):,} bytes, which is no number of records of 3,073 bytes")
    records = content.reshape(-1, 3073)
    if records[:, 0].max() > 9:
        raise RunError(f"{path} has a label {records[:, 0].max()}, and there are classes 0 to 9")
    images = torch.from_numpy(records[:, 1:].copy()).view(-1, 3, 32, 32)
    return images, torch.from_numpy(records[:, 0].astype(np.int64))
