"""Every error this package raises on purpose, in one tree. Each message ends in a next step.

    SpeechEmotionError
    ├── AudioError (ValueError)        a sound that cannot be used
    │   ├── AudioNotFoundError         no such file, a directory, no permission, not a regular file
    │   ├── AudioDecodeError           not a sound, damaged, or without an audio track
    │   ├── AudioTooShortError         fewer samples than an answer needs
    │   ├── AudioTooLargeError         beyond a limit of duration, bytes, rate or channels
    │   └── InvalidWaveformError       NaN, infinity, wrong shape or type
    ├── ModelError                     a model file or a profile that cannot be trusted or used
    │   ├── ModelNotFoundError         no such file, or no shipped model of that name
    │   ├── ModelFormatError           not a model of this package, or another format version
    │   └── ModelIntegrityError        the bytes are not the ones that were written
    ├── ConfigError (ValueError)       an unknown or impossible setting
    ├── SegmentsError (ValueError)     a list of segments that cannot be used
    ├── CorpusError (ValueError)       a corpus folder or prepared dataset that is not what it should be
    │   └── SpeakerLeakError           one speaker on both sides of a split
    ├── WorkerDiedError                a process that had work was killed or crashed
    ├── ParityError                    the exported graph and the trained network disagree
    └── MissingExtraError (ImportError) an optional part is not installed

Each class has a `code`: a short, stable, lower-case word for tables, JSON and logs.
"""


class SpeechEmotionError(Exception):
    """Base class of all errors of this package.

    Attributes:
        code: A short, stable word for the kind of error, for tables, JSON and logs.
    """

    code = "error"


class AudioError(SpeechEmotionError, ValueError):
    """A sound cannot be used."""

    code = "audio"


class AudioNotFoundError(AudioError):
    """There is no such file, it is a folder, a pipe or a device, or it may not be read."""

    code = "audio_not_found"


class AudioDecodeError(AudioError):
    """The content is not sound, is damaged, or has no audio track."""

    code = "audio_decode"


class AudioTooShortError(AudioError):
    """There are fewer samples than an answer or a profile needs."""

    code = "audio_too_short"


class AudioTooLargeError(AudioError):
    """A limit of duration, bytes, sample rate or channels is exceeded."""

    code = "audio_too_large"


class InvalidWaveformError(AudioError):
    """An array has NaN, infinity, another shape or another type, or lacks its sample rate."""

    code = "invalid_waveform"


class ModelError(SpeechEmotionError):
    """A model file or a profile cannot be trusted or used."""

    code = "model"


class ModelNotFoundError(ModelError):
    """There is no such model file, or no shipped model of that name."""

    code = "model_not_found"


class ModelFormatError(ModelError):
    """The file is not a model of this package, or has another format version."""

    code = "model_format"


class ModelIntegrityError(ModelError):
    """The bytes are not the ones that were written."""

    code = "model_integrity"


class ConfigError(SpeechEmotionError, ValueError):
    """A setting is unknown or impossible."""

    code = "config"


class SegmentsError(SpeechEmotionError, ValueError):
    """A list of segments cannot be read, or holds times that no recording has."""

    code = "segments"


class CorpusError(SpeechEmotionError, ValueError):
    """A corpus folder or a prepared dataset is not what it should be."""

    code = "corpus"


class SpeakerLeakError(CorpusError):
    """One speaker is on both sides of a split."""

    code = "speaker_leak"


class WorkerDiedError(SpeechEmotionError):
    """A process that work was spread to was killed or crashed."""

    code = "worker_died"


class ParityError(SpeechEmotionError):
    """The exported graph and the trained network disagree."""

    code = "parity"


class MissingExtraError(SpeechEmotionError, ImportError):
    """An optional part of the package is not installed; the message names the command."""

    code = "missing_extra"
