"""How the service watches itself: its parts, its machine, its database and its clock.

In the core process, `loop.SelfMonitoring` repeats duties in three threads (`duties.DutyLoop`). Its checks follow this
path:

    facts.collect_facts        what the parts of the core report about themselves at this moment
      -> checks.table          which of these facts are wrong, with a text for people
      -> conditions            since when each condition lasts, and whether it is an alarm yet
      -> alarms                changes of alarms, kept until the database has stored them

The dispatcher delivers stored alarms like all others. `commits.CommitMonitor` measures whether evaluations and other
transactions are committed at all. The core sends the result to the supervisor with each heartbeat.

The supervisor restarts processes, and `supervisor_records` checks processes and broker by the same path.
If the core cannot decide, `emergency.EmergencyNotifier` notifies people without the database, and
`state_file.StateFile` stores on disk who was notified. `unwatched.UnwatchedPeriods` reports a time in which nothing
was evaluated, once it is over.
"""
