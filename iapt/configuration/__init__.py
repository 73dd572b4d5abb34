"""Entries of the configuration: found, checked, named and built into objects."""
