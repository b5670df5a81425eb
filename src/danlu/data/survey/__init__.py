"""Descriptions of data sets."""
