"""A Ray-distributed experiment platform around 3D Multi-bodies (Biggs et al., NeurIPS 2020)."""

__version__ = "0.1.0"
