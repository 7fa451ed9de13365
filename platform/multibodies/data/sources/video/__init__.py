"""Frames of videos by their index."""
