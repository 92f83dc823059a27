"""`memory-r1 eval`: memory systems against the public benchmarks."""
