"""The results page: every number with its company, leaky results apart, prose left alone."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from speech_emotion.errors import ConfigError
from speech_emotion.evaluation.report import page as report
from speech_emotion.evaluation.report import published
from speech_emotion.evaluation.result import Group, Result, Score
from speech_emotion.evaluation.splits import protocol


def leaky(result: Result) -> Result:
    return replace(result, protocol="random10", leaky=True, split_hash=protocol("random10").split_hash)


def row_of(text: str, start: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {start}")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_our_row_stands_with_its_company(result: Result) -> None:
    text = report.results_text([result], results_link="../results")
    assert row_of(text, "**[fake-cnn]") == [
        "**[fake-cnn](#ravdess-luna5-fake-cnn)**",
        "0.64 M",
        "luna5",
        f"**{result.uar}**",
        str(result.accuracy),
        str(result.ece),
        "192 of 1440 clips, 24 speakers, 1 seed",
        "7",
        "yes",
    ]
    assert str(result.uar).startswith("93.2 [")
    assert "\n## ravdess, luna5: fake-cnn\n" in text  # what the link points to


def test_the_anchors_stand_beside_us_in_order(result: Result) -> None:
    text = report.results_text([replace(result, uar=Score(0.70, None, None))], results_link="../results")
    honest = text.split("### LEAKY")[0]
    table = [line.split("|")[1].strip() for line in honest.splitlines() if line.startswith("| ")][1:]
    assert len([row for row in table if row != "---"]) == len(published.PLAIN) + 1
    assert table.index("XLS-R 300M, frozen, linear probe (hsn07pk 2026)") < table.index(
        "**[fake-cnn](#ravdess-luna5-fake-cnn)**"
    )
    assert table.index("**[fake-cnn](#ravdess-luna5-fake-cnn)**") < table.index("emotion2vec-base probe")
    assert row_of(text, "xlsr-53 fine-tuned")[3:5] == ["81.8", "81.82"]
    assert row_of(text, "ResLSTM-SA")[1:4] == ["0.047 M", "luna5", "62.32 ± 1.19"]


def test_leaky_results_never_share_a_table_with_honest_ones(result: Result) -> None:
    text = report.results_text([leaky(result), result], results_link="../results")
    honest, apart = text.split("### LEAKY: the test speakers helped")
    assert "([how](honesty.md))" in apart
    honest_table = honest.split("\n\n")
    assert "random10" not in honest
    assert "TIM-Net" not in "".join(honest_table)
    table = [line for line in apart.split("## ravdess")[0].splitlines() if line.startswith("| ")]
    assert len(table) == 2 + 1 + len(published.LEAKY)
    assert all("LEAKY" in line for line in table[2:])
    assert "## ravdess, random10 (LEAKY: same speakers in train and test): fake-cnn" in apart


def test_each_result_shows_its_groups_files_and_command(result: Result) -> None:
    text = report.results_text([result], results_link="../results")
    assert row_of(text, "sad") == ["sad", str(result.per_class["sad"]), "24", "47.9"]
    assert row_of(text, "sad")[1].startswith("50.0 [")
    assert row_of(text, "female") == ["female speakers", "87.5 [87.5, 87.5]", "96", "12"]
    assert "[every answer](../results/ravdess-luna5-fake-cnn.csv)" in text
    assert "(figures/ravdess-luna5-fake-cnn-actors.png)" in text
    assert "```sh\nspeech-emotion evaluate run\n```" in text
    assert "Recipes tried: 7. Commit abc1234." in text
    assert "Abstentions in 192 answers: 1 no_speech; UAR without them 93.8" in text


def test_every_foreign_row_names_its_source(result: Result) -> None:
    text = report.results_text([result], results_link=".")
    honest, apart = text.split("### LEAKY")
    for part, others in ((honest, published.PLAIN), (apart, published.LEAKY)):
        (_, listed) = part.split("\nSources:\n\n")
        lines = listed.split("\n\n")[0].splitlines()
        for other in others:
            (line,) = [line for line in lines if other.system in line]
            assert line.startswith("- ")
            assert line.endswith(f": {other.source}.")
    assert "ResLSTM-SA, from scratch: Krasnoproshin D, Vashkevich M (2026)" in honest


def test_leaky_rows_of_others_stand_although_none_is_ours(result: Result) -> None:
    (apart,) = report.results_text([result], results_link=".").split("### LEAKY")[1:]
    assert row_of(apart, "TIM-Net")[2:4] == ["random10 (LEAKY)", "90.04"]
    assert "None of ours was run so." in apart
    assert "None of ours" not in report.results_text([leaky(result)], results_link=".")


def test_every_speaker_can_be_read_without_the_picture(result: Result) -> None:
    (details,) = report.results_text([result], results_link=".").split("<details>")[1:]
    table = details.split("</details>")[0]
    assert row_of(table, "01") == ["01", "male", "87.5", "8"]
    assert row_of(table, "02") == ["02", "female", "87.5", "8"]
    assert len([line for line in table.splitlines() if line.startswith("| ")]) == 2 + 24


def test_what_was_not_stated_is_said(result: Result) -> None:
    text = report.results_text(
        [replace(result, recipes_tried=None, commit=None, abstained={})], results_link="."
    )
    assert "Recipes tried: not stated. Commit unknown." in text
    assert "No abstention in 192 answers." in text


def test_a_corpus_without_some_emotions_has_both_scores_and_comes_after_the_ravdess(result: Result) -> None:
    four = {label: result.per_class[label] for label in ("neutral", "happy", "sad", "angry")}
    polish = replace(
        result,
        corpus="nemo",
        protocol="nemo-unheard",
        per_class=four,
        uar_among_spoken=Score(0.3387, None, (0.2957, 0.3789)),
    )
    text = report.results_text([polish, result], results_link=".")
    assert "has 4 of the 8 emotions" in text
    assert "gives UAR **33.9 [29.6, 37.9]** (chance 25.0)" in text
    assert text.count("of the 8 emotions") == 1
    assert text.index("## RAVDESS speech") < text.index("## nEMO")


def test_each_system_is_compared_with_the_next_best_speaker_by_speaker(result: Result) -> None:
    def worse(model: str, by: float) -> Result:
        actors = {name: replace(group, mean=group.mean - by) for name, group in result.per_actor.items()}
        return replace(result, model=model, uar=Score(0.9 - by, None, None), per_actor=actors)

    text = report.results_text([worse("last", 0.3), worse("middle", 0.1), result], results_link=".")
    company = "better for 24 and worse for 0 of 24 speakers"
    assert [line for line in text.splitlines() if "minus" in line] == [
        f"- luna5, fake-cnn minus middle: +10.0 [+10.0, +10.0], {company}",
        f"- luna5, middle minus last: +20.0 [+20.0, +20.0], {company}",
    ]
    assert "minus" not in report.results_text([result], results_link=".")


def test_other_corpora_have_tables_without_our_anchors(result: Result) -> None:
    savee = replace(
        result, corpus="savee", protocol="savee4", per_class={"sad": Group(0.5, None, None, 8, 4)}
    )
    text = report.results_text([savee], results_link=".")
    assert "## SAVEE\n" in text
    assert "XLS-R" not in text
    assert "human" not in text


def test_the_page_keeps_its_prose(result: Result, tmp_path: Path) -> None:
    result.write(tmp_path / "results")
    page = tmp_path / "docs" / "results.md"
    page.parent.mkdir()
    page.write_text(f"# Mine\n\nBefore.\n\n{report.BEGIN}\nold numbers\n{report.END}\n\nAfter.\n")
    report.write_results_page(tmp_path / "results", page)
    text = page.read_text()
    assert text.startswith(f"# Mine\n\nBefore.\n\n{report.BEGIN}\n\n## RAVDESS speech\n")
    assert text.endswith(f"\n{report.END}\n\nAfter.\n")
    assert "old numbers" not in text
    assert "(../results/ravdess-luna5-fake-cnn.json)" in text
    report.write_results_page(tmp_path / "results", page)
    assert page.read_text() == text


def test_further_sections_stand_before_the_single_results(
    result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result.write(tmp_path / "results")
    (tmp_path / "results" / "noise").mkdir()
    (tmp_path / "results" / "noise" / "a.json").touch()

    def listing(folder: Path) -> str:
        return f"## Noise\n\n{len(list(folder.glob('noise/*.json')))} file\n"

    monkeypatch.setattr(report, "SECTIONS", (lambda folder: "", listing))
    report.write_results_page(tmp_path / "results", tmp_path / "results.md")
    text = (tmp_path / "results.md").read_text()
    assert "\n\n## Noise\n\n1 file\n\n## ravdess, luna5: fake-cnn\n" in text


def test_the_page_has_a_section_about_confidence(result: Result, tmp_path: Path) -> None:
    result.write(tmp_path / "results")
    report.write_results_page(tmp_path / "results", tmp_path / "results.md")
    text = (tmp_path / "results.md").read_text()
    places = [text.index(f"\n## {title}\n") for title in ("RAVDESS speech", "Confidence")]
    assert places[0] < places[1] < text.index("\n## ravdess, luna5: fake-cnn\n")


def test_a_page_is_made_where_there_is_none(result: Result, tmp_path: Path) -> None:
    result.write(tmp_path / "results")
    report.write_results_page(tmp_path / "results", tmp_path / "docs" / "results.md")
    assert (
        (tmp_path / "docs" / "results.md")
        .read_text()
        .startswith(f"# Results\n\n{report.BEGIN}\n\n## RAVDESS")
    )


def test_a_page_without_markers_is_not_touched(tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    page.write_text("# Prose only\n")
    with pytest.raises(ConfigError, match="Add these two lines"):
        report.write_results_page(tmp_path, page)
    assert page.read_text() == "# Prose only\n"


def test_no_result_yet(tmp_path: Path) -> None:
    report.write_results_page(tmp_path, tmp_path / "results.md")
    assert "There is no result yet." in (tmp_path / "results.md").read_text()


def test_the_terminal_shows_the_same_numbers(result: Result) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(report.terminal_table(result))
    text = console.export_text()
    assert text.startswith("fake-cnn on ravdess")
    assert "192 of 1440 clips, 24 speakers, 1 seed" in text
    (uar,) = [line for line in text.splitlines() if "UAR  " in line]
    assert str(result.uar) in uar
    assert "24" in uar
    console.print(report.terminal_table(leaky(result)))
    assert "LEAKY" in console.export_text()


def test_every_anchor_has_a_place(result: Result) -> None:
    heights = [report._height(anchor) for anchor in published.PLAIN]
    assert heights[:4] == [62.4, 81.9, 81.8, 81.3]
    assert np.min(heights) == 53.1
