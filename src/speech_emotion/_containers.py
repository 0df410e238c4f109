"""What the bytes are. In: a seekable binary file. Out: its container, by content and never by name, and if it is whole.

A container names the one reader that decodes it: soundfile, or a demuxer of PyAV. Nothing is tried blindly.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from speech_emotion.errors import AudioDecodeError

HEAD_BYTES = 512
TAIL_BYTES = 65_536  # one Ogg page is at most 65 307 bytes
UNKNOWN_SIZE = 0x7FFF_0000  # writers to a pipe leave 0x7FFFxxxx or 0xFFFFFFFF where the size should be


@dataclass(frozen=True, slots=True)
class Container:
    name: str
    demuxer: str | None = None  # of PyAV; None is read by soundfile


_SOUNDS = {
    b"fLaC": Container("FLAC"),
    b"OggS": Container("Ogg"),
    b".snd": Container("AU"),
    b"caff": Container("CAF"),
    b"\x1a\x45\xdf\xa3": Container("Matroska or WebM", "matroska"),
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": Container("WMA", "asf"),
}
_FORMS = {  # the first four bytes and bytes 8 to 12
    (b"RIFF", b"WAVE"): Container("WAV"),
    (b"RIFX", b"WAVE"): Container("WAV, big-endian"),
    (b"RF64", b"WAVE"): Container("RF64"),
    (b"FORM", b"AIFF"): Container("AIFF"),
    (b"FORM", b"AIFC"): Container("AIFF-C"),
    (b"RIFF", b"AVI "): Container("AVI", "avi"),
}
_MP4_BOXES = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"}
_MP3 = Container("MP3")
_MP4 = Container("MP4, M4A or MOV", "mov")
_AAC = Container("AAC", "aac")

_STRANGERS = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive (unpack it first)",
    b"\x1f\x8b": "a gzip archive (unpack it first)",
    b"\x93NUMPY": "a NumPy .npy file (load it and pass the array with its sample_rate)",
    b"MThd": "a MIDI file: notes, not sound",
    b"\x7fELF": "a program",
}


def sniff(file: BinaryIO) -> Container:
    """Say what `file` holds, or raise AudioDecodeError with what it looks like instead."""
    head = _read_at(file, 0, HEAD_BYTES)
    if not head:
        raise AudioDecodeError("the file is empty (0 bytes); record or download it again")
    start = _skip_id3_tags(file, head)
    found = _recognise(_read_at(file, start, HEAD_BYTES) if start else head)
    if found is None:
        raise AudioDecodeError(
            f"this is not a sound: it looks like {_looks_like(head)}. "
            "Pass a WAV, FLAC, Ogg, Opus, MP3, AIFF, AU or CAF file, or M4A, WebM, MP4 or WMA"
        )
    return found


def is_cut_short(file: BinaryIO, container: Container) -> bool:
    """Whether the file ends before its own structure says it should."""
    size = file.seek(0, 2)
    match container.name:
        case "WAV" | "AVI":
            return any(end > size for end in _chunk_ends(file, 12, "<I"))
        case "WAV, big-endian" | "AIFF" | "AIFF-C":
            return any(end > size for end in _chunk_ends(file, 12, ">I"))
        case "CAF":
            return any(end > size for end in _chunk_ends(file, 8, ">Q"))
        case "RF64":
            return _number(file, 20, "<Q") + 8 > size  # the 64-bit size in its ds64 chunk
        case "AU":
            data, n_bytes = _number(file, 4, ">I"), _number(file, 8, ">I")
            return n_bytes < UNKNOWN_SIZE and data + n_bytes > size
        case "Ogg":
            return not _ends_with_last_ogg_page(_read_at(file, max(0, size - TAIL_BYTES), TAIL_BYTES))
    return False


def _read_at(file: BinaryIO, offset: int, n_bytes: int) -> bytes:
    file.seek(offset)
    return file.read(n_bytes)


def _number(file: BinaryIO, offset: int, form: str) -> int:
    data = _read_at(file, offset, struct.calcsize(form))
    return int(struct.unpack(form, data)[0]) if len(data) == struct.calcsize(form) else 0


def _skip_id3_tags(file: BinaryIO, head: bytes) -> int:
    """Offset of the first byte after any ID3v2 tags: their size is four bytes of seven bits."""
    start = 0
    while head[:3] == b"ID3" and len(head) >= 10:
        a, b, c, d = head[6:10]
        start += 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if head[5] & 0x10 else 0)
        head = _read_at(file, start, 10)
    return start


def _recognise(head: bytes) -> Container | None:
    for magic, container in _SOUNDS.items():
        if head.startswith(magic):
            return container
    if head[4:8] in _MP4_BOXES:
        return _MP4
    return _FORMS.get((head[:4], head[8:12])) or _recognise_mpeg_frame(head)


def _recognise_mpeg_frame(head: bytes) -> Container | None:
    """MP3 and AAC have no magic number: a frame begins with eleven or twelve ones and a few legal fields."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    if head[1] & 0xF6 == 0xF0:
        return _AAC
    bitrate, rate = head[2] >> 4, head[2] >> 2 & 3
    return _MP3 if version != 1 and layer in (1, 2) and bitrate != 15 and rate != 3 else None


def _looks_like(head: bytes) -> str:
    for magic, name in _STRANGERS.items():
        if head.startswith(magic):
            return name
    if not any(head):
        return "nothing but zeros, a file that was never written"
    text = _as_text(head)
    return f"text beginning {text[:40]!r}" if text else "unknown binary data"


def _as_text(head: bytes) -> str | None:
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    try:
        text = head[: HEAD_BYTES - 4].decode(encoding)
    except UnicodeDecodeError:
        return None
    return text if all(c.isprintable() or c.isspace() for c in text) else None


def _chunk_ends(file: BinaryIO, start: int, form: str) -> Iterator[int]:
    """Where each chunk (4 bytes of name, a size, the data, a pad byte after odd sizes) says that it ends."""
    header = 4 + struct.calcsize(form)
    while len(_read_at(file, start, header)) == header:
        n_bytes = _number(file, start + 4, form)
        if n_bytes >= UNKNOWN_SIZE:
            return
        yield start + header + n_bytes
        start += header + n_bytes + n_bytes % 2


def _ends_with_last_ogg_page(tail: bytes) -> bool:
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < 27 or not page[5] & 4:  # 4 marks the end of a stream
        return False
    n_segments = page[26]
    return len(page) >= 27 + n_segments + sum(page[27 : 27 + n_segments])
