"""Country: ISO 3166-1 alpha-2 codes, and lists of them.

A code that stands for nothing would deny nobody without anybody noticing, so it is refused. The
codes that ISO leaves to its users (AA, QM to QZ, XA to XZ, ZZ) are accepted.
"""

from typing import Annotated

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

_OFFICIAL = """
AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT
BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH
ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT
HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS
LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI
NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG
SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG
UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
"""
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

COUNTRIES = frozenset(
    (
        *_OFFICIAL.split(),
        *("AA", "ZZ"),
        *(f"Q{letter}" for letter in _LETTERS[12:]),
        *(f"X{letter}" for letter in _LETTERS),
    )
)
"""Every code that is accepted."""


def countries_from_wire(value: object) -> tuple[str, ...]:
    """Read a list of countries, and put it in order; anything else raises ValueError."""
    if type(value) not in (list, tuple):
        raise ValueError("must be a list of countries")
    found: list[object] = list(value)  # type: ignore[call-overload]
    for each in found:
        if type(each) is not str or each not in COUNTRIES:
            raise ValueError(f"must be codes of ISO 3166-1 alpha-2: {ascii(each)[:20]} is none")
    codes = sorted({str(each) for each in found})
    if len(codes) < len(found):
        raise ValueError("must name each country once")
    return tuple(codes)


Countries = Annotated[
    tuple[str, ...],
    PlainValidator(countries_from_wire),
    PlainSerializer(list, return_type=list[str]),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "string", "pattern": "^[A-Z]{2}$"},
            "maxItems": len(COUNTRIES),
            "uniqueItems": True,
        }
    ),
]
"""Countries as a field of commands and events, in the order of their codes."""
