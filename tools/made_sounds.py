"""Made sounds for tools/train_speech_head.py. In: n_samples and a random generator. Out: (n_samples,) at 16 kHz.

KINDS are sounds without a voice; `voice` is a source under moving formants. `degrade` sends any sound through some
channel: tilt, resonances, band limits, a room, clipping, 8-bit companding, faint noise.
"""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from speech_emotion.audio import SAMPLE_RATE
from speech_emotion.degrade import add_noise, coloured_noise, convolve

Array = npt.NDArray[np.floating]
Chance = np.random.Generator
NYQUIST = 7_600.0  # above it no partial is made


def log_uniform(r: Chance, low: float, high: float) -> float:
    return float(np.exp(r.uniform(np.log(low), np.log(high))))


def gain(decibel: Array | float) -> Array | float:
    return 10 ** (decibel / 20)


def seconds(n: int) -> Array:
    return np.arange(n) / SAMPLE_RATE


def unit(samples: Array) -> Array:
    return samples / (samples.std() + 1e-9)


def filtered(samples: Array, response: Callable[[Array], Array]) -> Array:
    """`samples` with each frequency times `response`, by an FFT of a power of two."""
    size = 1 << (len(samples) - 1).bit_length()
    spectrum = np.fft.rfft(samples, size) * response(np.fft.rfftfreq(size, 1 / SAMPLE_RATE))
    return np.fft.irfft(spectrum, size)[: len(samples)]


def hill(frequency: Array, centre: float, octaves: float) -> Array:
    return np.exp(-0.5 * (np.log2(np.maximum(frequency, 1) / centre) / octaves) ** 2)


def walk(n: int, r: Chance, per_second: float, depth: float) -> Array:
    """Straight lines between random values, `per_second` of them."""
    knots = r.standard_normal(int(n / SAMPLE_RATE * per_second) + 3) * depth
    return np.interp(seconds(n) * per_second, np.arange(len(knots)), knots)


def partials(frequency: Array, r: Chance, n: int | None = None) -> Array:
    """A tone of gliding `frequency` with `n` harmonics, or some."""
    phase = 2 * np.pi * np.cumsum(frequency) / SAMPLE_RATE
    n = n or int(r.integers(1, 25))
    fall, is_odd = r.uniform(0.3, 2.5), r.random() < 0.2
    sound = np.zeros(len(frequency))
    for number in range(1, n + 1, 2 if is_odd else 1):
        if number * frequency.max() > NYQUIST:
            break
        sound += np.sin(number * phase + r.uniform(0, 6.3)) * number**-fall * r.uniform(0.4, 1)
    return sound


def coloured(n: int, r: Chance, exponent: float | None = None) -> Array:
    """Noise of RMS 1 whose power falls with frequency to the `exponent`."""
    fall = r.uniform(-0.5, 2.5) if exponent is None else exponent
    return unit(coloured_noise(n, r, fall))


def band(n: int, r: Chance) -> Array:
    centre, octaves = log_uniform(r, 100, 6000), log_uniform(r, 0.1, 2)
    return unit(filtered(r.standard_normal(n), lambda f: hill(f, centre, octaves) + 1e-3))


def speech_shaped(n: int, r: Chance) -> Array:
    """Noise under three formants that stand still."""
    formants = [(r.uniform(low, high), r.uniform(60, 250)) for low, high in FORMANTS]
    fall = r.uniform(0.5, 1.5)

    def response(f: Array) -> Array:
        peaks = sum(np.exp(-0.5 * ((f - c) / w) ** 2) * 0.6**i for i, (c, w) in enumerate(formants))
        return (0.03 + peaks) * np.maximum(f / 100, 1) ** (-fall / 2)

    return unit(filtered(r.standard_normal(n), response))


FORMANTS = ((250, 900), (900, 2400), (2300, 3500))


def syllables(n: int, r: Chance) -> Array:
    """Humps of 50 to 400 ms with gaps."""
    envelope, start = np.full(n, 1e-3), 0
    while start < n:
        length = int(r.uniform(0.05, 0.4) * SAMPLE_RATE)
        hump = np.hanning(length + 2)[1:-1] * gain(r.uniform(-15, 0))
        envelope[start : start + length] += hump[: n - start]
        start += int(length * r.uniform(0.6, 1.6))
    return envelope


