"""The known corpora. In: a name such as "ravdess". Out: the Corpus, its facts and its reader."""

from pkgutil import resolve_name
from typing import Final

from speech_emotion.corpora.manifest import Clip, Corpus
from speech_emotion.errors import CorpusError

__all__ = ["Clip", "Corpus", "get", "names", "same_speakers"]

# One line per corpus: a module of readers/ and the Corpus in it.
READERS: Final = (
    "ravdess:SPEECH",
    "ravdess:SONG",
    "nemo:CORPUS",
    "tess:CORPUS",
    "savee:CORPUS",
    "emodb:CORPUS",
    "cremad:CORPUS",
    "emospeech_in:CORPUS",
    "emotiontts_ko:CORPUS",
    "turev_db:CORPUS",
    "banglaser:CORPUS",
)
SAME_SPEAKERS: Final = (frozenset({"ravdess", "ravdess-song"}),)  # corpora that share their speakers
_CORPORA: Final[tuple[Corpus, ...]] = tuple(
    resolve_name(f"{__name__}.readers.{reader}") for reader in READERS
)
_BY_NAME: Final = {corpus.name: corpus for corpus in _CORPORA}


def names() -> tuple[str, ...]:
    """The names that `get` knows."""
    return tuple(_BY_NAME)


def get(name: str) -> Corpus:
    """The corpus called `name`; CorpusError if there is none."""
    if name not in _BY_NAME:
        raise CorpusError(
            f"There is no corpus {name!r}. Choose one of: {', '.join(_BY_NAME)}; "
            "or give a table of your own recordings instead of a folder (docs/corpora.md)."
        )
    return _BY_NAME[name]


def same_speakers(corpus: str) -> frozenset[str]:
    """The corpora with the speakers of `corpus`: itself, and maybe others."""
    return next((group for group in SAME_SPEAKERS if corpus in group), frozenset({corpus}))


def title(name: str) -> str:
    """The title of a published corpus; of another one its name."""
    return _BY_NAME[name].title if name in _BY_NAME else name
