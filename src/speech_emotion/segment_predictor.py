"""Answers for given segments. In: a recording, block by block, and its segments by start. Out: a Prediction for each.

One forward pass: every segment that is open takes the samples that pass, as if they were a recording of their own. So
the answer of a segment is that of `predict` for its samples alone, and memory holds one window per open segment.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from speech_emotion.audio import SAMPLE_RATE, AudioStream, FloatArray
from speech_emotion.errors import AudioTooShortError, ModelError
from speech_emotion.model import EmotionModel
from speech_emotion.prediction import Prediction, RunningPool
from speech_emotion.profile import SHORT_ENROLMENT, RunningProfile, SpeakerProfile
from speech_emotion.segments import Segment
from speech_emotion.stream import WindowPredictor, WindowScorer

BEYOND_END: Final = "beyond_end"
NO_PROFILE: Final = "no_profile"
# What a segment may lack at the end of a recording without a warning: times are rounded, and codecs add or cut up to a
# few frames of 26 ms.
TOLERANCE_SECONDS: Final = 0.1

Voice = tuple[str | None, str]  # a channel, None for the mix, and a speaker on it
ProfileOf = Callable[[Segment, str | None], tuple[SpeakerProfile | None, tuple[str, ...]]]  # and its warnings


def cut(blocks: Iterable[FloatArray], segments: Sequence[Segment]) -> Iterator[tuple[int, FloatArray | None]]:
    """Deal out a recording to its segments.

    Args:
        blocks: (n_samples, n_channels) each, at 16 kHz.
        segments: By start.

    Returns:
        The place of a segment with the next samples of it, and once with None: then it is over.
    """
    bounds = [(_sample(one.start_seconds), _sample(one.end_seconds)) for one in segments]
    waiting, open_ones, at = deque(range(len(segments))), list[int](), 0
    for block in blocks:
        end = at + len(block)
        while waiting and bounds[waiting[0]][0] < end:
            open_ones.append(waiting.popleft())
        for place in open_ones:
            first, last = bounds[place]
            piece = block[max(first - at, 0) : max(last - at, 0)]
            if len(piece):
                yield place, piece
            if last <= end:
                yield place, None
        open_ones = [place for place in open_ones if bounds[place][1] > end]
        at = end
    yield from ((place, None) for place in (*open_ones, *waiting))


def predict_segments(
    model: EmotionModel,
    audio: AudioStream,
    segments: Sequence[Segment],
    profile_of: ProfileOf,
) -> Iterator[tuple[Segment, Prediction]]:
    """Yield each segment with its answer, by start and then by channel, as soon as it and all before it are over.

    Args:
        model: What scores the windows.
        audio: The recording.
        segments: By start.
        profile_of: The profile for a segment on a channel, and what is to be said about it.
    """
    names = tuple(audio.warnings_of)  # of the channels; the mix is None
    open_ones: dict[int, list[_SegmentPredictor]] = {}
    answered: dict[int, list[Prediction]] = {}
    following = 0
    for place, piece in cut(_columns(audio, len(names)), segments):
        segment = segments[place]
        if place not in open_ones:
            open_ones[place] = [_SegmentPredictor(model, segment, n, profile_of(segment, n)) for n in names]
        if piece is not None:
            for predictor, samples in zip(open_ones[place], piece.T, strict=True):
                predictor.push(samples)
            continue
        of_levels = audio.warnings_of
        answered[place] = [
            one.finish(of_levels[name]) for name, one in zip(names, open_ones.pop(place), strict=True)
        ]
        while following in answered:
            yield from ((segments[following], answer) for answer in answered.pop(following))
            following += 1


def enrol_speakers(
    model: EmotionModel, audio: AudioStream, segments: Sequence[Segment]
) -> Mapping[Voice, SpeakerProfile]:
    """Return the profile of every speaker on every channel, from all windows with speech in their segments.

    Those with less speech than an enrolment needs, or whose sound is not like a voice, have none.
    """
    names = tuple(audio.warnings_of)
    open_ones: dict[int, list[WindowScorer]] = {}
    voices: defaultdict[Voice, _Enrolment] = defaultdict(lambda: _Enrolment(RunningProfile(model.info)))
    for place, piece in cut(_columns(audio, len(names)), segments):
        speaker, start = segments[place].speaker, segments[place].start_seconds
        if speaker is None:
            continue
        scorers = open_ones.setdefault(place, [WindowScorer(model) for _ in names])
        columns = [None] * len(names) if piece is None else list(piece.T)
        for name, scorer, samples in zip(names, scorers, columns, strict=True):
            for window, scores in scorer.finish() if samples is None else scorer.push(samples):
                if scores:
                    times = start + window.start_seconds, start + window.end_seconds
                    voices[name, speaker].add(scores.voice[0], *times)
        if piece is None:
            del open_ones[place]
    profiles = {voice: enrolment.finish() for voice, enrolment in voices.items()}
    return {voice: profile for voice, profile in profiles.items() if profile}


def own_profiles(profiles: Mapping[Voice, SpeakerProfile]) -> ProfileOf:
    """What gives each segment the profile of its speaker, and a warning where there is none or a short one."""

    def profile_of(segment: Segment, channel: str | None) -> tuple[SpeakerProfile | None, tuple[str, ...]]:
        profile = profiles.get((channel, segment.speaker)) if segment.speaker is not None else None
        if profile is None:
            return None, (NO_PROFILE,)
        return profile, tuple(word for word in profile.warnings if word == SHORT_ENROLMENT)

    return profile_of


class _SegmentPredictor:
    """One segment on one channel: its samples in, its answer out."""

    def __init__(
        self,
        model: EmotionModel,
        segment: Segment,
        channel: str | None,
        profile: tuple[SpeakerProfile | None, tuple[str, ...]],
    ) -> None:
        self._segment, self._channel, self._thresholds = segment, channel, model.info.thresholds
        reference, self._warnings = profile
        self._predictor, self._pool, self._n_samples = WindowPredictor(model, reference), RunningPool(), 0

    def push(self, samples: FloatArray) -> None:
        self._n_samples += len(samples)
        for prediction in self._predictor.push(samples):
            self._pool.add(prediction)

    def finish(self, of_levels: tuple[str, ...]) -> Prediction:
        for prediction in self._predictor.finish():
            self._pool.add(prediction)
        start, end = self._segment.start_seconds, self._segment.end_seconds
        is_beyond = end - start - self._n_samples / SAMPLE_RATE > TOLERANCE_SECONDS
        return replace(
            self._pool.answer(self._thresholds),
            start_seconds=start,
            end_seconds=end,
            channel=self._channel,
            warnings=(*of_levels, *((BEYOND_END,) if is_beyond else ()), *self._warnings),
        )


class _Enrolment:
    """The speech of one speaker so far; sound that several of their segments share counts once."""

    def __init__(self, running: RunningProfile) -> None:
        self._running, self._seconds, self._counted_until = running, 0.0, 0.0

    def add(self, voice: FloatArray, start_seconds: float, end_seconds: float) -> None:
        self._running.add(voice)
        self._seconds += max(end_seconds - max(start_seconds, self._counted_until), 0.0)
        self._counted_until = max(self._counted_until, end_seconds)

    def finish(self) -> SpeakerProfile | None:
        try:
            return self._running.finish(self._seconds)
        except (AudioTooShortError, ModelError):
            return None


def _sample(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)


def _columns(audio: Iterable[FloatArray], n_channels: int) -> Iterator[FloatArray]:
    """Blocks of (n_samples, n_channels), the mix as one channel."""
    return (block.reshape(len(block), n_channels) for block in audio)
