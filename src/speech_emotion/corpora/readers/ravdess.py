"""RAVDESS, speech and song. In: a name such as 03-01-06-01-02-01-12.wav. Out: its seven fields, in words.

Livingstone & Russo 2018, doi 10.1371/journal.pone.0196391. Video files repeat the sound of the audio-only
files, so a scan takes audio-only files alone: with both, each sound would count twice.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Final

from speech_emotion.corpora.manifest import Archive, Clip, Corpus, Parser, Sex, Skipped
from speech_emotion.errors import CorpusError
from speech_emotion.labels import EMOTIONS

MODALITIES: Final = {"01": "full-AV", "02": "video-only", "03": "audio-only"}
CHANNELS: Final = {"01": "speech", "02": "song"}
EMOTION_CODES: Final = {f"{code:02d}": emotion for code, emotion in enumerate(EMOTIONS, start=1)}
INTENSITIES: Final = {"01": "normal", "02": "strong"}
STATEMENTS: Final = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}
REPETITIONS: Final = {"01": "first", "02": "second"}
ACTORS: Final = {f"{actor:02d}": f"{actor:02d}" for actor in range(1, 25)}

FIELDS: Final[tuple[tuple[str, Mapping[str, str]], ...]] = (
    ("modality", MODALITIES),
    ("channel", CHANNELS),
    ("emotion", EMOTION_CODES),
    ("intensity", INTENSITIES),
    ("statement", STATEMENTS),
    ("repetition", REPETITIONS),
    ("actor", ACTORS),
)
SONG_EMOTIONS: Final = EMOTIONS[:6]
ACTORS_WITHOUT_SONG: Final = frozenset({"18"})


@dataclass(frozen=True, slots=True)
class RavdessName:
    """The seven fields of a RAVDESS file name, in words."""

    modality: str
    channel: str
    emotion: str
    intensity: str
    statement: str
    repetition: str
    actor: str

    @property
    def sex(self) -> Sex:
        return "male" if int(self.actor) % 2 else "female"


def parse(name: str) -> RavdessName:
    """Read the name of a file, with or without its suffix; CorpusError names the field that is wrong."""
    codes = PurePosixPath(name).stem.split("-")
    if len(codes) != len(FIELDS):
        raise CorpusError(
            f"{name!r} has {len(codes)} fields where a RAVDESS name has seven, "
            "modality-channel-emotion-intensity-statement-repetition-actor. Restore the published name."
        )
    words = {}
    for code, (field, meanings) in zip(codes, FIELDS, strict=True):
        if code not in meanings:
            codes_allowed = f"{min(meanings)} to {max(meanings)}"
            raise CorpusError(
                f"{name!r}: {field} is {code!r}, expected {codes_allowed}. Restore the published name."
            )
        words[field] = meanings[code]
    parsed = RavdessName(**words)
    if parsed.emotion == "neutral" and parsed.intensity == "strong":
        raise CorpusError(f"{name!r}: intensity is strong, but neutral has only normal. Restore its name.")
    if parsed.channel == "song" and parsed.emotion not in SONG_EMOTIONS:
        raise CorpusError(f"{name!r}: emotion is {parsed.emotion}, which was never sung. Restore its name.")
    return parsed


def _parser(channel: str) -> Parser:
    def clip(path: PurePosixPath) -> Clip | Skipped:
        name = parse(path.name)
        if name.modality != "audio-only":
            return Skipped(f"{name.modality} {name.channel}")
        if name.channel != channel:
            return Skipped(name.channel)
        attributes = {
            "modality": name.modality,
            "channel": name.channel,
            "intensity": name.intensity,
            "statement": name.statement,
            "repetition": name.repetition,
        }
        return Clip(str(path), name.emotion, name.actor, name.sex, attributes)

    return clip


@cache
def _published(channel: str) -> frozenset[str]:
    """The names of the audio-only files of a channel: 1440 spoken, 1012 sung."""
    actors = ACTORS if channel == "speech" else ACTORS.keys() - ACTORS_WITHOUT_SONG
    code = {word: code for code, word in CHANNELS.items()}[channel]
    return frozenset(
        f"03-{code}-{emotion}-{intensity}-{statement}-{repetition}-{actor}"
        for emotion, word in EMOTION_CODES.items()
        if channel == "speech" or word in SONG_EMOTIONS
        for intensity in INTENSITIES
        if not (word == "neutral" and intensity == "02")
        for statement in STATEMENTS
        for repetition in REPETITIONS
        for actor in actors
    )


def _cells(channel: str) -> Mapping[tuple[str, str], int]:
    parsed = map(parse, sorted(_published(channel)))
    return Counter((name.actor, name.emotion) for name in parsed)


def _corpus(channel: str, archive: Archive) -> Corpus:
    published = _published(channel)

    def names(_folder: Path) -> frozenset[str]:
        return published

    name = "ravdess" if channel == "speech" else "ravdess-song"
    return Corpus(
        name=name,
        title=f"RAVDESS {channel}",
        language="English",
        licence="CC BY-NC-SA 4.0",
        citation=(
            "Livingstone SR, Russo FA (2018). The Ryerson Audio-Visual Database of Emotional Speech and Song "
            "(RAVDESS): A dynamic, multimodal set of facial and vocal expressions in North American English. "
            "PLoS ONE 13(5): e0196391. https://doi.org/10.1371/journal.pone.0196391"
        ),
        homepage="https://zenodo.org/records/1188976",
        how_to_get=f"Get it with: speech-emotion corpora download {name}",
        example=f"Actor_01/{min(published)}.wav",
        parser=lambda _folder: _parser(channel),
        cells=_cells(channel),
        names=names,
        archive=archive,
        known_duplicates=KNOWN_DUPLICATES if channel == "speech" else (),
    )


# Measured on the published files: actor 07 said "Dogs …" happily once and it is there twice.
KNOWN_DUPLICATES: Final = (frozenset({"03-01-03-01-02-01-07", "03-01-03-01-02-02-07"}),)

SPEECH: Final = _corpus(
    "speech",
    Archive(
        url="https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip?download=1",
        filename="Audio_Speech_Actors_01-24.zip",
        size_bytes=208_468_073,
        md5="bc696df654c87fed845eb13823edef8a",
    ),
)
SONG: Final = _corpus(
    "song",
    Archive(
        url="https://zenodo.org/records/1188976/files/Audio_Song_Actors_01-24.zip?download=1",
        filename="Audio_Song_Actors_01-24.zip",
        size_bytes=225_505_317,
        md5="5411230427d67a21e18aa4d466e6d1b9",
    ),
)
