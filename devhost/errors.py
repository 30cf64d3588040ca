"""What can keep the host from starting, or stop one of its operations."""


class HostError(Exception):
    """The host cannot serve this app; the message is one line, meant for the person at the terminal."""


class FeedStuck(Exception):
    """`Host.drain_feed` gave up: a function keeps failing, or keeps feeding itself."""
