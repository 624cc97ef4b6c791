"""Hydra groups of train.py and evaluate.py, installed as ``dactyl_tl.conf``."""
