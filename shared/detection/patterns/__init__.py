"""The threat patterns: one module each, with its metadata, parameters and evaluation as `PATTERN`."""
