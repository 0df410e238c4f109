"""Validation: recordings are scored as users get them, on the weights that are exported."""

from pathlib import Path

import numpy as np
import pytest
import torch
from miniature import clips, dataset, recipe, sound

from speech_emotion.labels import EMOTIONS
from speech_emotion.training.data.frames import windows_of
from speech_emotion.training.fit import calibration, checkpoint
from speech_emotion.training.fit.job import Job, Sides
from speech_emotion.training.fit.train import fit, materials
from speech_emotion.training.fit.validation import ValidationSet
from speech_emotion.training.networks.build import build
from speech_emotion.training.networks.quantize import round_weights

CLIPS = clips([1, 2, 3, 4], ["calm", "happy", "angry", "surprised"])
WINDOW = recipe().window


def test_validation_windows_are_those_of_the_runtime() -> None:
    waveform = np.concatenate([sound(CLIPS[0])] * 3)[:40_000]  # 2.5 s in windows of 1 s every 0.5 s
    windows = windows_of(waveform, WINDOW)
    assert [len(window) for window in windows] == [16_000] * 4
    np.testing.assert_array_equal(windows[1], waveform[8_000:24_000])
    np.testing.assert_array_equal(windows[3], waveform[24_000:40_000])
    assert [len(window) for window in windows_of(waveform[:9_000], WINDOW)] == [9_000]
    assert not windows_of(waveform[:7_000], WINDOW)


def test_validation_scores_recordings_not_windows() -> None:
    """Recordings of several windows and lengths; one too short for an answer is left out."""
    long, short = np.tile(sound(CLIPS[1]), 2), sound(CLIPS[0])[:10_000]
    made = dataset(CLIPS[:4], waveforms=[short, long, sound(CLIPS[2])[:4_000], sound(CLIPS[3])])
    network = build(recipe()).eval()
    sides = Sides(np.zeros(0, np.int64), np.array([1, 2, 0, 3]))
    validation = ValidationSet(Job(recipe(), made, sides, Path()))
    assert validation.labels.tolist() == [EMOTIONS.index(CLIPS[k].label) for k in (1, 0, 3)]
    assert sorted(validation.recordings.tolist()) == [0, 0, 0, 1, 2]
    assert {x.shape for x in validation.waveforms} == {(4, 16_000), (1, 10_000)}
    uar, loss = validation.score(validation.logits(network))
    assert uar is not None
    assert loss is not None
    expected = []
    with torch.inference_mode():
        for clip in (1, 0, 3):
            windows = [
                torch.from_numpy(w.copy()).unsqueeze(0) for w in windows_of(made.waveform(clip), WINDOW)
            ]
            expected.append(torch.cat([torch.softmax(network(w), 1) for w in windows]).mean(dim=0))
    p = torch.stack(expected)[range(3), validation.labels.tolist()]
    assert loss == pytest.approx(-p.log().mean().item(), abs=0.02)  # bf16 on the way
    hits = torch.stack(expected).argmax(dim=1).numpy() == validation.labels
    assert uar == pytest.approx(100 * hits.mean(), abs=0.1)


def test_what_calibrates_is_measured_on_the_weights_that_are_shipped(tmp_path: Path) -> None:
    """Rounded to 8 bits, in float32, and with the prior of their few speakers."""
    settings = {"epochs": 10, "learning_rate": 2e-2, "ema_decay": 0.5, "label_smoothing": 0.0}
    train, clips = np.arange(12), np.arange(8)  # validated on two speakers that it learned from
    made, config = dataset(CLIPS), recipe(fit=settings)
    fitted = fit(Job(config, made, Sides(train, clips), tmp_path), materials(config, made))
    network, _ = checkpoint.load_network(tmp_path)
    round_weights(network)
    labels = made.labels[clips]
    rows = torch.from_numpy(np.stack([made.waveform(clip) for clip in clips]))
    with torch.inference_mode():
        logits = network.eval()(rows).double().numpy()
    recordings = np.arange(8)
    assert fitted.temperature == pytest.approx(
        calibration.fit_temperature(logits, recordings, labels, n_speakers=2), rel=1e-3
    )
    likeliest = calibration.fit_temperature(logits, recordings, labels)
    assert fitted.validation["likeliest_temperature"] == pytest.approx(likeliest, rel=1e-3)
    assert fitted.temperature != pytest.approx(likeliest, rel=1e-2)
    expected = calibration.softmax(logits / fitted.temperature)
    np.testing.assert_allclose(fitted.validation["confidences"], expected.max(axis=1), atol=1e-4)
    np.testing.assert_allclose(fitted.validation["scores"], 1 - expected[range(8), labels], atol=1e-4)
