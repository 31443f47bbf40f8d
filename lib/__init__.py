"""The small library that the notebooks share.

A module depends only on those before it: paths manifest archive rle images duplicates checks dataset texture defects synthetic
generators models metrics losses training decision budget cascade submission inventory plots cells report params provenance
artifacts journal plan execution processes pipeline packing kaggle.
"""
