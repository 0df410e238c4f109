"""Downloads: complete, with the model that made them, safe to open, and able to reproduce the answer."""

import csv
import dataclasses
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import downloads
import numpy as np
import pytest
import sounds
from analysis import Analyser, Analysis, Sound
from downloads import Results
from PIL import Image

import speech_emotion
from speech_emotion import Classifier
from speech_emotion.shipped import MODELS

VOICE = sounds.wav(sounds.voice(6.0))


def analysed(classifier: Classifier, name: str, data: bytes) -> Analysis:
    analyser = Analyser(classifier, Sound.of(name, data, name), None)
    while analyser.result is None:
        analyser.step()
    return analyser.result


@pytest.fixture(scope="module")
def analyses(classifier: Classifier) -> list[Analysis]:
    return [
        analysed(classifier, "voice.wav", VOICE),
        analysed(classifier, "=cmd|'/c calc'!A1", sounds.wav(np.zeros(64_000, np.float32))),
        analysed(classifier, "notes\n.wav", b"hello"),
    ]


def test_json_holds_every_answer_window_and_error_with_the_model(
    classifier: Classifier, analyses: list[Analysis]
) -> None:
    document = json.loads(downloads.json_document(Results(analyses, classifier.info, 31.5)))
    assert document["model"]["sha256"] == classifier.info.sha256
    assert document["program"] == f"speech-emotion {speech_emotion.__version__}"
    assert document["settings"]["profile_seconds"] == 31.5
    voice, silence, notes = document["sounds"]
    assert voice["probabilities"] == dict(classifier.predict(VOICE).probabilities)
    assert voice["windows"] == [window.to_dict() for window in classifier.timeline(VOICE)]
    assert (silence["label"], silence["abstained"]) == (None, "no_speech")
    assert (notes["error"], notes["windows"]) == ("audio_decode", [])


def test_csv_has_one_row_per_answer_and_no_cell_is_a_formula(
    classifier: Classifier, analyses: list[Analysis]
) -> None:
    rows = list(csv.DictReader(io.StringIO(downloads.csv_table(Results(analyses, classifier.info)))))
    parts = [(row["source"], row["part"]) for row in rows]
    n_windows = len(analyses[0].windows)
    assert parts[: n_windows + 1] == [("voice.wav", "whole"), *[("voice.wav", "window")] * n_windows]
    assert ("'=cmd|'/c calc'!A1", "whole") in parts
    assert parts[-1] == ("notes\\n.wav", "whole")
    assert rows[-1]["error"] == "audio_decode"
    assert {(row["model"], row["model_sha256"]) for row in rows} == {("stand-in", classifier.info.sha256)}
    assert rows[0]["angry"] == f"{round(classifier.predict(VOICE).probabilities['angry'], 4)}"


def test_the_picture_is_a_png_of_the_timeline(classifier: Classifier, analyses: list[Analysis]) -> None:
    image = Image.open(io.BytesIO(downloads.picture(Results(analyses, classifier.info, 31.5), analyses[0])))
    assert image.format == "PNG"
    assert image.width > 1800
    colours = {pixel for _, pixel in image.convert("RGB").getcolors(2**24) or ()}
    assert {(0x66, 0x7A, 0x8E), (0xD1, 0x49, 0x5B), (0x3D, 0x6F, 0xB6)} <= colours  # neutral, angry, sad


def test_the_python_snippet_reproduces_the_answer(tmp_path: Path) -> None:
    (tmp_path / "it's a voice.wav").write_bytes(VOICE)
    code = downloads.python_snippet("it's a voice.wav", MODELS[0].name, with_profile=False, is_long=True)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    shipped = speech_emotion.load()
    expected = [shipped.predict(VOICE), *shipped.timeline(VOICE)]
    assert done.stdout.splitlines() == [str(answer) for answer in expected]
    assert 'SpeakerProfile.load("my-voice.json")' in downloads.python_snippet(
        "a.wav", "second", with_profile=True, is_long=False
    )


