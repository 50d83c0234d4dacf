"""How the benchmarks of motif detection score a method and print its row."""
