"""Mail that came back: notifications in the mailbox of bounces, joined to the mail that the log showed."""
