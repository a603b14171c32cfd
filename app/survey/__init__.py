"""Surveys: many files of one landscape, labelled as if they were one cloud, by this machine or by many."""
