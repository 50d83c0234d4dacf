"""How demos and benchmarks of graphs print their numbers."""
