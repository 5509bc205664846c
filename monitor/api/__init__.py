"""What features and third-party plugins may import from Slopeward: one module per subject.

* `monitor.api.hooks`: the marker of hook implementations and the records that hooks return
* `monitor.api.acts`: what a person may do, as a command, a form and a request at once
* `monitor.api.alerts`: alerts and their notifications
* `monitor.api.checks`: checks of the configuration and of the running service
* `monitor.api.cli`: the command line
* `monitor.api.criteria`: kinds of criteria
* `monitor.api.database`: the database
* `monitor.api.decision`: the decision
* `monitor.api.decoders`: decoders of MQTT messages
* `monitor.api.delivery`: delivery of messages
* `monitor.api.errors`: errors that a person can read
* `monitor.api.files`: readers of file formats
* `monitor.api.models`: models that a site asks for and that do not exist yet
* `monitor.api.readings`: readings
* `monitor.api.scenes`: methods that read scenes
* `monitor.api.settings`: the service file
* `monitor.api.sites`: site files
* `monitor.api.store`: tables and public views
* `monitor.api.text`: texts for people
* `monitor.api.web`: the page
"""
