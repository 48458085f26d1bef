"""The pages: teacher, classroom, library, ops. Plain ES modules and HTML; no server logic lives here."""
