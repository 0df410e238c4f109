"""The recordings in a file. In: a binary file and its container. Out: each of them, as a file that tells its length.

`cat`, recorders and radio streams put recordings one behind the other, and libsndfile reads only the first. It also
reads no more than a header says. Here a file is cut into parts, and the bytes of a header that lies are replaced.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from speech_emotion.audio import containers
from speech_emotion.audio.containers import HEAD_BYTES, Container, encoding, recognise
from speech_emotion.audio.slices import FileSlice, matches, number_at, read_at
from speech_emotion.audio.structure import (
    CHUNK_LAYOUTS,
    MAX_CHUNKS,
    SOUND_CHUNKS,
    UNKNOWN_SIZE,
    Chunk,
    chunks,
)

if TYPE_CHECKING:
    from speech_emotion.audio.mp3 import Run  # a large table, made on import

UNEXPLAINED_BYTES = 4096  # behind the sound, more than this is sound too, unless it is a chunk
USUAL_CHUNKS = (
    b"LIST",
    b"ID3 ",
    b"id3 ",
    b"bext",
    b"iXML",
    b"fact",
    b"cue ",
    b"smpl",
    b"JUNK",
    b"PAD ",
    b"_PMX",
)
FORMS = (b"RIFF", b"RIFX", b"FORM")
FOREIGN = (b"fLaC", b"OggS", b"ID3\x03", b"ID3\x04")  # a recording of another kind begins so

_FLAC_START = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
_OGG_START = re.compile(rb"OggS\x00[\x02\x03\x06\x07]\x00{8}.{4}\x00{4}", re.DOTALL)  # granule and page are 0


@dataclass(frozen=True, slots=True)
class Part:
    """One recording within a file.

    Attributes:
        container: What it is.
        file: Its bytes.
        n_samples: How many samples it has at least; None if its header is to be believed.
        is_cut: Its last frame is incomplete.
        is_unfinished: Its header was never completed: the sound goes on behind the length that it tells.
    """

    container: Container
    file: FileSlice
    n_samples: int | None = None
    is_cut: bool = False
    is_unfinished: bool = False


def parts(file: FileSlice, container: Container) -> Iterator[Part]:
    """The recordings in `file`, which begins with one; at least one."""
    if container is containers.MP3:
        return _mp3_parts(file)
    if container is containers.FLAC:
        starts = matches(file, _FLAC_START, 0, file.n_bytes)
        return (_flac_part(part) for part in _slices_between(file, starts))
    if container is containers.OGG:
        return (Part(container, part) for part in _slices_between(file, _ogg_starts(file)))
    if container in CHUNK_LAYOUTS and container.is_core:
        return _chunked_parts(file, container)
    if container is containers.AU:
        return iter([_au_part(file)])
    if container is containers.RF64:
        return iter([_rf64_part(file)])
    return iter([Part(container, file)])


def _slices_between(file: FileSlice, starts: Iterator[int]) -> Iterator[FileSlice]:
    start = 0
    for following in starts:
        if following > start:
            yield file.slice(start, following)
            start = following
    yield file.slice(start)


def _flac_part(file: FileSlice) -> Part:
    """Without the number of samples in its header, which is that of the first where streams were joined."""
    high, low = number_at(file, 21, ">B"), number_at(file, 22, ">I")
    hidden = bytes([high & 0xF0]) + bytes(4)  # the upper half of the first byte belongs to another field
    return Part(containers.FLAC, file.patched({21: hidden}), n_samples=(high & 0x0F) << 32 | low)


def _ogg_starts(file: FileSlice) -> Iterator[int]:
    """First pages, but for those right behind another one: they begin tracks beside it."""
    end_of_last = -1
    for at in matches(file, _OGG_START, 0, file.n_bytes):
        if at != end_of_last:
            yield at
        header = read_at(file, at, 27 + 255).ljust(27, b"\0")
        end_of_last = at + 27 + header[26] + sum(header[27 : 27 + header[26]])


def _mp3_parts(file: FileSlice) -> Iterator[Part]:
    """A part for each run of frames. What is between them, such as tags, is left out."""
    from speech_emotion.audio import mp3

    run = mp3.next_run(file, 0, file.n_bytes)
    if run is None:  # a single frame, or free format, whose frames do not tell their size
        yield Part(containers.MP3, file.endless())
    while run:
        part = (
            _mp3_part(file, run) if run.n_frames else Part(containers.MP3, file.slice(run.start), is_cut=True)
        )
        yield replace(part, is_cut=part.is_cut or _is_other_sound(file, run.end))
        run = None if run.is_cut else mp3.next_run(file, run.end, file.n_bytes)


def _is_other_sound(file: FileSlice, at: int) -> bool:
    """Whether a recording of another kind begins at `at`, which is not read."""
    return recognise(read_at(file, at, HEAD_BYTES)) not in (None, containers.MP3)


def _mp3_part(file: FileSlice, run: "Run") -> Part:
    from speech_emotion.audio import mp3

    part, is_cut = file.slice(run.start, run.end), run.is_cut
    tag = mp3.length_tag(part, 0)
    n_frames = run.n_frames - (tag is not None)  # the tag stands in a frame of its own
    n_samples = max(0, n_frames - mp3.TOLERATED_FRAMES) * mp3.samples_per_frame(part, 0)
    if tag is None:
        return Part(containers.MP3, part.endless(), n_samples, is_cut)
    patches = {tag.bytes_at: struct.pack(">I", part.n_bytes & 0xFFFF_FFFF)} if tag.bytes_at else {}
    if tag.n_frames >= n_frames:
        return Part(containers.MP3, part.patched(patches), is_cut=is_cut)
    patches[tag.frames_at] = struct.pack(">I", n_frames + mp3.TOLERATED_FRAMES)  # none of them is padding
    return Part(containers.MP3, part.patched(patches), n_samples, is_cut)


def _chunked_parts(file: FileSlice, container: Container) -> Iterator[Part]:
    following: int | None = 0
    while following is not None:
        file = file.slice(following)
        sound = next((chunk for chunk in chunks(file, container) if chunk.name in SOUND_CHUNKS), None)
        if sound and read_at(file, sound.end, 4).startswith(FOREIGN):
            yield Part(container, file.slice(0, sound.end), is_cut=True)
            return
        if sound and _is_unfinished(file, container, sound):
            yield Part(container, file.patched(_size_to_the_end(file, container, sound)), is_unfinished=True)
            return
        following = _next_form(file, container, sound) if sound else None
        part = file.slice(0, following)
        if sound and container is containers.WAV and encoding(part, container) in ("MP3", "MP2"):
            is_cut = sound.end > part.n_bytes
            frames = part.slice(sound.start, min(sound.end, part.n_bytes))
            yield from (replace(found, is_cut=found.is_cut or is_cut) for found in _mp3_parts(frames))
        elif sound and container is containers.CAF and sound.end > part.n_bytes:  # libsndfile refuses it
            yield Part(container, part.patched(_size_to_the_end(part, container, sound)), is_cut=True)
        else:
            yield Part(container, part)


def _is_unfinished(file: FileSlice, container: Container, sound: Chunk) -> bool:
    if sound.end + UNEXPLAINED_BYTES > file.n_bytes:
        return False
    return _chunk_after(file, container, sound) is None


def _chunk_after(file: FileSlice, container: Container, chunk: Chunk) -> Chunk | None:
    """The next chunk, if what follows `chunk` is one; not all writers put the pad byte."""
    for at in (chunk.end, chunk.end + 1):
        following = next(chunks(file, container, at), None)
        if following and following.name in USUAL_CHUNKS + FORMS:
            return following
        if (
            following
            and following.end <= file.n_bytes
            and all(0x20 <= letter < 0x7F for letter in following.name)
        ):
            return following
    return None


def _next_form(file: FileSlice, container: Container, sound: Chunk) -> int | None:
    """Where another file of the same kind begins behind the sound and its chunks."""
    chunk = _chunk_after(file, container, sound)
    n_header = 4 + struct.calcsize(CHUNK_LAYOUTS[container][1])
    for _ in range(MAX_CHUNKS):
        if chunk is None:
            return None
        if chunk.name in FORMS and recognise(read_at(file, chunk.start - n_header, 12)) is container:
            return chunk.start - n_header
        chunk = _chunk_after(file, container, chunk)
    return None


def _size_to_the_end(file: FileSlice, container: Container, sound: Chunk) -> dict[int, bytes]:
    form = CHUNK_LAYOUTS[container][1]
    n_size = struct.calcsize(form)
    n_bytes = min(file.n_bytes - sound.start, 2 ** (8 * n_size) - 1)
    return {sound.start - n_size: struct.pack(form, n_bytes)}


def _au_part(file: FileSlice) -> Part:
    start, n_bytes = number_at(file, 4, ">I"), number_at(file, 8, ">I")
    if n_bytes < UNKNOWN_SIZE and start + n_bytes + UNEXPLAINED_BYTES < file.n_bytes:
        return Part(containers.AU, file.patched({8: b"\xff" * 4}), is_unfinished=True)
    return Part(containers.AU, file)


def _rf64_part(file: FileSlice) -> Part:
    """Its 64-bit sizes, of the whole and of the sound, stand in the first chunk."""
    sound = read_at(file, 0, UNEXPLAINED_BYTES).find(b"data") + 8
    if number_at(file, 28, "<Q") or sound < 8 or file.n_bytes < sound + UNEXPLAINED_BYTES:
        return Part(containers.RF64, file)
    sizes = {20: struct.pack("<Q", file.n_bytes - 8), 28: struct.pack("<Q", file.n_bytes - sound)}
    return Part(containers.RF64, file.patched(sizes), is_unfinished=True)
