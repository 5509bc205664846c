"""Clean the readings of a series: what the evaluation, movement, forecasts and anomaly scores read.

Readings are loaded with offsets subtracted and revisions and flags applied (`monitor.readings.queries.observations`).
A `Track` (`tracks`) is the cleaned series: values and standard deviations of the motion vector of a station, its steps
without an explanation taken out, and every epoch that was set aside with the reason. `step_detector` finds the steps,
`noise` measures the scatter that they must exceed, and `coverage` says which part of a window is known.
"""
