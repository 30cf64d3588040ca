"""Which addresses a webhook may be at. Pure: nothing is looked up (docs/adr/0047)."""

import ipaddress
import re
from urllib.parse import urlsplit

MOST_CHARACTERS = 2000
_NEVER = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8",
            "169.254.0.0/16",  # link-local: metadata of most clouds
            "168.63.129.16/32",  # Azure's platform: global, and only there for virtual machines
            "100.100.100.200/32",  # metadata of Alibaba Cloud
            "192.0.0.192/32",  # metadata of Oracle Cloud
            "fd00:ec2::/32",  # metadata of AWS
            "fd20:ce::254/128",  # metadata of Google Cloud
            "192.88.99.0/24",  # relays of 6to4, deprecated
            "3fff::/20",  # documentation
            "fe80::/10",
            "fec0::/10",  # site-local, deprecated
            "2001::/32",  # Teredo: the address inside is masked
            "64:ff9b:1::/48",  # NAT64 of a network's own
            "::/96",  # IPv4-compatible, deprecated; unspecified and loopback are looked at before
        ),
    )
)
_PRIVATE = tuple(
    map(
        ipaddress.ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "fc00::/7", "::1/128"),
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

_ISATAP = frozenset({0x00005EFE, 0x02005EFE})
"""What the second half of an IPv6 address begins with that is for a tunnel, over IPv4 of the network at hand."""
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)
_LONGEST_NAME = 253
_LOOPBACK6 = ipaddress.IPv6Address("::1")

type Address = ipaddress.IPv4Address | ipaddress.IPv6Address
type Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def may_connect(text: str, *, allow_private: bool) -> bool:
    """Whether a webhook may be at an address. Of an IPv6 address that carries an IPv4 one, that decides."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return False
    if getattr(found, "scope_id", None):
        return False
    return _may(_inner(found), allow_private)


def _may(found: Address, allow_private: bool) -> bool:
    if found == _LOOPBACK6:
        return allow_private
    if _is_in(found, _NEVER) or (found.version == 6 and int(found) >> 32 & 0xFFFFFFFF in _ISATAP):
        return False
    if _is_in(found, _PRIVATE):
        return allow_private
    return found.is_global and not (found.is_multicast or found.is_reserved or found.is_unspecified)


def _is_in(found: Address, networks: tuple[Network, ...]) -> bool:
    return any(found in each for each in networks if each.version == found.version)


def _inner(found: Address) -> Address:
    """The IPv4 address that an IPv6 address carries, or the address itself."""
    if isinstance(found, ipaddress.IPv4Address):
        return found
    if found in _NAT64:
        return ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
    return found.ipv4_mapped or found.sixtofour or found


def check_url(url: str, *, allow_private: bool, allow_http: bool) -> None:
    """ValueError, with what is wrong, unless a webhook may be at `url` as far as can be told without resolving it.

    `allow_http`: plain HTTP to a loopback address, too.
    """
    if len(url) > MOST_CHARACTERS or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise ValueError(f"must be at most {MOST_CHARACTERS} printable ASCII characters without spaces")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("must be https://<host>/<path>") from None
    if not host or port == 0 or parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("must be https://<host>/<path>, without user and fragment")
    literal = _literal(host)
    is_local = host == "localhost" or (literal is not None and literal.is_loopback)
    if parts.scheme != "https" and not (parts.scheme == "http" and allow_http and is_local):
        raise ValueError("must begin with https://")
    if (host == "localhost" or host.removesuffix(".").endswith(".localhost")) and not allow_private:
        raise ValueError("must not be on this machine")
    if literal is not None and not may_connect(str(literal), allow_private=allow_private):
        raise ValueError("must be a public address")
    is_bare = "." not in host.strip(".") and not allow_private
    if literal is None and (_looks_numeric(host) or is_bare or not _is_name(host)):
        raise ValueError("must name a public host")


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_name(host: str) -> bool:
    """Whether it can be the name of a host, in lower case: labels of letters, digits, hyphens and underscores."""
    name = host.removesuffix(".")
    return len(name) <= _LONGEST_NAME and all(map(_LABEL.fullmatch, name.split(".")))


def _looks_numeric(host: str) -> bool:
    """Other spellings of IPv4 addresses, which resolvers take: 127.1, 2130706433, 0x7f.1."""
    last = host.rstrip(".").rpartition(".")[2]
    return last.isdigit() or last.lower().startswith("0x")


def shown_url(url: str) -> str:
    """What may be shown of a URL: not its query, which can hold a token."""
    head, mark, _ = url.partition("?")
    return f"{head}?…" if mark else head
