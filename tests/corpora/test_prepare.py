"""The prepared dataset: its samples are those of `audio.load`, and nothing half made is ever read."""

import csv
import errno
import json
import os
import pickle
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from speech_emotion import audio, files
from speech_emotion.cli import app
from speech_emotion.corpora import prepare as module
from speech_emotion.corpora.manifest import Clip
from speech_emotion.corpora.prepare import PreparedDataset, prepare
from speech_emotion.corpora.readers import ravdess
from speech_emotion.errors import CorpusError
from speech_emotion.labels import EMOTIONS

N_CLIPS = 24


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """24 clips of RAVDESS by name, of noise and of different lengths: three actors, eight emotions."""
    folder = tmp_path / "corpus"
    rng = np.random.default_rng(7)
    for actor in ("01", "02", "11"):
        (folder / f"Actor_{actor}").mkdir(parents=True)
        for emotion in range(1, 9):
            samples = rng.integers(-32768, 32768, size=int(rng.integers(8_000, 12_000))).astype(np.int16)
            path = folder / f"Actor_{actor}" / f"03-01-{emotion:02d}-01-01-01-{actor}.wav"
            soundfile.write(path, samples, 16_000, subtype="PCM_16")
    return folder


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLIPS_PER_SHARD", 2)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def flip(path: Path, position: int | np.int64) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(bytes(data))


# What is read back


def test_16_bit_sources_come_back_bit_for_bit(corpus: Path, tmp_path: Path) -> None:
    dataset = prepare(ravdess.SPEECH, corpus, tmp_path / "out", workers=1)
    assert len(dataset) == N_CLIPS
    for i, clip in enumerate(dataset.clips):
        expected, _ = soundfile.read(corpus / clip.path, dtype="int16")
        assert np.array_equal(dataset.waveform(i) * 32768, expected), clip.path
        assert dataset.waveform(i).dtype == np.float32
        assert dataset.seconds(i) == len(expected) / 16_000


def test_a_dataset_travels_as_its_folder_and_never_as_another_one(corpus: Path, tmp_path: Path) -> None:
    dataset = prepare(ravdess.SPEECH, corpus, tmp_path / "out", workers=1)
    sent = pickle.dumps(dataset)
    assert len(sent) < 1000
    found = pickle.loads(sent)  # noqa: S301 - our own
    assert found.key == dataset.key
    assert np.array_equal(found.waveform(3), dataset.waveform(3))
    path = corpus / dataset.clips[3].path
    flip(path, path.stat().st_size - 1)
    prepare(ravdess.SPEECH, corpus, tmp_path / "out", workers=1)
    with pytest.raises(CorpusError, match="was prepared anew meanwhile"):
        pickle.loads(sent)  # noqa: S301


def test_the_tables_are_the_corpus_as_it_was_scanned(corpus: Path, tmp_path: Path) -> None:
    dataset = prepare(ravdess.SPEECH, corpus, tmp_path / "out", workers=1)
    assert dataset.clips == ravdess.SPEECH.scan(corpus)
    assert [EMOTIONS[label] for label in dataset.labels] == [clip.label for clip in dataset.clips]
    assert dataset.speakers.tolist() == ["01"] * 8 + ["02"] * 8 + ["11"] * 8
    assert dataset.corpus == "ravdess"
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_bytes())
    assert manifest["licence"] == "CC BY-NC-SA 4.0"
    assert manifest["settings"] == {"sample_rate": 16_000, "sample_type": "int16"}


def test_a_clip_beyond_full_scale_is_not_clipped(corpus: Path, tmp_path: Path) -> None:
    loud = 1.7 * np.sin(np.arange(9_000) / 20)
    path = corpus / "Actor_01" / "03-01-01-01-01-01-01.wav"
    soundfile.write(path, loud, 16_000, subtype="FLOAT")
    dataset = prepare(ravdess.SPEECH, corpus, tmp_path / "out", workers=1)
    assert dataset.scales.tolist() == [2 / 32768] + [1 / 32768] * (N_CLIPS - 1)
    assert np.max(np.abs(dataset.waveform(0) - loud)) <= 1 / 32768 + 1e-6


