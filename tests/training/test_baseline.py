"""The baseline: its statistics are the right numbers, and no tested speaker is in training."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from speech_emotion.corpora.manifest import Clip
from speech_emotion.corpora.prepare import PreparedDataset, prepare
from speech_emotion.corpora.readers import ravdess
from speech_emotion.errors import ConfigError, CorpusError
from speech_emotion.evaluation.metrics import uar
from speech_emotion.evaluation.result import read_result
from speech_emotion.evaluation.score import Evaluation, read_answers
from speech_emotion.evaluation.splits import protocol
from speech_emotion.labels import EMOTIONS
from speech_emotion.training import baseline
from speech_emotion.training.baseline import evaluate, utterance_statistics, validation_scores
from speech_emotion.training.data.features import COLUMNS, Features

ACTORS = [f"{actor:02d}" for actor in range(1, 25)]
N_COLUMNS = 151
MEAN, SD, P10, P50, P90, SLOPE = range(6)


def statistics_of(frames: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The statistics of one clip, (6, n_columns); the voiced share is left away."""
    return utterance_statistics(features_of(frames))[0, :-1].reshape(6, N_COLUMNS)


def features_of(frames: npt.NDArray[np.float64]) -> Features:
    ends = np.cumsum([len(columns) for columns in COLUMNS.values()])
    parts = np.split(frames.astype(np.float32), ends[:-1], axis=1)
    return Features(dict(zip(COLUMNS, parts, strict=True)), np.array([0, len(frames)]))


