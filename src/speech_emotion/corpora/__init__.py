"""The corpora we read. In: a name such as "ravdess". Out: the Corpus, its facts and its reader."""

from speech_emotion.corpora import ravdess
from speech_emotion.corpora.manifest import Clip, Corpus
from speech_emotion.errors import CorpusError

__all__ = ["Clip", "Corpus", "get", "names"]

_CORPORA = {corpus.name: corpus for corpus in (ravdess.SPEECH, ravdess.SONG)}


def names() -> tuple[str, ...]:
    """The names that `get` knows."""
    return tuple(_CORPORA)


def get(name: str) -> Corpus:
    """The corpus called `name`."""
    if name not in _CORPORA:
        raise CorpusError(f"There is no corpus {name!r}. Choose one of: {', '.join(_CORPORA)}.")
    return _CORPORA[name]
