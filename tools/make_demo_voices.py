"""Make the bundled demo voices: the two sentences of the RAVDESS, said by espeak-ng and shaped a little by us.

    python tools/make_demo_voices.py [FOLDER]

In: espeak-ng (apt-get install espeak-ng) on the path. Out: FOLDER/demo-*.flac, 16 kHz mono, the same samples each
time with the same version of espeak-ng. The voices are synthetic and dedicated to the public domain (CC0 1.0).

They show that the line works, not how good the model is: the model was not trained on a synthetic voice, and calls most
of them angry or neutral. These settings are the ones of some 400 that gave an earlier model three different answers.
"""

import io
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

SAMPLE_RATE = 16_000
PEAK = 0.5
ASSETS = Path(__file__).resolve().parent.parent / "src" / "speech_emotion" / "assets"
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Voice:
    """How a sentence is said. Pitch is espeak's 0 to 99; tilt above 0 brightens, below 0 darkens."""

    name: str
    sentence: str
    variant: str
    words_per_minute: int
    pitch: int
    pitch_range: str
    tilt: float
    breath: float


VOICES = (
    Voice(
        name="fast",
        sentence="Dogs are sitting by the door.",
        variant="en-us+Annie",
        words_per_minute=170,
        pitch=60,
        pitch_range="medium",
        tilt=0.9,
        breath=0.3,
    ),
    Voice(
        name="lively",
        sentence="Kids are talking by the door.",
        variant="en-us+belinda",
        words_per_minute=180,
        pitch=90,
        pitch_range="x-low",
        tilt=0.9,
        breath=0.05,
    ),
    Voice(
        name="low",
        sentence="Dogs are sitting by the door.",
        variant="en+m3",
        words_per_minute=110,
        pitch=25,
        pitch_range="x-low",
        tilt=-0.5,
        breath=0.15,
    ),
)


def speak(voice: Voice) -> FloatArray:
    """What espeak-ng says, at 16 kHz."""
    text = f'<speak><prosody range="{voice.pitch_range}">{voice.sentence}</prosody></speak>'
    command = ["espeak-ng", "-m", "--stdout", "-v", voice.variant]
    command += ["-s", str(voice.words_per_minute), "-p", str(voice.pitch), text]
    wav = subprocess.run(command, check=True, capture_output=True).stdout
    samples, sample_rate = soundfile.read(io.BytesIO(wav), dtype="float32")
    resampled: FloatArray = soxr.resample(samples, sample_rate, SAMPLE_RATE)
    return resampled


def shape(samples: FloatArray, voice: Voice) -> FloatArray:
    """Tilt the spectrum, add breath as loud as the voice of the moment, and a quarter of a second of quiet."""
    tilted = np.append(samples[0], samples[1:] - voice.tilt * samples[:-1])
    loudness = np.convolve(np.abs(tilted), np.full(400, 1 / 400), "same")
    breathing = tilted + voice.breath * loudness * np.random.default_rng(0).standard_normal(len(tilted))
    return np.pad(breathing * PEAK / np.abs(breathing).max(), SAMPLE_RATE // 4).astype(np.float32)


def main(folder: Path = ASSETS) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for voice in VOICES:
        path = folder / f"demo-{voice.name}.flac"
        samples = shape(speak(voice), voice)
        soundfile.write(path, samples, SAMPLE_RATE, subtype="PCM_16", compression_level=1.0)
        print(f"{path.name}: {len(samples) / SAMPLE_RATE:.2f} s, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
