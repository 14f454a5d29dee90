"""The watchdog, as a process of its own."""

import os
import select
import signal
import subprocess
import sys
import textwrap


def run_guarded(body: str) -> subprocess.CompletedProcess[str]:
    """Run ``body`` in a process that has a watchdog."""
    script = (
        "import time\nfrom shared.queue.watchdog import Watchdog\nwatchdog = Watchdog('worker-1')\n"
    )
    return subprocess.run(
        [sys.executable, "-c", script + textwrap.dedent(body)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_process_over_its_deadline_is_killed() -> None:
    """A process that does not disarm in time dies by SIGKILL."""
    ended = run_guarded("with watchdog.armed(0.2): time.sleep(60)")
    assert ended.returncode == -signal.SIGKILL


def test_a_frozen_process_is_killed_too() -> None:
    """A stopped process, which cannot run a single instruction, is killed too."""
    body = "import os, signal\nwith watchdog.armed(0.2): os.kill(os.getpid(), signal.SIGSTOP)"
    assert run_guarded(body).returncode == -signal.SIGKILL


def test_a_process_that_is_in_time_lives() -> None:
    """A deadline that was met kills nothing while another one is still armed."""
    ended = run_guarded("""
        with watchdog.armed(60):
            with watchdog.armed(0.3):
                pass
            time.sleep(0.6)
        time.sleep(0.1)
        watchdog.close()
        print("alive")
    """)
    assert (ended.returncode, ended.stdout) == (0, "alive\n")


def test_the_earliest_of_several_deadlines_counts() -> None:
    """A batch that hangs is not saved by another one that began later and is in time."""
    ended = run_guarded("""
        import threading
        def hang():
            with watchdog.armed(0.5):
                time.sleep(60)
        threading.Thread(target=hang, daemon=True).start()
        for _ in range(100):
            with watchdog.armed(60):
                time.sleep(0.1)
    """)
    assert ended.returncode == -signal.SIGKILL


def test_a_watchdog_that_was_killed_is_replaced() -> None:
    """If its watchdog dies, a process goes on, and has a new watchdog from the next batch on."""
    ended = run_guarded("""
        watchdog._process.kill()
        watchdog._process.wait()
        with watchdog.armed(0.2):
            time.sleep(60)
    """)
    assert ended.returncode == -signal.SIGKILL


def test_the_watchdog_goes_with_its_process() -> None:
    """When the guarded process is killed, its watchdog exits."""
    # The watchdog inherits the writing end; the reader sees its end once both are gone.
    reader, writer = os.pipe()
    script = (
        "import os, signal\nfrom shared.queue.watchdog import Watchdog\n"
        "with Watchdog('worker-1').armed(60): os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script], stdout=writer, check=False)
    os.close(writer)
    try:
        ready, _, _ = select.select([reader], [], [], 30)
        assert ready
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)
