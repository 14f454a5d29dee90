"""A clock that a test moves."""


class Clock:
    """Seconds that pass only when a test adds to them."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.seconds
