"""`speech-emotion train`: options that do not fit together are wrong usage."""

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
