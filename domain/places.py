"""Where a request comes from and where it is worked on: domains, networks, regions, countries.

How such names are read, in one spelling, and when one fits another. What cannot be read fits
nothing.
"""

import re
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import NamedTuple

from domain.countries import COUNTRIES
from domain.wire_values import matching, whole

_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
DOMAIN_PATTERN = rf"^(\*\.)?({_LABEL}\.){{0,126}}{_LABEL}\.?$"
DOMAIN_MAX = 253
REGION_PATTERN = r"^[A-Za-z0-9._:-]{1,64}$"
REGIONS_PATTERN = r"^([A-Za-z0-9._:-]{1,64}\*?|\*)$"
COUNTRY_PATTERN = r"^[A-Z]{2}$"
NETWORK_PATTERN = r"^[0-9A-Fa-f:.]{2,45}/(0|[1-9][0-9]{0,2})$"

_DOMAIN = whole(DOMAIN_PATTERN)
_REGION = whole(REGION_PATTERN)
_COUNTRY = whole(r"^[A-Za-z]{2}$")
_NETWORK = whole(NETWORK_PATTERN)
_ADDRESS = whole(r"^[0-9A-Fa-f:.]{2,45}$")
_FOR_USERS = re.compile(r"AA|Q[M-Z]|X[A-Z]|ZZ")
"""The codes that ISO 3166-1 leaves to its users, some of whom write them for `unknown`."""

_KNOWN = frozenset(code for code in COUNTRIES if not _FOR_USERS.fullmatch(code))

_MAPPED_BITS = 96
"""The bits of IPv6 before those of an IPv4 address inside it (::ffff:0:0/96)."""


class Bounds(NamedTuple):
    """Where something may be; what is denied is so even if it is allowed."""

    allow: tuple[str, ...] | None
    """None allows whatever is not denied."""
    deny: tuple[str, ...]


def domain_from_wire(value: object) -> str:
    """Read a domain of a policy, in small letters and without a last dot."""
    if type(value) is not str or len(value) > DOMAIN_MAX or not _DOMAIN.match(value):
        raise ValueError("must be a domain such as app.example.com or *.example.com")
    return value.lower().removesuffix(".")


def domain_fits(domains: tuple[str, ...], given: str) -> bool:
    """Say whether a domain is one of these, or below one that begins with `*.`."""
    if len(given) > DOMAIN_MAX or not _DOMAIN.match(given) or given.startswith("*"):
        return False
    domain = given.lower().removesuffix(".")
    exact, suffixes = _domains(domains)
    return domain in exact or domain.endswith(suffixes)


@lru_cache(maxsize=1024)
def _domains(domains: tuple[str, ...]) -> tuple[frozenset[str], tuple[str, ...]]:
    wild = tuple(each[1:] for each in domains if each.startswith("*."))
    return frozenset(domains), wild


def network_from_wire(value: object) -> str:
    """Read a network of a policy, in one spelling; IPv4 inside IPv6 is IPv4."""
    if type(value) is str and _NETWORK.match(value):
        try:
            network = ip_network(value)
        except ValueError:
            pass  # bits behind the prefix, or no address at all
        else:
            mapped = _mapped(network.network_address)
            within = network.prefixlen - (0 if mapped is None else _MAPPED_BITS)
            return f"{mapped or network.network_address}/{within}"
    raise ValueError("must be a network such as 192.0.2.0/24 or 2001:db8::/32, no bits behind it")


def _mapped(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    return address.ipv4_mapped if isinstance(address, IPv6Address) else None


def address_fits(networks: tuple[str, ...], given: str) -> bool:
    """Say whether an address lies in one of these networks; IPv4 inside IPv6 is IPv4."""
    if not _ADDRESS.match(given):
        return False
    try:
        address = ip_address(given)
    except ValueError:
        return False
    address = _mapped(address) or address
    return any(address in each for each in _networks(networks))


@lru_cache(maxsize=1024)
def _networks(networks: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(map(ip_network, networks))


region_from_wire = matching(REGIONS_PATTERN, "the name of a region, PREFIX* or *")


def region_within(bounds: Bounds, given: str) -> bool:
    """Say whether a region may be; case does not matter, and `*` ends a prefix."""
    if not _REGION.match(given):
        return False
    region = given.lower()
    if _begins(bounds.deny, region):
        return False
    return bounds.allow is None or _begins(bounds.allow, region)


def _begins(names: tuple[str, ...], region: str) -> bool:
    exact, prefixes = _regions(names)
    return region in exact or region.startswith(prefixes)


@lru_cache(maxsize=1024)
def _regions(names: tuple[str, ...]) -> tuple[frozenset[str], tuple[str, ...]]:
    small = [name.lower() for name in names]
    return frozenset(small), tuple(name[:-1] for name in small if name.endswith("*"))


def country_from_wire(value: object) -> str:
    """Read a country of a policy; a code of none would bind nobody, and nobody would notice."""
    if type(value) is not str or value not in COUNTRIES:
        raise ValueError("must be a country of ISO 3166-1, in two capital letters")
    return value


def country_within(bounds: Bounds, given: str, export_denied: frozenset[str]) -> bool:
    """Say whether a country may be; what is no country of ISO 3166-1 must be allowed by name."""
    if not _COUNTRY.match(given):
        return False
    country = given.upper()
    if country in bounds.deny or country in export_denied:
        return False
    if bounds.allow is None:
        return country in _KNOWN
    return country in bounds.allow
