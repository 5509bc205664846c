"""Commands `slopeward forecast`."""
