"""Pictures of attention (extra `viz`); every function answers the matplotlib Figure."""
