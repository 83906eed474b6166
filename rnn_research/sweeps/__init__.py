"""Folders of many runs, and who may write there. Needs no torch."""
