"""What a file holds. In: a seekable binary file. Out: its container, by content, and the encoding of its sound.

A container names the readers that decode it: soundfile, a demuxer of PyAV, or both. Nothing is tried blindly.
"""

from dataclasses import dataclass

from speech_emotion.audio.slices import FileSlice, read_at
from speech_emotion.errors import AudioDecodeError

HEAD_BYTES = 512
SEARCHED_BYTES = 2**18  # zeros, or the rest of a frame, before the first whole MP3 frame


@dataclass(frozen=True, slots=True)
class Container:
    """A kind of file.

    Attributes:
        name: Its name in messages.
        demuxer: PyAV's reader of it.
        is_core: Whether soundfile reads it, in the encodings that it knows, without the extra "media".
    """

    name: str
    demuxer: str
    is_core: bool = False


WAV, RIFX, RF64 = (Container(name, "wav", True) for name in ("WAV", "big-endian WAV", "RF64"))
AIFF, CAF, AU = Container("AIFF", "aiff", True), Container("CAF", "caf", True), Container("AU", "au", True)
FLAC, OGG, MP3 = Container("FLAC", "flac", True), Container("Ogg", "ogg", True), Container("MP3", "mp3", True)
AVI, MP4, AAC = Container("AVI", "avi"), Container("MP4, M4A or MOV", "mov"), Container("AAC", "aac")
MATROSKA, WMA = Container("Matroska or WebM", "matroska"), Container("WMA", "asf")
WAVE64, NIST = Container("Wave64", "w64", True), Container("NIST SPHERE", "nistsphere", True)
AMR, FLV = Container("AMR", "amr"), Container("FLV", "flv")

_MAGIC_NUMBERS = {
    b"fLaC": FLAC,
    b"OggS": OGG,
    b".snd": AU,
    b"caff": CAF,
    b"\x1a\x45\xdf\xa3": MATROSKA,
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": WMA,
    b"#!AMR\n": AMR,
    b"#!AMR-WB\n": AMR,
    b"FLV\x01": FLV,
    b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb": WAVE64,
    b"NIST_1A\n": NIST,
    b"wvpk": Container("WavPack", "wv"),
    b".RMF": Container("RealMedia", "rm"),
    b"\x0b\x77": Container("AC-3", "ac3"),
    b"\x00\x00\x01\xba": Container("MPEG program stream", "mpeg"),
}
_MPEG_TS = Container("MPEG transport stream", "mpegts")
_FORMS = {  # the first four bytes, and the four after the size
    (b"RIFF", b"WAVE"): WAV,
    (b"RIFX", b"WAVE"): RIFX,
    (b"RF64", b"WAVE"): RF64,
    (b"FORM", b"AIFF"): AIFF,
    (b"FORM", b"AIFC"): AIFF,
    (b"RIFF", b"AVI "): AVI,
}
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")

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

_WAV_ENCODINGS = {
    0x14: "G.723.1",
    0x42: "G.723.1",
    0x111: "G.723.1",
    0x45: "G.726",
    0x64: "G.726",
    0x65: "G.722",
    0x28F: "G.722",
    0x50: "MP2",
    0x55: "MP3",
    0xFF: "AAC",
    0x160: "WMA",
    0x161: "WMA",
    0x162: "WMA",
    0x2000: "AC-3",
    0xA109: "Speex",
    0x704F: "Opus",
}
_WAV_CORE = (1, 2, 3, 6, 7, 0x11, 0x31)  # samples, A-law, mu-law, ADPCM and GSM
_CAF_ENCODINGS = {b"opus": "Opus", b"alac": "Apple Lossless", b"ima4": "IMA4", b"aac ": "AAC", b".mp3": "MP3"}
_CAF_PCM = (b"lpcm", b"alaw", b"ulaw")
_AIFF_PCM = (
    b"NONE",
    b"sowt",
    b"twos",
    b"raw ",
    b"fl32",
    b"FL32",
    b"fl64",
    b"FL64",
    b"alaw",
    b"ulaw",
    b"ALAW",
    b"ULAW",
)
_OGG_ENCODINGS = {
    b"Speex   ": "Speex",
    b"\x7fFLAC": "FLAC",
    b"\x80theora": "Theora video",
    b"CELT    ": "CELT",
}


