"""Mutated files for every reader: each must be read, or refused with an error of danlu, within time and memory.

``python fuzz_readers.py RESULT COUNT READER …`` reads COUNT mutations of each file and writes the outcomes as JSON.
A process of its own runs it, because the memory is limited, and because a library can end the process.
"""

import gzip
import io
import json
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from danlu.app.files.image_files import read_image
from danlu.app.run_folder.run_folder import RunFolder
from danlu.data.datasets.mnist_cifar import read_cifar, read_idx
from danlu.data.images.info import ImageInfo
from danlu.data.tables.info import TableInfo
from danlu.data.tables.settings import Table
from danlu.data.tables.table import read_table
from danlu.data.text.info import TextInfo
from danlu.data.text.text_files import document_of, whole
from danlu.data.text.text_files import read as read_text
from danlu.data.text.tokenizer_files import learn
from danlu.data.text.tokenizer_files import load as load_tokenizer
from danlu.errors import DanluError
from danlu.models import CNN, MLP, LanguageModel, ResNet, load_model, read_tensors, save_model
from danlu.models.saving.weights_file import own_arguments
from danlu.recipes import MLPRecipe, from_yaml, to_yaml
from danlu.recipes.recurrent.lstm_lm import LSTMLMRecipe
from danlu.training import Checkpoint, checkpoint
from fuzz_mutations import Form, mutate

SECONDS, MEMORY = 10, 1 << 30
"""most processor time for a file, and most additional memory"""
SEED = 7


class Reader(NamedTuple):
    """A valid file and how it is read.

    Attributes:
        write: writes the file and others that belong to it into a folder; returns the path of the file to mutate.
        read: reads it.
        form: "json", "text" or "bytes": how it is mutated.
    """

    write: Callable[[Path], Path]
    read: Callable[[Path], object]
    form: Form


# The readers


