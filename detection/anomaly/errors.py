"""The errors of this library: one root, one class per cause."""


class AnomalyError(Exception):
    """Root of all known errors here; its text is one line that says what is wrong."""


class InputError(AnomalyError):
    """What was handed in cannot be used: a missing key, an unknown detector, times that are not numbers."""


class ThresholdError(AnomalyError):
    """No threshold can be found for the stated budget; the text says what is missing."""


class DetectorCheckpointError(AnomalyError):
    """A checkpoint cannot be read, or is not the file its name says it is."""
