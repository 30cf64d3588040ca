"""Kinds of items in the container of reports, where more than one module asks for them."""

DAILY = "report"
"""A daily activity report."""
COMPLIANCE = "compliance_report"
"""The head of a framework's report."""
ORDER = "report_order"
"""A framework's report that was asked for and is not there yet."""


def order_id(report_id: str) -> str:
    """The id of the order of a report: there is one."""
    return f"order|{report_id}"
