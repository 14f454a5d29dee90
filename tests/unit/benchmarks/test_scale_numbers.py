"""The arithmetic of scale runs: rows, shares, and their written conclusion."""

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.common.core_time import CoreTime
from benchmarks.scale.conclusion import AS_GOOD, conclusion, limit, lines
from benchmarks.scale.options import combinations, read_options, seconds
from benchmarks.scale.rows import Combination, Row, read_locust, read_summary, write_summary
from benchmarks.scale.run import ClockReading, shares

ROW = Row(
    device="cpu",
    workers=1,
    users=2,
    spawn_rate=4.0,
    max_batch_size=4,
    shapes="large",
    run_time_s=60.0,
    jobs=120,
    job_failures=0,
    requests=400,
    request_failures=0,
    jobs_per_s=2.0,
    p50_s=1.0,
    p95_s=2.0,
    queue_p50_s=0.1,
    batch_mean=1.0,
    workers_busy=0.5,
    cores=2,
    cores_idle=0.5,
    others=0.0,
    client_cores=0.1,
    reasons="",
)


def row(**changes: object) -> Row:
    """Return a row like `ROW`."""
    return dataclasses.replace(ROW, **changes)  # type: ignore[arg-type]


def rates(*per_s: float, workers: int = 1, size: int = 4) -> list[Row]:
    """Return rows of 2, 4, 8, ... users with these scans a second."""
    return [
        row(workers=workers, max_batch_size=size, users=2 << number, jobs_per_s=one)
        for number, one in enumerate(per_s)
    ]


