"""The body of a submit, in each of its framings, streamed to the store and never held whole."""

import json
import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from fastapi import Request
from starlette.requests import ClientDisconnect
from ulid import ULID

from api.admission.upload_gate import PacedBody
from api.model_registry import MAX_AGE_S
from api.services import Services
from api.submission.multipart import MultipartReader
from api.submission.resubmit import copy_stored_scan, take_blocks
from api.submission.scan_writer import SCAN_FIELD, ScanWriter
from shared.bundles.model_card import ModelCard
from shared.errors import (
    BadRequest,
    BadScan,
    NotFound,
    ScanPathForbidden,
    ScanTooLarge,
    ServiceUnavailable,
    StoreUnavailable,
    UnsupportedMedia,
)
from shared.jobs import Priority

log = structlog.get_logger()

#: Bytes that are handed to a thread at once.
BLOCK_BYTES = 1 << 20

# What a form's boundaries, headers and short fields may add to its scans.
_FRAMING_BYTES = 1 << 16
_MAX_JSON_BYTES = 1 << 16

_FORM = "multipart/form-data"
_JSON = "application/json"
_RAW = frozenset({"", "application/octet-stream", "application/gzip", "application/x-gzip"})

#: What a submit may say of itself, in the query, the form or the JSON object.
TEXT_FIELDS = frozenset({"model", "priority"})


@dataclass(frozen=True)
class ReceivedScan:
    """A scan that lies in the store, and what is to be done with it."""

    job_id: str
    model: ModelCard
    priority: Priority
    scans: dict[str, str]
    sha256: str


@asynccontextmanager
async def received_scan(
    request: Request, services: Services, model: str | None, priority: Priority | None
) -> AsyncIterator[ReceivedScan]:
    """Take the request's scan into the store; it is deleted again if the block raises.

    ``model`` and ``priority`` are those of the query.

    Raises:
        VoxelQError: The request or its scan is refused.

    """
    body = _Body(request, services)
    if not services.reader.connected:
        await services.queue.ping()  # rather than take a scan in that cannot be queued
    await services.room.check(request.headers.get("idempotency-key"))
    await services.threads.uploads.run(services.store_upkeep.admit, body.length)
    card = await services.models.resolve(model)
    writer = ScanWriter(services.store, services.settings, str(ULID()))
    try:
        async with services.gate.entered():
            fields = await body.read(writer, card if model else None)
        _check_given_once(fields, model=model, priority=priority)
        if "model" in fields:
            _check_named(fields["model"])
            card = await services.models.resolve(fields["model"])
        yield ReceivedScan(
            job_id=writer.job_id,
            model=card,
            priority=_priority(fields.get("priority")) or priority or Priority.ROUTINE,
            scans=writer.channels(card),
            sha256=writer.sha256,
        )
    except ServiceUnavailable:
        services.undecided_uploads.add(writer.job_id)
        raise
    except BaseException:
        await _surely(services, writer.job_id, writer.discard)
        raise


async def forget_files(services: Services, job_id: str) -> None:
    """Delete the files of a scan that made no job, now or as soon as the store lets us."""
    await _surely(services, job_id, partial(services.store.delete_job, job_id))


async def _surely(services: Services, job_id: str, delete: Callable[[], None]) -> None:
    try:
        await services.threads.uploads.run_surely(delete)
    except (StoreUnavailable, OSError) as error:
        log.warning("discard_failed", job=job_id, error=type(error).__name__)
        services.undecided_uploads.add(job_id)


