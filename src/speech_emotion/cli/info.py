"""The verb `info`: a table of the models in the package, or all that one says about itself; the same as JSON."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from speech_emotion.cli.shared import JsonOption, print_tables
from speech_emotion.text import printable

if TYPE_CHECKING:
    from rich.table import Table

    from speech_emotion.model_info import Enrolment, ModelInfo
    from speech_emotion.shipped import ShippedModel

verbs = typer.Typer()

LIMITS: Final = (
    "It scores how acted voices sound, not what a person feels. The EU AI Act, Art. 5(1)(f), prohibits "
    "emotion inference at work and in education except for medical or safety reasons; Art. 50(3) obliges "
    "its deployers to inform people."
)


@verbs.command()
def info(
    model: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="Name of a model in the package, or an exported .onnx."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the models in the package, or show what MODEL is and how well it does."""
    from speech_emotion.classifier import load
    from speech_emotion.shipped import MODELS

    if model is not None:
        found = load(model).info
        return _print_json(_document(found)) if as_json else _print(found)
    shipped = {one: load(one.name).info for one in MODELS}
    if as_json:
        listed = [
            _document(found) | {"default": one.is_default, "purpose": one.purpose}
            for one, found in shipped.items()
        ]
        return _print_json(listed)
    return print_tables(_table(shipped))


def _document(info: "ModelInfo") -> dict[str, Any]:
    """Everything a model says about itself, as JSON."""
    detection = "model" if "speech" in info.thresholds else "none"
    return asdict(info) | {"speech_detection": detection, "limits": LIMITS}


def _print_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, ensure_ascii=False, allow_nan=False, indent=2) + "\n")


def _table(shipped: "Mapping[ShippedModel, ModelInfo]") -> "Table":
    """One row per model of the package."""
    from rich import box
    from rich.table import Table

    caption = "More about one: speech-emotion info MODEL. To use it: --model MODEL"
    table = Table(box=box.SIMPLE, caption=caption, caption_justify="left")
    for heading in ("model", "size\n(parameters)", "UAR\n(measured on)", "for", "licence"):
        table.add_column(heading, no_wrap=heading.startswith("UAR"))
    for model, info in shipped.items():
        name = f"{model.name}\n(default)" if model.is_default else model.name
        size = f"{info.size_bytes / 1e6:.1f} MB\n({info.n_parameters / 1e6:.1f} M)"
        uar = _percent(info.metrics.get("uar"))
        score = f"{uar}\n({_measured_on(info.metrics)})" if uar else "not measured"
        table.add_row(name, size, score, model.purpose, info.licence)
    return table


def _print(info: "ModelInfo") -> None:
    """Write what a model says about itself, to read."""
    facts = {
        "emotions": ", ".join(info.labels),
        "input": f"windows of {info.window_seconds:g} s, one every {info.hop_seconds:g} s, "
        f"at least {info.min_seconds:g} s, at {info.sample_rate:,} Hz",
        "size": f"{info.n_parameters:,} parameters, {info.size_bytes:,} bytes",
        "sha256": info.sha256,
        "trained on": ", ".join(info.corpora),
        "score": _score(info.metrics),
        "speech": _speech(info.thresholds),
        **_thresholds(info.thresholds),
        **_enrolment(info.enrolment),
        "recipe": f"{info.recipe.get('name', info.name)}; its settings: add --json",
        "commit": info.commit or "unknown",
        "licence": info.licence,
        "citation": info.citation,
        "limits": LIMITS,
    }
    print(printable(info.name))
    for name, value in facts.items():
        print(f"  {name:<10}  {printable(value)}")


def _score(metrics: Mapping[str, Any]) -> str:
    """The test result in the file: each number with its interval, then what it was measured on."""
    scores = [f"{name} {_percent(metrics.get(name.lower()))}" for name in ("UAR", "accuracy", "ECE")]
    measured = [score for score in scores if not score.endswith(" ")]
    if not measured:
        return "not measured"
    counts = [f"{metrics[f'n_{noun}']} {noun}" for noun in ("clips", "speakers") if metrics.get(f"n_{noun}")]
    support = ", ".join(part for part in (_measured_on(metrics), *counts) if part)
    return ", ".join(measured) + (f" ({support})" if support else "")


def _measured_on(metrics: Mapping[str, Any]) -> str:
    """Corpus and protocol of the test result, and whether it leaks."""
    where = " ".join(str(metrics[key]) for key in ("corpus", "protocol") if metrics.get(key))
    return ", ".join(part for part in (where, "LEAKY" if metrics.get("leaky") else "") if part)


def _speech(thresholds: Mapping[str, float]) -> str:
    """How speech is told from other sounds."""
    if "speech" not in thresholds:
        return "detection: none (only silence is refused)"
    return f"detection: by the model (no speech below {thresholds['speech']:.2f})"


def _thresholds(thresholds: Mapping[str, float]) -> dict[str, str]:
    """The probabilities from which a label is given and an emotion is in the set; empty if there are none."""
    words = []
    if "not_sure" in thresholds:
        words.append(f"not sure below {thresholds['not_sure']:.2f}")
    if "set" in thresholds:
        words.append(f"emotion sets: the best, and all from {1 - thresholds['set']:.2f} on")
    return {"thresholds": "; ".join(words)} if words else {}


def _enrolment(enrolment: "Enrolment | None") -> dict[str, str]:
    """What a profile needs and gains; empty if the model takes none."""
    if enrolment is None:
        return {}
    gain = "gain not measured"
    if enrolment.gain is not None:
        gain = f"UAR {100 * enrolment.gain:+.1f} points on validation speakers"
    return {"enrolment": f"yes, from {enrolment.min_seconds:g} s of speech; {gain}"}


def _percent(score: Any) -> str:
    """`62.1 % [58.0, 66.2]`: a mean with its 95 % interval, both given as fractions; empty without a mean."""
    if not isinstance(score, dict) or not isinstance(score.get("mean"), float):
        return ""
    interval = ", ".join(f"{100 * bound:.1f}" for bound in score.get("ci95") or ())
    return f"{100 * score['mean']:.1f} %" + (f" [{interval}]" if interval else "")
