"""Published foundation models: where they come from, what is known of them, and how they get into the database.

Only :mod:`aiida_mlip.foundation.install` imports AiiDA.
"""
