"""3DPW in its original layout."""
