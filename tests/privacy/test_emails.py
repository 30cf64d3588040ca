"""The normal form of e-mails: what is one address, what is another, and what is none."""

import string
import unicodedata
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from shared.privacy.emails import Email, normal_email

EMAIL: TypeAdapter[str] = TypeAdapter(Email)


@pytest.mark.parametrize(
    ("typed", "normal"),
    [
        ("ada@example.com", "ada@example.com"),
        ("Ada@EXAMPLE.Com", "ada@example.com"),
        ("ada+audit@example.com", "ada+audit@example.com"),
        ("a.d.a@example.com", "a.d.a@example.com"),
        ("o'brien@example.com", "o'brien@example.com"),
        ("a/b=c?d@example.com", "a/b=c?d@example.com"),
        ("ａｄａ@example.com", "ada@example.com"),  # full width
        ("ﬁona@example.com", "fiona@example.com"),  # ligature
        ("STRASSE@example.com", "strasse@example.com"),
        ("straße@example.com", "strasse@example.com"),
        ("jose\u0301@example.com", "jos\u00e9@example.com"),  # combining accent
        ("JOSÉ@example.com", "jos\u00e9@example.com"),
        ("ΣΊΣΥΦΟΣ@example.com", "σίσυφοσ@example.com"),  # final sigma
        ("\u212aelvin@example.com", "kelvin@example.com"),  # Kelvin sign
        ("ada@münchen.de", "ada@xn--mnchen-3ya.de"),
        ("ada@MÜNCHEN.de", "ada@xn--mnchen-3ya.de"),
        ("ada@xn--mnchen-3ya.de", "ada@xn--mnchen-3ya.de"),
        ("ada@XN--MNCHEN-3YA.de", "ada@xn--mnchen-3ya.de"),
        ("ada@mu\u0308nchen.de", "ada@xn--mnchen-3ya.de"),
        ("ada@example。com", "ada@example.com"),  # ideographic full stop
        ("ada@ｅｘａｍｐｌｅ.com", "ada@example.com"),
        ("李@例え.jp", "李@xn--r8jz45g.jp"),
    ],
)
def test_the_normal_form(typed: str, normal: str) -> None:
    assert normal_email(typed) == normal
    assert EMAIL.validate_python(typed) == typed


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ada@example.com", "\u0430da@example.com"),  # Cyrillic а
        ("ada@example.com", "ad\u0251@example.com"),  # Latin alpha
        ("ada@example.com", "ada@ex\u0430mple.com"),
        ("ada@example.com", "ada@example.org"),
        ("ada@example.com", "ada+x@example.com"),
        ("ada@example.com", "a.da@example.com"),
        ("ada@strasse.de", "ada@straße.de"),  # two domains since IDNA 2008
        ("io@example.com", "\u0131o@example.com"),  # dotless i
        ("ada1@example.com", "adal@example.com"),
    ],
)
def test_addresses_that_only_look_alike_stay_apart(one: str, other: str) -> None:
    assert normal_email(one) != normal_email(other)


REFUSED = [
    "",
    "a",
    "@",
    "a@",
    "@example.com",
    "a b@example.com",
    " ada@example.com",
    "ada@example.com ",
    "ada@example.com\n",
    "ada\x00@example.com",
    "ada@example\x00.com",
    "ada@@example.com",
    "ada@b@example.com",
    ".ada@example.com",
    "ada.@example.com",
    "a..da@example.com",
    "ada@.example.com",
    "ada@example..com",
    "ada@example.com.",
    "ada@-example.com",
    "ada@example-.com",
    "ada@example",
    "ada@localhost",
    "ada@example.test",
    "ada@127.0.0.1",
    "ada@[127.0.0.1]",
    "ada@[IPv6:::1]",
    '"ada lovelace"@example.com',
    "Ada <ada@example.com>",
    "<ada@example.com>",
    "mailto:ada@example.com,bob@example.com",
    "ada@example.com,bob@example.com",
    "ada(comment)@example.com",
    "ada\u200b@example.com",
    "ada\u00ad@example.com",
    "ada\u202e@example.com",
    "ada\u2028@example.com",
    "\u0301ada@example.com",
    "ada\ud800@example.com",
    "ada@xn--a.com",
    "ada@exa_mple.com",
    f"ada@{'a' * 64}.com",
    f"ada@{'a.' * 130}com",
    # characters that fold into what an address must not hold
    "a\uff20b@example.com",  # full-width @
    "a\u00a8@example.com",  # diaeresis: a space and an accent
    "\uff0eada@example.com",  # full-width dot
    "ada\uff0e@example.com",
    "a\uff0e.b@example.com",
    "a\u2024\u2024b@example.com",  # one-dot leaders
    "a\uff1cb\uff1e@example.com",  # full-width < and >
    "a\uff02b@example.com",  # full-width quote
    "a\u2100b\uff0c@example.com",
    "\ufdfa@example.com",  # one character, three spaces
    "\uff9eada@example.com",  # half-width voiced mark: one that combines
]


