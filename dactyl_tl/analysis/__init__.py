"""What a trained policy knows, and what it does: :mod:`~dactyl_tl.analysis.memory`,
:mod:`~dactyl_tl.analysis.strategies`."""
