"""What a query means: spelling, quantities, what its words name in the catalogue, and its place in the tree."""
