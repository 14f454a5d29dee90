"""The command line, ``voxelq``.

Results go to standard output, progress and complaints to standard error. Exit codes: 0 done,
1 a job failed or a scan was refused, 2 usage (an unreadable file and an unknown id too), 3 the
service cannot be reached.
"""

import sys

import typer

from voxelq.cli import demo, doctor, jobs, models, plan, recover, service, submit, tables
from voxelq.cli.exits import FAILED, UNREACHABLE, USAGE, UsageError
from voxelq.errors import (
    BadRequest,
    NotFound,
    ServiceUnavailable,
    ServiceUnreachable,
    VoxelQError,
)

app = typer.Typer(
    name="voxelq",
    help="VoxelQ, the queue for MRI inference. Not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    service.up,
    service.api,
    service.worker,
    demo.demo,
    demo.sample,
    plan.plan,
    recover.recover,
    doctor.doctor,
    submit.submit,
    jobs.jobs,
    jobs.show,
    jobs.cancel,
):
    app.command()(command)
app.add_typer(models.app, name="models")


def main() -> None:
    """Run the command line and end the process with its exit code."""
    try:
        app()
    except UsageError as error:
        tables.complain(str(error))
        sys.exit(USAGE)
    except (ServiceUnreachable, ServiceUnavailable) as error:
        tables.complain(
            f"{error}\nStart one with `voxelq up`, or name another with --url or VOXELQ_URL."
        )
        sys.exit(UNREACHABLE)
    except VoxelQError as error:
        tables.complain(str(error))
        sys.exit(USAGE if isinstance(error, BadRequest | NotFound) else FAILED)
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        tables.complain(f"{name}{error.strerror or error}")
        sys.exit(USAGE)
