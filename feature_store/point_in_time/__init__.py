"""Features as of each row's own instant: definitions, the engine, training tables, online records and parity."""
