"""Programs that stage faults and record what Postfix logs."""
