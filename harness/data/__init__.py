"""What stands in files and on the wire, checked: rows, records, messages, JSON, arguments."""
