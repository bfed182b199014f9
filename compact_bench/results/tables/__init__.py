"""Tables: what one shows (`spec`), its rows, cells, comparisons, controls, notes; from records alone."""
