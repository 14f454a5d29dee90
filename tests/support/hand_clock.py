"""A clock that a test advances."""


class Clock:
    """Seconds that increase only if a test adds to them."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.seconds
