"""The weights of a network that a bundle's configuration builds."""

import pickle
from pathlib import Path

import torch

from shared.errors import ModelError

WEIGHTS = Path("models") / "model.pt"


def fill_weights(network: torch.nn.Module, bundle: Path) -> torch.nn.Module:
    """Fill the network from the bundle's state dict, bare or under ``model``.

    Raises:
        ModelError: The weights are missing, unreadable, or of another network.
    """
    try:
        state = torch.load(bundle / WEIGHTS, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"there are no readable weights in {WEIGHTS}.") from error
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        raise ModelError(
            f"{WEIGHTS} cannot be read as weights alone; save a state dict: "
            "torch.save(network.state_dict(), ...)."
        ) from error
    if isinstance(state, dict) and isinstance(state.get("model"), dict):
        state = state["model"]
    try:
        network.load_state_dict(state)
    except (RuntimeError, AttributeError, TypeError) as error:
        raise ModelError(f"{WEIGHTS} does not fit the network: {_first_line(error)}") from error
    return network


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]) if lines else type(error).__name__
