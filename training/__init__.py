"""How the default weights are made: packaged anatomy, synthetic lesions, one command."""
