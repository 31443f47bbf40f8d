"""The small library that the notebooks share.

A module depends only on those before it: system paths guard manifest archive rle images mask_files reading duplicates checks dataset
splitting parts texture defects synthetic importer blocks augmentation generators engines normalization models storage metrics losses
training decision calibration sensitivity gallery shift masks budget cascade submission inventory overlap lookup plots charts cells
report params provenance artifacts journal plan execution processes pipeline packing kaggle.
"""
