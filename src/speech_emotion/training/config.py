"""Training recipes. In: TOML. Out: a frozen TrainConfig, with every setting known, of its type and within its bounds.

A recipe only names what differs from the defaults below. The resolved recipe is saved in the run folder.
In an interval, "[" and "]" include the end, "(" and ")" exclude it. In a list, every item is in it.
"""

import dataclasses
import hashlib
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, Final, Self, TypeVar, get_args, get_origin, get_type_hints

from speech_emotion.audio import SAMPLE_RATE
from speech_emotion.errors import ConfigError
from speech_emotion.files import FileTooLargeError, read_regular_file

MAX_BYTES: Final = 1 << 20  # of a recipe


def _in(interval: str, default: Any) -> Any:
    return field(default=default, metadata={"interval": interval})


@dataclass(frozen=True)
class WindowConfig:
    """What the model scores at once. A recording of `min_seconds` to `seconds` is one shorter window."""

    seconds: float = 3.0
    hop_seconds: float = _in("(0, inf)", 1.0)
    min_seconds: float = _in("(0, inf)", 0.5)


@dataclass(frozen=True)
class FrontendConfig:
    """Log-mel: sizes in samples at 16 kHz."""

    n_mels: int = _in("(0, inf)", 64)
    n_fft: int = _in("(0, inf)", 512)
    hop: int = _in("(0, inf)", 320)
    fmin_hz: float = _in("[0, 8000)", 50.0)


@dataclass(frozen=True)
class NetworkConfig:
    """`architecture` is a key of build.NETWORKS; the cnn has `channels`, the transformer `layers` and `width`.

    The layers of vgg16 are its blocks. The embedding of both pools the last `pooled_layers`; 0 is all of them.
    """

    architecture: str = "cnn"
    channels: tuple[int, ...] = _in("(0, inf)", (32, 64, 96, 160))
    layers: int = _in("[1, inf)", 2)
    width: int = _in("[64, inf)", 384)
    pooled_layers: int = _in("[0, inf)", 0)
    dropout: float = _in("[0, 1)", 0.3)


@dataclass(frozen=True)
class AugmentConfig:
    """Zero, or one single speed, switches a part off. With [probe], warp and masks must be off."""

    speeds: tuple[float, ...] = _in("[0.5, 2]", (0.9, 1.0, 1.1))
    warp_frequency: float = _in("[0, 1)", 0.12)
    tilt_db: float = _in("[0, inf)", 6.0)
    noise_probability: float = _in("[0, 1]", 0.3)
    noise_snr_db: tuple[float, ...] = (5.0, 35.0)
    telephone_probability: float = _in("[0, 1]", 0.0)
    room_probability: float = _in("[0, 1]", 0.0)
    lowpass_probability: float = _in("[0, 1]", 0.0)
    codec_probability: float = _in("[0, 1]", 0.0)
    frequency_mask: int = _in("[0, inf)", 10)
    time_mask: int = _in("[0, inf)", 25)
    n_masks: int = _in("[0, inf)", 2)


@dataclass(frozen=True)
class FitConfig:
    """The head learns at `learning_rate`, the layers below it at `body_rate` times that (Howard & Ruder 2018, arXiv
    1801.06146). Each step learns from `crop_seconds` of a window; 0 is all of it."""

    epochs: int = _in("[1, inf)", 60)
    batch_size: int = _in("[2, inf)", 32)
    learning_rate: float = _in("(0, inf)", 2e-3)
    body_rate: float = _in("[0, 1]", 1.0)
    crop_seconds: float = _in("[0, inf)", 0.0)
    warmup: float = _in("[0, 1)", 0.15)
    weight_decay: float = _in("[0, inf)", 0.05)
    label_smoothing: float = _in("[0, 1)", 0.1)
    ema_decay: float = _in("[0, 1)", 0.995)
    seed: int = _in("[0, inf)", 0)

    def seed_for(self, purpose: str) -> int:
        """The seed of one source of randomness, such as "weights" or "epoch 3"."""
        return int.from_bytes(hashlib.sha256(f"{self.seed} {purpose}".encode()).digest()[:7], "big")


@dataclass(frozen=True)
class ProbeConfig:
    """With `copies`, the encoder is frozen and a linear head is fitted to that many augmented copies of each clip.

    Of every further corpus of a mixture there are `mixture_copies`; 0 is as many. A copy is between `crop_seconds` and
    a window long. Of [fit], only the seed and the label smoothing apply.
    Of a mixture with a `specialist_penalty` above 0, a second head learns from `corpus` alone, and counts where a
    window sounds like it.
    """

    copies: int = _in("[0, inf)", 0)
    mixture_copies: int = _in("[0, inf)", 0)
    penalty: float = _in("[0, inf)", 0.01)
    specialist_penalty: float = _in("[0, inf)", 0.0)
    crop_seconds: float = 2.5


