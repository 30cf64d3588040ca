"""What the SDKs that the app calls may write to the log."""

import logging

SDK_LOGS = ("azure.core", "azure.cosmos", "azure.identity", "azure.keyvault", "msal")


def quiet_sdks() -> None:
    """Of Azure's SDKs only warnings are written: they tell of every call with its URL, and URLs hold ids.

    A level that somebody chose for one of SDK_LOGS stays.
    """
    for name in SDK_LOGS:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.WARNING)
