"""Lightning callbacks of a training run; Hydra builds them from ``conf/callbacks``."""
