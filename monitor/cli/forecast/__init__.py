"""`slopeward forecast` and `slopeward forecast failure-time`."""
