"""Official files are what their publishers say, wherever they lie, and what is not is refused."""

import gzip
import hashlib
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from danlu.data import DataSettings, Split
from danlu.data.datasets import mnist_cifar
from danlu.data.datasets.mnist_cifar import CIFAR10, MNIST, OfficialFiles, find_files, read_cifar, read_idx
from danlu.errors import RunError, UsageError
from danlu.storage import Access, File
from official_files import idx, toy

DATA = Path(os.environ.get("DANLU_DATA", "nowhere"))
needs_data = pytest.mark.skipif(
    not (DATA / "mnist").is_dir(), reason="DANLU_DATA names no folder with the official files"
)

MD5 = {  # as published
    "mnist": {
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    },
    "fashion-mnist": {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    },
}
SHA1 = {  # of CIFAR-10's binary version, as published
    "data_batch_1.bin": "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
    "data_batch_2.bin": "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
    "data_batch_3.bin": "1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
    "data_batch_4.bin": "aab85764eb3584312d3c7f65fd2fd016e36a258e",
    "data_batch_5.bin": "26e2849e66a845b7f1e4614ae70f4889ae604628",
    "test_batch.bin": "67eb016db431130d61cd03c7ad570b013799c88c",
}


@needs_data
@pytest.mark.parametrize("name", MD5)
def test_the_files_have_the_published_checksums(name):
    for file, digest in MD5[name].items():
        assert hashlib.md5((DATA / name / file).read_bytes()).hexdigest() == digest


