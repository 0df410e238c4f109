"""The page about confidence: our surest answers beside published ones, and what the emotion sets held."""

from dataclasses import replace

from speech_emotion.evaluation.report import confidence, published
from speech_emotion.evaluation.result import Result


def row_of(text: str, start: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {start}")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_surest_answers_stand_beside_published_ones(result: Result) -> None:
    rising = {"100": 0.6, "95": 0.62, "90": 0.65, "80": 0.7, "70": 0.75, "50": 0.8}
    text = confidence.page([replace(result, accuracy_at_coverage=rising)])
    assert text.startswith("# Confidence\n")
    assert "docs/confidence.md)" in text
    assert row_of(text, "system | protocol | ECE")[4:] == [
        f"surest {share} %" for share in (100, 90, 80, 70, 50)
    ]
    ours = ["60.0", "65.0", "70.0", "75.0", "80.0"]
    assert row_of(text, "**[fake-cnn]") == [
        "**[fake-cnn](ravdess-luna5-fake-cnn.md)**", "luna5", str(result.ece), "6.3", *ours
    ]  # fmt: skip
    theirs = row_of(text, published.SELECTIVE.system)
    assert theirs[1:] == ["luna5", "15.3", "–", "81.8", "84.5", "87.2", "89.5", "91.3"]
    assert "whose mean confidence is 97.0 %" in text


def test_without_sets_there_is_no_table_of_them(result: Result) -> None:
    assert "emotion set" not in confidence.page([result])


def test_what_the_sets_held(result_with_sets: Result) -> None:
    sets = result_with_sets.sets
    assert sets is not None
    text = confidence.page([replace(result_with_sets, abstained={"not_sure": 48})])
    assert "aims to hold the spoken emotion in 90 % of the clips" in text
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


def test_leaky_results_and_missing_numbers(result: Result) -> None:
    without = replace(result, aurc=None, accuracy_at_coverage={"90": 0.9})
    leaky = replace(result, protocol="random10", leaky=True, model="leak")
    text = confidence.page([without, leaky])
    assert row_of(text, "**[fake-cnn]")[3:] == ["–", "–", "90.0", "–", "–", "–"]
    assert "leak" not in text


def test_another_corpus_has_nothing_published(result: Result) -> None:
    four_men = {"corpus": "savee", "protocol": "savee4"}
    text = confidence.page([result, replace(result, **four_men)])
    of_ravdess, of_savee = text.split("## SAVEE")
    assert published.SELECTIVE.system in of_ravdess
    assert published.SELECTIVE.system not in of_savee
