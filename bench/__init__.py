"""Benchmarks: bounded programs that print a table and one JSON line per figure."""
