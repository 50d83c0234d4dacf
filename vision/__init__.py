"""Attention on images."""
