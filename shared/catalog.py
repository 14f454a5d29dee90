"""Which model bundles are served, found on disk afresh at every look."""

from pathlib import Path

from shared.errors import ModelError, ModelNotFound
from shared.models import METADATA, ModelCard


class ModelCatalog:
    """The bundles under one folder, looked up afresh so that a new one is served at once."""

    def __init__(self, root: Path, default: str) -> None:
        self._root = root
        self._default = default

    def list(self) -> list[ModelCard]:
        """Return every usable bundle, by name, newest version first."""
        cards = []
        for path in sorted(self._root.glob(f"*/*/{METADATA}")):
            try:
                cards.append(ModelCard.read(path.parent.parent))
            except ModelError:
                continue  # one broken bundle must not hide the others
        by_version = sorted(cards, key=lambda card: card.version_key, reverse=True)
        return sorted(by_version, key=lambda card: card.name)

    def resolve(self, wanted: str | None = None) -> ModelCard:
        """Return the card for ``name`` (its newest version), ``name@version`` or the default.

        Raises:
            ModelNotFound: Nothing of that name and version is served.

        """
        name, _, version = (wanted or self._default).partition("@")
        for card in self.list():
            if card.name == name and version in ("", card.version):
                return card
        served = ", ".join(card.ref for card in self.list()) or "none"
        raise ModelNotFound(f"The model asked for is not served here. Served: {served}.")
