"""Hydra groups of the entry scripts, installed as ``dactyl_tl.conf``.

This file makes the folder a package: editable installs and Hydra's ``pkg://dactyl_tl.conf`` need one.
"""
