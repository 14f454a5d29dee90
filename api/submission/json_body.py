"""A submit as JSON, which names a scan that the service can read itself."""

import json
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Self

from shared.errors import BadRequest


@dataclass(frozen=True)
class JsonSubmit:
    """The members of the JSON; ``source`` is the value of ``source_name``, not validated yet."""

    source_name: str
    source: object
    fields: dict[str, str]

    @classmethod
    def parse(cls, content: bytes, *, text_fields: AbstractSet[str]) -> Self:
        """Read ``content``; raises BadRequest."""
        fields = _json_object(content)
        sources = {name: fields.pop(name) for name in ("scan_path", "scan_of") if name in fields}
        if len(sources) != 1:
            raise BadRequest(
                "The JSON needs scan_path, a path under SCAN_ROOT or an object with a path for "
                "each input of the model; or else scan_of, the id of a job."
            )
        if unknown := fields.keys() - text_fields:
            raise BadRequest(f"The JSON has {len(unknown)} members that no submit takes.")
        if not all(isinstance(value, str) for value in fields.values()):
            raise BadRequest("model and priority are strings.")
        ((source_name, source),) = sources.items()
        return cls(source_name, source, fields)


def _json_object(content: bytes) -> dict[str, Any]:
    try:
        members = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body is not JSON.") from error
    if not isinstance(members, dict):
        raise BadRequest("The body is not a JSON object.")
    return members
