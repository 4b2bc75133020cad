"""Places: spellings of domains, addresses, regions and countries, and what fits what."""

import pytest

from domain.countries import COUNTRIES
from domain.places import (
    Bounds,
    address_fits,
    country_from_wire,
    country_within,
    domain_fits,
    domain_from_wire,
    network_from_wire,
    region_from_wire,
    region_within,
)

LONG = ".".join(["a" * 63] * 3 + ["b" * 61])


@pytest.mark.parametrize(
    ("pattern", "given", "fits"),
    [
        ("app.example.com", "app.example.com", True),
        ("app.example.com", "APP.Example.COM", True),
        ("app.example.com", "app.example.com.", True),
        ("App.Example.com.", "app.example.com", True),
        ("app.example.com", "app.example.com..", False),
        ("app.example.com", "app.example.com:443", False),
        ("app.example.com", "https://app.example.com", False),
        ("app.example.com", " app.example.com", False),
        ("app.example.com", "app.example.com\n", False),
        ("app.example.com", "xapp.example.com", False),
        ("app.example.com", "x.app.example.com", False),
        ("app.example.com", "example.com", False),
        ("*.example.com", "a.example.com", True),
        ("*.example.com", "a.b.c.example.com", True),
        ("*.example.com", "A.EXAMPLE.com.", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", ".example.com", False),
        ("*.example.com", "*.example.com", False),
        ("*.example.com", "a..example.com", False),
        ("*.example.com", "evilexample.com", False),
        ("*.example.com", "a.example.com.evil.org", False),
        ("*.example.com", "-a.example.com", False),
        ("*.example.com", "xn--mnchen-3ya.example.com", True),
        ("xn--mnchen-3ya.de", "XN--MNCHEN-3YA.de", True),
        ("xn--mnchen-3ya.de", "münchen.de", False),
        # A letter of another script that small letters turn into an ASCII one is not that one.
        ("kiosk.example.com", "\u212aiosk.example.com", False),
        ("localhost", "localhost", True),
        ("*.com", "example.com", True),
        (LONG, LONG, True),
        (LONG, LONG + "b", False),
        ("example.com", "", False),
    ],
)
def test_a_domain_fits_its_own_name_or_a_star_above_it(
    pattern: str, given: str, fits: bool
) -> None:
    assert domain_fits((domain_from_wire(pattern),), given) is fits


@pytest.mark.parametrize(
    "pattern",
    [
        *("", "*", "*.", "a.*.com", "*a.com", "**.com", ".com", "a..b", "-a.com", "a-.com"),
        *("mün.de", "a.com/", "a b", "a.com\n", f"{LONG}b", "a" * 64, 7, None),
    ],
)
def test_what_is_no_domain_is_refused(pattern: object) -> None:
    with pytest.raises(ValueError, match="must be a domain"):
        domain_from_wire(pattern)


@pytest.mark.parametrize(
    ("network", "given", "fits"),
    [
        ("192.0.2.0/24", "192.0.2.0", True),
        ("192.0.2.0/24", "192.0.2.255", True),
        ("192.0.2.0/24", "192.0.1.255", False),
        ("192.0.2.0/24", "192.0.3.0", False),
        ("192.0.2.7/32", "192.0.2.7", True),
        ("192.0.2.7/32", "192.0.2.8", False),
        ("0.0.0.0/0", "8.8.8.8", True),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("192.0.2.0/24", "::ffff:192.0.2.9", True),
        ("192.0.2.0/24", "::FFFF:C000:0209", True),
        ("192.0.2.0/24", "::ffff:192.0.3.9", False),
        # An older form of IPv4 inside IPv6, which nobody may use, is none.
        ("192.0.2.0/24", "::192.0.2.9", False),
        ("::ffff:192.0.2.0/120", "192.0.2.9", True),
        ("::ffff:0:0/96", "192.0.2.9", True),
        ("::ffff:0:0/96", "::ffff:192.0.2.9", True),
        ("::/0", "192.0.2.9", False),
        ("::/0", "::ffff:192.0.2.9", False),
        ("::/0", "2001:db8::1", True),
        ("2001:DB8::/32", "2001:db8:ffff::1", True),
        ("2001:db8::/32", "2001:0DB8:0:0:0:0:0:1", True),
        ("2001:db8::/32", "2001:db9::", False),
        ("fe80::/10", "fe80::1%eth0", False),
        ("192.0.2.0/24", "192.0.2.07", False),
        ("192.0.2.0/24", "192.0.2", False),
        ("192.0.2.0/24", "3221225993", False),
        ("192.0.2.0/24", "0xc0.0.2.9", False),
        ("192.0.2.0/24", " 192.0.2.9", False),
        ("192.0.2.0/24", "192.0.2.9\n", False),
        ("192.0.2.0/24", "192.0.2.0/32", False),
        ("192.0.2.0/24", "192.0.2.9:443", False),
        ("192.0.2.0/24", "١٩٢.0.2.9", False),
        ("192.0.2.0/24", "", False),
    ],
)
def test_an_address_lies_in_a_network_or_not(network: str, given: str, fits: bool) -> None:
    assert address_fits((network_from_wire(network),), given) is fits


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("2001:DB8:0::/48", "2001:db8::/48"),
        ("::FFFF:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("10.0.0.0/8", "10.0.0.0/8"),
    ],
)
def test_a_network_has_one_spelling(given: str, kept: str) -> None:
    assert network_from_wire(given) == kept
    assert network_from_wire(kept) == kept


