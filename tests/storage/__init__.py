"""Tests of the storage port: one conformance suite for every adapter, and each adapter's own."""
