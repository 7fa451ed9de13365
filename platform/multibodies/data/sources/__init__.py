"""Importers: a user's own copy of a dataset -> records of one kind, one module per set. No Ray.

An importer lists what it would give (`Importer.listing`) and reads any part of it (`records`);
`rows.py` turns records into rows of the schema. `registry.py` knows them by name.
"""
