"""Read sounds. In: a file, bytes or an array. Out: mono float32 at 16 kHz, and what is wrong with the recording."""

from speech_emotion.audio.quality import FloatArray
from speech_emotion.audio.reader import (
    AUDIO_SUFFIXES,
    SAMPLE_RATE,
    AudioStream,
    Channels,
    Limits,
    Resampler,
    SeparateResampler,
    Waveform,
    channel_names,
    load,
    open_audio,
    open_file,
    resampler_for,
)
from speech_emotion.audio.sources import SAMPLE_FORMATS, Source, decode_pcm, resolve

__all__ = [
    "AUDIO_SUFFIXES",
    "SAMPLE_FORMATS",
    "SAMPLE_RATE",
    "AudioStream",
    "Channels",
    "FloatArray",
    "Limits",
    "Resampler",
    "SeparateResampler",
    "Source",
    "Waveform",
    "channel_names",
    "decode_pcm",
    "load",
    "open_audio",
    "open_file",
    "resampler_for",
    "resolve",
]
