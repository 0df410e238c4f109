"""The named splits, as data. In: a protocol's name. Out: its folds, every speaker on one side of each.

A protocol states which speakers are tested. If it names validation speakers, those are used. If not, they come from
one rule: **walk the test folds that follow, round and round, each in ascending order, and take the first speaker of
each sex that is not tested in this fold.** So RAVDESS gives one woman and one man per fold, SAVEE (four men) one man,
and every choice is known before anything is trained. Validation speakers choose epochs, recipes and temperatures; test
speakers are scored once, at the end.

The protocols CORPUS-unheard divide nothing: all of a corpus tests a model that learned no emotion from it. (The speech
head learned from half of the speakers of nEMO, EmoSpeech-IN and EmotionTTS: docs/limits.md.) So do the protocols
SPANNING, for several corpora: `loco` tests each corpus of a recipe by the training that left it out, `dev-far` the
corpora DEV_FAR, by which recipes are chosen.

A corpus of one's own (corpora/own.py) is divided by one of the splits OWN, made from its speakers in ascending order.

`random10` divides *clips*, with the same voices on both sides, as much of the literature does; its folds hold clip
names. `luna5-peeked` and `random10-copies` exist in recorded results alone (`recorded`); benchmarks/honesty_ladder.py
trains and scores them. All three are `leaky`, and their text says LEAKY and why.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache, cached_property, partial
from itertools import product
from typing import Final

import numpy as np
import numpy.typing as npt

from speech_emotion.corpora import Clip, Corpus, same_speakers
from speech_emotion.corpora.own import OwnCorpus
from speech_emotion.errors import ConfigError, SpeakerLeakError


def check_no_leak(learned_from: Collection[str], test: Collection[str], *, where: str) -> None:
    """Raise SpeakerLeakError if a speaker was learned from and is tested as well."""
    if both := sorted(set(learned_from) & set(test)):
        raise SpeakerLeakError(
            f"{where}: {', '.join(both)} on both sides of the split. "
            "No tested speaker may be learned from: take them out of one side."
        )


@dataclass(frozen=True)
class Fold:
    """Three disjoint sets of speakers; of clip names if clips are divided, ALL_SPEAKERS if nothing is."""

    index: int
    test: frozenset[str]
    validation: frozenset[str]
    train: frozenset[str]

    def __post_init__(self) -> None:
        check_no_leak(self.train, self.test, where=f"fold {self.index}, train and test")
        check_no_leak(self.train, self.validation, where=f"fold {self.index}, train and validation")
        check_no_leak(self.validation, self.test, where=f"fold {self.index}, validation and test")

    def to_dict(self) -> dict[str, object]:
        """JSON-safe, sorted: `{"fold": 0, "test": [...], "validation": [...], "train": [...]}`."""
        sides = {"test": self.test, "validation": self.validation, "train": self.train}
        return {"fold": self.index} | {side: sorted(members) for side, members in sides.items()}


@dataclass(frozen=True)
class Protocol:
    """A named way to divide one corpus. `str(protocol)` is how it is printed."""

    name: str
    corpus: str
    folds: tuple[Fold, ...]
    divides_clips: bool = False
    divides_nothing: bool = False
    habit: str = ""  # of a recorded protocol: what its trainings did wrong beyond the folds
    recorded_hash: str = ""  # of the sides that they used

    def __str__(self) -> str:
        return f"{self.name} (LEAKY: {', '.join(self.leaks)})" if self.leaky else self.name

    @property
    def leaks(self) -> tuple[str, ...]:
        """What is dishonest about it, if anything."""
        voices = "same speakers in train and test" if self.divides_clips else ""
        return tuple(leak for leak in (voices, self.habit) if leak)

    @property
    def leaky(self) -> bool:
        """Whether anything is."""
        return bool(self.leaks)

    @cached_property
    def split_hash(self) -> str:
        """sha256 of the folds: equal hashes are equal splits of a corpus."""
        return self.recorded_hash or hash_of([fold.to_dict() for fold in self.folds])

    def describe(self, fold: Fold) -> dict[str, object]:
        """The metadata "protocol" of a model trained on `fold`."""
        return {"name": self.name, "corpus": self.corpus, "leaky": self.leaky} | fold.to_dict()

    def indices(self, clips: Iterable[Clip], members: frozenset[str]) -> npt.NDArray[np.int64]:
        """Positions of the clips that belong to one side: `indices(clips, fold.train)`."""
        return np.flatnonzero([self.member(clip) in members for clip in clips])

    def member(self, clip: Clip) -> str:
        """What a clip is divided by: its speaker, its own name, or ALL_SPEAKERS."""
        if self.divides_nothing:
            return ALL_SPEAKERS
        return clip.name if self.divides_clips else clip.speaker


def hash_of(folds: Sequence[Mapping[str, object]]) -> str:
    """sha256 of folds, each as `Fold.to_dict` gives it, as canonical JSON."""
    return hashlib.sha256(json.dumps(folds, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def names() -> tuple[str, ...]:
    """Every protocol that can be trained and scored."""
    return tuple(_PROTOCOLS)


@cache
def protocol(name: str) -> Protocol:
    """The protocol of this name."""
    if name in _RECORDED:
        raise ConfigError(f"{name} is dishonest: benchmarks/honesty_ladder.py alone trains and scores it.")
    if name in OWN:
        raise ConfigError(
            f"{name} divides recordings of your own. Give their table: --corpus NAME=TABLE.csv."
        )
    if name not in _PROTOCOLS:
        close = get_close_matches(name, _PROTOCOLS, n=1)
        hint = f"Did you mean {close[0]}?" if close else f"Choose one of: {', '.join(_PROTOCOLS)}."
        raise ConfigError(f"There is no protocol {name!r}. {hint}")
    return _PROTOCOLS[name]()


def protocol_of(corpus: Corpus, name: str) -> Protocol:
    """The protocol of this name, if it divides `corpus`."""
    if name in SPANNING:
        return undivided(corpus.name, name)
    if isinstance(corpus, OwnCorpus) and name in OWN:
        return _own(corpus, name)
    if (split := protocol(name)).corpus != corpus.name:
        advice = f"Choose one of: {', '.join(OWN)}." if isinstance(corpus, OwnCorpus) else ""
        raise ConfigError(
            f"{name} divides {split.corpus}, not {corpus.name}. {advice or f'Use --corpus {split.corpus}=FOLDER.'}"
        )
    return split


def undivided(corpus: str, name: str) -> Protocol:
    """The protocol `name` for one corpus: every speaker is tested, by a model of other corpora."""
    if name == "dev-far" and corpus not in DEV_FAR:
        raise ConfigError(f"dev-far tests {', '.join(DEV_FAR)}, not {corpus}.")
    fold = Fold(0, frozenset({ALL_SPEAKERS}), frozenset(), frozenset())
    return Protocol(name, corpus, (fold,), divides_nothing=True)


def folder_without(corpus: str) -> str:
    """Where a run under `loco` keeps the training that left out `corpus` and those with the same speakers."""
    return f"without-{min(same_speakers(corpus))}"


def recorded(name: str) -> Protocol:
    """The protocol that a result file names: one of `names`, or one of the honesty ladder's own."""
    return _RECORDED[name]() if name in _RECORDED else protocol(name)


