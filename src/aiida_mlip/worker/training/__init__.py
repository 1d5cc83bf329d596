"""The steps of a MACE training: check and prepare, run mace, choose the epoch, prove what was done."""
