"""RAVDESS, speech and song. In: a name such as 03-01-06-01-02-01-12.wav. Out: its seven fields, in words.

Livingstone & Russo 2018, doi 10.1371/journal.pone.0196391. Video files repeat the sound of the audio-only
files, so a scan takes audio-only files alone; with both, each sound would count twice.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import PurePosixPath
from typing import Final

from speech_emotion.corpora.manifest import Archive, Clip, Corpus, Sex, Skipped
from speech_emotion.errors import CorpusError
from speech_emotion.labels import EMOTIONS

EMOTION_CODES: Final = {f"{code:02d}": emotion for code, emotion in enumerate(EMOTIONS, start=1)}
INTENSITIES: Final = {"01": "normal", "02": "strong"}
STATEMENTS: Final = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}
REPETITIONS: Final = {"01": "first", "02": "second"}
ACTORS: Final = {f"{actor:02d}": f"{actor:02d}" for actor in range(1, 25)}
FIELDS: Final[Mapping[str, Mapping[str, str]]] = {
    "modality": {"01": "full-AV", "02": "video-only", "03": "audio-only"},
    "channel": {"01": "speech", "02": "song"},
    "emotion": EMOTION_CODES,
    "intensity": INTENSITIES,
    "statement": STATEMENTS,
    "repetition": REPETITIONS,
    "actor": ACTORS,
}
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
        """Actors with odd numbers are men."""
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
    for code, (field, meanings) in zip(codes, FIELDS.items(), strict=True):
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


def _parse(channel: str, path: PurePosixPath) -> Clip | Skipped:
    name = parse(path.name)
    if name.modality != "audio-only":
        return Skipped(f"{name.modality} {name.channel}")
    if name.channel != channel:
        return Skipped(name.channel)
    fields = asdict(name)
    return Clip(str(path), fields.pop("emotion"), fields.pop("actor"), name.sex, fields)


def _names(channel: str) -> frozenset[str]:
    """The names of the audio-only files of a channel: 1440 spoken, 1012 sung."""
    is_song = channel == "song"
    emotions = [code for code, word in EMOTION_CODES.items() if not is_song or word in SONG_EMOTIONS]
    actors = [actor for actor in ACTORS if not is_song or actor not in ACTORS_WITHOUT_SONG]
    takes = product(emotions, INTENSITIES, STATEMENTS, REPETITIONS, actors)
    return frozenset(
        "-".join(("03", "02" if is_song else "01", *codes)) for codes in takes if codes[:2] != ("01", "02")
    )


def _corpus(
    name: str, channel: str, archive: Archive, known_duplicates: tuple[frozenset[str], ...] = ()
) -> Corpus:
    names = _names(channel)
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
        example=f"Actor_01/{min(names)}.wav",
        parse=partial(_parse, channel),
        names=names,
        archive=archive,
        known_duplicates=known_duplicates,
    )


# Measured on the published files: actor 07 said "Dogs …" happily once and it is there twice.
KNOWN_DUPLICATES: Final = (frozenset({"03-01-03-01-02-01-07", "03-01-03-01-02-02-07"}),)

SPEECH: Final = _corpus(
    "ravdess",
    "speech",
    Archive(
        url="https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip?download=1",
        filename="Audio_Speech_Actors_01-24.zip",
        size_bytes=208_468_073,
        md5="bc696df654c87fed845eb13823edef8a",
    ),
    KNOWN_DUPLICATES,
)
SONG: Final = _corpus(
    "ravdess-song",
    "song",
    Archive(
        url="https://zenodo.org/records/1188976/files/Audio_Song_Actors_01-24.zip?download=1",
        filename="Audio_Song_Actors_01-24.zip",
        size_bytes=225_505_317,
        md5="5411230427d67a21e18aa4d466e6d1b9",
    ),
)
