"""The command line, `aiida-mlip`."""
