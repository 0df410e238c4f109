"""The state of one visit: sounds, their analyses, corrections, the profile of a voice. Nothing outlives the visit.

Analyses are keyed by the content of a sound and of the profile and by the model, never by the name of a sound, so that
no two are mixed up. The sounds themselves live in the uploader, or here until they are removed.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

import shared
import streamlit as st
from analysis import Analyser, Analysis, SegmentAnalyser, Sound
from live import LiveSession
from player import PlayableSound
from streamlit.typing import UploadedFile
from work import Key, Task, Worker

from speech_emotion import SpeakerProfile, SpeechEmotionError, shipped
from speech_emotion.segments import Segment
from speech_emotion.segments.reader import segments_of

MAX_ANALYSES: Final = 200  # of removed sounds; 60 to 200 kB each
MAX_KEPT: Final = 20  # recordings and samples; the uploader keeps its own
SAMPLES: Final = {
    "demo-fast.flac": "A fast voice",
    "demo-lively.flac": "A lively voice",
    "demo-low.flac": "A low voice",
}
TRANSCRIPTS: Final = (".srt", ".vtt", ".rttm", ".json", ".jsonl", ".textgrid", ".txt", ".csv", ".tsv")
MAX_CORRECTIONS: Final = 2000
MAX_NOTE: Final = 500  # characters


class Transcript(NamedTuple):
    """An uploaded file of segments: its name and sha256, and what is in it or why it cannot be read."""

    name: str
    sha256: str
    segments: tuple[Segment, ...] = ()
    problem: str = ""


class Correction(NamedTuple):
    """What a person says about a sound: its label ("" for unsure), who speaks, and a note."""

    name: str
    label: str
    speaker: str = ""
    note: str = ""


@dataclass
class Session:
    """State that the runs of the page share.

    kept: sounds that no widget holds; uploaded: those in the uploaders. Both by `Sound.id`, in order of arrival.
    transcripts: those in the uploaders, by their id.
    model: name of the model that answers.
    analyses: the results so far; worker: computes the others.
    corrections: by sha256 of the sound.
    chosen: id of the sound that is shown; newest: ids that arrived with it, until one of them is chosen by hand or has
    speech; n_shown: how often new sounds were chosen automatically; seen: id of the sound the page showed last.
    played: sha256 and kind of what the player holds, and the sound as it plays it.
    recording: id of what the recorder holds; n_recordings: how many were made. recorders, enrolments: numbers in the
    keys of the widgets that record and enrol: a widget forgets its content only when a new one replaces it.
    cancelled: sha256 of sounds not to analyse until the user resumes or adds them again.
    profiles: the profile for each model that has one; left_out: why recordings are not in the newest.
    drawn_at: when the page was drawn last, in seconds of the monotonic clock.
    live: the live session shown last; live_sound: its sound; n_live: how many sounds came so; ticket: for the next one.
    """

    model: str = field(default_factory=lambda: shipped.MODELS[0].name)
    kept: dict[str, Sound] = field(default_factory=dict)
    uploaded: dict[str, Sound] = field(default_factory=dict)
    transcripts: dict[str, Transcript] = field(default_factory=dict)
    analyses: dict[Key, Analysis] = field(default_factory=dict)
    worker: Worker = field(default_factory=Worker)
    corrections: dict[str, Correction] = field(default_factory=dict)
    chosen: str | None = None
    n_shown: int = 0
    newest: tuple[str, ...] = ()
    seen: str | None = None
    played: tuple[str, str, PlayableSound | None] = ("", "", None)
    recording: str | None = None
    n_recordings: int = 0
    recorders: int = 0
    enrolments: int = 0
    cancelled: set[str] = field(default_factory=set)
    profiles: dict[str, SpeakerProfile] = field(default_factory=dict)
    uses_profile: bool = True
    left_out: tuple[str, ...] = ()
    drawn_at: float = 0.0
    live: LiveSession | None = None
    live_sound: tuple[Sound, PlayableSound] | None = None
    n_live: int = 0
    ticket: str = ""

    @property
    def profile(self) -> SpeakerProfile | None:
        """The profile for the model that answers; those of other models it cannot use."""
        return self.profiles.get(self.model)

    @property
    def active_profile(self) -> SpeakerProfile | None:
        """The profile, unless it is switched off."""
        return self.profile if self.uses_profile else None

    @property
    def sounds(self) -> list[Sound]:
        """All sounds of the visit: uploads, then recordings and samples."""
        return [*self.uploaded.values(), *self.kept.values()]

    @property
    def is_worth_keeping(self) -> bool:
        """Whether closing the page would lose something that a click cannot bring back."""
        made = [sound for sound in self.kept.values() if sound.id not in SAMPLES]
        return bool(self.uploaded or made or self.corrections or self.profiles)

    def key(self, sound: Sound, profile: str = "", kind: str = "") -> Key:
        """The key of the analysis of `sound` by the model that answers; `profile` is the `profile_key`."""
        return Key(sound.sha256, profile, self.model, kind)

    def use_model(self, name: str) -> None:
        """Let another model answer. The analyses and the profile of each model are kept."""
        self.model, self.left_out = name, ()

    def found(self, sound: Sound, kind: str = "") -> Analysis | None:
        """The analysis of `sound` with the active profile, if it is finished."""
        analysis = self.analyses.get(self.key(sound, profile_key(self.active_profile), kind))
        return analysis.named(sound.name) if analysis else None

    def transcript_of(self, sound: Sound) -> Transcript | None:
        """The readable transcript with the name of a sound; of one sound and one transcript, that one."""
        readable = [one for one in self.transcripts.values() if one.segments]
        for one in readable:
            if stem(one.name) == stem(sound.name):
                return one
        is_only = len(readable) == 1 and list(self.uploaded) == [sound.id]
        return readable[0] if is_only else None

    def tasks(self) -> dict[Key, Task]:
        """All analyses to make, short sounds first: with the profile, if there is one, and without, and the parts."""
        profile = self.active_profile
        mine = profile_key(profile)
        tasks = {}
        for sound in sorted(self.sounds, key=lambda sound: len(sound.data)):
            if sound.sha256 in self.cancelled:
                continue
            wanted = [(self.key(sound, which), which) for which in dict.fromkeys([mine, ""])]
            parts = self._parts(sound)
            wanted += [(self.key(sound, mine, kind), mine) for kind in parts]
            for key, which in wanted:
                if key not in self.analyses:
                    begin = partial(_begin, key, sound, profile if which else None, parts.get(key.kind, ()))
                    tasks[key] = Task(begin, len(sound.data))
        return tasks

    def _parts(self, sound: Sound) -> dict[str, tuple[Segment, ...]]:
        """The kinds of analysis that a sound needs beside that of its mix, once that is known; segments if any."""
        whole = self.found(sound)
        if not whole or not whole.answer:
            return {}
        parts: dict[str, tuple[Segment, ...]] = {}
        if "channels_differ" in whole.answer.warnings:
            parts["channels"] = ()
        if transcript := self.transcript_of(sound):
            parts[transcript.sha256] = transcript.segments
        return parts

    def collect(self) -> None:
        """Take over what the worker has finished."""
        self.analyses |= self.worker.take()

    def correct(self, sha256: str, correction: Correction | None) -> None:
        """Remember what a person says about a sound, or forget it."""
        self.corrections.pop(sha256, None)
        if correction and len(self.corrections) < MAX_CORRECTIONS:
            self.corrections[sha256] = correction._replace(note=correction.note[:MAX_NOTE])

    def choose(self, sound_id: str) -> None:
        """Show another sound."""
        if sound_id != self.chosen:
            self.chosen, self.newest = sound_id, ()

    def show(self, *sounds: Sound) -> None:
        """Choose the first of `sounds`, which have just arrived, whatever was ticked or cancelled."""
        self.choose(sounds[0].id)
        self.newest = tuple(sound.id for sound in sounds)
        self.n_shown += 1
        self.cancelled -= {sound.sha256 for sound in sounds}

    def playable(self, sound: Sound, kind: str = "") -> PlayableSound:
        """A sound as the player plays it: the mix, or with the kind "channels" all of its channels."""
        found = self.found(sound, kind)
        if found and found.playable:
            return found.playable
        sha256, held, playable = self.played
        if playable is None or (sha256, held) != (sound.sha256, kind):
            playable = PlayableSound.of(sound.data, separate=bool(kind))
            self.played = sound.sha256, kind, playable
        return playable

    def keep(self, sound: Sound) -> None:
        """Add a sound and show it; beyond MAX_KEPT the oldest are dropped."""
        self.kept[sound.id] = sound
        self.show(sound)
        while len(self.kept) > MAX_KEPT:
            del self.kept[next(iter(self.kept))]

    def record(self, recording: UploadedFile | None) -> None:
        """Keep a new recording; if the recorder was cleared, drop its last one."""
        if recording is None:
            self.kept.pop(self.recording or "", None)
            self.recording = None
        elif recording.file_id != self.recording:
            self.recording = recording.file_id
            self.n_recordings += 1
            self.keep(Sound.of(f"recording {self.n_recordings}.wav", recording.getvalue(), recording.file_id))

    def set_uploads(self, uploads: Sequence[UploadedFile]) -> None:
        """Follow the uploaders. Each upload is read once, however often the page runs, and new ones are shown."""
        known = self.uploaded
        names = {file.file_id: file.name.replace("%22", '"') for file in uploads}  # as browsers send quotes
        texts = [file for file in uploads if names[file.file_id].casefold().endswith(TRANSCRIPTS)]
        self.transcripts = {
            file.file_id: self.transcripts.get(file.file_id)
            or _transcript(names[file.file_id], file.getvalue())
            for file in texts
        }
        self.uploaded = {
            file.file_id: known.get(file.file_id)
            or Sound.of(names[file.file_id], file.getvalue(), file.file_id)
            for file in uploads
            if file.file_id not in self.transcripts
        }
        if new := [sound for sound_id, sound in self.uploaded.items() if sound_id not in known]:
            self.show(*new)

    def forget_old(self) -> None:
        """Drop what belongs to removed sounds, except for the newest analyses, in case of an undo."""
        present = {sound.sha256 for sound in self.sounds}
        absent = [key for key in self.analyses if key.sound not in present]
        for key in absent:
            self.analyses[key] = replace(self.analyses[key], playable=None)
        for key in absent[: max(len(absent) - MAX_ANALYSES, 0)]:
            del self.analyses[key]
        if self.played[0] not in present:
            self.played = "", "", None

    def cancel(self) -> None:
        """Stop analysing everything that is not finished."""
        self.cancelled |= {key.sound for key in self.tasks()}
        self.worker.give({})

    def forget_kept(self) -> None:
        """Drop recordings and samples with their analyses."""
        gone = {sound.sha256 for sound in self.kept.values()}
        self.kept.clear()
        self.analyses = {key: analysis for key, analysis in self.analyses.items() if key.sound not in gone}
        self.recording = None
        self.recorders += 1
        self.forget_old()

    def forget_profile(self) -> None:
        """Drop the profile, the recording it was made of, and the analyses that used it."""
        self.analyses = {
            key: analysis
            for key, analysis in self.analyses.items()
            if not key.profile or key.model != self.model
        }
        self.profiles.pop(self.model, None)
        self.left_out = ()
        self.enrolments += 1


def current() -> Session:
    """The session of this visit; the address may name its model."""
    if "session" not in st.session_state:
        asked = st.query_params.get("model", "")
        known = {model.name for model in shipped.MODELS}
        st.session_state.session = Session(model=asked) if asked in known else Session()
    session: Session = st.session_state.session
    return session


def _begin(
    key: Key, sound: Sound, profile: SpeakerProfile | None, segments: tuple[Segment, ...]
) -> Analyser | SegmentAnalyser:
    classifier = shared.classifier(key.model)
    if segments:
        return SegmentAnalyser(classifier, sound, profile, segments)
    return Analyser(classifier, sound, profile, "separate" if key.kind else "mix")


def _transcript(name: str, data: bytes) -> Transcript:
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        return Transcript(name, sha256, tuple(segments_of(data, name)))
    except SpeechEmotionError as error:
        return Transcript(name, sha256, problem=str(error).removeprefix(f"{name!r}: ").rstrip("."))


def stem(name: str) -> str:
    """What a sound and its transcript have in common: the name without folder and ending."""
    return PurePosixPath(name).stem.casefold()


def sample_path(file_name: str) -> str:
    """Path of a sample voice in the package."""
    return str(files("speech_emotion").joinpath("assets", file_name))


def sample(file_name: str) -> Sound:
    """A sample voice of the package."""
    return Sound.of(file_name, Path(sample_path(file_name)).read_bytes(), file_name)


def profile_key(profile: SpeakerProfile | None) -> str:
    """sha256 of the profile's content; empty without a profile."""
    return hashlib.sha256(json.dumps(profile.to_dict()).encode()).hexdigest() if profile else ""
