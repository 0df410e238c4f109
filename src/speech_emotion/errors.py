"""Every error this package raises, in one tree. In: what went wrong. Out: a message that ends in a next step.

SpeechEmotionError
├── AudioError (ValueError)        a sound that cannot be used
│   ├── AudioNotFoundError         no such file, a directory, no permission, not a regular file
│   ├── AudioDecodeError           not a sound, damaged, or without an audio track
│   ├── AudioTooShortError         fewer samples than an answer needs
│   ├── AudioTooLargeError         beyond a limit of duration, bytes, rate or channels
│   └── InvalidWaveformError       NaN, infinity, wrong shape or type
├── ModelError                     a model file that cannot be trusted or used
│   ├── ModelNotFoundError         no such file
│   ├── ModelFormatError           not a model of ours, or of another format version
│   └── ModelIntegrityError        the bytes are not the ones that were written
├── ConfigError (ValueError)       an unknown or impossible setting
├── CorpusError (ValueError)       a corpus folder or prepared dataset that is not what it should be
│   └── SpeakerLeakError           one speaker on both sides of a split
├── ParityError                    the exported graph and the trained network disagree
└── MissingExtraError (ImportError) an optional part is not installed

Each class has a `code`: a short, stable, lower-case word for tables, JSON and logs.
"""


class SpeechEmotionError(Exception):
    """The root: `except SpeechEmotionError` catches everything this package raises on purpose."""

    code = "error"


class AudioError(SpeechEmotionError, ValueError):
    code = "audio"


class AudioNotFoundError(AudioError):
    code = "audio_not_found"


class AudioDecodeError(AudioError):
    code = "audio_decode"


class AudioTooShortError(AudioError):
    code = "audio_too_short"


class AudioTooLargeError(AudioError):
    code = "audio_too_large"


class InvalidWaveformError(AudioError):
    code = "invalid_waveform"


class ModelError(SpeechEmotionError):
    code = "model"


class ModelNotFoundError(ModelError):
    code = "model_not_found"


class ModelFormatError(ModelError):
    code = "model_format"


class ModelIntegrityError(ModelError):
    code = "model_integrity"


class ConfigError(SpeechEmotionError, ValueError):
    code = "config"


class CorpusError(SpeechEmotionError, ValueError):
    code = "corpus"


class SpeakerLeakError(CorpusError):
    code = "speaker_leak"


class ParityError(SpeechEmotionError):
    code = "parity"


class MissingExtraError(SpeechEmotionError, ImportError):
    code = "missing_extra"
