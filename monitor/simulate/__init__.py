"""A slope that can be run: creep, rain response, acceleration to failure, instrument faults."""
