"""Which addresses of Azure services are safe to speak to. Pure: nothing is looked up."""

from ipaddress import ip_address
from urllib.parse import urlsplit


class OnThisMachineError(ValueError):
    """The endpoint is on this machine, and nobody said that it is an emulator's."""


def check_endpoint(endpoint: str, *, emulator: bool = False) -> None:
    """ValueError unless `endpoint` is `https://<host>/` and nothing more: on this machine for an emulator, else not.

    azure-cosmos verifies no certificate of this machine, and says nothing; so a loopback endpoint has to be asked for.
    """
    try:
        parts = urlsplit(endpoint)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("the endpoint is https://<account>/ and nothing more") from None
    if parts.scheme != "https" or not host or parts.username or parts.query or parts.path not in ("", "/"):
        raise ValueError("the endpoint is https://<account>/ and nothing more")
    if parts.fragment or not endpoint.isascii() or not endpoint.isprintable() or " " in endpoint:
        raise ValueError("the endpoint is https://<account>/ and nothing more")
    if emulator and not is_loopback(host):
        raise ValueError("a self-signed certificate is accepted of an emulator on this machine only")
    if is_loopback(host) and not emulator:
        raise OnThisMachineError(
            "an endpoint on this machine is an emulator: say that its certificate is to be accepted"
        )


def check_witness(url: str, *, local: bool) -> None:
    """ValueError unless `url` is that of a witness: https, or on this machine where the app is `local`."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("a witness is at https://<host>/<path> and nothing more") from None
    plain = url.isascii() and url.isprintable() and " " not in url and not (parts.username or parts.query)
    if not host or not plain or parts.fragment or parts.scheme not in ("https", "http"):
        raise ValueError("a witness is at https://<host>/<path> and nothing more")
    if is_loopback(host):
        if not local:
            raise ValueError("a witness on this machine is none from outside")
    elif parts.scheme != "https":
        raise ValueError("a witness is asked over https")


def is_loopback(host: str) -> bool:
    """Whether a host's name is this machine, without asking a resolver."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
