"""Drills: exercises that send messages through the real channels without touching real levels and alerts."""
