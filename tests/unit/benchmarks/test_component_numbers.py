"""The arithmetic of the components' benchmark, and its errors if a service cannot be measured."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.components.load import (
    PARTS,
    TURNS,
    WARM_UP,
    NotMeasured,
    RestEndpoint,
    Round,
    Sample,
    measure,
    read_sample,
    service_facts,
)
from benchmarks.components.report import round_numbers, spread
from tests.support.tiny_service import TinyService, job, problem, serving
from voxelq.local.valkey import free_port

REPORTED = {
    "upload": 20.0,
    "queue": 10.0,
    "load": 30.0,
    "preprocess": 40.0,
    "inference": 200.0,
    "postprocess": 20.0,
    "store": 10.0,
    "total": 310.0,
    "answer": 5.0,
    "server": 340.0,
}
FINISHED = job(
    status="finished",
    batch={"id": "b", "size": 2},
    result={"scan": {"shape": [64, 64, 32]}, "tumor": {}},
)


def answer(
    status: int = 200, body: Any = FINISHED, reported: dict[str, float] | None = None
) -> httpx.Response:
    """Return an answer of `/predict` as the service gives it."""
    timing = ", ".join(
        f"{k};dur={v}" for k, v in (REPORTED if reported is None else reported).items()
    )
    request = httpx.Request("POST", "http://service/predict")
    return httpx.Response(status, json=body, headers={"Server-Timing": timing}, request=request)


def test_the_networks_share_is_what_the_server_does_not_report() -> None:
    """Of 400 ms at the client and 340 ms at the server the network took 60 ms."""
    sample = read_sample(answer(), 0.4)
    assert sample.seconds["network"] == pytest.approx(0.06)
    assert sample.seconds["worker"] == pytest.approx(0.3)
    assert sample.seconds["server_total"] == pytest.approx(0.34)
    assert sum(sample.seconds[name] for name in PARTS) == pytest.approx(0.395)
    assert (sample.batch_size, sample.shape) == (2, (64, 64, 32))


@pytest.mark.parametrize(
    ("given_answer", "words"),
    [
        (answer(body=job(status="failed", error=problem(422, "The volume is empty."))), "is empty"),
        (answer(202, job()), "longer than the service lets clients wait"),
        (answer(429, problem(429, "The queue is full.")), "queue is full"),
        (answer(200, "hello"), "not as VoxelQ does"),
        (answer(reported={"queue": 1.0}), "does not report its server, upload"),
    ],
)
def test_a_call_that_cannot_be_measured_has_its_reason(
    given_answer: httpx.Response, words: str
) -> None:
    """A failed scan, a wait that was too long, a refusal and a foreign response are named."""
    with pytest.raises(NotMeasured, match=words):
        read_sample(given_answer, 0.4)


samples = st.lists(
    st.fixed_dictionaries({name: st.floats(0, 10) for name in PARTS}), min_size=1, max_size=30
)


@settings(deadline=None)
@given(samples, st.floats(0, 0.2), st.integers(1, 4))
def test_parts_shares_and_quantiles_agree(
    parts: list[dict[str, float]], gap: float, size: int
) -> None:
    """Shares and rest add up to 1, quantiles are ordered, and ``adds_up`` follows from the rest."""
    calls = []
    for one in parts:
        whole_s = (sum(one.values()) + 0.01) * (1 + gap)
        wholes = {"worker": one["inference"], "server_total": whole_s, "end_to_end": whole_s}
        calls.append(Sample({**one, **wholes}, size, (8, 8, 8)))
    numbers = round_numbers(Round("REST", 1, 2.0, calls))
    assert sum(numbers["shares"].values()) + numbers["rest"] == pytest.approx(1)
    assert numbers["adds_up"] == (abs(numbers["rest"]) <= 0.05)
    for found in numbers["seconds"].values():
        # the last digits of interpolated quantiles may differ
        ordered = [found[name] for name in ("median", "p90", "p95", "p99")]
        assert ordered == pytest.approx(sorted(ordered))
        assert found["std"] >= 0
    assert numbers["scans_per_s"] == len(calls) / 2
    assert numbers["end_to_end_s"] == sorted(numbers["end_to_end_s"])
    (batches,) = numbers["batches"].items()
    assert batches[0] == str(size)
    assert batches[1]["scans"] == len(calls)


def test_a_spread_is_the_textbooks() -> None:
    """Mean, median, percentiles and deviation of 0 to 100."""
    found = spread([float(number) for number in range(101)])
    assert found == pytest.approx(
        {"mean": 50, "median": 50, "p90": 90, "p95": 95, "p99": 99, "std": 29.154759}
    )


class Counting:
    """An endpoint that only counts; it refuses the call number ``fails_at``."""

    name = "none"

    def __init__(self, fails_at: int = 0) -> None:
        self.calls = 0
        self.closed = 0
        self._fails_at = fails_at

    def connect(self) -> "Counting":
        """Return itself, for every client."""
        return self

    def predict(self) -> Sample:
        """Count a call."""
        self.calls += 1
        if self.calls == self._fails_at:
            raise NotMeasured("the queue is full.")
        return Sample({"end_to_end": 0.0}, 1, (1, 1, 1))

    def close(self) -> None:
        """Count a closed connection."""
        self.closed += 1


@pytest.mark.parametrize(("clients", "calls"), [(1, 10), (3, 3 * TURNS)])
def test_exactly_the_wanted_calls_count(clients: int, calls: int) -> None:
    """Clients make exactly this many calls together, without those of the warm-up."""
    endpoint = Counting()
    done = measure(endpoint, requests=10, clients=clients)
    assert len(done.samples) == calls
    assert endpoint.calls == calls + WARM_UP * clients
    assert endpoint.closed == clients
    assert done.seconds > 0


@pytest.mark.parametrize("fails_at", [1, 5, 9])
def test_a_clients_fault_ends_the_round(fails_at: int) -> None:
    """A refused call, at warm-up or later, ends all clients and is the round's error."""
    endpoint = Counting(fails_at)
    with pytest.raises(NotMeasured, match="queue is full"):
        measure(endpoint, requests=20, clients=3)
    assert endpoint.closed == 3


@pytest.fixture
def service() -> Iterator[TinyService]:
    """A service with scripted answers."""
    with serving() as tiny:
        yield tiny


def test_lanes_are_read_from_the_metrics(service: TinyService) -> None:
    """Lanes are lane-seconds per worker-second, and workers are read from the queue."""
    service.on("GET", "/queue", 200, {"workers": [{"device": "cpu"}, {"device": "cpu"}]})
    text = b"voxelq_worker_seconds_total 10.5\nvoxelq_lane_seconds_total 41.9\n"
    service.on("GET", "/metrics", 200, text)
    assert service_facts(service.url) == {"workers": 2, "device": "cpu", "lanes": 4}


def test_a_service_that_does_not_report_workers_is_not_measured(service: TinyService) -> None:
    """Without workers or their metrics there is an error."""
    with pytest.raises(NotMeasured, match="does not report its workers"):
        service_facts(service.url)


def test_an_address_without_a_service_is_named() -> None:
    """If nothing listens, the error has the address."""
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(NotMeasured, match=url):
        RestEndpoint(url, b"").connect().predict()
