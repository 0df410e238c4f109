"""What is wrong with the levels of a recording. In: its samples. Out: clipped, quiet, noisy and others."""

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

FloatArray = npt.NDArray[np.float32]

FULL_SCALE = 0.98  # A-law and mu-law end here
CLIPPED_SHARE = 1e-3
# Floats may exceed full scale. Then a recording is clipped if its loudest samples lie at one level, or if all its loud
# ones lie near full scale: a lossy codec does that to flat tops (by 0.01 to 0.08, and 0.09 to 2 where nothing is cut).
LEVEL_RATIO = 1.02
N_LEVELS = 256  # from full scale to 150 times as loud
OVERSHOOT = 0.08
QUIET_PEAK = 0.005  # 7 of the 16 bits of a recording
CANCELLED_POWER = 0.1  # of the power that would be left of channels that have nothing in common
# A recording is noisy where its quiet frames (10th percentile) lie less than this below its loud ones (95th). Of clean
# clips of RAVDESS, nEMO, EmotionTTS and Indian EmoSpeech 0 to 1 % do, with pink noise 5 dB below the voice 98 to 100 %
# (200 each), and a steady tone or noise does.
NOISY_RANGE_DB = 20
FRAME_SECONDS = 0.02
MIN_FRAMES = 25
AUDIBLE_DB = -60  # if even the loud frames are below this, there is no sound to judge
# Channels differ where at least two of them lead in turn: louder than all others by LEAD_DB for LEAD_SHARE of the time
# and LEAD_SECONDS. Pauses, ACTIVE_RANGE_DB below the loudest moments, do not count. Of calls made of two voices of the
# RAVDESS, all that take turns are found (with the other voice 14 dB lower on each side), and 97 % of those in which
# both always speak; of near-mono recordings, voices in a room, and turns that differ by 8 dB, none is (40 each).
LEAD_DB = 12
LEAD_SHARE = 0.02
LEAD_SECONDS = 0.5
ACTIVE_RANGE_DB = 25
TURN_SECONDS = 0.1  # the stretch in which levels are compared
# A channel below that leads only where it speaks alone: SPEECH_RANGE_DB above its own noise (10th percentile), LEAD_DB
# above all that the others had in the last N_ECHO stretches. Of calls with one voice 30 dB lower all are found, with
# crosstalk at -30 dB as well; of such crosstalk alone, up to 0.6 s late, and of steady noise alone none is (12 each).
SPEECH_RANGE_DB = 15
N_ECHO = 5


