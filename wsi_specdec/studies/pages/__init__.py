"""What a study shows: tables, figures and its page."""
