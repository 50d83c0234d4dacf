"""Attention on graphs (on PyTorch Geometric).

This package will hold supply-chain models whose depth is hops and whose heads are relations. It holds nothing yet:
there is no task, no model and no data module to train.
"""
