"""Makes hostile files and watches what reading them does; see benchmarks/fuzz.py."""
