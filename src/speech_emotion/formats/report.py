"""Answers as one HTML file to share. In: what is known of each recording. Out: a page that needs nothing else.

It holds no sound, no script and no link to another file, and opens in any browser.
"""

import html
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TextIO

from speech_emotion.formats.cards import STYLE, answer_card, bars, error_card, outcome_key
from speech_emotion.formats.look import face, name
from speech_emotion.formats.rows import Outcome
from speech_emotion.formats.summary import in_words, key_of, strip
from speech_emotion.merge import merge
from speech_emotion.prediction import Prediction
from speech_emotion.segments import Segment
from speech_emotion.text import clock, percent, printable
from speech_emotion.version import PROGRAM

LIMITS: Final = (
    "The model names which emotion a voice sounds like, as an actor would express it. It does not read what a person "
    "feels, and on voices it never heard it is often wrong. Do not use it to make decisions about people."
)
_STYLE: Final = """
:root { color-scheme: light dark; }
body { max-width: 860px; margin: 2rem auto; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.7rem; } h2 { margin: 2.5rem 0 .6rem; font-size: 1.25rem; overflow-wrap: anywhere; }
h3 { margin: 1.2rem 0 .4rem; font-size: 1rem; }
.note { opacity: .85; font-size: .92rem; } .both { display: grid; gap: 1rem 1.6rem; margin: .8rem 0; }
@media (min-width: 700px) { .both { grid-template-columns: 2fr 3fr; } }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .25rem .6rem .25rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid #8884; }
.scroll { overflow-x: auto; } li { overflow-wrap: anywhere; }
ul.counts { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; padding: 0; list-style: none; }
"""


class Channel(NamedTuple):
    """The answer for one channel of a recording, with its title and how far to trust it."""

    title: str
    answer: Prediction
    caveat: str = ""


class Section(NamedTuple):
    """One recording of a report.

    Attributes:
        source: Its name.
        answer: The answer for all of it, if there is one.
        problem: Why it could not be read, if so.
        seconds: Its length.
        stretches: Its stretches of one emotion, of all channels.
        rows: What its table lists: answers, each with the given segment it is about, if any.
        remarks: Sentences about it.
        channels: The answers for its channels, which are shown before that for all of it.
    """

    source: str
    answer: Prediction | None = None
    problem: str = ""
    seconds: float = 0.0
    stretches: Sequence[Prediction] = ()
    rows: Sequence[tuple[Prediction, Segment | None]] = ()
    remarks: Sequence[str] = ()
    channels: Sequence[Channel] = ()


def write_html(outcomes: Iterable[Outcome], out: TextIO, columns: Sequence[str]) -> None:  # noqa: ARG001
    """Write a report on the answers, a section per source, once all are known."""
    by_source: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_source.setdefault(outcome.source, []).append(outcome)
    sections = [_section(source, of_source) for source, of_source in by_source.items()]
    out.write(document(sections, [PROGRAM]))


def document(sections: Sequence[Section], facts: Sequence[str]) -> str:
    """Return the whole report.

    Args:
        sections: One per recording.
        facts: What made the answers: program, model, settings.
    """
    what = sections[0].source if len(sections) == 1 else f"{len(sections)} recordings"
    parts = [f"<h1>Emotion in the voice: {_text(what)}</h1>", f"<p class='note'>{_text(LIMITS)}</p>"]
    if len(sections) > 1:
        parts += [_counts(sections), _overview(sections)]
    parts += [_of_one(section) for section in sections]
    parts.append("<h2>How it was made</h2><ul class='note'>")
    parts += [f"<li>{_text(fact)}</li>" for fact in facts]
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{_text(what)} · speech-emotion</title><style>{STYLE}{_STYLE}</style></head><body><main>"
        + "\n".join(parts)
        + "</ul></main></body></html>\n"
    )


def _section(source: str, outcomes: Sequence[Outcome]) -> Section:
    problem = next((str(one.error) for one in outcomes if one.error), "")
    rows = [(one.prediction, one.segment) for one in outcomes if one.prediction]
    if not rows:
        return Section(source, problem=problem)
    seconds = max(answer.end_seconds for answer, _ in rows)
    if len(rows) == 1 and rows[0][1] is None:
        return Section(source, rows[0][0], problem, seconds)
    stretches = list(merge(answer for answer, _ in rows))
    return Section(source, None, problem, seconds, stretches, rows)


def _counts(sections: Sequence[Section]) -> str:
    keys = Counter(outcome_key(section.answer) for section in sections if section.answer or section.problem)
    items = [
        f"<li>{face(key)} {_text(name(key))}: {n} ({percent(n / keys.total())})</li>"
        for key, n in keys.most_common()
    ]
    return f"<ul class='counts'>{''.join(items)}</ul>" if items else ""


def _overview(sections: Sequence[Section]) -> str:
    rows = []
    for section in sections:
        said, share = section.problem, ""
        if section.answer:
            said = name(key_of(section.answer))
            share = percent(section.answer.confidence) if section.answer.confidence is not None else ""
        rows.append((section.source, said, share, clock(section.seconds) if section.seconds else ""))
    return _table("Recordings", ("recording", "answer", "probability", "length"), rows)


def _of_one(section: Section) -> str:
    parts = [f"<h2>{_text(section.source)}</h2>"]
    if section.problem:
        parts.append(error_card(printable(section.problem)))
    for title, answer, caveat in section.channels:
        parts.append(f"<h3>{_text(title)}</h3>{_card(answer, caveat)}")
    if section.channels and section.answer:
        parts.append("<h3>The mix of all channels</h3>")
    if section.answer:
        parts.append(_card(section.answer))
    parts += [f"<p class='note'>{_text(remark)}</p>" for remark in section.remarks]
    if section.stretches:
        lanes = lanes_of(section.stretches)
        parts += [
            f"<p>{_text(f'{lane}: ' if lane else '')}{_text(in_words(of, section.seconds))}</p>"
            for lane, of in lanes.items()
        ]
        parts.append(strip(lanes, section.seconds))
    if section.rows:
        parts.append(_answers(section.rows))
    return "\n".join(parts)


def _card(answer: Prediction, caveat: str = "") -> str:
    return f"<div class='both'>{answer_card(answer, caveat=caveat)}{bars(answer)}</div>"


def lanes_of(stretches: Iterable[Prediction]) -> dict[str, list[Prediction]]:
    """Stretches by their channel; "" for the mix."""
    lanes: dict[str, list[Prediction]] = {}
    for one in stretches:
        lanes.setdefault(one.channel or "", []).append(one)
    return lanes


def _answers(rows: Sequence[tuple[Prediction, Segment | None]]) -> str:
    table = [
        (
            clock(answer.start_seconds),
            clock(answer.end_seconds),
            " ".join(filter(None, [answer.channel, segment.speaker if segment else ""])),
            name(key_of(answer)),
            percent(answer.confidence) if answer.confidence is not None else "",
            (segment.text if segment else "") or "",
        )
        for answer, segment in rows
    ]
    return _table("Answers", ("from", "to", "who", "answer", "probability", "words"), table)


def _table(label: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table without the columns that are empty."""
    used = [place for place in range(len(head)) if any(row[place] for row in rows)]
    first = "".join(f"<th scope='col'>{_text(head[place])}</th>" for place in used)
    body = "".join(f"<tr>{''.join(f'<td>{_text(row[place])}</td>' for place in used)}</tr>" for row in rows)
    table = f"<table><thead><tr>{first}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div class='scroll' tabindex='0' role='region' aria-label='{_text(label)}'>{table}</div>"


def _text(text: str) -> str:
    return html.escape(printable(text))
