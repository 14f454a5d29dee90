"""A job's server-sent events as the service sends them, read line by line."""

from collections.abc import Iterable, Iterator

from voxelq.cli.answers import JobAnswer

MEDIA_TYPE = "text/event-stream"


def read_events(lines: Iterable[str]) -> Iterator[tuple[str, JobAnswer]]:
    """Yield each message's id and the job that it tells; comments and other messages are skipped.

    Raises:
        ValidationError: A message does not tell a job.
    """
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if line:
            fields[name] = value.removeprefix(" ")
        elif fields.get("event") == "job":
            yield fields["id"], JobAnswer.model_validate_json(fields["data"])
        if not line:
            fields = {}
