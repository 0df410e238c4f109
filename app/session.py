"""What one visit holds: sounds that were given, what was heard in them, the profile of a voice. Nothing outlives it.

Hearings are kept by the content of a sound and of the profile, never by its name, so that no two are mixed up; sounds
themselves live in the uploader, or here until they are removed.
"""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Final

import shared
import streamlit as st
from hearing import Analysis, Hearing, Sound
from streamlit.typing import UploadedFile

from speech_emotion import SpeakerProfile

MOST_HEARINGS: Final = 200  # of sounds that are no longer there; 60 to 200 kB each
MOST_KEPT: Final = 20  # recordings and samples; the uploader keeps its own
SAMPLES: Final = {"demo-fast.flac": "⚡ A fast voice", "demo-lively.flac": "🎢 A lively voice"} | {
    "demo-low.flac": "🐢 A low voice"
}

Key = tuple[str, str]  # sha256 of a sound, and of the profile ("" without one)


@dataclass
class Session:
    """`kept`: sounds that no widget holds; `uploaded`: those in the uploaders. Both by `Sound.id`, as they came.

    chosen: the id of the sound that is shown; newest: those that came with it, until one is chosen by hand or heard;
    n_shown: how often new ones chose themselves; seen: the id of what the page showed last.
    seek: the id of the sound whose player starts at this second, and how often that was asked for.
    played: sha256, part and WAV of what the player has.
    recording: the id of what the recorder holds. recorders, enrolments: how many there were of the widgets that record
    and enrol; they forget what they hold only as new ones.
    under_way: what runs of the page have begun; batch: sha256 of the sounds that are worked out in one go.
    cancelled: sha256 of what is not to be worked out until it is asked for or given again.
    left_out: why recordings are not in the profile.
    """

    kept: dict[str, Sound] = field(default_factory=dict)
    uploaded: dict[str, Sound] = field(default_factory=dict)
    hearings: dict[Key, Hearing] = field(default_factory=dict)
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
    under_way: dict[Key, Analysis] = field(default_factory=dict)
    batch: tuple[str, ...] = ()
    cancelled: set[str] = field(default_factory=set)
    profile: SpeakerProfile | None = None
    uses_profile: bool = True
    left_out: tuple[str, ...] = ()

    @property
    def active_profile(self) -> SpeakerProfile | None:
        return self.profile if self.uses_profile else None

    @property
    def sounds(self) -> list[Sound]:
        return [*self.uploaded.values(), *self.kept.values()]

    def choose(self, sound_id: str) -> None:
        """Show another sound, from its beginning and silently."""
        if sound_id != self.chosen:
            self.chosen, self.newest, self.seek = sound_id, (), None

    def show(self, *sounds: Sound) -> None:
        """Choose the first of `sounds`, which were just given, whatever was ticked or cancelled."""
        self.choose(sounds[0].id)
        self.newest = tuple(sound.id for sound in sounds)
        self.n_shown += 1
        self.cancelled -= {sound.sha256 for sound in sounds}

    def play_from(self, sound_id: str, seconds: float) -> None:
        self.choose(sound_id)
        self.newest = ()  # what comes later does not interrupt it
        _, _, count = self.seek or ("", 0.0, 0)
        self.seek = sound_id, seconds, count + 1

    def keep(self, sound: Sound) -> None:
        """Add a sound and show it; the oldest go when there are too many."""
        self.kept[sound.id] = sound
        self.show(sound)
        while len(self.kept) > MOST_KEPT:
            del self.kept[next(iter(self.kept))]

    def record(self, recording: UploadedFile | None) -> None:
        """What the recorder holds now: something new is kept, and what is cleared there is gone here too."""
        if recording is None:
            self.kept.pop(self.recording or "", None)
            self.recording = None
        elif recording.file_id != self.recording:
            self.recording = recording.file_id
            self.n_recordings += 1
            self.keep(Sound.of(f"recording {self.n_recordings}.wav", recording.getvalue(), recording.file_id))

    def take(self, uploads: Sequence[UploadedFile]) -> None:
        """The sounds in the uploaders; each is looked at once, however often the page runs, and a new one is shown."""
        known = self.uploaded

        def as_sound(file: UploadedFile) -> Sound:
            name = file.name.replace("%22", '"')  # as browsers send quotes
            return Sound.of(name, file.getvalue(), file.file_id)

        self.uploaded = {file.file_id: known.get(file.file_id) or as_sound(file) for file in uploads}
        if new := [sound for sound_id, sound in self.uploaded.items() if sound_id not in known]:
            self.show(*new)

    def forget_old(self) -> None:
        """Let go of what belongs to no sound that is there; of hearings the newest stay, for an undo."""
        present = {sound.sha256 for sound in self.sounds}
        absent = [key for key in self.hearings if key[0] not in present]
        for key in absent[: max(len(absent) - MOST_HEARINGS, 0)]:
            del self.hearings[key]
        self.under_way = {key: analysis for key, analysis in self.under_way.items() if key[0] in present}
        if self.played[0] not in present:
            self.played = "", 0, b""

    def work_on(self, key: Key, sound: Sound, profile: SpeakerProfile | None) -> Analysis:
        """The analysis of `sound`, gone on with where an earlier run of the page left it."""
        if key not in self.under_way:
            self.under_way[key] = Analysis(shared.classifier(), sound, profile)
        return self.under_way[key]

    def cancel(self, sounds: Collection[str]) -> None:
        """Work no more at the sounds with these sha256."""
        self.cancelled |= set(sounds)
        self.batch = ()
        self.under_way = {key: analysis for key, analysis in self.under_way.items() if key[0] not in sounds}

    def forget_kept(self) -> None:
        """Recordings and samples, with everything that was made of them."""
        gone = {sound.sha256 for sound in self.kept.values()}
        self.kept.clear()
        self.hearings = {key: hearing for key, hearing in self.hearings.items() if key[0] not in gone}
        self.recording = None
        self.recorders += 1
        self.forget_old()

    def forget_profile(self) -> None:
        """The profile, the recording it was made of, and what was heard with it."""
        self.hearings = {key: hearing for key, hearing in self.hearings.items() if not key[1]}
        self.under_way = {key: analysis for key, analysis in self.under_way.items() if not key[1]}
        self.profile, self.left_out = None, ()
        self.enrolments += 1


def current() -> Session:
    """The session of whoever is looking at the page."""
    session: Session = st.session_state.setdefault("session", Session())
    return session


def sample_path(file_name: str) -> str:
    """Where a synthetic voice of the package lies."""
    return str(files("speech_emotion").joinpath("assets", file_name))


def sample(file_name: str) -> Sound:
    """A synthetic voice of the package."""
    return Sound.of(file_name, Path(sample_path(file_name)).read_bytes(), file_name)


def profile_key(profile: SpeakerProfile | None) -> str:
    """sha256 of what is in it; empty without one."""
    return hashlib.sha256(json.dumps(profile.to_dict()).encode()).hexdigest() if profile else ""
