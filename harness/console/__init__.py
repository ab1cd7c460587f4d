"""What people see: tables, progress, text that cannot hurt a terminal."""
