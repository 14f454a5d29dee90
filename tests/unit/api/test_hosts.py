"""Hosts that the service answers to."""

import pytest

from api.http.hosts import AllowedHosts, Place


@pytest.mark.parametrize(
    "netloc",
    ["localhost", "localhost:8080", "LOCALHOST.", "a.localhost:1", "127.0.0.1:8080", "127.9.9.9",
     "[::1]:8080", "192.168.1.5:8080", "[fe80::1]"],
)  # fmt: skip
def test_loopback_and_addresses_are_always_allowed(netloc: str) -> None:
    """Names of loopback are allowed, and addresses, which DNS cannot change."""
    place = Place.parse(netloc.lower())
    assert place is not None
    assert AllowedHosts("").allows(place)


@pytest.mark.parametrize(
    "netloc", ["evil.example", "localhost.evil.example:8080", "127.0.0.1.nip.io", "evillocalhost"]
)
def test_other_names_are_refused(netloc: str) -> None:
    """A name that another site can point here is refused, unless `*` allows any."""
    place = Place.parse(netloc)
    assert place is not None
    assert not AllowedHosts("example.org").allows(place)
    assert AllowedHosts("*").allows(place)
    assert not AllowedHosts("*").lists(place)


def test_allowed_names() -> None:
    """Full names, the subdomains of `*.`, and the name that the service listens on are allowed."""
    allowed = AllowedHosts(" Voxelq.example.org, *.hospital.example ,", own="pacs")
    for name in ("voxelq.example.org", "a.hospital.example", "a.b.hospital.example", "pacs"):
        assert allowed.allows(Place(name, 8080))
    assert not allowed.lists(Place("pacs", 8080))
    for name in ("example.org", "x.voxelq.example.org", "hospital.example", "evilhospital.example"):
        assert not allowed.allows(Place(name, None))


@pytest.mark.parametrize(
    "netloc", ["", ":8080", "a:b", "a:", "a@b", "a/b", "a b", "[::1", "a:99999"]
)
def test_what_names_no_host(netloc: str) -> None:
    """A text that is not a name or an address with a port is no host."""
    place = Place.parse(netloc)
    assert place is None or not AllowedHosts("").allows(place)
