"""The command that copies a trail into a file: see `__main__.py`."""
