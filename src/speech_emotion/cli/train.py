"""The verb `train`: from a recipe and a corpus to run folders with exported models."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from speech_emotion.cli.shared import CorporaOption, CorpusFolder, known_protocol, prepare_corpus, progress
from speech_emotion.errors import ConfigError

if TYPE_CHECKING:
    from speech_emotion.training.config import TrainConfig
    from speech_emotion.training.data.mixture import Dataset

verbs = typer.Typer()

RecipeArgument = Annotated[
    Path, typer.Argument(metavar="RECIPE", help="Recipe file, such as recipes/ravdess-cnn.toml.")
]
FoldsOfOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        callback=known_protocol,
        help="Train one model per fold of this split, such as luna5 or loco; default: one model of all speakers.",
    ),
]
FoldOption = Annotated[list[int] | None, typer.Option(metavar="N", help="Only this fold. Repeatable.")]
SeedOption = Annotated[
    list[int] | None, typer.Option(metavar="N", help="Random seed; default: the recipe's. Repeatable.")
]
InitOption = Annotated[
    str | None,
    typer.Option(
        metavar="WEIGHTS",
        help="pretrained, whisper-base, imagenet or torchvision (for VGG16), fresh, or a file; default: the recipe's.",
    ),
]
CalibrationOption = Annotated[
    Path | None,
    typer.Option(
        metavar="RUN",
        help="Run folder whose calibration and profile-head settings are reused. Only without --protocol.",
    ),
]
OutOption = Annotated[Path | None, typer.Option(metavar="FOLDER", help="Run folder; default: in runs.")]
PreparedOption = Annotated[Path, typer.Option(metavar="FOLDER", help="Where prepared corpora are kept.")]
DeviceOption = Annotated[str, typer.Option(metavar="DEVICE", help="cpu, cuda, or auto: the GPU if any.")]


@verbs.command()
def train(
    recipe: RecipeArgument,
    corpus: CorporaOption,
    protocol: FoldsOfOption = None,
    fold: FoldOption = None,
    seed: SeedOption = None,
    init: InitOption = None,
    calibration: CalibrationOption = None,
    out: OutOption = None,
    prepared: PreparedOption = Path("prepared"),
    device: DeviceOption = "auto",
) -> None:
    """Train the models of RECIPE. Resumes an interrupted run."""
    if fold and not protocol:
        raise typer.BadParameter("--fold is a fold of --protocol; add --protocol")
    if calibration and protocol:
        raise typer.BadParameter("--calibration is for a model of all speakers; leave --protocol out")
    from speech_emotion.extras import require

    require("torch", extra="train", needed_for="Training")
    from speech_emotion.evaluation import splits
    from speech_emotion.training import runs
    from speech_emotion.training.config import TrainConfig
    from speech_emotion.training.progress import EpochLines, choose_device

    loaded = TrainConfig.load(recipe)
    main, others = _divided(corpus, loaded)
    config = _for(main, loaded, recipe)
    config = config.with_init(init) if init else config
    split = splits.protocol_of(main.corpus, protocol) if protocol else None
    run = f"{main.name}-{recipe.stem}" if main.is_table else recipe.stem
    out = out or Path("runs") / run / (protocol or "all-speakers")
    trainings = runs.plan(config, out, split, seed or [config.fit.seed], fold)
    device = choose_device(device)  # refused before the corpus is prepared
    dataset = _prepared(main, others, config, prepared)
    with progress("embedding") as on_copy:
        models = runs.train(
            trainings,
            dataset,
            references=calibration,
            device=device,
            on_epoch=EpochLines(trainings, typer.echo),
            on_copy=on_copy or (lambda *_: None),
        )
    typer.echo("\n".join(map(str, models)))
    if protocol:
        labelled = [one for one in corpus if one.name not in config.unlabelled]
        options = " ".join(f"--corpus {one}" for one in (labelled if protocol == splits.LOCO else [main]))
        typer.echo(f"Next: speech-emotion evaluate {out} {options} --protocol {protocol}", err=True)


def _divided(given: list[CorpusFolder], config: "TrainConfig") -> tuple[CorpusFolder, list[CorpusFolder]]:
    """The corpus that a protocol divides, and the others of the recipe's mixture in its order."""
    by_name = {one.name: one for one in given}
    if missing := config.mixture.keys() - by_name:
        names = ", ".join(sorted(missing))
        raise ConfigError(f"{config.name} also learns from {names}. Give each: --corpus NAME=FOLDER.")
    others = [by_name.pop(name) for name in config.mixture]
    if len(by_name) != 1 or len(given) != 1 + len(others):
        raise typer.BadParameter(
            f"--corpus {config.corpus}=FOLDER is needed once, and each corpus of the recipe's [mixture]; "
            f"got {', '.join(one.name for one in given)}"
        )
    return by_name.popitem()[1], others


def _prepared(
    main: CorpusFolder, others: list[CorpusFolder], config: "TrainConfig", prepared: Path
) -> "Dataset":
    from speech_emotion.training.data.mixture import Mixture

    datasets = [prepare_corpus(one, prepared / one.name) for one in (main, *others)]
    return Mixture(tuple(datasets), config.unlabelled) if others else datasets[0]


def _for(corpus: CorpusFolder, config: "TrainConfig", recipe: Path) -> "TrainConfig":
    """The recipe for a corpus: any one fits a corpus of one's own."""
    if corpus.is_table:
        return config.for_corpus(corpus.corpus.name)
    if corpus.name != config.corpus:
        raise typer.BadParameter(f"{recipe} trains on {config.corpus}: --corpus {config.corpus}=FOLDER")
    return config
