"""A worker's access to the queue: draw, begin, update progress, settle, give back, extend, reap.

A drawn job is held by a lease, which is its entry in RQ's registry of started jobs. The lease is
also the fence: settling removes it and writes the outcome in one script, so a worker that lost its
lease (to the reaper or to a cancel) can no longer write an outcome.
"""

import json
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from types import MappingProxyType

import structlog
from pydantic import ValidationError
from redis import Redis
from redis.exceptions import RedisError

from shared.errors import JobLost, JobTimedOut, JobUnreadable
from shared.jobs import Submission
from shared.queue import keys, scripts
from shared.queue.rq_jobs import UNREADABLE, encode_exception, encode_return_value, rq_stamp
from shared.queue.scripts import Argument
from shared.settings import Settings
from shared.version import VERSION
from worker.device.compute_mode import PLAIN, ComputeMode
from worker.pipeline.outcomes import Failed, Finished, LeasedJob, Outcome, Retry, Returned
from worker.pipeline.progress import Step
from worker.queueing.draw import Draw, Traffic

log = structlog.get_logger()

#: The key of the thresholds for models that have none of their own.
ANY_MODEL = ""
NO_THRESHOLDS: Mapping[str, Sequence[int]] = MappingProxyType({})

NO_METRICS: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True)
class WorkerFacts:
    """What ``GET /queue`` shows of a worker; ``paused`` is why it draws no jobs, if it does not."""

    id: str
    device: str
    model: str | None
    batch: tuple[str, ...] = ()
    compute_mode: ComputeMode = PLAIN
    peak_memory_bytes: int | None = None
    paused: str | None = None
    version: str = VERSION

    def to_json(self) -> str:
        """Encode the facts as the queue's state holds them."""
        facts = asdict(self)
        return json.dumps(facts | facts.pop("compute_mode"))


