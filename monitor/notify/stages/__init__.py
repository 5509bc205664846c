"""The stages a message passes before it is sent, one file each; the list of them is in monitor/notify/path.py."""
