"""docs/performance.md and its picture. In: results/benchmarks/speed.json and tried.md. Out: Markdown; SVG bytes."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from speed.goals import worst_stage
from speed.measure import CONTENDERS, LIVE_SECONDS, MODELS

PAGE: Final = "docs/performance.md"
PICTURE: Final = "docs/figures/speed.svg"
TRIED: Final = Path(__file__).with_name("tried.md")
COLUMNS: Final = {"median_ms": "median", "p99_ms": "99 %", "floor_ms": "floor", "times_floor": "time / floor"}
TITLES: Final = {
    "ours": "speech-emotion, both models",
    "librosa-torch": "librosa, torch (CPU)",
    "librosa-keras": "librosa, TensorFlow (CPU)",
    "opensmile": "openSMILE, scikit-learn",
    "wav2vec2": "librosa, torch (CPU), transformers, ONNX Runtime",
    "kaldi": "kaldi-native-fbank, ONNX Runtime",
}
Report = Mapping[str, Any]


def page(report: Report) -> str:
    """The whole page."""
    parts = [
        _opening(report),
        "## Goals\n",
        table_of_goals(report),
        "## A warm answer\n",
        "A 48 kHz file of 3.5 s in, an answer out, in a process that has answered before, on one core. Milliseconds "
        "with quartiles; the ratios are medians of the ratios of the rounds.\n",
        "![Milliseconds of a warm answer, on a logarithmic axis](figures/speed.svg)\n",
        _compared(report["warm"]),
        _two_at_once(report),
        "## A cold process\n",
        "From the start of a process to its end, with the answer for the same file.\n",
        _compared(report["cold"]),
        "## Each stage, and what the core could do\n",
        _stages(report),
        TRIED.read_text(encoding="utf-8"),
        "## Many files, long files, live sound\n",
        _amounts(report),
        "## Size\n",
        _footprints(report["footprints"]),
    ]
    return "\n".join(parts).rstrip("\n") + "\n"


def table_of_goals(report: Report) -> str:
    """Each goal, its value and whether it is met."""
    rows = [
        (
            goal["name"],
            _number(goal["value"]),
            f"≤ {_number(goal['bound'])}",
            "yes" if goal["met"] else "**no**",
        )
        for goal in report["goals"]
    ]
    return _table(("goal", "measured", "bound", "met"), rows)


def _opening(report: Report) -> str:
    loads = report["load_averages"].values()
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    return (
        "# Performance\n\n"
        "How fast this package answers, beside what you would build or install instead. All tables but those under "
        f"[what was tried](#what-was-tried) are measured by `{report['command']}` at {report['commit']}, "
        f"Python {report['python']}, {versions}. "
        f"Machine: {report['processor']}, {report['machine']}, load "
        f"{min(loads)} to {max(loads)} before each step. What is compared with each other is measured in turns. "
        "`python benchmarks/speed.py setup ENVS` makes an environment for each contender; their networks have random "
        "weights, because the size of a network decides its speed. The numbers: "
        "[speed.json](../results/benchmarks/speed.json).\n"
        + "".join(f"\n- {note}" for note in report.get("notes", ()))
        + ("\n" if report.get("notes") else "")
    )


def _compared(found: Report) -> str:
    rows = [
        (
            CONTENDERS[name].title,
            f"{_number(row['median_ms'])} [{_number(row['low_ms'])}, {_number(row['high_ms'])}]",
            _number(row["p99_ms"]),
            *(_times(row[f"to_{model}"]) for model in MODELS),
        )
        for name, row in found.items()
    ]
    return _table(("", "ms", "99 %", *(f"times {model}" for model in MODELS)), rows)


def _times(ratio: Report) -> str:
    return f"{_number(ratio['median'])} [{_number(ratio['low'])}, {_number(ratio['high'])}]"


def _two_at_once(report: Report) -> str:
    texts = [
        f"{CONTENDERS[name].title.strip('*')} takes {_number(row['median_ms'])} ms (99 %: {_number(row['p99_ms'])})"
        for name, row in report["two_at_once"].items()
    ]
    return f"With two processes at once, one on each core: {'; '.join(texts)}.\n"


def _stages(report: Report) -> str:
    rate = report["stages"]["rates"]
    rows = [
        (f"{group}: {name}", *(_number(row[key]) for key in COLUMNS), _number(row.get("times_float_floor")))
        for group, stages in report["stages"].items()
        if group != "rates"
        for name, row in stages.items()
    ]
    worst, times = worst_stage(report["stages"])
    return (
        f"The core multiplies matrices at {rate['sgemm'] / 1e9:.0f} GFLOP/s in float32 and at "
        f"{rate['int8_gemm'] / 1e9:.0f} G operations/s in int8, and copies {rate['memcpy'] / 1e9:.1f} GB/s, in "
        "the same run. The floor of a stage is its multiplications at these rates, or its bytes at that of copying if "
        "that takes longer. Weights stored as int8 count at the rate of int8, even if they are multiplied as float32: "
        "the last column has the floor of float32. The graph is the one that ONNX Runtime runs after its own "
        "optimisation. Milliseconds:\n\n"
        + _table(("stage", *COLUMNS.values(), "time / float32 floor"), rows)
        + f"\nOf the stages that take 2 % of an answer or more, the worst is the **{worst}**, {_number(times)} times "
        "its floor.\n"
    )


def _amounts(report: Report) -> str:
    throughput, hour, training = (report[name] for name in ("throughput", "hour", "training"))
    growth = report.get("growth")
    files = [
        (CONTENDERS[name].title, *(_number(row.get(f"files_per_second_{n}")) for n in (1, 2)))
        for name, row in throughput.items()
        if name != "n_clips"
    ]
    live = [
        (
            CONTENDERS[name].title,
            f"{100 * row['core_share']:.1f} %",
            _times(row["to_before"]) if "to_before" in row else "",
        )
        for name, row in report["live"].items()
    ]
    return "\n".join(
        (
            f"Files per second over {throughput['n_clips']} clips of the RAVDESS (16 kHz FLAC; "
            "peers over a tenth of them):\n",
            _table(("", "one core", "two cores"), files),
            f"A recording of one hour takes {_number(hour['seconds'])} s on one core "
            f"with compact, and its process {hour['peak_mib']} MiB at most.\n",
            f"A live stream of {LIVE_SECONDS:.0f} s at 48 kHz with two answers per second from its fourth second on:\n",
            _table(("", "share of a core", "times the CPU before"), live),
            f"`corpora prepare` of the RAVDESS takes {_number(training['prepare_seconds'])} s on one core, an epoch of "
            f"the CNN {_number(training['epoch_seconds'])} s.\n",
            _growth(growth) if growth else "",
        )
    )


def _growth(found: Report) -> str:
    return (
        f"CPU time grows with the length of a recording to the power of {found['length']['exponent']} (8 to 128 s), "
        f"and with the number of files to the power of {found['files']['exponent']} (8 to 64).\n"
    )


def _footprints(found: Report) -> str:
    rows = [
        (TITLES[name], _number(row["mb"]), str(row["packages"]), _number(row.get("import_cpu_ms")))
        for name, row in found.items()
    ]
    return _table(("environment", "MB", "packages", "import, ms of CPU"), rows)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = tuple(head)
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _number(value: float | None) -> str:
    """Three digits; nothing for nothing."""
    if value is None:
        return ""
    text = f"{value:.3g}"
    return f"{value:.0f}" if "e" in text else text


def picture(report: Report) -> bytes:
    """Milliseconds of a warm answer of every contender, fastest on top, with quartiles, as SVG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    rows = sorted(report["warm"].items(), key=lambda item: -item[1]["median_ms"])
    names = [CONTENDERS[name].title.strip("*") for name, _ in rows]
    medians = [row["median_ms"] for _, row in rows]
    spread = [
        [row["median_ms"] - row["low_ms"] for _, row in rows],
        [row["high_ms"] - row["median_ms"] for _, row in rows],
    ]
    colours = ["#1f77b4" if name in MODELS else "#b0b0b0" for name, _ in rows]
    with mpl.rc_context({"svg.hashsalt": "speed", "font.size": 9}):
        figure, axes = pyplot.subplots(figsize=(7.5, 3.8), layout="constrained")
        axes.barh(names, medians, xerr=spread, color=colours)
        axes.set_xscale("log")
        axes.set_xlabel("milliseconds for a file of 3.5 s, one core")
        axes.spines[["top", "right"]].set_visible(False)
        for index, median in enumerate(medians):
            axes.annotate(
                f" {_number(median)}", (median, index), (6, 0), textcoords="offset points", va="center"
            )
        image = io.BytesIO()
        figure.savefig(image, format="svg", metadata={"Date": None})
        pyplot.close(figure)
    return image.getvalue()
