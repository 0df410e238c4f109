"""The object people hold: every kind of source, one answer or many, and what it says when there is none."""

import copy
import io
import multiprocessing
import pickle
import shutil
import tracemalloc
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import sounds
import standin

import speech_emotion as ser
from speech_emotion import classifier as module
from speech_emotion.classifier import Classifier
from speech_emotion.errors import (
    AudioDecodeError,
    AudioNotFoundError,
    InvalidWaveformError,
    ModelError,
    ModelIntegrityError,
    ModelNotFoundError,
)
from speech_emotion.labels import EMOTIONS
from speech_emotion.model import EmotionModel
from speech_emotion.prediction import Prediction, pool
from speech_emotion.shipped import ShippedModel

RATE = 48_000
VOICE = sounds.voice(5.25, RATE)


def test_one_answer_for_a_recording(classifier: Classifier) -> None:
    prediction = classifier.predict(VOICE, sample_rate=RATE)
    assert tuple(prediction.probabilities) == EMOTIONS
    assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-6)
    assert (prediction.start_seconds, prediction.end_seconds) == (0.0, 5.25)
    assert (prediction.abstained, prediction.warnings) == (None, ())


def test_it_answers_what_the_model_gave(classifier: Classifier) -> None:
    high = classifier.predict(sounds.voice(4, f0=260), sample_rate=16_000)
    low = classifier.predict(sounds.voice(4, f0=90), sample_rate=16_000)
    assert max(abs(high.probabilities[label] - low.probabilities[label]) for label in EMOTIONS) > 0.01


def test_a_timeline_and_its_mean(classifier: Classifier) -> None:
    timeline = classifier.timeline(VOICE, sample_rate=RATE)
    assert [(p.start_seconds, p.end_seconds) for p in timeline] == [
        (0.0, 3.0),
        (1.0, 4.0),
        (2.0, 5.0),
        (2.25, 5.25),
    ]
    prediction = classifier.predict(VOICE, sample_rate=RATE)
    assert prediction == pool(timeline)
    happy = [p.probabilities["happy"] for p in timeline]
    assert prediction.probabilities["happy"] == pytest.approx(np.mean(happy), abs=1e-12)


def test_windows_without_speech_take_no_part(classifier: Classifier) -> None:
    voice = sounds.voice(3)
    recording = np.concatenate([voice, np.zeros(6 * 16_000, np.float32)])
    timeline = classifier.timeline(recording, sample_rate=16_000)
    assert timeline[0] == classifier.timeline(voice, sample_rate=16_000)[0]
    assert [p.abstained for p in timeline[3:]] == ["no_speech"] * 4
    spoken = [p for p in timeline if not p.abstained]
    prediction = classifier.predict(recording, sample_rate=16_000)
    assert prediction.probabilities == pool(spoken).probabilities
    assert (prediction.start_seconds, prediction.end_seconds) == (0.0, 9.0)


@pytest.mark.parametrize("seconds", [0.6, 3.0, 7.5])
def test_silence_is_no_answer(classifier: Classifier, seconds: float) -> None:
    prediction = classifier.predict(np.zeros(round(seconds * 16_000)), sample_rate=16_000)
    assert prediction == Prediction({}, 0.0, seconds, abstained="no_speech", warnings=("quiet",))


def test_too_short_is_no_answer(classifier: Classifier) -> None:
    for n_samples in (1, 160, 7_999):
        prediction = classifier.predict(VOICE[:n_samples], sample_rate=16_000)
        assert (prediction.abstained, prediction.end_seconds) == ("too_short", n_samples / 16_000)
        assert [prediction] == classifier.timeline(VOICE[:n_samples], sample_rate=16_000)
    assert classifier.predict(VOICE[:8_000], sample_rate=16_000).abstained != "too_short"


def test_a_short_recording_is_one_short_window(classifier: Classifier) -> None:
    voice = sounds.voice(2.2)
    (window,) = classifier.timeline(voice, sample_rate=16_000)
    assert (window.start_seconds, window.end_seconds, window.abstained) == (0.0, 2.2, None)
    assert classifier.predict(voice, sample_rate=16_000) == window


def test_warnings_of_the_recording_stand_on_every_window(classifier: Classifier) -> None:
    clipped = np.clip(VOICE * 20, -1, 1)
    assert classifier.predict(clipped, sample_rate=RATE).warnings == ("clipped",)
    assert {p.warnings for p in classifier.timeline(clipped, sample_rate=RATE)} == {("clipped",)}


def test_what_is_no_sound_says_so(classifier: Classifier, tmp_path: Path) -> None:
    for answer in (classifier.predict, classifier.timeline):
        with pytest.raises(AudioNotFoundError, match=r"none\.wav"):
            answer(tmp_path / "none.wav")
        with pytest.raises(AudioDecodeError):
            answer(b"hello, this is text")
        with pytest.raises(InvalidWaveformError, match="needs its rate"):
            answer(VOICE)
        with pytest.raises(InvalidWaveformError, match=r"1\.000 s"):
            answer(np.append(VOICE[:RATE], np.nan), sample_rate=RATE)


