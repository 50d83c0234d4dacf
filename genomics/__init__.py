"""Attention for DNA, RNA and protein sequences (on Biopython).

This package will hold motif detection whose heads become motif detectors. It holds nothing yet: there is no task,
no model and no data module to train.
"""
