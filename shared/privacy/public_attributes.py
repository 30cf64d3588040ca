"""Attributes of events that say nothing of a person: part of the inventory."""

ATTRIBUTES = (
    "approved_by attempt_count attempted_fields attempted_role authority_notified_at aware_at cause change "
    "changed_fields clock_offset_ms count counts criteria decision digest due_at error_code event_id events "
    "exceptions expires_at factor failing_since failures filtered_by format framework gate_passed held_role index "
    "keep key left_at locked_until log new_exceptions new_role new_status not_applicable not_evidenced old_role "
    "old_status organization pattern patterns period period_from period_to policy population position privacy_version "
    "purpose remaining remove request_id required_role required_scope role root satisfied scopes session_seconds "
    "sessions_ended severity signed_as since size source subjects_notified_at target_role terms_version ticket until "
    "version waiting what window_from window_to"
)
"""Attributes of our own event types: public, all of them. What is personal is marked so and sealed.
Producers' own attributes (`data.*`, `custom.*`) are for what is not personal, too: see docs/ingest.md."""
