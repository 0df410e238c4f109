"""Feature matrices: the numbers are librosa's, one clip is its own business, and nothing half made is read."""

import json
from pathlib import Path

import librosa
import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from speech_emotion.corpora.prepare import PreparedDataset, prepare
from speech_emotion.corpora.readers import ravdess
from speech_emotion.errors import CorpusError
from speech_emotion.training.data import features as module
from speech_emotion.training.data.features import (
    COLUMNS,
    HOP,
    N_FFT,
    Features,
    clip_features,
    pitch,
    prepare_features,
)

RATE = 16_000
AXIS = {"hop_length": HOP, "center": False}


def voice(seconds: float, seed: int = 0) -> npt.NDArray[np.float32]:
    """Something like a voice: 25 harmonics on a glide from 110 to 180 Hz, in noise, swelling."""
    t = np.arange(int(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(110 + 70 * t / seconds) / RATE
    harmonics = sum(np.sin(k * phase) / k for k in range(1, 26))
    noise = np.random.default_rng(seed).standard_normal(len(t))
    return (0.1 * (0.3 + np.sin(np.pi * t / seconds)) * harmonics + 0.003 * noise).astype(np.float32)


SAMPLES = voice(2.0)
POWER = np.abs(librosa.stft(SAMPLES.astype(np.float64), n_fft=N_FFT, **AXIS)) ** 2
MAGNITUDE = np.sqrt(POWER)


@pytest.fixture(scope="module")
def computed() -> dict[str, npt.NDArray[np.float32]]:
    """Each column of `SAMPLES` by its name."""
    matrices = clip_features(SAMPLES)
    return {
        column: matrices[name][:, j] for name, columns in COLUMNS.items() for j, column in enumerate(columns)
    }


def test_all_matrices_share_one_frame_axis() -> None:
    matrices = clip_features(SAMPLES)
    n_frames = 1 + (len(SAMPLES) - N_FFT) // HOP
    assert {name: matrix.shape for name, matrix in matrices.items()} == {
        name: (n_frames, len(columns)) for name, columns in COLUMNS.items()
    }
    assert all(matrix.dtype == np.float32 and np.isfinite(matrix).all() for matrix in matrices.values())


def log_mel() -> npt.NDArray[np.float64]:
    mel = librosa.feature.melspectrogram(S=POWER, sr=RATE, n_mels=64, fmin=50, fmax=8000)
    return np.log(np.maximum(mel, 1e-10))


def mfcc() -> npt.NDArray[np.float64]:
    return librosa.feature.mfcc(S=log_mel(), n_mfcc=20)


ORACLES = {
    "log_mel_{}": log_mel,
    "mfcc_{}": mfcc,
    "mfcc_delta_{}": lambda: librosa.feature.delta(mfcc(), mode="nearest"),
    "mfcc_delta2_{}": lambda: librosa.feature.delta(mfcc(), order=2, mode="nearest"),
}


@pytest.mark.parametrize("name", ORACLES)
def test_what_the_front_end_computes_equals_librosa(computed, name: str) -> None:  # type: ignore[no-untyped-def]
    expected = ORACLES[name]()
    ours = np.stack([computed[name.format(i)] for i in range(len(expected))])
    np.testing.assert_allclose(ours, expected, atol=2e-4, rtol=1e-4)


def test_chroma_equals_librosa(computed) -> None:  # type: ignore[no-untyped-def]
    expected = librosa.feature.chroma_stft(S=POWER, sr=RATE, tuning=0.0)
    ours = np.stack([computed[f"chroma_{note}"] for note in module.NOTES])
    np.testing.assert_allclose(ours, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("centroid", lambda: librosa.feature.spectral_centroid(S=MAGNITUDE, sr=RATE)),
        ("bandwidth", lambda: librosa.feature.spectral_bandwidth(S=MAGNITUDE, sr=RATE)),
        ("rolloff_85", lambda: librosa.feature.spectral_rolloff(S=MAGNITUDE, sr=RATE)),
        ("flatness", lambda: librosa.feature.spectral_flatness(S=MAGNITUDE)),
        ("rms", lambda: librosa.feature.rms(y=SAMPLES, frame_length=N_FFT, **AXIS)),
        ("zero_crossings", lambda: librosa.feature.zero_crossing_rate(SAMPLES, frame_length=N_FFT, **AXIS)),
    ],
)
def test_spectral_and_level_columns_equal_librosa(computed, name: str, oracle) -> None:  # type: ignore[no-untyped-def]
    np.testing.assert_allclose(computed[name], oracle()[0], rtol=1e-4, atol=1e-6)


def test_contrast_equals_librosa(computed) -> None:  # type: ignore[no-untyped-def]
    expected = librosa.feature.spectral_contrast(S=MAGNITUDE, sr=RATE)
    names = [column for column in COLUMNS["spectral"] if column.startswith("contrast")]
    np.testing.assert_allclose(np.stack([computed[name] for name in names]), expected, rtol=1e-3, atol=1e-3)


# Pitch


@pytest.mark.parametrize("hz", [65.0, 97.3, 140.0, 213.7, 440.0, 580.0])
def test_pitch_of_a_steady_voice(hz: float) -> None:
    t = np.arange(RATE) / RATE
    tone = sum(np.sin(2 * np.pi * hz * k * t) / k for k in range(1, 10) if hz * k < 8000)
    f0, voicing = pitch((0.1 * tone).astype(np.float32))
    np.testing.assert_allclose(f0, hz, rtol=0.005)
    assert voicing[1:-1].min() > 0.95


def test_pitch_follows_a_glide(computed) -> None:  # type: ignore[no-untyped-def]
    seconds = (np.arange(len(computed["f0"])) * HOP + N_FFT / 2) / RATE
    np.testing.assert_allclose(computed["f0"][1:-1], (110 + 70 * seconds / 2)[1:-1], rtol=0.01)


def test_noise_and_silence_are_not_voiced() -> None:
    noise = 0.1 * np.random.default_rng(3).standard_normal(RATE).astype(np.float32)
    assert pitch(noise)[1].max() < 0.5
    assert pitch(np.zeros(RATE, np.float32))[1].max() == 0.0


def test_silence_has_finite_features() -> None:
    assert all(np.isfinite(matrix).all() for matrix in clip_features(np.zeros(RATE, np.float32)).values())


def test_a_clip_shorter_than_a_frame_is_refused() -> None:
    with pytest.raises(CorpusError, match="511 samples has no features"):
        clip_features(SAMPLES[:511])
    assert clip_features(SAMPLES[:512])["voice"].shape == (1, 4)


# The folder


@pytest.fixture
def dataset(tmp_path: Path) -> PreparedDataset:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for emotion in range(1, 9):
        path = folder / f"03-01-{emotion:02d}-01-01-01-01.wav"
        soundfile.write(path, voice(0.5 + emotion / 20, emotion), RATE, subtype="PCM_16")
    return prepare(ravdess.SPEECH, folder, tmp_path / "out", workers=1)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_what_is_read_is_what_one_clip_gives(dataset: PreparedDataset) -> None:
    features = prepare_features(dataset, workers=1)
    for i in range(len(dataset)):
        matrices = clip_features(dataset.waveform(i))
        assert np.array_equal(features.clip(i), np.concatenate([matrices[name] for name in COLUMNS], axis=1))


def test_every_column_has_a_name_and_a_unit(dataset: PreparedDataset) -> None:
    features = prepare_features(dataset, workers=1)
    described = json.loads((dataset.folder / "features" / "features.json").read_bytes())
    assert described["hop_samples"] == HOP
    for name, columns in described["matrices"].items():
        assert len(columns) == features.matrices[name].shape[1]
        assert all(columns.values())
    names = [column for columns in described["matrices"].values() for column in columns]
    assert len(set(names)) == len(names) == 151


@pytest.mark.slow
def test_two_workers_write_the_bytes_of_one(
    dataset: PreparedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    prepare_features(dataset, workers=1)
    one = contents(dataset.folder / "features")
    (dataset.folder / "features" / "manifest.json").unlink()
    monkeypatch.setattr(module, "CLIPS_PER_PART", 3)
    prepare_features(dataset, workers=2, progress=lambda *done: seen.append(done))
    assert contents(dataset.folder / "features") == one
    assert seen[-1] == (8, 8)


def test_a_second_call_computes_nothing(dataset: PreparedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_features(dataset, workers=1)
    monkeypatch.setattr(module, "clip_features", lambda *_: pytest.fail("computed again"))
    prepare_features(dataset, workers=1)


def test_a_flipped_byte_is_refused_and_repaired(dataset: PreparedDataset) -> None:
    prepare_features(dataset, workers=1)
    path = dataset.folder / "features" / "mfcc.npy"
    before = path.read_bytes()
    path.write_bytes(before[:-2] + bytes([before[-2] ^ 1]) + before[-1:])
    with pytest.raises(CorpusError, match=r"mfcc\.npy is damaged"):
        Features.open(dataset, verify=True)
    prepare_features(dataset, workers=1)
    assert path.read_bytes() == before


def test_other_settings_are_refused(dataset: PreparedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_features(dataset, workers=1)
    monkeypatch.setitem(module._SETTINGS, "hop_samples", 160)
    with pytest.raises(CorpusError, match="other clips or settings"):
        Features.open(dataset)


def test_a_killed_run_leaves_no_features_and_the_dataset_whole(
    dataset: PreparedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(module.files, "seal_folder", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            prepare_features(dataset, workers=1)
    with pytest.raises(CorpusError, match="is not prepared"):
        Features.open(dataset)
    PreparedDataset.open(dataset.folder, verify=True)
    prepare_features(dataset, workers=1)
    assert [path.name for path in dataset.folder.parent.iterdir() if "partial" in path.name] == []
