"""Whether capacity plans come true."""