@dataclass(frozen=True)
class TrainConfig:
    """The recipe of one model. A protocol divides `corpus`.

    `name` names the run and the model. `init` names the initial weights: "fresh", "pretrained" or "whisper-base" (the
    encoders in the package), an encoder file, or "imagenet" or "torchvision" for VGG16. `recipes_tried` counts the
    recipes this one was chosen from.
    `second` is the recipe of a second network, trained on the same clips; its logits have the share `second_weight`
    in the weighted mean of both. Of a frozen encoder and another network, the encoder is the first. Of a mixture both
    are frozen, and learn from the same copies.
    `mixture` names other corpora to learn from, and how much each counts; `corpus` counts 1. `unlabelled` says of those
    without labels what their recordings may be: one of several labels. `exclusive` labels are denied by every clip of
    another label, also where its corpus does not have them.
    """

    name: str
    init: str = "fresh"
    window: WindowConfig = field(default_factory=WindowConfig)
    frontend: FrontendConfig = field(default_factory=FrontendConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    corpus: str = "ravdess"
    recipes_tried: int = _in("[1, inf)", 1)
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    second: "TrainConfig | None" = None
    second_weight: float = _in("(0, 1)", 0.5)
    mixture: dict[str, float] = field(default_factory=dict, metadata={"interval": "(0, inf)"})
    unlabelled: dict[str, tuple[str, ...]] = field(default_factory=dict)
    exclusive: tuple[str, ...] = ()

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a recipe, whose `second` names another recipe file in the same folder, or says what differs in it.

        Raises:
            ConfigError: It cannot be read, or a setting does not exist or is out of bounds.
        """
        settings = _read_recipe(Path(path))
        if isinstance(other := settings.get("second"), str):
            settings["second"] = _read_recipe(Path(path).parent / other)
        elif isinstance(other, dict):
            own = {key: value for key, value in settings.items() if key not in ("second", "second_weight")}
            settings["second"] = _changed(own, other)
        return cls.from_dict(settings, where=str(path))

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any], *, where: str = "recipe") -> Self:
        """The recipe of these settings; `where` begins the message of a ConfigError."""
        config = _build(cls, settings, where)
        _check(config, where)
        return config

    def to_dict(self) -> dict[str, Any]:
        """The inverse of `from_dict`, JSON-safe."""
        return dataclasses.asdict(self)

    def with_init(self, init: str) -> Self:
        """The same recipe with other initial weights."""
        return dataclasses.replace(self, init=init)

    def for_corpus(self, name: str) -> Self:
        """The same recipe for another corpus, for which it was not chosen among others."""
        second = self.second.for_corpus(name) if self.second else None
        return dataclasses.replace(self, corpus=name, recipes_tried=1, second=second)

    def with_seed(self, seed: int) -> Self:
        """The same recipe with another seed, for both networks of a pair."""
        if seed < 0:
            raise ConfigError(f"a seed is a whole number from 0 on, not {seed}.")
        second = self.second.with_seed(seed) if self.second else None
        return dataclasses.replace(self, fit=dataclasses.replace(self.fit, seed=seed), second=second)

    def copies_of(self, corpus: str) -> int:
        """How many augmented copies of each of its clips the head learns from."""
        return (corpus != self.corpus and self.probe.mixture_copies) or self.probe.copies

    @property
    def is_frozen(self) -> bool:
        """Whether all its networks stay as they are below their heads."""
        return all(part.probe.copies > 0 for part in self.parts)

    @property
    def parts(self) -> tuple["TrainConfig", ...]:
        """The recipes of its one or two networks, each as a recipe of its own."""
        alone = dataclasses.replace(self, second=None, second_weight=TrainConfig.second_weight)
        return (alone, self.second) if self.second else (alone,)


def _changed(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Settings, and settings in their sections, that `changes` names replaced."""
    sections = {
        key: settings[key] | value
        for key, value in changes.items()
        if isinstance(value, dict) and isinstance(settings.get(key), dict)
    }
    return {**settings, **changes, **sections}


def _read_recipe(path: Path) -> dict[str, Any]:
    try:
        return {"name": path.stem} | tomllib.loads(read_regular_file(path, MAX_BYTES).decode())
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}). Give a recipe such as recipes/ravdess-cnn.toml."
        ) from error
    except (FileTooLargeError, tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}.") from error


Section = TypeVar("Section")


def _build(section: type[Section], settings: Mapping[str, Any], where: str) -> Section:
    hints = get_type_hints(section)
    for key in settings:
        if key not in hints:
            close = get_close_matches(key, hints, n=1)
            hint = f"Did you mean {close[0]}?" if close else f"Choose from: {', '.join(hints)}."
            raise ConfigError(f"{where}: there is no setting {key!r}. {hint}")
    intervals = {one.name: one.metadata.get("interval") for one in dataclasses.fields(section)}  # type: ignore[arg-type]
    values = {
        key: _convert(hints[key], value, intervals[key], f"{where}: {key}") for key, value in settings.items()
    }
    try:
        return section(**values)
    except TypeError as error:
        raise ConfigError(f"{where}: {error}.") from error


