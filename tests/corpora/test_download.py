"""Downloads over a bad connection: complete and verified, or not there. Every server here is on this machine."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from archive_server import Answer, serving

from speech_emotion.corpora import download as module
from speech_emotion.corpora.download import Retries, download, fetch
from speech_emotion.corpora.manifest import Archive
from speech_emotion.corpora.readers import nemo
from speech_emotion.errors import CorpusError

BYTES = np.random.default_rng(3).bytes(100_000)
OTHER = np.random.default_rng(4).bytes(100_000)
HURRY = Retries(attempts=3, first_wait_seconds=0.0, timeout_seconds=5.0)
ONCE = replace(HURRY, attempts=1)


def archive(url: str, body: bytes = BYTES) -> Archive:
    return Archive(url, "archive.zip", len(body), hashlib.md5(body, usedforsecurity=False).hexdigest())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_archive_is_downloaded_and_nothing_else_stays(tmp_path: Path) -> None:
    path, seen = tmp_path / "archive.zip", []
    with serving(Answer(BYTES)) as server:
        download(archive(server.url), path, progress=lambda *done: seen.append(done), retries=HURRY)
        download(archive(server.url), path, retries=HURRY)  # there already
    assert path.read_bytes() == BYTES
    assert names(tmp_path) == ["archive.zip"]
    assert len(server.requests) == 1
    assert seen == sorted(seen)
    assert seen[-1] == (len(BYTES), len(BYTES))


def test_a_connection_cut_again_and_again_carries_every_byte_once(tmp_path: Path) -> None:
    with serving(Answer(BYTES, sends=30_000)) as server:
        download(archive(server.url), tmp_path / "archive.zip", retries=HURRY)
    assert (tmp_path / "archive.zip").read_bytes() == BYTES
    assert server.ranges() == [None, "bytes=30000-", "bytes=60000-", "bytes=90000-"]
    assert [headers.get("if-range") for headers in server.requests] == [None, '"v1"', '"v1"', '"v1"']
    assert server.n_sent == len(BYTES)


def test_a_later_run_resumes(tmp_path: Path) -> None:
    path = tmp_path / "archive.zip"
    with serving(Answer(BYTES, sends=500), Answer(BYTES)) as server:
        with pytest.raises(CorpusError, match=r"resume at byte 500\. Or download it by hand"):
            download(archive(server.url), path, retries=ONCE)
        assert not path.exists()
        download(archive(server.url), path, retries=ONCE)
    assert path.read_bytes() == BYTES
    assert server.ranges() == [None, "bytes=500-"]


def test_attempts_end_if_nothing_comes(tmp_path: Path) -> None:
    with (
        serving(Answer(BYTES, sends=0)) as server,
        pytest.raises(CorpusError, match="could not be downloaded"),
    ):
        download(archive(server.url), tmp_path / "archive.zip", retries=HURRY)
    assert len(server.requests) == HURRY.attempts


def test_attempts_end_if_it_always_starts_again(tmp_path: Path) -> None:
    """Without an ETag and cut now here, now there, no attempt comes further than the second did."""
    here, there = (Answer(BYTES, etag=None, sends=n) for n in (40_000, 60_000))
    with (
        serving(here, there, here, there, here, there) as server,
        pytest.raises(CorpusError, match="resume at byte 0"),
    ):
        download(archive(server.url), tmp_path / "archive.zip", retries=HURRY)
    assert len(server.requests) == 2 + HURRY.attempts


def test_a_part_that_is_too_long_is_no_part(tmp_path: Path) -> None:
    (tmp_path / "archive.zip.part").write_bytes(BYTES + b"more")
    (tmp_path / "archive.zip.part.etag").write_text('"v1"')
    with serving(Answer(BYTES)) as server:
        download(archive(server.url), tmp_path / "archive.zip", retries=HURRY)
    assert (tmp_path / "archive.zip").read_bytes() == BYTES
    assert server.ranges() == [None]


def test_waits_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    retries = Retries(attempts=5, first_wait_seconds=1, longest_wait_seconds=3)
    with serving(Answer(status=503)) as server, pytest.raises(CorpusError, match="503"):
        download(archive(server.url), tmp_path / "archive.zip", retries=retries)
    assert waits == [1, 2, 3, 3]
    assert len(server.requests) == 5


@pytest.mark.parametrize(
    "second",
    [
        Answer(BYTES, etag='"v2"'),  # says so: the whole new version
        Answer(BYTES, etag='"v2"', ignores_if_range=True),  # the rest of another version
        Answer(BYTES, etag=None, ignores_if_range=True),  # the rest of who knows what
        Answer(BYTES, ignores_range=True),
        Answer(BYTES, starts_late=7),
        Answer(status=416),
        Answer(BYTES, status=204),
    ],
)
def test_bytes_of_two_versions_are_never_joined(tmp_path: Path, second: Answer) -> None:
    path = tmp_path / "archive.zip"
    with serving(Answer(OTHER, sends=40_000), second, Answer(BYTES, etag='"v3"')) as server:
        download(archive(server.url), path, retries=HURRY)
    assert path.read_bytes() == BYTES
    assert server.ranges()[:2] == [None, "bytes=40000-"]
    assert server.ranges()[2:] in ([], [None])
    assert names(tmp_path) == ["archive.zip"]


@pytest.mark.parametrize("etag", [None, 'W/"v1"', "v1", '"two words"', ""])
def test_without_a_strong_etag_it_starts_again(tmp_path: Path, etag: str | None) -> None:
    with serving(Answer(BYTES, etag=etag, sends=40_000), Answer(BYTES, etag=etag)) as server:
        download(archive(server.url), tmp_path / "archive.zip", retries=HURRY)
    assert (tmp_path / "archive.zip").read_bytes() == BYTES
    assert server.ranges() == [None, None]


def test_a_part_without_its_etag_is_not_built_upon(tmp_path: Path) -> None:
    (tmp_path / "archive.zip.part").write_bytes(OTHER[:50_000])
    with serving(Answer(BYTES)) as server:
        download(archive(server.url), tmp_path / "archive.zip", retries=HURRY)
    assert (tmp_path / "archive.zip").read_bytes() == BYTES
    assert server.ranges() == [None]


@pytest.mark.parametrize("body", [BYTES + b"more", BYTES[:-1], b"<html>Please log in</html>"])
def test_another_size_is_refused_before_it_is_fetched(tmp_path: Path, body: bytes) -> None:
    with serving(Answer(body)) as server, pytest.raises(CorpusError, match=f"offers {len(body)} bytes"):
        download(archive(server.url), tmp_path / "archive.zip", retries=HURRY)
    assert len(server.requests) == 1
    assert names(tmp_path) == []


def test_another_size_of_the_rest_is_refused_too(tmp_path: Path) -> None:
    with (
        serving(Answer(BYTES, sends=40_000), Answer(BYTES + b"more")) as server,
        pytest.raises(CorpusError, match="offers 100004 bytes"),
    ):
        download(archive(server.url), tmp_path / "archive.zip", retries=HURRY)
    assert not (tmp_path / "archive.zip").exists()


def test_a_length_that_is_claimed_but_not_sent_is_a_cut(tmp_path: Path) -> None:
    lie = Answer(BYTES[:60_000], claims=len(BYTES))
    with serving(lie, Answer(BYTES)) as server:
        download(archive(server.url), tmp_path / "archive.zip", retries=HURRY)
    assert (tmp_path / "archive.zip").read_bytes() == BYTES
    assert server.ranges() == [None, "bytes=60000-"]


def test_a_server_that_never_stops_is_stopped(tmp_path: Path) -> None:
    endless = Answer(BYTES * 3, claims=-1)
    with serving(endless) as server, pytest.raises(CorpusError, match="more than the 100000 published"):
        download(archive(server.url), tmp_path / "archive.zip", retries=HURRY)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= len('"v1"')
    assert len(server.requests) == HURRY.attempts


def test_without_a_length_the_end_of_the_line_decides(tmp_path: Path) -> None:
    with serving(Answer(BYTES, claims=-1, sends=70_000), Answer(BYTES, claims=-1)) as server:
        download(archive(server.url), tmp_path / "archive.zip", retries=HURRY)
    assert (tmp_path / "archive.zip").read_bytes() == BYTES
    assert server.ranges() == [None, "bytes=70000-"]


def test_wrong_bytes_are_moved_away(tmp_path: Path) -> None:
    path = tmp_path / "archive.zip"
    with serving(Answer(OTHER), Answer(BYTES)) as server:
        with pytest.raises(CorpusError, match=r"not what was published: 100000 bytes.*archive\.zip\.wrong"):
            download(archive(server.url), path, retries=HURRY)
        assert names(tmp_path) == ["archive.zip.wrong"]
        assert (tmp_path / "archive.zip.wrong").read_bytes() == OTHER
        download(archive(server.url), path, retries=HURRY)
    assert path.read_bytes() == BYTES
    assert server.ranges() == [None, None]


def test_a_wrong_archive_from_elsewhere_is_moved_away(tmp_path: Path) -> None:
    path = tmp_path / "archive.zip"
    path.write_bytes(BYTES[:-1])
    with serving(Answer(BYTES)) as server, pytest.raises(CorpusError, match="99999 bytes"):
        download(archive(server.url), path, retries=HURRY)
    assert names(tmp_path) == ["archive.zip.wrong"]
    assert server.requests == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
def test_a_final_refusal_ends_it_at_once(tmp_path: Path, status: int) -> None:
    with serving(Answer(status=status)) as server, pytest.raises(CorpusError, match=rf"{status}.*by hand"):
        download(archive(server.url), tmp_path / "archive.zip", retries=HURRY)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_passing_refusal_is_retried(tmp_path: Path, status: int) -> None:
    with serving(Answer(status=status), Answer(status=status), Answer(BYTES)) as server:
        download(archive(server.url), tmp_path / "archive.zip", retries=HURRY)
    assert (tmp_path / "archive.zip").read_bytes() == BYTES
    assert len(server.requests) == 3


def test_a_server_that_falls_silent_is_left(tmp_path: Path) -> None:
    with serving(Answer(BYTES, waits_seconds=30), Answer(BYTES)) as server:
        download(archive(server.url), tmp_path / "archive.zip", retries=replace(HURRY, timeout_seconds=1.0))
    assert (tmp_path / "archive.zip").read_bytes() == BYTES
    assert len(server.requests) == 2


def test_no_server_at_all(tmp_path: Path) -> None:
    with serving(Answer()) as server:
        url = server.url
    with pytest.raises(CorpusError, match=r"could not be downloaded.*refused"):
        download(archive(url), tmp_path / "archive.zip", retries=HURRY)


def test_a_small_disk_is_found_before_downloading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage(10**9, 10**9, 99_999))
    with serving(Answer(BYTES)) as server, pytest.raises(CorpusError, match="Free some space"):
        download(archive(server.url), tmp_path / "archive.zip", retries=HURRY)
    assert server.requests == []


def test_a_killed_download_resumes(tmp_path: Path) -> None:
    """kill -9 while the second half is on its way."""
    script = (
        "import sys; from pathlib import Path\n"
        "from speech_emotion.corpora.download import Retries, download\n"
        "from speech_emotion.corpora.manifest import Archive\n"
        "url, path, size, md5 = sys.argv[1:]\n"
        "retries = Retries(first_wait_seconds=0, timeout_seconds=60)\n"
        "download(Archive(url, 'archive.zip', int(size), md5), Path(path), retries=retries)\n"
    )
    path, part = tmp_path / "archive.zip", tmp_path / "archive.zip.part"
    with serving(Answer(BYTES, sends=50_000), Answer(BYTES, waits_seconds=60)) as server:
        expected = archive(server.url)
        arguments = [server.url, str(path), str(expected.size_bytes), expected.md5]
        process = subprocess.Popen([sys.executable, "-c", script, *arguments])
        deadline = time.monotonic() + 60
        while len(server.requests) < 2:
            assert time.monotonic() < deadline, "no second request after 60 s"
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert part.read_bytes() == BYTES[:50_000]
        assert not path.exists()
        server.answers.append(Answer(BYTES))
        download(expected, path, retries=HURRY)
    assert path.read_bytes() == BYTES
    assert server.ranges() == [None, "bytes=50000-", "bytes=50000-"]


def test_a_whole_corpus_from_archive_to_folder(tmp_path: Path, small_corpus: Any) -> None:
    zipped, corpus = small_corpus
    folder = tmp_path / "data" / "ravdess"
    with serving(Answer(zipped, sends=len(zipped) // 2)) as server:
        corpus = corpus(server.url)
        assert fetch(corpus, folder, retries=HURRY) == folder
        assert fetch(corpus, folder, retries=HURRY) == folder  # nothing to do
    assert [clip.path for clip in corpus.scan(folder)] == [
        f"Actor_01/03-01-03-01-01-0{repetition}-01.wav" for repetition in (1, 2)
    ]
    assert len(server.requests) == 2
    assert [name for name in names(folder.parent) if not name.endswith(".lock")] == ["ravdess"]


def test_two_downloads_at_once_fetch_it_once(tmp_path: Path, small_corpus: Any) -> None:
    zipped, corpus = small_corpus
    results: list[Path] = []
    with serving(Answer(zipped, waits_seconds=0.2)) as server:
        corpus = corpus(server.url)
        threads = [
            threading.Thread(
                target=lambda: results.append(fetch(corpus, tmp_path / "ravdess", retries=HURRY))
            )
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == [tmp_path / "ravdess"] * 3
    assert len(server.requests) == 1
    assert len(corpus.scan(tmp_path / "ravdess")) == 2


def test_an_archive_fetched_by_hand_is_used_and_kept(tmp_path: Path, small_corpus: Any) -> None:
    zipped, corpus = small_corpus
    (tmp_path / "archive.zip").write_bytes(zipped)
    fetch(corpus("http://127.0.0.1:9/never"), tmp_path / "ravdess", retries=ONCE)
    assert {"archive.zip", "ravdess"} <= set(names(tmp_path))


def test_a_folder_in_use_is_left_alone(tmp_path: Path, small_corpus: Any) -> None:
    _, corpus = small_corpus
    folder = tmp_path / "ravdess"
    folder.mkdir()
    (folder / "thesis.txt").write_text("precious")
    (tmp_path / "file").touch()
    for taken in (folder, tmp_path / "file"):
        with pytest.raises(CorpusError, match=r"already there, with 0 of the 2 clips.*Name a new folder"):
            fetch(corpus("http://127.0.0.1:9/never"), taken, retries=ONCE)
    assert (folder / "thesis.txt").read_text() == "precious"


def test_a_corpus_without_a_checksum_is_not_downloaded(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"no archive that can be verified.*git clone"):
        fetch(nemo.CORPUS, tmp_path / "nemo")
    assert names(tmp_path) == []


def test_a_full_disk_is_named_and_the_part_kept(
    tmp_path: Path, small_corpus: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    zipped, corpus = small_corpus

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with serving(Answer(zipped)) as server:
        corpus = corpus(server.url)
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(CorpusError, match=r"No space left on device.*run it again"):
            fetch(corpus, tmp_path / "ravdess", retries=HURRY)
        monkeypatch.undo()
        assert not (tmp_path / "ravdess").exists()
        fetch(corpus, tmp_path / "ravdess", retries=HURRY)
    assert len(corpus.scan(tmp_path / "ravdess")) == 2
