"""Where a domain, address, region or country fits, the program and the recomputation agree."""

from ipaddress import ip_network
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from tollbook.recompute import places as again

from domain import places
from domain.countries import COUNTRIES
from domain.places import Bounds

LABELS = st.text("abA1-_", min_size=0, max_size=3) | st.sampled_from(["a" * 63, "a" * 64, "é"])
DOMAINS = st.lists(LABELS, min_size=1, max_size=5).map(".".join)
NAMES = st.lists(st.sampled_from(["a.b", "*.b", "*.a.b", "a", "*.a", "b.a.a"]), max_size=3)

FIRST = st.sampled_from([0, 1, 127, 192, 255])
FOURS = st.tuples(FIRST, FIRST, FIRST, FIRST).map(lambda parts: ".".join(map(str, parts)))
NETWORKS = (
    *("192.0.0.0/8", "127.1.0.0/16", "0.0.0.0/0", "192.192.192.192/32"),
    *("::/0", "2001:db8::/32", "fe80::/10"),
)
ADDRESSES = (
    FOURS
    | FOURS.map(lambda four: f"::ffff:{four}")
    | st.sampled_from(["::1", "2001:DB8::7", "fe80::1%eth0", "192.0.2.1/32", "01.2.3.4", "", "1"])
)

REGIONS = st.sampled_from(["eu-west-1", "EU-*", "eu*", "*", "us-east-1", "US-EAST-1"])
GIVEN_REGIONS = st.sampled_from(
    ["eu-west-1", "Eu-West-1", "us-east-1", "eu", "eu*", "", "a" * 64, "a" * 65, "the moon", "K"]
)
CODES = st.sampled_from(["DE", "IR", "ZZ", "XK", "QM", "AA"])
GIVEN_CODES = st.text("DEirzZXkqMaAß", min_size=1, max_size=3)


def bounds(names: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Return bounds as policies are stored: what is absent is left out."""
    listed = st.lists(names, max_size=3)
    return st.fixed_dictionaries({}, optional={"allow": listed, "deny": listed})


def read(stored: dict[str, Any]) -> Bounds:
    """Read stored bounds as the program keeps them."""
    allow = stored.get("allow")
    return Bounds(None if allow is None else tuple(allow), tuple(stored.get("deny", ())))


@given(NAMES, DOMAINS)
@example(["*.b"], ".".join("a" * 125) + ".b")
@example(["*.b"], ".".join("a" * 126) + ".b.")
@example(["*.b"], ".".join("a" * 127) + ".b")
def test_the_same_domains_fit(names: list[str], domain: str) -> None:
    assert again.domain_fits(names, domain) == places.domain_fits(tuple(names), domain)


@given(st.lists(st.sampled_from(NETWORKS), max_size=3), ADDRESSES)
def test_the_same_addresses_fit(networks: list[str], address: str) -> None:
    assert again.address_fits(networks, address) == places.address_fits(tuple(networks), address)


@given(bounds(REGIONS), GIVEN_REGIONS)
def test_the_same_regions_fit(stored: dict[str, Any], region: str) -> None:
    assert again.region_fits(stored, region) == places.region_within(read(stored), region)


@given(bounds(CODES), GIVEN_CODES)
def test_the_same_countries_fit(stored: dict[str, Any], country: str) -> None:
    expected = places.country_within(read(stored), country, frozenset())
    assert again.country_fits(stored, country) == expected


def test_both_know_the_same_countries() -> None:
    known = {code for code in COUNTRIES if again.country_fits({}, code)}
    assert known == again.COUNTRIES
    assert len(known) == 249
    left_to_users = COUNTRIES - known
    assert left_to_users >= {"AA", "QM", "QZ", "XA", "XZ", "ZZ"}
    assert len(left_to_users) == 2 + 14 + 26


def test_the_networks_of_these_tests_are_networks() -> None:
    assert [str(ip_network(each)) for each in NETWORKS] == list(NETWORKS)
