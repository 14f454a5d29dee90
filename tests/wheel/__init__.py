"""The whole service from its wheel; `make test-wheel` runs these, which install torch."""
