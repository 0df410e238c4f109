"""Scoring: every held-out clip once, by the model not trained on its speaker, and refusals before the first clip."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
import soundfile
import standin

import speech_emotion
from speech_emotion import corpora
from speech_emotion.corpora.readers import savee
from speech_emotion.errors import ConfigError, CorpusError, ModelNotFoundError, SpeakerLeakError
from speech_emotion.evaluation import score
from speech_emotion.evaluation.result import summarise
from speech_emotion.evaluation.score import (
    Answer,
    Evaluation,
    answer_of,
    check_unseen,
    make_plan,
    read_answers,
    score_protocol,
    write_answers,
)
from speech_emotion.evaluation.splits import protocol
from speech_emotion.labels import EMOTIONS
from speech_emotion.prediction import Prediction

LUNA5 = protocol("luna5")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return fakes.make_corpus(tmp_path / "corpus")


def test_every_held_out_clip_is_answered_once_by_the_model_of_its_fold(
    evaluation: Evaluation, scored_paths: list[Path]
) -> None:
    assert len(scored_paths) == len(set(scored_paths)) == len(evaluation.answers) == 24 * 8
    for answer in evaluation.answers:
        assert answer.speaker in LUNA5.folds[answer.fold].test
    assert (evaluation.model, evaluation.parameters, evaluation.size_bytes) == (
        "fake-cnn",
        640_000,
        2_600_000,
    )
    assert (evaluation.commit, evaluation.recipes_tried) == ("abc1234", 7)


def test_an_answer_holds_what_was_said(evaluation: Evaluation) -> None:
    by_file = {answer.file: answer for answer in evaluation.answers}
    assert by_file["Actor_02/03-01-04-01-01-01-02.wav"] == Answer(
        file="Actor_02/03-01-04-01-01-01-02.wav",
        speaker="02",
        sex="female",
        intensity="normal",
        label="sad",
        fold=0,
        seed=0,
        answer="neutral",
        abstained="",
        probabilities=(0.9, *[0.0143] * 7),
        emotions=("neutral",),
    )
    silent = by_file["Actor_01/03-01-02-01-01-01-01.wav"]
    assert (silent.answer, silent.abstained, silent.probabilities) == ("", "no_speech", ())
    assert silent.emotions == ()


def test_seeds_may_be_subfolders_or_run_folders(
    scored_paths: list[Path], corpus: Path, tmp_path: Path
) -> None:
    for seed in (0, 5, 11):
        fakes.make_run(tmp_path / "runs" / f"seed-{seed}", LUNA5, seed=seed)
    together = score_protocol([tmp_path / "runs"], corpora.get("ravdess"), corpus, "luna5")
    apart = score_protocol(
        [tmp_path / "runs" / f"seed-{s}" for s in (0, 5, 11)], corpora.get("ravdess"), corpus, "luna5"
    )
    assert {answer.seed for answer in together.answers} == {0, 5, 11}
    assert together == apart


def test_progress_counts_every_clip(scored_paths: list[Path], corpus: Path, tmp_path: Path) -> None:
    run = fakes.make_run(tmp_path / "run", LUNA5)
    steps: list[tuple[int, int]] = []
    score_protocol(
        [run],
        corpora.get("ravdess"),
        corpus,
        "luna5",
        progress=lambda done, total: steps.append((done, total)),
    )
    assert steps == [(done, 192) for done, _ in steps]
    assert sorted(steps) == steps
    assert len(steps) >= len(LUNA5.folds)
    assert steps[-1] == (192, 192)


def test_random10_is_scored_by_clip(scored_paths: list[Path], tmp_path: Path) -> None:
    random10 = protocol("random10")
    folder = tmp_path / "corpus"
    folder.mkdir()
    for clip in (clip for fold in random10.folds for clip in fold.test):
        (folder / f"{clip}.wav").touch()
    run = fakes.make_run(tmp_path / "run", random10)
    evaluation = score_protocol([run], corpora.get("ravdess"), folder, "random10")
    assert len(evaluation.answers) == 1440
    assert all(Path(a.file).stem in random10.folds[a.fold].test for a in evaluation.answers)


def refusal(runs: list[Path], corpus: Path, scored_paths: list[Path], protocol_name: str = "luna5") -> str:
    with pytest.raises(SpeakerLeakError) as refused:
        score_protocol(runs, corpora.get("ravdess"), corpus, protocol_name)
    assert scored_paths == []
    return str(refused.value)


def test_a_model_that_learned_from_all_speakers_is_refused(
    scored_paths: list[Path], corpus: Path, tmp_path: Path
) -> None:
    model = fakes.make_model(tmp_path / "compact.onnx")
    assert "learned from ravdess and does not name the speakers that were left out" in refusal(
        [model], corpus, scored_paths
    )


def test_a_model_of_one_fold_cannot_answer_for_the_others(
    scored_paths: list[Path], corpus: Path, tmp_path: Path
) -> None:
    run = fakes.make_run(tmp_path / "run", LUNA5)
    message = refusal([run / "fold-0" / "model.onnx"], corpus, scored_paths)
    assert "fold 1: the model learned from 03, 06, 07, 13, 18, who are tested. Train and evaluate" in message


def test_validation_speakers_were_learned_from(
    scored_paths: list[Path], corpus: Path, tmp_path: Path
) -> None:
    fold = LUNA5.folds[0]
    described = LUNA5.describe(fold) | {"validation": ["02"]}
    run = fakes.make_run(tmp_path / "run", LUNA5)
    fakes.make_model(run / "fold-0" / "model.onnx", protocol=described, split_hash=LUNA5.split_hash)
    assert "fold 0: the model learned from 02, who are tested" in refusal([run], corpus, scored_paths)


def test_the_singers_are_the_speakers(scored_paths: list[Path], corpus: Path, tmp_path: Path) -> None:
    model = fakes.make_model(tmp_path / "song.onnx", corpora=["ravdess-song"])
    assert "so ravdess cannot test it" in refusal([model], corpus, scored_paths)


@pytest.mark.parametrize(
    "metadata",
    [
        {"split_hash": "0" * 64},
        {"split_hash": None},
        {"protocol": {"train": [], "validation": [], "name": "luna5"}},
    ],
)
def test_a_model_of_another_split_is_refused(
    metadata: dict[str, Any], scored_paths: list[Path], corpus: Path, tmp_path: Path
) -> None:
    run = fakes.make_run(tmp_path / "run", LUNA5, **metadata)
    assert f"not for fold 0 of split {LUNA5.split_hash[:12]}" in refusal([run], corpus, scored_paths)


def test_a_model_of_another_protocol_is_refused_even_where_no_speaker_overlaps(
    scored_paths: list[Path], corpus: Path, tmp_path: Path
) -> None:
    described = {"name": "mine", "fold": 0, "train": ["02"], "validation": ["03"]}
    model = fakes.make_model(tmp_path / "mine.onnx", protocol=described, split_hash=LUNA5.split_hash)
    assert "trained for mine, fold 0" in refusal([model], corpus, scored_paths, "serab")


def test_a_leaky_model_cannot_pass_under_an_honest_protocol(
    scored_paths: list[Path], corpus: Path, tmp_path: Path
) -> None:
    random10 = protocol("random10")
    model = fakes.make_model(
        tmp_path / "leaky.onnx", protocol=random10.describe(random10.folds[0]), split_hash=random10.split_hash
    )
    assert "trained for random10, fold 0" in refusal([model], corpus, scored_paths, "serab")


def test_a_model_that_was_not_trained_on_the_corpus_may_answer_all_of_it(
    scored_paths: list[Path], corpus: Path, tmp_path: Path
) -> None:
    model = fakes.make_model(tmp_path / "polish.onnx", corpora=["nemo"])
    assert len(score_protocol([model], corpora.get("ravdess"), corpus, "luna5").answers) == 192


def test_a_corpus_that_was_learned_from_is_not_unheard(scored_paths: list[Path], tmp_path: Path) -> None:
    split = protocol("nemo-unheard")
    english = fakes.make_model(tmp_path / "english.onnx")
    polish = fakes.make_model(tmp_path / "polish.onnx", corpora=["ravdess", "nemo"])
    check_unseen(speech_emotion.load(english).info, split, split.folds[0])
    with pytest.raises(
        SpeakerLeakError, match="does not name the speakers that were left out, so nemo cannot test it"
    ):
        check_unseen(speech_emotion.load(polish).info, split, split.folds[0])


def test_a_mixture_may_only_be_tested_by_the_protocol_that_it_was_trained_for(
    scored_paths: list[Path], tmp_path: Path
) -> None:
    luna5, savee4 = protocol("luna5"), protocol("savee4")
    learned = {
        "corpora": ["ravdess", "savee", "ravdess-song"],
        "protocol": luna5.describe(luna5.folds[1]),
        "split_hash": luna5.split_hash,
    }
    info = speech_emotion.load(fakes.make_model(tmp_path / "both.onnx", **learned)).info
    check_unseen(info, luna5, luna5.folds[1])
    check_unseen(info, protocol("nemo-unheard"), protocol("nemo-unheard").folds[0])
    with pytest.raises(SpeakerLeakError, match="learned from all of savee; only ravdess was divided"):
        check_unseen(info, savee4, savee4.folds[0])
    with pytest.raises(SpeakerLeakError, match="are tested"):
        check_unseen(info, luna5, luna5.folds[0])


def loco_run(folder: Path, left_out: list[str], learned: list[str]) -> Path:
    """A run folder with one training under loco."""
    described = {"name": "loco", "leaky": False, "left_out": left_out}
    path = folder / "seed-0" / f"without-{left_out[0]}" / "model.onnx"
    fakes.make_model(path, corpora=learned, protocol=described)
    return folder


def test_under_loco_the_training_that_left_a_corpus_out_answers_all_of_it(
    scored_paths: list[Path], corpus: Path, tmp_path: Path
) -> None:
    loco_run(tmp_path / "run", ["nemo"], ["ravdess", "tess"])
    loco_run(tmp_path / "run", ["ravdess", "ravdess-song"], ["nemo", "tess"])
    evaluation = score_protocol([tmp_path / "run"], corpora.get("ravdess"), corpus, "loco")
    assert len(evaluation.answers) == len(scored_paths) == 192
    assert (evaluation.protocol.name, evaluation.protocol.corpus) == ("loco", "ravdess")
    plan = make_plan([tmp_path / "run"], corpora.get("ravdess"), corpus, "loco")
    assert {held_out.model.parent.name for held_out in plan.clips} == {"without-ravdess"}


def test_under_loco_a_model_that_learned_from_the_corpus_is_refused(
    scored_paths: list[Path], corpus: Path, tmp_path: Path
) -> None:
    run = loco_run(tmp_path / "run", ["ravdess"], ["nemo", "ravdess-song"])
    assert "the model learned from nemo, ravdess-song and does not name" in refusal(
        [run], corpus, scored_paths, "loco"
    )


def test_a_run_that_left_other_corpora_out_does_not_answer(
    scored_paths: list[Path], corpus: Path, tmp_path: Path
) -> None:
    run = loco_run(tmp_path / "run", ["nemo"], ["ravdess"])
    with pytest.raises(
        ModelNotFoundError, match=r"loco needs seed-0/without-ravdess/model\.onnx in it, as made by"
    ):
        score_protocol([run], corpora.get("ravdess"), corpus, "loco")


def test_a_single_model_may_answer_a_protocol_of_one_fold(
    scored_paths: list[Path], corpus: Path, tmp_path: Path
) -> None:
    serab = protocol("serab")
    run = fakes.make_run(tmp_path / "run", serab)
    evaluation = score_protocol([run / "fold-0" / "model.onnx"], corpora.get("ravdess"), corpus, "serab")
    assert {answer.speaker for answer in evaluation.answers} == {"01", "04", "13", "16", "22"}


def test_a_run_without_one_of_its_folds_is_refused(
    scored_paths: list[Path], corpus: Path, tmp_path: Path
) -> None:
    run = fakes.make_run(tmp_path / "run", LUNA5)
    (run / "fold-3" / "model.onnx").unlink()
    with pytest.raises(
        ModelNotFoundError, match=r"fold-3.model\.onnx is missing: luna5 needs the models of 5 folds"
    ):
        score_protocol([run], corpora.get("ravdess"), corpus, "luna5")


def test_a_folder_without_models_is_told_the_layout_that_training_makes(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"needs seed-0/fold-0/model\.onnx to seed-0/fold-4/model"):
        score_protocol([tmp_path], corpora.get("ravdess"), corpus, "luna5")


def test_a_corpus_without_a_tested_speaker_is_refused(scored_paths: list[Path], tmp_path: Path) -> None:
    corpus = fakes.make_corpus(tmp_path / "corpus", actors=fakes.ACTORS[:-1])
    run = fakes.make_run(tmp_path / "run", LUNA5)
    with pytest.raises(CorpusError, match="luna5 tests 24, who have no clip"):
        score_protocol([run], corpora.get("ravdess"), corpus, "luna5")


def test_a_protocol_belongs_to_its_corpus(scored_paths: list[Path], corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="luna5 divides ravdess, not nemo"):
        score_protocol([tmp_path], corpora.get("nemo"), corpus, "luna5")


def test_different_recipes_are_not_averaged(scored_paths: list[Path], corpus: Path, tmp_path: Path) -> None:
    one = fakes.make_run(tmp_path / "one", LUNA5)
    other = fakes.make_run(tmp_path / "other", LUNA5, recipe={"fit": {"seed": 1, "epochs": 4}})
    with pytest.raises(ConfigError, match="different recipes"):
        score_protocol([one, other], corpora.get("ravdess"), corpus, "luna5")


def test_one_training_is_not_counted_twice(scored_paths: list[Path], corpus: Path, tmp_path: Path) -> None:
    run = fakes.make_run(tmp_path / "run", LUNA5)
    with pytest.raises(ConfigError, match=r"one seed \(\[0, 0\]\)"):
        score_protocol([run, run], corpora.get("ravdess"), corpus, "luna5")


def test_a_model_may_answer_with_other_labels(scored_paths: list[Path], corpus: Path, tmp_path: Path) -> None:
    bored = fakes.make_model(tmp_path / "bored.onnx", corpora=["nemo"], labels=["bored", "happy"])
    plan = make_plan([bored], corpora.get("ravdess"), corpus, "luna5")
    assert plan.facts.labels == (*EMOTIONS, "bored")
    answer = answer_of(plan.clips[0], Prediction({"bored": 0.7, "happy": 0.3}, 0.0, 1.0), plan.facts.labels)
    assert (answer.answer, answer.probabilities) == ("bored", (0.0, 0.0, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0, 0.7))
    assert scored_paths == []


def test_names_that_leave_the_folder_are_refused(
    scored_paths: list[Path], corpus: Path, tmp_path: Path
) -> None:
    away = fakes.make_model(tmp_path / "away.onnx", corpora=["nemo"], name="../away")
    with pytest.raises(ConfigError, match="Name a model with letters"):
        score_protocol([away], corpora.get("ravdess"), corpus, "luna5")
    assert scored_paths == []


def test_the_table_comes_back_and_gives_the_same_result(evaluation: Evaluation, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    write_answers(evaluation, table)
    header, first, *_ = table.read_text().splitlines()
    assert header == (
        "file,speaker,sex,intensity,label,fold,seed,answer,abstained,emotions,"
        "neutral,calm,happy,sad,angry,fearful,disgust,surprised"
    )
    assert first == (
        "Actor_02/03-01-01-01-01-01-02.wav,02,female,normal,neutral,0,0,neutral,,neutral,"
        "0.9,0.0143,0.0143,0.0143,0.0143,0.0143,0.0143,0.0143"
    )
    read = replace(evaluation, answers=read_answers(table))
    assert read == evaluation
    assert summarise(read, command="x") == summarise(evaluation, command="x")


def test_sets_come_back_from_the_table(evaluation: Evaluation, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    with_sets = fakes.with_sets(evaluation)
    write_answers(with_sets, table)
    assert read_answers(table) == with_sets.answers
    assert any(answer.emotions == ("neutral", "sad") for answer in read_answers(table))


def test_a_file_name_is_no_formula(evaluation: Evaluation, tmp_path: Path) -> None:
    evil = (replace(evaluation.answers[0], file="=cmd()/03.wav"),)
    write_answers(replace(evaluation, answers=evil), tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text().splitlines()[1].startswith("'=cmd()/03.wav,")
    assert read_answers(tmp_path / "table.csv") == evil


def test_real_models_answer_real_sounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No fakes: sealed .onnx files through the public API, in one process and in two, SAVEE in noise."""
    savee4 = protocol("savee4")
    random = np.random.default_rng(0)
    for speaker in savee.SPEAKERS:
        (tmp_path / "savee" / speaker).mkdir(parents=True)
        for code in savee.EMOTIONS:
            path = tmp_path / "savee" / speaker / f"{code}01.wav"
            soundfile.write(path, random.normal(0, 0.1, 16_000), 16_000)
    for fold in savee4.folds:
        path = tmp_path / "run" / f"fold-{fold.index}" / "model.onnx"
        path.parent.mkdir(parents=True)
        metadata = {"corpora": ["savee"], "protocol": savee4.describe(fold), "split_hash": savee4.split_hash}
        path.write_bytes(standin.model_bytes(**metadata))
    evaluation = score_protocol([tmp_path / "run"], corpora.get("savee"), tmp_path / "savee", "savee4")
    monkeypatch.setattr(score, "processes_for", lambda *_: 2)
    monkeypatch.setattr(score, "CLIPS_PER_TASK", 2)
    spread = score_protocol([tmp_path / "run"], corpora.get("savee"), tmp_path / "savee", "savee4")
    assert spread == evaluation
    assert len(evaluation.answers) == 4 * 7
    assert (evaluation.model, evaluation.parameters) == ("stand-in", 128)
    assert all(bool(answer.answer) != bool(answer.abstained) for answer in evaluation.answers)
