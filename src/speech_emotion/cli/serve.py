"""The verb `serve`: the model behind an address, for programs; and keys for its clients."""

import os
from pathlib import Path
from typing import Annotated

import typer

from speech_emotion.cli.shared import ModelOption

verbs = typer.Typer()


WorkersOption = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Clips to score at once; default: the cores.")
]
KeysOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="File with the hashes of keys that may ask.")
]
AddKeyOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Add a key to --keys, print it, and end.")
]
NoKeyOption = Annotated[bool, typer.Option("--no-key", help="Let other machines ask without a key.")]
HostsOption = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="Another name of this server. Repeatable.")
]
OriginsOption = Annotated[
    list[str] | None,
    typer.Option(metavar="ORIGIN", help="Site whose pages may ask: https://example.org. Repeatable."),
]
JobsOption = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="Where jobs are kept; default: in your home.")
]


@verbs.command()
def serve(
    model: ModelOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0 for any free one.")] = 8000,
    workers: WorkersOption = None,
    keys: KeysOption = None,
    add_key: AddKeyOption = None,
    no_key: NoKeyOption = False,
    allow_host: HostsOption = None,
    origin: OriginsOption = None,
    jobs: JobsOption = None,
    max_mb: Annotated[int, typer.Option(min=1, metavar="N", help="Largest body, in MB.")] = 25,
    max_seconds: Annotated[
        int, typer.Option(min=10, max=86_400, metavar="N", help="Longest sound, in seconds.")
    ] = 600,
) -> None:
    """Answer programs over HTTP and WebSocket."""
    from speech_emotion.server import keys as known
    from speech_emotion.server.run import Address, default_jobs_folder
    from speech_emotion.server.run import serve as run
    from speech_emotion.server.service import MIB, ServiceOptions

    if add_key is not None:
        if keys is None:
            raise typer.BadParameter("--add-key needs the file to add to: --keys FILE")
        typer.echo(known.add(keys, add_key))
        return
    address = Address(host, port, is_open=no_key)
    options = ServiceOptions(
        jobs_folder=jobs or default_jobs_folder(),
        model=model,
        n_workers=workers,
        keys=known.Keys.read(keys, os.environ.get(known.ENVIRONMENT)),
        hosts=address.host_names(allow_host or ()),
        origins=origin or (),
        max_body_bytes=max_mb * MIB,
        max_seconds=max_seconds,
    )
    run(address, options)
