"""What an audit finds in a split, what it says about it, and how the verb ends."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from sounds import voice, wav

from speech_emotion import __version__
from speech_emotion.errors import ConfigError
from speech_emotion.evaluation.audit.rules import Audit, Check, audit
from speech_emotion.evaluation.audit.table import Row, read_table, table_sha256

HEADER = "path,label,speaker,fold"
CLEAN = ["a1.wav,happy,ann,0", "a2.wav,sad,ann,0", "b1.wav,happy,bob,1", "b2.wav,sad,bob,1"]


def table(folder: Path, rows: Sequence[str], header: str = HEADER, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return path


def found(audit: Audit) -> dict[str, tuple[str, ...]]:
    return {check.name: check.found for check in audit.checks if check.found}


def sound(seconds: float, f0: float) -> npt.NDArray[np.float32]:
    return np.concatenate([voice(seconds, f0=f0), voice(0.7, f0=1.3 * f0), voice(1 - seconds, f0=0.8 * f0)])


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Four different recordings, under the names of CLEAN."""
    folder = tmp_path / "audio"
    folder.mkdir()
    sounds = {"a1": (0.3, 110.0), "a2": (0.6, 160.0), "b1": (0.45, 220.0), "b2": (0.8, 130.0)}
    for name, (seconds, f0) in sounds.items():
        (folder / f"{name}.wav").write_bytes(wav(sound(seconds, f0)))
    return folder


# The table


def test_a_clean_split_has_a_certificate(tmp_path: Path, recordings: Path) -> None:
    made = audit(table(tmp_path, CLEAN), recordings)
    assert made.verdict == "speaker-independent: no leak found"
    assert found(made) == {}
    assert made.n_heard == 4
    made.write(tmp_path / "certificate.json")
    written = json.loads((tmp_path / "certificate.json").read_text())
    assert written["kind"] == "certificate"
    assert written["table_sha256"] == table_sha256(made.rows)
    assert (written["n_clips"], written["n_heard"], written["n_speakers"]) == (4, 4, 2)
    assert written["folds"]["1"] == {"n_clips": 2, "n_speakers": 1, "labels": {"happy": 1, "sad": 1}}
    assert written["speech_emotion"] == __version__
    checks = {check["name"]: check for check in written["checks"]}
    assert checks["near-identical audio in two folds"]["threshold"] == 0.85
    assert all(check["n_found"] == 0 for check in checks.values())


def test_without_audio_only_the_table_is_checked_and_it_says_so(tmp_path: Path) -> None:
    made = audit(table(tmp_path, CLEAN))
    assert made.verdict == "speaker-independent: no leak found (in the table; the audio was not read)"
    assert made.to_dict()["n_heard"] == 0
    assert not any("audio" in check.name for check in made.checks)
    assert made.lines()[-1].startswith("Next: give --audio-root")


def test_unreadable_audio_gives_no_certificate(tmp_path: Path) -> None:
    made = audit(table(tmp_path, CLEAN), tmp_path)
    assert made.verdict.startswith("no leak found in the table, and no clip could be read")
    assert made.to_dict()["kind"] == "report"


def test_a_speaker_in_two_folds_leaks(tmp_path: Path) -> None:
    made = audit(table(tmp_path, [*CLEAN, "a3.wav,sad,ann,1", "c.wav,sad,cid,1"]))
    assert made.verdict == "LEAKS: 1 × speaker in more than one fold"
    assert found(made) == {"speaker in more than one fold": ("ann: 2 in 0, 1 in 1",)}
    assert made.to_dict()["kind"] == "report"


def test_the_widest_spread_comes_first(tmp_path: Path) -> None:
    rows = ["1.wav,x,ann,0", "2.wav,x,ann,1", "3.wav,x,bob,0", "4.wav,x,bob,1", "5.wav,x,bob,2"]
    (spread,) = audit(table(tmp_path, rows)).leaks
    assert [words.partition(":")[0] for words in spread.found] == ["bob", "ann"]


