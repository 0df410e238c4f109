"""The named splits: published test speakers, no speaker on two sides, derived choices that never move."""

import numpy as np
import pytest

from speech_emotion import corpora
from speech_emotion.corpora import Clip
from speech_emotion.errors import ConfigError, SpeakerLeakError
from speech_emotion.evaluation import splits
from speech_emotion.evaluation.splits import Fold, protocol

HONEST = [name for name in splits.names() if not protocol(name).leaky]
UNHEARD = [name for name in splits.names() if name.endswith("-unheard")]


def actors_tested(name: str) -> list[set[int]]:
    return [{int(speaker) for speaker in fold.test} for fold in protocol(name).folds]


def test_the_published_test_speakers() -> None:
    assert actors_tested("luna5") == [
        {2, 5, 14, 15, 16},
        {3, 6, 7, 13, 18},
        {10, 11, 12, 19, 20},
        {8, 17, 21, 23, 24},
        {1, 4, 9, 22},
    ]
    assert actors_tested("emobox6") == [
        {1, 11, 20, 21},
        {4, 10, 12, 14},
        {8, 9, 19, 23},
        {3, 5, 7, 24},
        {2, 15, 16, 18},
        {6, 13, 17, 22},
    ]
    assert actors_tested("loso24") == [{actor} for actor in range(1, 25)]
    assert actors_tested("serab") == [{1, 4, 13, 16, 22}]
    assert [fold.test for fold in protocol("savee4").folds] == [{"JE"}, {"KL"}, {"DC"}, {"JK"}]


def test_the_published_validation_speakers() -> None:
    luna5 = [sorted(fold.validation) for fold in protocol("luna5").folds]
    assert luna5 == [["03", "06"], ["10", "11"], ["08", "17"], ["01", "14"], ["02", "05"]]
    (serab,) = protocol("serab").folds
    assert serab.validation == {"06", "08", "10", "19", "20"}
    assert len(serab.train) == 14


def test_crema_d_as_tensorflow_datasets_divides_it() -> None:
    (fold,) = protocol("tfds").folds
    assert (len(fold.test), len(fold.validation), len(fold.train)) == (19, 9, 63)
    assert {"1010", "1088"} <= fold.test
    assert {"1015", "1090"} <= fold.validation
    assert {"1001", "1091"} <= fold.train


def test_derived_validation_is_the_next_of_each_sex_in_the_following_folds() -> None:
    emobox6 = [sorted(fold.validation) for fold in protocol("emobox6").folds]
    # Fold 0 is followed by {4, 10, 12, 14}, all women, then {8, 9, 19, 23}: 4 and 9.
    assert emobox6 == [["04", "09"], ["08", "09"], ["03", "24"], ["02", "15"], ["06", "13"], ["01", "20"]]
    loso24 = [sorted(fold.validation) for fold in protocol("loso24").folds]
    assert (loso24[0], loso24[1], loso24[23]) == (["02", "03"], ["03", "04"], ["01", "02"])
    assert [fold.validation for fold in protocol("savee4").folds] == [{"KL"}, {"DC"}, {"JK"}, {"JE"}]


@pytest.mark.parametrize("name", ["luna5", "emobox6", "loso24"])
def test_ravdess_validation_is_balanced_by_sex(name: str) -> None:
    for fold in protocol(name).folds:
        assert sorted(int(speaker) % 2 for speaker in fold.validation) == [0, 1]


@pytest.mark.parametrize("name", [name for name in HONEST if name not in UNHEARD])
def test_every_fold_divides_the_whole_corpus(name: str) -> None:
    first, *others = ({*fold.test, *fold.validation, *fold.train} for fold in protocol(name).folds)
    assert all(other == first for other in others)
    n_speakers = {"ravdess": 24, "savee": 4, "cremad": 91}[protocol(name).corpus]
    assert len(first) == n_speakers
    for fold in protocol(name).folds:
        assert len(fold.test) + len(fold.validation) + len(fold.train) == n_speakers


@pytest.mark.parametrize("name", splits.names())
def test_no_speaker_is_tested_twice(name: str) -> None:
    tested = [member for fold in protocol(name).folds for member in fold.test]
    assert len(tested) == len(set(tested))


@pytest.mark.parametrize("name", ["luna5", "emobox6", "loso24", "savee4", "random10"])
def test_every_speaker_is_tested_once(name: str) -> None:
    folds = protocol(name).folds
    tested = {member for fold in folds for member in fold.test}
    assert tested == set().union(*(fold.test | fold.validation | fold.train for fold in folds))


@pytest.mark.parametrize(
    ("test", "validation", "train"),
    [({"01"}, {"02"}, {"01", "03"}), ({"01"}, {"01"}, {"03"}), ({"01"}, {"02"}, {"02", "03"})],
)
def test_a_speaker_on_two_sides_is_an_error(test: set[str], validation: set[str], train: set[str]) -> None:
    with pytest.raises(SpeakerLeakError, match=r"fold 3, .* and .*: 0[12] on both sides"):
        Fold(3, frozenset(test), frozenset(validation), frozenset(train))


def test_random10_covers_every_speech_clip_and_says_what_it_is() -> None:
    random10 = protocol("random10")
    assert {clip for fold in random10.folds for clip in fold.test} == corpora.get("ravdess").names
    assert [len(fold.test) for fold in random10.folds] == [144] * 10
    assert str(random10) == "random10 (LEAKY: same speakers in train and test)"
    assert str(protocol("luna5")) == "luna5"


