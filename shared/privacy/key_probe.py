"""Whether persons' keys can be wrapped and unwrapped: what readiness asks, before the first person does."""

import asyncio
import secrets as random_source
from datetime import datetime, timedelta

from shared.core.clock import Clock
from shared.privacy.key_check import PersonsPin
from shared.privacy.key_wrapping import KeyDamaged, KeyWrapper
from shared.privacy.person_keys import HELD_OVER, KEY_BYTES, PAUSE
from shared.privacy.secrets import SecretsError, SecretsUnreached
from shared.storage.errors import StoreError

GOOD_FOR = timedelta(minutes=1)
LONGEST_SECONDS = 5.0


class KeyProbe:
    """Wraps a key that is nobody's and unwraps it again, and that of the store (`pin`), at most once a minute whoever
    asks how often."""

    def __init__(self, wrapper: KeyWrapper, clock: Clock, pin: PersonsPin | None = None) -> None:
        self._wrapper = wrapper
        self._pin = pin
        self._clock = clock
        self._lock = asyncio.Lock()
        self._asked_at: datetime | None = None
        self._good_at: datetime | None = None
        self._failure: SecretsError | None = None

    async def check(self) -> None:
        """SecretsError unless it can be done. Silence after it could counts as long as keys are held over it."""
        async with self._lock:
            lasting = GOOD_FOR if self._failure is None else PAUSE
            if self._asked_at is None or abs(self._clock.now() - self._asked_at) >= lasting:
                self._failure = await self._ask()
                self._asked_at = self._clock.now()
            if self._failure is not None:
                raise SecretsError(str(self._failure))

    async def _ask(self) -> SecretsError | None:
        key = random_source.token_bytes(KEY_BYTES)
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                is_same = await self._wrapper.unwrap(await self._wrapper.wrap(key)) == key
                if self._pin is not None:
                    await self._pin.check()
        except StoreError:  # which is told of elsewhere
            return self._failure
        except (TimeoutError, SecretsUnreached) as error:
            good_at = self._good_at
            held = good_at is not None and abs(self._clock.now() - good_at) < HELD_OVER
            return None if held else SecretsError(str(error) or "persons' keys: no answer in time")
        except SecretsError as error:
            return error
        except KeyDamaged:
            is_same = False
        if not is_same:
            return SecretsError("persons' keys: what was wrapped does not unwrap")
        self._good_at = self._clock.now()
        return None