def _ids(*numbers: int) -> tuple[str, ...]:
    return tuple(f"{number:02d}" for number in numbers)


ALL_SPEAKERS: Final = "everybody"  # of a corpus that is not divided; the word is part of published hashes
OWN: Final = {
    "speakers": 0,
    "speakers5": 5,
    "unheard": 1,
}  # a split of one's own corpus → its folds; 0: one a speaker
LOCO: Final = "loco"  # leave one corpus out
SPANNING: Final = (LOCO, "dev-far")  # for several corpora
DEV_FAR: Final = ("ased", "aesdd", "uem-es", "urdu")
_RAVDESS: Final = _ids(*range(1, 25))
_CREMA_D: Final = _ids(*range(1001, 1092))
_LUNA5: Final = (
    _ids(2, 5, 14, 15, 16),
    _ids(3, 6, 7, 13, 18),
    _ids(10, 11, 12, 19, 20),
    _ids(8, 17, 21, 23, 24),
    _ids(1, 4, 9, 22),
)
_LUNA5_VALIDATION: Final = (_ids(3, 6), _ids(10, 11), _ids(8, 17), _ids(1, 14), _ids(2, 5))
_EMOBOX6: Final = (
    _ids(1, 11, 20, 21),
    _ids(4, 10, 12, 14),
    _ids(8, 9, 19, 23),
    _ids(3, 5, 7, 24),
    _ids(2, 15, 16, 18),
    _ids(6, 13, 17, 22),
)
_SERAB_TEST: Final = _ids(1, 4, 13, 16, 22)
_SERAB_VALIDATION: Final = _ids(6, 8, 10, 19, 20)
_SAVEE4: Final = (("JE",), ("KL",), ("DC",), ("JK",))
_TFDS_TEST: Final = _ids(
    *(1010, 1013, 1022, 1026, 1037, 1038, 1040, 1045, 1047, 1048),
    *(1059, 1065, 1066, 1068, 1071, 1073, 1084, 1086, 1088),
)
_TFDS_VALIDATION: Final = _ids(1015, 1020, 1021, 1030, 1050, 1070, 1079, 1089, 1090)


def _ravdess_sex(actor: str) -> str:
    return "male" if int(actor) % 2 else "female"


def _fold(index: int, speakers: Sequence[str], test: Sequence[str], validation: Sequence[str]) -> Fold:
    train = set(speakers) - set(test) - set(validation)
    return Fold(index, frozenset(test), frozenset(validation), frozenset(train))