def _file(name: str, content: bytes | str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def _model(model: Any, info: Any, file: str = "model.json", tokenizer: Any = None) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        model.tokenizer = tokenizer
        save_model(model, folder, info)
        return folder / file

    return write


def _read_model(path: Path) -> None:
    model = load_model(path.parent)
    _ = model.info.description, model.info.label_names, model.info.input_description, model.info.density_note


def _read_weights(path: Path) -> None:
    """Read weights whose checksum is right."""
    page = path.parent / "model.json"
    values = {**json.loads(page.read_text(encoding="utf-8")), "sha256": sha256(path.read_bytes()).hexdigest()}
    page.write_text(json.dumps(values), encoding="utf-8")
    load_model(path.parent)


def _run(file: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        page = {
            "format": 1,
            "recipe": "mlp",
            "status": "stopped",
            "round": 3,
            "ranks": 1,
            "versions": {"danlu": "0.1.0"},
        }
        page |= {"parameters": 10, "threads": 1, "device": "cpu", "command": "danlu train mlp", "rounds": 9}
        page |= {"data": {"name": "digits", "train": 9, "validation": 3, "test": 3, "dir": None, "sha256": "ab"}}
        page |= {"scores": {"test": {"accuracy": 0.5}}, "best": {"round": 2, "value": 0.5}, "seconds": 1.5}
        (folder / "run.json").write_text(json.dumps(page), encoding="utf-8")
        (folder / "recipe.yaml").write_text(to_yaml(MLPRecipe()), encoding="utf-8")
        lines = [{"round": number, "loss": 2.5 / number, "train/accuracy": 0.1} for number in range(1, 9)]
        (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
        return folder / file

    return write


def _read_run(path: Path) -> None:
    run = RunFolder.open(path.parent)
    _ = run.access(), run.resume_command, run.scores, run.metrics(), repr(run)


def _checkpoint(file: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        return checkpoint.write(folder, Checkpoint(7, {"a": torch.ones(3)}, {"drawn": 7})) / file

    return write


def _read_checkpoint(path: Path) -> None:
    if path.name != "manifest.json":  # its checksum is right
        digests = {file.name: sha256(file.read_bytes()).hexdigest() for file in path.parent.iterdir()}
        digests.pop("manifest.json", None)
        (path.parent / "manifest.json").write_text(json.dumps({"format": 1, "sha256": digests}), encoding="utf-8")
    found = checkpoint.newest(path.parent.parent)
    if found is not None:
        _ = found.page["round"], dict(found.tensors)


def _saved(name: str, state: dict[str, Any], legacy: bool = False) -> Callable[[Path], Path]:
    content = io.BytesIO()
    torch.save(state, content, _use_new_zipfile_serialization=not legacy)
    return _file(name, content.getvalue())


def _image(form: str, **options: Any) -> bytes:
    content = io.BytesIO()
    pixels = np.arange(24 * 20 * 3, dtype=np.uint32).reshape(24, 20, 3) % 251
    Image.fromarray(pixels.astype(np.uint8)).save(content, form, **options)
    return content.getvalue()


def _read_text_file(path: Path) -> None:
    for _ in read_text([whole(document_of(path))], "utf-8", lambda *_: None):
        pass


def _read_tokenizer(path: Path) -> None:
    tokenizer = load_tokenizer(path)
    tokenizer.decode(tokenizer.encode("low lower\nslow") if tokenizer.kind != "characters" else [0])


def _parquet(**options: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        import pyarrow
        import pyarrow.parquet

        table = pyarrow.table({"a": np.arange(60.0), "b": np.arange(60), "kind": ["u", "v", "w"] * 20})
        pyarrow.parquet.write_table(table, folder / "rows.parquet", **options)
        return folder / "rows.parquet"

    return write


def _read_rows(path: Path) -> None:
    read_table(str(path), Table(target="kind"))


def _from_pretrained(path: Path) -> None:
    own_arguments(path, "ResNet")
    ResNet.from_pretrained(path, shape=(3, 32, 32))


SHAPE = (1, 8, 8)
TEXT = "low lower lowest\n" * 9
CSV = "a,b,kind\n" + "".join(f"{n},{n * 0.37:.3f},{'uvw'[n % 3]}\n" for n in range(60))
IDX = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (5, 4, 3)) + bytes(range(60))
_small = ResNet((3, 32, 32), 4, blocks=(1, 1), width=2)
_image_info, _table_info = (
    ImageInfo(SHAPE, 2, ("a", "b")),
    TableInfo((3,), 2, columns=("a", "b", "c"), shift=(0.0,) * 3),
)

READERS: dict[str, Reader] = {
    "model.json": Reader(_model(MLP(SHAPE, 2, hidden=(3,)), _image_info), _read_model, "json"),
    "model.json of a CNN": Reader(_model(CNN(SHAPE, 2, (2, 3), hidden=(3,)), _image_info), _read_model, "json"),
    "model.json of a table": Reader(_model(MLP((3,), 2, hidden=(2,)), _table_info), _read_model, "json"),
    "model.json of a language model": Reader(
        _model(LanguageModel(9, width=3), TextInfo((), vocabulary=9)), _read_model, "json"
    ),
    "model.safetensors": Reader(
        _model(MLP(SHAPE, 2, hidden=(3,)), _image_info, "model.safetensors"), _read_weights, "bytes"
    ),
    "run.json": Reader(_run("run.json"), _read_run, "json"),
    "metrics.jsonl": Reader(_run("metrics.jsonl"), _read_run, "json"),
    "recipe.yaml": Reader(_file("recipe.yaml", to_yaml(MLPRecipe())), from_yaml, "text"),
    "recipe.yaml of text": Reader(_file("recipe.yaml", to_yaml(LSTMLMRecipe())), from_yaml, "text"),
    "manifest": Reader(_checkpoint("manifest.json"), _read_checkpoint, "json"),
    "checkpoint": Reader(_checkpoint("page.json"), _read_checkpoint, "json"),
    "checkpoint tensors": Reader(_checkpoint("tensors.safetensors"), _read_checkpoint, "bytes"),
    "tokenizer.json of bpe": Reader(
        _file("tokenizer.json", learn("bpe", [TEXT], 260).to_json()), _read_tokenizer, "json"
    ),
    "tokenizer.json of words": Reader(
        _file("tokenizer.json", learn("words", [TEXT]).to_json()), _read_tokenizer, "json"
    ),
    "tokenizer.json of characters": Reader(
        _file("tokenizer.json", learn("characters", [TEXT]).to_json()), _read_tokenizer, "json"
    ),
    "CSV": Reader(_file("rows.csv", CSV), _read_rows, "text"),
    "CSV with quotes": Reader(_file("rows.csv", CSV.replace("u", '"u, x"')), _read_rows, "text"),
    "Parquet": Reader(_parquet(), _read_rows, "bytes"),
    "Parquet, zstd": Reader(_parquet(compression="zstd", use_dictionary=False), _read_rows, "bytes"),
    "idx": Reader(_file("images", IDX), read_idx, "bytes"),
    "idx.gz": Reader(_file("images.gz", gzip.compress(IDX, mtime=0)), read_idx, "bytes"),
    "cifar": Reader(_file("batch.bin", bytes(3073 * 2)), read_cifar, "bytes"),
    "text": Reader(_file("book.txt", TEXT + "größer, 慢\n" * 9), _read_text_file, "text"),
    "safetensors": Reader(
        lambda folder: _model(MLP(SHAPE, 2, (3,)), _image_info, "model.safetensors")(folder), read_tensors, "bytes"
    ),
    "pth": Reader(_saved("net.pth", dict(_small.state_dict())), _from_pretrained, "bytes"),
    "pth, legacy": Reader(_saved("net.pth", dict(_small.state_dict()), legacy=True), _from_pretrained, "bytes"),
    **{
        form: Reader(_file(f"image.{form}", _image(form)), lambda path: read_image(path, ImageInfo((3, 8, 8))), "bytes")
        for form in ("png", "jpeg", "gif", "tiff", "webp", "bmp", "ppm")
    },
}


# The run


def peak() -> int:
    """Greatest resident memory in bytes since the last reset."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def fuzz(name: str, count: int, folder: Path) -> dict[str, Any]:
    """Read mutations of a file; the outcomes, the longest time in seconds and the greatest additional memory in MiB."""
    reader = READERS[name]
    path = reader.write(folder)
    reader.read(path)
    others = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    content, rng = others[path], random.Random(zlib.crc32(name.encode()) + SEED)
    outcomes: dict[str, int] = {}
    result: dict[str, Any] = {"files": count, "outcomes": outcomes, "unexpected": [], "slow": []}
    longest, most, longest_line = 0.0, 0, 0
    for number in range(count):
        mutation = mutate(content, reader.form, rng)
        for entry in folder.iterdir():
            if entry.is_dir():  # a damaged checkpoint is renamed
                shutil.rmtree(entry)
            elif entry not in others:
                entry.unlink()
        for file, before in others.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(before)
        path.write_bytes(mutation)
        Path("/proc/self/clear_refs").write_text("5")
        before, start = peak(), time.process_time()
        signal.alarm(20 * SECONDS)  # ends the process in a library that hangs; other programs may use the processor
        try:
            reader.read(path)
            outcome = "read"
        except DanluError as error:
            outcome = type(error).__name__
            longest_line = max(longest_line, len(str(error)))
        except BaseException as error:
            outcome = type(error).__name__
            result["unexpected"].append((number, f"{outcome}: {str(error)[:200]}"))
        signal.alarm(0)
        seconds, memory = time.process_time() - start, peak() - before
        if seconds > SECONDS or memory > MEMORY:
            result["slow"].append((number, round(seconds, 2), memory >> 20))
        longest, most = max(longest, seconds), max(most, memory)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    return {**result, "seconds": round(longest, 2), "MiB": most >> 20, "characters": longest_line}


def main() -> None:
    """Fuzz the readers that the arguments name, or all."""
    out, count, *names = sys.argv[1:]
    torch.set_num_threads(1)
    results: dict[str, Any] = {}
    for name in names or READERS:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        Path(out).write_text(json.dumps({**results, "unfinished": name}), encoding="utf-8")
        with tempfile.TemporaryDirectory() as folder:
            results[name] = fuzz(name, int(count), Path(folder))
    Path(out).write_text(json.dumps(results), encoding="utf-8")


if __name__ == "__main__":
    main()
