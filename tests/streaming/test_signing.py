"""Signatures of Standard Webhooks: the published vector, and an implementation that is not ours."""

import base64
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook as Outside
from standardwebhooks import WebhookVerificationError

from shared.core.clock import SystemClock
from shared.streaming.signing import headers, new_secret, read_secret, signature
from tests.streaming.support import OTHER_SECRET, SECRET, message_of
from tools.webhook_receiver import Refused, verify

PAYLOAD = b'{"test": 2432232314}'


def test_the_published_vector() -> None:
    key = read_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, PAYLOAD) == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


def test_an_outside_library_takes_what_we_sign_and_nothing_else() -> None:
    message, now = message_of(3), int(SystemClock().now().timestamp())
    sent = headers([read_secret(SECRET)], message.id, now, message.body)
    assert Outside(SECRET).verify(message.body, sent)["data"]["events"][2]["index"] == 2
    with pytest.raises(WebhookVerificationError):
        Outside(OTHER_SECRET).verify(message.body, sent)
    with pytest.raises(WebhookVerificationError):
        Outside(SECRET).verify(message.body + b" ", sent)
    assert (
        Outside(SECRET).sign(message.id, datetime.fromtimestamp(now, UTC), message.body.decode())
        == (sent["webhook-signature"])
    )


def test_during_a_rotation_either_secret_will_do() -> None:
    message, now = message_of(), int(SystemClock().now().timestamp())
    sent = headers([read_secret(SECRET), read_secret(OTHER_SECRET)], message.id, now, message.body)
    for secret in (SECRET, OTHER_SECRET):
        Outside(secret).verify(message.body, sent)
        verify([secret], sent, message.body, now)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"webhook-id": "msg_other"}, "signature"),
        ({"webhook-timestamp": "1"}, "timestamp"),
        ({"webhook-timestamp": "soon"}, "timestamp"),
        ({"webhook-signature": ""}, "signature"),
        ({"webhook-signature": "v1,!!! v2,AAAA v1,AAAA"}, "signature"),
    ],
)
def test_the_reference_receiver_refuses(change: dict[str, str], why: str) -> None:
    message = message_of()
    sent = headers([read_secret(SECRET)], message.id, 1_000_000, message.body)
    verify([SECRET], sent, message.body, 1_000_100)
    with pytest.raises(Refused, match=why):
        verify([SECRET], sent | change, message.body, 1_000_100)


def test_a_new_secret_is_one() -> None:
    assert len(read_secret(new_secret())) == 32
    assert new_secret() != new_secret()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        "c2VjcmV0" * 4,
        "whsec_" + base64.b64encode(b"x" * 23).decode(),
        "whsec_" + base64.b64encode(b"x" * 65).decode(),
        "whsec_" + "c2VjcmV0" * 3 + "c2V!cmV0",
        "whsec_" + "é" * 32,
        "WHSEC_" + "c2VjcmV0" * 4,
    ],
)
def test_what_is_no_secret(text: str) -> None:
    with pytest.raises(ValueError, match="a secret is"):
        read_secret(text)