class Levels:
    """The levels of a recording, measured block by block. `warnings` says what is wrong with them."""

    def __init__(self, sample_rate: int) -> None:
        self._n_frame = round(FRAME_SECONDS * sample_rate)
        self._rest = np.zeros(0, np.float32)  # fills no frame yet
        self._n_frames_at = np.zeros(200, np.int64)  # how many frames have -160, -159, … 39 dB
        self._n_values, self._sum_of_loud = 0, 0.0
        self._n_loud_at = np.zeros(N_LEVELS, np.int64)  # samples at full scale, 1.02 times that, …
        self._power = self._mono_power = 0.0
        self._mono_highest, self._mono_lowest = -np.inf, np.inf
        self._n_frames, self._sum_of_means = 0, 0.0
        self._n_stretch = round(TURN_SECONDS * sample_rate)
        self._leads: _Leads | None = None  # of several channels

    def add(self, samples: FloatArray, mono: FloatArray) -> None:
        """Measure a block: `samples` (n_samples, n_channels), and their mean over channels `mono` (n_samples,)."""
        n_channels = samples.shape[1]
        self._n_values += samples.size
        self._add_loud(np.abs(samples))
        self._mono_highest = max(self._mono_highest, float(mono.max(initial=-np.inf)))
        self._mono_lowest = min(self._mono_lowest, float(mono.min(initial=np.inf)))
        if n_channels > 1:
            self._mono_power += float(np.square(mono).sum())
            self._power += float(np.square(samples).sum()) / n_channels**2  # if nothing is in common
            self._leads = self._leads or _Leads(self._n_stretch, n_channels)
            self._leads.add(samples)
        held = np.concatenate([self._rest, mono])
        n_whole = len(held) // self._n_frame * self._n_frame
        self._rest = held[n_whole:]
        frames = held[:n_whole].reshape(-1, self._n_frame)
        means = np.einsum("ij->i", frames) / self._n_frame  # three times as quick as mean
        centred = frames - self._offsets(means)[:, np.newaxis].astype(np.float32)
        power = np.einsum("ij,ij->i", centred, centred) / self._n_frame  # (frame,)
        level_db = 10 * np.log10(power + 1e-16)
        np.add.at(self._n_frames_at, np.clip(level_db + 160, 0, 199).astype(int), 1)

    def _add_loud(self, magnitudes: FloatArray) -> None:
        loud = magnitudes[magnitudes >= FULL_SCALE]
        if len(loud):
            levels = np.log(loud / np.float32(FULL_SCALE)) / np.log(LEVEL_RATIO)
            self._n_loud_at += np.bincount(np.clip(levels, 0, N_LEVELS - 1).astype(int), minlength=N_LEVELS)
            self._sum_of_loud += float(loud.sum(dtype=np.float64))

    def _offsets(self, means: FloatArray) -> npt.NDArray[np.float64]:
        """The constant that a sound card adds to all samples: for each frame (`means`: theirs), the mean until then."""
        sums = np.cumsum(np.concatenate([[self._sum_of_means], means]))
        counts = self._n_frames + np.arange(1, len(means) + 1)
        self._sum_of_means, self._n_frames = float(sums[-1]), self._n_frames + len(means)
        return np.asarray(sums[1:] / counts)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those of "clipped", "quiet", "noisy", "phase_cancelled" and "channels_differ" that hold so far."""
        found = {
            "clipped": self._is_clipped,
            "quiet": (self._mono_highest - self._mono_lowest) / 2 < QUIET_PEAK,
            "noisy": self._is_noisy,
            "phase_cancelled": self._mono_power < CANCELLED_POWER * self._power,
            "channels_differ": self._leads is not None and self._leads.alternate,
        }
        return tuple(word for word, is_so in found.items() if is_so)

    @property
    def _is_clipped(self) -> bool:
        n_loud, n_many = int(self._n_loud_at.sum()), CLIPPED_SHARE * self._n_values
        if n_loud <= n_many:
            return False
        loudest = int(np.flatnonzero(self._n_loud_at)[-1])
        n_loudest = int(self._n_loud_at[max(0, loudest - 1) : loudest + 1].sum())
        return n_loudest > n_many or self._sum_of_loud / n_loud - FULL_SCALE < OVERSHOOT

    @property
    def _is_noisy(self) -> bool:
        quiet_db, loud_db = (_percentile(self._n_frames_at, share) - 160 for share in (0.1, 0.95))
        is_long = int(self._n_frames_at.sum()) >= MIN_FRAMES
        return is_long and loud_db >= AUDIBLE_DB and loud_db - quiet_db < NOISY_RANGE_DB


class _Leads:
    """Which channel is the loudest by far, and how often: `alternate` says that several are, in turn."""

    def __init__(self, n_stretch: int, n_channels: int) -> None:
        self._n_stretch = n_stretch
        self._rest = np.zeros((0, n_channels), np.float32)  # (n_samples, n_channels), fills no stretch yet
        self._last_db = np.full((N_ECHO, n_channels), -160.0)  # (stretch, channel)
        # How many stretches have -160, -159, … 39 dB: in the loudest channel; in each; where it leads; and leads alone.
        self._n_loudest_at = np.zeros(200, np.int64)
        self._n_at, self._n_led_at, self._n_alone_at = np.zeros((3, n_channels, 200), np.int64)

    def add(self, samples: FloatArray) -> None:
        held = np.concatenate([self._rest, samples])
        n_whole = len(held) // self._n_stretch * self._n_stretch
        self._rest = held[n_whole:]
        stretches = held[:n_whole].reshape(-1, self._n_stretch, held.shape[1])
        level_db = 10 * np.log10(stretches.var(axis=1) + 1e-16)  # (stretch, channel)
        if len(level_db):
            self._count(level_db)

    def _count(self, level_db: npt.NDArray[np.float64]) -> None:
        n, n_channels = level_db.shape
        with_last_db = np.concatenate([self._last_db, level_db])
        self._last_db = with_last_db[n:]
        bins = np.clip(level_db + 160, 0, 199).astype(int)
        first, first_db, first_bins = level_db.argmax(axis=1), level_db.max(axis=1), bins.max(axis=1)
        others = np.arange(n_channels) != first[:, np.newaxis]
        recent_db = sliding_window_view(with_last_db, N_ECHO + 1, axis=0).max(axis=-1)
        is_led = first_db - level_db.max(axis=1, where=others, initial=-np.inf) > LEAD_DB
        is_alone = first_db - recent_db.max(axis=1, where=others, initial=-np.inf) > LEAD_DB
        np.add.at(self._n_loudest_at, first_bins, 1)
        np.add.at(self._n_at, (np.arange(n_channels), bins), 1)
        np.add.at(self._n_led_at, (first[is_led], first_bins[is_led]), 1)
        np.add.at(self._n_alone_at, (first[is_alone], first_bins[is_alone]), 1)

    @property
    def alternate(self) -> bool:
        loud = _percentile(self._n_loudest_at, 0.95)
        active = max(loud - ACTIVE_RANGE_DB, AUDIBLE_DB + 160)
        minimum = max(LEAD_SHARE * int(self._n_loudest_at[active:].sum()), LEAD_SECONDS / TURN_SECONDS)
        n_leading = 0
        for n_at, n_led_at, n_alone_at in zip(self._n_at, self._n_led_at, self._n_alone_at, strict=True):
            audible = max(_percentile(n_at, 0.1) + SPEECH_RANGE_DB, AUDIBLE_DB + 160)
            n_leading += int(n_led_at[active:].sum() + n_alone_at[audible:active].sum()) >= minimum
        return n_leading > 1


def _percentile(n_at: npt.NDArray[np.int64], share: float) -> int:
    """The bin that `share` of the counts reach."""
    n_until = np.cumsum(n_at)
    return int(np.searchsorted(n_until, share * n_until[-1]))
