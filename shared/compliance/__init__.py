"""Compliance evidence: reports that are built from the trail."""