class _Body:
    """The body of one request; its framing and its length are judged before it is read."""

    def __init__(self, request: Request, services: Services) -> None:
        self._request = request
        self._services = services
        self._content_type = request.headers.get("content-type", "")
        self._media = self._content_type.partition(";")[0].strip().lower()
        if self._media in _RAW:
            self._max_bytes = services.settings.max_scan_bytes
        elif self._media == _FORM:
            self._max_bytes = services.settings.max_scan_bytes + _FRAMING_BYTES
        elif self._media == _JSON:
            self._max_bytes = _MAX_JSON_BYTES
        else:
            raise UnsupportedMedia(
                "Submit a scan as multipart/form-data with a field named scan, as raw bytes "
                "(application/octet-stream or application/gzip), or as application/json "
                'with {"scan_path": "..."} or {"scan_of": "<job id>"}.'
            )
        #: How long the body is, as far as its sender says so.
        self.length = int(request.headers.get("content-length", 0))
        self._check_length(self.length)

    async def read(self, writer: ScanWriter, card: ModelCard | None) -> dict[str, str]:
        """Hand the scan to ``writer`` and return the short fields that came with it."""
        if self._media == _FORM:
            return await self._read_form(writer, card)
        if self._media == _JSON:
            return await self._read_json(writer)
        await self._read_raw(writer)
        return {}

    async def _read_raw(self, writer: ScanWriter) -> None:
        channel = writer.begin(SCAN_FIELD)
        await self._pump(writer, channel.write, lambda: channel.header_pending, channel.end)

    async def _read_form(self, writer: ScanWriter, card: ModelCard | None) -> dict[str, str]:
        # The form may name its model after its scans, so any model's inputs are taken at first.
        if card:
            inputs = {channel.name for channel in card.inputs}
        else:
            inputs = (await self._services.models.available(max_age_s=MAX_AGE_S)).input_names
        form = MultipartReader(
            self._content_type,
            writer,
            scan_fields=inputs | {SCAN_FIELD},
            text_fields=TEXT_FIELDS,
        )
        await self._pump(writer, form.feed, lambda: form.header_pending, form.finish)
        return form.fields

    async def _read_json(self, writer: ScanWriter) -> dict[str, str]:
        collected = bytearray()
        await self._pump(writer, collected.extend, lambda: False, lambda: None)
        fields = _json_object(bytes(collected))
        sources = {name: fields.pop(name) for name in ("scan_path", "scan_of") if name in fields}
        if len(sources) != 1:
            raise BadRequest(
                "The JSON needs scan_path, a path under SCAN_ROOT or an object with a path for "
                "each input of the model; or else scan_of, the id of a job."
            )
        if unknown := fields.keys() - TEXT_FIELDS:
            raise BadRequest(f"The JSON has {len(unknown)} members that no submit takes.")
        if not all(isinstance(value, str) for value in fields.values()):
            raise BadRequest("model and priority are strings.")
        if "scan_of" in sources:
            await copy_stored_scan(self._services, writer, sources["scan_of"])
        else:
            await self._read_paths(writer, sources["scan_path"])
        return fields

    async def _read_paths(self, writer: ScanWriter, paths: object) -> None:
        if isinstance(paths, str):
            paths = {SCAN_FIELD: paths}
        if not isinstance(paths, dict) or not all(isinstance(path, str) for path in paths.values()):
            raise BadRequest("scan_path is a path, or an object with a path for each input.")
        inputs = (await self._services.models.available(max_age_s=MAX_AGE_S)).input_names
        if paths.keys() - inputs - {SCAN_FIELD}:
            raise BadRequest("scan_path names an input that no model has.")
        for name, path in paths.items():
            source = self._resolve(path)
            await take_blocks(self._services.threads.uploads, writer, name, _blocks(source))

    def _resolve(self, path: str) -> Path:
        if self._services.settings.scan_root is None:
            raise ScanPathForbidden("This service takes no scan_path: VOXELQ_SCAN_ROOT is not set.")
        root = self._services.settings.scan_root.resolve()
        try:
            resolved = (root / path).resolve()
        except (ValueError, OSError, RuntimeError) as error:
            raise BadRequest("scan_path is not a usable path.") from error
        if not resolved.is_relative_to(root):
            raise ScanPathForbidden("scan_path leaves VOXELQ_SCAN_ROOT.")
        return resolved

    async def _pump(
        self,
        writer: ScanWriter,
        take: Callable[[bytes], object],
        eager: Callable[[], bool],
        end: Callable[[], None],
    ) -> None:
        """Hand the body to ``take`` in threads, in blocks, or as it comes while ``eager``."""
        waiting: list[bytes] = []
        waiting_bytes = total_bytes = 0
        more = True
        body = PacedBody(self._request.receive, self._services.settings.min_upload_bytes_per_s)

        def hand_over(block: bytes, last: bool) -> None:
            take(block)
            if last:
                end()

        while more:
            message = await body.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk, more = message.get("body", b""), message.get("more_body", False)
            total_bytes += len(chunk)
            self._check_length(total_bytes)
            waiting.append(chunk)
            waiting_bytes += len(chunk)
            if not more or waiting_bytes >= BLOCK_BYTES or (chunk and eager()):
                step = partial(hand_over, b"".join(waiting), not more)
                await self._services.threads.uploads.run(writer.step, step)
                waiting_bytes = 0
                waiting.clear()
        self._services.metrics.upload_bytes.inc(total_bytes)

    def _check_length(self, length: int) -> None:
        if length > self._max_bytes:
            raise ScanTooLarge(f"The body is larger than {self._max_bytes} bytes.")


def _check_given_once(fields: dict[str, str], **query: str | None) -> None:
    for name, given in query.items():
        if given is not None and name in fields:
            raise BadRequest(f"{name} was given twice, in the query and in the body.")


def _check_named(model: str) -> None:
    if not model:
        raise BadRequest("model is empty; leave it out for the default.")


def _blocks(source: Path) -> Iterator[bytes]:
    """Yield a file's bytes. Only regular files: a pipe would hold the thread forever."""
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise NotFound("There is no readable file at this scan_path.") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BadScan("scan_path does not name a regular file.")
    with open(descriptor, "rb", buffering=0) as file:
        while block := file.read(BLOCK_BYTES):
            yield block


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body is not JSON.") from error
    if not isinstance(fields, dict):
        raise BadRequest("The body is not a JSON object.")
    return fields


def _priority(text: str | None) -> Priority | None:
    if text is None:
        return None
    try:
        return Priority(text)
    except ValueError as error:
        raise BadRequest(f"priority must be one of {', '.join(Priority)}.") from error
