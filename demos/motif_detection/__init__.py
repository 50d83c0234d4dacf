"""What the demo and the benchmarks of motif detection share: runs by a configuration, and tables of heads."""
