"""Hundreds of files as encoders write them: ffmpeg says how long each is, and nothing may be lost silently."""

from collections import Counter
from pathlib import Path

import encoded_set
import pytest

from speech_emotion.audio import load
from speech_emotion.errors import AudioError


@pytest.mark.slow
@pytest.mark.skipif(not encoded_set.HAS_FFMPEG, reason="ffmpeg makes the files")
@pytest.mark.parametrize(("rate", "n_channels"), [(16_000, 1), (44_100, 2)])
def test_every_file_is_read_to_its_end_or_says_that_it_is_cut(
    rate: int, n_channels: int, tmp_path: Path
) -> None:
    paths = encoded_set.everything(tmp_path, (rate,), (n_channels,))
    by_ffmpeg = encoded_set.seconds_by_ffmpeg(paths, tmp_path)
    verdicts = {path.name: _verdict(path, by_ffmpeg[path]) for path in paths}
    wrong = {name: verdict for name, verdict in verdicts.items() if verdict not in ("right", "told")}
    assert wrong == {}
    assert Counter(verdicts.values())["right"] > 150


def _verdict(path: Path, by_ffmpeg: float) -> str:
    try:
        waveform = load(path)
    except AudioError:
        return encoded_set.verdict(path, None, (), by_ffmpeg)
    return encoded_set.verdict(path, waveform.seconds, waveform.warnings, by_ffmpeg)
