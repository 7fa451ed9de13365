"""Weights that others trained: read without unpickling, renamed by an explicit map, checked.

`readers` opens the file, `keymaps` says which of its names are which of ours, `facts` which network
it holds, `convert` fills our state dict, `mean_params` reads HMR's start. No Ray, no MLflow.
"""
