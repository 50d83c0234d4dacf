"""Pictures of attention (extra `viz`); every function answers the matplotlib Figure."""

from .heads import head_grid, head_similarity, heat_map, pruning, rollout_image, token_view

__all__ = ["head_grid", "head_similarity", "heat_map", "pruning", "rollout_image", "token_view"]
