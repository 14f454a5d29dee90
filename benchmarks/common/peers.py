"""What is usually built for the same work, from stock parts and without further packages.

- ``threads``: FastAPI that calls the model in its threads; there is no queue at all.
- ``rq``: FastAPI that writes the scan to disk and its path to Redis, and blocks until a stock RQ
  SimpleWorker has processed it; a worker processes one scan after another.

Both do the work of `benchmarks.common.bare`, and respond when mask and picture are written. A
client says how many threads a scan gets, so that every load is measured with the best number.

``python -m benchmarks.common.peers threads --port P``, ``... rq --port P``, ``... worker``;
the folder for files is ``PEER_FOLDER``, Redis is at ``REDIS_URL``.
"""

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

from benchmarks.common.output import option_parser

#: What the worker runs. A string and no import, because the API must not import torch.
TASK = "benchmarks.common.peer_task.segment"
#: The longest time that a client waits for its scan (seconds).
MAX_WAIT_S = 120


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
    """Return the service with a stock queue; a blocked client occupies a thread, as RQ does it."""
    app, queue = FastAPI(), Queue("peers", connection=redis)

    def submit_and_wait(body: bytes, threads: int) -> dict[str, Any]:
        scan = folder / f"{uuid.uuid4().hex}.nii.gz"
        scan.write_bytes(body)
        result = queue.enqueue(TASK, str(scan), threads).latest_result(timeout=MAX_WAIT_S)
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
    """Run one of the two APIs, or a worker of the second one, until SIGTERM."""
    parser = option_parser(__doc__)
    parser.add_argument("what", choices=["threads", "rq", "worker"])
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    if options.what == "threads":
        app = threads_app()
    else:
        redis = Redis.from_url(os.environ["REDIS_URL"], socket_timeout=MAX_WAIT_S + 10)
        if options.what == "worker":
            from benchmarks.common.peer_task import work

            work()  # before the worker registers, so that the model is loaded before the first scan
            SimpleWorker(["peers"], connection=redis).work(logging_level="WARNING")
            return
        app = rq_app(Path(os.environ["PEER_FOLDER"]), redis)
    uvicorn.run(app, port=options.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
