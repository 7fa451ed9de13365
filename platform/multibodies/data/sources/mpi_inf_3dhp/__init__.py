"""MPI-INF-3DHP in its original layout."""
