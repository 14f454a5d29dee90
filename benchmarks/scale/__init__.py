"""How many workers are worth having."""
