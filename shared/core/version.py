"""The version of the app, here and nowhere else (docs/delivery.md, Releasing)."""

VERSION = "0.1.0"
