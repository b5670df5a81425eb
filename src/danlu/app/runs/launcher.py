"""Several processes for one run: torchrun starts them, restarts them all when one dies, and passes signals on."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import torch

from danlu.app.run_folder import rank_errors
from danlu.app.run_folder.process_lock import wait_for_processes
from danlu.app.run_folder.run_folder import RunFolder
from danlu.errors import RunError, UsageError
from danlu.storage.child_environment import child_environment
from danlu.training.runtime import RENDEZVOUS

RESTARTS = 3
SHUTDOWN_TIMEOUT = 86_400
"""seconds for stopped processes to finish their round and save"""
ORPHAN_TIMEOUT = 60.0
"""seconds for the same after the launcher has ended"""
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def launched() -> bool:
    """Whether torchrun started this process as one of several."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def check_devices(devices: int, device: str) -> None:
    """Check that this number of processes can run on a type of device.

    Raises:
        UsageError: if it cannot.
    """
    if devices < 1:
        raise UsageError(f"devices: expected at least 1, got {devices}", settings=("devices",))
    if devices > 1 and device == "mps":
        raise UsageError(
            "training on an Apple GPU is limited to one process; use the CPU", settings=("devices", "device=cpu")
        )
    if device == "cpu" and devices > max(2, os.cpu_count() or 1):
        raise UsageError(
            f"devices={devices}: this machine has {os.cpu_count()} processors; use at most as many",
            settings=("devices",),
        )
    if devices > 1 and device == "cuda" and devices > torch.cuda.device_count():
        raise UsageError(
            f"devices={devices}: this machine has {torch.cuda.device_count()} GPUs; use at most as many",
            settings=("devices",),
        )


def launch(run: RunFolder, quiet: bool, dry_run: bool = False) -> RunFolder:
    """Train a run in several processes; this process must hold its lock.

    Returns:
        The run after the training.

    Raises:
        RunError: if the training failed.
    """
    rank_errors.remove_errors(run.path)
    run.save_page(status="training")
    _free_device()
    arguments = [str(run.path), *(["--quiet"] if quiet else []), *(["--dry-run"] if dry_run else [])]
    with TemporaryDirectory(prefix="danlu-") as meeting:  # readable and writable by this user only
        command = [
            *(sys.executable, "-m", "danlu.app.runs.torchrun", *_rendezvous(meeting)),
            *("--nproc-per-node", str(run.page["ranks"]), "--max-restarts", str(RESTARTS)),
            *_shutdown_timeout(),
            *("--module", "danlu.app.runs.worker", *arguments),
        ]
        environment = child_environment(
            LOGLEVEL=os.environ.get("LOGLEVEL", "ERROR"),
            OMP_NUM_THREADS=str(run.page["threads"]),
            **_local_communication(meeting),
        )
        # a separate session, so that Ctrl-C reaches the processes only once, through this process
        inherited = [] if run.lock.handle is None else [run.lock.handle]  # it stays locked if this process ends first
        process = subprocess.Popen(command, env=environment, start_new_session=True, pass_fds=inherited)
        run.lock.write_process_ids(os.getpid(), process.pid)
        before = _pass_on_signals(process, meeting)
        try:
            code = process.wait()
            wait_for_processes(run.path, ORPHAN_TIMEOUT)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    after = RunFolder.open(run.path)
    if after.page["status"] not in ("finished", "stopped"):
        how = f"lost their launcher, which was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        reason = rank_errors.read_errors(run.path) or after.page.get("error") or f"the processes {how}"
        with suppress(OSError):
            after.save_page(status="failed", error=reason)
        raise RunError(f"{reason.rstrip('.')}. Resume from the last checkpoint with `{after.resume_command}`")
    return after


def _rendezvous(folder: str) -> list[str]:
    """Options of torchrun for one machine: a file instead of its server, and its log files in the same folder.

    With ``--standalone``, torchrun opens a server for all network interfaces, without a password, and unpickles what it
    finds there. The file grows with each heartbeat; on one machine there is no other torchrun that needs them.
    """
    configuration = f"store_type=file,keep_alive_interval={SHUTDOWN_TIMEOUT}"
    return [
        *("--nnodes", "1", "--rdzv-backend", "c10d", "--rdzv-endpoint", f"{folder}/torchrun"),
        *("--rdzv-conf", configuration, "--rdzv-id", "danlu", "--log-dir", f"{folder}/logs"),
    ]


def _local_communication(folder: str) -> dict[str, str]:
    """Environment variables for processes on one machine: files in a private folder, and the loopback device."""
    names = {name for _, name in socket.if_nameindex()}
    loopback = next((name for name in ("lo", "lo0") if name in names), None)  # Linux, macOS
    devices = {} if loopback is None else {"GLOO_SOCKET_IFNAME": loopback, "NCCL_SOCKET_IFNAME": f"={loopback}"}
    return {RENDEZVOUS: folder, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", **devices}


def _free_device() -> None:
    """Free the GPU memory that this process used to check that the task can be built."""
    if torch.cuda.is_initialized():
        gc.collect()  # modules and their hooks have reference cycles
        torch.cuda.empty_cache()


def _shutdown_timeout() -> list[str]:
    """The shutdown timeout (torchrun has 30 seconds by default); older versions do not have the option."""
    from torch.distributed.run import get_args_parser  # takes time to import

    flag = "--shutdown-timeout"
    return [flag, str(SHUTDOWN_TIMEOUT)] if flag in get_args_parser().format_help() else []


def _pass_on_signals(process: subprocess.Popen[bytes], meeting: str) -> dict[int, Any]:
    """Forward the first signal, so that the processes save and stop; after the second the launcher ends.

    It then removes the folder in which the processes meet.
    """
    asked = False

    def pass_on(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            process.kill()
            shutil.rmtree(meeting, ignore_errors=True)
            os._exit(128 + number)
        asked = True
        process.send_signal(signal.SIGTERM)

    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.signal(number, pass_on) for number in _SIGNALS}
