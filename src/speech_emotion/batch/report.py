"""The report of a batch. In: its summary. Out: one HTML file that needs nothing else.

It loads nothing, from nowhere: the picture is made of text and CSS, and there is no script.
"""

from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Final

from speech_emotion.batch.part import Settings
from speech_emotion.batch.summary import Note, distribution
from speech_emotion.files import write_atomically
from speech_emotion.text import printable

_STYLE: Final = """
:root { color-scheme: light dark; --bar: #3b6fb6; --line: #8886; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin-bottom: 2rem; }
caption { text-align: left; font-size: 1.25rem; font-weight: 600; padding: 0.5rem 0; }
th, td { text-align: left; padding: 0.25rem 0.75rem 0.25rem 0; border-bottom: 1px solid var(--line); }
th, td { vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.picture { width: 45%; }
.bar { background: var(--bar); height: 1rem; min-width: 1px; }
td.text { overflow-wrap: anywhere; }
"""
_LIMITS: Final = (
    "The model scores how acted voices sound; it does not read what a person feels. "
    "Do not use it to decide about people."
)


def write_html(note: Note, settings: Settings, path: Path) -> None:
    """Write the report into `path`.

    Raises:
        OSError: It cannot be written.
    """
    write_atomically(path, to_html(note, settings).encode())


def to_html(note: Note, settings: Settings) -> str:
    """The report of a batch."""
    info = settings.classifier.info
    facts = [
        ("answered", f"{note.n_inputs - note.n_failed:,} of {note.n_inputs:,} inputs"),
        ("sound", f"{note.audio_seconds / 3600:,.2f} h"),
        ("rows", f"{note.n_rows:,}, one per {'window' if settings.timeline else 'sound'}"),
        ("work", f"{note.work_seconds / 3600:,.2f} h of one process"),
        ("model", f"{info.name}, {info.sha256[:12]}"),
    ]
    n_scored = sum(n for _, _, n in distribution(note)) or 1
    bars = "".join(
        f'<tr><th scope="row">{icon} {_text(name)}</th>'
        f'<td class="picture"><div class="bar" style="width: {100 * n / n_scored:.2f}%"></div></td>'
        f'<td class="number">{n:,}</td><td class="number">{100 * n / n_scored:.1f} %</td></tr>'
        for icon, name, n in distribution(note)
    )
    sections = [
        f"<p>{_LIMITS}</p>",
        _table("What was done", ("", ""), facts),
        f"<table><caption>What was found</caption>{bars}</table>" if bars else "",
        _table("Slowest", ("path", "seconds"), [(path, f"{s:.2f}") for s, path in note.slowest]),
        _table("Failed", ("error", "inputs"), [(code, f"{n:,}") for code, n in note.errors.items()]),
        _table(_first_failed(note), ("path", "error", "message"), note.failed),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Emotions of {note.n_inputs:,} recordings</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>Emotions of {note.n_inputs:,} recordings</h1>\n"
        + "\n".join(sections)
        + "\n</body></html>\n"
    )


def _first_failed(note: Note) -> str:
    return (
        "Failed inputs"
        if note.n_failed == len(note.failed)
        else f"The first {len(note.failed)} failed inputs"
    )


def _table(title: str, names: tuple[str, ...], rows: Iterable[Iterable[str]]) -> str:
    body = "".join(
        "<tr>" + "".join(f'<td class="text">{_text(cell)}</td>' for cell in row) + "</tr>" for row in rows
    )
    head = "".join(f'<th scope="col">{_text(name)}</th>' for name in names)
    return f"<table><caption>{_text(title)}</caption><tr>{head}</tr>{body}</table>" if body else ""


def _text(text: str) -> str:
    return escape(printable(text))
