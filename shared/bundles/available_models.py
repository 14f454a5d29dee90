"""Pure policy: which of the bundles on disk are served, and which one a name refers to.

A bundle's status is the result of loading it in a worker: ``""`` if it runs, else the reason why
not. A name refers to a new version only once a worker has loaded that version, so that a job that
names no version never gets a bundle that does not run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.bundles.bundle import Bundle
from shared.bundles.model_card import ModelCard
from shared.errors import ModelBroken, ModelNotFound

#: When a client should try again if a bundle is still being copied or loaded (seconds).
_RETRY_AFTER_S = 2


@dataclass(frozen=True)
class Unserved:
    """A bundle on disk that is not served, and why."""

    name: str
    version: str
    reason: str

    @property
    def ref(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"


class AvailableModels:
    """The models that are served at one moment; ``default`` is used if a client names none."""

    def __init__(
        self, bundles: Sequence[Bundle], bundle_statuses: Mapping[str, str], default: str
    ) -> None:
        self._default = default
        self._loaded: set[str] = set()
        usable: list[ModelCard] = []
        #: Bundles with a problem.
        self.broken: list[Unserved] = []
        #: Bundles that are still being copied, or wait for a worker to load them.
        self.arriving: list[Unserved] = []
        for bundle in bundles:
            problem = bundle.problem or bundle_statuses.get(bundle.key, "")
            if problem:
                unserved = Unserved(bundle.name, bundle.version, problem)
                (self.arriving if bundle.arriving else self.broken).append(unserved)
            elif bundle.card is not None:
                usable.append(bundle.card)
                if bundle.key in bundle_statuses:
                    self._loaded.add(bundle.ref)
        newest_first = sorted(usable, key=lambda card: card.version_key, reverse=True)
        self._usable = sorted(newest_first, key=lambda card: card.name)
        #: The models that are served, by name, newest version first.
        self.cards = [card for card in self._usable if not self._awaits_loading(card)]
        self.arriving += [
            Unserved(card.name, card.version, "It waits for a worker to load it.")
            for card in self._usable
            if self._awaits_loading(card)
        ]

    @property
    def default_ref(self) -> str | None:
        """``name@version`` of the default model, if it is served."""
        try:
            return self.resolve().ref
        except (ModelNotFound, ModelBroken):
            return None

    @property
    def input_names(self) -> set[str]:
        """The names of all inputs of all models: the form fields that may hold a scan."""
        return {channel.name for card in self._usable for channel in card.inputs}

    def resolve(self, wanted: str | None = None) -> ModelCard:
        """Return the card for ``name`` (its newest version that runs), ``name@version`` or default.

        A version that is named exactly is served as soon as it is on disk.

        Raises:
            ModelBroken: It is on disk and has a problem.
            ModelNotFound: It is not on disk, or is still being copied or loaded.
        """
        name, _, version = (wanted or self._default).partition("@")
        for card in self._usable if version else self.cards:
            if card.name == name and version in ("", card.version):
                return card
        for unserved in self.arriving:
            if unserved.name == name and version in ("", unserved.version):
                raise ModelNotFound(
                    f"{unserved.ref} is still on its way: {unserved.reason} Try again shortly.",
                    retry_after_s=_RETRY_AFTER_S,
                )
        for unserved in self.broken:
            if unserved.name == name and version in ("", unserved.version):
                raise ModelBroken(f"{unserved.ref} is broken: {unserved.reason}")
        served = ", ".join(card.ref for card in self.cards) or "none"
        raise ModelNotFound(f"The model asked for is not served here. Served: {served}.")

    def _awaits_loading(self, card: ModelCard) -> bool:
        """Tell whether no worker has loaded ``card`` yet while an older version is known to run."""
        return card.ref not in self._loaded and any(
            older.name == card.name
            and older.ref in self._loaded
            and older.version_key < card.version_key
            for older in self._usable
        )
