"""Diagnostics: what this machine has of all that pointserve needs, what is wrong, and what to do."""
