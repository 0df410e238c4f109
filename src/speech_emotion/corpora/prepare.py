"""A corpus folder becomes a prepared dataset. In: a Corpus and a folder. Out: every clip decoded, memory-mapped.

    waveforms.npy   (n_samples,)   int16     all clips, end to end
    offsets.npy     (n_clips + 1,) int64     clip i is waveforms[offsets[i] : offsets[i + 1]]
    scales.npy      (n_clips,)     float32   the size of one int16 step
    labels.npy      (n_clips,)     int64     index into the manifest's label_names
    speakers.npy    (n_clips,)     str
    clips.csv                                path, label, speaker, sex, seconds, warnings, attributes
    manifest.json                            its sources; size and sha256 of every file (see files.py)

Clips are decoded at 16 kHz, in shards, by several processes. A finished shard is kept with its checksum, so the
run after a killed one resumes and ends in the same bytes.
"""

import csv
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from speech_emotion import audio, files
from speech_emotion.corpora.manifest import FETCH_POINTER, Clip, Corpus, Sex, is_pointer
from speech_emotion.errors import AudioDecodeError, AudioError, CorpusError
from speech_emotion.parallel import Progress, in_parallel, in_threads
from speech_emotion.text import guard, unguard

SCHEMA: Final = 2
SETTINGS: Final = {"sample_rate": audio.SAMPLE_RATE, "sample_type": "int16"}
CLIPS_PER_SHARD: Final = 32

_ARRAYS: Final = ("waveforms", "offsets", "scales", "labels", "speakers")
_COLUMNS: Final = ("path", "label", "speaker", "sex", "seconds", "warnings")
_OURS: Final = frozenset({*(f"{name}.npy" for name in _ARRAYS), "clips.csv", "features", files.MANIFEST})


@dataclass(frozen=True, slots=True, eq=False)
class PreparedDataset:
    """The clips of one corpus, memory-mapped: many processes can read them without a copy."""

    folder: Path
    corpus: str
    corpus_hash: str
    key: str  # changes with the sources, their labels and SETTINGS
    clips: list[Clip]
    licence: str
    citation: str
    label_names: tuple[str, ...]  # in the order of a model's outputs
    labels: npt.NDArray[np.int64]  # index into label_names
    speakers: npt.NDArray[np.str_]
    offsets: npt.NDArray[np.int64]
    scales: npt.NDArray[np.float32]
    waveforms: npt.NDArray[np.int16]
    is_new: bool = False  # whether `prepare` wrote it just now

    @classmethod
    def open(cls, folder: str | os.PathLike[str], *, verify: bool = False) -> "PreparedDataset":
        """Map a prepared folder. `verify` compares every byte with the manifest first (1.5 GB/s).

        Raises:
            CorpusError: The folder is not prepared, damaged, or written by a version with another form.
        """
        folder = Path(folder).resolve()
        manifest = files.read_sealed_folder(folder, schema=SCHEMA, verify=verify)
        try:
            arrays = {
                name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _ARRAYS
            }
            clips = _read_clips(folder / "clips.csv")
        except (OSError, ValueError, KeyError) as error:
            raise CorpusError(f"{folder} is damaged ({error}). Prepare it again.") from error
        facts = {name: manifest[name] for name in ("corpus", "corpus_hash", "key", "licence", "citation")}
        label_names = tuple(manifest["label_names"])
        return cls(folder=folder, clips=clips, label_names=label_names, **facts, **arrays)

    def __reduce__(self) -> tuple[Any, ...]:
        """A dataset travels between processes as its folder."""
        return _open_again, (self.folder, self.key)

    def __len__(self) -> int:
        return len(self.clips)

    def waveform(self, i: int) -> npt.NDArray[np.float32]:
        """Clip `i` as `audio.load` returned it: (n_samples,) float32 at 16 kHz."""
        steps = self.waveforms[self.offsets[i] : self.offsets[i + 1]]
        samples: npt.NDArray[np.float32] = steps.astype(np.float32) * self.scales[i]
        return samples

    def seconds(self, i: int) -> float:
        """The length of clip `i`."""
        return float(self.offsets[i + 1] - self.offsets[i]) / audio.SAMPLE_RATE


def _open_again(folder: Path, key: str) -> PreparedDataset:
    """Map the dataset that was pickled. Raises CorpusError if its folder holds another one by now."""
    dataset = PreparedDataset.open(folder)
    if dataset.key != key:
        raise CorpusError(f"{folder} was prepared anew meanwhile. Run it again.")
    return dataset


