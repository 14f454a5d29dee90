"""The tables of measurements, from the committed JSON of the benchmarks."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from docs.generate.markdown import table

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"


def queue_results() -> str:
    """Return jobs a second of the queue alone, and the cost of a call by the queue's length."""
    numbers = _numbers("queue.json")
    rates = numbers["jobs_per_s"]
    stock = rates["SimpleWorker"]
    jobs = table(
        ("one worker, a network that does nothing", "jobs/s", "times stock RQ"),
        ((name, f"{rate:,.0f}", f"{rate / stock:.1f}") for name, rate in rates.items()),
    )
    depth = table(
        ("jobs in the queue", "a submit, ms", "a status call, ms"),
        (
            (f"{row['queued']:,}", f"{row['submit_ms']:.2f}", f"{row['status_ms']:.2f}")
            for row in numbers["depth"]
        ),
    )
    http = numbers["http"]
    words = (
        f"From submit to result over HTTP: {http['p50_ms']:.1f} ms (p50), "
        f"{http['p99_ms']:.1f} ms (p99)."
    )
    return "\n".join((_machine(numbers), jobs, words + "\n", depth))


def scan_results() -> str:
    """Return latency and throughput of one scan, beside the bare work and peers."""
    numbers = _numbers("scan.json")
    bare = numbers["bare"]["all_threads"]["stages_s"]["total"]
    can_do = numbers["bare"]["can_do_scans_per_s"]
    rows = [("the bare work, all cores for one scan", f"{1000 * bare:.0f}", "1.00", "", "")]
    rows += [
        (
            system["name"],
            f"{1000 * system['idle']['p50_s']:.0f}",
            f"{system['idle']['p50_s'] / bare:.2f}",
            f"{system['load']['scans_per_s']:.2f}",
            f"{system['load']['scans_per_s'] / can_do:.2f}",
        )
        for system in numbers["systems"]
    ]
    head = ("", "1 client: p50, ms", "÷ bare", "4 clients: scans/s", "÷ what the cores can do")
    return _machine(numbers) + "\n" + table(head, rows)


def component_results() -> str:
    """Return where a scan's time goes, part by part."""
    numbers = _numbers("components.json")
    rounds = numbers["rounds"]
    names = [*rounds[0]["shares"], "end_to_end"]
    head = (
        "part",
        *(f"{measured['clients']} client(s): mean, ms" for measured in rounds),
    )
    rows = (
        (
            name.replace("_", " "),
            *(f"{1000 * measured['seconds'][name]['mean']:.1f}" for measured in rounds),
        )
        for name in names
    )
    return _machine(numbers) + "\n" + table(head, rows)


def blocked_results() -> str:
    """Return the cost of many clients that wait at once."""
    numbers = _numbers("blocked.json")
    head = (
        "clients that wait",
        "at once",
        "errors",
        "result after, p50 ms",
        "p95 ms",
        "API, MB",
        "while blocked, MB",
    )
    rows = (
        (
            wave["way"],
            f"{wave['blocked_at_once']:,}",
            f"{wave['errors']}",
            f"{wave['woken_p50_ms']:.1f}",
            f"{wave['woken_p95_ms']:.1f}",
            f"{wave['mb_idle']:.0f}",
            f"{wave['mb_blocked']:.0f}",
        )
        for wave in numbers["waves"]
    )
    return _machine(numbers) + "\n" + table(head, rows)


def plan_results() -> str:
    """Return planned figures beside those of real runs."""
    numbers = _numbers("plan_check.json")
    head = ("load", "scans", "mean, s", "planned ÷ real", "p95, s", "planned ÷ real")
    rows = (
        (
            f"{load['utilisation']:.0%}",
            f"{load['scans']:,}",
            f"{load['real']['mean_s']:.2f}",
            f"{load['ratios']['mean_s']:.2f}",
            f"{load['real']['p95_s']:.2f}",
            f"{load['ratios']['p95_s']:.2f}",
        )
        for load in numbers["loads"]
    )
    return _machine(numbers) + "\n" + table(head, rows)


def mixed_results() -> str:
    """Return throughput with shapes in turn beside the same scans sorted by shape."""
    numbers = _numbers("mixed.json")
    rows = (
        (
            stream["model"],
            f"{stream['mixed_scans_per_s']:.2f}",
            f"{stream['one_shape_scans_per_s']:.2f}",
            f"{stream['ratio']:.2f}",
        )
        for stream in numbers["streams"]
    )
    head = ("model", "shapes in turn, scans/s", "sorted by shape, scans/s", "ratio")
    return _machine(numbers) + "\n" + table(head, rows)


def scale_results() -> str:
    """Return the conclusion and the table of the committed scale run."""
    lines = (RESULTS / "scale" / "cpu" / "scale.md").read_text(encoding="utf-8").splitlines()
    kept = (line for line in lines[1:] if not line.startswith("!["))
    return "\n".join(kept).strip() + "\n"


def soak_results() -> str:
    """Return how the memory of each process grew in the committed soak."""
    numbers = _numbers("soak.json")
    rows = (
        (
            name,
            f"{process['mean_mb']:.0f}",
            f"{process['percent_per_hour']:+.1f} ± {process['uncertainty']:.1f}",
            process["conclusion"],
        )
        for name, process in numbers["processes"].items()
    )
    words = f"{numbers['minutes']:.0f} minutes, {numbers['scans']:,} scans at "
    words += f"{numbers['scans_per_s']:.2f} a second, {len(numbers['errors'])} errors.\n"
    head = ("process", "mean, MB", "growth, % an hour", "conclusion")
    return "\n".join((_machine(numbers), words, table(head, rows), _sentences(numbers)))


def fault_results() -> str:
    """Return the table of faults, with the seconds until the service was ready again."""
    return _page("faults.md")


def fault_soak_results() -> str:
    """Return the result of a soak of random faults."""
    return _page("faults_soak.md")


def kill_results() -> str:
    """Return how scans ended while the oldest worker was killed again and again."""
    facts = _numbers("faults_kill_oldest.json")
    done = ", ".join(f"{count} {status}" for status, count in facts["done"].items())
    head = ("scans", "workers", "kills", "one every, s", "ended", "with more than one outcome")
    row = (facts["scans"], facts["workers"], facts["kills"], facts["every_s"], done, facts["twice"])
    return _machine(facts) + "\n" + table(head, [tuple(map(str, row))])


def hostile_results() -> str:
    """Return the responses to hostile inputs."""
    return f"{_machine(_numbers('hostile.json'))}\n{_page('hostile.md')}"


def _page(name: str) -> str:
    """Return a report without its title, which the page has."""
    return (RESULTS / name).read_text(encoding="utf-8").partition("\n")[2].strip() + "\n"


def _sentences(numbers: dict[str, Any]) -> str:
    sentences: Iterable[str] = numbers["conclusion"]
    return "\n".join(f"- {sentence}" for sentence in sentences) + "\n"


def _machine(numbers: dict[str, Any]) -> str:
    machine = numbers["machine"]
    return (
        f"*{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, "
        f"{machine['at'][:10]}.*\n"
    )


def _numbers(name: str) -> dict[str, Any]:
    numbers: dict[str, Any] = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    return numbers
