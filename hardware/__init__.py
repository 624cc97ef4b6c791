"""The physical hand. Nothing is here yet: no driver, no control loop, no safety layer.

The package exists so that its name and its place in the layering are fixed: it may import
``dactyl_tl.contract``, ``dactyl_tl.checkpoint`` and ``dactyl_tl.models`` and nothing else of the
project, so that a policy bundle is the only thing that crosses to the robot.
"""
