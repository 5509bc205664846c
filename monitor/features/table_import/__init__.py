"""Import tables of unknown layout: guess their meaning, ask questions, store the readings, replay the past."""
