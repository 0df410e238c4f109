"""The state of one visit: sounds, their analyses and the profile of a voice. Nothing outlives the visit.

Analyses are keyed by the content of a sound and of the profile and by the model, never by the name of a sound, so that
no two are mixed up. The sounds themselves live in the uploader, or here until they are removed.
"""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Final, NamedTuple

import shared
import streamlit as st
from analysis import Analyser, Analysis, Sound, channels_of
from streamlit.typing import UploadedFile

from speech_emotion import SpeakerProfile, shipped

MAX_ANALYSES: Final = 200  # of removed sounds; 60 to 200 kB each
MAX_KEPT: Final = 20  # recordings and samples; the uploader keeps its own
SAMPLES: Final = {
    "demo-fast.flac": "⚡ A fast voice",
    "demo-lively.flac": "🎢 A lively voice",
    "demo-low.flac": "🐢 A low voice",
}


class Key(NamedTuple):
    """What an analysis is about: sha256 of a sound and of the profile ("" without one), and the model."""

    sound: str
    profile: str
    model: str


@dataclass
class Session:
    """State that the runs of the page share.

    kept: sounds that no widget holds; uploaded: those in the uploaders. Both by `Sound.id`, in order of arrival.
    model: name of the model that answers.
    analyses: the results so far.
    chosen: id of the sound that is shown; newest: ids that arrived with it, until one of them is chosen by hand or has
    an answer; n_shown: how often new sounds were chosen automatically; seen: id of the sound the page showed last.
    seek: id of the sound whose player starts at this second, and how often that was requested.
    played: sha256, part and WAV of what the player holds.
    recording: id of what the recorder holds; n_recordings: how many were made. recorders, enrolments: numbers in the
    keys of the widgets that record and enrol: a widget forgets its content only when a new one replaces it.
    in_progress: analyses that are not finished; batch: sha256 of the sounds that share one progress bar.
    cancelled: sha256 of sounds not to analyse until the user resumes or adds them again.
    profiles: the profile for each model that has one; left_out: why recordings are not in the newest.
    """

    model: str = field(default_factory=lambda: shipped.MODELS[0].name)
    kept: dict[str, Sound] = field(default_factory=dict)
    uploaded: dict[str, Sound] = field(default_factory=dict)
    analyses: dict[Key, Analysis] = field(default_factory=dict)
    chosen: str | None = None
    n_shown: int = 0
    newest: tuple[str, ...] = ()
    seen: str | None = None
    seek: tuple[str, float, int] | None = None
    played: tuple[str, int, bytes] = ("", 0, b"")
    recording: str | None = None
    n_recordings: int = 0
    recorders: int = 0
    enrolments: int = 0
    in_progress: dict[Key, Analyser] = field(default_factory=dict)
    batch: tuple[str, ...] = ()
    cancelled: set[str] = field(default_factory=set)
    profiles: dict[str, SpeakerProfile] = field(default_factory=dict)
    uses_profile: bool = True
    left_out: tuple[str, ...] = ()

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

    def key(self, sound: Sound, profile: str = "") -> Key:
        """The key of the analysis of `sound` by the model that answers; `profile` is the `profile_key`."""
        return Key(sound.sha256, profile, self.model)

    def use_model(self, name: str) -> None:
        """Let another model answer. The analyses and the profile of each model are kept."""
        self.model, self.batch, self.left_out = name, (), ()
        self.in_progress = {}

    def choose(self, sound_id: str) -> None:
        """Show another sound, from its beginning and without playing it."""
        if sound_id != self.chosen:
            self.chosen, self.newest, self.seek = sound_id, (), None

    def show(self, *sounds: Sound) -> None:
        """Choose the first of `sounds`, which have just arrived, whatever was ticked or cancelled."""
        self.choose(sounds[0].id)
        self.newest = tuple(sound.id for sound in sounds)
        self.n_shown += 1
        self.cancelled -= {sound.sha256 for sound in sounds}

    def play_from(self, sound_id: str, seconds: float) -> None:
        """Play a sound from `seconds` on; later arrivals do not interrupt it."""
        self.choose(sound_id)
        self.newest = ()
        _, _, count = self.seek or ("", 0.0, 0)
        self.seek = sound_id, seconds, count + 1

    def keep(self, sound: Sound) -> None:
        """Add a sound and show it; beyond MAX_KEPT the oldest are dropped."""
        self.kept[sound.id] = sound
        self.show(sound)
        while len(self.kept) > MAX_KEPT:
            del self.kept[next(iter(self.kept))]

    def split(self, sound: Sound) -> None:
        """Add each channel of a sound as a sound, and show the first."""
        for channel in reversed(channels_of(sound)):
            self.keep(channel)

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

        def as_sound(file: UploadedFile) -> Sound:
            name = file.name.replace("%22", '"')  # as browsers send quotes
            return Sound.of(name, file.getvalue(), file.file_id)

        self.uploaded = {file.file_id: known.get(file.file_id) or as_sound(file) for file in uploads}
        if new := [sound for sound_id, sound in self.uploaded.items() if sound_id not in known]:
            self.show(*new)

    def forget_old(self) -> None:
        """Drop what belongs to removed sounds, except for the newest analyses, in case of an undo."""
        present = {sound.sha256 for sound in self.sounds}
        absent = [key for key in self.analyses if key.sound not in present]
        for key in absent[: max(len(absent) - MAX_ANALYSES, 0)]:
            del self.analyses[key]
        self.in_progress = {
            key: analyser for key, analyser in self.in_progress.items() if key.sound in present
        }
        if self.played[0] not in present:
            self.played = "", 0, b""

    def analyser(self, key: Key, sound: Sound, profile: SpeakerProfile | None) -> Analyser:
        """The analyser of `sound`, where an earlier run of the page left it, or a new one."""
        if key not in self.in_progress:
            self.in_progress[key] = Analyser(shared.classifier(key.model), sound, profile)
        return self.in_progress[key]

    def cancel(self, sounds: Collection[str]) -> None:
        """Stop analysing the sounds with these sha256."""
        self.cancelled |= set(sounds)
        self.batch = ()
        self.in_progress = {
            key: analyser for key, analyser in self.in_progress.items() if key.sound not in sounds
        }

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
        self.in_progress = {key: analyser for key, analyser in self.in_progress.items() if not key.profile}
        self.profiles.pop(self.model, None)
        self.left_out = ()
        self.enrolments += 1


def current() -> Session:
    """The session of this visit."""
    session: Session = st.session_state.setdefault("session", Session())
    return session


def sample_path(file_name: str) -> str:
    """Path of a sample voice in the package."""
    return str(files("speech_emotion").joinpath("assets", file_name))


def sample(file_name: str) -> Sound:
    """A sample voice of the package."""
    return Sound.of(file_name, Path(sample_path(file_name)).read_bytes(), file_name)


def profile_key(profile: SpeakerProfile | None) -> str:
    """sha256 of the profile's content; empty without a profile."""
    return hashlib.sha256(json.dumps(profile.to_dict()).encode()).hexdigest() if profile else ""
