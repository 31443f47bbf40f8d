"""The small library that the notebooks share.

A module depends only on those before it: paths rle images duplicates checks dataset texture defects synthetic generators
models metrics losses training decision calibration sensitivity gallery shift masks cascade submission plots charts cells
report params provenance journal plan execution processes pipeline.
"""
