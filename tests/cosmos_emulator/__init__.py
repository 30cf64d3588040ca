"""A Cosmos DB emulator that behaves as Microsoft documents, for tests: see `emulator.py` and README.md."""
