"""What may not matter does not: neighbours in a batch, chunks, threads, channels, the day's second call."""

from pathlib import Path

import numpy as np
import pytest
import sounds
from integers import rounding_of

from speech_emotion.classifier import Classifier
from speech_emotion.model import EmotionModel
from speech_emotion.shipped import MODELS

ROUNDING = 5e-6  # of a probability: matrix products of a batch add in another order than those of a row
VOICES = np.stack([sounds.voice(3, f0=f0, peak=peak) for f0, peak in [(90, 0.9), (140, 0.02), (230, 0.3)]])


@pytest.fixture(params=["stand-in", *(model.name for model in MODELS)])
def any_model(request: pytest.FixtureRequest, model_path: Path) -> EmotionModel:
    """The contract holds for every model file."""
    return EmotionModel.load(model_path if request.param == "stand-in" else request.param)


@pytest.mark.parametrize("n_samples", [8_000, 29_999, 48_000])
def test_a_row_alone_equals_the_row_in_a_batch(any_model: EmotionModel, n_samples: int) -> None:
    batch = np.concatenate([VOICES, np.zeros((1, 48_000), np.float32)])[:, :n_samples]
    rounding = rounding_of(any_model.info.name, ROUNDING)
    together = any_model.score(batch)
    for index, row in enumerate(batch):
        alone = any_model.score(row[None])
        np.testing.assert_allclose(alone.probabilities[0], together.probabilities[index], atol=rounding)
        np.testing.assert_allclose(alone.log_mel[0], together.log_mel[index], atol=1e-4)
    backwards = any_model.score(batch[::-1])
    np.testing.assert_allclose(backwards.probabilities[::-1], together.probabilities, atol=rounding)


def test_probabilities_are_probabilities(any_model: EmotionModel) -> None:
    loud = VOICES * 50
    for batch in (VOICES, loud, VOICES * 1e-6, np.zeros((2, 48_000)), np.ones((1, 48_000))):
        probabilities = any_model.score(batch).probabilities
        assert probabilities.shape == (len(batch), len(any_model.info.labels))
        assert (probabilities >= 0).all()
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_the_second_call_equals_the_first(any_model: EmotionModel) -> None:
    first = any_model.score(VOICES)
    any_model.score(VOICES[:1, :20_000])
    for one, other in zip(first, any_model.score(VOICES), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("sample_rate", [16_000, 44_100])
@pytest.mark.parametrize("n_chunk", [441, 1_600, 30_011])
def test_a_stream_in_any_chunks_equals_its_file(
    any_model: EmotionModel, sample_rate: int, n_chunk: int
) -> None:
    voice = sounds.voice(7.7, sample_rate)
    classifier = Classifier(any_model)
    stream = classifier.stream(sample_rate=sample_rate)
    chunks = [voice[start : start + n_chunk] for start in range(0, len(voice), n_chunk)]
    streamed = [prediction for chunk in chunks for prediction in stream.push(chunk)] + stream.finish()
    assert streamed == classifier.timeline(voice, sample_rate=sample_rate)


def test_the_same_sound_on_both_channels_is_the_sound(any_model: EmotionModel) -> None:
    classifier = Classifier(any_model)
    mono = classifier.predict(VOICES[0], sample_rate=16_000)
    stereo = classifier.predict(np.stack([VOICES[0]] * 2, axis=1), sample_rate=16_000)
    assert mono.label is not None
    for label, probability in mono.probabilities.items():
        assert stereo.probabilities[label] == pytest.approx(probability, abs=1e-5)
