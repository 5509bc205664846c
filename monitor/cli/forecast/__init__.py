"""`slopeward forecast` and `slopeward failure-time`."""
