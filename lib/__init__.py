"""The small library that the notebooks share. A module depends only on those above it in README's list."""
