"""Benchmarks on real parts: ``make bench``."""
