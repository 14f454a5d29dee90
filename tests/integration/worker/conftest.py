"""Fixtures of the tests that run a whole worker pipeline."""

from collections.abc import Iterator

import pytest

from shared.settings import Settings
from worker.models.cache import open_model_cache
from worker.pipeline.pipeline import Pipeline
from worker.queueing.connection import connect


@pytest.fixture
def pipeline(settings: Settings) -> Iterator[Pipeline]:
    """A worker's pipeline, with this test's default model loaded."""
    with connect(settings) as redis:
        opened = Pipeline(settings, open_model_cache(settings, redis, "worker-1"))
        yield opened
        opened.close()
