"""The exit codes of the command line, and the error for wrong usage."""

FAILED, USAGE, UNREACHABLE = 1, 2, 3


class UsageError(Exception):
    """A command cannot run as it was typed; ``str`` says why, and the exit code is `USAGE`."""
