"""Look-alikes: small trees with the real keys, shapes, dtypes, units and encodings of each dataset,
made from the embedded body, so that the true answer is known. For tests and the dry run.

No file of any dataset is in them, and nothing learnt from them says anything about real data.
"""
