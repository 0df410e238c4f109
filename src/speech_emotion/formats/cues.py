"""Answers as subtitles and annotations of one recording. In: outcomes. Out: SRT, WebVTT, Audacity, TextGrid, RTTM.

Subtitles, labels and TextGrid cannot say that they are incomplete: they are written once every answer is known, and not
at all if the recording has an error. Abstentions are written as well.
"""

import html
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import Final, NamedTuple, TextIO

from speech_emotion.formats.rows import Outcome
from speech_emotion.text import printable

NOTHING: Final = "<NA>"  # of RTTM
TIER: Final = "emotion"


class _Cue(NamedTuple):
    """One answer: its times in milliseconds, and what is known about it, free of control characters."""

    start: int
    end: int
    channel: str
    speaker: str
    answer: str
    text: str


def write_srt(outcomes: Iterable[Outcome], out: TextIO, columns: Sequence[str]) -> None:  # noqa: ARG001
    """Write a subtitle per answer: the emotion, and below it who says what."""
    for number, cue in enumerate(_cues(outcomes), start=1):
        said = ": ".join(filter(None, (cue.speaker, cue.text)))
        lines = [_colon(cue.channel, cue.answer), said] if said else [_colon(cue.channel, cue.answer)]
        body = "\n".join(lines).replace("-->", "->")
        out.write(f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{body}\n\n")


def write_webvtt(outcomes: Iterable[Outcome], out: TextIO, columns: Sequence[str]) -> None:  # noqa: ARG001
    """Write a cue per answer: the emotion, and below it what is said, with the speaker as its voice."""
    cues = _cues(outcomes)
    out.write("WEBVTT\n\n")
    for cue in cues:
        channel, speaker, answer, text = (html.escape(part, quote=False) for part in cue[2:])
        said = f"<v {speaker}>{text}" if speaker else text
        lines = [_colon(channel, answer), *([said] if said else [])]
        out.write(f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n" + "\n".join(lines) + "\n\n")


def write_audacity(outcomes: Iterable[Outcome], out: TextIO, columns: Sequence[str]) -> None:  # noqa: ARG001
    """Write a label per answer, as Audacity imports them: start, end, text."""
    for cue in _cues(outcomes):
        out.write(f"{cue.start / 1000:.3f}\t{cue.end / 1000:.3f}\t{_on_one_line(*cue[2:])}\n")


def write_textgrid(outcomes: Iterable[Outcome], out: TextIO, columns: Sequence[str]) -> None:  # noqa: ARG001
    """Write a tier per channel and speaker. What overlaps within one goes to a further tier of its name."""
    cues = _cues(outcomes)
    tiers = _tiers(cues)
    end = max(cue.end for cue in cues)
    out.write(
        f'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = {end / 1000:.3f}\n'
        f"tiers? <exists>\nsize = {len(tiers)}\nitem []:\n"
    )
    for number, (name, tier) in enumerate(tiers.items(), start=1):
        intervals = _without_gaps(tier, end)
        out.write(
            f'    item [{number}]:\n        class = "IntervalTier"\n        name = {_quoted(name)}\n'
            f"        xmin = 0\n        xmax = {end / 1000:.3f}\n        intervals: size = {len(intervals)}\n"
        )
        for place, (first, last, text) in enumerate(intervals, start=1):
            out.write(
                f"        intervals [{place}]:\n            xmin = {first / 1000:.3f}\n"
                f"            xmax = {last / 1000:.3f}\n            text = {_quoted(text)}\n"
            )


def write_rttm(outcomes: Iterable[Outcome], out: TextIO, columns: Sequence[str]) -> None:  # noqa: ARG001
    """Write a line per answer as soon as it is known, in the form of RTTM: where it has a name stands the emotion."""
    try:
        for outcome in outcomes:
            if outcome.error:
                out.write(
                    f";; {printable(outcome.source)}: {printable(str(outcome.error))} ({outcome.error.code})\n"
                )
            elif outcome.prediction:
                out.write(_rttm_line(outcome))
            out.flush()
    except BaseException:
        out.write(";; interrupted: stopped here; the rest of the lines is missing\n")
        raise


def _rttm_line(outcome: Outcome) -> str:
    cue, answer = _cue(outcome), outcome.prediction
    name = "/".join(filter(None, (cue.speaker, (answer.label or answer.abstained) if answer else "")))
    channel = {"": "1", "mono": "1", "left": "1", "right": "2"}.get(cue.channel, cue.channel)
    confidence = f"{answer.confidence:.3f}" if answer and answer.confidence is not None else NOTHING
    times = f"{cue.start / 1000:.3f} {(cue.end - cue.start) / 1000:.3f}"
    source = printable(PurePath(outcome.source).stem)
    words = ("_".join(word.split()) or NOTHING for word in (source, name))
    source, name = words
    return f"SPEAKER {source} {channel} {times} {NOTHING} {NOTHING} {name} {confidence} {NOTHING}\n"


def _cues(outcomes: Iterable[Outcome]) -> list[_Cue]:
    """All of them, by start. Raises the error of a recording that has one."""
    cues = []
    for outcome in outcomes:
        if outcome.error:
            raise type(outcome.error)(f"{outcome.source}: {outcome.error}") from outcome.error
        cues.append(_cue(outcome))
    return sorted(cues, key=lambda cue: (cue.start, cue.end))


def _cue(outcome: Outcome) -> _Cue:
    """A cue lasts a millisecond or more: no format shows one that does not last."""
    answer, segment = outcome.prediction, outcome.segment
    if answer is None:
        raise ValueError("an outcome has a prediction or an error")
    start, end = round(1000 * answer.start_seconds), round(1000 * answer.end_seconds)
    said = (segment.speaker, segment.text) if segment else (None, None)
    parts = (answer.channel, said[0], answer.in_words, said[1])
    return _Cue(start, max(end, start + 1), *(printable(part or "") for part in parts))


def _tiers(cues: Iterable[_Cue]) -> dict[str, list[_Cue]]:
    """The cues of each tier, without overlap; cues come by start."""
    layers: defaultdict[str, list[list[_Cue]]] = defaultdict(list)
    for cue in cues:
        of_name = layers[" ".join(filter(None, (cue.channel, cue.speaker))) or TIER]
        free = next((layer for layer in of_name if layer[-1].end <= cue.start), None)
        if free is None:
            of_name.append(free := [])
        free.append(cue)
    return {
        name if place == 1 else f"{name} ({place})": layer
        for name, of_name in layers.items()
        for place, layer in enumerate(of_name, start=1)
    }


def _without_gaps(tier: Iterable[_Cue], end: int) -> list[tuple[int, int, str]]:
    """The intervals of a tier from 0 to `end`; those between the cues are empty."""
    intervals, at = [], 0
    for cue in tier:
        if cue.start > at:
            intervals.append((at, cue.start, ""))
        intervals.append((cue.start, cue.end, _on_one_line(cue.answer, cue.text)))
        at = cue.end
    return [*intervals, (at, end, "")] if at < end else intervals


def _on_one_line(*parts: str) -> str:
    return " | ".join(filter(None, parts))


def _colon(channel: str, answer: str) -> str:
    return f"{channel}: {answer}" if channel else answer


def _quoted(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def _clock(milliseconds: int, point: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{point}{rest:03d}"
