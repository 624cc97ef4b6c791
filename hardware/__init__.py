"""Everything between a policy and a physical Shadow Hand, and simulated peers to practise with.

================  =====================================================================================
``world``         the hand as a world in which trials run: observe, act, 80 ms later look again
``lowlevel``      what runs beside the hand: 200 Hz controller, safety machine, wire; one file
``client``        the control loop's end of that wire
``capture``       motion capture: adapters and tracker
``cameras``       three Basler cameras: pictures of one instant
``senses``        fingertips and object from either
``records``       a file a trial: written, replayed bit for bit, reported
``calibration``   joint sensors, the simulated model, where cameras stand
``twin``          a simulated hand, motion capture and cameras behind the same sockets
================  =====================================================================================

Commands: ``python -m hardware``. But for ``twin`` and ``calibration`` nothing here knows the simulation: a
policy bundle is the only thing that crosses to the robot.
"""
