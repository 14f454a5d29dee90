"""What a job's id looks like; it is checked here and nowhere else in the service."""

import re
from typing import Annotated

from fastapi import Depends, Path

from shared.errors import JobNotFound

#: A ULID: 26 characters of Crockford's base 32.
JOB_ID_PATTERN = r"^[0-9A-HJKMNP-TV-Z]{26}$"

_JOB_ID = re.compile(JOB_ID_PATTERN)


def is_job_id(text: str) -> bool:
    """Return whether a text can be a job's id."""
    return _JOB_ID.fullmatch(text) is not None


# FastAPI would run a plain function in a thread, which takes longer than the check.
async def valid_job_id(
    job_id: Annotated[str, Path(examples=["01KA8X6V5Q3T1N0Y2R4S6D8F0G"], description="A ULID.")],
) -> str:
    """Return the id of the path; raises JobNotFound for a text that cannot be an id."""
    if not is_job_id(job_id):
        raise JobNotFound(job_id)
    return job_id


JobId = Annotated[str, Depends(valid_job_id)]
