"""From a sound to its analysis, slice by slice: the numbers of the classifier, channels, segments, errors, memory."""

import tracemalloc

import analysis
import numpy as np
import pytest
import sounds
from analysis import Analyser, Analysis, Job, SegmentAnalyser, Sound

from speech_emotion import Classifier, Segment
from speech_emotion.audio import load


def sound(data: bytes, name: str = "voice.wav") -> Sound:
    return Sound.of(name, data, name)


def finished(analyser: Job) -> Analysis:
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


def test_a_long_sound_is_analysed_in_slices(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert len(analyser.result.windows) == len(classifier.timeline(long, sample_rate=16_000))


def test_memory_grows_with_the_answers_and_not_with_the_samples(classifier: Classifier) -> None:
    def peak(seconds: int) -> int:
        data = sound(sounds.wav(np.tile(sounds.voice(20.0), seconds // 20)))
        tracemalloc.start()
        analyser = Analyser(classifier, data, None)
        while analyser.result is None:
            analyser.step()
        _, maximum = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return maximum

    peak(20)  # what is made once: buffers, tables
    # A second keeps 1.3 KiB of answer and 0.4 KiB of peaks, both of them twice for a moment; its samples are 64 KiB.
    assert peak(600) - peak(120) < 480 * 4 * 2**10


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


def test_a_sound_is_identified_by_its_content(classifier: Classifier) -> None:
    one, same, other = sound(VOICE, "a.wav"), sound(VOICE, "b.wav"), sound(VOICE[:-2], "a.wav")
    assert one.sha256 == same.sha256 != other.sha256


def test_a_large_sound_is_kept_for_the_player(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert analysed(classifier, VOICE).playable is None
    monkeypatch.setattr(analysis, "LARGE_BYTES", 1000)
    playable = analysed(classifier, VOICE).playable
    assert playable is not None
    samples = load(VOICE).samples
    np.testing.assert_allclose(playable.samples[:, 0] / 32767, samples, atol=2**-15)


def test_each_channel_has_the_answer_of_its_own_sound(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysis, "LARGE_BYTES", 1000)
    sides = sounds.voice(6.0), sounds.voice(6.0, f0=250)
    stereo = sound(sounds.wav(np.stack(sides, axis=1)))
    result = finished(Analyser(classifier, stereo, None, "separate"))
    assert [lane.name for lane in result.lanes] == ["left", "right"]
    for lane, side in zip(result.lanes, sides, strict=True):
        expected = classifier.timeline(sounds.wav(side))
        assert [window.channel for window in lane.windows] == [lane.name] * len(expected)
        for window, other in zip(lane.windows, expected, strict=True):
            assert window.probabilities == pytest.approx(other.probabilities, abs=1e-5)
    assert result.playable is not None
    assert result.playable.names == ("left", "right")


def test_segments_have_the_answers_of_the_classifier(classifier: Classifier) -> None:
    segments = [Segment(0.0, 3.0, "ann", "one"), Segment(3.5, 8.0, "bob", "two")]
    result = finished(SegmentAnalyser(classifier, sound(VOICE), None, segments))
    assert list(result.segments) == list(classifier.segments(VOICE, segments))
    broken = finished(SegmentAnalyser(classifier, sound(b"hello"), None, segments))
    assert broken.error is not None
    assert broken.error.code == "audio_decode"
