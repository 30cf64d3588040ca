"""Which passwords may be set: a table of good and bad ones. What endpoints answer is in tests/acceptance."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.core.errors import Invalid
from shared.identity.password_policy import check_password

ADA = ("ada.love@org.example", "Ada", "Love", "Org")
LI = ("x@y.example", "Bo", "Li", "Acme")
NAMED = ("ada@example.com", "Ada", "Lovelace", "Analytical Engines")


@pytest.mark.parametrize(
    ("password", "context"),
    [
        *((password, ADA) for password in ("AdaLoveOrg2026", "2026AdaLoveOrg20262026!!", "Ada Love of Org")),
        *((password, ADA) for password in ("love.ada@ORG-1999", "org.example.2026!", "Adaaaaaaaa2026!!!")),
        *((password, LI) for password in ("BoLi2026BoLi!", "liboLIBO!!!!", "Acme1234567!!"[:12])),
        *((password, LI) for password in ("kraftdaudit1", "Kraftd Audit 1", "KraftdAudit2026", "kraftd-audit-app")),
        *(
            (password, LI)
            for password in ("Kr@ftd_Aud1t!", "audit.kraftd.2026", "acme@kraftd-audit", "kraftd-password")
        ),
        *((password, NAMED) for password in ("Lovelace1815!", "AnalyticalEngines1", "@d@L0vel@ce1", "3ngin3s2026!!")),
    ],
)
def test_made_of_what_everybody_knows(password: str, context: tuple[str, ...]) -> None:
    with pytest.raises(Invalid) as refusal:
        check_password(password, context)
    assert [error.code for error in refusal.value.errors] == ["contains_personal"]


@pytest.mark.parametrize(
    "password",
    [
        *("Summer2024!!", "Summer2024!!!", "summer-2024-", "!!2024Summer!!", "Winter2025!!", "Autumn-2026!"),
        *("January2026!", "Monday123456", "Password2026!", "P@ssw0rd2026!!", "S0mmer2024!!", "Welcome2026!!"),
        *("London2024!!", "SummerTime2024!", "letmein12345", "qwertyuiop12", "1q2w3e4r5t6y", "abcdefghijkl"),
        *("football football", "football football football", "london london!", "princess princess"),
        *("sunshine sunshine", "Sunshine_SUNSHINE", "sunshine123sunshine", "m0nkey-monkey-M0nkey", "football-baseball"),
        *("princess football princess", "London.football", "dragon/monkey", "hello hello hello"),
        *("aaaaaaaaaaaa", "🐢" * 12, "Ｓｕｍｍｅｒ２０２４！！"),
    ],
)
def test_what_many_people_think_of(password: str) -> None:
    with pytest.raises(Invalid) as refusal:
        check_password(password, ADA)
    assert [error.code for error in refusal.value.errors] == ["too_common"]


@pytest.mark.parametrize(
    "password",
    [
        *("correct horse battery staple", "orange is what it is now", "violet-canal-tractor", "kX9#mPq2vL7w"),
        *(
            "mein Hund heißt Waldi",
            "зеленый трамвай номер семь",
            "五色の短冊わたしがかいた夜",
            "🦊🐢🦉🐝🐌🦔🦦🦥🐧🐬🦩🐙",
        ),
        *("lovely weather in Gdańsk", "I adapt to organized chaos", "Summer rain on a tin roof", "tr0mb0ne-lagoon"),
        *("2024 was a long summer, wasn't it", "AdaLove-8271936450#", "summer83719264!", "correcthorse2024"),
        *(
            "violet walrus",
            "tractor canal, tractor boat",
            "no audit finds my blue turtle",
            "well well, a purple walrus",
        ),
        *("the cat and the dog and the goat", "football under a green moon", "one-two-buckle-my-shoe"),
        *("xqzvbtrwpk12", "dP7!fz0Qm3sy", "Donaudampfschiff1", "ten years, 2016 to 2026"),
    ],
)
def test_good_ones_of_every_kind(password: str) -> None:
    check_password(password, ADA)


@settings(max_examples=60, derandomize=True)
@given(st.text("abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789#%+=?", min_size=16, max_size=16))
def test_what_a_generator_makes_passes(password: str) -> None:
    if len(set(password)) > 9:
        check_password(password, ADA)
