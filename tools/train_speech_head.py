"""Train a speech head. In: folders of speech and of other sounds. Out: a file in assets for the encoder of the recipe.

    python tools/train_speech_head.py [--recipe RECIPE] --speech RAVDESS=FOLDER … --other ESC-10=FOLDER … [--out FILE]

It learns from the sounds of speech_examples.py, as the encoder of the recipe embeds them. It is logistic regression;
its threshold refuses 1 % of the speech without noise of speakers that were left out. The head is also trained without
each kind of other sound, threshold and all, and scored on that kind: what it then rejects is written beside the weights
as `left_out_rejected_percent`.
"""

import argparse
import functools
import json
import sys
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from speech_examples import (
    Describe,
    Example,
    importance,
    in_windows,
    kind_of,
    left_out,
    make_examples,
    named,
    paths,
)

from speech_emotion.audio import load
from speech_emotion.audio.speech import is_audible
from speech_emotion.files import write_atomically
from speech_emotion.provenance import commit
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.export.speech_head import HEADS, SpeechHead
from speech_emotion.training.networks.encoder import Transformer
from speech_emotion.training.networks.quantize import round_weights
from speech_emotion.training.weights import initialise

FloatArray = npt.NDArray[np.float32]

RECIPE: Final = Path(__file__).parents[1] / "recipes" / "ravdess-encoder.toml"
DIGITS: Final = 5  # to which the weights are written
PENALTY: Final = 0.01  # times ‖weight‖², of standardised embeddings
MAX_ITERATIONS: Final = 60
MIN_DEVIATION: Final = 1e-3
REFUSED: Final = 0.01  # of speech
N_FOLDS: Final = 5  # of speakers, for the threshold


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a speech head.")
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--speech", nargs="+", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--other", nargs="+", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # before this process is forked
    other = named(arguments.other)
    describe = functools.partial(embed, arguments.recipe)
    examples = make_examples(named(arguments.speech), other, describe)
    print(f"{len(examples)} examples")
    head = train(examples)
    report = {
        "command": " ".join(["python", "tools/train_speech_head.py", *sys.argv[1:]]),
        "commit": commit(),
        "examples": {
            name: sum(e.source == name for e in examples) for name in sorted({e.source for e in examples})
        },
        "left_out_rejected_percent": left_out(examples, other, functools.partial(rejected, describe)),
        **{name: rounded(values) for name, values in head._asdict().items()},
    }
    out = arguments.out or HEADS[TrainConfig.load(arguments.recipe).init]
    write_atomically(out, (json.dumps(report) + "\n").encode())


def rounded(values: Any) -> Any:
    return np.vectorize(lambda value: float(f"{value:.{DIGITS}g}"))(values).tolist()


@functools.cache
def encoder(recipe: Path) -> Transformer:
    """The frozen encoder of a recipe, rounded as in every exported model."""
    config = TrainConfig.load(recipe)
    network = Transformer(config.network, config.frontend)
    initialise(network, config.init)
    round_weights(network)
    return network.eval()


@torch.inference_mode()
def embed(recipe: Path, samples: FloatArray) -> FloatArray | None:
    """The embedding of `samples` (n_samples,): (n_levels,), or None where nothing is audible."""
    if not is_audible(samples):
        return None
    waveform = torch.from_numpy(np.array(samples))[None]
    network = encoder(recipe)
    levels: FloatArray = network.embed(network.features(waveform))[0, : network.n_levels].numpy()
    return levels


def train(examples: list[Example]) -> SpeechHead:
    """The head, with the threshold that refuses its share of speakers that the head of a fold has not learned from."""
    margins = []
    for fold in range(N_FOLDS):
        kept = [example for example in examples if fold_of(example) != fold]
        held_out = [example for example in examples if fold_of(example) == fold and not example.noise]
        margins.append(fitted(kept).score(np.array([example.statistics for example in held_out])))
    threshold = np.quantile(np.concatenate(margins), REFUSED)
    return fitted(examples)._replace(threshold=1 / (1 + np.exp(-threshold)))


def fold_of(example: Example) -> int | None:
    """Of its speaker; None for other sounds."""
    return zlib.crc32(example.speaker.encode()) // 2 % N_FOLDS if example.speaker else None


def fitted(examples: list[Example]) -> SpeechHead:
    """Logistic loss, weighted by `importance`, and a penalty; by L-BFGS. The threshold is one half."""
    x = np.array([example.statistics for example in examples])
    centre, scale = x.mean(axis=0), x.std(axis=0) + MIN_DEVIATION
    standard = torch.from_numpy((x - centre) / scale)
    target = torch.tensor([float(example.is_voice) for example in examples])
    importances = torch.from_numpy(importance(examples))
    weight = torch.zeros(x.shape[1], requires_grad=True)
    bias = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=MAX_ITERATIONS, line_search_fn="strong_wolfe")

    def objective() -> float:
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            standard @ weight + bias, target, importances, reduction="sum"
        )
        loss = loss + PENALTY * weight.square().sum()
        loss.backward()
        return loss.item()

    optimizer.step(objective)
    raw = weight.detach().numpy() / scale
    return SpeechHead(raw, bias.item() - float(raw @ centre), 0.5)


def rejected(describe: Describe, examples: list[Example], kind: str, folder: Path) -> dict[str, Any]:
    head = train([example for example in examples if kind not in (example.kind, example.noise)])
    sounds = [load(path).samples for path in paths(folder) if kind_of(path, folder) == kind]
    embedded = [describe(window) for samples in sounds for window in in_windows(samples)]
    is_rejected = [found is None or head.score(found) < 0 for found in embedded]
    return {"percent": round(100 * float(np.mean(is_rejected)), 1), "n": len(is_rejected)}


if __name__ == "__main__":
    main()
