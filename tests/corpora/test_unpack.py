"""Harmful and damaged archives: refused, with nothing left behind and nothing outside the folder."""

import io
import stat
import struct
import warnings
import zipfile
import zlib
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from speech_emotion.corpora import download as module
from speech_emotion.corpora.download import UnpackLimits, unpack
from speech_emotion.errors import CorpusError


def zip_bytes(members: dict[str, bytes], *, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as zipped:
        for name, body in members.items():
            zipped.writestr(zipfile.ZipInfo(name), body, compression)
    return file.getvalue()


def place(tmp_path: Path, data: bytes) -> tuple[Path, Path]:
    """The archive in a folder of its own, so that what leads out of it can be seen."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "a.zip").write_bytes(data)
    return home / "a.zip", home / "corpus"


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_good_archive(tmp_path: Path) -> None:
    archive, folder = place(tmp_path, zip_bytes({"Actor_01/": b"", "Actor_01/a.wav": b"one", "b.wav": b""}))
    unpack(archive, folder)
    assert everything(folder) == ["Actor_01", "Actor_01/a.wav", "b.wav"]
    assert (folder / "Actor_01/a.wav").read_bytes() == b"one"
    assert everything(tmp_path)[:2] == ["home", "home/a.zip"]


@pytest.mark.parametrize(
    "name",
    [
        "../out.wav",
        "a/../../out.wav",
        "/out.wav",
        "//out.wav",
        "..\\out.wav",
        "C:\\out.wav",
        "C:out.wav",
        "a\0/../b.wav",
    ],
)
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    stand_in = "x" * len(name)  # zipfile would mend some of these names while writing
    data = zip_bytes({"good.wav": b"good", stand_in: b"evil"}).replace(stand_in.encode(), name.encode())
    archive, folder = place(tmp_path, data)
    with pytest.raises(CorpusError, match="leads out of the folder"):
        unpack(archive, folder)
    assert everything(tmp_path) == ["home", "home/a.zip"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        member = zipfile.ZipInfo("Actor_01")
        member.create_system, member.external_attr = 3, (kind | 0o777) << 16
        zipped.writestr(member, "/etc")
        zipped.writestr("Actor_01/passwd", "evil")
    archive, folder = place(tmp_path, file.getvalue())
    with pytest.raises(CorpusError, match="a link or a device"):
        unpack(archive, folder)
    assert everything(tmp_path) == ["home", "home/a.zip"]


def test_bombs_are_refused_by_what_they_claim(tmp_path: Path) -> None:
    archive, folder = place(tmp_path, zip_bytes({"zeros.wav": bytes(10_000_000)}))
    with pytest.raises(CorpusError, match=r"grow \d+ times"):
        unpack(archive, folder)
    with pytest.raises(CorpusError, match="claims 1 files with 10000000 bytes"):
        unpack(archive, folder, limits=UnpackLimits(max_bytes=9_999_999))
    with pytest.raises(CorpusError, match="claims 1 files"):
        unpack(archive, folder, limits=UnpackLimits(max_files=0))
    assert everything(tmp_path) == ["home", "home/a.zip"]
    unpack(archive, folder, limits=UnpackLimits(max_ratio=2000))
    assert (folder / "zeros.wav").stat().st_size == 10_000_000


@pytest.mark.parametrize("mends_checksum", [False, True])
def test_a_bomb_that_hides_its_size_writes_no_more_than_it_claims(
    tmp_path: Path, mends_checksum: bool
) -> None:
    """Claims ten bytes in every header and holds a million; perhaps with the checksum of ten."""
    whole, ten = bytes(1_000_000), bytes(10)
    data = zip_bytes({"zeros.wav": whole}).replace(struct.pack("<I", len(whole)), struct.pack("<I", len(ten)))
    if mends_checksum:
        data = data.replace(struct.pack("<I", zlib.crc32(whole)), struct.pack("<I", zlib.crc32(ten)))
    archive, folder = place(tmp_path, data)
    if mends_checksum:
        unpack(archive, folder)
        assert (folder / "zeros.wav").read_bytes() == ten
    else:
        with pytest.raises(CorpusError, match="not unpacked"):
            unpack(archive, folder)
        assert everything(tmp_path) == ["home", "home/a.zip"]


def test_less_than_claimed_is_refused(tmp_path: Path) -> None:
    data = zip_bytes({"a.wav": b"x" * 1000}, compression=zipfile.ZIP_STORED)
    archive, folder = place(
        tmp_path, data[:-22].replace(struct.pack("<I", 1000), struct.pack("<I", 1001)) + data[-22:]
    )
    with pytest.raises(CorpusError, match="not unpacked"):
        unpack(archive, folder)
    assert everything(tmp_path) == ["home", "home/a.zip"]


@pytest.mark.parametrize(("first", "second"), [("a.wav", "a.wav"), ("a.wav", "A.WAV")])
def test_one_name_twice_is_refused(tmp_path: Path, first: str, second: str) -> None:
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w") as zipped:
        warnings.simplefilter("ignore")
        zipped.writestr(first, "one")
        zipped.writestr(second, "two")
    archive, folder = place(tmp_path, file.getvalue())
    with pytest.raises(CorpusError, match="one name twice"):
        unpack(archive, folder)


def test_a_file_that_is_also_a_folder_is_refused(tmp_path: Path) -> None:
    archive, folder = place(tmp_path, zip_bytes({"a": b"file", "a/b.wav": b"below it"}))
    with pytest.raises(CorpusError, match="not unpacked"):
        unpack(archive, folder)
    assert everything(tmp_path) == ["home", "home/a.zip"]


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    data = bytearray(zip_bytes({"a.wav": b"secret"}))
    for header, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.find(header) + offset] |= 1
    archive, folder = place(tmp_path, bytes(data))
    with pytest.raises(CorpusError, match="encrypted"):
        unpack(archive, folder)


@pytest.mark.parametrize("data", [b"", b"PK\5\6", b"<html>", b"PK\3\4" + bytes(500)])
def test_what_is_no_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    archive, folder = place(tmp_path, data)
    with pytest.raises(CorpusError, match="download it again"):
        unpack(archive, folder)
    assert everything(tmp_path) == ["home", "home/a.zip"]


def test_no_flipped_bit_gives_a_file_with_other_bytes(tmp_path: Path) -> None:
    members = {"Actor_01/a.wav": b"voice" * 40, "Actor_02/b.wav": b"other" * 40}
    good = zip_bytes(members)
    archive, folder = place(tmp_path, good)
    rng = np.random.default_rng(0)
    n_refused = 0
    for position in rng.permutation(len(good) * 8)[:200]:
        data = bytearray(good)
        data[position // 8] ^= 1 << (position % 8)
        archive.write_bytes(data)
        try:
            unpack(archive, folder)
        except CorpusError:
            n_refused += 1
            assert not folder.exists()
        else:
            bodies = {path.read_bytes() for path in folder.rglob("*") if path.is_file()}
            assert bodies <= set(members.values())
            module.shutil.rmtree(folder)
        assert everything(tmp_path) == ["home", "home/a.zip"]
    assert n_refused > 100


def test_what_a_killed_run_left_is_cleared_away(tmp_path: Path) -> None:
    archive, folder = place(tmp_path, zip_bytes({"a.wav": b"new"}))
    working = folder.with_name(".corpus.partial")
    working.mkdir()
    (working / "half.wav").write_text("old")
    folder.mkdir()  # empty: free to be made
    unpack(archive, folder)
    assert everything(tmp_path) == ["home", "home/a.zip", "home/corpus", "home/corpus/a.wav"]


def test_a_small_disk_is_found_before_unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive, folder = place(tmp_path, zip_bytes({"a.wav": np.random.default_rng(1).bytes(5000)}))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage(10**9, 10**9, 4999))
    with pytest.raises(CorpusError, match="Free some space"):
        unpack(archive, folder)
    assert everything(tmp_path) == ["home", "home/a.zip"]
