"""Settings, read from the environment once, in entry points only."""

import os
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

_HERE = Path(__file__).resolve().parent
_IN_WHEEL = _HERE / "bundled_models"
#: The models that come with VoxelQ: in a wheel inside this package (see ``setup.py``), in a
#: checkout and in the images beside it.
BUNDLED_MODELS = _IN_WHEEL if _IN_WHEEL.is_dir() else _HERE.parent / "models"


class Settings(BaseSettings):
    """Every setting with its default. Variables begin with ``VOXELQ_``, except ``REDIS_URL``."""

    model_config = SettingsConfigDict(env_prefix="VOXELQ_", frozen=True, populate_by_name=True)

    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        validation_alias=AliasChoices("redis_url", "REDIS_URL"),
        description="The Redis (or Valkey) that holds the queue.",
    )
    store_url: str = Field(
        "file://./voxelq-data/store",
        description="Where scans and masks are stored: `file://`, or `s3://` with the extra `s3`.",
    )
    store_reserve_bytes: int = Field(
        1 << 30,
        ge=0,
        description="Free space that uploads leave on the disk of a `file://` store, for masks and "
        "the queue; at most a twentieth of the disk.",
    )
    decompressed_bytes: int = Field(
        1 << 29,
        ge=0,
        validation_alias=AliasChoices(
            "decompressed_bytes", "VOXELQ_DECOMPRESSED_BYTES", "VOXELQ_UNPACKED_BYTES"
        ),
        description="Bytes that decompressed copies of queued scans may take of a `file://` store; "
        "set 0 if the store is across a network.",
    )
    scan_root: Path | None = Field(
        None, description="Folder that `scan_path` may name; unset refuses such submits."
    )
    models_dir: Path | None = Field(
        None,
        description="Folder of your own model bundles, or several with `:` between; "
        "they take precedence over the bundled ones.",
    )
    default_model: str = Field("brain-tumor", description="The model if a client names none.")

    models_loaded: int = Field(
        2, ge=1, description="Models a worker keeps loaded; the least recently used one is dropped."
    )

    max_batch_size: int = Field(4, ge=1, le=256, description="Scans in one forward pass, at most.")
    max_latency_ms: float = Field(
        5.0, ge=0, le=10_000, description="Longest wait for a batch to fill."
    )
    adaptive_batching: bool = Field(
        True,
        description="Learn what batches cost and choose the size that makes scans wait least; "
        "off: always up to MAX_BATCH_SIZE within MAX_LATENCY_MS.",
    )
    device: str = Field(
        "auto",
        description="`cpu`; `cuda`: the GPU that the fewest workers use; `cuda:N`: that one; "
        "`auto`: a GPU if there is one.",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto",
        description="Arithmetic of the network; `auto`: the fastest here that gives the same mask.",
    )
    compile_network: bool = Field(
        False,
        description="Try `torch.compile` on the default model, and keep it if it is faster; a "
        "worker then takes a minute longer to start.",
    )
    threads: int = Field(
        0, ge=0, description="Threads of one worker; 0: all cores, which `voxelq up` shares out."
    )
    lanes: int = Field(
        0,
        ge=0,
        le=64,
        description="Batches that a worker processes at the same time; 0: automatic.",
    )
    gpu_memory_growth: bool = Field(
        True, description="Take GPU memory as needed, and give it back."
    )
    gpu_memory_fraction: float = Field(
        1.0, gt=0, le=1, description="Largest share of a GPU's memory for one worker."
    )

    max_queued: int = Field(
        10_000, ge=1, description="Jobs that may wait; further submits get 429."
    )
    max_scan_bytes: int = Field(
        1 << 30, ge=1, description="Largest upload in bytes, as sent (compressed)."
    )
    max_voxels: int = Field(512**3, ge=1, description="Largest volume in voxels.")
    max_wait_s: float = Field(300.0, gt=0, description="Longest time a client may block.")
    max_uploads: int = Field(
        64, ge=1, description="Uploads that one API process takes at once; further ones get 503."
    )
    min_upload_bytes_per_s: int = Field(
        1024, ge=0, description="An upload slower than this is refused with 408."
    )
    allowed_hosts: str = Field(
        "",
        description="Host names, besides those of loopback, that a request may name, with commas "
        "between; `*` allows any.",
    )
    lease_s: float = Field(
        15.0, ge=0.5, description="A worker without a heartbeat for this long loses its jobs."
    )
    max_attempts: int = Field(3, ge=1, description="Losses after which a job fails.")
    job_timeout_s: float = Field(
        600.0, gt=0, description="A worker that computes one batch for longer is killed."
    )
    load_timeout_s: float = Field(
        300.0, gt=0, description="A worker that loads one model for longer is killed."
    )
    drain_s: float = Field(
        12.0,
        ge=0,
        description="A stopping worker gives back the jobs that it has not finished by then.",
    )
    aging_s: float = Field(
        600.0,
        gt=0,
        description="Jobs of lower priority that wait for longer get every fourth turn.",
    )
    retention_s: float = Field(
        7 * 86_400.0, gt=0, description="Terminal jobs, scans and masks are purged after this."
    )
    max_kept_jobs: int = Field(
        100_000,
        ge=1,
        description="Terminal jobs that are kept; if there are more, the oldest are purged.",
    )

    @property
    def models_dirs(self) -> tuple[Path, ...]:
        """All folders of model bundles: the user's own, then the one that VoxelQ ships with."""
        own = str(self.models_dir or "").split(os.pathsep)
        return (*(Path(folder) for folder in own if folder), BUNDLED_MODELS)
