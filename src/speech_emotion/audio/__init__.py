"""The gate for sound. In: any source of sound. Out: mono float32 at 16 kHz."""

from speech_emotion.audio.reader import (
    SAMPLE_RATE,
    AudioStream,
    FloatArray,
    Limits,
    Resampler,
    Source,
    Waveform,
    load,
    open_audio,
)

__all__ = [
    "SAMPLE_RATE",
    "AudioStream",
    "FloatArray",
    "Limits",
    "Resampler",
    "Source",
    "Waveform",
    "load",
    "open_audio",
]
