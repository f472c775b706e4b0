"""Facts and what they say: contract, importers, store, simulator, feature families."""