def test_resampled_clips_are_exact_to_half_a_step(corpus: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    path = corpus / "Actor_01" / "03-01-01-01-01-01-01.wav"
    soundfile.write(path, 0.3 * rng.standard_normal((30_000, 2)).clip(-3, 3), 48_000, subtype="PCM_24")
    dataset = prepare(ravdess.SPEECH, corpus, tmp_path / "out", workers=1)
    expected = audio.load(path).samples
    assert np.max(np.abs(dataset.waveform(0) - expected)) <= 0.5 * dataset.scales[0] * (1 + 1e-5)


def test_two_workers_write_the_bytes_of_one(corpus: Path, tmp_path: Path, small_shards: None) -> None:
    prepare(ravdess.SPEECH, corpus, tmp_path / "one", workers=1)
    prepare(ravdess.SPEECH, corpus, tmp_path / "two", workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_progress_counts_clips_up_to_the_last(corpus: Path, tmp_path: Path, small_shards: None) -> None:
    seen: list[tuple[int, int]] = []
    prepare(ravdess.SPEECH, corpus, tmp_path / "out", workers=1, progress=lambda *done: seen.append(done))
    assert seen == [(n, N_CLIPS) for n in range(2, N_CLIPS + 1, 2)]


def test_warnings_are_in_the_table(corpus: Path, tmp_path: Path) -> None:
    path = corpus / "Actor_01" / "03-01-01-01-01-01-01.wav"
    soundfile.write(path, np.full(9_000, 1e-3) * np.sin(np.arange(9_000)), 16_000, subtype="PCM_16")
    prepare(ravdess.SPEECH, corpus, tmp_path / "out", workers=1)
    with (tmp_path / "out" / "clips.csv").open(newline="") as file:
        first = next(csv.DictReader(file))
    assert first["warnings"] == "quiet"
    assert first["seconds"] == "0.562500"


def test_odd_folder_names_survive_and_are_no_formula(corpus: Path, tmp_path: Path) -> None:
    (corpus / "Actor_01").rename(corpus / "=HYPERLINK('x'),\n🎙")
    dataset = prepare(ravdess.SPEECH, corpus, tmp_path / "out", workers=1)
    assert dataset.clips == ravdess.SPEECH.scan(corpus)
    assert "\n\"'=HYPERLINK" in (tmp_path / "out" / "clips.csv").read_text()


def test_the_verb_prepares_and_says_what_is_there(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "prepared" / "ravdess"
    words = ["corpora", "prepare", "ravdess", str(corpus), str(out), "--workers", "1", "--features"]
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == 0, answer.output
    minutes = sum(map(PreparedDataset.open(out).seconds, range(N_CLIPS))) / 60
    assert f"{out}: 24 clips, 3 speakers, {minutes:.1f} min" in answer.output
    n_frames = len(np.load(out / "features" / "mfcc.npy"))
    assert f"151 columns, {n_frames} frames" in answer.output


# Nothing to do, something to do


def test_a_second_call_decodes_nothing(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare(ravdess.SPEECH, corpus, tmp_path / "out", workers=1)
    monkeypatch.setattr(audio, "load", lambda *_: pytest.fail("decoded again"))
    second = prepare(ravdess.SPEECH, corpus, tmp_path / "out", workers=1)
    assert second.key == first.key


def test_a_changed_source_is_prepared_again(corpus: Path, tmp_path: Path) -> None:
    first = prepare(ravdess.SPEECH, corpus, tmp_path / "out", workers=1)
    (tmp_path / "out" / "features").mkdir()
    path = corpus / first.clips[3].path
    flip(path, path.stat().st_size - 1)
    second = prepare(ravdess.SPEECH, corpus, tmp_path / "out", workers=1)
    assert second.corpus_hash != first.corpus_hash
    assert np.array_equal(second.waveform(3), audio.load(path).samples)
    assert not (tmp_path / "out" / "features").exists()


def test_other_labels_are_prepared_again(corpus: Path, tmp_path: Path) -> None:
    first = prepare(ravdess.SPEECH, corpus, tmp_path / "out", workers=1)

    def reread(path: PurePosixPath) -> Clip:
        return replace(ravdess.SPEECH.parse(path), label="calm")  # type: ignore[misc, type-var]

    second = prepare(replace(ravdess.SPEECH, parse=reread), corpus, tmp_path / "out", workers=1)
    assert second.corpus_hash == first.corpus_hash
    assert set(second.labels.tolist()) == {EMOTIONS.index("calm")}


# What is refused


@pytest.mark.parametrize("name", [*(f"{name}.npy" for name in module._ARRAYS), "clips.csv", "manifest.json"])
def test_a_flipped_byte_is_refused_and_repaired(corpus: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    prepare(ravdess.SPEECH, corpus, out, workers=1)
    before = contents(out)
    flip(out / name, np.random.default_rng(len(name)).integers(len(before[name])))
    with pytest.raises(CorpusError, match="Prepare it again"):
        PreparedDataset.open(out, verify=True)
    prepare(ravdess.SPEECH, corpus, out, workers=1)
    assert contents(out) == before


@pytest.mark.parametrize("name", [*(f"{name}.npy" for name in module._ARRAYS), "clips.csv", "manifest.json"])
def test_a_missing_or_cut_file_is_refused(corpus: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    prepare(ravdess.SPEECH, corpus, out, workers=1)
    (out / name).write_bytes((out / name).read_bytes()[:-1])
    with pytest.raises(CorpusError, match="Prepare it again"):
        PreparedDataset.open(out)
    (out / name).unlink()
    with pytest.raises(CorpusError, match="Prepare it"):
        PreparedDataset.open(out)


def test_another_form_is_refused(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(ravdess.SPEECH, corpus, tmp_path / "out", workers=1)
    monkeypatch.setattr(module, "SCHEMA", 3)
    with pytest.raises(CorpusError, match="has form 2; this version reads form 3"):
        PreparedDataset.open(tmp_path / "out")


def test_a_pickle_is_never_loaded(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(ravdess.SPEECH, corpus, out, workers=1)
    np.save(out / "speakers.npy", np.array(["01", None], dtype=object), allow_pickle=True)
    facts = json.loads((out / "manifest.json").read_bytes())
    (out / "manifest.json").unlink()
    files.seal_folder(out, {name: facts[name] for name in ("schema", "corpus", "corpus_hash", "key")})
    with pytest.raises(CorpusError, match="Python objects"):
        PreparedDataset.open(out, verify=True)


def test_a_folder_of_something_else_is_left_alone(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    with pytest.raises(CorpusError, match=r"holds other files \(thesis.txt\)"):
        prepare(ravdess.SPEECH, corpus, tmp_path / "home", workers=1)
    assert (tmp_path / "home" / "thesis.txt").read_text() == "years of work"


def test_a_folder_of_another_corpus_is_left_alone(corpus: Path, tmp_path: Path) -> None:
    prepare(ravdess.SPEECH, corpus, tmp_path / "out", workers=1)
    with pytest.raises(CorpusError, match=r"holds ravdess\. Choose another folder for twin"):
        prepare(replace(ravdess.SPEECH, name="twin"), corpus, tmp_path / "out", workers=1)


def test_failed_clips_are_listed_and_the_others_kept(
    corpus: Path, tmp_path: Path, small_shards: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, cut = (corpus / clip.path for clip in ravdess.SPEECH.scan(corpus)[5:7])
    whole = {path: path.read_bytes() for path in (text, cut)}
    text.write_text("not a sound")
    cut.write_bytes(whole[cut][:9_000])
    with pytest.raises(CorpusError, match="2 of 24 clips cannot be decoded") as caught:
        prepare(ravdess.SPEECH, corpus, tmp_path / "out", workers=1)
    assert text.name in str(caught.value)
    assert f"{cut.name}: it is cut short" in str(caught.value)
    assert not (tmp_path / "out").exists()

    for path, data in whole.items():
        path.write_bytes(data)
    decoded: list[str] = []
    load = audio.load
    monkeypatch.setattr(audio, "load", lambda path: (decoded.append(path.name), load(path))[1])
    prepare(ravdess.SPEECH, corpus, tmp_path / "out", workers=1)
    assert len(decoded) == 4  # the two shards that each held one of them
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_a_source_that_cannot_be_read_is_named(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(files, "sha256_of", refuse)
    with pytest.raises(CorpusError, match=r"03-01-01-01-01-01-01\.wav cannot be read \(Permission denied\)"):
        prepare(ravdess.SPEECH, corpus, tmp_path / "out", workers=1)


# Killed, crowded, full


SCRIPT = """
import os, signal, sys, time
from speech_emotion.corpora import prepare as module
from speech_emotion.corpora.readers import ravdess
if __name__ == "__main__":
    module.CLIPS_PER_SHARD = 2
    print("ready", flush=True)
    dataset = module.prepare(ravdess.SPEECH, sys.argv[1], sys.argv[2], workers=int(sys.argv[3]), EXTRA)
    print(dataset.key)
"""


@pytest.fixture
def start(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Start `prepare` in a process of its own, at the moment it begins."""
    script = tmp_path / "script.py"

    def begin(
        corpus: Path, out: Path, workers: int = 1, extra: str = "progress=None", **options: object
    ) -> subprocess.Popen[str]:
        script.write_text(SCRIPT.replace("EXTRA", extra))
        command = [sys.executable, str(script), str(corpus), str(out), str(workers)]
        process = subprocess.Popen(command, stdout=-1, stderr=-1, text=True, **options)  # type: ignore[call-overload]
        assert process.stdout.readline() == "ready\n"
        return process  # type: ignore[no-any-return]

    return begin


def test_killed_again_and_again_it_ends_in_the_same_bytes(corpus: Path, tmp_path: Path, start) -> None:  # type: ignore[no-untyped-def]
    prepare(ravdess.SPEECH, corpus, tmp_path / "undisturbed", workers=1)
    expected, out = contents(tmp_path / "undisturbed"), tmp_path / "out"
    for n_shards in (1, 2, 6, 11, 12):  # of 12; after the last one, the folder is put together
        with start(corpus, out, extra="progress=lambda *done: print(done, flush=True)") as process:
            for _ in range(n_shards):
                assert process.stdout.readline()
            process.kill()
        if out.exists():
            assert contents(out) == expected
    with start(corpus, out) as process:
        process.communicate()
    assert contents(out) == expected
    assert not files.working_folder(out).exists()


def test_a_kill_between_the_renames_keeps_the_old_state(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    prepare(ravdess.SPEECH, corpus, out, workers=1)
    expected = contents(out)
    out.rename(files._aside(out))
    monkeypatch.setattr(audio, "load", lambda *_: pytest.fail("decoded again"))
    prepare(ravdess.SPEECH, corpus, out, workers=1)
    assert contents(out) == expected
    assert not files._aside(out).exists()


AT_WORK = "progress=lambda *_: print('decoded', flush=True) or signal.pause()"


def at_work(process: subprocess.Popen[str]) -> list[str]:
    """The process ids of its two workers, once the first clips are decoded."""
    assert process.stdout is not None
    assert process.stdout.readline() == "decoded\n"
    return wait_for(lambda: len(found := children_of(process.pid)) == 2 and found, "workers")  # type: ignore[no-any-return]


def test_workers_do_not_outlive_a_killed_parent(corpus: Path, tmp_path: Path, start) -> None:  # type: ignore[no-untyped-def]
    with start(corpus, tmp_path / "out", workers=2, extra=AT_WORK) as process:
        children = at_work(process)
        process.kill()
    wait_for(lambda: not any(is_alive(child) for child in children), "end of theirs")


def test_only_the_parent_answers_ctrl_c(corpus: Path, tmp_path: Path, start) -> None:  # type: ignore[no-untyped-def]
    """A terminal sends it to the whole group; workers must not answer with tracebacks of their own."""
    with start(corpus, tmp_path / "out", workers=2, extra=AT_WORK, start_new_session=True) as process:
        assert all(ignores_ctrl_c(child) for child in at_work(process))
        os.killpg(process.pid, signal.SIGINT)
        errors = process.communicate(timeout=60)[1]
    assert process.returncode != 0
    assert errors.count("Traceback") == 1
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert not (tmp_path / "out").exists()


def ignores_ctrl_c(pid: str) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    masks = dict(line.split(":\t") for line in lines if line.startswith(("SigBlk", "SigIgn")))
    return any(int(mask, 16) & 1 << (signal.SIGINT - 1) for mask in masks.values())


def is_waiting_for_a_lock(pid: int) -> bool:
    return re.search(rf"-> FLOCK .* {pid} ", Path("/proc/locks").read_text()) is not None


def children_of(pid: int) -> list[str]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [child for task in tasks for child in task.read_text().split()]


def is_alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition, what: str):  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < deadline, f"no {what} after 60 s"
        time.sleep(0.02)
    return found


def test_two_at_once_make_one_valid_result(corpus: Path, tmp_path: Path, start) -> None:  # type: ignore[no-untyped-def]
    out = tmp_path / "out"
    with start(corpus, out) as first, start(corpus, out) as second:
        keys = {first.stdout.read(), second.stdout.read()}
    assert (first.returncode, second.returncode) == (0, 0)
    assert keys == {PreparedDataset.open(out, verify=True).key + "\n"}


def test_the_second_waits_for_the_first(corpus: Path, tmp_path: Path, start) -> None:  # type: ignore[no-untyped-def]
    out = tmp_path / "out"
    with files.locked(out):
        process = start(corpus, out)
        wait_for(lambda: is_waiting_for_a_lock(process.pid), "wait for the lock")
        assert not files.working_folder(out).exists()
    process.communicate()
    assert len(PreparedDataset.open(out)) == N_CLIPS


def test_a_full_disk_leaves_the_old_state(corpus: Path, tmp_path: Path, start) -> None:  # type: ignore[no-untyped-def]
    """A limit on the size of files stands in for the disk: the system refuses the write itself."""
    out = tmp_path / "out"
    prepare(ravdess.SPEECH, corpus, out, workers=1)
    before = contents(out)
    shutil.copyfile(
        corpus / "Actor_01/03-01-02-01-01-01-01.wav", corpus / "Actor_01/03-01-01-01-01-01-01.wav"
    )

    def no_file_beyond_100_kb() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    with start(corpus, out, preexec_fn=no_file_beyond_100_kb) as process:
        errors = process.communicate()[1]
    assert process.returncode == 1
    assert "cannot be written (File too large)" in errors
    assert contents(out) == before
    assert prepare(ravdess.SPEECH, corpus, out, workers=1).corpus_hash not in before["manifest.json"].decode()


def test_a_full_disk_is_named(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "seal_folder", full)
    with pytest.raises(CorpusError, match=r"No space left on device.* Free some space and run it again"):
        prepare(ravdess.SPEECH, corpus, tmp_path / "out", workers=1)
    assert not (tmp_path / "out").exists()


def test_a_damaged_shard_is_decoded_again(
    corpus: Path, tmp_path: Path, small_shards: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(files, "seal_folder", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            prepare(ravdess.SPEECH, corpus, tmp_path / "out", workers=1)
    shards = list(tmp_path.glob(".out.partial/*.i16"))
    assert len(shards) == N_CLIPS // 2
    flip(shards[0], 1_000)
    decoded: list[str] = []
    load = audio.load
    monkeypatch.setattr(audio, "load", lambda path: (decoded.append(path.name), load(path))[1])
    prepare(ravdess.SPEECH, corpus, tmp_path / "out", workers=1)
    assert len(decoded) == 2
    prepare(ravdess.SPEECH, corpus, tmp_path / "undisturbed", workers=1)
    assert contents(tmp_path / "out") == contents(tmp_path / "undisturbed")


def test_the_command_says_what_is_missing_and_what_is_up_to_date(corpus: Path, tmp_path: Path) -> None:
    folder = corpus / "Actor_01"
    prepare_again = ["corpora", "prepare", "ravdess", str(folder), str(tmp_path / "out")]
    first, second = (CliRunner().invoke(app, prepare_again) for _ in range(2))
    n = 8
    hint = (
        f"{1440 - n} of 1440 published clips are missing; see: speech-emotion corpora check ravdess {folder}"
    )
    assert (first.stderr, second.stderr) == (f"{hint}\n", f"{hint}\n")
    assert "up to date" not in first.stdout
    assert second.stdout == first.stdout.rstrip("\n") + " (up to date)\n"
    assert f"{n} clips, 1 speaker, " in first.stdout


def test_a_prepared_corpus_keeps_its_key(tmp_path: Path) -> None:
    """So that prepared datasets stay valid."""
    samples = (np.arange(8000) % 200 * 50 - 5000).astype(np.int16)
    for name in ("03-01-03-01-01-01-01", "03-01-01-01-01-01-02"):
        (tmp_path / "corpus").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "corpus" / f"{name}.wav", samples, 16_000, subtype="PCM_16")
    dataset = prepare(ravdess.SPEECH, tmp_path / "corpus", tmp_path / "out", workers=1)
    assert dataset.key == "9b2d505e294834057ce9fc9b40c757c698943534e5c58ee90208459f5d8d5c06"
