"""What others build for the same work, of stock parts and with no package more than we have.

- ``threads``: FastAPI that calls the model in its threads; there is no queue at all.
- ``rq``: FastAPI that lays the scan on the disk and its name in Redis, and blocks until a stock
  RQ SimpleWorker has done it; a worker does one scan after another.

Both do what `benchmarks.common.bare` does to a scan, and answer when mask and picture are written.
A client says how many threads a scan gets, so that every load is measured with what suits it best.

``python -m benchmarks.common.peers threads --port P``, ``... rq --port P``, ``... worker``;
the folder for files is ``PEER_FOLDER``, Redis is at ``REDIS_URL``.
"""

import argparse
import io
import os
import uuid
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from redis import Redis
from rq import Queue, SimpleWorker
from starlette.concurrency import run_in_threadpool

#: What the worker runs; named and not imported, for the API of a queue needs no torch.
TASK = "benchmarks.common.peer_task.segment"
#: A client that has waited for so long is told that it failed (seconds).
PATIENCE_S = 120


def threads_app() -> FastAPI:
    """Return the service without a queue."""
    from benchmarks.common.peer_task import work

    app, model = FastAPI(), work()

    @app.post("/predict")
    async def predict(request: Request, threads: int) -> dict[str, Any]:
        scan = io.BytesIO(await request.body())
        done = await run_in_threadpool(model.run, scan, threads)
        return done.as_job()

    @app.get("/queue")
    async def state() -> dict[str, int]:
        return {"workers": 1}

    return app


def rq_app(folder: Path, redis: Redis) -> FastAPI:
    """Return the service with a stock queue; a blocked client holds a thread, as RQ has it."""
    app, queue = FastAPI(), Queue("peers", connection=redis)

    def submit_and_wait(body: bytes, threads: int) -> dict[str, Any]:
        scan = folder / f"{uuid.uuid4().hex}.nii.gz"
        scan.write_bytes(body)
        result = queue.enqueue(TASK, str(scan), threads).latest_result(timeout=PATIENCE_S)
        if result is None or result.type != result.Type.SUCCESSFUL:
            raise HTTPException(500, "The job failed.")
        return dict(result.return_value or {})

    @app.post("/predict")
    async def predict(request: Request, threads: int) -> dict[str, Any]:
        return await run_in_threadpool(submit_and_wait, await request.body(), threads)

    @app.get("/queue")
    def state() -> dict[str, int]:
        return {"workers": SimpleWorker.count(redis)}

    return app


def main() -> None:
    """Serve one of the two, or be the second one's worker, until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", choices=["threads", "rq", "worker"])
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    if options.what == "threads":
        app = threads_app()
    else:
        redis = Redis.from_url(os.environ["REDIS_URL"], socket_timeout=PATIENCE_S + 10)
        if options.what == "worker":
            from benchmarks.common.peer_task import work

            work()  # before it is heard of, so that no scan pays for it
            SimpleWorker(["peers"], connection=redis).work(logging_level="WARNING")
            return
        app = rq_app(Path(os.environ["PEER_FOLDER"]), redis)
    uvicorn.run(app, port=options.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
