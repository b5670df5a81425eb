"""Image files as bytes of one shape: what becomes of every kind of file, which are refused, and many of them at once.

What becomes of a file:

- a camera's orientation (EXIF) is applied, so that the picture is upright;
- of an animation, and of a file with several pages, the first picture is taken;
- grey of 16 bits is scaled to 8 and rounded (v / 257), of 12 bits too (v / 4095 · 255); of colours of 16 bits a
  channel the upper byte is taken;
- what is transparent lies on white;
- palettes, CMYK and bits become grey or RGB; grey is 0.299 R + 0.587 G + 0.114 B; colour profiles are not applied;
- pictures of another size are scaled by Lanczos' filter, then cut to the middle, bordered with white, or stretched.

The content decides what a file is, not its name. Formats that hold drawings or programs (EPS, WMF, SVG) or icons of
many sizes are not read. This file does without torch, so that the processes that decode start fast.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

Fit = Literal["crop", "pad", "stretch"]

_FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png", ".apng"),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "DIB": (".dib",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".pbm", ".pgm", ".ppm", ".pnm"),
    "MPO": (".mpo",),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2", ".j2k"),
    "PCX": (".pcx",),
    "QOI": (".qoi",),
    "TGA": (".tga",),
}
SUFFIXES = frozenset(suffix for suffixes in _FORMATS.values() for suffix in suffixes)
"""how the names of image files end"""
LARGEST = 100_000_000
"""pixels of the largest picture that is opened, if nothing else is said"""
ALONE = 500
"""files up to which this process decodes itself; other processes are not worth their start"""
CREW = 16
"""processes that decode at most; then the one that collects is what limits"""
PATIENCE = 60.0
"""seconds that a process may take for one file"""
STARTING = 300.0
"""seconds that a process may take to start"""

_MODES = {1: "L", 3: "RGB"}
_GREY = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"}
_GAP = 3.0  # a picture that is much too large is first averaged to this many times its size: as good, and faster
_ON_ITS_SIDE = (5, 6, 7, 8)  # the EXIF orientations that exchange width and height
_BITS_PER_SAMPLE = 258
_AT_ONCE = 16  # files that a process is told of at a time
_one_at_a_time = threading.RLock()  # Pillow's limits are variables of its modules


class Unreadable(Exception):
    """Why a file cannot be used, as a half-sentence that follows its name."""


class Header(NamedTuple):
    """What a file says about its picture.

    Attributes:
        height: in pixels, when it is upright.
        width: in pixels.
        grey: whether it can only hold shades of grey.
    """

    height: int
    width: int
    grey: bool


def header(path: str | os.PathLike[str], largest: int = LARGEST) -> Header:
    """What a file says about its picture, without decoding it.

    Args:
        path: of the file.
        largest: pixels that it may have.

    Raises:
        Unreadable: if it is no picture, or too large a one.

    >>> import tempfile, pathlib
    >>> file = pathlib.Path(tempfile.mkdtemp(), "x.png")
    >>> Image.new("L", (3, 2)).save(file)
    >>> header(file)
    Header(height=2, width=3, grey=True)
    """
    with _opened(path, largest) as file:
        width, height = file.size
        if _orientation(file) in _ON_ITS_SIDE and file.format != "TIFF":  # which Pillow turns when it opens it
            width, height = height, width
        return Header(height, width, file.mode in _GREY)


def decode(
    path: str | os.PathLike[str], shape: tuple[int, int, int], fit: Fit = "crop", largest: int = LARGEST
) -> UInt8[np.ndarray, "c h w"]:
    """The picture in a file, as described above.

    Args:
        path: of the file.
        shape: channels (1 for grey, 3 for RGB), height and width.
        fit: "crop" scales until the shorter side fits and cuts to the middle; "pad" scales until the whole fits and
            borders it with white; "stretch" scales each side by itself.
        largest: pixels that the file's picture may have.

    Raises:
        Unreadable: if the file is no picture, a damaged one or too large a one.

    >>> import tempfile, pathlib
    >>> file = pathlib.Path(tempfile.mkdtemp(), "x.png")
    >>> Image.new("RGB", (8, 4), (255, 0, 51)).save(file)
    >>> decode(file, (3, 4, 4))[:, 0, 0].tolist()
    [255, 0, 51]
    """
    channels, height, width = shape
    with _opened(path, largest) as file:
        file.load()
        if _orientation(file) != 1:
            ImageOps.exif_transpose(file, in_place=True)
        image = _on_white(_in_eight_bits(file)).convert(_MODES[channels])
    pixels = np.asarray(_fitted(image, width, height, fit)).reshape(height, width, channels)
    return np.array(pixels.transpose(2, 0, 1), order="C")  # a copy, for Pillow's own memory is read-only


@contextmanager
def _opened(path: str | os.PathLike[str], largest: int) -> Iterator[ImageFile.ImageFile]:
    """A file as Pillow sees it before it decodes; whatever Pillow raises about it is a reason that it is unreadable.

    A decoder that meets damage may raise nearly anything, and every bit of it means the same to the user.
    """
    try:
        with _own_limits(), open(path, "rb") as content:
            if not content.read(1):
                raise Unreadable("it is empty")
            with Image.open(content, formats=_formats()) as file:
                width, height = file.size
                if width * height > largest:
                    raise Unreadable(f"it has {width} × {height} = {width * height:,} pixels; largest is {largest:,}")
                Image.MAX_IMAGE_PIXELS = largest / 2  # Pillow refuses twice that: tiles that are larger than the whole
                yield file
    except Unreadable:
        raise
    except UnidentifiedImageError:
        raise Unreadable(f"it is no picture that can be read: {_looks_like(path)}") from None
    except Exception as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise Unreadable(reason or type(error).__name__) from error


@contextmanager
def _own_limits() -> Iterator[None]:
    """Set Pillow's own limits and warnings aside, and whatever somebody has told it about truncated files."""
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = None, False
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before


