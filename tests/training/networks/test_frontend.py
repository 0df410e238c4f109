"""The front end: equal to librosa and torch.stft, frame by frame, and free of what stands beside it."""

import math

import librosa
import numpy as np
import pytest
import torch
from sounds import voice

from speech_emotion.training.networks.frontend import (
    POWER_FLOOR,
    LogMel,
    Mfcc,
    PowerSpectrum,
    hz_to_mel,
    mel_edges,
    mel_to_hz,
    triangles,
)

SIZES = [(64, 512, 320), (64, 1024, 320), (40, 400, 160)]  # n_mels, n_fft, hop
VOICE = voice(1.2)


def librosa_log_mel(n_mels: int, n_fft: int, hop: int) -> np.ndarray:
    power = librosa.feature.melspectrogram(
        y=VOICE, sr=16_000, n_fft=n_fft, hop_length=hop, n_mels=n_mels, fmin=50, fmax=8000, center=False
    )
    return np.log(np.maximum(power, 1e-10))


@pytest.mark.parametrize(("n_mels", "n_fft", "hop"), SIZES)
def test_log_mel_is_that_of_librosa(n_mels: int, n_fft: int, hop: int) -> None:
    ours = LogMel(n_mels=n_mels, n_fft=n_fft, hop=hop)(torch.from_numpy(VOICE).unsqueeze(0))[0]
    theirs = librosa_log_mel(n_mels, n_fft, hop)
    assert ours.shape == theirs.shape == (n_mels, 1 + (len(VOICE) - n_fft) // hop)
    assert theirs.std() > 1
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-4, rtol=0)


def test_mfcc_is_that_of_librosa() -> None:
    log_mel = librosa_log_mel(64, 512, 320).astype(np.float32)
    ours = Mfcc(n_mfcc=20, n_mels=64)(torch.from_numpy(log_mel).unsqueeze(0))[0]
    np.testing.assert_allclose(ours.numpy(), librosa.feature.mfcc(S=log_mel, n_mfcc=20), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("n_mels", "n_fft", "hop"), SIZES)
def test_the_filters_are_those_of_librosa(n_mels: int, n_fft: int, hop: int) -> None:
    theirs = librosa.filters.mel(sr=16_000, n_fft=n_fft, n_mels=n_mels, fmin=50, fmax=8000)
    np.testing.assert_allclose(
        triangles(mel_edges(n_mels, 50, 8000), n_fft).numpy(), theirs, atol=1e-7, rtol=1e-5
    )


@pytest.mark.parametrize("n_fft", [400, 512, 1024])
def test_the_convolution_is_a_fourier_transform(n_fft: int) -> None:
    waveform = torch.from_numpy(VOICE).unsqueeze(0)
    theirs = torch.stft(
        waveform, n_fft, 160, window=torch.hann_window(n_fft), center=False, return_complex=True
    )
    ours = PowerSpectrum(n_fft, 160)(waveform)
    torch.testing.assert_close(ours, theirs.abs().square(), rtol=1e-4, atol=1e-4)


def test_mel_is_linear_to_1_khz_and_logarithmic_above() -> None:
    hz = torch.tensor([0.0, 200.0, 1000.0, 6400.0])
    torch.testing.assert_close(hz_to_mel(hz), torch.tensor([0.0, 3.0, 15.0, 42.0]))
    torch.testing.assert_close(mel_to_hz(hz_to_mel(hz)), hz)


def test_silence_is_the_floor() -> None:
    assert LogMel()(torch.zeros(1, 1000)).unique().tolist() == [pytest.approx(math.log(POWER_FLOOR))]


def test_a_row_alone_equals_the_row_in_a_batch() -> None:
    frontend = LogMel(n_fft=1024)
    rows = torch.stack([torch.from_numpy(voice(1.0, f0=f0, peak=f0 / 400)) for f0 in (90, 200, 310)])
    together = frontend(rows)
    for row, in_batch in zip(rows, together, strict=True):
        torch.testing.assert_close(frontend(row.unsqueeze(0))[0], in_batch, rtol=0, atol=1e-3)


def test_nothing_is_padded_so_that_a_shift_by_one_hop_is_a_shift_by_one_frame() -> None:
    frontend, waveform = LogMel(), torch.from_numpy(VOICE).unsqueeze(0)
    torch.testing.assert_close(frontend(waveform[:, 320:]), frontend(waveform)[:, :, 1:], rtol=0, atol=1e-5)


def test_half_precision_around_it_does_not_reach_it() -> None:
    frontend, waveform = LogMel(), torch.from_numpy(VOICE).unsqueeze(0)
    with torch.autocast("cpu", torch.bfloat16):
        inside = frontend(waveform)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, frontend(waveform), rtol=0, atol=0)


def test_nothing_of_it_is_learned_or_stored() -> None:
    assert not list(LogMel().parameters())
    assert not LogMel().state_dict()
    assert not Mfcc().state_dict()
