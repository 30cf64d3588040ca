"""The contract told as stories: an HTTP client over the real app, and the events that each call leaves."""
