"""The mailbox that receives the probes: by IMAP or in a Maildir, and the receiver's verdicts."""
