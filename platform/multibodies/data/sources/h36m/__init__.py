"""Human3.6M in its original layout."""