def test_random10_is_shuffled() -> None:
    for fold in protocol("random10").folds:
        assert len({clip[-2:] for clip in fold.test}) == 24  # every actor, on the other side too


def clip(name: str, speaker: str) -> Clip:
    return Clip(f"Actor_{speaker}/{name}.flac", "happy", speaker, "unknown")


@pytest.mark.parametrize(
    ("name", "base", "printed"),
    [
        ("luna5-peeked", "luna5", "epoch picked on the test speakers"),
        (
            "random10-copies",
            "random10",
            "same speakers in train and test, altered copies of test clips in train",
        ),
    ],
)
def test_what_the_ladder_alone_trains_is_known_by_name_and_nothing_else(
    name: str, base: str, printed: str
) -> None:
    recorded = splits.recorded(name)
    assert recorded.folds == protocol(base).folds
    assert recorded.divides_clips == protocol(base).divides_clips
    assert recorded.split_hash != protocol(base).split_hash
    assert str(recorded) == f"{name} (LEAKY: {printed})"
    assert name not in splits.names()
    with pytest.raises(ConfigError, match=f"{name} is dishonest: benchmarks/honesty_ladder.py alone"):
        protocol(name)


def test_only_random10_can_be_trained_and_is_leaky() -> None:
    assert [name for name in splits.names() if protocol(name).leaky] == ["random10"]
    assert all(protocol(name).leaks == () for name in HONEST)
    assert splits.recorded("random10") == protocol("random10")


def test_indices_select_by_speaker_and_in_random10_by_clip() -> None:
    clips = [clip("03-01-03-01-01-01-02", "02"), clip("03-01-03-01-01-01-05", "05"), clip("x", "09")]
    luna5, random10 = protocol("luna5"), protocol("random10")
    np.testing.assert_array_equal(luna5.indices(clips, luna5.folds[0].test), [0, 1])
    np.testing.assert_array_equal(luna5.indices(clips, luna5.folds[4].test), [2])
    np.testing.assert_array_equal(random10.indices(clips, frozenset({"03-01-03-01-01-01-05"})), [1])


def test_split_hashes_never_move() -> None:
    """A result file names the hash: changing a split by accident must not go unnoticed."""
    names = [*splits.names(), "luna5-peeked", "random10-copies"]
    assert {name: splits.recorded(name).split_hash[:12] for name in names} == {
        "luna5": "03288e0fbe12",
        "emobox6": "9b045332043b",
        "loso24": "79d76840c131",
        "serab": "1185beb4e0cf",
        "savee4": "43a785db0b1b",
        "tfds": "01cad6b62ae8",
        **dict.fromkeys(UNHEARD, "4a82a2023525"),
        "luna5-peeked": "6857ef255046",
        "random10": "2649ad74f9b2",
        "random10-copies": "4425992adc7b",
    }


@pytest.mark.parametrize("name", UNHEARD)
def test_all_of_an_unheard_corpus_is_tested(name: str) -> None:
    (fold,) = protocol(name).folds
    clips = [clip("a", "one"), clip("b", "two")]
    np.testing.assert_array_equal(protocol(name).indices(clips, fold.test), [0, 1])
    for empty in (fold.train, fold.validation):
        assert protocol(name).indices(clips, empty).size == 0
    assert f"{protocol(name).corpus}-unheard" == name


@pytest.mark.parametrize(
    ("name", "corpus"),
    [("loco", "nemo"), ("loco", "ravdess-song"), *(("dev-far", name) for name in splits.DEV_FAR)],
)
def test_a_protocol_for_several_corpora_tests_all_of_each(name: str, corpus: str) -> None:
    split = splits.undivided(corpus, name)
    assert (split.name, split.corpus, split.leaky) == (name, corpus, False)
    assert split.split_hash == protocol("nemo-unheard").split_hash
    np.testing.assert_array_equal(
        split.indices([clip("a", "one"), clip("b", "two")], split.folds[0].test), [0, 1]
    )


def test_loco_tests_any_corpus_and_dev_far_its_own() -> None:
    assert splits.protocol_of(corpora.get("savee"), "loco") == splits.undivided("savee", "loco")
    with pytest.raises(ConfigError, match=r"dev-far tests ased, aesdd, uem-es, urdu, not savee\."):
        splits.protocol_of(corpora.get("savee"), "dev-far")


def test_who_sings_is_left_out_with_who_speaks() -> None:
    assert splits.folder_without("nemo") == "without-nemo"
    assert splits.folder_without("ravdess-song") == splits.folder_without("ravdess") == "without-ravdess"


def test_describe_is_what_a_model_carries() -> None:
    luna5 = protocol("luna5")
    described = luna5.describe(luna5.folds[4])
    assert described["name"] == "luna5"
    assert described["corpus"] == "ravdess"
    assert described["leaky"] is False
    assert described["fold"] == 4
    assert described["test"] == ["01", "04", "09", "22"]
    assert described["validation"] == ["02", "05"]
    assert len(described["train"]) == 18


def test_an_unknown_protocol_comes_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"no protocol 'luna6'\. Did you mean luna5\?"):
        protocol("luna6")
    with pytest.raises(ConfigError, match="Choose one of: luna5, emobox6"):
        protocol("???")