def _formats() -> list[str]:
    """Those that this Pillow can read: some need libraries that it was built without."""
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _looks_like(path: str | os.PathLike[str]) -> str:
    with open(path, "rb") as file:
        start = file.read(200).lstrip()
    if start[:9].lower() in (b"<!doctype", b"<html") or start[:5].lower() == b"<html":
        return "it holds a web page"
    if start.startswith(b"version https://git-lfs"):
        return "it is the pointer to a large file that was not fetched"
    if start and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start):
        return f"it holds text, {start[:20].decode()!r}"
    return "it is cut off, or of another format"


def _orientation(file: Image.Image) -> Any:
    """As the camera was held; a damaged record says nothing."""
    try:
        return Image.Image.getexif(file).get(0x0112, 1)  # that of PNG files would decode the picture
    except Exception:
        return 1


def _in_eight_bits(image: ImageFile.ImageFile) -> Image.Image:
    """Pillow cuts off what is above 255 where it should scale."""
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return image
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        raise Unreadable(f"its pixels are {image.mode} numbers of no known range")
    values = np.asarray(image).astype(np.float64)
    bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE)
    if bits is not None and tuple(np.atleast_1d(bits)) == (12,):
        values *= 65535 / 4095
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        values[values == clear] = 65535
    return Image.fromarray((values / 257).round().clip(0, 255).astype(np.uint8))


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def _fitted(image: Image.Image, width: int, height: int, fit: Fit) -> Image.Image:
    across, down = image.size
    if fit == "pad":
        scale = min(width / across, height / down)
        inside = max(1, round(across * scale)), max(1, round(down * scale))
        page = Image.new(image.mode, (width, height), "white")
        page.paste(_scaled(image, inside), ((width - inside[0]) // 2, (height - inside[1]) // 2))
        return page
    if fit == "crop" and across * height > width * down:
        cut = width * down / height
        left = int((across - cut) / 2)  # a whole number, so that a cut alone does not blur
        return _scaled(image, (width, height), (float(left), 0.0, left + cut, float(down)))
    if fit == "crop":
        cut = height * across / width
        top = int((down - cut) / 2)
        return _scaled(image, (width, height), (0.0, float(top), float(across), top + cut))
    return _scaled(image, (width, height))


def _scaled(
    image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> Image.Image:
    return image.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=_GAP)


def work_through(
    job: Callable[[str], Any], paths: Sequence[str], workers: int | None = None, patience: float | None = None
) -> Generator[tuple[int, Any], None, None]:
    """Do the same with many files, in other processes if there are many; what comes out does not depend on how many.

    The processes are started as programs of their own and not by ``multiprocessing``, which would run the user's script
    again in each, and each answers file by file on a line of its own, so that it is known which file ends or stops it.
    A file that ends two processes is unreadable, and so is one that keeps one busy for too long.

    Args:
        job: a function of a path that can be pickled; it raises Unreadable for a file that cannot be used.
        paths: of the files.
        workers: processes; 0 for this one alone; chosen by the number of files if not given.
        patience: seconds for a file in another process; ``PATIENCE`` if not given.

    Yields:
        Number of a file, and what the job returned or the Unreadable that it raised; in any order, each file once.

    >>> list(work_through(os.path.basename, ["a/x.png", "b/y.png"]))
    [(0, 'x.png'), (1, 'y.png')]
    """
    size = _usual_crew(len(paths)) if workers is None else workers
    crew = _Crew(job, paths, size, PATIENCE if patience is None else patience)
    try:
        yield from crew.results()
    finally:
        crew.dismiss()


def _usual_crew(files: int) -> int:
    if files <= ALONE or os.name != "posix" or not sys.executable:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, CREW)


class _Crew:
    """Processes, the files that wait for one, and what became of them."""

    def __init__(self, job: Callable[[str], Any], paths: Sequence[str], size: int, patience: float):
        self.job, self.paths, self.size, self.patience = job, paths, size, patience
        self.waiting: deque[int] = deque(range(len(paths)))
        self.workers: list[_Worker] = []
        self.suspects: set[int] = set()

    def results(self) -> Iterator[tuple[int, Any]]:
        while self.waiting or any(worker.todo for worker in self.workers):
            self._hire()
            if not self.workers:  # none can be started here
                while self.waiting:
                    number = self.waiting.popleft()
                    yield number, _outcome(self.job, self.paths[number])
                return
            pause = min(worker.deadline(self.patience) for worker in self.workers) - time.monotonic()
            ready = wait([worker.line for worker in self.workers], min(max(0.0, pause), STARTING))
            for worker in [worker for worker in self.workers if worker.line in ready]:
                yield from self._hear(worker)
            for worker in list(self.workers):
                if time.monotonic() > worker.deadline(self.patience) and not worker.line.poll():
                    yield from self._stuck(worker)

    def dismiss(self) -> None:
        for worker in self.workers:
            worker.end()
        self.workers = []

    def _hire(self) -> None:
        while len(self.workers) < min(self.size, len(self.waiting)):
            try:
                self.workers.append(_Worker(self.job))
            except OSError:
                self.size -= 1

    def _hear(self, worker: _Worker) -> Iterator[tuple[int, Any]]:
        try:
            answer = worker.line.recv()
        except (EOFError, OSError):
            yield from self._gone(worker)
            return
        worker.since = time.monotonic()
        if worker.ready:
            yield worker.todo.popleft(), answer
        worker.ready = True
        if not worker.todo and self.waiting:  # it listens now, so that telling it cannot block
            worker.todo.extend(self.waiting.popleft() for _ in range(min(_AT_ONCE, len(self.waiting))))
            with suppress(OSError):  # if it is gone, that will be heard
                worker.line.send([self.paths[number] for number in worker.todo])

    def _gone(self, worker: _Worker) -> Iterator[tuple[int, Any]]:
        """A process has ended. Its file is tried once more, for it may have been ended by somebody else."""
        how = worker.end(grace=1.0)  # it has closed its line, so that its exit code is near
        self._replace(worker)
        if worker.todo and worker.todo[0] in self.suspects:
            yield worker.todo.popleft(), Unreadable(f"the process that read it was ended ({how}), twice")
        self.suspects.update(list(worker.todo)[:1])
        self.waiting.extendleft(reversed(worker.todo))

    def _stuck(self, worker: _Worker) -> Iterator[tuple[int, Any]]:
        worker.end()
        self._replace(worker)
        if worker.todo:
            yield worker.todo.popleft(), Unreadable(f"it could not be read in {self.patience:g} seconds")
        self.waiting.extendleft(reversed(worker.todo))

    def _replace(self, worker: _Worker) -> None:
        """Somebody else will be hired in its place, unless it never came to work."""
        self.workers.remove(worker)
        self.size -= not worker.ready


class _Worker:
    """A process that does the job with one file after another.

    Attributes:
        line: where it is told of files and answers.
        todo: numbers of the files that it was told of and has not answered.
        ready: whether it has started.
        since: when it was last heard of.
    """

    def __init__(self, job: Callable[[str], Any]):
        self.todo: deque[int] = deque()
        self.ready, self.since = False, time.monotonic()
        self.line, theirs = Pipe()
        with theirs:
            code = f"from {__name__} import serve; serve({theirs.fileno()})"
            places = os.pathsep.join(place or os.getcwd() for place in sys.path)
            try:
                self.process = subprocess.Popen(
                    [sys.executable, "-P", "-c", code],
                    env={**os.environ, "PYTHONPATH": places},
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            except OSError:
                self.line.close()
                raise
        with suppress(OSError):  # if it is gone, that will be heard
            self.line.send(job)

    def deadline(self, patience: float) -> float:
        """When it must have been heard of again."""
        if not self.ready:
            return self.since + STARTING
        return self.since + patience if self.todo else float("inf")

    def end(self, grace: float = 0.0) -> str:
        """End it, after so many seconds in which it may end by itself; how it ended, in words."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(grace)
        self.process.kill()
        code = self.process.wait()
        self.line.close()
        return f"exit code {code}" if code >= 0 else f"signal {-code}, {signal.strsignal(-code)}"


def serve(handle: int) -> None:
    """Be one of the processes of ``work_through``: take the job, then files, and answer each.

    Args:
        handle: the line to the process that asks.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asks decides when to end
    with Connection(handle) as line:
        job = line.recv()
        line.send("ready")
        while True:
            try:
                paths: Iterable[str] = line.recv()
            except EOFError:
                return
            for path in paths:
                line.send(_outcome(job, path))


def _outcome(job: Callable[[str], Any], path: str) -> Any:
    try:
        return job(path)
    except Unreadable as error:
        return error
