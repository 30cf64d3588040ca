"""Why an export did not come to its end."""


class Refused(Exception):
    """It cannot be done as it was asked for; the message says why."""


class CutOff(Exception):
    """It could be done, but not now."""


class CursorOver(Exception):
    """The service does not know the place to go on at any more."""
