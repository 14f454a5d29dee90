"""The exit codes of the command line, and the error for wrong usage."""

#: A scan or a job failed, or a check found a problem.
FAILED = 1
#: The command cannot do what was typed.
USAGE = 2
#: The service does not answer.
UNREACHABLE = 3


class UsageError(Exception):
    """A command cannot run as it was typed; ``str`` says why, and the exit code is `USAGE`."""
