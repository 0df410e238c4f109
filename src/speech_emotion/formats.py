"""Outcomes for people and programs. In: what each source gave. Out: lines, one JSON document, or a CSV table.

An outcome is a source's name with its predictions, or with the error that stands in their place. Whatever a
file is called, its name cannot steer a terminal, break a table or be run as a formula by a spreadsheet.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from speech_emotion.errors import SpeechEmotionError
from speech_emotion.labels import ICONS
from speech_emotion.prediction import Prediction
from speech_emotion.text import guard, printable

if TYPE_CHECKING:
    from speech_emotion.model_info import Enrolment, ModelInfo  # soxr and more, which complaints do without

LIMITS = (
    "It scores how acted voices sound, not what a person feels. The EU AI Act, Art. 5(1)(f), prohibits "
    "emotion inference at work and in education except for medical or safety reasons; Art. 50(3) obliges "
    "whoever deploys it to inform people."
)
BAR_WIDTH = 10


class Outcome(NamedTuple):
    """What one source gave: predictions, or an error."""

    source: str
    predictions: list[Prediction]
    error: SpeechEmotionError | None = None


def write_text(outcomes: Iterable[Outcome], out: TextIO) -> None:
    """One line a prediction or error, as soon as it is there."""
    for source, predictions, error in outcomes:
        for prediction in predictions:
            print(
                f"{_picture(prediction)}  {_in_words(prediction)}  {printable(source)}", file=out, flush=True
            )
        if error:
            print(f"❌ {printable(source)}: {printable(str(error))} ({error.code})", file=out, flush=True)


def write_json(outcomes: Iterable[Outcome], out: TextIO) -> None:
    """One array of rows. What breaks off early is not valid JSON, so a part never passes for the whole."""
    out.write("[")
    for index, row in enumerate(_rows(outcomes, Prediction.to_dict)):
        out.write(",\n " if index else "\n ")
        out.write(json.dumps(row, ensure_ascii=False, allow_nan=False))
    out.write("\n]\n")


def write_csv(outcomes: Iterable[Outcome], out: TextIO, labels: Iterable[str]) -> None:
    """One row a prediction or error under fixed columns: a probability a label, then error and message."""
    answer = Prediction({}, 0.0, 0.0, abstained="no_speech").to_row()
    writer = csv.DictWriter(out, ["source", *answer, *labels, "error", "message"], lineterminator="\n")
    writer.writeheader()
    for row in _rows(outcomes, Prediction.to_row):
        writer.writerow({key: _cell(value) for key, value in row.items()})


def write_info(info: "ModelInfo", out: TextIO) -> None:
    """What a model says about itself, for a person."""
    facts = {
        "emotions": ", ".join(info.labels),
        "listens to": f"windows of {info.window_seconds:g} s, one every {info.hop_seconds:g} s, "
        f"at least {info.min_seconds:g} s, at {info.sample_rate:,} Hz",
        "size": f"{info.n_parameters:,} parameters, {info.size_bytes:,} bytes",
        "sha256": info.sha256,
        "trained on": ", ".join(info.corpora),
        "score": _score(info.metrics),
        "speech": _speech(info.thresholds),
        **_thresholds(info.thresholds),
        **_enrolment(info.enrolment),
        "recipe": f"{info.recipe.get('name', info.name)}; its settings: info --json",
        "commit": info.commit or "unknown",
        "licence": info.licence,
        "citation": info.citation,
        "limits": LIMITS,
    }
    print(printable(info.name), file=out)
    for name, value in facts.items():
        print(f"  {name:<10}  {printable(value)}", file=out)


def write_info_json(info: "ModelInfo", out: TextIO) -> None:
    """The same, all of it, for a program."""
    detection = "model" if "speech" in info.thresholds else "none"
    document = asdict(info) | {"speech_detection": detection, "limits": LIMITS}
    out.write(json.dumps(document, ensure_ascii=False, allow_nan=False, indent=2) + "\n")


def _score(metrics: Mapping[str, Any]) -> str:
    """The result that was put into the file: each number with its interval, then where it was measured."""
    scores = [f"{name} {_percent(metrics.get(name.lower()))}" for name in ("UAR", "accuracy", "ECE")]
    measured = [score for score in scores if not score.endswith(" ")]
    if not measured:
        return "not measured"
    where = " ".join(str(metrics[key]) for key in ("corpus", "protocol") if metrics.get(key))
    leaky = "LEAKY" if metrics.get("leaky") else ""
    whom = [
        f"{metrics[f'n_{things}']} {things}" for things in ("clips", "speakers") if metrics.get(f"n_{things}")
    ]
    known = ", ".join(part for part in (where, leaky, *whom) if part)
    return ", ".join(measured) + (f" ({known})" if known else "")


def _speech(thresholds: Mapping[str, float]) -> str:
    """How speech is told from other sounds."""
    if "speech" not in thresholds:
        return "detection: none (only silence is refused)"
    return f"detection: by the model (no speech below {thresholds['speech']:.2f})"


def _thresholds(thresholds: Mapping[str, float]) -> dict[str, str]:
    """From which probability on a label is given and an emotion is in the set; or nothing at all."""
    words = []
    if "not_sure" in thresholds:
        words.append(f"not sure below {thresholds['not_sure']:.2f}")
    if "set" in thresholds:
        words.append(f"emotion sets: the best, and all from {1 - thresholds['set']:.2f} on")
    return {"thresholds": "; ".join(words)} if words else {}


def _enrolment(enrolment: "Enrolment | None") -> dict[str, str]:
    """What a profile needs and gains; nothing where the model takes none."""
    if enrolment is None:
        return {}
    gain = "gain not measured"
    if enrolment.gain is not None:
        gain = f"UAR {100 * enrolment.gain:+.1f} points on validation speakers"
    return {"enrolment": f"yes, from {enrolment.min_seconds:g} s of speech; {gain}"}


def _percent(score: Any) -> str:
    """`62.1 % [58.0, 66.2]` of a mean with its 95 % interval, both as fractions; empty without a mean."""
    if not isinstance(score, dict) or not isinstance(score.get("mean"), float):
        return ""
    interval = ", ".join(f"{100 * bound:.1f}" for bound in score.get("ci95") or ())
    return f"{100 * score['mean']:.1f} %" + (f" [{interval}]" if interval else "")


def _picture(prediction: Prediction) -> str:
    """An icon and a bar as long as the confidence; an answer that is not sure has none."""
    if prediction.label:
        icon = ICONS.get(prediction.label, "🔊")
    else:
        icon = "🤔" if prediction.abstained == "not_sure" else "🔇"
    n_full = round(BAR_WIDTH * (prediction.confidence or 0.0))
    return f"{icon} {'█' * n_full:░<{BAR_WIDTH}}"


def _in_words(prediction: Prediction) -> str:
    """The prediction's own line and the runner-up, in columns."""
    runner_up = prediction.runner_up
    second = f"then {runner_up} {prediction.probabilities[runner_up]:.2f}" if runner_up else ""
    return f"{prediction!s:<27}  {second:<19}"


def _rows(outcomes: Iterable[Outcome], to_row: Any) -> Iterator[dict[str, Any]]:
    for source, predictions, error in outcomes:
        name = {"source": _valid(source)}
        for prediction in predictions:
            yield name | to_row(prediction)
        if error:
            yield name | {"error": error.code, "message": _valid(str(error))}


def _valid(text: str) -> str:
    """`text` without lone surrogates, which stand for bytes that are not UTF-8 and have no place in JSON."""
    return text.encode("utf-8", "backslashreplace").decode()


def _cell(value: str | float | None) -> str | float | None:
    return guard(printable(value)) if isinstance(value, str) else value