def test_the_curl_snippet_quotes_for_the_shell() -> None:
    snippet = downloads.curl_snippet("a b;rm -rf.wav", "http://localhost:8501/api/second/", is_long=True)
    assert snippet.splitlines() == [
        "curl --data-binary @'a b;rm -rf.wav' http://localhost:8501/api/second/predict",
        "curl --data-binary @'a b;rm -rf.wav' http://localhost:8501/api/second/timeline",
    ]


def test_the_snippets_answer_for_each_channel_of_a_call(tmp_path: Path) -> None:
    silence = np.zeros(64_000, np.float32)
    sides = np.stack(
        [np.append(sounds.voice(4.0), silence), np.append(silence, sounds.voice(4.0, f0=250))], axis=1
    )
    (tmp_path / "call.wav").write_bytes(sounds.wav(sides))
    code = downloads.python_snippet(
        "call.wav", MODELS[-1].name, with_profile=False, is_long=True, has_channels=True
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    model = speech_emotion.load(MODELS[-1].name)
    call = sounds.wav(sides)
    expected = [*model.predict(call, channels="separate"), *model.timeline(call, channels="separate")]
    assert done.stdout.splitlines() == [str(answer) for answer in expected]
    snippet = downloads.curl_snippet("call.wav", "http://localhost/api/", is_long=False, has_channels=True)
    assert snippet == "curl --data-binary @call.wav 'http://localhost/api/predict?channels=separate'"


@pytest.mark.parametrize(
    ("n_bytes", "seconds", "fits"),
    [(25 * 2**20, 600.0, True), (25 * 2**20 + 1, 1.0, False), (1, 600.1, False)],
)
def test_curl_is_offered_for_what_the_server_accepts(n_bytes: int, seconds: float, fits: bool) -> None:
    assert downloads.fits_rest(n_bytes, seconds) is fits


def test_annotations_are_the_stretches_of_the_timeline(
    classifier: Classifier, analyses: list[Analysis], tmp_path: Path
) -> None:
    stretches = list(classifier.merge(classifier.timeline(VOICE)))
    path = tmp_path / "segments"
    for name in downloads.ANNOTATIONS:
        path.write_text(downloads.annotations(Results(analyses, classifier.info), analyses[0], name))
        found = speech_emotion.read_segments(path)
        assert [(one.start_seconds, one.end_seconds) for one in found] == [
            (one.start_seconds, one.end_seconds) for one in stretches
        ]
        assert stretches[0].label in f"{found[0].text} {found[0].speaker}"


def test_the_report_holds_every_sound_and_asks_for_nothing(
    classifier: Classifier, analyses: list[Analysis]
) -> None:
    page = downloads.html_report(Results(analyses, classifier.info, 31.5))
    answer = classifier.predict(VOICE)
    assert f"<span class='se-answer'>{answer.label}</span>" in page
    assert "=cmd|&#x27;/c calc&#x27;!A1" in page
    assert "No speech was found" in page
    assert "notes\\n.wav" in page
    assert f"model sha256: {classifier.info.sha256}" in page
    assert "profile seconds: 31.5" in page
    assert not re.search(r"<script|<link|<img|src=|href=|@import|https?://(?!www\.w3\.org/2000/svg)", page)


def test_channels_and_utterances_are_in_every_document(classifier: Classifier) -> None:
    whole = analysed(classifier, "call.wav", VOICE)
    lane = dataclasses.replace(
        whole, name="left", windows=tuple(dataclasses.replace(w, channel="left") for w in whole.windows)
    )
    segment = speech_emotion.Segment(0.0, 2.0, "ann", "good <morning>")
    both = dataclasses.replace(whole, lanes=(lane,), segments=((segment, whole.windows[0]),))
    results = Results([both], classifier.info)
    (sound,) = json.loads(downloads.json_document(results))["sounds"]
    assert (len(sound["channels"]), sound["utterances"][0]["text"]) == (1, "good <morning>")
    rows = list(csv.DictReader(io.StringIO(downloads.csv_table(results))))
    assert {row["part"] for row in rows} == {"whole", "window", "channel", "utterance"}
    assert [row["speaker"] for row in rows if row["part"] == "utterance"] == ["ann"]
    assert "good &lt;morning&gt;" in downloads.html_report(results)
    assert "good <morning>" in downloads.annotations(results, both, "srt")
