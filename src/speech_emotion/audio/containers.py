"""What a file holds. In: a seekable binary file. Out: its container, by content, and whether it is whole.

A container names the one reader that decodes it: soundfile, or a demuxer of PyAV. Nothing is tried blindly.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from speech_emotion.errors import AudioDecodeError

HEAD_BYTES = 512
TAIL_BYTES = 65_536  # an Ogg page has at most 65 307 bytes, an AAC frame 8 191
UNKNOWN_SIZE = 0x7FFF_0000  # writers to a pipe leave 0x7FFFxxxx or 0xFFFFFFFF where the size should be
MAX_CHUNKS = 20_000  # 0.1 s; a file of empty chunks is not worth more


class SeekableFile(Protocol):
    """The part of a binary file that is needed here."""

    def read(self, n_bytes: int, /) -> bytes:
        """Up to `n_bytes` from the current position; empty at the end."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move to a position, and return it."""

    def tell(self) -> int:
        """The current position."""


@dataclass(frozen=True, slots=True)
class Container:
    """A kind of file: its name in messages, and PyAV's demuxer for it; None if soundfile reads it."""

    name: str
    demuxer: str | None = None


WAV, RIFX, RF64 = Container("WAV"), Container("big-endian WAV"), Container("RF64")
AIFF, CAF, AU = Container("AIFF"), Container("CAF"), Container("AU")
FLAC, OGG, MP3 = Container("FLAC"), Container("Ogg"), Container("MP3")
AVI, MP4, AAC = Container("AVI", "avi"), Container("MP4, M4A or MOV", "mov"), Container("AAC", "aac")
MATROSKA, WMA = Container("Matroska or WebM", "matroska"), Container("WMA", "asf")

_MAGIC_NUMBERS = {
    b"fLaC": FLAC,
    b"OggS": OGG,
    b".snd": AU,
    b"caff": CAF,
    b"\x1a\x45\xdf\xa3": MATROSKA,
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": WMA,
}
_FORMS = {  # the first four bytes, and the four after the size
    (b"RIFF", b"WAVE"): WAV,
    (b"RIFX", b"WAVE"): RIFX,
    (b"RF64", b"WAVE"): RF64,
    (b"FORM", b"AIFF"): AIFF,
    (b"FORM", b"AIFC"): AIFF,
    (b"RIFF", b"AVI "): AVI,
}
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")

_SOUND_CHUNKS = (b"data", b"SSND")

_STRANGERS = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive (unpack it first)",
    b"\x1f\x8b": "a gzip archive (unpack it first)",
    b"\x93NUMPY": "a NumPy .npy file (load it, and pass the array with its sample_rate)",
    b"MThd": "a MIDI file, which holds notes and no sound",
}


def sniff(file: SeekableFile) -> Container:
    """Return the container of `file`.

    Raises:
        AudioDecodeError: It is no sound; the message says what it looks like instead.
    """
    head = _read_at(file, 0, HEAD_BYTES)
    if not head:
        raise AudioDecodeError("the file is empty (0 bytes); record or download it again")
    found = _recognise(_read_at(file, _end_of_id3_tags(file), HEAD_BYTES))
    if found is None:
        raise AudioDecodeError(
            f"this is not a sound that can be read: it looks like {_describe(head)}. "
            "Pass a WAV, FLAC, Ogg, Opus, MP3, AIFF, AU or CAF file; with the media extra: M4A, AAC, MP4, WebM, "
            "AVI or WMA"
        )
    return found


def promises_length(file: SeekableFile, container: Container) -> bool:
    """Whether the header knows the number of frames. For an MP3 without a Xing or Info frame it can only be guessed."""
    first_frame = _read_at(file, _end_of_id3_tags(file), 48) if container is MP3 else b""
    return container is not MP3 or b"Xing" in first_frame or b"Info" in first_frame


def is_cut_short(file: SeekableFile, container: Container) -> bool:
    """Whether `file` ends before the end that its own structure announces (MP3 and FLAC announce none)."""
    size = file.seek(0, 2)
    if container in (WAV, AVI):
        return any(end > size for end in _chunk_ends(file, 12, "<I"))
    if container in (RIFX, AIFF):
        return any(end > size for end in _chunk_ends(file, 12, ">I"))
    if container is CAF:
        return any(end > size for end in _chunk_ends(file, 8, ">Q"))
    if container is MP4:
        return any(end > size for end in _box_ends(file))
    if container is RF64:
        return 8 + _number_at(file, 20, "<Q") > size  # the size in its ds64 chunk
    if container is AU:
        start, n_bytes = _number_at(file, 4, ">I"), _number_at(file, 8, ">I")
        return n_bytes < UNKNOWN_SIZE and start + n_bytes > size
    if container is WMA:
        return _wma_size(file) > size
    if container is MATROSKA:
        return _end_of_matroska_segment(file) > size
    tail = _read_at(file, max(0, size - TAIL_BYTES), TAIL_BYTES)
    if container is OGG:
        return not _ends_with_last_ogg_page(tail)
    return container is AAC and not _ends_with_aac_frame(tail)


def _read_at(file: SeekableFile, offset: int, n_bytes: int) -> bytes:
    file.seek(offset)
    return file.read(n_bytes)


