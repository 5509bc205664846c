"""Clean the readings of a series for the evaluation, movement, forecasts and anomaly scores.

Readings are loaded with offsets subtracted and revisions and flags applied (`monitor.readings.queries.observations`).
A `Track` (`tracks`) is the cleaned series: values and standard deviations of the motion vector of a station with all
detected jumps subtracted, and every epoch that was set aside, with the reason. `step_detector` finds the jumps, `noise`
measures the scatter that they must exceed, and `coverage` measures which part of a window is known.
"""
