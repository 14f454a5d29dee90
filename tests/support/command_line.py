"""Commands that run in the test's own process."""

from collections.abc import Callable

#: Runs one command and returns its exit code.
Run = Callable[..., int]
