"""The real account that the conformance suite may run on, taken out of the environment, where the app would find it."""

import os

ACCOUNT = {name: os.environ.pop(name) for name in ("COSMOS_DB_ENDPOINT", "COSMOS_DB_KEY") if name in os.environ}
