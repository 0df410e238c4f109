"""`speech-emotion train`: options that do not fit together are wrong usage."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from speech_emotion import cli


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--fold", "1"], "add --protocol"),
        (["--protocol", "luna5", "--calibration", "runs/x"], "leave --protocol out"),
        (["--protocol", "luna6"], "Did you mean luna5?"),
    ],
)
def test_wrong_usage_ends_with_2(options: list[str], complaint: str) -> None:
    ended = CliRunner(env={"COLUMNS": "200"}).invoke(
        cli.app, ["train", "recipe.toml", "--corpus", "ravdess=x", *options]
    )
    assert ended.exit_code == 2
    assert complaint in ended.stderr


MANY = """
augment = {warp_frequency = 0, n_masks = 0}
probe = {copies = 1}
fit = {label_smoothing = 0}
mixture = {nemo = 1, savee = 0.5}
"""


@pytest.mark.parametrize(
    ("given", "exit_code", "complaint"),
    [
        (["ravdess"], 1, "also learns from nemo, savee. Give each: --corpus NAME=FOLDER"),
        (["nemo", "ravdess"], 1, "also learns from savee."),
        (["nemo", "savee"], 2, "--corpus ravdess=FOLDER is needed once"),
        (["nemo", "savee", "ravdess", "tess"], 2, "got nemo, savee, ravdess, tess"),
        (["nemo", "savee", "ravdess", "nemo"], 2, "got nemo, savee, ravdess, nemo"),
        (["nemo", "savee", "tess"], 2, "trains on ravdess"),
        (["nemo", "savee", "ravdess"], 1, "none/ravdess does not exist"),
    ],
)
def test_every_corpus_of_a_mixture_must_be_given(
    tmp_path: Path, given: list[str], exit_code: int, complaint: str
) -> None:
    recipe = tmp_path / "many.toml"
    recipe.write_text(MANY)
    options = [word for name in given for word in ("--corpus", f"{name}=none/{name}")]
    options += ["--out", str(tmp_path / "run"), "--prepared", str(tmp_path / "prepared")]
    ended = CliRunner(env={"COLUMNS": "200"}).invoke(cli.app, ["train", str(recipe), *options])
    assert ended.exit_code == exit_code
    assert complaint in ended.stderr + str(ended.exception)