@pytest.mark.parametrize("typed", REFUSED, ids=ascii)
def test_what_is_no_address(typed: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        normal_email(typed)
    with pytest.raises(ValidationError):
        EMAIL.validate_python(typed)


@pytest.mark.parametrize("typed", [each for each in REFUSED if len(each) > 2], ids=ascii)
def test_a_refusal_by_a_model_does_not_show_what_was_typed(typed: str) -> None:
    with pytest.raises(ValidationError) as caught:
        EMAIL.validate_python(typed)
    for error in caught.value.errors(include_input=False, include_url=False):
        assert typed not in error["msg"]
        assert error["type"] != "email" or error["msg"] == "must be an e-mail address"


def test_length_is_bounded() -> None:
    label = "a" * 60
    longest = f"{'a' * 64}@{label}.{label}.{label}.com"
    assert len(longest) <= 254
    assert EMAIL.validate_python(longest) == longest
    with pytest.raises(ValidationError):
        EMAIL.validate_python(f"ada@{'.'.join([label] * 5)}.com")


ATEXT = f"{string.ascii_letters}{string.digits}!#$%&'*+-/=?^_`{{|}}~"
TRICKY = "ßſﬁİıΣςKÅǅ\u0345\u0301\u03b1\u1fb3\u337f\uff9e\u2488\u1e9eａＡ①㎏ǆ\U0001d49c"
DOTS = (".", "\uff0e", "\u2024", "\ufe52")
IN_LABELS = "abzABZ09äÖüßéλΣςжЯ例え한ａＺﬁ\u212a\u0130"
type Form = Literal["NFC", "NFD", "NFKC", "NFKD"]
FORMS: tuple[Form, ...] = ("NFC", "NFD", "NFKC", "NFKD")
LABEL_DOTS = (".", "\u3002", "\uff0e", "\uff61")


def folded(text: str) -> str:
    """What compatibility and case folding make of a text."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def in_atoms(char: str) -> str:
    """The character itself if what it folds into may stand between the dots of an address, a letter otherwise."""
    fits = all(each in ATEXT if each.isascii() else unicodedata.category(each)[0] not in "CZ" for each in folded(char))
    return char if fits else "é"


def behind_a_letter(local: str) -> str:
    """A local part whose first character cannot combine with what stands before the address."""
    marked = any(unicodedata.category(form[0])[0] == "M" for form in (local, folded(local)))
    return f"o{local}" if marked else local


ATOMS = st.text(
    st.one_of(
        st.sampled_from(ATEXT),
        st.sampled_from(TRICKY).map(in_atoms),
        st.characters(min_codepoint=0x80, exclude_categories=["C", "Z"]).map(in_atoms),
    ),
    min_size=1,
    max_size=5,
)


@st.composite
def locals_of(draw: st.DrawFn) -> str:
    """Valid local parts: atoms of any script, case and width, between dots that may be compatibility forms."""
    parts = [draw(ATOMS)]
    for _ in range(draw(st.integers(0, 2))):
        parts += [draw(st.sampled_from(DOTS)), draw(ATOMS)]
    return behind_a_letter("".join(parts))


@st.composite
def domains_of(draw: st.DrawFn) -> str:
    """Valid domains: ASCII and internationalized labels in any case and width, between any of the IDNA dots."""
    known = st.sampled_from(["EXAMPLE.com", "münchen.DE", "ſ.example.com", "straße.de", "例え.jp", "xn--mnchen-3ya.de"])
    label = st.text(IN_LABELS, min_size=1, max_size=8)
    made = st.tuples(label, st.sampled_from(LABEL_DOTS), st.sampled_from(["com", "ORG", "ｃｏｍ", "рф"])).map("".join)
    return draw(known | made)


@given(local=locals_of(), domain=domains_of())
@example(local="α\u0345", domain="example.com")
@example(local="\u337f", domain="example.com")  # four characters in one
@example(local="İ", domain="example.com")
@example(local="ᾳ\u0301\u0345", domain="example.com")
@example(local="a\u2488b", domain="example.com")  # folds into a digit and a dot
@example(local="o\uff9e", domain="example.com")  # folds into a mark that combines
def test_the_normal_form_is_its_own_normal_form(local: str, domain: str) -> None:
    normal = normal_email(f"{local}@{domain}")
    assert normal_email(normal) == normal
    assert normal.count("@") == 1
    assert EMAIL.validate_python(normal) == normal


@given(local=locals_of(), domain=domains_of(), form=st.sampled_from(FORMS))
def test_however_a_local_part_is_composed_it_is_one_address(local: str, domain: str, form: Form) -> None:
    wanted = normal_email(f"{local}@{domain}")
    assert normal_email(f"{unicodedata.normalize(form, local)}@{domain}") == wanted
    assert normal_email(f"{folded(local)}@{domain}") == wanted


@given(local=st.text(min_size=1, max_size=6), domain=domains_of())
def test_whatever_is_typed_has_a_stable_normal_form_or_none(local: str, domain: str) -> None:
    try:
        normal = normal_email(f"{local}@{domain}")
    except ValueError:
        return
    assert normal_email(normal) == normal


@given(local=st.from_regex(r"[A-Za-z0-9+_-]{1,20}", fullmatch=True), domain=domains_of())
def test_case_never_matters(local: str, domain: str) -> None:
    wanted = normal_email(f"{local}@{domain}")
    assert normal_email(f"{local.upper()}@{domain}") == wanted
    assert normal_email(f"{local.swapcase()}@{domain}") == wanted
