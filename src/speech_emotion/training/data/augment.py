"""Augmentation of log-mel windows, in training only. In and out: (batch, n_mels, n_frames), natural-log power.

Every function works on the whole batch at once and draws for each row. Speed, telephone and room: see frames.py.
"""

import torch
from torch import Generator, Tensor

from speech_emotion.training.config import AugmentConfig
from speech_emotion.training.networks.frontend import POWER_FLOOR

_DB = 0.2302585  # one decibel in natural-log power


def _uniform(n: int, low: float, high: float, generator: Generator, like: Tensor) -> Tensor:
    return (torch.rand(n, generator=generator) * (high - low) + low).to(like.device)


def augmented(log_mel: Tensor, config: AugmentConfig, generator: Generator) -> Tensor:
    """All augmentation that `config` asks for, between `features` and `classify`."""
    if config.warp_frequency:
        log_mel = warp_frequency(log_mel, config.warp_frequency, generator)
    if config.tilt_db:
        log_mel = tilt_spectrum(log_mel, config.tilt_db, generator)
    if config.noise_probability:
        low, high = config.noise_snr_db
        log_mel = add_noise(log_mel, config.noise_probability, (low, high), generator)
    log_mel = mask(log_mel, 1, config.frequency_mask, config.n_masks, generator)
    return mask(log_mel, 2, config.time_mask, config.n_masks, generator)


def warp_frequency(x: Tensor, max_ratio: float, generator: Generator) -> Tensor:
    """Vocal tract length perturbation (Jaitly & Hinton 2013): stretch the mel axis by up to 1 ± max_ratio."""
    n_mels = x.shape[1]
    ratio = _uniform(x.shape[0], 1 - max_ratio, 1 + max_ratio, generator, x)
    position = (torch.arange(n_mels, device=x.device)[None, :] * ratio[:, None]).clamp(max=n_mels - 1.001)
    low = position.floor().long()
    share = (position - low).unsqueeze(2)
    index = low.unsqueeze(2).expand(-1, -1, x.shape[2])
    return x.gather(1, index) * (1 - share) + x.gather(1, index + 1) * share


def tilt_spectrum(x: Tensor, max_db: float, generator: Generator) -> Tensor:
    """Another microphone and room: a smooth random gain curve over frequency, up to ± max_db at its five knots."""
    knots = (torch.rand(x.shape[0], 1, 5, generator=generator) * 2 - 1).to(x.device) * (max_db * _DB)
    curve = torch.nn.functional.interpolate(knots, size=x.shape[1], mode="linear", align_corners=True)
    return x + curve.transpose(1, 2)


def add_noise(x: Tensor, probability: float, snr_db: tuple[float, float], generator: Generator) -> Tensor:
    """Stationary coloured noise, added as power, at a random signal-to-noise ratio against the window's mean."""
    n = x.shape[0]
    chosen = _uniform(n, 0, 1, generator, x) < probability
    snr = _uniform(n, *snr_db, generator, x)
    tilt_db = _uniform(n, -25, 5, generator, x)  # from brown to slightly blue, across the mel axis
    power = x.exp()
    ramp = torch.linspace(0, 1, x.shape[1], device=x.device)[None, :] * (tilt_db * _DB)[:, None]
    colour = ramp.exp()
    colour = colour / colour.mean(dim=1, keepdim=True)
    level = power.mean(dim=(1, 2)) * (-snr * _DB).exp() * chosen
    texture = -torch.log(torch.rand(x.shape, generator=generator).clamp(min=1e-6)).to(x.device)
    smooth = 0.5 + 0.5 * texture  # a mel band averages several bins: less ragged than one exponential
    return (power + level[:, None, None] * colour[:, :, None] * smooth).clamp(min=POWER_FLOOR).log()


def mask(x: Tensor, axis: int, max_width: int, n_masks: int, generator: Generator) -> Tensor:
    """SpecAugment (Park et al. 2019, arXiv 1904.08779): bands of random width along one axis become the mean."""
    n, size = x.shape[0], x.shape[axis]
    fill = x.mean(dim=(1, 2), keepdim=True)
    positions = torch.arange(size, device=x.device)[None, :]
    for _ in range(n_masks):
        width = _uniform(n, 0, max_width, generator, x)[:, None]
        start = _uniform(n, 0, 1, generator, x)[:, None] * (size - width)
        hit = (positions >= start) & (positions < start + width)
        x = torch.where(hit.unsqueeze(2) if axis == 1 else hit.unsqueeze(1), fill, x)
    return x
