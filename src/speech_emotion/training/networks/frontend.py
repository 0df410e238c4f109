"""The acoustic front end. In: waveform (batch, n_samples), 16 kHz. Out: log-mel or MFCC frames.

Plain torch, exported inside the ONNX graph, so that the shipped file takes a raw waveform and no second
implementation exists. The Fourier transform is a product with a fixed basis, not the STFT operator, which takes
34 ms for 3 s of sound in ONNX Runtime. No frame is padded: a recording of n samples has
1 + (n - n_fft) // hop frames, as librosa with center=False, which is the oracle of the tests.
"""

import math

import torch
from torch import Tensor, nn

from speech_emotion.audio import SAMPLE_RATE

POWER_FLOOR = 1e-10  # just below what the steps of 16-bit sound leave in a mel band of a pause


def hz_to_mel(hz: Tensor) -> Tensor:
    """Slaney's mel scale (Auditory Toolbox, 1998): linear to 1 kHz, logarithmic above."""
    linear = hz * 3 / 200
    logarithmic = 15 + torch.log(hz.clamp(min=1e-9) / 1000) * (27 / math.log(6.4))
    return torch.where(hz < 1000, linear, logarithmic)


def mel_to_hz(mel: Tensor) -> Tensor:
    """Inverse of `hz_to_mel`."""
    linear = mel * 200 / 3
    logarithmic = 1000 * torch.exp((mel - 15) * (math.log(6.4) / 27))
    return torch.where(mel < 15, linear, logarithmic)


def mel_edges(n_mels: int, fmin_hz: float, fmax_hz: float) -> Tensor:
    """Where the filters begin, peak and end, in hertz, as float64: filter i has edges i, i + 1 and i + 2."""
    limits = hz_to_mel(torch.tensor([fmin_hz, fmax_hz], dtype=torch.float64))
    return mel_to_hz(torch.linspace(limits[0].item(), limits[1].item(), n_mels + 2, dtype=torch.float64))


def triangles(edges_hz: Tensor, n_fft: int) -> Tensor:
    """Edges (n_mels + 2,) → filters of unit area (n_mels, 1 + n_fft // 2), as librosa.filters.mel(norm="slaney")."""
    bins = torch.arange(1 + n_fft // 2, dtype=torch.float64, device=edges_hz.device)
    widths = edges_hz.diff()
    ramps = edges_hz[:, None] - bins[None, :] * (SAMPLE_RATE / n_fft)
    rising = -ramps[:-2] / widths[:-1, None]
    falling = ramps[2:] / widths[1:, None]
    area = 2 / (edges_hz[2:] - edges_hz[:-2])
    return (torch.minimum(rising, falling).clamp(min=0) * area[:, None]).float()


class PowerSpectrum(nn.Module):
    """Waveform (batch, n_samples) → power (batch, 1 + n_fft // 2, n_frames); periodic Hann window, no padding.

    Each frame is folded at its middle first: cosines are even there and sines odd, so that two matrices of half the
    length do the work of the whole. The window is zero at sample 0, which therefore takes no part. `n_fft` is even.
    """

    def __init__(self, n_fft: int, hop: int) -> None:
        super().__init__()
        self.n_fft, self.hop = n_fft, hop

    def forward(self, waveform: Tensor) -> Tensor:
        """(batch, n_samples) → (batch, 1 + n_fft // 2, n_frames)."""
        frames = self._frames(waveform)
        middle = self.n_fft // 2
        rising, falling = (
            frames[:, :, 1 : middle + 1],
            frames[:, :, middle:].flip(2),
        )  # samples n and n_fft - n
        cosines, sines = self.basis(torch.arange(1, middle + 1, device=waveform.device))
        real = torch.matmul(rising + falling, cosines)
        imaginary = torch.matmul(rising - falling, sines)
        return (real.square() + imaginary.square()).transpose(1, 2)  # (batch, bin, frame)

    def _frames(self, waveform: Tensor) -> Tensor:
        """(batch, n_samples) → (batch, n_frames, n_fft), copied in the largest pieces that frames share."""
        piece = math.gcd(self.n_fft, self.hop)
        n_samples = waveform.shape[1]
        n_frames = 1 + (n_samples - self.n_fft) // self.hop
        pieces = waveform[:, : n_samples // piece * piece].reshape(waveform.shape[0], -1, piece)
        first = torch.arange(n_frames, device=waveform.device)[:, None] * (self.hop // piece)
        index = first + torch.arange(self.n_fft // piece, device=waveform.device)
        frames = torch.index_select(pieces, 1, index.flatten())
        return frames.reshape(waveform.shape[0], n_frames, self.n_fft)

    def basis(self, n: Tensor) -> tuple[Tensor, Tensor]:
        """Windowed cosines and sines of the first half of a frame, (n_fft // 2, n_bins) each.

        Computed in the graph from integer phases k·n mod n_fft: exact in float32, and a kilobyte in the file
        where the tables themselves would be megabytes.
        """
        k = torch.arange(1 + self.n_fft // 2, device=n.device)
        turn = 2 * math.pi / self.n_fft
        phase = (n[:, None] * k).remainder(self.n_fft).to(torch.float32) * turn
        window = 0.5 - 0.5 * torch.cos(n.to(torch.float32) * turn)
        is_middle = n == self.n_fft // 2  # folded onto itself, it would count twice
        window = torch.where(is_middle, 0.5 * window, window)[:, None]
        return torch.cos(phase) * window, torch.sin(phase) * window


class LogMel(nn.Module):
    """Waveform (batch, n_samples) → natural log of mel power (batch, n_mels, n_frames), floored at 1e-10.

    Sizes are in samples. The filters are computed in the graph: in the file they would be 200 kB.
    """

    edges_hz: Tensor

    def __init__(self, *, n_mels: int = 64, n_fft: int = 512, hop: int = 320, fmin_hz: float = 50.0) -> None:
        super().__init__()
        self.spectrum = PowerSpectrum(n_fft, hop)
        self.register_buffer("edges_hz", mel_edges(n_mels, fmin_hz, SAMPLE_RATE / 2), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """(batch, n_samples) → (batch, n_mels, n_frames)."""
        with torch.autocast(waveform.device.type, enabled=False):
            power = self.spectrum(waveform.float())
            filters = triangles(self.edges_hz, self.spectrum.n_fft)
            return torch.log(torch.matmul(filters, power).clamp(min=POWER_FLOOR))


class Mfcc(nn.Module):
    """Cepstral coefficients by orthonormal DCT-II (Davis & Mermelstein 1980), as librosa.feature.mfcc(S=log_mel)."""

    dct: Tensor

    def __init__(self, *, n_mfcc: int = 20, n_mels: int = 64) -> None:
        super().__init__()
        k = torch.arange(n_mfcc, dtype=torch.float64)[:, None]
        m = torch.arange(n_mels, dtype=torch.float64)[None, :]
        dct = torch.cos(math.pi / n_mels * (m + 0.5) * k) * math.sqrt(2 / n_mels)
        dct[0] /= math.sqrt(2)
        self.register_buffer("dct", dct.float(), persistent=False)

    def forward(self, log_mel: Tensor) -> Tensor:
        """(batch, n_mels, n_frames) → (batch, n_mfcc, n_frames)."""
        return torch.matmul(self.dct, log_mel)
