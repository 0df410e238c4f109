"""Sound as it comes: every chunking gives the same answers, at the right moment."""

import numpy as np
import pytest
import sounds
from hypothesis import given, settings
from hypothesis import strategies as st

from speech_emotion.classifier import Classifier
from speech_emotion.errors import AudioTooLargeError, ConfigError, InvalidWaveformError, SpeechEmotionError
from speech_emotion.model import EmotionModel, Scores
from speech_emotion.prediction import Prediction

RATE = 44_100
VOICE = sounds.voice(6.4, RATE)


def streamed(
    classifier: Classifier, *chunks: np.ndarray, hop_seconds: float | None = None
) -> list[Prediction]:
    stream = classifier.stream(sample_rate=RATE, hop_seconds=hop_seconds)
    return [prediction for chunk in chunks for prediction in stream.push(chunk)] + stream.finish()


@settings(max_examples=20)
@given(cuts=st.lists(st.integers(0, len(VOICE)), max_size=12))
def test_any_chunking_gives_the_timeline_bit_for_bit(classifier: Classifier, cuts: list[int]) -> None:
    expected = classifier.timeline(VOICE, sample_rate=RATE)
    assert len(expected) == 5
    assert streamed(classifier, *np.split(VOICE, sorted(cuts))) == expected


