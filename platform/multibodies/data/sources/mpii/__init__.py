"""MPII in its release's layout and in train.h5's."""
