"""Provisioning as people and programs ask for it: what may be typed, and what is answered."""
