"""The event types, one module per family, one frozen class per type; docstrings are the published catalog."""
