"""The version of the app, here and nowhere else (docs/delivery.md, Releasing)."""

VERSION = "1.0.0"