def envelope(n: int, r: Chance) -> Array:
    kind = r.integers(4)
    if kind == 0:
        return gain(np.clip(walk(n, r, log_uniform(r, 0.5, 12), r.uniform(3, 12)), -40, 20))
    if kind == 1:
        wave = np.sin(2 * np.pi * log_uniform(r, 0.3, 10) * seconds(n) + r.uniform(0, 6.3))
        return 1 - r.uniform(0.3, 1) * (0.5 + 0.5 * wave)
    if kind == 2:
        on = r.random(n // 1600 + 2) < r.uniform(0.2, 0.8)
        return np.interp(np.arange(n) / 1600, np.arange(len(on)), on.astype(float)) + 1e-3
    return syllables(n, r)


def steady(n: int, r: Chance) -> Array:
    return [coloured, band, speech_shaped][r.integers(3)](n, r)


def modulated(n: int, r: Chance) -> Array:
    return [coloured, band, speech_shaped, speech_shaped][r.integers(4)](n, r) * envelope(n, r)


def some_partials(r: Chance) -> int | None:
    return 1 if r.random() < 0.6 else None


def tone(n: int, r: Chance) -> Array:
    steady_tones = [np.full(n, log_uniform(r, 40, 7000)) for _ in range(r.integers(1, 4))]
    return np.sum([partials(f, r, some_partials(r)) * r.uniform(0.2, 1) for f in steady_tones], axis=0)


def hum(n: int, r: Chance) -> Array:
    mains = r.choice([50, 60, 100, 120, 400]) * r.uniform(0.99, 1.01)
    return partials(np.full(n, mains), r) + coloured(n, r) * log_uniform(r, 1e-3, 0.5)


def siren(n: int, r: Chance) -> Array:
    turns = log_uniform(r, 0.2, 6) * seconds(n) + r.uniform(0, 1)
    wave = np.sin(2 * np.pi * turns)
    shape = [wave, 2 * (turns % 1) - 1, np.sign(wave)][r.integers(3)]
    return partials(log_uniform(r, 300, 2000) * 2 ** (r.uniform(0.1, 0.8) * shape), r)


def beeps(n: int, r: Chance) -> Array:
    """A tone or two, switched on and off, abruptly or in 10 ms."""
    sound = partials(np.full(n, log_uniform(r, 60, 7000)), r, some_partials(r))
    if r.random() < 0.3:
        sound = sound + partials(np.full(n, log_uniform(r, 300, 2000)), r, 1)
    wave = np.sin(2 * np.pi * log_uniform(r, 0.3, 8) * seconds(n) + r.uniform(0, 6.3))
    is_on = (wave > r.uniform(-0.6, 0.6)).astype(float)
    return sound * (np.convolve(is_on, np.full(160, 1 / 160), "same") if r.random() < 0.5 else is_on)


def notes(n: int, r: Chance) -> Iterator[tuple[int, int, float]]:
    """Start, length in samples and pitch of notes of a major scale at some tempo."""
    tempo, root = log_uniform(r, 1, 10), log_uniform(r, 55, 500)
    for index, step in enumerate(r.choice([0, 2, 4, 5, 7, 9, 11, 12], int(n / SAMPLE_RATE * tempo) + 2)):
        start = int(index / tempo * SAMPLE_RATE)
        length = min(int(r.uniform(0.5, 2) / tempo * SAMPLE_RATE), n - start)
        if length > 200 and r.random() < 0.85:
            yield start, length, root * 2 ** (step / 12) * r.choice([0.5, 1, 1, 2])


def melody(n: int, r: Chance) -> Array:
    """Notes or chords of one timbre, with or without vibrato, sliding into the note or not."""
    sound, n_partials = np.zeros(n), int(r.integers(1, 20))
    vibrato = r.uniform(0, 0.012) * (r.random() < 0.5)
    slide = r.uniform(0, 0.05) * (r.random() < 0.3)
    rate, decay, attack = r.uniform(4, 7), log_uniform(r, 0.5, 15), log_uniform(r, 0.003, 0.1)
    has_chords = r.random() < 0.4
    for start, length, pitch in notes(n, r):
        t = seconds(length)
        frequency = pitch * (1 + vibrato * np.sin(2 * np.pi * rate * t) - slide * np.exp(-t / 0.05))
        shape = np.minimum(t / attack, 1) * np.exp(-decay * t) * np.minimum((t[-1] - t) / 0.01, 1)
        for ratio in (1, 1.2599, 1.4983) if has_chords and r.random() < 0.6 else (1,):
            note = partials(frequency * ratio, r, n_partials)
            sound[start : start + length] += note * shape * gain(r.uniform(-12, 0))
    return sound


def drums(n: int, r: Chance) -> Array:
    sound, tempo = np.zeros(n), log_uniform(r, 2, 12)
    kit = [(r.uniform(0.02, 0.15), r.uniform(40, 200), log_uniform(r, 0.1, 1)) for _ in range(3)]
    for beat in np.flatnonzero(r.random(int(n / SAMPLE_RATE * tempo) + 1) < 0.7):
        decay, frequency, hiss = kit[r.integers(3)]
        start = int(beat / tempo * SAMPLE_RATE)
        length = min(int(decay * 6 * SAMPLE_RATE), n - start)
        if length > 50:
            t = seconds(length)
            skin = np.sin(2 * np.pi * frequency * t * (1 + np.exp(-t * 30))) * (1 - hiss)
            stroke = skin + coloured(length, r, r.uniform(-0.5, 1)) * hiss / 2
            sound[start : start + length] += stroke * np.exp(-t / decay) * gain(r.uniform(-12, 0))
    return sound


def ensemble(n: int, r: Chance) -> Array:
    parts = [melody if r.random() < 0.7 else drums for _ in range(r.integers(1, 4))]
    return np.sum([unit(part(n, r)) * gain(r.uniform(-12, 0)) for part in parts], axis=0)


def engine(n: int, r: Chance) -> Array:
    """Strokes at some rate through resonances, and the noise of air."""
    rate = log_uniform(r, 8, 150) * 2 ** walk(n, r, log_uniform(r, 0.3, 6), r.uniform(0, 0.25))
    strokes = np.diff(np.floor(np.cumsum(rate) / SAMPLE_RATE), prepend=0)
    strokes *= 1 + r.uniform(0, 0.5) * r.standard_normal(n)
    hills = [(log_uniform(r, 60, 3000), log_uniform(r, 0.1, 1)) for _ in range(r.integers(1, 5))]
    sound = unit(filtered(strokes, lambda f: np.sum([hill(f, c, w) for c, w in hills], axis=0) + 1e-3))
    air = coloured(n, r, r.uniform(0, 2)) * log_uniform(r, 0.02, 1)
    return sound * gain(walk(n, r, 2, r.uniform(0, 3))) + air


def wind(n: int, r: Chance) -> Array:
    gusts = [gain(walk(n, r, log_uniform(r, 0.3, 4), r.uniform(3, 10))) for _ in range(r.integers(1, 4))]
    return np.sum([band(n, r) * gust for gust in gusts], axis=0)


def clicks(n: int, r: Chance) -> Array:
    """Ticking, typing, crackling: short decaying bursts, evenly or by chance."""
    sound, rate = np.zeros(n), log_uniform(r, 0.5, 40)
    decay, frequency, pure = log_uniform(r, 0.001, 0.06), log_uniform(r, 150, 6000), r.uniform(0, 1)
    is_even, differ = r.random() < 0.4, r.random() < 0.5
    starts = (
        np.arange(0, n, SAMPLE_RATE / rate)
        if is_even
        else r.uniform(0, n, r.poisson(rate * n / SAMPLE_RATE) + 1)
    )
    for start in starts.astype(int):
        fade = decay * log_uniform(r, 0.5, 2) if differ else decay
        t = seconds(min(int(fade * 8 * SAMPLE_RATE) + 20, n - start))
        ring = np.sin(2 * np.pi * frequency * (log_uniform(r, 0.7, 1.4) if differ else 1) * t) * pure
        burst = ring + r.standard_normal(len(t)) * (1 - pure)
        sound[start : start + len(t)] += burst * np.exp(-t / fade) * gain(r.uniform(-15, 0))
    return sound


def calls(n: int, r: Chance, low: float, high: float) -> Iterator[tuple[int, int]]:
    """Start and length in samples of repeated calls of `low` to `high` seconds."""
    start, length, gap = (
        int(r.uniform(0, 0.5) * SAMPLE_RATE),
        log_uniform(r, low, high),
        log_uniform(r, 0.05, 1),
    )
    while start < n:
        n_call = min(int(length * log_uniform(r, 0.75, 1.33) * SAMPLE_RATE), n - start)
        if n_call > 200:
            yield start, n_call
        start += int((length + gap * log_uniform(r, 0.6, 1.6)) * SAMPLE_RATE)


def chirps(n: int, r: Chance) -> Array:
    """Birds and electronics: quick high sweeps."""
    sound, centre, slope = np.zeros(n), log_uniform(r, 800, 6000), r.uniform(-1, 1)
    trill, depth, n_partials = log_uniform(r, 5, 40), r.uniform(0, 0.1), int(r.integers(1, 4))
    for start, length in calls(n, r, 0.03, 0.4):
        t = seconds(length)
        sweep = slope * t / t[-1] + depth * np.sin(2 * np.pi * trill * t)
        frequency = np.minimum(centre * log_uniform(r, 0.9, 1.1) * 2**sweep, 7500)
        call = partials(frequency, r, n_partials) * np.hanning(length)
        sound[start : start + length] += call * gain(r.uniform(-10, 0))
    return sound


def animal(n: int, r: Chance) -> Array:
    """Barks, crows, moos and hinges: one rough arch of pitch under resonances that stand still."""
    sound, pitch, arch = np.zeros(n), log_uniform(r, 120, 1200), r.uniform(-0.5, 1)
    rough, n_partials, soft = r.uniform(0, 0.6), int(r.integers(4, 30)), r.uniform(0.2, 1)
    hills = [(log_uniform(r, 300, 4000), r.uniform(0.15, 0.6)) for _ in range(r.integers(1, 4))]
    for start, length in calls(n, r, 0.05, 1.2):
        shape = np.sin(np.pi * np.linspace(0, 1, length))
        frequency = pitch * log_uniform(r, 0.95, 1.05) * 2 ** (arch * shape + 0.03 * walk(length, r, 30, 1))
        call = unit(partials(frequency, r, n_partials)) + coloured(length, r) * rough
        call = filtered(call, lambda f: np.sum([hill(f, c, w) for c, w in hills], axis=0) + 0.02)
        sound[start : start + length] += unit(call) * shape**soft * gain(r.uniform(-8, 0))
    return sound


KINDS: dict[str, Callable[[int, Chance], Array]] = {
    made.__name__: made
    for made in (
        steady,
        modulated,
        tone,
        hum,
        siren,
        beeps,
        melody,
        ensemble,
        drums,
        engine,
        wind,
        clicks,
        chirps,
        animal,
    )
}


def voice(n: int, r: Chance) -> Array:
    """A gliding source under formants that move, in syllables, with breath."""
    pitch = log_uniform(r, 80, 350) * 2 ** walk(n, r, log_uniform(r, 1, 5), r.uniform(0.05, 0.3))
    centres = [(300, 800), (1000, 2200), (2300, 3200)]
    tracks = [
        r.uniform(*span) * 2 ** walk(n, r, log_uniform(r, 2, 6), d)
        for span, d in zip(centres, (0.5, 0.35, 0.1), strict=True)
    ]
    phase, fall = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE, r.uniform(0.3, 1.2)
    sound = np.zeros(n)
    for number in range(1, 31):
        if number * pitch.min() > 4500:
            break
        peaks = [
            np.exp(-0.5 * ((number * pitch - c) / w) ** 2)
            for c, w in zip(tracks, (90, 130, 200), strict=True)
        ]
        sound += (0.02 + np.sum(peaks, axis=0)) * np.sin(number * phase) * number**-fall
    return unit(sound) * syllables(n, r) + r.standard_normal(n) * log_uniform(r, 1e-4, 1e-2)


def degrade(samples: Array, r: Chance) -> Array:
    """`samples` through some channel, peak 0.5."""
    samples = samples - samples.mean()
    if r.random() < 0.5:
        samples = filtered(samples, channel(r))
    if r.random() < 0.15:
        samples = in_room(samples, r)
    samples = samples / (np.abs(samples).max() + 1e-9)
    fault = r.random()
    if fault < 0.08:
        samples = np.clip(samples * log_uniform(r, 1, 8), -1, 1)
    elif fault < 0.16:
        coded = np.round(np.log1p(255 * np.abs(samples)) / np.log(256) * 127) / 127
        samples = np.sign(samples) * np.expm1(coded * np.log(256)) / 255
    if r.random() < 0.4:
        samples = add_noise(samples, coloured(len(samples), r), snr_db=r.uniform(15, 50))
    return samples / (np.abs(samples).max() + 1e-9) / 2


def channel(r: Chance) -> Callable[[Array], Array]:
    tilt = r.uniform(-4, 4) / 6.02
    hills = [(r.uniform(-8, 8), log_uniform(r, 100, 6000), r.uniform(0.2, 1)) for _ in range(r.integers(3))]
    top = log_uniform(r, 2500, 7000) if r.random() < 0.25 else np.inf
    bottom = log_uniform(r, 60, 350) if r.random() < 0.25 else 0

    def response(f: Array) -> Array:
        peaks = np.sum([db * hill(f, c, w) for db, c, w in hills], axis=0) if hills else 0
        edges = 1 / (1 + (f / top) ** 12) * (1 - 1 / (1 + (f / bottom) ** 6) if bottom else 1)
        return np.maximum(f / 1000, 0.05) ** tilt * gain(peaks) * edges

    return response


def in_room(samples: Array, r: Chance) -> Array:
    n = int(r.uniform(0.05, 0.4) * SAMPLE_RATE)
    echo = r.standard_normal(n) * np.exp(-5 * np.arange(n) / n)
    echo[0] = r.uniform(1, 6) * np.sqrt(n / 10)
    return convolve(samples, echo)
