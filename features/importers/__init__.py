"""Importers: files of a company's books → a checked ledger and its rejects."""
