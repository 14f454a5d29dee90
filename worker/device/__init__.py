"""The device: its selection, precision, memory and sharing. Nothing about a particular model."""