def prepare(
    corpus: Corpus,
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> PreparedDataset:
    """Decode the clips of `corpus` in `folder` into the folder `out`, unless they are there already.

    Args:
        corpus: The corpus.
        folder: The recordings, in any layout and audio format.
        out: The folder to make; an older preparation of the same corpus in it is replaced.
        workers: Processes; by default one per core.
        progress: Called with the clips done and the total.

    Raises:
        CorpusError: A clip cannot be decoded, or `out` holds something else or cannot be written.
    """
    folder, out = Path(folder), Path(out).resolve()
    clips = corpus.scan(folder)
    sources = _hash_sources(folder, clips)
    corpus_hash = files.digest([(path, *sources[path]) for path in sorted(sources)])
    label_names = list(corpus.label_names)
    contents = [SCHEMA, SETTINGS, corpus.name, corpus_hash, label_names, [_row(clip) for clip in clips]]
    facts = {
        "schema": SCHEMA,
        "corpus": corpus.name,
        "licence": corpus.licence,
        "citation": corpus.citation,
        "settings": SETTINGS,
        "label_names": label_names,
        "corpus_hash": corpus_hash,
        "key": files.digest(contents),
    }
    is_new = False
    with files.writing(out, CorpusError):
        if files.working_folder(out).exists() or not _holds(out, facts):
            with files.locked(out):
                files.recover(out)
                if is_new := not _holds(out, facts):
                    shards = _decode_all(out, folder, clips, sources, workers, progress)
                    _assemble(out, clips, shards, facts)
                shutil.rmtree(files.working_folder(out), ignore_errors=True)
    return replace(PreparedDataset.open(out), is_new=is_new)


def _hash_sources(folder: Path, clips: Sequence[Clip]) -> dict[str, tuple[int, str]]:
    """Path → size and sha256 of every source file."""

    def measure(clip: Clip) -> tuple[int, str]:
        path = folder / clip.path
        return path.stat().st_size, files.sha256_of(path)

    try:
        return {clip.path: found for clip, found in zip(clips, in_threads(measure, clips), strict=True)}
    except OSError as error:
        raise CorpusError(f"{error.filename} cannot be read ({error.strerror}). Make it readable.") from error


def _holds(out: Path, facts: Mapping[str, Any]) -> bool:
    """Whether `out` is this very dataset, byte for byte; CorpusError if it must not be replaced."""
    if not out.exists():
        return False
    if foreign := {path.name for path in out.iterdir()} - _OURS:
        raise CorpusError(f"{out} holds other files ({min(foreign)}). Choose a new folder to prepare into.")
    try:
        present = PreparedDataset.open(out, verify=True)
    except CorpusError:
        return False
    if present.corpus != facts["corpus"]:
        raise CorpusError(f"{out} holds {present.corpus}. Choose another folder for {facts['corpus']}.")
    return bool(present.key == facts["key"])


# Shards: a few clips, decoded by one worker


@dataclass(frozen=True, slots=True)
class _Shard:
    """Decoded clips: the name and checksum of the file of their int16 samples, and one entry per clip."""

    name: str
    sha256: str
    lengths: list[int]
    scales: list[float]
    warnings: list[str]
    failures: list[str]


def _decode_all(
    out: Path,
    folder: Path,
    clips: list[Clip],
    sources: Mapping[str, tuple[int, str]],
    workers: int | None,
    progress: Progress | None,
) -> list[_Shard]:
    """The shards of all clips, in their order. A shard is named after its sources, so it is kept only for them."""
    working = files.working_folder(out)
    working.mkdir(exist_ok=True)
    parts = [clips[start : start + CLIPS_PER_SHARD] for start in range(0, len(clips), CLIPS_PER_SHARD)]
    names = [
        files.digest([SCHEMA, SETTINGS, [(clip.path, sources[clip.path]) for clip in part]]) for part in parts
    ]
    tasks = [(working / f"{name}.i16", folder, part) for name, part in zip(names, parts, strict=True)]
    shards: list[_Shard] = []
    n_done = 0
    for shard in in_parallel(_kept_or_new_shard, tasks, workers):
        shards.append(shard)
        n_done += len(shard.lengths) + len(shard.failures)
        if progress:
            progress(n_done, len(clips))
    if failures := sorted(failure for shard in shards for failure in shard.failures):
        shown = "; ".join(failures[:10]) + (f"; and {len(failures) - 10} more" if len(failures) > 10 else "")
        raise CorpusError(
            f"{len(failures)} of {len(clips)} clips cannot be decoded. {shown}. Restore these files "
            "and run it again: the other clips are kept."
        )
    return sorted(shards, key=lambda shard: names.index(shard.name))


def _kept_or_new_shard(task: tuple[Path, Path, list[Clip]]) -> _Shard:
    """The shard an earlier run finished, if its samples match the noted checksum; else a new one."""
    samples, folder, clips = task
    note = samples.with_suffix(".json")
    try:
        kept = _Shard(**json.loads(note.read_bytes()))
        if files.sha256_of(samples) == kept.sha256:
            return kept
    except (OSError, ValueError, TypeError):
        pass  # none, or not finished
    shard = _decode_shard(samples, folder, clips)
    if not shard.failures:
        files.write_atomically(note, json.dumps(asdict(shard)).encode())
    return shard


def _decode_shard(samples: Path, folder: Path, clips: list[Clip]) -> _Shard:
    """A new shard. Its file gets its name when complete: a worker of a killed run may be writing it as well."""
    shard = _Shard(samples.stem, "", [], [], [], [])
    partial = samples.with_suffix(f".{os.getpid()}")
    with partial.open("wb") as file:
        for clip in clips:
            try:
                if is_pointer(folder / clip.path):
                    raise AudioDecodeError(FETCH_POINTER)
                waveform = audio.load(folder / clip.path)
                if "truncated" in waveform.warnings:
                    raise AudioDecodeError(f"it is cut short after {waveform.seconds:.2f} s")
            except AudioError as error:
                shard.failures.append(f"{clip.path}: {error}")
                continue
            scale = _scale(waveform.samples)
            file.write(np.rint(waveform.samples / np.float32(scale)).astype("<i2").tobytes())
            shard.lengths.append(len(waveform.samples))
            shard.scales.append(scale)
            shard.warnings.append(" ".join(waveform.warnings))
    partial.replace(samples)
    return replace(shard, sha256=files.sha256_of(samples))


def _scale(samples: npt.NDArray[np.float32]) -> float:
    """One int16 step: 1/32768 as in a 16-bit file, doubled until a clip beyond full scale fits unclipped.

    A power of two, so that 16-bit sources come back bit for bit. The rounding noise of resampled clips is 1.5e-8
    per bin of a 512-point power spectrum, 2e-10 per mel band: about the floor of the front end.
    """
    lowest, highest = np.min(samples, initial=0.0), np.max(samples, initial=0.0)
    scale = 1 / 32768
    while np.rint(highest / scale) > 32767 or np.rint(lowest / scale) < -32768:
        scale *= 2
    return scale


# The tables of all clips


def _assemble(out: Path, clips: list[Clip], shards: list[_Shard], facts: Mapping[str, Any]) -> None:
    """Write all files into a new folder, seal it, and put it in place."""
    lengths = [length for shard in shards for length in shard.lengths]
    scales = [scale for shard in shards for scale in shard.scales]
    warnings = [warning for shard in shards for warning in shard.warnings]
    working = files.working_folder(out)
    whole = files.empty_folder(working / "whole")
    np.save(whole / "offsets.npy", np.cumsum([0, *lengths], dtype=np.int64))
    np.save(whole / "scales.npy", np.array(scales, np.float32))
    numbers = [facts["label_names"].index(clip.label) for clip in clips]
    np.save(whole / "labels.npy", np.array(numbers, np.int64))
    np.save(whole / "speakers.npy", np.array([clip.speaker for clip in clips], np.str_))
    _write_clips(whole / "clips.csv", clips, lengths, warnings)
    parts = [working / f"{shard.name}.i16" for shard in shards]
    join(parts, whole / "waveforms.npy", dtype="<i2", shape=(sum(lengths),))
    files.seal_folder(whole, facts)
    files.put_in_place(whole, out)


def join(parts: Sequence[Path], array: Path, *, dtype: str, shape: tuple[int, ...]) -> None:
    """Copy raw files into one `.npy`. Not through a memory map, where a full disk is SIGBUS instead of an error."""
    with array.open("wb") as out:
        header = {"descr": dtype, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(out, header)
        for part in parts:
            with part.open("rb") as file:
                shutil.copyfileobj(file, out, 1 << 20)


def _row(clip: Clip) -> dict[str, str]:
    fixed = {"path": clip.path, "label": clip.label, "speaker": clip.speaker, "sex": clip.sex}
    return {**fixed, **clip.attributes}


def _write_clips(path: Path, clips: list[Clip], lengths: list[int], warnings: list[str]) -> None:
    attributes = sorted({name for clip in clips for name in clip.attributes})
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        table = csv.DictWriter(file, [*_COLUMNS, *attributes], restval="", lineterminator="\n")
        table.writeheader()
        for clip, length, warning in zip(clips, lengths, warnings, strict=True):
            measured = {"seconds": f"{length / audio.SAMPLE_RATE:.6f}", "warnings": warning}
            table.writerow({name: guard(cell) for name, cell in {**_row(clip), **measured}.items()})


def _read_clips(path: Path) -> list[Clip]:
    clips = []
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        for row in csv.DictReader(file):
            cells = {name: unguard(cell) for name, cell in row.items()}
            file_path, label, speaker, sex, *_ = (cells.pop(name) for name in _COLUMNS)
            attributes = {name: cell for name, cell in cells.items() if cell}
            clips.append(Clip(file_path, label, speaker, cast(Sex, sex), attributes))
    return clips
