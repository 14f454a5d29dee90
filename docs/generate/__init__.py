"""The parts of the documentation that are read from the code: tables, references, measurements.

The service does not import this package.
"""
