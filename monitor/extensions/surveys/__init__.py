"""Clouds, surfaces, images and radar compared offline; maps of velocities and stacks of interferograms."""
