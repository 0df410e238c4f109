"""`adapt="recording"`: the speech before a window is its profile, by channel, in files and streams alike."""

from pathlib import Path

import numpy as np
import pytest
import sounds
import standin

from speech_emotion.classifier import Classifier
from speech_emotion.errors import ConfigError, ModelError
from speech_emotion.model import EmotionModel
from speech_emotion.profile import RunningProfile, population_weight, shrunk

RATE = 16_000
VOICE = np.concatenate([sounds.voice(4, f0=120, peak=0.2), sounds.voice(4, f0=220, peak=0.8)])
N_WINDOWS = 6  # of 3 s, one per second


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> EmotionModel:
    path = tmp_path_factory.mktemp("model") / "enrols.onnx"
    path.write_bytes(standin.model_bytes(enrolment=standin.ENROLMENT))
    return EmotionModel.load(path)


def expected_profile(voices: np.ndarray) -> np.ndarray:
    mean, n_windows = voices.mean(axis=0), len(voices)
    return shrunk(mean, voices.var(axis=0), n_windows, population_weight(mean, n_windows, 10.0))


def test_the_running_profile_is_that_of_an_enrolment(model: EmotionModel) -> None:
    voices = np.random.default_rng(0).normal(0.3, 1, (40, 16)).astype(np.float32)
    running = RunningProfile(model.info)
    assert running.current() is None
    for n_heard, voice in enumerate(voices, start=1):
        running.add(voice)
        found = running.current()
        assert found is not None
        np.testing.assert_allclose(found, expected_profile(voices[:n_heard]), atol=1e-5)


def test_windows_that_overlap_more_count_less(model: EmotionModel) -> None:
    voices = np.random.default_rng(0).normal(0, 1, (10, 16)).astype(np.float32)
    whole, halves = RunningProfile(model.info), RunningProfile(model.info)
    for voice in voices:
        whole.add(voice)
        for _ in range(2):
            halves.add(voice, 0.5)
    found, expected = halves.current(), whole.current()
    assert found is not None
    assert expected is not None
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_what_no_voice_has_is_no_profile(model: EmotionModel) -> None:
    running = RunningProfile(model.info)
    for _ in range(400):
        running.add(np.full(16, 11, np.float32))
    assert running.current() is None


def test_a_window_is_scored_with_the_profile_of_those_before(model: EmotionModel) -> None:
    windows = np.stack([VOICE[start * RATE : (start + 3) * RATE] for start in range(N_WINDOWS)])
    voices = model.score(windows).voice
    answers = Classifier(model).timeline(VOICE, sample_rate=RATE, adapt="recording")
    plain = Classifier(model).timeline(VOICE, sample_rate=RATE)
    assert len(answers) == len(plain) == N_WINDOWS
    assert answers[0] == plain[0]
    for index in range(1, N_WINDOWS):
        scores = model.score(windows[index : index + 1], expected_profile(voices[:index]))
        found = list(answers[index].probabilities.values())
        np.testing.assert_allclose(found, scores.probabilities[0], atol=1e-4)
        assert max(abs(np.subtract(found, list(plain[index].probabilities.values())))) > 0.001


def test_what_is_no_speech_is_not_learned_from(judging: Classifier) -> None:
    soft = sounds.voice(4, f0=220, peak=0.03)
    loud = sounds.voice(3, peak=0.9)
    *heard, last = judging.timeline(
        np.concatenate([soft, 0 * soft, loud]), sample_rate=RATE, adapt="recording"
    )
    assert [answer.abstained for answer in heard[:2]] == ["no_speech", "no_speech"]
    first_heard = next(answer for answer in (*heard, last) if answer.probabilities)
    plain = judging.timeline(np.concatenate([soft, 0 * soft, loud]), sample_rate=RATE)
    assert first_heard in plain
    assert last not in plain


@pytest.mark.parametrize("hop_seconds", [None, 0.3])
def test_every_door_adapts_alike(tuned: Classifier, tmp_path: Path, hop_seconds: float | None) -> None:
    timeline = tuned.timeline(VOICE, sample_rate=RATE, adapt="recording", hop_seconds=hop_seconds)
    assert timeline != tuned.timeline(VOICE, sample_rate=RATE, hop_seconds=hop_seconds)
    stream = tuned.stream(sample_rate=RATE, adapt="recording", hop_seconds=hop_seconds)
    chunks = np.split(VOICE, [7, 50_000, 90_001])
    assert [answer for chunk in chunks for answer in stream.push(chunk)] + stream.finish() == timeline
    file = tmp_path / "voice.wav"
    file.write_bytes(sounds.wav(VOICE, RATE, subtype="FLOAT"))
    assert list(tuned.windows(file, adapt="recording", hop_seconds=hop_seconds)) == timeline
    if hop_seconds is None:
        assert tuned.predict(file, adapt="recording") == tuned.pool(timeline)


def test_every_recording_begins_anew(tuned: Classifier) -> None:
    first, second = (tuned.predict(VOICE, sample_rate=RATE, adapt="recording") for _ in range(2))
    assert first == second


def test_every_channel_adapts_on_its_own(tuned: Classifier) -> None:
    left, right = VOICE, VOICE[::-1]
    both = tuned.timeline(
        np.stack([left, right], axis=1), sample_rate=RATE, adapt="recording", channels="separate"
    )
    for name, alone in (("left", left), ("right", right)):
        expected = tuned.timeline(alone, sample_rate=RATE, adapt="recording")
        found = [answer for answer in both if answer.channel == name]
        assert [a.probabilities for a in found] == [a.probabilities for a in expected]


def test_a_profile_as_well_is_refused(tuned: Classifier) -> None:
    profile = tuned.enrol(sounds.voice(12), sample_rate=RATE)
    for door in (tuned.predict, tuned.timeline):
        with pytest.raises(ConfigError, match='leave out either it or adapt="recording"'):
            door(VOICE, sample_rate=RATE, profile=profile, adapt="recording")
    with pytest.raises(ConfigError, match="leave out either"):
        tuned.stream(sample_rate=RATE, profile=profile, adapt="recording")
    with pytest.raises(ConfigError, match="not 'speaker'"):
        tuned.predict(VOICE, sample_rate=RATE, adapt="speaker")  # type: ignore[call-overload]


def test_a_model_without_enrolment_says_so(classifier: Classifier) -> None:
    with pytest.raises(ModelError, match="exported without enrolment"):
        classifier.predict(VOICE, sample_rate=RATE, adapt="recording")
    with pytest.raises(ModelError, match="exported without enrolment"):
        classifier.stream(sample_rate=RATE, adapt="recording")
