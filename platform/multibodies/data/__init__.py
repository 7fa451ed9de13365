"""Datasets: raw files or the embedded generator -> rows of one schema. No Ray here."""
