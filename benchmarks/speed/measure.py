"""The measurements. In: the folder of the environments, the RAVDESS. Out: numbers for the page, all of one run.

A 48 kHz recording of 3.5 s is "the clip". Contenders are measured in turns on one core; see workers.py.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile

from speech_emotion.audio.decoders import open_decoder
from speech_emotion.audio.reader import Resampler
from speech_emotion.audio.reader import load as load_audio
from speech_emotion.shipped import find
from speed import limit
from speed.environments import ROOT, footprint, python
from speed.workers import ALONE, OF_THIS_TREE, Contender, Worker, cold, in_turns, on_cores, ratio, summary

MODELS: Final = ("standard", "compact")
RATE, SECONDS = 48_000, 3.5
LIVE_SECONDS: Final = 10.0
HOP_SECONDS: Final = 0.5  # two answers per second
LENGTHS: Final = (8, 16, 32, 64, 128)  # seconds
CONTENDERS: Final = {
    "standard": Contender("ours", "ours.py", ("standard",), "**standard**", 40),
    "compact": Contender("ours", "ours.py", ("compact",), "**compact**", 40),
    "before": Contender("before", "ours.py", ("standard",), "standard, as it was", 40),
    "compact-integer": Contender(
        "ours", "ours.py", ("{envs}/compact-integer.onnx",), "compact, products of integers", 40
    ),
    "p1": Contender("librosa-torch", "librosa_cnn.py", (), "librosa log-mel, CNN in eager torch", 40),
    "p2": Contender("librosa-keras", "mfcc_keras.py", (), "librosa MFCC means, CNN in Keras", 20),
    "p3": Contender("opensmile", "egemaps.py", (), "openSMILE eGeMAPS, logistic regression", 40),
    "p4-base-torch": Contender(
        "wav2vec2", "wav2vec2.py", ("base", "torch"), "wav2vec2-base shape, eager torch", 15
    ),
    "p4-base-onnx": Contender(
        "wav2vec2",
        "wav2vec2.py",
        ("base", "{envs}/wav2vec2-base.onnx"),
        "wav2vec2-base shape, ONNX Runtime",
        15,
    ),
    "p4-large-torch": Contender(
        "wav2vec2", "wav2vec2.py", ("large", "torch"), "wav2vec2-large shape, eager torch", 4
    ),
    "p4-large-onnx": Contender(
        "wav2vec2",
        "wav2vec2.py",
        ("large", "{envs}/wav2vec2-large.onnx"),
        "wav2vec2-large shape, ONNX Runtime",
        5,
    ),
    "p5": Contender("librosa-torch", "vgg16.py", (), "librosa mel picture, VGG16 in eager torch", 10),
    "p6": Contender(
        "kaldi",
        "fbank_onnx.py",
        ("{envs}/standard-from-log-mel.onnx",),
        "kaldi-native-fbank, graph of standard",
        40,
    ),
}
COLD: Final = {"standard": 5, "compact": 5, "p1": 3, "p2": 1, "p3": 3, "p4-base-torch": 1, "p5": 1, "p6": 3}
IMPORTS: Final = {
    "ours": "import speech_emotion; speech_emotion.load()",
    "librosa-torch": "import librosa, torch; librosa.load, librosa.feature.melspectrogram",
    "librosa-keras": "import librosa, keras; librosa.load, librosa.feature.mfcc",
    "opensmile": "import opensmile, sklearn.linear_model",
    "wav2vec2": "import librosa, torch; from transformers import Wav2Vec2ForSequenceClassification; librosa.load",
    "kaldi": "import kaldi_native_fbank, onnxruntime, soundfile, soxr",
}


class Bench:
    """One run. Each method measures one item and returns what the page needs of it.

    Args:
        envs: The folder that `environments.set_up` filled.
        ravdess: The folder with Actor_01 to Actor_24.
        folder: Where sounds may be written.
        every: Which clips of the RAVDESS count: each `every`-th.
    """

    def __init__(self, envs: Path, ravdess: Path, folder: Path, every: int) -> None:
        self.envs, self.ravdess, self.folder = envs, ravdess, folder
        self.clips = [str(path) for path in sorted(ravdess.glob("Actor_*/*"))[::every]]
        self.cores = sorted(os.sched_getaffinity(0))
        self.core = self.cores[-1]
        self.clip = self.sound("clip.wav", SECONDS, RATE)

    def sound(self, name: str, seconds: float, rate: int) -> str:
        """A 16-bit recording of a demo voice, repeated until it lasts `seconds`; returns its path."""
        voice, own = soundfile.read(ROOT / "src/speech_emotion/assets/demo-lively.flac", dtype="float32")
        voice = np.repeat(voice, rate // own)
        n_samples = round(seconds * rate)
        path = self.folder / name
        soundfile.write(path, np.tile(voice, 1 + n_samples // len(voice))[:n_samples], rate, subtype="PCM_16")
        return str(path)

    def worker(self, name: str, core: int | None = None) -> Worker:
        """Contender `name`, loaded, on one core."""
        command = CONTENDERS[name].command(self.envs, "serve")
        return Worker(command, self.core if core is None else core)

    def cold(self) -> dict[str, Any]:
        """A whole process, from its start to its answer for the clip."""

        def process(name: str) -> Callable[[], float]:
            command = CONTENDERS[name].command(self.envs, "once", self.clip)
            if name in MODELS:
                ours = python(self.envs, "ours")
                command = [ours, "-m", "speech_emotion", "predict", self.clip, "--model", name]
            return lambda: cold(command, self.core)

        return _compared(in_turns({name: (process(name), n) for name, n in COLD.items()}))

    def warm(self) -> dict[str, Any]:
        """A file in, an answer out, in a process that has answered before."""
        with ExitStack() as stack:
            workers = {name: stack.enter_context(self.worker(name)) for name in CONTENDERS}
            for worker in workers.values():
                worker.ask("answer", self.clip)
                worker.ask("answer", self.clip)

            def ask(name: str) -> Callable[[], float]:
                return lambda: float(workers[name].ask("answer", self.clip)["seconds"])

            return _compared(in_turns({name: (ask(name), CONTENDERS[name].rounds) for name in CONTENDERS}))

    def two_at_once(self) -> dict[str, Any]:
        """The same when both cores answer at the same time, each in a process of its own."""
        found = {}
        for name in (*MODELS, "p1"):
            with ExitStack() as stack:
                workers = [stack.enter_context(self.worker(name, core)) for core in self.cores[:2]]
                seconds = []
                for _ in range(CONTENDERS[name].rounds):
                    for worker in workers:
                        worker.send("answer", self.clip)
                    seconds += [worker.receive()["seconds"] for worker in workers]
            found[name] = summary(seconds[2 * len(workers) :])
        return found

    def stages(self) -> dict[str, Any]:
        """Decoding, resampling and each stage of the graphs, beside the least that the core could take."""
        os.sched_setaffinity(0, [self.core])
        try:
            rate = limit.rates()
            found: dict[str, Any] = {"rates": rate, "audio": self._audio_stages(rate)}
            window = load_audio(self.clip).samples[None]
            for name in MODELS:
                found[name] = limit.of_model(_path_of(name), window, rate)
            found["compact-integer"] = limit.of_model(self.envs / "compact-integer.onnx", window, rate)
        finally:
            os.sched_setaffinity(0, self.cores)
        return found

    def _audio_stages(self, rate: Mapping[str, float]) -> dict[str, Any]:
        def decode() -> list[np.ndarray]:
            with Path(self.clip).open("rb") as file:
                return list(open_decoder(file).chunks())

        chunks = decode()

        def resample() -> None:
            resampler = Resampler(RATE)
            for chunk in chunks:
                resampler.push(chunk)
            resampler.finish()

        found = in_turns({"decode": (lambda: _timed(decode), 60), "resample": (lambda: _timed(resample), 60)})
        n_in, n_out = round(SECONDS * RATE), round(SECONDS * 16_000)
        floors = {
            "decode": n_in * (2 + 4) / rate["memcpy"],  # 16-bit samples in, float32 out
            "resample": max(2 * FIR_TAPS * n_out / rate["sgemm"], 4 * (n_in + n_out) / rate["memcpy"]),
        }
        rows = {}
        for name, seconds in found.items():
            row = summary(seconds)
            kept = {key: row[key] for key in ("median_ms", "p99_ms")}
            floor = 1e3 * floors[name]
            rows[name] = kept | {
                "floor_ms": round(floor, 4),
                "times_floor": round(row["median_ms"] / floor, 2),
            }
        return rows

    def throughput(self) -> dict[str, Any]:
        """Files per second over clips of the RAVDESS, on one core and on two; peers on a tenth of the clips."""
        found: dict[str, Any] = {"n_clips": len(self.clips)}
        for name in (*MODELS, "p1", "p3"):
            clips = self.clips if name in MODELS else self.clips[::10]
            for n_cores in (1, 2) if name in MODELS else (1,):
                with ExitStack() as stack:
                    workers = [stack.enter_context(self.worker(name, core)) for core in self.cores[-n_cores:]]
                    shares = [clips[index::n_cores] for index in range(n_cores)]
                    for worker in workers:
                        worker.ask("answer", clips[0])
                    start = time.perf_counter()
                    if name in MODELS:
                        for worker, share in zip(workers, shares, strict=True):
                            worker.send("all", share)
                        for worker in workers:
                            worker.receive()
                    else:
                        for clip in clips:
                            workers[0].ask("answer", clip)
                    seconds = time.perf_counter() - start
                found.setdefault(name, {})[f"files_per_second_{n_cores}"] = round(len(clips) / seconds, 1)
        return found

    def hour(self) -> dict[str, Any]:
        """`predict` on one hour with compact: seconds and the largest memory of the process."""
        path = self.sound("hour.wav", 3600, 16_000)
        command = [python(self.envs, "ours"), "-m", "speech_emotion", "predict", path, "--model", "compact"]
        start = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603
            command,
            stdout=subprocess.DEVNULL,
            env=ALONE,
            preexec_fn=on_cores([self.core]),
        )
        _, status, usage = os.wait4(process.pid, 0)
        took = time.perf_counter() - start
        if status:
            raise RuntimeError(f"{command} ended with {status}")
        return {
            "seconds": round(took, 2),
            "peak_mib": round(usage.ru_maxrss / 1024),
        }

    def live(self) -> dict[str, Any]:
        """A live stream with two answers per second: the share of a core that it takes."""
        path = self.sound("live.wav", LIVE_SECONDS, RATE)
        request = {"path": path, "hop_seconds": HOP_SECONDS}
        names = (*MODELS, "compact-integer", "before")
        with ExitStack() as stack:
            workers = {name: stack.enter_context(self.worker(name)) for name in names}

            def ask(name: str) -> Callable[[], float]:
                return lambda: float(workers[name].ask("live", request)["cpu_seconds"])

            found = in_turns({name: (ask(name), 3) for name in names})
        shares = {name: {"core_share": float(np.median(one)) / LIVE_SECONDS} for name, one in found.items()}
        for name in names[:-1]:
            shares[name]["to_before"] = ratio(found[name], found["before"])
        return shares

    def training(self) -> dict[str, Any]:
        """`corpora prepare` of the RAVDESS and one epoch of the CNN, both on one core."""
        once = self.folder / "one-epoch.toml"
        once.write_text((ROOT / "recipes/ravdess-cnn.toml").read_text().replace("epochs = 50", "epochs = 1"))
        prepared, runs = self.folder / "prepared", self.folder / "runs"
        ours = [sys.executable, "-m", "speech_emotion"]
        corpus = ["ravdess", str(self.ravdess), str(prepared / "ravdess"), "--workers", "1"]
        seconds = cold([*ours, "corpora", "prepare", *corpus], self.core, OF_THIS_TREE)
        train = [
            *ours,
            "train",
            str(once),
            "--corpus",
            f"ravdess={self.ravdess}",
            "--prepared",
            str(prepared),
        ]
        cold([*train, "--protocol", "luna5", "--fold", "0", "--out", str(runs)], self.core, OF_THIS_TREE)
        log = next(runs.rglob("log.jsonl")).read_text().splitlines()
        epoch = json.loads(log[-1])["seconds"]
        return {"prepare_seconds": round(seconds, 1), "epoch_seconds": epoch}

    def footprints(self) -> dict[str, Any]:
        """Each environment: its size, its packages, and the CPU time of a fresh process that imports it."""

        def imported(name: str) -> float:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            cold([python(self.envs, name), "-c", IMPORTS[name]], self.core)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

        return {
            name: footprint(self.envs, name) | {"import_cpu_ms": round(1e3 * imported(name), 1)}
            for name in IMPORTS
        }

    def growth(self) -> dict[str, Any]:
        """CPU seconds against the length of a recording, and against the number of files, with the fitted exponents."""
        paths = {length: self.sound(f"{length}.wav", length, 16_000) for length in LENGTHS}
        numbers = [n for n in (8, 16, 32, 64) if n <= len(self.clips)]
        with self.worker("compact") as worker:
            worker.ask("answer", paths[LENGTHS[0]])
            of_length = [
                min(worker.ask("answer", path)["cpu_seconds"] for _ in range(2)) for path in paths.values()
            ]
            of_number = [worker.ask("all", self.clips[:n])["cpu_seconds"] for n in numbers]
        return {
            "length": {
                "x": list(LENGTHS),
                "cpu_seconds": _rounded(of_length),
                "exponent": exponent(LENGTHS, of_length),
            },
            "files": {
                "x": numbers,
                "cpu_seconds": _rounded(of_number),
                "exponent": exponent(numbers, of_number),
            },
        }


FIR_TAPS: Final = (
    562  # of a linear filter, 0.913 to 1 of the new Nyquist frequency, 125 dB down (Kaiser's formula)
)


STEPS: Final = (
    "cold",
    "warm",
    "two_at_once",
    "stages",
    "throughput",
    "hour",
    "live",
    "footprints",
    "growth",
    "training",
)


def run(envs: Path, ravdess: Path, steps: Sequence[str], every: int) -> Iterator[dict[str, Any]]:
    """Measure `steps`, and yield what each found. Of the clips, each `every`-th is read for throughput."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(envs, ravdess, Path(folder), every)
        for name in steps:
            start = time.perf_counter()
            yield {name: getattr(bench, name)()}
            print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)


def exponent(x: Sequence[float], seconds: Sequence[float]) -> float:
    """The slope of log seconds against log x: 1 is proportional."""
    return round(float(np.polyfit(np.log(x), np.log(seconds), 1)[0]), 3)


def _compared(seconds: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Each contender's times, and their ratio to either model of ours."""
    return {
        name: summary(own) | {f"to_{model}": ratio(own, seconds[model]) for model in MODELS}
        for name, own in seconds.items()
    }


def _path_of(name: str) -> Path:
    found = find(name)
    return found if isinstance(found, Path) else found.path


def _timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _rounded(seconds: Sequence[float]) -> list[float]:
    return [round(second, 4) for second in seconds]
