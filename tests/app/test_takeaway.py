"""What can be taken along: whole, with the model that made it, safe to open, and able to give the answer again."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sounds
import takeaway
from hearing import Analysis, Hearing, Sound
from PIL import Image

import speech_emotion
from speech_emotion import Classifier

VOICE = sounds.wav(sounds.voice(6.0))


def hearing(classifier: Classifier, name: str, data: bytes) -> Hearing:
    analysis = Analysis(classifier, Sound.of(name, data, name), None)
    while analysis.hearing is None:
        analysis.step()
    return analysis.hearing


@pytest.fixture(scope="module")
def hearings(classifier: Classifier) -> list[Hearing]:
    return [
        hearing(classifier, "voice.wav", VOICE),
        hearing(classifier, "=cmd|'/c calc'!A1", sounds.wav(np.zeros(64_000, np.float32))),
        hearing(classifier, "notes\n.wav", b"hello"),
    ]


def test_json_holds_every_answer_window_and_error_with_the_model(
    classifier: Classifier, hearings: list[Hearing]
) -> None:
    document = json.loads(takeaway.json_document(hearings, classifier.info, 31.5))
    assert document["model"]["sha256"] == classifier.info.sha256
    assert document["program"] == f"speech-emotion {speech_emotion.__version__}"
    assert document["settings"]["profile_seconds"] == 31.5
    voice, silence, notes = document["sounds"]
    assert voice["probabilities"] == dict(classifier.predict(VOICE).probabilities)
    assert voice["windows"] == [window.to_dict() for window in classifier.timeline(VOICE)]
    assert (silence["label"], silence["abstained"]) == (None, "no_speech")
    assert (notes["error"], notes["windows"]) == ("audio_decode", [])


def test_csv_has_a_row_an_answer_and_no_cell_is_a_formula(
    classifier: Classifier, hearings: list[Hearing]
) -> None:
    rows = list(csv.DictReader(io.StringIO(takeaway.csv_table(hearings, classifier.info, None))))
    parts = [(row["source"], row["part"]) for row in rows]
    n_windows = len(hearings[0].windows)
    assert parts[: n_windows + 1] == [("voice.wav", "whole"), *[("voice.wav", "window")] * n_windows]
    assert ("'=cmd|'/c calc'!A1", "whole") in parts
    assert parts[-1] == ("notes\\n.wav", "whole")
    assert rows[-1]["error"] == "audio_decode"
    assert {(row["model"], row["model_sha256"]) for row in rows} == {("stand-in", classifier.info.sha256)}
    assert float(rows[0]["angry"]) == classifier.predict(VOICE).probabilities["angry"]


def test_the_picture_is_a_png_of_the_timeline(classifier: Classifier, hearings: list[Hearing]) -> None:
    image = Image.open(io.BytesIO(takeaway.picture(hearings[0], classifier.info, 31.5)))
    assert image.format == "PNG"
    assert image.width > 1800
    colours = {pixel for _, pixel in image.convert("RGB").getcolors(2**24) or ()}
    assert {(0x66, 0x7A, 0x8E), (0xD1, 0x49, 0x5B), (0x3D, 0x6F, 0xB6)} <= colours  # neutral, angry, sad


def test_the_python_snippet_gives_the_answer_again(tmp_path: Path) -> None:
    (tmp_path / "it's a voice.wav").write_bytes(VOICE)
    code = takeaway.python_snippet("it's a voice.wav", with_profile=False, is_long=True)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    shipped = speech_emotion.load()
    expected = [shipped.predict(VOICE), *shipped.timeline(VOICE)]
    assert done.stdout.splitlines() == [str(answer) for answer in expected]
    assert 'SpeakerProfile.load("my-voice.json")' in takeaway.python_snippet(
        "a.wav", with_profile=True, is_long=False
    )


def test_the_curl_snippet_quotes_what_a_shell_would_take_apart() -> None:
    snippet = takeaway.curl_snippet("a b;rm -rf.wav", "http://localhost:8501/", is_long=True)
    assert snippet.splitlines() == [
        "curl --data-binary @'a b;rm -rf.wav' http://localhost:8501/api/predict",
        "curl --data-binary @'a b;rm -rf.wav' http://localhost:8501/api/timeline",
    ]


@pytest.mark.parametrize(
    ("n_bytes", "seconds", "fits"),
    [(25 * 2**20, 600.0, True), (25 * 2**20 + 1, 1.0, False), (1, 600.1, False)],
)
def test_curl_is_offered_for_what_the_server_takes(n_bytes: int, seconds: float, fits: bool) -> None:
    assert takeaway.fits_rest(n_bytes, seconds) is fits
