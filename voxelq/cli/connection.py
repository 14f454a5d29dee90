"""How the commands reach the service."""

from voxelq.cli.exits import UsageError
from voxelq.client import Client

#: How often a command that waits tries again, so that a restart of the service (about half a
#: minute) does not end the wait.
RETRIES_WHILE_WAITING = 7


def connect(url: str | None, *, retries: int = 0) -> Client:
    """Return a client of the service at ``url``.

    Without retries a command says at once that the service cannot be reached, or is full.

    Raises:
        UsageError: The URL is not an http or https address.
    """
    try:
        return Client(url, retries=retries)
    except ValueError as error:
        raise UsageError(str(error)) from error
