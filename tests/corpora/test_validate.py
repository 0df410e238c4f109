"""The check of a corpus folder: what is there, what is not, and what is there twice."""

import json
import re
import sys
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from speech_emotion import corpora
from speech_emotion.cli import app
from speech_emotion.corpora import validate, validate_report
from speech_emotion.corpora.readers import ravdess
from speech_emotion.corpora.validate import CorpusReport, check
from speech_emotion.errors import CorpusError, SpeechEmotionError

N_SAMPLES = 3200
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a clip of noise into the corpus folder; the same seed is the same sound."""

    def clip(path: str, *, seed: int | None = None, n_samples: int = N_SAMPLES) -> Path:
        target = tmp_path / "corpus" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(zlib.crc32(path.encode()) if seed is None else seed)
        soundfile.write(target, rng.integers(-9000, 9000, n_samples).astype(np.int16), 16_000)
        return target

    return clip


@pytest.fixture
def folder(write: Write, tmp_path: Path) -> Path:
    """Actor 01 happy and sad, all takes: sixteen clips."""
    for seed, name in enumerate(sorted(ravdess.SPEECH.names)):
        if name.endswith("-01") and name[6:8] in ("03", "04"):
            write(f"Actor_01/{name}.wav", seed=seed)
    return tmp_path / "corpus"


def test_counts_of_what_is_there(folder: Path) -> None:
    done: list[tuple[int, int]] = []
    found = check(ravdess.SPEECH, folder, progress=lambda *numbers: done.append(numbers))
    assert done == [(n, 16) for n in range(1, 17)]
    assert found.counts(lambda clip: clip.speaker) == {"01": Counter(happy=8, sad=8)}
    assert found.counts(lambda clip: clip.sex) == {"male": Counter(happy=8, sad=8)}
    assert found.counts(validate.intensity) == {
        "normal": Counter(happy=4, sad=4),
        "strong": Counter(happy=4, sad=4),
    }
    assert found.seconds == pytest.approx(16 * N_SAMPLES / 16_000)
    assert (found.extra, found.duplicates, found.known_duplicates, dict(found.damaged)) == ((), (), (), {})
    assert found.labels == ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")


def test_missing_clips_are_named_one_by_one(folder: Path) -> None:
    (folder / "Actor_01/03-01-03-01-01-01-01.wav").unlink()
    found = check(ravdess.SPEECH, folder)
    assert len(found.missing) == 1440 - 15
    assert "03-01-03-01-01-01-01" in found.missing
    assert "03-01-03-01-01-02-01" not in found.missing
    with pytest.raises(
        CorpusError, match=r"1425 missing: 03-01-01-01-01-01-01, .* and 1422 more.*Get it with"
    ):
        found.require_complete()
    found.require_complete(allow_missing=True)


def test_missing_clips_are_counted_where_names_are_not_known(write: Write, tmp_path: Path) -> None:
    for name in ("03a01Fa", "03a02Fc", "03a04Lc"):
        write(f"wav/{name}.wav")
    found = check(corpora.get("emodb"), tmp_path / "corpus")
    assert "03 happy: 5 of 7" in found.missing
    assert "08 happy: 11 of 11" in found.missing
    assert not [line for line in found.missing if line.startswith("08 disgust")]  # none was published
    assert found.skipped == {"boredom": 1}


def test_a_complete_corpus_raises_nothing(tmp_path: Path, write: Write) -> None:
    for name in corpora.get("savee").names:
        write(f"{name[:2]}/{name[3:]}.wav", n_samples=400)
    found = check(corpora.get("savee"), tmp_path / "corpus")
    found.require_complete()
    assert (found.gaps, found.missing, found.extra) == ((), (), ())
    assert "Every published clip is here" in text(found)


def test_extra_and_renamed_files_are_named(folder: Path, write: Write) -> None:
    (folder / "Actor_01/03-01-03-01-01-01-01.wav").rename(folder / "Actor_01/03-01-03-01-01-01-01 (1).wav")
    write("Actor_01/notes.wav")
    found = check(ravdess.SPEECH, folder)
    assert found.extra == ("Actor_01/03-01-03-01-01-01-01 (1).wav", "Actor_01/notes.wav")
    assert "03-01-03-01-01-01-01" in found.missing


def test_a_name_that_was_never_published_is_extra(write: Write, tmp_path: Path) -> None:
    write("Actor_18/03-02-03-01-01-01-18.wav")  # actor 18 never sang
    write("Actor_17/03-02-03-01-01-01-17.wav")
    found = check(ravdess.SONG, tmp_path / "corpus")
    assert found.extra == ("Actor_18/03-02-03-01-01-01-18.wav",)


def test_the_same_sound_is_found_whatever_its_file(folder: Path) -> None:
    samples, rate = soundfile.read(folder / "Actor_01/03-01-03-01-01-01-01.wav", dtype="int16")
    soundfile.write(folder / "Actor_01/03-01-03-01-01-02-01.flac", samples, rate)
    (folder / "Actor_01/03-01-03-01-01-02-01.wav").unlink()
    found = check(ravdess.SPEECH, folder)
    same = ("Actor_01/03-01-03-01-01-01-01.wav", "Actor_01/03-01-03-01-01-02-01.flac")
    assert found.duplicates == (same,)
    assert found.contradictions == ()
    found.require_complete(allow_missing=True)


@pytest.mark.parametrize("other", ["Actor_01/03-01-04-01-01-01-01.wav", "Actor_02/03-01-03-01-01-01-02.wav"])
def test_one_sound_with_two_labels_is_never_allowed(folder: Path, write: Write, other: str) -> None:
    write("Actor_01/03-01-03-01-01-01-01.wav", seed=5000)
    write(other, seed=5000)
    found = check(ravdess.SPEECH, folder)
    with pytest.raises(CorpusError, match=r"the same sound as Actor_01/03-01-03-01-01-01-01\.wav and"):
        found.require_complete(allow_missing=True)


def test_the_published_duplicate_is_reported_and_allowed(folder: Path, write: Write) -> None:
    for name in ("03-01-03-01-02-01-07", "03-01-03-01-02-02-07"):
        write(f"Actor_07/{name}.wav", seed=6000)
    found = check(ravdess.SPEECH, folder)
    pair = ("Actor_07/03-01-03-01-02-01-07.wav", "Actor_07/03-01-03-01-02-02-07.wav")
    assert (found.duplicates, found.known_duplicates) == ((), (pair,))


def test_damaged_clips_are_named_with_the_reason(folder: Path, write: Write) -> None:
    (folder / "Actor_01/03-01-03-01-01-01-01.wav").write_bytes(b"not a sound")
    cut = folder / "Actor_01/03-01-03-01-01-02-01.wav"
    cut.write_bytes(cut.read_bytes()[:-1000])
    found = check(ravdess.SPEECH, folder)
    assert list(found.damaged) == [
        "Actor_01/03-01-03-01-01-02-01.wav",
        "Actor_01/03-01-03-01-01-01-01.wav",
    ]
    assert found.damaged["Actor_01/03-01-03-01-01-02-01.wav"] == "cut short"
    with pytest.raises(CorpusError, match="2 damaged"):
        found.require_complete()


def test_a_report_is_plain_data(folder: Path) -> None:
    data = json.loads(json.dumps(check(ravdess.SPEECH, folder).to_dict()))
    assert data["corpus"] == "ravdess"
    assert (data["n_clips"], data["n_clips_published"], data["n_speakers_published"]) == (16, 1440, 24)
    assert data["labels"] == {"happy": 8, "sad": 8}
    assert data["speakers"] == {"01": {"happy": 8, "sad": 8}}
    assert len(data["missing"]) == 1424
    assert data["seconds"] == pytest.approx(3.2)


def text(found: CorpusReport, width: int = 80) -> str:
    from rich.console import Console

    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(validate_report.tables(found))
    return capture.get()


def test_the_tables_fit_a_narrow_terminal(folder: Path, write: Write) -> None:
    write("Actor_01/evil \x1b[31m[bold]name.wav")
    lines = text(check(ravdess.SPEECH, folder)).splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines[:25])
    rows = [line.split() for line in lines]
    assert ["happy", "8", "192", "8", "4", "4"] in rows
    assert ["all", "16", "1440", "16", "8", "8"] in rows
    assert ["male:", "01", "16/60", "0/4", "0/8", "8", "8", "0/8", "0/8", "0/8", "0/8"] in rows
    assert "missing: 1424" in lines
    assert "  Actor_01/evil \\x1b[31m[bold]name.wav" in lines


def test_the_picture_says_what_the_report_says(write: Write, tmp_path: Path) -> None:
    write("DC/a01.wav")
    found = check(corpora.get("savee"), tmp_path / "corpus")
    validate_report.draw(found, tmp_path / "picture.svg")
    drawn = (tmp_path / "picture.svg").read_text()
    assert "SAVEE: 1 of 480 clips, 1 speaker, 0 min — 479 missing" in drawn
    with pytest.raises(CorpusError, match="was not drawn"):
        validate_report.draw(found, tmp_path / "picture.doc")


def run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["corpora", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit | SpeechEmotionError)
    return result.exit_code, result.output + str(result.exception or "")


def test_the_command_fails_on_gaps_unless_they_are_allowed(write: Write, tmp_path: Path) -> None:
    write("DC/a01.wav")
    code, output = run("check", "savee", tmp_path / "corpus")
    assert code == 1
    assert "479 missing: DC_a02, DC_a03, DC_a04 and 476 more" in output
    assert "unpack AudioData. Or go on with --allow-missing" in output
    picture = tmp_path / "picture.png"
    code, output = run("check", "savee", tmp_path / "corpus", "--allow-missing", "--picture", picture)
    assert code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_clips_worth_a_look_are_named(folder: Path) -> None:
    quiet = folder / "Actor_01/03-01-03-01-01-01-01.wav"
    soundfile.write(quiet, np.random.default_rng(0).normal(0, 1e-4, N_SAMPLES), 16_000)
    found = check(ravdess.SPEECH, folder)
    assert found.to_dict()["flagged"] == {"quiet": ["Actor_01/03-01-03-01-01-01-01.wav"]}
    assert "worth a look, quiet: 1\n  Actor_01/03-01-03-01-01-01-01.wav" in re.sub(r" +\n", "\n", text(found))


def test_without_matplotlib_no_clip_is_decoded(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(validate, "check", lambda *_, **__: pytest.fail("decoded first"))
    code, output = run("check", "ravdess", folder, "--picture", tmp_path / "picture.png")
    assert code == 1
    assert "[train]" in output


def test_the_command_gives_json(folder: Path) -> None:
    result = CliRunner().invoke(
        app, ["corpora", "check", "ravdess", str(folder), "--allow-missing", "--json"]
    )
    assert result.exit_code == 0
    assert json.loads(result.stdout)["n_clips"] == 16


def test_the_list_names_every_corpus_with_its_licence() -> None:
    code, output = run("list")
    assert code == 0
    assert "ravdess       English         1440       24      8 CC BY-NC-SA 4.0      download" in output
    assert "…" not in output
    assert all(f"{corpora.get(name).homepage}\n" in output for name in corpora.names())
    assert max(map(len, output.splitlines())) <= 80
    data = json.loads(CliRunner().invoke(app, ["corpora", "list", "--json"]).stdout)
    assert [corpus["name"] for corpus in data] == list(corpora.names())
    assert data[0]["archive"]["md5"] == "bc696df654c87fed845eb13823edef8a"
    assert all(corpus["licence"] and corpus["citation"] and corpus["homepage"] for corpus in data)


def test_download_prints_licence_and_citation_and_fetches(
    tmp_path: Path, small_corpus: tuple[bytes, Callable[[str], object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from archive_server import Answer, serving

    zipped, corpus = small_corpus
    with serving(Answer(zipped)) as server:
        monkeypatch.setattr(corpora, "get", lambda _: corpus(server.url))
        code, output = run("download", "ravdess", tmp_path / "here")
    assert code == 0
    assert "CC BY-NC-SA 4.0" in output
    assert "Livingstone SR, Russo FA (2018)" in output
    assert "2 clips in" in output
    assert (tmp_path / "here/Actor_01/03-01-03-01-01-01-01.wav").read_bytes() in zipped


def test_download_by_hand_says_where(tmp_path: Path) -> None:
    code, output = run("download", "tess", tmp_path / "here")
    assert code == 1
    assert "https://doi.org/10.5683/SP2/E8H2MF" in output
