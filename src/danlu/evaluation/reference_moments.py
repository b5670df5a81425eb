"""Moments of the features of a data set, computed once and cached."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import safetensors
from safetensors.torch import save
from torch import Tensor

from danlu.evaluation.feature_networks import FeatureNetwork, moments, weight_of
from danlu.metrics.moments import Moments, Origin
from danlu.storage.access import Access
from danlu.storage.atomic import write_bytes
from danlu.storage.contents import page_digest

FORMAT = 1


def reference_moments(
    network: FeatureNetwork,
    data: str,
    part: str,
    examples: Callable[[], Tensor | Iterable[Tensor]],
    access: Access | None = None,
) -> Moments:
    """The moments of one part of a data set, from the cache, or computed and cached.

    The key of the cache consists of the fingerprint of the data, the part, and the origin of the features with the
    fingerprint of the network's weights. Damaged entries are computed again. If the cache is not writable, nothing is
    cached.

    Args:
        network: the feature network.
        data: fingerprint of the data set.
        part: name of the part.
        examples: returns the examples, as one tensor or in batches; called only if they are needed.
        access: the cache.

    >>> from danlu.evaluation import Columns
    >>> rows = torch.eye(3)
    >>> first = reference_moments(Columns(), "a1b2", "train", lambda: rows)
    >>> cached = reference_moments(Columns(), "a1b2", "train", lambda: 1 / 0)  # from the cache
    >>> bool((first.mean == cached.mean).all()), cached.count
    (True, 3)
    """
    key = {"format": str(FORMAT), "data": data, "part": part, **network.origin._asdict()}
    try:
        folder = (access or Access()).cache_folder("moments")
    except (OSError, RuntimeError):  # it cannot be written
        return moments(network, examples())
    path = folder / f"{page_digest(key)[:32]}.safetensors"
    cached = load_moments(path)
    if cached is not None and cached.origin == network.origin:
        weight = weight_of(network)
        return cached if weight is None else cached.to(weight.device)
    computed = moments(network, examples())
    with suppress(OSError):
        save_moments(computed, path)
    return computed


def save_moments(moments: Moments, path: str | Path) -> None:
    """Write moments and their origin to a safetensors file, atomically."""
    path = Path(path)
    state = {name: tensor.cpu().contiguous() for name, tensor in moments.state().items()}
    digest = _digest(state)
    page = {"format": str(FORMAT), "sha256": digest, **moments.origin._asdict()}
    write_bytes(path, save(state, metadata=page))


def load_moments(path: str | Path) -> Moments | None:
    """The moments in a file; None if it is missing, damaged, or of another format."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            page = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in ("count", "mean", "scatter")}
        if page["format"] != str(FORMAT) or page["sha256"] != _digest(state):
            return None
        return Moments.from_state(state, Origin(page["name"], page["resize"], page["weights"]))
    except (OSError, safetensors.SafetensorError, KeyError, ValueError, TypeError):
        return None


def _digest(state: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(f"{name} {state[name].dtype} {tuple(state[name].shape)}".encode())
        digest.update(state[name].numpy().tobytes())
    return digest.hexdigest()
