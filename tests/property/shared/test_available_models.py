"""Which version a model's name means, for any bundles on disk and any bundle statuses."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bundles.available_models import AvailableModels
from shared.bundles.bundle import Bundle
from shared.bundles.contents import BundleContents
from shared.bundles.model_card import ModelCard
from shared.errors import ModelBroken, ModelNotFound
from tests.support.bundles import METADATA

LOADS, FAILS, UNTRIED, UNREADABLE, COPYING = "loads", "fails", "untried", "unreadable", "copying"

fates = st.sampled_from([LOADS, FAILS, UNTRIED, UNREADABLE, COPYING])
versions = st.dictionaries(
    st.tuples(st.sampled_from(["tiny", "other"]), st.integers(1, 20)), fates, max_size=8
)


def available(content: dict[tuple[str, int], str]) -> AvailableModels:
    """Return the available models for versions with these bundle statuses."""
    bundles, bundle_statuses = [], {}
    for (name, number), fate in content.items():
        version, folder = f"1.{number}", Path("/models")
        card = ModelCard.model_validate(
            {**METADATA, "name": name, "version": version, "folder": folder}
        )
        contents = BundleContents(card, METADATA, None, frozenset())
        problem = "not whole" if fate in (UNREADABLE, COPYING) else ""
        bundle = Bundle(
            name, version, folder, "f", None if problem else contents, problem, fate == COPYING
        )
        bundles.append(bundle)
        if fate in (LOADS, FAILS):
            bundle_statuses[bundle.key] = "" if fate == LOADS else "as a worker found"
    return AvailableModels(bundles, bundle_statuses, "tiny")


@given(versions)
def test_a_name_means_the_newest_version_that_runs(content: dict[tuple[str, int], str]) -> None:
    """The newest version that a worker has loaded, or with none such the newest untried one."""
    mine = {number: fate for (name, number), fate in content.items() if name == "tiny"}
    best = [number for number, fate in mine.items() if fate == LOADS]
    best = best or [number for number, fate in mine.items() if fate == UNTRIED]
    if best:
        assert available(content).resolve().version == f"1.{max(best)}"
        assert available(content).resolve("tiny").version == f"1.{max(best)}"
        assert available(content).default_ref == f"tiny@1.{max(best)}"
    else:
        with pytest.raises((ModelNotFound, ModelBroken)):
            available(content).resolve()
        assert available(content).default_ref is None


@given(versions)
def test_every_bundle_is_listed_once(content: dict[tuple[str, int], str]) -> None:
    """Each bundle is exactly one of served, broken and incomplete."""
    seen = available(content)
    listed = [card.ref for card in seen.cards]
    listed += [one.ref for one in (*seen.broken, *seen.arriving)]
    assert sorted(listed) == sorted(f"{name}@1.{number}" for name, number in content)
    assert all(one.reason for one in (*seen.broken, *seen.arriving))


@given(versions)
def test_an_exact_version_is_served_unless_it_is_broken(
    content: dict[tuple[str, int], str],
) -> None:
    """An exact version is served unless it is known to be broken; the error says why."""
    for (name, number), fate in content.items():
        ref = f"{name}@1.{number}"
        if fate in (LOADS, UNTRIED):
            assert available(content).resolve(ref).ref == ref
        elif fate == COPYING:
            with pytest.raises(ModelNotFound, match="on its way") as refusal:
                available(content).resolve(ref)
            assert refusal.value.retry_after_s
        else:
            with pytest.raises(ModelBroken, match=r"not whole|as a worker found"):
                available(content).resolve(ref)


@given(versions)
def test_what_the_list_shows_first_is_what_a_name_gets(
    content: dict[tuple[str, int], str],
) -> None:
    """The list of a name begins with the version that the name means."""
    seen = available(content)
    for name in {card.name for card in seen.cards}:
        first = next(card for card in seen.cards if card.name == name)
        assert seen.resolve(name).ref == first.ref
