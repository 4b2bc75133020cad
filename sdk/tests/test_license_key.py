"""Licence keys: what is one, and that no slip of the hand is."""

import base64
import random
import string

import pytest
from tollbook import license_key
from tollbook.errors import Invalid

KEY = "tb_license_aaaqeayeaudaocajbifqydiob4ibceqt_79eddcb8"
BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
TYPED = string.printable + "\x00é\N{FULLWIDTH LATIN SMALL LETTER A}\N{ARABIC-INDIC DIGIT TWO}\ud800"


def is_key(text: str) -> bool:
    """Tell whether a text passes the check."""
    try:
        license_key.check(text)
    except Invalid:
        return False
    return True


def test_a_made_key_is_one() -> None:
    keys = {license_key.make() for _ in range(1000)}
    assert len(keys) == 1000
    assert all(is_key(key) and len(key) == license_key.LENGTH for key in keys)


def test_a_made_key_has_160_random_bits() -> None:
    """Each bit is seen as 0 and as 1, so none of them is fixed."""
    randoms = [
        int.from_bytes(base64.b32decode(license_key.make().split("_")[2].upper()))
        for _ in range(200)
    ]
    ones, zeros = 0, 0
    for value in randoms:
        ones, zeros = ones | value, zeros | ~value
    assert ones == 2**160 - 1
    assert zeros & ones == ones


def test_no_single_wrong_character_is_missed() -> None:
    for place in range(len(KEY)):
        for character in TYPED:
            mistyped = KEY[:place] + character + KEY[place + 1 :]
            assert is_key(mistyped) == (mistyped == KEY), (place, character)


def test_no_extra_or_missing_character_is_missed() -> None:
    for place in range(len(KEY)):
        assert not is_key(KEY[:place])
        assert not is_key(KEY[:place] + KEY[place + 1 :])
    for place in range(len(KEY) + 1):
        assert not any(is_key(KEY[:place] + extra + KEY[place:]) for extra in TYPED)


def test_no_exchange_of_two_characters_is_missed() -> None:
    for one in range(len(KEY)):
        for other in range(one + 1, len(KEY)):
            changed = list(KEY)
            changed[one], changed[other] = changed[other], changed[one]
            assert is_key("".join(changed)) == (changed == list(KEY)), (one, other)


def test_a_hundred_thousand_random_texts_are_no_keys() -> None:
    """Every second one has the form of a key, so only its check is wrong."""
    chance = random.Random(20260102)
    for _ in range(50_000):
        secret = "".join(chance.choices(BASE32, k=32))
        ending = "".join(chance.choices("0123456789abcdef", k=8))
        assert not is_key(f"{license_key.PREFIX}{secret}_{ending}")
        assert not is_key("".join(chance.choices(string.printable, k=chance.randrange(80))))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "begins with"),
        (KEY.upper(), "begins with"),
        (" " + KEY, "begins with"),
        ("tb_admin_" + KEY[11:], "begins with"),
        (KEY[:-1], "characters long; this one has 51"),
        (KEY + "\n", "characters long; this one has 53"),
        (KEY[:11] + KEY[11:].upper(), "32 of a to z and 2 to 7"),
        (KEY.replace("diob", "d1ob"), "32 of a to z and 2 to 7"),
        (KEY.replace("_79ed", "-79ed"), "32 of a to z and 2 to 7"),
        (KEY.replace("aaaq", "aaab"), "last 8 characters do not fit"),
    ],
)
def test_the_error_says_which_rule_and_never_shows_the_key(text: str, rule: str) -> None:
    with pytest.raises(Invalid) as refused:
        license_key.check(text)
    assert rule in refused.value.message
    assert refused.value.facts["field"] == "license_key"
    shown = str(refused.value.problem())
    assert KEY[11:43] not in shown.lower()
    assert KEY[-8:] not in shown


def test_the_hint_is_the_end_of_the_random_part() -> None:
    assert license_key.hint(KEY) == "ceqt"
    with pytest.raises(Invalid):
        license_key.hint(KEY[:-1])
