"""A server on loopback that breaks off, sends a wrong byte, is slow or has nothing: a download recovers, or says so."""

import hashlib
import io
import re
import tarfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from danlu.errors import RunError, UsageError
from danlu.storage import File, download, fetch
from danlu.storage.archive import MEMBERS, unpack
from danlu.storage.download import ATTEMPTS

CONTENT = bytes(range(256)) * 400
FILE = File("set.bin", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


class Server(ThreadingHTTPServer):
    """Answers as it is told to: a list of what happens at each request."""

    def __init__(self, *behavior: str):
        super().__init__(("127.0.0.1", 0), Handler)
        self.behavior, self.asked = list(behavior), []
        self.url = f"http://127.0.0.1:{self.server_port}/sets"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *words: object) -> None:
        pass

    def do_GET(self) -> None:
        number = len(self.server.asked)
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        how = self.server.behavior[min(number, len(self.server.behavior) - 1)]
        if how == "missing":
            self.send_error(404, "Not Found")
            return
        start = int(re.findall(r"\d+", wanted)[0]) if wanted and how != "no ranges" else 0
        content = CONTENT[start:]
        if how == "wrong byte":
            content = content[:10] + bytes([content[10] ^ 1]) + content[11:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if how == "breaks off":
            content = content[:30_000]
        if how == "too much":
            content = content + b"more"
        try:
            if how == "silent":
                self.wfile.write(content[:1000])
                self.wfile.flush()
                time.sleep(1.5)
            else:
                self.wfile.write(content)
        except OSError:
            pass
        self.close_connection = True


@pytest.fixture
def serve() -> Iterator:
    servers = []

    def start(*behavior: str) -> Server:
        servers.append(Server(*behavior))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def get(folder: Path, *servers: Server, tell=lambda *_: None) -> Path:
    return fetch(FILE, [server.url for server in servers], folder, tell, timeout=0.4, pause=0.0)


def test_a_file_is_fetched_and_progress_is_told(serve, tmp_path):
    told = []
    path = get(tmp_path / "cache", serve("well"), tell=lambda *words: told.append(words))
    assert path.read_bytes() == CONTENT
    assert told[-1] == ("set.bin", len(CONTENT), len(CONTENT))
    assert [p.name for p in path.parent.iterdir()] == ["set.bin"]


def test_what_broke_off_is_gone_on_with(serve, tmp_path):
    server = serve("breaks off", "breaks off", "well")
    assert get(tmp_path, server).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=30000-", "bytes=60000-"]


def test_a_server_that_knows_no_ranges_sends_it_again(serve, tmp_path):
    server = serve("breaks off", "no ranges")
    assert get(tmp_path, server).read_bytes() == CONTENT


def test_a_wrong_byte_is_noticed_and_the_whole_is_fetched_again(serve, tmp_path):
    server = serve("wrong byte", "well")
    assert get(tmp_path, server).read_bytes() == CONTENT
    assert server.asked == [None, None]


def test_a_server_that_falls_silent_is_asked_again(serve, tmp_path):
    server = serve("silent", "well")
    assert get(tmp_path, server).read_bytes() == CONTENT


def test_the_next_mirror_is_asked(serve, tmp_path):
    first, second = serve("missing"), serve("well")
    assert get(tmp_path, first, second).read_bytes() == CONTENT
    assert len(first.asked) == ATTEMPTS


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("missing", "404 Not Found"),
        ("breaks off", "connection closed after 90,000 of 102,400 bytes"),
        ("wrong byte", "set.bin: SHA-256 "),
        ("silent", "no data for 0.4 seconds"),
    ],
)
def test_when_nobody_delivers_each_is_named_and_nothing_is_left(how, said, serve, tmp_path):
    servers = serve(how), serve("missing")
    with pytest.raises(RunError, match=r"(?s)could not be downloaded.*data_dir") as caught:
        get(tmp_path, *servers)
    assert said in str(caught.value)
    assert all(server.url in str(caught.value) for server in servers)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("settings", "pauses"), [({}, [1.0, 2.0, 4.0]), ({"pause": 0.25}, [0.25, 0.5, 1.0])])
