"""What a training run is. In: a recipe (TOML). Out: a frozen TrainConfig, every setting known and of its type.

A recipe is a difference to the defaults below; the resolved one is saved beside the result it made.
"""

import dataclasses
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, Self, TypeVar, get_args, get_origin, get_type_hints

from speech_emotion.audio import SAMPLE_RATE
from speech_emotion.errors import ConfigError

ARCHITECTURES = ("cnn", "transformer", "vgg16")


@dataclass(frozen=True)
class WindowConfig:
    """What the model sees at once. Shorter recordings down to `min_seconds` are one shorter window."""

    seconds: float = 3.0
    hop_seconds: float = 1.0
    min_seconds: float = 0.5


@dataclass(frozen=True)
class FrontendConfig:
    """Log-mel: sizes in samples at 16 kHz."""

    n_mels: int = 64
    n_fft: int = 512
    hop: int = 320
    fmin_hz: float = 50.0


@dataclass(frozen=True)
class NetworkConfig:
    """`architecture` is one of ARCHITECTURES; `channels` are the cnn's, `layers` the transformer's."""

    architecture: str = "cnn"
    channels: tuple[int, ...] = (32, 64, 96, 160)
    layers: int = 2
    dropout: float = 0.3


@dataclass(frozen=True)
class AugmentConfig:
    """Zero (or one single speed) switches a part off. The copies of [probe] have no warp, mixup or masks."""

    speeds: tuple[float, ...] = (0.9, 1.0, 1.1)
    warp_frequency: float = 0.12
    tilt_db: float = 6.0
    noise_probability: float = 0.3
    noise_snr_db: tuple[float, ...] = (5.0, 35.0)
    telephone_probability: float = 0.0
    room_probability: float = 0.0
    mixup_alpha: float = 0.3
    frequency_mask: int = 10
    time_mask: int = 25
    n_masks: int = 2


@dataclass(frozen=True)
class FitConfig:
    """The head learns at `learning_rate`; the last stage of the trunk at `trunk_rate` times that, and each stage
    below it at `stage_decay` times the one above (Howard & Ruder 2018, arXiv 1801.06146). `crop_seconds` of a
    window are learned from at once; 0 is all of it."""

    epochs: int = 60
    batch_size: int = 32
    learning_rate: float = 2e-3
    trunk_rate: float = 1.0
    stage_decay: float = 1.0
    crop_seconds: float = 0.0
    warmup: float = 0.15
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    ema_decay: float = 0.995
    seed: int = 0


@dataclass(frozen=True)
class ProbeConfig:
    """With `copies`, the trunk stays as it is and a linear head is fitted to so many augmented copies of each clip.

    A copy is between `crop_seconds` and a window long. [fit] then only gives the seed and the label smoothing.
    """

    copies: int = 0
    penalty: float = 0.01
    crop_seconds: float = 2.5


@dataclass(frozen=True)
class TrainConfig:
    """The recipe of one model of one corpus.

    `name` names the run and the model. `init` is where the weights start from: "fresh", "pretrained" (the trunk in
    the package), a trunk file, or for VGG16 "imagenet". `recipes_tried` counts the recipes it was chosen from.
    `second` is a network of its own recipe, trained on the same clips, whose logits are averaged with the first one's:
    `second_weight` is its share of 1. Of an encoder with a speech head and another network, the encoder is the first.
    """

    name: str
    init: str = "fresh"
    window: WindowConfig = field(default_factory=WindowConfig)
    frontend: FrontendConfig = field(default_factory=FrontendConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    corpus: str = "ravdess"
    recipes_tried: int = 1
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    second: "TrainConfig | None" = None
    second_weight: float = 0.5

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a recipe, whose `second` may name the file of another recipe beside it.

        Raises:
            ConfigError: It cannot be read, or holds a setting that does not exist.
        """
        settings = _read_recipe(Path(path))
        if isinstance(other := settings.get("second"), str):
            settings["second"] = _read_recipe(Path(path).parent / other)
        return cls.from_dict(settings, where=str(path))

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any], *, where: str = "recipe") -> Self:
        config = _build(cls, settings, where)
        _check(config, where)
        return config

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe; `from_dict` takes it back."""
        return dataclasses.asdict(self)

    def with_init(self, init: str) -> Self:
        return dataclasses.replace(self, init=init)

    def with_seed(self, seed: int) -> Self:
        if seed < 0:
            raise ConfigError(f"a seed is a whole number from 0 on, not {seed}.")
        second = self.second.with_seed(seed) if self.second else None
        return dataclasses.replace(self, fit=dataclasses.replace(self.fit, seed=seed), second=second)

    @property
    def parts(self) -> tuple["TrainConfig", ...]:
        """The recipes of the networks, one or two, each as if it were alone."""
        alone = dataclasses.replace(self, second=None, second_weight=TrainConfig.second_weight)
        return (alone, self.second) if self.second else (alone,)


def _read_recipe(path: Path) -> dict[str, Any]:
    try:
        return {"name": path.stem} | tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}). Give a recipe such as recipes/ravdess-cnn.toml."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}.") from error


Section = TypeVar("Section")