def test_paths_that_are_listed_twice(tmp_path: Path) -> None:
    rows = [*CLEAN, "./a1.wav,happy,ann,0", "sub\\b.wav,sad,bob,1", "sub/b.wav,sad,eve,0"]
    made = audit(table(tmp_path, rows))
    assert found(made) == {
        "path in more than one fold": ("sub/b.wav: 1 in 0, 1 in 1",),
        "path listed twice in a fold": ("a1.wav: 2 rows in 0",),
    }


def test_classes_that_are_missing_from_a_fold(tmp_path: Path) -> None:
    made = audit(table(tmp_path, [*CLEAN, "c.wav,sad,cid,10", "d.wav,calm,dan,2"]))
    assert found(made)["class missing from a fold"] == (
        "0 has no calm",
        "1 has no calm",
        "2 has no happy, sad",
        "10 has no calm, happy",
    )
    assert made.leaks == ()


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_forms_of_a_table(tmp_path: Path, separator: str, encoding: str) -> None:
    path = tmp_path / "table.csv"
    lines = ["Speaker,PATH,extra,label,fold", "Żoë,a 1.wav,-,sad,0", "", "bob, b.wav,,sad ,1"]
    path.write_text("\r\n".join(lines).replace(",", separator), encoding=encoding, newline="")
    assert read_table(path) == (Row("a 1.wav", "sad", "Żoë", "0"), Row("b.wav", "sad", "bob", "1"))


def test_the_hash_is_that_of_the_rows_and_not_of_the_file(tmp_path: Path) -> None:
    one = read_table(table(tmp_path, CLEAN))
    other = read_table(
        table(tmp_path, [row.replace(",", ";") for row in CLEAN[::-1]], HEADER.replace(",", ";"))
    )
    assert table_sha256(one) == table_sha256(other)
    assert table_sha256(one) != table_sha256([*one[1:], Row("a1.wav", "happy", "ann", "1")])


def test_train_validation_and_test_are_folds(tmp_path: Path) -> None:
    rows = ["a.wav,sad,ann,Train", "b.wav,sad,bob,validation", "c.wav,sad,ann,test"]
    made = audit(table(tmp_path, rows, "path,label,speaker,split"))
    assert made.leaks[0].found == ("ann: 1 in test, 1 in train",)


