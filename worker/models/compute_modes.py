"""The compute modes that workers have measured, kept in Redis for all workers."""

import json
from dataclasses import asdict
from typing import Any

import structlog
from pydantic import TypeAdapter, ValidationError
from redis import Redis
from redis.exceptions import RedisError

from shared.bundles.bundle import Bundle
from shared.queue import keys
from shared.version import VERSION
from worker.device.compute_mode import ComputeMode
from worker.device.compute_options import ComputeOptions
from worker.device.select import choose_device, device_kind

log = structlog.get_logger()

_MODE = TypeAdapter(ComputeMode)


class RedisComputeMode:
    """The compute mode of one bundle on this kind of device, for workers with the same options.

    Without Redis nothing is kept, and each worker uses what it measures itself.
    """

    def __init__(self, redis: Redis, bundle: Bundle, options: ComputeOptions) -> None:
        self._redis = redis
        self._bundle = bundle
        self._options = options

    def get(self) -> ComputeMode | None:
        """Return the mode that is kept; None if there is none, or it cannot be read."""
        try:
            kept: Any = self._redis.hget(keys.COMPUTE_MODES, self._field())
            return _MODE.validate_json(kept) if kept is not None else None
        except (RedisError, ValidationError) as error:
            log.warning("compute_mode_not_read", error=type(error).__name__)
            return None

    def keep(self, mode: ComputeMode) -> ComputeMode:
        """Keep ``mode`` unless another worker was first; return the mode that is kept."""
        try:
            self._redis.hsetnx(keys.COMPUTE_MODES, self._field(), json.dumps(asdict(mode)))
        except RedisError as error:
            log.warning("compute_mode_not_kept", error=type(error).__name__)
        return self.get() or mode

    def _field(self) -> str:
        # Asked late: the GPU's memory must be limited before the GPU is used for the first time.
        kind = device_kind(choose_device(self._options.device))
        compiled = " compiled" if self._options.compile_network else ""
        return f"{VERSION} {self._bundle.key} {self._options.precision}{compiled} {kind}"
