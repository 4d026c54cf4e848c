"""Reading, editing and controlling Postfix through its own programs and files."""