@pytest.mark.parametrize(
    "given",
    [
        *("10.0.0.1/8", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/08", "10.0.0.0/255.0.0.0", "10.0/8"),
        *("2001:db8::/129", "2001:db8::1/32", "fe80::%1/64", "10.0.0.0/8\n", "::ffff:0:0/95"),
        *("", "/8", 8),
    ],
)
def test_what_is_no_network_is_refused(given: object) -> None:
    with pytest.raises(ValueError, match="must be a network"):
        network_from_wire(given)


@pytest.mark.parametrize(
    ("allow", "deny", "given", "within"),
    [
        (("eu-*",), (), "eu-west-1", True),
        (("eu-*",), (), "EU-West-1", True),
        (("EU-*",), (), "eu-", True),
        (("eu-*",), (), "eu", False),
        (("eu-west-1",), (), "eu-west-10", False),
        (("eu-*",), ("eu-north-1",), "eu-north-1", False),
        (("eu-*",), ("eu-north-1",), "EU-NORTH-1", False),
        (("eu-north-1",), ("eu-*",), "eu-north-1", False),
        (("*",), (), "anywhere", True),
        (None, ("cn-*",), "cn-north-1", False),
        (None, ("cn-*",), " cn-north-1", False),
        (None, ("cn-*",), "cn-north-1\n", False),
        (None, ("kiev",), "\u212aiev", False),
        (None, ("cn-*",), "us-east-1", True),
        (None, ("*",), "us-east-1", False),
        (None, (), "us-east-1", True),
        (None, (), "us/east", False),
        (None, (), "r" * 65, False),
        ((), (), "us-east-1", False),
    ],
)
def test_a_region_is_within_bounds_or_not(
    allow: tuple[str, ...] | None, deny: tuple[str, ...], given: str, within: bool
) -> None:
    for names in (allow or (), deny):
        for name in names:
            assert region_from_wire(name) == name
    assert region_within(Bounds(allow, deny), given) is within


@pytest.mark.parametrize(
    ("allow", "deny", "given", "within"),
    [
        (("DE", "FR"), (), "DE", True),
        (("DE", "FR"), (), "de", True),
        (("DE", "FR"), (), "US", False),
        (("DE", "FR"), ("FR",), "FR", False),
        (None, ("KP",), "KP", False),
        (None, ("KP",), "kp", False),
        (None, ("KP",), "DE", True),
        (None, (), "DE", True),
        (None, (), "SY", False),
        (("SY",), (), "SY", False),
        (None, (), "XX", False),
        (None, (), "zz", False),
        (None, (), "T1", False),
        (None, (), "UK", False),
        (("XK",), (), "XK", True),
        (("XK",), (), "XX", False),
        (None, (), "DEU", False),
        (None, (), "D", False),
        (None, (), "DE ", False),
        (None, (), "Germany", False),
        (("IS",), (), "\u0131s", False),
        ((), (), "DE", False),
    ],
)
def test_a_country_is_within_bounds_and_off_the_export_list_or_not(
    allow: tuple[str, ...] | None, deny: tuple[str, ...], given: str, within: bool
) -> None:
    assert country_within(Bounds(allow, deny), given, frozenset({"SY"})) is within


@pytest.mark.parametrize("given", ["UK", "de", "DEU", "", "D*", "*", 49, None])
def test_a_policy_names_countries_that_there_are(given: object) -> None:
    with pytest.raises(ValueError, match="must be a country"):
        country_from_wire(given)


def test_without_a_list_every_country_but_the_codes_of_users_may_be() -> None:
    anywhere = Bounds(None, ())
    known = {code for code in COUNTRIES if country_within(anywhere, code, frozenset())}
    assert len(known) == 249
    assert {"AA", "QM", "QZ", "XK", "XX", "ZZ"} <= COUNTRIES - known
    assert "QA" in known
