"""Pictures of attention (extra `viz`); every function answers the matplotlib Figure."""

from .figure import new_figure
from .heads import head_grid, head_similarity, heat_map, pruning, rollout_image, token_view

__all__ = ["head_grid", "head_similarity", "heat_map", "new_figure", "pruning", "rollout_image", "token_view"]
