"""Triggers only: parse, call one domain function, answer. No domain rule lives here."""

import azure.functions as func

from functions import (
    admin,
    admin_access,
    admin_reviews,
    admin_settings,
    admin_users,
    alerts,
    auth,
    change_feed,
    consent,
    controls,
    events,
    events_export,
    events_ingest,
    ledger,
    ledger_bundle,
    meta,
    mfa,
    privacy,
    privacy_export,
    profile,
    reports,
    timers,
    webhooks,
)
from functions._api import Endpoint
from shared.wiring import LazyServices

_APIS = (
    admin.api,
    admin_access.api,
    admin_reviews.api,
    admin_settings.api,
    admin_users.api,
    alerts.api,
    auth.api,
    consent.api,
    controls.api,
    events.api,
    events_export.api,
    events_ingest.api,
    ledger.api,
    ledger_bundle.api,
    mfa.api,
    privacy.api,
    privacy_export.api,
    profile.api,
    reports.api,
    webhooks.api,
)
ENDPOINTS: tuple[Endpoint, ...] = tuple(e for api in (*_APIS, meta.api) for e in api.endpoints)
"""Every HTTP endpoint of the app, for the OpenAPI document and for tests that walk them all."""


def register(app: func.FunctionApp, services: LazyServices) -> None:
    """Register the functions of this process's role (`APP_ROLE`): all of the app, or its share (docs/adr/0045)."""
    role = services.settings.app_role
    app.register_functions(timers.blueprint(services, timers.of_role(role)))
    if role == "erasure":
        return
    for api in _APIS:
        app.register_functions(api.blueprint(services))
    app.register_functions(meta.blueprint(services))
    app.register_functions(change_feed.blueprint(services))
