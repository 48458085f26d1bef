"""The demo: a lesson with a virtual teacher and three classrooms, watched (serve --demo) or checked (demo)."""
