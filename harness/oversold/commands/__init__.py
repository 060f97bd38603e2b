"""The commands: what each takes, calls and prints. They parse; everything else is elsewhere."""
