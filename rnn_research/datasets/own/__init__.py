"""A user's own data, given by a path: what every kind of them shares.

A kind subclasses `OwnData` (in `module`) and says how its files are read; splits, duplicates, classes, class weights
and the report of what was read are here.
"""
