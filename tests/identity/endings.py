"""What happens to an account while a request of it is under way."""

from shared.identity.model import user_key
from shared.identity.sessions import ended_before
from shared.storage.containers import IDENTITY
from shared.storage.documents import PatchSet
from tests.app import Account, App


async def end_sessions(app: App, account: Account) -> None:
    """End all sessions, and what leads to one."""
    user = await app.store.read(IDENTITY, (account.tenant_id,), user_key(account.id))
    moment = PatchSet("sessions_valid_from", ended_before(user, app.clock.now()))
    await app.store.patch(IDENTITY, (account.tenant_id,), user_key(account.id), [moment])


async def delete_account(app: App, account: Account) -> None:
    """Take the account away."""
    await app.store.delete(IDENTITY, (account.tenant_id,), user_key(account.id))
