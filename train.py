"""Train a policy: ``python train.py experiment=laptop minutes=10``."""

from __future__ import annotations

if __name__ == "__main__":
    # Worker processes import this file too, and need nothing of the command.
    from dactyl_tl.launch import main

    main()
