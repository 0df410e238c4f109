"""The inside of containers. In: a file and its container. Out: its chunks, and whether it is whole."""

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from speech_emotion.audio import containers
from speech_emotion.audio.containers import Container
from speech_emotion.audio.slices import FileSlice, SeekableFile, matches, number_at, read_at

TAIL_BYTES = 65_536  # an Ogg page has at most 65 307 bytes, an AAC frame 8 191
UNKNOWN_SIZE = 0x7FFF_0000  # writers to a pipe leave 0x7FFFxxxx or 0xFFFFFFFF where the size should be
MAX_CHUNKS = 20_000  # 0.1 s; a file of empty chunks is not worth more
LONGEST_PAGE_SECONDS = 5  # of Ogg: 255 packets of 20 ms
SOUND_CHUNKS = (b"data", b"SSND")

_OGG_FIRST_PAGE = re.compile(
    rb"OggS\x00[\x02\x03\x06\x07].{20}\x01.(?:\x01vorbis|OpusHead|Speex   |\x7fFLAC)", re.DOTALL
)
_OGG_PAGE = re.compile(rb"OggS..(.{8})(.{4})", re.DOTALL)

_JOINED = {  # how another file of the same kind begins
    containers.FLV: re.compile(rb"FLV\x01[\x01\x04\x05]\x00\x00\x00\x09"),
    containers.WMA: re.compile(rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
}

CHUNK_LAYOUTS = {  # where the first chunk begins, and the form of its size
    containers.WAV: (12, "<I"),
    containers.AVI: (12, "<I"),
    containers.RIFX: (12, ">I"),
    containers.AIFF: (12, ">I"),
    containers.CAF: (8, ">Q"),
}


class Chunk(NamedTuple):
    """A chunk by its own words: 4 bytes of name, a size, the data from `start` to `end`, a pad byte if odd."""

    name: bytes
    start: int
    end: int


def chunks(file: SeekableFile, container: Container, at: int | None = None) -> Iterator[Chunk]:
    """The chunks of a file whose container has them, from the first or from the one at `at`."""
    first, form = CHUNK_LAYOUTS[container]
    at = first if at is None else at
    n_header = 4 + struct.calcsize(form)
    for _ in range(MAX_CHUNKS):
        header = read_at(file, at, n_header)
        if len(header) < n_header:
            return
        n_bytes = number_at(file, at + 4, form)
        chunk = Chunk(header[:4], at + n_header, at + n_header + n_bytes)
        yield chunk
        at = chunk.end + n_bytes % 2


def is_cut_short(file: FileSlice, container: Container) -> bool:
    """Whether `file` ends before the end that its own structure announces (MP3 and FLAC announce none).

    An MP4 with a second index counts as cut, as do joined FLV and WMA: only the first recording is read.
    """
    size = file.n_bytes
    if container in CHUNK_LAYOUTS:
        return _ends_within_chunk(file, container)
    if container is containers.MP4:
        boxes = list(_boxes(file))
        return any(end > size for _, end in boxes) or sum(name == b"moov" for name, _ in boxes) > 1
    if container is containers.RF64:
        return 8 + number_at(file, 20, "<Q") > size  # the size in its ds64 chunk
    if container is containers.AU:
        start, n_bytes = number_at(file, 4, ">I"), number_at(file, 8, ">I")
        return n_bytes < UNKNOWN_SIZE and start + n_bytes > size
    if container in _JOINED and next(matches(file, _JOINED[container], 1, size), None) is not None:
        return True
    if container is containers.WMA:
        return _wma_size(file) > size
    if container is containers.FLV:
        return not _ends_with_flv_tag(file, size)
    if container is containers.MATROSKA:
        return _end_of_matroska_segment(file) > size
    tail = read_at(file, max(0, size - TAIL_BYTES), TAIL_BYTES)
    if container is containers.OGG:
        return not _ends_with_last_ogg_page(tail)
    return container is containers.AAC and not _ends_with_aac_frame(tail)


def _ends_within_chunk(file: FileSlice, container: Container) -> bool:
    for chunk in chunks(file, container):
        if chunk.end - chunk.start >= UNKNOWN_SIZE:
            return False
        if chunk.end > file.n_bytes:
            return True
        if chunk.name in SOUND_CHUNKS:
            return False
    return False


def _boxes(file: SeekableFile) -> Iterator[tuple[bytes, int]]:
    """The name of each MP4 box and where it ends by its own words: size and name, then a longer size if that was 1."""
    start = 0
    for _ in range(MAX_CHUNKS):
        n_bytes = number_at(file, start, ">I")
        if n_bytes == 1:
            n_bytes = number_at(file, start + 8, ">Q")
        if n_bytes < 8:  # 0 means to the end of the file
            return
        yield read_at(file, start + 4, 4), start + n_bytes
        start += n_bytes


def _wma_size(file: SeekableFile) -> int:
    """The size of the whole file, in its File Properties object."""
    guid = b"\xa1\xdc\xab\x8c\x47\xa9\xcf\x11\x8e\xe4\x00\xc0\x0c\x20\x53\x65"
    start = read_at(file, 0, TAIL_BYTES).find(guid)
    return number_at(file, start + 40, "<Q") if start >= 0 else 0


def _end_of_matroska_segment(file: SeekableFile) -> int:
    """After the EBML header stands one segment; a size of ones only means that the writer did not know."""
    n_bytes, start, _ = _matroska_size(file, 4)
    n_bytes, start, is_known = _matroska_size(file, start + n_bytes + 4)
    return start + n_bytes if is_known else 0


def _matroska_size(file: SeekableFile, offset: int) -> tuple[int, int, bool]:
    """A number whose leading zeros tell its length → the number, the offset after it, whether it is known."""
    data = read_at(file, offset, 8).ljust(8, b"\0")
    n_bytes = min(8, 9 - data[0].bit_length())
    number = int.from_bytes(data[:n_bytes], "big") & ((1 << 7 * n_bytes) - 1)
    return number, offset + n_bytes, number != (1 << 7 * n_bytes) - 1


def _ends_with_last_ogg_page(tail: bytes) -> bool:
    page = tail[max(0, tail.rfind(b"OggS")) :]
    is_last = len(page) > 26 and page[5] & 4
    n_segments = page[26] if is_last else 0
    return bool(is_last) and len(page) >= 27 + n_segments + sum(page[27 : 27 + n_segments])


def n_ogg_tracks(file: FileSlice) -> int:
    """How many streams of sound begin at the start of an Ogg file, beside each other."""
    return len(_OGG_FIRST_PAGE.findall(read_at(file, 0, TAIL_BYTES)))


def ogg_seconds(file: FileSlice) -> float:
    """How long an Ogg stream of Vorbis or Opus is by the positions in its pages; 0 for others.

    Positions begin at 0, except in a radio stream. libsndfile's own length ends before a damaged page.
    """
    head = read_at(file, 0, TAIL_BYTES)
    ticks_per_second = 48_000 if head[28:36] == b"OpusHead" else int.from_bytes(head[40:44], "little")
    if (head[28:36] != b"OpusHead" and head[28:35] != b"\x01vorbis") or not ticks_per_second:
        return 0.0
    tail = read_at(file, max(0, file.n_bytes - TAIL_BYTES), TAIL_BYTES)
    first, last = _ogg_positions(head, head[14:18])[:1], _ogg_positions(tail, head[14:18])[-1:]
    start = first[0] if first and first[0] > LONGEST_PAGE_SECONDS * ticks_per_second else 0
    return max(0, last[0] - start) / ticks_per_second if last else 0.0


def _ogg_positions(pages: bytes, serial: bytes) -> list[int]:
    """The position at the end of each page of one stream, where it has one: the headers have 0, and -1 means none."""
    found = _OGG_PAGE.finditer(pages)
    numbers = [int.from_bytes(page[1], "little", signed=True) for page in found if page[2] == serial]
    return [number for number in numbers if number > 0]


def _ends_with_aac_frame(tail: bytes) -> bool:
    """The 13 bits of a frame's size lie across its fourth to sixth byte."""
    starts = (at for at in range(len(tail) - 6) if tail[at] == 0xFF and tail[at + 1] & 0xF6 == 0xF0)
    sizes = ((at, (tail[at + 3] & 3) << 11 | tail[at + 4] << 3 | tail[at + 5] >> 5) for at in starts)
    return any(at + n_bytes == len(tail) for at, n_bytes in sizes)


def _ends_with_flv_tag(file: SeekableFile, size: int) -> bool:
    """Behind each tag stands its size; before its data, of 11 bytes less, a header that says it too."""
    n_bytes = number_at(file, max(0, size - 4), ">I")
    at = size - 4 - n_bytes
    return at >= 9 and number_at(file, at, ">I") & 0xFF_FFFF == n_bytes - 11