def _number_at(file: SeekableFile, offset: int, form: str) -> int:
    """The number at `offset`, 0 where the file is too short to hold it."""
    n_bytes = struct.calcsize(form)
    return int(struct.unpack(form, _read_at(file, offset, n_bytes).ljust(n_bytes, b"\0"))[0])


def _end_of_id3_tags(file: SeekableFile) -> int:
    """Tags may stand before an MP3, AAC or FLAC stream; their size is four bytes of seven bits."""
    start = 0
    while (head := _read_at(file, start, 10))[:3] == b"ID3" and len(head) == 10:
        a, b, c, d = (byte & 0x7F for byte in head[6:])
        has_footer = head[5] & 0x10
        start += 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if has_footer else 0)
    return start


def _recognise(head: bytes) -> Container | None:
    for magic, container in _MAGIC_NUMBERS.items():
        if head.startswith(magic):
            return container
    if head[4:8] in _MP4_BOXES:
        return MP4
    return _FORMS.get((head[:4], head[8:12])) or _recognise_mpeg_frame(head)


def _recognise_mpeg_frame(head: bytes) -> Container | None:
    """MP3 and AAC have no magic number: a frame begins with eleven ones and fields with illegal values."""
    if len(head) < 4 or head[0] != 0xFF or head[1] < 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bitrate, rate = head[2] >> 4, head[2] >> 2 & 3
    if layer == 0 and head[1] >= 0xF0:
        return AAC
    return MP3 if layer in (1, 2) and version != 1 and bitrate != 15 and rate != 3 else None


def _describe(head: bytes) -> str:
    for magic, name in _STRANGERS.items():
        if head.startswith(magic):
            return name
    if not any(head):
        return "nothing but zeros, as if it had never been written"
    text = _as_text(head)
    return f"text that begins {text[:40].rstrip()!r}" if text else "binary data of an unknown kind"


def _as_text(head: bytes) -> str | None:
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    text = head.decode(encoding, errors="replace").rstrip("\ufffd")  # the last letter may be cut
    is_text = all(letter.isprintable() or letter.isspace() for letter in text) and "\ufffd" not in text
    return text if is_text else None


def _chunk_ends(file: SeekableFile, start: int, form: str) -> Iterator[int]:
    """Where each chunk ends by its own words: 4 bytes of name, a size, the data, a pad byte if odd."""
    n_header = 4 + struct.calcsize(form)
    for _ in range(MAX_CHUNKS):
        header = _read_at(file, start, n_header)
        n_bytes = _number_at(file, start + 4, form)
        if n_bytes >= UNKNOWN_SIZE or len(header) < n_header:
            return
        yield start + n_header + n_bytes
        if header.startswith(_SOUND_CHUNKS):
            return
        start += n_header + n_bytes + n_bytes % 2


def _box_ends(file: SeekableFile) -> Iterator[int]:
    """Where each MP4 box ends by its own words: size and name, then a longer size if that was 1."""
    start = 0
    for _ in range(MAX_CHUNKS):
        n_bytes = _number_at(file, start, ">I")
        if n_bytes == 1:
            n_bytes = _number_at(file, start + 8, ">Q")
        if n_bytes < 8:  # 0 means to the end of the file
            return
        start += n_bytes
        yield start


def _wma_size(file: SeekableFile) -> int:
    """The size of the whole file, in its File Properties object."""
    guid = b"\xa1\xdc\xab\x8c\x47\xa9\xcf\x11\x8e\xe4\x00\xc0\x0c\x20\x53\x65"
    start = _read_at(file, 0, TAIL_BYTES).find(guid)
    return _number_at(file, start + 40, "<Q") if start >= 0 else 0


def _end_of_matroska_segment(file: SeekableFile) -> int:
    """After the EBML header stands one segment; a size of ones only means that the writer did not know."""
    n_bytes, start, _ = _matroska_size(file, 4)
    n_bytes, start, is_known = _matroska_size(file, start + n_bytes + 4)
    return start + n_bytes if is_known else 0


def _matroska_size(file: SeekableFile, offset: int) -> tuple[int, int, bool]:
    """A number whose leading zeros tell its length → the number, the offset after it, whether it is known."""
    data = _read_at(file, offset, 8).ljust(8, b"\0")
    n_bytes = min(8, 9 - data[0].bit_length())
    number = int.from_bytes(data[:n_bytes], "big") & ((1 << 7 * n_bytes) - 1)
    return number, offset + n_bytes, number != (1 << 7 * n_bytes) - 1


def _ends_with_last_ogg_page(tail: bytes) -> bool:
    page = tail[max(0, tail.rfind(b"OggS")) :]
    is_last = len(page) > 26 and page[5] & 4
    n_segments = page[26] if is_last else 0
    return bool(is_last) and len(page) >= 27 + n_segments + sum(page[27 : 27 + n_segments])


def _ends_with_aac_frame(tail: bytes) -> bool:
    """The 13 bits of a frame's size lie across its fourth to sixth byte."""
    starts = (at for at in range(len(tail) - 6) if tail[at] == 0xFF and tail[at + 1] & 0xF6 == 0xF0)
    sizes = ((at, (tail[at + 3] & 3) << 11 | tail[at + 4] << 3 | tail[at + 5] >> 5) for at in starts)
    return any(at + n_bytes == len(tail) for at, n_bytes in sizes)
