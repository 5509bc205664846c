"""Upgrade, copies, proof, retention and room on the disk."""