def sniff(file: FileSlice) -> tuple[Container, int]:
    """Return the container of `file`, and where it begins: tags and zeros may stand before it.

    Raises:
        AudioDecodeError: It is not sound; the message says what it looks like instead.
    """
    head = read_at(file, 0, HEAD_BYTES)
    if not head and not file.error:
        raise AudioDecodeError("the file is empty (0 bytes); record or download it again")
    start = _end_of_id3_tags(file)
    found = recognise(read_at(file, start, HEAD_BYTES))
    if found is None and not _is_stranger(head):
        from speech_emotion.audio import mp3

        run = mp3.next_run(file, start, start + SEARCHED_BYTES)
        found, start = (MP3, run.start) if run else (None, start)
    if found is None:
        raise AudioDecodeError(
            f"this is not a sound that can be read: it looks like {_describe(head)}. "
            "Pass a WAV, FLAC, Ogg, Opus, MP3, AIFF, AU or CAF file; with the media extra: M4A, AAC, MP4, WebM, "
            "AMR, AVI, FLV or WMA"
        )
    return found, start


def recognise(head: bytes) -> Container | None:
    """The container whose first bytes are `head`."""
    for magic, container in _MAGIC_NUMBERS.items():
        if head.startswith(magic):
            return container
    if head[4:8] in _MP4_BOXES:
        return MP4
    if len(head) > 188 and head[0] == head[188] == 0x47 and len(head) > 376 and head[376] == 0x47:
        return _MPEG_TS
    return _FORMS.get((head[:4], head[8:12])) or _recognise_mpeg_frame(head)


def encoding(file: FileSlice, container: Container) -> str | None:
    """The name of the encoding of a sound in `container`; None if it is one that soundfile reads, or not known."""
    head = read_at(file, 0, HEAD_BYTES)
    if container is OGG:
        return next((name for magic, name in _OGG_ENCODINGS.items() if magic in head), None)
    if container is CAF:
        kind = head[28:32]
        return None if kind in _CAF_PCM else _CAF_ENCODINGS.get(kind, _four_letters(kind))
    if container is AIFF:
        kind = head[head.find(b"COMM") + 26 :][:4] if b"AIFC" in head[:12] and b"COMM" in head else b"NONE"
        return None if kind in _AIFF_PCM else _four_letters(kind)
    return _wav_encoding(head) if container in (WAV, RF64) else None


def _wav_encoding(head: bytes) -> str | None:
    """Of the format tag, or of the one that an extensible format stands for."""
    start = head.find(b"fmt ") + 8
    if start < 8:
        return None
    tag = int.from_bytes(head[start : start + 2], "little")
    if tag == 0xFFFE:
        tag = int.from_bytes(head[start + 24 : start + 26], "little")
    return None if tag in _WAV_CORE else _WAV_ENCODINGS.get(tag, f"format 0x{tag:04X}")


def _four_letters(kind: bytes) -> str:
    return f"encoding {kind.decode('latin-1')!r}"


def _end_of_id3_tags(file: FileSlice) -> int:
    """Tags may stand before a stream; their size is four bytes of seven bits."""
    start = 0
    while (head := read_at(file, start, 10))[:3] == b"ID3" and len(head) == 10:
        a, b, c, d = (byte & 0x7F for byte in head[6:])
        has_footer = head[5] & 0x10
        start += 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if has_footer else 0)
    return start


def _recognise_mpeg_frame(head: bytes) -> Container | None:
    """MP3 and AAC have no magic number: a frame begins with eleven ones and fields with illegal values."""
    if len(head) >= 4 and head[0] == 0xFF and head[1] >= 0xF0 and not head[1] & 6:
        return AAC
    if head[:1] != b"\xff":
        return None
    from speech_emotion.audio import mp3

    return MP3 if mp3.is_frame(head) else None


def _is_stranger(head: bytes) -> bool:
    return head.startswith(tuple(_STRANGERS)) or _as_text(head) is not None


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
    return text or None if is_text else None
