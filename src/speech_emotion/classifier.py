"""The object that applications use. In: any sound. Out: one Prediction, a timeline, a stream, or a speaker profile."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from typing import Literal, overload

import numpy as np

from speech_emotion.audio import AudioStream, Channels, FloatArray, Source, open_audio
from speech_emotion.audio import load as load_audio
from speech_emotion.errors import AudioTooShortError, ConfigError, SegmentsError, SpeechEmotionError
from speech_emotion.merge import merge
from speech_emotion.model import EmotionModel, ModelInfo, Scores
from speech_emotion.prediction import Prediction, pool, pool_channels
from speech_emotion.profile import RunningProfile, SpeakerProfile, require_enrolment
from speech_emotion.segment_predictor import ProfileOf, enrol_speakers, own_profiles, predict_segments
from speech_emotion.segments import Segment, in_order
from speech_emotion.stream import ChannelPredictor, EmotionStream, Reference, WindowScorer
from speech_emotion.windows import Window

Adapt = Literal["recording"]


class Classifier:
    """A loaded model. Made by `load`; threads may share one, and processes that are sent one load the same file.

    Examples:
        >>> classifier = load()
        >>> classifier.predict("hello.wav")
        Prediction(happy 0.82, 0.00–3.42 s)

    These arguments mean the same in every method:

    - `source` is a path, the bytes of a file, an open binary file, or an array (n_samples,) or
      (n_samples, n_channels) of int16, int32 or float with full scale at 1. It may also be a tensor of PyTorch,
      (n_samples,) or (n_channels, n_samples); a pair of an array and its rate in either order, as from Gradio,
      soundfile, librosa or torchaudio; or what Hugging Face datasets hold of a sound.
    - `sample_rate` is the rate of an array in Hz. A file has its own, and takes none.
    - `sample_format` says that `source` is not a file but the bytes of raw samples of one channel: "s16le", "f32le",
      "mulaw" or "alaw". They need a `sample_rate` as well.
    - `profile`, made by `enrol`, makes the answers relative to the usual voice of one speaker.
    - `adapt="recording"` makes each answer relative to the speech before it in the same recording, which acts as a
      profile. Whoever is angry throughout becomes the norm, and so does the mean of several speakers in one channel.
      Once a recording is whole, `predict(source, profile=classifier.enrol(source))` takes all of it as the norm.
    - `channels` is "mix", which scores the mean of all channels, or "separate", which scores each one, as for a call
      with the agent on the left and the customer on the right. Then each answer names its `channel`.
    """

    def __init__(self, model: EmotionModel) -> None:
        self._model = model

    @property
    def info(self) -> ModelInfo:
        """What the model file says about itself: labels, window, scores, licence and more."""
        return self._model.info

    @overload
    def predict(
        self,
        source: Source,
        *,
        sample_rate: int | None = None,
        sample_format: str | None = None,
        profile: SpeakerProfile | None = None,
        adapt: Adapt | None = None,
        track: int | None = None,
        channels: Literal["mix"] = "mix",
    ) -> Prediction: ...

    @overload
    def predict(
        self,
        source: Source,
        *,
        sample_rate: int | None = None,
        sample_format: str | None = None,
        profile: SpeakerProfile | None = None,
        adapt: Adapt | None = None,
        track: int | None = None,
        channels: Literal["separate"],
    ) -> tuple[Prediction, ...]: ...

    def predict(
        self,
        source: Source,
        *,
        sample_rate: int | None = None,
        sample_format: str | None = None,
        profile: SpeakerProfile | None = None,
        adapt: Adapt | None = None,
        track: int | None = None,
        channels: Channels = "mix",
    ) -> Prediction | tuple[Prediction, ...]:
        """Return one answer for a whole recording: its timeline, pooled. Memory use does not grow with its length.

        Args:
            source: The sound.
            sample_rate: The rate of an array or of raw samples in Hz.
            sample_format: The format of raw samples.
            profile: The speaker's profile; None for any speaker.
            adapt: "recording" for answers relative to the voice heard so far.
            track: Which audio track of a file, from 1; None for its default track.
            channels: "separate" for a tuple with the answer of each channel.

        Returns:
            A prediction from 0 s to the end of the recording, with all warnings about it.

        Raises:
            AudioError: The sound cannot be used; see `speech_emotion.errors`.
            ModelError: `profile` belongs to another model, or this one takes none.
            ConfigError: `adapt` comes with a `profile`.
        """
        with open_audio(
            source, sample_rate=sample_rate, sample_format=sample_format, track=track, channels=channels
        ) as audio:
            windows = self._predict_windows(audio, _reference(profile, adapt), channels)
            pooled = pool_channels(windows, self.info.thresholds)
            answers = tuple(replace(answer, warnings=audio.warnings_of[answer.channel]) for answer in pooled)
        return answers if channels == "separate" else answers[0]

    def timeline(
        self,
        source: Source,
        *,
        sample_rate: int | None = None,
        sample_format: str | None = None,
        profile: SpeakerProfile | None = None,
        adapt: Adapt | None = None,
        hop_seconds: float | None = None,
        track: int | None = None,
        channels: Channels = "mix",
    ) -> list[Prediction]:
        """Return one answer per window, in order. Each carries the warnings of the whole recording.

        `windows` gives the same as an iterator, in constant memory.

        Args:
            source: The sound.
            sample_rate: The rate of an array or of raw samples in Hz.
            sample_format: The format of raw samples.
            profile: The speaker's profile; None for any speaker.
            adapt: "recording" for answers relative to the voice heard so far.
            hop_seconds: The time between two answers, from 0.05 s to the model's window; None for the model's own.
            track: Which audio track of a file, from 1; None for its default track.
            channels: "separate" for the windows of every channel, by time and then by channel.

        Returns:
            At least one prediction: that of a recording too short for a window abstains with "too_short".

        Raises:
            AudioError: The sound cannot be used; see `speech_emotion.errors`.
            ModelError: `profile` belongs to another model, or this one takes none.
            ConfigError: `hop_seconds` is out of range, or `adapt` comes with a `profile`.
        """
        with open_audio(
            source, sample_rate=sample_rate, sample_format=sample_format, track=track, channels=channels
        ) as audio:
            windows = list(self._predict_windows(audio, _reference(profile, adapt), channels, hop_seconds))
            return [replace(answer, warnings=audio.warnings_of[answer.channel]) for answer in windows]

    def windows(
        self,
        source: Source,
        *,
        sample_rate: int | None = None,
        sample_format: str | None = None,
        profile: SpeakerProfile | None = None,
        adapt: Adapt | None = None,
        hop_seconds: float | None = None,
        track: int | None = None,
        channels: Channels = "mix",
    ) -> Iterator[Prediction]:
        """Yield the answers of `timeline`, each as soon as it is known. Memory does not grow with the recording.

        A window carries the warnings that are known by then; the last one of each channel carries all.

        Examples:
            >>> for answer in classifier.windows("interview.flac"):
            ...     print(answer)

        Args:
            source: The sound.
            sample_rate: The rate of an array or of raw samples in Hz.
            sample_format: The format of raw samples.
            profile: The speaker's profile; None for any speaker.
            adapt: "recording" for answers relative to the voice heard so far.
            hop_seconds: The time between two answers; None for the model's own.
            track: Which audio track of a file, from 1; None for its default track.
            channels: "separate" for the windows of every channel, by time and then by channel.

        Raises:
            AudioError: The sound cannot be used; windows before the place of an error have been yielded.
            ModelError: `profile` belongs to another model, or this one takes none.
            ConfigError: `hop_seconds` is out of range, or `adapt` comes with a `profile`.
        """
        with open_audio(
            source, sample_rate=sample_rate, sample_format=sample_format, track=track, channels=channels
        ) as audio:
            held: list[Prediction] = []  # may be the last ones, whose warnings are known at the end
            for answer in self._predict_windows(audio, _reference(profile, adapt), channels, hop_seconds):
                if held and answer.start_seconds > held[0].start_seconds:
                    yield from held
                    held = []
                held.append(replace(answer, warnings=audio.warnings_of[answer.channel]))
            yield from (replace(answer, warnings=audio.warnings_of[answer.channel]) for answer in held)

    def segments(
        self,
        source: Source,
        segments: Iterable[Segment],
        *,
        sample_rate: int | None = None,
        sample_format: str | None = None,
        profile: SpeakerProfile | Literal["per_speaker"] | None = None,
        track: int | None = None,
        channels: Channels = "mix",
    ) -> Iterator[tuple[Segment, Prediction]]:
        """Yield each given segment with its answer: that of `predict` for its samples alone.

        Memory does not grow with the recording. No segment is dropped: if it is too short, holds no speech or lies
        beyond the end, its answer says so.

        Examples:
            >>> for segment, answer in classifier.segments("call.wav", read_segments("call.json")):
            ...     print(segment.speaker, segment.text, answer)

        Args:
            source: The sound.
            segments: In any order; they may overlap.
            sample_rate: The rate of an array or of raw samples in Hz.
            sample_format: The format of raw samples.
            profile: One for all segments; None for any speaker; "per_speaker" to read the sound twice and make one
                of each speaker first. Without enough speech the answers have none, and the warning "no_profile".
            track: Which audio track of a file, from 1; None for its default track.
            channels: "separate" for an answer on every channel; then a speaker has a profile per channel.

        Returns:
            By start, then by end. The times of an answer are those of its segment.

        Raises:
            AudioError: The sound cannot be used; answers before the place of an error have been yielded.
            ModelError: `profile` belongs to another model, or this one takes none.
            SegmentsError: There are no segments, too many overlap, or with "per_speaker" none names a speaker.
        """
        ordered = in_order(segments)
        open_again = partial(
            open_audio,
            source,
            sample_rate=sample_rate,
            sample_format=sample_format,
            track=track,
            channels=channels,
        )
        profile_of = self._profiles(ordered, profile, open_again)
        with open_again() as audio:
            yield from predict_segments(self._model, audio, ordered, profile_of)

    def merge(self, windows: Iterable[Prediction]) -> Iterator[Prediction]:
        """Yield the stretches of one emotion in a timeline, speech only, each as soon as it is over.

        docs/long-recordings.md has the rule.

        Examples:
            >>> list(classifier.merge(classifier.windows("call.wav")))
            [Prediction(neutral 0.81, 0.00–12.50 s), Prediction(angry 0.64, 12.50–19.00 s)]

        Args:
            windows: The predictions of a timeline or a stream, in order.

        Returns:
            Predictions that do not overlap, each the mean over its windows. A channel without speech is one abstention.
        """
        return merge(windows, self.info.thresholds)

    def pool(self, windows: Iterable[Prediction]) -> Prediction:
        """Return one answer for the windows of a recording: what `predict` gives for it.

        Args:
            windows: The predictions of a timeline or a stream, in order.

        Returns:
            The mean of the predictions that have probabilities, or an abstention with the reason of the first window.
        """
        return pool(windows, self.info.thresholds)

    def stream(
        self,
        *,
        sample_rate: int,
        sample_format: str | None = None,
        profile: SpeakerProfile | None = None,
        adapt: Adapt | None = None,
        hop_seconds: float | None = None,
        channels: Channels = "mix",
    ) -> EmotionStream:
        """Return a stream to push live sound into.

        Args:
            sample_rate: The rate of the chunks in Hz.
            sample_format: The format of chunks that are bytes of raw samples; None for arrays.
            profile: The speaker's profile; None for any speaker.
            adapt: "recording" for answers relative to the voice heard so far.
            hop_seconds: The time between two answers, from 0.05 s to the model's window; None for the model's own.
            channels: "separate" for an answer per window of every channel.

        Returns:
            A stream of its own state; the classifier can serve several at once.

        Raises:
            AudioError: `sample_rate` cannot be used.
            ModelError: `profile` belongs to another model, or this one takes none.
            ConfigError: `hop_seconds` is out of range, there is no such `sample_format`, or `adapt` comes with a
                `profile`.
        """
        reference = _reference(profile, adapt)
        return EmotionStream(self._model, sample_rate, sample_format, reference, hop_seconds, channels)

    def enrol(
        self, *sources: Source, sample_rate: int | None = None, sample_format: str | None = None
    ) -> SpeakerProfile:
        """Return the profile of a speaker, from 30 to 60 s of any speech of theirs; no emotion has to be named.

        Record it with the microphone and in the room that will be used later. If the speaker sounds angry throughout,
        their anger will later read as neutral.

        Args:
            *sources: Recordings of the same speaker.
            sample_rate: The rate of arrays or of raw samples in Hz.
            sample_format: The format of raw samples.

        Returns:
            A profile for this model only. It warns of a short enrolment and of what is wrong with the recordings.

        Raises:
            AudioTooShortError: There is less speech than `info.enrolment.min_seconds`.
            AudioError: A recording cannot be used; see `speech_emotion.errors`.
            ModelError: The model takes no profiles.
        """
        running = RunningProfile(self.info)
        warnings: list[str] = []
        seconds = 0.0
        for source in sources:
            with (
                _named(source),
                open_audio(source, sample_rate=sample_rate, sample_format=sample_format) as audio,
            ):
                counted_until = 0.0
                for window, scores in self._speech_windows(audio):
                    running.add(scores.voice[0])
                    seconds += window.end_seconds - max(window.start_seconds, counted_until)
                    counted_until = window.end_seconds
                warnings += audio.warnings
        return running.finish(seconds, warnings)

    def embed(
        self, source: Source, *, sample_rate: int | None = None, sample_format: str | None = None
    ) -> FloatArray:
        """Return the features that the model's head for enrolled voices reads: its output `voice`.

        They are the embedding of the network, then mean and deviation of each mel band over time. In each of them 0
        is the mean of the training speakers, and 1 the deviation within one. A window has 3488 in the model compact.

        Examples:
            >>> classifier.embed("hello.wav").mean(axis=0)  # one vector for the recording

        Args:
            source: The sound.
            sample_rate: The rate of an array or of raw samples in Hz.
            sample_format: The format of raw samples.

        Returns:
            (n_windows, n_features), where n_features is `info.enrolment.n_features`. The windows are those of
            `timeline` that hold speech: none in silence.

        Raises:
            AudioError: The sound cannot be used; see `speech_emotion.errors`.
            ModelError: The model has no such output: it was exported without enrolment.
        """
        n_features = require_enrolment(self.info).n_features
        with open_audio(source, sample_rate=sample_rate, sample_format=sample_format) as audio:
            voices = [scores.voice for _, scores in self._speech_windows(audio)]
        return np.concatenate([np.zeros((0, n_features), np.float32), *voices])

    def log_mel(
        self, source: Source, *, sample_rate: int | None = None, sample_format: str | None = None
    ) -> FloatArray:
        """Return the spectrogram that the model sees, for pictures. Holds all of `source` in memory.

        Args:
            source: The sound.
            sample_rate: The rate of an array or of raw samples in Hz.
            sample_format: The format of raw samples.

        Returns:
            (n_mels, n_frames), the natural logarithm of mel power. The windows do not overlap here. An end shorter
            than `info.min_seconds` is left out.

        Raises:
            AudioTooShortError: The recording is shorter than `info.min_seconds`.
            AudioError: The sound cannot be used; see `speech_emotion.errors`.
        """
        samples = load_audio(source, sample_rate=sample_rate, sample_format=sample_format).samples
        step, minimum = self.info.window_samples, self.info.min_samples
        windows = [samples[start : start + step] for start in range(0, len(samples), step)]
        frames = [self._model.score(window[None]).log_mel[0] for window in windows if len(window) >= minimum]
        if not frames:
            raise AudioTooShortError(
                f"this has {len(samples) / self.info.sample_rate:.2f} s of sound; the model {self.info.name} needs "
                f"{self.info.min_seconds:g} s. Pass a longer recording"
            )
        return np.concatenate(frames, axis=1)

    def _speech_windows(self, audio: AudioStream) -> Iterator[tuple[Window, Scores]]:
        """The windows of `audio` with speech, and their scores."""
        scorer = WindowScorer(self._model)
        for block in audio:
            yield from ((window, scores) for window, scores in scorer.push(block) if scores)
        yield from ((window, scores) for window, scores in scorer.finish() if scores)

    def _profiles(
        self,
        segments: list[Segment],
        profile: SpeakerProfile | Literal["per_speaker"] | None,
        open_again: Callable[[], AudioStream],
    ) -> ProfileOf:
        """What gives each segment its profile; with "per_speaker" after a pass over the sound."""
        if profile is None or isinstance(profile, SpeakerProfile):
            return lambda *_: (profile, ())
        if profile != "per_speaker":
            raise ConfigError(f'profile is a SpeakerProfile, "per_speaker" or None, not {profile!r:.40}')
        require_enrolment(self.info)
        if all(segment.speaker is None for segment in segments):
            raise SegmentsError(
                "these segments name no speakers, who could have a profile each; leave the profiles out, "
                "or give segments with speakers"
            )
        with open_again() as audio:
            return own_profiles(enrol_speakers(self._model, audio, segments))

    def _predict_windows(
        self,
        audio: AudioStream,
        profile: Reference,
        channels: Channels,
        hop_seconds: float | None = None,
    ) -> Iterator[Prediction]:
        n_channels = audio.n_channels if channels == "separate" else None
        predictor = ChannelPredictor(self._model, n_channels, profile, hop_seconds)
        for block in audio:
            yield from predictor.push(block)
        yield from predictor.finish()


def _reference(profile: SpeakerProfile | None, adapt: Adapt | None) -> Reference:
    if adapt not in (None, "recording"):
        raise ConfigError(f'adapt is "recording" or None, not {adapt!r}')
    if adapt and profile:
        raise ConfigError(
            'with a profile, answers are relative to it; leave out either it or adapt="recording"'
        )
    return adapt or profile


@contextmanager
def _named(source: Source) -> Iterator[None]:
    """Name the file in an error about it: with several files it would not be clear which one it is."""
    try:
        yield
    except SpeechEmotionError as error:
        if isinstance(source, str | os.PathLike) and (name := os.fsdecode(source)) not in str(error):
            raise type(error)(f"{name}: {error}") from error
        raise


def load(model: str | os.PathLike[str] | None = None) -> Classifier:
    """Load a model.

    Examples:
        >>> classifier = load("compact")
        >>> classifier = load("mine.onnx")
        >>> classifier.info.labels
        ('neutral', 'calm', 'happy', 'sad', 'angry', 'fearful', 'disgust', 'surprised')

    Args:
        model: The name of a shipped model, which `speech-emotion info` lists, or the path of an .onnx made by
            `speech-emotion export`; None for the default model. Text without a folder and without .onnx is a name.

    Returns:
        A classifier, ready to be used.

    Raises:
        ModelNotFoundError: There is no such file, or no shipped model of that name.
        ModelFormatError: The file is not a model of this package, or has another format version.
        ModelIntegrityError: The file is damaged.
    """
    return Classifier(EmotionModel.load(model))


@overload
def predict(
    source: Source,
    *,
    sample_rate: int | None = None,
    sample_format: str | None = None,
    profile: SpeakerProfile | None = None,
    adapt: Adapt | None = None,
    track: int | None = None,
    channels: Literal["mix"] = "mix",
) -> Prediction: ...


@overload
def predict(
    source: Source,
    *,
    sample_rate: int | None = None,
    sample_format: str | None = None,
    profile: SpeakerProfile | None = None,
    adapt: Adapt | None = None,
    track: int | None = None,
    channels: Literal["separate"],
) -> tuple[Prediction, ...]: ...


def predict(
    source: Source,
    *,
    sample_rate: int | None = None,
    sample_format: str | None = None,
    profile: SpeakerProfile | None = None,
    adapt: Adapt | None = None,
    track: int | None = None,
    channels: Channels = "mix",
) -> Prediction | tuple[Prediction, ...]:
    """Return the emotion that a recording expresses, from the default model, which is loaded once and kept.

    Examples:
        >>> predict("hello.wav")
        Prediction(happy 0.82, 0.00–3.42 s)
        >>> predict(samples, sample_rate=48_000).label
        'happy'
        >>> predict(payload, sample_rate=8_000, sample_format="mulaw").label
        'happy'
        >>> predict("call.wav", channels="separate")
        (Prediction(left: neutral 0.95, 0.00–28.00 s), Prediction(right: angry 0.99, 0.00–28.00 s))

    Args:
        source: A path, the bytes of a file, an open binary file, an array (n_samples,) or (n_samples, n_channels) of
            int16, int32 or float with full scale at 1, or another form that `Classifier` names.
        sample_rate: The rate of an array or of raw samples in Hz. A file has its own.
        sample_format: "s16le", "f32le", "mulaw" or "alaw" if `source` is the bytes of raw samples.
        profile: The speaker's profile; None for any speaker.
        adapt: "recording" for answers relative to the voice heard so far; its limits are in `Classifier`.
        track: Which audio track of a file, from 1; None for its default track.
        channels: "separate" for a tuple with the answer of each channel, "mix" for one answer to their mean.

    Returns:
        One answer for the whole recording, or an abstention with its reason.

    Raises:
        AudioError: The sound cannot be used; see `speech_emotion.errors`.
        ModelError: `profile` belongs to another model.
        ConfigError: `adapt` comes with a `profile`.
    """
    ask: Callable[..., Prediction | tuple[Prediction, ...]] = _default().predict  # has an answer to either
    return ask(
        source,
        sample_rate=sample_rate,
        sample_format=sample_format,
        profile=profile,
        adapt=adapt,
        track=track,
        channels=channels,
    )


@cache
def _default() -> Classifier:
    return load()