def _build(section: type[Section], settings: Mapping[str, Any], where: str) -> Section:
    hints = get_type_hints(section)
    for key in settings:
        if key not in hints:
            close = get_close_matches(key, hints, n=1)
            hint = f"Did you mean {close[0]}?" if close else f"Choose from: {', '.join(hints)}."
            raise ConfigError(f"{where}: there is no setting {key!r}. {hint}")
    try:
        return section(
            **{key: _convert(hints[key], value, f"{where}: {key}") for key, value in settings.items()}
        )
    except TypeError as error:
        raise ConfigError(f"{where}: {error}.") from error


def _convert(kind: Any, value: Any, where: str) -> Any:
    if isinstance(kind, UnionType):  # a section or None
        return None if value is None else _convert(get_args(kind)[0], value, where)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: must be a section of settings, got {value!r}.")
        return _build(kind, value, where)
    if get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where}: must be a list, got {value!r}.")
        return tuple(_convert(get_args(kind)[0], item, where) for item in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ConfigError(f"{where}: must be {kind.__name__}, got {value!r}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{where}: must be a finite number, got {value!r}.")
    return value


def _check(config: TrainConfig, where: str) -> None:
    window, frontend, network = config.window, config.frontend, config.network
    augment, fit = config.augment, config.fit
    snr = augment.noise_snr_db
    lines = (augment.telephone_probability, augment.room_probability)
    amounts = (
        augment.tilt_db,
        augment.mixup_alpha,
        augment.frequency_mask,
        augment.time_mask,
        augment.n_masks,
    )
    rules: tuple[tuple[bool, str], ...] = (
        (bool(re.fullmatch(r"[\w-][\w.-]*", config.name)), "name: letters, digits, '-', '_' and '.' only"),
        (fit.seed >= 0, "fit: seed ≥ 0"),
        (0 < window.min_seconds <= window.seconds, "window: 0 < min_seconds ≤ seconds"),
        (0 < window.hop_seconds <= window.seconds, "window: 0 < hop_seconds ≤ seconds"),
        (min(frontend.n_mels, frontend.n_fft, frontend.hop) > 0, "frontend: sizes must be positive"),
        (0 <= frontend.fmin_hz < SAMPLE_RATE / 2, "frontend: 0 ≤ fmin_hz < 8000"),
        (frontend.n_fft % 2 == 0, "frontend: n_fft must be even"),
        (window.min_seconds * SAMPLE_RATE >= frontend.n_fft, "window: min_seconds must hold n_fft samples"),
        (
            network.architecture in ARCHITECTURES,
            f"network: architecture is one of {', '.join(ARCHITECTURES)}",
        ),
        (network.layers >= 1, "network: layers ≥ 1"),
        (len(network.channels) == 4, "network: four channel counts"),
        (all(c > 0 and c % 8 == 0 for c in network.channels), "network: channels are multiples of 8"),
        (0 <= network.dropout < 1, "network: 0 ≤ dropout < 1"),
        (1.0 in augment.speeds, "augment: 1.0 must be among the speeds"),
        (all(0.5 <= speed <= 2 for speed in augment.speeds), "augment: speeds between 0.5 and 2"),
        (0 <= augment.warp_frequency < 1, "augment: 0 ≤ warp_frequency < 1"),
        (0 <= augment.noise_probability <= 1, "augment: 0 ≤ noise_probability ≤ 1"),
        (
            min(lines) >= 0 and sum(lines) <= 1,
            "augment: telephone_probability and room_probability ≥ 0, together ≤ 1",
        ),
        (len(snr) == 2 and snr[0] <= snr[1], "augment: noise_snr_db is two numbers, low and high"),
        (min(amounts) >= 0, "augment: tilt_db, mixup_alpha and the masks must not be negative"),
        (fit.epochs >= 1, "fit: epochs ≥ 1"),
        (fit.batch_size >= 2, "fit: batch_size ≥ 2 (a batch of 1 has no statistics)"),
        (fit.learning_rate > 0, "fit: learning_rate > 0"),
        (0 <= fit.trunk_rate <= 1 and 0 < fit.stage_decay <= 1, "fit: trunk_rate and stage_decay are shares"),
        (0 <= fit.crop_seconds <= window.seconds, "fit: 0 ≤ crop_seconds ≤ window.seconds"),
        (fit.weight_decay >= 0, "fit: weight_decay ≥ 0"),
        (0 <= fit.warmup < 1, "fit: 0 ≤ warmup < 1"),
        (0 <= fit.label_smoothing < 1, "fit: 0 ≤ label_smoothing < 1"),
        (0 <= fit.ema_decay < 1, "fit: 0 ≤ ema_decay < 1"),
        (config.recipes_tried >= 1, "recipes_tried ≥ 1"),
        (config.probe.copies >= 0 and config.probe.penalty >= 0, "probe: copies and penalty ≥ 0"),
        (
            not config.probe.copies or window.min_seconds <= config.probe.crop_seconds <= window.seconds,
            "probe: window.min_seconds ≤ crop_seconds ≤ window.seconds",
        ),
        (
            not config.probe.copies or not (augment.warp_frequency or augment.mixup_alpha or augment.n_masks),
            "probe: copies are sound: augment.warp_frequency, mixup_alpha and n_masks must be 0",
        ),
    )
    if second := config.second:
        _check(second, f"{where}: second")
        rules += (
            (second.second is None, "second: has no second of its own"),
            (second.window == window, "second: hears the same [window]"),
            (second.corpus == config.corpus, "second: learns from the same corpus"),
            (0 < config.second_weight < 1, "0 < second_weight < 1"),
        )
    for kept, rule in rules:
        if not kept:
            raise ConfigError(f"{where}: {rule}.")
