"""A made-up airborne survey, so that the first call needs no file of one's own."""
