"""A check of any deployment from outside, over its public HTTP API: `python -m devhost.smoke --url URL`."""
