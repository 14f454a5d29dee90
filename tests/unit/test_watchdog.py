"""The watchdog, as a process of its own."""

import os
import select
import signal
import subprocess
import sys
import textwrap


def run_guarded(body: str) -> subprocess.CompletedProcess[str]:
    """Run a process that has a watchdog, and do ``body`` in it."""
    script = "import time\nfrom shared.watchdog import Watchdog\nwatchdog = Watchdog('nobody')\n"
    return subprocess.run(
        [sys.executable, "-c", script + textwrap.dedent(body)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_process_over_its_deadline_is_killed() -> None:
    """A process that does not disarm in time dies by SIGKILL."""
    ended = run_guarded("watchdog.arm(0.2)\ntime.sleep(60)")
    assert ended.returncode == -signal.SIGKILL


def test_a_frozen_process_is_killed_too() -> None:
    """A process that cannot run a single instruction any more is killed all the same."""
    body = "import os, signal\nwatchdog.arm(0.2)\nos.kill(os.getpid(), signal.SIGSTOP)"
    assert run_guarded(body).returncode == -signal.SIGKILL


def test_a_process_that_disarms_lives() -> None:
    """A deadline called off, or put off, does no harm."""
    ended = run_guarded("""
        watchdog.arm(0.3)
        watchdog.disarm()
        watchdog.arm(0.3)
        watchdog.arm(60)
        time.sleep(0.6)
        watchdog.close()
        print("alive")
    """)
    assert (ended.returncode, ended.stdout) == (0, "alive\n")


def test_a_watchdog_that_was_killed_is_replaced() -> None:
    """A process goes on when its watchdog dies, and is guarded again from the next batch on."""
    ended = run_guarded("""
        watchdog._process.kill()
        watchdog._process.wait()
        watchdog.arm(0.2)
        time.sleep(60)
    """)
    assert ended.returncode == -signal.SIGKILL


def test_the_watchdog_goes_with_its_process() -> None:
    """When the guarded process is killed, its watchdog leaves by itself."""
    # The watchdog inherits the writing end; the reader sees its end once both are gone.
    reader, writer = os.pipe()
    script = (
        "import os, signal\nfrom shared.watchdog import Watchdog\nWatchdog('nobody').arm(60)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script], stdout=writer, check=False)
    os.close(writer)
    try:
        ready, _, _ = select.select([reader], [], [], 30)
        assert ready
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)
