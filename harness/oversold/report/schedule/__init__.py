"""Shows one schedule: in a sentence, in the lanes of a terminal, for Mermaid, as a picture, and as a page."""
