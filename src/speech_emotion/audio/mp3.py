"""The frames of an MPEG audio stream (MP3, MP2). In: a file. Out: where runs of frames begin and end.

libsndfile estimates the length of an MP3 from its first frame or believes its header, stops there, and gives up at a
kilobyte that is not a frame. The frames themselves say where the next one begins.
"""

import re
import struct
from itertools import islice
from typing import NamedTuple

from speech_emotion.audio.slices import BLOCK_BYTES, FileSlice, SeekableFile, matches, read_at

FRAMES_TO_TRUST = 3  # one header may be chance
MAX_CANDIDATES = 100_000  # 0.3 s; random bytes have as many in 200 MB
TOLERATED_FRAMES = 4  # which a decoder may drop where a stream begins or ends in the middle of a frame

_FRAME = re.compile(rb"\xff[\xe2-\xff][\x10-\xef]")
_KILOBITS = {  # version 1 or not, layer → by index
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def _frame_bytes(second: int, third: int) -> int:
    """The size of a frame of layer 2 or 3 by the second and third byte of its header; 0 if they are not of one."""
    version, layer = second >> 3 & 3, 4 - (second >> 1 & 3)
    bitrate, rate = third >> 4, third >> 2 & 3
    if second < 0xE0 or version == 1 or layer in (1, 4) or bitrate in (0, 15) or rate == 3:
        return 0
    bits, hertz = 1000 * _KILOBITS[version == 3, layer][bitrate], _RATES[version][rate]
    padding = third >> 1 & 1
    return (144 if version == 3 or layer == 2 else 72) * bits // hertz + padding


_FRAME_BYTES = [_frame_bytes(number >> 8, number & 0xFF) for number in range(0x10000)]


class Run(NamedTuple):
    """Frames of one rate and number of channels, one behind the other.

    Attributes:
        start: The first byte.
        end: The byte after the last whole one.
        n_frames: How many whole frames it has.
        is_cut: Whether the file ends within another one.
    """

    start: int
    end: int
    n_frames: int
    is_cut: bool


class LengthTag(NamedTuple):
    """What a Xing, Info or VBRI header, which stands in a frame of its own, says about a stream.

    Attributes:
        n_frames: How many frames it announces.
        frames_at: Where that number stands.
        bytes_at: Where the number of bytes stands, if it does.
    """

    n_frames: int
    frames_at: int
    bytes_at: int | None


def is_frame(head: bytes) -> bool:
    """Whether `head` begins as a frame does, one of free format included."""
    if len(head) < 4 or head[0] != 0xFF:
        return False
    return bool(_FRAME_BYTES[head[1] << 8 | head[2]] or _FRAME_BYTES[head[1] << 8 | head[2] | 0x10])


def next_run(file: FileSlice, start: int, end: int) -> Run | None:
    """The first run of frames that begins between `start` and `end`; one must have three, or fill the rest."""
    for at in islice(matches(file, _FRAME, start, end), MAX_CANDIDATES):
        if _is_run(file, at, only=at == start):
            return _run(file, at)
    return None


def samples_per_frame(file: SeekableFile, start: int) -> int:
    """How many samples the frame at `start` holds."""
    second = read_at(file, start, 2)[1]
    is_layer_3, is_version_1 = second >> 1 & 3 == 1, second >> 3 & 3 == 3
    return 576 if is_layer_3 and not is_version_1 else 1152


def length_tag(file: SeekableFile, start: int) -> LengthTag | None:
    """The header with the number of frames, if the frame at `start` holds one."""
    frame = read_at(file, start, 64)
    at = _tag_offset(frame) if len(frame) == 64 else 0
    if frame[at : at + 4] in (b"Xing", b"Info") and frame[at + 7] & 1:
        has_bytes = frame[at + 7] & 2
        n_frames = struct.unpack_from(">I", frame, at + 8)[0]
        return LengthTag(n_frames, at + 8, at + 12 if has_bytes else None)
    if frame[36:40] == b"VBRI":
        return LengthTag(struct.unpack_from(">I", frame, 50)[0], 50, 46)
    return None


def _tag_offset(frame: bytes) -> int:
    """Where a Xing header would stand: after the side information, which is shorter in mono and at low rates."""
    is_mono, is_version_1 = frame[3] >= 0xC0, frame[1] & 8
    return {(False, True): 36, (True, True): 21, (False, False): 21, (True, False): 13}[
        is_mono, bool(is_version_1)
    ]


def _kind(header: bytes) -> tuple[int, int, bool]:
    """What must stay the same: version and layer, rate, mono or not."""
    return header[1] & 0xFE, header[2] & 0x0C, header[3] >= 0xC0


def _is_run(file: FileSlice, at: int, *, only: bool) -> bool:
    first = read_at(file, at, 4)
    for index in range(FRAMES_TO_TRUST):
        header = read_at(file, at, 4)
        if at >= file.n_bytes:
            return only or index == FRAMES_TO_TRUST - 1
        if len(header) < 4 or header[0] != 0xFF or _kind(header) != _kind(first):
            return False
        n_bytes = _FRAME_BYTES[header[1] << 8 | header[2]]
        if not n_bytes:
            return False
        at += n_bytes
    return True


def _run(file: FileSlice, start: int) -> Run:
    """The run that begins at `start`. It ends before what is not a frame, one of another kind, or a Xing header."""
    first = read_at(file, start, 64).ljust(64, b"\0")
    wanted_second, wanted_rate, is_mono = _kind(first)
    tag_at = _tag_offset(first)
    block, block_start, at, n_frames, n_bytes = b"", start, 0, 0, 0
    while True:
        if at + 64 > len(block):  # whole headers only, except at the end of the file
            block_start, at = block_start + at, 0
            block = read_at(file, block_start, BLOCK_BYTES)
            if len(block) < 4:
                break
        second, third = block[at + 1], block[at + 2]
        n_next = _FRAME_BYTES[second << 8 | third]
        if block[at] != 0xFF or not n_next or second & 0xFE != wanted_second or third & 0x0C != wanted_rate:
            break
        if (block[at + 3] >= 0xC0) != is_mono:
            break
        if n_frames and block[at + tag_at : at + tag_at + 4] in (b"Xing", b"Info"):
            break
        n_frames, n_bytes = n_frames + 1, n_next
        at += n_bytes
    if block_start + at > file.n_bytes:
        return Run(start, block_start + at - n_bytes, n_frames - 1, is_cut=True)
    return Run(start, block_start + at, n_frames, is_cut=False)
