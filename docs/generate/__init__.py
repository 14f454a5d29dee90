"""The parts of the documentation that are read from the code: tables, references, measurements.

Nothing here belongs to the service; nothing of the service imports it.
"""
