"""config.*: how a tenant wants the service to behave."""

from typing import Annotated, Any

from shared.audit.model import ApprovedEvent, PersonalOf
from shared.audit.registry import event_type


@event_type("config.change")
class ConfigChange(ApprovedEvent):
    """Settings of the tenant changed. `key` says which group; the values are sealed under whoever changed them, since
    some of them can name people and addresses. Never holds a secret.

    Keys of a webhook: webhook (it was set or taken away; `state` among the fields: it was paused and goes on),
    webhook.replay (it was moved to a position), webhook.test (a sample is sent).

    Keys of what an operator does with the command line: tenant (suspended or resumed; in the trail of the tenant,
    and in that of platform with the operator's name), user (status, lock or second factor of an account; in the
    trail of platform, beside the event in that of the account), system_admin (one was made), secrets.<name> (reason
    rotation_begun, before anything is done, then rotated; of persons also rewrap_begun and rewrapped; of index also
    reindex_begun, reindexed, index_swept and version_dropped),
    ledger.rollups (counts of the named days are put right; in both trails, before it is done), erasures (so many
    were replayed after a restore). The actor's id is the same for all that one operator does; `operator` is the
    name that was given.

    `approved_by` and `ticket`: as whoever made the change said."""

    key: str
    changed_fields: tuple[str, ...]
    old_values: Annotated[dict[str, Any], PersonalOf("actor")]
    new_values: Annotated[dict[str, Any], PersonalOf("actor")]
    operator: Annotated[str | None, PersonalOf("actor")] = None
