"""Sections of the report: each gives titles, captions, tables and data of figures."""
