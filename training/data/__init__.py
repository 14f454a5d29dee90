"""The samples that training sees: anatomy, lesions, scanners, drawn without end."""
