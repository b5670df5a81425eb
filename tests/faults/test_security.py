"""Other users of the machine, and files that a stranger left in the current folder."""

import ipaddress
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import pytest

from commands import start, wait_for_lines
from danlu.app.report.figures import style
from danlu.data.images.worker_pool import map_files

TRAIN = ["train", "mlp", "--epochs", "200", "--model.hidden", "16"]
MODULES = ("random", "json", "tempfile", "torch", "danlu", "sitecustomize", "usercustomize")
"""modules that a process imports, as files of a stranger"""


def descendants(number: int) -> Iterator[int]:
    """Process numbers of those that a process has started, and of those that they have started."""
    for path in Path(f"/proc/{number}/task").glob("*/children"):
        for child in map(int, path.read_text().split()):
            yield child
            yield from descendants(child)


def listening_addresses(processes: list[int]) -> list[str]:
    """The addresses at which processes accept TCP connections, as the kernel lists them."""
    links = [os.readlink(path) for number in processes for path in Path(f"/proc/{number}/fd").iterdir()]
    own = {found[1] for link in links if (found := re.fullmatch(r"socket:\[(\d+)\]", link))}
    addresses = []
    for table in "tcp", "tcp6":
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and words[9] in own:
                digits = bytes.fromhex(words[1].partition(":")[0])
                address = b"".join(digits[at : at + 4][::-1] for at in range(0, len(digits), 4))  # little endian
                addresses.append(str(ipaddress.ip_address(address)))
    return addresses


@pytest.mark.xdist_group("devices")
def test_two_processes_accept_connections_from_the_loopback_device_only(tmp_path):
    out = tmp_path / "run"
    fresh = "import tempfile; tempfile.tempdir = None"  # the test's process has looked up TMPDIR before
    process = start(*TRAIN, "--devices", "2", "--out", out, first=fresh, TMPDIR=str(tmp_path))
    wait_for_lines(out, 2, process)
    family = list(descendants(process.pid))
    assert len(family) >= 3  # the launcher and its two workers
    addresses = listening_addresses(family)
    assert addresses  # those of gloo
    assert [address for address in addresses if not ipaddress.ip_address(address).is_loopback] == []
    (meeting,) = tmp_path.glob("danlu-*")
    assert meeting.stat().st_mode & 0o777 == 0o700
    process.signal(signal.SIGINT)
    process.ended(3)
    assert not list(tmp_path.glob("danlu-*"))
    assert not list(tmp_path.glob("torchelastic*"))


def hostile(folder: Path) -> Path:
    """A folder of a stranger; its Python files write their name to a file beside the folder when they are run."""
    here = folder / "downloads"
    here.mkdir()
    for name in MODULES:
        (here / f"{name}.py").write_text(f"open({str(folder / 'ran')!r}, 'a').write({name + chr(10)!r})\n")
    (here / "matplotlibrc").write_text("text.usetex: True\nunknown.key: 1\n")  # matplotlib warns of unknown keys
    return here


@pytest.mark.xdist_group("devices")
def test_no_process_of_a_run_imports_from_the_current_folder(tmp_path):
    """An empty entry of PYTHONPATH, as ``PYTHONPATH=$PYTHONPATH:folder`` often has, is the current folder, too."""
    here = hostile(tmp_path)
    python_path = os.pathsep.join(["", os.environ.get("PYTHONPATH", "")])
    words = [*TRAIN[:2], "--devices", "2", "--dry-run"]
    said = start(*words, folder=here, PYTHONPATH=python_path).ended()
    assert "dry run passed" in said
    assert "matplotlibrc" not in said
    assert not (tmp_path / "ran").exists()


def test_the_program_ignores_the_matplotlibrc_of_the_current_folder(tmp_path):
    """But it reads that of the user's configuration folder."""
    configuration = tmp_path / "configuration"
    configuration.mkdir()
    (configuration / "matplotlibrc").write_text("lines.linewidth: 7.5\n")
    code = """
import contextlib, os, sys
from danlu.app.cli.main import program
with contextlib.suppress(SystemExit):
    program()
import matplotlib
from importlib.resources import files
print(matplotlib.rcParams["text.usetex"], matplotlib.rcParams["lines.linewidth"])
print(files("matplotlib").joinpath("__init__.py").is_file(), os.path.exists("matplotlibrc"))
"""
    environment = {**os.environ, "MPLCONFIGDIR": str(configuration)}
    command = [sys.executable, "-P", "-c", code, "--version"]
    done = subprocess.run(command, cwd=hostile(tmp_path), env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1:] == ["False 7.5", "True True"]
    assert done.stderr == ""


def test_figures_do_not_start_latex():
    uses_latex = style.styled(lambda: matplotlib.rcParams["text.usetex"])  # as the functions that draw figures
    with matplotlib.rc_context({"text.usetex": True}):
        assert not uses_latex()


def test_no_process_that_reads_images_imports_from_the_current_folder(tmp_path, monkeypatch):
    """As from an interactive session, whose search path begins with the current folder."""
    monkeypatch.chdir(hostile(tmp_path))
    monkeypatch.syspath_prepend("")
    assert [result for _, result in map_files(len, ["x"] * 4, workers=2)] == [1] * 4
    assert not (tmp_path / "ran").exists()
