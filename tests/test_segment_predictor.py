"""Answers for given segments are those of the same samples alone, whatever the blocks and however the segments lie."""

import numpy as np
import pytest
import sounds

from speech_emotion import Classifier, Prediction, Segment
from speech_emotion.errors import ConfigError, ModelError, SegmentsError
from speech_emotion.segment_predictor import cut

RATE = 16_000
VOICE = np.concatenate([sounds.voice(9), np.zeros(3 * RATE, np.float32), sounds.voice(16, f0=220)])
TIMES = [
    (14.25, 17.5),
    (0, 1.5),
    (1.0, 9.5),
    (1.0, 1.2),
    (4, 4),
    (9.2, 11.8),
    (27.5, 28.05),
    (27.5, 40),
    (50, 60),
]


def alone(classifier: Classifier, start: float, end: float) -> Prediction | None:
    samples = VOICE[round(start * RATE) : round(end * RATE)]
    return classifier.predict(samples, sample_rate=RATE) if len(samples) else None


def test_an_answer_is_that_of_its_samples_alone(classifier: Classifier) -> None:
    found = list(classifier.segments(VOICE, [Segment(*times) for times in TIMES], sample_rate=RATE))
    assert [(one.start_seconds, one.end_seconds) for one, _ in found] == sorted(TIMES)
    assert [(a.start_seconds, a.end_seconds) for _, a in found] == sorted(TIMES)
    for segment, answer in found:
        expected = alone(classifier, segment.start_seconds, segment.end_seconds)
        if expected:
            assert answer.probabilities == expected.probabilities
            assert answer.abstained == expected.abstained
    reasons = {times: answer.abstained for times, (_, answer) in zip(sorted(TIMES), found, strict=True)}
    assert {reasons[times] for times in [(1.0, 1.2), (4, 4), (50, 60)]} == {"too_short"}
    assert reasons[9.2, 11.8] == "no_speech"
    beyond = [one.end_seconds for one, answer in found if "beyond_end" in answer.warnings]
    assert beyond == [40, 60]  # 0.05 s is how codecs round


def test_blocks_change_nothing() -> None:
    segments = [Segment(0.1, 0.9), Segment(0.2, 0.2), Segment(0.5, 2.0), Segment(3.0, 4.0)]
    samples = np.arange(2 * RATE, dtype=np.float32)[:, None]
    for n in (1_000, 7_777, 2 * RATE):
        pieces: dict[int, list[np.ndarray]] = {}
        over: list[int] = []
        for place, piece in cut((samples[at : at + n] for at in range(0, len(samples), n)), segments):
            assert place not in over
            if piece is None:
                over.append(place)
            else:
                pieces.setdefault(place, []).append(piece)
        assert sorted(over) == [0, 1, 2, 3]
        joined = {place: np.concatenate(found)[:, 0] for place, found in pieces.items()}
        np.testing.assert_array_equal(joined[0], samples[1_600:14_400, 0])
        np.testing.assert_array_equal(joined[2], samples[8_000:32_000, 0])
        assert joined.keys() == {0, 2}


def test_separate_channels_answer_on_each(classifier: Classifier) -> None:
    call = np.stack([VOICE, VOICE[::-1]], axis=1)
    found = list(classifier.segments(call, [Segment(0, 4, "Ann")], sample_rate=RATE, channels="separate"))
    assert [(one.speaker, answer.channel) for one, answer in found] == [("Ann", "left"), ("Ann", "right")]
    for (_, answer), side in zip(found, call.T, strict=True):
        assert answer.probabilities == classifier.predict(side[: 4 * RATE], sample_rate=RATE).probabilities


def test_a_profile_is_that_of_all_speech_of_the_speaker(tuned: Classifier) -> None:
    segments = [Segment(0, 3, "Ann"), Segment(4, 8.5, "Ann"), Segment(12.5, 28, "Ben"), Segment(0, 3)]
    found = list(tuned.segments(VOICE, segments, sample_rate=RATE, profile="per_speaker"))
    bens = VOICE[round(12.5 * RATE) :]
    ben = tuned.enrol(bens, sample_rate=RATE)
    (expected,) = [answer for one, answer in found if one.speaker == "Ben"]
    assert expected.probabilities == pytest.approx(
        tuned.predict(bens, sample_rate=RATE, profile=ben).probabilities, abs=1e-6
    )
    assert expected.probabilities != tuned.predict(bens, sample_rate=RATE).probabilities
    assert expected.warnings == ("short_enrolment",)
    for one, answer in found:  # Ann has 7.5 s of speech, where 10 are needed
        if one.speaker != "Ben":
            plain = alone(tuned, one.start_seconds, one.end_seconds)
            assert plain
            assert answer.probabilities == plain.probabilities
            assert answer.warnings == ("no_profile",)


def test_sound_that_two_segments_of_a_speaker_share_counts_once(tuned: Classifier) -> None:
    twice = [Segment(0, 9, "Ann"), Segment(0, 9, "Ann")]
    for _, answer in tuned.segments(VOICE, twice, sample_rate=RATE, profile="per_speaker"):
        assert "no_profile" in answer.warnings


def test_each_channel_of_a_speaker_is_enrolled_by_itself(tuned: Classifier) -> None:
    call = np.stack([VOICE, 0 * VOICE], axis=1)
    segments = [Segment(12.5, 28, "Ben")]
    answers = tuned.segments(call, segments, sample_rate=RATE, profile="per_speaker", channels="separate")
    (_, left), (_, right) = answers
    assert ("no_profile" in left.warnings, "no_profile" in right.warnings) == (False, True)
    assert right.abstained == "no_speech"


def test_what_cannot_be_is_refused(classifier: Classifier, tuned: Classifier) -> None:
    one = [Segment(0, 1)]
    with pytest.raises(SegmentsError, match="there are no segments"):
        list(classifier.segments(VOICE, [], sample_rate=RATE))
    with pytest.raises(SegmentsError, match="name no speakers"):
        list(tuned.segments(VOICE, one, sample_rate=RATE, profile="per_speaker"))
    with pytest.raises(ModelError, match="without enrolment"):
        list(classifier.segments(VOICE, one, sample_rate=RATE, profile="per_speaker"))
    with pytest.raises(ConfigError, match="not 'recording'"):
        list(tuned.segments(VOICE, one, sample_rate=RATE, profile="recording"))  # type: ignore[arg-type]


def test_windows_take_what_timeline_takes(classifier: Classifier) -> None:
    assert list(classifier.windows(VOICE, sample_rate=RATE)) == classifier.timeline(VOICE, sample_rate=RATE)
