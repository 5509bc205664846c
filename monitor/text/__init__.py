"""Text that people read: messages, and the sentences for the reason codes of the libraries."""
