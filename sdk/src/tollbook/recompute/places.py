"""Places: when a domain, an address, a region or a country fits what a licence is bound to.

What cannot be read as one of them fits nothing.
"""

import re
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

_LABEL = re.compile("[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_REGION = re.compile(r"[a-z0-9._:-]{1,64}")

_ISO_3166_1 = (
    "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ "
    "BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ "
    "CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ "
    "EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU "
    "GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP "
    "KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY "
    "MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ "
    "NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA "
    "RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ "
    "TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU "
    "WF WS YE YT ZA ZM ZW"
)
COUNTRIES = frozenset(_ISO_3166_1.split())
"""The official codes; those left to users are not among them."""


def domain_fits(names: list[str], given: str) -> bool:
    """Say whether a domain is one of these, or some labels below one that begins with `*.`."""
    domain = given.lower().removesuffix(".")
    labels = domain.split(".")
    if len(given) > 253 or not given.isascii() or len(labels) > 127:
        return False
    if not all(_LABEL.fullmatch(label) for label in labels):
        return False
    above = ["*." + ".".join(labels[place:]) for place in range(1, len(labels))]
    return domain in names or any(each in names for each in above)


def address_fits(networks: list[str], given: str) -> bool:
    """Say whether an address lies in one of these networks; IPv4 inside IPv6 is IPv4."""
    if "%" in given or "/" in given:
        return False
    try:
        address = ip_address(given)
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    return any(address in ip_network(network) for network in networks)


def region_fits(bounds: dict[str, list[str]], given: str) -> bool:
    """Say whether a region is allowed and not denied; case does not matter."""
    region = given.lower()
    if not given.isascii() or not _REGION.fullmatch(region):
        return False
    if any(_begins(region, name) for name in bounds.get("deny", ())):
        return False
    return "allow" not in bounds or any(_begins(region, name) for name in bounds["allow"])


def _begins(region: str, name: str) -> bool:
    name = name.lower()
    return region.startswith(name[:-1]) if name.endswith("*") else region == name


def country_fits(bounds: dict[str, Any], given: str) -> bool:
    """Say whether a country is allowed and not denied, the export list aside."""
    country = given.upper()
    if len(given) != 2 or not given.isascii() or not given.isalpha():
        return False
    if country in bounds.get("deny", ()):
        return False
    allowed = bounds.get("allow")
    return country in (COUNTRIES if allowed is None else allowed)
