"""What features and third-party plugins may import from Slopeward: one module per subject.

* `monitor.api.hooks`: the marker of hook implementations and the records that hooks return
* `monitor.api.acts`: what a person may do, as a command, a form and a request at once
* `monitor.api.checks`: checks of the configuration and of the running service
* `monitor.api.files`: readers of file formats
* `monitor.api.models`: models that a site asks for and that do not exist yet
* `monitor.api.scenes`: methods that read scenes
* `monitor.api.store`: tables and public views
"""
