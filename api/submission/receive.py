"""The way of an upload: admitted, written to the store, and matched with its model's inputs.

What a client sends flows one way: a body, a file under ``SCAN_ROOT`` or a stored scan is pumped in
blocks into the `ScanWriter`, through a `MultipartForm` where it is one, and each of its channels
checks, hashes and stores its own bytes.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import structlog
from fastapi import Request
from ulid import ULID

from api.model_registry import MAX_AGE_S
from api.services import Services
from api.submission.json_body import JsonSubmit
from api.submission.model_inputs import SCAN_FIELD, input_keys, scan_sha256
from api.submission.multipart import MultipartForm
from api.submission.pump import pump_body
from api.submission.request_body import Framing, RequestBody
from api.submission.resubmit import copy_stored_scan
from api.submission.scan_paths import copy_scan_paths
from api.submission.scan_writer import ScanWriter
from shared.bundles.model_card import ModelCard
from shared.errors import BadRequest, ServiceUnavailable, StoreUnavailable
from shared.jobs import Priority

log = structlog.get_logger()

#: Parameters of a submit that may be in the query, the form or the JSON object.
TEXT_FIELDS = frozenset({"model", "priority"})


@dataclass(frozen=True)
class ReceivedScan:
    """A scan that is stored, and the model and the priority to run it with."""

    job_id: str
    model: ModelCard
    priority: Priority
    scans: dict[str, str]
    sha256: str


@asynccontextmanager
async def received_scan(
    request: Request, services: Services, model: str | None, priority: Priority | None
) -> AsyncIterator[ReceivedScan]:
    """Store the scan of the request; it is deleted again if the block raises.

    ``model`` and ``priority`` are those of the query.

    Raises:
        VoxelQError: The request or its scan is refused.

    """
    body = RequestBody(request, services.settings)
    await _admit(request, body, services)
    card = await services.model_registry.resolve(model)
    writer = ScanWriter(services.store, services.settings, str(ULID()))
    try:
        async with services.upload_gate.entered():
            fields = await _write_scan(body, writer, services, card if model else None)
        services.metrics.upload_bytes.inc(body.received_bytes)
        _check_given_once(fields, model=model, priority=priority)
        if "model" in fields:
            _check_named(fields["model"])
            card = await services.model_registry.resolve(fields["model"])
        yield ReceivedScan(
            job_id=writer.job_id,
            model=card,
            priority=_priority(fields.get("priority")) or priority or Priority.ROUTINE,
            scans=input_keys(writer.channels, card),
            sha256=scan_sha256(writer.channels),
        )
    except ServiceUnavailable:
        services.undecided_uploads.add(writer.job_id)
        raise
    except BaseException:
        await _delete(services, writer.job_id, writer.discard)
        raise


async def delete_files(services: Services, job_id: str) -> None:
    """Delete the files of a scan that made no job, now or as soon as the store allows it."""
    await _delete(services, job_id, partial(services.store.delete_job, job_id))


async def _admit(request: Request, body: RequestBody, services: Services) -> None:
    """Return if the scan can be queued and stored; called before its body is read."""
    if not services.event_reader.connected:
        await services.queue.ping()
    await services.queue_room.check(request.headers.get("idempotency-key"))
    await services.thread_pools.uploads.run(services.store_upkeep.admit, body.announced_bytes)


async def _write_scan(
    body: RequestBody, writer: ScanWriter, services: Services, card: ModelCard | None
) -> dict[str, str]:
    """Write the scan that ``body`` holds or names, and return the text fields sent with it."""
    uploads = services.thread_pools.uploads
    if body.framing is Framing.RAW:
        await pump_body(body, writer.open_channel(SCAN_FIELD), writer, uploads)
        return {}
    if body.framing is Framing.FORM:
        scan_fields = await _input_names(services, card) | {SCAN_FIELD}
        form = MultipartForm(
            body.content_type, writer, scan_fields=scan_fields, text_fields=TEXT_FIELDS
        )
        await pump_body(body, form, writer, uploads)
        return form.fields
    submit = JsonSubmit.parse(await body.read(), text_fields=TEXT_FIELDS)
    if submit.source_name == "scan_of":
        await copy_stored_scan(services, writer, submit.source)
    else:
        await copy_scan_paths(services, writer, submit.source)
    return submit.fields


async def _input_names(services: Services, card: ModelCard | None) -> set[str]:
    """Return the inputs of the model, or of all models: a form may name its model last."""
    if card is not None:
        return {channel.name for channel in card.inputs}
    return (await services.model_registry.available(max_age_s=MAX_AGE_S)).input_names


async def _delete(services: Services, job_id: str, delete: Callable[[], None]) -> None:
    try:
        await services.thread_pools.uploads.run_to_end(delete)
    except (StoreUnavailable, OSError) as error:
        log.warning("upload_kept", job=job_id, error=type(error).__name__)
        services.undecided_uploads.add(job_id)


def _check_given_once(fields: dict[str, str], **query: str | None) -> None:
    for name, given in query.items():
        if given is not None and name in fields:
            raise BadRequest(f"{name} was given twice, in the query and in the body.")


def _check_named(model: str) -> None:
    if not model:
        raise BadRequest("model is empty; leave it out for the default.")


def _priority(text: str | None) -> Priority | None:
    if text is None:
        return None
    try:
        return Priority(text)
    except ValueError as error:
        raise BadRequest(f"priority must be one of {', '.join(Priority)}.") from error
