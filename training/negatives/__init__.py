"""Hard negatives of the whole catalogue: searched for, held against what is known to be right, drawn by seed."""