def test_a_summary_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Numbers, text and missing values are read as they were written."""
    rows = [
        ROW,
        row(max_batch_size=None, cores_idle=None, others=None, jobs=0, p50_s=None, p95_s=None),
        row(job_failures=2, reasons='2 x failed: "no", and more', spawn_rate=0.5),
    ]
    write_summary(rows, tmp_path / "summary.csv")
    assert read_summary(tmp_path / "summary.csv") == rows
    assert [path.name for path in tmp_path.iterdir()] == ["summary.csv"]


def test_a_file_that_is_no_summary_is_refused(tmp_path: Path) -> None:
    """Another table is refused, and a missing file has no rows."""
    (tmp_path / "summary.csv").write_text("name,value\na,1\n")
    with pytest.raises(ValueError, match="not a summary"):
        read_summary(tmp_path / "summary.csv")
    assert read_summary(tmp_path / "none.csv") == []


def test_jobs_and_calls_are_separate() -> None:
    """Rows of type JOB count scans, all others calls; failures do not count as throughput."""
    common = {"50%": "1200", "95%": "2500", "Average Response Time": "1250.5"}
    stats = [
        {"Type": "POST", "Name": "/jobs", "Request Count": "12", "Failure Count": "1"},
        {"Type": "GET", "Name": "/jobs/{id}", "Request Count": "30", "Failure Count": "0"},
        {
            **common, "Type": "JOB", "Name": "time to result", "Request Count": "10",
            "Failure Count": "2", "Requests/s": "1.0", "Failures/s": "0.2",
        },
        {**common, "50%": "40", "Type": "JOB", "Name": "time in queue", "Request Count": "8"},
        {**common, "Average Response Time": "2.5", "Type": "JOB", "Name": "batch size (scans)"},
        {"Type": "", "Name": "Aggregated", "Request Count": "60", "Failure Count": "3"},
    ]  # fmt: skip
    found = read_locust(stats)
    assert (found.jobs, found.job_failures) == (8, 2)
    assert (found.requests, found.request_failures) == (42, 1)
    assert found.jobs_per_s == pytest.approx(0.8)
    assert (found.p50_s, found.p95_s, found.queue_p50_s, found.batch_mean) == (1.2, 2.5, 0.04, 2.5)


def test_a_run_too_short_for_a_job_has_no_times() -> None:
    """Without a result there is no throughput and no percentile, and that is no error."""
    found = read_locust([{"Type": "POST", "Name": "x", "Request Count": "1", "Failure Count": "0"}])
    assert (found.jobs, found.jobs_per_s, found.p50_s, found.batch_mean) == (0, 0.0, None, None)


def test_shares_are_of_the_window_alone() -> None:
    """Only readings of the last seconds count, each clock as a share of its total."""
    readings = [
        ClockReading(
            at_s=float(second),
            core_time=CoreTime(
                {"clients": 0.1 * second, "api": 0.0}, idle=0.5 * second, wall=2.0 * second
            ),
            client_s=0.1 * second,
            busy_s=max(0.0, 0.8 * (second - 5)),
            worker_s=float(second),
        )
        for second in range(11)
    ]
    busy = shares(readings, 5.0)
    assert busy.workers_busy == pytest.approx(0.8)
    assert busy.cores_idle == pytest.approx(0.25)
    assert busy.others == pytest.approx(0.7)
    assert busy.client_cores == pytest.approx(0.1)
    assert shares(readings[:1], 5.0).workers_busy is None
    assert shares([], 5.0).workers_busy is None


def test_saturation_is_where_more_users_bring_no_more() -> None:
    """The sentence names the fewest users that are as good as the best."""
    (line,) = lines(rates(1.0, 1.96, 2.0, 1.9))
    assert (line.enough.users, line.best.users, line.saturates) == (4, 8, True)
    (sentence, _) = conclusion(rates(1.0, 1.96, 2.0, 1.9))
    assert "2.00 scans/s (7,200 an hour)" in sentence
    assert "reached with 4 users" in sentence


def test_a_throughput_that_still_grows_is_not_saturated() -> None:
    """If the most users have by far the highest throughput, the limit is not known."""
    assert "still growing" in conclusion(rates(1.0, 2.0, 4.0))[0]
    assert "does not show where it saturates" in conclusion(rates(1.0))[0]


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=8))
def test_enough_is_the_least_number_of_users(per_s: list[float]) -> None:
    """`enough` is as good as the best, and every row of fewer users is not."""
    (line,) = lines(rates(*per_s))
    assert line.best.jobs_per_s == max(per_s)
    least = AS_GOOD * max(per_s)
    assert line.enough.jobs_per_s >= least
    fewer = [one.jobs_per_s for one in line.rows if one.users < line.enough.users]
    assert all(one < least for one in fewer)
    assert line.saturates == (len(fewer) + 1 < len(per_s))


@given(st.permutations(rates(1.0, 2.0) + rates(1.5, 2.5, workers=2) + rates(3.0, 1.0, size=8)))
def test_the_conclusion_does_not_depend_on_the_order(rows: list[Row]) -> None:
    """Rows may come in any order; speed-up and gain by batching are of the best rows."""
    sentences = conclusion(rows)
    assert sentences == conclusion(sorted(rows, key=lambda one: one.combination))
    assert "2 workers, batches up to 4 do 1.25 times what 1 worker can do." in sentences
    assert any(
        "up to 8 bring 1.50 times the throughput of batches up to 4" in one for one in sentences
    )
    assert sentences[-1] == "None of 720 jobs failed."


def test_of_several_spawn_rates_the_best_counts() -> None:
    """A line has one row for each number of users."""
    rows = [row(jobs_per_s=1.0), row(spawn_rate=8.0, jobs_per_s=1.5)]
    (line,) = lines(rows)
    assert [one.spawn_rate for one in line.rows] == [8.0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"client_cores": 0.97, "cores_idle": 0.0, "workers_busy": 1.0}, "the client"),
        ({"cores_idle": 0.02, "workers_busy": 0.95}, "more workers would only share them"),
        ({"cores_idle": 0.02, "others": 0.4}, "other programs"),
        ({"cores_idle": 0.5, "workers_busy": 0.95}, "the workers, whose networks"),
        ({"device": "H100", "cores_idle": 0.02, "workers_busy": 0.95}, "the workers, whose"),
        ({"device": "H100", "cores_idle": 0.02, "workers_busy": 0.3}, "beside the GPU"),
        ({"cores_idle": 0.5, "workers_busy": 0.5}, "the users, who pause"),
        ({"cores_idle": None, "workers_busy": None}, "unknown"),
    ],
)
def test_the_limit_is_what_is_fully_used(changes: dict[str, object], words: str) -> None:
    """The client, the cores, the workers or the users are named, as the clocks show."""
    assert words in limit(row(**changes))


def test_failures_are_listed_with_their_reasons() -> None:
    """The conclusion says how many jobs failed, and why."""
    rows = [row(job_failures=3, reasons="3 x no result within 5 s"), row(users=4)]
    assert conclusion(rows)[-1] == "3 of 243 jobs failed: 3 x no result within 5 s."


@given(st.integers(0, 9), st.integers(0, 59), st.integers(1, 59))
def test_times_are_read_as_locust_writes_them(hours: int, minutes: int, rest: int) -> None:
    """Hours, minutes and seconds add up, with and without the last unit."""
    total = 3600 * hours + 60 * minutes + rest
    assert seconds(f"{hours}h{minutes}m{rest}s") == total
    assert seconds(f"{total}") == seconds(f"{total}s") == total


@pytest.mark.parametrize("text", ["", "0", "0s", "s", "-5", "5 minutes", "1m2h", "nan", "inf"])
def test_a_text_that_is_not_a_time_is_refused(text: str) -> None:
    """A run needs a duration above 0."""
    with pytest.raises(ValueError, match="not a time"):
        seconds(text)


def test_every_combination_comes_once_grouped_by_service() -> None:
    """Duplicates are dropped, and no service has to be started twice."""
    options = read_options("", ["--num-users", "4", "2", "4", "--spawn-rate", "1", "2"])
    found = combinations(options, [2, 1], [8, 1])
    assert len(found) == len(set(found)) == 16
    services = [(one.max_batch_size, one.workers) for one in found]
    assert list(dict.fromkeys(services)) == [(1, 1), (1, 2), (8, 1), (8, 2)]
    assert services == sorted(services, key=lambda one: (one[0] or 0, one[1]))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--num-users", "0"], "above 0"),
        (
            ["--num-users", "100", "--spawn-rate", "1", "--run-time", "60s"],
            "takes to start all users",
        ),
        (["--host", "http://x", "--num-workers", "2"], "its own workers"),
        (["--host", "http://x", "--compose"], "not allowed with"),
        (["--run-time", "soon"], "--run-time"),
    ],
)
def test_contradicting_options_are_refused_at_once(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Options that cannot be measured are explained, with exit code 2."""
    with pytest.raises(SystemExit) as ended:
        read_options("", arguments)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_a_report_is_named_after_its_combination() -> None:
    """Workers, users and spawn rate are in the name, and the batch size where there are several."""
    one = Combination(2, 16, 0.5, 8)
    assert one.stem(several_sizes=False) == "2_16_0.5"
    assert one.stem(several_sizes=True) == "2_16_0.5_batch8"