def test_pauses_between_attempts_double_and_begin_anew_at_each_mirror(settings, pauses, serve, tmp_path, monkeypatch):
    waited = []
    monkeypatch.setattr(download, "time", SimpleNamespace(sleep=waited.append))
    monkeypatch.setattr(download, "ATTEMPTS", 4)
    mirrors = [serve("missing").url, serve("missing").url]
    with pytest.raises(RunError):
        fetch(FILE, mirrors, tmp_path, lambda *_: None, **settings)
    assert waited == pauses * 2
    waited.clear()
    assert fetch(FILE, [serve("missing", "well").url], tmp_path, lambda *_: None, **settings).read_bytes() == CONTENT
    assert waited == pauses[:1]  # none after a success


def test_nobody_listens(tmp_path):
    with pytest.raises(RunError, match="refused"):
        fetch(FILE, ["http://127.0.0.1:9"], tmp_path, lambda *_: None, pause=0.0)


def test_a_folder_that_cannot_be_written_is_named(serve, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write .*102,400 bytes"):
        get(tmp_path / "file", serve("well"))


def archive(folder: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    path = folder / "set.tar.gz"
    with tarfile.open(path, "w:gz") as out:
        for info, content in members:
            info.size = len(content)
            out.addfile(info, io.BytesIO(content))
    return path


def member(name: str, content: bytes = b"1234", **facts: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    for key, value in facts.items():
        setattr(info, key, value)
    return info, content


WANTED = {"set/a.bin": 4}


def test_what_is_wanted_is_unpacked_and_nothing_else(tmp_path):
    path = archive(tmp_path, member("set/a.bin", b"abcd"), member("set/readme.html", b"hi"))
    into = tmp_path / "into"
    into.mkdir()
    unpack(path, WANTED, into)
    assert {p.name: p.read_bytes() for p in into.iterdir()} == {"a.bin": b"abcd"}


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (member("../a.bin"), "has a path outside of the archive"),
        (member("/etc/passwd"), "has a path outside of the archive"),
        (member("set/../../a.bin"), "has a path outside of the archive"),
        (member("set/a.bin", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "is not a file or folder"),
        (member("set/a.bin", b"", type=tarfile.LNKTYPE, linkname="set/b"), "is not a file or folder"),
        (member("set/a.bin", b"", type=tarfile.CHRTYPE), "is not a file or folder"),
        (member("set/a.bin", b"12345"), "is larger than 4 bytes"),
        (member("set/a.bin", b"123"), "has 3 bytes, expected 4"),
        (member("set/zeros", bytes(10**6)), "is larger than 4 bytes"),
    ],
)
def test_an_archive_that_no_honest_hand_made_is_refused(bad, said, tmp_path):
    into = tmp_path / "below" / "into"
    into.mkdir(parents=True)
    with pytest.raises(UsageError, match=said):
        unpack(archive(tmp_path, bad), WANTED, into)
    assert not list(into.iterdir())
    assert {p.name for p in tmp_path.iterdir()} == {"below", "set.tar.gz"}


def test_an_archive_of_too_many_is_refused(tmp_path):
    with pytest.raises(UsageError, match="exceeds the limit of 1000 members"):
        unpack(archive(tmp_path, *(member(f"set/{n}", b"") for n in range(MEMBERS + 1))), WANTED, tmp_path)


def test_an_archive_that_lacks_a_file_or_is_cut_is_named(tmp_path):
    path = archive(tmp_path, member("set/b.bin"))
    with pytest.raises(UsageError, match=r"missing member set/a\.bin"):
        unpack(path, WANTED, tmp_path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(RunError, match="cannot be unpacked"):
        unpack(path, WANTED, tmp_path)
