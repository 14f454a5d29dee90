"""The table of problems, from the tree of errors."""

from collections.abc import Iterator

from docs.generate.markdown import code, literals, table
from shared import errors


def problems_table() -> str:
    """Return a row for each kind of error: status, type, title and meaning."""
    rows = [
        (str(error.status), code(error.slug), error.title, _meaning(error))
        for error in sorted(_tree(errors.VoxelQError), key=lambda error: (error.status, error.slug))
    ]
    unique = list(dict.fromkeys(rows))
    return table(("status", "type", "title", "what happened"), unique)


def _tree(root: type[errors.VoxelQError]) -> Iterator[type[errors.VoxelQError]]:
    # other modules may derive errors, which no client sees
    for error in root.__subclasses__():
        if error.__module__ == errors.__name__:
            yield error
            yield from _tree(error)


def _meaning(error: type[errors.VoxelQError]) -> str:
    return literals((error.__doc__ or "").partition("\n")[0])
