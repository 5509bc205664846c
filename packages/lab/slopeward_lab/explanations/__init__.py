"""Explanations of networks by captum: where in a scene, and which past values, a result depends on."""
