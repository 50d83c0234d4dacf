"""Attention for irregular events in time.

This package will hold outcome models for electronic health records with learned half-lives. It holds nothing yet:
there is no task, no model and no data module to train.
"""
