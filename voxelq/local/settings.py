"""The settings of a service on this machine, for commands that use its queue and store."""

import os
from pathlib import Path

from shared.settings import Settings


def local_settings(data_dir: Path) -> Settings:
    """Return the settings of the environment, or of a `voxelq up` that runs on ``data_dir``."""
    settings = Settings()
    url_file = data_dir / "redis" / "url"
    changes = {}
    if "REDIS_URL" not in os.environ and os.access(url_file, os.R_OK):
        changes["redis_url"] = url_file.read_text(encoding="utf-8").strip()
        if "VOXELQ_STORE_URL" not in os.environ:
            changes["store_url"] = f"file://{(data_dir / 'store').resolve()}"
    return settings.model_copy(update=changes)
