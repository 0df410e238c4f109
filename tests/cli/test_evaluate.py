"""`speech-emotion evaluate`: what it writes and prints, and how it ends."""

import json
from pathlib import Path

import fakes
import pytest
from typer.testing import CliRunner, Result

from speech_emotion import cli
from speech_emotion.errors import ConfigError, SpeakerLeakError
from speech_emotion.evaluation import score
from speech_emotion.evaluation.result import read_result
from speech_emotion.evaluation.score import read_answers
from speech_emotion.evaluation.splits import protocol
from speech_emotion.labels import EMOTIONS


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return fakes.make_corpus(tmp_path / "corpus")


@pytest.fixture
def run(scored_paths: list[Path], tmp_path: Path) -> Path:
    return fakes.make_run(tmp_path / "run", protocol("luna5"))


def evaluate(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "100"}).invoke(cli.app, ["evaluate", *map(str, arguments)])


def test_result_and_answers_are_written(run: Path, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    ended = evaluate(run, "--corpus", f"ravdess={corpus}", "--protocol", "luna5", "--out", out)
    assert ended.exit_code == 0, ended.output
    result = read_result(out / "ravdess-luna5-fake-cnn.json")
    assert result.uar.mean == 0.9323
    assert result.command == f"speech-emotion evaluate {run} --corpus ravdess={corpus} --protocol luna5"
    assert len(read_answers(out / "ravdess-luna5-fake-cnn.csv")) == 192
    assert "fake-cnn on ravdess" in ended.stdout
    assert str(result.uar) in ended.stdout


def test_a_model_trained_on_the_test_speakers_is_refused(
    scored_paths: list[Path],
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = fakes.make_model(tmp_path / "compact.onnx")
    words = ["evaluate", str(model), "--corpus", f"ravdess={corpus}", "--protocol", "luna5"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["speech-emotion", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert "so ravdess cannot test it" in said
    assert f"({SpeakerLeakError.code})" in said
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--corpus", "ravdess", "--protocol", "luna5"], "NAME=FOLDER"),
        (["--corpus", "ravdess=x", "--protocol", "luna6"], "Did you mean luna5?"),
        (["--corpus", "ravdess=x"], "--protocol"),
    ],
)
def test_wrong_usage_ends_with_2(options: list[str], complaint: str, tmp_path: Path) -> None:
    ended = evaluate(tmp_path, *options)
    assert ended.exit_code == 2
    assert complaint in ended.stderr


def test_where_nothing_can_be_written_nothing_is_scored(
    run: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(score, "score_protocol", lambda *_, **__: pytest.fail("scored"))
    ended = evaluate(
        run, "--corpus", f"ravdess={corpus}", "--protocol", "luna5", "--out", tmp_path / "file" / "x" / "y"
    )
    assert isinstance(ended.exception, ConfigError)
    assert "cannot be written to" in str(ended.exception)


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, Path]:
    """Two corpora in tables: neutral, happy and sad speech of the actors 01 to 04, and calm speech as well."""
    written = {}
    for name, codes in {"ased": (1, 3, 4), "urdu": (1, 2, 3, 4)}.items():
        folder = tmp_path / name
        folder.mkdir()
        rows = ["file,label,speaker"]
        for actor in range(1, 5):
            for code in codes:
                file = f"03-01-{code:02d}-01-01-01-{actor:02d}.wav"
                (folder / file).touch()
                rows.append(f"{file},{EMOTIONS[code - 1]},{actor}")
        written[name] = folder / "labels.csv"
        written[name].write_text("\n".join(rows))
    return written


def test_each_corpus_has_a_result_of_its_own(
    scored_paths: list[Path], tables: dict[str, Path], tmp_path: Path
) -> None:
    model, out = fakes.make_model(tmp_path / "fake.onnx"), tmp_path / "results"
    options = [word for name, table in tables.items() for word in ("--corpus", f"{name}={table}")]
    ended = evaluate(model, *options, "--protocol", "dev-far", "--out", out)
    assert ended.exit_code == 0, ended.output
    assert sorted(path.name for path in out.iterdir()) == [
        *("ased-dev-far-fake-cnn.csv", "ased-dev-far-fake-cnn.json"),
        *("urdu-dev-far-fake-cnn.csv", "urdu-dev-far-fake-cnn.json"),
    ]
    ased, urdu = (read_result(out / f"{name}-dev-far-fake-cnn.json") for name in tables)
    assert (ased.n_clips, ased.uar.mean) == (12, round(2.5 / 3, 4))  # women's sad is taken for neutral
    assert (urdu.n_clips, urdu.uar.mean) == (16, round((1 + 0.75 + 1 + 0.5) / 4, 4))
    assert (
        ased.command == f"speech-emotion evaluate {model} --corpus ased={tables['ased']} --protocol dev-far"
    )


def test_all_corpora_are_looked_at_before_the_first_is_scored(
    scored_paths: list[Path], tables: dict[str, Path], tmp_path: Path
) -> None:
    model = fakes.make_model(tmp_path / "fake.onnx", corpora=["urdu"])
    options = [word for name, table in tables.items() for word in ("--corpus", f"{name}={table}")]
    ended = evaluate(model, *options, "--protocol", "dev-far", "--out", tmp_path / "results")
    assert isinstance(ended.exception, SpeakerLeakError)
    assert "so urdu cannot test it" in str(ended.exception)
    assert scored_paths == []


def test_a_corpus_is_given_once(tmp_path: Path) -> None:
    ended = evaluate(tmp_path, "--corpus", "urdu=a.csv", "--corpus", "urdu=b.csv", "--protocol", "dev-far")
    assert (ended.exit_code, "names a corpus twice" in ended.stderr) == (2, True)


def test_a_protocol_of_another_corpus_is_refused(tmp_path: Path) -> None:
    ended = evaluate(tmp_path, "--corpus", "savee=x", "--protocol", "luna5")
    assert isinstance(ended.exception, ConfigError)


def test_a_leaky_protocol_says_so(scored_paths: list[Path], tmp_path: Path) -> None:
    random10 = protocol("random10")
    folder = tmp_path / "corpus"
    folder.mkdir()
    for clip in (clip for fold in random10.folds for clip in fold.test):
        (folder / f"{clip}.wav").touch()
    run = fakes.make_run(tmp_path / "run", random10)
    ended = evaluate(run, "--corpus", f"ravdess={folder}", "--protocol", "random10", "--out", tmp_path / "r")
    assert ended.exit_code == 0, ended.output
    assert "random10 (LEAKY: same speakers in train and test)" in ended.stdout
    assert json.loads((tmp_path / "r" / "ravdess-random10-fake-cnn.json").read_text())["leaky"] is True


def test_a_report_of_a_missing_folder_is_refused(tmp_path: Path) -> None:
    ended = CliRunner().invoke(cli.app, ["report", str(tmp_path / "nosuch")])
    assert isinstance(ended.exception, ConfigError)
    assert "speech-emotion evaluate" in str(ended.exception)
    assert not (tmp_path / "nosuch").exists()
