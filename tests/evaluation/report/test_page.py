"""The report: every number with its support, leaky results apart, committed pages as generated."""

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from speech_emotion.evaluation.answers import Group, Score
from speech_emotion.evaluation.report import page, published, systems
from speech_emotion.evaluation.result import Result
from speech_emotion.evaluation.splits import protocol

RESULTS = Path(__file__).resolve().parents[3] / "results"


def leaky(result: Result) -> Result:
    return replace(result, protocol="random10", leaky=True, split_hash=protocol("random10").split_hash)


def row_of(text: str, start: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {start}")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_our_row_stands_with_its_support(result: Result) -> None:
    text = systems.page([result])
    assert row_of(text, "**[fake-cnn]") == [
        "**[fake-cnn](ravdess-luna5-fake-cnn.md)**",
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


def test_the_anchors_stand_beside_us_in_order(result: Result) -> None:
    text = systems.page([replace(result, uar=Score(0.70, None, None))])
    honest = text.split("### LEAKY")[0]
    table = [line.split("|")[1].strip() for line in honest.splitlines() if line.startswith("| ")][1:]
    assert len([row for row in table if row != "---"]) == len(published.SYSTEMS) + 1
    assert table.index("XLS-R 300M, frozen, linear probe (hsn07pk 2026)") < table.index(
        "**[fake-cnn](ravdess-luna5-fake-cnn.md)**"
    )
    assert table.index("**[fake-cnn](ravdess-luna5-fake-cnn.md)**") < table.index("emotion2vec-base probe")
    assert row_of(text, "xlsr-53 fine-tuned")[3:5] == ["81.8", "81.82"]
    assert row_of(text, "ResLSTM-SA")[1:4] == ["0.047 M", "luna5", "62.32 ± 1.19"]


def test_leaky_results_never_share_a_table_with_honest_ones(result: Result) -> None:
    text = systems.page([leaky(result), result])
    honest, apart = text.split("### LEAKY: the test speakers helped")
    assert "honesty.md" in apart
    honest_table = honest.split("\n\n")
    assert "random10" not in honest
    assert "TIM-Net" not in "".join(honest_table)
    table = [line for line in apart.splitlines() if line.startswith("| ")]
    assert len(table) == 2 + 1 + len(published.LEAKY_SYSTEMS)
    assert all("LEAKY" in line for line in table[2:])


def test_each_result_shows_its_groups_files_and_command(result: Result) -> None:
    text = page._result_page(result)
    assert row_of(text, "sad") == ["sad", str(result.per_class["sad"]), "24", "47.9"]
    assert row_of(text, "sad")[1].startswith("50.0 [")
    assert row_of(text, "female") == ["female speakers", "87.5 [87.5, 87.5]", "96", "12"]
    assert "[every answer](ravdess-luna5-fake-cnn.csv)" in text
    assert "(figures/ravdess-luna5-fake-cnn-actors.png)" in text
    assert "```sh\nspeech-emotion evaluate run\n```" in text
    assert "Recipes tried: 7. Commit abc1234." in text
    assert "Abstentions in 192 answers: 1 no_speech; UAR without them 93.8" in text


def test_every_foreign_row_names_its_source(result: Result) -> None:
    text = systems.page([result])
    honest, apart = text.split("### LEAKY")
    for part, others in ((honest, published.SYSTEMS), (apart, published.LEAKY_SYSTEMS)):
        (_, listed) = part.split("\nSources:\n\n")
        lines = listed.split("\n\n")[0].splitlines()
        for other in others:
            (line,) = [line for line in lines if other.system in line]
            assert line.startswith("- ")
            assert line.endswith(f": {other.source}.")
    assert "ResLSTM-SA, from scratch: Krasnoproshin D, Vashkevich M (2026)" in honest


def test_leaky_rows_of_others_stand_although_none_is_ours(result: Result) -> None:
    (apart,) = systems.page([result]).split("### LEAKY")[1:]
    assert row_of(apart, "TIM-Net")[2:4] == ["random10 (LEAKY)", "90.04"]
    assert "None of ours was run so." in apart
    assert "None of ours" not in systems.page([leaky(result)])


def test_every_speaker_can_be_read_without_the_picture(result: Result) -> None:
    (details,) = page._result_page(result).split("<details>")[1:]
    table = details.split("</details>")[0]
    assert row_of(table, "01") == ["01", "male", "87.5", "8"]
    assert row_of(table, "02") == ["02", "female", "87.5", "8"]
    assert len([line for line in table.splitlines() if line.startswith("| ")]) == 2 + 24


def test_what_was_not_stated_is_said(result: Result) -> None:
    text = page._result_page(replace(result, recipes_tried=None, commit=None, abstained={}))
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
    text = page._result_page(polish)
    assert "has 4 of the 8 emotions" in text
    assert "gives UAR **33.9 [29.6, 37.9]** (chance 25.0)" in text
    assert "of the 8 emotions" not in page._result_page(result)
    text = systems.page(systems.in_order([polish, result]))
    assert text.index("## RAVDESS speech") < text.index("## nEMO")


def test_each_system_is_compared_with_the_next_best_speaker_by_speaker(result: Result) -> None:
    def worse(model: str, by: float) -> Result:
        actors = {name: replace(group, mean=group.mean - by) for name, group in result.per_actor.items()}
        return replace(result, model=model, uar=Score(0.9 - by, None, None), per_actor=actors)

    text = systems.page(systems.in_order([worse("last", 0.3), worse("middle", 0.1), result]))
    both = "better for 24 and worse for 0 of 24 speakers"
    assert [line for line in text.splitlines() if "minus" in line] == [
        f"- luna5, fake-cnn minus middle: +10.0 [+10.0, +10.0], {both}",
        f"- luna5, middle minus last: +20.0 [+20.0, +20.0], {both}",
    ]
    assert "minus" not in systems.page([result])


def test_other_corpora_have_tables_without_our_anchors(result: Result) -> None:
    savee = replace(
        result, corpus="savee", protocol="savee4", per_class={"sad": Group(0.5, None, None, 8, 4)}
    )
    text = systems.page([savee])
    assert "## SAVEE\n" in text
    assert "XLS-R" not in text
    assert "human" not in text


def test_the_report_stands_beside_the_results(result: Result, tmp_path: Path) -> None:
    result.write(tmp_path)
    written = page.write_report(tmp_path)
    names = [path.name for path in written]
    assert names == ["README.md", "systems.md", "confidence.md", "ravdess-luna5-fake-cnn.md"]
    index = written[0].read_text()
    assert f"(ravdess-luna5-fake-cnn.md): UAR **{result.uar}**, {result.support}" in index
    for path in written:
        links = re.findall(r"\]\(([^)#]+)\)", path.read_text())
        local = [link for link in links if not link.startswith(("http", "../docs"))]
        missing = [link for link in local if not (tmp_path / link).exists()]
        assert missing in ([], ["ravdess-luna5-fake-cnn.csv"], ["profiles.md"])


def test_the_committed_report_is_the_generated_one() -> None:
    generated = page.pages(RESULTS)
    assert {path.name for path in RESULTS.glob("*.md")} == generated.keys()
    assert [name for name, text in generated.items() if (RESULTS / name).read_text() != text] == []


def test_no_result_yet(tmp_path: Path) -> None:
    assert list(page.pages(tmp_path)) == ["README.md"]


def test_many_speakers_are_summed_up(result: Result) -> None:
    group = next(iter(result.per_actor.values()))
    many = {f"{number:03d}": replace(group, mean=number / 100) for number in range(101)}
    text = page._result_page(replace(result, per_actor=many))
    assert "<details>" not in text
    assert "a tenth has less than 10.0, half less than 50.0, a tenth more than 90.0" in text


def test_sets_stand_beside_recalls(result_with_sets: Result) -> None:
    sets = result_with_sets.sets
    assert sets is not None
    text = page._result_page(result_with_sets)
    assert row_of(text, "sad")[4:] == [str(sets.per_class["sad"]), "1.46"]
    assert row_of(text, "02")[4] == "87.5"


def test_the_terminal_shows_the_same_numbers(result: Result) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(page.terminal_table(result))
    text = console.export_text()
    assert text.startswith("fake-cnn on ravdess")
    assert "192 of 1440 clips, 24 speakers, 1 seed" in text
    (uar,) = [line for line in text.splitlines() if "UAR  " in line]
    assert str(result.uar) in uar
    assert "24" in uar
    console.print(page.terminal_table(leaky(result)))
    assert "LEAKY" in console.export_text()


def test_every_anchor_has_a_place(result: Result) -> None:
    heights = [systems._height(anchor) for anchor in published.SYSTEMS]
    assert heights[:4] == [62.4, 81.9, 81.8, 81.3]
    assert np.min(heights) == 53.1
