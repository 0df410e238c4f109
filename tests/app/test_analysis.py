"""From a sound to its analysis, slice by slice: the classifier's numbers, the outline, errors, constant memory."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import analysis
import numpy as np
import pytest
import sounds
from analysis import MAX_COLUMNS, RATE, Analyser, Analysis, Sound, as_wav

from speech_emotion import Classifier
from speech_emotion.audio import load


def sound(data: bytes, name: str = "voice.wav") -> Sound:
    return Sound.of(name, data, name)


def finished(analyser: Analyser) -> Analysis:
    while analyser.result is None:
        analyser.step()
    return analyser.result


def analysed(classifier: Classifier, data: bytes) -> Analysis:
    return finished(Analyser(classifier, sound(data), None))


VOICE = sounds.wav(sounds.voice(9.3, 22_050), 22_050)


def test_the_answer_is_that_of_the_classifier(classifier: Classifier) -> None:
    result = analysed(classifier, VOICE)
    assert result.answer == classifier.predict(VOICE)
    assert list(result.windows) == classifier.timeline(VOICE)
    assert (result.name, result.error) == ("voice.wav", None)
    assert result.seconds == pytest.approx(9.3, abs=0.01)


def test_the_outline_is_that_of_the_sound(classifier: Classifier) -> None:
    result = analysed(classifier, VOICE)
    samples = load(VOICE).samples
    assert result.envelope[:, 0].min() == samples.min()
    assert result.envelope[:, 1].max() == samples.max()
    assert len(result.envelope) == result.log_mel.shape[1] == -(-len(samples) // 160)
    seen = classifier.log_mel(VOICE)
    assert result.log_mel[:, 0].tolist() == seen.astype(np.float16)[:, 0].tolist()
    assert set(result.log_mel[3, :800]) <= set(seen[3].astype(np.float16))


@pytest.mark.parametrize("seconds", [2.0, 3.0, 3.2, 9.3, 31.7])
def test_the_outline_is_in_time(classifier: Classifier, seconds: float) -> None:
    """A click 0.1 s before the end is drawn there, however long the last piece is."""
    samples = sounds.voice(seconds) * 0.3
    place = len(samples) - 1_600
    samples[place : place + 80] = 1.0
    result = analysed(classifier, sounds.wav(samples))
    column = result.seconds / len(result.envelope)
    assert result.envelope[:, 1].argmax() * column == pytest.approx(place / RATE, abs=2 * column)
    assert result.log_mel.max(axis=0).argmax() * column == pytest.approx(place / RATE, abs=4 * column)


def test_a_long_sound_is_analysed_in_slices_and_keeps_a_small_outline(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysis, "SLICE_SECONDS", 0.02)
    long = np.tile(sounds.voice(10.0), 20)
    analyser = Analyser(classifier, sound(sounds.wav(long)), None)
    shares = [analyser.share_done]
    while analyser.result is None:
        analyser.step()
        shares.append(analyser.share_done)
    assert len(shares) >= 4
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (pytest.approx(0, abs=0.01), 1.0)
    assert MAX_COLUMNS / 2 <= analyser.result.log_mel.shape[1] <= MAX_COLUMNS + 1
    assert len(analyser.result.windows) == len(classifier.timeline(long, sample_rate=16_000))


def test_a_cancelled_analyser_does_not_disturb_its_successor(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run that Cancel ends may still compute its slice when Resume starts a new analyser."""
    monkeypatch.setattr(analysis, "SLICE_SECONDS", 0)
    given = sound(sounds.wav(np.tile(sounds.voice(10.0), 3)))
    cancelled, successor = Analyser(classifier, given, None), Analyser(classifier, given, None)
    while successor.result is None:
        cancelled.step()
        successor.step()
    assert successor.result.answer == classifier.predict(given.data)


def test_several_runs_of_the_page_share_one_analyser(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any click starts a new run, which continues the analyser while the old run computes its slice."""
    monkeypatch.setattr(analysis, "SLICE_SECONDS", 0.001)
    data = sounds.wav(np.tile(sounds.voice(10.0), 6))
    analyser = Analyser(classifier, sound(data), None)

    def run(_: int) -> None:
        while analyser.result is None:
            analyser.step()

    with ThreadPoolExecutor(4) as runs:
        list(runs.map(run, range(4)))
    assert analyser.result is not None
    assert list(analyser.result.windows) == classifier.timeline(data)


def test_memory_does_not_grow_with_the_length(classifier: Classifier) -> None:
    def peak(seconds: int) -> int:
        data = sound(sounds.wav(np.tile(sounds.voice(20.0), seconds // 20)))
        tracemalloc.start()
        analyser = Analyser(classifier, data, None)
        while analyser.result is None:
            analyser.step()
        _, maximum = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return maximum

    assert peak(600) < peak(120) + 2**20  # 1 MiB for 480 more windows; the samples alone would be 31


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"hello, no sound", "audio_decode"), (sounds.wav(np.zeros(0, np.float32)), "audio_too_short")],
)
def test_an_unreadable_sound_is_an_analysis_with_its_error(
    classifier: Classifier, data: bytes, code: str
) -> None:
    result = analysed(classifier, data)
    assert result.error is not None
    assert (result.error.code, result.answer, result.windows) == (code, None, ())


def test_invalid_samples_in_the_middle_are_an_error_too(classifier: Classifier) -> None:
    samples = sounds.voice(6.0)
    samples[80_000] = np.nan
    result = analysed(classifier, sounds.wav(samples, subtype="FLOAT"))
    assert result.error is not None
    assert result.error.code == "invalid_waveform"


def test_too_short_is_an_answer_without_a_picture(classifier: Classifier) -> None:
    result = analysed(classifier, sounds.wav(sounds.voice(0.3)))
    assert result.answer is not None
    assert result.answer.abstained == "too_short"
    assert (result.log_mel.size, result.envelope.shape) == (0, (0, 2))


def test_a_sound_is_identified_by_its_content(classifier: Classifier) -> None:
    one, same, other = sound(VOICE, "a.wav"), sound(VOICE, "b.wav"), sound(VOICE[:-2], "a.wav")
    assert one.sha256 == same.sha256 != other.sha256


def test_the_player_gets_what_the_model_reads() -> None:
    samples = load(VOICE).samples
    wav = as_wav(VOICE, 0, 600)
    np.testing.assert_allclose(load(wav).samples, samples, atol=2**-15)
    part = as_wav(VOICE, 2.5, 3.0)
    np.testing.assert_allclose(load(part).samples, samples[40_000:88_000], atol=2**-15)
    assert load(as_wav(VOICE, 9.0, 600)).seconds == pytest.approx(0.3, abs=0.01)
