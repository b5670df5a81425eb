"""MNIST, Fashion-MNIST and CIFAR-10, from their official files, which are downloaded if needed and verified."""

from __future__ import annotations

import gzip
import math
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from danlu.data.base.dataset import DataSet, Part
from danlu.data.base.page import no_argument
from danlu.data.base.split import check_parts, refuse_seed_without_split, refuse_unused_split, stratified_split
from danlu.data.base.split_settings import Split
from danlu.data.images.info import ImageInfo
from danlu.errors import RunError
from danlu.storage.access import Access
from danlu.storage.archive import unpack
from danlu.storage.available_memory import available_memory
from danlu.storage.download import File, fetch, mismatch
from danlu.storage.regular_file import open_regular, read_regular


@dataclass(frozen=True)
class OfficialFiles:
    """The official files of a data set.

    Attributes:
        name: name of the data set and of its folder.
        folders: other common names of its folder.
        files: the files.
        mirrors: URLs of folders that contain the files or the archive.
        archive: an archive of the files, and the folder inside of it; None if the files are downloaded one by one.
    """

    name: str
    folders: tuple[str, ...]
    files: tuple[File, ...]
    mirrors: tuple[str, ...]
    archive: tuple[File, str] | None = None


def _idx_files(*sizes_and_digests: tuple[int, str]) -> tuple[File, ...]:
    """Images and labels of the training and test parts, with the file names of MNIST."""
    names = [f"{part}-{what}-ubyte.gz" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")]
    return tuple(File(name, *size_and_digest) for name, size_and_digest in zip(names, sizes_and_digests, strict=True))


MNIST = OfficialFiles(
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

FASHION_MNIST = OfficialFiles(
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

CIFAR10 = OfficialFiles(
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

_CLOTHING = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_OBJECTS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def mnist(argument: str = "", split: Split = Split(), access: Access | None = None) -> DataSet:
    """70,000 gray images of handwritten digits, 28×28, with ink 1 on background 0; 10,000 are the official test part.

    LeCun et al., "Gradient-based learning applied to document recognition", 1998.

    Args:
        argument: must be empty.
        split: ``split.validation`` is the fraction of the 60,000 training images that is used for validation.
        access: folders of the files.

    Raises:
        RunError: if a file cannot be downloaded, or is damaged.
    """
    return _idx(MNIST, tuple("0123456789"), argument, split, access)


def fashion_mnist(argument: str = "", split: Split = Split(), access: Access | None = None) -> DataSet:
    """70,000 gray images of clothing, 28×28; 10,000 are the official test part.

    Xiao, Rasul and Vollgraf, "Fashion-MNIST", 2017, https://arxiv.org/abs/1708.07747.

    Args:
        argument: must be empty.
        split: ``split.validation`` is the fraction of the 60,000 training images that is used for validation.
        access: folders of the files.

    Raises:
        RunError: if a file cannot be downloaded, or is damaged.
    """
    return _idx(FASHION_MNIST, _CLOTHING, argument, split, access)


def cifar10(argument: str = "", split: Split = Split(), access: Access | None = None) -> DataSet:
    """60,000 color images of animals and vehicles, 32×32; 10,000 are the official test part.

    Krizhevsky, "Learning multiple layers of features from tiny images", 2009; the binary version of the files.

    Args:
        argument: must be empty.
        split: ``split.validation`` is the fraction of the 50,000 training images that is used for validation.
        access: folders of the files.

    Raises:
        RunError: if a file cannot be downloaded, or is damaged.
    """
    no_argument("cifar10", argument)
    *train, test = (read_cifar(path) for path in find_files(CIFAR10, access or Access()))
    images, labels = (torch.cat(parts) for parts in zip(*train, strict=True))
    training_images = Part({"image": images, "label": labels})
    return _split("cifar10", training_images, Part(dict(zip(("image", "label"), test, strict=True))), _OBJECTS, split)


def _idx(
    official: OfficialFiles, names: tuple[str, ...], argument: str, split: Split, access: Access | None
) -> DataSet:
    no_argument(official.name, argument)
    images, labels, test_images, test_labels = (read_idx(path) for path in find_files(official, access or Access()))
    train = Part({"image": images.unsqueeze(1), "label": labels.long()})
    test = Part({"image": test_images.unsqueeze(1), "label": test_labels.long()})
    return _split(official.name, train, test, names, split)


def _split(name: str, train: Part, test: Part, names: tuple[str, ...], split: Split) -> DataSet:
    refuse_unused_split(split, "test", f"{name} has an official test part")
    refuse_seed_without_split(split, (split.validation,))
    fractions = 1 - split.validation, split.validation
    kept, validation = stratified_split(train["label"], fractions, split.seed)
    check_parts(name, map(len, (kept, validation)), fractions)
    info = ImageInfo(tuple(train.fields["image"].shape[1:]), classes=len(names), class_names=names)
    return DataSet(name, info, train.take(kept), train.take(validation), test)


def find_files(official: OfficialFiles, access: Access) -> list[Path]:
    """Paths of the official files, which are downloaded to the cache if they are not found.

    They are searched in the user's folder of data sets, under the common names of folders, and in the cache, with or
    without ``.gz``.

    Raises:
        RunError: if a file is not the official one, or cannot be downloaded.
    """
    cache = access.cache / official.name
    *user_folders, _ = folders = search_folders(official, access)
    for folder in folders:
        paths = [_find(folder, file) for file in official.files]
        if all(paths):
            return [_verified(path, file) for path, file in zip(paths, official.files, strict=True) if path]
    if not access.download:
        searched = ", ".join(map(str, [*user_folders[:1], cache]))
        raise RunError(f"the files of {official.name} were not found (searched in {searched})")
    with suppress(OSError):  # the download reports it
        access.cache_folder(official.name)
    if official.archive is not None:
        _fetch_archive(official, user_folders, cache, access)
        return [_verified(cache / file.name, file) for file in official.files]
    return [
        path
        if (path := _find(cache, file)) and not mismatch(path, file)
        else fetch(file, official.mirrors, cache, access.progress)
        for file in official.files
    ]


def search_folders(official: OfficialFiles, access: Access) -> list[Path]:
    """Folders in which the files are searched: in the user's folder of data sets, then in the cache."""
    cache = access.cache_folder(official.name, create=False)
    return [*(_candidates(official, access.user_folder) if access.user_folder else []), cache]


def _fetch_archive(official: OfficialFiles, user_folders: list[Path], cache: Path, access: Access) -> None:
    assert official.archive is not None
    archive, inside = official.archive
    existing = next((path for folder in user_folders if (path := folder / archive.name).is_file()), None)
    path = _verified(existing, archive) if existing else fetch(archive, official.mirrors, cache, access.progress)
    unpack(path, {f"{inside}/{file.name}": file.size for file in official.files}, cache)
    if existing is None:
        path.unlink()


def _candidates(official: OfficialFiles, root: Path) -> list[Path]:
    return [root / official.name, *(root / folder for folder in official.folders), root]


def _find(folder: Path, file: File) -> Path | None:
    candidates = [folder / file.name, folder / file.name.removesuffix(".gz")]
    return next((path for path in candidates if path.is_file()), None)


def _verified(path: Path, file: File) -> Path:
    if path.name == file.name and (problem := mismatch(path, file)):
        raise RunError(f"{path} is not the official file: {problem}; remove it, and it will be downloaded")
    return path


def read_idx(path: Path) -> Tensor:
    """Read an idx file of bytes as a tensor of dtype uint8.

    The header is big-endian: two zeros, 8 for bytes, the number of dimensions, and each dimension in four bytes.

    Raises:
        RunError: if it is not such a file, or its size does not match its header.
    """
    try:
        with open_regular(path) as stored, gzip.open(stored) if path.suffix == ".gz" else stored as file:
            start = file.read(4)
            if len(start) < 4 or start[:3] != b"\0\0\x08":
                raise RunError(f"{path} is not an idx file of bytes: it begins with {start.hex(' ')}")
            sizes = file.read(4 * start[3])
            shape = tuple(np.frombuffer(sizes[: len(sizes) // 4 * 4], ">u4").tolist())
            needed, free = math.prod(shape), available_memory()
            if len(shape) < start[3] or needed > free:
                problem = f"{needed:,} bytes, and {free:,} are available" if needed > free else "no complete header"
                raise RunError(f"{path}: its header has the shape {shape}: {problem}")
            content = file.read(needed + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise RunError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(content) != needed:
        size = f"got {len(content):,}" if len(content) < needed else "and it has more"
        raise RunError(f"{path}: expected {needed:,} bytes for the shape {shape}, {size}")
    return torch.from_numpy(np.frombuffer(content, np.uint8).reshape(shape).copy())


def read_cifar(path: Path) -> tuple[Tensor, Tensor]:
    """Read a file of the binary version of CIFAR-10: images (n, 3, 32, 32) as bytes, and labels (n,).

    Raises:
        RunError: if the file has an incomplete record, or a label above 9.
    """
    try:
        content = np.frombuffer(read_regular(path), np.uint8)
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(content) == 0 or len(content) % 3073:
        raise RunError(f"{path} has {len(content):,} bytes, which is not a multiple of the record size, 3,073 bytes")
    records = content.reshape(-1, 3073)
    if records[:, 0].max() > 9:
        raise RunError(f"{path}: labels must be 0 to 9, got {records[:, 0].max()}")
    images = torch.from_numpy(records[:, 1:].copy()).view(-1, 3, 32, 32)
    return images, torch.from_numpy(records[:, 0].astype(np.int64))
