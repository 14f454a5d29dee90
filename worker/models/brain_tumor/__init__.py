"""The default model: its network, its recipe and how it is computed fastest."""
