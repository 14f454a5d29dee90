"""The reference of the command line, from the commands themselves."""

from collections.abc import Iterator
from typing import Any

import typer.main

from docs.generate.markdown import code, literals, table
from voxelq.cli.app import app

# Some versions of Typer contain a copy of click and others use the package, so no class of click
# can be named here: commands are recognised by their methods.
Command = Any
Context = Any


def cli_reference() -> str:
    """Return a section for each command of `voxelq`: usage, what it does, options."""
    root = typer.main.get_command(app)
    return "\n".join(_sections(root, root.context_class(root, info_name="voxelq"), "voxelq"))


def _sections(command: Command, context: Context, path: str) -> Iterator[str]:
    if context.parent is not None:
        yield _section(command, context, path)
    if hasattr(command, "list_commands"):
        for name in command.list_commands(context):
            subcommand = command.get_command(context, name)
            if not subcommand.hidden:
                inner = subcommand.context_class(subcommand, info_name=name, parent=context)
                yield from _sections(subcommand, inner, f"{path} {name}")


def _section(command: Command, context: Context, path: str) -> str:
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    parts = [f"## {path}", literals((command.help or "").strip()), f"```text\n{usage}\n```"]
    records = (parameter.get_help_record(context) for parameter in command.params)
    rows = [
        (code(name), text.replace("<", "&lt;"))
        for name, text in filter(None, records)
        if "--help" not in name
    ]
    if rows:
        parts.append(table(("argument or option", "what it does"), rows))
    return "\n\n".join(parts) + "\n"
