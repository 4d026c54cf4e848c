"""The sink that receives probe mails, and its client."""
