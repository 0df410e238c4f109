"""Stretches of one emotion, in timelines made by hand: windows of 4 s, one per second."""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from speech_emotion import EMOTIONS, Prediction
from speech_emotion.merge import SHORTEST_SECONDS, SWITCH_MARGIN, merge
from speech_emotion.prediction import decide, pool

NOT_SURE = {"not_sure": 0.4}
LETTERS = {"A": "angry", "S": "sad", "N": "neutral"}


def window(start: float, letter: str, channel: str | None = None) -> Prediction:
    """A, S or N is sure of angry, sad or neutral; a and s lead by less than the margin; ? is not sure; _ is silent."""
    times = float(start), start + 4.0
    if letter == "_":
        return Prediction({}, *times, abstained="no_speech", channel=channel)
    shares = dict.fromkeys(EMOTIONS, 0.0)
    match letter:
        case "?":
            shares |= {"angry": 0.1, "happy": 0.3, "fearful": 0.3, "disgust": 0.3}
        case "a" | "s":
            first, second = ("angry", "sad") if letter == "a" else ("sad", "angry")
            shares |= {first: 0.5, second: 0.5 - SWITCH_MARGIN / 2}
        case _:
            shares[LETTERS[letter]] = 0.9
    shares["calm"] = 1 - sum(shares.values())
    return decide(Prediction(shares, *times, channel=channel), NOT_SURE)


def timeline(letters: str) -> list[Prediction]:
    return [window(start, letter) for start, letter in enumerate(letters)]


def merged(letters: str) -> list[tuple[str | None, float, float]]:
    found = merge(timeline(letters), NOT_SURE)
    return [(one.label or one.abstained, one.start_seconds, one.end_seconds) for one in found]


@pytest.mark.parametrize(
    ("letters", "stretches"),
    [
        ("A", [("angry", 0, 4)]),
        ("AAAA", [("angry", 0, 7)]),
        ("AAASSS", [("angry", 0, 4.5), ("sad", 4.5, 9)]),
        ("AAAsss", [("angry", 0, 9)]),  # a small lead is none
        ("AAASsss", [("angry", 0, 10)]),  # nor does one clear lead make it one
        ("AAASSsss", [("angry", 0, 4.5), ("sad", 4.5, 11)]),  # but after two it keeps what is there
        ("AAASAAA", [("angry", 0, 10)]),  # one second is too short
        ("AAASNAA", [("angry", 0, 10)]),  # nor may two share the time
        ("AAASSAA", [("angry", 0, 4.5), ("sad", 4.5, 6.5), ("angry", 6.5, 10)]),
        ("SAAA", [("sad", 0, 2.5), ("angry", 2.5, 7)]),  # the first window reaches back to its start
        ("_SAAA", [("angry", 2.5, 8)]),  # what is too short at the beginning of speech
        ("_S_", [("sad", 2.5, 3.5)]),  # but nothing that is alone is lost
        ("AA_AA", [("angry", 0, 3.5), ("angry", 4.5, 8)]),  # a pause ends a stretch
        ("AA??AA", [("angry", 0, 3.5), ("not_sure", 3.5, 5.5), ("angry", 5.5, 9)]),
        ("____", [("no_speech", 0, 7)]),
    ],
)
def test_the_rule(letters: str, stretches: list[tuple[str, float, float]]) -> None:
    assert merged(letters) == stretches


def test_the_answer_of_a_stretch_is_the_mean_of_its_windows() -> None:
    windows = timeline("AAAsAA")
    (stretch,) = merge(windows, NOT_SURE)
    assert stretch.probabilities == pytest.approx(pool(windows).probabilities)
    assert stretch.emotions == pool(windows, NOT_SURE).emotions


def test_stretches_of_a_channel_touch_or_leave_a_pause_and_hold_all_speech() -> None:
    letters = "AsSaNN?AaSS__NAS?_AAAAsSS"
    found = merged(letters)
    assert all(before[2] <= after[1] for before, after in pairwise(found))
    speech = sum(end - start for _, start, end in found)
    assert speech == len(letters) + 3 - letters.count("_")


def test_each_channel_has_its_own_stretches() -> None:
    windows = [
        window(start, letter, side) for start in range(5) for side, letter in (("left", "A"), ("right", "_"))
    ]
    found = [(one.channel, one.label, one.abstained) for one in merge(windows)]
    assert found == [("left", "angry", None), ("right", None, "no_speech")]


def test_a_stretch_comes_once_the_next_one_has_lasted() -> None:
    read: list[Prediction] = []

    def live() -> Iterator[Prediction]:
        for one in timeline("AAAASSSSNNNN"):
            read.append(one)
            yield one

    first = next(merge(live(), NOT_SURE))
    assert (first.label, first.end_seconds) == ("angry", 5.5)
    assert len(read) <= 12
    assert SHORTEST_SECONDS == 2.0


def test_nothing_gives_nothing() -> None:
    assert list(merge([])) == []
