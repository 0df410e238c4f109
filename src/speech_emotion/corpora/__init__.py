"""The corpora we read. In: a name such as "ravdess". Out: the Corpus, its facts and its reader."""

from speech_emotion.corpora.manifest import Clip, Corpus
from speech_emotion.corpora.readers import (
    cremad,
    emodb,
    emospeech_in,
    emotiontts_ko,
    nemo,
    ravdess,
    savee,
    tess,
)
from speech_emotion.errors import CorpusError

__all__ = ["Clip", "Corpus", "get", "names"]

_ALL = (
    ravdess.SPEECH,
    ravdess.SONG,
    nemo.CORPUS,
    tess.CORPUS,
    savee.CORPUS,
    emodb.CORPUS,
    cremad.CORPUS,
    emospeech_in.CORPUS,
    emotiontts_ko.CORPUS,
)
_BY_NAME = {corpus.name: corpus for corpus in _ALL}


def names() -> tuple[str, ...]:
    """The names that `get` knows."""
    return tuple(_BY_NAME)


def get(name: str) -> Corpus:
    """The corpus called `name`."""
    if name not in _BY_NAME:
        raise CorpusError(f"There is no corpus {name!r}. Choose one of: {', '.join(_BY_NAME)}.")
    return _BY_NAME[name]
