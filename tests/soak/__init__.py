"""Random work with random faults for a long time: ``make soak``, or ``python -m tests.soak --minutes 20``.

A driver with a seed calls, pushes, pulls, scatters and lets engines talk to each other. Meanwhile engines are
interrupted, get stuck, are frozen, killed and started anew; connections are cut; strangers send garbage. The
driver knows the correct result of each call. When something is lost, the earlier events are printed as a
program that repeats them.
"""
