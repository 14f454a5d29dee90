"""Run a command that dies with its parent: ``parent_death.py PARENT_PID COMMAND...``.

A supervisor killed with SIGKILL cannot clean up, so on Linux the kernel is asked to kill its
children. That is done here, between fork and exec, because code run after a fork in a process
that has threads may deadlock.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Have the kernel kill this process with its parent, and replace it by the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("parent_death: the parent died first")
    os.execv(command[0], command)  # noqa: S606 - the supervisor's own command


if __name__ == "__main__":
    main()
