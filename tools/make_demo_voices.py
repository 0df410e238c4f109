"""Make the bundled demo voices: one sentence, spoken three ways by espeak-ng and shaped a little by us.

    python tools/make_demo_voices.py [FOLDER]

In: espeak-ng (apt-get install espeak-ng) on the path. Out: FOLDER/demo-*.flac, 16 kHz mono, the same bytes
each time with the same versions of espeak-ng and libsndfile. The voices are synthetic and
dedicated to the public domain (CC0 1.0). They show that the line works, not how good the model is.
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
ASSETS = Path(__file__).resolve().parent.parent / "src" / "speech_emotion" / "assets"
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Voice:
    """How a sentence is said. Pitch and range are espeak's 0–99; tilt > 0 brightens, < 0 darkens."""

    name: str
    sentence: str
    variant: str
    words_per_minute: int
    pitch: int
    pitch_range: str
    tilt: float
    peak: float


VOICES = (
    Voice("angry", "Dogs are sitting by the door!", "en+m3", 190, 55, "x-high", tilt=0.9, peak=0.9),
    Voice("happy", "Kids are talking by the door!", "en+f3", 165, 75, "x-high", tilt=0.3, peak=0.4),
    Voice("sad", "Kids are talking by the door.", "en+f2", 105, 30, "low", tilt=-0.7, peak=0.05),
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
    """Tilt the spectrum, set the peak, and add a quarter of a second of quiet at both ends."""
    tilted = np.append(samples[0], samples[1:] - voice.tilt * samples[:-1])
    silence = np.zeros(SAMPLE_RATE // 4, dtype=np.float32)
    return np.concatenate([silence, tilted * (voice.peak / np.abs(tilted).max()), silence]).astype(np.float32)


def main(folder: Path = ASSETS) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for voice in VOICES:
        path = folder / f"demo-{voice.name}.flac"
        samples = shape(speak(voice), voice)
        soundfile.write(path, samples, SAMPLE_RATE, subtype="PCM_16", compression_level=1.0)
        print(f"{path.name}: {len(samples) / SAMPLE_RATE:.2f} s, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
