"""The section about confidence: our surest answers beside the anchor's, and what the emotion sets held."""

from dataclasses import replace
from pathlib import Path

import pytest

from speech_emotion.evaluation.report import confidence, published
from speech_emotion.evaluation.result import Group, Result, Score
from speech_emotion.evaluation.splits import protocol


def row_of(text: str, start: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {start}")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def section_of(folder: Path, *results: Result) -> str:
    for result in results:
        result.write(folder)
    return confidence.section(folder)


def test_the_surest_answers_stand_beside_the_anchor(result: Result, tmp_path: Path) -> None:
    rising = {"100": 0.6, "95": 0.62, "90": 0.65, "80": 0.7, "70": 0.75, "50": 0.8}
    text = section_of(tmp_path, replace(result, accuracy_at_coverage=rising))
    assert text.startswith("## Confidence\n")
    assert "](confidence.md)" in text
    assert row_of(text, "system | protocol | ECE")[4:] == [
        f"surest {share} %" for share in (100, 90, 80, 70, 50)
    ]
    ours = ["60.0", "65.0", "70.0", "75.0", "80.0"]
    assert row_of(text, "**[fake-cnn]") == [
        "**[fake-cnn](#ravdess-luna5-fake-cnn)**", "luna5", str(result.ece), "6.3", *ours
    ]  # fmt: skip
    theirs = row_of(text, published.SELECTIVE.system)
    assert theirs[1:] == ["luna5", "15.3", "–", "81.8", "84.5", "87.2", "89.5", "91.3"]
    assert "whose mean confidence is 97.0 %" in text
    assert "(figures/ravdess-luna5-fake-cnn-selective.png)" in text


def test_without_sets_nothing_is_said_about_them(result: Result, tmp_path: Path) -> None:
    text = section_of(tmp_path, result)
    assert "emotion set" not in text
    assert "-sets.png" not in text


def test_what_the_sets_held(result_with_sets: Result, tmp_path: Path) -> None:
    sets = result_with_sets.sets
    assert sets is not None
    text = section_of(tmp_path, replace(result_with_sets, abstained={"not_sure": 48}))
    assert "aims to hold what was spoken in 90 % of the clips" in text
    (_, about_sets) = text.split("The emotion set of an answer")
    assert row_of(about_sets, "**[fake-cnn]")[1:] == [
        "luna5",
        f"**{sets.coverage}**",
        "1.06",
        f"sad: {sets.per_class['sad']}",
        "02: 87.5",
        "100.0",
        "25.0",
    ]
    assert row_of(about_sets, "sad") == ["sad", str(sets.per_class["sad"]), "1.46"]
    assert "(figures/ravdess-luna5-fake-cnn-sets.png)" in text


def test_old_results_and_leaky_ones(result: Result, tmp_path: Path) -> None:
    old = replace(result, aurc=None, accuracy_at_coverage={"90": 0.9})
    leaky = replace(
        result, protocol="random10", leaky=True, split_hash=protocol("random10").split_hash, model="leak"
    )
    text = section_of(tmp_path, old, leaky)
    assert row_of(text, "**[fake-cnn]")[3:] == ["–", "–", "90.0", "–", "–", "–"]
    assert "random10" not in text
    assert "leak" not in text


def test_another_corpus_has_no_anchor(
    result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    savee = replace(
        result, corpus="savee", protocol="savee4", per_class={"sad": Group(0.5, None, None, 8, 4)}
    )
    better = replace(result, model="better", uar=Score(0.99, None, None))
    monkeypatch.setattr(confidence, "read_results", lambda folder: [savee, result, better])
    text = confidence.section(tmp_path)
    of_ravdess, of_savee = text.split("### SAVEE: confidence")
    assert published.SELECTIVE.system in of_ravdess
    assert published.SELECTIVE.system not in of_savee
    assert of_ravdess.index("| **[better]") < of_ravdess.index("| **[fake-cnn]")


def test_no_result_no_section(tmp_path: Path) -> None:
    assert confidence.section(tmp_path) == ""
