"""`speech-emotion predict`: its answers as lines, JSON and CSV, and what it does with files it cannot read."""

import csv
import io
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import media
import numpy as np
import pytest
import standin
from shell import Shell
from sounds import voice, wav

from speech_emotion.classifier import Classifier, load
from speech_emotion.labels import EMOTIONS
from speech_emotion.prediction import Prediction
from speech_emotion.segments.reader import read_segments
from speech_emotion.shipped import ShippedModel


def test_a_line_a_file_for_people(shell: Shell, classifier: Classifier) -> None:
    code, out, err = shell("predict", "voice.wav", "silent.wav")
    answer = classifier.predict("voice.wav")
    first, second = out.splitlines()
    assert first.startswith(("😐", "😌", "😄", "😢", "😠", "😨", "🤢", "😲"))
    assert first.count("█") == round(10 * (answer.confidence or 0))
    assert first.count("█") + first.count("░") == 10
    assert str(answer) in first
    assert f"then {answer.runner_up} " in first
    assert first.endswith("  voice.wav")
    assert second.startswith("🔇 ░░░░░░░░░░  no answer (no speech), 0.00–2.00 s, quiet")
    assert (code, err) == (0, "")


def test_an_answer_that_is_not_sure_has_an_icon_of_its_own(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "unsure.onnx"
    path.write_bytes(standin.model_bytes(thresholds={"not_sure": 1.0}))
    _, out, _ = shell("predict", "voice.wav", "--model", str(path))
    assert re.fullmatch(r"🤔 ░{10}  not sure \(maybe [a-z]+ 0\.\d\d\), 0\.00–3\.50 s +voice\.wav\n", out)


def test_a_timeline_is_a_line_a_window(shell: Shell, classifier: Classifier) -> None:
    _, out, _ = shell("predict", "--timeline", "voice.wav")
    assert [
        str(p) in line for p, line in zip(classifier.timeline("voice.wav"), out.splitlines(), strict=True)
    ]
    assert "0.00–3.00 s" in out
    assert "0.50–3.50 s" in out


def test_the_hop_is_how_often_a_timeline_answers(shell: Shell, classifier: Classifier) -> None:
    rows = shell.rows("--timeline", "--hop", "0.25", "voice.wav")
    assert [row["start_seconds"] for row in rows] == [0.0, 0.25, 0.5]
    often = classifier.timeline("voice.wav", hop_seconds=0.25)
    assert rows == [{"source": "voice.wav"} | answer.to_dict() for answer in often]


def test_a_hop_without_a_timeline_or_out_of_range_is_refused_once(shell: Shell) -> None:
    code, _, err = shell("predict", "voice.wav", "--hop", "0.5")
    assert (code, "add --timeline" in err) == (2, True)
    code, out, err = shell("predict", "voice.wav", "silent.wav", "--timeline", "--hop", "9")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "must be 0.05 to 3 s, not 9.0" in err


def test_a_track_of_several_can_be_chosen(shell: Shell, tmp_path: Path) -> None:
    path = str(tmp_path / "two.mkv")
    Path(path).write_bytes(media.two_tracks(voice(3), np.zeros(48_000, np.float32), default=2))
    (default,), (first,) = shell.rows(path), shell.rows(path, "--track", "1")
    assert "other_tracks" in default["warnings"]
    assert default["abstained"] == "no_speech"
    assert first["abstained"] is None
    assert first["warnings"] == []
    (third,) = shell.rows(path, "--track", "3")
    assert "the first is 1 and the last is 2" in third["message"]


def test_json_rows_are_the_prediction(shell: Shell, classifier: Classifier) -> None:
    assert shell.rows("voice.wav", "silent.wav") == [
        {"source": "voice.wav"} | classifier.predict("voice.wav").to_dict(),
        {"source": "silent.wav"} | classifier.predict("silent.wav").to_dict(),
    ]
    timeline = [{"source": "voice.wav"} | p.to_dict() for p in classifier.timeline("voice.wav")]
    assert len(timeline) == 2
    assert shell.rows("--timeline", "voice.wav") == timeline


def test_csv_has_the_same_columns_for_every_row(shell: Shell, classifier: Classifier) -> None:
    code, out, _ = shell("predict", "--csv", "voice.wav", "silent.wav", "text.wav")
    rows = list(csv.DictReader(io.StringIO(out)))
    columns = [
        "source",
        "label",
        "confidence",
        "runner_up",
        "emotions",
        "abstained",
        "start_seconds",
        "end_seconds",
        "warnings",
    ]
    assert list(rows[0]) == [*columns, *EMOTIONS, "error", "message"]
    answer = classifier.predict("voice.wav")
    assert float(rows[0]["confidence"]) == answer.confidence
    assert {label: float(rows[0][label]) for label in EMOTIONS} == answer.probabilities
    assert (rows[1]["abstained"], rows[1]["warnings"], rows[1]["happy"]) == ("no_speech", "quiet", "")
    assert (rows[2]["error"], rows[2]["label"]) == ("audio_decode", "")
    assert code == 1


@pytest.mark.parametrize("form", ["--json", "--csv", "--timeline"])
def test_one_bad_file_stops_nothing(shell: Shell, form: str) -> None:
    Path("folder").mkdir()
    code, out, err = shell("predict", form, "text.wav", "none.wav", "folder", "voice.wav")
    for name in ("text.wav", "none.wav", "folder", "voice.wav"):
        assert name in out
    assert out.count("audio_decode") == 1
    assert out.count("audio_not_found") == 2
    failed = "text.wav (audio_decode), none.wav (audio_not_found), folder (audio_not_found)"
    assert err == f"3 of 4 failed: {failed}\n"
    assert code == 1


def test_an_error_row_says_what_to_do(shell: Shell) -> None:
    (row,) = shell.rows("none.wav")
    assert row == {"source": "none.wav", "error": "audio_not_found", "message": row["message"]}
    assert "check its name" in row["message"]
    _, out, _ = shell("predict", "none.wav")
    assert out == f"❌ none.wav: {row['message']} (audio_not_found)\n"


ODD = [
    "new\nline.wav",
    "\x1b[31mred.wav",
    "😀.wav",
    "tab\t.wav",
    "\u202egnp.wav",
    os.fsdecode(b"\xff\xfe.wav"),
]
ODD += ["=1+1.wav", "+1.wav", "@sum.wav", "'q\".wav", "a,b;c.wav", " .wav"]


@pytest.mark.parametrize("name", ODD)
def test_odd_names_break_nothing(shell: Shell, name: str) -> None:
    Path(name).write_text("no sound")
    code, out, err = shell("predict", name)
    assert code == 1
    assert len(out.splitlines()) == len(err.splitlines()) == 1
    assert (out + err).replace("\n", "").isprintable()
    (row,) = shell.rows(name)
    assert row["source"] == name.encode("utf-8", "backslashreplace").decode()
    _, out, _ = shell("predict", "--csv", name)
    ((source, *_),) = list(csv.reader(io.StringIO(out)))[1:]
    assert source.isprintable()
    assert not source.startswith(("=", "+", "-", "@"))
    assert source.removeprefix("'")[-4:] == name[-4:]


def test_a_name_that_begins_with_a_dash(shell: Shell) -> None:
    Path("-1.wav").write_text("no sound")
    _, out, _ = shell("predict", "--csv", "--model", str(shell.model), "--", "-1.wav")
    assert out.splitlines()[1].startswith("'-1.wav,")


def test_usage_errors_end_with_2(shell: Shell) -> None:
    for arguments, complaint in {
        (): "give at least one sound file, or --demo",
        ("voice.wav", "--json", "--csv"): "choose one",
        ("voice.wav", "--jsno"): "No such option: --jsno",
    }.items():
        code, out, err = shell("predict", *arguments)
        assert (code, out) == (2, "")
        assert complaint in err
    code, _, err = shell("predcit")
    assert code == 2
    assert "Did you mean 'predict'?" in err


def test_a_model_that_cannot_be_used_is_one_line(shell: Shell) -> None:
    reasons = {"none": "(model_not_found)", "none.onnx": "(model_not_found)", "./voice.wav": "(model_format)"}
    for model, reason in reasons.items():
        for verb in (
            ["predict", "voice.wav", "--model"],
            ["enrol", "--out=me.json", "voice.wav", "--model"],
            ["info"],
        ):
            code, out, err = shell(*verb, model)
            assert (code, out, len(err.splitlines())) == (1, "", 1)
            assert err.endswith(f"{reason}\n")


def test_a_shipped_model_is_chosen_by_its_name(shell: Shell, two_models: list[ShippedModel]) -> None:
    Path("second").write_bytes(b"a file of that name changes nothing")
    (row,) = shell.rows("voice.wav", "--model", "second")
    assert row == {"source": "voice.wav"} | load(two_models[1].path).predict("voice.wav").to_dict()
    assert row["probabilities"] != load("first").predict("voice.wav").probabilities


def test_demo_voices(shell: Shell) -> None:
    code, out, _ = shell("predict", "--demo")
    assert code == 0
    voices = ["demo-fast.flac", "demo-lively.flac", "demo-low.flac"]
    assert [line.split()[-1] for line in out.splitlines()] == voices


def test_a_folder_is_all_sounds_below_it(shell: Shell) -> None:
    for name in ("b.WAV", "a.wav", "sub/c.flac", "notes.txt", ".hidden.wav", ".git/d.wav"):
        Path("calls", name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy("voice.wav", Path("calls", name))
    Path("calls/loop").symlink_to("..", target_is_directory=True)
    os.mkfifo("calls/z.wav")
    Path(os.fsdecode(b"calls/\xff.wav")).write_text("no sound")
    rows = shell.rows("calls", "silent.wav")
    assert [row["source"] for row in rows] == [
        *("calls/a.wav", "calls/b.WAV", "calls/sub/c.flac", "calls/z.wav", "calls/\\udcff.wav", "silent.wav")
    ]
    assert [row.get("error") for row in rows] == [None] * 3 + ["audio_not_found", "audio_decode", None]


def test_a_folder_without_sounds_has_failed(shell: Shell) -> None:
    Path("empty").mkdir()
    code, out, err = shell("predict", "empty", "voice.wav")
    assert "there is no sound in the folder 'empty'" in out
    assert (code, err) == (1, "1 of 2 failed: empty (audio_not_found)\n")


def test_wildcards_that_no_shell_expanded(shell: Shell) -> None:
    for name in ("calls/a.wav", "calls/sub/b.wav", "calls/sub/x.txt", "take[1].wav"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy("voice.wav", name)
    Path("calls/sub/loop").symlink_to("..", target_is_directory=True)

    def found(pattern: str) -> list[str]:
        return [row["source"] for row in shell.rows(pattern)]

    assert found("calls/*") == ["calls/a.wav"]
    assert found("calls/**/*.wav") == ["calls/a.wav", "calls/sub/b.wav"]
    assert found("**/*.txt") == ["calls/sub/x.txt"]
    assert found("[sv]*.wav") == ["silent.wav", "voice.wav"]
    assert found("take[1].wav") == ["take[1].wav"]  # the name of a file
    (row,) = shell.rows("*.mp3")
    assert (row["error"], "no file matches '*.mp3'" in row["message"]) == ("audio_not_found", True)


def test_a_dash_is_stdin(shell: Shell, classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.TextIOWrapper(io.BytesIO(Path("voice.wav").read_bytes()))
    monkeypatch.setattr(sys, "stdin", pipe)
    first, second = shell.rows("-", "-")
    assert first == {"source": "-"} | classifier.predict("voice.wav").to_dict()
    assert second["error"] == "audio_decode"  # all was read
    monkeypatch.setattr(sys, "stdin", None)
    (row,) = shell.rows("-")
    assert row["error"] == "audio_not_found"


def test_separate_channels_have_a_column_and_the_mix_has_none(shell: Shell) -> None:
    Path("call.wav").write_bytes(wav(np.stack([voice(3), 0 * voice(3)], axis=1)))
    _, out, _ = shell("predict", "--csv", "--channels", "separate", "text.wav", "call.wav", "voice.wav")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["channel"] for row in rows] == ["", "left", "right", "mono"]
    _, out, _ = shell("predict", "--channels", "separate", "call.wav")
    assert [line.split("  ")[1].split(":")[0] for line in out.splitlines()] == ["left", "right"]
    _, out, _ = shell("predict", "--csv", "call.wav")
    assert out.startswith("source,label,")


@pytest.mark.parametrize("form", ["text", "csv", "json", "jsonl", "rttm"])
def test_a_timeline_is_printed_as_it_is_known(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    real = Classifier.windows

    def interrupted(self: Classifier, *arguments: object, **options: object) -> Iterator[Prediction]:
        yield next(real(self, *arguments, **options))
        raise KeyboardInterrupt

    monkeypatch.setattr(Classifier, "windows", interrupted)
    code, out, _ = shell("predict", "--timeline", "--format", form, "voice.wav")
    assert code == 130
    assert out.count("voice") == 1
    if form in ("jsonl", "rttm"):
        first, last = out.splitlines()
        assert "interrupted" in last
    if form == "csv":
        first, last = csv.DictReader(io.StringIO(out))
        assert (first["error"], last["error"], last["source"]) == ("", "interrupted", "")
    if form == "json":
        with pytest.raises(ValueError, match="Expecting"):
            json.loads(out)


def test_the_last_window_carries_all_warnings(shell: Shell, classifier: Classifier) -> None:
    data = Path("voice.wav").read_bytes()
    Path("cut.wav").write_bytes(data[: len(data) - 20_000])
    first, last = shell.rows("--timeline", "cut.wav")
    assert (first["warnings"], last["warnings"]) == ([], ["truncated"])
    assert [answer.warnings for answer in classifier.timeline("cut.wav")] == [("truncated",)] * 2


def test_adapt_answers_relative_to_the_voice_so_far(enrols: Shell) -> None:
    tuned = load(enrols.model)
    for mode, answers in (
        ([], [tuned.predict("me.wav", adapt="recording")]),
        (["--timeline"], tuned.timeline("me.wav", adapt="recording")),
    ):
        rows = enrols.rows("me.wav", "--adapt", *mode)
        assert rows == [{"source": "me.wav"} | answer.to_dict() for answer in answers]
        assert rows != enrols.rows("me.wav", *mode)


def test_adapt_that_cannot_be_is_refused_once(shell: Shell) -> None:
    code, _, err = shell("predict", "voice.wav", "--adapt", "--profile", "me.json")
    assert (code, "leave out either it or --adapt" in err) == (2, True)
    code, out, err = shell("predict", "voice.wav", "silent.wav", "--adapt")
    assert (code, out, err.count("exported without enrolment")) == (1, "", 1)


TRANSCRIPT = """[{"start": 0.0, "end": 1.5, "speaker": "Ann", "text": "Where?"}, {"start": 1.5, "end": 1.6},
 {"start": 3.0, "end": 9.0, "speaker": "Ben", "text": "Here."}]"""


def test_segments_carry_their_speaker_and_text(shell: Shell, classifier: Classifier) -> None:
    Path("talk.json").write_text(TRANSCRIPT)
    rows = shell.rows("voice.wav", "--segments", "talk.json")
    assert [(row["speaker"], row["text"]) for row in rows] == [
        ("Ann", "Where?"),
        (None, None),
        ("Ben", "Here."),
    ]
    answers = [answer for _, answer in classifier.segments("voice.wav", read_segments("talk.json"))]
    assert [row["probabilities"] for row in rows] == [answer.probabilities for answer in answers]
    assert (rows[1]["abstained"], rows[2]["warnings"]) == ("too_short", ["beyond_end"])
    code, out, _ = shell("predict", "voice.wav", "--segments", "talk.json", "--csv")
    (first, *_) = csv.DictReader(io.StringIO(out))
    assert list(first)[:4] == ["source", "speaker", "text", "label"]
    _, out, _ = shell("predict", "voice.wav", "--segments", "talk.json")
    assert out.splitlines()[0].endswith("  voice.wav  Ann: Where?")
    _, out, _ = shell("predict", "voice.wav", "--segments", "talk.json", "--channels", "separate", "--csv")
    assert [row["channel"] for row in csv.DictReader(io.StringIO(out))] == ["mono"] * 3
    assert code == 0


def test_a_profile_per_speaker(enrols: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("two.csv").write_text("start,end,speaker\n0,11,Ann\n11,14,Ben\n")
    rows = enrols.rows("me.wav", "--segments", "two.csv", "--profile-per-speaker")
    assert [row["warnings"] for row in rows] == [["short_enrolment"], ["no_profile"]]
    assert rows != enrols.rows("me.wav", "--segments", "two.csv")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path("me.wav").read_bytes())))
    piped = enrols.rows("-", "--segments", "two.csv", "--profile-per-speaker")
    assert [row["probabilities"] for row in piped] == [row["probabilities"] for row in rows]


def test_segments_that_cannot_be_are_one_line(shell: Shell) -> None:
    Path("bad.srt").write_text("1\n00:00:05,000 --> 00:00:01,000\nhi\n")
    code, out, err = shell("predict", "voice.wav", "--segments", "bad.srt")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("'bad.srt': line 2: it ends at 1 s, before it starts at 5 s")
    assert err.endswith("(segments)\n")


def test_merged_windows_are_stretches(shell: Shell, classifier: Classifier) -> None:
    Path("long.wav").write_bytes(wav(voice(12)))
    rows = shell.rows("--timeline", "--merge", "long.wav")
    stretches = classifier.merge(classifier.windows("long.wav"))
    assert rows == [{"source": "long.wav"} | answer.to_dict() for answer in stretches]
    assert (rows[0]["start_seconds"], rows[-1]["end_seconds"]) == (0.0, 12.0)


def test_what_does_not_go_together_is_refused(shell: Shell) -> None:
    Path("two.csv").write_text("start,end,speaker\n0,11,Ann\n11,14,Ben\n")
    given = ("voice.wav", "--segments", "two.csv")
    for arguments, complaint in {
        ("voice.wav", "--merge"): "add --timeline",
        (*given, "--timeline"): "choose one",
        (*given, "--adapt"): "use --profile-per-speaker",
        (*given, "silent.wav"): "those of one recording, not of 2",
        (*given, "--profile-per-speaker", "--profile", "me.json"): "choose one",
        ("voice.wav", "--profile-per-speaker"): "add --segments",
        ("voice.wav", "silent.wav", "--format", "srt"): "describes one recording, not 2",
        ("voice.wav", "--format", "sbv"): "--format must be one of text, json, jsonl",
    }.items():
        code, out, err = shell("predict", *arguments)
        assert (code, out) == (2, "")
        assert complaint in " ".join(err.split())


def test_a_recording_that_cannot_be_read_gives_no_subtitles(shell: Shell) -> None:
    code, out, err = shell("predict", "text.wav", "--format", "srt")
    assert (code, out) == (1, "")
    assert err.startswith("text.wav: ")
    assert err.endswith("(audio_decode)\n")
