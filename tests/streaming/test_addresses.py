"""Where webhooks may be, by the text of an address alone."""

import pytest

from shared.streaming.addresses import check_url, may_connect, shown_url

PUBLIC = ["8.8.8.8", "203.0.114.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
PRIVATE = ["10.0.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "127.0.0.1", "127.9.9.9", "::1", "fd12::1"]
PRIVATE += ["::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:a00:1::1", "64:ff9b::a00:1"]
NEVER = [
    *("169.254.169.254", "169.254.0.1", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254"),
    *("0.0.0.0", "0.1.2.3", "255.255.255.255", "224.0.0.1", "239.1.1.1", "240.0.0.1", "192.0.2.1", "198.18.0.1"),  # noqa: S104 - nothing listens
    *("::", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "2001::1", "2001:db8::1", "100::1", "::7f00:1"),
    *("::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "64:ff9b:1::1", "::ffff:168.63.129.16"),
    *("fd20:ce::254", "3fff::1", "2001:470:1::5efe:7f00:1", "2606:4700::200:5efe:a00:1", "192.88.99.1"),
    *("", "localhost", "127.1", "2130706433", "0x7f.0.0.1", "010.0.0.1", "1.2.3.4.5", "８.8.8.8"),
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert may_connect(address, allow_private=False)
    assert may_connect(address, allow_private=True)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_where_that_is_allowed(address: str) -> None:
    assert not may_connect(address, allow_private=False)
    assert may_connect(address, allow_private=True)


@pytest.mark.parametrize("address", NEVER)
def test_never(address: str) -> None:
    assert not may_connect(address, allow_private=False)
    assert not may_connect(address, allow_private=True)


@pytest.mark.parametrize(
    "url",
    [
        "https://siem.example.com/in?token=x",
        "https://siem.example.com:8443/",
        "https://8.8.8.8/",
        "https://[2606:4700::1111]/in",
        "https://xn--bcher-kva.example/",
        "https://siem_1.Example.com./",
        "https://" + "a" * 63 + ".example.com/",
    ],
)
def test_urls_that_will_do(url: str) -> None:
    check_url(url, allow_private=False, allow_http=False)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "siem.example.com",
        "http://siem.example.com/",
        "ftp://siem.example.com/",
        "file:///etc/passwd",
        "https://",
        "https:///in",
        "https://user@siem.example.com/",
        "https://user:secret@siem.example.com/",
        "https://siem.example.com/#part",
        "https://siem.example.com:0/",
        "https://siem.example.com:99999/",
        "https://siem.example.com/ in",
        "https://siem.example.com/\r\nX: y",
        "https://siem.example.com\\@10.0.0.1/",
        "https://bücher.example/",
        "https://127.0.0.1%00/",
        "https://127.0.0.1%2eexample.com/",
        "https://siem..example.com/",
        "https://.example.com/",
        "https://-.example.com-/",
        "https://siem!.example.com/",
        "https://" + "a" * 64 + ".example.com/",
        "https://" + "a." * 130 + "example.com/",
        "https://a.localhost./",
        "https://[::1/",
        "https://localhost/",
        "https://a.localhost/",
        "https://intranet/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0177.0.0.1/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[fe80::1%25eth0]/",
        "https://168.63.129.16/",
        "http://127.0.0.1/",
        "https://siem.example.com/" + "x" * 2000,
    ],
)
def test_urls_that_will_not(url: str) -> None:
    with pytest.raises(ValueError, match="must"):
        check_url(url, allow_private=False, allow_http=False)


def test_plain_http_is_for_this_machine_and_where_it_is_allowed() -> None:
    for url in ("http://127.0.0.1:8090/", "http://localhost:8090/", "http://[::1]:8090/"):
        check_url(url, allow_private=True, allow_http=True)
        with pytest.raises(ValueError, match="https"):
            check_url(url, allow_private=True, allow_http=False)
    check_url("https://10.0.0.1/", allow_private=True, allow_http=True)
    check_url("https://intranet/", allow_private=True, allow_http=True)
    for url in ("http://10.0.0.1/", "http://siem.example.com/", "https://169.254.169.254/", "https://2130706433/"):
        with pytest.raises(ValueError, match="must"):
            check_url(url, allow_private=True, allow_http=True)


def test_of_a_url_the_query_is_not_shown() -> None:
    assert shown_url("https://x.example.com/a?sig=secret&b=c") == "https://x.example.com/a?…"
    assert shown_url("https://x.example.com/a") == "https://x.example.com/a"