@pytest.mark.parametrize(
    ("header", "rows", "complaint"),
    [
        ("path,label,fold", ["a,b,0"], "got path, label, fold"),
        ("path,label,speaker,fold,split", [], "either fold or split"),
        ("path,label,speaker,speaker,fold", [], "each once"),
        ("", [], "got nothing"),
        (HEADER, ["a,sad,ann,0", "b,sad,bob,0"], "two folds or more"),
        (HEADER, [], "two folds or more"),
        (HEADER, ["a,sad,ann"], "line 2 has 3 cells"),
        (HEADER, ["a,sad,ann,0", "b,, bob,1"], "line 3 has no label"),
        (HEADER, ['"a,sad'], "is not CSV"),
        ("path,label,speaker,split", ["a,sad,ann,dev"], "split is 'dev', expected train, validation, test"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, header: str, rows: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        audit(table(tmp_path, rows, header))


def test_files_that_are_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        audit(tmp_path / "absent.csv")
    (tmp_path / "latin.csv").write_bytes(b"path,label\xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        audit(tmp_path / "latin.csv")
    monkeypatch.setattr("speech_emotion.evaluation.audit.table.MAX_TABLE_BYTES", 10)
    with pytest.raises(ConfigError, match="is larger than"):
        audit(table(tmp_path, CLEAN))


# File names of the RAVDESS


def test_actors_by_file_name_count_whatever_the_table_calls_them(tmp_path: Path) -> None:
    rows = [
        "Actor_01/03-01-03-01-01-01-01.wav,happy,P,0",
        "Actor_01/03-01-04-01-01-01-01.wav,sad,P,0",
        "Actor_02/03-01-03-01-01-01-02.wav,happy,Q,1",
        "Actor_02/03-01-04-01-01-01-02.wav,sad,Q,1",
        "Actor_02/03-01-05-01-01-01-02.wav,angry,P,0",
        "Actor_03/03-01-05-01-01-01-03.wav,angry,R,1",
        "other.wav,angry,S,1",
    ]
    made = audit(table(tmp_path, rows))
    assert made.verdict == "LEAKS: 1 × RAVDESS actor in two folds under two speakers' names"
    assert made.leaks[0].found == ("actor 02: 1 in 0, 2 in 1",)
    assert found(made)["RAVDESS speaker unlike the actor in the file name"] == (
        "Actor_02/03-01-05-01-01-01-02.wav: the table says P, who is otherwise actor 01",
    )


def test_a_speaker_who_shares_an_actor_with_another_is_named(tmp_path: Path) -> None:
    names = ["03-01-03-01-01-01-01", "03-01-04-01-01-01-01", "03-01-05-01-01-01-01", "03-01-05-01-01-01-02"]
    rows = [
        f"{name}.wav,x,{speaker},{fold}" for name, speaker, fold in zip(names, "PPQR", "0001", strict=True)
    ]
    assert found(audit(table(tmp_path, rows))) == {
        "RAVDESS speaker unlike the actor in the file name": (
            "03-01-05-01-01-01-01.wav: the table says Q, who is otherwise actor unknown",
        )
    }


def test_videos_repeat_the_sound_of_audio_only_files(tmp_path: Path) -> None:
    rows = [
        "03-01-03-01-01-01-01.wav,happy,01,0",
        "01-01-03-01-01-01-01.mp4,happy,01,0",
        "03-01-03-01-01-01-02.wav,happy,02,1",
        "02-01-03-01-01-01-02.mp4,happy,02,1",
    ]
    twice = "RAVDESS sound that is there twice, as a video and as an audio-only file"
    assert found(audit(table(tmp_path, rows))) == {twice: ("0x-01-03-01-01-01-01",)}
    rows[1] = "01-01-03-01-01-01-01.mp4,happy,01,1"
    assert found(audit(table(tmp_path, rows))) == {
        "speaker in more than one fold": ("01: 1 in 0, 1 in 1",),
        "RAVDESS sound of a video (01-…) and of its audio-only file (03-…) in two folds": (
            "0x-01-03-01-01-01-01: 1 in 0, 1 in 1",
        ),
        twice: ("0x-01-03-01-01-01-01",),
    }


# The recordings


def test_identical_audio_in_two_folds_and_under_two_labels(tmp_path: Path, recordings: Path) -> None:
    (recordings / "b2.wav").write_bytes((recordings / "a1.wav").read_bytes())
    made = audit(table(tmp_path, CLEAN), recordings)
    assert made.verdict == "LEAKS: 1 × identical audio in two folds"
    assert found(made) == {
        "identical audio in two folds": ("a1.wav (0) = b2.wav (1)",),
        "identical audio with two labels": ("a1.wav (happy) = b2.wav (sad)",),
    }


def test_identical_audio_in_one_fold_is_no_leak(tmp_path: Path, recordings: Path) -> None:
    rows = [*CLEAN, "a3.wav,happy,ann,0", "a3.wav,happy,ann,0"]
    (recordings / "a3.wav").write_bytes((recordings / "a1.wav").read_bytes())
    assert found(audit(table(tmp_path, rows), recordings)) == {
        "path listed twice in a fold": ("a3.wav: 2 rows in 0",)
    }


def test_the_twin_that_was_published_is_named_so(tmp_path: Path) -> None:
    twins = ["03-01-03-01-02-01-07.wav", "03-01-03-01-02-02-07.wav"]
    for twin in twins:
        (tmp_path / twin).write_bytes(wav(sound(0.4, 120.0)))
    made = audit(table(tmp_path, [f"{twin},happy,07,{fold}" for fold, twin in enumerate(twins)]), tmp_path)
    assert found(made)["identical audio in two folds"] == (f"{twins[0]} (0) = {twins[1]} (1) (published so)",)


def test_a_quieter_and_shorter_copy_leaks(tmp_path: Path, recordings: Path) -> None:
    (recordings / "b2.wav").write_bytes(wav(sound(0.3, 110.0)[500:] / 3))
    steps: list[tuple[int, int]] = []
    made = audit(table(tmp_path, CLEAN), recordings, progress=lambda done, of: steps.append((done, of)))
    ((pair,),) = found(made).values()
    assert pair.startswith("a1.wav (0) ≈ b2.wav (1), correlation ")
    assert made.verdict == "LEAKS: 1 × near-identical audio in two folds"
    assert steps == [(step, 8) for step in range(1, 9)]


def test_an_unreadable_file_is_a_finding_and_not_an_error(tmp_path: Path, recordings: Path) -> None:
    (recordings / "a2.wav").write_text("no sound")
    (recordings / "b1.wav").write_bytes(wav(np.zeros(8_000, np.float32)))
    made = audit(table(tmp_path, [*CLEAN, "none.wav,sad,cid,2", "nul\0.wav,happy,cid,2"]), recordings)
    unreadable = found(made)["file that cannot be read"]
    assert [line.partition(":")[0] for line in unreadable] == ["a2.wav", "none.wav", "nul\0.wav"]
    silent = "clip without a print, silent or under a quarter of a second"
    assert found(made)[silent] == ("b1.wav",)
    assert made.verdict == "speaker-independent: no leak found (but 3 of 6 clips were not read)"
    assert made.n_heard == 3


def test_nothing_outside_the_audio_root_is_opened(tmp_path: Path, recordings: Path) -> None:
    outside = tmp_path / "secret.wav"
    outside.write_bytes(wav(sound(0.5, 100.0)))
    (recordings / "link.wav").symlink_to(outside)
    paths = ["../secret.wav", str(outside), "link.wav"]
    made = audit(table(tmp_path, [*CLEAN, *(f"{path},sad,cid,2" for path in paths)]), recordings)
    refused = "lies outside the audio root and was not opened"
    assert found(made)["file that cannot be read"] == tuple(f"{path}: {refused}" for path in paths)


def test_an_audio_root_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a folder"):
        audit(table(tmp_path, CLEAN), tmp_path / "absent")


# What people read


def test_findings_are_shown_worst_first_with_examples_and_a_next_step(tmp_path: Path) -> None:
    rows = [f"{fold}{n}.wav,{'sad' if fold else 'calm'},s{n},{fold}" for fold in (0, 1) for n in range(7)]
    lines = audit(table(tmp_path, rows)).lines()
    assert lines[0] == "LEAKS: 7 × speaker in more than one fold"
    assert lines[1:3] == ["  0: 7 clips, 7 speakers", "  1: 7 clips, 7 speakers"]
    assert lines[4] == "LEAK  7 × speaker in more than one fold"
    assert lines[5] == "  s0: 1 in 0, 1 in 1"
    assert lines[10] == "  … and 2 more"
    assert lines[11] == "  → Put all clips of a speaker into one fold."
    assert lines[13] == "note  2 × class missing from a fold"
    assert lines[-2] == "looked for and not found: path in more than one fold; path listed twice in a fold"
    assert lines[-1].startswith("Next: divide by speaker")


def test_many_folds_are_counted() -> None:
    rows = tuple(Row(f"{n}.wav", "sad", str(n), str(n)) for n in range(12))
    lines = Audit(rows, (Check("speaker in more than one fold", ()),), 12).lines()
    assert lines[10:12] == ["  9: 1 clip, 1 speaker", "  … and 2 more folds"]
    assert lines[-2:] == [
        "looked for and not found: speaker in more than one fold",
        "Next: keep the certificate (--out FILE.json) beside the scores.",
    ]


def test_where_everything_is_wrong_nothing_else_was_looked_for() -> None:
    rows = (Row("a.wav", "sad", "ann", "0"), Row("b.wav", "sad", "ann", "1"))
    lines = Audit(rows, (Check("speaker in more than one fold", ("ann",)),), None).lines()
    assert lines[-2] == "looked for and not found: nothing else"
