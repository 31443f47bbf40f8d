"""The small library that the notebooks share.

A module depends only on those before it: paths rle images duplicates checks dataset texture defects synthetic importer
generators models metrics losses training decision calibration sensitivity gallery
shift masks cascade submission overlap plots
charts cells report params provenance journal plan execution processes pipeline.
"""
