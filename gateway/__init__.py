"""Decides, pays for and settles every telephone call out of an Asterisk conference."""

__version__ = "0.1.0"
