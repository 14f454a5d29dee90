"""The weights of a network: a state dict in ``models/model.pt``."""

from pathlib import Path
from typing import Any

import torch

from shared.bundles.files import STATE_DICT
from shared.errors import ModelError
from worker.models.safe_load.zip_archive import check_archive


def fill_weights(network: torch.nn.Module, bundle: Path) -> torch.nn.Module:
    """Fill the network from the state dict in the folder ``bundle``, bare or under ``model``.

    Raises:
        ModelError: The weights are missing, unreadable, or of another network.
    """
    state = read_state(bundle)
    if isinstance(state, dict) and isinstance(state.get("model"), dict):
        state = state["model"]
    try:
        network.load_state_dict(state)
    except Exception as error:  # a user's own file may hold anything
        raise ModelError(f"{STATE_DICT} does not fit the network: {_first_line(error)}") from error
    return network


def read_state(bundle: Path) -> Any:
    """Return the weights in the folder ``bundle``, read as tensors and containers only.

    Raises:
        ModelError: They are missing or unreadable.
    """
    try:
        check_archive(bundle / STATE_DICT)
        return torch.load(bundle / STATE_DICT, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"there are no readable weights in {STATE_DICT}.") from error
    except ModelError as error:
        raise ModelError(f"{STATE_DICT} cannot be read: {error.detail}") from error
    except Exception as error:  # a user's own file may be anything
        raise ModelError(
            f"{STATE_DICT} cannot be read as weights alone; save a state dict: "
            "torch.save(network.state_dict(), ...)."
        ) from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]) if lines else type(error).__name__
