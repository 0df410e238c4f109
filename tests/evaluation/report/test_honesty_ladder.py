"""The honesty ladder: each habit beside the honest score, marked, and refused wherever it would pass for honest."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import fakes
import pytest

import speech_emotion
from speech_emotion import corpora
from speech_emotion.errors import ModelNotFoundError, SpeakerLeakError
from speech_emotion.evaluation import splits
from speech_emotion.evaluation.answers import Score
from speech_emotion.evaluation.report import honesty_ladder, page
from speech_emotion.evaluation.result import Result, read_result, summarise
from speech_emotion.evaluation.score import check_unseen, score_protocol
from speech_emotion.evaluation.splits import protocol, recorded

LEAKY = ["luna5-peeked", "random10", "random10-copies"]


def under(result: Result, name: str, **changes: Any) -> Result:
    """The same answers under another protocol, all of whose folds were scored."""
    split = recorded(name)
    fold = next(iter(result.per_fold.values()))
    return replace(
        result,
        **{
            "protocol": name,
            "leaky": split.leaky,
            "split_hash": split.split_hash,
            "per_fold": {str(one.index): fold for one in split.folds},
        }
        | changes,
    )


def higher(result: Result, points: float, speakers: list[str]) -> dict[str, Any]:
    """Each of `speakers` scored `points` more than in `result`, the others not at all."""
    moved = {
        name: replace(result.per_actor[name], mean=result.per_actor[name].mean + points / 100)
        for name in speakers
    }
    return {"per_actor": moved, "n_speakers": len(moved)}


def page_of(*results: Result) -> str:
    return honesty_ladder.page(results)


def rows_of(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_habit_stands_beside_the_honest_score(result: Result) -> None:
    all_speakers = list(result.per_actor)
    results = [
        under(result, name, uar=Score(0.7 + points / 100, 0.01, None), **higher(result, points, all_speakers))
        for points, name in zip((20, 15, 5, 2), [*reversed(LEAKY), "loso24"], strict=True)
    ]
    text = page_of(*results, replace(result, uar=Score(0.7, None, (0.65, 0.75))))
    assert text.startswith("# Honesty ladder\n")
    assert "docs/honesty.md)" in text
    assert "\n## fake-cnn\n" in text
    honest, loso24, *leaky = rows_of(text)
    assert honest == [
        "**[luna5](ravdess-luna5-fake-cnn.md)**",
        "nothing",
        "**70.0 [65.0, 75.0]**",
        "–",
        "192 of 1440 clips, 24 speakers, 1 seed",
        "[all systems](systems.md)",
    ]
    assert loso24[0] == "**[loso24](ravdess-loso24-fake-cnn.md)**"
    assert [row[0].split("]")[0].strip("*[") for row in leaky] == LEAKY
    assert [row[2] for row in leaky] == ["75.0 ± 1.0", "85.0 ± 1.0", "90.0 ± 1.0"]
    assert [row[3] for row in (loso24, *leaky)] == [
        f"+{points}.0 [+{points}.0, +{points}.0]" for points in (2, 5, 15, 20)
    ]
    assert all(row[0].endswith(", LEAKY") for row in leaky)
    assert all("LEAKY" not in row[0] for row in (honest, loso24))


def test_what_others_published_stands_beside_how_they_got_it(result: Result) -> None:
    peeked, random10, copies = rows_of(page_of(result, *(under(result, name) for name in LEAKY)))[1:]
    assert peeked[5] == (
        "xlsr-53 fine-tuned (Luna-Jiménez 2022), ECE 15.3: 81.8; ResLSTM-SA, from scratch: 62.32 ± 1.19"
    )
    assert random10[5] == "TIM-Net, its authors' own re-run: 90.04; plain CNNs: accuracy 84–89"
    assert copies[5] == "–"


def test_some_folds_are_compared_with_the_same_speakers(result: Result) -> None:
    first = sorted(protocol("luna5").folds[0].test)
    some = higher(result, 4, first) | {"per_fold": {"0": result.per_fold["0"]}}
    (_, row) = rows_of(page_of(result, under(result, "luna5-peeked", **some)))
    assert row[3] == "+4.0 [+4.0, +4.0]"
    assert row[4].endswith("5 speakers, 1 seed, folds 0 of 5")


def test_each_model_has_its_own_ladder(result: Result) -> None:
    models = [replace(result, model=model) for model in ("b", "a", "honest")]
    leaky = [under(model, "random10") for model in models[:2]]
    alone = under(replace(result, model="alone"), "random10")
    text = page_of(*models, *leaky, alone)
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## a",
        "## b",
    ]
    assert text.count("# Honesty ladder") == 1
    assert "(ravdess-random10-a.md)" in text


@pytest.mark.parametrize("name", ["loso24", None])
def test_honest_rows_alone_are_no_ladder(result: Result, name: str | None) -> None:
    others = [under(result, name)] if name else []
    assert page_of(result, *others) == ""


def test_every_leaky_protocol_has_a_rung() -> None:
    leaky = {name for name in splits.names() if protocol(name).leaky}
    assert leaky <= set(LEAKY)
    assert [rung.protocol for rung in honesty_ladder.RUNGS] == ["luna5", "loso24", *LEAKY]
    assert all(recorded(name).leaky for name in LEAKY)


def test_the_report_has_the_ladder(result: Result, tmp_path: Path) -> None:
    result.write(tmp_path)
    assert "honesty-ladder.md" not in page.pages(tmp_path)
    under(result, "random10").write(tmp_path)
    assert "honesty-ladder.md" in page.pages(tmp_path)


# Scoring


def random10_corpus(folder: Path) -> Path:
    for clip in (clip for fold in protocol("random10").folds for clip in fold.test):
        (folder / f"Actor_{clip[-2:]}").mkdir(parents=True, exist_ok=True)
        (folder / f"Actor_{clip[-2:]}" / f"{clip}.wav").touch()
    return folder


def test_some_folds_of_a_leaky_protocol_can_be_scored(scored_paths: list[Path], tmp_path: Path) -> None:
    random10 = protocol("random10")
    run, corpus = fakes.make_run(tmp_path / "run", random10), random10_corpus(tmp_path / "corpus")
    for index in (0, 1, *range(4, 10)):
        (run / f"fold-{index}" / "model.onnx").unlink()
    scored = score_protocol([run], corpora.get("ravdess"), corpus, "random10")
    assert {answer.fold for answer in scored.answers} == {2, 3}
    assert {Path(a.file).stem for a in scored.answers} == random10.folds[2].test | random10.folds[3].test
    again = summarise(scored, command="").write(tmp_path / "results")
    assert list(read_result(again).per_fold) == ["2", "3"]


def test_without_any_fold_there_is_nothing_to_score(scored_paths: list[Path], tmp_path: Path) -> None:
    corpus = random10_corpus(tmp_path / "corpus")
    (tmp_path / "run").mkdir()
    with pytest.raises(ModelNotFoundError, match=r"holds no trained model: random10 needs seed-0/fold-0"):
        score_protocol([tmp_path / "run"], corpora.get("ravdess"), corpus, "random10")


# What stands on the ladder passes nowhere else


@pytest.mark.parametrize("name", LEAKY)
def test_a_leaky_model_is_refused_by_every_other_protocol(
    name: str, scored_paths: list[Path], tmp_path: Path
) -> None:
    run = fakes.make_run(tmp_path / "run", recorded(name))
    info = speech_emotion.load(run / "fold-0" / "model.onnx").info
    others = {n for n in splits.names() if protocol(n).corpus == "ravdess"} - {name}
    for other in others:
        with pytest.raises(SpeakerLeakError, match=f"under {other}, fold 0"):
            check_unseen(info, protocol(other), protocol(other).folds[0])


def test_luna5_says_who_was_peeked_at(scored_paths: list[Path], tmp_path: Path) -> None:
    luna5, peeked = protocol("luna5"), recorded("luna5-peeked")
    described = peeked.describe(peeked.folds[0]) | {"validation": sorted(peeked.folds[0].test)}
    run = fakes.make_run(tmp_path / "run", peeked, protocol=described)
    info = speech_emotion.load(run / "fold-0" / "model.onnx").info
    with pytest.raises(SpeakerLeakError, match="learned from 02, 05, 14, 15, 16, who are tested"):
        check_unseen(info, luna5, luna5.folds[0])
