"""What came of the lessons: the catalogue, who may see what, and serving it."""