def _validation(tests: Sequence[Sequence[str]], fold: int, sex: Callable[[str], str]) -> tuple[str, ...]:
    """The rule at the top of this file."""
    first: dict[str, str] = {}
    for following in (*tests[fold + 1 :], *tests[:fold]):
        for speaker in sorted(following):
            first.setdefault(sex(speaker), speaker)
    return tuple(first.values())


def _derived(tests: Sequence[Sequence[str]], sex: Callable[[str], str]) -> tuple[Fold, ...]:
    speakers = [speaker for test in tests for speaker in test]
    return tuple(_fold(k, speakers, test, _validation(tests, k, sex)) for k, test in enumerate(tests))


def _luna5() -> Protocol:
    sides = zip(_LUNA5, _LUNA5_VALIDATION, strict=True)
    folds = tuple(_fold(k, _RAVDESS, test, validation) for k, (test, validation) in enumerate(sides))
    return Protocol("luna5", "ravdess", folds)


def _random10() -> Protocol:
    """Shuffled by the sha256 of the clip's name; the validation clips of a fold are the next fold's test."""
    shuffled = sorted(_ravdess_speech(), key=lambda clip: hashlib.sha256(clip.encode()).digest())
    tests = [shuffled[k::10] for k in range(10)]
    folds = tuple(_fold(k, shuffled, tests[k], tests[(k + 1) % 10]) for k in range(10))
    return Protocol("random10", "ravdess", folds, divides_clips=True)


def _ravdess_speech() -> list[str]:
    """The 1440 names of the speech recordings; neutral (01) was never spoken with strong intensity (02)."""
    emotions = [(f"{code:02d}", strength) for code in range(1, 9) for strength in ("01", "02")]
    takes = product(emotions, ("01", "02"), ("01", "02"), _RAVDESS)
    return [
        f"03-01-{emotion}-{strength}-{statement}-{repetition}-{actor}"
        for (emotion, strength), statement, repetition, actor in takes
        if (emotion, strength) != ("01", "02")
    ]


def _own(corpus: OwnCorpus, name: str) -> Protocol:
    """A split of OWN. With fewer than six people, a fold has one for validation: the others are needed."""
    if name == "unheard":
        return undivided(corpus.name, name)
    sexes = {clip.speaker: clip.sex for clip in corpus.clips}
    n_folds = OWN[name] or len(sexes)
    if len(sexes) < max(n_folds, 3):
        raise ConfigError(
            f"{corpus.name} has {len(sexes)} speakers, and {name} needs {max(n_folds, 3)}: one to test, one to "
            "validate, and others to learn from. Record more people, or leave --protocol out and have no score."
        )
    tests = [sorted(sexes)[fold::n_folds] for fold in range(n_folds)]
    folds = _derived(tests, lambda speaker: sexes[speaker] if len(sexes) > 5 else "any")
    return Protocol(name, corpus.name, folds)


_UNHEARD: Final = (
    "nemo",
    "emotiontts-ko",
    "emospeech-in",
    "tess",
    "emodb",
    "cremad",
    "turev-db",
    "banglaser",
)
_PROTOCOLS: Final[dict[str, Callable[[], Protocol]]] = {
    "luna5": _luna5,
    "emobox6": lambda: Protocol("emobox6", "ravdess", _derived(_EMOBOX6, _ravdess_sex)),
    "loso24": lambda: Protocol("loso24", "ravdess", _derived([(one,) for one in _RAVDESS], _ravdess_sex)),
    "serab": lambda: Protocol("serab", "ravdess", (_fold(0, _RAVDESS, _SERAB_TEST, _SERAB_VALIDATION),)),
    "savee4": lambda: Protocol("savee4", "savee", _derived(_SAVEE4, lambda _: "male")),
    "tfds": lambda: Protocol("tfds", "cremad", (_fold(0, _CREMA_D, _TFDS_TEST, _TFDS_VALIDATION),)),
    **{(name := f"{corpus}-unheard"): partial(undivided, corpus, name) for corpus in _UNHEARD},
    "random10": _random10,
}
_RECORDED: Final[dict[str, Callable[[], Protocol]]] = {
    "luna5-peeked": lambda: replace(  # luna5 without its validation speakers
        _luna5(),
        name="luna5-peeked",
        habit="epoch picked on the test speakers",
        recorded_hash="6857ef255046b20e1c2f2f2a770da7f8321283194d32982db697424b166a5e45",
    ),
    "random10-copies": lambda: replace(  # of a corpus that was augmented first and divided afterwards
        _random10(),
        name="random10-copies",
        habit="altered copies of test clips in train",
        recorded_hash="4425992adc7bf1065f9e13885e766d5304a11cbea4eef4278db023bc5da9da5e",
    ),
}
