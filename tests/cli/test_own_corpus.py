"""Recordings and labels of one's own, from a table to an answer, through the command line."""

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path

import exporting
import numpy as np
import pytest
import sounds

from speech_emotion import cli
from speech_emotion.training.export import ship

LABELS = ("neutral", "bored", "satisfied")
RECIPE = """
name = "tiny"
window = {seconds = 1.0, hop_seconds = 0.5}
frontend = {n_mels = 32}
network = {channels = [8, 8, 16, 16]}
augment = {speeds = [1.0], n_masks = 0}
fit = {epochs = 2, batch_size = 4}
"""


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a verb in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def verb(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["speech-emotion", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return verb


@pytest.fixture
def table(run: Run) -> Path:
    """Three people, three labels, two recordings of each."""
    folder = Path("calls")
    folder.mkdir()
    rows = ["file,emotion,speaker"]
    for person, name in enumerate(("ann", "bob", "eve")):
        for place, label in enumerate(LABELS):
            for take in (1, 2):
                sound = sounds.voice(1.1, f0=100.0 + 30 * person + take)
                bright = sound - (0.9 * place - 0.9) * np.concatenate([[0], sound[:-1]])
                (folder / f"{name}-{label}-{take}.wav").write_bytes(
                    sounds.wav((bright / np.abs(bright).max() / 2).astype(np.float32))
                )
                rows.append(f"{name}-{label}-{take}.wav,{label},{name}")
    (folder / "mine.csv").write_text("\n".join(rows))
    Path("tiny.toml").write_text(RECIPE)
    return folder / "mine.csv"


@pytest.mark.slow
def test_from_a_table_to_an_answer(run: Run, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the models one is exported; stand-ins are evaluated."""
    split = ("--corpus", f"mine={table}", "--protocol", "speakers")
    assert run("corpora", "check", "mine", str(table))[0] == 0
    with monkeypatch.context() as patched:
        patched.setattr(ship, "export", exporting.stand_in([]))
        assert run("train", "tiny.toml", *split)[0] == 0
    assert run("evaluate", "runs/mine-tiny/speakers", *split)[0] == 0
    result = json.loads(Path("results/mine-speakers-tiny.json").read_text())
    assert (result["n_speakers"], result["n_clips"], result["labels"]) == (3, 18, list(LABELS))
    with Path("results/mine-speakers-tiny.csv").open() as file:
        assert next(csv.reader(file))[-3:] == list(LABELS)
    assert run("report", "results")[0] == 0
    assert "| bored |" in Path("results/mine-speakers-tiny.md").read_text()
    assert Path("results/figures/mine-speakers-tiny-confusion.png").exists()
    assert run("export", "runs/mine-tiny/speakers/seed-0/fold-0", "--out", "mine.onnx")[0] == 0
    assert "by the labels that were given in mine" in Path("mine.md").read_text()
    code, out, _ = run("predict", "--model", "mine.onnx", "--json", "calls/ann-bored-1.wav")
    assert code == 0
    assert list(json.loads(out)[0]["probabilities"]) == list(LABELS)


@pytest.mark.parametrize("recipe", ["tiny", "many"])
def test_a_table_without_labels_is_neither_divided_nor_scored(run: Run, table: Path, recipe: str) -> None:
    plain = Path("calls/plain.csv")
    plain.write_text(table.read_text().replace("emotion", "word"))
    mixture = "\nmixture = {mine = 1}\nprobe = {copies = 1, crop_seconds = 0.6}\nfit = {label_smoothing = 0}"
    many = RECIPE.partition("fit =")[0].replace("n_masks = 0", "n_masks = 0, warp_frequency = 0") + mixture
    Path("many.toml").write_text(many)
    given = ["--corpus", f"plain={plain}"]
    both = [*given, *(["--corpus", f"mine={table}"] if recipe == "many" else [])]
    code, _, complaint = run("train", f"{recipe}.toml", *both, "--protocol", "speakers")
    assert (code, "plain has no labels. Add a column label" in complaint) == (1, True)
    assert "[mixture]" in complaint
    code, _, complaint = run("evaluate", "runs/none", *given, "--protocol", "unheard")
    assert (code, "plain has no labels to compare with. Add a column label" in complaint) == (1, True)


def test_a_published_name_is_not_for_a_table(run: Run, table: Path) -> None:
    code, _, complaint = run("corpora", "check", "ravdess", str(table))
    assert (code, "ravdess is a published corpus" in complaint) == (1, True)


def test_a_split_of_speakers_needs_a_table(run: Run, table: Path) -> None:
    words = ("--corpus", "ravdess=calls", "--protocol", "speakers")
    _, _, complaint = run("train", str(table.parents[1] / "tiny.toml"), *words)
    assert "speakers divides recordings of your own. Give their table" in complaint
