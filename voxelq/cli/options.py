"""Options that several commands take."""

from typing import Annotated

import typer

#: The port of the API where none is named.
DEFAULT_PORT = 8080

UrlOption = Annotated[
    str | None,
    typer.Option(envvar="VOXELQ_URL", help="The service. Default: http://127.0.0.1:8080"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