def _convert(kind: Any, value: Any, interval: str | None, where: str) -> Any:
    if isinstance(kind, UnionType):  # a section or None
        return None if value is None else _convert(get_args(kind)[0], value, interval, where)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: must be a section of settings, got {value!r}.")
        return _build(kind, value, where)
    if get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where}: must be a list, got {value!r}.")
        return tuple(_convert(get_args(kind)[0], item, interval, where) for item in value)
    if get_origin(kind) is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: must be a section of settings, got {value!r}.")
        return {
            key: _convert(get_args(kind)[1], item, interval, f"{where}: {key}") for key, item in value.items()
        }
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise ConfigError(f"{where}: must be {kind.__name__}, got {value!r}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{where}: must be a finite number, got {value!r}.")
    if interval and not _is_within(value, interval):
        raise ConfigError(f"{where}: must be in {interval}, got {value!r}.")
    return value


def _is_within(value: float, interval: str) -> bool:
    low, high = map(float, interval[1:-1].split(", "))
    return (
        low < value < high or (value == low and interval[0] == "[") or (value == high and interval[-1] == "]")
    )


def _learned_from(config: TrainConfig) -> tuple[Any, ...]:
    """What both networks of a pair have in common: their corpora and, of a mixture, its copies."""
    if not config.mixture:
        return (config.corpus,)
    probe = dataclasses.replace(
        config.probe, penalty=ProbeConfig.penalty, specialist_penalty=ProbeConfig.specialist_penalty
    )
    return config.corpus, config.mixture.keys(), config.unlabelled, config.augment, probe, config.fit.seed


def _check(config: TrainConfig, where: str) -> None:
    window, frontend, augment, probe = config.window, config.frontend, config.augment, config.probe
    snr, channels = augment.noise_snr_db, config.network.channels
    changes_log_mel = augment.warp_frequency or augment.n_masks
    crop_fits = window.min_seconds <= probe.crop_seconds <= window.seconds
    channel_share = augment.telephone_probability + augment.room_probability
    rules = {
        "name: letters, digits, '-', '_' and '.' only": re.fullmatch(r"[\w-][\w.-]*", config.name),
        "window: min_seconds ≤ seconds": window.min_seconds <= window.seconds,
        "window: hop_seconds ≤ seconds": window.hop_seconds <= window.seconds,
        "frontend: n_fft must be even": frontend.n_fft % 2 == 0,
        "window: min_seconds must hold n_fft samples": window.min_seconds * SAMPLE_RATE >= frontend.n_fft,
        "network: channels: four multiples of 8": len(channels) == 4 and not any(c % 8 for c in channels),
        "network: width: a multiple of 64": config.network.width % 64 == 0,
        "network: pooled_layers ≤ layers": config.network.pooled_layers <= config.network.layers,
        "augment: 1.0 must be among the speeds": 1.0 in augment.speeds,
        "augment: telephone_probability and room_probability together ≤ 1": channel_share <= 1,
        "augment: noise_snr_db is two numbers, low and high": len(snr) == 2 and snr[0] <= snr[1],
        "fit: crop_seconds ≤ window.seconds": config.fit.crop_seconds <= window.seconds,
        "probe: window.min_seconds ≤ crop_seconds ≤ window.seconds": not probe.copies or crop_fits,
        "probe: augment.warp_frequency and n_masks must be 0": not (probe.copies and changes_log_mel),
        "probe: mixture_copies needs a [mixture]": not probe.mixture_copies or bool(config.mixture),
        "probe: specialist_penalty needs a [mixture]": not probe.specialist_penalty or bool(config.mixture),
        "exclusive: needs a [mixture]": not config.exclusive or bool(config.mixture),
    }
    if config.mixture:
        rules |= {
            "mixture: names other corpora than corpus": config.corpus not in config.mixture,
            "mixture: needs probe.copies": config.is_frozen,
            "mixture: fit.label_smoothing must be 0": config.fit.label_smoothing == 0,
        }
    if config.unlabelled:
        rules |= {
            "unlabelled: names corpora of mixture": config.unlabelled.keys() <= config.mixture.keys(),
            "unlabelled: at least one label for each": all(config.unlabelled.values()),
        }
    if second := config.second:
        _check(second, f"{where}: second")
        has_same = _learned_from(second) == _learned_from(config)
        rules |= {
            "second: must not have a second of its own": second.second is None,
            "second: must have the same [window]": second.window == window,
            "second: must learn from the same corpora and, of a mixture, the same copies": has_same,
        }
    for rule, is_kept in rules.items():
        if not is_kept:
            raise ConfigError(f"{where}: {rule}.")
