"""What a pipeline gets of a run: thresholds, what got worse, JUnit, Markdown, annotations, an exit code."""
