"""The parts of benchmarks/speed.py: environments, workers, measurements, the limit of the core, goals, the page."""
