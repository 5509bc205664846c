"""From observations to a level: criteria, witnesses, ladder, evidence. Pure but for evaluate."""