def frames_of(**columns: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """51 frames of one second between the first and the last; F0 100 Hz, unvoiced, silent where not given."""
    frames = np.zeros((51, N_COLUMNS))
    for name, values in {"f0": 100, **columns}.items():
        frames[:, baseline._NAMES.index(name)] = values
    return frames


def test_statistics_of_a_ramp() -> None:
    column = statistics_of(frames_of(mfcc_3=np.linspace(2, 12, 51)))[:, baseline._NAMES.index("mfcc_3")]
    np.testing.assert_allclose(column[[MEAN, P10, P50, P90, SLOPE]], [7, 3, 7, 11, 10], rtol=1e-5)
    assert column[SD] == pytest.approx(np.std(np.linspace(2, 12, 51)), rel=1e-5)


def test_level_is_in_decibels_and_never_infinite() -> None:
    column = statistics_of(frames_of(rms=np.repeat([0.1, 0.0], [50, 1])))[:, baseline._RMS]
    assert column[P50] == pytest.approx(-20, abs=1e-4)
    assert np.isfinite(column).all()


def test_pitch_counts_voiced_frames_only_and_keeps_their_time() -> None:
    voicing = np.where(np.arange(51) % 2 == 0, 0.9, 0.1)
    octave_a_second = 100 * 2 ** (np.arange(51) / 50)
    frames = frames_of(f0=np.where(voicing > 0.5, octave_a_second, 599), voicing=voicing)
    statistics = utterance_statistics(features_of(frames))[0]
    column = statistics[:-1].reshape(6, N_COLUMNS)[:, baseline._F0]
    np.testing.assert_allclose(column[[MEAN, P50, SLOPE]], [6, 6, 12], rtol=1e-4)
    assert statistics[-1] == pytest.approx(26 / 51)


def test_a_clip_without_voice_has_no_pitch() -> None:
    assert statistics_of(frames_of(f0=250))[:, baseline._F0].tolist() == [0] * 6


# The protocol


@pytest.fixture(scope="module")
def dataset() -> PreparedDataset:
    """Two clips of each emotion by each actor; the sound is never asked for."""
    clips = [
        Clip(
            f"03-01-{e + 1:02d}-01-01-{r}-{actor}.wav",
            emotion,
            actor,
            ravdess.parse(f"03-01-01-01-01-01-{actor}").sex,
        )
        for actor in ACTORS
        for e, emotion in enumerate(EMOTIONS)
        for r in ("01", "02")
    ]
    nothing = np.zeros(0)
    return PreparedDataset(
        folder=Path("prepared"),
        corpus="ravdess",
        corpus_hash="",
        key="",
        licence="",
        citation="",
        label_names=EMOTIONS,
        clips=clips,
        labels=np.array([EMOTIONS.index(clip.label) for clip in clips]),
        speakers=np.array([clip.speaker for clip in clips]),
        offsets=nothing.astype(np.int64),
        scales=nothing.astype(np.float32),
        waveforms=nothing.astype(np.int16),
    )


@pytest.fixture
def telling(dataset: PreparedDataset) -> npt.NDArray[np.float64]:
    """Twelve statistics that give the emotion away, with noise."""
    rng = np.random.default_rng(5)
    return rng.standard_normal((len(EMOTIONS), 12))[dataset.labels] + rng.normal(0, 0.5, (len(dataset), 12))


def uar_of(evaluation: Evaluation) -> float:
    truth, answers = (
        [EMOTIONS.index(getattr(a, name)) for a in evaluation.answers] for name in ("label", "answer")
    )
    return uar(np.array(truth), np.array(answers))


def test_what_tells_the_emotion_is_learned(
    dataset: PreparedDataset, telling: npt.NDArray[np.float64]
) -> None:
    evaluation = evaluate(dataset, telling, protocol("luna5"))
    assert sorted(answer.file for answer in evaluation.answers) == sorted(clip.path for clip in dataset.clips)
    assert uar_of(evaluation) > 0.9
    np.testing.assert_allclose([sum(answer.probabilities) for answer in evaluation.answers], 1, atol=5e-4)
    assert evaluation.parameters == 8 * 13 + 24
    assert evaluation.recipes_tried == len(baseline.STRENGTHS)


def test_what_tells_only_the_speaker_is_worth_chance(dataset: PreparedDataset) -> None:
    """Each speaker has a code of their own for the emotions: a leak would read it, a new voice cannot be read."""
    rng = np.random.default_rng(6)
    codes = {actor: rng.permutation(8) for actor in ACTORS}
    private = np.zeros((len(dataset), len(ACTORS) * 8))
    for i, clip in enumerate(dataset.clips):
        private[i, ACTORS.index(clip.speaker) * 8 + codes[clip.speaker][dataset.labels[i]]] = 1
    assert uar_of(evaluate(dataset, private, protocol("luna5"))) < 0.2


def test_choosing_looks_at_no_test_clip(dataset: PreparedDataset, telling: npt.NDArray[np.float64]) -> None:
    (fold,) = protocol("serab").folds
    telling[protocol("serab").indices(dataset.clips, fold.test)] = np.nan  # scikit-learn refuses to see these
    scores = validation_scores(dataset, telling, protocol("serab"))
    assert max(scores.values()) > 0.9


def test_a_tested_clip_changes_no_other_answer(
    dataset: PreparedDataset, telling: npt.NDArray[np.float64], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the scaler nor the regression of a fold has seen its test speakers."""
    monkeypatch.setattr(baseline, "STRENGTHS", (0.01,))
    loud = telling.copy()
    loud[dataset.speakers == "01"] *= 1000

    def others_of_the_fold(statistics: npt.NDArray[np.float64]) -> list[tuple[float, ...]]:
        answers = evaluate(dataset, statistics, protocol("serab")).answers
        return [answer.probabilities for answer in answers if answer.speaker != "01"]

    assert others_of_the_fold(telling) == others_of_the_fold(loud)


def test_a_protocol_of_another_corpus_is_refused(dataset: PreparedDataset) -> None:
    with pytest.raises(ConfigError, match="savee4 divides savee, not ravdess"):
        evaluate(dataset, np.zeros((len(dataset), 2)), protocol("savee4"))


def test_a_corpus_with_missing_speakers_is_refused(dataset: PreparedDataset) -> None:
    without = replace(dataset, clips=[clip for clip in dataset.clips if clip.speaker not in ("07", "11")])
    with pytest.raises(CorpusError, match="no clip of 07, 11, which luna5 needs"):
        evaluate(without, np.zeros((len(without), 2)), protocol("luna5"))


@pytest.mark.slow
def test_from_recordings_to_the_result_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Emotions that differ in pitch alone, spoken by 24 actors of different loudness."""
    monkeypatch.setattr(baseline, "STRENGTHS", (0.01,))
    rng = np.random.default_rng(8)
    (tmp_path / "corpus").mkdir()
    t = np.arange(4_800) / 16_000
    for actor in ACTORS:
        for emotion in range(1, 9):
            tone = sum(np.sin(2 * np.pi * k * (80 + 40 * emotion) * t) / k for k in range(1, 6))
            sound = rng.uniform(0.02, 0.2) * tone + 0.001 * rng.standard_normal(len(t))
            path = tmp_path / "corpus" / f"03-01-{emotion:02d}-01-01-01-{actor}.wav"
            soundfile.write(path, sound, 16_000, subtype="PCM_16")
    prepare(ravdess.SPEECH, tmp_path / "corpus", tmp_path / "prepared", workers=1)
    baseline.main(tmp_path / "prepared", "serab", tmp_path / "results")
    path = tmp_path / "results" / "ravdess-serab-baseline-lr.json"
    result = read_result(path)
    assert result.uar.mean > 0.9
    assert (result.n_clips, result.n_speakers) == (40, 5)
    assert result.scored.startswith("the regression's own probabilities")
    assert "learned from the train and the validation speakers" in result.scored
    assert result.command.endswith(
        f"python -m speech_emotion.training.baseline {tmp_path}/prepared --protocol serab"
    )
    assert len(read_answers(path.with_suffix(".csv"))) == 40
    assert "baseline-lr on ravdess" in capsys.readouterr().out
