"""The command `voxelq recover`: brings back jobs that are in the store and not in the queue."""

import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voxelq.cli import tables
from voxelq.cli.exits import FAILED, UNREACHABLE
from voxelq.cli.extras import SHARED, require
from voxelq.cli.options import JsonOption

if TYPE_CHECKING:
    from shared.storage.recovery import Recovered, Recovery

#: How often jobs are tried whose state could not be decided the first time.
_TRIES = 3


def recover(
    adopt_all: Annotated[
        bool,
        typer.Option(
            help="Recover the scans of other data sets too: if every service on this store is "
            "this one."
        ),
    ] = False,
    adopt_store: Annotated[
        bool, typer.Option(help="Take the folder at STORE_URL for the store of this queue.")
    ] = False,
    dry_run: Annotated[bool, typer.Option(help="Only count what is lost.")] = False,
    data_dir: Annotated[
        Path, typer.Option(file_okay=False, help="The data folder of a `voxelq up`.")
    ] = Path("voxelq-data"),
    as_json: JsonOption = False,
) -> None:
    """Bring back jobs that the queue lost, after Redis lost its data or a part of it.

    Jobs with a mask in the store come back as finished; the others are queued again under their
    own ids. Run it where REDIS_URL and VOXELQ_STORE_URL are those of the service, or on the machine
    of a `voxelq up`. It may be run at any time, and again.
    """
    require("recover", SHARED)

    # these need more than a base install
    from redis.exceptions import RedisError

    from shared.errors import StoreFull, StoreUnavailable

    try:
        _recover(data_dir, adopt_all, adopt_store, dry_run, as_json)
    except RedisError as error:
        tables.complain(
            f"Redis does not answer ({type(error).__name__}). Start the service first; "
            "REDIS_URL or --data-dir says where it is."
        )
        raise typer.Exit(UNREACHABLE) from error
    except (StoreUnavailable, StoreFull) as error:
        tables.complain(error.detail)
        raise typer.Exit(FAILED) from error


def _recover(
    data_dir: Path, adopt_all: bool, adopt_store: bool, dry_run: bool, as_json: bool
) -> None:
    # these need more than a base install, and importing them takes longer than other commands do
    from shared.queue.connection import connect_blocking
    from shared.queue.data_set import DataSet
    from shared.storage.identity import StoreIdentity
    from shared.storage.recovery import Recovery
    from shared.storage.store import ScanStore
    from voxelq.local.settings import local_settings

    settings = local_settings(data_dir)
    store = ScanStore(settings.store_url)
    with connect_blocking(settings.redis_url) as redis:
        redis.ping()
        identity = StoreIdentity(redis, store)
        if adopt_store and not dry_run:
            identity.adopt()
        identity.check()
        recovery = Recovery(redis, store, settings)
        service = DataSet(redis).id()
        lost = recovery.count_lost()
        own, others = lost.pop(service, 0), lost
        if dry_run:
            _print_lost(own, others, as_json)
            return
        if others and not adopt_all and not as_json and sys.stdin.isatty():
            adopt_all = typer.confirm(
                f"{_scans(others.total())} of the store belong to other data sets. If no other "
                "service uses this store, they are lost ones of this service. Recover them too?"
            )
        adopted = {service, *others} if adopt_all else {service}
        _print_recovered(_recover_all(recovery, service, adopted), as_json)


def _recover_all(recovery: "Recovery", service: str, adopted: set[str]) -> "Recovered":
    from shared.storage.recovery import SETTLING_S

    total = recovery.recover(service, adopted)
    for _ in range(_TRIES - 1):
        if total.waiting == 0:
            break
        time.sleep(SETTLING_S)
        more = recovery.recover(service, adopted)
        more.queued += total.queued
        more.finished += total.finished
        total = more
    return total


def _print_lost(own: int, others: Counter[str], as_json: bool) -> None:
    if as_json:
        tables.print_json({"lost": own, "others": dict(others)})
        return
    tables.stdout().print(f"{_scans(own)} in the store that the queue has lost")
    _print_others(others)


def _print_recovered(total: "Recovered", as_json: bool) -> None:
    if as_json:
        tables.print_json(
            {
                "queued": total.queued,
                "finished": total.finished,
                "waiting": total.waiting,
                "unreadable": total.unreadable,
                "others": dict(total.others),
            }
        )
    else:
        tables.stdout().print(
            f"{_scans(total.queued)} queued again, {_scans(total.finished)} back with their masks",
            soft_wrap=True,
        )
        _print_others(total.others)
        if total.unreadable:
            tables.complain(f"The records of {_scans(total.unreadable)} cannot be read.")
        if total.waiting:
            tables.complain(f"{_scans(total.waiting)} could not be recovered; run this once more.")
    if total.waiting:
        raise typer.Exit(FAILED)


def _print_others(others: Counter[str]) -> None:
    if others:
        tables.say(
            f"{_scans(others.total())} of other data sets were left alone. If no other service "
            "uses this store, --adopt-all recovers them."
        )


def _scans(count: int) -> str:
    return "1 scan" if count == 1 else f"{count} scans"
