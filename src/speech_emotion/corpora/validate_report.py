"""A census for people. In: a Census. Out: tables for a terminal, and one picture."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from speech_emotion.corpora.manifest import Corpus
from speech_emotion.corpora.validate import UNSPECIFIED, Census, intensity
from speech_emotion.errors import CorpusError
from speech_emotion.extras import require

if TYPE_CHECKING:
    from rich.console import RenderableType

SEX_COLOURS: Final = {"female": "#b2456e", "male": "#3b7a9e", "unknown": "#8a8a8a"}
SEX_SIGNS: Final = {"female": "♀", "male": "♂", "unknown": "–"}
LEVELS: Final = ("low", "normal", "medium", "strong", "high", UNSPECIFIED)
LEVEL_COLOURS: Final = ("#cfd8a8", "#93ad4f", "#55732b", "#c9c9c9")
INK: Final = "#222222"
ALARM: Final = "#d1495b"
MOST_NUMBERED_SPEAKERS: Final = 32
MOST_LETTERS: Final = 140  # of the names below a picture


def overview(corpora: Iterable[Corpus]) -> "RenderableType":
    """One row a corpus, and where each has its home."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    known = list(corpora)

    table = Table(box=SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("language")
    for name in ("clips", "speakers", "labels"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("licence")
    table.add_column("source", no_wrap=True)
    for corpus in known:
        table.add_row(
            corpus.name,
            corpus.language,
            str(corpus.n_clips),
            str(corpus.n_speakers),
            str(len(corpus.labels)),
            corpus.licence,
            "download" if corpus.archive else "by hand",
        )
    width = max(len(corpus.name) for corpus in known)
    homes = [Text(f"{corpus.name:{width}}  {corpus.homepage}") for corpus in known]
    return Group(table, Text("\nwhere to get it", style="bold"), *homes)


def tables(census: Census, *, n_shown: int = 10) -> "RenderableType":
    """Emotions, speakers, and what differs from the publication."""
    from rich.console import Group

    return Group(_emotion_table(census), _speaker_table(census), *_findings(census, n_shown))


def _emotion_table(census: Census) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    published = census.corpus.labels
    here = Counter(clip.label for clip in census.clips)
    columns = {**census.counts(lambda clip: clip.sex), **_intensities(census)}
    title = f"{census.corpus.title}: {len(census.clips)} clips, {census.seconds / 60:.0f} min"
    table = Table(title=title, title_justify="left", show_footer=True, box=SIMPLE_HEAD)
    table.add_column("emotion", footer="all")
    table.add_column("clips", justify="right", footer=str(here.total()))
    table.add_column("published", justify="right", footer=str(census.corpus.n_clips))
    for name, counts in columns.items():
        table.add_column(name, justify="right", footer=str(counts.total()))
    for label in census.labels:
        style = "" if here[label] == published[label] else "bold red"
        others = [str(counts[label]) for counts in columns.values()]
        table.add_row(label, str(here[label]), str(published[label]), *others, style=style)
    return table


def _speaker_table(census: Census) -> Any:
    """One row for all speakers with the same counts."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=_n_speakers(census), title_justify="left", box=SIMPLE_HEAD, padding=0)
    table.add_column("speakers", min_width=9)
    table.add_column(" clips", justify="right", no_wrap=True)
    for label in census.labels:
        table.add_column(f" {label}", justify="right", no_wrap=True)
    published = Counter[str]()
    for (speaker, _), n in census.corpus.cells.items():
        published[speaker] += n
    sexes = _sexes(census)
    here = census.counts(lambda clip: clip.speaker)
    rows: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for speaker in _speakers(census):
        counts = here.get(speaker, Counter())
        total = _cell(counts.total(), published[speaker])
        cells = (
            _cell(counts[label], census.corpus.cells.get((speaker, label), 0)) for label in census.labels
        )
        rows[sexes.get(speaker, "absent"), total, *cells].append(speaker)
    for (sex, *row), speakers in rows.items():
        table.add_row(f"{sex}: {' '.join(speakers)}", *row)
    return table


def _cell(n: int, published: int) -> str:
    return str(n) if n == published else f"[bold red]{n}/{published}[/]"


def _findings(census: Census, n_shown: int) -> list[Any]:
    from rich.text import Text

    findings = {
        "missing": census.missing,
        "damaged": [f"{path}: {reason}" for path, reason in census.damaged.items()],
        "not of the publication": census.extra,
        "the same sound": [" = ".join(paths) for paths in census.duplicates],
        "the same sound, as published": [" = ".join(paths) for paths in census.known_duplicates],
        "left out": [f"{n} × {reason}" for reason, n in census.skipped.items()],
        **{f"worth a look, {warning}": paths for warning, paths in census.flagged.items()},
    }
    lines = [] if census.gaps or census.extra else [Text("Every published clip is here.", style="green")]
    for name, items in findings.items():
        if items:
            lines.append(Text(f"{name}: {len(items)}", style="bold"))
            lines += [Text(f"  {_printable(item)}") for item in items[:n_shown]]
            if len(items) > n_shown:
                lines.append(Text(f"  … and {len(items) - n_shown} more"))
    return lines


def require_picture() -> None:
    """MissingExtraError where nothing can be drawn."""
    require("matplotlib", extra="train", needed_for="The picture of a census")


def draw(census: Census, path: Path) -> None:
    """One picture: clips by emotion and sex, by intensity, their lengths, and every speaker × emotion."""
    require_picture()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.6), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 1, height_ratios=(1, 1.1), hspace=0.04)
    levels = _intensities(census)
    top = grid[0].subgridspec(1, 3 if levels else 2)
    panels = [figure.add_subplot(top[0, column]) for column in range(top.ncols)]
    _draw_bars(panels[0], census, census.counts(lambda clip: clip.sex), SEX_COLOURS, "By sex")
    if levels:
        _draw_bars(panels[1], census, levels, dict(zip(levels, LEVEL_COLOURS, strict=False)), "By intensity")
    _draw_lengths(panels[-1], census)
    _draw_speakers(figure.add_subplot(grid[1]), census)
    figure.suptitle(_headline(census), x=0.01, ha="left", fontsize=14, fontweight="bold", color=INK)
    try:
        figure.savefig(path, dpi=120, metadata={"Title": _headline(census)})
    except (OSError, ValueError) as error:
        raise CorpusError(
            f"{path} was not drawn ({error}). Name a .png or .svg file in a folder that is there."
        ) from error


def _headline(census: Census) -> str:
    differences = {
        "missing": len(census.missing),
        "damaged": len(census.damaged),
        "not of the publication": len(census.extra),
    }
    verdict = ", ".join(f"{n} {name}" for name, n in differences.items() if n) or "as published"
    return (
        f"{census.corpus.title}: {len(census.clips)} of {census.corpus.n_clips} clips, "
        f"{_n_speakers(census)}, {census.seconds / 60:.0f} min — {verdict}"
    )


def _draw_bars(
    axes: Any, census: Census, columns: Mapping[str, Counter[str]], colours: Mapping[str, str], title: str
) -> None:
    """Stacked bars, one an emotion; a thin line marks what was published."""
    published = census.corpus.labels
    positions = range(len(census.labels))
    left = [0] * len(census.labels)
    for name, counts in columns.items():
        widths = [counts[label] for label in census.labels]
        bars = axes.barh(positions, widths, left=left, color=colours[name], label=name, height=0.7)
        texts = [str(width) if width else "" for width in widths]
        is_dark = colours[name] in (*SEX_COLOURS.values(), LEVEL_COLOURS[2])
        axes.bar_label(bars, texts, label_type="center", color="white" if is_dark else INK, fontsize=8)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    for position, label in zip(positions, census.labels, strict=True):
        axes.plot([published[label]] * 2, [position - 0.42, position + 0.42], color=INK, linewidth=1.5)
    axes.set_yticks(positions, census.labels)
    axes.invert_yaxis()
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.set_xlabel("clips (line: published)", fontsize=8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(labelsize=8, left=False)
    axes.legend(
        frameon=False,
        fontsize=7,
        ncols=4,
        loc="lower right",
        bbox_to_anchor=(1, 0.98),
        borderaxespad=0,
        columnspacing=0.7,
        handlelength=0.8,
        handletextpad=0.4,
    )


def _draw_lengths(axes: Any, census: Census) -> None:
    axes.hist(
        [sound.seconds for sound in census.sounds.values() if not sound.error], bins=30, color="#7d8a93"
    )
    axes.set_title("By length", loc="left", fontsize=10, color=INK)
    axes.set_xlabel("seconds", fontsize=8)
    axes.set_ylabel("clips", fontsize=8)
    axes.set_xlim(left=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def _draw_speakers(axes: Any, census: Census) -> None:
    """A tile for every speaker and emotion; a red frame where clips are missing or too many."""
    here = census.counts(lambda clip: clip.speaker)
    cells, speakers, sexes = census.corpus.cells, _speakers(census), _sexes(census)
    counts = [[here.get(speaker, Counter())[label] for speaker in speakers] for label in census.labels]
    axes.imshow(counts, cmap="Blues", aspect="auto", vmin=0, vmax=2.5 * max(map(max, counts)))
    for row, label in enumerate(census.labels):
        for column, speaker in enumerate(speakers):
            if len(speakers) <= MOST_NUMBERED_SPEAKERS:
                axes.text(column, row, counts[row][column], ha="center", va="center", fontsize=8, color=INK)
            if counts[row][column] != cells.get((speaker, label), 0):
                axes.add_patch(_frame(column, row))
    most_names = min(MOST_NUMBERED_SPEAKERS, MOST_LETTERS // max(map(len, speakers)))
    step = -(-len(speakers) // most_names)
    shown = speakers[::step]
    axes.set_xticks(
        range(0, len(speakers), step),
        [f"{speaker}\n{SEX_SIGNS[sexes.get(speaker, 'unknown')]}" for speaker in shown],
    )
    for tick, speaker in zip(axes.get_xticklabels(), shown, strict=True):
        tick.set_color(SEX_COLOURS[sexes.get(speaker, "unknown")])
    axes.set_yticks(range(len(census.labels)), census.labels)
    for edges, draw_line in ((len(speakers), axes.axvline), (len(census.labels), axes.axhline)):
        for edge in range(1, edges):
            draw_line(
                edge - 0.5, color="white", linewidth=2 if len(speakers) <= MOST_NUMBERED_SPEAKERS else 0.6
            )
    axes.set_title(
        "Clips of each speaker; a red frame where the publication has another number",
        loc="left",
        fontsize=10,
        color=INK,
    )
    axes.spines[:].set_visible(False)
    axes.tick_params(labelsize=8 if len(shown) <= 30 else 6, length=0)


def _frame(column: int, row: int) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.46, row - 0.46), 0.92, 0.92, fill=False, edgecolor=ALARM, linewidth=1.6)


def _intensities(census: Census) -> Mapping[str, Counter[str]]:
    """Nothing where the corpus has no intensities."""
    columns = census.counts(intensity)
    return {level: columns[level] for level in LEVELS if level in columns} if len(columns) > 1 else {}


def _speakers(census: Census) -> list[str]:
    """All that are here or should be."""
    return sorted({*_sexes(census), *(speaker for speaker, _ in census.corpus.cells)})


def _sexes(census: Census) -> Mapping[str, str]:
    return {clip.speaker: clip.sex for clip in census.clips}


def _n_speakers(census: Census) -> str:
    n_speakers = len(_sexes(census))
    return f"{n_speakers} speaker{'s' if n_speakers != 1 else ''}"


def _printable(text: str) -> str:
    """A file name may hold bytes that are no text, or steer the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