class Leases:
    """The jobs one worker holds. Every method is one round trip and may raise RedisError."""

    def __init__(self, redis: Redis, worker_id: str, settings: Settings) -> None:
        self._redis = redis
        self._worker_id = worker_id
        self._settings = settings

    def draw(
        self,
        most: int,
        *,
        model: str | None = None,
        thresholds: Mapping[str, Sequence[int]] = NO_THRESHOLDS,
        spare: int = 0,
        skipped: Collection[str] = (),
    ) -> Draw:
        """Lease up to ``most`` jobs of one model, in the order of service.

        Args:
            most: The largest batch.
            model: ``name@version`` of a batch that is topped up: only jobs of that model are
                drawn, and none that must run alone. None: the first job decides the model, and a
                job that must run alone is drawn alone.
            thresholds: By model, how many jobs must be queued for a batch of 1, 2, 3... jobs;
                the entry under ``ANY_MODEL`` is for models without one. A model without any is
                drawn up to ``most``. Idle workers and ``spare`` lanes are left their share.
            spare: Other lanes of this worker that are idle.
            skipped: Models whose jobs are left to other workers.

        A job that cannot be read fails, and is not returned.
        """
        encoded = ";".join(f"{ref}={','.join(map(str, row))}" for ref, row in thresholds.items())
        while True:
            draw, unreadable = self._draw(most, model, encoded, spare, skipped)
            if unreadable:
                self._refuse(unreadable)
            if draw.jobs or not unreadable:
                return draw

    def _draw(
        self, most: int, model: str | None, thresholds: str, spare: int, skipped: Collection[str]
    ) -> tuple[Draw, list[tuple[str, str, str]]]:
        """Return the draw, and the leases of the jobs that cannot be read."""
        settings = self._settings
        seen, *drawn = scripts.DRAW.run(
            self._redis,
            self._worker_id,
            most,
            settings.lease_s,
            settings.aging_s,
            thresholds,
            model or "",
            uuid.uuid4().hex,
            int(model is None),
            spare,
            ";".join(skipped),
        )
        jobs: list[LeasedJob] = []
        unreadable: list[tuple[str, str, str]] = []
        ages_s: list[float] = []
        for job_id, execution, queue, text, losses, age_s in drawn:
            try:
                submission = Submission.model_validate_json(text)
            except ValidationError:
                unreadable.append((job_id.decode(), execution.decode(), queue.decode()))
                continue
            jobs.append(LeasedJob(submission, execution.decode(), queue.decode(), losses))
            ages_s.append(float(age_s))
        traffic = None
        if seen:
            left, ever_queued, workers, idle = seen
            traffic = Traffic(left, ever_queued, workers, idle, tuple(ages_s))
        return Draw(tuple(jobs), traffic), unreadable

    def _refuse(self, leases: Sequence[tuple[str, str, str]]) -> None:
        problem = JobUnreadable(UNREADABLE).problem()
        log.error("jobs_refused", jobs=[job_id for job_id, _, _ in leases])
        try:
            scripts.REFUSE.run(
                self._redis,
                self._worker_id,
                rq_stamp(datetime.now(UTC)),
                self._settings.retention_s,
                json.dumps(problem),
                encode_exception(problem),
                *(part for lease in leases for part in lease),
            )
        except RedisError as error:
            # Return the readable jobs all the same; the others are reaped when their leases expire.
            log.warning("refusal_failed", error=type(error).__name__)

    def wait_for_work(self, seconds: float) -> None:
        """Sleep until a job may have been queued, ``seconds`` at most."""
        self._redis.blpop([keys.WAKE], timeout=seconds)

    def begin(self, jobs: Sequence[LeasedJob], facts: WorkerFacts) -> list[LeasedJob]:
        """Mark drawn jobs started; return those not cancelled or lost meanwhile."""
        begun = scripts.BEGIN.run(
            self._redis,
            self._worker_id,
            facts.to_json(),
            self._settings.lease_s,
            rq_stamp(datetime.now(UTC)),
            self._settings.job_timeout_s,
            *_leases(jobs),
        )
        return [job for job, held in zip(jobs, begun, strict=True) if held]

    def settle(
        self,
        settled: Sequence[tuple[LeasedJob, Outcome]],
        facts: WorkerFacts,
        *,
        batch_s: float,
        metrics: Mapping[str, float],
    ) -> list[LeasedJob]:
        """Write all outcomes of a batch at once; return the jobs whose outcome was dropped.

        Safe to repeat when the reply was lost: an outcome counts once.
        """
        arguments: list[Argument] = []
        for job, outcome in settled:
            arguments += [*job.lease, *_encode(outcome)]
        flags = scripts.SETTLE.run(
            self._redis,
            self._worker_id,
            facts.to_json(),
            self._settings.lease_s,
            rq_stamp(datetime.now(UTC)),
            self._settings.retention_s,
            self._settings.max_attempts,
            batch_s,
            *_counted(metrics),
            *arguments,
        )
        return [job for (job, _), held in zip(settled, flags, strict=True) if not held]

    def give_back(self, jobs: Sequence[LeasedJob]) -> int:
        """Return jobs, begun or only drawn, to their old places uncharged; return how many."""
        return int(scripts.GIVE_BACK.run(self._redis, *_leases(jobs)))

    def extend(
        self,
        jobs: Sequence[LeasedJob],
        facts: WorkerFacts,
        metrics: Mapping[str, float] = NO_METRICS,
    ) -> list[LeasedJob]:
        """Renew the leases, publish facts and metrics; return the jobs that were lost."""
        lost = scripts.EXTEND.run(
            self._redis,
            self._worker_id,
            facts.to_json(),
            self._settings.lease_s,
            rq_stamp(datetime.now(UTC)),
            *_counted(metrics),
            *_leases(jobs),
        )
        members = {member.decode() for member in lost}
        return [job for job in jobs if f"{job.id}:{job.execution}" in members]

    def update_progress(self, steps: Sequence[Step]) -> int:
        """Store the progress of jobs; return how many of them this worker still holds."""
        return int(
            scripts.UPDATE_PROGRESS.run(
                self._redis,
                *(
                    part
                    for step in steps
                    for part in (*step.job.lease, step.stage, f"{step.progress:.4f}")
                ),
            )
        )

    def reap(self) -> int:
        """Take back jobs with expired leases, unless another worker just did; return how many."""
        lost = JobLost(
            f"Its worker died or fell silent {self._settings.max_attempts} times while it computed "
            "this scan, the last times alone."
        ).problem()
        late = JobTimedOut(
            f"It ran alone for more than {self._settings.job_timeout_s:g} s and was stopped."
        ).problem()
        return int(
            scripts.REAP.run(
                self._redis,
                rq_stamp(datetime.now(UTC)),
                self._settings.retention_s,
                self._settings.max_attempts,
                json.dumps(lost),
                encode_exception(lost),
                json.dumps(late),
                encode_exception(late),
                max(0.1, min(1.0, self._settings.lease_s / 15)),
                self._settings.lease_s,
            )
        )

    def sign_off(self) -> None:
        """Leave the list of live workers at once, instead of when the lease expires."""
        scripts.SIGN_OFF.run(self._redis, self._worker_id)


def _leases(jobs: Sequence[LeasedJob]) -> list[str]:
    return [part for job in jobs for part in job.lease]


def _counted(metrics: Mapping[str, float]) -> list[Argument]:
    return [len(metrics), *(part for item in metrics.items() for part in item)]


def _encode(outcome: Outcome) -> tuple[str, str, str]:
    match outcome:
        case Finished(report):
            return ("finished", "", encode_return_value(report))
        case Failed(problem):
            return ("failed", json.dumps(problem), encode_exception(problem))
        case Retry(problem):
            return ("retry", json.dumps(problem), encode_exception(problem))
        case Returned(problem):
            return ("returned", json.dumps(problem), encode_exception(problem))
