"""What the OpenAPI description says beyond the types: bodies of submits, and problems."""

from typing import Any

from api.problems import MEDIA_TYPE
from api.schemas import Problem
from shared.errors import VoxelQError

_BINARY = {"type": "string", "format": "binary"}
_MODEL = {"type": "string", "description": "`name` or `name@version`."}
_PRIORITY = {"type": "string", "enum": ["stat", "routine", "bulk"], "default": "routine"}

#: The request body of both submits.
SUBMIT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The scan: a single-file NIfTI volume, gzipped or not.",
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "scan": {
                            **_BINARY,
                            "description": "`.nii` or `.nii.gz`. A model of several inputs takes "
                            "one field for each, by the names that `/models` gives.",
                        },
                        "model": _MODEL,
                        "priority": _PRIORITY,
                    },
                },
                "encoding": {"scan": {"contentType": "application/gzip, application/octet-stream"}},
                "example": {"scan": "(the bytes of flair.nii.gz)", "priority": "stat"},
            },
            "application/octet-stream": {
                "schema": _BINARY,
                "example": "(the bytes of flair.nii or flair.nii.gz)",
            },
            "application/gzip": {"schema": _BINARY, "example": "(the bytes of flair.nii.gz)"},
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["scan_path"],
                    "additionalProperties": False,
                    "properties": {
                        "scan_path": {
                            "description": "A path under `VOXELQ_SCAN_ROOT`, or one for each "
                            "input of the model.",
                            "anyOf": [
                                {"type": "string"},
                                {"type": "object", "additionalProperties": {"type": "string"}},
                            ],
                        },
                        "model": _MODEL,
                        "priority": _PRIORITY,
                    },
                },
                "example": {"scan_path": "sub-01/flair.nii.gz"},
            },
        },
    }
}


def problems(*errors: type[VoxelQError]) -> dict[int | str, dict[str, Any]]:
    """Document the problems that a call may answer with."""
    responses: dict[int | str, dict[str, Any]] = {}
    for error in errors:
        titles = responses.get(error.status, {}).get("description")
        responses[error.status] = {
            "model": Problem,
            "description": f"{titles}, or: {error.title}" if titles else error.title,
            "content": {
                MEDIA_TYPE: {
                    "example": error("A sentence that says what to do.").problem("/jobs")
                    if not titles
                    else responses[error.status]["content"][MEDIA_TYPE]["example"]
                }
            },
        }
    return responses
