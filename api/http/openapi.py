"""The parts of the OpenAPI description that types do not give: submit bodies and problems."""

from typing import Any

from fastapi import FastAPI

from api.http.problems import MEDIA_TYPE
from shared.errors import PROBLEM_TYPE_PREFIX, VoxelQError
from shared.jobs import Priority

_BINARY = {"type": "string", "format": "binary"}
_MODEL = {"type": "string", "description": "`name` or `name@version`."}
_PRIORITY = {"type": "string", "enum": list(Priority), "default": Priority.ROUTINE}

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
                    "oneOf": [{"required": ["scan_path"]}, {"required": ["scan_of"]}],
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
                        "scan_of": {
                            "type": "string",
                            "description": "The id of a terminal job: its scan is submitted again, "
                            "for the same model or another.",
                        },
                        "model": _MODEL,
                        "priority": _PRIORITY,
                    },
                },
                "examples": {
                    "scan_path": {"value": {"scan_path": "sub-01/flair.nii.gz"}},
                    "scan_of": {"value": {"scan_of": "01KA8X6V5Q3T1N0Y2R4S6D8F0G"}},
                },
            },
        },
    }
}


def problem_responses(*errors: type[VoxelQError]) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of a route that may answer with these errors."""
    responses: dict[int | str, dict[str, Any]] = {}
    for error in errors:
        response = responses.setdefault(
            error.status,
            {
                "description": "",
                "content": {
                    MEDIA_TYPE: {
                        "schema": {"$ref": "#/components/schemas/Problem"},
                        "examples": {},
                    }
                },
            },
        )
        response["description"] += (
            f", or: {error.title}" if response["description"] else error.title
        )
        response["content"][MEDIA_TYPE]["examples"][error.slug] = {
            "value": {
                "type": PROBLEM_TYPE_PREFIX + error.slug,
                "title": error.title,
                "status": error.status,
                "detail": "A sentence that says what is wrong and what to do.",
                "instance": "/jobs",
            }
        }
    return responses


def remove_default_422(app: FastAPI) -> None:
    """Remove FastAPI's own 422 from the description; invalid parameters are a 400 here."""
    generate = app.openapi

    def without_default_422() -> dict[str, Any]:
        schema = generate()
        for path in schema["paths"].values():
            for call in path.values():
                if "HTTPValidationError" in str(call["responses"].get("422")):
                    del call["responses"]["422"]
        for name in ("HTTPValidationError", "ValidationError"):
            schema["components"]["schemas"].pop(name, None)
        return schema

    app.openapi = without_default_422  # type: ignore[method-assign]