@settings(max_examples=10)
@given(cuts=st.lists(st.integers(0, len(VOICE)), max_size=6), hop=st.floats(0.05, 3.0))
def test_any_hop_gives_the_timeline_of_that_hop(classifier: Classifier, cuts: list[int], hop: float) -> None:
    expected = classifier.timeline(VOICE, sample_rate=RATE, hop_seconds=hop)
    n_full = 1 + int((102_400 - 48_000) // round(hop * 16_000))
    assert len(expected) - n_full in (0, 1)  # the last window moves back to end with the sound
    starts = [round(answer.start_seconds * 16_000) for answer in expected[:n_full]]
    assert starts == [index * round(hop * 16_000) for index in range(n_full)]
    assert streamed(classifier, *np.split(VOICE, sorted(cuts)), hop_seconds=hop) == expected


def test_the_hop_changes_how_often_not_what_is_answered(classifier: Classifier) -> None:
    own = streamed(classifier, VOICE)
    assert streamed(classifier, VOICE, hop_seconds=1.0) == own  # the stand-in's own pace
    often = streamed(classifier, VOICE, hop_seconds=0.5)
    assert [answer.start_seconds for answer in often[:4]] == [0.0, 0.5, 1.0, 1.5]
    assert often[0::2][:4] == own[:4]


@pytest.mark.parametrize("hop", [0, 0.049, 3.001, -1, float("nan"), float("inf"), "0.5", True])
def test_an_impossible_hop_is_refused_with_a_next_step(classifier: Classifier, hop: float) -> None:
    message = r"0\.05 to 3 s.*Pass for example 0\.5, or leave it out for the model's 1 s"
    with pytest.raises(ConfigError, match=message):
        classifier.stream(sample_rate=RATE, hop_seconds=hop)
    with pytest.raises(ConfigError, match=message):
        classifier.timeline(VOICE, sample_rate=RATE, hop_seconds=hop)


def test_an_answer_comes_as_soon_as_its_window_is_full(classifier: Classifier) -> None:
    stream = classifier.stream(sample_rate=16_000)
    voice = sounds.voice(4.5)
    assert stream.push(voice[:47_999]) == []
    (first,) = stream.push(voice[47_999:48_000])
    assert (first.start_seconds, first.end_seconds) == (0.0, 3.0)
    (second,) = stream.push(voice[48_000:])
    assert (second.start_seconds, second.end_seconds) == (1.0, 4.0)
    (last,) = stream.finish()
    assert (last.start_seconds, last.end_seconds) == (1.5, 4.5)


def test_integers_and_channels(classifier: Classifier) -> None:
    integers = (VOICE * 32_767).astype(np.int16)
    stereo = np.stack([integers, integers], axis=1)
    (mono_answer, *_), (stereo_answer, *_) = streamed(classifier, integers), streamed(classifier, stereo)
    (float_answer, *_) = streamed(classifier, integers.astype(np.float32) / 32_768)
    assert mono_answer == float_answer
    for label, probability in mono_answer.probabilities.items():
        assert stereo_answer.probabilities[label] == pytest.approx(probability, abs=1e-6)


def test_silence_abstains_window_by_window(classifier: Classifier) -> None:
    answers = streamed(classifier, np.zeros(4 * RATE))
    assert [(a.abstained, a.start_seconds, dict(a.probabilities)) for a in answers] == [
        ("no_speech", 0.0, {}),
        ("no_speech", 1.0, {}),
    ]


LOUD, SOFT = 0.9, 0.03  # peaks


def test_a_model_that_judges_speech_is_believed(judging: Classifier) -> None:
    noise = np.random.default_rng(0).normal(0, 0.2, 3 * 16_000).astype(np.float32)
    for sound, is_heard in [
        (sounds.voice(3, peak=LOUD), True),
        (noise, True),
        (sounds.voice(3, peak=SOFT), False),
        (np.zeros(3 * 16_000, np.float32), False),
    ]:
        (answer,) = judging.timeline(sound, sample_rate=16_000)
        assert (answer.abstained, len(answer.probabilities)) == ((None, 8) if is_heard else ("no_speech", 0))


def test_silence_is_not_shown_to_a_model_that_judges(
    judging: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[int] = []
    score = EmotionModel.score

    def remember(self: EmotionModel, batch: np.ndarray, profile: np.ndarray | None = None) -> Scores:
        shown.append(len(batch))
        return score(self, batch, profile)

    monkeypatch.setattr(EmotionModel, "score", remember)
    judging.timeline(np.zeros(5 * 16_000), sample_rate=16_000)
    assert shown == []
    judging.timeline(sounds.voice(5, peak=SOFT), sample_rate=16_000)
    assert shown == [1, 1, 1]


@settings(max_examples=10)
@given(cuts=st.lists(st.integers(0, len(VOICE)), max_size=12))
def test_what_the_model_judges_does_not_depend_on_the_chunks(judging: Classifier, cuts: list[int]) -> None:
    levels = np.where(np.arange(len(VOICE)) < len(VOICE) / 2, 1, SOFT)
    fading = (VOICE * levels).astype(np.float32)
    expected = judging.timeline(fading, sample_rate=RATE)
    assert {answer.abstained for answer in expected} == {None, "no_speech"}
    assert streamed(judging, *np.split(fading, sorted(cuts))) == expected


def test_too_little_is_one_abstention(classifier: Classifier) -> None:
    assert streamed(classifier) == [Prediction({}, 0.0, 0.0, abstained="too_short")]
    (answer,) = streamed(classifier, VOICE[: RATE // 5])
    assert (answer.abstained, answer.start_seconds) == ("too_short", 0.0)
    assert answer.end_seconds == pytest.approx(0.2, abs=1e-4)


def test_warnings_are_about_what_was_pushed_so_far(classifier: Classifier) -> None:
    stream = classifier.stream(sample_rate=RATE)
    stream.push(np.clip(VOICE * 20, -1, 1))
    assert stream.warnings == ("clipped",)


def test_a_finished_stream_takes_no_more(classifier: Classifier) -> None:
    stream = classifier.stream(sample_rate=RATE)
    stream.finish()
    for more in (lambda: stream.push(VOICE), stream.finish):
        with pytest.raises(SpeechEmotionError, match=r"finished; start another with classifier\.stream"):
            more()


def test_a_chunk_that_is_refused_settles_nothing(classifier: Classifier) -> None:
    stream = classifier.stream(sample_rate=RATE)
    with pytest.raises(InvalidWaveformError):
        stream.push(np.zeros(10, np.int64))
    stereo = np.stack([VOICE, VOICE], axis=1)
    assert stream.push(stereo) + stream.finish() == classifier.timeline(VOICE, sample_rate=RATE)


def test_what_is_no_sound_is_refused(classifier: Classifier) -> None:
    with pytest.raises(InvalidWaveformError, match="above 0"):
        classifier.stream(sample_rate=0)
    with pytest.raises(AudioTooLargeError, match="sample rate"):
        classifier.stream(sample_rate=1)
    stream = classifier.stream(sample_rate=RATE)
    stream.push(VOICE[:100])
    for chunk in (np.full(100, np.nan), np.zeros((10, 2)), np.zeros((2, 3, 4)), np.array(["a"])):
        with pytest.raises(InvalidWaveformError):
            stream.push(chunk)


def test_chunks_in_the_forms_of_other_libraries(classifier: Classifier) -> None:
    expected = streamed(classifier, VOICE)
    assert streamed(classifier, *[(RATE, chunk) for chunk in np.array_split(VOICE, 9)]) == expected
    with pytest.raises(InvalidWaveformError, match="this stream has 44100 Hz, not 48000; open another one"):
        classifier.stream(sample_rate=RATE).push((48_000, VOICE))


def test_raw_chunks_are_whole_samples_of_a_known_format(classifier: Classifier) -> None:
    with pytest.raises(ConfigError, match="one of f32le, s16le, mulaw, alaw, not 'ulaw'"):
        classifier.stream(sample_rate=8_000, sample_format="ulaw")
    stream = classifier.stream(sample_rate=8_000, sample_format="s16le")
    for chunk in (b"\0" * 3, VOICE):
        with pytest.raises(InvalidWaveformError):
            stream.push(chunk)
    assert stream.push(b"\0\0" * 100) == []  # and the stream goes on
