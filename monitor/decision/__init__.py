"""Decide the warning level of a site from readings and facts that are known at one instant.

The package is pure: it reads no database, file or clock. The same inputs give the same decision, bit for bit.

Read it in this order:

1. `decide`: the stages of an evaluation in their order, from readings to the level.
2. `records`, `keys`: inputs, memory and result, and the names of votes and steps.
3. `monitor.readings.cleaned`: the track of a station, which is its cleaned series, with jumps and coverage. Then
   `series`: health of each series, and `series.steps`, which turns jumps into questions.
4. `criteria`: one module for each kind of criterion. Each returns an assessment for each witness.
5. `votes`, `vote_status`: assessments become votes, and the part of each vote that counts now is determined.
6. `fusion_rules`, `ladder`: all that counts is fused into the requested level, and the standing level follows it.
7. `observability`, `conditions`, `evidence`: what the site sees, what people are notified of, and why.

These terms are used throughout:

* witness: a station, zone or group of observers that a criterion assesses;
* assessment: the result of one criterion at one witness in this evaluation;
* vote: the level that a criterion requests at one witness. It is stored, rises with an assessment, falls only on a
  fresh assessment, and expires;
* jump, step: a sudden change of a series, and the stored question about it;
* requested level: the level that votes, steps and rules request together now;
* supporter: a vote, step or rule that the standing level depends on;
* standing level: the level of the site. It rises at once. It falls when each of its supporters is known to request less
  (a vote by fresh readings, not because it expired) and the site file allows it, or when a person lowers it (two
  people, where accounts exist and one of the two highest levels stands or is requested).
"""
