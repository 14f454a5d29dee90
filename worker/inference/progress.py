"""How a pass tells what share of one scan is done."""

from collections.abc import Callable

#: Is told what share of one scan's windows is done, above 0 and up to 1.
OnShare = Callable[[float], None]


def unheard(_: float) -> None:
    """Take a share and tell nobody."""
