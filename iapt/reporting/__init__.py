"""Rows in, tables, figures, claims and reports out; reads JSON only."""
