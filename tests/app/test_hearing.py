"""From a sound to its hearing, slice by slice: the numbers of the classifier, an outline, errors, flat memory."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import hearing as hearing_module
import numpy as np
import pytest
import sounds
from hearing import MOST_COLUMNS, RATE, Analysis, Hearing, Sound, as_wav

from speech_emotion import Classifier
from speech_emotion.audio import load


def sound(data: bytes, name: str = "voice.wav") -> Sound:
    return Sound.of(name, data, name)


def heard(classifier: Classifier, data: bytes) -> Hearing:
    analysis = Analysis(classifier, sound(data), None)
    while analysis.hearing is None:
        analysis.step()
    return analysis.hearing


VOICE = sounds.wav(sounds.voice(9.3, 22_050), 22_050)


def test_the_answer_is_that_of_the_classifier(classifier: Classifier) -> None:
    hearing = heard(classifier, VOICE)
    assert hearing.answer == classifier.predict(VOICE)
    assert list(hearing.windows) == classifier.timeline(VOICE)
    assert (hearing.name, hearing.error) == ("voice.wav", None)
    assert hearing.seconds == pytest.approx(9.3, abs=0.01)


def test_the_outline_is_that_of_the_sound(classifier: Classifier) -> None:
    hearing = heard(classifier, VOICE)
    samples = load(VOICE).samples
    assert hearing.envelope[:, 0].min() == samples.min()
    assert hearing.envelope[:, 1].max() == samples.max()
    assert len(hearing.envelope) == hearing.log_mel.shape[1] == -(-len(samples) // 160)
    seen = classifier.log_mel(VOICE)
    assert hearing.log_mel[:, 0].tolist() == seen.astype(np.float16)[:, 0].tolist()
    assert set(hearing.log_mel[3, :800]) <= set(seen[3].astype(np.float16))


@pytest.mark.parametrize("seconds", [2.0, 3.0, 3.2, 9.3, 31.7])
def test_the_outline_is_at_its_time(classifier: Classifier, seconds: float) -> None:
    """A click 0.1 s before the end, however long the last piece is: where it is heard, it is drawn."""
    samples = sounds.voice(seconds) * 0.3
    place = len(samples) - 1_600
    samples[place : place + 80] = 1.0
    hearing = heard(classifier, sounds.wav(samples))
    column = hearing.seconds / len(hearing.envelope)
    assert hearing.envelope[:, 1].argmax() * column == pytest.approx(place / RATE, abs=2 * column)
    assert hearing.log_mel.max(axis=0).argmax() * column == pytest.approx(place / RATE, abs=4 * column)


def test_a_long_sound_is_worked_out_in_slices_and_keeps_a_small_outline(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing_module, "SLICE_SECONDS", 0.02)
    long = np.tile(sounds.voice(10.0), 20)
    analysis = Analysis(classifier, sound(sounds.wav(long)), None)
    shares = [analysis.share_done]
    while analysis.hearing is None:
        analysis.step()
        shares.append(analysis.share_done)
    assert len(shares) >= 4
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (pytest.approx(0, abs=0.01), 1.0)
    assert MOST_COLUMNS / 2 <= analysis.hearing.log_mel.shape[1] <= MOST_COLUMNS + 1
    assert len(analysis.hearing.windows) == len(classifier.timeline(long, sample_rate=16_000))


def test_what_was_cancelled_and_works_on_does_not_disturb_its_successor(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run of the page that Cancel ends is at its slice still when Go on begins anew."""
    monkeypatch.setattr(hearing_module, "SLICE_SECONDS", 0)
    given = sound(sounds.wav(np.tile(sounds.voice(10.0), 3)))
    cancelled, successor = Analysis(classifier, given, None), Analysis(classifier, given, None)
    while successor.hearing is None:
        cancelled.step()
        successor.step()
    assert successor.hearing.answer == classifier.predict(given.data)


def test_two_runs_of_the_page_work_at_one_sound_one_after_the_other(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any press starts a new run, which goes on with the same analysis while the old one is at its slice."""
    monkeypatch.setattr(hearing_module, "SLICE_SECONDS", 0.001)
    data = sounds.wav(np.tile(sounds.voice(10.0), 6))
    analysis = Analysis(classifier, sound(data), None)

    def run(_: int) -> None:
        while analysis.hearing is None:
            analysis.step()

    with ThreadPoolExecutor(4) as runs:
        list(runs.map(run, range(4)))
    assert analysis.hearing is not None
    assert list(analysis.hearing.windows) == classifier.timeline(data)


def test_memory_does_not_grow_with_the_length(classifier: Classifier) -> None:
    def peak(seconds: int) -> int:
        data = sound(sounds.wav(np.tile(sounds.voice(20.0), seconds // 20)))
        tracemalloc.start()
        analysis = Analysis(classifier, data, None)
        while analysis.hearing is None:
            analysis.step()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(600) < peak(120) + 2**20  # 1 MiB for 480 more windows; the samples alone would be 31


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"hello, no sound", "audio_decode"), (sounds.wav(np.zeros(0, np.float32)), "audio_too_short")],
)
def test_what_cannot_be_heard_is_a_hearing_with_its_error(
    classifier: Classifier, data: bytes, code: str
) -> None:
    hearing = heard(classifier, data)
    assert hearing.error is not None
    assert (hearing.error.code, hearing.answer, hearing.windows) == (code, None, ())


def test_damage_in_the_middle_of_samples_is_an_error_too(classifier: Classifier) -> None:
    samples = sounds.voice(6.0)
    samples[80_000] = np.nan
    hearing = heard(classifier, sounds.wav(samples, subtype="FLOAT"))
    assert hearing.error is not None
    assert hearing.error.code == "invalid_waveform"


def test_too_short_is_an_answer_without_a_picture(classifier: Classifier) -> None:
    hearing = heard(classifier, sounds.wav(sounds.voice(0.3)))
    assert hearing.answer is not None
    assert hearing.answer.abstained == "too_short"
    assert (hearing.log_mel.size, hearing.envelope.shape) == (0, (0, 2))


def test_a_sound_is_known_by_its_content(classifier: Classifier) -> None:
    one, same, other = sound(VOICE, "a.wav"), sound(VOICE, "b.wav"), sound(VOICE[:-2], "a.wav")
    assert one.sha256 == same.sha256 != other.sha256


def test_for_playing_it_is_what_the_model_heard() -> None:
    heard_samples = load(VOICE).samples
    wav = as_wav(VOICE, 0, 600)
    np.testing.assert_allclose(load(wav).samples, heard_samples, atol=2**-15)
    part = as_wav(VOICE, 2.5, 3.0)
    np.testing.assert_allclose(load(part).samples, heard_samples[40_000:88_000], atol=2**-15)
    assert load(as_wav(VOICE, 9.0, 600)).seconds == pytest.approx(0.3, abs=0.01)
