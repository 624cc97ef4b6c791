"""Train a policy: ``python train.py experiment=laptop minutes=10``."""

from __future__ import annotations

from dactyl_tl.launch import main

if __name__ == "__main__":
    main()
