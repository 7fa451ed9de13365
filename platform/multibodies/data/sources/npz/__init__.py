"""SPIN's and ProHMR's npz of any set, read without trusting them."""
