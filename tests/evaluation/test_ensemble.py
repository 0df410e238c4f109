"""Ensembles: the mean of what models said about one clip, and refusals of tables that are not of the same clips."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fakes
import pytest
from typer.testing import CliRunner

from speech_emotion import cli
from speech_emotion.errors import ConfigError
from speech_emotion.evaluation.ensemble import average
from speech_emotion.evaluation.result import Result, read_result, summarise
from speech_emotion.evaluation.score import Answer, Evaluation, read_answers, score_protocol, write_answers
from speech_emotion.evaluation.splits import protocol
from speech_emotion.labels import EMOTIONS

SAD = "Actor_02/03-01-04-01-01-01-02.wav"  # the fake hears neutral
CALM = "Actor_01/03-01-02-01-01-01-01.wav"  # the fake abstains
Change = Callable[[Answer], Answer]


def said(seed: int = 0, **probabilities: float) -> Change:
    """One distribution for every clip, the rest of it spread evenly."""
    rest = (1 - sum(probabilities.values())) / (8 - len(probabilities))
    distribution = tuple(probabilities.get(emotion, rest) for emotion in EMOTIONS)
    best = max(probabilities, key=lambda emotion: probabilities[emotion])
    return lambda row: replace(row, seed=seed, answer=best, abstained="", probabilities=distribution)


def write(folder: Path, evaluation: Evaluation, model: str, *seeds: Change, **facts: object) -> Path:
    """The table and the result of a model that gives these answers, one change of all rows a seed."""
    rows = tuple(change(row) for change in seeds or [lambda row: row] for row in evaluation.answers)
    member = replace(evaluation, model=model, answers=rows, **facts)  # type: ignore[arg-type]
    path = summarise(member, command="speech-emotion evaluate run").write(folder).with_suffix(".csv")
    write_answers(rows, path)
    return path


def ensemble(*tables: Path, name: str = "ensemble") -> Evaluation:
    return average(tables, [read_result(table.with_suffix(".json")) for table in tables], name=name)


def by_file(evaluation: Evaluation) -> dict[str, Answer]:
    return {answer.file: answer for answer in evaluation.answers}


def test_seeds_are_averaged_first_and_models_weigh_the_same(evaluation: Evaluation, tmp_path: Path) -> None:
    three = [said(0, sad=0.3, calm=0.14), said(1, sad=0.6, calm=0.12), said(2, sad=0.6, calm=0.04)]
    a = write(tmp_path, evaluation, "a", *three)
    b = write(tmp_path, evaluation, "b", said(calm=0.58, sad=0.28))
    answer = by_file(ensemble(a, b))[SAD]
    assert answer == Answer(
        file=SAD,
        speaker="02",
        sex="female",
        intensity="normal",
        label="sad",
        fold=evaluation_fold(evaluation, SAD),
        seed=0,
        answer="sad",
        abstained="",
        probabilities=answer.probabilities,
        emotions=(),
    )
    chances = dict(zip(EMOTIONS, answer.probabilities, strict=True))
    assert chances["sad"] == pytest.approx((0.5 + 0.28) / 2)
    assert chances["calm"] == pytest.approx((0.1 + 0.58) / 2)
    assert sum(answer.probabilities) == pytest.approx(1, abs=1e-3)


def evaluation_fold(evaluation: Evaluation, file: str) -> int:
    return next(answer.fold for answer in evaluation.answers if answer.file == file)


def test_every_clip_is_answered_once_and_the_company_is_the_sum(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    a = write(tmp_path, evaluation, "a", said(0, sad=0.5), said(3, sad=0.6))
    b = write(tmp_path, evaluation, "b", parameters=1000, size_bytes=50, recipes_tried=3)
    found = ensemble(a, b, name="a-and-b")
    assert [(row.fold, row.file) for row in found.answers] == sorted(
        (row.fold, row.file) for row in evaluation.answers
    )
    assert (found.model, found.corpus, found.protocol) == ("a-and-b", "ravdess", protocol("luna5"))
    assert found.parameters == 2 * 640_000 + 1000
    assert found.size_bytes == 2 * 2_600_000 + 50
    assert (found.recipes_tried, found.commit) == (10, "abc1234")
    assert found.scored == (
        "the mean of the probabilities in ravdess-luna5-a.csv (2 seeds) and ravdess-luna5-b.csv (1 seed)"
    )
    result = summarise(found, command="speech-emotion evaluate")
    assert (result.seeds, result.n_clips, result.sets) == ((0,), 192, None)


def test_what_one_member_does_not_know_of_itself_is_unknown(evaluation: Evaluation, tmp_path: Path) -> None:
    a = write(tmp_path, evaluation, "a")
    b = write(tmp_path, evaluation, "b", commit="def5678", recipes_tried=None)
    found = ensemble(a, b)
    assert (found.recipes_tried, found.commit) == (None, None)


def test_only_where_every_member_is_silent_it_abstains(evaluation: Evaluation, tmp_path: Path) -> None:
    a = write(tmp_path, evaluation, "a")
    silent = by_file(ensemble(a, write(tmp_path, evaluation, "b")))[CALM]
    assert (silent.answer, silent.abstained, silent.probabilities) == ("", "no_speech", ())
    answered = by_file(ensemble(a, write(tmp_path, evaluation, "c", said(calm=0.72))))[CALM]
    assert (answered.answer, answered.abstained) == ("calm", "")
    assert dict(zip(EMOTIONS, answered.probabilities, strict=True))["calm"] == 0.72


def test_not_sure_does_not_carry_over(evaluation: Evaluation, tmp_path: Path) -> None:
    def unsure(row: Answer) -> Answer:
        doubtful = row.file == SAD
        return replace(row, answer="", abstained="not_sure", emotions=("sad", "calm")) if doubtful else row

    tables = [write(tmp_path, evaluation, model, unsure) for model in ("a", "b")]
    answer = by_file(ensemble(*tables))[SAD]
    assert (answer.answer, answer.abstained, answer.emotions) == ("neutral", "", ())


def test_leaky_members_make_a_leaky_result(heard: list[Path], tmp_path: Path) -> None:
    leaky = protocol("luna5-peeked")
    run = fakes.make_run(tmp_path / "run", leaky)
    evaluation = score_protocol([run], "ravdess", fakes.make_corpus(tmp_path / "corpus"), leaky.name)
    found = ensemble(*(write(tmp_path, evaluation, model) for model in ("a", "b")))
    assert summarise(found, command="speech-emotion evaluate").leaky


@pytest.mark.parametrize("models", [[], ["a"], ["a", "a"], ["a", "b", "a"]])
def test_members_are_two_or_more_different_models(
    models: list[str], evaluation: Evaluation, tmp_path: Path
) -> None:
    tables = [write(tmp_path, evaluation, model) for model in models]
    with pytest.raises(ConfigError, match=r"two or more different models.*--ensemble CSV"):
        ensemble(*tables)


@pytest.mark.parametrize(
    ("name", "complaint"), [("a", "Choose another --name"), ("../a", "Name a model with letters")]
)
def test_a_name_is_its_own_and_a_file_name(
    name: str, complaint: str, evaluation: Evaluation, tmp_path: Path
) -> None:
    tables = [write(tmp_path, evaluation, model) for model in ("a", "b")]
    with pytest.raises(ConfigError, match=complaint):
        ensemble(*tables, name=name)


@pytest.mark.parametrize(
    "other", [{"protocol": "loso24"}, {"split_hash": "0" * 64}, {"corpus": "ravdess-song"}]
)
def test_another_split_is_refused(
    other: dict[str, str], result: Result, evaluation: Evaluation, tmp_path: Path
) -> None:
    tables = [write(tmp_path, evaluation, model) for model in ("a", "b")]
    results: list[Result] = [replace(result, model="a"), replace(result, model="b", **other)]  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"on one split, not on .*Evaluate each with the same"):
        average(tables, results)


@pytest.mark.parametrize("change", [{"label": "sad"}, {"file": "elsewhere.wav"}])
def test_other_clips_are_refused(change: dict[str, str], evaluation: Evaluation, tmp_path: Path) -> None:
    def changed(row: Answer) -> Answer:
        return replace(row, **change) if row.file == CALM else row  # type: ignore[arg-type]

    tables = [write(tmp_path, evaluation, "a"), write(tmp_path, evaluation, "b", changed)]
    with pytest.raises(ConfigError, match=r"not of the same clips\. Evaluate both"):
        ensemble(*tables)


@pytest.mark.parametrize("kept", [slice(1, None), slice(None, -1), slice(0, 192)])
def test_a_table_must_be_that_of_its_result(kept: slice, evaluation: Evaluation, tmp_path: Path) -> None:
    a = write(tmp_path, evaluation, "a", said(0, sad=0.5), said(1, sad=0.5))
    write_answers(read_answers(a)[kept], a)
    with pytest.raises(ConfigError, match=r"192 clips, each answered with 2 seeds.*speech-emotion evaluate"):
        ensemble(a, write(tmp_path, evaluation, "b"))


def test_a_table_that_lacks_a_clip_is_refused(evaluation: Evaluation, tmp_path: Path) -> None:
    a = write(tmp_path, evaluation, "a")
    write_answers(read_answers(a)[1:], a)
    with pytest.raises(ConfigError, match="192 clips, each answered with 1 seed,"):
        ensemble(a, write(tmp_path, evaluation, "b"))


def test_a_missing_or_foreign_table_is_refused(evaluation: Evaluation, tmp_path: Path) -> None:
    a, b = (write(tmp_path, evaluation, model) for model in ("a", "b"))
    a.write_text("path,label\nx.wav,sad\n")
    with pytest.raises(ConfigError, match="not a table of answers"):
        ensemble(a, b)
    a.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        ensemble(a, b)


@pytest.mark.parametrize("cell", ["nan", "-5", "", "1.5", '"open'])
def test_a_damaged_table_is_refused(cell: str, evaluation: Evaluation, tmp_path: Path) -> None:
    a, b = (write(tmp_path, evaluation, model) for model in ("a", "b"))
    header, first, *others = a.read_text().splitlines()
    column = header.split(",").index("calm")
    cells = first.split(",")
    a.write_text("\n".join([header, ",".join([*cells[:column], cell, *cells[column + 1 :]]), *others]))
    with pytest.raises(ConfigError, match="not a table of answers"):
        ensemble(a, b)
    a.write_text("\n".join([header, first.replace(",neutral,", ",bogus,", 1), *others]))
    assert "bogus" in a.read_text()
    with pytest.raises(ConfigError, match="not a table of answers"):
        ensemble(a, b)


@pytest.mark.parametrize(
    ("options", "name"), [([], "ensemble"), (["--name", "pair", "--page", "results.md"], "pair")]
)
def test_the_verb_writes_a_result_and_its_table(
    options: list[str],
    name: str,
    evaluation: Evaluation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for model in ("a", "b"):
        write(Path("results"), evaluation, model)
    words = ["evaluate"]
    words += ["--ensemble", "results/ravdess-luna5-a.csv", "--ensemble", "results/ravdess-luna5-b.csv"]
    ended = CliRunner().invoke(cli.app, [*words, *options])
    assert ended.exit_code == 0, ended.output
    result = read_result(f"results/ravdess-luna5-{name}.json")
    assert result.command == " ".join(["speech-emotion", *words, *options[:2]])
    assert (result.uar.mean, result.recipes_tried) == (0.9323, 14)
    assert len(read_answers(f"results/ravdess-luna5-{name}.csv")) == 192
    assert Path("results.md").exists() is bool(options)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--ensemble", "a.csv", "run"], "tables of answers alone"),
        (["--ensemble", "a.csv", "--protocol", "luna5"], "tables of answers alone"),
        (["--ensemble", "a.csv", "--conditions"], "tables of answers alone"),
        (["--name", "pair"], "goes with --ensemble"),
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str], complaint: str) -> None:
    ended = CliRunner(env={"COLUMNS": "200"}).invoke(cli.app, ["evaluate", *arguments])
    assert ended.exit_code == 2
    assert complaint in ended.stderr
