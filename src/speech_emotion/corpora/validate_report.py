"""A CorpusReport for people. In: a CorpusReport. Out: tables for a terminal, and one picture."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from speech_emotion.corpora.manifest import Corpus
from speech_emotion.corpora.validate import UNSPECIFIED, CorpusReport, intensity
from speech_emotion.errors import CorpusError
from speech_emotion.extras import require
from speech_emotion.text import printable

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

SEX_COLOURS: Final = {"female": "#b2456e", "male": "#3b7a9e", "unknown": "#8a8a8a"}
SEX_SIGNS: Final = {"female": "♀", "male": "♂", "unknown": "–"}
LEVELS: Final = ("low", "normal", "medium", "strong", "high", UNSPECIFIED)
LEVEL_COLOURS: Final = ("#cfd8a8", "#93ad4f", "#55732b", "#c9c9c9")
DARK_COLOURS: Final = (*SEX_COLOURS.values(), LEVEL_COLOURS[2])
INK: Final = "#222222"
ALARM: Final = "#d1495b"
MAX_NUMBERED_SPEAKERS: Final = 32
MAX_LETTERS: Final = 140  # of the names below a picture


def overview(corpora: Iterable[Corpus]) -> "RenderableType":
    """One row per corpus, and below the table where to get each."""
    from rich.console import Group
    from rich.text import Text

    known = list(corpora)
    table = _table(padding=0, show_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("language")
    for name in ("clips", "speakers", "labels"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("licence")
    table.add_column("source", no_wrap=True)
    for corpus in known:
        numbers = map(str, (corpus.n_clips, corpus.n_speakers, len(corpus.labels)))
        source = "download" if corpus.archive else "by hand"
        table.add_row(corpus.name, corpus.language, *numbers, corpus.licence, source)
    width = max(len(corpus.name) for corpus in known)
    homes = [Text(f"{corpus.name:{width}}  {corpus.homepage}") for corpus in known]
    return Group(table, Text("\nwhere to get it", style="bold"), *homes)


def tables(report: CorpusReport, *, n_shown: int = 10) -> "RenderableType":
    """Emotions, speakers, and what differs from the publication."""
    from rich.console import Group

    return Group(_emotion_table(report), _speaker_table(report), *_findings(report, n_shown))


def _table(**options: Any) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    return Table(box=SIMPLE_HEAD, title_justify="left", **options)


def _emotion_table(report: CorpusReport) -> "Table":
    here, published = Counter(clip.label for clip in report.clips), report.corpus.labels
    columns = {"clips": here, report.corpus.reference: published, **_by_sex(report), **_by_intensity(report)}
    title = f"{report.corpus.title}: {len(report.clips)} clips, {report.seconds / 60:.0f} min"
    table = _table(title=title, show_footer=True)
    table.add_column("emotion", footer="all")
    for name, counts in columns.items():
        table.add_column(name, justify="right", footer=str(counts.total()))
    for label in report.labels:
        style = "" if here[label] == published[label] else "bold red"
        table.add_row(label, *(str(counts[label]) for counts in columns.values()), style=style)
    return table


def _speaker_table(report: CorpusReport) -> "Table":
    """One row for all speakers with the same counts."""
    table = _table(title=_n_speakers(report), padding=0)
    table.add_column("speakers", min_width=9)
    for name in ("clips", *report.labels):
        table.add_column(f" {name}", justify="right", no_wrap=True)
    here = report.counts(lambda clip: clip.speaker)
    published: dict[str, Counter[str]] = defaultdict(Counter)
    for (speaker, label), n in report.corpus.counts.items():
        published[speaker][label] = n
    sexes = _sexes(report)
    rows: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for speaker in _speakers(report):
        counts, expected = here.get(speaker, Counter[str]()), published[speaker]
        cells = [_cell(counts[label], expected[label]) for label in report.labels]
        total = _cell(counts.total(), expected.total())
        rows[sexes.get(speaker, "absent"), total, *cells].append(speaker)
    for (sex, *row), speakers in rows.items():
        table.add_row(f"{sex}: {' '.join(speakers)}", *row)
    return table


def _cell(n: int, published: int) -> str:
    return str(n) if n == published else f"[bold red]{n}/{published}[/]"


def _findings(report: CorpusReport, n_shown: int) -> list[Any]:
    from rich.text import Text

    findings = {
        "missing": report.missing,
        "damaged": [f"{path}: {reason}" for path, reason in report.damaged.items()],
        "not of the publication": report.extra,
        "the same sound": [" = ".join(paths) for paths in report.duplicates],
        f"the same sound, as {report.corpus.reference}": [
            " = ".join(paths) for paths in report.known_duplicates
        ],
        "left out": [f"{n} × {reason}" for reason, n in report.skipped.items()],
        **{f"worth a look, {warning}": paths for warning, paths in report.flagged.items()},
    }
    is_complete = not (report.gaps or report.extra)
    lines = [Text(f"Every {report.corpus.reference} clip is here.", style="green")] if is_complete else []
    for name, items in findings.items():
        if items:
            lines.append(Text(f"{name}: {len(items)}", style="bold"))
            lines += [Text(f"  {printable(item)}") for item in items[:n_shown]]
            if len(items) > n_shown:
                lines.append(Text(f"  … and {len(items) - n_shown} more"))
    return lines


def require_picture() -> None:
    """MissingExtraError if pictures cannot be drawn."""
    require("matplotlib", extra="train", needed_for="The picture of a check")


def draw(report: CorpusReport, path: Path) -> None:
    """One picture: clips by emotion and sex, by intensity, their lengths, and every speaker × emotion."""
    require_picture()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.6), layout="constrained", facecolor="white")
    grid = figure.add_gridspec(2, 1, height_ratios=(1, 1.1), hspace=0.04)
    levels = _by_intensity(report)
    top = grid[0].subgridspec(1, 3 if levels else 2)
    panels = [figure.add_subplot(top[0, column]) for column in range(top.ncols)]
    _draw_bars(panels[0], report, _by_sex(report), SEX_COLOURS, "By sex")
    if levels:
        _draw_bars(panels[1], report, levels, dict(zip(levels, LEVEL_COLOURS, strict=False)), "By intensity")
    _draw_lengths(panels[-1], report)
    _draw_speakers(figure.add_subplot(grid[1]), report)
    figure.suptitle(_headline(report), x=0.01, ha="left", fontsize=14, fontweight="bold", color=INK)
    try:
        figure.savefig(path, dpi=120, metadata={"Title": _headline(report)})
    except (OSError, ValueError) as error:
        raise CorpusError(
            f"{path} was not drawn ({error}). Name a .png or .svg file in an existing folder."
        ) from error


def _headline(report: CorpusReport) -> str:
    differences = {
        "missing": len(report.missing),
        "damaged": len(report.damaged),
        "not of the publication": len(report.extra),
    }
    verdict = (
        ", ".join(f"{n} {name}" for name, n in differences.items() if n) or f"as {report.corpus.reference}"
    )
    return (
        f"{report.corpus.title}: {len(report.clips)} of {report.corpus.n_clips} clips, "
        f"{_n_speakers(report)}, {report.seconds / 60:.0f} min — {verdict}"
    )


def _style(axes: Any, title: str, *, hidden_spines: tuple[str, ...]) -> None:
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.spines[[*hidden_spines]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.xaxis.label.set_size(8)
    axes.yaxis.label.set_size(8)


def _draw_bars(
    axes: Any,
    report: CorpusReport,
    columns: Mapping[str, Counter[str]],
    colours: Mapping[str, str],
    title: str,
) -> None:
    """Stacked bars, one per emotion; a thin line marks what was published."""
    labels = report.labels
    left = [0] * len(labels)
    for name, counts in columns.items():
        widths = [counts[label] for label in labels]
        bars = axes.barh(labels, widths, left=left, color=colours[name], label=name, height=0.7)
        ink = "white" if colours[name] in DARK_COLOURS else INK
        axes.bar_label(bars, [n or "" for n in widths], label_type="center", color=ink, fontsize=8)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    for position, label in enumerate(labels):
        axes.plot([report.corpus.labels[label]] * 2, [position - 0.42, position + 0.42], color=INK)
    axes.invert_yaxis()
    axes.set_xlabel(f"clips (line: {report.corpus.reference})")
    _style(axes, title, hidden_spines=("top", "right", "left"))
    axes.tick_params(left=False)
    spacing = {"borderaxespad": 0, "columnspacing": 0.7, "handlelength": 0.8, "handletextpad": 0.4}
    place: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1, 0.98)}
    axes.legend(frameon=False, fontsize=7, ncols=4, **place, **spacing)


def _draw_lengths(axes: Any, report: CorpusReport) -> None:
    axes.hist(
        [sound.seconds for sound in report.sounds.values() if not sound.error], bins=30, color="#7d8a93"
    )
    axes.set(xlabel="seconds", ylabel="clips")
    axes.set_xlim(left=0)
    _style(axes, "By length", hidden_spines=("top", "right"))


def _draw_speakers(axes: Any, report: CorpusReport) -> None:
    """A tile for every speaker and emotion; a red frame where clips are missing or too many."""
    from matplotlib.patches import Rectangle

    here, sexes, speakers = report.counts(lambda clip: clip.speaker), _sexes(report), _speakers(report)
    counts = [[here.get(speaker, Counter())[label] for speaker in speakers] for label in report.labels]
    has_room = len(speakers) <= MAX_NUMBERED_SPEAKERS
    axes.imshow(counts, cmap="Blues", aspect="auto", vmin=0, vmax=2.5 * max(map(max, counts)))
    for row, label in enumerate(report.labels):
        for column, speaker in enumerate(speakers):
            if has_room:
                axes.text(column, row, counts[row][column], ha="center", va="center", fontsize=8, color=INK)
            if counts[row][column] != report.corpus.counts.get((speaker, label), 0):
                corner = (column - 0.46, row - 0.46)
                axes.add_patch(Rectangle(corner, 0.92, 0.92, fill=False, edgecolor=ALARM, linewidth=1.6))
    title = "Clips of each speaker; a red frame where the publication has another number"
    _style(axes, title, hidden_spines=("top", "right", "left", "bottom"))
    step = -(-len(speakers) // min(MAX_NUMBERED_SPEAKERS, MAX_LETTERS // max(map(len, speakers))))
    shown = speakers[::step]
    signs = [f"{speaker}\n{SEX_SIGNS[sexes.get(speaker, 'unknown')]}" for speaker in shown]
    axes.set_xticks(range(0, len(speakers), step), signs)
    for tick, speaker in zip(axes.get_xticklabels(), shown, strict=True):
        tick.set_color(SEX_COLOURS[sexes.get(speaker, "unknown")])
    axes.set_yticks(range(len(report.labels)), report.labels)
    axes.tick_params(length=0)
    axes.set_xticks([column - 0.5 for column in range(1, len(speakers))], minor=True)
    axes.set_yticks([row - 0.5 for row in range(1, len(report.labels))], minor=True)
    axes.grid(which="minor", color="white", linewidth=2 if has_room else 0.6)
    axes.tick_params(which="minor", length=0)


def _by_sex(report: CorpusReport) -> Mapping[str, Counter[str]]:
    return report.counts(lambda clip: clip.sex)


def _by_intensity(report: CorpusReport) -> Mapping[str, Counter[str]]:
    """Empty if the corpus has no intensities."""
    columns = report.counts(intensity)
    return {level: columns[level] for level in LEVELS if level in columns} if len(columns) > 1 else {}


def _speakers(report: CorpusReport) -> list[str]:
    """All that are here or were published."""
    return sorted({*_sexes(report), *(speaker for speaker, _ in report.corpus.counts)})


def _sexes(report: CorpusReport) -> Mapping[str, str]:
    return {clip.speaker: clip.sex for clip in report.clips}


def _n_speakers(report: CorpusReport) -> str:
    n_speakers = len(_sexes(report))
    return f"{n_speakers} speaker{'s' if n_speakers != 1 else ''}"
