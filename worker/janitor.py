"""Retention: terminal jobs and their files go when their time is over, and so do orphans."""

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from redis import Redis
from redis.exceptions import RedisError
from ulid import ULID

from shared import keys, scripts
from shared.jobs import TERMINAL
from shared.settings import Settings
from shared.store import ScanStore

log = structlog.get_logger()

#: A round purges this many jobs of a state at most.
ROUND = 200


class Janitor(threading.Thread):
    """Purges what is older than ``RETENTION_S``; one worker at a time does the round."""

    def __init__(self, redis: Redis, store: ScanStore, settings: Settings) -> None:
        super().__init__(name="janitor", daemon=True)
        self._redis = redis
        self._store = store
        self._retention_s = settings.retention_s
        self._interval_s = min(60.0, max(1.0, settings.retention_s / 10))

    def run(self) -> None:
        """Make a round every now and then, as long as the process lives."""
        while True:
            time.sleep(self._interval_s)
            try:
                if scripts.TAKE_TURN.run(self._redis, keys.JANITOR, 0.9 * self._interval_s):
                    self._store.sweep_unpacked()
                    purged = self.purge_expired() + self.purge_orphans()
                    if purged:
                        log.info("purged", count=purged)
            except (RedisError, OSError) as error:
                log.warning("round failed", error=type(error).__name__)

    def purge_expired(self) -> int:
        """Purge terminal jobs that ended ``RETENTION_S`` ago; return how many."""
        limit = datetime.now(UTC) - timedelta(seconds=self._retention_s)
        purged = 0
        for status in TERMINAL:
            # Ids sort by time of submission, so what ended before `limit` has a lesser id.
            oldest: Any = self._redis.zrange(
                f"{keys.INDEX}:{status}", "-", f"({ULID.from_datetime(limit)}",
                bylex=True, offset=0, num=ROUND,
            )  # fmt: skip
            for job_id in (entry.decode() for entry in oldest):
                ended: Any = self._redis.hget(keys.RQ_JOB + job_id, "ended_at")
                if ended and datetime.fromisoformat(ended.decode()) > limit:
                    continue
                self._store.delete_job(job_id)
                scripts.PURGE.run(self._redis, job_id)
                purged += 1
        return purged

    def purge_orphans(self) -> int:
        """Remove folders as old that no job refers to: uploads whose API died; return how many."""
        purged = 0
        limit = time.time() - self._retention_s
        for job_id in self._store.job_ids():
            begun_at = ULID.from_str(job_id).timestamp
            if begun_at < limit and not self._redis.exists(keys.RQ_JOB + job_id):
                self._store.delete_job(job_id)
                purged += 1
        return purged
