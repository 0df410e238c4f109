"""The command as people and programs meet it: what it prints, where, and how it ends."""

import csv
import fcntl
import io
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sounds
import standin

from speech_emotion import __version__, cli
from speech_emotion.classifier import Classifier, load
from speech_emotion.errors import CorpusError
from speech_emotion.labels import EMOTIONS
from speech_emotion.model import SHIPPED
from speech_emotion.profile import SpeakerProfile

COMMAND = [sys.executable, "-m", "speech_emotion"]


class Shell:
    """Runs verbs in this process, in a folder with a few sounds: exit code, stdout, stderr."""

    def __init__(
        self, folder: Path, model: Path, capture: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch
    ):
        self.folder, self.model, self.capture, self.patch = folder, model, capture, patch

    def __call__(self, verb: str, *arguments: str) -> tuple[int, str, str]:
        model = [] if "--model" in arguments else ["--model", str(self.model)]
        self.patch.setattr(sys, "argv", ["speech-emotion", verb, *arguments, *model])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        captured = self.capture.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        _, out, _ = self("predict", "--json", *arguments)
        rows: list[dict[str, Any]] = json.loads(out, parse_constant=pytest.fail)
        return rows


@pytest.fixture
def shell(
    tmp_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Shell:
    monkeypatch.chdir(tmp_path)
    Path("voice.wav").write_bytes(sounds.wav(sounds.voice(3.5, 48_000), 48_000))
    Path("silent.wav").write_bytes(sounds.wav(np.zeros(32_000, np.float32)))
    Path("text.wav").write_text("hello")
    return Shell(tmp_path, model_path, capsys, monkeypatch)


def test_a_line_a_file_for_people(shell: Shell, classifier: Classifier) -> None:
    code, out, err = shell("predict", "voice.wav", "silent.wav")
    heard = classifier.predict("voice.wav")
    first, second = out.splitlines()
    assert first.startswith(("😐", "😌", "😄", "😢", "😠", "😨", "🤢", "😲"))
    assert first.count("█") == round(10 * (heard.confidence or 0))
    assert first.count("█") + first.count("░") == 10
    assert str(heard) in first
    assert f"then {heard.runner_up} " in first
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


def test_json_rows_are_the_prediction(shell: Shell, classifier: Classifier) -> None:
    assert shell.rows("voice.wav", "silent.wav") == [
        {"source": "voice.wav"} | classifier.predict("voice.wav").to_dict(),
        {"source": "silent.wav"} | classifier.predict("silent.wav").to_dict(),
    ]
    timeline = [{"source": "voice.wav"} | p.to_dict() for p in classifier.timeline("voice.wav")]
    assert len(timeline) == 2
    assert shell.rows("--timeline", "voice.wav") == timeline


@pytest.fixture
def enrols(shell: Shell) -> Shell:
    """A model that takes profiles, and half a minute of a voice."""
    shell.model.with_name("enrols.onnx").write_bytes(standin.model_bytes(enrolment=standin.ENROLMENT))
    shell.model = shell.model.with_name("enrols.onnx")
    Path("me.wav").write_bytes(sounds.wav(sounds.voice(14)))
    Path("me2.wav").write_bytes(sounds.wav(sounds.voice(9)))
    return shell


def test_a_profile_of_a_voice_goes_from_verb_to_verb(enrols: Shell) -> None:
    assert enrols("enrol", "me.wav", "me2.wav", "--out", "me.json") == (0, "me.json: 23.0 s of speech\n", "")
    tuned = load(enrols.model)
    profile = SpeakerProfile.load("me.json")
    assert profile == tuned.enrol("me.wav", "me2.wav")
    expected = {"source": "voice.wav"} | tuned.predict("voice.wav", profile=profile).to_dict()
    assert enrols.rows("voice.wav", "--profile", "me.json") == [expected] != enrols.rows("voice.wav")
    windows = [p.to_dict() for p in tuned.timeline("voice.wav", profile=profile)]
    rows = enrols.rows("voice.wav", "--profile", "me.json", "--timeline")
    assert rows == [{"source": "voice.wav"} | window for window in windows]


def test_a_short_enrolment_is_a_warning_and_none_an_error(enrols: Shell) -> None:
    code, _, err = enrols("enrol", "me.wav", "--out", "me.json")
    assert (code, err) == (0, "Beware: short enrolment. 30 to 60 s of clean speech are best\n")
    code, out, err = enrols("enrol", "silent.wav", "--out", "no.json")
    assert (code, out, Path("no.json").exists()) == (1, "", False)
    assert "needs 10 s of speech" in err
    assert err.endswith("(audio_too_short)\n")


def test_a_profile_that_does_not_fit_ends_it_at_once(enrols: Shell, model_path: Path) -> None:
    enrols("enrol", "me.wav", "me2.wav", "--out", "me.json")
    code, out, err = enrols(
        "predict", "voice.wav", "voice.wav", "--profile", "me.json", "--model", str(model_path)
    )
    assert (code, out) == (1, "")
    assert err.count("exported without enrolment") == 1
    assert (
        "cannot read the profile 'none.json'" in enrols("predict", "voice.wav", "--profile", "none.json")[2]
    )


def test_csv_has_the_same_columns_for_every_row(shell: Shell, classifier: Classifier) -> None:
    code, out, _ = shell("predict", "--csv", "voice.wav", "silent.wav", "text.wav")
    rows = list(csv.DictReader(io.StringIO(out)))
    answer = [
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
    assert list(rows[0]) == [*answer, *EMOTIONS, "error", "message"]
    heard = classifier.predict("voice.wav")
    assert float(rows[0]["confidence"]) == heard.confidence
    assert {label: float(rows[0][label]) for label in EMOTIONS} == heard.probabilities
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
    for path, reason in {"none.onnx": "(model_not_found)", "voice.wav": "(model_format)"}.items():
        for verb in (["predict", "voice.wav"], ["info"]):
            code, out, err = shell(*verb, "--model", path)
            assert (code, out, len(err.splitlines())) == (1, "", 1)
            assert err.endswith(f"{reason}\n")


def test_info_for_people(shell: Shell, classifier: Classifier) -> None:
    code, out, _ = shell("info")
    assert code == 0
    assert out.startswith(
        "stand-in\n  emotions    neutral, calm, happy, sad, angry, fearful, disgust, surprised\n"
    )
    for fact in (
        classifier.info.sha256,
        "windows of 3 s",
        "128 parameters",
        "CC0-1.0",
        "AI Act",
        "synthetic",
    ):
        assert fact in out


def test_info_shows_the_honest_score(shell: Shell, tmp_path: Path) -> None:
    metrics = {
        "corpus": "ravdess",
        "protocol": "luna5",
        "leaky": False,
        "n_clips": 1440,
        "n_speakers": 24,
        "uar": {"mean": 0.62314, "sd": 0.012, "ci95": [0.5804, 0.665]},
        "ece": {"mean": 0.0312, "sd": None, "ci95": None},
    }
    path = tmp_path / "scored.onnx"
    path.write_bytes(standin.model_bytes(metrics=metrics))
    _, out, _ = shell("info", "--model", str(path))
    score = "UAR 62.3 % [58.0, 66.5], ECE 3.1 % (ravdess luna5, 1440 clips, 24 speakers)"
    assert f"  score       {score}\n" in out
    path.write_bytes(standin.model_bytes(metrics=metrics | {"leaky": True}))
    assert "luna5, LEAKY, 1440" in shell("info", "--model", str(path))[1]


def test_info_of_the_shipped_model_leaves_nothing_blank(shell: Shell) -> None:
    code, out, _ = shell("info", "--model", str(SHIPPED))
    assert code == 0
    assert "None" not in out


def test_info_leaves_out_what_is_not_known(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "scored.onnx"
    uar = {"mean": 0.5, "ci95": None}
    for known, score in {
        (): "UAR 50.0 %",
        (("protocol", "luna5"),): "UAR 50.0 % (luna5)",
        (("n_clips", 1440), ("leaky", True)): "UAR 50.0 % (LEAKY, 1440 clips)",
    }.items():
        path.write_bytes(standin.model_bytes(metrics={"uar": uar, **dict(known)}))
        assert f"  score       {score}\n" in shell("info", "--model", str(path))[1]


def test_info_names_thresholds_and_enrolment_where_there_are_any(shell: Shell, tmp_path: Path) -> None:
    assert not {"thresholds", "enrolment"} & set(shell("info")[1].split())
    path = tmp_path / "more.onnx"
    thresholds = {"not_sure": 0.3456, "set": 0.9}
    path.write_bytes(standin.model_bytes(thresholds=thresholds, enrolment=standin.ENROLMENT))
    _, out, _ = shell("info", "--model", str(path))
    assert "  thresholds  not sure below 0.35; emotion sets: the best, and all from 0.10 on\n" in out
    assert "  enrolment   yes, from 10 s of speech; UAR +5.0 points on validation speakers\n" in out
    document = json.loads(shell("info", "--json", "--model", str(path))[1], parse_constant=pytest.fail)
    assert (document["thresholds"], document["enrolment"]) == (thresholds, standin.ENROLMENT)


@pytest.mark.parametrize(
    ("thresholds", "said"),
    [
        ({"not_sure": 0.2}, "not sure below 0.20"),
        ({"set": 0.8}, "emotion sets: the best, and all from 0.20 on"),
    ],
)
def test_info_names_a_threshold_alone(
    shell: Shell, tmp_path: Path, thresholds: dict[str, float], said: str
) -> None:
    path = tmp_path / "one.onnx"
    enrolment = standin.ENROLMENT | {"gain": None}
    path.write_bytes(standin.model_bytes(thresholds=thresholds, enrolment=enrolment))
    _, out, _ = shell("info", "--model", str(path))
    assert f"  thresholds  {said}\n" in out
    assert "from 10 s of speech; gain not measured\n" in out


def test_info_says_how_speech_is_told_from_other_sounds(shell: Shell, tmp_path: Path) -> None:
    assert "  speech      detection: none (only silence is refused)\n" in shell("info")[1]
    assert json.loads(shell("info", "--json")[1])["speech_detection"] == "none"
    path = tmp_path / "judging.onnx"
    path.write_bytes(standin.model_bytes(thresholds={"speech": 0.456}))
    said = "  speech      detection: by the model (no speech below 0.46)\n"
    assert said in shell("info", "--model", str(path))[1]
    assert json.loads(shell("info", "--json", "--model", str(path))[1])["speech_detection"] == "model"


def test_info_for_programs(shell: Shell, classifier: Classifier) -> None:
    _, out, _ = shell("info", "--json")
    document = json.loads(out, parse_constant=pytest.fail)
    assert document["sha256"] == classifier.info.sha256
    assert document["labels"] == list(EMOTIONS)
    assert document["window_seconds"] == 3.0
    assert "not what a person feels" in document["limits"]


def test_demo_voices(shell: Shell) -> None:
    code, out, _ = shell("predict", "--demo")
    assert code == 0
    voices = ["demo-fast.flac", "demo-lively.flac", "demo-low.flac"]
    assert [line.split()[-1] for line in out.splitlines()] == voices


def test_our_errors_from_any_verb_are_one_line(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise CorpusError("no\nsuch corpus; try: speech-emotion corpora list")

    monkeypatch.setattr(cli, "app", fail)
    assert shell("info") == (1, "", "no\\nsuch corpus; try: speech-emotion corpora list (corpus)\n")


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, timeout=60, check=False, **options)


def test_a_reader_that_leaves_early_sees_no_traceback(shell: Shell) -> None:
    command = f"{' '.join(COMMAND)} predict --model {shell.model} {'voice.wav ' * 30}| head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert (len(done.stdout.splitlines()), done.stderr) == (1, "")


@pytest.mark.parametrize("redirection", [">&-", ">&- 2>&-", "| true"])
def test_closed_streams_make_no_traceback(shell: Shell, redirection: str) -> None:
    command = f"{' '.join(COMMAND)} info --model {shell.model} {redirection}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("arguments", ["info --model {0}", "predict --csv --model {0} voice.wav", "--help"])
def test_a_full_disk_makes_no_traceback(shell: Shell, arguments: str) -> None:
    command = f"{' '.join(COMMAND)} {arguments.format(shell.model)} > /dev/full"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, "the output: No space left on device\n")


def test_a_narrow_encoding_is_no_obstacle(shell: Shell) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = run("predict", "--model", str(shell.model), "voice.wav", env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"voice.wav" in done.stdout


def test_interrupt_is_quiet(shell: Shell) -> None:
    Path("long.wav").write_bytes(sounds.wav(np.tile(sounds.voice(2), 3_000)))
    arguments = [*COMMAND, "predict", "--model", str(shell.model), "voice.wav", *["long.wav"] * 50]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"voice.wav" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read() == b""


def on_a_terminal(*arguments: str, columns: int = 80) -> str:
    """What a person sees of a verb, without colours and the moves of the cursor."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    with subprocess.Popen(
        [*COMMAND, *arguments], stdout=theirs, stderr=theirs, env=environment | {"TERM": "xterm"}
    ) as process:
        os.close(theirs)
        seen = b""
        with suppress(OSError), os.fdopen(ours, "rb", buffering=0) as terminal:  # Linux ends it with EIO
            while part := terminal.read(65_536):
                seen += part
        assert process.wait(60) == 0
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())


@pytest.mark.parametrize("columns", [80, 40])
def test_a_line_is_whole_on_a_narrow_terminal(shell: Shell, columns: int) -> None:
    folder = Path("a folder with a very long name " * 4)
    folder.mkdir()
    names = [str(folder / name) for name in ("first [bold] one.wav", "second.wav")]
    for name in names:
        Path(name).write_bytes(Path("voice.wav").read_bytes())
    seen = on_a_terminal("predict", "--model", str(shell.model), *names, columns=columns)
    lines = seen.replace("\r\n", "\n").split("\n")
    assert [name for name in names for line in lines if line.endswith(f"  {name}")] == names
    assert seen.index("0/2") < seen.index("first [bold]")
    assert "0/?" not in seen


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_shows_on_a_terminal_and_leaves_the_output_clean(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    rows = shell.rows("voice.wav", "silent.wav")
    assert [row["source"] for row in rows] == ["voice.wav", "silent.wav"]
    assert "listening" in sys.stderr.getvalue()
    assert "2/2" in sys.stderr.getvalue()
    monkeypatch.setattr(sys, "stderr", Terminal())
    shell.rows("voice.wav")
    assert sys.stderr.getvalue() == ""  # one file needs no progress


def test_the_version_is_shown() -> None:
    done = run("--version")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == f"speech-emotion {__version__}\n"


def test_help_is_quick_and_names_the_verbs() -> None:
    seconds = []
    for _ in range(3):
        before = os.times()
        done = run("--help")
        after = os.times()
        seconds.append(after.children_user - before.children_user)
        assert {b"predict", b"info", b"corpora"} <= set(done.stdout.split())
    assert min(seconds) < 1.0  # of the processor; benchmarks/latency.py measures it
