"""What the notebooks share, in ten rooms. A room imports only from those above it in this list.

errors, files, paths   what a user can mend; files that are complete or absent; where things lie
data/                  images and tables: read, checked, divided, varied, in batches; other people's masks
models/                networks: built, trained, saved, run
synthetic/             generated strips
plots                  pictures
report/                the pages that people read
inference/             a trained cascade at work: probabilities, filters, masks, time budget, submission
evaluation/            what a cascade is worth: thresholds, scores with intervals, where points are lost
bundle/                a run as a folder that works without TensorFlow
pipeline/              run_all.py: parameters, the graph of notebooks, processes, what must run again
kaggle/                Kaggle's data in, a packed run out
cluster/               the same work on many machines, through Ray

`export`, `importer` and `predict` are commands that engineers type: they import from any room, and
no room from them.
"""
