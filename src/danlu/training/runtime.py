"""Device, precision, compilation and communication between processes. No other module queries them."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar, get_args

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.constants import default_pg_timeout

from danlu.errors import RunError, UsageError
from danlu.nn.memory_format import fastest_format, set_format
from danlu.rng.keys import seed_default
from danlu.training.compilation import keep_compiled_code_private
from danlu.training.malloc import keep_freed_memory

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["float32", "bf16", "float64"]
ChannelsLast = Literal["auto", "on", "off"]
Number = TypeVar("Number", int, float)

RENDEZVOUS = "DANLU_RENDEZVOUS"
"""environment variable: a private folder with the files by which the processes of one machine find each other"""
_CPU_BUILD = "this build of PyTorch supports the CPU only"


@dataclass(frozen=True)
class Runtime:
    """Device, precision, compilation and processes of a run.

    Attributes:
        device: the device of all tensors.
        reason: why this device was chosen, for messages.
        precision: float32, bf16 (autocast over float32 weights) or float64.
        compile: whether the players are compiled.
        cuda_graphs: whether turns are recorded and replayed as CUDA graphs.
        channels_last: whether convolution weights have the memory format channels_last; images then have it too.
        rank: rank of this process.
        world: number of processes.

    >>> Runtime(precision="float64").dtype
    torch.float64
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    reason: str = "requested"
    precision: Precision = "float32"
    compile: bool = False
    cuda_graphs: bool = False
    channels_last: bool = False
    rank: int = 0
    world: int = 1

    @classmethod
    def start(
        cls,
        device: DeviceName = "auto",
        precision: Precision = "float32",
        compile: bool = False,
        cuda_graphs: bool = False,
        deterministic: bool = False,
        tf32: bool = False,
        single_process: bool = False,
        channels_last: ChannelsLast = "auto",
    ) -> Runtime:
        """Choose a device, join the other processes if a launcher started several, set the global options of torch.

        Args:
            device: the device, or "auto".
            precision: number type of the computation.
            compile: whether to compile the players.
            cuda_graphs: whether to record and replay turns as CUDA graphs.
            deterministic: whether to use deterministic algorithms on a GPU.
            tf32: whether matrix products on a GPU use 10-bit mantissas.
            single_process: whether to ignore other processes that a launcher started.
            channels_last: whether convolutions use the memory format channels_last; auto: on a CPU.

        Raises:
            UsageError: if the device is not available or does not support an option.
        """
        chosen, reason = pick_device(device)
        if compile and chosen.type == "cpu" and not (shutil.which("g++") or shutil.which("clang++")):
            raise UsageError(
                "compile=True on a CPU needs a C++ compiler; g++ or clang++ must be on the path",
                settings=("compile=False",),
            )
        if compile:
            keep_compiled_code_private()
        if precision == "float64" and chosen.type == "mps":
            raise UsageError("precision float64 is not available on mps; use device cpu", settings=("device=cpu",))
        if deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        if chosen.type == "cpu":
            keep_freed_memory()
        _set_deterministic(deterministic)
        torch.backends.cuda.matmul.allow_tf32 = tf32
        torch.backends.cudnn.allow_tf32 = tf32
        faster = fastest_format(chosen) is torch.channels_last
        ordered = faster if channels_last == "auto" else channels_last == "on"
        runtime = cls(chosen, reason, precision, compile, cuda_graphs, ordered)
        return (
            runtime._join_processes() if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not single_process else runtime
        )

    def _join_processes(self) -> Runtime:
        device = self.device
        if device.type == "cuda":
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
            torch.cuda.set_device(device)
        if not dist.is_initialized():
            store, rank, world = _rendezvous()
            dist.init_process_group(
                "nccl" if device.type == "cuda" else "gloo", store=store, rank=rank, world_size=world
            )
        return replace(self, device=device, rank=dist.get_rank(), world=dist.get_world_size())

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of weights and of floating-point inputs."""
        return torch.float64 if self.precision == "float64" else torch.float32

    @property
    def asynchronous(self) -> bool:
        """Whether the device works asynchronously, so that reading a value from it forces a synchronization."""
        return self.device.type == "cuda"

    def place(self, task: nn.Module) -> None:
        """Move a task to the device and convert it to the dtype."""
        task.to(self.device)
        if self.precision == "float64":
            task.double()
        set_format(task, torch.channels_last if self.channels_last else torch.contiguous_format)

    def autocast(self) -> AbstractContextManager[object]:
        """The autocast context if the precision is bf16, else an empty context."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.precision == "bf16" else nullcontext()

    def seed_default(self, key: int) -> None:
        """Seed torch's default generators of the CPU and of the device, which dropout uses, for example."""
        seed_default(key, self.device)

    def mesh(self) -> Any:
        """The device mesh of all processes, for sharded tensors."""
        from torch.distributed.device_mesh import init_device_mesh

        return init_device_mesh(self.device.type, (self.world,))

    def row_slices(self, size: int, parts: int = 1) -> list[slice]:
        """The rows of a batch for this process, as one slice for each micro-batch.

        >>> Runtime().row_slices(10, parts=3)
        [slice(0, 3, None), slice(3, 6, None), slice(6, 10, None)]

        Raises:
            UsageError: if there are fewer rows than parts.
        """
        pieces = self.world * parts
        if pieces > size:
            raise UsageError(
                f"a batch of {size} cannot be split into {pieces} ({self.world} processes × {parts} micro-batches)"
            )
        cuts = [size * number // pieces for number in range(pieces + 1)]
        own_numbers = range(self.rank * parts, (self.rank + 1) * parts)
        return [slice(cuts[number], cuts[number + 1]) for number in own_numbers]

    def sum(self, tensors: list[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, in one operation."""
        if self.world == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        for tensor, total in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))

    def mean(self, tensors: list[Tensor]) -> None:
        """Replace each tensor by its mean over all processes."""
        if self.world > 1 and tensors:
            self.sum(tensors)
            torch._foreach_div_(tensors, self.world)

    def collect(self, tensor: Tensor, rows: slice, dim: int) -> None:
        """Replace a tensor by one with the rows of all processes. This process has computed ``rows`` along ``dim``."""
        if self.world > 1:
            own_rows = tensor.narrow(dim, rows.start, rows.stop - rows.start).clone()
            tensor.zero_()
            tensor.narrow(dim, rows.start, rows.stop - rows.start).copy_(own_rows)
            dist.all_reduce(tensor)

    def broadcast(self, number: Number) -> Number:
        """The number of process 0, bitwise equal in every process."""
        if self.world == 1:
            return number
        dtype = torch.float64 if isinstance(number, float) else torch.int64
        value = torch.tensor(number, dtype=dtype, device=self.device)
        dist.broadcast(value, src=0)
        return type(number)(value.item())

    def first_rank_where(self, condition: bool) -> int | None:
        """The lowest rank where the condition is true, the same in every process; None if it is false in all of them.

        >>> Runtime().first_rank_where(True), Runtime().first_rank_where(False)
        (0, None)
        """
        if self.world == 1:
            return 0 if condition else None
        candidate = torch.tensor(self.rank if condition else self.world, device=self.device)
        dist.all_reduce(candidate, dist.ReduceOp.MIN)
        first = int(candidate.item())
        return first if first < self.world else None

    def broadcast_bool(self, value: bool) -> bool:
        """The value of process 0, in every process."""
        return bool(self.broadcast(int(value)))

    def check_agreement(self, tensors: Mapping[str, Tensor]) -> None:
        """Check that all processes have the same tensors.

        Raises:
            RunError: if they differ; the message names the first tensor that differs.
        """
        if self.world == 1 or not tensors:
            return
        own_hashes = torch.stack(
            [torch.hash_tensor(tensor).view(torch.int64).to(self.device) for tensor in tensors.values()]
        )
        all_hashes = [torch.empty_like(own_hashes) for _ in range(self.world)]
        dist.all_gather(all_hashes, own_hashes)
        for name, hashes in zip(tensors, zip(*(t.tolist() for t in all_hashes), strict=True), strict=True):
            if len(set(hashes)) > 1:
                raise RunError(f"the processes have different values of {name}; resume from the last checkpoint")


def _rendezvous() -> tuple[Any, int, int]:
    """The store by which the processes find each other, the rank of this process, and their number."""
    attempt = f"attempt-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    if folder := os.environ.get(RENDEZVOUS):
        rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        files = dist.FileStore(os.path.join(folder, attempt), world)
        files.set_timeout(default_pg_timeout)  # as the store of torchrun has
        return files, rank, world
    store, rank, world = next(dist.rendezvous("env://"))
    # torchrun keeps its store after a restart, with the addresses of processes that have ended
    return dist.PrefixStore(attempt, store), rank, world


def _set_deterministic(enabled: bool) -> None:
    if (
        enabled != torch.are_deterministic_algorithms_enabled()
    ):  # the call below imports the compiler, which takes seconds
        torch.use_deterministic_algorithms(enabled)


@contextmanager
def preserve_torch_state() -> Iterator[None]:
    """A context that restores torch's generator, number of threads and global options at its end."""
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    tf32 = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    try:
        yield
    finally:
        torch.set_rng_state(state)
        torch.set_num_threads(threads)
        _set_deterministic(deterministic)
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32


def pick_device(requested: DeviceName) -> tuple[torch.device, str]:
    """Choose a device, and give the reason for messages.

    >>> pick_device("cpu")
    (device(type='cpu'), 'requested')

    Raises:
        UsageError: if the requested device is not available.
    """
    if requested not in get_args(DeviceName):
        raise UsageError(f"unknown device {requested!r}; valid devices: {', '.join(get_args(DeviceName))}")
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if requested == "auto":
        if cuda:
            return torch.device("cuda", 0), f"GPU found: {torch.cuda.get_device_name(0)}"
        if mps:
            return torch.device("mps"), f"Apple GPU found ({platform.machine()})"
        return torch.device(
            "cpu"
        ), "no GPU found" if torch.version.cuda else "this build of PyTorch supports the CPU only"
    if requested == "cuda" and not cuda:
        reason = _CPU_BUILD if torch.version.cuda is None else "no NVIDIA GPU found"
        raise UsageError(
            f"device cuda: {reason}; use device cpu, or install a CUDA build of PyTorch", settings=("device=cpu",)
        )
    if requested == "mps" and not mps:
        raise UsageError("device mps: no Apple GPU found; use device cpu", settings=("device=cpu",))
    return torch.device("cuda", 0) if requested == "cuda" else torch.device(requested), "requested"
