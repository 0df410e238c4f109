"""The page about unheard corpora: every column by hand, the means, and which results are on it."""

from dataclasses import replace
from pathlib import Path

import pytest

from speech_emotion.errors import ConfigError
from speech_emotion.evaluation.report import systems, unheard
from speech_emotion.evaluation.result import Result, summarise
from speech_emotion.evaluation.score import Evaluation, write_answers
from speech_emotion.evaluation.splits import Protocol, protocol, undivided


def scored(evaluation: Evaluation, split: Protocol, folder: Path, *labels: str) -> Result:
    """The clips with `labels` as a result under `split`, and their table beside it."""
    answers = tuple(one for one in evaluation.answers if not labels or one.label in labels)
    corpus = replace(evaluation.corpus, name=split.corpus)
    some = replace(evaluation, protocol=split, corpus=corpus, answers=answers)
    result = summarise(some, command="speech-emotion evaluate run")
    write_answers(some, folder / f"{result.stem}.csv")
    return result


def cells_of(text: str, start: str) -> list[str]:
    """The cells of a row, without intervals."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {start}")]
    return [cell.strip().split(" [")[0] for cell in line.strip("|").split("|")][1:]


def test_every_column(evaluation: Evaluation, tmp_path: Path) -> None:
    """Women's sad is taken for neutral; actor 01's calm abstains."""
    ased = scored(evaluation, undivided("ased", "dev-far"), tmp_path, "neutral", "sad", "calm")
    urdu = scored(evaluation, undivided("urdu", "dev-far"), tmp_path, "sad", "angry", "fearful")
    text = unheard.page([ased, urdu], tmp_path)
    among_own = (1 + 0.5 + 23 / 24) / 3
    assert cells_of(text, "[ased](ased-dev-far-fake-cnn.md)") == [
        *("75.0", "50.0", f"{among_own * 100:.1f}", "33.3", f"{among_own * 100:.1f}", "100.0"),
        *(str(ased.ece).split(" [")[0], f"{100 / 72:.1f}", "–", str(ased.support)),
    ]
    assert cells_of(text, "[urdu](urdu-dev-far-fake-cnn.md)")[:6] == [
        *("100.0", "50.0", "100.0", "33.3", f"{2.5 / 3 * 100:.1f}", "–")
    ]
    means = cells_of(text, "**mean**")
    assert (means[0], means[5], means[-1]) == ("**87.5**", "**100.0**", "2 corpora")
    assert means[7] == f"**{100 / 72 / 2:.1f}**"
    assert "| 75.0 [64.6, 85.4] |" in text


def test_kinds_and_models_have_tables_of_their_own(evaluation: Evaluation, tmp_path: Path) -> None:
    splits = [
        undivided("nemo", "loco"),
        undivided("urdu", "dev-far"),
        protocol("nemo-unheard"),
        protocol("luna5"),
    ]
    results = [scored(evaluation, split, tmp_path) for split in splits]
    other = replace(evaluation, model="other")
    results += [scored(other, undivided(name, "loco"), tmp_path) for name in ("tess", "nemo")]
    text = unheard.page(results, tmp_path)
    assert [line for line in text.splitlines() if line.startswith(("#", "| ["))] == [
        "# Unheard corpora",
        *("## loco: each corpus left out in turn", "### fake-cnn", row(text, "nemo-loco-fake-cnn")),
        *("### other", row(text, "nemo-loco-other"), row(text, "tess-loco-other")),
        *(
            "## dev-far: corpora by which recipes are chosen",
            "### fake-cnn",
            row(text, "urdu-dev-far-fake-cnn"),
        ),
        "## CORPUS-unheard: corpora that a model of others was tested on",
        *("### fake-cnn", row(text, "nemo-nemo-unheard-fake-cnn")),
    ]
    assert text.count("**mean**") == 1  # one corpus needs none
    assert unheard.page(results[3:4], tmp_path) == ""


def row(text: str, stem: str) -> str:
    (line,) = [line for line in text.splitlines() if f"({stem}.md)" in line]
    return line


def test_a_result_without_its_table_is_named(evaluation: Evaluation, tmp_path: Path) -> None:
    result = scored(evaluation, undivided("urdu", "dev-far"), tmp_path)
    table = tmp_path / f"{result.stem}.csv"
    table.write_text(table.read_text().replace(",label,", ",emotion,", 1))
    with pytest.raises(
        ConfigError, match=r"urdu-dev-far-fake-cnn\.csv: not a table of answers .* Run: speech"
    ):
        unheard.page([result], tmp_path)
    table.unlink()
    with pytest.raises(ConfigError, match="not a table of answers"):
        unheard.page([result], tmp_path)


def test_recipes_are_chosen_by_dev_far(evaluation: Evaluation, tmp_path: Path) -> None:
    for name, chosen_without in {"dev-far": "no", "loco": "yes"}.items():
        text = systems.page([scored(evaluation, undivided("urdu", name), tmp_path)])
        assert cells_of(text, "**[fake-cnn]")[-1] == chosen_without
