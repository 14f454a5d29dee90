"""A fault of a worker's environment: no scan is at fault, and no scan is charged for it.

A worker in trouble returns its batch to the queue, draws nothing, and checks again after a pause.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Trouble:
    """The reason why a worker cannot serve, as a text for its operator.

    ``restart``: only a restart of the process can help. ``model`` (``name@version``): only the jobs
    of this model are affected.
    """

    reason: str
    restart: bool = False
    model: str | None = None