@needs_data
@pytest.mark.parametrize(
    ("name", "train", "test"),
    [
        (
            "mnist",
            [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
            [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
        ),
        ("fashion-mnist", [6000] * 10, [1000] * 10),
    ],
)
def test_classes_are_as_many_as_published_and_parts_share_none(name, train, test):
    data = DataSettings(data=name, split=Split(validation=0.1)).load()
    counts = [data.part(part)["label"].bincount() for part in ("train", "validation", "test")]
    assert (counts[0] + counts[1]).tolist() == train
    assert counts[2].tolist() == test
    assert [len(data.train), len(data.validation), len(data.test)] == [54000, 6000, 10000]
    assert data.info.shape == (1, 28, 28)
    assert data.train.fields["image"].dtype == torch.uint8
    whole = DataSettings(data=name, split=Split(validation=0.0)).load().train.fields["image"].sum(dtype=torch.long)
    parts = sum(part.fields["image"].sum(dtype=torch.long) for part in (data.train, data.validation))
    assert parts == whole


@needs_data
def test_the_first_digit_is_a_five():
    """The best known picture of the set: its label, and its ink in the rows where the file has it."""
    data = DataSettings(data="mnist", split=Split(validation=0.0)).load()
    content = gzip.decompress((DATA / "mnist" / "train-images-idx3-ubyte.gz").read_bytes())
    assert int(data.train["label"][0]) == 5
    pixels = torch.tensor(list(content[16 : 16 + 784])).view(28, 28)
    assert torch.equal(data.train["image"][0, 0], pixels / 255)


@needs_data
def test_cifar_10_from_its_binary_files(tmp_path):
    """The files are rebuilt here from a coding of the same pixels, up to the published checksums."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for number, name in [(None, "test_batch.bin"), *((n, f"data_batch_{n + 1}.bin") for n in range(5))]:
        with np.load(DATA / "cifar10" / f"cifar10-{'test' if number is None else f'train-{number}'}.npz") as file:
            planes = np.cumsum(np.cumsum(file["d"], axis=2, dtype=np.uint8), axis=3, dtype=np.uint8)
            green = planes[:, 0]
            pixels = np.stack([planes[:, 1] + green, green, planes[:, 2] + green], 1)
            records = np.concatenate([file["y"][:, None], pixels.reshape(len(pixels), -1)], 1)
        (folder / name).write_bytes(records.tobytes())
        assert hashlib.sha1((folder / name).read_bytes()).hexdigest() == SHA1[name]
    data = DataSettings(data="cifar10", split=Split(validation=0.0)).load(Access(tmp_path))
    assert data.train["label"].bincount().tolist() == [5000] * 10
    assert data.test["label"].bincount().tolist() == [1000] * 10
    pixels, levels = data.train.fields["image"], torch.arange(256, dtype=torch.float64)
    assert torch.equal(data.train["image"][:10], pixels[:10] / 255)
    counts = torch.stack([pixels[:, color].flatten().bincount(minlength=256) for color in range(3)])
    mean = (counts * levels).sum(1) / counts.sum(1)
    spread = ((counts * (levels - mean[:, None]).square()).sum(1) / counts.sum(1)).sqrt()
    published = torch.tensor([[125.307, 122.950, 113.865], [62.993, 62.089, 66.705]], dtype=torch.float64)
    torch.testing.assert_close(torch.stack([mean, spread]), published, rtol=1e-5, atol=0.0)


@pytest.mark.parametrize("where", ["toy", "Toy/raw", "."])
@pytest.mark.parametrize("unpacked", [False, True])
def test_files_are_found_where_people_keep_them(where, unpacked, tmp_path, monkeypatch):
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache"))
    made = toy(tmp_path / "made")
    shutil.copytree(tmp_path / "made", tmp_path / "given" / where, dirs_exist_ok=True)
    if unpacked:
        for path in (tmp_path / "given" / where).glob("*.gz"):
            path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
            path.unlink()
    images, labels, *_ = (read_idx(path) for path in find_files(made, Access(tmp_path / "given")))
    assert images.flatten().tolist() == [n % 256 for n in range(240)]
    assert labels.tolist() == [n % 10 for n in range(40)]


def test_the_environment_names_the_folder_and_a_flag_goes_before_it(tmp_path, monkeypatch):
    made = toy(tmp_path / "a" / "toy")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DANLU_DATA", str(tmp_path / "a"))
    assert find_files(made, Access())[0].is_relative_to(tmp_path / "a")
    assert find_files(made, Access(tmp_path / "b"))[0].is_relative_to(tmp_path / "b")
    with pytest.raises(UsageError, match="folder not found"):
        find_files(made, Access(tmp_path / "c"))


def test_an_environment_that_names_no_folder_is_told_so(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for name, what in (("nowhere", "folder not found"), ("file", "it is a file, not a folder")):
        monkeypatch.setenv("DANLU_DATA", str(tmp_path / name))
        with pytest.raises(
            UsageError, match=rf"DANLU_DATA=.*{name}: {what}; set it to the folder of data sets, or unset it"
        ):
            find_files(MNIST, Access(download=False))
        assert Access(tmp_path).user_folder == tmp_path
    monkeypatch.setenv("DANLU_DATA", str(tmp_path / "empty"))  # what is not there may be fetched
    assert Access().user_folder == tmp_path / "empty"
    monkeypatch.setenv("DANLU_DATA", "")
    assert Access().user_folder is None
    monkeypatch.delenv("DANLU_DATA")
    assert Access().user_folder is None


@pytest.mark.unchecked
def test_a_fraction_of_the_official_test_part_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(mnist_cifar, "MNIST", toy(tmp_path / "toy"))
    with pytest.raises(UsageError, match=r"split.test has no effect: toy has an official test part; leave it out"):
        DataSettings(data="mnist", split=Split(test=0.5)).load(Access(tmp_path))
    assert len(DataSettings(data="mnist", split=Split(validation=0)).load(Access(tmp_path)).test) == 10


@pytest.mark.unchecked
def test_a_seed_without_a_validation_part_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(mnist_cifar, "MNIST", toy(tmp_path / "toy"))
    with pytest.raises(UsageError, match=r"split.seed has no effect: no part is split off at random; leave it out"):
        DataSettings(data="mnist", split=Split(seed=7, validation=0)).load(Access(tmp_path))


def test_what_is_missing_and_may_not_be_fetched_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache"))
    with pytest.raises(RunError, match=r"the files of mnist were not found \(searched in"):
        find_files(MNIST, Access(tmp_path, download=False))


def test_a_damaged_file_is_named_and_left_where_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache"))
    made = toy(tmp_path / "toy")
    path = tmp_path / "toy" / made.files[0].name
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"train-images.* is not the official file: SHA-256"):
        find_files(made, Access(tmp_path))
    assert path.read_bytes() == content


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it begins with"),
        (b"\x1f\x8b", "it begins with"),
        (idx((2, 3), b"12345"), r"expected 6 bytes for the shape \(2, 3\), got 5"),
        (idx((2, 3), b"1234567"), r"expected 6 bytes for the shape .*, and it has more"),
        (b"\0\0\x0d\x01" + struct.pack(">I", 1) + b"1234", "it begins with 00 00 0d 01"),
    ],
)
def test_what_is_no_idx_file_is_refused(content, said, tmp_path):
    (tmp_path / "images").write_bytes(content)
    with pytest.raises(RunError, match=said):
        read_idx(tmp_path / "images")


@pytest.mark.unchecked
def test_a_cut_gzip_is_refused(tmp_path):
    (tmp_path / "images.gz").write_bytes(gzip.compress(idx((9, 9), bytes(81)))[:20])
    with pytest.raises(RunError, match=r"images\.gz cannot be read"):
        read_idx(tmp_path / "images.gz")


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "0 bytes"), (bytes(3072), "3,072 bytes"), (bytes([10]) + bytes(3072), "labels must be 0 to 9, got 10")],
)
def test_what_is_no_batch_of_cifar_is_refused(content, said, tmp_path):
    (tmp_path / "data_batch_1.bin").write_bytes(content)
    with pytest.raises(RunError, match=said):
        read_cifar(tmp_path / "data_batch_1.bin")


def test_an_archive_that_lies_there_is_unpacked_into_the_cache(tmp_path, monkeypatch):
    import tarfile

    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache"))
    batches = tmp_path / "made" / "cifar-10-batches-bin"
    batches.mkdir(parents=True)
    files = []
    for file in CIFAR10.files:
        content = bytes(np.random.default_rng(len(files)).integers(0, 10, 3073, dtype=np.uint8))
        (batches / file.name).write_bytes(content)
        files.append(File(file.name, len(content), hashlib.sha256(content).hexdigest()))
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as out:
        out.add(batches, "cifar-10-batches-bin")
    content = (tmp_path / "cifar-10-binary.tar.gz").read_bytes()
    whole = File("cifar-10-binary.tar.gz", len(content), hashlib.sha256(content).hexdigest())
    small = OfficialFiles("cifar10", (), tuple(files), (), (whole, "cifar-10-batches-bin"))
    shutil.rmtree(batches)
    monkeypatch.setattr(mnist_cifar, "CIFAR10", small)
    data = mnist_cifar.cifar10(split=Split(validation=0.0), access=Access(tmp_path))
    assert (len(data.train), len(data.test)) == (5, 1)
    assert (tmp_path / "cifar-10-binary.tar.gz").is_file()
    (tmp_path / "cifar-10-binary.tar.gz").unlink()
    again = mnist_cifar.cifar10(split=Split(validation=0.0), access=Access(tmp_path))
    assert again.fingerprint() == data.fingerprint()  # now from the cache


@pytest.mark.unchecked
def test_an_argument_is_refused():
    with pytest.raises(UsageError, match="mnist:9: the data set mnist takes no argument; write mnist"):
        DataSettings(data="mnist:9").load()