def test_files_are_closed_even_after_an_error(classifier: Classifier, tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    path.write_bytes(sounds.wav(VOICE, RATE, subtype="FLOAT")[:-40_000])
    classifier.predict(path)  # pytest turns a forgotten file into an error
    file = io.BytesIO(sounds.wav(VOICE, RATE))
    classifier.predict(file)
    assert not file.closed


def test_threads_share_one_classifier(classifier: Classifier) -> None:
    clips = [sounds.voice(3.3, f0=f0) for f0 in (90, 120, 150, 180, 210, 240)]
    alone = [classifier.predict(clip, sample_rate=16_000) for clip in clips]
    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(lambda clip: classifier.predict(clip, sample_rate=16_000), clips)) == alone


def test_another_process_gives_the_same_numbers(classifier: Classifier) -> None:
    expected = classifier.predict(VOICE, sample_rate=RATE)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as processes:
        assert processes.submit(classifier.predict, VOICE, sample_rate=RATE).result() == expected


def test_a_classifier_is_pickled_by_its_file(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.onnx"
    shutil.copy(model_path, path)
    monkeypatch.chdir(tmp_path)
    classifier = ser.load("mine.onnx")
    data = pickle.dumps(classifier)
    assert len(data) < 1_000
    monkeypatch.chdir("/")
    again = pickle.loads(data)  # noqa: S301
    assert again.info == classifier.info
    assert again.predict(VOICE, sample_rate=RATE) == classifier.predict(VOICE, sample_rate=RATE)
    assert pickle.loads(data)._model is again._model  # noqa: S301
    assert copy.deepcopy(classifier).info == classifier.info


def test_a_pickled_classifier_whose_file_has_changed(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.onnx"
    shutil.copy(model_path, path)
    data = pickle.dumps(ser.load(path))
    path.write_bytes(standin.model_bytes(name="another"))
    with pytest.raises(ModelIntegrityError, match=r"mine\.onnx' is no longer the model that was pickled"):
        pickle.loads(data)  # noqa: S301
    path.unlink()
    with pytest.raises(ModelNotFoundError):
        pickle.loads(data)  # noqa: S301


def test_a_shipped_classifier_is_pickled_by_its_name(two_models: list[ShippedModel]) -> None:
    for model, chosen in zip(two_models, (None, "second"), strict=True):
        classifier = ser.load(chosen)
        data = pickle.dumps(classifier)
        assert b".onnx" not in data
        assert pickle.loads(data).info == classifier.info  # noqa: S301
        assert classifier.info.name == model.name


def test_the_embedding_of_each_window_with_speech(tuned: Classifier, judging: Classifier) -> None:
    followed = np.concatenate([sounds.voice(5.0), np.zeros(4 * 16_000, np.float32)])
    embedding = tuned.embed(followed, sample_rate=16_000)
    spoken = [window for window in tuned.timeline(followed, sample_rate=16_000) if window.probabilities]
    assert (embedding.shape, embedding.dtype) == ((len(spoken), standin.N_BANDS), np.float32)
    for row, window in zip(embedding, spoken, strict=True):
        piece = followed[round(window.start_seconds * 16_000) : round(window.end_seconds * 16_000)]
        np.testing.assert_array_equal(row, tuned.embed(piece, sample_rate=16_000)[0])
        np.testing.assert_array_equal(row, tuned._model.score(piece[None]).voice[0])
    soft = sounds.voice(5.0, peak=0.03)
    assert judging.embed(soft, sample_rate=16_000).shape == (0, standin.N_BANDS)


def test_where_there_is_no_speech_there_is_no_embedding(tuned: Classifier) -> None:
    for n_samples in (100, 64_000):
        silence = np.zeros(n_samples, np.float32)
        assert tuned.embed(silence, sample_rate=16_000).shape == (0, standin.N_BANDS)


def test_a_model_without_enrolment_has_no_embedding(classifier: Classifier) -> None:
    with pytest.raises(ModelError, match=r"exported without enrolment.*no features of a voice"):
        classifier.embed(VOICE, sample_rate=RATE)


def test_the_compact_model_gives_3488_features() -> None:
    assert ser.load("compact").embed(VOICE, sample_rate=RATE).shape[1] == 3488  # as the docstring says


def test_memory_stays_flat_over_a_long_recording(classifier: Classifier, tmp_path: Path) -> None:
    def peak(seconds: float) -> int:
        path = tmp_path / f"{seconds}.wav"
        path.write_bytes(sounds.wav(np.tile(sounds.voice(2), round(seconds / 2))))
        tracemalloc.start()
        classifier.predict(path)
        _, n_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return n_bytes

    assert peak(240) < 1.2 * peak(24)  # as floats the long one alone is 15 MB


def test_function_and_object_share_verb_and_answer(
    classifier: Classifier, model: EmotionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_default", lambda: Classifier(model))
    assert ser.predict(VOICE, sample_rate=RATE) == classifier.predict(VOICE, sample_rate=RATE)
    assert classifier.info == model.info


def test_the_default_model_is_loaded_once(monkeypatch: pytest.MonkeyPatch, model: EmotionModel) -> None:
    loads: list[None] = []

    def load() -> Classifier:
        loads.append(None)
        return Classifier(model)

    monkeypatch.setattr(module, "load", load)
    module._default.cache_clear()
    try:
        for _ in range(3):
            ser.predict(VOICE, sample_rate=RATE)
        assert len(loads) == 1
    finally:
        module._default.cache_clear()
