"""A recipe of several corpora, each left out in turn: from the tables to the page about unheard corpora."""

import json
import shlex
import sys
from pathlib import Path

import exporting
import numpy as np
import pytest
import sounds

from speech_emotion import cli
from speech_emotion.training.export import ship

RECIPE = """
name = "tiny"
window = {seconds = 1.0, hop_seconds = 0.5}
frontend = {n_mels = 32}
network = {channels = [8, 8, 16, 16]}
augment = {speeds = [1.0], n_masks = 0, warp_frequency = 0.0}
probe = {copies = 1, crop_seconds = 0.6}
fit = {label_smoothing = 0.0}
mixture = {there = 1.0, plain = 0.5}
unlabelled = {plain = ["happy"]}
"""
LABELS = {"here": ("happy", "sad"), "there": ("happy", "angry")}


def write_corpus(folder: Path, labels: tuple[str, ...], column: str = "label") -> None:
    """Two people say each label five times; the brighter, the later the label."""
    folder.mkdir()
    rows = [f"file,{column},speaker"]
    for person in range(2):
        for place, label in enumerate(labels):
            for take in range(5):
                sound = sounds.voice(1.1, f0=100.0 + 30 * person + take)
                bright = sound - (1.8 * place - 0.9) * np.concatenate([[0], sound[:-1]])
                name = f"{person}-{label}-{take}.wav"
                (folder / name).write_bytes(
                    sounds.wav((bright / np.abs(bright).max() / 2).astype(np.float32))
                )
                rows.append(f"{name},{label},{person}")
    (folder / "labels.csv").write_text("\n".join(rows))


@pytest.mark.slow
def test_each_corpus_is_tested_by_the_training_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["speech-emotion", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), capsys.readouterr().err

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ship, "export", exporting.stand_in([]))
    Path("tiny.toml").write_text(RECIPE)
    for name, labels in LABELS.items():
        write_corpus(Path(name), labels)
    write_corpus(Path("plain"), ("hello",), column="word")
    corpora = [word for name in LABELS for word in ("--corpus", f"{name}={name}/labels.csv")]
    plain = ("--corpus", "plain=plain/labels.csv")
    code, said = run("train", "tiny.toml", *corpora, *plain, "--protocol", "loco")
    assert code == 0, said
    runs = {path.parent.name: json.loads(path.read_text()) for path in Path("runs").rglob("run.json")}
    assert {name: (run["left_out"], run["corpora"]) for name, run in runs.items()} == {
        "without-here": (["here"], ["there", "plain"]),
        "without-there": (["there"], ["here", "plain"]),
    }
    assert len(list(Path("prepared").rglob("*-embeddings-*.safetensors"))) == 3

    following = said.rpartition("Next: speech-emotion ")[2]
    assert run(*shlex.split(following))[0] == 0
    for name, labels in LABELS.items():
        result = json.loads(Path(f"results/{name}-loco-tiny.json").read_text())
        assert (result["n_clips"], sorted(result["per_class"])) == (20, sorted(labels))
        assert result["labels"] == ["happy", "sad", "angry"]
        assert result["abstained"] == {}
    assert run("report")[0] == 0
    page = Path("results/unheard.md").read_text()
    assert "## loco: each corpus left out in turn\n\n### tiny\n" in page
    assert "[here](here-loco-tiny.md)" in page
    model = "runs/here-tiny/loco/seed-0/without-there/model.onnx"
    code, said = run("evaluate", model, *corpora, "--protocol", "loco")
    assert (code, "so here cannot test it" in said) == (1, True)
