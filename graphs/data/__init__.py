"""Graphs: data modules."""
