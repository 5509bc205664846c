"""What features and third-party plugins may import from the kernel: one module per subject.

Each name has a line of documentation where a module lists it. All other modules of the kernel may change at any time.
`VERSION` is raised when a name is removed or changes its meaning.

* `monitor.api.hooks`: the marker of hook implementations and the records that hooks return
* `monitor.api.acts`: what a person may do, as a command, a form and a request at once
* `monitor.api.alerts`: alerts and their notifications
* `monitor.api.app`: the processes of the running service
* `monitor.api.broker`: logins of the broker and signed messages
* `monitor.api.checks`: checks of the configuration and of the running service
* `monitor.api.cli`: the command line
* `monitor.api.criteria`: kinds of criteria
* `monitor.api.database`: the database: connections, rows, public views
* `monitor.api.decision`: the decision: its inputs, the cleaned series, votes
* `monitor.api.decoders`: decoders of MQTT messages
* `monitor.api.delivery`: delivery of messages
* `monitor.api.documents`: HTML documents without other files
* `monitor.api.errors`: errors that a person can read
* `monitor.api.extras`: optional dependencies
* `monitor.api.files`: readers of file formats
* `monitor.api.ingest`: units, times and columns of messages and files
* `monitor.api.models`: records of trained models
* `monitor.api.plugins`: hooks that a feature calls
* `monitor.api.readings`: readings and their flags
* `monitor.api.scenes`: methods that read scenes
* `monitor.api.settings`: the service file
* `monitor.api.sites`: site files: stations, quantities, criteria
* `monitor.api.store`: declaration of tables and public views
* `monitor.api.tables`: tables of the kernel
* `monitor.api.text`: texts for people, numbers and times in them
* `monitor.api.views`: types of the rows of public views
* `monitor.api.web`: the page
* `monitor.api.worker`: work in processes without database and network
* `monitor.api.queries`: functions that read and write the database, one module per subject
"""

VERSION = 1
