"""The check of a corpus folder. In: a Corpus and a folder. Out: a CorpusReport: what is there, and what differs.

Every clip is decoded: two files with the same sound are found whatever their container, and a damaged file is named
before a training run meets it.
"""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from speech_emotion import audio
from speech_emotion.corpora.manifest import FETCH_POINTER, Clip, Corpus, Survey, is_pointer
from speech_emotion.errors import AudioError, CorpusError
from speech_emotion.labels import in_order
from speech_emotion.parallel import Progress, in_threads

UNSPECIFIED: Final = "unspecified"
Paths = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sound:
    """One decoded clip: its length, a digest of its samples, and the decoder's warnings or error."""

    seconds: float
    digest: str
    warnings: tuple[str, ...]
    error: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class CorpusReport:
    """A corpus folder compared with its publication."""

    corpus: Corpus
    folder: str
    clips: tuple[Clip, ...]
    sounds: Mapping[str, Sound]  # by path
    missing: Paths  # names, or "03 angry: 2 of 14" if names are not known one by one
    extra: Paths  # clips that were never published, and names that were not understood
    duplicates: tuple[Paths, ...]  # paths that hold the same sound
    known_duplicates: tuple[Paths, ...]  # the same, as published
    skipped: Mapping[str, int]  # reason → files

    @property
    def damaged(self) -> Mapping[str, str]:
        """Path → why the clip cannot be used."""
        sounds = self.sounds.items()
        cut_short = {path: "cut short" for path, sound in sounds if "truncated" in sound.warnings}
        return cut_short | {path: sound.error for path, sound in sounds if sound.error}

    @property
    def flagged(self) -> Mapping[str, Paths]:
        """Warning → the clips that have it."""
        paths: dict[str, Paths] = {}
        for path, sound in self.sounds.items():
            for warning in sound.warnings:
                paths[warning] = (*paths.get(warning, ()), path)
        return paths

    @property
    def seconds(self) -> float:
        """The length of all clips together."""
        return sum(sound.seconds for sound in self.sounds.values())

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of this corpus, in the order of `labels.in_order`."""
        return in_order({clip.label for clip in self.clips} | self.corpus.labels.keys())

    def counts(self, by: Callable[[Clip], str]) -> Mapping[str, Counter[str]]:
        """Clips of each label, for every value of `by`: `report.counts(lambda clip: clip.sex)`."""
        table: dict[str, Counter[str]] = defaultdict(Counter)
        for clip in self.clips:
            table[by(clip)][clip.label] += 1
        return dict(sorted(table.items()))

    @property
    def gaps(self) -> Paths:
        """What the folder lacks, in words."""
        kinds = {"missing": self.missing, "damaged": tuple(self.damaged)}
        return tuple(f"{len(names)} {kind}: {_some(names)}" for kind, names in kinds.items() if names)

    @property
    def contradictions(self) -> Paths:
        """The same sound under two speakers or two emotions, in words: no split can keep it on one side."""
        clips = {clip.path: clip for clip in self.clips}
        return tuple(
            f"the same sound as {' and '.join(paths)}"
            for paths in self.duplicates
            if len({(clips[path].speaker, clips[path].label) for path in paths}) > 1
        )

    def require_complete(self, *, allow_missing: bool = False) -> None:
        """CorpusError if clips are missing or damaged, unless allowed, or contradict each other."""
        problems = self.contradictions if allow_missing else (*self.gaps, *self.contradictions)
        if problems:
            raise CorpusError(
                f"{self.folder} is not {self.corpus.title} as {self.corpus.reference}: {'; '.join(problems)}. "
                f"{self.corpus.how_to_get.rstrip('.')}"
                + (". Or go on with --allow-missing" if self.gaps else "")
            )

    def to_dict(self) -> dict[str, Any]:
        """Everything but the clips themselves, JSON-safe."""
        return {
            "corpus": self.corpus.name,
            "folder": self.folder,
            "n_clips": len(self.clips),
            "n_clips_published": self.corpus.n_clips,
            "n_speakers": len({clip.speaker for clip in self.clips}),
            "n_speakers_published": self.corpus.n_speakers,
            "seconds": round(self.seconds, 3),
            "labels": dict(Counter(clip.label for clip in self.clips)),
            "speakers": self.counts(lambda clip: clip.speaker),
            "sexes": self.counts(lambda clip: clip.sex),
            "intensities": self.counts(intensity),
            "missing": list(self.missing),
            "extra": list(self.extra),
            "damaged": dict(self.damaged),
            "duplicates": [list(paths) for paths in self.duplicates],
            "known_duplicates": [list(paths) for paths in self.known_duplicates],
            "skipped": dict(self.skipped),
            "flagged": {warning: list(paths) for warning, paths in self.flagged.items()},
        }


def check(
    corpus: Corpus, folder: str | os.PathLike[str], *, progress: Progress | None = None
) -> CorpusReport:
    """Decode every clip in `folder` and compare it with what was published."""
    survey = corpus.survey(folder)
    sounds: dict[str, Sound] = {}
    paths = [clip.path for clip in survey.clips]
    for path, sound in zip(paths, in_threads(partial(_decode, Path(folder)), paths), strict=True):
        sounds[path] = sound
        if progress:
            progress(len(sounds), len(paths))
    duplicates, known = _duplicates(corpus, survey.clips, sounds)
    return CorpusReport(
        corpus=corpus,
        folder=str(folder),
        clips=survey.clips,
        sounds=sounds,
        missing=_missing(corpus, survey),
        extra=_extra(corpus, survey),
        duplicates=duplicates,
        known_duplicates=known,
        skipped=Counter(survey.skipped.values()),
    )


def intensity(clip: Clip) -> str:
    """How strongly the emotion is acted, as the corpus says; "unspecified" if it does not."""
    return clip.attributes.get("intensity", UNSPECIFIED)


def _decode(folder: Path, path: str) -> Sound:
    digest, n_samples = hashlib.sha256(), 0
    try:
        if is_pointer(folder / path):
            return Sound(0.0, "", (), FETCH_POINTER)
        with audio.open_audio(folder / path) as stream:
            for block in stream:
                digest.update(block.tobytes())
                n_samples += len(block)
    except (AudioError, OSError) as error:
        return Sound(0.0, "", (), str(error))
    return Sound(n_samples / audio.SAMPLE_RATE, digest.hexdigest(), stream.warnings)


def _missing(corpus: Corpus, survey: Survey) -> Paths:
    if survey.names:
        return tuple(sorted(survey.names - {corpus.name_of(clip) for clip in survey.clips}))
    here = Counter((clip.speaker, clip.label) for clip in survey.clips)
    return tuple(
        f"{speaker} {label}: {n - here[speaker, label]} of {n}"
        for (speaker, label), n in sorted(corpus.counts.items())
        if here[speaker, label] < n
    )


def _extra(corpus: Corpus, survey: Survey) -> Paths:
    names = survey.names
    unpublished = (clip.path for clip in survey.clips if names and corpus.name_of(clip) not in names)
    return tuple(sorted([*unpublished, *survey.unknown]))


def _duplicates(
    corpus: Corpus, clips: Iterable[Clip], sounds: Mapping[str, Sound]
) -> tuple[tuple[Paths, ...], tuple[Paths, ...]]:
    """Paths with the same sound: the unexpected ones, and those that were published so."""
    by_digest: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        if not sounds[clip.path].error:
            by_digest[sounds[clip.path].digest].append(clip)
    unexpected: list[Paths] = []
    known: list[Paths] = []
    for same in by_digest.values():
        if len(same) > 1:
            as_published = frozenset(map(corpus.name_of, same)) in corpus.known_duplicates
            (known if as_published else unexpected).append(tuple(clip.path for clip in same))
    return tuple(unexpected), tuple(known)


def _some(names: Paths, n_shown: int = 3) -> str:
    rest = f" and {len(names) - n_shown} more" if len(names) > n_shown else ""
    return ", ".join(names[:n_shown]) + rest
