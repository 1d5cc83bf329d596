"""One CalcJob for each task of the worker, and the calcfunctions."""
