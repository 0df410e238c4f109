"""What one visit holds: sounds that were given, what was heard in them, the profile of a voice. Nothing outlives it.

Hearings are kept by the content of a sound and the profile, never by its name, so that no two are mixed up; sounds
themselves live in the uploader, or here until they are removed.
"""

import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Final

import shared
import streamlit as st
from hearing import Analysis, Hearing, Sound
from streamlit.runtime.uploaded_file_manager import UploadedFile

from speech_emotion import SpeakerProfile

MOST_HEARINGS: Final = 200  # of sounds that are no longer there; 60 to 200 kB each
MOST_KEPT: Final = 20  # recordings and samples; the uploader keeps its own
SAMPLES: Final = {"demo-fast.flac": "⚡ A fast voice", "demo-lively.flac": "🎢 A lively voice"} | {
    "demo-low.flac": "🐢 A low voice"
}

Key = tuple[str, str]  # sha256 of a sound, and of the profile ("" without one)


@dataclass
class Session:
    """`kept`: sounds that no widget holds. `uploaded`: those in the uploader, by the names it gives them itself.
    `cancelled`: what is not to be worked out until it is asked for again."""

    kept: dict[str, Sound] = field(default_factory=dict)
    uploaded: dict[str, Sound] = field(default_factory=dict)
    hearings: dict[Key, Hearing] = field(default_factory=dict)
    running: Analysis | None = None
    running_key: Key | None = None
    cancelled: set[Key] = field(default_factory=set)
    profile: SpeakerProfile | None = None
    uses_profile: bool = True

    @property
    def active_profile(self) -> SpeakerProfile | None:
        return self.profile if self.uses_profile else None

    def keep(self, sound: Sound) -> None:
        """The newest last; the oldest go when there are too many."""
        self.kept.pop(sound.sha256, None)
        self.kept[sound.sha256] = sound
        while len(self.kept) > MOST_KEPT:
            del self.kept[next(iter(self.kept))]

    def take(self, files: Sequence[UploadedFile]) -> list[Sound]:
        """The sounds in the uploader; each is looked at once, however often the page runs."""
        self.uploaded = {
            file.file_id: self.uploaded.get(file.file_id) or Sound.of(file.name, file) for file in files
        }
        return list(self.uploaded.values())

    def forget_old(self, present: Collection[str]) -> None:
        """Of the hearings of sounds that are not `present` (sha256) any more, the newest stay."""
        absent = [key for key in self.hearings if key[0] not in present]
        for key in absent[: max(len(absent) - MOST_HEARINGS, 0)]:
            del self.hearings[key]

    def work_on(self, key: Key, sound: Sound) -> Analysis:
        """The analysis of `sound`, gone on with where an earlier run of the page left it."""
        if self.running is None or self.running_key != key:
            profile = self.active_profile if key[1] else None
            self.running, self.running_key = Analysis(shared.classifier(), sound, profile), key
        return self.running

    def cancel(self, keys: list[Key]) -> None:
        self.cancelled |= set(keys)
        self.running = self.running_key = None

    def forget_all(self) -> None:
        self.kept.clear()
        self.hearings.clear()
        self.cancelled.clear()
        self.running = self.running_key = None


def current() -> Session:
    """The session of whoever is looking at the page."""
    session: Session = st.session_state.setdefault("session", Session())
    return session


def sample(file_name: str) -> Sound:
    """A synthetic voice of the package."""
    data = files("speech_emotion").joinpath("assets", file_name).read_bytes()
    return Sound.of(file_name, io.BytesIO(data))


def profile_key(profile: SpeakerProfile | None) -> str:
    return str(hash((profile.model_sha256, profile.mean, profile.deviation))) if profile else ""
