"""The contract between AiiDA and the worker, typed and versioned."""
