"""Read files of state dicts: safetensors, or written by torch.save, within limits and without running code."""

from __future__ import annotations

import os
import pickletools
import re
import warnings
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor

from danlu.errors import UsageError
from danlu.limits import PICKLE_STRING, SHARED_TENSORS
from danlu.storage.available_memory import available_memory
from danlu.storage.disk import check_header, diagnose_weights
from danlu.storage.json_page import parse_json, read_json
from danlu.storage.regular_file import open_regular

FILES = ("model.safetensors", "pytorch_model.bin")


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors in a file of safetensors or of ``torch.save``, by name. No code in the file is run.

    The format is determined from the first bytes of the file, not from its name. A state dict may be nested under
    "state_dict" or "model", as in a checkpoint, and all names may start with "module.", as with ``DataParallel``.

    Args:
        path: the file, or a folder with ``model.safetensors`` or ``pytorch_model.bin``.

    Raises:
        UsageError: if the file does not exist, is damaged, has another format, or can be read only by running code.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     torch.save({"epoch": 3, "state_dict": {"module.w": torch.ones(1)}}, f"{folder}/pytorch_model.bin")
    ...     read_tensors(folder)
    {'w': tensor([1.])}
    """
    file = _file(Path(path))
    try:
        with open_regular(file) as stream:
            start = stream.read(200)
            size = os.fstat(stream.fileno()).st_size
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {(error.strerror or str(error)).lower()}") from None
    if size > (free := available_memory()):
        raise UsageError(f"{file} has {size:,} bytes, and {free:,} bytes of memory are available")
    if start[4:9] == b"\0\0\0\0{":  # last bytes of the header length, and first of the header
        return _read_safetensors(file, start)
    if start[:2] == b"PK" or start[:1] == b"\x80":
        return _state_dict(_read_pickle(file, size), file, size)
    raise UsageError(
        f"{file} {diagnose_weights(start)}; give a safetensors file, or a state dict written by torch.save"
    )


def own_arguments(path: str | Path, model: str) -> dict[str, Any] | None:
    """Constructor arguments of the network in an export or model folder of danlu, or None for other files.

    A state dict is not enough to derive them, because activations, poolings and strides have no weights.

    Args:
        path: a file that ``danlu export`` wrote, or a model folder.
        model: catalogue name of the expected model.

    Raises:
        UsageError: if it is a different model of danlu.
    """
    file = _file(Path(path))
    page = _page_of_folder(file) if Path(path).is_dir() else _page_of_file(file)
    if page is None:
        return None
    if page["model"] != model:
        raise UsageError(f"{path} has a {page['model']}, not a {model}")
    return {name: tuple(v) if isinstance(v, list) else v for name, v in page["arguments"].items()}


def _page_of_folder(file: Path) -> dict[str, Any] | None:
    """The description in model.json of a model folder."""
    try:
        return _page(read_json(file.parent / "model.json"))
    except (OSError, ValueError):
        return None


def _page_of_file(file: Path) -> dict[str, Any] | None:
    """The description in the metadata of a safetensors file."""
    try:
        with safetensors.safe_open(file, "pt") as stream:
            return _page(parse_json((stream.metadata() or {}).get("danlu", "null")))
    except (safetensors.SafetensorError, OSError, ValueError):
        return None


def _page(page: Any) -> dict[str, Any] | None:
    is_description = isinstance(page, dict) and isinstance(page.get("arguments"), dict) and "model" in page
    return page if is_description else None


def _file(path: Path) -> Path:
    if not path.exists():
        raise UsageError(f"{path} does not exist; give a file of weights, or a folder with {' or '.join(FILES)}")
    if not path.is_dir():
        return path
    file = next((path / name for name in FILES if (path / name).is_file()), None)
    if file is None:
        raise UsageError(f"{path} has no {' or '.join(FILES)}; give the file of weights itself")
    return file


def _read_safetensors(file: Path, start: bytes) -> dict[str, Tensor]:
    try:
        check_header(start)
        return _without_wrappers(load_file(file))
    except (
        safetensors.SafetensorError,
        ValueError,
        KeyError,
    ) as error:  # the last two: a data type that torch does not have
        raise UsageError(f"{file} is damaged, although it starts like a safetensors file; download it again") from error


def _read_pickle(file: Path, size: int) -> Any:
    try:
        with (
            open_regular(file) as stream,
            warnings.catch_warnings(action="ignore"),
        ):  # torch warns about the suffix of the file
            _check_archive(stream, file, size)
            _check_strings(stream, file)
            return torch.load(stream, map_location="cpu", weights_only=True)
    except UsageError:
        raise
    except Exception as error:  # a damaged pickle may raise any exception
        message = str(error).casefold()
        if "global" in message or "torchscript" in message:
            raise UsageError(
                f"{file} is a pickle with objects other than tensors, and reading it would run code from the file; "
                f"use a safetensors file, or the state dict alone"
            ) from None
        raise UsageError(
            f"{file} is damaged, or a pickle that torch.save did not write; "
            f"download it again, or use a safetensors file"
        ) from None


def _check_archive(stream: BinaryIO, file: Path, size: int) -> None:
    """Check that the content of a ZIP archive is not much larger than the archive; torch.save does not compress it.

    Archives of programs, which have a better message, compress a small part of their content.

    Raises:
        UsageError: if it is more than twice as large.
    """
    if stream.read(2) == b"PK":
        with zipfile.ZipFile(stream) as archive:
            content = sum(member.file_size for member in archive.infolist())
        if content > 2 * size:
            raise UsageError(
                f"{file} is compressed: it has {size:,} bytes, and its content {content:,} bytes; torch.save does not "
                f"compress, so save the state dict again, or use a safetensors file"
            )
    stream.seek(0)


def _check_strings(stream: BinaryIO, file: Path) -> None:
    """Check the lengths of the strings in the pickles of a file, which is at its start; nothing is unpickled.

    The error of torch.load for an unknown name has the name in it, and torch searches this text in quadratic time.

    Raises:
        UsageError: if a string is too long.
        ValueError: if a pickle is damaged.
    """
    if zipfile.is_zipfile(stream):
        with zipfile.ZipFile(stream) as archive:
            pickles = [BytesIO(archive.read(name)) for name in archive.namelist() if name.endswith("data.pkl")]
    else:  # the format before torch 1.6: five pickles, and then the numbers
        stream.seek(0)
        pickles = [stream] * 5
    for pickled in pickles:
        for _, argument, _ in pickletools.genops(pickled):
            if isinstance(argument, str | bytes) and len(argument) > PICKLE_STRING:
                raise UsageError(
                    f"{file} has a name of {len(argument):,} characters; at most {PICKLE_STRING:,} are read. Use a "
                    f"safetensors file"
                )
    stream.seek(0)


def _state_dict(value: Any, file: Path, size: int) -> dict[str, Tensor]:
    """The tensors by name in the content of a pickle of this size in bytes."""
    for key in ("state_dict", "model"):
        if isinstance(value, Mapping) and isinstance(value.get(key), Mapping):
            value = value[key]
    if not isinstance(value, Mapping) or not value:
        raise UsageError(f"{file} does not have a state dict, but {_kind(value)}; save model.state_dict()")
    for name, tensor in value.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise UsageError(f"{file} does not have a state dict: {name!r} is {_kind(tensor)}, not a tensor")
    if any(tensor.layout != torch.strided or tensor.device.type != "cpu" for tensor in value.values()):
        raise UsageError(f"{file} has tensors without values, or sparse tensors; save model.state_dict()")
    if (needed := sum(tensor.nbytes for tensor in value.values())) > SHARED_TENSORS * size:
        raise UsageError(
            f"{file} has {size:,} bytes, and its tensors {needed:,} bytes, because they repeat the same numbers; "
            f"use a safetensors file"
        )
    return _without_wrappers(dict(value))


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}" if value or not isinstance(value, Mapping) else "an empty dict"


def _without_wrappers(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Remove the parts of names that torch's wrappers add: ``_orig_mod`` (compile) and ``module`` (data parallel)."""
    tensors = {re.sub(r"(^|\.)(_orig_mod\.)+", r"\1", name): tensor for name, tensor in tensors.items()}
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return tensors
